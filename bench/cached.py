"""Answers that are already there: an ImagingStudy and a thumbnail, against nginx's proxy_cache.

Run: python -m bench.cached [rounds], or `make bench`. nginx caches what the gateway answered, so
that both send the same bytes. The archive must not be asked for anything meanwhile. The gateway
alone checks the caller's token, policy and budgets, and records each disclosure for the audit.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from bench.ground import study
from bench.ground.load import NUMBER, ask, get
from bench.ground.servers import File, FileArchive, NginxCache
from bench.ground.study import Held
from bench.ground.sums import Result, median, ratio, rounds_asked, tell
from bench.ground.turns import cpu_in_turns
from tests.gateways import Gateway, archive

ROUNDS = 7
REQUESTS = 3000
FHIR = f"/fhir/r5/ImagingStudy/{study.STUDY}"
THUMBNAIL = f"{study.BASE}/studies/{study.STUDY}/thumbnail?viewport=256,256"
US, NGINX = "gateway", "nginx, proxy_cache"
ORDINARY = "gateway, through aiohttp"
"""`server.quick_repeats` off: what every answer at hand costs whose request is odd in any way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is asked of a study with how many instances; `floor` and `goal` against nginx."""

    what: str
    instances: int
    request: bytes
    floor: float = 1.6
    goal: float = 2.0


KEY = ec.generate_private_key(ec.SECP256R1())
ISSUER, AUDIENCE = "https://login.example.org", "https://imaging.example.org"
CLAIMS = {"iss": ISSUER, "aud": AUDIENCE, "sub": "someone", "client_id": "viewer"}
NOW = int(time.time())
TOKEN = jwt.encode({**CLAIMS, "iat": NOW, "exp": NOW + 3600}, KEY, "ES256", {"kid": "e"})
asked = partial(get, authorization=f"Bearer {TOKEN}")
SMALL = Case(what="ImagingStudy of 5 KB", instances=32, request=asked(FHIR))
LARGE = Case(
    what="ImagingStudy of 300 KB, gzip",
    instances=1640,
    request=asked(FHIR, accept_encoding="gzip"),
)
PICTURE = Case(
    what="thumbnail of 8 KB", instances=32, request=asked(THUMBNAIL, accept="image/jpeg")
)
TOLD_APART = Case(
    what="ImagingStudy of 5 KB, each request with an id",
    instances=32,
    request=asked(FHIR, x_request_id=f"of-viewer-{NUMBER.decode()}"),
    floor=0.8,
    goal=1.0,
)
CASES = (SMALL, TOLD_APART, PICTURE, LARGE)


def gateway(folder: Path, upstream: FileArchive, *, quick_repeats: bool = True) -> Gateway:
    """A gateway that knows its callers, and believes for an hour what the archive once said."""
    base = f"http://127.0.0.1:{upstream.port}{study.BASE}"
    folder.mkdir(parents=True, exist_ok=True)
    keys = folder / "keys.json"
    key = json.loads(ECAlgorithm.to_jwk(KEY.public_key()))
    keys.write_text(json.dumps({"keys": [{**key, "kid": "e", "use": "sig"}]}))
    issuer = {"issuer": ISSUER, "audience": AUDIENCE, "jwks_file": str(keys), "policy": "images"}
    return Gateway(
        folder,
        {"archive": archive(base)},
        cache={"fresh_seconds": 3600},
        auth={"mode": "required", "issuers": [issuer]},
        policies={"images": {"hide": [{"modality": "SR"}]}},
        limits={"requests_per_minute": 10**9, "archive_requests_per_minute": 10**9},
        server={"quick_repeats": quick_repeats},
        audit={"spool": str(folder / "spool"), "max_mb": 10_000},
    )


def holding(folder: Path, instances: int) -> FileArchive:
    """An archive with a study of so many instances, and a thumbnail of the middle one."""
    held = [Held(number=n, size=0) for n in range(1, instances + 1)]
    picture = folder / "thumbnail.jpg"
    picture.parent.mkdir(parents=True, exist_ok=True)
    picture.write_bytes(study.picture())
    path = f"{held[len(held) // 2].path}/thumbnail"
    return study.archive(
        folder / "archive", held, {path: File(path=picture, content_type="image/jpeg")}
    )


def main() -> None:
    """Prints the figures."""
    count = rounds_asked(ROUNDS)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        done: dict[str, list[dict[str, float]]] = {}
        for instances in (SMALL.instances, LARGE.instances):
            place = folder / str(instances)
            upstream = holding(place, instances)
            stack.enter_context(upstream)
            one = gateway(place / "gateway", upstream)
            stack.enter_context(one)
            other = gateway(place / "ordinary", upstream, quick_repeats=False)
            stack.enter_context(other)
            cache = NginxCache(place / "cache", one.port)
            stack.enter_context(cache)
            for case in CASES:
                if case.instances == instances:
                    done[case.what] = measured(
                        case, count, upstream, {US: one, ORDINARY: other, NGINX: cache}
                    )
    report(done)


def measured(
    case: Case, count: int, upstream: FileArchive, running: Mapping[str, Gateway | NginxCache]
) -> list[dict[str, float]]:
    """CPU of a request, round by round."""
    for one in running.values():
        ask(one.port, case.request, 100)
    replies = {name: ask(one.port, case.request) for name, one in running.items()}
    if replies[US].body != replies[NGINX].body or b"X-Cache: HIT" not in replies[NGINX].head:
        raise SystemExit(f"{case.what}: nginx does not answer from its cache, or otherwise")
    done, asked = cpu_in_turns(running, case.request, REQUESTS, asked=upstream.asked, count=count)
    if asked:
        raise SystemExit(f"{case.what}: the archive was asked")
    shown = ", ".join(f"{name} {median(done, name) * 1e6:.0f}" for name in running)
    sys.stdout.write(f"{case.what} ({len(replies[US].body)} bytes), CPU µs: {shown}\n")
    return done


def report(done: Mapping[str, list[dict[str, float]]]) -> None:
    """The figures: work per CPU second is the inverse of CPU per request."""
    for case in CASES:
        if case is LARGE:
            continue
        for name, how, floor, goal in (
            (US, "", case.floor, case.goal),
            (ORDINARY, ", through aiohttp", 0.3, 0.45),
        ):
            tell(
                Result(
                    what=f"cached {case.what}{how}: work per CPU second",
                    of=NGINX,
                    ratio=ratio(done[case.what], NGINX, name),
                    floor=floor,
                    goal=goal,
                    is_more_better=True,
                )
            )
    small, large = median(done[SMALL.what], ORDINARY), median(done[LARGE.what], ORDINARY)
    tell(
        Result(
            what=f"cached {LARGE.what}: CPU",
            of=f"that of {SMALL.what}",
            ratio=large / small,
            floor=1.5,
            goal=1.2,
        )
    )


if __name__ == "__main__":
    main()
