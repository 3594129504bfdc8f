"""A small HTTPS server that demands certificates and says why it refuses one.

On plain sockets: servers on asyncio close the connection without an alert (RFC 8446 §6.2).
"""

from __future__ import annotations

import contextlib
import http.server
import json
import socket
import ssl
import threading
from typing import Any, Self


class TlsServer:
    """Answers GET and POST of known paths with JSON; use it as a context manager."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context
        self.answers: dict[str, Any] = {}
        self.requests: list[str] = []
        """The paths that were asked for: only those whose certificate was good come so far."""
        self.names: list[str] = []
        """The common name of the certificate of each of them."""
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))

    @property
    def url(self) -> str:
        """Base address, without a slash at its end."""
        return f"https://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,)).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(server: TlsServer) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 10

        def handle(self) -> None:
            with server.context.wrap_socket(
                self.connection, server_side=True, do_handshake_on_connect=False
            ) as secured:
                try:
                    secured.do_handshake()
                except OSError:
                    linger(secured)
                    return
                self.connection = secured
                with secured.makefile("rb") as self.rfile, secured.makefile("wb") as self.wfile:
                    super().handle()

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            server.requests.append(path)
            server.names.append(_common_name(self.connection))
            body = json.dumps(server.answers.get(path)).encode()
            self.send_response(200 if path in server.answers else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing."""

    return Handler


def linger(refused: ssl.SSLSocket) -> None:
    """Let the alert arrive: closing with the request unread would reset the connection."""
    with contextlib.suppress(OSError), socket.socket(fileno=refused.detach()) as plain:
        plain.shutdown(socket.SHUT_WR)
        while plain.recv(4096):
            pass


def _common_name(connection: Any) -> str:
    shown = connection.getpeercert() or {}
    return next((v for part in shown.get("subject", ()) for _, v in part), "")
