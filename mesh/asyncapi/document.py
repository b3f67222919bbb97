"""The AsyncAPI 3.0 document: a channel for each service, event and notice, and what the broker does with it.

Schemas are JSON Schema draft 7, which every AsyncAPI tool reads.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mesh.asyncapi.channel import KINDS, Channel
from mesh.contract import MESH, code_schemas, info, schemas_of
from mesh.message import Body
from mesh.node import Node
from mesh.policy import LegalBasis
from mesh.services import offers

DESCRIPTION = """\
Everything that travels in the simulated public service mesh, told from the broker's side: it *receives* what
requesters and publishers send, and *sends* each on with its permit. **Illustrative and unofficial**: no public wire
specification of the 中間サーバー exists.

A message is one line: a compact JWS with exactly `alg` (`Ed25519`, RFC 9864), `kid` (RFC 7638) and `typ` (the kind of
message) in its header. The schemas here are those of its payload, a CloudEvents 1.0 document. `data` and `subject` are
JWE (ECDH-ES over X25519, A256GCM): `data` is for the recipient alone and holds what `x-sealed` describes, `subject` is
for the broker alone and holds the sender's own linkage code. On its way on, a message is followed by a newline and the
broker's permit; on its way back a reply or a receipt goes untouched. Who may send what to whom is in `x-legal-bases`;
an event goes to the subscribers that these rows name, and nobody else can subscribe."""
DESCRIPTION_JA = """\
公共サービスメッシュ（シミュレーション）で流れる全メッセージを、ブローカーの側から記述したものです。**説明用の非公式な
仕様**です。メッセージは1行のJWSで、ここに示すスキーマはその本文（CloudEvents 1.0）です。`data`は宛先だけ、`subject`は
ブローカーだけが開けるJWEで、中身は`x-sealed`に示します。送達時には情報提供許可証が次の行に付きます。イベントは根拠行に
定める機関だけに届き、それ以外は購読できません。"""


def asyncapi(
    classes: Iterable[type[Node]], bases: Iterable[LegalBasis], *, version: str = "0"
) -> dict[str, Any]:
    """The document, ready for JSON. `version` is that of the simulator; the services carry their own."""
    offered = offers(classes, bases)
    made = [Channel(offer) for offer in offered]
    schemas = schemas_of(MESH, (*KINDS.values(), Body))[1] | code_schemas(offered)
    messages: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    for channel in made:
        schemas |= channel.schemas
        messages |= channel.messages
        operations |= channel.operations
    return {
        "asyncapi": "3.0.0",
        "info": info(
            "Public service mesh simulator: messages",
            "公共サービスメッシュ シミュレータ：メッセージ",
            version,
            DESCRIPTION,
            DESCRIPTION_JA,
        ),
        "defaultContentType": "application/jose",
        "channels": {channel.offer.name: channel.document for channel in made},
        "operations": operations,
        "components": {
            "messages": messages,
            "schemas": {name: _draft7(schema) for name, schema in sorted(schemas.items())},
        },
    }


def _draft7(schema: Any) -> Any:
    """The schema in JSON Schema draft 7: tuples are written otherwise, and a discriminator is OpenAPI's own."""
    if isinstance(schema, list):
        return [_draft7(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _draft7(value) for key, value in schema.items() if not _is_later(key, value)}
    if isinstance(schema.get("prefixItems"), list):
        made |= {"items": _draft7(schema["prefixItems"]), "additionalItems": made.get("items", True)}
    return made


def _is_later(key: str, value: Any) -> bool:
    """Whether it is a keyword that draft 7 does not have, and no field of that name."""
    named = isinstance(value, dict) and "propertyName" in value
    return (key == "prefixItems" and isinstance(value, list)) or (key == "discriminator" and named)
