"""What came of a run: what its report says, and what messages and ledgers say by themselves."""

from __future__ import annotations

from typing import Any, Final

from mesh.viewer.opened import Opened

_REPORTED: Final = ("papers", "fees_saved_yen", "visits_saved", "push", "fallbacks")


def outcome(opened: Opened) -> dict[str, Any]:
    """Papers, visits, push reach and story as reported; disclosures, latencies, refusals as found in the trace."""
    said = opened.trace.meta.get("outcome")
    reported = said if isinstance(said, dict) else {}
    found = opened.index.summary
    return {
        **{name: reported.get(name) for name in _REPORTED},
        "story": opened.trace.meta.get("story") or [],
        "expectations": [
            {"text": one.text, "text_ja": one.text_ja, "held": one.held, "message": one.message}
            for one in opened.trace.expectations()
        ],
        "disclosed": found.get("disclosed"),
        "answers": found.get("answers"),
        "latencies": found.get("latencies"),
        "refusals": found.get("refusals"),
        "services": opened.trace.meta.get("services") or {},
        "elapsed_us": reported.get("elapsed_us"),
        "missing": _missing(reported),
        "index": opened.progress,
    }


def _missing(reported: dict[str, Any]) -> list[str]:
    """Which parts the trace does not have: a report is written at the end of a run."""
    return [name for name in (*_REPORTED, "elapsed_us") if name not in reported]
