"""What is registered once is known everywhere: corporations and towns change, and every copy of them follows.

A corporation in Kitami takes another name and moves to Kobe; it attaches no certificate anywhere. Kobe misses the
signal, a clerk in Kitami has edited the copy by hand, the registry cannot be reached for a day, and a town gets a
new name that holds only from November on.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from mesh import Simulation, UsageError, scenario
from mesh.sealing import open_sealed
from mesh.simulation import JST
from mesh.testing import messages
from nodes.agency.base_registry import PROCEDURE, SIGNAL, SignalQuery
from nodes.agency.corporate_registry import CORPORATE_REGISTRY
from nodes.data.papers import paper
from scenarios._registered_corporations import (
    FOODS,
    FOODS_MOVED,
    KOBE_TOWN,
    MILLS,
    RENAMED,
    TOWN,
    World,
)

CERTIFICATE = "corporate-register-certificate"
TODAY, DECIDED, RENAMED_ON = "2026-09-01", "2026-09-15", "2026-11-01"
MINUTE_S, DAY_S = 60.0, 86_400.0


@scenario(
    title="A change in a base registry reaches every copy",
    title_ja="ベース・レジストリの更新が、写しを持つすべての機関に届く",
    rules=(1, 2, 10, 14),
    sources=(
        "ベース・レジストリ",
        "標準準拠システム（20業務）",
        "デジタル社会形成基本法31条",
        "番号法39条",
        "商業登記法26条",
        "会社法915条",
        "地方自治法260条",
    ),
    starts="2026-09-01T09:00+09:00",
)
async def run(sim: Simulation, *, copies: int = 5) -> None:
    """Tell the story; `copies` is how many municipalities copy the registries."""
    if not 3 <= copies <= 100:
        raise UsageError(f"--set copies is 3 to 100, not {copies}")
    world = World(sim, copies)
    await copy_everything(world)
    await reach_every_copy(world)
    await refuse_a_false_signal(world)
    await refresh_before_use(world)
    await need_no_paper(world)
    await refuse_what_is_not_registered(world)
    await fall_back_to_paper(world)
    await let_the_source_win(world)
    await wait_for_the_day(world)


async def copy_everything(world: World) -> None:
    """The registries hold two towns and two corporations; every office fetches them."""
    for town in (TOWN, KOBE_TOWN):
        world.address.record(town, "2020-04-01")
    for corporation in (FOODS, MILLS):
        world.corporate.record(corporation, "2020-04-01")
    for city in world.cities:
        await world.office(city).refresh()
    for corporation in (FOODS, MILLS):
        world.office(world.kitami).register(corporation.number)
    kitami = world.office(world.kitami)
    world.sim.expect(
        "Kitami writes to the corporation as both registries have it",
        (kitami.name_of(FOODS.number), kitami.address_of(FOODS.number))
        == (FOODS.name, f"{TOWN.written}{FOODS.block}"),
        text_ja="北見市は、両レジストリのとおりの商号・所在地で法人に通知できる",
    )


async def reach_every_copy(world: World) -> None:
    """The corporation's new name and seat are registered; Kobe cannot be reached at that moment."""
    sim, kobe = world.sim, world.kobe.address("corporate-tax")
    with sim.offline(kobe):
        version = world.corporate.record(FOODS_MOVED, TODAY)
        await sim.sleep(MINUTE_S)
    held = world.corporate_versions()
    away = held.pop(kobe)
    told = [one.message.recipient for one in world.signals()]
    sim.expect(
        f"All {len(held)} copies that could be reached hold version {version}; each was told once",
        set(held.values()) == {version} and sorted(told) == sorted([*held, kobe]),
        text_ja=f"到達できた{len(held)}団体の写しはすべて第{version}版となり、知らせはそれぞれ1回だけだった",
    )
    sim.expect(
        f"Kobe missed the signal: its copy is stale, at version {away}",
        away == version - 1,
        text_ja=f"神戸市は知らせを受け取れず、写しは第{away}版のまま古くなった",
    )
    signal = world.signals()[0]
    body = open_sealed(signal.message.data, sim.keys_of(signal.message.recipient).sealing)
    sim.expect(
        "The signal says that there is a version, and nothing of what is in it",
        msgspec.json.decode(body)["data"] == {"registry": "corporate", "version": version},
        text_ja="知らせは新しい版があることだけを伝え、中身は含まない",
        about=signal.message.id,
    )


