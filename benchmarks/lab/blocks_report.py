"""What was seen of the blocks that normal data need: set beside theorems 1 and 2, in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from benchmarks.lab.blocks_seen import Groups, Key, agreements, grouped, highest_above_bound, rate_of, reached
from benchmarks.lab.counts import RATIOS, count_cell
from benchmarks.lab.experiment import Line
from benchmarks.lab.intervals import LEVEL, slope_of
from benchmarks.lab.rules import NAMES, RULES
from gaussflow import theory

WORDS = {"near_identity": "near-identity", "log_spaced": "log-spaced"}
RATE_WITHIN, SLOPE_WITHIN = 0.02, 0.1


def report(lines: Sequence[Line]) -> str:
    """Markdown: counts, slopes, rates and the bound, and what samples add."""
    groups = grouped(lines)
    parts = [_counts_table(groups), _slopes(groups), _rates(groups), _samples(groups), _one_start(groups)]
    return "\n\n".join(part for part in parts if part)


def _counts_table(groups: Groups) -> str:
    dims = sorted({key.dim for key in groups})
    if not dims:
        return ""
    rows = ["| reduced | spectrum | rule | N | " + " | ".join(f"D = {d}" for d in dims) + " |"]
    rows.append("|---" * (4 + len(dims)) + "|")
    for name, ratio in RATIOS.items():
        rows.append(_row(f"{name} | | bound of theorem 2 |", [f"{theory.blocks_needed(d, ratio):.1f}" for d in dims]))
        for series in dict.fromkeys(key[:3] for key in groups):
            spectrum, method, count = series
            cells = [count_cell(groups.get(Key(*series, d)), ("sampled_" if count else "") + name) for d in dims]
            rows.append(_row(f"{name} | {WORDS[spectrum]} | {NAMES[method]} | {f'{count:,}' if count else '∞'}", cells))
    rows.append(_row("exactly | | theorem 1, at least |", [str(theory.min_blocks(d)) for d in dims]))
    return (
        "Blocks by the exact recursion (N = ∞) and by fits to N rows, mean and standard error over the runs. Some "
        "runs of a group end before they get there, where what N rows cost is more than the goal:\n\n" + "\n".join(rows)
    )


def _row(head: str, cells: Sequence[str]) -> str:
    return f"| {head} | " + " | ".join(cells) + " |"


def _slopes(groups: Groups) -> str:
    series = dict.fromkeys(key[:3] for key in groups)
    found = [_slope(groups, *each, name) for name in (*RATIOS, "from tenth to thousandth") for each in series]
    kept = [line for line in found if line]
    if not kept:
        return ""
    return (
        "Slopes of blocks against D, with 95 % intervals. Theory is theorem 2, which asks for a loss far below "
        "1 nat: the near-identity spectrum starts at 0.01 nats; the log-spaced one, at 0.38 nats for each dimension, "
        "is outside of it until little is left.\n\n" + "\n".join(kept)
    )


def _slope(groups: Groups, spectrum: str, method: str, rows: int, name: str) -> str:
    values = reached(groups, spectrum, method, rows, name)
    slope = slope_of(values)
    if not math.isfinite(slope.value):
        return ""
    dims = f"D = {min(values)} … {max(values)}"
    said = f"- {_title(spectrum, method, rows)}, {name}, {dims}: {slope.text} blocks per dimension; "
    if RULES[method].at_once:
        return said + ("flat." if abs(slope.value) <= 0.01 else "NOT flat.")
    ratio = RATIOS.get(name, RATIOS["thousandfold"] / RATIOS["tenfold"])
    wanted = slope_of({d: [theory.blocks_needed(d, ratio)] for d in values}).value
    off = slope.value / wanted - 1
    verdict = "within" if abs(off) <= SLOPE_WITHIN else "NOT within"
    return said + f"theory {wanted:.4g}, off by {100 * off:+.1f} %: {verdict} 10 %."


def _title(spectrum: str, method: str, rows: int) -> str:
    return f"{NAMES[method]}, {WORDS[spectrum]}, " + (f"N = {rows:,}" if rows else "exact")


def _rates(groups: Groups) -> str:
    said = []
    for key, group in groups.items():
        if key[:3] != ("near_identity", "haar", 0):
            continue
        rate, wanted = rate_of(group), theory.rate(key.dim)
        if key.dim < 16 or not math.isfinite(rate.value):
            continue  # the expectation is carried by rare runs, and a run's own rate is lower
        off = rate.value / wanted - 1
        line = (
            f"- D = {key.dim}, {len(group['exact'])} runs: rate {rate.value:.5f} ± {rate.half:.1g}, theory {wanted:.5f}"
        )
        line += f", off by {100 * off:+.2f} %: {'within' if abs(off) <= RATE_WITHIN else 'NOT within'} 2 %"
        share, half = (1 - rate.value) / (1 - wanted), rate.half / (1 - wanted)
        line += f"; the fall by a block, 1 − rate, is {share:.3f} ± {half:.2g}"
        said.append(line + _bound_sentence(group, key.dim))
    head = (
        "Mean rate of Haar runs on the near-identity spectrum, from a tenth of the loss to a thousandth, and the bound "
        "(the rate is the mean of each run's logarithm; at small D it lies below that of the expected loss):"
    )
    return head + "\n\n" + "\n".join(said) if said else ""


def _bound_sentence(group: dict[str, list[Any]], dim: int) -> str:
    above = highest_above_bound(group, dim)
    if above is None:
        return "."
    verdict = "never above the bound beyond error" if above.errors <= above.critical else "ABOVE the bound"
    return (
        f" of theory's. The mean loss is {verdict}: at most {above.errors:+.1f} standard errors over it, after block "
        f"{above.block}; {above.critical:.1f} would be reached by chance once in twenty."
    )


def _samples(groups: Groups) -> str:
    found = [(key, each) for key, group in groups.items() if key.rows for each in agreements(key, group)]
    if not found:
        return ""
    rows = [
        "| spectrum | rule | N | D | blocks | exact loss | sampled − exact | cost of N rows | errors apart | verdict |",
        "|---" * 10 + "|",
    ]
    for key, each in sorted(found, key=lambda item: (item[0], item[1].block)):
        exact = each.exact if each.exact > 1e-20 else 0.0
        rows.append(
            f"| {WORDS[key.spectrum]} | {NAMES[key.method]} | {key.rows:,} | {key.dim} | {each.block} | {exact:.3g} "
            f"| {each.gap.value:.4g} ± {each.gap.error:.1g} | {each.cost:.4g} | {each.score:+.1f} "
            f"| {'agree' if each.agrees(LEVEL) else 'apart'} |"
        )
    inside = sum(each.agrees(LEVEL) for _, each in found)
    return (
        "Samples beside the exact recursion with the same rotations, where a tenth of the exact loss is left and at "
        "the end: loss on the true law in nats, means over the runs with standard errors. A block fitted to N rows "
        "also fits their sampling error, and the cost is that, by formula: at last D (D + 3) / (4 N) to first order. "
        "They agree where the cost is within the 95 % interval of the difference.\n\n"
        + "\n".join(rows)
        + "\n\n"
        + _verdict(inside, len(found))
    )


def _verdict(inside: int, count: int) -> str:
    """Whether so many that agree are fewer than chance leaves, once in a hundred."""
    from scipy.stats import binom

    fewest = int(binom.ppf(0.01, count, LEVEL))
    verdict = "as chance leaves them" if inside >= fewest else "FEWER than chance leaves"
    return (
        f"{inside} of {count} agree; 95 % should, and chance leaves fewer than {fewest} once in a hundred: {verdict}."
    )


def _one_start(groups: Groups) -> str:
    held = {key.dim: group for key, group in groups.items() if key.method == "ica_one_start" and key.rows == 0}
    if not held:
        return ""
    got = sum(count is not None for group in held.values() for count in group["thousandfold"])
    total = sum(len(group["thousandfold"]) for group in held.values())
    return (
        "Normal data show ICA no direction: after it has whitened, every turn has the same contrast and its climb "
        "stays at its random start. As axes alone it is thus a Haar rotation away from the principal axes. With one "
        f"start for all blocks, {got} of {total} runs got a thousandfold down within half as many blocks again as the "
        "bound. As a recipe, whitening and then turning, it needs one block, as whitening does."
    )
