"""ImagingStudy.series and its instances, from Series records; one function for each element."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.model import Endpoint, Instance, Person, Series, Study
from gateway.rules import body_sites
from gateway.rules.dicom_json import is_uid
from gateway.rules.fhir_elements import (
    DCM,
    DICOM_UID,
    OID_PREFIX,
    PARTICIPATION_TYPE,
    Resource,
    code,
    coding,
    concept,
    distinct,
    human_names,
    identifier,
    members,
    person_identifiers,
    person_name,
    text,
    unsigned_int,
)
from gateway.rules.fhir_shapes import Scope, Shape

_FUNCTIONS = {
    "PRF": "performer",
    "SPRF": "secondary performer",
    "DEV": "device",
    "LOC": "location",
}


def one_series(
    series: Series,
    shape: Shape,
    scope: Scope,
    endpoints: Sequence[Endpoint],
    number_of_instances: int | None,
) -> Resource:
    """ImagingStudy.series; `number_of_instances` is decided over all series of the study."""
    return members(
        uid=series.uid,
        number=unsigned_int(series.number),
        modality=modality(series, shape),
        description=text(series.description),
        numberOfInstances=number_of_instances,
        endpoint=endpoint(endpoints),
        **shape.body_site(body_site(series), laterality(series), scope),
        specimen=specimen(series, scope),
        started=started(series),
        performer=performer(series, shape, scope),
        instance=instance(series, shape),
    )


def started(record: Study | Series) -> str | None:
    """started, from Study or Series Date and Time (0008,0020/0030, 0008,0021/0031).

    A FHIR dateTime with a time must carry a UTC offset; DICOM TM (PS3.5 §6.2) has none. So: the
    local time with its offset when the offset is known, never turned into UTC; the date alone
    when it is not; None without a date.
    """
    if record.date is None or record.time is None or record.utc_offset is None:
        return record.date
    return f"{record.date}T{record.time}{record.utc_offset}"


def modality(series: Series, shape: Shape) -> Resource:
    """series.modality from Modality (0008,0060); mandatory, so an unknown one is said to be so."""
    known = code(series.modality)
    if known is None:
        return shape.unknown_modality
    return shape.coded({"coding": [coding(DCM, known)]})


def endpoint(endpoints: Sequence[Endpoint]) -> list[Resource]:
    """References to Endpoints of this server."""
    return [{"reference": f"Endpoint/{one.id}"} for one in endpoints]


def number_of_instances(series: Series) -> int | None:
    """How many instances are visible: those that are loaded, else what the archives said."""
    if series.instances is None:
        return unsigned_int(series.number_of_instances)
    return len(series.instances)


def body_site(series: Series) -> Resource | None:
    """Anatomic Region (0008,2218), which is coded, else Body Part Examined (0018,0015)."""
    region = concept(series.anatomic_region) if series.anatomic_region else None
    part = body_sites.body_site(series.body_part)
    return region or (concept(part) if part else None)


def laterality(series: Series) -> Resource | None:
    """Laterality (0020,0060), else Image Laterality (0020,0062) where all instances agree on it."""
    told = {i.image_laterality for i in series.instances or ()} - {None}
    side = series.laterality or (told.pop() if len(told) == 1 else None)
    known = body_sites.LATERALITIES.get((side or "").strip().upper())
    return concept(known) if known else None


def performer(series: Series, shape: Shape, scope: Scope) -> list[Resource]:
    """series.performer: physicians, operators, the device, the institution; each once."""
    actors = [
        *(("PRF", practitioner(p, scope)) for p in series.performing_physicians),
        *(("SPRF", practitioner(p, scope)) for p in series.operators),
        ("DEV", device(series, shape, scope)),
        ("LOC", organization(series.institution_name, scope)),
    ]
    return distinct([_performer(function, actor) for function, actor in actors if actor])


def _performer(function: str, actor: Resource) -> Resource:
    kind = coding(PARTICIPATION_TYPE, function, _FUNCTIONS[function])
    return {"function": {"coding": [kind]}, "actor": actor}


def practitioner(person: Person, scope: Scope) -> Resource | None:
    """A Reference to a contained Practitioner; None for a person without name and identifier."""
    identifiers, names = person_identifiers(person), human_names(person.name)
    if not identifiers and not names:
        return None
    told = next((c.meaning for c in person.codes if c.meaning), None)
    return scope.reference(
        "Practitioner",
        members(identifier=identifiers, name=names),
        person_name(person.name) or text(told),
        identifier=identifiers[0] if identifiers else None,
    )


def device(series: Series, shape: Shape, scope: Scope) -> Resource | None:
    """A Reference to a contained Device of the series' equipment module (PS3.3 §C.7.5.1)."""
    manufacturer, model = text(series.manufacturer), text(series.manufacturer_model_name)
    serial, station = text(series.device_serial_number), text(series.station_name)
    content = members(
        manufacturer=manufacturer,
        serialNumber=serial,
        modelNumber=model,
        **(shape.device_name(station) if station else {}),
    )
    if not content:
        return None
    shown = " ".join(filter(None, (manufacturer, model))) or station or serial
    return scope.reference("Device", content, shown)


def organization(name: str | None, scope: Scope) -> Resource | None:
    """A Reference to a contained Organization from Institution Name (0008,0080)."""
    known = text(name)
    return scope.reference("Organization", {"name": known}, known) if known else None


def specimen(series: Series, scope: Scope) -> list[Resource]:
    """References to contained Specimens of Specimen Description (0040,0560)."""
    found = []
    for one in series.specimens:
        named = identifier(one.id)
        told = {"system": DICOM_UID, "value": OID_PREFIX + one.uid} if one.uid else None
        content = {"identifier": [i for i in (named, told) if i]}
        shown = one.id.value if named and one.id else None
        if content["identifier"]:
            found.append(scope.reference("Specimen", content, text(shown)))
    return distinct(found)


def instance(series: Series, shape: Shape) -> list[Resource]:
    """series.instance; the many instances of a class share one sopClass object."""
    found = series.instances or ()
    classes = {uid: _sop_class(uid, shape) for uid in {i.sop_class_uid for i in found}}
    return [_instance(one, classes) for one in found]


def _sop_class(uid: str | None, shape: Shape) -> Resource:
    return shape.sop_class(uid if uid is not None and is_uid(uid) else None)


def _instance(record: Instance, classes: Mapping[str | None, Resource]) -> Resource:
    entry = {"uid": record.uid, **classes[record.sop_class_uid]}
    if record.number is not None and (number := unsigned_int(record.number)) is not None:
        entry["number"] = number
    if record.title is not None and (title := text(record.title)) is not None:
        entry["title"] = title
    return entry
