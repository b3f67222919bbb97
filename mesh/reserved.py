"""Names that the engine keeps for itself in a node's class, and the few that are its author's to set.

A node's class is its author's, but the engine's methods and attributes stand on it too. A name of the author's that
happens to be one of them would break the engine in silence: `_begin` would end every question in a time-out, `kinds`
would give wrong answers. So it is refused when the class is made.
"""

from __future__ import annotations

import dis
from collections.abc import Iterable, Iterator
from inspect import iscoroutinefunction, signature
from types import CodeType, FunctionType
from typing import Any, Final

from mesh.errors import UsageError
from mesh.service import DeclarationError

TEXTS: Final = ("schema", "title", "title_ja", "zone")
"""Attributes that an author's class may set: its tables, what it is called, where it stands."""
METHODS: Final = {"log": ("error",), "start": (), "undelivered": ("letter",)}
"""Methods that an author's class may write, with what each is given: what failed inside; nothing, when it comes up; a push of its own
that was given up."""
HOOKS: Final = frozenset((*TEXTS, *METHODS))

_STORE: Final = dis.opmap["STORE_ATTR"]


_ENGINE: Final[dict[type, frozenset[str]]] = {}
"""The classes of the engine, with the names that each keeps for itself."""


def keep_names(cls: type) -> None:
    """Take a class into the engine: its names, and those that it sets on an instance, are no author's from here on."""
    _ENGINE[cls] = frozenset(_own_names(cls)) - HOOKS


def kept_names(cls: type) -> frozenset[str]:
    """The names of the engine that a class is made from."""
    return frozenset[str]().union(*(_ENGINE.get(base, ()) for base in cls.__mro__))


def check_names(cls: type) -> None:
    """Check the names of an author's class, and of what is mixed into it, before the engine reads them.

    `DeclarationError` for one that the engine keeps for itself, and for a hook that it could not use.
    """
    kept = kept_names(cls)
    for base in cls.__mro__:
        if base is not cls and not _ENGINE.keys().isdisjoint(base.__mro__):
            continue  # The engine's, or checked when it was made.
        for name in _own_names(base):
            if name in kept:
                raise DeclarationError(
                    f"{base.__qualname__}.{name} stands in the way of the mesh: every node has a {name} of its own; "
                    f"call it something else (a class made from Node may set {', '.join(sorted(HOOKS))})"
                )
            if name in HOOKS and name in vars(base):
                _check_hook(base, name, vars(base)[name])


def check_settings(cls: type, names: Iterable[str]) -> None:
    """`UsageError` unless each is an attribute of the class that one node may have otherwise."""
    for name in names:
        if not hasattr(cls, name):
            raise UsageError(f"{cls.__name__} has no setting {name}; declare it as a class attribute")
        if name in HOOKS or name in kept_names(cls) or isinstance(getattr(cls, name), FunctionType):
            raise UsageError(
                f"{cls.__name__}.{name} is the same for all its nodes; make a class of its own from it to change that"
            )


def _check_hook(cls: type, name: str, value: Any) -> None:
    if name in TEXTS:
        if not isinstance(value, str):
            raise DeclarationError(f"{cls.__qualname__}.{name} is a text, not {type(value).__name__}")
        return
    takes = METHODS[name]
    try:
        fits = isinstance(value, FunctionType) and not iscoroutinefunction(value)
        signature(value).bind(None, *takes)
    except TypeError:
        fits = False
    if not fits:
        raise DeclarationError(
            f"{cls.__qualname__}.{name} is called by the mesh: write def {name}({', '.join(('self', *takes))}), not async"
        )


def _own_names(cls: type) -> Iterator[str]:
    """What a class declares, and what its methods set on `self`."""
    for name, value in vars(cls).items():
        if not (name.startswith("__") and name.endswith("__")):
            yield name
        function = getattr(value, "__func__", getattr(value, "fget", value))
        if isinstance(function, FunctionType) and function.__code__.co_argcount:
            yield from _set_on(function.__code__, function.__code__.co_varnames[0])


def _set_on(code: CodeType, variable: str) -> Iterator[str]:
    """The attributes that code sets on a variable of it, in functions inside it too."""
    if _STORE in code.co_code[::2]:
        before = None
        for step in dis.get_instructions(code):
            if step.opcode == _STORE and before is not None and before.argval == variable:
                yield step.argval
            before = step
    for constant in code.co_consts:
        if isinstance(constant, CodeType) and variable in constant.co_freevars:
            yield from _set_on(constant, variable)
