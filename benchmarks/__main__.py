"""``python -m benchmarks``: the convergence laboratory, or by name a comparison on tables.

Without a name all experiments of the laboratory run, those that the folder of results holds already left out, and
their pictures and report are made; ``report`` makes these again. ``density`` measures held-out nats of our flows beside
baselines and other packages, ``gaussian`` does so for correlated Gaussians in nats above the entropy, ``show`` prints a
file of such results again, ``list`` says what there is.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.data import TABLES
from benchmarks.lab.experiment import Experiment, Setting
from benchmarks.measure import Row, measure_apart
from benchmarks.ours import OURS
from benchmarks.registry import METHODS, missing
from benchmarks.report import append, key, read, show

GAUSSIANS = ["gaussian_4", "gaussian_16", "gaussian_64"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(argv)
    if options.command == "list":
        names = {"experiments": _experiments(), "tables": TABLES, "methods": METHODS}
        print(*(f"{kind}: {' '.join(there)}" for kind, there in names.items()), sep="\n")
        return 0
    if options.command in (None, "report"):
        return _laboratory(options)
    if options.command == "show":
        print(show(read(options.out), options.value))
        return 0
    print(show(_measure_all(options), "excess" if options.command == "gaussian" else "nats"))
    return 0


def _laboratory(options: argparse.Namespace) -> int:
    """Measure what is missing, unless only the report is asked for; 1 where a case failed."""
    from benchmarks.lab.report import write_report
    from benchmarks.lab.suite import Run, measure_all

    there = _experiments()
    if options.command == "report":
        print(write_report(list(there.values()), options.folder))
        return 0
    if unknown := [name for name in options.only or [] if name not in there]:
        raise SystemExit(f"--only: unknown: {', '.join(unknown)}. There are: {', '.join(there)}.")
    folder = options.out or Path("bench-results", "quick" if options.quick else "full")
    run = Run(folder, Setting(options.quick, options.data, options.threads), options.jobs, options.limit)
    chosen = [there[name] for name in options.only or there]
    try:
        failed = measure_all(chosen, run)
    except KeyboardInterrupt:
        print(f"stopped; what was measured is in {folder}, and the same command goes on from there", file=sys.stderr)
        return 130
    print(write_report(list(there.values()), folder))
    print(f"pictures and report.md are in {folder}", file=sys.stderr)
    return min(failed, 1)


def _experiments() -> dict[str, Experiment]:
    from benchmarks.lab.suite import EXPERIMENTS

    return {each.name: each for each in EXPERIMENTS}


def _measure_all(options: argparse.Namespace) -> list[Row]:
    """Measure what the file of results does not hold yet, one line at a time, and return the rows asked for."""
    from tqdm import tqdm

    done = {key(row): row for row in (read(options.out) if options.out else [])}
    methods = _present(options.methods)
    asked = [(t, m, s) for s in range(options.seeds) for t in options.tables for m in methods]
    rows = []
    for table, method, seed in (bar := tqdm(asked, disable=not sys.stderr.isatty())):
        bar.set_description(f"{table} {method}")
        row: Row = {"table": table, "method": method, "seed": seed, "threads": options.threads}
        row |= {"budget": options.budget, "quick": options.quick}
        if key(row) not in done:
            done[key(row)] = measure_apart(folder=options.data, limit=options.limit, **row)
            if options.out:
                append(options.out, done[key(row)])
        rows.append(done[key(row)])
        if "failed" in rows[-1]:
            tqdm.write(f"{table} {method}: {rows[-1]['failed']}", file=sys.stderr)
    return rows


def _present(methods: list[str]) -> list[str]:
    for method in methods:
        if module := missing(method):
            print(f"{method} left out: no module {module} (its package is not installed)", file=sys.stderr)
    return [method for method in methods if not missing(method)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.split("\n")[0])
    _laboratory_options(parser)
    commands = parser.add_subparsers(dest="command")
    density = commands.add_parser("density", help="measure held-out nats")
    gaussian = commands.add_parser("gaussian", help="nats above the entropy of correlated Gaussians")
    for command, tables, methods in (
        (density, ["breast_cancer", "digits"], list(METHODS)),
        (gaussian, GAUSSIANS, ["gaussian", *(name for name in OURS if name.startswith("rbig"))]),
    ):
        command.add_argument("--tables", type=_names(TABLES), default=tables, help="comma-separated, see list")
        command.add_argument("--methods", type=_names(METHODS), default=methods, help="comma-separated, see list")
        command.add_argument("--data", type=Path, help="folder with the tables that scikit-learn does not ship")
        command.add_argument("--threads", type=int, default=1)
        command.add_argument("--seeds", type=int, default=1, help="how many, counted from 0")
        command.add_argument("--budget", type=float, default=45.0, help="CPU seconds for fits by gradients")
        command.add_argument("--limit", type=float, default=600.0, help="wall seconds after which a fit is ended")
        command.add_argument("--out", type=Path, help="lines of JSON, added to; what it holds is not measured again")
        command.add_argument("--quick", action="store_true", help="few rows: does it run at all")
    shown = commands.add_parser("show", help="print a file of results")
    shown.add_argument("out", type=Path)
    shown.add_argument("--value", default="nats", choices=["nats", "excess", "worst", "peak_mb", "wall"])
    commands.add_parser("list", help="say which experiments, tables and methods there are")
    again = commands.add_parser("report", help="pictures and report of the laboratory again, from the lines alone")
    again.add_argument("folder", type=Path)
    return parser


def _laboratory_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="small cases only: all in under three minutes")
    parser.add_argument("--data", type=Path, help="folder with mnist.npz and omniglot28_background.npz, if you have it")
    parser.add_argument("--only", type=lambda text: text.split(","), help="comma-separated experiments, see list")
    parser.add_argument("--out", type=Path, help="folder of lines, pictures and report; default bench-results/full")
    jobs = min(2, os.cpu_count() or 1)
    parser.add_argument("--jobs", type=int, default=jobs, help="cases measured at once [2, or 1 on a single core]")
    parser.add_argument("--threads", type=int, default=1, help="threads of each")
    parser.add_argument("--limit", type=float, default=900.0, help="wall seconds after which a case is given up")


def _names(known: dict[str, object]) -> object:
    def parse(text: str) -> list[str]:
        names = [name for name in text.split(",") if name]
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}. There are: {', '.join(known)}.")
        return names

    return parse


if __name__ == "__main__":
    sys.exit(main())
