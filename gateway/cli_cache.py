"""`gateway cache`: what the shared cache holds, and how it is emptied."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import orjson
import typer
from rich.console import Console

from gateway.adapters.cache_names import Group, Names
from gateway.adapters.telemetry import configure_log
from gateway.cli_ground import (
    CODES,
    FAILED,
    MISTAKEN,
    ConfigOption,
    JsonOption,
    fail,
    print_line,
    settings_in,
)
from gateway.config import Settings
from gateway.errors import BadRequest, GatewayError
from gateway.rules import dicom_json as dj

if TYPE_CHECKING:
    from gateway.adapters.cache_admin import CacheAdmin, Stats

_T = TypeVar("_T")
_NOT_SHARED = "cache.redis_url is not set: what a gateway remembers is in its own process. "
_FOREIGN = "have another cache.seal_key, or none"
cache = typer.Typer(
    help="What is remembered of the archives.", no_args_is_help=True, rich_markup_mode=None
)


@cache.command(epilog=f"Example: gateway cache stats --json. {CODES}")
def stats(config: ConfigOption = Path("gateway.yaml"), as_json: JsonOption = False) -> None:
    """Tell how much the shared cache and the processes that use it hold."""
    settings = settings_in(config, {})
    metrics = f"`curl {_address(settings)}/metrics` tells of it: gateway_cache_memory_bytes, reads"
    found = _done(settings, lambda admin: admin.stats(), instead=metrics)
    if as_json:
        typer.echo(orjson.dumps(asdict(found), option=orjson.OPT_INDENT_2))
        return
    console = Console()
    for line in _as_text(found):
        print_line(console, line)


@cache.command(epilog=f"Example: gateway cache purge --archive north. {CODES}")
def purge(
    study: Annotated[str | None, typer.Argument(help="StudyInstanceUID.")] = None,
    archive: Annotated[str | None, typer.Option(help="Id of an archive.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All there is.")] = False,
    config: ConfigOption = Path("gateway.yaml"),
    as_json: JsonOption = False,
) -> None:
    """Forget a study, what came from an archive, or all; at once, in every process.

    What was forgotten is not read any more, and leaves Redis as it expires.
    """
    if [study is not None, archive is not None, everything].count(True) != 1:
        fail("name either a study, or --archive, or --all", MISTAKEN)
    settings = settings_in(config, {})
    if archive is not None and archive not in settings.archives:
        fail(f"no archive {archive} in {config}", MISTAKEN)
    try:
        group = Group(study_uid=study and dj.uid(study, "STUDY"), archive=archive)
    except BadRequest as error:
        fail(str(error), MISTAKEN)
    found = _done(settings, lambda admin: admin.purge(group), instead=_other_way(settings, group))
    if as_json:
        typer.echo(orjson.dumps({**asdict(group), "all": everything, **asdict(found)}))
    elif found.processes or not found.foreign_processes:
        print_line(Console(), f"Forgotten. {found.processes} running processes heard of it.")
    if found.foreign_processes:
        told = f"{found.foreign_processes} running processes {_FOREIGN}, and have forgotten nothing"
        if not found.processes:
            fail(told, FAILED)
        typer.echo(told, err=True)


def _address(settings: Settings) -> str:
    """Where the gateway of this configuration is on its own machine."""
    host = settings.server.host
    return f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{settings.server.port}"  # noqa: S104 - compared


def _other_way(settings: Settings, group: Group) -> str:
    """How a gateway that shares nothing is made to forget."""
    if group.study_uid is None or settings.server.workers > 1:
        return "Restart it, and it has forgotten all"
    key = "" if settings.auth.mode == "open" else " -H 'X-API-Key: …'"
    url = f"{_address(settings)}/hooks/studies/{group.study_uid}"
    return f"`curl -X POST{key} {url}` makes it forget the study"


def _done(settings: Settings, ask: Callable[[CacheAdmin], Awaitable[_T]], *, instead: str) -> _T:
    """What `ask` gives; else the end of the command, and what to do `instead`."""
    section = settings.cache
    if section.redis_url is None:
        fail(_NOT_SHARED + instead, FAILED)
    from gateway.adapters.cache_admin import CacheAdmin

    configure_log(sys.stderr)

    async def run(url: str) -> _T:
        admin = CacheAdmin(
            url,
            names=Names(section.secret, section.key_prefix),
            secret=section.secret,
            longest_seconds=max(section.fresh_seconds, section.stale_seconds),
        )
        try:
            return await ask(admin)
        finally:
            await admin.close()

    try:
        return asyncio.run(run(section.redis_url.get_secret_value()))
    except GatewayError as error:
        fail(str(error), FAILED)


def _as_text(found: Stats) -> list[str]:
    about = "about " if found.is_estimated else ""
    used = "unknown" if found.redis_used_bytes is None else _size(found.redis_used_bytes)
    most = "" if found.redis_max_bytes is None else f" of {_size(found.redis_max_bytes)}"
    lines = [
        f"In Redis: {found.values} values, {found.remembered} remembered times, "
        f"{found.marks} marks, {found.locks} loads under way; {about}{_size(found.bytes)}",
        f"Redis uses {used}{most}; {found.redis_evicted_keys or 0} keys evicted since its start",
    ]
    for number, one in enumerate(found.processes, 1):
        reads = ", ".join(f"{name} {count}" for name, count in sorted(one.reads.items()))
        lines.append(f"Process {number}: {one.entries} entries, {_size(one.bytes)}; {reads}")
    if found.foreign or found.foreign_processes:
        lines.append(
            f"{found.foreign} keys more, and {found.foreign_processes} processes {_FOREIGN}"
        )
    return lines if found.processes else [*lines, "No running process uses it."]


def _size(number: int) -> str:
    return f"{number / (1 << 20):.1f} MiB"
