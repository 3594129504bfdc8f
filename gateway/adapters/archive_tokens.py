"""The token server of one archive, which is asked by aiohttp's client."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from gateway.adapters import http_sessions
from gateway.adapters.archive_failures import as_archive_errors
from gateway.adapters.tls import Certificates
from gateway.config_servers import Auth, OAuth2Auth
from gateway.errors import ArchiveRefused

_MAX_TOKEN_BYTES = 1 << 16


class TokenServer:
    """Where the tokens of one archive come from, if it wants any."""

    def __init__(
        self, archive: str, auth: Auth, *, connect_seconds: float, answer_seconds: float
    ) -> None:
        """Seconds: for connecting, and for each byte of an answer."""
        self._archive = archive
        self._certificates = Certificates(
            archive, auth.tls if isinstance(auth, OAuth2Auth) else None
        )
        self._connect_seconds = connect_seconds
        self._answer_seconds = answer_seconds
        self._session: http_sessions.Session | None = None

    async def answer(
        self, url: str, form: Mapping[str, str], authorization: str
    ) -> tuple[int, bytes]:
        """The status and the body of the answer to a form; ArchiveError: there is none."""
        headers = {"Authorization": authorization, "Accept-Encoding": "identity"}
        with as_archive_errors(self._archive):
            async with (
                asyncio.timeout(self._connect_seconds + self._answer_seconds),
                self._opened().post(
                    url,
                    data=dict(form),
                    headers=headers,
                    allow_redirects=False,
                    ssl=await self._certificates.context(),
                ) as answer,
            ):
                body = bytearray()
                async for chunk in answer.content.iter_any():
                    body += chunk
                    if len(body) > _MAX_TOKEN_BYTES:
                        raise ArchiveRefused("its token is too long", archive=self._archive)
                return answer.status, bytes(body)

    async def close(self) -> None:
        """Lets go of all connections."""
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> http_sessions.Session:
        if self._session is None:
            self._session = http_sessions.session(
                connect_seconds=self._connect_seconds, read_seconds=self._answer_seconds
            )
        return self._session
