"""The registry: what a view believes, what it refuses, and what it costs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh import jws, merkle
from mesh.authority import Authority
from mesh.errors import MeshError
from mesh.keys import COUNTS, NodeKeys
from mesh.names import Zone
from mesh.registry import (
    TYP,
    Entry,
    Head,
    Proven,
    Registry,
    key_record,
)
from mesh.view import Shared, View

NOW_US = 1_775_001_600_000_000
DAY_US = 86_400_000_000
SEED = b"seed"
TAX, HEALTH = "muni/01208/tax", "muni/01208/health"


class Clock:
    def __init__(self) -> None:
        self.now_us = NOW_US

    def __call__(self) -> int:
        return self.now_us


def node_keys(address: str, generation: int = 0) -> NodeKeys:
    return NodeKeys.derived(SEED, address, generation)


def entry_of(authority: Authority, address: str, *generations: int) -> Entry:
    records = [
        key_record(authority, node_keys(address, g), from_us=NOW_US - DAY_US, until_us=NOW_US + 9 * DAY_US)
        for g in generations or (0,)
    ]
    return Entry(address, Zone.MYNUMBER, ("tax.income.v1",), tuple(records), ("moved.v1",))


class Setting:
    """A registry of two nodes, and a view."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.authority = Authority(SEED, NOW_US)
        self.registry = Registry(self.authority, self.clock)
        for address in (TAX, HEALTH):
            self.registry.put(self.entry(address))
        self.shared = Shared()
        self.view = self.new_view()

    def entry(self, address: str, *generations: int) -> Entry:
        return entry_of(self.authority, address, *generations)

    def new_view(self, source: object = None, shared: Shared | None = None) -> View:
        return View(source or self.registry, self.authority.root_der, shared or self.shared)  # type: ignore[arg-type]

    def signed(self, head: Head) -> bytes:
        return jws.sign(msgspec.json.encode(head), self.authority.signing, typ=TYP)


class Liar:
    """A registry source that answers as the true one does, but for what a test replaces."""

    current = b""

    def __init__(self, true: Registry) -> None:
        self.head: Callable[[], bytes] = true.head
        self.entry: Callable[[str], Proven | None] = true.entry
        self.address_of: Callable[[str], str | None] = true.address_of


@pytest.fixture
def at() -> Setting:
    return Setting()


def code_of(call: Callable[..., object], *args: object) -> str | None:
    try:
        call(*args)
    except MeshError as error:
        return error.code
    return None


def test_a_view_finds_nodes_and_keys(at: Setting) -> None:
    own = node_keys(TAX)
    node = at.view.lookup(TAX)
    assert (node.address, node.member, node.zone) == (TAX, "muni/01208", Zone.MYNUMBER)
    assert (node.services, node.events) == (("tax.income.v1",), ("moved.v1",))
    assert node.verify_key.kid == own.signing.kid
    assert node.seal_key.kid == own.sealing.kid
    assert node.tls_key.kid == own.tls.kid
    key = at.new_view().key(own.signing.kid)
    assert key is node.keys[-1]
    assert (key.address, key.zone) == (TAX, Zone.MYNUMBER)
    assert (key.valid_from_us, key.valid_until_us, key.revoked_us) == (
        NOW_US - DAY_US,
        NOW_US + 9 * DAY_US,
        None,
    )


def test_what_is_not_registered_is_unknown(at: Setting) -> None:
    assert code_of(at.view.lookup, "muni/01208/nursery") == "recipient_unknown"
    assert code_of(at.view.key, node_keys("muni/01208/nursery").signing.kid) == "key_unknown"
    # A sealing or TLS key signs no message.
    assert code_of(at.view.key, node_keys(TAX).sealing.kid) == "key_unknown"
    assert code_of(at.view.key, node_keys(TAX).tls.kid) == "key_unknown"


def test_what_one_view_verified_costs_the_others_no_signature(at: Setting) -> None:
    first = at.view.lookup(TAX)
    signed, verified = COUNTS.sign, COUNTS.verify
    assert all(at.new_view().lookup(TAX) is first for _ in range(10))
    assert (COUNTS.sign, COUNTS.verify) == (signed, verified)
    assert at.new_view(shared=Shared()).lookup(TAX) is not first
    assert COUNTS.verify == verified + 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.zone = Zone.INTERNET  # type: ignore[misc]


