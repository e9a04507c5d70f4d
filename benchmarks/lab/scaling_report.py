"""What the runs of the experiment on scaling say: blocks to a share of the loss, and how they grow with D."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from benchmarks.lab.experiment import Line
from benchmarks.lab.growth import blocks_to
from benchmarks.lab.intervals import Interval, mean_of, student
from gaussflow import theory

SHARES = {0.5: "half", 0.1: "a tenth"}
TAKEN = 0.9  # of the decrease towards the best that was seen of images
TOO_WIDE = 1.0  # half an interval of an exponent that tells nothing
Needed = dict[int, list[float | None]]  # blocks of each run, by D; None where the share was not reached


def blocks_by_order(dim: float, order: int, share: float) -> float:
    r"""Blocks to a share of the loss where all of it lies in the cumulants of one order, nearly normal data.

    To first order cumulants :math:`\kappa` of order k cost :math:`\|\kappa\|^2 / (2 \, k!)` nats, all of them in full
    and the D diagonal ones in the marginals. Over random unit vectors w a traceless tensor has

    .. math:: E[\kappa(w, \dots, w)^2] = \frac{k! \, \|\kappa\|^2}{D (D + 2) \cdots (D + 2 k - 2)},

    so that a block takes :math:`k! / ((D + 2) \cdots (D + 2 k - 2))` of the loss: theorem 2 for k = 2, about
    :math:`6 / D^2` for k = 3 and :math:`24 / D^3` for k = 4. A tensor with traces loses more in a block.
    """
    taken = math.factorial(order) / math.prod(dim + 2 * i for i in range(1, order))
    return math.log(share) / math.log1p(-taken)


def needed(lines: Iterable[Line], share: float) -> dict[tuple[str, str], Needed]:
    """Blocks to that share of the loss, by problem and rule, then by D."""
    out: dict[tuple[str, str], Needed] = defaultdict(lambda: defaultdict(list))
    for line in sorted((line for line in lines if "problem" in line), key=lambda line: (line["dim"], line["seed"])):
        left = line["left"]
        out[line["problem"], line["rule"]][line["dim"]].append(blocks_to(left, share * left[0]))
    return {key: dict(dims) for key, dims in out.items()}


def reached(found: Needed) -> dict[int, list[float]]:
    """The dimensions at which every run got there, with its blocks."""
    whole = {dim: [b for b in blocks if b is not None] for dim, blocks in found.items()}
    return {dim: blocks for dim, blocks in whole.items() if len(blocks) == len(found[dim])}


def exponent(found: Mapping[int, Sequence[float]]) -> Interval:
    """The slope of log blocks over log D by least squares through the runs' means, with its interval.

    The scatter about the line gives the interval, so that what is no power law widens it. Wants three dimensions.
    """
    if len(found) < 3:
        return Interval(math.nan, math.nan, math.nan)
    x = np.log(np.array(list(found), dtype=float))
    y = np.array([np.mean(np.log(blocks)) for blocks in found.values()])
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    rest = y - y.mean() - slope * centred
    error = math.sqrt(float(rest @ rest) / (len(x) - 2) / float(centred @ centred))
    return Interval(slope, error, student(len(x) - 1) * error)


def report(lines: list[Line]) -> str:
    """Two tables of blocks and exponents for each rule, one of images, and what they come to."""
    parts = []
    for rule in dict.fromkeys(line["rule"] for line in lines if "problem" in line):
        parts += [_rule(lines, rule, share) for share in SHARES]
    if any("images" in line for line in lines):
        parts.append(_images(lines))
    return "\n\n".join(parts)


def _rule(lines: list[Line], rule: str, share: float) -> str:
    found = {problem: dims for (problem, r), dims in needed(lines, share).items() if r == rule}
    dims = sorted({dim for each in found.values() for dim in each})
    rows = [["problem", *(f"D = {dim}" for dim in dims), "exponent"]]
    for problem, each in found.items():
        cells = [_cell(each.get(dim, []), _tried(lines, problem, rule, dim)) for dim in dims]
        rows.append([problem, *cells, _exponent(reached(each))])
    line = _theory(dims, share)
    slope = f"{exponent(line).value:.2f}" if len(dims) > 2 else ""
    rows.append(["*theorem 2*", *(f"{blocks[0]:.1f}" for blocks in line.values()), slope])
    head = f"**Blocks to {SHARES[share]} of the loss of the standardised data, {rule} rotations.** "
    return head + _verdict(found, share) + "\n\n" + table(rows)


def _verdict(found: dict[str, Needed], share: float) -> str:
    """Which exponents are above, at and below theorem 2's at the same D; what was not reached is not among them."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name, each in found.items():
        groups[_against_theory(reached(each), share)].append(name)
    said = "; ".join(f"{name}: {', '.join(members)}" for name, members in sorted(groups.items()))
    left_out = [name for name, each in found.items() if len(reached(each)) < len(each)]
    last = f" Not reached at every D, and told from the others: {', '.join(left_out)}." if left_out else ""
    return f"By the 95 % intervals of the exponents, growth {said}.{last}"


