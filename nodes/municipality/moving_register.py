"""The half of the resident register that deals with moves: who leaves, who comes, and what registers tell each other.

Rules kept here are those of `moves`, and:
1. Whoever notified a move-out stays on record until the new city has entered them (`move_file`).
2. Only a person at the counter is entered: an announcement enters nobody.
3. Who leaves is struck off on the planned day, or when the new city has entered them, whichever comes first: nobody is
   in two registers.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from hashlib import sha256

from msgspec import structs
from stdnum.jp.in_ import calc_check_digit

from mesh import Caller, ManualReview, Node, NotFound, Refused, receives, serves
from mesh.builtin import Empty
from nodes.data.calendar import day_of
from nodes.municipality.application_progress import PROGRESS, Progress
from nodes.municipality.move_file import MoveFile
from nodes.municipality.moves import (
    ENTITLEMENTS,
    IDENTITY_CHANGE,
    JUKI,
    MOVE_IN,
    MOVE_OUT,
    MOVED_IN,
    MOVED_OUT,
    MOVING_OUT,
    MOVING_OUT_ONLINE,
    MOVING_OUT_RECORD,
    Entitlement,
    EntitlementsReply,
    MovedIn,
    MoveOutForm,
    MoveOutReply,
    MovingOut,
    card_until,
    may_file_online,
)


class MovingRegister(Node):
    """What a resident register does about moves; `ResidentRegister` is the whole, and has the tables."""

    @property
    def moves(self) -> MoveFile:
        """Who leaves and who is expected."""
        return MoveFile(self.db)

    def note_card(self, code: str) -> None:
        """Note that a resident was given a card (個人番号カードの交付)."""
        with self.effect():
            self._household_of(code)
            self.moves.keep_card(code, "issued")

    def note_entitlements(self, code: str, *kinds: Entitlement) -> None:
        """Note what a resident has (住民基本台帳法7条10号 and following)."""
        with self.effect():
            self.moves.keep_entitlements(code, kinds)

    # Moving out.

    @serves(MOVE_OUT)
    async def move_out(self, query: MoveOutForm, caller: Caller, person: str) -> MoveOutReply:
        """Take a household's 転出届 in and announce it to the new city; out of time it needs the counter."""
        planned_on, visit_on = _date_of(query.planned_on), _date_of(query.visit_on)
        if not may_file_online(planned_on, day_of(self.host.now_us())):
            raise ManualReview("online from 30 days before to 10 days after moving")
        household = self._household_of(person)
        with self.effect():
            infos = self._leave(household, query.to_city, planned_on, visit_on)
            for code, info in infos:
                self._announce(code, info)
            self.notify(
                PROGRESS,
                f"{self.member}/application-management",
                Progress(query.receipt, "completed"),
                subject=person,
                procedure=MOVING_OUT_ONLINE,
            )
        return MoveOutReply(len(infos))

    def issue_certificate(self, code: str, to_city: str, planned_on: date) -> list[tuple[str, MovingOut]]:
        """Take a 転出届 in at the counter or by post, and print the household's 転出証明書: what stands on it."""
        household = self._household_of(code)
        with self.effect():
            return self._leave(household, to_city, planned_on, planned_on)

    def print_certificate(self, code: str) -> MovingOut:
        """Print the 転出証明書 of somebody who has left already; `NotFound` without a 転出届."""
        return self.moves.leaving(code)

    def strike_out(self) -> list[str]:
        """Strike off whose planned move-out has come; runs every day. They stay in `moves` until confirmed."""
        due = self.moves.due(day_of(self.host.now_us()))
        for code in due:
            with self.effect():
                self._strike(code)
        return due

    def overdue(self) -> list[str]:
        """Who left and is entered nowhere, for an official to look for (34条)."""
        return self.moves.overdue(day_of(self.host.now_us()))

    def cancel_move_out(self, code: str) -> None:
        """Put back who stayed after all (転出取消), and say so to the city that expects them.

        Raises `ManualReview` for who is entered there already.
        """
        info = self.moves.leaving(code)
        if not self.moves.unconfirmed([code]):
            raise ManualReview("the new city has entered the person")
        with self.effect():
            self.db.execute("UPDATE resident SET struck = '' WHERE code = ? AND struck = 'moved'", (code,))
            self.moves.stay(code)
            self._announce(code, structs.replace(info, cancelled=True, version=self.host.now_us()))

    @serves(MOVING_OUT_RECORD)
    async def moving_out_record(self, query: Empty, caller: Caller, person: str) -> MovingOut:
        """What was notified of a person's move-out, for the city where they stand at the counter."""
        return self.moves.leaving(person)

    @receives(MOVED_IN)
    async def on_moved_in(self, notice: MovedIn, caller: Caller, person: str) -> None:
        """Close a move-out: the new city has entered the person, who is struck off if that came before the day."""
        with self.effect():
            if self.moves.confirm(person, notice.moved_on):
                self._strike(person)

    # Moving in.

    @receives(MOVING_OUT)
    async def on_moving_out(self, notice: MovingOut, caller: Caller, person: str) -> None:
        """Expect a person who announced to come."""
        with self.effect():
            self.moves.expect(person, notice)

    async def accept_move_in(self, code: str, *, from_city: str, moved_on: date) -> list[str]:
        """Accept a 転入届 in person, with one card for all who move together; returns whom it entered.

        Raises `NotFound` if the old city was told of no move-out, and `ManualReview` before the move, or when
        it is too late for the card: then the 転出証明書 is needed.
        """
        party = self.moves.party_of(code) or [(code, await self._ask_old_city(code, from_city))]
        today = day_of(self.host.now_us())
        if today < moved_on:
            raise ManualReview("a move-in is notified after moving")
        if today > card_until(_date_of(party[0][1].planned_on), moved_on):
            raise ManualReview("too late for the card: the paper certificate is needed")
        if not any(info.card for _, info in party):
            raise ManualReview("nobody of the household has a card: the paper certificate is needed")
        return self._enter_party(party, moved_on, card_in_time=True)

    def accept_certificate(self, party: Sequence[tuple[str, MovingOut]], *, moved_on: date) -> list[str]:
        """Accept a 転入届 with the paper 転出証明書 of each person; cards of who comes too late lapse."""
        in_time = day_of(self.host.now_us()) <= card_until(_date_of(party[0][1].planned_on), moved_on)
        return self._enter_party(party, moved_on, card_in_time=in_time)

    @serves(ENTITLEMENTS)
    async def entitlements(self, query: Empty, caller: Caller, person: str) -> EntitlementsReply:
        """What a newcomer had in the city before, for the office that goes on with it."""
        self._household_of(person)
        return EntitlementsReply(self.moves.entitlements(person))

    # Inside.

    def _strike(self, code: str) -> None:
        """Strike somebody off and say so, once; inside an effect."""
        sql = "UPDATE resident SET struck = 'moved' WHERE code = ? AND struck = ''"
        if self.db.execute(sql, (code,)).rowcount:
            self.publish(IDENTITY_CHANGE, code)
            self.publish(MOVED_OUT, code)

    def _leave(
        self, household: int, to_city: str, planned_on: date, visit_on: date
    ) -> list[tuple[str, MovingOut]]:
        """Keep that a household leaves; what is said of each member, by code."""
        rows = self.db.execute(
            "SELECT * FROM resident WHERE household = ? AND struck = '' ORDER BY rowid", (household,)
        )
        infos = [
            (
                row["code"],
                MovingOut(
                    from_city=self.member.split("/")[1],
                    to_city=to_city,
                    planned_on=planned_on.isoformat(),
                    visit_on=visit_on.isoformat(),
                    name=row["name"],
                    kana=row["kana"],
                    born=row["born"],
                    sex=row["sex"],
                    relation=row["relation"],
                    household=row["household"],
                    resident_code=row["resident_code"],
                    card=self.moves.card(row["code"]) is not None,
                    entitlements=self.moves.entitlements(row["code"]),
                    version=self.host.now_us(),
                ),
            )
            for row in rows
        ]
        for code, info in infos:
            self.moves.leave(code, info)
        return infos

    def _announce(self, code: str, info: MovingOut) -> None:
        self.notify(MOVING_OUT, f"muni/{info.to_city}/resident", info, subject=code, procedure=JUKI)

    async def _ask_old_city(self, code: str, from_city: str) -> MovingOut:
        register = f"muni/{from_city}/resident"
        try:
            return await self.ask(register, MOVING_OUT_RECORD, Empty(), subject=code, procedure=JUKI)
        except Refused as refused:
            if refused.code != "not_found":
                raise
            raise NotFound("the old city was told of no move-out") from None

    def _enter_party(
        self, party: Sequence[tuple[str, MovingOut]], moved_on: date, *, card_in_time: bool
    ) -> list[str]:
        """Enter who moved together, tell the old city, and publish the move-in of the first.

        Who lived here before is taken up again under the old entry.
        """
        today, here = day_of(self.host.now_us()), self.member.split("/")[1]
        if any(self._is_entered(code) for code, _ in party):
            raise ManualReview("the register has the person already")
        with self.effect():
            for code, info in party:
                self.db.execute(
                    "INSERT INTO resident(code, resident_code, name, kana, born, sex, household, relation, since)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (code) DO UPDATE SET name = excluded.name,"
                    " kana = excluded.kana, household = excluded.household, relation = excluded.relation,"
                    " since = excluded.since, struck = ''",
                    (
                        code,
                        info.resident_code,
                        info.name,
                        info.kana,
                        info.born,
                        info.sex,
                        info.household,
                        info.relation,
                        moved_on.isoformat(),
                    ),
                )
                self._number(code)
                self.db.execute(
                    "INSERT INTO move VALUES (?, ?, ?, ?)", (code, moved_on.isoformat(), info.from_city, here)
                )
                self.moves.enter(code, info, today, card_in_time=card_in_time)
                self.notify(
                    MOVED_IN,
                    f"muni/{info.from_city}/resident",
                    MovedIn(here, moved_on.isoformat()),
                    subject=code,
                    procedure=JUKI,
                )
            self.publish(MOVE_IN, party[0][0])
        return [code for code, _ in party]

    def _is_entered(self, code: str) -> bool:
        row = self.db.execute("SELECT 1 FROM resident WHERE code = ? AND struck = ''", (code,)).fetchone()
        return row is not None

    def _household_of(self, code: str) -> int:
        row = self.db.execute(
            "SELECT household FROM resident WHERE code = ? AND struck = ''", (code,)
        ).fetchone()
        if row is None:
            raise NotFound("the register has no such resident")
        return int(row["household"])

    def _number(self, code: str) -> None:
        """Enter a personal number, the same in every city: J-LIS makes it from the 住民票コード (番号法8条).

        How is not public; here it is a digest (illustrative).
        """
        row = self.db.execute("SELECT resident_code FROM resident WHERE code = ?", (code,)).fetchone()
        digest = sha256(f"personal number {row['resident_code']}".encode()).hexdigest()
        digits = f"{int(digest, 16) % 10**11:011d}"
        self.db.execute(
            "INSERT OR IGNORE INTO personal_number VALUES (?, ?)",
            (code, digits + str(calc_check_digit(digits))),
        )


def _date_of(text: str) -> date:
    """The date; its pattern was checked already, its day was not."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ManualReview("there is no such day in the calendar") from None
