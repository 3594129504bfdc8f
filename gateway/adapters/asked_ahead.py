"""A question to an archive that is sent before anybody waits for its answer.

It is sent only if nothing has to be waited for: a turn, a connection, credentials. Whoever asks the
same in the ordinary way takes it over, with all that came of its answer, so that nothing is asked
twice.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass

from gateway.adapters.credentials import Credentials
from gateway.adapters.http_answer import Answer, Lost
from gateway.adapters.http_connection import Connection
from gateway.adapters.http_pool import Pool
from gateway.adapters.http_requests import Request
from gateway.adapters.http_response import SMALL_BYTES
from gateway.adapters.retries import Retries
from gateway.adapters.telemetry import Telemetry
from gateway.adapters.tls import Certificates
from gateway.adapters.turns import Turns


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """What questions to one archive are asked with. Seconds: for each byte, and for the head."""

    archive: str
    pool: Pool
    turns: Turns
    credentials: Credentials
    certificates: Certificates
    retries: Retries
    telemetry: Telemetry
    seconds: float
    head_seconds: float

    def ahead(self, question: Question, last: str, done: Callable[[Ahead], None]) -> Ahead | None:
        """A question for a small body, on its way; None: something would have to be waited for.

        `done` is called once, when all of its answer came, or when it will not come so.
        """
        authorization, given = self.credentials.at_hand(), self.certificates.at_hand()
        if authorization is None or given is None:
            return None
        try:
            head = question.head(last, authorization)
        except ValueError:  # credentials that cannot be told, of which the ordinary way tells
            return None
        if not self.turns.take_now(is_stream=True):
            return None
        context = given if isinstance(given, ssl.SSLContext) else None
        connection = self.pool.kept(question.stem.origin, context)
        if connection is not None:
            try:
                return Ahead(self, connection, head, (question, last, authorization), done)
            except Lost:
                pass
        self.turns.give_back(is_stream=True)
        return None


class Question:
    """What is asked again and again, but for the end of its path."""

    __slots__ = ("_after", "_authorization", "_before", "accept", "stem")

    def __init__(self, stem: Request, accept: str) -> None:
        self.stem = stem
        self.accept = accept
        self._authorization: str | None = None
        self._before, self._after = b"", b""

    def asked(self, last: str) -> Request:
        """The same as it is asked in the ordinary way."""
        return Request(self.stem.origin, self.stem.target + last)

    def head(self, last: str, authorization: str) -> bytes:
        """The request; `authorization` "" for none."""
        if authorization != self._authorization:
            fields = {"Accept": self.accept, "Accept-Encoding": "identity"}
            if authorization:
                fields["Authorization"] = authorization
            self._authorization = authorization
            line, _, rest = self.stem.head(fields).partition(b" HTTP/1.1\r\n")
            self._before, self._after = line, b" HTTP/1.1\r\n" + rest
        return b"%b%b%b" % (self._before, last.encode(), self._after)


class Ahead:
    """A question that was sent; whoever has it ends it, or has it taken over.

    It has one owner at a time: who asked, until `give_up`, then who takes it over.
    """

    __slots__ = ("_answer", "_asked", "_connection", "_done", "_head_came", "_of",
                 "authorization", "is_over", "started")  # fmt: skip

    def __init__(
        self,
        of: Asker,
        connection: Connection,
        head: bytes,
        asked: tuple[Question, str, str],
        done: Callable[[Ahead], None],
    ) -> None:
        """`asked`: the question, the end of its path, and the Authorization, "" for none."""
        self._answer = connection.send(head, self._came)
        self.authorization = asked[2] or None
        self._connection = connection
        self._done: Callable[[Ahead], None] | None = done
        self._of, self._asked = of, asked
        self.started = time.monotonic()
        self._head_came: float | None = None
        self.is_over = False
        of.retries.asked()
        connection.watch(of.seconds)

    def body(self) -> tuple[str, bytes, bool] | None:
        """The type and the small body of a good answer that came whole; None: it is not that.

        And whether HTTP tells where it ends.
        """
        answer = self._answer
        if not answer.is_whole or answer.status != 200 or "Content-Encoding" in answer.headers:
            return None
        body = answer.peeked(SMALL_BYTES)
        return (
            None if body is None else (answer.headers.get("Content-Type", ""), body, answer.has_end)
        )

    def give_up(self) -> None:
        """Who asked is told nothing any more: it is somebody else's."""
        self._done = None

    def end(self) -> None:
        """Gives back the turn and the connection, and counts how the archive answered.

        Nothing is left to do where somebody took it over.
        """
        if self.is_over:
            return
        self.is_over, self._done = True, None
        outcome = "ok" if self._answer.status == 200 else "cancelled"
        first = time.monotonic() if self._head_came is None else self._head_came
        self._of.telemetry.archive_answered(self._of.archive, outcome, first - self.started)
        self._answer.let_go()
        self._of.turns.give_back(is_stream=True)

    def taken_over(self, by: Asker, asked: Request, accept: str) -> bool:
        """Whether it is what is asked now; its turn and its answer are the caller's then."""
        question, last, _ = self._asked
        is_same = by is self._of and (asked, accept) == (question.asked(last), question.accept)
        if self.is_over or not is_same:
            return False
        self.is_over, self._done = True, None
        return True

    def let_go(self) -> None:
        """The answer is not wanted any more by who took it over."""
        self._answer.let_go()

    async def head(self) -> Answer:
        """The answer as soon as its head is there; errors as of `Connection.ask`."""
        until = asyncio.get_running_loop().time() + self._left()
        return await self._connection.head(self._answer, self._of.seconds, until)

    def _came(self) -> None:
        """Something of the answer came, or its end."""
        answer, done = self._answer, self._done
        if answer.status and self._head_came is None:
            self._head_came = time.monotonic()
        if done is None:
            return
        if answer.is_whole or answer.error is not None or self._is_not_taken():
            self._done = None
            done(self)
        elif answer.status:
            self._connection.watch(self._of.seconds)
        else:
            self._connection.watch(min(self._of.seconds, max(self._left(), 0.0)))

    def _left(self) -> float:
        """How many seconds there are for the head."""
        return self.started + self._of.head_seconds - time.monotonic()

    def _is_not_taken(self) -> bool:
        """Whether what came so far is not the beginning of a small body of a good answer."""
        answer = self._answer
        is_good = answer.status == 200 and "Content-Encoding" not in answer.headers
        return answer.status > 0 and (not is_good or answer.is_larger(SMALL_BYTES))


AHEAD: ContextVar[Ahead | None] = ContextVar("ahead", default=None)
"""What was asked ahead for the request that is answered."""


def taken_over(by: Asker, asked: Request, accept: str) -> Ahead | None:
    """What was asked ahead for this request, if it is what is asked now."""
    ahead = AHEAD.get()
    return ahead if ahead is not None and ahead.taken_over(by, asked, accept) else None
