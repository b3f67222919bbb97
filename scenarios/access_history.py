"""Who asked what about me: a resident reads it, and the commission checks afterwards.

Nobody stops an official who asks without need: the question has its row in the law. What stops it from being done
unseen is that three parties record it, that the resident can read it, and that somebody compares. Kobe's tax office
shows false books, a clerk in Sapporo looks up neighbours, and somebody there tries to hide it.
"""

from __future__ import annotations

from datetime import timedelta

from msgspec.structs import replace

from mesh import Simulation, UsageError, scenario
from mesh.ledger import Row, read_row
from mesh.names import BROKER
from mesh.testing import messages
from nodes.agency.case_check import CASES
from nodes.agency.commission import NO_CASE
from nodes.agency.harvesting import PERSONS_MIN
from nodes.agency.reconciliation import Finding
from nodes.data.people import Person
from nodes.municipality.child_allowance import PROCEDURE
from nodes.municipality.privacy import PrivacyDesk
from nodes.portal.inbox import PORTAL, Portal
from scenarios._portal import portal_code
from scenarios._second_books import misrecord
from scenarios._watched_offices import ITEMS, Story, open_story
from scenarios._wire import codes_in, opened_by

INCOME_YEN = 4_321_000
PRELIMINARY_DAYS, FINAL_WILFUL_DAYS = 5, 60
"""By when a breach is reported (平成27年特定個人情報保護委員会規則第5号), as the rule has it and not as the office counts."""


@scenario(
    title="A resident reads who asked what, and the commission checks afterwards",
    title_ja="やりとり履歴の確認と個人情報保護委員会の事後チェック",
    rules=(6, 7, 8, 13),
    sources=(
        "個人情報保護委員会（事後チェック）",
        "マイナポータル",
        "番号法23条・29条の4・33条・35条",
        "個人情報保護法157条",
        "平成27年特定個人情報保護委員会規則第5号",
    ),
    starts="2024-10-15T09:00+09:00",
)
async def run(
    sim: Simulation, *, neighbours: int = 12, report_day: int = 4, false_books: bool = False
) -> None:
    """Tell the story; a clerk looks up `neighbours`, and the city first reports on `report_day`, 1 being today.

    With `false_books` Kobe's tax office at last records less than it answered, in the ledger that it signs: the trace then
    has a disagreement, which the commission's page shows and `trace verify` names.
    """
    if not PERSONS_MIN <= neighbours <= 60:
        raise UsageError(f"--set neighbours is {PERSONS_MIN} to 60, not {neighbours}")
    if not 1 <= report_day <= 30:
        raise UsageError(f"--set report_day is 1 to 30, not {report_day}")
    story = open_story(sim)
    parents = await read_history(story)
    await leave_no_trace(story)
    await compare_books(story, parents)
    await be_merely_busy(story)
    await look_up_neighbours(story, neighbours)
    await find_what_has_no_case(story)
    await hide_it(story)
    await report_the_breach(story, report_day)
    if false_books:
        await record_less(story)


async def read_history(story: Story) -> tuple[Person, Person]:
    """A family claims in Kitami; the mother reads what was asked about her."""
    sim, world = story.sim, story.world
    family = world.family(5)
    father, mother = family.parents
    for parent in (father, mother):
        world.assess(parent, INCOME_YEN)
    world.kitami.settle(family)
    await world.kitami.child_allowance.examine(world.claim(father, family).number)
    lines = await story.history(mother)
    office, tax = world.kitami.address("child-allowance"), world.kobe.address("tax")
    sim.expect(
        "The mother reads one line: who asked whom, for which procedure, when, which items",
        [(one.requester, one.provider, one.procedure, one.items, one.outcome) for one in lines]
        == [(office, tax, PROCEDURE, " ".join(ITEMS), "answered")]
        and 0 < lines[0].time_us - sim.start_us < sim.now_us() - sim.start_us,
        text_ja="母は、誰が誰に、何の事務で、いつ、どの項目を照会したかを1行で確認できる",
    )
    sent = b"\n".join(opened_by(sim, PORTAL)).decode()
    sim.expect(
        "What the portal was sent for it, opened with its own key, holds neither the income nor a name nor anybody's code",
        office in sent
        and not codes_in(sent)
        and not any(text in sent for text in (str(INCOME_YEN), mother.name)),
        text_ja="履歴に値は含まれない（所得も符号も氏名もない）",
    )
    return father, mother


