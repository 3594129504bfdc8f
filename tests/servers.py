"""Real servers for tests: Orthanc and Redis as child processes of the test run.

Each takes a free port of the loopback interface and a folder of its own, is ready when it
answers as itself (another program may hold the port), and can be stopped, started again with the
same data and address, or frozen to play a server that hangs.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
import weakref
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import redis

PACKAGES = "apt-get install --no-install-recommends orthanc orthanc-dicomweb redis-server"
START_SECONDS = 30
STOP_SECONDS = 20
POLL_SECONDS = 0.05
ORTHANC_PLUGIN = "libOrthancDicomWeb.so"
PLUGIN_FOLDERS = ("/usr/share/orthanc/plugins", "/usr/lib/orthanc", "/usr/local/share/orthanc")


class ServerError(RuntimeError):
    """A server is not installed, or did not do what a test asked of it."""


def program(name: str) -> str:
    """The path of an installed server program; ServerError names the packages that bring it."""
    folders = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
    path = shutil.which(name, path=folders)
    if path is None:
        raise ServerError(f"{name} is not installed; the tests need it: {PACKAGES}")
    return path


def orthanc_plugin() -> str:
    """The path of Orthanc's DICOMweb plugin; ServerError names the package that brings it."""
    for folder in PLUGIN_FOLDERS:
        if (path := Path(folder, ORTHANC_PLUGIN)).exists():
            return str(path)
    raise ServerError(f"{ORTHANC_PLUGIN} is not installed; the tests need it: {PACKAGES}")


class HeldPort:
    """A TCP port of loopback that nobody is given while this exists, and at which nobody listens.

    A server that reuses addresses, as all here do, may be told to listen at it.
    """

    def __init__(self) -> None:
        """It is held from now on, until this is no longer referred to."""
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(("127.0.0.1", 0))
            self.number = int(one.getsockname()[1])
            weakref.finalize(self, os.close, one.detach())


NOBODY = HeldPort()
"""For what is to be away: connections to it are refused."""


class Child(Protocol):
    """What is needed of a child process."""

    @property
    def pid(self) -> int:
        """Its process id."""

    def poll(self) -> int | None:
        """The exit code, if it has ended."""

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once it has ended; TimeoutExpired when it does not."""

    def send_signal(self, sig: int, /) -> None:
        """Send a signal, unless it has ended."""

    def kill(self) -> None:
        """End it at once."""


class Process:
    """A server program as a child process. Subclasses say how it is run and known again."""

    def __init__(self, folder: Path) -> None:
        """A server that keeps its data below `folder`; it is not started yet."""
        self.folder = folder
        self._own_port = HeldPort()
        self.port = self._own_port.number
        self._process: Child | None = None

    @property
    def pid(self) -> int:
        """Its process id."""
        if self._process is None:
            raise ServerError("it was not started")
        return self._process.pid

    def command(self) -> Sequence[str]:
        """The command line, for the present port."""
        raise NotImplementedError

    def is_itself(self, pid: int) -> bool:
        """Whether the server that answers at the port is this one; OSError while none does."""
        raise NotImplementedError

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Run the server, unless it runs, and wait until it answers; same data, same port."""
        if self.running:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self._process = self._begun()
        self._wait_until_ready(self._process)

    def stop(self) -> None:
        """End the server in good order; connections to its port are refused afterwards."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server at once, as a crash does."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Stop the clock of the server: connections are taken by the kernel, nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen server go on."""
        self._signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    @property
    def _log(self) -> Path:
        return self.folder / "server.log"

    def _begun(self) -> Child:
        with self._log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - a command of ours
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder
            )

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self.running:
            self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._signal(signal.SIGCONT)
        self._signal(number)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP_SECONDS)
        self._process = None

    def _wait_until_ready(self, process: Child) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if self.is_itself(process.pid):
                    return
            except (OSError, ServerError):
                pass
            time.sleep(POLL_SECONDS)
        self.kill()
        log = self._log.read_text(errors="replace")[-2000:]
        raise ServerError(f"{type(self).__name__} did not start on port {self.port}:\n{log}")


