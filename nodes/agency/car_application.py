"""What somebody signs who registers a car or takes one over, and which papers each procedure used to need.

Outside 番号法: no 符号 and no 個人番号 is used. A person is known by the serial number of the signature
certificate (公的個人認証) and by the name that they signed.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from mesh.message import decode
from mesh.service import Name
from nodes.agency.case_steps import Chassis

Procedure = Literal["new", "transfer", "inspection"]
"""新規登録, 移転登録, 継続検査."""
Place = Annotated[str, Meta(pattern="^pl-[a-z0-9-]{1,30}$")]
"""A place to keep a car (保管場所), as the police know it."""

SAVED_PAPERS: Final[dict[Procedure, tuple[str, ...]]] = {
    "new": ("garage-certificate", "seal-certificate"),
    "transfer": ("garage-certificate", "seal-certificate", "seal-certificate"),
    "inspection": ("vehicle-tax-certificate",),
}
"""Keys of `papers.csv`. 納税証明書 was asked for at 継続検査 only (道路運送車両法97条の2), 印鑑証明書 of both parties at
移転登録 (自動車登録令16条). 住民票 is asked of a user who is not the owner; here the owner uses the car."""


class CarApplication(Struct, frozen=True, forbid_unknown_fields=True):
    """What the new owner signs."""

    procedure: Literal["new", "transfer"]
    chassis: Chassis
    owner: Name
    place: Place
    displacement_cc: Annotated[int, Meta(ge=661, le=10_000)]
    """総排気量; up to 660 cc a car is 軽自動車, which is not registered."""
    price_yen: Annotated[int, Meta(ge=0)]
    """取得価額."""
    emission_percent: Annotated[int, Meta(ge=0, le=3)]
    """The rate of 環境性能割 for the car's fuel efficiency: 0 to 3 percent (地方税法145条以下)."""
    reduced: bool = False
    """Claims 減免, as for persons with disabilities; the one-stop service does not take those."""


class Transfer(Struct, frozen=True, forbid_unknown_fields=True):
    """What the owner signs who gives a car away (譲渡証明書)."""

    chassis: Chassis
    to: Name


_application_decoder = msgspec.json.Decoder(CarApplication)
_transfer_decoder = msgspec.json.Decoder(Transfer)


def read_car_application(document: bytes) -> CarApplication:
    """The application that a card signed; `MeshError` schema_invalid or message_malformed."""
    return decode(document, _application_decoder)


def read_transfer(document: bytes) -> Transfer:
    """The deed that a card signed; `MeshError` schema_invalid or message_malformed."""
    return decode(document, _transfer_decoder)
