"""Who sees what of a run: perspectives of the shipped scenario `child_allowance` and `birth`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mesh.errors import CODES, UsageError
from mesh.message import Kind
from mesh.names import BROKER
from mesh.trace.history import history
from mesh.trace.perspective import Seen, perspective
from mesh.trace.reader import Trace
from mesh.trace.seen import full_seen, see
from mesh.trace.show import Filter
from tests.conftest import Shipped

OFFICE, TAX = "muni/01208/child-allowance", "muni/28100/tax"


@pytest.fixture
def trace(shipped: Callable[[str], Shipped]) -> Iterator[Trace]:
    with Trace.open(shipped("child_allowance").trace) as opened:
        yield opened


def seen(trace: Trace, name: str) -> list[Seen]:
    view = perspective(trace, name)
    where, values = view.condition()
    found = map(view.see, trace.transmissions(where=where, values=values))
    return [one for one in found if one is not None]


def test_everything_is_open_to_whoever_has_the_whole_run(trace: Trace) -> None:
    everything = seen(trace, "everything")
    assert len(everything) == trace.count("transmission")
    assert not [one for one in everything if one.sealed]
    assert [one.content for one in everything if one.sent.message.kind == Kind.REPLY]


def test_the_broker_has_every_line_and_reads_no_content_but_its_own(trace: Trace) -> None:
    for one in seen(trace, BROKER):
        message = one.sent.message
        own = one.content is not None and message.service is not None and message.service.startswith("mesh.")
        marked = message.service == "ledger.mark.v1" and BROKER in (one.sent.sender, one.sent.recipient)
        assert one.content is None or own or marked
    subjects = [one.subject for one in seen(trace, BROKER) if one.subject]
    assert subjects, "it reads about whom, by the sender's own code"


def test_a_node_reads_what_it_sent_and_what_came_to_it(trace: Trace) -> None:
    everything = {one.sent.number: one for one in seen(trace, "everything")}
    own = {one.sent.number: one for one in seen(trace, OFFICE)}
    assert {
        number for number, one in everything.items() if OFFICE in (one.sent.sender, one.sent.recipient)
    } == set(own)
    assert all(one.content == everything[number].content for number, one in own.items())
    assert not any(one.subject for one in own.values() if one.sent.recipient == OFFICE)


def test_the_provider_never_reads_the_requesters_code(trace: Trace) -> None:
    theirs = seen(trace, TAX)
    assert [one for one in theirs if one.sealed == ("subject",)]
    assert not [one for one in theirs if one.subject is not None and one.sent.sender != TAX]


def test_a_member_sees_what_all_its_nodes_see(trace: Trace) -> None:
    nodes = [address for address in trace.parties.values() if address.startswith("muni/01208/")]
    member = {one.sent.number for one in seen(trace, "muni/01208")}
    assert member == {one.sent.number for address in nodes for one in seen(trace, address)}


def test_on_the_wire_nothing_can_be_read(trace: Trace) -> None:
    wire = seen(trace, "wire")
    assert len(wire) == trace.count("transmission")
    assert not [one for one in wire if one.readable or one.content is not None or one.subject is not None]


def test_a_resident_sees_what_the_history_shows_and_letters(trace: Trace) -> None:
    for handle in {handle for handle, _, _ in trace.residents()}:
        own, shown = seen(trace, handle), history(trace, handle)["rows"]
        assert {one.sent.message.service for one in own} <= {row["service"] for row in shown} | {
            "mesh.history.v1"
        }
        assert all(one.content is None or one.sent.message.kind == Kind.NOTICE for one in own)


def test_what_is_hidden_from_a_resident_is_absent(trace: Trace) -> None:
    handles = sorted({handle for handle, _, _ in trace.residents()})
    hidden = {
        handle: [row for row in history(trace, handle, hidden=True)["rows"] if row["hidden"]]
        for handle in handles
    }
    protected = [handle for handle in handles if hidden[handle]]
    assert protected
    for handle in protected:
        services = {row["service"] for row in hidden[handle]}
        assert not [one for one in seen(trace, handle) if one.sent.message.service in services]


@pytest.mark.parametrize("name", [OFFICE, TAX, BROKER, "muni/01208", "r-000003", "everything"])
def test_a_code_finds_the_rows_that_show_it(trace: Trace, name: str) -> None:
    rows = list(see(trace, name=name))
    for code in CODES:
        shown = [row["index"] for row in rows if code in (row["code"], row["says"])]
        assert [row["index"] for row in see(trace, Filter(code=code), name)] == shown


@pytest.mark.parametrize("name", [TAX, "wire", "r-000001"])
def test_how_many_messages_there_are_is_not_told_to_a_party(trace: Trace, name: str) -> None:
    with pytest.raises(UsageError, match="does not have message 99999") as raised:
        full_seen(trace, "99999", name)
    assert str(trace.count("transmission") - 1) not in str(raised.value).replace(name, "")
    with pytest.raises(UsageError, match=f"from 0 to {trace.count('transmission') - 1}"):
        full_seen(trace, "99999", "everything")


def test_colluding_parties_see_what_each_of_them_sees(trace: Trace) -> None:
    both = {one.sent.number for one in seen(trace, f"{OFFICE}+{TAX}")}
    assert both == {one.sent.number for name in (OFFICE, TAX) for one in seen(trace, name)}


@pytest.mark.parametrize("name", ["muni/99999", "r-999999", "", "nobody", "everything+wire"])
def test_who_is_not_there_is_named(trace: Trace, name: str) -> None:
    with pytest.raises(UsageError, match="nobody in the trace"):
        perspective(trace, name)


def test_what_never_arrived_its_recipient_does_not_have(
    shipped: Callable[[str], Shipped], tmp_path: Path
) -> None:
    with Trace.open(shipped("birth").trace) as trace:
        lost = [sent for sent in trace.transmissions() if sent.fate != "delivered"]
        assert lost
        view = perspective(trace, lost[0].recipient)
        assert all(view.see(sent) is None for sent in lost if sent.recipient == lost[0].recipient)
