"""A simulation: one process, one virtual clock, every party of the mesh in it.

Nodes are enrolled by address and class, and made when they are first addressed: until then one costs an
entry in a table. Everything random comes from the seed, one stream for each party and purpose, so that
adding a node changes no other's draws.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta, timezone
from difflib import get_close_matches
from math import inf
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, TypeVar, overload

from mesh import names
from mesh.arguments import (
    check_address,
    check_kind,
    check_names,
    check_seconds,
    check_text,
    check_truth,
    wrong,
)
from mesh.blocks import Blocks
from mesh.broker import Broker
from mesh.channels import Sealer
from mesh.clock import VirtualLoop
from mesh.endpoint import last_message
from mesh.errors import CODES, MeshError, UsageError
from mesh.faults import Crash, Disturbance, Faults, InForce, Plan
from mesh.host import Host
from mesh.keys import KINDS, NodeKeys, SealingKey, derive
from mesh.ledger import Ledger
from mesh.linkage import CodeBook
from mesh.message import parse_time
from mesh.names import BROKER, Zone, is_address, member_of
from mesh.node import Node
from mesh.papers import Claim, Fallback, Paper
from mesh.party import Party
from mesh.policy import LegalBasis, Policy, ZonePath
from mesh.reach import Invitation
from mesh.refusals import Expected
from mesh.registry import RENEWED_BEFORE_US, TIME_MAX_US, Entry, Registry, key_record
from mesh.report import Report
from mesh.reserved import check_settings
from mesh.service import Declaration, EventType, NoticeType, PersonalService
from mesh.store import Store, is_of_place
from mesh.story import Sentence, Teller
from mesh.trace.rows import Expectation
from mesh.trace.writer import TraceWriter
from mesh.transport.memory import LATENCY_US, MemoryTransport
from mesh.view import Shared, View

JST = timezone(timedelta(hours=9), "JST")
STARTS = "2026-04-01T09:00:00+09:00"
CALENDAR_ENDS_US = 253_402_300_800_000_000
"""The year 10000, which no timestamp of a message can name."""
CERTIFICATE_LIFE_US = 3 * 365 * 86_400_000_000
RENEWED_EVERY_US = CERTIFICATE_LIFE_US - RENEWED_BEFORE_US

AnyNode = TypeVar("AnyNode", bound=Node)


class Generation(NamedTuple):
    """A node's keys since it changed them last."""

    number: int
    since_us: int
    keys: NodeKeys
    sealing: tuple[SealingKey, ...]
    """Every sealing key that it ever had, for the recording."""


class Enrolment:
    """What is known of a node before it is made."""

    __slots__ = ("cls", "settings")

    def __init__(self, cls: type[Node], settings: dict[str, Any]) -> None:
        self.cls = cls
        self.settings = settings


