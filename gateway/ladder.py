"""One thumbnail for every object: the ladder down to a typed icon.

    the archive's own thumbnail or rendering → decoded here → an icon of its kind

A rung that is missing, slow or broken falls to the next; only the instance that stands for a series
or a study is ever fetched, and of many frames only one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace

from gateway.adapters import icons
from gateway.adapters.cache import Fresh
from gateway.adapters.thumbnail import (
    A_VIDEO,
    NO_SUCH_FRAME,
    CannotDraw,
    DecoderLost,
    PictureRequest,
    PictureWorker,
    Subject,
    WorkersBusy,
)
from gateway.archives import Archives
from gateway.choice import Shown, metadata_of
from gateway.errors import ArchiveError, ArchiveTimeout, NotAcceptable, NotFound
from gateway.model import Instance
from gateway.own_pictures import SLOW_SECONDS, Wanted, wanted_of
from gateway.picture_limits import SMALL, no_larger_than_source, subject_of
from gateway.rules import retrieval, showing
from gateway.rules.retrieval import Fetch
from gateway.shut_ways import ShutWays, Way

THUMBNAIL_SECONDS = 20.0
"""How long is tried in all to find something better than an icon."""

UNDRAWN_SECONDS = 300.0
"""How long an object is not fetched again that could not be decoded, while its archive may draw."""
Drawn = Callable[[Shown, Fetch, PictureRequest, Subject], Awaitable[bytes]]


class Ladder:
    """Tries one rung after the other, and knows which of them failed of late."""

    def __init__(self, archives: Archives, worker: PictureWorker, drawn: Drawn) -> None:
        """`drawn`: what is decoded here; CannotDraw, and what archives fail with."""
        self._archives = archives
        self._worker = worker
        self._drawn = drawn
        self._ways = ShutWays()

    async def thumbnail(self, shown: Shown, wanted: PictureRequest) -> Fresh:
        """The picture by the first rung that holds, else an icon where the object itself is why.

        Nothing, for a while, where the archives or the workers are: an icon is no picture of it.
        """
        if (fetch := shown.fetch) is None:
            return Fresh(value=b"", is_absent=True)
        way = _drawing(shown, fetch)
        try:
            async with asyncio.timeout(THUMBNAIL_SECONDS):
                return Fresh(value=await self._by_ladder(shown, fetch, wanted, way))
        except CannotDraw as error:
            if str(error) == NO_SUCH_FRAME:
                raise NotFound("no such frame") from error
            if not isinstance(error, DecoderLost | WorkersBusy):
                if not self._archives.own_pictures.may_recover(_wanted(shown, fetch, wanted)):
                    kind = icons.VIDEO if str(error) == A_VIDEO else None
                    return Fresh(value=await icon_of(shown, wanted, kind))
                self._ways.spare(way, UNDRAWN_SECONDS)
        except (ArchiveTimeout, TimeoutError):
            self._ways.failed(way, SLOW_SECONDS)
        except (ArchiveError, NotAcceptable, NotFound):
            pass
        return Fresh(value=b"", is_absent=True)

    async def _by_ladder(
        self, shown: Shown, fetch: Fetch, wanted: PictureRequest, way: Way
    ) -> bytes:
        """The archive's own picture, else the one drawn here; NotFound: that failed just now."""
        subject = subject_of(fetch, SMALL)
        shown = await self._told(shown, fetch, wanted)
        if (own := await self._own(shown, fetch, wanted, subject)) is not None:
            return own
        if self._ways.is_shut(way):
            raise NotFound("it could not be drawn a moment ago")
        drawn = await self._drawn(shown, fetch, wanted, subject)
        self._ways.worked(way)
        return drawn

    async def may_be_better(self, shown: Shown, wanted: PictureRequest, known: bytes) -> bool:
        """Whether what is known is an icon of an image, and some way is open again."""
        if shown.fetch is None or not retrieval.shows_pixels(instance_of(shown)):
            return False
        is_open = self._archives.own_pictures.is_open(_wanted(shown, shown.fetch, wanted))
        return is_open and known in [await icon_of(shown, wanted, k) for k in (None, icons.VIDEO)]

    async def _told(self, shown: Shown, fetch: Fetch, wanted: PictureRequest) -> Shown:
        """The same with the size of the image, which an archive's picture must not exceed."""
        instance = instance_of(shown)
        if (instance.rows and instance.columns) or not retrieval.shows_pixels(instance):
            return shown
        if not self._archives.own_pictures.is_open(_wanted(shown, fetch, wanted)):
            return shown
        metadata = await metadata_of(self._archives, fetch)
        told = showing.described(instance, metadata)
        squares = showing.has_square_pixels(metadata)
        return replace(shown, series=replace(shown.series, instances=(told,)), squares=squares)

    async def _own(
        self, shown: Shown, fetch: Fetch, wanted: PictureRequest, subject: Subject
    ) -> bytes | None:
        """The first picture of an archive's own that is one; None: there is none."""
        instance = instance_of(shown)
        if not (retrieval.shows_pixels(instance) and shown.squares):
            return None  # archives draw all pixels as squares
        box = no_larger_than_source(instance, wanted)
        apart = replace(subject, object=f"own {subject.object}")
        asked = _wanted(shown, fetch, wanted)
        async with aclosing(self._archives.own_pictures.of(asked)) as pictures:
            async for one in pictures:
                try:  # it may be larger than asked, or broken
                    return await self._worker.fit(one, box, apart)
                except WorkersBusy:
                    raise
                except CannotDraw:
                    continue
        return None


def instance_of(shown: Shown) -> Instance:
    """The instance that is shown, as far as it is known."""
    instances = shown.series.instances or ()
    return instances[0] if instances else Instance(uid=shown.target.instance_uid or "")


async def icon_of(shown: Shown, wanted: PictureRequest, kind: str | None = None) -> bytes:
    """What stands for a picture; drawn in a thread, since a new one takes milliseconds."""
    kind = kind or icons.kind_of(instance_of(shown).sop_class_uid, shown.series.modality)
    size = wanted.width, wanted.height
    return await asyncio.to_thread(icons.icon, kind, *size, wanted.media_type)


def _wanted(shown: Shown, fetch: Fetch, wanted: PictureRequest) -> Wanted:
    return wanted_of(instance_of(shown), fetch, shown.target, wanted)


def _drawing(shown: Shown, fetch: Fetch) -> Way:
    """The way of fetching the object and drawing it here."""
    return Way(
        archive=",".join(fetch.archives),
        name="object",
        sop_class_uid=instance_of(shown).sop_class_uid,
        series_uid=shown.target.series_uid,
        instance_uid=shown.target.instance_uid,
    )