class Orthanc(Process):
    """Orthanc with its DICOMweb plugin: QIDO-RS and WADO-RS at `dicom_web`, WADO-URI at `wado_uri`.

    With `user`, given as (name, password), it asks for HTTP Basic credentials.
    """

    def __init__(self, folder: Path, *, user: tuple[str, str] | None = None) -> None:
        """An archive that keeps its data below `folder`; it is not started yet."""
        super().__init__(folder)
        self.user = user
        self.name = f"test-{uuid.uuid4().hex}"

    @property
    def url(self) -> str:
        """Base of Orthanc's own REST interface, without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def dicom_web(self) -> str:
        """Base of QIDO-RS and WADO-RS, without a slash at its end."""
        return f"{self.url}/dicom-web"

    @property
    def wado_uri(self) -> str:
        """Address of WADO-URI."""
        return f"{self.url}/wado"

    def command(self) -> Sequence[str]:
        """The command line; writes the configuration file that it names."""
        path = self.folder / "orthanc.json"
        path.write_text(json.dumps(self._configuration(), indent=1))
        return [program("Orthanc"), str(path)]

    def is_itself(self, pid: int) -> bool:
        """Whether the Orthanc at the port bears the name that this one was given."""
        return bool(json.loads(self._ask("GET", "/system"))["Name"] == self.name)

    def upload(self, source: Path | bytes) -> str:
        """Store a DICOM file; Orthanc's own id of the instance."""
        data = source if isinstance(source, bytes) else source.read_bytes()
        return str(json.loads(self._ask("POST", "/instances", data))["ID"])

    def upload_packed(self, files: bytes) -> None:
        """Store the DICOM files of a ZIP archive."""
        self._ask("POST", "/instances", files)

    def uids(self) -> frozenset[str]:
        """SOP Instance UIDs of all that it holds."""
        rows = json.loads(self._ask("GET", "/instances?expand"))
        return frozenset(row["MainDicomTags"]["SOPInstanceUID"] for row in rows)

    def file(self, orthanc_id: str) -> bytes:
        """The stored file of an instance, byte for byte, by Orthanc's own id."""
        return self._ask("GET", f"/instances/{orthanc_id}/file")

    def clear(self) -> None:
        """Delete all that it holds."""
        for orthanc_id in json.loads(self._ask("GET", "/patients")):
            self._ask("DELETE", f"/patients/{orthanc_id}")

    def _ask(self, method: str, path: str, data: bytes | None = None) -> bytes:
        headers = {}
        if self.user is not None:
            credentials = base64.b64encode(":".join(self.user).encode()).decode()
            headers["Authorization"] = f"Basic {credentials}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=START_SECONDS)
        with contextlib.closing(connection):
            connection.request(method, path, data, headers)
            answer = connection.getresponse()
            body = answer.read()
        if answer.status >= 400:
            raise ServerError(f"{method} {path} at {self.name}: {answer.status} {body[:500]!r}")
        return body

    def _configuration(self) -> dict[str, Any]:
        return {
            "Name": self.name,
            "StorageDirectory": str(self.folder / "storage"),
            "IndexDirectory": str(self.folder / "storage"),
            "Plugins": [orthanc_plugin()],
            "HttpPort": self.port,
            "HttpThreadsCount": 16,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": self.user is not None,
            "RegisteredUsers": {self.user[0]: self.user[1]} if self.user else {},
            "DicomServerEnabled": False,
            "ConcurrentJobs": 1,
            "MaximumStorageCacheSize": 16,
            "DicomWeb": {
                "Enable": True,
                "Root": "/dicom-web/",
                "EnableWado": True,
                "WadoRoot": "/wado",
            },
        }


class RedisServer(Process):
    """Redis that keeps nothing on disk: a start after `stop` finds it empty."""

    @property
    def url(self) -> str:
        """Address of its first database."""
        return f"redis://127.0.0.1:{self.port}/0"

    def renew(self) -> None:
        """Whatever became of it: it runs, and is empty."""
        self.thaw()
        self.start()
        self.clear()

    def restart(self) -> None:
        """End and start it: connections break, what it held is gone."""
        self.stop()
        self.start()

    def clear(self) -> None:
        """Delete all that it holds."""
        with redis.Redis.from_url(self.url) as client:
            client.flushall()

    def command(self) -> Sequence[str]:
        """The command line."""
        options = {"port": str(self.port), "bind": "127.0.0.1", "dir": str(self.folder)}
        options |= {"save": "", "appendonly": "no", "databases": "4", "io-threads": "1"}
        flags = [word for name, value in options.items() for word in (f"--{name}", value)]
        return [program("redis-server"), *flags]

    def is_itself(self, pid: int) -> bool:
        """Whether the Redis at the port is the child process."""
        with redis.Redis.from_url(self.url) as client:
            try:
                return bool(client.info("server")["process_id"] == pid)
            except redis.ConnectionError as error:
                raise ConnectionRefusedError from error
