from __future__ import annotations

import gzip

import pytest

from gateway.adapters.inflating import STEP_BYTES, inflater


@pytest.mark.parametrize("encoding", ["", "identity", " Identity "])
def test_what_is_not_compressed_stays_as_it_is(encoding: str) -> None:
    found = inflater(encoding)
    assert found is not None
    inflated, is_whole = found
    assert list(inflated(b"abc")) == [b"abc"]
    assert is_whole()


def test_gzip_is_inflated_in_steps_and_known_to_be_whole() -> None:
    found = inflater("x-gzip")
    assert found is not None
    inflated, is_whole = found
    body = bytes(3 * STEP_BYTES + 1)
    zipped = gzip.compress(body)
    pieces = [p for at in range(len(zipped)) for p in inflated(zipped[at : at + 1])]
    assert b"".join(pieces) == body
    assert max(map(len, pieces)) <= STEP_BYTES
    assert is_whole()


def test_a_cut_one_is_not_whole_and_none_at_all_is() -> None:
    found = inflater("gzip")
    assert found is not None
    inflated, is_whole = found
    assert is_whole()
    list(inflated(gzip.compress(b"abc")[:-1]))
    assert not is_whole()


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_members_follow_one_another(step: int) -> None:
    found = inflater("gzip")
    assert found is not None
    inflated, is_whole = found
    bodies = [bytes(STEP_BYTES), b"abc", b"", bytes(2 * STEP_BYTES)]
    zipped = b"".join(map(gzip.compress, bodies)) + bytes(3)
    at = range(0, len(zipped), step)
    assert b"".join(p for n in at for p in inflated(zipped[n : n + step])) == b"".join(bodies)
    assert is_whole()


def test_a_cut_member_is_not_whole() -> None:
    found = inflater("gzip")
    assert found is not None
    inflated, is_whole = found
    list(inflated(gzip.compress(b"abc") + gzip.compress(b"def")[:-1]))
    assert not is_whole()


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip", "deflate"])
def test_other_codings_are_not_known(encoding: str) -> None:
    assert inflater(encoding) is None
