"""Cars are registered, transferred and inspected in one stop, without 符号 and without papers from four counters.

Somebody in Kitami signs once with the card; police, transport office and prefecture tax each do their step. When
the last one declines, when answers are lost and when the service crashes, the steps before are undone or done
exactly once. At inspections only the vehicle's tax is looked up; a payment of yesterday is not shown yet.
"""

from __future__ import annotations

import asyncio
from datetime import date

from msgspec.structs import replace

from mesh import Simulation, UsageError, scenario
from mesh.builtin import HISTORY
from nodes.agency.car_application import SAVED_PAPERS, Procedure, Transfer
from nodes.agency.car_one_stop import ONE_STOP
from nodes.agency.card import Card
from nodes.agency.certificates import issue_card
from nodes.agency.inspection import InspectionOffice
from nodes.agency.prefecture_tax import VEHICLE_TAX_DECLARE
from nodes.agency.transport import VEHICLE_REGISTER
from nodes.agency.vehicle_inspection_payment import PAYMENT_STANDING
from nodes.data.papers import paper
from nodes.data.people import Person
from nodes.portal.inbox import PORTAL, Portal
from scenarios._cars import (
    INSPECTION,
    LIGHT_INSPECTION,
    PLACE,
    World,
    crash_before_sending,
    lose_answers,
    make_world,
    published_tax_yen,
    requests_between,
    services_asked,
    sign,
)
from scenarios._portal import portal_code

FIRST, SECOND, THIRD, FOURTH = (f"6AA-{number:07d}" for number in range(1, 5))
OLDER = "DBA-0100001"
LIGHT, LIGHT_PAID_YESTERDAY, LIGHT_UNPAID = (f"5BA-{number:07d}" for number in (201, 202, 203))
YEAR = 2025


@scenario(
    title="Cars in one stop: registration, transfer and inspection without papers, undone when a step fails",
    title_ja="自動車保有関係手続のワンストップサービス（新規登録・移転登録・継続検査の添付省略と取消し）",
    rules=(1, 10, 14),
    sources=(
        "自動車保有関係手続のワンストップサービス",
        "公的個人認証サービス（J-LIS）",
        "道路運送車両法7条・13条・62条・97条の2",
        "自動車の保管場所の確保等に関する法律4条",
        "地方税法145条以下・442条以下",
    ),
    starts="2025-10-06T09:00+09:00",
)
async def run(sim: Simulation, *, price_yen: int = 2_400_000, displacement_cc: int = 1_490) -> None:
    """Tell the story; the settings are the new cars' price and displacement."""
    if not 0 <= price_yen <= 100_000_000:
        raise UsageError(f"price_yen is from 0 to 100000000, not {price_yen}; give --set price_yen=2400000")
    if not 661 <= displacement_cc <= 10_000:
        raise UsageError(
            f"displacement_cc is from 661 to 10000, not {displacement_cc}: lighter cars are not registered; "
            "give --set displacement_cc=1490"
        )
    world = make_world(sim, price_yen, displacement_cc)
    owner, card = await register_new(world)
    await transfer(world, owner, card)
    await fails_half_way(world)
    await no_answer(world)
    await crash_half_way(world)
    await expired_certificate(world)
    await inspect_registered(world)
    await inspect_light(world)
    await outside_the_linkage(world, owner)


