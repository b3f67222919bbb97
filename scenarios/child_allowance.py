"""Child allowance for families that moved in: what the new city asks elsewhere instead of asking for papers.

Six families move from Kobe to Kitami and claim on one day. The first gets by without a paper; each of the
others meets one thing that goes otherwise. `--set rules=2024-09` runs it a month earlier, under the old
income limit.
"""

from __future__ import annotations

from datetime import datetime

from mesh import Simulation, UsageError, instant, scenario
from mesh.builtin import HISTORY
from mesh.names import BROKER
from mesh.simulation import JST
from nodes.agency.pension import PENSION
from nodes.data.papers import paper
from nodes.data.people import Population
from nodes.municipality.assembly import assemble
from nodes.municipality.child_allowance import INCOME_PAPER, PENSION_PAPER, PROCEDURE
from nodes.municipality.tax import INCOME, IncomeQuery
from nodes.portal.inbox import PORTAL, Portal
from scenarios._moving_families import CLAIM_DAYS, LATE_DAYS, TAX_YEAR, World, is_marked, month_after
from scenarios._portal import portal_code
from scenarios._waiting import wait_until

AGES = (1, 4, 7, 10, 13)
"""Ages of the first family's children."""
FULL_YEN = (15_000, 25_000, 50_000, 80_000, 110_000)
"""What that many of them bring a month since October 2024: from the third on 30,000 yen each."""
INCOME_YEN = 6_800_000
DEPENDANT_YEN = 380_000
"""The first family's income, and how much more for each dependant: always over the old limit."""
REDUCED_YEN = 5_000
"""What each brought before, over the income limit (特例給付)."""


@scenario(
    title="Child allowance for families that moved in, without certificates",
    title_ja="児童手当・転入者の認定請求（課税証明書などの添付省略）",
    rules=(2, 4, 6, 8, 12, 14, 15),
    sources=(
        "公共サービスメッシュ（行政機関間の情報連携）",
        "児童手当法4条・6条・7条・8条・17条",
        "番号法19条8号・22条・23条2項",
        "令和6年デジタル庁・総務省令第9号2条の表",
    ),
    starts={"2024-10": "2024-10-15T09:00+09:00", "2024-09": "2024-09-02T09:00+09:00"},
    first=True,
)
async def run(sim: Simulation, *, rules: str = "2024-10", children: int = 2) -> None:
    """Run the six families, one after the other."""
    if not 1 <= children <= len(AGES):
        raise UsageError(f"--set children is 1 to {len(AGES)}, not {children}")
    world = World(sim, assemble(sim, "01208"), assemble(sim, "28100"), Population(sim))
    await without_papers(world, rules, children)
    await beyond_the_law(world, rules)
    await one_day_late(world, rules)
    await copy_not_registered(world)
    await mutual_aid_member(world)
    await under_protection(world)
    await public_servant(world)
    if rules == "2024-09":
        await until_the_rules_change(world)


