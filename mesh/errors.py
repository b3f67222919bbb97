"""Every way in which an exchange can fail: one table of codes, one exception.

Rules kept here:
1. A code has one step of the check order, one fault, one `definite` and one `again`; nothing else declares codes, or
   decides what is tried again.
2. The order of `Step` is the order in which every gate checks; a gate stops at its first failure.
3. A text quotes registered names only, never what a message carried: refusals must not echo payload.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Final


class Fault(StrEnum):
    """Who can mend the failure."""

    REQUESTER = "requester"
    PROVIDER = "provider"
    BROKER = "broker"
    NETWORK = "network"


class Step(Enum):
    """The steps of every gate, in the order in which they are checked."""

    FORM = ("size and form", "大きさと形式")
    KEY = ("algorithm and key", "アルゴリズムと鍵")
    SIGNATURE = ("signature", "署名")
    PAYLOAD = ("payload", "本文の形式")
    ADDRESS = ("address", "宛先")
    TIME = ("time", "時刻")
    DUPLICATE = ("duplicate", "重複")
    ZONE = ("zone", "接続系")
    AUTHORISATION = ("authorisation", "照会の許可")
    CONTENT = ("content", "内容")
    PROVIDER = ("provider", "提供者の処理")
    DELIVERY = ("delivery", "配送")
    REPLY = ("correlation", "照会と回答の対応")
    LEDGER = ("ledger", "記録")

    def __init__(self, title: str, title_ja: str) -> None:
        self.title = title
        self.title_ja = title_ja


class Again(Enum):
    """Whether trying again may help. It is independent of `definite`, which speaks of one attempt."""

    SAME_BYTES = (
        "same bytes",
        "only time or room is lacking: the mesh sends the same line again after a pause",
        "時間や空きが足りないだけ。メッシュが間隔をおいて同じ電文を再送する",
    )
    LATER = (
        "later",
        "somebody must mend something first: only a new question can succeed, and the mesh does not repeat it",
        "先に誰かが直す必要がある。新しい照会だけが成功し得るので、メッシュは照会を再送しない",
    )
    NEVER = (
        "never",
        "it stays wrong however often it comes: nothing repeats it",
        "何度送っても結果は変わらない。再送しない",
    )

    def __init__(self, title: str, text: str, text_ja: str) -> None:
        self.title = title
        self.text = text
        self.text_ja = text_ja


@dataclass(frozen=True, slots=True)
class Code:
    """What is fixed about one failure: where it is found, who mends it, whether it is final."""

    name: str
    step: Step
    fault: Fault
    definite: bool
    """True when the attempt certainly had no effect at the provider."""
    again: Again
    text: str
    text_ja: str
    fix: str
    """Who can do what about it, as one sentence."""
    fix_ja: str
    sealed: bool = False
    """Whether it says something of whom was asked about: then a refusal brings it under a seal, for its requester alone."""

    @property
    def outer(self) -> str:
        """The code that everybody learns who carries or records a refusal with this one."""
        return NOT_PROVIDED if self.sealed else self.name


NOT_PROVIDED: Final = "not_provided"
"""What stands outside a refusal whose code is sealed."""

_Row = tuple[str, Step, Fault, bool, Again, str, str, str, str]


def _table(*rows: _Row | tuple[*_Row, bool]) -> dict[str, Code]:
    return {row[0]: Code(*row) for row in rows}


def outer_of(code: str | None) -> str | None:
    """What the broker learns of the code that provider and requester have; None of an answer."""
    known = CODES.get(code or "")
    return code if known is None else known.outer


_SAME, _LATER, _NEVER = Again.SAME_BYTES, Again.LATER, Again.NEVER
_SEALED: Final = True
_R, _P, _B, _N = Fault.REQUESTER, Fault.PROVIDER, Fault.BROKER, Fault.NETWORK

CODES: dict[str, Code] = _table(
    ("message_too_large", Step.FORM, _R, True, _NEVER, "a line is longer than 1 MiB, or what is sealed in it than 512 KiB",
     "1行が1MiB、または封緘の中身が512KiBを超えています",
     "The sender splits the question or asks for fewer items.",
     "送信者が照会を分割するか、照会する項目を減らします。"),
    ("message_malformed", Step.FORM, _R, True, _NEVER, "not a well-formed message", "メッセージの形式が不正です",
     "The sender's developer builds the message with mesh.message and mesh.jws.",
     "送信者の開発担当が、mesh.message と mesh.jws でメッセージを作成します。"),
    ("algorithm_unsupported", Step.KEY, _R, True, _NEVER, "the algorithm is not Ed25519 (RFC 9864)",
     "署名アルゴリズムがEd25519ではありません", "The sender signs with alg Ed25519; EdDSA and all others are refused.",
     "送信者がalgをEd25519として署名します。EdDSAその他の方式は受け付けません。"),
    ("key_unknown", Step.KEY, _R, True, _LATER, "no registered node has this key", "登録されていない鍵です",
     "The sender's member enrols the node or signs with its registered key.",
     "送信者の属する機関がシステムを登録するか、登録済みの鍵で署名します。"),
    ("key_weak", Step.KEY, _R, True, _NEVER, "the key is a small-order or non-canonical point", "位数の小さい弱い鍵です",
     "The sender makes a new key; this one verifies messages that nobody signed.",
     "送信者が鍵を作り直します。この鍵では、誰も署名していないメッセージまで検証に通ってしまいます。"),
    ("certificate_expired", Step.KEY, _R, True, _LATER, "the node's certificate has expired", "証明書の有効期限が切れています",
     "The sender's member renews the certificate with the mesh authority.",
     "送信者の属する機関が、メッシュの認証局で証明書を更新します。"),
    ("certificate_not_yet_valid", Step.KEY, _R, True, _SAME, "the node's certificate is not valid yet",
     "証明書の有効期間が始まっていません", "The sender waits, or its member corrects the certificate's start.",
     "送信者が有効期間の開始を待つか、その属する機関が証明書の開始日時を訂正します。"),
    ("certificate_revoked", Step.KEY, _R, True, _NEVER, "the node's certificate was revoked", "証明書は失効しています",
     "The sender's member enrols a new key with the mesh authority.",
     "送信者の属する機関が、メッシュの認証局に新しい鍵を登録します。"),
    ("registry_stale", Step.KEY, _B, True, _SAME, "the registry known here is past its next update",
     "登録簿の更新期限が過ぎています", "The operator of the refusing party fetches the current registry.",
     "拒否した側の運用担当が、最新の登録簿を取得します。"),
    ("signature_invalid", Step.SIGNATURE, _R, True, _NEVER, "the signature does not match the bytes", "署名が一致しません",
     "The sender signs exactly the bytes it sends; look for a changed message on the way.",
     "送信者が、送信するバイト列そのものに署名します。途中で書き換えられていないかも確認します。"),
    ("schema_invalid", Step.PAYLOAD, _R, True, _NEVER, "the document does not fit its schema", "スキーマに合いません",
     "The sender follows the schema in the service catalogue.",
     "送信者がサービス一覧にあるスキーマに従います。"),
    ("sender_mismatch", Step.ADDRESS, _R, True, _NEVER, "the source is not the node that signed", "送信者と署名者が異なります",
     "The sender names itself as source; nobody signs for another node.",
     "送信者が自らをsourceとします。他のシステムに代わって署名することはできません。"),
    ("recipient_unknown", Step.ADDRESS, _R, True, _LATER, "no registered node has this address", "宛先が登録されていません",
     "The sender corrects the address, or the recipient's member enrols it.",
     "送信者が宛先を訂正するか、宛先の機関がシステムを登録します。"),
    ("service_unknown", Step.ADDRESS, _R, True, _NEVER, "the recipient does not offer this service",
     "宛先はこのサービスを提供していません", "The sender looks the service up in the catalogue (`services`).",
     "送信者がサービス一覧（`services`）で確認します。"),
    ("audience_mismatch", Step.ADDRESS, _R, True, _NEVER, "the message was made for another party", "宛先の異なるメッセージです",
     "Whoever forwarded it sends it to the party that it names.",
     "転送した者が、メッセージに記された宛先へ送ります。"),
    ("message_expired", Step.TIME, _R, True, _LATER, "the message is past its expiry, or lives too long",
     "有効期限切れ、または有効期間が長すぎます", "The sender sends a new message with a short expiry.",
     "送信者が、有効期間の短い新しいメッセージを送ります。"),
    ("message_from_future", Step.TIME, _R, True, _SAME, "the message is dated more than 300 s ahead",
     "送信時刻が300秒以上先です", "The sender corrects its clock.",
     "送信者が時計を合わせます。"),
    ("id_conflict", Step.DUPLICATE, _R, True, _NEVER, "this id was used for another message", "同じIDの別メッセージがあります",
     "The sender uses a new id for every message.",
     "送信者がメッセージごとに新しいIDを使います。"),
    ("zone_forbidden", Step.ZONE, _R, True, _NEVER, "no allowed path joins the two zones", "許可されていない接続系間の通信です",
     "The sender goes through a gateway with an allowed path (特定通信).",
     "送信者が、許可された経路（特定通信）のある中継システムを経由します。"),
    ("no_legal_basis", Step.AUTHORISATION, _R, True, _NEVER, "no legal basis joins requester, procedure, provider and service",
     "照会の法的根拠がありません", "The requester names the procedure that the law lists, or asks the resident for paper.",
     "情報照会者が法令に掲げられた事務を指定するか、本人に書類の提出を求めます。"),
    ("assessment_missing", Step.AUTHORISATION, _R, True,_LATER,
     "the requester published no specific personal information protection assessment (番号法28条)",
     "特定個人情報保護評価が公表されていません", "The requester's member publishes its assessment first.",
     "情報照会者の機関が、先に特定個人情報保護評価書を公表します。"),
    ("item_not_permitted", Step.AUTHORISATION, _R, True, _NEVER, "an item asked for is outside the legal basis",
     "法的根拠にない項目が含まれています", "The requester asks for the items that the basis lists, and no others.",
     "情報照会者が、法的根拠に掲げられた項目だけを照会します。"),
    ("consent_required", Step.AUTHORISATION, _R, True, _LATER, "this needs a consent of the person that covers it",
     "本人の同意が必要です", "The requester obtains a consent for this service, procedure and these items.",
     "情報照会者が、このサービス・事務・項目について本人の同意を得ます。"),
    ("consent_expired", Step.AUTHORISATION, _R, True, _LATER, "the consent is past its term or used up",
     "同意の期間または回数を超えています", "The requester asks the person to consent again.",
     "情報照会者が、改めて本人の同意を得ます。"),
    ("consent_withdrawn", Step.AUTHORISATION, _R, True, _NEVER, "the person withdrew the consent", "同意は撤回されています",
     "Nobody may use it; the requester deletes what it no longer needs.",
     "この同意は誰も使えません。情報照会者は、不要となった情報を削除します。"),
    ("linkage_code_unknown", Step.AUTHORISATION, _R, True, _LATER, "the subject is no issued linkage code",
     "発行されていない符号です", "The requester obtains the person's code from the code issuer.",
     "情報照会者が、符号を発行する機関から本人の符号を取得します。"),
    ("linkage_code_foreign", Step.AUTHORISATION, _R, True, _NEVER, "the subject is another member's linkage code",
     "他機関の符号です", "The requester uses its own code; another's is of no use to it.",
     "情報照会者が自機関の符号を使います。他機関の符号は使えません。"),
    ("rate_limited", Step.AUTHORISATION, _R, True, _SAME, "the requester asks faster than its limit", "照会頻度の上限を超えています",
     "The requester waits and sends the same message again.",
     "情報照会者が時間をおいて、同じメッセージを再送します。"),
    ("seal_invalid", Step.CONTENT, _R, True, _LATER, "the seal does not open, or belongs to another message",
     "封緘が開けないか、別のメッセージのものです", "The sender seals for the recipient's registered key and this very message.",
     "送信者が、宛先の登録済みの鍵で、このメッセージのために封緘します。"),
    ("seal_key_revoked", Step.CONTENT, _N, True, _NEVER, "the key for which it is sealed was revoked meanwhile",
     "封緘に使われた鍵は、その後失効しました",
     "The sender sends a new message, which is sealed for the recipient's present key.",
     "送信者が、宛先の現在の鍵で封緘した新しいメッセージを送ります。"),
    ("over_broad", Step.CONTENT, _R, True, _NEVER, "the question covers more persons than its basis allows",
     "対象者数が許可の範囲を超えています", "The requester splits the question.",
     "情報照会者が照会を分割します。"),
    ("personal_number_exposed", Step.CONTENT, _R, True, _NEVER, "the content holds what reads as a personal number",
     "個人番号とみられる値が含まれています", "The sender removes it: personal numbers never travel.",
     "送信者が取り除きます。個人番号は決して送受信しません。"),
    ("not_found", Step.PROVIDER, _P, True, _LATER, "the provider holds no such record", "該当する記録がありません",
     "The requester checks the question, or asks the resident for paper.",
     "情報照会者が照会内容を確認するか、本人に書類の提出を求めます。", _SEALED),
    ("withheld", Step.PROVIDER, _P, True, _LATER, "the provider lawfully withholds the record", "提供できない情報です（提供不可）",
     "The requester turns to the provider's office by letter.",
     "情報照会者が、情報提供者の窓口に文書で照会します。", _SEALED),
    ("manual_review", Step.PROVIDER, _P, True, _LATER, "an official of the provider must decide", "自動応答できません（自動応答不可）",
     "The requester waits for the official, or asks the resident for paper.",
     "情報照会者が担当者の判断を待つか、本人に書類の提出を求めます。", _SEALED),
    ("replica_missing", Step.PROVIDER, _P, True, _LATER, "the provider has not registered its copy yet", "副本が登録されていません",
     "The provider registers the copy (副本); until then the resident brings paper.",
     "情報提供者が副本を登録します。それまでは本人が書類を提出します。", _SEALED),
    ("not_provided", Step.PROVIDER, _P, True, _LATER, "the provider gives no answer, and tells why to the requester alone",
     "提供できません（理由は情報照会者だけに伝えられます）",
     "The requester opens the refusal: the reason is under its seal.",
     "情報照会者が、拒否に封緘された理由を確認します。"),
    ("handler_failed", Step.PROVIDER, _P, False, _LATER, "the provider's handler failed", "提供者の処理が失敗しました",
     "The provider's developer reads its log.",
     "情報提供者の開発担当がログを確認します。"),
    ("recipient_unreachable", Step.DELIVERY, _N, True, _SAME, "the recipient cannot be reached", "宛先に到達できません",
     "The sender tries again later; the operator looks at the recipient's node.",
     "送信者が後で再送し、運用担当が宛先のシステムを確認します。"),
    ("timeout", Step.DELIVERY, _N, False, _SAME, "no answer came in time", "応答が時間内に届きませんでした",
     "The sender repeats the same message: its effect happens once.",
     "送信者が同じメッセージを再送します。処理が行われるのは一度だけです。"),
    ("overloaded", Step.DELIVERY, _N, True, _SAME, "the party has no room for more work", "処理能力を超えています",
     "The sender waits and sends the same message again.",
     "送信者が時間をおいて、同じメッセージを再送します。"),
    ("storage_unavailable", Step.DELIVERY, _P, False, _SAME, "the party cannot write its database", "記録できません（保存領域の障害）",
     "The operator of the refusing party mends its storage.",
     "拒否した側の運用担当が保存領域を復旧します。"),
    ("correlation_mismatch", Step.REPLY, _P, False, _NEVER, "the answer belongs to no open request, or to another",
     "照会と対応しない回答です", "The answering party answers the request that it received, once.",
     "回答する側が、受け取った照会に対して一度だけ回答します。"),
    ("ledger_broken", Step.LEDGER, _P, False, _NEVER, "a ledger does not agree with its head or with the others",
     "記録が改ざんされているか、一致しません", "The commission inspects the party whose record is named.",
     "個人情報保護委員会が、記録の名義となっている機関を検査します。"),
)  # fmt: skip


class MeshError(Exception):
    """A failure with a stable code.

    `text` says what was wrong this time; by default it is the code's own text. It may quote registered
    names, never payload. `detail` names the declared field and its limit, or the address, for whoever wrote
    them: it is said in this process only, and never signed.
    """

    def __init__(self, code: str, text: str | None = None, *, detail: str | None = None) -> None:
        self.code = code
        self.signed_text = CODES[code].text if text is None else text
        """What a refusal with this error says."""
        self.detail = detail
        super().__init__(f"{code}: {self.text}")

    @property
    def text(self) -> str:
        """What was wrong, with the detail."""
        return self.signed_text if self.detail is None else f"{self.signed_text} ({self.detail})"

    @property
    def step(self) -> Step:
        """The step of the check order at which this code is found."""
        return CODES[self.code].step

    @property
    def fault(self) -> Fault:
        """Who can mend it."""
        return CODES[self.code].fault

    @property
    def definite(self) -> bool:
        """Whether the attempt certainly had no effect."""
        return CODES[self.code].definite

    @property
    def again(self) -> Again:
        """Whether trying again may help."""
        return CODES[self.code].again

    @property
    def fix(self) -> str:
        """What to do about it, as one sentence."""
        return CODES[self.code].fix


class Unsendable(MeshError):
    """What a sender's own check refused, with the code that the first gate would give: it never left, and is in no ledger."""

    def __init__(self, code: str, detail: str | None) -> None:
        super().__init__(code, detail=detail)


