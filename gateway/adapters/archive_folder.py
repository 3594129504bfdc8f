"""A folder of DICOM files as an archive: searched by index, read from disk, never written to.

One thread looks at the folder, every `rescan_seconds` and whenever a file turns out to have gone;
a few others read files and search. What they share is the index's last `Snapshot`. What is in a
file is read by processes of their own; here are bytes only.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeVar

from gateway import config
from gateway.adapters import dicom_parts
from gateway.adapters.dicom_files import EXPLICIT
from gateway.adapters.file_readers import FileReaders
from gateway.adapters.file_worker import CannotRead, ReadersBusy, Told
from gateway.adapters.folder_index import FolderIndex, open_regular, stamp
from gateway.adapters.folder_snapshot import Entry, Snapshot
from gateway.adapters.folder_watch import FolderWatch
from gateway.at_hand import CHUNK_BYTES, AtHand, held
from gateway.errors import (
    ArchiveBadAnswer,
    ArchiveBusy,
    ArchiveUnreachable,
    NotAcceptable,
    NotFound,
    NotSupported,
)
from gateway.model import ByteRange, Contents, Found, Level, Origin, Part, Rung, Span, Study, Target
from gateway.rules import attributes, byte_ranges, instance_details, matching, qido, records
from gateway.rules import dicom_json as dj

T = TypeVar("T")

READERS = 4
PROCESSES, ASKERS = 2, 4
"""Processes that read files for requests, and threads that wait for them."""
FIRST_SCAN_SECONDS = 10
"""How long a request waits for a folder that is still being read for the first time."""


class FolderArchive:
    """The archive `origin.archive`: the files below `settings.path`."""

    def __init__(
        self,
        settings: config.FolderArchive,
        origin: Origin,
        lost: Callable[[str], None] = lambda cause: None,
        changed: Callable[[Collection[str]], None] = lambda studies: None,
    ) -> None:
        """`lost` is told why a process that reads files was lost, `changed` of changed studies."""
        self.id = origin.archive
        self.origin = origin
        self._root = str(settings.path.resolve())
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix=f"read-{self.id}")
        self._files = FileReaders(PROCESSES, lost=lost)
        self._askers = ThreadPoolExecutor(ASKERS, thread_name_prefix=f"ask-{self.id}")
        index = FolderIndex(settings.path, self._files)
        self._watch = FolderWatch(index, settings.rescan_seconds, self.id, changed)

    @property
    def skipped(self) -> tuple[tuple[str, str], ...]:
        """Files that are not served, relative to the folder, and why."""
        return self._watch.snapshot.skipped

    def start(self) -> None:
        """Begin to read the folder; else the first request does."""
        self._watch.start()

    async def rescan(self) -> None:
        """Look at the folder now, and wait until that is done."""
        await asyncio.shield(asyncio.wrap_future(self._watch.rescan()))

    async def close(self) -> None:
        """Stop looking, and wait for the threads."""
        self._watch.stop()
        await asyncio.to_thread(self._files.close)
        await asyncio.to_thread(self._watch.close)
        for executor in (self._readers, self._askers):
            await asyncio.to_thread(executor.shutdown, cancel_futures=True)

    async def search(self, query: qido.Query, wanted: int | None = None) -> Found[dj.Dataset]:
        """Rows that match, newest study first; `wanted` of them, or all when that is None."""
        return await self._run(_search, await self._current(), query, wanted)

    async def study(self, study_uid: str, row: dj.Dataset | None = None) -> Study | None:
        """The record down to its series; None: there is no such study here."""
        snapshot = await self._current()
        if study_uid not in snapshot.studies:
            return None

        def record() -> Study | None:
            row, series = snapshot.study_row(study_uid), snapshot.series_rows(study_uid)
            return records.study(self.origin, row, series, snapshot.study_rows(study_uid))

        return await self._run(record)

    async def instances(self, study: Study) -> Contents:
        """The study's instances, with all that their files tell; none when it is not here."""
        snapshot = await self._current()
        entries = _entries(snapshot, Target(study_uid=study.uid))

        def read() -> Contents:
            rows = [snapshot.instance_row(entry) for entry in entries]
            return instance_details.contents(self.origin, rows)

        return await self._run(read)

    async def metadata(self, target: Target) -> list[bytes]:
        """One DICOM JSON object an instance, bulk data by reference; NotFound without one."""
        entries = await self._located(target)
        return [await self._metadata_of(entry) for entry in entries]

    @asynccontextmanager
    async def retrieve(
        self, target: Target, transfer_syntax: str = "*", byte_range: ByteRange | None = None
    ) -> AsyncIterator[AsyncIterator[Part]]:
        """The stored files, or `target.frames` of one instance in the order asked.

        NotFound before the first part; NotAcceptable for a transfer syntax that cannot be made;
        RangeNotSatisfiable for a range that a part does not have.
        """
        entries = await self._located(target)
        for entry in entries:
            dicom_parts.check_transfer_syntax(
                entry.transfer_syntax, transfer_syntax, is_frame=bool(target.frames)
            )
        if target.frames:
            parts = self._frames(entries[0], target.frames, byte_range)
        else:
            parts = self._objects(entries, transfer_syntax, byte_range)
        try:
            yield AtHand((await anext(parts),), parts)
        finally:
            await parts.aclose()

    @asynccontextmanager
    async def bulk_data(
        self, target: Target, path: tuple[str, ...], byte_range: ByteRange | None = None
    ) -> AsyncIterator[AsyncIterator[Part]]:
        """The bytes of one element of an instance, in little endian; `path`: (tag, item, tag, …).

        NotFound: no such element. NotAcceptable: pixel data of several compressed frames.
        """
        entry = (await self._located(target))[0]
        with ExitStack() as files:
            file = await self._run(self._open, entry, files)
            told, content = await self._asked("bulk", entry, file, path=path)
            kind = dicom_parts.bulk_type(entry.transfer_syntax, path)
            if (offset := told.get("offset")) is None:
                part = _held(content, kind, byte_range)
            else:
                span = _span(byte_range, told["length"])
                chunks = self._chunks(file, entry, offset + span.first, span.length)
                part = _part(kind, chunks, span, byte_range)
            yield AtHand((part,))

    async def picture(
        self, target: Target, rung: Rung, width: int, height: int, media_type: str
    ) -> bytes:
        """NotSupported: a folder draws nothing by itself."""
        raise NotSupported("a folder draws nothing")

    def by_wado_uri(
        self, target: Target, content_type: str, parameters: Sequence[tuple[str, str]]
    ) -> AbstractAsyncContextManager[AsyncIterator[Part]]:
        """NotAcceptable: a folder does nothing by itself."""
        raise NotAcceptable("the archive that holds it does not do what is asked for")

    async def _run(self, work: Callable[..., T], *arguments: object) -> T:
        """The result of blocking work, done in one of the readers."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, work, *arguments)

    async def _current(self) -> Snapshot:
        """The folder as last seen; the first callers wait for the first look at it."""
        first = asyncio.wrap_future(self._watch.start())
        try:
            async with asyncio.timeout(FIRST_SCAN_SECONDS):
                await asyncio.shield(first)
        except TimeoutError as error:
            raise ArchiveBusy("its folder is still being read", archive=self.id) from error
        if self._watch.has_failed:
            raise ArchiveUnreachable("its folder cannot be read", archive=self.id)
        return self._watch.snapshot

    async def _located(self, target: Target) -> tuple[Entry, ...]:
        """The entries that `target` names; looked for again when a file has changed or gone."""
        entries = _entries(await self._current(), target)
        if not await self._run(self._are_unchanged, entries):
            await self.rescan()
            entries = _entries(await self._current(), target)
        if not entries:
            raise NotFound(f"{_named(target)} not found")
        return entries

    def _are_unchanged(self, entries: Sequence[Entry]) -> bool:
        try:
            return all(stamp(Path(self._root, e.path).lstat()) == e.stamp for e in entries)
        except OSError:
            return False

    def _open(self, entry: Entry, files: ExitStack) -> int:
        """A descriptor of the entry's file, if it is still the one that was indexed; NotFound."""
        try:
            file = open_regular(self._root, entry.path)
        except OSError as error:
            raise ArchiveBadAnswer("a file cannot be read", archive=self.id) from error
        files.callback(os.close, file)
        if stamp(os.fstat(file)) != entry.stamp:
            raise NotFound("instance not found")
        return file

    async def _asked(self, work: str, entry: Entry, file: int, **order: object) -> Told:
        """What a process tells of the file; NotFound and NotAcceptable as it says."""
        key = f"{entry.path} {entry.stamp}"
        return await asyncio.get_running_loop().run_in_executor(
            self._askers, self._ask, {"work": work, **order}, file, key
        )

    def _ask(self, order: dict[str, object], file: int, key: str) -> Told:
        try:
            return self._files.ask(order, file, key)
        except CannotRead as error:
            raise ArchiveBadAnswer("a file cannot be read", archive=self.id) from error
        except ReadersBusy as error:
            raise ArchiveBusy("too many files are being read", archive=self.id) from error

    async def _metadata_of(self, entry: Entry) -> bytes:
        with ExitStack() as files:
            file = await self._run(self._open, entry, files)
            return bytes((await self._asked("metadata", entry, file, is_whole=True))[1])

    async def _frames(
        self, entry: Entry, numbers: Sequence[int], byte_range: ByteRange | None
    ) -> AsyncGenerator[Part, None]:
        kind = dicom_parts.frame_type(entry.transfer_syntax)
        span = {"lowest": min(numbers), "highest": max(numbers)}
        with ExitStack() as files:
            file = await self._run(self._open, entry, files)
            for number in numbers:
                _, content = await self._asked("frame", entry, file, number=number, **span)
                yield _held(content, kind, byte_range)

    async def _objects(
        self, entries: Sequence[Entry], syntax: str, byte_range: ByteRange | None
    ) -> AsyncGenerator[Part, None]:
        for entry in entries:
            with ExitStack() as files:
                file = await self._run(self._open, entry, files)
                if syntax in {"*", entry.transfer_syntax}:
                    yield self._object(file, entry, byte_range)
                else:
                    _, content = await self._asked("explicit", entry, file)
                    kind = f"application/dicom; transfer-syntax={EXPLICIT}"
                    yield _held(content, kind, byte_range)

    def _object(self, file: int, entry: Entry, byte_range: ByteRange | None) -> Part:
        """A stored file behind its prefix, or a range of the bytes of both together."""
        prefix = entry.prefix
        span = _span(byte_range, len(prefix) + entry.stamp[0])
        front = prefix[span.first : span.last + 1]
        start = max(span.first - len(prefix), 0)
        chunks = self._chunks(file, entry, start, span.length - len(front), front)
        kind = f"application/dicom; transfer-syntax={entry.transfer_syntax}"
        return _part(kind, chunks, span, byte_range)

    async def _chunks(
        self, file: int, entry: Entry, offset: int, length: int, prefix: bytes = b""
    ) -> AsyncIterator[bytes]:
        """`prefix`, then bytes of the file; ArchiveBadAnswer before the end when it changes."""
        if prefix:
            yield prefix
        end = offset + length
        while offset < end:
            size = min(CHUNK_BYTES, end - offset)
            try:
                chunk = await self._run(os.pread, file, size, offset)
            except OSError as error:
                raise ArchiveBadAnswer("a file cannot be read", archive=self.id) from error
            is_same = stamp(os.fstat(file)) == entry.stamp
            if not chunk or not is_same:
                raise ArchiveBadAnswer("a file changed while it was read", archive=self.id)
            offset += len(chunk)
            yield chunk


