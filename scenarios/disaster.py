"""A river floods a part of Kitami (an imagined flood): from the survey to aid that nobody has to prove.

Families apply for certificates all at once. The houses are surveyed, an official signs, and the victims' ledger is made.
For an hour two systems of the city are without power: pushes wait, and one family that stays in Kobe needs paper. Then
the city of evacuation asks the ledger, an official offers aid, and families apply once for all of it, some by two ways.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

from mesh import Simulation, UsageError, scenario
from mesh.testing import messages
from nodes.data.papers import paper
from nodes.data.people import Household
from nodes.municipality.disaster_victims import CERTIFIED
from nodes.municipality.elderly_medical import ElderlyMedical
from nodes.municipality.victim_support import ACCEPT, AcceptQuery, VictimSupport
from nodes.portal.inbox import PORTAL_LETTER
from scenarios._flood import (
    HOUSE_TAX_YEN,
    KITAMI,
    KOBE,
    PREMIUM_YEN,
    World,
    fitting,
    house_of,
    percent_of,
)
from scenarios._newborns import deliveries, rows_in, taken_in
from scenarios._portal import portal_code
from scenarios._waiting import wait_until

OFFICIAL, SURVEYOR = "disaster-clerk-a", "surveyor-b"
CERTIFICATE, RECORD = "disaster-certificate", "household-record"
MINUTE_S = 60.0
OLD = 2
"""The number of the old couple's household."""
WAITING = 3
"""How many certificates are signed while the desk is down."""


