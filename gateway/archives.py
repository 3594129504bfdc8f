"""Every archive asked at once, each through the cache, and none able to fail the rest.

What comes out of here is unfiltered: only `catalog`, which applies the policy, may use it.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import msgspec
import structlog

from gateway.adapters.cache import Fresh, Loader
from gateway.errors import ArchiveError, GatewayError, NotAcceptable, NotFound, Unavailable
from gateway.model import Found, Instance, Level, Loaded, Origin, Part, Series, Study, Target
from gateway.rules import dicom_json as dj
from gateway.rules import qido, records, retrieval
from gateway.rules.dicom_json import Dataset
from gateway.rules.media import Form
from gateway.rules.qido import Query
from gateway.rules.retrieval import Fetch

MAX_ROWS = 1000
"""Rows of a search that is not bound to one study and asks for no fewer."""
_UIDS_IN_A_LIST = 50

_T = TypeVar("_T")
_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)
_encoded = msgspec.msgpack.Encoder().encode
_study = msgspec.msgpack.Decoder(Study).decode
_instances = msgspec.msgpack.Decoder(dict[str, tuple[Instance, ...]]).decode


class Archive(Protocol):
    """A source of DICOM objects. Its failures are `ArchiveError`s."""

    id: str
    origin: Origin

    async def search(self, query: Query, wanted: int | None = None) -> Found[Dataset]:
        """The rows that match, at least `wanted` if there are that many; offset is not applied."""

    async def study(self, study_uid: str) -> Study | None:
        """The study and its series; None: it has no such study."""

    async def instances(self, study: Study) -> dict[str, tuple[Instance, ...]]:
        """The instances of a study by SeriesInstanceUID."""

    async def metadata(self, target: Target) -> list[bytes]:
        """One DICOM JSON object for each instance of `target`."""

    def retrieve(
        self, target: Target, transfer_syntax: str = "*"
    ) -> AbstractAsyncContextManager[AsyncIterator[Part]]:
        """The instances of `target`, or its frames; NotFound and NotAcceptable before the first."""

    def bulk_data(
        self, target: Target, path: tuple[str, ...]
    ) -> AbstractAsyncContextManager[AsyncIterator[Part]]:
        """The value of the attribute at `path`, as one part."""

    async def picture(
        self, target: Target, width: int, height: int, media_type: str
    ) -> bytes | None:
        """The archive's own picture within the box; None: it has none to give."""

    async def close(self) -> None:
        """Lets go of what it holds."""


class Cache(Protocol):
    """What is remembered. One load at a time for a key, whoever waits for it."""

    async def load(self, key: str, loader: Loader) -> bytes:
        """The value of `key`, from memory or from `loader`."""

    async def forget(self, key: str) -> None:
        """Drops what is remembered of `key`."""

    async def close(self) -> None:
        """Lets go of what it holds."""


