"""Pictures drawn in worker processes that may be killed: a bad image costs its own request only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from gateway.adapters.desk import Content
from gateway.adapters.drawers import (
    TURN_SECONDS,
    CannotDraw,
    DecoderLost,
    Drawers,
    OutOfTime,
    Subject,
    WorkersBusy,
)

__all__ = (
    "CannotDraw",
    "DecoderLost",
    "Document",
    "OutOfTime",
    "Picture",
    "PictureRequest",
    "PictureWorker",
    "Subject",
    "WorkersBusy",
)

NO_SUCH_FRAME = "there is no such frame"
OUTSIDE = "the source region lies outside of the image"
A_VIDEO = "a video is not drawn"
"""What a CannotDraw says where the object was read.

It holds fewer frames, or less of an image, or something that moves.
"""
MAX_BYTES = 256 * 2**20
"""The largest object that is drawn."""
ANYTHING = Subject()
"""What is drawn on its own account: by nobody's turn but its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureRequest:
    """What is wanted: `frame` is 1-based, None: the middle one; the box is never exceeded.

    `is_middle`: the frame was taken for that; CannotDraw where it is an empty segmentation.
    `window` is centre, width and function; None: the object's own, else the spread of its values.
    `source` is left, top, width and height in pixels of the image, None in it: up to the edge;
    `region` left, top, right and bottom as fractions of it. `is_animated`: all frames, as GIF.
    """

    width: int = 256
    height: int = 256
    media_type: str = "image/jpeg"
    frame: int | None = None
    is_middle: bool = False
    window: tuple[float, float, str] | None = None
    source: tuple[float, float, float | None, float | None] | None = None
    region: tuple[float, float, float, float] | None = None
    quality: int = 85
    is_animated: bool = False


_Work = Literal["draw", "animate", "frame", "fit"]
_WRITTEN = tuple(f.name for f in fields(PictureRequest) if f.name != "is_animated")


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What an object that is no image shows."""

    content: bytes
    media_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An encoded picture and its size in pixels."""

    content: bytes
    media_type: str
    width: int
    height: int


class PictureWorker:
    """Draws one picture a process at a time, in at most `processes` of them."""

    def __init__(
        self,
        processes: int = 2,
        turn_seconds: float = TURN_SECONDS,
        lost: Callable[[str], None] = lambda cause: None,
    ) -> None:
        """`turn_seconds`: how long an order may wait; `lost` is told why a process was lost."""
        self._drawers = Drawers(processes, turn_seconds, lost)

    def check(self, subject: Subject) -> None:
        """DecoderLost where processes were lost over it lately; saves fetching it."""
        self._drawers.check(subject)

    async def draw(
        self, dicom: Content, request: PictureRequest, subject: Subject = ANYTHING
    ) -> Picture:
        """One frame of a DICOM file, or all. CannotDraw: no image, too large, not decodable."""
        work: _Work = "animate" if request.is_animated else "draw"
        return await self._work(work, (dicom,), request, subject)

    async def draw_frame(
        self,
        metadata: Content,
        frame: Content,
        syntax: str,
        request: PictureRequest,
        subject: Subject = ANYTHING,
    ) -> Picture:
        """A frame as stored in a transfer syntax, by its instance's metadata (DICOM JSON).

        CannotDraw also where the metadata lack what it takes.
        """
        return await self._work("frame", (metadata, frame), request, subject, syntax)

    async def fit(
        self, picture: Content, request: PictureRequest, subject: Subject = ANYTHING
    ) -> bytes:
        """A picture scaled down to the box and written anew as asked. CannotDraw."""
        return (await self._work("fit", (picture,), request, subject)).content

    async def read(
        self, dicom: Content, media_types: Sequence[str], subject: Subject = ANYTHING
    ) -> Document:
        """What a DICOM file that is no image shows, as one of `media_types`. CannotDraw."""
        header = {"work": "read", "syntax": None, "media_types": list(media_types)}
        answer, content = await self._sent(header, (dicom,), subject)
        return Document(content=content, media_type=answer["media_type"])

    async def close(self) -> None:
        """End every worker and wait until it is gone."""
        await self._drawers.close()

    async def _work(
        self,
        work: _Work,
        contents: Sequence[Content],
        request: PictureRequest,
        subject: Subject,
        syntax: str | None = None,
    ) -> Picture:
        header = {"work": work, "syntax": syntax, **_written(request)}
        answer, picture = await self._sent(header, contents, subject)
        return Picture(
            content=picture,
            media_type=request.media_type,
            width=answer["width"],
            height=answer["height"],
        )

    async def _sent(
        self, header: dict[str, Any], contents: Sequence[Content], subject: Subject
    ) -> tuple[dict[str, Any], bytes]:
        """What a worker answers to one order. CannotDraw."""
        if sum(len(c) for c in contents) > MAX_BYTES:
            raise CannotDraw("it is too large")
        return await self._drawers.sent(header, contents, subject)


def _written(request: PictureRequest) -> dict[str, Any]:
    """A request as `drawing.Order` takes it."""
    written = {name: getattr(request, name) for name in _WRITTEN}
    if request.window is not None:
        written["window"] = dict(zip(("center", "width", "function"), request.window, strict=True))
    return written
