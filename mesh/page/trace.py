"""The page about a trace: who sent what to whom, drawn and in full, in one file without script.

Rules kept here:
1. As for every page: all that is printed is cleaned and escaped, and nothing is taken from anywhere.
2. The page allows itself its own style by its digest, and nothing else (Content-Security-Policy).
3. Seed, faults and how much the run recorded are for who sees the run (`mesh.trace.perspective`).
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable, Mapping
from functools import partial
from hashlib import sha256
from itertools import islice
from typing import Any

from markupsafe import Markup

from mesh.errors import CODES
from mesh.faults import recorded_plan
from mesh.page.sequence import Drawing
from mesh.page.write import TEMPLATES, environment
from mesh.trace.naming import Names, name_of, parts_of
from mesh.trace.perspective import sees_run
from mesh.trace.rows import NOT_TRIED

MARK = "<!doctype html>\n<!-- trace of the public service mesh simulator -->\n"
MESSAGES_MAX = 1000
"""Messages on a page, unless somebody asks for more."""


def render(
    rows: Iterable[Mapping[str, Any]],
    *,
    meta: Mapping[str, Any],
    notes: Iterable[str],
    names: Names,
    perspective: str | None,
    total: int,
    limit: int = MESSAGES_MAX,
) -> str:
    """The page about rows as `mesh.trace.seen` has them in full; `total` is how many the trace has."""
    source = iter(rows)
    shown = list(islice(source, limit))
    run = sees_run(perspective)
    style = "\n".join((TEMPLATES / name).read_text(encoding="utf-8") for name in ("style.css", "trace.css"))
    template = environment().get_template("trace.html")
    return MARK + template.render(
        rows=shown,
        drawing=Drawing.of(shown),
        meta=meta,
        faults=recorded_plan(meta.get("faults")) if run else None,
        run=run,
        notes=list(notes),
        named=partial(name_of, names),
        parts=partial(parts_of, names),
        perspective=perspective,
        total=total,
        left_out=next(source, None) is not None,
        codes=CODES,
        not_tried=NOT_TRIED,
        as_text=_as_text,
        zip=zip,
        style=Markup(style),  # noqa: S704 - our own files
        style_digest=b64encode(sha256(style.encode()).digest()).decode(),
    )


def _as_text(value: object) -> str:
    """A value of JSON as a page shows it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)
