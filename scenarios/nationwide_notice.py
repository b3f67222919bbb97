"""All 1,741 municipalities write to their residents on one morning, each for itself.

One portal takes all letters, so somebody must wait: the outboxes hold what cannot go on yet. One city cannot be
reached, a village has a slow line, some begin an hour late, and the sender of a big city stops half way. Everybody
gets one letter, from their own municipality.
"""

from __future__ import annotations

from collections import Counter

from mesh import MeshError, Simulation, UsageError, scenario
from mesh.broker import Broker
from mesh.names import BROKER
from mesh.places import FRESH_MAX, UNRECEIPTED_MAX
from mesh.testing import ledger
from nodes.data.municipalities import COUNTS, prefecture
from nodes.municipality.notices import NoticeOffice
from nodes.portal.inbox import PORTAL, PORTAL_LETTER, Letter, Portal
from scenarios._nationwide_post import (
    AOGASHIMA,
    KITAMI,
    YOKOHAMA,
    YOKOHAMA_LETTERS,
    Sender,
    Traffic,
    find,
    senders,
    slow_line,
)
from scenarios._waiting import wait_until

MUNICIPALITIES = sum(COUNTS.values())
LETTER = Letter("Routine vaccinations of this year", "今年度の定期予防接種のお知らせ", "2027-03-31")
STOPS_AFTER = 40
"""So many letters of Yokohama are on their way when its sender stops."""
AWAY_S, HOUR_S = 600.0, 3_600.0


@scenario(
    title="A letter to residents from all 1,741 municipalities",
    title_ja="全国1,741市区町村からのお知らせ一斉送付",
    rules=(1, 10, 12),
    sources=("予防接種法5条", "番号法附則6条", "マイナポータル", "三層の対策"),
    starts="2026-04-01T09:00+09:00",
)
async def run(
    sim: Simulation, *, municipalities: int = MUNICIPALITIES, residents: int = 1, late_every: int = 40
) -> None:
    """Send; `residents` is how many an ordinary municipality writes to, `late_every` how few begin late."""
    _check(municipalities, residents, late_every)
    everybody = senders(sim, municipalities, residents, late_every)
    await send(sim, everybody)
    traffic = Traffic(sim)
    check_senders(sim, everybody, traffic)
    await refuse_a_prefecture(sim)
    check_letters(sim, everybody)
    check_back_pressure(sim, everybody, traffic)
    check_resumption(sim, everybody, traffic)
    check_stragglers(sim, everybody, traffic)


def _check(municipalities: int, residents: int, late_every: int) -> None:
    if not 50 <= municipalities <= MUNICIPALITIES:
        raise UsageError(f"--set municipalities is 50 to {MUNICIPALITIES}, not {municipalities}")
    if not 1 <= residents <= 10:
        raise UsageError(f"--set residents is 1 to 10 for each municipality, not {residents}")
    if not 2 <= late_every <= 40:
        raise UsageError(f"--set late_every is 2 to 40, not {late_every}: 40 lets every fortieth begin late")


async def send(sim: Simulation, everybody: list[Sender]) -> None:
    """The morning: most begin at nine, some at ten, and three meet with an accident."""
    yokohama, kitami, aogashima = (find(everybody, code) for code in (YOKOHAMA, KITAMI, AOGASHIMA))
    _stop_half_way(sim, yokohama.address)
    sim.disturbance.rules.append(lambda *line: slow_line(aogashima.address, *line))
    with sim.offline(kitami.address):
        _begin(sim, [one for one in everybody if not one.late])
        await sim.sleep(AWAY_S)
    sim.restart(yokohama.address)
    await sim.sleep(HOUR_S - AWAY_S)
    late = [one for one in everybody if one.late]
    _begin(sim, late)
    await sim.sleep(AWAY_S)
    letters = sum(len(one.residents) for one in everybody)
    sim.tell(
        f"At nine {len(everybody) - len(late)} of {len(everybody)} municipalities begin to write to their residents, at "
        f"ten the other {len(late)}: {letters} letters. Yokohama's sender stops half way and comes up ten minutes "
        "later; Kitami sends, but hears nothing for ten minutes; Aogashima's line takes three seconds.",
        f"9時に{len(everybody)}市区町村のうち{len(everybody) - len(late)}、10時に残る{len(late)}が、住民への{letters}通の送付を"
        "始めた。横浜市の送付システムは途中で停止し10分後に復旧、北見市は10分間応答を受け取れず、青ヶ島村の回線は遅い"
        "（片道3秒）。",
    )


def _begin(sim: Simulation, some: list[Sender]) -> None:
    for one in some:
        codes = [sim.code(one.about.member, handle) for handle in one.residents]
        sim.node(one.address, NoticeOffice).send(LETTER, codes)


def _stop_half_way(sim: Simulation, address: str) -> None:
    """Crash a sender as its so-many-th letter leaves."""
    left: dict[bytes, None] = {}

    def crash(sender: str, recipient: str, line: bytes, now_us: int) -> None:
        if sender == address and line not in left:
            left[line] = None
            if len(left) == STOPS_AFTER:
                sim.loop.call_soon(sim.crash, address)

    sim.disturbance.rules.append(crash)


def check_senders(sim: Simulation, everybody: list[Sender], traffic: Traffic) -> None:
    """1,741 senders, and each of them a municipality."""
    wrote = Counter(one.sender for one in traffic.sent)
    sim.expect(
        f"The letters came from {len(everybody)} municipalities, each from its own system",
        sorted(wrote) == sorted(one.address for one in everybody),
        text_ja=f"{len(everybody)}の市区町村が、それぞれ自らのシステムから送付した",
        about=traffic.sent[0].message.id,
    )


