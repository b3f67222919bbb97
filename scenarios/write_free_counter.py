"""The write-free counter (書かない窓口): one stop after a move, for a family with a card and a visitor without one.

The clerk asks, the city's own data fills the forms in, the resident confirms each. A helper stands by and opens
nothing. One system is down; somebody shows another's licence; a clerk reaches beyond their role.
"""

from __future__ import annotations

from mesh import Simulation, UsageError, scenario
from mesh.builtin import Empty
from nodes.agency.certificates import CERTIFICATES
from nodes.data.papers import paper
from nodes.data.people import Person, Population
from nodes.municipality.assembly import assemble
from nodes.municipality.child_allowance import ChildAllowanceOffice
from nodes.municipality.counter import HELPER as NO_PROCEDURES
from nodes.municipality.counter import PROCEDURE, Counter
from nodes.municipality.counter_forms import KINDS, Answers
from nodes.municipality.health_insurance import HealthInsurance
from nodes.municipality.national_pension import NationalPension
from nodes.municipality.resident import RECORD
from nodes.municipality.school_enrolment import SchoolEnrolment
from scenarios._visitors import (
    CLERK,
    HELPER,
    MOVED,
    SCHOOL_CLERK,
    TYPED,
    HelperTablet,
    World,
    is_seen,
    shows,
)

SYSTEMS = ("resident", "counter", *KINDS)
ALONE = ("health-insurance", "national-pension")
"""What somebody without children comes for after a move."""


@scenario(
    title="The write-free counter: the clerk asks, the resident confirms",
    title_ja="書かない窓口（転入後のワンストップ手続）",
    rules=(1, 14, 15),
    sources=(
        "書かない窓口",
        "デジタルデバイド対策",
        "公共サービスメッシュ（地方公共団体内の情報活用）",
        "標準準拠システム（20業務）",
        "公的個人認証サービス（J-LIS）",
        "番号法9条2項",
    ),
    starts="2026-04-10T09:00+09:00",
)
async def run(sim: Simulation, *, outage: str = "national-pension") -> None:
    """Tell the story; `outage` is the system that is down when the second visitor comes."""
    if outage not in ALONE:
        raise UsageError(f"outage is one of {', '.join(ALONE)}, not {outage!r}; give --set outage={ALONE[0]}")
    city = assemble(sim, "01208", *SYSTEMS)
    sim.add(HelperTablet, city.address("helper-tablet"))
    world = World(sim, city, Population(sim))
    world.counter.give_role(CLERK, KINDS)
    world.counter.give_role(SCHOOL_CLERK, ["school-enrolment"])
    world.counter.give_role(HELPER, [NO_PROCEDURES])
    await one_stop(world)
    alone = await without_card_or_phone(world, outage)
    await wrong_person(world, alone)
    await beyond_the_role(world, alone)
    await beyond_the_city(world, alone)


async def one_stop(world: World) -> None:
    """A family with two children: four forms, four offices, one counter."""
    sim, city, counter = world.sim, world.city, world.counter
    family = world.newcomers(2, 9)
    card = world.card(family.head)
    await sim.sleep(60)
    visit = counter.greet(CLERK, tuple(KINDS))
    await counter.identify(CLERK, visit, shows(family.head, "card"), looks_alike=True)
    pupil = family.children[0].born.isoformat()
    said = Answers(from_school="南小学校", child_at_school_born=pupil)
    forms = await counter.fill_in(CLERK, visit, said)
    with sim.refused(
        "manual_review",
        "The father sees a wrong school, the clerk corrects it: the form as it was before can no longer be confirmed",
        text_ja="父が学校名の誤りに気付き、職員が訂正した。訂正前の内容では確認できない",
    ):
        await counter.fill_in(CLERK, visit, Answers(from_school="湊小学校", child_at_school_born=pupil))
        counter.confirm_by_hand(visit, "school-enrolment", forms["school-enrolment"])
    forms = await counter.fill_in(CLERK, visit, Answers(from_school="湊小学校", child_at_school_born=pupil))
    unconfirmed = await counter.file(CLERK, visit)
    sim.expect(
        "What nobody has confirmed is not filed: four forms are filled in, and no office has one",
        sorted(unconfirmed) == sorted(KINDS)
        and {*unconfirmed.values()} == {"shown"}
        and received(world, family.head) == [],
        text_ja="確認されていない申請書は提出されない（4件とも作成済みだが、どの課にも届いていない）",
    )
    await world.confirm_all(visit, dict(forms), card)
    states = await counter.file(CLERK, visit)
    await sim.sleep(60)
    sim.expect(
        "The father confirms each of the four with his card, and four offices have his form: one stop",
        {*states.values()} == {"filed"} and received(world, family.head) == sorted(KINDS),
        text_ja="父がカードで1件ずつ確認し、4つの課すべてに届け出が済む（ワンストップ）",
    )
    school = city.node(SchoolEnrolment).pupils()
    sim.expect(
        "The forms say what the register says, and what the father said where it cannot know: the school, as corrected",
        [(row["child"], row["from_school"]) for row in school]
        == [(city.code(family.children[0]), "湊小学校")]
        and city.node(HealthInsurance).insured(city.code(family.head))["since"] == MOVED.isoformat(),
        text_ja="申請書の内容は住民記録どおりで、住民記録にない前の学校名は聞き取り（訂正後）による",
    )
    for _ in KINDS:
        sim.saved(paper("handwritten-form"), family.head.handle)
    sim.fell_back(
        paper("school-leaving-papers"),
        "still attached: the school that the child left gives them on paper",
        "添付のまま: 前の学校が紙で交付する",
    )
    sim.tell(
        f"The {family.head.family.romaji} family has just moved to Kitami. At one counter the clerk asks a few questions, "
        "the register fills four forms in, the father has one school name corrected and confirms each form with his "
        "card. He writes nothing and goes to no other counter.",
        f"北見市に転入したばかりの{family.head.family.written}さんは、一つの窓口で職員の質問に答えるだけで4件の申請書ができ、学校名を1か所"
        "訂正してもらい、カードで1件ずつ確認した。何も書かず、他の窓口にも行かない。",
    )


