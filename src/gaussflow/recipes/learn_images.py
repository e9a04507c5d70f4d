"""Few labelled images: a conditional autoencoder trained on moved copies, and a prior for each class."""

from __future__ import annotations

import torch
from torch import Tensor

from gaussflow._check import check_int
from gaussflow.models import ClassMixture, ConditionalVAE, Flow, KLAnnealing, aggregate_posterior, one_hot
from gaussflow.rows import as_rows
from gaussflow.training import AffineJitter, History, train
from gaussflow.training._checkpoint import PathLike
from gaussflow.training._cosine import CosineAdam
from gaussflow.training._settings import Augment
from gaussflow.transforms import Whiten

JUDGED = 128  # of the images, unmoved: what an epoch is judged by


def learn_images(
    model: ConditionalVAE,
    x: Tensor,
    labels: Tensor,
    *,
    epochs: int = 200,
    batch_size: int = 32,
    lr: float = 4e-3,
    annealed: float = 0.8,
    augment: Augment | None = None,
    autocast: torch.dtype | None = None,
    seed: int = 0,
    progress: bool = True,
    checkpoint: PathLike | None = None,
) -> History:
    """Train a conditional autoencoder on labelled images, of which there may be few, then fit its prior to each class.

    Four things make much of few images: each batch is moved at random (`AffineJitter`), so that no image is seen twice,
    but for the last epochs; the weight of the KL term rises until these, so that small details find a place in the
    code before codes become dear; the learning rate falls along a cosine; and the prior is a Gaussian for each class
    fitted to the codes of the images as they are (`class_prior`), so that what is drawn is moved no further than they
    are.

    No images are held out: of few, each is wanted for learning, and a moved image is a new one.

    Parameters
    ----------
    model
        `conditional_vae_28` or another `ConditionalVAE` of labels; it is changed in place. A penalty that it has is
        kept, and so is a prior.
    x
        Images as rows, shape (N, D).
    labels
        Integers from 0 to the number of classes - 1, shape (N,).
    epochs, batch_size, lr, autocast, seed, progress, checkpoint
        As for `train`.
    annealed
        Share of the training steps in which images are moved and the weight of the KL term rises from a fiftieth to 1.
    augment
        As for `train`; None for an `AffineJitter` with its defaults.

    Returns
    -------
    history
        That of `train`; its ``valid`` is under the standard normal prior that the model was trained with.

    Raises
    ------
    TypeError, ValueError
        As for `train`, and for labels that do not fit the images or leave a class of the model without an image.

    Notes
    -----
    Sources: Sohn, Lee and Yan (2015); Bowman et al. (2016) for annealing; Hoffman and Johnson (2016) for the prior.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import conditional_vae_28, learn_images
    >>> model, labels = conditional_vae_28(2, widths=(4, 4, 4)), torch.arange(40) % 2
    >>> history = learn_images(model, torch.rand(40, 784), labels, epochs=2, progress=False)
    >>> model.sample(3, torch.arange(2)).shape
    torch.Size([3, 2, 784])
    """
    check_int("learn_images", "epochs", epochs, 1)
    check_int("learn_images", "batch_size", batch_size, 1)
    if not 0 <= annealed <= 1:
        raise ValueError(f"learn_images wants annealed from 0 to 1; got {annealed}.")
    context, steps = _one_hot(model, x, labels), epochs * max(1, round(len(x) / batch_size))
    if model.penalty is None and annealed > 0:
        model.penalty = KLAnnealing(max(1, round(annealed * steps)), start=0.02)
    rising, moved = model.penalty, augment or AffineJitter(model.image_shape)

    def moved_at_first(batch: Tensor, generator: torch.Generator) -> Tensor:
        """Moved while the KL term still rises; then as they are, since what is interpolated has lost some noise."""
        return batch if isinstance(rising, KLAnnealing) and not rising.changing else moved(batch, generator)

    judged = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:JUDGED]
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a fifth faster on processors
    history = train(
        model,
        as_rows(x, context),
        valid=as_rows(x[judged], context[judged]),
        epochs=epochs,
        batch_size=batch_size,
        optimizer=lambda parameters: CosineAdam(parameters, lr, steps),
        patience=epochs,
        clip=100.0,  # sums over pixels have large gradients
        seed=seed,
        progress=progress,
        checkpoint=checkpoint,
        autocast=autocast,
        augment=moved_at_first,
    )
    if model.prior is None:
        model.set_prior(class_prior(model, x, labels, seed=seed))
    return history


def class_prior(model: ConditionalVAE, x: Tensor, labels: Tensor, *, draws: int = 10, seed: int = 0) -> ClassMixture:
    """A prior for each class of a conditional autoencoder: the Gaussian of the codes of its images.

    The covariance of a class is the mean of its own and of that of all classes about their means, since a class may
    have fewer images than the code has coordinates.

    Parameters
    ----------
    model
        A trained `ConditionalVAE` of labels; it is left as it is.
    x
        Images as rows, shape (N, D).
    labels
        Integers from 0 to the number of classes - 1, shape (N,).
    draws
        Codes drawn for each image.
    seed
        Of the draws.

    Returns
    -------
    prior
        A `ClassMixture` of flows, for `ConditionalVAE.set_prior`.

    Raises
    ------
    TypeError, ValueError
        For labels that do not fit the images or leave a class of the model without an image.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import class_prior, conditional_vae_28
    >>> model, labels = conditional_vae_28(2, widths=(4, 4, 4)), torch.arange(40) % 2
    >>> prior = class_prior(model, torch.rand(40, 784), labels)
    >>> prior.dim, prior.context_dim
    (50, 2)
    """
    check_int("class_prior", "draws", draws, 1)
    rows, generator = as_rows(x, _one_hot(model, x, labels)), torch.Generator().manual_seed(seed)
    codes = torch.stack([aggregate_posterior(model, rows, generator) for _ in range(draws)])
    means = torch.stack([codes[:, labels == k].mean((0, 1)) for k in range(model.context_dim)])
    about = (codes - means[labels]).flatten(0, 1)
    parts = []
    for k, mean in enumerate(means):
        own = codes[:, labels == k].flatten(0, 1)
        own = own.repeat(-(-len(about) // len(own)), 1)[: len(about)]  # as many as those of all classes
        parts.append(Flow(Whiten(model.latent_dim, dtype=codes.dtype).fit(torch.cat([own, about + mean]))))
    return ClassMixture(parts)


def _one_hot(model: ConditionalVAE, x: Tensor, labels: Tensor) -> Tensor:
    """Labels as context, checked; every class of the model has an image."""
    context = one_hot(labels, model.context_dim).to(x)
    if labels.shape != x.shape[:-1] or x.dim() != 2:
        raise ValueError(f"learn_images wants x (N, D) and labels (N,); got {tuple(x.shape)}, {tuple(labels.shape)}.")
    if absent := (context.sum(0) == 0).nonzero()[:, 0].tolist():
        raise ValueError(f"learn_images wants images of every class; there are none of class {absent[0]}.")
    return context
