"""A TCP proxy that lets answers wait."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Self


class DelayingProxy:
    """Passes bytes on to a port of this machine; what comes back waits for `seconds`."""

    def __init__(self, port: int, seconds: float) -> None:
        self.seconds = seconds
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
        try:
            await asyncio.gather(
                self._pass(reader, back_writer, 0), self._pass(back_reader, writer, self.seconds)
            )
        finally:
            for each in (writer, back_writer):
                each.close()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(1 << 16):
                await asyncio.sleep(seconds)
                writer.write(chunk)
                await writer.drain()
            writer.write_eof()
