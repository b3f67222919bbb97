"""The HTML report: it says what the run came to, takes nothing from anywhere, and no text breaks out of it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mesh.cli.app import make_root
from mesh.ledger import Row
from mesh.loading import scenarios_of
from mesh.page import charts
from mesh.page.text import clean, duration
from mesh.page.write import MARK, TEMPLATES, Section, render
from mesh.papers import Fallback, Paper, Saved
from mesh.reach import Reach
from mesh.records import Given
from mesh.report import Report, Use
from mesh.report import Result as RunResult
from mesh.runner import run_scenario
from mesh.story import Sentence
from mesh.trace.rows import Expectation

VOID = {"br", "hr", "img", "input", "link", "meta", "rect", "line", "wbr"}
HOSTILE = (
    "</title></style></span><script>alert(1)</script>\"'><img src=x onerror=alert(2)>&lt;{{ 77 * 77 }}{% x %}"
)
MARKS = "\x00\x1b\x9b\u202e\u2066\u200f\u2028\udc80"


class Reader(HTMLParser):
    """The elements of a page in order, its text, and what is open where it should not be."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


BIRTH = scenarios_of("scenarios")["birth"]


@pytest.fixture(scope="module")
def birth() -> Section:
    return Section(
        BIRTH, run_scenario(BIRTH, nodes="nodes"), "uv run run_sim.py run birth --seed 1", "ab" * 32
    )


def saved(paper: Paper, said: str = "x") -> Saved:
    """A paper that one answer replaced."""
    return Saved(
        paper, (said,), (Given(1, Row("answered", 1, said, said, provider="muni/28100/tax", service=said)),)
    )


def made_up(said: str, *, held: bool = False) -> Section:
    """A run in which everything that can be a text is this one."""
    report = Report(
        story=[Sentence(said, said, ((0, 3), (5, 5)))],
        papers=[saved(Paper(said, said, said, said, 300, said, said), said)] * 2,
        fallbacks=[Fallback(said, said, said, said)],
        push=Reach(10, 8, 3, 1, 2),
        disclosed={said: Counter({said: 3}), "gov/portal/inbox": Counter({"due": 1})},
        uses={said: Use(said, said, 4, Counter({said: 2}))},
    )
    expectations = (Expectation(said, said, held, said),)
    result = RunResult(said, said, said, 1, {said: said}, expectations, report, None, 9, {said: 2}, 61_000_000,
                       None if held else said)  # fmt: skip
    return Section(BIRTH, result, said, None)


# What it says.


def test_a_page_says_in_both_languages_what_the_run_came_to(birth: Section) -> None:
    text = "".join(Reader(render([birth])).text)
    result = birth.result
    for one in result.expectations:
        assert one.text in text
        assert one.text_ja in text
        assert one.message is None or one.message in text
    first = result.report.story[0]
    for said in (result.title, result.title_ja, first.text, first.text_ja, f"#0–{first.messages[0][1]}"):
        assert said in text
    for one in result.report.papers:
        paper = one.paper
        assert all(message in text for message in one.messages)
        for said in (paper.name, paper.name_ja, paper.counter, paper.counter_ja, paper.source):
            assert said in text
    assert "SHA-256 " + "ab" * 32 in text
    assert "uv run run_sim.py run birth --seed 1" in text
    assert "2026-05-20T09:00:00+09:00" in text
    for service, use in result.report.uses.items():
        assert service in text
        assert use.title_ja in text
        assert use.title_ja
    for source in BIRTH.sources:
        assert source in text


def test_every_text_stands_in_both_languages(birth: Section) -> None:
    languages = Counter(
        value for name, value in Reader(render([birth, made_up("x")])).attributes if name == "lang"
    )
    assert languages["en"] == languages["ja"] - 1  # the page itself is Japanese


def test_a_failure_is_seen_at_once() -> None:
    page = render([made_up("It is so.")])
    assert "0 of 1 expectations held" in page
    assert "期待 1件中0件が成立" in page
    assert 'class="verdict failed"' in page
    assert "The scenario broke off:" in page
    assert 'class="verdict held"' not in page


