"""Round-trip errors of stacks of eight layers of every kind: ``python benchmarks/roundtrip.py``.

For each stack, untrained and trained, in both precisions: the largest relative error over rows at 1, 5 and 20
standard deviations (and the median at 20), the error of the log-determinant, the share of rows that hold a NaN or an
infinity, and whether all gradients are finite.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from stacks import STACKED, State, figures, states

SIGMAS = (1.0, 5.0, 20.0)
HEADER = "| stack of 8 | D | dtype | state | 1σ | 5σ | 20σ | median 20σ | log-det 20σ | broken rows | gradients | s |"


def commit() -> str:
    """The commit measured."""
    here = Path(__file__).parent
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=here)
    return git.stdout.strip() or "none"


def main() -> None:
    """Print the table, a line as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dims", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--steps", type=int, default=200, help="steps of Adam in the trained state")
    parser.add_argument("--only", default="", help="stacks whose name holds this")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"commit {commit()}, torch {torch.__version__}, {options.steps} steps\n\n{HEADER}\n|{'---|' * 12}")
    for name in (name for name in STACKED if options.only in name):
        for dim in options.dims:
            for dtype in (torch.float32, torch.float64):
                start = time.perf_counter()
                for state in states(name, dim, dtype, options.steps):
                    cells = [name, str(dim), str(dtype)[6:], state.name, *measured(state)]
                    print(f"| {' | '.join(cells)} | {time.perf_counter() - start:.1f} |", flush=True)
                    start = time.perf_counter()


def measured(state: State) -> list[str]:
    """The cells of a line."""
    at = [figures(state, sigma) for sigma in SIGMAS]
    errors = [f"{f.worst:.0e}" for f in at] + [f"{at[-1].median:.0e}", f"{at[-1].ladj:.0e}"]
    finite = all(f.gradients_finite for f in at)
    return [*errors, f"{max(f.broken for f in at):.0%}", "finite" if finite else "NOT FINITE"]


if __name__ == "__main__":
    main()
