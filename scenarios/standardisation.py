"""Standard systems: the tax offices of three packages answer one question alike.

Kitami asks for the income of people who moved from a large city with a system of its own making, from two towns
that run one program, and from a town that has not migrated yet. The question is the same, and so is the answer.
Which municipality runs what is invented. The other nineteen systems of each are one program in every package, and the
two towns share neither process nor database: of those nothing is shown.
"""

from __future__ import annotations

from datetime import datetime, time, timedelta

from msgspec.structs import replace

from mesh import MeshError, Refused, Simulation, instant, scenario
from mesh.message import Request
from mesh.names import BROKER
from mesh.party import read_line
from mesh.sealing import open_sealed
from mesh.simulation import JST
from mesh.testing import Transmission, answers_to, messages
from nodes.data.papers import paper
from nodes.data.standard_systems import read_standard_systems
from nodes.municipality.child_allowance import INCOME_PAPER, PROCEDURE
from nodes.municipality.tax import INCOME, IncomeQuery
from nodes.municipality.tax_customised import CustomisedTaxOffice
from nodes.municipality.tax_layout_2 import INCOME_2
from nodes.municipality.tax_legacy import LegacyTaxOffice
from scenarios._tenants import FIRST_ITEMS, INCOME_YEN, SEPARATE_YEN, TAX_YEAR, VENDOR, Town, World, build
from scenarios._waiting import until_heard


@scenario(
    title="Standard systems: tax offices of three packages answer one question alike",
    title_ja="標準化：独自開発・共同利用・特定移行支援の税システムが同じ照会に同じ答えを返す",
    rules=(1, 2, 4, 9, 14),
    sources=(
        "標準準拠システム（20業務）",
        "公共サービスメッシュ（行政機関間の情報連携）",
        "地方公共団体情報システムの標準化に関する法律2条1項",
        "自治体DX推進計画",
        "番号法19条8号",
    ),
    starts="2026-07-15T16:00+09:00",
)
async def run(sim: Simulation, *, migrated: bool = False) -> None:
    """Tell the story; with `migrated` the late town has the shared service already."""
    systems = tuple(read_standard_systems())
    world = await build(sim, systems, migrated=migrated)
    sim.tell(
        "Kobe's tax system is of the city's own making, Kunneppu and Oketo run the same program, and Bihoro has not "
        "migrated: its records have a fixed width and a character code of old. (Who runs what is invented; the other "
        "nineteen systems are the same program everywhere, so nothing is shown of them.)",
        "神戸市の税システムは独自開発、訓子府町と置戸町は同じプログラム、美幌町は未移行で固定長・シフトJISの記録を持つ"
        "（構成は架空。ほかの19業務はどの団体も同じプログラムであり、ここでは何も示していない）。",
    )
    await ask_all(world, migrated=migrated)
    await ask_by_the_second_layout(world, migrated=migrated)
    await ask_the_wrong_town(world)
    await deliver_to_the_wrong_town(world)


async def ask_all(world: World, *, migrated: bool) -> None:
    """One question to each; the late town's copy is there after its batch."""
    sim, late = world.sim, world.late
    batch_at = late.copied_at
    if not migrated:
        with sim.refused(
            "replica_missing",
            "In the afternoon the late town has no copy of what it assessed today",
            text_ja="未移行の町では、当日の賦課は夕方の時点で副本未登録である",
        ):
            await world.ask(late)
        batch_at = await pass_the_night(world)
    replies = [await world.ask(town) for town in world.towns]
    sim.expect(
        f"The same question has the same answer from all four: {INCOME_YEN} yen",
        [one.total_income_yen for one in replies] == [INCOME_YEN] * 4
        and all(replace(one, as_of=replies[0].as_of) == replies[0] for one in replies),
        text_ja=f"同じ照会に、4団体とも同じ回答（{INCOME_YEN}円）を返す",
    )
    copied_at = [batch_at if town is late else town.copied_at for town in world.towns]
    sim.expect(
        "Each answer says as of when its copy is, no two alike: " + ", ".join(copied_at),
        [one.as_of for one in replies] == copied_at,
        text_ja="各回答は、それぞれ異なる副本の登録時点を示す：" + "、".join(copied_at),
    )
    stored = [
        world.large.city.node(CustomisedTaxOffice).db.execute("SELECT count(*) FROM entry").fetchone()[0]
    ]
    if not migrated:
        stored.append(late.city.node(LegacyTaxOffice).db.execute("SELECT count(*) FROM record").fetchone()[0])
    sim.expect(
        "Behind the contract the city of its own making keeps coded fields, and the late town a record of fixed width",
        stored == ([3] if migrated else [3, 1]),
        text_ja="同じ連携仕様の内側では、独自システムは項目コードで、未移行システムは固定長記録で保存している",
    )
    sim.tell(
        "Kitami asks each for the income of somebody who moved from there. The late town answers the next morning, after "
        "its nightly batch has made the copy; then nobody could tell from an answer which system gave it.",
        "北見市は各団体に転入者の所得を照会した。未移行の町は夜間バッチで副本を作った翌朝に回答し、回答からはどのシステムか"
        "区別できない。",
    )


async def pass_the_night(world: World) -> str:
    """Until nine the next morning; the batch runs at two. Returns when it ran, as a reply says a time."""
    sim = world.sim
    two = datetime.combine(sim.now().date() + timedelta(days=1), time(2), tzinfo=JST)
    await sim.sleep((two - sim.now()).total_seconds())
    ran_at = instant(sim.now_us())
    converted = world.late.city.node(LegacyTaxOffice).run_night_batch()
    sim.expect(
        "The nightly batch converts one record and registers its copy",
        converted == 1,
        text_ja="夜間バッチが1件を標準レイアウトに変換し、副本を登録した",
    )
    await sim.sleep(7 * 3600)
    return ran_at


