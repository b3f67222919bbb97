"""A nursery place applied for online: from the internet into the city's innermost network, and back.

A family that moved from Kobe to Kitami in May applies in November for a place from April. The father signs with
his card; the application crosses three zones sealed. The income certificates fall away, the certificates of
employment do not. Others meet an expired certificate, a lost answer, a missing 宛名 and a forbidden short cut.
"""

from __future__ import annotations

from datetime import date

from mesh import Simulation, UsageError, scenario
from mesh.faults import drop
from mesh.ledger import read_row
from mesh.message import Reply, Request
from mesh.names import BROKER
from mesh.testing import ledger, messages
from nodes.agency.certificates import CERTIFICATES, STATUS
from nodes.data.papers import paper
from nodes.data.people import Household, Population
from nodes.municipality.assembly import assemble
from nodes.municipality.childcare import APPLY, EMPLOYMENT_PAPER, PROCEDURE, TAX_PAPER, ChildcareForm
from nodes.municipality.tax import INCOME
from nodes.portal.application_server import FETCH, FILE, SERVER
from nodes.portal.application_site import SITE
from scenarios._applicants import FROM_MONTH, NURSERY, World, readers_of

SYSTEMS = ("resident", "tax", "application-management", "childcare")
ISSUED_LONG_AGO = date(2019, 11, 1)
"""Six years ago: whatever the birthday, the fifth after that day is past."""


@scenario(
    title="A nursery place applied for online, end to end",
    title_ja="ぴったりサービスによる保育所入所申込み（電子申請から申請管理・業務システムまで）",
    rules=(2, 4, 9, 10, 11, 14, 15),
    sources=(
        "ぴったりサービス",
        "三層の対策",
        "公的個人認証サービス（J-LIS）",
        "標準準拠システム（20業務）",
        "デジタル手続法6条",
        "子ども・子育て支援法20条・児童福祉法24条",
        "番号法19条8号",
    ),
    starts="2025-11-04T09:00+09:00",
)
async def run(sim: Simulation, *, places: int = 1) -> None:
    """Tell the story; `places` is how many the nursery has left."""
    if not 0 <= places <= 20:
        raise UsageError(f"places is from 0 to 20, not {places}; give --set places=1")
    kitami, kobe = assemble(sim, "01208", *SYSTEMS), assemble(sim, "28100", "resident", "tax")
    world = World(sim, kitami, kobe, Population(sim))
    world.office.open_nursery(NURSERY, places)
    await apply_and_get_a_place(world, places)
    check_who_can_read(world)
    await expired_certificate(world)
    await sent_twice(world)
    await lapsed_after_filing(world)
    await no_addressee(world)
    await short_cut(world)


async def apply_and_get_a_place(world: World, places: int) -> None:
    """From the father's card to the nursery's list, and the state back to the site."""
    sim, office = world.sim, world.office
    family = world.family()
    receipt = world.draft(family, world.card(family.head))
    await world.site.submit(receipt)
    filed = next(one for one in messages(sim, Reply) if one.message.type == FILE.name)
    checks = [one for one in messages(sim, Request) if one.message.type == STATUS.name]
    # Whoever hears nothing sends the same once more.
    askers = list(dict.fromkeys(one.sender for one in checks if one.index < filed.index))
    sim.expect(
        "The relay server has J-LIS confirm the certificate before it takes the application",
        askers == [SERVER, BROKER],
        text_ja="連携サーバは、申請の受付前に署名用電子証明書の有効性をJ-LISに確認した",
    )
    fetched = await world.management.run()
    number = office.applications()[0]["number"]
    sim.expect(
        "Kitami fetches it over 特定通信, finds the father's 宛名 by the certificate's serial number, and hands it over",
        fetched == 1
        and [row["applicant"] for row in office.applications()] == [world.kitami.code(family.head)]
        and world.management.state(receipt) == "handed-over",
        text_ja="北見市の申請管理が特定通信で取得し、電子証明書の発行番号から宛名を特定して業務システムへ引き渡した",
    )
    outcome = await office.examine(number)
    asked = [row.provider for row in ledger(sim, office.address) if row.service == INCOME.name]
    sim.expect(
        "The office asks Kobe, the city of 1 January, for both parents' tax: tax and its year, nothing else",
        asked.count(world.kobe.address("tax")) == len(asked) > 0
        and asked_items(world) == ["tax_year tax_yen"] * 2,
        text_ja="1月1日住所地の神戸市に、父母の税額と年度だけを照会した",
    )
    certified = office.certification(number)
    sim.expect(
        "The need is certified for standard hours, and the fee set by the tax of both parents",
        outcome == "certified"
        and certified is not None
        and (certified["hours"], certified["fee_yen"]) == ("standard", 61_000),
        text_ja="保育標準時間で認定され、父母の税額から利用者負担の上限が決まる",
    )
    for parent in family.parents:
        sim.saved(paper(TAX_PAPER), parent.handle)
        sim.uploaded(paper(EMPLOYMENT_PAPER))
    await sim.sleep(60)
    before = await state_at_site(world, family)
    placed = office.place(number)
    await sim.sleep(60)
    after = await state_at_site(world, family)
    sim.expect(
        "An official gives the place, not the application; the father sees on the site where it stands",
        placed == (places > 0) and (before, after) == ("in-review", "completed" if placed else "in-review"),
        text_ja="入所は担当者の利用調整で決まり、処理状況は申請者の画面に反映される",
    )
    ending = (
        ("has its place", "入所が決まった") if placed else ("waits for a place", "空きがなく保留となった")
    )
    sim.tell(
        f"The {family.head.family.romaji} family applies on the internet with the father's card. The relay server on "
        "LGWAN holds the sealed application, Kitami fetches it and asks Kobe for the parents' tax. Nobody brings an "
        f"income certificate; both certificates of employment are still attached. The child {ending[0]}.",
        f"{family.head.family.written}さんは父のカードで電子申請した。LGWANの連携サーバは封緘された申請を預かり、北見市が取得して"
        f"神戸市に父母の税額を照会した。課税証明書は不要、就労証明書2通は添付のままで、子は{ending[1]}。",
    )


