"""Requests to one archive: its budget, deadlines, credentials and bounds; the only opener of sessions.

Addresses are built from the configured bases, segment by segment; redirects are not followed,
nothing is inflated without a bound, and what goes wrong comes out as one of our own errors.
"""

from __future__ import annotations

import asyncio
import base64
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from urllib.parse import quote

import aiohttp
import orjson
from yarl import URL

from gateway.adapters.telemetry import Telemetry
from gateway.config import Auth, BasicAuth, BearerAuth, OAuth2Auth
from gateway.errors import (
    ArchiveBadAnswer,
    ArchiveBusy,
    ArchiveError,
    ArchiveRefused,
    ArchiveTimeout,
    ArchiveUnreachable,
    NotAcceptable,
    NotFound,
)

_SAFE_IN_QUERY = ",*?-._~:/@!$'();"
_READ_BYTES = 1 << 16
_TOKEN_MARGIN_SECONDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one archive may cost; all from its section of the configuration."""

    max_concurrency: int
    queue_seconds: float
    connect_timeout_seconds: float
    timeout_seconds: float
    max_json_bytes: int


class ArchiveClient:
    """GET requests to the archive named `archive`."""

    def __init__(self, archive: str, auth: Auth, limits: Limits, telemetry: Telemetry) -> None:
        self._archive = archive
        self._auth = auth
        self._limits = limits
        self._telemetry = telemetry
        self._turns = asyncio.Semaphore(limits.max_concurrency)
        self._session: aiohttp.ClientSession | None = None
        self._token = _Token()

    @asynccontextmanager
    async def get(
        self,
        base: str,
        segments: Sequence[str] = (),
        parameters: Sequence[tuple[str, str]] = (),
        *,
        accept: str,
        compressed: bool = False,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The archive's successful answer to GET {base}/{segments}?{parameters}, body unread.

        NotFound for 404 and 410, NotAcceptable for 406; other failures as ArchiveError. Holds one
        place of the archive's budget until the answer is let go.
        """
        url = _url(base, segments, parameters)
        async with self._turn():
            response = await self._send(url, accept, compressed)
            if response.status == 401 and isinstance(self._auth, OAuth2Auth):
                response.release()
                self._token = _Token()
                response = await self._send(url, accept, compressed)
            try:
                self._raise_for(response)
                yield response
            finally:
                if response.content.at_eof():
                    response.release()
                else:
                    response.close()

    async def json(self, response: aiohttp.ClientResponse) -> bytes:
        """The whole body of a JSON answer, inflated within the bound; b"" for none."""
        if response.status == 204:
            return b""
        body = bytearray()
        inflate = _inflater(response.headers.get("Content-Encoding", ""), self._archive)
        async for chunk in self.chunks(response):
            with self._as_bad_answer():
                body += inflate(chunk, self._limits.max_json_bytes + 1 - len(body))
            if len(body) > self._limits.max_json_bytes:
                raise ArchiveBadAnswer("its answer is larger than allowed", archive=self._archive)
        return bytes(body)

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

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._limits.queue_seconds):
                await self._turns.acquire()
        except TimeoutError as error:
            raise ArchiveBusy("too many requests under way", archive=self._archive) from error
        try:
            yield
        finally:
            self._turns.release()

    async def _send(self, url: URL, accept: str, compressed: bool) -> aiohttp.ClientResponse:
        started = time.monotonic()
        outcome = "ok"
        try:
            with self._as_archive_errors():
                return await self._opened().get(
                    url,
                    headers={
                        "Accept": accept,
                        "Accept-Encoding": "gzip" if compressed else "identity",
                        **await self._credentials(),
                    },
                    allow_redirects=False,
                )
        except ArchiveError as error:
            outcome = error.code
            raise
        finally:
            self._telemetry.archive_answered(self._archive, outcome, time.monotonic() - started)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                connector=aiohttp.TCPConnector(limit=0),
                timeout=aiohttp.ClientTimeout(
                    total=None,
                    sock_connect=self._limits.connect_timeout_seconds,
                    sock_read=self._limits.timeout_seconds,
                ),
                trust_env=False,
            )
        return self._session

    async def _credentials(self) -> dict[str, str]:
        if isinstance(self._auth, BasicAuth):
            pair = f"{self._auth.username}:{self._auth.password.get_secret_value()}"
            return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
        if isinstance(self._auth, BearerAuth):
            return {"Authorization": f"Bearer {self._auth.token.get_secret_value()}"}
        if isinstance(self._auth, OAuth2Auth):
            return {"Authorization": f"Bearer {await self._oauth2_token(self._auth)}"}
        return {}

    async def _oauth2_token(self, auth: OAuth2Auth) -> str:
        """A client credentials token (RFC 6749 §4.4), kept until shortly before it expires."""
        token = self._token
        async with token.lock:
            if token.value is None or time.monotonic() > token.good_until:
                form = {"grant_type": "client_credentials"} | (
                    {"scope": auth.scope} if auth.scope else {}
                )
                basic = aiohttp.encode_basic_auth(
                    auth.client_id, auth.client_secret.get_secret_value()
                )
                answer = await self._opened().post(
                    auth.token_url,
                    data=form,
                    headers={"Authorization": basic},
                    allow_redirects=False,
                )
                async with answer:
                    if answer.status != 200:
                        raise ArchiveRefused("its token server refuses", archive=self._archive)
                    token.take(await answer.content.read(_READ_BYTES), self._archive)
            return token.value or ""

    def _raise_for(self, response: aiohttp.ClientResponse) -> None:
        status = response.status
        if status in {200, 204, 206}:
            return
        if status in {404, 410}:
            raise NotFound("not found")
        if status == 406:
            raise NotAcceptable(f"archive {self._archive} cannot give what Accept asks for")
        if status in {401, 403}:
            raise ArchiveRefused("it refuses the gateway", archive=self._archive)
        if status in {429, 503}:
            raise ArchiveBusy(f"it answered {status}", archive=self._archive)
        if status == 504:
            raise ArchiveTimeout("it answered 504", archive=self._archive)
        raise ArchiveBadAnswer(f"it answered {status}", archive=self._archive, answered=status)

    @contextmanager
    def _as_archive_errors(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            raise ArchiveTimeout("no answer in time", archive=self._archive) from error
        except (aiohttp.ClientPayloadError, aiohttp.ClientConnectionResetError) as error:
            raise ArchiveUnreachable("its answer broke off", archive=self._archive) from error
        except (aiohttp.ClientConnectionError, OSError) as error:
            raise ArchiveUnreachable("no connection", archive=self._archive) from error
        except (aiohttp.ClientError, ValueError) as error:
            raise ArchiveBadAnswer("not an HTTP answer", archive=self._archive) from error

    @contextmanager
    def _as_bad_answer(self) -> Iterator[None]:
        try:
            yield
        except zlib.error as error:
            raise ArchiveBadAnswer(
                "its answer cannot be inflated", archive=self._archive
            ) from error


class _Token:
    """An OAuth 2 access token and how long it is good for (monotonic seconds)."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.value: str | None = None
        self.good_until = 0.0

    def take(self, body: bytes, archive: str) -> None:
        """Keeps the token of an answer (RFC 6749 §5.1); ArchiveRefused when it has none."""
        try:
            answer = orjson.loads(body)
            self.value = str(answer["access_token"])
            lifetime = float(answer.get("expires_in", 300))
        except (ValueError, TypeError, KeyError) as error:
            raise ArchiveRefused("its token server gave no token", archive=archive) from error
        self.good_until = time.monotonic() + max(0.0, lifetime - _TOKEN_MARGIN_SECONDS)


def _url(base: str, segments: Sequence[str], parameters: Sequence[tuple[str, str]]) -> URL:
    """{base}/{segments}?{parameters}, every segment and value encoded here and nowhere else."""
    path = "".join(f"/{quote(s, safe=',')}" for s in segments)
    query = "&".join(f"{quote(n, safe='.')}={quote(v, safe=_SAFE_IN_QUERY)}" for n, v in parameters)
    return URL(f"{base}{path}{'?' if query else ''}{query}", encoded=True)


def _inflater(encoding: str, archive: str) -> Callable[[bytes, int], bytes]:
    """A function (chunk, most bytes to give) → bytes for a Content-Encoding."""
    kind = encoding.strip().lower()
    if kind in {"", "identity"}:
        return lambda chunk, most: chunk
    if kind not in {"gzip", "x-gzip", "deflate"}:
        raise ArchiveBadAnswer("its answer is encoded in an unknown way", archive=archive)
    inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    return lambda chunk, most: inflate.decompress(chunk, most)
