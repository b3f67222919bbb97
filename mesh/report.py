"""What a run meant: the story, the expectations, and the outcome against the paper process.

What was disclosed to whom is read from the ledgers' `answered` rows, so that a scenario cannot forget it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from msgspec import to_builtins

from mesh.faults import Effect, Plan
from mesh.ledger import Row
from mesh.trace.rows import NOT_TRIED, Expectation


@dataclass(frozen=True, slots=True)
class Paper:
    """A paper of the old process: which counter issues it, at what fee, and where that is stated."""

    name: str
    name_ja: str
    counter: str
    counter_ja: str
    fee_yen: int
    """0 for the many papers that are free."""
    source: str
    """A citation, or "illustrative"."""


@dataclass(frozen=True, slots=True)
class Fallback:
    """A paper that was needed after all, and why."""

    paper: str
    paper_ja: str
    why: str
    why_ja: str


@dataclass(slots=True)
class Reach:
    """How far a push-type service (プッシュ型サービス) got, in persons or households as the scenario counts.

    A push invites; who did not answer is neither `accepted` nor `declined`.
    """

    eligible: int = 0
    """Who should have been reached."""
    notified: int = 0
    """Who was reached, rightly or not."""
    accepted: int = 0
    declined: int = 0
    mistaken: int = 0
    """Who was reached, or chosen to be, without reason (false positives)."""

    def add(self, other: Reach) -> None:
        """Count another push besides."""
        for name, number in asdict(other).items():
            setattr(self, name, getattr(self, name) + number)


@dataclass(slots=True)
class Use:
    """How often one service was answered, or one push received, and with which codes it was refused."""

    title: str = ""
    title_ja: str = ""
    """Empty for what nobody declares."""
    answered: int = 0
    refusals: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Report:
    """What a scenario says of itself while it runs."""

    story: list[tuple[str, str]] = field(default_factory=list)
    papers: list[Paper] = field(default_factory=list)
    visits_saved: int = 0
    fallbacks: list[Fallback] = field(default_factory=list)
    push: Reach = field(default_factory=Reach)
    disclosed: dict[str, Counter[str]] = field(default_factory=dict)
    """Who got them → item → how many answers or letters held it."""
    uses: dict[str, Use] = field(default_factory=dict)
    """Service or push → what came of it."""

    @property
    def fees_saved_yen(self) -> int:
        """The fees of the papers that nobody had to attach."""
        return sum(paper.fee_yen for paper in self.papers)

    def count_answers(self, rows: Iterable[Row], pushes: Container[str] = ()) -> None:
        """Take up what providers recorded as answered.

        What they answer goes to who asked; what is pushed, under one of these names, came to themselves.
        """
        for row in rows:
            if row.entry != "answered" or row.code is not None or row.service is None:
                continue
            self.uses.setdefault(row.service, Use()).answered += 1
            if row.items is not None:
                to = row.provider if row.service in pushes else row.requester
                self.disclosed.setdefault(to or "", Counter()).update(row.items.split())

    def count_refusals(self, refusals: Iterable[tuple[str, str, int]]) -> None:
        """Take up how often a service or push was refused with which code: (service, code, times)."""
        for service, code, times in refusals:
            self.uses.setdefault(service, Use()).refusals[code] += times

    def entitle(self, titles: Mapping[str, tuple[str, str]]) -> None:
        """Take up how services and pushes are called, English and Japanese."""
        for name, use in self.uses.items():
            use.title, use.title_ja = titles.get(name, ("", ""))

    def outcome(self, elapsed_us: int) -> dict[str, Any]:
        """The outcome as `run --json` gives it."""
        return {
            "papers": [asdict(paper) for paper in self.papers],
            "fees_saved_yen": self.fees_saved_yen,
            "visits_saved": self.visits_saved,
            "push": asdict(self.push),
            "disclosed": [
                {"to": to, "items": list(items), "answers": dict(items)}
                for to, items in sorted(self.disclosed.items())
            ],
            "fallbacks": [asdict(fallback) for fallback in self.fallbacks],
            "elapsed_us": elapsed_us,
        }


EXPECTS_NOTHING = (
    "The scenario expects nothing: state with sim.expect what must hold",
    "期待が一つもありません。成り立つべきことをsim.expectで述べてください",
)
"""Why a run that states no expectation does not hold."""
AS_WITHOUT_FAULTS: Final = (
    "An expectation failed under these faults: story, papers and visits are as the scenario tells them without faults. "
    "What happened is in the expectations and in the messages.",
    "この障害の下で成立しなかった期待がある。あらまし・書類・来庁の数は障害のない場合の筋書きのままであり、実際の結果は期待と電文が示す。",
)


@dataclass(frozen=True, slots=True)
class UnderFaults:
    """The fault plan of a run, and what each of its faults met."""

    plan: Plan
    effects: tuple[Effect, ...]

    def as_json(self) -> dict[str, Any]:
        """The faults as `run --json` gives them."""
        effects = [one.as_json() for one in self.effects]
        named = {"name": self.plan.name, "title": self.plan.title, "title_ja": self.plan.title_ja}
        return named | {"plan": to_builtins(self.plan), "effects": effects}

    def as_lines(self, *, held: bool) -> list[str]:
        """The faults as plain text, English and Japanese; `held` is whether the run bore them."""
        plan = self.plan
        lines = [f"under faults / 障害の条件: {plan.name}: {plan.title} / {plan.title_ja}"]
        for one in self.effects:
            lines += [f"  {text}" for text in one.said]
        return lines if held else lines + [f"  {text}" for text in AS_WITHOUT_FAULTS]


@dataclass(frozen=True, slots=True)
class Result:
    """One finished run."""

    scenario: str
    title: str
    title_ja: str
    seed: int
    settings: dict[str, Any]
    expectations: tuple[Expectation, ...]
    report: Report
    trace: str | None
    messages: int
    refusals: dict[str, int]
    elapsed_us: int
    error: str | None = None
    """Why the scenario itself broke off, if it did."""
    faults: UnderFaults | None = None
    """What went wrong besides what the scenario staged."""

    @property
    def held(self) -> bool:
        """Whether every expectation that was tried held, and there were some."""
        came = self.error is None and not any(one.failed for one in self.expectations)
        return came and any(one.held for one in self.expectations)

    def as_json(self) -> dict[str, Any]:
        """The run as `run --json` gives it."""
        return {
            "scenario": self.scenario,
            "title": self.title,
            "title_ja": self.title_ja,
            "seed": self.seed,
            "settings": self.settings,
            "faults": None if self.faults is None else self.faults.as_json(),
            "held": self.held,
            "error": self.error,
            "story": [{"text": text, "text_ja": text_ja} for text, text_ja in self.report.story],
            "expectations": [one.as_json() for one in self.expectations],
            "trace": self.trace,
            "messages": self.messages,
            "refusals": self.refusals,
            "services": [
                {"name": name, **asdict(use), "refusals": dict(use.refusals)}
                for name, use in sorted(self.report.uses.items())
            ],
            "outcome": self.report.outcome(self.elapsed_us),
        }

    def as_lines(self) -> list[str]:
        """The report as plain text, English and Japanese."""
        lines = [
            f"{self.scenario}: {self.title} / {self.title_ja}",
            f"seed {self.seed}, {self.messages} messages",
        ]
        if self.faults is not None:
            lines += self.faults.as_lines(held=self.held)
        lines += ["", "Story / あらまし"]
        for text, text_ja in self.report.story:
            lines += [f"  {text}", f"  {text_ja}"]
        lines += ["", "Expectations / 期待"]
        for one in self.expectations:
            lines += _expectation_lines(one)
            if one.failed and one.message:
                lines.append(f"          see: trace show FILE --message {one.message}")
        if self.error:
            lines.append(f"  FAILED  the scenario broke off: {self.error}")
        elif not self.expectations:
            text, text_ja = EXPECTS_NOTHING
            lines += [f"  FAILED  {text}", f"          {text_ja}"]
        lines += ["", "Outcome against paper / 紙の手続との比較"]
        return lines + [f"  {line}" for line in self._outcome_lines()]

    def _outcome_lines(self) -> list[str]:
        report = self.report
        lines = ["papers not attached / 添付不要になった書類:"]
        for paper in report.papers:
            fee = f"{paper.fee_yen} yen" if paper.fee_yen else "free"
            lines.append(f"  {paper.name} / {paper.name_ja} ({paper.counter} / {paper.counter_ja}, {fee})")
        lines.append(f"fees saved / 手数料: {report.fees_saved_yen} yen")
        lines.append(f"visits saved / 来庁・郵送の削減: {report.visits_saved}")
        push = report.push
        if push != Reach():
            lines.append(
                f"push / プッシュ型: {push.eligible} eligible / 対象, {push.notified} notified / 通知, "
                f"{push.accepted} accepted / 申請, {push.declined} declined / 辞退, {push.mistaken} mistaken / 誤検知"
            )
        lines.append("items disclosed / 提供された項目:")
        lines += [f"  to {to}: {', '.join(items)}" for to, items in sorted(report.disclosed.items())]
        lines.append("fell back to paper / 紙に戻ったもの:")
        for one in report.fallbacks:
            lines.append(f"  {one.paper} / {one.paper_ja}: {one.why} / {one.why_ja}")
        lines.append(f"elapsed mesh time / 経過時間: {self.elapsed_us / 1_000_000:.6f} s")
        return lines


def _expectation_lines(one: Expectation) -> list[str]:
    if not one.tried:
        said, said_ja = NOT_TRIED
        return [f"  {said}: {one.text}", f"          {said_ja}：{one.text_ja}"]
    return [f"  {'held  ' if one.held else 'FAILED'}  {one.text}", f"          {one.text_ja}"]


@dataclass(slots=True)
class Totals:
    """What several runs came to, each run counted once."""

    runs: int = 0
    runs_held: int = 0
    expectations: int = 0
    """Those that were tried."""
    expectations_held: int = 0
    messages: int = 0
    refusals: int = 0
    papers: int = 0
    fees_saved_yen: int = 0
    visits_saved: int = 0
    fallbacks: int = 0
    push: Reach = field(default_factory=Reach)

    @classmethod
    def of(cls, results: Sequence[Result]) -> Totals:
        """The sum over the results."""
        totals = cls()
        for result in results:
            report = result.report
            totals.runs += 1
            totals.runs_held += result.held
            totals.expectations += sum(one.tried for one in result.expectations)
            totals.expectations_held += sum(one.held for one in result.expectations)
            totals.messages += result.messages
            totals.refusals += sum(result.refusals.values())
            totals.papers += len(report.papers)
            totals.fees_saved_yen += report.fees_saved_yen
            totals.visits_saved += report.visits_saved
            totals.fallbacks += len(report.fallbacks)
            totals.push.add(report.push)
        return totals
