"""One reading process from the outside: how its end is told, and what it is believed."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from gateway.adapters.file_worker import FileWorker, ReaderLost, ReadersBusy, in_memory
from tests import hostile_files, worker_processes

ORDER = {"work": "metadata", "is_whole": True, "cpu_seconds": 10.0}


@pytest.fixture
def reader() -> Iterator[FileWorker]:
    made = FileWorker()
    yield made
    made.end()
    assert worker_processes.started("file_process") == set()


def test_orders_are_answered_in_turn(reader: FileWorker) -> None:
    with in_memory(hostile_files.ordinary()) as good, in_memory(b"bad") as bad:
        for file in (good, bad, good):
            reader.send(ORDER, file)
        told = [reader.told()[0] for _ in range(3)]

    assert ["error" in one for one in told] == [False, True, False]


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (signal.SIGKILL, ReadersBusy),
        (signal.SIGTERM, ReadersBusy),
        (signal.SIGSEGV, ReaderLost),
        (signal.SIGXCPU, ReaderLost),
    ],
)
def test_who_ended_it_tells_whether_its_file_is_why(
    reader: FileWorker, number: int, expected: type[Exception]
) -> None:
    (process,) = worker_processes.started("file_process")
    worker_processes.end(process, number)

    with pytest.raises(expected):
        reader.told()


def test_content_is_a_file_for_as_long_as_it_is_needed() -> None:
    with in_memory(b"content") as file:
        assert worker_processes.content(file) == b"content"
    with pytest.raises(OSError, match="Bad file"):
        worker_processes.content(file)
