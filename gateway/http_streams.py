"""Bodies on their way out: parts, JSON and XML written as they come, never a whole one held."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import replace

from aiohttp import web

from gateway.at_hand import AtHand, everything
from gateway.at_hand import first as first_of
from gateway.http_codings import Packer
from gateway.http_server import warnings_of
from gateway.model import Part
from gateway.outlet import Outlet
from gateway.rules import byte_ranges, dicom_xml, media
from gateway.rules.dicom_json import Dataset
from gateway.rules.media import Form

_SMALL_BYTES = 1 << 16
"""A single part up to this size is not streamed."""
_XML_PIECE_CHARACTERS = 1 << 16


class ShortBody(Exception):
    """A body is not as long as was announced; nothing may follow it on its connection."""


async def stream_parts(
    request: web.Request,
    parts: AsyncIterator[Part],
    form: Form,
    *,
    single: bool = False,
    silent: tuple[str, ...] = (),
    is_subset: bool = False,
) -> web.StreamResponse:
    """Parts as multipart/related, or the only one as it is.

    206 where archives are silent, or where the only one is a range of bytes. `single`: exactly one
    part comes, so that the length of the whole can be told beforehand.
    """
    first = await anext(parts)
    is_small = first.length is not None and first.length <= _SMALL_BYTES
    if single and is_small and not (silent or is_subset):
        return await _whole(first, parts, form)
    first = await _begun(first)
    response = web.StreamResponse(status=206 if silent or first.span else 200)
    for warning in warnings_of(silent, is_subset=is_subset):
        response.headers.add("Warning", warning)
    if form.is_multipart:
        await _stream_multipart(request, response, first, parts, single=single)
        return response
    response.headers.update(_headers_of(first))
    if first.length is not None:
        response.content_length = first.length
    await response.prepare(request)
    if request.method != "HEAD":
        async with Outlet(request, response).watched() as outlet:
            await _write_all(outlet, first)
            await outlet.end()
    return response


async def _whole(part: Part, rest: AsyncIterator[Part], form: Form) -> web.Response:
    """A small single part at once: whatever is wrong with it is told by a status."""
    body = b"".join(await everything(part.chunks))
    if len(body) != part.length or await first_of(rest) is not None:
        raise ShortBody(f"{len(body)} bytes of {part.length}, or another part")
    headers = _headers_of(part)
    if form.is_multipart:
        kind, before, after = framing(part.content_type, part.length, secrets.token_hex(16))
        headers, body = {"Content-Type": kind}, b"".join((before, body, after))
    return web.Response(status=206 if part.span else 200, body=body, headers=headers)


def framing(content_type: str, length: int | None, boundary: str) -> tuple[str, bytes, bytes]:
    """The type of a multipart body, and what is before and behind its only part."""
    head = _part_head(boundary, content_type, length)
    return _multipart_type(content_type, boundary), head, _closing(boundary)


def _headers_of(part: Part) -> dict[str, str]:
    """What the head of an answer says that is a single part."""
    headers = {"Content-Type": part.content_type, "Content-Disposition": "attachment"}
    if part.span is not None:
        headers["Content-Range"] = byte_ranges.content_range(part.span)
    if part.takes_ranges:
        headers["Accept-Ranges"] = "bytes"
    return headers


async def _begun(part: Part) -> Part:
    """`part` with its first chunk at hand: what fails until then can still be told by a status."""
    found = await first_of(part.chunks)
    return replace(part, chunks=AtHand(()) if found is None else found[1])


async def _stream_multipart(
    request: web.Request,
    response: web.StreamResponse,
    first: Part,
    rest: AsyncIterator[Part],
    *,
    single: bool,
) -> None:
    """PS3.18 §8.6.1.2.1. The closing delimiter is written only when every part came whole."""
    boundary = secrets.token_hex(16)
    kind, head, closing = framing(first.content_type, first.length, boundary)
    response.headers["Content-Type"] = kind
    if single and first.length is not None:
        response.content_length = len(head) + first.length + len(closing)
    await response.prepare(request)
    if request.method == "HEAD":
        return
    async with Outlet(request, response).watched() as outlet:
        outlet.hold(head)
        await _write_all(outlet, first)
        async for part in rest:
            if single:
                raise ShortBody("more parts than announced")
            outlet.hold(b"\r\n" + _part_head(boundary, part.content_type, part.length))
            await _write_all(outlet, part)
        outlet.hold(closing)
        await outlet.end()


def _multipart_type(content_type: str, boundary: str) -> str:
    kind = content_type.split(";")[0].strip()
    return f'multipart/related; type="{kind}"; boundary={boundary}'


def _closing(boundary: str) -> bytes:
    return f"\r\n--{boundary}--\r\n".encode()


def _part_head(boundary: str, content_type: str, length: int | None) -> bytes:
    size = "" if length is None else f"Content-Length: {length}\r\n"
    return f"--{boundary}\r\nContent-Type: {content_type}\r\n{size}\r\n".encode("latin-1")


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
    async with Outlet(request, response).watched() as outlet:
        separator = b"["
        async for batch in batches:
            for item in batch:
                await outlet.write(await packer.packed(separator + item))
                await asyncio.sleep(0)  # writing alone need not let others have their turn
                separator = b","
        end = await packer.packed(b"[]" if separator == b"[" else b"]")
        outlet.hold(end + packer.rest())
        await outlet.end()
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
    async with Outlet(request, response).watched() as outlet:
        async for batch in batches:
            for dataset in batch:
                for piece in _xml_pieces(dataset, boundary if form.is_multipart else None):
                    await outlet.write(await packer.packed(piece))
                    await asyncio.sleep(0)  # writing alone need not let others have their turn
        end = f"--{boundary}--\r\n".encode() if form.is_multipart else b""
        outlet.hold(await packer.packed(end) + packer.rest())
        await outlet.end()
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


async def _write_all(outlet: Outlet, part: Part) -> None:
    """The body of a part; ShortBody unless it is as long as was announced."""
    size = 0
    async for chunk in part.chunks:
        size += len(chunk)
        if part.length is not None and size > part.length:
            break  # nothing of it may take the place of what follows the part
        await outlet.write(chunk)
    if part.length is not None and size != part.length:
        raise ShortBody(f"{size} bytes of {part.length}")
