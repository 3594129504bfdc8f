"""All benchmarks, one after the other, and what they found in one table.

Run: `make bench`, or python -m bench [--write] [NAME …]. `--write` puts the table and the picture
into docs/performance.md and docs/performance.svg.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.ground import page
from bench.ground.sums import NAME, RESULTS, Result

_FOLDER = Path(__file__).parent
_DOCS = _FOLDER.parent / "docs"
_WRITE = "--write"
_MEASURES_NOTHING = frozenset({"contact_sheet", "hostile"})


def names() -> list[str]:
    """The benchmarks that there are, in the order in which they are told of."""
    found = {p.stem for p in _FOLDER.glob("*.py") if not p.stem.startswith("__")}
    return sorted(found - _MEASURES_NOTHING, key=page.place)


def run(chosen: Sequence[str], results: Path) -> list[str]:
    """Runs benchmarks, each in a process of its own; the names of those that failed."""
    failed = []
    for name in chosen:
        sys.stdout.write(f"\n== {name}\n")
        sys.stdout.flush()
        own = {RESULTS: str(results), NAME: name, "PYTHONPATH": str(_FOLDER.parent)}
        environment = os.environ | own
        command = [sys.executable, "-m", f"bench.{name}"]
        if subprocess.run(command, env=environment, check=False).returncode:  # noqa: S603 - ours
            failed.append(name)
    return failed


def main() -> None:
    """Runs what the command line names, or all."""
    chosen = [a for a in sys.argv[1:] if a != _WRITE] or names()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "results"
        path.touch()
        failed = run(chosen, path)
        results = [Result(**json.loads(line)) for line in path.read_text().splitlines()]
    sys.stdout.write(f"\n{page.table(results)}")
    if _WRITE in sys.argv:
        text = _DOCS / "performance.md"
        text.write_text(page.with_results(text.read_text(), results))
        (_DOCS / "performance.svg").write_text(page.picture(results))
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
