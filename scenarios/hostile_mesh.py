"""Who attacks the mesh, and what becomes of it: every attack meets its own refusal, and nobody learns more.

The attackers hold what real ones could: a registered node's keys, captured lines, the broker's own keys, or two
bodies' records together. Nodes and law of this file are illustrative, so that it stands by itself.
"""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from mesh import (
    Caller,
    LegalBasis,
    MeshError,
    Node,
    NotFound,
    PersonalService,
    Simulation,
    base64url,
    scenario,
    sealing,
    serves,
)
from mesh.exchange import digest_of
from mesh.keys import NodeKeys, SealingKey
from mesh.message import Reply, Request, encode
from mesh.names import BROKER, Zone, member_of
from mesh.registry import Entry, key_record
from mesh.service import Word
from mesh.testing import Forger, Transmission, answers_to, keep_record, ledger, messages
from scenarios._waiting import until_heard
from scenarios._wire import without_member

KITAMI, SAPPORO, THIEF = "muni/01208/desk", "muni/01100/desk", "muni/13101/desk"
KOBE, SENDAI = "muni/28100/income", "muni/04100/income"
LOST = "muni/13102/desk"
PROCEDURE = "hostile.allowance"
INCOME_YEN = 4_215_000
REMARK = "zaisan"
"""A word that only the sealed question holds."""


class IncomeQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """A year, and the asker's own remark."""

    year: int
    remark: Word = ""


class Income(Struct, frozen=True):
    """What the tax office knows of a year."""

    income: int | UnsetType = UNSET
    assets: int | UnsetType = UNSET


INCOME = PersonalService(
    "hostile.income.v1", IncomeQuery, Income, title="Income (illustrative)", title_ja="所得(例示)"
)


class IncomeOffice(Node):
    """Keeps incomes, and counts what it was asked."""

    title, title_ja = "Individual inhabitant tax", "個人住民税"
    schema = "CREATE TABLE income(person TEXT PRIMARY KEY, yen INTEGER NOT NULL)"
    asked: int = 0

    @serves(INCOME)
    async def income(self, query: IncomeQuery, caller: Caller, person: str) -> Income:
        """The income of a person whom the office knows."""
        self.asked += 1
        row = self.db.execute("SELECT yen FROM income WHERE person = ?", (person,)).fetchone()
        if row is None:
            raise NotFound
        return Income(income=row["yen"], assets=0)

    def learn(self, person: str, yen: int) -> None:
        """Enter a person's income."""
        with self.effect():
            self.db.execute("INSERT INTO income VALUES (?, ?)", (person, yen))


class Desk(Node):
    """A city's desk: it asks, lawfully, for an allowance."""

    title, title_ja = "Child allowance", "児童手当"


