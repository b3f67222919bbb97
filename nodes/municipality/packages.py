"""The packages that municipalities run: which module stands for a standard system, and in which layout.

Large cities run systems of their own making on a platform, small towns share one service (SaaS), and some have not
migrated yet (特定移行支援システム: at the end of December 2025 in 935 of 1,788 bodies, 52.3%; デジタル庁 2026-02-27). They differ in assembly and in
the version of the layout, and not in the contract. Which municipality has which package in a scenario is invented.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class Package:
    """One package; `modules` are those of `nodes.municipality` that stand in for a system's own."""

    key: str
    title: str
    title_ja: str
    modules: Mapping[str, str] = field(default_factory=dict)

    def module_of(self, system: str) -> str:
        """The key of the module that plays a system."""
        return self.modules.get(system, system)


def _package(key: str, title: str, title_ja: str, **modules: str) -> Package:
    return Package(key, title, title_ja, MappingProxyType(modules))


STANDARD: Final = _package("standard", "Standard system", "標準準拠システム")
CUSTOMISED: Final = _package(
    "customised",
    "A system of the city's own making on a platform",
    "独自システム（PaaS）",
    tax="tax-customised",
)
SHARED: Final = _package("shared", "Shared service of several towns", "共同利用（SaaS）", tax="tax-layout-2")
LATE: Final = _package("late", "Not yet migrated", "特定移行支援システム", tax="tax-legacy")