async def leave_no_trace(story: Story) -> None:
    """A victim once claimed in Sapporo and is now under protection in Kitami: her history must not say so."""
    sim, world = story.sim, story.world
    family = world.family(7, parents=1)
    victim = family.head
    story.claim_in_sapporo(2_100_000, victim)
    await story.ask_from_sapporo(victim)
    world.kitami.settle(family)
    world.kitami.resident.protect(world.kitami.code(victim))
    before = await story.history(victim)
    await world.kitami.child_allowance.examine(world.claim(victim, family).number)
    asked = world.asked(victim, world.kobe.address("tax"))
    after = await story.history(victim)
    sim.expect(
        "Kitami asked about a victim under protection; her history has the old line from Sapporo and is else unchanged: "
        "no line, no gap, no count",
        len(asked) == len(before) == 1 and after == before,
        text_ja="北見市は支援措置対象者について照会したが、履歴は以前の札幌市の1行のまま変わらない（行も欠番も件数も現れない）",
        about=asked[0].id,
    )
    findings = await story.commission.reconcile([world.kitami.address("child-allowance")])
    seen = sim.node(BROKER).host.store.ledger_rows_with(asked[0].id)
    sim.expect(
        "It is hidden from her screen, not from the commission: the broker's record has it, and agrees",
        findings == [] and any(read_row(row).entry == "permitted" for row in seen),
        text_ja="画面から隠されるだけで、委員会の検査対象であり、記録も一致している",
    )
    sim.tell(
        "A family claims child allowance in Kitami, and the mother reads in the portal that Kitami asked Kobe for her "
        "income. A victim under protection claims as well: her history stays as it was, so nobody who looks over her "
        "shoulder learns where she lives.",
        "一家が北見市で児童手当を請求し、母はマイナポータルで北見市が神戸市に所得を照会したことを確認した。支援措置対象者も"
        "請求したが、履歴は以前のまま変わらず、転居先が知られることはない。",
    )


async def compare_books(story: Story, parents: tuple[Person, Person]) -> None:
    """Kobe shows books in which one record is missing and one says something else."""
    sim, world = story.sim, story.world
    missing, altered = (world.asked(parent, world.kobe.address("tax"))[-1].id for parent in parents)

    def falsify(row: Row) -> Row | None:
        if row.entry == "answered" and row.id == missing:
            return None
        return replace(row, items="tax_year") if row.entry == "answered" and row.id == altered else row

    story.kobe_tax.falsify = falsify
    tax = world.kobe.address("tax")
    findings = await story.commission.reconcile([world.kitami.address("child-allowance"), tax])
    sim.expect(
        "A record is missing in Kobe's books: requester and broker have it, so the commission names Kobe",
        _about(findings, missing) == [tax],
        text_ja="神戸市の記録が1件欠けている。照会者とブローカーの記録にはあるため、神戸市と特定される",
        about=missing,
    )
    sim.expect(
        "A record is altered there: of three that differ in their items, the odd one is named",
        _about(findings, altered) == [tax] and any("'items'" in one.text for one in findings),
        text_ja="別の1件は項目が書き換えられている。3者の記録のうち異なる神戸市が特定される",
        about=altered,
    )
    sim.expect(
        "Nothing else is found: honest records agree",
        len(findings) == 2,
        text_ja="ほかに不一致はない",
    )
    await story.commission.guide(tax)
    heard = world.kobe.node(PrivacyDesk)
    number = heard.guidance()[0]["number"]
    sim.expect(
        "Kobe's privacy desk has the commission's guidance, about these two exchanges",
        [row["party"] for row in heard.guidance()] == [tax]
        and sorted(heard.concerned(number)) == sorted([missing, altered]),
        text_ja="神戸市の個人情報保護担当に、この2件についての指導が届いた",
    )


def _about(findings: list[Finding], message: str) -> list[str]:
    return [one.party for one in findings if one.message == message]


