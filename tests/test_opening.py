from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from gateway.opening import Opening


def noting(
    notes: list[str], name: str, trouble: Exception | None = None
) -> AbstractAsyncContextManager[str]:
    """A context that notes when it is left and by which error, and then makes some trouble."""

    @asynccontextmanager
    async def context() -> AsyncIterator[str]:
        try:
            yield name
        except BaseException as error:
            notes.append(f"{name} {error!r}")
            raise
        else:
            notes.append(name)
        finally:
            if trouble is not None:
                raise trouble

    return context()


async def test_what_was_entered_is_left_in_the_opposite_order() -> None:
    notes: list[str] = []

    async def opens(opening: Opening[str]) -> str:
        return await opening.enter(noting(notes, "a")) + await opening.enter(noting(notes, "b"))

    async with Opening(opens) as given:
        assert (given, notes) == ("ab", [])
    assert notes == ["b", "a"]


async def test_all_is_left_where_opening_fails() -> None:
    notes: list[str] = []

    async def opens(opening: Opening[str]) -> str:
        await opening.enter(noting(notes, "a"))
        raise KeyError

    with pytest.raises(KeyError):
        async with Opening(opens):
            pass
    assert notes == ["a KeyError()"]


async def test_an_error_inside_is_told_to_all_and_one_while_leaving_keeps_none_open() -> None:
    notes: list[str] = []

    async def opens(opening: Opening[str]) -> str:
        await opening.enter(noting(notes, "a"))
        await opening.enter(noting(notes, "b", ValueError()))
        return ""

    with pytest.raises((KeyError, ValueError)):
        async with Opening(opens):
            raise KeyError
    assert notes == ["b KeyError()", "a KeyError()"]
