"""The epoch of a value."""

from __future__ import annotations

from gateway.adapters.redis_marks import Marks, forgotten, made


def test_any_other_mark_or_run_makes_another_epoch() -> None:
    own, study, everything = forgotten(), made(), made()
    same = [Marks((own, study, everything), (b"run", b"run")) for _ in range(2)]
    others = [
        Marks((None, study, everything), (b"run", b"run")),
        Marks((own, forgotten(), everything), (b"run", b"run")),
        Marks((study, own, everything), (b"run", b"run")),
        Marks((own, study, everything), (b"run", b"another")),
        Marks((own, study, everything)),
    ]
    assert len({marks.epoch for marks in same}) == 1
    assert len({marks.epoch for marks in (*same, *others)}) == 1 + len(others)


def test_only_a_values_own_mark_may_be_missing() -> None:
    assert Marks((None, made(), made())).is_whole
    assert not Marks((forgotten(), None, made())).is_whole


def test_it_is_known_whether_something_was_forgotten() -> None:
    assert Marks((None, forgotten(), made())).is_forgotten
    assert not Marks((None, made(), made())).is_forgotten
