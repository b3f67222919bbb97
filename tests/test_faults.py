"""Runs with faults: what each kind does to an exchange and a push, what a run says of it, and that it repeats."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Struct

from mesh import Caller, LegalBasis, MeshError, Node, PersonalService, Refused, scenario, serves
from mesh.clock import Deadlock, run
from mesh.faults import Plan, drop, recorded_plan
from mesh.loading import plans_of, scenarios_of
from mesh.message import Event, Reply
from mesh.names import BROKER
from mesh.recorder import Fate
from mesh.report import Result
from mesh.runner import run_scenario
from mesh.service import EventType, receives
from mesh.simulation import Simulation
from mesh.testing import messages, simulation
from mesh.trace.diff import diff
from mesh.trace.reader import Trace
from mesh.trace.verify import verify
from tests.helpers_waiting import HANG_S

ROOT = Path(__file__).parent.parent
SCENARIOS, PLANS = scenarios_of("scenarios"), plans_of("scenarios")
DESK, OFFICE, LISTENER = "muni/01208/desk", "muni/28100/office", "muni/28100/listener"


class Query(Struct, frozen=True, forbid_unknown_fields=True): ...


class Amount(Struct, frozen=True):
    amount: int


AMOUNT = PersonalService("faulty.amount.v1", Query, Amount, title="Amount", title_ja="金額")
MOVED = EventType("faulty.moved.v1", title="Moved", title_ja="転入")


class Office(Node):
    @serves(AMOUNT)
    async def amount(self, query: Query, caller: Caller, person: str) -> Amount:
        return Amount(amount=3)


class Listener(Node):
    schema = "CREATE TABLE heard(person TEXT NOT NULL)"

    @receives(MOVED)
    async def heard(self, event: Event, caller: Caller, person: str) -> None:
        with self.effect():
            self.db.execute("INSERT INTO heard VALUES (?)", (person,))

    def times(self) -> int:
        """How often it took effect."""
        return int(self.db.execute("SELECT count(*) AS n FROM heard").fetchone()["n"])


def plan(**faults: Any) -> Plan:
    made = recorded_plan({"name": "mishap", "title": "Mishap", "title_ja": "事故"} | faults)
    assert made is not None
    return made


@contextmanager
def town(**faults: Any) -> Iterator[Simulation]:
    with simulation(faults=plan(**faults) if faults else None) as sim:
        furnish(sim)
        yield sim


def furnish(sim: Simulation) -> None:
    sim.add(Node, DESK)
    sim.add(Office, OFFICE)
    sim.add(Listener, LISTENER)
    sim.allow(LegalBasis(DESK, "relief", OFFICE, AMOUNT.name, ("amount",)))
    sim.allow(LegalBasis(LISTENER, "relief", DESK, MOVED.name, ()))


async def ask(sim: Simulation, **options: Any) -> str:
    """The code with which a question is refused, or what it brings."""
    person = sim.code("muni/01208", sim.resident("12345678901"))
    try:
        answer = await sim.node(DESK).ask(
            OFFICE, AMOUNT, Query(), subject=person, procedure="relief", **options
        )
    except Refused as refused:
        return refused.code
    return str(answer.amount)


def publish(sim: Simulation) -> None:
    sim.node(DESK).publish(MOVED, sim.code("muni/01208", sim.resident("12345678901")))


def met(sim: Simulation) -> list[int]:
    assert sim.faults is not None
    return [one.met for one in sim.faults.effects(sim.addresses)]


def fates(sim: Simulation) -> list[str]:
    return [one.fate for one in messages(sim)]


# Each kind.


async def test_a_lost_line_is_a_timeout_and_asked_again_an_answer() -> None:
    with town(loss=[{"sender": DESK, "times": 1}]) as sim:
        assert await ask(sim, attempts=1) == "timeout"
        assert fates(sim) == [Fate.DROPPED]
        assert await ask(sim) == "3"
        assert met(sim) == [1]
    with town(loss=[{"sender": DESK, "times": 1}]) as sim:
        assert await ask(sim) == "3"


async def test_chance_loses_about_its_share() -> None:
    with town(loss=[{"sender": DESK, "chance": 0.3}]) as sim:
        lost = [await ask(sim, attempts=1) for _ in range(200)].count("timeout")
    assert 40 < lost < 80


async def test_a_delay_makes_late_and_jitter_lets_lines_overtake() -> None:
    with town(delay=[{"delay_s": 1, "jitter_s": 2}]) as sim:
        person = sim.code("muni/01208", sim.resident("12345678901"))
        for _ in range(20):
            sim.node(DESK).publish(MOVED, person)
        await sim.sleep(60)
        assert sim.node(LISTENER, Listener).times() == 20
        sim.trace.commit()
        rows = sim.trace.db.execute("SELECT sent_us, arrived_us FROM transmission ORDER BY number").fetchall()
    ways = [arrived - sent for sent, arrived in rows]
    assert 1_005_000 <= min(ways) < 1_300_000
    assert 2_700_000 < max(ways) <= 3_005_000
    assert [arrived for _, arrived in rows] != sorted(arrived for _, arrived in rows)


async def test_what_is_later_than_anybody_waits_is_a_timeout() -> None:
    with town(delay=[{"sender": OFFICE, "delay_s": 40}]) as sim:
        assert await ask(sim, attempts=1) == "timeout"
        await sim.sleep(60)
        assert fates(sim) == [Fate.DELIVERED] * 4


async def test_delivered_twice_takes_effect_once() -> None:
    with town(duplicate=[{"after_s": 2}]) as sim:
        assert await ask(sim) == "3"
        publish(sim)
        await sim.sleep(60)
        assert sim.node(LISTENER, Listener).times() == 1
        assert len(messages(sim, Reply)) > 2
        assert met(sim) == [len(messages(sim)) / 2]


async def test_a_partition_loses_both_ways_and_ends() -> None:
    with town(partition=[{"between": ["muni/28100/*", BROKER], "until_s": 100}]) as sim:
        publish(sim)
        assert await ask(sim) == "timeout"
        assert {(one.sender, one.recipient) for one in messages(sim) if one.fate == Fate.DROPPED} == {
            (BROKER, OFFICE),
            (BROKER, LISTENER),
        }
        await sim.sleep(100)
        assert sim.node(LISTENER, Listener).times() == 1
        assert await ask(sim) == "3"


async def test_offline_is_unreachable_and_cannot_be_heard() -> None:
    with town(outage=[{"node": "muni/28100/*", "until_s": 50}]) as sim:
        publish(sim)
        assert await ask(sim) == "recipient_unreachable"
        assert Fate.UNREACHABLE in fates(sim)
        sim.transmit(OFFICE, BROKER, b"hello")
        assert [one.fate for one in messages(sim) if one.sender == OFFICE] == [Fate.DROPPED]
        await sim.sleep(100)
        assert sim.node(LISTENER, Listener).times() == 1, "late, and once"
        assert await ask(sim) == "3"


async def test_an_outage_comes_again() -> None:
    with town(outage=[{"node": OFFICE, "until_s": 10, "every_s": 100}]) as sim:
        said = []
        for pause_s in (0, 15, 90, 10):
            await sim.sleep(pause_s)
            said.append(await ask(sim, attempts=1))
    assert said == ["recipient_unreachable", "3", "recipient_unreachable", "3"]


async def test_a_node_crashes_and_takes_up_its_work_when_it_is_back() -> None:
    with town(crash=[{"node": BROKER, "at_s": 0.007, "back_s": 20}]) as sim:
        publish(sim)
        await sim.sleep(0.1)
        with pytest.raises(MeshError, match=f"recipient_unreachable: {BROKER} is down"):
            sim.node(BROKER)
        await sim.sleep(60)
        assert sim.node(LISTENER, Listener).times() == 1
        assert met(sim) == [1]


async def test_whom_a_scenario_holds_on_to_says_that_it_is_down() -> None:
    with town(crash=[{"node": DESK, "at_s": 5, "back_s": 10}]) as sim:
        held = sim.node(DESK)
        await sim.sleep(20)
        with pytest.raises(RuntimeError, match=f"{DESK} is down"):
            await held.ask(OFFICE, AMOUNT, Query(), subject="x", procedure="relief")
        assert await ask(sim) == "3", "found anew, it works"


async def test_a_crash_of_the_plan_and_one_of_the_scenario_is_ended_by_the_plan() -> None:
    with town(crash=[{"node": OFFICE, "at_s": 5, "back_s": 10}]) as sim:
        sim.node(OFFICE)
        await sim.sleep(6)
        sim.crash(OFFICE)
        sim.restart(OFFICE)
        assert await ask(sim, attempts=1) == "recipient_unreachable", "the plan still keeps it down"
        await sim.sleep(5)
        assert await ask(sim) == "3"


async def test_a_crash_of_the_scenario_outlasts_one_of_the_plan() -> None:
    with town(crash=[{"node": OFFICE, "at_s": 5, "back_s": 10}]) as sim:
        sim.node(OFFICE)
        sim.crash(OFFICE)
        await sim.sleep(20)
        assert await ask(sim) == "recipient_unreachable", "the scenario still keeps it down"
        sim.restart(OFFICE)
        assert await ask(sim) == "3"


async def test_crashes_repeat() -> None:
    with town(crash=[{"node": OFFICE, "at_s": 5, "back_s": 6, "every_s": 10}]) as sim:
        sim.node(OFFICE)
        await sim.sleep(100)
        assert met(sim) == [10]


async def test_a_crash_without_an_end_lasts() -> None:
    with town(crash=[{"node": OFFICE, "at_s": 5}]) as sim:
        sim.node(OFFICE)
        await sim.sleep(100_000)
        assert await ask(sim) == "recipient_unreachable"


@pytest.mark.parametrize(
    ("offset_s", "said"), [(250, "3"), (400, "message_from_future"), (-250, "3"), (-601, "message_expired")]
)
async def test_a_clock_beyond_the_tolerance_is_refused(offset_s: float, said: str) -> None:
    with town(clock=[{"node": DESK, "offset_s": offset_s}]) as sim:
        assert await ask(sim) == said
        assert sim.node(OFFICE).host.now_us() == sim.now_us()
        assert met(sim) == [1]


async def test_what_a_scenario_stages_comes_first() -> None:
    with town(loss=[{"sender": DESK}]) as sim:
        sim.disturbance.rules.append(
            lambda sender, recipient, line, now_us: ((0, line),) if sender == DESK else None
        )
        assert await ask(sim) == "3"
    with town(duplicate=[{}]) as sim:
        sim.disturbance.rules.append(drop(DESK, BROKER))
        assert await ask(sim) == "timeout"
        assert met(sim) == [0]


# What a run says.


@scenario(title="Ask", title_ja="照会")
async def asking(sim: Simulation, *, wait: bool = False) -> None:
    furnish(sim)
    sim.expect("it answers", await ask(sim) == "3", text_ja="回答がある")
    if wait:
        await sim.loop.create_future()


def fail_on(what: BaseException) -> Any:
    @scenario(title="Fail", title_ja="失敗")
    async def failing(sim: Simulation) -> None:
        furnish(sim)
        await ask(sim)
        raise what

    return failing


def ran(trace: Path | None = None, scene: Any = asking, **faults: Any) -> Result:
    return run_scenario(scene, trace=trace, faults=plan(**faults))


def test_an_expectation_that_fails_is_a_result_and_names_the_faults(tmp_path: Path) -> None:
    path = tmp_path / "a.trace"
    result = ran(path, loss=[{}])
    assert not result.held
    assert result.error is None
    said = result.as_json()["faults"]
    assert (said["name"], said["title"], said["title_ja"]) == ("mishap", "Mishap", "事故")
    assert said["plan"]["loss"] == ({},)
    assert [(one["met"], one["unit"], one["note"]) for one in said["effects"]] == [
        (result.messages, "lines lost", "")
    ]
    assert "under faults / 障害の条件: mishap: Mishap / 事故" in result.as_lines()
    assert any("as the scenario tells it without faults" in line for line in result.as_lines())
    with Trace.open(path) as trace:
        assert trace.faults == plan(loss=[{}])
        assert trace.meta["effects"] == said["effects"]
        assert trace.notes == ()


def test_a_fault_that_meets_nobody_is_noted() -> None:
    result = ran(outage=[{"node": "muni/99999/*"}, {"node": LISTENER}])
    assert result.held
    assert not any("as the scenario tells it without faults" in line for line in result.as_lines())
    assert result.faults is not None
    assert [one.said for one in result.faults.effects] == [
        (
            "outage: muni/99999/* offline (no node of this run is muni/99999/*)",
            "オフライン：muni/99999/*（この実行にmuni/99999/*のノードはない）",
        ),
        (f"outage: {LISTENER} offline (it met nothing)", f"オフライン：{LISTENER}（該当なし）"),
    ]


def test_what_a_scenario_cannot_bear_ends_it_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "b.trace"
    result = ran(path, fail_on(IndexError("no\nsuch")), loss=[{"times": 1}])
    assert result.error is not None
    assert result.error.startswith("IndexError: no (test_faults.py, line ")
    assert "Traceback" not in capsys.readouterr().err
    with Trace.open(path) as trace:
        assert trace.complete
        assert trace.notes == (f"{path}: the scenario broke off: {result.error}",)
        assert verify(trace).ok


def test_a_run_does_not_wait_for_a_restart_and_is_no_endless_one() -> None:
    # Ends with its scenario, though a node is down and crashes are to come.
    result = ran(crash=[{"node": LISTENER, "at_s": 0, "back_s": 1_000_000}, {"node": LISTENER, "at_s": 5}])
    assert result.held
    assert result.elapsed_us == 20_000
    # Without faults nothing could ever happen again, and with repeated ones neither.
    again = [{"node": LISTENER, "at_s": 5, "back_s": 6, "every_s": 10}]
    waiting = run_scenario(asking, settings={"wait": True}, faults=plan(crash=again))
    assert waiting.error == "Deadlock: deadlock at 6000000 µs: nothing is ready and no timer is set"


def test_the_books_of_a_node_that_is_down_at_the_end_are_signed(tmp_path: Path) -> None:
    path = tmp_path / "down.trace"
    assert ran(path, crash=[{"node": OFFICE, "at_s": 0.012}]).held
    with Trace.open(path) as trace:
        assert verify(trace).ok
        heads = list(trace.rows("SELECT address FROM head JOIN party ON party.number = head.party"))
        kept = list(trace.rows("SELECT address FROM sealing_key"))
        assert (OFFICE,) in heads
        assert (OFFICE,) in kept


def test_waiting_for_a_restart_is_no_deadlock() -> None:
    async def until_back(sim: Simulation) -> None:
        sim.node(LISTENER)
        await sim.sleep(1)
        back = sim.loop.create_future()
        Listener.start = lambda node: back.set_result(None)  # type: ignore[method-assign]
        await back

    @scenario(title="Wait", title_ja="待つ")
    async def waiting(sim: Simulation) -> None:
        furnish(sim)
        try:
            await until_back(sim)
        finally:
            del Listener.start
        sim.expect("it came back", sim.loop.now_us == 9_000_000)

    assert ran(scene=waiting, crash=[{"node": LISTENER, "at_s": 1, "back_s": 9, "every_s": 100}]).held


def test_faults_draw_from_a_stream_of_their_own_and_without_them_nothing_is_said(tmp_path: Path) -> None:
    plain, never = tmp_path / "plain.trace", tmp_path / "never.trace"
    run_scenario(asking, trace=plain)
    ran(never, outage=[{"node": "muni/99999/*"}], loss=[{"chance": 0.000001}])
    with Trace.open(plain) as one, Trace.open(never) as other:
        assert not {"faults", "effects", "broke_off"} & one.meta.keys()
        said = diff(one, other)
        assert said["first"] is None or said["first"]["index_a"] is None
        assert [fact["name"] for fact in said["facts"]] == ["faults"]
        assert [row.message.line for row in one.transmissions()] == [
            row.message.line for row in other.transmissions()
        ]


# The plans that ship.


@pytest.mark.parametrize("name", PLANS)
def test_under_each_shipped_plan_runs_end_lawfully_their_traces_verify_and_each_fault_bites(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bites = []
    for story in ("child_allowance", "birth", "moving"):
        path = tmp_path / f"{story}.trace"
        result = run_scenario(SCENARIOS[story], trace=path, nodes="nodes", faults=PLANS[name])
        assert "Traceback" not in capsys.readouterr().err
        assert result.error is None or result.error.split(":")[0] in ("Refused", "ManualReview", "MeshError")
        assert result.faults is not None
        bites.append([one.met for one in result.faults.effects])
        with Trace.open(path) as trace:
            assert trace.complete
            assert trace.faults == PLANS[name]
            found = verify(trace)
            assert found.ok, found.finding
    assert all(map(any, zip(*bites, strict=True))), bites


@pytest.mark.parametrize("name", ["duplicates", "slow_lines", "broker_restart"])
def test_pushes_take_effect_once_whatever_the_network_does(name: str) -> None:
    counted = []

    async def deliver(sim: Simulation) -> None:
        furnish(sim)
        for _ in range(5):
            publish(sim)
            await sim.sleep(0.1)
        await sim.sleep(600)
        counted.append(sim.node(LISTENER, Listener).times())
        sim.expect("five moves, noted once each", counted == [5])

    assert run_scenario(scenario(title="Push", title_ja="通知")(deliver), faults=PLANS[name]).held, counted


@pytest.mark.parametrize(("story", "seed"), [("birth", 2), ("base_registry", 1), ("hostile_mesh", 1)])
def test_what_arrives_twice_happens_once_and_no_expectation_says_otherwise(story: str, seed: int) -> None:
    result = run_scenario(SCENARIOS[story], seed=seed, nodes="nodes", faults=PLANS["duplicates"])
    assert (result.error, [one.text for one in result.expectations if not one.held]) == (None, [])


@pytest.mark.parametrize(
    ("story", "words"), [("birth", "exactly once"), ("disaster", "exactly once"), ("moving", "are announced")]
)
def test_slow_and_repeated_deliveries_that_overtake_each_other_count_once(story: str, words: str) -> None:
    result = run_scenario(SCENARIOS[story], nodes="nodes", faults=PLANS["slow_lines"])
    assert [one.held for one in result.expectations if words in one.text] == [True]


def test_on_slow_lines_every_attack_is_refused_all_the_same() -> None:
    result = run_scenario(SCENARIOS["hostile_mesh"], nodes="nodes", faults=PLANS["slow_lines"])
    assert (result.error, [one.text for one in result.expectations if not one.held]) == (None, [])


def run_elsewhere(folder: Path, hash_seed: str, *arguments: str) -> Any:
    command = [sys.executable, str(ROOT / "run_sim.py"), "run", *arguments, "--trace", f"{folder}/", "--json"]
    env = os.environ | {"PYTHONHASHSEED": hash_seed}
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=HANG_S, env=env)
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)


def test_the_same_seed_and_plan_are_the_same_bytes_in_two_processes(tmp_path: Path) -> None:
    for name in ("slow_lines", "broker_restart"):
        sums = []
        for hash_seed in ("1", "2"):
            (tmp_path / hash_seed).mkdir(exist_ok=True)
            said = run_elsewhere(tmp_path / hash_seed, hash_seed, "birth", "--seed", "2", "--faults", name)
            path = Path(said["runs"][0]["trace"])
            assert path.name == f"birth-2-{name}.trace"
            sums.append(sha256(path.read_bytes()).hexdigest())
        assert sums[0] == sums[1], name


def test_another_seed_brings_other_faults() -> None:
    ask_again = partial(run_scenario, SCENARIOS["birth"], nodes="nodes", faults=PLANS["packet_loss"])
    assert ask_again(seed=1).as_json()["messages"] != ask_again(seed=2).as_json()["messages"]


def test_a_recorded_plan_can_be_run_again(tmp_path: Path) -> None:
    first, second = tmp_path / "first.trace", tmp_path / "second.trace"
    run_scenario(SCENARIOS["birth"], trace=first, nodes="nodes", faults=PLANS["packet_loss"])
    with Trace.open(first) as trace:
        recorded = recorded_plan(msgspec.json.decode(json.dumps(trace.meta["faults"])))
    run_scenario(SCENARIOS["birth"], trace=second, nodes="nodes", faults=recorded)
    assert first.read_bytes() == second.read_bytes()


def test_deadlocks_are_found_beside_repeated_timers() -> None:
    from mesh.clock import VirtualLoop

    loop, fired = VirtualLoop(), []

    def again(at_us: int) -> None:
        fired.append(at_us)
        loop.call_aside_at_us(at_us + 10, again, at_us + 10)

    loop.call_aside_at_us(10, again, 10)

    async def wait() -> None:
        import asyncio

        await asyncio.sleep(0.000035)
        await loop.create_future()

    with pytest.raises(Deadlock, match="deadlock at 35 µs"):
        run(wait(), loop=loop)
    assert fired == [10, 20, 30]


# The command line.


def typed(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "run_sim.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=HANG_S)


def test_an_unknown_plan_is_answered_with_those_that_there_are(tmp_path: Path) -> None:
    done = typed("run", "child_allowance", "--faults", "packet_los", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line == (
        f"error: there is no fault plan 'packet_los'; there are: {', '.join(PLANS)}; "
        "a plan of your own is a .toml file"
    )


def test_a_wrong_plan_is_one_line_and_nothing_runs(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('title = "a"\ntitle_ja = "b"\n[[outage]]\nnode = "tax"\n')
    done = typed("run", "child_allowance", "--faults", "mine.toml", "--trace", "t.trace", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: mine.toml: outage[0]: 'tax' is no role; write it like muni/01208/tax or muni/*/tax"
    ]
    assert not (tmp_path / "t.trace").exists()


def test_a_plan_of_ones_own_is_run_reported_and_named_in_trace_and_command(tmp_path: Path) -> None:
    text = 'title = "No tax <office>"\ntitle_ja = "税務停止"\n[[outage]]\nnode = "muni/28100/tax"\n'
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    words = ("run", "child_allowance", "--faults", "mine.toml", "--trace", "t/", "--report", "r.html")
    done = typed(*words, cwd=tmp_path)
    assert done.returncode == 1
    assert "under faults / 障害の条件: mine: No tax <office> / 税務停止" in done.stdout
    outage = re.search(r"  outage: muni/28100/tax offline \(lines lost or turned away: (\d+)\)", done.stdout)
    assert outage is not None
    assert int(outage[1]) > 9, "each question was repeated"
    assert "  FAILED  the scenario broke off: Refused: recipient_unreachable" in done.stdout
    trace = "t/child_allowance-1-mine.trace"
    listed = json.loads(typed("trace", "list", "t", "--json", cwd=tmp_path).stdout)
    assert [(one["path"], one["faults"]) for one in listed["traces"]] == [(trace, "mine")]
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "No tax &lt;office&gt;" in page
    assert "as the scenario tells it without faults" in page
    assert "--faults mine.toml" in page
    shown = typed("trace", "show", trace, cwd=tmp_path)
    assert "note: recorded under faults: mine: No tax <office>" in shown.stderr
    assert "the scenario broke off: Refused: recipient_unreachable" in shown.stderr
    assert typed("trace", "verify", trace, cwd=tmp_path).returncode == 0
    typed("trace", "export", trace, "--to", "html", "--out", "t.html", cwd=tmp_path)
    assert "Under faults: No tax &lt;office&gt;" in (tmp_path / "t.html").read_text(encoding="utf-8")


def test_the_list_tells_the_plans(tmp_path: Path) -> None:
    listed = json.loads(typed("list", "--json", cwd=tmp_path).stdout)["faults"]
    assert [one["name"] for one in listed] == list(PLANS)
    assert listed[0].keys() == {"name", "title", "title_ja", "faults"}
    plain = typed("list", cwd=tmp_path).stdout
    assert all(f"\n{name} " in plain for name in PLANS)
    assert "list" in typed("run", "--help", cwd=tmp_path).stdout.partition("--faults")[2]
