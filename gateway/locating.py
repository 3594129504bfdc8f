"""The record of a study with the instance in it that is asked for, kept by instance and by series.

A viewer asks for many frames of an instance, and for one instance of a series after the other. Once
the archives' lists of a series are at hand, each of its instances is found in them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from gateway.adapters.derived import Current, Derived
from gateway.adapters.reads import reads_noted
from gateway.asked_instances import InstanceRecords
from gateway.errors import ArchiveError, NotFound
from gateway.fan_out import FanOut
from gateway.model import Instance, Level, Loaded, Series, Target
from gateway.rules import retrieval

MAX_BYTES = 8 << 20
"""For where single instances are, and the same for series."""
_ROW_BYTES, _SHARED_BYTES = 600, 50
"""What a series or an instance of a record takes, and what one that others hold as well does."""
_Missing = Callable[[Loaded, str, Sequence[ArchiveError]], Exception]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A series of a record, and those of its instances that each of its archives lists, by UID."""

    loaded: Loaded
    series: Series
    instances: Mapping[str, Instance]

    def one(self, instance_uid: str) -> Loaded | None:
        """The record with one instance in it; None: it takes asking."""
        found = self.instances.get(instance_uid)
        return None if found is None else _with(self.loaded, self.series, (self._held(found),))

    @property
    def whole(self) -> Loaded:
        """The record with all of them in it."""
        found = tuple(self._held(i) for i in self.instances.values())
        return _with(self.loaded, self.series, found)

    def _held(self, instance: Instance) -> Instance:
        return msgspec.structs.replace(instance, archives=self.series.archives)


class Locating:
    """Where instances are, as archives tell it, whoever asks."""

    def __init__(
        self,
        cache: Current,
        fan_out: FanOut,
        instances: InstanceRecords,
        record: Callable[[str, Level], Awaitable[Loaded]],
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """`record` gives the record of a study, as deep as is asked for."""
        self._fan_out = fan_out
        self._instances = instances
        self._record = record
        self._kept: Derived[Target, Loaded] = Derived(cache, max_bytes=max_bytes)
        self._listed: Derived[Target, Listed] = Derived(cache, max_bytes=max_bytes)

    async def located(
        self, instance: Target, look_up: Callable[[Target], Awaitable[Loaded]]
    ) -> Loaded:
        """The record of an instance's study, itself included, by `look_up` where it is not kept."""
        found = self.before(instance)
        if found is not None:
            return found
        with reads_noted() as reads:
            found = await look_up(instance)
        self._kept.keep(instance, found, _bytes_of(found), reads)
        await self._list(found, instance)
        return found

    def before(self, instance: Target) -> Loaded | None:
        """What `located` gives if nobody need be asked; else None."""
        found = self._kept.found(instance)
        if found is None:
            with reads_noted() as reads:
                listed = self.listed(instance)
            found = None if listed is None else listed.one(instance.instance_uid or "")
            if found is not None:
                self._kept.keep(instance, found, _bytes_of(found), reads)
        return found

    def listed(self, target: Target) -> Listed | None:
        """The series of a target with its instances, where their lists are at hand."""
        return self._listed.found(series_of(target))

    async def with_instance(
        self, loaded: Loaded, series: Series, target: Target, missing: _Missing
    ) -> Loaded:
        """`loaded` with the one instance of `target` in its series; else what `missing` makes."""
        answers, failures = await self._fan_out.ask(
            lambda a: self._instances.one(a, series, target),
            self._fan_out.configured(series.archives),
        )
        holders = [(a, i) for a, i in answers if i is not None]
        if not holders:
            raise missing(loaded, "no such instance", failures)
        archives = tuple(a.id for a, _ in holders)
        return _with(loaded, series, (msgspec.structs.replace(holders[0][1], archives=archives),))

    async def _list(self, found: Loaded, target: Target) -> None:
        """Keeps the series of what was found, if all of its archives' lists are at hand."""
        series = named(found, target)
        if series is None or series.instances is None or len(series.instances) != 1:
            return
        with reads_noted() as reads:
            lists = await self._lists(series, target)
            if not lists:
                return
            try:
                loaded = await self._record(target.study_uid, Level.SERIES)
            except (ArchiveError, NotFound):
                return
        of = named(loaded, target)
        if of is None or of.instances is not None or of.archives != series.archives:
            return
        if retrieval.needs_instances(loaded.study, target):
            return
        first, *others = lists
        if others:
            first = {uid: i for uid, i in first.items() if all(uid in each for each in others)}
        size = _ROW_BYTES * len(loaded.study.series or ()) + _SHARED_BYTES * len(first)
        listed = Listed(loaded=loaded, series=of, instances=first)
        self._listed.keep(series_of(target), listed, size, reads)

    async def _lists(self, series: Series, target: Target) -> list[Mapping[str, Instance]]:
        """What each of its archives lists of a series; [] unless all of that is at hand."""
        lists = []
        for archive in self._fan_out.configured(series.archives):
            found = await self._instances.listed(archive, series.uid, target.study_uid)
            if found is None:
                return []
            lists.append(found)
        return lists if len(lists) == len(series.archives) else []


def series_of(target: Target) -> Target:
    """The series that a named instance, or its frames, are in."""
    return Target(study_uid=target.study_uid, series_uid=target.series_uid)


def _with(loaded: Loaded, series: Series, instances: tuple[Instance, ...]) -> Loaded:
    """`loaded` with these instances of one of its series."""
    shown = replace(series, instances=instances)
    others = tuple(shown if s.uid == series.uid else s for s in loaded.study.series or ())
    return replace(loaded, study=replace(loaded.study, series=others))


def named(loaded: Loaded, target: Target) -> Series | None:
    """The series of a target in a record."""
    return next((s for s in loaded.study.series or () if s.uid == target.series_uid), None)


def _bytes_of(loaded: Loaded) -> int:
    """About what a record takes."""
    records = (loaded.study, *loaded.parts[1:])  # one part is the same as the whole
    series = [s for record in records for s in record.series or ()]
    return _ROW_BYTES * (len(records) + sum(1 + len(s.instances or ()) for s in series))
