"""What pydantic found wrong, as mistakes in words of the configuration."""

from __future__ import annotations

import difflib
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gateway.adapters.config_models import is_secret, model_at, value_at
from gateway.adapters.config_yaml import Path, Position, Tree, dotted

KEY_MARK = "[key]"
MAX_SHOWN = 80
REMEDIES = {
    "string_type": "Put it in quotes.",
    "model_attributes_type": "Write keys below it, or remove it.",
    "model_type": "Write keys below it, or remove it.",
    "dict_type": "Write keys below it, or remove it.",
    "tuple_type": "Write a list: [a, b].",
}


def add(tree: Tree, error: ValidationError, concealed: set[Path]) -> None:
    """Note all that `error` holds, except where a mistake stands already."""
    known = {mistake.path for mistake in tree.mistakes}
    for detail in error.errors(include_url=False):
        path, is_key = path_of(detail["loc"], tree.data)
        if dotted(path) in known:
            continue
        message, remedy = _words(detail, path, tree.data)
        if not is_key and detail["type"] not in {"missing", "extra_forbidden"}:
            message = f"{shown(tree.data, path, concealed)}{message}"
        tree.mistake(path, message, remedy, _position(tree, path, detail["type"], is_key=is_key))


def path_of(loc: tuple[str | int, ...], data: Any) -> tuple[Path, bool]:
    """The path that pydantic's `loc` means in `data`, and whether its key is what is wrong.

    `loc` names the kinds chosen by `type` too, which are no keys.
    """
    path: Path = ()
    for index, part in enumerate(loc):
        if part == KEY_MARK and index == len(loc) - 1:
            return path, True
        here = value_at(data, path)
        is_kind = isinstance(here, dict) and part not in here and part == here.get("type")
        if not is_kind:
            path = (*path, part)
    return path, False


def shown(data: Any, path: Path, concealed: set[Path]) -> str:
    """The value at `path`, quoted and followed by a colon; empty for secrets and sections."""
    value = value_at(data, path)
    if isinstance(value, dict | list) or value is None or is_secret(path, data):
        return ""
    if path in concealed:
        return "the value from the environment: "
    text = str(value)
    if "@" in urlsplit(text).netloc:
        text = text.replace(urlsplit(text).netloc.rpartition("@")[0], "***")
    return f'"{text[:MAX_SHOWN]}": '


def similar(word: str, known: list[str]) -> str:
    """`; did you mean …?` when one of `known` is close to `word`, else nothing."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean `{close[0]}`?" if close else ""


def _words(detail: ErrorDetails, path: Path, data: Any) -> tuple[str, str]:
    """Message and remedy."""
    kind = detail["type"]
    context = detail.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(path, data)
    if kind == "missing":
        return "a required key is missing", f"Add it: {_description(path, data)}"
    if kind == "union_tag_not_found":
        return "`type` is missing", "Add `type`, such as `dicomweb`, `folder`, `none` or `iid`."
    if kind == "union_tag_invalid":
        tag, tags = str(context.get("tag")), str(context.get("expected_tags")).replace("'", "")
        hint = similar(tag, tags.split(", "))
        return f"type `{tag}` is not known{hint}", f"One of: {tags}."
    message = detail["msg"].removeprefix("Value error, ")
    message = message.replace("Input should be", "should be").replace("String should", "should")
    return message, REMEDIES.get(kind) or _description(path, data)


def _unknown_key(path: Path, data: Any) -> tuple[str, str]:
    model = model_at(path[:-1], data)
    known = sorted(model.model_fields) if model else []
    where = f"`{dotted(path[:-1])}`" if path[:-1] else "the file"
    hint = similar(str(path[-1]), known)
    return f"unknown key{hint}", f"{where} knows: {', '.join(known)}."


def _description(path: Path, data: Any) -> str:
    """What the setting at `path` is for, in the words of the reference page."""
    model = model_at(path[:-1], data) if path else None
    field = model.model_fields.get(str(path[-1])) if model else None
    words = " ".join((field.description or "").split()) if field else ""
    return words or "See docs/configuration.md."


def _position(tree: Tree, path: Path, kind: str, *, is_key: bool) -> Position | None:
    """Where to look: the value, its key where that is what is wrong, else the section around."""
    if kind == "extra_forbidden" or is_key:
        return tree.keys.get(path)
    for length in range(len(path), 0, -1):
        found = tree.keys.get(path[:length]) if length < len(path) else tree.values.get(path)
        if found is not None:
            return found
    return None
