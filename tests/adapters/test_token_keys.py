from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.adapters.origin_client import OriginClient
from gateway.adapters.token_keys import AGAIN_SECONDS, FRESH_SECONDS, LONGEST_SECONDS, TokenKeys
from gateway.errors import Unauthorized, Unavailable
from tests.assembled import Clock
from tests.issuer import issuer, jwks


async def test_new_keys_are_found_once_they_may_be_asked_for(tmp_path: Path) -> None:
    file, clock = tmp_path / "jwks.json", Clock()
    file.write_text(json.dumps({"keys": jwks()["keys"][:1]}))
    keys = TokenKeys(file, clock)
    await keys.key("r", "RS256")
    file.write_text(json.dumps(jwks()))
    with pytest.raises(Unauthorized):
        await keys.key("e", "ES256")
    clock.now += AGAIN_SECONDS
    assert (await keys.key("e", "ES256")).key_id == "e"


async def test_known_keys_outlive_an_issuer_that_is_away_for_a_day() -> None:
    clock = Clock()
    async with issuer() as authority:
        keys = TokenKeys(OriginClient("issuer", f"{authority.url}/jwks"), clock)
        await keys.key("r", "RS256")
        authority.is_broken = True
        clock.now += FRESH_SECONDS + 1
        await keys.key("r", "RS256")
        assert authority.asked == ["keys", "keys"]
        clock.now += LONGEST_SECONDS
        with pytest.raises(Unavailable):
            await keys.key("r", "RS256")
        authority.is_broken = False
        clock.now += AGAIN_SECONDS
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
