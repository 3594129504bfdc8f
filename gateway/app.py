"""Everything put together: the one place that names the concrete classes.

What not every configuration needs, and is much to import, is imported where the configuration asks
for it: what reads DICOM files, and Redis.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from functools import partial

from aiohttp import web

from gateway import __version__
from gateway.adapters import wado_uri_service
from gateway.adapters.archive_dicomweb import DicomwebArchive
from gateway.adapters.archive_partial import Holdings, Objects, PartialArchive
from gateway.adapters.audit import audit_trail
from gateway.adapters.auth import Authenticator
from gateway.adapters.budgets import AtOnce, Budget, Budgets
from gateway.adapters.cache import Lives, MemoryCache
from gateway.adapters.cache_names import Names
from gateway.adapters.fhir_server import FhirHoldings
from gateway.adapters.http_client import ArchiveClient, Limits
from gateway.adapters.patient_servers import patient_servers
from gateway.adapters.recent import Mark
from gateway.adapters.telemetry import Telemetry
from gateway.adapters.thumbnail import PictureWorker
from gateway.answered_before import ANSWERED_BEFORE, AnsweredBefore, remember
from gateway.answers import ANSWERS, Answers
from gateway.archives import Archives, Cache
from gateway.catalog import Catalog
from gateway.config import DicomwebArchive as DicomwebSection
from gateway.config import FolderArchive as FolderSection
from gateway.config import Settings
from gateway.fan_out import Archive
from gateway.folder_changes import FolderChanges
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
from gateway.quick_frames import QUICK_FRAMES, QuickFrames, learn
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

_MIB = 1 << 20
_SHARE_OF_ANSWERS = 4
"""Finished answers take no more than this part of `cache.memory_mb`, in addition to it."""
_SHARE_OF_ENTRIES = 8
"""The same of finished entries of searchsets."""
_SHARE_OF_PLACES = 32
"""The same of where instances are."""


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
    app.on_response_prepare.append(remember)
    app.on_response_prepare.append(learn)
    surfaces = (dicomweb, wado_uri, fhir, fhir_patients, launch, resolve, hooks, status, console)
    for surface in surfaces:
        app.add_routes(surface.routes())
    return app


async def _opened(app: web.Application) -> AsyncIterator[None]:
    """Opens archives, cache and drawing processes; closes them when the gateway stops."""
    settings, telemetry = app[SETTINGS], app[TELEMETRY]
    changes = FolderChanges()

    def mark_of(archive: str) -> Mark:
        return lambda study_uid: archives.mark(archive, study_uid)

    archives = Archives(
        [_archive(i, settings, telemetry, changes, mark_of(i)) for i in settings.archives],
        _cache(settings, telemetry),
        settings=last_updated.settings_digest(settings, __version__),
        located_bytes=settings.cache.memory_mb * _MIB // _SHARE_OF_PLACES,
    )
    changes.open(archives.forget)
    trail = audit_trail(settings.audit)
    app[RECORDER] = recorder = None if trail is None else Recorder(trail)
    if recorder is not None:
        recorder.open()
    app[PATIENT_SERVERS] = patients = patient_servers(settings, telemetry)
    app[AUTHENTICATOR] = Authenticator(settings, patients.in_context, holds=patients.holds)
    app[CATALOG] = Catalog(archives, archives.rejected.key_images)
    app[ANSWERS] = Answers(
        archives.cache,
        max_bytes=settings.cache.memory_mb * _MIB // _SHARE_OF_ANSWERS,
        telemetry=telemetry,
    )
    app[ENTRIES] = Entries(
        archives.cache, max_bytes=settings.cache.memory_mb * _MIB // _SHARE_OF_ENTRIES
    )
    app[ANSWERED_BEFORE] = AnsweredBefore(app[ANSWERS], app[BUDGETS], recorder, telemetry)
    app[QUICK_FRAMES] = QuickFrames(app[CATALOG].frames, app[BUDGETS], recorder, telemetry)
    lost = partial(telemetry.process_lost, "pictures")
    app[PICTURES] = Pictures(app[CATALOG], archives, PictureWorker(lost=lost))
    try:
        yield
    finally:
        await app[AUTHENTICATOR].close()
        await patients.close()
        await app[PICTURES].close()
        await changes.close()
        await archives.close()
        if recorder is not None:
            await recorder.close()
        telemetry.close()


def _archive(
    name: str, settings: Settings, telemetry: Telemetry, changes: FolderChanges, mark: Mark
) -> Archive:
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
        from gateway.adapters.archive_folder import FolderArchive

        lost = partial(telemetry.process_lost, "files")
        folder = FolderArchive(section, origin, lost, changes.told)
        folder.start()
        return folder
    return _dicomweb(origin, section, settings, telemetry, mark)


def _dicomweb(
    origin: Origin,
    section: DicomwebSection,
    settings: Settings,
    telemetry: Telemetry,
    mark: Mark,
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
        from gateway.adapters.wado_uri import WadoUriObjects

        lost = partial(telemetry.process_lost, "files")
        objects = WadoUriObjects(service, holdings.search, time.monotonic, mark, lost)
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
    from gateway.adapters.cache_redis import RedisCache
    from gateway.adapters.redis_client import DEFAULT_LIMITS, connect

    url = section.redis_url.get_secret_value()
    client, unhurried = connect(url, DEFAULT_LIMITS), connect(url, DEFAULT_LIMITS.unhurried)
    cache = RedisCache(memory, client, unhurried, telemetry=telemetry, secret=section.secret)
    cache.start()
    return cache
