"""Files read in processes that may be killed: a hostile file costs its own request only.

Everything here blocks, and may be called from several threads. A file that crashes a process is
left alone for an hour, or until it changes: its key tells its state.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import structlog

from gateway.adapters.file_worker import (
    SENSELESS,
    CannotRead,
    FileWorker,
    ReaderLate,
    ReaderLost,
    ReadersBusy,
    Told,
)
from gateway.adapters.shunned import Shunned
from gateway.errors import NotAcceptable, NotFound

CPU_SECONDS = 10.0
"""What reading one file may take; `WALL_SECONDS` by the clock."""
TURN_SECONDS = 5.0
SHUNNED_SECONDS = 3600.0
LATE_SECONDS = 300.0
"""How long a file is left alone that crashed a process, and one that was only too slow."""
_AHEAD = 8
"""Orders of a batch that are sent before the first of them is answered."""
_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A file of a batch: a name, what is ordered, and its descriptor, closed with the job."""

    name: str
    order: dict[str, Any]
    file: int


class FileReaders:
    """At most `most` processes for requests, kept; and one for each batch."""

    def __init__(
        self,
        most: int = 2,
        *,
        cpu_seconds: float = CPU_SECONDS,
        lost: Callable[[str], None] = lambda cause: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`lost` is told the cause when a process is: crash, late, killed, start."""
        self._limits = {"cpu_seconds": cpu_seconds}
        self._lost = lost
        self._shunned = Shunned(clock)
        self._turns = threading.Semaphore(most)
        self._idle: deque[FileWorker] = deque()
        self._busy: set[FileWorker] = set()
        self._lock = threading.Lock()
        self._is_closed = False

    def ask(self, order: dict[str, Any], file: int, key: str) -> Told:
        """What is told of a file that is opened as `file`; `key` tells it and its state.

        `same` in the order tells files that hold the same, where `key` does not. NotFound,
        NotAcceptable, CannotRead; ReadersBusy.
        """
        order = {"same": key, **self._limits, **order}
        if key in self._shunned:
            raise ReaderLost("cost a process before")
        if not self._turns.acquire(timeout=TURN_SECONDS):
            raise ReadersBusy
        try:
            with self._reader(order["same"]) as reader:
                reader.send(order, file)
                told, body = reader.told()
        except ReaderLost as error:
            is_late = isinstance(error, ReaderLate)
            self._shunned.add(key, LATE_SECONDS if is_late else SHUNNED_SECONDS)
            self._told("late" if is_late else "crash")
            raise
        except ReadersBusy:
            self._told("killed")
            raise
        except OSError as error:
            self._told("killed")
            raise ReadersBusy from error
        finally:
            self._turns.release()
        if "error" in told:
            _raise(told)
        return told, body

    def each(self, jobs: Iterable[Job]) -> Iterator[tuple[str, Told | CannotRead]]:
        """What is told of each of many files, in their order, by a process of their own.

        OSError when no process can be started. One that is ended from outside is started anew;
        when all is closed the rest is left out.
        """
        batch = _Batch(iter(jobs), self._limits, self._started)
        try:
            while batch.has_more():
                try:
                    yield batch.next_told()
                except ReaderLost as lost:
                    self._told("late" if isinstance(lost, ReaderLate) else "crash")
                    yield batch.given_up_on(lost)
                except (ReadersBusy, *SENSELESS):
                    if self._is_closed:
                        return
                    self._told("killed")
                    batch.begin_anew()
        finally:
            batch.close()

    def close(self) -> None:
        """End the processes, also those that are busy."""
        with self._lock:
            self._is_closed = True
            ending, self._idle = list(self._idle), deque()
            for reader in self._busy:
                reader.kill()
        for reader in ending:
            reader.end()

    def _started(self) -> FileWorker:
        """A process that is known to be busy; OSError and others when it cannot be started."""
        reader = FileWorker()
        with self._lock:
            if not self._is_closed:
                self._busy.add(reader)
                return reader
        reader.end()
        raise OSError(errno.ESHUTDOWN, "closed")

    @contextlib.contextmanager
    def _reader(self, same: str) -> Iterator[FileWorker]:
        """A process for one order; killed unless the order came to its end."""
        reader = self._kept(same)
        try:
            reader = reader or self._started()
        except SENSELESS as error:
            self._told("start")
            raise ReadersBusy from error
        try:
            yield reader
        except BaseException:
            self._ended(reader)
            raise
        reader.last_read = same
        with self._lock:
            if not self._is_closed:
                self._busy.discard(reader)
                self._idle.append(reader)
                return
        self._ended(reader)

    def _ended(self, reader: FileWorker) -> None:
        with self._lock:
            self._busy.discard(reader)
        reader.end()

    def _kept(self, same: str) -> FileWorker | None:
        """An idle process, the one that read the same file last if there is one."""
        with self._lock:
            if not self._idle:
                return None
            found = next((r for r in self._idle if r.last_read == same), self._idle[0])
            self._idle.remove(found)
            self._busy.add(found)
            return found

    def _told(self, cause: str) -> None:
        self._lost(cause)
        _log.warning("reading process lost", cause=cause)


class _Batch:
    """Jobs on their way through a process: those that it has been given, in order."""

    def __init__(
        self, jobs: Iterator[Job], limits: dict[str, Any], start: Callable[[], FileWorker]
    ) -> None:
        self._limits = limits
        self._start = start
        self._jobs = jobs
        self._given: deque[Job] = deque()
        self._reader: FileWorker | None = None
        self._tries = 0

    def has_more(self) -> bool:
        """Whether anything is to be done; takes jobs as far as they are given ahead."""
        while len(self._given) < _AHEAD and (job := next(self._jobs, None)) is not None:
            self._given.append(job)
            if self._reader is not None:
                with contextlib.suppress(OSError):  # its answer tells what became of it
                    self._send(self._reader, job)
        return bool(self._given)

    def next_told(self) -> tuple[str, Told | CannotRead]:
        """What is told of the first job."""
        if self._reader is None:
            self._reader = self._start()
            for job in self._given:
                self._send(self._reader, job)
        told = self._reader.told()
        self._tries = 0
        return self._finished().name, told

    def given_up_on(self, why: CannotRead) -> tuple[str, CannotRead]:
        """The first job, over which a process was lost; the next one goes to another."""
        self._end_reader()
        return self._finished().name, why

    def begin_anew(self) -> None:
        """Give the jobs to another process; OSError after several that came to nothing."""
        self._end_reader()
        self._tries += 1
        if self._tries > 3:
            raise OSError(errno.EAGAIN, "no process can be started")
        time.sleep(0.1 * self._tries)

    def close(self) -> None:
        """Let go of everything."""
        self._end_reader()
        for job in self._given:
            os.close(job.file)

    def _send(self, reader: FileWorker, job: Job) -> None:
        reader.send(self._limits | job.order, job.file)

    def _end_reader(self) -> None:
        if self._reader is not None:
            self._reader.end()
            self._reader = None

    def _finished(self) -> Job:
        job = self._given.popleft()
        os.close(job.file)
        return job


def _raise(told: dict[str, Any]) -> NoReturn:
    kind, reason = str(told["error"]), str(told.get("reason", ""))
    if kind == "NotFound":
        raise NotFound(reason)
    if kind == "NotAcceptable":
        raise NotAcceptable(reason)
    raise CannotRead(reason or kind)
