"""Two applications of one city keep one record: 予防接種台帳 and 健康管理, before they became one standard system.

Each field has one original. Five toddlers, a wrong date, two nurses who correct the same lot number, and a cable
that is cut: both sides change one record meanwhile. Then parents are reminded, after a nurse has decided on each.
"""

from __future__ import annotations

from mesh import Refused, Simulation, UsageError, scenario
from mesh.errors import Fault
from nodes.municipality.paired_record import Change
from nodes.municipality.reminders import ITEM
from nodes.portal.inbox import PORTAL_LETTER
from scenarios._toddlers import NURSE, NURSE_2, RECORDS, World
from scenarios._waiting import wait_until

MINUTE_S = 60.0
SLIP, BOOKLET, RESCAN = "2024-09-13", "2024-09-03", "2024-09-12"
"""The date of one vaccination as first typed, as the mother's booklet seems to say, and as the slip really says."""


@scenario(
    title="Two ledgers of one city keep one vaccination record, and remind who is due",
    title_ja="予防接種台帳と健康管理の連携（訂正の競合と接種勧奨）",
    rules=(1, 2, 6, 12, 15),
    sources=(
        "公共サービスメッシュ（地方公共団体内の情報活用）",
        "標準準拠システム（20業務）",
        "予防接種法5条・8条・9条の3",
        "予防接種法施行令3条",
    ),
    starts="2024-10-01T09:00+09:00",
)
async def run(sim: Simulation, *, away_s: int = 600) -> None:
    """Tell the story; `away_s` is for how long health management's cable is cut."""
    if not 60 <= away_s <= 86_400:
        raise UsageError(f"--set away_s is 60 to 86400 seconds, not {away_s}")
    world = World(sim)
    await in_step(world)
    one_original(world)
    await lost_update(world)
    with world.cut_off(world.health.address):
        await apart(world)
        await sim.sleep(away_s)
    await together_again(world)
    await remind(world)
    await vaccinated_after_all(world)
    audited(world)


async def in_step(world: World) -> None:
    """Each side enters what is its own, and the other follows by event and question."""
    sim = world.sim
    for child in world.children.values():
        await world.health.enrol(child.code)
    world.slip("vaccinated", SLIP)
    world.ledger.enter(
        world.code("vaccinated"), world.based_on_ledger("vaccinated", "lot", "MR-1021", RECORDS)
    )
    world.health.note(world.code("waits"), Change(ITEM, "hold_until", "2024-12-31", 0, NURSE))
    await wait_until(sim, world.is_in_step)
    sim.expect(
        "A slip entered in the ledger and a reason to wait noted in health management are in both within a second",
        world.is_in_step()
        and world.health.record.value(world.code("vaccinated"), ITEM, "given_on") == SLIP
        and world.ledger.record.value(world.code("waits"), ITEM, "hold_until") == "2024-12-31",
        text_ja="台帳に入力した予診票も、健康管理に入力した接種見合わせも、1秒以内に両方に反映される",
        not_under=("packet_loss", "slow_lines"),
    )
    sim.tell(
        "Kitami has two applications for vaccinations. The ledger has the original of dates and lots, health "
        "management of reasons to wait. Who changes something says only that it changed; the other asks for it.",
        "北見市には予防接種の業務システムが2つある。接種日とロットの正本は予防接種台帳、接種見合わせの正本は健康管理。"
        "変更した側は変更の事実だけを知らせ、他方が照会して写しを更新する。",
    )


def one_original(world: World) -> None:
    """Nobody changes what is not theirs."""
    sim = world.sim
    with sim.refused(
        "manual_review",
        "The ledger's clerk cannot enter a reason to wait: its original is in health management",
        text_ja="台帳の担当者は接種見合わせを入力できない（正本は健康管理）",
    ):
        world.ledger.enter(world.code("due"), Change(ITEM, "hold_until", "2024-11-30", 0, RECORDS))
    with sim.refused(
        "manual_review",
        "A nurse cannot enter a date of vaccination: its original is in the ledger",
        text_ja="保健師は接種日を直接は入力できない（正本は予防接種台帳）",
    ):
        world.health.note(world.code("due"), Change(ITEM, "given_on", BOOKLET, 0, NURSE))


