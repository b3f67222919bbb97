"""The gate of the law: deny by default, in the order of the design, and with a text that helps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mesh.errors import MeshError
from mesh.names import Zone
from mesh.policy import LegalBasis, Policy, ZonePath

NOW_US = 1_000
CITY, TAX, SERVICE = "muni/01208/desk", "muni/28100/tax", "tax.income.v1"
INCOME = frozenset({"income"})
ROW = LegalBasis(
    "muni/*/desk", "allowance", "muni/*/tax", SERVICE, ("dependants", "income"), citation="8号 56の項"
)


def decide(policy: Policy, *, items: Iterable[str] = ("income",), **changes: Any) -> str:
    """The id of the row, or the code of the refusal."""
    asked = {
        "requester": CITY, "procedure": "allowance", "provider": TAX, "service": SERVICE,
        "items": frozenset(items), "now_us": NOW_US,
    } | changes  # fmt: skip
    try:
        return policy.decide(**asked).id
    except MeshError as error:
        return error.code


def test_nothing_is_lawful_without_a_row() -> None:
    assert decide(Policy()) == "no_legal_basis"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, "added-1"),
        ({"requester": "muni/01100/desk"}, "added-1"),
        ({"requester": "muni/01208/health"}, "no_legal_basis"),
        ({"requester": "firm/acme/desk"}, "no_legal_basis"),
        ({"procedure": "other"}, "no_legal_basis"),
        ({"procedure": ""}, "no_legal_basis"),
        ({"provider": "muni/28100/health"}, "no_legal_basis"),
        ({"service": "tax.income.v2"}, "no_legal_basis"),
        ({"items": ["income", "dependants"]}, "added-1"),
        ({"items": []}, "added-1"),
        ({"items": ["income", "address"]}, "item_not_permitted"),
        ({"procedure": "other", "items": ["address"]}, "no_legal_basis"),
    ],
    ids=str,
)
def test_requester_procedure_provider_service_and_items_all_count(changes: dict[str, Any], code: str) -> None:
    assert decide(Policy([ROW]), **changes) == code


def test_a_row_holds_from_its_first_to_before_its_last_moment() -> None:
    policy = Policy([replace(ROW, from_us=10, until_us=20)])
    assert [decide(policy, now_us=now_us) for now_us in (9, 10, 19, 20)] == [
        "no_legal_basis", "added-1", "added-1", "no_legal_basis",
    ]  # fmt: skip


def test_a_newer_row_follows_an_older_one() -> None:
    policy = Policy([replace(ROW, id="old", until_us=20), replace(ROW, id="new", from_us=20)])
    assert [decide(policy, now_us=now_us) for now_us in (19, 20)] == ["old", "new"]


def test_a_row_of_one_body_does_not_reach_into_another() -> None:
    policy = Policy([replace(ROW, same_member=True)])
    assert decide(policy) == "no_legal_basis"
    assert decide(policy, provider="muni/01208/tax") == "added-1"


def test_a_missing_assessment_stops_its_member_and_procedure_alone() -> None:
    policy = Policy([replace(ROW, assessment=True)])
    policy.withdraw_assessment("muni/01208", "allowance")
    assert decide(policy) == "assessment_missing"
    assert decide(policy, items=["address"]) == "assessment_missing"
    assert decide(policy, requester="muni/01100/desk") == "added-1"


def test_a_row_that_is_added_counts_at_once() -> None:
    policy = Policy()
    assert decide(policy) == "no_legal_basis"
    policy.add(ROW)
    assert decide(policy) == "added-1"
    assert policy.restricts(SERVICE)
    assert not policy.restricts("other.v1")
    assert policy.rows("other.v1") == ()


def test_a_refusal_says_what_would_be_lawful() -> None:
    policy = Policy([ROW])
    with pytest.raises(MeshError, match="only for: allowance"):
        policy.decide(CITY, "other", TAX, SERVICE, frozenset(), NOW_US)
    with pytest.raises(MeshError, match="no row lets"):
        policy.decide("firm/acme/desk", "other", TAX, SERVICE, frozenset(), NOW_US)
    with pytest.raises(MeshError, match=r"8号 56の項.*dependants income"):
        policy.decide(CITY, "allowance", TAX, SERVICE, frozenset({"address"}), NOW_US)


@given(st.text(min_size=12, max_size=30), st.text(min_size=12, max_size=30))
def test_a_refusal_quotes_registered_names_only(procedure: str, item: str) -> None:
    """Whoever asks chooses procedure and items: none of it comes back."""
    policy = Policy([ROW])
    for asked in ((procedure, frozenset({"income"})), ("allowance", frozenset({item}))):
        with pytest.raises(MeshError) as caught:
            policy.decide(CITY, asked[0], TAX, SERVICE, asked[1], NOW_US)
        assert procedure not in caught.value.text
        assert item not in caught.value.text


def test_roles_are_checked_when_a_row_is_written() -> None:
    for bad in ("muni/*", "city/*/desk", "muni/*/desk/x", ""):
        with pytest.raises(ValueError, match="roles"):
            Policy([replace(ROW, requester=bad)])


def test_a_procedure_is_named_so_that_every_history_can_say_it() -> None:
    for bad in ("", "事務", "123456789018", "a b", "Upper"):
        with pytest.raises(ValueError, match="procedure"):
            Policy([replace(ROW, procedure=bad)])


def test_hidden_exchanges_are_those_whose_row_says_so() -> None:
    policy = Policy([ROW, replace(ROW, procedure="abuse", undisclosed=True)])
    assert policy.hides(CITY, "abuse", TAX, SERVICE, INCOME, NOW_US)
    assert not policy.hides(CITY, "allowance", TAX, SERVICE, INCOME, NOW_US)
    assert not policy.hides(CITY, None, TAX, SERVICE, INCOME, NOW_US)


def test_the_first_row_in_force_that_covers_the_items_decides() -> None:
    narrow = replace(ROW, id="narrow", items=("income",))
    wide = replace(ROW, id="wide", items=("dependants", "income"), undisclosed=True)
    over = replace(wide, id="over", until_us=NOW_US)
    policy = Policy([over, narrow, wide, replace(narrow, id="late")])
    both = frozenset({"income", "dependants"})
    assert [decide(policy, items=items) for items in (INCOME, both)] == ["narrow", "wide"]
    assert decide(policy, items=both, now_us=NOW_US - 1) == "over"
    with pytest.raises(MeshError, match=r"row narrow .*permits only: income$") as raised:
        policy.decide(CITY, "allowance", TAX, SERVICE, frozenset({"address"}), NOW_US)
    assert raised.value.code == "item_not_permitted"
    hidden = [policy.hides(CITY, "allowance", TAX, SERVICE, items, NOW_US) for items in (INCOME, both)]
    assert hidden == [False, True]
    assert policy.hides(CITY, "allowance", TAX, SERVICE, INCOME, NOW_US - 1)


def test_an_assessment_is_asked_of_the_row_that_decides() -> None:
    narrow = replace(ROW, id="narrow", items=("income",), assessment=True)
    policy = Policy([narrow, replace(ROW, id="wide")])
    policy.withdraw_assessment("muni/01208", "allowance")
    assert decide(policy) == "assessment_missing"
    assert decide(policy, items=["income", "dependants"]) == "wide"
    assert decide(policy, items=["address"]) == "assessment_missing"


def test_subscribers_are_whom_a_row_names() -> None:
    policy = Policy(
        [LegalBasis("muni/*/health", "checkups", "muni/*/resident", "resident.birth.v1", until_us=20)]
    )
    [row] = policy.subscribers("muni/01208/resident", "resident.birth.v1", 19)
    assert row.requester == "muni/*/health"
    assert policy.subscribers("muni/01208/tax", "resident.birth.v1", 19) == []
    assert policy.subscribers("muni/01208/resident", "resident.birth.v1", 20) == []
    assert policy.subscribers("muni/01208/resident", "resident.death.v1", 19) == []


def test_zones_are_apart_unless_a_path_joins_them() -> None:
    policy = Policy(paths=[ZonePath(Zone.LGWAN, Zone.MYNUMBER, provider="muni/*/tax")])
    zones = list(Zone)
    allowed = [(a, b) for a in zones for b in zones if policy.may_cross(a, b, CITY, TAX)]
    assert allowed == [
        (a, b) for a in zones for b in zones if a == b or (a, b) == (Zone.LGWAN, Zone.MYNUMBER)
    ]
    assert not policy.may_cross(Zone.LGWAN, Zone.MYNUMBER, CITY, "muni/28100/health")
    policy.allow_path(ZonePath(Zone.LGWAN, Zone.MYNUMBER))
    assert policy.may_cross(Zone.LGWAN, Zone.MYNUMBER, CITY, "muni/28100/health")


def test_a_row_without_an_id_is_named_by_those_like_it_alone() -> None:
    named = LegalBasis("muni/*/other", "other", "muni/*/tax", SERVICE, id="tax-1")
    assert [one.id for one in Policy([named, ROW, named, ROW]).bases] == [
        "tax-1",
        "added-1",
        "tax-1",
        "added-2",
    ]
