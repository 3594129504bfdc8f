"""The results as tables and as a picture, for docs/performance.md."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from bench.ground.sums import Result

BEGIN, END = "<!-- results -->\n", "<!-- end of results -->\n"
GROUPS: Mapping[str, tuple[str, ...]] = {
    "Answers that are at hand": ("cached", "dress", "bundle", "hung"),
    "First answers": ("uncached", "single_flight", "build", "lag"),
    "Bodies that are passed on": ("proxy", "small_proxy"),
    "Pictures": ("thumbnails",),
    "The shared cache": ("coherence", "keys"),
    "The process": ("costs",),
}
"""What the benchmarks are about, in the order in which they are told of."""
_OTHERS = "More"
_WIDTH, _ROW, _TEXT, _BAR = 1120, 24, 640, 360
_MOST = 2.0
"""How many times the floor the longest bar shows."""
_STYLE = (
    "text{font:12.5px system-ui,sans-serif;fill:#222}.head{font-weight:600}.goal{fill:#2a7f4f}"
    ".floor{fill:#c28a1b}.missed{fill:#b3382c}line{stroke:#222}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}line{stroke:#ddd}}"
)


def place(bench: str) -> tuple[int, str]:
    """What sorts benchmarks into the order of the page."""
    order = [name for names in GROUPS.values() for name in names]
    return (order.index(bench) if bench in order else len(order)), bench


def table(results: Sequence[Result]) -> str:
    """Markdown tables with a row for each result."""
    head = "| What | Compared with | Measured | Floor | Goal |\n|---|---|---|---|---|\n"
    return "\n".join(
        f"**{group}**\n\n{head}{''.join(map(_line, some))}"
        for group, some in _grouped(results).items()
    )


def with_results(page: str, results: Sequence[Result]) -> str:
    """`page` with its tables replaced."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{table(results)}\n{END}{after}"


def picture(results: Sequence[Result]) -> str:
    """An SVG: for each result that must be something, how much of what that allows is used."""
    shown = _grouped([r for r in results if _allowed(r) is not None])
    drawn: list[str] = []
    for group, some in shown.items():
        drawn.append(_heading(group, len(drawn) + 1))
        for one in some:
            drawn.append(_bar(one, len(drawn) + 1))
    height = _ROW * (len(drawn) + 2)
    at = _TEXT + _BAR / _MOST
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">'
        "<title>How much of what its floor allows each figure uses: shorter is better</title>"
        f'<style>{_STYLE}</style><line x1="{at}" x2="{at}" y1="{_ROW}" y2="{height - _ROW / 2}"/>'
        f'<text x="{at}" y="16" text-anchor="middle">the floor</text>{_legend()}'
        f"{''.join(drawn)}</svg>\n"
    )


def _grouped(results: Sequence[Result]) -> dict[str, list[Result]]:
    """The results by what they are about, in the order of the page."""
    group_of = {name: group for group, names in GROUPS.items() for name in names}
    found: dict[str, list[Result]] = {}
    for one in sorted(results, key=lambda r: place(r.bench)):
        found.setdefault(group_of.get(one.bench, _OTHERS), []).append(one)
    return found


def _line(result: Result) -> str:
    missed = " **missed**" if result.verdict == "missed" else ""
    return (
        f"| {result.what} | {result.of} | {_figure(result)}{missed} "
        f"| {_limit(result, result.floor)} | {_limit(result, result.goal)} |\n"
    )


def _legend() -> str:
    words = (("goal", "goal reached"), ("floor", "floor kept"), ("missed", "missed"))
    return "".join(
        f'<rect class="{kind}" x="{8 + 110 * n}" y="6" width="12" height="12"/>'
        f'<text x="{26 + 110 * n}" y="16">{text}</text>'
        for n, (kind, text) in enumerate(words)
    )


def _heading(group: str, number: int) -> str:
    return f'<text class="head" x="8" y="{_ROW * number + 17}">{html.escape(group)}</text>'


def _bar(result: Result, number: int) -> str:
    y = _ROW * number
    length = max(2.0, min(_used(result), _MOST) / _MOST * _BAR)
    label = html.escape(f"{result.what} / {result.of}" if result.of else result.what)
    return (
        f'<text x="{_TEXT - 8}" y="{y + 16}" text-anchor="end">{label}</text>'
        f'<rect class="{result.verdict}" x="{_TEXT}" y="{y + 5}" width="{length:.0f}" height="14"/>'
        f'<text x="{_TEXT + _BAR + 10}" y="{y + 16}">{_figure(result)}</text>'
    )


def _allowed(result: Result) -> float | None:
    """The floor; the goal where there is no floor."""
    return result.goal if result.floor is None else result.floor


def _used(result: Result) -> float:
    """The measured figure over what is allowed, or the other way round where more is better."""
    allowed = _allowed(result) or 1.0
    if result.is_more_better:
        return allowed / result.ratio if result.ratio else _MOST
    return result.ratio / allowed


def _figure(result: Result) -> str:
    whole = f"{result.ratio:,.0f}"
    return f"{whole if result.ratio >= 100 else f'{result.ratio:.3g}'} {result.unit}"


def _limit(result: Result, limit: float | None) -> str:
    if limit is None:
        return ""
    return f"{'at least' if result.is_more_better else 'at most'} {limit:.3g}"
