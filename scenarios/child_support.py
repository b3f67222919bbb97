"""Children nobody has asked about: offices link what each knows, a person looks at each child, a family is invited.

Five children of one city. The figures put three of them before a person, one wrongly; two are brought by their
school, for whom the figures see nothing, and of one of them a parent is the suspect, who reads all that the portal
has. No letter leaves without a name. Others would like to use the scores, one family moves away, and after its term
everything is deleted.
"""

from __future__ import annotations

from mesh import Simulation, UsageError, scenario
from mesh.builtin import HISTORY, Empty
from mesh.names import BROKER
from mesh.testing import ledger
from nodes.agency.commission import COMMISSION, Commission
from nodes.municipality.child_analysis import CANDIDATE, EXPLANATION, PROCEDURE, SOURCES
from nodes.municipality.child_risk_rules import THRESHOLD
from nodes.municipality.child_support import HANDOVER, OFFER_ANSWER, ChildSupport, Finding
from nodes.municipality.education_board import ATTENDANCE
from nodes.municipality.moves import IDENTITY_CHANGE, MOVED_IN
from nodes.municipality.public_assistance import ASSISTANCE
from nodes.portal.inbox import PORTAL, PORTAL_LETTER, Portal
from scenarios._portal import portal_code
from scenarios._watched_children import HOLDERS, NAMES, World
from scenarios._wire import opened_by

HEAD, WORKER, NURSE = "Head of the children's bureau, Sato", "Family worker, Ono", "School nurse, Abe"
TEACHER = "Class teacher, Endo"
WHY = (b"points", b"absence", b"missed")
"""Words of the analysis that nobody else may read."""
DAY_S = 86_400.0
MINUTE_S = 60.0


@scenario(
    title="Child data are linked, a person looks at each child, and a family is offered support",
    title_ja="こどもデータ連携（判定・人による確認・アウトリーチ）",
    rules=(1, 6, 7, 10, 12, 13, 15),
    sources=(
        "こどもに関する情報・データ連携",
        "公共サービスメッシュ（地方公共団体内の情報活用）",
        "個人情報保護委員会（事後チェック）",
        "個人情報保護法61条・69条2項",
        "児童福祉法10条1項4号・10条の2",
        "こども家庭庁「こどもデータ連携ガイドライン」",
    ),
    starts="2026-10-05T09:00+09:00",
)
async def run(sim: Simulation, *, keep_days: int = 365) -> None:
    """Tell the story; `keep_days` is for how long scores are kept."""
    if not 30 <= keep_days <= 730:
        raise UsageError(f"--set keep_days is 30 to 730, not {keep_days}")
    world = World(sim)
    world.let_offices_work()
    await approve(world, keep_days)
    await analyse(world)
    await explain(world)
    await review(world)
    await suspect_reads(world)
    await offer(world)
    await other_purposes(world)
    await family_moves(world)
    await look_back(world)
    await term_over(world, keep_days)


async def approve(world: World, keep_days: int) -> None:
    """Nothing is linked before somebody answers for it."""
    sim, analysis = world.sim, world.analysis
    with sim.refused(
        "manual_review",
        "Nothing is gathered before the rules and the term are approved by name",
        text_ja="総括管理主体が判定基準と保存期間を承認するまで、データは集められない",
    ):
        await analysis.analyse(world.code("silent"))
    analysis.approve(by=HEAD, keep_days=keep_days)
    sim.tell(
        "In Kitami the school knows of absences, health management of missed check-ups, three welfare offices of "
        "help received. Nobody sees all of it. The head of the children's bureau approves what may be linked, by "
        "which rules and for how long. It rests on 個人情報保護法69条 and runs by the city's own 宛名番号; personal "
        "numbers have no part in it.",
        "北見市では、学校は欠席を、健康管理は健診の未受診を、福祉の3部門は受給や利用の状況を知るが、全体は誰にも見えない。"
        "こども部門の長が、連携する項目・判定基準・保存期間を承認する。根拠は個人情報保護法69条であり、庁内の宛名番号を用い、"
        "個人番号は使わない。",
    )


