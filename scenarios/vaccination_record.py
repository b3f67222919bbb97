"""A vaccination record follows a move: VRS, 2021 to 2024, under two readings of one sentence of the law.

A couple vaccinated in Kobe moves to Kitami. One ticked that Kobe may be asked, the other never applied for
anything. The same day is run in December 2021 and in March 2022, and between them the hour of the new reading. Then a file of newcomers goes in that names
somebody who never moved, and nothing stops it. `--set rules=2021-12` or `rules=2022-03` runs one day only.
"""

from __future__ import annotations

from datetime import date, timedelta

from mesh import Simulation, UsageError, scenario
from mesh.builtin import HISTORY, Empty
from nodes.agency.commission import COMMISSION, OVERSIGHT, Commission
from nodes.agency.vrs import CONSENT_DIFFICULT, CONSENTED, VRS, VRS_UNEXPLAINED, token_of
from nodes.data.papers import paper
from nodes.data.people import Person
from nodes.municipality.covid_vaccination import PRIMARY_DOSES
from nodes.municipality.vaccination_ledger import VACCINATION_HISTORY
from nodes.portal.inbox import PORTAL, Portal
from scenarios._portal import portal_code
from scenarios._vaccinated_movers import MAKER, Couple, World
from scenarios._wire import without_member

BEFORE, SINCE = "2021-12", "2022-03"
DAYS = {BEFORE: date(2021, 12, 1), SINCE: date(2022, 3, 2)}
"""The same day under either reading."""
READING_CHANGED = date(2021, 12, 15)
"""Mid-December 2021; the day is illustrative."""
BATCH_FROM = date(2022, 3, 1)
CERTIFICATE = "vaccination-certificate"
EXPECTED = {
    BEFORE: {"agreed": PRIMARY_DOSES, "silent": "no_legal_basis", "batch": "no_legal_basis"},
    SINCE: {"agreed": PRIMARY_DOSES, "silent": PRIMARY_DOSES, "batch": "vb-1"},
}
Outcomes = dict[str, int | str]


@scenario(
    title="A vaccination record follows a move: VRS under two readings of the law",
    title_ja="転入者の接種記録（VRS・同意の解釈変更の前後）",
    rules=(1, 2, 3, 4, 6, 7, 13, 14),
    sources=(
        "VRS（ワクチン接種記録システム）",
        "個人情報保護委員会（事後チェック）",
        "番号法19条6号・8号・16号・35条",
        "予防接種法",
        "デジタル庁 2021年11月26日公表",
    ),
    starts={
        "both": "2021-10-12T09:00+09:00",
        BEFORE: "2021-10-12T09:00+09:00",
        SINCE: "2022-01-11T09:00+09:00",
    },
)
async def run(sim: Simulation, *, rules: str = "both", movers: int = 3) -> None:
    """Run the day under one or both readings; `movers` is how many people the file of newcomers names rightly."""
    if not 1 <= movers <= 100:
        raise UsageError(f"--set movers is 1 to 100, not {movers}")
    world = World(sim)
    sim.tell(
        "Couples vaccinated in Kobe move to Kitami, which owes them a voucher for the third dose and does not know of "
        "the first two. Kobe's ledger answers other cities from a copy that comes months after the vaccination. VRS "
        "knows at once; whether Kitami may look is a matter of the day.",
        "神戸市で2回接種した夫婦が北見市へ転入する。北見市は3回目の接種券を送る立場だが、過去の接種を知らない。"
        "予防接種台帳の副本は接種の数か月後にしか届かない。VRSには直ちに記録があるが、照会できるかどうかは日による。",
    )
    days = {key: day for key, day in DAYS.items() if rules in (key, "both")}
    couples = {key: await world.couple(day - timedelta(days=12)) for key, day in days.items()}
    late = (await world.couple(READING_CHANGED - timedelta(days=12))).silent if len(days) == 2 else None
    crowd = [(await world.couple(BATCH_FROM)).agreed for _ in range(movers)] if SINCE in days else []
    outcomes: dict[str, Outcomes] = {}
    for key, day in days.items():
        await world.until(day)
        await before_vrs(world, key, couples[key])
        outcomes[key] = await same_day(world, key, couples[key])
        if key == BEFORE:
            bring_paper(world, couples[key].silent)
        if key == BEFORE and late is not None:
            await change_of_reading(world, late)
    if len(outcomes) == 2:
        compare(world, outcomes)
    if crowd:
        await file_with_a_stranger(world, crowd)
    await what_it_breaks(world, list(couples.values())[-1])


