"""How the gateway proves itself to one archive; an OAuth 2 token is fetched once for all."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import quote_plus

import orjson

from gateway.config_servers import Auth, BasicAuth, BearerAuth, OAuth2Auth
from gateway.errors import ArchiveError, ArchiveRefused

TokenServer = Callable[[str, Mapping[str, str], str], Awaitable[tuple[int, bytes]]]
"""Posts a form to an address with an Authorization field; the status and the body of the answer."""
_MARGIN_SECONDS = 30
_LIFETIME_SECONDS = 300


class Credentials:
    """The Authorization field of one archive; it goes to no other host."""

    def __init__(self, archive: str, auth: Auth, server: TokenServer) -> None:
        self._archive = archive
        self._auth = auth
        self._fixed = _fixed(auth)
        self._server = server
        self._lock = asyncio.Lock()
        self._attempts = 0
        self._failure: ArchiveError | None = None
        self._token: str | None = None
        self._good_until = 0.0

    async def authorization(self) -> str | None:
        """The field's value; None where no credentials are asked for. ArchiveError: no token."""
        held = self.at_hand()
        if held is None and isinstance(self._auth, OAuth2Auth):
            return f"Bearer {await self._oauth2_token(self._auth)}"
        return held or None

    def at_hand(self) -> str | None:
        """The field's value where nobody need be asked for it, "" for none; None: somebody must."""
        if self._fixed is not None:
            return self._fixed
        is_good = self._token is not None and time.monotonic() < self._good_until
        return f"Bearer {self._token}" if is_good else None

    def refused(self, authorization: str | None) -> bool:
        """Told that the archive refused `authorization`: whether another one can be had."""
        if not isinstance(self._auth, OAuth2Auth):
            return False
        if authorization == f"Bearer {self._token}":
            self._token = None
        return True

    async def _oauth2_token(self, auth: OAuth2Auth) -> str:
        """A client credentials token (RFC 6749 §4.4), kept until shortly before it expires.

        Who waited for an attempt of another that failed gets its failure, not an attempt of his
        own: a token server that hangs is waited for once.
        """
        attempts = self._attempts
        async with self._lock:
            if self._token is not None and time.monotonic() < self._good_until:
                return self._token
            if self._attempts != attempts and self._failure is not None:
                raise self._failure
            try:
                token, lifetime = await self._fetched(auth)
            except ArchiveError as error:
                self._failure = error
                raise
            finally:
                self._attempts += 1
            self._failure = None
            self._token = token
            self._good_until = time.monotonic() + max(0.0, lifetime - _MARGIN_SECONDS)
            return token

    async def _fetched(self, auth: OAuth2Auth) -> tuple[str, float]:
        """A new token and its seconds; ArchiveRefused when the token server gives none."""
        form = {"grant_type": "client_credentials"} | ({"scope": auth.scope} if auth.scope else {})
        pair = (quote_plus(auth.client_id), quote_plus(auth.client_secret.get_secret_value()))
        status, body = await self._server(auth.token_url, form, _basic(*pair))
        if status != 200:
            raise ArchiveRefused("its token server refuses", archive=self._archive)
        try:
            answer = orjson.loads(body)
            token, lifetime = answer["access_token"], answer.get("expires_in")
            seconds = _LIFETIME_SECONDS if lifetime is None else float(lifetime)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ArchiveRefused("its token server gave no token", archive=self._archive) from error
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise ArchiveRefused("its token server gave no token", archive=self._archive)
        return token, seconds


def _basic(name: str, password: str) -> str:
    """RFC 7617, in UTF-8."""
    return f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"


def _fixed(auth: Auth) -> str | None:
    """A field's value that is always the same, "" for none; None: it is fetched."""
    if isinstance(auth, BasicAuth):
        return _basic(auth.username, auth.password.get_secret_value())
    if isinstance(auth, BearerAuth):
        return f"Bearer {auth.token.get_secret_value()}"
    return None if isinstance(auth, OAuth2Auth) else ""
