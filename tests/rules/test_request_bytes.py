"""Only what is one request, and nothing but that, is told to be one."""

from __future__ import annotations

import pytest

from gateway.rules import request_bytes

GOOD = b"GET /x HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n"
TRACED = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("data", "is_whole"),
    [
        (GOOD, True),
        (GOOD * 2, False),
        (GOOD[:-1], False),
        (GOOD + b"x", False),
        (GOOD + b"traceparent: x\r\n", False),
        (GOOD + b"traceparent: x\r\n\r\n", False),
        (b"\r\n" + GOOD, False),
        (GOOD.replace(b"GET", b"HEAD"), False),
        (GOOD.replace(b"GET", b"get"), False),
        (GOOD.replace(b"\r\nAccept", b"\n\nGET / HTTP/1.1\r\nAccept"), False),
        (b"", False),
    ],
    ids=[
        "good",
        "two",
        "cut",
        "more",
        "field",
        "fields",
        "line",
        "head",
        "lower",
        "bare",
        "nothing",
    ],
)
def test_a_whole_request_is_told_from_all_else(data: bytes, *, is_whole: bool) -> None:
    assert request_bytes.is_whole(data) is is_whole


@pytest.mark.parametrize(
    ("fields", "left", "given"),
    [
        ([], [], None),
        ([b"X-Request-Id: abc-12345"], [], "abc-12345"),
        ([b"x-request-id: abc-12345", b"TraceParent: " + TRACED, b"tracestate: a=1"], [],
         "abc-12345"),
        ([b"X-Request-Id: abc-12345", b"X-Request-Id: def-12345"], [], "abc-12345"),
        ([b"X-Request-Id: no"], [b"X-Request-Id: no"], None),
        ([b"X-Request-Id: no good at all"], [b"X-Request-Id: no good at all"], None),
        ([b"X-Request-Id:abc-12345"], [b"X-Request-Id:abc-12345"], None),
        ([b"traceparent: a\0b"], [b"traceparent: a\0b"], None),
        ([b"tracestate: a\x7f"], [b"tracestate: a\x7f"], None),
        ([b"tracestate: a\tb c"], [], None),
        ([b"X-Other: X-Request-Id: abc-12345"], [b"X-Other: X-Request-Id: abc-12345"], None),
    ],
    ids=["none", "id", "all", "two", "short", "spaces", "tight", "nul", "del", "tab", "quoted"],
)  # fmt: skip
def test_what_is_of_one_request_is_set_apart(
    fields: list[bytes], left: list[bytes], given: str | None
) -> None:
    def request(more: list[bytes]) -> bytes:
        return b"\r\n".join([b"GET /x HTTP/1.1", b"Host: a", *more, b"Accept: */*", b"", b""])

    assert request_bytes.apart(request(fields)) == (request(left), given)
    said = any(field.lower().startswith(b"x-request-id") for field in fields)
    assert request_bytes.has_id(request(fields)) is said