def _search(snapshot: Snapshot, query: qido.Query, wanted: int | None) -> Found[dj.Dataset]:
    rows: list[dj.Dataset] = []
    for row in _rows(snapshot, query):
        if matching.matches(query, row):
            if len(rows) == wanted:
                return Found(items=tuple(rows), has_more=True)
            rows.append(_selected(row, query))
    return Found(items=tuple(rows), again=tuple(_again(snapshot, query)))


def _again(snapshot: Snapshot, query: qido.Query) -> Iterator[dj.Dataset]:
    """Of studies asked for by UID, what their files tell differently."""
    asked = (k for k in query.keys if k.tag == dj.STUDY_INSTANCE_UID)
    for uid in dict.fromkeys(u for key in asked for u in qido.alternatives(key)):
        if query.level is Level.STUDY and uid in snapshot.studies:
            yield from snapshot.study_rows(uid)


def _rows(snapshot: Snapshot, query: qido.Query) -> Iterator[dj.Dataset]:
    """Whole rows of the level searched, attributes of the levels above included."""
    for study_uid in snapshot.studies if query.study_uid is None else (query.study_uid,):
        if study_uid not in snapshot.studies:
            continue
        study_row = snapshot.study_row(study_uid)
        if query.level is Level.STUDY:
            yield study_row
            continue
        for series_uid, entries in snapshot.studies[study_uid].items():
            if query.series_uid not in {None, series_uid}:
                continue
            series_row = study_row | snapshot.series_row(study_uid, series_uid)
            if query.level is Level.SERIES:
                yield series_row
            else:
                yield from (series_row | snapshot.instance_row(entry) for entry in entries)


