"""The command line: `gateway serve`, `demo`, `check-config`, `resolve`, and what helps keepers."""

from __future__ import annotations

import asyncio
import enum
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from io import StringIO
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from aiohttp import web
from rich.console import Console
from rich.text import Text
from ruamel.yaml import YAML

from gateway import __version__, cli_cache, cli_warm, serving
from gateway import app as gateway_app
from gateway import demo as demonstration
from gateway.adapters import auth, config_file, config_reference
from gateway.adapters.telemetry import configure_log
from gateway.cli_ground import (
    CODES,
    FAILED,
    MISTAKEN,
    ConfigOption,
    JsonOption,
    fail,
    print_line,
    print_mistakes,
    settings_in,
)
from gateway.config import Settings
from gateway.errors import ConfigurationError, GatewayError, Mistake
from gateway.http_server import CATALOG
from gateway.model import Consumer, Level, Target
from gateway.rules import dicom_json as dj
from gateway.rules import resolution, tokens
from gateway.rules.policy import Verdict

_STARTS = {"serve": "gateway serve --config gateway.yaml", "demo": "gateway demo"}

cli = typer.Typer(
    name="gateway",
    help="One DICOMweb, FHIR and viewer-launch address in front of many image archives.",
    epilog=CODES,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    rich_markup_mode=None,
)
policies = typer.Typer(help="What exists for whom.", no_args_is_help=True, rich_markup_mode=None)
cli.add_typer(policies, name="policy")
cli.add_typer(cli_cache.cache, name="cache")
cli_warm.add_to(cli)
PortOption = Annotated[int | None, typer.Option(min=0, max=65535, help="TCP port to bind.")]


class Format(enum.StrEnum):
    """How mistakes are printed."""

    HUMAN = "human"
    JSON = "json"


def main() -> None:
    """The entry point of the `gateway` command."""
    cli()


def _show_version(is_asked: bool) -> None:  # noqa: FBT001 - typer calls it so
    if is_asked:
        typer.echo(f"gateway {__version__}")
        raise typer.Exit


