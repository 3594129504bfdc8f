"""How a value is written in Redis: under a name that tells nothing, noticing any damage."""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass

LAYOUT = 1
"""Version of key names and envelopes; another version never sees this one's keys."""
_HEAD = struct.Struct(">2sBBQ8s")
_CHECK = struct.Struct(">I")
PREFIX_BYTES = _HEAD.size + _CHECK.size
"""Magic, layout, is absent, life in ms, epoch; CRC-32 of these, the key's name and the value."""
MAGIC = b"GW"


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A value as it is stored; `life_ms`: its time to live at the age of 0."""

    value: bytes
    is_absent: bool
    life_ms: int
    epoch: bytes


def key_name(key: str) -> str:
    """Name of the value's key in Redis, with the hash slot that all keys of an entry share."""
    return f"gw:{LAYOUT}:{{{hashlib.sha256(key.encode()).hexdigest()}}}"


def sealed(name: str, envelope: Envelope) -> bytes:
    """`envelope` as it is written under `name`."""
    head = _HEAD.pack(MAGIC, LAYOUT, envelope.is_absent, envelope.life_ms, envelope.epoch)
    return b"".join((head, _CHECK.pack(_check(name, head, envelope.value)), envelope.value))


def opened(name: str, raw: bytes) -> Envelope | None:
    """What was sealed under `name`; None for anything else: foreign, cut off or swapped."""
    head, check, value = raw[: _HEAD.size], raw[_HEAD.size : PREFIX_BYTES], raw[PREFIX_BYTES:]
    if len(raw) < PREFIX_BYTES or _CHECK.unpack(check)[0] != _check(name, head, value):
        return None
    magic, layout, is_absent, life_ms, epoch = _HEAD.unpack(head)
    if (magic, layout) != (MAGIC, LAYOUT):
        return None
    return Envelope(value=value, is_absent=bool(is_absent), life_ms=life_ms, epoch=epoch)


def _check(name: str, head: bytes, value: bytes) -> int:
    return zlib.crc32(value, zlib.crc32(head, zlib.crc32(name.encode())))
