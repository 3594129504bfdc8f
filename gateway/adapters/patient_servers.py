"""Who the patients of FHIR servers are to archives: their identifiers, asked for when needed.

An answer is believed for a minute, and for less where it names nobody. While a server does not
answer, nobody whose patient it knows sees anything.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson
import structlog

from gateway.adapters.flights import Flights
from gateway.adapters.http_client import ArchiveClient, Limits
from gateway.adapters.telemetry import Telemetry
from gateway.config import Settings
from gateway.config_types import FHIR_ID
from gateway.errors import ArchiveError, BadRequest, NotFound, TooCostly, Unavailable
from gateway.model import Consumer, Identifier
from gateway.rules import foreign_patient, patient_context, patient_ids
from gateway.rules.patient_ids import OfServer, PatientIds

KNOWN_SECONDS = 60.0
UNKNOWN_SECONDS = 10.0
FAILED_SECONDS = 5.0
MAX_REMEMBERED = 10_000
MOST_NAMED = 10
_ACCEPT = "application/fhir+json"
_LIMITS = Limits(
    max_concurrency=16,
    queue_seconds=5,
    connect_timeout_seconds=2,
    timeout_seconds=5,
    max_json_bytes=4 << 20,
)
_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Remembered:
    """What is known of a patient; None: the server did not tell."""

    identifiers: tuple[Identifier, ...] | None
    until: float


class PatientServers:
    """The patients of the servers that `clients` are for, by name. Whoever makes one closes it."""

    def __init__(
        self,
        settings: Settings,
        clients: Mapping[str, ArchiveClient],
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`clock` reads seconds that never go back; `now` is the time of day."""
        self._settings = settings
        self._ids = patient_ids.of(settings)
        self._servers = settings.fhir.servers
        self._systems = patient_context.systems(settings)
        self._clients = clients
        self._clock, self._now = clock, now
        self._known: OrderedDict[tuple[str, str], _Remembered] = OrderedDict()
        self._flights: Flights[tuple[Identifier, ...]] = Flights()

    async def in_context(self, server: str | None, patient: str) -> tuple[Identifier, ...]:
        """The identifiers of the patient of a token, whichever way patients are known by.

        `server`: the one that knows them; None: none does. Unavailable.
        """
        if self._settings.fhir.patients.by != "server":
            return patient_context.identifiers(self._ids, self._settings, patient)
        return () if server is None else await self.identifiers(server, patient)

    def holds(self, server: str | None, patient: str, identifiers: tuple[Identifier, ...]) -> bool:
        """Whether `in_context` would tell these identifiers again, and ask nobody."""
        if self._settings.fhir.patients.by != "server" or server is None:
            return True
        known = self._known.get((server, patient))
        return (
            known is not None and self._clock() < known.until and known.identifiers == identifiers
        )

    async def ids(self, consumer: Consumer, named: Collection[str]) -> PatientIds:
        """The ids of patients for a caller, where a server gives them of those that are `named`.

        A caller who is bound to a patient knows that one alone. TooCostly: too many are named.
        Unavailable.
        """
        known = patient_ids.of_caller(self._ids, consumer)
        server = patient_context.only_server(self._settings)
        if not isinstance(known, OfServer) or consumer.patients is not None or server is None:
            return known
        if len(named) > MOST_NAMED:
            raise TooCostly(f"at most {MOST_NAMED} patients can be looked up at once")
        found = {one: await self.identifiers(server, one) for one in named}
        return OfServer(known={one: ids for one, ids in found.items() if ids})

    async def identifiers(self, server: str, patient: str) -> tuple[Identifier, ...]:
        """The identifiers of Patient/{patient} at a server; () when archives know none.

        Unavailable: the server does not tell.
        """
        if FHIR_ID.fullmatch(patient) is None or patient in {".", ".."}:
            return ()
        known = self._known.get((server, patient))
        if known is None or self._clock() >= known.until:
            return await self._flights.join(
                f"{server}/{patient}", lambda: self._asked(server, patient)
            )
        if known.identifiers is None:
            raise _unavailable()
        return known.identifiers

    def __len__(self) -> int:
        """How many patients are remembered."""
        return len(self._known)

    async def close(self) -> None:
        """Lets go of all connections."""
        await self._flights.close()
        for client in self._clients.values():
            await client.close()

    async def _asked(self, server: str, patient: str) -> tuple[Identifier, ...]:
        try:
            found = await self._told(server, patient)
        except (ArchiveError, BadRequest, ValueError) as error:
            _log.warning("a patient is not told", server=server, cause=type(error).__name__)
            self._remember(server, patient, None, FAILED_SECONDS)
            raise _unavailable() from error
        self._remember(server, patient, found, KNOWN_SECONDS if found else UNKNOWN_SECONDS)
        return found

    async def _told(self, server: str, patient: str) -> tuple[Identifier, ...]:
        """What the server says now; BadRequest, ValueError: nothing that can be believed."""
        section, client = self._servers[server], self._clients[server]
        try:
            async with client.get(section.url, ("Patient", patient), accept=_ACCEPT) as response:
                body = await client.json(response)
        except NotFound:
            return ()
        answer = orjson.loads(body)
        return foreign_patient.identifiers(answer, patient, section, self._systems, self._now())

    def _remember(
        self, server: str, patient: str, found: tuple[Identifier, ...] | None, seconds: float
    ) -> None:
        self._known[server, patient] = _Remembered(found, self._clock() + seconds)
        self._known.move_to_end((server, patient))
        while len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)


def patient_servers(
    settings: Settings, telemetry: Telemetry, clock: Callable[[], float] = time.monotonic
) -> PatientServers:
    """The servers of the configuration that are asked who patients are."""
    clients = {
        name: ArchiveClient(name, server.auth, _LIMITS, telemetry, server.tls)
        for name, server in settings.fhir.servers.items()
        if "patients" in server.use
    }
    return PatientServers(settings, clients, clock=clock)


def _unavailable() -> Unavailable:
    return Unavailable("who the patient is cannot be looked up now")