class Simulation:
    """The mesh of one run.

    `trace` is where the run is recorded, `data` the folder for the nodes' databases (in memory when None), `faults`
    what goes wrong besides what its scenario stages.
    """

    def __init__(
        self,
        *,
        loop: VirtualLoop,
        seed: int = 1,
        starts: str = STARTS,
        policy: Policy | None = None,
        trace: TraceWriter | None = None,
        data: Path | None = None,
        latency_us: int = LATENCY_US,
        faults: Plan | None = None,
    ) -> None:
        from mesh.authority import Authority  # X.509 costs start-up time that `list` does not need to pay

        self.loop = loop
        self.seed = seed
        self.policy = Policy() if policy is None else policy
        self.trace = TraceWriter(None) if trace is None else trace
        self.start_us = start_us = parse_time(starts)
        self._true_us: Callable[[], int] = lambda: start_us + loop.now_us
        self._monotonic_us: Callable[[], int] = lambda: loop.now_us
        self._data = data
        self._root = derive(seed.to_bytes(16, "big", signed=True), "simulation")
        self.faults = None if faults is None else Faults(faults, self.stream("faults"))
        self.disturbance = Disturbance(self.faults)
        self.codes = CodeBook(derive(self._root, "codes"), self._keep_code)
        self._enrolled: dict[str, Enrolment] = {}
        self._by_system: dict[str, list[str]] = {}
        self._nodes: dict[str, Node] = {}
        self._stores: dict[str, Store] = {}
        self._changed: dict[str, Generation] = {}
        """The keys of those who changed them."""
        self._down: dict[str, None] = {}
        self._offline: dict[str, int] = {}
        self._skews_us: dict[str, int] = {}
        self._persons: dict[str, bytes] = {}
        self._handles: dict[str, str] = {}
        self._handle_of: dict[bytes, str] = {}
        self._unnamed: dict[bytes, dict[tuple[str, str], None]] = {}
        """Members and codes of persons who have no handle."""
        self.authority = Authority(derive(self._root, "authority"), self.start_us)
        self.registry = Registry(self.authority, self.now_us, source=self._make_entry)
        self._shared = Shared()
        self.transport = MemoryTransport(loop, self.trace, self._reach, self.disturbance, latency_us)
        self.trace.before_commit = self._keep_under_way
        self.report = Report()
        self.blocks = Blocks()
        self._added: list[LegalBasis] = []
        self.expected: list[Expected] = []
        """The refusals that the scenario expected, and met."""
        self._teller = Teller()
        self._name_of: Callable[[str], tuple[str, str] | None] = lambda member: None
        self.add(Broker, BROKER)
        self._plan_crashes()

    # Time and chance.

    def now_us(self) -> int:
        """The true wall clock of the simulated world, µs since 1970 UTC."""
        return self._true_us()

    def now(self) -> datetime:
        """The true wall clock, in Japan's offset."""
        return datetime.fromtimestamp(self.now_us() / 1_000_000, tz=JST)

    def stream(self, name: str) -> Random:
        """A random stream of its own for a purpose."""
        return Random(int.from_bytes(derive(self._root, "stream", name), "big"))  # noqa: S311

    async def sleep(self, seconds: float) -> None:
        """Let virtual time pass. `UsageError` for what is no length of time, or leads out of the calendar."""
        check_seconds("sleep", "a time", seconds)
        if self.now_us() + seconds * 1_000_000 >= CALENDAR_ENDS_US:
            raise UsageError(
                f"sleep takes seconds that end before the year 10000, not {seconds!r}; sleep less"
            )
        await asyncio.sleep(seconds)

    # Who takes part.

    def add(self, cls: type[Node], address: str, **settings: Any) -> None:
        """Enrol a node. It is made, with keys and certificate, when it is first addressed."""
        if not (isinstance(cls, type) and issubclass(cls, Node)):
            wrong("add", "a class made from Node", cls, "write sim.add(Office, 'muni/01208/office')")
        check_address("add", address)
        if address in self._enrolled:
            raise UsageError(f"{address} is enrolled already; give the second node an address of its own")
        check_settings(cls, settings)
        if cls.zone not in set(Zone):
            raise UsageError(f"{cls.__name__}.zone is {cls.zone!r}; it is one of {', '.join(Zone)}")
        self._enrolled[address] = Enrolment(cls, settings)
        self._by_system.setdefault(address.rsplit("/", 1)[1], []).append(address)

    def allow(self, basis: LegalBasis) -> None:
        """Put one more row of the law in force. Its service must be one that somebody enrolled offers or takes by the end."""
        check_kind("allow", "a LegalBasis", basis, LegalBasis)
        try:
            self.policy.add(basis)
        except ValueError as error:
            raise UsageError(str(error)) from None
        self._added.append(basis)

    def allow_path(self, path: ZonePath) -> None:
        """Open one more crossing between zones."""
        check_kind("allow_path", "a ZonePath", path, ZonePath)
        self.policy.allow_path(path)

    def addresses(self, role: str = "*/*/*") -> list[str]:
        """The enrolled addresses that have a role, in order of enrolment."""
        if role in self._enrolled:
            return [role]
        if "*" not in role:
            return []
        # A nation has 34,820 systems of twenty kinds, and an event asks for one kind.
        system = role.rsplit("/", 1)[1]
        among = self._enrolled if system == "*" else self._by_system.get(system, ())
        return [address for address in among if names.matches(role, address)]

    def pushes(self) -> frozenset[str]:
        """The names of the pushes that anybody who is enrolled takes."""
        return frozenset(name for one in self._enrolled.values() for name in one.cls.takes())

    def declarations(self) -> dict[str, Declaration]:
        """What those who are enrolled offer or take, by name."""
        classes = dict.fromkeys(one.cls for one in self._enrolled.values())
        return {name: declaration for cls in classes for name, (declaration, _) in cls.declarations.items()}

    def name_members(self, name_of: Callable[[str], tuple[str, str] | None]) -> None:
        """Let a function say what a member is called, English and Japanese; None where its code must do."""
        self._name_of = name_of

    def names(self) -> dict[str, tuple[str, str]]:
        """What those who took part are called, English and Japanese: members, and systems by their addresses."""
        names: dict[str, tuple[str, str]] = {}
        for address in self.trace.parties:
            member = member_of(address) if is_address(address) else address
            name = self._name_of(member)
            if name is not None:
                names[member] = name
            cls = self._enrolled[address].cls if address in self._enrolled else Node
            if cls.title or cls.title_ja:
                names[address] = (cls.title or cls.title_ja, cls.title_ja or cls.title)
        return names

    @overload
    def node(self, address: str) -> Node: ...

    @overload
    def node(self, address: str, cls: type[AnyNode]) -> AnyNode: ...

    def node(self, address: str, cls: type[Node] = Node) -> Node:
        """The node at an address, made if need be; for scenarios that act as its staff.

        Raises `UsageError` if it was never enrolled, is down, or is of another class; `MeshError`
        recipient_unreachable while the run's faults keep it down.
        """
        node = self._find(address)
        if node is None and self._is_kept_down(address):
            raise MeshError("recipient_unreachable", f"{address} is down")
        if node is None:
            raise UsageError(f"no node at {address}: enrol it with sim.add, or restart it")
        if not isinstance(node, cls):
            raise UsageError(f"{address} is a {type(node).__name__}, not a {cls.__name__}")
        return node

    def keys_of(self, address: str) -> NodeKeys:
        """The private keys of a simulated node; they come from the seed."""
        return (
            self._changed[address].keys if address in self._changed else NodeKeys.derived(self._root, address)
        )

    def change_keys(self, address: str, *kinds: str, revoked: bool = False) -> None:
        """Give a node new keys, all three or those named (`signing`, `sealing`, `tls`); it may be up or down.

        The former ones stay listed until they expire: what was signed by them counts, and what was sealed for them
        opens. With `revoked` they count no more from now on.
        """
        self._check_enrolled("change_keys", address)
        for kind in kinds:
            if kind not in KINDS:
                raise UsageError(
                    f"change_keys: there is no kind of key {kind!r}; there are: {', '.join(KINDS)}"
                )
        self.registry.entry(address)  # Those of before, if nobody has asked for them yet.
        now_us, before = self.now_us(), self.keys_of(address)
        last = self._changed.get(address, Generation(0, now_us, before, (before.sealing,)))
        new = NodeKeys.derived(self._root, address, last.number + 1)
        keys = before.changed(new, kinds or KINDS, revoked=revoked)
        sealing = last.sealing if keys.sealing is before.sealing else (*last.sealing, keys.sealing)
        self._changed[address] = Generation(last.number + 1, now_us, keys, sealing)
        node = self._nodes.get(address)
        if node is not None:  # Before anybody can seal for them.
            node.party.take_keys(keys)
        # What happened in this very microsecond came before.
        self.registry.change_keys(address, revoked_us=now_us + 1 if revoked else None)

    def _make_entry(self, address: str) -> Entry | None:
        enrolment = self._enrolled.get(address)
        if enrolment is None:
            return None
        changed = self._changed.get(address)
        since_us = self.start_us if changed is None else changed.since_us
        record = key_record(
            self.authority,
            self.keys_of(address),
            from_us=since_us - 86_400_000_000,  # A clock that is behind must not take it for not yet valid.
            until_us=self._certified_until_us(),
        )
        cls = enrolment.cls
        return Entry(address, Zone(cls.zone), cls.offers(), (record,), cls.takes())

    def _certified_until_us(self) -> int:
        """Until when a certificate made now holds: two to three years, the same for all that are made in a term.

        So an entry is the same whoever was addressed first.
        """
        terms = (self.now_us() - self.start_us) // RENEWED_EVERY_US
        return min(self.start_us + CERTIFICATE_LIFE_US + terms * RENEWED_EVERY_US, TIME_MAX_US)

    def _reach(self, address: str) -> Node | None:
        """The node at an address as the transport finds it."""
        return None if address in self._offline else self._nodes.get(address) or self._find(address)

    def _find(self, address: str) -> Node | None:
        node = self._nodes.get(address)
        if (
            node is None
            and address in self._enrolled
            and address not in self._down
            and not self._is_kept_down(address)
        ):
            node = self._make(address)
        return node

    def _is_kept_down(self, address: str) -> bool:
        return self.faults is not None and self.faults.is_down(address, self.loop.now_us)

    def _make(self, address: str) -> Node:
        enrolment = self._enrolled[address]
        store = self._store_of(address, enrolment.cls)
        incarnation = store.next_number("incarnation")
        # A restarted node that drew the same numbers again would use message ids a second time.
        stream = f"node {address}" if incarnation == 1 else f"node {address} {incarnation}"
        host = Host(
            address,
            store=store,
            ledger=_ledger_of(address, store),
            loop=self.loop,
            carrier=self.transport,
            recorder=self.trace,
            random=self.stream(stream),
            now_us=self._clock_of(address),
            monotonic_us=self._monotonic_us,
            call_aside=self._call_aside,
        )
        host.failed = self.report.count_failure
        party = self._make_party(address, enrolment.cls.zone, host, str(incarnation))
        node = self._construct(enrolment.cls, host, party)
        for name, value in enrolment.settings.items():
            setattr(node, name, value)
        self._nodes[address] = node
        node.resume()
        return node

    def _call_aside(self, delay_us: int, callback: Callable[[], None]) -> None:
        self.loop.call_aside_at_us(self.loop.now_us + delay_us, callback)

    def _clock_of(self, address: str) -> Callable[[], int]:
        """A node's wall clock; all that are right are one."""
        skew_us = self._skews_us.get(address)
        if skew_us is None and self.faults is not None and (offset_us := self.faults.offset_us(address)):
            skew_us = self._skews_us[address] = offset_us
        return self._true_us if skew_us is None else lambda: self._true_us() + skew_us

    def _construct(self, cls: type[Node], host: Host, party: Party) -> Node:
        if issubclass(cls, Broker):
            return cls(host, party, self.policy, codes=self.codes, listeners=self._listeners)
        return cls(host, party, self.policy)

    def _make_party(self, address: str, zone: str, host: Host, incarnation: str) -> Party:
        def ephemeral(recipient: str, number: int) -> SealingKey:
            return SealingKey.from_seed(
                derive(self._root, "ephemeral", address, recipient, incarnation, str(number))
            )

        view = View(self.registry, self.authority.root_der, self._shared)
        view.lookup(address)
        return Party(
            address,
            zone,
            self.keys_of(address),
            view,
            sealer=Sealer(address, ephemeral, host.monotonic_us),
            new_id=host.new_id,
        )

    def _store_of(self, address: str, cls: type[Node]) -> Store:
        """The node's database; one in memory outlives a crash as a file would."""
        store = self._stores.get(address)
        if store is None:
            path = None
            if self._data is not None:
                path = self._data / f"{address.replace('/', '_')}.sqlite"
            try:
                store = self._stores[address] = Store(path, cls.schema)
            except sqlite3.Error as error:
                if is_of_place(error):
                    raise
                raise UsageError(f"{cls.__name__}.schema cannot be used: {error}; mend its SQL") from None
        return store

    def _listeners(self, event: str, role: str) -> Iterable[str]:
        for address in self.addresses(role):
            if event in self._enrolled[address].cls.takes():
                yield address

    # Persons.

    def resident(self, resident_code: str, handle: str | None = None) -> str:
        """The handle of this run, `r-000123`, of the person with a 住民票コード; given at first use."""
        known = self._handles.get(resident_code)
        if known is None:
            known = self._handles[resident_code] = handle or f"r-{len(self._persons) + 1:06d}"
            self._name(known, self.codes.person_of(resident_code))
        return known

    def _name(self, handle: str, person: bytes) -> None:
        self._persons[handle], self._handle_of[person] = person, handle
        for member, code in self._unnamed.pop(person, ()):
            self.trace.handle(handle, member, code)

    def _keep_code(self, member: str, person: bytes, code: str) -> None:
        """Keep on record whose code this is: only so can a trace show that all ledgers mean one person."""
        handle = self._handle_of.get(person)
        if handle is None:
            self._unnamed.setdefault(person, {})[member, code] = None
        else:
            self.trace.handle(handle, member, code)

    def code(self, member: str, handle: str) -> str:
        """A member's linkage code of a resident, as the code issuer would give it."""
        if is_address(member):
            raise UsageError(
                f"a code is one of a member, for all its systems: {member_of(member)}, not {member}"
            )
        if handle not in self._persons:
            raise UsageError(f"there is no resident {handle!r}: sim.resident(…) gives a handle first")
        person = self._persons[handle]
        # The broker's own code goes on record too: by it the person's history is found in a trace.
        for each in (member_of(BROKER), member):
            self.trace.handle(handle, each, self.codes.code(each, person))
        return self.codes.code(member, person)

    # What goes wrong.

    def crash(self, address: str) -> None:
        """Kill a node: what was not committed is gone, its tasks end, it is unreachable."""
        self._check_enrolled("crash", address)
        node = self._nodes.pop(address, None)
        if node is not None:
            node.host.kill()
        self._down[address] = None

    def restart(self, address: str) -> None:
        """Bring a node up again from its database; one that the run's faults keep down comes up when they end."""
        self._check_enrolled("restart", address)
        self._down.pop(address, None)
        if not self._is_kept_down(address):
            self.node(address)

    def _plan_crashes(self) -> None:
        """Set timers for the crashes of the run's faults: the first of each."""
        for one in self.faults.crashes if self.faults is not None else ():
            self.loop.call_at_us(one.span.from_us, self._crash_by_plan, one, one.span.from_us)

    def _crash_by_plan(self, one: InForce[Crash], at_us: int) -> None:
        """Kill all that have the role and are up; when the time is over, bring up all that ever were."""
        for address in [each for each in self._nodes if names.matches(one.fault.node, each)]:
            self._nodes.pop(address).host.kill()
            one.met += 1
        span = one.span
        if span.until_us is not None:
            self.loop.call_at_us(at_us + span.until_us - span.from_us, self._restart_by_plan, one.fault.node)
        if span.every_us is not None:
            again_us = at_us + span.every_us
            self.loop.call_aside_at_us(again_us, self._crash_by_plan, one, again_us)

    def _restart_by_plan(self, role: str) -> None:
        for address in [each for each in self._stores if names.matches(role, each)]:
            self._find(address)

    def offline(self, address: str) -> AbstractContextManager[None]:
        """The node cannot be reached meanwhile; it keeps running. Blocks may overlap, and it may crash inside."""
        self._check_enrolled("offline", address)
        return self.blocks.made(f"sim.offline({address!r})", self._out_of_reach(address))

    @contextmanager
    def _out_of_reach(self, address: str) -> Iterator[None]:
        self._offline[address] = self._offline.get(address, 0) + 1
        try:
            yield
        finally:
            self._offline[address] -= 1
            if not self._offline[address]:
                del self._offline[address]

    def skew(self, address: str, seconds: float) -> None:
        """Set a node's wall clock wrong; before the node is first addressed."""
        self._check_enrolled("skew", address)
        check_seconds("skew", "an offset", seconds, least=-inf)
        if address in self._nodes:
            raise UsageError(f"{address} is up already; set its clock before it is first addressed")
        self._skews_us[address] = round(seconds * 1_000_000)

    def _check_enrolled(self, call: str, address: object) -> None:
        """`UsageError` for whom nobody enrolled: nothing would happen to anybody."""
        check_address(call, address)
        if address not in self._enrolled:
            raise UsageError(
                f"{call} takes an enrolled node, and there is none at {address}; enrol it with sim.add first"
            )

    def transmit(self, sender: str, recipient: str, line: bytes) -> None:
        """Put raw bytes on the wire, as anybody could who reaches it."""
        check_kind("transmit", "a line as bytes", line, bytes)
        self.transport.send(sender, recipient, line)

    # What is expected.

    def expect(
        self,
        text: str,
        held: bool,
        *,
        text_ja: str | None = None,
        about: str | None = None,
        not_under: Collection[str] = (),
    ) -> bool:
        """State an expectation and whether it held; it points to a message, by default the last of this task.

        `not_under` names the fault plans that make it impossible, such as `packet_loss` for a count of lines: under
        these it is on record as not tried. `UsageError` for anything but True and False: a coroutine that nobody
        awaited would hold.
        """
        check_text("expect", "what is expected", text)
        check_truth("expect", "whether it held", held)
        check_names("expect", "not_under", not_under)
        message = last_message.get() if about is None else about
        tried = self.faults is None or self.faults.plan.name not in not_under
        one = Expectation(
            text, text_ja or text, held and tried, message or None, tried, self.trace.transmissions
        )
        self.trace.expectation(one)
        return held

    def refused(
        self, code: str, text: str, *, text_ja: str | None = None, not_under: Collection[str] = ()
    ) -> AbstractContextManager[None]:
        """Expect that what happens inside is refused with the code; `not_under` as `expect` has it."""
        if code not in CODES:
            raise UsageError(f"there is no code {code!r}; see mesh/errors.py for the table")
        check_text("refused", "what is expected", text)
        return self.blocks.made(
            f"sim.refused({code!r}, …)", self._expect_refusal(code, text, text_ja, not_under)
        )

    @contextmanager
    def _expect_refusal(
        self, code: str, text: str, text_ja: str | None, not_under: Collection[str]
    ) -> Iterator[None]:
        since = self.trace.transmissions
        try:
            yield
        except MeshError as error:
            if error.code == code:
                self.expected.append(Expected(since, self.trace.transmissions, code))
            said = text if error.code == code else f"{text} (refused with {error.code} instead)"
            self.expect(said, error.code == code, text_ja=text_ja, not_under=not_under)
        else:
            self.expect(f"{text} (it was not refused)", False, text_ja=text_ja, not_under=not_under)

    # What it meant for the resident.

    def tell(self, text: str, text_ja: str, *, about: Sequence[str] | None = None) -> None:
        """Add a sentence to the story of the report.

        It owns the messages since the sentence before it; or those with the ids that `about` names, and what answers
        them. Raises `UsageError` if nothing was sent under them.
        """
        check_text("tell", "a sentence", text)
        check_text("tell", "a sentence in Japanese", text_ja)
        if about is None:
            messages = self._teller.since_last(self.trace.transmissions)
        else:
            found = self.trace.about(about)
            if not found:
                raise UsageError(f"no message was sent with the id {', '.join(about) or '(none given)'}")
            messages = self._teller.given(found)
        sentence = Sentence(text, text_ja, messages)
        self.report.story.append(sentence)
        self.trace.sentence(sentence)

    def moment(self) -> int:
        """How many rows all ledgers have by now: from where on `saved(since=…)` looks."""
        return self.trace.ledger_size

    def saved(self, paper: Paper, *persons: str, by: str | None = None, since: int = 0) -> None:
        """Claim that a paper of a person was not needed; the report holds it against the ledgers.

        It counts only if by now there is an answer, or a delivered message, that the paper says replaces it, about each
        of these residents, and from no other claim; else the paper is listed as needed after all. `by` is who asked, if
        only that one's questions count, and `since` a `moment()` before them: what is about no person cannot be told
        apart otherwise. Raises `UsageError` for an unknown resident.
        """
        self._check_residents(persons)
        self.report.claims.append(Claim(paper, persons, by, since, self.moment()))

    def fell_back(self, paper: Paper, why: str, why_ja: str) -> None:
        """A paper that was needed after all, for a reason that no exchange shows; else `saved` says so by itself."""
        self.report.fallbacks.append(Fallback(paper.name, paper.name_ja, why, why_ja))

    def uploaded(self, paper: Paper) -> None:
        """A paper that is attached as before, as a file of the application: nothing on the mesh replaces it."""
        self.report.uploads.append(paper)

    def reached(
        self,
        push: EventType | NoticeType[Any],
        eligible: Sequence[str] = (),
        *,
        mistaken: Sequence[str] = (),
        accepts: PersonalService[Any, Any] | None = None,
        declines: PersonalService[Any, Any] | None = None,
        by: str | None = None,
    ) -> None:
        """Claim that a push was sent to residents; the report counts whom it reached, and what they did.

        `eligible` are those whom it should reach and `mistaken` those whom it should not have, or who were put before an
        official without need; `accepts` and `declines` are the services by which a person answers. Who was reached, and
        who answered, is read from the ledgers at the end of the run; `by` is who pushed, if only that one's pushes count.
        Calls add up. Raises `UsageError` for an unknown resident. See `mesh.reach.Reach`.
        """
        self._check_residents((*eligible, *mistaken))
        names = [None if one is None else one.name for one in (accepts, declines)]
        self.report.invitations.append(
            Invitation(push.name, tuple(eligible), tuple(mistaken), names[0], names[1], by)
        )

    def _check_residents(self, handles: Iterable[str]) -> None:
        for handle in handles:
            if handle not in self._persons:
                raise UsageError(f"there is no resident {handle!r}: sim.resident(…) gives a handle first")

    def code_of(self, member: str, handle: str) -> str | None:
        """A member's linkage code of a resident, without a record that it was given; None for an unknown resident."""
        person = self._persons.get(handle)
        return None if person is None else self.codes.code(member, person)

    # The end.

    def check_use(self) -> None:
        """`UsageError` for what a scenario wrote that had no effect: a block never entered, a row about nothing."""
        self.blocks.check()
        known = {name: items for one in self._enrolled.values() for name, items in _items_of(one.cls).items()}
        for basis in self._added:
            items = known.get(basis.service)
            if items is None:
                near = get_close_matches(basis.service, known, n=1)
                hint = f"did you mean {near[0]}?" if near else "enrol a node that does, or leave the row out"
                raise UsageError(f"allow: nobody enrolled offers or takes {basis.service!r}; {hint}")
            check_names(f"allow, for {basis.service}", "items", basis.items, items)

    def close(self) -> None:
        """Sign every ledger's head, put the rest on record, and close every database."""
        for node in self._nodes.values():
            node.finish()
        # A node that is down stays down: the loop has ended, and there is nothing left to take up work in.
        down = [*self._down, *(each for each in self._stores if self._is_kept_down(each))]
        stopped = {address: self._stores[address] for address in down if address in self._stores}
        for address, store in stopped.items():
            self._sign_last_head(address, store)
        self.transport.close()
        for person in list(self._unnamed):
            self._name(f"r-{len(self._persons) + 1:06d}", person)
        self.trace.before_commit = None
        self.trace.registry(self.registry, self.authority.root_der)
        for address in (*self._nodes, *stopped):
            changed = self._changed.get(address)
            kept = (self.keys_of(address).sealing,) if changed is None else changed.sealing
            self.trace.keep_sealing_keys(address, kept)
        self.abandon()

    def abandon(self) -> None:
        """End without a word: what waits is gone, and every database is closed."""
        for node in self._nodes.values():
            node.host.kill()
        for store in self._stores.values():
            store.close()
        self._nodes.clear()

    def _keep_under_way(self) -> None:
        """What a trace needs so that it verifies as far as it goes."""
        self.trace.under_way(self.registry, self.authority.root_der, self.transport.under_way())

    def _sign_last_head(self, address: str, store: Store) -> None:
        """Sign the head of a node that is down over what it had committed."""
        now_us = self.now_us() + self._skews_us.get(address, 0)
        ledger = _ledger_of(address, store)
        self.trace.tree_head(address, ledger.sign_head(self.keys_of(address).signing, now_us))


def _items_of(cls: type[Node]) -> dict[str, tuple[str, ...]]:
    """What a class offers and takes, by name, with its items; an event has none."""
    return {name: getattr(one, "items", ()) for name, (one, _) in cls.declarations.items()}


def _ledger_of(address: str, store: Store) -> Ledger:
    """The growing end of a node's ledger; it takes the last rows alone, however many there are."""
    grown = store.grown()
    return Ledger(address, store.ledger_rows(grown[0]), grown)
