from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from dicomweb_client.uri import URI
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest
from gateway.model import ConnectionType, Target
from gateway.rules import urls
from gateway.rules.url_parameters import Resource
from gateway.rules.urls import ViewerContext

BASE = "https://pacs.hospital.org/wado-rs"
WADO = "https://pacs.hospital.org/wado-uri"
STUDY = "1.2.250.1.59.40211.12345678.678910"
SERIES = "1.2.250.1.59.40211.789001276.14556172.67789"
INSTANCE = "1.2.250.1.59.40211.2678810.87991027.899772.2"
THE_STUDY = Target(study_uid=STUDY)
THE_SERIES = Target(study_uid=STUDY, series_uid=SERIES)
THE_INSTANCE = Target(study_uid=STUDY, series_uid=SERIES, instance_uid=INSTANCE)
DICOM, METADATA, RENDERED, THUMBNAIL = Resource
IN_WADO_URI = f"requestType=WADO&studyUID={STUDY}&seriesUID={SERIES}&objectUID={INSTANCE}"


@pytest.mark.parametrize(
    ("built", "expected"),
    [
        pytest.param(
            urls.wado_rs(BASE, THE_INSTANCE),
            "https://pacs.hospital.org/wado-rs/studies/1.2.250.1.59.40211.12345678.678910/series/"
            "1.2.250.1.59.40211.789001276.14556172.67789/instances/"
            "1.2.250.1.59.40211.2678810.87991027.899772.2",
            id="instance",
        ),
        pytest.param(
            urls.wado_rs(BASE, THE_INSTANCE, RENDERED, [("viewport", "400,400,0,0,1000,3000")]),
            "https://pacs.hospital.org/wado-rs/studies/1.2.250.1.59.40211.12345678.678910/series/"
            "1.2.250.1.59.40211.789001276.14556172.67789/instances/"
            "1.2.250.1.59.40211.2678810.87991027.899772.2/rendered"
            "?viewport=400,400,0,0,1000,3000",
            id="rendered",
        ),
        pytest.param(
            urls.wado_rs(BASE, THE_STUDY, THUMBNAIL),
            "https://pacs.hospital.org/wado-rs/studies/1.2.250.1.59.40211.12345678.678910/thumbnail",
            id="thumbnail",
        ),
        pytest.param(
            urls.wado_uri(WADO, THE_INSTANCE),
            "https://pacs.hospital.org/wado-uri?requestType=WADO"
            "&studyUID=1.2.250.1.59.40211.12345678.678910"
            "&seriesUID=1.2.250.1.59.40211.789001276.14556172.67789"
            "&objectUID=1.2.250.1.59.40211.2678810.87991027.899772.2",
            id="wado-uri",
        ),
        pytest.param(
            urls.wado_uri(
                WADO,
                THE_INSTANCE,
                RENDERED,
                [("rows", "100"), ("columns", "100"), ("region", "0,0,0.5,1")],
            ),
            "https://pacs.hospital.org/wado-uri?requestType=WADO"
            "&studyUID=1.2.250.1.59.40211.12345678.678910"
            "&seriesUID=1.2.250.1.59.40211.789001276.14556172.67789"
            "&objectUID=1.2.250.1.59.40211.2678810.87991027.899772.2"
            "&rows=100&columns=100&region=0,0,0.5,1",
            id="wado-uri-rendered",
        ),
        pytest.param(
            urls.iid(
                "https://pacs.hospital.org/IHEInvokeImageDisplay",
                [f"urn:oid:{STUDY}"],
                [("diagnosticQuality", "true")],
            ),
            "https://pacs.hospital.org/IHEInvokeImageDisplay?requestType=STUDY"
            "&studyUID=1.2.250.1.59.40211.12345678.678910&diagnosticQuality=true",
            id="iid",
        ),
        pytest.param(
            urls.wado_rs(
                BASE,
                Target(
                    study_uid="urn:oid:2.16.124.113543.6003.1154777499.30246.19789.3503430046",
                    series_uid="2.16.124.113543.6003.1154777499.30246.19789.3503430045.1",
                ),
                METADATA,
            ),
            "https://pacs.hospital.org/wado-rs/studies/"
            "2.16.124.113543.6003.1154777499.30246.19789.3503430046/series/"
            "2.16.124.113543.6003.1154777499.30246.19789.3503430045.1/metadata",
            id="metadata",
        ),
    ],
)
def test_the_standard_s_own_examples_come_out_byte_for_byte(built: str, expected: str) -> None:
    assert built == expected


