"""Token introspection (RFC 7662) at one issuer, its answers remembered for a little while.

A token is remembered by its HMAC under a key of this process, never as it is.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus

import orjson

from gateway.adapters.flights import Flights
from gateway.adapters.origin_client import OriginClient
from gateway.errors import Unavailable

GOOD_SECONDS = 60.0
BAD_SECONDS = 10.0
MAX_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class _Remembered:
    said: Mapping[str, Any] | None
    until: float


class Introspection:
    """Asks `client` about tokens. `clock` never goes back; `now` is the time of day in seconds."""

    def __init__(
        self,
        client: OriginClient,
        *,
        client_id: str,
        client_secret: str,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        pair = f"{quote_plus(client_id)}:{quote_plus(client_secret)}".encode()
        self._authorization = f"Basic {base64.b64encode(pair).decode()}"
        self._clock, self._now = clock, now
        self._secret = secrets.token_bytes(32)
        self._known: OrderedDict[str, _Remembered] = OrderedDict()
        self._asking: Flights[Mapping[str, Any] | None] = Flights()

    async def said(self, token: str) -> Mapping[str, Any] | None:
        """What the issuer says of an active token; None for one that is not. Unavailable."""
        name = self._name(token)
        known = self._known.get(name)
        if known is not None and self._clock() < known.until:
            return known.said
        return await self._asking.join(name, lambda: self._asked(name, token))

    def repeats(self, token: str) -> Callable[[], bool]:
        """Tells, whenever it is asked, whether what is remembered of a token now still is."""
        known = self._known.get(self._name(token))
        until = float("-inf") if known is None else known.until
        return lambda: self._clock() < until

    async def close(self) -> None:
        """Lets go of the connection."""
        await self._asking.close()
        await self._client.close()

    def _name(self, token: str) -> str:
        return hmac.new(self._secret, token.encode(), hashlib.sha256).hexdigest()

    async def _asked(self, name: str, token: str) -> Mapping[str, Any] | None:
        answer = await self._client.ask(
            "POST",
            headers={"Authorization": self._authorization, "Accept": "application/json"},
            form={"token": token, "token_type_hint": "access_token"},
        )
        if answer.status != 200:
            raise Unavailable("tokens cannot be checked now")
        said = _active(answer.body)
        seconds = BAD_SECONDS if said is None else self._good_seconds(said)
        self._known[name] = _Remembered(said, self._clock() + seconds)
        self._known.move_to_end(name)
        while len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)
        return said

    def _good_seconds(self, said: Mapping[str, Any]) -> float:
        """How long a good answer is believed: not beyond the token's own end."""
        expires = said.get("exp")
        if not isinstance(expires, int | float):
            return GOOD_SECONDS
        return max(0.0, min(GOOD_SECONDS, expires - self._now()))


def _active(body: bytes) -> Mapping[str, Any] | None:
    """The claims of an active token; Unavailable when the answer is none."""
    try:
        said = orjson.loads(body)
    except ValueError as error:
        raise Unavailable("tokens cannot be checked now") from error
    if not isinstance(said, dict) or not isinstance(said.get("active"), bool):
        raise Unavailable("tokens cannot be checked now")
    return said if said["active"] else None
