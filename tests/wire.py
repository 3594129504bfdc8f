"""Requests written byte by byte: clients would make them decent."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from yarl import URL


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back before the connection ended, and how it ended."""

    raw: bytes
    is_reset: bool

    @property
    def status(self) -> int:
        """The status; 0 when nothing that begins like HTTP came."""
        first = self.raw.split(b"\r\n")[0].split(b" ")
        return int(first[1]) if len(first) > 1 and first[1].isdigit() else 0

    @property
    def head(self) -> bytes:
        """Status line and header fields."""
        return self.raw.partition(b"\r\n\r\n")[0]

    @property
    def body(self) -> bytes:
        """What follows the head, in whatever framing."""
        return self.raw.partition(b"\r\n\r\n")[2]


async def send(base: URL, request: bytes, *, seconds: float = 10) -> Reply:
    """The reply to exactly these bytes; the server is expected to end the connection."""
    reader, writer = await asyncio.open_connection(base.host, base.port)
    raw, is_reset = b"", False
    try:
        async with asyncio.timeout(seconds):
            writer.write(request)
            await writer.drain()
            while chunk := await reader.read(65536):
                raw += chunk
    except ConnectionResetError:
        is_reset = True
    finally:
        writer.close()
    return Reply(raw=raw, is_reset=is_reset)


async def get(
    base: URL, target: bytes, *fields: bytes, method: bytes = b"GET", version: bytes = b"1.1"
) -> Reply:
    """The reply to a request line with this target, as it stands."""
    lines = [
        b"%b %b HTTP/%b" % (method, target, version),
        b"Host: gateway",
        b"Connection: close",
        *fields,
        b"",
        b"",
    ]
    return await send(base, b"\r\n".join(lines))
