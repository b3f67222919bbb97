"""A fault plan: what goes wrong in a run, where, when and how often, as a TOML file says it.

Each kind of fault is a table that may stand several times, such as `[[loss]]`. Times are seconds of mesh time since
the run began. `node`, `sender` and `recipient` are addresses or roles (`muni/*/tax`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, NamedTuple

import msgspec
from msgspec import Meta, Struct

from mesh.errors import UsageError
from mesh.names import is_role

SIZE_MAX: Final = 256 * 1024
"""Bytes of a plan's file."""
SECONDS_MAX: Final = 10 * 365 * 86_400
ANYBODY: Final = "*/*/*"

Seconds = Annotated[float, Meta(ge=0, le=SECONDS_MAX)]
Length = Annotated[float, Meta(ge=0.000001, le=SECONDS_MAX)]
Chance = Annotated[float, Meta(gt=0, le=1)]
Title = Annotated[str, Meta(min_length=1, max_length=200)]
Both = tuple[str, str]
"""The same in English and Japanese."""


class Span(NamedTuple):
    """From when until when something is wrong, and after how long again; µs since the run began."""

    from_us: int
    until_us: int | None
    every_us: int | None

    def covers(self, now_us: int) -> bool:
        """Whether it is wrong at that time; the first µs counts, the last does not."""
        since_us = now_us - self.from_us
        if since_us < 0 or self.until_us is None:
            return since_us >= 0
        if self.every_us is not None:
            since_us %= self.every_us
        return since_us < self.until_us - self.from_us

    @property
    def said(self) -> Both:
        """The span in words; nothing for all of the run."""
        start, start_ja = _length(self.from_us)
        if self.until_us is None:
            return (f", from {start} on", f"、{start_ja}以降") if self.from_us else ("", "")
        stop, stop_ja = _length(self.until_us)
        en, ja = f", from {start} to {stop}", f"、{start_ja}から{stop_ja}まで"
        if self.every_us is None:
            return en, ja
        again, again_ja = _length(self.every_us)
        return f"{en} and again every {again}", f"{ja}（{again_ja}ごとに繰り返す）"