async def without_papers(world: World, rules: str, children: int) -> None:
    """The register's event invites; a parent claims on the last day; the mesh brings what papers said."""
    sim, office = world.sim, world.kitami.child_allowance
    family = world.family(*AGES[:children])
    father, mother = family.parents
    income_yen = INCOME_YEN + DEPENDANT_YEN * children
    world.assess(father, income_yen, dependants=children)
    world.assess(mother, 2_900_000)
    copied_at = instant(sim.now_us())
    world.enrol(father)
    # Nobody asks in the moment of the copy: an answer that says when it was given would say otherwise.
    await sim.sleep(60)
    world.kitami.move_in(family)
    await wait_until(sim, office.invitations)
    invited = [row["parent"] for row in office.invitations()]
    # Nobody was written to yet, and the claim comes at the counter: no push has reached anybody.
    sim.expect(
        "The register's event led to an invitation and to no claim",
        invited == [world.kitami.code(father)] and not world.asked(father, world.kobe.address("tax")),
        text_ja="転入の記載は案内につながるだけで、請求や認定にはならない",
    )
    receipt = world.claim(father, family)
    sim.expect("A claim on day 15 is in time", receipt.in_time, text_ja="15日目の請求は期限内である")
    decision = await office.examine(receipt.number)
    where = world.kobe.address("tax")
    asked = [world.asked(parent, where) for parent in family.parents]
    sim.expect(
        "Both parents' income was asked once each, of the city of 1 January",
        [len(rows) for rows in asked] == [1, 1],
        text_ja="父母それぞれの所得を1月1日住所地に1回ずつ照会した",
    )
    items = "dependants tax_year total_income_yen" if rules == "2024-09" else "tax_year total_income_yen"
    sim.expect(
        f"The items asked for were those of the rules of {rules}: {items}",
        all(row.items == items for rows in asked for row in rows),
        text_ja=f"照会項目は{rules}の規定どおり（{items}）",
    )
    sim.expect(
        "The pension body was asked about the claimant only, because a child is under 3",
        (len(world.asked(father, PENSION)), len(world.asked(mother, PENSION))) == (1, 0),
        text_ja="3歳未満の児童がいるため、請求者についてだけ年金加入を照会した",
    )
    sim.expect(
        "The parent who earns more is the claimant, paid from the month after moving out",
        (decision.claimant, decision.first_month)
        == (world.kitami.code(father), month_after(family.moves[-1].on)),
        text_ja="所得の高い父が受給者となり、転出予定日の翌月分から支給される",
    )
    expected_yen = REDUCED_YEN * children if rules == "2024-09" else FULL_YEN[children - 1]
    sim.expect(
        f"The allowance is {expected_yen} yen a month under the rules of {rules}",
        (decision.monthly_yen, decision.rules) == (expected_yen, rules),
        text_ja=f"{rules}の規定により月額{expected_yen}円となる",
    )
    as_of = [one.as_of for one in office.file.incomes(receipt.number).values()]
    sim.expect(
        f"Each income says as of when Kobe's copy is from which it was answered: {copied_at}, when it was registered",
        as_of == [copied_at] * 2,
        text_ja=f"所得の回答にはいつ時点の副本かが示される（登録された{copied_at}のもの）",
    )
    for parent in family.parents:
        sim.saved(paper(INCOME_PAPER), parent.handle)
    sim.saved(paper(PENSION_PAPER), father.handle)
    copied = ", ".join(dict.fromkeys(one[:16].replace("T", " ") for one in as_of)) or "nothing"
    sim.tell(
        f"The {father.family.romaji} family moved from Kobe to Kitami with {children} children. Kitami asked Kobe for "
        f"both parents' income and the pension body for the father's scheme, and granted {decision.monthly_yen} yen "
        f"a month. Kobe answered from its copy, as of {copied}. Nobody attached a paper.",
        f"{father.family.written}さん一家（子{children}人）は神戸市から北見市へ転入した。北見市は父母の所得を神戸市に、"
        f"父の年金加入を日本年金機構に照会し、月額{decision.monthly_yen}円を認定した。神戸市の回答は副本（{copied}時点）による。添付書類はなかった。",
    )


async def beyond_the_law(world: World, rules: str) -> None:
    """What the office may not ask, it does not get."""
    sim, office = world.sim, world.kitami.child_allowance
    someone = world.family(5, parents=1).head
    world.assess(someone, 3_000_000)
    code, where = world.kitami.code(someone), world.kobe.address("tax")
    item = "tax_yen" if rules == "2024-09" else "dependants"
    with sim.refused(
        "item_not_permitted",
        f"Asking for {item} under the rules of {rules} is refused",
        text_ja=f"{rules}の規定で{item}を照会すると項目外として拒否される",
    ):
        await office.ask(
            where,
            INCOME,
            IncomeQuery(TAX_YEAR),
            subject=code,
            procedure=PROCEDURE,
            items=("tax_year", "total_income_yen", item),
        )
    with sim.refused(
        "no_legal_basis",
        "Asking for income in the procedure of health check-ups is refused",
        text_ja="母子保健の事務として所得を照会すると根拠なしとして拒否される",
    ):
        await office.ask(
            where,
            INCOME,
            IncomeQuery(TAX_YEAR),
            subject=code,
            procedure="child-health",
            items=("total_income_yen",),
        )
    sim.tell(
        f"The broker refused {item} and a question in another procedure; Kobe never saw either.",
        f"項目外（{item}）の照会と別事務での照会は中継で拒否され、神戸市には届かなかった。",
    )
    sim.expect(
        "Neither question reached the tax office",
        not world.kobe.tax.host.store.ledger_rows_with(world.kobe.code(someone)),
        text_ja="どちらの照会も税務システムに届いていない",
    )


