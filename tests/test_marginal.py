"""The marginal transforms: what they are at birth, what a fit is worth on rows it has not seen, and their far ends."""

import math

import pytest
import torch
from scipy import stats

from gaussflow import MarginalSpline, MarginalTable, MixtureCDF, MixtureFlow
from gaussflow.transforms import logistic_kernel, normal_kernel

D = 6
NORMAL = 0.5 * math.log(2 * math.pi * math.e)
FITTED = {
    "spline": MarginalSpline,
    "table": MarginalTable,
    "normal mixture": MixtureCDF,
    "logistic mixture": lambda dim, **k: MixtureCDF(dim, kernel=logistic_kernel, **k),
}
LAWS = {
    "normal": (lambda u: 3 * u + 1, NORMAL + math.log(3)),
    "log-normal": (torch.exp, NORMAL),
    "two bumps": (lambda u: 0.3 * u + torch.where(torch.arange(len(u))[:, None] % 2 == 0, 2.0, -2.0),
                  NORMAL + math.log(0.6)),
}  # fmt: skip


def rows(n, seed=0, dtype=torch.float64):
    return torch.randn(n, D, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def nats(transform, x):
    """Held-out negative log-density per coordinate under a standard normal base."""
    z, ladj = transform(x)
    return ((0.5 * z.square() + 0.5 * math.log(2 * math.pi)).sum(-1) - ladj).mean().item() / D


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("kind", FITTED)
def test_fit_is_good_on_rows_it_has_not_seen(kind, name):
    """Nats above the entropy: the smooth fits are within 0.06 at 1000 rows; the table pays for its noise."""
    law, entropy = LAWS[name]
    fitted = FITTED[kind](D, dtype=torch.float64).fit(law(rows(1000)))
    excess = nats(fitted, law(rows(20_000, 1))) - entropy
    bound = {"table": 0.25, "spline": 0.15 if name == "two bumps" else 0.06}.get(kind, 0.06)
    assert -0.02 < excess < bound


@pytest.mark.parametrize("kind", FITTED)
def test_fitted_latent_is_normal(kind):
    law, _ = LAWS["log-normal"]
    z = FITTED[kind](D, dtype=torch.float64).fit(law(rows(4000)))(law(rows(2000, 1)))[0].detach()
    assert max(stats.kstest(column.numpy(), "norm").statistic for column in z.T) < 0.06


def test_spline_is_born_the_identity():
    for knots in (3, 8, 32):
        x = 5 * rows(100)
        z, ladj = MarginalSpline(D, knots, dtype=torch.float64)(x)
        assert torch.allclose(z, x, atol=1e-13)
        assert ladj.abs().max() < 1e-12


def test_table_is_born_the_identity():
    x = 5 * rows(100)
    assert torch.allclose(MarginalTable(D, dtype=torch.float64)(x)[0], x, atol=1e-13)


def test_normal_mixture_is_born_near_the_identity_with_components_apart():
    mixture = MixtureCDF(D, dtype=torch.float64)
    x = torch.linspace(-3, 3, 200, dtype=torch.float64)[:, None].expand(200, D)
    z, _ = mixture(x)
    assert (z - x).abs().max() < 1e-3
    assert mixture.means.diff(dim=0).min() > 0.1
    assert (MixtureCDF(D, kernel=logistic_kernel, dtype=torch.float64)(x)[0].diff(dim=0) > 0).all()


def test_set_knots_writes_the_spline_that_is_given():
    g = torch.Generator().manual_seed(0)
    xs, zs = (torch.rand(9, D, generator=g, dtype=torch.float64).add(0.1).cumsum(0) for _ in range(2))
    slopes = torch.rand(9, D, generator=g, dtype=torch.float64) + 0.2
    for dtype, bound in ((torch.float64, 1e-13), (torch.float32, 2e-6)):
        for offset in (0.0, 1e8 if dtype == torch.float64 else 0.0):
            spline = MarginalSpline(D, 9, dtype=dtype).set_knots(1e3 * xs + offset, zs - 3, slopes / 1e3)
            x = (1e3 * xs + offset).to(dtype).requires_grad_()
            z, ladj = spline(x)
            assert (z.double() - zs + 3).abs().max() < (1e-10 if offset else bound)
            (slope,) = torch.autograd.grad(z.sum(), x)
            assert torch.allclose(slope.double() * 1e3, slopes, rtol=1e-7 if offset else 10 * bound)
            assert torch.allclose(ladj, slope.log().sum(-1), rtol=1e-5)
    with pytest.raises(ValueError, match=r"wants zs of shape \(9, 6\)"):
        spline.set_knots(xs, zs[1:], slopes)


def test_spline_of_heavy_tails_keeps_the_precision_of_its_centre():
    """Knots from 1 to 1e6 units: in float32 the centre would drown if widths were summed from the far end."""
    line = torch.linspace(-14, 14, 32, dtype=torch.float64)[:, None].expand(32, D)
    zs = torch.linspace(-4, 4, 32, dtype=torch.float64)[:, None].expand(32, D)
    slopes = (8 / 28) / line.cosh()
    x = 0.5 * rows(500)
    double = MarginalSpline(D, dtype=torch.float64).set_knots(line.sinh(), zs, slopes)
    single = MarginalSpline(D, dtype=torch.float32).set_knots(line.sinh(), zs, slopes)
    assert (single(x.float())[0].double() - double(x)[0]).abs().max() < 1e-6


def test_spline_stays_finite_whatever_an_optimiser_does():
    for value in (-1e30, -1e4, 1e4, 1e30):
        spline = MarginalSpline(D)
        for name in ("log_widths", "log_heights", "log_slopes"):
            with torch.no_grad():
                getattr(spline, name).copy_(value * torch.randn_like(getattr(spline, name)))
        for x in (rows(50, dtype=torch.float32), 1e30 * rows(50, dtype=torch.float32)):
            for out in (*spline(x), *spline.inverse(x)):
                assert torch.isfinite(out).all()


def test_table_counts_rows_and_spreads_ties():
    x = torch.tensor([1.0, 2.0, 2.0, 2.0, 3.0], dtype=torch.float64)[:, None].expand(5, D)
    table = MarginalTable(D, 4, dtype=torch.float64).fit(x)
    z, ladj = table(x)
    truth = torch.special.ndtri(torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64))
    assert torch.allclose(z[[0, 2, 4], 0], truth, atol=5e-3)
    assert torch.isfinite(ladj).all()
    assert not table.smooth
    assert not list(table.parameters())


