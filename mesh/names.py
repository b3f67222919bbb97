"""Addresses, members, roles and zones: how parties are named.

A member is `kind/code` (`muni/01208`); a node is `kind/code/system` (`muni/01208/tax`); a role is an
address in which a part may be `*` (`muni/*/tax`).
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache

from mesh.errors import MeshError

_PART = r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?"
_ADDRESS = re.compile(rf"(muni|pref|gov|org|firm)/{_PART}/{_PART}")
_MEMBER = re.compile(rf"(muni|pref|gov|org|firm)/{_PART}")
_ROLE = re.compile(rf"(?:\*|muni|pref|gov|org|firm)/(?:\*|{_PART})/(?:\*|{_PART})")
_SERVICE = re.compile(r"(?=.{1,200}\Z)[a-z][a-z0-9-]*(?:\.[a-z0-9-]+)*\.v[1-9][0-9]*")

BROKER = "gov/digital/broker"
"""The broker role: デジタル庁 runs the core of 情報提供ネットワークシステム (番号法21条)."""
CODE_ISSUER = "gov/digital/code-issuer"
"""Who gives bodies their linkage codes (番号法21条の2). It and the broker can translate every code into any other."""
COMMISSION = "gov/ppc"
"""The member that supervises: 個人情報保護委員会 may demand what everybody recorded (番号法33条〜35条)."""


class Zone(StrEnum):
    """The separated networks of 三層の対策, and the cloud of the shared functions."""

    INTERNET = "internet"
    LGWAN = "lgwan"
    MYNUMBER = "mynumber"
    CLOUD = "cloud"


def is_address(text: str) -> bool:
    """Whether the text names one node, as `muni/01208/tax` does."""
    return _ADDRESS.fullmatch(text) is not None


def is_role(text: str) -> bool:
    """Whether the text is an address pattern, as `muni/*/tax` is."""
    return _ROLE.fullmatch(text) is not None


def is_service(text: str) -> bool:
    """Whether the text is a versioned service name, as `tax.income.v1` is."""
    return _SERVICE.fullmatch(text) is not None


def check_address(text: str) -> str:
    """Return the address; `MeshError` recipient_unknown if it is none."""
    if not is_address(text):
        raise MeshError("recipient_unknown", "an address is kind/code/system, as muni/01208/tax")
    return text


@lru_cache(maxsize=65536)
def member_of(address: str) -> str:
    """The member that a node belongs to: `muni/01208/tax` → `muni/01208`."""
    found = _MEMBER.match(address)
    if found is None:
        raise MeshError("recipient_unknown", "an address is kind/code/system, as muni/01208/tax")
    return found[0]


def matches(role: str, address: str) -> bool:
    """Whether the address has the role: each part is equal, or `*` in the role."""
    wanted, given = role.split("/"), address.split("/")
    return len(wanted) == len(given) and all(w in ("*", g) for w, g in zip(wanted, given, strict=True))
