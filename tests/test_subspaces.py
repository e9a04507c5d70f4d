"""Independent subspaces: what coordinates tell of one another, the groups made of it, and the axes turned to them."""

import math

import pytest
import torch

from gaussflow import Chain, Given, as_rows, haar, hybrid, ica, independent_subspaces, load, save
from gaussflow.recipes import _kinds
from gaussflow.transforms._normal_mixture import NormalMixture, Quadratic, cells
from gaussflow.transforms._subspaces import Mixtures, dependent_groups, pair_information

F64 = torch.float64


def generator(seed):
    return torch.Generator().manual_seed(seed)


def normal(n, dim, seed=0):
    return torch.randn(n, dim, generator=generator(seed), dtype=F64)


def rings(n, pairs, seed=0):
    """Rows (n, 2 pairs) of rings in pairs of coordinates, of unit variance, and the matrix that turned them."""
    angle = 2 * math.pi * torch.rand(n, pairs, generator=generator(seed), dtype=F64)
    radius = math.sqrt(2) * (1 + 0.1 * normal(n, pairs, seed + 1))
    x = torch.stack([radius * angle.cos(), radius * angle.sin()], 2).flatten(1)
    turn = haar(2 * pairs, generator(seed + 2), F64)
    return x @ turn, turn


def same_span(axes, groups, turn):
    """The least cosine between the plane of a group and that of the pair of rows of ``turn`` next to it."""
    overlap = torch.stack([(axes[g] @ turn.T).unflatten(1, (-1, 2)).square().sum((0, 2)) / 2 for g in groups])
    assert sorted(overlap.argmax(1).tolist()) == list(range(len(groups)))
    return float(overlap.amax(1).min())


@pytest.mark.parametrize("seed", range(3))
def test_planes_of_turned_rings_are_found(seed):
    x, turn = rings(4000, 4, seed)
    axes, groups = independent_subspaces(x, seed=seed)
    torch.testing.assert_close(axes @ axes.T, torch.eye(8, dtype=F64))
    assert sorted(map(len, groups)) == [2, 2, 2, 2]
    assert same_span(axes, groups, turn) > 0.995


def test_the_likelihood_finds_planes_more_exactly_than_independent_axes():
    off = []
    for seed in range(4):
        x, turn = rings(1000, 4, seed)
        start, (axes, groups) = ica(x), independent_subspaces(x)
        pairs = dependent_groups(x @ start.T, 2)
        off.append([1 - same_span(axes, groups, turn), 1 - same_span(start, pairs, turn)])
    found, before = torch.tensor(off).mean(0)
    assert found < 0.5 * before


@pytest.mark.parametrize("most", [1, 2, 3])
def test_no_group_is_larger_than_asked_for(most):
    x, _ = rings(1000, 2)
    assert max(map(len, independent_subspaces(x, most=most)[1])) == min(most, 2)


@pytest.mark.parametrize("seed", range(4))
def test_no_group_is_seen_in_normal_rows(seed):
    axes, groups = independent_subspaces(normal(1000, 8, seed))
    assert groups == [[i] for i in range(8)]
    assert axes.shape == (8, 8)


def test_three_that_depend_make_a_group():
    scale = normal(3000, 1).exp()
    y = torch.cat([normal(3000, 1, 5), scale * normal(3000, 3, 6), normal(3000, 1, 7)], 1)
    assert dependent_groups(y, 4) == [[0], [1, 2, 3], [4]]
    assert sorted(map(len, dependent_groups(y, 2))) == [1, 1, 1, 2]


@pytest.mark.parametrize("rho", [0.1, 0.3])
def test_what_two_normals_tell_of_one_another_is_their_information(rho):
    x = normal(200_000, 2)
    y = torch.stack([x[:, 0], rho * x[:, 0] + math.sqrt(1 - rho**2) * x[:, 1]], 1)
    told = pair_information(y)
    assert float(told[0, 1]) == pytest.approx(-0.5 * math.log(1 - rho**2), rel=0.1)
    torch.testing.assert_close(told, told.T, rtol=0, atol=1e-12)


def test_independent_ones_tell_nothing_whatever_their_laws():
    y = torch.cat([normal(4000, 2), normal(4000, 2, 3).exp(), (normal(4000, 1, 4) > 1).to(F64)], 1)
    told = pair_information(y)
    assert float(told.abs().amax()) < 0.01
    assert abs(float(told.sum() / 20)) < 1e-3
    torch.testing.assert_close(pair_information(y), pair_information(3 * y**3 - 1), rtol=0, atol=1e-12)


def test_a_square_is_told_though_uncorrelated():
    x = normal(4000, 1)
    assert float(pair_information(torch.cat([x, x**2 + 0.1 * normal(4000, 1, 2)], 1))[0, 1]) > 0.3


