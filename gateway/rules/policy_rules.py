"""What the rules of a policy say of one copy of an object, and which is the first that decides.

What a rule looks at and the record does not tell counts against showing it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from gateway import config
from gateway.model import Identifier, Instance, Policy, Rule, Series, Study

NONE = Policy(name="")
"""That of a consumer who has none."""
Copy = tuple[Study, Series, str, Instance | None]
"""An object as one archive holds it; no instance: the series as a whole."""


def compiled(name: str, section: config.Policy) -> Policy:
    """The policy called `name` from its section of the configuration."""
    return Policy(
        name=name,
        hide=tuple(_rule(f"hide[{n}]", rule) for n, rule in enumerate(section.hide)),
        allow=tuple(_rule(f"allow[{n}]", rule) for n, rule in enumerate(section.allow)),
        denies_partial=section.partial == "deny",
    )


def decided(policy: Policy, copy: Copy) -> tuple[bool, str]:
    """Whether one copy of an object exists under `policy`, and the first rule that says so.

    What is rejected exists by a rule that allows it for all that it is rejected for, or not at all.
    """
    instance = copy[3]
    for rule in policy.hide:
        if all(fits is not False for fits in (*_fits(rule, copy), _is_noted(rule, copy))):
            return False, _told(policy, rule)
    is_rejected = instance is not None and instance.is_rejected
    for rule in policy.allow:
        if (rule.rejections or not is_rejected) and all((*_fits(rule, copy), _is_let(rule, copy))):
            return True, _told(policy, rule)
    if instance is not None and is_rejected:
        titles = ", ".join(instance.rejections)
        return False, f"it is rejected ({titles}), and no rule allows that"
    if policy is NONE:
        return True, "there is no policy"
    if policy.allow:
        return False, f"no rule of policy {policy.name} allows it"
    return True, f"no rule of policy {policy.name} hides it"


def _is_noted(rule: Rule, copy: Copy) -> bool | None:
    """Whether some note that refers to an instance is one of a rule's; None: who knows."""
    named = _rejections(copy)
    return not rule.rejections or (None if named is None else not named.isdisjoint(rule.rejections))


def _is_let(rule: Rule, copy: Copy) -> bool | None:
    """Whether all notes that refer to an instance are a rule's; None: who knows."""
    named = _rejections(copy)
    return not rule.rejections or (None if named is None else named.issubset(rule.rejections))


def _rejections(copy: Copy) -> frozenset[str | None] | None:
    """The titles of the notes that refer to an instance, {None} where none does; None: unknown."""
    study, _, _, instance = copy
    if instance is None or not study.knows_rejections:
        return None
    return frozenset(instance.rejections or (None,))


def _told(policy: Policy, rule: Rule) -> str:
    return f"policy {policy.name}, {rule.name}"


def _fits(rule: Rule, copy: Copy) -> Iterator[bool | None]:
    """Whether each thing that a rule asks for fits; None: the record does not tell."""
    study, series, archive, instance = copy
    if rule.archives:
        yield archive in rule.archives
    if rule.modalities:
        told = (series.modality, *series.other_modalities)
        yield _agreed(None if m is None else m in rule.modalities for m in told)
    if rule.series_descriptions:
        described = (series.description, *series.other_descriptions)
        yield _agreed(_is_like(d, rule.series_descriptions) for d in described)
    if rule.sop_classes:
        yield _is_like(instance.sop_class_uid if instance else None, rule.sop_classes)
    if rule.patients:
        unnamed = None if study.is_of_several_patients else study.patient.id
        named = study.patient_ids or (unnamed,)
        yield _agreed(_is_patient(one, rule.patients) for one in named)
    if rule.study_date_from is not None or rule.study_date_to is not None:
        yield _agreed(_is_between(d, rule) for d in (study.date, *study.other_dates))


def _agreed(found: Iterable[bool | None]) -> bool | None:
    """What is found of all that copies tell; None where they differ: `hide` fits, `allow` not."""
    first, *others = found
    return first if all(one is first for one in others) else None


def _is_like(value: str | None, patterns: Sequence[str]) -> bool | None:
    if value is None:
        return None
    return any(_pattern(p).match(value) is not None for p in patterns)


@lru_cache(maxsize=1024)
def _pattern(text: str) -> re.Pattern[str]:
    """`*` and `?` as wildcards, nothing else; case does not matter."""
    escaped = re.escape(text).replace(r"\*", ".*").replace(r"\?", ".")
    return re.compile(rf"{escaped}\Z", re.IGNORECASE | re.DOTALL)


def _is_patient(found: Identifier | None, meant: Sequence[Identifier]) -> bool | None:
    if found is None:
        return None
    alike = [p for p in meant if p.value == found.value]
    if any(p.system in {None, found.system} for p in alike):
        return True
    return None if alike and found.system is None else False


def _is_between(date: str | None, rule: Rule) -> bool | None:
    if date is None:
        return None
    return (rule.study_date_from or "") <= date <= (rule.study_date_to or "9999-12-31")


def _rule(name: str, section: config.PolicyRule) -> Rule:
    return Rule(
        name=name,
        modalities=section.modality,
        sop_classes=section.sop_class,
        series_descriptions=section.series_description,
        archives=section.archive,
        patients=tuple(_identifier(text) for text in section.patient),
        study_date_from=section.study_date_from.isoformat() if section.study_date_from else None,
        study_date_to=section.study_date_to.isoformat() if section.study_date_to else None,
        rejections=tuple(None if title == "none" else title for title in section.rejection_note),
    )


def _identifier(text: str) -> Identifier:
    """`system|value`, or the value in any system."""
    system, bar, value = text.rpartition("|")
    return Identifier(value=value, system=system if bar else None)
