"""A gateway over an archive of frames, each of which is given in another way."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.doubles import Double, Held
from tests.fault_archive import Answer, FaultArchive, multipart_answer
from tests.repeats import KEY, Served, Step, ask, served, settings

FIRST = Held(study="1.2.3", series="1.2.3.1", instance="1.2.3.1.1")
SECOND = Held(study="1.2.4", series="1.2.4.1", instance="1.2.4.1.1", modality="MR")
SERIES = tuple(
    Held(study="1.2.5", series="1.2.5.1", instance=f"1.2.5.1.{n}", modality="MR")
    for n in range(1, 9)
)
"""Through which one may scroll; each has one frame, and they are of different lengths."""
ACCEPT = b'Accept: multipart/related; type="application/octet-stream"'
OCTETS = "application/octet-stream"
SMALL = bytes(range(256)) * 32
_BOUNDARY = re.compile(rb"boundary=([0-9a-f]{32})")


def given(*parts: bytes, **changes: Any) -> Answer:
    """Frames as archives give them over a connection that is kept."""
    return multipart_answer(parts, **{"part_type": OCTETS, "framing": "length", **changes})


FRAMES: Mapping[int, Answer] = {
    1: given(SMALL),
    2: given(SMALL[:100], boundary="another-one", framing="chunked"),
    3: Answer(body=SMALL[:1000], content_type="image/jpeg"),
    4: given(b""),
    5: given(SMALL, part_type="image/jp2; transfer-syntax=1.2.840.10008.1.2.4.90"),
    6: given(SMALL * 20),
    7: given(SMALL, chunk_bytes=1000),
}
"""What archives may well do."""
ODD: Mapping[int, Answer] = {
    11: Answer(status=404),
    12: given(SMALL, SMALL),
    13: given(SMALL, headers={"Content-Encoding": "gzip"}),
    14: Answer(status=406),
    15: given(SMALL, framing="close"),
    16: Answer(status=204, content_type=None),
    17: given(SMALL, status=206),
    18: Answer(body=b"no frame", content_type="text/html"),
    19: Answer(status=400),
}
"""And what they had better not."""
BROKEN: Mapping[int, Answer] = {
    21: given(SMALL, cut_after=5000),
    22: given(SMALL * 20, cut_after=90_000),
    23: Answer(status=500),
    24: Answer(raw=b"not HTTP at all\r\n\r\n"),
    25: given(SMALL, closed=False),
    26: Answer(status=503, headers={"Retry-After": "1"}),
    27: Answer(raw=b""),
}
"""And what they do when they fail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """A gateway at two ports, and the archive behind it."""

    gateway: Served
    archive: FaultArchive

    def asked(self) -> list[tuple[str, tuple[tuple[str, str], ...]]]:
        """What the archive was asked so far, word for word."""
        return [(seen.path, seen.headers) for seen in self.archive.requests]


@asynccontextmanager
async def frames(spool: Path, **more: Any) -> AsyncIterator[Frames]:
    """Callers who see all, some and nothing of an archive; `archive`: more of its section.

    `others`: archives before it.
    """
    async with FaultArchive() as archive:
        Double(archive, [FIRST, SECOND, *SERIES])
        for held in (FIRST, SECOND):
            for number, answer in ({**FRAMES, **ODD, **BROKEN}).items():
                archive.on(f"{held.path}/frames/{number}", answer)
        for number, held in enumerate(SERIES):
            archive.on(f"{held.path}/frames/1", given(SMALL[: 100 + number]))
        section = {"type": "dicomweb", "qido_rs": archive.url, **more.pop("archive", {})}
        lives = {"fresh_seconds": 3600, "absent_seconds": 3600}
        others = more.pop("others", {})
        sections = {"archives": {**others, "samples": section}, "cache": lives, **more}
        made = settings(Path(), spool, **sections)
        async with served(made) as gateway:
            yield Frames(gateway=gateway, archive=archive)


def path(number: int | bytes, held: Held = FIRST) -> bytes:
    """Where a frame is."""
    shown = number if isinstance(number, bytes) else b"%d" % number
    return f"/dicom-web{held.path}/frames/".encode() + shown


def frame(number: int | bytes = 1, *fields: bytes, held: Held = FIRST) -> Step:
    """A good request for a frame, by somebody from whom nothing is hidden."""
    return ask(path(number, held), KEY, ACCEPT, *fields)


def without_boundary(reply: bytes) -> bytes:
    """A reply that can be compared with another one to the same request."""
    own = _BOUNDARY.search(reply)
    return reply if own is None else reply.replace(own[1], b"=" * 32)
