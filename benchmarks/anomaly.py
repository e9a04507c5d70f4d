"""Images unlike those a model was fitted to: ``python -m benchmarks.anomaly --data FOLDER``.

With a folder, models are fitted to the 60,000 training digits of MNIST (``mnist.npz``: x_train, x_test); the type I
error is taken on its 10,000 test digits, the type II error on 19,280 characters of Omniglot
(``omniglot28_background.npz``: x). Without one, to scikit-learn's digits from 0 to 6, with 7, 8 and 9 held out as
anomalies. The threshold is the mean plus three standard deviations of the scores of a tenth of the training rows, which
is held out of the fit and decides when it stops.

- autoencoder: the squared error, summed over the pixels; a code of 32 numbers.
- VAE bound: minus the bound in nats, with a Gaussian likelihood of learned variance; a code of 16 numbers.
- flow: minus the log-density of `rbig` on the first principal axes of dequantised pixels, (byte + U[0, 1)) / 256.

A flow on few axes finds characters of thin strokes more probable than digits: they lie near the mean image, and what
sets them apart is on the axes left out. The number of axes was looked at with the characters at hand, as were the sizes
of the networks: take the table for what such models can do, not for a contest.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from gaussflow import (
    MLP,
    VAE,
    Autoencoder,
    ConvDecoder,
    ConvEncoder,
    Flow,
    Gaussian,
    Rows,
    pca_rotation,
    rbig,
    train,
)
from gaussflow.apps.anomaly import AnomalyDetector

FitModel = Callable[[Rows, Rows], nn.Module]


@dataclass(frozen=True)
class Images:
    """Images as rows in [0, 1]: for the fit, normal and anomalous ones to judge by; their shape and number of greys."""

    title: str
    fitted: Tensor
    normal: Tensor
    anomalous: Tensor
    shape: tuple[int, int, int]
    greys: int
    epochs: int
    axes: tuple[int, int]


def characters(folder: Path) -> Images:
    """Digits of MNIST to fit and to judge by, Omniglot's characters as anomalies."""
    with np.load(folder / "mnist.npz", allow_pickle=False) as held:
        fitted, normal = (_rows(held[name], 255) for name in ("x_train", "x_test"))
    with np.load(folder / "omniglot28_background.npz", allow_pickle=False) as held:
        anomalous = _rows(held["x"], 255)
    return Images("MNIST against Omniglot", fitted, normal, anomalous, (1, 28, 28), 256, 15, (32, 256))


def digits() -> Images:
    """Digits from 0 to 6 to fit and to judge by, 7 to 9 as anomalies, from scikit-learn."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x, y = _rows(bunch.images, 16), torch.from_numpy(bunch.target)
    known = x[y < 7][torch.randperm(int((y < 7).sum()), generator=torch.Generator().manual_seed(0))]
    ends = 9 * len(known) // 10
    return Images("digits 0-6 against 7-9", known[:ends], known[ends:], x[y >= 7], (1, 8, 8), 17, 200, (10, 40))


def _rows(images: np.ndarray, top: int) -> Tensor:
    return torch.from_numpy(np.asarray(images, dtype=np.float32)).flatten(1) / top


class PrincipalDensity(nn.Module):
    """The log-density of a flow on the first principal axes of dequantised images, (grey + U[0, 1)) / greys."""

    def __init__(self, rows: Tensor, axes: int, greys: int) -> None:
        super().__init__()
        self.greys = greys
        x = self._dequantised(rows)
        _, vectors = torch.linalg.eigh(torch.cov(x.T).double())
        self.mean, self.axes = x.mean(0), vectors[:, -axes:].to(x.dtype)
        self.flow: Flow | None = None

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Log-densities (n,) of the coordinates of images (n, D) on the axes."""
        return self.flow(self.coordinates(x))

    def coordinates(self, x: Tensor) -> Tensor:
        """Where images (n, D) lie on the axes, with fresh noise."""
        return (self._dequantised(x) - self.mean) @ self.axes

    def _dequantised(self, x: Tensor) -> Tensor:
        return (x * (self.greys - 1) + torch.rand_like(x)) / self.greys


