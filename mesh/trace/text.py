"""Rows of `mesh.trace.show` as plain text. What came over the wire cannot break a line or colour a terminal."""

from __future__ import annotations

import json
from typing import Any, Final

from mesh.errors import CODES
from mesh.recorder import Fate
from mesh.trace.rows import NOT_TRIED

_MARKS: Final = {"passed": "ok", "failed": "NO", "not reached": "--"}
_ADDRESS_WIDTH: Final = 30
_KIND_WIDTH: Final = 8
_SERVICE_WIDTH: Final = 24


def format_time(time_us: int) -> str:
    """Time since the start of the run: `+00:00.005000`, with hours and days once there are any."""
    seconds, rest_us = divmod(time_us, 1_000_000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    ahead = f"{days}d {hours:02}:" if days else f"{hours}:" if hours else ""
    return f"+{ahead}{minutes:02}:{seconds:02}.{rest_us:06}"


def outcome_of(row: dict[str, Any]) -> str:
    """What became of a transmission, in a word or two."""
    if not row.get("readable", True):
        return f"{row['bytes']:,} bytes"
    sealed = f" [sealed: {' '.join(row['sealed'])}]" if row.get("sealed") else ""
    return _fate_of(row) + sealed


def _fate_of(row: dict[str, Any]) -> str:
    if row["fate"] != Fate.DELIVERED:
        return f"{clean(row['fate'])}: {clean(row['code'])}" if row["code"] else clean(row["fate"])
    if row["refused"]:
        # A refusal that a gate turns away brings a code of its own.
        says = f"says {_said(row, 'says')}, " if row.get("says") else ""
        return f"{says}refused: {clean(row['code'])}"
    return f"says {_said(row, 'code')}" if row["code"] is not None else "ok"


def _said(row: dict[str, Any], name: str) -> str:
    """The code that a message brings, and for who can open it the reason under its seal."""
    return clean(row[name]) + (f" ({row['reason']})" if row.get("reason") else "")


def format_line(row: dict[str, Any]) -> str:
    """One transmission in one line: index, time, from → to, kind, service, outcome."""
    return " ".join(
        (
            f"{row['index']:>6}",
            f"{format_time(row['time_us']):>13}",
            f"{clean(row['from']):<{_ADDRESS_WIDTH}} → {clean(row['to']):<{_ADDRESS_WIDTH}}",
            f"{clean(row['kind']) or '?':<{_KIND_WIDTH}}",
            f"{clean(row['service']) or '-':<{_SERVICE_WIDTH}}",
            outcome_of(row),
        )
    )


def format_full(row: dict[str, Any]) -> str:
    """One message in full: its line, attributes, permit, checks, expectations and bytes."""
    lines = [format_line(row)]
    if row["arrived_us"] is not None:
        lines.append(f"  arrived {format_time(row['arrived_us'])}")
    lines += _section("message", row["header"], row["attributes"])
    if row["permit"] is not None:
        lines += _section("permit", row["permit_attributes"])
    lines += _opened(row)
    if row["checks"]:
        lines.append("  checks of the recipient's gate")
    lines += [f"    {_MARKS[one['result']]}  {_step(one)}" for one in row["checks"]]
    for code in (CODES[one] for one in (row["code"], row.get("reason")) if one in CODES):
        lines += [f"  {code.name}: {code.text} ({code.text_ja})", f"    {code.fix}", f"    {code.fix_ja}"]
        lines.append(f"    try again: {code.again.title}: {code.again.text} ({code.again.text_ja})")
    for one in row["expectations"]:
        came = ("held" if one["held"] else "NOT HELD") if one["tried"] else NOT_TRIED[0]
        lines.append(f"  expected: {clean(one['text'])}: {came}")
    if row["jws"] is not None:
        lines += ["  jws", f"    {clean(row['jws'])}"]
    if row["permit"] is not None:
        lines += ["  permit's jws", f"    {clean(row['permit'])}"]
    return "\n".join(lines)


def _opened(row: dict[str, Any]) -> list[str]:
    """What somebody's keys open of a message, and what stays sealed for them."""
    lines = []
    if row.get("subject") is not None:
        lines.append(f"  subject, opened: {clean(row['subject'])}")
    content = row.get("content")
    if content is not None:
        lines += _section("content, opened", content if isinstance(content, dict) else {"": content})
    if row.get("sealed"):
        lines.append(f"  sealed: {' '.join(row['sealed'])}")
    return lines


def _section(title: str, *documents: Any) -> list[str]:
    lines = [f"  {title}"]
    for document in documents:
        if not isinstance(document, dict):
            lines.append("    (it cannot be read)")
            continue
        for name, value in document.items():
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            lines.append(f"    {clean(name):<16} {clean(text)}")
    return lines


def clean(text: str | None) -> str:
    """The text without control characters, line breaks and what reverses the direction of writing."""
    text = text or ""
    return text if text.isprintable() else "".join(c if c.isprintable() else "�" for c in text)


def _step(check: dict[str, Any]) -> str:
    """What was checked, and of which line."""
    if check["of"] == "permit":
        return f"permit: {check['step']} (許可証: {check['step_ja']})"
    return f"{check['step']} ({check['step_ja']})"
