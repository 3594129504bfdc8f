"""What is found between settings, and whether it can be believed while others are wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from gateway.adapters.config_yaml import Path, Tree, dotted
from gateway.config import Settings

Finding = tuple[Path, str, str]
"""Path, message and remedy."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Findings, and the settings that they rest on besides the one that they are about.

    Of these, `@` is the same key as in the finding's path, and `*` any.
    """

    findings: Callable[[Settings], Iterator[Finding]]
    reads: tuple[str, ...] = ()
    is_warning: bool = False


def note(tree: Tree, rules: Iterable[Rule], settings: Settings, wrong: frozenset[str]) -> None:
    """Note in `tree` what rules find, except what rests on the settings that are `wrong`."""
    for rule in rules:
        for path, message, remedy in rule.findings(settings):
            if not any(_is_doubtful(path, rule.reads, one) for one in wrong):
                _note(tree, (path, message, remedy), is_warning=rule.is_warning)


def _is_doubtful(path: Path, reads: Iterable[str], wrong: str) -> bool:
    """Whether a finding is about something wrong or around it, or read what is."""
    about = dotted(path)
    return (
        _is_within(about, wrong)
        or _is_within(wrong, about)
        or any(re.match(_pattern(one, path), f"{wrong}.") for one in reads)
    )


def _is_within(inner: str, outer: str) -> bool:
    return inner == outer or inner.startswith(f"{outer}.")


def _pattern(read: str, path: Path) -> str:
    """A pattern for the setting that is read and for the sections that it is in."""
    found = ""
    for index, word in reversed(tuple(enumerate(read.split(".")))):
        same = str(path[index]) if word == "@" else word
        key = r"[^.]+" if word == "*" else re.escape(same)
        found = rf"{key}\.(?:{found}|$)" if found else rf"{key}\.$"
    return found


def _note(tree: Tree, finding: Finding, *, is_warning: bool) -> None:
    path, message, remedy = finding
    lengths = range(len(path), 0, -1)
    places = [tree.keys.get(path[:n]) for n in lengths]
    position = tree.values.get(path) or next((place for place in places if place), None)
    tree.mistake(path, message, remedy, position)
    tree.mistakes[-1] = replace(tree.mistakes[-1], is_warning=is_warning)
