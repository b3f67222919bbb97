"""A birth is registered: its event invites the family, and grants nothing.

Two children are born in Kitami on one day. One family claims on the last day, the other on the day after.
The event meets a curious office, a system that is switched off, one that crashes, and a replay.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from itertools import pairwise

from mesh import Event, Simulation, UsageError, scenario
from mesh.builtin import SUBSCRIPTION, SubscribeQuery
from mesh.jws import parse
from mesh.names import BROKER
from mesh.simulation import JST
from mesh.testing import answers_to, messages
from nodes.agency.code_issuer import ACQUISITION, ISSUER, LINKAGE_CODE, CodeQuery
from nodes.agency.commission import COMMISSION, Commission
from nodes.agency.jlis import LINKAGE_ACQUIRE, RELAY, AcquireQuery
from nodes.agency.pension import PENSION
from nodes.data.papers import paper
from nodes.data.people import Household, Person, Population
from nodes.municipality.allowance_rules import due_date
from nodes.municipality.assembly import City, assemble
from nodes.municipality.child_allowance import CLAIM, PROCEDURE, ClaimQuery, ClaimReceipt
from nodes.municipality.child_medical import ChildMedicalSubsidy
from nodes.municipality.claim_file import Decision
from nodes.municipality.health import PLAN
from nodes.municipality.resident import BIRTH
from nodes.portal.inbox import PORTAL, PORTAL_LETTER, Portal
from scenarios._newborns import (
    Family,
    TourismOffice,
    deliveries,
    heard_code_in,
    register,
    rows_in,
    settle,
    state_of,
    taken_in,
)
from scenarios._portal import portal_code

BORN = date(2026, 5, 20)
LAST_DAY = date(2026, 6, 4)
"""Day 15: 21 May, the day after the birth, is day 1 (児童手当法8条3項)."""
MINUTE_S = 60.0
OFFICIAL = "allowance-clerk-a"


@scenario(
    title="A birth is registered, and the family is invited to claim",
    title_ja="出生届から児童手当の認定請求まで",
    rules=(1, 3, 6, 12, 13, 15),
    sources=(
        "公共サービスメッシュ（地方公共団体内の情報活用）",
        "標準準拠システム（20業務）",
        "マイナポータル",
        "戸籍法49条",
        "住民基本台帳法8条",
        "番号法21条の2",
        "児童手当法7条・8条",
        "重点計画 2023 (3)",
    ),
    starts="2026-05-20T09:00+09:00",
)
async def run(sim: Simulation, *, away_s: int = 60) -> None:
    """Tell the story; `away_s` is for how long health management is switched off."""
    if not 10 <= away_s <= 86_400:
        raise UsageError(f"away_s is from 10 to 86400 seconds, not {away_s}; give --set away_s=60")
    kitami, kobe = assemble(sim, "01208"), assemble(sim, "28100")
    sim.add(ChildMedicalSubsidy, kitami.address("child-medical"))
    sim.add(TourismOffice, kitami.address("tourism"))
    population = Population(sim)
    homes = [population.household("01208"), population.household("01208")]
    for home in homes:
        settle(sim, kitami, home)

    punctual = await deliver_while_away(sim, kitami, population.newborn(homes[0], BORN), homes[0], away_s)
    late = await deliver_into_a_crash(sim, kitami, population.newborn(homes[1], BORN), homes[1])
    check_who_heard(sim, kitami, kobe)
    check_event_is_thin(sim, punctual)
    await refuse_the_unlawful(sim, kitami, punctual)
    await replay(sim, kitami)

    await invite(sim, kitami, [punctual, late])
    await claim(sim, kitami, punctual, late)
    await look_back(sim, kitami, punctual)


async def deliver_while_away(
    sim: Simulation, city: City, child: Person, home: Household, away_s: int
) -> Family:
    """The first birth: its code comes through J-LIS; health management hears of it when it is back."""
    health = city.address("health")
    with sim.offline(health):
        family = await register(sim, city, child, home)
        sim.tell(
            "Kitami accepts a notification of birth. The newborn has no linkage code yet: the register asks "
            "J-LIS with the resident code, J-LIS has a number reserved, and the code issuer gives Kitami its "
            "own code for that number.",
            "北見市が出生届を受理した。出生児にはまだ符号がない。住民基本台帳の担当は住民票コードでJ-LISに照会し、"
            "J-LISを通じて割り当てられた取得番号により、北見市だけの符号の通知を受けた。",
        )
        sim.expect(
            "The code is Kitami's own, and J-LIS passed on numbers only",
            family.child_code == sim.code(city.member, child.handle) and not heard_code_in(sim, RELAY),
            text_ja="符号は北見市固有のもので、J-LISは取得番号だけを中継した",
        )
        await sim.sleep(away_s)
    attempts = [one for one in deliveries(sim, health) if one.fate != "delivered"]
    pauses_us = [later.sent_us - one.sent_us for one, later in pairwise(attempts)]
    sim.expect(
        f"Health management was away: the broker tried {len(attempts)} times, after pauses that grew up to 25 s",
        len(attempts) > 2
        and pauses_us[:4] == sorted(pauses_us[:4])
        and max(pauses_us, default=0) <= 25_000_000,
        text_ja=f"健康管理システムの停止中、ブローカーは間隔を延ばしながら（最大25秒）{len(attempts)}回送信した",
    )
    await sim.sleep(MINUTE_S)
    sim.expect(
        "Once it was back it planned each check-up and vaccination once",
        len(city.health.plan_of(family.child_code)) == len(PLAN) and len(taken_in(sim, health, BIRTH)) == 1,
        text_ja="復旧後、健診・予防接種の予定が1回だけ作られた",
    )
    return family


async def deliver_into_a_crash(sim: Simulation, city: City, child: Person, home: Household) -> Family:
    """The second birth: the allowance office crashes after it signed for the event and before it acts."""
    office = city.address("child-allowance")
    crashed: list[str] = []

    def crash_on_receipt(sender: str, recipient: str, line: bytes, now_us: int) -> None:
        if sender == office and recipient == BROKER and not crashed:
            crashed.append(sender)
            sim.loop.call_soon(sim.crash, sender)

    sim.disturbance.rules.append(crash_on_receipt)
    before = len(taken_in(sim, office, BIRTH))
    family = await register(sim, city, child, home)
    await sim.sleep(MINUTE_S)
    sim.disturbance.rules.remove(crash_on_receipt)
    sim.restart(office)
    await sim.sleep(MINUTE_S)
    noted = [row for row in city.child_allowance.invitations() if row["about"] == family.child_code]
    sim.expect(
        "The allowance office crashed after it had signed for the event; it handled it exactly once, from "
        "its inbox",
        crashed == [office] and len(noted) == 1 and len(taken_in(sim, office, BIRTH)) == before + 1,
        text_ja="児童手当システムは受領の署名直後に停止したが、復旧後、受信箱から1回だけ処理した",
    )
    sim.tell(
        "The events reach the three systems of Kitami that the law names, through an outage and a crash, and "
        "take effect once. Nobody in Kobe hears of them.",
        "出生の通知は、法令に定める北見市の3システムだけに届き、停止や障害をまたいで1回だけ処理された。神戸市には届かない。",
    )
    return family


def check_who_heard(sim: Simulation, kitami: City, kobe: City) -> None:
    """Subscribers are those whom rows name, in the same body."""
    heard = {one.recipient for one in deliveries(sim)}
    named = {kitami.address(system) for system in ("child-allowance", "health", "child-medical")}
    sim.expect(
        "The event went to allowance, health and medical subsidy of the same city, and to nobody else",
        heard == named,
        text_ja="通知先は同じ市の児童手当・健康管理・子ども医療費助成だけ",
    )
    medical = sim.node(kitami.address("child-medical"), ChildMedicalSubsidy)
    sim.expect(
        "The medical subsidy noted both children, Kobe invited nobody",
        len(medical.offers_made()) == 2 and kobe.child_allowance.invitations() == [],
        text_ja="子ども医療費助成は2人を記録し、神戸市は誰も案内しない",
    )


def check_event_is_thin(sim: Simulation, family: Family) -> None:
    """What travels says that something happened, and seals even about whom."""
    events = messages(sim, Event)
    payloads = [parse(one.line).payload for one in events]
    secrets = (family.child.name, family.child.kana, family.child.resident_code, family.child_code)
    sim.expect(
        "The event carries no personal data: no body, no name, no code that anybody but the broker can read",
        len(payloads) > 3
        and not any(b'"data"' in one for one in payloads)
        and not any(secret.encode() in one for secret in secrets for one in payloads),
        text_ja="通知に個人情報はない（本文も氏名もなく、符号はブローカーだけが読める）",
        about=events[0].message.id,
    )


async def refuse_the_unlawful(sim: Simulation, city: City, family: Family) -> None:
    """A curious office, and a number that was used already."""
    tourism = sim.node(city.address("tourism"), TourismOffice)
    with sim.refused(
        "no_legal_basis",
        "The tourism office asks to hear of births: no row names it",
        text_ja="観光課は出生の通知を受けられない（根拠なし）",
    ):
        await tourism.ask(BROKER, SUBSCRIPTION, SubscribeQuery(BIRTH.name))
    sim.expect(
        "It declared the event all the same, and got nothing",
        tourism.heard() == 0 and deliveries(sim, tourism.address) == [],
        text_ja="観光課は受信を宣言していたが、何も届かない",
    )
    answer = await city.child_allowance.ask(BROKER, SUBSCRIPTION, SubscribeQuery(BIRTH.name))
    sim.expect(
        "The allowance office is told the row by which it hears of births",
        answer.basis == "ca-birth",
        text_ja="児童手当担当には、通知を受ける根拠の行が示される",
    )
    register = city.resident
    query = AcquireQuery(family.child.resident_code)
    number = (await register.ask(RELAY, LINKAGE_ACQUIRE, query, procedure=ACQUISITION)).number
    await register.ask(ISSUER, LINKAGE_CODE, CodeQuery(number), procedure=ACQUISITION)
    with sim.refused("not_found", "An acquisition number works once", text_ja="取得番号は一度しか使えない"):
        await register.ask(ISSUER, LINKAGE_CODE, CodeQuery(number), procedure=ACQUISITION)


async def replay(sim: Simulation, city: City) -> None:
    """Somebody who recorded the wire sends everything again: to the broker, and to a subscriber."""
    before = state_of(sim, city)
    sent = next(one for one in messages(sim, Event) if one.sender == city.address("resident"))
    delivered = deliveries(sim, city.address("child-medical"))[0]
    sim.transmit(city.address("tourism"), BROKER, sent.line)
    sim.transmit(
        city.address("tourism"), delivered.recipient, delivered.line + b"\n" + (delivered.permit or b"")
    )
    await sim.sleep(MINUTE_S)
    said = [one.refusal for one in answers_to(sim, sent.line) if one.recipient == city.address("tourism")]
    sim.expect(
        "The recorded event, sent again to the broker and to a subscriber, is refused to who sent it, without effect",
        state_of(sim, city) == before and bool(said) and set(said) == {"sender_mismatch"},
        text_ja="記録された通知を第三者が再送しても、その者に拒否が返るだけで、何の効果もない",
        about=sent.message.id,
    )


async def invite(sim: Simulation, city: City, families: list[Family]) -> None:
    """An official looks at whom to invite and writes to them in the portal; nothing is granted."""
    office = city.child_allowance
    for row in office.invitations():
        office.invite(row["event"], due_date(BORN), OFFICIAL)
    await sim.sleep(MINUTE_S)
    portal = sim.node(PORTAL, Portal)
    inboxes = [portal.letters(portal_code(sim, family.parent)) for family in families]
    sim.reached(
        PORTAL_LETTER, [family.parent.handle for family in families], accepts=CLAIM, by=office.address
    )
    sim.expect(
        "Each family finds one letter in the portal, with the last day to claim: 15 days from the day after birth",
        [[(row["procedure"], row["due"]) for row in letters] for letters in inboxes]
        == [[(PROCEDURE, LAST_DAY.isoformat())]] * len(families),
        text_ja="各家庭のマイナポータルに案内が1通届き、期限（出生の翌日から15日以内）が示される",
    )
    sim.expect(
        "The birth alone opened no claim and granted nothing",
        rows_in(office, "claim") == rows_in(office, "decision") == 0,
        text_ja="出生だけでは請求も認定も生じない",
    )
    sim.tell(
        "An official of the allowance office writes to both families in the portal. Nothing is granted: the "
        "law asks for the parent's own claim within 15 days of the day after the birth.",
        "児童手当の担当者が、両家庭にマイナポータルで案内を送った。自動支給はされず、出生の翌日から15日以内に"
        "親の認定請求が必要である。",
    )


async def claim(sim: Simulation, city: City, punctual: Family, late: Family) -> None:
    """One family claims in the last minute of day 15, the other in the first of day 16."""
    midnight = datetime.combine(LAST_DAY + timedelta(days=1), datetime.min.time(), tzinfo=JST)
    await sim.sleep((midnight - sim.now()).total_seconds() - MINUTE_S)
    in_time, granted = await file_claim(sim, city, punctual)
    await sim.sleep((midnight - sim.now()).total_seconds() + MINUTE_S)
    too_late, postponed = await file_claim(sim, city, late)
    sim.expect(
        "Day 15: the claim is in time, and the allowance begins in June",
        in_time.in_time and (granted.outcome, granted.first_month) == ("granted", "2026-06"),
        text_ja="15日目: 期限内。6月分から支給",
    )
    sim.expect(
        "Day 16: the claim is taken but late, and the allowance begins in July",
        not too_late.in_time and (postponed.outcome, postponed.first_month) == ("granted", "2026-07"),
        text_ja="16日目: 受理されるが期限後。7月分から支給",
    )
    sim.expect(
        "There are two claims, each filed by its parent through the portal",
        rows_in(city.child_allowance, "claim") == 2
        and [
            [row["outcome"] for row in sim.node(PORTAL, Portal).applications(portal_code(sim, family.parent))]
            for family in (punctual, late)
        ]
        == [["received"], ["received"]],
        text_ja="請求は2件。いずれも親がマイナポータルから提出した",
    )
    for family in (punctual, late):
        sim.saved(paper("pension-proof"), family.parent.handle)
    sim.tell(
        f"One family claims on the last day and is paid {granted.monthly_yen} yen a month from June. The other "
        "claims a few minutes later, on day 16, and loses June.",
        f"一方の家庭は最終日に請求し、6月分から月{granted.monthly_yen}円が支給される。他方は数分後の16日目に請求し、6月分を失った。",
    )


async def file_claim(sim: Simulation, city: City, family: Family) -> tuple[ClaimReceipt, Decision]:
    """The parent claims in the portal, and an official examines the claim."""
    portal = sim.node(PORTAL, Portal)
    receipt = await portal.apply(
        portal_code(sim, family.parent),
        city.address("child-allowance"),
        CLAIM,
        ClaimQuery("birth", BORN.isoformat()),
        procedure=PROCEDURE,
    )
    return receipt, await city.child_allowance.examine(receipt.number)


async def look_back(sim: Simulation, city: City, family: Family) -> None:
    """The parent reads who asked what; the commission lays the records side by side."""
    portal = sim.node(PORTAL, Portal)
    mine = await portal.read_history(portal_code(sim, family.parent))
    asked = [
        (line.requester, line.provider, line.procedure, line.items)
        for line in mine
        if line.service == "tax.income.v1"
    ]
    sim.expect(
        "The parent reads in the history that the allowance office asked for income, for which procedure and which items",
        asked
        == [(city.address("child-allowance"), city.address("tax"), PROCEDURE, "tax_year total_income_yen")],
        text_ja="親は、誰が何の事務でどの項目を照会したかを履歴で確認できる",
    )
    childs = await portal.read_history(portal_code(sim, family.child))
    told = sorted(line.provider for line in childs if line.service == BIRTH.name)
    sim.expect(
        "As legal representative the parent reads in the child's history who was told of the birth",
        told == sorted({one.recipient for one in deliveries(sim)}),
        text_ja="法定代理人として、子の出生が誰に通知されたかも確認できる",
    )
    parties = [
        city.address(name) for name in ("resident", "tax", "child-allowance", "health", "child-medical")
    ]
    findings = await sim.node(COMMISSION, Commission).reconcile([*parties, PENSION, RELAY, ISSUER, PORTAL])
    sim.expect(
        "The commission lays all records side by side and finds nothing",
        findings == [],
        text_ja="個人情報保護委員会が各機関の記録を突合し、不一致はない",
    )
    sim.tell(
        "The parent reads all of it in the portal, and the commission finds that the records agree.",
        "親はマイナポータルですべてのやりとりを確認でき、委員会の突合でも記録は一致した。",
    )
