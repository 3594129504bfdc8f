"""The archives' own pictures, rung by rung, and what each of them cannot draw."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace

from gateway.adapters.thumbnail import PictureRequest
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
from gateway.model import Instance, Rung, Target
from gateway.picture_limits import in_proportion
from gateway.rules import media
from gateway.rules.retrieval import Fetch
from gateway.shut_ways import ShutWays, Way

RUNG_SECONDS = 4.0
"""How long a picture is waited for, when it can be had in other ways too."""
CANNOT_SECONDS = 3600.0
SLOW_SECONDS = 60.0
MOST_REFUSALS = 2
"""How many ways are tried at an archive that is busy or refuses the gateway."""
NOT_IMPLEMENTED = 501


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A picture of one instance: of what kind it is, how many frames it has, the box, the type."""

    fetch: Fetch
    sop_class_uid: str | None
    number_of_frames: int | None
    width: int
    height: int
    media_type: str


def wanted_of(instance: Instance, fetch: Fetch, target: Target, request: PictureRequest) -> Wanted:
    """What archives are asked for: of an instance with many frames the middle one."""
    number = instance.number_of_frames or 1
    frames = target.frames[:1] or ((number // 2 + 1,) if number > 1 else ())
    width, height = in_proportion(instance, request)
    return Wanted(
        fetch=replace(fetch, target=replace(target, frames=frames)),
        sop_class_uid=instance.sop_class_uid,
        number_of_frames=instance.number_of_frames,
        width=width,
        height=height,
        media_type=media.PNG if request.media_type == media.GIF else request.media_type,
    )


class OwnPictures:
    """What archives draw themselves.

    What one cannot do for an object is not asked of it again for an hour; what failed or was slow,
    for a minute. What it could not do for several it is not asked for their SOP class.
    """

    def __init__(self, fan_out: FanOut, clock: Callable[[], float] = time.monotonic) -> None:
        self._fan_out = fan_out
        self._ways = ShutWays(clock)

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
                way = _way(archive.id, rung, wanted)
                if not _is_possible(rung, wanted) or self._ways.is_shut(way):
                    continue
                try:
                    found = await self._asked(archive, rung, wanted)
                except (ArchiveBusy, ArchiveRefused) as error:
                    refusals += 1
                    if error.answered is None or refusals == MOST_REFUSALS:
                        break
                    continue
                if found is not None:
                    try:
                        yield found
                    except GeneratorExit:
                        self._ways.worked(way)
                        raise
                    self._ways.failed(way, CANNOT_SECONDS)

    def may_recover(self, wanted: Wanted) -> bool:
        """Whether a way failed in passing, so that there may be a picture in a while."""
        return self._ways.may_recover(_ways(wanted))

    def is_open(self, wanted: Wanted) -> bool:
        """Whether there is a way that would be asked now."""
        return any(not self._ways.is_shut(way) for way in _ways(wanted))

    async def _asked(self, archive: Archive, rung: Rung, wanted: Wanted) -> bytes | None:
        """The archive's picture; None: it has none to give, which is remembered.

        ArchiveBusy and ArchiveRefused are remembered too, where it was the archive that said so.
        """
        way = _way(archive.id, rung, wanted)
        try:
            with self._fan_out.heard(archive):
                return await self._picture(archive, rung, wanted)
        except NotSupported:
            self._ways.shut(way, CANNOT_SECONDS)
        except (NotFound, NotAcceptable):
            self._ways.failed(way, CANNOT_SECONDS)
        except TimeoutError:
            self._ways.shut(way, SLOW_SECONDS, is_passing=True)
        except (ArchiveBusy, ArchiveRefused) as error:
            if error.answered is not None:
                seconds = max(SLOW_SECONDS, error.retry_after_seconds or 0)
                self._ways.shut(way, seconds, is_passing=True)
            raise
        except ArchiveError:
            self._ways.shut(way, SLOW_SECONDS, is_passing=True)
        return None

    async def _picture(self, archive: Archive, rung: Rung, wanted: Wanted) -> bytes | None:
        """The same; an archive that fails at drawing is not held for one that fails at all."""
        try:
            async with asyncio.timeout(RUNG_SECONDS):
                return await archive.picture(
                    wanted.fetch.target, rung, wanted.width, wanted.height, wanted.media_type
                )
        except ArchiveBadAnswer as error:
            way = _way(archive.id, rung, wanted)
            if error.answered == NOT_IMPLEMENTED:
                self._ways.shut(way, CANNOT_SECONDS)
            elif (error.answered or 0) >= 500:
                self._ways.failed(way, SLOW_SECONDS, is_passing=True)
            else:
                self._ways.failed(way, CANNOT_SECONDS)
            return None


def _ways(wanted: Wanted) -> list[Way]:
    archives = wanted.fetch.archives
    return [_way(a, rung, wanted) for a in archives for rung in Rung if _is_possible(rung, wanted)]


def _way(archive: str, rung: Rung, wanted: Wanted) -> Way:
    return Way(
        archive=archive,
        name=rung.value,
        sop_class_uid=wanted.sop_class_uid,
        series_uid=wanted.fetch.target.series_uid,
        instance_uid=wanted.fetch.target.instance_uid,
    )


def _is_possible(rung: Rung, wanted: Wanted) -> bool:
    """Whether it can be asked for: by WADO-URI archives ignore frameNumber."""
    return rung is not Rung.WADO_URI or (wanted.number_of_frames or 1) == 1
