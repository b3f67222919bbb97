"""Whether a test sees what stands in the core, the law, the trust and `verify`: breaks a line, and looks who falls.

    uv run python -m tests.sweeps.core_mutants --count 20 --seed 1
    uv run python -m tests.sweeps.core_mutants --module mesh/routing.py --count 60 --json

A mutant is a check removed (a branch that raises, or a call whose result nobody uses), a member of a conjunction or
disjunction dropped, a comparison moved to its boundary or turned round, or a constant changed: a number, a truth value, a
code, an element of a tuple. Which of all are tried is drawn by the seed and by what each says, so that a change elsewhere
leaves the sample as it is.

All tests are collected once. For each mutant a forked child breaks the running code and runs the tests that know its file
(`TESTS`), until one fails: then it is seen, if that test holds without it. A limit that a test takes from the module that it
tests moves with the mutant. Exits 0 if at least 95 % are seen, else 1; what is not seen is listed, with the reason if it is
known (`UNSEEN`). Progress goes to stderr.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib
import json
import os
import pickle
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final, NamedTuple, NoReturn

import pytest

from mesh.errors import CODES
from tests.sweeps.mutants import FLIPPED, functions_of, put
from tests.sweeps.watchers import TESTS, UNSEEN

ROOT: Final = Path(__file__).parents[2]
SHARE_MIN: Final = 0.95
"""Of a sample, the share that is to be seen."""
TEST_MAX_S: Final = 20
"""Seconds of the processor after which one test goes round for ever; of the clock it may take five times as many."""
MEMORY_MAX_BYTES: Final = 4 << 30
SMALL_MAX: Final = 10
"""A number up to this becomes one more; a larger one is doubled."""


class Mutant(NamedTuple):
    """One breakage. `place` counts the nodes of the file as `ast.walk` does, `part` which of its members is meant."""

    file: str
    line: int
    function: str
    """Its qualified name; empty for a constant of the module."""
    kind: str
    place: int
    part: int
    change: str
    """What was there, and what is there now."""

    def __str__(self) -> str:
        return f"{self.kind:10} {self.file}:{self.line} {self.function or '(module)'}: {self.change}"

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is called in `UNSEEN`: lines move."""
        return self.file, self.function, self.change


# Which mutants there are.


@cache
def source_of(file: str) -> str:
    """The text of a file as it was when it was first read: it may be edited while a long sample runs."""
    return (ROOT / file).read_text()


def mutants_of(file: str) -> Iterator[Mutant]:
    """Every mutant of one file."""
    tree = ast.parse(source_of(file))
    inside = functions_of(tree)
    at_top = dict.fromkeys(tree.body, True)
    for place, node in enumerate(ast.walk(tree)):
        if node in inside:
            for kind, part in _changes(node):
                said = _said(node, part)
                yield Mutant(file, getattr(node, "lineno", 0), inside[node], kind, place, part, said)
        elif node in at_top and isinstance(node, ast.Assign | ast.AnnAssign):
            yield from _of_module(file, node, place)


def _of_module(file: str, node: ast.Assign | ast.AnnAssign, place: int) -> Iterator[Mutant]:
    """A module's constant: a number, or a tuple or set without one of its elements."""
    target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
    if not isinstance(target, ast.Name) or node.value is None:
        return
    value = vars(importlib.import_module(_module_of(file))).get(target.id)
    if type(value) is int:
        yield Mutant(file, node.lineno, "", "constant", place, 0, f"{target.id} = {value} → {_more(value)}")
    elif type(value) in (tuple, frozenset) and not target.id.startswith("__"):
        for part, one in enumerate(sorted(value, key=repr)):
            yield Mutant(file, node.lineno, "", "constant", place, part, f"{target.id} → without {one!r:.60}")


def _changes(node: ast.AST) -> Iterator[tuple[str, int]]:
    """(kind, part): what can be broken at a node."""
    if (isinstance(node, ast.If) and isinstance(node.body[-1], ast.Raise)) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ):
        yield "removed", 0
    elif isinstance(node, ast.BoolOp):
        yield from (("dropped", part) for part in range(len(node.values)))
    elif isinstance(node, ast.Compare):
        yield from (("comparison", part) for part, one in enumerate(node.ops) if type(one) in FLIPPED)
    elif isinstance(node, ast.Constant) and (type(node.value) in (int, bool) or node.value in CODES):
        yield "constant", 0


