"""The authority: what it issues stands up to OpenSSL, and one change anywhere is refused."""

from __future__ import annotations

import datetime
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID, NameOID
from cryptography.x509.verification import ExtensionPolicy, PolicyBuilder, Store, VerificationError
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh import authority as module
from mesh.authority import Authority, root_key, verify_chain
from mesh.errors import MeshError
from mesh.keys import NodeKeys, SigningKey, VerifyKey, derive

NOW_US = 1_775_001_600_000_000
YEAR_US = 365 * 86_400_000_000
SEED = b"seed"
TAX, HEALTH, KOBE = "muni/01208/tax", "muni/01208/health", "muni/28100/tax"


def made() -> Authority:
    return Authority(SEED, NOW_US)


AUTHORITY = made()
ROOT = AUTHORITY.root_der
TAX_KEY = NodeKeys.derived(SEED, TAX).signing


def issue(
    authority: Authority = AUTHORITY, address: str = TAX, public: VerifyKey = TAX_KEY.public
) -> tuple[bytes, ...]:
    return authority.issue(address, public, not_before_us=NOW_US, not_after_us=NOW_US + YEAR_US)


CHAIN = issue()


def refused(chain: tuple[bytes, ...], *, root: bytes = ROOT, address: str = TAX) -> str:
    with pytest.raises(MeshError) as raised:
        verify_chain(chain, root, address=address)
    return raised.value.code


def test_a_chain_says_who_which_key_and_when() -> None:
    certificate = verify_chain(CHAIN, ROOT, address=TAX)
    assert certificate.address == TAX
    assert certificate.public.raw == TAX_KEY.public.raw
    assert (certificate.not_before_us, certificate.not_after_us) == (NOW_US, NOW_US + YEAR_US)
    assert certificate.serial == x509.load_der_x509_certificate(CHAIN[0]).serial_number


def test_times_are_rounded_outwards_and_begin_with_the_authority() -> None:
    chain = AUTHORITY.issue(TAX, TAX_KEY.public, not_before_us=NOW_US + 1, not_after_us=NOW_US + 1_000_001)
    certificate = verify_chain(chain, ROOT, address=TAX)
    assert (certificate.not_before_us, certificate.not_after_us) == (NOW_US, NOW_US + 2_000_000)
    chain = AUTHORITY.issue(
        TAX, TAX_KEY.public, not_before_us=NOW_US - 21 * YEAR_US, not_after_us=NOW_US + 50 * YEAR_US
    )
    certificate = verify_chain(chain, ROOT, address=TAX)
    assert certificate.not_before_us == NOW_US - 20 * YEAR_US
    assert certificate.not_after_us == NOW_US + 50 * YEAR_US


def test_the_authority_has_no_end() -> None:
    """RFC 5280, section 4.1.2.5: 99991231235959Z for what has no well-defined expiration date."""
    for der in (ROOT, CHAIN[1]):
        assert (
            x509.load_der_x509_certificate(der).not_valid_after_utc.isoformat() == "9999-12-31T23:59:59+00:00"
        )


def test_the_same_seed_and_time_give_the_same_bytes() -> None:
    again = made()
    assert again.root_der == ROOT
    assert issue(again) == CHAIN
    assert again.fingerprint == AUTHORITY.fingerprint
    other = Authority(b"other", NOW_US)
    assert other.root_der != ROOT
    assert issue(other)[1] != CHAIN[1]


def test_a_certificate_does_not_depend_on_what_was_issued_before_it() -> None:
    again = made()
    other = issue(again, KOBE, NodeKeys.derived(SEED, KOBE).signing.public)
    assert issue(again) == CHAIN
    assert issue(again, KOBE, NodeKeys.derived(SEED, KOBE).signing.public) == other
    serials = [x509.load_der_x509_certificate(der).serial_number for der in (*CHAIN, *other, ROOT)]
    assert len(set(serials)) == 5
    assert all(0 < serial < 2**159 for serial in serials)


