"""How a relying party (署名検証者) checks what a card signed: the signatures itself, the certificate at J-LIS.

A relying party checks as of the time of filing: a certificate that lapsed later does not undo what was filed
(公的個人認証法17条, 18条).
"""

from __future__ import annotations

from typing import Final

from mesh import MeshError, Node
from mesh.keys import VerifyKey
from nodes.agency.card import Certificate, Signed, read_signed
from nodes.agency.certificates import CERTIFICATES, CHECKING, STATUS, Status, StatusQuery

_CODES: Final[dict[Status, str]] = {
    "not-yet-valid": "certificate_not_yet_valid",
    "expired": "certificate_expired",
    "revoked": "certificate_revoked",
}


def authority_of(node: Node, certificate: str) -> VerifyKey:
    """The key of J-LIS that signed a certificate, old or new: a card outlives it.

    Raises `MeshError`: sender_mismatch or key_unknown if it is another's, certificate_revoked.
    """
    known = node.party.view.signer(certificate, CERTIFICATES)
    if known.is_revoked(node.host.now_us()):
        raise MeshError("certificate_revoked", "the key of J-LIS that signed the certificate was revoked")
    return known.verify_key


async def check_certificate(node: Node, serial: str, at_us: int) -> None:
    """Ask J-LIS whether a certificate held at a moment.

    Raises `MeshError`: certificate_expired, _revoked or _not_yet_valid; `Refused` if there was no answer.
    """
    answer = await node.ask(CERTIFICATES, STATUS, StatusQuery(serial, at_us), procedure=CHECKING)
    if answer.status != "valid":
        raise MeshError(_CODES[answer.status], f"the signature certificate is {answer.status}")


async def check_signature(node: Node, signed: Signed, at_us: int) -> tuple[Certificate, bytes]:
    """The certificate and what its holder signed, checked in full: both signatures, and the term and any lapse.

    Raises `MeshError` as `read_signed` and `check_certificate` do.
    """
    certificate, document = read_signed(signed, authority_of(node, signed.certificate))
    await check_certificate(node, certificate.serial, at_us)
    return certificate, document
