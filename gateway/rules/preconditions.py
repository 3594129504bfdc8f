"""Conditional requests (RFC 9110 §13): whether a read is answered, already known, or refused.

Entity tags are compared as FHIR does (R5 HTTP §3.2.0.5), weak ones too, also for If-Match: ours are
weak, for they tell the content and not its octets.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta


class Verdict(enum.Enum):
    """What the preconditions of a read come to."""

    GO_ON = enum.auto()
    NOT_MODIFIED = enum.auto()
    FAILED = enum.auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """The preconditions of a request: entity tags of all fields, and dates; None: not there.

    A date that cannot be read is not there.
    """

    if_match: Sequence[str] = ()
    if_none_match: Sequence[str] = ()
    if_modified_since: datetime | None = None
    if_unmodified_since: datetime | None = None


def verdict(conditions: Conditions, tag: str | None, changed: datetime | None) -> Verdict:
    """The verdict in the order of RFC 9110 §13.2.2, for a resource that exists.

    `tag` None: what would be sent has none; `changed` None: it is not known when that was.
    """
    asked = conditions
    if asked.if_match:
        if not _is_named(tag, asked.if_match):
            return Verdict.FAILED
    elif _is_later(changed, asked.if_unmodified_since):
        return Verdict.FAILED
    if asked.if_none_match:
        return Verdict.NOT_MODIFIED if _is_named(tag, asked.if_none_match) else Verdict.GO_ON
    since = asked.if_modified_since
    if changed is not None and since is not None and changed <= since:
        return Verdict.NOT_MODIFIED
    return Verdict.GO_ON


def last_modified(changed: datetime, now: datetime) -> datetime | None:
    """The whole second for Last-Modified: the first not before the change; None: it is to come.

    A time to come is not told (RFC 9110 §8.8.2.1). Whoever sends back the one told read after that
    second, and what changed later is later than it.
    """
    begun = changed.replace(microsecond=0)
    told = begun if begun == changed else begun + timedelta(seconds=1)
    return told if told <= now else None


def _is_later(changed: datetime | None, than: datetime | None) -> bool:
    return changed is not None and than is not None and changed > than


def _is_named(tag: str | None, fields: Sequence[str]) -> bool:
    named = [one.strip() for field in fields for one in field.split(",")]
    if "*" in named:
        return True
    return tag is not None and _plain(tag) in map(_plain, named)


def _plain(tag: str) -> str:
    return tag.removeprefix("W/")
