"""What differential privacy costs: ``python -m benchmarks.private_tables --data FOLDER --epsilon 1 3 10``.

The tables, halves and measures are those of `benchmarks.tables`; the bounds are those of code books and of what such
readings may be, not of the rows. The plain fit, without epsilon, stands beside. Noise comes from the operating system,
so that figures differ a little from run to run. ``--out FILE`` adds a line of JSON for each fit.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.measure import commit, machine, versions
from benchmarks.report import append
from benchmarks.table_files import TARGETS, read
from benchmarks.tables import judge
from gaussflow.apps.tabular import TableSynthesizer

CODES = [1, 2, 3, 4, 5, 6, 7, 9]
CODED = ["ALQ101", "ALQ110", "HIQ210", "RIAGENDR", "RIDRETH1", "DMDCITZN", "DMDEDUC2", "SMQ020"]
PRESSURE = (0, 300)
BOUNDS: dict[str, dict[str, Any]] = {
    "pima_diabetes": {
        "preg": (0, 20), "plas": (0, 300), "pres": (0, 150), "skin": (0, 100), "insu": (0, 900),
        "mass": (0, 80, 0.1), "pedi": (0, 3, 0.001), "age": (18, 100),
    },
    "nhanes_2011_2012": {
        **dict.fromkeys(CODED, CODES),
        "ALQ130": [*range(1, 26), 30, 777, 999], "DMDMARTL": [1, 2, 3, 4, 5, 6, 77, 99], "DMDHHSIZ": (1, 7),
        "RIDAGEYR": (18, 80), "INDFMPIR": (0, 5, 0.01), "BMXWT": (20, 250, 0.1), "BMXHT": (120, 220, 0.1),
        "BMXBMI": (10, 90, 0.1), "BMXLEG": (20, 60, 0.1), "BMXARML": (20, 55, 0.1), "BMXARMC": (15, 65, 0.1),
        "BMXWAIST": (40, 190, 0.1), "BPXSY1": PRESSURE, "BPXDI1": PRESSURE, "BPXSY2": PRESSURE, "BPXDI2": PRESSURE,
    },
}  # fmt: skip
SHOWN = ("boosted", "logistic", "gap", "nearer", "member", "fit s")


def measure(frame: pd.DataFrame, table: str, epsilon: float | None, delta: float, seed: int) -> dict[str, float]:
    """One fit to half of the rows, judged by the other half."""
    order = np.random.default_rng(seed).permutation(len(frame))
    half = len(order) // 2
    train, held = (frame.iloc[part].reset_index(drop=True) for part in (order[:half], order[half:]))
    bounds = BOUNDS[table] if epsilon is not None else None
    start = time.process_time()
    model = TableSynthesizer(epsilon=epsilon, delta=delta, bounds=bounds, random_state=seed).fit(train)
    took = time.process_time() - start
    return judge(model.sample(half), train, held, TARGETS[table], seed) | {"fit s": took}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the folder of the tables")
    parser.add_argument("--tables", nargs="+", default=list(BOUNDS), choices=list(BOUNDS))
    parser.add_argument("--epsilon", nargs="+", type=float, default=[1.0, 3.0, 10.0])
    parser.add_argument("--delta", type=float, default=0.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    for table in options.tables:
        frame = read(table, options.data)
        print(f"{table} {frame.shape}: {', '.join(SHOWN)}; means of {options.seeds} seeds")
        for epsilon in [None, *options.epsilon]:
            lines = [measure(frame, table, epsilon, options.delta, seed) for seed in range(options.seeds)]
            means = {key: float(np.mean([line[key] for line in lines])) for key in SHOWN}
            name = "no epsilon" if epsilon is None else f"epsilon {epsilon:g}, delta {options.delta:g}"
            print(f"  {name:30}", *(f"{means[key]:.3f}" for key in SHOWN), flush=True)
            for seed, line in enumerate(lines if options.out else []):
                told = {"table": table, "epsilon": epsilon, "delta": options.delta, "seed": seed} | line
                append(options.out, told | {"commit": commit(), "machine": machine(), "versions": versions()})


if __name__ == "__main__":
    main()
