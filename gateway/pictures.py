"""Pictures of whatever exists: thumbnails, which are kept, and renderings by wish."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gateway.adapters.cache import Fresh
from gateway.adapters.flights import Flights
from gateway.adapters.thumbnail import (
    NO_SUCH_FRAME,
    CannotDraw,
    DecoderLost,
    PictureRequest,
    PictureWorker,
    Subject,
    WorkersBusy,
)
from gateway.archives import Archives
from gateway.catalog import Catalog
from gateway.choice import Shown
from gateway.errors import BadRequest, GatewayError, NotFound
from gateway.ladder import Ladder, icon_of, instance_of
from gateway.model import Consumer, Target
from gateway.objects import Objects
from gateway.picture_limits import ordered, refusal, subject_of
from gateway.rules import media, retrieval, showing
from gateway.rules.media import MediaRange
from gateway.rules.rendering import Rendering, check_acceptable, documents, videos
from gateway.rules.retrieval import Fetch


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An encoded image, or what stands for one that cannot be had at the moment: `is_passing`."""

    body: bytes
    media_type: str
    is_passing: bool = False

    @property
    def etag(self) -> str:
        """A strong ETag (RFC 9110 §8.8.3)."""
        return f'"{hashlib.sha256(self.body).hexdigest()[:32]}"'


