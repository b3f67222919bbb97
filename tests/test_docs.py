"""The documents against the program: commands run as they stand, output shown is real, drawings are drawn.

A command of README runs in a folder of its own, with a home of its own: `uv run X.py` becomes this interpreter on
the same file, and everything else is left to bash. `uv run pytest tests/test_docs.py --renew` redraws the
state diagrams in ARCHITECTURE.md and the tables of scenarios and source systems in README.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from mesh import exchange
from mesh.cli.app import make_root
from mesh.drawing import draw_states
from mesh.errors import CODES, Again
from mesh.loading import scenarios_of
from nodes.data.source_systems import read_source_systems
from tests.helpers_waiting import HANG_S

ROOT = Path(__file__).parent.parent
READMES = ("README.md", "README.ja.md")
SCENARIOS = scenarios_of("scenarios")
DOCUMENTS = (*READMES, "ARCHITECTURE.md", "CHANGELOG.md", "LICENSE")
NOT_RUN = {
    "pip install": "it installs uv, or runs all tests from within a test",
    "uv run run_sim.py view": "it serves until somebody stops it; tests of its own cover it",
    "uv run run_sim.py bench": "it measures for a long time; tests of its own cover it",
}
"""How a command begins that is not run here, and why."""
OMITTED = "…"

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SAVED_AS = re.compile(r"`~/mine/(\w+\.py)`[^`]*\Z")


class Fence(NamedTuple):
    """One fenced block: its language, its text, and the file as which the sentence before it saves it."""

    language: str
    text: str
    saved_as: str | None


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def fences(text: str) -> list[Fence]:
    found = []
    for match in _FENCE.finditer(text):
        saved = _SAVED_AS.search(text[: match.start()])
        found.append(Fence(match[1], match[2], saved[1] if saved and match[1] == "python" else None))
    return found


class Shell:
    """Runs blocks of README in a folder outside the repository."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.cwd = folder / "work"
        self.mine = self.home / "mine"
        self.mine.mkdir(parents=True)
        self.cwd.mkdir()

    def run(self, block: str) -> str:
        """What the block prints; the test fails if one of its commands does."""
        python = shlex.quote(sys.executable)
        script = block.replace("uv run run_sim.py", f"{python} {shlex.quote(str(ROOT / 'run_sim.py'))}")
        script = script.replace("uv run --project PATH/TO/CLONE meshsim", f"{python} -P -m run_sim")
        script = script.replace("uv run pytest ", f"{python} -m pytest ")
        script = script.replace("uv run ", f"{python} ")
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.mine if "PATH/TO/CLONE" in block else self.cwd,
            env=os.environ | {"HOME": str(self.home), "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
            capture_output=True,
            encoding="utf-8",
            timeout=HANG_S,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell(tmp_path_factory.mktemp("reader"))


def first_unreal(shown: str, printed: list[str]) -> str | None:
    """The first part of a shown output that was not printed so; only at … may lines be left out."""
    at, gap = 0, False
    for part in re.split(rf"^{OMITTED}$\n?", shown, flags=re.MULTILINE):
        wanted = part.splitlines()
        starts = range(at, len(printed) - len(wanted) + 1) if gap else (at,)
        found = next((start for start in starts if printed[start : start + len(wanted)] == wanted), None)
        if found is None:
            return part
        at, gap = found + len(wanted), True
    left_out = shown.splitlines()[-1] == OMITTED
    return None if at == len(printed) or left_out else "\n".join(printed[at:])


@pytest.mark.parametrize(
    ("shown", "real"),
    [
        ("a\nb\n…\n", True),
        ("a\nb\nc\nd\n", True),
        ("…\nd\n", True),
        ("a\n…\nc\n…\n", True),
        ("b\n…\n", False),
        ("a\nb\n", False),
        ("a\nc\nd\n", False),
        ("a\n…\nx\n…\n", False),
    ],
)
def test_only_marked_omissions_pass(shown: str, real: bool) -> None:
    assert (first_unreal(shown, ["a", "b", "c", "d"]) is None) is real


def save_snippets(shell: Shell, text: str) -> None:
    for fence in fences(text):
        if fence.language == "python":
            assert fence.saved_as, f"README does not say as what this is saved:\n{fence.text}"
            (shell.mine / fence.saved_as).write_text(fence.text, encoding="utf-8")


def blocks(text: str) -> Iterator[tuple[str, str | None]]:
    """Each block of commands that is run here, with the output that README shows of it."""
    found = fences(text)
    for fence, following in zip(found, [*found[1:], None], strict=True):
        if fence.language == "bash" and not any(start in fence.text for start in NOT_RUN):
            shown = following.text if following is not None and following.language == "text" else None
            yield fence.text, shown


@pytest.mark.parametrize("start", NOT_RUN)
def test_what_is_not_run_stands_in_readme(start: str) -> None:
    assert any(fence.language == "bash" and start in fence.text for fence in fences(read("README.md")))


def check_block(shell: Shell, block: str, shown: str | None) -> None:
    printed = shell.run(block).splitlines()
    unreal = None if shown is None else first_unreal(shown, printed)
    assert unreal is None, f"README shows of\n{block}what it does not print so:\n{unreal}"


def test_what_readme_says_runs_and_prints_what_it_shows(shell: Shell) -> None:
    """Everything in the order of reading, as a reader would type it."""
    text = read("README.md")
    save_snippets(shell, text)
    for block, shown in blocks(text):
        if "openssl" not in block:
            check_block(shell, block, shown)


@pytest.mark.skipif(
    shutil.which("openssl") is None, reason="NO OPENSSL HERE: README's check of a JWS did not run"
)
def test_readme_checks_a_signature_with_openssl(shell: Shell) -> None:
    text = read("README.md")
    save_snippets(shell, text)
    shell.run("uv run run_sim.py run child_allowance --trace traces/child_allowance.trace")
    ((block, shown),) = [one for one in blocks(text) if "openssl" in one[0]]
    check_block(shell, block, shown)
    # The check can fail: another message's bytes do not have this signature.
    (shell.cwd / "signed").write_bytes((shell.cwd / "signed").read_bytes() + b"A")
    with pytest.raises(AssertionError, match="Verif"):
        shell.run(block.splitlines()[-1])


def test_both_readmes_have_the_same_commands_and_snippets() -> None:
    english, japanese = (fences(read(name)) for name in READMES)
    assert english == japanese


def commands(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    """Every command with what is typed for it."""
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


@pytest.mark.parametrize("name", READMES)
def test_every_command_and_option_is_in_readme(name: str) -> None:
    text = read(name)
    root = make_root(nodes=None, scenarios=None)
    known = [("run_sim.py", root), *commands(root, "run_sim.py")]
    assert [typed for typed, _ in known if f"`{typed}" not in text] == []
    options = {
        option
        for _, command in known
        for one in command.params
        if isinstance(one, click.Option)
        for option in one.opts
    }
    assert [option for option in sorted(options) if f"`{option}" not in text] == []


@pytest.mark.parametrize("name", READMES)
def test_readme_names_no_command_that_does_not_exist(name: str) -> None:
    root = make_root(nodes="nodes", scenarios="scenarios")
    known = {typed.split(maxsplit=1)[1] for typed, _ in commands(root, "run_sim.py")}
    named = re.findall(r"run_sim\.py ([a-z]+(?: [a-z]+)?)", read(name))
    assert [one for one in named if one not in known and one.split()[0] not in known] == []


def check_drawn(file: str, marker: str, drawn: str, *, renew: bool) -> None:
    """What stands in a document between `<!-- marker -->` and `<!-- /… -->` is what the program says."""
    opening, closing = f"<!-- {marker} -->", f"<!-- /{marker.partition(':')[0]} -->"
    before, _, rest = read(file).partition(opening)
    stored, _, after = rest.partition(closing)
    if renew:
        (ROOT / file).write_text(f"{before}{opening}{drawn}{closing}{after}", encoding="utf-8")
        return
    assert stored == drawn, "redraw with `uv run pytest tests/test_docs.py --renew`"


@pytest.mark.parametrize("name", ["REQUESTER", "BROKER", "PROVIDER", "PUBLISHER", "RELAY", "SUBSCRIBER"])
def test_the_drawings_of_the_life_cycles_are_drawn_from_the_tables(name: str, renew: bool) -> None:
    drawn = f"\n```mermaid\n{draw_states(getattr(exchange, name))}\n```\n"
    check_drawn("ARCHITECTURE.md", f"drawn: {name}", drawn, renew=renew)


def table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


@pytest.mark.parametrize("file", READMES)
def test_the_scenarios_stand_in_a_table(file: str, renew: bool) -> None:
    japanese = file == "README.ja.md"
    rows = [
        (f"`{one.name}`", one.title_ja if japanese else one.title, ", ".join(map(str, one.rules)))
        for one in SCENARIOS.values()
    ]
    header = ("シナリオ", "内容", "規則") if japanese else ("scenario", "what happens", "rules")
    check_drawn(file, "scenarios", f"\n{table(header, rows)}", renew=renew)


@pytest.mark.parametrize("file", READMES)
def test_what_may_be_tried_again_stands_in_a_table(file: str, renew: bool) -> None:
    japanese = file == "README.ja.md"
    rows = [
        (
            f"`{again.title}`",
            again.text_ja if japanese else again.text,
            ", ".join(f"`{code.name}`" for code in CODES.values() if code.again is again),
        )
        for again in Again
    ]
    header = ("再試行", "意味", "コード") if japanese else ("try again", "what it means", "codes")
    check_drawn(file, "again", f"\n{table(header, rows)}", renew=renew)


@pytest.mark.parametrize("file", READMES)
def test_the_source_systems_stand_in_a_table_with_nothing_missing(file: str, renew: bool) -> None:
    japanese, rows = file == "README.ja.md", []
    for system in read_source_systems():
        names = [one.name for one in SCENARIOS.values() if system.name_ja in one.sources]
        assert names, f"no scenario exercises {system.name_ja}"
        title = system.name_ja if japanese else f"{system.name}, {system.name_ja}: {system.about}"
        rows.append((title, ", ".join(f"`{name}`" for name in names)))
    header = ("元になった制度・システム", "シナリオ") if japanese else ("source system", "scenarios")
    check_drawn(file, "systems", f"\n{table(header, rows)}", renew=renew)


def test_every_scenario_names_a_source_system_and_its_rules() -> None:
    known = {system.name_ja for system in read_source_systems()}
    assert [one.name for one in SCENARIOS.values() if not known & set(one.sources)] == []
    assert [one.name for one in SCENARIOS.values() if not set(one.rules) <= set(range(1, 16))] == []
    assert {rule for one in SCENARIOS.values() for rule in one.rules} == set(range(1, 16))


def test_a_drawing_shows_start_end_and_every_transition() -> None:
    lines = draw_states({("new", "ask"): "open", ("open", "answer"): "closed", ("open", "refuse"): "closed"})
    assert lines.splitlines() == [
        "stateDiagram-v2",
        "    [*] --> new",
        "    new --> open: ask",
        "    open --> closed: answer, refuse",
        "    closed --> [*]",
    ]


def test_readme_opens_with_the_two_commands() -> None:
    for name in READMES:
        first, second, *_ = fences(read(name))
        assert first.text == "pip install uv && uv run run_sim.py\n"
        assert second.text == "pip install uv && uv run pytest\n"


def test_the_changelog_has_the_version_of_the_package() -> None:
    version = tomllib.loads(read("pyproject.toml"))["project"]["version"]
    assert f"\n## [{version}]" in read("CHANGELOG.md")


def test_every_dependency_has_its_reason_in_the_architecture() -> None:
    project = tomllib.loads(read("pyproject.toml"))
    groups = project["dependency-groups"]
    wanted = [*project["project"]["dependencies"], *(one for group in groups.values() for one in group)]
    names = [re.split(r"[<>=!~\[ ]", one)[0] for one in wanted]
    text = read("ARCHITECTURE.md")
    assert [one for one in names if f"`{one}`" not in text] == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_a_document_links_to_exists(name: str) -> None:
    targets = [target for target in re.findall(r"\]\(([^)#]+)", read(name)) if "://" not in target]
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_that_no_specification_is_public_is_said_of_one_system_alone() -> None:
    """The mesh as a whole has published documents; the wire format of the 中間サーバー has none."""
    texts = [ROOT / name for name in DOCUMENTS]
    texts += [file for folder in ("mesh", "nodes", "scenarios") for file in (ROOT / folder).rglob("*.py")]
    said = [
        (file.name, match[0])
        for file in texts
        for match in re.finditer(
            r"[Nn]o\s+public\s+(?:wire\s+)?specification\b[^.;]{0,60}|[^。]{0,60}仕様は\s*公開され[^。]*",
            file.read_text(encoding="utf-8"),
        )
    ]
    assert {name for name, _ in said} >= {"README.md", "README.ja.md", "openapi.py"}
    assert [one for one in said if "中間サーバー" not in one[1]] == []


@pytest.mark.parametrize("file", READMES)
def test_readme_says_what_differs_from_the_real_thing(file: str) -> None:
    text = read(file)
    for said in ("番号法34条", "935", "52.3%", "機能別連携仕様", "連携サーバ", "重点計画"):
        assert said in text, said
