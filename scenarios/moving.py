"""A move from Kobe to Kitami in the busiest month: one visit, no certificate, and nobody lost on the way.

A family of four files its 転出届 on the portal with the father's card, comes to Kitami's counter, and is told by the
new city's offices what to do next. Others file too early, come too late, come without having filed, or never come.
"""

from __future__ import annotations

from datetime import date, timedelta

from mesh import Simulation, UsageError, scenario
from mesh.message import Refusal
from mesh.testing import ledger, messages, reason
from nodes.agency.certificates import CERTIFICATES, CertificateAuthority
from nodes.data.papers import paper
from nodes.data.people import Household, Population
from nodes.municipality.allowance_rules import due_date
from nodes.municipality.assembly import assemble
from nodes.municipality.child_allowance import CLAIM, PROCEDURE, ClaimQuery
from nodes.municipality.electoral_roll import ElectoralRoll
from nodes.municipality.health_insurance import HealthInsurance
from nodes.municipality.moves import MOVED_IN, MOVING_OUT, MOVING_OUT_RECORD
from nodes.municipality.national_pension import NationalPension
from nodes.municipality.school_enrolment import SchoolEnrolment
from nodes.portal.inbox import PORTAL, PORTAL_LETTER, Letter, Portal
from scenarios._movers import World

MOVE_IN_DAYS, CARD_DAYS = 14, 30
"""Within how many days of moving the card serves (住民基本台帳法22条), and of the planned move-out (24条の2): as the law has
them, so that the register is not held against itself."""
PLANNED = date(2026, 4, 5)
"""When the family moves."""
NEVER_MOVED = date(2026, 3, 24)
"""When somebody was to move who never came."""
OLD_SYSTEMS = ("resident", "application-management", "electoral-roll")
NEW_SYSTEMS = (
    "resident",
    "child-allowance",
    "health-insurance",
    "national-pension",
    "school-enrolment",
    "electoral-roll",
)
CERTIFICATE = "moving-out-certificate"


@scenario(
    title="Moving: one visit, no certificate, and word to every office",
    title_ja="引越しワンストップ（オンライン転出届・転入届の特例・転入後の手続案内）",
    rules=(1, 3, 4, 10, 11, 12, 14, 15),
    sources=(
        "マイナポータル",
        "ぴったりサービス",
        "公的個人認証サービス（J-LIS）",
        "標準準拠システム（20業務）",
        "住民基本台帳法9条・22条・24条・24条の2・34条",
        "デジタル庁「引越し手続オンラインサービス」",
        "公職選挙法21条・22条・27条",
    ),
    starts="2026-03-02T09:00+09:00",
)
async def run(sim: Simulation, *, visit_day: int = 5) -> None:
    """Tell the story; `visit_day` is how many days after moving the family comes to the counter."""
    if not 4 <= visit_day <= MOVE_IN_DAYS:
        raise UsageError(f"visit_day is from 4 to {MOVE_IN_DAYS}, not {visit_day}; give --set visit_day=5")
    kobe, kitami = assemble(sim, "28100", *OLD_SYSTEMS), assemble(sim, "01208", *NEW_SYSTEMS)
    world = World(sim, kitami, kobe, Population(sim))
    family = await notify_the_move(world)
    absent, delayed = await file_and_stay_away(world), await file_and_be_delayed(world)
    await come_too_late(world)
    await leave_and_arrive(world, family, visit_day)
    await come_after_thirty_days(world, delayed)
    await hear_of_it(world, family)
    await claim_in_time(world, family)
    await come_without_having_filed(world)
    await file_too_late(world)
    await look_for_the_absent(world, absent)
    check_what_was_told(world)
    await register_voters(world, family)


