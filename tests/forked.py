"""The gateway's command in processes forked from one that has imported it: no second of imports.

Such a process has its own id, environment, folder, descriptors and signals, as one that was
executed has; `tests/test_cli.py` also runs the command as it is installed.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from gateway import cli
from tests.gateways import Gateway

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__])
_END_SECONDS = 60


class Forked:
    """The command with `words` as a child process; the part of `subprocess.Popen` that is used."""

    def __init__(
        self,
        words: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str],
        output: Path,
        errors: Path,
    ) -> None:
        """Runs in `folder`; what it writes is added to the files `output` and `errors`."""
        self._words = words
        self._process: ForkServerProcess = _CONTEXT.Process(
            target=_run,
            args=(list(words), str(folder), dict(environment), str(output), str(errors)),
        )
        self._process.start()
        _running.add(self)

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        """The exit code, if it has ended."""
        code = self._process.exitcode
        if code is not None:
            _running.discard(self)
        return code

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once it has ended; TimeoutExpired when it does not."""
        self._process.join(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired(list(self._words), timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


_running: set[Forked] = set()


@atexit.register
def _kill_those_left() -> None:
    for one in tuple(_running):
        one.kill()


def _run(
    words: Sequence[str], folder: str, environment: Mapping[str, str], output: str, errors: str
) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for descriptor, path in ((1, output), (2, errors)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(file, descriptor)
        os.close(file)
    sys.argv = ["-c", *words]
    cli.main()


def run(
    words: Sequence[str], *, folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """The command, run to its end."""
    with tempfile.TemporaryDirectory() as written:
        output, errors = Path(written, "output"), Path(written, "errors")
        child = Forked(words, folder=folder, environment=environment, output=output, errors=errors)
        try:
            code = child.wait(_END_SECONDS)
        finally:
            child.kill()
        return subprocess.CompletedProcess(words, code, output.read_text(), errors.read_text())


class ForkedGateway(Gateway):
    """`gateway serve`, forked."""

    def _begun(self) -> Forked:
        _, _, _, *words = self.command()
        return Forked(
            words,
            folder=self.folder,
            environment=os.environ,
            output=self._log,
            errors=self._log,
        )