@scenario(
    title="After a flood: surveyed, certified, and aided without proving it again",
    title_ja="罹災証明書から被災者支援まで（被災者台帳・避難先自治体・一括申請）",
    rules=(1, 4, 10, 12, 14, 15),
    sources=(
        "災害対策基本法90条の2・90条の3・90条の4",
        "被災者生活再建支援法3条",
        "地方税法367条",
        "高齢者の医療の確保に関する法律111条",
        "災害対策（罹災証明・被災者支援）",
        "ぴったりサービス",
    ),
    starts="2025-09-16T09:00+09:00",
)
async def run(sim: Simulation, *, families: int = 9, down_s: int = 3600, per_second: int = 3) -> None:
    """Tell the story; `per_second` is the broker's limit in the burst, `down_s` how long systems are down."""
    if not 5 <= families <= 60:
        raise UsageError(f"--set families is 5 to 60, not {families}")
    if not 60 <= down_s <= 86_400:
        raise UsageError(f"--set down_s is 60 to 86400 seconds, not {down_s}")
    # Each second lets some through, and a question is asked about nine times.
    least = -(-families // 8)
    if not least <= per_second <= families - 2:
        raise UsageError(
            f"--set per_second is {least} to {families - 2}: fewer than apply at once, and enough for each to come "
            f"through within the time of a question, not {per_second}"
        )
    world = World(sim, families)
    await survey_first(world)
    await all_at_once(world, per_second)
    await an_hour_without_power(world, down_s)
    await stay_in_kobe(world)
    await apply_once(world, await offer(world))
    await decide(world)
    await look_back(world)


async def survey_first(world: World) -> None:
    """No certificate before the survey, and no survey of a house that the tax office does not know."""
    sim, office = world.sim, world.office
    first = world.homes[0]
    receipt = await world.apply(1, first.head)
    with sim.refused(
        "manual_review",
        "A certificate cannot be signed before the house was surveyed",
        text_ja="住家の被害認定調査の前に罹災証明書は交付できない",
    ):
        office.issue(receipt.number, OFFICIAL)
    listed = await office.list_houses()
    with sim.refused(
        "not_found",
        "A house that is not in the ledger of houses is not surveyed from the list",
        text_ja="家屋課税台帳にない家屋は一覧からは調査できない",
    ):
        office.survey("hs-999999", 55, SURVEYOR)
    for number in range(1, world.families + 1):
        office.survey(house_of(number), percent_of(number), SURVEYOR)
    spouse = await world.apply(1, first.parents[1])
    sim.expect(
        "The survey goes by the tax office's list of houses; the wife's own application finds her husband's",
        listed == world.families
        and (receipt.again, spouse.again, spouse.number) == (False, True, receipt.number),
        text_ja="調査は固定資産税の家屋一覧により行われ、妻の申請は夫が先に出した世帯の申請として扱われる",
    )


async def all_at_once(world: World, per_second: int) -> None:
    """All others apply in the same moment; the broker holds them back, and loses none."""
    sim = world.sim
    world.limit(per_second)
    others = list(enumerate(world.homes, 1))[1:]
    receipts = await asyncio.gather(*(world.apply(number, home.head) for number, home in others))
    world.limit(None)
    held_back = sum(one.refusal == "rate_limited" for one in messages(sim))
    sim.expect(
        f"{len(others)} families apply in one moment; the broker lets {per_second} a second through, and each "
        "household has one application in the end",
        held_back >= len(others) - per_second
        and sorted(one.number for one in receipts) == list(range(2, world.families + 1))
        and not any(one.again for one in receipts)
        and rows_in(world.office, "household") == world.families,
        text_ja=f"{len(others)}世帯が同時に申請し、中継は毎秒{per_second}件に制限したが、最終的に各世帯1件ずつ受け付けられた",
    )
    sim.tell(
        f"{world.families} houses of a district were flooded, in an imagined flood, grave enough in the whole city for "
        "被災者生活再建支援法 to apply. The families apply on the portal, nearly all in one moment: the broker "
        f"refused {held_back} attempts as too fast, the portal sent the same messages again, and every household has "
        "exactly one application.",
        f"架空の水害で、ある地区の{world.families}戸が浸水した（市全体の被害により被災者生活再建支援法が適用されたものとする）。各世帯がほぼ同時にマイナポータルから申請し、中継は{held_back}件を頻度超過として戻したが、"
        "同じ電文が再送され、各世帯1件ずつ受け付けられた。",
    )


async def an_hour_without_power(world: World, down_s: int) -> None:
    """The last certificates are signed while the desk is down, and then the office is down too."""
    sim, office, desk = world.sim, world.office, world.desk.address
    certificates = [office.issue(number, OFFICIAL) for number in range(1, world.families + 1 - WAITING)]
    await sim.sleep(MINUTE_S)
    heard, before = len(taken_in(sim, desk, CERTIFIED)), len(deliveries(sim, desk))
    with sim.offline(desk):
        certificates += [
            office.issue(len(certificates) + number, OFFICIAL) for number in range(1, WAITING + 1)
        ]
        await sim.sleep(1)
        with sim.offline(office.address):
            await sim.sleep(down_s / 2)
            await only_paper_helps(world, world.homes[0])
            await sim.sleep(down_s / 2)
    tried = deliveries(sim, desk)[before:]
    await sim.sleep(MINUTE_S)
    arrived = taken_in(sim, desk, CERTIFIED)
    sim.expect(
        f"Of {WAITING} certificates the desk heard only after it was back, and of each exactly once",
        heard == world.families - WAITING
        and bool(tried)
        and not any(one.fate == "delivered" for one in tried)
        and len(set(arrived)) == len(arrived) == world.families == len(set(certificates)),
        text_ja=f"停止中に交付された{WAITING}件の通知は復旧後に届き、いずれもちょうど1回処理された",
    )
    sim.tell(
        f"An official signs {len(certificates)} certificates. For {down_s // 60} minutes two systems of Kitami are without "
        f"power: {WAITING} pushes wait at the broker and arrive afterwards, each once.",
        f"職員が{len(certificates)}件の罹災証明書を交付した。北見市の2システムが{down_s // 60}分間停電したが、{WAITING}件の通知は"
        "中継で待機し、復旧後に1回ずつ届いた。",
    )


async def only_paper_helps(world: World, home: Household) -> None:
    """The family that stays in Kobe wants to claim the grant, and Kitami does not answer."""
    sim, desk = world.sim, world.kobe.node(VictimSupport)
    spouse = home.parents[1]
    with sim.refused(
        "recipient_unreachable",
        "While Kitami's ledger is down Kobe cannot ask it",
        text_ja="北見市の台帳が停止している間、神戸市は照会できない",
    ):
        await desk.ask_ledger(world.kobe.code(spouse), KITAMI)
    size = len(home.members)
    receipt = world.prefecture.take_paper(
        "rc-000001", KITAMI, sim.code("pref/01", spouse.handle), "全壊", size
    )
    sim.expect(
        "The claim goes to the prefecture on paper meanwhile",
        receipt.again is False and world.prefecture.claims() == [("rc-000001", "paper", None)],
        text_ja="その間、支援金の申請は紙で道に提出された",
    )
    for key in (CERTIFICATE, RECORD):  # Asked for in vain: the report says why.
        sim.saved(paper(key), spouse.handle, by=desk.address)


async def stay_in_kobe(world: World) -> None:
    """The city of evacuation is told what its aid needs, once the family has said that it stays there."""
    sim, home = world.sim, world.homes[0]
    desk = world.kobe.node(VictimSupport)
    code = world.kobe.code(home.head)
    with sim.refused(
        "withheld",
        "Kobe is told nothing before the family has said that it stays there",
        text_ja="世帯が避難先として届け出る前は、神戸市には提供されない",
    ):
        await desk.ask_ledger(code, KITAMI)
    world.office.note_stay(world.kitami.code(home.head), KOBE)
    new = await desk.take(code, AcceptQuery(KITAMI, ("lodging",)))
    again = await desk.take(world.kobe.code(home.parents[1]), AcceptQuery(KITAMI, ("lodging", "basic-grant")))
    await desk.send_on()
    await sim.sleep(MINUTE_S)
    with sim.refused(
        "withheld",
        "Sapporo, where nobody stays, is told nothing",
        text_ja="誰も避難していない札幌市には提供されない",
    ):
        await world.sapporo.node(VictimSupport).ask_ledger(sim.code("muni/01100", home.head.handle), KITAMI)
    sim.expect(
        "Kobe gives lodging once to the household, though both asked, and Kitami's ledger knows of it",
        (new.kinds, again.kinds) == (("lodging",), ("basic-grant",))
        and world.office.aids_of(world.kitami.code(home.head)) == [("lodging", desk.address)],
        text_ja="夫婦の双方が申し出ても神戸市の宿泊支援は世帯に1回で、北見市の被災者台帳にも記録される",
    )
    sim.expect(
        "The wife's claim through Kobe is the one that came on paper: the prefecture has one",
        world.prefecture.claims() == [("rc-000001", "paper", None)]
        and desk.applications()[-1][1:3] == ("basic-grant", "sent"),
        text_ja="妻が神戸市経由で出した支援金の申請は紙の申請と同一世帯のものとして扱われ、道の申請は1件のままである",
    )
    sim.saved(paper(CERTIFICATE), home.head.handle, by=desk.address)
    sim.tell(
        f"The {home.head.family.romaji} family stays in Kobe. Kobe learns from Kitami's ledger what its aid needs, and only "
        "after the family said so; the claim that went on paper and the one through Kobe are one claim.",
        f"{home.head.family.written}さん一家は神戸市に避難した。本人の届出の後、神戸市は援護に必要な限度で台帳情報の提供を受けた。"
        "紙で出した申請と神戸市経由の申請は1件として扱われた。",
    )


async def offer(world: World) -> list[int]:
    """An official decides what is offered to whom; the letters go out. Returns the numbers of who got one."""
    sim, desk = world.sim, world.desk
    prepared = desk.prepared()
    found = {
        number: set(prepared.get(world.kitami.code(home.head), ()))
        for number, home in enumerate(world.homes, 1)
    }
    fits = {number: fitting(number) for number, _ in enumerate(world.homes, 1)}
    fits[OLD].add("elderly-premium")
    sim.expect(
        "What fits each household is found from its damage, its house and its age, and nobody has applied by that",
        found == fits and desk.applications() == [],
        text_ja="被害の程度、家屋の所有、年齢から世帯ごとに使える支援が整理される。それだけで申請にはならない",
    )
    offered = [number for number, kinds in fits.items() if kinds]
    due = sim.now().date() + timedelta(days=30)
    for number in offered:
        desk.offer(world.kitami.code(world.homes[number - 1].head), due, OFFICIAL)
    await sim.sleep(MINUTE_S)
    letters = [len(world.portal.letters(portal_code(sim, home.head))) for home in world.homes]
    sim.expect(
        "After an official's decision each of these households has one letter, and nobody else has",
        letters == [int(number in offered) for number in fits],
        text_ja="職員の決定の後、対象の世帯にだけ案内が1通ずつ届く",
    )
    heads = [world.homes[number - 1].head.handle for number in offered]
    sim.reached(PORTAL_LETTER, heads, accepts=ACCEPT, by=desk.address)
    return offered


async def apply_once(world: World, offered: list[int]) -> None:
    """Families apply once for all aid, through an outage and twice over; the last one does not answer."""
    sim, desk, homes = world.sim, world.desk, world.homes
    prepared = desk.prepared()
    for number in offered[:-1]:
        home = homes[number - 1]
        await world.accept(home.head, *sorted(set(prepared[world.kitami.code(home.head)])))
    wives = await asyncio.gather(
        world.accept(homes[0].parents[1], "basic-grant", "property-tax"),
        world.accept(homes[OLD - 1].parents[1], "elderly-premium"),
    )
    taxes = [one for one in desk.applications() if one[1] == "property-tax"]
    with sim.offline(world.tax.address):
        left = await desk.send_on()
    held_up = [one for one in desk.applications() if one[2] == "open"]
    sim.expect(
        "Property tax was down: its applications wait with the reason, the others went on",
        left == len(taxes) == len(held_up)
        and {(kind, why) for _, kind, _, why in held_up} == {("property-tax", "recipient_unreachable")},
        text_ja="停止中の固定資産税への申請だけが理由とともに待機し、他は送付された",
    )
    left = await desk.send_on()
    sent = Counter(kind for _, kind, stage, _ in desk.applications() if stage == "sent")
    sim.expect(
        "Afterwards all are sent, and what a wife asked for again stayed one application",
        left == 0
        and [one.kinds for one in wives] == [(), ()]
        and len(world.tax.applications()) == len(taxes) == sent["property-tax"]
        and sent["elderly-premium"] == 1,
        text_ja="復旧後にすべて送付された。妻からの重複した申請は1件として扱われた",
    )
    for number in offered[:-1]:
        head, kinds = homes[number - 1].head, set(prepared[world.kitami.code(homes[number - 1].head)])
        if "basic-grant" in kinds and number != 1:  # The first family's claim went on paper.
            for key in (CERTIFICATE, RECORD):
                sim.saved(paper(key), head.handle, by=world.prefecture.address)
        for _ in kinds & {"property-tax", "elderly-premium"}:
            sim.saved(paper(CERTIFICATE), head.handle, by=desk.address)
    sim.tell(
        "An official offers each household what fits it, and a family applies once for all of it. What could not be "
        "passed on waited; what a wife asked for again, or in Kobe, stayed one.",
        "職員が世帯ごとに使える支援を案内し、各世帯は一度の申請で済んだ。送れなかった申請は待機して後に届き、"
        "配偶者や避難先からの重複は1件にまとめられた。",
    )


async def decide(world: World) -> None:
    """Officials decide; a second grant is refused, and a second aid is seen."""
    sim, prefecture, office = world.sim, world.prefecture, world.office
    certificates = [certificate for certificate, _, _ in prefecture.claims()]
    granted_yen = [prefecture.decide(number, OFFICIAL) for number in range(1, len(certificates) + 1)]
    applied = [certificate for certificate, kind, _, _ in world.desk.applications() if kind == "basic-grant"]
    sim.expect(
        f"The prefecture has one claim for each of {len(applied)} households: one million yen, half a million, and three "
        "quarters of a million for who lives alone",
        sorted(certificates) == sorted(applied)
        and granted_yen[:3] == [1_000_000, 500_000, 750_000]
        and set(granted_yen) <= {1_000_000, 500_000, 750_000},
        text_ja=f"道の申請は{len(applied)}世帯に1件ずつで、全壊100万円、大規模半壊50万円、単身の全壊75万円となる",
    )
    with sim.refused(
        "manual_review",
        "A claim that was decided cannot be decided again",
        text_ja="決定済みの申請を再度決定することはできない",
    ):
        prefecture.decide(1, OFFICIAL)
    old = world.homes[OLD - 1]
    theirs = world.office.db.execute(
        "SELECT certificate FROM household WHERE house = ?", (house_of(OLD),)
    ).fetchone()[0]
    reduced_yen = [world.tax.grant(certificate, OFFICIAL) for certificate, _ in world.tax.applications()]
    premium_yen = [
        world.kitami.node(ElderlyMedical).enter_decision(world.kitami.code(one), theirs, OFFICIAL)
        for one in old.members
    ]
    sim.expect(
        "The tax on a house that was destroyed falls away, and half the premium of each of the old couple",
        reduced_yen[0] == HOUSE_TAX_YEN and premium_yen == [PREMIUM_YEN // 2] * 2,
        text_ja="全壊した家屋の固定資産税は全額、高齢夫婦の保険料はそれぞれ半額が減免される",
    )
    await give_twice(world, office.given_twice())


async def give_twice(world: World, before: list[tuple[int, str]]) -> None:
    """Kitami gives lodging to a family that had it in Kobe: the ledger shows it to an official."""
    sim, home, code = world.sim, world.homes[0], world.kitami.code(world.homes[0].head)
    await world.desk.take(code, AcceptQuery(KITAMI, ("lodging",)))
    await world.desk.send_on()
    await sim.sleep(MINUTE_S - 1)
    await wait_until(sim, lambda: len(world.office.aids_of(code)) > 2)
    sim.expect(
        "When Kitami gives lodging to the family that Kobe lodges, the ledger shows both, and a person looks into it",
        before == []
        and world.office.given_twice() == [(1, "lodging")]
        and sorted(kind for kind, _ in world.office.aids_of(code)) == ["basic-grant", "lodging", "lodging"],
        text_ja="神戸市で宿泊支援を受けた世帯に北見市も支給すると、被災者台帳で重複が分かり、職員が確認する",
    )
    sim.tell(
        f"The grants are decided once each. A second lodging for the {home.head.family.romaji} family shows in the ledger: "
        "nobody is refused by a machine, and an official looks into it.",
        f"支援金は各世帯1回だけ決定された。{home.head.family.written}さん一家への二重の宿泊支援は台帳に現れ、機械的に拒否せず、職員が確認する。",
    )


async def look_back(world: World) -> None:
    """The head reads who asked the ledger."""
    sim = world.sim
    lines = await world.portal.read_history(portal_code(sim, world.homes[0].head))
    asked = {(line.requester, line.outcome) for line in lines if line.service == "disaster.certificate.v1"}
    kobe, prefecture = world.kobe.address("victim-support"), world.prefecture.address
    sim.expect(
        "The head reads in the history that Kobe and the prefecture asked the ledger, and that Sapporo was refused",
        {kobe, prefecture} <= {who for who, _ in asked}
        and (world.sapporo.address("victim-support"), "not_provided") in asked,
        text_ja="世帯主は、神戸市と道が台帳を照会したこと、札幌市には提供されなかったことをやりとり履歴で確認できる",
    )
