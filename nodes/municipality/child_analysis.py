"""The analysis of child data (分析主体): gathers a minimal view of a child, scores it, and forgets.

The parts that bodies play are those of the guideline for linking child data (こども家庭庁「こどもデータ連携
ガイドライン」): 総括管理主体 answers for the whole, 保有・管理主体 hold the data, 分析主体 scores, 活用主体 supports.

Rules kept here:
1. Nothing is gathered until whoever answers for the whole (総括管理主体) has approved rules and term by name.
2. One item of each source, for one purpose: 個人情報保護法69条2項2号 for the mayor's offices, 3号 for the board of
   education; what is kept has its purpose and term (61条). It runs by the city's own 宛名番号 in the LGWAN zone:
   personal numbers have no part in it, and 番号法 is not its basis.
3. A source that does not answer leaves a fact unknown, which is not the same as no.
4. That a child should be looked at is an event without a figure; the score itself stays here, and is told to the
   support office alone, when a person asks. It never decides anything.
5. When its term is over, or the register says that the child has moved away, what was gathered and the score are
   deleted; that they were is kept.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar, Final, NamedTuple

from msgspec import UNSET, Meta, Struct, UnsetType

from mesh import (
    Caller,
    Event,
    EventType,
    ManualReview,
    Node,
    NotFound,
    PersonalService,
    Refused,
    receives,
    serves,
)
from mesh.builtin import Empty
from mesh.errors import Fault
from mesh.names import Zone
from nodes.municipality.child_rearing_allowance import REARING_ALLOWANCE
from nodes.municipality.child_risk_rules import RULES_VERSION, THRESHOLD, Fact, Reason, Score, score
from nodes.municipality.disability_welfare import DISABILITY_WELFARE
from nodes.municipality.education_board import ATTENDANCE
from nodes.municipality.health import CHECK_UPS
from nodes.municipality.moves import MOVED_OUT
from nodes.municipality.public_assistance import ASSISTANCE

PROCEDURE: Final = "child-data-analysis"
DAY_US: Final = 86_400_000_000
Points = Annotated[int, Meta(ge=0, le=999)]


class Source(NamedTuple):
    """Where one fact comes from: a system of the city, its service, and the one item asked for."""

    fact: Fact
    system: str
    service: PersonalService[Empty, Any]
    item: str
    none: str
    """What it means that the source has no record of the child."""


SOURCES: Final = (
    Source("absence", "education-board", ATTENDANCE, "absence", "few"),
    Source("missed", "health", CHECK_UPS, "missed", "0"),
    Source("allowance", "child-rearing-allowance", REARING_ALLOWANCE, "receiving", "False"),
    Source("assistance", "public-assistance", ASSISTANCE, "receiving", "False"),
    Source("services", "disability-welfare", DISABILITY_WELFARE, "uses_services", "False"),
)


class Explanation(Struct, frozen=True):
    """A child's score with all that it consists of."""

    points: Points | UnsetType = UNSET
    reasons: tuple[Reason, ...] | UnsetType = UNSET
    unknown: tuple[Fact, ...] | UnsetType = UNSET


CANDIDATE = EventType("child-data.candidate.v1", title="A child to look at", title_ja="確認の候補")
EXPLANATION = PersonalService(
    "child-data.explanation.v1",
    Empty,
    Explanation,
    title="Score of a child, explained",
    title_ja="判定の説明",
)


