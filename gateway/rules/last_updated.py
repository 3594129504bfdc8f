"""Since when a study has been as it is: meta.lastUpdated, from what was noticed of it before.

Archives tell no such time. What counts is when this installation noticed the present content: an
answer that was given before had the content of before, so that whoever asks for what changed
since then is told of it. A time moves forward when nothing is known of before, never backward.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import msgspec

from gateway.config import Settings
from gateway.model import Contents, Study

_DIGEST_BYTES = 12
_MILLISECOND = timedelta(milliseconds=1)
_encoded = msgspec.msgpack.Encoder().encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Noticed:
    """What was noticed last of a study in one archive, and when.

    `study` is a digest of the study and series level, None: the archive no longer has it.
    `instances` is one of the instance level, None: nobody has read it since `study` changed.
    """

    study: bytes | None
    instances: bytes | None = None
    last_updated: str


def instant(moment: datetime) -> str:
    """An aware datetime as a FHIR instant in UTC: the first millisecond not before it.

    All instants of this form are ordered as their texts are.
    """
    past = timedelta(microseconds=moment.microsecond % 1000)
    whole = moment.astimezone(UTC) - past + (_MILLISECOND if past else timedelta())
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{whole.microsecond // 1000:03d}Z"


def latest(instants: Iterable[str | None]) -> str | None:
    """The latest of the instants that are known."""
    return max((one for one in instants if one is not None), default=None)


def newest(known: Iterable[Noticed]) -> Noticed | None:
    """What was noticed last, where several places remember something."""
    return max(known, key=lambda one: one.last_updated, default=None)


def study_read(before: Noticed | None, study: Study | None, now: str) -> Noticed | None:
    """What is noticed when the study and series level of an archive was read; None: nothing.

    `study` None: the archive does not have it. What it never had is not noticed.
    """
    digest = None if study is None else study_digest(study)
    if before is None:
        return None if digest is None else Noticed(study=digest, last_updated=now)
    if before.study == digest:
        return before
    return Noticed(study=digest, last_updated=_after(before, now))


def content_read(before: Noticed | None, content: object, now: str) -> Noticed:
    """What is noticed when something was read that is not of a study's own levels."""
    digest = _digest(content)
    if before is None:
        return Noticed(study=digest, last_updated=now)
    return (
        before
        if before.study == digest
        else Noticed(study=digest, last_updated=_after(before, now))
    )


def instances_read(
    before: Noticed | None, study: Study, found: Contents, now: str
) -> Noticed | None:
    """What is noticed when the instance level of `study` was read; None: nothing.

    The first reading changes nothing that anybody has seen, and so does not move the time. A list
    of what is no longer the study is never shown beside what is.
    """
    told = (sorted(found.instances.items()), sorted(found.series, key=lambda s: s.uid))
    digest, own = _digest((told, found.warnings)), study_digest(study)
    if before is None:
        return Noticed(study=own, instances=digest, last_updated=now)
    if before.study != own:
        return None
    if before.instances in {None, digest}:
        return replace(before, instances=digest)
    return replace(before, instances=digest, last_updated=_after(before, now))


def study_digest(study: Study) -> bytes:
    """A digest of what a record says, its time apart."""
    return _digest(study if study.last_updated is None else replace(study, last_updated=None))


def settings_digest(settings: Settings, release: str) -> str:
    """A digest of what decides, besides the archives, on how resources read.

    Where another release of the gateway or other settings write them, all of them have changed.
    """
    is_default = settings.server.public_url.startswith(_LOOPBACK)
    server = settings.server.model_copy(update={"public_url": ""} if is_default else {})
    text = settings.model_copy(update={"server": server}).model_dump_json(exclude=_OPERATIONAL)
    return hashlib.blake2b(f"{release} {text}".encode(), digest_size=8).hexdigest()


_LOOPBACK = "http://127.0.0.1:"
"""What `server.public_url` begins with where it is not configured; the port follows."""
_OPERATIONAL: Mapping[str, bool | set[str] | Mapping[str, set[str]]] = {
    "server": {"host", "port", "workers", "cors_origins", "shutdown_seconds", "quick_repeats"},
    "cache": True,
    "auth": True,
    "archives": {
        "__all__": {
            "path",
            "rescan_seconds",
            "auth",
            "tls",
            "max_concurrency",
            "queue_seconds",
            "connect_timeout_seconds",
            "timeout_seconds",
            "max_json_mb",
        }
    },
    "fhir": {
        "default_version",
        "default_count",
        "max_count",
        "max_candidates",
        "allow_broad_searches",
        "series_accessions",
    },
}
"""Settings that no resource depends on. Any other may: new ones count until they stand here."""


def _digest(content: object) -> bytes:
    return hashlib.blake2b(_encoded(content), digest_size=_DIGEST_BYTES).digest()


def _after(before: Noticed, now: str) -> str:
    """Now, and later than before even if clocks say otherwise."""
    return max(now, instant(datetime.fromisoformat(before.last_updated) + _MILLISECOND))
