"""Pictures are drawn in workers that may die; whoever asked for another one does not notice."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import struct
import time
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import encapsulate

from gateway.adapters.thumbnail import (
    CannotDraw,
    OutOfTime,
    PictureRequest,
    PictureWorker,
    Subject,
    WorkersBusy,
)
from tests import mutations, odd_images, worker_processes

SMALL = PictureRequest(width=128, height=128)
FILES = Path(pydicom.__file__).parent / "data/test_files"


def stored(name: str) -> bytes:
    return (FILES / name).read_bytes()


@pytest.fixture
async def worker() -> AsyncIterator[PictureWorker]:
    made = PictureWorker(processes=1)
    yield made
    await made.close()


async def test_image_is_drawn_within_the_box(worker: PictureWorker) -> None:
    picture = await worker.draw(stored("693_J2KI.dcm"), PictureRequest(width=128, height=64))

    assert (picture.width, picture.height) == (64, 64)
    assert Image.open(io.BytesIO(picture.content)).size == (64, 64)
    assert picture.content.startswith(b"\xff\xd8\xff")


async def test_small_image_is_not_enlarged(worker: PictureWorker) -> None:
    picture = await worker.draw(stored("MR_small.dcm"), PictureRequest(media_type="image/png"))

    assert (picture.width, picture.height) == (64, 64)
    assert picture.content.startswith(b"\x89PNG")


async def test_nothing_has_to_be_loaded_once_a_process_can_open_no_file(
    worker: PictureWorker,
) -> None:
    large = np.tile(np.arange(600, dtype=np.uint16), (600, 1))
    files = {"large": odd_images.native(large, Rows=600, Columns=600)}
    for kind in odd_images.KINDS.values():
        files |= kind()

    for name, content in files.items():
        assert (await worker.draw(content, SMALL)).content, name


async def test_report_cannot_be_drawn(worker: PictureWorker) -> None:
    with pytest.raises(CannotDraw, match="no pixel data"):
        await worker.draw(stored("reportsi.dcm"), PictureRequest())


async def test_frame_beyond_the_last_cannot_be_drawn(worker: PictureWorker) -> None:
    with pytest.raises(CannotDraw, match="no such frame"):
        await worker.draw(stored("examples_ybr_color.dcm"), PictureRequest(frame=31))


async def test_garbage_cannot_be_drawn_and_costs_nobody_else(worker: PictureWorker) -> None:
    with pytest.raises(CannotDraw):
        await worker.draw(b"\0" * 128 + b"DICM" + b"\xff" * 1000, PictureRequest())

    picture = await worker.draw(stored("CT_small.dcm"), PictureRequest())

    assert picture.width == 128


async def test_worker_that_is_killed_costs_only_its_own_request() -> None:
    worker = PictureWorker(processes=1)
    content = stored("CT_small.dcm")
    await worker.draw(content, PictureRequest())
    (pid,) = worker_processes.started()

    os.kill(pid, signal.SIGSTOP)
    stuck = asyncio.ensure_future(worker.draw(content, PictureRequest()))
    await asyncio.sleep(0)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(WorkersBusy):
        await stuck

    assert (await worker.draw(content, PictureRequest())).width == 128
    assert pid not in worker_processes.started()
    await worker.close()


async def test_request_that_takes_too_long_is_given_up_and_its_worker_ends() -> None:
    worker = PictureWorker(processes=1)

    with pytest.raises(OutOfTime, match="too long"):
        await worker.draw(stored("CT_small.dcm"), PictureRequest(), Subject(wall_seconds=0.0))

    assert worker_processes.started() == set()
    await worker.close()


async def test_caller_who_leaves_takes_the_worker_along() -> None:
    worker = PictureWorker(processes=1)
    content = stored("CT_small.dcm")
    await worker.draw(content, PictureRequest())
    (pid,) = worker_processes.started()
    os.kill(pid, signal.SIGSTOP)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(worker.draw(content, PictureRequest()), 0.05)

    assert pid not in worker_processes.started()
    assert (await worker.draw(content, PictureRequest())).width == 128
    await worker.close()


async def test_several_requests_share_the_workers() -> None:
    worker = PictureWorker(processes=2)
    content = stored("MR_small.dcm")

    pictures = await asyncio.gather(*(worker.draw(content, PictureRequest()) for _ in range(8)))

    assert len({p.content for p in pictures}) == 1
    assert len(worker_processes.started()) == 2
    await worker.close()
    assert worker_processes.started() == set()


async def test_nothing_is_started_before_it_is_needed() -> None:
    worker = PictureWorker()

    assert worker_processes.started() == set()
    await worker.close()


async def test_picture_of_an_archive_is_scaled_down(worker: PictureWorker) -> None:
    large = io.BytesIO()
    Image.new("RGB", (2294, 1914), "red").save(large, "PNG")

    small = await worker.fit(large.getvalue(), SMALL)

    picture = Image.open(io.BytesIO(small))
    assert picture.format == "JPEG"
    assert picture.size == (128, 107)


async def test_picture_bomb_is_refused(worker: PictureWorker) -> None:
    bomb = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(bomb, "PNG", compress_level=1)

    with pytest.raises(CannotDraw):
        await worker.fit(bomb.getvalue(), SMALL)


@pytest.fixture(scope="module")
def hostile() -> dict[str, bytes]:
    """Files that declare more than they hold, or hold more than they declare."""
    explicit, jpeg = odd_images.EXPLICIT, odd_images.JPEG
    good = odd_images.native(odd_images.base(), **odd_images.EIGHT)
    lying = struct.pack(">HH", 65500, 65500)
    large_jpeg = odd_images.greys()["JPEG"].replace(struct.pack(">HH", 64, 96), lying)
    nested = b"".join(
        b"\x08\x00\x15\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
        for _ in range(20_000)
    )
    at = good.index(b"\x08\x00\x16\x00UI", 200)
    deflated = odd_images.file(odd_images.DEFLATED, b"\0" * (90 << 20))
    endless = encapsulate([b"\xff\xd8" + b"\0" * 10] * 5000)[:-8]
    return {
        "65535 x 65535": odd_images.file(explicit, b"\0" * 64, Rows=65535, Columns=65535),
        "deflate bomb": deflated,
        "JPEG bomb": large_jpeg,
        "deep sequences": good[:at] + nested,
        "cut": good[:-2000],
        "cut in the header": good[:500],
        "endless fragments": odd_images.file(jpeg + "50", endless, NumberOfFrames=2**31 - 1),
        "length beyond the end": good[:at] + b"\x08\x00\x16\x00UN\0\0\xfe\xff\xff\x7f",
        "nothing": b"",
    }


async def test_hostile_files_are_refused_and_cost_nobody_else(
    worker: PictureWorker, hostile: dict[str, bytes]
) -> None:
    for name, content in hostile.items():
        started = time.monotonic()
        with pytest.raises(CannotDraw):
            await worker.draw(content, PictureRequest())
        assert time.monotonic() - started < Subject().wall_seconds, name

    assert (await worker.draw(stored("CT_small.dcm"), PictureRequest())).width == 128


async def test_files_of_all_kinds_with_bytes_changed_cost_nobody_else(
    worker: PictureWorker,
) -> None:
    drawn, refused = [], []
    for number in range(1, 150):
        content = mutations.mutated(number, every_bomb=15)
        subject = Subject(object=str(number), cpu_seconds=2)
        try:
            drawn.append(await worker.draw(content, SMALL, subject))
        except CannotDraw as error:
            refused.append(error)

    assert drawn
    assert refused
    assert not [error for error in refused if isinstance(error, WorkersBusy)]
    assert (await worker.draw(stored("CT_small.dcm"), PictureRequest())).width == 128


async def test_loop_is_not_held_up_by_large_files(worker: PictureWorker) -> None:
    large = odd_images.file(
        odd_images.EXPLICIT, b"\0" * (32 << 20), Rows=4096, Columns=4096, BitsAllocated=16
    )
    drawing = asyncio.ensure_future(worker.draw(large, PictureRequest()))
    longest, last = 0.0, time.thread_time()
    while not drawing.done():
        await asyncio.wait((drawing,), timeout=0.005)
        longest, last = max(longest, time.thread_time() - last), time.thread_time()

    assert (await drawing).width == 256
    assert longest < 0.2


async def test_too_many_at_once_are_told_so() -> None:
    worker = PictureWorker(processes=1, turn_seconds=0.01)
    content = stored("CT_small.dcm")
    found = await asyncio.gather(
        *(worker.draw(content, PictureRequest()) for _ in range(3)), return_exceptions=True
    )
    await worker.close()

    assert sum(isinstance(f, WorkersBusy) for f in found) == 2
