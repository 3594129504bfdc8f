"""SMART scopes, v1 and v2, and what they let a consumer do (SMART App Launch 2.2, Scopes).

DICOMweb, WADO-URI, thumbnails and launches show what ImagingStudy describes, so they are asked
for with the scopes of ImagingStudy. What cannot be honoured to the letter grants nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from gateway.model import Action, Consumer, Scope

IMAGING_STUDY = "ImagingStudy"
SERVED = (IMAGING_STUDY, "Endpoint", "Patient")
_SCOPE = re.compile(
    r"(patient|user|system)/(\*|[A-Z][A-Za-z]*)\.(\*|read|write|c?r?u?d?s?)", re.ASCII
)
_VERSION_1 = {
    "read": frozenset({Action.READ, Action.SEARCH}),
    "write": frozenset({Action.CREATE, Action.UPDATE, Action.DELETE}),
    "*": frozenset(Action),
}


def parse(text: str) -> tuple[Scope, ...]:
    """The clinical scopes among the words of an OAuth `scope`; all others grant nothing here.

    So do scopes with search parameters (`patient/ImagingStudy.rs?modality=CT`), which narrow what
    this gateway does not narrow by scope.
    """
    found = (_SCOPE.fullmatch(word) for word in dict.fromkeys(text.split()))
    return tuple(
        Scope(context=m[1], resource=m[2], actions=_actions(m[3])) for m in found if m and m[3]
    )


def lets(consumer: Consumer, resource: str, action: Action) -> bool:
    """Whether the scopes of `consumer` let them do `action` with resources of a type."""
    return consumer.scopes is None or any(
        scope.resource in {"*", resource} and action in scope.actions for scope in consumer.scopes
    )


def not_brought(consumer: Consumer) -> tuple[str, ...]:
    """The types of resources that includes bring `consumer` none of.

    A study is brought by its patient alone, and so it is found as by a search.
    """
    needed = {IMAGING_STUDY: (Action.READ, Action.SEARCH)}
    return tuple(
        one
        for one in SERVED
        if not all(lets(consumer, one, action) for action in needed.get(one, (Action.READ,)))
    )


def effective(scopes: Iterable[Scope]) -> tuple[Scope, ...]:
    """The scopes that count for a caller, who is either bound to a patient or is not.

    Where imaging may be read for a user or a system, scopes for the patient in context count for
    nothing: what they grant of that patient alone would be had of everybody.
    """
    found = tuple(scopes)
    if is_bound_to_patient(found):
        return found
    return tuple(s for s in found if s.context != "patient")


def is_bound_to_patient(scopes: Iterable[Scope]) -> bool:
    """Whether imaging is granted for the patient in context alone (`patient/…`), if at all."""
    of_imaging = [s for s in scopes if s.resource in {"*", IMAGING_STUDY}]
    return not any(s.context in {"user", "system"} and Action.READ in s.actions for s in of_imaging)


def _actions(text: str) -> frozenset[Action]:
    return _VERSION_1.get(text) or frozenset(Action(letter) for letter in text)
