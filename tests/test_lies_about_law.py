"""A broker that lies about the law or about an outcome, with a provider that believes it: `verify` finds it in the trace."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mesh.errors import MeshError, Refused
from mesh.exchange import Happening
from mesh.message import Permit
from mesh.names import BROKER
from mesh.policy import LegalBasis, Policy
from mesh.simulation import Simulation
from mesh.trace.finding import Finding
from mesh.trace.reader import Trace
from mesh.trace.verify import verify
from tests.helpers_trace import CITY, INCOME, TAX, City, Query, Tax, tell

replace = msgspec.structs.replace
ROW = LegalBasis(
    "muni/*/child-allowance", "child-allowance", "muni/*/tax", "tax.income.v1", ("income",), id="a"
)


class _Believing(Policy):
    """The law of a provider that takes a broker's word."""

    def check_permit(self, permit: Permit, *, is_event: bool = False) -> None:
        """It holds."""


def found(path: Path, *, row: LegalBasis = ROW, lie: Any = None) -> Finding | None:
    """What `verify` finds of one question, about which the broker lies."""

    async def told(sim: Simulation) -> None:
        sim.add(Tax, TAX)
        sim.add(City, CITY)
        sim.allow(row)
        anna = sim.resident("12345678901")
        tax = sim.node(TAX, Tax)
        tax._provider._law = _Believing()
        with tax.effect():
            tax.db.execute("INSERT INTO income VALUES (?, 500)", (sim.code("muni/28100", anna),))
        if lie is not None:
            lie(sim.node(BROKER))
        with suppress(Refused):
            await sim.node(CITY).ask(
                TAX, INCOME, Query(2025), subject=sim.code("muni/01208", anna), procedure="child-allowance",
                items=("income",), attempts=1,
            )  # fmt: skip
        sim.trace.epilogue(law={one.id: msgspec.to_builtins(one) for one in sim.policy.bases})

    with Trace.open(tell(path, told)) as trace:
        return verify(trace).finding


def permits_under(**change: Any) -> Any:
    """A broker that decides as it should, and writes something else into its permit."""

    def lie(broker: Any) -> None:
        authoriser = broker.router._authoriser
        permit = authoriser.permit

        def forged(
            message: Any, digest: str, recipient: str, basis: LegalBasis, *rest: Any, **options: Any
        ) -> Any:
            return permit(message, digest, recipient, replace(basis, **change), *rest, **options)

        authoriser.permit = forged

    return lie


def test_an_honest_broker_is_believed(tmp_path: Path) -> None:
    assert found(tmp_path / "t.trace") is None


@pytest.mark.parametrize(
    ("change", "row", "code"),
    [
        ({"id": "invented"}, ROW, "no_legal_basis"),
        ({"id": "none"}, ROW, "no_legal_basis"),
        ({"subjects_max": 9}, ROW, "no_legal_basis"),
        ({"id": "a"}, replace(ROW, consent=True), "consent_required"),
        ({"id": "a"}, replace(ROW, until_us=1), "no_legal_basis"),
    ],
)
def test_a_permit_that_no_row_covers_is_found(
    tmp_path: Path, change: dict[str, Any], row: LegalBasis, code: str
) -> None:
    def lie(broker: Any) -> None:
        permits_under(**change)(broker)
        broker.router._authoriser.basis_of = lambda *_: row
        broker.router._consent = lambda *_: None

    finding = found(tmp_path / "t.trace", row=row, lie=lie)
    assert finding is not None
    assert (finding.code, finding.index) == (code, 1)


@pytest.mark.parametrize(
    "code", ["consent_withdrawn", "no_legal_basis", "recipient_unreachable", "handler_failed"]
)
def test_a_broker_that_refuses_what_it_had_permitted_is_found(tmp_path: Path, code: str) -> None:
    def lie(broker: Any) -> None:
        router = broker.router

        def refuse(admitted: Any, line: bytes, *rest: Any) -> None:
            routed = router._by_digest[admitted.message.requestdigest]
            router._close_refused(routed, Happening.ANSWER, MeshError(code), *rest[-2:])

        router.on_answer = refuse

    finding = found(tmp_path / "t.trace", lie=lie)
    assert finding is not None
    # What the requester's own gate does not believe is found in the broker's ledger.
    expected = ("ledger_broken", None) if code == "handler_failed" else ("correlation_mismatch", 3)
    assert (finding.code, finding.index) == expected, finding.text
    assert "refuses what it had permitted" in finding.text