async def notify_the_move(world: World) -> Household:
    """34 days before the move is too early; 30 days before is in time, and one card speaks for four."""
    sim, kobe = world.sim, world.kobe
    family, card = world.settle(1, 8)
    for code in world.codes(kobe, family):
        kobe.resident.note_entitlements(code, "health-insurance")
    for parent in family.parents:
        kobe.resident.note_entitlements(kobe.code(parent), "national-pension")
        kobe.node(ElectoralRoll).take_over(kobe.code(parent), parent.born, date(2020, 6, 1))
    kobe.resident.note_entitlements(kobe.code(family.head), "child-allowance")
    await world.file(family.head, card, PLANNED)
    refusals = [one for one in messages(sim, Refusal) if one.sender == kobe.address("resident")]
    # A repeat of the question is answered with the same bytes.
    refused = list({one.line: reason(sim, one) for one in refusals}.values())
    for row in world.management.unresolved():
        await world.management.give_back(row["receipt"], "more than 30 days before the move")
    sim.expect(
        "34 days before the move Kobe's register refuses the notice, and an official gives it back",
        refused == ["manual_review"] and await world.state(family.head) == "returned",
        text_ja="引越しの34日前の転出届は受け付けられず、職員が返却する",
    )
    await world.until(PLANNED - timedelta(days=30))
    await world.file(family.head, card, PLANNED, PLANNED + timedelta(days=5))
    expected = list(world.kitami.resident.moves.expected())
    sim.expect(
        "30 days before it is in time: with the father's card alone all four are announced to Kitami",
        sorted(expected) == sorted(world.codes(world.kitami, family))
        and await world.state(family.head) == "completed",
        text_ja="30日前の転出届は受理され、父のカード1枚で世帯4人の転出証明書情報が北見市へ通知される",
    )
    sim.tell(
        f"The {family.head.family.romaji} family will move from Kobe to Kitami on 5 April. A first notice on the portal "
        "comes four days too early; the second is taken, and Kobe's register announces all four to Kitami's.",
        f"{family.head.family.written}さん一家は4月5日に神戸市から北見市へ引っ越す。マイナポータルの転出届は1回目は4日早く、2回目が"
        "受理されて、神戸市の住民記録が4人の転出証明書情報を北見市に通知した。",
    )
    return family


async def file_and_stay_away(world: World) -> Household:
    """Somebody files, and will never come."""
    absent, card = world.settle(parents=1)
    await world.file(absent.head, card, NEVER_MOVED)
    return absent


async def file_and_be_delayed(world: World) -> Household:
    """Somebody plans to move that very day, and will move weeks later."""
    delayed, card = world.settle(parents=1)
    await world.file(delayed.head, card, world.today)
    return delayed


async def come_too_late(world: World) -> None:
    """15 days after moving: the card no longer replaces the certificate."""
    sim, kobe, kitami = world.sim, world.kobe, world.kitami
    late, card = world.settle(parents=1)
    moved_on = date(2026, 3, 18)
    await world.file(late.head, card, moved_on)
    await world.until(moved_on + timedelta(days=MOVE_IN_DAYS + 1))
    code = kitami.code(late.head)
    with sim.refused(
        "manual_review",
        "15 days after moving the card is no longer enough: Kitami asks for the paper certificate",
        text_ja="転入から15日目はカードによる転入届の特例が使えず、紙の転出証明書が必要になる",
    ):
        await kitami.resident.accept_move_in(code, from_city="28100", moved_on=moved_on)
    printed = kobe.resident.print_certificate(kobe.code(late.head))
    entered = kitami.resident.accept_certificate([(code, printed)], moved_on=moved_on)
    sim.expect(
        "With the paper the resident is entered, and the card has lapsed",
        entered == [code] and kitami.resident.moves.card(code) == "lapsed",
        text_ja="転出証明書により転入届は受理されるが、カードは失効する",
    )
    sim.fell_back(
        paper(CERTIFICATE),
        "the resident came more than 14 days after moving",
        "転入をした日から14日を過ぎて来庁した",
    )
    sim.tell(
        "Somebody else comes on day 15, needs the certificate on paper after all, and has a card that lapsed.",
        "15日目に来た別の人は紙の転出証明書が必要となり、カードも失効した。",
    )


