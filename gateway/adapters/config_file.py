"""The configuration: a YAML file and the environment, checked as a whole, into `Settings`.

`${NAME}` is replaced from the environment (`$${` stands for `${`), `{file: path}` gives a secret
the content of a file, `GATEWAY__SECTION__KEY` overrides any key. Paths are relative to the file.
Every mistake is found in one go and told with its position and remedy, never with a secret.
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from gateway.adapters import (
    config_checks,
    config_findings,
    config_mistakes,
    config_overrides,
    config_repair,
    config_yaml,
)
from gateway.adapters.config_models import alternatives as types_of
from gateway.adapters.config_models import annotation_at, is_secret
from gateway.adapters.config_yaml import Path, Tree
from gateway.config import Settings
from gateway.errors import ConfigurationError, Mistake

VARIABLE = re.compile(r"\$(\$\{)|\$\{([^}]*)\}")
MAX_SECRET_BYTES = 1 << 16
MAX_PORT = 65535


def load(path: pathlib.Path, environ: Mapping[str, str]) -> tuple[Settings, tuple[Mistake, ...]]:
    """The settings in `path` and `environ`, and warnings; ConfigurationError with all mistakes."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            (
                Mistake(
                    path="(file)",
                    message=f"{path}: {error.strerror}",
                    remedy="Name a configuration file that can be read.",
                ),
            )
        ) from error
    return read(raw, path.parent, environ)


def read(
    raw: bytes, folder: pathlib.Path, environ: Mapping[str, str]
) -> tuple[Settings, tuple[Mistake, ...]]:
    """`load`, of a text whose relative paths start at `folder`."""
    tree = config_yaml.parse(raw)
    if tree.data is None:
        raise ConfigurationError(tuple(tree.mistakes))
    filling = _Filling(tree, folder, environ)
    tree.data = filling.filled(tree.data, ())
    overridden = config_overrides.apply(tree, environ)
    tree.data = filling.placed(tree.data, ())
    _tell_public_url(tree.data)
    concealed = filling.concealed | overridden
    settings: Settings | None = None
    try:
        settings = Settings.model_validate(tree.data)
    except ValidationError as error:
        config_mistakes.add(tree, error, concealed)
    whole, wrong = config_repair.repaired(tree.data)
    if whole is not None:
        wrong |= {mistake.path for mistake in tree.mistakes}
        config_findings.note(tree, config_checks.RULES, whole, wrong)
    found = sorted(tree.mistakes, key=lambda m: (m.line or 0, m.column or 0))
    if settings is None or any(not mistake.is_warning for mistake in found):
        raise ConfigurationError(tuple(found))
    return settings, tuple(found)


def _tell_public_url(data: dict[str, Any]) -> None:
    """Give `server.public_url`, where it is not written, the port that the gateway binds."""
    server = data.get("server")
    if not isinstance(server, dict):
        return
    port = str(server.get("port", ""))
    if port.isdecimal() and 0 < int(port) <= MAX_PORT:
        server.setdefault("public_url", f"http://127.0.0.1:{int(port)}")


class _Filling:
    """Puts what is kept outside the file into its place."""

    def __init__(self, tree: Tree, folder: pathlib.Path, environ: Mapping[str, str]) -> None:
        self._tree = tree
        self._folder = folder
        self._environ = environ
        self.concealed: set[Path] = set()

    def filled(self, value: Any, path: Path) -> Any:
        """`value` with its variables replaced and its secret files read."""
        if isinstance(value, dict):
            if list(value) == ["file"] and is_secret(path, self._tree.data):
                return self._secret(value["file"], path)
            return {key: self.filled(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self.filled(item, (*path, index)) for index, item in enumerate(value)]
        return self._substituted(value, path) if isinstance(value, str) else value

    def placed(self, value: Any, path: Path) -> Any:
        """`value` with every path in it made independent of the working directory."""
        if isinstance(value, dict):
            return {key: self.placed(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self.placed(item, (*path, index)) for index, item in enumerate(value)]
        if isinstance(value, str) and value and self._is_path(path):
            return str((self._folder / value).absolute())
        return value

    def _is_path(self, path: Path) -> bool:
        return pathlib.Path in types_of(annotation_at(path, self._tree.data))

    def _substituted(self, text: str, path: Path) -> str:
        def replacement(match: re.Match[str]) -> str:
            name = match[2]
            if match[1]:
                return match[1]
            if name in self._environ:
                self.concealed.add(path)
                return self._environ[name]
            self._tree.mistake(
                path,
                f"the environment variable {name} is not set" if name else "${} names no variable",
                f"Set {name or 'a variable'}, or write the value; $${{ stands for ${{.",
                self._tree.values.get(path),
            )
            return match[0]

        return VARIABLE.sub(replacement, text)

    def _secret(self, name: Any, path: Path) -> str:
        self.concealed.add(path)
        position = self._tree.values.get((*path, "file"))
        try:
            with (self._folder / str(name)).open("rb") as file:
                raw = file.read(MAX_SECRET_BYTES + 1)
            if len(raw) > MAX_SECRET_BYTES:
                raise ValueError(f"more than {MAX_SECRET_BYTES} bytes")
            return raw.decode().removesuffix("\n").removesuffix("\r")
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "this is not a text"
            self._tree.mistake(
                path,
                f"the secret in {name}: {reason}",
                "Name a text file that the gateway can read, relative to the configuration.",
                position,
            )
            return ""
