"""Text compressed on its way out: whole or piece by piece, and large pieces off the event loop."""

from __future__ import annotations

import asyncio
import sys
import zlib
from typing import Protocol

from aiohttp import web

from gateway.rules import codings
from gateway.rules.codings import Coding

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

OFF_LOOP_BYTES = 64 << 10
"""Larger pieces than this would keep others waiting for a millisecond and more."""
VARY = "Accept, Accept-Encoding"
_GZIP_WINDOW = 16 + zlib.MAX_WBITS


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes:
        """The next of what goes out."""

    def flush(self) -> bytes:
        """The last of it."""


class Packer:
    """Compresses one body as its caller accepts it; NotAcceptable when that is not possible."""

    def __init__(self, request: web.Request) -> None:
        self.coding = codings.coding(request.headers.getall("Accept-Encoding", []))
        self._compressor = _compressor(self.coding)

    def announce(self, response: web.StreamResponse) -> None:
        """Says in the head of a response how its body goes out, and that others may differ."""
        response.headers["Vary"] = VARY
        if self.coding is not Coding.IDENTITY:
            response.headers["Content-Encoding"] = self.coding.value

    async def packed(self, piece: bytes) -> bytes:
        """What goes out for the next piece; it may be empty."""
        if self._compressor is None:
            return piece
        if len(piece) <= OFF_LOOP_BYTES:
            return self._compressor.compress(piece)
        return await asyncio.to_thread(self._compressor.compress, piece)

    def rest(self) -> bytes:
        """What is still to go out at the end."""
        return b"" if self._compressor is None else self._compressor.flush()


async def pack(request: web.Request, response: web.Response, body: bytes) -> None:
    """Makes `body` that of the response, compressed as its caller accepts it."""
    packer = Packer(request)
    packer.announce(response)
    response.body = await packer.packed(body) + packer.rest()


def _compressor(coding: Coding) -> _Compressor | None:
    if coding is Coding.IDENTITY:
        return None
    if coding is Coding.GZIP:
        return zlib.compressobj(wbits=_GZIP_WINDOW)
    return zstd.ZstdCompressor()
