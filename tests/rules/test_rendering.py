from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import BadRequest, NotAcceptable
from gateway.model import Instance
from gateway.rules import media, rendering
from gateway.rules.rendering import LARGEST_SIDE, Rendering


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"annotation": "patient"}, "annotation"),
        ({"iccprofile": "yes"}, "iccprofile"),
    ],
)
def test_what_is_not_offered_is_refused_by_name(parameters: dict[str, str], named: str) -> None:
    with pytest.raises(BadRequest) as raised:
        rendering.by_wado_rs(parameters, "image/png")
    assert raised.value.parameter == named


def test_rendering_parameters_are_understood() -> None:
    given = {"viewport": "10,20", "window": "-5.5,100,LINEAR", "quality": "60", "iccprofile": "no"}
    assert rendering.by_wado_rs(given, "image/jpeg") == Rendering(
        media_type="image/jpeg", viewport=(10, 20), window=(-5.5, 100.0, "LINEAR"), quality=60
    )


@pytest.mark.parametrize(
    ("viewport", "source"),
    [
        ("10,20,1,2,3,4", (1.0, 2.0, 3.0, 4.0)),
        ("10,20,,,-3,4.5", (0.0, 0.0, -3.0, 4.5)),
        ("10,20,5,,,", (5.0, 0.0, None, None)),
        ("10,20,,,,", None),
    ],
)
def test_region_of_the_source_has_its_defaults(
    viewport: str, source: tuple[float | None, ...] | None
) -> None:
    assert rendering.by_wado_rs({"viewport": viewport}, "image/png").source == source


@pytest.mark.parametrize("name", ["linear", "linear-exact", "sigmoid"])
def test_functions_of_a_window_are_those_of_the_attribute(name: str) -> None:
    found = rendering.by_wado_rs({"window": f"1,2,{name}"}, "image/png").window
    assert found == (1.0, 2.0, name.upper().replace("-", "_"))


def test_wado_uri_parameters_mean_the_same() -> None:
    given = {"rows": "20", "windowCenter": "-5.5", "windowWidth": "100", "imageQuality": "60"}
    assert rendering.by_wado_uri(given, "image/jpeg") == Rendering(
        media_type="image/jpeg",
        viewport=(LARGEST_SIDE, 20),
        window=(-5.5, 100.0, "LINEAR"),
        quality=60,
    )
    assert rendering.by_wado_uri({}, "image/png") == Rendering(media_type="image/png")


def test_a_region_is_in_parts_of_the_image() -> None:
    found = rendering.by_wado_uri({"region": "0,0.25,.5,1"}, "image/png")
    assert found.region == (0.0, 0.25, 0.5, 1.0)


@pytest.mark.parametrize("name", ["anonymize", "imageAnnotation", "annotation", "presentationUID"])
def test_wado_uri_parameter_that_is_not_offered_is_refused_by_name(name: str) -> None:
    for offered in ([], [frozenset[str]()]):
        with pytest.raises(BadRequest) as raised:
            rendering.check_offered({"rows": "1", name: "x"}, offered)
        assert raised.value.parameter == name


def test_what_some_archive_does_is_offered_and_what_none_does_is_named() -> None:
    offered = [frozenset({"annotation"}), frozenset({"annotation", "presentation"})]
    rendering.check_offered({"annotation": "patient", "presentationUID": "1"}, offered)
    rendering.check_offered({"rows": "1"}, [])
    with pytest.raises(BadRequest) as raised:
        rendering.check_offered({"annotation": "patient", "anonymize": "yes"}, offered)
    assert raised.value.parameter == "anonymize"


@pytest.mark.parametrize(
    ("sop_class", "kinds"),
    [
        ("1.2.840.10008.5.1.4.1.1.104.1", ("application/pdf",)),
        ("1.2.840.10008.5.1.4.1.1.88.33", ("text/html", "text/plain")),
        ("1.2.840.10008.5.1.4.1.1.77.1.4.1", ("video/mp4", "video/mpeg")),
        ("1.2.840.10008.5.1.4.1.1.104.10", ()),
        ("1.2.840.10008.5.1.4.1.1.2", ()),
        (None, ()),
    ],
)
def test_what_is_no_image_is_rendered_as_what_it_holds(
    sop_class: str | None, kinds: tuple[str, ...]
) -> None:
    assert rendering.documents(sop_class) == kinds


@pytest.mark.parametrize(
    ("accept", "instance", "is_offered"),
    [
        ("video/mp4", {}, True),
        ("video/*", {"number_of_frames": 30}, True),
        ("video/mp4, image/jpeg;q=0.5", {}, True),
        ("image/jpeg, video/mp4;q=0.5", {}, False),
        ("*/*", {}, False),
        ("image/*, */*;q=0.8", {}, False),
        ("video/mp4", {"number_of_frames": 1}, False),
        ("video/mp4", {"sop_class_uid": "1.2.840.10008.5.1.4.1.1.88.11"}, False),
    ],
)
def test_image_class_may_hold_a_video_where_one_is_asked_for(
    accept: str, instance: dict[str, Any], *, is_offered: bool
) -> None:
    found = Instance(**{"uid": "1.2", "sop_class_uid": "1.2.840.10008.5.1.4.1.1.3.1", **instance})
    assert bool(rendering.videos(found, media.accepted((accept,)))) == is_offered


def test_what_nothing_is_rendered_as_is_refused_before_anyone_is_asked() -> None:
    rendering.check_acceptable(media.accepted(("text/html, image/avif",)))
    rendering.check_acceptable(media.accepted(("image/gif",)))
    with pytest.raises(NotAcceptable):
        rendering.check_acceptable(media.accepted(("audio/mpeg, image/avif",)))
