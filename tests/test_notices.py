"""A notice whose body does not fit is refused before anything of it is kept."""

from __future__ import annotations

import asyncio
from typing import Annotated

from msgspec import Meta, Struct

from mesh import Caller, LegalBasis, Node, NoticeType, receives
from mesh.testing import ledger, messages, simulation


class Short(Struct, frozen=True, forbid_unknown_fields=True):
    word: Annotated[str, Meta(max_length=3)]


class Long(Struct, frozen=True, forbid_unknown_fields=True):
    word: Annotated[str, Meta(max_length=9)]


TAKEN = NoticeType("test.word.v1", Short, title="Word", title_ja="語")
SENT = NoticeType("test.word.v1", Long, title="Word", title_ja="語")


class Sender(Node):
    pass


class Reader(Node):
    words: tuple[str, ...] = ()

    @receives(TAKEN)
    async def word(self, body: Short, caller: Caller, person: str) -> None:
        self.words += (body.word,)


async def test_a_body_that_does_not_fit_is_refused_and_leaves_no_receipt() -> None:
    with simulation() as sim:
        sim.add(Sender, "muni/01208/sender")
        sim.add(Reader, "muni/28100/reader")
        sim.allow(LegalBasis("muni/*/sender", "words", "muni/*/reader", TAKEN.name, ("word",)))
        code = sim.code("muni/01208", sim.resident("00000000019"))
        for word in ("far-long", "ok"):
            sim.node("muni/01208/sender").notify(
                SENT, "muni/28100/reader", Long(word), subject=code, procedure="words"
            )
        await asyncio.sleep(0.5)
        reader = sim.node("muni/28100/reader", Reader)
        assert reader.words == ("ok",)
        entries = [(row.entry, row.code) for row in ledger(sim, reader.address)]
        assert sorted(entries) == [("answered", None), ("refused", "schema_invalid")]
        refusals = [one.refusal for one in messages(sim) if one.sender == reader.address and one.refusal]
        assert refusals == ["schema_invalid"]
        assert reader.host.store.unhandled() == []
