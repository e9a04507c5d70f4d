"""Results as lines of JSON, and as tables to read."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.measure import Row

KEY = ("table", "method", "seed", "threads", "budget", "quick")


def key(row: Row) -> tuple[object, ...]:
    """What makes two measurements the same one."""
    return tuple(row.get(name) for name in KEY)


def read(path: Path) -> list[Row]:
    """The rows of a file; none where there is no file. A last line cut short by a stop is left out."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def append(path: Path, row: Row) -> None:
    """Add one line, on a new line also after one that was cut short."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cut = path.exists() and not path.read_text().endswith("\n") and path.stat().st_size
    with path.open("a") as file:
        file.write(("\n" if cut else "") + json.dumps(_plain(row), allow_nan=False) + "\n")


def _plain(value: Any) -> Any:
    """The value with None for NaN and infinities, which JSON does not know."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def show(rows: Iterable[Row], value: str = "nats") -> str:
    """One table of all methods by all tables: the value averaged over seeds, CPU seconds of the fit in brackets."""
    from tabulate import tabulate

    rows = list(rows)
    tables = list(dict.fromkeys(row["table"] for row in rows))
    lines: list[list[str]] = []
    truths = [next((r for r in rows if r["table"] == t and "entropy" in r), None) for t in tables]
    if value == "nats" and any(truths):
        lines.append(["entropy", *(f"{t['entropy']:.3f}" if t else "" for t in truths)])
        lines.append(["true density, same rows", *(f"{t['truth_on_test']:.3f}" if t else "" for t in truths)])
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = [[r for r in rows if r["method"] == method and r["table"] == t] for t in tables]
        lines.append([method, *(_cell(cell, value) for cell in mine)])
    return str(tabulate(lines, ["held-out " + value, *tables], tablefmt="github", disable_numparse=True))


def _cell(rows: list[Row], value: str) -> str:
    if not rows:
        return ""
    fine = [r for r in rows if "failed" not in r and r.get("finite_nats") is not None]
    if not fine:
        return "failed"
    number = mean(r["finite_nats"] if value == "nats" else r.get(value, float("nan")) for r in fine)
    lost = mean(r["nonfinite"] for r in fine)
    digits = 5 if value == "excess" else 3
    return f"{number:.{digits}f} ({mean(r['seconds'] for r in fine):.1f} s)" + (
        f", {lost:.2%} not finite" if lost else ""
    )
