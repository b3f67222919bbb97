"""Evidence for policy: cities count, the statistics office publishes, and nobody can be counted out of the table.

Where are the small children for whom childcare is planned? Each city counts its own residents; persons stay where they
are. Small counts are withheld, and so are those from which they could be computed. An attacker subtracts: totals,
a table that is cut otherwise, a later edition. One city does not answer.
"""

from __future__ import annotations

import csv
import hashlib
import io

import msgspec

from mesh import Node, Simulation, UsageError, scenario
from mesh.builtin import Empty
from mesh.message import Reply
from mesh.names import Zone
from mesh.sealing import open_sealed
from mesh.testing import messages
from nodes.agency.disclosure_control import MINIMUM, small_cells, with_totals, withheld_cells
from nodes.agency.statistics import (
    CATALOGUE,
    LICENCE,
    NOT_REPORTED,
    OPEN_FILE,
    STATISTICS,
    WITHHELD,
    Dataset,
    FileQuery,
    StatisticsOffice,
)
from nodes.data.municipalities import Kind, Municipality, municipalities
from nodes.data.people import Population
from nodes.municipality.assembly import City, assemble
from nodes.municipality.resident import COUNTS
from nodes.municipality.statistics import PROCEDURE, TABLE_COUNTS, TableQuery
from scenarios._differencing import Shown, equations, hide, solve

TABLE, OTHER_TABLE = "residents-by-care-age", "residents-by-nursery-age"
DAY = "2026-04-01"
LAB = "firm/policy-lab/desk"
HOUSEHOLDS: dict[Kind, int] = {
    "designated-city": 400, "core-city": 300, "special-ward": 300, "city": 220, "town": 160, "village": 30,
}  # fmt: skip
"""How many households of a municipality of each kind are simulated; illustrative."""


class ReadingDesk(Node):
    """A researcher on the internet, who reads what everybody may read."""

    title, title_ja = "Reader of open data", "オープンデータの利用者"
    zone = Zone.INTERNET


@scenario(
    title="Counts from many cities, published so that nobody can be counted out",
    title_ja="多数の市区町村の集計を、個人が特定されない形で公開する",
    rules=(1, 10, 15),
    sources=("EBPM・オープンデータ", "官民データ活用推進基本法11条", "三層の対策"),
    starts="2026-04-01T09:00+09:00",
)
async def run(sim: Simulation, *, cities: int = 18) -> None:
    """Tell the story; `cities` is how many municipalities are asked."""
    if not 12 <= cities <= 60:
        raise UsageError(f"--set cities is 12 to 60, not {cities}")
    sim.add(StatisticsOffice, STATISTICS)
    sim.add(ReadingDesk, LAB)
    chosen = [assemble(sim, one.code[:5], "resident", "statistics") for one in choose(cities)]
    people = Population(sim)
    for city in chosen:
        for home in people.settled(city.about.code[:5], HOUSEHOLDS[city.about.kind]):
            city.settle(home)
    silent = chosen[1]
    await count(sim, chosen, silent)
    await ask_again(sim, chosen[0], people)
    await ask_for_more(sim, chosen[0])
    await release(sim, chosen, silent)
    subtract_from_totals(sim)
    await subtract_another_table(sim, chosen)
    await subtract_a_later_edition(sim, chosen, silent)