async def before_vrs(world: World, key: str, couple: Couple) -> None:
    """How it was: the other city's ledger answers from a copy that comes months after the vaccination."""
    sim, office, person = world.sim, world.office, couple.agreed
    world.move_in(couple.home)
    world.receive_slip(person)
    with sim.refused(
        "replica_missing",
        f"{key}: Kobe's vaccination ledger has the slip, but not the copy that answers: the record does not follow",
        text_ja=f"{key}：神戸市の予防接種台帳には予診票が届いたばかりで副本は未登録。記録は転入先に届かない",
    ):
        await office.ask_ledger(world.kitami.code(person), PRIMARY_DOSES)
    sim.expect(
        f"{key}: so no voucher can be made out for either",
        office.make_vouchers() == 0,
        text_ja=f"{key}：このため、二人とも接種券を作成できない",
    )


async def same_day(world: World, key: str, couple: Couple) -> Outcomes:
    """The day itself: one who agreed, one who did not apply, and everybody in one file."""
    sim, office = world.sim, world.office
    office.agree(world.kitami.code(couple.agreed))
    before = sim.moment()
    outcomes: Outcomes = {"agreed": await world.try_look_up(couple.agreed)}
    sim.saved(paper(CERTIFICATE), couple.agreed.handle, by=office.address, since=before)
    sim.expect(
        f"{key}: who ticked their consent is looked up, and both doses are there at once",
        outcomes["agreed"] == PRIMARY_DOSES and office.sources(world.kitami.code(couple.agreed)) == [VRS] * 2,
        text_ja=f"{key}：同意欄にチェックした人は照会でき、2回分の記録が直ちに得られる",
    )
    before = sim.moment()
    outcomes["silent"] = await world.try_look_up(couple.silent)
    sim.saved(paper(CERTIFICATE), couple.silent.handle, by=office.address, since=before)
    outcomes["batch"] = await world.try_batch(couple.home.members)
    allowed = EXPECTED[key]["silent"] == PRIMARY_DOSES
    sim.expect(
        f"{key}: who did not apply is {'looked up too' if allowed else 'not looked up: no row lets the city ask'}",
        outcomes["silent"] == EXPECTED[key]["silent"],
        text_ja=f"{key}：申請していない人は{'同様に照会できる' if allowed else '照会できない（根拠なし）'}",
    )
    sim.expect(
        f"{key}: a file of newcomers is {'taken in for the night' if allowed else 'refused'}",
        outcomes["batch"] == EXPECTED[key]["batch"],
        text_ja=f"{key}：一括照会のファイルは{'夜間処理に受け付けられる' if allowed else '拒否される'}",
    )
    made = office.make_vouchers()
    sim.expect(
        f"{key}: vouchers are made out for {1 + allowed} of the two",
        made == 1 + allowed
        and [office.has_voucher(world.kitami.code(one)) for one in (couple.agreed, couple.silent)]
        == [True, allowed],
        text_ja=f"{key}：二人のうち{1 + allowed}人に接種券を作成できる",
    )
    return outcomes


