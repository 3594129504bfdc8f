from __future__ import annotations

import socket

import pytest
from yarl import URL

from gateway.adapters import http_sessions


@pytest.mark.parametrize(
    ("address", "is_allowed"),
    [
        ("10.1.2.3", True),
        ("127.0.0.1", True),
        ("192.168.0.10", True),
        ("2001:db8::1", True),
        ("::1", True),
        ("169.254.169.254", False),
        ("::ffff:169.254.169.254", False),
        ("fe80::1", False),
        ("fe80::1%eth0", False),
        ("fd00:ec2::254", False),
        ("100.100.100.200", False),
        ("0.0.0.0", False),  # noqa: S104 - an address that is refused
        ("::", False),
        ("224.0.0.1", False),
        ("ff02::1", False),
    ],
)
def test_addresses_of_machines_for_themselves_are_refused(
    address: str, *, is_allowed: bool
) -> None:
    assert http_sessions.is_allowed(address) is is_allowed


@pytest.mark.parametrize("host", ["169.254.169.254", "[::ffff:a9fe:a9fe]", "[fe80::1]"])
def test_addresses_written_out_are_refused(host: str) -> None:
    with pytest.raises(OSError, match="may not"):
        http_sessions.check(URL(f"http://{host}/latest"))


@pytest.mark.parametrize("host", ["pacs.example.org", "10.0.0.1", "localhost", "[::1]"])
def test_other_addresses_are_not(host: str) -> None:
    http_sessions.check(URL(f"http://{host}/"))


async def test_the_address_that_is_used_is_the_one_that_is_checked() -> None:
    resolver = http_sessions.CheckedResolver()
    found = await resolver.resolve("localhost", 80, socket.AF_INET)
    assert found[0]["host"] == "127.0.0.1"
    with pytest.raises(OSError, match="no address"):
        await resolver.resolve("0.0.0.0", 80, socket.AF_INET)  # noqa: S104 - it is refused
    await resolver.close()
