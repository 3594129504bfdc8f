"""The objects of an archive by its WADO-URI service (PS3.18 §9), one instance at a time.

What WADO-RS gives beyond whole instances is cut out of them here: frames, metadata, bulk data. A
header is read no further than to its pixel data; an object that is taken apart is held within
bounds, and read by processes of their own. What the archive does not give, and cannot be made of
what it gives, is refused by name.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    ExitStack,
    aclosing,
    asynccontextmanager,
)
from dataclasses import replace
from typing import Protocol, TypeVar

import msgspec

from gateway.adapters import dicom_parts
from gateway.adapters import dicomweb_bodies as bodies
from gateway.adapters.dicom_files import EXPLICIT, NATIVE
from gateway.adapters.file_readers import FileReaders
from gateway.adapters.file_worker import CannotRead, ReadersBusy, Told, in_memory
from gateway.adapters.http_response import Response
from gateway.adapters.recent import Mark, Recent
from gateway.adapters.wado_uri_service import WadoUriService
from gateway.at_hand import AtHand, first, held
from gateway.errors import ArchiveBadAnswer, ArchiveBusy, NotAcceptable, NotFound, NotSupported
from gateway.model import ByteRange, Found, Level, Part, Rung, Target
from gateway.rules import media, records
from gateway.rules.dicom_json import Dataset
from gateway.rules.qido import Query

MAX_OBJECT_BYTES = 256 << 20
"""The largest object that is taken apart here, and the largest header."""
FIRST_LOOK_BYTES = 64 << 10
READERS = 4
_CANNOT = frozenset({400, 415, 500, 501})
_Listed = Callable[[Query, int | None], Awaitable[Found[Dataset]]]
_T = TypeVar("_T")


class _Ask(Protocol):
    """Asks for one work on an object."""

    async def __call__(self, work: str, **order: object) -> Told: ...


class WadoUriObjects:
    """What a WADO-URI service gives; `listed` searches what there is to give."""

    def __init__(
        self,
        service: WadoUriService,
        listed: _Listed,
        clock: Callable[[], float],
        mark: Mark,
        lost: Callable[[str], None] = lambda cause: None,
    ) -> None:
        """`lost` is told why a process that reads objects was lost."""
        self._service = service
        self._archive = service.archive
        self._listed = listed
        self._recent = Recent(clock, mark)
        self._files = FileReaders(lost=lost)
        self._numbers = itertools.count()
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix=f"read-{self._archive}")

    @asynccontextmanager
    async def retrieve(
        self, target: Target, transfer_syntax: str = media.ANY, byte_range: ByteRange | None = None
    ) -> AsyncIterator[AsyncIterator[Part]]:
        """The instances of `target` one after the other, or its frames in the order asked.

        NotFound and NotAcceptable come before the first part. WADO-URI knows no ranges: the whole.
        """
        made = self._frames if target.frames else self._objects
        async with aclosing(made(target, transfer_syntax)) as parts:
            if (found := await first(parts)) is None:
                raise NotFound("the archive sent nothing")
            yield found[1]

    async def metadata(self, target: Target) -> list[bytes]:
        """The metadata of every instance of `target`, read from their headers."""
        named = await self._instances(target)
        turns = asyncio.Semaphore(READERS)

        async def one(instance: Target) -> bytes | None:
            async with turns:
                try:
                    return await self._metadata(instance)
                except NotFound:
                    if len(named) == 1:
                        raise
                    return None

        try:
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(one(instance)) for instance in named]
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from failures
        return [found for task in running if (found := task.result()) is not None]

    @asynccontextmanager
    async def bulk_data(
        self, target: Target, path: tuple[str, ...], byte_range: ByteRange | None = None
    ) -> AsyncIterator[AsyncIterator[Part]]:
        """The bytes of one element of an instance, in little endian; NotFound: no such element."""
        content = await self._whole(target)
        async with self._file(content, _key(target)) as ask:
            told, value = await ask("bulk", path=path)
        start = told.get("offset")
        found = value if start is None else memoryview(content)[start : start + told["length"]]
        kind = dicom_parts.bulk_type(told["transfer_syntax"], path)
        yield AtHand((held(found, kind),))

    async def picture(
        self, target: Target, rung: Rung, width: int, height: int, media_type: str
    ) -> bytes:
        """The archive's own JPEG, as `Archive.picture` says; NotSupported: another way."""
        if rung is not Rung.WADO_URI:
            raise NotSupported("the archive has no WADO-RS service")
        return await self._service.picture(target, width, height)

    def by_wado_uri(
        self, target: Target, content_type: str, parameters: Sequence[tuple[str, str]]
    ) -> AbstractAsyncContextManager[AsyncIterator[Part]]:
        """The archive's own answer to parameters that the gateway does not carry out."""
        return self._service.own(target, content_type, parameters)

    async def close(self) -> None:
        """Lets go of what is held, and waits for the threads."""
        await self._recent.close()
        await asyncio.to_thread(self._files.close)
        await asyncio.to_thread(self._readers.shutdown, cancel_futures=True)

    async def _objects(self, target: Target, syntax: str) -> AsyncGenerator[Part, None]:
        """The stored objects; of several, those that are gone since are passed over."""
        named = await self._instances(target)
        for instance in named:
            async with AsyncExitStack() as stack:
                try:
                    part = await self._object(stack, instance, syntax)
                except NotFound:
                    if len(named) == 1:
                        raise
                    continue
                yield part

    async def _instances(self, target: Target) -> list[Target]:
        """The instances of `target`, in the order of their numbers."""
        if target.instance_uid is not None:
            return [replace(target, frames=())]
        query = Query(
            level=Level.INSTANCE, study_uid=target.study_uid, series_uid=target.series_uid
        )
        found = records.instances((await self._listed(query, None)).items)
        return [
            replace(target, series_uid=series_uid, instance_uid=instance.uid)
            for series_uid, instances in found.items()
            if target.series_uid in {None, series_uid}
            for instance in instances
        ]

    async def _object(self, stack: AsyncExitStack, target: Target, syntax: str) -> Part:
        """One object in a transfer syntax, converted here where the archive does not do it."""
        asked = () if syntax == media.ANY else (("transferSyntax", syntax),)
        try:
            response = await stack.enter_async_context(
                self._service.opened(target, media.DICOM, asked)
            )
        except ArchiveBadAnswer as error:
            if asked and error.answered in _CANNOT:
                raise NotAcceptable(f"not available in transfer syntax {syntax}") from error
            raise
        part = await self._part(stack, response, target)
        given = media.parameter_of(part.content_type, "transfer-syntax") or ""
        if syntax in {media.ANY, given}:
            return part
        if syntax != EXPLICIT or given not in NATIVE:
            raise NotAcceptable(f"not available in transfer syntax {syntax}")
        async with self._file(await self._held(part), _key(target)) as ask:
            _, content = await ask("explicit")
        return held(content, f"{media.DICOM}; transfer-syntax={EXPLICIT}")

    async def _part(self, stack: AsyncExitStack, response: Response, target: Target) -> Part:
        """The object in an answer, known to be the one that was asked for."""
        found = bodies.parts(
            response.headers.get("Content-Type", ""),
            response.length,
            response,
            kind=media.DICOM,
            archive=self._archive,
            has_end=response.has_end,
        )
        parts = await stack.enter_async_context(aclosing(found))
        checked = bodies.instances(parts, target, self._archive)
        part = await anext(await stack.enter_async_context(aclosing(checked)), None)
        if part is None:
            raise NotFound("the archive sent nothing")
        return part

    async def _whole(self, target: Target) -> bytes:
        """An object as a whole; NotAcceptable where it is too large to be taken apart."""
        one = replace(target, frames=())

        async def fetch() -> bytes:
            async with AsyncExitStack() as stack:
                return await self._held(await self._object(stack, one, media.ANY))

        return await self._recent.whole(one, fetch)

    async def _held(self, part: Part) -> bytes:
        body = bytearray()
        async for chunk in part.chunks:
            body += chunk
            if len(body) > MAX_OBJECT_BYTES:
                raise NotAcceptable("the object is too large to be taken apart: retrieve it whole")
        return bytes(body)

    async def _frames(self, target: Target, syntax: str) -> AsyncGenerator[Part, None]:
        span = {"lowest": min(target.frames), "highest": max(target.frames)}
        async with self._file(await self._whole(target), _key(target)) as ask:
            stored = (await ask("transfer syntax"))[0]["transfer_syntax"]
            dicom_parts.check_transfer_syntax(stored, syntax, is_frame=True)
            for number in target.frames:
                _, frame = await ask("frame", number=number, **span)
                yield held(frame, dicom_parts.frame_type(stored))

    async def _metadata(self, target: Target) -> bytes | None:
        """The metadata of one instance, from no more of it than it takes to reach its pixels.

        None when the object turns out to be in another study or series.
        """
        if (whole := await self._recent.kept(target)) is not None:
            return await self._read_header(target, whole, is_whole=True)
        async with AsyncExitStack() as stack:
            part = await self._object(stack, target, media.ANY)
            made: bytes | None = None
            head, enough = bytearray(), FIRST_LOOK_BYTES
            async for chunk in part.chunks:
                head += chunk
                if len(head) > MAX_OBJECT_BYTES:
                    raise NotAcceptable("the object's header is too large to be read")
                if len(head) >= enough:
                    made = await self._read_header(target, head, is_whole=False)
                    enough = 4 * len(head)
                if made is not None:
                    break
            if made is None:
                made = await self._read_header(target, head, is_whole=True)
        return made if made and bodies.is_of(target, msgspec.Raw(made), self._archive) else None

    async def _read_header(
        self, target: Target, content: bytes | bytearray, *, is_whole: bool
    ) -> bytes | None:
        """DICOM JSON of what comes before the pixel data; None: `content` ends before them."""
        try:
            async with self._file(content, f"{_key(target)} {len(content)}") as ask:
                told, made = await ask("metadata", is_whole=is_whole)
        except ArchiveBadAnswer:
            if is_whole:
                raise
            return None
        return None if told.get("is_cut") else bytes(made)

    @asynccontextmanager
    async def _file(self, content: bytes | bytearray, key: str) -> AsyncIterator[_Ask]:
        """What asks processes of an object, which each reads in the same memory."""
        with ExitStack() as stack:
            file = await self._run(stack.enter_context, in_memory(content))
            same = f"{key} {next(self._numbers)}"

            async def ask(work: str, **order: object) -> Told:
                whole = {"work": work, "same": same, **order}
                return await self._run(self._asked, whole, file, key)

            yield ask

    async def _run(self, work: Callable[..., _T], *arguments: object) -> _T:
        """The result of blocking work, done in one of the readers."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, work, *arguments)

    def _asked(self, order: dict[str, object], file: int, key: str) -> Told:
        try:
            return self._files.ask(order, file, key)
        except CannotRead as error:
            raise ArchiveBadAnswer("an object cannot be read", archive=self._archive) from error
        except ReadersBusy as error:
            raise ArchiveBusy("too many objects are being read", archive=self._archive) from error


def _key(target: Target) -> str:
    return f"{target.study_uid} {target.series_uid} {target.instance_uid}"
