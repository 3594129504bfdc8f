"""Frames that are fetched below aiohttp are the frames that would come in the ordinary way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import uvloop

from gateway import quick_frames
from gateway.adapters.cache_names import Group
from gateway.adapters.decisions import Decision
from gateway.adapters.http_response import SMALL_BYTES
from gateway.http_server import AUTHENTICATOR, CATALOG, RECORDER, TELEMETRY
from gateway.quick_frames import QUICK_FRAMES, Fetching
from tests.fault_archive import Answer
from tests.frame_archive import (
    ACCEPT,
    BROKEN,
    FIRST,
    FRAMES,
    ODD,
    SECOND,
    SERIES,
    SMALL,
    Frames,
    frame,
    frames,
    given,
    path,
    without_boundary,
)
from tests.repeats import CREDENTIALS, KEY, OUTSIDE, Asker, Step, ask, inside, replies
from tests.samples import Sample

CONNECTIONS = 600
SINGLE = (
    (b"Accept: image/jpeg",),
    (b"Accept: application/octet-stream",),
    (b"Accept: image/jpeg", b"Range: bytes=0-9"),
    (b"Accept: image/jpeg", b"Range: bytes=5000-"),
)
"""Fields of those who want frames as they are."""
_COUNTED = ("gateway_requests", "gateway_response_bytes", "gateway_archive_requests")


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each frame that was asked for ahead was given so."""
    came: list[bool] = []
    places: dict[int, int] = {}
    start, over = Fetching.start, Fetching._over

    def started(self: Fetching, *asked: Any) -> bool:
        is_started = start(self, *asked)
        if is_started:
            places[id(self)] = len(came)
            came.append(False)
        return is_started

    def ended(self: Fetching, kind: Any, values: Any, bytes_out: int) -> None:
        came[places[id(self)]] = kind is self._words.told_as
        over(self, kind, values, bytes_out)

    monkeypatch.setattr(Fetching, "start", started)
    monkeypatch.setattr(Fetching, "_over", ended)
    return came


@pytest_asyncio.fixture
async def made(tmp_path: Path) -> AsyncIterator[Frames]:
    async with frames(tmp_path / "spool") as one:
        await known(one)
        yield one


async def known(made: Frames) -> None:
    """Lets the gateway know the instances, and the words of a good request."""
    await replies(made.gateway.quick, [frame(1, held=held) for held in (FIRST, SECOND)])


@dataclass(frozen=True, slots=True)
class Traces:
    """What came back, and what the gateway did, recorded and counted meanwhile."""

    replies: list[list[bytes]]
    asked: list[Any]
    events: list[dict[str, Any]]
    counted: dict[str, float]


async def traces(made: Frames, port: int, scripts: Sequence[Sequence[Step]]) -> Traces:
    """What asking all this at one port leaves behind, without ids and times."""
    begun, before, asked = len(await made.gateway.events()), counts(made), len(made.asked())
    came = [[without_boundary(r) for r in await replies(port, one)] for one in scripts]
    counted = {k: n - before.get(k, 0) for k, n in counts(made).items()}
    events = (await made.gateway.events())[begun:]
    return Traces(came, made.asked()[asked:], events, counted)


def counts(made: Frames, *names: str) -> dict[str, float]:
    """All that is counted of requests, and of archives; or what is named."""
    lines = made.gateway.app[TELEMETRY].exposition()[0].decode().splitlines()
    told = [line.rpartition(" ") for line in lines if line.startswith(names or _COUNTED)]
    return {labels: float(number) for labels, _, number in told if "_created" not in labels}


