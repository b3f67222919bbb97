"""The tables that are published: which groups each counts, said once for cities and publisher.

A table is defined before anybody counts. Who may cut it as they please learns what two cuts differ by.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct

TableKey = Annotated[str, Meta(pattern="^[a-z]+(-[a-z]+)*$", max_length=40)]


class TableDefinition(Struct, frozen=True):
    """Residents by age; `from_ages` begin the groups, the last one is open."""

    key: str
    title: str
    title_ja: str
    from_ages: tuple[int, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """What heads the groups' columns: `age_0_2`, `age_65_up`."""
        ends = [str(age - 1) for age in self.from_ages[1:]]
        return tuple(f"age_{start}_{end}" for start, end in zip(self.from_ages, [*ends, "up"], strict=True))


TABLES: Final = {
    one.key: one
    for one in (
        TableDefinition(
            "residents-by-care-age",
            "Residents by age, as childcare counts them",
            "保育年齢区分別住民数",
            (0, 3, 6, 15, 65),
        ),
        TableDefinition(
            "residents-by-nursery-age",
            "Residents by age, as nurseries with a class of three-year-olds count them",
            "満3歳児までを一区分とする年齢別住民数",
            (0, 4, 6, 15, 65),
        ),
    )
}
"""Every table that may be asked for, by key."""