async def register_new(world: World) -> tuple[Person, Card]:
    """A new car: one signature, three bodies, no paper."""
    sim, first = world.sim, world.sim.trace.transmissions
    owner, card = world.owner()
    before = sim.moment()
    number = await world.one_stop.file(sign(card, world.application(owner, FIRST)))
    state = await world.one_stop.advance(number)
    acquired_yen, due_yen = published_tax_yen(world.price_yen, world.displacement_cc)
    sim.expect(
        "One signature leads a new car through police, transport office and prefecture tax",
        state == "completed"
        and world.one_stop.taken(number) == [("police", "done"), ("transport", "done"), ("tax", "done")],
        text_ja="一度の電子署名で、警察・運輸支局・都道府県税の手続が順に完了した（新規登録）",
    )
    standing = world.transport.owner_of(FIRST)
    sim.expect(
        "The car belongs to who signed, by name and serial number; the office asked the police itself for the place",
        standing is not None
        and (standing["owner"], standing["serial"], standing["garage"])
        == (owner.name, card.serial, "gc-000001"),
        text_ja="登録名義は署名した本人で、運輸支局は保管場所証明を警察に直接確認した",
    )
    sim.expect(
        f"The prefecture computes {acquired_yen} yen on the acquisition and {due_yen} yen to March",
        world.one_stop.result(number, "tax")
        == f'{{"emission_yen":{acquired_yen},"first_year_yen":{due_yen}}}',
        text_ja=f"環境性能割{acquired_yen}円、3月までの種別割（月割）{due_yen}円が計算された",
    )
    sim.expect(
        "The procedure decides what is asked: a registration asks nobody whether a tax is paid",
        PAYMENT_STANDING.name not in services_asked(sim, first),
        text_ja="手続の種別で確認事項が決まる: 新規登録では納税の確認は行わない",
    )
    save(world, "new", before)
    sim.tell(
        "Somebody in Kitami buys a car and signs once with the card. The police certify the place to keep it, the "
        "transport office registers it, the prefecture computes the taxes. No certificate of place or seal "
        "is carried anywhere; the fees and taxes remain.",
        "北見市の住民が新車を購入し、マイナンバーカードで一度だけ署名した。警察が保管場所を証明し、運輸支局が登録し、北海道の自動車税が計算された。"
        "車庫証明書・印鑑登録証明書の提出は不要で、手数料と税は従来どおりかかる。",
    )
    return owner, card


async def transfer(world: World, owner: Person, card: Card) -> None:
    """The car changes hands: the owner on record signs the deed, and nobody else can."""
    sim = world.sim
    free = world.police.free_spaces(PLACE)
    buyer, buyers_card = world.owner()
    wanted = replace(world.application(buyer, FIRST), procedure="transfer")
    application = sign(buyers_card, wanted)
    deed = Transfer(FIRST, buyer.name)
    stolen = await world.one_stop.file(application, sign(buyers_card, deed))
    sim.expect(
        "A deed that the owner on record did not sign transfers nothing, and the certified place is given back",
        await world.one_stop.advance(stolen) == "undone"
        and world.one_stop.case(stolen)["why"] == "transport: withheld"
        and owner_name(world, FIRST) == owner.name
        and world.police.free_spaces(PLACE) == free,
        text_ja="登録名義人が署名していない譲渡では移転せず、保管場所証明も取り消される",
    )
    before = sim.moment()
    number = await world.one_stop.file(application, sign(card, deed))
    sim.expect(
        "With the deed that the owner signed the car is the buyer's",
        await world.one_stop.advance(number) == "completed" and owner_name(world, FIRST) == buyer.name,
        text_ja="登録名義人が署名した譲渡により、移転登録が完了する",
    )
    save(world, "transfer", before)


async def fails_half_way(world: World) -> None:
    """The prefecture does not take a claimed reduction online: what was done before is undone."""
    sim = world.sim
    owner, card = world.owner()
    free = world.police.free_spaces(PLACE)
    number = await world.one_stop.file(sign(card, world.application(owner, SECOND, reduced=True)))
    state = await world.one_stop.advance(number)
    sim.expect(
        "The tax office leaves a claimed reduction to an official: registration and certificate are undone",
        (state, world.one_stop.case(number)["why"]) == ("undone", "tax: manual_review")
        and world.one_stop.taken(number)
        == [("police", "undone"), ("transport", "undone"), ("tax", "undone")],
        text_ja="減免の申請は窓口での判断となるため、登録と保管場所証明は取り消される",
    )
    sim.expect(
        "Nobody owns the car, and the place is free again",
        world.transport.owner_of(SECOND) is None and world.police.free_spaces(PLACE) == free,
        text_ja="自動車は未登録に戻り、保管場所も空きに戻った",
    )
    sim.fell_back(
        paper("counter-registration"),
        "a reduction of the tax is decided at the counter",
        "減免は窓口で判断される",
    )
    sim.tell(
        "Another claims a reduction of the tax, which the one-stop service does not take: the steps that were done "
        "are undone, the last first, and the owner goes to the counters.",
        "別の申請者は自動車税の減免を求めた。ワンストップサービスの対象外のため、済んだ手続は後のものから順に取り消され、窓口での申請となった。",
    )