@pytest.mark.timeout(300)
def test_thousands_of_requests_are_answered_and_recorded_alike(
    tmp_path: Path, fetched: list[bool]
) -> None:
    often = [path(n, held) for n in FRAMES for held in (FIRST, SECOND)]
    often += [path(1, held) for held in SERIES]
    no_frames = (b"0", b"01", b"1,2", b"99", b"x", b"1?accept=image/jpeg")
    odd = [path(n) for n in ODD] + [path(n) for n in no_frames]
    seldom = [path(n) for n in BROKEN]

    async def compare() -> None:
        limits = {"requests_per_minute": 1_000_000, "requests_at_once": 8}
        async with frames(tmp_path / "spool", limits=limits) as made:
            asker = Asker(3, often * 3 + odd + seldom, (*CREDENTIALS, KEY, KEY))
            asker._favourites += [
                ask(path(n), KEY, *fields).pieces[0] for n in (1, 2, 3, 5, 11) for fields in SINGLE
            ]
            asker._favourites += [frame(n).pieces[0] for n in FRAMES] * 2
            asker._favourites += [frame(n).pieces[0] for n in (*ODD, *list(BROKEN)[:4])]
            scripts = [asker.connection() for _ in range(CONNECTIONS)]
            await traces(made, made.gateway.plain, scripts)
            await known(made)
            expected = await traces(made, made.gateway.plain, scripts)
            came = await traces(made, made.gateway.quick, scripts)
            for script, one, other in zip(scripts, expected.replies, came.replies, strict=True):
                assert other == one, script
            assert came.asked == expected.asked
            assert came.events == expected.events
            assert came.counted == expected.counted
            assert sum(len(one) for one in came.replies) > 3000

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(compare())
    assert fetched.count(True) > 500
    assert fetched.count(False) > 100


async def test_frames_of_any_known_instance_come_in_the_same_words(
    made: Frames, fetched: list[bool]
) -> None:
    steps = [frame(n, held=held) for held in (SECOND, FIRST) for n in (1, 2, 7)]
    came = await replies(made.gateway.quick, [frame(), *steps])
    assert [SMALL in one for one in came] == [True] + [True, False, True] * 2
    assert fetched == [True] * 7


async def test_instances_of_a_listed_series_are_fetched_from_the_first_time(
    made: Frames, fetched: list[bool]
) -> None:
    *first, before, last = SERIES
    await replies(made.gateway.plain, [frame(held=held) for held in first])
    asked, known_before = len(made.asked()), len(fetched)
    (came,) = await replies(made.gateway.quick, [frame(held=last)])
    assert fetched[known_before:] == [True]
    assert [seen[0] for seen in made.asked()[asked:]] == [f"{last.path}/frames/1"]
    assert without_boundary(came) == without_boundary(
        (await replies(made.gateway.plain, [frame(held=last)]))[0]
    )
    assert SMALL[: 99 + len(SERIES)] in came
    await made.gateway.app[CATALOG].forget(last.study)
    await replies(made.gateway.quick, [frame(held=before)])
    assert fetched[known_before:] == [True]


async def test_who_may_not_see_a_listed_series_is_not_given_what_others_are(
    made: Frames, fetched: list[bool]
) -> None:
    await replies(made.gateway.plain, [frame(held=held) for held in SERIES])
    begun = len(await made.gateway.events())
    for last in SERIES[-2:]:
        of_all = ask(path(1, last), KEY, ACCEPT)
        of_none = ask(path(1, last), b"x-api-key: none", ACCEPT)
        came = await replies(made.gateway.quick, [of_all, of_none, of_all])
        assert [reply[9:12] for reply in came] == [b"200", b"404", b"200"]
    outcomes = [event["outcome"] for event in (await made.gateway.events())[begun:]]
    assert len(outcomes) == 6
    assert fetched.count(True) == 4


@pytest.mark.parametrize("outside", OUTSIDE, ids=["field", "body", "posted body"])
async def test_what_is_a_part_of_something_else_is_no_request(
    made: Frames, fetched: list[bool], outside: bytes
) -> None:
    steps = [frame(), frame(), inside(frame().pieces[0], outside)]
    _, one, other = await replies(made.gateway.quick, steps)
    assert one.startswith(b"HTTP/1.1 200")
    assert not other.startswith(b"HTTP/1.1 200")
    assert fetched == [True] * 2


