"""What can be told of an HTTP/1.1 request by its bytes alone, before they are parsed (RFC 9112)."""

from __future__ import annotations

import re

ID = "[A-Za-z0-9._-]{8,64}"
"""What a caller may call a request: it can stand in a log, and in a header."""
_END = b"\r\n\r\n"
_ID = b"\r\nx-request-id"
_OF_ONE = re.compile(
    rb"\r\n(?:x-request-id: (%b)|(?:traceparent|tracestate): [\t\x20-\x7e]*)(?=\r\n)" % ID.encode(),
    re.IGNORECASE,
)


def is_whole(data: bytes) -> bool:
    """Whether some bytes are one GET request, head and all, and nothing more."""
    return (
        data.startswith(b"GET ")
        and data.endswith(_END)
        and data.find(_END) == len(data) - len(_END)
        and data.count(b"\n") == data.count(b"\r\n")
    )


def apart(data: bytes) -> tuple[bytes, str | None]:
    """A request without the fields that are of it alone, and the id that it gave itself, if any.

    Those fields are the id, where it can be used, and W3C's trace context.
    """
    if _OF_ONE.search(data) is None:
        return data, None
    ids = [found.decode() for found in _OF_ONE.findall(data) if found]
    return _OF_ONE.sub(b"", data), ids[0] if ids else None


def has_id(data: bytes) -> bool:
    """Whether a request gives itself an id, be it one that cannot be used."""
    return _ID in data.lower()
