"""A sender checks its own line as the first gate will, before anything is recorded, queued or sent.

What is wrong with it is said to whoever wrote it, by declared field and limit: never a value, never a name that is not
declared, and never in signed text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from msgspec import UNSET, Meta, Struct, UnsetType
from rich.console import Console

from mesh import Caller, EventType, Node, NoticeType, PersonalService, Service, receives, scenario, serves
from mesh.cli.rendering import render
from mesh.consent import Consent, Difference, sign_consent, sign_difference
from mesh.errors import CODES, MeshError, Refused, Unsendable, UsageError
from mesh.jws import LINE_SIZE_MAX
from mesh.keys import NodeKeys, SigningKey
from mesh.message import Event, Refusal, Request
from mesh.names import BROKER
from mesh.padding import SIZE_MAX, padded
from mesh.party import decode_body, read_line
from mesh.policy import LegalBasis
from mesh.requester import Requester
from mesh.runner import run_scenario
from mesh.sealing import open_sealed
from mesh.service import DeclarationError, Name
from mesh.simulation import STARTS, Simulation
from mesh.testing import Forger, answers_to, ledger, messages, simulation
from mesh.trace.reader import Trace
from mesh.trace.verify import verify
from mesh.trace.writer import TraceWriter

DESK, OFFICE = "muni/01208/desk", "muni/28100/office"
CANARY = "Canary-7731"
"""Stands in values and undeclared names: it may be said to nobody."""


class Query(Struct, frozen=True, forbid_unknown_fields=True):
    case: Annotated[str, Meta(max_length=40)] = ""
    year: Annotated[int, Meta(ge=1900, le=2100)] = 2026
    scan: str = ""
    form: Any = None


class FactsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    year: int = 2026


class Reply(Struct, frozen=True):
    scan: str = ""
    name: Annotated[str, Meta(max_length=20)] = ""
    grade: Literal["a", "b"] = "a"
    rate: float = 0.0
    count: int = 0


class Wider(Reply, frozen=True):
    canary_7731: int = 1


class Facts(Struct, frozen=True, forbid_unknown_fields=True):
    name: Name | UnsetType = UNSET
    year: int = 0


class Letter(Struct, frozen=True, forbid_unknown_fields=True):
    lines: tuple[Name, ...] = ()
    number: Annotated[int, Meta(le=9)] = 1


COPY = Service("t.copy.v1", Query, Reply, title="Copy", title_ja="写し")
FACTS = PersonalService("t.facts.v1", FactsQuery, Facts, title="Facts", title_ja="事実")
LETTER = NoticeType("t.letter.v1", Letter, title="Letter", title_ja="手紙")
CHANGED = EventType("t.changed.v1", title="Changed", title_ja="変更")

REPLIES: dict[str, Callable[[], Any]] = {
    "short": Reply,
    "too large": lambda: Reply("b" * 600_000),
    "far too large": lambda: Reply("b" * 2_000_000),
    "long name": lambda: Reply(name=CANARY * 3),
    "grade": lambda: Reply(grade=CANARY),  # type: ignore[arg-type]
    "wrong type": lambda: Reply(name=7731),  # type: ignore[arg-type]
    "no number": lambda: Reply(rate=math.nan),
    "huge number": lambda: Reply(count=2**60),
    "surrogate": lambda: Reply(scan=f"{CANARY}\ud800"),
    "no JSON": lambda: Reply(scan=object()),  # type: ignore[arg-type]
    "undeclared": lambda: Wider(),
    "personal number": lambda: Reply(scan=f"{CANARY}: 1234-5678-9018"),
}


class Office(Node):
    schema = "CREATE TABLE seen(text TEXT NOT NULL)"

    @serves(COPY)
    async def copy(self, query: Query, caller: Caller) -> Reply:
        with self.effect():
            self.db.execute("INSERT INTO seen VALUES (?)", (query.case,))
        if query.case == "asks":
            await self.ask(DESK, COPY, Query(scan=f"{CANARY}\ud800"))
        return REPLIES[query.case]() if query.case in REPLIES else Reply(query.scan)

    @serves(FACTS)
    async def facts(self, query: FactsQuery, caller: Caller, person: str) -> Facts:
        return Facts("x" * 300)

    @receives(LETTER)
    async def letter(self, body: Letter, caller: Caller, person: str) -> None:
        with self.effect():
            self.db.execute("INSERT INTO seen VALUES (?)", (f"letter {len(body.lines)}",))
            if body.number == 9:
                self.publish(CHANGED, person, data_version=2**31)

    @receives(CHANGED)
    async def changed(self, push: Event, caller: Caller, person: str) -> None:
        with self.effect():
            self.db.execute("INSERT INTO seen VALUES (?)", (f"changed {push.dataversion}",))

    def seen(self) -> list[str]:
        return [row[0] for row in self.db.execute("SELECT text FROM seen")]


class Mesh(Struct):
    sim: Simulation
    desk: Node
    office: Office
    code: str


@contextmanager
def mesh(path: Path, *, verified: bool = True) -> Iterator[Mesh]:
    """Two towns and what they may; on leaving, the trace verifies, unless somebody forged lines in it."""
    writer = TraceWriter(path, scenario="checks", seed=1, settings={}, starts=STARTS)
    with simulation(trace=writer) as sim:
        sim.add(Node, DESK)
        sim.add(Office, OFFICE)
        sim.allow(LegalBasis("muni/*/desk", "letters", "muni/*/office", "t.letter.v1", ("lines", "number")))
        sim.allow(LegalBasis("muni/*/desk", "facts", "muni/*/office", "t.facts.v1", ("name", "year")))
        sim.allow(LegalBasis("muni/*/office", "changes", "muni/*/desk", "t.changed.v1"))
        code = sim.code("muni/01208", sim.resident("12345678901"))
        yield Mesh(sim, sim.node(DESK), sim.node(OFFICE, Office), code)
    with Trace.open(path) as trace:
        finding = verify(trace).finding
    assert finding is None or not verified, finding


def letter(of: Mesh, body: Letter = Letter(), to: str = OFFICE, **more: Any) -> str:  # noqa: B008
    return of.desk.notify(LETTER, to, body, **({"subject": of.code, "procedure": "letters"} | more))


def question(of: Mesh, query: Query = Query(), to: str = OFFICE, **more: Any) -> Any:  # noqa: B008
    return of.desk.ask(to, COPY, query, **more)


def personal(of: Mesh, **more: Any) -> Any:
    return of.desk.ask(OFFICE, FACTS, FactsQuery(), **({"subject": of.code, "procedure": "facts"} | more))


LONG = "p" * 513
OWN: dict[str, tuple[Callable[[Mesh], Any], str, tuple[str, ...]]] = {
    "ask: size": (
        lambda of: question(of, Query(scan="a" * 600_000)),
        "message_too_large",
        ("scan takes 600,002 of ", "524,288"),
    ),
    "ask: document": (
        lambda of: question(of, Query(scan="a" * 2_000_000)),
        "message_too_large",
        ("scan takes 2,000,002 of ", "524,288"),
    ),
    "ask: procedure": (lambda of: question(of, procedure=LONG), "schema_invalid", ("procedure", "512")),
    "ask: surrogate in the procedure": (
        lambda of: question(of, procedure="\ud800"),
        "message_malformed",
        ("attribute",),
    ),
    "ask: consent": (lambda of: personal(of, consent=LONG), "schema_invalid", ("consent", "512")),
    "ask: subject": (lambda of: personal(of, subject="\ud800"), "message_malformed", ("subject",)),
    "ask: length": (lambda of: question(of, Query(CANARY * 9)), "schema_invalid", ("case", "40")),
    "ask: range": (lambda of: question(of, Query(year=7731)), "schema_invalid", ("year", "2100")),
    "ask: type": (lambda of: question(of, Query(year=CANARY)), "schema_invalid", ("year", "int")),  # type: ignore[arg-type]
    "ask: integer": (lambda of: question(of, Query(form=[2**60])), "message_malformed", ("form", "2^53")),
    "ask: depth": (lambda of: question(of, Query(form=_deep(70))), "message_malformed", ("form", "64")),
    "ask: surrogate": (
        lambda of: question(of, Query(scan="\ud800")),
        "message_malformed",
        ("scan", "surrogate"),
    ),
    "ask: number": (
        lambda of: question(of, Query(scan="no. 123456789018")),
        "personal_number_exposed",
        ("in scan",),
    ),
    "ask: nobody": (
        lambda of: question(of, to="muni/99999/office"),
        "recipient_unknown",
        ("muni/99999/office",),
    ),
    "notify: size": (
        lambda of: letter(of, Letter(("あ" * 199,) * 2000)),
        "message_too_large",
        ("lines takes ", "524,288"),
    ),
    "notify: range": (lambda of: letter(of, Letter(number=10)), "schema_invalid", ("number", "9")),
    "notify: line": (lambda of: letter(of, Letter((CANARY * 99,))), "schema_invalid", ("lines[0]", "200")),
    "notify: procedure": (lambda of: letter(of, procedure=LONG), "schema_invalid", ("procedure", "512")),
    "notify: version": (
        lambda of: letter(of, data_version=2**31),
        "schema_invalid",
        ("dataversion", "2147483647"),
    ),
    "notify: nobody": (
        lambda of: letter(of, to="muni/99999/office"),
        "recipient_unknown",
        ("muni/99999/office",),
    ),
    "publish: version": (
        lambda of: of.desk.publish(CHANGED, of.code, data_version=1_775_001_600_000_000),
        "schema_invalid",
        ("dataversion", "2147483647"),
    ),
    "publish: size": (
        lambda of: of.desk.publish(CHANGED, "s" * 900_000),
        "message_too_large",
        ("subject", "900,002", "524,288"),
    ),
    "hide: message": (
        lambda of: of.desk.hide(CANARY, (), procedure="p"),
        "schema_invalid",
        ("message", "regex"),
    ),
    "consent": (lambda of: _consent("c" * 65), "schema_invalid", ("id", "64")),
    "consents": (lambda of: _consent_list(1200), "message_too_large", ("given takes ", "1,048,576")),
}


def _deep(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def _consent(name: str) -> str:
    key = _key()
    consent = Consent(name, "gov/x/y", "firm/x", "c", "p", ("s.v1",), ("i",), 0, 1, 1)
    return sign_consent(consent, key)


def _consent_list(count: int) -> str:
    return sign_difference(Difference(0, 1, (_consent("consent-1"),) * count * 4, ()), _key())


def _key() -> SigningKey:
    return NodeKeys.derived(b"portal", "portal").signing


async def _done(write: Callable[[Mesh], Any], of: Mesh) -> None:
    made = write(of)
    if not isinstance(made, str):
        await made


@pytest.mark.parametrize("case", OWN)
async def test_what_the_gate_would_refuse_is_refused_before_it_is_recorded(case: str, tmp_path: Path) -> None:
    """The cases of an attachment and a letter too large, of a procedure too long, and of a version that rises beyond 32 bits."""
    write, code, says = OWN[case]
    with mesh(tmp_path / "x.trace") as of:
        with pytest.raises(MeshError) as caught:
            await _done(write, of)
        assert caught.value.code == code
        assert not isinstance(caught.value, Refused)
        for said in (caught.value.text, str(caught.value)):
            assert [word for word in says if word not in said] == [], said
            assert "7731" not in said
        await of.sim.sleep(60)
        assert messages(of.sim) == []
        assert ledger(of.sim) == []
        assert of.desk.host.store.outbox() == []
        # What is right goes its way.
        assert (await question(of, Query(scan="abc"))).scan == "abc"
        letter(of, Letter(("第１条",)))
        await of.sim.sleep(1)
        assert of.office.seen() == ["", "letter 1"]
        lines = of.sim.report.failure_lines()
        assert len(lines) == (0 if case.startswith(("consent", "hide")) else 1)
        assert all(DESK in line and "t." in line and code in line and CANARY not in line for line in lines)


@pytest.mark.parametrize("case", [case for case in REPLIES if case != "short"])
async def test_an_answer_that_its_requester_would_refuse_is_its_handlers_failure(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The case of a reply too large, and of every other that does not fit."""
    says = {
        "too large": ("message_too_large", "scan takes 600,002 of ", "524,288"),
        "far too large": ("message_too_large", "scan takes 2,000,002 of ", "524,288"),
        "long name": ("schema_invalid", "name: expected str of length <= 20"),
        "grade": ("schema_invalid", "grade: expected one of the declared values"),
        "wrong type": ("schema_invalid", "name: expected str, got int"),
        "no number": ("schema_invalid", "rate: expected float, got null"),
        "huge number": ("message_malformed", "count", "2^53"),
        "surrogate": ("message_malformed", "scan", "surrogate"),
        "no JSON": ("schema_invalid", "scan", "JSON"),
        "undeclared": ("schema_invalid", "not declared"),
        "personal number": ("personal_number_exposed", "in scan"),
    }[case]
    with mesh(tmp_path / "x.trace") as of:
        with pytest.raises(Refused) as caught:
            await question(of, Query(case))
        assert (caught.value.code, caught.value.by, caught.value.text) == (
            "handler_failed", OFFICE, "the provider's handler failed",
        )  # fmt: skip
        (signed,) = {one.line for one in messages(of.sim, Refusal)}
        assert messages(of.sim, Refusal)[0].message.data.text == "the provider's handler failed", (
            "as the code says"
        )
        rows = [(row.entry, row.code) for row in ledger(of.sim)]
        assert rows == [("opened", None), ("permitted", None), ("answered", "handler_failed"),
                        ("closed", "handler_failed"), ("closed", "handler_failed")]  # fmt: skip
        assert of.office.seen() == [], "nothing of it happened"
        told = capsys.readouterr().err
        (line,) = of.sim.report.failure_lines()
        for said in (told, line):
            assert [word for word in (OFFICE, "t.copy.v1", *says) if word not in said] == [], said
            assert not re.search("canary|5678", said, re.IGNORECASE)
        assert "handler_failed" in line
        assert b"scan" not in signed
        assert (await question(of, Query(scan="abc"))).scan == "abc"