def test_the_profile_is_on_every_certificate() -> None:
    for der, ca, path_length in ((CHAIN[0], False, None), (CHAIN[1], True, 0), (ROOT, True, 1)):
        extensions = x509.load_der_x509_certificate(der).extensions
        basic = extensions.get_extension_for_class(x509.BasicConstraints)
        assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, ca, path_length)
        assert extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign is ca
        for oid in (ExtensionOID.SUBJECT_KEY_IDENTIFIER, ExtensionOID.AUTHORITY_KEY_IDENTIFIER):
            assert extensions.get_extension_for_oid(oid)
    names = x509.load_der_x509_certificate(CHAIN[0]).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert names.value.get_values_for_type(x509.UniformResourceIdentifier) == [f"urn:mesh:{TAX}"]


def test_one_member_has_one_ca_and_another_has_another() -> None:
    other = NodeKeys.derived(SEED, HEALTH).signing.public
    assert issue(AUTHORITY, HEALTH, other)[1] == CHAIN[1]
    assert issue(AUTHORITY, KOBE)[1] != CHAIN[1]


def test_the_longest_address_can_be_certified() -> None:
    address = f"firm/{'a' * 40}/{'b' * 40}"
    assert verify_chain(issue(AUTHORITY, address), ROOT, address=address).address == address


def test_what_is_no_address_is_not_certified() -> None:
    with pytest.raises(MeshError) as raised:
        issue(AUTHORITY, "muni/01208")
    assert raised.value.code == "recipient_unknown"
    assert refused(CHAIN, address="muni/01208") == "recipient_unknown"


