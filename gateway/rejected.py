"""Records without what rejection notes reject (IHE IOCM), or with it, each instance marked.

Which instances are rejected is known by the notes of a study, and what is left by the instance
level: only studies with key object selections pay for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

from gateway.errors import NotFound
from gateway.model import Consumer, Level, Loaded, Study, Target
from gateway.rejection_notes import NOTHING, Rejected, RejectionNotes
from gateway.rules import key_objects, last_updated, policy
from gateway.rules.key_objects import KeyObject

_ANYONE = Consumer(id="anyone")
_NOT_ALL_KNOWN = "rejected objects may be among what is shown"

Whole = Callable[[str, Level], Awaitable[Loaded]]
"""The record of a study as archives have it, with what is rejected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hidden:
    """Series and instances of a study that do not exist, and how many are left in the others."""

    series: frozenset[str] = frozenset()
    instances: frozenset[str] = frozenset()
    counts: Mapping[str, int | None] = field(default_factory=dict)


class RejectedObjects:
    """What is left of studies, and what of them was rejected."""

    def __init__(self, whole: Whole, notes: RejectionNotes) -> None:
        self._whole = whole
        self._notes = notes

    async def left(self, study_uid: str, level: Level) -> Loaded:
        """The record without what is rejected; NotFound when that is all of it."""
        loaded = await self._whole(study_uid, level)
        rejected = await self._notes.rejected(loaded.study)
        if rejected is NOTHING:
            return loaded
        if rejected.instances and level is not Level.INSTANCE:
            deeper = await self._whole(study_uid, Level.INSTANCE)
            loaded = replace(deeper, asked=loaded.asked)
        study = _left(loaded, rejected)
        if level is not Level.INSTANCE and study.is_partial:
            study = key_objects.down_to_series(study)
        return replace(loaded, study=_told(study, rejected, _NOT_ALL_KNOWN))

    async def marked(self, study_uid: str) -> Loaded:
        """The record with what is rejected, to its instances, which tell what rejects them.

        Where some note cannot be read, they do not.
        """
        loaded = await self._whole(study_uid, Level.INSTANCE)
        rejected = await self._notes.noted(loaded.study)
        study = loaded.study
        if rejected.is_known:
            study = key_objects.marked(study, rejected.titles, rejected.instances)
        return replace(loaded, study=_told(study, rejected))

    async def hidden(self, study_uid: str) -> Hidden:
        """What rows of series and instances of a study must not show: what is rejected."""
        whole = (await self._whole(study_uid, Level.SERIES)).study
        rejected = await self._notes.rejected(whole)
        if not rejected.instances:
            return Hidden()
        try:
            shown = (await self.left(study_uid, Level.SERIES)).study.series or ()
        except NotFound:
            shown = ()
        counts = {s.uid: s.number_of_instances for s in shown}
        gone = frozenset(s.uid for s in whole.series or ()) - counts.keys()
        return Hidden(series=gone, instances=rejected.instances, counts=counts)

    async def key_images(self, study: Study) -> tuple[Target, ...]:
        """The images that the key object selections of `study` point out, as far as it has these.

        `study` is what exists for somebody: a selection that does not says nothing.
        """
        found = await self._notes.key_objects(study)
        gone = (await self.hidden(study.uid)).instances if found else frozenset()
        shown = dict.fromkeys(k for archive, k in found if _is_of(study, archive, k, gone))
        return key_objects.flagged(study.uid, shown)


def _left(loaded: Loaded, rejected: Rejected) -> Study:
    """What is left of a study, as archives tell it that hold some of that."""
    if not rejected.instances:
        return loaded.study
    marked = key_objects.marked(loaded.study, rejected.titles, rejected.instances)
    study = policy.visible(_ANYONE, marked, loaded.parts)
    if study is None:
        raise NotFound("no such study")
    return replace(study, warnings=loaded.study.warnings, knows_rejections=False)


def _told(study: Study, rejected: Rejected, *warnings: str) -> Study:
    """`study` since its notes say so, with a warning where not all of them can be read."""
    return replace(
        study,
        warnings=study.warnings if rejected.is_known else (*study.warnings, *warnings),
        last_updated=last_updated.latest([study.last_updated, rejected.last_updated]),
    )


def _is_of(study: Study, archive: str, found: KeyObject, gone: frozenset[str]) -> bool:
    """Whether what an archive has of a key object selection is in `study`."""
    series = next((s for s in study.series or () if s.uid == found.series_uid), None)
    if series is None or archive not in series.archives:
        return False
    if series.instances is None:
        return found.uid not in gone
    one = next((i for i in series.instances if i.uid == found.uid), None)
    return one is not None and archive in (one.archives or series.archives)