class Refused(MeshError):
    """The answer to `ask` was a refusal, or no answer came.

    `by` is the address that refused, or None for the requester's own time-out. `definite` is False as soon
    as one of several attempts may have had its effect, or whoever refused says that another copy may. `fault` is the
    code's own, unless the requester knows better whose clock or registry is wrong.
    """

    def __init__(
        self,
        code: str,
        text: str | None = None,
        *,
        by: str | None = None,
        message: str = "",
        attempts: int = 1,
        definite: bool = True,
        fault: Fault | None = None,
    ) -> None:
        super().__init__(code, text)
        self.by = by
        self._fault = fault
        self._definite = definite and attempts == 1
        self.message = message
        """The id of the refusal, or of the request when none came."""

    @property
    def fault(self) -> Fault:
        """Who can mend it."""
        return CODES[self.code].fault if self._fault is None else self._fault

    @property
    def definite(self) -> bool:
        """Whether nothing of the exchange had an effect: this attempt, and there was no other."""
        return self._definite and CODES[self.code].definite


class NotFound(MeshError):
    """A handler raises this when it holds no such record."""

    def __init__(self, text: str | None = None) -> None:
        super().__init__("not_found", text)


class Withheld(MeshError):
    """A handler raises this when the record may not be given (提供不可)."""

    def __init__(self, text: str | None = None) -> None:
        super().__init__("withheld", text)


class ManualReview(MeshError):
    """A handler raises this when an official must decide (自動応答不可)."""

    def __init__(self, text: str | None = None) -> None:
        super().__init__("manual_review", text)


class ReplicaMissing(MeshError):
    """A handler raises this when the copy (副本) that answers was never registered."""

    def __init__(self, text: str | None = None) -> None:
        super().__init__("replica_missing", text)


class UsageError(Exception):
    """What a person typed or wrote cannot be used; the text says what, and how to mend it, in one line."""
