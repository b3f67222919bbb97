"""Seals: bound to their message and parties, never a repeated key and IV, and only a MeshError on any bytes."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mesh import base64url, channels, sealing
from mesh.channels import CHANNELS_MAX, EPHEMERAL_LIFE_US, EPHEMERAL_USES_MAX, Opener, Sealer
from mesh.errors import MeshError
from mesh.keys import SMALL_ORDER_U, P, SealingKey
from mesh.message import Body, Notice, Reply, Request, encode
from mesh.node import Node
from mesh.party import decode_body
from mesh.policy import LegalBasis
from mesh.service import Caller, PersonalService, serves
from mesh.simulation import Simulation
from mesh.testing import messages, simulation

SENDER, RECIPIENT = "muni/01208/desk", "muni/28100/tax"
KEY = SealingKey.from_seed(bytes(range(1, 33)))
OTHER = SealingKey.from_seed(bytes(range(2, 34)))


class Source:
    """Ephemeral keys as a host makes them, and a clock."""

    def __init__(self) -> None:
        self.made = 0
        self.now_us = 0

    def __call__(self, recipient: str, number: int) -> SealingKey:
        self.made += 1
        return SealingKey.from_seed(number.to_bytes(4, "big") + bytes(28))


def new_sealer() -> tuple[Sealer, Source]:
    source = Source()
    return Sealer(SENDER, source, lambda: source.now_us), source


def sealed(plaintext: bytes = b"{}", **changes: str) -> str:
    names = {"apu": SENDER, "apv": RECIPIENT} | changes
    return sealing.seal(plaintext, KEY.public, ephemeral=OTHER, **names)


def code_of(token: str | bytes, key: SealingKey = KEY, **names: str) -> str | None:
    try:
        sealing.open_sealed(token, key, **names)
    except MeshError as error:
        return error.code
    return None


@given(st.dictionaries(st.text(max_size=9), st.text(max_size=300), max_size=3))
def test_what_is_sealed_opens_for_its_recipient_alone(value: dict[str, str]) -> None:
    sealer, _ = new_sealer()
    document = json.dumps(value).encode()
    token = sealer.seal(document, RECIPIENT, KEY.public)
    assert sealing.open_sealed(token, KEY) == document
    assert sealing.open_sealed(token.encode(), KEY, apu=SENDER, apv=RECIPIENT) == document
    assert Opener(RECIPIENT, KEY).open(token, sender=SENDER) == document
    assert code_of(token, OTHER) == "seal_invalid"


def test_seals_of_short_documents_have_one_length() -> None:
    assert len({len(sealed(b'{"a":"%b"}' % (b"a" * length))) for length in range(249)}) == 1
    assert len(sealed(b'{"a":"%b"}' % (b"a" * 249))) > len(sealed())


@pytest.mark.parametrize(
    "wrong", [b"{}", b"{}".ljust(255), b"{}".ljust(512), b"{}".ljust(256, b"\n"), b"{".ljust(256)]
)
def test_what_is_not_padded_as_it_must_be_is_seal_invalid(
    wrong: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing, "padded", lambda document: document)
    token = sealed(wrong)
    assert code_of(token) == "seal_invalid"
    with pytest.raises(MeshError, match="seal_invalid"):
        Opener(RECIPIENT, KEY).open(token, sender=SENDER)
    assert code_of(sealed(b"{}".ljust(256))) is None


def test_sender_and_recipient_are_bound() -> None:
    token = sealed()
    assert code_of(token, apu="muni/01100/desk") == "seal_invalid"
    assert code_of(token, apv="muni/01100/desk") == "seal_invalid"
    for opener, sender in (
        (Opener(RECIPIENT, KEY), "muni/01100/desk"),
        (Opener("muni/01100/desk", KEY), SENDER),
    ):
        with pytest.raises(MeshError, match="seal_invalid"):
            opener.open(token, sender=sender)


def test_a_known_channel_does_not_open_for_another_sender() -> None:
    """The cache answers by header: it must ask for the sender again."""
    opener, token = Opener(RECIPIENT, KEY), sealed()
    assert opener.open(token, sender=SENDER) == b"{}"
    with pytest.raises(MeshError, match="seal_invalid"):
        opener.open(token, sender="muni/01100/desk")
    assert opener.open(token, sender=SENDER) == b"{}"


def with_header(token: str, **changes: Any) -> str:
    header, rest = token.split(".", 1)
    members = json.loads(base64url.decode_text(header)) | changes
    members = {name: value for name, value in members.items() if value is not None}
    return base64url.encode_text(json.dumps(members).encode()) + "." + rest


@pytest.mark.parametrize(
    "changes",
    [
        {"alg": "ECDH-ES+A256KW"},
        {"alg": "dir"},
        {"enc": "A128GCM"},
        {"kid": OTHER.public.kid},
        {"typ": "JWE"},
        {"cty": "text"},
        {"zip": "DEF"},
        {"crit": ["x"]},
        {"apu": None},
        {"apv": None},
        {"epk": None},
        {"epk": {}},
        {"epk": {"kty": "OKP", "crv": "X25519", "x": "AAAA"}},
        {"epk": {"kty": "OKP", "crv": "X448", "x": base64url.encode_text(OTHER.public.raw)}},
        {"epk": {"kty": "OKP", "crv": "X25519", "x": base64url.encode_text(OTHER.public.raw), "d": "AA"}},
        {"apu": "***"},
        {"apu": base64url.encode_text(b"\xff")},
        {"apu": 7},
    ],
    ids=str,
)
def test_a_header_is_exactly_as_designed_or_refused(changes: dict[str, Any]) -> None:
    assert code_of(with_header(sealed(), **changes)) == "seal_invalid"


def test_small_order_ephemerals_are_weak() -> None:
    for u in (*SMALL_ORDER_U, P, P + 1, 2**255 - 1, 2**255):
        epk = {"kty": "OKP", "crv": "X25519", "x": base64url.encode_text(u.to_bytes(32, "little"))}
        assert code_of(with_header(sealed(), epk=epk)) == "key_weak"


@pytest.mark.parametrize("part", range(5))
def test_every_part_counts(part: int) -> None:
    parts = sealed(b'{"a":1}').split(".")
    for changed in ("", "A", "AAAA", parts[part] + "A", parts[part][:-1], "=" + parts[part][1:]):
        if changed != parts[part]:
            assert code_of(".".join([*parts[:part], changed, *parts[part + 1 :]])) == "seal_invalid"
    assert code_of(".".join(parts[:part] + parts[part + 1 :])) == "seal_invalid"


@given(st.data())
def test_any_change_of_a_seal_is_refused(data: st.DataObject) -> None:
    token = sealed(b'{"year":2025}')
    start = data.draw(st.integers(0, len(token) - 1))
    stop = data.draw(st.integers(start, min(start + 8, len(token))))
    changed = token[:start] + data.draw(st.text(max_size=6)) + token[stop:]
    if changed != token:
        assert code_of(changed) in ("seal_invalid", "key_weak")


@given(st.binary(max_size=200) | st.text(max_size=100))
@example("....")
@example("..")
@example("\udc80....")
@example(b"\xff....")
def test_any_bytes_raise_only_a_mesh_error(token: bytes | str) -> None:
    assert code_of(token) == "seal_invalid"
    if isinstance(token, str):
        with pytest.raises(MeshError):
            Opener(RECIPIENT, KEY).open(token, sender=SENDER)


# The body under the seal.


@given(st.binary(max_size=200))
@example(b'{"id":"1","source":"a","recipient":"b","data":' + b"[" * 9999 + b"]" * 9999 + b"}")
@example(b'{"id":"1","id":"2","source":"a","recipient":"b","data":1}')
def test_what_is_no_body_is_seal_invalid(plaintext: bytes) -> None:
    with pytest.raises(MeshError, match="seal_invalid"):
        decode_body(plaintext)


def test_a_body_keeps_its_content_verbatim() -> None:
    body = Body("1", SENDER, RECIPIENT, msgspec.Raw(b'{"b":1,"a":[ 2 ]}'))
    assert bytes(decode_body(encode(body)).data) == b'{"b":1,"a":[ 2 ]}'


# Keys and counters.


def iv_of(token: str) -> tuple[str, int]:
    header, _, iv, *_ = token.split(".")
    return header, int.from_bytes(base64url.decode_text(iv), "big")


def test_the_counter_rises_under_one_ephemeral() -> None:
    sealer, source = new_sealer()
    seen = [iv_of(sealer.seal(b"{}", RECIPIENT, KEY.public)) for _ in range(5)]
    assert [iv for _, iv in seen] == [0, 1, 2, 3, 4]
    assert len({header for header, _ in seen}) == source.made == 1


def test_an_ephemeral_lives_an_hour() -> None:
    sealer, source = new_sealer()
    first = iv_of(sealer.seal(b"{}", RECIPIENT, KEY.public))
    source.now_us = EPHEMERAL_LIFE_US - 1
    assert iv_of(sealer.seal(b"{}", RECIPIENT, KEY.public)) == (first[0], 1)
    source.now_us = EPHEMERAL_LIFE_US
    renewed = iv_of(sealer.seal(b"{}", RECIPIENT, KEY.public))
    assert renewed[0] != first[0]
    assert renewed[1] == 0


def test_an_ephemeral_serves_a_bounded_number_of_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    assert EPHEMERAL_USES_MAX == 2**20
    monkeypatch.setattr(channels, "EPHEMERAL_USES_MAX", 3)
    sealer, source = new_sealer()
    seen = [iv_of(sealer.seal(b"{}", RECIPIENT, KEY.public)) for _ in range(7)]
    assert [iv for _, iv in seen] == [0, 1, 2, 0, 1, 2, 0]
    assert source.made == 3
    assert len(set(seen)) == 7


def test_caches_are_bounded_and_forgetting_is_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    assert CHANNELS_MAX == 8192
    monkeypatch.setattr(channels, "CHANNELS_MAX", 2)
    sealer, source = new_sealer()
    opener = Opener(RECIPIENT, KEY)
    seen = []
    for name in ("a", "b", "c", "a", "b", "c"):
        token = sealer.seal(b"{}", f"muni/{name}/x", KEY.public)
        seen.append(iv_of(token))
        Opener(f"muni/{name}/x", KEY).open(token, sender=SENDER)
        token = sealer.seal(b"{}", RECIPIENT, KEY.public)
        seen.append(iv_of(token))
        assert opener.open(token, sender=SENDER) == b"{}"
    assert len(set(seen)) == len(seen)
    assert source.made > 4


def test_blanks_in_headers_fill_nobody_s_memory() -> None:
    header, rest = sealed().split(".", 1)
    members = base64url.decode_text(header)
    opener = Opener(RECIPIENT, KEY)
    for count in range(1, 6):
        padded = base64url.encode_text(members + b" " * 10_000 * count)
        with pytest.raises(MeshError, match="seal_invalid"):  # The header is under the tag.
            opener.open(f"{padded}.{rest}", sender=SENDER)
    assert opener._known == {}
    longest = f"muni/{'a' * 40}/{'a' * 40}"
    token = sealed(apu=longest, apv=longest)
    assert Opener(longest, KEY).open(token, sender=longest) == b"{}"
    assert len(token.split(".")[0]) <= channels.HEADER_KEPT_MAX


# In a simulation, across crashes.


class Query(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    year: int


class Answer(msgspec.Struct, frozen=True):
    yes: bool


QUESTION = PersonalService("t.seal.v1", Query, Answer, title="Q", title_ja="問")


class Office(Node):
    @serves(QUESTION)
    async def answer(self, query: Query, caller: Caller, person: str) -> Answer:
        return Answer(True)


def seals_in(sim: Simulation) -> list[tuple[str, str]]:
    """(header, IV) of each distinct seal that went over the wire."""
    tokens: dict[str, None] = {}
    for one in messages(sim):
        message = one.message
        if isinstance(message, Request | Reply | Notice):
            tokens[message.data] = None
        if getattr(message, "subject", None):
            tokens[message.subject] = None
    return [tuple(token.split(".")[:3:2]) for token in tokens]  # type: ignore[misc]


async def test_no_restart_repeats_a_nonce() -> None:
    with simulation() as sim:
        sim.add(Node, SENDER)
        sim.add(Office, RECIPIENT)
        sim.allow(LegalBasis(SENDER, "p", RECIPIENT, QUESTION.name, ("yes",)))
        code = sim.code("muni/01208", sim.resident("12345678901"))
        for _ in range(4):
            for _ in range(3):
                await sim.node(SENDER).ask(RECIPIENT, QUESTION, Query(1), subject=code, procedure="p")
            for address in (SENDER, RECIPIENT):
                sim.crash(address)
                sim.restart(address)
        seals = seals_in(sim)
        assert len(seals) == 4 * 3 * 3
        assert len(set(seals)) == len(seals)
        # Each incarnation has keys of its own: two recipients of the sender's, one of the office's.
        assert len({header for header, _ in seals}) == 4 * 3