def choose(count: int) -> list[Municipality]:
    """Municipalities of every kind in turn, in the order of their codes."""
    by_kind = {kind: [one for one in municipalities() if one.kind == kind] for kind in HOUSEHOLDS}
    kinds = list(by_kind)
    picked = [by_kind[kinds[place % len(kinds)]][place // len(kinds)] for place in range(count)]
    return sorted(picked, key=lambda one: one.code)


async def count(sim: Simulation, chosen: list[City], silent: City) -> None:
    """The office asks every city; one cannot be reached. What travels is numbers."""
    office = sim.node(STATISTICS, StatisticsOffice)
    with sim.offline(silent.address("statistics")):
        missing = await office.gather(TABLE, DAY, [city.about for city in chosen])
    sim.expect(
        f"{len(chosen) - 1} of {len(chosen)} cities reported; {silent.about.name} did not answer",
        missing == [silent.about.code] and len(office.reported(TABLE, DAY)) == len(chosen) - 1,
        text_ja=f"{len(chosen)}団体のうち{len(chosen) - 1}団体が報告し、{silent.about.name_ja}は応答しなかった",
    )
    replies = [one for one in messages(sim, Reply) if one.message.type in (COUNTS.name, TABLE_COUNTS.name)]
    bodies = [open_sealed(one.message.data, sim.keys_of(one.message.recipient).sealing) for one in replies]
    groups = len(next(iter(office.reported(TABLE, DAY).values())))
    sim.expect(
        f"Each answer holds {groups} numbers and nothing else: nobody's data left the register",
        bool(bodies) and all(_is_counts(body, groups) for body in bodies),
        text_ja=f"回答はいずれも{groups}個の数だけで、個人のデータは住民基本台帳から出ていない",
    )


def _is_counts(body: bytes, groups: int) -> bool:
    """Whether an opened answer is so many counts, and nothing besides."""
    data = msgspec.json.decode(body)["data"]
    return list(data) == ["counts"] and [type(count) for count in data["counts"]] == [int] * groups


async def ask_again(sim: Simulation, city: City, people: Population) -> None:
    """A family moves in; the counts of the day stay, or their difference would be that family."""
    office = sim.node(STATISTICS, StatisticsOffice)
    before = office.reported(TABLE, DAY)[city.about.code]
    city.settle(people.household(city.about.code[:5], child_ages=(1,)))
    desk, query = city.address("statistics"), TableQuery(TABLE, DAY)
    again = await office.ask(desk, TABLE_COUNTS, query, procedure=PROCEDURE)
    sim.expect(
        "Asked again after a family has moved in, the city gives the same counts: no difference tells of them",
        again.counts == before,
        text_ja="一家が転入した後に再び照会しても同じ集計が返り、差から一家のことは分からない",
    )


async def ask_for_more(sim: Simulation, city: City) -> None:
    """Groups of one's own choice, and counts for whom no row names."""
    desk = city.address("statistics")
    with sim.refused(
        "not_found",
        "A table that is not defined is not counted: nobody chooses groups to subtract",
        text_ja="定義のない区分では集計しない（任意の区分の差し引きを防ぐ）",
    ):
        query = TableQuery("residents-by-single-year", DAY)
        await sim.node(STATISTICS).ask(desk, TABLE_COUNTS, query, procedure=PROCEDURE)
    with sim.refused(
        "zone_forbidden",
        "A researcher cannot ask the city itself: nothing leads from the internet to it",
        text_ja="研究者が市区町村に直接照会することはできない（インターネットからの経路がない）",
    ):
        await sim.node(LAB).ask(desk, TABLE_COUNTS, TableQuery(TABLE, DAY), procedure=PROCEDURE)


async def release(sim: Simulation, chosen: list[City], silent: City) -> None:
    """The table is published; a researcher fetches it."""
    office, lab = sim.node(STATISTICS, StatisticsOffice), sim.node(LAB)
    office.release(TABLE, DAY, [city.about for city in chosen])
    catalogue = await lab.ask(STATISTICS, CATALOGUE, Empty())
    file = await lab.ask(STATISTICS, OPEN_FILE, FileQuery(catalogue.datasets[0].identifier))
    entry, rows = catalogue.datasets[0], list(csv.reader(io.StringIO(file.csv)))
    sim.expect(
        "A researcher finds the table in the catalogue, under CC BY 4.0, and its file is the one that the entry names",
        _describes(entry, file.csv, rows[0]),
        text_ja="研究者はカタログから表を見つけ（CC BY 4.0）、ファイルは記載のハッシュ値・項目と一致する",
    )
    line = next(row for row in rows if row[0] == silent.about.code)
    sim.expect(
        f"{silent.about.name} is shown as not reported ({NOT_REPORTED}), not as zero, and the totals say of how many they are",
        set(line[2:]) == {NOT_REPORTED}
        and str(len(chosen) - 1) in rows[-1][1]
        and f"of {len(chosen)} " in entry.note,
        text_ja=f"{silent.about.name_ja}は「{NOT_REPORTED}」（報告なし）でゼロではなく、合計には報告団体数が示される",
    )
    shown = published(office)
    signs = sum(count is None for row in shown for count in row)
    told = [count for row in shown for count in row if count is not None]
    sim.expect(
        f"No count from 1 to {MINIMUM - 1} is told; {signs} of {sum(map(len, shown))} are withheld",
        not any(0 < count < MINIMUM for count in told) and signs > 0,
        text_ja=f"1から{MINIMUM - 1}までの値は公表されず、{sum(map(len, shown))}個中{signs}個が秘匿された",
    )
    sim.tell(
        f"{len(chosen)} cities are asked how many residents of each age they have; {len(chosen) - 1} answer with counts. "
        "The statistics office publishes the table as open data. A count under ten is withheld, and with it what it "
        "could be computed from.",
        f"{len(chosen)}団体に年齢区分別の住民数を照会し、{len(chosen) - 1}団体が集計値で回答した。統計局は10未満の値と、"
        "それを逆算できる値を秘匿して、オープンデータとして公開した。",
    )
    header, example = ",".join(rows[0]), ",".join(next(row for row in rows if WITHHELD in row))
    sim.tell(
        f"Its columns are {header}; one of its lines is {example}.",
        f"項目は {header}、ある行は {example} である。",
    )


def _describes(entry: Dataset, text: str, header: list[str]) -> bool:
    return (
        (entry.licence, entry.media_type, entry.reference) == (LICENCE, "text/csv", DAY)
        and entry.sha256 == hashlib.sha256(text.encode()).hexdigest()
        and list(entry.columns) == header
    )


def published(office: StatisticsOffice) -> Shown:
    """The published table as an attacker reads it: counts and totals, None where one is withheld."""
    row = office.db.execute("SELECT csv FROM dataset").fetchone()
    lines = [line[2:] for line in list(csv.reader(io.StringIO(row["csv"])))[1:]]
    return [
        [None if text == WITHHELD else int(text) for text in line]
        for line in lines
        if NOT_REPORTED not in line
    ]


def subtract_from_totals(sim: Simulation) -> None:
    """The attack on the totals: it works where only the small counts are withheld."""
    office = sim.node(STATISTICS, StatisticsOffice)
    table = with_totals(list(office.reported(TABLE, DAY).values()))
    small = small_cells(table)
    careless = solve(equations(hide(table, small), TABLE))
    rightly = all(table[r][c] == value for (_, r, c), value in careless.items())
    sim.expect(
        f"Were only the {len(small)} small counts withheld, subtracting from the totals would give {len(careless)} of them",
        len(careless) > 0 and rightly,
        text_ja=f"{len(small)}個の小さい値だけを秘匿した場合、合計からの差し引きで{len(careless)}個が復元される",
    )
    sim.expect(
        "From the published table the same attack gives none",
        solve(equations(published(office), TABLE)) == {},
        text_ja="公開された表では、同じ攻撃で一つも復元できない",
    )


async def subtract_another_table(sim: Simulation, chosen: list[City]) -> None:
    """The attack with a second table whose groups overlap: it is not published by a machine."""
    office, about = sim.node(STATISTICS, StatisticsOffice), [city.about for city in chosen]
    await office.gather(OTHER_TABLE, DAY, [one for one in about if one.code in office.reported(TABLE, DAY)])
    counted = office.reported(OTHER_TABLE, DAY)
    other = with_totals(list(counted.values()))
    # The published lines are those of the cities that reported, and the totals. One may not have answered again.
    first = dict(zip(office.reported(TABLE, DAY), published(office), strict=False))
    both = [
        (first[city][0], line[0])
        for city, line in zip(counted, hide(other, withheld_cells(other)), strict=False)
    ]
    told = [more - less for less, more in both if less is not None and more is not None]
    found = [count for count in told if 0 < count < MINIMUM]
    sim.expect(
        "With a second table that counts 0 to 3 instead of 0 to 2, the number of three-year-olds would follow; in "
        f"{len(found)} cities it is under {MINIMUM}",
        len(found) > 0,
        text_ja=f"0〜2歳でなく0〜3歳で区切った別表も公開すると、差から3歳児の数が分かり、{len(found)}団体で{MINIMUM}人未満となる",
    )
    with sim.refused(
        "manual_review",
        "So the second table of the same residents is not published without a person's decision",
        text_ja="そのため、同じ住民についての別表は、職員の判断なしには公開されない",
    ):
        office.release(OTHER_TABLE, DAY, about)


async def subtract_a_later_edition(sim: Simulation, chosen: list[City], silent: City) -> None:
    """The silent city reports a day late. New totals less the old ones would be that city."""
    office, about = sim.node(STATISTICS, StatisticsOffice), [city.about for city in chosen]
    earlier = with_totals(list(office.reported(TABLE, DAY).values()))[-1]
    await sim.sleep(86_400)
    missing = await office.gather(TABLE, DAY, about)
    later = with_totals(list(office.reported(TABLE, DAY).values()))[-1]
    late = office.reported(TABLE, DAY).get(silent.about.code, ())
    difference = [after - before for before, after in zip(earlier, later, strict=True)]
    sim.expect(
        f"{silent.about.name} answers a day late; new totals less the old ones would be its own counts",
        missing == [] and difference == [*late, sum(late)],
        text_ja=f"{silent.about.name_ja}が翌日に回答した。新旧の合計の差は、その団体の値そのものになる",
    )
    with sim.refused(
        "manual_review",
        "A second edition is not published without a person's decision either",
        text_ja="改訂版も、職員の判断なしには公開されない",
    ):
        office.release(TABLE, DAY, about)
    sim.tell(
        "Three ways to subtract are tried. Totals give nothing; a table cut otherwise and a later edition would, so the "
        "office leaves both to a person.",
        "差し引きによる攻撃を3通り試みた。合計からは何も分からない。区分の異なる別表と改訂版は漏らし得るため、職員の判断に"
        "委ねられた。",
    )