def bring_paper(world: World, person: Person) -> None:
    """Under the old reading the one who never applied brings the certificate after all."""
    office, code = world.office, world.kitami.code(person)
    office.bring_certificate(code, [(1, "2021-09-21", MAKER), (2, "2021-10-12", MAKER)])
    made = office.make_vouchers()
    world.sim.expect(
        "With the certificate that they brought to the counter, the voucher is made out for the other too",
        made == 1 and office.sources(code) == ["paper"] * 2,
        text_ja="窓口に接種済証を持参したことで、もう一方にも接種券を作成できる",
    )


async def change_of_reading(world: World, person: Person) -> None:
    """The last hour of the old reading and the first of the new, for somebody who moved in and never applied."""
    sim = world.sim
    world.take_up(person)
    await world.until(READING_CHANGED - timedelta(days=1), hour=23)
    last = await world.try_look_up(person)
    await world.until(READING_CHANGED, hour=0)
    before = sim.moment()
    first = await world.try_look_up(person)
    sim.expect(
        "The same question about the same person is refused on 14 December and answered on the 15th",
        (last, first) == ("no_legal_basis", PRIMARY_DOSES),
        text_ja="同じ人についての同じ照会が、12月14日は拒否され、15日には回答される",
    )
    world.office.make_vouchers()
    sim.saved(paper(CERTIFICATE), person.handle, by=world.office.address, since=before)
    sim.tell(
        "From mid-December 2021 the Digital Agency reads 番号法19条16号 anew: with the third dose nobody could "
        "have been asked beforehand, so consent is 'difficult to obtain'. No word of the law changed.",
        "デジタル庁は2021年12月中旬から番号法19条16号の解釈を改めた。3回目接種は当初想定されておらず、"
        "「本人の同意を得ることが困難であるとき」に当たるとした。条文は変わっていない。",
    )


def compare(world: World, outcomes: dict[str, Outcomes]) -> None:
    """Both days side by side."""
    world.sim.expect(
        "Side by side: in December the tick decides who gets a voucher; in March nobody needs to be asked, and "
        "many can be looked up at once",
        outcomes == EXPECTED,
        text_ja="並べてみると、12月は同意欄のチェックが接種券の有無を分け、3月は同意も申請も要らず、一括で照会できる",
    )
    world.sim.tell(
        "Of two people with the same facts, on 1 December 2021 the one who ticked the box is looked up and gets a "
        "voucher; the other has to bring the certificate. On 2 March 2022 another such couple gets both "
        "vouchers, though one of them did nothing.",
        "同じ事情の二人のうち、2021年12月1日は、同意欄にチェックした一方だけが照会されて接種券を受け取り、他方は"
        "接種済証を持参しなければならない。2022年3月2日は、別の夫婦の二人ともが、一方は何もしなくても接種券を受け取る。",
    )


async def file_with_a_stranger(world: World, crowd: list[Person]) -> None:
    """A file names newcomers, and by mistake somebody who lives in Kobe still."""
    sim, office = world.sim, world.office
    stranger = world.people.household("28100", parents=1).head
    await world.vaccinate_in_kobe(stranger)
    tokens = [token_of(person.resident_code) for person in (*crowd, stranger)]
    taken = await office.send_batch(tokens)
    with sim.refused(
        "not_found",
        "The batch runs at night: the answer cannot be fetched on the same day",
        text_ja="一括照会は夜間処理のため、当日は結果を取得できない",
    ):
        await office.fetch_batch(taken)
    await world.until(date.fromisoformat(taken.ready_on))
    before = sim.moment()
    doses = await office.fetch_batch(taken)
    sim.expect(
        "The next day everybody's doses are there, the stranger's too: beforehand nothing could tell",
        doses == PRIMARY_DOSES * len(tokens)
        and any(one[0] == tokens[-1] for one in world.vrs.looked_up("01208")),
        text_ja="翌日、全員の記録が返る。住民でない1人の記録も返り、事前には見分けられない",
    )
    for person in crowd:
        world.take_up(person)
    made = office.make_vouchers()
    for person in crowd:
        sim.saved(paper(CERTIFICATE), person.handle, by=office.address, since=before)
    await check_afterwards(world, made, len(crowd))