def test_another_root_shares_nothing(at: Setting) -> None:
    at.view.lookup(TAX)
    other = Authority(b"other", NOW_US)
    stranger = View(at.registry, other.root_der, at.shared)
    assert code_of(stranger.lookup, TAX) == "key_unknown"
    assert code_of(View(at.registry, b"junk", at.shared).lookup, TAX) == "message_malformed"


def test_a_head_is_signed_after_a_change_and_at_half_its_life_only(at: Setting) -> None:
    first = at.registry.head()
    at.clock.now_us += DAY_US // 2 - 1
    assert at.registry.head() is first
    at.clock.now_us += 1
    at.view.lookup(TAX)
    assert at.view.version == 2
    at.registry.put(at.entry(TAX, 0, 1))
    at.registry.put(at.entry(HEALTH, 0, 1))
    at.view.refresh()
    assert at.view.version == 3


def test_nothing_is_made_before_it_is_used(at: Setting) -> None:
    asked: list[str] = []

    def source(address: str) -> Entry | None:
        asked.append(address)
        return entry_of(at.authority, address) if address.startswith("muni/") else None

    registry = Registry(at.authority, at.clock, source=source)
    view = at.new_view(registry)
    assert code_of(view.lookup, "gov/moj/register") == "recipient_unknown"
    for address in (TAX, TAX, HEALTH, TAX):
        assert view.lookup(address).address == address
    assert asked == ["gov/moj/register", TAX, HEALTH]
    assert view.key(node_keys(TAX).signing.kid).address == TAX
    # A source that makes another node's entry has not made this one.
    wrong = Registry(at.authority, at.clock, source=lambda address: entry_of(at.authority, TAX))
    assert code_of(at.new_view(wrong).lookup, HEALTH) == "recipient_unknown"


class Renewing:
    """A registry whose source certifies for `days` at a time, by its clock."""

    def __init__(self, at: Setting, days: int) -> None:
        self.at, self.days, self.made, self.generation = at, days, 0, 0
        self.registry = Registry(at.authority, at.clock, source=self.make)
        self.view = at.new_view(self.registry)

    def make(self, address: str) -> Entry:
        self.made += 1
        until_us = self.at.clock.now_us + self.days * DAY_US
        keys = node_keys(address, self.generation)
        record = key_record(self.at.authority, keys, from_us=NOW_US - DAY_US, until_us=until_us)
        return Entry(address, Zone.MYNUMBER, (), (record,))

    def code(self, days: int) -> str | None:
        """What a gate says of the node's key after so many days more."""
        self.at.clock.now_us += days * DAY_US
        kid = node_keys(TAX).signing.kid
        self.view.catch_up(self.at.clock.now_us)
        return code_of(lambda: self.view.key(kid).check(self.at.clock.now_us))


@pytest.mark.parametrize("days", [1, 9, 400, 3 * 365])
def test_a_certificate_is_renewed_while_it_is_used(at: Setting, days: int) -> None:
    renewing = Renewing(at, days)
    renewing.view.lookup(TAX)
    first = renewing.view.key(node_keys(TAX).signing.kid)
    for _ in range(4):
        assert renewing.code(days - 1 if days > 1 else 1) is None
    assert 3 <= renewing.made <= 5
    assert renewing.code(20 * days) is None, "it is renewed at use, however long nobody asked"
    key = renewing.view.key(node_keys(TAX).signing.kid)
    assert key.verify_key.kid == first.verify_key.kid
    assert key.valid_from_us == first.valid_from_us, "what it signed before stays verifiable"
    assert renewing.made <= 6


def test_nothing_is_renewed_in_the_first_years(at: Setting) -> None:
    renewing = Renewing(at, 3 * 365)
    renewing.view.lookup(TAX)
    for _ in range(729):
        renewing.code(1)
    assert renewing.made == 1
    renewing.code(2)
    assert renewing.made == 2


