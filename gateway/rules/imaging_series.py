"""ImagingStudy.series and its instances, from Series records; one function for each element."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.model import Endpoint, Instance, Organization, Person, Series, Study
from gateway.rules import body_sites
from gateway.rules.dicom_json import is_uid
from gateway.rules.fhir_elements import (
    DCM,
    DICOM_UID,
    NUMBER_OF_FRAMES,
    OID_PREFIX,
    PARTICIPATION_TYPE,
    Resource,
    code,
    code_identifiers,
    coding,
    concept,
    concepts,
    distinct,
    human_names,
    identifier,
    members,
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
    "CST": "custodian",
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
        **shape.body_site(body_site(series, scope), laterality(series), scope),
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


def body_site(series: Series, scope: Scope) -> Resource | None:
    """Anatomic Region (0008,2218), which is coded, else Body Part Examined (0018,0015)."""
    told = (series.anatomic_region, body_sites.body_site(series.body_part))
    found = concepts([one for one in told if one], scope.systems)
    return found[0] if found else None


def laterality(series: Series) -> Resource | None:
    """Laterality (0020,0060), else Image Laterality (0020,0062) where all instances agree on it."""
    told = {i.image_laterality for i in series.instances or ()} - {None}
    side = series.laterality or (told.pop() if len(told) == 1 else None)
    known = body_sites.LATERALITIES.get((side or "").strip().upper())
    return concept(known, {}) if known else None


def performer(series: Series, shape: Shape, scope: Scope) -> list[Resource]:
    """series.performer: physicians, operators, device, institution, custodians; each once."""
    actors = [
        *(("PRF", practitioner(p, scope)) for p in series.performing_physicians),
        *(("SPRF", practitioner(p, scope)) for p in series.operators),
        ("DEV", device(series, shape, scope)),
        ("LOC", institution(series, scope)),
        *(("CST", custodian(one, scope)) for one in series.custodians),
    ]
    return distinct([_performer(function, actor) for function, actor in actors if actor])


def _performer(function: str, actor: Resource) -> Resource:
    kind = coding(PARTICIPATION_TYPE, function, _FUNCTIONS[function])
    return {"function": {"coding": [kind]}, "actor": actor}


def practitioner(person: Person, scope: Scope) -> Resource | None:
    """A Reference to a contained Practitioner; None for a person without name and identifier."""
    identifiers, names = code_identifiers(person.codes, scope.systems), human_names(person.name)
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


def institution(series: Series, scope: Scope) -> Resource | None:
    """Where it was made: Institution Name (0008,0080) and Institution Code (0008,0082)."""
    codes = (series.institution,) if series.institution else ()
    name = text(series.institution_name) or (text(codes[0].meaning) if codes else None)
    return _organization(code_identifiers(codes, scope.systems), name, scope)


def custodian(organization: Organization, scope: Scope) -> Resource | None:
    """Who keeps the images, by the configuration of their archive (HL7 Europe Imaging)."""
    found = identifier(organization.id)
    return _organization([found] if found else [], text(organization.name), scope)


def _organization(identifiers: list[Resource], name: str | None, scope: Scope) -> Resource | None:
    """A Reference to a contained Organization."""
    content = members(identifier=identifiers, name=name)
    first = identifiers[0] if identifiers else None
    return scope.reference("Organization", content, name, identifier=first) if content else None


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
    return [_instance(one, classes, shape) for one in found]


def title(record: Instance, shape: Shape) -> str | None:
    """Document Title (0042,0010), else, before R6, what else names a document."""
    other = None if shape.documents_alone_have_titles else record.title
    return text(record.document_title or other)


def _sop_class(uid: str | None, shape: Shape) -> Resource:
    return shape.sop_class(uid if uid is not None and is_uid(uid) else None)


def _instance(record: Instance, classes: Mapping[str | None, Resource], shape: Shape) -> Resource:
    entry = {"uid": record.uid, **classes[record.sop_class_uid]}
    frames = record.number_of_frames
    if frames is not None and frames > 1 and unsigned_int(frames) is not None:
        entry["extension"] = [{"url": NUMBER_OF_FRAMES, "valueInteger": frames}]
    if record.number is not None and (number := unsigned_int(record.number)) is not None:
        entry["number"] = number
    is_named = record.title is not None or record.document_title is not None
    if is_named and (words := title(record, shape)) is not None:
        entry["title"] = words
    return entry
