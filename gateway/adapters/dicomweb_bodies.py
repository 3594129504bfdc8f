"""Bodies that archives send: DICOM JSON checked, multipart taken apart as it streams by."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import msgspec
import orjson

from gateway.errors import ArchiveBadAnswer, ArchiveUnreachable
from gateway.model import Part, Target
from gateway.rules import dicom_json as dj
from gateway.rules import media, part10
from gateway.rules.dicom_json import Dataset
from gateway.rules.multipart import Data, End, Event, Head, MultipartError, Splitter
from gateway.rules.part10 import FileMeta

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def datasets(body: bytes, archive: str) -> list[Dataset]:
    """The objects of a QIDO answer; one object instead of an array is tolerated."""
    if not body.strip():
        return []
    try:
        found: Any = orjson.loads(body.removeprefix(_BYTE_ORDER_MARK))
    except ValueError as error:
        raise ArchiveBadAnswer("its answer is not JSON", archive=archive) from error
    rows = [found] if isinstance(found, dict) else found
    if not isinstance(rows, list) or not all(isinstance(r, dict) for r in rows):
        raise ArchiveBadAnswer("its answer is not DICOM JSON", archive=archive)
    return rows


def objects(body: bytes, archive: str) -> list[msgspec.Raw]:
    """The metadata objects of an answer, checked to be JSON but not taken apart."""
    plain = body.strip().removeprefix(_BYTE_ORDER_MARK)
    if not plain:
        return []
    try:
        if plain.startswith(b"{"):
            plain = b"[" + plain + b"]"
        return msgspec.json.decode(plain, type=list[msgspec.Raw])
    except (ValueError, RecursionError) as error:
        raise ArchiveBadAnswer("its answer is not DICOM JSON", archive=archive) from error


def is_of(target: Target, raw: msgspec.Raw, archive: str) -> bool:
    """Whether a metadata object belongs to `target`; an answer for another study is dropped."""
    try:
        uids = msgspec.json.decode(raw, type=_Uids)
    except (ValueError, RecursionError) as error:
        raise ArchiveBadAnswer("its answer is not DICOM JSON", archive=archive) from error
    wanted = (target.study_uid, target.series_uid, target.instance_uid)
    found = (uids.study.first, uids.series.first, uids.instance.first)
    return all(w is None or w == f for w, f in zip(wanted, found, strict=True))


async def parts(
    content_type: str,
    length: int | None,
    chunks: AsyncIterator[bytes],
    *,
    kind: str,
    archive: str,
) -> AsyncIterator[Part]:
    """The parts of an answer, a single-part one included."""
    if not content_type.lower().startswith("multipart/"):
        if content_type.lower().startswith(("text/html", "application/json")):
            raise ArchiveBadAnswer("its answer is not what was asked for", archive=archive)
        yield Part(content_type=content_type or kind, chunks=chunks, length=length)
        return
    boundary = media.parameter_of(content_type, "boundary")
    if boundary is None:
        raise ArchiveBadAnswer("its multipart answer has no boundary", archive=archive)
    events = _Events(Splitter(boundary), chunks, archive)
    while (head := await events.head()) is not None:
        yield Part(
            content_type=head.fields.get("content-type", kind),
            chunks=events.body(),
            length=_length(head.fields.get("content-length")),
        )


class _Element(msgspec.Struct):
    """One element of a metadata object, as far as its first value goes."""

    values: Any = msgspec.field(default=None, name="Value")

    @property
    def first(self) -> str | None:
        return str(self.values[0]).strip(" \0") if isinstance(self.values, list) else None


class _Uids(msgspec.Struct):
    """The three UIDs of a metadata object."""

    study: _Element = msgspec.field(default_factory=_Element, name=dj.STUDY_INSTANCE_UID)
    series: _Element = msgspec.field(default_factory=_Element, name=dj.SERIES_INSTANCE_UID)
    instance: _Element = msgspec.field(default_factory=_Element, name=dj.SOP_INSTANCE_UID)


class _Events:
    """The events of a multipart body, pulled: the next part's head, then its body."""

    def __init__(self, splitter: Splitter, chunks: AsyncIterator[bytes], archive: str) -> None:
        self._splitter = splitter
        self._chunks = chunks
        self._archive = archive
        self._ready: deque[Event] = deque()
        self._is_over = False

    async def head(self) -> Head | None:
        """The head of the next part, what is left of the present one passed over; None: no more."""
        while (event := await self._next()) is not None:
            if isinstance(event, Head):
                return event
        return None

    async def body(self) -> AsyncIterator[bytes]:
        """The body of the present part."""
        while (event := await self._next()) is not None:
            if isinstance(event, Data):
                yield event.chunk
            elif isinstance(event, End):
                return

    async def _next(self) -> Event | None:
        while not self._ready and not self._is_over:
            chunk = await anext(self._chunks, None)
            try:
                if chunk is None:
                    self._is_over = True
                    self._ready.extend(self._splitter.finish())
                else:
                    self._ready.extend(self._splitter.feed(chunk))
            except MultipartError as error:
                raise ArchiveUnreachable("its answer broke off", archive=self._archive) from error
        return self._ready.popleft() if self._ready else None


async def described(part: Part) -> tuple[Part, FileMeta | None]:
    """A part of application/dicom with its transfer syntax in its type, read from its head."""
    if not part.content_type.lower().startswith(media.DICOM):
        return part, None
    head = b""
    while len(head) < part10.HEAD_BYTES:
        chunk = await anext(part.chunks, None)
        if chunk is None:
            break
        head += chunk
    meta = part10.file_meta(head)
    syntax = meta.transfer_syntax if meta else None
    kind = f"{media.DICOM}; transfer-syntax={syntax}" if syntax else media.DICOM
    return replace(part, content_type=kind, chunks=_after(head, part.chunks)), meta


async def _after(head: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if head:
        yield head
    async for chunk in rest:
        yield chunk


async def chained(first: Part, rest: AsyncIterator[Part]) -> AsyncIterator[Part]:
    yield first
    async for part in rest:
        yield (await described(part))[0]


def _length(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None