async def test_what_a_handler_cannot_ask_is_its_own_failure_not_its_requesters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with mesh(tmp_path / "x.trace") as of:
        with pytest.raises(Refused) as caught:
            await question(of, Query("asks"))
        assert caught.value.code == "handler_failed"
        assert "message_malformed" in capsys.readouterr().err
        letter(of, Letter(number=9))  # Its handler publishes what cannot be.
        await of.sim.sleep(30)
        assert of.office.seen() == [], "the effect that it was part of did not happen"
        assert any("dataversion" in line and "×" in line for line in of.sim.report.failure_lines())


async def test_a_reply_that_a_requester_cannot_read_names_the_field_to_him(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Older(Struct, frozen=True):
        scan: Annotated[str, Meta(max_length=2)]

    older = Service("t.copy.v1", Query, Older, title="Copy", title_ja="写し")
    with mesh(tmp_path / "x.trace") as of:
        with pytest.raises(MeshError) as caught:
            await of.desk.ask(OFFICE, older, Query(scan=CANARY))
        assert caught.value.code == "schema_invalid"
        assert "scan: expected str of length <= 2" in str(caught.value)
        assert CANARY not in str(caught.value)
        assert "scan" in of.sim.report.failure_lines()[0]


async def test_at_every_limit_the_sender_and_the_first_gate_agree(tmp_path: Path) -> None:
    with mesh(tmp_path / "x.trace", verified=False) as of:
        forger = Forger(of.sim, DESK)

        async def gate(request: Request) -> str | None:
            """What the broker, or the provider behind it, refuses the line with."""
            line = forger.line(request)
            of.sim.transmit(DESK, BROKER, line)
            await of.sim.sleep(1)
            return answers_to(of.sim, line)[-1].refusal

        async def own(**attributes: Any) -> str | None:
            try:
                await question(of, attributes.pop("query", Query()), **attributes)
            except Unsendable as error:
                return error.code
            return None

        for length, code in ((512, None), (513, "schema_invalid")):
            assert await gate(forger.request(OFFICE, "t.copy.v1", procedure="p" * length)) == code
            assert await own(procedure="p" * length) == code
        for case, code in (("c" * 40, None), ("c" * 41, "schema_invalid")):
            assert await gate(forger.request(OFFICE, "t.copy.v1", b'{"case":"%b"}' % case.encode())) == code
            assert await own(query=Query(case)) == code
        assert len(of.office.seen()) == 4


async def test_the_largest_content_that_leaves_is_the_largest_that_a_seal_holds(tmp_path: Path) -> None:
    with mesh(tmp_path / "x.trace") as of:
        requester = Requester(of.desk.party)
        fits, too_large = 0, 700_000
        while too_large - fits > 1:
            size = (fits + too_large) // 2
            try:
                requester.ask(
                    OFFICE, COPY.name, COPY.query_content(Query("short", scan="a" * size)), 0, life_us=0
                )
                fits = size
            except Unsendable:
                too_large = size
        await question(of, Query("short", scan="a" * fits))
        (line,) = {one.line for one in messages(of.sim, Request)}
        assert len(line) <= LINE_SIZE_MAX
        request = read_line(line)
        document = open_sealed(request.data, of.sim.keys_of(OFFICE).sealing)
        assert (len(document), len(padded(document))) == (SIZE_MAX, SIZE_MAX), (
            "it is the sealed content that is full"
        )
        # With one byte more under the seal nobody could seal it.
        longer = bytes(decode_body(document).data).replace(b"aa", b"aaa", 1)
        with pytest.raises(MeshError, match="message_too_large"):
            Forger(of.sim, DESK).seal(request.id, OFFICE, longer)


async def test_no_gate_says_in_signed_text_which_field_did_not_fit(tmp_path: Path) -> None:
    with mesh(tmp_path / "x.trace", verified=False) as of:
        forger = Forger(of.sim, DESK)
        for wrong in (
            forger.request(OFFICE, "t.copy.v1", b'{"year":7731}'),
            forger.request(OFFICE, "t.copy.v1", procedure="p" * 513),
        ):
            line = forger.send(wrong)
            await of.sim.sleep(1)
            refusal = answers_to(of.sim, line)[-1].message
            assert (refusal.code, refusal.data.text) == ("schema_invalid", CODES["schema_invalid"].text)


def test_what_no_line_could_carry_is_not_declared() -> None:
    with pytest.raises(DeclarationError, match="named like"):
        Service(f"t.{'x' * 200}.v1", Query, Reply, title="x", title_ja="x")
    many = type("Many", (Struct,), {"__annotations__": {f"field_{n:04}": int for n in range(500)}})
    with pytest.raises(DeclarationError, match="4096"):
        PersonalService("t.many.v1", Query, many, title="x", title_ja="x")


@scenario(title="Checks", title_ja="確認", sources=("illustrative",))
async def _failing(sim: Simulation) -> None:
    sim.add(Node, DESK)
    sim.add(Office, OFFICE)
    for _ in range(2):
        with sim.refused("handler_failed", "the answer does not fit", text_ja="回答が合わない"):
            await sim.node(DESK).ask(OFFICE, COPY, Query("long name"))


def test_every_form_of_the_report_says_who_failed_at_which_field() -> None:
    result = run_scenario(_failing)
    assert result.held
    what = "handler_failed: schema_invalid (name: expected str of length <= 20)"
    assert result.as_json()["failures"] == [{"node": OFFICE, "about": "t.copy.v1", "what": what, "times": 2}]
    line = f"{OFFICE}, t.copy.v1: {what} × 2"
    assert f"    {line}" in result.as_lines()
    console = Console(width=400, record=True, file=StringIO())
    render(result, console)
    assert line in console.export_text()


async def test_nobody_hides_an_exchange_that_is_not_his(tmp_path: Path) -> None:
    """A mark without an exchange would stand in a ledger, and `verify` would accuse its owner."""
    with mesh(tmp_path / "x.trace") as of:
        await question(of)
        (asked,) = {one.message.id for one in messages(of.sim, Request)}
        rows = ledger(of.sim)
        for node, message in ((of.desk, "01946d3a-0000-7000-8000-000000000001"), (of.office, asked)):
            with pytest.raises(UsageError, match="an exchange that muni"):
                await node.hide(message, (), procedure="p")
        assert ledger(of.sim) == rows
