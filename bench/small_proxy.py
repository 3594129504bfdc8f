"""Small proxied answers, frames of 8 KB: the gateway, nginx and node over kept connections.

Run: python -m bench.small_proxy [rounds], or `make bench`. One frame after the other of an instance
is asked for, then the first frame of one instance of a series after the other, each of them once.
Each must cost the archive exactly one request, but for those by which the gateway learns what a
series holds. Then `/rendered`, which the gateway draws itself, and the others pass on as it is in
the archive. One gateway is open to all; one knows its callers, checks a policy and budgets for each
frame, and writes an audit trail; one is open and takes no short ways.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.ground import scroll, study
from bench.ground.load import FRAME, FRAMES, ask, cpu_per_request, get
from bench.ground.scroll import ScrollArchive
from bench.ground.servers import File, NginxProxy, NodePipe, Server
from bench.ground.study import Held
from bench.ground.sums import Result, median, ratio, rounds, rounds_asked, tell
from bench.ground.turns import cpu_in_turns
from tests.gateways import Gateway, archive

ROUNDS = 9
REQUESTS = 3000
PICTURES = 2000
INSTANCE = Held(number=1, size=8192)
ACCEPT = 'multipart/related; type="application/octet-stream"'
KEY = "the-key-of-a-viewer"
REQUEST = get(f"{INSTANCE.path}/frames/{FRAME.decode()}", Accept=ACCEPT, X_Api_Key=KEY)
US, KNOWING, ORDINARY = "gateway", "knowing its callers", "through aiohttp"
NGINX, NODE = "nginx", "node"
OTHERS = (KNOWING, ORDINARY)
LIMITS = {(US, NGINX): (0.2, 0.33), (US, NODE): (1.0, 1.7)}
"""Floors and goals by who is compared with whom; the others are told without."""
WHAT = {
    US: "proxied frame of 8 KB: work per CPU second",
    KNOWING: "proxied frame of 8 KB, access, policy, audit: work per CPU second",
    ORDINARY: "proxied frame of 8 KB, through aiohttp: work per CPU second",
}
SCROLLED = {
    US: "first frames of a series of 500: work per CPU second",
    KNOWING: "first frames of a series of 500, access, policy, audit: work per CPU second",
    ORDINARY: "first frames of a series of 500, through aiohttp: work per CPU second",
}
RENDERED = {
    US: "rendered picture of 8 KB, drawn here: work per CPU second",
}
LEAST_ASKED = 0.9
MOST_BESIDES = 0.1
"""Requests to the archive for each frame, by which the gateway learns what a series holds."""


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


def compared(folder: Path, port: int) -> dict[str, Gateway | Server]:
    """The gateways over the archive at a port, and what they are compared with."""
    return {
        **{name: gateway(folder / name, port, name) for name in WHAT},
        NGINX: NginxProxy(folder / "nginx", port),
        NODE: NodePipe(folder / "node", port),
    }


def of_one_instance(folder: Path, frame: File, count: int) -> list[dict[str, float]]:
    """CPU of a frame, asked for after others of its instance."""
    paths = [f"{INSTANCE.path}/frames/{number}" for number in range(1, FRAMES + 1)]
    upstream = study.archive(folder / "archive", [INSTANCE], dict.fromkeys(paths, frame))
    with ExitStack() as stack:
        stack.enter_context(upstream)
        running = compared(folder, upstream.port)
        for one in running.values():
            stack.enter_context(one)
            ask(one.port, REQUEST, 200)
        done, asked = cpu_in_turns(running, REQUEST, REQUESTS, asked=upstream.asked, count=count)
        if asked != count * REQUESTS * len(running):
            raise SystemExit("not every frame cost the archive exactly one request")
    return done


def of_series(folder: Path, frame: File, count: int) -> list[dict[str, float]]:
    """CPU of the first frame of an instance, asked for after those of others of its series."""
    upstream = ScrollArchive(folder / "archive", count + 1, frame)
    with ExitStack() as stack:
        stack.enter_context(upstream)
        running = compared(folder, upstream.port)
        for one in running.values():
            stack.enter_context(one)
            ask(one.port, scroll.first_frames(0, Accept=ACCEPT, X_Api_Key=KEY), 200)
        asked, besides = upstream.asked(), upstream.asked_besides()
        done = rounds(count, {name: _scrolling(one) for name, one in running.items()})
        frames = count * scroll.INSTANCES * len(running)
        if upstream.asked() - asked != frames:
            raise SystemExit("not every frame cost the archive exactly one request")
        if upstream.asked_besides() - besides > MOST_BESIDES * frames:
            raise SystemExit("the archive was asked for more than it gave")
    return done


def of_pictures(folder: Path, count: int) -> list[dict[str, float]]:
    """CPU of a rendered picture: drawn by the gateway, or passed on as the archive has it."""
    held = [Held(number=number, size=8192) for number in range(1, FRAMES + 1)]
    (folder / "picture").parent.mkdir()
    (folder / "picture").write_bytes(study.picture())
    drawn = File(path=folder / "picture", content_type="image/jpeg")
    rendered = {f"{one.path}/rendered": drawn for one in held}
    upstream = study.archive(folder / "archive", held, rendered)
    path = held[0].path.removesuffix("1") + FRAME.decode()
    request = get(f"{path}/rendered", Accept="image/jpeg")
    with ExitStack() as stack:
        stack.enter_context(upstream)
        running = {n: s for n, s in compared(folder, upstream.port).items() if n not in OTHERS}
        for one in running.values():
            stack.enter_context(one)
            ask(one.port, request, 200)
        done, asked = cpu_in_turns(running, request, PICTURES, asked=upstream.asked, count=count)
        most = count * PICTURES * len(running)
        if not LEAST_ASKED * most <= asked <= most:  # who asks meanwhile is given the same picture
            raise SystemExit("not every picture cost the archive one request")
    return done


def _scrolling(one: Gateway | Server) -> Callable[[], float]:
    """Scrolls through another study each time."""
    turn = iter(range(1, sys.maxsize))

    def scrolled() -> float:
        request = scroll.first_frames(next(turn), Accept=ACCEPT, X_Api_Key=KEY)
        return cpu_per_request(one.pid, one.port, request, scroll.INSTANCES)

    return scrolled


def main() -> None:
    """Prints the figures."""
    count = rounds_asked(ROUNDS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        frame = study.multipart_file(
            folder / "frame", study.noise(8192), "application/octet-stream"
        )
        done = of_one_instance(folder / "one", frame, count)
        report("a frame of 8 KB", done, WHAT)
        done = of_series(folder / "series", frame, count)
        report("the first frame of an instance", done, SCROLLED)
        done = of_pictures(folder / "pictures", count)
        report("a rendered picture of 8 KB", done, RENDERED)


def report(title: str, done: list[dict[str, float]], whats: Mapping[str, str]) -> None:
    """The figures: work per CPU second is the inverse of CPU per request."""
    shown = ", ".join(f"{name} {median(done, name) * 1e6:.0f}" for name in done[0])
    sys.stdout.write(f"{title}, CPU µs: {shown}\n")
    for us, what in whats.items():
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
