"""Bodies out of the first archive that can give them: objects, frames, metadata, pictures."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

from gateway.adapters.asked_ahead import Ahead
from gateway.at_hand import first
from gateway.errors import ArchiveError, GatewayError, NotAcceptable, NotFound
from gateway.fan_out import Archive, FanOut, WayToFrames, ids, unavailable
from gateway.model import ByteRange, Level, Part, Target
from gateway.opening import Opening
from gateway.rules import dicom_json as dj
from gateway.rules import qido
from gateway.rules.breaker import Ticket
from gateway.rules.media import Form
from gateway.rules.qido import Query
from gateway.rules.retrieval import Fetch

_JUST_HEARD_SECONDS = 1.0
_Range = ByteRange | None
_Ask = Callable[[Archive, Target], Awaitable[list[bytes]]]
_Parts = AbstractAsyncContextManager[AsyncIterator[Part]]
_Open = Callable[[Archive], _Parts]


class Delivery:
    """What the archives of one fan-out give, each fetch from one of those that hold it."""

    def __init__(self, fan_out: FanOut) -> None:
        self._fan_out = fan_out

    async def answering(self, fetches: Sequence[Fetch]) -> tuple[list[Fetch], tuple[str, ...]]:
        """The fetches that an archive can be expected to answer now, and who is silent.

        Asked before the first byte of an answer put together from several archives: the record may
        be remembered from a time when all of them answered. Unavailable when none does.
        """
        if len(fetches) < 2:
            return list(fetches), ()
        holders = {i for f in fetches for i in f.archives}
        if len(holders) < 2:
            return list(fetches), ()
        study = qido.key(dj.STUDY_INSTANCE_UID, fetches[0].target.study_uid)
        unheard = [i for i in holders if not self._fan_out.is_well(i, _JUST_HEARD_SECONDS)]
        query = Query(level=Level.STUDY, keys=(study,))
        _, failures = await self._fan_out.ask(
            lambda a: self._fan_out.search(a, query, 1), self._fan_out.named(unheard)
        )
        silent = ids(failures)
        kept = [f for f in fetches if not set(f.archives) <= set(silent)]
        if not kept:
            raise unavailable(failures)
        return kept, silent

    def opened(self, fetch: Fetch, form: Form) -> _Parts:
        """The parts of one fetch, in the first transfer syntax of `form` that can be had."""
        return Opening(lambda opening: self.parts(opening, fetch, form))

    async def parts(self, opening: Opening[Any], fetch: Fetch, form: Form) -> AsyncIterator[Part]:
        """What `opened` gives, open as long as `opening` is."""
        wanted = _ranged(fetch, form.byte_range)
        opens = [
            functools.partial(_retrieve, fetch.target, syntax, wanted)
            for syntax in form.transfer_syntaxes
        ]
        return await self._first_answer(fetch, opens, opening)

    def way_to_frames(self, archives: Sequence[str], form: Form) -> WayAhead | None:
        """How frames are asked for ahead where `parts` would ask; None: they are not."""
        first = next(iter(self._fan_out.configured(archives)), None)
        asked = None if first is None else self._fan_out.asked_ahead.get(first.id)
        if first is None or asked is None:
            return None
        way = asked.way_to_frames(form.transfer_syntaxes[0])
        return WayAhead(self._fan_out, first.id, way, form)

    def bulk_data(self, fetch: Fetch, path: tuple[str, ...], byte_range: _Range = None) -> _Parts:
        """The value of the attribute at `path` of one instance, as one part."""
        wanted = _ranged(fetch, byte_range)
        opens = [lambda a: a.bulk_data(fetch.target, path, wanted)]
        return Opening(functools.partial(self._first_answer, fetch, opens))

    def by_wado_uri(
        self, fetch: Fetch, content_type: str, parameters: Sequence[tuple[str, str]]
    ) -> _Parts:
        """One instance as the first archive's own WADO-URI gives it that does what is asked."""
        opens = [lambda a: a.by_wado_uri(fetch.target, content_type, parameters)]
        return Opening(functools.partial(self._first_answer, fetch, opens))

    async def metadata(self, fetch: Fetch, ask: _Ask) -> list[bytes]:
        """What the first archive that answers gives to `ask`: the metadata objects of one fetch."""
        failures: list[GatewayError] = []
        for archive in self._fan_out.named(fetch.archives):
            try:
                return await ask(archive, fetch.target)
            except (ArchiveError, NotFound) as error:
                failures.append(error)
        raise (failures or [NotFound("no archive holds it")])[0]

    async def _first_answer(
        self, fetch: Fetch, opens: Sequence[_Open], opening: Opening[Any]
    ) -> AsyncIterator[Part]:
        """What the first archive gives that can give `fetch`, each tried in each of the ways.

        Raises what the first archive failed with, but a refusal by kind over a failure.
        """
        failures: list[GatewayError] = []
        for archive in self._fan_out.named(fetch.archives):
            for open_ in opens:
                try:
                    with self._fan_out.heard(archive):
                        return _honest(fetch, await opening.enter(open_(archive)))
                except (ArchiveError, NotFound, NotAcceptable) as error:
                    failures.append(error)
                if not isinstance(failures[-1], NotAcceptable):
                    break
        refusals = [f for f in failures if isinstance(f, NotAcceptable)]
        silences = [f for f in failures if isinstance(f, ArchiveError)]
        raise (refusals or silences or failures or [NotFound("no archive holds it")])[0]


class WayAhead:
    """How one frame after another is asked for ahead, of an archive as long as it fares well."""

    __slots__ = ("_archive", "_fan_out", "_form", "_way", "asked")

    def __init__(self, fan_out: FanOut, archive: str, way: WayToFrames, form: Form) -> None:
        self._fan_out = fan_out
        self._archive = archive
        self._way = way
        self._form = form
        self.asked = way.asked
        """Asks for a frame, for which there is leave; None: something would be waited for."""

    def leave(self) -> Ticket | None:
        """The leave to ask now; None: it is not given."""
        return self._fan_out.leave_to_ask(self._archive)

    def frame(self, ahead: Ahead, leave: Ticket) -> tuple[str, bytes] | None:
        """Its media type and its bytes, once it is done, which ends the question.

        None: what came has to be looked at in the ordinary way.
        """
        frame = self._way.frame(ahead)
        if frame is None or not self._form.takes(frame[0]):
            return None
        ahead.end()
        self._fan_out.answered_ahead(self._archive, leave)
        return frame


async def acceptable(parts: AsyncIterator[Part], form: Form) -> AsyncIterator[Part]:
    """The parts, known to be there and, the first of them, to be of a type that was asked for."""
    if (begun := await first(parts)) is None:
        raise NotFound("nothing to retrieve")
    part, all_parts = begun
    if not form.takes(part.content_type):
        raise NotAcceptable(f"available as {part.content_type.split(';')[0]} only")
    return all_parts


def _retrieve(target: Target, transfer_syntax: str, byte_range: _Range, archive: Archive) -> _Parts:
    return archive.retrieve(target, transfer_syntax, byte_range)


def _ranged(fetch: Fetch, byte_range: _Range) -> _Range:
    """The range, where the next one will come from the same copy: from the only archive.

    Ranges of two archives' copies, put together, need not be what either of them holds.
    """
    return byte_range if len(fetch.archives) == 1 else None


def _honest(fetch: Fetch, parts: AsyncIterator[Part]) -> AsyncIterator[Part]:
    """The parts, promising no ranges where `_ranged` gives none."""
    if len(fetch.archives) == 1:
        return parts
    return (replace(part, takes_ranges=False) async for part in parts)
