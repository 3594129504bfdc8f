"""When this installation noticed what its archives have: remembered for longer than records are.

Records come and go with the cache; of each study in each archive a digest and a time stay. Where
they are lost the study counts as new: its time moves forward, and nobody misses a change.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

import msgspec

from gateway.adapters.cache_names import Key
from gateway.model import Contents, Study
from gateway.rules import last_updated
from gateway.rules.last_updated import Noticed

_encoded = msgspec.msgpack.Encoder().encode
_noticed = msgspec.msgpack.Decoder(Noticed).decode


class Memory(Protocol):
    """What is remembered for long, and may be lost all the same."""

    @property
    def lag_seconds(self) -> float:
        """How long after a load others may still be served what was there before it."""

    async def recall(self, key: Key) -> tuple[bytes, ...]:
        """What was remembered under `key`, by each place that remembers."""

    async def remember(self, key: Key, value: bytes) -> None:
        """Keeps a small `value` under `key`."""


def utc_now() -> datetime:
    """The time, aware."""
    return datetime.now(UTC)


class Noticing:
    """Since when each archive has had what it has of a study, by FHIR instants.

    A change counts from when no process serves what was there before: the present moment, and in
    a shared cache a little later.
    """

    def __init__(
        self, memory: Memory, key: Callable[..., Key], clock: Callable[[], datetime] = utc_now
    ) -> None:
        """`key` makes keys of words; it stands for all that decides on how records read."""
        self._memory = memory
        self._key = key
        self._clock = clock

    async def study(self, archive: str, study_uid: str, read: Study | None) -> str | None:
        """Since when what was just read has been so; None: the archive never had the study."""
        key = self._key("noticed", study_uid, (archive,))
        noticed = last_updated.study_read(await self._before(key), read, self._now())
        if noticed is None:
            return None
        await self._memory.remember(key, _encoded(noticed))
        return noticed.last_updated

    async def instances(self, archive: str, study: Study, read: Contents) -> str | None:
        """The same of the instance level of `study`, which says itself since when it has been."""
        key = self._key("noticed", study.uid, (archive,))
        noticed = last_updated.instances_read(await self._before(key), study, read, self._now())
        if noticed is None:
            return study.last_updated
        await self._memory.remember(key, _encoded(noticed))
        return noticed.last_updated

    async def content(
        self, archive: str, study_uid: str, words: tuple[str, ...], read: object
    ) -> str:
        """Since when anything else that resources are made of has been as it was just read."""
        key = self._key("noticed", study_uid, (archive,), *words)
        noticed = last_updated.content_read(await self._before(key), read, self._now())
        await self._memory.remember(key, _encoded(noticed))
        return noticed.last_updated

    async def _before(self, key: Key) -> Noticed | None:
        return last_updated.newest(
            one for value in await self._memory.recall(key) if (one := _readable(value))
        )

    def _now(self) -> str:
        lag = timedelta(seconds=self._memory.lag_seconds)
        return last_updated.instant(self._clock() + lag)


def _readable(value: bytes) -> Noticed | None:
    try:
        return _noticed(value)
    except msgspec.DecodeError:
        return None
