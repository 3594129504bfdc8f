"""A confined process can neither open nor write anything, whatever it is told to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.adapters import confinement

_PREPARED = """
import os, resource, socket, sys, ctypes
from gateway.adapters import confinement
confinement.limit_memory()
"""


def confined(script: str, descriptors: int = 0) -> str:
    """What a script prints that runs after everything has been given up."""
    whole = f"{_PREPARED}confinement.give_up({descriptors})\n{script}"
    done = subprocess.run(  # noqa: S603  our own script
        (sys.executable, "-c", whole),
        cwd=Path(__file__).parents[2],
        env={"PYTHONPATH": ":".join(p for p in sys.path if p), "OPENBLAS_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        timeout=60,
        text=True,
    )
    return done.stdout


@pytest.mark.parametrize(
    "attempt",
    [
        "socket.socket()",
        "open('/etc/hostname')",
        "os.dup(1)",
        "os.pipe()",
        "os.memfd_create('x')",
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))",
        "os.setuid(0) or os.open('/', 0)",
    ],
)
def test_nothing_can_be_opened(attempt: str) -> None:
    told = confined(f"try: {attempt}\nexcept (OSError, ValueError): print('refused')")

    assert told == "refused\n"


def test_secrets_of_the_environment_are_not_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHIVE_PASSWORD", "secret")
    monkeypatch.setattr(sys, "path", ["", "/modules"])

    told = confinement.environment()

    assert "secret" not in repr(told)
    assert told["PYTHONPATH"] == f"{Path.cwd()}:/modules"


def test_no_process_can_be_started() -> None:
    assert confined("try: os.fork()\nexcept OSError: print('refused')") == "refused\n"


def test_as_many_descriptors_are_left_as_are_received() -> None:
    script = "os.dup(1)\ntry: os.dup(1)\nexcept OSError: print('refused')"

    assert confined(script, descriptors=1) == "refused\n"


def test_memory_is_limited() -> None:
    told = confined("try: bytearray(2**30)\nexcept MemoryError: print('refused')")

    assert told == "refused\n"


def test_processor_time_is_limited_and_ends_the_process() -> None:
    told = confined("confinement.limit_cpu(0.1)\nprint('on', flush=True)\nwhile True: pass")

    assert told == "on\n"


def test_what_decoders_say_goes_nowhere() -> None:
    noise = "confinement.silence()\nos.write(1, b'noise')\nos.write(2, b'noise')"
    told = confined(f"kept = os.dup(1)\n{noise}\nos.write(kept, b'quiet')", descriptors=2)

    assert told == "quiet"


def test_descriptors_that_were_handed_on_by_chance_are_closed() -> None:
    script = """
log, kept, other = os.dup(1), os.dup(1), os.dup(1)
confinement.keep_only(kept)
for each in (log, other):
    try: os.fstat(each)
    except OSError: print("closed", flush=True)
os.write(kept, b"kept")
"""
    assert confined(script, descriptors=3) == "closed\nclosed\nkept"
