"""Token introspection (RFC 7662), its answers remembered for a little while.

A token is remembered by its HMAC under a key of this process, never as it is. Several issuers are
asked one after the other, so that none is shown a token that one before it knows.
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


class Introspections:
    """Issuers that are asked about opaque tokens, by name, in their order. Closes them."""

    def __init__(self, issuers: Mapping[str, Introspection]) -> None:
        self._issuers = issuers
        self._secret = secrets.token_bytes(32)
        self._known_by: OrderedDict[bytes, str] = OrderedDict()

    def __contains__(self, issuer: object) -> bool:
        """Whether an issuer is asked."""
        return issuer in self._issuers

    async def said(self, token: str, issuer: str | None) -> tuple[str, Mapping[str, Any]] | None:
        """The first issuer that knows an active token, and what it says; None: none does.

        `issuer`: the one that is asked; None: whichever it is, the one that knew it before at once.
        Unavailable: one that has to be asked does not answer, and so no later one is asked either.
        """
        name = hmac.digest(self._secret, token.encode(), "sha256")
        known_by = self._known_by.get(name) if issuer is None else issuer
        for one in self._issuers if known_by is None else (known_by,):
            if (said := await self._issuers[one].said(token)) is not None:
                self._note(name, one)
                return one, said
        self._known_by.pop(name, None)
        return None

    def repeats(self, token: str, issuer: str) -> Callable[[], bool]:
        """Tells, whenever it is asked, whether what an issuer said of a token is believed still."""
        return self._issuers[issuer].repeats(token)

    async def close(self) -> None:
        """Lets go of the connections."""
        for one in self._issuers.values():
            await one.close()

    def _note(self, name: bytes, known_by: str) -> None:
        self._known_by[name] = known_by
        self._known_by.move_to_end(name)
        if len(self._known_by) > MAX_REMEMBERED:
            self._known_by.popitem(last=False)


def _active(body: bytes) -> Mapping[str, Any] | None:
    """The claims of an active token; Unavailable when the answer is none."""
    try:
        said = orjson.loads(body)
    except ValueError as error:
        raise Unavailable("tokens cannot be checked now") from error
    if not isinstance(said, dict) or not isinstance(said.get("active"), bool):
        raise Unavailable("tokens cannot be checked now")
    return said if said["active"] else None
