"""How far a push-type service (プッシュ型サービス) got: whom it was meant for, whom it reached, and what they did.

Rules kept here:
1. Who was eligible, and who was reached without reason, a scenario says by name. Whether they were reached, accepted or
   declined is read from what the receiver of the push and the office recorded.
2. A push invites; who did not answer is neither `accepted` nor `declined`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from mesh.records import Records


@dataclass(slots=True)
class Reach:
    """How far pushes got, in persons; a person counts once for each push that they are named for."""

    eligible: int = 0
    """Who should have been reached, as the scenario says."""
    notified: int = 0
    """Whom of them a delivered message reached."""
    accepted: int = 0
    """Who of them an office answered that they accept or apply."""
    declined: int = 0
    mistaken: int = 0
    """Who was reached, or put before an official, without reason (false positives)."""

    def add(self, other: Reach) -> None:
        """Count another push besides."""
        for name, number in asdict(other).items():
            setattr(self, name, getattr(self, name) + number)


@dataclass(frozen=True, slots=True)
class Invitation:
    """One push to several persons, to be held against the ledgers: names of push and services, and handles."""

    push: str
    eligible: tuple[str, ...]
    mistaken: tuple[str, ...]
    accepts: str | None
    """The service by which a person accepts or applies."""
    declines: str | None
    by: str | None
    """Who pushed, if only that one's pushes count."""

    @property
    def services(self) -> tuple[str, ...]:
        """Every name whose rows count."""
        return tuple(name for name in (self.push, self.accepts, self.declines) if name is not None)

    def settle(self, records: Records) -> Reach:
        """What the records say of it."""
        return Reach(
            eligible=len(self.eligible),
            notified=self._count(self.push, self.eligible, records, self.by),
            accepted=self._count(self.accepts, self.eligible, records),
            declined=self._count(self.declines, self.eligible, records),
            mistaken=self._count(self.push, self.mistaken, records, self.by),
        )

    @staticmethod
    def _count(name: str | None, persons: Iterable[str], records: Records, by: str | None = None) -> int:
        """About how many of the persons something was given."""
        if name is None:
            return 0
        return sum(
            any(
                one.row.subject is not None and by in (None, one.row.requester)
                for one in records.given(name, person)
            )
            for person in persons
        )