@pytest.mark.parametrize(
    "answer",
    [given(SMALL, stall=True), given(SMALL, stall_after=100), given(SMALL * 20, stall_after=9)],
    ids=["before the head", "in the body", "in a large body"],
)
async def test_one_who_leaves_lets_the_archive_go(
    made: Frames, fetched: list[bool], answer: Answer
) -> None:
    made.archive.on(f"{FIRST.path}/frames/30", answer)
    told: list[dict[str, float]] = []
    for port in (made.gateway.quick, made.gateway.plain):
        before = counts(made)
        async with opened(port) as (reader, writer):
            await one_reply(reader, writer)
            writer.write(frame(30).pieces[0])
            asked = len(made.archive.requests)
            seen = (await made.archive.wait_for(asked + 1))[-1]
        async with asyncio.timeout(5):
            await seen.ended.wait()
        assert seen.ending == "left"
        told.append({k: n - before.get(k, 0) for k, n in counts(made).items()})
    assert told[0] == told[1]
    assert fetched in ([False], [])
    assert made.gateway.app[TELEMETRY]._in_flight == 0


async def test_an_archive_that_hangs_holds_up_nobody_else(
    tmp_path: Path, fetched: list[bool]
) -> None:
    async with frames(tmp_path / "spool", archive={"timeout_seconds": 0.5}) as made:
        await known(made)
        for number in (30, 31):
            made.archive.on(f"{FIRST.path}/frames/{number}", given(SMALL, stall=True))
        async with opened(made.gateway.quick) as (reader, writer):
            await one_reply(reader, writer)
            writer.write(frame(30).pieces[0])
            await made.archive.wait_for(len(made.archive.requests) + 1)
            others = await replies(made.gateway.quick, [frame()] * 5)
            assert [one[:12] for one in others] == [b"HTTP/1.1 200"] * 5
            assert fetched == [False, *[True] * 5]
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 504")
        assert [seen.path for seen in made.archive.requests].count(f"{FIRST.path}/frames/30") == 1
        (took,) = [
            seconds
            for labels, seconds in counts(made, "gateway_request_duration_seconds_sum").items()
            if "frames" in labels
        ]
        assert took > 0.5


async def test_one_who_does_not_read_gets_everything_later(
    made: Frames, fetched: list[bool]
) -> None:
    async with opened(made.gateway.quick) as (reader, writer):
        await one_reply(reader, writer)
        for _ in range(200):
            asked = len(made.archive.requests)
            writer.write(frame(1).pieces[0])
            if fetched.count(True) < 150:
                await made.archive.wait_for(asked + 1)
        for _ in range(200):
            assert SMALL in await body(reader)
    assert True in fetched


async def test_what_is_under_way_is_given_before_the_end(
    tmp_path: Path, fetched: list[bool]
) -> None:
    async with AsyncExitStack() as stack:
        made = await stack.enter_async_context(frames(tmp_path / "spool"))
        await known(made)
        made.archive.on(f"{FIRST.path}/frames/30", given(SMALL, stall=True))
        reader, writer = await stack.enter_async_context(opened(made.gateway.quick))
        await one_reply(reader, writer)
        writer.write(frame(30).pieces[0])
        await made.archive.wait_for(len(made.archive.requests) + 1)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(made.gateway.runner.cleanup())
            await settled(lambda: fetched == [False] and writer.is_closing() is False)
            await settled(lambda: made.gateway.app[TELEMETRY]._in_flight == 1)
            made.archive.release()
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            assert SMALL in await reader.read()
    assert fetched == [False]
    asked = [seen.path for seen in made.archive.requests]
    assert asked.count(f"{FIRST.path}/frames/30") == 1


