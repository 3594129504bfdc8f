"""Mutual TLS with a server that demands a certificate, and what is told when it fails."""

from __future__ import annotations

import datetime as dt
import os
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.adapters import tls
from gateway.adapters.http_client import ArchiveClient, Limits
from gateway.adapters.origin_client import OriginClient
from gateway.adapters.telemetry import Telemetry
from gateway.config_servers import NoAuth, OAuth2Auth, Tls
from gateway.errors import ArchiveError, ArchiveRefused, ArchiveUnreachable, Unavailable
from tests.certificates import DAY, Authority, Issued
from tests.tls_server import TlsServer

LIMITS = Limits(
    max_concurrency=8,
    queue_seconds=5,
    connect_timeout_seconds=2,
    timeout_seconds=5,
    max_json_bytes=1 << 20,
)
Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("other"), "Other")


@pytest.fixture
def server(authority: Authority) -> Iterator[TlsServer]:
    """An archive that demands a certificate of `authority`."""
    with TlsServer(authority.issue("server").served()) as made:
        made.answers["/studies"] = []
        yield made


async def ask(url: str, section: dict[str, Any], **auth: Any) -> bytes:
    chosen = OAuth2Auth.model_validate(auth) if auth else NoAuth()
    client = ArchiveClient("north", chosen, LIMITS, Telemetry(), Tls.model_validate(section))
    try:
        async with client.get(url, ["studies"], accept="*/*") as response:
            return bytes(await client.json(response))
    finally:
        await client.close()


async def test_the_certificate_lets_the_gateway_in(server: TlsServer, authority: Authority) -> None:
    assert await ask(server.url, authority.issue("gateway").section()) == b"[]"


async def test_an_encrypted_key_is_opened_by_its_password(
    server: TlsServer, authority: Authority
) -> None:
    sealed = authority.issue("sealed", password="s3cret")
    assert await ask(server.url, sealed.section(key_password="s3cret")) == b"[]"
    for wrong in ({}, {"key_password": "no"}):
        with pytest.raises(ArchiveUnreachable, match="the certificates for it cannot be used"):
            await ask(server.url, sealed.section(**wrong))


async def test_certificate_and_key_may_be_in_one_file(
    server: TlsServer, authority: Authority, tmp_path: Path
) -> None:
    one = authority.issue("both")
    both = tmp_path / "both.pem"
    both.write_bytes(one.cert_file.read_bytes() + one.key_file.read_bytes())
    section = {"ca_file": str(one.ca_file), "cert_file": str(both)}
    assert await ask(server.url, section) == b"[]"


def none(authority: Authority, other: Authority) -> dict[str, Any]:
    return {"ca_file": str(authority.ca_file)}


def of_another(authority: Authority, other: Authority) -> dict[str, Any]:
    return other.issue("stranger").section(ca_file=str(authority.ca_file))


def expired(authority: Authority, other: Authority) -> dict[str, Any]:
    return authority.issue("expired", since=-9 * DAY, until=-DAY).section()


@pytest.mark.parametrize(
    ("section", "words"),
    [
        (none, "asks for a certificate of the gateway"),
        (of_another, "does not trust who issued the gateway's certificate"),
        (expired, "the gateway's certificate"),
    ],
)
async def test_a_refusal_of_the_certificate_is_told_as_such(
    server: TlsServer,
    authority: Authority,
    other: Authority,
    section: Callable[[Authority, Authority], dict[str, Any]],
    words: str,
) -> None:
    with pytest.raises(ArchiveRefused, match=words) as refused:
        await ask(server.url, section(authority, other))
    assert "127.0.0.1" not in str(refused.value)
    assert server.requests == []


@pytest.mark.parametrize(
    ("served", "words"),
    [
        ({"until": -dt.timedelta(hours=1)}, "has expired"),
        ({"since": DAY}, "not valid yet"),
        ({"host": "192.0.2.1"}, "for another host"),
    ],
)
async def test_a_server_that_is_not_itself_is_not_asked(
    authority: Authority, served: dict[str, Any], words: str
) -> None:
    gateway = authority.issue("gateway").section()
    with TlsServer(authority.issue("wrong", **served).served()) as server:
        with pytest.raises(ArchiveUnreachable, match=words) as failed:
            await ask(server.url, gateway)
        assert "192.0.2.1" not in str(failed.value)
        assert server.requests == []


