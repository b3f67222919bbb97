"""People certified as needing care move to Kitami, and keep their level without another assessment.

Within 14 days they apply, and Kitami asks the old city what it certified; the level carries over with a new term.
Six others meet what goes otherwise: day 15, a certification that had ended, a copy that was not registered, a detail
for which the old data layout has no place (and the new one has), and somebody who was never certified. The share of
the costs is asked of the city of 1 January, which for one couple is another city than the one that certified.
"""

from __future__ import annotations

from datetime import date, timedelta

from mesh import Simulation, UsageError, scenario
from nodes.data.papers import paper
from nodes.data.people import Household, Move, Person
from nodes.municipality.care_file import Certification
from nodes.municipality.care_insurance import (
    APPLY,
    CERTIFICATE,
    CERTIFICATION,
    CERTIFICATION_2,
    INCOME_ITEMS,
    PROCEDURE,
    CareInsurance,
)
from nodes.municipality.resident import HOUSEHOLD, HouseholdQuery
from nodes.municipality.tax import INCOME, IncomeQuery
from nodes.portal.inbox import PORTAL, PORTAL_LETTER, Portal
from scenarios._care import KITAMI, KOBE, MOVED_ON, SAPPORO, TAX_YEAR, WIFE_YEN, World, certification
from scenarios._portal import portal_code

DAYS = 14
"""From moving in to the last day of an application (介護保険法36条), as the law has it and not as the office counts."""
TERM = ("2025-04-03", "2025-10-31")
"""What is carried over on 3 April holds for the rest of April and six months."""
KINDS = ("訪問看護", "通所リハビリ")
DAY_S = 86_400.0


@scenario(
    title="A care certification follows its person to a new city",
    title_ja="要介護認定の引継ぎ（転入後14日以内・受給資格証明書の添付省略）",
    rules=(2, 4, 9, 12, 14, 15),
    sources=(
        "介護保険法12条・27条・36条・37条・49条の2・203条",
        "介護保険法施行規則38条1項",
        "番号法19条8号",
        "公共サービスメッシュ（行政機関間の情報連携）",
        "標準準拠システム（20業務）",
    ),
    starts="2025-04-04T09:00+09:00",
)
async def run(sim: Simulation, *, day: int = DAYS, pension_yen: int = 3_900_000) -> None:
    """Tell the story; `day` is when the first applies, `pension_yen` the pension on which a share rests."""
    if not 2 <= day <= DAYS:
        raise UsageError(f"--set day is 2 to {DAYS}, not {day}: the register heard of the move on day 1")
    if not 0 <= pension_yen <= 9_000_000:
        raise UsageError(f"--set pension_yen is 0 to 9000000, not {pension_yen}")
    world = World(sim)
    first, late, ended, uncopied, designated = (world.moved(KOBE) for _ in range(5))
    updated, never = world.moved(SAPPORO), world.moved(SAPPORO, alone=True)
    twice = world.couple(Move(date(2024, 6, 10), KOBE, SAPPORO), Move(MOVED_ON, SAPPORO, KITAMI))
    world.kitami.move_in(twice)
    world.certify(world.kobe, first.head, certification("要介護3"))
    world.certify(world.kobe, late.head, certification("要介護2"))
    world.certify(world.kobe, ended.head, certification("要介護1", until=MOVED_ON - timedelta(days=1)))
    world.certify(world.kobe, uncopied.head, certification("要支援2"), copied=False)
    world.certify(world.kobe, designated.head, certification("要介護2", kinds=KINDS))
    world.certify(world.sapporo, updated.head, certification("要介護4", kinds=KINDS))
    world.certify(world.sapporo, twice.head, certification("要介護1"))

    await invite(world, [first, late, ended, uncopied, designated, updated, never, twice], (ended, never))
    await sim.sleep((day - 1) * DAY_S)
    await carry_over(world, first.head)
    await had_ended(world, ended.head)
    await never_certified(world, never.head)
    await copy_not_registered(world, uncopied.head)
    await missing_in_the_layout(world, designated.head, updated.head)
    await ask_no_more(world, first.head)
    await two_cities(world, twice, pension_yen)
    await sim.sleep((MOVED_ON + timedelta(days=DAYS + 1) - sim.now().date()).days * DAY_S)
    await on_day_15(world, late.head)


