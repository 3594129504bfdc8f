"""Values as they are written in Redis."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.adapters.redis_envelope import Envelope, Envelopes, packed, unpacked

SECRET = b"a secret of some length"
BOTH = pytest.mark.parametrize(
    "written", [Envelopes(), Envelopes(SECRET)], ids=["checked", "sealed"]
)
envelopes = st.builds(
    Envelope,
    value=st.binary(max_size=200),
    is_absent=st.booleans(),
    life_ms=st.integers(0, 2**40),
    epoch=st.binary(min_size=8, max_size=8),
)


@BOTH
@given(envelope=envelopes)
def test_what_was_sealed_is_opened(written: Envelopes, envelope: Envelope) -> None:
    assert written.opened("name", written.sealed("name", envelope)) == envelope


@BOTH
@given(envelope=envelopes)
def test_value_under_another_name_is_none(written: Envelopes, envelope: Envelope) -> None:
    assert written.opened("other", written.sealed("name", envelope)) is None


@BOTH
@given(envelope=envelopes, data=st.data())
def test_any_flipped_bit_is_noticed(
    written: Envelopes, envelope: Envelope, data: st.DataObject
) -> None:
    raw = bytearray(written.sealed("name", envelope))
    position = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[position // 8] ^= 1 << position % 8
    assert written.opened("name", bytes(raw)) is None


@BOTH
@given(envelope=envelopes, data=st.data())
def test_whatever_was_cut_off_is_noticed(
    written: Envelopes, envelope: Envelope, data: st.DataObject
) -> None:
    raw = written.sealed("name", envelope)
    assert written.opened("name", raw[: data.draw(st.integers(0, len(raw) - 1))]) is None


@BOTH
@given(raw=st.binary(max_size=300))
def test_foreign_bytes_are_never_a_value(written: Envelopes, raw: bytes) -> None:
    assert written.opened("name", raw) is None


@given(envelopes)
def test_values_of_another_secret_or_of_none_are_foreign(envelope: Envelope) -> None:
    writers = [Envelopes(), Envelopes(SECRET), Envelopes(b"another secret of some length")]
    for writer in writers:
        raw = writer.sealed("name", envelope)
        assert [reader.opened("name", raw) for reader in writers if reader is not writer] == [
            None,
            None,
        ]


def test_sealed_value_shows_nothing_of_what_it_holds() -> None:
    envelope = Envelope(value=b"PATIENT^NAME", is_absent=False, life_ms=1, epoch=bytes(8))
    assert b"PATIENT" in Envelopes().sealed("name", envelope)
    assert b"PATIENT" not in Envelopes(SECRET).sealed("name", envelope)


@given(envelope=envelopes)
def test_what_was_packed_is_unpacked(envelope: Envelope) -> None:
    assert unpacked(packed(envelope)) == envelope


def test_values_that_repeat_themselves_take_less_room() -> None:
    value = b"1.2.840.113619." * 1000
    envelope = Envelope(value=value, is_absent=False, life_ms=1, epoch=bytes(8))
    assert len(packed(envelope).value) < len(value) / 20


@given(raw=st.binary(max_size=300))
def test_what_was_never_packed_is_no_value(raw: bytes) -> None:
    envelope = Envelope(value=raw, is_absent=False, life_ms=1, epoch=bytes(8), is_packed=True)
    found = unpacked(envelope)
    assert found is None or not found.is_packed
