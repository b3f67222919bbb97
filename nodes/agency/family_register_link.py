"""The link of family registers (戸籍情報連携システム) of the Minister of Justice.

Rules kept here:
1. It keeps the copies (副本) of computerised registers that home municipalities send (戸籍法119条の2), and no
   個人番号: a person hangs on its own linkage code, acquired through the 本籍地 and J-LIS (番号法21条の2).
2. Over the network it tells relationships (戸籍関係情報) as symbols, with no name and no 本籍; a symbol
   differs for every body that asks (番号法9条3項, 19条8号; how symbols are made is illustrative).
3. Whoever shows a valid code of sixteen digits gets the electronic certificate (戸籍法120条の3).
4. Any municipality gets a copy for a person recorded, their spouse and lineal kin (広域交付, 戸籍法120条の2).
5. A register under protection goes to nobody automatically in 3 and 4: its home municipality decides.

Certificates are no linkage of 番号法: those services are about a register, not about a person's code.
"""

from __future__ import annotations

import sqlite3
from datetime import date
from hashlib import sha256
from typing import ClassVar, Final

from mesh import (
    Caller,
    ManualReview,
    MeshError,
    Node,
    NotFound,
    PersonalService,
    Service,
    Withheld,
    instant,
    serves,
)
from mesh.builtin import Empty
from mesh.names import Zone, member_of
from nodes.agency.code_issuer import ACQUISITION, ISSUER, LINKAGE_CODE, CodeQuery, check_named
from nodes.agency.kinship import (
    Certificate,
    CertificateQuery,
    Copied,
    CopyQuery,
    IssuedCode,
    Recorded,
    Relations,
    Tie,
    WideAreaQuery,
    closest,
)
from nodes.data.calendar import day_of, months_after
from nodes.data.name_key import name_key

FAMILY_LINK: Final = "gov/moj/family-link"
CODE_MONTHS: Final = 3
"""How long a code of sixteen digits is good for."""

FAMILY_COPY = Service(
    "family.copy.v1", CopyQuery, Copied, title="Copy of a family register", title_ja="戸籍の副本の送信"
)
FAMILY_RELATIONS = PersonalService(
    "family.relations.v1", Empty, Relations, title="Family relations", title_ja="戸籍関係情報"
)
FAMILY_ACCESS_CODE = PersonalService(
    "family.access-code.v1",
    Empty,
    IssuedCode,
    title="Code for an electronic family register certificate",
    title_ja="戸籍電子証明書提供用識別符号の発行",
)
FAMILY_CERTIFICATE = Service(
    "family.certificate.v1",
    CertificateQuery,
    Certificate,
    title="Electronic family register certificate",
    title_ja="戸籍電子証明書の提供",
)
FAMILY_WIDE_AREA = Service(
    "family.wide-area.v1",
    WideAreaQuery,
    Certificate,
    title="Family register of another municipality",
    title_ja="戸籍証明書等の広域交付",
)


