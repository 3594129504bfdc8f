"""The CPU that an archive spends on a cold thumbnail, against one `/rendered` of the same size.

Run: python -m bench.archive_pictures [rounds]. Needs Orthanc, whose CPU it is.
"""

from __future__ import annotations

import io
import statistics
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pydicom

from bench.ground.image_files import KINDS
from bench.ground.processes import cpu_clock
from bench.ground.sums import Result, rounds_asked, tell
from tests.gateways import Gateway, archive
from tests.servers import Orthanc

ROUNDS = 7
AT_ONCE = 10
LARGEST = 256
FLOOR, GOAL = 1.1, 1.0
write = sys.stdout.write


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
    """Tells what the archive spends on either, kind of file by kind of file."""
    for name, content in KINDS.items():
        path = instance_path(content())
        with servers(content()) as (orthanc, gateway):
            rendered, thumbnail = (
                f"{orthanc.dicom_web}{path}/rendered",
                f"{gateway.dicom_web}{path}",
            )
            urls = (rendered, f"{thumbnail}/thumbnail")
            if not all(fetched(f"{url}?viewport=16,16") for url in urls):
                write(f"{name}: this Orthanc does not render it\n")
                continue
            spent = [one_round(orthanc, urls, n * AT_ONCE) for n in range(rounds)]
        asked, drawn = (statistics.median(s[n] for s in spent) for n in (0, 1))
        write(f"{name}: rendered {asked * 1e3:.2f} ms, thumbnail {drawn * 1e3:.2f} ms\n")
        ratio = statistics.median(s[1] / s[0] for s in spent)
        what = f"cold thumbnail of {name}: CPU of the archive"
        tell(Result(what=what, of="one /rendered of its size", ratio=ratio, floor=FLOOR, goal=GOAL))


def instance_path(content: bytes) -> str:
    """Where an instance is below the root of its archive."""
    dataset = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True)
    return (
        f"/studies/{dataset.StudyInstanceUID}/series/{dataset.SeriesInstanceUID}"
        f"/instances/{dataset.SOPInstanceUID}"
    )


def one_round(orthanc: Orthanc, urls: Sequence[str], first: int) -> list[float]:
    """The archive's CPU seconds for each of `urls` in turn, in sizes not asked for before."""
    spent = [0.0 for _ in urls]
    for number in range(first, first + AT_ONCE):
        for at, url in enumerate(urls):
            started = cpu_clock(orthanc.pid)
            if not fetched(f"{url}?viewport={LARGEST - number},{LARGEST - number}"):
                raise RuntimeError("there is no picture")
            spent[at] += (cpu_clock(orthanc.pid) - started) / AT_ONCE
    return spent


def fetched(url: str) -> bool:
    """Whether a picture comes from a URL."""
    asked = urllib.request.Request(url, headers={"Accept": "image/jpeg"})  # noqa: S310  our own
    try:
        with urllib.request.urlopen(asked) as answer:  # noqa: S310
            return bool(answer.read())
    except OSError:
        return False


if __name__ == "__main__":
    of_the_archive(rounds_asked(ROUNDS))
