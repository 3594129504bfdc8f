"""One run of some work, shared by everybody who asks for its result while it is under way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import structlog

from gateway.adapters.ended import ended
from gateway.errors import GatewayError, Unavailable

LOG: structlog.typing.FilteringBoundLogger = structlog.get_logger()
T = TypeVar("T")


@dataclass(slots=True)
class Flight(Generic[T]):
    """A run of some work and how many wait for it. One in the background waits for itself."""

    task: asyncio.Task[T]
    waiters: int = 0
    is_background: bool = False


class Flights(Generic[T]):
    """The runs under way, by key. Whoever makes one closes it."""

    def __init__(self) -> None:
        self._flights: dict[str, Flight[T]] = {}
        self._tasks: set[asyncio.Task[T]] = set()
        self._closed = False

    def is_under_way(self, key: str) -> bool:
        """Whether somebody who asks for `key` now would share a run."""
        return key in self._flights

    async def join(self, key: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of the run under way for `key`, else of a new run of `work`.

        Raises what the run raised, and Unavailable when the gateway stops meanwhile. A waiter that
        is cancelled leaves the others their run; the last one to leave cancels it.
        """
        flight = self._flights.get(key) or self._start(key, work)
        flight.waiters += 1
        try:
            return await asyncio.shield(flight.task)
        except asyncio.CancelledError:
            if flight.task.cancelled() and not _is_cancelling():
                raise Unavailable("the gateway is stopping") from None
            raise
        finally:
            flight.waiters -= 1
            if not flight.waiters and not flight.is_background and not flight.task.done():
                self._drop(key, flight)
                flight.task.cancel()

    def launch(self, key: str, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        """Run `work` in the background unless a run for `key` is under way.

        What it raises goes to those who join it; to the log if it is not a GatewayError.
        """
        if key not in self._flights and not self._closed:
            self._start(key, work).is_background = True

    async def close(self) -> None:
        """Cancel every run and wait until all have ended."""
        self._closed = True
        await ended(self._tasks)

    def _start(self, key: str, work: Callable[[], Coroutine[Any, Any, T]]) -> Flight[T]:
        if self._closed:
            raise Unavailable("the gateway is stopping")
        # Not a TaskGroup: a run must outlive the request that started it. Owned here until its
        # end, and its exception is retrieved in `_landed`.
        task = asyncio.get_running_loop().create_task(work(), name="load")
        flight = Flight(task=task)
        self._flights[key] = flight
        self._tasks.add(task)
        task.add_done_callback(lambda _: self._landed(key, flight))
        return flight

    def _landed(self, key: str, flight: Flight[T]) -> None:
        self._tasks.discard(flight.task)
        self._drop(key, flight)
        error = None if flight.task.cancelled() else flight.task.exception()
        if flight.is_background and error is not None and not isinstance(error, GatewayError):
            LOG.error("background load failed", exc_info=error)

    def _drop(self, key: str, flight: Flight[T]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]


def _is_cancelling() -> bool:
    """Whether the task that asks is itself being cancelled."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
