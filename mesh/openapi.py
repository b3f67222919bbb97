"""The services as an OpenAPI 3.1 document: the content of each, as a gateway in front would offer it.

The mesh itself speaks no HTTP verbs: what travels is a signed and sealed line (see `mesh/asyncapi.py`). The
document says so, and describes what a program that sits behind such a gateway would send and get: the query,
the attributes that the broker decides by, named as CloudEvents' HTTP binding names them, and the reply.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mesh.contract import (
    MESH,
    REASONS,
    address_pattern,
    code_schema,
    code_schemas,
    fields_beside,
    info,
    items_pattern,
    law_of,
    reference,
    schemas_of,
)
from mesh.message import RefusalData
from mesh.node import Node
from mesh.policy import LegalBasis, Procedure
from mesh.service import Code
from mesh.services import Offer, offers

DESCRIPTION = """\
The content of every service of the simulated public service mesh, as a gateway in front of it would offer it.
**Illustrative and unofficial**: no public wire specification of the 中間サーバー exists, and the simulator has no
such gateway.

What travels is not this content. The gateway would make one line of it: a compact JWS (Ed25519, RFC 9864) whose
payload is a CloudEvents 1.0 document. Its `data` is a JWE (ECDH-ES over X25519, A256GCM) that holds
`{id, source, recipient, data}` and that the recipient alone can open; its `subject` is a JWE for the broker alone,
with the sender's own linkage code. The broker decides by the attributes, adds a signed permit of at most 60 seconds,
and cannot read the content. The answer comes back in the same form. A request looks like this before it is signed:

```json
{"specversion": "1.0", "id": "...", "source": "muni/01208/child-allowance", "type": "tax.income.v1",
 "time": "2026-04-01T00:00:00.000000Z", "recipient": "muni/28100/tax", "datacontenttype": "application/jose",
 "subject": "(JWE)", "procedure": "child-allowance", "items": "tax_year total_income_yen",
 "expiry": "2026-04-01T00:05:00.000000Z", "data": "(JWE)"}
```

A refusal is signed by who refuses; its `code` says what happened, and no HTTP status is promised for it. Events and
notices are in the AsyncAPI document."""
DESCRIPTION_JA = """\
公共サービスメッシュ（シミュレーション）の全サービスの内容を、前段にゲートウェイを置いた場合の形で記述したものです。
**説明用の非公式な仕様**であり、実システムの通信仕様ではありません。シミュレータにこのゲートウェイはありません。