@cli.callback()
def _gateway(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """One DICOMweb, FHIR and viewer-launch address in front of many image archives."""


@cli.command(epilog=f"Example: {_STARTS['serve']} --port 8080. {CODES}")
def serve(
    config: ConfigOption = Path("gateway.yaml"),
    host: Annotated[str | None, typer.Option(help="Address to bind.")] = None,
    port: PortOption = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes to run.")] = None,
) -> None:
    """Serve the archives of a configuration until told to stop."""
    flags = {"HOST": host, "PORT": port, "WORKERS": workers}
    settings = settings_in(config, {k: str(v) for k, v in flags.items() if v is not None})
    _run(settings, lambda: _tell_what_is_served(settings))


@cli.command(epilog=f"Example: gateway demo --port 9000. {CODES}")
def demo(
    port: PortOption = 8080,
    folder: Annotated[
        Path, typer.Option(help="Where the sample files are made; kept for the next time.")
    ] = Path(".demo"),
) -> None:
    """Serve invented patients made of real DICOM files: no archive, no Redis, no internet."""
    console = Console(stderr=True)
    built = folder / f"built-{__version__}"
    settings = demonstration.settings((folder / "dicom").absolute(), port or 8080)
    try:
        if not built.exists():
            with console.status("Making the sample files"):
                demonstration.build(folder / "dicom")
            built.touch()
        (folder / "gateway.yaml").write_text(_as_yaml(settings))
    except OSError as error:
        fail(f"cannot make the sample files in {folder}: {os.strerror(error.errno or 0)}", FAILED)

    def tell() -> None:
        _print_urls("The demonstration is ready; Ctrl-C ends it.", demonstration.urls(settings))

    _run(settings, tell)


@cli.command("check-config", epilog=f"Example: gateway check-config gateway.yaml. {CODES}")
def check_config(
    file: Annotated[Path, typer.Argument(help="The configuration file.")],
    output: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.HUMAN,
) -> None:
    """Tell every mistake in a configuration at once, each with its place and remedy."""
    try:
        _, found = config_file.load(file, os.environ)
    except ConfigurationError as error:
        found = error.mistakes
    errors = sum(not mistake.is_warning for mistake in found)
    if output is Format.JSON:
        typer.echo(_mistakes_as_json(file, found))
    else:
        print_mistakes(Console(), file, found)
        warnings = len(found) - errors
        print_line(Console(), f"{_counted(errors, 'error')}, {_counted(warnings, 'warning')}")
    raise typer.Exit(MISTAKEN if errors else 0)


@cli.command("config-reference", hidden=True)
def print_config_reference() -> None:
    """Print the reference page of the configuration, as it is kept in docs/configuration.md."""
    typer.echo(config_reference.markdown(), nl=False)


@cli.command(epilog=f"Example: gateway resolve 1.2.840.1 --type dicom-wado-rs. {CODES}")
def resolve(
    study: Annotated[str, typer.Argument(help="StudyInstanceUID.")],
    series: Annotated[str | None, typer.Option(help="SeriesInstanceUID.")] = None,
    instance: Annotated[str | None, typer.Option(help="SOPInstanceUID; needs --series.")] = None,
    connection_type: Annotated[
        list[str] | None,
        typer.Option("--type", help="Connection type, such as dicom-wado-rs; repeatable."),
    ] = None,
    config: ConfigOption = Path("gateway.yaml"),
    as_json: JsonOption = False,
) -> None:
    """Tell which endpoint serves a study, its series or an instance, at which URL, and why."""
    if instance is not None and series is None:
        fail("--instance needs --series", MISTAKEN)
    settings = settings_in(config, {})
    configure_log(sys.stderr)
    try:
        target = Target(
            study_uid=dj.uid(study, "STUDY"),
            series_uid=None if series is None else dj.uid(series, "--series"),
            instance_uid=None if instance is None else dj.uid(instance, "--instance"),
        )
        answer = asyncio.run(_resolved(settings, target, connection_type or ()))
    except GatewayError as error:
        fail(str(error), MISTAKEN if error.status == 400 else FAILED)
    if as_json:
        typer.echo(orjson.dumps(answer, option=orjson.OPT_INDENT_2))
    else:
        _print_targets(answer)


@policies.command(epilog=f"Example: gateway policy explain metro-hie 1.2.840.1. {CODES}")
def explain(
    consumer: Annotated[str, typer.Argument(help="Key of `consumers` or `auth.api_keys`.")],
    study: Annotated[str, typer.Argument(help="StudyInstanceUID.")],
    config: ConfigOption = Path("gateway.yaml"),
    as_json: JsonOption = False,
) -> None:
    """Tell which series and instances of a study exist for a consumer, and by which rule."""
    settings = settings_in(config, {})
    configure_log(sys.stderr)
    try:
        who = tokens.listed(consumer, settings)
        uid = dj.uid(study, "STUDY")
        verdicts = asyncio.run(_explained(settings, who, uid))
    except GatewayError as error:
        fail(str(error), MISTAKEN if error.status == 400 else FAILED)
    if as_json:
        told = {"consumer": consumer, "study": uid, "verdicts": [asdict(v) for v in verdicts]}
        typer.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2))
        return
    console = Console()
    for verdict in verdicts:
        named = verdict.instance_uid or verdict.series_uid or uid
        level = "instance" if verdict.instance_uid else "series" if verdict.series_uid else "study"
        exists = ("exists", "green") if verdict.is_visible else ("hidden", "red")
        line = Text.assemble(f"{level:8}  {named}  ", exists, f"  {verdict.why}")
        console.print(line, soft_wrap=True)


async def _explained(settings: Settings, who: Consumer, study_uid: str) -> tuple[Verdict, ...]:
    """What exists of a study for `who`, from the same archives and rules as the server's."""
    runner = web.AppRunner(gateway_app.build_app(settings))
    await runner.setup()
    try:
        return await runner.app[CATALOG].explained(who, study_uid)
    finally:
        await runner.cleanup()


