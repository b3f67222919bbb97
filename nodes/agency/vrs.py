"""VRS (ワクチン接種記録システム), 2021 to 2024: one national cloud with a compartment for each city's records.

It stood outside the network of 番号法19条8号, and this node shows at what price:
1. A record is found by the personal number, in every compartment at once. So it breaks DOMAIN.md rules 1 and
   3: one database holds every city's records, under one key that means the same person to all.
2. Its questions name nobody to the broker. There is no linkage code, no record under 番号法23条, and no
   history for the resident; what remains is the access log here.
3. What a city keeps and looks up in its own compartment is entrusted processing (番号法19条6号). Looking into
   another city's rests on 19条16号: with the person's consent, or, as read since mid-December 2021, because
   consent is difficult to obtain. Which of the two a city claims is the procedure that its question names.
4. Many at once (since 2022-03-01): a file goes in, a batch runs at night, the answer is there the next day. The
   batch cannot know who moved in where; a look-up that no registration explains is found in the log later.

No personal number is in the simulator's messages: a token made from the 住民票コード stands for it, as
番号法8条 makes the number itself from that code.
"""

from __future__ import annotations

from datetime import date
from hashlib import sha256
from typing import Annotated, ClassVar, Final

from msgspec import Meta, Struct

from mesh import Caller, Node, NotFound, Service, serves
from mesh.builtin import Empty
from mesh.names import Zone
from mesh.service import Date, Name
from nodes.agency.code_issuer import check_named
from nodes.data.calendar import day_of
from nodes.municipality.resident import CityCode

VRS: Final = "gov/vrs/cloud"
ENTRUSTED: Final = "covid-vaccination"
"""A city keeps its own compartment."""
CONSENTED: Final = "vrs-consented"
"""19条16号, first reading: 本人の同意があり."""
CONSENT_DIFFICULT: Final = "vrs-consent-difficult"
"""19条16号, second reading: 本人の同意を得ることが困難であるとき."""

Token = Annotated[str, Meta(pattern=r"^vt-[0-9a-f]{20}$")]
"""Stands for a personal number."""
Job = Annotated[str, Meta(pattern=r"^vb-[0-9]{1,6}$")]
DoseNumber = Annotated[int, Meta(ge=1, le=9)]


def token_of(resident_code: str) -> str:
    """The token of the person with a 住民票コード: the same for whoever computes it, as the number is."""
    return f"vt-{sha256(b'vrs' + resident_code.encode()).hexdigest()[:20]}"


class Dose(Struct, frozen=True, forbid_unknown_fields=True):
    """One vaccination, as the venue's tablet read it."""

    token: Token
    number: DoseNumber
    given_on: Date
    maker: Name


