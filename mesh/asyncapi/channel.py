"""One declaration as a channel: its schemas, its messages, and what the broker does with them.

Rules kept here:
1. A channel has the name that its messages carry as `type`.
2. A payload's schema is that of the JWS payload, the CloudEvents document; what is under a seal stands beside
   it in `x-sealed`, since the broker passes it on unread.
3. A delivery is two lines, the message untouched and its permit; its schema is that of both payloads in order.
"""

from __future__ import annotations

from typing import Any

from mesh.asyncapi.examples import Examples
from mesh.contract import MESH, REASONS, code_schema, fields_beside, law_of, reference, schemas_of
from mesh.message import Body, Event, Notice, Permit, Receipt, Refusal, Reply, Request
from mesh.service import Code
from mesh.services import Offer

KINDS = {
    "request": Request,
    "reply": Reply,
    "refusal": Refusal,
    "event": Event,
    "notice": Notice,
    "receipt": Receipt,
    "permit": Permit,
}
"""The kinds of line, as `typ` names them, and the struct of each."""

TITLES = {
    "request": ("A question to one provider", "照会"),
    "reply": ("The provider's answer", "提供"),
    "refusal": ("A signed no", "照会拒否・提供不可"),
    "event": ("Something happened to a subject; no data", "プッシュ"),
    "notice": ("A sealed letter to one recipient", "お知らせ"),
    "receipt": ("A signed acknowledgement of a push", "受領"),
    "delivery": ("What goes on: the message, and the broker's permit on a second line", "送達（許可証付き）"),
}

_SEALED = {"type": "string", "contentMediaType": "application/jose"}


class Channel:
    """One declaration as a channel: its schemas, its messages, and what the broker does with them."""

    def __init__(self, offer: Offer) -> None:
        self.offer = offer
        self.sent = "request" if offer.kind == "service" else offer.kind
        """The kind of message that begins it."""
        self.answers = ("reply", "refusal") if offer.kind == "service" else ("receipt", "refusal")
        self.schemas: dict[str, Any] = {}
        self._contents = self._read_contents()
        for kind in (self.sent, *self.answers):
            self.schemas[f"{offer.name}.{kind}"] = self._payload(kind)
        self.schemas[f"{offer.name}.delivery"] = {
            "type": "array",
            "description": "The payloads of two lines, in order; not an array on the wire.",
            "items": [reference(offer.name, self.sent), reference(MESH, Permit.__name__)],
            "minItems": 2,
            "maxItems": 2,
        }
        self.messages = {
            f"{offer.name}.{kind}": self._message(kind) for kind in (self.sent, "delivery", *self.answers)
        }

    @property
    def document(self) -> dict[str, Any]:
        """The channel itself."""
        law = law_of(self.offer)
        return {
            "address": self.offer.name,
            "title": self.offer.declaration.title,
            "description": "\n\n".join(filter(None, (self.offer.declaration.title_ja, law))),
            "messages": {
                kind: {"$ref": f"#/components/messages/{self.offer.name}.{kind}"}
                for kind in (self.sent, "delivery", *self.answers)
            },
            "x-kind": self.offer.kind,
            **fields_beside(self.offer),
        }

    @property
    def operations(self) -> dict[str, Any]:
        """The broker takes it, and passes it on; each is answered."""
        name = self.offer.name
        return {
            f"{name}.take": self._operation(
                "receive", self.sent, f"The broker takes a {self.sent} and decides."
            ),
            f"{name}.pass": self._operation("send", "delivery", f"The broker passes the {self.sent} on."),
        }

    def _operation(self, action: str, kind: str, summary: str) -> dict[str, Any]:
        channel = {"$ref": f"#/channels/{self.offer.name}"}
        at = f"#/channels/{self.offer.name}/messages"
        return {
            "action": action,
            "channel": channel,
            "summary": summary,
            "messages": [{"$ref": f"{at}/{kind}"}],
            "reply": {"channel": channel, "messages": [{"$ref": f"{at}/{kind}"} for kind in self.answers]},
        }

    def _read_contents(self) -> dict[str, Any]:
        """What is sealed in which kind of message, as references; takes up the schemas."""
        declaration: Any = self.offer.declaration
        if self.offer.kind == "service":
            types = {"request": declaration.query, "reply": declaration.reply}
        else:
            types = {"notice": declaration.body} if self.offer.kind == "notice" else {}
        references, made = schemas_of(self.offer.name, tuple(types.values()))
        self.schemas |= made
        return dict(zip(types, references, strict=True))

    def _payload(self, kind: str) -> dict[str, Any]:
        """The CloudEvents document of a kind, as this declaration fills it."""
        fields: dict[str, Any] = {"type": {"const": self.offer.name}}
        if kind in self._contents:
            body = {"properties": {"data": self._contents[kind]}}
            fields["data"] = _SEALED | {"x-sealed": {"allOf": [reference(MESH, Body.__name__), body]}}
        if kind == self.sent:
            fields |= self._subject()
        if kind == "refusal":
            fields["code"] = code_schema(self.offer)
            fields |= self._reason()
        needed = ["subject", "procedure", "items"] if kind == "request" and self.offer.personal else []
        filled = {"properties": fields} | ({"required": needed} if needed else {})
        return {"allOf": [reference(MESH, KINDS[kind].__name__), filled]}

    def _reason(self) -> dict[str, Any]:
        """Why a provider gives no answer, for its requester alone; a push is refused openly."""
        if self.offer.kind != "service":
            return {}
        body = {"properties": {"data": {"properties": {"code": reference(MESH, REASONS)}}}}
        return {"reason": _SEALED | {"x-sealed": {"allOf": [reference(MESH, Body.__name__), body]}}}

    def _subject(self) -> dict[str, Any]:
        """The person that it is about, for the broker alone."""
        if not self.offer.personal and self.offer.kind == "service":
            return {}
        return {"subject": _SEALED | {"x-sealed": schemas_of(MESH, (Code,))[0][0]}}

    def _message(self, kind: str) -> dict[str, Any]:
        title, title_ja = TITLES[kind]
        examples = Examples(self.offer)
        message: dict[str, Any] = {
            "name": kind,
            "title": title,
            "payload": reference(self.offer.name, kind),
            "examples": [{"payload": examples.of(kind)}],
            "x-title-ja": title_ja,
            "x-typ": [self.sent, "permit"] if kind == "delivery" else [kind],
        }
        if kind in self.answers:
            message["correlationId"] = {
                "description": "SHA-256, in hex, of the JWS that is answered.",
                "location": "$message.payload#/requestdigest",
            }
        return message
