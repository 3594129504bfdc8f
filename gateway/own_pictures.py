"""The archives' own pictures, rung by rung, and what each of them cannot draw."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from gateway.errors import ArchiveBadAnswer, ArchiveError, NotAcceptable, NotFound
from gateway.fan_out import Archive, FanOut
from gateway.model import Rung
from gateway.rules.retrieval import Fetch

RUNG_SECONDS = 4.0
"""How long a picture is waited for, when it can be had in other ways too."""
CANNOT_SECONDS = 3600.0
SLOW_SECONDS = 60.0
_MOST_KNOWN = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A picture of one instance: of what kind it is, how many frames it has, the box, the type."""

    fetch: Fetch
    sop_class_uid: str | None
    number_of_frames: int | None
    width: int
    height: int
    media_type: str


class OwnPictures:
    """What archives draw themselves.

    What one cannot do for a SOP class is not asked of it again for an hour; what failed or was
    slow, for a minute.
    """

    def __init__(self, fan_out: FanOut, clock: Callable[[], float] = time.monotonic) -> None:
        self._fan_out = fan_out
        self._clock = clock
        self._cannot: dict[tuple[str, Rung, str | None], float] = {}

    async def of(self, wanted: Wanted) -> AsyncGenerator[bytes, None]:
        """The pictures that can be had, the one that costs an archive least first.

        Whoever asks for the next one says that the last one was of no use.
        """
        for archive in self._fan_out.named(wanted.fetch.archives):
            for rung in Rung:
                if not self._is_worth_asking(archive.id, rung, wanted):
                    continue
                try:
                    found = await self._asked(archive, rung, wanted)
                except ArchiveError:
                    break
                if found is not None:
                    yield found
                    self._note(archive.id, rung, wanted, CANNOT_SECONDS)

    def _is_worth_asking(self, archive: str, rung: Rung, wanted: Wanted) -> bool:
        if rung is Rung.WADO_URI and (wanted.number_of_frames or 1) > 1:
            return False  # archives ignore frameNumber
        return self._clock() >= self._cannot.get((archive, rung, wanted.sop_class_uid), 0.0)

    async def _asked(self, archive: Archive, rung: Rung, wanted: Wanted) -> bytes | None:
        """The archive's picture; None: it has none to give, which is remembered."""
        try:
            with self._fan_out.heard(archive):
                return await self._picture(archive, rung, wanted)
        except (NotFound, NotAcceptable):
            self._note(archive.id, rung, wanted, CANNOT_SECONDS)
        except TimeoutError:
            self._note(archive.id, rung, wanted, SLOW_SECONDS)
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

    def _note(self, archive: str, rung: Rung, wanted: Wanted, seconds: float) -> None:
        if len(self._cannot) >= _MOST_KNOWN:
            self._cannot.clear()
        self._cannot[archive, rung, wanted.sop_class_uid] = self._clock() + seconds
