"""The reading process by itself: its rights, its framing, and its end."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.adapters.confinement import MAX_MEMORY_BYTES
from gateway.adapters.file_process import LENGTH, receive, receive_order, send_order
from gateway.adapters.file_worker import in_memory
from tests import hostile_files

ORDER = {"work": "metadata", "is_whole": True, "cpu_seconds": 10.0}
Started = tuple[subprocess.Popen[bytes], socket.socket]


@pytest.fixture
def started() -> Iterator[Started]:
    ours, theirs = socket.socketpair()
    ours.settimeout(30)
    module = "gateway.adapters.file_process"
    with subprocess.Popen(  # noqa: S603  our own module
        (sys.executable, "-m", module, str(theirs.fileno())),
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": os.environ["PATH"]},
        pass_fds=(theirs.fileno(),),
    ) as process:
        theirs.close()
        yield process, ours
        ours.close()
        process.kill()


def told(ours: socket.socket) -> dict[str, Any]:
    header: dict[str, Any] = orjson.loads(receive(ours, LENGTH.unpack(receive(ours, 4))[0]))
    receive(ours, header["size"])
    return header


def test_it_gives_up_its_rights_first(started: Started) -> None:
    process, ours = started
    assert {"privileges", "user", "capabilities", "descriptors"} <= set(told(ours)["given_up"])
    folder = Path(f"/proc/{process.pid}")
    limits, status = (folder / "limits").read_text(), (folder / "status").read_text()

    assert re.search(rf"Max address space +{MAX_MEMORY_BYTES} ", limits)
    assert re.search(r"Max processes +0 +0 ", limits)
    assert int(re.findall(r"Max open files +(\d+)", limits)[0]) < 10
    assert re.search(r"NoNewPrivs:\t1", status)
    assert re.search(r"CapEff:\t0+\n", status)
    assert re.search(r"Threads:\t1\n", status)


def test_orders_are_answered_one_after_the_other_and_their_files_closed(started: Started) -> None:
    _, ours = started
    told(ours)
    with in_memory(hostile_files.ordinary()) as good, in_memory(b"bad") as bad:
        for _ in range(20):  # more than it may hold open
            for file in (good, bad):
                send_order(ours, ORDER, file)
        sizes = [told(ours)["size"] for _ in range(40)]

    assert all(sizes[::2])
    assert not any(sizes[1::2])


def test_it_ends_when_nobody_can_order_any_more(started: Started) -> None:
    process, ours = started
    told(ours)
    ours.close()

    assert process.wait(30) == 0


def test_an_order_of_any_length_arrives_with_its_file() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, in_memory(b"content") as file:
        send_order(ours, {"path": ["x" * 50_000]}, file)
        received = receive_order(theirs)
        assert received is not None
        order, descriptor = received
        assert order == {"path": ["x" * 50_000]}
        assert os.pread(descriptor, 10, 0) == b"content"
        os.close(descriptor)
