"""One party of the mesh: its keys, its view of the registry and its seals.

Every gate begins here, as `mesh.gates` has it: size and form, algorithm and key, signature, payload, sender. What
stands behind is each role's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from mesh import jws
from mesh.channels import Opener, Sealer
from mesh.content import Content
from mesh.errors import CODES, MeshError, Unsendable
from mesh.exchange import digest_of
from mesh.gates import (
    ADDRESS,
    FORM,
    KEY,
    PAYLOAD,
    PERMIT_ADDRESS,
    PERMIT_FORM,
    PERMIT_KEY,
    PERMIT_PAYLOAD,
    PERMIT_SIGNATURE,
    SIGNATURE,
    Check,
    Gate,
    Walk,
)
from mesh.keys import NodeKeys, SealPublicKey
from mesh.message import (
    CLOCK_TOLERANCE_US,
    Body,
    Event,
    Kind,
    Notice,
    Permit,
    Receipt,
    Refusal,
    RefusalData,
    Reply,
    Request,
    encode,
    format_time,
    parse_time,
)
from mesh.names import BROKER, member_of
from mesh.outgoing import sign_line
from mesh.padding import LIMIT, SIZE_MAX
from mesh.parsing import decode_bounded
from mesh.personal_number import personal_numbers_in
from mesh.reason import reason_content
from mesh.view import KnownNode, View

REQUEST_LIFE_US = 600_000_000
PUSH_LIFE_US = 30 * 86_400_000_000
PERMIT_LIFE_US = 60_000_000
UNKNOWN_TYPE = "mesh.unknown.v1"
"""The type of a refusal of bytes that never said what they ask."""

_DECODERS: dict[str, msgspec.json.Decoder[Any]] = {
    Kind.REQUEST: msgspec.json.Decoder(Request),
    Kind.REPLY: msgspec.json.Decoder(Reply),
    Kind.REFUSAL: msgspec.json.Decoder(Refusal),
    Kind.EVENT: msgspec.json.Decoder(Event),
    Kind.NOTICE: msgspec.json.Decoder(Notice),
    Kind.RECEIPT: msgspec.json.Decoder(Receipt),
}


class _Binding(msgspec.Struct, gc=False):
    id: str
    source: str
    recipient: str


_permit_decoder = msgspec.json.Decoder(Permit)
_body_decoder = msgspec.json.Decoder(Body)


class Admitted(msgspec.Struct, frozen=True, gc=False):
    """A message that passed the first steps of a gate: its sender is who it says."""

    kind: str
    message: Any
    """One of the structs of `mesh.message`, as `kind` says."""
    digest: str
    zone: str
    """The sender's zone, as registered."""
    walk: Walk
    """How far it is through its gate."""


class Untimely(MeshError):
    """A permit is not of now, though the message under it is: that is between its broker and who got it."""


class Resent(MeshError):
    """A line came from somebody who neither made it nor is a broker: its owner has no part in that."""

    def __init__(self) -> None:
        super().__init__("sender_mismatch", "whoever brought the line is not its source")


