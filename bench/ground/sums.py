"""Rounds in which all candidates take turns, and what comes out of them."""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

RESULTS = "BENCH_RESULTS"
"""The environment variable that names the file to which results are added, a JSON object a line."""
NAME = "BENCH_NAME"
"""The environment variable that names the benchmark which runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One figure: what was measured, as a multiple of what in the same run, and what it must be.

    `floor` must hold, `goal` is aimed at; `is_more_better` says in which direction. `of` is empty
    where the figure is no multiple of anything.
    """

    what: str
    of: str
    ratio: float
    floor: float | None = None
    goal: float | None = None
    is_more_better: bool = False
    unit: str = "x"
    bench: str = field(default_factory=lambda: os.environ.get(NAME, ""))

    @property
    def verdict(self) -> str:
        """`goal`, `floor`, `missed`, or "" where nothing is asked."""
        for name, limit in (("goal", self.goal), ("floor", self.floor)):
            if limit is not None and (
                self.ratio >= limit if self.is_more_better else self.ratio <= limit
            ):
                return name
        return "" if self.goal is None and self.floor is None else "missed"


def rounds_asked(usual: int) -> int:
    """How many rounds the command line asks for."""
    return int(sys.argv[1]) if len(sys.argv) > 1 else usual


def rounds(count: int, candidates: Mapping[str, Callable[[], float]]) -> list[dict[str, float]]:
    """The figures of `count` rounds, in each of which every candidate has one turn."""
    return [{name: measure() for name, measure in candidates.items()} for _ in range(count)]


def median(done: Sequence[Mapping[str, float]], name: str) -> float:
    """The median of a candidate's figures."""
    return statistics.median(one[name] for one in done)


def ratio(done: Sequence[Mapping[str, float]], name: str, yardstick: str) -> float:
    """The median of a candidate's figure over the yardstick's in the same round."""
    return statistics.median(one[name] / one[yardstick] for one in done)


def tell(result: Result) -> None:
    """Prints a result, and adds it to the results where they are collected."""
    sign = "≥" if result.is_more_better else "≤"
    asked = " ".join(
        f"{name} {sign} {limit:.3g}"
        for name, limit in (("floor", result.floor), ("goal", result.goal))
        if limit is not None
    )
    sys.stdout.write(
        f"  {result.what:58}{result.ratio:8.3g} {result.unit} {result.of:34}"
        f"{asked:26}{result.verdict}\n"
    )
    sys.stdout.flush()
    if path := os.environ.get(RESULTS):
        with Path(path).open("a") as file:
            file.write(json.dumps(asdict(result)) + "\n")
