"""The reference page of the configuration, written from the models so that it cannot lag."""

from __future__ import annotations

import types
from collections.abc import Iterator
from datetime import date
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from gateway.adapters.config_models import alternatives, is_model, kinds
from gateway.config import Settings

HEAD = """\
# Configuration

One YAML file. `${NAME}` is replaced from the environment (`$${` stands for `${`), `{file: path}`
gives a secret the content of a file, and `GATEWAY__SECTION__KEY` overrides any key:
`GATEWAY__ARCHIVES__NORTH__TIMEOUT_SECONDS=30` (`_` stands for the `-` of an archive's id; lists and
maps are written as YAML). Paths are relative to the file. Unknown keys are mistakes;
`gateway check-config FILE` tells all mistakes at once. Examples are in `config/`.

This page is written by `gateway config-reference`.
"""
_WORDS = {str: "text", int: "whole number", float: "number", bool: "true or false", date: "date"}


def markdown() -> str:
    """The page."""
    parts = [HEAD]
    for path, model in dict.fromkeys(_sections(Settings, "")):
        parts.append(f"\n## {_title(path, model)}\n\n{_summary(model)}\n")
        if fields := list(_rows(model)):
            parts.append("\n| Key | Value | Default | Meaning |\n|---|---|---|---|\n")
            parts.extend(fields)
    return "".join(parts)


def _sections(model: type[BaseModel], path: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """All sections with their paths, outermost first."""
    for name, field in model.model_fields.items():
        where = f"{path}.{name}" if path else name
        for option, below in _inside(field.annotation, where):
            yield below, option
            yield from _sections(option, below)


def _inside(annotation: Any, path: str) -> Iterator[tuple[type[BaseModel], str]]:
    """The sections in `annotation`, also those in its maps and lists, with their paths."""
    for option in alternatives(annotation):
        if is_model(option):
            yield option, path
        elif get_origin(option) is dict:
            yield from _inside(get_args(option)[1], f"{path}.<name>")
        elif get_origin(option) is tuple:
            yield from _inside(get_args(option)[0], f"{path}[]")


def _title(path: str, model: type[BaseModel]) -> str:
    chosen = kinds(model)
    return f"`{path}`, type `{chosen[0]}`" if chosen else f"`{path}`"


def _summary(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split())


def _rows(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        meaning = " ".join((field.description or "").split()).replace("|", "\\|")
        yield f"| `{name}` | {_value(field.annotation)} | {_default(field)} | {meaning} |\n"


def _value(annotation: Any) -> str:
    """What may be written, in words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _value(arguments[0])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in {Union, types.UnionType}:
        words = [_value(item) for item in arguments if item is not type(None)]
        return " or ".join(dict.fromkeys(words))
    if origin is dict:
        return f"map of {_value(arguments[1])}"
    if origin is tuple:
        return f"list of {_value(arguments[0])}"
    if annotation is SecretStr:
        return "secret"
    return "section" if is_model(annotation) else _WORDS.get(annotation, "path")


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is PydanticUndefined:
        return "required"
    if value is None:
        return "none"
    if isinstance(value, BaseModel):
        return f"type `{kinds(type(value))[0]}`" if kinds(type(value)) else ""
    if isinstance(value, tuple):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"