async def refuse_a_false_signal(world: World) -> None:
    """Only the registry itself may say so."""
    office = world.office(world.kobe)
    with world.sim.refused(
        "no_legal_basis",
        "Kobe tells Kitami of a version that only the registry can know: no row names it",
        text_ja="神戸市がレジストリになりすまして更新を知らせても、根拠がなく拒否される",
    ):
        kitami = world.kitami.address("corporate-tax")
        await office.ask(kitami, SIGNAL, SignalQuery("corporate", 99), procedure=PROCEDURE)


async def refresh_before_use(world: World) -> None:
    """The corporation files in Kobe before Kobe has heard."""
    sim, kobe = world.sim, world.office(world.kobe)
    stale = kobe.corporations.version
    filing = await kobe.take_notice(FOODS.number, FOODS_MOVED.name)
    sim.expect(
        "Kobe's stale copy does not know the new name; it asks the registry before it says no, and accepts",
        (filing.outcome, filing.version) == ("accepted", stale + 1),
        text_ja="神戸市の古い写しに新商号はないが、断る前にレジストリへ照会して更新し、受理した",
    )
    sim.expect(
        "The new taxpayer's address is written from the registries",
        kobe.taxpayers() == [FOODS.number]
        and kobe.address_of(FOODS.number) == f"{KOBE_TOWN.written}{FOODS_MOVED.block}",
        text_ja="新たな納税義務者の所在地は、両レジストリから表記される",
    )


async def need_no_paper(world: World) -> None:
    """Kitami's copy is fresh: the corporation's notice there needs no question at all."""
    sim, kitami = world.sim, world.office(world.kitami)
    before = len(messages(sim))
    filing = await kitami.take_notice(FOODS.number, FOODS_MOVED.name)
    sim.expect(
        "Kitami accepts the notice of the same change from its own fresh copy, without a message",
        filing.outcome == "accepted" and len(messages(sim)) == before,
        text_ja="北見市は、最新の写しだけで同じ異動届を受理した（通信なし）",
    )
    # One, of which both cities would have had a copy: it rests on what the registry gave Kitami for its copy.
    sim.saved(paper(CERTIFICATE), by=kitami.address)
    sim.tell(
        "Mihon Foods becomes Mihon Food Service and moves from Kitami to Kobe. The registry of the tax agency "
        "publishes what the Legal Affairs Bureau registered and tells every copier that there is something new. The "
        "corporation files in both cities and attaches no certificate.",
        f"{FOODS.name}が商号を{FOODS_MOVED.name}に変え、北見市から神戸市へ移転した。国税庁が登記を反映して公表し、写しを"
        "持つ各団体に更新を知らせる。法人は両市に異動届を出したが、登記事項証明書の添付は不要だった。",
    )


async def refuse_what_is_not_registered(world: World) -> None:
    """What only the corporation says is not taken, and a number that is written wrongly is nobody's."""
    sim, sapporo = world.sim, world.office(world.sapporo)
    filing = await sapporo.take_notice(MILLS.number, "見本製粉ホールディングス株式会社")
    sim.expect(
        "A name that is planned and not registered is not taken: the registry is the source",
        filing.outcome == "not-registered" and sapporo.taxpayers() == [],
        text_ja="登記前の予定商号による届出は受理しない（正本はレジストリ）",
    )
    swapped = MILLS.number[:-2] + MILLS.number[-1] + MILLS.number[-2]
    with sim.refused(
        "not_found",
        "A corporate number with two digits swapped fails its check digit, before anybody is asked",
        text_ja="2桁を入れ替えた法人番号は、照会する前に検査用数字で誤りと分かる",
    ):
        await sapporo.take_notice(swapped, MILLS.name)


