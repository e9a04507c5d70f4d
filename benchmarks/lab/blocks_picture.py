"""The picture of the blocks that normal data need."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.lab.blocks_seen import Groups, complete, grouped
from benchmarks.lab.counts import RATIOS
from benchmarks.lab.experiment import Line
from benchmarks.lab.intervals import mean_of
from benchmarks.lab.rules import NAMES
from benchmarks.lab.style import look, panels
from gaussflow import theory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw(lines: Sequence[Line]) -> Figure:
    """Blocks against D for both reductions, exact losses against the bound, and sampled losses beside the exact."""
    groups = grouped(lines)
    figure, axes = panels(2, 2, width=4.8, height=3.7)
    for ax, name in zip(axes[:2], RATIOS, strict=True):
        _draw_counts(ax, groups, name)
    _draw_bound(axes[2], groups)
    _draw_samples(axes[3], groups)
    return figure


def _draw_counts(ax: Axes, groups: Groups, name: str) -> None:
    dims = sorted({key.dim for key in groups})
    for index, method in enumerate(("haar", "hadamard", "ica", "pca", "whitening")):
        values = complete(groups, "near_identity", method, 0, name)
        if not values:
            continue
        means = [mean_of(counts) for counts in values.values()]
        halves = [each.half if math.isfinite(each.half) else 0.0 for each in means]
        style: dict[str, Any] = look(index) | {
            "linestyle": "-" if method == "pca" else "none",
            "markerfacecolor": "none",
        }
        size = 8 if method in ("ica", "whitening") else 5  # so that what lies on one spot is seen
        label = NAMES[method].replace(", a new start for each block", "")
        ax.errorbar(
            list(values), [each.value for each in means], halves, markersize=size, capsize=2, label=label, **style
        )
    bound = [theory.blocks_needed(d, RATIOS[name]) for d in dims]
    ax.plot(dims, bound, color="0.3", linewidth=1, label="bound of theorem 2", zorder=1)
    ax.plot(dims, [theory.min_blocks(d) for d in dims], color="0.6", linestyle=":", label="theorem 1, exactly 0 nats")
    ax.set(xlabel="dimension D", ylabel="blocks", title=f"Near identity, exact: {name}")
    if not dims:
        return
    ax.set_yscale("log")
    ax.set_xscale("log", base=2)
    ax.set_xticks(dims, [str(d) for d in dims])
    ax.set_ylim(bottom=0.7)
    ax.legend(fontsize=7, loc="upper left", frameon=False)


def _draw_bound(ax: Axes, groups: Groups) -> None:
    held = {k.dim: g for k, g in groups.items() if k[:3] == ("near_identity", "haar", 0) and k.dim >= 8}
    for index, (dim, group) in enumerate(list(held.items())[-4:]):
        length, every = min(map(len, group["exact"])), group["every"][0]
        blocks = [every * i for i in range(length)]
        mean = [mean_of([losses[i] for losses in group["exact"]]).value for i in range(length)]
        style: dict[str, Any] = look(index) | {"linestyle": "none"}
        ax.plot(blocks, mean, markevery=max(1, length // 8), markersize=4, label=f"D = {dim}", **style)
        ax.plot(blocks, [theory.loss_bound(b, dim, mean[0]) for b in blocks], color=style["color"], linewidth=1)
    ax.set(xlabel="blocks", ylabel="loss, nats", title="Haar runs (marks) and the bound (lines)")
    if held:
        ax.set_yscale("log")
        ax.legend(fontsize=7, frameon=False)


def _draw_samples(ax: Axes, groups: Groups) -> None:
    held = [k for k in groups if k.rows and k[:2] == ("log_spaced", "haar")]
    dims, counts = sorted({k.dim for k in held}), sorted({k.rows for k in held})
    for index, dim in enumerate([d for d in dims if d in (4, 16, 64, 256)] or dims[-3:]):
        for key in [k for k in held if k.dim == dim]:
            group, every = groups[key], groups[key]["every"][0]
            length, first = min(map(len, group["exact"])), key.rows == counts[0]
            blocks = [every * i for i in range(length)]
            for name in ("exact", "sampled") if first else ("sampled",):
                mean = [mean_of([run[i] for run in group[name]]).value for i in range(length)]
                style = "-" if name == "exact" else ("--" if first else ":")
                label = f"D = {dim}" if name == "exact" else None
                ax.plot(blocks[1:], mean[1:], color=look(index)["color"], linewidth=1.4, linestyle=style, label=label)
    for rows, style in zip(counts, ("--", ":"), strict=False):
        ax.plot([], [], color="0.4", linestyle=style, label=f"N = {rows:,}")
    ax.set(xlabel="blocks", ylabel="loss on the true law, nats")
    ax.set_title("Haar, log-spaced: exact (lines) and from rows")
    if held:
        ax.set(xscale="log", yscale="log")
        ax.legend(fontsize=7, frameon=False, loc="lower left")
