"""How a document differs from its declaration: by declared field and limit, never by a value or an undeclared name."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Literal
from uuid import UUID

import msgspec
import pytest
from msgspec import Meta, Struct

from mesh.errors import MeshError
from mesh.misfit import field_with, largest_field, misfit
from mesh.parsing import decode

SECRET = "Secret7731"


class Inner(Struct, frozen=True, forbid_unknown_fields=True):
    x: Annotated[int, Meta(ge=0, le=5)] = 0


class Colour(Enum):
    RED = "red"


class One(Struct, tag="one"):
    a: int


class Two(Struct, tag="two"):
    b: int


class Checked(Struct, frozen=True):
    v: str = ""

    def __post_init__(self) -> None:
        if self.v:
            raise ValueError(f"Expected something else than {self.v}")


class All(Struct, forbid_unknown_fields=True, rename="camel"):
    long_name: Annotated[str, Meta(max_length=5)] = "a"
    form: Annotated[str, Meta(pattern="^a+$")] = "a"
    choice: Literal["p", "q"] = "p"
    colour: Colour = Colour.RED
    inner: Inner = Inner()
    several: tuple[Inner, ...] = ()
    pair: tuple[int, int] = (1, 2)
    table: dict[str, int] = {}
    keys: dict[Annotated[str, Meta(max_length=2)], int] = {}
    few: Annotated[list[int], Meta(max_length=2)] = []
    day: date = date(2026, 4, 1)
    id: UUID | None = None
    either: One | Two | None = None
    checked: Checked = Checked()
    rate: float = 1.0
    sum: Decimal = Decimal(1)
    span: timedelta = timedelta(1)


DECODER = msgspec.json.Decoder(All)
CASES = {
    '{"longName":"Secret7731"}': "longName: expected str of length <= 5",
    '{"form":"Secret7731"}': "form: expected str matching regex '^a+$'",
    '{"longName":7731}': "longName: expected str, got int",
    '{"choice":"Secret7731"}': "choice: expected one of the declared values",
    '{"colour":"Secret7731"}': "colour: expected one of the declared values",
    '{"inner":{"x":7731}}': "inner.x: expected int <= 5",
    '{"inner":{"Secret7731":1}}': "inner: holds a field that is not declared",
    '{"Secret7731":1}': "holds a field that is not declared",
    '{"a - at `$.Secret7731":1}': "holds a field that is not declared",
    '{"inner":{"a - at `$.Secret7731":1}}': "holds a field that is not declared",
    '{"several":[{"x":1},{"x":-7731}]}': "several[1].x: expected int >= 0",
    '{"pair":[7731]}': "pair: expected array of length 2",
    '{"table":{"Secret7731":"x"}}': "table[...]: expected int, got str",
    '{"keys":{"Secret7731":1}}': "a key of keys: expected str of length <= 2",
    '{"few":[1,2,7731]}': "few: expected array of length <= 2",
    '{"day":"Secret7731"}': "day: invalid RFC3339 encoded date",
    '{"id":"Secret7731"}': "id: invalid UUID",
    '{"either":{"type":"Secret7731"}}': "either.type: expected one of the declared values",
    '{"either":{"type":"one"}}': "either: object missing required field a",
    '{"checked":{"v":"Secret7731"}}': "checked: not what its type allows",
    '{"rate":null}': "rate: expected float, got null",
    '{"sum":"Secret7731"}': "sum: invalid decimal string",
    '{"span":"Secret7731"}': "span: invalid ISO8601 duration",
    "[7731]": "expected object, got array",
}


@pytest.mark.parametrize("document", CASES)
def test_field_and_limit_are_named_and_nothing_that_the_document_says(document: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        DECODER.decode(document)
    assert misfit(caught.value) == CASES[document]
    assert "7731" not in CASES[document]


def test_a_gate_keeps_it_to_itself() -> None:
    with pytest.raises(MeshError) as caught:
        decode(b'{"longName":"Secret7731"}', DECODER)
    error = caught.value
    assert error.signed_text == "the document does not fit its schema", "which is what a refusal says"
    assert error.text == f"{error.signed_text} (longName: expected str of length <= 5)"
    assert str(error) == f"schema_invalid: {error.text}"


def test_a_struct_says_which_of_its_fields_is_at_fault_and_which_is_large() -> None:
    value = All(long_name="x" * 9, few=[7] * 40)
    assert field_with(value, lambda part: part == value.few) == "few"
    assert field_with(value, lambda part: part == SECRET) is None
    assert field_with("no struct", bool) is None
    assert largest_field(value, lambda part: len(msgspec.json.encode(part))) == ("few", 81)
    assert largest_field(SECRET, lambda part: 1) is None
