"""What can go wrong: each kind of fault, when it is there, whom it is about, and what a person calls it."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final

from msgspec import Meta, Struct

from mesh.faults.span import SECONDS_MAX, Both, Length, Seconds, Span, plain

ANYBODY: Final = "*/*/*"

Chance = Annotated[float, Meta(gt=0, le=1)]


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
        return Span.of(self.from_s, self.until_s, self.every_s)


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
            percent = plain(self.chance * 100)
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
        least = plain(self.delay_s)
        most = f"–{plain(self.delay_s + self.jitter_s)}" if self.jitter_s else ""
        return f"delay of {least}{most} s: {self.which[0]}", f"遅延 {least}{most}秒：{self.which[1]}"


class Duplicate(OnTheWay, frozen=True, kw_only=True):
    """Duplicate delivery: a line arrives, and once more `after_s` later."""

    after_s: Seconds = 1.0
    effect: ClassVar[Both] = ("lines twice", "二重に届いた電文")

    @property
    def said(self) -> Both:
        """The fault in one phrase."""
        after = plain(self.after_s)
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


class OfNode:
    """What the faults of single nodes have alike."""

    __slots__ = ()
    node: str

    @property
    def roles(self) -> tuple[str, ...]:
        """Whom it is about."""
        return (self.node,)

    @property
    def who(self) -> Both:
        """The node or the nodes in words."""
        return _who(self.node)


class Outage(OfNode, Timed, frozen=True, kw_only=True):
    """Outage: a node is off the network and goes on working; who sends to it is told that it is unreachable."""

    node: str
    effect: ClassVar[Both] = ("lines lost or turned away", "失われた・不達の電文")

    @property
    def said(self) -> Both:
        """The fault in one phrase."""
        (who, who_ja), (when, when_ja) = self.who, self.span.said
        return f"outage: {who} offline{when}", f"オフライン：{who_ja}{when_ja}"


class Crash(OfNode, Fault, frozen=True, kw_only=True):
    """Crash: a node dies at `at_s`, loses what it had not committed, and comes up from its database at `back_s`."""

    node: str
    at_s: Seconds
    back_s: Seconds | None = None
    every_s: Length | None = None
    effect: ClassVar[Both] = ("crashes", "停止")

    @property
    def span(self) -> Span:
        """While it is down."""
        return Span.of(self.at_s, self.back_s, self.every_s)

    @property
    def said(self) -> Both:
        """The fault in one phrase."""
        (who, who_ja), (when, when_ja) = self.who, self.span.said
        return f"crash: {who} down{when}", f"異常停止：{who_ja}{when_ja}"


class Clock(OfNode, Fault, frozen=True, kw_only=True):
    """Wrong clock: a node's wall clock is `offset_s` ahead, or behind if negative, for all of the run."""

    node: str
    offset_s: Annotated[float, Meta(ge=-SECONDS_MAX, le=SECONDS_MAX)]
    effect: ClassVar[Both] = ("nodes", "ノード")

    @property
    def said(self) -> Both:
        """The fault in one phrase."""
        (who, who_ja), by = self.who, plain(abs(self.offset_s))
        way, way_ja = ("behind", "遅れ") if self.offset_s < 0 else ("ahead", "進み")
        return f"wrong clock: {who} {by} s {way}", f"時計のずれ：{who_ja}が{by}秒{way_ja}"


def _who(role: str) -> Both:
    return ("anybody", "全ノード") if role == ANYBODY else (role, role)