async def no_answer(world: World) -> None:
    """The transport office registers, and its answers are lost: the case is undone, then filed anew."""
    sim = world.sim
    owner, card = world.owner()
    lost = lose_answers(VEHICLE_REGISTER.name)
    sim.disturbance.rules.append(lost)
    registered = plates(world)
    before = undone_at(world)
    first = await world.one_stop.file(sign(card, world.application(owner, THIRD)))
    state = await world.one_stop.advance(first)
    sim.disturbance.rules.remove(lost)
    sim.expect(
        "The office had registered the car, but no answer came in time: the registration is undone exactly once",
        (state, world.one_stop.case(first)["why"]) == ("undone", "transport: timeout")
        and plates(world) == registered + 1
        and undone_at(world) == before + 1
        and world.transport.owner_of(THIRD) is None,
        text_ja="登録は済んでいたが応答が時間内に届かず、その登録はちょうど1回取り消された",
    )
    before = sim.moment()
    again = await world.one_stop.file(sign(card, world.application(owner, THIRD)))
    sim.expect(
        "Filed anew, the case goes through: one car, one owner",
        await world.one_stop.advance(again) == "completed"
        and owner_name(world, THIRD) == owner.name
        and standing_registrations(world, THIRD) == 1,
        text_ja="あらためて申請すると完了する。登録は1件だけである",
    )
    save(world, "new", before)


async def crash_half_way(world: World) -> None:
    """The one-stop service crashes when it asks the tax office; from its own records it goes on."""
    sim = world.sim
    owner, card = world.owner()
    world.police.survey("pl-kitami-2", distance_m=1_900, spaces=1)
    application = replace(world.application(owner, FOURTH), place="pl-kitami-2")
    before = sim.moment()
    number = await world.one_stop.file(sign(card, application))
    rule = crash_before_sending(sim, ONE_STOP, VEHICLE_TAX_DECLARE.name)
    sim.disturbance.rules.append(rule)
    (broken_off,) = await asyncio.gather(world.one_stop.advance(number), return_exceptions=True)
    sim.disturbance.rules.remove(rule)
    sim.restart(ONE_STOP)
    state = await world.one_stop.advance(number)
    sim.expect(
        "The service crashed between registration and tax; it goes on where it was, and nothing is done twice",
        isinstance(broken_off, RuntimeError)
        and state == "completed"
        and standing_registrations(world, FOURTH) == 1,
        text_ja="登録と税の申告の間でシステムが停止したが、記録から再開し、二重には行われない",
    )
    save(world, "new", before)
    sim.tell(
        "Lost answers and a crash leave nothing half done: a step that may have been done is undone or found done.",
        "応答の消失や停止があっても、手続は中途半端に残らない。済んだかもしれない手続は取り消されるか、済んだものとして再開される。",
    )


async def expired_certificate(world: World) -> None:
    """A card whose certificate has ended signs nothing that counts."""
    sim = world.sim
    home = world.people.household("01208", parents=1)
    old = issue_card(sim, home.head, "KITAMI2025", issued_on=date(2019, 5, 7))
    with sim.refused(
        "certificate_expired",
        "A certificate that ended is refused at filing, before anybody is asked",
        text_ja="署名用電子証明書が失効していれば、申請時に拒否される",
    ):
        await world.one_stop.file(sign(old, world.application(home.head, "6AA-0000009")))


async def inspect_registered(world: World) -> None:
    """A registered car is inspected: the payment check shows its tax as paid."""
    sim = world.sim
    office = sim.node(INSPECTION, InspectionOffice)
    office.enter(OLDER, "2025-11-20")
    world.tax.levy(OLDER, YEAR, 39_500)
    world.tax.receive_payment(OLDER, YEAR)
    await world.tax.report()
    first = sim.trace.transmissions
    before = sim.moment()
    outcome = await office.inspect(OLDER)
    sim.expect(
        "A registered car is renewed for two years without the certificate of paid tax",
        (outcome, office.until(OLDER)) == ("renewed", "2027-11-20"),
        text_ja="登録車は納税証明書なしで継続検査を受け、有効期間が2年更新された",
    )
    sim.expect(
        "And an inspection asks for the vehicle's tax, and for no place, seal or residence",
        services_asked(sim, first) == {PAYMENT_STANDING.name},
        text_ja="継続検査で確認するのは納税だけで、保管場所や印鑑・住所は対象外である",
    )
    save(world, "inspection", before)