def received(world: World, person: Person) -> list[str]:
    """Which offices hold something that a person filed, by their own tables."""
    city, code = world.city, world.city.code(person)
    found = {
        "health-insurance": city.node(HealthInsurance).db.execute(
            "SELECT 1 FROM insured WHERE person = ?", (code,)
        ),
        "national-pension": city.node(NationalPension).db.execute(
            "SELECT 1 FROM filing WHERE person = ?", (code,)
        ),
        "school-enrolment": city.node(SchoolEnrolment).db.execute(
            "SELECT 1 FROM pupil WHERE parent = ? AND from_school IS NOT NULL", (code,)
        ),
        "child-allowance": city.node(ChildAllowanceOffice).db.execute(
            "SELECT 1 FROM claim WHERE claimant = ?", (code,)
        ),
    }
    return sorted(system for system, rows in found.items() if rows.fetchone() is not None)


async def without_card_or_phone(world: World, outage: str) -> Person:
    """Somebody with two documents and a helper at their side; one system is down."""
    sim, counter = world.sim, world.counter
    person = world.newcomers(parents=1).head
    await sim.sleep(60)
    visit = counter.greet(HELPER, ALONE)
    with sim.refused(
        "withheld",
        "One document without a photograph is not enough",
        text_ja="顔写真のない書類1点だけでは本人確認ができない",
    ):
        await counter.identify(CLERK, visit, shows(person, "pension-book"), looks_alike=True)
    documents = shows(person, "pension-book", "eligibility-confirmation")
    await counter.identify(CLERK, visit, documents, looks_alike=True)
    forms = await counter.fill_in(CLERK, visit, Answers())
    for key, form in forms.items():
        counter.confirm_by_hand(visit, key, form)
    with sim.offline(world.city.address(outage)):
        states = await counter.file(CLERK, visit)
    (other,) = (key for key in ALONE if key != outage)
    sim.expect(
        f"While {outage} is down its form is printed, and the other is filed all the same",
        states == {outage: "paper", other: "filed"} and received(world, person) == [other],
        text_ja=f"停止中のシステム（{KINDS[outage].title_ja}）の分だけ紙に印刷し、もう1件は提出される",
    )
    for _ in ALONE:  # One of them goes through.
        sim.saved(paper("handwritten-form"), person.handle)
    nodes = [sim.node(world.city.address(name)) for name in (*SYSTEMS, "helper-tablet")]
    sim.expect(
        "No password is anywhere: what the father typed into the reader is in no message and no table, and this visitor "
        "needed none",
        not is_seen(sim, TYPED, nodes) and all(row["confirmed"] == "by hand" for row in counter.forms(visit)),
        text_ja="暗証番号はどの電文にもどのシステムにも残らない（2人目は暗証番号を使っていない）",
    )
    sim.tell(
        "The next visitor has neither card nor phone. A helper brings the visitor to the clerk; two documents show who "
        f"it is, and forms are confirmed by hand. The system {outage} is down: its form goes on paper, the other through.",
        "次の来庁者はカードもスマートフォンも持たない。デジタル推進委員が付き添い、書類2点で本人確認をし、手書き署名で確認した。"
        "1つのシステムが停止していたため、その分だけ紙で受け付けた。",
    )
    return person