def test_far_outside_the_data_maps_stay_lines_that_can_be_inverted():
    law, _ = LAWS["log-normal"]
    far = torch.tensor([-1e30, -1e12, -1e6, 1e6, 1e12, 1e30], dtype=torch.float64)[:, None].expand(6, D)
    for kind, make in FITTED.items():
        fitted = make(D, dtype=torch.float64).fit(law(rows(300)))
        z, ladj = fitted(far)
        assert (z.diff(dim=0) > 0).all(), kind
        assert torch.isfinite(ladj).all(), kind
        assert torch.allclose(fitted.inverse(z)[0], far, rtol=1e-9), kind


def test_mixture_is_not_capped_in_the_tails():
    mixture = MixtureCDF(D)
    z, _ = mixture(torch.full((D,), 30.0))
    assert (z > 30).all()
    assert (MixtureCDF(D, kernel=logistic_kernel)(torch.full((D,), 60.0))[0] > 8).all()


def test_mixture_fit_holds_components_apart_from_ties():
    """Three atoms: no component may shrink below a hundredth of the spread, so the density stays bounded."""
    x = torch.randint(0, 3, (600, D), generator=torch.Generator().manual_seed(0)).double()
    for kernel in (normal_kernel, logistic_kernel):
        mixture = MixtureCDF(D, kernel=kernel, dtype=torch.float64).fit(x)
        assert mixture.log_scales.min() > math.log(0.0099)
        assert nats(mixture, x) > -math.log(100)


