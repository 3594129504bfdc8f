"""The archives' own pictures, rung by rung, and what each of them cannot draw."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass

from gateway.errors import (
    ArchiveBadAnswer,
    ArchiveBusy,
    ArchiveError,
    ArchiveRefused,
    NotAcceptable,
    NotFound,
    NotSupported,
)
from gateway.fan_out import Archive, FanOut
from gateway.model import Rung, Target
from gateway.rules.retrieval import Fetch

RUNG_SECONDS = 4.0
"""How long a picture is waited for, when it can be had in other ways too."""
CANNOT_SECONDS = 3600.0
SLOW_SECONDS = 60.0
MOST_REFUSALS = 2
"""How many ways are tried at an archive that is busy or refuses the gateway."""
MOST_MISSED = 3
"""After so many studies in a row of which a way knew no picture it is taken for one it lacks."""
_MOST_KNOWN = 10_000
_Way = tuple[str, Rung, str | None]
"""An archive, what it is asked for, and the SOP class of which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A picture of one instance: of what kind it is, how many frames it has, the box, the type."""

    fetch: Fetch
    sop_class_uid: str | None
    number_of_frames: int | None
    width: int
    height: int
    media_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Note:
    """Until when a way is not asked again, and whether the archive failed in passing."""

    until: float
    is_passing: bool


class OwnPictures:
    """What archives draw themselves.

    What one cannot do for a SOP class is not asked of it again for an hour; what failed or was
    slow, for a minute. "Not found" may be said of the picture or of the instance, which is gone: it
    counts once the instance is known to be there, or once it was said of several studies.
    """

    def __init__(self, fan_out: FanOut, clock: Callable[[], float] = time.monotonic) -> None:
        self._fan_out = fan_out
        self._clock = clock
        self._noted: dict[_Way, _Note] = {}
        self._missed: dict[tuple[str, str | None], set[_Way]] = {}
        self._in_a_row: dict[_Way, set[str]] = {}

    async def of(self, wanted: Wanted) -> AsyncGenerator[bytes, None]:
        """The pictures that can be had, the one that costs an archive least first.

        Whoever asks for the next one says that the last one was of no use. None of a frame beyond
        those that are told: archives show another.
        """
        if max(wanted.fetch.target.frames, default=1) > (wanted.number_of_frames or 1):
            return
        for archive in self._fan_out.named(wanted.fetch.archives):
            refusals = 0
            for rung in Rung:
                if not self._is_worth_asking(archive.id, rung, wanted):
                    continue
                try:
                    found = await self._asked(archive, rung, wanted)
                except (ArchiveBusy, ArchiveRefused) as error:
                    refusals += 1
                    if error.answered is None or refusals == MOST_REFUSALS:
                        break
                    continue
                if found is not None:
                    self._in_a_row.pop((archive.id, rung, wanted.sop_class_uid), None)
                    self.exists(wanted.fetch.target, (archive.id,))
                    yield found
                    self._note(archive.id, rung, wanted, CANNOT_SECONDS)

    def exists(self, target: Target, archives: Sequence[str]) -> None:
        """An instance came from one of `archives`; where that is one, its picture was missing."""
        if len(archives) == 1:
            for way in self._missed.pop((archives[0], target.instance_uid), ()):
                self._note_way(way, CANNOT_SECONDS)

    def may_recover(self, archives: Sequence[str], sop_class_uid: str | None) -> bool:
        """Whether a way failed in passing, so that there may be a picture in a while."""
        notes = (self._noted.get((a, rung, sop_class_uid)) for a in archives for rung in Rung)
        now = self._clock()
        return any(note is not None and note.is_passing and now < note.until for note in notes)

    def _is_worth_asking(self, archive: str, rung: Rung, wanted: Wanted) -> bool:
        if rung is Rung.WADO_URI and (wanted.number_of_frames or 1) > 1:
            return False  # archives ignore frameNumber
        note = self._noted.get((archive, rung, wanted.sop_class_uid))
        return note is None or self._clock() >= note.until

    async def _asked(self, archive: Archive, rung: Rung, wanted: Wanted) -> bytes | None:
        """The archive's picture; None: it has none to give, which is remembered.

        ArchiveBusy and ArchiveRefused are remembered too, where it was the archive that said so.
        """
        try:
            with self._fan_out.heard(archive):
                return await self._picture(archive, rung, wanted)
        except NotFound:
            self._miss((archive.id, rung, wanted.sop_class_uid), wanted.fetch.target)
        except (NotAcceptable, NotSupported):
            self._note(archive.id, rung, wanted, CANNOT_SECONDS)
        except TimeoutError:
            self._note(archive.id, rung, wanted, SLOW_SECONDS)
        except (ArchiveBusy, ArchiveRefused) as error:
            if error.answered is not None:
                seconds = max(SLOW_SECONDS, error.retry_after_seconds or 0)
                self._note(archive.id, rung, wanted, seconds, is_passing=True)
            raise
        except ArchiveError:
            self._note(archive.id, rung, wanted, SLOW_SECONDS, is_passing=True)
        return None

    async def _picture(self, archive: Archive, rung: Rung, wanted: Wanted) -> bytes | None:
        """The same; an archive that fails at drawing is not held for one that fails at all."""
        try:
            async with asyncio.timeout(RUNG_SECONDS):
                return await archive.picture(
                    wanted.fetch.target, rung, wanted.width, wanted.height, wanted.media_type
                )
        except ArchiveBadAnswer as error:
            is_failure = (error.answered or 0) >= 500 and error.answered != 501
            self._note(archive.id, rung, wanted, SLOW_SECONDS if is_failure else CANNOT_SECONDS)
            return None

    def _miss(self, way: _Way, target: Target) -> None:
        """A picture was not found, be it for want of the instance."""
        for known in (self._missed, self._in_a_row):
            if len(known) >= _MOST_KNOWN:
                known.clear()
        self._missed.setdefault((way[0], target.instance_uid), set()).add(way)
        studies = self._in_a_row.setdefault(way, set())
        studies.add(target.study_uid)
        if len(studies) >= MOST_MISSED:
            del self._in_a_row[way]
            self._note_way(way, CANNOT_SECONDS)

    def _note(
        self, archive: str, rung: Rung, wanted: Wanted, seconds: float, *, is_passing: bool = False
    ) -> None:
        self._note_way((archive, rung, wanted.sop_class_uid), seconds, is_passing=is_passing)

    def _note_way(self, way: _Way, seconds: float, *, is_passing: bool = False) -> None:
        if len(self._noted) >= _MOST_KNOWN:
            self._noted.clear()
        self._noted[way] = _Note(until=self._clock() + seconds, is_passing=is_passing)