class Party:
    """What requester, provider, subscriber and broker have in common."""

    def __init__(
        self,
        address: str,
        zone: str,
        keys: NodeKeys,
        view: View,
        *,
        sealer: Sealer,
        new_id: Callable[[int], str],
    ) -> None:
        self.address = address
        self.member = member_of(address)
        self.zone = zone
        self.view = view
        self.sealer = sealer
        self.new_id = new_id
        self.monotonic_us = sealer.monotonic_us
        """By it the party counts how long, where no other clock is to say so."""
        self._signed_us = 0
        self.take_keys(keys)

    def take_keys(self, keys: NodeKeys) -> None:
        """Sign and seal with these from here on; former sealing keys open what is still under way."""
        self.keys = keys
        self.opener = Opener(self.address, keys.sealing, keys.former)

    def note_signed(self, time_us: int) -> None:
        """Somebody competent signed that time, in a document that was verified here and is of now by the own clock."""
        if time_us > self._signed_us:
            self._signed_us = time_us

    @property
    def newest_signed_us(self) -> int:
        """The newest time that the authority or a competent broker signed, as far as it was seen here; it only rises."""
        self.note_signed(self.view.time_us)
        return self._signed_us

    def admit(
        self, line: bytes, now_us: int, *, key_time_us: int | None = None, walk: Walk | None = None
    ) -> Admitted:
        """Check a line up to its sender.

        `key_time_us` is when the key is judged, by default now; pushes are judged when the broker took
        them over. `walk` goes through the gate that it came to, by default a node's. Raises `MeshError` with the codes
        of the steps form, key, signature, payload, address.
        """
        walk = Walk(Gate.NODE) if walk is None else walk
        token = _parse(line, walk, FORM, KEY)
        walk.of(token.typ)
        walk.to(KEY)
        self.view.catch_up(now_us)
        sender = self.view.key(token.kid)
        sender.check(self._not_before_head(now_us) if key_time_us is None else key_time_us)
        self.view.check_fresh(now_us)
        walk.to(SIGNATURE)
        sender.verify_key.verify(token.signature, token.signing_input)
        walk.to(PAYLOAD)
        message = decode_bounded(token.payload, _DECODERS[token.typ])
        walk.to(ADDRESS)
        if message.source != sender.address:
            raise MeshError("sender_mismatch")
        return Admitted(token.typ, message, digest_of(line), sender.zone, walk)

    def admit_permit(self, line: bytes, now_us: int, *, walk: Walk | None = None) -> tuple[Permit, str]:
        """Check a permit up to its sender, who must have the broker role; returns it with its digest."""
        walk = Walk(Gate.PERMITTED) if walk is None else walk
        token = _parse(line, walk, PERMIT_FORM, PERMIT_KEY)
        if token.typ != Kind.PERMIT:
            raise MeshError("message_malformed", "the second line is no permit")
        walk.to(PERMIT_KEY)
        self.view.catch_up(now_us)
        sender = self.view.key(token.kid)
        sender.check(self._not_before_head(now_us))
        walk.to(PERMIT_SIGNATURE)
        sender.verify_key.verify(token.signature, token.signing_input)
        walk.to(PERMIT_PAYLOAD)
        permit = decode_bounded(token.payload, _permit_decoder)
        walk.to(PERMIT_ADDRESS)
        if sender.address != BROKER or permit.broker != BROKER:
            raise MeshError("sender_mismatch", "only a broker gives permits")
        return permit, digest_of(line)

    def _not_before_head(self, now_us: int) -> int:
        """When a key is judged: now, but not before the authority signed which keys there are."""
        return max(now_us, self.view.time_us)

    def sign(self, message: Any, kind: str) -> bytes:
        """The line of one message, signed by this party; `Unsendable` if the first gate would refuse its form or size."""
        return sign_line(message, _DECODERS[kind], self.keys.signing, kind)

    def is_believed(self, line: bytes, now_us: int) -> bool:
        """Whether the key that signed a verified line still counts, so that others go by it."""
        return self.view.key(jws.parse(line).kid).counts(now_us)

    def current(self, line: bytes, now_us: int) -> bytes:
        """A line that this party kept: as it is, or signed anew as of now, if its key expired or was revoked meanwhile."""
        token = jws.parse(line)
        if token.kid == self.keys.signing.kid or self.is_believed(line, now_us):
            return line
        message = decode_bounded(token.payload, _DECODERS[token.typ])
        return self.sign(msgspec.structs.replace(message, time=format_time(now_us)), token.typ)

    def lookup_for(self, to: str) -> KnownNode:
        """Whom a message of this party is for; `Unsendable` recipient_unknown if nobody registered the address."""
        try:
            return self.view.lookup(to)
        except MeshError as error:
            if error.code != "recipient_unknown":
                raise
            raise Unsendable(error.code, to) from None

    def seal(self, message_id: str, to: str, data: bytes, recipient: str, key: SealPublicKey) -> str:
        """Seal content for a key's holder, bound to the message (id, this source, `to`) that carries it.

        Raises `Unsendable` message_too_large for what is longer than the largest padded size.
        """
        document = _binding(message_id, self.address, to) + data + b"}"
        if len(document) > SIZE_MAX:
            about = data.largest() if isinstance(data, Content) else f"it has {len(data):,} bytes"
            raise Unsendable("message_too_large", f"{about}; {LIMIT}")
        return self.sealer.seal(document, recipient, key)

    def seal_subject(self, message_id: str, code: str) -> str:
        """A subject is for the broker alone: whom it goes on to finds its own code in the permit."""
        key = self.view.lookup(BROKER).seal_key
        try:
            subject = encode(code)
        except UnicodeEncodeError:
            raise Unsendable("message_malformed", "subject: a lone surrogate has no UTF-8") from None
        try:
            return self.seal(message_id, BROKER, subject, BROKER, key)
        except Unsendable as error:
            raise Unsendable(error.code, f"subject: {error.detail}") from None

    def open(self, token: str, sender: str, now_us: int) -> bytes:
        """The document under a seal by `sender`, for the newest sealing key or any that counts now.

        Raises `MeshError`: seal_invalid, key_weak, and seal_key_revoked for a key of this party that was revoked.
        """

        def check(kid: str) -> None:
            self.view.lookup(self.address).check_seal_key(kid, now_us)

        return self.opener.open(token, sender=sender, check=check)

    def unseal(self, token: str, message: Request | Reply | Refusal | Notice | Event, now_us: int) -> bytes:
        """The content of a seal, if it was made for this very message and party; else `seal_invalid`, or as `open`."""
        document = self.open(token, message.source, now_us)
        binding = _binding(message.id, message.source, self.address)
        if document.startswith(binding):
            # The canonical form, as this party would have written it; the content is judged by who reads it.
            return document[len(binding) : -1]
        body = decode_body(document)
        if body.id != message.id or body.source != message.source or body.recipient != self.address:
            raise MeshError("seal_invalid", "the seal belongs to another message")
        return bytes(body.data)

    def refusal(
        self,
        error: MeshError,
        *,
        to: str,
        digest: str,
        now_us: int,
        permit_digest: str | None = None,
        about: str = UNKNOWN_TYPE,
        definite: bool = True,
    ) -> bytes:
        """A signed no. It quotes what the error says, which is registered names only.

        A code that says something of whom was asked about is sealed for `to`. `definite` is False for one copy of a
        message that came before, and may have had its effect then.
        """
        refusal_id, code, reason, text = self.new_id(now_us), CODES[error.code], None, error.signed_text
        if code.sealed:
            reason = self.seal(refusal_id, to, reason_content(code), to, self.view.lookup(to).seal_key)
            text = CODES[code.outer].text
        refusal = Refusal(
            specversion="1.0",
            id=refusal_id,
            source=self.address,
            type=about,
            time=format_time(now_us),
            recipient=to,
            datacontenttype="application/json",
            requestdigest=digest,
            permitdigest=permit_digest,
            code=code.outer,
            reason=reason,
            data=RefusalData(definite and code.definite, text),
        )
        return self.sign(refusal, Kind.REFUSAL)