def test_openssl_accepts_the_chain(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    for name, der in (("leaf", CHAIN[0]), ("member", CHAIN[1]), ("root", ROOT)):
        pem = x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)
        (tmp_path / name).write_bytes(pem)
    command = [openssl, "verify", "-x509_strict", "-attime", str(NOW_US // 1_000_000 + 60)]
    command += ["-CAfile", "root", "-untrusted", "member", "leaf"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).stdout == b"leaf: OK\n"


def test_a_foreign_root_a_foreign_node_and_a_foreign_order_are_refused() -> None:
    other = Authority(b"other", NOW_US)
    assert refused(CHAIN, root=other.root_der) == "key_unknown"
    assert refused(CHAIN, address=HEALTH) == "key_unknown"
    assert refused(CHAIN, address=KOBE) == "key_unknown"
    assert refused(CHAIN[::-1]) == "key_unknown"
    assert refused((CHAIN[0], issue(other)[1])) == "key_unknown"
    assert refused((CHAIN[0], ROOT)) == "key_unknown"
    # A node's certificate is no CA, and the root is no member.
    assert refused((CHAIN[0], CHAIN[0])) == "key_unknown"
    for length in (0, 1, 3):
        assert refused((CHAIN * 2)[:length]) == "key_unknown"
    assert refused(CHAIN, root=CHAIN[1]) == "key_unknown"


def test_bytes_that_are_no_certificate_are_malformed() -> None:
    for junk in (b"", b"junk", CHAIN[0][:-1], CHAIN[0] + b"\x00"):
        assert refused((junk, CHAIN[1])) == "message_malformed"
        assert refused((CHAIN[0], junk)) == "message_malformed"
        assert refused(CHAIN, root=junk) == "message_malformed"


def test_every_flipped_bit_is_refused() -> None:
    for der, chain in ((CHAIN[0], lambda x: (x, CHAIN[1])), (CHAIN[1], lambda x: (CHAIN[0], x))):
        for position in range(len(der)):
            changed = bytearray(der)
            changed[position] ^= 1 << position % 8
            assert refused(chain(bytes(changed))) in {"key_unknown", "message_malformed", "key_weak"}


@settings(max_examples=300)
@given(st.data())
def test_any_bytes_give_only_mesh_errors(data: st.DataObject) -> None:
    der = bytearray(data.draw(st.sampled_from((CHAIN[0], CHAIN[1], ROOT))))
    start = data.draw(st.integers(0, len(der)))
    der[start : start + data.draw(st.integers(0, 20))] = data.draw(st.binary(max_size=20))
    for chain, root in (((der, CHAIN[1]), ROOT), ((CHAIN[0], der), ROOT), (CHAIN, der)):
        try:
            verify_chain(chain, root, address=TAX)
        except MeshError as error:
            assert error.code in {"key_unknown", "message_malformed", "key_weak"}  # noqa: PT017


def forged(
    monkeypatch: pytest.MonkeyPatch, change: object, *, address: str = TAX, public: VerifyKey = TAX_KEY.public
) -> tuple[bytes, ...]:
    """A chain that the true authority signs over another profile."""
    with monkeypatch.context() as patch:
        original = module._extensions
        patch.setattr(module, "_extensions", lambda *a: change(list(original(*a))))  # type: ignore[operator]
        return issue(made(), address, public)


@pytest.mark.parametrize("missing", range(5))
def test_a_missing_extension_is_refused(monkeypatch: pytest.MonkeyPatch, missing: int) -> None:
    chain = forged(monkeypatch, lambda parts: [part for n, part in enumerate(parts) if n != missing])
    assert refused((chain[0], CHAIN[1])) == "key_unknown"
    if missing < 4:
        assert refused((CHAIN[0], chain[1])) == "key_unknown"


def test_an_extension_more_or_with_another_value_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    more = module._extension(x509.OCSPNoCheck())
    chain = forged(monkeypatch, lambda parts: [*parts, more])
    assert refused((chain[0], CHAIN[1])) == "key_unknown"
    ca = module._extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    chain = forged(monkeypatch, lambda parts: [ca, *parts[1:]])
    assert refused((chain[0], CHAIN[1])) == "key_unknown"
    assert refused((CHAIN[0], chain[1])) == "key_unknown"
    # The same value, but no longer critical.
    chain = forged(monkeypatch, lambda parts: [x509.Extension(p.oid, False, p.value) for p in parts])
    assert refused((chain[0], CHAIN[1])) == "key_unknown"


def test_a_member_cannot_certify_for_another_member() -> None:
    """The CA of 01208 signs a perfect certificate for a node of 28100."""
    member_key = SigningKey.from_seed(derive(SEED, "authority", "member", "muni/01208"))
    issuer = module._Issuer(module._member_name("muni/01208"), member_key)
    leaf = AUTHORITY._certify(issuer, module._node_name(KOBE), TAX_KEY.public, address=KOBE)
    own = issue(AUTHORITY, KOBE)[1]
    assert refused((leaf, CHAIN[1]), address=KOBE) == "key_unknown"
    assert refused((leaf, own), address=KOBE) == "key_unknown"


def test_a_weak_key_with_a_certificate_is_weak() -> None:
    assert refused(issue(AUTHORITY, TAX, VerifyKey(bytes(32)))) == "key_weak"


def test_another_algorithm_is_refused() -> None:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256

    key = ec.derive_private_key(7, ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, start, start)
    der = builder.sign(key, SHA256()).public_bytes(Encoding.DER)
    assert refused((der, CHAIN[1])) == "key_unknown"
    assert refused((CHAIN[0], der)) == "key_unknown"
    assert refused(CHAIN, root=der) == "key_unknown"


def test_the_root_key_is_the_one_that_signs_heads() -> None:
    assert root_key(ROOT).kid == AUTHORITY.signing.kid
    with pytest.raises(MeshError) as raised:
        root_key(CHAIN[1])
    assert raised.value.code == "key_unknown"


def test_the_librarys_own_verifier_still_refuses_ed25519() -> None:
    """When this fails, `verify_chain` can use `cryptography.x509.verification` instead."""
    leaf, member, root = (x509.load_der_x509_certificate(der) for der in (*CHAIN, ROOT))
    moment = datetime.datetime.fromtimestamp(NOW_US // 1_000_000, datetime.UTC).replace(tzinfo=None)
    verifier = (
        PolicyBuilder()
        .store(Store([root]))
        .time(moment)
        .extension_policies(
            ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=ExtensionPolicy.permit_all()
        )
        .build_client_verifier()
    )
    with pytest.raises(VerificationError, match="Forbidden"):
        verifier.verify(leaf, [member])