async def check_afterwards(world: World, made: int, movers: int) -> None:
    """The log of the cloud is laid beside the registrations; the records of the mesh show nothing."""
    sim, office = world.sim, world.office
    commission = sim.node(COMMISSION, Commission)
    parties = [office.address, world.kobe.address("covid-vaccination"), VRS]
    findings = await commission.reconcile(parties)
    sim.expect(
        "The records of both ends and the broker agree: by them nothing is wrong",
        findings == [],
        text_ja="照会側・提供側・中継の記録はすべて一致し、記録の突合だけでは問題は見つからない",
    )
    await office.register_residents()
    answer = await commission.ask(VRS, VRS_UNEXPLAINED, Empty(), procedure=OVERSIGHT)
    found = [(one.city, one.looked_up_on) for one in answer.look_ups]
    sim.expect(
        "Afterwards the log, laid beside the registered residents, shows one look-up that nothing explains",
        found == [("01208", sim.now().date().isoformat())],
        text_ja="事後に照会記録と対象者登録を突き合わせると、説明のつかない照会が1件見つかる",
    )
    gone = office.delete_strangers()
    sim.expect(
        f"Kitami deletes what it got about the stranger; the {movers} newcomers have their vouchers",
        gone == 1 and made == movers and office.delete_strangers() == 0,
        text_ja=f"北見市は住民でない1人の記録を削除し、転入者{movers}人には接種券が届く",
    )
    sim.tell(
        "Since 1 March 2022 a city sends a file of personal numbers (here tokens) and has the records the next day. One line "
        "named somebody who never moved. No gate could know; the log did, once the residents were registered, "
        "and the commission asks Kitami to explain.",
        "2022年3月1日からは、個人番号（ここでは代替の識別子）のファイルを送ると翌日に記録が得られる。その1行は転入していない人だった。"
        "事前の審査では分からず、対象者登録との突合で初めて判明し、委員会は北見市に説明を求めた。",
    )


async def what_it_breaks(world: World, couple: Couple) -> None:
    """What the mesh's own rules would have kept."""
    sim = world.sim
    await world.office.register_residents()
    person = couple.agreed
    codes = [without_member(city.code(person)) for city in (world.kitami, world.kobe)]
    sim.expect(
        "VRS breaks rules 1 and 3: one database joins people across cities under one key; the cities' own codes "
        "of a person differ",
        world.vrs.joined_across_cities() >= 2 and codes[0] != codes[1],
        text_ja="VRSは原則1・3を破る。1つのデータベースが市をまたぎ同じ鍵で個人を結び付ける。市ごとの符号は異なる",
    )
    history = await sim.node(PORTAL, Portal).read_history(portal_code(sim, person))
    sim.expect(
        "The resident's history shows the one question to Kobe's ledger, and of VRS nothing",
        [line.service for line in history] == [VACCINATION_HISTORY.name, HISTORY.name],
        text_ja="本人のやりとり履歴に見えるのは神戸市の台帳への照会だけで、VRSの照会は現れない",
    )
    claimed = {procedure for _, procedure, _ in world.vrs.looked_up("01208")}
    sim.expect(
        "What remains is the cloud's own log, with the reading that the city claimed",
        claimed <= {CONSENTED, CONSENT_DIFFICULT} and CONSENTED in claimed,
        text_ja="残るのはVRS自身の照会記録であり、市がどの解釈によったかもそこにある",
    )
    sim.tell(
        "VRS was fast because it kept every city's records in one place under the personal number, outside the "
        "network of 19条8号. The special vaccinations ended on 31 March 2024; the digital vaccination service on "
        "PMH follows, nationwide from June 2026.",
        "VRSが速かったのは、19条8号の情報提供ネットワークの外で、全市区町村の記録を個人番号で1か所に置いたからである。"
        "特例臨時接種は2024年3月31日に終わり、予防接種事務のデジタル化（PMH）が2026年6月から全国で始まる。",
    )
