"""Clients of one archive as the tests of adapters make them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from gateway.adapters.archive_dicomweb import DicomwebArchive
from gateway.adapters.http_client import ArchiveClient, Limits
from gateway.adapters.telemetry import Telemetry
from gateway.config import DicomwebArchive as Section
from gateway.config_servers import Auth, NoAuth
from gateway.model import Origin
from tests.fault_archive import Answer, Seen, json_answer

_NONE = NoAuth()

Made = Callable[..., DicomwebArchive]


def client(auth: Auth = _NONE, **changes: Any) -> ArchiveClient:
    """A client of the archive `north`; close it."""
    limits: dict[str, Any] = {
        "max_concurrency": 8,
        "queue_seconds": 5,
        "connect_timeout_seconds": 2,
        "timeout_seconds": 5,
        "max_json_bytes": 16 << 20,
    }
    return ArchiveClient("north", auth, Limits(**(limits | changes)), Telemetry())


def archive(
    base: str,
    wado_uri: str | None = None,
    *,
    instance_level: Literal["search", "metadata"] = "search",
    study_level: Literal["search", "series"] = "search",
    **changes: Any,
) -> DicomwebArchive:
    """The archive `north` at `base`; close it."""
    section = Section(
        type="dicomweb",
        qido_rs=base,
        wado_uri=wado_uri,
        instance_level=instance_level,
        study_level=study_level,
    )
    return DicomwebArchive(Origin(archive="north"), section, client(**changes))


def paged(
    rows: Sequence[dict[str, Any]],
    *,
    cap: int | None = None,
    ignores: Sequence[str] = (),
    warns: bool = False,
) -> Callable[[Seen], Answer]:
    """Answers a search like an archive that gives at most `cap` rows and ignores parameters.

    `warns`: it says how many are left over (PS3.18 §8.3.4.4).
    """

    def answer(seen: Seen) -> Answer:
        asked = parse_qs(urlsplit(seen.path).query)
        offset = 0 if "offset" in ignores else int(asked.get("offset", ["0"])[0])
        limit = None if "limit" in ignores else int(asked.get("limit", ["0"])[0]) or None
        most = min(n for n in (limit, cap, len(rows)) if n is not None)
        left = len(rows) - offset - most if warns else 0
        said = f'299 dicom: "There are {left} additional results that can be requested"'
        headers = {"Warning": said} if left > 0 else {}
        return json_answer(list(rows[offset : offset + most]), headers=headers)

    return answer
