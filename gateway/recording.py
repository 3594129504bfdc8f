"""What the audit trail is told of each request: what it disclosed, what it was denied, who failed.

Callers who are nobody known may be many and ask without end. The first refusal of an address is
recorded as it happens; what follows from there is counted, and told once in `REFUSED_SECONDS`.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from gateway.adapters.audit import Audit
from gateway.disclosures import Disclosures
from gateway.model import Action
from gateway.rules import audit_event
from gateway.rules.audit_event import Access
from gateway.rules.fhir_elements import Resource
from gateway.rules.rights import Admission, Need

REFUSED_SECONDS = 600.0
MOST_ADDRESSES = 100
"""So many addresses are told apart at a time; the others are counted as one."""
_OTHERS = "others"
_DENIED = "4"


@dataclass(slots=True)
class _Refusals:
    """What was refused of one address since `first`, which is recorded already."""

    first: Access
    since: float
    last: str
    more: int = 0


class Recorder:
    """What goes into a trail. Whoever makes it opens and closes it."""

    def __init__(self, trail: Audit, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` reads seconds that never go back."""
        self._trail = trail
        self._clock = clock
        self._refused: dict[str, _Refusals] = {}
        self.record_texts = trail.record_texts
        """Records events that are JSON already."""
        trail.tell_also(self._due)

    @property
    def forbids(self) -> bool:
        """Whether nothing may be disclosed now, since it could not be recorded."""
        return self._trail.forbids

    def open(self) -> None:
        """Starts to write."""
        self._trail.open()

    async def close(self) -> None:
        """Writes what is left, what was counted as well."""
        self._trail.record(self._due(is_last=True))
        await self._trail.close()

    def answered(self, access: Access, need: Need | None, status: int, noted: Disclosures) -> None:
        """Records what a request of somebody known told of studies, and which it was denied."""
        self._trail.record(told(access, need, status, noted))

    def refused(self, access: Access) -> None:
        """Records that somebody is nobody known, or counts it where that was told already."""
        address = _network(access.address or "")
        if address not in self._refused and len(self._refused) >= MOST_ADDRESSES:
            address, access = _OTHERS, replace(access, address=None)
        known = self._refused.get(address)
        if known is not None:
            known.more += 1
            known.last = access.recorded
            return
        self._refused[address] = _Refusals(access, self._clock(), access.recorded)
        self._trail.record([audit_event.refusal(access)])

    def _due(self, *, is_last: bool = False) -> list[Resource]:
        """The events of what was counted long enough; who was refused no more is forgotten."""
        now = self._clock()
        events = []
        for address, known in list(self._refused.items()):
            if not is_last and now - known.since < REFUSED_SECONDS:
                continue
            del self._refused[address]
            if known.more:
                events.append(audit_event.refusal(known.first, more=known.more, last=known.last))
                first = replace(known.first, recorded=known.last)
                self._refused[address] = _Refusals(first, now, known.last)
        return events


def told(access: Access, need: Need | None, status: int, noted: Disclosures) -> list[Resource]:
    """The events of what a request of somebody known told of studies, and which it was denied.

    One for each patient of what was told, and of what was named and does not exist.
    """
    if need is None or (need.admission is not Admission.SCOPED and status != 403):
        return []
    access = replace(access, is_query=need.action is Action.SEARCH)
    denial = replace(access, outcome=_DENIED)
    if status == 403 or (status == 404 and noted.denied):
        return audit_event.events(denial, noted.denied or noted.shown, noted.several)
    if status >= 400:
        return []
    hidden = {uid: who for uid, who in noted.denied.items() if uid not in noted.shown}
    several = noted.several
    events = audit_event.events(access, noted.shown, several) if noted.shown or not hidden else []
    return events + (audit_event.events(denial, hidden, several) if hidden else [])


def _network(address: str) -> str:
    """What one caller has at hand: an address of IPv4, half of the bits of one of IPv6."""
    if ":" not in address:
        return address
    try:
        network = ipaddress.ip_network(f"{address.partition('%')[0]}/64", strict=False)
    except ValueError:
        return address
    return str(network)