async def wrong_person(world: World, other: Person) -> None:
    """Somebody shows another's licence; somebody else's papers name nobody here."""
    sim, counter = world.sim, world.counter
    visit = counter.greet(CLERK, ALONE)
    before = len(world.asked_by_counter())
    with sim.refused(
        "withheld",
        "The photograph is of somebody else: the clerk stops",
        text_ja="写真が来庁者と一致せず、職員は手続を止める",
    ):
        await counter.identify(CLERK, visit, shows(other, "licence"), looks_alike=False)
    with sim.refused(
        "withheld",
        "Without an identified person nothing can be filled in",
        text_ja="本人確認ができなければ、申請書は作成できない",
    ):
        await counter.fill_in(CLERK, visit, Answers())
    sim.expect(
        "Nothing was opened: the counter asked no system anything, and the visit has no form",
        len(world.asked_by_counter()) == before and counter.forms(visit) == [],
        text_ja="何も開かれていない（どのシステムにも照会せず、申請書もない）",
    )
    stranger = world.people.household("28100", parents=1).head
    with sim.refused(
        "not_found",
        "A licence of somebody whom the register does not have opens nothing either",
        text_ja="住民記録にない人の免許証でも、何も開かれない",
    ):
        await counter.identify(CLERK, visit, shows(stranger, "licence"), looks_alike=True)
    sim.tell(
        "Somebody shows the licence of another. The clerk compares the photograph, and no form is opened.",
        "他人の免許証を示した人がいたが、職員が写真を確かめ、何も開かれなかった。",
    )


async def beyond_the_role(world: World, other: Person) -> None:
    """The helper and a clerk of another section try."""
    sim, city, counter = world.sim, world.city, world.counter
    visit = counter.greet(HELPER, ALONE)
    documents = shows(other, "licence")
    with sim.refused(
        "withheld",
        "The helper may greet and explain, and opens nothing at the counter",
        text_ja="デジタル推進委員は受付や説明はできるが、窓口システムでは何も開けない",
    ):
        await counter.identify(HELPER, visit, documents, looks_alike=True)
    with sim.refused(
        "withheld",
        "A clerk of the school section has no role for insurance and pension",
        text_ja="就学担当の職員には、国保・年金を開く権限がない",
    ):
        await counter.identify(SCHOOL_CLERK, visit, documents, looks_alike=True)
    with sim.refused(
        "no_legal_basis",
        "The helper's tablet asks the register itself: no row of the law names it",
        text_ja="推進委員のタブレットから住民記録に直接照会しても、根拠がなく拒否される",
    ):
        await world.tablet.ask(
            city.address("resident"), RECORD, Empty(), subject=city.code(other), procedure=PROCEDURE
        )
    sim.expect(
        "Both attempts at the counter are on record, and nobody was identified",
        counter.denied() == [(HELPER, ALONE[0]), (SCHOOL_CLERK, ALONE[0])] and counter.forms(visit) == [],
        text_ja="権限外の操作は2件とも記録され、本人の特定には至っていない",
    )
    sim.tell(
        "The helper and a clerk of another section try to open the visitor's data. Both are denied, and it is on record.",
        "デジタル推進委員と別の課の職員が開こうとしたが、いずれも拒否され、記録に残った。",
    )


async def beyond_the_city(world: World, other: Person) -> None:
    """What fills the forms in is use inside one body; another city's counter has no part in it."""
    sim, city = world.sim, world.city
    kobe = assemble(sim, "28100", "counter")
    with sim.refused(
        "no_legal_basis",
        "The counter of another city asks Kitami's register for the same: the rows hold inside one body only",
        text_ja="他市の窓口から北見市の住民記録に照会しても、庁内利用の根拠は及ばず拒否される",
    ):
        await kobe.node(Counter).ask(
            city.address("resident"), RECORD, Empty(), subject=kobe.code(other), procedure=PROCEDURE
        )
    asked = sorted({row.provider or "" for row in world.asked_by_counter()})
    sim.expect(
        "Kitami's counter asked nobody outside Kitami but J-LIS, whether the father's certificate holds",
        [address for address in asked if not address.startswith(f"{city.member}/")] == [CERTIFICATES],
        text_ja="北見市の窓口が市の外に照会したのは、J-LISへの電子証明書の有効性確認だけである",
    )
