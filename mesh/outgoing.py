"""A line that its sender has checked as the first gate will: form, lengths of attributes, size.

It is checked before anything is recorded, queued or sent: what fails here never leaves and is in no ledger.
"""

from __future__ import annotations

from typing import Any

import msgspec

from mesh import jws
from mesh.content import largest
from mesh.errors import Unsendable
from mesh.jws import LINE_SIZE_MAX
from mesh.keys import SigningKey
from mesh.message import encode
from mesh.misfit import misfit


def sign_line(message: Any, decoder: msgspec.json.Decoder[Any], key: SigningKey, kind: str) -> bytes:
    """The signed line of a message, which the decoder of its kind can read.

    Raises `Unsendable`: schema_invalid, message_malformed or message_too_large.
    """
    try:
        payload = encode(message)
        decoder.decode(payload)
    except msgspec.MsgspecError as error:
        raise Unsendable("schema_invalid", misfit(error)) from None
    except UnicodeEncodeError:
        raise Unsendable(
            "message_malformed", "an attribute holds a lone surrogate, which has no UTF-8"
        ) from None
    except (TypeError, ValueError, OverflowError):
        raise Unsendable("schema_invalid", "an attribute cannot be written as JSON") from None
    line = jws.sign(payload, key, typ=kind)
    if len(line) > LINE_SIZE_MAX:
        about = largest(message, len(payload))
        raise Unsendable(
            "message_too_large",
            f"{about}; the line would have {len(line):,} of at most {LINE_SIZE_MAX:,} bytes",
        )
    return line
