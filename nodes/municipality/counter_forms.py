"""The forms of the write-free counter (書かない窓口): each is a question of another system, filled in from the register.

What the register cannot know the clerk asks, and the resident answers (`Answers`). A form is the very query that the
system's service takes; its key is the system, and the task under which it is filed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any, Final, NamedTuple

from msgspec import Struct

from mesh import PersonalService
from mesh.service import Name
from nodes.municipality.child_allowance import CLAIM, ClaimQuery
from nodes.municipality.health_insurance import ENROL, EnrolForm
from nodes.municipality.national_pension import NOTIFY_PENSION, PensionForm
from nodes.municipality.resident import Member, Record
from nodes.municipality.school_enrolment import TRANSFER, TransferForm


class Answers(Struct, frozen=True):
    """What a newcomer answers to the clerk's questions."""

    other_insurance: bool = False
    public_servant: bool = False
    from_school: Name = ""
    child_at_school_born: str = ""
    child_at_school_name: Name | None = None
    """Asked for where several children have one birth date."""


class Facts(NamedTuple):
    """What a form is made of."""

    record: Record
    members: Sequence[Member]
    answers: Answers


class FormKind(NamedTuple):
    """One kind of form."""

    title: str
    title_ja: str
    service: PersonalService[Any, Any]
    make: Callable[[Facts], Struct]


def _school_child(facts: Facts) -> str:
    """The child that changes school: the eldest unless the resident said which."""
    born = sorted(one.born for one in facts.members if one.relation == "child")
    return facts.answers.child_at_school_born or (born[0] if born else date.min.isoformat())


KINDS: Final[dict[str, FormKind]] = {
    "health-insurance": FormKind(
        "Enrolment in national health insurance",
        "国民健康保険 資格取得届",
        ENROL,
        lambda facts: EnrolForm(facts.record.since, facts.answers.other_insurance),
    ),
    "national-pension": FormKind(
        "Notice to the national pension",
        "国民年金 住所変更届",
        NOTIFY_PENSION,
        lambda facts: PensionForm("address", facts.record.since),
    ),
    "school-enrolment": FormKind(
        "Change of school",
        "転入学届",
        TRANSFER,
        lambda facts: TransferForm(
            _school_child(facts),
            facts.answers.from_school,
            facts.record.since,
            facts.answers.child_at_school_name,
        ),
    ),
    "child-allowance": FormKind(
        "Claim to child allowance",
        "児童手当 認定請求書",
        CLAIM,
        lambda facts: ClaimQuery("move-in", facts.record.left_on, facts.answers.public_servant),
    ),
}