def _selected(row: dj.Dataset, query: qido.Query) -> dj.Dataset:
    """`row` with the attributes that the query includes (PS3.18 §10.6.3.3), and UTF-8."""
    charset = {dj.SPECIFIC_CHARACTER_SET: {"vr": "CS", "Value": ["ISO_IR 192"]}}
    if query.include is None:
        return charset | row
    levels = [query.level]
    if query.level is Level.INSTANCE and query.series_uid is None:
        levels.append(Level.SERIES)
    if query.level is not Level.STUDY and query.study_uid is None:
        levels.append(Level.STUDY)
    shown = set(query.include)
    for level in levels:
        shown.update(attributes.ATTRIBUTES[level], attributes.DEFAULT_IF_KNOWN[level])
    return charset | {tag: element for tag, element in row.items() if tag in shown}


def _entries(snapshot: Snapshot, target: Target) -> tuple[Entry, ...]:
    """The instances that `target` names, in the order of series and instance numbers."""
    return tuple(
        entry
        for series_uid, entries in snapshot.studies.get(target.study_uid, {}).items()
        if target.series_uid in {None, series_uid}
        for entry in entries
        if target.instance_uid in {None, entry.instance_uid}
    )


def _named(target: Target) -> str:
    return Level.INSTANCE.value if target.frames else target.level.value


def _span(byte_range: ByteRange | None, total: int) -> Span:
    """The bytes that are given of a body; all of them where no range is asked for."""
    if byte_range is None:
        return Span(first=0, last=total - 1, total=total)
    return byte_ranges.span(byte_range, total)


def _part(
    kind: str, chunks: AsyncIterator[bytes], span: Span, byte_range: ByteRange | None
) -> Part:
    return Part(
        content_type=kind,
        chunks=chunks,
        length=span.length,
        span=None if byte_range is None else span,
        takes_ranges=True,
    )


def _held(content: bytes | bytearray, kind: str, byte_range: ByteRange | None) -> Part:
    span = _span(byte_range, len(content))
    given = memoryview(content)[span.first : span.last + 1]
    return _part(kind, held(given, kind).chunks, span, byte_range)
