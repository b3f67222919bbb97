"""The Merkle trees against the reference vectors and against RFC 9162's own recursive definitions."""

import random
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.errors import MeshError
from mesh.merkle import (
    EMPTY_ROOT,
    FixedTree,
    Tree,
    consistency_path,
    inclusion_path,
    leaf_hash,
    node_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)

# The entries and roots of the reference implementation of certificate transparency.
ENTRIES = [
    bytes.fromhex(text)
    for text in (
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
    )
]  # fmt: skip
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
SIZES = range(41)
LEAVES = [leaf_hash(b"%d" % number) for number in SIZES]
QUICK = settings(max_examples=150, deadline=None)


def mth(leaves):
    """RFC 9162 2.1.1, word for word, over leaf hashes."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def split(n):
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def path_by_rfc(m, leaves):
    """RFC 9162 2.1.3.1."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if m < k:
        return [*path_by_rfc(m, leaves[:k]), mth(leaves[k:])]
    return [*path_by_rfc(m - k, leaves[k:]), mth(leaves[:k])]


def subproof_by_rfc(m, leaves, whole):
    """RFC 9162 2.1.4.1."""
    if m == len(leaves):
        return [] if whole else [mth(leaves)]
    k = split(len(leaves))
    if m <= k:
        return [*subproof_by_rfc(m, leaves[:k], whole), mth(leaves[k:])]
    return [*subproof_by_rfc(m - k, leaves[k:], False), mth(leaves[:k])]


def outcome(check, *arguments):
    """The code of the refusal, or None when it held."""
    try:
        check(*arguments)
    except MeshError as error:
        return error.code
    return None


def refused(check, *arguments):
    assert outcome(check, *arguments) == "ledger_broken"


