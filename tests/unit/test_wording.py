"""What a comparison of records finds is said in Japanese too."""

import ast
import inspect

from mesh.errors import CODES
from mesh.trace import agreement
from mesh.viewer import wording


def said() -> set[str]:
    """The fixed sentences of the comparison."""
    calls = [one for one in ast.walk(ast.parse(inspect.getsource(agreement))) if isinstance(one, ast.Call)]
    named = [
        one
        for one in calls
        if isinstance(one.func, ast.Name) and one.func.id in ("_check", "_broken", "MeshError")
    ]
    return {
        one.args[-1].value
        for one in named
        if isinstance(one.args[-1], ast.Constant) and isinstance(one.args[-1].value, str)
    }


def test_every_sentence_of_the_comparison_has_its_japanese() -> None:
    sentences = said()
    assert len(sentences) > 25
    for one in sentences:
        assert wording.in_japanese("ledger_broken", one) != CODES["ledger_broken"].text_ja, one
        assert not wording.in_japanese("ledger_broken", one).isascii()


def test_any_other_sentence_is_said_as_its_code_says() -> None:
    assert wording.in_japanese("signature_invalid", "whatever") == CODES["signature_invalid"].text_ja
    assert wording.in_japanese("no_such_code", "whatever") == ""
