"""Whole fits: a flow of many blocks in closed form, its seconds beside the floor, its memory beside the data."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate
from torch import Tensor

from benchmarks.apart import Failed, Meter, apart
from benchmarks.measure import commit, machine, versions
from benchmarks.ops.case import FLOAT, absent
from benchmarks.ops.clock import copy_call, interleaved, product_call
from benchmarks.ours import BudgetSpentError, cpu_seconds
from benchmarks.report import append

ROWS, DIM, BLOCKS = 100_000, 64, 50
QUICK_ROWS, QUICK_DIM, QUICK_BLOCKS = 2_000, 8, 3
GOAL, COPIES = 4, 3  # times the floor, and times the data
DIRECTIONS, KNOTS = 16, 48  # searched for in each block, and of each spline: ours, and given to the other package too
LIMIT, LIMIT_OF_OTHERS = 900.0, 240.0  # seconds after which a fit is ended: wall, CPU

Fit = Callable[[Tensor, int], float]


def data(rows: int, dim: int) -> Tensor:
    """Rows that no block makes normal at once: skewed and bimodal sources, mixed, in single precision."""
    generator = torch.Generator().manual_seed(0)
    sources = torch.randn(rows, dim, generator=generator)
    sources[:, ::2] = sources[:, ::2].abs().mul(2).exp().log1p()
    sources[:, 1::2] += 3 * (torch.rand(rows, dim // 2, generator=generator) < 0.4)
    return sources @ torch.randn(dim, dim, generator=generator) / dim**0.5


def ours(rotation: str, x: Tensor, blocks: int) -> float:
    """`rbig` with a rotation by name, stopped by nothing but the number of blocks."""
    import gaussflow

    turn = getattr(gaussflow, rotation)
    _, history = gaussflow.rbig(x, rotation=turn, max_blocks=blocks, patience=blocks, progress=False)
    return len(history)


def sinflow(x: Tensor, blocks: int) -> float:
    """The sliced flow of another package; it shuffles what it is given, so it has a copy. Stopped after a while.

    Its transforms bend one direction each; a block is one search and a transform for every direction found. The first
    two turn and scale the columns, and are of no block.
    """
    from sinflow import Flow

    directions = min(DIRECTIONS, x.shape[1])
    settings = {"n_directions": directions, "n_transforms": blocks * directions, "n_knots": KNOTS}
    flow = Flow(validation_fraction=0.1, early_stopping=False, **settings)
    with suppress(BudgetSpentError), cpu_seconds(LIMIT_OF_OTHERS):
        flow.fit(x.double().numpy().copy())
    return max(0, len(flow.transforms) - 2) / directions


FITS: dict[str, Fit] = {
    "rbig, haar_rotation": partial(ours, "haar_rotation"),
    "sinflow": sinflow,
    "rbig, pca_rotation": partial(ours, "pca_rotation"),
    "rbig, sliced_rotation": partial(ours, "sliced_rotation"),
}


def floor(rows: int, dim: int, blocks: int) -> float:
    """Seconds of what a fit cannot avoid: for each block the product that turns the rows and two passes over them."""
    copy, copied = copy_call()
    product, _ = product_call(rows, dim)
    seen = interleaved({"copy": copy, "product": product}, 1.0)
    return blocks * (seen["product"] + 2 * 2 * FLOAT * rows * dim / copied * seen["copy"])


def fitted(name: str, rows: int, dim: int, blocks: int) -> dict[str, Any]:
    """One fit in this process: the floor, seconds, memory and blocks."""
    x = data(rows, dim)
    least = floor(rows, dim, blocks)
    FITS[name](x[:500], 1)  # what is imported and set up at the first call is not part of it
    meter = Meter()
    done = FITS[name](x, blocks)
    size = FLOAT * x.numel() / 2**20
    return {**meter.read(), "fit": name, "blocks": done, "floor": least, "data_mb": size, "rows": rows, "dim": dim}


def report(quick: bool = False, out: Path | None = None) -> str:
    """Measure every fit in a process of its own, and put the figures together."""
    sizes = (QUICK_ROWS, QUICK_DIM, QUICK_BLOCKS) if quick else (ROWS, DIM, BLOCKS)
    names = [name for name in FITS if name != "sinflow" or not absent("sinflow", 0)]
    lines, stamp = [], {"commit": commit(), "versions": versions(), "machine": machine(), "threads": 1}
    for index, row in apart([partial(fitted, name, *sizes) for name in names], limit=LIMIT):
        if isinstance(row, Failed):
            lines.append([names[index], row.message])
            continue
        if out:
            append(out, row | stamp)
        lines.append(_line(row))
    lines += [[name, "not installed"] for name in FITS if name not in names]
    rows, dim, blocks = sizes
    head = [
        f"N = {rows:,}, D = {dim}",
        "blocks",
        "s",
        "s per block",
        "floor, s",
        "× floor",
        "peak, MB",
        "× data",
        "goal",
    ]
    words = f"Asked for {blocks} blocks; the goal is {GOAL} times the floor and {COPIES} copies of the data."
    return f"{tabulate(lines, head, 'pipe', disable_numparse=True)}\n\n{words}"


def _line(row: dict[str, Any]) -> list[str]:
    blocks, seconds, copies = row["blocks"], row["seconds"], row["peak_mb"] / row["data_mb"]
    least = row["floor"] * blocks / BLOCKS if row["rows"] == ROWS else row["floor"]
    times = seconds / least if least else math.inf  # of a fit that ended before its first block
    speed, memory = ("met" if met else "missed" for met in (times <= GOAL, copies <= COPIES))
    cells = [row["fit"], f"{blocks:.3g}", f"{seconds:.1f}", f"{seconds / blocks:.3g}" if blocks else "", f"{least:.2f}"]
    return [*cells, f"{times:.1f}", f"{row['peak_mb']:.0f}", f"{copies:.1f}", f"speed {speed}, memory {memory}"]
