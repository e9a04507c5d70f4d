"""One measurement: fit, time, weigh, score on the test rows, in a process of its own."""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.apart import Failed, Meter, apart
from benchmarks.data import Table, load
from benchmarks.methods import Task
from benchmarks.registry import METHODS
from benchmarks.synthetic import Array

Row = dict[str, Any]
PACKAGES = ("gaussflow", "torch", "numpy", "scipy", "scikit-learn", "sinflow", "zuko", "rbig")
QUICK_ROWS = 300


def score(log_prob: Array, table: Table) -> Row:
    """Held-out nats and what goes with them, from log-densities (n,) of the test rows.

    ``nats`` is None where a row is not finite, and ``finite_nats`` is then the mean over those that are; ``worst`` is
    the mean over the worst 0.1 % of the finite rows, one at least. Where the density is known, ``excess`` is the mean
    of :math:`\\log p - \\log \\hat p` over the same rows: nearly free of the noise of the draw.
    """
    finite = np.isfinite(log_prob)
    nats = -log_prob[finite]
    row: Row = {"rows": len(table.train), "dim": table.dim, "nonfinite": float(1 - finite.mean())}
    mean = float(nats.mean()) if len(nats) else None
    row |= {"nats": mean if finite.all() else None, "finite_nats": mean}
    row["error"] = float(nats.std() / math.sqrt(len(nats))) if len(nats) else None
    row["worst"] = float(np.sort(nats)[-max(1, len(nats) // 1000) :].mean()) if len(nats) else None
    if table.law is not None:
        truth = table.law.nats(table.test)
        gap = nats - truth[finite]
        row |= {"entropy": table.law.entropy, "entropy_error": table.law.error, "truth_on_test": float(truth.mean())}
        row |= {"excess": float(gap.mean()), "excess_error": float(gap.std() / math.sqrt(len(gap)))} if len(gap) else {}
    return row


def measure(
    table: str, method: str, *, folder: Path | None = None, seed: int = 0, threads: int = 1, budget: float = 45.0,
    quick: bool = False,
) -> Row:  # fmt: skip
    """Fit ``method`` to ``table`` and score it: CPU and wall seconds and memory of the fit, nats on the test rows.

    ``peak_mb`` is how far the resident memory rose above its level before the fit. A method that fails gives a row with
    ``failed``.
    """
    torch.set_num_threads(threads)
    held = load(table, folder)
    held = held.head(QUICK_ROWS) if quick else held
    row: Row = {"table": table, "method": method, "seed": seed, "threads": threads, "quick": quick, "budget": budget}
    row |= {"commit": commit(), "versions": versions(), "machine": machine()}
    meter = Meter()
    try:
        fitted = METHODS[method](Task(held, seed, budget, quick))
        row |= {**meter.read(), "note": fitted.note}
        with np.errstate(all="ignore"):
            return row | score(np.asarray(fitted.log_prob(held.test.copy()), dtype=np.float64), held)
    except Exception as error:  # a rival may fail in any way, and the table must go on
        return row | {"failed": f"{type(error).__name__}: {error}"[:300]}


def measure_apart(table: str, method: str, *, threads: int = 1, limit: float = 600.0, **options: Any) -> Row:
    """`measure` in a fresh process with so many threads, so that memory is its own and a crash costs one row.

    A process that takes more than ``limit`` seconds of wall time is ended, and its row says so.
    """
    call = partial(measure, table, method, threads=threads, **options)
    ((_, row),) = apart([call], threads=threads, limit=limit)
    if isinstance(row, Failed):
        kept = {key: options[key] for key in ("seed", "quick", "budget") if key in options}
        return {"table": table, "method": method, "threads": threads, **kept, "failed": row.message}
    return dict(row)


def commit() -> str:
    """The commit of the code measured, with ``+`` where tracked files differ from it; empty outside a checkout."""
    folder = Path(__file__).parent
    try:
        name = _git(folder, "rev-parse", "--short=12", "HEAD")
        return name + ("+" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def versions() -> dict[str, str]:
    """Versions of Python and of the packages measured, those that are there."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def machine() -> str:
    """The processor's name, where Linux tells it, and how many cores there are."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{name}, {os.cpu_count()} cores"
