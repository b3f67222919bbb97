"""One message in the forms in which a person takes it elsewhere.

Rules kept here:
1. Whatever stood in a message is quoted for the shell, and only what is a JWS is put into a command at all.
2. The `openssl` line holds everything it needs and really verifies: signed bytes, signature and public key.
"""

from __future__ import annotations

import json
import shlex
from base64 import b64encode
from typing import Any, Final

from mesh import jws
from mesh.errors import MeshError
from mesh.keys import VerifyKey
from mesh.trace.show import parts, text

_ED25519_SPKI: Final = bytes.fromhex("302a300506032b6570032100")
"""What stands before the 32 bytes of an Ed25519 key in a SubjectPublicKeyInfo (RFC 8410, section 4)."""
GATEWAY: Final = "https://gateway.mesh.example/messages"


def copies(line: bytes, permit: bytes | None, key: VerifyKey | None) -> dict[str, str | None]:
    """A message as JWS, JSON, and as commands; None for what cannot be made of it.

    `curl` is illustrative: it sends the line as a gateway could take it, and there is no such gateway.
    `openssl` needs the sender's key.
    """
    header, attributes = parts(line)
    sound = _is_jws(line)
    return {
        "jws": text(line) if sound else None,
        "json": None if attributes is None else _pretty({"header": header, "payload": attributes}),
        "curl": _curl(line, permit) if sound and (permit is None or _is_jws(permit)) else None,
        "openssl": openssl(line, key) if sound and key is not None else None,
    }


def openssl(line: bytes, key: VerifyKey) -> str:
    """A line for a shell that verifies a JWS with the key: openssl 3 says so, and exits 0 or 1."""
    token = jws.parse(line)
    signed = shlex.quote(token.signing_input.decode("ascii"))
    public, signature = _base64(_ED25519_SPKI + key.raw), _base64(token.signature)
    return (
        f'd=$(mktemp -d) && printf %s {signed} > "$d/signed"'
        f' && printf %s {signature} | openssl base64 -d -A > "$d/signature"'
        f' && printf %s {public} | openssl base64 -d -A > "$d/key"'
        ' && openssl pkeyutl -verify -pubin -keyform DER -inkey "$d/key" -rawin -in "$d/signed"'
        ' -sigfile "$d/signature"; s=$?; rm -r "$d"; (exit $s)'
    )


def _curl(line: bytes, permit: bytes | None) -> str:
    body = text(line) if permit is None else f"{text(line)}\n{text(permit)}"
    return (
        f"curl --request POST --header 'Content-Type: application/jose' --data-binary {shlex.quote(body)} {GATEWAY}"
        "  # illustrative: there is no such gateway"
    )


def _is_jws(line: bytes) -> bool:
    try:
        jws.parse(line)
    except MeshError:
        return False
    return True


def _base64(data: bytes) -> str:
    return b64encode(data).decode("ascii")


def _pretty(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)
