"""Small proxied answers, frames of 8 KB: the gateway, nginx and node over kept connections.

Run: python -m bench.small_proxy [rounds], or `make bench`. Every frame must cost the archive
exactly one request: what the gateway knows of the study is remembered.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench.ground import study
from bench.ground.load import ask, cpu_per_request, get
from bench.ground.servers import NginxProxy, NodePipe, Server
from bench.ground.study import Held
from bench.ground.sums import Result, median, ratio, rounds, rounds_asked, tell
from tests.gateways import Gateway, archive

ROUNDS = 9
REQUESTS = 3000
INSTANCE = Held(number=1, size=8192)
FRAME = f"{INSTANCE.path}/frames/1"
REQUEST = get(FRAME, Accept='multipart/related; type="application/octet-stream"')
US, NGINX, NODE = "gateway", "nginx", "node"


def main() -> None:
    """Prints the figures."""
    count = rounds_asked(ROUNDS)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        frame = study.multipart_file(
            folder / "frame", study.noise(8192), "application/octet-stream"
        )
        upstream = study.archive(folder / "archive", [INSTANCE], {FRAME: frame})
        stack.enter_context(upstream)
        base = f"http://127.0.0.1:{upstream.port}{study.BASE}"
        many = archive(base, max_concurrency=64)
        running: dict[str, Gateway | Server] = {
            US: Gateway(folder / "gateway", {"archive": many}, cache={"fresh_seconds": 3600}),
            NGINX: NginxProxy(folder / "nginx", upstream.port),
            NODE: NodePipe(folder / "node", upstream.port),
        }
        for one in running.values():
            stack.enter_context(one)
            ask(one.port, REQUEST, 200)
        asked = upstream.asked()
        done = rounds(
            count,
            {
                name: partial(cpu_per_request, one.pid, one.port, REQUEST, REQUESTS)
                for name, one in running.items()
            },
        )
        if upstream.asked() - asked != count * REQUESTS * len(running):
            raise SystemExit("not every frame cost the archive exactly one request")
    report(done)


def report(done: list[dict[str, float]]) -> None:
    """The figures: work per CPU second is the inverse of CPU per request."""
    shown = ", ".join(f"{name} {median(done, name) * 1e6:.0f}" for name in (US, NGINX, NODE))
    sys.stdout.write(f"a frame of 8 KB, CPU µs: {shown}\n")
    for name, floor, goal in ((NGINX, 0.2, 0.33), (NODE, 1.0, 1.7)):
        tell(
            Result(
                what="proxied frame of 8 KB: work per CPU second",
                of=name,
                ratio=ratio(done, name, US),
                floor=floor,
                goal=goal,
                is_more_better=True,
            )
        )


if __name__ == "__main__":
    main()
