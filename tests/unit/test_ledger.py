"""The ledger: appended only, hashed as it is stored, and a changed past is found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh import ledger as module
from mesh.errors import CODES, MeshError
from mesh.keys import SigningKey
from mesh.ledger import HEAD_EVERY_US, Ledger, Row, check_tail, read_head, read_row, row_bytes
from mesh.merkle import consistency_path, inclusion_path, leaf_hash, root_of

KEY = SigningKey.from_seed(bytes(32))
PARTY = "muni/01208/desk"
texts = st.text(max_size=10)
rows = st.builds(
    Row,
    entry=st.sampled_from(["opened", "permitted", "answered", "closed", "refused", "mark"]),
    time_us=st.integers(0, 2**53 - 1),
    id=texts,
    requester=texts,
    provider=st.none() | texts,
    subject=st.none() | texts,
    code=st.none() | texts,
    undisclosed=st.booleans(),
)


def row(number: int) -> Row:
    return Row("opened", number, f"id {number}", PARTY)


def grown(count: int) -> tuple[Ledger, list[bytes]]:
    own = Ledger(PARTY)
    entries = [row_bytes(row(number)) for number in range(count)]
    own.extend(entries)
    return own, [bytes(one) for one in entries]


@given(rows)
def test_a_row_reads_back_from_its_stored_bytes(one: Row) -> None:
    assert read_row(bytes(row_bytes(one))) == one


@given(st.lists(rows, max_size=12), st.integers(0, 12))
def test_a_restart_goes_on_where_the_database_ends(entries: list[Row], at: int) -> None:
    through = Ledger(PARTY)
    kept = [row_bytes(one) for one in entries]
    through.extend(kept)
    again = Ledger(PARTY, map(bytes, kept[:at]))
    assert again.size == min(at, len(kept))
    again.extend(kept[at:])
    assert again.size == through.size == len(kept)
    assert again.sign_head(KEY, 5) == through.sign_head(KEY, 5)


def test_heads_and_proofs_hold_for_every_size() -> None:
    _, stored = grown(20)
    leaves = [leaf_hash(one) for one in stored]
    for size in range(21):
        head = read_head(Ledger(PARTY, stored[:size]).sign_head(KEY, 7), KEY.public)
        assert (head.party, head.size, head.time_us) == (PARTY, size, 7)
        assert head.root == root_of(leaves[:size]).hex()
        check_tail(stored, head)
        for index in range(size):
            path = inclusion_path(leaves[:size], index)
            module.verify_inclusion(leaves[index], index, size, path, bytes.fromhex(head.root))
        if size:
            path = consistency_path(leaves, size, 20)
            module.verify_consistency(size, 20, path, bytes.fromhex(head.root), root_of(leaves))


@pytest.mark.parametrize("count", [1, 5, 255, 256, 257])
def test_rows_are_hashed_whenever_a_head_needs_them(count: int) -> None:
    own, stored = grown(count)
    assert own.size == count
    head = read_head(own.sign_head(KEY, 1), KEY.public)
    assert head.root == root_of([leaf_hash(one) for one in stored]).hex()


@given(st.integers(1, 9), st.data())
def test_a_changed_past_is_found(count: int, data: st.DataObject) -> None:
    own, stored = grown(count)
    head = read_head(own.sign_head(KEY, 1), KEY.public)
    at = data.draw(st.integers(0, count - 1))
    bit = data.draw(st.integers(0, len(stored[at]) * 8 - 1))
    changed = bytearray(stored[at])
    changed[bit // 8] ^= 1 << bit % 8
    for other in (
        [*stored[:at], bytes(changed), *stored[at + 1 :]],
        stored[:at] + stored[at + 1 :],
        stored[:-1],
        [b"a row before", *stored],
    ):
        with pytest.raises(MeshError, match="ledger_broken"):
            check_tail(other, head)
    check_tail([*stored, b"later rows are not of this head"], head)


@given(st.binary(max_size=100))
def test_any_bytes_are_a_row_or_ledger_broken(data: bytes) -> None:
    with pytest.raises(MeshError, match="ledger_broken"):
        read_row(data)


@given(st.binary(max_size=200) | st.text(max_size=100))
def test_any_bytes_as_a_head_raise_only_a_mesh_error(token: bytes | str) -> None:
    with pytest.raises(MeshError) as caught:
        read_head(token, KEY.public)
    assert caught.value.code in CODES


def test_a_head_counts_for_its_signer_alone() -> None:
    own, _ = grown(3)
    token = own.sign_head(KEY, 1)
    with pytest.raises(MeshError, match="key_unknown"):
        read_head(token, SigningKey.from_seed(bytes(range(32))).public)


def test_a_head_is_due_after_an_hour_and_only_for_new_rows() -> None:
    own, _ = grown(1)
    assert own.head_due(HEAD_EVERY_US)
    own.sign_head(KEY, HEAD_EVERY_US)
    assert not own.head_due(3 * HEAD_EVERY_US)
    own.extend([row_bytes(row(2))])
    assert not own.head_due(2 * HEAD_EVERY_US - 1)
    assert own.head_due(2 * HEAD_EVERY_US)


def test_a_row_has_no_place_for_values() -> None:
    """番号法23条: parties, time and items, never what was told."""
    assert set(Row.__struct_fields__) == {
        "entry", "time_us", "id", "requester", "provider", "service", "procedure", "items", "subject",
        "requestdigest", "permitdigest", "replydigest", "code", "undisclosed",
    }  # fmt: skip
