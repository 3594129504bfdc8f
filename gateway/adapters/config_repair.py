"""Settings as far as a text gives them, so that all mistakes of a file are found in one go.

What is wrong is left out; a section that cannot do without it becomes a stand-in with its name.
Nothing is ever served by such settings.
"""

from __future__ import annotations

import copy
from typing import Any

from pydantic import ValidationError

from gateway.adapters.config_mistakes import path_of
from gateway.adapters.config_models import value_at
from gateway.adapters.config_yaml import Path, dotted
from gateway.config import Settings

_ROUNDS = 20
_STAND_INS: dict[tuple[str, ...], dict[str, Any]] = {
    ("archives", "*"): {"type": "folder", "path": "."},
    ("fhir", "servers", "*"): {"url": "https://stand-in.invalid"},
    ("fhir", "patients", "listed", "*"): {"value": "stand-in"},
    ("viewers", "*"): {"type": "iid", "title": "Stand-in", "url": "https://stand-in.invalid"},
    ("auth", "api_keys", "*"): {"key": "stand-in"},
    ("auth", "issuers", "*"): {"issuer": "stand-in"},
    ("policies", "*"): {},
    ("policies", "*", "hide", "*"): {"modality": "stand-in"},
    ("policies", "*", "allow", "*"): {"modality": "stand-in"},
    ("consumers", "*"): {"policy": "stand-in"},
}


def repaired(data: Any) -> tuple[Settings | None, frozenset[str]]:
    """The settings in `data` without what is wrong, and its dotted paths; None: too much is."""
    whole, wrong = copy.deepcopy(data), set[str]()
    for _ in range(_ROUNDS):
        try:
            return Settings.model_validate(whole), frozenset(wrong)
        except ValidationError as error:
            for detail in reversed(error.errors(include_url=False, include_context=False)):
                path, _ = path_of(detail["loc"], whole)
                wrong.add(dotted(path))
                if (taken := _taken_out(whole, path)) is not None:
                    wrong.add(dotted(taken))
    return None, frozenset(wrong)


def _taken_out(data: Any, path: Path) -> Path | None:
    """Takes what is at `path` out of `data`, or the section that it is missing in: its path."""
    if not path:
        return None
    *above, last = path
    section = value_at(data, tuple(above))
    if isinstance(section, dict) and last in section:
        if (stand_in := _stand_in(path)) is not None and section[last] != stand_in:
            section[last] = copy.deepcopy(stand_in)
        else:
            del section[last]
        return path
    if isinstance(section, list) and isinstance(last, int) and last < len(section):
        stand_in = _stand_in(path)
        section[last : last + 1] = [] if stand_in is None else [copy.deepcopy(stand_in)]
        return path
    return _taken_out(data, tuple(above))


def _stand_in(path: Path) -> dict[str, Any] | None:
    """What stands for the section at `path`; None where nothing needs to."""
    for pattern, stand_in in _STAND_INS.items():
        pairs = zip(pattern, path, strict=False)
        if len(pattern) == len(path) and all(a in {"*", b} for a, b in pairs):
            return stand_in
    return None
