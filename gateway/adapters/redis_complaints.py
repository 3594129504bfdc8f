"""What is wrong with Redis: counted by its cause, and logged with a reason that can be acted on."""

from __future__ import annotations

import logging
import os
import re
import ssl
from collections.abc import Callable, Iterator

import structlog
from redis import exceptions as raised

from gateway.adapters.redis_client import Limits
from gateway.adapters.telemetry import Telemetry

LOG: structlog.typing.FilteringBoundLogger = structlog.get_logger()
REFUSALS = (raised.AuthenticationError, raised.NoPermissionError)
CAUSES: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    (REFUSALS, "refused"),
    ((raised.BusyLoadingError,), "loading"),
    ((raised.OutOfMemoryError,), "full"),
    ((raised.ReadOnlyError,), "read-only"),
    ((raised.TimeoutError, TimeoutError), "late"),
    ((raised.ConnectionError, OSError), "unreachable"),
)
"""What is counted, by the error; anything else counts as `other`."""
REASONS: tuple[tuple[type[Exception], str], ...] = (
    (raised.AuthenticationError, "user or password are wrong, or it asks for some"),
    (raised.AuthenticationWrongNumberOfArgsError, "user or password are wrong, or needless"),
    (raised.MaxConnectionsError, "more was asked at once than there may be connections"),
    (raised.TimeoutError, "no answer in time"),
    (TimeoutError, "no answer in time"),
)
_OF_OTHER_HOSTS = (62, 64)
"""What OpenSSL says of a certificate with another host's name or address."""
_MOST_CHARACTERS = 120


class Complaints:
    """What is wrong with Redis: counted each time, logged at most once in a while."""

    def __init__(self, telemetry: Telemetry, limits: Limits, clock: Callable[[], float]) -> None:
        self._telemetry = telemetry
        self._pause_seconds = limits.log_pause_seconds
        self._clock = clock
        self._said_at = float("-inf")

    def say(self, error: Exception) -> None:
        """Redis failed with `error`."""
        self._telemetry.cache_trouble(_cause(error))
        if self._clock() - self._said_at < self._pause_seconds:
            return
        self._said_at = self._clock()
        level = logging.ERROR if isinstance(error, REFUSALS) else logging.WARNING
        words = {"cause": type(error).__name__, "reason": reason(error)}
        LOG.log(level, "the shared cache is away", **words)


def reason(error: BaseException) -> str:
    """Why Redis cannot be used, without a password, an address, or what was asked."""
    for one in _chain(error):
        if isinstance(one, ssl.SSLCertVerificationError):
            if one.verify_code in _OF_OTHER_HOSTS:
                return "TLS: its certificate is that of another host"
            return f"TLS: its certificate is not trusted: {one.verify_message}"
        if isinstance(one, ssl.SSLError):
            return f"TLS: {(one.reason or 'broken off').replace('_', ' ').lower()}"
        if isinstance(one, OSError) and one.errno is not None:  # its own words name the address
            return os.strerror(one.errno) if one.errno > 0 else _plain(one.strerror or "unknown")
    known = (words for kind, words in REASONS if isinstance(error, kind))
    return next(known, "") or _plain(str(error)) or type(error).__name__


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error, and those that it came from."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__


def _plain(text: str) -> str:
    """The words before anything that may be a name, an address or a number."""
    return re.split(r"['\"`:\d\[{<]", text, maxsplit=1)[0][:_MOST_CHARACTERS].strip(" ,;-")


def _cause(error: Exception) -> str:
    return next((cause for kinds, cause in CAUSES if isinstance(error, kinds)), "other")
