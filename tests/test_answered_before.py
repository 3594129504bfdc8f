"""What is at hand is given again to those who may still have it, and recorded each time."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gateway import answered_before
from gateway.adapters.decisions import Decision
from gateway.adapters.token_keys import FILE_SECONDS
from gateway.answered_before import ANSWERED_BEFORE, AnsweredBefore
from gateway.config import Settings
from gateway.http_server import AUTHENTICATOR, RECORDER
from tests import issuer
from tests.assembled import Clock
from tests.repeats import KEY, Served, Step, ask, paths, replies, served, settings, settled, timed
from tests.samples import Sample

SOME = b"X-API-Key: some"
ODD = Step((b"OPTIONS /dicom-web HTTP/1.1\r\nHost: a\r\n\r\n",), (b"OPTIONS",))
"""After which nothing on the same connection is answered by its bytes."""
GIVEN = b"X-Request-Id: one-of-theirs-%d"


@pytest_asyncio.fixture
async def gateway(sample_folder: Path, tmp_path: Path) -> AsyncIterator[Served]:
    async with served(settings(sample_folder, tmp_path / "spool")) as made:
        yield made


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each answer that was at hand was given."""
    came: list[bool] = []
    again = AnsweredBefore.again

    def noting(self: AnsweredBefore, *asked: Any) -> Any:
        answer = again(self, *asked)
        came.append(answer is not None)
        return answer

    monkeypatch.setattr(AnsweredBefore, "again", noting)
    return came


@pytest.fixture
def path(samples: tuple[Sample, ...]) -> bytes:
    return paths(samples)[0]


async def test_a_request_with_an_id_of_its_own_gets_its_answer_with_that(
    gateway: Served, samples: tuple[Sample, ...], path: bytes, given: list[bool]
) -> None:
    await settled(gateway, samples)
    begun = len(await gateway.events())
    traced = b"traceparent: 00-%032x-%016x-01"
    steps = [ask(path, KEY, GIVEN % n, traced % (n, n)) for n in range(6)]
    came = await replies(gateway.quick, steps)
    assert given.count(True) >= 4
    for number, reply in enumerate(came):
        assert b"\r\nX-Request-Id: one-of-theirs-%d\r\n" % number in reply
        assert reply.replace(b"theirs-%d" % number, b"theirs-0") == came[0]
    ids = [e["entity"][0]["what"]["identifier"]["value"] for e in (await gateway.events())[begun:]]
    assert ids == [f"one-of-theirs-{n}" for n in range(6)]


async def test_callers_get_their_own_answers(
    gateway: Served, samples: tuple[Sample, ...], path: bytes, given: list[bool]
) -> None:
    await settled(gateway, samples)
    asked = [ask(path, key) for key in (KEY, SOME, b"X-API-Key: none", b"X-API-Key: nobody")] * 4
    came = await replies(gateway.quick, asked)
    assert [one.split(b" ", 2)[1] for one in came] == [b"200", b"200", b"404", b"401"] * 4
    assert [b"\r\nWarning: " in one for one in came] == [False, True, False, False] * 4
    assert True in given


@pytest.mark.parametrize(
    "field",
    [b"Connection: close", b"Expect: 100-continue", b"Upgrade: h2c", b"Content-Length: 0"],
    ids=["last", "expecting", "upgrade", "no body"],
)
async def test_unusual_requests_are_answered_in_the_ordinary_way(
    gateway: Served, path: bytes, given: list[bool], field: bytes
) -> None:
    await timed(gateway, path)
    for _ in range(4):
        assert await replies(gateway.quick, [ask(path, KEY, field)])
    assert given == ([True] * 2 if field.startswith(b"Content") else [])


async def test_another_version_of_http_is_another_request(
    gateway: Served, path: bytes, given: list[bool]
) -> None:
    await timed(gateway, path)
    await replies(gateway.quick, [ask(path, KEY)] * 3)
    old = ask(path, KEY, b"Connection: keep-alive").pieces[0].replace(b"HTTP/1.1", b"HTTP/1.0")
    (reply,) = await replies(gateway.quick, [Step((old,), (b"GET",))])
    assert b"\r\nConnection: keep-alive\r\n" in reply
    assert given == [True]


async def test_nothing_is_given_that_cannot_be_recorded(
    gateway: Served, path: bytes, given: list[bool]
) -> None:
    await timed(gateway, path)
    recorder = gateway.app[RECORDER]
    assert recorder is not None
    asked = ask(path, KEY)
    await replies(gateway.quick, [asked] * 3)
    recorder._trail.is_failing = True
    (reply,) = await replies(gateway.quick, [asked])
    assert reply.startswith(b"HTTP/1.1 503")
    assert given == [True, False, False]


