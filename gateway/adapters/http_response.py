"""An archive's successful answer as its adapters read it, and the turn that it takes meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Self

from gateway.adapters.archive_failures import TROUBLES, failure
from gateway.adapters.http_answer import Answer
from gateway.adapters.turns import Turns

SMALL_BYTES = 1 << 16
"""A body up to this size may be read as a whole before anything is done with it."""


class Response(AsyncIterator[bytes]):
    """An archive's successful answer, and the turn that it takes until it is let go.

    Its chunks are the body as it comes; ArchiveTimeout or ArchiveUnreachable when it stalls or
    breaks.
    """

    __slots__ = ("_answer", "_archive", "_is_stream", "_seconds", "_turns", "has_end", "headers",
                 "length", "status")  # fmt: skip

    def __init__(
        self, archive: str, answer: Answer, seconds: float, turns: Turns, *, is_stream: bool
    ) -> None:
        self._archive = archive
        self._answer = answer
        self._seconds = seconds
        self._turns: Turns | None = turns
        self._is_stream = is_stream
        self.status = answer.status
        self.headers: Mapping[str, str] = answer.headers
        self.length = answer.length
        self.has_end = answer.has_end

    async def __aenter__(self) -> Self:
        """Itself, let go at the end."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """The end."""
        self.let_go()

    async def __anext__(self) -> bytes:
        """The next piece of the body."""
        try:
            chunk = await self._answer.chunk(self._seconds)
        except TROUBLES as error:
            raise failure(self._archive, error) from error
        if not chunk:
            raise StopAsyncIteration
        return chunk

    async def small(self) -> bytes | None:
        """The body if it is small, let go at once; None: it is large, and all yet to be read.

        Where that fails it is let go as well.
        """
        try:
            body = await self._answer.whole(SMALL_BYTES, self._seconds)
        except TROUBLES as error:
            self.let_go()
            raise failure(self._archive, error) from error
        except BaseException:
            self.let_go()
            raise
        if body is not None:
            self.let_go()
        return body

    def let_go(self) -> None:
        """Gives the turn back; what is left of the body is not wanted any more."""
        turns, self._turns = self._turns, None
        if turns is not None:
            self._answer.let_go()
            turns.give_back(is_stream=self._is_stream)
