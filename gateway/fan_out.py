"""Archives asked at once or one after the other, and none able to fail the rest."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

import structlog

from gateway.adapters.asked_ahead import Ahead
from gateway.errors import (
    ArchiveBadAnswer,
    ArchiveError,
    ArchiveRefused,
    ArchiveTimeout,
    GatewayError,
    NoAnswerInTime,
    RefusedByAll,
    Unavailable,
)
from gateway.faring import Faring
from gateway.model import ByteRange, Contents, Found, Level, Origin, Part, Rung, Study, Target
from gateway.rules.dicom_json import Dataset
from gateway.rules.qido import Query

_T = TypeVar("_T")
_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Archive(Protocol):
    """A source of DICOM objects. Its failures are `ArchiveError`s."""

    id: str
    origin: Origin

    async def search(self, query: Query, wanted: int | None = None) -> Found[Dataset]:
        """The rows that match, at least `wanted` if there are that many; offset is not applied."""

    async def study(self, study_uid: str, row: Dataset | None = None) -> Study | None:
        """The study and its series; None: it has no such study.

        `row`: of the study, if a search for the same request brought it, for the same attributes.
        """

    async def instances(self, study: Study) -> Contents:
        """The instances of a study, and what only they tell of their series."""

    async def metadata(self, target: Target) -> list[bytes]:
        """One DICOM JSON object for each instance of `target`."""

    def retrieve(
        self, target: Target, transfer_syntax: str = "*", byte_range: ByteRange | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[Part]]:
        """The instances of `target`, or its frames; NotFound and NotAcceptable before the first.

        `byte_range` is of one instance or frame; the whole where the archive knows no ranges.
        """

    def bulk_data(
        self, target: Target, path: tuple[str, ...], byte_range: ByteRange | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[Part]]:
        """The value of the attribute at `path`, or a range of its bytes, as one part."""

    async def picture(
        self, target: Target, rung: Rung, width: int, height: int, media_type: str
    ) -> bytes:
        """The archive's own picture; the box and the type are wishes.

        NotAcceptable, NotFound or ArchiveBadAnswer: it has none to give in this way; NotSupported:
        it is not even asked.
        """

    def by_wado_uri(
        self, target: Target, content_type: str, parameters: Sequence[tuple[str, str]]
    ) -> AbstractAsyncContextManager[AsyncIterator[Part]]:
        """Its own WADO-URI answer to what the gateway does not do; NotAcceptable: nor does it."""

    async def close(self) -> None:
        """Lets go of what it holds."""


class WayToFrames(Protocol):
    """How one frame after another is asked for before anybody waits for it."""

    def asked(self, path: str, done: Callable[[Ahead], None]) -> Ahead | None:
        """The frame at a path below `studies`, in which there is nothing but UIDs and a number.

        None: something would have to be waited for. `done` is called once.
        """

    def frame(self, ahead: Ahead) -> tuple[str, bytes] | None:
        """Its media type and its bytes; None: it has to be looked at in the ordinary way."""


@runtime_checkable
class AsksAhead(Protocol):
    """An archive that can be asked so."""

    def way_to_frames(self, syntax: str) -> WayToFrames:
        """How its frames are asked for in a transfer syntax."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Whether an archive answers, and after how long; `problem` says why it does not."""

    archive: str
    seconds: float
    problem: str | None = None


