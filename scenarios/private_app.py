"""A housing site files for its customer and reads what he consents to, and nothing beyond.

The family that looks for a house in Kitami signs a nursery application in the site's app; it is sealed there for
the city. For a loan the site reads the father's income under his consent. Then the site tries what the consent does
not cover, what has ended, and the direct way into the cities.
"""

from __future__ import annotations

from mesh import Simulation, UsageError, scenario
from mesh.ledger import read_row
from mesh.message import encode
from mesh.names import BROKER, member_of
from mesh.personal_number import personal_numbers_in
from mesh.testing import personal_numbers
from nodes.data.papers import paper
from nodes.firm.app import FirmApp
from nodes.municipality.childcare import EMPLOYMENT_PAPER, TAX_PAPER
from nodes.municipality.tax import INCOME, SELF_DISCLOSURE, IncomeQuery
from nodes.portal.api import API, SELF_INCOME, SelfIncomeQuery
from nodes.portal.application_server import SERVER
from nodes.portal.consent_file import ConsentState
from nodes.portal.inbox import PORTAL, Portal
from scenarios._applicants import NURSERY, TAX_YEAR, readers_of
from scenarios._private_users import (
    APP,
    INSIDER,
    LOAN,
    RENT,
    UNAPPROVED,
    Private,
    holdings,
    hops,
    make_private,
)
from scenarios._wire import codes_in

KOBE = "28100"
INCOME_YEN = 2_430_000
"""The father's income of the year, as Kobe assessed it."""


@scenario(
    title="A private app files for a resident and reads what he consents to",
    title_ja="民間アプリからの電子申請と、本人同意による自己情報の取得",
    rules=(1, 3, 4, 5, 7, 8, 10, 14),
    sources=(
        "公共サービスメッシュ（民間との対外接続）",
        "ぴったりサービス",
        "マイナポータル",
        "三層の対策",
        "公的個人認証サービス（J-LIS）",
        "マイナポータル自己情報取得API利用ガイドライン（2019年11月）",
    ),
    starts="2025-11-10T09:00+09:00",
)
async def run(sim: Simulation, *, uses: int = 2, days: int = 30) -> None:
    """Tell the story; `uses` and `days` are how often and how long the consent lets the site read."""
    if not 1 <= uses <= 10:
        raise UsageError(f"uses is from 1 to 10, not {uses}; give --set uses=2")
    if not 1 <= days <= 100:
        raise UsageError(f"days is from 1 to 100, not {days}; give --set days=30")
    world = make_private(sim)
    number = world.app.link(world.firm_code)
    await file_application(world, number)
    await read_with_consent(world, number, uses, days)
    await beyond_the_consent(world, number)
    await consent_that_ended(world, number, days)
    await the_direct_way(world, number)
    await not_approved(world)
    await what_the_firm_holds(world)
    await what_the_customer_sees(world)


async def file_application(world: Private, number: int) -> None:
    """The customer signs in the app; the application passes three nodes that cannot read it."""
    sim, app, cities = world.sim, world.app, world.cities
    cities.office.open_nursery(NURSERY, 1)
    card = cities.card(world.customer)
    receipt = app.new_receipt()
    app.prepare(receipt, number, cities.kitami.member, cities.signed(receipt, world.family, card))
    filed_us = await app.submit(receipt)
    repeated_us = await app.submit(receipt)
    await cities.management.run()
    rows = cities.office.applications()
    sim.expect(
        "The application that was signed in the app is at Kitami's childcare office, once, with the father's 宛名",
        [row["applicant"] for row in rows] == [cities.kitami.code(world.customer)]
        and filed_us == repeated_us,
        text_ja="アプリで署名した申請は、父の宛名とともに北見市の保育担当に1件だけ届いた（2度送っても1件）",
    )
    carried = [*hops(sim, "api.file"), *hops(sim, "application.file"), *hops(sim, "application.fetch")]
    management = cities.management.address
    sim.expect(
        "It came from the internet through the gateway and the relay server, and the city fetched it there",
        carried == [(APP, API), (API, SERVER), (management, SERVER)],
        text_ja="申請はインターネットからAPI、連携サーバを経て、市の申請管理が特定通信で取得した",
    )
    between = (API, SERVER, BROKER)
    sim.expect(
        "Gateway, relay server and broker cannot read it; the city's 申請管理 can",
        readers_of(sim, NURSERY, (*between, management)) == [management],
        text_ja="API・連携サーバ・ブローカーは内容を読めず、市の申請管理だけが開封できる",
    )
    outcome = await cities.office.examine(rows[0]["number"])
    await sim.sleep(60)
    state = await app.refresh(receipt)
    sim.expect(
        "The city asks Kobe for the parents' tax itself; the app sees where the application stands, and no decision",
        (outcome, state) == ("certified", "in-review") and "certified" not in holdings(app),
        text_ja="市は父母の税額を自ら神戸市に照会し、アプリには処理状況だけが示される",
    )
    for parent in world.family.parents:
        sim.saved(paper(TAX_PAPER), parent.handle)
        sim.uploaded(paper(EMPLOYMENT_PAPER))
    sim.tell(
        "A housing site, approved by デジタル庁 as an API user, lets its customer sign a nursery application in its "
        "own app. The gateway of the portal and the relay server carry it sealed; only Kitami can open it.",
        "デジタル庁の承認を受けた住宅サイトのアプリで、利用者が保育所の申込みに署名した。マイナポータルのAPIと連携サーバは"
        "封緘されたまま届け、開封できるのは北見市だけである。",
    )