async def analyse(world: World) -> None:
    """One item of each office for each child."""
    sim, analysis = world.sim, world.analysis
    for name in NAMES:
        await analysis.analyse(world.code(name))
    await sim.sleep(1)
    asked = [[(row.provider, row.items, row.procedure) for row in world.asked(name)] for name in NAMES]
    minimal = [(world.kitami.address(one.system), one.item, PROCEDURE) for one in SOURCES]
    sim.expect(
        "Each office was asked once for each child, for one item and one purpose, and the tax office for nothing",
        asked == [minimal] * len(NAMES) and ledger(sim, world.kitami.address("tax")) == [],
        text_ja="各部門への照会は、こども1人につき1回・1項目・1目的だけで、税には照会していない",
    )
    with sim.refused(
        "item_not_permitted",
        "The days of absence themselves are not for the analysis: it gets a band",
        text_ja="欠席日数そのものは分析に提供されない（区分だけ）",
    ):
        await analysis.ask(
            world.kitami.address("education-board"),
            ATTENDANCE,
            Empty(),
            subject=world.code("silent"),
            procedure=PROCEDURE,
            items=("absent_days",),
        )


async def explain(world: World) -> None:
    """The list, and what each number consists of."""
    sim, centre = world.sim, world.centre
    listed = {
        world.name(row["child"]): (await centre.explain(row["child"])).points for row in centre.candidates()
    }
    sim.expect(
        f"Three of five children reach {THRESHOLD} points and are put before a person",
        listed == {"silent": 60, "hospital": 50, "moving": 55},
        text_ja=f"5人のうち{THRESHOLD}点以上の3人が、人による確認の対象となる",
    )
    first = await centre.explain(world.code("silent"))
    sim.expect(
        "A number comes with its reasons: long absence and one missed check-up",
        (first.points, first.reasons) == (60, ("long-absence", "missed-check-up")),
        text_ja="点数には理由が付く（長期欠席と健診の未受診1回）",
    )
    quiet = await centre.explain(world.code("quiet"))
    sim.expect(
        "What could not be learned is shown as not known, not as no: public assistance has not registered its copy",
        quiet.unknown == ("assistance",) and quiet.points == 0,
        text_ja="得られなかった情報は「なし」でなく「不明」と示される（生活保護の副本が未登録）",
    )


async def review(world: World) -> None:
    """A named person looks at each child, and at one whom the figures do not see."""
    sim, centre = world.sim, world.centre
    with sim.refused(
        "manual_review",
        "No letter leaves for a child at whom nobody has looked",
        text_ja="誰も確認していないこどもの家庭には案内を送れない",
    ):
        await centre.offer(world.code("silent"), by=WORKER)
    with sim.refused(
        "manual_review",
        "A decision without a name is none",
        text_ja="記名のない判断は認められない",
    ):
        centre.review(world.code("silent"), by=" ", finding="support", why="score")
    centre.nominate(world.code("quiet"), worry=f"{NURSE}: often hungry")
    centre.nominate(world.code("fine"), worry=f"{TEACHER}: bruises, and afraid to go home")
    decisions: dict[str, tuple[Finding, str]] = {
        "silent": ("support", "the school has lost touch with the family"),
        "hospital": ("no-need", "in hospital, taught there; the school knows"),
        "moving": ("support", "a baby at home, the mother is alone with it by day"),
        "quiet": ("support", "nothing to eat at home at the end of the month"),
        "fine": ("refer", "a parent is suspected of violence: reported to the child guidance centre"),
    }
    for name, (finding, why) in decisions.items():
        centre.review(world.code(name), by=WORKER, finding=finding, why=why)
    with sim.refused(
        "manual_review",
        "A child who is in hospital was a false positive: the worker dismissed it, and no plan can be made",
        text_ja="入院中のこどもは誤検知。確認で対象外とされ、計画も作れない",
    ):
        centre.plan(world.code("hospital"), ("home-visit",), by=WORKER)
    with sim.refused(
        "manual_review",
        "Where a parent is the suspect no plan is made and no letter goes home",
        text_ja="保護者に虐待の疑いがある場合は、計画も作らず、家庭に案内も送らない",
    ):
        centre.plan(world.code("fine"), ("home-visit",), by=WORKER)
    needless = [name for name, (finding, _) in decisions.items() if finding == "no-need"]
    sim.reached(CANDIDATE, mistaken=[world.children[name].person.handle for name in needless])
    sim.expect(
        "Each of the five has one decision with a name, two of them about children whom the figures do not see",
        [(world.name(row["child"]), row["reviewer"], row["finding"]) for row in centre.reviews()]
        == [(name, WORKER, finding) for name, (finding, _) in decisions.items()],
        text_ja="5人それぞれに記名の判断が1件ある。うち2人は判定に現れず、学校の気づきによる",
    )
    sim.tell(
        "The figures put three children before a family worker. One is in hospital: dismissed. A fourth has not a "
        "point, and the school nurse is worried: the worker sees need there too. A fifth has bruises; there a parent is the "
        "suspect, and it goes to the child guidance centre. The figures order what a person looks at; they decide "
        "nothing.",
        "判定で3人が家庭支援員の確認に回った。1人は入院中で対象外とした。もう1人は0点だが養護教諭が心配しており、"
        "支援員は支援が必要と判断した。あざのある5人目は保護者に虐待の疑いがあり、児童相談所に通告した。判定は人が見る順番を"
        "示すだけで、何も決めない。",
    )