class Siege:
    """The mesh under attack: who is who, and how an attack is carried out and judged."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        for address in (KITAMI, SAPPORO, THIEF, LOST):
            sim.add(Desk, address)
        for address in (KOBE, SENDAI):
            sim.add(IncomeOffice, address)
        for requester in (KITAMI, SAPPORO, LOST):
            sim.allow(LegalBasis(requester, PROCEDURE, "muni/*/income", INCOME.name, ("income",)))
        self.resident = sim.resident("00000000019")
        self.office = sim.node(KOBE, IncomeOffice)
        self.office.learn(sim.code(member_of(KOBE), self.resident), INCOME_YEN)
        self.code = sim.code(member_of(KITAMI), self.resident)
        self.kitami, self.thief = Forger(sim, KITAMI), Forger(sim, THIEF)
        self.unsigned: list[str] = []
        """Digests of what failed up to the signature: it may stand in no ledger."""

    async def ask(self, address: str) -> Income:
        """One lawful question about the resident."""
        subject = self.sim.code(member_of(address), self.resident)
        query = IncomeQuery(2025, REMARK)
        desk = self.sim.node(address)
        return await desk.ask(KOBE, INCOME, query, subject=subject, procedure=PROCEDURE, items=["income"])

    def question(self, by: Forger | None = None, to: str = KOBE, **changes: Any) -> Request:
        """A question as the asker itself would put it, but for the changes."""
        forger = by or self.kitami
        lawful: dict[str, Any] = {"subject": self.code, "procedure": PROCEDURE, "items": "income"}
        query = changes.pop("query", None) or IncomeQuery(2025, REMARK)
        return forger.request(to, INCOME.name, encode(query), **(lawful | changes))

    async def attack(
        self,
        code: str,
        text: str,
        text_ja: str,
        line: bytes,
        *,
        by: str = THIEF,
        to: str = BROKER,
        permit: bytes = b"",
        recorded: bool = False,
    ) -> Transmission | None:
        """Transmit a line and expect that a signed refusal with the code comes back to the attacker.

        `recorded` is for an attacker inside a member: the member's ledger has the request as it must.
        """
        before = len(messages(self.sim))
        if recorded:
            keep_record(self.sim, line)

        def refused() -> list[Transmission]:
            back = [one for one in messages(self.sim)[before:] if one.recipient == by and one.refusal]
            return [one for one in back if one in answers_to(self.sim, line)]

        sent = line + b"\n" + permit if permit else line
        await until_heard(self.sim, lambda: self.sim.transmit(by, to, sent), refused)
        said = next(reversed(refused()), None)
        held = said is not None and said.refusal == code
        self.sim.expect(
            f"{text}: {code}", held, text_ja=f"{text_ja}: {code}", about=said.message.id if said else ""
        )
        return said

    async def resend(
        self, what: str, what_ja: str, captured: Transmission, to: str, *, permit: bytes = b""
    ) -> None:
        """The thief sends a captured line of others again: it is refused to him, and costs its owner nothing."""
        sim, asked = self.sim, self.office.asked
        before = len(ledger(sim)), self.answered_and_permitted()
        await self.attack(
            "sender_mismatch",
            f"The thief sends a captured {what} again",
            f"盗んだ{what_ja}を第三者が再送する",
            captured.line,
            to=to,
            permit=permit,
        )
        sim.expect(
            f"The {what} that was sent again wrote no row, and brought no permit and no answer",
            (len(ledger(sim)), self.answered_and_permitted()) == before and self.office.asked == asked,
            text_ja=f"再送された{what_ja}は、記録も許可証も回答も生まない",
            about=captured.message.id,
        )

    def answered_and_permitted(self) -> tuple[int, int]:
        """How often anybody but the thief transmitted a reply, and a broker a permit."""
        sent = [one for one in messages(self.sim) if one.sender != THIEF]
        return sum(isinstance(one.message, Reply) for one in sent), sum(bool(one.permit) for one in sent)

    async def attack_unsigned(self, code: str, text: str, text_ja: str, line: bytes) -> None:
        """As `attack`, with a line whose signature does not hold."""
        self.unsigned.append(digest_of(line))
        await self.attack(code, text, text_ja, line)


@scenario(
    title="A hostile mesh: every attack meets its own refusal",
    title_ja="敵対的な網:攻撃はそれぞれの理由で拒まれる",
    rules=(1, 3, 4, 5, 6),
    sources=(
        "公共サービスメッシュ（行政機関間の情報連携）",
        "番号法19条8号・21条・21条の2・23条",
        "RFC 7515・7516・8037・9864",
        "illustrative nodes and law",
    ),
)
async def run(sim: Simulation) -> None:
    """A lawful exchange first, then everything that somebody could try."""
    siege = Siege(sim)
    answer = await siege.ask(KITAMI)
    sim.expect(
        "A lawful question is answered", answer.income == INCOME_YEN, text_ja="適法な照会には回答がある"
    )
    sim.tell(
        "Kitami asks Kobe lawfully for a resident's income. Then a thief with another city's keys, a captured "
        "line, a curious broker and two colluding cities try what they can.",
        "北見市が神戸市に住民の所得を適法に照会する。その後、他市の鍵を持つ者、傍受した電文、好奇心のあるブローカー、"
        "結託した二市が、できる限りのことを試みる。",
    )
    await forge(siege)
    await replay(siege)
    await misuse_keys(siege)
    await lift(siege)
    await ask_unlawfully(siege)
    await look_for_persons(siege)
    watch_as_broker(siege)
    await collude(siege)
    check_records(siege)
    sim.tell(
        "Each attack was refused with a code of its own, signed by who refused it; no question had an effect "
        "twice, and who took no part in an exchange could join nothing.",
        "攻撃はそれぞれの符号で署名付きで拒まれ、同じ照会が二度効果を持つことはなく、"
        "情報連携に加わらなかった者は何も突合できなかった。",
    )


async def forge(siege: Siege) -> None:
    """Messages in another's name, changed, or without a signature."""
    line = siege.kitami.line(siege.question())
    in_its_name = siege.thief.line(siege.question())
    siege.unsigned.append(digest_of(in_its_name))
    await siege.attack(
        "sender_mismatch",
        "The thief signs with its own key as if it were Kitami",
        "自らの鍵で署名し北見市を名乗る",
        in_its_name,
    )
    stranger = Forger(siege.sim, KITAMI, NodeKeys.derived(b"a stranger's seed", KITAMI))
    await siege.attack_unsigned(
        "key_unknown",
        "A key that nobody registered signs as Kitami",
        "登録されていない鍵で北見市を名乗る",
        stranger.line(siege.question()),
    )
    at = len(line) // 2
    changed = line[:at] + (b"A" if line[at : at + 1] != b"A" else b"B") + line[at + 1 :]
    await siege.attack_unsigned(
        "signature_invalid", "One character of a signed line is changed", "署名済みの電文を1字変える", changed
    )
    stripped = line.rpartition(b".")[0] + b"."
    await siege.attack_unsigned(
        "message_malformed", "The signature is stripped off", "署名を取り除く", stripped
    )
    header = json.loads(base64url.decode(line.split(b".", 1)[0])) | {"alg": "none"}
    none = base64url.encode(json.dumps(header).encode()) + b"." + line.split(b".", 1)[1]
    await siege.attack_unsigned(
        "algorithm_unsupported",
        "The header says that no signature is needed (alg none)",
        "ヘッダで署名なし(alg none)と称する",
        none,
    )