@pytest.mark.parametrize("resource", Resource)
@pytest.mark.parametrize("target", [THE_STUDY, THE_SERIES, THE_INSTANCE])
def test_wado_rs_urls_are_those_of_a_dicomweb_client(target: Target, resource: Resource) -> None:
    theirs = URI.from_string(urls.wado_rs(BASE, target, resource))

    assert theirs.base_url == BASE
    assert theirs.study_instance_uid == target.study_uid
    assert theirs.series_instance_uid == target.series_uid
    assert theirs.sop_instance_uid == target.instance_uid


def test_frames_keep_their_order() -> None:
    frames = Target(study_uid="1.2", series_uid="1.3", instance_uid="1.4", frames=(7, 2, 7))

    assert urls.wado_rs(BASE, frames) == f"{BASE}/studies/1.2/series/1.3/instances/1.4/frames/7,2,7"
    assert urls.wado_rs(BASE, frames, RENDERED).endswith("/frames/7,2,7/rendered")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (THE_STUDY, f"{BASE}/studies?StudyInstanceUID={STUDY}"),
        (THE_SERIES, f"{BASE}/studies/{STUDY}/series?SeriesInstanceUID={SERIES}"),
        (
            THE_INSTANCE,
            f"{BASE}/studies/{STUDY}/series/{SERIES}/instances?SOPInstanceUID={INSTANCE}",
        ),
    ],
    ids=["study", "series", "instance"],
)
def test_a_search_finds_exactly_the_target(target: Target, expected: str) -> None:
    assert urls.qido_rs(BASE, target) == expected


@pytest.mark.parametrize(
    ("address", "url", "is_warned"),
    [
        ("https://h/wado-rs", "https://h/wado-rs", False),
        ("https://h/wado-rs/", "https://h/wado-rs", False),
        ("https://h/wado-rs///", "https://h/wado-rs", False),
        ("https://h/wado-rs/studies", "https://h/wado-rs", True),
        ("https://h/wado-rs/studies/", "https://h/wado-rs", True),
        ("https://h/wado-rs?x=1", "https://h/wado-rs", True),
        ("https://h/wado-rs#x", "https://h/wado-rs", True),
        ("https://h:8080", "https://h:8080", False),
        ("http://[::1]:8080/d", "http://[::1]:8080/d", False),
    ],
)
def test_a_dicomweb_address_is_brought_into_shape(
    *, address: str, url: str, is_warned: bool
) -> None:
    found = urls.base(address, ConnectionType.WADO_RS)

    assert found.url == url
    assert bool(found.warnings) is is_warned


