"""What was seen of the two parts of the loss, in words and in a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.lab.experiment import Line
from benchmarks.lab.intervals import Interval, mean_of
from benchmarks.lab.style import look, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

ROUNDING = 1e-6  # nats: the lines keep eight digits
LEAST_GAIN = 1e-3  # nats: below it the estimates of marginal losses are noise
PROBLEMS = {"gaussian": "normal data, log-spaced", "sources": "turned independent sources", "rings": "turned rings"}
TURNS = {"haar": "Haar rotations", "pca": "principal axes", "ica": "independent axes"}


def report(lines: Sequence[Line]) -> str:
    """Markdown: the first block in a table, what rotations do, what gains are, and the estimates beside the truth."""
    if not lines:
        return ""
    return "\n\n".join([_first_block(lines), _identities(lines), _estimates(lines)])


def title(line: Line) -> str:
    """A run in words."""
    return f"{PROBLEMS[line['problem']]}, {TURNS[line['turn']]}, D = {line['dim']}"


def table_of(line: Line, name: str) -> NDArray[np.float64]:
    """The numbers (runs, stages) of a line."""
    return np.asarray(line[name], dtype=float)


def true_dependence(line: Line) -> NDArray[np.float64]:
    """The dependence (runs, stages): in closed form, or what the marginal losses leave of the loss."""
    if "true_dependence" in line:
        return table_of(line, "true_dependence")
    return table_of(line, "loss") - table_of(line, "marginals")


def true_marginals(line: Line) -> NDArray[np.float64]:
    """The sum of the marginal losses (runs, stages): in closed form, or by the spacings of each coordinate."""
    return table_of(line, "true_marginals" if "true_marginals" in line else "marginals")


def _first_block(lines: Sequence[Line]) -> str:
    rows = ["| data and rotation | stage | dependence | marginal losses | loss |", "|---|---|---|---|---|"]
    for line in lines:
        parts = (true_dependence(line), true_marginals(line), table_of(line, "loss"))
        for stage, name in enumerate(("data", "after the rotation", "after the marginal transforms")):
            means = [mean_of(list(part[:, stage])) for part in parts]
            cells = " | ".join(_cell(each) for each in means)
            rows.append(f"| {title(line) if not stage else ''} | {name} | {cells} |")
    return (
        "The first block, nats, means over the runs with standard errors over their laws and rotations; the rotation "
        "moves loss between the parts, the marginal transforms take the second away:\n\n" + "\n".join(rows)
    )


def _cell(each: Interval) -> str:
    value = each.value if abs(each.value) > ROUNDING else 0.0
    return f"{value:.4f}" + (f" ± {each.error:.1g}" if math.isfinite(each.error) else "")


def moved_by_rotations(line: Line) -> float:
    """The largest change of the true loss by a rotation of any run, in nats."""
    loss = table_of(line, "loss")
    return float(np.abs(loss[:, 1::2] - loss[:, :-1:2]).max())


def gain_less_marginals(line: Line) -> NDArray[np.float64]:
    """Gain of each block less the marginal losses that it took away, those after its rotation less those it left."""
    taken = true_marginals(line)[:, 1::2] - true_marginals(line)[:, 2::2]
    result: NDArray[np.float64] = table_of(line, "gain") - taken
    return result


def _identities(lines: Sequence[Line]) -> str:
    said, others = [], max(1, sum("true_marginals" not in line for line in lines))
    for line in lines:
        moved, apart = moved_by_rotations(line), gain_less_marginals(line)
        left = float(true_marginals(line)[:, 2::2].mean())
        kept = "rotations leave the loss as it is" if moved <= ROUNDING else f"rotations CHANGE the loss by {moved:.2g}"
        if "true_marginals" in line:
            worst = float(np.abs(apart).max())
            verdict = "exactly" if worst <= 10 * ROUNDING else f"NOT, by up to {worst:.2g} nats,"
            gains = f"the gain of a block is {verdict} the marginal losses that it takes away"
        else:
            each = mean_of(list(apart.mean(1)), 1 - 0.05 / others)
            reach = each.half if math.isfinite(each.half) else math.inf
            verdict = "agree" if abs(each.value) <= reach else "do NOT agree"
            gains = f"gain less marginal losses taken away is {each.text} nats a block (joint 95 %): they {verdict}"
        said.append(
            f"- {title(line)}: {kept}; {gains}; {left:.2g} nats of them are left by a fit to {line['rows']:,} rows."
        )
    return (
        "Rotations and gains. Ideal marginal transforms would take all marginal losses after the rotation; what fitted "
        "ones leave of them is on the right:\n\n" + "\n".join(said)
    )


def _estimates(lines: Sequence[Line]) -> str:
    said = []
    for line in lines:
        seen, truth = table_of(line, "dependence"), true_dependence(line)
        each = mean_of(list((seen - truth).mean(1)))
        start, share = truth[:, 1].mean(), (seen[:, 1] / truth[:, 1]).mean() if (truth[:, 1] > 0).all() else math.nan
        text = f"- {title(line)}: dependence estimated less true, mean over the stages {each.text} nats"
        if "true_marginals" in line:
            found = mean_of(list((table_of(line, "marginals") - true_marginals(line)).mean(1)))
            scores = (seen - truth) / np.maximum(table_of(line, "dependence_error"), 1e-12)
            within = float((np.abs(scores) <= 2).mean())
            text += (
                f", marginal losses {found.text}; {100 * within:.0f} % of the dependences within two of their errors."
            )
        elif start > 0.01:
            text += f"; after the first rotation it sees {100 * share:.0f} % of {start:.3g} nats."
        else:
            text += f"; after the first rotation there are {start:.2g} nats of it."
        said.append(text)
    return (
        "`decompose_loss` beside the truth. For normal data its dependence is the closed form; for other data it is a "
        "floor, which sees second moments of pairs, and the truth is the loss less the marginal losses:\n\n"
        + "\n".join(said)
    )


def draw(lines: Sequence[Line]) -> Figure:
    """Loss, dependence and marginal losses after each rotation, true and estimated; gains against marginal losses."""
    shown = sorted(lines, key=lambda line: (list(PROBLEMS).index(line["problem"]), line["turn"] != "haar"))
    shown = [line for line in shown if line["blocks"] > 3]
    columns = max(1, math.ceil((len(shown) + 1) / 2))
    figure, axes = panels(2, columns, width=4.3, height=3.4)
    for ax, line in zip(axes, shown, strict=False):
        _draw_run(ax, line)
    _draw_gains(axes[len(shown)], lines)
    for ax in axes[len(shown) + 1 :]:
        ax.set_axis_off()
    return figure


def _draw_run(ax: Axes, line: Line) -> None:
    from matplotlib.ticker import NullFormatter

    stages = slice(1, None, 2)
    blocks = np.arange(1, line["blocks"] + 1)
    series = (
        ("loss", table_of(line, "loss"), table_of(line, "dependence") + table_of(line, "marginals")),
        ("dependence", true_dependence(line), table_of(line, "dependence")),
        ("marginal losses", true_marginals(line), table_of(line, "marginals")),
    )
    floor = max(1e-3, float(true_marginals(line)[:, stages].mean(0).min()) / 2)
    for index, (name, truth, seen) in enumerate(series):
        style, least = look(index), floor / 10
        line_style: dict[str, Any] = {"color": style["color"], "linestyle": style["linestyle"]}
        mark_style: dict[str, Any] = {"color": style["color"], "marker": style["marker"], "linestyle": "none"}
        ax.plot(blocks, np.maximum(truth[:, stages].mean(0), least), label=name, **line_style)
        ax.plot(blocks, np.maximum(seen[:, stages].mean(0), least), markerfacecolor="none", markersize=5, **mark_style)
    ax.set_ylim(bottom=floor)
    ax.set(yscale="log", xlabel="block, after its rotation", ylabel="nats")
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_title(f"{title(line)}\ntrue (lines), estimated (marks)", fontsize=9)
    ax.legend(fontsize=7, frameon=False)


def _draw_gains(ax: Axes, lines: Sequence[Line]) -> None:
    for index, problem in enumerate(PROBLEMS):
        mine = [line for line in lines if line["problem"] == problem]
        if not mine:
            continue
        seen = [table_of(line, "marginals") for line in mine]
        marginals = np.concatenate([(each[:, 1::2] - each[:, 2::2]).ravel() for each in seen])
        gains = np.concatenate([table_of(line, "gain").ravel() for line in mine])
        kept = (marginals > LEAST_GAIN) & (gains > LEAST_GAIN)
        style: dict[str, Any] = look(index) | {"linestyle": "none", "markerfacecolor": "none"}
        ax.plot(marginals[kept], gains[kept], markersize=4, label=PROBLEMS[problem], **style)
    ax.axline((0.01, 0.01), (1, 1), color="0.3", linewidth=1)
    ax.set(xscale="log", yscale="log", xlim=(LEAST_GAIN, 5), ylim=(LEAST_GAIN, 5))
    ax.set(xlabel="estimated marginal losses taken away, nats")
    ax.set(ylabel="gain of the block, nats", title="Gain and marginal losses (line: equal)")
    if lines:
        ax.legend(fontsize=7, frameon=False)
