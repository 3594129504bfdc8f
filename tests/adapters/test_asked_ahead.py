"""Questions that are sent before anybody waits for their answers."""

from __future__ import annotations

import asyncio
import time

import pytest
from pydantic import SecretStr

from gateway.adapters.asked_ahead import AHEAD, Ahead, Question
from gateway.adapters.http_client import ArchiveClient
from gateway.adapters.http_requests import request
from gateway.adapters.http_response import SMALL_BYTES
from gateway.config_servers import BasicAuth, BearerAuth, OAuth2Auth
from gateway.errors import ArchiveTimeout, ArchiveUnreachable, GatewayError, NotFound
from tests.adapters.clients import client
from tests.fault_archive import Answer, FaultArchive

BODY = b"x" * 1000


async def warm(one: ArchiveClient, archive: FaultArchive) -> Question:
    """A question that can be asked ahead, since a connection is there."""
    archive.on("/a/0", Answer(body=b""))
    async with one.get(archive.url, ["a", "0"], accept="x/y", is_stream=True) as response:
        await response.small()
    return Question(request(archive.url)._replace(target="/a/"), "x/y")


async def done(one: ArchiveClient, question: Question, last: str = "1") -> Ahead:
    """What was asked ahead, once it is done."""
    over = asyncio.get_running_loop().create_future()
    assert one.asker.ahead(question, last, over.set_result) is not None
    async with asyncio.timeout(5):
        ahead: Ahead = await over
    return ahead


def body_of(ahead: Ahead) -> bytes | None:
    """The body of its answer, if it is there."""
    found = ahead.body()
    return None if found is None else found[1]


async def opened(one: ArchiveClient, archive: FaultArchive, ahead: Ahead, last: str = "1") -> bytes:
    """The body of the same question as it is asked in the ordinary way."""
    token = AHEAD.set(ahead)
    try:
        response = await one.opened(archive.url, ["a", last], accept="x/y", is_stream=True)
        async with response:
            return b"".join([chunk async for chunk in response])
    finally:
        AHEAD.reset(token)
        ahead.end()


@pytest.mark.parametrize("auth", [BasicAuth, BearerAuth], ids=["basic", "bearer"])
async def test_a_small_answer_is_there_whole(
    fault_archive: FaultArchive, auth: type[BasicAuth | BearerAuth]
) -> None:
    secret = {"password": SecretStr("b"), "token": SecretStr("c"), "username": "a"}
    kind = auth.model_fields["type"].annotation.__args__[0]  # type: ignore[union-attr] # Literal
    wanted = {n: v for n, v in secret.items() if n in auth.model_fields}
    one = client(auth=auth.model_validate({"type": kind, **wanted}), max_concurrency=1)
    question = await warm(one, fault_archive)
    fault_archive.on("/a/1", Answer(body=BODY, content_type="x/y", chunk_bytes=100))
    for _ in range(3):
        ahead = await done(one, question)
        assert ahead.body() == ("x/y", BODY, True)
        ahead.end()
        ahead.end()
    first, *others = (seen.headers for seen in fault_archive.requests)
    assert others == [first] * 3
    assert fault_archive.connections == 1
    await one.close()


async def test_nothing_is_asked_that_would_have_to_wait(fault_archive: FaultArchive) -> None:
    one = client(max_concurrency=1)
    unknown = Question(request(fault_archive.url), "x/y")
    assert one.asker.ahead(unknown, "", lambda _: None) is None
    question = await warm(one, fault_archive)
    fault_archive.on("/a/1", Answer(body=BODY))
    first = await done(one, question)
    assert one.asker.ahead(question, "1", lambda _: None) is None
    first.end()
    assert body_of(await done(one, question)) == BODY
    await one.close()


async def test_a_token_that_is_not_there_is_waited_for(fault_archive: FaultArchive) -> None:
    auth = OAuth2Auth(
        type="oauth2", token_url="http://a/", client_id="a", client_secret=SecretStr("b")
    )
    one = client(auth=auth)
    assert one.asker.ahead(Question(request("http://a/"), "x"), "1", lambda _: None) is None
    await one.close()


@pytest.mark.parametrize(
    "answer",
    [
        Answer(body=BODY, content_type="x/y"),
        Answer(body=b"y" * SMALL_BYTES * 20),
        Answer(body=b"y" * SMALL_BYTES * 20, framing="chunked"),
        Answer(body=b"y" * (SMALL_BYTES + 1), framing="close"),
    ],
    ids=["small", "large", "large in chunks", "large to the end"],
)
async def test_who_asks_the_same_takes_over_what_came(
    fault_archive: FaultArchive, answer: Answer
) -> None:
    one = client(max_concurrency=1, queue_seconds=0.2)
    question = await warm(one, fault_archive)
    fault_archive.on("/a/1", answer)
    for times in (1, 2):
        ahead = await done(one, question)
        if len(answer.body) > SMALL_BYTES:
            assert ahead.body() is None
        assert await opened(one, fault_archive, ahead) == answer.body
        asked = [seen.path for seen in fault_archive.requests]
        assert asked.count("/a/1") == times
        await warm(one, fault_archive)
    await one.close()


