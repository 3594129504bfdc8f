from __future__ import annotations

import ssl
import zlib

import aiohttp
import pytest

from gateway.adapters.archive_failures import as_archive_errors, raise_for
from gateway.adapters.http_answer import BrokenOff, Lost, NotHttp
from gateway.errors import (
    ArchiveBadAnswer,
    ArchiveBusy,
    ArchiveError,
    ArchiveTimeout,
    ArchiveUnreachable,
)


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (TimeoutError(), ArchiveTimeout),
        (BrokenOff(), ArchiveUnreachable),
        (Lost(), ArchiveUnreachable),
        (ssl.SSLCertVerificationError(), ArchiveUnreachable),
        (OSError(), ArchiveUnreachable),
        (aiohttp.ClientPayloadError(), ArchiveUnreachable),
        (aiohttp.ClientConnectionError(), ArchiveUnreachable),
        (zlib.error(), ArchiveBadAnswer),
        (NotHttp(), ArchiveBadAnswer),
        (aiohttp.ClientError(), ArchiveBadAnswer),
    ],
)
def test_what_goes_wrong_is_told_as_one_of_our_errors(
    raised: Exception, told: type[ArchiveError]
) -> None:
    with pytest.raises(told) as found, as_archive_errors("north"):
        raise raised
    assert found.value.archive == "north"
    assert found.value.__cause__ is raised


def test_a_success_is_none_and_a_busy_archive_says_when() -> None:
    for status in (200, 204, 206):
        raise_for("north", status, {})
    with pytest.raises(ArchiveBusy) as found:
        raise_for("north", 503, {"Retry-After": "9"})
    assert found.value.retry_after_seconds == 9
