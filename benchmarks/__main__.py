"""``python -m benchmarks``: held-out nats of our flows beside baselines and other packages.

``density`` measures and prints, ``gaussian`` does so for correlated Gaussians in nats above the entropy, ``show``
prints a file of results again, ``list`` says what there is.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.data import TABLES
from benchmarks.measure import Row, measure_apart
from benchmarks.ours import OURS
from benchmarks.registry import METHODS, missing
from benchmarks.report import append, key, read, show

GAUSSIANS = ["gaussian_4", "gaussian_16", "gaussian_64"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(argv)
    if options.command == "list":
        print("tables:  " + " ".join(TABLES), "methods: " + " ".join(METHODS), sep="\n")
        return 0
    if options.command == "show":
        print(show(read(options.out), options.value))
        return 0
    print(show(_measure_all(options), "excess" if options.command == "gaussian" else "nats"))
    return 0


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
    commands = parser.add_subparsers(dest="command", required=True)
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
    commands.add_parser("list", help="say which tables and methods there are")
    return parser


def _names(known: dict[str, object]) -> object:
    def parse(text: str) -> list[str]:
        names = [name for name in text.split(",") if name]
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}. There are: {', '.join(known)}.")
        return names

    return parse


if __name__ == "__main__":
    sys.exit(main())