async def refuse_a_prefecture(sim: Simulation) -> None:
    """The 47 prefectures are not among the 1,741: what is the municipality's task they may not send."""
    hokkaido = prefecture("01")
    address = f"{hokkaido.member}/notices"
    sim.add(NoticeOffice, address)
    resident = sim.code(hokkaido.member, sim.resident("00000000000"))
    sim.node(address, NoticeOffice).send(LETTER, [resident])

    def outcomes() -> list[str | None]:
        return [row.code for row in ledger(sim, address) if row.entry == "closed"]

    await wait_until(sim, outcomes)
    with sim.refused(
        "no_legal_basis",
        "A prefecture is not a sender: vaccination is the municipality's task, and no row names Hokkaido",
        text_ja="都道府県は送付者にならない（定期の予防接種は市町村長の事務であり、北海道には根拠がない）",
    ):
        for code in outcomes():
            if code is not None:
                raise MeshError(code)


def check_letters(sim: Simulation, everybody: list[Sender]) -> None:
    """Exactly one letter for each, from home."""
    rows = sim.node(PORTAL, Portal).db.execute("SELECT person, source FROM letter")
    arrived: dict[str, list[str]] = {}
    for row in rows:
        arrived.setdefault(row["person"], []).append(row["source"])
    due = {sim.code("gov/portal", handle): [one.address] for one in everybody for handle in one.residents}
    sim.reached(PORTAL_LETTER, [handle for one in everybody for handle in one.residents])
    sim.expect(
        f"Each of {len(due)} residents has exactly one letter, and it is from their own municipality",
        arrived == due,
        text_ja=f"{len(due)}人全員に、住んでいる市区町村からのお知らせがちょうど1通届いた",
    )
    broker = sim.node(BROKER, Broker)
    waiting = [one.address for one in everybody if sim.node(one.address, NoticeOffice).unsigned()]
    sim.expect(
        "No letter was given up, and none waits anywhere",
        broker.given_up() == [] and broker.host.store.outbox() == [] and waiting == [],
        text_ja="配達を断念したものも、滞留しているものもない",
    )


def check_back_pressure(sim: Simulation, everybody: list[Sender], traffic: Traffic) -> None:
    """What limits is the receipt: nobody is sent more than they sign for."""
    portal, waiting = traffic.unsigned_max_at_portal(), traffic.waiting_max()
    sim.expect(
        f"Never more than {FRESH_MAX} letters were on their first way to the portal; up to {waiting} waited at the broker",
        portal == FRESH_MAX < waiting,
        text_ja=f"ポータルへ初めて配達中のお知らせは常に{FRESH_MAX}通以下で、最大{waiting}通がブローカーで順番を待った",
    )
    yokohama = find(everybody, YOKOHAMA).address
    sim.expect(
        f"Yokohama had {YOKOHAMA_LETTERS} letters to send, and never more than {UNRECEIPTED_MAX} of them unsigned",
        traffic.unsigned_max_of(yokohama) == UNRECEIPTED_MAX,
        text_ja=f"横浜市は{YOKOHAMA_LETTERS}通のうち、未受領のものを{UNRECEIPTED_MAX}通以下に保って送付した",
    )


def check_resumption(sim: Simulation, everybody: list[Sender], traffic: Traffic) -> None:
    """The sender that stopped went on where it was."""
    yokohama = find(everybody, YOKOHAMA)
    letters = traffic.letters_of(yokohama.address)
    stopped_us = round(AWAY_S * 1_000_000)
    before = {
        one.message.id for one in traffic.sent if one.sender == yokohama.address and one.sent_us < stopped_us
    }
    sim.expect(
        f"Yokohama's sender stopped with {len(before)} letters out and, up again, sent the other "
        f"{len(letters) - len(before)}",
        STOPS_AFTER <= len(before) < len(letters) == len(yokohama.residents),
        text_ja=f"横浜市は{len(before)}通を送ったところで停止し、復旧後に残る{len(letters) - len(before)}通を送った",
    )


def check_stragglers(sim: Simulation, everybody: list[Sender], traffic: Traffic) -> None:
    """Who is late or slow is late for their own residents alone."""
    kitami, aogashima = find(everybody, KITAMI), find(everybody, AOGASHIMA)
    filed = (
        sim.node(PORTAL, Portal)
        .db.execute("SELECT count(*) FROM letter WHERE source = ?", (kitami.address,))
        .fetchone()[0]
    )
    repeats = sum(traffic.letters_of(kitami.address).values()) - len(kitami.residents)
    sim.expect(
        f"Kitami heard no receipt and sent again {repeats} times; the portal has each letter once",
        repeats > 0 and filed == len(kitami.residents),
        text_ja=f"北見市は受領を確認できず{repeats}回再送したが、ポータルには各1通だけ届いた",
    )
    hour_us = round(HOUR_S * 1_000_000)
    on_time = [one for one in everybody if not one.late and one.about.code[:5] not in (YOKOHAMA, AOGASHIMA)]
    served_us = traffic.latest_receipt_us(on_time)
    late = [one for one in everybody if one.late]
    late_us = traffic.latest_receipt_us(late) - hour_us
    sim.expect(
        f"All others had their letters in the portal after {served_us / 1_000_000:.2f} s, and the {len(late)} that began at "
        "ten as quickly: nobody waited for stragglers",
        served_us < min(hour_us, traffic.latest_receipt_us([aogashima])) and 0 < late_us < served_us,
        text_ja=f"その他の市区町村のお知らせは{served_us / 1_000_000:.2f}秒で届き、10時に始めた{len(late)}団体のお知らせも同じように"
        "速やかに届いた。遅れた団体を待つことはなかった",
        not_under=("packet_loss", "slow_lines"),
    )
