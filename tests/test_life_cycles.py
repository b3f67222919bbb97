"""The tables of `mesh.exchange` decide: nothing else writes a state, and a state goes where its row says."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh import exchange
from mesh.errors import MeshError
from mesh.exchange import Happening, LifeCycle, State, Table
from mesh.outbox import Delivery, Posting
from mesh.provider import Answering
from mesh.requester import Question
from mesh.routing import Routed
from mesh.subscriber import Receiving

ROOT = Path(__file__).parents[1]
LIVES: dict[str, type[LifeCycle]] = {
    "REQUESTER": Question,
    "BROKER": Routed,
    "PROVIDER": Answering,
    "PUBLISHER": Posting,
    "RELAY": Delivery,
    "SUBSCRIBER": Receiving,
}


def written(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every attribute that a module assigns, with its line."""
    for node in ast.walk(tree):
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign | ast.AugAssign):
            targets = [node.target]
        for target in targets:
            for part in ast.walk(target):
                if isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store):
                    yield part.lineno, part.attr


def test_fire_and_restore_are_the_only_writers_of_a_state() -> None:
    found = {}
    for path in sorted((ROOT / "mesh").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found[path.name] = [line for line, name in written(tree) if name == "state"]
    mine = ast.parse((ROOT / "mesh/exchange.py").read_text(encoding="utf-8"))
    methods = {
        node.name: [line for line, name in written(node) if name == "state"]
        for node in ast.walk(mine)
        if isinstance(node, ast.FunctionDef)
    }
    assert [name for name, lines in methods.items() if lines] == ["__init__", "fire"]
    assert {name for name, lines in found.items() if lines} == {"exchange.py"}


def test_every_table_belongs_to_one_role_that_lives_by_it() -> None:
    tables = {
        name: value for name, value in vars(exchange).items() if name.isupper() and isinstance(value, dict)
    }
    assert set(tables) == set(LIVES)
    for name, table in tables.items():
        assert LIVES[name].table is table
        assert LIVES[name].whole[0] == "state"


@pytest.mark.parametrize("table", [one.table for one in LIVES.values()], ids=list(LIVES))
def test_a_table_has_no_state_that_nothing_leads_to(table: Table) -> None:
    reached = {State.NEW, *table.values()}
    assert {state for state, _ in table} <= reached
    assert {happening for _, happening in table} <= {v for k, v in vars(Happening).items() if k.isupper()}


def test_what_no_row_allows_changes_nothing() -> None:
    life = Question("id", "to", "service", b"", "digest")
    assert life.state == State.NEW
    assert not life.may(Happening.ANSWER)
    with pytest.raises(MeshError, match="answer cannot follow new") as caught:
        life.fire(Happening.ANSWER)
    assert caught.value.code == "correlation_mismatch"
    assert life.state == State.NEW
    life.fire(Happening.ASK)
    assert life.state == State.OPENED


def test_a_former_state_comes_back_whole() -> None:
    life = Delivery(1, "sender", "to", "digest", b"line", 9, 0, None, 0)
    life.fire(Happening.TAKE)
    former = life.former()
    life.fire(Happening.SEND)
    life.attempts, life.due_us, life.expiry_us = 1, 2, 3
    life.restore(former)
    assert (life.state, life.attempts, life.due_us, life.expiry_us) == (State.WAITING, 0, 0, 9)
