"""``python -m benchmarks.ops``: each operation beside its floor and other packages, in one run on one thread.

First every operation is checked in single precision against double precision; where one check is red, no speed is
printed. Then all that is compared is called in turn, and the least CPU time counts. The floor of a case is the bytes
that must move, at the bandwidth of a large copy, plus the products that must be formed, at the rate of a product of
the same size, both measured in the same turns. ``--fit`` times whole fits instead. MS-SSIM has a benchmark of its own,
``python -m benchmarks.msssim``.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate

from benchmarks.measure import commit, machine, versions
from benchmarks.ops import checks, fitting, linear, pointwise
from benchmarks.ops.case import Case, Cases
from benchmarks.ops.clock import copy_call, interleaved, peak_and_seconds, product_call
from benchmarks.ops.targets import BATCH, exactness, verdicts
from benchmarks.report import append

MAKERS: dict[str, Callable[[int, int], Cases]] = {
    "spline": pointwise.spline,
    "mixture": pointwise.mixture,
    "normal": pointwise.normal,
    "rotations": linear.rotations,
    "block": linear.block,
    "couplings": linear.couplings,
    "fitting": fitting.fitting,
}
MANY = 100_000
HEAD = ["operation", "", "N", "D", "floor, ms", "ours, ms (× floor)", "MB"]


def main(argv: Sequence[str] | None = None) -> int:
    """Check, and where all is well measure and print; returns the exit status."""
    options = _parser().parse_args(argv)
    if options.quick:
        options.dims, options.rows, options.seconds = [16, 64], [BATCH // 8], 0.05
    torch.set_num_threads(1)
    torch.manual_seed(0)
    warnings.simplefilter("ignore")
    print(f"commit {stamp()['commit']}, torch {torch.__version__}, {stamp()['machine']}", flush=True)
    if options.device != "cpu":
        from benchmarks.ops.device import report as report_of_device

        return report_of_device(options, stamp())
    every = list(checks.checks())
    broken = [check for check in every if not check.kept]
    if broken:
        words = (f"{check.name}: {check.error:.1e}, promised {check.allowed:.0e}" for check in broken)
        print("not as exact as promised, so no speed is measured:", *words, sep="\n- ")
        return 1
    if options.fit:
        from benchmarks.ops.fits import report

        print(report(quick=options.quick, out=options.out))
        return 0
    rows = [row for n in options.rows for row in measured(options, n)]
    print(table(rows), table_of_others(rows), sep="\n\n")
    goals = exactness(every) + verdicts(rows)
    print("\n" + tabulate(goals, ["goal", "D", "", "is", "should be", ""], "pipe", disable_numparse=True))
    return 0


def measured(options: argparse.Namespace, rows: int) -> list[dict[str, Any]]:
    """The rows of all cases with so many rows of data, each written to the file as soon as it is there."""
    found = []
    for operation in options.only:
        for dim in options.dims:
            for case in MAKERS[operation](rows, dim):
                found.append(measure(case, options.seconds, options.compiled))
                print(".", end="", flush=True, file=sys.stderr)
                if options.out:
                    append(options.out, found[-1])
    print(file=sys.stderr)
    return found


def measure(case: Case, seconds: float, compiled: bool = False) -> dict[str, Any]:
    """One case: milliseconds and peak MB by name, the floor, and where and when it was measured."""
    peaks = {name: peak_and_seconds(call) for name, call in case.calls.items()}
    calls = dict(case.calls)
    if compiled and case.way not in ("training", "fit"):
        torch.compiler.reset()
        calls["ours, compiled"] = torch.compile(case.calls["ours"])
        calls["ours, compiled"]()  # which compiles it, however long that takes
    copy, copied = copy_call()
    product, flops = product_call(case.rows, case.dim)
    if case.product:
        product, flops = case.product, case.flops // (3 if case.way == "training" else 1)
    beside = {" copy": copy} | ({" product": product} if case.flops else {})
    seen = interleaved(calls | beside, seconds, first={name: first for name, (_, first) in peaks.items()})
    floor = case.moved / copied * seen.pop(" copy") + case.flops / flops * seen.pop(" product", 0.0)
    row = {"operation": case.operation, "way": case.way, "rows": case.rows, "dim": case.dim}
    row |= {"floor_ms": 1e3 * floor, "ms": {name: 1e3 * t for name, t in seen.items()}}
    row |= {"mb": {name: peak / 1e6 for name, (peak, _) in peaks.items()}, "left_out": case.left_out}
    return row | stamp()


@cache
def stamp() -> dict[str, Any]:
    """What was measured and where: taken once, since the checkout may move on during a long run."""
    return {"commit": commit(), "versions": versions(), "machine": machine(), "threads": torch.get_num_threads()}


def table(rows: list[dict[str, Any]]) -> str:
    """Ours beside the floor."""
    lines = []
    for row in rows:
        ours = row["ms"]["ours"]
        where = [row["operation"], row["way"], f"{row['rows']:,}", str(row["dim"])]
        fast = row["ms"].get("ours, compiled")
        cell = f"{ours:.3g} ({ours / row['floor_ms']:.2g})" + (f", compiled {fast:.3g}" if fast else "")
        lines.append([*where, f"{row['floor_ms']:.3g}", cell, f"{row['mb']['ours']:.3g}"])
    return str(tabulate(lines, HEAD, "pipe", disable_numparse=True))


def table_of_others(rows: list[dict[str, Any]]) -> str:
    """The others: milliseconds, how many times ours that is, and MB; or why one is not there."""
    names = list(dict.fromkeys(name for row in rows for name in (*row["ms"], *row["left_out"])))
    names = [name for name in names if not name.startswith("ours")]
    lines = []
    for row in rows:
        cells = []
        for name in names:
            ms = row["ms"].get(name)
            there = f"{ms:.3g} (× {ms / row['ms']['ours']:.2g}), {row['mb'][name]:.3g} MB" if ms else ""
            cells.append(there or row["left_out"].get(name, ""))
        if any(cells):
            lines.append([row["operation"], row["way"], f"{row['rows']:,}", str(row["dim"]), *cells])
    return str(tabulate(lines, [*HEAD[:4], *names], "pipe", disable_numparse=True))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ops", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(MAKERS), default=list(MAKERS))
    parser.add_argument("--dims", nargs="+", type=int, default=[16, 64, 256, 1024])
    parser.add_argument("--rows", nargs="+", type=int, default=[BATCH, MANY])
    parser.add_argument("--seconds", type=float, default=2.0, help="for each case (default 2)")
    parser.add_argument("--compiled", action="store_true", help="time ours by torch.compile as well, not in training")
    choices = ["cpu", "cuda", "interpreter"]
    parser.add_argument("--device", choices=choices, default="cpu", help="on cuda, the kernels beside plain torch")
    parser.add_argument("--fit", action="store_true", help="whole fits instead, beside their floor")
    parser.add_argument("--out", type=Path, help="a file that a line of JSON is added to for each case")
    parser.add_argument("--quick", action="store_true", help="small and short: does it run at all")
    return parser


if __name__ == "__main__":
    sys.exit(main())