async def test_only_the_authorities_of_the_section_vouch_for_a_server(
    server: TlsServer, authority: Authority, other: Authority
) -> None:
    gateway = authority.issue("gateway").section(ca_file=str(other.ca_file))
    for section in (gateway, {}):
        with pytest.raises(ArchiveUnreachable, match="its certificate is not trusted"):
            await ask(server.url, section)
    assert server.requests == []


async def test_the_token_server_has_certificates_of_its_own(
    server: TlsServer, authority: Authority
) -> None:
    gateway = authority.issue("gateway").section()
    auth = {"type": "oauth2", "client_id": "g", "client_secret": "s"}
    auth["token_url"] = f"{server.url}/token"
    server.answers["/token"] = {"access_token": "t"}
    with pytest.raises(ArchiveError, match="its certificate is not trusted"):
        await ask(server.url, gateway, **auth)
    assert server.requests == []
    assert await ask(server.url, gateway, **auth, tls=gateway) == b"[]"


async def test_small_requests_show_the_certificate_and_tell_why_they_fail(
    server: TlsServer, authority: Authority
) -> None:
    section = authority.issue("gateway").section()
    client = OriginClient("the other side", f"{server.url}/studies", Tls.model_validate(section))
    assert (await client.ask("GET")).body == b"[]"
    await client.close()
    without = OriginClient(
        "the other side", f"{server.url}/studies", Tls(ca_file=authority.ca_file)
    )
    with pytest.raises(Unavailable, match="the other side cannot be asked: it asks for a cert"):
        await without.ask("GET")
    await without.close()


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def section_of(issued: Issued) -> Tls:
    return Tls.model_validate(issued.section())


async def test_certificates_that_are_replaced_are_used_without_a_restart(
    authority: Authority, tmp_path: Path
) -> None:
    folder = Authority(tmp_path / "in use")
    used, clock = folder.issue("gateway"), Clock()
    certificates = tls.Certificates("north", section_of(used), clock)
    first = await certificates.context()
    clock.now += tls.LOOK_SECONDS
    assert await certificates.context() is first
    folder.issue("next").move_to(used)
    assert await certificates.context() is first
    clock.now += tls.LOOK_SECONDS
    assert await certificates.context() is not first


async def test_what_cannot_be_used_changes_nothing_until_it_can(tmp_path: Path) -> None:
    authority, clock = Authority(tmp_path), Clock()
    used, following = authority.issue("gateway"), authority.issue("next")
    certificates = tls.Certificates("north", section_of(used), clock)
    first = await certificates.context()
    following.cert_file.replace(used.cert_file)  # and its key is still to come
    clock.now += tls.LOOK_SECONDS
    assert await certificates.context() is first
    following.key_file.replace(used.key_file)
    clock.now += tls.LOOK_SECONDS
    second = await certificates.context()
    assert second is not first
    used.cert_file.unlink()
    clock.now += tls.LOOK_SECONDS
    assert await certificates.context() is second


async def test_files_that_come_late_are_used_then(tmp_path: Path) -> None:
    authority, clock = Authority(tmp_path), Clock()
    used = authority.issue("gateway")
    away = used.key_file.rename(tmp_path / "away")
    certificates = tls.Certificates("north", section_of(used), clock)
    with pytest.raises(tls.UnusableFiles):
        await certificates.context()
    away.rename(used.key_file)
    with pytest.raises(tls.UnusableFiles):
        await certificates.context()
    clock.now += tls.LOOK_SECONDS
    assert isinstance(await certificates.context(), ssl.SSLContext)


async def test_a_link_that_is_turned_to_other_files_is_a_change(tmp_path: Path) -> None:
    """Kubernetes replaces the files of a Secret by turning one link."""
    for name in ("one", "two"):
        Authority(tmp_path / name).issue("tls")
    link, clock = tmp_path / "data", Clock()
    link.symlink_to("one")
    section = Tls(cert_file=link / "tls.crt", key_file=link / "tls.key")
    certificates = tls.Certificates("north", section, clock)
    first = await certificates.context()
    (tmp_path / "following").symlink_to("two")
    os.replace(tmp_path / "following", link)  # noqa: PTH105 - of the link, not of what it leads to
    clock.now += tls.LOOK_SECONDS
    assert await certificates.context() is not first


async def test_without_a_section_it_is_what_the_system_trusts() -> None:
    assert await tls.Certificates("north", None).context() is True


def test_other_errors_are_not_of_tls() -> None:
    assert tls.trouble(OSError("no route")) is None
    assert tls.trouble(ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")) == (
        "no TLS connection",
        False,
    )