class FanOut:
    """The archives in the order of the configuration, and how they fared of late."""

    def __init__(
        self,
        archives: Sequence[Archive],
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._by_id: Mapping[str, Archive] = {a.id: a for a in archives}
        self._faring = Faring(self._by_id, clock, jitter)
        self.heard = self._faring.heard
        """Around each question to an archive itself."""
        self.heard_in_time = self._faring.heard_in_time
        """The same for questions of a search, or for a record."""
        self.is_well = self._faring.is_well
        """Whether an archive answered within so many seconds."""
        self.answered_ahead = self._faring.answered_ahead
        """The end of a question that `leave_to_ask` was given for."""
        self.asked_ahead: Mapping[str, AsksAhead] = {
            a.id: a for a in archives if isinstance(a, AsksAhead)
        }
        """Archives that can be asked so."""
        self.leave_to_ask = self._faring.leave_to_ask
        """Whether an archive fares well, and may be asked ahead: the leave to do so."""

    @property
    def is_one(self) -> bool:
        """Whether there is one archive only: then nothing is spread over several."""
        return len(self._by_id) == 1

    @property
    def ids(self) -> tuple[str, ...]:
        """The archives in the order of the configuration."""
        return tuple(self._by_id)

    def named(self, ids: Sequence[str]) -> list[Archive]:
        """The archives of these ids in the order of preference: those that failed of late last."""
        return sorted(self.configured(ids), key=lambda a: self._faring.is_ailing(a.id))

    def configured(self, ids: Sequence[str]) -> list[Archive]:
        """The archives of these ids in the order of the configuration."""
        return [a for a in self._by_id.values() if a.id in ids]

    async def ask(
        self, question: Callable[[Archive], Awaitable[_T]], among: Sequence[Archive] | None = None
    ) -> tuple[list[tuple[Archive, _T]], tuple[ArchiveError, ...]]:
        """Every archive's answer to `question` in their order; and who failed, and how.

        Whoever asks the archive itself, and not what is remembered of it, says so by `heard`.

        Errors that are not an archive's own, such as a refusal to load while stopping, are raised.
        """
        asked = list(self._by_id.values()) if among is None else among
        answers: list[tuple[Archive, _T]] = []
        silent: list[ArchiveError] = []
        for archive, result in zip(asked, await self._all(asked, question), strict=True):
            if isinstance(result, ArchiveError):
                silent.append(result)
            else:
                answers.append((archive, result))
        return answers, tuple(silent)

    async def search(self, archive: Archive, query: Query, wanted: int | None) -> Found[Dataset]:
        """The archive's own answer to a search."""
        with self.heard_in_time(archive):
            return await archive.search(query, wanted)

    async def health(self, timeout_seconds: float) -> tuple[Health, ...]:
        """Whether each archive answers a small search now."""

        async def one(archive: Archive) -> Health:
            started = time.monotonic()
            try:
                async with asyncio.timeout(timeout_seconds):
                    found = await self.search(archive, Query(level=Level.STUDY), 1)
            except ArchiveError as error:
                return Health(archive=archive.id, seconds=timeout_seconds, problem=str(error))
            except TimeoutError:
                return Health(archive=archive.id, seconds=timeout_seconds, problem="no answer yet")
            problem = "404 at its address: is it right?" if found.silent else None
            return Health(archive=archive.id, seconds=time.monotonic() - started, problem=problem)

        return tuple(await asyncio.gather(*(one(a) for a in self._by_id.values())))

    async def close(self) -> None:
        """Lets go of every archive."""
        for archive in self._by_id.values():
            await archive.close()

    async def _all(
        self, asked: Sequence[Archive], question: Callable[[Archive], Awaitable[_T]]
    ) -> list[_T | ArchiveError]:
        """What each of them answers, in their order; a single one needs no task of its own."""
        if len(asked) == 1:
            return [await self._one(asked[0], question)]
        try:
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(self._one(a, question)) for a in asked]
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from failures
        return [task.result() for task in running]

    async def _one(
        self, archive: Archive, question: Callable[[Archive], Awaitable[_T]]
    ) -> _T | ArchiveError:
        try:
            return await question(archive)
        except ArchiveError as error:
            _log.warning(
                "archive silent",
                archive=archive.id,
                cause=error.code,
                reason=_reason(error),
            )
            return error
        except GatewayError:
            raise
        except Exception as error:
            _log.exception("unforeseen", archive=archive.id)
            failure = ArchiveBadAnswer("its answer cannot be understood", archive=archive.id)
            failure.__cause__ = error
            return failure


def _reason(error: ArchiveError) -> str:
    """What an archive failed at, with the kind of the failure beneath where there is one."""
    cause: BaseException | None = error.__cause__
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    is_told = cause is None or isinstance(cause, GatewayError)
    return str(error) if is_told else f"{error} ({type(cause).__name__})"


def unavailable(failures: Sequence[ArchiveError]) -> Unavailable:
    """What is said when only archives that failed could know.

    NoAnswerInTime if all were late, RefusedByAll if all refused; with the time after which the
    first of them may be asked again, where one is known.
    """
    silent = ids(failures)
    if failures and all(isinstance(f, ArchiveRefused) for f in failures):
        return RefusedByAll(f"refused by archive {', '.join(silent)}", archives=silent)
    error = silence(silent, are_late=are_late(failures))
    pauses = [f.retry_after_seconds for f in failures if f.retry_after_seconds is not None]
    error.retry_after_seconds = min(pauses, default=error.retry_after_seconds)
    return error


def silence(silent: tuple[str, ...], *, are_late: bool) -> Unavailable:
    """The same for archives by their ids; `are_late`: all of them let their time pass."""
    kind = NoAnswerInTime if are_late else Unavailable
    return kind(f"no answer from archive {', '.join(silent)}", archives=silent)


def are_late(failures: Sequence[ArchiveError]) -> bool:
    """Whether archives failed only by letting their time pass."""
    return all(isinstance(f, ArchiveTimeout) for f in failures)


def ids(failures: Sequence[ArchiveError]) -> tuple[str, ...]:
    """The archives that failed, each once."""
    return tuple(dict.fromkeys(f.archive for f in failures))
