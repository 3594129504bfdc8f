"""Little is done in the loop, much beside it, and whatever fails fails the same."""

from __future__ import annotations

import threading

import pytest

from gateway.apart import AT_ONCE, apart


@pytest.mark.parametrize(("count", "is_here"), [(0, True), (AT_ONCE, True), (AT_ONCE + 1, False)])
async def test_much_is_done_in_a_thread(count: int, is_here: bool) -> None:  # noqa: FBT001
    here = threading.get_ident()
    assert (await apart(count, threading.get_ident) == here) == is_here


@pytest.mark.parametrize("count", [1, AT_ONCE + 1])
async def test_what_fails_fails_as_it_does(count: int) -> None:
    assert await apart(count, int, "11", base=2) == 3
    with pytest.raises(ValueError, match="invalid literal"):
        await apart(count, int, "x")
