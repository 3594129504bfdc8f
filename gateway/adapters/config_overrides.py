"""Keys that the environment overrides: `GATEWAY__ARCHIVES__NORTH__TIMEOUT_SECONDS=30`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from gateway.adapters.config_models import is_secret, value_at
from gateway.adapters.config_yaml import Path, Tree

PREFIX = "GATEWAY__"
ARCHIVES = "archives"


def apply(tree: Tree, environ: Mapping[str, str]) -> set[Path]:
    """Put the overrides of `environ` into `tree`; the paths that they set, which stay unshown."""
    paths: set[Path] = set()
    for name in sorted(environ):
        if not name.startswith(PREFIX):
            continue
        path = _path(tree.data, name.removeprefix(PREFIX).lower().split("__"))
        if not all(path) or not _put(tree.data, path, _value(environ[name], path, tree.data)):
            tree.mistake(
                path, f"the environment variable {name} names no key", "Correct its name.", None
            )
            continue
        tree.keys.pop(path, None)
        tree.values.pop(path, None)
        paths.add(path)
    return paths


def _path(data: Any, words: list[str]) -> Path:
    """The path that `words` mean; an existing key may differ from them in `-`, `_` and case.

    No environment variable has `-` in its name, so `_` stands for it in an archive's id.
    """
    path: Path = ()
    for word in words:
        here = value_at(data, path)
        if isinstance(here, list) and word.isdigit():
            path = (*path, int(word))
            continue
        present = here if isinstance(here, dict) else {}
        same = [key for key in present if key.lower().replace("-", "_") == word]
        new = word.replace("_", "-") if path == (ARCHIVES,) else word
        path = (*path, same[0] if same else new)
    return path


def _put(data: Any, path: Path, value: Any) -> bool:
    """Set `path` in `data`, making the maps above it; False if something else is in the way."""
    *above, last = path
    for part in above:
        if isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        elif isinstance(data, dict):
            if data.get(part) is None:
                data[part] = {}
            data = data[part]
        else:
            return False
    if not isinstance(data, dict):
        return False
    data[last] = value
    return True


def _value(text: str, path: Path, data: Any) -> Any:
    """What `text` means: a YAML list, map or null where it is one; else itself, typed later."""
    if is_secret(path, data):
        return text
    try:
        value = YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError):
        return text
    return value if value is None or isinstance(value, dict | list) else text
