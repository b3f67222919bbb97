"""A fault plan: what goes wrong in a run, where, when and how often, as a TOML file says it.

Each kind of fault is a table that may stand several times, such as `[[loss]]`. Times are seconds of mesh time since
the run began. `node`, `sender` and `recipient` are addresses or roles (`muni/*/tax`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from mesh.errors import UsageError
from mesh.faults.fault import Clock, Crash, Delay, Duplicate, Fault, Loss, Outage, Partition
from mesh.names import is_role
from mesh.textfile import decode_text

SIZE_MAX: Final = 256 * 1024
"""Bytes of a plan's file."""

Title = Annotated[str, Meta(min_length=1, max_length=200)]


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
        said = tomllib.loads(decode_text(data, str(path)))
    except OSError as error:
        raise UsageError(f"cannot read the fault plan {path}: {error.strerror}; name a TOML file") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
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