async def invite(world: World, homes: list[Household], without: tuple[Household, ...]) -> None:
    """The register's event makes them insured; an official writes to them; nobody is certified by that."""
    sim, office = world.sim, world.office
    await sim.sleep(60)
    people = [person for home in homes for person in home.members]
    insured = [office.file.insured(world.kitami.code(one)) for one in people]
    sim.expect(
        "Everybody of 65 or over is insured in Kitami since the day they moved in, and nobody is certified by that",
        {one.since for one in insured} == {MOVED_ON.isoformat()}
        and not any(office.file.certification(world.kitami.code(one)) for one in people),
        text_ja="65歳以上の転入者は転入日に北見市の被保険者となるが、それだけで認定されることはない",
    )
    for home in homes:
        office.invite(world.kitami.code(home.head))
    await sim.sleep(60)
    portal = sim.node(PORTAL, Portal)
    due = [[row["due"] for row in portal.letters(portal_code(sim, home.head))] for home in homes]
    sim.expect(
        "Each household finds one letter that names 17 April, day 14, as the last day",
        due == [["2025-04-17"]] * len(homes),
        text_ja="各世帯に案内が1通届き、期限として14日目の4月17日が示される",
    )
    # Nobody could know whose certification had ended, or who had none.
    eligible = [home.head.handle for home in homes if home not in without]
    mistaken = [home.head.handle for home in without]
    sim.reached(PORTAL_LETTER, eligible, mistaken=mistaken, accepts=APPLY, by=office.address)
    sim.tell(
        "Eight households of old people moved to Kitami on 3 April. The register's event makes them insured there; an "
        "official writes that a certification from the old city can be carried over until 17 April.",
        "4月3日、高齢者の8世帯が北見市に転入した。転入の記載により被保険者となり、担当者は、4月17日までに申請すれば"
        "前住所地の要介護認定を引き継げると案内した。",
    )


async def carry_over(world: World, person: Person) -> None:
    """In time, and nothing is missing."""
    sim, office, code = world.sim, world.office, world.kitami.code(person)
    receipt = await world.apply(person)
    outcome = await office.examine(receipt.number)
    old = world.kobe.address("care-insurance")
    sim.expect(
        f"An application on {sim.now():%d %B}, in time, carries the level over without an assessment",
        receipt.in_time
        and outcome == "carried-over"
        and office.file.certification(code) == Certification("要介護3", *TERM),
        text_ja=f"期限内（{sim.now().month}月{sim.now().day}日）の申請により、審査判定なしで要介護3が引き継がれる",
    )
    before, after = (
        city.node(CareInsurance).file.certification(city.code(person)) for city in (world.kobe, world.kitami)
    )
    sim.expect(
        "The term is a new one: Kobe's began in June 2024, Kitami's runs from the day of moving in, for the rest of April and "
        "six months",
        before is not None
        and after is not None
        and before.valid_from == "2024-06-01"
        and (after.valid_from, after.valid_until) == TERM
        and before.valid_until != after.valid_until,
        text_ja="有効期間は新たに定まり（神戸市では2024年6月から）、転入日から4月末までと6か月間（10月31日まで）となる",
    )
    sim.expect(
        "Kobe has the first layout only: it was asked in the second, which it does not know, then in the first",
        world.asked(person) == [(old, CERTIFICATION_2.name), (old, CERTIFICATION.name)],
        text_ja="神戸市は旧レイアウト（第1版）のみのため、第2版での照会は受けられず、第1版で照会した",
    )
    sim.saved(paper(CERTIFICATE), person.handle)
    sim.tell(
        f"{person.romaji} keeps level 要介護3. Kitami asked Kobe for what it had certified, and nobody fetched a "
        "certificate.",
        f"{person.name}さんは要介護3を引き継いだ。北見市が神戸市に照会し、受給資格証明書は不要だった。",
    )


