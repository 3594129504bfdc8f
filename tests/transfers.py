"""Retrievals under way, while the gateway that they go through starts and stops."""

from __future__ import annotations

import asyncio

import aiohttp

from tests.doubles import Held
from tests.fault_archive import Answer, FaultArchive
from tests.gateways import Gateway

ONE = Held(study="1.2.3", series="1.2.3.1", instance="1.2.3.1.1")
PATH = f"/dicom-web{ONE.path}"
SIZE = 400_000


class Transfer:
    """A retrieve under way: its first bytes are there, the rest comes when `release` is called."""

    def __init__(self, gateway: Gateway, server: FaultArchive) -> None:
        head = b"--b\r\nContent-Type: application/dicom\r\n\r\n"
        body = head + ONE.file + bytes(SIZE) + b"\r\n--b--"
        kind = "multipart/related; boundary=b"
        server.on(ONE.path, Answer(body=body, content_type=kind, stall_after=200_000))
        self.release = server.release
        self._url = f"{gateway.url}{PATH}"
        self.session = aiohttp.ClientSession()

    async def __aenter__(self) -> aiohttp.ClientResponse:
        self.answer = await self.session.get(self._url, headers={"Accept": "application/dicom"})
        await self.answer.content.readany()
        return self.answer

    async def __aexit__(self, *error: object) -> None:
        self.answer.close()
        await self.session.close()


async def run(gateway: Gateway) -> Gateway:
    await asyncio.get_running_loop().run_in_executor(None, gateway.start)
    return gateway


async def exit_code(gateway: Gateway, seconds: float = 15) -> int:
    return await asyncio.get_running_loop().run_in_executor(None, gateway.wait, seconds)


async def refuses_connections(gateway: Gateway) -> bool:
    for _ in range(100):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        except (ConnectionRefusedError, ConnectionResetError):
            return True
        writer.close()
        await asyncio.sleep(0.05)
    return False
