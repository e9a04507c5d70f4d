"""Six look-alike signs: a conditional autoencoder learns to draw them from 500 images, and is judged.

``python -m benchmarks.glyphs`` trains it, and prints its scores beside those of the 500 images themselves and of a
perfect sampler: other images of the same law. ``--ablation`` leaves out the label at each of its three places;
``--priors`` draws codes from other priors too, encoder and decoder as they are. "Checked" are sets of which a
classifier trained on moved copies of the 500 images has sent back what it takes for another class.
The judge is trained on 3000 other images; every score is taken on 2000 images that no model has seen. "Trained on it"
is the accuracy there of a classifier trained on 500 images of the set.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchmarks._glyphs import NAMES, glyphs
from benchmarks.measure import commit
from benchmarks.priors import PRIORS, MakePrior
from gaussflow import AffineJitter, ConditionalVAE, Density, LabelPoints, conditional_vae_28, learn_images
from gaussflow.apps.images import Images, grid_picture, read_images
from gaussflow.apps.judge import Judge, Scores, judge_images
from gaussflow.apps.labelled_set import draw_labelled_set

TRAIN, HELD_OUT, OTHERS = 500, 2000, 3000
DRAWN = 2004  # of the model: as many of each class
ABLATION = {
    "all three label points": LabelPoints(),
    "without the output": LabelPoints(output=False),
    "without the code": LabelPoints(code=False),
    "without the encoder's image": LabelPoints(image=False),
}
CHECKED = ", checked by a classifier"
HEAD = ("", "judge", "each class %", "trained on it", "coverage", "diversity", "nearer", "near copies", "ELBO", "CPU s")


@dataclass(frozen=True)
class Task:
    """The four sets of one seed, and the judge."""

    seed: int
    train: Images
    held_out: Images
    perfect: Images
    judge: Judge


def task(seed: int, train: int = TRAIN, held_out: int = HELD_OUT, others: int = OTHERS) -> Task:
    """The sets of a seed, none of them with an image of another."""
    sets = [signs(n, 10_000 + 10 * seed + k) for k, n in enumerate((train, held_out, DRAWN, others))]
    return Task(seed, *sets[:3], Judge(seed=seed).fit(sets[3]))


def signs(n: int, seed: int) -> Images:
    """So many signs as labelled images."""
    images, labels = glyphs(n, seed)
    return read_images(images, labels=labels, classes=NAMES)


def learn(
    images: Images, seed: int, epochs: int, points: LabelPoints, bfloat16: bool, progress: bool
) -> tuple[ConditionalVAE, float]:
    """The model that learned from the images, and the CPU seconds that it took."""
    start = time.process_time()
    torch.manual_seed(seed)
    model = conditional_vae_28(len(images.classes), label_points=points)
    autocast = torch.bfloat16 if bfloat16 else None
    learn_images(model, images.x, images.known_labels, epochs=epochs, seed=seed, autocast=autocast, progress=progress)
    return model, time.process_time() - start


@torch.no_grad()
def elbo(model: ConditionalVAE, images: Images) -> float:
    """The mean bound in nats per image."""
    generator = torch.Generator().manual_seed(0)
    return float(model.elbo(images.x, images.labels, generator).elbo.mean())


def line(name: str, scores: Scores, bound: float | None = None, seconds: float | None = None) -> list[str]:
    """A line of the table."""
    each = " ".join(f"{100 * accuracy:.0f}" for accuracy in scores.class_accuracy)
    memory = ["" if value is None else f"{value:.3f}" for value in (scores.nearer, scores.near_copies)]
    figures = (scores.classifier_score, scores.coverage, scores.mean_diversity)
    last = ["" if bound is None else f"{bound:.1f}", "" if seconds is None else f"{seconds:.0f}"]
    return [name, f"{scores.judge_accuracy:.3f}", each, *(f"{figure:.3f}" for figure in figures), *memory, *last]


def judged(
    name: str, model: ConditionalVAE, given: Task, options: argparse.Namespace, seconds: float, check: bool = False
) -> list[str]:
    """The line of a model, from images drawn of it, and their picture in the folder."""
    start = time.process_time()
    checked_by = (
        Judge(seed=given.seed + 100, augment=AffineJitter(model.image_shape)).fit(given.train) if check else None
    )
    drawn = draw_labelled_set(model, DRAWN // len(NAMES), classes=NAMES, checked_by=checked_by, seed=given.seed)
    seconds += time.process_time() - start
    scores = judge_images(drawn, given.train, given.held_out, judge=given.judge, seed=given.seed).generated
    if options.pictures:
        picture = options.pictures / f"glyphs-{given.seed}-{name.replace(',', '').replace(' ', '-')}.png"
        grid_picture([given.held_out, drawn], picture, columns=8, titles=["real", "drawn"])
    print(f"seed {given.seed}: {name}", file=sys.stderr, flush=True)
    return line(name, scores, elbo(model, given.held_out), seconds)


def as_learned(model: ConditionalVAE, x: Tensor, labels: Tensor, seed: int) -> Density | None:
    """The prior that `learn_images` has fitted."""
    return model.prior


def run(options: argparse.Namespace, seed: int) -> list[list[str]]:
    """The lines of one seed."""
    given, lines = task(seed), []
    priors: dict[str, MakePrior] = PRIORS if options.priors else {"": as_learned}
    reports = judge_images(given.perfect, given.train, given.held_out, judge=given.judge, seed=seed)
    lines.append(line("perfect sampler", reports.generated))
    lines.append(line(f"the {TRAIN} images", reports.real))
    for name, points in ABLATION.items() if options.ablation else [("conditional autoencoder", LabelPoints())]:
        model, seconds = learn(given.train, seed, options.epochs, points, not options.float32, sys.stderr.isatty())
        for prior, make_prior in priors.items():
            model.set_prior(make_prior(model, given.train.x, given.train.known_labels, seed))
            title = f"{name}, {prior}" if prior else name
            lines.append(judged(title, model, given, options, seconds))
        if not options.priors:
            lines.append(judged(name + CHECKED, model, given, options, seconds, check=True))
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    from tabulate import tabulate

    options = _parser().parse_args(argv)
    torch.set_num_threads(1)
    if options.pictures:
        options.pictures.mkdir(parents=True, exist_ok=True)
    for seed in range(options.first, options.first + options.seeds):
        lines = run(options, seed)
        print(f"\nseed {seed}, {options.epochs} epochs, commit {commit()}\n")
        print(tabulate(lines, HEAD, tablefmt="github", disable_numparse=True))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.glyphs", description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=1, help="how many [1]")
    parser.add_argument("--first", type=int, default=0, help="the first seed [0]")
    parser.add_argument("--epochs", type=int, default=250)
    parser.add_argument("--ablation", action="store_true", help="leave out the label at each of its places")
    parser.add_argument("--priors", action="store_true", help="compare priors of the codes")
    parser.add_argument("--float32", action="store_true", help="no bfloat16: for processors that have none")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="folder for pictures of real and drawn signs")
    return parser


if __name__ == "__main__":
    sys.exit(main())
