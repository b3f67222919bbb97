"""A benefit of 70,000 yen for households without inhabitant tax: the city finds them, a person decides, the bank pays.

Kitami lists its households, asks whether anybody in them is taxed (Kobe, about who came from there), and asks the
registry for the head's account. Who can be paid by push only gets a letter with a last day to refuse. Two
registered accounts are not the payee's: one is a wife's, one a stranger's whose data went into the session that the
head had left open. The office crashes while it pays, and afterwards two assessments are corrected.
"""

from __future__ import annotations

from datetime import date, timedelta

from mesh import Refused, Simulation, UsageError, scenario
from mesh.builtin import Empty
from mesh.names import BROKER
from mesh.testing import ledger
from nodes.agency.account_registry import ACCOUNTS, REGISTERED_ACCOUNT, AccountRegistry
from nodes.data.papers import paper
from nodes.data.people import Household, Person
from nodes.firm.bank import Account
from nodes.municipality.benefit_rules import BANK_PAPER, PROCEDURE, TAX_PAPER
from nodes.municipality.benefits import REFUSE
from nodes.municipality.tax import INCOME, TAXED, IncomeQuery
from nodes.portal.inbox import PORTAL, PORTAL_LETTER, Portal
from scenarios._benefits import BANK, EARNING_YEN, POOR_YEN, PROGRAMME, World
from scenarios._portal import portal_code
from scenarios._waiting import wait_until

OFFICIAL, SECOND_OFFICIAL = "benefits-clerk-a", "benefits-clerk-b"
DAY_S = 86_400.0
MOVED_ON, TOO_LATE = date(2023, 6, 20), date(2023, 12, 20)


@scenario(
    title="A benefit is paid to whom the city finds, into the payee's own account",
    title_ja="住民税非課税世帯への給付金（特定公的給付・公金受取口座・プッシュ型）",
    rules=(2, 4, 7, 12, 14, 15),
    sources=(
        "公金受取口座・特定公的給付",
        "公的給付の支給等の迅速かつ確実な実施のための預貯金口座の登録等に関する法律3条・9条・10条",
        "番号法19条8号",
        "物価高騰対応重点支援給付金（令和5年度・1世帯7万円）",
        "公共サービスメッシュ（行政機関間の情報連携）",
    ),
    starts="2024-02-01T09:00+09:00",
)
async def run(sim: Simulation, *, refuse_days: int = 14, bank_fault: str = "crash") -> None:
    """Tell the story; `refuse_days` are for refusing, `bank_fault` is crash, silence or none."""
    if not 7 <= refuse_days <= 28:
        raise UsageError(f"--set refuse_days is 7 to 28, not {refuse_days}")
    if bank_fault not in ("crash", "silence", "none"):
        raise UsageError(f"--set bank_fault is crash, silence or none, not {bank_fault!r}")
    world = World(sim)
    world.office.open_programme(PROGRAMME)
    plain, refuser, rising = (world.household() for _ in range(3))
    mover = world.household(moved_on=MOVED_ON)
    unclear = world.household(moved_on=MOVED_ON, copied=False)
    falling = world.household(income_yen=EARNING_YEN)
    newcomer = world.household(moved_on=TOO_LATE)
    for home in (plain, refuser, rising, mover, unclear, falling):
        await world.register(home.head, world.open_account(home.head))
    family = await register_the_wifes_account(world)
    session = await register_in_an_open_session(world)

    settled = [plain, refuser, rising, falling, family, session[0]]
    await find_households(world, newcomer, mover, settled)
    await ask_no_more(world, mover)
    await bring_a_paper(world, unclear)
    await look_at_accounts(world, family, session[0])
    refuse_by = sim.now().date() + timedelta(days=refuse_days)
    pushed = [plain, refuser, rising, mover, unclear]
    await write_to_the_heads(world, [*pushed, family, session[0]], falling, refuse_by)
    await before_the_last_day(world, refuser, plain, family)
    await pay(world, [*pushed, family, session[0]], refuser, refuse_by, bank_fault)
    check_payees(world, plain, family, session)
    await correct_the_tax(world, rising, falling)
    await look_back(world, mover)


async def register_the_wifes_account(world: World) -> Household:
    """The head registers the account of his wife, as about 130,000 had done by June 2023."""
    home = world.household()
    spouse = home.parents[1]
    await world.register(home.head, world.open_account(spouse))
    return home


