"""Links that stand for a whole search and show nothing of it."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest, Gone
from gateway.rules import fhir_links
from gateway.rules.fhir_links import LIFE_SECONDS

SECRET, BOUND, NOW = "a secret of the test", "r4 me", 1_700_000_000
NONCE = bytes(range(fhir_links.NONCE_BYTES))
ASKED = [("patient.name", "Yamada"), ("_count", "2")]


def sealed(pairs: list[tuple[str, str]] = ASKED, now: int = NOW) -> list[tuple[str, str]]:
    return list(fhir_links.sealed(SECRET, BOUND, pairs, now, NONCE))


def opened(pairs: list[tuple[str, str]], now: int = NOW, bound_to: str = BOUND) -> object:
    return fhir_links.opened(SECRET, bound_to, pairs, now)


@given(pairs=st.lists(st.tuples(st.text(), st.text())), nonce=st.binary(min_size=12, max_size=12))
def test_link_stands_for_the_whole_search(pairs: list[tuple[str, str]], nonce: bytes) -> None:
    link = list(fhir_links.sealed(SECRET, BOUND, pairs, NOW, nonce))
    assert opened(link) == pairs


def test_link_shows_nothing_of_what_was_asked_for() -> None:
    [(name, token)] = sealed()
    assert name == "_page"
    raw = base64.urlsafe_b64decode(token.removeprefix("e.") + "===")
    assert b"amad" not in raw
    assert "amad" not in token


def test_link_is_good_for_a_day() -> None:
    assert opened(sealed(), NOW + LIFE_SECONDS) == ASKED
    with pytest.raises(Gone):
        opened(sealed(), NOW + LIFE_SECONDS + 1)


def test_link_is_of_one_version_and_consumer_and_one_secret() -> None:
    with pytest.raises(BadRequest):
        opened(sealed(), bound_to="r5 me")
    with pytest.raises(BadRequest):
        fhir_links.opened("another secret", BOUND, sealed(), NOW)


@given(at=st.integers(2, 80), other=st.characters(codec="ascii"))
def test_link_that_was_touched_is_refused(at: int, other: str) -> None:
    [(_, token)] = sealed()
    touched = token[:at] + other + token[at + 1 :]
    if not touched.startswith("e.") or _meaning(touched) == _meaning(token):
        return
    with pytest.raises(BadRequest):
        opened([("_page", touched)])


def _meaning(token: str) -> bytes | None:
    text = token.removeprefix("e.")
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return None


@given(text=st.text())
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        opened([("_page", "e." + text)])


def test_link_stands_alone_but_for_the_format() -> None:
    assert opened([*sealed(), ("_pretty", "true")]) == ASKED
    for more in (("modality", "CT"), ("_count", "5"), ("_page", "x")):
        with pytest.raises(BadRequest):
            opened([*sealed(), more])


def test_other_searches_are_left_as_they_are() -> None:
    assert opened(ASKED) is None
    assert opened([*ASKED, ("_page", "plain")]) is None
