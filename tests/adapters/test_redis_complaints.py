"""What is logged of Redis that cannot be used."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from redis import exceptions as raised
from structlog.testing import capture_logs

from gateway.adapters.redis_client import Limits
from gateway.adapters.redis_complaints import reason
from tests.adapters.caches import KEY, Clock, Source, shared
from tests.adapters.redis_clusters import Certificates, Encrypted
from tests.servers import NOBODY, RedisServer

LIMITS = Limits(connect_seconds=2, operation_seconds=1)
REASONS = {
    raised.AuthenticationError("WRONGPASS invalid username-password pair"): "password",
    raised.TimeoutError("Timeout reading from 10.0.0.1:6379"): "no answer in time",
    raised.ResponseError("unknown command 'AUTH', with args beginning with: 's3cret'"): "unknown",
    raised.ResponseError("MOVED 3999 10.0.0.1:6381"): "MOVED",
    raised.MasterDownError("MASTERDOWN Link with MASTER is down"): "MASTERDOWN",
    OSError(111, "Connect call failed ('10.0.0.1', 6379)"): "refused",
    socket.gaierror(-2, "Name or service not known"): "not known",
    FileNotFoundError(2, "No such file or directory"): "No such file",
    TypeError("__init__() got an unexpected keyword argument 'foo'"): "keyword argument",
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"): "UnicodeDecodeError",
}


@pytest.mark.parametrize(("error", "words"), REASONS.items(), ids=lambda value: str(value)[:20])
def test_reason_says_what_is_wrong_and_nothing_of_passwords_or_addresses(
    error: Exception, words: str
) -> None:
    told = reason(error)
    assert words in told
    assert "s3cret" not in told
    assert "10.0.0" not in told


async def the_reason(url: str) -> str:
    """What is logged once when a load finds that Redis cannot be used."""
    with capture_logs() as logs:
        cache = shared(Clock(), url, limits=LIMITS)
        assert await cache.load(KEY, Source(b"one")) == b"one"
        await cache.close()
    (log,) = [log for log in logs if log["event"] == "the shared cache is away"]
    assert "127.0.0.1" not in repr(log)
    return str(log["reason"])


async def test_certificate_that_is_not_trusted_is_told(tmp_path: Path) -> None:
    other = Certificates(tmp_path / "other")
    with Encrypted(tmp_path / "redis", Certificates(tmp_path / "own")) as server:
        url = f"rediss://127.0.0.1:{server.tls_port}/0"
        assert "not trusted" in await the_reason(f"{url}?ssl_ca_certs={other.authority}")


async def test_database_that_does_not_exist_is_told(redis_server: RedisServer) -> None:
    assert "DB index is out of range" in await the_reason(redis_server.url.replace("/0", "/99"))


async def test_port_at_which_nobody_listens_is_told() -> None:
    assert "refused" in await the_reason(f"redis://127.0.0.1:{NOBODY.number}/0")


async def test_whatever_is_raised_when_a_connection_is_made_reaches_no_load(
    redis_server: RedisServer,
) -> None:
    assert "keyword argument" in await the_reason(f"{redis_server.url}?foo=bar")