async def read_with_consent(world: Private, number: int, uses: int, days: int) -> None:
    """The customer consents in the portal; the site reads two items, as often as he said."""
    sim, app = world.sim, world.app
    consent = await world.consent(number, days=days, uses=uses)
    answers = [await app.read_income(number, KOBE, TAX_YEAR) for _ in range(uses)]
    sim.expect(
        f"Under the consent the site reads tax year and total income, {uses} times as consented",
        [(one.tax_year, one.total_income_yen) for one in answers] == [(TAX_YEAR, INCOME_YEN)] * uses
        and all(not isinstance(one.tax_yen, int) for one in answers),
        text_ja=f"同意の範囲で年度と総所得金額を取得した（同意した{uses}回まで）",
    )
    sim.expect(
        f"Each answer says as of when Kobe's copy is, through the gateway too: {world.copied_at}",
        [one.as_of for one in answers] == [world.copied_at] * uses,
        text_ja=f"各回答は、APIを経ても、神戸市の副本の登録時点を示す（{world.copied_at}）",
    )
    kobe = world.cities.kobe.address("tax")
    rows = [read_row(row) for row in sim.node(kobe).host.store.ledger_rows()]
    asked = [row.requester for row in rows if row.entry == "answered" and row.procedure == SELF_DISCLOSURE]
    sim.expect(
        "Kobe answers the portal's own look at self-information, and never hears of the firm",
        asked == [API] * uses and not any(member_of(row.requester) == member_of(APP) for row in rows),
        text_ja="神戸市はマイナポータルの自己情報表示として回答し、民間事業者の名は伝わらない",
    )
    with sim.refused(
        "consent_expired",
        "One use more than consented to is refused, where the uses are counted: at the gateway",
        text_ja="同意した回数を超えると、回数を数えるAPI側で拒否される",
    ):
        await app.read_income(number, KOBE, TAX_YEAR)
    sim.expect(
        "Only what was answered counts as a use",
        sim.node(API).host.store.number(f"consent {consent}") == uses,
        text_ja="回答した分だけが利用回数に数えられる",
    )
    sim.saved(paper(TAX_PAPER), world.customer.handle, by=APP)
    sim.tell(
        "For a housing loan the customer consents in the portal: total income of one year, for the screening of the "
        f"loan, {uses} times within {days} days. The site reads just that, instead of a certificate of income; the city "
        f"answers from a copy as of {answers[0].as_of[:16].replace('T', ' ')}.",
        f"住宅ローンの審査のため、利用者はマイナポータルで同意した（年度と総所得金額、審査の目的、{days}日以内に{uses}回）。"
        "サイトはその範囲だけを取得し、課税証明書の提出は不要となった。"
        f"回答は副本（{answers[0].as_of[:16].replace('T', ' ')}時点）による。",
    )


