"""What to ask of a trained variational model: which units are active, and how its codes are spread."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from gaussflow.models._variational import Variational, evaluating
from gaussflow.rows import Data, as_rows

ACTIVE = 0.01  # variance of the posterior mean over rows, where Burda et al. (2016) saw a wide gap
FEW = 0.1  # a smaller share of active units is a collapse


class PosteriorCollapseWarning(UserWarning):
    """Few units of a variational model are active: its posterior is the prior, and its codes say little.

    Examples
    --------
    >>> import warnings
    >>> from gaussflow import PosteriorCollapseWarning
    >>> warnings.simplefilter("ignore", PosteriorCollapseWarning)
    """


def active_units(model: Variational, rows: Data, threshold: float = ACTIVE) -> Tensor:
    r"""Which latent coordinates carry information: :math:`\mathrm{Var}_x(E_{q(z|x)} z_j)` above a threshold.

    Parameters
    ----------
    model
        A `VAE` or `ConditionalVAE`.
    rows
        Images as rows: a tensor (N, D), a re-iterable of chunks, or a `Rows`; ``as_rows(x, context)`` with context.
    threshold
        Variance above which a unit is active.

    Returns
    -------
    active
        Shape (L,), of booleans; ``active.sum()`` is their number.

    Raises
    ------
    TypeError, ValueError
        For a model that is not variational, and for rows that do not fit it.

    Notes
    -----
    Source: Burda, Grosse and Salakhutdinov (2016).

    Examples
    --------
    >>> import torch
    >>> from gaussflow import MLP, VAE, Bernoulli, active_units
    >>> vae = VAE((1, 4, 4), 2, MLP(16, 4), MLP(2, 16), Bernoulli())
    >>> active_units(vae, torch.rand(20, 16)).shape
    torch.Size([2])
    """
    _check_model("active_units", model)
    data, like = as_rows(rows), model._like()

    def moments(x: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor]:
        given = None if c is None else c.to(like)
        mean = model.posterior(x.to(like), given).mean.double()
        return mean.sum(0).to(x.device), mean.square().sum(0).to(x.device)

    with evaluating(model):
        first, second = (total / data.n for total in data.sum(moments))
    return (second - first.square()).to(like.device) > threshold


@torch.no_grad()
def aggregate_posterior(model: Variational, rows: Data, generator: torch.Generator | None = None) -> Tensor:
    r"""One code drawn for each row: samples of :math:`\frac1N \sum_n q(z | x_n)`, what a good prior looks like.

    Parameters
    ----------
    model
        A `VAE` or `ConditionalVAE`.
    rows
        Images as rows: a tensor (N, D), a re-iterable of chunks, or a `Rows`; ``as_rows(x, context)`` with context.
    generator
        Source of randomness on the device of the model, or None for torch's own.

    Returns
    -------
    z
        Shape (N, L), in the order of the rows; over ranks those of the rows held here.

    Raises
    ------
    TypeError, ValueError
        For a model that is not variational, and for rows that do not fit it.

    Notes
    -----
    Of all priors the aggregate posterior is the one with the best bound: Hoffman and Johnson (2016).

    Examples
    --------
    >>> import torch
    >>> from gaussflow import MLP, VAE, Bernoulli, aggregate_posterior, rbig
    >>> vae, x = VAE((1, 4, 4), 2, MLP(16, 4), MLP(2, 16), Bernoulli()), torch.rand(100, 16)
    >>> z = aggregate_posterior(vae, x)
    >>> prior, history = rbig(z, max_blocks=1, progress=False)
    >>> vae.set_prior(prior).elbo(x).elbo.shape
    torch.Size([100])
    """
    _check_model("aggregate_posterior", model)
    like = model._like()
    with evaluating(model):
        codes = [
            model.posterior(x.to(like), None if c is None else c.to(like)).rsample((), generator)
            for x, c in as_rows(rows).chunks()
        ]
    return torch.cat([like.new_empty(0, model.latent_dim), *codes])


def warn_if_collapsed(model: Variational, rows: Data) -> None:
    """Warn where less than a tenth of the units are active, or none."""
    active = int(active_units(model, rows).sum())
    if active < max(1.0, FEW * model.latent_dim):
        warnings.warn(
            f"{active} of {model.latent_dim} units of {type(model).__name__} are active: the posterior has collapsed "
            "onto the prior. Let KLAnnealing or FreeBits ease the KL term, or use a smaller latent.",
            PosteriorCollapseWarning,
            stacklevel=3,
        )


def _check_model(owner: str, model: object) -> None:
    if not isinstance(model, Variational):
        raise TypeError(f"{owner} wants a VAE or a ConditionalVAE; got {type(model).__name__}.")