def test_slopes_are_gradients_of_the_log_density():
    rows = Quadratic(normal(50, 3))
    mixture = NormalMixture.of_sums(cells(rows, 4, generator(0)), 3.0, 0.0)
    log_density, slopes = mixture.slopes(rows)
    gradient = torch.func.vmap(torch.func.grad(lambda u: _plain(mixture, u)))(rows.u)
    torch.testing.assert_close(slopes, gradient)
    torch.testing.assert_close(log_density, torch.func.vmap(lambda u: _plain(mixture, u))(rows.u))


def _plain(mixture, u):
    y = (mixture.factors @ (u - mixture.means)[:, :, None])[:, :, 0]
    log_det = mixture.factors.diagonal(dim1=1, dim2=2).log().sum(1)
    return (mixture.log_weights + log_det - 0.5 * y.square().sum(1) - 1.5 * math.log(2 * math.pi)).logsumexp(0)


def test_a_turn_is_orthogonal_and_makes_rows_likelier():
    x, turn = rings(2000, 2)
    off = x @ turn.T
    angle = torch.tensor(0.2, dtype=F64)
    mix = torch.eye(4, dtype=F64)
    mix[[0, 2], [0, 2]], mix[0, 2], mix[2, 0] = angle.cos(), angle.sin(), -angle.sin()
    model = Mixtures(off, [[0, 1], [2, 3]], generator(0))
    found = model.turn(off @ mix.T)
    torch.testing.assert_close(found @ found.T, torch.eye(4, dtype=F64))
    assert model.nats(off @ (found @ mix).T) > model.nats(off @ mix.T) + 0.05
    assert float((found @ mix - torch.eye(4, dtype=F64)).abs().amax()) < 0.75 * float(angle.sin())


def test_axes_within_a_group_are_not_turned():
    model = Mixtures(
        normal(200, 3) @ torch.tensor([[1, 2, 0], [0, 1, 0], [0, 0, 1.0]], dtype=F64), [[0, 1, 2]], generator(0)
    )
    assert model.turn(normal(200, 3, 1)) is None


@pytest.mark.parametrize(
    "x",
    [
        torch.zeros(100, 3),
        normal(3, 5),
        normal(100, 1),
        normal(200, 2)[:, [0, 1, 1, 0]],
        torch.cat([normal(200, 2), torch.ones(200, 2)], 1),
        (normal(200, 3) > 0).to(F64),
        torch.cat([normal(200, 2), normal(200, 2, 1) ** 9 * 1e30], 1),
    ],
    ids=["constant", "few", "one", "twice", "constants", "binary", "far"],
)
def test_odd_rows_give_orthogonal_axes(x):
    axes, groups = independent_subspaces(x.to(F64))
    torch.testing.assert_close(axes @ axes.T, torch.eye(x.shape[1], dtype=F64))
    assert sorted(i for group in groups for i in group) == list(range(x.shape[1]))


def test_the_same_seed_gives_the_same_axes():
    x, _ = rings(500, 2)
    assert torch.equal(independent_subspaces(x, seed=3)[0], independent_subspaces(x, seed=3)[0])


def test_groups_of_none_are_refused():
    with pytest.raises(ValueError, match="independent_subspaces wants most of at least 1; got 0"):
        independent_subspaces(normal(10, 2), most=0)


def test_the_hybrid_begins_with_subspaces_where_there_are_some():
    x, _ = rings(1500, 2)
    fresh, _ = rings(1500, 2, seed=10)
    fresh = fresh @ rings(1, 2, seed=10)[1].T @ rings(1, 2)[1]
    flow, history = hybrid(x, progress=False)
    assert history.column("kind")[0] == "subspaces"
    assert sum(isinstance(part, Given) for part in flow.transform[0]) == 2
    radial = 0.5 + math.log(0.1 * math.sqrt(2) * math.sqrt(2 * math.pi)) + math.log(2 * math.pi * math.sqrt(2))
    excess = -float(flow.log_prob(fresh).detach().mean()) - 2 * radial
    assert excess < 0.25  # marginals first leave most of the 2 nats of dependence


@pytest.mark.parametrize("context", [None, normal(3000, 1, 9)])
def test_the_hybrid_begins_with_marginals_on_normal_rows_and_given_a_context(context):
    x = normal(3000, 6) if context is None else rings(3000, 3)[0]
    assert list(_kinds.first(as_rows(x, context), 0)) == ["marginals"]


def test_a_block_of_subspaces_is_inverted_and_saved(tmp_path):
    x, _ = rings(1000, 2)
    block = _kinds.subspaces(as_rows(x), 0)
    assert isinstance(block, Chain)
    z, ladj = block(x[:50])
    back, its_ladj = block.inverse(z)
    torch.testing.assert_close(back, x[:50])
    torch.testing.assert_close(ladj, -its_ladj)
    save(block, tmp_path / "block.pt")
    assert torch.equal(load(tmp_path / "block.pt")(x)[0], block(x)[0])
