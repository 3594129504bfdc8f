"""Work that may be long, beside the loop where it is: others get their turn meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

AT_ONCE = 300
"""Rows that the loop itself goes through: some milliseconds, or less than a thread is worth."""
_P = ParamSpec("_P")
_T = TypeVar("_T")


async def apart(count: int, work: Callable[_P, _T], *args: _P.args, **named: _P.kwargs) -> _T:
    """The result of `work`, which is pure, on `count` rows or the like: of many in a thread."""
    if count <= AT_ONCE:
        return work(*args, **named)
    return await asyncio.to_thread(work, *args, **named)
