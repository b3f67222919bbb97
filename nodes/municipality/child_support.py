"""The children and families centre (こども家庭センター, 児童福祉法10条の2), who uses the analysis (活用主体).

Rules kept here:
1. A candidate is nothing but a reason to look. For each child a named person looks, also where the score is low and
   somebody who knows the child is worried; without that decision nothing leaves the centre.
2. Data → a person's assessment → a plan (サポートプラン, 児童福祉法10条1項4号) → an offer, once. The family may decline,
   and that is the end of it.
3. No letter says why, and none has room for a score. Where a parent is the suspect there is no letter at all: the finding is
   `refer`, to the child guidance centre (児童虐待の防止等に関する法律6条), and plan and offer stay closed.
4. A family that moves is handed over with its agreement (個人情報保護法69条2項1号): the plan goes, the score and its
   reasons do not, and are deleted here. Cities find the person here by the mesh's own translation; that a real
   情報提供用個人識別符号 could not serve outside 番号法 is a limit of the model.
"""

from __future__ import annotations

import sqlite3
from typing import ClassVar, Final, Literal

from msgspec import Struct

from mesh import Caller, Event, ManualReview, Node, NotFound, NoticeType, PersonalService, receives, serves
from mesh.builtin import Empty
from mesh.names import Zone
from mesh.service import Date, Name, check_entry
from nodes.data.calendar import day_of, months_after
from nodes.municipality.asking import ask_household
from nodes.municipality.child_analysis import CANDIDATE, EXPLANATION, Explanation
from nodes.municipality.moves import MOVED_OUT
from nodes.portal.inbox import PORTAL, PORTAL_LETTER, Letter

PROCEDURE: Final = "child-support"
HANDOVER_PROCEDURE: Final = "child-support-handover"

Finding = Literal["support", "no-need", "refer"]
"""支援, 対象外, 児童相談所等への通告."""
Kind = Literal["home-visit", "school-counselling", "childcare", "consultation"]
"""家庭訪問, 学校での相談, 一時預かり等, 相談."""
Reply = Literal["accept", "decline"]


class OfferAnswer(Struct, frozen=True, forbid_unknown_fields=True):
    """What the family says to an offer."""

    reply: Reply


class AnswerReceipt(Struct, frozen=True):
    """That the centre has the answer."""

    reply: Reply


class Handover(Struct, frozen=True, forbid_unknown_fields=True):
    """A plan as the next city gets it: what is done, since when, and by whom to ask. Nothing about why."""

    kinds: tuple[Kind, ...]
    since: Date
    contact: Name


OFFER_ANSWER = PersonalService(
    "child-support.answer.v1",
    OfferAnswer,
    AnswerReceipt,
    title="Answer to an offer of support",
    title_ja="支援案内への回答",
)
HANDOVER = NoticeType(
    "child-support.handover.v1", Handover, title="Support handed over", title_ja="支援の引継ぎ"
)


