from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest, PayloadTooLarge
from gateway.model import Endpoint
from gateway.rules import foreign
from gateway.rules.foreign import CONNECTION_TYPE_SYSTEM as HL7

UID = "2.16.124.113543.6003.1154777499.30246.19789.3503430046"
SERIES_UID = "2.16.124.113543.6003.1154777499.30246.19789.3503430045.1"


def wado(identity: str | None = "example-wadors", **more: Any) -> dict[str, Any]:
    """An R4 Endpoint; `identity` None: it has no id."""
    return {
        "resourceType": "Endpoint",
        **({} if identity is None else {"id": identity}),
        "status": "active",
        "connectionType": {"system": HL7, "code": "dicom-wado-rs"},
        "name": "PACS",
        "payloadType": [{"text": "DICOM"}],
        "address": "https://pacs.hospital.org/wado-rs",
        **more,
    }


def imaging_study(*references: str, at_series: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "ImagingStudy",
        "id": "example-xr",
        "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{UID}"}],
        "status": "available",
        "subject": {"reference": "Patient/dicom"},
        "endpoint": [{"reference": r} for r in references],
        "series": [
            {"uid": SERIES_UID, "endpoint": [{"reference": r} for r in at_series]},
        ],
        **more,
    }


def bundle(*entries: tuple[str | None, dict[str, Any]]) -> dict[str, Any]:
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [
            {"resource": r} if url is None else {"fullUrl": url, "resource": r}
            for url, r in entries
        ],
    }


def addresses(document: object, **more: Any) -> list[str | None]:
    return [one.address for one in foreign.read(document, **more).carried.study]


def test_the_standard_s_example_is_read() -> None:
    document = bundle(
        ("https://ehr/fhir/ImagingStudy/1", imaging_study(at_series=("Endpoint/example-wadors",))),
        ("https://ehr/fhir/Endpoint/example-wadors", wado()),
    )

    posted = foreign.read(document)

    assert posted.study_uid == UID
    assert posted.warnings == ()
    assert posted.carried.series[SERIES_UID] == (
        Endpoint(
            id="example-wadors",
            address="https://pacs.hospital.org/wado-rs",
            connection_types=("dicom-wado-rs",),
            status="active",
            name="PACS",
        ),
    )


S = "https://ehr/fhir"
THERE = ["https://pacs.hospital.org/wado-rs"]


@pytest.mark.parametrize(
    ("reference", "study_url", "endpoint_url", "identity", "is_found"),
    [
        ("Endpoint/e", None, None, "e", True),
        ("Endpoint/e", f"{S}/ImagingStudy/1", f"{S}/Endpoint/e", "e", True),
        ("Endpoint/e", f"{S}/ImagingStudy/1", f"{S}/Endpoint/e", None, True),
        ("Endpoint/e", "urn:uuid:1", "urn:uuid:2", "e", True),
        ("Endpoint/e/_history/3", None, None, "e", True),
        ("urn:uuid:2", "urn:uuid:1", "urn:uuid:2", None, True),
        (f"{S}/Endpoint/e", None, f"{S}/Endpoint/e", "e", True),
        (f"{S}/Endpoint/e/_history/1", None, f"{S}/Endpoint/e", "e", True),
        (f"{S}/Endpoint/e", None, None, "e", True),
        (f"{S}/Endpoint/e", None, "urn:uuid:2", "e", True),
        (f"{S}/Endpoint/e", None, "https://other/fhir/Endpoint/e", "e", False),
        ("Endpoint/f", None, None, "e", False),
        ("urn:uuid:3", None, "urn:uuid:2", "e", False),
        ("#e", None, None, "e", False),
        ("Patient/e", None, None, "e", False),
        ("Endpoint/../e", None, None, "e", False),
        ("https://ehr/", None, None, "e", False),
    ],
)
def test_references_are_followed_within_the_bundle(
    *,
    reference: str,
    study_url: str | None,
    endpoint_url: str | None,
    identity: str | None,
    is_found: bool,
) -> None:
    document = bundle((study_url, imaging_study(reference)), (endpoint_url, wado(identity)))

    posted = foreign.read(document)

    assert [one.address for one in posted.carried.study] == (THERE if is_found else [])
    assert bool(posted.carried.study_warnings) is not is_found


def test_a_contained_endpoint_is_found() -> None:
    assert addresses(imaging_study("#e", contained=[wado("e")])) == THERE
    assert addresses(imaging_study("#e", contained=[wado("#e")])) == THERE


