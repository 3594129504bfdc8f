"""Cold thumbnails: CPU against the plain pydicom and Pillow way, the loop's lag, the archive's CPU.

Run: python -m bench.thumbnails [rounds]. Needs Orthanc. Both ways draw the same files in
turn, in one run; CPU is that of the processes (their clocks), of ours the drawing process and the
gateway that hands over. Compare the ratios, the milliseconds are this machine's.
"""

from __future__ import annotations

import asyncio
import io
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.uid import JPEGBaseline8Bit

from bench.ground.sums import Result, tell
from gateway.adapters.thumbnail import PictureRequest, PictureWorker
from tests.gateways import Gateway, archive
from tests.servers import Orthanc

ROUNDS = 7
AT_ONCE = 25
"""Thumbnails of one way, a page of them, before it is the other's turn."""
SIDE = 128
FILES = Path(pydicom.__file__).parent / "data/test_files"
LAG_SECONDS = 5.0
FRAMES = 30
LIMITS = {
    "raw CT": (1 / 4, 1 / 6),
    "JPEG 2000 CT": (1 / 8, 1 / 12),
    "30-frame US": (1 / 50, 1 / 120),
}
"""Floor and goal of what a kind may cost, in plain ones."""
write = sys.stdout.write


def encoded(dataset: pydicom.Dataset) -> bytes:
    """A data set as a file."""
    content = io.BytesIO()
    dataset.save_as(content, enforce_file_format=True)
    return content.getvalue()


def raw_ct() -> bytes:
    """A CT image of 512 x 512, 16 bits, Explicit VR Little Endian."""
    dataset = pydicom.dcmread(FILES / "J2K_pixelrep_mismatch.dcm")
    dataset.decompress()
    return encoded(dataset)


def jpeg_2000_ct() -> bytes:
    """The same slice in JPEG 2000, lossless."""
    dataset = pydicom.dcmread(io.BytesIO(raw_ct()))
    values = dataset.pixel_array.astype(np.int32)
    values -= values.min()
    written = io.BytesIO()
    Image.fromarray(values.astype(np.uint16)).save(written, "JPEG2000", no_jp2=True)
    dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = 0, 16, 15
    dataset.PixelData = encapsulate([written.getvalue()])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.JPEG2000Lossless
    return encoded(dataset)


def ultrasound() -> bytes:
    """A loop of 30 frames of 640 x 480 in JPEG."""
    dataset = pydicom.dcmread(FILES / "examples_jpeg2k.dcm")
    picture = Image.fromarray(dataset.pixel_array)
    frames = []
    for number in range(FRAMES):
        written = io.BytesIO()
        picture.rotate(number).save(written, "JPEG", quality=90)
        frames.append(written.getvalue())
    dataset.NumberOfFrames, dataset.PhotometricInterpretation = FRAMES, "YBR_FULL_422"
    dataset.PixelData = encapsulate(frames)
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    return encoded(dataset)