async def test_one_who_is_known_no_longer_gets_nothing(
    gateway: Served, path: bytes, given: list[bool]
) -> None:
    await timed(gateway, path)
    asked = ask(path, KEY, GIVEN % 1)
    await replies(gateway.quick, [asked] * 3)
    ((key, ready),) = gateway.app[ANSWERED_BEFORE]._ready.items()
    ended = Decision(ready.decision.consumer, lambda: False)
    gateway.app[ANSWERED_BEFORE]._ready[key] = replace(ready, decision=ended)
    gateway.app[AUTHENTICATOR]._api_keys.clear()
    _, reply = await replies(gateway.quick, [ODD, asked])
    assert reply.startswith(b"HTTP/1.1 401")
    assert given == [True, False]


async def test_what_is_at_hand_stays_within_its_bound(
    gateway: Served, path: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    await timed(gateway, path)
    monkeypatch.setattr(answered_before, "MOST", 3)
    for number in range(8):
        await replies(gateway.quick, [ask(path, KEY, b"Cookie: %d" % number)] * 3)
    await replies(gateway.quick, [ask(path, KEY, b"Cookie: " + b"x" * 4096)] * 3)
    assert 0 < len(gateway.app[ANSWERED_BEFORE]._ready) <= 3
    assert all(len(str(key)) < 2000 for key in gateway.app[ANSWERED_BEFORE]._ready)


async def test_an_answer_from_another_address_is_recorded_with_that(
    gateway: Served, path: bytes, given: list[bool]
) -> None:
    await timed(gateway, path)
    await replies(gateway.quick, [ask(path, KEY)] * 3)
    (ready,) = gateway.app[ANSWERED_BEFORE]._ready.values()
    assert gateway.app[ANSWERED_BEFORE].again(ready, "another-one", b"2001:db8::1") is not None
    assert gateway.app[ANSWERED_BEFORE].again(ready, "another-one", None) is None
    *_, first, last = await gateway.events()
    networks = [a["network"]["address"] for e in (first, last) for a in e["agent"]]
    assert networks[0] == "127.0.0.1"
    assert networks[2] == "2001:db8::1"


def for_tokens(folder: Path, tmp_path: Path, **more: Any) -> Settings:
    """Settings for the tokens of an issuer whose keys are in a file, and one key."""
    (tmp_path / "jwks.json").write_text(json.dumps(issuer.jwks()))
    one = {
        "issuer": "https://issuer.example.org",
        "audience": issuer.AUDIENCE,
        "jwks_file": str(tmp_path / "jwks.json"),
        "policy": "everything",
    }
    auth = {"mode": "required", "issuers": [one], "api_keys": {"all": {"key": "all"}}}
    return settings(folder, tmp_path / "spool", auth=auth, policies={"everything": {}}, **more)


def signed(**claims: Any) -> bytes:
    made = issuer.Issuer()
    made.url = "https://issuer.example.org"
    return f"Authorization: Bearer {made.token(**claims)}".encode()


async def test_a_key_that_is_removed_ends_what_is_at_hand(
    sample_folder: Path, tmp_path: Path, path: bytes, given: list[bool]
) -> None:
    async with served(for_tokens(sample_folder, tmp_path)) as made:
        (keys,) = made.app[AUTHENTICATOR]._keys.values()
        keys._clock = clock = Clock()
        asked = ask(path, signed())
        await timed(made, path)
        await replies(made.quick, [asked] * 3)
        (tmp_path / "jwks.json").write_text(json.dumps({"keys": issuer.jwks()["keys"][1:]}))
        clock.now += FILE_SECONDS
        for one in (asked, ODD, ask(path, signed(sub="another"))):
            (reply,) = await replies(made.quick, [one])
            assert reply.startswith(b"HTTP/1.1 401") is (one is not ODD)
        assert given[0]
        assert True not in given[1:]


async def test_a_client_does_not_use_up_what_the_key_of_its_name_may_ask(
    sample_folder: Path, tmp_path: Path, path: bytes, given: list[bool]
) -> None:
    limits = {"requests_per_minute": 200}  # of which waiting for the time takes some
    async with served(for_tokens(sample_folder, tmp_path, limits=limits)) as made:
        await timed(made, path)
        came = await replies(made.quick, [ask(path, signed(client_id="all"))] * 210)
        assert came[-1].startswith(b"HTTP/1.1 429")
        assert True in given
        (reply,) = await replies(made.quick, [ask(path, KEY)])
        assert reply.startswith(b"HTTP/1.1 200")


async def test_what_is_at_hand_for_one_credential_is_not_given_for_several(
    gateway: Served, path: bytes
) -> None:
    await replies(gateway.quick, [ask(path, KEY), ask(path, SOME)] * 3)
    for more in (SOME, KEY, b"Authorization: Bearer all", b"Authorization: Basic YTpi"):
        for fields in ((KEY, more), (more, KEY)):
            (reply,) = await replies(gateway.quick, [ask(path, *fields)])
            assert reply.startswith(b"HTTP/1.1 401")