def test_what_was_entered_by_hand_or_revoked_is_not_renewed(at: Setting) -> None:
    renewing = Renewing(at, 9)
    renewing.registry.put(at.entry(TAX))
    assert renewing.code(8) is None
    assert renewing.code(2) == "certificate_expired"
    again = Renewing(at, 9)
    again.view.lookup(TAX)
    again.registry.revoke(TAX, at.clock.now_us)
    assert again.code(6) == "certificate_revoked"
    assert again.code(6) == "certificate_expired"
    assert (renewing.made, again.made) == (0, 1)


def test_keys_count_in_their_time_and_until_they_are_revoked(at: Setting) -> None:
    kid = node_keys(TAX).signing.kid
    key = at.view.key(kid)
    assert code_of(key.check, NOW_US - DAY_US - 1) == "certificate_not_yet_valid"
    assert code_of(key.check, NOW_US - DAY_US) is None
    assert code_of(key.check, NOW_US + 9 * DAY_US) is None
    assert code_of(key.check, NOW_US + 9 * DAY_US + 1) == "certificate_expired"
    at.registry.revoke(TAX, NOW_US + 5)
    revoked = at.view.key(kid)
    assert code_of(revoked.check, NOW_US + 4) is None
    assert code_of(revoked.check, NOW_US + 5) == "certificate_revoked"
    assert code_of(at.view.key(node_keys(HEALTH).signing.kid).check, NOW_US + 5) is None
    # Later revocations change nothing, earlier ones do.
    at.registry.revoke(TAX, NOW_US + 9)
    assert at.view.key(kid).revoked_us == NOW_US + 5
    at.registry.revoke(TAX, NOW_US + 1)
    assert at.view.key(kid).revoked_us == NOW_US + 1
    assert code_of(at.registry.revoke, "muni/01208/nursery", NOW_US) == "recipient_unknown"


def test_every_view_learns_of_a_new_key_and_keeps_the_old_one(at: Setting) -> None:
    views = [at.view, at.new_view()]
    old, new = node_keys(TAX).signing.kid, node_keys(TAX, 1).signing.kid
    for view in views:
        assert view.lookup(TAX).verify_key.kid == old
    before = at.registry.entry(TAX)
    assert before is not None
    first = msgspec.json.decode(before[0], type=Entry)
    second = at.entry(TAX, 1).keys
    at.registry.put(msgspec.structs.replace(first, keys=first.keys + second))
    for view in views:
        assert view.key(new).address == TAX
        assert view.lookup(TAX).verify_key.kid == new
        assert [key.verify_key.kid for key in view.lookup(TAX).keys] == [old, new]
        assert view.key(old).address == TAX