async def leave_and_arrive(world: World, family: Household, visit_day: int) -> None:
    """On the planned day Kobe strikes them off; between that day and the counter they are still on record."""
    sim, kobe, kitami = world.sim, world.kobe, world.kitami
    await world.until(PLANNED)
    codes, old_codes = world.codes(kitami, family), world.codes(kobe, family)
    with sim.refused(
        "manual_review",
        "Before the day of the move nobody can be entered in the new city",
        text_ja="引越しの日より前に転入届は受理されない",
    ):
        await kitami.resident.accept_move_in(
            codes[0], from_city="28100", moved_on=PLANNED + timedelta(days=1)
        )
    await sim.sleep(60)
    lapsed = sim.node(CERTIFICATES, CertificateAuthority).lapses(sim.code("org/j-lis", family.head.handle))
    sim.expect(
        "On the planned day Kobe strikes all four off, the father's signature certificate lapses, and Kobe keeps them "
        "on file until they arrive",
        kobe.resident.find(family.head.name, family.head.born.isoformat()) == []
        and lapsed == ["identity-change"]
        and kobe.resident.moves.unconfirmed(old_codes) == old_codes,
        text_ja="転出予定日に神戸市は4人を消除し、署名用電子証明書は失効する。転入の確認まで神戸市の記録に残る",
    )
    await world.until(PLANNED + timedelta(days=visit_day))
    entered = await kitami.resident.accept_move_in(codes[0], from_city="28100", moved_on=PLANNED)
    await sim.sleep(60)
    sim.expect(
        f"{visit_day} days after moving the father shows his card at Kitami's counter: all four are entered, without paper",
        entered == codes and kitami.resident.moves.card(codes[0]) == "continued",
        text_ja=f"転入から{visit_day}日目、父が窓口でカードを提示し、紙の証明書なしで4人の転入届が受理される",
    )
    sim.expect(
        "Kitami's notice closes Kobe's file: none of the four is open any more",
        kobe.resident.moves.unconfirmed(old_codes) == [],
        text_ja="北見市の転入通知により、神戸市の記録で4人の転出が確定する",
    )
    sim.saved(paper(CERTIFICATE), family.head.handle)
    sim.tell(
        f"On 5 April Kobe strikes the family off and keeps them on file. {visit_day} days later the father comes to "
        "Kitami's counter with one card; the family made no visit in Kobe and brought no certificate.",
        f"4月5日に神戸市は一家を消除し、確認待ちとした。{visit_day}日後、父がカード1枚で北見市の窓口を訪れた。神戸市への来庁も証明書も不要だった。",
    )


async def come_after_thirty_days(world: World, delayed: Household) -> None:
    """Five days after moving, but more than 30 days after the planned move-out: of the two limits the earlier counts."""
    sim, kobe, kitami = world.sim, world.kobe, world.kitami
    moved_on, code = world.today - timedelta(days=5), kitami.code(delayed.head)
    with sim.refused(
        "manual_review",
        "5 days after moving, but more than 30 days after the planned day: the card is no longer enough either",
        text_ja="転入から5日目でも、転出予定日から30日を過ぎるとカードによる特例は使えない",
    ):
        await kitami.resident.accept_move_in(code, from_city="28100", moved_on=moved_on)
    printed = kobe.resident.print_certificate(kobe.code(delayed.head))
    kitami.resident.accept_certificate([(code, printed)], moved_on=moved_on)
    sim.expect(
        "The paper is accepted, and that card has lapsed too",
        kitami.resident.moves.card(code) == "lapsed",
        text_ja="紙の転出証明書で転入は受理されるが、このカードも失効する",
    )
    sim.fell_back(
        paper(CERTIFICATE),
        "the resident came more than 30 days after the planned move-out",
        "転出予定日から30日を過ぎて来庁した",
    )
    sim.tell(
        "A third moved much later than planned and comes five days after moving: more than 30 days after the planned "
        "day, with the same end.",
        "3人目は予定より大幅に遅れて引っ越し、転入から5日目に来庁したが、転出予定日から30日を過ぎており、同じ結果となった。",
    )


