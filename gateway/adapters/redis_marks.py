"""The marks of a value as they are in Redis: random, replaced by forgetting, together its epoch."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from gateway.adapters.redis_envelope import EPOCH_BYTES

_FORGOTTEN = b"f"
_MADE = b"m"
_RANDOM_BYTES = 8
LONGER_SECONDS = 60.0
"""So much longer than any value its marks are kept."""


def life_ms(longest_seconds: float) -> int:
    """How long marks are kept, where no value is of use for longer."""
    return round((longest_seconds + LONGER_SECONDS) * 1000)


def forgotten() -> bytes:
    """A mark as forgetting makes it."""
    return _FORGOTTEN + secrets.token_bytes(_RANDOM_BYTES)


def made() -> bytes:
    """A mark as it is made where there is none."""
    return _MADE + secrets.token_bytes(_RANDOM_BYTES)


@dataclass(frozen=True, slots=True)
class Marks:
    """The marks of a value as Redis has them; None: it has not, or they are no marks.

    `runs`: those of the servers that they are from.
    """

    values: tuple[bytes | None, ...]
    runs: tuple[bytes, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether all are there but the value's own, which only forgetting makes."""
        return None not in self.values[1:]

    @property
    def is_forgotten(self) -> bool:
        """Whether one of them was made by forgetting."""
        return any(value is not None and value.startswith(_FORGOTTEN) for value in self.values)

    @property
    def epoch(self) -> bytes:
        """The epoch that they stand for, whatever they are made of."""
        digest = hashlib.blake2b(digest_size=EPOCH_BYTES)
        for value in (*self.values, *self.runs):
            digest.update(hashlib.blake2b(value or b"").digest())
        return digest.digest()
