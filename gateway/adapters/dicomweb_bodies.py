"""Bodies that archives send: DICOM JSON checked, multipart taken apart as it streams by."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import msgspec
import orjson

from gateway.at_hand import AtHand
from gateway.errors import ArchiveBadAnswer, ArchiveError, ArchiveUnreachable
from gateway.model import Part, Target
from gateway.rules import dicom_json as dj
from gateway.rules import media, part10
from gateway.rules.dicom_json import Dataset
from gateway.rules.multipart import (
    Data,
    Event,
    Head,
    MultipartError,
    Splitter,
    WrongLength,
)
from gateway.rules.part10 import FileMeta

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BOUNDARY = re.compile(r"boundary\s*=\s*(?:\"([\x20-\x7e]{1,200}?)\"|([^\s\";,]{1,200}))", re.I)
_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(\s*;[\x20-\x7e]*)?", re.ASCII)
_UID_TAGS = (dj.STUDY_INSTANCE_UID, dj.SERIES_INSTANCE_UID, dj.SOP_INSTANCE_UID)
_MAX_PICTURE_BYTES = 16 << 20
_PICTURES = {
    "image/jpeg": (b"\xff\xd8", b"\xff\xd9"),
    "image/png": (b"\x89PNG", b"IEND\xaeB`\x82"),
}
"""How a picture of a kind begins, and how a whole one ends."""
_NO_OBJECT = ("text/", "application/json", "application/dicom+json", "application/xhtml")


def datasets(body: bytes | bytearray, archive: str) -> list[Dataset]:
    """The objects of a QIDO answer; one object instead of an array is tolerated."""
    plain = _plain(body)
    if not plain:
        return []
    try:
        found: Any = orjson.loads(plain)
    except ValueError as error:
        raise ArchiveBadAnswer("its answer is not JSON", archive=archive) from error
    rows = [found] if isinstance(found, dict) else found
    if not isinstance(rows, list) or not all(isinstance(r, dict) for r in rows):
        raise ArchiveBadAnswer("its answer is not DICOM JSON", archive=archive)
    return rows


def objects(body: bytes | bytearray, archive: str) -> list[msgspec.Raw]:
    """The metadata objects of an answer, checked to be JSON but not taken apart."""
    plain = _plain(body)
    if not plain:
        return []
    try:
        plain.decode()  # what is passed on unread must be UTF-8 all the same
        if plain.startswith(b"{"):
            plain = b"[" + plain + b"]"
        return msgspec.json.decode(plain, type=list[msgspec.Raw])
    except (ValueError, RecursionError) as error:
        raise ArchiveBadAnswer("its answer is not DICOM JSON", archive=archive) from error


def is_of(target: Target, raw: msgspec.Raw, archive: str) -> bool:
    """Whether a metadata object belongs to `target`; an answer for another study is dropped."""
    wanted = (target.study_uid, target.series_uid, target.instance_uid)
    try:
        found = _uids(raw)
    except (ValueError, RecursionError) as error:
        raise ArchiveBadAnswer("its answer is not DICOM JSON", archive=archive) from error
    return all(dj.is_uid(f) and w in {None, f} for w, f in zip(wanted, found, strict=True))


def _uids(raw: msgspec.Raw) -> Sequence[str]:
    """The UIDs of study, series and instance; "" for one that is not there."""
    uids = msgspec.json.decode(raw, type=_Uids)
    found = (uids.study.first, uids.series.first, uids.instance.first)
    if all(found):
        return found
    dataset = orjson.loads(bytes(raw))  # tags in lower case, which only a slower look understands
    return [dj.text(dataset, tag) or "" for tag in _UID_TAGS]


def _plain(body: bytes | bytearray) -> bytes | bytearray:
    return body.strip().removeprefix(_BYTE_ORDER_MARK).strip()


class _Element(msgspec.Struct):
    """One element of a metadata object, as far as its first value goes."""

    values: Any = msgspec.field(default=None, name="Value")

    @property
    def first(self) -> str:
        """The first value as trimmed text; "" when there is none."""
        first = self.values[0] if isinstance(self.values, list) and self.values else ""
        return str(first).strip(" \0")


class _Uids(msgspec.Struct):
    """The three UIDs of a metadata object."""

    study: _Element = msgspec.field(default_factory=_Element, name=dj.STUDY_INSTANCE_UID)
    series: _Element = msgspec.field(default_factory=_Element, name=dj.SERIES_INSTANCE_UID)
    instance: _Element = msgspec.field(default_factory=_Element, name=dj.SOP_INSTANCE_UID)


async def parts(
    content_type: str,
    length: int | None,
    chunks: AsyncIterator[bytes],
    *,
    kind: str,
    archive: str,
    has_end: bool = True,
) -> AsyncGenerator[Part, None]:
    """The parts of an answer, a single-part one included; `kind` is what they are by default.

    `has_end`: HTTP tells where the body ends. A single part without that could be cut unnoticed.
    """
    boundary = boundary_of(content_type, archive, has_end=has_end)
    if boundary is None:
        yield Part(content_type=part_type(content_type, kind), chunks=chunks, length=length)
        return
    events = _Events(Splitter(boundary), chunks, archive)
    while (head := await events.head()) is not None:
        yield Part(
            content_type=part_type(head.fields.get("content-type", ""), kind),
            chunks=events.body(),
            length=head.length,
        )


def boundary_of(content_type: str, archive: str, *, has_end: bool) -> str | None:
    """What separates the parts of an answer of this type; None: it is a single part."""
    lower = content_type.lower()
    if lower.startswith("multipart/"):
        found = _BOUNDARY.search(content_type, max(lower.find("boundary"), 0))
        if found is None:
            raise ArchiveBadAnswer("its multipart answer has no boundary", archive=archive)
        return found[1] or found[2]
    if lower.startswith(_NO_OBJECT):
        raise ArchiveBadAnswer("its answer is not what was asked for", archive=archive)
    if not has_end:
        raise ArchiveBadAnswer("its answer has no end that can be told", archive=archive)
    return None


def archive_error(error: MultipartError, archive: str) -> ArchiveError:
    """What is wrong with a multipart body, as an error of its archive."""
    if isinstance(error, WrongLength):
        return ArchiveBadAnswer(str(error), archive=archive)
    return ArchiveUnreachable("its answer broke off", archive=archive)


def is_object(content_type: str) -> bool:
    """Whether a body of this type can be what was asked for, as a single part."""
    kind = content_type.lower()
    return part_type(content_type, "") != "" and not kind.startswith((*_NO_OBJECT, "multipart/"))


async def instances(
    found: AsyncIterator[Part], target: Target, archive: str
) -> AsyncGenerator[Part, None]:
    """The DICOM files among parts, each once and labelled with its own transfer syntax.

    ArchiveBadAnswer for what is no DICOM file, and when only other instances came than asked for.
    """
    seen: set[str] = set()
    is_any = False
    async for part in found:
        is_any = True
        described, meta = await _described(part, archive)
        uid = meta.instance_uid or target.instance_uid or ""
        if uid in seen or target.instance_uid not in {None, uid}:
            continue
        if uid:
            seen.add(uid)
        yield described
    if is_any and target.instance_uid is not None and not seen:
        raise ArchiveBadAnswer("it sent another instance", archive=archive)


async def frames(
    found: AsyncIterator[Part], target: Target, archive: str
) -> AsyncGenerator[Part, None]:
    """As many parts as frames are asked for; ArchiveBadAnswer when there are fewer or more."""
    count = 0
    async for part in found:
        count += 1
        if count > len(target.frames):
            break
        yield part
    if count not in {0, len(target.frames)}:
        raise ArchiveBadAnswer("it sent other frames than asked for", archive=archive)


async def files(found: AsyncIterator[Part], archive: str) -> AsyncGenerator[Part, None]:
    """The DICOM files among parts, whatever instances they are."""
    async for part in found:
        described, _ = await _described(part, archive)
        yield described


async def picture(chunks: AsyncIterator[bytes], archive: str) -> bytes:
    """A whole JPEG or PNG; ArchiveBadAnswer for anything else."""
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > _MAX_PICTURE_BYTES:
            raise ArchiveBadAnswer("its picture is too large", archive=archive)
    whole = bytes(body.rstrip(b"\0"))
    if not any(whole.startswith(a) and whole.endswith(z) for a, z in _PICTURES.values()):
        raise ArchiveBadAnswer("its picture is none, or not whole", archive=archive)
    return whole


def picture_type(body: bytes) -> str:
    """The media type of a picture by how it begins."""
    return next(kind for kind, (start, _) in _PICTURES.items() if body.startswith(start))


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
        """The body of the present part, whole; as long as the part says, where it says that."""
        while (event := await self._next()) is not None:
            if isinstance(event, Data):
                yield event.chunk
            else:
                return

    async def _next(self) -> Event | None:
        """The next event; None after the closing delimiter, whatever follows it."""
        while not self._ready and not self._is_over:
            chunk = await anext(self._chunks, None)
            splitter = self._splitter
            try:
                self._ready.extend(splitter.finish() if chunk is None else splitter.feed(chunk))
            except MultipartError as error:
                raise archive_error(error, self._archive) from error
            self._is_over = chunk is None or splitter.is_closed
        return self._ready.popleft() if self._ready else None


async def _described(part: Part, archive: str) -> tuple[Part, FileMeta]:
    """A DICOM file with its transfer syntax in its media type, read from its head."""
    head = b""
    while len(head) < part10.HEAD_BYTES:
        chunk = await anext(part.chunks, None)
        if chunk is None:
            break
        head += chunk
    meta = part10.file_meta(head)
    if meta is None:
        raise ArchiveBadAnswer("it sent something else than DICOM files", archive=archive)
    syntax = meta.transfer_syntax
    is_known = syntax is not None and dj.is_uid(syntax)
    kind = f"{media.DICOM}; transfer-syntax={syntax}" if is_known else media.DICOM
    return replace(part, content_type=kind, chunks=AtHand((head,), part.chunks)), meta


@lru_cache(maxsize=256)
@lru_cache(maxsize=64)
def part_type(given: str, default: str) -> str:
    """A media type that can stand in a header field of ours; `default` for anything odd."""
    plain = given.strip()
    return plain if len(plain) <= 200 and _TYPE.fullmatch(plain) else default
