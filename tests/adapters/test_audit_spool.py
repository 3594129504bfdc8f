from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from gateway.adapters import audit_spool
from gateway.adapters.audit_spool import Spool

EVENTS = [b'{"a":1}', b'{"b":2}', b'{"c":3}']


@pytest.fixture
def made() -> Iterator[Callable[..., Spool]]:
    """Makes spools, and closes them at the end."""
    with ExitStack() as stack:

        def make(folder: Path, max_bytes: int = 1 << 20) -> Spool:
            return stack.enter_context(closing(Spool(folder, max_bytes)))

        yield make


def unshipped(spool: Spool) -> list[bytes]:
    return [line.body for path in spool.to_ship() for line in spool.lines(path, 100)]


def test_events_wait_in_their_order_until_they_are_shipped(
    tmp_path: Path, made: Callable[..., Spool]
) -> None:
    spool = made(tmp_path / "spool")
    spool.append(EVENTS[:2])
    spool.append(EVENTS[2:])
    (path,) = spool.to_ship()
    first, *_ = spool.lines(path, 2)
    spool.shipped(path, first.end)
    assert unshipped(spool) == EVENTS[1:]
    assert path.stat().st_mode & 0o077 == 0


def test_what_a_writer_left_behind_is_shipped_by_one_other(
    tmp_path: Path, made: Callable[..., Spool]
) -> None:
    left = made(tmp_path)
    left.append(EVENTS)
    first, second = made(tmp_path), made(tmp_path)
    assert unshipped(first) == []
    left.close()
    assert unshipped(first) == EVENTS
    assert unshipped(second) == []
    (path,) = first.to_ship()
    first.shipped(path, first.lines(path, 100)[-1].end)
    assert list(tmp_path.iterdir()) == []


def test_a_line_cut_short_by_a_crash_is_left_out(
    tmp_path: Path, made: Callable[..., Spool]
) -> None:
    spool = made(tmp_path)
    spool.append(EVENTS)
    spool.close()
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-4])
    assert unshipped(made(tmp_path)) == EVENTS[:2]


def test_long_segments_are_followed_by_new_ones(
    tmp_path: Path, made: Callable[..., Spool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_spool, "SEGMENT_BYTES", 5)
    spool = made(tmp_path)
    for event in EVENTS:
        spool.append([event])
    assert len(list(tmp_path.iterdir())) == 3
    assert unshipped(spool) == EVENTS
    for path in list(spool.to_ship()):
        spool.shipped(path, spool.lines(path, 9)[-1].end)
    assert len(list(tmp_path.glob("*.ndjson"))) == 1


def test_a_full_spool_says_so(tmp_path: Path, made: Callable[..., Spool]) -> None:
    spool = made(tmp_path, 20)
    spool.append(EVENTS[:1])
    assert not spool.is_full()
    spool.append(EVENTS)
    assert spool.is_full()


def test_what_is_refused_for_good_is_kept_apart(tmp_path: Path, made: Callable[..., Spool]) -> None:
    spool = made(tmp_path, 20)
    spool.reject(EVENTS[0])
    spool.reject(EVENTS[1])
    assert (tmp_path / "rejected").read_bytes() == b'{"a":1}\n{"b":2}\n'
