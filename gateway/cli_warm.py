"""`gateway warm`: fills the shared cache before anybody asks."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated
from urllib.parse import parse_qsl

import orjson
import typer
from aiohttp import web
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gateway import app as gateway_app
from gateway import warming
from gateway.adapters.cache_names import Names
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
from gateway.http_server import CATALOG, TELEMETRY
from gateway.model import Level
from gateway.rules import qido
from gateway.rules.qido import Query
from gateway.warming import MOST_IN_A_ROW, Pace, State, Tally

_NOT_SHARED = (
    "cache.redis_url is not set: what this command loads would end with it, "
    "since nothing is shared with a running gateway. Set it for both, or search by the gateway: "
    "what it answers it remembers"
)


def warm(
    query: Annotated[str, typer.Argument(help="A search for studies, as after `/studies?`.")],
    config: ConfigOption = Path("gateway.yaml"),
    rate: Annotated[
        float, typer.Option(min=0, help="Studies begun in a second; 0: as many as can be.")
    ] = 0,
    at_once: Annotated[int, typer.Option(min=1, max=64, help="Studies under way at a time.")] = 4,
    resume: Annotated[
        Path | None, typer.Option(help="File that keeps what is done; a later run goes on from it.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Load the records of all studies that a search finds into the shared cache.

    Code 1 also when some could not be loaded, or an archive was silent.
    """
    settings = settings_in(config, {})
    if settings.cache.redis_url is None:
        fail(_NOT_SHARED, FAILED)
    try:
        asked = qido.parse(Level.STUDY, parse_qsl(query, strict_parsing=bool(query)))
        state = State(resume, query)
    except (BadRequest, ValueError) as error:
        fail(str(error), MISTAKEN)
    except OSError as error:
        fail(f"cannot use {resume}: {error.strerror}", FAILED)
    configure_log(sys.stderr)
    with _progress() as progress:
        bar = progress.add_task("studies", total=None)

        def tell(tally: Tally) -> None:
            progress.update(bar, total=tally.found, completed=tally.ended)

        url = settings.cache.redis_url.get_secret_value()
        pace = Pace(per_second=rate, at_once=at_once)
        tally, troubles = _run(settings, url, asked, pace, state, tell)
    _print(tally, troubles, as_json=as_json)
    if not tally.is_whole:
        raise typer.Exit(FAILED)
    state.remove()


def _run(
    settings: Settings,
    url: str,
    query: Query,
    pace: Pace,
    state: State,
    tell: Callable[[Tally], None],
) -> tuple[Tally, int]:
    """What became of it, and how often the shared cache failed; else the end of the command."""
    from gateway.adapters.cache_admin import CacheAdmin

    section = settings.cache

    async def run() -> tuple[Tally, int]:
        admin = CacheAdmin(
            url,
            names=Names(section.secret, section.key_prefix),
            secret=section.secret,
            longest_seconds=section.stale_seconds,
        )
        try:
            await admin.check()
        finally:
            await admin.close()
        runner = web.AppRunner(gateway_app.build_app(settings))
        await runner.setup()
        try:
            tally = await warming.warm(runner.app[CATALOG], query, pace, state, tell)
            return tally, runner.app[TELEMETRY].cache_reads().get("redis error", 0)
        finally:
            await runner.cleanup()

    try:
        return asyncio.run(run())
    except GatewayError as error:
        fail(str(error), MISTAKEN if error.status == 400 else FAILED)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def _print(tally: Tally, troubles: int, *, as_json: bool) -> None:
    if as_json:
        told = asdict(tally) | {"silent": sorted(tally.silent), "cache_troubles": troubles}
        typer.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2))
        return
    console = Console()
    print_line(
        console,
        f"{tally.found} studies found: {tally.loaded} loaded with {tally.instances} instances, "
        f"{tally.skipped} done before, {tally.gone} gone, {tally.partial} loaded in part, "
        f"{tally.failed} not loaded.",
    )
    if tally.silent:
        print_line(console, f"Silent archives: {', '.join(sorted(tally.silent))}.")
    if tally.unkept:
        print_line(
            console,
            f"The shared cache did not take {tally.unkept} studies; it failed {troubles} times.",
        )
    if tally.is_given_up:
        print_line(
            console,
            f"Stopped after {MOST_IN_A_ROW} studies in a row that were not loaded or not taken, "
            f"with {tally.found - tally.ended} left. A later run goes on from here by --resume.",
        )


def add_to(cli: typer.Typer) -> None:
    """Makes it a command of `cli`."""
    example = "gateway warm 'StudyDate=20240101-&ModalitiesInStudy=CT' --rate 5"
    cli.command(epilog=f"Example: {example}. {CODES}")(warm)