def flipped(data, bit):
    return bytes(byte ^ (1 << bit % 8 if place == bit // 8 else 0) for place, byte in enumerate(data))


def test_reference_roots():
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    leaves = [leaf_hash(entry) for entry in ENTRIES]
    for size, root in enumerate(ROOTS, 1):
        assert mth(leaves[:size]).hex() == root
        assert root_of(leaves[:size]).hex() == root


def test_prefixes_keep_leaves_and_nodes_apart():
    left, right = LEAVES[:2]
    assert leaf_hash(left + right) == sha256(b"\x00" + left + right).digest()
    assert node_hash(left, right) == sha256(b"\x01" + left + right).digest()


def test_every_way_to_a_root_agrees():
    growing, fixed = Tree(), FixedTree()
    for size in SIZES:
        root = mth(LEAVES[:size])
        assert growing.size == fixed.size == size
        assert growing.root() == fixed.root() == root
        assert Tree(LEAVES[:size]).root() == FixedTree(iter(LEAVES[:size])).root() == root
        growing.append(LEAVES[size])
        assert fixed.append(LEAVES[size]) == size


def test_every_inclusion_path_is_the_rfcs_and_verifies():
    for size in SIZES[1:]:
        leaves = LEAVES[:size]
        fixed, root = FixedTree(leaves), mth(leaves)
        for index in range(size):
            path = fixed.path(index)
            assert path == inclusion_path(leaves, index) == path_by_rfc(index, leaves)
            verify_inclusion(leaves[index], index, size, path, root)
            verify_inclusion(leaves[index], index, size, tuple(path), root)


def test_every_wrong_index_and_path_length_is_refused():
    for size in SIZES[2:]:
        leaves, root = LEAVES[:size], mth(LEAVES[:size])
        for index in range(size):
            path = inclusion_path(leaves, index)
            for other in {0, index - 1, index + 1, size - 1, size} - {index}:
                refused(verify_inclusion, leaves[index], other, size, path, root)
            refused(verify_inclusion, leaves[index], index, size, path[:-1], root)
            refused(verify_inclusion, leaves[index], index, size, [*path, root], root)


def test_a_lone_last_leaf_has_a_shorter_path():
    assert [len(inclusion_path(LEAVES[:7], index)) for index in range(7)] == [3, 3, 3, 3, 3, 3, 2]


def test_every_consistency_path_is_the_rfcs_and_verifies():
    for size2 in SIZES:
        for size1 in range(size2 + 1):
            path = consistency_path(LEAVES, size1, size2)
            root1, root2 = mth(LEAVES[:size1]), mth(LEAVES[:size2])
            assert path == (subproof_by_rfc(size1, LEAVES[:size2], True) if size1 else [])
            verify_consistency(size1, size2, path, root1, root2)
            refused(verify_consistency, size1, size2, [*path, root1], root1, root2)
            if path:
                refused(verify_consistency, size1, size2, path[:-1], root1, root2)
                refused(verify_consistency, size2, size1, path, root2, root1)


def test_a_rewritten_history_has_no_consistency_path():
    rewritten = [*LEAVES[:3], leaf_hash(b"another"), *LEAVES[4:]]
    for size2 in SIZES[5:]:
        for size1 in range(4, size2 + 1):
            path = consistency_path(rewritten, size1, size2)
            refused(verify_consistency, size1, size2, path, mth(LEAVES[:size1]), mth(rewritten[:size2]))


def test_a_path_for_a_taller_tree_is_longer():
    for size2 in SIZES[2:]:
        taller, root2 = 1 + (1 << (size2 - 1).bit_length()), mth(LEAVES[:size2])
        for size1 in range(1, size2):
            path, root1 = consistency_path(LEAVES, size1, size2), mth(LEAVES[:size1])
            refused(verify_consistency, size1, taller, path, root1, root2)
        path = inclusion_path(LEAVES[:size2], 0)
        refused(verify_inclusion, LEAVES[0], 0, taller, path, root2)


def test_trees_of_size_zero_and_of_equal_size():
    root = mth(LEAVES)
    verify_consistency(0, 0, [], EMPTY_ROOT, EMPTY_ROOT)
    refused(verify_consistency, 0, 0, [], root, root)
    refused(verify_consistency, 0, 41, [], root, root)
    refused(verify_consistency, 41, 41, [], root, mth(LEAVES[:40]))
    refused(verify_inclusion, EMPTY_ROOT, 0, 0, [], EMPTY_ROOT)


@QUICK
@given(st.integers(1, 40), st.data())
def test_one_changed_bit_breaks_inclusion(size, data):
    index = data.draw(st.integers(0, size - 1))
    leaf, path, root = LEAVES[index], inclusion_path(LEAVES[:size], index), mth(LEAVES[:size])
    hashes = [leaf, root, *path]
    place, bit = data.draw(st.integers(0, len(hashes) - 1)), data.draw(st.integers(0, 255))
    hashes[place] = flipped(hashes[place], bit)
    refused(verify_inclusion, hashes[0], index, size, hashes[2:], hashes[1])


@QUICK
@given(st.integers(2, 40), st.data())
def test_one_changed_bit_breaks_consistency(size2, data):
    size1 = data.draw(st.integers(1, size2 - 1))
    path = consistency_path(LEAVES, size1, size2)
    hashes = [mth(LEAVES[:size1]), mth(LEAVES[:size2]), *path]
    place, bit = data.draw(st.integers(0, len(hashes) - 1)), data.draw(st.integers(0, 255))
    hashes[place] = flipped(hashes[place], bit)
    refused(verify_consistency, size1, size2, hashes[2:], hashes[0], hashes[1])


NUMBERS = st.one_of(
    st.integers(-2, 50),
    st.integers(),
    st.just(2**64),
    st.just(10**5000),
    st.floats(),
    st.booleans(),
    st.none(),
)
HASHES = st.one_of(
    st.binary(min_size=32, max_size=32), st.binary(max_size=40), st.sampled_from(LEAVES), st.none(), st.text()
)
PATHS = st.one_of(st.lists(HASHES, max_size=8), HASHES, NUMBERS, st.builds(iter, st.lists(HASHES)))


@QUICK
@given(HASHES, NUMBERS, NUMBERS, PATHS, HASHES)
def test_junk_raises_only_mesh_errors(hash1, number1, number2, path, hash2):
    # Random junk never verifies inclusion, but a tree of one leaf or none may be consistent with itself.
    code = outcome(verify_inclusion, hash1, number1, number2, path, hash2)
    assert code == "ledger_broken" or (number1, number2, path, hash1) == (0, 1, [], hash2)
    code = outcome(verify_consistency, number1, number2, path, hash1, hash2)
    assert code == "ledger_broken" or path == []
    assert code == "ledger_broken" or (number1, hash1) in ((number2, hash2), (0, EMPTY_ROOT))


@pytest.mark.parametrize(
    "wrong", [LEAVES[0][:31], LEAVES[0] + b"\0", bytearray(LEAVES[0]), "a" * 32, None, 32]
)
def test_a_hash_is_32_bytes(wrong):
    pair = LEAVES[:2]
    refused(verify_inclusion, wrong, 0, 2, pair[1:], mth(pair))
    refused(verify_inclusion, pair[0], 0, 2, [wrong], mth(pair))
    refused(verify_inclusion, pair[0], 0, 2, pair[1:], wrong)
    refused(verify_consistency, 1, 2, pair[1:], wrong, mth(pair))
    refused(verify_consistency, 1, 2, [wrong], pair[0], mth(pair))
    refused(verify_consistency, 1, 2, pair[1:], pair[0], wrong)


@pytest.mark.parametrize("wrong", [-1, 2**64, 1.0, "1", True, None])
def test_a_number_is_an_integer_in_range(wrong):
    leaf = LEAVES[0]
    refused(verify_inclusion, leaf, wrong, 1, [], leaf)
    refused(verify_inclusion, leaf, 0, wrong, [], leaf)
    refused(verify_consistency, wrong, 1, [], leaf, leaf)
    refused(verify_consistency, 1, wrong, [], leaf, leaf)
    refused(inclusion_path, LEAVES, wrong)
    refused(consistency_path, LEAVES, wrong, 1)
    refused(consistency_path, LEAVES, 1, wrong)


def test_an_endless_path_costs_nothing():
    refused(verify_inclusion, LEAVES[0], 2**64 - 2, 2**64 - 1, LEAVES * 10_000, EMPTY_ROOT)


def test_replacing_leaves_keeps_roots_and_paths_right():
    draw = random.Random(1)
    for size in (1, 2, 3, 5, 8, 13, 31, 32, 33):
        leaves = LEAVES[:size]
        fixed = FixedTree(leaves)
        for step in range(40):
            index, leaf = draw.randrange(size), leaf_hash(b"new %d" % step)
            leaves[index] = leaf
            fixed.replace(index, leaf)
            assert fixed.root() == mth(leaves)
            assert fixed.path(index) == path_by_rfc(index, leaves)
    assert LEAVES[0] == leaf_hash(b"0")


def test_a_fixed_tree_has_no_other_indexes():
    fixed = FixedTree(LEAVES[:3])
    for index in (-1, 3, True, "0"):
        refused(fixed.replace, index, LEAVES[3])
        refused(fixed.path, index)
    assert fixed.root() == mth(LEAVES[:3])
    refused(FixedTree().path, 0)