async def inspect_light(world: World) -> None:
    """Light cars: one reported long ago, one paid yesterday, one not paid."""
    sim, tax = world.sim, world.light_tax
    office = sim.node(LIGHT_INSPECTION, InspectionOffice)
    owner, _ = world.owner()
    for vehicle in (LIGHT, LIGHT_PAID_YESTERDAY, LIGHT_UNPAID):
        office.enter(vehicle, "2025-10-31")
        tax.levy(world.kitami.code(owner), vehicle, YEAR)
    tax.receive_payment(LIGHT, YEAR)
    await tax.report()
    tax.receive_payment(LIGHT_PAID_YESTERDAY, YEAR)
    await sim.sleep(86_400)
    before = sim.moment()
    sim.expect(
        "A light car whose payment was reported is renewed without paper",
        await office.inspect(LIGHT) == "renewed",
        text_ja="納付情報が登録済みの軽自動車は、納税証明書なしで更新される",
    )
    save(world, "inspection", before)
    waiting = await office.inspect(LIGHT_PAID_YESTERDAY)
    brought = tax.tax_certificate(LIGHT_PAID_YESTERDAY, YEAR)
    sim.expect(
        "What was paid yesterday is not shown yet: with the paper from the city's counter the car is renewed",
        waiting == "paper-needed"
        and await office.inspect(LIGHT_PAID_YESTERDAY, tax_paper=brought) == "renewed",
        text_ja="昨日納付した分は軽JNKSに未登録で、市の窓口の納税証明書により更新される",
    )
    sim.fell_back(
        paper("vehicle-tax-certificate"),
        "the payment of yesterday is not yet in the payment check",
        "昨日の納付が軽JNKSにまだ登録されていない",
    )
    with sim.refused(
        "withheld",
        "Who has not paid gets no certificate, and no inspection",
        text_ja="未納であれば納税証明書は交付されず、継続検査も受けられない",
    ):
        tax.tax_certificate(LIGHT_UNPAID, YEAR)
    reported = await tax.report()
    sim.expect(
        "The next run reports the payment, and nothing a second time",
        (reported, await tax.report()) == (1, 0) and await office.inspect(LIGHT_UNPAID) == "paper-needed",
        text_ja="次の定期処理で納付が登録され、二重には登録されない",
    )
    sim.tell(
        "At inspections the payment check shows that a vehicle's tax is paid. What was paid yesterday is not there "
        "yet: the owner fetches the free certificate from the city.",
        "継続検査では納付確認システム（JNKS・軽JNKS）で納税を確認する。昨日の納付はまだ登録されておらず、所有者は市の窓口で無料の納税証明書を取った。",
    )


async def outside_the_linkage(world: World, owner: Person) -> None:
    """None of it is 情報連携: no request names a person by a code, and no history shows it."""
    sim = world.sim
    requests = requests_between(sim)
    sim.expect(
        "No request between these offices names a subject: no linkage code is used",
        len(requests) > 40 and all(one.subject is None for one in requests),
        text_ja="これらの機関の間のどの要求も符号を用いていない",
    )
    mine = await sim.node(PORTAL, Portal).read_history(portal_code(sim, owner))
    sim.expect(
        "The owner's history of exchanges shows none of it: it is outside the number system",
        [(line.requester, line.service) for line in mine] == [(PORTAL, HISTORY.name)],
        text_ja="番号制度の外の手続のため、本人のやりとり履歴には現れない",
    )
    sim.tell(
        "All of it runs outside the number system: cases and chassis numbers name what it is about, the card names "
        "who signs. So the history of exchanges shows nothing of it, and the items below do not count it.",
        "いずれも番号制度の外の手続で、対象は案件番号と車台番号、本人は電子署名で特定する。このためやりとり履歴には表示されず、下の提供項目にも数えない。",
    )


def save(world: World, procedure: Procedure, since: int) -> None:
    """Claim the papers that a procedure no longer needs: what is asked since its filing is about no person by code."""
    for key in SAVED_PAPERS[procedure]:
        world.sim.saved(paper(key), since=since)


def owner_name(world: World, chassis: str) -> str:
    """Who owns a car; empty if nobody."""
    standing = world.transport.owner_of(chassis)
    return "" if standing is None else str(standing["owner"])


def plates(world: World) -> int:
    """How many plates the transport office ever gave."""
    return int(world.transport.db.execute("SELECT count(*) FROM registration").fetchone()[0])


def standing_registrations(world: World, chassis: str) -> int:
    """How many registrations of a car stand."""
    rows = world.transport.db.execute(
        "SELECT count(*) FROM registration WHERE chassis = ? AND NOT withdrawn", (chassis,)
    )
    return int(rows.fetchone()[0])


def undone_at(world: World) -> int:
    """How many registrations the transport office has undone."""
    rows = world.transport.db.execute("SELECT count(*) FROM registration WHERE withdrawn")
    return int(rows.fetchone()[0])