class FamilyRegisterLink(Node):
    """Keeps the copies of all computerised registers and answers from them."""

    title: ClassVar[str] = "Link of family registers"
    title_ja: ClassVar[str] = "戸籍情報連携システム"
    zone: ClassVar[str] = Zone.MYNUMBER
    schema: ClassVar[str] = """
    CREATE TABLE record(
      key TEXT PRIMARY KEY, kind TEXT NOT NULL, protected INTEGER NOT NULL, taken_us INTEGER NOT NULL);
    CREATE TABLE entry(
      record TEXT NOT NULL REFERENCES record, place INTEGER NOT NULL, person TEXT NOT NULL, name TEXT NOT NULL,
      born TEXT NOT NULL, removed INTEGER NOT NULL, PRIMARY KEY (record, place));
    CREATE TABLE tie(
      record TEXT NOT NULL REFERENCES record, kind TEXT NOT NULL, first TEXT NOT NULL, second TEXT NOT NULL,
      until TEXT);
    CREATE TABLE access_code(
      code TEXT PRIMARY KEY, record TEXT NOT NULL, until TEXT NOT NULL, shown INTEGER NOT NULL DEFAULT 0);
    CREATE TABLE secret(only INTEGER PRIMARY KEY CHECK (only = 1), key BLOB NOT NULL);
    """

    # Copies.

    @serves(FAMILY_COPY)
    async def take_copy(self, query: CopyQuery, caller: Caller) -> Copied:
        """Take a register's copy in place of the one before; only from the municipality that keeps it."""
        check_named(caller)
        if query.record.split("-")[1] != caller.address.split("/")[1]:
            raise Withheld("the register has another home municipality")
        if any(max(tie.first, tie.second) >= len(query.entries) for tie in query.ties):
            raise MeshError("schema_invalid", "a tie names an entry that is not there")
        codes = [await self._acquire(entry.number) for entry in query.entries]
        with self.effect():
            for table in ("tie", "entry"):
                self.db.execute(f"DELETE FROM {table} WHERE record = ?", (query.record,))  # noqa: S608
            self.db.execute(
                "INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?)",
                (query.record, query.kind, query.protected, self.host.now_us()),
            )
            self.db.executemany(
                "INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (query.record, place, codes[place], entry.name, entry.born, entry.removed)
                    for place, entry in enumerate(query.entries)
                ],
            )
            self.db.executemany(
                "INSERT INTO tie VALUES (?, ?, ?, ?, ?)",
                [
                    (query.record, tie.kind, codes[tie.first], codes[tie.second], tie.until)
                    for tie in query.ties
                ],
            )
        return Copied(len(codes))

    async def _acquire(self, number: str) -> str:
        return (await self.ask(ISSUER, LINKAGE_CODE, CodeQuery(number), procedure=ACQUISITION)).code

    def records_of(self, person: str) -> list[str]:
        """The registers that record a person, by key."""
        rows = self.db.execute(
            "SELECT DISTINCT record FROM entry WHERE person = ? ORDER BY record", (person,)
        )
        return [row["record"] for row in rows]

    # Channel 1: relationships over the network.

    @serves(FAMILY_RELATIONS)
    async def relations(self, query: Empty, caller: Caller, person: str) -> Relations:
        """The ties of a person, as symbols for the body that asks."""
        taken_us = self._oldest_of(person)
        ties = self._ties()
        mine = [tie for tie in ties if person in (tie.first, tie.second)]
        body = member_of(caller.address)
        marriages = [tie for tie in mine if tie.kind == "spouse"]
        standing = [self._symbol(body, tie) for tie in marriages if tie.until is None]
        parental = [tie for tie in mine if tie.kind == "parent"]
        return Relations(
            as_of=instant(taken_us),
            spouse=standing[0] if standing else None,
            parents=tuple(self._symbol(body, tie) for tie in parental if tie.second == person),
            children=tuple(self._symbol(body, tie) for tie in parental if tie.first == person),
            divorced=any(tie.until is not None for tie in marriages),
        )

    def _symbol(self, body: str, tie: Tie) -> str:
        text = "\n".join((body, tie.kind, *sorted((tie.first, tie.second))))
        return f"fr-{sha256(self._secret() + text.encode()).hexdigest()[:24]}"

    def _secret(self) -> bytes:
        row = self.db.execute("SELECT key FROM secret").fetchone()
        if row is not None:
            return bytes(row["key"])
        key = self.host.random.randbytes(32)
        with self.effect():
            self.db.execute("INSERT INTO secret VALUES (1, ?)", (key,))
        return key

    # Channel 2: electronic certificates by a code.

    @serves(FAMILY_ACCESS_CODE)
    async def issue_code(self, query: Empty, caller: Caller, person: str) -> IssuedCode:
        """A code for the register in which the resident stands now, asked for in the portal."""
        row = self.db.execute(
            "SELECT r.key, r.protected FROM entry e JOIN record r ON r.key = e.record"
            " WHERE e.person = ? AND NOT e.removed AND r.kind = 'current' ORDER BY r.key",
            (person,),
        ).fetchone()
        if row is None:
            raise NotFound("no computerised register records the person now")
        _check_open(row)
        code = f"{self.host.random.randrange(10**16):016d}"
        until = months_after(self._today(), CODE_MONTHS).isoformat()
        with self.effect():
            self.db.execute(
                "INSERT INTO access_code(code, record, until) VALUES (?, ?, ?)", (code, row["key"], until)
            )
        return IssuedCode(code, until)

    @serves(FAMILY_CERTIFICATE)
    async def certificate(self, query: CertificateQuery, caller: Caller) -> Certificate:
        """The certificate for a code; `not_found` equally for one never issued and one past its day."""
        check_named(caller)
        row = self.db.execute(
            "SELECT record FROM access_code WHERE code = ? AND until >= ?",
            (query.code, self._today().isoformat()),
        ).fetchone()
        if row is None:
            raise NotFound("no code that is good today reads so")
        record = self._record(row["record"])
        _check_open(record)
        with self.effect():
            self.db.execute("UPDATE access_code SET shown = shown + 1 WHERE code = ?", (query.code,))
        return self._certificate(record)

    # Channel 3: copies at any municipality's counter.

    @serves(FAMILY_WIDE_AREA)
    async def wide_area(self, query: WideAreaQuery, caller: Caller) -> Certificate:
        """A copy for somebody at another municipality's counter; `withheld` from all but the near kin."""
        check_named(caller)
        record = self._record(query.record)
        recorded = self._persons("record = ?", query.record)
        applicants = self._named(query.name, query.born)
        ties = self._ties()
        if not any(closest(ties, one, recorded) for one in applicants):
            raise Withheld("neither recorded, nor spouse, nor lineal kin of a person recorded")
        _check_open(record)
        return self._certificate(record)

    # Inside.

    def _today(self) -> date:
        return day_of(self.host.now_us())

    def _oldest_of(self, person: str) -> int:
        """When the oldest copy of the registers that record a person was taken; `NotFound` if none does."""
        row = self.db.execute(
            "SELECT min(r.taken_us) AS taken_us FROM entry e JOIN record r ON r.key = e.record WHERE e.person = ?",
            (person,),
        ).fetchone()
        if row["taken_us"] is None:
            raise NotFound("no computerised register records the person")
        return int(row["taken_us"])

    def _record(self, key: str) -> sqlite3.Row:
        row: sqlite3.Row | None = self.db.execute("SELECT * FROM record WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise NotFound("no computerised register has this key")
        return row

    def _persons(self, condition: str, *values: str) -> list[str]:
        sql = f"SELECT DISTINCT person FROM entry WHERE {condition} ORDER BY person"  # noqa: S608
        return [row["person"] for row in self.db.execute(sql, values)]

    def _named(self, name: str, born: str) -> list[str]:
        """Who is recorded under a name, however it is typed, and birth date."""
        sql = "SELECT DISTINCT person, name FROM entry WHERE born = ? ORDER BY person"
        wanted = name_key(name)
        return [row["person"] for row in self.db.execute(sql, (born,)) if name_key(row["name"]) == wanted]

    def _ties(self) -> list[Tie]:
        rows = self.db.execute("SELECT kind, first, second, until FROM tie ORDER BY rowid")
        return [Tie(*row) for row in rows]

    def _certificate(self, record: sqlite3.Row) -> Certificate:
        rows = self.db.execute("SELECT * FROM entry WHERE record = ? ORDER BY place", (record["key"],))
        persons = tuple(Recorded(row["name"], row["born"], bool(row["removed"])) for row in rows)
        return Certificate(record["key"], record["kind"], persons, as_of=instant(record["taken_us"]))


def _check_open(record: sqlite3.Row) -> None:
    """`manual_review` for a register under protection (支援措置): an official of its home municipality decides."""
    if record["protected"]:
        raise ManualReview("the home municipality of the register decides about copies of it")
