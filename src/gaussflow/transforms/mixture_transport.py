"""The Knothe-Rosenblatt map of a mixture of normal laws: dependence of any shape, fitted in closed form."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn
from typing_extensions import override

from gaussflow._check import check_int
from gaussflow.ops._finite import saturate, soft_unbound
from gaussflow.ops._tails import LOG_SQRT_2PI
from gaussflow.ops.bounds import soft_bound
from gaussflow.rows import Data, as_rows
from gaussflow.transforms._conditional import Conditional, mapped, posterior
from gaussflow.transforms._mixture_growth import grown_mixture
from gaussflow.transforms._normal_mixture import NormalMixture, inverse_factors
from gaussflow.transforms.base import Transform

LOG_BOUND = 14.0  # of the logarithms of conditional scales, in units of the coordinate
REACH = 10.0  # beyond so many standard deviations of the outermost component the map goes on as a straight line
CHUNK = 2**19  # elements of a temporary
DRAWN = 2**22  # elements of the Cholesky factors of samples drawn at once
MOST = 2048


class MixtureTransport(Transform):
    r"""The triangular map that turns a mixture of K normal laws into the standard normal law.

    .. math:: z_i = \Phi^{-1}\Big(\sum_k \pi_k(x_{<i})\, \Phi\Big(\frac{x_i - \mu_{k,i}(x_{<i})}{s_{k,i}}\Big)\Big),
        \qquad \text{ladj} = \sum_i \log \frac{\partial z_i}{\partial x_i}

    Each coordinate is moved as its law given the coordinates before it asks: a mixture whose means are affine in these,
    and whose weights are the posterior ones of the components. So mean, scale and shape all depend on the other
    coordinates, and the log-density of a flow of this map alone is that of the mixture. With A the inverse Cholesky
    factor of a covariance, :math:`y = A (x - \mu)` holds all the standardised distances of a component; hence one
    batched product and a running sum give the whole map.

    What lies further from the components than 10 standard deviations of the outermost in some coordinate is moved on
    along a straight line, and counts for the coordinates after it as if it lay there: no row is extrapolated.

    Context comes first in the order, so :math:`p(x \mid c)` is the same map.

    A `fit` is expectation maximisation with 1, 2, 4, ... components on parts of the rows, as many as held-out rows
    confirm; the mean density of a bag of these fits is what is taken. On data that is standard normal already, it is
    the identity.

    Parameters
    ----------
    dim
        Number of coordinates D.
    components
        Number of components K, at least 1: the most that a fit may take. `of` takes as many as rows ask for.
    context_dim
        Number of context coordinates C.
    dtype, device
        Those of the numbers held.

    Attributes
    ----------
    loc, scale
        Buffers (C + D,): units of the parameters.
    low, high
        Buffers (C + D,): the box, in these units, beyond which the map is a straight line.
    logits
        Parameter (K,).
    means, log_diagonals
        Parameters (K, C + D).
    factors
        Parameter (K, C + D, C + D): what is below the diagonal of the inverse Cholesky factors.

    Notes
    -----
    Source: Rosenblatt (1952), Knothe (1957) for the map; Dempster, Laird and Rubin (1977) for the fit; Breiman (1996)
    for the bag; Wolpert (1992), Smyth and Wolpert (1999) for the weights of coarse mixtures in it.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import MixtureTransport
    >>> x = torch.randn(300, 2) + 4 * torch.randint(2, (300, 1))
    >>> transport = MixtureTransport.of(x)
    >>> z, ladj = transport(x)
    >>> z.shape, ladj.shape, transport.inverse(z)[0].shape
    (torch.Size([300, 2]), torch.Size([300]), torch.Size([300, 2]))
    """

    loc: Tensor
    scale: Tensor
    low: Tensor
    high: Tensor

    def __init__(
        self,
        dim: int,
        components: int = 64,
        context_dim: int = 0,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(dim, context_dim)
        self.components = check_int("MixtureTransport", "components", components, 1)
        line = torch.zeros(self.dim + self.context_dim, dtype=dtype, device=device)
        for name in ("loc", "scale", "low", "high"):
            self.register_buffer(name, line.clone())
        self.logits = nn.Parameter(line.new_zeros(components))
        self.means, self.log_diagonals = (nn.Parameter(line.new_zeros(components, len(line))) for _ in range(2))
        self.factors = nn.Parameter(line.new_zeros(components, len(line), len(line)))
        self._write(line, line + 1, NormalMixture.standard(line))

    @classmethod
    def of(cls, rows: Data, context: Tensor | None = None, *, most: int = MOST, seed: int = 0) -> Self:
        """A fitted transport with as many components as held-out rows confirm, ``most`` at the most.

        Parameters
        ----------
        rows
            Data: a tensor (N, D), chunks, or a `Rows`.
        context
            Context (N, C) that goes with a tensor of rows, or None.
        most
            The largest number of components.
        seed
            Decides the parts of the rows and the starts.

        Examples
        --------
        >>> import torch
        >>> from gaussflow import MixtureTransport
        >>> x = torch.randn(400, 3, generator=torch.Generator().manual_seed(0))
        >>> MixtureTransport.of(x).components, MixtureTransport.of(torch.cat([x, x + 9])).components > 1
        (1, True)
        """
        data = as_rows(rows, context)
        check_int("MixtureTransport.of", "most", most, 1)
        loc, scale, mixture = grown_mixture(
            data, data.context_dim, most, check_int("MixtureTransport.of", "seed", seed, 0)
        )
        components = len(mixture.log_weights)
        transport = cls(data.dim, components, data.context_dim, dtype=data.dtype, device=data.device)
        transport._write(loc, scale, mixture)
        return transport

    @classmethod
    def of_normals(
        cls,
        log_weights: Tensor,
        means: Tensor,
        covariances: Tensor,
        context_dim: int = 0,
        *,
        dtype: torch.dtype | None = None,
    ) -> Self:
        """The transport of a mixture that is known: K normal laws of context and coordinates.

        Parameters
        ----------
        log_weights
            Logarithms of the weights (K,), up to a constant.
        means
            Means (K, C + D), context first.
        covariances
            Covariances (K, C + D, C + D), positive definite.
        context_dim
            Number of context coordinates C.
        dtype
            That of the numbers held; None for that of the means.

        Raises
        ------
        ValueError
            For shapes that do not fit one another, and for a matrix that is no covariance.

        Examples
        --------
        >>> import torch
        >>> from gaussflow import MixtureTransport
        >>> transport = MixtureTransport.of_normals(torch.zeros(2), torch.randn(2, 3), torch.eye(3).repeat(2, 1, 1))
        >>> transport(torch.randn(5, 3))[0].shape
        torch.Size([5, 3])
        """
        _check_normals(log_weights, means, covariances)
        dtype = dtype or means.dtype
        log_weights, means, covariances = (t.double() for t in (log_weights, means, covariances))
        weights = log_weights.softmax(0)[:, None]
        loc = (weights * means).sum(0)
        variances = (means - loc).square() + covariances.diagonal(dim1=1, dim2=2)
        scale = (weights * variances).sum(0).sqrt()
        factors = inverse_factors(covariances / scale / scale[:, None])
        mixture = NormalMixture(log_weights.log_softmax(0), (means - loc) / scale, factors)
        dim = means.shape[1] - check_int("MixtureTransport.of_normals", "context_dim", context_dim, 0)
        transport = cls(dim, len(means), context_dim, dtype=dtype, device=means.device)
        transport._write(loc, scale, mixture)
        return transport

    @override
    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self._door(x, context)
        u = self._in_units(x, context).reshape(-1, self.dim + self.context_dim)
        step = max(1, CHUNK // self.means.numel())
        parts = (u,) if torch.compiler.is_compiling() or len(u) <= 2 * step else u.split(step)
        zs, log_slopes = zip(*(self._map(part) for part in parts), strict=True)
        z, log_slope = torch.cat(zs).reshape(x.shape), torch.cat(log_slopes).reshape(x.shape)
        return z, log_slope.sum(-1) - self.scale[self.context_dim :].log().sum()

    @override
    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self._door(z, context, "z")
        given = self._in_units(z, context).reshape(-1, self.dim + self.context_dim)[:, : self.context_dim]
        flat = z.reshape(-1, self.dim)
        step = len(flat) + 1 if torch.compiler.is_compiling() else max(1, CHUNK // self.components)
        starts = range(0, max(1, len(flat)), step)
        parts = [self._map_back(flat[i : i + step], given[i : i + step]) for i in starts]
        us, log_slopes = zip(*parts, strict=True)
        scale = self.scale[self.context_dim :]
        x = saturate(torch.cat(us) * scale + self.loc[self.context_dim :]).reshape(z.shape)
        return x, torch.cat(log_slopes).reshape(z.shape).sum(-1) + scale.log().sum()

    @override
    def draw(self, z: Tensor, context: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Samples of the mixture (..., D) from noise z (..., D): a component for each row, then its normal law.

        It is exact and costs one small product for each row, where `inverse` solves an equation for each coordinate.
        """
        self._door(z, context, "z")
        u = self._in_units(z, context).reshape(-1, self.dim + self.context_dim)
        noise, c, step = z.reshape(-1, self.dim), self.context_dim, max(1, DRAWN // u.shape[1] ** 2)
        roots = torch.linalg.solve_triangular(self._parts()[0], torch.eye(u.shape[1]).to(u), upper=False)
        parts = [
            self._drawn(given, some, roots, generator)
            for given, some in zip(u[:, :c].split(step), noise.split(step), strict=True)
        ]
        return saturate(torch.cat(parts) * self.scale[c:] + self.loc[c:]).reshape(z.shape)

    def _drawn(self, given: Tensor, noise: Tensor, roots: Tensor, generator: torch.Generator | None) -> Tensor:
        """Coordinates (n, D) given the context (n, C), in units; roots (K, M, M) are Cholesky factors."""
        factors, centres, diagonals = self._parts()
        c = given.shape[1]
        y = factors[:, :c, :c] @ given.clamp(self.low[:c], self.high[:c]).T - centres[:, :c, None]  # (K, C, n)
        logits = self.logits[:, None] + (diagonals[:, :c, None].log() - 0.5 * y.square()).sum(1)
        uniform = torch.rand(len(noise), 1, dtype=noise.dtype, device=noise.device, generator=generator)
        levels = logits.softmax(0).cumsum(0).T.contiguous()
        k = torch.searchsorted(levels, uniform * levels[:, -1:])[:, 0].clamp(max=self.components - 1)
        row = torch.arange(len(noise), device=noise.device)
        both = torch.cat([y[k, :, row], noise], 1)
        return (self.means[k] + (roots[k] @ both[:, :, None])[:, :, 0])[:, c:]

    @override
    @torch.no_grad()
    def fit(self, rows: Data, context: Tensor | None = None) -> Self:
        self._write(*grown_mixture(self._rows(rows, context), self.context_dim, self.components))
        return self

    @override
    def config(self) -> dict[str, Any]:
        return {"dim": self.dim, "components": self.components, "context_dim": self.context_dim}

    def _in_units(self, x: Tensor, context: Tensor | None) -> Tensor:
        """Context, spread over the batch, and coordinates in units of the parameters: (..., C + D)."""
        if self.context_dim and context is not None:
            x = torch.cat([self._spread(context, x.shape[:-1]).to(x.dtype), x], -1)
        return saturate((x - self.loc) / self.scale)

    def _parts(self) -> tuple[Tensor, Tensor, Tensor]:
        """Inverse Cholesky factors (K, M, M), what they give for the means (K, M), and their diagonals (K, M)."""
        diagonals = soft_bound(self.log_diagonals, LOG_BOUND).exp()
        factors = self.factors.tril(-1) + torch.diag_embed(diagonals)
        return factors, (factors @ self.means[:, :, None])[:, :, 0], diagonals

    def _map(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Latent and log-slopes, each (n, D), of rows u (n, C + D)."""
        factors, centres, diagonals = self._parts()
        inside = u.clamp(self.low, self.high)
        y = factors @ inside.T - centres[:, :, None]  # (K, C + D, n)
        terms = diagonals.log()[:, :, None] - 0.5 * y.square() - LOG_SQRT_2PI
        before = torch.cat([torch.zeros_like(terms[:, :1]), terms[:, :-1].cumsum(1)], 1)
        weights, c = posterior(self.logits[:, None, None] + before), self.context_dim
        z, log_slope = mapped(y[:, c:], diagonals[:, c:, None], weights[:, c:])
        z = saturate(z + (u - inside).T[c:] * log_slope.exp())
        return z.T, log_slope.T

    def _map_back(self, z: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        """Coordinates and the log-slopes of this direction, each (n, D), one coordinate after the other."""
        factors, centres, diagonals = self._parts()
        known: list[Tensor] = list(given.T)
        found: list[Tensor] = []
        log_slopes: list[Tensor] = []
        log_weights = self.logits[:, None].expand(-1, len(z))
        for i in range(self.dim + self.context_dim):
            low, high = self.low[i], self.high[i]
            offset = -centres[:, i, None].expand(-1, len(z))
            if i:
                offset = offset + factors[:, i, :i] @ torch.stack(known[:i])
            line = Conditional(offset, diagonals[:, i, None], posterior(log_weights), low, high)
            if i >= self.context_dim:
                u, log_slope = line.solve(z[:, i - self.context_dim])
                found.append(u)
                log_slopes.append(log_slope)
                known.append(u.clamp(low, high))
            else:
                known[i] = known[i].clamp(low, high)
            log_weights = log_weights + line.log_densities(known[i])
        return torch.stack(found, 1), torch.stack(log_slopes, 1)

    @torch.no_grad()
    def _write(self, loc: Tensor, scale: Tensor, mixture: NormalMixture) -> None:
        """Write a mixture in units of loc and scale into the parameters; what room is left holds copies of it."""
        held = len(mixture.log_weights)
        copies = torch.arange(self.components, device=self.logits.device) % held
        shared = torch.bincount(copies, minlength=held).to(mixture.log_weights).log()
        logits, means, factors = mixture.log_weights - shared, mixture.means, mixture.factors
        deviations = torch.linalg.inv(factors).square().sum(2).sqrt()
        self.loc.copy_(loc)
        self.scale.copy_(scale)
        self.low.copy_((means - REACH * deviations).amin(0))
        self.high.copy_((means + REACH * deviations).amax(0))
        self.logits.copy_(logits[copies])
        self.means.copy_(means[copies])
        self.factors.copy_(factors.tril(-1)[copies])
        self.log_diagonals.copy_(soft_unbound(factors.diagonal(dim1=1, dim2=2).log(), LOG_BOUND)[copies])


def _check_normals(log_weights: Tensor, means: Tensor, covariances: Tensor) -> None:
    name = "MixtureTransport.of_normals"
    if means.dim() != 2 or log_weights.shape != means.shape[:1] or covariances.shape != (*means.shape, means.shape[1]):
        raise ValueError(
            f"{name} wants log-weights (K,), means (K, M) and covariances (K, M, M); "
            f"got {tuple(log_weights.shape)}, {tuple(means.shape)} and {tuple(covariances.shape)}."
        )
    for what, numbers in (("log-weights", log_weights), ("means", means), ("covariances", covariances)):
        if not bool(numbers.isfinite().all()):
            raise ValueError(f"{name} wants finite {what}; got a NaN or an infinity among them.")
    if int(torch.linalg.cholesky_ex(covariances.double()).info.max()):
        raise ValueError(f"{name} wants positive definite covariances; got one that is not. Add a little to diagonals.")
