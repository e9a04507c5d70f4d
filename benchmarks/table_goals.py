"""The lines of `benchmarks.tables` as tables of means, and the goals that they meet or miss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import mean
from typing import Any

Line = dict[str, Any]
OURS, TREES, FRESH = "gaussflow", "CART", "the rows held out"
SHOWN = {
    "boosted": "told apart by boosted trees",
    "logistic": "told apart by logistic regression",
    "gap": "lost by training on rows drawn",
    "nearer": "share nearer to rows fitted than to others",
    "member": "rows fitted recognised",
    "copies": "share of copies",
    "fit s": "CPU seconds of the fit",
}
GOALS = {
    "boosted beyond CART": 0.01,
    "logistic beyond fresh rows": 0.03,
    "lost by training": 0.02,
    "nearer": 0.55,
    "recognised": 0.54,
    "copies beyond chance": 0.0,
}
CONTINUOUS = ("breast_cancer",)  # all others are mixed


def of(lines: Sequence[Line], table: str, method: str, value: str) -> float:
    """The mean over seeds; NaN where nothing was measured."""
    held = [line[value] for line in lines if (line["table"], line["method"]) == (table, method) and value in line]
    held = [value for value in held if value is not None and not math.isnan(value)]
    return mean(held) if held else math.nan


def shown(lines: Sequence[Line]) -> str:
    """A table of each measure, tables by methods, and the goals."""
    tables = list(dict.fromkeys(line["table"] for line in lines))
    methods = [m for m in dict.fromkeys(line["method"] for line in lines) if m != FRESH] + [FRESH]
    parts = []
    for value, title in SHOWN.items():
        heads = [m for m in methods if m != FRESH or value != "fit s"]
        rows = [f"| {title} | {' | '.join(heads)} |", "|" + "---|" * (len(heads) + 1)]
        for table in tables:
            size = next((line["rows"], line["dim"]) for line in lines if line["table"] == table)
            cells = [of(lines, table, method, value) for method in heads]
            digits = 1 if value == "fit s" else 3
            texts = ["" if math.isnan(cell) else f"{cell:.{digits}f}" for cell in cells]
            rows.append(f"| {table} {size[0]} × {size[1]} | {' | '.join(texts)} |")
        parts.append("\n".join(rows))
    return "\n\n".join([*parts, goals(lines, tables)])


def goals(lines: Sequence[Line], tables: Sequence[str]) -> str:
    """What is reached of each goal, by table: met or missed."""
    heads = [f"{title}, at most {most:g}" for title, most in GOALS.items()]
    rows = ["| goal | " + " | ".join(heads) + " |", "|" + "---|" * (len(heads) + 1)]
    for table in tables:
        found = dict(zip(GOALS, _reached(lines, table), strict=True))
        if table in CONTINUOUS:
            found["boosted beyond CART"] = math.nan
        rows.append(f"| {table} | " + " | ".join(_cell(v, GOALS[g]) for g, v in found.items()) + " |")
    parts = ["\n".join(rows)]
    mixed = [of(lines, table, OURS, "boosted") for table in tables if table not in CONTINUOUS]
    held = [value for value in mixed if not math.isnan(value)]
    if held:
        parts.append(f"Boosted, mean of the mixed tables, at most 0.58: {_cell(mean(held), 0.58)}.")
    for table in (t for t in tables if t in CONTINUOUS and not math.isnan(of(lines, t, OURS, "boosted"))):
        parts.append(f"Boosted, {table}, at most 0.65: {_cell(of(lines, table, OURS, 'boosted'), 0.65)}.")
    return "\n\n".join(parts)


def _reached(lines: Sequence[Line], table: str) -> list[float]:
    """The values of the goals, in their order."""
    own = lambda value: of(lines, table, OURS, value)  # noqa: E731
    fresh = max(0.5, of(lines, table, FRESH, "logistic"))
    by_chance = of(lines, table, FRESH, "copies")
    boosted = own("boosted") - of(lines, table, TREES, "boosted")
    return [boosted, own("logistic") - fresh, own("gap"), own("nearer"), own("member"), own("copies") - by_chance]


def _cell(value: float, most: float) -> str:
    if math.isnan(value):
        return ""
    return f"{value:.3f} {'met' if round(value, 3) <= most else '**missed**'}"