async def one_day_late(world: World, rules: str) -> None:
    """The first day after the term, and the parent who earns less files first; and a term that a closed day moves on."""
    sim, office = world.sim, world.kitami.child_allowance
    late = LATE_DAYS[rules]
    family = world.family(5, day=late)
    father, mother = family.parents
    world.assess(father, 2_400_000)
    world.assess(mother, 4_100_000)
    world.kitami.settle(family)
    first = await office.examine(world.claim(father, family).number)
    sim.expect(
        "When the one who earns less claims, the other parent is named as claimant",
        (first.outcome, first.claimant) == ("other-parent", world.kitami.code(mother)),
        text_ja="所得の低い父の請求では、所得の高い母が請求者であると示される",
    )
    receipt = world.claim(mother, family)
    decision = await office.examine(receipt.number)
    sim.expect(
        f"A claim on day {late}, after the term, is late: paid from the month after the claim",
        not receipt.in_time and decision.first_month == month_after(sim.now().date()),
        text_ja=f"期限を過ぎた{late}日目の請求は、請求の翌月分から支給される",
    )
    after_holiday = world.family(5, day=CLAIM_DAYS + 1)
    world.kitami.settle(after_holiday)
    sim.expect(
        "Where day 15 falls on a Sunday or holiday, a claim on day 16 is in time (地方自治法4条の2第4項)",
        world.claim(after_holiday.head, after_holiday).in_time,
        text_ja="15日目が閉庁日に当たるときは、16日目の請求も期限内である（地方自治法4条の2第4項）",
    )
    sim.expect(
        "With no child under 3 the pension body is not asked",
        not world.asked(father, PENSION) and not world.asked(mother, PENSION),
        text_ja="3歳未満の児童がいなければ年金加入は照会しない",
    )
    for parent in family.parents:
        sim.saved(paper(INCOME_PAPER), parent.handle)
    sim.tell(
        "The second family came a day late and loses a month; the mother, who earns more, had to claim.",
        "2組目は期限を1日過ぎて1か月分を失い、所得の高い母が改めて請求した。",
    )


async def copy_not_registered(world: World) -> None:
    """Kobe has assessed the father and not registered the copy."""
    sim, office = world.sim, world.kitami.child_allowance
    family = world.family(6)
    father, mother = family.parents
    world.assess(father, 3_800_000, copied=False)
    world.assess(mother, 1_200_000)
    world.kitami.settle(family)
    number = world.claim(father, family).number
    waiting = await office.examine(number)
    needed = [(one.key, one.person, one.why) for one in office.file.papers(number)]
    sim.expect(
        "A copy that was not registered makes the claim wait for one certificate, the father's",
        waiting.outcome == "waiting"
        and needed == [(INCOME_PAPER, world.kitami.code(father), "replica_missing")],
        text_ja="副本未登録のため、父の課税証明書1通だけを求めて請求を保留する",
    )
    for parent in family.parents:  # The father's was asked for in vain: the report says why.
        sim.saved(paper(INCOME_PAPER), parent.handle)
    office.bring_income_paper(number, world.kitami.code(father), total_income_yen=3_800_000, dependants=1)
    decision = await office.examine(number)
    sim.expect(
        "With the paper the claim is granted, and Kobe is not asked again",
        decision.outcome == "granted" and len(world.asked(mother, world.kobe.address("tax"))) == 1,
        text_ja="証明書の提出後に認定され、神戸市への再照会はない",
    )
    sim.tell(
        "For the third family Kobe had not registered a copy: the father fetched his certificate.",
        "3組目は神戸市の副本が未登録で、父が課税証明書を取り寄せた。",
    )


async def mutual_aid_member(world: World) -> None:
    """A teacher of a private school is in a mutual aid association, which is not linked."""
    sim, office = world.sim, world.kitami.child_allowance
    family = world.family(1)
    father, mother = family.parents
    world.assess(father, 4_500_000)
    world.assess(mother, 1_000_000)
    world.kitami.settle(family)
    number = world.claim(father, family).number
    waiting = await office.examine(number)
    needed = [(one.key, one.why) for one in office.file.papers(number)]
    sim.expect(
        "A member of a mutual aid association has no record at the pension body: the paper is needed",
        waiting.outcome == "waiting" and needed == [(PENSION_PAPER, "not_found")],
        text_ja="共済組合員は年金機構に記録がなく、加入証明の提出が必要になる",
    )
    for parent in family.parents:
        sim.saved(paper(INCOME_PAPER), parent.handle)
    sim.saved(paper(PENSION_PAPER), father.handle)  # Asked for in vain: the association is not linked.
    office.bring_pension_paper(number, world.kitami.code(father), "mutual-aid")
    decision = await office.examine(number)
    sim.expect(
        "With the paper the claim is granted",
        decision.outcome == "granted",
        text_ja="加入証明の提出後に認定される",
    )
    sim.tell(
        "The fourth claimant belongs to a mutual aid association that is not linked, and brought a copy.",
        "4組目の請求者は連携していない共済の組合員で、資格確認書等の写しを提出した。",
    )


