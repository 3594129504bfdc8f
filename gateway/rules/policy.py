"""What exists for whom. Every answer passes here, after the cache and on every surface.

One predicate decides on one copy of an object: this instance (or series) in this archive. What
remains of a study is what remains of its copies, and its counts and lists are made from that.
What a rule needs to know and the record does not tell counts against showing it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from msgspec import structs

from gateway.model import Consumer, Instance, Level, Policy, Rule, Series, Study
from gateway.rules import merging
from gateway.rules.policy_rules import NONE, decided


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether an object exists for a consumer, and by which rule; `instance_uid` None: the series.

    `series_uid` None: the study as a whole.
    """

    series_uid: str | None
    instance_uid: str | None
    is_visible: bool
    why: str


def is_restricted(consumer: Consumer) -> bool:
    """Whether anything may be hidden from `consumer`, who then must not pass the gateway by."""
    policy = consumer.policy
    return consumer.patients is not None or bool(policy and (policy.hide or policy.allow))


def needs(consumer: Consumer) -> Level:
    """How deep a record must be loaded for `visible` to decide on it."""
    if not is_restricted(consumer):
        return Level.STUDY
    policy = consumer.policy
    return Level.INSTANCE if policy is not None and _is_by_instance(policy) else Level.SERIES


def looks_at_rejections(consumer: Consumer) -> bool:
    """Whether `visible` has to know what is rejected, and why: some of it may exist."""
    return any(rule.rejections for rule in _rules(consumer.policy))


def hides_parts(consumer: Consumer) -> bool:
    """Whether some of a study may be hidden from `consumer`, and not only whole studies."""
    return bool(_rules(consumer.policy))


def needs_copies(consumer: Consumer, study: Study) -> bool:
    """Whether `visible` has to know which archive has which instance of `study`."""
    if not any(rule.archives for rule in _rules(consumer.policy)):
        return False
    return any(len(s.archives) > 1 and s.instances is None for s in study.series or ())


def search_keys(consumer: Consumer) -> tuple[str, ...] | None:
    """The Patient IDs by which a search finds all that may exist for `consumer`; None: any."""
    if consumer.patients is None:
        return None
    return tuple(dict.fromkeys(p.value for p in consumer.patients))


def shows(study: Study, archive: str, series_uid: str | None, instance_uid: str | None) -> bool:
    """Whether what `archive` says of an object is in the visible part `study` of its study.

    An instance of a series that is wholly visible need not be loaded.
    """
    if series_uid is None:
        return archive in study.archives
    series = next((s for s in study.series or () if s.uid == series_uid), None)
    if series is None or archive not in series.archives:
        return False
    if instance_uid is None or (series.instances is None and not series.is_partial):
        return True
    found = next((i for i in series.instances or () if i.uid == instance_uid), None)
    return found is not None and archive in (found.archives or series.archives)


def visible(consumer: Consumer, study: Study, parts: Sequence[Study] = ()) -> Study | None:
    """The part of `study` that exists for `consumer`; None when nothing of it does.

    A study of which something is hidden is marked partial, and counts only what remains. `study`
    is loaded as deep as `needs` says: what is not known is not shown. `parts`: what it was merged
    from; where all that an archive has is hidden, so is what it alone says of the rest.
    """
    if not _is_theirs(consumer, study):
        return None
    policy = consumer.policy or NONE
    if not _rules(policy) and not study.knows_rejections:
        return study
    series = study.series or ()
    kept = tuple(s for s in (_visible_series(policy, study, s) for s in series) if s is not None)
    if not kept and (series or study.series is None):
        return None
    if kept == series:
        return study
    lost = [s for s in series if s.uid not in {k.uid for k in kept}]
    is_subset = any(s.is_subset for s in kept)
    is_subset = is_subset or any(_is_missed(policy, study, s) for s in lost)
    return replace(_of_what_remains(study, parts, kept), is_subset=is_subset)


def explained(consumer: Consumer, study: Study) -> tuple[Verdict, ...]:
    """What exists of a study for `consumer` and why, series by series; instances where it matters.

    `study` is loaded to the instances.
    """
    if not _is_theirs(consumer, study):
        why = "the study is another patient's"
        return (Verdict(series_uid=None, instance_uid=None, is_visible=False, why=why),)
    return tuple(
        verdict for series in study.series or () for verdict in _verdicts(consumer, study, series)
    )


def _rules(policy: Policy | None) -> tuple[Rule, ...]:
    return () if policy is None else (*policy.hide, *policy.allow)


def _is_theirs(consumer: Consumer, study: Study) -> bool:
    """Whether the study is of the patient to whom the consumer is bound, if to any.

    By system and value: an identifier without a system belongs to nobody. A study that archives
    ascribe to different patients is nobody's.
    """
    if consumer.patients is None:
        return True
    found = study.patient.id
    return (
        found is not None
        and found.system is not None
        and not study.is_of_several_patients
        and any((p.system, p.value) == (found.system, found.value) for p in consumer.patients)
    )


