"""YAML as data with positions."""

from __future__ import annotations

import pytest

from gateway.adapters.config_yaml import Position, parse


def test_every_key_and_value_has_its_position() -> None:
    tree = parse(b"a: 1\nb:\n  - c: x\n")
    assert tree.data == {"a": 1, "b": [{"c": "x"}]}
    assert tree.keys["b", 0, "c"] == Position(line=3, column=5)
    assert tree.values["b", 0, "c"] == Position(line=3, column=8)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("0x10", 16),
        ("1.5", 1.5),
        ("true", True),
        ("yes", "yes"),
        ("~", None),
        ("null", None),
        ("2026-01-02", "2026-01-02"),
        ("'1'", "1"),
        ("é", "é"),
        ("*id001", None),
    ],
)
def test_scalars_are_what_yaml_says(text: str, value: object) -> None:
    tree = parse(f"a: {text}\n".encode())
    if text.startswith("*"):
        assert tree.mistakes
    else:
        assert tree.data == {"a": value}


def test_byte_order_mark_is_no_mistake() -> None:
    assert parse(b"\xef\xbb\xbfa: 1\n").data == {"a": 1}


def test_alias_stands_for_its_value() -> None:
    assert parse(b"a: &x [1]\nb: *x\n").data == {"a": [1], "b": [1]}


def test_all_repeated_keys_are_told() -> None:
    assert [m.path for m in parse(b"a: 1\na: 2\nb: {c: 1, c: 2}\n").mistakes] == ["a", "b.c"]
