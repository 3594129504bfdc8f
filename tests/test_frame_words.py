"""What follows from the words of those who ask for frames; the rest is in `test_quick_frames`."""

from __future__ import annotations

import json
from pathlib import Path

from gateway.disclosures import Disclosures
from gateway.frame_words import _MOST_TYPES, events_of
from gateway.http_streams import framing
from gateway.quick_frames import QUICK_FRAMES
from tests.frame_archive import SECOND, frame, frames
from tests.repeats import replies

VALUES = {
    b"id": b"some-id-of-theirs",
    b"at": b"2020-01-01T00:00:00.000Z",
    b"date": b"now",
    b"from": b"192.0.2.1",
    b"asked": b"/somewhere",
    b"boundary": b"0123456789abcdef" * 2,
}


async def test_words_are_those_of_the_first_answer(tmp_path: Path) -> None:
    async with frames(tmp_path / "spool") as made:
        (reply,) = await replies(made.gateway.quick, [frame()])
        ((key, words),) = made.gateway.app[QUICK_FRAMES]._words.items()
    answer, length = words.answer("x/y").filled(dict(VALUES), b"a frame")
    head, _, body = answer.partition(b"\r\n\r\n")
    kind, before, after = framing("x/y", 7, VALUES[b"boundary"].decode())
    assert body == before + b"a frame" + after
    assert f"\r\nContent-Type: {kind}\r\n".encode() in head
    assert b"\r\nContent-Length: %d\r\n" % length in head + b"\r\n"
    assert length == len(body)
    assert key.startswith(b"\r\nHost: gateway\r\n")
    assert b"\r\nX-Request-Id: some-id-of-theirs\r\n" in head
    names = [line.partition(b":")[0] for line in head.split(b"\r\n")]
    assert names == [line.partition(b":")[0] for line in reply.split(b"\r\n\r\n")[0].split(b"\r\n")]
    for number in range(2 * _MOST_TYPES):
        words.answer(f"x/{number}")
    assert len(words.framed) <= _MOST_TYPES
    assert (words.decision.consumer.id, words.form.is_multipart) == ("all", True)


async def test_events_tell_of_what_was_given(tmp_path: Path) -> None:
    async with frames(tmp_path / "spool") as made:
        await replies(made.gateway.quick, [frame()])
        (words,) = made.gateway.app[QUICK_FRAMES]._words.values()
    assert events_of(words, None) == ()
    (of_study,) = events_of(words, Disclosures(shown={SECOND.study: None}))
    (of_none,) = events_of(words, Disclosures())
    assert f"urn:oid:{SECOND.study}" in json.dumps(json.loads(of_study.filled(VALUES)))
    told = json.loads(of_none.filled(VALUES))
    assert told["entity"][-1]["what"]["display"] == "/somewhere"
    assert told["agent"][0]["network"]["address"] == "192.0.2.1"
