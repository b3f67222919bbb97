"""What its publisher hears of a push that was given up."""

from __future__ import annotations

from msgspec import Struct


class DeadLetter(Struct, frozen=True, gc=False):
    """A push that its recipient refused for good, that the law lets go no longer, or that expired."""

    message: str
    """The id of the push."""
    push: str
    """The name of the event or notice."""
    by: str
    """Who said so: a recipient, or the broker."""
    code: str
    text: str
