"""A file that kills or stalls its reader costs its own request; all others are read."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.adapters.file_readers import SHUNNED_SECONDS, FileReaders, Job
from gateway.adapters.file_worker import CannotRead, ReaderLost, ReadersBusy, Told, in_memory
from gateway.errors import NotAcceptable, NotFound
from tests import hostile_files, mutations, worker_processes

SPINNING = hostile_files.many_items(400_000)
METADATA = {"work": "metadata", "is_whole": True}


def processes() -> set[int]:
    return worker_processes.started("file_process")


@pytest.fixture
def readers() -> Iterator[FileReaders]:
    made = FileReaders(cpu_seconds=1.0)
    yield made
    made.close()
    assert processes() == set()


def ask(readers: FileReaders, content: bytes, key: str = "key", **order: object) -> Told:
    with in_memory(content) as file:
        return readers.ask(METADATA | order, file, key)


def test_metadata_are_read(readers: FileReaders) -> None:
    told, body = ask(readers, hostile_files.ordinary())

    assert told["size"] == len(body)
    assert orjson.loads(body)["00080060"] == {"vr": "CS", "Value": ["CT"]}


def test_frames_of_one_file_are_read_by_one_process_and_never_those_of_another(
    readers: FileReaders,
) -> None:
    frame = {"work": "frame", "number": 1, "lowest": 1, "highest": 1}
    other = bytearray(hostile_files.ordinary())
    other[-1000] ^= 1
    found = [
        ask(readers, bytes(content), f"{key}", **frame)[1]
        for content, key in ((hostile_files.ordinary(), "a"), (other, "b")) * 2
    ]

    assert found[0] == found[2] != found[1] == found[3]
    assert len(processes()) == 1


def test_what_is_not_there_is_not_found(readers: FileReaders) -> None:
    with pytest.raises(NotFound, match="frame 2"):
        ask(readers, hostile_files.ordinary(), work="frame", number=1, lowest=1, highest=2)


@pytest.mark.parametrize(
    "content",
    [
        b"nothing",
        hostile_files.nested(150),
        hostile_files.nested(20_000),
        hostile_files.nested_and_closed(150),
        hostile_files.deflate_bomb(),
        hostile_files.deflated_header(),
    ],
    ids=["nothing", "nested", "deeply nested", "closed", "deflated pixels", "deflated header"],
)
def test_hostile_files_are_refused_without_losing_a_process(
    readers: FileReaders, content: bytes
) -> None:
    with pytest.raises(CannotRead) as raised:
        ask(readers, content)

    assert not isinstance(raised.value, ReaderLost)
    assert len(processes()) == 1


def test_lying_lengths_are_no_harm(readers: FileReaders) -> None:
    with contextlib.suppress(CannotRead):
        ask(readers, hostile_files.lying_length())

    assert len(processes()) == 1


def test_a_file_that_takes_too_much_is_left_alone_for_an_hour() -> None:
    now, lost = [0.0], list[str]()
    readers = FileReaders(cpu_seconds=1.0, lost=lost.append, clock=lambda: now[0])
    for expected in ("more time", "before"):
        with pytest.raises(ReaderLost, match=expected):
            ask(readers, SPINNING, "spinning")
    assert lost == ["crash"]
    ask(readers, hostile_files.ordinary(), "another")
    now[0] = SHUNNED_SECONDS
    ask(readers, hostile_files.ordinary(), "spinning")
    readers.close()


def test_a_process_that_is_ended_from_outside_says_nothing_of_its_file(
    readers: FileReaders,
) -> None:
    ask(readers, hostile_files.ordinary())
    (process,) = processes()
    worker_processes.end(process, signal.SIGKILL)

    with pytest.raises(ReadersBusy):
        ask(readers, hostile_files.ordinary())
    ask(readers, hostile_files.ordinary())


def test_many_threads_share_the_processes(readers: FileReaders) -> None:
    with ThreadPoolExecutor(6) as threads:
        found = list(
            threads.map(lambda n: ask(readers, hostile_files.ordinary(), str(n)), range(30))
        )

    assert len({bytes(body) for _, body in found}) == 1
    assert len(processes()) <= 2


def jobs(folder: Path, contents: dict[str, bytes]) -> Iterator[Job]:
    for name, content in contents.items():
        (folder / name).write_bytes(content)
        file = os.open(folder / name, os.O_RDONLY)
        yield Job(name=name, order={"work": "index", "is_named_dicom": True}, file=file)


def test_of_a_batch_only_the_hostile_are_lost(readers: FileReaders, tmp_path: Path) -> None:
    contents = {f"{n:02}": hostile_files.ordinary() for n in range(30)}
    contents |= {"05": SPINNING, "06": SPINNING, "20": b"nothing"}
    before = len(list(Path("/proc/self/fd").iterdir()))

    told = dict(readers.each(jobs(tmp_path, contents)))

    assert list(told) == sorted(contents)
    lost = {name for name, one in told.items() if isinstance(one, ReaderLost)}
    assert lost == {"05", "06"}
    assert not any(isinstance(one, CannotRead) for name, one in told.items() if name not in lost)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert processes() == set()


def test_a_batch_goes_on_when_its_process_is_ended_from_outside(
    readers: FileReaders, tmp_path: Path
) -> None:
    contents = {f"{n:02}": hostile_files.ordinary() for n in range(40)}
    found = []
    for number, one in enumerate(readers.each(jobs(tmp_path, contents))):
        found.append(one)
        if number in {3, 20}:
            for process in processes():
                worker_processes.end(process, signal.SIGKILL)

    assert [name for name, _ in found] == sorted(contents)
    assert not any(isinstance(told, CannotRead) for _, told in found)


def test_closing_ends_what_is_idle_and_what_is_busy(tmp_path: Path) -> None:
    readers = FileReaders(cpu_seconds=60.0)
    ask(readers, hostile_files.ordinary())
    with ThreadPoolExecutor(2) as threads:
        asking = threads.submit(ask, readers, SPINNING, "spinning")
        batch = threads.submit(list, readers.each(jobs(tmp_path, {"spinning": SPINNING})))
        while len(processes()) < 2:
            threading.Event().wait(0.01)
        readers.close()
        assert isinstance(asking.exception(), ReadersBusy)
        assert batch.result() == []
    assert processes() == set()


def test_whatever_is_in_a_file_it_is_read_or_refused(readers: FileReaders) -> None:
    works = st.sampled_from(["index", "metadata", "frame", "bulk"])

    @given(number=st.integers(1, 10_000), work=works)
    @settings(max_examples=120, deadline=None, derandomize=True)
    def read(number: int, work: str) -> None:
        order = {
            "work": work, "is_named_dicom": True, "path": ["7FE00010"],
            "number": 1, "lowest": 1, "highest": 1,
        }  # fmt: skip
        content = mutations.mutated(number, every_bomb=30)
        with contextlib.suppress(CannotRead, NotFound, NotAcceptable):
            ask(readers, content, f"{number} {work}", **order)

    read()
