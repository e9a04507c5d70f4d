"""The laws of the laboratory: densities that integrate to one, are those of the draws, and have the stated entropy."""

import math

import numpy as np
import pytest
from benchmarks.lab.problems import PROBLEMS
from benchmarks.synthetic import gaussian
from scipy import stats

DIMS = [2, 3, 6]
SPECTRA = [name for name in PROBLEMS if name.startswith("gaussian")]
EDGED = {"ball", "cube", "sources"}  # densities that jump


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("name", PROBLEMS)
def test_entropy_is_the_mean_nats_of_draws(name, dim):
    law = PROBLEMS[name](dim)
    assert law.dim == dim
    x = law.draw(40_000, np.random.default_rng(7))
    nats = law.nats(x)
    assert x.shape == (40_000, dim)
    assert nats.shape == (40_000,)
    assert np.isfinite(nats).all()
    error = np.hypot(nats.std() / 200, law.error) + 1e-9
    assert abs(nats.mean() - law.entropy) < 4 * error
    assert error < 0.03


@pytest.mark.parametrize("name", PROBLEMS)
def test_density_of_the_plane_integrates_to_one(name):
    """A grid that reaches far, even in asinh: fine in the middle, wide in the tails."""
    side = np.linspace(-7, 7, 1201)  # up to 548
    law, x = PROBLEMS[name](2), np.sinh(side)
    grid = np.stack(np.meshgrid(x, x, indexing="ij"), -1).reshape(-1, 2)
    cell = np.cosh(side) * (side[1] - side[0])
    with np.errstate(over="ignore"):
        mass = np.exp(-law.nats(grid)).reshape(1201, 1201)
    assert cell @ mass @ cell == pytest.approx(1, abs=2e-3 if name in EDGED else 1e-4)


@pytest.mark.parametrize("dim", [3, 6])
@pytest.mark.parametrize("name", PROBLEMS)
def test_density_in_more_dimensions_by_importance_sampling(name, dim):
    """Draws of a wide t law, weighted: mass one, and the same means of bounded functions as the draws of the law."""
    law, rng, n = PROBLEMS[name](dim), np.random.default_rng(3), 200_000
    drawn = law.draw(n, rng)
    wide = stats.multivariate_t(drawn.mean(0), np.cov(drawn.T), df=4, seed=rng)
    x = wide.rvs(n)
    with np.errstate(over="ignore"):
        weight = np.exp(-law.nats(x) - wide.logpdf(x))
    error = weight.std() / math.sqrt(n)
    assert error < 0.06
    assert abs(weight.mean() - 1) < 4 * error
    for wave in (np.ones(dim), np.linspace(1, 2, dim), np.arange(dim) % 2 * 2.0):
        values, others = weight * np.cos(x @ wave), np.cos(drawn @ wave)
        error = np.hypot(values.std(), others.std()) / math.sqrt(n)
        assert abs(values.mean() - others.mean()) < 4 * error


@pytest.mark.parametrize("dim", [2, 5, 32])
@pytest.mark.parametrize("name", SPECTRA)
def test_spectra_have_trace_dim_and_the_entropy_of_their_covariance(name, dim):
    law, seed = PROBLEMS[name](dim), 3
    other = PROBLEMS[name](dim, seed=seed)
    covariance = np.cov(law.draw(200_000, np.random.default_rng(1)).T)
    assert np.trace(covariance) == pytest.approx(dim, rel=0.03)
    exact = dim / 2 * math.log(2 * math.pi * math.e) + np.linalg.slogdet(covariance)[1] / 2
    assert law.entropy == pytest.approx(exact, abs=4 * math.sqrt(dim / 4e5) + 1e-3)
    assert other.entropy == pytest.approx(law.entropy)
    x = law.draw(5, np.random.default_rng(2))
    assert not np.allclose(law.nats(x), other.nats(x))  # other axes


def test_spectra_are_what_they_are_called():
    def eigenvalues(name):
        x = PROBLEMS[name](8).draw(400_000, np.random.default_rng(1))
        return np.linalg.eigvalsh(np.cov(x.T))

    log, one, near, block = (eigenvalues(name) for name in SPECTRA)
    assert log[-1] / log[0] == pytest.approx(100, rel=0.03)
    assert np.diff(np.log(log)) == pytest.approx(math.log(100) / 7, abs=0.03)
    assert one[-1] / one[0] == pytest.approx(10, rel=0.03)
    assert one[-2] / one[0] == pytest.approx(1.01, abs=0.02)
    assert (near[0], near[-1]) == (pytest.approx(0.5, rel=0.02), pytest.approx(1.5, rel=0.02))
    assert block == pytest.approx([0.3] * 6 + [3.1] * 2, rel=0.03)


def test_one_spectrum_is_that_of_the_tables():
    x = np.random.default_rng(0).standard_normal((4, 16))
    assert (PROBLEMS["gaussian_log"](16).nats(x) == gaussian(16).nats(x)).all()


@pytest.mark.parametrize("name", ["banana", "rings", "funnel", "cube", "sources"])
def test_lifted_laws_cost_in_proportion_to_the_pairs(name):
    law = PROBLEMS[name]
    normal = 0.5 * math.log(2 * math.pi * math.e)
    assert law(8).entropy == pytest.approx(2 * law(4).entropy)
    if name in ("banana", "rings", "funnel"):
        assert law(5).entropy == pytest.approx(2 * law(2).entropy + normal)


@pytest.mark.parametrize(("name", "variance"), [("ball", 1), ("cube", 1), ("sources", 1), ("banana", 1), ("funnel", 1)])
def test_variances_are_one(name, variance):
    x = PROBLEMS[name](6).draw(200_000, np.random.default_rng(4))
    assert np.cov(x.T) == pytest.approx(variance * np.eye(6), abs=0.06)


def test_draws_follow_their_generator_and_the_axes_their_seed():
    for problem in PROBLEMS.values():
        first, again = (problem(4).draw(3, np.random.default_rng(5)) for _ in range(2))
        assert (first == again).all()
        assert not (first == problem(4).draw(3, np.random.default_rng(6))).all()
    assert not np.allclose(PROBLEMS["banana"](4).nats(first), PROBLEMS["banana"](4, seed=1).nats(first))


def test_tails_of_the_copula_are_heavy_and_exact():
    """Marginals are t with 2.5 degrees of freedom, also where its distribution function rounds to one."""
    law = PROBLEMS["copula"](3)
    x = law.draw(100_000, np.random.default_rng(1))
    for level in (0.9, 0.999, 0.9999):
        expected = stats.t(2.5).isf((1 - level) / 2)
        beyond = (np.abs(x) > expected).mean()
        assert beyond == pytest.approx(1 - level, abs=4 * math.sqrt((1 - level) / 3e5) * 1.5)
    assert np.isfinite(law.nats(np.array([[1e8, -1e8, 0.0], [0.0, 0.0, 0.0]]))).all()


@pytest.mark.parametrize("name", ["ball", "cube"])
def test_bounded_laws_are_nothing_beyond_their_ends(name):
    law = PROBLEMS[name](4)
    assert np.isinf(law.nats(np.full((1, 4), 9.0))).all()
    assert np.isfinite(law.nats(np.zeros((1, 4)))).all()
