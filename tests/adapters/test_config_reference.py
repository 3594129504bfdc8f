"""The reference page and the models say the same."""

from __future__ import annotations

from pathlib import Path

from gateway.adapters.config_reference import markdown

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_reference_page_is_up_to_date() -> None:
    assert PAGE.read_text() == markdown(), "run: gateway config-reference > docs/configuration.md"


def test_no_section_is_told_twice() -> None:
    titles = [line for line in markdown().splitlines() if line.startswith("## ")]
    assert len(titles) == len(set(titles))


def test_dates_and_lists_are_told_as_they_are_written() -> None:
    assert "| `study_date_from` | date | none |" in markdown()
    assert "| `[imaging-studies]` |" in markdown()


def test_every_setting_is_explained() -> None:
    rows = [line for line in markdown().splitlines() if line.startswith("| `")]
    assert len(rows) > 80
    assert [row for row in rows if row.endswith("|  |")] == []
