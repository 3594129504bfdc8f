"""The settings models as a tree to walk: what is known at a path, and which keys are secret."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from gateway.adapters.config_yaml import Path
from gateway.config import Settings


def alternatives(annotation: Any) -> tuple[Any, ...]:
    """What `annotation` may be, without Annotated, None and the union around them."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return alternatives(get_args(annotation)[0])
    if origin in {Union, types.UnionType}:
        return tuple(found for item in get_args(annotation) for found in alternatives(item))
    return () if annotation is type(None) else (annotation,)


def is_model(annotation: Any) -> bool:
    """Whether `annotation` is a section."""
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def kinds(model: type[BaseModel]) -> tuple[str, ...]:
    """The values of `type` that choose `model`; empty where there is no choice."""
    field = model.model_fields.get("type")
    return get_args(field.annotation) if field and get_origin(field.annotation) is Literal else ()


def below(annotation: Any, part: str | int, data: Any) -> Any:
    """The annotation one step below: a field's, a map's values', a list's items'; else None."""
    for option in alternatives(annotation):
        if get_origin(option) is dict:
            return get_args(option)[1]
        if get_origin(option) is tuple and isinstance(part, int):
            return get_args(option)[0]
        if is_model(option) and _is_chosen(option, annotation, data):
            field = option.model_fields.get(str(part))
            if field is not None:
                return _annotation(field)
    return None


def model_at(path: Path, data: Any) -> type[BaseModel] | None:
    """The section at `path` of `data`; None where there is none."""
    annotation = annotation_at(path, data)
    here = value_at(data, path)
    for option in alternatives(annotation):
        if is_model(option) and _is_chosen(option, annotation, here):
            found: type[BaseModel] = option
            return found
    return None


def annotation_at(path: Path, data: Any) -> Any:
    """The annotation at `path` of `data`; None where nothing is known."""
    annotation: Any = Settings
    for index, part in enumerate(path):
        annotation = below(annotation, part, value_at(data, path[:index]))
    return annotation


def value_at(data: Any, path: Path) -> Any:
    """What `data` holds at `path`; None if nothing."""
    for part in path:
        if isinstance(data, dict):
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            return None
    return data


def is_secret(path: Path, data: Any) -> bool:
    """Whether the value at `path` of `data` must not be shown."""
    return SecretStr in alternatives(annotation_at(path, data)) or path[-1:] in SECRET_ENDS


def _secret_ends(model: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[Path]:
    """The names of all secret fields in and below `model`."""
    if model in seen:
        return
    seen.add(model)
    for name, field in model.model_fields.items():
        for option in _flat(_annotation(field)):
            if option is SecretStr:
                yield (name,)
            elif is_model(option):
                yield from _secret_ends(option, seen)


def _flat(annotation: Any) -> Iterator[Any]:
    """All types in `annotation`, also in its maps and lists."""
    for option in alternatives(annotation):
        if get_origin(option) in {dict, tuple}:
            for item in get_args(option):
                yield from _flat(item)
        else:
            yield option


def _annotation(field: FieldInfo) -> Any:
    return field.annotation


def _is_chosen(option: type[BaseModel], annotation: Any, data: Any) -> bool:
    """Whether `data` chooses `option` among the sections that `annotation` allows."""
    if len(alternatives(annotation)) == 1:
        return True
    chosen = data.get("type") if isinstance(data, dict) else None
    return chosen in kinds(option)


SECRET_ENDS = frozenset(_secret_ends(Settings, set()))
