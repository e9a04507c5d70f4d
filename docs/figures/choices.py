"""What to choose: rotations on a real table and on normal data, and the marginal transforms in one dimension."""

from __future__ import annotations

import math

import torch
from sklearn.datasets import load_breast_cancer

from common import BLACK, GREY, STYLES, new_figure, save
from gaussflow import (
    Flow,
    MarginalSpline,
    MarginalTable,
    MixtureCDF,
    haar,
    haar_rotation,
    hadamard_rotation,
    ica_rotation,
    pca_rotation,
    rbig,
    theory,
    whitening,
)
from gaussflow.apps.demo import split_table

ROTATIONS = {
    "ica_rotation": ica_rotation,
    "pca_rotation": pca_rotation,
    "whitening": whitening,
    "haar_rotation": haar_rotation,
    "hadamard_rotation": hadamard_rotation,
}


def rotations() -> None:
    """Held-out loss by blocks for each rotation on a table, and by blocks on normal data, where it is exact."""
    table = load_breast_cancer()
    parts = split_table(torch.from_numpy(table.data), tuple(table.feature_names))
    figure = new_figure(9.5, 3.4)
    left, right = figure.subplots(1, 2)
    levels = []
    for (name, rotation), (color, style) in zip(ROTATIONS.items(), STYLES, strict=True):
        _, history = rbig(parts.train, valid=parts.valid, rotation=rotation, progress=False)
        valid = history.column("valid")
        left.plot(range(1, len(valid) + 1), valid, color=color, linestyle=style, label=name)
        best = min(range(len(valid)), key=valid.__getitem__)
        left.plot(best + 1, valid[best], color=color, marker="o", markersize=5)
        levels.append(valid[best])
    left.set(xlabel="blocks tried", ylabel="held-out −log p, nats per row", xlim=(1.5, 30.5))
    left.set_ylim(min(levels) - 0.2, max(levels) + 1.5)
    left.set_title("breast cancer, 455 rows of 30 columns")
    left.legend(frameon=False, fontsize=8)
    dim, blocks = 64, 120
    values = torch.logspace(-1, 1, dim, dtype=torch.float64)
    start = torch.diag(values * dim / values.sum())
    starts = theory.gaussian_step(start, haar(dim, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    runs = {
        "principal axes": lambda s: torch.linalg.eigh(s).eigenvectors.mT,
        "Haar-random": lambda s: haar(dim, dtype=torch.float64),
    }
    torch.manual_seed(0)
    for (name, axes), (color, style) in zip(runs.items(), [STYLES[1], STYLES[3]], strict=True):
        run = theory.gaussian_losses(starts, axes, blocks).clamp(min=1e-12)
        right.plot(range(blocks + 1), run, color=color, linestyle=style, label=name)
    loss = float(theory.gaussian_loss(starts))
    bound = [theory.loss_bound(n, dim, loss) for n in range(blocks + 1)]
    right.plot(range(blocks + 1), bound, color=GREY, linewidth=1, label="bound for random rotations")
    right.set(yscale="log", ylim=(1e-3, 40), xlabel="blocks", ylabel="loss, nats", title="normal data, D = 64, exact")
    right.legend(frameon=False, fontsize=8)
    save(figure, "rotations")


def marginals() -> None:
    """Three marginal transforms on one skewed, two-humped column: densities, maps, and tails."""
    generator = torch.Generator().manual_seed(0)
    low = torch.randn(700, 1, generator=generator) * 0.4 - 1
    high = torch.randn(300, 1, generator=generator).mul(0.5).exp() + 0.5
    x = torch.cat([low, high]).double()
    u = torch.linspace(-8, 12, 2001, dtype=torch.float64)[:, None]
    figure = new_figure(10, 3.2)
    axes = figure.subplots(1, 3)
    axes[0].hist(x[:, 0], bins=60, density=True, color=GREY, alpha=0.5, label="1,000 rows")
    kinds = {"MarginalSpline": MarginalSpline(1), "MarginalTable": MarginalTable(1), "MixtureCDF": MixtureCDF(1)}
    for (name, part), (color, style) in zip(kinds.items(), STYLES, strict=False):
        flow = Flow(part.double().fit(x))
        with torch.no_grad():
            log_p, z = flow.log_prob(u), flow.encode(u)
        axes[0].plot(u, log_p.exp(), color=color, linestyle=style, linewidth=1.2, label=name)
        axes[1].plot(u, z, color=color, linestyle=style, label=name)
        axes[2].plot(u, log_p / math.log(10), color=color, linestyle=style, label=name)
    axes[0].set(xlim=(-3, 5), ylim=(0, 0.9), xlabel="x", ylabel="density p(x)", title="density")
    axes[1].set(xlim=(-3, 5), ylim=(-5, 5), xlabel="x", ylabel="z", title="map to the normal law")
    axes[2].set(xlim=(-8, 12), ylim=(-24, 1), xlabel="x", ylabel="log₁₀ p(x)", title="tails")
    for end in (x.min(), x.max()):
        axes[2].axvline(float(end), color=BLACK, linewidth=0.8, linestyle=":")
    axes[2].text(float(x.max()) + 0.2, 0, "last row", va="top", fontsize=8)
    axes[0].legend(frameon=False, fontsize=8)
    save(figure, "marginals")


if __name__ == "__main__":
    rotations()
    marginals()
