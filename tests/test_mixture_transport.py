"""The transport of a normal mixture: the map, its fast ways, and how many components a fit believes in."""

import math
from collections.abc import Iterator
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from gaussflow import Flow, MixtureTransport, as_rows
from gaussflow.ops.mixture import normals_to_normal, tails_to_normal
from gaussflow.transforms import _normal_mixture
from gaussflow.transforms._mixture_growth import grown_mixture
from gaussflow.transforms._normal_mixture import NormalMixture, Quadratic, Sums, cells

F32, F64 = torch.float32, torch.float64


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def law(dim: int = 3, components: int = 4, seed: int = 0) -> torch.distributions.MixtureSameFamily:
    """A mixture of normal laws some standard deviations apart."""
    g = generator(seed)
    means = 2 * torch.randn(components, dim, generator=g, dtype=F64)
    roots = torch.randn(components, dim, dim, generator=g, dtype=F64).tril() / dim**0.5
    roots.diagonal(dim1=1, dim2=2).abs_().add_(0.3)
    weights = torch.rand(components, generator=g, dtype=F64) + 0.2
    return torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(weights / weights.sum()),
        torch.distributions.MultivariateNormal(means, scale_tril=roots),
    )


def transport_of(
    mixture: torch.distributions.MixtureSameFamily, context_dim: int = 0, room: int = 0
) -> MixtureTransport:
    """The map of a known mixture, its first coordinates taken as context, with room for more components."""
    parts = mixture.component_distribution
    components, dim = parts.loc.shape
    transport = MixtureTransport(dim - context_dim, components + room, context_dim, dtype=F64)
    factors = torch.linalg.inv(parts.scale_tril)
    line = torch.zeros(dim, dtype=F64)
    transport._write(line, line + 1, NormalMixture(mixture.mixture_distribution.probs.log(), parts.loc, factors))
    return transport


def drawn(mixture: torch.distributions.MixtureSameFamily, n: int, seed: int = 0) -> Tensor:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return mixture.sample((n,))


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.mark.parametrize("gradients", [False, True])
def test_the_density_is_that_of_the_mixture(gradients: bool) -> None:
    mixture = law()
    x = drawn(mixture, 500)
    with torch.set_grad_enabled(gradients):
        torch.testing.assert_close(Flow(transport_of(mixture)).log_prob(x), mixture.log_prob(x), atol=1e-10, rtol=1e-10)


def test_room_for_more_components_changes_nothing() -> None:
    mixture = law()
    x = drawn(mixture, 100)
    torch.testing.assert_close(Flow(transport_of(mixture, room=3)).log_prob(x), mixture.log_prob(x))


@pytest.mark.parametrize("context_dim", [0, 2])
def test_a_known_mixture_is_held_in_any_units(context_dim: int) -> None:
    """Coordinates of very different size, far from zero; given context the law is the joint one over the first's."""
    mixture, size, offset = law(), torch.tensor([1e-3, 1.0, 1e4], dtype=F64), torch.tensor([5.0, 0.0, -3e5], dtype=F64)
    parts, u = mixture.component_distribution, drawn(mixture, 400)
    covariances = parts.covariance_matrix * size * size[:, None]
    log_weights = mixture.mixture_distribution.logits + 7  # up to a constant
    transport = MixtureTransport.of_normals(log_weights, parts.loc * size + offset, covariances, context_dim)
    x, c = (u * size + offset)[:, context_dim:], (u * size + offset)[:, :context_dim]
    expected = mixture.log_prob(u) - size[context_dim:].log().sum()
    if context_dim:
        first = torch.distributions.MultivariateNormal(parts.loc[:, :2], parts.covariance_matrix[:, :2, :2])
        expected = expected - torch.distributions.MixtureSameFamily(mixture.mixture_distribution, first).log_prob(
            u[:, :2]
        )
    z, ladj = transport(x, c if context_dim else None)
    ours = ladj - 0.5 * (z.square() + math.log(2 * math.pi)).sum(1)
    torch.testing.assert_close(ours.detach(), expected, atol=1e-3, rtol=0)  # variances have a floor of a millionth


def test_what_is_no_mixture_is_refused() -> None:
    zeros, eyes = torch.zeros(2, 3), torch.eye(3).repeat(2, 1, 1)
    assert MixtureTransport.of_normals(zeros[:, 0], zeros, eyes).means.dtype == torch.float32
    with pytest.raises(ValueError, match=r"\(K, M, M\)"):
        MixtureTransport.of_normals(zeros[:, 0], zeros, eyes[:1])
    with pytest.raises(ValueError, match="finite means"):
        MixtureTransport.of_normals(zeros[:, 0], zeros / 0, eyes)
    with pytest.raises(ValueError, match="positive definite"):
        MixtureTransport.of_normals(zeros[:, 0], zeros, -eyes)
    with pytest.raises(ValueError, match="context_dim"):
        MixtureTransport.of_normals(zeros[:, 0], zeros, eyes, -1)