def asked_items(world: World) -> list[str | None]:
    """The items of each question about income that the childcare office put on its record."""
    rows = ledger(world.sim, world.office.address)
    return [row.items for row in rows if row.entry == "opened" and row.service == INCOME.name]


async def state_at_site(world: World, family: Household) -> str:
    """Where the family's last application stands, as the site shows it."""
    return str((await world.site.refresh(world.portal_code(family.head)))[-1]["state"])


def check_who_can_read(world: World) -> None:
    """The form crosses three zones; only its two recipients' keys open it."""
    sim = world.sim
    parties = [SITE, BROKER, SERVER, CERTIFICATES, world.management.address, world.office.address]
    sim.expect(
        "Of all who carried it, only 申請管理 and the childcare office can open the form, not broker nor relay server",
        readers_of(sim, NURSERY, parties) == [world.management.address, world.office.address],
        text_ja="申請書を開けるのは申請管理と保育担当だけで、ブローカーも連携サーバも読めない",
    )


async def expired_certificate(world: World) -> None:
    """A card from six years ago."""
    sim = world.sim
    family = world.family()
    receipt = world.draft(family, world.card(family.head, issued_on=ISSUED_LONG_AGO))
    with sim.refused(
        "certificate_expired",
        "An application signed with an expired certificate is refused at filing",
        text_ja="有効期間の満了した電子証明書による申請は、受付の時点で拒否される",
    ):
        await world.site.submit(receipt)
    sim.expect(
        "Nothing of it waits for the city",
        await world.management.run() == 0,
        text_ja="市が取得する申請データには残らない",
    )
    sim.fell_back(
        paper("childcare-application"),
        "the applicant's certificate had expired; it is renewed in person",
        "申請者の電子証明書が有効期間を過ぎていた（更新は窓口）",
    )
    sim.tell(
        "The second applicant's certificate had expired. The site said so at once, and he applied at the counter.",
        "2人目は電子証明書の有効期間が過ぎていた。申請画面で直ちに分かり、窓口で申請した。",
    )


async def sent_twice(world: World) -> None:
    """The answer is lost on the way, and the applicant presses the button again."""
    sim = world.sim
    family = world.family()
    receipt = world.draft(family, world.card(family.head))
    lost = drop(BROKER, SITE, times=1)
    sim.disturbance.rules.append(lost)
    first = await world.site.submit(receipt)
    sim.disturbance.rules.remove(lost)
    sent = [one for one in messages(sim, Request) if one.sender == SITE and one.message.type == FILE.name]
    again = await world.site.submit(receipt)
    await world.management.run()
    await world.management.run()
    mine = [row for row in world.office.applications() if row["applicant"] == world.kitami.code(family.head)]
    sim.expect(
        "The answer was lost, the same bytes went out again, and the button was pressed twice: one application",
        first == again and len(sent) >= 2 and sent[-1].line == sent[-2].line and len(mine) == 1,
        text_ja="応答の消失による再送と二度押しがあっても、申請は1件だけである",
    )
    sim.tell(
        "The third family's answer was lost on the way and the father pressed the button again; the city has one "
        "application.",
        "3組目は応答が途中で失われ、父がもう一度送信したが、市に届いた申請は1件だった。",
    )


