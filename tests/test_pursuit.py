"""Directions far from normal: the indices and their gradients, the climb, and the guard of what it finds."""

import copy
import math
import pickle
from functools import partial
from itertools import pairwise

import pytest
import torch

from gaussflow import Rotation, as_rows, confirmed, haar, ica, pca, projection_pursuit, sliced_wasserstein
from gaussflow.transforms import pursuit
from gaussflow.transforms._climb import common_units, completed
from gaussflow.transforms._legendre import DEGREES, legendre, legendre_values
from gaussflow.transforms.confirmed import FALSE_ALARMS, _chances, _kept
from test_axes import HARD, error, hard

F64 = torch.float64
SEARCHES = [sliced_wasserstein, projection_pursuit]
INDICES = {sliced_wasserstein: pursuit._wasserstein, projection_pursuit: pursuit._friedman}
every_search = pytest.mark.parametrize("search", SEARCHES)


def normal(n, dim, seed=0):
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=F64)


def with_peaks(n, dim, odd=1, seed=0):
    """Standard normal rows but for ``odd`` directions of two peaks; and those directions (odd, D)."""
    x = normal(n, dim, seed)
    x[:, :odd] = 0.9 * normal(n, odd, seed + 1000).sign() + math.sqrt(0.19) * x[:, :odd]
    axes = haar(dim, torch.Generator().manual_seed(seed + 100), F64)
    return x @ axes, axes[:odd]


def test_the_legendre_functions_are_orthonormal_under_the_normal_law():
    u = (torch.arange(100_000, dtype=F64) + 0.5) / 100_000
    h = legendre_values(torch.special.ndtri(u))
    torch.testing.assert_close(h.mean(1), torch.zeros(DEGREES, dtype=F64), atol=1e-6, rtol=0)
    torch.testing.assert_close(h @ h.T / len(u), torch.eye(DEGREES, dtype=F64), atol=1e-6, rtol=0)


def test_the_legendre_slopes_are_derivatives():
    y = torch.linspace(-5, 5, 41, dtype=F64)
    _, slope = torch.func.jvp(lambda y: legendre(y)[0], (y,), (torch.ones_like(y),))
    torch.testing.assert_close(legendre(y)[1], slope)
    assert torch.equal(legendre(y)[0], legendre_values(y))


def test_the_wasserstein_index_is_the_distance_in_one_dimension():
    x = normal(500, 1)[:, :1] * 1.7 + 0.4
    found = float(pursuit._wasserstein(x)(torch.ones(1, 1, dtype=F64))[0])
    parts = 2000
    u = (torch.arange(500 * parts, dtype=F64) + 0.5) / (500 * parts)
    quantiles = x[:, 0].sort().values.repeat_interleave(parts)
    assert found == pytest.approx(float((quantiles - torch.special.ndtri(u)).square().mean()), abs=1e-4)


@pytest.mark.parametrize("index_of", INDICES.values())
def test_gradients_are_those_of_the_index(index_of):
    x, w = 1.5 * with_peaks(300, 4)[0], haar(4, torch.Generator().manual_seed(3), F64)[:2]
    index, step = index_of(x), 1e-6
    _, gradient = index(w)
    for i in range(2):
        for j in range(4):
            move = torch.zeros_like(w)
            move[i, j] = step
            slope = (index(w + move)[0] - index(w - move)[0]) / (2 * step)
            assert float(slope[i]) == pytest.approx(float(gradient[i, j]), abs=1e-4)


@every_search
@pytest.mark.parametrize(("dim", "odd"), [(2, 1), (9, 2), (16, 1)])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_search_finds_the_odd_directions_first(search, dim, odd, seed):
    x, directions = with_peaks(8000, dim, odd, seed)
    found = search(x)
    assert error(found) < 1e-10
    caught = torch.linalg.svdvals(found[:odd] @ directions.T)
    assert float(caught.amin()) > 0.95  # cosine of the widest angle between the two spaces


@every_search
def test_every_step_climbs(search):
    x, _ = with_peaks(500, 12, 6)
    index = INDICES[search](common_units(as_rows(x), 8192, 0)[0])
    heights = [float(index(search(x, directions=3, iterations=i)[:3])[0].sum()) for i in (1, 2, 4, 8, 16)]
    assert all(b >= a - 1e-12 for a, b in pairwise(heights))
    assert heights[-1] > 1.1 * heights[0]


@every_search
@pytest.mark.parametrize("name", HARD)
def test_axes_are_orthogonal_on_hard_data_and_the_same_for_chunks(search, name):
    x = hard(name)
    for axes in (search, confirmed(search)):
        whole, chunks = axes(x), axes([x[:1], x[1:7], x[7:]])
        assert error(whole) < 1e-10
        assert float((whole - chunks).abs().max()) < 1e-6


@every_search
def test_axes_do_not_depend_on_the_common_unit_or_on_the_origin(search):
    x, _ = with_peaks(3000, 4, 4)
    for moved in (x * 1e150, x * 1e-150, x + 1e4):
        torch.testing.assert_close(search(moved), search(x), atol=1e-3, rtol=0)


@every_search
def test_seeds_and_directions_are_heard_and_doors_shut(search):
    x = normal(200, 5)
    assert not torch.allclose(search(x, directions=2), search(x, directions=2, seed=1))
    assert not torch.allclose(search(x, directions=1)[1:], search(x, directions=5)[1:])
    torch.testing.assert_close(search(x), search(x), atol=0, rtol=0)
    for wrong in ({"directions": 0}, {"iterations": 0}):
        with pytest.raises(ValueError, match=f"{search.__name__} wants"):
            search(x, **wrong)


