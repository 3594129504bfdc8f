from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.adapters.http_requests import Origin, request


@pytest.mark.parametrize(
    ("base", "origin", "target"),
    [
        ("http://a", Origin(is_tls=False, host="a", port=80, field="a"), "/"),
        ("http://a:8042/web", Origin(is_tls=False, host="a", port=8042, field="a:8042"), "/web"),
        ("HTTPS://A.example:443", Origin(is_tls=True, host="a.example", port=443,
         field="a.example"), "/"),
        ("https://a:80/x", Origin(is_tls=True, host="a", port=80, field="a:80"), "/x"),
        ("http://[::1]:81/", Origin(is_tls=False, host="::1", port=81, field="[::1]:81"), "/"),
        ("http://[::1]", Origin(is_tls=False, host="::1", port=80, field="[::1]"), "/"),
        ("http://bücher.example/ü%20 x", Origin(is_tls=False, host="xn--bcher-kva.example", port=80,
         field="xn--bcher-kva.example"), "/%C3%BC%20%20x"),
    ],
)  # fmt: skip
def test_an_address_is_a_server_and_a_path(base: str, origin: Origin, target: str) -> None:
    assert request(base) == (origin, target)


def test_segments_and_parameters_follow_the_path_of_the_base() -> None:
    made = request("http://a/web", ["studies", "1.2/3", "ü"], [("a b", "1,2 &"), ("c", "")])
    assert made.target == "/web/studies/1.2%2F3/%C3%BC?a%20b=1,2%20%26&c="
    assert request("http://a/studies?limit=%31").target == "/studies?limit=%31"
    assert request("http://a", ["x"]).target == "/x"


@pytest.mark.parametrize("base", ["ftp://a/b", "a/b", "", "http://", "http:///x", "http://a/#b"])
def test_what_is_no_address_of_http_is_refused(base: str) -> None:
    with pytest.raises(ValueError, match="not an address"):
        request(base)


@pytest.mark.parametrize("segment", ["", ".", ".."])
def test_no_segment_leads_out_of_the_base(segment: str) -> None:
    with pytest.raises(ValueError, match="lead out"):
        request("http://a/b", ["c", segment])


_any = st.text(st.characters(exclude_categories=["Cs"]))


@given(_any, st.lists(_any.filter(lambda s: s not in {"", ".", ".."})), st.tuples(_any, _any))
def test_nothing_in_an_address_ends_the_line_of_the_request(
    path: str, segments: list[str], pair: tuple[str, str]
) -> None:
    base = f"http://a/{path.replace('#', '')}"
    head = request(base, segments, [pair]).head({"Accept": "*/*"})
    lines = head.split(b"\r\n")
    assert len(lines) == 6
    assert lines[0].startswith(b"GET /")
    assert lines[0].endswith(b" HTTP/1.1")
    assert lines[0].count(b" ") == 2
    assert lines[0].isascii()
    assert lines[1:3] == [b"Host: a", b"Accept: */*"]
    assert b"\n" not in b"".join(lines)


@pytest.mark.parametrize("value", ["a\r\nX: b", "a\nb", "a\0", "\x7f", "日"])
def test_a_field_that_cannot_be_told_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="Accept"):
        request("http://a").head({"Accept": value})