async def lapsed_after_filing(world: World) -> None:
    """Valid at filing is what counts; and a copy that Kobe did not register."""
    sim, office = world.sim, world.office
    family = world.family(copied=False)
    receipt = world.draft(family, world.card(family.head))
    await world.site.submit(receipt)
    await sim.sleep(60)
    world.kitami.resident.register_name(world.kitami.code(family.head), "常呂 一郎", "トコロ イチロウ")
    await sim.sleep(60)
    await world.management.run()
    sim.expect(
        "A certificate that lapsed after filing counts: the city asks how it stood when the application was filed",
        await state_at_site(world, family) == "received",
        text_ja="申請後に失効した電子証明書も有効に扱われる（市は申請時点の有効性を確認する）",
    )
    number = office.applications()[-1]["number"]
    outcome = await office.examine(number)
    sim.expect(
        "Kobe had not registered the father's copy: one income certificate is asked for, his",
        outcome == "paper-needed"
        and [(row["person"], row["why"]) for row in office.papers(number)]
        == [(world.kitami.code(family.head), "replica_missing")],
        text_ja="神戸市で父の副本が未登録のため、父の課税証明書1通だけを求める",
    )
    for parent in family.parents:  # The father's was asked for in vain: the report says why.
        sim.saved(paper(TAX_PAPER), parent.handle)
        sim.uploaded(paper(EMPLOYMENT_PAPER))
    office.bring_tax_paper(number, world.kitami.code(family.head), tax_yen=120_000)
    sim.expect(
        "With the paper the need is certified",
        await office.examine(number) == "certified",
        text_ja="証明書の提出後に認定される",
    )
    sim.tell(
        "The fourth father took another name between filing and fetching: his certificate lapsed, his application "
        "did not. Kobe had not registered his copy, so he fetched one certificate.",
        "4組目の父は申請後に氏名が変わり電子証明書は失効したが、申請は有効だった。神戸市の副本が未登録で、課税証明書を1通取り寄せた。",
    )


async def no_addressee(world: World) -> None:
    """Two serial numbers that the register does not know; a person decides about each."""
    sim, management = world.sim, world.management
    known, stranger = world.family(), world.people.household("28100", child_ages=(1,))
    world.kobe.settle(stranger)
    receipts = [world.draft(family, world.card(family.head, noted=False)) for family in (known, stranger)]
    for receipt in receipts:
        await world.site.submit(receipt)
    before = len(world.office.applications())
    await management.run()
    sim.expect(
        "Without a 宛名 nothing is handed over: both applications wait for a person, and the applicants see it",
        {row["receipt"] for row in management.unresolved()} == set(receipts)
        and len(world.office.applications()) == before
        and [await state_at_site(world, one) for one in (known, stranger)] == ["in-review"] * 2,
        text_ja="宛名が特定できない申請は引き渡されず、2件とも職員の確認待ちとなり、申請者にも表示される",
    )
    for row in management.unresolved():
        found = world.kitami.resident.find(row["name"], row["born"])
        if len(found) == 1:
            await management.resolve(row["receipt"], found[0])
        else:
            await management.give_back(row["receipt"], "not a resident of this city")
    sim.expect(
        "An official finds one applicant in the register, and gives the other's application back",
        [management.state(receipt) for receipt in receipts] == ["handed-over", "returned"]
        and len(world.office.applications()) == before + 1
        and await state_at_site(world, stranger) == "returned",
        text_ja="職員が住民記録で1人を特定し、もう1件は申請者に返却した",
    )
    sim.fell_back(
        paper("childcare-application"),
        "the applicant does not live in the city yet; he applies through the city where he lives",
        "申請者はまだ市民でなく、居住地の市を通じて申請する",
    )
    sim.tell(
        "Two serial numbers lead to nobody in Kitami's register. An official finds one applicant by name and birth "
        "date; the other still lives in Kobe and is sent there.",
        "2件は電子証明書から宛名が特定できなかった。職員が氏名と生年月日で1人を特定し、神戸市に住むもう1人には返却した。",
    )


async def short_cut(world: World) -> None:
    """The site asks the city's systems directly: no path leads from the internet into マイナンバー利用事務系."""
    sim, site, office = world.sim, world.site, world.office
    form = ChildcareForm(site.new_receipt(), "2024-05-01", FROM_MONTH, NURSERY, ())
    person = world.portal_code(world.family().head)
    with sim.refused(
        "zone_forbidden",
        "The site on the internet asks the childcare office directly: no path leads there",
        text_ja="インターネット側から保育担当へ直接送ると、経路がなく拒否される",
    ):
        await site.ask(office.address, APPLY, form, subject=person, procedure=PROCEDURE)
    rows = [read_row(row) for row in office.host.store.ledger_rows()]
    fetches = [
        one for one in messages(sim, Request) if one.message.type == FETCH.name and one.sender != BROKER
    ]
    sim.expect(
        "It never reached the office, and every application came in because the city fetched it",
        all(row.requester != SITE for row in rows)
        and {one.sender for one in fetches} == {world.management.address},
        text_ja="要求は保育担当に届かず、申請はすべて市の側から取得したものである",
    )
    sim.tell(
        "A short cut from the internet to the office was refused by the broker.",
        "インターネットから業務システムへの直接の通信は拒否された。",
    )