実際に流れるのは、CloudEvents 1.0の文書を本文とする署名付きメッセージ（JWS）です。`data`は宛先だけが開けるJWE、
`subject`はブローカーだけが開けるJWE（照会元自身の符号）です。ブローカーは属性だけで照会の可否を判断して許可証を付し、
内容は読めません。イベントとお知らせはAsyncAPI文書にあります。"""

CONSENT_PATTERN = "^.{1,64}$"
REFUSAL = "Refusal"


def openapi(
    classes: Iterable[type[Node]],
    bases: Iterable[LegalBasis],
    procedures: Iterable[Procedure] = (),
    *,
    version: str = "0",
) -> dict[str, Any]:
    """The document, ready for JSON. `version` is that of the simulator; the services carry their own."""
    asked = [offer for offer in offers(classes, bases) if offer.kind == "service"]
    schemas = {f"{MESH}.{REFUSAL}": _refusal_schema()} | code_schemas(asked)
    paths = {}
    for offer in asked:
        (query, reply), made = schemas_of(offer.name, (offer.declaration.query, offer.declaration.reply))  # type: ignore[union-attr]
        schemas |= made
        paths[f"/services/{offer.name}"] = {"post": _operation(offer, query, reply)}
    named = {procedure.id: procedure for procedure in procedures}
    used = sorted({procedure for offer in asked for procedure in offer.procedures})
    about = info(
        "Public service mesh simulator: services",
        "公共サービスメッシュ シミュレータ：サービス",
        version,
        DESCRIPTION,
        DESCRIPTION_JA,
    )
    about["license"]["identifier"] = about["license"]["name"]
    return {
        "openapi": "3.1.0",
        "info": about,
        "servers": [{"url": "/", "description": "A gateway in front of the mesh; the simulator has none."}],
        "tags": [{"name": name} for name in sorted({_tag(offer) for offer in asked})],
        "security": [{"nodeCertificate": []}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": {
                "nodeCertificate": {
                    "type": "mutualTLS",
                    "description": "The TLS key that the mesh's registry binds to the node's address.",
                }
            },
        },
        "x-procedures": [
            {"id": name, "title": named[name].title, "title-ja": named[name].title_ja}
            for name in used
            if name in named
        ],
    }


def _tag(offer: Offer) -> str:
    return offer.name.partition(".")[0]


def _operation(offer: Offer, query: dict[str, Any], reply: dict[str, Any]) -> dict[str, Any]:
    return {
        "operationId": offer.name,
        "tags": [_tag(offer)],
        "summary": offer.declaration.title,
        "description": _description(offer),
        "parameters": list(_parameters(offer)),
        "requestBody": {"required": True, "content": {"application/json": {"schema": query}}},
        "responses": {
            "200": {
                "description": "The reply: the items that were asked for, and no others. / 提供",
                "content": {"application/json": {"schema": reply}},
            },
            "default": {
                "description": "A signed refusal. / 照会拒否・提供不可",
                "content": {"application/json": {"schema": _refusal(offer)}},
            },
        },
        "x-personal": offer.personal,
        **fields_beside(offer),
    }


def _description(offer: Offer) -> str:
    """Both titles and the law, for whoever looks at the document in a tool."""
    if not offer.restricted:
        law = "It is open to every node that a zone path reaches. / 根拠行は不要です。"
    elif not offer.bases:
        law = "No row of the law lets anybody ask. / 照会できる根拠行がありません。"
    else:
        law = f"Who may ask, for which procedure, by which law / 照会の根拠:\n\n{law_of(offer)}"
    return f"{offer.declaration.title_ja}\n\n{law}"


def _parameters(offer: Offer) -> Iterable[dict[str, Any]]:
    """The CloudEvents attributes by which the broker decides; the gateway sets the others."""
    yield _header(
        "recipient",
        "The node that is asked. / 情報提供者",
        {"type": "string", "pattern": address_pattern(offer.provider_roles)},
    )
    if offer.personal:
        yield _header(
            "subject",
            "The asker's own linkage code of the person; the gateway seals it. / 自機関の符号",
            schemas_of(MESH, (Code,))[0][0],
        )
    if offer.restricted:
        known = {"enum": list(offer.procedures)} if offer.bases else {}
        yield _header("procedure", "The procedure for which it is asked. / 事務", {"type": "string", **known})
    if offer.personal and offer.items:
        yield _header(
            "items",
            "The items asked for, sorted, with single spaces; by default all. / 項目",
            {"type": "string", "pattern": items_pattern(offer.items)},
            required=False,
        )
    if any(basis.consent for basis in offer.bases):
        yield _header(
            "consent",
            "The id of the person's consent. / 同意",
            {"type": "string", "pattern": CONSENT_PATTERN},
            required=all(basis.consent for basis in offer.bases),
        )


def _header(
    attribute: str, description: str, schema: dict[str, Any], *, required: bool = True
) -> dict[str, Any]:
    return {
        "name": f"ce-{attribute}",
        "in": "header",
        "required": required,
        "description": description,
        "schema": schema,
    }


def _refusal(offer: Offer) -> dict[str, Any]:
    """A refusal with the codes that this service can be refused with."""
    said = {"code": code_schema(offer), "reason": reference(MESH, REASONS)}
    return {"allOf": [reference(MESH, REFUSAL), {"properties": said}]}


def _refusal_schema() -> dict[str, Any]:
    """What a refusal says: its code, the reason that the gateway finds under its seal, and what it carries beside them."""
    _, made = schemas_of(MESH, (RefusalData,))
    data: dict[str, Any] = made[f"{MESH}.{RefusalData.__name__}"]
    return data | {
        "title": REFUSAL,
        "properties": {"code": {"type": "string"}, "reason": {"type": "string"}, **data["properties"]},
        "required": ["code", *data["required"]],
    }
