from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import Settings
from gateway.model import (
    ConnectionType,
    Consumer,
    Endpoint,
    Level,
    Policy,
    Rule,
    Series,
    Study,
    Target,
)
from gateway.rules import endpoints
from gateway.rules.endpoints import Carried, Options, Resolution

RS, URI, IID = ConnectionType.WADO_RS, ConnectionType.WADO_URI, ConnectionType.IID
NOW = datetime(2024, 5, 31, 12, 0, tzinfo=UTC)
STUDY = Target(study_uid="1.2.3")
A = Target(study_uid="1.2.3", series_uid="1.2.3.1")
B = Target(study_uid="1.2.3", series_uid="1.2.3.2")


def endpoint(
    name: str, *types: ConnectionType, status: str | None = "active", **more: Any
) -> Endpoint:
    details = {"address": f"https://{name.lower()}.example.org/x", **more}
    return Endpoint(
        id=name, connection_types=tuple(t.value for t in types), status=status, **details
    )


W1, W2, W3 = (endpoint(name, RS) for name in ("W1", "W2", "W3"))
U1, I1, W4 = endpoint("U1", URI), endpoint("I1", IID), endpoint("W4", RS)


def carried(
    *study: Endpoint, a: tuple[Endpoint, ...] = (), b: tuple[Endpoint, ...] = ()
) -> Carried:
    return Carried(study=study, series={"1.2.3.1": a, "1.2.3.2": b})


def resolved(what: Carried, target: Target, kind: ConnectionType, **options: Any) -> Resolution:
    return endpoints.resolve(what, target, kind, NOW, Options(**options))


def won(what: Carried, target: Target, kind: ConnectionType, **options: Any) -> str | None:
    winner = resolved(what, target, kind, **options).endpoint
    return None if winner is None else winner.id


@dataclass(frozen=True, kw_only=True)
class Row:
    has: Carried
    asked: tuple[Target, ConnectionType]
    wins: str | None
    by: Level | None
    alternatives: tuple[str, ...] = ()
    is_warned: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