async def ask_by_the_second_layout(world: World, *, migrated: bool) -> None:
    """A later layout has an item more; where it is not there yet, the item comes on paper."""
    sim = world.sim
    kobe = world.large.city.node(CustomisedTaxOffice)
    kobe.assess_separately(world.large.code, TAX_YEAR, SEPARATE_YEN)
    kobe.register_replica(world.large.code, TAX_YEAR)
    if not migrated:
        with sim.refused(
            "service_unknown",
            "The late town does not know the second layout, and says so",
            text_ja="未移行の町はレイアウト第2版に対応しておらず、その旨を返す",
        ):
            await world.ask_second(world.late)
    got = [await world.ask_newest(town) for town in world.towns]
    wanted = [INCOME_2.name] * 3 + [INCOME_2.name if migrated else INCOME.name]
    sim.expect(
        "Both versions of the layout live side by side: three answer by the second, the late town by the first",
        [service for service, _ in got] == wanted,
        text_ja="レイアウトの2つの版は併存し、3団体は第2版で、未移行の町は第1版で回答する",
    )
    for town, (service, _) in zip(world.towns, got, strict=True):
        if service == INCOME_2.name:
            sim.saved(paper(INCOME_PAPER), town.mover.handle)
    separate = [getattr(reply, "separate_income_yen", None) for _, reply in got]
    sim.expect(
        f"Only the second has the income that is taxed separately: {SEPARATE_YEN} yen in Kobe",
        separate == [SEPARATE_YEN, 0, 0, 0 if migrated else None],
        text_ja=f"分離課税の所得（神戸市で{SEPARATE_YEN}円）があるのは第2版だけである",
    )
    if migrated:
        return
    sim.fell_back(
        paper(INCOME_PAPER),
        "the late town's layout has no item for income that is taxed separately",
        "未移行の町のレイアウトに分離課税所得の項目がない",
    )
    sim.tell(
        "A second layout with one item more is in force since June. The late town answers by the first; what only the "
        "second has, its resident brings on a certificate.",
        "6月からは項目の増えたレイアウト第2版も使える。未移行の町は第1版で回答し、第2版だけにある項目は証明書で補う。",
    )


async def ask_the_wrong_town(world: World) -> None:
    """Two towns with one program: neither answers for the other, and the vendor gets no answer from either."""
    sim, first, second = world.sim, world.first_town, world.second_town
    stranger = world.late.mover
    refusals = []
    for person in (second.mover, stranger):
        try:
            await world.ask(first, person)
        except Refused as refused:
            refusals.append((refused.code, refused.text))
    sim.expect(
        "Asked for a resident of the other town with the same program, a town knows nobody, in the same words as for a "
        "stranger",
        len(refusals) == 2 and refusals[0] == refusals[1] and refusals[0][0] == "not_found",
        text_ja="同じプログラムを使う隣の町の住民について尋ねても、無関係の人と同じ言葉で「該当なし」となる",
    )
    vendor = sim.node(VENDOR)
    with sim.refused(
        "no_legal_basis",
        "The vendor's own staff ask a town for a resident's income, and have no row of the law",
        text_ja="事業者の担当者が町に住民の所得を照会しても、根拠がなく拒否される",
    ):
        await vendor.ask(
            first.city.address("tax"),
            INCOME,
            IncomeQuery(TAX_YEAR),
            subject=sim.code("firm/saas-vendor", first.mover.handle),
            procedure=PROCEDURE,
            items=FIRST_ITEMS,
        )


async def deliver_to_the_wrong_town(world: World) -> None:
    """A line for one town is handed to the other, as a mistake in the wiring could."""
    sim, first, second = world.sim, world.first_town, world.second_town
    line, permit = last_question(world, first)
    astray = second.city.address("tax")
    before = len(messages(sim))

    def refused() -> list[Transmission]:
        said = [one for one in messages(sim)[before:] if one in answers_to(sim, line)]
        return [one for one in said if one.sender == astray and one.refusal]

    await until_heard(sim, lambda: sim.transmit(BROKER, astray, line + b"\n" + permit), refused)
    said = refused()
    sim.expect(
        "A question for one town that reaches the other is refused, audience_mismatch, and the other's key does not open it",
        [one.refusal for one in said][:1] == ["audience_mismatch"] and not opens(sim, astray, line),
        text_ja="一方の町あての照会が他方に届いても宛先違い（audience_mismatch）として拒否され、他方の鍵では開けない",
        about=said[0].message.id if said else None,
    )
    sim.tell(
        "The two towns run one program as two nodes, each with keys and a database of its own; they share nothing that could "
        "leak. One operator and one host for several towns are not played here. The vendor has no part in any procedure.",
        "2つの町は同じプログラムを別々のノードとして動かし、鍵もデータベースも別で、漏れ得る共有部分がない（1つの事業者・1つの"
        "環境で複数の町を預かる形は、ここでは扱っていない）。事業者はどの事務の当事者でもない。",
    )


def opens(sim: Simulation, address: str, line: bytes) -> bool:
    """Whether a party's own key opens what a line holds sealed."""
    try:
        open_sealed(read_line(line).data, sim.keys_of(address).sealing)
    except MeshError:
        return False
    return True


def last_question(world: World, town: Town) -> tuple[bytes, bytes]:
    """The last request that the broker passed on to a town's tax office, and its permit."""
    passed = [
        one
        for one in messages(world.sim, Request)
        if one.recipient == town.city.address("tax") and one.permit is not None
    ]
    return passed[-1].line, passed[-1].permit or b""
