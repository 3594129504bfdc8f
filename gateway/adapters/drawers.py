"""The processes that draw: started when first needed, killed when they fail, and started again.

A process that crashes, takes too long, or whose caller leaves is killed. What it was busy with is
left alone for a while; one that was ended from outside says nothing of its object. Processes that
end again and again are started after a pause that grows.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import structlog

from gateway.adapters import confinement
from gateway.adapters.desk import Content, Desk
from gateway.adapters.fair_turns import FairTurns
from gateway.adapters.picture_process import KEEPING_MEMORY, LENGTH, message
from gateway.adapters.shunned import Shunned

TURN_SECONDS = 5.0
CRASHED_SECONDS = 3600.0
LATE_SECONDS = 300.0
"""How long an object is left alone that crashed a process, and one that only took its time."""
_START_SECONDS = 20.0
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 5.0
_OUTSIDE = frozenset({-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP})
"""How a process ends that somebody else ended; decoders die of other signals."""
_SENSELESS = (OSError, EOFError, ValueError, LookupError, TypeError)
"""What reading an answer raises that was cut, or came of a process that is no longer itself."""
_MOST_TOLD, _MOST_ANSWERED = 2**16, 256 * 2**20
_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class CannotDraw(Exception):
    """There is no picture; says why, without patient data."""


class DecoderLost(CannotDraw):
    """A process was lost over it; trying again would lose the next one."""


class OutOfTime(DecoderLost):
    """It took longer than it may, perhaps because much else is going on."""


class WorkersBusy(CannotDraw):
    """Nobody could draw it now; that says nothing of the object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What an order is about: the object, the study it shares turns with, and its time.

    `wall_seconds` and `cpu_seconds` are those of one order.
    """

    object: str = ""
    study: str = ""
    wall_seconds: float = 15.0
    cpu_seconds: float = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class _Worker:
    """A process that draws, and the desk where it finds what."""

    process: Process
    desk: Desk


class Drawers:
    """At most `processes` of them, each with one order at a time."""

    def __init__(
        self,
        processes: int,
        turn_seconds: float,
        lost: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`lost` is told the cause when a process is: crash, late or killed."""
        self._turn_seconds = turn_seconds
        self._lost = lost
        self._clock = clock
        self._shunned = Shunned(clock)
        self._turns = FairTurns(processes, self._shunned.__contains__)
        self._idle: list[_Worker] = []
        self._busy: set[_Worker] = set()
        self._failures = 0
        self._resting_until = 0.0
        self._is_closed = False
        self._has_told = False

    def check(self, subject: Subject) -> None:
        """DecoderLost where the object is left alone for now."""
        if subject.object and subject.object in self._shunned:
            raise DecoderLost("its decoder crashed or took too long before")

    async def sent(
        self, header: dict[str, Any], contents: Sequence[Content], subject: Subject
    ) -> tuple[dict[str, Any], bytes]:
        """What a process answers to one order. CannotDraw."""
        self.check(subject)
        async with self._turn(subject):
            self.check(subject)  # another order may have told meanwhile
            async with self._process() as worker:
                answer, picture = await self._exchanged(worker, header, contents, subject)
        if answer.get("is_costly") and subject.object:
            self._shunned.add(subject.object, LATE_SECONDS)
        if "error" in answer:
            raise CannotDraw(answer["error"])
        self._turns.prove(subject.object)
        return answer, picture

    async def close(self) -> None:
        """End every process and wait until it is gone."""
        self._is_closed = True
        ending, self._idle = [*self._idle, *self._busy], []
        for worker in ending:
            await _end(worker)

    @asynccontextmanager
    async def _turn(self, subject: Subject) -> AsyncIterator[None]:
        """A turn for one order; WorkersBusy after a while."""
        turn = self._turns.taken(subject.object, subject.study, self._turn_seconds)
        try:
            await turn.__aenter__()
        except TimeoutError as error:
            raise WorkersBusy("too much is being drawn") from error
        try:
            yield
        finally:
            await turn.__aexit__(None, None, None)

    async def _exchanged(
        self,
        worker: _Worker,
        header: dict[str, Any],
        contents: Sequence[Content],
        subject: Subject,
    ) -> tuple[dict[str, Any], bytes]:
        """One order and its answer; DecoderLost or WorkersBusy when the process is lost."""
        sizes = [len(c) for c in contents]
        order = {**header, "sizes": sizes, "cpu_seconds": subject.cpu_seconds}
        try:
            await worker.desk.lay(contents)
        except OSError as error:
            raise WorkersBusy("there is no memory for it") from error
        try:
            async with asyncio.timeout(subject.wall_seconds):
                found = await _exchange(worker, order)
        except TimeoutError as error:
            self._shun(subject, "late", LATE_SECONDS)
            raise OutOfTime("it took too long") from error
        except _SENSELESS as error:
            if await _fate(worker) in _OUTSIDE:
                self._rest("killed")
                raise WorkersBusy("its process was ended") from error
            self._shun(subject, "crash", CRASHED_SECONDS)
            raise DecoderLost("its decoder crashed") from error
        self._failures = 0
        return found

    def _shun(self, subject: Subject, cause: str, seconds: float) -> None:
        """Leave the object alone, and let its study have one process at a time."""
        self._told(cause)
        for name in filter(None, (subject.object, subject.study)):
            self._shunned.add(name, seconds)

    def _rest(self, cause: str) -> None:
        """Start the next process after a pause, unless this was the first failure in a row."""
        self._told(cause)
        self._failures += 1
        if self._failures > 1:
            doubled = _FIRST_PAUSE_SECONDS * 2 ** min(self._failures - 2, 20)
            self._resting_until = self._clock() + min(doubled, _LONGEST_PAUSE_SECONDS)

    def _told(self, cause: str) -> None:
        self._lost(cause)
        _log.warning("drawing process lost", cause=cause)

    @asynccontextmanager
    async def _process(self) -> AsyncIterator[_Worker]:
        """A process for one order; killed unless the order came to its end."""
        worker = await self._alive() or await self._started()
        self._busy.add(worker)
        is_well = False
        try:
            yield worker
            is_well = True
        finally:
            self._busy.discard(worker)
            if is_well and not self._is_closed:
                worker.desk.clear()
                self._idle.append(worker)
            else:
                await asyncio.shield(_end(worker))

    async def _alive(self) -> _Worker | None:
        """An idle process; those that were ended from outside meanwhile are buried."""
        if self._is_closed:
            raise WorkersBusy("the gateway is shutting down")
        while self._idle:
            worker = self._idle.pop()
            if worker.process.returncode is None:
                return worker
            await _end(worker)
        return None

    async def _started(self) -> _Worker:
        if self._clock() < self._resting_until:
            raise WorkersBusy("drawing processes are being started again")
        try:
            worker, given_up = await _start()
        except (*_SENSELESS, TimeoutError) as error:
            self._rest("start")
            raise WorkersBusy("no process can be started") from error
        if (kept := set(confinement.STEPS) - set(given_up)) and not self._has_told:
            self._has_told = True
            _log.info("system lets drawing processes keep more than they need", reason=sorted(kept))
        return worker


