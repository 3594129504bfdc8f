"""An archive that speaks DICOMweb (PS3.18 §10): our words in, its dialect out and back.

Every query and Accept that leaves here is the gateway's own; every answer is checked for being what
was asked for before anything of it is believed.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any
from urllib.parse import urljoin, urlsplit

import orjson
from aiohttp import ClientResponse

from gateway.adapters import dicomweb_bodies as bodies
from gateway.adapters.http_client import ArchiveClient
from gateway.config import DicomwebArchive as Section
from gateway.errors import (
    ArchiveBadAnswer,
    NotAcceptable,
    NotFound,
)
from gateway.model import Found, Instance, Level, Origin, Part, Study, Target
from gateway.rules import dicom_json as dj
from gateway.rules import matching, media, qido, records
from gateway.rules.dicom_json import Dataset
from gateway.rules.part10 import FileMeta
from gateway.rules.qido import Query

_PAGE_ROWS = 1000
_MAX_PAGES = 1000
_MAX_PICTURE_BYTES = 16 << 20
_NO_PICTURE_SECONDS = 3600.0
_RESOURCES = {Level.STUDY: "studies", Level.SERIES: "series", Level.INSTANCE: "instances"}


class DicomwebArchive:
    """The `Archive` of the catalog for `type: dicomweb`."""

    def __init__(
        self, origin: Origin, section: Section, client: ArchiveClient, clock: Callable[[], float]
    ) -> None:
        self.id = origin.archive
        self.origin = origin
        self._qido = section.qido_rs
        self._wado = section.wado_rs or section.qido_rs
        self._client = client
        self._clock = clock
        self._largest_page = 0  # rows that came in one answer: proof that no cap is lower
        self._decodes_query: bool | None = None
        self._no_picture: dict[str, float] = {}

    async def search(self, query: Query, wanted: int | None = None) -> Found[Dataset]:
        """QIDO-RS (PS3.18 §10.6): at least `wanted` matching rows if there are that many."""
        rows: dict[str, Dataset] = {}
        more = False
        for variant in qido.upstream(query, decodes=await self._decodes(query)):
            more |= await self._all_pages(variant, query, wanted, rows)
        return Found(items=tuple(rows.values()), has_more=more)

    async def study(self, study_uid: str) -> Study | None:
        """The study and its series, in two requests at once; None: it has no such study."""
        below = Query(level=Level.SERIES, study_uid=study_uid, include=records.SERIES_FIELDS)
        try:
            async with asyncio.TaskGroup() as tasks:
                studies = tasks.create_task(self.search(_one_study(study_uid), 1))
                series = tasks.create_task(self._rows(below))
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from failures
        found = studies.result().items
        if not found:
            return None
        said = records.unsigned_int(found[0], dj.NUMBER_OF_STUDY_RELATED_SERIES)
        rows = await self._completed(below, series.result(), said)
        return records.study(self.origin, found[0], rows)

    async def instances(self, study: Study) -> dict[str, tuple[Instance, ...]]:
        """All instances of a study by SeriesInstanceUID, in one request."""
        query = Query(level=Level.INSTANCE, study_uid=study.uid, include=records.INSTANCE_FIELDS)
        rows = await self._rows(query)
        return records.instances(await self._completed(query, rows, study.number_of_instances))

    async def metadata(self, target: Target) -> list[bytes]:
        """The metadata of every instance of `target`, one DICOM JSON object each (§10.4.1.1.2)."""
        async with self._client.get(
            self._wado, (*_path(target), "metadata"), accept=media.DICOM_JSON, compressed=True
        ) as response:
            body = await self._client.json(response)
        objects = bodies.objects(body, self.id)
        return [bytes(o) for o in objects if bodies.is_of(target, o, self.id)]

    @asynccontextmanager
    async def retrieve(
        self, target: Target, transfer_syntax: str = media.ANY
    ) -> AsyncIterator[AsyncIterator[Part]]:
        """The instances of `target`, or its frames in the order asked, as they stream in.

        NotFound and NotAcceptable come before the first part.
        """
        asked = transfer_syntax
        if not target.frames and asked != media.EXPLICIT_VR_LITTLE_ENDIAN:
            asked = media.ANY  # archives fail in ugly ways when they cannot transcode
        async with AsyncExitStack() as stack:
            with _as_retrieve_errors(target, asked):
                try:
                    parts = await self._retrieved(stack, target, asked)
                except ArchiveBadAnswer as error:
                    if not (target.frames and asked == media.ANY and error.answered == 500):
                        raise  # some builds cannot cut big-endian frames, but can convert them
                    asked = media.EXPLICIT_VR_LITTLE_ENDIAN
                    parts = await self._retrieved(stack, target, asked)
            first = await anext(parts, None)
            if first is None:
                raise NotFound("the archive sent nothing")
            first, meta = await bodies.described(first)
            self._check(target, transfer_syntax, meta)
            yield bodies.chained(first, parts)

    @asynccontextmanager
    async def bulk_data(
        self, target: Target, path: tuple[str, ...]
    ) -> AsyncIterator[AsyncIterator[Part]]:
        """The value of one attribute of an instance (§10.4.1.1.5); NotFound when it has none."""
        element = _element(await self.metadata(target), path)
        uri = element.get("BulkDataURI") if isinstance(element, dict) else None
        if not isinstance(uri, str):
            raise NotFound("no bulk data at this attribute")
        segments = self._segments(uri, target)
        accept = f'{media.MULTIPART}; type="{media.OCTET_STREAM}", */*;q=0.5'
        async with self._client.get(self._wado, segments, accept=accept) as response:
            yield self._parts(response, media.OCTET_STREAM)

    async def picture(
        self, target: Target, width: int, height: int, media_type: str
    ) -> bytes | None:
        """The archive's own thumbnail, else its own rendering; None: it cannot, now or at all."""
        viewport = (("viewport", f"{width},{height}"),)
        for resource in ("thumbnail", "rendered"):
            if self._clock() < self._no_picture.get(resource, 0.0):
                continue
            try:
                return await self._picture(target, resource, viewport, media_type)
            except NotFound:
                if resource == "thumbnail":  # the service is missing, not this one object
                    self._no_picture[resource] = self._clock() + _NO_PICTURE_SECONDS
            except (ArchiveBadAnswer, NotAcceptable):
                continue
        return None

    async def probe(self) -> None:
        """One small search; raises what the archive's failure is."""
        await self._page(Query(level=Level.STUDY), 1, 0)

    async def close(self) -> None:
        """Lets go of all connections."""
        await self._client.close()

    async def _all_pages(
        self, variant: Query, query: Query, wanted: int | None, rows: dict[str, Dataset]
    ) -> bool:
        """Fills `rows` with what matches `query`; True when the archive has, or may have, more."""
        offset = 0
        for _ in range(_MAX_PAGES):
            size = _PAGE_ROWS if wanted is None else max(wanted - len(rows), 1)
            page = await self._page(variant, size, offset)
            self._take(page, query, rows)
            if self._is_last(len(page), size):
                return False
            offset += len(page)
            if wanted is not None and len(rows) >= wanted:
                return True
        return True

    def _is_last(self, got: int, asked: int) -> bool:
        """Whether no page follows one of `got` rows: it is short, and not for the archive's cap."""
        is_last = got == 0 or (got < asked and got < self._largest_page)
        self._largest_page = max(self._largest_page, got)
        return is_last

    def _take(self, page: Sequence[Dataset], query: Query, rows: dict[str, Dataset]) -> None:
        for row in page:
            uid = dj.text(row, qido.UID_OF[query.level])
            if uid is not None and dj.is_uid(uid) and matching.matches(query, row):
                rows.setdefault(uid, row)

    async def _rows(self, query: Query) -> list[Dataset]:
        """All rows below a study in one request, as far as the archive gives them at once."""
        try:
            return [r for r in await self._page(query, None, 0) if matching.matches(query, r)]
        except NotFound:
            return []

    async def _completed(
        self, query: Query, rows: list[Dataset], expected: int | None
    ) -> list[Dataset]:
        """`rows` and, while they are fewer than `expected`, the pages that follow them."""
        offset = len(rows)
        while expected is not None and 0 < offset < expected:
            page = await self._page(query, None, offset)
            if not page or all(r in rows for r in page):
                break
            rows += [r for r in page if matching.matches(query, r)]
            offset += len(page)
        return rows

    async def _page(self, query: Query, limit: int | None, offset: int) -> list[Dataset]:
        pairs = qido.parameters(query)
        pairs += [("limit", str(limit))] if limit is not None else []
        pairs += [("offset", str(offset))] if offset else []
        try:
            async with self._client.get(
                self._qido,
                _search_path(query),
                pairs,
                accept=media.DICOM_JSON,
                compressed=True,
            ) as response:
                body = await self._client.json(response)
        except NotFound:
            return []
        return bodies.datasets(body, self.id)

    async def _decodes(self, query: Query) -> bool:
        """Whether the archive percent-decodes queries; some builds of Orthanc do not."""
        if self._decodes_query is None and _needs_encoding(query):
            try:
                async with self._client.get(
                    f"{self._qido}/studies?limit=%31", accept=media.DICOM_JSON
                ):
                    self._decodes_query = True
            except NotFound:
                self._decodes_query = True
            except ArchiveBadAnswer:
                self._decodes_query = False
        return self._decodes_query is not False

    def _check(self, target: Target, transfer_syntax: str, meta: FileMeta | None) -> None:
        """Refuses an object that is another than asked for, or in another transfer syntax."""
        if meta is None:
            return
        if target.instance_uid and meta.instance_uid not in {None, target.instance_uid}:
            raise ArchiveBadAnswer("it sent another instance", archive=self.id)
        if transfer_syntax not in {media.ANY, meta.transfer_syntax}:
            raise NotAcceptable(f"not available in transfer syntax {transfer_syntax}")

    def _segments(self, uri: str, target: Target) -> tuple[str, ...]:
        """A BulkDataURI as path segments below the configured base; it selects, it is not obeyed."""
        base = urlsplit(self._wado).path.rstrip("/")
        instance = f"{self._wado}/{'/'.join(_path(target))}/"
        path = urlsplit(urljoin(instance, uri)).path
        if path.startswith(f"{base}/"):
            path = path[len(base) :]
        elif "/studies/" in path:
            path = path[path.index("/studies/") :]
        segments = tuple(s for s in path.split("/") if s)
        if not segments or any(s in {".", ".."} or "%" in s or "\\" in s for s in segments):
            raise ArchiveBadAnswer("its BulkDataURI leads elsewhere", archive=self.id)
        return segments

    async def _retrieved(
        self, stack: AsyncExitStack, target: Target, transfer_syntax: str
    ) -> AsyncIterator[Part]:
        kind = media.OCTET_STREAM if target.frames else media.DICOM
        accept = f'{media.MULTIPART}; type="{kind}"; transfer-syntax={transfer_syntax}'
        response = await stack.enter_async_context(
            self._client.get(self._wado, _path(target), accept=accept)
        )
        return self._parts(response, kind)

    def _parts(self, response: ClientResponse, kind: str) -> AsyncIterator[Part]:
        return bodies.parts(
            response.headers.get("Content-Type", ""),
            response.content_length,
            self._client.chunks(response),
            kind=kind,
            archive=self.id,
        )

    async def _picture(
        self,
        target: Target,
        resource: str,
        viewport: Sequence[tuple[str, str]],
        media_type: str,
    ) -> bytes | None:
        path = (*_path(target), resource)
        async with self._client.get(self._wado, path, viewport, accept=media_type) as response:
            body = bytearray()
            async for chunk in self._client.chunks(response):
                body += chunk
                if len(body) > _MAX_PICTURE_BYTES:
                    raise ArchiveBadAnswer("its picture is too large", archive=self.id)
        if not body.startswith((b"\xff\xd8", b"\x89PNG")):
            raise ArchiveBadAnswer("its picture is none", archive=self.id)
        return bytes(body)