def _changed(node: Any, part: int) -> ast.AST:
    """A changed copy; the node itself is left as it is."""
    new: Any = copy.deepcopy(node)
    if isinstance(node, ast.If):
        # What it named stays named, or the function would close over something else.
        new.test = ast.BoolOp(ast.And(), [ast.Constant(value=False), new.test])
    elif isinstance(node, ast.Expr):
        return ast.copy_location(ast.If(ast.Constant(value=False), [new], []), node)
    elif isinstance(node, ast.BoolOp):
        del new.values[part]
        return new if len(new.values) > 1 else ast.copy_location(new.values[0], node)
    elif isinstance(node, ast.Compare):
        new.ops[part] = FLIPPED[type(node.ops[part])]()
    elif isinstance(node.value, str):
        new.value = "overloaded" if node.value != "overloaded" else "rate_limited"
    else:
        new.value = not node.value if isinstance(node.value, bool) else _more(node.value)
    return new


def _more(value: int) -> int:
    return value + 1 if abs(value) <= SMALL_MAX else 2 * value


def _said(node: ast.AST, part: int) -> str:
    if isinstance(node, ast.If):
        return f"if {_text(node.test)}: … → left out"
    if isinstance(node, ast.Expr):
        return f"{_text(node)} → left out"
    if isinstance(node, ast.BoolOp):
        return f"{_text(node)} → without {_text(node.values[part])}"
    return f"{_text(node)} → {_text(_changed(node, part))}"


def _text(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())[:100]


def _module_of(file: str) -> str:
    return file.removesuffix(".py").replace("/", ".")


def sample(files: Sequence[str], count: int, seed: int) -> list[Mutant]:
    """So many mutants of these files, drawn by the seed and by what each says; where it stands plays no part."""
    often: dict[tuple[str, str, str], int] = {}
    drawn = []
    for mutant in (one for file in files for one in mutants_of(file)):
        often[mutant.key] = nth = often.get(mutant.key, 0) + 1
        drawn.append((sha256(repr((seed, nth, mutant.key)).encode()).digest(), mutant))
    return [mutant for _, mutant in sorted(drawn)[:count]]


# Breaking the running code.


def break_code(mutant: Mutant) -> None:
    """Put a mutant in place in this process, for good."""
    if not mutant.function:
        _rebind(mutant)
        return
    path = ROOT / mutant.file
    tree = ast.parse(source_of(mutant.file))
    target = list(ast.walk(tree))[mutant.place]
    if not put(_Replaced(target, mutant.part).visit(tree), path, mutant.function):
        raise RuntimeError(f"there is no running function for {mutant}")


class _Replaced(ast.NodeTransformer):
    def __init__(self, target: ast.AST, part: int) -> None:
        self.target = target
        self.part = part

    def visit(self, node: ast.AST) -> Any:
        if node is self.target:
            return _changed(node, self.part)
        return self.generic_visit(node)


def _rebind(mutant: Mutant) -> None:
    """Change a module's constant wherever somebody took it by its name."""
    name = mutant.change.split(" ", 1)[0]
    old = vars(sys.modules[_module_of(mutant.file)])[name]
    new = _more(old) if type(old) is int else type(old)(_without(old, mutant.part))
    for module in list(sys.modules.values()):
        if module.__name__.startswith(("mesh.", "nodes.", "tests.")) and name in vars(module):
            bound = vars(module)[name]
            if type(bound) is type(old) and bound == old:
                setattr(module, name, new)


def _without(value: Any, part: int) -> list[Any]:
    gone = sorted(value, key=repr)[part]
    return [one for one in value if one is not gone]


# Running the tests.


class Verdict(NamedTuple):
    """What came of a mutant."""

    mutant: Mutant
    by: str
    """The test that sees it; empty if none does."""
    seconds: float


Reach = dict[str, frozenset[tuple[str, str]]]
"""(file, function) that each test calls, by its id; of one that is not in here that is not known."""


