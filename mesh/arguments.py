"""What authors of nodes and scenarios hand over, checked where they hand it over: one line says what is wrong.

Types are checked at run time too, because scenarios are scripts that no type checker may ever see, and a wrong
argument would show only as somebody else's refusal, much later. Every check raises `UsageError`.
"""

from __future__ import annotations

from collections.abc import Iterable
from inspect import isawaitable, iscoroutine
from math import isfinite
from typing import Any, NoReturn

from mesh.errors import UsageError
from mesh.names import is_address


def wrong(call: str, wants: str, value: object, hint: str = "give it that") -> NoReturn:
    """Say what a call takes, and what it was given, by its type and never its content; then how to mend it."""
    if iscoroutine(value):
        value.close()  # It is said here that nobody awaits it.
        hint = "write await in front of it"
    elif isawaitable(value):
        hint = "write await in front of it"
    raise UsageError(f"{call} takes {wants}, not {given(value)}; {hint}")


def given(value: object) -> str:
    """How a wrong value is called: a class by its name, anything else by its type."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if iscoroutine(value):
        return f"the coroutine {value.__qualname__}"
    kind = type(value).__name__
    return f"{'an' if kind[:1].lower() in 'aeiou' else 'a'} {kind}"


def check_text(call: str, what: str, value: object, hint: str = "write it in quotes") -> None:
    """A text that is not empty."""
    if not isinstance(value, str):
        wrong(call, f"{what} as text", value, hint)
    if not value:
        raise UsageError(f"{call} takes {what} as text, not an empty one; {hint}")


def check_address(call: str, value: object) -> None:
    """A text that could name a node; whether it does, the registry says."""
    if not isinstance(value, str):
        address = getattr(value, "address", None)
        hint = (
            f"name its address, {address!r}" if isinstance(address, str) else "write it as 'muni/01208/tax'"
        )
        wrong(call, "an address", value, hint)
    if not is_address(value):
        raise UsageError(
            f"{call} takes an address, and {value!r} is none; write kind/code/system, as muni/01208/tax"
        )


def check_names(call: str, what: str, value: object, known: Iterable[str] | None = None) -> None:
    """Several names, not one text, whose letters would be taken one by one; of those that are known."""
    if isinstance(value, str):
        raise UsageError(f"{call} takes {what} as a list of names, not one text; write [{value!r}]")
    if not isinstance(value, Iterable):
        wrong(call, f"{what} as a list of names", value, "write them in brackets")
    names = list(value)
    other = next((name for name in names if not isinstance(name, str)), None)
    if other is not None:
        wrong(call, f"{what} as names", other, "write each in quotes")
    if known is not None:
        known = list(known)
        unknown = next((name for name in names if name not in known), None)
        if unknown is not None:
            raise UsageError(f"{call}: there is no item {unknown!r}; there are: {', '.join(known) or 'none'}")


def check_whole(call: str, what: str, value: object, least: int) -> None:
    """A whole number, at least so much."""
    if not isinstance(value, int) or isinstance(value, bool):
        wrong(call, f"{what} as a whole number", value)
    if value < least:
        raise UsageError(f"{call} takes {what} from {least} up, not {value}; give a larger number")


def check_seconds(call: str, what: str, value: object, *, least: float = 0.0) -> None:
    """A finite number of seconds, at least so many."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        wrong(call, f"{what} in seconds", value)
    if not isfinite(value) or value < least:
        raise UsageError(
            f"{call} takes {what} in seconds, finite and not below {least:g}, not {value!r}; give such a number"
        )


def check_kind(call: str, wants: str, value: object, kind: type[Any] | tuple[type[Any], ...]) -> None:
    """A value of a type."""
    if not isinstance(value, kind):
        wrong(call, wants, value)


def check_truth(call: str, what: str, value: object) -> None:
    """Exactly True or False: a coroutine, a list or a number would always, or by chance, be taken for True."""
    if not isinstance(value, bool):
        wrong(call, f"{what} as True or False", value, "compare it with what it should be")
