"""Three ways to do without a copy of the family register, and one to fetch it anywhere and pay without cash.

A son of Kitami lives in Kobe with wife and child. The pension body asks whether the two are married; the
passport office takes a code of sixteen digits; at Kobe's counter he gets his parents' register of Kitami and
taps to pay. Others meet a register on paper, a code that was never issued, a counter that may not serve them,
and protection.
"""

from __future__ import annotations

import asyncio
from datetime import date

from mesh import Simulation, UsageError, scenario
from mesh.builtin import Empty
from mesh.faults import drop
from mesh.names import BROKER
from mesh.personal_number import personal_numbers_in
from mesh.testing import personal_numbers
from nodes.agency.code_issuer import ISSUER
from nodes.agency.dependent_pension import DEPENDANTS, PROCEDURE
from nodes.agency.family_register_link import (
    FAMILY_ACCESS_CODE,
    FAMILY_LINK,
    FAMILY_RELATIONS,
)
from nodes.agency.jlis import RELAY
from nodes.agency.passport import PASSPORT
from nodes.data.papers import paper
from nodes.municipality.cash_desk import CashDesk
from nodes.municipality.copy_orders import FEES_YEN
from nodes.municipality.family_register import FamilyRegister, Line
from nodes.municipality.family_register_supplement import SUPPLEMENT_ADDRESSES, FamilyRegisterSupplement
from nodes.municipality.seal_registration import SealRegistration
from nodes.portal.inbox import PORTAL, Portal
from scenarios._portal import portal_code
from scenarios._registers import (
    AGENT,
    WALLET_YEN,
    World,
    answered_by_link,
    apply_for_passport,
    as_applicant,
    ask_code,
    buy_copy,
    code_at_link,
    everything_in,
    heard_by,
    key,
    make_world,
    pay,
    pension_code,
)
from scenarios._waiting import wait_until

REGISTER = "family-register"


@scenario(
    title="Family registers: relationships over the network, a code, or any counter, without the copy from home",
    title_ja="戸籍謄本の添付省略と広域交付（戸籍関係情報・戸籍電子証明書・手数料のキャッシュレス納付）",
    rules=(1, 2, 3, 4, 6, 8, 10, 14),
    sources=(
        "戸籍情報連携システム",
        "自治体キャッシュレス",
        "戸籍法10条・119条の2・120条の2・120条の3",
        "番号法9条3項・19条8号・21条の2",
        "地方自治法231条の2の2",
    ),
    starts="2025-04-10T09:00+09:00",
)
async def run(sim: Simulation, *, days: int = 30, wallet_yen: int = WALLET_YEN) -> None:
    """Tell the story; `days` is how old the code is when the passport office gets it."""
    if not 0 <= days <= 365:
        raise UsageError(f"days is from 0 to 365, not {days}; give --set days=30")
    if wallet_yen < 2 * FEES_YEN["closed"] + FEES_YEN["current"]:
        raise UsageError(
            f"wallet_yen must pay for three copies, not {wallet_yen}; give --set wallet_yen=10000"
        )
    world = make_world(sim)
    world.agent.open_wallet("w-son", wallet_yen)
    await send_copies(world)
    await over_the_network(world)
    await not_computerised(world)
    await by_code(world, days)
    await at_any_counter(world)
    await pay_once(world, wallet_yen)
    await marriage(world)
    await refused_and_paid_back(world)
    await under_protection(world)
    await look_back(world)


