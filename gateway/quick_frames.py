"""Frames fetched for those who asked for others before, without aiohttp's request machinery.

Who asks for frames asks in the same words again and again, but for which of them. What follows
from those words was decided when a frame was given in the ordinary way; who holds an instance is
kept by `frame_holders`. What is left is to ask the archive, and to record. Whatever is not as usual
goes the ordinary way, which takes over what the archive was asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from aiohttp import web

from gateway.adapters.asked_ahead import Ahead
from gateway.adapters.budgets import Budgets, Place
from gateway.adapters.telemetry import Kind, Telemetry
from gateway.answered_before import Told, is_plain
from gateway.errors import CALLER_LEFT
from gateway.frame_holders import FrameHolders
from gateway.frame_words import (
    INSTANCES,
    STUDIES,
    Known,
    Listed,
    Words,
    events_of,
    named,
    path_of,
    target_of,
    words_of,
)
from gateway.http_server import DECISION
from gateway.recording import Recorder
from gateway.rules import request_bytes
from gateway.rules.media import Form

MOST = 4096
"""Instances and series, each for whoever asks in some words, that are known.

After that, all are forgotten.
"""
MAX_BYTES = 4096
"""Of the words of a request that are the same each time."""


class HandedOver(NamedTuple):
    """What a request takes with it into the ordinary way: its question, and its place."""

    ahead: Ahead
    place: Place

    def end(self) -> None:
        """Lets go of both, as far as nobody has done so."""
        self.ahead.end()
        self.place.leave()


class QuickFrames:
    """Frames that are fetched so, in one process."""

    def __init__(
        self,
        holders: FrameHolders,
        budgets: Budgets,
        recorder: Recorder | None,
        telemetry: Telemetry,
    ) -> None:
        self._holders = holders
        self._is_good = holders.is_good
        self.budgets = budgets
        self.recorder = recorder
        self.telemetry = telemetry
        self.told = Told()
        self._words: dict[bytes, Words] = {}
        self._count = 0
        self.segment_of: Callable[[web.BaseRequest], bytes | None] = lambda _: None
        """The bytes of a request, where they were all that was read."""

    def learn(self, request: web.Request, response: web.StreamResponse) -> None:
        """Takes up a frame that was given in the ordinary way, and has all of its head.

        Only of what would be fetched here: the rest of its line decides nothing then, nor does what
        is said of frames out of files, of which parts can be had.
        """
        found = named(self.segment_of(request) or b"")
        is_usual = isinstance(response, web.Response) and response.status == 200
        if found is None or target_of(found[0]) is None or not is_usual:
            return
        is_of_file = "Accept-Ranges" in response.headers
        if is_of_file or "Range" in request.headers or not is_plain(request):
            return
        key, _ = request_bytes.apart(found[2])
        known = self._words.get(key)
        if known is not None and known.decision is request[DECISION]:
            return
        if not request_bytes.has_id(key) and len(key) <= MAX_BYTES:
            self._make_room()
            self._words[key] = words_of(request, response, request[FORM], self.telemetry)

    def begun(self, data: bytes, address: bytes, done: Done) -> Fetching | None:
        """A request for a frame, under way; None: it takes the ordinary way.

        `done` is called once, with the answer, or with None where it has to go on in that way; not
        at all once it was handed over, or left.
        """
        found = named(data)
        if found is None:
            return None
        instance, number, key = found
        given, words = None, self._words.get(key)
        if words is None and request_bytes.is_whole(data):
            key, given = request_bytes.apart(key)
            words = self._words.get(key)
        if words is None:
            return None
        if not words.decision.is_good():
            del self._words[key]
            return None
        known = words.known.get(instance)
        if known is None or not self._is_good(known.kept):
            known = self._of_series(words, instance)
        if known is None or (self.recorder is not None and self.recorder.forbids):
            return None
        fetching = Fetching(self, words, known, number, given, address, done)
        return fetching if fetching.start() else None

    def _of_series(self, words: Words, instance: bytes) -> Known | None:
        """What is known of an instance by that of its series; None: not enough."""
        series, _, last = instance.rpartition(INSTANCES)
        uid = last.decode("latin-1")
        told = words.series.get(series)
        if told is None or uid not in told.archives or not self._is_good(told.kept):
            told = self._looked_up(words, instance, series)
            if told is None:
                return None
        way = words.way(told.archives[uid], self._holders.way)
        return None if way is None else Known(told.kept, path_of(instance), way, told.events)

    def _looked_up(self, words: Words, instance: bytes, series: bytes) -> Listed | None:
        """What is told of an instance that is named in a first line, or of its series."""
        words.known.pop(instance, None)
        target = target_of(instance)
        kept = None if target is None else self._holders.known(words.decision.consumer, target)
        held = None if kept is None else kept.thing
        if target is None or kept is None or held is None:
            return None
        self._make_room()
        told = Listed(kept, held.archives, events_of(words, held.disclosed))
        if held.is_series:
            words.series[series] = told
        elif way := words.way(held.archives[target.instance_uid or ""], self._holders.way):
            words.known[instance] = Known(kept, path_of(instance), way, told.events)
        return told

    def _make_room(self) -> None:
        self._count += 1
        if self._count > MOST:
            self._words.clear()
            self._count = 0


class Fetching:
    """One request for a frame, from its bytes to the archive and back.

    It ends once: by its answer, or since it was handed over, or left. Nothing follows that.
    """

    __slots__ = ("_address", "_ahead", "_done", "_given_id", "_known", "_leave", "_number", "_of",
                 "_place", "_started", "_words")  # fmt: skip

    def __init__(
        self,
        of: QuickFrames,
        words: Words,
        known: Known,
        number: str,
        given_id: str | None,
        address: bytes,
        done: Done,
    ) -> None:
        """`number`: of the frame; `given_id`: the request's own, if it has one."""
        self._of = of
        self._words = words
        self._known = known
        self._number = number
        self._given_id = given_id
        self._address = address
        self._done = done
        self._ahead: Ahead | None = None
        """The question, until the end."""

    def start(self) -> bool:
        """Whether the archive is asked now, which is paid for, and has its place."""
        of, way, account = self._of, self._known.way, self._words.account
        leave = way.leave()
        place = None if leave is None else of.budgets.begun(account)
        if leave is None or place is None:
            return False
        ahead = way.asked(self._known.path + self._number, self._came)
        if ahead is None:
            place.leave()
            of.budgets.give_back(account)
            return False
        self._leave, self._place, self._ahead = leave, place, ahead
        self._started = ahead.started
        of.telemetry.request_started()
        return True

    def handed_over(self) -> HandedOver | None:
        """All for the ordinary way, in which the request starts again; None: it has ended."""
        ahead = self._ended()
        if ahead is None:
            return None
        self._of.budgets.give_back(self._words.account)
        self._of.telemetry.request_handed_over()
        return HandedOver(ahead, self._place)

    def leave(self) -> None:
        """Whoever asked is gone."""
        if (ahead := self._ended()) is not None:
            ahead.end()
            kind = self._of.telemetry.kind(self._words.route, "GET", CALLER_LEFT)
            self._over(kind, self._values(), 0)

    def _ended(self) -> Ahead | None:
        """The end: the question, which tells nothing here any more; None: that has been."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.give_up()
        return ahead

    def _came(self, ahead: Ahead) -> None:
        if self._ahead is None:
            return
        frame = self._known.way.frame(ahead, self._leave)
        if frame is None:
            self._done(self, None)
        else:
            self._ahead = None  # which has ended with that
            self._give(*frame)

    def _give(self, kind: str, body: bytes) -> None:
        words, told = self._words, self._of.told
        values = self._values()
        values[b"boundary"] = told.drawn() + told.drawn()
        answer, length = words.answer(kind).filled(values, body)
        self._done(self, answer)
        recorder, events = self._of.recorder, self._known.events
        if recorder is not None and events:
            path = STUDIES + self._known.path + self._number
            values[b"asked"] = path.encode()
            recorder.record_texts([event.filled(values) for event in events])
        self._over(words.told_as, values, length)

    def _values(self) -> dict[bytes, bytes]:
        return self._of.told.values(self._given_id, self._address)

    def _over(self, kind: Kind, values: dict[bytes, bytes], bytes_out: int) -> None:
        of = self._of
        self._place.leave()
        of.budgets.archive_requests.take(self._words.account, 1)
        of.telemetry.request_told(kind, values, time.monotonic() - self._started, bytes_out)


Done = Callable[[Fetching, bytes | None], None]
FORM: web.RequestKey[Form] = web.RequestKey("form", Form)
"""How frames are given, where one is that was asked for."""
QUICK_FRAMES = web.AppKey("quick_frames", QuickFrames)


async def learn(request: web.Request, response: web.StreamResponse) -> None:
    """on_response_prepare, after all that adds to the head of an answer."""
    if FORM in request:
        request.app[QUICK_FRAMES].learn(request, response)