def test_completion_keeps_the_directions_and_is_haar_in_the_rest():
    directions = haar(5, torch.Generator().manual_seed(0), F64)[:2]
    drawn = torch.stack([completed(directions, torch.Generator().manual_seed(s)) for s in range(2000)])
    assert max(error(q) for q in drawn[:50]) < 1e-12
    torch.testing.assert_close(drawn[:, :2], directions.expand(2000, 2, 5))
    mean = drawn[:, 2].mean(0)
    assert float(mean.norm()) < 4 * math.sqrt(1 / 2000)
    rest = torch.eye(5, dtype=F64) - directions.T @ directions  # a unit vector of three dimensions: a third each
    torch.testing.assert_close(torch.einsum("si,sj->ij", drawn[:, 2], drawn[:, 2]) / 2000, rest / 3, atol=0.03, rtol=0)


def rate(axes, n, dim, seeds):
    """The share of fits to standard normal rows that keep a direction."""
    kept = 0
    for seed in range(seeds):
        searched, others = as_rows(normal(n, dim, seed)).split(0.5, seed)
        kept += bool(_kept(_chances(others, axes(searched))).any())
    return kept / seeds


@pytest.mark.parametrize("axes", [pca, *SEARCHES])
@pytest.mark.parametrize(("n", "dim"), [(60, 2), (300, 16)])
def test_on_noise_few_fits_keep_a_direction(axes, n, dim):
    assert 0 < rate(axes, n, dim, 200) < FALSE_ALARMS + 4 * math.sqrt(FALSE_ALARMS / 200)  # 0.05 give or take 0.015


@pytest.mark.statistical
@pytest.mark.parametrize("axes", [ica, pca, *SEARCHES])
@pytest.mark.parametrize(("n", "dim"), [(3000, 2), (3000, 16), (1000, 64)])
def test_the_rate_of_false_alarms_is_the_one_stated(axes, n, dim):
    assert rate(axes, n, dim, 300) == pytest.approx(FALSE_ALARMS, abs=0.05)  # four errors of 0.0126


def test_chances_are_uniform_on_noise():
    chances = torch.cat([_chances(as_rows(normal(1000, 20, s)), torch.eye(20, dtype=F64)) for s in range(100)])
    distance = (chances.sort().values - torch.linspace(0, 1, len(chances), dtype=F64)).abs().max()
    assert float(distance) < 1.95 / math.sqrt(len(chances))  # Kolmogorov: beyond it once in a thousand


def test_the_rule_of_benjamini_and_hochberg():
    chances = torch.tensor([0.041, 0.9, 0.031, 0.011, 0.5]).double()
    assert _kept(chances).tolist() == [False] * 5
    assert _kept(torch.tensor([0.039, 0.9, 0.031, 0.011, 0.029]).double()).tolist() == [True, False, True, True, True]
    assert _kept(torch.tensor([0.011, 0.5]).double()).tolist() == [True, False]
    assert _kept(torch.tensor([0.03, 0.5]).double()).tolist() == [False, False]


@pytest.mark.parametrize("axes", SEARCHES)
@pytest.mark.parametrize("seed", [0, 1])
def test_what_is_there_is_confirmed_and_the_rest_is_random(axes, seed):
    x, directions = with_peaks(3000, 8, 2, seed)
    one, other = confirmed(axes, seed=0)(x), confirmed(axes, seed=1)(x)
    for found in (one, other):
        assert error(found) < 1e-10
        assert float((found @ directions.T).abs().amax(0).amin()) > 0.95
    assert float((one[4:] - other[4:]).abs().max()) > 0.1


def test_where_all_is_noise_all_axes_are_those_of_the_seed():
    given = [confirmed(search, seed=7)(normal(500, 6, 0)) for search in SEARCHES]
    torch.testing.assert_close(*given)
    torch.testing.assert_close(given[0], confirmed(sliced_wasserstein, seed=7)(normal(500, 6, 1)))
    assert not torch.allclose(given[0], confirmed(sliced_wasserstein, seed=8)(normal(500, 6, 0)))


def test_the_fraction_is_that_of_the_rows_that_confirm():
    seen = []

    def axes(rows):
        seen.append(rows.n)
        return torch.eye(rows.dim, dtype=F64)

    x = normal(4000, 2)
    for fraction in (0.2, 0.5):
        confirmed(axes, fraction=fraction)(x)
    assert seen == [pytest.approx(3200, abs=150), pytest.approx(2000, abs=150)]


def test_a_direction_of_the_searched_rows_alone_is_refused():
    """The search of figure 4: its direction is far from normal on the rows that it saw and nowhere else."""
    x = normal(600, 256)
    w = sliced_wasserstein(as_rows(x).split(0.5)[0], directions=1)[:1]
    searched, others = as_rows(x).split(0.5)
    assert float(_chances(searched, w)) < 1e-6
    assert float(_chances(others, w)) > 1e-3


def test_doors_and_pickles():
    with pytest.raises(TypeError, match="function of the rows"):
        confirmed(torch.eye(3))  # type: ignore[arg-type]
    for fraction in (0, 1, -0.5):
        with pytest.raises(ValueError, match="fraction between 0 and 1"):
            confirmed(ica, fraction=fraction)
    x = normal(50, 3)
    rotation = Rotation(3, confirmed(partial(projection_pursuit, iterations=3)), dtype=F64)
    for same in (pickle.loads(pickle.dumps(rotation)), copy.deepcopy(rotation)):
        torch.testing.assert_close(same.fit(x)(x)[0], rotation.fit(x)(x)[0])
