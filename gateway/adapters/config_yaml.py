"""YAML text as plain dicts, lists and scalars, with the position of every key and value."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from gateway.errors import Mistake

Path = tuple[str | int, ...]
MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_NODES = 200_000
"""Aliases count each time they are used, so that a small text cannot mean a huge one."""
_PREFIX = "tag:yaml.org,2002:"
_KINDS = frozenset({"null", "bool", "int", "float", "str", "timestamp", "map", "seq"})
_CONSTANTS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Line and column, 1-based."""

    line: int
    column: int


@dataclass(slots=True, kw_only=True)
class Tree:
    """What the text says, where its keys and values stand, and what is wrong with it."""

    data: Any = None
    keys: dict[Path, Position] = field(default_factory=dict)
    values: dict[Path, Position] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)

    def mistake(self, path: Path, message: str, remedy: str, position: Position | None) -> None:
        """Note what is wrong at `path`."""
        line, column = (position.line, position.column) if position else (None, None)
        self.mistakes.append(
            Mistake(path=dotted(path), message=message, remedy=remedy, line=line, column=column)
        )


def dotted(path: Path) -> str:
    """`path` as people write it: `archives.north.auth`; the whole text is `(file)`."""
    return ".".join(str(part) for part in path) or "(file)"


def parse(raw: bytes) -> Tree:
    """The tree of a YAML text; what cannot be read is a mistake in it and left out."""
    tree = Tree()
    if len(raw) > MAX_BYTES:
        tree.mistake(
            (), f"{len(raw)} bytes", f"A configuration has at most {MAX_BYTES} bytes.", None
        )
        return tree
    try:
        node = YAML(typ="rt", pure=True).compose(io.StringIO(raw.decode("utf-8-sig")))
    except UnicodeDecodeError as error:
        tree.mistake((), f"byte {error.start} is not UTF-8", "Save the file as UTF-8 text.", None)
    except MarkedYAMLError as error:
        tree.mistake((), _problem(error), "Correct the YAML syntax.", _position(error.problem_mark))
    except (YAMLError, RecursionError, ValueError):
        tree.mistake((), "this is not YAML text", "Write the configuration as YAML.", None)
    else:
        _Reader(tree).read(node)
    return tree


class _Reader:
    """Turns nodes into plain data, within bounds."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._nodes = 0

    def read(self, node: Node | None) -> None:
        if node is None:
            self._tree.mistake((), "the file is empty", "Name at least one archive.", None)
        elif isinstance(node, MappingNode):
            self._tree.data = self._value(node, ())
        else:
            self._tree.mistake(
                (),
                "the file holds no mapping",
                "Write sections such as `archives:`.",
                _position(node.start_mark),
            )

    def _value(self, node: Node, path: Path) -> Any:
        position = _position(node.start_mark)
        if position is not None:
            self._tree.values.setdefault(path, position)
        self._nodes += 1
        if self._nodes > MAX_NODES or len(path) > MAX_DEPTH:
            if self._nodes <= MAX_NODES + 1:
                self._tree.mistake(
                    path, "too large or too deep", "Use fewer aliases and levels.", position
                )
                self._nodes = MAX_NODES + 1
            return None
        kind = str(node.tag).removeprefix(_PREFIX)
        if kind not in _KINDS:
            self._tree.mistake(path, f"the tag {node.tag} is not known", "Leave it out.", position)
            return None
        if isinstance(node, MappingNode):
            return self._mapping(node, path)
        if isinstance(node, SequenceNode):
            return [self._value(item, (*path, index)) for index, item in enumerate(node.value)]
        return scalar(kind, str(node.value))

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            position = _position(key_node.start_mark)
            if not isinstance(key_node, ScalarNode) or key_node.value == "<<":
                self._tree.mistake(path, "a key that is no word", "Write each key out.", position)
                continue
            key = str(key_node.value)
            if key in found:
                self._tree.mistake((*path, key), "written twice", "Keep one of the two.", position)
                continue
            if position is not None:
                self._tree.keys[*path, key] = position
            found[key] = self._value(value_node, (*path, key))
        return found


def scalar(kind: str, text: str) -> Any:
    """The value of a YAML scalar of `kind` (`int`, `str`, …); dates and the like stay text."""
    if kind == "null":
        return None
    if kind == "bool":
        return _CONSTANTS.get(text.lower(), text)
    try:
        if kind == "int":
            return int(text, 0)
        if kind == "float":
            return float(text)
    except ValueError:
        return text
    return text


def _problem(error: MarkedYAMLError) -> str:
    return str(error.problem or error.context or "this is not YAML")


def _position(mark: Any) -> Position | None:
    """Where a mark of the YAML library points."""
    return None if mark is None else Position(line=mark.line + 1, column=mark.column + 1)