class Sweep:
    """A plugin of pytest: instead of running what was collected, tries mutants on it."""

    def __init__(self, mutants: Sequence[Mutant], seconds_max: float, reach: Path | None) -> None:
        self.mutants = mutants
        self.seconds_max = seconds_max
        self.reach = reach
        self._reached: Reach = {}
        self.verdicts: list[Verdict] = []
        self._sound: dict[str, bool] = {}
        self._failed = False

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._failed = self._failed or report.failed

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        named: dict[str, dict[str, pytest.Item]] = {}
        for item in session.items:
            for name in (item.nodeid, item.nodeid.partition("::")[0]):
                named.setdefault(name, {})[item.nodeid] = item
        if self.reach is not None:
            self._reached = self._measured(self.reach, session.items)
        for number, mutant in enumerate(self.mutants, 1):
            verdict = self._try(mutant, named)
            self.verdicts.append(verdict)
            what = f"seen by {verdict.by}" if verdict.by else "NOT SEEN"
            _say(f"{number}/{len(self.mutants)} {verdict.seconds:5.1f} s  {mutant}\n      {what}")
        return True

    def _try(self, mutant: Mutant, named: Mapping[str, Mapping[str, pytest.Item]]) -> Verdict:
        start_s = time.monotonic()
        known: dict[str, pytest.Item] = {}
        for name in TESTS[mutant.file]:
            known |= {one: item for one, item in named[name].items() if self._may_see(one, mutant)}
        # Who saw others of this file comes first.
        killers = {one.by: known[one.by] for one in self.verdicts if one.by in known}
        items = list((killers | known).values())
        while items:
            by = self._fork(mutant, items)
            if not by:
                break
            if by not in self._sound:
                self._sound[by] = not self._fork(None, [item for item in items if item.nodeid == by])
            if self._sound[by]:
                return Verdict(mutant, by, time.monotonic() - start_s)
            _say(f"      {by} fails without any mutant")
            items = [item for item in items if self._sound.get(item.nodeid, True)]
        return Verdict(mutant, "", time.monotonic() - start_s)

    def _may_see(self, test: str, mutant: Mutant) -> bool:
        reached = self._reached.get(test)
        return reached is None or not mutant.function or (mutant.file, mutant.function) in reached

    def _measured(self, kept: Path, items: Sequence[pytest.Item]) -> Reach:
        """What is kept in the file, and of tests that are new there what they call."""
        reached: Reach = pickle.loads(kept.read_bytes()) if kept.exists() else {}
        new = [item for item in items if item.nodeid not in reached]
        if new:
            _in_child(lambda: kept.write_bytes(pickle.dumps(reached | _measure(new))))
        return pickle.loads(kept.read_bytes())

    def _fork(self, mutant: Mutant | None, items: Sequence[pytest.Item]) -> str:
        """The first test that fails, goes round for ever or ends the process; empty if all hold or its time is over."""
        folder = tempfile.mkdtemp(prefix="mutant-")
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read)
            self._run(mutant, items, Path(folder), write)
        os.close(write)
        last = -1
        try:
            while said := os.read(read, 4096):
                last = int(said.split()[-1])
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        except BaseException:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise
        finally:
            os.close(read)
            shutil.rmtree(folder, ignore_errors=True)
        if status in (0, -signal.SIGXCPU):
            return ""
        if last < 0:
            raise RuntimeError(f"the mutant could not be put in place: {mutant}")
        return items[last].nodeid

    def _run(self, mutant: Mutant | None, items: Sequence[pytest.Item], folder: Path, write: int) -> NoReturn:
        """In the child: break the code, and run tests in silence until one fails."""
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        status = 1
        try:
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX_BYTES, MEMORY_MAX_BYTES))
            used = resource.getrusage(resource.RUSAGE_SELF)
            end_s = round(used.ru_utime + used.ru_stime + self.seconds_max)
            resource.setrlimit(resource.RLIMIT_CPU, (end_s, end_s + TEST_MAX_S))
            # What is made once in a session is made by the broken code, for this child alone.
            items[0].config._tmp_path_factory._basetemp = folder  # type: ignore[attr-defined]
            if mutant is not None:
                break_code(mutant)
            for number, item in enumerate(items):
                os.write(write, b"%d\n" % number)
                signal.setitimer(signal.ITIMER_PROF, TEST_MAX_S)
                signal.setitimer(signal.ITIMER_REAL, 5 * TEST_MAX_S)
                following = items[number + 1] if number + 1 < len(items) else None
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                if self._failed:
                    break
            else:
                status = 0
        finally:
            os._exit(status)


