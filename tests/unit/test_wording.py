"""What a comparison of records finds is said in Japanese too."""

import ast
import inspect
from pathlib import Path

import pytest

from mesh.errors import CODES
from mesh.trace import agreement, claims, marks, persons
from mesh.trace.reader import Trace
from mesh.viewer import wording
from tests.helpers_trace import edit, make_trace


def said() -> set[str]:
    """The fixed sentences of the comparison: texts of a certain length, but for those that explain the code."""
    found = set[str]()
    for module in (agreement, claims, marks, persons):
        tree = ast.parse(inspect.getsource(module))
        explained = {
            ast.get_docstring(one, clean=False)
            for one in ast.walk(tree)
            if isinstance(one, ast.Module | ast.ClassDef | ast.FunctionDef)
        }
        loose = {
            one.value.value
            for one in ast.walk(tree)
            if isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant)
        }
        found |= (
            {
                one.value
                for one in ast.walk(tree)
                if isinstance(one, ast.Constant) and isinstance(one.value, str) and one.value.count(" ") >= 3
            }
            - explained
            - loose
        )
    return found


def test_every_sentence_of_the_comparison_has_its_japanese() -> None:
    sentences = said()
    assert len(sentences) > 45
    for one in sentences:
        assert wording.in_japanese("ledger_broken", one) != CODES["ledger_broken"].text_ja, one
        assert not wording.in_japanese("ledger_broken", one).isascii()


def test_any_other_sentence_is_said_as_its_code_says() -> None:
    assert wording.in_japanese("signature_invalid", "whatever") == CODES["signature_invalid"].text_ja
    assert wording.in_japanese("no_such_code", "whatever") == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE meta SET value = '0' WHERE key = 'complete'", "中断"),
        ("UPDATE meta SET value = '0' WHERE key = 'format'", "第0版"),
    ],
)
def test_a_note_about_a_file_is_said_in_japanese(tmp_path: Path, change: str, said: str) -> None:
    path = make_trace(tmp_path / "story.trace")
    edit(path, change)
    with Trace.open(path) as trace:
        (note,) = trace.notes
    japanese = wording.note_in_japanese(note)
    assert said in japanese
    assert "story.trace" in japanese


def test_a_file_that_is_cut_short_is_said_to_be(tmp_path: Path) -> None:
    path = make_trace(tmp_path / "story.trace", rounds=40)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size * 3 // 4)
    with Trace.open(path, lenient=True) as trace:
        assert any("途中で切れています" in wording.note_in_japanese(note) for note in trace.notes)
    assert wording.note_in_japanese("{0} what nobody knows {name}") == "{0} what nobody knows {name}"
