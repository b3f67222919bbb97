"""Keys: weak points are derived here from the mathematics, not copied from the module's own table."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from array import array
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import example, given
from hypothesis import strategies as st
from jwcrypto.jwk import JWK

from mesh import keys
from mesh.errors import MeshError

P, D = keys.P, keys.D
L = 2**252 + 27742317777372353535851937790883648493
TWIST_L = (2 * (P + 1) - 8 * L) // 4
A24 = 121665


def recover_x(y: int) -> int | None:
    """A root of x² = (y² - 1)/(D·y² + 1), or None off the curve (RFC 8032, 5.1.3)."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    return x if x * x % P == square else None


def add(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    """The complete affine addition law of edwards25519."""
    (x1, y1), (x2, y2) = a, b
    k = D * x1 * x2 * y1 * y2
    return (
        (x1 * y2 + x2 * y1) * pow(1 + k, -1, P) % P,
        (y1 * y2 + x1 * x2) * pow(1 - k, -1, P) % P,
    )


def times(n: int, point: tuple[int, int]) -> tuple[int, int]:
    total = (0, 1)
    while n:
        if n & 1:
            total = add(total, point)
        point, n = add(point, point), n >> 1
    return total


def edwards_torsion() -> set[tuple[int, int]]:
    """All points L·Q: the points whose order divides 8."""
    rng, found = random.Random(1), {(0, 1)}
    for _ in range(500):
        y = rng.randrange(P)
        if (x := recover_x(y)) is not None:
            found.add(times(L, (x, y)))
            found.add(times(L, (P - x, y)))
        if len(found) == 8:
            break
    return found


TORSION = edwards_torsion()


def ladder(n: int, u: int) -> tuple[int, int]:
    """n·(u) on curve25519 or its twist as a fraction (RFC 7748, section 5, without clamping)."""
    x2, z2, x3, z3 = 1, 0, u, 1
    for bit in f"{n:b}":
        if bit == "1":
            x2, z2, x3, z3 = x3, z3, x2, z2
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a % P, b * b % P, d * a % P, c * b % P
        x3, z3 = pow(da + cb, 2, P), u * pow(da - cb, 2, P) % P
        x2, z2 = aa * bb % P, (aa - bb) * (aa + A24 * (aa - bb)) % P
        if bit == "1":
            x2, z2, x3, z3 = x3, z3, x2, z2
    return x2, z2


def encode(number: int) -> bytes:
    return number.to_bytes(32, "little")


def code_of(load: object, raw: bytes) -> str | None:
    try:
        load(raw)  # type: ignore[operator]
    except MeshError as error:
        return error.code
    return None


def test_there_are_eight_torsion_points_and_the_table_has_their_y() -> None:
    assert len(TORSION) == 8
    assert {y for _, y in TORSION} == keys.SMALL_ORDER_Y


def test_every_encoding_of_a_torsion_point_is_weak() -> None:
    encodings = {y + k * P for _, y in TORSION for k in (0, 1) if y + k * P < 2**255}
    assert len(encodings) == 7  # 0 and 1 have a second, unreduced encoding each
    for y in encodings:
        for sign in (0, 1):
            assert code_of(keys.load_public_key, encode(y | sign << 255)) == "key_weak"


def test_every_unreduced_y_is_weak() -> None:
    for y in range(P, 2**255):
        for sign in (0, 1):
            assert code_of(keys.load_public_key, encode(y | sign << 255)) == "key_weak"


def test_cryptography_alone_would_accept_a_forgery_under_a_weak_key() -> None:
    # The neutral element as key: R = identity, S = 0 verifies every message.
    weak = encode(1)
    Ed25519PublicKey.from_public_bytes(weak).verify(encode(1) + bytes(32), b"whatever")
    assert code_of(keys.load_public_key, weak) == "key_weak"


def test_points_off_the_curve_are_malformed_and_others_load() -> None:
    rng, seen = random.Random(2), set()
    for _ in range(60):
        y = rng.randrange(P)
        code = code_of(keys.load_public_key, encode(y))
        assert code == (None if recover_x(y) is not None else "message_malformed")
        seen.add(code)
    assert seen == {None, "message_malformed"}


@given(st.binary(max_size=80) | st.binary(min_size=32, max_size=32))
def test_any_bytes_give_a_key_or_a_mesh_error(raw: bytes) -> None:
    for load in (keys.load_public_key, keys.load_seal_key):
        code = code_of(load, raw)
        assert code in {None, "key_weak", "message_malformed"}
        assert len(raw) == 32 or code == "message_malformed"


class Claims32(bytes):
    """Says of itself what it is not."""

    def __len__(self) -> int:
        return 32

    def __bytes__(self) -> bytes:
        return bytes(32)


class Broken:
    """Fails whatever it is asked."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    @property
    def __class__(self) -> type:
        raise RuntimeError("class")

    def __len__(self) -> int:
        raise RuntimeError("len")

    def __bytes__(self) -> bytes:
        raise RuntimeError("bytes")


def released() -> memoryview:
    view = memoryview(bytes(32))
    view.release()
    return view


ANYTHING = (
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.just(10**15)
        | st.floats()
        | st.text()
        | st.binary()
        | st.dates(),
        lambda inner: (
            st.lists(inner)
            | st.tuples(inner)
            | st.dictionaries(st.text(), inner)
            | st.frozensets(st.integers())
        ),
    )
    | st.lists(st.integers(0, 255), min_size=32, max_size=32)
    | st.text(min_size=32, max_size=32)
)


@given(ANYTHING)
@example(Claims32(b"short"))
@example(Broken())
@example(released())
@example(memoryview(bytes(128)).cast("i"))
@example(array("i", range(32)))
@example(range(32))
@example(bytes)
@example(keys.SigningKey.from_seed(bytes(32)).public)
@example(keys.SigningKey.from_seed(bytes(32)).public.key)
def test_anything_else_raises_a_mesh_error(raw: Any) -> None:
    for load in (keys.load_public_key, keys.load_seal_key):
        if not (type(raw) is bytes and len(raw) == 32):
            assert code_of(load, raw) == "message_malformed"


def test_every_kind_of_bytes_loads() -> None:
    raw = keys.SigningKey.from_seed(bytes(32)).public.raw
    sealing = keys.SealingKey.from_seed(bytes(32)).public.raw
    strided = bytes(byte for each in raw for byte in (each, 0))
    for data in (raw, bytearray(raw), memoryview(raw), memoryview(strided)[::2]):
        assert keys.load_public_key(data).raw == raw  # type: ignore[arg-type]
    assert type(keys.load_seal_key(bytearray(sealing)).raw) is bytes


def test_small_u_are_those_of_curve_and_twist() -> None:
    rng, found = random.Random(3), set()
    for _ in range(200):
        u = rng.randrange(1, P)
        on_curve = pow(u * (u * u + 486662 * u + 1), (P - 1) // 2, P) == 1
        x, z = ladder(L if on_curve else TWIST_L, u)
        if z:
            found.add(x * pow(z, -1, P) % P)
        if len(found) == 5:
            break
    assert found == keys.SMALL_ORDER_U


def test_weak_sealing_keys_are_refused_with_and_without_their_top_bit() -> None:
    own = keys.SealingKey.from_seed(b"s" * 32)
    encodings = {u + k * P for u in keys.SMALL_ORDER_U for k in (0, 1) if u + k * P < 2**255}
    assert len(encodings) == 7
    for u in encodings:
        for top in (0, 1):
            raw = encode(u | top << 255)
            assert code_of(keys.load_seal_key, raw) == "key_weak"
            with pytest.raises(MeshError) as raised:
                own.exchange(keys.SealPublicKey(raw))
            assert raised.value.code == "key_weak"


def test_unreduced_sealing_keys_are_refused() -> None:
    for u in range(P, 2**255):
        assert code_of(keys.load_seal_key, encode(u)) == "key_weak"
    good = keys.SealingKey.from_seed(b"g" * 32).public.raw
    assert code_of(keys.load_seal_key, good) is None
    assert code_of(keys.load_seal_key, good[:31] + bytes([good[31] | 0x80])) == "key_weak"


def test_both_sides_agree_on_a_secret() -> None:
    a, b = keys.SealingKey.from_seed(b"a" * 32), keys.SealingKey.from_seed(b"b" * 32)
    assert a.exchange(keys.load_seal_key(b.public.raw)) == b.exchange(a.public)
    assert a.kid == keys.load_seal_key(a.public.raw).kid == a.public.kid


def test_thumbprint_is_the_one_of_rfc_8037_and_of_jwcrypto() -> None:
    # RFC 8037, appendices A.1 and A.3.
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    key = keys.SigningKey.from_seed(seed)
    assert key.kid == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    assert key.kid == JWK.from_pyca(key.public.key).thumbprint()
    sealing = keys.SealingKey.from_seed(seed).public
    assert sealing.kid == JWK.from_pyca(sealing.key).thumbprint()


def test_signatures_are_checked_and_counted() -> None:
    key = keys.SigningKey.from_seed(b"k" * 32)
    public = keys.load_public_key(key.public.raw)
    made, checked = keys.COUNTS.sign, keys.COUNTS.verify
    signature = key.sign(b"data")
    public.verify(signature, b"data")
    for wrong, data in (
        (signature, b"date"),
        (signature[:-1], b"data"),
        (b"", b"data"),
        (bytes(64), b"data"),
    ):
        with pytest.raises(MeshError) as raised:
            public.verify(wrong, data)
        assert raised.value.code == "signature_invalid"
    assert (keys.COUNTS.sign - made, keys.COUNTS.verify - checked) == (1, 5)


def test_a_signature_has_one_form() -> None:
    key = keys.SigningKey.from_seed(b"k" * 32)
    signature = key.sign(b"data")
    other = signature[:32] + encode(int.from_bytes(signature[32:], "little") + L)
    with pytest.raises(MeshError):
        key.public.verify(other, b"data")


def test_derive_tells_label_sequences_apart() -> None:
    sequences = [(), ("",), ("", ""), ("a", "bc"), ("ab", "c"), ("abc",), ("a", "b", "c")]
    assert len({keys.derive(b"seed", *labels) for labels in sequences}) == len(sequences)
    assert keys.derive(b"seed", "a") != keys.derive(b"seeds", "a")
    # Pinned: stored transcripts depend on it.
    assert keys.derive(b"seed", "a").hex()[:16] == "2a3448e95eec2f02"


def test_node_keys_are_independent_and_repeatable() -> None:
    one = keys.NodeKeys.derived(b"seed", "muni/01208/tax")
    again = keys.NodeKeys.derived(b"seed", "muni/01208/tax")
    assert (one.signing.kid, one.sealing.kid, one.tls.kid) == (
        again.signing.kid,
        again.sealing.kid,
        again.tls.kid,
    )
    later = keys.NodeKeys.derived(b"seed", "muni/01208/tax", 1)
    other = keys.NodeKeys.derived(b"seed", "muni/28100/tax")
    named = [key.kid for node in (one, later, other) for key in (node.signing, node.sealing, node.tls)]
    assert len(set(named)) == 9
    assert len({key.key.private_bytes_raw() for key in (one.signing, one.sealing, one.tls)}) == 3
    # Sealing is not the signing key carried over by the map between the two curves (RFC 7748, 4.1).
    for ed in (one.signing, one.tls):
        y = int.from_bytes(ed.public.raw, "little") & (2**255 - 1)
        assert encode((1 + y) * pow(1 - y, -1, P) % P) != one.sealing.public.raw


def test_importing_keys_does_not_load_x509() -> None:
    program = "import sys, json, mesh.keys; print(json.dumps([m for m in sys.modules if 'x509' in m]))"
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout
    assert "cryptography.x509" not in json.loads(out)
