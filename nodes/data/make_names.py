"""Writes the tables of names from Faker's ja_JP provider (MIT): `python -m nodes.data.make_names`.

Faker is in the dependency group `data` and is never imported while a simulation runs. Its version is
pinned, so the tables come out the same; each surname keeps its weight, so that common names stay common.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence

from nodes.data.table import HERE


def main() -> None:
    """Write `surnames.csv` and `given_names.csv` beside this file."""
    from faker.providers.person.ja_JP import Provider

    surnames = [(*names, round(weight)) for names, weight in Provider.last_name_pairs.items()]
    given = [(*names, "f") for names in Provider.first_name_female_pairs]
    given += [(*names, "m") for names in Provider.first_name_male_pairs]
    write("surnames.csv", ("name", "kana", "romaji", "weight"), _once(surnames))
    write("given_names.csv", ("name", "kana", "romaji", "sex"), _once(given))


def _once(rows: Iterable[Sequence[object]]) -> list[Sequence[object]]:
    """The rows, each name once."""
    return list({row[0]: row for row in rows}.values())


def write(name: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write one of the tables beside this file."""
    with (HERE / name).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


if __name__ == "__main__":
    main()
