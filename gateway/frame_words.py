"""What follows from the words in which somebody asks for frames, whichever they are."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, replace

import orjson
from aiohttp import web

from gateway.adapters.decisions import Decision
from gateway.adapters.derived import Kept
from gateway.answered_before import blanks, head_of
from gateway.delivery import WayAhead
from gateway.disclosures import Disclosures
from gateway.frame_holders import Held
from gateway.http_server import DECISION, access_of, route_of
from gateway.model import Target
from gateway.recording import told
from gateway.rules import rights
from gateway.rules.audit_event import Access
from gateway.rules.blanks import Blanks
from gateway.rules.media import Form

Account = tuple[str | None, str]
MARK = b"/frames/"
"""Stands in the first line of all who ask for frames."""
_INSTANCE = re.compile(
    rb"GET /dicom-web/studies/([0-9.]{1,64})/series/([0-9.]{1,64})/instances/([0-9.]{1,64})"
)
_NUMBER = re.compile(rb"([1-9][0-9]{0,8}) HTTP/1\.1")
_MARKED = ("id", "at", "date", "from", "asked", "type", "length")


@dataclass(slots=True, kw_only=True, eq=False)
class Known:
    """An instance: who holds it, and what is told of a frame of it."""

    kept: Kept[Held]
    way: WayAhead | None
    events: tuple[Blanks, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Words:
    """All of a request but its first line, and what follows from it."""

    decision: Decision
    account: Account
    form: Form
    head: Blanks
    route: str
    access: Access
    marks: dict[str, str]
    known: dict[bytes, Known]


def named(data: bytes) -> tuple[bytes, int, bytes] | None:
    """What a first line has before MARK, the frame behind it, and all that follows the line.

    None: it asks for something else, or for more than one frame as it is, such as in a query.
    """
    end = data.find(b"\r\n")
    instance, _, last = data[:end].rpartition(MARK)
    number = _NUMBER.fullmatch(last)
    return (instance, int(number[1]), data[end:]) if number is not None and instance else None


def target_of(instance: bytes) -> Target | None:
    """The instance in the beginning of a first line; None: there is none."""
    found = _INSTANCE.fullmatch(instance)
    if found is None:
        return None
    study, series, one = (uid.decode() for uid in found.groups())
    return Target(study_uid=study, series_uid=series, instance_uid=one)


def words_of(request: web.Request, response: web.StreamResponse, form: Form) -> Words:
    """The words of a request that was answered in the ordinary way, in that form."""
    marks = {name: secrets.token_hex(16) for name in _MARKED}
    blank = {
        "Date": marks["date"],
        "X-Request-Id": marks["id"],
        "Content-Type": marks["type"],
        "Content-Length": marks["length"],
    }
    access = access_of(request, marks["at"], marks["id"], marks["from"])
    return Words(
        decision=request[DECISION],
        account=request[DECISION].consumer.account,
        form=form,
        head=blanks(head_of(response, blank), marks),
        route=route_of(request),
        access=replace(access, asked=marks["asked"]),
        marks=marks,
        known={},
    )


def events_of(words: Words, disclosed: Disclosures | None) -> tuple[Blanks, ...]:
    """What the audit trail is told of a frame that was given."""
    if disclosed is None:
        return ()
    events = told(words.access, rights.needed(words.route), 200, disclosed)
    return tuple(blanks(orjson.dumps(event).decode(), words.marks) for event in events)
