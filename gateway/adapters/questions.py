"""Questions to archives that one request asks in several places: each is asked once.

A search for one study and the record of that study begin with the same question. Between requests
nothing is shared here: who asks later must hear what is true later.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from gateway.adapters.flights import Flights

_T = TypeVar("_T")
_numbers = itertools.count()


ONE_BY_ONE: ContextVar[bool] = ContextVar("one by one", default=False)
"""Whether an archive is asked one thing after the other now, and no more once it fails."""


class Asker:
    """One request, as long as it is answered: what it was told is let go with it."""

    def __init__(self) -> None:
        self.number = next(_numbers)


_ASKER: ContextVar[list[Asker] | None] = ContextVar("asker", default=None)
"""The one in it, until its end: connections hold the context in which they were opened."""


@contextmanager
def asked_together() -> Iterator[None]:
    """What is asked within, in tasks begun within too, is asked for one and the same request."""
    request = [Asker()]
    token = _ASKER.set(request)
    try:
        yield
    finally:
        request.clear()
        _ASKER.reset(token)


def asker() -> Asker | None:
    """The request for which something is asked now; None: nobody says which."""
    request = _ASKER.get()
    return request[0] if request else None


class Questions(Generic[_T]):
    """The questions to one archive, each with its answer as long as its request lasts.

    Whoever makes it closes it.
    """

    def __init__(self) -> None:
        self._asked: Flights[_T] = Flights()
        self._told: WeakKeyDictionary[Asker, dict[str, _T]] = WeakKeyDictionary()

    async def answer(self, question: str, ask: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """What `ask` gives, or gave, who asks the same `question` for the same request meanwhile.

        Raises what `ask` raised, and Unavailable when the gateway stops.
        """
        request = asker()
        if request is None:
            return await ask()
        answer = await self._asked.join(f"{request.number} {question}", ask)
        self._told.setdefault(request, {})[question] = answer
        return answer

    def told(self, question: str) -> _T | None:
        """What the same request was told before; None: it did not ask that."""
        request = asker()
        return None if request is None else self._told.get(request, {}).get(question)

    async def close(self) -> None:
        """Cancels what is under way and waits for its end."""
        await self._asked.close()