ROWS = {
    "study-endpoint-serves-a-series": Row(
        has=carried(W1), asked=(A, RS), wins="W1", by=Level.STUDY
    ),
    "series-endpoint-replaces-the-study-s": Row(
        has=carried(W1, a=(W2,)), asked=(A, RS), wins="W2", by=Level.SERIES
    ),
    "other-series-keep-the-study-s": Row(
        has=carried(W1, a=(W2,)), asked=(B, RS), wins="W1", by=Level.STUDY
    ),
    "other-types-are-not-replaced": Row(
        has=carried(W1, U1, a=(W2,)), asked=(A, URI), wins="U1", by=Level.STUDY
    ),
    "one-series-does-not-leak-into-another": Row(
        has=carried(a=(W2,)), asked=(B, RS), wins=None, by=None
    ),
    "series-endpoints-do-not-serve-the-study": Row(
        has=carried(a=(W2,), b=(W3,)), asked=(STUDY, RS), wins=None, by=None, is_warned=True
    ),
    "their-series-they-do-serve": Row(
        has=carried(a=(W2,), b=(W3,)), asked=(B, RS), wins="W3", by=Level.SERIES
    ),
    "a-viewer-opens-the-study": Row(
        has=carried(I1, a=(W2,)), asked=(A, IID), wins="I1", by=Level.STUDY
    ),
    "switched-off-replaces-all-the-same": Row(
        has=carried(W1, a=(endpoint("W2", RS, status="off"),)),
        asked=(A, RS),
        wins=None,
        by=Level.SERIES,
        alternatives=("W2",),
        is_warned=True,
    ),
    "unless-falling-back-is-allowed": Row(
        has=carried(W1, a=(endpoint("W2", RS, status="off"),)),
        asked=(A, RS),
        wins="W1",
        by=Level.STUDY,
        alternatives=("W2",),
        is_warned=True,
        options={"fallback_to_study": True},
    ),
    "suspended-is-passed-over-and-named": Row(
        has=carried(endpoint("W1", RS, status="suspended"), W4),
        asked=(A, RS),
        wins="W4",
        by=Level.STUDY,
        alternatives=("W1",),
    ),
    "first-of-several-wins": Row(
        has=carried(W1, W2, W3), asked=(A, RS), wins="W1", by=Level.STUDY, alternatives=("W2", "W3")
    ),
    "two-types-replace-both": Row(
        has=carried(W1, U1, a=(endpoint("X", RS, URI),)), asked=(A, URI), wins="X", by=Level.SERIES
    ),
    "a-study-with-series-of-its-own-may-be-incomplete": Row(
        has=carried(W1, a=(W2,)), asked=(STUDY, RS), wins="W1", by=Level.STUDY, is_warned=True
    ),
    "a-series-viewer-opens-the-study": Row(
        has=carried(I1, a=(endpoint("I2", IID),)),
        asked=(A, IID),
        wins="I2",
        by=Level.SERIES,
        is_warned=True,
    ),
    "no-address-replaces-nothing": Row(
        has=carried(W1, a=(endpoint("W2", RS, address=None),)),
        asked=(A, RS),
        wins="W1",
        by=Level.STUDY,
        is_warned=True,
    ),
    "mado-s-missing-address-replaces-nothing": Row(
        has=carried(W1, a=(endpoint("W2", RS, address="http://notspecified"),)),
        asked=(A, RS),
        wins="W1",
        by=Level.STUDY,
        is_warned=True,
    ),
    "no-connection-type-replaces-nothing": Row(
        has=carried(W1, a=(endpoint("W2"),)),
        asked=(A, RS),
        wins="W1",
        by=Level.STUDY,
        is_warned=True,
    ),
    "no-script-is-ever-an-address": Row(
        has=carried(endpoint("W1", RS, address="javascript:alert(1)")),
        asked=(A, RS),
        wins=None,
        by=Level.STUDY,
        alternatives=("W1",),
        is_warned=True,
    ),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_the_endpoint_that_applies(row: Row) -> None:
    found = resolved(row.has, *row.asked, **row.options)

    assert (found.endpoint.id if found.endpoint else None) == row.wins
    assert found.decided_by is row.by
    assert tuple(one.endpoint.id for one in found.alternatives) == row.alternatives
    assert all(one.reason for one in found.alternatives)
    assert bool(found.warnings) is row.is_warned
    assert found.why


@pytest.mark.parametrize(
    ("status", "is_used", "is_warned"),
    [
        ("active", True, False),
        ("test", False, True),
        ("suspended", False, True),
        ("error", False, True),
        ("off", False, True),
        ("entered-in-error", False, True),
        (None, True, True),
        ("limited", True, True),
    ],
)
def test_status_decides_whether_an_endpoint_is_used(
    *, status: str | None, is_used: bool, is_warned: bool
) -> None:
    found = resolved(carried(endpoint("W1", RS, status=status)), A, RS)

    assert (found.endpoint is not None) is is_used
    assert bool(found.warnings) is is_warned


def test_endpoints_for_tests_are_used_on_request_only() -> None:
    what = carried(endpoint("W1", RS, status="test"))

    assert won(what, A, RS) is None
    assert won(what, A, RS, allow_test=True) == "W1"


@pytest.mark.parametrize(
    ("start", "end", "is_used"),
    [
        (None, None, True),
        ("2024", None, True),
        ("2025", None, False),
        (None, "2024", True),
        (None, "2023", False),
        (None, "2024-05", True),
        (None, "2024-04", False),
        (None, "2024-05-31", True),
        (None, "2024-05-30", False),
        ("2024-05-31", None, True),
        ("2024-06-01", None, False),
        ("2024-05-31T12:00:00Z", None, True),
        ("2024-05-31T12:00:01Z", None, False),
        (None, "2024-05-31T12:00:00Z", True),
        (None, "2024-05-31T11:59:59Z", False),
        (None, "2024-05-31T13:59:59+02:00", False),
        (None, "2024-05-31T14:00:00+02:00", True),
        ("2024-05-31T12:00:00.5Z", None, False),
        ("2016-12-31T23:59:60Z", None, True),
    ],
)
def test_an_endpoint_is_used_within_its_period_only(
    *, start: str | None, end: str | None, is_used: bool
) -> None:
    timed = endpoint("W1", RS, period_start=start, period_end=end)

    assert (won(carried(timed), A, RS) == "W1") is is_used


@pytest.mark.parametrize("text", ["soon", "2024-02-30", "0000", "2024-13", "2024-05-31T25:00:00Z"])
def test_a_period_that_cannot_be_read_is_ignored_and_said(text: str) -> None:
    found = resolved(carried(endpoint("W1", RS, period_end=text)), A, RS)

    assert found.endpoint is not None
    assert any("period" in warning for warning in found.warnings)


def test_a_reference_that_leads_nowhere_replaces_nothing() -> None:
    what = Carried(study=(W1,), series_warnings={"1.2.3.1": ("Endpoint/x leads to no Endpoint",)})

    found = resolved(what, A, RS)

    assert found.endpoint == W1
    assert found.warnings == ("Endpoint/x leads to no Endpoint",)
    assert resolved(what, B, RS).warnings == ()


def test_instances_and_frames_use_the_endpoints_of_their_series() -> None:
    frame = Target(study_uid="1.2.3", series_uid="1.2.3.1", instance_uid="1.2.3.1.1", frames=(2,))

    assert won(carried(W1, a=(W2,)), frame, RS) == "W2"


statuses = st.sampled_from(["active", "test", "suspended", "error", "off", None, "limited"])
some_endpoints = st.lists(
    st.builds(
        endpoint,
        st.sampled_from(["E1", "E2", "E3", "E4", "E5"]),
        st.sampled_from(list(ConnectionType)),
        st.sampled_from(list(ConnectionType)),
        status=statuses,
        address=st.sampled_from(["https://a.example.org/x", "ftp://a", None, ""]),
    ),
    max_size=4,
).map(tuple)
studies = st.builds(
    lambda study, a, b: carried(*study, a=a, b=b), some_endpoints, some_endpoints, some_endpoints
)
targets = st.sampled_from([STUDY, A, B])
kinds = st.sampled_from(list(ConnectionType))


def has(endpoint: Endpoint, kind: ConnectionType) -> bool:
    return kind.value in endpoint.connection_types and bool(endpoint.address)


@given(what=studies, kind=kinds)
def test_series_beat_the_study_of_their_type_only(what: Carried, kind: ConnectionType) -> None:
    own = [e for e in what.series["1.2.3.1"] if has(e, kind)]

    found = resolved(what, A, kind)

    looked_at = {one.endpoint for one in found.alternatives} | {found.endpoint} - {None}
    assert looked_at == set(own or [e for e in what.study if has(e, kind)])


@given(what=studies, other=some_endpoints, kind=kinds)
def test_a_series_does_not_see_the_endpoints_of_another(
    what: Carried, other: tuple[Endpoint, ...], kind: ConnectionType
) -> None:
    changed = Carried(study=what.study, series={**what.series, "1.2.3.2": other})

    assert resolved(what, A, kind) == resolved(changed, A, kind)


@given(what=studies, target=targets, kind=kinds)
def test_the_first_that_may_be_used_wins_and_the_others_keep_their_order(
    what: Carried, target: Target, kind: ConnectionType
) -> None:
    found = resolved(what, target, kind)

    at_series = [e for e in what.series.get(target.series_uid or "", ()) if has(e, kind)]
    candidates = list(dict.fromkeys(at_series or [e for e in what.study if has(e, kind)]))
    usable = [
        e
        for e in candidates
        if e.status in {"active", None, "limited"} and (e.address or "").startswith("https:")
    ]
    assert found.endpoint == (usable[0] if usable else None)
    assert [o.endpoint for o in found.alternatives] == [
        e for e in candidates if e != found.endpoint
    ]
    assert {o.endpoint for o in found.alternatives if o.is_usable} == set(usable[1:])


@given(what=studies, target=targets, kind=kinds)
def test_without_a_winner_something_is_said(
    what: Carried, target: Target, kind: ConnectionType
) -> None:
    found = resolved(what, target, kind)

    assert found.endpoint is not None or found.decided_by is None or found.warnings


@given(
    text=st.from_regex(r"[0-9]{4}(-[0-9]{2}(-[0-9]{2})?)?", fullmatch=True)
    | st.datetimes().map(lambda d: d.isoformat() + "Z")
    | st.text(),
    is_end=st.booleans(),
)
def test_any_text_as_period_is_survived(*, text: str, is_end: bool) -> None:
    limits = {"period_end" if is_end else "period_start": text}

    resolved(carried(endpoint("W1", RS, **limits)), A, RS)


NORTH = {
    "type": "dicomweb",
    "qido_rs": "http://north.internal/dicom-web",
    "publish": {
        "dicom-wado-rs": "https://north.example.org/wado-rs",
        "ihe-iid": "https://north.example.org/iid",
    },
}
SOUTH = {
    "type": "dicomweb",
    "qido_rs": "http://south.internal/dicom-web",
    "publish": {"dicom-wado-rs": "https://south.example.org/wado-rs"},
}
VIEWERS = {
    "ohif": {"type": "template", "title": "OHIF", "url": "https://v.example.org/{study_uid}"}
}


def settings(expose: str = "gateway", **more: Any) -> Settings:
    return Settings.model_validate(
        {
            "server": {"public_url": "https://gw.example.org/images"},
            "archives": {"north": NORTH, "south": SOUTH},
            "endpoints": {"expose": expose},
            **more,
        }
    )


def study(*holders: tuple[str, ...]) -> Study:
    series = tuple(
        Series(uid=f"1.2.3.{number}", archives=archives)
        for number, archives in enumerate(holders, 1)
    )
    return Study(uid="1.2.3", archives=("north", "south"), series=series)


def ids(found: tuple[Endpoint, ...]) -> list[str]:
    return [one.id for one in found]


def test_the_gateway_s_own_endpoints_are_at_the_study() -> None:
    at_study, by_series = endpoints.of_gateway(settings(), study(("north",), ("south",)))

    assert {one.id: one.address for one in at_study} == {
        "gateway-dicom-wado-rs": "https://gw.example.org/images/dicom-web",
        "gateway-dicom-wado-uri": "https://gw.example.org/images/wado",
        "gateway-dicom-qido-rs": "https://gw.example.org/images/dicom-web",
    }
    assert by_series == {}


def test_a_viewer_makes_the_gateway_an_image_display() -> None:
    at_study, _ = endpoints.of_gateway(settings(viewers=VIEWERS), study(("north",)))

    assert at_study[-1].id == "gateway-ihe-iid"
    assert at_study[-1].address == "https://gw.example.org/images/iid"


def test_an_archive_that_holds_the_whole_study_serves_it_directly() -> None:
    at_study, by_series = endpoints.of_gateway(settings("direct"), study(("north",), ("north",)))

    assert ids(at_study) == ["north-dicom-wado-rs", "north-ihe-iid"]
    assert by_series == {}


def test_a_study_split_over_archives_is_served_by_series() -> None:
    what = study(("north",), ("south",), ("south", "north"))

    at_study, by_series = endpoints.of_gateway(settings("direct"), what)

    assert at_study == ()
    assert {uid: ids(e) for uid, e in by_series.items()} == {
        "1.2.3.1": ["north-dicom-wado-rs"],
        "1.2.3.2": ["south-dicom-wado-rs"],
        "1.2.3.3": ["north-dicom-wado-rs", "south-dicom-wado-rs"],
    }


def test_both_puts_the_gateway_first_at_every_level() -> None:
    at_study, by_series = endpoints.of_gateway(settings("both"), study(("north",), ("south",)))

    assert ids(at_study) == [
        "gateway-dicom-wado-rs",
        "gateway-dicom-wado-uri",
        "gateway-dicom-qido-rs",
    ]
    assert ids(by_series["1.2.3.1"]) == ["gateway-dicom-wado-rs", "north-dicom-wado-rs"]


def test_a_study_of_one_archive_needs_no_series_level() -> None:
    shallow = Study(uid="1.2.3", archives=("south",))

    assert ids(endpoints.of_gateway(settings("direct"), shallow)[0]) == ["south-dicom-wado-rs"]


def test_who_may_not_see_everything_is_not_sent_past_the_gateway() -> None:
    what, chosen = study(("north",)), settings("direct")
    hides = Policy(name="hie", hide=(Rule(name="hide[0]", modalities=("SR",)),))
    hides_nothing = Policy(name="staff")

    hie = endpoints.of_gateway(chosen, what, consumer=Consumer(id="x", policy=hides))
    staff = endpoints.of_gateway(chosen, what, consumer=Consumer(id="y", policy=hides_nothing))

    assert all(one.id.startswith("gateway-") for one in hie[0])
    assert ids(staff[0]) == ["north-dicom-wado-rs", "north-ihe-iid"]


def test_no_address_of_an_archive_is_published_unless_exposed() -> None:
    assert all(e.id.startswith("gateway-") for e in endpoints.published(settings()))
    assert [e.id for e in endpoints.published(settings("direct")) if e.id[:7] != "gateway"] == [
        "north-dicom-wado-rs",
        "south-dicom-wado-rs",
        "north-ihe-iid",
    ]


@given(
    holders=st.lists(
        st.sampled_from([("north",), ("south",), ("north", "south")]), min_size=1, max_size=5
    ),
    expose=st.sampled_from(["gateway", "direct", "both"]),
)
def test_every_endpoint_of_a_study_is_published(
    holders: list[tuple[str, ...]], expose: str
) -> None:
    chosen = settings(expose)

    at_study, by_series = endpoints.of_gateway(chosen, study(*holders))

    carried_ones = {*at_study, *(e for each in by_series.values() for e in each)}
    assert carried_ones <= set(endpoints.published(chosen))
    assert len({e.id for e in carried_ones}) == len(carried_ones)
