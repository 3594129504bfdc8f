from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import Settings
from gateway.errors import BadRequest
from gateway.model import Consumer, Identifier, Patient, Policy, Rule, Study
from gateway.rules import iid
from gateway.rules.iid import Launch, PatientId

SEVEN = Identifier(value="7", system="urn:oid:1.2.5")
STUDY = [("requestType", "STUDY")]
PATIENT = [("requestType", "PATIENT"), ("patientID", "7^^^HOSP-A")]
VIEWERS = {
    "ohif": {
        "type": "template",
        "title": "OHIF",
        "url": "https://viewer.example.org/viewer?StudyInstanceUIDs={study_uids}",
    },
    "one": {"type": "template", "title": "One", "url": "https://one.example.org/{study_uid}"},
    "pacs": {"type": "iid", "title": "PACS", "url": "https://pacs.example.org/IID"},
}
SETTINGS = Settings.model_validate(
    {
        "archives": {
            "north": {
                "type": "dicomweb",
                "qido_rs": "http://north.internal",
                "patient_system": "urn:oid:1.2.3",
                "issuer_systems": {"HOSP-A": "urn:oid:1.2.5"},
            },
            "south": {"type": "dicomweb", "qido_rs": "http://south.internal"},
        },
        "viewers": VIEWERS,
    }
)


def study(
    uid: str = "1.2.3",
    *,
    patient: Identifier | None = SEVEN,
    born: str | None = None,
    accession: str | None = None,
    **more: Any,
) -> Study:
    return Study(
        uid=uid,
        archives=more.pop("archives", ("north",)),
        patient=Patient(id=patient, birth_date=born),
        accession=None if accession is None else Identifier(value=accession),
        **more,
    )


def asked(*pairs: tuple[str, str]) -> Launch:
    return iid.parse([*PATIENT, *pairs])


def test_a_study_request_lists_uids() -> None:
    launch = iid.parse([*STUDY, ("studyUID", "1.2,1.3,1.2"), ("diagnosticQuality", "true")])

    assert launch.study_uids == ("1.2", "1.3")
    assert launch.display == (("diagnosticQuality", "true"),)


def test_a_patient_request_is_read_whole() -> None:
    launch = asked(
        ("patientName", "Doe^Jane"),
        ("patientBirthDate", "1970-01-02"),
        ("lowerDateTime", "2024-01-01T10:00:00+02:00"),
        ("upperDateTime", "2024-12-31"),
        ("mostRecentResults", "3"),
        ("modalitiesInStudy", "CT,MR"),
        ("viewerType", "IHE_BIR"),
    )

    assert launch.patient == PatientId(value="7", namespace="HOSP-A")
    assert launch.birth_date == "1970-01-02"
    assert launch.earliest == datetime(2024, 1, 1, 10, tzinfo=timezone(timedelta(hours=2)))
    assert launch.latest == datetime.fromisoformat("2024-12-31T23:59:59.999999")
    assert launch.most_recent == 3
    assert launch.modalities == {"CT", "MR"}
    assert launch.display == (("viewerType", "IHE_BIR"),)


def test_unknown_parameters_are_ignored_even_twice_unless_known() -> None:
    extra = [("drimSession", "x"), ("patientID", "9"), ("studyUID", "1.2")]

    assert iid.parse([*STUDY, *extra]).patient is None


