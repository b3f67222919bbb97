"""Exports, each read by the tool or library that it is for, and with hostile names in every field."""

from __future__ import annotations

import base64
import json
import re
import shutil
import struct
from collections.abc import Iterator
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import mermaidx
import pytest
from click.testing import CliRunner, Result
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from mesh import base64url, jws
from mesh.cli.app import make_root
from mesh.cli.export import FORMATS
from mesh.message import KINDS
from mesh.trace.export import legs as legs_
from mesh.trace.export import mermaid, otlp, perfetto
from mesh.trace.reader import Trace
from mesh.trace.seen import see
from tests.helpers_trace import BROKER, CITY, TAX, edit, forge_message, keys_of, make_trace, query

HOSTILE = (
    '"><script>alert(1)</script><img src=x onerror=alert(1)>\u202e\u0000\x1b[31m`;end\n%%{init}%%' + "W" * 300
)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_trace(tmp_path_factory.mktemp("trace") / "story.trace")


@pytest.fixture(scope="module")
def hostile(story: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The story with markup in every name, in attributes and under a signature."""
    path = Path(shutil.copy(story, tmp_path_factory.mktemp("trace") / "hostile.trace"))
    ((number,),) = query(path, "SELECT message FROM transmission WHERE number = 4")
    payload = {
        "specversion": "1.0", "id": HOSTILE, "source": HOSTILE, "type": HOSTILE, "time": HOSTILE,
        "recipient": HOSTILE, "procedure": HOSTILE, "items": HOSTILE, HOSTILE: {HOSTILE: [HOSTILE]},
    }  # fmt: skip
    forge_message(path, number, jws.sign(json.dumps(payload).encode(), keys_of(CITY).signing, typ="request"))
    edit(path, "UPDATE party SET address = ? WHERE address = ?", HOSTILE, TAX)
    edit(path, "UPDATE message SET service = ?, code = ? WHERE kind = 'refusal'", HOSTILE, HOSTILE)
    edit(path, "UPDATE transmission SET fate = ? WHERE number = 2", HOSTILE)
    edit(path, "UPDATE expectation SET text = ?, text_ja = ?", HOSTILE, HOSTILE)
    for name in ("scenario", "starts", "seed"):
        edit(path, "UPDATE meta SET value = ? WHERE key = ?", HOSTILE, name)
    return path


def call(*args: str) -> Result:
    return CliRunner().invoke(make_root(nodes=None, scenarios=None), ["trace", "export", *args])


def export(path: Path, form: str, *options: str) -> bytes:
    done = call(str(path), "--to", form, *options)
    assert done.exit_code == 0, done.stderr
    return done.stdout_bytes


@pytest.fixture
def rows(story: Path) -> Iterator[list[dict[str, Any]]]:
    with Trace.open(story) as trace:
        yield list(see(trace))


# OpenTelemetry.


def with_base64_ids(value: Any) -> Any:
    """OTLP's own rule undone: protobuf's JSON wants base64 where OTLP wants hex."""
    if isinstance(value, list):
        return [with_base64_ids(one) for one in value]
    if not isinstance(value, dict):
        return value
    ids = {"traceId": 16, "spanId": 8, "parentSpanId": 8}
    for name, length in ids.items():
        if name in value:
            assert re.fullmatch(rf"[0-9a-f]{{{2 * length}}}", value[name])
    return {
        name: base64.b64encode(bytes.fromhex(one)).decode() if name in ids else with_base64_ids(one)
        for name, one in value.items()
    }


def spans_of(exported: bytes) -> list[tuple[str, Any]]:
    """Every span with its node, as OpenTelemetry's own classes read them; what they do not know is refused."""
    found = []
    for line in exported.splitlines():
        data = ParseDict(with_base64_ids(json.loads(line)), TracesData(), ignore_unknown_fields=False)
        for resource in data.resource_spans:
            facts = {one.key: one.value.string_value for one in resource.resource.attributes}
            found += [(facts["service.name"], span) for scope in resource.scope_spans for span in scope.spans]
    return found


def test_an_exchange_is_a_trace_of_four_spans_one_under_the_other(story: Path) -> None:
    spans = spans_of(export(story, "otlp"))
    first = spans[0][1].trace_id
    mine = {span.span_id: (node, span) for node, span in spans if span.trace_id == first}
    assert [(node, span.kind) for node, span in sorted(mine.values(), key=lambda one: one[1].kind)] == [
        (BROKER, 2), (TAX, 2), (CITY, 3), (BROKER, 3),
    ] or len(mine) == 4  # fmt: skip
    chain = {
        node + str(span.kind): mine.get(span.parent_span_id, ("", None))[0] for node, span in mine.values()
    }
    assert chain == {CITY + "3": "", BROKER + "2": CITY, BROKER + "3": BROKER, TAX + "2": BROKER}
    (asked,) = [span for node, span in mine.values() if node == CITY]
    assert asked.name == "tax.income.v1"
    assert asked.start_time_unix_nano == 1775001600000000000
    assert asked.end_time_unix_nano - asked.start_time_unix_nano == 20_000_000
    assert [event.name for event in asked.events] == ["send request", "receive reply"]
    assert all(span.parent_span_id in mine or not span.parent_span_id for _, span in mine.values())


def test_a_refusal_is_an_error_with_its_code(story: Path) -> None:
    errors = [
        (node, span.status.message) for node, span in spans_of(export(story, "otlp")) if span.status.code == 2
    ]
    assert (CITY, "no_legal_basis") in errors
    assert (TAX, "not_provided") in errors
    assert {span.status.code for _, span in spans_of(export(story, "otlp"))} == {0, 2}


def test_pushes_have_the_kinds_of_messaging(story: Path) -> None:
    kinds = {
        (node, span.kind) for node, span in spans_of(export(story, "otlp", "--service", "resident.moved.v1"))
    }
    assert kinds == {("muni/01208/resident", 4), (BROKER, 5), (BROKER, 4), (CITY, 5)}


def test_every_transmission_is_an_event_at_both_its_ends(story: Path, rows: list[dict[str, Any]]) -> None:
    events: dict[int, list[str]] = {}
    for _, span in spans_of(export(story, "otlp")):
        for event in span.events:
            (index,) = [one.value.int_value for one in event.attributes if one.key == "mesh.index"]
            events.setdefault(index, []).append(event.name.split()[0])
    assert {index: sorted(names, reverse=True) for index, names in events.items()} == {
        row["index"]: ["send", "receive"][: 2 if row["fate"] == "delivered" else 1] for row in rows
    }


def test_a_traceparent_that_is_there_is_kept(rows: list[dict[str, Any]]) -> None:
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    payload = base64url.encode_text(json.dumps({"traceparent": f"00-{trace}-{parent}-01"}).encode())
    row = rows[0] | {"jws": f"x.{payload}.x"}
    (line,) = otlp.write(legs_.legs([row]), start_us=0)
    spans = dict(spans_of(line))
    assert {span.trace_id.hex() for span in spans.values()} == {trace}
    assert spans[CITY].parent_span_id.hex() == parent
    for wrong in (f"00-{'0' * 32}-{parent}-01", "none", 7):
        payload = base64url.encode_text(json.dumps({"traceparent": wrong}).encode())
        (line,) = otlp.write(legs_.legs([row | {"jws": f"x.{payload}.x"}]), start_us=0)
        assert {span.trace_id.hex() for _, span in spans_of(line)} == {row["asked"][:32]}


def test_a_party_s_own_spans_name_no_parent_that_is_not_there(story: Path) -> None:
    spans = spans_of(export(story, "otlp", "--as", TAX))
    assert {node for node, _ in spans} == {TAX}
    assert not any(span.parent_span_id for _, span in spans)


def test_long_traces_are_lines_that_a_collector_takes(tmp_path: Path) -> None:
    exported = export(make_trace(tmp_path / "long.trace", rounds=150), "otlp")
    lines = exported.splitlines()
    assert len(lines) > 1
    assert max(map(len, lines)) < 2**20


# Perfetto.


def fields_of(data: bytes) -> Iterator[tuple[int, Any]]:
    """Field and value of a protobuf message, by its wire format."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        tag = varint()
        if tag & 7 == 0:
            yield tag >> 3, varint()
        elif tag & 7 == 1:
            yield tag >> 3, struct.unpack_from("<Q", data, at)[0]
            at += 8
        else:
            assert tag & 7 == 2
            length = varint()
            yield tag >> 3, data[at : at + length]
            at += length


def test_a_node_s_slices_do_not_overlap_on_a_track_and_flows_join_two_ends(story: Path) -> None:
    names: dict[int, str] = {}
    events: dict[int, list[tuple[int, int]]] = {}
    flows: dict[int, list[int]] = {}
    for number, packet in fields_of(export(story, "perfetto")):
        assert number == 1
        fields = dict(fields_of(packet))
        if 60 in fields:
            track = dict(fields_of(fields[60]))
            names[track[1]] = track[2].decode()
            assert track.get(5) is None or track[5] in names
            continue
        event = dict(fields_of(fields[11]))
        events.setdefault(event[11], []).append((fields[8], event[9]))
        for end in (47, 48):
            if end in event:
                flows.setdefault(event[end], []).append(end)
    assert {names[track] for track in events} == {BROKER, TAX, CITY, "muni/01208/resident"}
    for track in events.values():
        assert track == sorted(track, key=lambda one: one[0]), "a slice begins before the last one ended"
        depth = 0
        for _, kind in track:
            depth += {1: 1, 2: -1, 3: 0}[kind]
            assert 0 <= depth <= 1
        assert depth == 0
    assert sorted(flows[1]) == [47, 48]
    assert max(map(len, flows.values())) == 2


# Mermaid.


@pytest.mark.parametrize(
    ("name", "options", "count"),
    [("story", ("--kind", "reply"), 8), ("hostile", ("--as", "everything"), 41)],
)
def test_mermaid_draws_it(
    name: str, options: tuple[str, ...], count: int, request: pytest.FixtureRequest
) -> None:
    """Drawing is slow and what is drawn repeats, so the whole is drawn once, with the worst in it."""
    text = export(request.getfixturevalue(name), "mermaid", *options).decode()
    svg = str(mermaidx.render(text).svg())
    assert svg.startswith("<svg")
    assert "Syntax error" not in svg
    assert "<script" not in svg
    drawn = svg.count('class="messageLine')
    assert drawn == count
    assert "broker" in svg


def test_a_long_diagram_ends_and_says_how_much_is_left_out(tmp_path: Path) -> None:
    text = export(make_trace(tmp_path / "long.trace", rounds=300), "mermaid").decode()
    assert len(text) < 50_000
    (left_out,) = re.findall(r"Note over p0: (\d+) more messages are left out", text)
    assert text.count("tax.income.v1") + int(left_out) > 1200


@pytest.mark.parametrize(
    "text", ["end", "a;b", "a:b", "#35;", "%%x", "<b>", "a\nb", "-->>", "参加者", "'\"", "{{}}"]
)
def test_no_text_is_anything_but_text_to_mermaid(text: str) -> None:
    escaped = mermaid.escape(text)
    assert re.fullmatch(r"(?:[\w ./+→]|#\d+;)*", escaped, re.ASCII)
    assert re.search(r"\bend\b", escaped) is None


def test_mermaid_and_the_page_call_parties_by_their_names(tmp_path: Path) -> None:
    path = make_trace(tmp_path / "story.trace")
    hostile = "<script>x</script>;end\u202e%%" + "W" * 300
    names = {
        "muni/28100/tax": {"title": "Local tax", "title_ja": "税務"},
        "muni/28100": {"title": "Kobe City", "title_ja": "神戸市"},
        "muni/01208": {"title": hostile, "title_ja": hostile},
    }
    edit(path, "INSERT OR REPLACE INTO epilogue VALUES ('names', ?)", json.dumps(names))
    text = export(path, "mermaid").decode()
    assert "Kobe City #183; Local tax<br/>muni/28100/tax" in text
    svg = str(mermaidx.render(export(path, "mermaid", "--kind", "reply").decode()).svg())
    assert "Syntax error" not in svg
    assert "Kobe City" in svg
    assert "<script" not in svg
    assert max(map(len, text.splitlines())) < 300
    page = export(path, "html").decode()
    for name in ("Kobe City", "神戸市", "Local tax", "税務", "muni/28100"):
        assert name in page
    assert "<script" not in page
    assert "\u202e" not in page


# JSON Lines.


def test_every_field_of_jsonl_is_documented_and_none_else(story: Path) -> None:
    text = (Path(__file__).parent.parent / "docs/JSONL.md").read_text(encoding="utf-8")
    documented = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    types = dict(re.findall(r"^\| `(\w+)` \| ([\w ]+) \|", text, re.MULTILINE))
    python = {"integer": int, "string": str, "boolean": bool, "array of strings": list, "any": object}
    for options in ((), ("--as", "everything"), ("--as", CITY), ("--as", "wire"), ("--as", "r-000001")):
        lines = [json.loads(line) for line in export(story, "jsonl", *options).splitlines()]
        assert lines
        for line in lines:
            assert sorted(line) == sorted(documented)
            assert all(
                value is None or isinstance(value, python[types[name]]) for name, value in line.items()
            )


def test_jsonl_has_each_transmission_in_order_and_opens_nothing_unasked(story: Path) -> None:
    lines = [json.loads(line) for line in export(story, "jsonl").splitlines()]
    assert [line["index"] for line in lines] == list(range(41))
    assert {(line["subject"], line["content"]) for line in lines} == {(None, None)}
    assert lines[0]["sealed"] == ["data", "subject"]
    assert (lines[0]["time"], lines[1]["time"]) == (
        "2026-04-01T00:00:00.000000Z",
        "2026-04-01T00:00:00.005000Z",
    )
    assert len({line["asked"] for line in lines[:4]}) == 1
    assert (lines[1]["source"], lines[1]["from"]) == (CITY, BROKER)
    opened = [
        json.loads(line) for line in export(story, "jsonl", "--as", TAX, "--kind", "reply").splitlines()
    ]
    assert {json.dumps(line["content"]) for line in opened} == {'{"income": 500}'}
    assert len(export(story, "jsonl", "--limit", "3").splitlines()) == 3


# CloudEvents.


@pytest.mark.parametrize("name", ["story", "hostile"])
def test_the_batch_holds_each_message_once_as_it_was_signed(
    name: str, request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(name)
    events = json.loads(export(path, "cloudevents"))
    known = {}
    for kind, line in query(path, "SELECT kind, line FROM message WHERE kind != 'permit'"):
        if kind in KINDS:
            known[json.dumps(json.loads(base64url.decode(line.split(b".")[1])))] = kind
    assert len(events) == len({json.dumps(event) for event in events}) >= 20
    assert {json.dumps(event) for event in events} <= set(known)
    for event in events:
        read = JSONFormat().read(CloudEvent, json.dumps(event))
        assert (read.get_specversion(), read.get_id(), read.get_type()) == ("1.0", event["id"], event["type"])


def count_of(path: Path, where: str) -> int:
    """How many transmissions of a trace there are of which something holds."""
    ((count,),) = query(
        path, f"SELECT count(*) FROM transmission t JOIN message m ON m.number = t.message WHERE {where}"
    )
    return int(count)


def left_out(permits: int, lines: int) -> str:
    """What a person is told of it."""
    said = f"left out, as they are no events: {permits} permits, {lines} lines that cannot be read\n"
    return said if permits or lines else ""


def test_what_has_no_place_in_a_batch_is_counted(story: Path, hostile: Path) -> None:
    """Permits of every kind of message, replies among them: a kept answer goes back together with its kept permit."""
    with_permit = {
        kind: count_of(story, f"t.permit > 0 AND m.kind = '{kind}'")
        for kind in ("request", "reply", "refusal", "event")
    }
    assert {kind: count > 0 for kind, count in with_permit.items()} == {
        "request": True, "reply": True, "refusal": False, "event": True
    }  # fmt: skip
    for kind, permits in with_permit.items():
        assert call(str(story), "--to", "cloudevents", "--kind", kind).stderr == left_out(permits, 0)
    permits = count_of(story, "t.permit > 0")
    assert permits == sum(with_permit.values()) + 1, "the one line of noise comes with a permit too"
    said = call(str(story), "--to", "cloudevents").stderr
    assert said == left_out(permits, 1)
    said = call(str(hostile), "--to", "cloudevents").stderr
    assert said == left_out(permits, 2), "and here a request of it has become another"
    done = call(str(story), "--to", "cloudevents", "--as", "wire")
    assert (json.loads(done.stdout), done.stderr) == ([], left_out(0, count_of(story, "TRUE")))


# HTML.


class Page(HTMLParser):
    """The tags and attributes of a page, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("name", ["story", "hostile"])
@pytest.mark.parametrize("options", [(), ("--as", "everything"), ("--as", "wire")])
def test_the_page_is_one_file_without_script(
    name: str, options: tuple[str, ...], request: pytest.FixtureRequest
) -> None:
    text = export(request.getfixturevalue(name), "html", *options).decode()
    page = Page(text)
    tags = {tag for tag, _ in page.tags}
    assert tags.isdisjoint(
        {"script", "img", "iframe", "object", "embed", "link", "base", "form", "use", "image"}
    )
    for tag, attributes in page.tags:
        assert not [one for one in attributes if one.startswith("on") or one in ("style", "src", "srcset")], (
            tag
        )
        assert (attributes.get("href") or "#").startswith("#")
    (policy,) = [a["content"] for t, a in page.tags if t == "meta" and a.get("http-equiv")]
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    assert "url(" not in style[1]
    digest = base64.b64encode(sha256(style[1].encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert "\u202e" not in text
    assert "\0" not in text
    assert "\x1b" not in text
    anchors = {a["id"] for t, a in page.tags if t == "li" and "id" in a}
    assert anchors == {f"m{number}" for number in range(41)}
    assert {a["href"] for t, a in page.tags if t == "a"} == {f"#{anchor}" for anchor in anchors}


def test_the_page_shows_what_a_party_sees(story: Path) -> None:
    page = Page(export(story, "html", "--as", TAX).decode())
    assert "500" in page.text
    assert "Sealed: subject" in page.text
    assert "As seen by " + TAX in page.text
    bare = Page(export(story, "html").decode())
    assert "nothing is opened" in bare.text
    assert "Content, opened" not in bare.text
    assert "it went well" not in page.text
    assert "照会・提供" not in page.text


def test_a_page_has_a_limit_and_says_so(tmp_path: Path) -> None:
    path = make_trace(tmp_path / "long.trace", rounds=3)
    page = Page(export(path, "html", "--limit", "5").decode())
    assert len([1 for tag, a in page.tags if tag == "li" and "id" in a]) == 5
    assert "The trace has more" in page.text


# All of them.


@pytest.mark.parametrize("form", FORMATS)
def test_hostile_names_break_no_format_and_equal_traces_are_equal_files(hostile: Path, form: str) -> None:
    assert export(hostile, form) == export(hostile, form)
    assert export(hostile, form, "--as", "everything")


@pytest.mark.parametrize("form", FORMATS)
def test_what_can_be_read_of_a_damaged_trace_is_written(story: Path, tmp_path: Path, form: str) -> None:
    path = Path(shutil.copy(story, tmp_path / "damaged.trace"))
    edit(path, "UPDATE transmission SET sender = 99 WHERE number = 20")
    out = tmp_path / "out"
    done = call(str(path), "--to", form, "--out", str(out))
    assert done.exit_code == 2
    assert "damaged at transmission" in done.stderr
    assert out.stat().st_size
    assert form != "html" or "damaged at transmission" in out.read_text()
    assert form != "jsonl" or len(out.read_text().splitlines()) == 20


def test_what_cannot_be_written_is_said(story: Path, tmp_path: Path) -> None:
    done = call(str(story), "--to", "jsonl", "--out", str(tmp_path))
    assert (done.exit_code, "is a folder" in done.stderr) == (2, True)
    done = call(str(story), "--to", "jsonl", "--out", str(story))
    assert (done.exit_code, "is the trace itself" in done.stderr) == (2, True)
    done = call(str(story), "--to", "pdf")
    assert done.exit_code == 2
    done = call(str(story), "--to", "jsonl", "--as", "nobody", "--out", str(tmp_path / "new"))
    assert (done.exit_code, (tmp_path / "new").exists()) == (2, False)
    done = call(str(story), "--to", "otlp", "--out", str(tmp_path / "a/b.jsonl"))
    assert (done.exit_code, (tmp_path / "a/b.jsonl").exists()) == (0, True)


# Legs.


def test_a_leg_that_nobody_answers_ends_when_it_has_been_idle(rows: list[dict[str, Any]]) -> None:
    ask = rows[0]
    later = rows[4] | {"time_us": ask["time_us"] + 2 * legs_.IDLE_US}
    later |= {"arrived_us": later["time_us"] + 5000}
    found = legs_.legs([ask, later])
    first = next(found)
    assert (first.node, first.answered, first.end_us) == (CITY, False, 0)
    assert len(list(found)) == 3


def test_a_repeat_has_a_name_of_its_own(rows: list[dict[str, Any]]) -> None:
    def shifted(by_us: int) -> list[dict[str, Any]]:
        return [
            row | {"time_us": row["time_us"] + by_us, "arrived_us": row["arrived_us"] + by_us}
            for row in rows[:4]
        ]

    found = list(legs_.legs([*shifted(0), *shifted(1_000_000)]))
    assert len(found) == len({leg.key for leg in found}) == 8
    assert [leg.again for leg in found] == [0] * 4 + [1] * 4


def test_an_answer_that_the_gate_refused_answers_nothing(rows: list[dict[str, Any]]) -> None:
    refused = [*rows[:3], rows[3] | {"refused": True, "code": "signature_invalid"}]
    (mine,) = [leg for leg in legs_.legs(refused) if leg.node == CITY]
    assert (mine.answered, mine.code) == (False, "signature_invalid")
    assert list(perfetto.write(legs_.legs(refused)))
