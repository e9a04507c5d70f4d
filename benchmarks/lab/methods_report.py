"""Picture and tables of the experiment on methods."""

from __future__ import annotations

import math
from statistics import mean
from typing import TYPE_CHECKING, Any

from benchmarks.lab.experiment import Line
from benchmarks.lab.scaling_report import table
from benchmarks.lab.style import look, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OTHERS = ("gaussian", "mixture", "sinflow", "zuko", "rbig_gis", "rbig_annealed", "rbig_ipl")  # what is not ours
# In the order of their colours, which begin again after seven, ours where another's were and the other way round.
LOOKS = (
    "gaussian", "mixture", "rbig_haar", "rbig_ica", "trained", "zuko_nsf", "sinflow",
    "rbig_pca", "grown_then_trained_ica", "zuko_gf",
)  # fmt: skip
LEAST = 1e-4  # nats below which differences are not drawn


def draw(lines: list[Line]) -> Figure:
    """Excess against D, a panel for each problem; in the last, excess against seconds at the largest D."""
    problems = _in_order(lines, "problem")
    columns = min(4, len(problems) + 1)
    figure, axes = panels(math.ceil((len(problems) + 1) / columns), columns, width=3.1, height=2.9)
    for axis, problem in zip(axes, problems, strict=False):
        _against_dim(axis, [line for line in lines if line["problem"] == problem])
        axis.set_title(problem.replace("_", ", "), fontsize=10)
    for axis in axes[len(problems) + 1 :]:
        axis.remove()
    _against_seconds(axes[len(problems)], lines)
    named = {label: handle for a in axes for handle, label in zip(*a.get_legend_handles_labels(), strict=True)}
    figure.legend(named.values(), named.keys(), loc="outside right upper", fontsize=7, frameon=False)
    return figure


def _look(method: str) -> dict[str, Any]:
    """The same in every panel and picture. Ours are filled, others hollow."""
    hollow = {"markerfacecolor": "white"} if theirs(method) else {}
    return {
        **look(LOOKS.index(method) if method in LOOKS else len(LOOKS)),
        **hollow,
        "markersize": 5,
        "linewidth": 1.1,
        "label": method,
    }


def _against_dim(axis: Axes, lines: list[Line]) -> None:
    for method in _in_order(lines, "method"):
        mine = sorted((line for line in lines if line["method"] == method), key=lambda line: int(line["dim"]))
        values = [max(line["excess"], LEAST) for line in mine]
        errors = [line["excess_error"] for line in mine]
        axis.errorbar([line["dim"] for line in mine], values, errors, capsize=2, **_look(method))
    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set(yscale="log", xlabel="dimension D", ylabel="nats above the truth")


def _against_seconds(axis: Axes, lines: list[Line]) -> None:
    """One point a method: the geometric mean of its excess over the problems, and the mean of its seconds."""
    largest = max(line["dim"] for line in lines)
    for method in _in_order(lines, "method"):
        mine = [line for line in lines if line["dim"] == largest and line["method"] == method]
        if mine:
            excess = math.exp(mean(math.log(max(line["excess"], LEAST)) for line in mine))
            seconds = max(mean(line["seconds"] for line in mine), 1e-2)
            axis.plot([seconds], [excess], **_look(method) | {"linestyle": ""})
    axis.set(xscale="log", yscale="log", xlabel="CPU seconds, fit and score", ylabel="nats above the truth")
    axis.set_title(f"D = {largest}, mean over the problems", fontsize=10)


def report(lines: list[Line]) -> str:
    """A table for each D, the best of each column in bold, and a sentence on who won where."""
    parts = []
    for dim in sorted({line["dim"] for line in lines}):
        here = [line for line in lines if line["dim"] == dim]
        problems, best = _in_order(here, "problem"), _best(here)
        rows = [[f"D = {dim}", *problems]]
        for method in _in_order(here, "method"):
            cells = {
                line["problem"]: _cell(line, line is best[line["problem"]]) for line in here if line["method"] == method
            }
            rows.append([method, *(cells.get(problem, "") for problem in problems)])
        parts.append(table(rows))
    budgets = " or ".join(_in_order(lines, "budget"))
    head = (
        "Nats above the truth on test rows ± one standard error over these rows, in brackets CPU seconds of fit and "
        "score; bold is the lowest of a column. One seed: differences between fits by chance are not in the error. "
        f"Fits by gradients had {budgets} s of CPU."
    )
    return "\n\n".join([head, *parts, _won(lines)])


def _cell(line: Line, best: bool) -> str:
    lost = f", {line['nonfinite']:.1%} of rows without a finite density" if line["nonfinite"] else ""
    text = f"{line['excess']:.3f} ± {line['excess_error']:.3f}"
    return f"{f'**{text}**' if best else text} ({line['seconds']:.1f} s{lost})"


def _best(lines: list[Line]) -> dict[str, Line]:
    """The line with the lowest excess of each problem, among those that gave every row a density."""
    out: dict[str, Line] = {}
    for line in lines:
        held = out.get(line["problem"])
        if line["nonfinite"] == 0 and (held is None or line["excess"] < held["excess"]):
            out[line["problem"]] = line
    return out | {line["problem"]: {} for line in lines if line["problem"] not in out}


def _won(lines: list[Line]) -> str:
    """Where one of ours was lowest or level with the lowest, and who was lower where not."""
    told = []
    for dim in sorted({line["dim"] for line in lines}):
        here = [line for line in lines if line["dim"] == dim]
        best = {problem: line for problem, line in _best(here).items() if line}
        lower = [
            name for name, line in best.items() if not any(_level(x, line) for x in here if not theirs(x["method"]))
        ]
        names = ", ".join(f"{name} ({best[name]['method']})" for name in lower)
        text = f"D = {dim}: ours lowest or level on {len(best) - len(lower)} of {len(best)} problems"
        told.append(text + (f"; another lower on {names}" if lower else ""))
    return ". ".join(told) + ". Level means within two standard errors."


def _level(line: Line, best: Line) -> bool:
    """Whether a line is the best of its problem, or so near that test rows cannot tell them apart."""
    gap = line["excess"] - best["excess"]
    error = math.hypot(line["excess_error"], best["excess_error"])
    return bool(line["problem"] == best["problem"] and line["nonfinite"] == 0 and gap <= 2 * error)


def theirs(method: str) -> bool:
    """Whether a method is a baseline or another package's."""
    return method.startswith(OTHERS)


def _in_order(lines: list[Line], name: str) -> list[str]:
    return list(dict.fromkeys(str(line[name]) for line in lines))
