"""The drawing process by itself: its pipe, its limits, and its end."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
import pytest

from gateway.adapters.confinement import MAX_MEMORY_BYTES
from gateway.adapters.desk import Desk
from gateway.adapters.picture_process import LENGTH, NICENESS, message
from tests import odd_images

FILES = Path(pydicom.__file__).parent / "data/test_files"
ORDER = {
    "work": "draw",
    "cpu_seconds": 10,
    "syntax": None,
    "window": None,
    "width": 64,
    "height": 64,
    "media_type": "image/png",
}


@dataclass(frozen=True, slots=True)
class Started:
    """The process, and the desk where it finds what to draw."""

    process: subprocess.Popen[bytes]
    desk: Desk
    given_up: list[str]


@pytest.fixture
def started() -> Iterator[Started]:
    desk = Desk()
    module = "gateway.adapters.picture_process"
    command = (sys.executable, "-m", module, str(desk.descriptor))
    root = Path(__file__).parents[2]
    with (
        Path(__file__).open() as log,
        subprocess.Popen(  # noqa: S603  our own module
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={
                "PYTHONPATH": str(root),
                "PATH": os.environ["PATH"],
                "OPENBLAS_NUM_THREADS": "1",
            },
            pass_fds=(desk.descriptor, log.fileno()),
        ) as process,
    ):
        yield Started(process, desk, told(process)[0]["given_up"])
        process.kill()
    desk.close()


def told(process: subprocess.Popen[bytes]) -> tuple[dict[str, Any], bytes]:
    pictures = process.stdout
    assert pictures is not None
    header = json.loads(pictures.read(LENGTH.unpack(pictures.read(LENGTH.size))[0]))
    return header, pictures.read(header["size"])


def answer(started: Started, content: bytes) -> tuple[dict[str, Any], bytes]:
    asyncio.run(started.desk.lay((content,)))
    orders = started.process.stdin
    assert orders is not None
    orders.write(message({**ORDER, "sizes": [len(content)]}))
    orders.flush()
    return told(started.process)


def test_orders_are_answered_one_after_the_other(started: Started) -> None:
    good = (FILES / "CT_small.dcm").read_bytes()

    assert answer(started, b"garbage")[0]["error"]
    header, picture = answer(started, good)

    assert (header["width"], header["height"]) == (64, 64)
    assert picture.startswith(b"\x89PNG")


def test_memory_and_core_dumps_are_limited(started: Started) -> None:
    answer(started, b"garbage")

    limits = Path(f"/proc/{started.process.pid}/limits").read_text().splitlines()

    (memory,) = [line.split() for line in limits if line.startswith("Max address space")]
    (core,) = [line.split() for line in limits if line.startswith("Max core file size")]
    (cpu,) = [line.split() for line in limits if line.startswith("Max cpu time")]
    assert memory[3] == str(MAX_MEMORY_BYTES)
    assert core[4] == "0"
    assert int(cpu[3]) < 30


def test_drawing_steps_back_behind_answering(started: Started) -> None:
    answer(started, b"garbage")

    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert os.getpriority(os.PRIO_PROCESS, started.process.pid) == min(19, own + NICENESS)


def test_process_keeps_its_pipes_and_its_desk_alone(started: Started) -> None:
    folder = Path(f"/proc/{started.process.pid}/fd")
    try:
        found = [str(each.readlink()) for each in folder.iterdir()]
    except PermissionError:  # nobody but root may look into it
        assert os.geteuid() != 0
        return

    assert sorted(name.split(":")[0] for name in found) == [
        *["/dev/null"] * 3,
        "/memfd",
        *["pipe"] * 2,
    ]


def test_process_has_no_rights_and_can_open_nothing_more(started: Started) -> None:
    folder = Path(f"/proc/{started.process.pid}")
    limits, status = (folder / "limits").read_text(), (folder / "status").read_text()
    told = dict(line.split(":\t", 1) for line in status.splitlines())

    assert {"privileges", "user", "capabilities", "descriptors"} <= set(started.given_up)
    assert re.search(r"Max open files +0 +0 ", limits)
    assert re.search(r"Max processes +0 +0 ", limits)
    assert told["NoNewPrivs"] == "1"
    assert int(told["CapEff"], 16) == int(told["CapPrm"], 16) == 0
    assert "0" not in told["Uid"].split()
    assert told["Threads"] == "1"


def test_every_encoding_is_drawn_without_opening_anything(started: Started) -> None:
    for name, content in odd_images.greys().items():
        header, _ = answer(started, content)
        assert (header.get("width"), header.get("height")) == (64, 43), name


def test_process_ends_when_nobody_can_order_any_more(started: Started) -> None:
    assert started.process.stdin is not None
    started.process.stdin.close()

    assert started.process.wait(30) == 0


def test_error_tells_nothing_of_the_content(started: Started) -> None:
    header, _ = answer(started, b"\0" * 128 + b"DICM" + b"Doe^John" * 10)

    assert "Doe" not in header["error"]
