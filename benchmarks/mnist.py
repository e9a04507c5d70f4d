"""MNIST digits by a conditional autoencoder: ``python -m benchmarks.mnist --data FOLDER`` (``mnist.npz`` in it).

Pixels are drawn anew as 0 or 1 with their grey for probability in every epoch (dynamic binarisation), and once for the
test images. Printed are bounds in nats per image on test images, under the standard normal prior and under others
fitted to the codes, and the accuracy on drawn digits of a judge trained on images that the model has not
seen. The number of epochs is what fits into the time limit, from the time of one part of an epoch.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.measure import commit
from benchmarks.priors import PRIORS
from gaussflow import ConditionalVAE, KLAnnealing, as_rows, conditional_vae_28, one_hot, train
from gaussflow.apps.images import Images, grid_picture, read_images
from gaussflow.apps.judge import Judge
from gaussflow.apps.labelled_set import draw_labelled_set
from gaussflow.training._cosine import CosineAdam

DIGITS = tuple("0123456789")
OTHERS, TIMED, VALID = 10_000, 2_000, 1_000  # images: for the judge, to take the time by, held out while training
BATCH, LR = 128, 2e-3


def binarised(x: Tensor, generator: torch.Generator) -> Tensor:
    """Pixels 0 or 1, with the grey for probability."""
    return torch.bernoulli(x, generator=generator)


def load(folder: Path, quick: bool = False) -> tuple[Images, Images, Images]:
    """Images to learn from, for the judge, and for the test."""
    with np.load(folder / "mnist.npz", allow_pickle=False) as held:
        parts = [(held[f"x_{name}"], held[f"y_{name}"]) for name in ("train", "test")]
    train_, test = (read_images(x, labels=y, classes=DIGITS) for x, y in parts)
    if quick:
        return train_.take(slice(0, 1500)), train_.take(slice(1500, 2000)), test.take(slice(0, 200))
    return train_.take(slice(0, -OTHERS)), train_.take(slice(-OTHERS, None)), test


def learn(images: Images, limit: float, autocast: torch.dtype | None, seed: int, progress: bool) -> ConditionalVAE:
    """A model trained for about that many seconds."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    given = one_hot(images.known_labels, len(DIGITS))
    valid = as_rows(binarised(images.x[-VALID:], generator), given[-VALID:])
    part, few = (as_rows(binarised(images.x[:n], generator), given[:n]) for n in (TIMED, BATCH))
    options = {"batch_size": BATCH, "seed": seed, "clip": 100.0, "autocast": autocast, "augment": binarised}
    timed = train(conditional_vae_28(len(DIGITS)), part, valid=few, epochs=1, progress=False, **options)
    epoch = timed[-1]["seconds"] * len(images) / min(TIMED, len(images))
    epochs = max(1, round(limit / epoch))
    steps = epochs * round(len(images) / BATCH)
    model = conditional_vae_28(len(DIGITS), penalty=KLAnnealing(max(1, steps // 3), start=0.1))
    rows = as_rows(images.x[:-VALID], given[:-VALID])
    cosine = lambda parameters: CosineAdam(parameters, LR, steps)  # noqa: E731
    train(model, rows, valid=valid, epochs=epochs, patience=epochs, progress=progress, optimizer=cosine, **options)
    return model


@torch.no_grad()
def bounds(model: ConditionalVAE, x: Tensor, labels: Tensor, samples: int) -> list[str]:
    """ELBO and importance-weighted bound with their standard errors, in nats per image."""
    generator = torch.Generator().manual_seed(0)
    values = (model.elbo(x, labels, generator).elbo, model.importance_bound(x, labels, samples, generator))
    return [f"{v.mean():.2f} ± {v.std() / len(v) ** 0.5:.2f}" for v in values]


def run(options: argparse.Namespace) -> None:
    """Train, print and draw."""
    learned, others, test = load(options.data, options.quick)
    autocast = None if options.float32 else torch.bfloat16
    start, cpu = time.perf_counter(), time.process_time()
    model = learn(learned, options.limit, autocast, options.seed, sys.stderr.isatty())
    seconds = f"{time.perf_counter() - start:.0f} s ({time.process_time() - cpu:.0f} CPU s, {options.threads} threads)"
    x = binarised(test.x[: options.images], torch.Generator().manual_seed(0))
    labels = test.known_labels[: options.images]
    judge = Judge(seed=options.seed).fit(others)
    print(f"{len(learned)} images, {seconds}, commit {commit()}; bounds on {len(x)} test images, dynamic binarisation")
    print(f"judge on real test images: {judge.accuracy(test):.4f}")
    per_class = max(1, options.drawn // len(DIGITS))
    for name, make_prior in PRIORS.items():
        model.set_prior(make_prior(model, learned.x, learned.known_labels, options.seed))
        drawn = draw_labelled_set(model, per_class, seed=options.seed)
        elbo, weighted = bounds(model, x, labels, options.samples)
        accuracy = judge.class_accuracy(drawn)
        print(
            f"{name} prior: ELBO {elbo}, importance-weighted with {options.samples} codes {weighted} nats per image; "
            f"judge on {len(drawn)} drawn digits {judge.accuracy(drawn):.4f}, weakest class {min(accuracy):.3f}"
        )
    if options.picture:
        grid_picture([test, drawn], options.picture, columns=10, titles=["real", "drawn"])


def digits_parser(name: str, text: str, threads: int) -> argparse.ArgumentParser:
    """A command line about the digits of a folder, with its threads, a picture, and a quick form."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=text)
    parser.add_argument("--data", type=Path, required=True, help="folder with mnist.npz")
    parser.add_argument("--threads", type=int, default=threads)
    parser.add_argument("--picture", type=Path, metavar="PNG", help="file for a picture of real and drawn digits")
    parser.add_argument("--quick", action="store_true", help="few images: does it run at all")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = digits_parser("mnist", __doc__.split("\n")[0], threads=2)
    parser.add_argument("--limit", type=float, default=600.0, help="seconds of training, about [600]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--samples", type=int, default=64, help="codes of the importance-weighted bound [64]")
    parser.add_argument("--images", type=int, default=2000, help="test images for the bounds [2000]")
    parser.add_argument("--drawn", type=int, default=2000, help="digits drawn for the judge [2000]")
    parser.add_argument("--float32", action="store_true", help="no bfloat16: for processors that have none")
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    run(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
