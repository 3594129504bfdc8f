"""What the key object selections of a study point at, and reject: read once, and remembered."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import msgspec
import orjson

from gateway.adapters.cache import Fresh, Loader
from gateway.adapters.cache_names import Key
from gateway.errors import ArchiveError, NotFound
from gateway.fan_out import Archive, FanOut
from gateway.model import Series, Study, Target
from gateway.noticing import Noticing
from gateway.rules import key_objects, last_updated
from gateway.rules.key_objects import KeyObject

_MOST_SERIES = 50
_encoded = msgspec.msgpack.Encoder().encode

Load = Callable[[Key, Loader], Awaitable["Read"]]
"""What is remembered under a key, or comes from a loader."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """The instances of a study that do not exist; `is_known` False: some note cannot be read.

    `last_updated`: since when that is so, for resources that are made of what is left.
    """

    instances: frozenset[str] = frozenset()
    is_known: bool = True
    last_updated: str | None = None


NOTHING = Rejected()


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What was read of one series; `found` None: it cannot be had now."""

    found: tuple[KeyObject, ...] | None
    last_updated: str


as_read = msgspec.msgpack.Decoder(Read).decode


class RejectionNotes:
    """The key object selections of studies. Studies without a series of them cost nothing."""

    def __init__(
        self, fan_out: FanOut, noticing: Noticing, key: Callable[..., Key], load: Load
    ) -> None:
        self._fan_out = fan_out
        self._noticing = noticing
        self._key = key
        self._load = load

    async def rejected(self, study: Study) -> Rejected:
        """What rejection notes reject of a study that is loaded down to its series."""
        if not any(s.modality == key_objects.MODALITY for s in study.series or ()):
            return NOTHING
        read, is_all = await self._all(study, lambda a: not a.origin.show_rejected)
        return Rejected(
            instances=key_objects.rejected(_known(read)),
            is_known=is_all and all(r.found is not None for r in read),
            last_updated=last_updated.latest(r.last_updated for r in read),
        )

    async def key_objects(self, study: Study) -> tuple[KeyObject, ...]:
        """The key object selections of a study that is loaded down to its series."""
        return _known((await self._all(study, lambda a: True))[0])

    async def _all(
        self, study: Study, is_asked: Callable[[Archive], bool]
    ) -> tuple[Sequence[Read], bool]:
        """What was read in the archives that are asked, and whether that is every series."""
        series = [s for s in study.series or () if s.modality == key_objects.MODALITY]
        reads = [
            self._read(archive, study, one)
            for one in series[:_MOST_SERIES]
            for archive in self._fan_out.configured(one.archives)
            if is_asked(archive)
        ]
        return await asyncio.gather(*reads), len(series) <= _MOST_SERIES or not reads

    async def _read(self, archive: Archive, study: Study, series: Series) -> Read:
        """The selections of one series in one archive."""
        words = ("key-objects", series.uid)

        async def load(previous: bytes | None) -> Fresh:
            if previous and series.number_of_instances is not None:
                return Fresh(value=previous)  # the count is in the key, and objects never change
            target = Target(study_uid=study.uid, series_uid=series.uid)
            found = None
            unread = (ArchiveError, NotFound, ValueError)
            with contextlib.suppress(*unread), self._fan_out.heard(archive):
                datasets = [orjson.loads(o) for o in await archive.metadata(target)]
                found = key_objects.key_objects(study.uid, datasets)
            since = await self._noticing.content(archive.id, study.uid, words, found)
            read = Read(found=found, last_updated=since)
            return Fresh(value=_encoded(read), is_absent=found is None)

        kind, *rest = words
        key = self._key(kind, study.uid, (archive.id,), *rest, series.number_of_instances)
        return await self._load(key, load)


def _known(read: Sequence[Read]) -> tuple[KeyObject, ...]:
    return tuple(dict.fromkeys(k for one in read for k in one.found or ()))
