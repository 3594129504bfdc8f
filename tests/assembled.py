"""Archives, catalog and pictures put together over doubles, without the HTTP server in front."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from gateway.adapters.archive_dicomweb import DicomwebArchive
from gateway.adapters.cache import Lives, MemoryCache
from gateway.adapters.http_client import ArchiveClient, Limits
from gateway.adapters.telemetry import Telemetry
from gateway.adapters.thumbnail import PictureWorker
from gateway.archives import Archives
from gateway.catalog import Catalog
from gateway.config import DicomwebArchive as Section
from gateway.config_servers import NoAuth
from gateway.fan_out import FanOut
from gateway.model import Consumer, Origin
from gateway.pictures import Pictures
from tests.doubles import Double, Held
from tests.fault_archive import FaultArchive

ANYONE = Consumer(id="test")
NAMES = ("north", "south", "east")


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembled:
    """What stands over the doubles, which are in the order of the configuration."""

    doubles: tuple[Double, ...]
    sources: tuple[DicomwebArchive, ...]
    archives: Archives
    catalog: Catalog
    pictures: Pictures
    clock: Clock

    @property
    def fan_out(self) -> FanOut:
        """A fan-out of its own over the same archives."""
        return FanOut(self.sources, self.clock, lambda: 0.0)

    @property
    def asked(self) -> int:
        """Requests that the doubles have seen so far."""
        return sum(len(d.server.requests) for d in self.doubles)


@asynccontextmanager
async def over(
    *holdings: Sequence[Held],
    fresh_seconds: float = 60,
    stale_seconds: float = 3600,
    absent_seconds: float = 0,
    timeout_seconds: float = 5,
    max_concurrency: int = 8,
    show_rejected: bool = False,
    has_wado_uri: bool = False,
) -> AsyncIterator[Assembled]:
    """One archive for each of the holdings; records are remembered by `clock`."""
    clock = Clock()
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(FaultArchive()) for _ in holdings]
        doubles = tuple(Double(s, h) for s, h in zip(servers, holdings, strict=True))
        sources = tuple(
            _source(
                Origin(archive=name, show_rejected=show_rejected),
                s.url,
                timeout_seconds,
                max_concurrency,
                f"{s.url}/wado" if has_wado_uri else None,
            )
            for name, s in zip(NAMES, servers, strict=False)
        )
        lives = Lives(
            fresh_seconds=fresh_seconds,
            stale_seconds=stale_seconds,
            absent_seconds=absent_seconds,
        )
        cache = MemoryCache(lives=lives, max_bytes=1 << 24, telemetry=Telemetry(), clock=clock)
        archives = Archives(sources, cache)
        catalog = Catalog(archives, archives.rejected.key_images)
        pictures = Pictures(catalog, archives, PictureWorker())
        yield Assembled(
            doubles=doubles,
            sources=sources,
            archives=archives,
            catalog=catalog,
            pictures=pictures,
            clock=clock,
        )
        await pictures.close()
        await archives.close()


def _source(
    origin: Origin, base: str, timeout_seconds: float, max_concurrency: int, wado_uri: str | None
) -> DicomwebArchive:
    limits: dict[str, Any] = {
        "max_concurrency": max_concurrency,
        "queue_seconds": 5,
        "connect_timeout_seconds": 1,
        "timeout_seconds": timeout_seconds,
        "max_json_bytes": 1 << 24,
    }
    client = ArchiveClient(origin.archive, NoAuth(), Limits(**limits), Telemetry())
    section = Section(type="dicomweb", qido_rs=base, wado_uri=wado_uri)
    return DicomwebArchive(origin, section, client)
