"""The OpenAPI and AsyncAPI documents: valid by the public validators, and true of what really travels.

Validity is judged by openapi-spec-validator and by AsyncAPI's own JSON Schema, which stands in
tests/specifications. Truth is judged by a recorded run: every payload fits the schema of its channel, and
what is under its seals fits the schemas of the content.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from click.testing import CliRunner, Result
from jsonschema import Draft7Validator, Draft202012Validator
from msgspec import Meta, Struct
from openapi_spec_validator import validate

from mesh import jws
from mesh.asyncapi.document import asyncapi
from mesh.cli.app import make_root
from mesh.loading import modules_of, node_classes, scenarios_of
from mesh.message import Event
from mesh.names import BROKER
from mesh.node import Node
from mesh.openapi import openapi
from mesh.party import UNKNOWN_TYPE, decode_body
from mesh.policy import LegalBasis
from mesh.runner import run_scenario
from mesh.service import Caller, EventType, NoticeType, PersonalService, Service, receives, serves
from mesh.trace.opener import opener_of
from mesh.trace.reader import Trace
from nodes.data.law import read_law

SPECIFICATION = Path(__file__).parent / "specifications" / "asyncapi-3.0.0.json"
LAW = read_law()
CLASSES = node_classes(modules_of("nodes"))

Document = dict[str, Any]


@pytest.fixture(scope="module")
def services() -> Document:
    return openapi(CLASSES, LAW.bases, LAW.procedures, version="1.0.0")


@pytest.fixture(scope="module")
def messages() -> Document:
    return asyncapi(CLASSES, LAW.bases, version="1.0.0")


@pytest.fixture(scope="module")
def specification() -> Draft7Validator:
    return Draft7Validator(json.loads(SPECIFICATION.read_text(encoding="utf-8")))


@pytest.fixture(scope="module", params=["birth", "child_allowance"])
def trace(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trace]:
    path = tmp_path_factory.mktemp("run") / "run.trace"
    assert run_scenario(scenarios_of("scenarios")[request.param], trace=path, nodes="nodes").held
    with Trace.open(path) as opened:
        yield opened


def faults(document: Document, schema: Document, value: Any) -> list[str]:
    """Where a value does not fit a schema of the document."""
    kind = Draft202012Validator if "openapi" in document else Draft7Validator
    whole = {"components": document["components"], "allOf": [schema]}
    return [f"{error.json_path}: {error.message}" for error in kind(whole).iter_errors(value)]


# Valid, by those who wrote the standards.


def test_openapi_is_valid(services: Document) -> None:
    validate(services)


def test_asyncapi_is_valid(messages: Document, specification: Draft7Validator) -> None:
    assert [error.json_path for error in specification.iter_errors(messages)] == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda document: document["channels"]["tax.income.v1"].update(adress="x"),
        lambda document: document["operations"]["tax.income.v1.take"].update(action="publish"),
        lambda document: document.pop("info"),
        lambda document: document["components"]["schemas"]["mesh.Permit"].update(type="record"),
    ],
)
def test_the_asyncapi_schema_finds_faults(specification: Draft7Validator, spoil: Any) -> None:
    document = asyncapi(CLASSES, LAW.bases)
    spoil(document)
    assert list(specification.iter_errors(document))


def test_every_schema_is_a_schema(services: Document, messages: Document) -> None:
    for kind, document in ((Draft202012Validator, services), (Draft7Validator, messages)):
        for schema in document["components"]["schemas"].values():
            kind.check_schema(schema)


def test_every_reference_leads_somewhere(services: Document, messages: Document) -> None:
    def references(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            yield from ([value["$ref"]] if isinstance(value.get("$ref"), str) else ())
            value = list(value.values())
        for part in value if isinstance(value, list) else ():
            yield from references(part)

    for document in (services, messages):
        found = sorted(set(references(document)))
        assert found
        for one in found:
            at = document
            for part in one.removeprefix("#/").split("/"):
                at = at[part]


def test_every_example_fits_its_schema(messages: Document) -> None:
    checked = 0
    for name, message in messages["components"]["messages"].items():
        for example in message["examples"]:
            assert faults(messages, message["payload"], example["payload"]) == [], name
            checked += 1
    assert checked == 4 * len(messages["channels"])


# True of what travels.


def test_what_travels_fits_the_schema_of_its_channel(messages: Document, trace: Trace) -> None:
    kinds = set()
    for sent in trace.transmissions():
        payload = json.loads(jws.parse(sent.message.line).payload)
        kind = jws.parse(sent.message.line).typ
        if sent.permit is not None:
            payload, kind = [payload, json.loads(jws.parse(sent.permit.line).payload)], "delivery"
        if sent.message.service == UNKNOWN_TYPE:
            continue  # Refused before anybody read what it was: of no service, and so in no channel.
        channel = messages["channels"][sent.message.service or ""]
        (reference,) = [one for name, one in channel["messages"].items() if name == kind]
        message = messages["components"]["messages"][reference["$ref"].rpartition("/")[2]]
        assert faults(messages, message["payload"], payload) == []
        kinds.add(kind)
    assert {"request", "reply", "delivery"} <= kinds


def test_what_is_under_a_seal_fits_the_schema_of_the_content(
    services: Document, messages: Document, trace: Trace
) -> None:
    opened = set()
    for sent in trace.transmissions():
        token = jws.parse(sent.message.line)
        document = json.loads(token.payload)
        if document["type"] == UNKNOWN_TYPE:
            continue
        sealed = messages["components"]["schemas"].get(f"{document['type']}.{token.typ}")
        fields = sealed["allOf"][1]["properties"]
        for field, reader in (("data", document["recipient"]), ("subject", BROKER)):
            schema = fields.get(field, {}).get("x-sealed")
            if schema is None or field not in document:
                continue
            opener = opener_of(trace, reader)
            assert opener is not None
            plain = opener.open(document[field], sender=document["source"])
            content = json.loads(bytes(decode_body(plain).data))
            if field == "data":
                assert faults(messages, schema, json.loads(plain)) == []
                if token.typ in ("request", "reply"):
                    assert (
                        faults(services, content_schema(services, document["type"], token.typ), content) == []
                    )
            else:
                assert faults(messages, schema, content) == []
            opened.add((token.typ, field))
    assert {("request", "data"), ("request", "subject"), ("reply", "data")} <= opened


def content_schema(services: Document, name: str, kind: str) -> Document:
    operation = services["paths"][f"/services/{name}"]["post"]
    body = operation["requestBody"] if kind == "request" else operation["responses"]["200"]
    schema: Document = body["content"]["application/json"]["schema"]
    return schema


def test_refusals_in_a_run_are_among_those_foretold(services: Document, trace: Trace) -> None:
    for sent in trace.transmissions():
        token = jws.parse(sent.message.line)
        document = json.loads(token.payload)
        path = services["paths"].get(f"/services/{document['type']}")
        if token.typ == "refusal" and path is not None:
            said = {"code": document["code"], **document["data"]}
            schema = path["post"]["responses"]["default"]["content"]["application/json"]["schema"]
            assert faults(services, schema, said) == []


# What the documents say.


def test_a_service_says_who_may_ask_for_what_and_why(services: Document) -> None:
    operation = services["paths"]["/services/tax.income.v1"]["post"]
    assert operation["operationId"] == "tax.income.v1"
    assert (operation["x-title-ja"], operation["x-zone"]) == ("所得・個人住民税情報", "mynumber")
    bases = {basis["id"]: basis for basis in operation["x-legal-bases"]}
    assert bases["ca-tax"]["from"] == "2024-10-01T00:00:00+09:00"
    assert bases["ca-tax"]["items"] == ("tax_year", "total_income_yen")
    assert bases["ca-tax"]["citation"] in operation["description"]
    headers = {one["name"]: one for one in operation["parameters"]}
    assert set(headers) == {"ce-recipient", "ce-subject", "ce-procedure", "ce-items"}
    assert "child-allowance" in headers["ce-procedure"]["schema"]["enum"]
    for name, value, fits in (
        ("ce-recipient", "muni/28100/tax", True),
        ("ce-recipient", "muni/28100/taxes", False),
        ("ce-items", "tax_year total_income_yen", True),
        ("ce-items", "tax_year personal_number", False),
        ("ce-items", "tax_year  tax_yen", False),
    ):
        assert (faults(services, headers[name]["schema"], value) == []) is fits, value


def test_an_event_goes_to_whom_the_law_names(messages: Document) -> None:
    channel = messages["channels"]["resident.birth.v1"]
    assert (channel["x-kind"], channel["address"]) == ("event", "resident.birth.v1")
    assert {"muni/*/child-allowance", "muni/*/health"} <= set(channel["x-roles"])
    take = messages["operations"]["resident.birth.v1.take"]
    assert take["action"] == "receive"
    replies = [one["$ref"].rpartition("/")[2] for one in take["reply"]["messages"]]
    assert replies == ["receipt", "refusal"]
    assert "data" not in json.dumps(messages["components"]["schemas"]["resident.birth.v1.event"])


class One(Struct, frozen=True):
    """The first of two structs with one name."""

    count: int


One_ = One


class Twin:
    class One(Struct, frozen=True):
        """The second."""

        pair: tuple[int, Annotated[str, Meta(max_length=3)]]
        again: One_ | None = None


FIRST = Service("twin.first.v1", One, One, title="First", title_ja="一")
SECOND = Service("twin.second.v1", Twin.One, Twin.One, title="Second", title_ja="二")
THIRD = PersonalService("twin.second.v2", Twin.One, Twin.One, title="Third", title_ja="三")
HEARD = EventType("twin.heard.v1", title="Heard", title_ja="聞")
LETTER = NoticeType("twin.letter.v1", One, title="Letter", title_ja="手紙")


class Office(Node):
    """Offers two services whose structs have one name, and hears two pushes that no law names."""

    @serves(FIRST)
    async def first(self, query: One, caller: Caller) -> One:
        return query

    @serves(SECOND)
    async def second(self, query: Twin.One, caller: Caller) -> Twin.One:
        return query

    @serves(THIRD)
    async def third(self, query: Twin.One, caller: Caller, person: str) -> Twin.One:
        return query

    @receives(HEARD)
    async def heard(self, event: Event, caller: Caller, person: str) -> None:
        """Nothing to do."""

    @receives(LETTER)
    async def letter(self, body: One, caller: Caller, person: str) -> None:
        """Nothing to do."""


def test_equal_names_of_structs_do_not_meet() -> None:
    document = openapi([Office], [])
    validate(document)
    first = document["components"]["schemas"]["twin.first.v1.One"]
    assert set(first["properties"]) == {"count"}
    query = content_schema(document, "twin.second.v1", "request")
    assert faults(document, query, {"pair": [1, "abc"], "again": {"count": 2}}) == []
    assert faults(document, query, {"pair": [1, "abcd"]}) != []
    assert faults(document, query, {"pair": [1, "abc"], "again": {"pair": [1, "a"]}}) != []


def test_a_new_service_renames_no_schema_of_another() -> None:
    class Alone(Node):
        @serves(FIRST)
        async def first(self, query: One, caller: Caller) -> One:
            return query

    alone = openapi([Alone], [])["components"]["schemas"]
    both = openapi([Office], [])["components"]["schemas"]
    assert {name: both[name] for name in alone} == alone


def test_a_tuple_is_one_in_draft_7_too(specification: Draft7Validator) -> None:
    document = asyncapi([Office], [])
    assert list(specification.iter_errors(document)) == []
    sealed = document["components"]["schemas"]["twin.second.v1.request"]["allOf"][1]["properties"]["data"][
        "x-sealed"
    ]
    body = {"id": "1", "source": "a", "recipient": "b"}
    for pair, fits in (([1, "abc"], True), (["abc", 1], False), ([1], False), ([1, "abc", 2], False)):
        assert (faults(document, sealed, body | {"data": {"pair": pair}}) == []) is fits


class Cash(Struct, frozen=True, tag=True):
    """One of two ways to pay."""

    yen: int


class Card(Struct, frozen=True, tag=True):
    """The other."""

    uses: int


class Payment(Struct, frozen=True):
    """Paid one way or the other."""

    by: Cash | Card


def test_a_choice_of_structs_is_one_in_both_standards(specification: Draft7Validator) -> None:
    paid = Service("twin.paid.v1", Payment, Payment, title="Paid", title_ja="支払")

    class Desk(Node):
        @serves(paid)
        async def pay(self, query: Payment, caller: Caller) -> Payment:
            return query

    services, messages = openapi([Desk], []), asyncapi([Desk], [])
    validate(services)
    assert list(specification.iter_errors(messages)) == []
    for document in (services, messages):
        schema = {"$ref": "#/components/schemas/twin.paid.v1.Payment"}
        assert faults(document, schema, {"by": {"type": "Cash", "yen": 300}}) == []
        assert faults(document, schema, {"by": {"type": "Cheque", "yen": 300}}) != []


def test_without_law_the_examples_fit_and_the_documents_say_that_nobody_may_ask() -> None:
    services, messages = openapi([Office], []), asyncapi([Office], [])
    test_every_example_fits_its_schema(messages)
    personal = services["paths"]["/services/twin.second.v2"]["post"]
    assert "No row of the law" in personal["description"]
    assert personal["x-versions"] == [1, 2]
    assert "根拠行は不要" in services["paths"]["/services/twin.first.v1"]["post"]["description"]


def test_a_consent_stands_among_the_parameters_of_what_needs_one() -> None:
    bases = [LegalBasis("firm/*/app", "self", "muni/*/office", FIRST.name, consent=True)]
    operation = openapi([Office], bases)["paths"]["/services/twin.first.v1"]["post"]
    (consent,) = [one for one in operation["parameters"] if one["name"] == "ce-consent"]
    assert consent["required"] is True
    codes = json.dumps(operation["responses"]["default"])
    assert "mesh.codes.consent" in codes
    assert "mesh.codes.assessment" not in codes


# The command.


def cli(*arguments: str) -> Result:
    return CliRunner().invoke(make_root(nodes="nodes", scenarios=None), ["services", *arguments])


@pytest.mark.parametrize("option", ["--openapi", "--asyncapi"])
def test_the_command_prints_one_document_the_same_each_time(option: str) -> None:
    first = cli(option)
    assert first.exit_code == 0
    document = json.loads(first.stdout)
    assert {"openapi": "3.1.0", "asyncapi": "3.0.0"}[option[2:]] == document[option[2:]]
    assert cli(option).stdout == first.stdout


@pytest.mark.parametrize(
    "options", [("--openapi", "--asyncapi"), ("--openapi", "--json"), ("--asyncapi", "--json")]
)
def test_one_document_at_a_time(options: tuple[str, ...]) -> None:
    result = cli(*options)
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert "choose one" in result.stderr


def test_a_file_of_ones_own_is_described_too(tmp_path: Path, specification: Draft7Validator) -> None:
    file = tmp_path / "nursery.py"
    file.write_text(
        "from msgspec import Struct\n"
        "from mesh import Caller, Node, Service, serves\n"
        "class Ask(Struct, frozen=True, forbid_unknown_fields=True):\n    nursery: str\n"
        "class Places(Struct, frozen=True):\n    free: int\n"
        "PLACES = Service('nursery.places.v1', Ask, Places, title='Places', title_ja='空き')\n"
        "class Nursery(Node):\n"
        "    @serves(PLACES)\n"
        "    async def free(self, query: Ask, caller: Caller) -> Places:\n        return Places(1)\n",
        encoding="utf-8",
    )
    document = json.loads(cli(str(file), "--openapi").stdout)
    validate(document)
    assert document["components"]["schemas"]["nursery.places.v1.Places"]["required"] == ["free"]
    document = json.loads(cli(str(file), "--asyncapi").stdout)
    assert list(specification.iter_errors(document)) == []
    assert "nursery.places.v1" in document["channels"]