_Open = Callable[[Archive], AbstractAsyncContextManager[AsyncIterator[Part]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """What each archive answered, in the order of the configuration, and who stayed silent."""

    answers: tuple[tuple[Archive, Sequence[Dataset]], ...]
    silent: tuple[str, ...]
    has_more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Whether an archive answers; `seconds` is how long that took."""

    archive: str
    is_reachable: bool
    seconds: float


class Archives:
    """The configured archives and what the cache knows of them."""

    def __init__(self, archives: Sequence[Archive], cache: Cache) -> None:
        self._by_id: Mapping[str, Archive] = {a.id: a for a in archives}
        self.cache = cache

    async def search(self, query: Query) -> Searched:
        """The rows of every archive that answers; Unavailable when none does.

        Each gives as many as the page asked for could need, so that merging them in the order of
        the configuration makes `limit` and `offset` exact.
        """
        wanted = _wanted(query)
        answers, silent = await self._ask_all(lambda a: a.search(query, wanted))
        if silent and not answers:
            raise _unavailable(silent)
        found = [(a, list(f.items)) for a, f in answers]
        has_more = any(f.has_more for _, f in answers)
        if len(found) > 1 and query.level is Level.STUDY:
            depends = any(k.tag in qido.PER_ARCHIVE for k in query.keys)
            if depends or has_more:
                found = await self._complemented(found, query, has_more=has_more)
        return Searched(answers=tuple(found), silent=silent, has_more=has_more)

    async def record(self, study_uid: str, level: Level) -> Loaded:
        """The study merged over archives, loaded down to `level` (STUDY counts as SERIES).

        NotFound when no archive has it; Unavailable when only silent ones might.
        """
        answers, silent = await self._ask_all(lambda a: self._part(a, study_uid, level))
        parts = [p for _, p in answers if p is not None]
        if not parts:
            raise _unavailable(silent) if silent else NotFound("no such study")
        return Loaded(study=records.merge(parts), silent=silent)

    async def located(self, target: Target) -> Loaded:
        """The record of a target's study, in which the target is known to be.

        NotFound when the series or the instance is not in that study, whatever its own UID says.
        """
        loaded = await self.record(target.study_uid, Level.SERIES)
        if target.series_uid is not None and not _has_series(loaded.study, target.series_uid):
            raise _unavailable(loaded.silent) if loaded.silent else NotFound("no such series")
        if retrieval.needs_instances(loaded.study, target):
            return await self.record(target.study_uid, Level.INSTANCE)
        if target.instance_uid is None:
            return loaded
        return await self._with_instance(loaded, target)

    async def series_instances(self, study: Study, series: Series) -> tuple[Instance, ...]:
        """The instances of one series; () when no archive that holds it answers."""
        query = Query(
            level=Level.INSTANCE,
            study_uid=study.uid,
            series_uid=series.uid,
            include=records.INSTANCE_FIELDS,
        )
        number = series.number_of_instances
        key = f"series-instances {study.uid} {series.uid} {number} {' '.join(series.archives)}"

        async def load(previous: bytes | None) -> Fresh:
            if previous and number is not None:
                return Fresh(value=previous)
            for archive in self._of(series.archives):
                found = records.instances((await archive.search(query)).items)
                if series.uid in found:
                    return Fresh(value=_encoded(found))
            return Fresh(value=_encoded({}), is_absent=True)

        return _instances(await self.cache.load(key, load)).get(series.uid, ())

    async def opened(self, stack: AsyncExitStack, fetch: Fetch, form: Form) -> AsyncIterator[Part]:
        """The parts of one fetch, in the first transfer syntax of `form` that can be had."""
        opens = [
            functools.partial(_retrieve, fetch.target, syntax) for syntax in form.transfer_syntaxes
        ]
        return await self._first_answer(stack, fetch, opens)

    async def bulk_data(
        self, stack: AsyncExitStack, fetch: Fetch, path: tuple[str, ...]
    ) -> AsyncIterator[Part]:
        """The value of the attribute at `path` of one instance, as one part."""
        return await self._first_answer(stack, fetch, [lambda a: a.bulk_data(fetch.target, path)])

    async def _first_answer(
        self, stack: AsyncExitStack, fetch: Fetch, opens: Sequence[_Open]
    ) -> AsyncIterator[Part]:
        """What the first archive gives that can give `fetch`, each tried in each of the ways.

        Raises what the first archive failed with, but a refusal by kind over a failure.
        """
        failures: list[GatewayError] = []
        for archive in self._of(fetch.archives):
            for open_ in opens:
                try:
                    return await stack.enter_async_context(open_(archive))
                except (ArchiveError, NotFound, NotAcceptable) as error:
                    failures.append(error)
                if isinstance(failures[-1], ArchiveError):
                    break
        refusals = [f for f in failures if isinstance(f, NotAcceptable)]
        raise (refusals or failures or [NotFound("no archive holds it")])[0]

    async def metadata(self, fetch: Fetch) -> list[bytes]:
        """The metadata objects of one fetch, from the first archive that answers."""
        failure: GatewayError = NotFound("no archive holds it")
        for archive in self._of(fetch.archives):
            try:
                return await archive.metadata(fetch.target)
            except (ArchiveError, NotFound) as error:
                failure = error
        raise failure

    async def picture(self, fetch: Fetch, width: int, height: int, media_type: str) -> bytes | None:
        """An archive's own picture; None when none has one or all are silent."""
        for archive in self._of(fetch.archives):
            try:
                found = await archive.picture(fetch.target, width, height, media_type)
            except ArchiveError:
                continue
            if found is not None:
                return found
        return None

    async def health(self, timeout_seconds: float) -> tuple[Health, ...]:
        """Whether each archive answers a small search now."""

        async def one(archive: Archive) -> Health:
            started = time.monotonic()
            try:
                async with asyncio.timeout(timeout_seconds):
                    await archive.search(Query(level=Level.STUDY), 1)
            except (ArchiveError, TimeoutError):
                return Health(archive=archive.id, is_reachable=False, seconds=timeout_seconds)
            return Health(archive=archive.id, is_reachable=True, seconds=time.monotonic() - started)

        return tuple(await asyncio.gather(*(one(a) for a in self._by_id.values())))

    async def close(self) -> None:
        """Lets go of the archives and of the cache."""
        for archive in self._by_id.values():
            await archive.close()
        await self.cache.close()

    def _of(self, ids: Sequence[str]) -> list[Archive]:
        """The archives of these ids, in the order of the configuration."""
        return [a for a in self._by_id.values() if a.id in ids]

    async def _ask_all(
        self, ask: Callable[[Archive], Awaitable[_T]], among: Sequence[Archive] | None = None
    ) -> tuple[list[tuple[Archive, _T]], tuple[str, ...]]:
        """Every archive's answer, and the ids of those that failed."""

        async def one(archive: Archive) -> tuple[Archive, _T] | str:
            try:
                return archive, await ask(archive)
            except ArchiveError as error:
                _log.warning("archive silent", archive=archive.id, cause=error.code)
                return archive.id

        asked = list(self._by_id.values()) if among is None else among
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(one(a)) for a in asked]
        results = [t.result() for t in running]
        answers = [r for r in results if not isinstance(r, str)]
        return answers, tuple(r for r in results if isinstance(r, str))

    async def _part(self, archive: Archive, study_uid: str, level: Level) -> Study | None:
        """What one archive has of a study, from the cache where it is known."""

        async def load(previous: bytes | None) -> Fresh:
            if previous and await self._is_unchanged(archive, _study(previous)):
                return Fresh(value=previous)
            study = await archive.study(study_uid)
            return (
                Fresh(value=b"", is_absent=True) if study is None else Fresh(value=_encoded(study))
            )

        value = await self.cache.load(f"study {archive.id} {study_uid}", load)
        study = _study(value) if value else None
        if study is None or level is not Level.INSTANCE:
            return study
        return records.with_instances(study, await self._all_instances(archive, study))

    async def _is_unchanged(self, archive: Archive, known: Study) -> bool:
        """Whether the archive still counts what `known` counts, by one study-level search."""
        query = Query(level=Level.STUDY, keys=(qido.key(dj.STUDY_INSTANCE_UID, known.uid),))
        rows = (await archive.search(query, 1)).items
        said = [
            records.unsigned_int(row, tag)
            for row in rows[:1]
            for tag in (dj.NUMBER_OF_STUDY_RELATED_SERIES, dj.NUMBER_OF_STUDY_RELATED_INSTANCES)
        ]
        return None not in said and said == [known.number_of_series, known.number_of_instances]

    async def _all_instances(
        self, archive: Archive, study: Study
    ) -> dict[str, tuple[Instance, ...]]:
        async def load(previous: bytes | None) -> Fresh:
            if previous and study.number_of_instances is not None:
                return Fresh(value=previous)  # the count is in the key: it did not change
            return Fresh(value=_encoded(await archive.instances(study)))

        key = f"instances {archive.id} {study.uid} {study.number_of_instances}"
        return _instances(await self.cache.load(key, load))

    async def _with_instance(self, loaded: Loaded, target: Target) -> Loaded:
        """`loaded` with the one instance of `target` in its series."""
        series = next(s for s in loaded.study.series or () if s.uid == target.series_uid)
        answers, silent = await self._ask_all(
            lambda a: self._instance(a, target), self._of(series.archives)
        )
        holders = [(a, i) for a, i in answers if i is not None]
        if not holders:
            missing = tuple(dict.fromkeys(loaded.silent + silent))
            raise _unavailable(missing) if missing else NotFound("no such instance")
        one = replace(holders[0][1], archives=tuple(a.id for a, _ in holders))
        shown = replace(series, instances=(one,))
        others = tuple(shown if s.uid == series.uid else s for s in loaded.study.series or ())
        return Loaded(study=replace(loaded.study, series=others), silent=loaded.silent)

    async def _instance(self, archive: Archive, target: Target) -> Instance | None:
        """The record of one instance in one archive; None: that series has no such instance."""
        query = Query(
            level=Level.INSTANCE,
            study_uid=target.study_uid,
            series_uid=target.series_uid,
            keys=(qido.key(dj.SOP_INSTANCE_UID, target.instance_uid or ""),),
            include=records.INSTANCE_FIELDS,
        )

        async def load(previous: bytes | None) -> Fresh:
            found = records.instances((await archive.search(query, 1)).items)
            return Fresh(value=_encoded(found), is_absent=not found)

        key = f"instance {archive.id} {target.study_uid} {target.series_uid} {target.instance_uid}"
        found = _instances(await self.cache.load(key, load))
        return next((i for i in found.get(target.series_uid or "", ())), None)

    async def _complemented(
        self, found: list[tuple[Archive, list[Dataset]]], query: Query, *, has_more: bool
    ) -> list[tuple[Archive, list[Dataset]]]:
        """`found` with what each archive has of the studies that only others gave.

        An archive that holds the other half of a study need not match a key that looks at what it
        holds, nor have come to that study yet.
        """
        all_uids = [u for _, rows in found for u in _uids(rows)]
        wanted = list(dict.fromkeys(all_uids))[: _wanted(query) if has_more else None]

        async def missing(archive: Archive) -> list[Dataset]:
            have = set(_uids(next(rows for a, rows in found if a is archive)))
            absent = [u for u in wanted if u not in have]
            rows: list[Dataset] = []
            for at in range(0, len(absent), _UIDS_IN_A_LIST):
                uids = ",".join(absent[at : at + _UIDS_IN_A_LIST])
                key = qido.key(dj.STUDY_INSTANCE_UID, uids)
                more = await archive.search(replace(query, keys=(key,), limit=None, offset=0))
                rows += more.items
            return rows

        answers, _ = await self._ask_all(missing, [a for a, _ in found])
        added = {a.id: rows for a, rows in answers}
        first_seen = {uid: at for at, uid in enumerate(dict.fromkeys(all_uids))}
        return [
            (a, sorted(rows + added.get(a.id, []), key=lambda r: first_seen[_uid(r)]))
            for a, rows in found
        ]


def _retrieve(
    target: Target, transfer_syntax: str, archive: Archive
) -> AbstractAsyncContextManager[AsyncIterator[Part]]:
    return archive.retrieve(target, transfer_syntax)


def _wanted(query: Query) -> int | None:
    """How many rows of each archive the page asked for can need; None: all."""
    if query.limit is not None:
        return query.offset + query.limit
    return None if query.study_uid is not None else query.offset + MAX_ROWS


def _uid(row: Dataset) -> str:
    return dj.text(row, dj.STUDY_INSTANCE_UID) or ""


def _uids(rows: Sequence[Dataset]) -> list[str]:
    return [_uid(r) for r in rows]


def _has_series(study: Study, series_uid: str) -> bool:
    return any(s.uid == series_uid for s in study.series or ())


def _unavailable(silent: Sequence[str]) -> Unavailable:
    return Unavailable(f"no answer from archive {', '.join(silent)}")