def test_several_runs_begin_with_one_table(birth: Section) -> None:
    page = render([birth, made_up("Other", held=True)])
    text = "".join(Reader(page).text)
    assert "2件のシナリオ" in text
    assert page.count("<article") == 2
    assert 'href="#run-2"' in page
    assert 'id="run-2"' in page
    assert f"{len(birth.result.expectations) + 1}/{len(birth.result.expectations) + 1}" in text
    assert "<article" in render([birth])
    assert "件のシナリオ" not in render([birth])


def test_the_same_runs_make_the_same_bytes(birth: Section) -> None:
    assert render([birth]) == render([birth])


# What it is.


def test_a_page_takes_nothing_from_anywhere_and_runs_nothing(birth: Section) -> None:
    page = render([birth, made_up("x")])
    read = Reader(page)
    assert {"script", "link", "img", "iframe", "object", "use", "form"}.isdisjoint(read.tags)
    assert [name for name, _ in read.attributes if name in ("src", "style") or name.startswith("on")] == []
    assert all((value or "").startswith("#") for name, value in read.attributes if name == "href")
    assert re.findall(r"url\(|@import|https?:", page) == []


def test_charts_can_be_read_without_being_seen(birth: Section) -> None:
    page = render([made_up("x"), birth])
    drawn = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert drawn
    for one in drawn:
        assert 'role="img"' in one
        assert re.search(r"<title[^>]*>[^<]+</title>", one)
    assert "対象 10、通知 8、申請・受諾 3、辞退 1、誤検知 2" in page
    assert '<th scope="row">' in page
    assert '<th scope="col">' in page


def _luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_colours_have_the_contrast_of_wcag_aa() -> None:
    style = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    themes = [
        dict(re.findall(r"--([\w-]+): (#\w+)", block)) for block in re.findall(r":root \{[^}]*\}", style)
    ]
    assert len(themes) == 3  # light, dark, print
    for theme in themes:
        for ink, ground, least in (
            ("ink", "page", 7.0), ("quiet", "page", 4.5), ("accent", "page", 4.5), ("fail", "page", 4.5),
            ("ink", "wash", 4.5), ("accent", "wash", 4.5), ("ink", "fail-wash", 4.5), ("fail", "fail-wash", 4.5),
            ("quiet", "fail-wash", 4.5), ("ink", "hair", 4.5), ("second", "page", 3.0),
        ):  # fmt: skip
            bright, dark = sorted((_luminance(theme[ink]), _luminance(theme[ground])), reverse=True)
            assert (bright + 0.05) / (dark + 0.05) >= least, (ink, ground, theme)


# What no text can do.


def test_no_text_changes_the_elements_of_a_page() -> None:
    harmless, hostile = Reader(render([made_up("x")])), Reader(render([made_up(HOSTILE)]))
    assert [tag for tag in hostile.tags if tag != "wbr"] == [tag for tag in harmless.tags if tag != "wbr"]
    assert [name for name, _ in hostile.attributes] == [name for name, _ in harmless.attributes]
    assert "".join(hostile.text).count(HOSTILE) >= 10
    assert "5929" not in "".join(hostile.text)


def test_no_mark_turns_or_hides_what_stands_beside_it() -> None:
    page = render([made_up(f"before{MARKS}after")])
    assert [char for char in MARKS if char in page] == []
    assert r"before\x00\x1b\x9b\u202e\u2066\u200f\u2028\udc80after" in page
    page.encode()


def test_text_is_cleaned_once_and_what_is_no_text_stays() -> None:
    assert clean("a\tb\nc") == "a\tb\nc"
    assert clean(r"\x00") == r"\x00"
    assert clean(5) == 5


# What the charts show.


def test_papers_stand_by_counter_the_busiest_first() -> None:
    one = Paper("A", "あ", "tax", "税", 300, "s")
    other = Paper("B", "い", "tax", "税", 0, "s")
    third = Paper("C", "う", "school", "学校", 0, "s")
    first, second = charts.by_counter([saved(paper) for paper in (third, one, one, other)])
    assert (first.counter, first.count, first.fee_yen, first.share) == ("tax", 3, 600, 100.0)
    assert [(paper, len(those)) for paper, those in first.papers] == [(one, 2), (other, 1)]
    assert (second.counter, second.count, second.fee_yen) == ("school", 1, 0)
    assert second.share == pytest.approx(100 / 3)
    assert charts.by_counter([]) == []


