"""Pictures of tables: wine beside samples of it, and the benchmarks from their results."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from sklearn.datasets import load_wine

from common import BLUE, GREY, ORANGE, new_figure, save
from gaussflow import rbig

ROOT = Path(__file__).parents[2]


def wine() -> None:
    """Alcohol against colour intensity: data and samples."""
    x = torch.tensor(load_wine().data)
    flow, _ = rbig(x, seed=0, progress=False)
    new = flow.sample(178, generator=torch.Generator().manual_seed(0))
    figure = new_figure(5, 3.6)
    axis = figure.subplots()
    axis.scatter(x[:, 0], x[:, 9], s=14, color=GREY, label="178 rows of data")
    axis.scatter(new[:, 0], new[:, 9], s=14, color=ORANGE, marker="x", linewidths=1, label="178 samples")
    axis.set(xlabel="alcohol, % by volume", ylabel="colour intensity")
    axis.legend(frameon=False)
    save(figure, "wine")


def benchmarks() -> None:
    """Held-out nats of each method, a panel for each table, up to those of the full-covariance Gaussian."""
    sys.path.insert(0, str(ROOT))
    from benchmarks.ours import OURS
    from benchmarks.report import read

    rows = [r for r in read(ROOT / "benchmarks/results/density.jsonl") if r.get("finite_nats") is not None]
    tables, methods = list(dict.fromkeys(r["table"] for r in rows)), list(dict.fromkeys(r["method"] for r in rows))
    figure = new_figure(10, 5.2)
    axes = figure.subplots(2, 3, sharey=True)
    for axis, table in zip(axes.flat, tables, strict=False):
        nats = {r["method"]: r["finite_nats"] for r in rows if r["table"] == table}
        low, high = min(nats.values()), nats["gaussian"]
        for method, value in nats.items():
            ours, beyond = method in OURS, value > high
            mark = ">" if beyond else "o" if ours else "s"
            place = min(value, high + 0.04 * (high - low))
            axis.scatter(place, methods.index(method), marker=mark, s=30, color=BLUE if ours else ORANGE, zorder=3)
        axis.axvline(high, color=GREY, linewidth=1, linestyle="--")
        axis.set_yticks(range(len(methods)), methods, fontsize=7)
        axis.set_title(table.split("_first")[0].removesuffix("_maf").removesuffix("_dec2006_raw"), fontsize=9)
        axis.tick_params(axis="x", labelsize=7)
        axis.grid(color="#dddddd", linewidth=0.5)
    axes[0, 0].invert_yaxis()
    figure.supxlabel("held-out −log p, nats per row; left is better", fontsize=8)
    save(figure, "benchmarks")


if __name__ == "__main__":
    wine()
    benchmarks()
