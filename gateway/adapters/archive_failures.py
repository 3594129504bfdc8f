"""What goes wrong at an archive, as one of our own errors."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import aiohttp

from gateway.adapters import tls
from gateway.adapters.http_answer import BrokenOff
from gateway.errors import (
    ArchiveBadAnswer,
    ArchiveBusy,
    ArchiveError,
    ArchiveRefused,
    ArchiveTimeout,
    ArchiveUnreachable,
    NotAcceptable,
    NotFound,
)

TROUBLES = (OSError, aiohttp.ClientError, ValueError, zlib.error)
"""What may be raised while an archive is asked and answers."""
_GOOD = frozenset({200, 204, 206})
_LONGEST_RETRY_SECONDS = 3600


def raise_for(
    archive: str, status: int, headers: Mapping[str, str], *, is_for_caller: bool = False
) -> None:
    """Nothing for a success; NotFound for 404 and 410, else ArchiveError.

    NotAcceptable for 406 where what is accepted may be a caller's own wish (`is_for_caller`); of
    the gateway's own questions it is a failure like any other.
    """
    if status in _GOOD:
        return
    if status in {404, 410}:
        raise NotFound("not found")
    if status == 406 and is_for_caller:
        raise NotAcceptable(f"archive {archive} cannot give what Accept asks for")
    if status in {401, 403}:
        raise ArchiveRefused(f"it refuses the gateway ({status})", archive=archive, answered=status)
    if status in {429, 503}:
        busy = ArchiveBusy(f"it answered {status}", archive=archive, answered=status)
        busy.retry_after_seconds = _retry_after(headers) or busy.retry_after_seconds
        raise busy
    if status == 504:
        raise ArchiveTimeout("it answered 504", archive=archive, answered=status)
    raise ArchiveBadAnswer(f"it answered {status}", archive=archive, answered=status)


def failure(archive: str, error: BaseException) -> ArchiveError:
    """One of `TROUBLES` as what the archive's callers are told: what TLS says, if it does."""
    if isinstance(error, TimeoutError):
        return ArchiveTimeout("no answer in time", archive=archive)
    if (found := tls.trouble(error)) is not None:
        words, is_refusal = found
        return (ArchiveRefused if is_refusal else ArchiveUnreachable)(words, archive=archive)
    if isinstance(error, BrokenOff | aiohttp.ClientPayloadError):
        return ArchiveUnreachable("its answer broke off", archive=archive)
    if isinstance(error, OSError | aiohttp.ClientConnectionError):
        return ArchiveUnreachable("no connection", archive=archive)
    if isinstance(error, zlib.error):
        return ArchiveBadAnswer("its answer cannot be inflated", archive=archive)
    return ArchiveBadAnswer("not an HTTP answer", archive=archive)


@contextmanager
def as_archive_errors(archive: str) -> Iterator[None]:
    """Turns `TROUBLES` into an ArchiveError."""
    try:
        yield
    except TROUBLES as error:
        raise failure(archive, error) from error


def _retry_after(headers: Mapping[str, str]) -> int | None:
    """The seconds of Retry-After (RFC 9110 §10.2.3), bounded; None for none or a date."""
    text = headers.get("Retry-After", "").strip()
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        return None
    return min(int(text), _LONGEST_RETRY_SECONDS)