async def send_copies(world: World) -> None:
    """The home municipalities send copies; the Minister of Justice acquires codes through them and J-LIS."""
    sim, kitami, kobe = world.sim, world.kitami, world.kobe
    for number in (1, 2):
        await kitami.node(FamilyRegister).send_copy(key(kitami, number))
    await kobe.node(FamilyRegister).send_copy(key(kobe, 1))
    kept = everything_in(world)
    known = code_at_link(sim, world.son)
    sim.expect(
        "The son stands in Kitami's registers and in Kobe's, and the link knows him by one code of its own",
        world.link.records_of(known) == [key(kitami, 1), key(kitami, 2), key(kobe, 1)]
        and kitami.code(world.son) not in kept,
        text_ja="長男は北見市と神戸市の戸籍に記録され、法務省は自らの一つの符号でこれを結び付けている",
    )
    numbers = personal_numbers(sim)
    resident_codes = [person.resident_code for person in world.everybody()]
    questions = heard_by(sim, FAMILY_LINK)
    heard = b"\n".join(questions).decode()
    sim.expect(
        "The link keeps no personal number, and neither heard one nor a resident code",
        len(numbers) > 5
        and not any(one in kept or one in heard for one in (*numbers, *resident_codes))
        and not any(map(personal_numbers_in, questions)),
        text_ja="法務省の戸籍情報連携システムは個人番号を保有せず、個人番号も住民票コードも受け取っていない",
    )
    relayed = b"\n".join(heard_by(sim, RELAY)).decode()
    sim.expect(
        "The home municipality had the numbers reserved: J-LIS relayed them and saw no code",
        world.son.resident_code in relayed and "gov/moj:" not in relayed and bool(heard_by(sim, ISSUER)),
        text_ja="本籍地の市区町村がJ-LISを通じて取得番号の割当てを受け、J-LISは符号を見ていない",
    )
    sim.tell(
        "Kitami and Kobe send the copies of their computerised registers to the Minister of Justice, who gets his "
        "own linkage code of each person through the municipality of the register and J-LIS. He holds no "
        "personal number.",
        "北見市と神戸市は、電算化された戸籍の副本を法務省に送る。法務大臣は本籍地の市区町村とJ-LISを通じて各人の符号を取得し、"
        "個人番号は保有しない。",
    )


async def over_the_network(world: World) -> None:
    """First channel: the pension body asks whether two persons are married."""
    sim, desk = world.sim, world.pension
    son, wife = (pension_code(world, one) for one in world.couple.parents)
    number = desk.take_notice(son, wife)
    outcome = await desk.examine(number)
    sim.expect(
        "The pension body learns from two answers with the same symbol that they are married",
        outcome == "accepted",
        text_ja="日本年金機構は、2人についての回答の記号が一致することで婚姻関係を確認した",
    )
    strangers = desk.take_notice(son, pension_code(world, world.elders.members[1]))
    sim.expect(
        "Two married persons whose symbols differ are not married to each other",
        await desk.examine(strangers) == "not-married",
        text_ja="記号が一致しない2人は、互いの配偶者とは認められない",
    )
    with sim.refused(
        "item_not_permitted",
        "Asking for the children besides is refused: the procedure needs the marriage only",
        text_ja="親子関係まで照会すると項目外として拒否される（必要なのは婚姻関係だけ）",
    ):
        await desk.ask(
            FAMILY_LINK,
            FAMILY_RELATIONS,
            Empty(),
            subject=son,
            procedure=PROCEDURE,
            items=("spouse", "children"),
        )
    told = repr(
        await desk.ask(
            FAMILY_LINK, FAMILY_RELATIONS, Empty(), subject=son, procedure=PROCEDURE, items=("spouse",)
        )
    )
    secrets = [one.name for one in world.everybody()] + ["kr-", "01208", "28100"]
    sim.expect(
        "The answer holds a symbol: no name, no register, no municipality",
        "fr-" in told and not any(secret in told for secret in secrets),
        text_ja="回答は記号だけで、氏名も本籍も含まれない",
    )
    sim.saved(paper(REGISTER), *(one.handle for one in world.couple.parents))
    sim.tell(
        "First channel: the wife becomes a dependent in the national pension. The pension body asks the Minister "
        "of Justice about each of the two and compares symbols; nobody fetches a copy of the register.",
        "第1の経路（戸籍関係情報）: 妻の第3号被保険者の届出について、日本年金機構は夫婦それぞれの戸籍関係情報を照会し、記号の一致を確認した。"
        "戸籍謄本は不要である。",
    )


async def not_computerised(world: World) -> None:
    """A register on paper has no copy: the couple brings 戸籍謄本."""
    sim, desk = world.sim, world.pension
    number = desk.take_notice(*(pension_code(world, one) for one in world.on_paper.parents))
    waiting = await desk.examine(number)
    why = desk.notice(number)["why"]
    home = world.kitami.node(FamilyRegister)
    with sim.refused(
        "manual_review",
        "A register kept on paper has no copy to send",
        text_ja="電算化されていない戸籍には送るべき副本がない",
    ):
        await home.send_copy(key(world.kitami, 4))
    sim.expect(
        "About a register that was never computerised nothing is known: the notice waits for the paper",
        (waiting, why) == ("waiting", "not_found"),
        text_ja="電算化されていない戸籍は照会しても該当がなく、届出は戸籍謄本の提出を待つ",
    )
    order = home.order_copy(key(world.kitami, 4), as_applicant(world.on_paper.head))
    world.agent.open_wallet("w-paper", order.fee_yen)
    await pay(world.kitami, order, "w-paper")
    copied = await home.examine(order.number)
    sim.expect(
        "The home counter copies the paper register for its fee of 450 yen, and the notice is accepted",
        (copied.state, copied.fee_yen, world.agent.balance_yen("w-paper")) == ("issued", 450, 0)
        and desk.bring_register_copy(number, married=copied.persons == 2) == "accepted",
        text_ja="本籍地の窓口で450円の戸籍謄本を取り、届出は受理された",
    )
    sim.saved(paper(REGISTER), *(one.handle for one in world.on_paper.parents))  # Asked for in vain.
    sim.tell(
        "Another couple's register could never be computerised: nobody knows of it but Kitami, and they bring the paper.",
        "別の夫婦の戸籍は電算化できず副本がないため、北見市で戸籍謄本を取って提出した。",
    )


