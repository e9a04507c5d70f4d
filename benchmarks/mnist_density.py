"""MNIST digits by their density, in closed form: ``python -m benchmarks.mnist_density --data FOLDER``.

``mnist.npz`` is in the folder. Printed are held-out nats per image and bits per pixel on test images of 256 grey values
(each a bound by one draw of uniform noise), for `image_flow` with and without the class as context, and beside it for
pixels that are independent, for a normal law of full covariance, and for rotations in turn with marginals; the seconds
of each fit, in the last row those of drawing and of the judge with it; and the accuracy on digits drawn by class of a
judge trained on images that the flow has not seen.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log

import torch
from torch import Tensor

from benchmarks.measure import commit
from benchmarks.mnist import DIGITS, digits_parser, load
from gaussflow import Dequantized, Flow, Whiten, as_rows, image_flow, one_hot, pca_rotation, rbig
from gaussflow.apps.images import Images, grid_picture
from gaussflow.apps.judge import Judge

LEVELS = 256
SIDE = 28
ROTATED = 10_000  # images that the rotations are fitted on
BATCH = 100


@dataclass(frozen=True)
class Data:
    """Images to learn from and to test on, and images for the judge."""

    learned: Images
    judged: Images
    test: Images

    def given(self, images: Images) -> Tensor:
        """The classes as context."""
        return one_hot(images.known_labels, len(DIGITS))


LogProb = Callable[[Tensor, Tensor], Tensor]


def noisy(x: Tensor) -> Tensor:
    """Pixels with uniform noise of one grey value."""
    return x + torch.rand(x.shape, generator=torch.Generator().manual_seed(1)) / (LEVELS - 1)


def independent(data: Data) -> LogProb:
    """Every pixel by its own histogram, each grey value counted once in 256 more."""
    levels = (data.learned.x * (LEVELS - 1)).round().long()
    counts = torch.stack([torch.bincount(column, minlength=LEVELS) for column in levels.T]).double() + 1 / LEVELS
    table = (counts / counts.sum(1, keepdim=True)).log()

    def log_prob(x: Tensor, c: Tensor) -> Tensor:
        return table.gather(1, (x * (LEVELS - 1)).round().long().T).sum(0)

    return log_prob


def of_flow(flow: Flow) -> LogProb:
    """The bound of a flow of pixels with noise."""
    law = Dequantized(flow, torch.full((flow.dim,), 1 / (LEVELS - 1)), points=1)
    return lambda x, c: law.log_prob(x)


def normal(data: Data) -> LogProb:
    """A normal law, its correlations shrunk as held-out images ask for."""
    return of_flow(Flow(Whiten(data.learned.x.shape[1]).fit(noisy(data.learned.x))))


def rotations(data: Data) -> LogProb:
    """Principal axes and marginals in turn, a few blocks on a part of the images."""
    x = noisy(data.learned.x[:ROTATED])
    return of_flow(rbig(x, rotation=pca_rotation, max_blocks=4, progress=False)[0])


def ours(data: Data) -> LogProb:
    """Scale by scale."""
    law, history = image_flow(data.learned.x, (SIDE, SIDE), progress=False)
    print(history)
    return lambda x, c: law.log_prob(x)


def held_out(log_prob: LogProb, x: Tensor, c: Tensor) -> str:
    """Nats per image with their standard error, bits per pixel, and the worst image."""
    with torch.no_grad():
        pairs = zip(x.split(BATCH), c.split(BATCH), strict=True)
        nats = torch.cat([log_prob(some, given).double() for some, given in pairs])
    bits = -float(nats.mean()) / x.shape[1] / log(2)
    error = float(nats.std()) / len(nats) ** 0.5
    return f"{nats.mean():.1f} ± {error:.1f} nats, {bits:.3f} bits per pixel, worst image {nats.min():.0f} nats"


def by_class(data: Data, options: argparse.Namespace) -> LogProb:
    """Scale by scale given the class; digits are drawn, judged and pictured."""
    rows, start = as_rows(data.learned.x, data.given(data.learned)), time.process_time()
    law, _ = image_flow(rows, (SIDE, SIDE), progress=False)
    print(f"fitted by class in {time.process_time() - start:.0f} CPU s", flush=True)
    labels = torch.arange(len(DIGITS)).repeat(max(1, options.drawn // len(DIGITS)))
    start, generator = time.process_time(), torch.Generator().manual_seed(0)
    x = law.sample((), one_hot(labels, len(DIGITS)), generator).clamp(0, 1)
    drawn = Images(x, labels, (1, SIDE, SIDE), DIGITS)
    print(f"{len(drawn)} digits drawn by class in {time.process_time() - start:.0f} CPU s", flush=True)
    if options.picture:
        grid_picture([data.test, drawn], options.picture, columns=8, titles=["real", "drawn by class"])
    if options.judge:
        judge = Judge(seed=0).fit(data.judged)
        print(f"judge: real test images {judge.accuracy(data.test):.4f}, drawn {judge.accuracy(drawn):.4f}", flush=True)
    return law.log_prob


def run(options: argparse.Namespace) -> None:
    """Fit, measure and print, one law after the other."""
    learned, judged, test = load(options.data, options.quick)
    data = Data(learned, judged, test)
    x, c = test.x[: options.images], data.given(test)[: options.images]
    laws: dict[str, Callable[[], LogProb]] = {
        "independent pixels": lambda: independent(data),
        "normal law": lambda: normal(data),
        f"rotations ({ROTATED} images, 4 blocks)": lambda: rotations(data),
        "image_flow": lambda: ours(data),
        "image_flow given the class": lambda: by_class(data, options),
    }
    print(f"{len(learned)} images, tested on {len(x)}, {options.threads} threads, commit {commit()}", flush=True)
    for name, make in laws.items():
        if not options.only or options.only in name:
            start = time.process_time()
            log_prob = make()
            seconds = time.process_time() - start
            print(f"{name}: {held_out(log_prob, x, c)}, {seconds:.0f} CPU s", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = digits_parser("mnist_density", __doc__.split("\n")[0], threads=1)
    parser.add_argument("--images", type=int, default=1000, help="test images for the density [1000]")
    parser.add_argument("--drawn", type=int, default=1000, help="digits drawn [1000]")
    parser.add_argument("--only", default="", help="laws with this in their name")
    parser.add_argument("--judge", action="store_true", help="train a judge and let it look at drawn digits")
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    run(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