async def be_merely_busy(story: Story) -> None:
    """Kitami has many claims in one hour: many questions, and a case for each."""
    world = story.world
    for _ in range(PERSONS_MIN):
        family = world.family(9, parents=1)
        world.assess(family.head, 3_000_000)
        world.kitami.settle(family)
        await world.kitami.child_allowance.examine(world.claim(family.head, family).number)


async def look_up_neighbours(story: Story, count: int) -> None:
    """A clerk in Sapporo looks up former residents. The law has a row for the question, so it is answered."""
    sim, world = story.sim, story.world
    for _ in range(count):
        neighbour = world.family(4, parents=1).head
        world.assess(neighbour, INCOME_YEN)
        story.neighbours.append(neighbour)
        await story.ask_from_sapporo(neighbour)
    lines = await story.history(story.neighbours[0])
    sim.expect(
        "Nothing stopped the clerk; but a neighbour reads that Sapporo asked about child allowance never claimed there",
        [(one.requester, one.outcome) for one in lines]
        == [(story.sapporo.address("child-allowance"), "answered")],
        text_ja="照会自体は止められないが、本人は請求した覚えのない札幌市の照会を履歴で見つけられる",
    )


async def find_what_has_no_case(story: Story) -> None:
    """The commission looks at who asked about many, and asks for the cases."""
    sim, sapporo = story.sim, story.sapporo.address("child-allowance")
    honest = await story.commission.reconcile([sapporo])
    findings = await story.commission.check_use()
    told = [one for one in messages(sim) if one.sender == BROKER and one.permit is not None]
    asked = {one.recipient for one in told if one.message.type == CASES.name}
    kitami = story.world.kitami.address("child-allowance")
    sim.expect(
        f"The commission finds {len(findings)} questions in Sapporo without a case, though all three records agree",
        honest == []
        and [(one.code, one.party) for one in findings] == [(NO_CASE, sapporo)] * len(story.neighbours),
        text_ja=f"3者の記録は一致しているが、札幌市の{len(findings)}件の照会に対応する事案がないことが判明した",
    )
    sim.expect(
        "Kitami was looked at for the same reason, and has a case for each: busy is not suspicious",
        asked == {sapporo, kitami},
        text_ja="北見市も同じ基準で確認されたが、すべてに事案があった（多忙なだけでは問題とならない）",
    )
    await story.commission.guide(sapporo)
    desk = story.sapporo_privacy
    concerned = desk.concerned(desk.guidance()[0]["number"])
    sim.expect(
        "Guidance reaches Sapporo's privacy desk with every such exchange; it names nobody",
        len(concerned) == len(story.neighbours)
        and not any(neighbour.name in desk.guidance()[0]["text"] for neighbour in story.neighbours),
        text_ja="札幌市の個人情報保護担当に、該当する全照会についての指導が届いた（個人名は含まない）",
    )
    sim.tell(
        f"Kobe's tax office shows books in which one record is missing and one is altered; the other two parties' "
        f"records tell. In Sapporo a clerk asked about {len(story.neighbours)} neighbours within an hour. Each question "
        "was lawful in form, and none had a case.",
        f"神戸市の税担当は、1件が欠け1件が書き換えられた記録を示したが、他の2者の記録から判明した。札幌市の職員は1時間に"
        f"{len(story.neighbours)}人を照会した。形式上は適法だったが、対応する事案は一つもなかった。",
    )


async def hide_it(story: Story) -> None:
    """Somebody in Sapporo leaves the questions out of the books; a signed head says that they were there."""
    sim, office = story.sim, story.sapporo_office
    concerned = story.sapporo_privacy.concerned(story.sapporo_privacy.guidance()[0]["number"])
    office.falsify = lambda row: None if row.id in concerned else row
    findings = await story.commission.reconcile([office.address])
    office.falsify = None
    ledger = [one for one in findings if one.party == office.address]
    sim.expect(
        "Sapporo shows books without these questions: they do not continue the head that it signed before",
        [(one.code, one.message) for one in ledger] == [("ledger_broken", "")],
        text_ja="札幌市が該当記録を除いた帳簿を示しても、以前に署名した要約と連続せず、改ざんが判明した",
    )
    again = await story.commission.reconcile([office.address])
    sim.expect(
        "With the true books shown again the records agree",
        again == [],
        text_ja="本来の記録が示されると、再び一致した",
    )


