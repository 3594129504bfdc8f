"""Tasks that are told to end, and waited for until they have."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

AGAIN_SECONDS = 0.5
"""So long a task has for its last words, before it is told again."""


async def ended(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel `tasks` and wait until all have ended; none is awaited for its result.

    A task can miss a cancellation: before Python 3.12, `asyncio.wait_for` returns what it has
    instead of passing one on that comes in the same turn of the loop, and redis-py sends each
    command under it. Such a task works on as if nothing had been said, so that it is told again.
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN_SECONDS)