@pytest.mark.parametrize(
    ("address", "start", "is_warned"),
    [
        ("https://h/wado", "https://h/wado?requestType=", False),
        ("https://h/wado?", "https://h/wado?requestType=", False),
        ("https://h/wado/", "https://h/wado/?requestType=", False),
        ("https://h/wado?site=3", "https://h/wado?site=3&requestType=", True),
        ("https://h/wado?site=3&", "https://h/wado?site=3&requestType=", True),
        ("https://h/wado?requestType=WADO", "https://h/wado?requestType=", True),
        ("https://h/wado#top", "https://h/wado?requestType=", True),
    ],
)
def test_a_query_address_keeps_its_path_and_its_query(
    *, address: str, start: str, is_warned: bool
) -> None:
    url = urls.wado_uri(address, THE_INSTANCE)

    assert url.startswith(start)
    assert url.count("requestType=") == 1
    assert bool(urls.base(address, ConnectionType.WADO_URI).warnings) is is_warned
    assert urls.iid(address, ["1.2"]).startswith(start)


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "//h/wado",
        "/wado",
        "h/wado",
        "https://",
        "https://user:secret@h/wado",
        "https://h\r\nX: y/wado",
        "https://h/wa do",
        'https://h/"onclick="x',
        "https://h/<script>",
        "https://h\\@evil/wado",
        "https://[::1/wado",
        "https://h:99999/wado",
        "https://h/\u202ewado",
        "",
    ],
)
@pytest.mark.parametrize("kind", ConnectionType)
def test_only_a_web_address_is_ever_built_upon(address: str, kind: ConnectionType) -> None:
    with pytest.raises(BadRequest):
        urls.base(address, kind)


@pytest.mark.parametrize(
    "uid",
    [
        "",
        "../../system",
        "1.2/../3",
        "1.2%2f3",
        "1.2?x=1",
        "1.2#x",
        "1.2;x",
        "1.2\r\n",
        "1.2 ",
        "1..2",
        ".1",
        "1.",
        "1" * 65,
        "\u0661.\u0662",
        "urn:oid:urn:oid:1.2",
        "urn:uuid:1.2",
    ],
)
def test_what_is_not_a_uid_is_rejected_and_never_escaped(uid: str) -> None:
    with pytest.raises(BadRequest):
        urls.wado_rs(BASE, Target(study_uid=uid))
    with pytest.raises(BadRequest):
        urls.qido_rs(BASE, Target(study_uid="1.2", series_uid=uid))
    with pytest.raises(BadRequest):
        urls.wado_uri(WADO, Target(study_uid="1.2", series_uid="1.3", instance_uid=uid))
    with pytest.raises(BadRequest):
        urls.iid(WADO, ["1.2", uid])


@pytest.mark.parametrize(
    ("target", "resource", "parameter"),
    [
        (THE_STUDY, DICOM, "instance"),
        (THE_SERIES, DICOM, "instance"),
        (THE_INSTANCE, METADATA, "resource"),
        (THE_INSTANCE, THUMBNAIL, "resource"),
        (Target(study_uid="1.2", series_uid="1.3", instance_uid="1.4", frames=(1, 2)), DICOM, None),
    ],
)
def test_what_wado_uri_cannot_say_is_refused_by_name(
    target: Target, resource: Resource, parameter: str | None
) -> None:
    with pytest.raises(BadRequest) as refused:
        urls.wado_uri(WADO, target, resource)

    assert refused.value.parameter == (parameter or "frames")


def test_a_frame_of_wado_uri_is_a_frame_number() -> None:
    frame = Target(study_uid=STUDY, series_uid=SERIES, instance_uid=INSTANCE, frames=(3,))

    assert urls.wado_uri(WADO, frame, RENDERED, [("rows", "64")]) == (
        f"{WADO}?{IN_WADO_URI}&frameNumber=3&rows=64"
    )
    with pytest.raises(BadRequest):
        urls.wado_uri(WADO, frame, RENDERED, [("frameNumber", "3")])
    with pytest.raises(BadRequest):
        urls.wado_uri(WADO, frame, DICOM, [("contentType", "application/dicom")])


def test_frames_have_no_metadata_and_need_an_instance() -> None:
    with pytest.raises(BadRequest):
        urls.wado_rs(
            BASE,
            Target(study_uid="1", series_uid="2", instance_uid="3", frames=(1,)),
            METADATA,
        )
    with pytest.raises(BadRequest):
        urls.wado_rs(BASE, Target(study_uid="1", series_uid="2", frames=(1,)))
    with pytest.raises(BadRequest):
        urls.wado_rs(BASE, Target(study_uid="1", series_uid="2", instance_uid="3", frames=(0,)))


