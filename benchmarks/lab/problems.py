"""Laws whose densities are known in any dimension D >= 2, by name.

Laws of the plane are lifted by being repeated: independent copies fill the coordinates pair by pair, a standard normal
takes the last where D is odd, and one Haar-random rotation mixes all. The loss then grows in proportion to D, and no
coordinate or pair shows much by itself; with the law in two coordinates alone and noise in the others, the loss would
stay what it is in the plane and nearly all of the work would be to find it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy import stats
from scipy.special import digamma, gammaln, logsumexp

from benchmarks import synthetic
from benchmarks.synthetic import LOG_2PI, Array, Law, rotation

NORMAL_ENTROPY = (LOG_2PI + 1) / 2
Draw = Callable[[int, np.random.Generator], Array]
Nats = Callable[[Array], Array]


def gaussian_log(dim: int, seed: int = 0) -> Law:
    """Gaussian, eigenvalues evenly in log over two decades."""
    return synthetic.gaussian(dim, seed=seed)


def gaussian_one(dim: int, seed: int = 0) -> Law:
    """Gaussian, one eigenvalue ten times the others, which differ by up to a hundredth."""
    return synthetic.normal(np.append(np.linspace(1, 1.01, dim - 1), 10.0), seed)


def gaussian_near(dim: int, seed: int = 0) -> Law:
    """Gaussian near the identity: eigenvalues evenly from 0.5 to 1.5."""
    return synthetic.normal(np.linspace(0.5, 1.5, dim), seed)


def gaussian_block(dim: int, seed: int = 0) -> Law:
    """Gaussian, coordinates in blocks of four that correlate by 0.7, before the axes are turned."""
    sizes = [4] * (dim // 4) + ([dim % 4] if dim % 4 else [])
    return synthetic.normal(np.concatenate([[1 + 0.7 * (n - 1)] + [0.3] * (n - 1) for n in sizes]), seed)


def mixture(dim: int, seed: int = 0) -> Law:
    """Five round Gaussians, well apart; the entropy is by Monte Carlo."""
    return synthetic.mixture(dim, seed=seed)


def copula(dim: int, seed: int = 0, joint: float = 4.0, marginal: float = 2.5) -> Law:
    r"""Heavy tails that come together: a t copula of 4 degrees of freedom under t marginals of 2.5, in its own axes.

    Neighbours at distance k correlate by :math:`2^{-k}`. The entropy is that of the multivariate t of the copula, less
    its marginals', plus the new ones'. No seed is used.
    """
    factor = np.linalg.cholesky(0.5 ** np.abs(np.subtract.outer(np.arange(dim), np.arange(dim))))
    half_log_det = np.log(np.diag(factor)).sum()
    inner, outer = stats.t(joint), stats.t(marginal)
    constant = gammaln((joint + dim) / 2) - gammaln(joint / 2) - dim / 2 * math.log(joint * math.pi) - half_log_det

    def draw(n: int, rng: np.random.Generator) -> Array:
        z = rng.standard_normal((n, dim)) @ factor.T
        return _moved(z / np.sqrt(rng.chisquare(joint, (n, 1)) / joint), inner, outer)

    def nats(x: Array) -> Array:
        y = _moved(x, outer, inner)
        squares = (np.linalg.solve(factor, y.T) ** 2).sum(0)
        log_joint = constant - (joint + dim) / 2 * np.log1p(squares / joint)
        return np.asarray(-log_joint + (inner.logpdf(y) - outer.logpdf(x)).sum(1))

    half = (joint + dim) / 2
    entropy = -constant + half * (digamma(half) - digamma(joint / 2))
    return Law(dim, draw, nats, float(entropy + dim * (outer.entropy() - inner.entropy())))


def _moved(x: Array, source: stats.rv_continuous, target: stats.rv_continuous) -> Array:
    """The same quantiles of another symmetric law; from the tail's side, so that far tails are not rounded to one."""
    return np.asarray(np.sign(x) * target.isf(source.sf(np.abs(x))))