def _parse(line: bytes, walk: Walk, form: Check, key: Check) -> jws.Token:
    """Check the form of a line. Its algorithm, which belongs to the next step, is read last of all."""
    walk.to(form)
    try:
        return jws.parse(line)
    except MeshError as error:
        if error.code == "algorithm_unsupported":
            walk.to(key)
        raise


def read_line(line: bytes) -> Any:
    """The document of a line that this party verified before it stored it: a message or a permit."""
    token = jws.parse(line)
    return decode_bounded(token.payload, _DECODERS.get(token.typ, _permit_decoder))


def _binding(message_id: str, source: str, recipient: str) -> bytes:
    """How the canonical document under a seal begins: what binds it to its message."""
    start = encode(_Binding(message_id, source, recipient))
    return start[:-1] + b',"data":'


def decode_body(document: bytes) -> Body:
    """The body under a seal; `seal_invalid` if it is none."""
    try:
        return decode_bounded(document, _body_decoder)
    except MeshError:
        raise MeshError("seal_invalid", "the sealed body is no body") from None


def check_peer(admitted: Admitted, peer: str) -> None:
    """`Resent` unless its source or a broker brought the line: a captured one must cost its owner nothing."""
    if peer not in (admitted.message.source, BROKER):
        raise Resent


def check_time(time: str, expiry: str, now_us: int, life_us_max: int, signed_us: int = 0) -> None:
    """`message_expired` or `message_from_future` unless a message or permit is of now, as far as clocks agree.

    What is past by the newest time that others signed (`signed_us`) is so too, however far back the own clock is set.
    """
    sent_us, expiry_us = parse_time(time), parse_time(expiry)
    past_us = max(now_us, signed_us) - CLOCK_TOLERANCE_US
    if not 0 <= expiry_us - sent_us <= life_us_max or expiry_us < past_us:
        raise MeshError("message_expired")
    if sent_us > now_us + CLOCK_TOLERANCE_US:
        raise MeshError("message_from_future")


def check_permit_time(permit: Permit, sent: str, now_us: int, signed_us: int) -> None:
    """As `check_time`, for a permit; `sent` is when the message under it was signed.

    Of three clocks the one that is alone is wrong: `Untimely` if that is the broker's. Else nobody but the reader, or
    who brings both late, differs.
    """
    try:
        check_time(permit.time, permit.expiry, now_us, PERMIT_LIFE_US, signed_us)
    except MeshError as error:
        given_us, sent_us = parse_time(permit.time), parse_time(sent)
        if abs(given_us - sent_us) <= abs(now_us - sent_us):
            raise
        raise Untimely(error.code, "the permit is not of now, by the recipient's clock") from None


def check_no_personal_number(data: bytes) -> None:
    """`personal_number_exposed` if a text in the content reads as a 個人番号 (番号法19条); `seal_invalid` if it is no JSON."""
    try:
        exposed = personal_numbers_in(data)
    except MeshError:
        raise MeshError("seal_invalid", "what is under the seal is no JSON document") from None
    if exposed:
        raise MeshError("personal_number_exposed")