async def _start() -> tuple[_Worker, list[str]]:
    """A process that is ready for orders, and what it has given up."""
    desk = Desk()
    module = "gateway.adapters.picture_process"
    arguments = (sys.executable, "-P", "-m", module, str(desk.descriptor))
    try:
        process = await asyncio.create_subprocess_exec(
            *arguments,
            stdin=PIPE,
            stdout=PIPE,
            env=confinement.environment() | KEEPING_MEMORY,
            pass_fds=(desk.descriptor,),
            limit=2**20,
        )
    except OSError:
        desk.close()
        raise
    worker = _Worker(process, desk)
    try:
        async with asyncio.timeout(_START_SECONDS):
            told, _ = await _answer(worker)
    except BaseException:
        await asyncio.shield(_end(worker))
        raise
    return worker, list(told["given_up"])


async def _exchange(worker: _Worker, order: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Send one order and read its answer."""
    if worker.process.stdin is None:
        raise EOFError("the worker has no pipes")
    worker.process.stdin.write(message(order))
    return await _answer(worker)


async def _answer(worker: _Worker) -> tuple[dict[str, Any], bytes]:
    answers = worker.process.stdout
    if answers is None:
        raise EOFError("the worker has no pipes")
    (length,) = LENGTH.unpack(await answers.readexactly(LENGTH.size))
    told = await answers.readexactly(_within(length, _MOST_TOLD))
    answer: dict[str, Any] = json.loads(told)
    return answer, await answers.readexactly(_within(answer["size"], _MOST_ANSWERED))


def _within(size: int, most: int) -> int:
    if not 0 <= size <= most:
        raise ValueError("no such answer")
    return size


async def _fate(worker: _Worker) -> int | None:
    """How a process ended whose pipe is closed; None: it did not."""
    try:
        async with asyncio.timeout(1):
            return await worker.process.wait()
    except TimeoutError:
        return None


async def _end(worker: _Worker) -> None:
    """Kill and bury a worker."""
    if worker.process.returncode is None:
        worker.process.kill()
    if worker.process.stdin is not None:
        worker.process.stdin.close()
    await worker.process.wait()
    worker.desk.close()
