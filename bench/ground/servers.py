"""nginx and node as archive and as yardsticks; each ready when it answers 204 at /ready."""

from __future__ import annotations

import getpass
import shutil
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.servers import Process

LARGE_BUFFERS = (
    "proxy_buffer_size 64k; proxy_buffers 16 64k; proxy_busy_buffers_size 128k; "
    "proxy_max_temp_file_size 0;"
)


class Server(Process):
    """A server whose process is measured."""

    @property
    def pid(self) -> int:
        """Its process id."""
        if self._process is None:
            raise RuntimeError("it was not started")
        return self._process.pid

    def is_itself(self, pid: int) -> bool:
        """Whether a server answers at the port."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as one:
            one.sendall(b"GET /ready HTTP/1.0\r\n\r\n")
            return b" 204" in one.recv(64)


class Nginx(Server):
    """nginx with one worker and the given locations."""

    locations = ""
    outside = ""
    """Directives of the http block."""

    def command(self) -> Sequence[str]:
        """The command line; writes the configuration file that it names."""
        path = self.folder / "nginx.conf"
        paths = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        places = "".join(f"{n}_temp_path {self.folder}/{n};\n" for n in paths)
        path.write_text(
            f"user {getpass.getuser()}; daemon off; worker_processes 1;\n"
            "pid nginx.pid; error_log stderr;\n"
            "events { worker_connections 256; }\n"
            f"http {{ {places} log_format asked '$uri'; sendfile on; tcp_nopush on;\n"
            f"keepalive_requests 1000000; access_log off; {self.outside}\n"
            f"server {{ listen 127.0.0.1:{self.port}; location = /ready {{ return 204; }}\n"
            f"{self.locations} }} }}\n"
        )
        return [installed("nginx"), "-p", f"{self.folder}/", "-c", str(path), "-e", "stderr"]

    def kill(self) -> None:
        """End it in good order all the same: a master that is killed leaves its worker behind."""
        self.stop()


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """Where the answer of a path is, and its media type.

    `chunk_bytes`: the HTTP chunks that it comes in; 0: its length is told beforehand.
    """

    path: Path
    content_type: str
    chunk_bytes: int = 0

    @property
    def directives(self) -> str:
        """Its location in the words of nginx, which does not tell lengths when more may follow."""
        kind = self.content_type.replace('"', '\\"')
        told = f'types {{}} alias {self.path}; default_type "{kind}";'
        if not self.chunk_bytes:
            return told
        return (
            f"{told} sendfile off; output_buffers 2 {self.chunk_bytes};"
            "addition_types *; add_after_body /nothing;"
        )


class FileArchive(Nginx):
    """An archive whose answers are files; it remembers what it was asked for."""

    def __init__(self, folder: Path, files: Mapping[str, File]) -> None:
        super().__init__(folder)
        self.locations = (
            f"access_log {folder}/asked.log asked;\n"
            'location = /nothing { internal; return 200 ""; }\n'
        ) + "".join(f"location = {path} {{ {file.directives} }}\n" for path, file in files.items())

    def asked(self, path: str | None = None) -> int:
        """How often a path, or anything, was asked for so far."""
        lines = (self.folder / "asked.log").read_text().splitlines()
        return sum(line not in {"/ready"} if path is None else line == path for line in lines)


class NginxProxy(Nginx):
    """nginx passing on over kept connections, with the given buffers."""

    def __init__(self, folder: Path, upstream: int, buffers: str = "") -> None:
        super().__init__(folder)
        self.outside = f"upstream archive {{ server 127.0.0.1:{upstream}; keepalive 64; }}"
        self.locations = (
            "location / { proxy_pass http://archive; proxy_http_version 1.1;\n"
            f"proxy_set_header Connection ''; {buffers} }}"
        )


class NginxCache(Nginx):
    """nginx with proxy_cache in front of `upstream`, whatever that says of caching."""

    def __init__(self, folder: Path, upstream: int) -> None:
        super().__init__(folder)
        self.outside = (
            f"proxy_cache_path {folder}/cache keys_zone=all:10m levels=1:2;\n"
            f"upstream gateway {{ server 127.0.0.1:{upstream}; keepalive 64; }}"
        )
        self.locations = (
            "location / { proxy_pass http://gateway; proxy_http_version 1.1;\n"
            "proxy_set_header Connection ''; proxy_set_header Host 127.0.0.1;\n"
            'proxy_cache all; proxy_cache_key "$uri $http_accept $http_accept_encoding";\n'
            "proxy_cache_valid 200 1h; proxy_ignore_headers Cache-Control Vary;\n"
            f"add_header X-Cache $upstream_cache_status; {LARGE_BUFFERS} }}"
        )


class NodePipe(Server):
    """node passing on by stream.pipe over kept connections."""

    PROGRAM = """
    const http = require('http');
    const [upstream, port] = process.argv.slice(1).map(Number);
    const agent = new http.Agent({keepAlive: true, maxSockets: 64});
    http.createServer((request, response) => {
      if (request.url === '/ready') { response.writeHead(204).end(); return; }
      const {url: path, method, headers} = request;
      http.request({port: upstream, host: '127.0.0.1', path, method, headers, agent}, answer => {
        response.writeHead(answer.statusCode, answer.headers);
        answer.pipe(response);
      }).end();
    }).listen(port, '127.0.0.1');
    """

    def __init__(self, folder: Path, upstream: int) -> None:
        super().__init__(folder)
        self.upstream = upstream

    def command(self) -> Sequence[str]:
        """The command line."""
        return [installed("node"), "-e", self.PROGRAM, str(self.upstream), str(self.port)]


def installed(name: str) -> str:
    """The path of a program; ends the run with what to do when it is missing."""
    path = shutil.which(name, path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if path is None:
        package = {"node": "nodejs"}.get(name, name)
        raise SystemExit(f"{name} is missing; apt-get install --no-install-recommends {package}")
    return path