async def register_in_an_open_session(world: World) -> tuple[Household, Person, Account]:
    """At a shared terminal the next person registers an account while the head is still signed in."""
    home = world.household()
    stranger = world.people.household("01208", parents=1).head
    while stranger.family == home.head.family:
        stranger = world.people.household("01208", parents=1).head
    account = world.open_account(stranger)
    await world.register(home.head, account)
    world.sim.tell(
        "Eight heads of households have registered an account. One gave his wife's. Another had left his session "
        "open at a shared terminal, and the next person's account was registered under his name.",
        "8世帯の世帯主が公金受取口座を登録した。うち1人は妻名義の口座を登録し、別の1人は共用端末でログアウトを忘れ、"
        "次の利用者の口座が本人のものとして登録された。",
    )
    return home, stranger, account


async def find_households(
    world: World, newcomer: Household, mover: Household, settled: list[Household]
) -> None:
    """The city lists its households on the reference date and asks about tax, each where it was levied."""
    sim, office = world.sim, world.office
    listed = await office.list_households()
    heads = [one.head for one in office.file.households()]
    sim.expect(
        "Listed are the eight households registered on 1 December, and not the one that came on the 20th",
        listed == 8 and world.kitami.code(newcomer.head) not in heads,
        text_ja="基準日（12月1日）に住民登録のある8世帯だけが対象となり、12月20日に転入した世帯は含まれない",
    )
    stages = [await office.examine(one.number) for one in office.file.households()]
    sim.expect(
        "Six households are entitled, one is taxed, one cannot be judged",
        [stages.count(stage) for stage in ("eligible", "taxed", "unclear")] == [6, 1, 1],
        text_ja="支給対象6世帯、課税1世帯、判定不能1世帯",
    )
    asked = world.asked(world.kobe.address("tax"))
    codes = {world.kitami.code(person) for person in mover.parents}
    sim.expect(
        "Kobe was asked about the four adults who came from there, only whether they are taxed",
        len(asked) == 4
        and codes < {row.subject for row in asked}
        and {(row.service, row.items) for row in asked} == {(TAXED.name, "taxed")},
        text_ja="神戸市への照会は転入者の成人4人の課税・非課税の別だけである",
    )
    answered = [row.subject for row in ledger(sim, world.kitami.address("tax")) if row.entry == "answered"]
    sim.expect(
        "Kitami's own tax office was asked about the twelve adults who lived in Kitami on 1 January, once each, and about "
        "nobody else",
        sorted(map(str, answered))
        == sorted(world.kitami.code(one) for home in settled for one in home.parents),
        text_ja="北見市の税務システムへの照会は、1月1日に北見市にいた成人12人について1回ずつだけである",
    )
    for person in mover.parents:
        sim.saved(paper(TAX_PAPER), person.handle)


async def ask_no_more(world: World, mover: Household) -> None:
    """The designation opens the fact, not the amount."""
    with world.sim.refused(
        "no_legal_basis",
        "Asking Kobe for the income itself is refused",
        text_ja="所得額そのものを神戸市に照会すると、根拠なしとして拒否される",
    ):
        await world.office.ask(
            world.kobe.address("tax"),
            INCOME,
            IncomeQuery(PROGRAMME.tax_year),
            subject=world.kitami.code(mover.head),
            procedure=PROCEDURE,
        )
    world.sim.tell(
        "Kitami finds the households itself: its register lists them, and its own tax office or Kobe says whether "
        "somebody is taxed. The basis is 口座登録法10条 with 番号法19条8号, so nobody was asked for consent; and nobody "
        "learns an income.",
        "北見市は対象世帯を自ら抽出した。住民基本台帳から世帯を、税務システムと神戸市から課税・非課税の別を得た。"
        "根拠は口座登録法10条と番号法19条8号であり、本人同意は求めず、所得額も得ていない。",
    )


async def bring_a_paper(world: World, home: Household) -> None:
    """Kobe had not registered the copies of one couple: they bring their certificates."""
    sim, office, number = world.sim, world.office, world.number(home)
    sim.expect(
        "Where the old city has no copy registered, two certificates are needed and no notice can go out",
        office.file.papers(number) == [(TAX_PAPER, "replica_missing")] * 2
        and office.file.household(number).stage == "unclear",
        text_ja="旧住所地で副本が未登録の世帯は、夫婦2人分の非課税証明書が必要となり、通知は送れない",
    )
    for person in home.parents:
        sim.saved(paper(TAX_PAPER), person.handle)  # It was asked for in vain: the report says why.
        office.take_tax_paper(number, world.kitami.code(person), taxed=False)
    stage = await office.examine(number)
    sim.expect(
        "With the papers the household is entitled",
        stage == "eligible",
        text_ja="証明書の提出で支給対象となる",
    )


