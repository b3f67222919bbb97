"""How a municipality is put together: systems by key, and what is said of one that does not exist."""

from __future__ import annotations

import pytest

from mesh import UsageError
from mesh.testing import simulation
from nodes.data.standard_systems import read_standard_systems
from nodes.municipality.assembly import FAMILY_SYSTEMS, assemble, key_of, system_class
from nodes.municipality.health import HealthManagement
from nodes.municipality.tax import TaxOffice


def test_there_are_twenty_standard_systems() -> None:
    """標準化対象事務: 20 of them since 戸籍, 戸籍の附票 and 印鑑登録 joined the 17."""
    systems = read_standard_systems()
    assert [one.number for one in systems.values()] == list(range(1, 21))
    assert len({one.name_ja for one in systems.values()}) == 20


def test_a_key_finds_its_class_and_the_class_its_key() -> None:
    assert system_class("tax") is TaxOffice
    assert [key_of(system_class(key)) for key in FAMILY_SYSTEMS] == list(FAMILY_SYSTEMS)


@pytest.mark.parametrize("key", ["parking", "allowance-rules", "Tax Office"])
def test_what_is_no_system_is_named(key: str) -> None:
    with pytest.raises(UsageError):
        system_class(key)


async def test_only_the_systems_that_were_named_take_part() -> None:
    with simulation() as sim:
        city = assemble(sim, "01208", "resident", "tax")
        assert sim.addresses("muni/01208/*") == ["muni/01208/resident", "muni/01208/tax"]
        assert city.node(TaxOffice) is city.tax
        with pytest.raises(UsageError, match="no node at muni/01208/health"):
            city.node(HealthManagement)
