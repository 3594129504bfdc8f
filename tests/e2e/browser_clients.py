"""The JavaScript clients that `scripts/browser-clients` fetches, and where they are."""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
JAVASCRIPT = Path(__file__).parent / "javascript"
FETCH = "run scripts/browser-clients (make test does)"


class MissingClient(RuntimeError):
    """A client is not there, or not in the version that package.json pins."""


def ohif() -> Path:
    """The folder of OHIF's build."""
    pinned = json.loads((JAVASCRIPT / "package.json").read_text())["viewers"]["ohif"]
    folder = ROOT / ".cache" / f"ohif-{pinned['version']}"
    if not (folder / "index.html").exists():
        raise MissingClient(f"OHIF {pinned['version']} is not there: {FETCH}")
    return folder


def dicomweb_client() -> Path:
    """The program that runs calls of the npm package dicomweb-client."""
    for name, version in json.loads((JAVASCRIPT / "package.json").read_text())[
        "dependencies"
    ].items():
        manifest = JAVASCRIPT / "node_modules" / name / "package.json"
        if not manifest.exists() or json.loads(manifest.read_text())["version"] != version:
            raise MissingClient(f"the npm package {name} {version} is not installed: {FETCH}")
    return JAVASCRIPT / "client.mjs"
