"""Bodies on their way out: parts, JSON and XML written as they come, never a whole one held."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import replace

from aiohttp import web

from gateway.http_codings import Packer
from gateway.http_server import warnings_of
from gateway.model import Part
from gateway.rules import byte_ranges, dicom_xml, media
from gateway.rules.dicom_json import Dataset
from gateway.rules.media import Form

WRITE_STALL_SECONDS = 30
"""How long a caller may let one chunk wait; then the connection is cut."""
_XML_PIECE_CHARACTERS = 1 << 16


class ShortBody(Exception):
    """A body is not as long as was announced; nothing may follow it on its connection."""


async def stream_parts(
    request: web.Request,
    parts: AsyncIterator[Part],
    form: Form,
    *,
    silent: tuple[str, ...] = (),
    is_subset: bool = False,
) -> web.StreamResponse:
    """Parts as multipart/related, or the only one as it is.

    206 where archives are silent, or where the only one is a range of bytes.
    """
    first = await _begun(await anext(parts))
    response = web.StreamResponse(status=206 if silent or first.span else 200)
    for warning in warnings_of(silent, is_subset=is_subset):
        response.headers.add("Warning", warning)
    if form.is_multipart:
        await _stream_multipart(request, response, first, parts)
        return response
    response.headers["Content-Type"] = first.content_type
    response.headers["Content-Disposition"] = "attachment"
    if first.span is not None:
        response.headers["Content-Range"] = byte_ranges.content_range(first.span)
    if first.takes_ranges:
        response.headers["Accept-Ranges"] = "bytes"
    if first.length is not None:
        response.content_length = first.length
    await response.prepare(request)
    if request.method != "HEAD":
        await _write_all(response, first)
        await response.write_eof()
    return response


async def _begun(part: Part) -> Part:
    """`part` with its first chunk at hand: what fails until then can still be told by a status."""
    first = await anext(part.chunks, None)
    return replace(part, chunks=_with_first(first, part.chunks))


async def _with_first(first: bytes | None, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if first is not None:
        yield first
        async for chunk in rest:
            yield chunk


async def _stream_multipart(
    request: web.Request,
    response: web.StreamResponse,
    first: Part,
    rest: AsyncIterator[Part],
) -> None:
    """PS3.18 §8.6.1.2.1. The closing delimiter is written only when every part came whole."""
    boundary = secrets.token_hex(16)
    kind = first.content_type.split(";")[0].strip()
    response.headers["Content-Type"] = f'multipart/related; type="{kind}"; boundary={boundary}'
    await response.prepare(request)
    if request.method == "HEAD":
        return
    part: Part | None = first
    while part is not None:
        size = "" if part.length is None else f"Content-Length: {part.length}\r\n"
        head = f"--{boundary}\r\nContent-Type: {part.content_type}\r\n{size}\r\n"
        await _write(response, head.encode("latin-1"))
        await _write_all(response, part)
        await _write(response, b"\r\n")
        part = await anext(rest, None)
    await _write(response, f"--{boundary}--\r\n".encode())
    await response.write_eof()


async def stream_json_array(
    request: web.Request,
    batches: AsyncIterator[Iterable[bytes]],
    content_type: str,
    *,
    silent: tuple[str, ...] = (),
    is_subset: bool = False,
) -> web.StreamResponse:
    """Batches of JSON objects as one array, written as they come."""
    response = web.StreamResponse(status=206 if silent else 200)
    response.headers["Content-Type"] = content_type
    for warning in warnings_of(silent, is_subset=is_subset):
        response.headers.add("Warning", warning)
    packer = Packer(request)
    packer.announce(response)
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    separator = b"["
    async for batch in batches:
        for item in batch:
            await _write(response, await packer.packed(separator + item))
            await asyncio.sleep(0)  # writing alone need not let others have their turn
            separator = b","
    end = await packer.packed(b"[]" if separator == b"[" else b"]")
    await _write(response, end + packer.rest())
    await response.write_eof()
    return response


async def stream_xml(
    request: web.Request,
    batches: AsyncIterator[Iterable[Dataset]],
    form: Form,
    *,
    silent: tuple[str, ...] = (),
    is_subset: bool = False,
    warnings: Sequence[str] = (),
) -> web.StreamResponse:
    """Each data set as an XML document of its own (PS3.18 §8.7.3.2), written as they come.

    In multipart/related, or, of an only one, as it is.
    """
    boundary = secrets.token_hex(16)
    response = web.StreamResponse(status=206 if silent else 200)
    response.headers["Content-Type"] = (
        f'multipart/related; type="{media.DICOM_XML}"; boundary={boundary}'
        if form.is_multipart
        else media.DICOM_XML
    )
    for warning in (*warnings_of(silent, is_subset=is_subset), *warnings):
        response.headers.add("Warning", warning)
    packer = Packer(request)
    packer.announce(response)
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    async for batch in batches:
        for dataset in batch:
            for piece in _xml_pieces(dataset, boundary if form.is_multipart else None):
                await _write(response, await packer.packed(piece))
                await asyncio.sleep(0)  # writing alone need not let others have their turn
    end = f"--{boundary}--\r\n".encode() if form.is_multipart else b""
    await _write(response, await packer.packed(end) + packer.rest())
    await response.write_eof()
    return response


def _xml_pieces(dataset: Dataset, boundary: str | None) -> Iterator[bytes]:
    """The document of a data set in pieces of some size; a part of its own with a `boundary`."""
    head = f"--{boundary}\r\nContent-Type: {media.DICOM_XML}\r\n\r\n" if boundary else ""
    pieces, characters = [head], 0
    for piece in dicom_xml.document(dataset):
        pieces.append(piece)
        characters += len(piece)
        if characters >= _XML_PIECE_CHARACTERS:
            yield "".join(pieces).encode()
            pieces, characters = [], 0
    yield "".join([*pieces, "\r\n" if boundary else ""]).encode()


async def _write_all(response: web.StreamResponse, part: Part) -> None:
    """The body of a part; ShortBody unless it is as long as was announced."""
    size = 0
    async for chunk in part.chunks:
        size += len(chunk)
        await _write(response, chunk)
    if part.length is not None and size != part.length:
        raise ShortBody(f"{size} bytes of {part.length}")


async def _write(response: web.StreamResponse, chunk: bytes) -> None:
    """One chunk out; a caller who does not read for too long is let go."""
    if chunk:  # of nothing, HTTP/1.1 makes the end of a body
        async with asyncio.timeout(WRITE_STALL_SECONDS):
            await response.write(chunk)
