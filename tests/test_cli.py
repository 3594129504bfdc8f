"""The `gateway` command as it is typed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway import demo
from tests import forked
from tests.servers import HeldPort

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-m", "gateway"]
STUDY = f"{demo.UID_ROOT}.1"


def environment() -> dict[str, str]:
    """A plain terminal's; nothing of the caller's configuration."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY")}
    return kept | {"PYTHONPATH": str(ROOT), "NO_COLOR": "1", "COLUMNS": "200", "TERM": "dumb"}


def run(*words: str, folder: Path = ROOT, **extra: str) -> subprocess.CompletedProcess[str]:
    """The command in a process forked for it."""
    return forked.run(words, folder=folder, environment=environment() | extra)


@contextmanager
def running(*words: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(  # noqa: S603 - our own command
        [*COMMAND, *words], cwd=folder, env=environment(), stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def until(process: subprocess.Popen[str], words: str) -> str:
    """What the process says up to and including the line that holds `words`."""
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if words in line:
            return said
    raise AssertionError(said)


@pytest.fixture
def configured(tmp_path: Path, sample_folder: Path) -> Path:
    """A configuration of the sample files, in a folder of its own."""
    path = tmp_path / "gateway.yaml"
    path.write_text(f"archives:\n  samples: {{type: folder, path: '{sample_folder}'}}\n")
    return path


def test_version_is_printed() -> None:
    said = subprocess.check_output([*COMMAND, "--version"], env=environment(), text=True)  # noqa: S603 - our own command
    assert said.startswith("gateway 0.")


@pytest.mark.parametrize("words", [["--help"], ["serve", "--help"], ["resolve", "--help"]])
def test_help_tells_the_exit_codes(words: list[str]) -> None:
    answer = run(*words)
    assert answer.returncode == 0
    assert "Exit codes: 0" in " ".join(answer.stdout.split())


def test_good_configuration_is_good(configured: Path) -> None:
    answer = run("check-config", str(configured))
    assert (answer.returncode, answer.stdout) == (0, "0 errors, 0 warnings\n")


def test_all_mistakes_are_printed_with_place_and_remedy(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("servr: {}\narchives:\n  a: {type: dicomweb, qido_rs: htp://pacs}\n")
    answer = run("check-config", str(path))
    assert answer.returncode == 2
    assert f"{path}:1:1  error  servr  unknown key; did you mean `server`?" in answer.stdout
    assert f'{path}:3:32  error  archives.a.qido_rs  "htp://pacs": scheme' in answer.stdout
    assert "2 errors, 0 warnings" in answer.stdout
    assert "\x1b" not in answer.stdout


def test_mistakes_are_printed_as_json(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("{}\n")
    answer = run("check-config", str(path), "--format", "json")
    assert answer.returncode == 2
    (mistake,) = json.loads(answer.stdout)["mistakes"]
    assert (mistake["severity"], mistake["path"]) == ("error", "archives")


@pytest.mark.parametrize("command", ["serve", "resolve"])
def test_nothing_runs_on_a_mistaken_configuration(command: str, tmp_path: Path) -> None:
    words = [command, *([STUDY] if command == "resolve" else [])]
    answer = run(*words, "--config", "none.yaml", folder=tmp_path)
    assert answer.returncode == 2
    assert "none.yaml: No such file" in answer.stderr


def test_open_network_is_refused_from_the_command_line_too(configured: Path) -> None:
    answer = run("serve", "--config", str(configured), "--host", "0.0.0.0")  # noqa: S104
    assert answer.returncode == 2
    assert "allow_open_network" in answer.stderr


def test_resolve_prints_what_the_server_would_answer(configured: Path) -> None:
    answer = run("resolve", STUDY, "--config", str(configured), "--json")
    assert answer.returncode == 0, answer.stderr
    targets = json.loads(answer.stdout)["targets"]
    urls = {one["url"] for one in targets if one["connection_type"] == "dicom-wado-rs"}
    assert f"http://127.0.0.1:8080/dicom-web/studies/{STUDY}" in urls


def test_resolve_prints_a_table_with_whole_urls(configured: Path) -> None:
    words = ["--series", f"{STUDY}.1", "--type", "dicom-wado-rs", "--config", str(configured)]
    answer = run("resolve", STUDY, *words, COLUMNS="400")
    assert f"http://127.0.0.1:8080/dicom-web/studies/{STUDY}/series/{STUDY}.1" in answer.stdout
    assert "gateway-dicom-wado-rs" in answer.stdout


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([f"{STUDY}9999"], 1),
        (["no-uid"], 2),
        ([STUDY, "--type", "dicom-stow-rs"], 2),
        ([STUDY, "--instance", "1.2.3"], 2),
    ],
    ids=["absent", "no UID", "unknown type", "instance alone"],
)
def test_resolve_says_what_is_wrong(words: list[str], code: int, configured: Path) -> None:
    answer = run("resolve", *words, "--config", str(configured))
    assert answer.returncode == code
    assert "error: " in answer.stderr
    assert "Traceback" not in answer.stderr


def test_serve_answers_and_ends_in_good_order(configured: Path, tmp_path: Path) -> None:
    held = HeldPort()
    port = held.number
    words = ["serve", "--config", str(configured), "--port", str(port)]
    with running(*words, folder=tmp_path) as process:
        until(process, f"http://127.0.0.1:{port}/fhir")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready") as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


@pytest.mark.parametrize("command", ["serve", "demo"])
def test_port_in_use_is_told(command: str, configured: Path, sample_folder: Path) -> None:
    words = ["--config", str(configured)] if command == "serve" else []
    folder = configured.parent
    if command == "demo":
        shutil.copytree(sample_folder, folder / ".demo" / "dicom")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        answer = run(command, *words, "--port", str(port), folder=folder)
    assert answer.returncode == 1
    assert f"cannot listen on 127.0.0.1 port {port}" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_demo_shows_what_to_try_and_it_works(tmp_path: Path) -> None:
    held, started = HeldPort(), time.monotonic()
    port = held.number
    with running("demo", "--port", str(port), folder=tmp_path) as process:
        said = until(process, f"http://127.0.0.1:{port}/iid")
        thumbnail = f"http://127.0.0.1:{port}/dicom-web/studies/{STUDY}/thumbnail"
        assert thumbnail in said
        with urllib.request.urlopen(thumbnail) as answer:
            assert answer.headers["Content-Type"] in {"image/jpeg", "image/png"}
        assert time.monotonic() - started < 30
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
