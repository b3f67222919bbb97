"""What a run meant: the story, the expectations, and the outcome against the paper process.

What was disclosed to whom is read from the ledgers' `answered` rows, so that a scenario cannot forget it. Which papers,
visits and fees fell away, and how far a push got, a scenario only claims: `settle` holds that against the same rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from msgspec import to_builtins

from mesh.faults import Effect, Plan
from mesh.ledger import Row
from mesh.papers import Claim, Fallback, Paper, Saved, settle, visits_of
from mesh.party import UNKNOWN_TYPE
from mesh.reach import Invitation, Reach
from mesh.records import CodeOf, Records
from mesh.refusals import Refusal, behind, gathered
from mesh.service import Declaration
from mesh.story import Sentence
from mesh.trace.rows import NOT_TRIED, Expectation


@dataclass(slots=True)
class Use:
    """How often one service was answered, or one push received, and with which codes it was refused."""

    title: str = ""
    title_ja: str = ""
    """Empty for what nobody declares."""
    answered: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    from_copy: bool = False
    """Whether it is answered from a copy (副本): then each answer says as of when."""


@dataclass(slots=True)
class Report:
    """What a scenario says of itself while it runs."""

    story: list[Sentence] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    """Papers that the scenario says were not needed."""
    invitations: list[Invitation] = field(default_factory=list)
    """Pushes that the scenario says were sent."""
    papers: list[Saved] = field(default_factory=list)
    """Those of the claims that the ledgers bear out."""
    fallbacks: list[Fallback] = field(default_factory=list)
    """The others, and the papers that the scenario says were needed."""
    uploads: list[Paper] = field(default_factory=list)
    """What is attached as before, and comes as a file with the application."""
    push: Reach = field(default_factory=Reach)
    disclosed: dict[str, Counter[str]] = field(default_factory=dict)
    """Who got them → item → how many answers or letters held it."""
    uses: dict[str, Use] = field(default_factory=dict)
    """Service or push → what came of it."""
    failures: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """What failed inside a node: its address, the service or push, and code, declared field and limit."""

    @property
    def fees_saved_yen(self) -> int:
        """The fees of the papers that nobody had to attach."""
        return sum(one.paper.fee_yen for one in self.papers)

    @property
    def visits_saved(self) -> int:
        """The visits that these papers would have taken."""
        return visits_of(self.papers)

    def settle(self, rows: Iterable[tuple[str, Row]], code_of: CodeOf, pushes: Container[str] = ()) -> None:
        """Hold what the scenario claims of papers and pushes against all parties' rows, in the order of commits."""
        if not self.claims and not self.invitations:
            return
        ways = [way.service for claim in self.claims for way in claim.paper.replaced_by]
        names = [name for one in self.invitations for name in one.services]
        records = Records.of(rows, dict.fromkeys([*ways, *names]), code_of, pushes)
        self.papers, needed = settle(self.claims, records)
        self.fallbacks += needed
        for one in self.invitations:
            self.push.add(one.settle(records))

    def count_answers(self, rows: Iterable[tuple[str, Row]], pushes: Container[str] = ()) -> None:
        """Take up what providers recorded as answered, each in its own ledger: rows with their parties.

        What they answer goes to who asked; what is pushed, under one of these names, came to themselves.
        """
        for party, row in rows:
            if (
                row.entry != "answered"
                or row.code is not None
                or row.service is None
                or row.provider != party
            ):
                continue
            self.uses.setdefault(row.service, Use()).answered += 1
            if row.items is not None:
                to = row.provider if row.service in pushes else row.requester
                self.disclosed.setdefault(to or "", Counter()).update(row.items.split())

    def count_failure(self, address: str, about: str, said: str) -> None:
        """Take up that something failed inside a node, such as an answer that does not fit its declaration."""
        self.failures[address, about, said] += 1

    def failure_lines(self) -> list[str]:
        """What failed inside nodes, a line each."""
        return [
            f"{address}, {about}: {said}{f' × {times}' if times > 1 else ''}"
            for (address, about, said), times in self.failures.items()
        ]

    def count_refusals(self, refusals: Iterable[tuple[str, str, int]]) -> None:
        """Take up how often a service or push was refused with which code: (service, code, times)."""
        for service, code, times in refusals:
            self.uses.setdefault(service, Use()).refusals[code] += times

    def entitle(self, declarations: Mapping[str, Declaration]) -> None:
        """Take up what is declared of services and pushes: what they are called, and whether a copy answers."""
        for name, use in self.uses.items():
            if name == UNKNOWN_TYPE:
                use.title, use.title_ja = "Lines refused before they were read", "読む前に拒否された行"
            declared = declarations.get(name)
            if declared is not None:
                use.title, use.title_ja = declared.title, declared.title_ja
                use.from_copy = getattr(declared, "from_copy", False)

    @property
    def from_copies(self) -> list[str]:
        """The services that were answered from a copy."""
        return [name for name, use in sorted(self.uses.items()) if use.from_copy and use.answered]

    def outcome(self, elapsed_us: int) -> dict[str, Any]:
        """The outcome as `run --json` gives it."""
        return {
            "papers": [one.as_json() for one in self.papers],
            "fees_saved_yen": self.fees_saved_yen,
            "visits_saved": self.visits_saved,
            "push": asdict(self.push),
            "disclosed": [
                {"to": to, "items": list(items), "answers": dict(items)}
                for to, items in sorted(self.disclosed.items())
            ],
            "fallbacks": [asdict(fallback) for fallback in self.fallbacks],
            "uploads": [{"name": paper.name, "name_ja": paper.name_ja} for paper in self.uploads],
            "elapsed_us": elapsed_us,
        }


