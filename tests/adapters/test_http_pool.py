from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.adapters.http_connection import Connection
from gateway.adapters.http_pool import Pool
from gateway.adapters.http_requests import Origin, request
from tests.fault_archive import Answer, FaultArchive
from tests.servers import NOBODY


def to(archive: FaultArchive) -> Origin:
    return request(archive.url).origin


async def asked(pool: Pool, origin: Origin) -> Connection:
    """The connection on which something was asked, free again."""
    connection = pool.kept(origin) or await pool.new(origin)
    answer = await connection.ask(request(f"http://{origin.field}/x").head({}), 5, 5)
    assert await answer.whole(1000, 5) == b"abc"
    answer.let_go()
    return connection


async def test_a_connection_is_kept_for_its_own_server_only(fault_archive: FaultArchive) -> None:
    pool = Pool(connect_seconds=2)
    async with FaultArchive() as other:
        for each in (fault_archive, other):
            each.on("/x", Answer(body=b"abc"))
        first = await asked(pool, to(fault_archive))
        assert await asked(pool, to(other)) is not first
        assert await asked(pool, to(fault_archive)) is first
        assert (fault_archive.connections, other.connections) == (1, 1)
        await pool.close()


async def test_a_connection_under_way_is_not_given_to_another(fault_archive: FaultArchive) -> None:
    pool = Pool(connect_seconds=2)
    fault_archive.on("/x", Answer(body=b"abc"))
    first = await asked(pool, to(fault_archive))
    assert pool.kept(to(fault_archive)) is first
    assert pool.kept(to(fault_archive)) is None
    await pool.close()


async def test_a_connection_that_ended_is_not_given_again() -> None:
    pool = Pool(connect_seconds=2)
    async with FaultArchive() as archive:
        archive.on("/x", Answer(body=b"abc"))
        origin = to(archive)
        connection = await asked(pool, origin)
        connection.abort()
    assert pool.kept(origin) is None
    with pytest.raises(OSError, match="Connect"):
        await pool.new(origin)
    await pool.close()


@pytest.mark.parametrize(
    "base",
    ["http://169.254.169.254", "http://[fe80::1]", "http://[::ffff:169.254.169.254]",
     "http://2852039166", "http://0.0.0.0"],
)  # fmt: skip
async def test_addresses_of_machines_for_themselves_are_refused(base: str) -> None:
    pool = Pool(connect_seconds=2)
    with pytest.raises(OSError, match="may not be connected to"):
        await pool.new(request(base).origin)
    await pool.close()


async def test_where_nobody_listens_there_is_no_connection() -> None:
    pool = Pool(connect_seconds=2)
    with pytest.raises(OSError, match="Connect"):
        await pool.new(request(f"http://localhost:{NOBODY.number}").origin)
    await pool.close()
    with pytest.raises(OSError, match="closed"):
        await pool.new(request(f"http://localhost:{NOBODY.number}").origin)


async def test_connections_end_with_their_pool(fault_archive: FaultArchive) -> None:
    pool = Pool(connect_seconds=2)
    fault_archive.on("/x", Answer(body=b"abc"))
    idle = await asked(pool, to(fault_archive))
    busy = await pool.new(to(fault_archive))
    answer = await busy.ask(request(f"{fault_archive.url}/x").head({}), 5, 5)
    await pool.close()
    assert not idle.is_open
    assert not busy.is_open
    answer.let_go()
    await pool.close()


def _certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1 with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "archive")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    written = folder / "archive.pem"
    written.write_bytes(
        made.public_bytes(pem)
        + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return written


async def test_over_tls_a_server_is_believed_by_its_certificate(tmp_path: Path) -> None:
    certificate = _certificate(tmp_path)
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(certificate)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readline():
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=served)
    origin = request(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}").origin
    trusted = ssl.create_default_context(cafile=certificate)
    pool = Pool(connect_seconds=2)
    with pytest.raises(ssl.SSLCertVerificationError):
        await pool.new(origin)
    connection = await pool.new(origin, trusted)
    answer = await connection.ask(request("https://127.0.0.1").head({}), 5, 5)
    assert await answer.whole(1000, 5) == b"abc"
    answer.let_go()
    assert pool.kept(origin) is None
    assert pool.kept(origin, trusted) is connection
    await pool.close()
    server.close()
    await server.wait_closed()
