"""Services are typed through: what DESIGN.md section 7 calls an error is one under mypy --strict."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def marked_lines(path: Path) -> list[int]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [number for number, line in enumerate(lines, 1) if "# error: " in line]


def test_mypy_finds_the_marked_errors_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    api = pytest.importorskip("mypy.api", reason="NO MYPY HERE: uv sync --group lint brings it")
    monkeypatch.chdir(ROOT)
    cases = [str(path.relative_to(ROOT)) for path in sorted(HERE.glob("*.py")) if path != Path(__file__)]
    report, errors, status = api.run(["--strict", "--no-color-output", "--no-error-summary", *cases])
    assert not errors
    found = re.findall(r"^(tests/\S+?):(\d+): error: ", report, re.MULTILINE)
    expected = [("tests/typing_cases/fails.py", str(line)) for line in marked_lines(HERE / "fails.py")]
    assert found == expected, report
    assert len(expected) == 10
    assert status == 1