async def hear_of_it(world: World, family: Household) -> None:
    """Five offices of the new city hear of it; three write what to do next; nobody is enrolled by that."""
    sim, kitami = world.sim, world.kitami
    insurance, pension, school = (
        kitami.node(HealthInsurance),
        kitami.node(NationalPension),
        kitami.node(SchoolEnrolment),
    )
    child = family.children[0]
    school.designate(kitami.code(child), "常呂小学校")
    by = (PLANNED + timedelta(days=MOVE_IN_DAYS)).isoformat()
    insurance.guidance.write(
        Letter("Please enrol in national health insurance", "国民健康保険の加入届をお願いします", by),
        "health-insurance",
    )
    pension.guidance.write(
        Letter("See whether the national pension needs a notice", "国民年金の届出の要否をご確認ください", by),
        "national-pension",
    )
    school.guidance.write(
        Letter("A school is designated for your child", "お子さんの就学校を指定しました", by),
        "school-enrolment",
    )
    office = kitami.child_allowance
    for row in office.invitations():
        office.invite(row["event"], due_date(PLANNED), "allowance-clerk-a")
    await sim.sleep(60)
    portal = sim.node(PORTAL, Portal)
    letters = [row["procedure"] for one in family.members for row in portal.letters(world.portal_code(one))]
    # One household for insurance, school and allowance, and each parent for the pension.
    sim.reached(PORTAL_LETTER, [family.head.handle], accepts=CLAIM, by=office.address)
    for node, persons in (
        (insurance, family.parents[:1]),
        (school, family.parents[:1]),
        (pension, family.parents),
    ):
        sim.reached(PORTAL_LETTER, [person.handle for person in persons], by=node.address)
    sim.expect(
        "The father is written to by four offices, the mother by the pension: each office that the family had to do with",
        sorted(letters)
        == [
            "child-allowance",
            "health-insurance",
            "national-pension",
            "national-pension",
            "school-enrolment",
        ],
        text_ja="父に国保・年金・就学・児童手当、母に年金の案内が届く（従前の資格に応じた窓口だけが案内する）",
    )
    sim.expect(
        "Only the child of school age is on the school roll; nobody is insured, and nothing is granted, by the move alone",
        [row["child"] for row in school.pupils()] == [kitami.code(child)]
        and insurance.count() == 0
        and office.db.execute("SELECT count(*) FROM claim").fetchone()[0] == 0,
        text_ja="学齢簿には学齢の子だけが載る。転入だけで国保に加入したり手当が認定されたりはしない",
    )
    sim.expect(
        "What the insurance knows of the old city it heard from its own register: it asked there, wrote to the portal, and "
        "had to do with nobody else",
        asked_by_insurance(world) == {(kitami.address("resident"), False), (PORTAL, True)},
        text_ja="国保が従前の資格を知るのは、自市の住民記録からだけである",
    )
    sim.tell(
        "Kitami's offices hear of the move. Health insurance, pension, school and child allowance write to the family "
        "what to do next and until when; the electoral roll needs no notice.",
        "転入は北見市の各課に通知され、国保・年金・就学・児童手当が、次の手続と期限を案内した。選挙人名簿は届出を要しない。",
    )


def asked_by_insurance(world: World) -> set[tuple[str, bool]]:
    """Whom the health insurance turned to, by its own ledger: each address, and whether it was with a letter."""
    rows = ledger(world.sim, world.kitami.node(HealthInsurance).address)
    return {(row.provider or "", row.service == PORTAL_LETTER.name) for row in rows if row.entry == "opened"}


async def claim_in_time(world: World, family: Household) -> None:
    """The father follows one letter on the portal."""
    sim = world.sim
    portal = sim.node(PORTAL, Portal)
    receipt = await portal.apply(
        world.portal_code(family.head),
        world.kitami.address("child-allowance"),
        CLAIM,
        ClaimQuery("move-in", PLANNED.isoformat()),
        procedure=PROCEDURE,
    )
    sim.expect(
        "The father follows the letter and claims child allowance, within 15 days of the planned move-out",
        receipt.in_time and receipt.due_on == "2026-04-20",
        text_ja="父は案内に従い、転出予定日から15日以内に児童手当を請求した",
    )


async def come_without_having_filed(world: World) -> None:
    """Out of order: 転入届 before 転出届."""
    sim, kitami = world.sim, world.kitami
    hasty, card = world.settle(parents=1)
    moved_on = world.today - timedelta(days=2)
    code = kitami.code(hasty.head)
    with sim.refused(
        "not_found",
        "Kitami asks Kobe's register about somebody who never filed: Kobe knows of no move-out",
        text_ja="転出届をせずに来た人について、北見市が神戸市の住民記録に照会しても、転出の届出がない",
    ):
        await kitami.resident.accept_move_in(code, from_city="28100", moved_on=moved_on)
    await world.file(hasty.head, card, moved_on)
    entered = await kitami.resident.accept_move_in(code, from_city="28100", moved_on=moved_on)
    await sim.sleep(60)
    sim.expect(
        "The resident files on the portal there and then, 2 days after moving, and is entered the same day",
        entered == [code] and world.kobe.resident.moves.unconfirmed([world.kobe.code(hasty.head)]) == [],
        text_ja="その場でマイナポータルから転出届をし（引越しの2日後）、当日中に転入届が受理される",
    )
    sim.saved(paper(CERTIFICATE), hasty.head.handle)
    sim.tell(
        "Another stands at the counter without having told Kobe, files on the phone there, and is entered the same day.",
        "転出届をせずに来庁した別の人は、その場でスマートフォンから届け出て、当日中に転入が受理された。",
    )


