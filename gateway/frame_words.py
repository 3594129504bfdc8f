"""What follows from the words in which somebody asks for frames, whichever they are."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import orjson
from aiohttp import web

from gateway.adapters.decisions import Decision
from gateway.adapters.derived import Kept
from gateway.adapters.telemetry import Kind, Telemetry
from gateway.answered_before import blanks, head_of
from gateway.delivery import WayAhead
from gateway.disclosures import Disclosures
from gateway.frame_holders import Held
from gateway.http_server import DECISION, access_of, route_of
from gateway.http_streams import framing
from gateway.model import Target
from gateway.recording import told
from gateway.rules import rights
from gateway.rules.audit_event import Access
from gateway.rules.blanks import Blanks
from gateway.rules.media import Form

Account = tuple[str | None, str]
MARK = b"/frames/"
"""Stands in the first line of all who ask for frames."""
INSTANCES = b"/instances/"
"""Stands before the instance there."""
STUDIES = "/dicom-web/studies"
_BEFORE_STUDY = len(f"GET {STUDIES}")
_UID = rb"([0-9][0-9.]{0,63})"
_INSTANCE = re.compile(rb"GET /dicom-web/studies/%b/series/%b/instances/%b" % (_UID, _UID, _UID))
_NUMBER = re.compile(rb"([1-9][0-9]{0,8}) HTTP/1\.1").fullmatch
_MARKED = ("id", "at", "date", "from", "asked", "type", "length", "boundary", "body")
_ANY_LENGTH = secrets.randbits(60) | 1 << 60
"""Stands where the length of a part belongs."""
_MOST_TYPES = 16


class Known(NamedTuple):
    """An instance: how it is asked for frames, and what is told of each.

    `path`: of a frame below `studies`, but for its number.
    """

    kept: Kept[Held]
    path: str
    way: WayAhead
    events: tuple[Blanks, ...]


class Listed(NamedTuple):
    """The instances of a series: who holds each, and what is told of a frame of it."""

    kept: Kept[Held]
    archives: Mapping[str, tuple[str, ...]]
    events: tuple[Blanks, ...]


class Framed:
    """An answer with a frame of some media type, but for what is different each time."""

    __slots__ = ("_form", "_is_multipart", "_more")

    def __init__(self, head: str, marks: dict[str, str], kind: str, *, is_multipart: bool) -> None:
        """`head`: with marks. What is of one answer alone, such as its length, is marked."""
        before, after = b"", b""
        if is_multipart:
            kind, before, after = framing(kind, _ANY_LENGTH, marks["boundary"])
        length = str(_ANY_LENGTH)
        self._is_multipart = is_multipart
        self._more = len(before) + len(after) - (len(length) if is_multipart else 0)
        text = head.replace(marks["type"], kind).encode()
        marked = {"size": length, **marks} if is_multipart else marks
        whole = b"".join((text, before, marks["body"].encode(), after))
        self._form = Blanks(whole, {n.encode(): m.encode() for n, m in marked.items()})

    def filled(self, values: dict[bytes, bytes], body: bytes) -> tuple[bytes, int]:
        """The whole answer, and how long its body is; `values`: those of `Told`, and a boundary."""
        length, size = self._more + len(body), b"%d" % len(body)
        if self._is_multipart:
            length += len(size)
        values[b"body"], values[b"size"], values[b"length"] = body, size, b"%d" % length
        return self._form.filled(values), length


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Words:
    """All of a request but its first line, and what follows from it.

    `head`: of the answer, with `marks`; `framed`: answers by the media type of their frame. `known`
    by what first lines have before MARK, `series` by what they have before INSTANCES; `ways` to the
    archives that hold something.
    """

    decision: Decision
    account: Account
    form: Form
    head: str
    framed: dict[str, Framed]
    told_as: Kind
    route: str
    access: Access
    marks: dict[str, str]
    known: dict[bytes, Known]
    series: dict[bytes, Listed]
    ways: dict[tuple[str, ...], WayAhead]

    def way(
        self,
        archives: tuple[str, ...],
        made: Callable[[tuple[str, ...], Form], WayAhead | None],
    ) -> WayAhead | None:
        """How archives are asked that hold something; None: they cannot be."""
        found = self.ways.get(archives) or made(archives, self.form)
        if found is not None:
            self.ways[archives] = found
        return found

    def answer(self, kind: str) -> Framed:
        """What an answer is with a frame of that media type."""
        found = self.framed.get(kind)
        if found is None:
            if len(self.framed) >= _MOST_TYPES:
                self.framed.clear()
            found = Framed(self.head, self.marks, kind, is_multipart=self.form.is_multipart)
            self.framed[kind] = found
        return found


def named(data: bytes) -> tuple[bytes, str, bytes] | None:
    """What a first line has before MARK, the frame behind it, and all that follows the line.

    None: it asks for something else, or for more than one frame as it is, such as in a query.
    """
    end = data.find(b"\r\n")
    instance, _, last = data[:end].rpartition(MARK)
    number = _NUMBER(last)
    return (instance, number[1].decode(), data[end:]) if number is not None and instance else None


def target_of(instance: bytes) -> Target | None:
    """The instance in the beginning of a first line; None: there is none."""
    found = _INSTANCE.fullmatch(instance)
    if found is None:
        return None
    study, series, one = (uid.decode() for uid in found.groups())
    return Target(study_uid=study, series_uid=series, instance_uid=one)


def path_of(instance: bytes) -> str:
    """The path of a frame below `studies`, but for its number, by a first line's beginning."""
    return (instance[_BEFORE_STUDY:] + MARK).decode()


def words_of(
    request: web.Request, response: web.StreamResponse, form: Form, telemetry: Telemetry
) -> Words:
    """The words of a request that was answered in the ordinary way, in that form."""
    marks = {name: secrets.token_hex(16) for name in _MARKED}
    blank = {
        "Date": marks["date"],
        "X-Request-Id": marks["id"],
        "Content-Type": marks["type"],
        "Content-Length": marks["length"],
    }
    access = access_of(request, marks["at"], marks["id"], marks["from"])
    route = route_of(request)
    return Words(
        decision=request[DECISION],
        account=request[DECISION].consumer.account,
        form=form,
        head=head_of(response, blank),
        framed={},
        told_as=telemetry.kind(route, "GET", 200),
        route=route,
        access=replace(access, asked=marks["asked"]),
        marks=marks,
        known={},
        series={},
        ways={},
    )


def events_of(words: Words, disclosed: Disclosures | None) -> tuple[Blanks, ...]:
    """What the audit trail is told of a frame that was given."""
    if disclosed is None:
        return ()
    events = told(words.access, rights.needed(words.route), 200, disclosed)
    return tuple(blanks(orjson.dumps(event).decode(), words.marks) for event in events)
