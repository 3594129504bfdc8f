from __future__ import annotations

from typing import Any

import pytest

from gateway.config import Issuer, Settings
from gateway.errors import Unauthorized
from gateway.rules import tokens

SETTINGS = Settings.model_validate({"policies": {"hie": {}}, "consumers": {"a": {"policy": "hie"}}})


@pytest.mark.parametrize(
    ("said", "client"),
    [
        ({"client_id": "c", "azp": "z", "sub": "s"}, "c"),
        ({"azp": "z", "sub": "s"}, "z"),
        ({"sub": "s"}, "s"),
        ({"client_id": ["c"], "sub": "s"}, "s"),
        ({"client_id": "", "sub": "s"}, "s"),
    ],
)
def test_the_client_is_who_it_says(said: dict[str, Any], client: str) -> None:
    assert tokens.claims(said).client == client


def test_nobody_named_is_nobody() -> None:
    with pytest.raises(Unauthorized):
        tokens.claims({"sub": 7})


@pytest.mark.parametrize(
    ("scope", "kept"), [("a b", "a b"), (["a", "b", 1], "a b"), (7, None), ({"a": 1}, None)]
)
def test_scopes_come_as_text_or_list(scope: object, kept: str | None) -> None:
    assert tokens.claims({"sub": "s", "scope": scope}).scope == kept
    assert tokens.claims({"sub": "s", "scp": scope}).scope == kept


def test_scopes_can_be_left_to_the_policy() -> None:
    said = tokens.claims({"client_id": "a", "scope": "openid"})

    def of(**more: bool) -> tuple[object, object]:
        issuer = Issuer.model_validate({"issuer": "i", **more})
        found = tokens.consumer(said, issuer, SETTINGS, ())
        return found.scopes, found.patients

    assert of() == ((), ())
    assert of(ignore_scopes=True) == (None, None)


@pytest.mark.parametrize(
    ("header", "is_plain"),
    [
        ({"alg": "RS256"}, True),
        ({"alg": "ES512", "typ": "JWT"}, True),
        ({"alg": "EdDSA", "typ": "application/at+jwt"}, True),
        ({"alg": "HS256"}, False),
        ({"alg": "none"}, False),
        ({"alg": ["RS256"]}, False),
        ({}, False),
        ({"alg": "RS256", "crit": []}, False),
        ({"alg": "RS256", "typ": 5}, False),
        ({"alg": "RS256", "typ": "dpop+jwt"}, False),
    ],
)
def test_only_plain_signatures_are_taken(header: dict[str, Any], *, is_plain: bool) -> None:
    assert tokens.is_plain(header) is is_plain