async def file_too_late(world: World) -> None:
    """11 days after moving the portal is closed; the certificate comes by post."""
    sim, kobe, kitami = world.sim, world.kobe, world.kitami
    slow, card = world.settle(parents=1)
    moved_on = world.today - timedelta(days=11)
    receipt = await world.file(slow.head, card, moved_on)
    unresolved = [row["receipt"] for row in world.management.unresolved()]
    await world.management.give_back(receipt, "more than 10 days after the move")
    code = kitami.code(slow.head)
    printed = kobe.resident.issue_certificate(kobe.code(slow.head), "01208", moved_on)
    await world.until(world.today + timedelta(days=2))
    entered = kitami.resident.accept_certificate([(code, printed[0][1])], moved_on=moved_on)
    sim.expect(
        "11 days after moving the portal no longer serves: the certificate comes by post, in time for the card to go on",
        unresolved == [receipt] and entered == [code] and kitami.resident.moves.card(code) == "continued",
        text_ja="引越しから11日後はオンラインの転出届ができず、郵送の転出証明書で転入する（14日以内なのでカードは継続）",
    )
    sim.fell_back(
        paper(CERTIFICATE), "the notice came more than 10 days after moving", "引越しから10日を過ぎて届け出た"
    )


async def look_for_the_absent(world: World, absent: Household) -> None:
    """The no-show: struck off in one city, entered in none, and not forgotten."""
    sim, kobe, kitami = world.sim, world.kobe, world.kitami
    code, expected = kobe.code(absent.head), kitami.code(absent.head)
    limit = NEVER_MOVED + timedelta(days=CARD_DAYS)
    await world.until(limit)
    before = kobe.resident.overdue()
    await world.until(limit + timedelta(days=1))
    sim.expect(
        "30 days after the planned day one is missing: Kobe lists exactly the one who never came, for an official to look for",
        before == [] and kobe.resident.overdue() == [code],
        text_ja="転出予定日から30日を過ぎると、転入の確認が取れない1人だけが神戸市の調査対象に挙がる",
    )
    still_expected = list(kitami.resident.moves.expected())
    kobe.resident.cancel_move_out(code)
    await sim.sleep(60)
    sim.expect(
        "That one stayed after all: Kobe puts the record back, and Kitami expects nobody any more",
        still_expected == [expected]
        and not kitami.resident.moves.expected()
        and kobe.resident.find(absent.head.name, absent.head.born.isoformat()) == [code],
        text_ja="本人は転居しておらず、神戸市は転出を取り消して住民票を回復し、北見市の転入予定からも外れる",
    )
    sim.tell(
        "One never came. A month after the planned day Kobe's list says so; an official finds that nobody moved, and puts "
        "the record back.",
        "1人は転入しなかった。予定日の30日後に神戸市の一覧に挙がり、担当者の調査で転居していないと分かり、住民票を回復した。",
    )


def check_what_was_told(world: World) -> None:
    """All that passed between the two cities. That it takes the resident registry network (住基ネット) is not played."""
    told, registers = (
        world.between_cities(),
        tuple(city.address("resident") for city in (world.kobe, world.kitami)),
    )
    old, new = registers
    world.sim.expect(
        "The two cities told each other three things and no more, register to register: who leaves, what the certificate "
        "would say, and who has arrived",
        told == {(old, new, MOVING_OUT.name), (new, old, MOVING_OUT_RECORD.name), (new, old, MOVED_IN.name)},
        text_ja="両市のやりとりは住民記録どうしの3種類（転出の通知・転出証明書情報の照会・転入の通知）だけである",
    )


async def register_voters(world: World, family: Household) -> None:
    """The electoral roll follows by itself."""
    sim = world.sim
    old, new = world.kobe.node(ElectoralRoll), world.kitami.node(ElectoralRoll)
    codes = [world.kitami.code(parent) for parent in family.parents]
    await world.until(date(2026, 6, 1))
    june = [code for code in new.register() if code in codes]
    await world.until(date(2026, 9, 1))
    september = [code for code in new.register() if code in codes]
    old.register()
    sim.expect(
        "On 1 June the parents have not been in Kitami for three months; on 1 September both are on the roll, and Kobe's "
        "has struck them off four months after they left",
        june == []
        and september == codes
        and all(old.entry(world.kobe.code(one)) is None for one in family.parents),
        text_ja="6月1日の定時登録では3か月に満たず、9月1日に父母が登録される。神戸市の名簿からは転出4か月後に抹消される",
    )