async def suspect_reads(world: World) -> None:
    """Whoever reads in a family's place, a suspect too, sees no difference between one child and the next."""
    sim = world.sim
    reading = (PORTAL, BROKER, HISTORY.name, "portal-history", "exchanges")
    histories = await world.whole_histories()
    sim.expect(
        "A parent who is the suspect reads the child's whole history that evening, and it is that of every child and "
        "every parent: the reading itself and nothing else",
        len(histories) == 3 * len(NAMES) and all(lines == [reading] for lines in histories.values()),
        text_ja="疑いのある保護者がその晩に子の履歴をすべて見ても、どの子・どの保護者の履歴も同じで、その閲覧の1行しかない",
    )


async def offer(world: World) -> None:
    """A plan, a letter that says nothing of figures, and the family's answer."""
    sim, centre, portal = world.sim, world.centre, world.sim.node(PORTAL, Portal)
    invited = ("silent", "moving", "quiet")
    for name in invited:
        centre.plan(world.code(name), ("home-visit", "consultation"), by=WORKER)
        await centre.offer(world.code(name), by=WORKER)
    await sim.sleep(MINUTE_S)
    letters = {name: portal.letters(world.parent(name)) for name in NAMES}
    sim.expect(
        "Three families find one letter, the same for all: it says neither why nor how many points",
        [name for name in NAMES if letters[name]] == [name for name in NAMES if name in invited]
        and len({(row["title"], row["title_ja"], row["due"]) for rows in letters.values() for row in rows})
        == 1,
        text_ja="3家庭に同じ文面の案内が1通ずつ届く。理由も点数も書かれていない",
    )
    for name in ("silent", "moving"):
        await world.answer(name, "accept")
    await world.answer("quiet", "decline")
    # Either answer comes by one service, and only the centre can read which: who said what is told here.
    heads = {name: world.children[name].home.head.handle for name in invited}
    sim.reached(PORTAL_LETTER, [heads["silent"], heads["moving"]], accepts=OFFER_ANSWER, by=centre.address)
    sim.reached(PORTAL_LETTER, [heads["quiet"]], declines=OFFER_ANSWER, by=centre.address)
    with sim.refused(
        "manual_review",
        "Who declined is left in peace: the plan has ended, and no new one can be made",
        text_ja="辞退した家庭の計画は終了し、新たな計画も案内もできない",
    ):
        centre.plan(world.code("quiet"), ("home-visit",), by=WORKER)


