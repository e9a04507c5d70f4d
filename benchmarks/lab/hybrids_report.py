"""Tables of the experiment on the hybrid: blocks to a tenth of the loss and how they grow, and what is left."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from benchmarks.lab.experiment import Line
from benchmarks.lab.growth import blocks_to
from benchmarks.lab.intervals import Interval
from benchmarks.lab.scaling_report import exponent, table

SHARE = 0.1
HYBRID = "hybrid"
NAMES = {HYBRID: "hybrid", "rbig": "rbig", "ica": "ICA", "haar": "Haar rotations"}
SHORT = {"marginals": "", "mixture": "M", "turn": "T"}


def blocks_of(line: Line) -> float | None:
    """Blocks after the marginals that leave a tenth of what these leave, or None where no block does."""
    return blocks_to(line["left"], SHARE * line["left"][0])


def share_of(line: Line) -> float:
    """The least share of the loss after the marginals that a block leaves; 0 where a loss is below zero by chance."""
    return max(0.0, float(min(line["left"]) / line["left"][0]))


def by_law(lines: Sequence[Line], rule: str) -> dict[str, dict[int, Line]]:
    """The lines of a rule by problem and D."""
    out: dict[str, dict[int, Line]] = defaultdict(dict)
    for line in sorted((line for line in lines if line["rule"] == rule), key=lambda line: int(line["dim"])):
        out[line["problem"]][line["dim"]] = line
    return dict(out)


def growth_of(found: dict[int, Line], dims: Sequence[int]) -> Interval:
    """The slope of log blocks over log D through those of the dimensions at which a tenth was reached."""
    blocks = {dim: blocks_of(found[dim]) for dim in dims if dim in found}
    return exponent({dim: [value] for dim, value in blocks.items() if value is not None})


def rules_of(lines: Sequence[Line]) -> list[str]:
    """The rules that there are, in the order in which they are told of."""
    return [rule for rule in NAMES if any(line["rule"] == rule for line in lines)]


def report(lines: list[Line]) -> str:
    """For every rule a table of blocks, then which grows how beside the hybrid, and what the hybrid leaves."""
    parts = [_blocks(lines, rule) for rule in rules_of(lines)]
    parts += [_beside(lines, rule) for rule in rules_of(lines) if rule != HYBRID and by_law(lines, HYBRID)]
    if by_law(lines, HYBRID):
        parts.append(_left(lines))
    return "\n\n".join(parts)


def _blocks(lines: Sequence[Line], rule: str) -> str:
    found = by_law(lines, rule)
    dims = sorted({dim for each in found.values() for dim in each})
    rows = [["problem", *(f"D = {dim}" for dim in dims), "exponent"]]
    for problem, each in found.items():
        slope = growth_of(each, dims)
        told = f"{slope.value:.2f} ± {slope.half:.2f}" if math.isfinite(slope.half) else ""
        rows.append([problem, *(_cell(each.get(dim)) for dim in dims), told])
    count = len(lines_there := [line for each in found.values() for line in each.values()])
    reached = sum(blocks_of(line) is not None for line in lines_there)
    head = (
        f"**{NAMES[rule]}: blocks after the marginals to a tenth of the loss that these leave.** Reached in {reached} "
        f"of {count} runs. The exponent, with its 95 % interval, is of the D at which it was, where these are three."
    )
    return head + "\n\n" + table(rows)


def _cell(line: Line | None) -> str:
    if line is None:
        return ""
    blocks = blocks_of(line)
    return f"not in {len(line['left']) - 1} ({share_of(line):.0%} left)" if blocks is None else f"{blocks:.1f}"


def _beside(lines: Sequence[Line], rule: str) -> str:
    """How the exponents of the hybrid and of a rule differ at the D that both reached; where one alone got there."""
    groups: dict[str, list[str]] = defaultdict(list)
    for problem, ours in by_law(lines, HYBRID).items():
        theirs = by_law(lines, rule).get(problem, {})
        if theirs:
            groups[verdict(ours, theirs)].append(problem)
    said = "; ".join(f"{name}: {', '.join(members)}" for name, members in sorted(groups.items()))
    return f"**Growth of the hybrid beside {NAMES[rule]}.** {said[:1].upper()}{said[1:]}."


def verdict(ours: dict[int, Line], theirs: dict[int, Line]) -> str:
    """Which of two grows more slowly with D, as far as their runs say.

    Where both reached a tenth at three D or more, by exponents and their intervals; else by the highest D at which
    each reached it.
    """
    both = [dim for dim in ours if dim in theirs]
    there = [[dim for dim in both if blocks_of(each[dim]) is not None] for each in (ours, theirs)]
    common = [dim for dim in there[0] if dim in there[1]]
    if len(common) >= 3 and there[0] == there[1]:
        a, b = growth_of(ours, common), growth_of(theirs, common)
        gap = a.value - b.value
        if abs(gap) <= math.hypot(a.half, b.half):
            return "not to be told apart"
        return "flatter" if gap < 0 else "steeper"
    if there[0] == there[1]:
        return "reached by both at too few D" if common else "reached by neither"
    return "reached by the hybrid at more D" if len(there[0]) > len(there[1]) else "reached by the other at more D"


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