def _measure(items: Sequence[pytest.Item]) -> Reach:
    """Run tests, and note which functions of `mesh` each calls; one inside another counts as that."""
    found: Reach = {}
    codes: set[CodeType] = set()

    def note(frame: FrameType, event: str, argument: object) -> None:
        codes.add(frame.f_code)

    for number, item in enumerate(items):
        codes.clear()
        following = items[number + 1] if number + 1 < len(items) else None
        sys.setprofile(note)
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        sys.setprofile(None)
        found[item.nodeid] = frozenset(
            (str(Path(code.co_filename).relative_to(ROOT)), code.co_qualname.partition(".<locals>")[0])
            for code in codes
            if code.co_filename.startswith(f"{ROOT}/mesh/")
        )
    return found


def _in_child(work: Callable[[], object]) -> None:
    """Do something in silence in a forked process, so that nothing of it stays in this one."""
    child = os.fork()
    if child == 0:
        try:
            nowhere = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1):
                os.dup2(nowhere, stream)
            work()
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def run(mutants: Sequence[Mutant], seconds_max: float, reach: Path | None = None) -> list[Verdict]:
    """Try mutants on the tests that know their files."""
    files = dict.fromkeys(file for mutant in mutants for file in TESTS[mutant.file])
    sweep = Sweep(mutants, seconds_max, reach)
    quiet = ["-s", "-q", "-n", "0", "-p", "no:cacheprovider", "--no-header", "--no-summary"]
    ended = pytest.main([*quiet, *files], plugins=[sweep])
    if ended != pytest.ExitCode.OK:
        raise SystemExit(f"the tests could not be collected: pytest ended with {int(ended)}")
    return sweep.verdicts


def main(arguments: Sequence[str]) -> int:
    """Draw, break, run, say what nobody saw, and return the exit code."""
    parser = argparse.ArgumentParser(description="Whether a test sees what stands in the core.")
    parser.add_argument("--count", type=int, default=20, help="How many mutants.")
    parser.add_argument("--seed", type=int, default=1, help="Which of all.")
    parser.add_argument("--module", action="append", choices=sorted(TESTS), help="Only of this file.")
    parser.add_argument("--seconds", type=float, default=30, help="The most of the processor for one mutant.")
    parser.add_argument(
        "--reach",
        type=lambda text: Path(text).resolve(),
        help="Where it is kept which function each test calls, made if need be: only those that call the broken one run.",
    )
    parser.add_argument("--list", action="store_true", help="Only say which mutants there are.")
    parser.add_argument("--json", action="store_true", help="Print JSON.")
    asked = parser.parse_args(arguments)
    os.chdir(ROOT)
    files = asked.module or list(TESTS)
    if asked.list:
        print(*sample(files, asked.count, asked.seed), sep="\n")
        return 0
    verdicts = run(sample(files, asked.count, asked.seed), asked.seconds, asked.reach)
    unseen = [one.mutant for one in verdicts if not one.by]
    seen = len(verdicts) - len(unseen)
    if asked.json:
        listed = [one._asdict() | {"why": UNSEEN.get(one.key)} for one in unseen]
        print(json.dumps({"mutants": len(verdicts), "seen": seen, "unseen": listed}, ensure_ascii=False))
    else:
        for one in unseen:
            print(f"no test sees it: {one}\n    {UNSEEN.get(one.key, 'and nobody has said why')}")
        print(f"{seen} of {len(verdicts)} mutants were seen ({seen / max(len(verdicts), 1):.1%})")
    return 0 if seen >= SHARE_MIN * len(verdicts) else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        _say("interrupted")
        sys.exit(130)
