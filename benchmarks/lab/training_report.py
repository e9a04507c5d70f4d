"""The picture and the words of the experiment on iterative and end-to-end training."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benchmarks.lab.experiment import Line
from benchmarks.lab.intervals import mean_of, student
from benchmarks.lab.style import look, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WORDS = {
    "trained": "end to end",
    "same": "same parts, Haar",
    "haar": "rbig, Haar",
    "pca": "rbig, PCA",
    "ica": "rbig, ICA",
}
REFERENCE = 2  # trained blocks that the iterative ones are held against: as much as most of them come to at all
COMPARED = ("same", "haar", "ica")


class Ratio(NamedTuple):
    """How many times the blocks and the seconds of the trained flow an iterative one takes to do as well.

    ``reached`` is False where it did not within the blocks it had: then both are lower bounds.
    """

    problem: str
    dim: int
    method: str
    blocks: float
    seconds: float
    reached: bool


def draw(lines: list[Line]) -> Figure:
    """Nats against blocks, nats against seconds, and the ratios against the dimension."""
    figure, axes = panels(2, 4, 3.5, 3.1)
    for column, (problem, dim) in enumerate(_shown(lines)):
        mine = [line for line in lines if (line["problem"], line["dim"]) == (problem, dim)]
        for row, (key, words) in enumerate((("blocks", "blocks"), ("cpu", "CPU seconds"))):
            axis = axes[4 * row + column]
            _curves(axis, mine, key)
            known = mine[0]["known"]
            axis.set(xlabel=words, ylabel="test nats above the truth" if known else "test nats")
            axis.set_title(f"{problem.replace('_', ' ')}, D = {dim}", fontsize=9)
    found = ratios(lines)
    _ratios(axes[3], found, "blocks", "blocks, iterative / end to end")
    _ratios(axes[7], found, "seconds", "seconds, iterative / end to end")
    handles = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    if handles:
        figure.legend(handles.values(), handles, loc="outside lower center", ncols=8, fontsize=8)
    return figure


def _shown(lines: list[Line]) -> list[tuple[str, int]]:
    """At most three problems: moons in the fewest and the most dimensions, and the largest other one."""
    there = sorted({(line["problem"], line["dim"]) for line in lines}, key=lambda each: each[1])
    moons = [each for each in there if each[0] == "moons"]
    others = [each for each in there if each[0] != "moons"]
    return list(dict.fromkeys([*moons[:1], *moons[1:][-1:], *others[-1:], *others[:1], *there]))[:3]


def _curves(axis: Axes, lines: list[Line], key: str) -> None:
    for index, method in enumerate(WORDS):
        points = sorted(_points([line for line in lines if line["method"] == method], key))
        if points:
            x, nats, errors = zip(*points, strict=True)
            style: Any = look(index)
            axis.errorbar(x, nats, errors, **style, markersize=4, linewidth=1.2, label=WORDS[method])
    axis.set_xscale("log", base=2 if key == "blocks" else 10)
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter("")
    if lines[0]["known"] and min(min(line["nats"]) for line in lines) > 0:
        axis.set_yscale("log")
        _plain(axis)


def _plain(axis: Axes) -> None:
    """Numbers as they are read, not as powers."""
    from matplotlib.ticker import LogLocator

    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_formatter("")


def _points(lines: Iterable[Line], key: str) -> list[tuple[float, float, float]]:
    """Of the first seed that there is: place, nats and their standard error."""
    lines = list(lines)
    first = min((line["seed"] for line in lines), default=0)
    each = [zip(line[key], line["nats"], line["error"], strict=True) for line in lines if line["seed"] == first]
    return [point for points in each for point in points]


def ratios(lines: list[Line]) -> list[Ratio]:
    """The ratio of every iterative run to the trained flow of four blocks on the same rows."""
    found = []
    for line in lines:
        where = [line[key] for key in ("problem", "dim", "seed")]
        for other in lines:
            same_rows = [other[key] for key in ("problem", "dim", "seed")] == where
            if same_rows and other["method"] == "trained" and other["most"] == REFERENCE and line["method"] in COMPARED:
                at, seconds, reached = needed(line, other["nats"][0])
                ratio = at / REFERENCE, seconds / max(other["cpu"][0], 1e-9)
                found.append(Ratio(line["problem"], line["dim"], line["method"], *ratio, reached))
    return found


def needed(line: Line, target: float) -> tuple[float, float, bool]:
    """Blocks and seconds after which a run is down to so many nats, between two marks in proportion to their nats.

    Before the first mark nothing was measured, so that the first is the least; the last, and False, where it never is.
    """
    blocks, cpu, nats = line["blocks"], line["cpu"], line["nats"]
    for i, value in enumerate(nats):
        if value <= target:
            if i == 0 or nats[i - 1] == value:
                return blocks[i], cpu[i], True
            share = (nats[i - 1] - target) / (nats[i - 1] - value)
            at = [a[i - 1] + share * (a[i] - a[i - 1]) for a in (blocks, cpu)]
            return at[0], at[1], True
    return blocks[-1], cpu[-1], False


def _ratios(axis: Axes, found: list[Ratio], key: str, words: str) -> None:
    for problem, filled in (("moons", "full"), ("gaussian", "none")):
        for index, method in enumerate(WORDS):
            mine = [r for r in found if (r.problem, r.method) == (problem, method)]
            if not mine:
                continue
            dims = sorted({r.dim for r in mine})
            means = [math.exp(np.mean([math.log(getattr(r, key)) for r in mine if r.dim == d])) for d in dims]
            style: Any = {**look(index), "fillstyle": filled, "markersize": 5, "linewidth": 1.2}
            axis.plot(dims, means, **style)
            bounds = [
                (d, m) for d, m in zip(dims, means, strict=True) if not all(r.reached for r in mine if r.dim == d)
            ]
            for d, m in bounds:
                axis.annotate(
                    "", (d, 1.7 * m), (d, m), arrowprops={"arrowstyle": "->", "color": style["color"], "lw": 1.5}
                )
    axis.axhline(1, color="0.6", linewidth=0.8)
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    _plain(axis)
    if found:
        low, high = (pick(getattr(r, key) for r in found) for pick in (min, max))
        axis.set_ylim(min(low, 1) / 1.5, 2.2 * max(high, 1))
        axis.set_xticks(dims := sorted({r.dim for r in found}), [str(d) for d in dims])
    axis.set(xlabel="dimension D", ylabel=words)
    axis.set_title("filled: moons, open: Gaussian; arrows: at least", fontsize=8)


def report(lines: list[Line]) -> str:
    """Nats of both ways, and how the ratio of blocks goes with the dimension, as Markdown."""
    if not lines:
        return ""
    parts = [_table(lines)]
    found = ratios(lines)
    for method in COMPARED:
        for problem in ("moons", "gaussian"):
            mine = [r for r in found if (r.problem, r.method) == (problem, method)]
            if mine:
                parts.append(_told(problem, method, mine))
    parts.append(_best(lines))
    return "\n\n".join(parts)


def _table(lines: list[Line]) -> str:
    from tabulate import tabulate

    columns = [(m, n) for m in WORDS for n in (1, 2, 4, 8, 32) if any(_nats(lines, m, n))]
    body = []
    for problem, dim in dict.fromkeys((line["problem"], line["dim"]) for line in lines):
        mine = [line for line in lines if (line["problem"], line["dim"]) == (problem, dim)]
        cells = [", ".join(_nats(mine, method, n)) for method, n in columns]
        body.append([problem + ("" if mine[0]["known"] else " (nats)"), dim, f"{mine[0]['start']:.3f}", *cells])
    head = ["problem", "D", "no block", *(f"{WORDS[m]} {n}" for m, n in columns)]
    words = "Test nats above the truth, or test nats where it is not known, ± a standard error, after so many blocks."
    return str(tabulate(body, head, tablefmt="github", disable_numparse=True)) + "\n\n" + words


def _nats(lines: list[Line], method: str, blocks: int) -> list[str]:
    """What the first seed has for so many blocks."""
    first = min((line["seed"] for line in lines), default=0)
    mine = [line for line in lines if line["method"] == method and line["seed"] == first]
    return [
        f"{line['nats'][i]:.3f} ± {line['error'][i]:.3f}"
        for line in mine
        for i, n in enumerate(line["blocks"])
        if n == blocks
    ]


def _best(lines: list[Line]) -> str:
    """Where either way ends lower, by the least test nats of each: that of several looks, kind to both alike."""
    won: dict[str, list[str]] = {"end to end": [], "the iterative runs": [], "neither, by three standard errors": []}
    for problem, dim in dict.fromkeys((line["problem"], line["dim"]) for line in lines):
        mine = [line for line in lines if (line["problem"], line["dim"], line["seed"]) == (problem, dim, 0)]
        if not any(line["method"] == "trained" and line["most"] >= REFERENCE for line in mine):
            continue
        least = {}
        for trained in (True, False):
            marks = [m for line in mine if (line["method"] == "trained") == trained for m in _marks(line)]
            if marks:
                least[trained] = min(marks)
        if len(least) == 2:
            gap, error = least[False][0] - least[True][0], math.hypot(least[False][1], least[True][1])
            winner = list(won)[0 if gap > 3 * error else 1 if gap < -3 * error else 2]
            won[winner].append(f"{problem} in D = {dim} ({least[True][0]:.3f} and {least[False][0]:.3f} nats)")
    told = [f"{winner}: {', '.join(names)}" for winner, names in won.items() if names]
    return f"Lower in the end (the nats of end to end first) {'; '.join(told)}." if told else ""


def _marks(line: Line) -> list[tuple[float, float]]:
    return list(zip(line["nats"], line["error"], strict=True))


def _told(problem: str, method: str, found: list[Ratio]) -> str:
    """One sentence on the ratio in each dimension, and one on its slope."""
    dims = sorted({r.dim for r in found})
    each = []
    for dim in dims:
        mine = [r for r in found if r.dim == dim]
        bound = "" if all(r.reached for r in mine) else "at least "
        blocks = " and ".join(f"{r.blocks:.2g}" for r in mine)
        seconds = " and ".join(f"{r.seconds:.2g}" for r in mine)
        each.append(f"{bound}{blocks} times the blocks and {seconds} times the seconds at D = {dim}")
    start = f"To do as well as {REFERENCE} blocks trained end to end on {problem}, {WORDS[method]} takes "
    return start + "; ".join(each) + f". {_trend(found)}"


def _trend(found: list[Ratio]) -> str:
    """How the logarithm of the ratio goes with that of the dimension, by least squares."""
    low = [math.log2(r.blocks) for r in found if r.dim == min(r.dim for r in found)]
    fewer = mean_of(low)
    lowest = "" if len(low) < 2 else f"In the lowest dimension the ratio is 2^({fewer.text}). "
    if len({r.dim for r in found}) < 3 or len(found) < 4:
        return lowest + "Too few dimensions for a slope."
    x, y = np.log2([r.dim for r in found]), np.log2([r.blocks for r in found])
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    rest = y - y.mean() - slope * centred
    half = student(len(x) - 1) * math.sqrt(float(rest @ rest) / (len(x) - 2) / float(centred @ centred))
    verdict = "grows with D" if slope > half else "falls as D grows" if slope < -half else "shows no trend with D"
    bounds = sum(not r.reached for r in found)
    if bounds and slope <= half:
        verdict = "is hidden by the bounds"
    caution = f" ({bounds} of {len(found)} are lower bounds, taken as they are)" if bounds else ""
    return f"{lowest}The ratio of blocks goes as D^({slope:.2f} ± {half:.2f}){caution}: end to end's lead {verdict}."
