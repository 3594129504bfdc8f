from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import Settings
from gateway.errors import BadRequest, NotFound, Unavailable
from gateway.model import ConnectionType, Endpoint, Instance, Loaded, Series, Study, Target
from gateway.rules import endpoints as rule
from gateway.rules import foreign, resolution
from gateway.rules.endpoints import Carried
from gateway.rules.foreign import Posted

RS, URI, QIDO, IID = ConnectionType
NOW = datetime(2024, 5, 31, 12, 0, tzinfo=UTC)
GATEWAY = "https://gw.example.org"
SETTINGS = Settings.model_validate(
    {
        "server": {"public_url": GATEWAY},
        "archives": {"north": {"type": "dicomweb", "qido_rs": "http://north.internal"}},
        "viewers": {"v": {"type": "template", "title": "V", "url": "https://v/{study_uid}"}},
    }
)
LOADED = Loaded(
    study=Study(
        uid="1.2",
        archives=("north",),
        series=(
            Series(
                uid="1.2.1",
                archives=("north",),
                instances=(
                    Instance(uid="1.2.1.1", number_of_frames=3),
                    Instance(uid="1.2.1.2", rows=64),
                ),
            ),
            Series(uid="1.2.2", archives=("north",)),
        ),
    )
)
KEYS = {
    "level",
    "series",
    "instance",
    "connection_type",
    "decided_by",
    "endpoint",
    "url",
    "alternatives",
    "warnings",
    "why",
}


def answered(target: Target, *pairs: tuple[str, str]) -> list[dict[str, Any]]:
    asked = resolution.question(pairs)
    resolved = resolution.of_study(SETTINGS, LOADED, target, asked, NOW)
    answer = resolution.answer(target.study_uid, resolved)
    targets: list[dict[str, Any]] = orjson.loads(orjson.dumps(answer))["targets"]
    return targets


def posted(*endpoints: Endpoint, **series: tuple[Endpoint, ...]) -> Posted:
    return Posted(
        study_uid="1.2",
        carried=Carried(study=endpoints, series={"1.2.1": (), **series}),
        instances={"1.2.1": ("1.2.1.1",)},
    )


def of_posted(what: Posted, *pairs: tuple[str, str]) -> list[dict[str, Any]]:
    asked = resolution.question(pairs, is_posted=True)
    answer = resolution.answer(what.study_uid, resolution.of_posted(what, asked, NOW))
    targets: list[dict[str, Any]] = orjson.loads(orjson.dumps(answer))["targets"]
    return targets


def test_a_study_comes_with_each_of_its_series_and_all_types() -> None:
    found = answered(Target(study_uid="1.2"))

    assert [(one["level"], one["series"], one["connection_type"]) for one in found] == [
        (level, series, kind.value)
        for level, series in (("study", None), ("series", "1.2.1"), ("series", "1.2.2"))
        for kind in ConnectionType
    ]
    assert all(set(one) == KEYS for one in found)


def test_a_target_has_the_shape_that_is_promised() -> None:
    (found,) = answered(Target(study_uid="1.2", series_uid="1.2.1"), ("type", "dicom-wado-rs"))

    assert found == {
        "level": "series",
        "series": "1.2.1",
        "instance": None,
        "connection_type": "dicom-wado-rs",
        "decided_by": "study",
        "endpoint": {
            "id": "gateway-dicom-wado-rs",
            "address": f"{GATEWAY}/dicom-web",
            "status": "active",
            "name": "WADO-RS of the gateway",
        },
        "url": f"{GATEWAY}/dicom-web/studies/1.2/series/1.2.1",
        "alternatives": [],
        "warnings": [],
        "why": found["why"],
    }


def test_an_instance_has_a_url_of_every_type() -> None:
    target = Target(study_uid="1.2", series_uid="1.2.1", instance_uid="1.2.1.1")

    assert [one["url"] for one in answered(target)] == [
        f"{GATEWAY}/dicom-web/studies/1.2/series/1.2.1/instances/1.2.1.1",
        f"{GATEWAY}/wado?requestType=WADO&studyUID=1.2&seriesUID=1.2.1&objectUID=1.2.1.1",
        f"{GATEWAY}/dicom-web/studies/1.2/series/1.2.1/instances?SOPInstanceUID=1.2.1.1",
        f"{GATEWAY}/iid?requestType=STUDY&studyUID=1.2",
    ]


def test_a_frame_is_a_target_of_its_own() -> None:
    target = Target(study_uid="1.2", series_uid="1.2.1", instance_uid="1.2.1.1", frames=(2,))

    rs, uri, *_ = answered(target)

    assert rs["level"] == "frame"
    assert rs["url"].endswith("/instances/1.2.1.1/frames/2")
    assert uri["url"].endswith("&objectUID=1.2.1.1&frameNumber=2")