async def had_ended(world: World, person: Person) -> None:
    """A certification that ended the day before moving in is none to carry over."""
    sim, office, code = world.sim, world.office, world.kitami.code(person)
    number = (await world.apply(person)).number
    outcome = await office.examine(number)
    sim.expect(
        "A certification that had ended the day before is not carried over: it takes an assessment",
        (outcome, office.file.application(number).why) == ("assessment", "expired")
        and office.file.certification(code) is None,
        text_ja="転入前日に有効期間が満了していた認定は引き継げず、新たな審査判定となる",
    )
    office.assess(number, "要介護2")
    held = office.file.certification(code)
    sim.expect(
        "What the assessment finds holds from the day of the application",
        held is not None and (held.level, held.valid_from) == ("要介護2", sim.now().date().isoformat()),
        text_ja="審査判定の結果は申請日にさかのぼって効力を生じる",
    )


async def never_certified(world: World, person: Person) -> None:
    """The letter reached somebody for whom there is nothing to carry over."""
    office = world.office
    number = (await world.apply(person)).number
    outcome = await office.examine(number)
    world.sim.expect(
        "Who was never certified is not known at the old city either: an ordinary first assessment",
        (outcome, office.file.application(number).why) == ("assessment", "never certified")
        and office.file.papers(number) == [],
        text_ja="認定を受けたことがない人は旧住所地にも記録がなく、通常の新規認定となる",
    )


async def copy_not_registered(world: World, person: Person) -> None:
    """Kobe certified and did not register the copy: the certificate on paper does it."""
    sim, office = world.sim, world.office
    number = (await world.apply(person)).number
    waiting = await office.examine(number)
    sim.expect(
        "Where the old city has no copy registered, the certificate on paper is needed",
        waiting == "waiting" and office.file.papers(number) == [(CERTIFICATE, "replica_missing")],
        text_ja="旧住所地で副本が未登録の場合は、受給資格証明書が必要となる",
    )
    sim.saved(paper(CERTIFICATE), person.handle)  # Asked for in vain: the report says why.
    office.bring_certificate(number, certification("要支援2"))
    outcome = await office.examine(number)
    held = office.file.certification(world.kitami.code(person))
    sim.expect(
        "With the paper the level is carried over, and Kobe is not asked again",
        outcome == "carried-over"
        and held == Certification("要支援2", *TERM)
        and len(world.asked(person)) == 2,
        text_ja="証明書の提出により要支援2が引き継がれ、神戸市への再照会はない",
    )


async def missing_in_the_layout(world: World, in_kobe: Person, in_sapporo: Person) -> None:
    """Kinds of service were designated for two people. Only one of their cities can say which."""
    sim, office = world.sim, world.office
    number = (await world.apply(in_kobe)).number
    waiting = await office.examine(number)
    sim.expect(
        "Kobe's layout says that kinds of service were designated, and has no place for which: paper for that alone",
        waiting == "waiting" and office.file.papers(number) == [(CERTIFICATE, "not in the layout")],
        text_ja="神戸市の旧レイアウトには「サービスの種類の指定」の有無はあるが内容の項目がなく、その分だけ紙が必要となる",
    )
    sim.fell_back(
        paper(CERTIFICATE),
        "the designated kinds of service are lawful to ask for and have no place in the first layout",
        "サービスの種類の指定の内容が、照会できる事項であっても旧レイアウトに項目がない",
    )
    office.bring_certificate(number, certification("要介護2", kinds=KINDS))
    await office.examine(number)
    other = (await world.apply(in_sapporo)).number
    outcome = await office.examine(other)
    held = [office.file.certification(world.kitami.code(one)) for one in (in_kobe, in_sapporo)]
    sim.expect(
        "Sapporo has the second layout: the kinds come with the answer, and no paper is needed",
        outcome == "carried-over"
        and office.file.papers(other) == []
        and [one and one.service_kinds for one in held] == [KINDS, KINDS],
        text_ja="札幌市は第2版のレイアウトのため、指定の内容も回答に含まれ、紙は不要となる",
    )
    sim.saved(paper(CERTIFICATE), in_sapporo.handle)
    sim.tell(
        "For two people only certain kinds of service had been designated. Sapporo's layout can say which; Kobe's "
        "cannot, and the certificate had to come on paper.",
        "2人にはサービスの種類の指定があった。札幌市の新レイアウトでは内容まで連携できたが、神戸市の旧レイアウトには項目がなく、証明書を紙で提出した。",
    )


