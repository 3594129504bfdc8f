"""What a picture shows of a study or a series: the instance that stands for it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

import orjson
from msgspec import structs

from gateway.adapters.cache import Fresh
from gateway.archives import Archives
from gateway.errors import GatewayError, NotFound, Unavailable
from gateway.model import Instance, Loaded, Series, Study, Target
from gateway.rules import dicom_json as dj
from gateway.rules import retrieval, showing
from gateway.rules.dicom_json import Dataset
from gateway.rules.retrieval import Fetch
from gateway.rules.showing import Worth

_MOST_IN_ORDER = 4
"""Series that are looked at in SeriesNumber order to find one with an image worth showing."""
_MOST_CANDIDATES = 16
"""And in all: then those with the most instances, of which localizers and reports have few."""
_MOST_SILENT = 4
"""So often it may be that no archive tells what is in a series."""
_TOLD_SECONDS = 4.0

KeyImages = Callable[[Study], Awaitable[Sequence[Target]]]
"""The images or frames of a study that somebody flagged (PS3.3 §A.35.4), in their order."""

Located = Callable[[Target], Awaitable[Loaded]]
"""The record of the study that a target is in, as far as it exists for somebody; NotFound else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a picture of some target shows: an instance or frame, its series, and who holds it.

    `squares`: nothing tells that its pixels are none.
    """

    target: Target
    series: Series
    fetch: Fetch | None
    squares: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """A series, and of its instances the one that stands for it, if any is known."""

    series: Series
    instance: Instance | None
    worth: Worth


class Choice:
    """Chooses among what is in a study."""

    def __init__(self, archives: Archives, key_images: KeyImages | None = None) -> None:
        """`key_images` tells which images to show first; None: nobody does."""
        self._archives = archives
        self._key_images = key_images

    async def shown(self, target: Target, located: Located) -> Shown:
        """What a picture of `target` shows: itself, or the instance that stands for it."""
        study = (await located(target)).study
        inside = [s for s in study.series or () if target.series_uid in {None, s.uid}]
        if not inside:
            raise NotFound("nothing to show")
        if target.instance_uid is None and (flagged := await self._flagged(study, inside, located)):
            return await self.shown(flagged, located)
        if target.instance_uid is not None:
            found = retrieval.instance_in(study, target)
            series, chosen = found or (inside[0], None)
        else:
            series, chosen = await self._representative(study, inside)
        if chosen is None:
            return Shown(target=target, series=series, fetch=None)
        one = target
        if (target.series_uid, target.instance_uid) != (series.uid, chosen.uid):
            one = replace(target, series_uid=series.uid, instance_uid=chosen.uid)
        fetch = Fetch(target=one, archives=chosen.archives or series.archives)
        if series.instances != (chosen,):
            series = replace(series, instances=(chosen,))
        return Shown(target=one, series=series, fetch=fetch)

    async def _flagged(
        self, study: Study, inside: Sequence[Series], located: Located
    ) -> Target | None:
        """The first key image `inside` a target that exists, with its frames."""
        if self._key_images is None:
            return None
        seen = {s.uid for s in inside if showing.has_images(s)}
        for flagged in await self._key_images(study):
            if flagged.series_uid in seen and flagged.instance_uid is not None:
                with contextlib.suppress(NotFound, Unavailable):
                    of = (await located(flagged)).study
                    if (image := showing.image_named(of, flagged)) is not None:
                        return image
        return None

    async def _representative(
        self, study: Study, inside: Sequence[Series]
    ) -> tuple[Series, Instance | None]:
        """The series and the instance that stand for what is `inside` a target.

        The middle image of the first series with one that is worth showing, as far as archives
        tell; else the first of those that are worth most.
        """
        best: _Candidate | None = None
        async with aclosing(self._candidates(study, inside)) as candidates:
            async for one in candidates:
                if best is None or one.worth < best.worth:
                    best = one
                if best.worth <= Worth.IMAGE:
                    break
        return (best.series, best.instance) if best else (inside[0], None)

    async def _candidates(
        self, study: Study, inside: Sequence[Series]
    ) -> AsyncGenerator[_Candidate, None]:
        """The series that may stand for a study, the likeliest first, within bounds."""
        ordered = showing.representatives(inside)
        ordered[_MOST_IN_ORDER:] = showing.most_first(ordered[_MOST_IN_ORDER:])
        silent = 0
        for series in ordered[:_MOST_CANDIDATES]:
            instances = series.instances
            if instances is None:
                instances = await self._archives.series_instances(study, series)
                silent += not instances and series.number_of_instances != 0
            chosen = showing.representative_instance(instances, series.modality)
            if chosen is not None and len(ordered) > 1 and showing.may_be_localizers(series):
                chosen = await self._with_image_type(study, series, chosen)
            worth = showing.worth(chosen, series.modality) if chosen else Worth.LABEL
            yield _Candidate(series=series, instance=chosen, worth=worth)
            if silent == _MOST_SILENT:
                return

    async def _with_image_type(self, study: Study, series: Series, chosen: Instance) -> Instance:
        """The instance with what its metadata tell, where they can be had."""
        target = Target(study_uid=study.uid, series_uid=series.uid, instance_uid=chosen.uid)
        fetch = Fetch(target=target, archives=chosen.archives or series.archives)

        async def load(previous: bytes | None) -> Fresh:
            if previous:
                return Fresh(value=previous)  # the key names the record of its study
            told = await metadata_of(self._archives, fetch)
            values = ("", *dj.texts(told, dj.IMAGE_TYPE))
            return Fresh(value="\\".join(values).encode() or b"\\", is_absent=not told)

        words = (series.uid, chosen.uid)
        key = await self._archives.content_key("image-type", study.uid, fetch.archives, *words)
        values = (await self._archives.cache.load(key, load)).decode().split("\\")
        return structs.replace(chosen, image_type=tuple(v for v in values if v))


async def metadata_of(archives: Archives, fetch: Fetch) -> Dataset:
    """The metadata of one instance, where they can be had soon; else {}."""
    with contextlib.suppress(GatewayError, TimeoutError, orjson.JSONDecodeError):
        async with asyncio.timeout(_TOLD_SECONDS):
            found = await archives.metadata(retrieval.whole(fetch))
        if len(found) == 1:
            dataset: Dataset = orjson.loads(found[0])
            return dataset
    return {}
