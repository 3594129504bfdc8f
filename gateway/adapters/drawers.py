"""The processes that draw: started when first needed, killed when they fail, and started again.

A process that crashes, takes too long, or whose caller leaves is killed. What it was busy with is
left alone for a while; one that was ended from outside says nothing of its object. Processes that
end again and again are started after a pause that grows.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from gateway.adapters import confinement
from gateway.adapters.desk import Content
from gateway.adapters.drawer import SENSELESS, Answer, Drawer
from gateway.adapters.fair_turns import FairTurns
from gateway.adapters.shunned import Shunned

TURN_SECONDS = 5.0
CRASHED_SECONDS = 3600.0
LATE_SECONDS = 300.0
"""How long an object is left alone that crashed a process, and one that only took its time."""
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 5.0
_OUTSIDE = frozenset({-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP})
"""How a process ends that somebody else ended; decoders die of other signals."""
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
        self._idle: list[Drawer] = []
        self._busy: set[Drawer] = set()
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
        await self._take_turn(subject)
        try:
            self.check(subject)  # another order may have told meanwhile
            answer, picture = await self._by_one(header, contents, subject)
        finally:
            self._turns.give_back(subject.object, subject.study)
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
        for drawer in ending:
            await drawer.end()

    async def _take_turn(self, subject: Subject) -> None:
        """A turn for one order; WorkersBusy after a while."""
        try:
            await self._turns.take(subject.object, subject.study, self._turn_seconds)
        except TimeoutError as error:
            raise WorkersBusy("too much is being drawn") from error

    async def _by_one(
        self, header: dict[str, Any], contents: Sequence[Content], subject: Subject
    ) -> Answer:
        """What one process answers, which is killed unless the order came to its end."""
        drawer = await self._alive() or await self._started()
        self._busy.add(drawer)
        is_well = False
        try:
            found = await self._exchanged(drawer, header, contents, subject)
            is_well = True
        finally:
            self._busy.discard(drawer)
            if is_well and not self._is_closed:
                drawer.desk.clear()
                self._idle.append(drawer)
            else:
                await asyncio.shield(drawer.end())
        return found

    async def _exchanged(
        self,
        drawer: Drawer,
        header: dict[str, Any],
        contents: Sequence[Content],
        subject: Subject,
    ) -> Answer:
        """One order and its answer; DecoderLost or WorkersBusy when the process is lost."""
        sizes = [len(c) for c in contents]
        order = {**header, "sizes": sizes, "cpu_seconds": subject.cpu_seconds}
        try:
            await drawer.desk.lay(contents)
        except OSError as error:
            raise WorkersBusy("there is no memory for it") from error
        try:
            found = await drawer.answered(order, subject.wall_seconds)
        except TimeoutError as error:
            self._shun(subject, "late", LATE_SECONDS)
            raise OutOfTime("it took too long") from error
        except SENSELESS as error:
            if await drawer.fate() in _OUTSIDE:
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

    async def _alive(self) -> Drawer | None:
        """An idle process; those that were ended from outside meanwhile are buried."""
        if self._is_closed:
            raise WorkersBusy("the gateway is shutting down")
        while self._idle:
            drawer = self._idle.pop()
            if not drawer.has_ended:
                return drawer
            await drawer.end()
        return None

    async def _started(self) -> Drawer:
        if self._clock() < self._resting_until:
            raise WorkersBusy("drawing processes are being started again")
        try:
            drawer = await Drawer.started()
        except SENSELESS as error:
            self._rest("start")
            raise WorkersBusy("no process can be started") from error
        if (kept := set(confinement.STEPS) - drawer.given_up) and not self._has_told:
            self._has_told = True
            _log.info("system lets drawing processes keep more than they need", reason=sorted(kept))
        return drawer
