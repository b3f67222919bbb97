"""A household: who lives together, how they are related, where each has lived, earned and been cared for.

Rules kept here:
1. A person's handle is given by the simulation when it is first asked for, so that people whom nobody looks at
   cost nothing.
2. Nothing real: incomes and care levels are synthetic, of a plausible size. A person's 個人番号 is not kept here:
   only the resident register has it.
3. Who is no Japanese national has a 住民票 like everybody (住民基本台帳法30条の45) and no 戸籍: a scenario enters none
   of them into a family register. A household is of one nationality and one family name. Not modelled: 通称, names
   in kanji beside the Latin ones, 在留資格 and its term, and where somebody lived before the first move in Japan.

The 住民票コード has eleven digits (住民基本台帳法施行規則1条); how its last digit is computed stands in
平成14年総務省告示436号, which was not at hand, so the check digit here is illustrative.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import date
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import astuple

from mesh.simulation import Simulation
from nodes.data.calendar import age_on, levy_day
from nodes.data.names import Name, Sex

Relation = Literal["head", "spouse", "child", "parent"]
"""To the head of the household (世帯主); a parent is the head's."""

CareLevel = Literal["要支援1", "要支援2", "要介護1", "要介護2", "要介護3", "要介護4", "要介護5"]

_CARE_LEVELS: Final[tuple[CareLevel, ...]] = (
    "要支援1",
    "要支援2",
    "要介護1",
    "要介護2",
    "要介護3",
    "要介護4",
    "要介護5",
)
_CARE_SHARES: Final = (0.14, 0.28, 0.49, 0.66, 0.79, 0.92)
"""Where each level ends among those who have one; synthetic."""
_CARED_FOR: Final = ((65, 0.0), (75, 0.04), (85, 0.18), (200, 0.58))
"""The share that has a level below each age; synthetic, about a fifth of those over 65."""

# 合計所得金額 at each tenth of those who work, and of those who draw a pension; synthetic.
_EARNED_YEN: Final = (0, 0, 600, 1_200, 1_800, 2_400, 3_000, 3_700, 4_800, 6_500, 12_000)
_PENSION_YEN: Final = (0, 0, 0, 200, 400, 600, 800, 1_100, 1_600, 2_600, 6_000)


class Move(Struct, frozen=True):
    """One change of residence, between municipalities by their first five digits."""

    on: date
    from_city: str
    to_city: str


class Person(Struct, frozen=True, eq=False):
    """One person of one simulation."""

    number: int
    """Ten digits, different for everybody; the 住民票コード but its check digit."""
    family: Name
    given: Name
    born: date
    sex: Sex
    relation: Relation
    moves: tuple[Move, ...]
    """Every move since birth, alone or with the household."""
    means: float
    """Their place among all people by income, from 0 to 1."""
    care_level: CareLevel | None
    nationality: str
    """国籍・地域: 日本, or a country of `foreign_names.csv`."""
    sim: Simulation

    def __eq__(self, other: object) -> bool:
        """Whether all that is known of both is the same, be it in two runs."""
        return isinstance(other, Person) and astuple(self)[:-1] == astuple(other)[:-1]

    def __hash__(self) -> int:
        return self.number

    @property
    def handle(self) -> str:
        """What names them in this run and in its trace, never in a message: `r-000123`."""
        return self.sim.resident(self.resident_code)

    @property
    def resident_code(self) -> str:
        """Their 住民票コード, eleven digits."""
        digits = f"{self.number:010d}"
        return digits + resident_check_digit(digits)

    @property
    def name(self) -> str:
        """The name as the register writes it."""
        return f"{self.family.written} {self.given.written}"

    @property
    def kana(self) -> str:
        """The name's reading."""
        return f"{self.family.kana} {self.given.kana}"

    @property
    def romaji(self) -> str:
        """The name in Latin letters, family name last."""
        return f"{self.given.romaji} {self.family.romaji}"

    def age_on(self, day: date) -> int:
        """The whole years that they have reached on a day, as the law counts."""
        return age_on(self.born, day)

    def income_yen(self, year: int) -> int:
        """合計所得金額 for which they are taxed in a year (年度), so earned in the year before; synthetic.

        Nothing below 18, more with age until 50, a pension from 65.
        """
        age = self.age_on(levy_day(year))
        if age < 18:
            return 0
        if age >= 65:
            return _at(_PENSION_YEN, self.means)
        return _at(_EARNED_YEN, self.means) * (40 + min(age - 18, 32) * 60 // 32) // 100 // 1000 * 1000


class Household(Struct, frozen=True):
    """People who live together, and where they lived before."""

    number: int
    city: str
    """Where they live now, by the first five digits."""
    moves: tuple[Move, ...]
    """The moves that they made together, oldest first."""
    members: tuple[Person, ...]

    @property
    def head(self) -> Person:
        """The head of the household (世帯主)."""
        return self.members[0]

    @property
    def spouse(self) -> Person | None:
        """The head's spouse, if there is one."""
        return next((one for one in self.members if one.relation == "spouse"), None)

    @property
    def parents(self) -> tuple[Person, ...]:
        """Head and spouse, who are the children's parents."""
        return tuple(one for one in self.members if one.relation in ("head", "spouse"))

    @property
    def children(self) -> tuple[Person, ...]:
        """The children, eldest first."""
        return tuple(one for one in self.members if one.relation == "child")

    @property
    def grandparents(self) -> tuple[Person, ...]:
        """The head's own parents."""
        return tuple(one for one in self.members if one.relation == "parent")

    def city_on(self, day: date) -> str:
        """Where the household lived on a day, such as 1 January."""
        earlier = [move.to_city for move in self.moves if move.on <= day]
        if earlier:
            return earlier[-1]
        return self.moves[0].from_city if self.moves else self.city


def resident_check_digit(digits: str) -> str:
    """The illustrative last digit of a 住民票コード: weights 2 to 6 from the right, modulo 11."""
    total = sum(int(digit) * (place % 5 + 2) for place, digit in enumerate(reversed(digits)))
    return str((11 - total % 11) % 10)


def care_level(age_years: float, drawn: float) -> CareLevel | None:
    """The level of who stands at a place from 0 to 1 among people of an age; most have none."""
    share = next(share for age, share in _CARED_FOR if age_years < age)
    return _CARE_LEVELS[bisect_right(_CARE_SHARES, drawn / share)] if drawn < share else None


def _at(tenths: tuple[int, ...], place: float) -> int:
    """The yen at a place from 0 to 1 between the tenths, which stand in thousands."""
    low = int(place * 10)
    return int(tenths[low] + (tenths[low + 1] - tenths[low]) * (place * 10 - low)) * 1000
