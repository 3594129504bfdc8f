"""Settings of which a part is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.adapters.config_repair import repaired

NORTH = {"type": "dicomweb", "qido_rs": "http://north/rs"}


def of(**sections: Any) -> Any:
    found, wrong = repaired({"archives": {"north": NORTH}} | sections)
    assert found is not None
    return found, wrong


def test_what_is_good_stays_as_it_is() -> None:
    found, wrong = of(server={"port": 81})
    assert (found.server.port, wrong) == (81, frozenset())


def test_what_is_wrong_is_left_out() -> None:
    found, wrong = of(server={"port": "x", "workers": 3}, servr={})
    assert (found.server.port, found.server.workers) == (8080, 3)
    assert wrong == {"server.port", "servr"}


def test_what_cannot_do_without_keeps_its_name_and_place() -> None:
    issuers = [{"jwks_url": "https://x"}, {"issuer": "good"}]
    found, wrong = of(
        archives={"north": NORTH | {"qido_rs": "htp://x"}, "south": {"type": "x"}, "A_b": NORTH},
        auth={"issuers": issuers},
        policies={"p": {"hide": [{"modalty": "SR"}, "x"]}, "q": 3},
    )
    assert list(found.archives) == ["north", "south"]
    assert [one.issuer for one in found.auth.issuers] == ["stand-in", "good"]
    assert [len(found.policies[name].hide) for name in ("p", "q")] == [2, 0]
    assert {"archives.north", "archives.south", "auth.issuers.0", "policies.q"} <= wrong


@pytest.mark.parametrize("archives", [3, [], {}, None, "x", {"a": 1, "b": None}])
def test_whole_sections_may_be_wrong(archives: Any) -> None:
    found, wrong = repaired({"archives": archives, "server": 4, "auth": {"issuers": "x"}})
    assert found is not None
    assert "server" in wrong


@pytest.mark.parametrize("data", [None, 3, [], "x"])
def test_what_is_no_configuration_at_all_is_not_repaired(data: Any) -> None:
    assert repaired(data)[0] is None


def test_the_text_itself_is_not_changed() -> None:
    data = {"archives": {"north": {"type": "dicomweb"}}}
    repaired(data)
    assert data == {"archives": {"north": {"type": "dicomweb"}}}