async def lost_update(world: World) -> None:
    """Two nurses have version 1 of a lot number before them, and both correct it."""
    sim, code = world.sim, world.code("vaccinated")
    first = world.based_on_copy("vaccinated", "lot", "MR-1012", NURSE)
    second = world.based_on_copy("vaccinated", "lot", "MR-1027", NURSE_2)
    await world.health.correct(code, first)
    with sim.refused(
        "manual_review",
        "The second of two corrections that saw the same version is refused: it would undo the first unseen",
        text_ja="同じ版を見て行われた2件目の訂正は拒否される（先の訂正を知らずに打ち消すため）",
    ):
        await world.health.correct(code, second)
    await wait_until(sim, world.is_in_step)
    sim.expect(
        "The first nurse's lot number stands on both sides",
        world.ledger.record.value(code, ITEM, "lot") == "MR-1012" and world.is_in_step(),
        text_ja="先に訂正したロット番号が両方に残る",
    )


async def apart(world: World) -> None:
    """The cable to health management is cut, and work goes on at both ends."""
    sim, health, code = world.sim, world.health, world.code("vaccinated")
    health.propose(code, world.based_on_copy("vaccinated", "given_on", BOOKLET, NURSE))
    world.slip("vaccinated", RESCAN)
    world.slip("meanwhile", "2024-09-28")
    await health.send_proposals()
    sim.expect(
        "While the cable is cut the nurse's correction waits, and each side has a date of its own",
        len(health.proposals.waiting()) == 1
        and health.record.value(code, ITEM, "given_on") == SLIP
        and world.ledger.record.value(code, ITEM, "given_on") == RESCAN,
        text_ja="回線断の間、保健師の訂正は保留され、両者の接種日は異なる",
    )
    found = health.find_due()
    sim.expect(
        "By its own copy health management finds three children due: it cannot know of one vaccinated meanwhile",
        found == sorted(world.code(name) for name in ("due", "meanwhile", "asked")),
        text_ja="健康管理は手元の写しで3人を未接種と抽出する（その間に接種した1人をまだ知らない）",
    )
    for name in ("due", "meanwhile"):
        health.decide(world.code(name), by=NURSE, send=True, why="no slip, no reason to wait")
    health.decide(world.code("asked"), by=NURSE, send=False, why="the family asked not to be written to")
    fault = None
    try:
        await health.remind(world.code("meanwhile"))
    except Refused as refused:
        fault = refused.fault
    sim.expect(
        "Without the ledger's word no reminder leaves, though a nurse decided on it",
        fault is Fault.NETWORK and world.letters("meanwhile") == [],
        text_ja="保健師が送付を決めていても、台帳に確認できない間は勧奨通知を送らない",
    )


async def together_again(world: World) -> None:
    """The cable is mended: the original's side stands, and a person sees the conflict."""
    sim, health, code = world.sim, world.health, world.code("vaccinated")
    is_sent = await health.remind(world.code("meanwhile"))
    sim.expect(
        "The ledger, asked before the letter, says that the one child is vaccinated: its family is not written to",
        not is_sent and world.letters("meanwhile") == [],
        text_ja="送付前に台帳へ確認した結果、接種済みと分かった1人の家庭には通知を送らない",
    )
    await health.send_proposals()
    await sim.sleep(MINUTE_S)
    conflicts = health.proposals.of("conflict")
    sim.expect(
        "Both had changed one date: the original's side stands, and health management follows it",
        world.ledger.record.value(code, ITEM, "given_on") == RESCAN and world.is_in_step(),
        text_ja="同じ接種日を双方が変更していたが、正本（台帳）の値が残り、健康管理の写しも一致する",
    )
    sim.expect(
        "The nurse's correction is not lost: it is on the list of conflicts, with her name and the version she saw",
        [(row["value"], row["clerk"], row["based_on"]) for row in conflicts] == [(BOOKLET, NURSE, 1)],
        text_ja="保健師の訂正は失われず、氏名と元の版とともに競合の一覧に残る",
    )
    health.settle_conflict(conflicts[0]["number"], by=NURSE)
    sim.expect(
        "She looks at both, finds that she misread the booklet, and closes it under her name",
        health.proposals.of("conflict") == []
        and [row["settled_by"] for row in health.proposals.of("settled")] == [NURSE],
        text_ja="保健師が両方を確認し、母子健康手帳の読み違いと分かり、記名して処理を終える",
    )
    sim.tell(
        "While a cable was cut, a nurse corrected a date by the mother's booklet and the ledger's clerk by the "
        "slip. Afterwards the ledger's date stands, because there is the original; the nurse sees the conflict "
        "and settles it.",
        "回線断の間に、保健師は母子健康手帳を見て、台帳の担当者は予診票を見て、同じ接種日を訂正した。復旧後は正本である"
        "台帳の値が残り、競合は保健師に示されて処理された。",
    )


