"""Requests to one archive within its bounds.

Addresses are built from the configured bases, segment by segment; redirects are not followed,
nothing is inflated without a bound, and what goes wrong comes out as one of our own errors.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from urllib.parse import quote

import aiohttp
from yarl import URL

from gateway.adapters import http_sessions
from gateway.adapters.archive_failures import as_archive_errors, raise_for
from gateway.adapters.budgets import asked_an_archive
from gateway.adapters.credentials import Credentials
from gateway.adapters.inflating import STEP_BYTES, inflater
from gateway.adapters.retries import Retries
from gateway.adapters.telemetry import Telemetry
from gateway.adapters.tls import Certificates
from gateway.adapters.turns import Turns
from gateway.config_servers import Auth, OAuth2Auth, Tls
from gateway.errors import ArchiveBadAnswer, ArchiveError, ArchiveRefused, GatewayError

_PLAIN_SEGMENT = re.compile(r"[A-Za-z0-9.,_-]+", re.ASCII).fullmatch
"""Segments that are the same when encoded, such as UIDs."""
_SAFE_IN_QUERY = ",*?-._~:/@!$'();"
_MAX_TOKEN_BYTES = 1 << 16
_WHOLE_ANSWER_TIMES = 4
_LOST = (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)
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
        of_token_server = auth.tls if isinstance(auth, OAuth2Auth) else None
        self._token_certificates = Certificates(archive, of_token_server)
        self._limits = limits
        self._telemetry = telemetry
        self._credentials = Credentials(archive, auth, self._token_answer)
        self._retries = Retries()
        self._turns = Turns(
            archive,
            limits.max_concurrency,
            queue_seconds=limits.queue_seconds,
            max_waiting=limits.max_waiting,
        )
        self._session: http_sessions.Session | None = None

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
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The archive's successful answer to GET {base}/{segments}?{parameters}, body unread.

        NotFound for 404 and 410, NotAcceptable for 406; other failures as ArchiveError. Holds one
        place of the archive's budget until the answer is let go. `is_stream`: the body is passed
        on as it comes, is not asked for in gzip, and must be all of it unless `byte_range`, a
        Range field, says otherwise.
        """
        url = _url(base, segments, parameters)
        headers = {"Accept": accept, "Accept-Encoding": "identity" if is_stream else "gzip"}
        if byte_range is not None:
            headers["Range"] = byte_range
        async with self._turns.taken(is_stream=is_stream):
            response = await self._answer(url, headers)
            try:
                if response.status == 206 and is_stream and byte_range is None:
                    raise self._bad("it gave a part of what was asked for")
                yield response
            finally:
                _let_go(response)

    async def json(self, response: aiohttp.ClientResponse) -> bytes | bytearray:
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
        with self._as_archive_errors():
            async with asyncio.timeout(_WHOLE_ANSWER_TIMES * self._limits.timeout_seconds):
                async for chunk in self.chunks(response):
                    for piece in inflated(chunk):
                        body += piece
                        if len(body) > self._limits.max_json_bytes:
                            raise self._bad("its answer is larger than allowed")
                        if len(piece) == STEP_BYTES:
                            await asyncio.sleep(0)
        if not is_whole():
            raise self._bad("its answer ends before its end")
        return body

    async def chunks(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """The body as it comes; ArchiveTimeout or ArchiveUnreachable when it stalls or breaks."""
        iterator = response.content.iter_any().__aiter__()
        while True:
            with self._as_archive_errors():
                chunk = await anext(iterator, None)
            if chunk is None:
                return
            yield chunk

    async def close(self) -> None:
        """Lets go of all connections."""
        if self._session is not None:
            await self._session.close()

    async def _answer(self, url: URL, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        """The successful answer; tried once more where another token can be had."""
        started = time.monotonic()
        outcome = "cancelled"
        asked_an_archive()
        try:
            response, authorization = await self._sent(url, headers)
            if response.status == 401 and self._credentials.refused(authorization):
                _let_go(response)
                response, _ = await self._sent(url, headers)
            try:
                raise_for(self._archive, response.status, response.headers)
            except GatewayError:
                _let_go(response)
                raise
            outcome = "ok"
            return response
        except ArchiveError as error:
            outcome = error.code
            raise
        except GatewayError:
            outcome = "ok"
            raise
        finally:
            self._telemetry.archive_answered(self._archive, outcome, time.monotonic() - started)

    async def _sent(
        self, url: URL, headers: Mapping[str, str]
    ) -> tuple[aiohttp.ClientResponse, str | None]:
        """Whatever the archive answers, and the Authorization that it was asked with."""
        authorization = await self._credentials.authorization()
        own = {} if authorization is None else {"Authorization": authorization}
        with self._as_archive_errors():
            async with self._deadline():
                response = await self._opened().get(
                    url,
                    headers={**headers, **own},
                    allow_redirects=False,
                    middlewares=(self._once_more,),
                    ssl=await self._certificates.context(),
                )
        return response, authorization

    async def _once_more(
        self, request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """The answer; asked for twice where the connection failed and the budget allows it.

        In place of the client's own way, which asks twice whenever a connection fails.
        """
        self._retries.asked()
        try:
            return await send(request)
        except aiohttp.ClientSSLError:
            raise  # it would be the same once more
        except _LOST as error:
            if not self._retries.taken():
                raise aiohttp.ClientConnectionError("lost") from error
        await asyncio.sleep(_RETRY_SECONDS * random.random())  # noqa: S311 - no secret
        try:
            return await send(request)
        except _LOST as error:
            raise aiohttp.ClientConnectionError("lost again") from error

    async def _token_answer(
        self, url: str, form: Mapping[str, str], authorization: str
    ) -> tuple[int, bytes]:
        """What a token server answers to a form."""
        headers = {"Authorization": authorization, "Accept-Encoding": "identity"}
        with self._as_archive_errors():
            async with (
                self._deadline(),
                self._opened().post(
                    url,
                    data=dict(form),
                    headers=headers,
                    allow_redirects=False,
                    ssl=await self._token_certificates.context(),
                ) as answer,
            ):
                body = bytearray()
                async for chunk in answer.content.iter_any():
                    body += chunk
                    if len(body) > _MAX_TOKEN_BYTES:
                        raise ArchiveRefused("its token is too long", archive=self._archive)
                return answer.status, bytes(body)

    def _deadline(self) -> asyncio.Timeout:
        """For connecting and the whole head of an answer, however it trickles in."""
        return asyncio.timeout(self._limits.connect_timeout_seconds + self._limits.timeout_seconds)

    def _opened(self) -> http_sessions.Session:
        if self._session is None:
            self._session = http_sessions.session(
                connect_seconds=self._limits.connect_timeout_seconds,
                read_seconds=self._limits.timeout_seconds,
            )
        return self._session

    def _bad(self, message: str) -> ArchiveBadAnswer:
        return ArchiveBadAnswer(message, archive=self._archive)

    def _as_archive_errors(self) -> AbstractContextManager[None]:
        return as_archive_errors(self._archive)


def has_end(response: aiohttp.ClientResponse) -> bool:
    """Whether HTTP tells where the body ends; if not, one that was cut looks like a whole one."""
    return response.content_length is not None or "Transfer-Encoding" in response.headers


def _let_go(response: aiohttp.ClientResponse) -> None:
    """The connection is used again if nothing is left on it, else closed."""
    if response.content.at_eof():
        response.release()
    else:
        response.close()


def _url(base: str, segments: Sequence[str], parameters: Sequence[tuple[str, str]]) -> URL:
    """{base}/{segments}?{parameters}, every segment and value encoded here and nowhere else."""
    if any(s in {"", ".", ".."} for s in segments):
        raise ValueError("a segment that would lead out of the base")
    path = "".join(f"/{s if _PLAIN_SEGMENT(s) else quote(s, safe=',')}" for s in segments)
    query = "&".join(f"{quote(n, safe='.')}={quote(v, safe=_SAFE_IN_QUERY)}" for n, v in parameters)
    return URL(f"{base}{path}{'?' if query else ''}{query}", encoded=True)