def test_a_change_costs_other_entries_no_certificate_check(
    at: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    health = at.view.lookup(HEALTH)
    at.view.lookup(TAX)
    at.registry.revoke(TAX, NOW_US)
    monkeypatch.setattr("mesh.authority.verify_chain", None)
    assert at.view.lookup(HEALTH) is health


def test_history_is_kept(at: Setting) -> None:
    put = at.registry.put
    assert code_of(put, at.entry(TAX, 1)) == "key_unknown"
    at.registry.revoke(TAX, NOW_US)
    assert code_of(put, at.entry(TAX, 0, 1)) == "certificate_revoked"


def test_entries_that_are_none_are_not_registered(at: Setting) -> None:
    put, good = at.registry.put, at.entry("muni/01208/nursery")
    version_before = at.registry.head()
    changed = msgspec.structs.replace
    record = good.keys[0]
    assert code_of(put, changed(good, zone="moon")) == "schema_invalid"
    assert code_of(put, changed(good, keys=())) == "schema_invalid"
    assert code_of(put, changed(good, address="nursery")) == "recipient_unknown"
    assert code_of(put, changed(good, keys=at.entry(TAX).keys)) == "sender_mismatch"
    small = (1).to_bytes(32, "little")
    for weak in (
        {"sign": small},
        {"seal": small},
        {"tls": small},
        {"tls": record.sign},
        {"seal": record.sign},
    ):
        assert code_of(put, changed(good, keys=(changed(record, **weak),))) == "key_weak"
    assert code_of(put, changed(good, keys=(changed(record, sign=b"short"),))) == "message_malformed"
    assert at.registry.head() is version_before
    assert code_of(put, good) is None


def sharing(at: Setting, address: str, kind: str, reason: str | None) -> Entry:
    """A node with the tax office's key of one kind, in the name of a role or site."""
    keys = replace(node_keys(address, 7), **{kind: getattr(node_keys(TAX), kind)})
    record = key_record(at.authority, keys, from_us=NOW_US - DAY_US, until_us=NOW_US + DAY_US)
    return Entry(address, Zone.MYNUMBER, (), (record,), **named(kind, reason))


def named(kind: str, reason: str | None) -> dict[str, str | None]:
    return {"tls": {"tls_site": reason}, "sealing": {"sealing_role": reason}}.get(kind, {})


OTHER_TAX, TAXES = "muni/28100/tax", "muni/*/tax"


@pytest.mark.parametrize("kind", ["signing", "sealing", "tls"])
@pytest.mark.parametrize("generations", [(0,), (0, 1)], ids=["present", "former"])
def test_a_key_belongs_to_one_node(kind: str, generations: tuple[int, ...], at: Setting) -> None:
    at.registry.put(at.entry(TAX, *generations))
    assert code_of(at.registry.put, sharing(at, OTHER_TAX, kind, None)) == "sender_mismatch"


@pytest.mark.parametrize(
    ("kind", "theirs", "own", "code"),
    [
        ("sealing", TAXES, TAXES, None),
        ("sealing", TAXES, None, "sender_mismatch"),
        ("sealing", None, TAXES, "sender_mismatch"),
        ("sealing", TAXES, "*/*/tax", "sender_mismatch"),
        ("sealing", TAXES, "muni/*/health", "sender_mismatch"),
        ("sealing", TAXES, "the taxes", "sender_mismatch"),
        ("tls", "data centre 1", "data centre 1", None),
        ("tls", "data centre 1", None, "sender_mismatch"),
        ("tls", None, "data centre 1", "sender_mismatch"),
        ("tls", "data centre 1", "data centre 2", "sender_mismatch"),
    ],
)
def test_two_nodes_share_a_key_if_both_entries_name_why(
    kind: str, theirs: str | None, own: str | None, code: str | None, at: Setting
) -> None:
    at.registry.put(msgspec.structs.replace(at.entry(TAX), **named(kind, theirs)))
    assert code_of(at.registry.put, sharing(at, OTHER_TAX, kind, own)) == code


def test_who_shares_one_kind_of_key_shares_no_other(at: Setting) -> None:
    at.registry.put(msgspec.structs.replace(at.entry(TAX), sealing_role=TAXES, tls_site="one"))
    both = {"sealing_role": TAXES, "tls_site": "one"}
    for number, kind in enumerate(("signing", "sealing", "tls")):
        entry = msgspec.structs.replace(sharing(at, f"muni/2810{number}/tax", kind, None), **both)
        assert code_of(at.registry.put, entry) == ("sender_mismatch" if kind == "signing" else None)
    own = node_keys("muni/13103/tax", 7)
    # Of one curve are signing and TLS keys: neither may be the other, of another node or of the same.
    for keys, code in (
        (replace(own, tls=node_keys(TAX).signing), "sender_mismatch"),
        (replace(own, signing=node_keys(TAX).tls), "sender_mismatch"),
    ):
        record = key_record(at.authority, keys, from_us=NOW_US - DAY_US, until_us=NOW_US + DAY_US)
        assert code_of(at.registry.put, Entry(keys.address, Zone.MYNUMBER, (), (record,), **both)) == code
    swapped = replace(node_keys(HEALTH, 1), tls=node_keys(HEALTH).signing)
    record = key_record(at.authority, swapped, from_us=NOW_US - DAY_US, until_us=NOW_US + DAY_US)
    health = at.entry(HEALTH)
    assert (
        code_of(at.registry.put, msgspec.structs.replace(health, keys=(*health.keys, record))) == "key_weak"
    )


def test_one_key_changes_and_the_others_stay(at: Setting) -> None:
    """A sealing key is revoked alone: the signing key beside it counts on, and as long as before."""
    own = replace(node_keys(TAX, 1), signing=node_keys(TAX).signing, tls=node_keys(TAX).tls)
    record = key_record(at.authority, own, from_us=NOW_US, until_us=NOW_US + 5 * DAY_US)
    first = at.entry(TAX)
    old = msgspec.structs.replace(first.keys[0], revoked_us=NOW_US + 7)
    at.registry.put(msgspec.structs.replace(first, keys=(old, record)))
    for view in (at.view, at.new_view(shared=Shared())):
        node = view.lookup(TAX)
        key = view.key(own.signing.kid)
        assert (key.valid_from_us, key.valid_until_us, key.revoked_us) == (
            NOW_US - DAY_US,
            NOW_US + 9 * DAY_US,
            None,
        )
        assert node.seal_key.kid == own.sealing.kid
        former = node_keys(TAX).sealing.kid
        assert code_of(node.check_seal_key, own.sealing.kid, NOW_US + 7) is None
        assert code_of(node.check_seal_key, own.sealing.kid, NOW_US + 6 * DAY_US) == "seal_invalid"
        assert code_of(node.check_seal_key, former, NOW_US + 6) is None
        assert code_of(node.check_seal_key, former, NOW_US + 7) == "seal_key_revoked"
        assert code_of(node.check_seal_key, node_keys(HEALTH).sealing.kid, NOW_US) == "seal_invalid"
    late = msgspec.structs.replace(old, revoked_us=NOW_US + 8)
    for keys in ((late, record), (first.keys[0], record)):
        assert code_of(at.registry.put, msgspec.structs.replace(first, keys=keys)) == "certificate_revoked"
    for left_out in ((old,), (record,)):
        assert code_of(at.registry.put, msgspec.structs.replace(first, keys=left_out)) == "key_unknown"
    at.registry.revoke(TAX, NOW_US + 9)
    assert at.view.key(own.signing.kid).revoked_us == NOW_US + 9, "when the last generation that has it is"


def test_a_source_s_new_keys_stand_behind_the_former_and_are_renewed(at: Setting) -> None:
    renewing = Renewing(at, 9)
    renewing.view.lookup(TAX)
    renewing.generation = 1
    renewing.registry.change_keys(TAX)
    kids = [node_keys(TAX, number).signing.kid for number in (0, 1, 2)]
    assert [key.verify_key.kid for key in renewing.view.lookup(TAX).keys] == kids[:2]
    assert renewing.code(6) is None
    until_us = renewing.view.lookup(TAX).keys[0].valid_until_us
    at.clock.now_us += 5 * DAY_US
    renewing.view.catch_up(at.clock.now_us)
    assert code_of(renewing.view.key(kids[0]).check, at.clock.now_us) == "certificate_expired"
    assert code_of(renewing.view.key(kids[1]).check, at.clock.now_us) is None, "it was renewed"
    assert renewing.view.lookup(TAX).keys[0].valid_until_us == until_us, "the former was not"
    renewing.generation = 2
    renewing.registry.change_keys(TAX, revoked_us=at.clock.now_us)
    found = renewing.view.lookup(TAX).keys
    assert [key.verify_key.kid for key in found] == kids
    assert [key.revoked_us for key in found] == [at.clock.now_us, at.clock.now_us, None]
    assert code_of(at.registry.change_keys, TAX) == "recipient_unknown", "nobody has new keys for it"


def test_a_stale_registry_is_fetched_again_before_it_is_refused(at: Setting) -> None:
    at.view.lookup(TAX)
    at.view.check_fresh(NOW_US + DAY_US)
    frozen = at.registry.head()
    source = Liar(at.registry)
    source.head = lambda: frozen
    view = at.new_view(source)
    assert code_of(view.check_fresh, NOW_US + DAY_US) is None
    assert code_of(view.check_fresh, NOW_US + DAY_US + 1) == "registry_stale"
    at.clock.now_us += DAY_US + 1
    assert code_of(at.view.check_fresh, at.clock.now_us) is None
    source.head = at.registry.head
    assert code_of(view.check_fresh, at.clock.now_us) is None
    # A view that never saw a head is stale at any time.
    source.head = lambda: b"junk"
    assert code_of(at.new_view(source).check_fresh, 0) == "registry_stale"


def test_a_view_never_goes_back(at: Setting) -> None:
    old = at.registry.head()
    at.registry.revoke(TAX, NOW_US)
    source = Liar(at.registry)
    view = at.new_view(source)
    assert view.key(node_keys(TAX).signing.kid).revoked_us == NOW_US
    source.head = lambda: old
    assert code_of(view.refresh) == "registry_stale"
    assert view.version == 2
    assert view.key(node_keys(TAX).signing.kid).revoked_us == NOW_US


@pytest.mark.parametrize("field", ["root", "size", "next_update_us"])
def test_a_second_head_of_the_same_version_is_refused(at: Setting, field: str) -> None:
    source = Liar(at.registry)
    view = at.new_view(source)
    view.lookup(TAX)
    head = msgspec.json.decode(jws.parse(at.registry.head()).payload, type=Head)
    value: object = "0" * 64 if field == "root" else getattr(head, field) + 1
    other = at.signed(msgspec.structs.replace(head, **{field: value}))
    source.head = lambda: other
    assert code_of(view.refresh) == "registry_stale"
    # It goes on with the head that it has.
    assert view.lookup(TAX).address == TAX


def test_heads_that_are_none_are_refused(at: Setting) -> None:
    good = at.registry.head()
    head = msgspec.json.decode(jws.parse(good).payload, type=Head)
    other = Authority(b"other", NOW_US).signing
    payload = msgspec.json.encode(head)
    header, _, signature = good.split(b".")
    swapped = jws.sign(
        msgspec.json.encode(msgspec.structs.replace(head, version=9)), at.authority.signing, typ=TYP
    )
    cases = {
        b"": "message_malformed",
        jws.sign(payload, other, typ=TYP): "key_unknown",
        jws.sign(payload, at.authority.signing, typ="permit"): "message_malformed",
        b".".join((header, swapped.split(b".")[1], signature)): "signature_invalid",
        at.signed(msgspec.structs.replace(head, root="XY" * 32)): "schema_invalid",
        at.signed(msgspec.structs.replace(head, root="a" * 64 + "\n")): "schema_invalid",
        at.signed(msgspec.structs.replace(head, version=-1)): "schema_invalid",
        jws.sign(b"{", at.authority.signing, typ=TYP): "message_malformed",
    }
    for token, code in cases.items():
        source = Liar(at.registry)
        source.head = lambda token=token: token  # type: ignore[misc]
        assert code_of(at.new_view(source).refresh) == code
        assert code_of(at.new_view(source).lookup, TAX) == code


def test_proofs_that_do_not_hold_are_refused(at: Setting) -> None:
    proven = at.registry.entry(TAX)
    assert proven is not None
    data, path, index, size = proven
    cases: list[Proven] = [
        (data + b" ", path, index, size),
        (data.replace(b"mynumber", b"internet"), path, index, size),
        (data, [], index, size),
        (data, [*path, bytes(32)], index, size),
        (data, [bytes(32)], index, size),
        (data, [b"short"], index, size),
        (data, path, 1 - index, size),
        (data, [], 0, 1),
    ]
    for case in cases:
        source = Liar(at.registry)
        source.entry = lambda address, case=case: case  # type: ignore[misc]
        view = at.new_view(source)
        assert code_of(view.lookup, TAX) == "signature_invalid"
        assert code_of(view.key, node_keys(TAX).signing.kid) == "signature_invalid"


def test_a_replaced_entry_is_not_believed_again(at: Setting) -> None:
    old = at.registry.entry(TAX)
    at.registry.revoke(TAX, NOW_US)
    source = Liar(at.registry)
    source.entry = lambda address: old
    assert code_of(at.new_view(source).lookup, TAX) == "signature_invalid"


def test_another_nodes_entry_is_no_answer(at: Setting) -> None:
    source = Liar(at.registry)
    source.entry = lambda address: at.registry.entry(TAX)
    assert code_of(at.new_view(source).lookup, HEALTH) == "recipient_unknown"
    liar = Liar(at.registry)
    liar.address_of = lambda kid: HEALTH
    assert code_of(at.new_view(liar).key, node_keys(TAX).signing.kid) == "key_unknown"
    assert code_of(at.new_view(source, Shared()).key, node_keys(HEALTH).signing.kid) == "key_unknown"


class Careless:
    """An authority's mistake: one entry that `put` would refuse, under a perfectly signed head."""

    current = b""

    def __init__(self, at: Setting, data: bytes) -> None:
        root = merkle.leaf_hash(data).hex()
        self._head = at.signed(Head(1, root, 1, NOW_US, NOW_US + DAY_US))
        self._data = data

    def head(self) -> bytes:
        return self._head

    def entry(self, address: str) -> Proven | None:
        return self._data, [], 0, 1

    def address_of(self, kid: str) -> str | None:
        return TAX


def careless_code(at: Setting, data: bytes) -> str | None:
    return code_of(at.new_view(Careless(at, data)).lookup, TAX)


def test_entries_are_verified_although_their_head_is_signed(at: Setting) -> None:
    changed, good = msgspec.structs.replace, at.entry(TAX)
    record = good.keys[0]

    def code(**values: object) -> str | None:
        return careless_code(at, msgspec.json.encode(changed(good, keys=(changed(record, **values),))))

    small, other = (1).to_bytes(32, "little"), node_keys(HEALTH).signing.public.raw
    assert code() is None
    assert code(sign=small) == "key_weak"
    assert code(seal=small) == "key_weak"
    assert code(tls=small) == "key_weak"
    assert code(tls=record.sign) == "key_weak"
    assert code(seal=b"") == "message_malformed"
    assert code(sign=other) == "key_unknown"
    assert code(chain=()) == "key_unknown"
    assert code(chain=at.entry(HEALTH).keys[0].chain) == "key_unknown"
    assert code(chain=(b"", b"")) == "message_malformed"
    assert code(from_us=record.from_us - 1) == "key_unknown"
    assert code(until_us=record.until_us + 1) == "key_unknown"
    assert careless_code(at, msgspec.json.encode(changed(good, address=HEALTH))) == "key_unknown"
    assert careless_code(at, b"{}") == "schema_invalid"


@settings(max_examples=150)
@given(st.binary(max_size=60), st.integers(0, 3000), st.integers(0, 40))
def test_any_bytes_as_head_or_entry_give_only_mesh_errors(junk: bytes, start: int, length: int) -> None:
    at = ONE
    proven = at.registry.entry(TAX)
    assert proven is not None
    data, head = proven[0], at.registry.head()
    spliced = data[:start] + junk + data[start + length :]
    allowed = {None, "message_malformed", "schema_invalid", "key_unknown", "key_weak", "recipient_unknown"}
    assert careless_code(at, spliced) in allowed
    assert careless_code(at, junk) in allowed
    source = Liar(at.registry)
    token = head[:start] + junk + head[start + length :]
    source.head = lambda: token
    code = code_of(at.new_view(source).lookup, TAX)
    assert (code is None) == (token == head)


ONE = Setting()


def test_the_same_seed_gives_the_same_registry() -> None:
    one, two = Setting(), Setting()
    for address in (TAX, HEALTH):
        assert one.registry.entry(address) == two.registry.entry(address)
    assert one.registry.head() == two.registry.head()


def test_an_entry_is_readable_json(at: Setting) -> None:
    proven = at.registry.entry(TAX)
    assert proven is not None
    document = msgspec.json.decode(proven[0])
    assert list(document) == ["address", "zone", "services", "keys", "events"]
    assert list(document["keys"][0]) == ["sign", "seal", "tls", "chain", "from_us", "until_us"]


def test_views_stay_small_and_old_heads_are_dropped(at: Setting) -> None:
    assert View.__slots__ == ("_registry", "_snapshot", "_verified")
    for _ in range(100):
        at.clock.now_us += DAY_US
        at.view.check_fresh(at.clock.now_us)
    assert at.view.version == 100
    assert len(at.shared.under(at.authority.root_der)._snapshots) <= 64