async def replay(siege: Siege) -> None:
    """What was captured is sent again by who did not make it, or by its maker sooner, later, or to somebody else."""
    sim = siege.sim
    captured = next(one for one in messages(sim, Request) if one.permit)
    answer = next(one for one in messages(sim, Reply) if one.recipient == KITAMI)
    permit = captured.permit or b""
    await sim.sleep(30)  # Whatever is still under way arrives before.
    await siege.resend("request", "照会", captured, BROKER)
    await siege.resend("request with its permit", "照会とその許可証", captured, KOBE, permit=permit)
    await siege.resend("answer", "回答", answer, KITAMI)
    await siege.attack(
        "audience_mismatch",
        "Kitami carries its request, with the permit for Kobe, to another city's office",
        "北見市が自らの照会と神戸市宛の許可証を別の市に持ち込む",
        captured.line,
        by=KITAMI,
        to=SENDAI,
        permit=permit,
    )
    line = siege.kitami.line(siege.question(id=captured.message.id, query=IncomeQuery(2024)))
    await siege.attack(
        "id_conflict",
        "A used id is given to another question",
        "使用済みのIDを別の照会に使う",
        line,
        by=KITAMI,
    )
    await sim.sleep(331)  # 60 s that the permit lives, and 300 s by which clocks may differ, are over since.
    await siege.attack(
        "message_expired",
        "Kitami brings request and permit to Kobe when the permit's 60 s are over, and the 300 s that clocks may differ",
        "許可証の60秒と時計のずれの許容300秒が過ぎた後に、北見市が照会と許可証を神戸市に持ち込む",
        captured.line,
        by=KITAMI,
        to=KOBE,
        permit=permit,
    )


async def misuse_keys(siege: Siege) -> None:
    """Keys that no longer count, and keys with which anybody's signature fits."""
    sim = siege.sim
    lost = Forger(sim, LOST)
    subject = sim.code(member_of(LOST), siege.resident)
    line = lost.line(siege.question(lost, subject=subject))
    sim.registry.revoke(LOST, sim.now_us())
    siege.unsigned.append(digest_of(line))
    await siege.attack(
        "certificate_revoked", "A key is used after its revocation", "失効した鍵を使う", line, by=LOST
    )
    keys = NodeKeys.derived(b"a new node's seed", "muni/13103/desk")
    until_us = sim.now_us() + 86_400_000_000
    record = key_record(sim.authority, keys, from_us=sim.now_us(), until_us=until_us)
    weak = Entry("muni/13103/desk", Zone.MYNUMBER, (), (msgspec.structs.replace(record, sign=bytes(32)),))
    with sim.refused(
        "key_weak",
        "A small-order key, under which one signature fits many messages, is not registered",
        text_ja="一つの署名が多くの電文に合う位数の小さい鍵は登録されない",
    ):
        sim.registry.put(weak)
    request = siege.question()
    header, rest = request.data.split(".", 1)
    members = json.loads(base64url.decode_text(header))
    members["epk"]["x"] = base64url.encode_text(bytes(32))
    header = base64url.encode_text(json.dumps(members).encode())
    line = siege.kitami.line(msgspec.structs.replace(request, data=f"{header}.{rest}"))
    await siege.attack(
        "key_weak",
        "A seal is made with a small-order key",
        "位数の小さい鍵で封緘する",
        line,
        by=KITAMI,
        recorded=True,
    )