class Pictures:
    """Pictures of whatever the catalog holds."""

    def __init__(self, catalog: Catalog, archives: Archives, worker: PictureWorker) -> None:
        self._catalog = catalog
        self._archives = archives
        self._worker = worker
        self._objects = Objects(archives.delivery)
        self._renderings: Flights[bytes] = Flights()
        self._ladder = Ladder(archives, worker, self._drawn)

    async def thumbnail(
        self, consumer: Consumer, target: Target, width: int, height: int, media_type: str
    ) -> Picture:
        """A picture, at most `width` by `height` pixels, of `target` (PS3.18 §10.4.1.1.4).

        NotFound when it does not exist for `consumer`; everything that exists has a picture.
        """
        shown = await self._catalog.shown(consumer, target)
        if target.instance_uid is None and showing.is_label(instance_of(shown)):
            request = PictureRequest(width=width, height=height, media_type=media_type)
            return Picture(body=await icon_of(shown, request), media_type=media_type)
        try:
            return await self._small(shown, width, height, media_type)
        except NotFound:
            if shown.target.frames == target.frames:
                raise
        whole = replace(shown.target, frames=())  # it has fewer frames than it is said to have
        return await self._small(replace(shown, target=whole), width, height, media_type)

    async def _small(self, shown: Shown, width: int, height: int, media_type: str) -> Picture:
        wanted = PictureRequest(
            frame=shown.target.frames[0] if shown.target.frames else None,
            width=width,
            height=height,
            media_type=media_type,
        )
        named = shown.target
        key = await self._archives.content_key(
            "thumbnail",
            named.study_uid,
            shown.fetch.archives if shown.fetch else shown.series.archives,
            *(named.series_uid, named.instance_uid, named.frames),
            *(f"{width}x{height}", media_type),
        )

        async def load(previous: bytes | None) -> Fresh:
            if previous and not await self._ladder.may_be_better(shown, wanted, previous):
                return Fresh(value=previous)  # the key names the record of its study
            return await self._ladder.thumbnail(shown, wanted)

        found = await self._archives.cache.load(key, load)
        body = found or await icon_of(shown, wanted)
        return Picture(body=body, media_type=media_type, is_passing=not found)

    async def rendition(
        self,
        consumer: Consumer,
        target: Target,
        rendering: Rendering,
        accepted: Sequence[MediaRange],
    ) -> Picture:
        """The image by `rendering`, or what an object that is no image shows (PS3.18 §8.7.4).

        NotFound; NotAcceptable when it cannot be given as anything that is accepted; BadRequest
        when parameters for images come with what is none.
        """
        check_acceptable(accepted)
        shown = await self._catalog.shown(consumer, target)
        document = await self._document(shown, rendering, accepted)
        if document is not None:
            return document
        asked = replace(rendering, media_type=media.image_type(accepted))
        return await self._image(shown, target, asked)

    async def _document(
        self, shown: Shown, rendering: Rendering, accepted: Sequence[MediaRange]
    ) -> Picture | None:
        """The document, text or video of an object; None: it is an image."""
        instance = instance_of(shown)
        own = documents(instance.sop_class_uid)
        offered = own or videos(instance, accepted)
        first = media.chosen(accepted, offered)
        if shown.fetch is None or first is None:
            return None
        if rendering != Rendering(media_type=rendering.media_type):
            if not own:
                return None
            raise BadRequest("parameters of rendering are for images, which this object is not")
        wanted = [t for t in offered if media.chosen(accepted, (t,))]
        try:
            async with self._objects.held(retrieval.whole(shown.fetch), media.DICOM) as (dicom, _):
                found = await self._worker.read(
                    dicom, sorted(wanted, key=lambda t: t != first), subject_of(shown.fetch)
                )
        except WorkersBusy as error:
            raise refusal(error) from error
        except CannotDraw:
            return None  # a video class may hold images, a report none of what was expected
        return Picture(body=found.content, media_type=found.media_type)

    async def rendered(self, consumer: Consumer, target: Target, rendering: Rendering) -> Picture:
        """The image itself, windowed and scaled here, the same whatever archive holds it.

        An instance as GIF is animated where it has several frames (PS3.18 §8.7.4).
        NotFound when it does not exist for `consumer`; NotAcceptable when it is not an image;
        BadRequest when the region lies outside of it; Unavailable when too much is being drawn.
        """
        return await self._image(await self._catalog.shown(consumer, target), target, rendering)

    async def _image(self, shown: Shown, target: Target, rendering: Rendering) -> Picture:
        if shown.fetch is None:
            raise NotFound("nothing to render")
        is_whole = target.instance_uid is not None and not target.frames
        request = ordered(rendering, shown.target.frames, is_whole=is_whole)
        drawing = functools.partial(
            self._drawn, shown, shown.fetch, request, subject_of(shown.fetch)
        )
        try:
            drawn = await self._renderings.join(f"{shown.fetch} {request}", drawing)
        except CannotDraw as error:
            raise refusal(error) from error
        return Picture(body=drawn, media_type=rendering.media_type)

    async def close(self) -> None:
        """Ends what is under way, and the drawing processes."""
        await self._renderings.close()
        await self._objects.close()
        await self._worker.close()

    async def _drawn(
        self, shown: Shown, fetch: Fetch, wanted: PictureRequest, subject: Subject
    ) -> bytes:
        """The picture decoded here: one of many frames by itself, else by the whole object.

        CannotDraw; and what archives fail with.
        """
        instance = instance_of(shown)
        if not retrieval.shows_pixels(instance):
            raise CannotDraw("it holds no image")
        self._worker.check(subject)
        told = instance.number_of_frames
        if told and (wanted.frame or 1) > told:
            raise CannotDraw(NO_SUCH_FRAME)
        if told and told > 1 and not wanted.is_animated:
            one = replace(wanted, frame=wanted.frame or told // 2 + 1, is_middle=not wanted.frame)
            try:
                return await self._one_of_many(fetch, one, subject)
            except (DecoderLost, WorkersBusy):
                raise
            except (CannotDraw, GatewayError):
                pass  # the whole object may tell more
        async with self._objects.held(retrieval.whole(fetch), media.DICOM) as (dicom, _):
            return (await self._worker.draw(dicom, wanted, subject)).content

    async def _one_of_many(self, fetch: Fetch, wanted: PictureRequest, subject: Subject) -> bytes:
        """The picture of a frame by the instance's metadata and that frame alone."""
        of_frame = replace(fetch, target=replace(fetch.target, frames=(wanted.frame or 1,)))
        found = await self._archives.metadata(retrieval.whole(fetch))
        if len(found) != 1:
            raise CannotDraw("its metadata are not those of one instance")
        async with self._objects.held(of_frame, "*/*") as (frame, content_type):
            syntax = media.transfer_syntax(content_type)
            drawn = await self._worker.draw_frame(found[0], frame, syntax, wanted, subject)
        return drawn.content
