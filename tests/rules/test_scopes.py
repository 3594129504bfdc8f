from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Action, Consumer
from gateway.rules import scopes


@pytest.mark.parametrize(
    ("text", "lets_read", "lets_search"),
    [
        ("patient/ImagingStudy.read", True, True),
        ("user/*.*", True, True),
        ("system/ImagingStudy.rs", True, True),
        ("patient/ImagingStudy.r", True, False),
        ("patient/ImagingStudy.s", False, True),
        ("system/*.cruds", True, True),
        ("patient/ImagingStudy.write", False, False),
        ("patient/Observation.read", False, False),
        ("patient/ImagingStudy.sr", False, False),
        ("patient/ImagingStudy.", False, False),
        ("patient/ImagingStudy.rs?modality=CT", False, False),
        ("Patient/ImagingStudy.rs", False, False),
        ("openid profile launch/patient offline_access", False, False),
        ("", False, False),
        ("openid patient/ImagingStudy.rs patient/ImagingStudy.rs", True, True),
    ],
)
def test_scopes_let_do_what_they_say(text: str, *, lets_read: bool, lets_search: bool) -> None:
    consumer = Consumer(id="x", scopes=scopes.parse(text))
    assert scopes.lets(consumer, "ImagingStudy", Action.READ) is lets_read
    assert scopes.lets(consumer, "ImagingStudy", Action.SEARCH) is lets_search


def test_who_was_given_no_scopes_is_not_held_by_them() -> None:
    assert scopes.lets(Consumer(id="x"), "ImagingStudy", Action.READ)


@pytest.mark.parametrize(
    ("text", "is_bound"),
    [
        ("patient/*.rs", True),
        ("patient/*.rs user/Patient.rs", True),
        ("patient/*.rs user/ImagingStudy.s", True),
        ("patient/*.rs user/ImagingStudy.rs", False),
        ("system/*.read", False),
        ("", True),
    ],
)
def test_imaging_for_the_patient_alone_binds(text: str, *, is_bound: bool) -> None:
    assert scopes.is_bound_to_patient(scopes.parse(text)) is is_bound


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("patient/*.rs", {"patient/*"}),
        ("patient/*.rs user/Patient.rs", {"patient/*", "user/Patient"}),
        ("user/ImagingStudy.rs patient/Patient.rs", {"user/ImagingStudy"}),
        ("system/ImagingStudy.r patient/ImagingStudy.s", {"system/ImagingStudy"}),
    ],
)
def test_what_is_granted_of_one_patient_is_not_had_of_everybody(
    text: str, counts: set[str]
) -> None:
    found = scopes.effective(scopes.parse(text))
    assert {f"{s.context}/{s.resource}" for s in found} == counts
    assert scopes.is_bound_to_patient(found) is scopes.is_bound_to_patient(scopes.parse(text))


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    for scope in scopes.parse(text):
        assert scope.actions


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("system/*.r", ("ImagingStudy",)),
        ("system/*.s", scopes.SERVED),
        ("system/*.rs", ()),
        ("system/Patient.r system/Endpoint.r", ("ImagingStudy",)),
    ],
)
def test_studies_are_brought_to_those_who_may_find_them(
    text: str, expected: tuple[str, ...]
) -> None:
    assert scopes.not_brought(Consumer(id="app", scopes=scopes.parse(text))) == expected
