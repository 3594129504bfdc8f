"""Addresses that no connection is made to, whatever leads to them."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import aiohttp
import pytest

from gateway.adapters import http_sessions
from tests.fault_archive import FaultArchive, json_answer
from tests.sockets import Sockets


@pytest.mark.parametrize(
    ("address", "is_allowed"),
    [
        ("10.1.2.3", True),
        ("127.0.0.1", True),
        ("192.168.0.10", True),
        ("2001:db8::1", True),
        ("::1", True),
        ("::ffff:10.1.2.3", True),
        ("64:ff9b::10.1.2.3", True),
        ("169.254.169.254", False),
        ("169.254.170.2", False),
        ("::ffff:169.254.169.254", False),
        ("::169.254.169.254", False),
        ("64:ff9b::169.254.169.254", False),
        ("2002:a9fe:a9fe::1", False),
        ("fe80::1", False),
        ("fe80::1%eth0", False),
        ("fd00:ec2::254", False),
        ("100.100.100.200", False),
        ("::ffff:100.100.100.200", False),
        ("168.63.129.16", False),
        ("192.0.0.192", False),
        ("0.0.0.0", False),  # noqa: S104 - an address that is refused
        ("::", False),
        ("::ffff:0.0.0.0", False),
        ("224.0.0.1", False),
        ("ff02::1", False),
    ],
)
def test_addresses_of_machines_for_themselves_are_refused(
    address: str, *, is_allowed: bool
) -> None:
    assert http_sessions.is_allowed(address) is is_allowed


@pytest.mark.parametrize(
    "host",
    ["169.254.169.254", "[::ffff:a9fe:a9fe]", "[64:ff9b::a9fe:a9fe]", "[fe80::1]", "0.0.0.0",  # noqa: S104
     "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.16689662"],
)  # fmt: skip
async def test_no_socket_is_made_for_them_however_they_are_written(
    host: str, sockets: Sockets
) -> None:
    async with http_sessions.session(connect_seconds=1, read_seconds=1) as session:
        with pytest.raises((aiohttp.ClientError, ValueError)):
            await session.get(f"http://{host}/latest/meta-data/")
    assert sockets.addresses == set()


async def test_the_address_that_is_used_is_the_one_that_is_checked(
    fault_archive: FaultArchive, sockets: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that leads elsewhere the second time."""
    fault_archive.on("/studies", json_answer([]))
    port = int(fault_archive.url.rpartition(":")[2])
    asked = ["127.0.0.1", "169.254.169.254"]

    async def rebinding(host: str, *_: Any, **__: Any) -> list[tuple[Any, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (asked.pop(0), port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", rebinding)
    for expected in (200, None):
        async with http_sessions.session(connect_seconds=1, read_seconds=1) as session:
            try:
                answer = await session.get(f"http://rebinding.example.org:{port}/studies")
                assert answer.status == expected
            except aiohttp.ClientConnectorError:
                assert expected is None
    assert asked == []
    assert sockets.addresses == {("127.0.0.1", port)}


async def test_the_allowed_addresses_of_a_name_are_tried(
    fault_archive: FaultArchive, sockets: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault_archive.on("/studies", json_answer([]))
    port = int(fault_archive.url.rpartition(":")[2])

    async def both(host: str, *_: Any, **__: Any) -> list[tuple[Any, ...]]:
        addresses = ("169.254.169.254", "127.0.0.1")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in addresses]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", both)
    async with http_sessions.session(connect_seconds=1, read_seconds=1) as session:
        answer = await session.get(f"http://both.example.org:{port}/studies")
        assert answer.status == 200
    assert sockets.addresses == {("127.0.0.1", port)}
