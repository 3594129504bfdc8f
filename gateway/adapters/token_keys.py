"""The public keys of one issuer (RFC 7517), from a file or its address, asked for sparingly.

A key id that is not known may be a new key: the set is read again, at most once in
`AGAIN_SECONDS`, whatever number of unknown ids callers send. While it cannot be read, the keys
that are known stay good for `LONGEST_SECONDS`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jwt
import orjson
import structlog

from gateway.adapters.origin_client import OriginClient
from gateway.errors import Unauthorized, Unavailable

AGAIN_SECONDS = 30.0
FRESH_SECONDS = 600.0
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
        self._keys: Mapping[str | None, _Key] = {}
        self._read_at = float("-inf")
        self._tried_at = float("-inf")
        self._reading = asyncio.Lock()

    async def key(self, key_id: str | None, algorithm: str) -> jwt.PyJWK:
        """The key for a token's `kid` and `alg`. Unauthorized: none; Unavailable: none is known."""
        if self._clock() - self._read_at > FRESH_SECONDS or self._found(key_id) is None:
            await self._read_again()
        if self._clock() - self._read_at > LONGEST_SECONDS:
            raise Unavailable("the keys of the issuer are not known now")
        found = self._found(key_id)
        key = None if found is None else _key(found, algorithm)
        if key is None:
            raise Unauthorized("the caller is not known")
        return key

    def unchanged(self) -> Callable[[], bool]:
        """Tells, whenever it is asked, whether the keys are those of now and need no reading."""
        read_at = self._read_at
        return lambda: read_at == self._read_at and self._clock() - read_at <= FRESH_SECONDS

    async def close(self) -> None:
        """Lets go of the connection."""
        if isinstance(self._source, OriginClient):
            await self._source.close()

    def _found(self, key_id: str | None) -> _Key | None:
        """A key by its id; a token that names none means the only one."""
        if key_id is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(key_id)

    async def _read_again(self) -> None:
        """Reads the set unless that was tried just now; keeps the keys when it cannot be read."""
        async with self._reading:
            if self._clock() - self._tried_at < AGAIN_SECONDS:
                return
            self._tried_at = self._clock()
            try:
                self._keys = _keys(await self._text())
                self._read_at = self._clock()
            except (Unavailable, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
                _log.warning("keys of an issuer cannot be read", cause=type(error).__name__)

    async def _text(self) -> bytes:
        if isinstance(self._source, Path):
            return await asyncio.to_thread(self._source.read_bytes)
        answer = await self._source.ask("GET", headers={"Accept": "application/json"})
        if answer.status != 200:
            raise Unavailable("the keys of the issuer are not given")
        return answer.body


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
    try:
        return jwt.PyJWK(dict(one), algorithm)
    except jwt.PyJWTError:
        return None


def _key_type(algorithm: str) -> str:
    return {"R": "RSA", "P": "RSA", "E": "EC"}[algorithm[0]] if algorithm != "EdDSA" else "OKP"
