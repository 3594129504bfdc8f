"""Everything put together: the one place that names the concrete classes, and runs them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import multiprocessing
import multiprocessing.connection
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from functools import partial
from multiprocessing.process import BaseProcess
from typing import Any

import structlog
from aiohttp import web

from gateway import __version__
from gateway.adapters import wado_uri_service
from gateway.adapters.archive_dicomweb import DicomwebArchive
from gateway.adapters.archive_folder import FolderArchive
from gateway.adapters.archive_partial import Holdings, Objects, PartialArchive
from gateway.adapters.audit import audit_trail
from gateway.adapters.auth import Authenticator
from gateway.adapters.budgets import AtOnce, Budget, Budgets
from gateway.adapters.cache import Lives, MemoryCache
from gateway.adapters.cache_names import Names
from gateway.adapters.cache_redis import RedisCache
from gateway.adapters.fhir_server import FhirHoldings
from gateway.adapters.http_client import ArchiveClient, Limits
from gateway.adapters.patient_servers import patient_servers
from gateway.adapters.redis_client import DEFAULT_LIMITS, connect
from gateway.adapters.telemetry import Telemetry, configure_log
from gateway.adapters.thumbnail import PictureWorker
from gateway.adapters.wado_uri import WadoUriObjects
from gateway.answers import ANSWERS, Answers
from gateway.archives import Archives, Cache
from gateway.catalog import Catalog
from gateway.config import DicomwebArchive as DicomwebSection
from gateway.config import FolderArchive as FolderSection
from gateway.config import Settings
from gateway.fan_out import Archive
from gateway.http_server import (
    AUTHENTICATOR,
    BUDGETS,
    CATALOG,
    DRAINING,
    MAX_BODY_BYTES,
    PICTURES,
    RECORDER,
    SETTINGS,
    TELEMETRY,
    around,
    common_headers,
)
from gateway.model import Identifier, Organization, Origin
from gateway.pictures import Pictures
from gateway.recording import Recorder
from gateway.routes import (
    console,
    dicomweb,
    fhir,
    fhir_patients,
    hooks,
    launch,
    resolve,
    status,
    wado_uri,
)
from gateway.routes.fhir_entries import ENTRIES, Entries
from gateway.routes.fhir_http import PATIENT_IDS, PATIENT_SERVERS
from gateway.rules import fhir_listing, last_updated, patient_ids

_KEEP_ALIVE_SECONDS = 30
"""For the next head as well, which has so long to come whole."""
_LINGERING_SECONDS = 2
"""How long the rest of a body is read that was answered before it came: then callers read that."""
_MAX_LINE_BYTES = 32768
"""Room for a query that lists hundreds of UIDs."""
_FIRST_LOOK_SECONDS = 15
_GARBAGE_OBJECTS = 10_000
"""How many new objects are worth a look for those that refer to each other in a circle."""
_MIB = 1 << 20
_SHARE_OF_ANSWERS = 4
"""Finished answers take no more than this part of `cache.memory_mb`, in addition to it."""
_SHARE_OF_ENTRIES = 8
"""The same of finished entries of searchsets."""
_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


def build_app(settings: Settings) -> web.Application:
    """The gateway for `settings`, ready to be served."""
    app = web.Application(middlewares=[around], client_max_size=MAX_BODY_BYTES)
    app[SETTINGS] = settings
    app[PATIENT_IDS] = patient_ids.of(settings)
    app[TELEMETRY] = Telemetry()
    app[BUDGETS] = Budgets(
        Budget(settings.limits.requests_per_minute),
        Budget(settings.limits.archive_requests_per_minute),
        AtOnce(settings.limits.requests_at_once),
    )
    app[DRAINING] = asyncio.Event()
    app.cleanup_ctx.append(_opened)
    app.on_response_prepare.append(common_headers)
    surfaces = (dicomweb, wado_uri, fhir, fhir_patients, launch, resolve, hooks, status, console)
    for surface in surfaces:
        app.add_routes(surface.routes())
    return app


async def _opened(app: web.Application) -> AsyncIterator[None]:
    """Opens archives, cache and drawing processes; closes them when the gateway stops."""
    settings, telemetry = app[SETTINGS], app[TELEMETRY]
    archives = Archives(
        [_archive(i, settings, telemetry) for i in settings.archives],
        _cache(settings, telemetry),
        settings=last_updated.settings_digest(settings, __version__),
    )
    trail = audit_trail(settings.audit)
    app[RECORDER] = recorder = None if trail is None else Recorder(trail)
    if recorder is not None:
        recorder.open()
    app[PATIENT_SERVERS] = patients = patient_servers(settings, telemetry)
    app[AUTHENTICATOR] = Authenticator(settings, patients.in_context)
    app[CATALOG] = Catalog(archives, archives.rejected.key_images)
    app[ANSWERS] = Answers(
        archives.cache,
        max_bytes=settings.cache.memory_mb * _MIB // _SHARE_OF_ANSWERS,
        telemetry=telemetry,
    )
    app[ENTRIES] = Entries(
        archives.cache, max_bytes=settings.cache.memory_mb * _MIB // _SHARE_OF_ENTRIES
    )
    lost = partial(telemetry.process_lost, "pictures")
    app[PICTURES] = Pictures(app[CATALOG], archives, PictureWorker(lost=lost))
    try:
        yield
    finally:
        await app[AUTHENTICATOR].close()
        await patients.close()
        await app[PICTURES].close()
        await archives.close()
        if recorder is not None:
            await recorder.close()
        telemetry.close()


def _archive(name: str, settings: Settings, telemetry: Telemetry) -> Archive:
    section = settings.archives[name]
    origin = Origin(
        archive=name,
        timezone=section.timezone,
        patient_system=section.patient_system,
        accession_system=section.accession_system,
        issuer_systems=tuple(section.issuer_systems.items()),
        custodian=_custodian(section),
        show_rejected=section.show_rejected,
    )
    if isinstance(section, FolderSection):
        folder = FolderArchive(section, origin, partial(telemetry.process_lost, "files"))
        folder.start()
        return folder
    return _dicomweb(origin, section, settings, telemetry)


def _dicomweb(
    origin: Origin, section: DicomwebSection, settings: Settings, telemetry: Telemetry
) -> Archive:
    """An archive by what it speaks; what it lacks is served by what it has."""
    client = ArchiveClient(origin.archive, section.auth, _limits(section), telemetry, section.tls)
    whole = DicomwebArchive(origin, section, client)
    holdings: Holdings = whole
    objects: Objects = whole
    if section.qido_rs is None:
        clients = {
            name: ArchiveClient(
                origin.archive, server.auth, _limits(section), telemetry, server.tls
            )
            for name, server in fhir_listing.servers(settings).items()
        }
        described = None if section.wado_rs_base is None else whole.metadata
        holdings = FhirHoldings(origin, settings, clients, described, time.monotonic)
    service = wado_uri_service.of(origin.archive, section, client)
    if section.wado_rs_base is None and service is not None:
        lost = partial(telemetry.process_lost, "files")
        objects = WadoUriObjects(service, holdings.search, time.monotonic, lost)
    if holdings is whole and objects is whole:
        return whole
    return PartialArchive(origin, holdings, objects, client)


def _limits(section: DicomwebSection) -> Limits:
    return Limits(
        max_concurrency=section.max_concurrency,
        queue_seconds=section.queue_seconds,
        connect_timeout_seconds=section.connect_timeout_seconds,
        timeout_seconds=section.timeout_seconds,
        max_json_bytes=section.max_json_mb * _MIB,
    )


def _custodian(section: DicomwebSection | FolderSection) -> Organization | None:
    told = section.custodian
    if told is None:
        return None
    named = Identifier(value=told.identifier, system=told.system) if told.identifier else None
    return Organization(name=told.name, id=named)


def _cache(settings: Settings, telemetry: Telemetry) -> Cache:
    section = settings.cache
    memory = MemoryCache(
        lives=Lives(
            fresh_seconds=section.fresh_seconds,
            stale_seconds=section.stale_seconds,
            absent_seconds=section.absent_seconds,
        ),
        max_bytes=section.memory_mb * _MIB,
        telemetry=telemetry,
        names=Names(section.secret, section.key_prefix),
    )
    if section.redis_url is None:
        return memory
    client = connect(section.redis_url.get_secret_value(), DEFAULT_LIMITS)
    return RedisCache(memory, client, telemetry=telemetry, secret=section.secret)


def run(settings: Settings, started: Callable[[], None] = lambda: None) -> None:
    """Serves until SIGTERM or SIGINT; `started` is called once the port is open.

    OSError when the port cannot be opened.
    """
    configure_log(sys.stderr)
    if settings.server.workers == 1:
        _run_loop(_serve(settings, _bound(settings), started))
        return
    with _bound(settings) as bound:  # the port is known to be free before any process starts
        server = settings.server.model_copy(update={"port": bound.getsockname()[1]})
        shared = settings.model_copy(update={"server": server})
        processes: list[BaseProcess] = [
            multiprocessing.get_context("spawn").Process(target=_run_worker, args=(shared,))
            for _ in range(settings.server.workers)
        ]
        for process in processes:
            process.start()
        started()
        _supervise(processes)


def _run_worker(settings: Settings) -> None:
    configure_log(sys.stderr)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C comes as SIGTERM from the parent
    _run_loop(_serve(settings, _bound(settings), lambda: None, (signal.SIGTERM,)))


def _supervise(processes: list[BaseProcess]) -> None:
    """Waits for the workers and passes signals on, once each: a second one ends them at once.

    SystemExit when a worker ends that was not told to; the others are stopped too.
    """
    is_told = False

    def stop(number: int, frame: object) -> None:
        nonlocal is_told
        is_told = True
        for process in processes:
            process.terminate()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    multiprocessing.connection.wait([p.sentinel for p in processes])
    is_crash = not is_told
    if is_crash:
        _log.error("a worker ended unasked; stopping")
        stop(signal.SIGTERM, None)
    for process in processes:
        process.join()
    if is_crash:
        raise SystemExit(1)


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
    app = build_app(settings)
    gc.collect()
    gc.freeze()  # what is there by now stays; there is no use in looking through it again
    gc.set_threshold(_GARBAGE_OBJECTS)
    runner = web.AppRunner(
        app,
        access_log=None,
        handler_cancellation=True,
        keepalive_timeout=_KEEP_ALIVE_SECONDS,
        lingering_time=_LINGERING_SECONDS,
        max_line_size=_MAX_LINE_BYTES,
        shutdown_timeout=settings.server.shutdown_seconds,
    )
    await runner.setup()
    gc.collect()
    gc.freeze()  # what is loaded by now stays: looking through it again took 60 ms each time
    try:
        await web.SockSite(runner, bound).start()
        stop = _stop_signal(signals)
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
