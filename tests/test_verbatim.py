"""Requests that come again byte by byte get the bytes that they would get in the ordinary way."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import uvloop
from aiohttp import web

from gateway import verbatim
from gateway.adapters.cache_names import Group
from gateway.http_server import CATALOG, TELEMETRY
from gateway.verbatim import Connection
from tests.repeats import (
    CREDENTIALS,
    KEY,
    OUTSIDE,
    Asker,
    Served,
    Step,
    ask,
    inside,
    paths,
    replies,
    served,
    settings,
    settled,
)
from tests.samples import Sample

CONNECTIONS = 400


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each request that came alone was answered for its bytes."""
    came: list[bool] = []
    answers = Connection._has_answered

    def noting(self: Connection, data: bytes) -> bool:
        came.append(answers(self, data))
        return came[-1]

    monkeypatch.setattr(Connection, "_has_answered", noting)
    return came


@pytest_asyncio.fixture
async def gateway(sample_folder: Path, tmp_path: Path) -> AsyncIterator[Served]:
    async with served(settings(sample_folder, tmp_path / "spool")) as made:
        yield made


@pytest.mark.timeout(300)
def test_thousands_of_requests_are_answered_and_recorded_alike(
    sample_folder: Path,
    samples: tuple[Sample, ...],
    tmp_path: Path,
    log: io.StringIO,
    answered: list[bool],
) -> None:
    async def compare() -> None:
        async with served(settings(sample_folder, tmp_path / "spool")) as gateway:
            asker = Asker(1, paths(samples), CREDENTIALS)
            scripts = [asker.connection() for _ in range(CONNECTIONS)]
            await settled(gateway, samples)
            expected = await traces(gateway, gateway.plain, scripts, log)
            came = await traces(gateway, gateway.quick, scripts, log)
            for script, one, other in zip(scripts, expected.replies, came.replies, strict=True):
                assert other == one, script
            assert came.events == expected.events
            assert came.logged == expected.logged
            assert came.counted == expected.counted
            assert sum(len(one) for one in came.replies) > 2000

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(compare())
    assert sum(answered) > 250


@dataclass(frozen=True, slots=True)
class Traces:
    """What came back, and what the gateway recorded, counted and logged meanwhile."""

    replies: list[list[bytes]]
    events: list[dict[str, Any]]
    counted: dict[str, float]
    logged: list[dict[str, Any]]


async def traces(
    gateway: Served, port: int, scripts: Sequence[Sequence[Step]], log: io.StringIO
) -> Traces:
    """What asking all this at one port leaves behind, without ids and times."""
    begun, before = len(await gateway.events()), gateway.counted()
    gateway.app[TELEMETRY].close()
    at = len(log.getvalue())
    came = [await replies(port, one) for one in scripts]
    gateway.app[TELEMETRY].close()
    counted = {k: n - before.get(k, 0) for k, n in gateway.counted().items()}
    lines = [json.loads(line) for line in log.getvalue()[at:].splitlines()]
    passing = ("request_id", "timestamp", "duration_ms")
    logged = [{k: v for k, v in line.items() if k not in passing} for line in lines]
    return Traces(came, (await gateway.events())[begun:], counted, logged)


@pytest.mark.parametrize("outside", OUTSIDE, ids=["field", "body", "posted body"])
async def test_what_is_a_part_of_something_else_is_no_request(
    gateway: Served, samples: tuple[Sample, ...], answered: list[bool], outside: bytes
) -> None:
    known = ask(paths(samples)[0], KEY)
    await settled(gateway, samples)
    await replies(gateway.quick, [known] * 4)
    assert answered[-1]
    steps = [known, inside(known.pieces[0], outside)]
    came = await replies(gateway.quick, steps)
    assert came == await replies(gateway.plain, steps)
    assert came[0].startswith(b"HTTP/1.1 200")
    assert not came[1].startswith(b"HTTP/1.1 200")


async def test_what_is_behind_a_request_is_no_part_of_it(
    gateway: Served, samples: tuple[Sample, ...], answered: list[bool]
) -> None:
    known = ask(paths(samples)[0], KEY)
    await settled(gateway, samples)
    await replies(gateway.quick, [known] * 4)
    assert answered[-1]
    count = len(answered)
    more = Step((known.pieces[0] + b"traceparent: x\r\n", b"\r\n"), (b"GET", b"GET"))
    assert await replies(gateway.quick, [known, more]) == await replies(
        gateway.plain, [known, more]
    )
    assert answered[count:] == [True, False]


