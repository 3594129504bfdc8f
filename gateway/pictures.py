"""One picture for every object: the ladder from the cache down to a typed icon.

    cached → the archive's own thumbnail or rendering → decoded here → an icon of its kind

A rung that is missing or fails falls to the next; only the instance that stands for a series or a
study is ever fetched, once for all who wait.
"""

from __future__ import annotations

import contextlib
import hashlib
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

from gateway.adapters.cache import Fresh
from gateway.adapters.icons import icon, kind_of
from gateway.adapters.thumbnail import NO_SUCH_FRAME, CannotDraw, PictureRequest, PictureWorker
from gateway.archives import Archives
from gateway.catalog import Catalog, Shown
from gateway.errors import ArchiveError, NotAcceptable, NotFound
from gateway.model import Consumer, Target
from gateway.rules.media import ANY, Form
from gateway.rules.rendering import LARGEST_SIDE, Rendering
from gateway.rules.retrieval import Fetch

MAX_OBJECT_BYTES = 256 << 20
"""The largest object that is fetched to be drawn here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An encoded image and its strong validator."""

    body: bytes
    media_type: str

    @property
    def etag(self) -> str:
        """A strong ETag (RFC 9110 §8.8.3)."""
        return f'"{hashlib.sha256(self.body).hexdigest()[:32]}"'


class Pictures:
    """Thumbnails of whatever the catalog holds."""

    def __init__(self, catalog: Catalog, archives: Archives, worker: PictureWorker) -> None:
        self._catalog = catalog
        self._archives = archives
        self._worker = worker

    async def thumbnail(
        self, consumer: Consumer, target: Target, width: int, height: int, media_type: str
    ) -> Picture:
        """A picture, at most `width` by `height` pixels, of `target` (PS3.18 §10.4.1.1.4).

        NotFound when it does not exist for `consumer`; everything that exists has a picture.
        """
        shown = await self._catalog.shown(consumer, target)
        wanted = PictureRequest(
            frame=shown.target.frames[0] if shown.target.frames else None,
            width=width,
            height=height,
            media_type=media_type,
        )
        named = shown.target
        key = (
            f"thumbnail {named.study_uid} {named.series_uid} {named.instance_uid} "
            f"{named.frames} {width}x{height} {media_type}"
        )

        async def load(previous: bytes | None) -> Fresh:
            if previous:
                return Fresh(value=previous)  # an instance never changes
            drawn = await self._drawn(shown, wanted)
            if drawn is not None:
                return Fresh(value=drawn)
            return Fresh(value=await self._icon(shown, wanted), is_absent=True)

        return Picture(body=await self._archives.cache.load(key, load), media_type=media_type)

    async def rendered(self, consumer: Consumer, target: Target, rendering: Rendering) -> Picture:
        """The image itself, windowed and scaled here, the same whatever archive holds it.

        NotFound when it does not exist for `consumer`; NotAcceptable when it is not an image.
        """
        shown = await self._catalog.shown(consumer, target)
        if shown.fetch is None:
            raise NotFound("nothing to render")
        width, height = rendering.viewport or (LARGEST_SIDE, LARGEST_SIDE)
        request = PictureRequest(
            frame=shown.target.frames[0] if shown.target.frames else None,
            width=width,
            height=height,
            media_type=rendering.media_type,
            window=rendering.window,
            quality=rendering.quality,
        )
        try:
            drawn = await self._worker.draw(await self._object(shown.fetch), request)
        except CannotDraw as error:
            _check_frame(error)
            raise NotAcceptable(f"it cannot be rendered as an image: {error}") from error
        return Picture(body=drawn.content, media_type=rendering.media_type)

    async def close(self) -> None:
        """Ends the drawing processes."""
        await self._worker.close()

    async def _drawn(self, shown: Shown, wanted: PictureRequest) -> bytes | None:
        """The picture by the first rung that holds; None when only an icon is left."""
        if shown.fetch is None:
            return None
        own = await self._archives.delivery.picture(
            replace(shown.fetch, target=shown.target),
            *_no_larger_than_source(shown, wanted),
            wanted.media_type,
        )
        if own is not None:
            with contextlib.suppress(CannotDraw):  # it may be larger than asked, or broken
                return await self._worker.fit(own, wanted.width, wanted.height, wanted.media_type)
        try:
            dicom = await self._object(shown.fetch)
            return (await self._worker.draw(dicom, wanted)).content
        except CannotDraw as error:
            _check_frame(error)
            return None
        except (ArchiveError, NotFound, NotAcceptable):
            return None

    async def _object(self, fetch: Fetch) -> bytes:
        """The whole instance as stored; CannotDraw when it is too large to be held."""
        one = replace(fetch, target=replace(fetch.target, frames=()))
        form = Form(is_multipart=False, types=("application/dicom",), transfer_syntaxes=(ANY,))
        body = bytearray()
        async with AsyncExitStack() as stack:
            parts = await self._archives.delivery.opened(stack, one, form)
            async for part in parts:
                async for chunk in part.chunks:
                    body += chunk
                    if len(body) > MAX_OBJECT_BYTES:
                        raise CannotDraw("the object is too large")
                break
        return bytes(body)

    async def _icon(self, shown: Shown, wanted: PictureRequest) -> bytes:
        instances = shown.series.instances or ()
        sop_class = instances[0].sop_class_uid if instances else None
        kind = kind_of(sop_class, shown.series.modality)
        return icon(kind, wanted.width, wanted.height, wanted.media_type)


def _check_frame(error: CannotDraw) -> None:
    """NotFound where the object was read, and has no such frame."""
    if str(error) == NO_SUCH_FRAME:
        raise NotFound("no such frame") from error


def _no_larger_than_source(shown: Shown, wanted: PictureRequest) -> tuple[int, int]:
    """The box to ask an archive for: it may enlarge, and an enlarged picture shows nothing more."""
    for instance in shown.series.instances or ():
        if instance.columns and instance.rows:
            return min(wanted.width, instance.columns), min(wanted.height, instance.rows)
    return wanted.width, wanted.height
