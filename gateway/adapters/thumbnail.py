"""Pictures drawn in worker processes that may be killed: a bad image costs its own request only.

The workers are started when first needed and kept. One that crashes, takes too long, or whose
caller leaves is killed, and the next order starts another.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from gateway.adapters.icons import icon, kind_of
from gateway.adapters.picture_process import LENGTH, message

__all__ = ("CannotDraw", "Picture", "PictureRequest", "PictureWorker", "icon", "kind_of")

WALL_SECONDS = 15
NO_SUCH_FRAME = "there is no such frame"
"""What a CannotDraw says where the object was read, and holds fewer frames."""
MAX_DICOM_BYTES = 256 * 2**20
MAX_PICTURE_BYTES = 64 * 2**20


class CannotDraw(Exception):
    """There is no picture; says why, without patient data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureRequest:
    """What is wanted: `frame` is 1-based, None: the middle one; the box is never exceeded.

    `window` is centre and width; None: the object's own, else the spread of its values.
    """

    width: int = 256
    height: int = 256
    media_type: str = "image/jpeg"
    frame: int | None = None
    window: tuple[float, float] | None = None
    quality: int = 85


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An encoded picture and its size in pixels."""

    content: bytes
    media_type: str
    width: int
    height: int


class PictureWorker:
    """Draws one picture a process at a time, in at most `processes` of them."""

    def __init__(self, processes: int = 2, wall_seconds: float = WALL_SECONDS) -> None:
        self._wall_seconds = wall_seconds
        self._idle: list[Process] = []
        self._busy: set[Process] = set()
        self._turns = asyncio.Semaphore(processes)
        self._is_closed = False

    async def draw(self, dicom: bytes, request: PictureRequest) -> Picture:
        """One frame of a Part 10 file. CannotDraw: not an image, too large, or not decodable."""
        if len(dicom) > MAX_DICOM_BYTES:
            raise CannotDraw("the file is too large")
        return await self._work("draw", dicom, request)

    async def fit(self, picture: bytes, width: int, height: int, media_type: str) -> bytes:
        """A picture scaled down to the box and written as `media_type`. CannotDraw."""
        if len(picture) > MAX_PICTURE_BYTES:
            raise CannotDraw("the picture is too large")
        request = PictureRequest(width=width, height=height, media_type=media_type)
        return (await self._work("fit", picture, request)).content

    async def close(self) -> None:
        """End every worker and wait until it is gone."""
        self._is_closed = True
        ending, self._idle = [*self._idle, *self._busy], []
        for process in ending:
            await _end(process)

    async def _work(self, work: str, content: bytes, request: PictureRequest) -> Picture:
        header = {
            "work": work,
            "width": request.width,
            "height": request.height,
            "media_type": request.media_type,
            "frame": request.frame,
            "window": request.window,
            "quality": request.quality,
        }
        async with self._turns, self._process() as process:
            try:
                async with asyncio.timeout(self._wall_seconds):
                    answer, picture = await _exchange(process, header, content)
            except TimeoutError as error:
                raise CannotDraw("it took too long") from error
            except (ConnectionError, EOFError) as error:
                raise CannotDraw("its decoder crashed") from error
        if "error" in answer:
            raise CannotDraw(answer["error"])
        return Picture(
            content=picture,
            media_type=request.media_type,
            width=answer["width"],
            height=answer["height"],
        )

    @asynccontextmanager
    async def _process(self) -> AsyncIterator[Process]:
        """A worker for one order; killed unless the order came to its end."""
        if self._is_closed:
            raise CannotDraw("the gateway is shutting down")
        process = await self._alive() or await _start()
        self._busy.add(process)
        is_well = False
        try:
            yield process
            is_well = True
        finally:
            self._busy.discard(process)
            if is_well and not self._is_closed:
                self._idle.append(process)
            else:
                await asyncio.shield(_end(process))

    async def _alive(self) -> Process | None:
        """An idle worker; those that were ended from outside meanwhile are buried."""
        while self._idle:
            process = self._idle.pop()
            if process.returncode is None:
                return process
            await _end(process)
        return None


async def _start() -> Process:
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
    arguments = (sys.executable, "-m", "gateway.adapters.picture_process")
    return await asyncio.create_subprocess_exec(
        *arguments, stdin=PIPE, stdout=PIPE, env=environment, limit=2**20
    )


async def _exchange(
    process: Process, header: dict[str, Any], content: bytes
) -> tuple[dict[str, Any], bytes]:
    """Send one order and read its answer."""
    if process.stdin is None or process.stdout is None:
        raise EOFError("the worker has no pipes")
    process.stdin.write(message(header, content))
    process.stdin.write(content)
    await process.stdin.drain()
    length = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))[0]
    answer: dict[str, Any] = json.loads(await process.stdout.readexactly(length))
    return answer, await process.stdout.readexactly(answer["size"])


async def _end(process: Process) -> None:
    """Kill and bury a worker."""
    if process.returncode is None:
        process.kill()
    if process.stdin is not None:
        process.stdin.close()
    await process.wait()
