"""An application on its way from a resident to a municipality: what is signed, and what the nodes in between see.

Rules kept here:
1. The resident's card signs the application; the whole of it is sealed for the municipality's 申請管理 alone.
2. Outside the seal stand the receipt number, the recipient and the certificate, which is checked at filing.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from mesh import MeshError, Node
from mesh.message import decode, encode
from mesh.party import decode_body
from mesh.service import Date, Name
from nodes.agency.card import Signed, Token

ONLINE: Final = "online-application"
"""The task under which applications are carried."""

Receipt = Annotated[str, Meta(pattern="^rn-[0-9a-f]{16}$")]
"""A receipt number (受付番号)."""
Sealed = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]+\.\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$")]
"""A compact JWE in a field of a service."""
ApiUser = Annotated[str, Meta(pattern="^firm/[a-z0-9-]{1,40}/app$")]
"""The app of a firm (API利用者) that files for residents."""
State = Literal["filed", "received", "in-review", "completed", "returned"]
"""Where an application stands: 申請済み, 受付済み, 審査中, 完了, 返却."""


class Application(Struct, frozen=True, forbid_unknown_fields=True):
    """What a resident filled in: who applies, for what, and the form of the system that will decide."""

    procedure: Literal["childcare", "moving-out"]
    name: Name
    born: Date
    form: msgspec.Raw


class Filing(Struct, frozen=True, forbid_unknown_fields=True):
    """A sealed application with what must be read on the way."""

    receipt: Receipt
    recipient: Annotated[str, Meta(pattern="^muni/[0-9]{5}/application-management$")]
    certificate: Token
    sealed: Sealed


_application_decoder = msgspec.json.Decoder(Application)
_signed_decoder = msgspec.json.Decoder(Signed)


def seal_filing(node: Node, receipt: str, recipient: str, signed: Signed) -> Filing:
    """Seal a signed application for its recipient, bound to receipt number and sender."""
    key = node.party.view.lookup(recipient).seal_key
    sealed = node.party.seal(receipt, recipient, encode(signed), recipient, key)
    return Filing(receipt, recipient, signed.certificate, sealed)


def open_filing(node: Node, filing: Filing, sender: str) -> Signed:
    """The signed application under a seal by `sender` for this node; `seal_invalid` for any other."""
    body = decode_body(node.party.open(filing.sealed, sender, node.host.now_us()))
    if (body.id, body.source, body.recipient) != (filing.receipt, sender, node.address):
        raise MeshError("seal_invalid", "the seal belongs to another filing")
    signed = decode(bytes(body.data), _signed_decoder)
    if signed.certificate != filing.certificate:
        raise MeshError("seal_invalid", "another certificate was shown on the way")
    return signed


def read_application(document: bytes) -> Application:
    """The application that a card signed; `MeshError` schema_invalid or message_malformed."""
    return decode(document, _application_decoder)
