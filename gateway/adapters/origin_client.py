"""Small requests to one configured address that is no archive: keys, tokens, audit."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
from yarl import URL

from gateway.adapters import http_sessions, tls
from gateway.adapters.credentials import TokenServer
from gateway.adapters.tls import Certificates
from gateway.config_servers import Auth, OAuth2Auth, Tls
from gateway.errors import Unavailable

_CONNECT_SECONDS = 3.0
_ANSWER_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole answer; `etag` None: it has none."""

    status: int
    body: bytes
    etag: str | None = None


class OriginClient:
    """Requests to `url` and nowhere else; `name` tells what it is, in errors."""

    def __init__(
        self, name: str, url: str, section: Tls | None = None, *, max_bytes: int = 1 << 20
    ) -> None:
        """`section`: the certificates for connections to it."""
        self._name = name
        self._certificates = Certificates(name, section)
        self._url = URL(url)
        self._max_bytes = max_bytes
        self._session: http_sessions.Session | None = None

    async def ask(
        self,
        method: str,
        *,
        headers: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """What it answers, whatever the status. Unavailable: nothing, in time, in full."""
        sent = {"Accept-Encoding": "identity", **(headers or {})}
        try:
            async with asyncio.timeout(_CONNECT_SECONDS + _ANSWER_SECONDS):
                async with self._opened().request(
                    method,
                    self._url,
                    headers=sent,
                    data=dict(form) if form is not None else body,
                    allow_redirects=False,
                    ssl=await self._certificates.context(),
                ) as answer:
                    body_read = await self._whole(answer)
                    etag = answer.headers.get("ETag")
                    return Answer(status=answer.status, body=body_read, etag=etag)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            found = tls.trouble(error)
            words = "does not answer" if found is None else f"cannot be asked: {found[0]}"
            raise Unavailable(f"{self._name} {words}") from error

    async def close(self) -> None:
        """Lets go of all connections."""
        if self._session is not None:
            await self._session.close()

    async def _whole(self, answer: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for chunk in answer.content.iter_any():
            body += chunk
            if len(body) > self._max_bytes:
                raise ValueError("too long")
        return bytes(body)

    def _opened(self) -> http_sessions.Session:
        if self._session is None:
            self._session = http_sessions.session(
                connect_seconds=_CONNECT_SECONDS, read_seconds=_ANSWER_SECONDS
            )
        return self._session


def token_server(auth: Auth) -> TokenServer:
    """Asks the token server of some credentials; Unavailable when it does not answer."""

    async def answer(url: str, form: Mapping[str, str], authorization: str) -> tuple[int, bytes]:
        section = auth.tls if isinstance(auth, OAuth2Auth) else None
        client = OriginClient("the token server", url, section, max_bytes=1 << 16)
        try:
            answer = await client.ask("POST", headers={"Authorization": authorization}, form=form)
        finally:
            await client.close()
        return answer.status, answer.body

    return answer
