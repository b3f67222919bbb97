"""What travels: CloudEvents 1.0 documents (JSON format), one struct for each kind of message.

Rules kept here:
1. A kind has exactly the attributes of its struct: others, and missing ones, are `schema_invalid`.
2. Attribute names are lowercase alphanumeric, as CloudEvents wants; extensions stand beside the rest.
3. What the broker may not read is in `data`, `subject` or a refusal's `reason`, as a JWE; what it must read is an
   attribute.
4. A sealed body repeats id, source and recipient, so that it is of no use in any other message.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Annotated, Final, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from mesh.errors import MeshError
from mesh.parsing import decode, parse_json

__all__ = [
    "CLOCK_TOLERANCE_US",
    "KINDS",
    "Body",
    "Event",
    "Kind",
    "Notice",
    "Permit",
    "Receipt",
    "Refusal",
    "RefusalData",
    "Reply",
    "Request",
    "decode",
    "decode_content",
    "encode",
    "format_time",
    "items_of",
    "parse_json",
    "parse_time",
]

T = TypeVar("T")

CLOCK_TOLERANCE_US: Final = 300_000_000
"""How far two clocks may differ: no time that another party wrote is taken for past or to come by less than this."""
TEXT_LENGTH_MAX: Final = 512
ITEMS_LENGTH_MAX: Final = 4096
Text = Annotated[str, Meta(max_length=TEXT_LENGTH_MAX)]
Items = Annotated[str, Meta(max_length=ITEMS_LENGTH_MAX)]
Filled = Annotated[str, Meta(min_length=1, max_length=TEXT_LENGTH_MAX)]
"""CloudEvents 1.0 wants id, source and type to be non-empty strings."""
Digest = Annotated[str, Meta(min_length=64, max_length=64)]
"""SHA-256 in hex."""
Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]
DataVersion = Annotated[int, Meta(ge=0, le=2**31 - 1)]
"""A CloudEvents Integer is a signed 32-bit number."""


class Kind:
    """The kinds of message; each is the `typ` of its JWS.

    Plain strings in a namespace: an enum's attribute costs several times as much on the hot path.
    """

    REQUEST: Final = "request"
    PERMIT: Final = "permit"
    REPLY: Final = "reply"
    REFUSAL: Final = "refusal"
    EVENT: Final = "event"
    NOTICE: Final = "notice"
    RECEIPT: Final = "receipt"
    CONSENT: Final = "consent"
    REGISTRY: Final = "registry"
    TREE_HEAD: Final = "tree-head"


KINDS: Final = tuple(value for name, value in vars(Kind).items() if name.isupper())
"""All kinds, in the order above."""


class Envelope(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """The attributes that every CloudEvents message has."""

    specversion: Literal["1.0"]
    id: Filled
    source: Filled
    type: Filled
    time: Text
    recipient: Text


class Request(Envelope, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """A question to one provider (照会). Without a subject it is about no person."""

    datacontenttype: Literal["application/jose"]
    subject: str | None = None
    procedure: Text | None = None
    items: Items | None = None
    consent: Text | None = None
    traceparent: Text | None = None
    expiry: Text
    data: str


class Reply(Envelope, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """The provider's answer (提供), tied to the bytes of request and permit."""

    datacontenttype: Literal["application/jose"]
    requestdigest: Digest
    permitdigest: Digest
    traceparent: Text | None = None
    data: str


class RefusalData(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """What a refusal says beside its code: registered names only, never payload."""

    definite: bool
    text: Annotated[str, Meta(max_length=2048)]


class Refusal(Envelope, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """Somebody's signed no (照会拒否・提供不可)."""

    datacontenttype: Literal["application/json"]
    requestdigest: Digest
    permitdigest: Digest | None = None
    code: Text
    reason: str | None = None
    """A JWE: why a provider gives no answer, where that is for the requester alone."""
    data: RefusalData


class Event(Envelope, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """A thin push: something happened to a subject. It carries no data; who needs more asks for it."""

    subject: str
    dataversion: DataVersion | None = None
    traceparent: Text | None = None
    expiry: Text


class Notice(Envelope, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """A sealed push to one recipient (お知らせ)."""

    datacontenttype: Literal["application/jose"]
    subject: str
    procedure: Text
    items: Items
    dataversion: DataVersion | None = None
    traceparent: Text | None = None
    expiry: Text
    data: str


class Receipt(Envelope, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """A signed acknowledgement of a push (受領); `requestdigest` names the push."""

    requestdigest: Digest
    permitdigest: Digest | None = None


class Permit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """The broker's decision about one delivery of one message (情報提供許可証)."""

    broker: Text
    requestdigest: Digest
    requester: Text
    recipient: Text
    service: Text
    procedure: Text | None = None
    items: Items | None = None
    basis: Text
    subject: Text | None = None
    consent: str | None = None
    undisclosed: bool = False
    subjectsmax: Count = 1
    registry: Count
    accepted: Text | None = None
    """When the broker took over a push: the time at which its sender's key is judged."""
    time: Text
    expiry: Text


class Body(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """The plaintext under a seal: the content, bound to the message that carries it."""

    id: Text
    source: Text
    recipient: Text
    data: msgspec.Raw


encode: Final = msgspec.json.Encoder().encode
"""Structs to canonical JSON bytes: fields in order of declaration, absent ones left out."""


def decode_content(data: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """What was under a seal, in the decoder's type; `seal_invalid` if it is no JSON, or `schema_invalid`."""
    try:
        return decode(data, decoder)
    except MeshError as error:
        if error.code == "message_malformed":
            raise MeshError("seal_invalid", "what is under the seal is no JSON document") from None
        raise


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=1024)
def _second(second: int) -> str:
    return (_EPOCH + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%S.")


@lru_cache(maxsize=1024)
def format_time(time_us: int) -> str:
    """Microseconds since 1970 UTC as RFC 3339, always with six decimals and `Z`."""
    second, rest_us = divmod(time_us, 1_000_000)
    return f"{_second(second)}{rest_us:06d}Z"


@lru_cache(maxsize=1024)
def parse_time(text: str) -> int:
    """RFC 3339 to microseconds since 1970 UTC; `schema_invalid` if it is no such time."""
    try:
        moment = msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        raise MeshError("schema_invalid", "not an RFC 3339 time") from None
    # msgspec takes ISO 8601's blank for the T, and an offset without its colon, too.
    if moment.tzinfo is None or text[10] == " " or (text[-1] not in "Zz" and text[-3] != ":"):
        raise MeshError("schema_invalid", "not an RFC 3339 time with its offset")
    return (moment - _EPOCH) // timedelta(microseconds=1)


@lru_cache(maxsize=512)
def items_of(text: str) -> frozenset[str]:
    """The names in an `items` attribute, none in ""; `schema_invalid` unless they are sorted and distinct."""
    if not text:
        return frozenset()
    names = text.split(" ")
    if not all(names) or any(a >= b for a, b in pairwise(names)):
        raise MeshError("schema_invalid", "items are sorted, distinct names with single spaces")
    return frozenset(names)
