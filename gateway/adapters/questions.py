"""Questions to archives that one request asks in several places at once: each is asked once.

A search for one study and the record of that study begin with the same question. Between requests
nothing is shared here: who asks later must hear what is true later.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Generic, TypeVar

from gateway.adapters.flights import Flights

_T = TypeVar("_T")
_numbers = itertools.count()
_ASKER: ContextVar[int | None] = ContextVar("asker", default=None)


@contextmanager
def asked_together() -> Iterator[None]:
    """What is asked within, in tasks begun within too, is asked for one and the same request."""
    token = _ASKER.set(next(_numbers))
    try:
        yield
    finally:
        _ASKER.reset(token)


class Questions(Generic[_T]):
    """The questions to one archive that are not answered yet. Whoever makes it closes it."""

    def __init__(self) -> None:
        self._asked: Flights[_T] = Flights()

    async def answer(self, question: str, ask: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """What `ask` gives, or gave, who asks the same `question` for the same request meanwhile.

        Raises what `ask` raised, and Unavailable when the gateway stops.
        """
        asker = _ASKER.get()
        if asker is None:
            return await ask()
        return await self._asked.join(f"{asker} {question}", ask)

    async def close(self) -> None:
        """Cancels what is under way and waits for its end."""
        await self._asked.close()
