"""The world of `base_registry`: two registries, offices that copy them, corporations and a town that do not exist."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace
from stdnum.jp.cn import calc_check_digit

from mesh import Simulation
from mesh.message import Request
from mesh.testing import Transmission, messages
from nodes.agency.address_registry import ADDRESS_REGISTRY, AddressRegistry, Town
from nodes.agency.base_registry import SIGNAL
from nodes.agency.corporate_registry import CORPORATE_REGISTRY, CorporateRegistry, Corporation
from nodes.data.municipalities import municipalities
from nodes.municipality.assembly import City, assemble
from nodes.municipality.corporate_tax import CorporateTaxOffice

KITAMI, KOBE, SAPPORO = "01208", "28100", "01100"


def corporate_number(serial: int) -> str:
    """A 法人番号 with a right check digit, of a 登記所 that does not exist."""
    base = f"999901{serial:06d}"
    return calc_check_digit(base) + base


TOWN: Final = Town("012084-0001001", "北海道北見市見本町一丁目")
RENAMED: Final = replace(TOWN, written="北海道北見市見本中央一丁目")
KOBE_TOWN: Final = Town("281107-0001000", "兵庫県神戸市中央区見本通")
FOODS: Final = Corporation(corporate_number(1), "株式会社見本フーズ", TOWN.town, "2番3号")
FOODS_MOVED: Final = replace(FOODS, name="見本フードサービス株式会社", town=KOBE_TOWN.town, block="5番1号")
MILLS: Final = Corporation(corporate_number(2), "株式会社見本製粉", TOWN.town, "7番1号")


class World:
    """The registries, and every office that copies them."""

    def __init__(self, sim: Simulation, copies: int) -> None:
        self.sim = sim
        sim.add(CorporateRegistry, CORPORATE_REGISTRY)
        sim.add(AddressRegistry, ADDRESS_REGISTRY)
        self.kitami, self.kobe, self.sapporo = (
            assemble(sim, code, "corporate-tax") for code in (KITAMI, KOBE, SAPPORO)
        )
        others = [one.code[:5] for one in municipalities() if one.code[:5] not in (KITAMI, KOBE, SAPPORO)]
        more = [assemble(sim, code, "corporate-tax") for code in others[: copies - 3]]
        self.cities = [self.kitami, self.kobe, self.sapporo, *more]

    @property
    def corporate(self) -> CorporateRegistry:
        """The source of corporations."""
        return self.sim.node(CORPORATE_REGISTRY, CorporateRegistry)

    @property
    def address(self) -> AddressRegistry:
        """The source of towns."""
        return self.sim.node(ADDRESS_REGISTRY, AddressRegistry)

    def office(self, city: City) -> CorporateTaxOffice:
        """A city's corporate tax office."""
        return city.node(CorporateTaxOffice)

    def corporate_versions(self) -> dict[str, int]:
        """Which version of the corporate registry each copy holds, by address."""
        return {city.address("corporate-tax"): self.office(city).corporations.version for city in self.cities}

    def signals(self) -> list[Transmission]:
        """Every signal that a registry sent to a copier, as it left; sent again, or doubled on its way, it is the same."""
        registries = (CORPORATE_REGISTRY, ADDRESS_REGISTRY)
        told: dict[bytes, Transmission] = {}
        for one in messages(self.sim, Request):
            if one.message.type == SIGNAL.name and one.sender in registries:
                told.setdefault(one.line, one)
        return list(told.values())
