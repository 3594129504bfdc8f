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
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from typing import Any, Literal

from gateway.adapters.desk import Content, Desk
from gateway.adapters.picture_process import LENGTH, message

WALL_SECONDS = 15.0
TURN_SECONDS = 5.0
NO_SUCH_FRAME = "there is no such frame"
OUTSIDE = "the source region lies outside of the image"
"""What a CannotDraw says where the object was read, and holds fewer frames, or less of an image."""
MAX_BYTES = 256 * 2**20
"""The largest object that is drawn."""
_KEEPING_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(128 * 2**20),
}
"""So that the pages of one picture serve the next: new ones cost as much as drawing."""


class CannotDraw(Exception):
    """There is no picture; says why, without patient data."""


class DecoderLost(CannotDraw):
    """A process was lost over it; trying again would lose the next one."""


class WorkersBusy(CannotDraw):
    """Nobody could draw it now; that says nothing of the object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureRequest:
    """What is wanted: `frame` is 1-based, None: the middle one; the box is never exceeded.

    `window` is centre, width and function; None: the object's own, else the spread of its values.
    `source` is left, top, width and height in pixels of the image, None in it: up to the edge;
    `region` left, top, right and bottom as fractions of it.
    """

    width: int = 256
    height: int = 256
    media_type: str = "image/jpeg"
    frame: int | None = None
    window: tuple[float, float, str] | None = None
    source: tuple[float, float, float | None, float | None] | None = None
    region: tuple[float, float, float, float] | None = None
    quality: int = 85


_WRITTEN = tuple(f.name for f in fields(PictureRequest))


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


@dataclass(frozen=True, slots=True, eq=False)
class _Worker:
    """A process that draws, and the desk where it finds what."""

    process: Process
    desk: Desk


class PictureWorker:
    """Draws one picture a process at a time, in at most `processes` of them."""

    def __init__(
        self,
        processes: int = 2,
        wall_seconds: float = WALL_SECONDS,
        turn_seconds: float = TURN_SECONDS,
    ) -> None:
        """`wall_seconds`: how long one picture may take; `turn_seconds`: how long it may wait."""
        self._wall_seconds = wall_seconds
        self._turn_seconds = turn_seconds
        self._idle: list[_Worker] = []
        self._busy: set[_Worker] = set()
        self._turns = asyncio.Semaphore(processes)
        self._is_closed = False

    async def draw(self, dicom: Content, request: PictureRequest) -> Picture:
        """One frame of a DICOM file. CannotDraw: not an image, too large, or not decodable."""
        return await self._work("draw", (dicom,), request)

    async def draw_frame(
        self, metadata: Content, frame: Content, syntax: str, request: PictureRequest
    ) -> Picture:
        """A frame as stored in a transfer syntax, by its instance's metadata (DICOM JSON).

        CannotDraw also where the metadata lack what it takes.
        """
        return await self._work("frame", (metadata, frame), request, syntax)

    async def fit(self, picture: Content, width: int, height: int, media_type: str) -> bytes:
        """A picture scaled down to the box and written as `media_type`. CannotDraw."""
        request = PictureRequest(width=width, height=height, media_type=media_type)
        return (await self._work("fit", (picture,), request)).content

    async def read(self, dicom: Content, media_types: Sequence[str]) -> Document:
        """What a DICOM file that is no image shows, as one of `media_types`. CannotDraw."""
        header = {"work": "read", "syntax": None, "media_types": list(media_types)}
        answer, content = await self._sent(header, (dicom,))
        return Document(content=content, media_type=answer["media_type"])

    async def close(self) -> None:
        """End every worker and wait until it is gone."""
        self._is_closed = True
        ending, self._idle = [*self._idle, *self._busy], []
        for worker in ending:
            await _end(worker)

    async def _work(
        self,
        work: Literal["draw", "frame", "fit"],
        contents: Sequence[Content],
        request: PictureRequest,
        syntax: str | None = None,
    ) -> Picture:
        header = {"work": work, "syntax": syntax, **_written(request)}
        answer, picture = await self._sent(header, contents)
        return Picture(
            content=picture,
            media_type=request.media_type,
            width=answer["width"],
            height=answer["height"],
        )

    async def _sent(
        self, header: dict[str, Any], contents: Sequence[Content]
    ) -> tuple[dict[str, Any], bytes]:
        """What a worker answers to one order. CannotDraw."""
        header["sizes"] = sizes = [len(c) for c in contents]
        if sum(sizes) > MAX_BYTES:
            raise CannotDraw("it is too large")
        async with self._turn(), self._process() as worker:
            try:
                async with asyncio.timeout(self._wall_seconds):
                    answer, picture = await _exchange(worker, header, contents)
            except TimeoutError as error:
                raise DecoderLost("it took too long") from error
            except (OSError, EOFError) as error:
                raise DecoderLost("its decoder crashed") from error
        if "error" in answer:
            raise CannotDraw(answer["error"])
        return answer, picture

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """One of as many orders as there are processes; WorkersBusy after a while."""
        try:
            async with asyncio.timeout(self._turn_seconds):
                await self._turns.acquire()
        except TimeoutError as error:
            raise WorkersBusy("too much is being drawn") from error
        try:
            yield
        finally:
            self._turns.release()

    @asynccontextmanager
    async def _process(self) -> AsyncIterator[_Worker]:
        """A worker for one order; killed unless the order came to its end."""
        if self._is_closed:
            raise WorkersBusy("the gateway is shutting down")
        worker = await self._alive() or await _start()
        self._busy.add(worker)
        is_well = False
        try:
            yield worker
            is_well = True
        finally:
            self._busy.discard(worker)
            if is_well and not self._is_closed:
                worker.desk.clear()
                self._idle.append(worker)
            else:
                await asyncio.shield(_end(worker))

    async def _alive(self) -> _Worker | None:
        """An idle worker; those that were ended from outside meanwhile are buried."""
        while self._idle:
            worker = self._idle.pop()
            if worker.process.returncode is None:
                return worker
            await _end(worker)
        return None


def _written(request: PictureRequest) -> dict[str, Any]:
    """A request as `drawing.Order` takes it."""
    written = {name: getattr(request, name) for name in _WRITTEN}
    if request.window is not None:
        written["window"] = dict(zip(("center", "width", "function"), request.window, strict=True))
    return written


async def _start() -> _Worker:
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        **_KEEPING_MEMORY,
    }
    desk = Desk()
    arguments = (sys.executable, "-m", "gateway.adapters.picture_process", str(desk.descriptor))
    try:
        process = await asyncio.create_subprocess_exec(
            *arguments,
            stdin=PIPE,
            stdout=PIPE,
            env=environment,
            pass_fds=(desk.descriptor,),
            limit=2**20,
        )
    except OSError as error:
        desk.close()
        raise WorkersBusy("no process can be started") from error
    return _Worker(process, desk)


async def _exchange(
    worker: _Worker, header: dict[str, Any], contents: Sequence[Content]
) -> tuple[dict[str, Any], bytes]:
    """Send one order and read its answer."""
    orders, answers = worker.process.stdin, worker.process.stdout
    if orders is None or answers is None:
        raise EOFError("the worker has no pipes")
    await worker.desk.lay(contents)
    orders.write(message(header))
    length = LENGTH.unpack(await answers.readexactly(LENGTH.size))[0]
    answer: dict[str, Any] = json.loads(await answers.readexactly(length))
    return answer, await answers.readexactly(answer["size"])


async def _end(worker: _Worker) -> None:
    """Kill and bury a worker."""
    if worker.process.returncode is None:
        worker.process.kill()
    if worker.process.stdin is not None:
        worker.process.stdin.close()
    await worker.process.wait()
    worker.desk.close()
