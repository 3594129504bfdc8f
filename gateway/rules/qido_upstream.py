"""What archives are asked for a query: rebuilt from its record, never forwarded."""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import replace
from itertools import product

from gateway.model import Level
from gateway.rules import dictionary, qido_values
from gateway.rules.attributes import PER_ARCHIVE
from gateway.rules.qido import BETWEEN_WORDS, Key, Query, alternatives, vr_of

_NO_WILDCARDS = frozenset({"UI", "DA", "TM", "DT"}) | qido_values.NUMBERS
_MAX_VARIANTS = 16
_PLAIN = re.compile(r"[A-Za-z0-9._*?-]", re.ASCII)
_OFTEN_ACCENTED = ("aeiouycnsz", "aeiouy", "")


def upstream(query: Query, *, decodes: bool = True) -> tuple[Query, ...]:
    """The queries that together find every row that `query` matches, in words any archive knows.

    Person names get a trailing `*` so that further component groups do not hide them; lists of
    code strings, which archives need not know, become one query each; fuzzy matching, which each
    archive understands in its own way, becomes wildcards; an archive that does not percent-decode
    (`decodes` False) gets `?` for each character that would need it. Of several keys of one
    attribute the first is asked for, of what has no value nothing.
    """
    firsts: dict[str, Key] = {}
    for each in query.keys:
        firsts.setdefault(each.tag, each)
    choices: list[list[Key | None]] = [
        [k if k is None or decodes else _without_encoding(k) for k in _wide(each, query)]
        for each in firsts.values()
    ]
    if math.prod(len(c) for c in choices) > _MAX_VARIANTS:
        choices = [c for c in choices if len(c) == 1]
    return tuple(
        replace(query, keys=tuple(k for k in keys if k is not None), fuzzy=False)
        for keys in product(*choices)
    )


def loosened(query: Query) -> Query | None:
    """A query that any part of a study matches which `query` matches as a whole; None: it does.

    What lists together several modalities may be held by several archives, each its own.
    """
    tags = [k.tag for k in query.keys] if query.level is Level.STUDY else []
    split = {t for t in PER_ARCHIVE if tags.count(t) > 1}
    if not split:
        return None
    kept = [k for k in query.keys if k.tag not in split]
    either = [
        Key(tag=t, vr=vr_of(t), value="\\".join(k.value for k in query.keys if k.tag == t))
        for t in sorted(split)
    ]
    return replace(query, keys=(*kept, *either))


def parameters(query: Query) -> list[tuple[str, str]]:
    """The canonical query string for an archive, without limit and offset, in a stable order."""
    pairs = [
        (_name(k.tag), ",".join(alternatives(k)) if k.vr == "UI" else k.value) for k in query.keys
    ]
    if query.include is None:
        pairs.append(("includefield", "all"))
    elif query.include:
        pairs.append(("includefield", ",".join(sorted(query.include))))
    if query.fuzzy:
        pairs.append(("fuzzymatching", "true"))
    return pairs


def _name(tag: str) -> str:
    return ".".join(dictionary.keyword(int(t, 16)) or t for t in tag.split("."))


def _wide(key: Key, query: Query) -> list[Key | None]:
    """Keys, any of which a row has to match for `key` to match it; None: no key can say it."""
    if key.is_empty:
        return [None]
    if key.vr == "CS":
        return [replace(key, value=v) for v in alternatives(key)]
    if key.vr in _NO_WILDCARDS:
        return [key]
    # a comma or backslash would make a list of it for some archives
    value = re.sub(r"[,\\]", "?", key.value)
    if key.vr == "PN":
        value = _fuzzy_pattern(key.value) if query.fuzzy else _wide_name(value)
    return [replace(key, value=value) if value.strip("*") else None]


def _wide_name(value: str) -> str:
    """A pattern that finds at least the names that `value` matches by any component group.

    A value in ASCII is looked for in the first group, where names are written in Latin letters.
    """
    wide = value.rstrip("^=")
    if not wide.isascii() and not wide.startswith("*"):
        wide = f"*{wide}"
    return wide if wide.endswith("*") else f"{wide}*"


def _fuzzy_pattern(value: str) -> str:
    """A pattern for the most telling word, open where accents may stand in the archive.

    Vowels and the consonants that often carry accents are left open, or the vowels alone where
    nothing would be left. A word of vowels alone is asked for as it is: the archive would send all
    that it has. Of letters outside ASCII the archive's own form is not known.
    """
    found = [w.lower() for w in BETWEEN_WORDS.split(unicodedata.normalize("NFC", value)) if w]
    for accented in _OFTEN_ACCENTED:
        solid = ["".join(c if c.isascii() and c not in accented else "*" for c in w) for w in found]
        best = max(solid, key=lambda w: len(w.replace("*", "")), default="")
        if best.strip("*"):
            return re.sub(r"\*+", "*", f"*{best}*")
    return "*"


def _without_encoding(key: Key) -> Key | None:
    """A key that needs no percent-encoding and finds no less; None where that finds everything."""
    if key.vr in _NO_WILDCARDS:
        return key
    value = "".join(
        c if _PLAIN.fullmatch(c) else "?" if c.isascii() else "*" for c in key.value
    )  # what is one character in Unicode may be several bytes to the archive
    return replace(key, value=value) if value.strip("*?") else None
