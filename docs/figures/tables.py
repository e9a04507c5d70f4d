"""Pictures of tables: wine beside samples of it, and the benchmarks from their results."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from sklearn.datasets import load_wine

from common import BLACK, GREY, ORANGE, STYLES, new_figure, save
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
    """Held-out nats of each method less those of the full-covariance Gaussian, table by table."""
    sys.path.insert(0, str(ROOT))
    from benchmarks.report import read

    rows = [r for r in read(ROOT / "benchmarks/results/density.jsonl") if r.get("finite_nats") is not None]
    base = {r["table"]: r["finite_nats"] for r in rows if r["method"] == "gaussian"}
    methods = [m for m in dict.fromkeys(r["method"] for r in rows) if m != "gaussian"]
    figure = new_figure(9, 4)
    axis = figure.subplots()
    marks = ["o", "s", "^", "v", "D", "P", "X", "*", "<", ">"]
    for k, method in enumerate(methods):
        mine = {r["table"]: r["finite_nats"] for r in rows if r["method"] == method and r["table"] in base}
        places = [list(base).index(t) + (k - len(methods) / 2) * 0.07 for t in mine]
        gains = [v - base[t] for t, v in mine.items()]
        axis.scatter(places, gains, marker=marks[k % len(marks)], s=34, color=STYLES[k % 5][0], label=method, zorder=3)
    axis.axhline(0, color=BLACK, linewidth=1)
    axis.text(len(base) - 0.5, 0, "Gaussian", ha="right", va="bottom", fontsize=8)
    axis.set_yscale("symlog", linthresh=1)
    axis.set_xticks(range(len(base)), [t.removesuffix("_first1523") for t in base], rotation=15)
    axis.set(ylabel="nats per row above the Gaussian\n(below zero is better)")
    axis.legend(frameon=False, fontsize=8, ncols=1, loc="center left", bbox_to_anchor=(1, 0.5))
    axis.grid(axis="y", color="#dddddd", linewidth=0.6)
    save(figure, "benchmarks")


if __name__ == "__main__":
    wine()
    benchmarks()
