"""What cached values are called, and by which marks they are dropped: hashes that tell no UID.

A value is dropped by itself, with its study, with each of its archives, and with everything. Each
of these has a mark, in Redis a key; a value is worth nothing once one of its marks has changed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

LAYOUT = 3
"""Version of names, envelopes and notices; another version never sees this one's."""
DEFAULT_PREFIX = "gw"
_DIGEST_BYTES = 16
_TAG_DIGITS = 8


class Key(str):
    """The name of a cached value, which knows what the value is of.

    `archives`: those out of which it was made.
    """

    __slots__ = ("archives", "study_uid")
    study_uid: str
    archives: tuple[str, ...]

    def __new__(cls, name: str, *, study_uid: str, archives: tuple[str, ...] = ()) -> Key:
        """`name` alone tells two keys apart; it names study and archives too."""
        key = super().__new__(cls, name)
        key.study_uid = study_uid
        key.archives = archives
        return key


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """All values of a study, or out of an archive; neither: all there are."""

    study_uid: str | None = None
    archive: str | None = None


What = Key | Group


class Names:
    """Names in Redis, keyed by a secret where there is one: nobody else can tell what they are.

    `prefix` begins all of them, `own` those of the same secret, which `tag` tells from others;
    `channel` is where all publish their notices, whatever their secret is; `breaks` tells when a
    process last lost touch with Redis.
    """

    def __init__(self, secret: bytes = b"", prefix: str = DEFAULT_PREFIX) -> None:
        """`prefix` tells installations apart that share a Redis."""
        self.prefix = f"{prefix}:{LAYOUT}:"
        self.channel = f"{self.prefix}notices"
        self._groups: dict[Group, str] = {}
        self._secret = hashlib.blake2b(secret, person=b"gateway names").digest() if secret else b""
        self.tag = self._digest("tag")[:_TAG_DIGITS]
        self.own = f"{self.prefix}{self.tag}:" if secret else self.prefix
        self.breaks = f"{self.own}{{marks}}:breaks"

    def value(self, key: Key) -> str:
        """The name of the value of `key`; with its study's other names in one hash slot."""
        return f"{self._slot(key.study_uid)}{self._digest(key)}"

    def lasting(self, key: Key) -> str:
        """The name of what is remembered under `key`, which nothing drops."""
        return f"{self.value(key)}:lasting"

    def mark(self, what: What) -> str:
        """The mark of one value or of a group."""
        if isinstance(what, Key):
            return f"{self.value(what)}:mark"
        if what.study_uid is not None:
            return f"{self._slot(what.study_uid)}mark"
        if what not in self._groups:  # few, in one hash slot, and in every entry
            word = "all" if what.archive is None else self._digest(what.archive)
            self._groups[what] = f"{self.own}{{marks}}:{word}"
        return self._groups[what]

    def marks(self, key: Key) -> tuple[str, ...]:
        """All marks of a value: its own, its study's, that of everything, and its archives'."""
        groups = (
            Group(study_uid=key.study_uid),
            Group(),
            *(Group(archive=archive) for archive in key.archives),
        )
        return (self.mark(key), *(self.mark(group) for group in groups))

    def _slot(self, study_uid: str) -> str:
        return f"{self.own}{{{self._digest(study_uid)}}}:"

    def _digest(self, word: str) -> str:
        return hashlib.blake2b(
            word.encode(), key=self._secret, digest_size=_DIGEST_BYTES
        ).hexdigest()
