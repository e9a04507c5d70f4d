"""Tables of the benchmarks page, from the lines of JSON in benchmarks/results."""

from __future__ import annotations

import json
import re
from pathlib import Path
from statistics import mean
from typing import Any

FOLDER = Path(__file__).parents[2] / "benchmarks" / "results"
MARK = re.compile(r"<!-- results: (\S+)(?: (\w+))? -->")
Row = dict[str, Any]


def with_results(text: str) -> str:
    """The text of a page with each mark ``<!-- results: FILE VALUE -->`` replaced by its tables."""
    return MARK.sub(lambda match: tables(match[1], match[2] or "finite_nats"), text)


def tables(file: str, value: str) -> str:
    """Methods by tables, then what each method ran on."""
    lines = (FOLDER / file).read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row.get(value) is not None]
    return f"{_values(rows, value)}\n\n{_origins(rows)}"


def _values(rows: list[Row], value: str) -> str:
    columns = list(dict.fromkeys(row["table"] for row in rows))
    sizes = {row["table"]: f"{row['rows']:,} × {row['dim']}" for row in rows}
    best = {name: min(mean(_cell(rows, name, m, value)) for m in _methods(rows, name)) for name in columns}
    heads = [name.split("_first")[0].removesuffix("_maf").removesuffix("_dec2006_raw") for name in columns]
    lines = [["method", *heads], ["---", *["--:"] * len(columns)], ["*training rows × columns*", *sizes.values()]]
    for method in dict.fromkeys(row["method"] for row in rows):
        cells = [_text(rows, name, method, value, best[name]) for name in columns]
        lines.append([f"`{method}`", *cells])
    return _markdown(lines)


def _text(rows: list[Row], table: str, method: str, value: str, best: float) -> str:
    numbers = _cell(rows, table, method, value)
    if not numbers:
        return ""
    seconds = mean(r["seconds"] for r in rows if (r["table"], r["method"]) == (table, method))
    lost = mean(r["nonfinite"] for r in rows if (r["table"], r["method"]) == (table, method))
    text = f"{mean(numbers):.2f}" if value == "finite_nats" else f"{mean(numbers):.4f}"
    text = f"**{text}**" if mean(numbers) == best else text
    return f"{text} ({seconds:.{0 if seconds > 9.95 else 1}f} s)" + (f", {lost:.1%} of rows infinite" if lost else "")


def _cell(rows: list[Row], table: str, method: str, value: str) -> list[float]:
    return [row[value] for row in rows if (row["table"], row["method"]) == (table, method)]


def _methods(rows: list[Row], table: str) -> set[str]:
    return {row["method"] for row in rows if row["table"] == table}


def _origins(rows: list[Row]) -> str:
    """One line for each commit and machine: what was measured there, with which versions."""
    lines = [["commit", "machine", "methods", "seeds", "versions"], ["---"] * 5]
    for commit, machine in dict.fromkeys((row["commit"], row["machine"]) for row in rows):
        mine = [row for row in rows if (row["commit"], row["machine"]) == (commit, machine)]
        methods = ", ".join(dict.fromkeys(f"`{row['method']}`" for row in mine))
        seeds = len({row["seed"] for row in mine})
        versions = ", ".join(f"{k} {v}" for k, v in mine[0]["versions"].items() if k in ("python", "torch", "numpy"))
        lines.append([f"`{commit}`", machine, methods, str(seeds), versions])
    return _markdown(lines)


def _markdown(lines: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