async def look_at_accounts(world: World, family: Household, session: Household) -> None:
    """Two accounts are in another name: they are not used, and the registry gives them to nobody else."""
    sim, office = world.sim, world.office
    ways = {one.number: (one.way, one.why) for one in office.file.households("eligible")}
    sim.expect(
        "Five households can be paid by push; the two accounts in another name are not used",
        [way for way, _ in ways.values()].count("push") == 5
        and ways.get(world.number(family)) == ("form", "family")
        and ways.get(world.number(session)) == ("form", "stranger"),
        text_ja="5世帯はプッシュ型で支給できる。名義の異なる2口座（家族名義・他人名義）は使わない",
    )
    for home in (family, session):
        office.report_doubt(world.number(home), OFFICIAL)
    await sim.sleep(60)
    registry = sim.node(ACCOUNTS, AccountRegistry)
    sim.expect(
        "The registry heard of both from a named official",
        [what for _, what in registry.stopped()] == ["family", "stranger"],
        text_ja="職員の判断により、2件とも登録機関（デジタル庁）へ連絡された",
    )
    with sim.refused(
        "manual_review",
        "Whoever asks for a stopped account next gets no automatic answer",
        text_ja="提供を停止した口座を照会しても自動応答されない（自動応答不可）",
    ):
        await office.ask(
            ACCOUNTS,
            REGISTERED_ACCOUNT,
            Empty(),
            subject=world.kitami.code(session.head),
            procedure=PROCEDURE,
        )
    sim.fell_back(
        paper(BANK_PAPER),
        "the registered account is in the wife's name",
        "登録口座が妻名義（家族名義）だった",
    )
    sim.fell_back(
        paper(BANK_PAPER),
        "the registered account belongs to a stranger: the session had been left open",
        "ログアウト忘れによる誤登録で、登録口座が他人のものだった",
    )
    sim.tell(
        "The names of two accounts differ from their payees' before any money moves. Kitami asks both households for "
        "the copy of a bankbook and tells the registry, which gives the accounts to nobody any more.",
        "2件の口座名義が受給者と異なることが支払前に判明した。北見市は両世帯に通帳の写しを求め、登録機関に連絡し、口座情報の提供が停止された。",
    )


async def write_to_the_heads(world: World, homes: list[Household], taxed: Household, refuse_by: date) -> None:
    """A person decides for each household; then the letters go out."""
    sim, office = world.sim, world.office
    with sim.refused(
        "manual_review",
        "No notice goes out before an official has decided",
        text_ja="職員の決定がなければ通知は送れない",
    ):
        office.send_notice(world.number(homes[0]), refuse_by)
    with sim.refused(
        "manual_review",
        "An official cannot approve a household that is taxed",
        text_ja="課税世帯を支給対象として決定することはできない",
    ):
        office.approve(world.number(taxed), OFFICIAL)
    for home in homes:
        office.approve(world.number(home), OFFICIAL)
        office.send_notice(world.number(home), refuse_by)
    await sim.sleep(60)
    portal = sim.node(PORTAL, Portal)
    letters = [portal.letters(portal_code(sim, home.head)) for home in homes]
    sim.expect(
        "Each head finds one letter in the portal, with the last day to refuse",
        [[row["due"] for row in one] for one in letters] == [[refuse_by.isoformat()]] * len(homes),
        text_ja="各世帯主のマイナポータルに通知が1通届き、辞退の期限が示される",
    )
    # Who is silent accepts, and no office answers that; who refuses is on record.
    heads = [home.head.handle for home in homes]
    sim.reached(PORTAL_LETTER, heads, declines=REFUSE, by=office.address)
    sim.tell(
        f"An official approves {len(homes)} households. The letters name the last day to refuse; who is silent "
        "accepts.",
        f"職員が{len(homes)}世帯の支給を決定し、辞退の期限を示して通知した。期限までに届出がなければ受諾とみなす。",
    )


