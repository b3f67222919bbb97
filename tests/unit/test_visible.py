"""Foreign text on a terminal: nothing in it acts, hides, or passes for another line."""

from __future__ import annotations

import gc
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mesh.cli.app import make_root
from mesh.viewer.copying import copies
from mesh.visible import json_text, one_line, visible
from tests.helpers_trace import edit, make_trace

MARKS = "\x1b[2J\x9b31m\x7f\u202e\u2066\u200f\u2028"
RAW = (*(chr(code) for code in range(0x7F, 0xA0)), "\x1b", *MARKS[-4:])


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = make_trace(tmp_path_factory.mktemp("trace") / "odd.trace")
    edit(path, "UPDATE message SET id = id || ?, service = service || ?", MARKS, MARKS)
    edit(path, "UPDATE meta SET value = ? WHERE key = 'scenario'", f"story{MARKS}\nfirst difference: none")
    edit(path, "UPDATE party SET address = address || ? WHERE number > 2", f"{MARKS}\nholds: all")
    edit(path, "UPDATE ledger SET row = replace(CAST(row AS TEXT), 'tax.income', ?)", f"tax{MARKS[4:]}")
    return path


def printed(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    with pytest.raises(SystemExit):
        make_root(nodes=None, scenarios=None).main([str(one) for one in arguments])
    said = capsys.readouterr()
    return said.out + said.err


@pytest.mark.parametrize("form", [(), ("--json",)])
@pytest.mark.parametrize(
    "command", ["list", "show", "verify", "digest", "diff", "history", "show-sequence", "show-message"]
)
def test_no_command_prints_what_acts_on_a_terminal(
    odd: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str, form: tuple[str, ...]
) -> None:
    other = Path(shutil.copy(odd, tmp_path / "other.trace"))
    edit(other, "UPDATE meta SET value = 'other' WHERE key = 'scenario'")
    more: dict[str, tuple[Any, ...]] = {
        "diff": (other,), "history": ("--person", "r-000001"), "show-sequence": ("--sequence",),
        "show-message": ("--message", "3"),
    }  # fmt: skip
    said = printed(capsys, "trace", command.partition("-")[0], odd, *more.get(command, ()), *form)
    assert said
    assert [repr(one) for one in RAW if one in said] == []
    assert [
        line for line in said.splitlines() if line.startswith(("holds: all", "first difference: none"))
    ] == []


def test_the_same_text_stands_in_the_json() -> None:
    document = json.dumps({MARKS: [MARKS]}, ensure_ascii=False)
    assert json.loads(json_text(document)) == {MARKS: [MARKS]}
    assert json_text(document).isprintable()


def test_lines_stay_lines_only_where_they_may() -> None:
    assert visible("年\ta\nb\r\u202ec") == "年\ta\nb\\x0d\\u202ec"
    assert one_line("年\ta\nb") == "年\\x09a\\x0ab"


def test_what_is_no_jws_is_not_copied_as_one() -> None:
    assert copies(b"\x1b[31m\nrm -rf ~/x\n", None, None)["jws"] is None


@pytest.mark.parametrize(
    "command",
    [("show", "--as", "muni/28100"), ("show", "--sequence", "--members"), ("show", "--person", "r-000001")],
)
@pytest.mark.parametrize("address", ["odd", "", "a/b/c/d"])
def test_one_odd_address_spoils_no_other_partys_view(
    odd: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], command: tuple[str, ...], address: str
) -> None:
    path = make_trace(tmp_path / "story.trace")
    edit(path, "UPDATE party SET address = ? WHERE address = 'muni/01208/child-allowance'", address)
    with pytest.raises(SystemExit) as ended:
        make_root(nodes=None, scenarios=None).main(["trace", command[0], str(path), *command[1:]])
    assert ended.value.code == 0
    assert "tax.income.v1" in capfd.readouterr().out


def test_damage_among_a_persons_messages_is_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = make_trace(tmp_path / "story.trace")
    edit(path, "UPDATE transmission SET sent_us = 'soon' WHERE number = 4")
    with pytest.raises(SystemExit):
        make_root(nodes=None, scenarios=None).main(["trace", "show", str(path), "--person", "r-000001"])
    gc.collect()
    assert "Traceback" not in capfd.readouterr().err
