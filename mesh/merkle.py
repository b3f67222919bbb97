"""Merkle trees over SHA-256, as RFC 6962 section 2.1 and RFC 9162 section 2.1 define them.

Rules kept here:
1. Leaves and inner nodes are hashed with different prefixes, so that neither passes for the other.
2. The shape depends on the number of leaves alone: a node without a sibling rises unchanged.
3. Every number and hash may come from a stranger: what does not hold raises `MeshError` ledger_broken,
   and nothing else. Only the leaf hashes given to `append`, `replace` and the constructors are trusted;
   they are the caller's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256

from mesh.errors import MeshError

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()
"""The root of a tree without leaves (RFC 9162 2.1.1)."""

_SIZE_MAX = 2**64 - 1
"""RFC 9162 4.10 sends a tree's size as an unsigned integer of 64 bits."""


def leaf_hash(data: bytes) -> bytes:
    """The hash of one entry, 32 bytes."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node over its two children, 32 bytes."""
    return sha256(b"\x01" + left + right).digest()


class Tree:
    """An append-only tree that keeps only its peaks, the roots of its complete subtrees.

    Memory is O(log n), so a ledger of any length costs a few hundred bytes. It cannot give paths: the
    functions below make them from the leaves.
    """

    __slots__ = ("_peaks", "size")

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        self.size = 0
        """The number of leaves."""
        self._peaks: list[bytes] = []
        for leaf in leaves:
            self.append(leaf)

    @classmethod
    def grown(cls, size: int, peaks: bytes) -> Tree:
        """The tree of so many leaves whose `peaks` these were; ledger_broken for what cannot be those of any."""
        if len(peaks) != HASH_BYTES * size.bit_count():
            raise MeshError("ledger_broken", "a tree of this size has another number of peaks")
        tree = cls()
        tree.size = size
        tree._peaks = [peaks[start : start + HASH_BYTES] for start in range(0, len(peaks), HASH_BYTES)]
        return tree

    @property
    def peaks(self) -> bytes:
        """The roots of its complete subtrees, the largest first: with the size, all that it takes to go on."""
        return b"".join(self._peaks)

    def extend(self, entries: Iterable[bytes | bytearray]) -> None:
        """Hash entries and add them at the end; in one loop, which costs half of one call for each."""
        peaks, size = self._peaks, self.size
        for entry in entries:
            node = sha256(b"\x00" + entry).digest()
            height_bits = size
            while height_bits & 1:
                node = sha256(b"\x01" + peaks.pop() + node).digest()
                height_bits >>= 1
            peaks.append(node)
            size += 1
        self.size = size

    def append(self, leaf_hash: bytes) -> None:
        """Add one leaf hash at the end; one inner hash on average."""
        peaks = self._peaks
        node = leaf_hash
        height_bits = self.size
        # Each low set bit of the size is a complete subtree as tall as the node in hand: they join.
        while height_bits & 1:
            node = sha256(b"\x01" + peaks.pop() + node).digest()
            height_bits >>= 1
        peaks.append(node)
        self.size += 1

    def root(self) -> bytes:
        """The root over all leaves so far, 32 bytes."""
        if not self._peaks:
            return EMPTY_ROOT
        node = self._peaks[-1]
        for peak in self._peaks[-2::-1]:
            node = node_hash(peak, node)
        return node


class FixedTree:
    """A tree whose leaves keep their positions and may be replaced, with every level held.

    `append`, `replace` and `path` are O(log n), the constructor is O(n).
    """

    __slots__ = ("_levels",)

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        level = list(leaves)
        self._levels = [level]
        while len(level) > 1:
            pairs = zip(level[::2], level[1::2], strict=False)
            above = [node_hash(left, right) for left, right in pairs]
            if len(level) % 2:
                above.append(level[-1])
            self._levels.append(above)
            level = above

    @property
    def size(self) -> int:
        """The number of leaves."""
        return len(self._levels[0])

    def append(self, leaf_hash: bytes) -> int:
        """Add one leaf hash at the end; returns its index."""
        index = self.size
        self._levels[0].append(leaf_hash)
        self._rehash_above(index)
        return index

    def replace(self, index: int, leaf_hash: bytes) -> None:
        """Put another leaf hash at an index; `MeshError` ledger_broken if there is no such leaf."""
        _check_index(index, self.size)
        self._levels[0][index] = leaf_hash
        self._rehash_above(index)

    def root(self) -> bytes:
        """The root over all leaves, 32 bytes."""
        top = self._levels[-1]
        return top[0] if top else EMPTY_ROOT

    def path(self, index: int) -> list[bytes]:
        """The siblings from the leaf up to the root; `MeshError` ledger_broken if there is no such leaf."""
        _check_index(index, self.size)
        siblings = []
        for level in self._levels:
            if index ^ 1 < len(level):
                siblings.append(level[index ^ 1])
            index >>= 1
        return siblings

    def _rehash_above(self, index: int) -> None:
        for height, level in enumerate(self._levels):
            if len(level) == 1:
                return
            left = index & ~1
            node = node_hash(level[left], level[left + 1]) if left + 1 < len(level) else level[left]
            index >>= 1
            if height + 1 == len(self._levels):
                self._levels.append([])  # The loop goes on with this new level.
            above = self._levels[height + 1]
            # The slice replaces the node at the index, or appends it when the level just grew.
            above[index : index + 1] = [node]


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root over these leaf hashes, 32 bytes."""
    return Tree(leaves).root()


def inclusion_path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The path for `verify_inclusion` (RFC 9162 2.1.3.1); `MeshError` ledger_broken if there is no such leaf."""
    return FixedTree(leaves).path(index)


