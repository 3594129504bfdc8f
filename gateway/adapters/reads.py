"""What is read from caches while something is made of it, which is good for as long as that is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass(slots=True)
class Reads:
    """What was read from a cache; not `is_whole` where that is not all that decides.

    As where something failed, or changed meanwhile.
    """

    values: dict[str, bytes] = field(default_factory=dict)
    is_whole: bool = True

    def note(self, key: str, value: bytes) -> None:
        """A value that was read; the same one again, or what came before is out of date."""
        self.is_whole = self.is_whole and self.values.setdefault(key, value) is value


_NOTED: ContextVar[Reads | None] = ContextVar("reads", default=None)


@contextmanager
def reads_noted() -> Iterator[Reads]:
    """Notes what is read from caches within, in tasks begun within too."""
    reads = Reads()
    token = _NOTED.set(reads)
    try:
        yield reads
    finally:
        _NOTED.reset(token)
        note_reads(reads.values, is_whole=reads.is_whole)


def note_reads(values: Mapping[str, bytes], *, is_whole: bool = True) -> None:
    """Notes, where reads are noted, what was read before for what is used now."""
    if (noted := _NOTED.get()) is not None:
        noted.is_whole = noted.is_whole and is_whole
        for key, value in values.items():
            noted.note(key, value)


def note_passing() -> None:
    """Notes, where reads are noted, that what is made of them depends on the moment as well."""
    note_reads({}, is_whole=False)


def noted() -> Reads | None:
    """Where reads are noted now; None: nobody wants to know."""
    return _NOTED.get()
