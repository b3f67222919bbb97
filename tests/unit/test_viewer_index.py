"""The viewer's index: masks, selections, and proofs that ask for one block of a ledger only."""

from __future__ import annotations

from array import array

import pytest

from mesh.merkle import Tree, inclusion_path, leaf_hash, root_of, verify_inclusion
from mesh.viewer.chunks import BLOCK, COLUMNS, Chunk
from mesh.viewer.index import Index, both, either


def rows(**columns: list[int]) -> Chunk:
    """A chunk of transmissions, with zeros where nothing is said."""
    count = len(columns["number"])
    return Chunk(
        columns={
            name: array(code, columns.get(name, [0] * count)).tobytes() for name, code in COLUMNS.items()
        },
        ids=["\n".join(f"id-{number}" for number in columns["message"])] if "message" in columns else [],
    )


def test_masks_follow_the_columns() -> None:
    index = Index()
    index.take(rows(number=[0, 1, 2], message=[1, 2, 3], kind=[1, 2, 1], sender=[5, 6, 7]))
    index.take(rows(number=[3, 9], message=[4, 5], kind=[2, 1], sender=[5, 5], exchange=[0, 9]))
    index.take(Chunk(names={"kind": ["", "request", "reply"]}))
    assert list(index.where("kind", "request".__eq__)) == [1, 0, 1, 0, 1]
    assert list(index.by("sender", [5])) == [1, 0, 0, 1, 1]
    assert list(index.of({9})) == [0, 0, 0, 0, 1]
    assert list(index.with_id("id-5")) == [0, 0, 0, 0, 1]
    assert list(index.with_id("id-")) == [1, 1, 1, 1, 1]
    assert list(both(b"\1\1\0", b"\0\1\1")) == [0, 1, 0]
    assert list(either(b"\1\0\0", b"\0\0\1")) == [1, 0, 1]


def test_places_and_numbers_differ_where_transmissions_are_missing() -> None:
    index = Index()
    index.take(rows(number=[0, 1, 5, 9], exchange=[0, 1, 1, 2]))
    assert [index.place_of(number) for number in (0, 1, 4, 5, 9, 10)] == [0, 1, 2, 2, 3, 4]
    assert [index.exchange_of(number) for number in (5, 6, 9, 99)] == [1, None, 2, None]
    assert index.places_of(1) == [1, 2]


def test_a_selection_is_made_again_when_more_was_read() -> None:
    index = Index()
    index.take(rows(number=[0, 1]))
    assert list(index.select("all", list)) == [0, 1]
    index.take(rows(number=[2]))
    assert list(index.select("all", list)) == [0, 1, 2]


def test_four_bytes_are_found_at_their_own_places_only() -> None:
    index = Index()
    # 0x01000000 stands across two places of the column when its bytes are read from the middle.
    index.take(rows(number=[0, 1, 2], exchange=[0x00010000, 0x00000001, 0x01000000]))
    assert index.places_of(1) == [1]


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 511, 512, 700, 1025])
def test_a_path_needs_only_the_rows_of_its_block(size: int) -> None:
    leaves = [leaf_hash(str(number).encode()) for number in range(1200)]
    index = Index()
    full = [Tree(leaves[at : at + BLOCK]).root() for at in range(0, len(leaves) - BLOCK + 1, BLOCK)]
    index.take(Chunk(blocks={7: b"".join(full)}))
    for position in sorted({0, size // 2, size - 1, min(size - 1, 256)}):
        asked: list[int] = []

        def of(positions: range, asked: list[int] = asked) -> list[bytes]:
            asked.extend(positions)
            return leaves[positions.start : positions.stop]

        path = index.path(7, position, size, of)
        assert path == inclusion_path(leaves[:size], position)
        verify_inclusion(leaves[position], position, size, path, root_of(leaves[:size]))
        assert len(asked) <= 2 * BLOCK
