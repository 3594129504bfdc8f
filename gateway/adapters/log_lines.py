"""Lines on their way to the log: many at once, since each by itself costs more than its request."""

from __future__ import annotations

import asyncio
import secrets
from typing import TextIO

import orjson

from gateway.rules.blanks import Blanks

MOST_FORMS = 1000
_ANY_MS = 123456789.25
"""Stands where a duration belongs, which has no quotes around it."""
FLUSH_SECONDS = 0.1
_MOST_HELD = 1000


class LogLines:
    """Lines to `stream` in the order in which they come; what is no warning soon, not at once.

    Outside of an event loop nothing is held back. The methods are those that structlog calls.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._held: list[str] = []
        self._due: asyncio.TimerHandle | None = None

    def info(self, line: str) -> None:
        """A line that may wait until the next ones can go with it."""
        self._held.append(line)
        if self._due is not None and len(self._held) < _MOST_HELD:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
            return
        if self._due is None:
            self._due = loop.call_later(FLUSH_SECONDS, self.flush)
        else:
            self.flush()

    def warning(self, line: str) -> None:
        """A line that is written at once, after those that wait."""
        self._held.append(line)
        self.flush()

    error = critical = exception = fatal = warning
    debug = msg = log = info

    def flush(self) -> None:
        """Writes what waits."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        held, self._held = self._held, []
        if held:
            self._stream.write("\n".join([*held, ""]))
            self._stream.flush()


class RequestLines:
    """What the log says of requests, written once for those of a kind."""

    def __init__(self) -> None:
        self._forms: dict[tuple[str, str, int], Blanks] = {}

    def of(self, kind: tuple[str, str, int]) -> Blanks:
        """The line of a request, with blanks for its `id`, its `ms` and when it was `at`.

        `kind`: its route, method and status. Nothing is said but known fields.
        """
        form = self._forms.get(kind)
        if form is None:
            if len(self._forms) >= MOST_FORMS:
                self._forms.clear()
            form = self._forms[kind] = _form(*kind)
        return form


def _form(route: str, method: str, status: int) -> Blanks:
    marks = {name: secrets.token_hex(16) for name in ("id", "at")}
    line = orjson.dumps(
        {
            "request_id": marks["id"],
            "method": method,
            "route": route,
            "status": status,
            "duration_ms": _ANY_MS,
            "event": "request",
            "level": "info",
            "timestamp": marks["at"],
        }
    )
    blanks = {name.encode(): mark.encode() for name, mark in marks.items()}
    return Blanks(line, blanks | {b"ms": b"%r" % _ANY_MS})