async def report_the_breach(story: Story, report_day: int) -> None:
    """Sapporo reports, tells whom it concerns, and goes on working."""
    sim, desk = story.sim, story.sapporo_privacy
    concerned = desk.concerned(desk.guidance()[0]["number"])
    rows = [
        read_row(row) for one in concerned for row in story.sapporo_office.host.store.ledger_rows_with(one)
    ]
    people = list(dict.fromkeys(row.subject for row in rows if row.entry == "opened" and row.subject))
    known_on = sim.now().date()
    breach = desk.note_breach(people, wilful=True)
    await sim.sleep((report_day - 1) * 86_400)
    first = await desk.report(breach)
    sim.expect(
        f"The first report comes on day {report_day}: it is in time until day {PRELIMINARY_DAYS}",
        first.in_time is (report_day <= PRELIMINARY_DAYS),
        text_ja=f"速報は{report_day}日目（期限はおおむね{PRELIMINARY_DAYS}日以内）",
    )
    desk.tell_people(breach)
    await sim.sleep(60)
    portal = sim.node(PORTAL, Portal)
    inboxes = [portal.letters(portal_code(sim, one)) for one in story.neighbours]
    sim.expect(
        "Every neighbour finds one letter of Sapporo in the portal",
        [[row["source"] for row in letters] for letters in inboxes]
        == [[desk.address]] * len(story.neighbours),
        text_ja="対象となった全員に、札幌市からの通知が1通ずつ届いた",
    )
    await _stop_nothing(story)
    last = known_on + timedelta(days=FINAL_WILFUL_DAYS - 1)
    await sim.sleep((last - sim.now().date()).days * 86_400)
    final = await desk.report(breach)
    sim.expect(
        f"The final report comes on day {FINAL_WILFUL_DAYS}, in time because it was done with intent: else it were 30",
        final.in_time and final.final_due >= last.isoformat(),
        text_ja=f"確報は{FINAL_WILFUL_DAYS}日目。不正の目的による事案のため60日以内（通常は30日以内）で、期限内である",
    )
    sim.tell(
        "The commission gives guidance, which is all that is played: 番号法34条 would let it order. Sapporo reports the breach and writes to "
        "everybody who was looked up.",
        "委員会は指導を行った（番号法34条の勧告・命令までは扱わない）。札幌市は漏えい等報告を行い、照会された全員に通知した。",
    )


async def record_less(story: Story) -> None:
    """Kobe's tax office answers with the income, and writes down that it gave the year only."""
    sim, world = story.sim, story.world
    tax, kitami = world.kobe.address("tax"), world.kitami.address("child-allowance")
    family = world.family(5, parents=1)
    world.assess(family.head, INCOME_YEN)
    world.kitami.settle(family)
    misrecord(
        story.kobe_tax,
        lambda row: replace(row, items=ITEMS[0]) if row.entry == "answered" and row.items else row,
    )
    await world.kitami.child_allowance.examine(world.claim(family.head, family).number)
    asked = world.asked(family.head, tax)[-1].id
    await sim.sleep(60)
    findings = [one for one in await story.commission.reconcile([kitami, tax]) if one.message == asked]
    sim.expect(
        "Kobe's own ledger says less than the other two: the commission names Kobe and the items",
        [one.party for one in findings] == [tax] and "'items'" in findings[0].text,
        text_ja="神戸市自身の記録が他の2者より少ない。個人情報保護委員会は神戸市と項目を特定した",
        about=asked,
    )


async def _stop_nothing(story: Story) -> None:
    """A family claims in Sapporo: after the guidance as before, the question is answered."""
    parent = story.claim_in_sapporo(2_500_000)
    reply = await story.ask_from_sapporo(parent)
    story.sim.expect(
        "Guidance stops no exchange: Sapporo's next question, for a family that claims, is answered",
        reply.total_income_yen == 2_500_000,
        text_ja="指導によって情報連携が止まることはなく、札幌市の正当な照会には回答がある",
    )
