"""Reading more from a socket at once than event loops do by themselves, for large bodies."""

from __future__ import annotations

import asyncio
import threading
from typing import Protocol

MOST_AT_ONCE = 1 << 19
"""Bytes that are read in one call, where they are there and whoever waits for them is quick."""


class Receiver(Protocol):
    """Whoever takes what is read."""

    @property
    def room(self) -> int:
        """How many bytes may come now, no more than `MOST_AT_ONCE`."""

    def much_received(self, data: memoryview) -> None:
        """Bytes came, which are there as long as this takes."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is over."""


class LargeReads(asyncio.BufferedProtocol):
    """The protocol of a connection that had a large body, between its loop and `receiver`.

    What takes time is less the bytes than the turns in which they come: to wake up, and to wake
    those on both sides.
    """

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._place = _PLACES.place

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes are to come to."""
        return self._place[: self._receiver.room]

    def buffer_updated(self, nbytes: int) -> None:
        """They came."""
        self._receiver.much_received(self._place[:nbytes])

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is over."""
        self._receiver.connection_lost(exc)


class _Places(threading.local):
    """Where bytes of any connection come to, one place for each thread that runs a loop.

    A loop fills it and has it emptied before it reads from another connection.
    """

    def __init__(self) -> None:
        self.place = memoryview(bytearray(MOST_AT_ONCE))


_PLACES = _Places()
