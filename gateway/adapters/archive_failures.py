"""What goes wrong at an archive, as one of our own errors."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp

from gateway.adapters import tls
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

_LONGEST_RETRY_SECONDS = 3600


def raise_for(archive: str, response: aiohttp.ClientResponse) -> None:
    """Nothing for a success; NotFound for 404 and 410, NotAcceptable for 406, else ArchiveError."""
    status = response.status
    if status in {200, 204, 206}:
        return
    if status in {404, 410}:
        raise NotFound("not found")
    if status == 406:
        raise NotAcceptable(f"archive {archive} cannot give what Accept asks for")
    if status in {401, 403}:
        raise ArchiveRefused(f"it refuses the gateway ({status})", archive=archive, answered=status)
    if status in {429, 503}:
        busy = ArchiveBusy(f"it answered {status}", archive=archive, answered=status)
        busy.retry_after_seconds = _retry_after(response) or busy.retry_after_seconds
        raise busy
    if status == 504:
        raise ArchiveTimeout("it answered 504", archive=archive, answered=status)
    raise ArchiveBadAnswer(f"it answered {status}", archive=archive, answered=status)


@contextmanager
def as_archive_errors(archive: str) -> Iterator[None]:
    """Turns what the HTTP client raises into an ArchiveError."""
    try:
        yield
    except TimeoutError as error:
        raise ArchiveTimeout("no answer in time", archive=archive) from error
    except (aiohttp.ClientPayloadError, aiohttp.ClientConnectionResetError) as error:
        raise _unreachable(archive, "its answer broke off", error) from error
    except (aiohttp.ClientConnectionError, OSError) as error:
        raise _unreachable(archive, "no connection", error) from error
    except zlib.error as error:
        raise ArchiveBadAnswer("its answer cannot be inflated", archive=archive) from error
    except (aiohttp.ClientError, ValueError) as error:
        raise ArchiveBadAnswer("not an HTTP answer", archive=archive) from error


def _unreachable(archive: str, message: str, error: BaseException) -> ArchiveError:
    """Why there is no connection: what TLS says, where it says anything."""
    found = tls.trouble(error)
    if found is None:
        return ArchiveUnreachable(message, archive=archive)
    words, is_refusal = found
    kind = ArchiveRefused if is_refusal else ArchiveUnreachable
    return kind(words, archive=archive)


def _retry_after(response: aiohttp.ClientResponse) -> int | None:
    """The seconds of Retry-After (RFC 9110 §10.2.3), bounded; None for none or a date."""
    text = response.headers.get("Retry-After", "").strip()
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        return None
    return min(int(text), _LONGEST_RETRY_SECONDS)
