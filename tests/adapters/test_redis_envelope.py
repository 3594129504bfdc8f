"""Values as they are written in Redis."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.adapters.redis_envelope import Envelope, key_name, opened, sealed

envelopes = st.builds(
    Envelope,
    value=st.binary(max_size=200),
    is_absent=st.booleans(),
    life_ms=st.integers(0, 2**40),
    epoch=st.binary(min_size=8, max_size=8),
)


@given(envelopes)
def test_what_was_sealed_is_opened(envelope: Envelope) -> None:
    assert opened("name", sealed("name", envelope)) == envelope


@given(envelopes, st.data())
def test_any_flipped_bit_is_noticed(envelope: Envelope, data: st.DataObject) -> None:
    raw = bytearray(sealed("name", envelope))
    position = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[position // 8] ^= 1 << position % 8
    assert opened("name", bytes(raw)) is None


@given(st.binary(max_size=300))
def test_foreign_bytes_are_never_a_value(raw: bytes) -> None:
    assert opened("name", raw) is None


def test_keys_of_one_entry_share_a_hash_slot() -> None:
    assert key_name("a") != key_name("b")
    assert key_name("a").endswith("}")
