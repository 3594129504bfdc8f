"""The records of instances, of a series or of a single one, and which of these is asked for.

A viewer asks for them one by one, each of which costs a search before it; someone who wants a
single one is not to pay for thousands. So the searches for single ones are counted, and once they
have cost about as much as a listing does, that is asked for instead.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeVar

from gateway import listings
from gateway.adapters.cache import Fresh, Loader
from gateway.adapters.cache_names import Key
from gateway.adapters.derived import Current, Derived
from gateway.adapters.reads import reads_noted
from gateway.errors import ArchiveError
from gateway.fan_out import Archive, FanOut
from gateway.known import Known
from gateway.model import Instance, Level, Series, Study, Target
from gateway.rules import attributes, qido, records, retrieval
from gateway.rules import dicom_json as dj
from gateway.rules.qido import Query

MOST_SERIES = 10_000
LEAST_ASKED = 3
"""Searches that are made before a listing is thought of."""
ROWS_OF_A_SEARCH = 40
"""A search for one instance costs an archive as much as so many rows of a listing."""
UNKNOWN_ROWS = 1000
"""Rows that a listing is taken to have where the archive does not count."""
_ROW_BYTES = 400
"""What an instance takes in a list as it is looked into."""
_T = TypeVar("_T")


class Remembered(Protocol):
    """Gives what is remembered under a key, or comes from a loader."""

    async def __call__(self, key: Key, load: Loader, decode: Callable[[bytes], _T]) -> _T:
        """What it says by `decode`; a value that cannot be read is loaded anew."""


class AskedInstances:
    """How many instances of each series archives were asked for of late."""

    def __init__(self) -> None:
        self._asked: OrderedDict[tuple[str, str], int] = OrderedDict()

    def is_listing_due(self, archive: str, series_uid: str, rows: int | None) -> bool:
        """Counts one more; whether now it is better to ask for all `rows`, None: not known."""
        key = archive, series_uid
        self._asked[key] = asked = self._asked.pop(key, 0) + 1
        if len(self._asked) > MOST_SERIES:
            self._asked.popitem(last=False)
        worth = (UNKNOWN_ROWS if rows is None else rows) // ROWS_OF_A_SEARCH
        return asked > max(LEAST_ASKED, worth)


class InstanceRecords:
    """The instances of the series that archives hold, remembered as long as these' records are."""

    def __init__(
        self,
        fan_out: FanOut,
        known: Known,
        key: Callable[..., Awaitable[Key]],
        remembered: Remembered,
        cache: Current,
        lists_bytes: int,
    ) -> None:
        """`key` makes names of what ends with the record of its study.

        `lists_bytes`: for lists of series as they are looked into, each an eighth at the most.
        """
        self._fan_out = fan_out
        self._known = known
        self._key = key
        self._remembered = remembered
        self._asked = AskedInstances()
        self._lists: Derived[str, Mapping[str, Instance]] = Derived(cache, max_bytes=lists_bytes)

    async def of_series(self, study: Study, series: Series) -> tuple[Instance, ...]:
        """The instances of one series; () when no archive that holds it answers.

        With Image Type where the series is small: only such a one may consist of localizers, and
        archives read it out of every file.
        """
        number = series.number_of_instances
        is_small = number is not None and number <= retrieval.MOST_LOCALIZERS
        query = Query(
            level=Level.INSTANCE,
            study_uid=study.uid,
            series_uid=series.uid,
            include=attributes.INSTANCE_FIELDS | ({dj.IMAGE_TYPE} if is_small else set()),
        )
        words = (series.uid, is_small)
        key = await self._key("series-instances", study.uid, series.archives, *words)

        async def load(previous: bytes | None) -> Fresh:
            if previous and number is not None:
                return Fresh(value=previous)
            for archive in self._fan_out.named(series.archives):
                try:
                    found = records.instances(
                        (await self._fan_out.search(archive, query, None)).items
                    )
                except ArchiveError:
                    continue
                if series.uid in found:
                    return Fresh(value=await listings.packed(found))
            return Fresh(value=await listings.packed({}), is_absent=True)

        return (await self._remembered(key, load, listings.instances)).get(series.uid, ())

    async def one(self, archive: Archive, series: Series, target: Target) -> Instance | None:
        """The record of one instance in one archive; None: that series has no such instance."""
        query = Query(
            level=Level.INSTANCE,
            study_uid=target.study_uid,
            series_uid=target.series_uid,
            keys=(qido.key(dj.SOP_INSTANCE_UID, target.instance_uid or ""),),
            include=attributes.INSTANCE_FIELDS,
        )

        async def load(previous: bytes | None) -> Fresh:
            if previous and self._known.is_counted(archive.id, target.study_uid):
                return Fresh(value=previous)  # the key names the record that it was read for
            found = await self._listed(archive, series, target)
            if not found:
                found = records.instances((await self._fan_out.search(archive, query, 1)).items)
            return Fresh(value=await listings.packed(found), is_absent=not found)

        words = (target.series_uid, target.instance_uid)
        key = await self._key("instance", target.study_uid, (archive.id,), *words)
        found = await self._remembered(key, load, listings.instances)
        return next((i for i in found.get(target.series_uid or "", ())), None)

    async def listed(
        self, archive: Archive, series_uid: str, study_uid: str
    ) -> Mapping[str, Instance] | None:
        """The instances of a series by UID as an archive lists them; None: that is not at hand."""
        key = await self._key("series-listing", study_uid, (archive.id,), series_uid)
        return self._lists.found(key)

    async def _listed(
        self, archive: Archive, series: Series, target: Target
    ) -> dict[str, tuple[Instance, ...]]:
        """The record of an instance out of those of its series, where that is worth it; else {}."""
        count = series.number_of_instances
        if not self._asked.is_listing_due(archive.id, series.uid, count):
            return {}
        query = Query(
            level=Level.INSTANCE,
            study_uid=target.study_uid,
            series_uid=series.uid,
            include=attributes.INSTANCE_FIELDS,
        )

        async def load(previous: bytes | None) -> Fresh:
            if previous and self._known.is_counted(archive.id, target.study_uid):
                return Fresh(value=previous)  # the key names the record that it was read for
            rows = (await self._fan_out.search(archive, query, None)).items
            return Fresh(value=await listings.packed_rows(rows))

        where = (archive.id,)
        key = await self._key("series-listing", target.study_uid, where, series.uid)
        listed = self._lists.found(key)
        if listed is None:
            with reads_noted() as reads:
                rows = (await self._remembered(key, load, listings.instances)).get(series.uid, ())
            listed = {i.uid: i for i in reversed(rows)}  # the first one of each
            self._lists.keep(key, listed, _ROW_BYTES * len(rows), reads)
        found = listed.get(target.instance_uid or "")
        return {} if found is None else {series.uid: (found,)}
