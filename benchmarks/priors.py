"""The priors that one trained conditional autoencoder is compared under: the same encoder and decoder, other codes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gaussflow import (
    AffineJitter,
    ClassMixture,
    ConditionalVAE,
    Density,
    aggregate_posterior,
    as_rows,
    class_prior,
    one_hot,
    pca_rotation,
    rbig,
)

ROUNDS = 8  # of few images: themselves and moved copies, so that a flow has rows to hold out
FEW = 5_000

MakePrior = Callable[[ConditionalVAE, Tensor, Tensor, int], Density | None]


def standard_normal(model: ConditionalVAE, x: Tensor, labels: Tensor, seed: int) -> None:
    """What the model was trained with."""


def gaussian_of_each_class(model: ConditionalVAE, x: Tensor, labels: Tensor, seed: int) -> Density:
    """Mean and covariance of the codes of each class."""
    return class_prior(model, x, labels, points=1, seed=seed)


def kernels_of_each_class(model: ConditionalVAE, x: Tensor, labels: Tensor, seed: int) -> Density:
    """A kernel about the code of each image, at most 1000 for a class; of few images about moved copies too."""
    augment = AffineJitter(model.image_shape) if len(x) < FEW else None
    return class_prior(model, x, labels, augment=augment, seed=seed)


def flow_of_all_codes(model: ConditionalVAE, x: Tensor, labels: Tensor, seed: int) -> Density:
    """A flow fitted in closed form to the aggregate posterior, one for all classes."""
    return _flow(_codes(model, x, labels, seed)[0], seed)


def flow_of_each_class(model: ConditionalVAE, x: Tensor, labels: Tensor, seed: int) -> Density:
    """A flow fitted in closed form to the aggregate posterior of each class."""
    codes, owner = _codes(model, x, labels, seed)
    return ClassMixture([_flow(codes[owner == k], seed) for k in range(model.context_dim)])


PRIORS: dict[str, MakePrior] = {
    "standard normal": standard_normal,
    "Gaussian of each class": gaussian_of_each_class,
    "kernels of each class": kernels_of_each_class,
    "flow of all codes": flow_of_all_codes,
    "flow of each class": flow_of_each_class,
}


def _codes(model: ConditionalVAE, x: Tensor, labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Codes drawn for the images, and of few images for moved copies too, and the label of each, in random order."""
    generator = torch.Generator().manual_seed(seed)
    rounds = ROUNDS if len(x) < FEW else 1
    jitter, context = AffineJitter(model.image_shape), one_hot(labels, model.context_dim).to(x)
    sets = [x] + [jitter(x, generator) for _ in range(rounds - 1)]
    codes = torch.cat([aggregate_posterior(model, as_rows(each, context), generator) for each in sets])
    order = torch.randperm(len(codes), generator=generator)
    return codes[order], labels.repeat(rounds)[order]


def _flow(codes: Tensor, seed: int) -> Density:
    return rbig(codes, rotation=pca_rotation, seed=seed, progress=False)[0]
