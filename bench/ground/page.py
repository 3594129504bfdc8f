"""The results as a table and as a picture, for docs/performance.md."""

from __future__ import annotations

import html
from collections.abc import Sequence

from bench.ground.sums import Result

BEGIN, END = "<!-- results -->\n", "<!-- end of results -->\n"
_WIDTH, _ROW, _TEXT, _BAR = 980, 26, 500, 380
_MOST = 2.0
"""How many times the floor the longest bar shows."""
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#222}.goal{fill:#2a7f4f}.floor{fill:#c28a1b}"
    ".missed{fill:#b3382c}line{stroke:#222}@media(prefers-color-scheme:dark)"
    "{text{fill:#ddd}line{stroke:#ddd}}"
)


def table(results: Sequence[Result]) -> str:
    """A Markdown table with a row for each result."""
    head = "| What | Compared with | Measured | Floor | Goal |\n|---|---|---|---|---|\n"
    return head + "".join(
        f"| {r.what} | {r.of} | {_figure(r)}{' **missed**' * (r.verdict == 'missed')} "
        f"| {_limit(r, r.floor)} | {_limit(r, r.goal)} |\n"
        for r in results
    )


def with_results(page: str, results: Sequence[Result]) -> str:
    """`page` with its table replaced."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{table(results)}\n{END}{after}"


def picture(results: Sequence[Result]) -> str:
    """An SVG: for each result with a floor, how much of what that allows is used."""
    shown = [r for r in results if r.floor is not None]
    height = _ROW * (len(shown) + 2)
    rows = "".join(_bar(r, number) for number, r in enumerate(shown, 1))
    at = _TEXT + _BAR / _MOST
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">'
        "<title>How much of what its floor allows each figure uses: shorter is better</title>"
        f"<style>{_STYLE}</style>"
        f'<text x="{at}" y="18" text-anchor="middle">the floor</text>{rows}'
        f'<line x1="{at}" x2="{at}" y1="{_ROW}" y2="{height - _ROW / 2}"/></svg>\n'
    )


def _bar(result: Result, number: int) -> str:
    y = _ROW * number
    length = max(2.0, min(_used(result), _MOST) / _MOST * _BAR)
    label = html.escape(f"{result.what}, of {result.of}")
    return (
        f'<text x="{_TEXT - 8}" y="{y + 17}" text-anchor="end">{label}</text>'
        f'<rect class="{result.verdict}" x="{_TEXT}" y="{y + 5}" width="{length:.0f}" height="16"/>'
        f'<text x="{_TEXT + length + 6:.0f}" y="{y + 17}">{_figure(result)}</text>'
    )


def _used(result: Result) -> float:
    """The measured figure over its floor, or the other way round where more is better."""
    floor = result.floor or 1.0
    return floor / result.ratio if result.is_more_better else result.ratio / floor


def _figure(result: Result) -> str:
    return f"{result.ratio:.3g} {result.unit}"


def _limit(result: Result, limit: float | None) -> str:
    if limit is None:
        return ""
    return f"{'at least' if result.is_more_better else 'at most'} {limit:.3g}"