class Resident(Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody who lives in the city since a day, so that the city may hold their record."""

    token: Token
    since: Date


class LookUp(Struct, frozen=True, forbid_unknown_fields=True):
    """Asks for one person's record in the city they came from."""

    token: Token
    from_city: CityCode


class Record(Struct, frozen=True):
    """The doses found, the first first; none is an answer too, and stands on the log."""

    doses: tuple[Dose, ...]


class Batch(Struct, frozen=True, forbid_unknown_fields=True):
    """A file of people whose records are looked for in all compartments."""

    subjects: tuple[Token, ...]


class Taken(Struct, frozen=True):
    """Under which number the answer can be fetched, and from which day on."""

    job: Job
    ready_on: Date


class JobQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Asks for the answer to a file."""

    job: Job


class Unexplained(Struct, frozen=True):
    """A look-up of somebody whom the city has not registered as its resident. It names nobody."""

    number: int
    city: CityCode
    looked_up_on: Date


class UnexplainedReply(Struct, frozen=True):
    """All of them, the oldest first."""

    look_ups: tuple[Unexplained, ...]


VRS_REPORT = Service("vrs.report.v1", Dose, Empty, title="Enter a vaccination", title_ja="接種記録の登録")
VRS_REGISTER = Service(
    "vrs.register.v1", Resident, Empty, title="Register a resident", title_ja="接種対象者の登録"
)
VRS_RECORD = Service(
    "vrs.record.v1", LookUp, Record, title="Record in another city", title_ja="他市区町村の接種記録の照会"
)
VRS_BATCH = Service(
    "vrs.batch.v1", Batch, Taken, title="Records of many people", title_ja="接種記録の一括照会"
)
VRS_BATCH_RESULT = Service(
    "vrs.batch-result.v1", JobQuery, Record, title="Answer to a batch", title_ja="一括照会の結果"
)
VRS_UNEXPLAINED = Service(
    "vrs.unexplained.v1",
    Empty,
    UnexplainedReply,
    title="Look-ups that no registration explains",
    title_ja="対象者登録のない者に係る照会記録",
)


class VaccinationCloud(Node):
    """All compartments, and the log of who looked into which."""

    title: ClassVar[str] = "Vaccination record system"
    title_ja: ClassVar[str] = "ワクチン接種記録システム"
    zone: ClassVar[str] = Zone.CLOUD
    schema: ClassVar[str] = """
    CREATE TABLE dose(
      city TEXT NOT NULL, token TEXT NOT NULL, number INTEGER NOT NULL, given_on TEXT NOT NULL,
      maker TEXT NOT NULL, PRIMARY KEY (city, token, number));
    CREATE TABLE resident(city TEXT NOT NULL, token TEXT NOT NULL, since TEXT NOT NULL, PRIMARY KEY (city, token));
    CREATE TABLE job(number INTEGER PRIMARY KEY, city TEXT NOT NULL, tokens TEXT NOT NULL, taken_on TEXT NOT NULL);
    CREATE TABLE look_up(
      number INTEGER PRIMARY KEY, city TEXT NOT NULL, token TEXT NOT NULL, procedure TEXT NOT NULL,
      found INTEGER NOT NULL, looked_up_on TEXT NOT NULL);
    """

    # A city's own compartment.

    @serves(VRS_REPORT)
    async def report(self, query: Dose, caller: Caller) -> Empty:
        """Keep a dose in the caller's compartment; a correction takes the place of what stood there."""
        check_named(caller)
        row = (_city_of(caller), query.token, query.number, query.given_on, query.maker)
        with self.effect():
            self.db.execute("INSERT OR REPLACE INTO dose VALUES (?, ?, ?, ?, ?)", row)
        return Empty()

    @serves(VRS_REGISTER)
    async def register(self, query: Resident, caller: Caller) -> Empty:
        """Keep that somebody lives in the caller's city."""
        check_named(caller)
        row = (_city_of(caller), query.token, query.since)
        with self.effect():
            self.db.execute("INSERT OR REPLACE INTO resident VALUES (?, ?, ?)", row)
        return Empty()

    # Other compartments.

    @serves(VRS_RECORD)
    async def record(self, query: LookUp, caller: Caller) -> Record:
        """One person's doses in one other city, put on the log whether there are any or not."""
        check_named(caller)
        doses = self._doses(query.token, query.from_city)
        with self.effect():
            self._log(caller, query.token, len(doses))
        return Record(doses)

    @serves(VRS_BATCH)
    async def take_batch(self, query: Batch, caller: Caller) -> Taken:
        """Take a file in for the night."""
        check_named(caller)
        today = self._today()
        with self.effect():
            number = self.db.execute(
                "INSERT INTO job(city, tokens, taken_on) VALUES (?, ?, ?) RETURNING number",
                (_city_of(caller), " ".join(query.subjects), today.isoformat()),
            ).fetchone()["number"]
        return Taken(f"vb-{number}", (today + date.resolution).isoformat())

    @serves(VRS_BATCH_RESULT)
    async def batch_result(self, query: JobQuery, caller: Caller) -> Record:
        """The doses of everybody in the caller's file, from all compartments; `not_found` before the next day."""
        check_named(caller)
        job = self.db.execute(
            "SELECT tokens FROM job WHERE number = ? AND city = ? AND taken_on < ?",
            (int(query.job[3:]), _city_of(caller), self._today().isoformat()),
        ).fetchone()
        if job is None:
            raise NotFound("the caller has no such file, or its night has not passed")
        found: list[Dose] = []
        with self.effect():
            for token in job["tokens"].split():
                doses = self._doses(token)
                self._log(caller, token, len(doses))
                found += doses
        return Record(tuple(found))

    # Afterwards.

    @serves(VRS_UNEXPLAINED)
    async def unexplained(self, query: Empty, caller: Caller) -> UnexplainedReply:
        """Lay the log beside the registrations, for the commission (番号法35条)."""
        check_named(caller)
        rows = self.db.execute(
            "SELECT number, city, looked_up_on FROM look_up WHERE NOT EXISTS ("
            " SELECT 1 FROM resident WHERE resident.city = look_up.city AND resident.token = look_up.token)"
            " ORDER BY number"
        )
        return UnexplainedReply(tuple(Unexplained(*row) for row in rows))

    def looked_up(self, city: str) -> list[tuple[str, str, int]]:
        """What the log says of a city: (token, procedure, doses found), the oldest first."""
        rows = self.db.execute(
            "SELECT token, procedure, found FROM look_up WHERE city = ? ORDER BY number", (city,)
        )
        return [(row["token"], row["procedure"], row["found"]) for row in rows]

    def joined_across_cities(self) -> int:
        """How many people this one database knows from the compartments of more than one city."""
        return len(
            self.db.execute(
                "SELECT token FROM (SELECT city, token FROM dose UNION SELECT city, token FROM resident)"
                " GROUP BY token HAVING count(DISTINCT city) > 1"
            ).fetchall()
        )

    def _doses(self, token: str, city: str | None = None) -> tuple[Dose, ...]:
        rows = self.db.execute(
            "SELECT token, number, given_on, maker FROM dose WHERE token = ?1 AND (?2 IS NULL OR city = ?2)"
            " ORDER BY number, city",
            (token, city),
        )
        return tuple(Dose(*row) for row in rows)

    def _log(self, caller: Caller, token: str, found: int) -> None:
        self.db.execute(
            "INSERT INTO look_up(city, token, procedure, found, looked_up_on) VALUES (?, ?, ?, ?, ?)",
            (_city_of(caller), token, caller.procedure, found, self._today().isoformat()),
        )

    def _today(self) -> date:
        return day_of(self.host.now_us())


def _city_of(caller: Caller) -> str:
    """The caller's city, by the first five digits of its code."""
    return caller.address.split("/")[1]
