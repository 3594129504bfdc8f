"""Archives asked again for what their records do not say that they hold.

What is not there is believed as long as any absence: crowds that ask for it cost archives little.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from gateway.adapters.cache import Fresh, Loader
from gateway.adapters.cache_names import Key, What
from gateway.errors import ArchiveError, NotFound
from gateway.fan_out import Archive, FanOut, unavailable
from gateway.locating import named
from gateway.model import Loaded, Study, Target

_T = TypeVar("_T")
_YES = b"1"


class Remembers(Protocol):
    """What is remembered."""

    async def load(self, key: Key, loader: Loader) -> bytes:
        """The value of `key`, from memory or from `loader`."""

    async def forget(self, what: What) -> bool:
        """Drops a value."""


class Looking:
    """The archives, asked for studies whatever is remembered of them."""

    def __init__(self, fan_out: FanOut, cache: Remembers, key: Callable[..., Key]) -> None:
        """`key`: the name of what a group of archives tell of a study."""
        self._fan_out = fan_out
        self._cache = cache
        self._key = key

    async def again(self, target: Target, known: Loaded | None = None) -> None:
        """Asks archives for a series that a record does not hold, or a study that is not shown.

        A study that is still arriving has more series than are remembered. `known` is the record,
        where it is not for the want of it that archives are asked; those that just were, to have
        it, are not asked twice.
        """
        has_it = known is not None and named(known, target) is not None
        others = self._fan_out.configured(self._fan_out.ids)
        if known is not None and target.series_uid is None:
            others = [a for a in others if a.id not in known.asked]

        async def load(previous: bytes | None) -> Fresh:
            answers, failures = await self._asked(target, others)
            if failures and target.series_uid is None:
                raise unavailable(failures)
            if not has_it and target.series_uid is not None:
                await self._holding(target, answers)
            return Fresh(value=b"", is_absent=True)

        await self._cache.load(self._name("looked", target), load)

    async def is_elsewhere(self, target: Target, known: Loaded) -> bool:
        """Whether archives have a target's series, or study, that the record does not say so of.

        For what those that the record names do not have. Their records are made anew.
        """
        series = named(known, target)
        holders = known.study.archives if series is None else series.archives
        others = [a for a in self._fan_out.configured(self._fan_out.ids) if a.id not in holders]
        if not others or (series is None and target.series_uid is not None):
            return False

        async def load(previous: bytes | None) -> Fresh:
            answers, _ = await self._asked(target, others)
            is_found = await self._holding(target, answers)
            return Fresh(value=_YES if is_found else b"", is_absent=True)

        return await self._cache.load(self._name("elsewhere", target), load) == _YES

    async def once_more(
        self,
        target: Target,
        attempt: Callable[[], Awaitable[_T]],
        record: Callable[[], Awaitable[Loaded]],
    ) -> _T:
        """What `attempt` gives, or gives then where what is not found is elsewhere.

        `record` gives the target's, if the caller may know that there is such a thing.
        """
        try:
            return await attempt()
        except NotFound:
            if not await self.is_elsewhere(target, await record()):
                raise
        return await attempt()

    async def _asked(
        self, target: Target, archives: Sequence[Archive]
    ) -> tuple[list[tuple[Archive, Study | None]], tuple[ArchiveError, ...]]:
        async def ask(archive: Archive) -> Study | None:
            with self._fan_out.heard_in_time(archive):
                return await archive.study(target.study_uid)

        return await self._fan_out.ask(ask, archives)

    async def _holding(
        self, target: Target, answers: Sequence[tuple[Archive, Study | None]]
    ) -> bool:
        """Whether any archive has the target's series, or study: what is known of it there ends."""
        is_found = False
        for archive, study in answers:
            held = () if study is None else (None, *(s.uid for s in study.series or ()))
            if target.series_uid in held:
                is_found = True
                await self._cache.forget(self._key("study", target.study_uid, (archive.id,)))
        return is_found

    def _name(self, kind: str, target: Target) -> Key:
        return self._key(kind, target.study_uid, self._fan_out.ids, target.series_uid)