async def fall_back_to_paper(world: World) -> None:
    """The registry is away for more than a day: an old copy alone is not enough."""
    sim, sapporo = world.sim, world.office(world.sapporo)
    before = sim.moment()
    with sim.offline(CORPORATE_REGISTRY):
        await sim.sleep(DAY_S + MINUTE_S)
        asked = await sapporo.take_notice(MILLS.number, MILLS.name)
        accepted = await sapporo.take_notice(MILLS.number, MILLS.name, paper=True)
    sim.expect(
        "The registry cannot be reached, and the copy is more than a day old: Sapporo asks for the certificate",
        (asked.outcome, accepted.outcome) == ("paper", "accepted"),
        text_ja="レジストリに到達できず写しが1日より古いため、札幌市は登記事項証明書の提出を求めた",
    )
    sim.saved(paper(CERTIFICATE), by=sapporo.address, since=before)  # It was asked for in vain.


async def let_the_source_win(world: World) -> None:
    """A clerk has corrected the copy by hand; then the source says something else."""
    sim, kitami, sapporo = world.sim, world.office(world.kitami), world.office(world.sapporo)
    edited = replace(MILLS, name="株式会社見本製粉所")
    registered = replace(MILLS, name="見本製粉工業株式会社")
    kitami.edit(edited)
    sapporo.edit(registered)
    before = kitami.name_of(MILLS.number)
    version = world.corporate.record(registered, sim.now().date().isoformat())
    await sim.sleep(MINUTE_S)
    conflicts = kitami.corporations.conflicts()
    sim.expect(
        "An edit by hand meets a newer version of the source: the source's entry stands",
        (before, kitami.name_of(MILLS.number)) == (edited.name, registered.name),
        text_ja="手で直した写しと新しい版が競合すると、正本（レジストリ）の記載が優先される",
    )
    sim.expect(
        "The edit is not lost: Kitami's official sees both; in Sapporo, whose edit the source confirms, nobody need",
        [(one.edited, one.source, one.version) for one in conflicts] == [(edited, registered, version)]
        and sapporo.corporations.conflicts() == [],
        text_ja="手修正は失われず、北見市の職員が両方を確認する。札幌市の手修正は正本と一致し、確認は不要だった",
    )
    for one in conflicts:
        kitami.settle(one.number)
    sim.expect(
        "An official settles it",
        kitami.corporations.conflicts() == [],
        text_ja="職員が確認して解消した",
    )


async def wait_for_the_day(world: World) -> None:
    """Kitami renames a town from November on: known in September, true in November."""
    sim, kitami = world.sim, world.office(world.kitami)
    await sim.sleep(_until(sim, DECIDED))
    world.address.record(RENAMED, RENAMED_ON)
    await sim.sleep(MINUTE_S)
    known = [world.office(city).towns.version for city in world.cities]
    filed, sent = len(kitami.filings()), len(messages(sim))
    await sim.sleep(_until(sim, RENAMED_ON) - MINUTE_S)
    before = kitami.address_of(MILLS.number)
    await sim.sleep(2 * MINUTE_S)
    after = kitami.address_of(MILLS.number)
    sim.expect(
        f"Every copy knows of the town's new name in September, and the day before it holds nobody uses it: {before}",
        known == [world.address.feed.version()] * len(world.cities)
        and before == f"{TOWN.written}{MILLS.block}",
        text_ja=f"町名変更は9月にすべての写しへ届くが、効力発生日の前日までは使われない（{before}）",
    )
    sim.expect(
        f"From 1 November on the address is {after}; nobody filed anything, and no message was needed",
        after == f"{RENAMED.written}{MILLS.block}"
        and (filed, sent) == (len(kitami.filings()), len(messages(sim))),
        text_ja=f"11月1日からは{after}となる。届出も通信も要らない",
    )
    sim.tell(
        "Kitami gives a town another name from 1 November on. All copies have it in September, and use it on the day.",
        "北見市が11月1日から町名を変更する。写しには9月に届き、その日から一斉に使われる。",
    )


def _until(sim: Simulation, day: str) -> float:
    """Seconds until a day begins in Japan."""
    begins = datetime.fromisoformat(day).replace(tzinfo=JST)
    return max((begins - sim.now()) / timedelta(seconds=1), 0.0)