async def under_protection(world: World) -> None:
    """A parent who fled: the exchange is lawful and goes on, and the history does not show it."""
    sim, office = world.sim, world.kitami.child_allowance
    family, other = world.family(4, parents=1), world.family(4, parents=1)
    world.kitami.settle(family)
    world.kitami.resident.protect(world.kitami.code(family.head))
    world.kitami.settle(other)
    world.assess(family.head, 1_800_000)
    world.assess(other.head, 1_800_000)
    decision = await office.examine(world.claim(family.head, family).number)
    await office.examine(world.claim(other.head, other).number)
    where = world.kobe.address("tax")
    sim.expect(
        "Protection does not end the lawful exchange: the allowance is granted without paper",
        decision.outcome == "granted" and len(world.asked(family.head, where)) == 1,
        text_ja="支援措置の対象でも適法な照会は行われ、書類なしで認定される",
    )
    exchange = world.asked(family.head, where)[0].id
    marked = [address for address in (office.address, BROKER, where) if is_marked(sim, address, exchange)]
    sim.expect(
        "All three records carry the mark that hides it",
        len(marked) == 3,
        text_ja="照会者・提供者・中継の3つの記録すべてに不開示の印がある",
    )
    portal = sim.node(PORTAL, Portal)
    seen = await portal.read_history(portal_code(sim, family.head))
    shown = await portal.read_history(portal_code(sim, other.head))
    sim.expect(
        "The history shows nothing that any city did: its one line is the reading itself",
        [(line.requester, line.service) for line in seen] == [(PORTAL, HISTORY.name)],
        text_ja="やりとり履歴には市の照会が一切表示されない（その閲覧の1行だけである）",
    )
    sim.expect(
        "The history of a parent without protection shows the same question",
        [line.provider for line in shown if line.service == INCOME.name] == [where],
        text_ja="支援措置のない親の履歴には同じ照会が表示される",
    )
    for parent in (family.head, other.head):
        sim.saved(paper(INCOME_PAPER), parent.handle)
    sim.tell(
        "The fifth parent is under protection: Kitami asked Kobe lawfully, and no history shows where the family lives.",
        "5組目は支援措置の対象者で、北見市は適法に照会したが、履歴には現れず居所は知られない。",
    )


async def public_servant(world: World) -> None:
    """Public servants are paid by their employer, so nothing is asked about them."""
    sim, office = world.sim, world.kitami.child_allowance
    family = world.family(2)
    world.kitami.settle(family)
    receipt = world.claim(family.head, family, public_servant=True)
    before = sim.trace.transmissions
    decision = await office.examine(receipt.number)
    sim.expect(
        "A public servant is sent to the employer, and not one message is sent",
        decision.outcome == "employer-pays" and sim.trace.transmissions == before,
        text_ja="公務員は勤務先から支給されるため対象外とし、照会は1件も行わない",
    )
    sim.tell(
        "The last claimant is a public servant, whose employer pays: nothing was asked.",
        "最後の請求者は公務員で勤務先が支給するため、何も照会しなかった。",
    )


async def until_the_rules_change(world: World) -> None:
    """Under the old rules, on their last day and on the day after: the same question about the same parent."""
    sim, office = world.sim, world.kitami.child_allowance
    someone = world.family(5, parents=1).head
    world.assess(someone, 3_000_000, dependants=1)
    code, where = world.kitami.code(someone), world.kobe.address("tax")

    async def ask() -> int | None:
        reply = await office.ask(
            where, INCOME, IncomeQuery(TAX_YEAR), subject=code, procedure=PROCEDURE, items=("dependants",)
        )
        return reply.dependants if isinstance(reply.dependants, int) else None

    await _until(world, datetime(2024, 9, 30, 23, tzinfo=JST))
    sim.expect(
        "On 30 September 2024, the last day of the old rules, Kobe still says how many dependants there are",
        await ask() == 1,
        text_ja="旧規定の最終日である2024年9月30日には、扶養親族等の数の照会に回答がある",
    )
    await _until(world, datetime(2024, 10, 1, tzinfo=JST))
    with sim.refused(
        "item_not_permitted",
        "On 1 October the same question about the same parent is refused: the income limit is gone",
        text_ja="10月1日には、同じ親についての同じ照会が拒否される（所得制限の撤廃）",
    ):
        await ask()


async def _until(world: World, moment: datetime) -> None:
    await world.sim.sleep((moment - world.sim.now()).total_seconds())
