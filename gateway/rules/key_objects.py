"""Key Object Selections (PS3.3 §A.35.4, PS3.16 TID 2010): what they point at, and what they reject.

IHE IOCM (RAD TF-1 §35) rejects instances by a key object selection whose title says why: what it
references does not exist for anybody any more, and neither does the note.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from msgspec import structs

from gateway.model import Code, Instance, Series, Study, Target
from gateway.rules import dicom_json as dj
from gateway.rules.dicom_json import Dataset
from gateway.rules.values import codes

MODALITY = "KO"
SOP_CLASS = "1.2.840.10008.5.1.4.1.1.88.59"
REJECTIONS = {
    "113001": "Rejected for Quality Reasons",
    "113037": "Rejected for Patient Safety Reasons",
    "113038": "Incorrect Modality Worklist Entry",
    "113039": "Data Retention Policy Expired",
}
"""Titles of rejection notes (DCM, CID 7011)."""

_LISTS = frozenset({"113030", "113031", "113032", "113033", "113034", "113035"})
"""Titles of manifests and lists of all that there is, which flag nothing."""
_MOST_DEPTH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """An instance that a key object selection points at, or frames (1-based) of it."""

    series_uid: str | None
    instance_uid: str
    frames: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyObject:
    """A key object selection: why, and what of its study it points at."""

    uid: str
    series_uid: str
    title: Code | None = None
    references: tuple[Reference, ...] = ()

    @property
    def rejects_for(self) -> str | None:
        """Its title if that rejects what it points at; None: it does not."""
        title = self.title
        is_rejection = title is not None and title.scheme == "DCM" and title.value in REJECTIONS
        return title.value if title is not None and is_rejection else None

    @property
    def is_rejection(self) -> bool:
        """Whether what it points at is rejected."""
        return self.rejects_for is not None


def key_objects(study_uid: str, metadata: Iterable[Dataset]) -> tuple[KeyObject, ...]:
    """The key object selections among metadata objects of a study, each once."""
    found = (_key_object(study_uid, one) for one in metadata)
    return tuple(dict.fromkeys(k for k in found if k is not None))


def _key_object(study_uid: str, dataset: Dataset) -> KeyObject | None:
    uid, series_uid = (_uid(dataset, t) for t in (dj.SOP_INSTANCE_UID, dj.SERIES_INSTANCE_UID))
    if uid is None or series_uid is None or dj.text(dataset, dj.SOP_CLASS_UID) != SOP_CLASS:
        return None
    series_of = _evidence(study_uid, dataset)
    referenced = {r.instance_uid: r for r in _content(dataset, series_of)}
    for instance_uid, of in series_of.items():  # also what the content does not repeat
        referenced.setdefault(instance_uid, Reference(series_uid=of, instance_uid=instance_uid))
    return KeyObject(
        uid=uid,
        series_uid=series_uid,
        title=next(iter(codes(dataset, dj.CONCEPT_NAME_CODE_SEQUENCE)), None),
        references=tuple(referenced.values()),
    )


def _evidence(study_uid: str, dataset: Dataset) -> dict[str, str]:
    """Series by instance of the Current Requested Procedure Evidence (0040,A375) in this study."""
    return {
        instance_uid: series_uid
        for of_study in _items(dataset, dj.EVIDENCE_SEQUENCE)
        if dj.text(of_study, dj.STUDY_INSTANCE_UID) in {None, study_uid}
        for of_series in _items(of_study, dj.REFERENCED_SERIES_SEQUENCE)
        if (series_uid := _uid(of_series, dj.SERIES_INSTANCE_UID)) is not None
        for item in _items(of_series, dj.REFERENCED_SOP_SEQUENCE)
        if (instance_uid := _uid(item, dj.REFERENCED_SOP_INSTANCE_UID)) is not None
    }


def _content(dataset: Dataset, series_of: dict[str, str], depth: int = 0) -> Iterable[Reference]:
    """What the content tree points at, with its frames, as far as the evidence knows it."""
    for item in _items(dataset, dj.CONTENT_SEQUENCE) if depth < _MOST_DEPTH else ():
        for referenced in _items(item, dj.REFERENCED_SOP_SEQUENCE):
            uid = _uid(referenced, dj.REFERENCED_SOP_INSTANCE_UID)
            if uid is not None and (uid in series_of or not series_of):
                frames = dj.texts(referenced, dj.REFERENCED_FRAME_NUMBER)
                yield Reference(
                    series_uid=series_of.get(uid),
                    instance_uid=uid,
                    frames=tuple(int(f) for f in frames if f.isascii() and f.isdigit()),
                )
        yield from _content(item, series_of, depth + 1)


def _items(dataset: Dataset, tag: str) -> list[Dataset]:
    return [i for i in dj.values(dataset, tag) if isinstance(i, dict)]


def _uid(dataset: Dataset, tag: str) -> str | None:
    uid = dj.text(dataset, tag)
    return uid if uid is not None and dj.is_uid(uid) else None


def flagged(study_uid: str, found: Iterable[KeyObject]) -> tuple[Target, ...]:
    """The images, or frames of them, that key object selections point out, each once."""
    chosen = [k for k in found if not k.is_rejection and not _is_list(k)]
    return tuple(
        dict.fromkeys(
            Target(
                study_uid=study_uid,
                series_uid=r.series_uid,
                instance_uid=r.instance_uid,
                frames=r.frames,
            )
            for k in chosen
            for r in k.references
            if r.series_uid is not None
        )
    )


def _is_list(found: KeyObject) -> bool:
    return found.title is not None and found.title.value in _LISTS


def rejections(found: Iterable[KeyObject]) -> dict[str, tuple[str, ...]]:
    """Titles of notes by the instances that they reject: what they point at, and the notes."""
    titles: dict[str, tuple[str, ...]] = {}
    for note in found:
        if (code := note.rejects_for) is not None:
            for uid in (note.uid, *(r.instance_uid for r in note.references)):
                titles[uid] = tuple(sorted({*titles.get(uid, ()), code}))
    return titles


def marked(study: Study, titles: Mapping[str, tuple[str, ...]], rejected: Collection[str]) -> Study:
    """`study`, loaded to its instances, each with the titles of the notes that refer to it.

    `rejected`: those that do not exist, but for those whom a policy shows them.
    """

    def of(instance: Instance) -> Instance:
        told = titles.get(instance.uid)
        if told is None:
            return instance
        return structs.replace(instance, rejections=told, is_rejected=instance.uid in rejected)

    series = tuple(
        replace(s, instances=tuple(of(i) for i in s.instances or ()))
        if any(i.uid in titles for i in s.instances or ())
        else s
        for s in study.series or ()
    )
    return replace(study, series=series, knows_rejections=True)


def down_to_series(study: Study) -> Study:
    """`study` as it is known without its instances."""
    series: Sequence[Series] = study.series or ()
    return replace(study, series=tuple(replace(s, instances=None) for s in series))
