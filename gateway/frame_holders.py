"""Which archives hold an instance whose frames are asked for, kept by who asks.

What decides on it, the record of its study and the policy, is the same for frame after frame, as
long as every value is current that the record was made from. Where a series is listed, and its
instances need not be decided on one by one, all of them are kept at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway import disclosures
from gateway.adapters.derived import Derived, Kept
from gateway.adapters.reads import reads_noted
from gateway.archives import Archives
from gateway.disclosures import Disclosures
from gateway.errors import NotFound
from gateway.locating import series_of
from gateway.model import Consumer, Study, Target
from gateway.rules import retrieval
from gateway.rules.retrieval import Fetch
from gateway.visibility import Visibility

MAX_BYTES = 8 << 20
"""For all that is kept, with the values that it was made from."""
_HELD_BYTES, _ROW_BYTES = 1500, 50
"""What an instance takes by itself, for one who asks, and what one of a series does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Instances that have frames by UID, each with who holds it: one, or those of a series.

    And what of them is told to the audit trail, where there is one.
    """

    archives: Mapping[str, tuple[str, ...]]
    disclosed: Disclosures | None
    is_series: bool


class FrameHolders:
    """Which archives are asked for frames."""

    def __init__(self, archives: Archives) -> None:
        self._archives = archives
        self._kept: Derived[tuple[Consumer, Target], Held] = Derived(
            archives.cache, max_bytes=MAX_BYTES
        )
        self.is_good = self._kept.is_good
        """Whether what was known would be known now, too."""
        self.way = archives.delivery.way_to_frames
        """How frames are asked for ahead of the first of such archives; None: they are not."""

    async def fetch(self, consumer: Consumer, target: Target) -> Fetch:
        """The request for frames; NotFound where they do not exist for the consumer."""
        instance = target.instance
        kept = self.known(consumer, instance)
        if kept is None or kept.thing is None:
            held = await self._looked_up(consumer, instance)
        else:
            held = kept.thing
            disclosures.repeat(held.disclosed)
        return Fetch(target=target, archives=held.archives[instance.instance_uid or ""])

    def known(self, consumer: Consumer, instance: Target) -> Kept[Held] | None:
        """What is kept of an instance for a consumer; None: nothing that is current."""
        for key in (instance, series_of(instance)):
            kept = self._kept.kept((consumer, key))
            if kept is not None and kept.thing and instance.instance_uid in kept.thing.archives:
                return kept
        return None

    async def _looked_up(self, consumer: Consumer, instance: Target) -> Held:
        visibility = Visibility(self._archives, consumer)
        with reads_noted() as reads:
            study = (await visibility.located(instance)).study
            planned = retrieval.plan(study, instance)
            if not planned or not retrieval.may_have_frames(study, instance):
                raise NotFound("this instance has no frames")
            held = Held(
                archives={instance.instance_uid or "": planned[0].archives},
                disclosed=disclosures.copied(),
                is_series=False,
            )
        self._kept.keep((consumer, instance), held, _HELD_BYTES, reads)
        self._keep_series(visibility, consumer, instance, held.disclosed)
        return held

    def _keep_series(
        self,
        visibility: Visibility,
        consumer: Consumer,
        instance: Target,
        disclosed: Disclosures | None,
    ) -> None:
        """Keeps the same of all instances of a series, where they are listed."""
        key = consumer, series_of(instance)
        if self._kept.kept(key) is not None:
            return
        with reads_noted() as reads:
            study = visibility.listed(instance)
        if study is None:
            return
        held = Held(archives=_with_frames(study, instance), disclosed=disclosed, is_series=True)
        size = _HELD_BYTES + _ROW_BYTES * len(held.archives)
        self._kept.keep(key, held, size, reads)


def _with_frames(study: Study, target: Target) -> dict[str, tuple[str, ...]]:
    """Who holds the instances with frames of a target's series."""
    return {
        instance.uid: instance.archives or series.archives
        for series in study.series or ()
        if series.uid == target.series_uid
        for instance in series.instances or ()
        if retrieval.has_frames(instance)
    }
