"""The drawing process by itself: its pipe, its limits, and its end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pydicom
import pytest

from gateway.adapters.picture_process import LENGTH, MAX_MEMORY_BYTES, message

FILES = Path(pydicom.__file__).parent / "data/test_files"
ORDER = {"work": "draw", "width": 64, "height": 64, "media_type": "image/png"}


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    command = (sys.executable, "-m", "gateway.adapters.picture_process")
    root = Path(__file__).parents[2]
    environment = {"PYTHONPATH": str(root), "PATH": os.environ["PATH"]}
    with subprocess.Popen(  # noqa: S603  our own module
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as started:
        yield started
        started.kill()


def answer(process: subprocess.Popen[bytes], content: bytes) -> tuple[dict[str, Any], bytes]:
    orders, pictures = pipes(process)
    orders.write(message(ORDER, content) + content)
    orders.flush()
    header = json.loads(pictures.read(LENGTH.unpack(pictures.read(LENGTH.size))[0]))
    return header, pictures.read(header["size"])


def pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin, process.stdout


def test_orders_are_answered_one_after_the_other(process: subprocess.Popen[bytes]) -> None:
    good = (FILES / "CT_small.dcm").read_bytes()

    assert answer(process, b"garbage")[0]["error"]
    header, picture = answer(process, good)

    assert (header["width"], header["height"]) == (64, 64)
    assert picture.startswith(b"\x89PNG")


def test_memory_and_core_dumps_are_limited(process: subprocess.Popen[bytes]) -> None:
    answer(process, b"garbage")

    limits = Path(f"/proc/{process.pid}/limits").read_text().splitlines()

    (memory,) = [line.split() for line in limits if line.startswith("Max address space")]
    (core,) = [line.split() for line in limits if line.startswith("Max core file size")]
    (cpu,) = [line.split() for line in limits if line.startswith("Max cpu time")]
    assert memory[3] == str(MAX_MEMORY_BYTES)
    assert core[4] == "0"
    assert int(cpu[3]) < 30


def test_process_ends_when_nobody_can_order_any_more(process: subprocess.Popen[bytes]) -> None:
    pipes(process)[0].close()

    assert process.wait(30) == 0


def test_error_tells_nothing_of_the_content(process: subprocess.Popen[bytes]) -> None:
    header, _ = answer(process, b"\0" * 128 + b"DICM" + b"Doe^John" * 10)

    assert "Doe" not in header["error"]
