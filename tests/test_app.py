"""The gateway is put together right."""

from __future__ import annotations

import re

from gateway.app import build_app
from gateway.config import Settings


def test_every_path_of_the_gateway_answers_get_and_head_or_says_why_not() -> None:
    """Routes without a name would be counted together; two with one path would hide each other."""
    seen = set()
    for route in build_app(Settings()).router.routes():
        resource = route.resource
        assert resource is not None
        assert (resource.canonical, route.method) not in seen
        seen.add((resource.canonical, route.method))
        assert re.fullmatch(r"/[\w{}./-]*", resource.canonical.replace("-", ""))
    assert ("/dicom-web/studies", "HEAD") in seen
