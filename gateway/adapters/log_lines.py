"""Lines on their way to the log: many at once, since each by itself costs more than its request."""

from __future__ import annotations

import asyncio
from typing import TextIO

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
