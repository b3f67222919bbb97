"""No personal number (個人番号) leaves the node that may hold it, in no shape, in no shipped scenario.

Each scenario's trace is searched whole: every stored line, ledger row and registry entry as it stands, and every
content as its recipient opens it. A number is found plain, in full-width digits, with hyphens or spaces, and in
base64 of whatever alignment.
"""

from __future__ import annotations

import re
import unicodedata
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator

import msgspec
import pytest

from mesh.errors import MeshError
from mesh.keys import SealingKey
from mesh.loading import scenarios_of
from mesh.names import BROKER
from mesh.party import read_line
from mesh.sealing import open_sealed
from mesh.trace.reader import Trace
from tests.conftest import Shipped

SCENARIOS = scenarios_of("scenarios")
NUMBER = "123456789018"
_TWELVE = re.compile(r"(?=(\d{12}))")
_PLAIN = re.compile(rb"[0-9]{12}")
_WIDE = re.compile(rb"\xef\xbc[\x90-\x99]|\xe2[\x80\x88]|\xe3\x83\xbc")
"""What a full-width digit, and a hyphen or space that is not ASCII, begins with in UTF-8."""
_SEPARATOR = re.compile(r"[\s\-‐-―−ー]+")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{16,}")


def found(data: bytes, numbers: frozenset[str]) -> set[str]:
    """Which of the numbers stand in the data, in any shape."""
    if not numbers:
        return set()
    shapes = [shape for shape in (data, *_decoded(data)) if _may_hold(shape)]
    digits = {twelve for shape in shapes for text in _texts(shape) for twelve in _TWELVE.findall(text)}
    return digits & numbers


def _may_hold(data: bytes) -> bool:
    """Whether a second look is due: twelve digits stand close together, or something that is not plain ASCII."""
    return bool(_PLAIN.search(data.translate(None, b" \t\n-")) or _WIDE.search(data))


def _texts(data: bytes) -> Iterator[str]:
    text = unicodedata.normalize("NFKC", data.decode("utf-8", "replace"))
    yield text
    yield _SEPARATOR.sub("", text)


def _decoded(data: bytes) -> Iterator[bytes]:
    """What base64 in the data says, wherever in a group of four characters it begins."""
    for run in dict.fromkeys(_BASE64.findall(data)):
        alphabet = run.replace(b"+", b"-").replace(b"/", b"_")
        for start in range(4):
            part = alphabet[start:]
            part = part[:-1] if len(part) % 4 == 1 else part
            yield urlsafe_b64decode(part + b"=" * (-len(part) % 4))


def _opened(trace: Trace) -> Iterator[bytes]:
    """Every content of the trace, as whom it is sealed for opens it."""
    keys = {
        address: SealingKey.from_seed(raw)
        for (address,) in trace.rows("SELECT address FROM party")
        for raw in trace.sealing_keys(address)
    }
    for sent in {sent.message.number: sent for sent in trace.transmissions()}.values():
        try:
            message = read_line(sent.message.line)
        except MeshError:
            continue
        for seal, reader in (
            (getattr(message, "data", None), getattr(message, "recipient", None)),
            (getattr(message, "subject", None), BROKER),
        ):
            if isinstance(seal, str) and reader in keys:
                try:
                    yield open_sealed(seal, keys[reader])
                except MeshError:
                    continue


def _recorded(trace: Trace) -> Iterator[bytes]:
    """Everything that the file holds as text or bytes."""
    for (table,) in list(trace.rows("SELECT name FROM sqlite_master WHERE type = 'table'")):
        for row in trace.rows(f'SELECT * FROM "{table}"'):
            yield " ".join(one for one in row if isinstance(one, str)).encode()
            yield from (one for one in row if isinstance(one, bytes))


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_personal_number_of_a_run_is_in_its_trace(name: str, shipped: Callable[[str], Shipped]) -> None:
    run = shipped(name)
    with Trace.open(run.trace) as trace:
        recorded, opened = b"\n".join(_recorded(trace)), b"\n".join(_opened(trace))
    said = msgspec.json.encode(run.result.as_json())
    assert found(recorded, run.numbers) == set(), "in the trace as it stands"
    assert found(opened, run.numbers) == set(), "in what a recipient opened"
    assert found(said, run.numbers) == set(), "in the report"


def test_the_runs_do_hold_personal_numbers(shipped: Callable[[str], Shipped]) -> None:
    """Or the test above looks for nothing."""
    assert any(shipped(name).numbers for name in SCENARIOS)


def _shapes() -> dict[str, bytes]:
    wide = NUMBER.translate({48 + value: 0xFF10 + value for value in range(10)})
    shapes = {
        "plain": NUMBER.encode(),
        "wide": wide.encode(),
        "hyphenated": b"1234-5678-9018",
        "spaced": b"1234 5678 9018",
        "wide and hyphenated": "１２３４－５６７８－９０１８".encode(),
    }
    for ahead in range(3):
        text = b"x" * ahead + NUMBER.encode() + b"y"
        shapes[f"base64 after {ahead}"] = b"=" + b64encode(text)
        shapes[f"base64url after {ahead}"] = b"." + urlsafe_b64encode(text).rstrip(b"=") + b"."
        shapes[f"in a longer base64 after {ahead}"] = b"QQ" + urlsafe_b64encode(text + b"z" * 9)
    return shapes


@pytest.mark.parametrize("shape", _shapes().values(), ids=_shapes())
def test_a_personal_number_is_found_in_every_shape(shape: bytes) -> None:
    assert found(b'{"note": "' + shape + b'"}', frozenset({NUMBER})) == {NUMBER}
