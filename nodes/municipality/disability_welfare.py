"""Welfare of persons with disabilities (障害者福祉): certificates, and who uses services.

Rules kept here:
1. The certificates are those of 身体障害者福祉法15条, of the prefectures' 療育手帳 and of 精神保健福祉法45条; each has
   its own grades.
2. Use of services is 障害者総合支援法19条, for children 児童福祉法21条の5の5.
3. Others are answered from the copy, and get the items that the law names for them: who only needs to know that
   somebody is cared for does not learn of what.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from msgspec import UNSET, UnsetType

from mesh import Caller, FromCopy, Node, PersonalService, instant, serves
from mesh.builtin import Empty
from mesh.names import Zone
from mesh.service import Name
from nodes.municipality.copied_file import SCHEMA, CopiedFile

Certificate = Literal["physical", "intellectual", "mental", "none"]
"""身体障害者手帳, 療育手帳, 精神障害者保健福祉手帳, なし."""


class DisabilityWelfareRecord(FromCopy, frozen=True):
    """What the certificate and the recipient card would say."""

    certificate: Certificate | UnsetType = UNSET
    grade: Name | UnsetType = UNSET
    uses_services: bool | UnsetType = UNSET


DISABILITY_WELFARE = PersonalService(
    "disability-welfare.record.v1",
    Empty,
    DisabilityWelfareRecord,
    title="Certificates and services of a person with a disability",
    title_ja="障害者関係情報",
)


class DisabilityWelfare(Node):
    """The system 障害者福祉 of one municipality."""

    title: ClassVar[str] = "Welfare of persons with disabilities"
    title_ja: ClassVar[str] = "障害者福祉"
    zone: ClassVar[str] = Zone.MYNUMBER
    schema: ClassVar[str] = SCHEMA

    @property
    def file(self) -> CopiedFile[DisabilityWelfareRecord]:
        """The office's records."""
        return CopiedFile(self.db, DisabilityWelfareRecord)

    def record(self, person: str, certificate: Certificate, grade: str, *, uses_services: bool) -> None:
        """Record a certificate, and whether services are used."""
        now = instant(self.host.now_us())
        record = DisabilityWelfareRecord(certificate, grade, uses_services, as_of=now)
        with self.effect():
            self.file.keep(person, record)

    def register_replica(self, person: str) -> None:
        """Register the copy that answers."""
        with self.effect():
            self.file.register(person, self.host.now_us())

    @serves(DISABILITY_WELFARE)
    async def answer(self, query: Empty, caller: Caller, person: str) -> DisabilityWelfareRecord:
        """A person's record, from the copy."""
        return self.file.answer(person)
