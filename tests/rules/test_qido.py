from __future__ import annotations

from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest
from gateway.model import Level
from gateway.rules import dicom_json as dj
from gateway.rules import qido, qido_upstream
from gateway.rules.qido import Key, Query


def parse(text: str, level: Level = Level.STUDY, **path: str) -> Query:
    return qido.parse(level, parse_qsl(text, keep_blank_values=True), **path)


def keys(query: Query) -> dict[str, str]:
    return {k.tag: k.value for k in query.keys}


def query(*of: tuple[str, str], fuzzy: bool = False, level: Level = Level.STUDY) -> Query:
    return Query(level=level, keys=tuple(qido.key(t, v) for t, v in of), fuzzy=fuzzy)


REAL_QUERIES = [
    pytest.param(
        Level.STUDY,
        "limit=101&offset=0&fuzzymatching=true"
        "&includefield=00081030%2C00080060%2C00080090%2C00100030",
        id="OHIF: the study list",
    ),
    pytest.param(
        Level.STUDY,
        "limit=101&offset=0&fuzzymatching=false&PatientName=*Doe*&00100020=*7*&StudyDate=20240101-"
        "20240131&ModalitiesInStudy=CT%5CMR&AccessionNumber=*A1*&StudyDescription=*thorax*"
        "&includefield=00081030%2C00080060",
        id="OHIF: the study list filtered",
    ),
    pytest.param(
        Level.STUDY,
        "limit=101&offset=0&fuzzymatching=false&includefield=00081030%2C00080060"
        "&StudyInstanceUID=1.2.3",
        id="OHIF: a study",
    ),
    pytest.param(
        Level.STUDY,
        "00100020=US%2F5%205&limit=101&offset=0&fuzzymatching=true&includefield=00081030",
        id="OHIF: priors",
    ),
    pytest.param(
        Level.SERIES,
        "includefield=00080021%2C00080031%2C0008103E%2C00200011",
        id="OHIF: the series of a study",
    ),
    pytest.param(
        Level.STUDY,
        "PatientID=7&fuzzymatching=true&limit=5&offset=10&includefield=StudyDescription"
        "&includefield=00081032",
        id="dicomweb-client: keywords, repeated includefield",
    ),
    pytest.param(
        Level.INSTANCE,
        "SOPInstanceUID=1.2.3%2C1.2.4&includefield=all&SOPClassUID=1.2.840.10008.5.1.4.1.1.2",
        id="dicomweb-client: all of some instances",
    ),
    pytest.param(
        Level.SERIES,
        "Modality=SR&StudyInstanceUID=1.2&RequestAttributesSequence.AccessionNumber=A1",
        id="a key in a sequence",
    ),
    pytest.param(Level.STUDY, "PatientName=&StudyDate=&PatientID=*", id="universal keys"),
    pytest.param(Level.STUDY, "accept=application/dicom%2Bjson&charset=utf-8", id="accept"),
]


@pytest.mark.parametrize(("level", "text"), REAL_QUERIES)
def test_what_real_clients_send_is_understood(level: Level, text: str) -> None:
    parsed = parse(text, level)
    assert "includefield" not in keys(parsed)
    for variant in qido_upstream.upstream(parsed):
        again = qido.parse(level, qido_upstream.parameters(variant))
        assert again.keys == variant.keys


def test_keywords_tags_and_options_become_one_record() -> None:
    assert parse("00100020=7&StudyDate=20240101-&limit=5&offset=10&includefield=0008103e") == Query(
        level=Level.STUDY,
        keys=(
            Key(tag=dj.PATIENT_ID, vr="LO", value="7"),
            Key(tag=dj.STUDY_DATE, vr="DA", value="20240101-"),
        ),
        include=frozenset({dj.PATIENT_ID, dj.STUDY_DATE, dj.SERIES_DESCRIPTION}),
        limit=5,
        offset=10,
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("PatientID=*", {}, id="a star"),
        pytest.param("PatientName=**&PatientID=", {}, id="stars and nothing"),
        pytest.param("Modality=CT", {dj.MODALITIES_IN_STUDY: "CT"}, id="modality of a study"),
        pytest.param("PatientID=%20%207%20", {dj.PATIENT_ID: "7"}, id="padding"),
        pytest.param("0020000d=1.2", {dj.STUDY_INSTANCE_UID: "1.2"}, id="lower-case tag"),
        pytest.param(
            "ReferencedPatientSequence.ReferencedSOPInstanceUID=1.2",
            {"00081120.00081155": "1.2"},
            id="path",
        ),
        pytest.param(
            "PatientID=%27%3B%20DROP%20TABLE", {dj.PATIENT_ID: "'; DROP TABLE"}, id="hostile text"
        ),
    ],
)
def test_keys_are_read_as_meant(text: str, expected: dict[str, str]) -> None:
    assert keys(parse(text)) == expected