def _visible_series(policy: Policy, study: Study, series: Series) -> Series | None:
    """What remains of a series; None when nothing does."""
    is_whole = not (_is_by_instance(policy) or study.knows_rejections)
    if is_whole or not series.instances:
        archives = _holders(policy, study, series, None)
        return _held_by(series, archives) if archives else None
    kept = tuple(_visible_instances(policy, study, series))
    if not kept or kept == series.instances:
        return series if kept else None
    is_subset = _is_missed(policy, study, series, kept)
    return replace(_with_instances(series, kept), is_subset=is_subset)


def _visible_instances(policy: Policy, study: Study, series: Series) -> Iterator[Instance]:
    for instance in series.instances or ():
        if not _rules(policy):  # of thousands
            if not instance.is_rejected:
                yield instance
        elif archives := _holders(policy, study, series, instance):
            is_whole = archives == (instance.archives or series.archives)
            yield instance if is_whole else structs.replace(instance, archives=archives)


def _is_by_instance(policy: Policy) -> bool:
    return any(rule.sop_classes or rule.rejections for rule in _rules(policy))


def _holders(
    policy: Policy, study: Study, series: Series, instance: Instance | None
) -> tuple[str, ...]:
    """The archives whose copy of an object exists under `policy`."""
    archives = (instance.archives if instance else ()) or series.archives
    return tuple(a for a in archives if decided(policy, (study, series, a, instance))[0])


def _held_by(series: Series, archives: tuple[str, ...]) -> Series:
    """`series` as far as `archives` hold it."""
    if archives == series.archives:
        return series
    kept = None
    if series.instances is not None:
        held = ((i, tuple(a for a in i.archives if a in archives)) for i in series.instances)
        kept = tuple(structs.replace(i, archives=of) for i, of in held if of or not i.archives)
    return replace(
        series,
        archives=archives,
        instances=kept,
        number_of_instances=None if kept is None else len(kept),
        is_uneven=series.is_uneven and len(archives) > 1,
        is_subset=kept is None or len(kept) < len(series.instances or ()),
        warnings=(),
    )


def _with_instances(series: Series, kept: tuple[Instance, ...]) -> Series:
    held = {a for i in kept for a in (i.archives or series.archives)}
    return replace(
        series,
        archives=tuple(a for a in series.archives if a in held),
        instances=tuple(structs.replace(i, archives=i.archives or series.archives) for i in kept),
        number_of_instances=len(kept),
        is_partial=True,
        warnings=(),
    )


def _is_missed(policy: Policy, study: Study, series: Series, kept: Sequence[Instance] = ()) -> bool:
    """Whether something is hidden, and not only what is rejected, and so exists for nobody."""
    uids = {i.uid for i in kept}
    lost = [i for i in series.instances or () if i.uid not in uids]
    allows = replace(policy, hide=())
    return not series.instances or any(
        not i.is_rejected or _holders(allows, study, series, i) for i in lost
    )


def _of_what_remains(study: Study, parts: Sequence[Study], kept: tuple[Series, ...]) -> Study:
    """`study` with `kept` alone: everything that counts or lists its series is made of them."""
    numbers = [s.number_of_instances for s in kept]
    held = {a for s in kept for a in s.archives}
    before = {s.uid: s for s in study.series or ()}
    told = [p for p in parts if not held.isdisjoint(p.archives)]
    kept = tuple(_as_told(parts, before[s.uid], s) for s in kept)
    return replace(
        merging.merge(told) if len(told) < len(parts) and told else study,
        archives=tuple(a for a in study.archives if a in held),
        last_updated=study.last_updated,
        modalities=tuple(dict.fromkeys(s.modality for s in kept if s.modality)),
        number_of_series=len(kept),
        number_of_instances=None if None in numbers else sum(n or 0 for n in numbers),
        series=kept,
        warnings=(),
        is_partial=True,
    )


def _as_told(parts: Sequence[Study], series: Series, kept: Series) -> Series:
    """`kept` without what only archives say of `series` whose copy of it is hidden."""
    if kept.archives == series.archives:
        return kept
    told = merging.series_of(parts, kept.uid, kept.archives)
    return replace(
        told or kept,
        archives=kept.archives,
        instances=kept.instances,
        number_of_instances=kept.number_of_instances,
        is_uneven=kept.is_uneven,
        is_partial=kept.is_partial,
        is_subset=kept.is_subset,
        warnings=(),
    )


def _verdicts(consumer: Consumer, study: Study, series: Series) -> Iterator[Verdict]:
    """One verdict for a series whose instances all fare alike, else one for each instance."""
    policy = consumer.policy
    found = []
    for instance in series.instances or (None,):
        archives = (instance.archives if instance else ()) or series.archives
        copies = [(study, series, archive, instance) for archive in archives]
        told = [decided(policy or NONE, copy) for copy in copies]
        shown = next((d for d in told if d[0]), told[0])
        found.append((instance.uid if instance else None, *shown))
    if len({(is_visible, why) for _, is_visible, why in found}) == 1:
        found = [(None, *found[0][1:])]
    for uid, is_visible, why in found:
        yield Verdict(series_uid=series.uid, instance_uid=uid, is_visible=is_visible, why=why)