async def beyond_the_consent(world: Private, number: int) -> None:
    """More items than consented to, more than the law has, another purpose."""
    sim, app = world.sim, world.app
    await world.consent(number, items=("tax_year",), days=1, uses=5)
    with sim.refused(
        "consent_required",
        "The consent covers the tax year only: asking for the income is beyond its scope",
        text_ja="同意は年度だけで、総所得金額の取得は同意の範囲外として拒否される",
    ):
        await app.read_income(number, KOBE, TAX_YEAR)
    with sim.refused(
        "item_not_permitted",
        "The amount of tax is for no firm to read, whatever the consent",
        text_ja="税額は、同意があっても民間事業者の取得できる項目にない",
    ):
        await app.read_income(number, KOBE, TAX_YEAR, items=("tax_year", "tax_yen"))
    with sim.refused(
        "consent_required",
        "Screening for a rent guarantee is another purpose than the loan's",
        text_ja="家賃保証の審査は、同意した住宅ローンの審査とは別の目的である",
    ):
        await app.read_income(number, KOBE, TAX_YEAR, items=("tax_year",), purpose=RENT)
    with sim.refused(
        "no_legal_basis",
        "And a purpose that nobody approved does not exist",
        text_ja="承認されていない目的での取得は根拠がない",
    ):
        await app.read_income(number, KOBE, TAX_YEAR, items=("tax_year",), purpose="marketing")


async def consent_that_ended(world: Private, number: int, days: int) -> None:
    """A term that has passed, and a consent that was withdrawn."""
    sim, app = world.sim, world.app
    await world.consent(number, days=days, uses=5)
    await sim.sleep(days * 86_400)
    with sim.refused(
        "consent_expired",
        f"After {days} days the consent has ended",
        text_ja=f"同意の期間（{days}日）を過ぎると拒否される",
    ):
        await app.read_income(number, KOBE, TAX_YEAR)
    consent = await world.consent(number, days=days, uses=5)
    await app.read_income(number, KOBE, TAX_YEAR)
    world.cities.kobe.tax.keep_from_portal(world.cities.kobe.code(world.customer))
    with sim.refused(
        "withheld",
        "What a city keeps from the person's own look (自己情報提供不可) no app can read either",
        text_ja="市が自己情報提供不可とした情報は、同意があってもアプリで取得できない",
    ):
        await app.read_income(number, KOBE, TAX_YEAR)
    held = str(INCOME_YEN) in holdings(app)
    before = sim.moment()
    await sim.node(PORTAL, Portal).withdraw(world.cities.portal_code(world.customer), consent)
    with sim.refused(
        "consent_withdrawn",
        "Once withdrawn, the consent holds for nothing",
        text_ja="撤回された同意では取得できない",
    ):
        await app.read_income(number, KOBE, TAX_YEAR)
    sim.saved(paper(TAX_PAPER), world.customer.handle, by=APP, since=before)  # It must be brought after all.
    app.forget(number)
    sim.expect(
        "The site deletes what it had read",
        held and str(INCOME_YEN) not in holdings(app),
        text_ja="サイトは取得した情報を消去した",
    )


async def the_direct_way(world: Private, number: int) -> None:
    """The firm asks Kobe's tax office itself."""
    sim, app, kobe = world.sim, world.app, world.cities.kobe
    tax, query = kobe.address("tax"), IncomeQuery(TAX_YEAR)
    items = ("tax_year", "total_income_yen")
    with sim.refused(
        "zone_forbidden",
        "Asking the tax office directly: the zone refuses first, before any law is read",
        text_ja="税務システムへの直接照会は、根拠の有無より先に接続系の分離で拒否される",
    ):
        await app.ask(tax, INCOME, query, subject=world.firm_code, procedure=LOAN, items=items)
    inside = sim.node(INSIDER, FirmApp)
    with sim.refused(
        "no_legal_basis",
        "Were the firm wired into the innermost network, no row of the law would let it ask",
        text_ja="仮に利用事務系に接続できたとしても、照会を認める根拠がない",
    ):
        await inside.ask(tax, INCOME, query, subject=world.firm_code, procedure=LOAN, items=items)
    with sim.refused(
        "no_legal_basis",
        "Nor may it borrow the procedure of a city",
        text_ja="市の事務の名を借りても照会できない",
    ):
        await inside.ask(
            tax, INCOME, query, subject=world.firm_code, procedure="child-allowance", items=items
        )
    overheard = kobe.code(world.customer)
    consent = await world.consent(number, days=1, uses=1)
    with sim.refused(
        "consent_required",
        "A code of Kobe's that it overheard is of no use: the consent is about the firm's own code of him",
        text_ja="神戸市の符号を知っても使えない（同意は自社の符号についてのもの）",
    ):
        await app.ask(
            API,
            SELF_INCOME,
            SelfIncomeQuery(TAX_YEAR, KOBE),
            subject=overheard,
            procedure=LOAN,
            items=items,
            consent=consent,
        )
    seen = [read_row(row) for row in kobe.tax.host.store.ledger_rows()]
    sim.expect(
        "None of it reached the tax office",
        not any(member_of(row.requester) == member_of(APP) for row in seen),
        text_ja="いずれも税務システムには届いていない",
    )
    sim.tell(
        "The site then tries more than it may: items and purposes beyond the consent, consents that were used up, had "
        "ended or were withdrawn, and the direct way to the tax office. Each is refused by the gate that comes first.",
        "サイトは同意を超える項目や目的、使い切った・期限の過ぎた・撤回された同意、税務システムへの直接照会を試みたが、"
        "それぞれ最初に該当する関門で拒否された。",
    )


