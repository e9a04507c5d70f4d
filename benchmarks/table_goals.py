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
    """Each goal: what is, what should be, met or missed."""
    get = lambda table, value, method=OURS: of(lines, table, method, value)  # noqa: E731
    mixed = [table for table in tables if table not in CONTINUOUS]
    found: list[tuple[str, float, float]] = []
    for table in mixed:
        found.append((f"{table}: boosted, beyond CART", get(table, "boosted") - get(table, "boosted", TREES), 0.01))
    if mixed:
        found.append(("mixed tables: boosted, mean", mean(get(table, "boosted") for table in mixed), 0.58))
    found += [(f"{table}: boosted", get(table, "boosted"), 0.65) for table in tables if table in CONTINUOUS]
    for table in tables:
        fresh = max(0.5, get(table, "logistic", FRESH))
        found.append((f"{table}: logistic, beyond fresh rows", get(table, "logistic") - fresh, 0.03))
        found.append((f"{table}: lost by training on rows drawn", get(table, "gap"), 0.02))
        found.append((f"{table}: share nearer to rows fitted", get(table, "nearer"), 0.55))
        found.append((f"{table}: rows fitted recognised", get(table, "member"), 0.54))
        found.append((f"{table}: copies beyond chance", get(table, "copies") - get(table, "copies", FRESH), 0.0))
    rows = ["| goal | is | at most | |", "|---|---|---|---|"]
    for name, value, most in found:
        if not math.isnan(value):
            rows.append(f"| {name} | {value:.3f} | {most:g} | {'met' if round(value, 3) <= most else '**missed**'} |")
    return "\n".join(rows)
