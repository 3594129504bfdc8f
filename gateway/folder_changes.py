"""Studies whose files changed, from the threads that look at folders to what is remembered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress

from gateway.adapters.ended import ended
from gateway.errors import GatewayError

Forget = Callable[[str], Awaitable[object]]
"""Drops all that is remembered of a study."""


class FolderChanges:
    """Made and closed in the loop; told of changes by any thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._studies: asyncio.Queue[str] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    def open(self, forget: Forget) -> None:
        """Begin to drop what is remembered of changed studies."""
        self._task = self._loop.create_task(self._forget_for_ever(forget), name="changes")

    def told(self, studies: Collection[str]) -> None:
        """Files of these studies changed."""
        with suppress(RuntimeError):  # the loop has ended, and with it what was remembered
            self._loop.call_soon_threadsafe(self._take, tuple(studies))

    async def close(self) -> None:
        """Leave what is not yet dropped."""
        if self._task is not None:
            await ended([self._task])

    def _take(self, studies: Collection[str]) -> None:
        for study_uid in studies:
            self._studies.put_nowait(study_uid)

    async def _forget_for_ever(self, forget: Forget) -> None:
        while True:
            study_uid = await self._studies.get()
            with suppress(GatewayError):
                await forget(study_uid)