def _against_theory(blocks: dict[int, list[float]], share: float) -> str:
    slope = exponent(blocks)
    if not math.isfinite(slope.half):
        return "not to be told from fewer than three D"
    if slope.half > TOO_WIDE:
        return f"not to be told, as the interval is wider than ± {TOO_WIDE:g}"
    gap = slope.value - exponent(_theory(blocks, share)).value
    if abs(gap) <= slope.half:
        return "as in theorem 2"
    return "faster than in theorem 2" if gap > 0 else "slower than in theorem 2"


def _theory(dims: Iterable[int], share: float) -> dict[int, list[float]]:
    return {dim: [theory.blocks_needed(dim, share)] for dim in dims}


def _tried(lines: list[Line], problem: str, rule: str, dim: int) -> tuple[int, float]:
    """The most blocks that such runs took, and the share of the loss that the longest left."""
    runs = [line["left"] for line in lines if (line.get("problem"), line["rule"], line["dim"]) == (problem, rule, dim)]
    longest = max(runs, key=len, default=[1.0])
    return len(longest) - 1, min(longest) / longest[0]


def _cell(blocks: list[float | None], tried: tuple[int, float]) -> str:
    if not blocks:
        return ""
    if None in blocks:
        return f"not in {tried[0]} ({tried[1]:.0%} left)"
    mean = mean_of([b for b in blocks if b is not None])
    return f"{mean.value:.1f}" + (f" ± {mean.half:.1f}" if len(blocks) > 1 else "")


def _exponent(found: dict[int, list[float]]) -> str:
    slope = exponent(found)
    return (
        f"{slope.value:.2f} ± {slope.half:.2f} at D = {', '.join(map(str, found))}" if math.isfinite(slope.half) else ""
    )


def best_seen(lines: Iterable[Line]) -> dict[tuple[str, int], float]:
    """The lowest held-out nats of images of that kind and number of pixels, by any rule."""
    out: dict[tuple[str, int], float] = defaultdict(lambda: math.inf)
    for line in lines:
        if "images" in line:
            out[line["images"], line["dim"]] = min(out[line["images"], line["dim"]], *line["left"])
    return dict(out)


def blocks_of_images(lines: list[Line], taken: float = TAKEN) -> dict[tuple[str, str], Needed]:
    """Blocks that take so much of the decrease from the standardised images to the best seen, by kind and rule."""
    best = best_seen(lines)
    out: dict[tuple[str, str], Needed] = defaultdict(lambda: defaultdict(list))
    for line in sorted((line for line in lines if "images" in line), key=lambda line: int(line["dim"])):
        above = [nats - best[line["images"], line["dim"]] for nats in line["left"]]
        out[line["images"], line["rule"]][line["dim"]].append(blocks_to(above, (1 - taken) * above[0], float))
    return {key: dict(dims) for key, dims in out.items()}


def _images(lines: list[Line]) -> str:
    rows = [["images", "pixels D", "rule", "standardised", "after 1 block", "lowest", "per pixel", "blocks"]]
    found = blocks_of_images(lines)
    for line in sorted((x for x in lines if "images" in x), key=lambda x: (x["images"], x["dim"], x["rule"])):
        left, blocks = line["left"], found[line["images"], line["rule"]][line["dim"]][0]
        nats = [f"{value:.2f}" for value in (left[0], left[1], min(left))]
        cell = f"not in {len(left) - 1}" if blocks is None else f"{blocks:.1f}"
        cells = [line["images"], str(line["dim"]), line["rule"], *nats, f"{min(left) / line['dim']:.3f}", cell]
        rows.append(cells)
    told = []
    for (kind, rule), dims in found.items():
        text = _exponent(reached(dims))
        told.append(f"{kind}, {rule}: " + (f"exponent {text}" if text else "no exponent, too few sides"))
    head = (
        "**Images: held-out nats per image.** The truth is not known. The last column is the number of blocks that "
        f"take {TAKEN:.0%} of the decrease from the standardised images to the lowest nats that any rule reached at "
        "that resolution; more blocks or rows would reach lower, and the number be higher. " + "; ".join(told) + "."
    )
    return head + "\n\n" + table(rows)


def table(rows: list[list[str]]) -> str:
    """Rows as a table of Markdown, the first as its head."""
    lines = [rows[0], ["---", *["--:"] * (len(rows[0]) - 1)], *rows[1:]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