def test_several_studies_are_a_comma_list_for_iid() -> None:
    assert urls.iid(WADO, ["1.2", "1.3"]) == f"{WADO}?requestType=STUDY&studyUID=1.2,1.3"


OHIF = "https://viewer.example.org/viewer?StudyInstanceUIDs={study_uids}"


def filled(template: str, **more: str) -> str:
    context = ViewerContext(
        study_uids=("1.2", "1.3"), dicom_web="https://gw.example.org/dicom-web", **more
    )
    return urls.viewer(template, context)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (OHIF, "https://viewer.example.org/viewer?StudyInstanceUIDs=1.2,1.3"),
        ("https://v/viewer/{study_uid}", "https://v/viewer/1.2"),
        (
            "https://v/?study={study_uids}&url={dicom_web}",
            "https://v/?study=1.2,1.3&url=https%3A%2F%2Fgw.example.org%2Fdicom-web",
        ),
        (
            "weasis://%24dicom%3Ars%20--url%20%22{dicom_web}%22%20-r%20%22studyUID%3D{study_uid}%22",
            "weasis://%24dicom%3Ars%20--url%20%22https%3A%2F%2Fgw.example.org%2Fdicom-web%22"
            "%20-r%20%22studyUID%3D1.2%22",
        ),
        ("https://v/?a={accession}", "https://v/?a="),
        ("https://v/viewer{?study_uid,patient_id}", "https://v/viewer?study_uid=1.2"),
    ],
    ids=["ohif-3", "ohif-2", "root", "weasis", "unknown-value", "form"],
)
def test_a_viewer_s_template_is_filled_in(template: str, expected: str) -> None:
    assert filled(template) == expected


HOSTILE = [
    "https://evil.example.org/",
    "//evil.example.org/",
    "\\\\evil.example.org",
    "@evil.example.org",
    "..%2f..%2f",
    "../../x",
    "a&StudyInstanceUIDs=9.9.9",
    "a#fragment",
    "a?b=c",
    "javascript:alert(1)",
    "<script>alert(1)</script>",
    "'\"><img src=x onerror=alert(1)>",
    "a\r\nLocation: https://evil.example.org",
    "a\0b",
    "{dicom_web}",
    "%0d%0aSet-Cookie: a=b",
    "\u2028\u202e",
    " ",
    "+",
    "%",
    "%2e%2e",
]
TEMPLATES = [
    "https://viewer.example.org/viewer?a={accession}&p={patient_id}",
    "https://viewer.example.org/{patient_id}/{accession}",
    "https://viewer.example.org/{+patient_id}?a={+accession}",
    "https://viewer.example.org/viewer{?patient_id,accession}{#patient_id}",
    "https://viewer.example.org{/patient_id}",
]


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("template", TEMPLATES)
def test_a_hostile_value_stays_a_value(template: str, value: str) -> None:
    url = filled(template, accession=value, patient_id=value)

    parts = urlsplit(url)
    assert (parts.scheme, parts.netloc) == ("https", "viewer.example.org")
    assert url.isascii()
    assert not set(url) & set("\r\n\0<>\"' \\")
    if template == TEMPLATES[0]:
        assert parse_qs(parts.query, keep_blank_values=True) == {"a": [value], "p": [value]}


@given(value=st.text(), template=st.sampled_from(TEMPLATES))
def test_no_value_changes_the_host(value: str, template: str) -> None:
    parts = urlsplit(filled(template, accession=value, patient_id=value))

    assert (parts.scheme, parts.netloc) == ("https", "viewer.example.org")


def test_a_template_that_loses_its_host_is_refused() -> None:
    with pytest.raises(BadRequest):
        filled("https://viewer.example.org{+dicom_web}")
