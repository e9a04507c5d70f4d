"""The recipes: what a newcomer calls first."""

import math
from collections.abc import Callable, Iterator

import pytest
import torch

import gaussflow as gf


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


ROTATIONS = [gf.haar_rotation, gf.hadamard_rotation, gf.pca_rotation, gf.ica_rotation, gf.whitening]


def covariance(dim: int) -> torch.Tensor:
    spectrum = torch.logspace(-1, 1, dim, dtype=torch.float64)
    axes = gf.haar(dim, torch.Generator().manual_seed(7)).double()
    return axes @ torch.diag(spectrum * dim / spectrum.sum()) @ axes.T


@pytest.mark.parametrize("rotation", ROTATIONS)
def test_every_rotation_removes_most_of_a_gaussians_dependence(
    rotation: Callable[[int, torch.Generator], gf.Transform],
) -> None:
    law = torch.distributions.MultivariateNormal(torch.zeros(4).double(), covariance(4))
    x, valid, fresh = law.sample((2000,)), law.sample((500,)), law.sample((10_000,))
    flow, history = gf.rbig(x, valid=valid, rotation=rotation, whiten=False, max_blocks=15, progress=False)
    excess = (law.log_prob(fresh) - flow.log_prob(fresh)).mean()
    assert excess < 0.04
    assert history[0]["valid"] > law.entropy() + 0.5


@pytest.mark.parametrize(
    ("rotation", "whiten"),
    [(gf.ica_rotation, True), (gf.haar_rotation, True), (gf.pca_rotation, False), (gf.whitening, False)],
)
@pytest.mark.parametrize("dim", [4, 16])
def test_on_gaussian_rows_a_flow_is_as_good_as_the_covariance(
    rotation: Callable[[int, torch.Generator], gf.Transform], whiten: bool, dim: int
) -> None:
    law = torch.distributions.MultivariateNormal(torch.zeros(dim).double(), covariance(dim))
    x, valid, fresh = law.sample((5000,)), law.sample((1000,)), law.sample((40_000,))
    flow, _ = gf.rbig(x, valid=valid, rotation=rotation, whiten=whiten, max_blocks=8, patience=3, progress=False)
    fitted = torch.distributions.MultivariateNormal(x.mean(0), torch.cov(x.T))
    truth = law.log_prob(fresh)
    ours, full = (float((truth - other).mean()) for other in (flow.log_prob(fresh), fitted.log_prob(fresh)))
    assert ours < 1.05 * full


def test_noise_is_left_alone() -> None:
    x, fresh = torch.randn(1000, 64).double(), torch.randn(5000, 64).double()
    flow, _ = gf.rbig(x, patience=3, progress=False)
    loss = (-flow.log_prob(fresh) - 0.5 * fresh.square().sum(-1) - 32 * math.log(2 * math.pi)).mean()
    assert loss < 0.1


def test_heavy_tails_never_cost_an_infinite_row() -> None:
    x = torch.distributions.StudentT(1.5).sample((2000, 3)).double()
    flow, _ = gf.rbig(x, max_blocks=5, progress=False)
    far = x.abs().amax() * torch.tensor([[1.0, 2.0, 3.0], [100.0, -100.0, 100.0]]).double()
    nats = -flow.log_prob(torch.cat([x, far]))
    assert bool(nats.isfinite().all())
    torch.testing.assert_close(flow.decode(flow.encode(far)), far, rtol=1e-8, atol=0)


def test_a_grown_flow_can_be_trained_further() -> None:
    x = torch.randn(800, 3).double()
    x[:, 1] += x[:, 0].square()
    train, valid = x[:600], x[600:]
    flow, history = gf.rbig(train, valid=valid, max_blocks=4, progress=False)
    with torch.enable_grad():
        after = gf.train(flow, train, valid=valid, epochs=10, progress=False)
    assert min(after.column("valid")) < min(history.column("valid")) - 1e-3


def test_the_skeleton_trains_below_the_gaussian_and_keeps_its_dtype() -> None:
    x = torch.randn(1000, 2).double()
    x[:, 1] += x[:, 0].square()
    train, valid = x[:800], x[800:]
    for marginal in (gf.MixtureCDF, gf.MarginalSpline):
        flow = gf.gaussianization_flow(2, 4, marginal=marginal, rows=train, dtype=torch.float64)
        with torch.enable_grad():
            gf.train(flow, train, valid=valid, epochs=30, lr=1e-2, progress=False)
        normal = torch.distributions.MultivariateNormal(train.mean(0), torch.cov(train.T))
        assert flow.log_prob(valid).mean() > normal.log_prob(valid).mean() + 0.1
        assert flow.sample(3).dtype == torch.float64
