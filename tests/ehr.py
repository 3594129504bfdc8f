"""A small FHIR server that knows patients, for a gateway that is a process of its own."""

from __future__ import annotations

import http.server
import json
import threading
from typing import Any, Self


class Ehr:
    """Gives Patient/{id} of `patients`; use it as a context manager."""

    def __init__(self) -> None:
        self.patients: dict[str, dict[str, Any]] = {}
        self.requests: list[str] = []
        self.is_away = False
        """Whether it answers 503 to everything."""
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))

    @property
    def url(self) -> str:
        """Base of its FHIR interface."""
        return f"http://127.0.0.1:{self._server.server_port}/fhir"

    def knows(self, resource_id: str, *identifiers: tuple[str, str], **more: Any) -> None:
        """There is a Patient with these identifiers, each a system and a value."""
        named = [{"system": system, "value": value} for system, value in identifiers]
        patient = {"resourceType": "Patient", "id": resource_id, "identifier": named}
        self.patients[resource_id] = patient | more

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,)).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(ehr: Ehr) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            ehr.requests.append(self.path)
            found = ehr.patients.get(self.path.removeprefix("/fhir/Patient/"))
            body = json.dumps(found).encode()
            self.send_response(503 if ehr.is_away else 404 if found is None else 200)
            self.send_header("Content-Type", "application/fhir+json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing."""

    return Handler
