"""What commands share."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from gateway.cli_ground import FAILED, MISTAKEN, fail, settings_in


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text("archives: {a: {type: folder, path: .}}\nserver: {port: 1234}\n")
    assert settings_in(path, {}).server.port == 1234
    assert settings_in(path, {"PORT": "4321"}).server.port == 4321


def test_mistaken_configuration_ends_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text("archvies: {}\n")
    with pytest.raises(typer.Exit) as ended:
        settings_in(path, {})
    assert ended.value.exit_code == MISTAKEN
    assert "did you mean `archives`?" in capsys.readouterr().err


def test_failure_tells_why(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended:
        fail("it [cannot] be done", FAILED)
    assert ended.value.exit_code == FAILED
    assert capsys.readouterr().err == "error: it [cannot] be done\n"