@contextmanager
def _as_retrieve_errors(target: Target, asked: str) -> Iterator[None]:
    """What archives mean by their 400 and 500 where a frame or a transcoding was asked for."""
    try:
        yield
    except ArchiveBadAnswer as error:
        if asked != media.ANY and error.answered in {400, 415, 500, 501}:
            raise NotAcceptable(f"not available in transfer syntax {asked}") from error
        if target.frames and error.answered == 400:
            raise NotFound("no such frame") from error
        raise


def _one_study(study_uid: str) -> Query:
    return Query(
        level=Level.STUDY,
        keys=(qido.key(dj.STUDY_INSTANCE_UID, study_uid),),
        include=records.STUDY_FIELDS,
    )


def _path(target: Target) -> tuple[str, ...]:
    """The path of a target below the base (PS3.18 Table 10.4.1-1)."""
    path = ["studies", target.study_uid]
    if target.series_uid:
        path += ["series", target.series_uid]
    if target.instance_uid:
        path += ["instances", target.instance_uid]
    if target.frames:
        path += ["frames", ",".join(str(f) for f in target.frames)]
    return tuple(path)


def _search_path(query: Query) -> tuple[str, ...]:
    path: tuple[str, ...] = ()
    if query.study_uid:
        path += ("studies", query.study_uid)
    if query.series_uid:
        path += ("series", query.series_uid)
    return (*path, _RESOURCES[query.level])


def _needs_encoding(query: Query) -> bool:
    return any(not re.fullmatch(r"[A-Za-z0-9._,*?-]*", k.value, re.ASCII) for k in query.keys)


def _element(objects: Sequence[bytes], path: tuple[str, ...]) -> Any:
    """The element at a path `(tag, item, tag, ...)` of the only object; None when it is not there."""
    found: Any = orjson.loads(objects[0]) if objects else None
    for step in path[:-1]:
        items = found.get(step) if isinstance(found, dict) else found
        if isinstance(items, dict):
            found = items.get("Value")
        else:
            index = int(step) if step.isdigit() else -1
            found = items[index] if isinstance(items, list) and 0 <= index < len(items) else None
    return found.get(path[-1]) if isinstance(found, dict) else None
