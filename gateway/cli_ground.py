"""What commands share: how settings are read, how people and programs are told."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.text import Text

from gateway.adapters import config_file
from gateway.config import Settings
from gateway.errors import ConfigurationError, Mistake

FAILED = 1
MISTAKEN = 2
CODES = "Exit codes: 0 all went well; 1 it could not be done; 2 wrong usage or configuration."
ConfigOption = Annotated[
    Path, typer.Option("--config", envvar="GATEWAY_CONFIG", help="The configuration file.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def settings_in(file: Path, flags: Mapping[str, str]) -> Settings:
    """The settings in `file`, with `flags` over its server section; else the end, with code 2."""
    environ = os.environ | {f"GATEWAY__SERVER__{name}": value for name, value in flags.items()}
    console = Console(stderr=True)
    try:
        settings, warnings = config_file.load(file, environ)
    except ConfigurationError as error:
        print_mistakes(console, file, error.mistakes)
        raise typer.Exit(MISTAKEN) from error
    print_mistakes(console, file, warnings)
    return settings


def print_mistakes(console: Console, file: Path, found: Sequence[Mistake]) -> None:
    """Each mistake with its place and remedy."""
    for mistake in found:
        place = f"{file}" + (f":{mistake.line}:{mistake.column}" if mistake.line else "")
        kind, style = ("warning", "yellow") if mistake.is_warning else ("error", "red")
        line = Text.assemble(
            f"{place}  ", (kind, style), "  ", (mistake.path, "bold"), f"  {mistake.message}"
        )
        console.print(line, soft_wrap=True)
        print_line(console, f"    {mistake.remedy}")


def print_line(console: Console, text: str) -> None:
    """`text` as it is, not broken into lines."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def fail(message: str, code: int) -> NoReturn:
    """The end of the command with this exit code, and why."""
    print_line(Console(stderr=True), f"error: {message}")
    raise typer.Exit(code)
