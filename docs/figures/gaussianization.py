"""How Gaussianization works: the rows after each step, the loss of each block, and the samples."""

from __future__ import annotations

import torch

from common import BLACK, BLUE, GREEN, GREY, ORANGE, moons, new_figure, save, scatter
from gaussflow import Chain, MarginalSpline, Rotation, as_rows, decompose_loss, grow, haar, haar_rotation, rbig


def steps() -> None:
    """Rows of two moons after each marginal transform and each rotation of two blocks, then after all."""
    x = moons(4000)
    eighth = torch.tensor([[1.0, 1.0], [-1.0, 1.0]]) / 2**0.5
    parts = [MarginalSpline(2), Rotation(2, eighth), MarginalSpline(2)]
    names = ["data x", "marginals made normal", "turned by 45°", "marginals made normal"]
    figure = new_figure(10, 2.6)
    axes = figure.subplots(1, 5)
    rows, at = as_rows(x), x
    for axis, name, part in zip(axes, names, [None, *parts], strict=False):
        if part is not None:
            part.fit(rows)
            rows = rows.through(part)
            at = part(at)[0].detach()
        scatter(axis, at, GREY if part is None else BLUE, name, None if part is None else 4)
    flow, history = rbig(x, rotation=haar_rotation, seed=0, progress=False)
    scatter(axes[4], flow.encode(x).detach(), GREEN, f"latent z, {sum(history.column('kept'))} blocks", 4)
    for axis in axes:
        axis.set(xlabel="first coordinate")
        axis.xaxis.label.set_size(8)
        axis.yaxis.label.set_size(8)
    axes[0].set(ylabel="second coordinate")
    save(figure, "steps")


def losses() -> None:
    """What is left after each block: dependence and marginal losses, and the held-out loss."""
    x = moons(8000)

    def make_block(index: int, generator: torch.Generator) -> Chain:
        return Chain(Rotation(2, haar(2, generator)), MarginalSpline(2))

    flow, history = grow(make_block, x, max_blocks=40, progress=False)
    valid, kept = history.column("valid"), sum(history.column("kept"))
    figure = new_figure(9, 3.2)
    left, right = figure.subplots(1, 2)
    blocks = range(kept + 1)
    z, dependence, marginal = x, [], []
    for block in [None, *flow.transform]:
        z = z if block is None else block(z)[0].detach()
        parts = decompose_loss(z)
        dependence.append(max(0.0, float(parts.dependence.value)))
        marginal.append(max(0.0, float(parts.marginals.value.sum())))
    left.bar(blocks, dependence, color=BLUE, label="dependence (a floor)", width=0.8)
    left.bar(
        blocks,
        marginal,
        bottom=dependence,
        color=ORANGE,
        hatch="//",
        edgecolor="white",
        label="marginal losses",
        width=0.8,
    )
    left.set(
        xlabel="blocks",
        xlim=(-0.6, 12.6),
        ylabel="loss of the latent rows, nats",
        title="what is left after each block",
    )
    left.legend(frameon=False)
    right.plot(range(1, len(valid) + 1), valid, color=BLACK, marker="o", markersize=3)
    right.axvline(kept, color=ORANGE, linestyle="--", linewidth=1)
    right.text(kept - 0.4, max(valid), f"{kept} blocks kept", ha="right", va="top", color=ORANGE)
    right.set(xlabel="blocks", ylabel="held-out −log p, nats per row", title="what decides when to stop")
    save(figure, "losses")


def density() -> None:
    """The log-density of a flow on a grid, and samples beside data."""
    x = moons(4000)
    flow, _ = rbig(x, rotation=haar_rotation, seed=0, progress=False)
    across, up = torch.linspace(-1.8, 2.8, 160), torch.linspace(-1.3, 1.8, 120)
    grid = torch.cartesian_prod(across, up)
    with torch.no_grad():
        log_p = flow.log_prob(grid).reshape(160, 120).T
    figure = new_figure(10, 2.9)
    axes = figure.subplots(1, 3)
    scatter(axes[0], x, GREY, "4,000 rows of data")
    picture = axes[1].pcolormesh(across, up, log_p.clamp(min=-8), cmap="cividis", shading="auto", rasterized=True)
    figure.colorbar(picture, ax=axes[1], label="log p(x), nats", shrink=0.7)
    axes[1].set_title("exact log-density", fontsize=9)
    axes[1].set_aspect("equal")
    axes[1].tick_params(labelsize=7)
    scatter(axes[2], flow.sample(4000, generator=torch.Generator().manual_seed(1)), ORANGE, "4,000 samples")
    for axis in axes:
        axis.set(xlim=(-1.8, 2.8), ylim=(-1.3, 1.8), xlabel="first coordinate")
    axes[0].set(ylabel="second coordinate")
    save(figure, "density")


if __name__ == "__main__":
    steps()
    losses()
    density()
