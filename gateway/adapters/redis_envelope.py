"""How a value is written in Redis: bound to its name, noticing any damage, sealed where wished."""

from __future__ import annotations

import hashlib
import secrets
import struct
import zlib
from dataclasses import dataclass, replace

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.adapters.cache_names import LAYOUT

_HEAD = struct.Struct(">BQ8s")
_CHECK = struct.Struct(">I")
_NONCE_BYTES = 12
_OPEN = b"GW" + bytes([LAYOUT])
_SEALED = b"GS" + bytes([LAYOUT])
EPOCH_BYTES = 8
_ABSENT = 1
_PACKED = 2
_MOST_PLAIN_BYTES = 256 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A value as it is stored; `life_ms`: its time to live at the age of 0.

    `is_packed`: the value is compressed (`packed`).
    """

    value: bytes
    is_absent: bool
    life_ms: int
    epoch: bytes
    is_packed: bool = False


class Envelopes:
    """Writes values and reads them again, with a secret where there is one.

    Without: a CRC-32 over name and content. With: AES-GCM with the name as associated data, so
    that nobody without the secret can read a value, change it or put it under another name; what
    was written without the secret is foreign then. Nonces are random: one secret is good for about
    four thousand million values (NIST SP 800-38D §8.3).
    """

    def __init__(self, secret: bytes = b"") -> None:
        self._seal = (
            AESGCM(hashlib.blake2b(secret, person=b"gateway seal", digest_size=32).digest())
            if secret
            else None
        )

    def sealed(self, name: str, envelope: Envelope) -> bytes:
        """`envelope` as it is written under `name`."""
        flags = envelope.is_absent * _ABSENT | envelope.is_packed * _PACKED
        head = _HEAD.pack(flags, envelope.life_ms, envelope.epoch)
        content = head + envelope.value
        if self._seal is None:
            return b"".join((_OPEN, _CHECK.pack(_check(name, content)), content))
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return b"".join((_SEALED, nonce, self._seal.encrypt(nonce, content, name.encode())))

    def opened(self, name: str, raw: bytes) -> Envelope | None:
        """What was sealed under `name`; None for anything else: foreign, cut off or swapped."""
        content = self._checked(name, raw) if self._seal is None else self._decrypted(name, raw)
        if content is None or len(content) < _HEAD.size:
            return None
        flags, life_ms, epoch = _HEAD.unpack_from(content)
        return Envelope(
            value=content[_HEAD.size :],
            is_absent=bool(flags & _ABSENT),
            is_packed=bool(flags & _PACKED),
            life_ms=life_ms,
            epoch=epoch,
        )

    def _checked(self, name: str, raw: bytes) -> bytes | None:
        start = len(_OPEN) + _CHECK.size
        content = raw[start:]
        if len(raw) < start or not raw.startswith(_OPEN):
            return None
        is_whole = _CHECK.unpack_from(raw, len(_OPEN))[0] == _check(name, content)
        return content if is_whole else None

    def _decrypted(self, name: str, raw: bytes) -> bytes | None:
        start = len(_SEALED) + _NONCE_BYTES
        if self._seal is None or len(raw) < start or not raw.startswith(_SEALED):
            return None
        try:
            return self._seal.decrypt(raw[len(_SEALED) : start], raw[start:], name.encode())
        except InvalidTag:
            return None


def packed(envelope: Envelope) -> Envelope:
    """The same in fewer bytes, where it can be made so."""
    value = zlib.compress(envelope.value, 1)
    if len(value) >= len(envelope.value):
        return envelope
    return replace(envelope, value=value, is_packed=True)


def unpacked(envelope: Envelope) -> Envelope | None:
    """What was packed, or never was; None where it cannot be read."""
    if not envelope.is_packed:
        return envelope
    inflate = zlib.decompressobj()
    try:
        value = inflate.decompress(envelope.value, _MOST_PLAIN_BYTES)
    except zlib.error:
        return None
    return replace(envelope, value=value, is_packed=False) if inflate.eof else None


def _check(name: str, content: bytes) -> int:
    return zlib.crc32(content, zlib.crc32(name.encode()))
