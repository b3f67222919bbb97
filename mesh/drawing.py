"""Draws a life cycle as a Mermaid state diagram from its transition table, for documents and pages.

The table is the source: a test holds the drawings in ARCHITECTURE.md equal to what is drawn here.
"""

from __future__ import annotations

from mesh.exchange import State, Table


def draw_states(table: Table) -> str:
    """The Mermaid text: one arrow for each pair of states, with everything that can happen between them.

    States stand in the order of the table; one that nothing follows leads to the end.
    """
    arrows: dict[tuple[str, str], list[str]] = {}
    for (state, happening), following in table.items():
        arrows.setdefault((state, following), []).append(happening)
    left = [state for state, _ in arrows]
    ends = dict.fromkeys(following for _, following in arrows if following not in left)
    lines = ["stateDiagram-v2", f"    [*] --> {State.NEW}"]
    lines += [f"    {start} --> {end}: {', '.join(what)}" for (start, end), what in arrows.items()]
    lines += [f"    {end} --> [*]" for end in ends]
    return "\n".join(lines)
