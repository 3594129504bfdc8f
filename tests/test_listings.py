"""Listings come back as they were, take a fraction of the room, and garbage is known as such."""

from __future__ import annotations

import zlib

import msgspec
import pytest

from gateway import listings
from gateway.listings import Listing
from gateway.model import Contents, Instance


def found(count: int) -> dict[str, tuple[Instance, ...]]:
    one = (Instance(uid=f"1.2.{n}.{n * 7919}", number=n, rows=512) for n in range(count))
    return {"1.2.3": tuple(one)}


@pytest.mark.parametrize("count", [0, 1, 20_000])
async def test_listing_comes_back_as_it_was(count: int) -> None:
    listing = Listing(
        contents=Contents(instances=found(count)), last_updated="2026-01-01T00:00:00Z"
    )
    assert listings.listing(await listings.packed(listing)) == listing
    assert listings.instances(await listings.packed(found(count))) == found(count)


async def test_listing_takes_a_fraction_of_what_it_is() -> None:
    plain = msgspec.msgpack.encode(found(1000))
    assert len(await listings.packed(found(1000))) * 3 < len(plain)


@pytest.mark.parametrize("garbage", [b"", b"x", b"\x80", zlib.compress(b"{}"), zlib.compress(b"")])
def test_garbage_is_no_listing(garbage: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        listings.listing(garbage)


async def test_listing_that_was_cut_off_is_none() -> None:
    value = await listings.packed(found(100))
    with pytest.raises(msgspec.DecodeError):
        listings.instances(value[:-5])