async def ask_no_more(world: World, person: Person) -> None:
    """The procedure opens what the share needs, and no more."""
    sim, office = world.sim, world.office
    with sim.refused(
        "item_not_permitted",
        "Asking for the dependants besides is refused",
        text_ja="扶養親族等の数まで照会すると項目外として拒否される",
    ):
        await office.ask(
            world.kobe.address("tax"),
            INCOME,
            IncomeQuery(TAX_YEAR),
            subject=world.kitami.code(person),
            procedure=PROCEDURE,
            items=(*INCOME_ITEMS, "dependants"),
        )
    with sim.refused(
        "no_legal_basis",
        "The register of another city is closed to the office",
        text_ja="他市の住民基本台帳の世帯情報は照会できない",
    ):
        await office.ask(
            world.kobe.address("resident"),
            HOUSEHOLD,
            HouseholdQuery(),
            subject=world.kitami.code(person),
            procedure=PROCEDURE,
        )


async def two_cities(world: World, home: Household, pension_yen: int) -> None:
    """The level comes from the city that was left, the income from the city of 1 January of the year before."""
    sim, office = world.sim, world.office
    head, wife = home.parents
    outcome = await office.examine((await world.apply(head)).number)
    for person, yen in ((head, pension_yen), (wife, WIFE_YEN)):
        world.assess(world.kobe, person, yen)
    tenths = await office.decide_share(world.kitami.code(head))
    expected = expected_tenths(pension_yen)
    sim.expect(
        "For who moved twice the level comes from Sapporo, the income of both from Kobe, the city of 1 January 2024",
        outcome == "carried-over"
        and [where for where, service in world.asked(head) if service.startswith("care")]
        == [world.sapporo.address("care-insurance")]
        and [where for one in home.parents for where, service in world.asked(one) if service == INCOME.name]
        == [world.kobe.address("tax")] * 2,
        text_ja="2回転居した夫婦は、認定は札幌市に、所得は2024年1月1日の住所地である神戸市に夫婦とも照会した",
    )
    sim.expect(
        f"With a pension of {pension_yen} yen, and {WIFE_YEN} of the wife's, the share is {expected} tenths",
        tenths == expected,
        text_ja=f"年金収入{pension_yen}円（妻{WIFE_YEN}円）により、負担割合は{expected}割となる",
    )
    sim.saved(paper(CERTIFICATE), head.handle)
    for person in home.parents:
        sim.saved(paper("income-certificate"), person.handle)
    sim.tell(
        f"One couple had moved twice. Their share of the costs, {tenths} tenths, rests on what Kobe knows, where they "
        "lived on 1 January 2024; the level came from Sapporo.",
        f"2回転居した夫婦の負担割合（{tenths}割）は2024年1月1日の住所地・神戸市の所得情報により、要介護度は札幌市の認定によって決まった。",
    )


def expected_tenths(pension_yen: int) -> int:
    """The share of a couple of which she has a small pension, read off the published table for this household.

    Pensions alone, two insured: 3 tenths from an income of 2.2 million (a pension of 3.3 million and more) and
    4.63 million together, 2 tenths from 1.6 million (2.7 million) and 3.46 million together.
    """
    together_yen = pension_yen + WIFE_YEN
    if together_yen >= 4_630_000:
        return 3
    return 2 if together_yen >= 3_460_000 else 1


async def on_day_15(world: World, person: Person) -> None:
    """A day late: the same certification no longer helps."""
    sim, office = world.sim, world.office
    receipt = await world.apply(person)
    outcome = await office.examine(receipt.number)
    sim.expect(
        "On day 15 it takes a new assessment, and Kobe is not even asked",
        not receipt.in_time
        and (outcome, office.file.application(receipt.number).why) == ("assessment", "late")
        and world.asked(person) == [],
        text_ja="15日目の申請は新たな審査判定となり、神戸市への照会も行わない",
    )
    sim.tell(
        f"{person.romaji} applied on 18 April, day 15, and must be assessed anew, as must those whose certification "
        "had ended or who had none.",
        f"{person.name}さんは15日目の4月18日に申請し、改めて審査判定を受ける。有効期間が満了していた人、認定のなかった人も同様である。",
    )