@pytest.mark.parametrize(
    ("text", "include"),
    [
        ("includefield=all", None),
        ("includefield=00080060,%20all", None),
        ("includefield=all&PatientID=7", None),
        ("includefield=", frozenset()),
        ("PatientID=", {dj.PATIENT_ID}),
        ("includefield=RequestAttributesSequence.AccessionNumber", {"00400275"}),
    ],
)
def test_include_is_what_rows_must_have(text: str, include: frozenset[str] | None) -> None:
    assert parse(text).include == include


@pytest.mark.parametrize(
    ("text", "parameter"),
    [
        pytest.param("PatientID=1&PatientID=2", "PatientID", id="twice"),
        pytest.param("PatientID=1&PatientID=1", "PatientID", id="twice the same"),
        pytest.param("PatientID=1&00100020=2", "00100020", id="keyword and tag"),
        pytest.param("0020000D=1.2&0020000d=1.3", "0020000d", id="tag in both cases"),
        pytest.param("Modality=CT&ModalitiesInStudy=MR", "ModalitiesInStudy", id="both modalities"),
        pytest.param("PatientID=&PatientID=2", "PatientID", id="twice, one empty"),
        pytest.param("limit=1&limit=2", "limit", id="limit twice"),
        pytest.param("fuzzymatching=true&fuzzymatching=true", "fuzzymatching", id="fuzzy twice"),
        pytest.param("studyinstanceuid=1.2", "studyinstanceuid", id="wrong case"),
        pytest.param("PATIENTID=1", "PATIENTID", id="capitals"),
        pytest.param("Limit=1", "Limit", id="wrong case of an option"),
        pytest.param("orderby=StudyDate", "orderby", id="unknown"),
        pytest.param("00091001=x", "00091001", id="private"),
        pytest.param("00080000=1", "00080000", id="group length"),
        pytest.param("FFFEE000=1", "FFFEE000", id="item"),
        pytest.param("0010002=1", "0010002", id="seven digits"),
        pytest.param("=1", "", id="no name"),
        pytest.param("PatientID.StudyDate=20240101", "PatientID.StudyDate", id="no sequence"),
        pytest.param("RequestAttributesSequence.=1", "RequestAttributesSequence.", id="open path"),
        pytest.param("RequestAttributesSequence=1", "RequestAttributesSequence", id="a sequence"),
        pytest.param("PixelData=1", "PixelData", id="pixels"),
        pytest.param("StudyDate=2024-01-01", "StudyDate", id="date"),
        pytest.param("StudyDate=20230230", "StudyDate", id="impossible date"),
        pytest.param("StudyTime=25", "StudyTime", id="time"),
        pytest.param("StudyInstanceUID=1.2.*", "StudyInstanceUID", id="wildcard in a UID"),
        pytest.param("StudyInstanceUID=..%2f..%2fsystem", "StudyInstanceUID", id="traversal"),
        pytest.param("StudyInstanceUID=1.2,x", "StudyInstanceUID", id="UID list"),
        pytest.param("PatientID=a%00b", "PatientID", id="NUL"),
        pytest.param("PatientName=a%0d%0ab", "PatientName", id="line end"),
        pytest.param("limit=-1", "limit", id="limit below 0"),
        pytest.param("limit=", "limit", id="no limit"),
        pytest.param("limit=1e3", "limit", id="limit no number"),
        pytest.param("limit=9999999999", "limit", id="limit out of reach"),
        pytest.param("offset=x", "offset", id="offset"),
        pytest.param("offset=%D9%A1", "offset", id="offset in other digits"),
        pytest.param("fuzzymatching=1", "fuzzymatching", id="fuzzymatching"),
        pytest.param("includefield=nonsense", "includefield", id="unknown field"),
        pytest.param("includefield=00100020,x", "includefield", id="one unknown field"),
        pytest.param("SeriesNumber=1", "SeriesNumber", id="attribute of a series"),
        pytest.param("SOPInstanceUID=1.2", "SOPInstanceUID", id="attribute of an instance"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(text: str, parameter: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse(text)
    assert caught.value.parameter == parameter


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ModalitiesInStudy=CT%5CPT", ["CT", "PT"]),
        ("Modality=%20CT%20%5CPT%5CSR", ["CT", "PT", "SR"]),
        ("ModalitiesInStudy=CT", ["CT"]),
        ("ModalitiesInStudy=C*", ["C*"]),
        ("ModalitiesInStudy=CT,PT", ["CT,PT"]),
        ("StudyInstanceUID=1.2%5C1.3", ["1.2\\1.3"]),
        ("OtherPatientNames=A%5CB", ["A", "B"]),
    ],
)
def test_several_values_are_a_key_each_if_all_must_match(text: str, expected: list[str]) -> None:
    assert [k.value for k in parse(f"multiplevaluematching=true&{text}").keys] == expected
    assert len(parse(text).keys) == 1


def test_what_has_no_value_is_a_key_of_its_own() -> None:
    asked = "PatientSex=%22%22&emptyvaluematching=true&PatientID="
    [found] = parse(asked).keys
    assert found.is_empty
    assert dj.PATIENT_SEX in (parse(asked).include or ())
    assert not parse("PatientSex=%22%22").keys[0].is_empty


@pytest.mark.parametrize(
    ("text", "parameter"),
    [
        ("emptyvaluematching=1", "emptyvaluematching"),
        ("multiplevaluematching=yes", "multiplevaluematching"),
        ("emptyvaluematching=true&emptyvaluematching=true", "emptyvaluematching"),
        ("emptyvaluematching=true&StudyDescription=%22%22", "StudyDescription"),
        ("emptyvaluematching=true&StudyInstanceUID=%22%22", "StudyInstanceUID"),
        ("multiplevaluematching=true&PatientID=1%5C2", "PatientID"),
        ("multiplevaluematching=true&ModalitiesInStudy=CT%5CP*", "ModalitiesInStudy"),
        ("multiplevaluematching=true&ModalitiesInStudy=CT%5C", "ModalitiesInStudy"),
        ("multiplevaluematching=true&Modality=CT%5CPT&ModalitiesInStudy=SR", "ModalitiesInStudy"),
    ],
)
def test_matching_that_would_not_be_exact_is_refused_by_name(text: str, parameter: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse(text)
    assert caught.value.parameter == parameter


def test_uid_of_the_path_may_be_repeated_but_not_contradicted() -> None:
    path = {"study_uid": "1.2"}
    assert parse("StudyInstanceUID=1.2", Level.SERIES, **path).keys == ()
    assert parse("StudyInstanceUID=1.3,1.2", Level.SERIES, **path).keys == ()
    with pytest.raises(BadRequest, match="StudyInstanceUID contradicts the path"):
        parse("StudyInstanceUID=1.3", Level.SERIES, **path)
    with pytest.raises(BadRequest):
        parse("SeriesInstanceUID=1", Level.INSTANCE, study_uid="1.2", series_uid="2")


@given(st.sampled_from(list(Level)[:3]), st.lists(st.tuples(st.text(max_size=12), st.text())))
def test_any_pairs_are_understood_or_refused(level: Level, pairs: list[tuple[str, str]]) -> None:
    refused, parsed = None, None
    try:
        parsed = qido.parse(level, pairs)
    except BadRequest as error:
        refused = error.parameter
    assert refused is None or refused in {name for name, _ in pairs}
    assert parsed is None or all(k.value for k in parsed.keys)
