"""The public keys of one issuer (RFC 7517), from a file or its address, asked for sparingly.

A set is believed for `FRESH_SECONDS`, a file's for `FILE_SECONDS`; then whoever needs it has it
read first. A key id that is not known may be a new key: the set is read again, at most once in
`AGAIN_SECONDS`, whatever number of unknown ids callers send. While it cannot be read, the keys
that are known stay good for `LONGEST_SECONDS`, and it is tried again in the background.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from gateway.adapters.flights import Flights
from gateway.adapters.origin_client import OriginClient
from gateway.errors import Unauthorized, Unavailable

if TYPE_CHECKING:
    import jwt

FRESH_SECONDS = 60.0
AGAIN_SECONDS = 30.0
FILE_SECONDS = 1.0
"""How long a file is believed, and until it is looked at again."""
LONGEST_SECONDS = 86400.0
MAX_KEYS = 100
_Key = Mapping[str, Any]
_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class TokenKeys:
    """The keys behind `source`; `clock` reads seconds that never go back."""

    def __init__(
        self, source: OriginClient | Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._source = source
        self._clock = clock
        self._is_file = isinstance(source, Path)
        self._fresh_seconds = FILE_SECONDS if self._is_file else FRESH_SECONDS
        self._again_seconds = FILE_SECONDS if self._is_file else AGAIN_SECONDS
        self._text = b""
        self._etag: str | None = None
        self._keys: Mapping[str | None, _Key] = {}
        self._read_at = float("-inf")
        self._tried_at = float("-inf")
        self._is_failing = False
        self._reading: Flights[None] = Flights()

    async def key(self, key_id: str | None, algorithm: str) -> jwt.PyJWK:
        """The key for a token's `kid` and `alg`. Unauthorized: none; Unavailable: none is known."""
        is_waited_for = self._is_file or not self._is_failing
        if self._found(key_id) is None or (is_waited_for and not self._is_fresh()):
            await self._read_again()
        elif not self._is_fresh() and self._may_try():
            self._reading.launch("keys", self._read)
        if self._is_too_old():
            raise Unavailable("the keys of the issuer are not known now")
        found = self._found(key_id)
        key = None if found is None else _key(found, algorithm)
        if key is None:
            raise Unauthorized("the caller is not known")
        return key

    def unchanged(self) -> Callable[[], bool]:
        """Tells, whenever it is asked, whether the keys are those of now and need no reading."""
        keys = self._keys
        return lambda: keys is self._keys and self._needs_nothing()

    async def close(self) -> None:
        """Lets go of the connection."""
        await self._reading.close()
        if isinstance(self._source, OriginClient):
            await self._source.close()

    def _needs_nothing(self) -> bool:
        """Whether the keys are believed and nothing has to be begun for that."""
        if self._is_fresh():
            return True
        return self._is_failing and not self._may_try() and not self._is_too_old()

    def _is_fresh(self) -> bool:
        return self._clock() - self._read_at < self._fresh_seconds

    def _is_too_old(self) -> bool:
        return self._clock() - self._read_at > LONGEST_SECONDS

    def _may_try(self) -> bool:
        return self._clock() - self._tried_at >= self._again_seconds

    def _found(self, key_id: str | None) -> _Key | None:
        """A key by its id; a token that names none means the only one."""
        if key_id is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(key_id)

    async def _read_again(self) -> None:
        """Reads the set unless that was tried just now; one reading serves all who wait for it."""
        if self._may_try() or self._reading.is_under_way("keys"):
            self._reading.launch("keys", self._read)  # whoever leaves does not end it
            await self._reading.join("keys", self._read)

    async def _read(self) -> None:
        """Takes up what the source says now; keeps the keys when it cannot be read."""
        self._tried_at = self._clock()
        try:
            text, etag = await self._said()
            if text != self._text or not self._keys:
                self._keys, self._text = _keys(text), text
            self._etag = etag
            self._read_at, self._is_failing = self._tried_at, False
        except (Unavailable, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            if not self._is_failing:
                _log.warning("keys of an issuer cannot be read", cause=type(error).__name__)
            self._is_failing = True

    async def _said(self) -> tuple[bytes, str | None]:
        """The set and its ETag; an issuer need not repeat what is known (RFC 9110 §13.1.2)."""
        if isinstance(self._source, Path):
            return await asyncio.to_thread(self._source.read_bytes), None
        known = {} if self._etag is None else {"If-None-Match": self._etag}
        answer = await self._source.ask("GET", headers={"Accept": "application/json", **known})
        if answer.status == 304 and known:
            return self._text, self._etag
        if answer.status != 200:
            raise Unavailable("the keys of the issuer are not given")
        return answer.body, answer.etag


def _keys(text: bytes) -> dict[str | None, _Key]:
    """The keys for signatures of a JWK set; ValueError when it is none or holds none."""
    listed = orjson.loads(text)["keys"]
    found: dict[str | None, _Key] = {
        one.get("kid"): one
        for one in listed[:MAX_KEYS]
        if one.get("use", "sig") == "sig" and one.get("kty") in {"RSA", "EC", "OKP"}
    }
    if not found:
        raise ValueError("no keys")
    return found


def _key(one: _Key, algorithm: str) -> jwt.PyJWK | None:
    """The key as one for `algorithm`; None when it is for another, or none at all."""
    if one.get("alg", algorithm) != algorithm or one["kty"] != _key_type(algorithm):
        return None
    import jwt

    try:
        return jwt.PyJWK(dict(one), algorithm)
    except jwt.PyJWTError:
        return None


def _key_type(algorithm: str) -> str:
    return {"R": "RSA", "P": "RSA", "E": "EC"}[algorithm[0]] if algorithm != "EdDSA" else "OKP"
