"""Turns at a few processes: those who wait are let in by lanes, one of each before the next of any.

A subject that has not yet done well gets one turn at a time, so that it cannot take all of them.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

MOST_PROVEN = 10_000


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    subject: str
    turn: asyncio.Future[None]


class FairTurns:
    """`most` turns at a time; `is_narrow` tells the lanes that get one turn at a time."""

    def __init__(self, most: int, is_narrow: Callable[[str], bool] = lambda lane: False) -> None:
        self._free = most
        self._is_narrow = is_narrow
        self._lanes: OrderedDict[str, deque[_Waiting]] = OrderedDict()
        self._in_lane: Counter[str] = Counter()
        self._of_subject: Counter[str] = Counter()
        self._proven: OrderedDict[str, None] = OrderedDict()

    async def take(self, subject: str, lane: str, seconds: float) -> None:
        """A turn, to be given back; `""`: of no subject. TimeoutError when none in `seconds`."""
        if self._free and self._may(subject, lane):
            self._enter(subject, lane)
        else:
            await self._wait(subject, lane, seconds)

    def give_back(self, subject: str, lane: str) -> None:
        """What `take` took, to whoever may have it and waited longest."""
        self._free += 1
        for counted, name in ((self._in_lane, lane), (self._of_subject, subject)):
            counted[name] -= 1
            if not counted[name]:
                del counted[name]
        while self._free and self._let_in():
            pass

    def prove(self, subject: str) -> None:
        """The subject has done well: it may have several turns from now on."""
        self._proven[subject] = None
        self._proven.move_to_end(subject)
        if len(self._proven) > MOST_PROVEN:
            self._proven.popitem(last=False)

    async def _wait(self, subject: str, lane: str, seconds: float) -> None:
        waiting = _Waiting(subject, asyncio.get_running_loop().create_future())
        self._lanes.setdefault(lane, deque()).append(waiting)
        try:
            async with asyncio.timeout(seconds):
                await waiting.turn
        except BaseException:
            if waiting.turn.done() and not waiting.turn.cancelled():
                self.give_back(subject, lane)  # it had come just then
            else:
                self._forget(waiting, lane)
            raise

    def _may(self, subject: str, lane: str) -> bool:
        if subject and self._of_subject[subject] and subject not in self._proven:
            return False
        return not (self._in_lane[lane] and self._is_narrow(lane))

    def _enter(self, subject: str, lane: str) -> None:
        self._free -= 1
        self._in_lane[lane] += 1
        self._of_subject[subject] += 1

    def _let_in(self) -> bool:
        """Let in the first who may, of the lane that has waited longest; False: nobody."""
        for lane, waiting in self._lanes.items():
            for one in waiting:
                if not one.turn.done() and self._may(one.subject, lane):
                    self._enter(one.subject, lane)
                    self._lanes.move_to_end(lane)
                    self._forget(one, lane)
                    one.turn.set_result(None)
                    return True
        return False

    def _forget(self, waiting: _Waiting, lane: str) -> None:
        self._lanes[lane].remove(waiting)
        if not self._lanes[lane]:
            del self._lanes[lane]
