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
from gateway.adapters.telemetry import Telemetry
from gateway.answered_before import Told, is_plain
from gateway.delivery import OnItsWay, WayAhead
from gateway.errors import CALLER_LEFT, TooMany
from gateway.frame_holders import FrameHolders
from gateway.frame_words import MARK, Account, Known, Words, events_of, named, target_of, words_of
from gateway.http_server import DECISION
from gateway.http_streams import framing
from gateway.recording import Recorder
from gateway.rules import request_bytes
from gateway.rules.media import Form

MOST = 4096
"""Instances, each for whoever asks in some words, that are known; then all are forgotten."""
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


class _Asked(NamedTuple):
    """What one request says: its path and the frame in it, its id if it has one, and from where."""

    path: bytes
    number: int
    given_id: str | None
    address: str


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
            self._words[key] = words_of(request, response, request[FORM])

    def begun(
        self, data: bytes, address: str | None, done: Callable[[Fetching, bytes | None], None]
    ) -> Fetching | None:
        """A request for a frame, under way; None: it takes the ordinary way.

        `done` is called once, with the answer, or with None where it has to go on in that way; not
        at all once it was handed over, or left.
        """
        found = named(data)
        if found is None or address is None:
            return None
        instance, number, key = found
        given, words = None, self._words.get(key)
        if words is None:
            key, given = request_bytes.apart(key)
            words = self._words.get(key)
        if words is None:
            return None
        if not words.decision.is_good():
            del self._words[key]
            return None
        known = self._known(words, instance)
        if (
            known is None
            or known.way is None
            or (self.recorder is not None and self.recorder.forbids)
        ):
            return None
        asked = _Asked(instance[4:] + MARK + b"%d" % number, number, given, address)
        return self._started(Fetching(self, words, known, known.way, asked, done), words.account)

    def _started(self, fetching: Fetching, account: Account) -> Fetching | None:
        """A request that is paid for and has its place, if it may; None: that is to be told."""
        place = self.budgets.at_once.place_now(account)
        if place is None:
            return None
        try:
            self.budgets.check(account)
        except TooMany:
            place.leave()
            return None
        if fetching.start(place):
            return fetching
        place.leave()
        self.budgets.give_back(account)
        return None

    def _known(self, words: Words, instance: bytes) -> Known | None:
        """What is known of an instance that is named in a first line; None: not enough."""
        known = words.known.get(instance)
        if known is not None and self._holders.is_good(known.kept):
            return known
        target = target_of(instance)
        if target is None:
            return None
        kept = self._holders.known(words.decision.consumer, target)
        held = None if kept is None else kept.thing
        if kept is None or held is None:
            words.known.pop(instance, None)
            return None
        self._make_room()
        way = self._holders.way(held, words.form)
        known = Known(kept=kept, way=way, events=events_of(words, held.disclosed))
        words.known[instance] = known
        return known

    def _make_room(self) -> None:
        self._count += 1
        if self._count > MOST:
            self._words.clear()
            self._count = 0


class Fetching:
    """One request for a frame, from its bytes to the archive and back.

    It ends once: by its answer, or since it was handed over, or left. Nothing follows that.
    """

    __slots__ = ("_asked", "_done", "_known", "_of", "_on_its_way", "_place", "_started",
                 "_way", "_words")  # fmt: skip

    def __init__(
        self,
        of: QuickFrames,
        words: Words,
        known: Known,
        way: WayAhead,
        asked: _Asked,
        done: Callable[[Fetching, bytes | None], None],
    ) -> None:
        self._of = of
        self._words = words
        self._known = known
        self._way = way
        self._asked = asked
        self._done = done
        self._started = time.monotonic()
        self._place: Place | None = None
        self._on_its_way: OnItsWay | None = None
        """The question, until the end."""

    def start(self, place: Place) -> bool:
        """Whether the archive is asked now."""
        self._on_its_way = self._way.asked(self._asked.number, self._came)
        if self._on_its_way is None:
            return False
        self._place = place
        self._of.telemetry.request_started()
        return True

    def handed_over(self) -> HandedOver | None:
        """All for the ordinary way, in which the request starts again; None: it has ended."""
        ahead, place = self._ended(), self._place
        if ahead is None or place is None:
            return None
        self._of.budgets.give_back(self._words.account)
        self._of.telemetry.request_handed_over()
        return HandedOver(ahead, place)

    def leave(self) -> None:
        """Whoever asked is gone."""
        if (ahead := self._ended()) is not None:
            ahead.end()
            self._over(self._values(), CALLER_LEFT, 0)

    def _ended(self) -> Ahead | None:
        """The end: the question, which tells nothing here any more; None: that has been."""
        on_its_way, self._on_its_way = self._on_its_way, None
        if on_its_way is None:
            return None
        on_its_way[0].give_up()
        return on_its_way[0]

    def _came(self, _: Ahead) -> None:
        if self._on_its_way is None:
            return
        frame = self._way.frame(self._on_its_way)
        if frame is None:
            self._done(self, None)
        else:
            self._ended()
            self._give(*frame)

    def _give(self, kind: str, body: bytes) -> None:
        words, before, after = self._words, b"", b""
        if words.form.is_multipart:
            told = self._of.told
            boundary = (told.drawn() + told.drawn()).decode()
            kind, before, after = framing(kind, len(body), boundary)
        length = len(before) + len(body) + len(after)
        values = self._values()
        values[b"type"] = kind.encode("latin-1")
        values[b"length"] = b"%d" % length
        self._done(self, b"".join((words.head.filled(values), before, body, after)))
        recorder, events = self._of.recorder, self._known.events
        if recorder is not None and events:
            values[b"asked"] = self._asked.path
            recorder.record_texts([event.filled(values) for event in events])
        self._over(values, 200, length)

    def _values(self) -> dict[bytes, bytes]:
        return self._of.told.values(self._asked.given_id, self._asked.address)

    def _over(self, values: dict[bytes, bytes], status: int, bytes_out: int) -> None:
        self._leave_place()
        self._of.budgets.archive_requests.take(self._words.account, 1)
        kind = self._words.route, "GET", status
        seconds = time.monotonic() - self._started
        self._of.telemetry.request_told(values, kind, seconds, bytes_out)

    def _leave_place(self) -> None:
        if self._place is not None:
            self._place.leave()


FORM: web.RequestKey[Form] = web.RequestKey("form", Form)
"""How frames are given, where one is that was asked for."""
QUICK_FRAMES = web.AppKey("quick_frames", QuickFrames)


async def learn(request: web.Request, response: web.StreamResponse) -> None:
    """on_response_prepare, after all that adds to the head of an answer."""
    if FORM in request:
        request.app[QUICK_FRAMES].learn(request, response)