async def at_any_counter(world: World) -> None:
    """Third channel: copies of Kitami's registers at Kobe's counter, for near kin in person."""
    sim, counter = world.sim, world.kobe.node(FamilyRegister)
    son, wife = map(as_applicant, world.couple.parents)
    first = await buy_copy(world, son, key(world.kitami, 1))
    sim.expect(
        "Kobe's counter copies the register of Kitami for the son, who is recorded there, for 450 yen",
        (first.state, first.persons, first.fee_yen) == ("issued", 4, 450),
        text_ja="神戸市の窓口で、北見市の戸籍謄本が本人（長男）に450円で交付される",
    )
    closed = await buy_copy(world, wife, key(world.kitami, 2), "closed")
    sim.expect(
        "His wife may have the closed register too, as spouse of a person recorded, for 750 yen",
        (closed.state, closed.persons, closed.fee_yen) == ("issued", 4, 750),
        text_ja="除かれた戸籍（改製原戸籍）は、記録されている者の配偶者（妻）にも750円で交付される",
    )
    without = await buy_copy(world, as_applicant(world.son, photo_id=False), key(world.kitami, 1))
    sim.expect(
        "Without a document with a photograph nothing leaves Kitami",
        (without.state, without.why) == ("refused", "manual_review"),
        text_ja="顔写真付きの本人確認書類がなければ広域交付は受けられない",
    )
    paper_register = await buy_copy(world, as_applicant(world.on_paper.head), key(world.kitami, 4))
    sim.expect(
        "A register on paper cannot be had at another counter",
        (paper_register.state, paper_register.why) == ("refused", "not_found"),
        text_ja="電算化されていない戸籍は広域交付の対象外である",
    )
    with sim.refused(
        "no_legal_basis",
        "The supplement with the addresses has no wide-area copy",
        text_ja="戸籍の附票は広域交付の対象外である",
    ):
        await counter.ask(
            world.kitami.address("family-register-supplement"),
            SUPPLEMENT_ADDRESSES,
            Empty(),
            subject=world.kobe.code(world.son),
            procedure=REGISTER,
        )
    sim.tell(
        "Third channel: at Kobe's counter the son gets a copy of Kitami's register, and his wife one of the closed "
        "register. The fees remain; the letter or the journey to Kitami falls away.",
        "第3の経路（広域交付）: 長男は神戸市の窓口で北見市の戸籍謄本を、妻は改製原戸籍の謄本を受け取った。手数料はかかるが、"
        "北見市への郵送請求や来庁は不要である。",
    )


async def pay_once(world: World, wallet_yen: int) -> None:
    """Somebody taps twice, and an answer of the agent is lost: one order, one charge."""
    sim, counter, desk = world.sim, world.kobe.node(FamilyRegister), world.kobe.node(CashDesk)
    before = world.agent.balance_yen("w-son")
    order = counter.order_copy(key(world.kitami, 1), as_applicant(world.son))
    unpaid = await counter.examine(order.number)
    lost = drop(BROKER, desk.address, times=1)
    sim.disturbance.rules.append(lost)
    await asyncio.gather(pay(world.kobe, order, "w-son"), pay(world.kobe, order, "w-son"))
    sim.disturbance.rules.remove(lost)
    issued = await counter.examine(order.number)
    sim.expect(
        "Nothing is handed over before the fee is paid",
        unpaid.state == "ordered",
        text_ja="手数料の納付前には交付されない",
    )
    sim.expect(
        "Two taps and a lost answer charge the wallet exactly once",
        issued.state == "issued" and before - world.agent.balance_yen("w-son") == order.fee_yen,
        text_ja="二重の決済操作と応答の消失があっても、引落しはちょうど1回である",
    )
    heard = b"".join(heard_by(sim, AGENT)).decode()
    sim.expect(
        "The agent hears order, amount and wallet, and not who wants which register",
        order.key in heard and "kr-" not in heard and world.son.name not in heard,
        text_ja="指定納付受託者に伝わるのは受付番号・金額・決済手段だけで、誰のどの戸籍かは伝わらない",
    )
    sim.expect(
        "The receipts of the cash desk and what the agent owes agree, and so does the wallet",
        desk.takings_yen()
        == world.agent.owed_yen(world.kobe.member)
        == wallet_yen - world.agent.balance_yen("w-son")
        == 450 + 750 + 450,
        text_ja="市の収納額、受託者が市に納付すべき額、利用者の残高が一致する",
    )


