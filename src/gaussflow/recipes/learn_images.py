"""Few labelled images: a conditional autoencoder trained on moved copies, and a prior for each class."""

from __future__ import annotations

import torch
from torch import Tensor

from gaussflow._check import check_int
from gaussflow.losses import DiagonalGaussian
from gaussflow.models import ClassMixture, ConditionalVAE, KernelDensity, KLAnnealing, PixelNoise, one_hot
from gaussflow.rows import as_rows
from gaussflow.training import AffineJitter, History, train
from gaussflow.training._checkpoint import PathLike
from gaussflow.training._cosine import CosineAdam
from gaussflow.training._settings import Augment

COPIES = 8  # of each image, itself counted: what its class gets kernels about
CHUNK = 1024  # images whose codes are taken at once
MEASURED = 1000  # images that the noise of pixels is measured on
JUDGED = 128  # of the images, unmoved: what an epoch is judged by


def learn_images(
    model: ConditionalVAE,
    x: Tensor,
    labels: Tensor,
    *,
    epochs: int = 250,
    batch_size: int = 32,
    lr: float = 4e-3,
    annealed: float = 0.6,
    augment: Augment | None = None,
    autocast: torch.dtype | None = None,
    seed: int = 0,
    progress: bool = True,
    checkpoint: PathLike | None = None,
) -> History:
    """Train a conditional autoencoder on labelled images, of which there may be few, and fit its prior to each class.

    Four things make much of few images: each batch is moved at random (`AffineJitter`), so that no image is seen twice,
    but for the last epochs; the weight of the KL term rises until these, so that small details find a place in the
    code before codes become dear; the learning rate falls along a cosine; and the prior of each class is fitted to the
    codes of its images and of moved copies (`class_prior`). Last the noise of the pixels is measured (`PixelNoise`),
    for `draw_labelled_set` to add; ``model.sample`` gives mean images.

    No images are held out: of few, each is wanted for learning, and a moved image is a new one. The prior holds codes
    of the images; where a model is to be given away without them, ``model.set_prior(class_prior(..., points=1))``.

    Parameters
    ----------
    model
        `conditional_vae_28` or another `ConditionalVAE` of labels; it is changed in place. A penalty that it has is
        kept, and so are a prior and a `PixelNoise`.
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
        model.set_prior(class_prior(model, x, labels, augment=moved, seed=seed))
    if not isinstance(model.likelihood, PixelNoise):
        model.likelihood = _with_noise(model, x[:MEASURED], context[:MEASURED], seed)
    return history


def class_prior(
    model: ConditionalVAE,
    x: Tensor,
    labels: Tensor,
    *,
    augment: Augment | None = None,
    points: int = 1000,
    seed: int = 0,
) -> ClassMixture:
    """A prior for each class of a conditional autoencoder: a `KernelDensity` of the codes of its images.

    The width of the kernels is what codes left out ask for. Their covariance is the mean of that of the class and that
    of all classes about their means, since a class may have fewer images than the code has coordinates. With
    ``augment`` there are kernels about the codes of altered copies of the images too: narrower ones then do, and what
    is drawn looks more like a sign and less like an image that was learned from.

    Parameters
    ----------
    model
        A trained `ConditionalVAE` of labels with a Gaussian posterior; it is left as it is.
    x
        Images as rows, shape (N, D).
    labels
        Integers from 0 to the number of classes - 1, shape (N,).
    augment
        Called as ``augment(x, generator)``, as `train` does; an `AffineJitter` for instance. None for no copies.
    points
        Kernels of a class at most; at most eight for each image. They are stored: whoever has the prior has codes of
        the images. With 1 the prior of a class is a Gaussian, and stores none.
    seed
        Of the copies and of the codes that are drawn.

    Returns
    -------
    prior
        A `ClassMixture` of `KernelDensity`, for `ConditionalVAE.set_prior`.

    Raises
    ------
    TypeError, ValueError
        For a posterior that is not Gaussian, for labels that do not fit the images or leave a class of the model
        without an image.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import class_prior, conditional_vae_28
    >>> model, labels = conditional_vae_28(2, widths=(4, 4, 4)), torch.arange(40) % 2
    >>> prior = class_prior(model, torch.rand(40, 784), labels)
    >>> prior.dim, prior.context_dim
    (50, 2)
    """
    check_int("class_prior", "points", points, 1)
    context, generator = _one_hot(model, x, labels), torch.Generator().manual_seed(seed)
    mean, variance = _codes(model, x, context)
    rounds = COPIES if augment is not None else 1
    altered = [augment(x, generator) for _ in range(rounds - 1)] if augment is not None else []
    codes = torch.stack([mean, *(_codes(model, each, context)[0] for each in altered)])
    centre = torch.stack([mean[labels == k].mean(0) for k in range(model.context_dim)])
    about = mean - centre[labels]
    common, parts = about.T @ about / len(about), []
    for k in range(model.context_dim):
        own = labels == k
        count = int(own.sum())
        copies = max(1, min(rounds, points // count))
        density = KernelDensity(min(points, copies * count), model.latent_dim, dtype=x.dtype)
        covariance = 0.5 * (about[own].T @ about[own] / count + common)
        spread, centres = variance[own].mean(0), codes[:copies, own].flatten(0, 1)
        parts.append(density.fit(centres, spread, covariance, copies=copies, seed=seed))
    return ClassMixture(parts)


@torch.no_grad()
def _with_noise(model: ConditionalVAE, x: Tensor, context: Tensor, seed: int) -> PixelNoise:
    """The likelihood of the model with the noise of the images about their means under codes drawn for them."""
    z = model.posterior(x, context).rsample((), torch.Generator().manual_seed(seed))
    return PixelNoise(model.likelihood).to(x).fit(model.decode(z, context), x)


@torch.no_grad()
def _codes(model: ConditionalVAE, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
    """Means and variances (N, L) of the posteriors, in evaluation mode."""
    training = model.training
    model.eval()
    try:
        parts = [model.posterior(a, c) for a, c in zip(x.split(CHUNK), context.split(CHUNK), strict=True)]
    finally:
        model.train(training)
    if not all(isinstance(part, DiagonalGaussian) for part in parts):
        raise TypeError("class_prior wants a Gaussian posterior; this model has a posterior flow.")
    gaussians = [part for part in parts if isinstance(part, DiagonalGaussian)]
    return torch.cat([q.mean for q in gaussians]), torch.cat([q.log_variance for q in gaussians]).exp()


def _one_hot(model: ConditionalVAE, x: Tensor, labels: Tensor) -> Tensor:
    """Labels as context, checked; every class of the model has an image."""
    context = one_hot(labels, model.context_dim).to(x)
    if labels.shape != x.shape[:-1] or x.dim() != 2:
        raise ValueError(f"learn_images wants x (N, D) and labels (N,); got {tuple(x.shape)}, {tuple(labels.shape)}.")
    if absent := (context.sum(0) == 0).nonzero()[:, 0].tolist():
        raise ValueError(f"learn_images wants images of every class; there are none of class {absent[0]}.")
    return context