EXPECTS_NOTHING = (
    "The scenario expects nothing: state with sim.expect what must hold",
    "期待が一つもありません。成り立つべきことをsim.expectで述べてください",
)
"""Why a run that states no expectation does not hold."""
FROM_COPIES: Final = ("answered from a copy, each says as of when", "副本による回答（いつ時点かを明示）")
REFUSED_PUSHES: Final = ("Refused pushes", "拒否されたプッシュ")
"""What heads them wherever they are shown."""


def refused_before(one: Refusal) -> str:
    """How a failed expectation points to a refusal that may have caused it."""
    return f"refused before / 直前の拒否: {one.as_line()}"


AS_WITHOUT_FAULTS: Final = (
    "An expectation failed under these faults: the story is as the scenario tells it without faults. What happened is in "
    "the expectations, the outcome and the messages.",
    "この障害の下で成立しなかった期待がある。あらましは障害のない場合の筋書きのままであり、実際に起きたことは期待・結果・電文が示す。",
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
    refused: tuple[Refusal, ...] = ()
    """Every refusal, in the order of sending."""

    @property
    def refused_pushes(self) -> list[Refusal]:
        """The pushes that were refused, alike ones counted together: nobody waits for an answer who would tell."""
        return gathered(one for one in self.refused if one.push)

    def behind(self, place: int | None) -> list[Refusal]:
        """The unexpected refusals since the last expectation that held, up to one that failed; None for the end."""
        return list(behind(self.expectations, self.refused, place).refusals)

    @property
    def held(self) -> bool:
        """Whether every expectation that was tried held, and there were some."""
        came = self.error is None and not any(one.failed for one in self.expectations)
        return came and any(one.held for one in self.expectations)

    def as_json(self) -> dict[str, Any]:
        """The run as `run --json` gives it."""
        expectations = [
            one.as_json()
            | ({"refusals": [refusal.as_json() for refusal in self.behind(place)]} if one.failed else {})
            for place, one in enumerate(self.expectations)
        ]
        return {
            "scenario": self.scenario,
            "title": self.title,
            "title_ja": self.title_ja,
            "seed": self.seed,
            "settings": self.settings,
            "faults": None if self.faults is None else self.faults.as_json(),
            "held": self.held,
            "error": self.error,
            "story": [one.as_json() for one in self.report.story],
            "expectations": expectations,
            "failures": [
                {"node": address, "about": about, "what": said, "times": times}
                for (address, about, said), times in self.report.failures.items()
            ],
            "trace": self.trace,
            "messages": self.messages,
            "refusals": self.refusals,
            "refused_pushes": [one.as_json() for one in self.refused_pushes],
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
        for sentence in self.report.story:
            lines += [f"  {sentence.text}", f"  {sentence.text_ja}"]
        lines += ["", "Expectations / 期待"]
        for place, one in enumerate(self.expectations):
            lines += _expectation_lines(one)
            lines += [f"          {text}" for text in self.pointers(place)]
        if self.error:
            lines.append(f"  FAILED  the scenario broke off: {self.error}")
            lines += [f"          {text}" for text in self.pointers(None)]
        elif not self.expectations:
            text, text_ja = EXPECTS_NOTHING
            lines += [f"  FAILED  {text}", f"          {text_ja}"]
        if self.refused_pushes:
            lines += ["", " / ".join(REFUSED_PUSHES)]
            lines += [f"  {one.as_line()}" for one in self.refused_pushes]
        lines += ["", "Outcome against paper / 紙の手続との比較"]
        return lines + [f"  {line}" for line in self._outcome_lines()]

    def pointers(self, place: int | None) -> list[str]:
        """Where to look for why an expectation failed, or why the scenario broke off (None); nothing for one that held."""
        if place is None:
            return [refused_before(one) for one in self.behind(None)]
        one = self.expectations[place]
        if not one.failed:
            return []
        see = [f"see: trace show FILE --message {one.message}"] if one.message else []
        return see + [refused_before(refusal) for refusal in self.behind(place)]

    def _outcome_lines(self) -> list[str]:
        report = self.report
        lines = ["papers not attached / 添付不要になった書類:"]
        for saved in report.papers:
            paper = saved.paper
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
        if report.from_copies:
            lines.append(f"{' / '.join(FROM_COPIES)}: {', '.join(report.from_copies)}")
        lines.append("fell back to paper / 紙に戻ったもの:")
        for one in report.fallbacks:
            lines.append(f"  {one.paper} / {one.paper_ja}: {one.why} / {one.why_ja}")
        if report.uploads:
            lines.append("attached as before, as files / 引き続き添付（データで提出）:")
            lines += [f"  {paper.name} / {paper.name_ja}" for paper in report.uploads]
        if report.failures:
            lines.append("failed before sending or while handling / 送信前・処理中の失敗:")
            lines += [f"  {one}" for one in report.failure_lines()]
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