class ChildSupport(Node):
    """The centre of one municipality."""

    title: ClassVar[str] = "Children and families centre"
    title_ja: ClassVar[str] = "こども家庭センター"
    zone: ClassVar[str] = Zone.LGWAN
    schema: ClassVar[str] = """
    CREATE TABLE candidate(child TEXT PRIMARY KEY, origin TEXT NOT NULL, worry TEXT);
    CREATE TABLE review(
      child TEXT PRIMARY KEY, reviewer TEXT NOT NULL, finding TEXT NOT NULL, why TEXT NOT NULL, at_us INTEGER NOT NULL);
    CREATE TABLE plan(child TEXT PRIMARY KEY, kinds TEXT NOT NULL, planner TEXT NOT NULL, since TEXT NOT NULL, ended TEXT);
    CREATE TABLE offer(child TEXT PRIMARY KEY, parent TEXT NOT NULL, sent_by TEXT NOT NULL, reply TEXT);
    CREATE TABLE arrival(
      child TEXT PRIMARY KEY, from_city TEXT NOT NULL, kinds TEXT NOT NULL, since TEXT NOT NULL, contact TEXT NOT NULL);
    """

    # Who is looked at.

    @receives(CANDIDATE)
    async def take_candidate(self, event: Event, caller: Caller, person: str) -> None:
        """Put a child of the analysis on the list of whom to look at; its score stays where it is."""
        with self.effect():
            self._list(person, "analysis")

    def nominate(self, child: str, worry: str) -> None:
        """Put a child on the list because somebody who knows it is worried, whatever its score."""
        with self.effect():
            self._list(child, "worry", worry)

    def candidates(self) -> list[sqlite3.Row]:
        """Whom to look at: child, origin, worry, in order of arrival."""
        return self.db.execute("SELECT * FROM candidate ORDER BY rowid").fetchall()

    async def explain(self, child: str) -> Explanation:
        """The analysis' explanation of a child, for who reviews it. Raises `Refused`, not_found without a score."""
        return await self.ask(self._analysis, EXPLANATION, Empty(), subject=child, procedure=PROCEDURE)

    def review(self, child: str, *, by: str, finding: Finding, why: str) -> None:
        """A named person's decision about one child; `NotFound` if the child is not on the list."""
        if not any(row["child"] == child for row in self.candidates()):
            raise NotFound("the child is not on the list of whom to look at")
        if not by.strip():
            raise ManualReview("a decision needs the name of who takes it")
        with self.effect():
            self.db.execute(
                "INSERT OR REPLACE INTO review VALUES (?, ?, ?, ?, ?)",
                (child, by, finding, why, self.host.now_us()),
            )

    def reviews(self) -> list[sqlite3.Row]:
        """Who decided what about which child: child, reviewer, finding, why, at_us."""
        return self.db.execute("SELECT * FROM review ORDER BY rowid").fetchall()

    # Plan and offer.

    def plan(self, child: str, kinds: tuple[Kind, ...], *, by: str) -> None:
        """Make a plan for a child; `ManualReview` unless a named person found need, or if the family declined."""
        check_entry("the name of who plans", by, Name)
        self._check_reviewed(child)
        since = day_of(self.host.now_us()).isoformat()
        with self.effect():
            self.db.execute(
                "INSERT OR REPLACE INTO plan VALUES (?, ?, ?, ?, NULL)", (child, " ".join(kinds), by, since)
            )

    async def offer(self, child: str, *, by: str) -> None:
        """Write to the parent, once; `ManualReview` unless a named person found need, `NotFound` without a plan."""
        self._check_reviewed(child)
        self._plan(child)
        parent = (await ask_household(self, child, PROCEDURE))[0].code
        due = months_after(day_of(self.host.now_us()), 1).isoformat()
        letter = Letter("We would like to talk with you about your family", "子育てのご相談のご案内", due)
        with self.effect():
            row = (child, parent, by)
            if not self.db.execute("INSERT OR IGNORE INTO offer VALUES (?, ?, ?, NULL)", row).rowcount:
                raise ManualReview("the family was written to before")
            self.notify(PORTAL_LETTER, PORTAL, letter, subject=parent, procedure=PROCEDURE)

    @serves(OFFER_ANSWER)
    async def take_answer(self, query: OfferAnswer, caller: Caller, person: str) -> AnswerReceipt:
        """Take a parent's answer in; who declines is left in peace, and the plan ends."""
        today = day_of(self.host.now_us()).isoformat()
        with self.effect():
            changed = self.db.execute(
                "UPDATE offer SET reply = ? WHERE parent = ?", (query.reply, person)
            ).rowcount
            if not changed:
                raise NotFound
            if query.reply == "decline":
                self.db.execute(
                    "UPDATE plan SET ended = ? WHERE child IN (SELECT child FROM offer WHERE parent = ?)",
                    (today, person),
                )
        return AnswerReceipt(query.reply)

    def replies(self) -> dict[str, str | None]:
        """The offers by child, with the family's reply so far."""
        rows = self.db.execute("SELECT child, reply FROM offer ORDER BY rowid")
        return {row["child"]: row["reply"] for row in rows}

    # A family that moves.

    def hand_over(self, child: str, city: str, *, contact: str, agreed: bool) -> None:
        """Hand a plan over to the city to which a family is about to move.

        Raises `ManualReview` unless the family agreed to it, and `NotFound` without a plan.
        """
        plan = self._plan(child)
        if not agreed:
            raise ManualReview("the family has not agreed that its plan goes to another city")
        body = Handover(tuple(plan["kinds"].split()), plan["since"], contact)
        to = f"muni/{city}/child-support"
        self.notify(HANDOVER, to, body, subject=child, procedure=HANDOVER_PROCEDURE)

    @receives(MOVED_OUT)
    async def close_case(self, event: Event, caller: Caller, person: str) -> None:
        """A child has moved away: take it off the list and end its plan, handed over or not."""
        today = day_of(self.host.now_us()).isoformat()
        with self.effect():
            self.db.execute("DELETE FROM candidate WHERE child = ?", (person,))
            self.db.execute("UPDATE plan SET ended = ? WHERE child = ? AND ended IS NULL", (today, person))

    @receives(HANDOVER)
    async def take_over(self, handover: Handover, caller: Caller, person: str) -> None:
        """Keep another city's plan until somebody here has looked at it."""
        city = caller.address.split("/")[1]
        row = (person, city, " ".join(handover.kinds), handover.since, handover.contact)
        with self.effect():
            self.db.execute("INSERT OR REPLACE INTO arrival VALUES (?, ?, ?, ?, ?)", row)
            self._list(person, "handover")

    def arrivals(self) -> list[sqlite3.Row]:
        """The plans of families that moved here: child, from_city, kinds, since, contact."""
        return self.db.execute("SELECT * FROM arrival ORDER BY rowid").fetchall()

    # Inside.

    @property
    def _analysis(self) -> str:
        return f"{self.member}/child-analysis"

    def _list(self, child: str, origin: str, worry: str | None = None) -> None:
        self.db.execute("INSERT OR IGNORE INTO candidate VALUES (?, ?, ?)", (child, origin, worry))

    def _check_reviewed(self, child: str) -> None:
        row = self.db.execute("SELECT finding FROM review WHERE child = ?", (child,)).fetchone()
        if row is None or row["finding"] != "support":
            raise ManualReview("no named person has found that this child needs support")
        if self.replies().get(child) == "decline":
            raise ManualReview("the family has declined")

    def _plan(self, child: str) -> sqlite3.Row:
        row: sqlite3.Row | None = self.db.execute(
            "SELECT * FROM plan WHERE child = ? AND ended IS NULL", (child,)
        ).fetchone()
        if row is None:
            raise NotFound("there is no plan for the child")
        return row
