"""What access, policy and audit cost a cached request.

Run: python -m bench.dress [rounds], or `make bench`. Two gateways over one archive: one that is
open and notes nothing, and one that knows its callers by their keys, applies a policy to what they
see and notes every disclosure in the audit trail. Requests are counted and logged by both: that
cannot be switched off, and is part of what nginx is measured against in `bench/cached.py`.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.ground.load import ask, get
from bench.ground.stub import Held, StubArchive, study_uid
from bench.ground.sums import Result, median, ratio, rounds_asked, tell
from bench.ground.turns import cpu_in_turns
from tests.gateways import Gateway, archive

ROUNDS = 11
REQUESTS = 3000
INSTANCES = 32
KEY = "the-key-of-a-viewer"
BARE, DRESSED = "all switched off", "access, policy, audit"
PATH = f"/fhir/r5/ImagingStudy/{study_uid(0)}"


def dressed(folder: Path) -> dict[str, Any]:
    """The sections of the gateway that knows its callers."""
    return {
        "auth": {"mode": "required", "api_keys": {"viewer": {"key": KEY, "policy": "most"}}},
        "policies": {"most": {"hide": [{"modality": "SR"}]}},
        "audit": {"spool": str(folder / "audit"), "on_full": "drop"},
    }


def main() -> None:
    """Prints the figures."""
    count = rounds_asked(ROUNDS)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        held = Held(studies=1, instances=INSTANCES)
        upstream = stack.enter_context(StubArchive(folder / "archive", held))
        sections, cache = {"archive": archive(upstream.url)}, {"fresh_seconds": 3600}
        running = {
            BARE: Gateway(folder / "bare", sections, cache=cache),
            DRESSED: Gateway(folder / "dressed", sections, cache=cache, **dressed(folder)),
        }
        request = get(PATH, X_Api_Key=KEY)
        for one in running.values():
            stack.enter_context(one)
            ask(one.port, request, 200)
        done, asked = cpu_in_turns(
            running, request, REQUESTS, asked=lambda: upstream.asked().total(), count=count
        )
        if asked:
            raise SystemExit("the archive was asked")
        written = sum(p.stat().st_size for p in (folder / "audit").rglob("*") if p.is_file())
        if written < count * REQUESTS * 100:
            raise SystemExit(f"not every disclosure was noted: {written} bytes")
    shown = ", ".join(f"{name} {median(done, name) * 1e6:.0f}" for name in running)
    sys.stdout.write(f"a cached ImagingStudy, CPU µs: {shown}; {written >> 20} MB of audit trail\n")
    tell(
        Result(
            what=f"cached read with {DRESSED}: CPU",
            of=BARE,
            ratio=ratio(done, DRESSED, BARE),
            floor=1.1,
            goal=1.05,
        )
    )


if __name__ == "__main__":
    main()
