"""The words for labelled images: learn to draw them, draw a set, judge a set."""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import torch

from gaussflow.apps.images import Images, grid_picture, read_images
from gaussflow.apps.judge import Judge, judge_images
from gaussflow.apps.labelled_set import draw_labelled_set, write_labelled_set
from gaussflow.cli._common import Words, may_write, positive, threads, word
from gaussflow.models import ConditionalVAE
from gaussflow.recipes import conditional_vae_28, learn_images, load, read_notes, save
from gaussflow.training import AffineJitter

FORMAT = "gaussflow image model"
SIDE = 28  # of the images that the reference model draws
KINDS = "a folder with a subfolder for each class, or a .csv or .npz file with labels"


def learn(args: argparse.Namespace) -> None:
    """`gaussflow learn-images`: labelled images in, a conditional model out."""
    may_write(args.out, args.force, args.images)
    images = _labelled(args.images, SIDE)
    start = time.perf_counter()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(args.seed)
        model = conditional_vae_28(len(images.classes), latent_dim=positive("--latent", args.latent))
    history = learn_images(
        model,
        images.x,
        images.known_labels,
        epochs=positive("--epochs", args.epochs),
        seed=args.seed,
        autocast=torch.bfloat16 if args.bfloat16 else None,
        progress=not args.quiet,
    )
    save(model, args.out, notes={"format": FORMAT, "classes": list(images.classes), "images": len(images)})
    print(
        f"learned {len(images)} images of {len(images.classes)} classes in {time.perf_counter() - start:.0f} s; "
        f"bound {-history[-1]['valid']:.1f} nats per image on images it learned from; saved as {args.out}"
    )


def draw(args: argparse.Namespace) -> None:
    """`gaussflow draw`: a labelled set from a model, as many images of each class."""
    model, classes = _model(args.model)
    for path in filter(None, (args.out, args.grid)):
        may_write(path, args.force, args.model)
    if args.grid == args.out:
        raise ValueError(f"{args.out} cannot be both the set and its picture; choose another name for --grid.")
    per_class = positive("--per-class", args.per_class)
    checked_by = _checker(args.checked_by, classes) if args.checked_by else None
    images = draw_labelled_set(model, per_class, classes=classes, checked_by=checked_by, seed=args.seed)
    write_labelled_set(images, args.out)
    if args.grid:
        grid_picture(images, args.grid)
    print(f"wrote {args.per_class} images of each of {len(classes)} classes to {args.out}")


def judge(args: argparse.Namespace) -> None:
    """`gaussflow judge`: a generated set beside the images learned from, both against held-out ones."""
    train = _labelled(args.learned_from, args.size)
    generated, held_out = (_named(_labelled(path, args.size), train) for path in (args.generated, args.held_out))
    others = _named(_labelled(args.judge_from, args.size), train) if args.judge_from else train
    epochs = None if args.epochs is None else positive("--epochs", args.epochs)
    judges = Judge(seed=args.seed, epochs=epochs).fit(others)
    print(judge_images(generated, train, held_out, judge=judges, seed=args.seed, epochs=epochs))


def _labelled(path: str, side: int) -> Images:
    """Grey images with labels; ValueError where there are none."""
    images = read_images(path, size=side, colour=False)
    if images.labels is None or len(images.classes) < 2:
        raise ValueError(f"{path} holds no images of at least two classes; give {KINDS}.")
    return images


def _named(images: Images, like: Images) -> Images:
    """The images with the names of classes of others where they only have numbers, as in a CSV file."""
    numbers = tuple(map(str, range(len(like.classes))))
    return replace(images, classes=like.classes) if images.classes == numbers else images


def _checker(path: str, classes: list[str]) -> Judge:
    """A classifier trained on moved copies of the images; ValueError where they have other classes than the model."""
    images = _labelled(path, SIDE)
    if list(images.classes) != classes:
        raise ValueError(
            f"{path} has the classes {', '.join(images.classes)}, and the model {', '.join(classes)}; "
            "--checked-by wants images as those that the model learned from."
        )
    return Judge(augment=AffineJitter(images.image_shape)).fit(images)


def _model(path: str) -> tuple[ConditionalVAE, list[str]]:
    """A model of `learn-images` and the names of its classes; ValueError when the file holds something else."""
    notes, model = read_notes(path), load(path)
    named = notes.get("classes")
    classes = [name for name in named if isinstance(name, str)] if isinstance(named, list) else []
    if notes.get("format") != FORMAT or not isinstance(model, ConditionalVAE) or len(classes) != model.context_dim:
        raise ValueError(f"{path} holds a model, but not one of images; make one with `gaussflow learn-images`.")
    return model, classes


def add_words(words: Words) -> None:
    """The words learn-images, draw and judge."""
    parser = word(words, "learn-images", learn, "learn to draw labelled grey images, resized to 28x28")
    parser.add_argument("images", help=KINDS)
    parser.add_argument("--out", required=True, metavar="MODEL", help="file for the model")
    parser.add_argument("--epochs", type=int, default=250, metavar="N", help="times through the images [250]")
    parser.add_argument("--latent", type=int, default=50, metavar="L", help="numbers of a code [50]")
    parser.add_argument("--seed", type=int, default=0, help="seed of the model and of the training [0]")
    parser.add_argument("--bfloat16", action="store_true", help="mixed precision, faster on recent processors")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.add_argument("--force", action="store_true", help="overwrite the output where it exists")
    threads(parser)

    parser = word(words, "draw", draw, "draw a labelled set from a model of images, as many of each class")
    parser.add_argument("model", help="what `gaussflow learn-images` saved")
    parser.add_argument("--per-class", type=int, required=True, metavar="N", help="images of each class")
    parser.add_argument("--out", required=True, metavar="SET", help="a .csv file (label, pixels 0 to 255) or a .npz")
    parser.add_argument("--grid", metavar="PNG", help="file for a picture of some of them")
    parser.add_argument(
        "--checked-by",
        metavar="IMAGES",
        help="real images: what a classifier of them takes for another class is redrawn",
    )
    parser.add_argument("--seed", type=int, help="the same seed gives the same set [another each time]")
    parser.add_argument("--force", action="store_true", help="overwrite the outputs where they exist")

    parser = word(words, "judge", judge, "judge a generated set beside real images")
    parser.add_argument("generated", help=KINDS)
    parser.add_argument(
        "--learned-from", required=True, metavar="IMAGES", help="real images the generator learned from"
    )
    parser.add_argument("--held-out", required=True, metavar="IMAGES", help="real images it has not seen")
    parser.add_argument("--judge-from", metavar="IMAGES", help="real images to train the judge on [those learned from]")
    parser.add_argument(
        "--size", type=int, default=SIDE, metavar="S", help="side that all are resized to, in grey [28]"
    )
    parser.add_argument("--epochs", type=int, metavar="N", help="epochs of the classifiers [320 steps, at least 12]")
    parser.add_argument("--seed", type=int, default=0, help="seed of the classifiers [0]")
    threads(parser)