async def before_the_last_day(world: World, refuser: Household, plain: Household, family: Household) -> None:
    """One head refuses; one sends the form with the wrong bankbook first; nothing is paid yet."""
    sim, office, portal = world.sim, world.office, world.sim.node(PORTAL, Portal)
    await portal.apply(portal_code(sim, refuser.head), office.address, REFUSE, Empty(), procedure=PROCEDURE)
    with sim.refused(
        "manual_review",
        "Nothing can be paid while the household may still refuse",
        text_ja="辞退の期限前には支払えない",
    ):
        await office.pay(world.number(plain), OFFICIAL)
    wifes = office.file.account(world.number(family), doubtful=True)
    with sim.refused(
        "manual_review",
        "A form with the wife's bankbook is not accepted",
        text_ja="妻名義の通帳の写しを添えた確認書は受け付けられない",
    ):
        office.take_form(world.number(family), wifes or world.open_account(family.parents[1]))
    office.take_form(world.number(family), world.open_account(family.head))


async def pay(
    world: World, homes: list[Household], refuser: Household, refuse_by: date, bank_fault: str
) -> None:
    """After the last day the orders go out, through a fault, once each."""
    sim = world.sim
    await sim.sleep((refuse_by + timedelta(days=1) - sim.now().date()).days * DAY_S)
    with sim.refused(
        "manual_review",
        "A refusal after the last day is left to an official",
        text_ja="期限後の辞退の届出は職員の判断に委ねられる",
    ):
        await sim.node(PORTAL, Portal).apply(
            portal_code(sim, homes[0].head), world.office.address, REFUSE, Empty(), procedure=PROCEDURE
        )
    with sim.refused(
        "manual_review",
        "The household that refused cannot be paid",
        text_ja="辞退した世帯には支払えない",
    ):
        await world.office.pay(world.number(refuser), SECOND_OFFICIAL)
    with sim.refused(
        "manual_review",
        "The household whose account was misregistered is not paid before its form is back",
        text_ja="誤登録のあった世帯には、確認書が戻るまで支払わない",
    ):
        await world.office.pay(world.number(homes[-1]), SECOND_OFFICIAL)
    payable = [home for home in homes[:-1] if home is not refuser]
    numbers = [world.number(home) for home in payable]
    await pay_through_a_fault(world, numbers[0], bank_fault)
    outcomes = [await world.office.pay(number, SECOND_OFFICIAL) for number in numbers]
    again = [await world.office.pay(number, OFFICIAL) for number in numbers]
    orders = world.bank.transfers_from(world.kitami.member)
    sim.expect(
        f"The bank has one order for each of the {len(numbers)} households, of 70,000 yen, whatever happened on the way",
        outcomes == again == ["paid"] * len(numbers)
        and sorted(orders) == sorted((f"bp-{number:06d}", "paid", PROGRAMME.yen) for number in numbers),
        text_ja=f"途中の障害や二重の指示にかかわらず、銀行の振込は{len(numbers)}世帯に1件ずつ、各7万円である",
    )
    for home in payable[:-1]:
        sim.saved(paper(BANK_PAPER), home.head.handle)
    sim.tell(
        f"The day after the last day {len(numbers)} households are paid; one had refused, one has not sent its form "
        "back. A fault cut the first order off after the bank had paid; the same order went out again, and the bank "
        "moved no money twice."
        if bank_fault != "none"
        else f"The day after the last day {len(numbers)} households are paid, each once.",
        f"期限の翌日、{len(numbers)}世帯に支払われた。1世帯は辞退し、1世帯は確認書が未着である。"
        + (
            "最初の振込では銀行の支払後に障害が起きたが、同じ依頼番号で再送したため、二重には支払われていない。"
            if bank_fault != "none"
            else ""
        ),
    )


async def pay_through_a_fault(world: World, number: int, bank_fault: str) -> None:
    """The bank carries the first order out, and the office never hears of it."""
    sim, office = world.sim, world.office
    if bank_fault == "none":
        return
    lost: list[str] = []

    def lose_the_answer(
        sender: str, recipient: str, line: bytes, now_us: int
    ) -> list[tuple[None, bytes]] | None:
        if (sender, recipient) != (BROKER, office.address) or not world.bank.transfers_from(
            world.kitami.member
        ):
            return None
        if bank_fault == "crash" and not lost:
            sim.loop.call_soon(sim.crash, office.address)
        lost.append(sender)
        return [(None, line)]

    sim.disturbance.rules.append(lose_the_answer)
    said = "paid"
    try:
        await office.pay(number, SECOND_OFFICIAL)
    except Refused as refused:
        said = refused.code
    sim.disturbance.rules.remove(lose_the_answer)
    if bank_fault == "crash":
        sim.restart(office.address)
    payment = world.office.file.payment(number)
    sim.expect(
        "The bank has paid the first order, and the office does not know it: its order stands open",
        said == "timeout"
        and payment is not None
        and payment[2] is None
        and world.bank.transfers_from(world.kitami.member) == [(payment[0], "paid", PROGRAMME.yen)],
        text_ja="最初の振込は実行されたが、市はその回答を受け取れず、依頼は未完了のままである",
    )


