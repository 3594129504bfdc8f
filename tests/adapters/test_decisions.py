"""What was decided about a caller is remembered while it is true, and no longer."""

from __future__ import annotations

import pytest

from gateway.adapters import decisions
from gateway.adapters.decisions import Decision, Decisions
from gateway.model import Consumer


def test_a_decision_is_found_again_while_it_is_good() -> None:
    is_good = True
    made, known = Decision(Consumer(id="a"), lambda: is_good), Decisions()
    known.keep(b"1", made)
    assert known.found(b"1") is made
    assert known.found(b"2") is None
    is_good = False
    assert known.found(b"1") is None
    is_good = True
    assert known.found(b"1") is None


def test_the_least_recently_used_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decisions, "MAX_REMEMBERED", 2)
    known = Decisions()
    for name in (b"1", b"2"):
        known.keep(name, Decision(Consumer(id="a")))
    assert known.found(b"1") is not None
    known.keep(b"3", Decision(Consumer(id="a")))
    assert known.found(b"2") is None
    assert known.found(b"1") is not None
