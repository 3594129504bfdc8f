"""The demonstration: invented patients made of real DICOM files, and settings to serve them.

The files that pydicom ships are rewritten under new identities and UIDs, the same bytes each time;
compressed pixel data and transfer syntaxes stay as they are. `demo_studies`
says what there is, `demo_objects` makes the objects.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway import demo_objects
from gateway.config import FolderArchive, Iid, Server, Settings, TemplateViewer
from gateway.demo_studies import STUDIES, Series, Study

if TYPE_CHECKING:
    from pydicom import Dataset

UID_ROOT = "1.2.826.0.1.3680043.8.498.77"
"""Study n is `root.n`, its series m `root.n.m`, its instance k `root.n.m.k`."""

_FORGOTTEN = (
    "AcquisitionDateTime",
    "AdditionalPatientHistory",
    "AdmissionID",
    "CurrentPatientLocation",
    "InstanceCreationDate",
    "InstanceCreationTime",
    "IssuerOfPatientID",
    "LossyImageCompressionRatio",
    "NameOfPhysiciansReadingStudy",
    "OperatorsName",
    "OtherPatientIDs",
    "OtherPatientIDsSequence",
    "PatientAge",
    "PatientAddress",
    "PatientInstitutionResidence",
    "PatientSize",
    "PatientWeight",
    "PerformedProcedureStepID",
    "PerformedProcedureStepStartDate",
    "PerformedProcedureStepStartTime",
    "PerformingPhysicianName",
    "ProtocolName",
    "ReasonForStudy",
    "ReasonForTheRequestedProcedure",
    "RequestAttributesSequence",
    "RequestingPhysician",
    "ScheduledProcedureStepID",
    "StudyComments",
    "TimezoneOffsetFromUTC",
)
"""Attributes of the source files that would contradict the invented patient or study."""


def build(folder: Path) -> None:
    """Write the demonstration's files below `folder`, one folder a study."""
    for study in STUDIES:
        place = folder / f"study-{study.number}"
        place.mkdir(parents=True, exist_ok=True)
        written: list[Dataset] = []
        for series in study.series:
            for number in range(1, series.count + 1):
                dataset = _instance(study, series, number, written)
                name = f"{series.number:02}-{series.modality.lower()}-{number:02}.dcm"
                dataset.save_as(place / name, enforce_file_format=True)
                written.append(dataset)


def settings(folder: Path, port: int) -> Settings:
    """Settings that serve `folder` on loopback; the console itself stands in for a viewer."""
    public_url = f"http://127.0.0.1:{port}"
    return Settings(
        server=Server(port=port, public_url=public_url),
        archives={
            "samples": FolderArchive(
                type="folder",
                path=folder,
                timezone="Europe/Paris",
                patient_system="urn:oid:2.999.1",
                accession_system="urn:oid:2.999.2",
                issuer_systems={"HOSP-A": "urn:oid:2.999.3", "HOSP-B": "urn:oid:2.999.4"},
            )
        },
        viewers={
            "sample": TemplateViewer(
                type="template", title="Sample viewer", url=f"{public_url}/?study={{study_uid}}"
            )
        },
        iid=Iid(default_viewer="sample"),
    )


def urls(settings: Settings) -> list[tuple[str, str]]:
    """What to try first, as (title, URL); the URLs can be pasted into a shell between quotes."""
    base = settings.server.public_url
    study = f"{UID_ROOT}.1"
    return [
        ("Console", f"{base}/"),
        ("QIDO-RS: studies with CT", f"{base}/dicom-web/studies?ModalitiesInStudy=CT"),
        ("QIDO-RS: series of a study", f"{base}/dicom-web/studies/{study}/series"),
        ("WADO-RS: thumbnail", f"{base}/dicom-web/studies/{study}/thumbnail"),
        ("FHIR R4: ImagingStudy", f"{base}/fhir/r4/ImagingStudy/{study}"),
        ("FHIR R5: ImagingStudy", f"{base}/fhir/r5/ImagingStudy/{study}"),
        ("Endpoints that win", f"{base}/resolve/studies/{study}"),
        (
            "Invoke Image Display",
            f"{base}/iid?requestType=STUDY&studyUID={study}",
        ),
    ]


def _instance(study: Study, series: Series, number: int, written: list[Dataset]) -> Dataset:
    """Instance `number` of a series; `written` are the study's instances before it."""
    from pydicom.uid import UID

    uid = UID(f"{UID_ROOT}.{study.number}.{series.number}.{number}")
    dataset = demo_objects.source(series.source, written)
    dataset.decode()
    for keyword in _FORGOTTEN:
        if keyword in dataset:
            delattr(dataset, keyword)
    for keyword, value in _attributes(study, series, number):
        setattr(dataset, keyword, value)
    dataset.SOPInstanceUID = uid
    dataset.file_meta.MediaStorageSOPInstanceUID = uid
    demo_objects.place(dataset, number, f"{UID_ROOT}.{study.number}.0", written)
    return dataset


def _attributes(study: Study, series: Series, number: int) -> Iterator[tuple[str, Any]]:
    """Keyword and value of what says whose image this is, when and where it was made."""
    patient = study.patient
    if patient.charset is not None:
        yield "SpecificCharacterSet", patient.charset
    yield "PatientName", patient.name
    yield "PatientID", patient.id
    if patient.issuer is not None:
        yield "IssuerOfPatientID", patient.issuer
    yield "PatientBirthDate", patient.birth_date
    yield "PatientSex", patient.sex
    yield "StudyInstanceUID", f"{UID_ROOT}.{study.number}"
    yield "SeriesInstanceUID", f"{UID_ROOT}.{study.number}.{series.number}"
    for when in ("Study", "Series", "Content"):
        yield f"{when}Date", study.date
        yield f"{when}Time", study.time
    yield "StudyID", f"{study.number}"
    yield "StudyDescription", study.description
    yield "AccessionNumber", study.accession
    yield "ReferringPhysicianName", study.referring
    yield "Modality", series.modality
    yield "SeriesNumber", series.number
    yield "SeriesDescription", series.description
    yield "InstanceNumber", number
    yield "InstitutionName", study.institution
    yield "PerformingPhysicianName", study.performing
    yield "OperatorsName", study.operators
    if study.zone is not None:
        yield "TimezoneOffsetFromUTC", study.zone
    if study.body_part is not None:
        yield "BodyPartExamined", study.body_part
    if study.procedure is not None:
        yield "ProcedureCodeSequence", demo_objects.codes(*study.procedure)
    yield from series.more.items()
