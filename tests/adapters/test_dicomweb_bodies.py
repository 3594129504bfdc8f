"""What archives send: DICOM JSON good and bad, multipart whole and cut."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.adapters import dicomweb_bodies as bodies
from gateway.errors import ArchiveBadAnswer, ArchiveError, ArchiveUnreachable
from gateway.model import Part, Target
from tests.dicom import part10_file

MULTIPART = 'multipart/related; type="application/dicom"; boundary=cut'
ONE = {"00080018": {"vr": "UI", "Value": ["1.2.3.4.5"]}}
STUDY = Target(study_uid="1.2.3")
FIRST = Target(study_uid="1.2.3", series_uid="1.2.3.4", instance_uid="1.2.3.4.1")


def dataset(study: str = "1.2.3", series: str = "1.2.3.4", instance: str = "1.2.3.4.1") -> bytes:
    uids = {"0020000D": study, "0020000E": series, "00080018": instance}
    return orjson.dumps({tag: {"vr": "UI", "Value": [uid]} for tag, uid in uids.items()})


BAD_JSON = {
    "truncated": b'[{"00080018"',
    "html": b"<!doctype html><title>Login</title>",
    "text": b"OK",
    "number": b"7",
    "string": b'"studies"',
    "NaN": b'[{"00280010": {"vr": "US", "Value": [NaN]}}]',
    "array of numbers": b"[1, 2]",
    "array of arrays": b"[[{}]]",
    "trailing comma": b"[{},]",
    "two values": b"[{}][{}]",
    "latin-1": '[{"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Müller"}]}}]'.encode(
        "latin-1"
    ),
    "utf-16": '[{"a": {}}]'.encode("utf-16"),
    "100,000 deep": b"[" * 100_000 + b"]" * 100_000,
    "deep in an object": b'[{"a":' * 50_000 + b"1" + b"}]" * 50_000,
}


@pytest.mark.parametrize("body", BAD_JSON.values(), ids=BAD_JSON)
def test_rows_that_are_not_dicom_json_are_a_bad_answer(body: bytes) -> None:
    with pytest.raises(ArchiveBadAnswer, match="archive north"):
        bodies.datasets(body, "north")


@pytest.mark.parametrize("body", BAD_JSON.values(), ids=BAD_JSON)
def test_metadata_that_is_not_dicom_json_is_a_bad_answer(body: bytes) -> None:
    with pytest.raises(ArchiveBadAnswer, match="archive north"):
        [bodies.is_of(STUDY, o, "north") for o in bodies.objects(body, "north")]


@pytest.mark.parametrize(
    ("body", "count"),
    [
        (b"", 0),
        (b" \r\n", 0),
        (b"[]", 0),
        (b"\xef\xbb\xbf[]", 0),
        (orjson.dumps([ONE]), 1),
        (orjson.dumps(ONE), 1),
        (b"\xef\xbb\xbf \n" + orjson.dumps(ONE) + b"\n", 1),
        (orjson.dumps([ONE, ONE]), 2),
    ],
)
def test_none_one_and_many_are_understood(body: bytes, count: int) -> None:
    assert bodies.datasets(body, "north") == [ONE] * count
    assert len(bodies.objects(body, "north")) == count


@pytest.mark.parametrize(
    ("raw", "is_mine"),
    [
        (dataset(), True),
        (dataset(study="1.2.9"), False),
        (dataset(series="1.2.9"), False),
        (dataset(instance="1.2.9"), False),
        (dataset(series="../../system"), False),
        (dataset().replace(b"D", b"d").replace(b"E", b"e"), True),
        (dataset(study="1.2.3\x00"), True),
        (b"{}", False),
        (b'{"0020000D": {"vr": "UI"}}', False),
        (b'{"0020000D": {"vr": "UI", "Value": []}}', False),
        (b'{"0020000D": {"vr": "UI", "Value": [null]}}', False),
        (b'{"0020000D": {"vr": "UI", "Value": "1.2.3"}}', False),
    ],
)
def test_metadata_of_another_object_is_told_apart(raw: bytes, is_mine: bool) -> None:  # noqa: FBT001
    [one] = bodies.objects(raw, "north")
    assert bodies.is_of(FIRST, one, "north") is is_mine


async def streamed(body: bytes, size: int = 7) -> AsyncIterator[bytes]:
    for at in range(0, len(body), size):
        yield body[at : at + size]


async def read(parts: AsyncIterator[Part]) -> list[tuple[str, bytes]]:
    return [(p.content_type, b"".join([c async for c in p.chunks])) async for p in parts]


async def parts_of(
    body: bytes, content_type: str = MULTIPART, *, size: int = 7, **more: Any
) -> list[tuple[str, bytes]]:
    given = {"kind": "application/octet-stream", "archive": "north", **more}
    return await read(bodies.parts(content_type, None, streamed(body, size), **given))


def multipart(*contents: bytes, head: bytes = b"Content-Type: image/jls\r\n") -> bytes:
    return b"".join(b"--cut\r\n" + head + b"\r\n" + c + b"\r\n" for c in contents) + b"--cut--\r\n"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (multipart(b"abc", b""), MULTIPART),
        (multipart(b"abc", b"") + b"epilogue --cut", MULTIPART),
        (b"preamble\r\n" + multipart(b"abc", b""), MULTIPART),
        (multipart(b"abc", b"").replace(b"\r\n", b"\n"), MULTIPART),
        (multipart(b"abc", b"")[:-2], MULTIPART),
        (multipart(b"abc", b""), 'multipart/related; boundary="cut"; type=x/y'),
        (multipart(b"abc", b"").replace(b"cut", b"c u,t"), 'multipart/related; boundary="c u,t"'),
        (multipart(b"abc", b""), "Multipart/Mixed;boundary=cut"),
    ],
    ids=["plain", "epilogue", "preamble", "bare LF", "no last line end", "quoted", "odd", "mixed"],
)
async def test_multipart_as_archives_write_it_is_read(body: bytes, content_type: str) -> None:
    for size in (1, 7, 4096):
        found = await parts_of(body, content_type, size=size)
        assert found == [("image/jls", b"abc"), ("image/jls", b"")]


async def test_what_follows_the_end_is_not_waited_for() -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield multipart(b"abc")
        raise AssertionError("read on")

    parts = bodies.parts(MULTIPART, None, endless(), kind="x/y", archive="north")
    assert await read(parts) == [("image/jls", b"abc")]


@given(st.data())
async def test_a_cut_body_never_looks_complete(data: st.DataObject) -> None:
    contents = data.draw(st.lists(st.binary(max_size=40), min_size=1, max_size=4))
    whole = multipart(*contents)
    cut = data.draw(st.integers(min_value=0, max_value=len(whole) - len(b"--\r\n")))
    with pytest.raises(ArchiveUnreachable, match="broke off"):
        await parts_of(whole[:cut], size=data.draw(st.integers(1, 50)))


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=4), st.integers(1, 80))
async def test_bodies_come_through_byte_for_byte(contents: list[bytes], size: int) -> None:
    contents = [c.replace(b"--cut", b"") for c in contents]
    assert [b for _, b in await parts_of(multipart(*contents), size=size)] == contents


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (multipart(b"abc"), "multipart/related"),
        (multipart(b"abc"), "multipart/related; boundary="),
        (b"<html>", "text/html; charset=utf-8"),
        (b"{}", "application/json"),
        (b"--cut\r\n" + b"X: y\r\n" * 100_000, MULTIPART),
        (multipart(b"abc", head=b"Content-Length: 4\r\n"), MULTIPART),
        (multipart(b"abc", head=b"Content-Length: 2\r\n"), MULTIPART),
        (b"", MULTIPART),
        (b"no delimiter at all", MULTIPART),
    ],
    ids=[
        "no boundary",
        "empty boundary",
        "html",
        "json",
        "endless head",
        "shorter than said",
        "longer than said",
        "empty",
        "no delimiter",
    ],
)
async def test_what_is_not_multipart_is_an_archive_error(body: bytes, content_type: str) -> None:
    with pytest.raises(ArchiveError, match="archive north"):
        await parts_of(body, content_type)


async def test_a_single_part_is_a_part() -> None:
    assert await parts_of(b"abc", "image/jpeg") == [("image/jpeg", b"abc")]
    assert await parts_of(b"abc", "") == [("application/octet-stream", b"abc")]


async def test_a_single_part_whose_end_nobody_tells_is_refused() -> None:
    with pytest.raises(ArchiveBadAnswer, match="no end"):
        await parts_of(b"abc", "image/jpeg", has_end=False)


@pytest.mark.parametrize(
    "given",
    [
        b"text/html\x0bX: y",
        b"image/jpeg\x00",
        "image/j\xe9peg".encode("latin-1"),
        b"nonsense",
        b"x/" + b"y" * 300,
    ],
)
async def test_a_media_type_that_could_break_a_header_is_not_passed_on(given: bytes) -> None:
    found = await parts_of(multipart(b"abc", head=b"Content-Type: " + given + b"\r\n"))
    assert found == [("application/octet-stream", b"abc")]


async def test_parts_that_are_not_read_are_passed_over() -> None:
    parts = bodies.parts(
        MULTIPART, None, streamed(multipart(b"a" * 100, b"b")), kind="x/y", archive="north"
    )
    assert [p.content_type async for p in parts] == ["image/jls", "image/jls"]


async def as_parts(contents: Sequence[bytes]) -> AsyncIterator[Part]:
    for content in contents:
        yield Part(content_type="application/octet-stream", chunks=streamed(content, 100))


async def test_instances_are_labelled_by_what_they_are() -> None:
    files = [part10_file("1.2.3.4.1"), part10_file("1.2.3.4.2", "1.2.840.10008.1.2.4.80")]
    found = await read(bodies.instances(as_parts(files), STUDY, "north"))
    assert found == [
        ("application/dicom; transfer-syntax=1.2.840.10008.1.2.1", files[0]),
        ("application/dicom; transfer-syntax=1.2.840.10008.1.2.4.80", files[1]),
    ]


async def test_each_instance_comes_once_and_foreign_ones_not_at_all() -> None:
    files = [part10_file(uid) for uid in ("1.2.3.4.9", "1.2.3.4.1", "1.2.3.4.1", "1.2.3.4.2")]
    found = await read(bodies.instances(as_parts(files), FIRST, "north"))
    assert [content for _, content in found] == [files[1]]


async def test_only_foreign_instances_are_a_bad_answer() -> None:
    with pytest.raises(ArchiveBadAnswer, match="another instance"):
        await read(bodies.instances(as_parts([part10_file("1.2.3.4.9")]), FIRST, "north"))


@pytest.mark.parametrize("content", [b"", b"DICM", b"<html>" * 100, b"\0" * 200])
async def test_what_is_no_dicom_file_is_a_bad_answer(content: bytes) -> None:
    with pytest.raises(ArchiveBadAnswer, match="something else"):
        await read(bodies.instances(as_parts([content]), STUDY, "north"))


@pytest.mark.parametrize(("asked", "sent"), [(2, 1), (1, 2), (3, 2)])
async def test_as_many_frames_come_as_were_asked_for(asked: int, sent: int) -> None:
    target = Target(
        study_uid="1", series_uid="1", instance_uid="1", frames=tuple(range(1, asked + 1))
    )
    with pytest.raises(ArchiveBadAnswer, match="other frames"):
        await read(bodies.frames(as_parts([b"x"] * sent), target, "north"))
