"""What the key object selections of a study point at, and reject: read once, and remembered."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

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

    `last_updated`: since when that is so, for resources that are made of what is left. `titles` of
    the notes that refer to an instance, also of those that hide nothing.
    """

    instances: frozenset[str] = frozenset()
    is_known: bool = True
    last_updated: str | None = None
    titles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


NOTHING = Rejected()


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What was read of one series; `found` None: it cannot be had now."""

    found: tuple[KeyObject, ...] | None
    last_updated: str


as_read = msgspec.msgpack.Decoder(Read).decode
_Reads = Sequence[tuple[Archive, Read]]


class RejectionNotes:
    """The key object selections of studies. Studies without a series of them cost nothing."""

    def __init__(
        self,
        fan_out: FanOut,
        noticing: Noticing,
        key: Callable[..., Awaitable[Key]],
        load: Load,
    ) -> None:
        """`key` makes names of what ends with the record of its study."""
        self._fan_out = fan_out
        self._noticing = noticing
        self._key = key
        self._load = load

    async def rejected(self, study: Study) -> Rejected:
        """What rejection notes reject of a study that is loaded down to its series."""
        if not any(s.modality == key_objects.MODALITY for s in study.series or ()):
            return NOTHING
        read, is_all = await self._all(study, _hides)
        return _rejected(read, read, is_all=is_all)

    async def noted(self, study: Study) -> Rejected:
        """The same, with the titles of all notes, also of archives that show what they reject."""
        read, is_all = await self._all(study, lambda archive: True)
        return _rejected(read, [r for r in read if _hides(r[0])], is_all=is_all)

    async def key_objects(self, study: Study) -> tuple[tuple[str, KeyObject], ...]:
        """The key object selections of a study that is loaded to its series, each with archives.

        One that several archives hold comes for each of them.
        """
        read, _ = await self._all(study, lambda archive: True)
        return tuple(dict.fromkeys((a.id, k) for a, one in read for k in one.found or ()))

    async def _all(self, study: Study, is_asked: Callable[[Archive], bool]) -> tuple[_Reads, bool]:
        """What was read in the archives that are asked, and whether that is every series."""
        series = [s for s in study.series or () if s.modality == key_objects.MODALITY]
        asked = [
            (archive, one)
            for one in series[:_MOST_SERIES]
            for archive in self._fan_out.configured(one.archives)
            if is_asked(archive)
        ]
        read = await asyncio.gather(*(self._read(a, study, one) for a, one in asked))
        holders = [archive for archive, _ in asked]
        is_all = len(series) <= _MOST_SERIES or not asked
        return list(zip(holders, read, strict=True)), is_all

    async def _read(self, archive: Archive, study: Study, series: Series) -> Read:
        """The selections of one series in one archive."""
        words = ("key-objects", series.uid)

        async def load(previous: bytes | None) -> Fresh:
            if previous and series.number_of_instances is not None:
                return Fresh(value=previous)  # the key names the record that it was read for
            target = Target(study_uid=study.uid, series_uid=series.uid)
            found = None
            unread = (ArchiveError, NotFound, ValueError)
            with contextlib.suppress(*unread), self._fan_out.heard_in_time(archive):
                datasets = [orjson.loads(o) for o in await archive.metadata(target)]
                found = key_objects.key_objects(study.uid, datasets)
            since = await self._noticing.content(archive.id, study.uid, words, found)
            read = Read(found=found, last_updated=since)
            return Fresh(value=_encoded(read), is_absent=found is None)

        kind, *rest = words
        key = await self._key(kind, study.uid, (archive.id,), *rest)
        return await self._load(key, load)


def _hides(archive: Archive) -> bool:
    return not archive.origin.show_rejected


def _known(read: _Reads) -> tuple[KeyObject, ...]:
    return tuple(dict.fromkeys(k for _, one in read for k in one.found or ()))


def _rejected(read: _Reads, hiding: _Reads, *, is_all: bool) -> Rejected:
    """What the notes that were read refer to; only those of `hiding` hide it."""
    return Rejected(
        instances=frozenset(key_objects.rejections(_known(hiding))),
        is_known=is_all and all(one.found is not None for _, one in read),
        last_updated=last_updated.latest(one.last_updated for _, one in read),
        titles=key_objects.rejections(_known(read)),
    )