class ChildAnalysis(Node):
    """The analysis of one municipality."""

    title: ClassVar[str] = "Analysis of child data"
    title_ja: ClassVar[str] = "こどもデータの分析主体"
    zone: ClassVar[str] = Zone.LGWAN
    schema: ClassVar[str] = """
    CREATE TABLE approval(rules TEXT PRIMARY KEY, approved_by TEXT NOT NULL, keep_days INTEGER NOT NULL);
    CREATE TABLE fact(child TEXT NOT NULL, fact TEXT NOT NULL, value TEXT, PRIMARY KEY (child, fact));
    CREATE TABLE score(
      child TEXT PRIMARY KEY, points INTEGER NOT NULL, reasons TEXT NOT NULL, unknown TEXT NOT NULL,
      rules TEXT NOT NULL REFERENCES approval, until_us INTEGER NOT NULL);
    CREATE TABLE deletion(number INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, children INTEGER NOT NULL, why TEXT NOT NULL);
    """

    def approve(self, *, by: str, keep_days: int) -> None:
        """Whoever answers for the whole (総括管理主体) approves the rules and for how long a score is kept.

        Raises `ManualReview` without a name.
        """
        if not by.strip():
            raise ManualReview("an approval needs the name of who gives it")
        with self.effect():
            self.db.execute(
                "INSERT OR REPLACE INTO approval VALUES (?, ?, ?)", (RULES_VERSION, by, keep_days)
            )

    async def analyse(self, child: str) -> Score:
        """Gather a child's facts and score them; at or over the threshold the support office hears of the child.

        Raises `ManualReview` before the rules are approved, and `Refused` for a question that was unlawful.
        """
        approval = self.db.execute("SELECT * FROM approval WHERE rules = ?", (RULES_VERSION,)).fetchone()
        if approval is None:
            raise ManualReview("nobody has approved these rules; call approve(by=..., keep_days=...)")
        facts: dict[Fact, str | None] = {source.fact: await self._learn(child, source) for source in SOURCES}
        result = score(facts)
        until_us = self.host.now_us() + approval["keep_days"] * DAY_US
        with self.effect():
            self.db.executemany(
                "INSERT OR REPLACE INTO fact VALUES (?, ?, ?)", [(child, *fact) for fact in facts.items()]
            )
            self.db.execute(
                "INSERT OR REPLACE INTO score VALUES (?, ?, ?, ?, ?, ?)",
                (
                    child,
                    result.points,
                    json.dumps(result.reasons),
                    json.dumps(result.unknown),
                    RULES_VERSION,
                    until_us,
                ),
            )
            if result.points >= THRESHOLD:
                self.publish(CANDIDATE, child)
        return result

    def delete_expired(self) -> int:
        """Delete what has outlived its term; returns how many children it was about."""
        now_us = self.host.now_us()
        rows = self.db.execute("SELECT child FROM score WHERE until_us <= ?", (now_us,)).fetchall()
        return self._delete([row["child"] for row in rows], "term over")

    def scored(self) -> list[str]:
        """The children about whom anything is kept, in order of code."""
        rows = self.db.execute("SELECT child FROM score UNION SELECT child FROM fact ORDER BY child")
        return [row["child"] for row in rows]

    def deletions(self) -> list[tuple[int, str]]:
        """What was deleted: (number of children, why), the first first. It names nobody."""
        rows = self.db.execute("SELECT children, why FROM deletion ORDER BY number")
        return [(row["children"], row["why"]) for row in rows]

    @serves(EXPLANATION)
    async def explain(self, query: Empty, caller: Caller, person: str) -> Explanation:
        """A child's score and its reasons, for the person who reviews."""
        row = self.db.execute("SELECT * FROM score WHERE child = ?", (person,)).fetchone()
        if row is None:
            raise NotFound
        return Explanation(
            row["points"], tuple(json.loads(row["reasons"])), tuple(json.loads(row["unknown"]))
        )

    @receives(MOVED_OUT)
    async def forget(self, event: Event, caller: Caller, person: str) -> None:
        """Delete all that is kept of a child whose family has moved away."""
        self._delete([child for child in self.scored() if child == person], "moved away")

    async def _learn(self, child: str, source: Source) -> str | None:
        """One fact; None if the source does not tell."""
        holder = f"{self.member}/{source.system}"
        try:
            reply = await self.ask(
                holder, source.service, Empty(), subject=child, procedure=PROCEDURE, items=(source.item,)
            )
        except Refused as refused:
            if refused.fault is Fault.REQUESTER:
                raise
            return source.none if refused.code == "not_found" else None
        value = getattr(reply, source.item)
        return str(min(value, 2) if source.fact == "missed" else value)

    def _delete(self, children: list[str], why: str) -> int:
        if children:
            with self.effect():
                for table in ("fact", "score"):
                    self.db.executemany(f"DELETE FROM {table} WHERE child = ?", [(one,) for one in children])  # noqa: S608
                values = (self.host.now_us(), len(children), why)
                self.db.execute("INSERT INTO deletion(at_us, children, why) VALUES (?, ?, ?)", values)
        return len(children)
