from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.adapters.origin_client import OriginClient
from gateway.adapters.token_keys import (
    AGAIN_SECONDS,
    FILE_SECONDS,
    FRESH_SECONDS,
    LONGEST_SECONDS,
    TokenKeys,
)
from gateway.errors import Unauthorized, Unavailable
from tests.assembled import Clock
from tests.issuer import issuer, jwks


def without(kid: str) -> dict[str, Any]:
    return {"keys": [one for one in jwks()["keys"] if one["kid"] != kid]}


async def test_new_keys_are_found_once_they_may_be_asked_for() -> None:
    clock = Clock()
    async with issuer() as authority:
        authority.listed = without("e")
        keys = TokenKeys(OriginClient("issuer", f"{authority.url}/jwks"), clock)
        await keys.key("r", "RS256")
        authority.listed = jwks()
        with pytest.raises(Unauthorized):
            await keys.key("e", "ES256")
        clock.now += AGAIN_SECONDS
        assert (await keys.key("e", "ES256")).key_id == "e"
        await keys.close()


async def test_a_file_counts_a_second_after_it_changed(tmp_path: Path) -> None:
    file, clock = tmp_path / "jwks.json", Clock()
    file.write_text(json.dumps(without("e")))
    keys = TokenKeys(file, clock)
    await keys.key("r", "RS256")
    is_unchanged = keys.unchanged()
    file.write_text(json.dumps(without("r")))
    assert is_unchanged()
    clock.now += FILE_SECONDS
    assert not is_unchanged()
    with pytest.raises(Unauthorized):
        await keys.key("r", "RS256")
    assert (await keys.key("e", "ES256")).key_id == "e"
    assert not is_unchanged()


async def test_a_file_that_is_half_written_changes_nothing(tmp_path: Path) -> None:
    file, clock = tmp_path / "jwks.json", Clock()
    file.write_text(json.dumps(jwks()))
    keys = TokenKeys(file, clock)
    await keys.key("r", "RS256")
    file.write_text(json.dumps(jwks())[:200])
    clock.now += FILE_SECONDS
    await keys.key("r", "RS256")
    file.write_text(json.dumps(without("r")))
    clock.now += FILE_SECONDS
    await keys.key("e", "ES256")
    await keys.close()
    with pytest.raises(Unauthorized):
        await keys.key("r", "RS256")


async def test_a_key_that_was_removed_is_good_for_a_minute_at_the_most() -> None:
    clock = Clock()
    async with issuer() as authority:
        keys = TokenKeys(OriginClient("issuer", f"{authority.url}/jwks"), clock)
        await keys.key("r", "RS256")
        is_unchanged = keys.unchanged()
        authority.listed = without("r")
        clock.now += FRESH_SECONDS - 1
        await keys.key("r", "RS256")
        assert is_unchanged()
        clock.now += 1
        assert not is_unchanged()
        found = await asyncio.gather(
            *(keys.key("r", "RS256") for _ in range(20)), return_exceptions=True
        )
        assert {type(one) for one in found} == {Unauthorized}
        assert authority.asked == ["keys", "keys"]
        await keys.close()


async def test_the_same_keys_are_not_sent_again() -> None:
    clock = Clock()
    async with issuer() as authority:
        authority.etag = '"1"'
        keys = TokenKeys(OriginClient("issuer", f"{authority.url}/jwks"), clock)
        await keys.key("r", "RS256")
        is_unchanged = keys.unchanged()
        for _ in range(2):
            clock.now += FRESH_SECONDS
            await keys.key("r", "RS256")
            assert is_unchanged()
        authority.etag, authority.listed = '"2"', without("r")
        clock.now += FRESH_SECONDS
        with pytest.raises(Unauthorized):
            await keys.key("r", "RS256")
        assert authority.named == ["", '"1"', '"1"', '"1"']
        await keys.close()


async def test_known_keys_outlive_an_issuer_that_is_away_for_a_day() -> None:
    clock = Clock()
    async with issuer() as authority:
        keys = TokenKeys(OriginClient("issuer", f"{authority.url}/jwks"), clock)
        await keys.key("r", "RS256")
        is_unchanged = keys.unchanged()
        authority.is_broken = True
        clock.now += FRESH_SECONDS
        for _ in range(3):
            await keys.key("r", "RS256")
            assert is_unchanged()
        assert authority.asked == ["keys", "keys"]
        clock.now += LONGEST_SECONDS
        assert not is_unchanged()
        with pytest.raises(Unavailable):
            await keys.key("r", "RS256")
        authority.is_broken = False
        clock.now += AGAIN_SECONDS
        with pytest.raises(Unauthorized):
            await keys.key("zz", "RS256")
        await keys.key("r", "RS256")
        await keys.close()


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"keys": 5}', '{"keys": []}', '{"keys": [5]}', '{"keys": [{"kid": 1}]}'],
)
async def test_what_is_no_key_set_gives_no_keys(tmp_path: Path, text: str) -> None:
    file = tmp_path / "jwks.json"
    file.write_text(text)
    with pytest.raises(Unavailable):
        await TokenKeys(file).key("r", "RS256")


async def test_a_key_for_another_algorithm_is_none(tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [{**jwks()["keys"][0], "alg": "RS256"}]}))
    keys = TokenKeys(file)
    assert (await keys.key(None, "RS256")).key_type == "RSA"
    for algorithm in ("RS512", "PS256", "ES256", "EdDSA"):
        with pytest.raises(Unauthorized):
            await keys.key("r", algorithm)
