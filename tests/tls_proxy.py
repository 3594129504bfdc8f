"""TLS in front of a server that speaks none: demands certificates, and passes bytes on."""

from __future__ import annotations

import contextlib
import select
import socket
import socketserver
import ssl
import threading
from typing import Any, Self

from tests.tls_server import linger


class TlsProxy:
    """What is sent to `port` arrives at the loopback port `behind`; use it as a context manager."""

    def __init__(self, context: ssl.SSLContext, behind: int) -> None:
        self._server = _Server(("127.0.0.1", 0), _handler(context, behind))
        self.port: int = self._server.server_address[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,)).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False


def _handler(context: ssl.SSLContext, behind: int) -> type[socketserver.BaseRequestHandler]:
    class Handler(socketserver.BaseRequestHandler):
        request: Any

        def handle(self) -> None:
            with context.wrap_socket(
                self.request, server_side=True, do_handshake_on_connect=False
            ) as caller:
                try:
                    caller.do_handshake()
                except OSError:
                    linger(caller)
                    return
                with socket.create_connection(("127.0.0.1", behind)) as server:
                    _pass_on(caller, server)
                with contextlib.suppress(OSError):
                    caller.settimeout(5)
                    caller.unwrap()  # the end is told (RFC 8446 §6.1)

    return Handler


def _pass_on(caller: ssl.SSLSocket, server: socket.socket) -> None:
    """Until either side has enough. In one thread: a TLS connection is not for two at once."""
    others: dict[socket.socket, socket.socket] = {caller: server, server: caller}
    with contextlib.suppress(OSError):
        while True:
            ready = [caller] if caller.pending() else select.select(list(others), [], [])[0]
            for one in ready:
                some = one.recv(1 << 16)
                if not some:
                    return
                others[one].sendall(some)
