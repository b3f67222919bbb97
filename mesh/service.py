"""What nodes offer and listen to, declared once: services, pushes, and the decorators that serve them.

Dispatch, catalogue, policy, OpenAPI, AsyncAPI and viewer all read these declarations. A declaration is
checked when it is made, so that a service that could carry a personal number cannot exist.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Generic, TypeVar, get_args, get_origin, get_type_hints, overload

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from mesh import names
from mesh.message import decode_content

Q = TypeVar("Q", bound=Struct)
R = TypeVar("R", bound=Struct)
N = TypeVar("N")

Code = Annotated[str, Meta(pattern=r"^[a-z]+/[a-z0-9-]+:[A-Za-z0-9_-]{43}$")]
"""A linkage code as a field of a service."""
Word = Annotated[str, Meta(max_length=11)]
"""A short text; too short for a personal number."""
Name = Annotated[str, Meta(max_length=60, pattern=r"^[^0-9０-９]*$")]
"""A name or phrase without digits."""
Date = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
"""A calendar date, `2026-04-01`."""
Month = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}$")]
"""A calendar month, `2026-04`."""
MessageId = Annotated[str, Meta(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
"""The id of a message."""

_PROBES = (
    "123456789018",
    "1234-5678-9018",
    "1234 5678 9018",
    "１２３４５６７８９０１８",
    "-123456789018",
    "999999999999",
)


class DeclarationError(TypeError):
    """A service is declared in a way that the mesh does not allow; the text says how to mend it."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as the broker's permit says: all of it verified."""

    address: str
    procedure: str | None
    items: frozenset[str]
    consent: str | None
    """The consent that the broker accepted, as the portal signed it."""
    message: str
    """The id of the request or push."""
    basis: str
    """The id of the row that permits it; `none` for a service that is about no person and unrestricted."""


class _Question(Generic[Q, R]):
    """What both kinds of service have in common."""

    personal: bool

    def __init__(
        self, name: str, query: type[Q], reply: type[R], *, title: str, title_ja: str, direct: bool = False
    ) -> None:
        if not names.is_service(name):
            raise DeclarationError(f"a service is named like tax.income.v1, not {name!r}")
        self.name = name
        self.query = query
        self.reply = reply
        self.title = title
        self.title_ja = title_ja
        fields = msgspec.structs.fields(reply)
        self.items = tuple(sorted(field.encode_name for field in fields))
        self.fixed_items = frozenset(field.encode_name for field in fields if not _may_be_unset(field.type))
        """Items that every answer has: the others are `T | UnsetType` and can be left out."""
        self.batched = "subjects" in query.__struct_fields__
        """Whether a question names subjects besides the one of its permit."""
        self._query_decoder = msgspec.json.Decoder(query)
        self._reply_decoder = msgspec.json.Decoder(reply)
        if self.personal:
            for struct in (query, reply):
                _check_no_number_fits(name, struct)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def decode_query(self, data: bytes) -> Q:
        """A query from its JSON; `MeshError` schema_invalid or seal_invalid."""
        return decode_content(data, self._query_decoder)

    def decode_reply(self, data: bytes) -> R:
        """A reply from its JSON; `MeshError` schema_invalid or seal_invalid."""
        return decode_content(data, self._reply_decoder)

    def without_unasked(self, reply: R, items: frozenset[str]) -> R:
        """The reply with every field removed that was not asked for: nobody gets more than the items."""
        surplus = {
            name: UNSET
            for name in self.items
            if name not in items and name not in self.fixed_items and getattr(reply, name) is not UNSET
        }
        return msgspec.structs.replace(reply, **surplus) if surplus else reply


class Service(_Question[Q, R]):
    """A typed question about no person; it needs no legal basis, but zone and signature still count."""

    personal = False


class PersonalService(_Question[Q, R]):
    """A typed question about one person; it needs a legal basis for requester, procedure and items."""

    personal = True


class Push:
    """What the two kinds of push have in common: a versioned name and its titles."""

    def __init__(self, name: str, *, title: str, title_ja: str) -> None:
        if not names.is_service(name):
            raise DeclarationError(f"a push is named like resident.birth.v1, not {name!r}")
        self.name = name
        self.title = title
        self.title_ja = title_ja


