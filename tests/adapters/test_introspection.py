from __future__ import annotations

import asyncio

import pytest

from gateway.adapters import introspection
from gateway.adapters.introspection import (
    BAD_SECONDS,
    GOOD_SECONDS,
    Introspection,
    Introspections,
)
from gateway.adapters.origin_client import OriginClient
from gateway.errors import Unavailable
from tests.assembled import Clock
from tests.issuer import Issuer, issuer


def asking(authority: Issuer, clock: Clock, now: float = 0) -> Introspection:
    client = OriginClient("issuer", f"{authority.url}/introspect")
    return Introspection(client, client_id="gw", client_secret="x", clock=clock, now=lambda: now)


async def test_answers_are_believed_for_a_while() -> None:
    clock = Clock()
    async with issuer() as authority:
        authority.opaque["t"] = {"sub": "u"}
        asked = asking(authority, clock)
        assert await asked.said("t") == {"active": True, "sub": "u"}
        assert await asked.said("f") is None
        del authority.opaque["t"]
        clock.now += BAD_SECONDS
        authority.opaque["f"] = {"sub": "f"}
        assert await asked.said("t") is not None
        assert await asked.said("f") is not None
        clock.now += GOOD_SECONDS
        assert await asked.said("t") is None
        await asked.close()


async def test_a_good_answer_ends_with_the_token() -> None:
    clock = Clock()
    async with issuer() as authority:
        authority.opaque["t"] = {"exp": 1005}
        asked = asking(authority, clock, now=1000)
        await asked.said("t")
        clock.now += 5
        await asked.said("t")
        assert len(authority.asked) == 2
        await asked.close()


async def test_one_question_for_all_who_wait() -> None:
    async with issuer() as authority:
        asked = asking(authority, Clock())
        await asyncio.gather(*(asked.said("t") for _ in range(20)))
        assert authority.asked == ["introspect"]
        await asked.close()


async def test_a_failure_is_remembered_by_nobody() -> None:
    async with issuer() as authority:
        asked = asking(authority, Clock())
        authority.is_broken = True
        with pytest.raises(Unavailable):
            await asked.said("t")
        authority.is_broken = False
        authority.opaque["t"] = {"sub": "u"}
        assert await asked.said("t") is not None
        await asked.close()


async def test_no_issuer_is_shown_what_one_before_it_knows() -> None:
    clock = Clock()
    async with issuer() as first, issuer() as second:
        asked = Introspections({"a": asking(first, clock), "b": asking(second, clock)})
        first.opaque["of a"] = {"sub": "u"}
        second.opaque["of b"] = {"sub": "u"}
        assert (await asked.said("of a", None) or ("", {}))[0] == "a"
        assert second.asked == []
        assert (await asked.said("of b", None) or ("", {}))[0] == "b"
        clock.now += GOOD_SECONDS
        first.is_broken = True
        for token in ("of a", "nobody's"):
            with pytest.raises(Unavailable):
                await asked.said(token, None)
        assert (await asked.said("of b", None) or ("", {}))[0] == "b"
        assert len(second.asked) == 2
        clock.now += GOOD_SECONDS
        del second.opaque["of b"]
        assert await asked.said("of b", None) is None
        await asked.close()


async def test_a_token_that_names_its_issuer_is_shown_to_that_one_alone() -> None:
    async with issuer() as first, issuer() as second:
        asked = Introspections({"a": asking(first, Clock()), "b": asking(second, Clock())})
        assert await asked.said("t", "b") is None
        assert (first.asked, second.asked) == ([], ["introspect"])
        await asked.close()


async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(introspection, "MAX_REMEMBERED", 3)
    async with issuer() as authority:
        asked = asking(authority, Clock())
        for token in "abcd":
            await asked.said(token)
        await asked.said("d")
        await asked.said("a")
        assert len(authority.asked) == 5
        await asked.close()
