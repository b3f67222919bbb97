"""Whether there was a case: what an office must be able to say of each exchange when it is inspected (番号法35条).

An office answers from its own file. That a case can be invented is why the commission compares what it hears with
what residents say, and why this is an inspection and no proof.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from mesh import Service
from mesh.service import MessageId

CASES_MAX: Final = 200
"""Exchanges in one question."""

CaseKind = Literal["claim", "invitation", "none"]


class CasesQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Names exchanges of the office that is asked, by their message ids."""

    messages: Annotated[tuple[MessageId, ...], Meta(max_length=CASES_MAX)]


class CasesReply(Struct, frozen=True):
    """For each exchange, what it was for; never whom it was about."""

    cases: tuple[CaseKind, ...]


CASES = Service(
    "oversight.cases.v1",
    CasesQuery,
    CasesReply,
    title="Which cases exchanges were for",
    title_ja="照会の根拠となった事案の確認",
)
