"""Requests to one archive within its bounds.

Addresses are built from the configured bases, segment by segment; redirects are not followed,
nothing is inflated without a bound, and what goes wrong comes out as one of our own errors.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gateway.adapters import tls
from gateway.adapters.archive_failures import TROUBLES, as_archive_errors, failure, raise_for
from gateway.adapters.archive_tokens import TokenServer
from gateway.adapters.asked_ahead import Ahead, Asker, taken_over
from gateway.adapters.budgets import asked_an_archive
from gateway.adapters.credentials import Credentials
from gateway.adapters.http_answer import Answer, Lost
from gateway.adapters.http_pool import Pool
from gateway.adapters.http_requests import Origin, Request, request
from gateway.adapters.http_response import Response
from gateway.adapters.inflating import STEP_BYTES, inflater
from gateway.adapters.retries import Retries
from gateway.adapters.telemetry import Telemetry
from gateway.adapters.tls import Certificates
from gateway.adapters.turns import Turns
from gateway.config_servers import Auth, Tls
from gateway.errors import (
    ArchiveBadAnswer,
    ArchiveError,
    ArchiveUnreachable,
    GatewayError,
)

_WHOLE_ANSWER_TIMES = 4
_COMPRESSING = frozenset({"gzip", "x-gzip", "deflate", "compress", "br", "zstd"})
_RETRY_SECONDS = 0.1
"""A question is asked once more after a part of this, so that not all do at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one archive may cost; all but `max_waiting` from its section of the configuration.

    `timeout_seconds` is for the first byte and for each next one; an answer that is read as a whole
    may take four times as long.
    """

    max_concurrency: int
    queue_seconds: float
    connect_timeout_seconds: float
    timeout_seconds: float
    max_json_bytes: int
    max_waiting: int = 128

    @property
    def head_seconds(self) -> float:
        """How long the head of an answer may take, however it trickles in."""
        return self.connect_timeout_seconds + self.timeout_seconds


class ArchiveClient:
    """GET requests to the archive named `archive`."""

    def __init__(
        self,
        archive: str,
        auth: Auth,
        limits: Limits,
        telemetry: Telemetry,
        section: Tls | None = None,
    ) -> None:
        """`section`: the certificates for it; its token server has its own, in `auth`."""
        self._archive = archive
        self._certificates = Certificates(archive, section)
        self._limits = limits
        self._telemetry = telemetry
        self._token_server = TokenServer(
            archive,
            auth,
            connect_seconds=limits.connect_timeout_seconds,
            answer_seconds=limits.timeout_seconds,
        )
        self._credentials = Credentials(archive, auth, self._token_server.answer)
        self._retries = Retries()
        self._turns = Turns(
            archive,
            limits.max_concurrency,
            queue_seconds=limits.queue_seconds,
            max_waiting=limits.max_waiting,
        )
        self._pool = Pool(connect_seconds=limits.connect_timeout_seconds)
        self.asker = Asker(
            archive=archive,
            pool=self._pool,
            turns=self._turns,
            credentials=self._credentials,
            certificates=self._certificates,
            retries=self._retries,
            telemetry=telemetry,
            seconds=limits.timeout_seconds,
            head_seconds=limits.head_seconds,
        )

    @asynccontextmanager
    async def get(
        self,
        base: str,
        segments: Sequence[str] = (),
        parameters: Sequence[tuple[str, str]] = (),
        *,
        accept: str,
        is_stream: bool = False,
        byte_range: str | None = None,
    ) -> AsyncIterator[Response]:
        """What `opened` gives, let go at the end."""
        async with await self.opened(
            base, segments, parameters, accept=accept, is_stream=is_stream, byte_range=byte_range
        ) as response:
            yield response

    async def opened(
        self,
        base: str,
        segments: Sequence[str] = (),
        parameters: Sequence[tuple[str, str]] = (),
        *,
        accept: str,
        is_stream: bool = False,
        byte_range: str | None = None,
    ) -> Response:
        """The archive's successful answer to GET {base}/{segments}?{parameters}, body unread.

        NotFound for 404 and 410; other failures as ArchiveError. Holds one place of the archive's
        budget until the answer is let go. `is_stream`: the body is passed on as it comes, must not
        be compressed, and must be all of it unless `byte_range`, a Range field, says otherwise;
        NotAcceptable for 406, since it is somebody else who accepts it or not.
        """
        asked = request(base, segments, parameters)
        fields = {"Accept": accept, "Accept-Encoding": "identity" if is_stream else "gzip"}
        if byte_range is not None:
            fields["Range"] = byte_range
        is_plain = is_stream and byte_range is None
        ahead = taken_over(self.asker, asked, accept) if is_plain else None
        if ahead is None:
            await self._turns.take(is_stream=is_stream)
        try:
            answer = await self._answer(asked, fields, ahead, is_stream=is_stream)
        except BaseException:
            if ahead is not None:
                ahead.let_go()
            self._turns.give_back(is_stream=is_stream)
            raise
        seconds = self._limits.timeout_seconds
        response = Response(self._archive, answer, seconds, self._turns, is_stream=is_stream)
        if is_stream and (wrong := _wrong(answer, byte_range)):
            response.let_go()
            raise self._bad(wrong)
        return response

    async def json(self, response: Response) -> bytes | bytearray:
        """The whole body of a JSON answer, inflated within the bound; b"" for none.

        It is not copied into bytes: that takes as long as several steps of reading it.
        """
        if response.status == 204:
            return b""
        inflating = inflater(response.headers.get("Content-Encoding", ""))
        if inflating is None:
            raise self._bad("its answer is encoded in an unknown way")
        inflated, is_whole = inflating
        body = bytearray()
        with as_archive_errors(self._archive):
            async with asyncio.timeout(_WHOLE_ANSWER_TIMES * self._limits.timeout_seconds):
                async for chunk in response:
                    for piece in inflated(chunk):
                        body += piece
                        if len(body) > self._limits.max_json_bytes:
                            raise self._bad("its answer is larger than allowed")
                        if len(piece) == STEP_BYTES:
                            await asyncio.sleep(0)
        if not is_whole():
            raise self._bad("its answer ends before its end")
        if not (response.has_end or body.strip()):  # JSON itself tells where it ends, if it begins
            raise ArchiveUnreachable("its answer broke off", archive=self._archive)
        return body

    async def close(self) -> None:
        """Lets go of all connections."""
        await self._pool.close()
        await self._token_server.close()

    async def _answer(
        self, asked: Request, fields: dict[str, str], ahead: Ahead | None, *, is_stream: bool
    ) -> Answer:
        """The successful answer; tried once more where another token can be had."""
        started = time.monotonic() if ahead is None else ahead.started
        outcome = "cancelled"
        asked_an_archive()
        try:
            answer, authorization = await self._sent(asked, fields, ahead)
            if answer.status == 401 and self._credentials.refused(authorization):
                answer.let_go()
                answer, _ = await self._sent(asked, fields)
            try:
                status, headers = answer.status, answer.headers
                raise_for(self._archive, status, headers, is_for_caller=is_stream)
            except GatewayError:
                answer.let_go()
                raise
            outcome = "ok"
            return answer
        except ArchiveError as error:
            outcome = error.code
            raise
        except GatewayError:
            outcome = "ok"
            raise
        finally:
            self._telemetry.archive_answered(self._archive, outcome, time.monotonic() - started)

    async def _sent(
        self, asked: Request, fields: dict[str, str], ahead: Ahead | None = None
    ) -> tuple[Answer, str | None]:
        """Whatever the archive answers, and the Authorization that it was asked with."""
        if ahead is not None:
            authorization = ahead.authorization
        else:
            authorization = await self._credentials.authorization()
        own = {} if authorization is None else {"Authorization": authorization}
        try:
            given = await self._certificates.context()
            context = given if isinstance(given, ssl.SSLContext) else None
            head = asked.head(fields | own)
            return await self._once_more(asked.origin, head, context, ahead), authorization
        except TROUBLES as error:
            raise failure(self._archive, error) from error

    async def _once_more(
        self, to: Origin, head: bytes, context: ssl.SSLContext | None, ahead: Ahead | None
    ) -> Answer:
        """The answer; asked for twice where the connection failed and the budget allows it.

        That a kept connection ended tells nothing of the archive, and costs nothing of the budget:
        as each idle connection may (RFC 9112 §9.3.1).
        """
        seconds, head_seconds = self._limits.timeout_seconds, self._limits.head_seconds
        try:
            with contextlib.suppress(Lost):
                if ahead is not None:
                    return await ahead.head()
                self._retries.asked()
                if (kept := self._pool.kept(to, context)) is not None:
                    return await kept.ask(head, seconds, head_seconds)
            connection = await self._pool.new(to, context)
            return await connection.ask(head, seconds, head_seconds)
        except OSError as error:
            is_same_again = isinstance(error, TimeoutError) or tls.trouble(error) is not None
            if is_same_again or not self._retries.taken():
                raise
        await asyncio.sleep(_RETRY_SECONDS * random.random())  # noqa: S311 - no secret
        connection = await self._pool.new(to, context)
        return await connection.ask(head, seconds, head_seconds)

    def _bad(self, message: str) -> ArchiveBadAnswer:
        return ArchiveBadAnswer(message, archive=self._archive)


def _wrong(answer: Answer, byte_range: str | None) -> str | None:
    """Why a body cannot be passed on as it comes; None: it can."""
    if answer.status == 206 and byte_range is None:
        return "it gave a part of what was asked for"
    codings = {c.strip().lower() for c in answer.headers.get("Content-Encoding", "").split(",")}
    return None if codings.isdisjoint(_COMPRESSING) else "it compressed what it was not to"
