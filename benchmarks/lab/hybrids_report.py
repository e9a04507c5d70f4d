"""Tables of the experiment on the hybrid: blocks to a tenth of the loss and how they grow, and what is left."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

from benchmarks.lab.experiment import Line
from benchmarks.lab.growth import blocks_to
from benchmarks.lab.intervals import Interval
from benchmarks.lab.scaling_report import SHARES, exponent, table

HYBRID = "hybrid"
LEVEL = 0.1  # of a block: counts that are nearer are the same
NAMES = {HYBRID: "hybrid", "rbig": "rbig", "ica": "ICA", "haar": "Haar rotations"}
SHORT = {"mixture": "M", "turn": "T"}


def blocks_of(line: Line, share: float = 0.1) -> float | None:
    """Blocks after the marginals that leave a share of what these leave, or None where no block does."""
    return blocks_to(line["left"], share * line["left"][0])


def share_of(line: Line) -> float:
    """The least share of the loss after the marginals that a block leaves; 0 where a loss is below zero by chance."""
    return max(0.0, float(min(line["left"]) / line["left"][0]))


def by_law(lines: Sequence[Line], rule: str) -> dict[str, dict[int, Line]]:
    """The lines of a rule by problem and D."""
    out: dict[str, dict[int, Line]] = defaultdict(dict)
    for line in sorted((line for line in lines if line["rule"] == rule), key=lambda line: int(line["dim"])):
        out[line["problem"]][line["dim"]] = line
    return dict(out)


def growth_of(found: dict[int, Line], share: float) -> Interval:
    """The slope of log blocks over log D through those of the dimensions at which the share was reached."""
    blocks = {dim: blocks_of(line, share) for dim, line in found.items()}
    return exponent({dim: [value] for dim, value in blocks.items() if value is not None})


def rules_of(lines: Sequence[Line]) -> list[str]:
    """The rules that there are, in the order in which they are told of."""
    return [rule for rule in NAMES if any(line["rule"] == rule for line in lines)]


def report(lines: list[Line]) -> str:
    """For every rule tables of blocks, then how they grow beside those of the hybrid, and what the hybrid leaves."""
    parts = [_blocks(lines, rule, share) for rule in rules_of(lines) for share in SHARES]
    if by_law(lines, HYBRID):
        parts += [_beside(lines, rule, share) for rule in rules_of(lines) if rule != HYBRID for share in SHARES]
        parts.append(_left(lines))
    return "\n\n".join(parts)


def _blocks(lines: Sequence[Line], rule: str, share: float) -> str:
    found = by_law(lines, rule)
    dims = sorted({dim for each in found.values() for dim in each})
    rows = [["problem", *(f"D = {dim}" for dim in dims), "exponent"]]
    for problem, each in found.items():
        slope = growth_of(each, share)
        told = f"{slope.value:.2f} ± {slope.half:.2f}" if math.isfinite(slope.half) else ""
        rows.append([problem, *(_cell(each.get(dim), share) for dim in dims), told])
    runs = [blocks_of(line, share) for each in found.values() for line in each.values()]
    head = (
        f"**{NAMES[rule]}: blocks after the marginals to {SHARES[share]} of the loss that these leave.** Reached in "
        f"{sum(blocks is not None for blocks in runs)} of {len(runs)} runs. The exponent of D, with its 95 % interval, "
        "is that of the runs which got there, where these are three."
    )
    return head + "\n\n" + table(rows)


def _cell(line: Line | None, share: float) -> str:
    if line is None:
        return ""
    blocks = blocks_of(line, share)
    return f"not in {len(line['left']) - 1} ({share_of(line):.0%} left)" if blocks is None else f"{blocks:.1f}"


def _beside(lines: Sequence[Line], rule: str, share: float) -> str:
    """In how many runs on the same law and D the hybrid needs fewer blocks than a rule, and which grow faster."""
    ours, theirs = by_law(lines, HYBRID), by_law(lines, rule)
    pairs = [(ours[law][dim], theirs[law][dim]) for law in ours for dim in ours[law] if dim in theirs.get(law, {})]
    counts = Counter(compared(blocks_of(a, share), blocks_of(b, share)) for a, b in pairs)
    told = [f"{what} in {number}" for what, number in counts.most_common()]
    slopes = {law: (growth_of(ours[law], share), growth_of(theirs[law], share)) for law in ours if law in theirs}
    flatter = [law for law, (a, b) in slopes.items() if b.value - a.value > math.hypot(a.half, b.half)]
    steeper = [law for law, (a, b) in slopes.items() if a.value - b.value > math.hypot(a.half, b.half)]
    return (
        f"**The hybrid beside {NAMES[rule]}, to {SHARES[share]} of the loss.** Of {len(pairs)} pairs of runs: "
        f"{', '.join(told) or 'none'}. By the 95 % intervals of the exponents flatter on {', '.join(flatter) or 'none'}"
        f" and steeper on {', '.join(steeper) or 'none'}."
    )


def compared(ours: float | None, theirs: float | None) -> str:
    """The blocks of the hybrid beside those of another, each None where it did not get there."""
    if ours is None or theirs is None:
        return (
            "reached by neither"
            if ours is theirs
            else f"reached by {'the hybrid' if theirs is None else 'the other'} alone"
        )
    if abs(ours - theirs) < LEVEL:
        return "as many blocks"
    return "fewer blocks" if ours < theirs else "more blocks"


def _left(lines: Sequence[Line]) -> str:
    found = by_law(lines, HYBRID)
    dims = sorted({dim for each in found.values() for dim in each})
    rows = [["problem", *(f"D = {dim}" for dim in dims)]]
    rows += [[problem, *(_ends(each.get(dim)) for dim in dims)] for problem, each in found.items()]
    head = (
        "**The hybrid: nats above the truth after the marginals → at its end**, ± one standard error over the test "
        "rows, and its blocks: M a mixture, T a turn."
    )
    return head + "\n\n" + table(rows)


def _ends(line: Line | None) -> str:
    if line is None:
        return ""
    kinds = "".join(SHORT.get(kind, "?") for kind in line["kinds"]) or "none"
    return f"{line['left'][0]:.3g} → {line['left'][-1]:.3g} ± {line['left_error'][-1]:.1g} ({kinds})"