def sources(dim: int, seed: int = 0) -> Law:
    """Independent non-Gaussian sources of unit variance, turned: in turn Laplace, uniform, exponential, two-peaked."""
    one = [_laplace, _uniform, _exponential, _two_peaks]
    return _independent([one[i % 4]() for i in range(dim)], seed)


def cube(dim: int, seed: int = 0) -> Law:
    """Uniform in a cube of unit variances, turned."""
    return _independent([_uniform()] * dim, seed)


def ball(dim: int, seed: int = 0) -> Law:
    r"""Uniform in the ball of radius :math:`\sqrt{D + 2}`, whose variances are one. No seed is used."""
    radius = math.sqrt(dim + 2)
    log_volume = dim / 2 * math.log(math.pi) - gammaln(dim / 2 + 1) + dim * math.log(radius)

    def draw(n: int, rng: np.random.Generator) -> Array:
        x = rng.standard_normal((n, dim))
        return np.asarray(x * (radius * rng.random((n, 1)) ** (1 / dim) / np.linalg.norm(x, axis=1, keepdims=True)))

    def nats(x: Array) -> Array:
        return np.where((x**2).sum(1) <= radius**2 * (1 + 1e-12), log_volume, math.inf)

    return Law(dim, draw, nats, float(log_volume))


def banana(dim: int, seed: int = 0, width: float = 0.4) -> Law:
    r"""Pairs :math:`(a, \, w e + c (a^2 - 1))` of normals a and e, with c such that both variances are one."""
    bend = math.sqrt((1 - width**2) / 2)

    def draw(n: int, rng: np.random.Generator) -> Array:
        x = rng.standard_normal((n, 2))
        return np.stack([x[:, 0], width * x[:, 1] + bend * (x[:, 0] ** 2 - 1)], 1)

    def nats(x: Array) -> Array:
        e = (x[:, 1] - bend * (x[:, 0] ** 2 - 1)) / width
        return 0.5 * (x[:, 0] ** 2 + e**2) + LOG_2PI + math.log(width)

    return _in_pairs(dim, seed, draw, nats, 2 * NORMAL_ENTROPY + math.log(width))


def rings(dim: int, seed: int = 0, blur: float = 0.12) -> Law:
    """Pairs on one of two rings of radius 0.6 and 1.5: the logarithm of the radius is normal about theirs."""
    centres = np.log([0.6, 1.5])

    def log_radial(t: Array) -> Array:
        return np.asarray(
            logsumexp(-0.5 * ((t[..., None] - centres) / blur) ** 2, axis=-1) - math.log(2 * blur) - LOG_2PI / 2
        )

    def draw(n: int, rng: np.random.Generator) -> Array:
        radius = np.exp(centres[rng.integers(2, size=n)] + blur * rng.standard_normal(n))
        angle = rng.uniform(0, 2 * math.pi, n)
        return np.asarray(radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1))

    def nats(x: Array) -> Array:
        t = 0.5 * np.log(np.maximum((x**2).sum(1), 1e-300))  # nothing in the middle, and no NaN
        return np.asarray(LOG_2PI + 2 * t - log_radial(t))

    radial = _quadrature(lambda t: -log_radial(t), -3.0, 3.0)
    return _in_pairs(dim, seed, draw, nats, radial + LOG_2PI + 2 * float(centres.mean()))


def funnel(dim: int, seed: int = 0) -> Law:
    r"""Pairs :math:`(v, \, e^{v} e / c)` of normals v and e: the second is narrow where the first is low.

    Neal's funnel has one v for all the others; in pairs its loss grows with D as that of the other laws does.
    """
    scale = math.exp(-1.0)  # so that the second variance is one: E[exp(2 v)] = exp(2)

    def draw(n: int, rng: np.random.Generator) -> Array:
        x = rng.standard_normal((n, 2))
        return np.stack([x[:, 0], scale * np.exp(x[:, 0]) * x[:, 1]], 1)

    def nats(x: Array) -> Array:
        log_width = math.log(scale) + x[:, 0]
        return 0.5 * (x[:, 0] ** 2 + (x[:, 1] * np.exp(-log_width)) ** 2) + LOG_2PI + log_width

    return _in_pairs(dim, seed, draw, nats, 2 * NORMAL_ENTROPY + math.log(scale))


