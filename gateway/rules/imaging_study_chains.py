"""Searches that follow a reference: by the name of the referrer, the birth date of the patient.

A chain looks at what the resource refers to, as far as that is contained in it; `searchable`
gives a resource that contains its patient, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from gateway.model import Level, Patient
from gateway.rules.fhir_elements import Resource
from gateway.rules.fhir_patient import DEMOGRAPHICS, patient
from gateway.rules.fhir_search import Kind, Parameter
from gateway.rules.fhir_values import whole_names
from gateway.rules.imaging_study_parameters import performers, references


def _contained(resource: Resource, references: Iterable[Resource]) -> Iterator[Resource]:
    """What References lead to inside the resource."""
    by_reference = {f"#{one['id']}": one for one in resource.get("contained", ())}
    named = (one.get("reference") for one in references)
    return (by_reference[name] for name in named if name in by_reference)


def _patients(resource: Resource) -> list[Resource]:
    return [c for c in resource.get("contained", ()) if c["resourceType"] == "Patient"]


def _performing(resource: Resource, *types: str) -> list[Resource]:
    found = _contained(resource, performers(resource))
    return [one for one in found if one["resourceType"] in types]


def searchable(resource: Resource, subject: Patient) -> Resource:
    """An ImagingStudy with the patient it is about, for chains to look at."""
    contained = resource.get("contained", [])
    return resource | {"contained": [*contained, patient(subject, "patient")]}


def _chain(
    name: str,
    found: Callable[[Resource], Iterable[object]],
    kind: Kind = Kind.STRING,
    targets: tuple[str, ...] = (),
    level: Level = Level.STUDY,
) -> Parameter:
    return Parameter(name=name, kind=kind, found=found, targets=targets, level=level)


def _of_patient(name: str) -> tuple[Parameter, ...]:
    """The chains that lead to the patient."""
    return tuple(
        _chain(f"{name}.{one.name}", _found_in_patient(one), one.kind, ("Patient",))
        for one in DEMOGRAPHICS
    )


def _found_in_patient(parameter: Parameter) -> Callable[[Resource], Iterable[object]]:
    return lambda r: (value for p in _patients(r) for value in parameter.found(p))


CHAINS = (
    *_of_patient("patient"),
    *_of_patient("subject"),
    _chain(
        "referrer.name",
        lambda r: whole_names(_contained(r, references(r, "referrer"))),
        targets=("Practitioner",),
    ),
    _chain(
        "interpreter.name",
        lambda r: whole_names(_contained(r, references(r, "interpreter"))),
        targets=("Practitioner",),
    ),
    _chain(
        "performer.name",
        lambda r: whole_names(_performing(r, "Practitioner", "Organization")),
        level=Level.SERIES,
    ),
    _chain(
        "performer:Practitioner.name",
        lambda r: whole_names(_performing(r, "Practitioner")),
        level=Level.SERIES,
    ),
    _chain(
        "performer:Organization.name",
        lambda r: whole_names(_performing(r, "Organization")),
        level=Level.SERIES,
    ),
)
"""Every chain that works here, besides `identifier`, which is the modifier `:identifier`."""