async def _resolved(settings: Settings, target: Target, types: Sequence[str]) -> dict[str, object]:
    """What the server answers at `/resolve`, from the same archives and rules."""
    asked = resolution.question([("type", one) for one in types])
    runner = web.AppRunner(gateway_app.build_app(settings))
    await runner.setup()
    try:
        catalog = runner.app[CATALOG]
        if target.series_uid is None:
            loaded = await catalog.study(auth.OPEN, target.study_uid, Level.SERIES)
        else:
            loaded = await catalog.located(auth.OPEN, target)
    finally:
        await runner.cleanup()
    found = resolution.of_study(settings, loaded, target, asked, datetime.now(UTC), auth.OPEN)
    return resolution.answer(target.study_uid, found, resolution.silence(loaded.silent))


def _run(settings: Settings, started: Callable[[], None]) -> None:
    host, port = settings.server.host, settings.server.port
    try:
        serving.run(settings, started)
    except OSError as error:
        fail(
            f"cannot listen on {host} port {port}: {os.strerror(error.errno or 0)}. "
            "End what uses the port, or choose another with --port.",
            FAILED,
        )


def _as_yaml(settings: Settings) -> str:
    """What differs from the defaults, as a configuration file that other commands can use."""
    out = StringIO()
    YAML().dump(settings.model_dump(mode="json", exclude_defaults=True), out)
    return out.getvalue()


def _tell_what_is_served(settings: Settings) -> None:
    base = settings.server.public_url
    shown = [("Console", f"{base}/"), ("DICOMweb", f"{base}/dicom-web"), ("FHIR", f"{base}/fhir")]
    shown += [(f"Archive {key}", archive.type) for key, archive in settings.archives.items()]
    _print_urls(f"Serving {_counted(len(settings.archives), 'archive')}.", shown)


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _print_urls(title: str, shown: Sequence[tuple[str, str]]) -> None:
    console = Console(stderr=True)
    print_line(console, title)
    width = max(len(name) for name, _ in shown)
    for name, url in shown:
        print_line(console, f"  {name:{width}}  {url}")


def _mistakes_as_json(file: Path, found: Sequence[Mistake]) -> bytes:
    return orjson.dumps(
        {
            "file": str(file),
            "mistakes": [
                {
                    "severity": "warning" if mistake.is_warning else "error",
                    "path": mistake.path,
                    "message": mistake.message,
                    "remedy": mistake.remedy,
                    "line": mistake.line,
                    "column": mistake.column,
                }
                for mistake in found
            ],
        },
        option=orjson.OPT_INDENT_2,
    )


def _print_targets(answer: Mapping[str, object]) -> None:
    """The answer of `/resolve`, a table for each target; URLs whole, so that they can be copied."""
    console = Console()
    targets = answer["targets"]
    for (level, uid), group in groupby(
        targets if isinstance(targets, list) else (),
        key=lambda t: (t["level"], t["instance"] or t["series"] or answer["study"]),
    ):
        console.print(Text.assemble(f"{level} ", (str(uid), "bold")), soft_wrap=True)
        rows = [_target_row(target) for target in group]
        widths = [max(len(row[at]) for row in rows) for at in range(3)]
        for row in rows:
            cells = (f"{cell:{width}}" for cell, width in zip(row, widths, strict=False))
            print_line(console, f"  {'  '.join((*cells, row[3]))}")
    warnings = answer["warnings"]
    for warning in warnings if isinstance(warnings, list) else ():
        print_line(Console(stderr=True), f"warning: {warning}")


def _target_row(target: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """Connection type, endpoint, the level that decided, and the URL or why there is none."""
    endpoint = target["endpoint"]["id"] if target["endpoint"] else "-"
    decided = f"by {target['decided_by']}" if target["decided_by"] else "-"
    url = target["url"] or "; ".join([*target["warnings"], target["why"]][:1])
    return target["connection_type"], endpoint, decided, url
