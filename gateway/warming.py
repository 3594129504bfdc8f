"""Records loaded ahead: every study that a search finds, down to its instances.

Archives are asked no faster than wished. A study of which an archive's share is missing is loaded
as far as others hold it, and not done: it is tried again a little later, unless that archive kept
silent before, and by the next run. Nor is one done that the shared cache did not take, or lost.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from gateway.adapters import auth
from gateway.catalog import Catalog
from gateway.errors import GatewayError, NotFound
from gateway.model import Loaded
from gateway.rules.qido import Query

PAGE_ROWS = 200
ATTEMPTS = 3
"""How often a study is tried that an archive kept silent about, unless others failed before it."""
MOST_IN_A_ROW = 5
"""So many studies that fail one after the other are the archives' matter, or the cache's."""
LONGEST_PAUSE_SECONDS = 60.0
_DIGEST_BYTES = 8


class State:
    """Which studies of a search are done: digests that tell no UID, in a file if there is one."""

    def __init__(self, path: Path | None, query: str) -> None:
        """ValueError when the file is that of another search; OSError when it cannot be used."""
        self._path = path
        self._done: set[str] = set()
        if path is None:
            return
        lines = path.read_text("ascii", "replace").splitlines() if path.exists() else []
        if lines and lines[0] != _digest(query):
            raise ValueError("it tells of another search, or is no such file")
        self._done.update(lines[1:])
        if not lines:
            path.write_text(f"{_digest(query)}\n")

    def is_done(self, study_uid: str) -> bool:
        """Whether an earlier run has loaded a study."""
        return _digest(study_uid) in self._done

    def note(self, study_uid: str) -> None:
        """A study is done."""
        if self._path is not None:
            with self._path.open("a") as file:
                file.write(f"{_digest(study_uid)}\n")

    def remove(self) -> None:
        """All is done: the next run starts anew."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)


@dataclass(slots=True, kw_only=True)
class Tally:
    """What became of the studies; `silent` archives kept something back.

    `partial`: loaded as far as the others hold them. `unkept`: loaded, and not taken by the shared
    cache. `is_given_up`: what is left was not tried.
    """

    found: int = 0
    loaded: int = 0
    skipped: int = 0
    gone: int = 0
    partial: int = 0
    failed: int = 0
    unkept: int = 0
    instances: int = 0
    silent: set[str] = field(default_factory=set)
    is_given_up: bool = False

    @property
    def ended(self) -> int:
        """How many studies need no more work in this run."""
        return sum((self.loaded, self.skipped, self.gone, self.partial, self.failed, self.unkept))

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing that the search found, or should have found."""
        return not (self.failed or self.unkept or self.silent or self.is_given_up)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How many studies are begun in a second, 0: as many as can be; and how many are under way."""

    per_second: float = 0
    at_once: int = 4


async def warm(
    catalog: Catalog, query: Query, pace: Pace, state: State, tell: Callable[[Tally], None]
) -> Tally:
    """Loads what `query` finds. Unavailable or BadRequest when the search itself fails.

    It gives up once `MOST_IN_A_ROW` studies in a row could not be loaded since no archive answered,
    or were not kept.
    """
    tally = Tally()
    uids = await _found(catalog, query, tally)
    tally.found = len(uids)
    left = [u for u in uids if not (state.is_done(u) and await catalog.is_remembered(u))]
    tally.skipped = len(uids) - len(left)
    tell(tally)
    run = _Run(catalog, state, tally)
    turns = asyncio.Semaphore(pace.at_once)

    async def one(uid: str) -> None:
        try:
            await run.load(uid)
            tell(tally)
        finally:
            turns.release()

    try:
        async with asyncio.TaskGroup() as tasks:
            for number, uid in enumerate(left):
                if number and pace.per_second:
                    await asyncio.sleep(1 / pace.per_second)
                await turns.acquire()
                tasks.create_task(one(uid))
    except* _GivenUp:
        tally.is_given_up = True
    return tally


async def _found(catalog: Catalog, query: Query, tally: Tally) -> Sequence[str]:
    """The studies that the search finds, page by page; `limit` and `offset` are the query's own."""
    uids: dict[str, None] = {}
    offset, most = query.offset, query.limit
    while most is None or len(uids) < most:
        rows = PAGE_ROWS if most is None else min(PAGE_ROWS, most - len(uids))
        page = await catalog.studies(auth.OPEN, replace(query, limit=rows, offset=offset))
        uids.update(dict.fromkeys(study.uid for study in page.items))
        tally.silent.update(page.silent)
        offset += rows
        if not page.has_more:
            break
    return list(uids)


class _GivenUp(Exception):
    """It makes no sense to go on."""


@dataclass(frozen=True, slots=True)
class _Missing:
    """The archives that kept silent about a study, if it is known which, and when to ask again.

    `is_partial`: the share of the others is loaded.
    """

    archives: frozenset[str]
    pause_seconds: float
    is_partial: bool = False


class _Run:
    """One run over studies, which sees how many of them failed in a row, and who keeps silent."""

    def __init__(self, catalog: Catalog, state: State, tally: Tally) -> None:
        self._catalog = catalog
        self._state = state
        self._tally = tally
        self._in_a_row = 0
        self._silent: frozenset[str] = frozenset()

    async def load(self, uid: str) -> None:
        """One study, tried again while an archive keeps silent. _GivenUp after too many."""
        attempt = 1
        while (missing := await self._missing(uid, attempt)) is not None:
            is_news = not missing.archives or not missing.archives <= self._silent
            if attempt >= ATTEMPTS or self._in_a_row or not is_news:
                self._silent = missing.archives
                self._left(missing)
                return
            await asyncio.sleep(min(missing.pause_seconds, LONGEST_PAUSE_SECONDS))
            attempt += 1

    async def _missing(self, uid: str, attempt: int) -> _Missing | None:
        """Who kept silent about a study; None: there is no more to do."""
        try:
            loaded, is_kept = await self._catalog.loaded_ahead(uid)
        except NotFound:
            self._tally.gone += 1
            return None
        except GatewayError as error:
            silent = frozenset(getattr(error, "archives", ()))
            return _Missing(silent, float(error.retry_after_seconds or attempt))
        if not is_kept:
            self._tally.unkept += 1
            self._tally.silent.update(loaded.silent)
            self._failed()
            return None
        if loaded.silent:
            return _Missing(frozenset(loaded.silent), float(attempt), is_partial=True)
        self._done(uid, loaded)
        return None

    def _left(self, missing: _Missing) -> None:
        """A study is not done, and not tried again."""
        self._tally.silent.update(missing.archives)
        if missing.is_partial:
            self._in_a_row = 0
            self._tally.partial += 1
            return
        self._tally.failed += 1
        if missing.archives and missing.archives < frozenset(self._catalog.archives):
            return  # others answered that they do not have it: theirs are still to be had
        self._failed()

    def _done(self, uid: str, loaded: Loaded) -> None:
        self._in_a_row, self._silent = 0, frozenset()
        self._tally.loaded += 1
        self._tally.instances += sum(len(s.instances or ()) for s in loaded.study.series or ())
        self._state.note(uid)

    def _failed(self) -> None:
        self._in_a_row += 1
        if self._in_a_row >= MOST_IN_A_ROW:
            raise _GivenUp


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=_DIGEST_BYTES).hexdigest()
