"""What archives send of a series, without instances that do not exist for the consumer.

A series may hold more by the time it is sent than its record told when it was looked at.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Collection
from dataclasses import replace

from gateway.at_hand import AtHand
from gateway.errors import ArchiveBadAnswer
from gateway.model import Part
from gateway.rules import part10


async def screened(
    parts: AsyncIterator[Part], instance_uids: Collection[str], archive: str
) -> AsyncGenerator[Part, None]:
    """The parts that are DICOM files of these instances; ArchiveBadAnswer: one that tells none."""
    async for part in parts:
        head = b""
        while len(head) < part10.HEAD_BYTES and (chunk := await anext(part.chunks, None)):
            head += chunk
        meta = part10.file_meta(head)
        if meta is None or meta.instance_uid is None:
            raise ArchiveBadAnswer("it does not tell what it sends", archive=archive)
        if meta.instance_uid in instance_uids:
            yield replace(part, chunks=AtHand((head,), part.chunks))
            continue
        async for _ in part.chunks:
            pass
