"""The gateway as a program: its port, its processes, and how they end in good order."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Sequence
from multiprocessing.synchronize import Event
from typing import Any

import structlog
from aiohttp import web

from gateway import app as gateway_app
from gateway import verbatim
from gateway.adapters.telemetry import configure_log
from gateway.answered_before import ANSWERED_BEFORE
from gateway.catalog import Catalog
from gateway.config import Settings
from gateway.http_server import CATALOG, DRAINING
from gateway.workers import Workers, end_with_parent

_KEEP_ALIVE_SECONDS = 30
"""For the next head as well, which has so long to come whole."""
_LINGERING_SECONDS = 2
"""How long the rest of a body is read that was answered before it came: then callers read that."""
_MAX_LINE_BYTES = 32768
"""Room for a query that lists hundreds of UIDs."""
_FIRST_LOOK_SECONDS = 15
_GARBAGE_OBJECTS = 10_000
"""How many new objects are worth a look for those that refer to each other in a circle."""
_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


def run(settings: Settings, started: Callable[[], None] = lambda: None) -> None:
    """Serves until SIGTERM or SIGINT; `started` is called once the port is open.

    OSError when the port cannot be opened.
    """
    configure_log(sys.stderr)
    if settings.server.workers == 1:
        _run_loop(_serve(settings, _bound(settings), started))
        return
    _look_for_others(settings)
    with _bound(settings) as bound:  # an address that cannot be had is told before any begins
        server = settings.server.model_copy(update={"port": bound.getsockname()[1]})
        shared = settings.model_copy(update={"server": server})
        workers = Workers(_run_worker, shared)
        started()
        workers.supervise()


def _run_worker(settings: Settings, served: Event) -> None:
    configure_log(sys.stderr)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C comes as SIGTERM from the parent
    _run_loop(_serve(settings, _bound(settings), served.set, (signal.SIGTERM,)))


def _look_for_others(settings: Settings) -> None:
    """OSError where somebody listens already, with whom sockets that are shared would share."""
    alone = settings.server.model_copy(update={"workers": 1})
    if alone.port:
        _bound(settings.model_copy(update={"server": alone})).close()


def _bound(settings: Settings) -> socket.socket:
    """A socket on the configured address, its port shared among workers."""
    host, port = settings.server.host.strip("[]"), settings.server.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if settings.server.workers > 1:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound


def _run_loop(main: Coroutine[Any, Any, None]) -> None:
    factory = None
    with contextlib.suppress(ImportError):  # not on Windows
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)


async def _serve(
    settings: Settings,
    bound: socket.socket,
    started: Callable[[], None],
    signals: Sequence[signal.Signals] = (signal.SIGTERM, signal.SIGINT),
) -> None:
    """Serves on `bound` until told to stop; then lets running answers finish for a while."""
    app = gateway_app.build_app(settings)
    settle()
    runner = verbatim.runner(is_wanted=settings.server.quick_repeats)(
        app,
        access_log=None,
        handler_cancellation=True,
        keepalive_timeout=_KEEP_ALIVE_SECONDS,
        lingering_time=_LINGERING_SECONDS,
        max_line_size=_MAX_LINE_BYTES,
        shutdown_timeout=settings.server.shutdown_seconds,
    )
    await runner.setup()
    app[ANSWERED_BEFORE].stand_before(runner)
    settle()  # more is loaded by now
    try:
        await web.SockSite(runner, bound).start()
        stop = _stop_signal(signals)
        end_with_parent(stop)
        _log.info("serving", host=settings.server.host, port=bound.getsockname()[1])
        started()
        async with asyncio.TaskGroup() as tasks:
            looking = tasks.create_task(_tell_of_archives(app[CATALOG]))
            await stop.wait()
            looking.cancel()
        app[DRAINING].set()
        _log.info("stopping")
    finally:
        await runner.cleanup()


def settle() -> None:
    """What is there by now stays: to look through all of it for circles took 60 to 150 ms a time.

    Whatever runs a gateway does so once it is built.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE_OBJECTS)


async def _tell_of_archives(catalog: Catalog) -> None:
    """Logs which archives cannot be used, so that a wrong address shows before anyone misses it."""
    for one in await catalog.health(_FIRST_LOOK_SECONDS):
        if one.problem:
            _log.warning("archive cannot be used", archive=one.archive, reason=one.problem)


def _stop_signal(signals: Sequence[signal.Signals]) -> asyncio.Event:
    """Set by the first of `signals`; a second one ends the process at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stopped(number: signal.Signals) -> None:
        if stop.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        stop.set()

    for number in signals:
        loop.add_signal_handler(number, stopped, number)
    return stop
