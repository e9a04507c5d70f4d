"""What was seen of the coupling blocks that normal data need, in words and in a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.lab.counts import RATIOS, Group, count_cell, group_by
from benchmarks.lab.experiment import Line
from benchmarks.lab.intervals import mean_of, slope_of, student
from benchmarks.lab.spectra import coupling_share, rows_cost
from benchmarks.lab.style import look, panels
from gaussflow import theory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WORDS = {"near_identity": "near-identity", "log_spaced": "log-spaced", "haar": "Haar turns", "permuted": "permutations"}
KINDS = {"fitted": "fitted", "linear": "trained, linear conditioner", "mlp": "trained, one hidden layer"}
ORDER = [("fitted", "haar"), ("fitted", "permuted"), ("linear", "haar"), ("mlp", "haar")]  # of colours and marks
FLAT = 0.02  # blocks per dimension: a fiftieth of what a tenfold reduction costs with rotations


class Key(NamedTuple):
    """What the runs of one group have in common."""

    kind: str
    turn: str
    spectrum: str
    rows: int
    dim: int


Groups = dict[Key, Group]


def grouped(lines: Sequence[Line]) -> Groups:
    """The runs of all seeds by what they have in common."""
    return group_by(lines, Key)


def share_of(losses: Sequence[float]) -> float:
    """The mean share, in the logarithm, that a block of a run leaves."""
    return float((losses[-1] / losses[0]) ** (1 / (len(losses) - 1)))


def report(lines: Sequence[Line]) -> str:
    """Markdown: counts, slopes, shares by theory, and what samples add."""
    groups = grouped(lines)
    parts = [_table(groups), _slopes(groups), _shares(groups), _samples(groups)]
    return "\n\n".join(part for part in parts if part)


def title(key: tuple[Any, ...]) -> str:
    """A series in words."""
    kind, turn, spectrum, rows = key[:4]
    where = f"N = {rows:,}" if rows else "exact"
    return f"{KINDS[kind]}, {WORDS[turn]}, {WORDS[spectrum]}, {where}"


def series_of(groups: Groups, name: str) -> list[tuple[Any, ...]]:
    """The series that can say something of that reduction: training ends at a tenth."""
    return [each for each in dict.fromkeys(key[:4] for key in groups) if each[0] == "fitted" or name == "tenfold"]


def _table(groups: Groups) -> str:
    dims = sorted({key.dim for key in groups})
    if not dims:
        return ""
    rows = ["| reduced | blocks | " + " | ".join(f"D = {d}" for d in dims) + " |", "|---" * (2 + len(dims)) + "|"]
    for name, ratio in RATIOS.items():
        haar = " | ".join(f"{theory.blocks_needed(d, ratio):.0f}" for d in dims)
        rows.append(f"| {name} | rotations alone, theorem 2 | {haar} |")
        for series in series_of(groups, name):
            cells = [count_cell(groups.get(Key._make((*series, d))), name) for d in dims]
            rows.append(f"| {name} | {title(series)} | " + " | ".join(cells) + " |")
    return "Coupling blocks, mean and standard error over the runs:\n\n" + "\n".join(rows)


def counts_of(groups: Groups, series: tuple[Any, ...], name: str) -> dict[int, list[int]]:
    """Blocks of each run by D, where every run got there."""
    chosen = {key.dim: group[name] for key, group in groups.items() if key[:4] == series}
    return {dim: counts for dim, counts in chosen.items() if None not in counts}


def _slopes(groups: Groups) -> str:
    found = [_bounded(groups, series, name) for name in RATIOS for series in series_of(groups, name)]
    kept = [line for line in found if line]
    head = (
        "Equation 20 says Θ(1): the most blocks at any D, beside log₂ of the reduction, which blocks that leave a "
        "half need; and the slope over the largest three dimensions with its 95 % interval, which counts as flat where "
        "it stays under a fiftieth of that of rotations:"
    )
    return head + "\n\n" + "\n".join(kept) if kept else ""


def _bounded(groups: Groups, series: tuple[Any, ...], name: str) -> str:
    values = counts_of(groups, series, name)
    if not values:
        return ""
    limit = math.ceil(math.log2(1 / RATIOS[name]))
    dim, most = max(((d, mean_of(counts)) for d, counts in values.items()), key=lambda pair: pair[1].value)
    margin = most.half if math.isfinite(most.half) else 0.0
    reach = f"of D = {min(values)} … {max(values)}" if len(values) > 1 else "alone"
    said = f"- {title(series)}, {name}: at most {most.text}, at D = {dim} {reach}; {limit} are expected to do: "
    said += "not more, within error" if most.value - margin <= limit else "MORE"
    last = {d: values[d] for d in sorted(values)[-3:] if d >= 8}
    slope = slope_of(last)
    if not math.isfinite(slope.value):
        return said + "."
    rotations = slope_of({d: [theory.blocks_needed(d, RATIOS[name])] for d in last}).value
    size = abs(slope.value) + (slope.half if math.isfinite(slope.half) else 0.0)
    verdict = "flat" if size <= FLAT * rotations else "not shown to be flat"
    dims = f"D = {min(last)} … {max(last)}"
    return said + f"; {dims}: {slope.text} blocks per dimension, rotations {rotations:.3g}: {verdict}."


def _shares(groups: Groups) -> str:
    said = []
    for key, group in groups.items():
        if key.kind == "fitted" and not key.rows and key.turn == "haar" and key.dim > 2:
            seen, wanted = mean_of([share_of(run) for run in group["losses"]]), coupling_share(key.dim)
            said.append(f"| {WORDS[key.spectrum]} | {key.dim} | {seen.text} | {wanted:.4g} |")
    head = (
        "Mean share of the loss that a fitted block with a Haar turn leaves, in the logarithm, with a 95 % interval, "
        "beside the expected share near the identity, 1 − (k (D − k) + D − 1) / ((D + 2)(D − 1) / 2) with k = D / 2, "
        "which rises to a half and no further (at small D runs differ much, and the mean in the logarithm lies lower):"
        "\n\n| spectrum | D | seen | expected |\n|---|---|---|---|\n"
    )
    return head + "\n".join(said) if said else ""


def _samples(groups: Groups) -> str:
    held = {key: group for key, group in groups.items() if key.kind == "fitted" and key.rows}
    held = {key: group for key, group in held.items() if len(group["losses"]) > 1}
    if not held:
        return ""
    critical = [student(len(group["losses"]), 1 - 0.05 / len(held)) for group in held.values()]
    rows, agreed = [], 0
    for (key, group), limit in zip(held.items(), critical, strict=True):
        block = min(map(len, group["losses"])) - 1
        gap = mean_of([s[block] - e[block] for s, e in zip(group["losses"], group["exact"], strict=True)])
        cost = rows_cost(key.dim, key.rows, coupling_share(key.dim) ** block)
        score = (gap.value - cost.value) / math.hypot(gap.error, cost.error)
        agreed += abs(score) <= limit
        rows.append(
            f"| {key.rows:,} | {key.dim} | {block} | {gap.value:.4g} ± {gap.error:.1g} | {cost.value:.4g} "
            f"| {score:+.1f} | {'agree' if abs(score) <= limit else 'NOT'} |"
        )
    return (
        "Fitted to rows, beside the exact run with the same turns at the last block of the shortest run: loss on the "
        "true law in nats. The cost of N rows is the formula of rotations with the share of couplings.\n\n"
        "| N | D | blocks | sampled − exact | cost | errors apart | verdict |\n|---|---|---|---|---|---|---|\n"
        + "\n".join(rows)
        + f"\n\n{agreed} of {len(rows)} agree at a joint level of 95 %."
    )


def draw(lines: Sequence[Line]) -> Figure:
    """Blocks against D for both reductions, beside rotations, and the share of the loss left after each block."""
    groups = grouped(lines)
    figure, axes = panels(1, 3, width=4.4, height=3.9)
    for ax, name in zip(axes[:2], RATIOS, strict=True):
        _draw_counts(ax, groups, name)
    _draw_shares(axes[2], groups)
    return figure


def _draw_counts(ax: Axes, groups: Groups, name: str) -> None:
    dims = sorted({key.dim for key in groups})
    for each in series_of(groups, name):
        if each[0] == "fitted" and (each[3] or each[2] == "log_spaced"):
            continue
        values = counts_of(groups, each, name)
        if not values:
            continue
        means = [mean_of(counts) for counts in values.values()]
        halves = [m.half if math.isfinite(m.half) else 0.0 for m in means]
        style: dict[str, Any] = look(1 + ORDER.index((each[0], each[1]))) | {"markerfacecolor": "none"}
        label = KINDS[each[0]] + (f", {WORDS[each[1]]}" if each[0] == "fitted" else "")
        ax.errorbar(list(values), [m.value for m in means], halves, capsize=2, label=label, **style)
    rotations = [theory.blocks_needed(d, RATIOS[name]) for d in dims]
    ax.plot(dims, rotations, color="0.2", linewidth=1, label="rotations alone, theorem 2")
    ax.set(xlabel="dimension D", ylabel="blocks", title=f"Loss reduced {name}")
    if not dims:
        return
    ax.set_yscale("log")
    ax.set_xscale("log", base=2)
    ax.set_xticks(dims, [str(d) for d in dims])
    ax.set_ylim(0.7, 3 * max([10.0, *rotations]))
    ax.legend(fontsize=7, loc="upper left", frameon=False)


def _draw_shares(ax: Axes, groups: Groups) -> None:
    held = {k: g for k, g in groups.items() if k.kind == "fitted" and not k.rows and k.turn == "haar"}
    shown = {k: g for k, g in held.items() if k.spectrum == "log_spaced" and k.dim in (4, 16, 64, 256)}
    for index, (key, group) in enumerate(shown.items()):
        length = min(map(len, group["losses"]))
        left = [mean_of([run[i] / run[0] for run in group["losses"]]).value for i in range(length)]
        style: dict[str, Any] = look(index) | {"linestyle": "none", "markerfacecolor": "none"}
        ax.plot(range(length), left, label=f"fitted, D = {key.dim}", **style)
        ax.plot(range(length), [coupling_share(key.dim) ** i for i in range(length)], color=style["color"], linewidth=1)
    trained = [g for k, g in groups.items() if k.kind == "linear" and k.dim >= 8]
    if trained:
        runs = [run for group in trained for run in group["losses"]]
        points = [(i, run[i] / run[0]) for run in runs for i in range(1, len(run))]
        ax.plot(*zip(*points, strict=True), linestyle="none", marker="+", color="0.4", label="trained, linear, D ≥ 8")
    ax.set(
        yscale="log", xlabel="blocks", ylabel="share of the loss left", title="Log-spaced: seen, and expected (lines)"
    )
    if shown or trained:
        ax.legend(fontsize=7, frameon=False)
