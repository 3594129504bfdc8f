"""CPU time and memory of a process and all below it, as Linux counts them."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path


def tree(pid: int) -> Iterator[int]:
    """A process and all below it."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            yield from tree(int(child))


def cpu_seconds(pid: int) -> float:
    """CPU seconds of a process tree so far."""
    stats = (s for one in tree(pid) for s in Path(f"/proc/{one}/task").glob("*/schedstat"))
    return sum(int(s.read_text().split()[0]) for s in stats) / 1e9


def memory(pid: int, field: str) -> int:
    """Bytes of a process tree: VmRSS now, or VmHWM at its highest since `forget_peak`."""
    texts = (Path(f"/proc/{one}/status").read_text() for one in tree(pid))
    found = (re.search(rf"^{field}:\s*(\d+) kB", text, re.MULTILINE) for text in texts)
    return sum(int(f[1]) * 1024 for f in found if f is not None)


def forget_peak(pid: int) -> None:
    """Let VmHWM start anew."""
    for one in tree(pid):
        Path(f"/proc/{one}/clear_refs").write_text("5")


def cpu_clock(pid: int) -> float:
    """CPU seconds of one process so far, threads that have ended included."""
    return time.clock_gettime(~pid << 3 | 2)  # as clock_getcpuclockid(3) makes it
