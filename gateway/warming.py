"""Records loaded ahead: every study that a search finds, down to its instances.

Archives are asked no faster than wished. A study of which an archive's share is missing is not
done: it is tried again a little later, and by the next run.
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
from gateway.model import Level
from gateway.rules.qido import Query

PAGE_ROWS = 200
ATTEMPTS = 3
"""How often a study is tried that an archive kept silent about."""
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
    """What became of the studies; `silent` archives kept something back."""

    found: int = 0
    loaded: int = 0
    skipped: int = 0
    gone: int = 0
    failed: int = 0
    instances: int = 0
    silent: set[str] = field(default_factory=set)

    @property
    def ended(self) -> int:
        """How many studies need no more work in this run."""
        return self.loaded + self.skipped + self.gone + self.failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How many studies are begun in a second, 0: as many as can be; and how many are under way."""

    per_second: float = 0
    at_once: int = 4


async def warm(
    catalog: Catalog, query: Query, pace: Pace, state: State, tell: Callable[[Tally], None]
) -> Tally:
    """Loads what `query` finds. Unavailable or BadRequest when the search itself fails."""
    tally = Tally()
    uids = await _found(catalog, query, tally)
    tally.found = len(uids)
    left = [uid for uid in uids if not state.is_done(uid)]
    tally.skipped = len(uids) - len(left)
    tell(tally)
    turns = asyncio.Semaphore(pace.at_once)

    async def one(uid: str) -> None:
        try:
            await _load(catalog, uid, state, tally)
            tell(tally)
        finally:
            turns.release()

    async with asyncio.TaskGroup() as tasks:
        for uid in left:
            await turns.acquire()
            tasks.create_task(one(uid))
            if pace.per_second:
                await asyncio.sleep(1 / pace.per_second)
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


async def _load(catalog: Catalog, uid: str, state: State, tally: Tally) -> None:
    """One study, tried again while an archive keeps silent."""
    for attempt in range(1, ATTEMPTS + 1):
        pause_seconds = float(attempt)
        try:
            loaded = await catalog.study(auth.OPEN, uid, Level.INSTANCE)
        except NotFound:
            tally.gone += 1
            return
        except GatewayError as error:
            tally.silent.update(getattr(error, "archives", ()))
            pause_seconds = float(error.retry_after_seconds or attempt)
        else:
            if not loaded.silent:
                tally.loaded += 1
                tally.instances += sum(len(s.instances or ()) for s in loaded.study.series or ())
                state.note(uid)
                return
            tally.silent.update(loaded.silent)
        if attempt < ATTEMPTS:
            await asyncio.sleep(min(pause_seconds, LONGEST_PAUSE_SECONDS))
    tally.failed += 1


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=_DIGEST_BYTES).hexdigest()