def test_many_parties_stand_together_by_role() -> None:
    disclosed = {f"muni/{code:05}/tax": Counter(income=2) for code in range(20)}
    made = charts.matrix(disclosed | {"gov/portal/inbox": Counter(due=1), "": Counter(due=1)})
    assert made.parties == (("", 1), ("gov/portal/inbox", 1), ("muni/*/tax", 20))
    assert made.rows == (("due", (1, 1, 0)), ("income", (0, 0, 40)))
    few = charts.matrix({"muni/01208/tax": Counter(a=1), "gov/portal/inbox": Counter(b=2)})
    assert few.parties == (("gov/portal/inbox", 1), ("muni/01208/tax", 1))
    assert few.rows == (("a", (0, 1)), ("b", (2, 0)))


def test_bars_are_to_one_scale() -> None:
    steps = {one.title: one for one in charts.reach_steps(Reach(100, 80, 40, 10, 20), width=200)}
    assert [steps[name].width for name in ("Eligible", "Notified", "Accepted", "Declined")] == [
        200,
        160,
        80,
        20,
    ]
    assert steps["Notified"].mistaken == 40
    assert charts.reach_steps(Reach(0, 0, 0, 0, 3), width=200)[1].mistaken == 200  # nobody else was
    busy, idle = charts.services({"a.b.v1": Use("", "", 1), "c.d.v1": Use("", "", 6, Counter(not_found=2))})
    assert (busy.name, busy.answered_share, busy.refused_share) == ("c.d.v1", 75.0, 25.0)
    assert idle.answered_share == 12.5


@pytest.mark.parametrize(
    ("elapsed_us", "en", "ja"),
    [
        (0, "0.00 s", "0.00秒"),
        (1_600_000, "1.60 s", "1.60秒"),
        (87_040_000, "1 min 27 s", "1分27秒"),
        (7_260_000_000, "2 h 1 min", "2時間1分"),
        (1_350_061_020_000, "15 d 15 h", "15日15時間"),
    ],
)
def test_mesh_time_is_told_in_its_two_largest_units(elapsed_us: int, en: str, ja: str) -> None:
    assert duration(elapsed_us) == (en, ja)


# The command.


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)
    root = make_root(nodes="nodes", scenarios="scenarios")
    return lambda *args: CliRunner().invoke(root, ["run", "birth", *args], prog_name="run_sim.py")


def test_the_command_writes_one_page(cli: Callable[..., Result]) -> None:
    result = cli(
        "--report", "out/r.html", "--trace", "t.trace", "--set", "away_s=30", "--seed", "3", "--json"
    )
    assert result.exit_code == 0
    made = json.loads(result.stdout)
    assert made["held"] is True
    assert made["totals"]["fees_saved_yen"] == made["runs"][0]["outcome"]["fees_saved_yen"] == 0
    assert made["totals"]["papers"] == len(made["runs"][0]["outcome"]["papers"]) > 0
    assert made["totals"]["push"] == made["runs"][0]["outcome"]["push"]
    assert "report: out/r.html" in result.stderr
    page = Path("out/r.html").read_text(encoding="utf-8")
    assert page.startswith(MARK)
    assert "run birth --seed 3 --set away_s=30 --trace t.trace" in page
    digest = CliRunner().invoke(make_root(nodes=None, scenarios=None), ["trace", "digest", "t.trace"]).stdout
    assert digest.split()[0] in page
    assert cli("--report", "out/r.html").exit_code == 0  # a page replaces a page


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--report", "mine.txt"), "is no report"),
        (("--report", "."), "is a folder"),
        (("--report", "x.html", "--trace", "x.html"), "for the trace too"),
    ],
)
def test_what_stands_in_the_way_is_said_before_anything_runs(
    cli: Callable[..., Result], options: tuple[Any, ...], said: str
) -> None:
    Path("mine.txt").write_text("somebody's work", encoding="utf-8")
    result = cli(*options)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert said in result.stderr
    assert Path("mine.txt").read_text(encoding="utf-8") == "somebody's work"
