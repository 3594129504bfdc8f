"""Text compressed on its way out."""

from __future__ import annotations

import asyncio
import gzip
import os
import sys
import threading
from collections.abc import Callable

import pytest
from aiohttp.test_utils import make_mocked_request

from gateway import http_codings
from gateway.http_codings import OFF_LOOP_BYTES, Packer

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

UNPACKED: dict[str, Callable[[bytes], bytes]] = {
    "zstd": zstd.decompress,
    "gzip": gzip.decompress,
    "identity": bytes,
}
SIZES = [0, 1, 1000, OFF_LOOP_BYTES, OFF_LOOP_BYTES + 1, 5 << 20]


def packer(accepted: str) -> Packer:
    return Packer(make_mocked_request("GET", "/", headers={"Accept-Encoding": accepted}))


@pytest.mark.parametrize("accepted", UNPACKED)
async def test_pieces_come_out_as_they_went_in(accepted: str) -> None:
    one, pieces = packer(accepted), [os.urandom(size // 2) + bytes(size // 2) for size in SIZES]
    sent = [await one.packed(piece) for piece in pieces]
    whole = UNPACKED[accepted](b"".join(sent) + one.rest())
    assert whole == b"".join(pieces)
    if accepted != "identity":
        with pytest.raises((EOFError, zstd.ZstdError)):
            UNPACKED[accepted](b"".join(sent))


@pytest.mark.parametrize("accepted", ["zstd", "gzip"])
async def test_large_pieces_are_compressed_off_the_event_loop(
    accepted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []

    class Noting:
        def compress(self, data: bytes, /) -> bytes:
            threads.append(threading.current_thread())
            return data

        def flush(self) -> bytes:
            return b""

    monkeypatch.setattr(http_codings, "_compressor", lambda coding: Noting())
    one = packer(accepted)
    await one.packed(bytes(OFF_LOOP_BYTES))
    await one.packed(bytes(OFF_LOOP_BYTES + 1))
    assert [t is threading.main_thread() for t in threads] == [True, False]


async def test_others_have_their_turn_while_a_body_is_compressed() -> None:
    one, turns = packer("zstd"), 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    waiting = asyncio.ensure_future(others())
    await one.packed(os.urandom(8 << 20))
    waiting.cancel()
    assert turns > 1
