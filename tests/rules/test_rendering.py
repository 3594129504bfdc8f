from __future__ import annotations

import pytest

from gateway.errors import BadRequest
from gateway.rules import rendering
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


@pytest.mark.parametrize("name", ["anonymize", "region", "annotation", "presentationUID"])
def test_wado_uri_parameter_that_is_not_offered_is_refused_by_name(name: str) -> None:
    with pytest.raises(BadRequest) as raised:
        rendering.by_wado_uri({name: "x"}, "image/png")
    assert raised.value.parameter == name
