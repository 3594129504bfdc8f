"""The processes of a gateway that share its port: begun, replaced, and ended with their parent."""

from __future__ import annotations

import asyncio
import multiprocessing
import multiprocessing.connection
import signal
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event

import structlog

from gateway.config import Settings

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Workers:
    """As many processes as `server.workers` says, each of which does `work`.

    It gets the settings, and what it sets once it serves.
    """

    def __init__(self, work: Callable[[Settings, Event], None], settings: Settings) -> None:
        self._work, self._settings = work, settings
        self._context = multiprocessing.get_context("spawn")
        self._is_told = False
        self._running: dict[BaseProcess, Event] = {}
        for _ in range(settings.server.workers):
            self._add()

    def supervise(self) -> None:
        """Waits for them until a signal ends them; one that ends unasked is replaced.

        Signals are passed on, once each: a second one ends them at once. SystemExit when one ends
        that has never served; the others are stopped too.
        """
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        is_failing = False
        while True:
            ended = self._ended()
            if self._is_told:
                break
            is_failing = not all(served.is_set() for served in ended)
            if is_failing:
                _log.error("a worker ended before it served; stopping")
                self._stop(signal.SIGTERM, None)
                break
            for _ in ended:
                _log.error("a worker ended unasked; another takes its place")
                self._add()
        for process in self._running:
            process.join()
        if is_failing:
            raise SystemExit(1)

    def _ended(self) -> list[Event]:
        """Waits until some have ended, and lets go of them; whether they had served."""
        multiprocessing.connection.wait([p.sentinel for p in self._running])
        return [self._running.pop(p) for p in list(self._running) if not p.is_alive()]

    def _add(self) -> None:
        served = self._context.Event()
        process = self._context.Process(target=self._work, args=(self._settings, served))
        process.start()
        self._running[process] = served
        if self._is_told:  # in between
            process.terminate()

    def _stop(self, number: int, frame: object) -> None:
        self._is_told = True
        for process in tuple(self._running):
            process.terminate()


def end_with_parent(stop: asyncio.Event) -> None:
    """Sets `stop` when the process that began this one is gone: nobody else would tell it to."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    loop = asyncio.get_running_loop()
    sentinel = parent.sentinel

    def ended() -> None:
        loop.remove_reader(sentinel)
        if not stop.is_set():
            _log.error("the parent of this worker is gone; stopping")
            stop.set()

    loop.add_reader(sentinel, ended)
