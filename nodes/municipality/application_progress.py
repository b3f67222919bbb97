"""What a business system tells 申請管理 of an application that it was handed: where it stands now."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from mesh import NoticeType
from nodes.portal.application import Receipt


class Progress(Struct, frozen=True, forbid_unknown_fields=True):
    """Where an application stands; never what was decided, which the office writes to the resident."""

    receipt: Receipt
    state: Literal["in-review", "completed", "returned"]


PROGRESS = NoticeType(
    "application.progress.v1", Progress, title="Where an application stands", title_ja="申請の処理状況"
)
