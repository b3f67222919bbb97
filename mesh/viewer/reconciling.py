"""The commission's view of a whole trace: every exchange's three records laid side by side, and all that differs.

Comparing them is the simulator's own device, not a documented practice of 個人情報保護委員会.

Rules kept here:
1. It judges as `trace verify` does, by the same tables, but goes on after what does not hold, and lists it.
2. What `ANOMALIES_MAX` leaves out is counted.

It is a process of its own, `python -m mesh.viewer.reconciling FILE NAME`: every signature is checked again, which takes
minutes for a million messages. It prints one JSON object a line, `{"share"}` now and then and at last `{"result"}`.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from mesh.errors import MeshError, UsageError
from mesh.ledger import Head, Row, read_head, read_row
from mesh.merkle import Tree, leaf_hash
from mesh.message import Kind
from mesh.trace.agreement import Agreement
from mesh.trace.finding import Finding, Report
from mesh.trace.opening import Damage
from mesh.trace.reader import Trace
from mesh.trace.recheck import ASKS, Recheck
from mesh.trace.registry_copy import registry_view
from mesh.trace.rows import LedgerRow
from mesh.trace.verify import never_sent
from mesh.view import View
from mesh.viewer import child
from mesh.viewer.wording import in_japanese

ANOMALIES_MAX: Final = 200
TELL_EVERY: Final = 2048
"""Transmissions and ledger rows between two words about progress."""

Tell = Callable[[float], object]


class Reconciliation:
    """One comparison of all records of one trace."""

    def __init__(self, trace: Trace, tell: Tell) -> None:
        self._trace = trace
        self._tell = tell
        self._total = max(trace.count("transmission") + trace.count("ledger"), 1)
        self._done = 0
        self._report = Report(complete=trace.complete)
        self._anomalies: list[dict[str, Any]] = []
        self._more = 0
        self._refusals = 0
        """Signed refusals, each once."""
        self._entries: Counter[str] = Counter()
        self._books: dict[str, _Book] = {}
        self._number = 0
        self._odd: dict[tuple[str, str], None] = {}
        self._residents = {code: handle for handle, _, code in trace.residents()}

    def run(self) -> dict[str, Any]:
        """Compare everything and say what was found."""
        try:
            view = registry_view(self._trace)
        except Finding as finding:
            self._add("", None, None, None, finding)
            return self._result(0, 0)
        seen = self._messages(view)
        self._refusals = sum(one.kind == Kind.REFUSAL for one in seen.seen.values())
        self._heads(view)
        agreement = Agreement(self._trace, seen)
        try:
            for stored in self._trace.ledger():
                self._row(stored, agreement)
                self._step()
        except Damage as damage:
            self._add("", None, None, None, Finding("message_malformed", str(damage)))
        self._close()
        for late in agreement.finish():
            self._add(late.party, None, late.exchange, late.sent, late.error)
        if self._trace.short is not None:
            self._add("", None, None, None, Finding("message_malformed", f"the file is {self._trace.short}"))
        return self._result(agreement.unfinished(), agreement.retried())

    def _step(self) -> None:
        self._done += 1
        if self._done % TELL_EVERY == 0:
            self._tell(self._done / self._total)

    def _messages(self, view: View) -> Recheck:
        recheck = Recheck(self._trace, view, self._report)
        try:
            for sent in self._trace.transmissions():
                self._step()
                try:
                    recheck.transmission(sent)
                except Finding as finding:
                    self._add(sent.sender, None, None, sent.number, finding)
        except Damage as damage:
            self._add("", None, None, damage.index, Finding("message_malformed", str(damage)))
        else:
            if (unsent := never_sent(self._trace)) is not None:
                self._add("", None, None, None, unsent)
        return recheck

    # Ledgers.

    def _heads(self, view: View) -> None:
        for party, token in self._trace.heads():
            book = self._books.setdefault(party, _Book())
            try:
                head = read_head(token, view.signer(token, party).verify_key)
                if head.party != party:
                    raise MeshError("sender_mismatch", "a head was signed by another party")
            except MeshError as error:
                self._add(party, None, None, None, error)
                continue
            book.heads.append(head)

    def _row(self, stored: LedgerRow, agreement: Agreement) -> None:
        book = self._books.setdefault(stored.party, _Book())
        try:
            follows = stored.number > self._number
            self._number = stored.number
            if stored.position != book.tree.size or not follows:
                raise MeshError("ledger_broken", f"row {book.tree.size} is missing, or not in its place")
        except MeshError as error:
            text_ja = f"{book.tree.size}行目が欠けているか、順序が違います"
            self._add(stored.party, stored.position, None, None, error, text_ja)
        row = None
        try:
            row = read_row(stored.row)
            self._entries[row.entry] += 1
            agreement.enter(stored.party, row)
        except MeshError as error:
            text_ja = "記録の行が壊れていて読めません" if row is None else ""
            exchange = None if row is None else (row.requester, row.id)
            self._add(stored.party, stored.position, exchange, None, error, text_ja)
        book.append(stored.row)

    def _close(self) -> None:
        for party, book in self._books.items():
            book.compare()
            book.broken += [head.size for head in book.heads]  # They cover rows that are missing.
            for size in book.broken:
                text = f"its first {size} rows do not have the root of their signed head"
                text_ja = f"最初の{size}行が、署名付きツリーヘッドのルートと一致しません"
                self._add(party, size - 1, None, None, MeshError("ledger_broken", text), text_ja)
            if book.tree.size > book.covered and self._trace.complete:
                text = "no signed head covers its last rows"
                text_ja = "最後の行が、署名付きツリーヘッドの対象に入っていません"
                self._add(party, book.tree.size - 1, None, None, MeshError("ledger_broken", text), text_ja)

    # What was found.

    def _add(
        self,
        party: str,
        position: int | None,
        exchange: tuple[str, str] | None,
        index: int | None,
        error: MeshError | Finding,
        text_ja: str = "",
    ) -> None:
        if exchange is not None:
            self._odd[exchange] = None
        if len(self._anomalies) >= ANOMALIES_MAX:
            self._more += 1
            return
        self._anomalies.append(
            {
                "party": party or None, "position": position, "index": index,
                "requester": None if exchange is None else exchange[0],
                "message": None if exchange is None else exchange[1],
                "code": error.code, "text": error.text, "text_ja": text_ja or in_japanese(error.code, error.text),
            }
        )  # fmt: skip

    def _locate(self) -> None:
        """Where the request or push of each exchange that differs was first sent."""
        if all(one["message"] is None for one in self._anomalies):
            return
        ids = json.dumps([one["message"] for one in self._anomalies if one["message"] is not None])
        first: dict[tuple[str, str | None], int] = {}
        try:
            for sent in self._trace.transmissions(0, -1, "m.id IN (SELECT value FROM json_each(?))", (ids,)):
                if sent.message.kind in ASKS:
                    first.setdefault((sent.sender, sent.message.id), sent.number)
        except Damage:
            pass  # It is among the anomalies already.
        for one in self._anomalies:
            if one["index"] is None and one["message"] is not None:
                one["index"] = first.get((one["requester"], one["message"]))

    def _result(self, unfinished: int, retried: int) -> dict[str, Any]:
        report = self._report
        self._locate()
        return {
            "exchanges": {
                "opened": self._entries["opened"], "permitted": self._entries["permitted"],
                "answered": self._entries["answered"], "closed": self._entries["closed"],
                "refused": self._refusals, "hidden": self._entries["mark"],
                "unfinished": unfinished, "retried": retried,
            },
            "messages": {"checked": report.messages, "permits": report.permits, "unsound": report.refused},
            "parties": [
                {
                    "party": party, "rows": book.tree.size, "covered": book.covered, "heads": book.signed,
                    "holds": not book.broken,
                }
                for party, book in sorted(self._books.items())
            ],
            "anomalies": self._anomalies,
            "more": self._more,
            "records": self._records(),
        }  # fmt: skip

    def _records(self) -> list[dict[str, Any]]:
        """Every party's rows of the exchanges whose records differ."""
        if not self._odd:
            return []
        found: dict[tuple[str, str], list[dict[str, Any]]] = {key: [] for key in self._odd}
        for stored in self._trace.ledger():
            row = _read(stored.row)
            if row is not None and (row.requester, row.id) in found:
                made = {
                    "party": stored.party, "position": stored.position, "row": msgspec.to_builtins(row),
                    "person": self._residents.get(row.subject or ""),
                }  # fmt: skip
                found[row.requester, row.id].append(made)
        return [
            {"requester": requester, "message": id_, "rows": rows}
            for (requester, id_), rows in list(found.items())[:ANOMALIES_MAX]
        ]


