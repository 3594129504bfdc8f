"""The gateway itself as a child process: the whole program, its real server, its real signals."""

from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.servers import Process

REQUEST_ID = "this-is-the-gateway"


class Gateway(Process):
    """`gateway serve` with a configuration: `archives` by id, and any other section by name."""

    program = "from gateway.cli import main; main()"

    def __init__(self, folder: Path, archives: Mapping[str, Any], **sections: Any) -> None:
        """A gateway that keeps its log below `folder`; it is not started yet."""
        super().__init__(folder)
        self.sections = {"archives": archives, **sections}

    @property
    def url(self) -> str:
        """Its base, which is its public address as well."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def dicom_web(self) -> str:
        """Base of QIDO-RS and WADO-RS."""
        return f"{self.url}/dicom-web"

    def command(self) -> Sequence[str]:
        """The command line; writes the configuration file that it names."""
        server = {"port": self.port, "public_url": self.url, **self.sections.get("server", {})}
        path = self.folder / "gateway.yaml"
        path.write_text(json.dumps({**self.sections, "server": server}))  # YAML's common part
        return [sys.executable, "-c", self.program, "serve", "--config", str(path)]

    def is_itself(self, pid: int) -> bool:
        """Whether a gateway answers at the port."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        with closing(connection):
            connection.request("GET", "/health/live", headers={"X-Request-Id": REQUEST_ID})
            return connection.getresponse().headers["X-Request-Id"] == REQUEST_ID

    def wait(self, seconds: float) -> int:
        """The exit code, once it has ended by itself."""
        if self._process is None:
            raise RuntimeError("it was not started")
        return self._process.wait(seconds)

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return self._log.read_text(errors="replace")


def archive(base: str, **more: Any) -> dict[str, Any]:
    """The configuration of a DICOMweb archive at `base`."""
    return {"type": "dicomweb", "qido_rs": base, **more}