async def remind(world: World) -> None:
    """Only who is due, and only whom a person decided on."""
    sim, health = world.sim, world.health
    for child in health.reminders.to_send():
        await health.remind(child)
    with sim.refused(
        "manual_review",
        "No letter leaves for a family that the nurse decided to leave in peace",
        text_ja="保健師が送らないと決めた家庭には通知を送れない",
    ):
        await health.remind(world.code("asked"))
    await sim.sleep(MINUTE_S)
    written = [name for name in world.children if world.letters(name)]
    # Eligible is who had no dose and no reason to wait. Of whom the ledger knew better, nobody was written to.
    heads = {name: child.home.head.handle for name, child in world.children.items()}
    sim.reached(PORTAL_LETTER, [heads["due"]], mistaken=[heads["meanwhile"]], by=health.address)
    sim.expect(
        "One family is reminded, with the last day, the eve of the second birthday; not the vaccinated, not the one who waits, not the one who asked",
        written == ["due"] and world.letters("due") == ["2025-06-01"],
        text_ja="通知は未接種の1家庭だけに届き、期限が示される。接種済み・見合わせ中・辞退の家庭には届かない",
    )


async def vaccinated_after_all(world: World) -> None:
    """The reminded family goes to the clinic; the slip comes in."""
    sim, code = world.sim, world.code("due")
    world.slip("due", "2024-10-01")
    await sim.sleep(MINUTE_S)
    is_known = world.health.record.value(code, ITEM, "given_on") == "2024-10-01"
    sim.expect(
        "The reminded child is vaccinated, both sides know it, and nobody is due any more",
        is_known and world.is_in_step() and world.health.find_due() == [],
        text_ja="通知を受けた子が接種を受け、両方の記録が一致し、新たな対象者はいない",
    )
    sim.tell(
        "Three children seemed due. A nurse decided on each; one family had asked not to be written to, and of one "
        "the ledger said just in time that the child was vaccinated. One letter went out, and that child was "
        "vaccinated.",
        "未接種と見えたのは3人。保健師が1人ずつ判断し、1家庭は希望により送らず、1人は台帳への確認で接種済みと分かった。"
        "通知は1通だけ送られ、その子は接種を受けた。",
    )


def audited(world: World) -> None:
    """Who changed the date, when and from what: all of it is there."""
    sim, record, code = world.sim, world.ledger.record, world.code("vaccinated")
    dates, lots = (record.audit(code, ITEM, field) for field in ("given_on", "lot"))
    sim.expect(
        "The ledger keeps each version of the corrected fields with who made it, and each names the one before",
        [(row["value"], row["clerk"]) for row in dates] == [(SLIP, RECORDS), (RESCAN, RECORDS)]
        and [(row["clerk"], row["source"]) for row in lots]
        == [(RECORDS, world.ledger.address), (NURSE, world.health.address)]
        and all(record.is_whole(code, ITEM, field) for field in ("given_on", "lot")),
        text_ja="台帳には訂正前後のすべての版が、誰がどこから訂正したかとともに残り、各版は直前の版に連なる",
    )
