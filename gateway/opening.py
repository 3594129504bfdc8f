"""What a coroutine opens, as a context; it costs less than one made of a generator."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Generic, TypeVar

_T = TypeVar("_T")
_S = TypeVar("_S")


class Opening(AbstractAsyncContextManager[_T], Generic[_T]):
    """The result of `opens`, and with it what that entered, left again in the opposite order."""

    __slots__ = ("_entered", "_opens")

    def __init__(self, opens: Callable[[Opening[_T]], Awaitable[_T]]) -> None:
        self._opens = opens
        self._entered: list[AbstractAsyncContextManager[Any]] = []

    async def enter(self, context: AbstractAsyncContextManager[_S]) -> _S:
        """What `context` gives; it is left when this is."""
        given = await context.__aenter__()
        self._entered.append(context)
        return given

    async def __aenter__(self) -> _T:
        """The result; where that fails, all that was entered is left."""
        try:
            return await self._opens(self)
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leaves what was entered, all of it, whatever goes wrong with any."""
        if not self._entered:
            return
        try:
            await self._entered.pop().__aexit__(kind, error, trace)
        finally:
            if self._entered:
                await self.__aexit__(kind, error, trace)