def test_of_two_servers_endpoints_of_one_id_the_study_s_own_is_meant() -> None:
    document = bundle(
        ("https://b/fhir/Endpoint/e", wado("e", address="https://b.example.org/rs")),
        ("https://a/fhir/ImagingStudy/1", imaging_study("Endpoint/e")),
        ("https://a/fhir/Endpoint/e", wado("e", address="https://a.example.org/rs")),
    )

    assert addresses(document) == ["https://a.example.org/rs"]


def test_an_id_that_two_endpoints_have_is_no_answer() -> None:
    document = bundle((None, imaging_study("Endpoint/e")), (None, wado("e")), (None, wado("e")))

    assert addresses(document) == []


@pytest.mark.parametrize(
    ("connection_type", "codes"),
    [
        ({"system": HL7, "code": "dicom-wado-rs"}, ("dicom-wado-rs",)),
        ([{"coding": [{"system": HL7, "code": "dicom-wado-rs"}]}], ("dicom-wado-rs",)),
        (
            [
                {"coding": [{"system": HL7, "code": "dicom-wado-rs"}]},
                {"coding": [{"system": HL7, "code": "dicom-qido-rs"}]},
            ],
            ("dicom-wado-rs", "dicom-qido-rs"),
        ),
        (
            [{"coding": [{"system": HL7, "code": "ihe-iid"}, {"system": "x", "code": "y"}]}],
            ("ihe-iid", "x|y"),
        ),
        (
            {
                "system": "http://hl7.eu/fhir/imaging-r5/CodeSystem/codesystem-endpoint-terminology",
                "code": "ihe-iid",
            },
            ("ihe-iid",),
        ),
        ({"code": "dicom-wado-rs"}, ("dicom-wado-rs",)),
        ({"system": "http://x", "code": "dicom-wado-rs"}, ("http://x|dicom-wado-rs",)),
        ({"system": HL7, "code": "hl7-fhir-rest"}, ("hl7-fhir-rest",)),
        ([], ()),
        ("dicom-wado-rs", ()),
        ([{"text": "WADO"}], ()),
        ([{"coding": "dicom-wado-rs"}, None, 3], ()),
    ],
)
def test_connection_types_of_every_version_are_read(
    connection_type: object, codes: tuple[str, ...]
) -> None:
    document = imaging_study("#e", contained=[wado("e", connectionType=connection_type)])

    assert foreign.read(document).carried.study[0].connection_types == codes


@pytest.mark.parametrize(
    "details",
    [
        {"payloadMimeType": ["text/html"], "connectionType": {"system": "x", "code": "web-viewer"}},
        {
            "payload": [{"mimeType": ["text/html"]}],
            "connectionType": [{"coding": [{"system": "x", "code": "viewer"}]}],
        },
        {
            "meta": {
                "profile": [
                    "https://profiles.ihe.net/RAD/MADO/StructureDefinition/MadoWebViewerEndpoint"
                ]
            },
            "connectionType": {"system": HL7, "code": "ihe-iid"},
        },
    ],
)
def test_a_web_viewer_endpoint_is_known_by_its_payload_or_profile(details: dict[str, Any]) -> None:
    types = foreign.read(imaging_study("#e", contained=[wado("e", **details)])).carried.study[0]

    assert {"ihe-iid", "web-viewer"} <= set(types.connection_types)


@pytest.mark.parametrize("value", [f"urn:oid:{UID}", UID, f" {UID} "])
def test_the_study_uid_is_read_with_and_without_its_scheme(value: str) -> None:
    document = imaging_study(identifier=[{"system": "urn:dicom:uid", "value": value}])

    assert foreign.read(document).study_uid == UID


def test_series_uids_are_read_in_both_forms_and_others_are_said() -> None:
    series = [
        {"uid": "urn:oid:1.2.3", "instance": [{"uid": "urn:oid:1.2.3.4"}, {"uid": "x"}, 5]},
        {"uid": "1.2.4"},
        {"uid": "../../system"},
        {},
    ]

    posted = foreign.read(imaging_study(series=series))

    assert posted.instances == {"1.2.3": ("1.2.3.4",), "1.2.4": ()}
    assert len(posted.warnings) == 1