def plainly(content: bytes) -> bytes:
    """A thumbnail the way that the manuals show: everything decoded, windowed, then scaled."""
    dataset = pydicom.dcmread(io.BytesIO(content))
    pixels = dataset.pixel_array
    if "NumberOfFrames" in dataset:
        pixels = pixels[len(pixels) // 2]
    if pixels.ndim == 2:
        values = apply_voi_lut(apply_modality_lut(pixels, dataset), dataset).astype(float)
        values -= values.min()
        pixels = (values / max(values.max(), 1) * 255).astype(np.uint8)
    image = Image.fromarray(pixels)
    image.thumbnail((SIDE, SIDE))
    written = io.BytesIO()
    image.save(written, "JPEG", quality=85)
    return written.getvalue()


def cpu_of(pid: int) -> float:
    """Seconds of CPU that a process and its threads have used so far."""
    spent = 0
    for each in Path(f"/proc/{pid}/task").iterdir():
        spent += int((each / "schedstat").read_text().split()[0])
    return spent / 1e9


async def ours(worker: PictureWorker, content: bytes) -> None:
    """The way of the product: the object as its chunks come, then over to the drawing process."""
    body = bytearray()
    for at in range(0, len(content), 1 << 18):
        body += content[at : at + (1 << 18)]
    await worker.draw(body, PictureRequest(width=SIDE, height=SIDE))


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
    kinds = {"raw CT": raw_ct(), "JPEG 2000 CT": jpeg_2000_ct(), "30-frame US": ultrasound()}
    write(f"{'CPU ms':14} {'plain':>8} {'drawing':>8} {'handing':>8}   {'ratio':>7}\n")
    for name, content in kinds.items():
        plainly(content)
        await ours(worker, content)
        pid, measured = child(), []
        for _ in range(rounds):
            plain = cpu_of_plain(content)
            drawing, handing = cpu_of(pid), time.process_time()
            for _ in range(AT_ONCE):
                await ours(worker, content)
            spent = cpu_of(pid) - drawing, time.process_time() - handing
            measured.append((plain, *(s / AT_ONCE for s in spent)))
        plain, drawing, handing = (statistics.median(m[n] for m in measured) for n in range(3))
        ratio = statistics.median(m[0] / (m[1] + m[2]) for m in measured)
        alone = statistics.median(m[0] / m[1] for m in measured)
        write(f"{name:14} {plain * 1e3:8.2f} {drawing * 1e3:8.2f} {handing * 1e3:8.2f}")
        write(f"   1/{ratio:.1f} (1/{alone:.1f} without handing over)\n")
        floor, goal = LIMITS[name]
        what = f"thumbnail of {name}: CPU"
        tell(Result(what=what, of="pydicom and Pillow", ratio=1 / ratio, floor=floor, goal=goal))
    await worker.close()


def cpu_of_plain(content: bytes) -> float:
    """CPU seconds of one plain thumbnail."""
    started = time.process_time()
    for _ in range(AT_ONCE):
        plainly(content)
    return (time.process_time() - started) / AT_ONCE


async def lag() -> None:
    """Prints how late the loop was while thumbnails were drawn as fast as they could be."""
    worker, content, late, drawn = PictureWorker(), jpeg_2000_ct(), [], 0
    until = time.monotonic() + LAG_SECONDS

    async def draw() -> None:
        nonlocal drawn
        while time.monotonic() < until:
            await ours(worker, content)
            drawn += 1

    async def look() -> None:
        while time.monotonic() < until:
            at = time.monotonic()
            await asyncio.sleep(0.001)
            late.append(time.monotonic() - at - 0.001)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(8):
            tasks.create_task(draw())
        tasks.create_task(look())
    await worker.close()
    late.sort()
    write(f"\nloop lag while {drawn / LAG_SECONDS:.0f} thumbnails/s are drawn: ")
    write(
        f"p50 {late[len(late) // 2] * 1e3:.1f} ms, p99 {late[len(late) * 99 // 100] * 1e3:.1f} ms\n"
    )


@contextmanager
def servers(content: bytes) -> Iterator[tuple[Orthanc, Gateway]]:
    """An archive that holds `content`, and a gateway over it."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "archive").mkdir()
        (place / "gateway").mkdir()
        (place / "one.dcm").write_bytes(content)
        with Orthanc(place / "archive") as orthanc:
            orthanc.upload(place / "one.dcm")
            sections = {"north": archive(orthanc.dicom_web)}
            with Gateway(place / "gateway", sections) as gateway:
                yield orthanc, gateway


def of_the_archive(rounds: int) -> None:
    """Prints the archive's CPU for one `/rendered`, and for one cold thumbnail of ours."""
    write(f"\n{'archive CPU ms':14} {'rendered':>8} {'thumbnail':>9}\n")
    kinds = {"raw CT": raw_ct(), "JPEG 2000 CT": jpeg_2000_ct(), "30-frame US": ultrasound()}
    for name, content in kinds.items():
        dataset = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True)
        path = (
            f"/studies/{dataset.StudyInstanceUID}/series/{dataset.SeriesInstanceUID}"
            f"/instances/{dataset.SOPInstanceUID}"
        )
        with servers(content) as (orthanc, gateway):
            measured = []
            for number in range(rounds + 1):
                size = f"viewport={SIDE - number},{SIDE - number}"
                spent = [cpu_of(orthanc.pid)]
                for url in (
                    f"{orthanc.dicom_web}{path}/rendered?{size}",
                    f"{gateway.dicom_web}{path}/thumbnail?{size}",
                ):
                    fetch(url)
                    spent.append(cpu_of(orthanc.pid))
                measured.append((spent[1] - spent[0], spent[2] - spent[1]))
        rendered, thumbnail = (statistics.median(m[n] for m in measured[1:]) for n in (0, 1))
        write(f"{name:14} {rendered * 1e3:8.2f} {thumbnail * 1e3:9.2f}\n")


def fetch(url: str) -> None:
    """Reads a resource; what the archive refuses costs it too."""
    asked = urllib.request.Request(url, headers={"Accept": "image/jpeg"})  # noqa: S310  our own
    try:
        with urllib.request.urlopen(asked) as answer:  # noqa: S310
            answer.read()
    except OSError:
        return


def main() -> None:
    """Prints the tables."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    asyncio.run(against_plain(rounds))
    asyncio.run(lag())
    of_the_archive(rounds)


if __name__ == "__main__":
    main()
