"""Redis as larger installations run it: clusters, replicas, Sentinels, TLS; all on loopback."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any
from urllib.parse import quote

import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.servers import HeldPort, RedisServer, program

SLOTS = 16384
NODE_TIMEOUT_MS = 500
WAIT_SECONDS = 30


def until(is_so: Callable[[], bool]) -> None:
    """Waits for what a server does on its own."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        with contextlib.suppress(redis.RedisError, OSError):
            if is_so():
                return
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.02)


class Configured(RedisServer):
    """Redis with more options on its command line."""

    def __init__(self, folder: Path, *options: str) -> None:
        super().__init__(folder)
        self.options = options

    def command(self) -> Sequence[str]:
        at_once = ("--repl-diskless-sync-delay", "0")  # a replica is not waited for in vain
        return [*super().command(), *at_once, *self.options]

    def told(self, *words: object) -> Any:
        """What it answers to a command."""
        with redis.Redis.from_url(self.url, socket_timeout=5) as client:
            return client.execute_command(*words)

    @property
    def is_in_step(self) -> bool:
        """Whether it is a replica that has what its master has."""
        return bool(self.told("INFO", "replication").get("master_link_status") == "up")

    @property
    def is_master(self) -> bool:
        """Whether it takes writes."""
        return bool(self.told("INFO", "replication")["role"] == "master")

    def clear(self) -> None:
        """Nothing to do: each test makes its own."""


class Node(Configured):
    """A node of a cluster."""

    def __init__(self, folder: Path) -> None:
        self._bus = HeldPort()
        self.bus_port = self._bus.number
        bus = ("--cluster-enabled", "yes", "--cluster-port", str(self.bus_port))
        super().__init__(
            folder,
            *bus,
            *("--cluster-node-timeout", str(NODE_TIMEOUT_MS)),
            *("--cluster-require-full-coverage", "no"),
            *("--cluster-replica-validity-factor", "0"),
        )

    @property
    def id(self) -> str:
        """Its name in the cluster."""
        return str(self.told("CLUSTER", "MYID").decode())


class Cluster:
    """Masters that share all slots, and as many replicas of them."""

    def __init__(self, masters: Sequence[Node], replicas: Sequence[Node]) -> None:
        self.masters = masters
        self.replicas = replicas

    @property
    def url(self) -> str:
        """By two of its nodes."""
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.masters[:2])
        return f"redis+cluster://{hosts}"

    def form(self) -> None:
        """Makes the nodes a cluster, and waits until all agree."""
        share = SLOTS // len(self.masters)
        for number, node in enumerate(self.masters):
            last = SLOTS - 1 if node is self.masters[-1] else (number + 1) * share - 1
            node.told("CLUSTER", "ADDSLOTSRANGE", number * share, last)
        nodes = (*self.masters, *self.replicas)
        for number, node in enumerate(nodes, 1):
            node.told("CLUSTER", "SET-CONFIG-EPOCH", number)
            first = nodes[0]
            if node is not first:
                node.told("CLUSTER", "MEET", "127.0.0.1", first.port, first.bus_port)
        until(
            lambda: all(n.told("CLUSTER", "NODES").count(b"connected") == len(nodes) for n in nodes)
        )
        for replica, master in zip(self.replicas, self.masters, strict=False):
            replica.told("CLUSTER", "REPLICATE", master.id)
        until(lambda: all(b"cluster_state:ok" in n.told("CLUSTER", "INFO") for n in nodes))
        until(lambda: all(r.is_in_step for r in self.replicas))

    def holder(self, name: str) -> Node:
        """The master that holds what is called `name`."""
        slot = self.slot(name)
        return self.masters[min(slot // (SLOTS // len(self.masters)), len(self.masters) - 1)]

    def slot(self, name: str) -> int:
        """Where what is called `name` belongs."""
        return int(self.masters[0].told("CLUSTER", "KEYSLOT", name))

    def move(self, slot: int, source: Node, target: Node, half_way: Callable[[], None]) -> None:
        """Moves a slot with all that is in it; `half_way` is done while it is being moved."""
        target.told("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.told("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
        names = source.told("CLUSTER", "GETKEYSINSLOT", slot, 100)
        for number, name in enumerate(names):
            source.told("MIGRATE", "127.0.0.1", target.port, name, 0, 5000)
            if number == len(names) // 2:
                half_way()
        for node in (target, source, *self.masters):
            node.told("CLUSTER", "SETSLOT", slot, "NODE", target.id)


@contextmanager
def cluster(folder: Path, *, masters: int = 3, replicas: int = 0) -> Iterator[Cluster]:
    """A cluster of so many masters, and as many of them with a replica."""
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(Node(folder / str(number))) for number in range(masters + replicas)
        ]
        made = Cluster(nodes[:masters], nodes[masters:])
        made.form()
        yield made


class Sentinel(Configured):
    """A Sentinel that watches one Redis under the name `mymaster`."""

    def __init__(self, folder: Path, watched_port: int, *settings: str) -> None:
        """`settings`: more lines of its configuration."""
        super().__init__(folder)
        self.watched_port = watched_port
        self.settings = settings

    def command(self) -> Sequence[str]:
        path = self.folder / "sentinel.conf"
        path.write_text(
            f"port {self.port}\nbind 127.0.0.1\n"
            f"sentinel monitor mymaster 127.0.0.1 {self.watched_port} 1\n"
            "sentinel down-after-milliseconds mymaster 500\n"
            "sentinel failover-timeout mymaster 2000\n"
            + "".join(f"{line}\n" for line in self.settings)
        )
        return [program("redis-server"), str(path), "--sentinel"]

    @property
    def url(self) -> str:
        """Its address, for its default user."""
        password = next((s for s in self.settings if s.startswith("requirepass ")), "")
        return f"redis://:{quote(password[12:], safe='')}@127.0.0.1:{self.port}/0"

    @property
    def replicas(self) -> int:
        """How many replicas it has found."""
        return int(self.told("INFO", "sentinel")["master0"]["slaves"])

    @property
    def master_port(self) -> int:
        """Where the master is by now."""
        return int(self.told("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster")[1])


class Certificates:
    """An authority, and what it has signed for the server and for clients, as files."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        for name in ("authority", "server", "client"):
            self._sign(name)
        self.authority = folder / "authority.pem"

    def of(self, name: str) -> tuple[Path, Path]:
        """Certificate and key of the server or the client."""
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    @property
    def query(self) -> str:
        """What a URL says of them."""
        certificate, key = self.of("client")
        return f"ssl_ca_certs={self.authority}&ssl_certfile={certificate}&ssl_keyfile={key}"

    def _sign(self, name: str) -> None:
        is_authority = name == "authority"
        key = self._key if is_authority else ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(_named(name))
            .issuer_name(_named("authority"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        certificate_file, key_file = self.of(name)
        certificate_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


class Encrypted(Configured):
    """Redis that speaks TLS at `tls_port` to clients with a certificate, and plainly at `port`."""

    def __init__(self, folder: Path, certificates: Certificates, *options: str) -> None:
        self._tls = HeldPort()
        self.tls_port = self._tls.number
        certificate, key = certificates.of("server")
        super().__init__(
            folder,
            *("--tls-port", str(self.tls_port), "--tls-auth-clients", "yes"),
            *("--tls-cert-file", str(certificate), "--tls-key-file", str(key)),
            *("--tls-ca-cert-file", str(certificates.authority)),
            *options,
        )
