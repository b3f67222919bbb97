"""A run's report as tables for a terminal, in English and Japanese."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from mesh.cli.output import clean, ruled
from mesh.errors import outer_of
from mesh.reach import Reach
from mesh.report import AS_WITHOUT_FAULTS, EXPECTS_NOTHING, FROM_COPIES, REFUSED_PUSHES, Result, UnderFaults
from mesh.trace.rows import NOT_TRIED


def render(result: Result, console: Console) -> None:
    """Print story, expectations, outcome and papers."""
    console.print(_story(result))
    if result.faults is not None:
        console.print(_faults(result.faults, held=result.held))
    console.print(ruled(("", "Expectation / 期待"), _expectations(result), title="Expectations / 期待"))
    if result.refused_pushes:
        lines = ((clean(one.as_line()),) for one in result.refused_pushes)
        console.print(ruled(("#",), lines, title=" / ".join(REFUSED_PUSHES)))
    console.print(ruled(("Outcome", "結果", ""), _outcome(result), title="Outcome / 結果"))
    if result.report.papers or result.report.fallbacks:
        console.print(
            ruled(
                ("Paper / 書類", "Counter / 窓口", "Fee / 手数料", "Source / 出典"),
                _papers(result),
                title="Papers not attached / 添付不要になった書類",
            )
        )


def _both(text: str, text_ja: str) -> Text:
    return Text.assemble(clean(text), "\n", (clean(text_ja), "dim"))


def _story(result: Result) -> Panel:
    # A frame's own title would be cut where it does not fit.
    title = Text(clean(f"{result.title} / {result.title_ja}\n"), "bold")
    body = Text("\n").join([title, *(_both(one.text, one.text_ja) for one in result.report.story)])
    name = Text(clean(result.scenario), "bold")
    return Panel(body, title=name, title_align="left", subtitle=f"seed {result.seed}")


def _faults(under: UnderFaults, *, held: bool) -> Panel:
    """A frame of its own, in another colour: what follows held or failed under these."""
    lines = [(under.plan.title, under.plan.title_ja), *(one.said for one in under.effects)]
    if not held:
        lines.append(AS_WITHOUT_FAULTS)
    title = clean(f"Under faults / 障害の条件: {under.plan.name}")
    return Panel(
        Text("\n").join(_both(*line) for line in lines),
        title=Text(title, "bold"),
        title_align="left",
        border_style="yellow",
    )


def _expectations(result: Result) -> Iterator[tuple[Text, Text]]:
    for place, one in enumerate(result.expectations):
        text = _both(one.text, one.text_ja)
        if not one.tried:
            text.append("\n").append_text(_both(*NOT_TRIED))
        yield _mark(one.held) if one.tried else Text("–"), _pointed(text, result.pointers(place))
    if result.error:
        broke_off = Text(clean(f"the scenario broke off: {result.error}"))
        yield _mark(False), _pointed(broke_off, result.pointers(None))
    elif not result.expectations:
        yield _mark(False), _both(*EXPECTS_NOTHING)


def _mark(held: bool) -> Text:
    return Text("✓", "bold green") if held else Text("✗", "bold red")


def _pointed(text: Text, pointers: list[str]) -> Text:
    """A text and, below it, where to look for why."""
    for one in pointers:
        text.append("\n" + clean(one), "yellow")
    return text


def _outcome(result: Result) -> Iterator[tuple[str, str, str]]:
    report = result.report
    yield "messages", "電文", f"{result.messages:,}"
    yield "refusals", "照会拒否など", ", ".join(_refusals(result)) or "0"
    yield "papers not attached", "添付不要の書類", str(len(report.papers))
    yield "fees saved", "手数料の節約", f"{report.fees_saved_yen:,} yen"
    yield "visits saved", "来庁・郵送の削減", str(report.visits_saved)
    push = report.push
    if push != Reach():
        yield "push: eligible, notified", "プッシュ型: 対象、通知", f"{push.eligible}, {push.notified}"
        yield "push: accepted, declined", "プッシュ型: 申請、辞退", f"{push.accepted}, {push.declined}"
        yield "push: mistaken", "プッシュ型: 誤検知", str(push.mistaken)
    for to, items in sorted(report.disclosed.items()):
        yield "items disclosed", "提供された項目", clean(f"to {to}: {', '.join(items)}")
    if report.from_copies:
        yield (*FROM_COPIES, clean(", ".join(report.from_copies)))
    for one in report.fallbacks:
        yield (
            "fell back to paper",
            "紙に戻ったもの",
            clean(f"{one.paper}: {one.why}\n{one.paper_ja}: {one.why_ja}"),
        )
    for paper in report.uploads:
        yield (
            "attached as before, as a file",
            "引き続き添付（データで提出）",
            clean(f"{paper.name}\n{paper.name_ja}"),
        )
    for line in report.failure_lines():
        yield "failed before sending or while handling", "送信前・処理中の失敗", clean(line)
    yield "mesh time", "経過時間", f"{result.elapsed_us / 1_000_000:.6f} s"


def _refusals(result: Result) -> Iterator[str]:
    """How often each code was given, and of what was sealed, why."""
    reasons = Counter(one.code for one in result.refused if outer_of(one.code) != one.code)
    for code, times in result.refusals.items():
        why = ", ".join(
            f"{reason} × {n}" for reason, n in sorted(reasons.items()) if outer_of(reason) == code
        )
        yield f"{code} × {times}" + (f" ({why})" if why else "")


def _papers(result: Result) -> Iterator[tuple[Text, Text, str, str]]:
    for saved in result.report.papers:
        paper = saved.paper
        yield (
            _both(paper.name, paper.name_ja),
            _both(paper.counter, paper.counter_ja),
            f"{paper.fee_yen} yen" if paper.fee_yen else "free / 無料",
            clean(paper.source),
        )