def test_mixture_fit_raises_the_likelihood_of_its_own_family():
    """EM on rows of a mixture comes within sampling error of the mixture they came from."""
    law, entropy = LAWS["two bumps"]
    x = law(rows(8000))
    assert nats(MixtureCDF(D, components=2, dtype=torch.float64).fit(x), x) - entropy < 5e-3


def test_kernel_must_be_callable():
    with pytest.raises(TypeError, match="normal_kernel"):
        MixtureCDF(D, kernel="normal")


def test_mixture_flow_is_its_formula_between_the_edges():
    flow = MixtureFlow(D, dtype=torch.float64)
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(0.3 * rows(5, 2))
    x = rows(200)
    u = (x[:, None] - flow.means) * (-flow.log_scales).exp()
    w = 12 * (flow.log_weights / 12).tanh()
    scales = (12 * (flow.log_scales / 12).tanh()).exp()
    u = (x[:, None] - flow.means) / scales
    z, ladj = flow(x)
    assert torch.allclose(z, (w.exp() * (torch.special.ndtr(u) - 0.5)).sum(1), atol=1e-13)
    slope = (w.exp() / scales * torch.exp(-0.5 * u.square()) / math.sqrt(2 * math.pi)).sum(1)
    assert torch.allclose(ladj, slope.log().sum(-1), atol=1e-12)


def test_mixture_flow_is_a_bijection_of_the_line_beyond_the_range_of_its_sum():
    flow = MixtureFlow(1, dtype=torch.float64)
    bound = 0.5 * flow.log_weights.exp().sum().item()
    z = torch.cat([torch.linspace(-3 * bound, 3 * bound, 4001, dtype=torch.float64), torch.tensor([-1e30, 1e30])])
    x, _ = flow.inverse(z.sort().values[:, None])
    assert torch.isfinite(x).all()
    assert (x.diff(dim=0) > 0).all()
    assert torch.allclose(flow(x)[0][:, 0], z.sort().values, rtol=1e-11, atol=1e-11)
    outside = (z.sort().values.abs() > bound) & (z.sort().values.abs() < bound + 3)
    last = (flow.means + 3 * flow.log_scales.exp()).max().item()
    assert x[outside].abs().max() < last + 6 * flow.log_scales.exp().max().item()
    grid = torch.linspace(-40, 40, 200_001, dtype=torch.float64)[:, None]
    fz, fl = flow(grid)
    density = torch.exp(fl - 0.5 * fz[:, 0].square()) / math.sqrt(2 * math.pi)
    assert torch.trapezoid(density, grid[:, 0]).item() == pytest.approx(1, abs=1e-6)


def test_mixture_flow_has_a_continuous_slope_at_its_edges():
    flow = MixtureFlow(1, dtype=torch.float64)
    edge = (flow.means + 3 * flow.log_scales.exp()).max().item()
    x = torch.tensor([[edge - 1e-9], [edge + 1e-9], [-edge - 1e-9], [-edge + 1e-9]], dtype=torch.float64)
    ladj = flow(x)[1]
    assert torch.allclose(ladj[::2], ladj[1::2], atol=1e-6)


def test_mixtures_differentiate_through_their_inverse():
    for make in (MixtureCDF, MixtureFlow):
        transform = make(2, 3, dtype=torch.float64)
        z = rows(3, 3)[:, :2].clone().requires_grad_()
        names, tensors = zip(*transform.named_parameters(), strict=True)
        leaves = tuple(t.detach().clone().requires_grad_() for t in tensors)

        def inverse(z, *tables, transform=transform, names=names):
            held = dict(zip(names, tables, strict=True))
            return torch.func.functional_call(_Inverted(transform), {f"t.{k}": v for k, v in held.items()}, (z,))

        assert torch.autograd.gradcheck(inverse, (z, *leaves), atol=1e-6)


class _Inverted(torch.nn.Module):
    def __init__(self, t):
        super().__init__()
        self.t = t

    def forward(self, z):
        return self.t.inverse(z)