def test_the_image_of_the_mixture_is_standard_normal() -> None:
    mixture = law()
    z, _ = transport_of(mixture)(drawn(mixture, 40_000))
    moments = torch.stack([z.mean(0), z.square().mean(0) - 1, z.pow(3).mean(0), z.pow(4).mean(0) - 3])
    errors = torch.tensor([1.0, 2.0, 15.0, 96.0], dtype=F64).sqrt()[:, None] / 200
    assert (moments.abs() < 4.5 * errors).all()
    assert (torch.corrcoef(z.T).triu(1).abs() < 4.5 / 200).all()


def test_given_context_the_density_is_the_conditional_one() -> None:
    mixture, grid = law(dim=2), torch.linspace(-40, 40, 8001, dtype=F64)[:, None]
    flow = Flow(transport_of(mixture, context_dim=1))
    both = drawn(mixture, 5)
    for context in both[:, :1]:
        joint = mixture.log_prob(torch.cat([context.expand(len(grid), 1), grid], 1))
        log_prob = flow.log_prob(grid, context)
        torch.testing.assert_close(log_prob.exp(), joint.exp() / (joint.exp().sum() / 100), atol=1e-6, rtol=1e-6)
    far = flow.log_prob(grid, torch.tensor([1e6], dtype=F64))
    assert abs(float(far.exp().sum()) / 100 - 1) < 1e-3


@pytest.mark.parametrize("context_dim", [0, 1])
def test_what_is_drawn_has_the_law_of_the_inverse(context_dim: int) -> None:
    mixture = law(dim=3)
    transport = transport_of(mixture, context_dim)
    context = drawn(mixture, 1)[0, :1] if context_dim else None
    z = torch.randn(20_000, transport.dim, generator=generator(), dtype=F64)
    rows = None if context is None else context.expand(len(z), 1)
    slow, fast = transport.inverse(z, rows)[0], transport.draw(z, rows, generator(1))
    for power in (1, 2, 3):
        a, b = slow.pow(power), fast.pow(power)
        error = ((a.var(0) + b.var(0)) / len(z)).sqrt()
        assert ((a.mean(0) - b.mean(0)).abs() < 4.5 * error).all()
    assert not torch.equal(slow, fast)


def test_beyond_the_box_the_map_is_a_straight_line() -> None:
    transport = transport_of(law())
    x = drawn(law(), 1).expand(3, 3).clone()
    x[:, 1] = transport.high[1] + torch.tensor([1.0, 2.0, 1e9], dtype=F64)
    z, ladj = transport(x)
    torch.testing.assert_close(ladj, ladj[:1].expand(3))
    torch.testing.assert_close((z[2] - z[0])[1], (z[1] - z[0])[1] * (1e9 - 1), rtol=1e-6, atol=0)
    torch.testing.assert_close(z[:, 2], z[:1, 2].expand(3))  # and what comes after counts it as at the edge
    torch.testing.assert_close(transport.inverse(z)[0], x, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("seed", [0, 1, 3])
def test_components_of_very_different_width_do_not_hide_the_way_back(seed: int) -> None:
    g = generator(seed)
    means = 2 * torch.randn(200, 2, generator=g, dtype=F64)
    scales = (1.5 * torch.randn(200, 2, generator=g, dtype=F64) - 2).exp()
    law = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(logits=2 * torch.randn(200, generator=g, dtype=F64)),
        torch.distributions.MultivariateNormal(means, scale_tril=torch.diag_embed(scales)),
    )
    transport = transport_of(law)
    z = torch.randn(5000, 2, generator=g, dtype=F64)
    x, back = transport.inverse(z)
    again, ladj = transport(x)
    torch.testing.assert_close(again, z, atol=1e-6, rtol=0)
    torch.testing.assert_close(back, -ladj, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(F64, 1e-11), (F32, 3e-5)])
def test_one_tail_gives_what_two_give(dtype: torch.dtype, tolerance: float) -> None:
    u = (torch.randn(6, 4000, generator=generator()) * torch.logspace(-1, 1.5, 4000)).to(dtype)
    weights = torch.randn(6, 4000, generator=generator(1)).to(dtype).softmax(0)
    per_scale = torch.rand(6, 1, generator=generator(2)).to(dtype) + 0.5
    fast, slow = normals_to_normal(u, per_scale, weights), tails_to_normal(u, per_scale, weights.log())
    for a, b in zip(fast, slow, strict=True):
        assert ((a - b).abs() / b.abs().clamp(min=1)).max() < tolerance


