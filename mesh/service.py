"""What nodes offer and listen to, declared once: services, pushes, and the decorators that serve them.

Dispatch, catalogue, policy, OpenAPI, AsyncAPI and viewer all read these declarations. A declaration is
checked when it is made, so that a service that could carry a personal number cannot exist.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from inspect import iscoroutinefunction, signature
from itertools import combinations, pairwise
from typing import Annotated, Any, Final, Generic, TypeVar, get_args, get_origin, overload

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, inspect

from mesh import names
from mesh.content import Content, content_of
from mesh.errors import UsageError
from mesh.from_copy import FromCopy
from mesh.message import ITEMS_LENGTH_MAX, decode_content, encode
from mesh.misfit import misfit

Q = TypeVar("Q", bound=Struct)
R = TypeVar("R", bound=Struct)
N = TypeVar("N")

Code = Annotated[str, Meta(pattern=r"^[a-z]+/[a-z0-9-]+:[A-Za-z0-9_-]{43}$")]
"""A linkage code as a field of a service."""
Word = Annotated[str, Meta(max_length=11)]
"""A short text; too short for a personal number."""
Name = Annotated[
    str,
    Meta(
        max_length=200,
        pattern=r"^(?![\s\S]*[0-9０-９](?:[\s\-\u2010-\u2015\u2212ー－]?[0-9０-９]){11})",
    ),
]
"""A name or phrase as registers hold it, with digits too, but never twelve in a row, however they are parted."""
Date = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
"""A calendar date, `2026-04-01`."""
Month = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}$")]
"""A calendar month, `2026-04`."""
MessageId = Annotated[str, Meta(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
"""The id of a message."""

_ITEM = re.compile(r"(?=[0-9_-]*[A-Za-z])[A-Za-z0-9_-]+")
_WITHOUT_TEXT: Final = (
    inspect.NoneType, inspect.BoolType, inspect.IntType, inspect.FloatType, inspect.DateTimeType,
    inspect.DateType, inspect.TimeType, inspect.TimeDeltaType, inspect.UUIDType,
)  # fmt: skip
"""Kinds that are numbers in JSON, or texts whose form leaves no room for exactly twelve digits."""
_RECORDS: Final = (inspect.StructType, inspect.DataclassType, inspect.TypedDictType, inspect.NamedTupleType)


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
        # A generic type that was given its parameters is no class to ask for.
        self._query_class = get_origin(query) or query
        self._reply_class = get_origin(reply) or reply
        self.from_copy = issubclass(self._reply_class, FromCopy)
        """Whether it is answered from a copy: then each answer says as of when, which is no item to ask for."""
        always = FromCopy.__struct_fields__ if self.from_copy else ()
        fields = [field for field in msgspec.structs.fields(reply) if field.name not in always]
        self.items = tuple(sorted(field.encode_name for field in fields))
        self._optional = {field.encode_name: field.name for field in fields if _may_be_unset(field.type)}
        self.fixed_items = frozenset(self.items).difference(self._optional)
        """Items that every answer has: the others are `T | UnsetType` and can be left out."""
        self.batched = any(field.name == "subjects" for field in msgspec.structs.fields(query))
        """Whether a question names subjects besides the one of its permit."""
        self._query_decoder = msgspec.json.Decoder(query)
        self._reply_decoder = msgspec.json.Decoder(reply)
        if self.personal:
            _check_items(name, self.items)
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

    def query_content(self, query: object) -> Content:
        """A question as its provider will read it; TypeError unless it is of the declared type, `Unsendable` unless it fits."""
        self.check_query(query)
        return content_of(query, self._query_decoder)

    def reply_content(self, reply: R, items: frozenset[str]) -> Content:
        """What of a handler's answer leaves, as its requester will read it; TypeError or `Unsendable` as for a question."""
        return content_of(self.disclosed(reply, items), self._reply_decoder)

    def check_query(self, query: object) -> None:
        """TypeError unless a question is of the declared type: its provider could only say that it does not fit."""
        if not isinstance(query, self._query_class):
            raise TypeError(
                f"{self.name} is asked with {self._query_class.__name__}, not {type(query).__name__}"
            )

    def disclosed(self, reply: R, items: frozenset[str]) -> R:
        """What of a handler's answer leaves: of a service about a person, nothing that was not asked for.

        TypeError unless the answer is of the declared type: its requester could not read another.
        """
        if not isinstance(reply, self._reply_class):
            raise TypeError(
                f"{self.name} is answered with {self._reply_class.__name__}, not {type(reply).__name__}"
            )
        return self.without_unasked(reply, items) if self.personal else reply

    def without_unasked(self, reply: R, items: frozenset[str]) -> R:
        """The reply with every field removed that was not asked for: nobody gets more than the items."""
        surplus = {
            field: UNSET
            for item, field in self._optional.items()
            if item not in items and getattr(reply, field) is not UNSET
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
        self._body_class = get_origin(body) or body
        _check_items(name, self.items)
        _check_no_number_fits(name, body)

    def body_content(self, body: object) -> Content:
        """A body as its recipient will read it; TypeError unless it is of the declared type, `Unsendable` unless it fits."""
        self.check_body(body)
        return content_of(body, self._decoder)

    def check_body(self, body: object) -> None:
        """TypeError unless a body is of the declared type: its recipient could not read another."""
        if not isinstance(body, self._body_class):
            raise TypeError(f"{self.name} carries {self._body_class.__name__}, not {type(body).__name__}")

    def decode_body(self, data: bytes) -> Q:
        """A body from its JSON; `MeshError` schema_invalid or seal_invalid."""
        return decode_content(data, self._decoder)


def check_entry(what: str, value: object, kind: Any) -> None:
    """`UsageError` unless a field of a service that is declared with the type can carry the value.

    An office asks when it writes down what it will have to pass on: what it could not is refused at its counter, where
    it can be mended, and not when somebody asks.
    """
    try:
        msgspec.json.decode(encode(value), type=kind)
    except msgspec.ValidationError as error:
        raise UsageError(
            f"{what} cannot be entered, for it could not be passed on: {misfit(error)}"
        ) from None
    except (UnicodeEncodeError, TypeError):
        raise UsageError(
            f"{what} cannot be entered, for it could not be passed on: no text in Unicode"
        ) from None


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
    if not isinstance(service, _Question):
        raise DeclarationError(
            f"@serves takes a Service or PersonalService, not {service!r}; a push is for @receives"
        )
    takes = ("query", "caller", "person") if service.personal else ("query", "caller")
    return partial(_mark, declaration=service, takes=takes)


def receives(push: Push) -> Callable[[Handler], Handler]:
    """Mark a node's method as the handler of a push.

    The method takes `(self, push, caller, person)` for an event and `(self, body, caller, person)` for a
    notice. It may ask first; what it writes goes into `with self.effect():`.
    """
    if not isinstance(push, Push):
        raise DeclarationError(
            f"@receives takes an EventType or NoticeType, not {push!r}; a service is for @serves"
        )
    first = "body" if isinstance(push, NoticeType) else "push"
    return partial(_mark, declaration=push, takes=(first, "caller", "person"))


def _mark(method: Handler, declaration: _Question[Any, Any] | Push, takes: tuple[str, ...]) -> Handler:
    """Check the method now: what it lacks would show only as a `handler_failed` of the first question."""
    name = getattr(method, "__qualname__", repr(method))
    if not iscoroutinefunction(method):
        raise DeclarationError(f"{name} is for {declaration.name}: write it as async def")
    try:
        signature(method).bind(None, *takes)
    except TypeError:
        raise DeclarationError(
            f"{name} is for {declaration.name}: it takes (self, {', '.join(takes)})"
        ) from None
    method.__mesh_declaration__ = declaration  # type: ignore[attr-defined]
    return method


def declarations_of(cls: type) -> dict[str, tuple[Declaration, str]]:
    """What a node class serves and receives: name → (declaration, method name), by name."""
    found: dict[str, tuple[Declaration, str]] = {}
    for base in reversed(cls.__mro__):
        own: dict[str, str] = {}
        for attribute, method in vars(base).items():
            declaration = getattr(method, "__mesh_declaration__", None)
            if declaration is None:
                continue
            other = own.setdefault(declaration.name, attribute)
            if other != attribute:
                raise DeclarationError(
                    f"{base.__name__}.{other} and {attribute} are both for {declaration.name}: keep one"
                )
            found[declaration.name] = (declaration, attribute)
    return dict(sorted(found.items()))


def _may_be_unset(annotation: Any) -> bool:
    return UnsetType in get_args(annotation)


def _check_items(name: str, items: tuple[str, ...]) -> None:
    """Items stand in permits and histories, which have no room for a personal number either."""
    for item in items:
        if _ITEM.fullmatch(item) is None:
            raise DeclarationError(
                f"{name}: an item is named in ASCII with a letter, as tax_year is, not {item!r}"
            )
    if len(" ".join(items)) > ITEMS_LENGTH_MAX:
        raise DeclarationError(
            f"{name}: its items take more than the {ITEMS_LENGTH_MAX} characters that a request can name; make it two"
        )


def _check_no_number_fits(name: str, struct: type[Struct]) -> None:
    """Refuse a declaration in which a text field could hold twelve digits (番号法19条: numbers do not travel)."""
    for path in _with_room(inspect.type_info(struct), "", []):
        raise DeclarationError(
            f"{name}: the field {path} could hold a personal number; give a text a pattern or a max_length of "
            "at most 11, for instance Annotated[str, Meta(max_length=11)], and each part of a list or dict a type"
        )


def _with_room(kind: inspect.Type, path: str, seen: list[inspect.Type]) -> Iterator[str]:
    """The dotted paths below a type where twelve digits fit. What is not understood has room for anything."""
    if isinstance(kind, inspect.Metadata):
        yield from _with_room(kind.type, path, seen)
    elif isinstance(kind, _RECORDS):
        if not any(kind is one for one in seen):  # A record may hold records of its own kind.
            seen.append(kind)
            for field in kind.fields:
                yield from _with_room(field.type, f"{path}.{field.name}".lstrip("."), seen)
    elif isinstance(kind, inspect.UnionType | inspect.TupleType):
        for part in kind.types if isinstance(kind, inspect.UnionType) else kind.item_types:
            yield from _with_room(part, path, seen)
    elif isinstance(kind, inspect.CollectionType):
        yield from _with_room(kind.item_type, path, seen)
    elif isinstance(kind, inspect.DictType):
        if isinstance(kind.key_type, _WITHOUT_TEXT):  # JSON makes texts of them.
            yield path
        yield from _with_room(kind.key_type, path, seen)
        yield from _with_room(kind.value_type, path, seen)
    elif not _excludes_numbers(kind):
        yield path


def _excludes_numbers(kind: inspect.Type) -> bool:
    """Whether no value of a type without parts reads as twelve digits."""
    if isinstance(kind, inspect.StrType):
        short = kind.max_length is not None and kind.max_length < 12
        return short or (kind.pattern is not None and not _admits_number(kind.pattern))
    if isinstance(kind, inspect.LiteralType | inspect.EnumType):
        values = kind.values if isinstance(kind, inspect.LiteralType) else [one.value for one in kind.cls]
        return not any(sum(map(str.isdigit, str(value))) == 12 for value in values)
    return isinstance(kind, _WITHOUT_TEXT)


@lru_cache(maxsize=256)
def _admits_number(pattern: str) -> bool:
    """Whether a pattern matches one of many texts that read as twelve digits."""
    return any(map(re.compile(pattern).search, _probes()))


@lru_cache(maxsize=1)
def _probes() -> tuple[str, ...]:
    """Twelve digits: bare, full-width, with one or two separators anywhere, and in groups of equal length."""
    numbers = ("123456789018", *(digit * 12 for digit in "0123456789"))
    wide = [number.translate({48 + value: 0xFF10 + value for value in range(10)}) for number in numbers]
    parted: list[str] = []
    for number in ("123456789018", "000000000000", "999999999999"):
        for separator in "- ":
            cuts = [*((at,) for at in range(13)), *combinations(range(13), 2)]
            cuts += [tuple(range(size, 12, size)) for size in (1, 2, 3)]
            parted += [separator.join(_cut(number, where)) for where in cuts]
    return (*numbers, *wide, *parted)


def _cut(text: str, where: tuple[int, ...]) -> Iterator[str]:
    return (text[start:end] for start, end in pairwise((0, *where, len(text))))
