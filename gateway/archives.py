"""The records of studies, merged over archives; each archive is asked through the cache.

What comes out of here is unfiltered by policy: only `catalog`, which applies it, may use it. But
what rejection notes reject is gone already; only `rejected` tells of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Protocol, TypeVar

import msgspec

from gateway import listings
from gateway.adapters.cache import Fresh, Loader
from gateway.adapters.cache_names import Group, Key, What
from gateway.asked_instances import InstanceRecords
from gateway.delivery import Delivery
from gateway.errors import ArchiveError, GatewayError, NotFound
from gateway.fan_out import Archive, FanOut, Health, are_late, ids, silence, unavailable
from gateway.kept_metadata import KeptMetadata
from gateway.known import Known, Remembered, as_known, is_unchanged
from gateway.listings import Listing
from gateway.locating import MAX_BYTES, Locating, named
from gateway.looking import Looking
from gateway.model import Contents, Level, Loaded, Study, Target
from gateway.noticing import Memory, Noticing, utc_now
from gateway.own_pictures import OwnPictures
from gateway.rejected import RejectedObjects
from gateway.rejection_notes import Read, RejectionNotes, as_read
from gateway.rules import dicom_json as dj
from gateway.rules import last_updated, merging, qido, retrieval
from gateway.rules.qido import Query
from gateway.rules.retrieval import Fetch
from gateway.searching import Searched, searched
from gateway.told_rows import ToldRows

_T = TypeVar("_T")
_MARK_BYTES = 6
_LISTS_TIMES = 2
"""Lists of series take so many times of what single instances do."""
_encoded = msgspec.msgpack.Encoder().encode
_SHAPE = hashlib.blake2b(
    msgspec.json.encode(msgspec.json.schema_components((Study, Contents))), digest_size=4
).hexdigest()
"""Part of every key: two versions of the gateway that share a cache keep their records apart."""


class Cache(Memory, Remembered, Protocol):
    """What is remembered. One load at a time for a key, whoever waits for it."""

    async def load(self, key: Key, loader: Loader) -> bytes:
        """The value of `key`, from memory or from `loader`."""

    def is_current(self, key: str, value: bytes) -> bool:
        """Whether a load of `key` would give this very value, and ask nobody."""

    async def forget(self, what: What) -> bool:
        """Drops a value or a group of them; False: some processes hear of it later."""

    async def are_shared(self, keys: Iterable[str]) -> bool:
        """Whether other processes find what was loaded for `keys`."""

    async def close(self) -> None:
        """Lets go of what it holds."""


class Archives:
    """The configured archives and what the cache knows of them."""

    def __init__(
        self,
        archives: Sequence[Archive],
        cache: Cache,
        *,
        settings: str = "",
        located_bytes: int = MAX_BYTES,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """`settings` is a digest of those that decide on how resources read."""
        self._settings = settings
        self._noticing = Noticing(cache, self.key, clock)
        self._fan_out = FanOut(archives)
        self.delivery = Delivery(self._fan_out)
        self.own_pictures = OwnPictures(self._fan_out)
        self._known = Known(cache.is_quiet)
        self._told = ToldRows(self._known, cache, self.key)
        self._instances = InstanceRecords(
            self._fan_out,
            self._known,
            self.content_key,
            self._remembered,
            cache,
            _LISTS_TIMES * located_bytes,
        )
        self._locating = Locating(cache, self._fan_out, self._instances, self.record, located_bytes)
        self.listed = self._locating.listed
        """A series with all of its instances, where nobody need be asked for them."""
        self.series_instances = self._instances.of_series
        """The instances of one series of a study, by what is shown of it."""
        notes = RejectionNotes(self._fan_out, self._noticing, self.content_key, self._of_notes)
        self.rejected = RejectedObjects(self._whole, notes)
        self.ids = self._fan_out.ids
        self.looking = Looking(self._fan_out, cache, self.key)
        self.looked_again = self.looking.again
        self.hides_rejected = any(not a.origin.show_rejected for a in archives)
        self._kept_metadata = KeptMetadata(cache)
        self.cache = cache

    async def search(self, query: Query) -> Searched:
        """The rows of every archive that answers; Unavailable when none does.

        A row that contradicts what is remembered of its study ends that memory, in whichever
        process that is.
        """
        since = self._told.now()
        found = await searched(self._fan_out, query)
        await self._told.hear(found, query, since)
        return found

    async def is_unknown(self, study_uid: str) -> bool:
        """Whether nothing is remembered of a study, not even that no archive has it."""
        keys = [self.key("study", study_uid, (archive,)) for archive in self._fan_out.ids]
        return not await self.cache.at_hand(keys)

    async def record(self, study_uid: str, level: Level) -> Loaded:
        """The study merged over archives, loaded down to `level` (STUDY counts as SERIES).

        NotFound when no archive has it, or all of it is rejected; Unavailable when only silent
        ones might.
        """
        return await self.rejected.left(study_uid, level)

    async def _whole(self, study_uid: str, level: Level) -> Loaded:
        """The record as archives have it, with what is rejected."""
        asked: list[str] = []
        answers, failures = await self._fan_out.ask(
            lambda a: self._part(a, study_uid, level, asked)
        )
        parts = [p for _, p in answers if isinstance(p, Study)]
        if not parts:
            raise unavailable(failures) if failures else NotFound("no such study")
        lost = [p for _, p in answers if isinstance(p, str)]
        study = merging.merge(parts)
        since = last_updated.latest([study.last_updated, *lost])
        return Loaded(
            study=study if study.last_updated == since else replace(study, last_updated=since),
            silent=ids(failures),
            parts=tuple(parts),
            are_late=are_late(failures),
            asked=tuple(asked),
        )

    async def located(self, target: Target) -> Loaded:
        """The record of a target's study, in which the target is known to be.

        NotFound when the series or the instance is not in that study, whatever its own UID says.
        """
        if target.instance_uid is None:
            return await self._looked_up(target)
        return await self._locating.located(target.instance, self._looked_up)

    def located_before(self, target: Target) -> Loaded | None:
        """What `located` gives of an instance or its frames if nobody need be asked; else None."""
        if target.instance_uid is None:
            return None
        return self._locating.before(target.instance)

    async def _looked_up(self, target: Target) -> Loaded:
        loaded = await self.record(target.study_uid, Level.SERIES)
        series = named(loaded, target)
        if target.series_uid is not None and series is None:
            if target.series_uid in (await self.rejected.hidden(target.study_uid)).series:
                raise _missing(loaded, "no such series")
            await self.looked_again(target)
            loaded = await self.record(target.study_uid, Level.SERIES)
            series = named(loaded, target)
        if target.series_uid is not None and series is None:
            raise _missing(loaded, "no such series")
        if retrieval.needs_instances(loaded.study, target):
            return await self.record(target.study_uid, Level.INSTANCE)
        if target.instance_uid is None or series is None:
            return loaded
        one = partial(self._locating.with_instance, target=target, missing=_missing)
        try:
            return await one(loaded, series)
        except NotFound:
            if not await self.looking.is_elsewhere(target, loaded):
                raise
        loaded = await self.record(target.study_uid, Level.SERIES)
        return await one(loaded, named(loaded, target) or series)

    async def metadata(self, fetch: Fetch) -> list[bytes]:
        """The metadata objects of one fetch, from the first archive that answers.

        It is remembered as long as the record of its study is; what does not exist of it is left
        out afterwards.
        """
        found = await self.delivery.metadata(fetch, self._metadata)
        return [o for o in found if fetch.only is None or dj.instance_uid(o) in fetch.only]

    async def forget(self, study_uid: str) -> bool:
        """Drops all that is remembered of a study, in every process, but when it was noticed.

        False: the shared cache cannot be told at the moment.
        """
        return await self.cache.forget(Group(study_uid=study_uid))

    async def health(self, timeout_seconds: float) -> tuple[Health, ...]:
        """Whether each archive answers a small search now."""
        return await self._fan_out.health(timeout_seconds)

    async def close(self) -> None:
        """Lets go of the cache, whose loads use the archives, and then of the archives."""
        await self.cache.close()
        await self._kept_metadata.close()
        await self._fan_out.close()

    async def _metadata(self, archive: Archive, target: Target) -> list[bytes]:
        """The metadata of `target` in one archive, from the cache if it is there."""

        async def ask() -> list[bytes]:
            with self._fan_out.heard_in_time(archive):
                return await archive.metadata(target)

        async def is_whole(found: Sequence[bytes]) -> bool:
            try:
                study = await self._part(archive, target.study_uid, Level.SERIES)
            except ArchiveError:
                return False
            series = (study.series if isinstance(study, Study) else None) or ()
            held = [s for s in series if target.series_uid in {None, s.uid}]
            if target.instance_uid is not None:
                return bool(held) and len(found) == 1
            counts = [s.number_of_instances for s in held]
            return bool(held) and (None in counts or sum(n or 0 for n in counts) == len(found))

        words = (target.series_uid, target.instance_uid)
        key = await self.content_key("metadata", target.study_uid, (archive.id,), *words)
        is_lasting = self._known.is_counted(archive.id, target.study_uid)
        return await self._kept_metadata.remembered(key, ask, is_whole, is_lasting=is_lasting)

    async def _part(
        self, archive: Archive, study_uid: str, level: Level, asked: list[str] | None = None
    ) -> Study | str | None:
        """What one archive has of a study, from the cache where it is known; `as_known` if not.

        `asked` takes the archive's id where it is not: that it was asked.
        """
        mark, found = await self._record(archive, study_uid, asked)
        if not isinstance(found, Study) or level is not Level.INSTANCE:
            return found
        listing = await self._all_instances(archive, found, mark)
        since = last_updated.latest([found.last_updated, listing.last_updated])
        return replace(merging.with_instances(found, listing.contents), last_updated=since)

    async def _record(
        self, archive: Archive, study_uid: str, asked: list[str] | None = None
    ) -> tuple[str | None, Study | str | None]:
        """The same down to its series, and its mark.

        With the record goes a mark of the time when it was made: what else is remembered under it
        ends with the record, and is not read with another one that happens to count the same. A
        record that is read once more and found as it was keeps its mark.
        """

        async def load(previous: bytes | None) -> Fresh:
            mark, known = as_known(previous) if previous else (None, None)
            if previous and await self._is_unchanged(archive, known):
                return Fresh(value=previous)
            if asked is not None:
                asked.append(archive.id)
            with self._fan_out.heard_in_time(archive):
                study = await self._told.study(archive, study_uid, is_new=previous is None)
            since = await self._noticing.study(archive.id, study_uid, study)
            if study is None:
                return Fresh(value=_encoded((None, since)), is_absent=True)
            is_same = isinstance(known, Study) and known.last_updated == since
            mark = mark if is_same else secrets.token_hex(_MARK_BYTES)
            return Fresh(value=_encoded((mark, replace(study, last_updated=since))))

        key = self.key("study", study_uid, (archive.id,))
        until = self._known.since(archive.id, study_uid) or self.cache.since(key)
        mark, found = await self._remembered(key, load, as_known)
        study = found if isinstance(found, Study) else None
        self._known.note(archive.id, study_uid, study, mark, until)
        return mark, found

    async def _is_unchanged(self, archive: Archive, known: Study | str | None) -> bool:
        """Whether the archive still says what `known` does, by one study-level search."""
        if not isinstance(known, Study) or known.is_of_several_patients or known.other_dates:
            return False
        query = Query(level=Level.STUDY, keys=(qido.key(dj.STUDY_INSTANCE_UID, known.uid),))
        found = await self._fan_out.search(archive, query, 1)
        return len(found.items) > 0 and not found.again and is_unchanged(known, found.items[0])

    async def _all_instances(self, archive: Archive, study: Study, mark: str | None) -> Listing:
        """The instance level of what one archive has of a study, whose record has this mark.

        Where it is not what it was, the study's own record is made anew, so that searches, which
        look no deeper, tell the same time.
        """
        just_loaded: dict[int, tuple[bytes, Listing]] = {}

        async def load(previous: bytes | None) -> Fresh:
            if previous and study.number_of_instances is not None:
                return Fresh(value=previous)  # the key names the record that it was read for
            with self._fan_out.heard_in_time(archive):
                found = await archive.instances(study)
            await asyncio.sleep(0)  # others get their turn: they may be thousands
            since = await self._noticing.instances(archive.id, study, found)
            await asyncio.sleep(0)
            if since != study.last_updated:
                await self.cache.forget(self.key("study", study.uid, (archive.id,)))
            listing = Listing(contents=found, last_updated=since)
            value = await listings.packed(listing)
            just_loaded[id(value)] = value, listing
            return Fresh(value=value, is_absent=not found.is_complete)

        def decoded(value: bytes) -> Listing:
            """What a value says; the one that was just made need not be read to know."""
            known = just_loaded.get(id(value))
            return listings.listing(value) if known is None else known[1]

        key = self.key("instances", study.uid, (archive.id,), mark)
        return await self._remembered(key, load, decoded)

    async def _remembered(self, key: Key, load: Loader, decode: Callable[[bytes], _T]) -> _T:
        """The cached value of `key`; one that cannot be read is forgotten and loaded anew."""
        try:
            return decode(await self.cache.load(key, load))
        except msgspec.DecodeError:
            await self.cache.forget(key)
            return decode(await self.cache.load(key, load))

    async def content_key(
        self, kind: str, study_uid: str, archives: Sequence[str], *more: object
    ) -> Key:
        """The name of something made of what archives hold of a study: it ends with their records.

        Whatever is remembered of the content of studies goes by such a name, and needs no other
        way to hear that it changed.
        """
        marks = [await self.mark(archive, study_uid) for archive in archives]
        return self.key(kind, study_uid, archives, *more, *marks)

    async def mark(self, archive_id: str, study_uid: str) -> str:
        """The mark of an archive's record as it is now; one that nobody else has if it has none."""
        mark = self._known.mark(archive_id, study_uid)
        if mark is None:
            for archive in self._fan_out.configured((archive_id,)):
                with contextlib.suppress(ArchiveError):
                    mark, _ = await self._record(archive, study_uid)
        return mark or secrets.token_hex(_MARK_BYTES)

    def key(self, kind: str, study_uid: str, archives: Sequence[str], *more: object) -> Key:
        """The name of something remembered of a study out of some archives.

        Of what they hold of it, that is `content_key`.
        """
        words = (_SHAPE, self._settings, kind, ",".join(archives), study_uid, *more)
        return Key(" ".join(map(str, words)), study_uid=study_uid, archives=tuple(archives))

    async def _of_notes(self, key: Key, load: Loader) -> Read:
        return await self._remembered(key, load, as_read)


def _missing(loaded: Loaded, message: str, failures: Sequence[ArchiveError] = ()) -> GatewayError:
    """NotFound, unless an archive that is silent may hold what is missing."""
    if failures and not loaded.silent:
        return unavailable(failures)
    silent = tuple(dict.fromkeys((*loaded.silent, *ids(failures))))
    if not silent:
        return NotFound(message)
    return silence(silent, are_late=loaded.are_late and are_late(failures))
