"""What a scenario expects depends on what happened: read from the source of every scenario.

An expectation of constants, of what the scenario itself was given, or of an office's own rule held against itself,
could not fail whatever the nodes did. `python -m tests.sweeps.sabotage` asks the same by breaking the nodes.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh.loading import scenarios_of
from tests.sweeps.mutants import mutants_of
from tests.sweeps.sabotage import ROOT, Sweep

SCENARIOS = Path(__file__).parent.parent / "scenarios"
FILES = sorted(SCENARIOS.glob("*.py"))
LABELS = {"citation", "title", "title_ja", "__name__", "__doc__", "offers", "takes", "bases", "policy"}
"""What says how a thing is called or declared, and nothing of what it did."""


# How the numbers of a law are named: in days, in yen, at least.
NUMBERS = {"DAYS", "MONTHS", "YEARS", "YEN", "MIN", "MAX", "TENTHS"}


class Function:
    """One function of a scenario: which of its names hold something that a run gave it."""

    def __init__(self, node: ast.FunctionDef | ast.AsyncFunctionDef, imported: dict[str, str]) -> None:
        self.imported = imported
        self.alive = {one.arg for one in (*node.args.args, *node.args.kwonlyargs)}
        self.rules: set[str] = set()
        for _ in range(3):  # A name may be used above the line that fills it, in a loop.
            for statement in ast.walk(node):
                self._learn(statement)

    def _learn(self, statement: ast.AST) -> None:
        pairs: list[tuple[ast.expr, ast.expr]] = []
        if isinstance(statement, ast.Assign):
            pairs = [(target, statement.value) for target in statement.targets]
        elif (
            isinstance(statement, ast.AnnAssign | ast.AugAssign | ast.NamedExpr)
            and statement.value is not None
        ):
            pairs = [(statement.target, statement.value)]
        elif isinstance(statement, ast.For | ast.AsyncFor | ast.comprehension):
            pairs = [(statement.target, statement.iter)]
        elif isinstance(statement, ast.withitem) and statement.optional_vars is not None:
            pairs = [(statement.optional_vars, statement.context_expr)]
        elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef) or (
            isinstance(statement, ast.ExceptHandler) and statement.name
        ):
            self.alive.add(statement.name)
        elif (
            isinstance(statement, ast.Call)
            and isinstance(statement.func, ast.Attribute)
            and statement.func.attr in ("append", "add", "extend", "setdefault")
        ):
            pairs = [(statement.func.value, argument) for argument in statement.args]
        for target, value in pairs:
            names = {one.id for one in ast.walk(target) if isinstance(one, ast.Name)}
            if self.is_alive(value):
                self.alive |= names
            if self.is_rule(value):
                self.rules |= names

    def is_alive(self, value: ast.AST) -> bool:
        """Whether an expression reads something that the run gave."""
        return any(isinstance(one, ast.Name) and one.id in self.alive for one in ast.walk(value))

    def is_rule(self, value: ast.AST) -> bool:
        """Whether an expression uses a rule or a number that an office itself goes by."""
        return any(
            isinstance(one, ast.Name) and (one.id in self.rules or self._is_office_rule(one.id))
            for one in ast.walk(value)
        )

    def _is_office_rule(self, name: str) -> bool:
        module = self.imported.get(name, "")
        is_number = name.isupper() and name.rpartition("_")[2] in NUMBERS
        is_rule = name.islower() and module.endswith("_rules")
        return module.startswith("nodes.") and (is_number or is_rule)


def imports(tree: ast.Module) -> dict[str, str]:
    """The names that a file imports, with their modules."""
    return {
        alias.asname or alias.name: one.module or ""
        for one in tree.body
        if isinstance(one, ast.ImportFrom)
        for alias in one.names
    }


def conjuncts(held: ast.expr) -> Iterator[ast.expr]:
    """The parts that must all be true."""
    if isinstance(held, ast.BoolOp) and isinstance(held.op, ast.And):
        for one in held.values:
            yield from conjuncts(one)
    else:
        yield held


def wrongs(source: str) -> list[str]:
    """What is wrong with the expectations of a file, by line."""
    tree = ast.parse(source)
    imported = imports(tree)
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        function = Function(node, imported)
        for call in ast.walk(node):
            if (
                isinstance(call, ast.Call)
                and isinstance(call.func, ast.Attribute)
                and call.func.attr == "expect"
                and len(call.args) > 1
            ):
                found += [f"{call.lineno}: {why}" for why in _wrongs(function, call.args[1])]
    return sorted(set(found))


def _wrongs(function: Function, held: ast.expr) -> Iterator[str]:
    for part in conjuncts(held):
        said = ast.unparse(part)
        if not function.is_alive(part):
            yield f"nothing that happened is in {said!r}"
        if function.is_rule(part):
            yield f"an office's own rule is held against itself in {said!r}"
        for one in ast.walk(part):
            if isinstance(one, ast.Attribute) and one.attr in LABELS:
                yield f"the label {one.attr!r} is no event, in {said!r}"


@pytest.mark.parametrize("file", FILES, ids=lambda one: one.stem)
def test_every_expectation_reads_what_happened(file: Path) -> None:
    assert wrongs(file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("held", "why"),
    [
        ("True", "nothing that happened"),
        ("LIMIT == 14", "nothing that happened"),
        ("world.letters() == [1] and last_day(BORN) == 14", "nothing that happened"),
        ("world.letters() == [last_day(BORN)]", "own rule"),
        ("world.row == due", "own rule"),
        ("world.policy_of(3).citation == 'x'", "no event"),
    ],
)
def test_the_kind_is_found(held: str, why: str) -> None:
    source = (
        "from nodes.municipality.care_rules import last_day\n"
        f"def check(world):\n    due = last_day(BORN)\n    world.sim.expect('text', {held})\n"
    )
    assert [one for one in wrongs(source) if why in one]


def test_what_reads_a_ledger_is_let_through() -> None:
    assert (
        wrongs("def check(world):\n    rows = world.rows()\n    world.sim.expect('text', len(rows) == 2)\n")
        == []
    )


def test_a_breakage_makes_an_expectation_fall() -> None:
    sweep = Sweep(scenarios_of("scenarios")["standardisation"], {}, 1)
    tax = mutants_of(ROOT / "nodes/municipality/tax.py", ROOT)
    for mutant in [one for one in tax if one.function == "TaxOffice._replica" and one.kind == "negated"]:
        sweep.run(mutant)
    fell = {site for sites in sweep.tried.values() for site in sites or ()}
    assert any(site.startswith("standardisation.py:") for site in fell)
