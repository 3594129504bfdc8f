"""Who may use which route at all, before anything is looked for: one table for every route.

What exists for a consumer on a route that they may use is `policy`'s decision. A route that is not
in the table is closed; a test walks the router so that none is forgotten.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from functools import cache

from gateway.errors import Forbidden
from gateway.model import Action, Consumer
from gateway.rules import policy, scopes


class Admission(enum.Enum):
    """Who is let in."""

    PUBLIC = "anyone"
    KNOWN = "any known consumer"
    SCOPED = "a consumer whose scopes allow it"
    OPERATOR = "a consumer from whom nothing is hidden"


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a route needs; `resource` and `action` where scopes decide."""

    admission: Admission
    resource: str = scopes.IMAGING_STUDY
    action: Action = Action.READ


_PUBLIC = Need(admission=Admission.PUBLIC)
_OPERATOR = Need(admission=Admission.OPERATOR)
_READ = Need(admission=Admission.SCOPED)
FINDING = Need(admission=Admission.SCOPED, action=Action.SEARCH)
"""What finding studies needs, also on a route that reads those that are named (`/`, `/iid`)."""
_UIDS = r"/studies/\{study\}(/series/\{series\}(/instances/\{instance\}(/frames/\{frames\})?)?)?"
_FHIR = r"/fhir(/\{version\})?"
_NEEDS: tuple[tuple[str, Need], ...] = (
    (r"/health/(live|ready)", _PUBLIC),
    (rf"{_FHIR}/(metadata|\.well-known/smart-configuration)", _PUBLIC),
    (r"/dicom-web/?", _PUBLIC),
    (r"/metrics|/archives|/hooks/studies/\{study\}", _OPERATOR),
    (r"/resolve", Need(admission=Admission.KNOWN)),
    (r"/dicom-web(/studies/\{study\}(/series/\{series\})?)?/(studies|series|instances)", FINDING),
    (
        rf"/dicom-web{_UIDS}(/(metadata|rendered|thumbnail|pixeldata|bulkdata(/\{{path\}})?))?",
        _READ,
    ),
    (rf"/resolve{_UIDS}", _READ),
    (r"/wado", _READ),
    (r"/iid|/", _READ),  # and FINDING, where no study is named by its UID
    (rf"{_FHIR}/(Patient/\{{patient\}}/)?ImagingStudy(/_search)?", FINDING),
    (rf"{_FHIR}/ImagingStudy/\{{id\}}", _READ),
    *(
        (rf"{_FHIR}/{one}{path}", Need(admission=Admission.SCOPED, resource=one, action=action))
        for one in scopes.SERVED[1:]
        for path, action in (
            (r"(/_search)?", Action.SEARCH),
            (r"/\{id\}", Action.READ),
        )
    ),
)
_TABLE = tuple((re.compile(pattern), need) for pattern, need in _NEEDS)


@cache
def needed(route: str) -> Need | None:
    """What the route with this template needs; None: nobody has decided, so it is closed."""
    return next((need for pattern, need in _TABLE if pattern.fullmatch(route)), None)


def check(need: Need | None, consumer: Consumer) -> None:
    """Forbidden unless `consumer` may use a route that needs this."""
    if need is None:
        raise Forbidden("this is open to nobody")
    is_operator = consumer.scopes is None and not policy.is_restricted(consumer)
    if need.admission is Admission.OPERATOR and not is_operator:
        raise Forbidden("this is for operators")
    is_allowed = scopes.lets(consumer, need.resource, need.action)
    if need.admission is Admission.SCOPED and not is_allowed:
        raise Forbidden(f"the scopes of this caller do not include {need.resource}")
