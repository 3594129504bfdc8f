"""What is ordered of the processes that draw, what it may take, and how a refusal is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gateway.adapters.thumbnail import (
    ANYTHING,
    NO_SUCH_FRAME,
    OUTSIDE,
    CannotDraw,
    OutOfTime,
    PictureRequest,
    Subject,
    WorkersBusy,
)
from gateway.errors import BadRequest, GatewayError, NotAcceptable, NotFound, Unavailable
from gateway.model import Instance
from gateway.rules import media
from gateway.rules.rendering import LARGEST_SIDE, Rendering
from gateway.rules.retrieval import Fetch

SMALL = Subject(wall_seconds=8.0, cpu_seconds=4.0)
"""What one process may take for a thumbnail, of which there are many."""


def subject_of(fetch: Fetch, limits: Subject = ANYTHING) -> Subject:
    """What is drawn, as those know it who draw: one object, among the others of its study."""
    study = f"{fetch.target.study_uid} {fetch.archives}"
    return replace(limits, object=f"{fetch.target.instance_uid} {study}", study=study)


UNKNOWN_SIDE = 256
"""The side of the box for an image of which nothing tells the size: most are larger."""


def no_larger_than_source(instance: Instance, wanted: PictureRequest) -> PictureRequest:
    """The box for an archive's picture: it may enlarge, which shows nothing more."""
    columns, rows = (side or UNKNOWN_SIDE for side in (instance.columns, instance.rows))
    return replace(wanted, width=min(wanted.width, columns), height=min(wanted.height, rows))


def in_proportion(instance: Instance, wanted: PictureRequest) -> tuple[int, int]:
    """The size to ask an archive for: those there are that fill another box up with bars."""
    box = no_larger_than_source(instance, wanted)
    if not (instance.columns and instance.rows):
        return box.width, box.height
    scale = min(box.width / instance.columns, box.height / instance.rows)
    return max(1, round(instance.columns * scale)), max(1, round(instance.rows * scale))


def ordered(rendering: Rendering, frames: Sequence[int], *, is_whole: bool) -> PictureRequest:
    """What is drawn for a rendering of the first of `frames`; without any, of the middle one.

    An instance as such (`is_whole`) is shown with all its frames by the type that can.
    """
    width, height = rendering.viewport or (LARGEST_SIDE, LARGEST_SIDE)
    return PictureRequest(
        frame=frames[0] if frames else None,
        width=width,
        height=height,
        media_type=rendering.media_type,
        window=rendering.window,
        source=rendering.source,
        region=rendering.region,
        quality=rendering.quality,
        is_animated=is_whole and rendering.media_type == media.GIF,
    )


def refusal(error: CannotDraw) -> GatewayError:
    """Why something is not rendered, as the caller is told."""
    if str(error) == NO_SUCH_FRAME:
        return NotFound("no such frame")
    if str(error) == OUTSIDE:
        return BadRequest(f"viewport: {error}", parameter="viewport")
    if isinstance(error, (WorkersBusy, OutOfTime)):
        return Unavailable(str(error))
    return NotAcceptable(f"it cannot be rendered as an image: {error}")
