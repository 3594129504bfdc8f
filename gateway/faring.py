"""How archives fared of late: who is asked last for what others hold too, and who not at all."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import structlog

from gateway.errors import (
    ArchiveBusy,
    ArchiveError,
    ArchiveRefused,
    ArchiveTimeout,
    ArchiveUnreachable,
    GatewayError,
    NotAcceptable,
    NotFound,
)
from gateway.rules.breaker import Breaker, Ticket

AILING_SECONDS = 30
"""How long an archive that failed is the last one to be asked for what others hold too."""
_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Named(Protocol):
    """What has the id of an archive."""

    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Heard:
    """When an archive was last heard of, and whether it had failed."""

    at: float
    is_failure: bool


class Faring:
    """How each of some archives fared, in this process."""

    def __init__(
        self,
        ids: Iterable[str],
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._clock = clock
        self._jitter = jitter
        self._heard: dict[str, _Heard] = {}
        self._breakers = dict.fromkeys(ids, Breaker())

    def is_well(self, archive: str, seconds: float) -> bool:
        """Whether the archive answered within the last `seconds`."""
        heard = self._heard.get(archive)
        return heard is not None and not heard.is_failure and self._clock() - heard.at < seconds

    def is_ailing(self, archive: str) -> bool:
        """Whether it failed a short while ago, or is left alone."""
        heard = self._heard.get(archive)
        has_failed = heard is not None and heard.is_failure
        is_late = heard is not None and self._clock() - heard.at < AILING_SECONDS
        return self._breakers[archive].is_open or (has_failed and is_late)

    @contextmanager
    def heard(self, archive: Named) -> Iterator[None]:
        """Around a question to the archive itself: notes whether it answered or failed.

        ArchiveBusy at once where the archive failed again and again just now (`rules.breaker`).
        """
        ticket = self._admitted(archive.id)
        try:
            yield
        except (ArchiveError, NotFound, NotAcceptable) as error:
            self._note(archive.id, is_failure=isinstance(error, ArchiveError))
            self._ended(archive.id, ticket, _has_answered(error), _told_seconds(error))
            raise
        except BaseException:
            self._ended(archive.id, ticket, None)  # nobody waited for the end
            raise
        self._note(archive.id, is_failure=False)
        self._ended(archive.id, ticket, True)

    def _admitted(self, archive: str) -> Ticket:
        """The leave to ask an archive; ArchiveBusy where it is left alone."""
        now = self._clock()
        self._breakers[archive], ticket = self._breakers[archive].admitted(now)
        if ticket is not None:
            return ticket
        busy = ArchiveBusy("it is left alone for a while, since it failed", archive=archive)
        busy.retry_after_seconds = self._breakers[archive].retry_after_seconds(now)
        raise busy

    def _ended(
        self,
        archive: str,
        ticket: Ticket,
        has_answered: bool | None,  # noqa: FBT001
        told_seconds: float = 0,
    ) -> None:
        """A question came to its end. `has_answered`: None where that cannot be told."""
        before, now = self._breakers[archive], self._clock()
        if has_answered is None:
            after = before.released(ticket)
        elif has_answered:
            after = before.answered(ticket, now)
        else:
            after = before.failed(ticket, now, self._jitter(), told_seconds)
        self._breakers[archive] = after
        if after.is_open and after.period != before.period:
            seconds = after.retry_after_seconds(now)
            _log.warning("archive left alone", archive=archive, seconds=seconds)
        elif before.is_open and not after.is_open:
            _log.info("archive answers again", archive=archive)

    def _note(self, archive: str, *, is_failure: bool) -> None:
        self._heard[archive] = _Heard(at=self._clock(), is_failure=is_failure)


def _has_answered(error: GatewayError) -> bool | None:
    """Whether an archive that gave this error is alive; None where the error is of our own making.

    4xx is an answer, and so is what cannot be understood; 501 tells of what it cannot do.
    """
    if isinstance(error, ArchiveTimeout | ArchiveUnreachable):
        return False
    answered = error.answered if isinstance(error, ArchiveError) else None
    if answered is None and isinstance(error, ArchiveBusy | ArchiveRefused):
        return None
    return answered is None or answered < 500 or answered == 501


def _told_seconds(error: GatewayError) -> float:
    """When an archive wants to be asked again, by its own answer; 0: it does not say."""
    is_its_own = isinstance(error, ArchiveBusy) and error.answered is not None
    return (error.retry_after_seconds or 0) if is_its_own else 0