class _Book:
    """One party's ledger as far as it was read, and its heads."""

    def __init__(self) -> None:
        self.tree = Tree()
        self.heads: list[Head] = []
        self.covered = 0
        self.signed = 0
        self.broken: list[int] = []

    def append(self, row: bytes) -> None:
        """Take in a row."""
        self.compare()
        self.tree.append(leaf_hash(row))
        self.compare()

    def compare(self) -> None:
        """Compare the tree with the heads of its size."""
        size = self.tree.size
        while self.heads and self.heads[0].size <= size:
            head = self.heads.pop(0)
            self.signed += 1
            if head.size == size and head.root == self.tree.root().hex():
                self.covered = size
            else:
                self.broken.append(head.size)


def _read(data: bytes) -> Row | None:
    try:
        return read_row(data)
    except MeshError:
        return None


def main(path: str, name: str) -> int:
    """Print the comparison of a trace, which texts call by the name, line by line."""

    def tell(share: float) -> None:
        print(json.dumps({"share": round(share, 3)}), flush=True)

    try:
        with Trace.open(Path(path), name) as trace:
            result = Reconciliation(trace, tell).run()
    except UsageError as error:
        result = {"error": str(error)}
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    print(json.dumps({"share": 1.0, "result": result}), flush=True)
    return 0


if __name__ == "__main__":
    child.end_with_parent()
    sys.exit(main(*sys.argv[1:]))
