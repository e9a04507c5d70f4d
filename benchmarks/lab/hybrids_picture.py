"""The picture of the experiment on the hybrid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.lab.experiment import Line
from benchmarks.lab.hybrids_report import HYBRID, NAMES, blocks_of, by_law, rules_of, share_of
from benchmarks.lab.problems import PROBLEMS
from benchmarks.lab.style import look, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

APART = 0.05  # shift in log D for each rule, so that none covers another
HIGHEST = 150
TOLD = (HYBRID, "rbig")  # of these it is written what they leave


def draw(lines: list[Line]) -> Figure:
    """Blocks against D, a panel for each law and a line for each rule; hollow where a tenth was not reached."""
    problems = [name for name in PROBLEMS if any(line["problem"] == name for line in lines)]
    columns = min(4, len(problems))
    figure, axes = panels(math.ceil(len(problems) / columns), columns, width=2.9, height=2.5)
    for axis, problem in zip(axes, problems, strict=False):
        for rule in reversed(rules_of(lines)):
            _series(axis, by_law(lines, rule).get(problem, {}), rule)
        _scales(axis, problem, max(line["dim"] for line in lines))
    for axis in axes[len(problems) :]:
        axis.remove()
    _legend(figure, rules_of(lines))
    return figure


def _look(rule: str) -> dict[str, Any]:
    index = list(NAMES).index(rule)
    width = {"linewidth": 2.0, "markersize": 6, "zorder": 3} if rule == HYBRID else {"linewidth": 1.1, "markersize": 5}
    return look(index) | width


def _series(axis: Axes, found: dict[int, Line], rule: str) -> None:
    """What was reached on a line; runs that ended before, hollow, at the blocks they took, with the share left."""
    shift = math.exp(APART * (list(NAMES).index(rule) - 1))
    there = {dim: blocks for dim, line in found.items() if (blocks := blocks_of(line)) is not None}
    axis.plot([dim * shift for dim in there], list(there.values()), **_look(rule))
    for dim, line in found.items():
        if dim not in there:
            at = (dim * shift, max(1, len(line["left"]) - 1))
            axis.plot(*at, **_look(rule) | {"linestyle": "", "markerfacecolor": "white"})
            if rule in TOLD:
                style = {"textcoords": "offset points", "ha": "center", "fontsize": 7, "color": _look(rule)["color"]}
                axis.annotate(f"{share_of(line):.0%}", at, (0, 6), **style)


def _scales(axis: Axes, problem: str, largest: int) -> None:
    axis.set_title(problem.replace("_", ", "), fontsize=10)
    axis.set_xscale("log", base=2)
    axis.set(yscale="log", ylim=(0.8, HIGHEST), xlim=(1.5, 1.5 * max(4, largest)), xlabel="dimension D")
    axis.set_ylabel("blocks after the marginals", fontsize=9)
    axis.set_xticks([dim for dim in (2, 4, 8, 16, 32, 64) if dim <= max(4, largest)])
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _legend(figure: Figure, rules: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], label=NAMES[rule], **_look(rule)) for rule in rules]
    style: dict[str, Any] = {
        "marker": "o",
        "linestyle": "",
        "markersize": 5,
        "markerfacecolor": "white",
        "color": "0.4",
    }
    handles.append(Line2D([], [], label="ended before a tenth;\nwhat is left is beside it", **style))
    figure.legend(handles=handles, loc="outside right upper", fontsize=7, frameon=False)