async def lift(siege: Siege) -> None:
    """Sealed content in a message that it was not made for."""
    sim = siege.sim
    captured = messages(sim, Request)[0].message
    sapporo = Forger(sim, SAPPORO)
    own = sim.code(member_of(SAPPORO), siege.resident)
    line = sapporo.line(siege.question(sapporo, subject=own, data=captured.data))
    await siege.attack(
        "seal_invalid",
        "Sapporo, which may ask, puts Kitami's sealed question into its own message",
        "照会権限のある札幌市が、北見市の封緘内容を自分の電文に入れる",
        line,
        by=SAPPORO,
        recorded=True,
    )
    request = msgspec.structs.replace(siege.question(sapporo), subject=captured.subject)
    await siege.attack(
        "seal_invalid",
        "Sapporo puts Kitami's sealed subject into its own message",
        "札幌市が、北見市の封緘された対象者を自分の電文に入れる",
        sapporo.line(request),
        by=SAPPORO,
    )


async def ask_unlawfully(siege: Siege) -> None:
    """Questions past the broker, or with what is not the asker's to use."""
    sim = siege.sim
    line = siege.kitami.line(siege.question())
    await siege.attack(
        "no_legal_basis",
        "Kitami asks Kobe directly, without the broker's permit",
        "北見市がブローカーの許可証なしに神戸市へ直接照会する",
        line,
        by=KITAMI,
        to=KOBE,
    )
    await siege.attack(
        "sender_mismatch",
        "Kitami writes its permit itself",
        "北見市が許可証を自作する",
        line,
        by=KITAMI,
        to=KOBE,
        permit=siege.kitami.permit(line),
    )
    foreign = sim.code(member_of(KOBE), siege.resident)
    await siege.attack(
        "linkage_code_foreign",
        "Kitami uses Kobe's linkage code of the resident",
        "北見市が神戸市の符号を使う",
        siege.kitami.line(siege.question(subject=foreign)),
        by=KITAMI,
    )
    await siege.attack(
        "linkage_code_unknown",
        "Kitami makes a linkage code up",
        "北見市が符号をでっち上げる",
        siege.kitami.line(siege.question(subject=f"{member_of(KITAMI)}:{'A' * 43}")),
        by=KITAMI,
    )
    # A synthetic number with a valid check digit, in a text that the schema has no room for.
    query = {"year": 2025, "remark": "1234-5678-9018"}
    await siege.attack(
        "personal_number_exposed",
        "A question carries what reads as a personal number",
        "個人番号と読める値を照会に入れる",
        siege.kitami.line(siege.question(query=query)),
        by=KITAMI,
        recorded=True,
    )


async def look_for_persons(siege: Siege) -> None:
    """Requester, procedure and items are refused before anybody looks the person up."""
    sim = siege.sim
    nobody = sim.resident("00000000027")
    subjects = [siege.code, sim.code(member_of(KITAMI), nobody), f"{member_of(KITAMI)}:{'A' * 43}"]
    thief_code = sim.code(member_of(THIEF), siege.resident)
    changes: list[tuple[str, Forger, dict[str, str]]] = [
        ("no_legal_basis", siege.thief, {}),
        ("no_legal_basis", siege.kitami, {"procedure": "hostile.other"}),
        ("item_not_permitted", siege.kitami, {"items": "assets"}),
    ]
    held = True
    for code, forger, change in changes:
        said = []
        for subject in subjects if forger is siege.kitami else [thief_code, *subjects[1:]]:
            line = forger.line(siege.question(forger, **({"subject": subject} | change)))
            await until_heard(
                sim, partial(sim.transmit, forger.address, BROKER, line), partial(answers_to, sim, line)
            )
            said += [one for one in answers_to(sim, line) if one.refusal][:1]
        alike = {_without_what_varies(one) for one in said}
        held = held and len(said) == len(subjects) and len(alike) == 1 and said[0].refusal == code
    sim.expect(
        "An unlawful requester, procedure or item is refused alike whether the person exists or not",
        held,
        text_ja="不適法な照会者、事務、項目は、その人の有無によらず同じ拒否となる",
        about=said[0].message.id if said else None,
    )


def _without_what_varies(one: Transmission) -> tuple[int, bytes]:
    """Length and content of a refusal, less id, time and the digest of what it answers."""
    plain = msgspec.structs.replace(one.message, id="", time="", requestdigest="")
    return len(one.line), encode(plain)