@pytest.mark.parametrize(
    ("pairs", "parameter"),
    [
        ([], "requestType"),
        ([("requestType", "study")], "requestType"),
        ([("requesttype", "STUDY")], "requestType"),
        ([*STUDY, *STUDY], "requestType"),
        (STUDY, "studyUID"),
        ([*STUDY, ("studyUID", "1.2"), ("accessionNumber", "A")], "studyUID"),
        ([*STUDY, ("studyUID", "1.2"), ("studyUID", "1.3")], "studyUID"),
        ([*STUDY, ("studyUID", "")], "studyUID"),
        ([*STUDY, ("studyUID", "1.2,")], "studyUID"),
        ([*STUDY, ("studyUID", "1.2;1.3")], "studyUID"),
        ([*STUDY, ("studyUID", "urn:oid:1.2")], "studyUID"),
        ([*STUDY, ("studyUID", "../system")], "studyUID"),
        ([*STUDY, ("studyUID", ",".join(f"1.{n}" for n in range(101)))], "studyUID"),
        ([*STUDY, ("accessionNumber", "")], "accessionNumber"),
        ([*STUDY, ("accessionNumber", "*")], "accessionNumber"),
        ([*STUDY, ("accessionNumber", "A?")], "accessionNumber"),
        ([*STUDY, ("accessionNumber", "A\\B")], "accessionNumber"),
        ([*STUDY, ("accessionNumber", "A\r\nB")], "accessionNumber"),
        ([*STUDY, ("studyUID", "1.2"), ("diagnosticQuality", "yes")], "diagnosticQuality"),
        ([*STUDY, ("studyUID", "1.2"), ("keyImagesOnly", "")], "keyImagesOnly"),
        ([*STUDY, ("studyUID", "1.2"), ("viewerType", "")], "viewerType"),
        ([("requestType", "PATIENT")], "patientID"),
        ([("requestType", "PATIENT"), ("patientID", "")], "patientID"),
        ([("requestType", "PATIENT"), ("patientID", "^^^HOSP")], "patientID"),
        ([("requestType", "PATIENT"), ("patientID", "*^^^HOSP")], "patientID"),
        ([*PATIENT, ("lowerDateTime", "yesterday")], "lowerDateTime"),
        ([*PATIENT, ("lowerDateTime", "2024-02-30T00:00:00")], "lowerDateTime"),
        ([*PATIENT, ("lowerDateTime", "20240101")], "lowerDateTime"),
        ([*PATIENT, ("upperDateTime", "2024-01-01T10:00")], "upperDateTime"),
        ([*PATIENT, ("upperDateTime", "2024-01-01T10:00:00+99:00")], "upperDateTime"),
        ([*PATIENT, ("patientBirthDate", "1970")], "patientBirthDate"),
        ([*PATIENT, ("lowerDateTime", "2025-01-01"), ("upperDateTime", "2024-01-01")],
         "lowerDateTime"),
        ([*PATIENT, ("mostRecentResults", "0")], "mostRecentResults"),
        ([*PATIENT, ("mostRecentResults", "-1")], "mostRecentResults"),
        ([*PATIENT, ("mostRecentResults", "many")], "mostRecentResults"),
        ([*PATIENT, ("modalitiesInStudy", "CT,,MR")], "modalitiesInStudy"),
        ([*PATIENT, ("modalitiesInStudy", "CT*")], "modalitiesInStudy"),
        ([*PATIENT, ("patientName", "x\0")], "patientName"),
    ],
)  # fmt: skip
def test_what_is_missing_or_no_good_is_named(pairs: list[tuple[str, str]], parameter: str) -> None:
    with pytest.raises(BadRequest) as refused:
        iid.parse(pairs)

    assert refused.value.parameter == parameter


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["requestType", "patientID", "studyUID", "lowerDateTime", "mostRecentResults"]
            ),
            st.text() | st.sampled_from(["STUDY", "PATIENT", "1.2", "2024-01-01", "1"]),
        )
    )
)
def test_any_request_is_read_or_refused(pairs: list[tuple[str, str]]) -> None:
    try:
        launch = iid.parse(pairs)
    except BadRequest as refused:
        assert refused.parameter  # noqa: PT017 - either outcome is good
    else:
        assert launch.study_uids or launch.accessions or launch.patient


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("99998410^^^AcmeHospital", PatientId(value="99998410", namespace="AcmeHospital")),
        (
            "7^^^&1.2.3&ISO",
            PatientId(value="7", universal_id="1.2.3", universal_id_type="ISO"),
        ),
        (
            "7^^^HOSP&1.2.3&ISO^MR",
            PatientId(value="7", namespace="HOSP", universal_id="1.2.3", universal_id_type="ISO"),
        ),
        ("7", PatientId(value="7")),
    ],
)
def test_a_patient_id_carries_its_authority(text: str, expected: PatientId) -> None:
    assert iid.patient_id(text) == expected


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [
        (Identifier(value="7", system="urn:oid:1.2"), "7^^^&1.2&ISO"),
        (Identifier(value="7", assigner="HOSP"), "7^^^HOSP"),
    ],
)
def test_an_identifier_is_written_with_its_authority(identifier: Identifier, expected: str) -> None:
    assert iid.written_patient_id(identifier) == expected


def test_an_authority_is_left_out_by_permission_only() -> None:
    unknown = Identifier(value="7")

    assert iid.written_patient_id(unknown, without_authority=True) == "7"
    with pytest.raises(BadRequest):
        iid.written_patient_id(unknown)


