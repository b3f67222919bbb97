"""What a comparison finds and what a file's notes say, in Japanese.

Fixed sentences have their translation here; for any other finding the code's own text stands, and any other note stays
as it is.
"""

from __future__ import annotations

import re
from typing import Final

from mesh.errors import CODES

_SENTENCES: Final = {
    "an exchange is opened by its requester": "照会の開始が、情報照会者以外の記録にあります",
    "the exchange is opened twice": "同じ照会の開始が二重に記録されています",
    "its message says otherwise": "記録がメッセージの内容と異なります",
    "its message has another procedure or other items": "記録の事務または項目が、メッセージと異なります",
    "only the broker permits": "情報提供ネットワークシステム以外が許可を記録しています",
    "the services differ": "サービスが記録の間で異なります",
    "provider, procedure or items differ": "情報提供者・事務・項目が記録の間で異なります",
    "a permit needs its digest": "許可の記録に許可証のダイジェストがありません",
    "the permit is of another request": "許可証は別の照会に対するものです",
    "an exchange is answered by its provider": "提供が、情報提供者以外の記録にあります",
    "it was answered without a permit": "情報提供許可証なしに提供されています",
    "it differs from its permit": "提供の記録が許可の記録と異なります",
    "it is hidden in one ledger and not in the other": "一方の記録だけが不開示となっています",
    "it was answered twice": "同じ照会に二重に提供されています",
    "requester and broker close an exchange": "完了が、情報照会者と情報提供ネットワークシステム以外の記録にあります",
    "only a receipt comes without a permit": "許可証のない完了が、受領以外に記録されています",
    "the broker closed what it never permitted": "許可していない照会を、情報提供ネットワークシステムが完了としています",
    "it was closed under a permit that nobody gave": "誰も交付していない許可証で完了しています",
    "its answer was given under another permit": "提供が別の許可証によるものです",
    "its answer says that something else came of it": "記録された結果が、回答そのものの内容と異なります",
    "its permit says otherwise": "許可の記録が許可証の内容と異なります",
    "its permit is about another person": "許可証は別の人についてのものです",
    "it was closed with an answer that its provider did not record": "届いた提供を、情報提供者が記録していません",
    "a refusal has a code of the table": "拒否の理由コードが定められたものではありません",
    "a mark hides an exchange": "不開示該当フラグの記録が不正です",
    "its requester never opened it": "情報照会者に照会開始の記録がありません",
    "the request digests differ": "照会のダイジェストが記録の間で異なります",
    "a digest is missing": "ダイジェストが記録されていません",
    "a digest is of another kind of message": "ダイジェストが別の種類のメッセージを指しています",
    "it names a message that does not verify": "署名などの検証に通らないメッセージを指しています",
    "it names a message that was never transmitted": "送信されていないメッセージを指しています",
    "its answer is to another request": "提供が別の照会に対するものです",
    "the broker did not record the permit that came with it": "交付された許可証が、情報提供ネットワークシステムの記録にありません",
    "its provider did not record the reply": "提供が、情報提供者の記録にありません",
    "its records name different persons": "記録の間で対象者が異なります",
    "a head was signed by another party": "ツリーヘッドに別の機関が署名しています",
}


def in_japanese(code: str, text: str) -> str:
    """What was found, in Japanese; of a sentence that is not fixed, what its code says."""
    declared = CODES.get(code)
    return _SENTENCES.get(text) or ("" if declared is None else declared.text_ja)


_NOTES: Final = tuple(
    (re.compile(pattern, re.DOTALL), japanese)
    for pattern, japanese in (
        (
            r"(.*) has format (\d+), and this version writes (\d+): what it lacks is left out",
            "{0}の形式は第{1}版です（現行は第{2}版）。記載のない項目は省いて表示します。",
        ),
        (r"(.*) is still being written; .*", "{0}は書き込みの途中です。これまでに確定した部分を表示します。"),
        (r"(.*) was interrupted; .*", "{0}は中断されました。中断までの記録を表示します。"),
        (r"(.*): the scenario broke off: (.*)", "{0}：シナリオが途中で停止しました：{1}"),
        (
            r"(.*?) is .*: not all of its table (\w+) can be read",
            "{0}は破損しています。表{1}の一部は読めません。",
        ),
        (
            r"(.*?) is .*; what comes before the break can be read",
            "{0}は途中で切れています。切れ目より前を表示します。",
        ),
        (r"(.*?) is damaged.*", "{0}は破損しています。読めるところまで表示します。"),
    )
)


def note_in_japanese(note: str) -> str:
    """What a file's note says, in Japanese; a note that is not known stays as it is."""
    for pattern, japanese in _NOTES:
        found = pattern.fullmatch(note)
        if found is not None:
            return japanese.format(*found.groups())
    return note