def consistency_path(leaves: Sequence[bytes], size1: int, size2: int) -> list[bytes]:
    """The path for `verify_consistency` from the first `size1` leaves to the first `size2` (RFC 9162 2.1.4.1).

    It is empty when the sizes are equal or `size1` is 0. `MeshError` ledger_broken unless
    0 <= size1 <= size2 <= the number of leaves.
    """
    _check_sizes(size1, size2, len(leaves))
    if size1 == 0:
        return []
    path = []
    start, end, known, is_old_root = 0, size2, size1, True
    while known < end - start:
        split = 1 << (end - start - 1).bit_length() - 1
        if known <= split:
            path.append(root_of(leaves[start + split : end]))
            end = start + split
        else:
            path.append(root_of(leaves[start : start + split]))
            start, known, is_old_root = start + split, known - split, False
    if not is_old_root:
        path.append(root_of(leaves[start:end]))
    return path[::-1]


def verify_inclusion(leaf_hash: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Check that the leaf stands at `index` in the tree of `size` leaves with this root (RFC 9162 2.1.3.2).

    `path` is a list or tuple of 32-byte hashes, from the leaf up. Raises `MeshError` ledger_broken on
    anything else and on anything that does not hold.
    """
    _check_hash(leaf_hash)
    _check_hash(root)
    _check_path(path)
    _check_sizes(size)
    _check_index(index, size)
    position, last, node = index, size - 1, leaf_hash
    for sibling in path:
        if last == 0:
            raise MeshError("ledger_broken", "the inclusion path is too long")
        if position & 1 or position == last:
            node = node_hash(sibling, node)
            position, last = _skip_lone_levels(position, last)
        else:
            node = node_hash(node, sibling)
        position, last = position >> 1, last >> 1
    if last != 0:
        raise MeshError("ledger_broken", "the inclusion path is too short")
    if node != root:
        raise MeshError("ledger_broken", "the inclusion path does not lead to the root")


def verify_consistency(size1: int, size2: int, path: Sequence[bytes], root1: bytes, root2: bytes) -> None:
    """Check that the tree of `size2` leaves begins with the tree of `size1` leaves (RFC 9162 2.1.4.2).

    `path` is a list or tuple of 32-byte hashes. It must be empty when the sizes are equal (the roots are
    equal too) or `size1` is 0 (the first root is `EMPTY_ROOT`; every tree begins with it). Raises
    `MeshError` ledger_broken on anything else and on anything that does not hold.
    """
    _check_hash(root1)
    _check_hash(root2)
    _check_path(path)
    _check_sizes(size1, size2)
    if size1 == 0 and root1 != EMPTY_ROOT:
        raise MeshError("ledger_broken", "a tree without leaves has another root")
    if size1 == size2 and root1 != root2:
        raise MeshError("ledger_broken", "two trees of one size have different roots")
    if size1 in (0, size2):
        if path:
            raise MeshError("ledger_broken", "the consistency path is too long")
        return
    _climb(size1, size2, path, root1, root2)


def _climb(size1: int, size2: int, path: Sequence[bytes], root1: bytes, root2: bytes) -> None:
    """Steps 1 to 7 of RFC 9162 2.1.4.2, for 0 < size1 < size2."""
    if not path:
        raise MeshError("ledger_broken", "the consistency path is too short")
    # When size1 is a power of two the old root is itself a node of the new tree, and the path leaves it out.
    nodes = [root1, *path] if size1 & (size1 - 1) == 0 else list(path)
    position, last = size1 - 1, size2 - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old = new = nodes[0]
    for sibling in nodes[1:]:
        if last == 0:
            raise MeshError("ledger_broken", "the consistency path is too long")
        if position & 1 or position == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            position, last = _skip_lone_levels(position, last)
        else:
            new = node_hash(new, sibling)
        position, last = position >> 1, last >> 1
    if last != 0:
        raise MeshError("ledger_broken", "the consistency path is too short")
    if old != root1 or new != root2:
        raise MeshError("ledger_broken", "the consistency path does not join the two roots")


def _skip_lone_levels(position: int, last: int) -> tuple[int, int]:
    """Pass the levels at which a last node has no sibling and rises unchanged."""
    while position and not position & 1:
        position, last = position >> 1, last >> 1
    return position, last


def _check_hash(value: object) -> None:
    if type(value) is not bytes or len(value) != HASH_BYTES:
        raise MeshError("ledger_broken", "a hash is not 32 bytes")


def _check_path(path: object) -> None:
    if type(path) not in (list, tuple):
        raise MeshError("ledger_broken", "a path is not a list of hashes")
    for node in path:  # type: ignore[attr-defined]
        _check_hash(node)


def _check_sizes(*sizes: int) -> None:
    """Refuse what is no number of leaves, and sizes that do not rise."""
    low = 0
    for size in sizes:
        # `type` and not `isinstance`: True is no size.
        if type(size) is not int or not low <= size <= _SIZE_MAX:
            raise MeshError("ledger_broken", "a tree size is not an integer in its range")
        low = size


def _check_index(index: int, size: int) -> None:
    if type(index) is not int or not 0 <= index < size:
        raise MeshError("ledger_broken", "the tree has no leaf with this index")