async def marriage(world: World) -> None:
    """The sibling marries and takes the other name: the event reaches the systems that the law names."""
    sim, kitami = world.sim, world.kitami
    sibling, bride = kitami.code(world.sibling), kitami.code(world.bride)
    seals = kitami.node(SealRegistration)
    seals.register(sibling, world.sibling.family.written)
    number = seals.issue(sibling)
    name = f"{world.bride.family.written} {world.sibling.given.written}"
    supplement = kitami.node(FamilyRegisterSupplement)
    supplement.enter(bride, world.bride.resident_code, world.bride.name, ())
    register = kitami.node(FamilyRegister)
    new = register.enter_marriage(
        3,
        left=key(kitami, 1),
        staying=Line(bride, world.bride.name, world.bride.born.isoformat()),
        changing=Line(sibling, name, world.sibling.born.isoformat()),
    )
    lapsed = "SELECT 1 FROM seal WHERE code = ? AND lapsed"
    await wait_until(
        sim, lambda: supplement.name_of(sibling) == name and seals.db.execute(lapsed, (sibling,)).fetchone()
    )
    sim.expect(
        "A marriage changes a name: the supplement follows by itself",
        supplement.name_of(sibling) == name,
        text_ja="婚姻により氏が変わり、戸籍の附票の記載も改められる",
    )
    with sim.refused(
        "withheld",
        f"The seal that shows the old name gives no certificate any more, after {number}",
        text_ja=f"旧姓の印鑑の登録は抹消され、{number}以後の証明書は出ない",
    ):
        seals.issue(sibling)
    for record in (new, key(kitami, 1)):
        await register.send_copy(record)


async def refused_and_paid_back(world: World) -> None:
    """The son pays for his sibling's new register, is not entitled to it, and gets the fee back."""
    sim, agent = world.sim, world.agent
    balance_yen, refunds = agent.balance_yen("w-son"), len(agent.refunds("w-son"))
    refused = await buy_copy(world, as_applicant(world.son), key(world.kitami, 3))
    sim.expect(
        "A sibling's register is refused: siblings are not in the direct line",
        (refused.state, refused.why) == ("refused", "withheld"),
        text_ja="きょうだいの戸籍は広域交付で請求できない（直系でない）",
    )
    sim.expect(
        "The fee that was paid before the refusal is paid back, once",
        agent.balance_yen("w-son") == balance_yen and len(agent.refunds("w-son")) == refunds + 1,
        text_ja="納付後に交付されなかった手数料は1回だけ返金される",
    )
    sim.tell(
        "Fees are paid without cash through a designated agent: a double tap is one charge. The son also pays for the "
        "register that his sibling's marriage made; he is not entitled to it, and the fee is paid back.",
        "手数料は指定納付受託者を通じてキャッシュレスで納める。二重に決済しても引落しは1回である。"
        "長男は婚姻したきょうだいの新戸籍も請求したが、請求権がなく、納めた手数料は返金された。",
    )