@pytest.mark.parametrize(
    ("document", "parameter"),
    [
        (None, "resourceType"),
        ([], "resourceType"),
        ("ImagingStudy", "resourceType"),
        ({}, "resourceType"),
        ({"resourceType": "Patient"}, "resourceType"),
        ({"resourceType": ["ImagingStudy"]}, "resourceType"),
        ({"resourceType": "Bundle"}, "resourceType"),
        (bundle((None, wado())), "resourceType"),
        ({"resourceType": "ImagingStudy"}, "identifier"),
        (imaging_study(identifier=[{"system": "urn:x", "value": UID}]), "identifier"),
        (imaging_study(identifier=[{"system": "urn:dicom:uid", "value": "x"}]), "identifier"),
        (bundle((None, imaging_study()), (None, imaging_study())), "study"),
        (
            imaging_study(
                identifier=[
                    {"system": "urn:dicom:uid", "value": "1.2"},
                    {"system": "urn:dicom:uid", "value": "1.3"},
                ]
            ),
            "study",
        ),
    ],
)
def test_what_is_no_single_study_is_refused_in_words(document: object, parameter: str) -> None:
    with pytest.raises(BadRequest) as refused:
        foreign.read(document)

    assert refused.value.parameter == parameter


def test_one_study_of_several_can_be_named() -> None:
    other = imaging_study(identifier=[{"system": "urn:dicom:uid", "value": "1.9"}])
    document = bundle((None, imaging_study()), (None, other))

    assert foreign.read(document, study="1.9").study_uid == "1.9"
    with pytest.raises(BadRequest):
        foreign.read(document, study="1.8")


def test_the_gateway_knows_its_own_endpoints() -> None:
    own = Endpoint(id="gateway-dicom-wado-rs", address="https://gw/d", connection_types=())
    references = (
        "Endpoint/gateway-dicom-wado-rs",
        "https://gw/fhir/r5/Endpoint/gateway-dicom-wado-rs",
    )

    for reference in references:
        document = imaging_study(reference)
        assert addresses(document, own=[own], own_base="https://gw/fhir") == ["https://gw/d"]
    abroad = imaging_study("https://elsewhere/fhir/Endpoint/gateway-dicom-wado-rs")
    assert addresses(abroad, own=[own], own_base="https://gw/fhir") == []


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
keys = (
    st.sampled_from(
        [
            "resourceType",
            "identifier",
            "system",
            "value",
            "series",
            "uid",
            "instance",
            "endpoint",
            "reference",
            "contained",
            "entry",
            "resource",
            "fullUrl",
            "id",
            "connectionType",
            "coding",
            "code",
            "address",
            "period",
            "start",
            "meta",
            "profile",
            "payload",
            "mimeType",
            "payloadMimeType",
        ]
    )
    | st.text()
)
words = st.sampled_from(
    ["ImagingStudy", "Bundle", "Endpoint", "urn:dicom:uid", "1.2.3", "#a", "a", "Endpoint/a", HL7]
)
any_json = st.recursive(
    scalars | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=6),
    max_leaves=30,
)


@given(any_json)
def test_any_json_is_read_or_refused(document: object) -> None:
    survive(document)


@given(
    study=st.dictionaries(keys, any_json, max_size=5),
    endpoint=st.dictionaries(keys, any_json, max_size=5),
    entry=any_json,
)
def test_any_types_inside_a_study_are_survived(
    study: dict[str, Any], endpoint: dict[str, Any], entry: object
) -> None:
    what = imaging_study("#a", "Endpoint/a", contained=[{**wado("a"), **endpoint}])
    what.update({k: v for k, v in study.items() if k != "resourceType"})

    survive(what)
    survive({"resourceType": "Bundle", "entry": [{"resource": what}, entry]})


def survive(document: object) -> None:
    try:
        posted = foreign.read(document)
    except BadRequest as refused:
        assert str(refused)  # noqa: PT017 - either outcome is good
    else:
        assert posted.study_uid


@pytest.mark.parametrize(
    ("series", "endpoint"),
    [([{}] * (foreign.MAX_SERIES + 1), []), ([], [{}] * (foreign.MAX_REFERENCES + 1))],
    ids=["series", "endpoints"],
)
def test_more_than_a_study_can_mean_is_refused(series: list[Any], endpoint: list[Any]) -> None:
    identifier = [{"system": "urn:dicom:uid", "value": "urn:oid:1.2.3"}]
    body = {
        "resourceType": "ImagingStudy",
        "identifier": identifier,
        "series": series,
        "endpoint": endpoint,
    }
    with pytest.raises(PayloadTooLarge):
        foreign.read(body)
