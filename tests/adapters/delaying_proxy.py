"""A TCP proxy that lets answers wait, or nothing pass at all."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from types import TracebackType
from typing import Self

SUBSCRIPTION = "subscription"
DATA = "data"
BOTH = frozenset({SUBSCRIPTION, DATA})


@dataclass(slots=True)
class _Link:
    """A connection, and what it is used for by what was sent on it."""

    kind: str = DATA


class DelayingProxy:
    """Passes bytes on to a port of this machine; what comes back waits for `seconds`.

    Nothing passes on connections of the kinds in `stalled`, be they old or new.
    """

    def __init__(self, port: int, seconds: float) -> None:
        self.seconds = seconds
        self.stalled: frozenset[str] = frozenset()
        self._target = port
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back_reader, back_writer = await asyncio.open_connection("127.0.0.1", self._target)
        link = _Link()
        try:
            await asyncio.gather(
                self._pass(link, reader, back_writer, 0),
                self._pass(link, back_reader, writer, self.seconds),
            )
        finally:
            for each in (writer, back_writer):
                each.close()

    async def _pass(
        self,
        link: _Link,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        seconds: float,
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(1 << 16):
                if b"\nSUBSCRIBE" in chunk:
                    link.kind = SUBSCRIPTION
                await asyncio.sleep(seconds)
                while link.kind in self.stalled:  # noqa: ASYNC110 - it tells nobody
                    await asyncio.sleep(0.005)
                writer.write(chunk)
                await writer.drain()
            writer.write_eof()
