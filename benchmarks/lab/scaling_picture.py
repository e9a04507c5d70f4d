"""The picture of the experiment on scaling."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.lab.experiment import Line
from benchmarks.lab.problems import PROBLEMS
from benchmarks.lab.scaling_report import SHARES, TAKEN, blocks_by_order, blocks_of_images, needed, reached
from benchmarks.lab.style import look, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEAST = 5e-4  # a share of the loss that is told from nothing: less is drawn as this
NAMES = {"haar": "Haar rotations", "ica": "ICA", "pca": "principal axes"}
ORDERS = {2: "theorem 2: a loss in variances", 3: "the same in 3rd cumulants", 4: "the same in 4th cumulants"}


def draw(lines: list[Line]) -> Figure:
    """Blocks against D, what the runs left, and images: random rotations above, ICA below."""
    figure, axes = panels(2, 3, width=3.7, height=3.2)
    _blocks(axes[0], lines, "haar", 0.5)
    _blocks(axes[1], lines, "haar", 0.1)
    _left(axes[2], lines, "haar")
    _blocks(axes[3], lines, "ica", 0.1)
    _left(axes[4], lines, "ica")
    _images(axes[5], lines)
    for axis in axes:
        _scales(axis)
    _legend(figure, axes)
    return figure


def _blocks(axis: Axes, lines: list[Line], rule: str, share: float) -> None:
    """Blocks to that share, beside theory where rotations are random."""
    if rule == "haar":
        _theory(axis, sorted({line["dim"] for line in lines if "problem" in line}), share)
    for (problem, r), found in needed(lines, share).items():
        if r == rule:
            _series(axis, reached(found), **_look(problem))
    axis.set(title=f"{NAMES[rule]}, to {SHARES[share]} of the loss", ylabel="blocks", ylim=(0.7, 400))


def _left(axis: Axes, lines: list[Line], rule: str) -> None:
    """The least share of the loss in the runs: the goal was a tenth."""
    shares: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for line in sorted((x for x in lines if "problem" in x and x["rule"] == rule), key=lambda x: int(x["dim"])):
        shares[line["problem"]][line["dim"]].append(max(LEAST, min(line["left"]) / line["left"][0]))
    for problem, found in shares.items():
        _series(axis, found, **_look(problem))
    axis.axhline(0.1, color="0.6", linewidth=1.6, zorder=0)
    axis.set(title=f"{NAMES[rule]}, when the run ended", ylabel="share of the loss left", ylim=(0.0003, 2))


def _look(problem: str) -> dict[str, Any]:
    """Hollow markers and thin lines from the eighth problem on, where colours begin again."""
    index = list(PROBLEMS).index(problem)
    return {
        **look(index),
        "markerfacecolor": "white" if index > 6 else None,
        "linewidth": 1.1,
        "markersize": 5,
        "label": problem.replace("_", ", "),
    }


def _series(axis: Axes, found: dict[int, list[float]], **style: Any) -> None:
    """Means over runs with their standard errors."""
    if not found:
        return
    means = [float(np.mean(values)) for values in found.values()]
    errors = [float(np.std(v, ddof=1)) / len(v) ** 0.5 if len(v) > 1 else 0.0 for v in found.values()]
    axis.errorbar(list(found), means, errors, capsize=2, **style)


def _theory(axis: Axes, dims: list[int], share: float) -> None:
    grid = np.geomspace(min(dims, default=2), max(dims, default=4), 30)
    for order, width in zip(ORDERS, (2.4, 1.6, 0.9), strict=True):
        blocks = [max(1.0, blocks_by_order(float(dim), order, share)) for dim in grid]
        axis.plot(grid, blocks, color="0.6", linewidth=width, zorder=0, label=ORDERS[order])


def _images(axis: Axes, lines: list[Line]) -> None:
    found = blocks_of_images(lines)
    for index, ((kind, rule), dims) in enumerate(found.items()):
        _series(axis, reached(dims), label=f"{kind}, {NAMES[rule]}", **look(index), markersize=5)
    axis.set(title=f"images, {TAKEN:.0%} of the decrease seen", ylabel="blocks", ylim=(0.7, 400))
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize=7, frameon=False)


def _scales(axis: Axes) -> None:
    if not axis.has_data():
        axis.set_xlim(1, 64)
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.set_xlabel("pixels D" if "images" in axis.get_title() else "dimension D")
    axis.title.set_fontsize(9)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.yaxis.set_minor_formatter(lambda value, _: "")


def _legend(figure: Figure, axes: list[Axes]) -> None:
    """One legend of all problems beside the panels, in which no data are covered."""
    named = {
        label: handle for axis in axes[:5] for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    if named:
        figure.legend(named.values(), named.keys(), loc="outside right upper", fontsize=7, frameon=False)
