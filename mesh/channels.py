"""Sealing at pace: one party's channels, towards whom it seals and from whom it opens.

Rules kept here:
1. A sender keeps one ephemeral key per recipient for at most an hour of monotonic time or 2^20 messages.
2. Fresh ephemerals are the caller's to give: from the operating system, or from a committed incarnation
   number in simulation, so that a restart never repeats key and counter.
3. Both sides keep derived keys, the least recently used leave first; deriving costs a key agreement.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mesh.errors import MeshError
from mesh.keys import SealingKey, SealPublicKey
from mesh.sealing import Channel, decrypt, key_of, read_header, split

EPHEMERAL_LIFE_US = 3_600_000_000
EPHEMERAL_USES_MAX = 2**20
CHANNELS_MAX = 8192
"""Derived keys kept by one sealer or opener."""
HEADER_KEPT_MAX = 1024
"""Bytes of a header whose key an opener keeps: one with blanks in it could be a thousand times as long."""


class Sealer:
    """All channels of one sender.

    `ephemeral(recipient, number)` gives a fresh X25519 key for each new (recipient, number);
    `monotonic_us` is the clock by which an ephemeral ages, which no one sets back.
    """

    def __init__(
        self, sender: str, ephemeral: Callable[[str, int], SealingKey], monotonic_us: Callable[[], int]
    ) -> None:
        self._sender = sender
        self._ephemeral = ephemeral
        self.monotonic_us = monotonic_us
        self._channels: dict[tuple[str, str], Channel] = {}
        self._made = 0

    def seal(self, document: bytes, recipient: str, key: SealPublicKey) -> str:
        """The compact JWE of a JSON object for the recipient's key; `message_too_large` above `mesh.padding.SIZE_MAX`."""
        now_us = self.monotonic_us()
        at = (recipient, key.kid)
        channel = self._channels.get(at)
        if (
            channel is None
            or channel.uses >= EPHEMERAL_USES_MAX
            or now_us - channel.born_us >= EPHEMERAL_LIFE_US
        ):
            channel = self._open_channel(at, key, now_us)
        return channel.seal(document)

    def _open_channel(self, at: tuple[str, str], key: SealPublicKey, now_us: int) -> Channel:
        self._channels.pop(at, None)
        if len(self._channels) >= CHANNELS_MAX:
            del self._channels[next(iter(self._channels))]
        self._made += 1
        ephemeral = self._ephemeral(at[0], self._made)
        channel = Channel(ephemeral, key, apu=self._sender, apv=at[0], born_us=now_us)
        self._channels[at] = channel
        return channel


class Opener:
    """What opens the seals made for one recipient's keys; remembers the derived keys of recent senders."""

    def __init__(self, recipient: str, key: SealingKey, former: Iterable[SealingKey] = ()) -> None:
        self._recipient = recipient
        self._newest = key.kid
        self._keys = {one.kid: one for one in (*former, key)}
        self._known: dict[bytes, tuple[str, AESGCM, str]] = {}

    def open(self, token: str, *, sender: str, check: Callable[[str], object] | None = None) -> bytes:
        """The document under a seal by `sender` for this recipient; otherwise `seal_invalid`, `key_weak`.

        `check(kid)` raises what is wrong with a key other than the newest; without it each of them opens.
        """
        parts = split(token)
        segment = parts[0]
        known = self._known.pop(segment, None) or self._derive(segment, check)
        if check is not None and known[2] != self._newest:
            check(known[2])
        if len(segment) <= HEADER_KEPT_MAX:
            self._known[segment] = known
        if known[0] != sender:
            raise MeshError("seal_invalid")
        return decrypt(known[1], parts)

    def _derive(self, segment: bytes, check: Callable[[str], object] | None) -> tuple[str, AESGCM, str]:
        if len(self._known) >= CHANNELS_MAX:
            del self._known[next(iter(self._known))]
        kid = key_of(segment)
        key = self._keys.get(kid)
        if key is None:
            if check is not None:
                check(kid)
            raise MeshError("seal_invalid")
        apu, apv, cipher = read_header(segment, key)
        if apv != self._recipient:
            raise MeshError("seal_invalid")
        return apu, cipher, kid
