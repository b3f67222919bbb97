"""Small breakages of the institutions' code: one line that does something else, put into the running function.

A mutant changes what happens in a node: a statement is left out, a guard does not refuse, a branch is taken the other
way round, a value comes back altered, a limit is one more. It replaces the code object of the function itself, so that
handlers, subclasses and names that were imported elsewhere all get it.
"""

from __future__ import annotations

import ast
import copy
import gc
from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass, replace
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from msgspec import Struct, structs

ALTER = "__altered__"
SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef)
FLIPPED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One breakage: where it is, of which kind, and of which node of the file's syntax tree."""

    file: str
    line: int
    kind: str
    place: int
    """The number of the node among all that `ast.walk` gives of the file."""
    function: str

    def __str__(self) -> str:
        return f"{self.kind:8} {self.file}:{self.line} {self.function}"


def altered(value: Any) -> Any:
    """Another value of the same shape; the same if there is none."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return f"{value}x"
    if isinstance(value, list | tuple) and type(value) in (list, tuple):
        return value[:-1]
    if isinstance(value, dict):
        return dict(list(value.items())[:-1])
    if isinstance(value, Struct) or (is_dataclass(value) and not isinstance(value, type)):
        return _altered_field(value)
    return value


def _altered_field(value: Any) -> Any:
    names = value.__struct_fields__ if isinstance(value, Struct) else value.__dataclass_fields__
    # The last fields of an answer are facts; the first often say what it is about.
    for name in reversed(list(names)):
        old = getattr(value, name)
        new = altered(old)
        if new is not old and new != old:
            swap = structs.replace if isinstance(value, Struct) else replace
            return swap(value, **{name: new})
    return value


def mutants_of(path: Path, root: Path) -> Iterator[Mutant]:
    """All mutants of one file."""
    tree = ast.parse(path.read_text())
    inside = functions_of(tree)
    name = str(path.relative_to(root))
    for place, node in enumerate(ast.walk(tree)):
        function = inside.get(node)
        if function is None:
            continue
        kind = _kind_of(node)
        if kind:
            yield Mutant(name, getattr(node, "lineno", 0), kind, place, function)


def functions_of(tree: ast.Module) -> dict[ast.AST, str]:
    """The function in whose body each node stands, by qualified name; no decorators, no defaults."""
    inside: dict[ast.AST, str] = {}

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                visit(child, f"{prefix}{child.name}.")
            elif isinstance(child, SCOPES):
                for statement in child.body:
                    for each in ast.walk(statement):
                        inside.setdefault(each, f"{prefix}{child.name}")
            else:
                visit(child, prefix)

    visit(tree, "")
    return inside


def _kind_of(node: ast.AST) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call | ast.Await):
        return "left-out"
    if isinstance(node, ast.Raise):
        return "no-raise"
    if isinstance(node, ast.If | ast.IfExp):
        return "negated"
    if isinstance(node, ast.Return) and node.value is not None:
        return "altered"
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in FLIPPED:
        return "flipped"
    if isinstance(node, ast.AugAssign) or (
        isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute | ast.Subscript)
    ):
        return "unset"
    return ""


class _Change(ast.NodeTransformer):
    def __init__(self, target: ast.AST, kind: str) -> None:
        self.target = target
        self.kind = kind

    def visit(self, node: ast.AST) -> Any:
        node = self.generic_visit(node)
        return self._change(node) if node is self.target else node

    def _change(self, node: Any) -> ast.AST:
        if self.kind in ("left-out", "no-raise", "unset"):
            # What it named stays named, or the function would close over something else.
            return ast.copy_location(ast.If(ast.Constant(value=False), [node], []), node)
        if self.kind == "negated":
            node.test = ast.copy_location(ast.UnaryOp(ast.Not(), node.test), node.test)
        elif self.kind == "altered":
            node.value = ast.copy_location(
                ast.Call(ast.Name(ALTER, ast.Load()), [node.value], []), node.value
            )
        elif self.kind == "flipped":
            node.ops = [FLIPPED[type(node.ops[0])]()]
        return node


def apply(mutant: Mutant, root: Path) -> bool:
    """Put a mutant in place in this process, for good; whether there was a function to put it into."""
    path = root / mutant.file
    tree = copy.deepcopy(ast.parse(path.read_text()))
    target = list(ast.walk(tree))[mutant.place]
    return put(_Change(target, mutant.kind).visit(tree), path, mutant.function)


def put(changed: ast.Module, path: Path, function: str) -> bool:
    """Give the live functions under a qualified name, and those inside them, the code of a changed file."""
    changed = ast.fix_missing_locations(changed)
    wanted = {
        (code.co_qualname, code.co_firstlineno): code
        for code in _codes(compile(changed, str(path), "exec", dont_inherit=True))
    }
    done = False
    for live in _live_functions(str(path), function):
        code = wanted.get((live.__code__.co_qualname, live.__code__.co_firstlineno))
        if code is not None and code.co_freevars == live.__code__.co_freevars:
            live.__globals__[ALTER] = altered
            live.__code__ = code
            done = True
    return done


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


def _live_functions(path: str, qualified: str) -> list[FunctionType]:
    """The functions of a file that this process holds under a qualified name."""
    return [
        one
        for one in gc.get_objects()
        if type(one) is FunctionType
        and one.__code__.co_filename == path
        and one.__code__.co_qualname == qualified
    ]
