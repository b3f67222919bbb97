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
    "the permit is recorded twice": "同じ許可証の交付が二重に記録されています",
    "a push is opened without saying whether it is hidden": "プッシュの開始の記録に不開示該当フラグがあります",
    "its ledger runs backwards in time": "記録の時刻が、前の行より古くなっています",
    "it was signed at another time than it was recorded": "記録の時刻が、署名された文書の時刻と一致しません",
    "it was closed before its answer came": "完了の記録が、回答の到着より前の時刻です",
    "it was closed after its answer came": "完了の記録が、回答の到着より後の時刻です",
    "it was closed with an answer that never came to it": "届いていない回答で完了しています",
    "the answer is closed twice": "同じ回答が二重に完了しています",
    "it was closed for another recipient": "完了の記録の相手が、許可の相手と異なります",
    "somebody answered who was not asked": "照会を受けていない機関が回答しています",
    "the broker did not record the answer that it passed on": "中継された回答が、情報提供ネットワークシステムの記録にありません",
    "its subscriber did not record the receipt": "受領が、受信者の記録にありません",
    "it did not record its refusal": "署名した拒否が、その機関の記録にありません",
    "it refused what its gate did not refuse": "届いていない照会への拒否が記録されています",
    "a column is filled that is empty in a row of its kind": "この種類の記録では空である欄に、値があります",
    "it names a message of somebody else as its own": "他の機関のメッセージを、自らのものとして記録しています",
    "its permit never came to it": "届いていない許可証で提供しています",
    "its consent is of another person": "同意が別の人のものです",
    "its message is about another person": "記録の対象者が、メッセージの対象者と異なります",
    "it hides what no row of the law hides": "法令の表で不開示とされていない照会に、不開示該当フラグがあります",
    "one of its records names a person and another does not": "対象者の記録が、一方の記録にだけあります",
    "a code of its records is nobody's": "記録の符号が、誰のものでもありません",
    "a mark hides an exchange of others": "関与していない情報連携に、不開示該当フラグを付けています",
    "a mark hides what its requester does not hide": "情報照会者が不開示としていないものを、不開示としています",
    "a mark hides an exchange, and nobody asked for it": "依頼のない不開示該当フラグがあります",
    "the broker refuses what it had permitted": "情報提供ネットワークシステムが、許可した照会を自ら拒否しています",
    "a mark is there twice": "不開示該当フラグが二重に記録されています",
    "it hid an exchange in its own ledger only": "自らの記録だけを不開示とし、他の機関に依頼していません",
    "it hid an exchange at another time than it says": "不開示該当フラグの時刻が、依頼への回答の時刻と一致しません",
    "it says that it hid an exchange, and has no mark": "不開示とする依頼に応じたとありますが、フラグの記録がありません",
    "it shows an exchange that its requester hides": "情報照会者が不開示としたものを、開示しています",
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
        (r"(.*): the scenario broke off", "{0}：シナリオが途中で停止しました。"),
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