class Fault(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One thing that goes wrong."""

    effect: ClassVar[Both] = ("", "")
    """What is counted of it."""

    @property
    def span(self) -> Span:
        """When it is wrong."""
        return Span(0, None, None)

    @property
    def roles(self) -> tuple[str, ...]:
        """Whom it is about."""
        return ()

    @property
    def said(self) -> Both:
        """The fault in one phrase."""
        raise NotImplementedError


class Timed(Fault, frozen=True, kw_only=True):
    """A fault with a beginning and an end; with `every_s` it comes again."""

    from_s: Seconds = 0.0
    until_s: Seconds | None = None
    every_s: Length | None = None

    @property
    def span(self) -> Span:
        """When it is wrong."""
        return Span(_us(self.from_s), _us_or_none(self.until_s), _us_or_none(self.every_s))


class OnTheWay(Timed, frozen=True, kw_only=True):
    """A fault that meets single lines, by chance, and at most so many `times`."""

    sender: str = ANYBODY
    recipient: str = ANYBODY
    chance: Chance = 1.0
    times: Annotated[int, Meta(ge=1, le=2**53)] | None = None

    @property
    def roles(self) -> tuple[str, ...]:
        """Whom it is about."""
        return self.sender, self.recipient

    @property
    def which(self) -> Both:
        """The lines that it meets."""
        lines, lines_ja = "all lines", "全電文"
        if self.roles != (ANYBODY, ANYBODY):
            (one, one_ja), (other, other_ja) = map(_who, self.roles)
            lines, lines_ja = f"lines {one} → {other}", f"{one_ja} → {other_ja}の電文"
        if self.chance < 1:
            percent = _plain(self.chance * 100)
            lines, lines_ja = f"{percent} % of {lines}", f"{lines_ja}の{percent}%"
        if self.times is not None:
            lines, lines_ja = f"{lines}, at most {self.times}", f"{lines_ja}、最大{self.times}件"
        when, when_ja = self.span.said
        return f"{lines}{when}", f"{lines_ja}{when_ja}"


class Loss(OnTheWay, frozen=True, kw_only=True):
    """Packet loss: a line vanishes, and nobody is told."""

    effect: ClassVar[Both] = ("lines lost", "失われた電文")

    @property
    def said(self) -> Both:
        """The fault in one phrase."""
        return f"packet loss: {self.which[0]}", f"パケットロス：{self.which[1]}"


class Delay(OnTheWay, frozen=True, kw_only=True):
    """Delay: a line comes later, by `delay_s` and up to `jitter_s` more; with jitter lines overtake each other."""

    delay_s: Seconds
    jitter_s: Seconds = 0.0
    effect: ClassVar[Both] = ("lines late", "遅れた電文")

    @property
    def said(self) -> Both:
        """The fault in one phrase."""
        least = _plain(self.delay_s)
        most = f"–{_plain(self.delay_s + self.jitter_s)}" if self.jitter_s else ""
        return f"delay of {least}{most} s: {self.which[0]}", f"遅延 {least}{most}秒：{self.which[1]}"


class Duplicate(OnTheWay, frozen=True, kw_only=True):
    """Duplicate delivery: a line arrives, and once more `after_s` later."""

    after_s: Seconds = 1.0
    effect: ClassVar[Both] = ("lines twice", "二重に届いた電文")

    @property
    def said(self) -> Both:
        """The fault in one phrase."""
        after = _plain(self.after_s)
        return (
            f"duplicate delivery after {after} s: {self.which[0]}",
            f"二重配送（{after}秒後）：{self.which[1]}",
        )


class Partition(Timed, frozen=True, kw_only=True):
    """Network partition: what one side sends to the other vanishes, both ways, and nobody is told."""

    between: tuple[str, str]
    effect: ClassVar[Both] = ("lines lost", "失われた電文")

    @property
    def roles(self) -> tuple[str, ...]:
        """Whom it is about."""
        return self.between

    @property
    def said(self) -> Both:
        """The fault in one phrase."""
        (one, one_ja), (other, other_ja) = map(_who, self.between)
        when, when_ja = self.span.said
        return f"partition: {one} ↔ {other}{when}", f"ネットワーク分断：{one_ja} ↔ {other_ja}{when_ja}"


class Outage(Timed, frozen=True, kw_only=True):
    """Outage: a node is off the network and goes on working; who sends to it is told that it is unreachable."""

    node: str
    effect: ClassVar[Both] = ("lines lost or turned away", "失われた・不達の電文")

    @property
    def roles(self) -> tuple[str, ...]:
        """Whom it is about."""
        return (self.node,)

    @property
    def said(self) -> Both:
        """The fault in one phrase."""
        (who, who_ja), (when, when_ja) = _who(self.node), self.span.said
        return f"outage: {who} offline{when}", f"オフライン：{who_ja}{when_ja}"


class Crash(Fault, frozen=True, kw_only=True):
    """Crash: a node dies at `at_s`, loses what it had not committed, and comes up from its database at `back_s`."""

    node: str
    at_s: Seconds
    back_s: Seconds | None = None
    every_s: Length | None = None
    effect: ClassVar[Both] = ("crashes", "停止")

    @property
    def span(self) -> Span:
        """While it is down."""
        return Span(_us(self.at_s), _us_or_none(self.back_s), _us_or_none(self.every_s))

    @property
    def roles(self) -> tuple[str, ...]:
        """Whom it is about."""
        return (self.node,)

    @property
    def said(self) -> Both:
        """The fault in one phrase."""
        (who, who_ja), (when, when_ja) = _who(self.node), self.span.said
        return f"crash: {who} down{when}", f"異常停止：{who_ja}{when_ja}"


class Clock(Fault, frozen=True, kw_only=True):
    """Wrong clock: a node's wall clock is `offset_s` ahead, or behind if negative, for all of the run."""

    node: str
    offset_s: Annotated[float, Meta(ge=-SECONDS_MAX, le=SECONDS_MAX)]
    effect: ClassVar[Both] = ("nodes", "ノード")

    @property
    def roles(self) -> tuple[str, ...]:
        """Whom it is about."""
        return (self.node,)

    @property
    def said(self) -> Both:
        """The fault in one phrase."""
        (who, who_ja), by = _who(self.node), _plain(abs(self.offset_s))
        way, way_ja = ("behind", "遅れ") if self.offset_s < 0 else ("ahead", "進み")
        return f"wrong clock: {who} {by} s {way}", f"時計のずれ：{who_ja}が{by}秒{way_ja}"


class Plan(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """All that goes wrong in a run. `name` is that of its file."""

    name: str
    title: Title
    title_ja: Title
    loss: tuple[Loss, ...] = ()
    delay: tuple[Delay, ...] = ()
    duplicate: tuple[Duplicate, ...] = ()
    partition: tuple[Partition, ...] = ()
    outage: tuple[Outage, ...] = ()
    crash: tuple[Crash, ...] = ()
    clock: tuple[Clock, ...] = ()

    @property
    def faults(self) -> tuple[Fault, ...]:
        """All of them, kind by kind."""
        return tuple(one for kind in KINDS for one in getattr(self, kind))

    def as_json(self) -> dict[str, Any]:
        """The plan as `list --json` gives it."""
        said = [dict(zip(("text", "text_ja"), one.said, strict=True)) for one in self.faults]
        return {"name": self.name, "title": self.title, "title_ja": self.title_ja, "faults": said}


KINDS: Final[Mapping[str, type[Fault]]] = {
    "loss": Loss,
    "delay": Delay,
    "duplicate": Duplicate,
    "partition": Partition,
    "outage": Outage,
    "crash": Crash,
    "clock": Clock,
}  # fmt: skip
"""The tables of a plan."""
_TOP: Final = ("title", "title_ja", *KINDS)


def read_plan(path: Path) -> Plan:
    """The plan of a TOML file; `UsageError` says in one line what is wrong with it, and how it is right."""
    import tomllib  # Only a run with faults reads TOML.

    try:
        with path.open("rb") as file:
            data = file.read(SIZE_MAX + 1)
        if len(data) > SIZE_MAX:
            raise UsageError(f"{path} is larger than {SIZE_MAX} bytes; a fault plan is a short TOML file")
        said = tomllib.loads(data.decode())
    except OSError as error:
        raise UsageError(f"cannot read the fault plan {path}: {error.strerror}; name a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{path} is no TOML: {' '.join(str(error).split())}; see toml.io") from None
    try:
        if "name" in said:
            raise _Wrong("name", "a plan has the name of its file")
        return _made({"name": path.stem} | said)
    except _Wrong as wrong:
        raise UsageError(f"{path}: {wrong}") from None


def recorded_plan(said: Any) -> Plan | None:
    """The plan that a trace says it was made under; None for what is none."""
    try:
        return None if said is None else _made(said)
    except _Wrong:
        return None


class _Wrong(Exception):
    """What is wrong with a plan, at which place of it."""

    def __init__(self, place: str, what: str) -> None:
        super().__init__(f"{place}: {what}" if place else what)


def _made(said: Any) -> Plan:
    try:
        plan = msgspec.convert(said, Plan)
    except (msgspec.ValidationError, RecursionError) as error:
        what, _, place = str(error).partition(" - at `$")
        place = place.rstrip("`").removeprefix(".")
        table = KINDS.get(place.partition("[")[0])
        names = _TOP if table is None else [field.name for field in msgspec.structs.fields(table)]
        raise _Wrong(place, f"{what[:1].lower()}{what[1:]}; it has {', '.join(names)}") from None
    for title in (plan.title, plan.title_ja):
        if not title.isprintable():
            raise _Wrong("title", "a title is one line of printable text")
    if not plan.faults:
        raise _Wrong("", f"nothing goes wrong in it; give a table such as [[loss]]: {', '.join(KINDS)}")
    for kind in KINDS:
        for number, fault in enumerate(getattr(plan, kind)):
            _check(f"{kind}[{number}]", fault)
    return plan


def _check(place: str, fault: Fault) -> None:
    """What the types cannot say."""
    for role in fault.roles:
        if not is_role(role):
            raise _Wrong(place, f"{role!r} is no role; write it like muni/01208/tax or muni/*/tax")
    from_us, until_us, every_us = fault.span
    names = ("at_s", "back_s") if isinstance(fault, Crash) else ("from_s", "until_s")
    if until_us is not None and until_us <= from_us:
        raise _Wrong(place, f"{names[1]} is not after {names[0]}; let it be more")
    if every_us is not None and (until_us is None or every_us <= until_us - from_us):
        raise _Wrong(place, f"every_s is longer than what it repeats; give {names[1]}, and a longer every_s")


def _us(seconds: float) -> int:
    return round(seconds * 1_000_000)


def _us_or_none(seconds: float | None) -> int | None:
    return None if seconds is None else _us(seconds)


def _length(us: int) -> Both:
    """A time since the beginning, in hours if it is whole ones."""
    hours, rest_us = divmod(us, 3_600_000_000)
    if hours and not rest_us:
        return f"{hours} h", f"{hours}時間"
    seconds = _plain(us / 1_000_000)
    return f"{seconds} s", f"{seconds}秒"


def _plain(number: float) -> str:
    """A number as a person writes it, without an exponent."""
    return f"{number:.6f}".rstrip("0").rstrip(".")


def _who(role: str) -> Both:
    return ("anybody", "全ノード") if role == ANYBODY else (role, role)