def methods(images: Images, seed: int) -> dict[str, FitModel]:
    """What is compared, by name: functions that fit a model to rows and stop on others."""
    dim, shape = math.prod(images.shape), images.shape

    def trained(make: Callable[[], nn.Module], share: float, lr: float) -> FitModel:
        def fit(rows: Rows, valid: Rows) -> nn.Module:
            torch.manual_seed(seed)
            model, part = make(), rows if share == 1 else rows.split(share, seed)[1]
            train(model, part, valid=valid, epochs=images.epochs, lr=lr, seed=seed, progress=False)
            return model

        return fit

    def grown(axes: int) -> FitModel:
        def fit(rows: Rows, valid: Rows) -> nn.Module:
            torch.manual_seed(seed)
            model = PrincipalDensity(rows.sample(20_000)[0], axes, images.greys)
            x, held_out = (model.coordinates(part.sample(20_000)[0]) for part in (rows, valid))
            model.flow, _ = rbig(x, valid=held_out, rotation=pca_rotation, max_blocks=4, seed=seed, progress=False)
            return model

        return fit

    few, many = images.axes
    widths, share = ((8, 16, 32), 1 / 5) if dim > 64 else ((8, 16), 1)  # convolutions cost more than they bring here
    return {
        "autoencoder, MLP": trained(lambda: Autoencoder(MLP(dim, 32, (256,)), MLP(32, dim, (256,))), 1, 2e-3),
        "autoencoder, convolutions": trained(
            lambda: Autoencoder(ConvEncoder(shape, 32, widths), ConvDecoder(32, shape, widths[::-1])), share, 5e-3
        ),
        "VAE bound, MLP": trained(
            lambda: VAE(shape, 16, MLP(dim, 32, (256,)), MLP(16, dim, (256,)), Gaussian(0.1, learned=True)), 1, 2e-3
        ),
        "VAE bound, convolutions": trained(
            lambda: VAE(
                shape,
                16,
                ConvEncoder(shape, 32, widths),
                ConvDecoder(16, shape, widths[::-1]),
                Gaussian(0.1, learned=True),
            ),
            share,
            5e-3,
        ),
        f"flow, {few} axes": grown(few),
        f"flow, {many} axes": grown(many),
    }


def measure(images: Images, fit: FitModel, seed: int = 0) -> dict[str, str]:
    """The cells of a line: both errors in percent, the ROC area, and CPU seconds of the fit."""
    start = time.process_time()
    detector = AnomalyDetector(fit, seed=seed).fit(images.fitted)
    seconds = time.process_time() - start
    report = detector.report(images.normal, images.anomalous)
    return {
        "type I error, %": f"{100 * report.type_one.value:.1f} ± {100 * report.type_one.error:.1f}",
        "type II error, %": f"{100 * report.type_two.value:.1f} ± {100 * report.type_two.error:.1f}",
        "ROC area": f"{report.area.value:.3f} ± {report.area.error:.3f}",
        "CPU s": f"{seconds:.0f}",
    }


def main() -> None:
    """Print the table, a line at a time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with mnist.npz and omniglot28_background.npz")
    parser.add_argument("--methods", default="", help="part of a method's name, to measure fewer")
    parser.add_argument("--seed", type=int, default=0, help="seed (default 0)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    images = digits() if options.data is None else characters(options.data)
    counts = [len(x) for x in (images.fitted, images.normal, images.anomalous)]
    print("{}: {} images to fit and hold out, {} normal and {} anomalous to judge by".format(images.title, *counts))
    chosen = {name: fit for name, fit in methods(images, options.seed).items() if options.methods in name}
    for i, (name, fit) in enumerate(chosen.items()):
        cells = {"score": name, **measure(images, fit, options.seed)}
        if i == 0:
            print(f"| {' | '.join(cells)} |\n|{'---|' * len(cells)}")
        print(f"| {' | '.join(cells.values())} |", flush=True)


if __name__ == "__main__":
    main()