async def not_approved(world: Private) -> None:
    """Another firm has the customer's consent, and no approval of デジタル庁."""
    sim = world.sim
    other = sim.node(UNAPPROVED, FirmApp)
    code = sim.code(member_of(UNAPPROVED), world.customer.handle)
    number = other.link(code)
    portal = sim.node(PORTAL, Portal)
    consent = await portal.grant(
        world.cities.portal_code(world.customer),
        provider=API,
        firm=member_of(UNAPPROVED),
        firm_code=code,
        procedure=RENT,
        services=(SELF_INCOME.name,),
        items=("tax_year", "total_income_yen"),
        days=1,
        uses=1,
    )
    other.keep_consent(number, consent, RENT)
    with sim.refused(
        "no_legal_basis",
        "A firm that デジタル庁 has not approved reads nothing, not even with a consent",
        text_ja="デジタル庁の承認のない事業者は、本人の同意があっても取得できない",
    ):
        await other.read_income(number, KOBE, TAX_YEAR)


async def what_the_firm_holds(world: Private) -> None:
    """A look into the firm's and the gateway's tables."""
    sim = world.sim
    held = holdings(world.app) + holdings(sim.node(UNAPPROVED))
    numbers = personal_numbers(sim)
    names = [person.name for person in world.family.members]
    sim.expect(
        "The firm holds no personal number, no resident code and no linkage code but its own",
        len(numbers) > 2
        and {code.partition(":")[0] for code in codes_in(held)} == {member_of(APP), member_of(UNAPPROVED)}
        and not personal_numbers_in(encode(held))
        and not any(secret in held for secret in (*numbers, world.customer.resident_code)),
        text_ja="事業者は個人番号も住民票コードも持たず、符号は自らのものだけである",
    )
    kept = holdings(world.gateway)
    sim.expect(
        "The gateway kept neither the income nor the application that it carried",
        str(INCOME_YEN) not in kept and NURSERY not in kept and not any(name in kept for name in names),
        text_ja="マイナポータルのAPIは、通過した所得も申請内容も保存していない",
    )


async def what_the_customer_sees(world: Private) -> None:
    """The history names the firm and what it asked for."""
    sim = world.sim
    portal = sim.node(PORTAL, Portal)
    mine = world.cities.portal_code(world.customer)
    history = await portal.read_history(mine)
    shown = [(line.requester, line.procedure) for line in history if line.service == SELF_INCOME.name]
    asked = [line.requester for line in history if line.service == INCOME.name]
    sim.expect(
        "The customer reads in the portal which firm read what for which purpose, and that the portal asked Kobe for it",
        (APP, LOAN) in shown and API in asked,
        text_ja="利用者は、どの事業者が何の目的で取得したか、そのためにマイナポータルが神戸市に照会したことを履歴で確認できる",
    )
    sim.expect(
        "His consents stand in the portal, the withdrawn one as withdrawn",
        [one.state for one in portal.consents(mine)].count(ConsentState.WITHDRAWN) == 1
        and len(portal.consents(mine)) > 4,
        text_ja="同意の一覧で、撤回したものは撤回済みと示される",
    )
