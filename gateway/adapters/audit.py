"""The audit trail: events to a spool on this machine, and from there to a FHIR server.

Recording never waits. What was recorded is on disk within half a second, and stays there until the
server took it, whatever happens to either. A spool that is full or cannot be written is told by
`is_failing`, and the configuration decides whether requests go on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import orjson
import structlog

from gateway.adapters.audit_spool import Line, Spool
from gateway.adapters.credentials import Credentials
from gateway.adapters.ended import ended
from gateway.adapters.origin_client import OriginClient, token_server
from gateway.config import AuditTrail
from gateway.errors import ArchiveError, Unavailable

FLUSH_SECONDS = 0.5
SHIP_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
CLOSE_SECONDS = 5.0
AT_ONCE = 50
_FINAL = frozenset({400, 404, 405, 409, 410, 413, 415, 422})
"""Statuses that mean that the server will never take this event."""
_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


def audit_trail(section: AuditTrail) -> Audit | None:
    """The trail of the configuration; None: there is none."""
    if section.spool is None:
        return None
    spool, drops = Spool(section.spool, section.max_mb << 20), section.on_full == "drop"
    if section.fhir_url is None:
        return Audit(spool, drops=drops)
    server = OriginClient("the audit server", f"{section.fhir_url}/AuditEvent", section.tls)
    credentials = Credentials("audit", section.auth, token_server(section.auth))
    return Audit(spool, server, credentials, drops=drops)


class Audit:
    """What is recorded. Whoever makes it opens it, and closes it at the end."""

    def __init__(
        self,
        spool: Spool,
        server: OriginClient | None = None,
        credentials: Credentials | None = None,
        *,
        drops: bool = False,
    ) -> None:
        """`server`: where the events are posted to; None: they stay on this machine.

        `drops`: what cannot be written is given up; else it waits, and requests should.
        """
        self._drops = drops
        self._spool = spool
        self._server = server
        self._credentials = credentials
        self._waiting: list[bytes] = []
        self._disk = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self._stop = asyncio.Event()
        self._also: Callable[[], Sequence[dict[str, Any]]] = list
        self.is_failing = False

    def tell_also(self, source: Callable[[], Sequence[dict[str, Any]]]) -> None:
        """Takes what `source` gives as well, each time that something is written."""
        self._also = source

    def record(self, events: Sequence[dict[str, Any]]) -> None:
        """Takes events in; they are on disk within `FLUSH_SECONDS`."""
        self.record_texts([orjson.dumps(event) for event in events])

    def record_texts(self, events: Sequence[bytes]) -> None:
        """`record`, for events that are JSON already."""
        if self.is_failing and self._drops:
            return
        self._waiting += events

    @property
    def forbids(self) -> bool:
        """Whether nothing may be disclosed now, since it could not be recorded."""
        return self.is_failing and not self._drops

    def open(self) -> None:
        """Starts to write and, where there is a server, to ship."""
        loop = asyncio.get_running_loop()
        self._tasks.append(loop.create_task(self._write_for_ever()))
        if self._server is not None:
            self._tasks.append(loop.create_task(self._ship_for_ever(self._server)))

    async def close(self) -> None:
        """Writes what is left. What was not shipped is shipped after the next start."""
        self._stop.set()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=CLOSE_SECONDS)
            await ended(late)
        await self._flush()
        await asyncio.to_thread(self._spool.close)
        if self._server is not None:
            await self._server.close()

    async def _write_for_ever(self) -> None:
        while not await self._stopped_within(FLUSH_SECONDS):
            await self._flush()

    async def _flush(self) -> None:
        """Brings what waits to disk; what cannot be written waits for the next time."""
        self.record(self._also())
        async with self._disk:
            events, self._waiting = self._waiting, []
            try:
                if events:
                    await asyncio.to_thread(self._spool.append, events)
                self._tell(await asyncio.to_thread(self._spool.is_full))
            except OSError as error:
                self._waiting = events + self._waiting
                self._tell(True, cause=type(error).__name__)

    def _tell(self, is_failing: bool, cause: str = "full") -> None:  # noqa: FBT001 - a state
        if is_failing and not self.is_failing:
            _log.error("the audit spool takes no more", cause=cause)
        self.is_failing = is_failing

    async def _ship_for_ever(self, server: OriginClient) -> None:
        pause = SHIP_SECONDS
        while not await self._stopped_within(pause):
            try:
                while await self._ship_some(server):
                    pause = SHIP_SECONDS
            except (Unavailable, ArchiveError, OSError, ValueError) as error:
                _log.warning("audit events wait to be shipped", cause=type(error).__name__)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _stopped_within(self, seconds: float) -> bool:
        """Whether it is time to stop, which is waited for so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        return self._stop.is_set()

    async def _ship_some(self, server: OriginClient) -> bool:
        """Ships the next events of each segment; whether there were any."""
        has_shipped = False
        async with self._disk:
            paths = await asyncio.to_thread(lambda: list(self._spool.to_ship()))
        for path in paths:
            async with self._disk:
                lines = await asyncio.to_thread(self._spool.lines, path, AT_ONCE)
            for line in lines:
                if self._stop.is_set():
                    return False
                await self._post(server, line)
                has_shipped = True
                async with self._disk:
                    await asyncio.to_thread(self._spool.shipped, path, line.end)
        return has_shipped

    async def _post(self, server: OriginClient, line: Line) -> None:
        """Posts one event; Unavailable when it may be taken another time."""
        headers = {"Content-Type": "application/fhir+json", "Accept": "application/fhir+json"}
        authorization = await self._credentials.authorization() if self._credentials else None
        if authorization is not None:
            headers["Authorization"] = authorization
        answer = await server.ask("POST", headers=headers, body=line.body)
        if answer.status in _FINAL:
            _log.error("the audit server refuses an event", status=answer.status)
            async with self._disk:
                await asyncio.to_thread(self._spool.reject, line.body)
        elif not 200 <= answer.status < 300:
            if answer.status == 401 and self._credentials:
                self._credentials.refused(authorization)
            raise Unavailable("the audit server takes no events now")
