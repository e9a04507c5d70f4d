"""A small convolutional classifier, and its training."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from typing_extensions import override

from gaussflow.apps._images import Images
from gaussflow.training import train
from gaussflow.training._settings import Augment

FEATURES = 64
STEPS, LEAST_EPOCHS, BATCH = 320, 12, 64  # 500 images go by 40 times, 3000 and more 12 times
ALTERED = 2  # as many steps where no image is seen twice
DROPPED = 0.3
CHUNK = 512  # images looked at at once
JUDGED = 512  # of the images trained on: what an epoch is judged by


class Classifier(nn.Module):
    """Two convolutions with pooling, a layer of 64 features, and log-probabilities of the classes."""

    def __init__(self, image_shape: Sequence[int], classes: int, width: int = 16) -> None:
        super().__init__()
        channels, height, width_of_image = image_shape
        if min(height, width_of_image) < 4:
            raise ValueError(f"A judge wants images of at least 4x4 pixels; got {height}x{width_of_image}.")
        pooled = 2 * width * (height // 4) * (width_of_image // 4)
        self.body = nn.Sequential(
            nn.Unflatten(-1, (channels, height, width_of_image)),
            *(nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(width, 2 * width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Dropout(DROPPED), nn.Linear(pooled, FEATURES), nn.ReLU()),
        )
        self.head = nn.Sequential(nn.Dropout(DROPPED), nn.Linear(FEATURES, classes))

    @override
    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Log-probability (n,) of the class that the one-hot context (n, classes) names."""
        result: Tensor = (self.head(self.body(x)).log_softmax(-1) * context).sum(-1)
        return result

    @torch.no_grad()
    def look(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features (n, 64) and most probable classes (n,) of images x (n, D)."""
        features = torch.cat([self.body(part) for part in x.split(CHUNK)] or [x.new_empty(0, FEATURES)])
        return features, self.head(features).argmax(-1)


def train_classifier(
    images: Images, seed: int, epochs: int | None, progress: bool, augment: Augment | None = None
) -> Classifier:
    """A classifier of labelled images; the same seed gives the same one, and torch's random state stays as it was."""
    steps = STEPS if augment is None else ALTERED * STEPS
    epochs = epochs or max(LEAST_EPOCHS, math.ceil(steps * BATCH / len(images)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = Classifier(images.image_shape, len(images.classes))
    train(
        net,
        images.rows(),
        valid=images.take(slice(0, JUDGED)).rows(),
        epochs=epochs,
        batch_size=BATCH,
        patience=epochs,
        seed=seed,
        progress=progress,
        ema=0.98,
        augment=augment,
        optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=3e-3, weight_decay=0.1),
    )
    return net