async def test_one_who_must_not_any_more_is_not_answered(
    sample_folder: Path, samples: tuple[Sample, ...], tmp_path: Path, answered: list[bool]
) -> None:
    limits = {"requests_per_minute": 10}
    limited = settings(sample_folder, tmp_path / "spool", limits=limits)
    async with served(limited) as gateway:
        thumbnail = next(one for one in paths(samples) if one.endswith(b"/thumbnail"))
        steps = [ask(thumbnail, KEY)] * 14
        came = await replies(gateway.quick, steps)
    statuses = [one.split(b" ", 2)[1] for one in came]
    assert statuses[:10] == [b"200"] * 10
    assert statuses[-2:] == [b"429"] * 2
    assert answered.count(True) == statuses.count(b"200") - 3
    assert answered[-2:] == [False] * 2


async def test_what_was_forgotten_is_not_answered_from(
    gateway: Served, samples: tuple[Sample, ...], answered: list[bool]
) -> None:
    asked = [ask(paths(samples)[0], KEY)] * 5
    await settled(gateway, samples)
    before = await replies(gateway.quick, asked)
    await gateway.app[CATALOG]._archives.cache.forget(Group())
    after = await replies(gateway.quick, asked[:1])
    assert answered[-2:] == [True, False]
    assert before[0].partition(b"\r\n\r\n")[2] == after[0].partition(b"\r\n\r\n")[2]


async def test_a_connection_that_is_told_to_end_answers_no_more(
    gateway: Served, samples: tuple[Sample, ...], answered: list[bool]
) -> None:
    step = ask(paths(samples)[0], KEY)
    await replies(gateway.quick, [step] * 4)
    told = ask(paths(samples)[0], KEY, b"Connection: close")
    came = await replies(gateway.quick, [step, step, told, step])
    assert [one[:12] for one in came] == [b"HTTP/1.1 200"] * 3 + [b""]
    assert b"\r\nConnection: close\r\n" in came[2]


@pytest.fixture
def early(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What comes, piece by piece, before aiohttp notes that the next answer was its last."""
    pieces: list[bytes] = []
    finish = Connection.finish_response

    async def finished(self: Connection, *given: Any) -> Any:
        found = await finish(self, *given)
        for piece in pieces:
            asyncio.get_running_loop().call_soon(self.data_received, piece)
        pieces.clear()
        return found

    monkeypatch.setattr(Connection, "finish_response", finished)
    return pieces


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_one_who_asks_again_very_soon_is_answered_in_order(
    gateway: Served,
    samples: tuple[Sample, ...],
    answered: list[bool],
    early: list[bytes],
    times: int,
) -> None:
    known, other = ask(paths(samples)[0], KEY), ask(b"/nothing", KEY)
    await settled(gateway, samples)
    expected, _ = await replies(gateway.quick, [known, other])
    await replies(gateway.quick, [known] * 4)
    early += [known.pieces[0]] * times
    unsent = [Step((), (b"GET",))] * times
    came = await replies(gateway.quick, [other, *unsent, known])
    assert came[1:] == [expected] * (times + 1)
    assert answered[-2:] == [True, True] if times == 1 else answered[-1]


async def test_what_comes_very_soon_before_the_end_is_answered_still(
    gateway: Served,
    samples: tuple[Sample, ...],
    early: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known, other = ask(paths(samples)[0], KEY), ask(b"/nothing", KEY)
    ended: list[Connection] = []
    is_ending = Connection._is_ending

    def ends(self: Connection) -> bool:
        if is_ending(self) and not ended:
            ended.append(self)
            asyncio.get_running_loop().call_soon(self.close)
        return is_ending(self)

    monkeypatch.setattr(Connection, "_is_ending", ends)
    early.append(known.pieces[0])
    _, reply, end = await replies(gateway.quick, [other, Step((), (b"GET",)), other])
    assert ended
    assert reply.startswith(b"HTTP/1.1 200")
    assert end == b""


async def test_without_what_is_private_to_it_aiohttp_answers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verbatim.runner(is_wanted=True) is verbatim.Runner
    assert verbatim.runner(is_wanted=False) is web.AppRunner
    monkeypatch.setattr(verbatim, "_OF_CONNECTIONS", ("_waiter", "_not_there_any_more"))
    assert verbatim.runner(is_wanted=True) is web.AppRunner
    assert "_not_there_any_more" in capsys.readouterr().out


async def test_many_at_once_each_get_their_own(
    gateway: Served, samples: tuple[Sample, ...], answered: list[bool]
) -> None:
    asked = [[ask(path, KEY)] * 6 for path in paths(samples)[:6]]
    await settled(gateway, samples)
    alone = [await replies(gateway.plain, one) for one in asked]
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(replies(gateway.quick, one)) for one in asked * 5]
    assert [task.result() for task in running] == alone * 5
    assert sum(answered) > 60
