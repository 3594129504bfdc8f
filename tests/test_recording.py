"""What goes into the audit trail: each denial once, and of a flood of strangers little."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B.auditevent import AuditEvent

from gateway.adapters.audit import Audit
from gateway.adapters.audit_spool import Spool
from gateway.disclosures import Disclosures
from gateway.model import Identifier
from gateway.recording import MOST_ADDRESSES, REFUSED_SECONDS, Recorder
from gateway.rules import rights
from gateway.rules.audit_event import Access
from tests.assembled import Clock

ALICE = Identifier(value="A", system="urn:oid:1.2.3")
SEARCH = rights.needed("/dicom-web/studies")


def access(address: str = "10.0.0.7", **more: Any) -> Access:
    return Access(
        recorded="2026-01-02T03:04:05.678Z",
        request_id="abcdefgh",
        consumer=None,
        user=None,
        address=address,
        server="https://gw.example.org",
        asked="/dicom-web/studies/1.2?" + "x" * 10_000,
        is_query=False,
        **more,
    )


class Recorded:
    """A recorder with its clock; what it recorded is read from disk."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.folder = folder
        self.trail = Audit(Spool(folder, 1 << 24))
        self.recorder = Recorder(self.trail, self.clock)

    async def events(self) -> list[dict[str, Any]]:
        await self.trail._flush()
        lines = [
            x for p in sorted(self.folder.glob("*.ndjson")) for x in p.read_bytes().splitlines()
        ]
        for line in lines:
            AuditEvent.model_validate(json.loads(line))
        return [json.loads(line) for line in lines]


@pytest.fixture
async def recorded(tmp_path: Path) -> AsyncIterator[Recorded]:
    made = Recorded(tmp_path / "spool")
    yield made
    await made.trail.close()


def counted(event: dict[str, Any]) -> int | None:
    details = [d for e in event["entity"] for d in e.get("detail", ())]
    return int(details[0]["valueString"]) if details else None


async def test_the_first_refusal_is_told_and_the_next_are_counted(recorded: Recorded) -> None:
    for _ in range(1000):
        recorded.recorder.refused(access(refused_for="there are no credentials"))
    (first,) = await recorded.events()
    assert (first["outcome"], first["outcomeDesc"]) == ("4", "there are no credentials")
    assert first["type"]["code"] == "110114"
    assert first["agent"][0]["network"]["address"] == "10.0.0.7"
    assert len(json.dumps(first)) < 3000
    recorded.clock.now += REFUSED_SECONDS
    _, more = await recorded.events()
    assert counted(more) == 999
    recorded.recorder.refused(access())
    recorded.clock.now += REFUSED_SECONDS
    assert [counted(e) for e in await recorded.events()] == [None, 999, 1]
    recorded.clock.now += REFUSED_SECONDS
    assert len(await recorded.events()) == 3
    recorded.recorder.refused(access())
    assert [counted(e) for e in await recorded.events()] == [None, 999, 1, None]


async def test_a_flood_from_everywhere_stays_small(recorded: Recorded) -> None:
    for n in range(5000):
        recorded.recorder.refused(access(f"10.1.{n // 250}.{n % 250}"))
        recorded.recorder.refused(access(f"2001:db8::{n:x}"))
    found = await recorded.events()
    assert len(found) == MOST_ADDRESSES + 1
    recorded.clock.now += REFUSED_SECONDS
    last = (await recorded.events())[MOST_ADDRESSES + 1 :]
    assert sum(counted(e) or 0 for e in last) == 10_000 - MOST_ADDRESSES - 1


async def test_what_was_counted_is_told_at_the_end(recorded: Recorded) -> None:
    for _ in range(3):
        recorded.recorder.refused(access())
    await recorded.recorder.close()
    assert [counted(e) for e in await recorded.events()] == [None, 2]


def noted(**of: Any) -> Disclosures:
    return Disclosures(**of)


@pytest.mark.parametrize(
    ("status", "of", "outcomes"),
    [
        (200, {"shown": {"1.2": ALICE}}, ["0"]),
        (200, {"shown": {"1.2": ALICE}, "denied": {"1.2": ALICE}}, ["0"]),
        (200, {"shown": {"1.2": ALICE}, "denied": {"1.3": ALICE}}, ["0", "4"]),
        (200, {"denied": {"1.3": ALICE}}, ["4"]),
        (204, {}, ["0"]),
        (404, {}, []),
        (404, {"denied": {"1.2": ALICE}}, ["4"]),
        (404, {"shown": {"1.2": ALICE}, "denied": {"1.2": ALICE}}, ["4"]),
        (403, {"shown": {"1.2": ALICE}}, ["4"]),
        (403, {}, ["4"]),
        (503, {"denied": {"1.2": ALICE}}, []),
    ],
)
async def test_disclosures_and_denials_are_told_once(
    recorded: Recorded, status: int, of: dict[str, Any], outcomes: list[str]
) -> None:
    recorded.recorder.answered(access(), SEARCH, status, noted(**of))
    assert [e["outcome"] for e in await recorded.events()] == outcomes


async def test_what_tells_of_no_study_is_not_recorded(recorded: Recorded) -> None:
    for route, status in (("/metrics", 200), ("/resolve", 200), ("/metrics", 403)):
        recorded.recorder.answered(access(), rights.needed(route), status, noted())
    recorded.recorder.answered(access(), None, 404, noted())
    assert [e["outcome"] for e in await recorded.events()] == ["4"]