def test_wide_rows_are_summed_as_narrow_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    u = drawn(law(), 400)
    start = NormalMixture.of_sums(cells(Quadratic(u), 5, generator()), 2.0, 0.1)
    narrow, score = start.sums(Quadratic(u))
    density = start.log_density(u, given=1)
    monkeypatch.setattr(_normal_mixture, "WIDE", 2)
    again = NormalMixture.of_sums(cells(Quadratic(u), 5, generator()), 2.0, 0.1)
    wide, same = again.sums(Quadratic(u))
    for a, b in zip((*narrow, density), (*wide, again.log_density(u, given=1)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)
    assert math.isclose(score, same, rel_tol=1e-10)


def test_expectation_maximisation_climbs() -> None:
    rows, scores = Quadratic(drawn(law(), 1000)), []
    mixture = NormalMixture.of_sums(cells(rows, 4, generator()), 1e-6, 0.0)
    for _ in range(8):
        sums, score = mixture.sums(rows)
        mixture = NormalMixture.of_sums(sums, 1e-6, 0.0)
        scores.append(score)
    assert all(b > a - 1e-2 for a, b in pairwise(scores))  # weights are drawn towards equal ones
    assert scores[-1] > scores[0] + 0.01


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_fit_comes_near_a_known_mixture(seed: int) -> None:
    mixture = law(seed=seed)
    x, fresh = drawn(mixture, 4000, seed), drawn(mixture, 20_000, seed + 100)
    flow = Flow(MixtureTransport.of(x))
    excess = float((mixture.log_prob(fresh) - flow.log_prob(fresh)).mean())
    normal = torch.distributions.MultivariateNormal(x.mean(0), torch.cov(x.T))
    assert excess < 0.03
    assert excess < 0.1 * float((mixture.log_prob(fresh) - normal.log_prob(fresh)).mean())


def test_context_is_followed() -> None:
    c = torch.randn(3000, 1, generator=generator(), dtype=F64)
    noise = torch.randn(3000, 1, generator=generator(1), dtype=F64)
    x = (2 * c).sin() + (0.1 + 0.3 * (c > 0)) * noise
    truth = torch.distributions.Normal((2 * c).sin(), 0.1 + 0.3 * (c > 0)).log_prob(x)[2500:, 0]
    transport = MixtureTransport.of(x[:2500], c[:2500])
    assert float((truth - Flow(transport).log_prob(x[2500:], c[2500:])).mean()) < 0.1


@pytest.mark.parametrize(("n", "dim"), [(20, 2), (100, 8), (1000, 3)])
def test_normal_rows_stay_as_they_are(n: int, dim: int) -> None:
    kept = 0
    for seed in range(6):
        x = torch.randn(n, dim, generator=generator(seed), dtype=F64)
        z, ladj = MixtureTransport.of(x)(x)
        kept += bool(ladj.abs().max() < 1e-12 and (z - x).abs().max() < 1e-12)
    assert kept >= 5


def test_components_have_to_be_better_than_one_beyond_chance() -> None:
    believed = 0
    for seed in range(30):
        z = torch.randn(300, 2, generator=generator(seed), dtype=F64)
        believed += MixtureTransport.of(torch.stack([z[:, 0], 0.8 * z[:, 0] + 0.6 * z[:, 1]], 1)).components > 1
    assert (
        believed <= 1
    )  # three of these thirty sets of rows give a bag that beats one component by less than its error


def test_the_weights_of_a_bag_sum_to_one() -> None:
    _, _, bag = grown_mixture(as_rows(drawn(law(), 600)), 0, 200)
    assert len(bag.means) > 1
    assert float(bag.log_weights.exp().sum()) == pytest.approx(1)


@pytest.mark.parametrize("most", [1, 3, 20, 200])
def test_no_more_components_than_asked(most: int) -> None:
    x = drawn(law(), 800)
    transport = MixtureTransport.of(x, most=most)
    assert transport.components <= most
    assert (transport.components > 1) == (most > 1)


def test_more_rows_than_one_fit_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    from gaussflow.transforms import _mixture_growth

    monkeypatch.setattr(_mixture_growth, "FIT_ROWS", 500)
    mixture, x = law(), drawn(law(), 3000)
    fresh = drawn(mixture, 5000, 9)
    whole, cut = MixtureTransport.of(x), MixtureTransport.of(as_rows(list(x.split(700))))
    torch.testing.assert_close(whole.means, cut.means, rtol=1e-9, atol=1e-9)
    assert float((mixture.log_prob(fresh) - Flow(whole).log_prob(fresh)).mean()) < 0.1


def test_a_single_component_has_the_covariance_of_the_rows_shrunk_to_its_diagonal() -> None:
    """And not that of rows and prior rows, of which the second alone would be shrunk."""
    shrinkage = 0.3
    u = (
        torch.randn(30, 3, generator=generator(), dtype=torch.float64)
        @ torch.tensor([[1.0, 0.9, 0], [0, 1, 0], [0, 0, 1]]).double()
    )
    ones = torch.ones(1, len(u), dtype=torch.float64)
    mixture = NormalMixture.of_sums(Sums.none(1, u).plus(ones, u, None), 5.0, shrinkage)
    plain = torch.cov(u.T, correction=0)
    expected = (1 - shrinkage) * plain + shrinkage * plain.diagonal().diag()
    torch.testing.assert_close(mixture.covariances()[0], expected, rtol=0, atol=2e-6)  # 1e-6 is the least variance
