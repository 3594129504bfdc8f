"""Lists of instances as they are remembered: compressed, since UIDs are long and much alike."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from gateway.apart import apart
from gateway.model import Contents, Instance
from gateway.rules import records
from gateway.rules.dicom_json import Dataset

_FAST = 1
_AT_ONCE_BYTES = 1 << 18
"""So much is compressed without a thread of its own."""
_MOST_BYTES = 256 << 20
_encoded = msgspec.msgpack.Encoder().encode
_instances = msgspec.msgpack.Decoder(dict[str, tuple[Instance, ...]]).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The instance level of a study in one archive, and since when it has been so."""

    contents: Contents
    last_updated: str | None


_listing = msgspec.msgpack.Decoder(Listing).decode


async def packed(listed: Listing | dict[str, tuple[Instance, ...]]) -> bytes:
    """What is listed, in as few bytes as is quickly done."""
    plain = _encoded(listed)
    if len(plain) <= _AT_ONCE_BYTES:
        return zlib.compress(plain, _FAST)
    return await asyncio.to_thread(zlib.compress, plain, _FAST)


async def packed_rows(rows: Sequence[Dataset]) -> bytes:
    """The instances that rows tell of, packed."""
    return await packed(await apart(len(rows), records.instances, rows))


def listing(value: bytes) -> Listing:
    """The listing of a study that was packed; msgspec.DecodeError for anything else."""
    return _listing(_plain(value))


def instances(value: bytes) -> dict[str, tuple[Instance, ...]]:
    """Instances by series that were packed; msgspec.DecodeError for anything else."""
    return _instances(_plain(value))


def _plain(value: bytes) -> bytes:
    inflate = zlib.decompressobj()
    try:
        plain = inflate.decompress(value, _MOST_BYTES)
    except zlib.error as error:
        raise msgspec.DecodeError("it is not packed") from error
    if not inflate.eof:
        raise msgspec.DecodeError("it is cut off, or too long")
    return plain
