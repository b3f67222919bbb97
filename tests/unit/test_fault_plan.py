"""A fault plan as a file says it: what is read, what is refused and in which words, and when a fault is there."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import UsageError
from mesh.faults import Faults, Plan, read_plan, recorded_plan
from mesh.faults.plan import KINDS, SIZE_MAX
from mesh.faults.span import Span
from mesh.loading import plans_of

TITLES = 'title = "Mishap"\ntitle_ja = "事故"\n'


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "mishap.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read(folder: Path, text: str) -> Plan:
    return read_plan(written(folder, TITLES + text))


EACH = """
[[loss]]
sender = "muni/*/tax"
chance = 0.25
[[delay]]
delay_s = 2
jitter_s = 0.5
times = 3
[[duplicate]]
recipient = "gov/digital/broker"
[[partition]]
between = ["muni/01208/*", "*/*/*"]
until_s = 60
[[outage]]
node = "muni/28100/tax"
from_s = 5
until_s = 65
every_s = 3600
[[crash]]
node = "gov/digital/broker"
at_s = 1.5
back_s = 21.5
[[clock]]
node = "org/nenkin/records"
offset_s = -600
"""


def test_a_plan_says_each_kind_of_fault(tmp_path: Path) -> None:
    plan = read(tmp_path, EACH)
    assert (plan.name, plan.title, plan.title_ja) == ("mishap", "Mishap", "事故")
    assert [type(one) for one in plan.faults] == list(KINDS.values())
    assert [one.said for one in plan.faults] == [
        ("packet loss: 25 % of lines muni/*/tax → anybody", "パケットロス：muni/*/tax → 全ノードの電文の25%"),
        ("delay of 2–2.5 s: all lines, at most 3", "遅延 2–2.5秒：全電文、最大3件"),
        (
            "duplicate delivery after 1 s: lines anybody → gov/digital/broker",
            "二重配送（1秒後）：全ノード → gov/digital/brokerの電文",
        ),
        (
            "partition: muni/01208/* ↔ anybody, from 0 s to 60 s",
            "ネットワーク分断：muni/01208/* ↔ 全ノード、0秒から60秒まで",
        ),
        (
            "outage: muni/28100/tax offline, from 5 s to 65 s and again every 1 h",
            "オフライン：muni/28100/tax、5秒から65秒まで（1時間ごとに繰り返す）",
        ),
        (
            "crash: gov/digital/broker down, from 1.5 s to 21.5 s",
            "異常停止：gov/digital/broker、1.5秒から21.5秒まで",
        ),
        ("wrong clock: org/nenkin/records 600 s behind", "時計のずれ：org/nenkin/recordsが600秒遅れ"),
    ]


def test_what_a_trace_keeps_of_a_plan_is_the_plan(tmp_path: Path) -> None:
    plan = read(tmp_path, EACH)
    assert recorded_plan(msgspec.json.decode(msgspec.json.encode(plan))) == plan


@pytest.mark.parametrize(
    "said", [None, 1, "loss", [], {}, {"name": "x", "title": "x", "title_ja": "x", "loss": 1}]
)
def test_a_trace_that_says_no_plan_has_none(said: Any) -> None:
    assert recorded_plan(said) is None


WRONG = {
    "": "nothing goes wrong in it",
    "[[lost]]\nchance = 1": "unknown field `lost`; it has title, title_ja, loss, delay, duplicate, partition",
    "[[loss]]\nchanse = 1": "loss[0]: object contains unknown field `chanse`; it has from_s, until_s, every_s, sender",
    "[[loss]]\n[[loss]]\nchance = 2": "loss[1].chance: expected `float` <= 1.0",
    "[[loss]]\nchance = 0": "loss[0].chance: expected `float` > 0.0",
    "[[loss]]\nchance = nan": "loss[0].chance: expected `float` > 0.0",
    "[[loss]]\nfrom_s = -1": "loss[0].from_s: expected `float` >= 0.0",
    "[[loss]]\nfrom_s = inf": "loss[0].from_s: expected `float` <=",
    "[[loss]]\ntimes = 0": "loss[0].times: expected `int` >= 1",
    '[[loss]]\nsender = "tax"': "loss[0]: 'tax' is no role; write it like muni/01208/tax or muni/*/tax",
    "[[loss]]\nfrom_s = 5\nuntil_s = 5": "until_s is not after from_s",
    "[[loss]]\nuntil_s = 5\nevery_s = 5": "every_s is longer than what it repeats",
    "[[loss]]\nevery_s = 5": "every_s is longer than what it repeats; give until_s",
    "[[delay]]\nchance = 1": "missing required field `delay_s`",
    "[[outage]]\nfrom_s = 1": "outage[0]: object missing required field `node`; it has from_s, until_s, every_s, node",
    '[[crash]]\nnode = "gov/digital/broker"\nat_s = 5\nback_s = 4': "back_s is not after at_s",
    '[[partition]]\nbetween = ["muni/01208/tax"]': "partition[0].between: expected `array` of length 2",
    '[[clock]]\nnode = "muni/01208/tax"\noffset_s = nan': "clock[0].offset_s: expected `float` >=",
    '[[clock]]\nnode = "muni/01208/tax"\noffset_s = "late"': "clock[0].offset_s: expected `float`, got `str`",
    "loss = 3": "loss: expected `array`, got `int`",
    'name = "x"\n[[loss]]': "name: a plan has the name of its file",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_said_in_one_line_with_its_place(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, text)
    said = str(caught.value)
    assert WRONG[text] in said
    assert said.startswith(f"{tmp_path / 'mishap.toml'}: ")
    assert "\n" not in said


def test_a_byte_order_mark_is_no_part_of_a_plan(tmp_path: Path) -> None:
    """The case of a plan saved with a byte order mark: some editors put one in front of UTF-8."""
    plan = read_plan(written(tmp_path, b"\xef\xbb\xbf" + (TITLES + "[[loss]]\nchance = 0.05\n").encode()))
    assert (plan.title_ja, plan.loss[0].chance) == ("事故", 0.05)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[[loss]]\n", "missing required field `title`"),
        (b'title = ""\ntitle_ja = "a"\n[[loss]]\n', "title: expected `str` of length >= 1"),
        (b'title = "a\\u001b[2J"\ntitle_ja = "a"\n[[loss]]\n', "one line of printable text"),
        (b"title = \n", "is no TOML: Invalid value (at line 1, column 9); see toml.io"),
        (b"\xff\xfe", "is UTF-16; save it as UTF-8"),
        (TITLES.encode("cp932") + b"[[loss]]\n", "is not UTF-8, and reads as Shift_JIS (cp932)"),
        (b"a = '\x81'", "is not UTF-8, at byte 5; save it as UTF-8"),
        (b"a = " + b"[" * 50_000, "is no TOML"),
        (b"#" * (SIZE_MAX + 1), "is larger than"),
    ],
)
def test_a_file_that_is_none_is_refused_in_one_line(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(UsageError, match=r".") as caught:
        read_plan(written(tmp_path, content))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_or_a_folder_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "gone.toml", tmp_path):
        with pytest.raises(UsageError, match=r"cannot read the fault plan .*; name a TOML file"):
            read_plan(path)


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.sampled_from(["*/*/*", "muni/*/tax"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*KINDS, "node", "from_s", "x"]), inner),
    max_leaves=8,
)  # fmt: skip
_fields = ["sender", "recipient", "chance", "times", "from_s", "until_s", "every_s", "node", "between", "delay_s",
    "jitter_s", "after_s", "at_s", "back_s", "offset_s"]  # fmt: skip


@given(
    st.dictionaries(
        st.sampled_from(list(KINDS)),
        st.lists(st.dictionaries(st.sampled_from(_fields), _values, max_size=5), max_size=3) | _values,
    )
)
def test_whatever_a_trace_says_is_a_plan_that_can_be_told_or_none(said: dict[str, Any]) -> None:
    plan = recorded_plan({"name": "x", "title": "x", "title_ja": "x"} | said)
    if plan is not None:
        force = Faults(plan, Random(1))
        force.fates("muni/01208/tax", "gov/digital/broker", b"", 1)
        assert all(one.said for one in force.effects(lambda _: []))


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_junk_is_a_usage_error(content: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder, pytest.raises(UsageError) as caught:
        read_plan(written(Path(folder), content))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("span", "inside", "outside"),
    [
        (Span(0, None, None), (0, 10**15), ()),
        (Span(5, None, None), (5, 10**15), (0, 4)),
        (Span(5, 8, None), (5, 7), (4, 8, 9)),
        (Span(5, 8, 100), (5, 7, 105, 107, 1_005), (4, 8, 104, 108, 1_004)),
    ],
)
def test_a_fault_is_there_from_its_first_microsecond_until_before_its_last(
    span: Span, inside: tuple[int, ...], outside: tuple[int, ...]
) -> None:
    assert all(map(span.covers, inside))
    assert not any(map(span.covers, outside))


def test_the_plans_that_ship_are_told_in_both_languages() -> None:
    plans = plans_of("scenarios")
    assert list(plans) == sorted(plans)
    assert 4 <= len(plans) <= 8
    for name, plan in plans.items():
        assert plan.name == name
        assert plan.title.isascii()
        assert not plan.title_ja.isascii()
    assert {type(one) for plan in plans.values() for one in plan.faults} >= {
        KINDS[kind] for kind in ("loss", "delay", "duplicate", "outage", "crash", "clock")
    }
