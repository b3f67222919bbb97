"""What the cases share: one service of each kind."""

from msgspec import Struct

from mesh import PersonalService, Service


class Places(Struct, frozen=True):
    free: int


class PlacesQuery(Struct, frozen=True, forbid_unknown_fields=True):
    age: int


class Income(Struct, frozen=True):
    yen: int


class IncomeQuery(Struct, frozen=True, forbid_unknown_fields=True):
    year: int


PLACES = Service("typing.places.v1", PlacesQuery, Places, title="Places", title_ja="空き")
INCOME = PersonalService("typing.income.v1", IncomeQuery, Income, title="Income", title_ja="所得")