async def under_protection(world: World) -> None:
    """A mother who fled: no code online, no copy elsewhere; the home municipality decides."""
    sim, home = world.sim, world.kitami.node(FamilyRegister)
    mother = world.fled.head
    record = key(world.kitami, 5)
    home.protect(record)
    await home.send_copy(record)
    with sim.refused(
        "manual_review",
        "A register under protection gives no code online",
        text_ja="支援措置の対象となる戸籍は、オンラインで識別符号を取得できない",
    ):
        await ask_code(world, mother)
    elsewhere = await buy_copy(world, as_applicant(mother), record)
    sim.expect(
        "Nor does another municipality's counter copy it",
        (elsewhere.state, elsewhere.why) == ("refused", "manual_review"),
        text_ja="他の市区町村の窓口でも交付されない",
    )
    order = home.order_copy(record, as_applicant(mother))
    world.agent.open_wallet("w-mother", order.fee_yen)
    await pay(world.kitami, order, "w-mother")
    decided = await home.examine(order.number, official="Register section, Kitami")
    sim.expect(
        "In the home municipality a named official decides, and she gets her copy",
        decided.state == "issued",
        text_ja="本籍地では担当者が判断し、本人に交付する",
    )
    sim.fell_back(
        paper(REGISTER),
        "a register under protection is not opened online",
        "支援措置の対象で、オンラインでは提供されない",
    )
    sim.tell(
        "A mother under protection gets no code online and no copy elsewhere; in Kitami an official decides for her.",
        "支援措置の対象者は、オンラインでも他の市区町村でも受け取れず、本籍地の北見市で担当者が判断して交付した。",
    )


async def by_code(world: World, days: int) -> None:
    """Second channel: the passport office takes a code; codes that are mistyped, or too old, open nothing."""
    sim, office, son = world.sim, world.passports, world.son
    issued = await ask_code(world, son)
    later = await ask_code(world, world.couple.parents[1])
    mistyped = issued.code[:-1] + str((int(issued.code[-1]) + 1) % 10)
    wrong = apply_for_passport(world, son, mistyped)
    sim.expect(
        "A code that was never issued opens nothing: the application waits",
        (await office.examine(wrong), office.application(wrong)["why"]) == ("waiting", "not_found"),
        text_ja="発行されていない識別符号では何も提供されず、申請は保留される",
    )
    await sim.sleep(days * 86_400)
    in_time = days <= (date(2025, 7, 10) - date(2025, 4, 10)).days
    before = sim.moment()
    number = apply_for_passport(world, son, issued.code)
    outcome = await office.examine(number)
    sim.expect(
        f"A code that is {days} days old {'proves who applies' if in_time else 'is past its three months'}",
        outcome == ("verified" if in_time else "waiting"),
        text_ja=f"発行から{days}日の識別符号は{'有効で、本人の戸籍が確認できる' if in_time else '3か月を過ぎて無効である'}",
    )
    sim.saved(paper(REGISTER), son.handle, by=office.address, since=before)  # With an old code it is needed.
    await sim.sleep(4 * 31 * 86_400)
    late = apply_for_passport(world, world.couple.parents[1], later.code)
    sim.expect(
        "After more than three months the wife's code opens nothing",
        await office.examine(late) == "waiting",
        text_ja="3か月を過ぎた識別符号では提供されない",
    )
    sim.tell(
        f"Second channel: the son gets a code of sixteen digits in the portal, free of charge, and gives it to the "
        f"passport office {days} days later, which fetches the electronic certificate. His wife waits too long: "
        "her code has lapsed.",
        f"第2の経路（戸籍電子証明書）: 長男はマイナポータルで16桁の識別符号を無料で取得し、{days}日後に旅券の申請で示した。"
        "妻は3か月を過ぎてから使おうとし、識別符号は失効していた。",
    )


async def look_back(world: World) -> None:
    """Which channel answered whom, and what of it the son sees."""
    sim = world.sim
    answered = answered_by_link(sim)
    named = {
        DEPENDANTS: "family.relations.v1",
        PASSPORT: "family.certificate.v1",
        PORTAL: FAMILY_ACCESS_CODE.name,
        world.kobe.address(REGISTER): "family.wide-area.v1",
    }
    sim.expect(
        "Each body was answered through its own channel only",
        all(service in (named.get(who), "family.copy.v1") for who, service in answered)
        and all((who, service) in answered or who == PASSPORT for who, service in named.items()),
        text_ja="各機関は、それぞれの経路だけで回答を受けた",
    )
    mine = await sim.node(PORTAL, Portal).read_history(portal_code(sim, world.son))
    shown = {(line.requester, line.service) for line in mine}
    sim.expect(
        "The son reads in the portal that the pension body asked; certificates are no linkage and not shown there",
        (DEPENDANTS, "family.relations.v1") in shown
        and not any(service in ("family.certificate.v1", "family.wide-area.v1") for _, service in shown),
        text_ja="本人はやりとり履歴で日本年金機構の照会を確認できる（戸籍の証明書の提供は情報連携ではなく、表示されない）",
    )