async def test_what_more_is_asked_meanwhile_is_answered_in_its_order(
    made: Frames, fetched: list[bool]
) -> None:
    made.archive.on(f"{FIRST.path}/frames/30", given(SMALL[:10], stall=True))
    async with opened(made.gateway.quick) as (reader, writer):
        await one_reply(reader, writer)
        writer.write(frame(30).pieces[0])
        await made.archive.wait_for(len(made.archive.requests) + 1)
        writer.write(frame(1).pieces[0])
        await asyncio.sleep(0)
        made.archive.release()
        came = [await body(reader), await body(reader)]
    assert [SMALL in one for one in came] == [False, True]
    assert fetched == [False]
    asked = [seen.path for seen in made.archive.requests]
    assert asked.count(f"{FIRST.path}/frames/30") == 1


async def test_what_was_handed_over_is_answered_once_however_long_that_takes(
    made: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.archive.on(f"{FIRST.path}/frames/30", given(SMALL[:10], stall=True))
    authenticator = made.gateway.app[AUTHENTICATOR]
    decide, is_waited_for, may = authenticator.decision, asyncio.Event(), asyncio.Event()

    async def late(headers: Any) -> Decision:
        is_waited_for.set()
        await may.wait()
        return await decide(headers)

    monkeypatch.setattr(authenticator, "decision", late)
    begun = len(await made.gateway.events())
    async with opened(made.gateway.quick) as (reader, writer):
        await one_reply(reader, writer)
        writer.write(frame(30).pieces[0])
        seen = (await made.archive.wait_for(len(made.archive.requests) + 1))[-1]
        writer.write(frame(1).pieces[0])
        await is_waited_for.wait()
        made.archive.release()
        await seen.ended.wait()
        async with opened(made.gateway.quick) as another:  # what came is read meanwhile
            await one_reply(*another)
        may.set()
        came = [len(await body(reader)) for _ in range(2)]
        writer.write(ask(path(2), KEY, ACCEPT).pieces[0])
        last = await body(reader)
    assert came[0] < 300 < len(SMALL) < came[1]
    assert SMALL[:100] in last
    assert SMALL not in last
    assert len(await made.gateway.events()) - begun == 3
    assert made.gateway.app[TELEMETRY]._in_flight == 0


async def test_what_is_handed_over_keeps_its_place(tmp_path: Path, fetched: list[bool]) -> None:
    bounds = {"max_concurrency": 1}
    async with frames(tmp_path / "spool", archive=bounds, limits={"requests_at_once": 1}) as made:
        await known(made)
        made.archive.on(f"{FIRST.path}/frames/30", given(SMALL * 20, stall_after=SMALL_BYTES + 1))
        async with opened(made.gateway.quick) as one, opened(made.gateway.quick) as other:
            for each in (one, other):
                await one_reply(*each)
            one[1].write(frame(30).pieces[0])
            other[1].write(frame(1).pieces[0])
            await settled(lambda: made.gateway.app[TELEMETRY]._in_flight == 2)
            async with asyncio.timeout(5):
                head = await one[0].readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            made.archive.release()
            assert SMALL in await body(other[0])
    assert fetched == [False]


async def test_no_request_waits_for_a_turn_that_its_own_question_has(
    tmp_path: Path, fetched: list[bool]
) -> None:
    bounds = {"max_concurrency": 1}
    async with frames(tmp_path / "spool", archive=bounds) as made:
        await known(made)
        made.archive.on(f"{FIRST.path}/frames/30", given(SMALL * 20, stall=True))
        async with opened(made.gateway.quick) as (reader, writer):
            await one_reply(reader, writer)
            writer.write(frame(30).pieces[0])
            await made.archive.wait_for(len(made.archive.requests) + 1)
            await made.gateway.app[CATALOG]._archives.cache.forget(Group())
            made.archive.release()
            assert SMALL in await body(reader)
    assert fetched == [False]


async def test_what_the_path_asks_for_teaches_nothing_about_other_paths(
    made: Frames, fetched: list[bool]
) -> None:
    taught = path(b"1?accept=application/octet-stream")
    steps = [ask(taught, KEY, b"Accept: image/jpeg"), ask(path(1), KEY, b"Accept: image/jpeg")]
    came = await replies(made.gateway.quick, steps)
    assert [one[:12] for one in came] == [b"HTTP/1.1 200", b"HTTP/1.1 406"]
    assert fetched == []


async def test_frames_of_files_teach_nothing_about_those_of_servers(
    tmp_path: Path, sample_folder: Path, samples: tuple[Sample, ...], fetched: list[bool]
) -> None:
    words = KEY, b"Accept: application/octet-stream"
    folder = {"folder": {"type": "folder", "path": str(sample_folder)}}
    instance = "/dicom-web/studies/{0.study_uid}/series/{0.series_uid}/instances/{0.instance_uid}"
    files = [ask(f"{instance.format(one)}/frames/1".encode(), *words) for one in samples]
    async with frames(tmp_path / "spool", others=folder) as made:
        taught = await replies(made.gateway.quick, files)
        assert any(b"\r\nAccept-Ranges: bytes\r\n" in one for one in taught)
        (expected,) = await replies(made.gateway.plain, [ask(path(1), *words)])
        came = await replies(made.gateway.quick, [ask(path(1), *words)] * 3)
    assert came == [expected] * 3
    assert b"Accept-Ranges" not in expected
    assert True in fetched


@pytest.mark.parametrize(
    "answer",
    [
        Answer(status=404, body=SMALL, stall_after=10),
        Answer(status=503, body=SMALL, stall_after=10),
        given(SMALL, headers={"Content-Encoding": "gzip"}, stall_after=10),
    ],
    ids=["absent", "busy", "compressed"],
)
async def test_what_the_head_tells_is_not_waited_for(
    made: Frames, fetched: list[bool], answer: Answer
) -> None:
    made.archive.on(f"{FIRST.path}/frames/30", answer)
    async with opened(made.gateway.quick) as (reader, writer):
        await one_reply(reader, writer)
        writer.write(frame(30).pieces[0])
        async with asyncio.timeout(3):
            status = int((await reader.readuntil(b"\r\n\r\n")).split(b" ")[1])
    assert status in {404, 502, 503}
    assert fetched == [False]


async def test_what_is_behind_a_request_is_no_part_of_it(made: Frames, fetched: list[bool]) -> None:
    more = Step((frame().pieces[0] + b"traceparent: x\r\n", b"\r\n"), (b"GET", b"GET"))
    came = await replies(made.gateway.quick, [frame(), more])
    expected = await replies(made.gateway.plain, [frame(), more])
    assert [without_boundary(one) for one in came] == [without_boundary(one) for one in expected]
    assert fetched == [True]


async def test_one_who_is_known_no_longer_gets_nothing(made: Frames, fetched: list[bool]) -> None:
    await replies(made.gateway.quick, [frame()] * 3)
    quick = made.gateway.app[QUICK_FRAMES]
    quick._words = {
        key: replace(one, decision=Decision(one.decision.consumer, lambda: False))
        for key, one in quick._words.items()
    }
    made.gateway.app[AUTHENTICATOR]._api_keys.clear()
    asked = len(made.archive.requests)
    (_, reply) = await replies(made.gateway.quick, [ask(b"/nothing"), frame()])
    assert reply.startswith(b"HTTP/1.1 401")
    assert fetched == [True] * 3
    assert len(made.archive.requests) == asked


async def test_what_was_forgotten_is_looked_up_again(made: Frames, fetched: list[bool]) -> None:
    before = await replies(made.gateway.quick, [frame()] * 3)
    await made.gateway.app[CATALOG]._archives.cache.forget(Group())
    asked = len(made.archive.requests)
    after = await replies(made.gateway.quick, [ask(b"/nothing", KEY), frame()])
    assert without_boundary(after[1]) == without_boundary(before[0])
    assert fetched == [True] * 3
    assert len(made.archive.requests) > asked + 1


async def test_nothing_is_given_that_cannot_be_recorded(made: Frames, fetched: list[bool]) -> None:
    recorder = made.gateway.app[RECORDER]
    assert recorder is not None
    await replies(made.gateway.quick, [frame()] * 2)
    recorder._trail.is_failing = True
    _, reply = await replies(made.gateway.quick, [ask(b"/health/live"), frame()])
    assert reply.startswith(b"HTTP/1.1 503")
    assert fetched == [True] * 2


async def test_each_frame_is_paid_for_once(tmp_path: Path, fetched: list[bool]) -> None:
    limits = {"requests_per_minute": 20}
    async with frames(tmp_path / "spool", limits=limits) as made:
        steps = [frame(1), frame(11), frame(6), frame(1)] * 6
        came = await replies(made.gateway.quick, steps)
    statuses = [one.split(b" ", 2)[1] for one in came]
    assert statuses[:20] == [b"200", b"404", b"200", b"200"] * 5
    assert statuses[-3:] == [b"429"] * 3
    assert fetched.count(True) >= 7
    assert fetched.count(False) >= 7


async def test_what_archives_are_asked_is_paid_for(tmp_path: Path, fetched: list[bool]) -> None:
    limits = {"archive_requests_per_minute": 30}
    async with frames(tmp_path / "spool", limits=limits) as made:
        came = await replies(made.gateway.quick, [frame(1)] * 40)
        assert len(made.archive.requests) in {30, 31}
    assert [one.split(b" ", 2)[1] for one in came[-5:]] == [b"429"] * 5
    assert fetched.count(True) > 20


@pytest.mark.parametrize(
    "more",
    [{"limits": {"requests_at_once": 1}}, {"archive": {"max_concurrency": 1}}],
    ids=["place", "turn"],
)
async def test_who_has_to_wait_waits_in_the_ordinary_way(
    tmp_path: Path, fetched: list[bool], more: dict[str, Any]
) -> None:
    async with frames(tmp_path / "spool", **more) as made:
        await known(made)
        made.archive.on(f"{FIRST.path}/frames/30", given(SMALL, stall=True))
        async with opened(made.gateway.quick) as one, opened(made.gateway.quick) as other:
            for each in (one, other):
                await one_reply(*each)
            one[1].write(frame(30).pieces[0])
            await made.archive.wait_for(len(made.archive.requests) + 1)
            other[1].write(frame(1).pieces[0])
            await settled(lambda: made.gateway.app[TELEMETRY]._in_flight == 2)
            made.archive.release()
            assert SMALL in await body(one[0])
            assert SMALL in await body(other[0])
    assert fetched == [True]


async def test_what_is_known_stays_within_its_bound(
    made: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quick_frames, "MOST", 5)
    for number in range(12):
        await replies(made.gateway.quick, [frame(1, b"Cookie: %d" % number)] * 3)
    await replies(made.gateway.quick, [frame(1, b"Cookie: " + b"x" * 5000)] * 3)
    quick = made.gateway.app[QUICK_FRAMES]
    assert 0 < sum(1 + len(one.known) for one in quick._words.values()) <= 6
    assert all(len(key) < 1000 for key in quick._words)


@asynccontextmanager
async def opened(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to one port, closed at the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def one_reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Lets the first request on a connection be answered, which always goes the ordinary way."""
    writer.write(ask(b"/health/live").pieces[0])
    await body(reader)


async def body(reader: asyncio.StreamReader) -> bytes:
    """The body of the next reply, which is good."""
    async with asyncio.timeout(5):
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 20")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        return await reader.readexactly(length)


async def settled(is_so: Callable[[], bool]) -> None:
    """Returns when something is so, which others bring about on this loop."""
    async with asyncio.timeout(5):
        while not is_so():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0)