@pytest.mark.parametrize("series", [None, "1.2.1"])
def test_wado_uri_above_an_instance_has_no_url_but_a_warning(series: str | None) -> None:
    found = answered(Target(study_uid="1.2", series_uid=series), ("type", "dicom-wado-uri"))[0]

    assert found["url"] is None
    assert found["endpoint"]["id"] == "gateway-dicom-wado-uri"
    assert found["warnings"]


def test_parameters_go_where_they_belong_in_the_caller_s_order() -> None:
    target = Target(study_uid="1.2", series_uid="1.2.1", instance_uid="1.2.1.1")

    rs, uri, _, viewer = answered(
        target,
        ("resource", "rendered"),
        ("quality", "80"),
        ("columns", "9"),
        ("annotation", "patient"),
        ("viewport", "9,9"),
        ("rows", "9"),
        ("keyImagesOnly", "true"),
    )

    assert rs["url"].endswith("/rendered?quality=80&annotation=patient&viewport=9,9")
    assert uri["url"].endswith("&columns=9&annotation=patient&rows=9")
    assert viewer["url"].endswith("studyUID=1.2&keyImagesOnly=true")


@pytest.mark.parametrize(
    ("pairs", "parameter"),
    [
        ([("colour", "red")], "colour"),
        ([("type", "dicom-stow-rs")], "type"),
        ([("type", "dicom-wado-rs,ihe-iid")], "type"),
        ([("resource", "bulk")], "resource"),
        ([("resource", "dicom"), ("resource", "dicom")], "resource"),
        ([("redirect", "yes")], "redirect"),
        ([("viewport", "9,9")], "viewport"),
        ([("resource", "rendered"), ("viewport", "9")], "viewport"),
        ([("resource", "rendered"), ("viewport", "9,9"), ("viewport", "9,9")], "viewport"),
        ([("resource", "thumbnail"), ("viewport", "9,9,0,0,1,1")], "viewport"),
        ([("resource", "rendered"), ("type", "dicom-wado-rs"), ("rows", "1")], "rows"),
        ([("type", "dicom-wado-rs"), ("diagnosticQuality", "true")], "diagnosticQuality"),
        ([("Type", "ihe-iid")], "Type"),
        ([("series", "1.2")], "series"),
        ([("study", "1.2")], "study"),
        ([("requestType", "WADO")], "requestType"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(
    pairs: list[tuple[str, str]], parameter: str
) -> None:
    with pytest.raises(BadRequest) as refused:
        resolution.question(pairs)

    assert refused.value.parameter == parameter


@pytest.mark.parametrize(
    ("pairs", "parameter"),
    [
        ([("instance", "1.2")], "series"),
        ([("series", "x")], "series"),
        ([("series", "1"), ("instance", "../1")], "instance"),
        ([("frames", "0")], "frames"),
        ([("frames", "1,,2")], "frames"),
        ([("frames", "1"), ("frames", "2")], "frames"),
        ([("study", "1/2")], "study"),
        ([("redirect", "true")], "redirect"),
    ],
)
def test_a_target_in_the_query_of_a_body_is_checked(
    pairs: list[tuple[str, str]], parameter: str
) -> None:
    with pytest.raises(BadRequest) as refused:
        resolution.question(pairs, is_posted=True)

    assert refused.value.parameter == parameter


@pytest.mark.parametrize(
    "target",
    [
        Target(study_uid="1.2", series_uid="1.9"),
        Target(study_uid="1.2", series_uid="1.2.1", instance_uid="1.9"),
        Target(study_uid="1.2", series_uid="1.2.1", instance_uid="1.2.1.1", frames=(1, 4)),
        Target(study_uid="1.2", series_uid="1.2.1", instance_uid="1.2.1.2", frames=(2,)),
    ],
)
def test_what_the_study_does_not_hold_is_not_found(target: Target) -> None:
    with pytest.raises(NotFound):
        resolution.check_target(LOADED, target)
    with pytest.raises(Unavailable):
        resolution.check_target(Loaded(study=LOADED.study, silent=("south",)), target)


def test_a_redirect_leads_to_the_target_and_never_to_a_part_of_it() -> None:
    w = Endpoint(id="W", address="https://a/rs", connection_types=("dicom-wado-rs",))
    asked = resolution.question([("type", "dicom-wado-rs")])

    whole = resolution.of_posted(posted(w), asked, NOW)
    part = resolution.of_posted(posted(**{"1.2.1": (w,)}), asked, NOW)

    assert resolution.location(whole) == "https://a/rs/studies/1.2"
    assert part[1].url is not None
    with pytest.raises(NotFound):
        resolution.location(part)


def test_alternatives_have_a_url_only_where_they_may_be_used() -> None:
    w = [
        Endpoint(
            id=f"W{n}", address=f"https://a{n}/rs", connection_types=("dicom-wado-rs",), status=s
        )
        for n, s in enumerate(("suspended", "active", "active"))
    ]

    found = of_posted(posted(*w), ("type", "dicom-wado-rs"), ("series", "1.2.1"))[0]

    assert found["endpoint"]["id"] == "W1"
    assert [(a["endpoint"]["id"], a["url"]) for a in found["alternatives"]] == [
        ("W0", None),
        ("W2", "https://a2/rs/studies/1.2/series/1.2.1"),
    ]
    assert "suspended" in found["alternatives"][0]["reason"]


@pytest.mark.parametrize(
    ("address", "types"),
    [
        ("https://v/?studyUID=1.2&x=y", ("ihe-iid",)),
        ("https://v/launch/1.2", ("ihe-iid",)),
        ("https://v/open?token=abc", ("ihe-iid", "web-viewer")),
    ],
)
def test_a_complete_viewer_address_gets_nothing_appended(
    address: str, types: tuple[str, ...]
) -> None:
    what = posted(Endpoint(id="I", address=address, connection_types=types))

    assert of_posted(what, ("type", "ihe-iid"))[0]["url"] == address


def test_a_longer_uid_in_an_address_is_not_the_study() -> None:
    what = posted(Endpoint(id="I", address="https://v/1.2.3/x", connection_types=("ihe-iid",)))

    assert of_posted(what, ("type", "ihe-iid"))[0]["url"] == (
        "https://v/1.2.3/x?requestType=STUDY&studyUID=1.2"
    )


def test_odd_addresses_are_mended_and_said() -> None:
    w = Endpoint(id="W", address="https://a/rs/studies/", connection_types=("dicom-wado-rs",))

    found = of_posted(posted(w), ("type", "dicom-wado-rs"), ("series", "1.2.1"))[0]

    assert found["url"] == "https://a/rs/studies/1.2/series/1.2.1"
    assert found["warnings"]


def test_a_series_that_a_body_does_not_list_uses_the_study_s_and_is_said() -> None:
    what = posted(Endpoint(id="W", address="https://a/rs", connection_types=("dicom-wado-rs",)))
    asked = resolution.question([("series", "1.9")], is_posted=True)

    assert resolution.of_posted(what, asked, NOW)[0].url == "https://a/rs/studies/1.2/series/1.9"
    assert resolution.posted_warnings(what, asked)


def test_an_instance_that_a_body_does_not_list_is_said() -> None:
    asked = resolution.question([("series", "1.2.1"), ("instance", "1.2.1.9")], is_posted=True)

    assert resolution.posted_warnings(posted(), asked)


def test_frames_without_an_instance_have_no_url() -> None:
    w = Endpoint(id="W", address="https://a/rs", connection_types=("dicom-wado-rs",))

    found = of_posted(posted(w), ("type", "dicom-wado-rs"), ("frames", "1"))[0]

    assert found["url"] is None
    assert found["warnings"]


addresses = st.sampled_from(
    ["https://a/rs", "https://a/rs/studies", "https://a/x?y=1", "javascript:x", "", None, "ftp://x"]
) | st.text(max_size=20)
codes = st.lists(
    st.sampled_from([*(kind.value for kind in ConnectionType), "web-viewer", "x|y"]), max_size=3
).map(tuple)
endpoints = st.lists(
    st.builds(Endpoint, id=st.text(max_size=3), address=addresses, connection_types=codes),
    max_size=3,
).map(tuple)


@given(
    at_study=endpoints,
    at_series=endpoints,
    resource=st.sampled_from(["dicom", "metadata", "rendered", "thumbnail"]),
)
def test_a_url_is_always_one_of_the_web(
    at_study: tuple[Endpoint, ...], at_series: tuple[Endpoint, ...], resource: str
) -> None:
    what = posted(*at_study, **{"1.2.1": at_series})

    for one in of_posted(what, ("resource", resource)):
        for url in (one["url"], *(a["url"] for a in one["alternatives"])):
            assert url is None or url.lower().startswith(("https://", "http://"))
        assert one["url"] is not None or one["warnings"] or one["endpoint"] is None


def test_one_s_own_study_resolves_alike_when_it_is_posted() -> None:
    document = {
        "resourceType": "ImagingStudy",
        "identifier": [{"system": "urn:dicom:uid", "value": "urn:oid:1.2"}],
        "endpoint": [{"reference": f"Endpoint/gateway-{kind.value}"} for kind in ConnectionType],
        "series": [{"uid": "1.2.1"}, {"uid": "1.2.2"}],
    }
    own = rule.published(SETTINGS)

    read = foreign.read(document, own=own)

    assert of_posted(read) == answered(Target(study_uid="1.2"))
