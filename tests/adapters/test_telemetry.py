"""What metrics and the log tell, and what they keep to themselves."""

from __future__ import annotations

import io
import json
import logging
from datetime import UTC, datetime, timedelta

import pytest
import structlog

from gateway.adapters.telemetry import Telemetry
from tests.logs import logging_to

CANARY = "DOE^JANE 1.2.840.99 Bearer-abc"


def text(telemetry: Telemetry) -> str:
    return telemetry.exposition()[0].decode()


def test_requests_are_counted_by_route_method_and_class_of_status() -> None:
    telemetry = Telemetry()
    telemetry.request_started()
    telemetry.request_done(
        request_id="abc",
        route="/dicom-web/studies",
        method="GET",
        status=204,
        seconds=0.02,
        bytes_out=7,
    )
    said = text(telemetry)
    labels = 'method="GET",route="/dicom-web/studies",status="2xx"'
    assert f"gateway_requests_total{{{labels}}} 1.0" in said
    assert 'gateway_response_bytes_total{route="/dicom-web/studies"} 7.0' in said
    assert 'duration_seconds_bucket{le="0.025",route="/dicom-web/studies"} 1.0' in said
    assert "gateway_requests_in_flight 0.0" in said


def test_archives_are_counted_by_id_and_outcome() -> None:
    telemetry = Telemetry()
    telemetry.archive_answered("north", "ok", 0.1)
    telemetry.archive_answered("north", "timeout", 15)
    said = text(telemetry)
    assert 'gateway_archive_requests_total{archive="north",outcome="timeout"} 1.0' in said
    assert 'gateway_archive_first_byte_seconds_count{archive="north"} 2.0' in said


def test_two_gateways_in_one_process_count_apart() -> None:
    one, other = Telemetry(), Telemetry()
    one.request_started()
    assert "gateway_requests_in_flight 1.0" in text(one)
    assert "gateway_requests_in_flight 0.0" in text(other)


def test_exposition_is_of_the_type_that_prometheus_asks_for() -> None:
    assert Telemetry().exposition()[1].startswith("text/plain; version=")


def test_only_known_fields_are_logged(log: io.StringIO) -> None:
    structlog.get_logger().info("request", route="/x", status=200, patient=CANARY, url=CANARY)
    said = json.loads(log.getvalue())
    assert (said["event"], said["route"], said["status"]) == ("request", "/x", 200)
    assert CANARY not in log.getvalue()


@pytest.mark.parametrize("how", ["exception", "exc_info"])
def test_exception_is_logged_by_type_and_place_without_its_text(how: str, log: io.StringIO) -> None:
    try:
        try:
            raise KeyError(CANARY)
        except KeyError as cause:
            raise ValueError(CANARY) from cause
    except ValueError as error:
        if how == "exception":
            structlog.get_logger().exception("unforeseen")
        else:
            structlog.get_logger().error("unforeseen", exc_info=error)
    said = json.loads(log.getvalue())
    assert said["exception"].startswith("ValueError at test_telemetry.py:")
    assert "from KeyError" in said["exception"]
    assert CANARY not in log.getvalue()


def test_library_messages_are_reduced_to_where_they_come_from(log: io.StringIO) -> None:
    logging.getLogger("aiohttp.server").error("GET /studies/%s", CANARY)
    logging.getLogger("asyncio").debug("slow")
    said = json.loads(log.getvalue())
    assert (said["logger"], said["level"]) == ("aiohttp.server", "error")
    assert CANARY not in log.getvalue()


def test_person_at_a_terminal_gets_lines_and_not_json() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    with logging_to(stream):
        structlog.get_logger().info("serving", port=8080)
    assert "serving" in stream.getvalue()
    with pytest.raises(json.JSONDecodeError):
        json.loads(stream.getvalue())


def test_a_request_is_logged_with_its_fields_and_the_time(log: io.StringIO) -> None:
    telemetry = Telemetry()
    telemetry.request_started()
    telemetry.request_done(
        request_id="abc", route="/x", method="GET", status=200, seconds=0.0123, bytes_out=7
    )
    telemetry.close()
    said = json.loads(log.getvalue())
    at = datetime.fromisoformat(said.pop("timestamp"))
    assert abs(datetime.now(UTC) - at) < timedelta(seconds=60)
    assert said == {
        "event": "request",
        "level": "info",
        "request_id": "abc",
        "route": "/x",
        "method": "GET",
        "status": 200,
        "duration_ms": 12.3,
    }
