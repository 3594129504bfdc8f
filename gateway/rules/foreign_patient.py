"""The identifiers by which archives know the patient of a FHIR server's Patient resource.

Whoever is bound to that patient sees what these identifiers name, so what is doubtful names
nothing: links to other records are not followed, and a record that is no longer in use is nobody's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import UTC, datetime

from gateway.config_servers import FhirServer
from gateway.errors import BadRequest
from gateway.model import Identifier
from gateway.rules import periods
from gateway.rules.foreign_values import Resource, objects
from gateway.rules.patient_ids import can_be_asked_for

MOST_IDENTIFIERS = 20
_NOT_UNDERSTOOD = ("modifierExtension", "implicitRules")
"""Elements that may turn the meaning of a resource round (FHIR R5 Extensibility §2.1.5.6)."""


def identifiers(
    answer: object, patient: str, server: FhirServer, systems: Collection[str], now: datetime
) -> tuple[Identifier, ...]:
    """The patient's identifiers in `systems`, those of archives; () when there are none.

    BadRequest: the answer is not the Patient with the id `patient`.
    """
    if not isinstance(answer, dict) or answer.get("resourceType") != "Patient":
        raise BadRequest("the answer is no Patient")
    if answer.get("id") != patient:
        raise BadRequest("the answer is another Patient")
    if _is_out_of_use(answer):
        return ()
    found = dict.fromkeys(_named(answer, server, systems, now))
    if len(found) > MOST_IDENTIFIERS:
        raise BadRequest("the Patient has too many identifiers")
    return tuple(found)


def _is_out_of_use(resource: Resource) -> bool:
    """Whether a record is inactive, was merged into another one, or says what nobody knows."""
    return (
        resource.get("active", True) is not True
        or any(name in resource for name in _NOT_UNDERSTOOD)
        or not _goes_on(resource.get("link", []))
    )


def _goes_on(links: object) -> bool:
    """Whether no link says that another record took the place of this one."""
    return isinstance(links, list) and all(
        isinstance(link, dict) and link.get("type") in _KEPT for link in links
    )


_KEPT = frozenset({"replaces", "refer", "seealso"})
"""Link types of a record that goes on; one that was merged into another has `replaced-by`."""


def _named(
    resource: Resource, server: FhirServer, systems: Collection[str], now: datetime
) -> Iterator[Identifier]:
    for one in objects(resource.get("identifier")):
        system, value = one.get("system"), one.get("value")
        if not isinstance(system, str) or not isinstance(value, str):
            continue
        known = server.identifier_systems.get(system, system)
        is_good = server.old_identifiers or _is_current(one, now)
        if known in systems and is_good and can_be_asked_for(value):
            yield Identifier(value=value, system=known)


def _is_current(one: Resource, now: datetime) -> bool:
    """Whether an identifier is in use now; what cannot be read is not."""
    if one.get("use") == "old":
        return False
    period = one.get("period", {})
    if not isinstance(period, dict):
        return False
    start, is_start_bad = _moment(period.get("start"), is_end=False)
    end, is_end_bad = _moment(period.get("end"), is_end=True)
    is_readable = not (is_start_bad or is_end_bad)
    return is_readable and (start is None or start <= now) and (end is None or now <= end)


def _moment(text: object, *, is_end: bool) -> tuple[datetime | None, bool]:
    if text is not None and not isinstance(text, str):
        return None, True
    return periods.instant(text, UTC, is_end=is_end)
