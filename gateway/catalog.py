"""All archives as one. Read this file first: it is the order of the steps, the same everywhere.

what is asked     a Query, or a Target: a study, series, instance or frames of it
who holds it      the study's record tells; it comes from the cache, or from all archives at once
the answer        rows merged by UID, records merged into one, bodies streamed from the archive
                  that holds them, every instance once
policy            what exists for this consumer: after the cache, on every answer
silence           an archive that fails costs its part of the answer, and is named in it
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from gateway import pages
from gateway.adapters.reads import reads_noted
from gateway.archives import Archives
from gateway.at_hand import first
from gateway.choice import Choice, KeyImages, Shown
from gateway.delivery import acceptable
from gateway.errors import NotFound, PartlyHidden
from gateway.fan_out import Health, silence
from gateway.frame_holders import FrameHolders
from gateway.model import (
    ByteRange,
    Consumer,
    Found,
    Level,
    Loaded,
    Part,
    Study,
    Target,
)
from gateway.opening import Opening
from gateway.rules import policy, retrieval
from gateway.rules.dicom_json import Dataset
from gateway.rules.media import Form
from gateway.rules.qido import Query
from gateway.rules.retrieval import Fetch
from gateway.screening import screened
from gateway.sharing import SharedSearch
from gateway.visibility import Visibility

_LARGE_STUDY_INSTANCES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieved:
    """Bodies as they stream by; `silent` archives' share of them is missing.

    `is_subset`: so is what is hidden from the consumer.
    """

    parts: AsyncIterator[Part]
    silent: tuple[str, ...] = ()
    is_subset: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """DICOM JSON objects in batches; `silent` archives' share of them is missing.

    `is_subset`: so is what is hidden from the consumer.
    """

    batches: AsyncIterator[list[bytes]]
    silent: tuple[str, ...] = ()
    is_subset: bool = False


class Catalog:
    """What exists for a consumer, over all archives."""

    def __init__(self, archives: Archives, key_images: KeyImages | None = None) -> None:
        """`key_images` tells which images to show first; None: nobody does."""
        self._archives = archives
        self._choice = Choice(archives, key_images)
        self.frames = FrameHolders(archives)

    @property
    def archives(self) -> tuple[str, ...]:
        """The ids of all archives."""
        return self._archives.ids

    async def search(self, consumer: Consumer, query: Query) -> Found[Dataset]:
        """QIDO-RS (PS3.18 §10.6): the rows of the page asked for. Unavailable: all are silent."""
        if policy.is_restricted(consumer):
            return await SharedSearch(self._archives, consumer).rows(query)
        return await pages.rows(self._archives, query)

    async def studies(self, consumer: Consumer, query: Query) -> Found[Study]:
        """The records that a search for studies finds, in the order of `search`."""
        if policy.is_restricted(consumer):
            return await SharedSearch(self._archives, consumer).studies(query)
        return await pages.studies(self._archives, query)

    async def study(self, consumer: Consumer, study_uid: str, level: Level) -> Loaded:
        """The record of a study, loaded down to `level`.

        NotFound when no archive has it; Unavailable when a silent one might.
        """
        return await Visibility(self._archives, consumer).study(study_uid, level)

    async def is_told_by_record(self, study_uid: str) -> bool:
        """Whether a search for a study by its UID finds no more than its record does, if any.

        One archive cannot be silent beside its record; what is remembered, searches confirm.
        """
        return len(self.archives) == 1 and await self._archives.is_unknown(study_uid)

    async def loaded_ahead(self, study_uid: str) -> tuple[Loaded, bool]:
        """The record of a study with its instances, and whether other processes find it too.

        For nobody in particular. Errors as of `study`.
        """
        with reads_noted() as reads:
            loaded = await self._archives.record(study_uid, Level.INSTANCE)
        return loaded, await self._archives.cache.are_shared(reads.values)

    async def is_remembered(self, study_uid: str) -> bool:
        """Whether anything is remembered of a study."""
        return not await self._archives.is_unknown(study_uid)

    async def explained(self, consumer: Consumer, study_uid: str) -> tuple[policy.Verdict, ...]:
        """What exists of a study for a consumer and why; for operators. Errors as of `study`."""
        loaded = await self._archives.rejected.marked(study_uid)
        return policy.explained(consumer, loaded.study)

    async def located(self, consumer: Consumer, target: Target) -> Loaded:
        """The record of the study that a target is in, its own instance included; NotFound else.

        An instance costs one small search, however many its study has.
        """
        return await Visibility(self._archives, consumer).located(target)

    def retrieve(
        self, consumer: Consumer, target: Target, form: Form
    ) -> AbstractAsyncContextManager[Retrieved]:
        """The instances or frames of `target`, each once, from the archives that hold them.

        What fails before the first part raises; what fails later breaks the stream. PartlyHidden
        where the policy denies a whole of which something is hidden.
        """
        return Opening(partial(self._retrieved, consumer, target, form))

    async def _retrieved(
        self, consumer: Consumer, target: Target, form: Form, opening: Opening[Retrieved]
    ) -> Retrieved:
        return await self._archives.looking.once_more(
            target,
            partial(self._opened, consumer, target, form, opening),
            partial(self.located, consumer, target),
        )

    async def _opened(
        self, consumer: Consumer, target: Target, form: Form, opening: Opening[Retrieved]
    ) -> Retrieved:
        if target.frames:
            fetch = await self.frames.fetch(consumer, target)
            parts = await self._archives.delivery.parts(opening, fetch, form)
            return Retrieved(parts=await acceptable(parts, form))
        loaded = await self._whole(consumer, target)
        planned = retrieval.plan(loaded.study, target, in_series=policy.hides_parts(consumer))
        fetches, silent = await self._answering(consumer, loaded, target, planned)
        if len(fetches) == 1 and fetches[0].only is None:
            parts = await self._archives.delivery.parts(opening, fetches[0], form)
        else:
            parts = await opening.enter(aclosing(self._parts(fetches, form)))
        all_parts = await acceptable(parts, form)
        return Retrieved(
            parts=all_parts, silent=silent, is_subset=retrieval.is_subset(loaded.study, target)
        )

    @asynccontextmanager
    async def metadata(self, consumer: Consumer, target: Target) -> AsyncIterator[Metadata]:
        """The metadata of every instance of `target`, in batches. PartlyHidden as `retrieve`."""
        loaded = await self._whole(consumer, target)
        planned = retrieval.for_metadata(
            loaded.study, target, in_series=policy.hides_parts(consumer)
        )
        fetches, silent = await self._answering(consumer, loaded, target, planned)
        if (loaded.study.number_of_instances or 0) > _LARGE_STUDY_INSTANCES:
            fetches = retrieval.by_series(loaded.study, fetches)
        async with aclosing(self._batches(fetches)) as batches:
            if (found := await first(batches)) is None:
                raise NotFound("no metadata")
            yield Metadata(
                batches=found[1], silent=silent, is_subset=retrieval.is_subset(loaded.study, target)
            )

    @asynccontextmanager
    async def bulk_data(
        self,
        consumer: Consumer,
        target: Target,
        path: tuple[str, ...],
        byte_range: ByteRange | None = None,
    ) -> AsyncIterator[Part]:
        """The value of the attribute at `path` (tag, item, tag, ...) of an instance."""
        loaded = await self.located(consumer, target)
        for fetch in retrieval.plan(loaded.study, target):
            async with self._archives.delivery.bulk_data(fetch, path, byte_range) as parts:
                if (part := await anext(parts, None)) is not None:
                    yield part
                    return
        raise NotFound("no bulk data at this attribute")

    @asynccontextmanager
    async def by_wado_uri(
        self,
        consumer: Consumer,
        target: Target,
        content_type: str,
        parameters: Sequence[tuple[str, str]],
    ) -> AsyncIterator[Retrieved]:
        """An instance as an archive's own WADO-URI gives it, by what the gateway does not do."""
        loaded = await self.located(consumer, target)
        for fetch in retrieval.plan(loaded.study, target):
            opened = self._archives.delivery.by_wado_uri(fetch, content_type, parameters)
            async with opened as parts:
                yield Retrieved(parts=parts)
                return
        raise NotFound("no such instance")

    async def shown(self, consumer: Consumer, target: Target) -> Shown:
        """What a picture of `target` shows: itself, or the instance that stands for it."""
        return await self._choice.shown(target, partial(self.located, consumer))

    async def forget(self, study_uid: str) -> bool:
        """Drops all that is remembered of a study, since somebody says that it changed.

        False: here; the shared cache cannot be told at the moment, and is as soon as it can.
        """
        return await self._archives.forget(study_uid)

    async def health(self, timeout_seconds: float) -> tuple[Health, ...]:
        """Whether each archive answers a small search now."""
        return await self._archives.health(timeout_seconds)

    async def _whole(self, consumer: Consumer, target: Target) -> Loaded:
        """`located`; PartlyHidden when the policy denies a whole of which something is hidden."""
        loaded = await self.located(consumer, target)
        if (
            consumer.policy
            and consumer.policy.denies_partial
            and retrieval.is_subset(loaded.study, target)
        ):
            raise PartlyHidden(
                f"a part of this {target.level.value} is not shared with you; ask for what is",
                permitted=retrieval.permitted(loaded.study, target),
            )
        return loaded

    async def _answering(
        self, consumer: Consumer, loaded: Loaded, target: Target, planned: Sequence[Fetch]
    ) -> tuple[Sequence[Fetch], tuple[str, ...]]:
        """The planned requests that can be expected to be answered, and who else is missing.

        Unavailable where a share is missing and the policy denies what is not whole.
        """
        if target.instance_uid is not None:
            return planned, ()  # found: nobody can hold more of it
        if policy.needs(consumer) is Level.INSTANCE:
            planned = retrieval.only_known(loaded.study, planned)
        fetches, silent = await self._archives.delivery.answering(planned)
        silent = tuple(dict.fromkeys(loaded.silent + silent))
        if silent and consumer.policy and consumer.policy.denies_partial:
            raise silence(silent, are_late=False)
        return fetches, silent

    async def _parts(self, fetches: Sequence[Fetch], form: Form) -> AsyncGenerator[Part, None]:
        """The parts of all fetches; of several, those that are gone since are passed over."""
        for fetch in fetches:
            async with AsyncExitStack() as stack:
                try:
                    opened = self._archives.delivery.opened(fetch, form)
                    parts = await stack.enter_async_context(opened)
                    if fetch.only is not None:
                        parts = screened(parts, fetch.only, fetch.archives[0])
                except NotFound:
                    if len(fetches) == 1:
                        raise
                    continue
                async for part in parts:
                    yield part

    async def _batches(self, fetches: Sequence[Fetch]) -> AsyncGenerator[list[bytes], None]:
        """The metadata of all fetches, those that are gone since or empty passed over."""
        for fetch in fetches:
            try:
                batch = await self._archives.metadata(fetch)
            except NotFound:
                if len(fetches) == 1:
                    raise
                continue
            if batch:
                yield batch