async def other_purposes(world: World) -> None:
    """Once there is a number, others want it."""
    sim, code, where = world.sim, world.code("silent"), world.analysis.address
    board = sim.node(world.kitami.address("education-board"))
    with sim.refused(
        "no_legal_basis",
        "The board of education may not have the scores, to form classes",
        text_ja="教育委員会は、学級編制のために判定結果を得られない（根拠なし）",
    ):
        await board.ask(where, EXPLANATION, Empty(), subject=code, procedure="child-support")
    with sim.refused(
        "no_legal_basis",
        "The analysis may not ask for public assistance under another office's task",
        text_ja="分析は、他部門の事務の名目で生活保護の情報を照会できない（根拠なし）",
    ):
        await world.analysis.ask(
            world.kitami.address("public-assistance"),
            ASSISTANCE,
            Empty(),
            subject=code,
            procedure="public-assistance",
            items=("receiving",),
        )
    with sim.refused(
        "zone_forbidden",
        "The tax office does not even reach the analysis: no path leads there",
        text_ja="税の部門は分析に接続できない（許可された通信経路がない）",
    ):
        await world.kitami.tax.ask(where, EXPLANATION, Empty(), subject=code, procedure="child-support")
    with sim.refused(
        "zone_forbidden",
        "Nor does the portal: no family is ever told a score",
        text_ja="マイナポータルも接続できず、家庭に点数が伝わることはない",
    ):
        portal = sim.node(PORTAL, Portal)
        await portal.ask(
            where, EXPLANATION, Empty(), subject=portal_code(sim, world.children["silent"].person),
            procedure="child-support",
        )  # fmt: skip


async def family_moves(world: World) -> None:
    """A family that accepted moves to Kobe; its plan follows, its score does not."""
    sim, centre, child = world.sim, world.centre, world.children["moving"]
    kobe = world.kobe.node(ChildSupport)
    with sim.refused(
        "manual_review",
        "Without the family's word its plan does not go to the next city",
        text_ja="家庭の同意がなければ、計画は転出先に引き継がれない",
    ):
        centre.hand_over(child.code, "28100", contact=WORKER, agreed=False)
    centre.hand_over(child.code, "28100", contact=WORKER, agreed=True)
    await sim.sleep(MINUTE_S)
    world.move_to_kobe("moving")
    await sim.sleep(MINUTE_S)
    arrived = [(row["child"], row["from_city"], row["kinds"], row["contact"]) for row in kobe.arrivals()]
    sim.expect(
        "Kobe has what is done and whom to ask, under its own code of the child, and nothing about why",
        arrived == [(world.kobe.code(child.person), "01208", "home-visit consultation", WORKER)]
        and not any(word in body for body in opened_by(sim, kobe.address) for word in WHY),
        text_ja="神戸市には支援の内容と連絡先だけが神戸市の符号で届き、理由や点数は届かない",
    )
    sim.expect(
        "When the register struck the child off, Kitami deleted the score; it keeps only that it did",
        child.code not in world.analysis.scored()
        and world.analysis.deletions() == [(1, "moved away")]
        and child.code not in [row["child"] for row in centre.candidates()],
        text_ja="住民票の消除の通知を受けて北見市は判定を削除し、削除した事実だけを残す",
    )
    with sim.refused(
        "no_legal_basis",
        "Kobe may not ask Kitami's analysis for it either",
        text_ja="神戸市は北見市の分析に照会できない（根拠なし）",
    ):
        await kobe.ask(
            world.analysis.address,
            EXPLANATION,
            Empty(),
            subject=world.kobe.code(child.person),
            procedure="child-support",
        )
    with sim.refused(
        "manual_review",
        "In Kobe too a named person must look before anything is done",
        text_ja="神戸市でも、記名の判断があるまで支援は始まらない",
    ):
        kobe.plan(world.kobe.code(child.person), ("home-visit",), by="Family worker, Kubo")
    sim.tell(
        "One family accepts and moves to Kobe. With its agreement the plan goes along; the score and its reasons do "
        "not: they are deleted when the register says that the child has moved away.",
        "支援を受け入れた1家庭が神戸市へ転居した。同意を得て計画だけを引き継ぎ、点数と理由は引き継がず、住民票の消除の通知を受けて北見市で削除された。",
    )


