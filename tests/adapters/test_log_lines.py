"""When the lines of the log are written, and in which order."""

from __future__ import annotations

import asyncio
import io
import json

import pytest

from gateway.adapters import log_lines
from gateway.adapters.log_lines import LogLines, RequestLines


def test_outside_of_an_event_loop_nothing_is_held_back() -> None:
    stream = io.StringIO()
    LogLines(stream).info("one")
    assert stream.getvalue() == "one\n"


async def test_a_warning_is_written_at_once_after_what_came_before() -> None:
    stream = io.StringIO()
    lines = LogLines(stream)
    lines.info("one")
    lines.info("two")
    assert stream.getvalue() == ""
    lines.warning("three")
    assert stream.getvalue() == "one\ntwo\nthree\n"


async def test_what_is_no_warning_is_written_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_lines, "FLUSH_SECONDS", 0)
    stream = io.StringIO()
    lines = LogLines(stream)
    for line in ("one", "two"):
        lines.info(line)
        written = asyncio.Event()
        asyncio.get_running_loop().call_later(0.01, written.set)
        await written.wait()
        assert stream.getvalue().endswith(f"{line}\n")


async def test_no_more_than_a_bounded_number_of_lines_is_held() -> None:
    stream = io.StringIO()
    lines = LogLines(stream)
    for number in range(3500):
        lines.info(str(number))
    assert len(stream.getvalue().splitlines()) >= 2500
    lines.flush()
    assert stream.getvalue().splitlines() == [str(n) for n in range(3500)]
    lines.flush()


def test_the_line_of_a_request_is_json_whatever_it_is_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_lines, "MOST_FORMS", 2)
    lines = RequestLines()
    for status in (200, 404, 200, 503, 200):
        line = lines.of(('/"{a}%', "GET", status))
        told = json.loads(line.filled({b"id": b"an-id", b"ms": b"1.5", b"at": b"now"}))
        assert told == {
            "request_id": "an-id",
            "method": "GET",
            "route": '/"{a}%',
            "status": status,
            "duration_ms": 1.5,
            "event": "request",
            "level": "info",
            "timestamp": "now",
        }
    assert len(lines._forms) <= 2
