"""GET requests as they are sent (RFC 9112 §3): every segment, value and field encoded here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote

from yarl import URL

from gateway import __version__

_PLAIN_SEGMENT = re.compile(r"[A-Za-z0-9.,_-]+", re.ASCII).fullmatch
"""Segments that are the same when encoded, such as UIDs."""
_SAFE_IN_QUERY = ",*?-._~:/@!$'();"
_LEADING_OUT = frozenset({"", ".", ".."})
_VALUE = re.compile(r"[\t\x20-\x7e\xa0-\xff]*").fullmatch
_SERVER = re.compile(r"(https?://[^/?#]+)([^#]*)", re.IGNORECASE)


class Origin(NamedTuple):
    """A server, and the Host field of requests to it."""

    is_tls: bool
    host: str
    port: int
    field: str


class Request(NamedTuple):
    """Whom to ask, and for what: path and query."""

    origin: Origin
    target: str

    def head(self, fields: Mapping[str, str]) -> bytes:
        """The request with these fields. ValueError for one that cannot be told."""
        lines = [f"GET {self.target} HTTP/1.1\r\nHost: {self.origin.field}\r\n"]
        for name, value in fields.items():
            if _VALUE(value) is None:
                raise ValueError(f"{name} cannot be told")
            lines.append(f"{name}: {value}\r\n")
        lines.append(f"User-Agent: dicomweb-gateway/{__version__}\r\n\r\n")
        return "".join(lines).encode("latin-1")


def request(
    base: str, segments: Sequence[str] = (), parameters: Sequence[tuple[str, str]] = ()
) -> Request:
    """GET {base}/{segments}?{parameters}. ValueError: it would lead out of the base.

    All of it is quoted here, so that nothing in it can end the line of the request.
    """
    to, target = _server(base)
    for segment in segments:
        if segment in _LEADING_OUT:
            raise ValueError("a segment that would lead out of the base")
        target += f"/{segment if _PLAIN_SEGMENT(segment) else quote(segment, safe=',')}"
    if parameters:
        pairs = [f"{quote(n, safe='.')}={quote(v, safe=_SAFE_IN_QUERY)}" for n, v in parameters]
        target += f"?{'&'.join(pairs)}"
    return Request(to, target if target.startswith("/") else f"/{target}")


@lru_cache(maxsize=256)
def _server(base: str) -> tuple[Origin, str]:
    """The server of a configured address, and its path there."""
    found = _SERVER.fullmatch(base)
    if found is None:
        raise ValueError("not an address of HTTP")
    url = URL(found[1])
    host, port = url.raw_host, url.port
    if not host or port is None:
        raise ValueError("not an address of HTTP")
    name = f"[{host}]" if ":" in host else host
    field = name if url.is_default_port() else f"{name}:{port}"
    path = quote(found[2], safe="/?=&%:@!$'()*+,;~-._")
    return Origin(url.scheme == "https", host, port, field), path