def watch_as_broker(siege: Siege) -> None:
    """The broker reads what it may, and tries the rest."""
    sim = siege.sim
    seen = [one for one in messages(sim) if one.recipient == BROKER and one.message is not None]
    plain = [
        base64url.decode(one.line.split(b".")[1]) for one in seen if isinstance(one.message, Request | Reply)
    ]
    reads_nothing = all(
        REMARK.encode() not in text and str(INCOME_YEN).encode() not in text for text in plain
    )
    key = sim.keys_of(BROKER).sealing
    sealed = [one.message.data for one in seen if isinstance(one.message, Request | Reply)]
    opened = [data for data in sealed if _opens(data, key)]
    sim.expect(
        f"The curious broker saw {len(sealed)} sealed contents and could open none",
        bool(sealed) and reads_nothing and not opened,
        text_ja=f"好奇心のあるブローカーは封緘された内容を{len(sealed)}件見たが、一つも開けなかった",
        about=seen[0].message.id,
    )
    asked = [one for one in seen if isinstance(one.message, Request) and one.sender in (KITAMI, SAPPORO)]
    said = [json.loads(base64url.decode(one.line.split(b".")[1])) for one in asked]
    shown = {field for payload in said for field in payload if not _is_sealed(payload[field])}
    sim.expect(
        "What it reads of a request: who asks whom, when, for which procedure and items",
        shown
        == {
            "specversion", "id", "source", "type", "time", "recipient", "datacontenttype", "procedure", "items",
            "expiry",
        },
        text_ja="照会から読めるのは、誰が誰に、いつ、どの事務でどの項目を求めたかだけである",
        about=asked[0].message.id,
    )  # fmt: skip


def _is_sealed(value: object) -> bool:
    """Whether a field holds a seal: five parts, of which the second is empty."""
    return isinstance(value, str) and value.count(".") == 4 and ".." in value


def _opens(token: str, key: SealingKey) -> bool:
    try:
        sealing.open_sealed(token, key)
    except MeshError:
        return False
    return True


async def collude(siege: Siege) -> None:
    """Cities lay their records side by side and look for the same person."""
    sim = siege.sim
    await siege.ask(SAPPORO)
    sim.node(THIEF)
    known = {each: _known_to(sim, each) for each in (KITAMI, SAPPORO, KOBE)}
    # The first part of a code names its member, so that no two could ever be equal: what matters is the rest.
    codes = {each: {without_member(code) for code, _ in rows} for each, rows in known.items()}
    ids = {each: {message for _, message in rows} for each, rows in known.items()}
    sim.expect(
        "Kitami and Sapporo asked about one person; their records share no code and no exchange",
        bool(codes[KITAMI] and codes[SAPPORO])
        and not codes[KITAMI] & codes[SAPPORO]
        and not ids[KITAMI] & ids[SAPPORO],
        text_ja="北見市と札幌市は同じ人について照会したが、両者の記録に共通の符号も共通の情報連携もない",
        about="",
    )
    answered = {
        row.id
        for row in ledger(sim, KOBE)
        if row.entry == "answered" and row.requester == KITAMI and row.subject
    }
    sim.expect(
        "Kitami and Kobe share no code; what they can join is the exchanges in which both took part",
        not codes[KITAMI] & codes[KOBE] and bool(answered) and ids[KITAMI] & ids[KOBE] <= answered,
        text_ja="北見市と神戸市に共通の符号はなく、突合できるのは双方が加わった情報連携だけである",
        about="",
    )
    outsider = without_member(sim.code(member_of(THIEF), siege.resident))
    everything = {code for each in codes.values() for code in each}
    sim.expect(
        "Who took no part finds its own code of the person in nobody's records",
        bool(everything) and outsider not in everything,
        text_ja="加わらなかった者の符号は、誰の記録にも現れない",
        about="",
    )


def _known_to(sim: Simulation, address: str) -> set[tuple[str, str]]:
    """(own code, message id) of every exchange about a person in a party's ledger."""
    return {(row.subject, row.id) for row in ledger(sim, address) if row.subject}


def check_records(siege: Siege) -> None:
    """What stands in the ledgers after all this."""
    sim = siege.sim
    rows = ledger(sim)
    sim.expect(
        "What was not proven to be signed by its sender stands in no ledger",
        bool(siege.unsigned) and not {row.requestdigest for row in rows} & set(siege.unsigned),
        text_ja="送信者の署名が確かめられなかったものは、誰の記録にも載らない",
        about="",
    )
    answered = [row for row in rows if row.entry == "answered" and row.service == INCOME.name]
    sim.expect(
        "The only answers are those to the two lawful questions, one each to Kitami and Sapporo",
        [(row.requester, row.code) for row in answered] == [(KITAMI, None), (SAPPORO, None)]
        and siege.office.asked == len(answered),
        text_ja="回答があったのは、北見市と札幌市の適法な照会それぞれ1件だけである",
        about="",
    )