PROBLEMS: dict[str, Callable[..., Law]] = {
    "gaussian_log": gaussian_log,
    "gaussian_one": gaussian_one,
    "gaussian_near": gaussian_near,
    "gaussian_block": gaussian_block,
    "mixture": mixture,
    "copula": copula,
    "sources": sources,
    "banana": banana,
    "rings": rings,
    "funnel": funnel,
    "ball": ball,
    "cube": cube,
}
Source = tuple[Draw, Nats, float]  # draws (n,), nats (n,) of points (n,), and the entropy


def _in_pairs(dim: int, seed: int, draw: Draw, nats: Nats, entropy: float) -> Law:
    """A law of the plane in every pair of coordinates, a standard normal in the last where D is odd, all turned."""
    axes, pairs = rotation(dim, np.random.default_rng(seed)), dim // 2

    def draw_all(n: int, rng: np.random.Generator) -> Array:
        parts = [draw(n, rng) for _ in range(pairs)] + [rng.standard_normal((n, dim % 2))]
        return np.concatenate(parts, 1) @ axes.T

    def nats_all(x: Array) -> Array:
        x = x @ axes
        last = (0.5 * x[:, 2 * pairs :] ** 2 + LOG_2PI / 2).sum(1)
        return np.asarray(last + nats(x[:, : 2 * pairs].reshape(-1, 2)).reshape(-1, pairs).sum(1))

    return Law(dim, draw_all, nats_all, pairs * entropy + dim % 2 * NORMAL_ENTROPY)


def _independent(parts: list[Source], seed: int) -> Law:
    """Independent coordinates, turned."""
    dim = len(parts)
    axes = rotation(dim, np.random.default_rng(seed))

    def draw(n: int, rng: np.random.Generator) -> Array:
        return np.stack([one(n, rng) for one, _, _ in parts], 1) @ axes.T

    def nats(x: Array) -> Array:
        x = x @ axes
        return np.asarray(np.stack([one(x[:, i]) for i, (_, one, _) in enumerate(parts)]).sum(0))

    return Law(dim, draw, nats, sum(entropy for _, _, entropy in parts))


def _laplace() -> Source:
    law = stats.laplace(scale=math.sqrt(0.5))
    return (lambda n, rng: rng.laplace(scale=math.sqrt(0.5), size=n)), (lambda x: -law.logpdf(x)), float(law.entropy())


def _uniform() -> Source:
    side = math.sqrt(12)

    def nats(x: Array) -> Array:
        return np.where(np.abs(x) <= side / 2 * (1 + 1e-12), math.log(side), math.inf)

    return (lambda n, rng: rng.uniform(-side / 2, side / 2, n)), nats, math.log(side)


def _exponential() -> Source:
    """Its mean is taken off. What rounding of a rotation puts below its end counts as on it."""
    return (
        lambda n, rng: rng.exponential(size=n) - 1,
        lambda x: np.where(x >= -1 - 1e-12, x + 1, math.inf),
        1.0,
    )


def _two_peaks(centre: float = 0.9) -> Source:
    width = math.sqrt(1 - centre**2)

    def nats(x: Array) -> Array:
        both = np.stack([-0.5 * ((x - sign * centre) / width) ** 2 for sign in (-1, 1)])
        return np.asarray(math.log(2 * width) + LOG_2PI / 2 - logsumexp(both, axis=0))

    def draw(n: int, rng: np.random.Generator) -> Array:
        return centre * rng.choice([-1.0, 1.0], n) + width * rng.standard_normal(n)

    return draw, nats, _quadrature(nats, -6.0, 6.0)


def _quadrature(nats: Nats, low: float, high: float, points: int = 4001) -> float:
    """The entropy of a smooth density on the line that is nothing at the ends: the trapezium rule."""
    x = np.linspace(low, high, points)
    value = nats(x)
    return float((value * np.exp(-value)).sum() * (x[1] - x[0]))