class EventType(Push):
    """A thin push to the subscribers that the law names: that something happened, and to whom."""


class NoticeType(Push, Generic[Q]):
    """A sealed push with a typed body to one recipient."""

    def __init__(self, name: str, body: type[Q], *, title: str, title_ja: str) -> None:
        super().__init__(name, title=title, title_ja=title_ja)
        self.body = body
        self.items = tuple(sorted(field.encode_name for field in msgspec.structs.fields(body)))
        self._decoder = msgspec.json.Decoder(body)
        _check_no_number_fits(name, body)

    def decode_body(self, data: bytes) -> Q:
        """A body from its JSON; `MeshError` schema_invalid or seal_invalid."""
        return decode_content(data, self._decoder)


Declaration = Service[Any, Any] | PersonalService[Any, Any] | EventType | NoticeType[Any]
Handler = Callable[..., Awaitable[Any]]


@overload
def serves(
    service: Service[Q, R],
) -> Callable[[Callable[[N, Q, Caller], Awaitable[R]]], Callable[[N, Q, Caller], Awaitable[R]]]: ...


@overload
def serves(
    service: PersonalService[Q, R],
) -> Callable[[Callable[[N, Q, Caller, str], Awaitable[R]]], Callable[[N, Q, Caller, str], Awaitable[R]]]: ...


def serves(service: Any) -> Any:
    """Mark a node's method as the answer to a service.

    The method takes `(self, query, caller)`, and for a `PersonalService` also `person`, the node's own
    linkage code of whom it is about; it returns the reply or raises NotFound, Withheld, ManualReview or
    ReplicaMissing.
    """
    return partial(_mark, declaration=service)


def receives(push: Push) -> Callable[[Handler], Handler]:
    """Mark a node's method as the handler of a push.

    The method takes `(self, push, caller, person)` for an event and `(self, body, caller, person)` for a
    notice. It may ask first; what it writes goes into `with self.effect():`.
    """
    return partial(_mark, declaration=push)


def _mark(method: Handler, declaration: Declaration | Push) -> Handler:
    method.__mesh_declaration__ = declaration  # type: ignore[attr-defined]
    return method


def declarations_of(cls: type) -> dict[str, tuple[Declaration, str]]:
    """What a node class serves and receives: name → (declaration, method name), by name."""
    found: dict[str, tuple[Declaration, str]] = {}
    for base in reversed(cls.__mro__):
        for attribute, method in vars(base).items():
            declaration = getattr(method, "__mesh_declaration__", None)
            if declaration is not None:
                found[declaration.name] = (declaration, attribute)
    return dict(sorted(found.items()))


def _may_be_unset(annotation: Any) -> bool:
    return UnsetType in get_args(annotation)


def _check_no_number_fits(name: str, struct: type[Struct]) -> None:
    """Refuse a declaration in which a text field could hold twelve digits (番号法19条: numbers do not travel)."""
    for path, annotation in _texts_of(struct, ()):
        constraint = next((part for part in get_args(annotation) if isinstance(part, Meta)), None)
        if constraint is None or not _excludes_numbers(constraint):
            raise DeclarationError(
                f"{name}: the text field {path} could hold a personal number; give it a pattern or a "
                "max_length of at most 11, for instance Annotated[str, Meta(max_length=11)]"
            )


def _excludes_numbers(constraint: Meta) -> bool:
    if constraint.max_length is not None and constraint.max_length < 12:
        return True
    if constraint.pattern is None:
        return False
    pattern = re.compile(constraint.pattern)
    return not any(pattern.search(probe) for probe in _PROBES)


def _texts_of(annotation: Any, path: tuple[str, ...]) -> list[tuple[str, Any]]:
    """Every text field below a type, as (dotted path, annotation)."""
    if annotation is str or (get_origin(annotation) is Annotated and get_args(annotation)[0] is str):
        return [(".".join(path), annotation)]
    if isinstance(annotation, type) and issubclass(annotation, Struct):
        hints = get_type_hints(annotation, include_extras=True)
        return [text for field, hint in hints.items() for text in _texts_of(hint, (*path, field))]
    if annotation in (Any, object, msgspec.Raw, bytes):
        return [(".".join(path), annotation)]
    return [text for part in get_args(annotation) if part is not ... for text in _texts_of(part, path)]