async def look_back(world: World) -> None:
    """The parents read all that there is; the commission lays the records side by side."""
    sim = world.sim
    histories = await world.whole_histories()
    children = {name: histories[child.person.handle] for name, child in world.children.items()}
    moved = children.pop("moving")
    sim.expect(
        "In the end too the whole histories of the four children who stayed are one and the same, whatever was found of "
        "each; that of the child who moved has its register's notices and the plan that the family wanted handed over",
        len({tuple(lines) for lines in children.values()}) == 1
        and {service for _, _, service, _, _ in children["silent"]} == {HISTORY.name}
        and {service for _, _, service, _, _ in moved}
        == {HISTORY.name, HANDOVER.name, IDENTITY_CHANGE.name, MOVED_IN.name},
        text_ja="最後に見ても、市に残った4人の子の履歴は判断の内容にかかわらず全く同じで、転居した子には住民記録の通知と、"
        "家庭が同意した計画の引継ぎだけがある",
    )
    bodies = opened_by(sim, PORTAL)
    sim.expect(
        "Nothing that the portal was ever sent, opened with its own key, has a score, a reason or a word of the analysis",
        len(bodies) > len(NAMES)
        and not any(word in body for body in bodies for word in (*WHY, b"reasons", b"child-data")),
        text_ja="マイナポータルに届いたものを自らの鍵で開いても、点数も理由も分析のことも一つもない",
    )
    rows = [row for row in ledger(sim) if row.procedure == PROCEDURE]
    permitted = {row.id for row in rows if row.entry == "permitted"}
    recorded = [(row.entry, row.undisclosed) for row in rows if row.id in permitted and row.entry != "closed"]
    sim.expect(
        f"Hidden from the portal, not from the commission: {len(permitted)} exchanges of the analysis stand in all three "
        "records, each marked as not disclosed",
        len(permitted) >= len(SOURCES) * len(NAMES)
        and {entry for entry, _ in recorded} == {"opened", "permitted", "answered"}
        and all(hidden for _, hidden in recorded),
        text_ja=f"隠されるのは画面だけで、委員会の検査対象である。分析の照会等{len(permitted)}件が3者の記録にあり、いずれも不開示とされている",
    )
    systems = [world.kitami.address(one) for one in (*HOLDERS, "child-analysis", "child-support")]
    findings = await sim.node(COMMISSION, Commission).reconcile([*systems, PORTAL])
    sim.expect(
        "The commission lays the records side by side and finds nothing",
        findings == [],
        text_ja="個人情報保護委員会が記録を突合し、不一致はない",
    )


async def term_over(world: World, keep_days: int) -> None:
    """The term that was approved is over."""
    sim, analysis = world.sim, world.analysis
    before = analysis.delete_expired()
    await sim.sleep(keep_days * DAY_S)
    deleted = analysis.delete_expired()
    sim.expect(
        f"After {keep_days} days, and not before, the four scores left and all that was gathered are deleted; the "
        "decisions with their names stay",
        (before, deleted) == (0, len(NAMES) - 1)
        and analysis.scored() == []
        and len(world.centre.reviews()) == len(NAMES),
        text_ja=f"{keep_days}日の保存期間が過ぎると、残る4人の判定と集めた情報はすべて削除され、記名の判断は残る",
    )
    with sim.refused(
        "not_found",
        "Nobody can look a score up any more",
        text_ja="判定はもう誰にも見られない",
    ):
        await world.centre.explain(world.code("silent"))
    sim.tell(
        "One family accepts, one declines and is left in peace. Others who would like the scores are refused. After "
        "the approved term every score is deleted; who decided what stays on record.",
        "別の1家庭は受け入れ、1家庭は辞退して以後案内を受けない。判定結果を別の目的に使おうとする照会は拒否される。"
        "承認された期間の後、判定はすべて削除され、誰が何を判断したかだけが残る。",
    )