def check_payees(
    world: World, plain: Household, family: Household, session: tuple[Household, Person, Account]
) -> None:
    """Money is on the accounts of the payees, and on no other."""
    file = world.office.file
    own = [file.account(world.number(home)) for home in (plain, family)]
    wifes = file.account(world.number(family), doubtful=True)
    world.sim.expect(
        "The payees have the money on accounts in their own names, and the stranger has nothing",
        [account is not None and world.bank.balance_yen(account) for account in own] == [PROGRAMME.yen] * 2
        and [account and account.holder_kana for account in own] == [plain.head.kana, family.head.kana]
        and wifes is None
        and world.bank.balance_yen(session[2]) == 0,
        text_ja="支払先はいずれも受給者本人名義の口座で、他人の口座には振り込まれていない",
    )


async def correct_the_tax(world: World, rising: Household, falling: Household) -> None:
    """Two assessments are corrected: one household should not have been paid, one should have been."""
    sim, office, tax = world.sim, world.office, world.kitami.tax
    up, down = world.number(rising), world.number(falling)
    orders = world.bank.transfers_from(world.kitami.member)
    for home, income_yen in ((rising, EARNING_YEN), (falling, POOR_YEN)):
        tax.correct(world.kitami.code(home.head), PROGRAMME.tax_year, total_income_yen=income_yen)
    await sim.sleep(59)
    await wait_until(sim, lambda: len(office.file.reviews()) == 2)
    sim.expect(
        "Both corrections lie before an official; nothing was demanded and nothing paid",
        sorted(office.file.reviews()) == sorted([(up, True), (down, False)])
        and office.file.household(up).stage == "settled"
        and office.file.household(down).stage == "taxed"
        and world.bank.transfers_from(world.kitami.member) == orders,
        text_ja="2件の更正は職員の判断待ちとなり、自動的な返還請求も支給もない",
    )
    office.settle_review(up, "repayment demanded", OFFICIAL)
    office.settle_review(down, "invited", OFFICIAL)
    await office.examine(down)
    office.approve(down, OFFICIAL)
    office.send_notice(down, sim.now().date() + timedelta(days=14))
    await sim.sleep(60)
    letters = sim.node(PORTAL, Portal).letters(portal_code(sim, falling.head))
    sim.expect(
        "An official demands the money back from the one, and invites the other, whose tax fell away",
        office.file.decisions(up)[-1] == ("repayment demanded", OFFICIAL)
        and office.file.decisions(down) == [("invited", OFFICIAL), ("approved", OFFICIAL)]
        and len(letters) == 1,
        text_ja="職員が、一方には返還を求め、非課税となった他方には新たに通知を送った",
    )
    sim.reached(PORTAL_LETTER, [falling.head.handle], mistaken=[rising.head.handle], by=office.address)
    sim.tell(
        "Later two assessments are corrected. A household that was paid turns out to be taxed: an official demands the "
        "money back. One that was taxed no longer is: an official invites it. Neither happened by itself.",
        "後日、2世帯の課税が更正された。支給済みの世帯が課税となり、職員が返還を求めた。非課税となった世帯には、職員が新たに通知した。"
        "いずれも自動では行われない。",
    )


async def look_back(world: World, mover: Household) -> None:
    """The head reads who asked what."""
    sim = world.sim
    lines = await sim.node(PORTAL, Portal).read_history(portal_code(sim, mover.head))
    asked = [(line.provider, line.items) for line in lines if line.requester == world.office.address]
    sim.expect(
        "The head who came from Kobe reads in the history that Kitami asked Kobe whether they are taxed and the registry "
        "for the account",
        (world.kobe.address("tax"), "taxed") in asked
        and (ACCOUNTS, "bank branch holder_kana number") in asked
        and BANK not in {provider for provider, _ in asked},
        text_ja="神戸市から転入した世帯主は、神戸市への課税の別の照会と口座情報の照会をやりとり履歴で確認できる",
    )