async def test_who_asks_something_else_asks_it_himself(fault_archive: FaultArchive) -> None:
    one = client()
    question = await warm(one, fault_archive)
    fault_archive.on("/a/*", Answer(body=BODY))
    ahead = await done(one, question)
    assert await opened(one, fault_archive, ahead, "2") == BODY
    assert [seen.path for seen in fault_archive.requests] == ["/a/0", "/a/1", "/a/2"]
    assert ahead.is_over
    await one.close()


@pytest.mark.parametrize(
    ("answer", "error", "times"),
    [
        (Answer(status=404), NotFound, 1),
        (Answer(body=BODY, cut_after=10), ArchiveUnreachable, 1),
        (Answer(stall=True), ArchiveTimeout, 1),
        (Answer(body=BODY, stall_after=10), ArchiveTimeout, 1),
    ],
    ids=["absent", "cut", "late", "stalled"],
)
async def test_what_went_wrong_is_told_to_who_takes_it_over(
    fault_archive: FaultArchive, answer: Answer, error: type[Exception], times: int
) -> None:
    one = client(timeout_seconds=0.2, max_concurrency=1, queue_seconds=0.2)
    question = await warm(one, fault_archive)
    fault_archive.on("/a/1", answer)
    ahead = await done(one, question)
    assert ahead.body() is None
    with pytest.raises(error):
        await opened(one, fault_archive, ahead)
    assert [seen.path for seen in fault_archive.requests].count("/a/1") == times
    await warm(one, fault_archive)
    await one.close()


async def test_a_connection_that_had_ended_is_asked_for_anew(fault_archive: FaultArchive) -> None:
    one = client()
    question = await warm(one, fault_archive)
    fault_archive.on("/a/1", Answer(raw=b""), Answer(body=BODY))
    ahead = await done(one, question)
    assert await opened(one, fault_archive, ahead) == BODY
    assert fault_archive.connections == 2
    await one.close()


async def test_an_error_is_told_with_its_head(fault_archive: FaultArchive) -> None:
    one = client()
    question = await warm(one, fault_archive)
    fault_archive.on("/a/1", Answer(status=404, body=BODY, stall_after=10))
    (await done(one, question)).end()
    await one.close()


async def test_the_first_byte_is_measured_and_not_the_last(fault_archive: FaultArchive) -> None:
    one = client()
    question = await warm(one, fault_archive)
    before = _first_byte_seconds(one)
    fault_archive.on("/a/1", Answer(body=BODY, stall_after=10))
    over = asyncio.get_running_loop().create_future()
    ahead = one.asker.ahead(question, "1", over.set_result)
    assert ahead is not None
    async with asyncio.timeout(5):
        while not ahead._answer.status:  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0)
    came = time.monotonic() - ahead.started
    fault_archive.release()
    await over
    ahead.end()
    assert 0 < _first_byte_seconds(one) - before <= came
    await one.close()


def _first_byte_seconds(one: ArchiveClient) -> float:
    lines = one.asker.telemetry.exposition()[0].decode().splitlines()
    name = "gateway_archive_first_byte_seconds_sum"
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


async def test_one_who_gave_it_up_is_told_nothing(fault_archive: FaultArchive) -> None:
    one = client()
    question = await warm(one, fault_archive)
    fault_archive.on("/a/1", Answer(body=BODY))
    told: list[Ahead] = []
    ahead = one.asker.ahead(question, "1", told.append)
    assert ahead is not None
    ahead.give_up()
    async with asyncio.timeout(5):
        while ahead.body() is None:  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0)
    assert told == []
    assert await opened(one, fault_archive, ahead) == BODY
    await one.close()


async def test_credentials_that_cannot_be_told_cost_no_turn(
    fault_archive: FaultArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = client(max_concurrency=1)
    question = await warm(one, fault_archive)
    fault_archive.on("/a/1", Answer(body=BODY))
    with monkeypatch.context() as patched:
        patched.setattr(one._credentials, "_fixed", "Bearer a\nb")
        assert one.asker.ahead(question, "1", lambda _: None) is None
    assert body_of(await done(one, question)) == BODY
    await one.close()


async def test_what_fails_before_the_answer_is_looked_at_lets_the_archive_go(
    fault_archive: FaultArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = client(max_concurrency=1)
    question = await warm(one, fault_archive)
    fault_archive.on("/a/1", Answer(body=BODY, stall=True))
    ahead = one.asker.ahead(question, "1", lambda _: None)
    assert ahead is not None
    seen = (await fault_archive.wait_for(2))[-1]

    async def unusable() -> bool:
        raise OSError("no certificates")

    with monkeypatch.context() as patched:
        patched.setattr(one._certificates, "context", unusable)
        with pytest.raises(GatewayError):
            await opened(one, fault_archive, ahead)
    async with asyncio.timeout(2):
        await seen.ended.wait()
    assert seen.ending == "left"
    fault_archive.on("/a/1", Answer(body=BODY))
    await warm(one, fault_archive)
    await one.close()
