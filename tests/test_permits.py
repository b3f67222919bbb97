"""A permit is covered by the row that it names, in the copy of the law of whoever gets it: a broker is not believed."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from mesh.errors import MeshError
from mesh.exchange import digest_of
from mesh.message import Event, Permit, format_time
from mesh.policy import LegalBasis, Policy
from mesh.simulation import Simulation
from mesh.testing import Forger, answers_to, reason, simulation
from tests.helpers_trace import BROKER, CITY, INCOME, MOVED, RESIDENTS, TAX, City, Residents, Tax

replace = msgspec.structs.replace
NOW_US = 1_775_000_000_000_000

ROW = LegalBasis(
    "muni/*/child-allowance", "child-allowance", "muni/*/tax", "tax.income.v1", ("income",), id="a",
    from_us=NOW_US - 10, until_us=NOW_US + 10,
)  # fmt: skip
SECRET = replace(ROW, id="secret", procedure="secret", undisclosed=True, subjects_max=5)
INSIDE = replace(ROW, id="inside", same_member=True)
AGREED = replace(ROW, id="agreed", procedure="agreed", consent=True)
HEARD = LegalBasis(
    "muni/*/child-allowance", "child-allowance", "muni/*/resident", "resident.moved.v1", id="h"
)
LETTER = replace(HEARD, id="letter", items=("word",))
LAW = Policy([ROW, SECRET, INSIDE, AGREED, HEARD, LETTER])

PERMIT = Permit(
    broker=BROKER, requestdigest="0" * 64, requester=CITY, recipient=TAX, service="tax.income.v1",
    procedure="child-allowance", items="income", basis="a", subject="muni/28100:x", registry=1,
    time=format_time(NOW_US), expiry=format_time(NOW_US + 60_000_000),
)  # fmt: skip
NOBODY = replace(PERMIT, service="weather.v1", procedure=None, items=None, basis="none", subject=None)
HEARD_PERMIT = replace(
    PERMIT, requester=RESIDENTS, recipient=CITY, service="resident.moved.v1", items=None, basis="h"
)


@pytest.mark.parametrize(
    ("permit", "is_event"),
    [
        (PERMIT, False),
        (NOBODY, False),
        (replace(PERMIT, items=None), False),
        (replace(PERMIT, basis="secret", procedure="secret", undisclosed=True, subjectsmax=5), False),
        (replace(PERMIT, basis="inside", recipient="muni/01208/tax"), False),
        (replace(PERMIT, basis="agreed", procedure="agreed", consent="x.y.z"), False),
        (HEARD_PERMIT, True),
    ],
)
def test_what_its_row_covers_counts(permit: Permit, is_event: bool) -> None:
    LAW.check_permit(permit, is_event=is_event)


@pytest.mark.parametrize(
    ("permit", "code"),
    [
        (replace(PERMIT, basis="invented"), "no_legal_basis"),
        (replace(PERMIT, basis="none"), "no_legal_basis"),
        (replace(PERMIT, basis="none", subject=None), "no_legal_basis"),
        (replace(PERMIT, basis="secret"), "no_legal_basis"),
        (replace(PERMIT, basis="h"), "no_legal_basis"),
        (replace(PERMIT, basis="inside"), "no_legal_basis"),
        (replace(PERMIT, requester=RESIDENTS), "no_legal_basis"),
        (replace(PERMIT, recipient=RESIDENTS), "no_legal_basis"),
        (replace(PERMIT, service="tax.other.v1"), "no_legal_basis"),
        (replace(PERMIT, procedure="other"), "no_legal_basis"),
        (replace(PERMIT, procedure=None), "no_legal_basis"),
        (replace(PERMIT, undisclosed=True), "no_legal_basis"),
        (replace(PERMIT, subjectsmax=2), "no_legal_basis"),
        (replace(PERMIT, items="dependants income"), "item_not_permitted"),
        (replace(PERMIT, items="income dependants"), "schema_invalid"),
        (replace(PERMIT, time=format_time(NOW_US - 11)), "no_legal_basis"),
        (replace(PERMIT, time=format_time(NOW_US + 10)), "no_legal_basis"),
        (replace(PERMIT, basis="agreed", procedure="agreed"), "consent_required"),
        (replace(NOBODY, subject="muni/28100:x"), "no_legal_basis"),
        (replace(NOBODY, service="tax.income.v1"), "no_legal_basis"),
        (replace(NOBODY, undisclosed=True), "no_legal_basis"),
    ],
)
def test_what_its_row_does_not_cover_does_not(permit: Permit, code: str) -> None:
    for _ in range(2):  # The second time from memory.
        with pytest.raises(MeshError) as caught:
            LAW.check_permit(permit)
        assert caught.value.code == code


@pytest.mark.parametrize(
    "permit",
    [
        replace(HEARD_PERMIT, basis="letter"),
        replace(HEARD_PERMIT, items="word"),
        replace(HEARD_PERMIT, recipient=TAX),
        replace(HEARD_PERMIT, requester=TAX),
    ],
)
def test_nobody_hears_of_an_event_whom_its_row_does_not_name(permit: Permit) -> None:
    with pytest.raises(MeshError, match="no_legal_basis"):
        LAW.check_permit(permit, is_event=True)


def test_a_row_that_comes_later_counts_from_then_on() -> None:
    law = Policy()
    permit = replace(PERMIT, basis="added-1")
    with pytest.raises(MeshError, match="no_legal_basis"):
        law.check_permit(permit)
    law.add(replace(ROW, id=""))
    law.check_permit(permit)


def mesh(sim: Simulation) -> None:
    for cls, address in ((Tax, TAX), (City, CITY), (Residents, RESIDENTS)):
        sim.add(cls, address)
        sim.node(address)
    sim.allow(replace(ROW, from_us=0, until_us=2**52))
    sim.allow(replace(HEARD, same_member=True))


@pytest.mark.parametrize(
    ("change", "code"), [({}, None), ({"basis": "invented"}, "no_legal_basis"), ({"basis": "h"}, "no_legal_basis")]
)  # fmt: skip
async def test_a_provider_answers_under_a_row_of_its_own_law_only(
    change: dict[str, Any], code: str | None
) -> None:
    with simulation() as sim:
        mesh(sim)
        city, broker = Forger(sim, CITY), Forger(sim, BROKER)
        line = city.line(
            city.request(TAX, INCOME.name, b'{"year":2025}', procedure="child-allowance", items="income")
        )
        permit = broker.permit(line, subject="muni/28100:x", **change)
        sim.transmit(BROKER, TAX, line + b"\n" + permit)
        await sim.sleep(1)
        said = [one for one in answers_to(sim, line) if one.sender == TAX]
        assert [reason(sim, one) or one.refusal for one in said] == [code or "not_found"]


async def test_who_replays_a_question_under_a_made_up_row_does_not_get_the_kept_answer() -> None:
    with simulation() as sim:
        mesh(sim)
        city, broker = Forger(sim, CITY), Forger(sim, BROKER)
        line = city.line(
            city.request(TAX, INCOME.name, b'{"year":2025}', procedure="child-allowance", items="income")
        )
        sim.transmit(BROKER, TAX, line + b"\n" + broker.permit(line, subject="muni/28100:x"))
        await sim.sleep(1)
        sim.transmit(
            BROKER, TAX, line + b"\n" + broker.permit(line, subject="muni/28100:x", basis="invented")
        )
        await sim.sleep(1)
        said = [one for one in answers_to(sim, line) if one.sender == TAX]
        assert [reason(sim, one) or one.refusal for one in said] == ["not_found", "no_legal_basis"]


@pytest.mark.parametrize("basis", ["h", "invented", "a"])
async def test_a_subscriber_takes_a_push_under_a_row_of_its_own_law_only(basis: str) -> None:
    with simulation() as sim:
        mesh(sim)
        register, broker = Forger(sim, RESIDENTS), Forger(sim, BROKER)
        now_us = sim.now_us()
        id_ = register.new_id()
        event = Event(
            specversion="1.0", id=id_, source=RESIDENTS, type=MOVED.name, time=format_time(now_us),
            recipient=BROKER, subject=register.seal(id_, BROKER, b'"x"'), expiry=format_time(now_us + 60_000_000),
        )  # fmt: skip
        line = register.line(event)
        permit = broker.line(
            replace(
                HEARD_PERMIT, requestdigest=digest_of(line), basis=basis, time=format_time(now_us),
                accepted=format_time(now_us), expiry=format_time(now_us + 60_000_000),
            )
        )  # fmt: skip
        sim.transmit(BROKER, CITY, line + b"\n" + permit)
        await sim.sleep(1)
        said = [one.refusal for one in answers_to(sim, line) if one.sender == CITY]
        assert said == ([None] if basis == "h" else ["no_legal_basis"])
