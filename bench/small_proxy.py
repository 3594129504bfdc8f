"""Small proxied answers, frames of 8 KB: the gateway, nginx and node over kept connections.

Run: python -m bench.small_proxy [rounds], or `make bench`. One frame after the other of an instance
is asked for. Each must cost the archive exactly one request: what the gateway knows of the study is
remembered. One gateway is open to all; one knows its callers, checks a policy and budgets for each
frame, and writes an audit trail; one is open and takes no short ways.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.ground import study
from bench.ground.load import FRAME, FRAMES, ask, get
from bench.ground.servers import NginxProxy, NodePipe, Server
from bench.ground.study import Held
from bench.ground.sums import Result, median, ratio, rounds_asked, tell
from bench.ground.turns import cpu_in_turns
from tests.gateways import Gateway, archive

ROUNDS = 9
REQUESTS = 3000
INSTANCE = Held(number=1, size=8192)
ACCEPT = 'multipart/related; type="application/octet-stream"'
KEY = "the-key-of-a-viewer"
REQUEST = get(f"{INSTANCE.path}/frames/{FRAME.decode()}", Accept=ACCEPT, X_Api_Key=KEY)
US, KNOWING, ORDINARY = "gateway", "knowing its callers", "through aiohttp"
NGINX, NODE = "nginx", "node"
LIMITS = {(US, NGINX): (0.2, 0.33), (US, NODE): (1.0, 1.7)}
"""Floors and goals by who is compared with whom; the others are told without."""
WHAT = {
    US: "proxied frame of 8 KB: work per CPU second",
    KNOWING: "proxied frame of 8 KB, access, policy, audit: work per CPU second",
    ORDINARY: "proxied frame of 8 KB, through aiohttp: work per CPU second",
}


def gateway(folder: Path, port: int, name: str) -> Gateway:
    """A gateway over the archive at a port."""
    sections: dict[str, Any] = {"server": {"quick_repeats": name != ORDINARY}}
    if name == KNOWING:
        sections["auth"] = {
            "mode": "required",
            "api_keys": {"viewer": {"key": KEY, "policy": "images"}},
        }
        sections["policies"] = {"images": {"hide": [{"modality": "SR"}]}}
        sections["limits"] = {
            "requests_per_minute": 10**9,
            "archive_requests_per_minute": 10**9,
        }
        sections["audit"] = {"spool": str(folder / "audit"), "max_mb": 10_000}
    many = archive(f"http://127.0.0.1:{port}{study.BASE}", max_concurrency=64)
    return Gateway(folder, {"archive": many}, cache={"fresh_seconds": 3600}, **sections)


def main() -> None:
    """Prints the figures."""
    count = rounds_asked(ROUNDS)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        frame = study.multipart_file(
            folder / "frame", study.noise(8192), "application/octet-stream"
        )
        paths = [f"{INSTANCE.path}/frames/{number}" for number in range(1, FRAMES + 1)]
        upstream = study.archive(folder / "archive", [INSTANCE], dict.fromkeys(paths, frame))
        stack.enter_context(upstream)
        running: dict[str, Gateway | Server] = {
            **{name: gateway(folder / name, upstream.port, name) for name in WHAT},
            NGINX: NginxProxy(folder / "nginx", upstream.port),
            NODE: NodePipe(folder / "node", upstream.port),
        }
        for one in running.values():
            stack.enter_context(one)
            ask(one.port, REQUEST, 200)
        done, asked = cpu_in_turns(running, REQUEST, REQUESTS, asked=upstream.asked, count=count)
        if asked != count * REQUESTS * len(running):
            raise SystemExit("not every frame cost the archive exactly one request")
    report(done)


def report(done: list[dict[str, float]]) -> None:
    """The figures: work per CPU second is the inverse of CPU per request."""
    shown = ", ".join(f"{name} {median(done, name) * 1e6:.0f}" for name in done[0])
    sys.stdout.write(f"a frame of 8 KB, CPU µs: {shown}\n")
    for us, what in WHAT.items():
        for name in (NGINX, NODE):
            floor, goal = LIMITS.get((us, name), (None, None))
            tell(
                Result(
                    what=what,
                    of=name,
                    ratio=ratio(done, name, us),
                    floor=floor,
                    goal=goal,
                    is_more_better=True,
                )
            )


if __name__ == "__main__":
    main()