def test_a_patient_s_url_is_encoded_and_keeps_the_caller_s_order() -> None:
    jane = Identifier(value="7", system="urn:oid:1.2")
    pairs = [("lowerDateTime", "2024-05-31T08:00:00+02:00"), ("patientName", "Doe^Jane Ann")]

    assert iid.patient_url("https://pacs.example.org/IID", jane, pairs) == (
        "https://pacs.example.org/IID?requestType=PATIENT&patientID=7%5E%5E%5E%261.2%26ISO"
        "&lowerDateTime=2024-05-31T08%3A00%3A00%2B02%3A00&patientName=Doe%5EJane%20Ann"
    )


@pytest.mark.parametrize("name", ["studyUID", "requestType", "colour", "mostRecentResults"])
def test_a_patient_s_url_takes_only_what_is_good(name: str) -> None:
    with pytest.raises(BadRequest) as refused:
        iid.patient_url("https://pacs.example.org/IID", SEVEN, [(name, "x")])

    assert refused.value.parameter == name


def test_without_a_viewer_the_archive_s_own_display_is_launched() -> None:
    north = {
        "type": "dicomweb",
        "qido_rs": "http://north.internal",
        "publish": {"ihe-iid": "https://north.example.org/iid"},
    }
    chosen = Settings.model_validate({"archives": {"north": north}})
    hides = Policy(name="hie", hide=(Rule(name="hide[0]", modalities=("SR",)),))
    everyone, hie = Consumer(id="x"), Consumer(id="y", policy=hides)

    display = iid.published_viewer(chosen, [study("1.2")], everyone)

    assert display is not None
    assert display.url == "https://north.example.org/iid"
    assert iid.published_viewer(chosen, [study("1.2")], hie) is None
    assert iid.published_viewer(chosen, [study("1.2", archives=("north", "s"))], everyone) is None


def launched(name: str, *uids: str, launch: Launch | None = None) -> str:
    request = launch or iid.parse([*STUDY, ("studyUID", ",".join(uids)), ("viewerType", "x")])
    found = [study(uid, accession="A&b") for uid in uids]
    return iid.location(request, found, SETTINGS.viewers[name], "https://gw.example.org/dicom-web")


def test_a_viewer_that_speaks_iid_gets_the_studies_and_no_patient() -> None:
    url = launched("pacs", "1.2", "1.3", launch=asked(("keyImagesOnly", "true")))

    assert url == (
        "https://pacs.example.org/IID?requestType=STUDY&studyUID=1.2,1.3&keyImagesOnly=true"
    )


def test_a_template_viewer_is_filled_in() -> None:
    assert launched("ohif", "1.2", "1.3") == (
        "https://viewer.example.org/viewer?StudyInstanceUIDs=1.2,1.3"
    )


def test_a_viewer_for_one_study_is_not_given_some_of_several() -> None:
    assert launched("one", "1.2") == "https://one.example.org/1.2"
    with pytest.raises(BadRequest):
        launched("one", "1.2", "1.3")
    assert launched("one", "1.2", "1.3", launch=asked()) == "https://one.example.org/1.2"


@given(viewer_type=st.text(min_size=1, max_size=40).filter(str.isprintable).filter(str.strip))
def test_what_the_caller_writes_stays_a_value(viewer_type: str) -> None:
    launch = iid.parse([*STUDY, ("studyUID", "1.2"), ("viewerType", viewer_type)])

    parts = urlsplit(iid.location(launch, [study("1.2")], SETTINGS.viewers["pacs"], "https://gw"))

    assert (parts.scheme, parts.netloc) == ("https", "pacs.example.org")
    assert ("viewerType", viewer_type) in parse_qsl(parts.query)


def test_the_default_viewer_is_the_one_named_or_the_first() -> None:
    named = SETTINGS.model_copy(
        update={"iid": SETTINGS.iid.model_copy(update={"default_viewer": "pacs"})}
    )

    assert (iid.viewer(SETTINGS) or ("",))[0] == "ohif"
    assert (iid.viewer(named) or ("",))[0] == "pacs"
    assert iid.viewer(Settings()) is None


def test_bounds_with_zones_are_compared_as_instants() -> None:
    assert asked(("lowerDateTime", "2024-05-31T08:00:00Z")).earliest == datetime(
        2024, 5, 31, 8, tzinfo=UTC
    )
