"""Frames by WADO-RS (PS3.18 §10.4) that come at once, and how they are asked for ahead."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from gateway.adapters import dicomweb_bodies as bodies
from gateway.adapters.asked_ahead import Ahead, Asker, Question
from gateway.adapters.http_requests import request
from gateway.at_hand import AtHand
from gateway.errors import ArchiveBadAnswer, GatewayError, NotFound
from gateway.model import Part, Target
from gateway.rules import media
from gateway.rules.multipart import Data, Head, MultipartError, Splitter, only_part

_A_FRAME = Target(study_uid="", frames=(1,))


def path_of(target: Target) -> tuple[str, ...]:
    """The path of a target below the base (PS3.18 Table 10.4.1-1)."""
    path = ["studies", target.study_uid]
    if target.series_uid:
        path += ["series", target.series_uid]
    if target.instance_uid:
        path += ["instances", target.instance_uid]
    if target.frames:
        path += ["frames", ",".join(str(f) for f in target.frames)]
    return tuple(path)


def accept_of(target: Target, transfer_syntax: str) -> str:
    """What frames or instances are asked for as (PS3.18 §8.7.3)."""
    kind = media.OCTET_STREAM if target.frames else media.DICOM
    return f'{media.MULTIPART}; type="{kind}"; transfer-syntax={transfer_syntax}'


def only_at_hand(
    content_type: str, body: bytes, *, kind: str, archive: str, has_end: bool
) -> tuple[str, bytes] | None:
    """The media type and the bytes of the only part of a body that is there already.

    None where several parts are, or may be; errors as of `parts`.
    """
    boundary = bodies.boundary_of(content_type, archive, has_end=has_end)
    if boundary is None:
        return bodies.part_type(content_type, kind), body
    only = only_part(body, boundary)
    if only is None:
        return None
    head, content = only
    return bodies.part_type(head.fields.get("content-type", ""), kind), content


def parts_at_hand(
    content_type: str, body: bytes, *, kind: str, archive: str, has_end: bool
) -> list[Part]:
    """The same as `parts` of a body that is there already."""
    if only := only_at_hand(content_type, body, kind=kind, archive=archive, has_end=has_end):
        return [_held(only[0], [only[1]])]
    boundary = bodies.boundary_of(content_type, archive, has_end=has_end) or ""
    splitter = Splitter(boundary)
    try:
        events = splitter.feed(body)
        events += splitter.finish()
    except MultipartError as error:
        raise bodies.archive_error(error, archive) from error
    found: list[Part] = []
    given, pieces = "", list[bytes]()
    for event in events:
        if isinstance(event, Head):
            given, pieces = event.fields.get("content-type", ""), []
        elif isinstance(event, Data):
            pieces.append(event.chunk)
        else:
            found.append(_held(bodies.part_type(given, kind), pieces))
    return found


def _held(content_type: str, pieces: list[bytes]) -> Part:
    """A part whose body is at hand."""
    length = sum(map(len, pieces))
    return Part(content_type=content_type, chunks=AtHand(pieces), length=length)


def frames_at_hand(found: list[Part], target: Target, archive: str) -> AsyncIterator[Part]:
    """The same where all of them are there already; NotFound where nothing came."""
    if not found:
        raise NotFound("the archive sent nothing")
    if len(found) != len(target.frames):
        raise ArchiveBadAnswer("it sent other frames than asked for", archive=archive)
    return AtHand(found)


class WayToFrames:
    """How one frame after another is asked for, in one transfer syntax."""

    __slots__ = ("_archive", "_asker", "_question")

    def __init__(self, archive: str, base: str, asker: Asker, syntax: str) -> None:
        self._archive = archive
        self._asker = asker
        self._question = Question(request(base, ("studies",)), accept_of(_A_FRAME, syntax))

    def asked(self, path: str, done: Callable[[Ahead], None]) -> Ahead | None:
        """A frame by its path below `studies`; None: something would have to be waited for."""
        return self._asker.ahead(self._question, path, done)

    def frame(self, ahead: Ahead) -> tuple[str, bytes] | None:
        """Its media type and its bytes; None: it has to be looked at in the ordinary way."""
        found = ahead.body()
        if found is None:
            return None
        of, body, has_end = found
        try:
            return only_at_hand(
                of, body, kind=media.OCTET_STREAM, archive=self._archive, has_end=has_end
            )
        except GatewayError:
            return None
