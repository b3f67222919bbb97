"""Our JWS and JWE against implementations that we did not write: joserfc, jwcrypto and OpenSSL.

Both libraries call the algorithm of RFC 9864 `Ed25519`. They are oracles here and nothing else: mesh/ has its own
small path, because its speed is the product's speed.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joserfc.jwe
import joserfc.jwk
import joserfc.jws
import jwcrypto.jwe
import jwcrypto.jwk
import jwcrypto.jws
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mesh import base64url, jws, sealing
from mesh.channels import Opener, Sealer
from mesh.errors import MeshError
from mesh.keys import SealingKey, SigningKey

KEY = SigningKey.from_seed(bytes(range(32)))
RECIPIENT = SealingKey.from_seed(bytes(range(1, 33)))
EPHEMERAL = SealingKey.from_seed(bytes(range(2, 34)))
SENDER_NAME, RECIPIENT_NAME = "muni/01208/desk", "muni/28100/tax"
PAYLOAD = '{"名":"北見市","n":1}'.encode()

Sign = Callable[[dict[str, Any], bytes], bytes]
Seal = Callable[[dict[str, Any], bytes], str]


def okp(crv: str, public: bytes, private: bytes | None = None) -> dict[str, Any]:
    key = {"kty": "OKP", "crv": crv, "x": base64url.encode_text(public)}
    return key if private is None else key | {"d": base64url.encode_text(private)}


SIGN_JWK = okp("Ed25519", KEY.public.raw, KEY.key.private_bytes_raw())
VERIFY_JWK = okp("Ed25519", KEY.public.raw)
OPEN_JWK = okp("X25519", RECIPIENT.public.raw, RECIPIENT.key.private_bytes_raw())
SEAL_JWK = okp("X25519", RECIPIENT.public.raw)


def header_of(token: bytes | str) -> dict[str, Any]:
    text = token if isinstance(token, bytes) else token.encode()
    return json.loads(base64url.decode(text.split(b".")[0]))


# JWS.


def verify_joserfc(token: bytes) -> bytes:
    key = joserfc.jwk.OKPKey.import_key(VERIFY_JWK)
    return joserfc.jws.deserialize_compact(token, key, algorithms=["Ed25519"]).payload


def verify_jwcrypto(token: bytes) -> bytes:
    read = jwcrypto.jws.JWS()
    read.allowed_algs = ["Ed25519"]
    read.deserialize(token.decode(), jwcrypto.jwk.JWK(**VERIFY_JWK))
    return read.payload


def sign_joserfc(header: dict[str, Any], payload: bytes) -> bytes:
    key = joserfc.jwk.OKPKey.import_key(SIGN_JWK)
    token = joserfc.jws.serialize_compact(header, payload, key, algorithms=[header["alg"]])
    return token.encode() if isinstance(token, str) else token


def sign_jwcrypto(header: dict[str, Any], payload: bytes) -> bytes:
    made = jwcrypto.jws.JWS(payload)
    made.allowed_algs = [header["alg"]]
    made.add_signature(jwcrypto.jwk.JWK(**SIGN_JWK), protected=json.dumps(header))
    return made.serialize(compact=True).encode()


@pytest.mark.parametrize("verify", [verify_joserfc, verify_jwcrypto])
def test_others_verify_our_jws(verify: Callable[[bytes], bytes]) -> None:
    token = jws.sign(PAYLOAD, KEY, typ="request")
    assert verify(token) == PAYLOAD
    changed = token[:-20] + (b"A" if token[-20:-19] != b"A" else b"B") + token[-19:]
    with pytest.raises(Exception, match=r"(?i)signature|verification"):
        verify(changed)


@pytest.mark.parametrize("sign", [sign_joserfc, sign_jwcrypto])
def test_we_verify_the_jws_of_others(sign: Sign) -> None:
    token = sign({"alg": "Ed25519", "kid": KEY.kid, "typ": "reply"}, PAYLOAD)
    assert jws.verify(token, KEY.public, typ="reply") == PAYLOAD
    assert jws.verify(token.decode(), KEY.public.key) == PAYLOAD


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # joserfc says so too
@pytest.mark.parametrize("sign", [sign_joserfc, sign_jwcrypto])
def test_we_refuse_the_older_name_of_the_same_algorithm(sign: Sign) -> None:
    with pytest.raises(MeshError) as caught:
        jws.verify(sign({"alg": "EdDSA", "kid": KEY.kid, "typ": "reply"}, PAYLOAD), KEY.public)
    assert caught.value.code == "algorithm_unsupported"


@pytest.mark.parametrize("sign", [sign_joserfc, sign_jwcrypto])
def test_the_same_bytes_come_out_of_every_signer(sign: Sign) -> None:
    """Ed25519 is deterministic: equal bytes have equal signatures."""
    ours = jws.sign(PAYLOAD, KEY, typ="request")
    signing_input, _, signature = sign(header_of(ours), PAYLOAD).rpartition(b".")
    assert signing_input.split(b".")[1] == ours.split(b".")[1]
    assert base64url.decode(signature) == KEY.sign(signing_input)


def test_our_jws_header_is_exactly_as_designed() -> None:
    token = jws.sign(PAYLOAD, KEY, typ="request")
    assert header_of(token) == {"alg": "Ed25519", "kid": KEY.kid, "typ": "request"}
    assert joserfc.jwk.OKPKey.import_key(VERIFY_JWK).thumbprint() == KEY.kid
    assert jwcrypto.jwk.JWK(**VERIFY_JWK).thumbprint() == KEY.kid
    assert jwcrypto.jwk.JWK(**SEAL_JWK).thumbprint() == RECIPIENT.kid


@pytest.mark.skipif(
    shutil.which("openssl") is None, reason="NO OPENSSL HERE: its check of our JWS did not run"
)
def test_openssl_verifies_our_jws(tmp_path: Path) -> None:
    signing_input, _, signature = jws.sign(PAYLOAD, KEY, typ="request").rpartition(b".")
    (tmp_path / "key.pem").write_bytes(
        KEY.public.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    (tmp_path / "signature").write_bytes(base64url.decode(signature))
    command = [
        "openssl",
        "pkeyutl",
        "-verify",
        "-pubin",
        "-inkey",
        "key.pem",
        "-rawin",
        "-in",
        "input",
        "-sigfile",
    ]
    for text, expected in ((signing_input, True), (signing_input + b"A", False)):
        (tmp_path / "input").write_bytes(text)
        done = subprocess.run([*command, "signature"], cwd=tmp_path, capture_output=True, check=False)
        assert (done.returncode == 0) is expected, done.stderr


# JWE.


def open_joserfc(token: str) -> bytes:
    key = joserfc.jwk.OKPKey.import_key(OPEN_JWK)
    return joserfc.jwe.decrypt_compact(token, key, algorithms=["ECDH-ES", "A256GCM"]).plaintext or b""


def open_jwcrypto(token: str) -> bytes:
    read = jwcrypto.jwe.JWE()
    read.allowed_algs = ["ECDH-ES", "A256GCM"]
    read.deserialize(token, jwcrypto.jwk.JWK(**OPEN_JWK))
    return read.payload


def seal_joserfc(header: dict[str, Any], payload: bytes) -> str:
    key = joserfc.jwk.OKPKey.import_key(SEAL_JWK)
    return joserfc.jwe.encrypt_compact(header, payload, key, algorithms=["ECDH-ES", "A256GCM"])


def seal_jwcrypto(header: dict[str, Any], payload: bytes) -> str:
    made = jwcrypto.jwe.JWE(payload, json.dumps(header))
    made.allowed_algs = ["ECDH-ES", "A256GCM"]
    made.add_recipient(jwcrypto.jwk.JWK(**SEAL_JWK))
    return made.serialize(compact=True)


OUR_HEADER = {
    "alg": "ECDH-ES",
    "apu": base64url.encode_text(SENDER_NAME.encode()),
    "apv": base64url.encode_text(RECIPIENT_NAME.encode()),
    "cty": "json",
    "enc": "A256GCM",
    "kid": RECIPIENT.kid,
    "typ": "sealed",
}


@pytest.mark.parametrize("open_", [open_joserfc, open_jwcrypto])
def test_others_open_our_jwe(open_: Callable[[str], bytes]) -> None:
    sealer = Sealer(SENDER_NAME, lambda recipient, number: EPHEMERAL, lambda: 0)
    for number in range(3):
        # The second and third reuse the ephemeral key with a counter that has risen.
        plain = json.dumps({"n": number, "名": "北見市" * 40 * number}, ensure_ascii=False).encode()
        opened = open_(sealer.seal(plain, RECIPIENT_NAME, RECIPIENT.public))
        assert opened == plain.ljust((256, 512, 1024)[number])
        assert json.loads(opened) == json.loads(plain)


@pytest.mark.parametrize("seal", [seal_joserfc, seal_jwcrypto])
def test_we_open_the_jwe_of_others(seal: Seal) -> None:
    token = seal(dict(OUR_HEADER), PAYLOAD.ljust(256))
    assert header_of(token).keys() == {*OUR_HEADER, "epk"}
    assert sealing.open_sealed(token, RECIPIENT, apu=SENDER_NAME, apv=RECIPIENT_NAME) == PAYLOAD
    assert Opener(RECIPIENT_NAME, RECIPIENT).open(token, sender=SENDER_NAME) == PAYLOAD
    with pytest.raises(MeshError, match="seal_invalid"):
        sealing.open_sealed(token, SealingKey(X25519PrivateKey.from_private_bytes(bytes(range(7, 39)))))
    with pytest.raises(MeshError, match="seal_invalid"):
        sealing.open_sealed(seal(dict(OUR_HEADER), PAYLOAD), RECIPIENT)  # without padding


@pytest.mark.parametrize("seal", [seal_joserfc, seal_jwcrypto])
@pytest.mark.parametrize("missing", sorted(OUR_HEADER.keys() - {"alg", "enc"}))
def test_we_refuse_a_jwe_of_others_that_leaves_a_header_member_out(seal: Seal, missing: str) -> None:
    header = {name: value for name, value in OUR_HEADER.items() if name != missing}
    with pytest.raises(MeshError, match="seal_invalid"):
        sealing.open_sealed(seal(header, PAYLOAD.ljust(256)), RECIPIENT)


def test_our_jwe_header_is_exactly_as_designed() -> None:
    token = sealing.seal(PAYLOAD, RECIPIENT.public, ephemeral=EPHEMERAL, apu=SENDER_NAME, apv=RECIPIENT_NAME)
    epk = okp("X25519", EPHEMERAL.public.raw)
    assert header_of(token) == OUR_HEADER | {"epk": epk}
    assert token.split(".")[1] == ""
