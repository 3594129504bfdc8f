"""Who a caller is taken for."""

from __future__ import annotations

import pytest

from gateway.adapters.auth import consumer
from gateway.config import Access, Settings
from gateway.errors import Unauthorized


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer abc"}, {"X-API-Key": "abc"}])
def test_everybody_is_the_same_where_nobody_is_asked(headers: dict[str, str]) -> None:
    found = consumer(headers, Settings())
    assert (found.id, found.policy) == ("open", None)


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer abc"}, {"X-API-Key": "abc"}])
def test_nobody_is_let_in_where_callers_must_be_known(headers: dict[str, str]) -> None:
    with pytest.raises(Unauthorized):
        consumer(headers, Settings(auth=Access(mode="required")))
