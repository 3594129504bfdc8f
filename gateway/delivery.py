"""Bodies out of the first archive that can give them: objects, frames, metadata, pictures."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack

from gateway.errors import ArchiveError, GatewayError, NotAcceptable, NotFound
from gateway.fan_out import Archive, FanOut, ids, unavailable
from gateway.model import Level, Part, Target
from gateway.rules import dicom_json as dj
from gateway.rules import qido
from gateway.rules.media import Form
from gateway.rules.qido import Query
from gateway.rules.retrieval import Fetch

_JUST_HEARD_SECONDS = 1.0
_Open = Callable[[Archive], AbstractAsyncContextManager[AsyncIterator[Part]]]


class Delivery:
    """What the archives of one fan-out give, each fetch from one of those that hold it."""

    def __init__(self, fan_out: FanOut) -> None:
        self._fan_out = fan_out

    async def answering(self, fetches: Sequence[Fetch]) -> tuple[list[Fetch], tuple[str, ...]]:
        """The fetches that an archive can be expected to answer now, and who is silent.

        Asked before the first byte of an answer put together from several archives: the record may
        be remembered from a time when all of them answered. Unavailable when none does.
        """
        holders = {i for f in fetches for i in f.archives}
        if len(fetches) < 2 or len(holders) < 2:
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

    async def opened(self, stack: AsyncExitStack, fetch: Fetch, form: Form) -> AsyncIterator[Part]:
        """The parts of one fetch, in the first transfer syntax of `form` that can be had."""
        opens = [
            functools.partial(_retrieve, fetch.target, syntax) for syntax in form.transfer_syntaxes
        ]
        return await self._first_answer(stack, fetch, opens)

    async def bulk_data(
        self, stack: AsyncExitStack, fetch: Fetch, path: tuple[str, ...]
    ) -> AsyncIterator[Part]:
        """The value of the attribute at `path` of one instance, as one part."""
        return await self._first_answer(stack, fetch, [lambda a: a.bulk_data(fetch.target, path)])

    async def by_wado_uri(
        self,
        stack: AsyncExitStack,
        fetch: Fetch,
        content_type: str,
        parameters: Sequence[tuple[str, str]],
    ) -> AsyncIterator[Part]:
        """One instance as the first archive's own WADO-URI gives it that does what is asked."""
        target = fetch.target
        return await self._first_answer(
            stack, fetch, [lambda a: a.by_wado_uri(target, content_type, parameters)]
        )

    async def metadata(self, fetch: Fetch) -> list[bytes]:
        """The metadata objects of one fetch, from the first archive that answers."""
        failures: list[GatewayError] = []
        for archive in self._fan_out.named(fetch.archives):
            try:
                with self._fan_out.heard(archive):
                    found = await archive.metadata(fetch.target)
                return [o for o in found if fetch.only is None or dj.instance_uid(o) in fetch.only]
            except (ArchiveError, NotFound) as error:
                failures.append(error)
        raise (failures or [NotFound("no archive holds it")])[0]

    async def _first_answer(
        self, stack: AsyncExitStack, fetch: Fetch, opens: Sequence[_Open]
    ) -> AsyncIterator[Part]:
        """What the first archive gives that can give `fetch`, each tried in each of the ways.

        Raises what the first archive failed with, but a refusal by kind over a failure.
        """
        failures: list[GatewayError] = []
        for archive in self._fan_out.named(fetch.archives):
            for open_ in opens:
                try:
                    with self._fan_out.heard(archive):
                        return await stack.enter_async_context(open_(archive))
                except (ArchiveError, NotFound, NotAcceptable) as error:
                    failures.append(error)
                if not isinstance(failures[-1], NotAcceptable):
                    break
        refusals = [f for f in failures if isinstance(f, NotAcceptable)]
        silences = [f for f in failures if isinstance(f, ArchiveError)]
        raise (refusals or silences or failures or [NotFound("no archive holds it")])[0]


def _retrieve(
    target: Target, transfer_syntax: str, archive: Archive
) -> AbstractAsyncContextManager[AsyncIterator[Part]]:
    return archive.retrieve(target, transfer_syntax)
