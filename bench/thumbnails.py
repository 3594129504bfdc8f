"""Cold thumbnails: CPU against the plain pydicom and Pillow way, and the lag of the loop.

Run: python -m bench.thumbnails [rounds]. Both ways draw the same files in turn, in one run; CPU is
that of the processes (their clocks), of ours the drawing process and the gateway that hands over.
Compare the ratios, the milliseconds are this machine's.
"""

from __future__ import annotations

import asyncio
import io
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import orjson
import pydicom
import uvloop
from pydicom.encaps import get_frame

from bench.ground.image_files import FRAMES, KINDS, plainly
from bench.ground.processes import cpu_clock
from bench.ground.sums import Result, rounds_asked, tell
from gateway.adapters.desk import Chunks
from gateway.adapters.thumbnail import PictureRequest, PictureWorker

ROUNDS = 7
AT_ONCE = 25
"""Thumbnails of one way, a page of them, before it is the other's turn."""
SIDE = 128
CHUNK_BYTES = 1 << 18
LIMITS = {
    "raw CT": (1 / 4, 1 / 6),
    "JPEG 2000 CT": (1 / 8, 1 / 12),
    "JPEG 2000 CT without noise": (1 / 8, 1 / 12),
    "30-frame US": (1 / 50, 1 / 120),
}
"""Floor and goal of what a kind may cost, in plain ones."""
LAG_SECONDS, TICK_SECONDS = 4.0, 0.001
LAG_FLOOR, LAG_GOAL = 25, 10
write = sys.stdout.write


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What the product asks an archive for, in the pieces in which it comes.

    Of one frame the object itself; of many the metadata, and the frame in the middle.
    """

    dicom: Sequence[bytes]
    metadata: bytes = b""
    syntax: str = ""

    async def drawn(self, worker: PictureWorker) -> bytes:
        """The way of the product from there on: over to the drawing process."""
        request, body = PictureRequest(width=SIDE, height=SIDE), Chunks()
        for piece in self.dicom:
            body.append(piece)
        if not self.metadata:
            return (await worker.draw(body, request)).content
        middle = replace(request, frame=FRAMES // 2 + 1)
        return (await worker.draw_frame(self.metadata, body, self.syntax, middle)).content


def fetched(content: bytes) -> Fetched:
    """What is asked for to draw `content`."""
    dataset = pydicom.dcmread(io.BytesIO(content))
    if "NumberOfFrames" not in dataset:
        return Fetched(dicom=pieces(content))
    frame = get_frame(dataset.PixelData, FRAMES // 2, number_of_frames=FRAMES)
    del dataset.PixelData
    metadata = orjson.dumps(dataset.to_json_dict())
    return Fetched(
        dicom=pieces(frame), metadata=metadata, syntax=dataset.file_meta.TransferSyntaxUID
    )


def pieces(content: bytes) -> Sequence[bytes]:
    """Bytes as a client reads them."""
    return [content[at : at + CHUNK_BYTES] for at in range(0, len(content), CHUNK_BYTES)]


def child() -> int:
    """The drawing process that was started."""
    found = [
        int(each.parent.name)
        for each in Path("/proc").glob("[0-9]*/cmdline")
        if "picture_process" in each.read_text()
        and int((each.parent / "stat").read_text().rpartition(")")[2].split()[1])
        == int(Path("/proc/self").readlink().name)
    ]
    return found[0]


async def against_plain(rounds: int) -> None:
    """Prints the CPU of both ways, kind of file by kind of file."""
    worker = PictureWorker(processes=1)
    write(f"{'CPU ms':14} {'plain':>8} {'drawing':>8} {'handing':>8}   {'ratio':>7}\n")
    for name, content in KINDS.items():
        ours = fetched(content())
        plainly(content(), SIDE)
        await ours.drawn(worker)
        measured = [await one_round(worker, ours, content()) for _ in range(rounds)]
        plain, drawing, handing = (statistics.median(m[n] for m in measured) for n in range(3))
        ratio = statistics.median((m[1] + m[2]) / m[0] for m in measured)
        alone = statistics.median(m[0] / m[1] for m in measured)
        write(f"{name:14} {plain * 1e3:8.2f} {drawing * 1e3:8.2f} {handing * 1e3:8.2f}")
        write(f"   1/{1 / ratio:.1f} (1/{alone:.1f} without handing over)\n")
        floor, goal = LIMITS[name]
        what = f"thumbnail of {name}: CPU"
        tell(Result(what=what, of="pydicom and Pillow", ratio=ratio, floor=floor, goal=goal))
    await worker.close()


async def one_round(
    worker: PictureWorker, ours: Fetched, content: bytes
) -> tuple[float, float, float]:
    """CPU seconds of one plain thumbnail, and of one of ours: drawing it, and handing it over."""
    pid, plain = child(), cpu_of_plain(content)
    drawing, handing = cpu_clock(pid), time.process_time()
    for _ in range(AT_ONCE):
        await ours.drawn(worker)
    return (
        plain,
        (cpu_clock(pid) - drawing) / AT_ONCE,
        (time.process_time() - handing) / AT_ONCE,
    )


def cpu_of_plain(content: bytes) -> float:
    """CPU seconds of one plain thumbnail."""
    started = time.process_time()
    for _ in range(AT_ONCE):
        plainly(content, SIDE)
    return (time.process_time() - started) / AT_ONCE


async def lag(name: str) -> None:
    """Tells how late the loop was while thumbnails were drawn as fast as they could be."""
    worker, ours, late, drawn = PictureWorker(), fetched(KINDS[name]()), [], 0
    await asyncio.gather(ours.drawn(worker), ours.drawn(worker))  # both processes have started
    until = time.monotonic() + LAG_SECONDS

    async def draw() -> None:
        nonlocal drawn
        while time.monotonic() < until:
            await ours.drawn(worker)
            drawn += 1

    async def look() -> None:
        while time.monotonic() < until:
            at = time.monotonic()
            await asyncio.sleep(TICK_SECONDS)
            late.append(time.monotonic() - at - TICK_SECONDS)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(8):
            tasks.create_task(draw())
        tasks.create_task(look())
    await worker.close()
    write(f"{drawn / LAG_SECONDS:.0f} thumbnails/s of {name}\n")
    p99 = sorted(late)[len(late) * 99 // 100] * 1e3
    what = f"loop lag p99 while {name} is drawn at full speed"
    tell(
        Result(what=what, of="a tick of 1 ms", ratio=p99, floor=LAG_FLOOR, goal=LAG_GOAL, unit="ms")
    )


def main() -> None:
    """Prints the tables."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as `gateway serve` does
        runner.run(against_plain(rounds_asked(ROUNDS)))
        for name in KINDS:
            runner.run(lag(name))


if __name__ == "__main__":
    main()
