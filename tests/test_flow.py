"""Flow: the exact log-density, and samples that have it."""

import copy
import math
import pickle

import pytest
import torch
from scipy import stats
from torch import nn

from gaussflow import MLP, AffineCoupling, Chain, Flow, Permutation, Rotation, Standardize, Whiten, haar
from gaussflow.models import flow as module


def conditional() -> Flow:
    flow = Flow(AffineCoupling(3, [0], MLP, context_dim=2)).double()
    for p in flow.parameters():
        nn.init.normal_(p, std=0.3)
    return flow


def test_log_prob_is_that_of_the_gaussian_that_an_affine_map_makes() -> None:
    x = torch.randn(200, 3, dtype=torch.float64) @ torch.randn(3, 3, dtype=torch.float64) + 5
    flow = Flow(Whiten(3).double().fit(x))
    mean = flow.decode(torch.zeros(3, dtype=torch.float64)).detach()
    columns = flow.decode(torch.eye(3, dtype=torch.float64)).detach() - mean
    law = stats.multivariate_normal(mean.numpy(), (columns.T @ columns).numpy())
    torch.testing.assert_close(flow.log_prob(x).detach(), torch.from_numpy(law.logpdf(x.numpy())), rtol=1e-9, atol=1e-9)


def test_a_density_integrates_to_one() -> None:
    flow = Flow(Chain(AffineCoupling(2, [0]), Rotation(2, haar(2)), AffineCoupling(2, [1]))).double()
    for p in flow.parameters():
        nn.init.normal_(p, std=0.2)
    grid = torch.linspace(-12, 12, 801, dtype=torch.float64)
    points = torch.cartesian_prod(grid, grid)
    with torch.no_grad():
        mass = flow.log_prob(points).exp().sum() * (grid[1] - grid[0]) ** 2
    assert abs(float(mass) - 1) < 1e-4


@pytest.mark.parametrize("shape", [(3,), (7, 3), (2, 4, 3), (0, 3)])
def test_shapes_and_forward(shape: tuple[int, ...]) -> None:
    flow, x = conditional(), torch.randn(shape, dtype=torch.float64)
    context = torch.randn(*shape[:-1], 2, dtype=torch.float64)
    assert flow.log_prob(x, context).shape == shape[:-1]
    assert torch.equal(flow(x, context), flow.log_prob(x, context))
    z = flow.encode(x, context)
    torch.testing.assert_close(flow.decode(z, context), x)


@pytest.mark.parametrize("shape", [(), 5, (5,), (2, 5), 0, (3, 0)])
@pytest.mark.parametrize("batch", [(), (4,), (4, 1)])
def test_sample_shapes(shape: int | tuple[int, ...], batch: tuple[int, ...]) -> None:
    flow = conditional()
    x = flow.sample(shape, torch.randn(*batch, 2, dtype=torch.float64))
    assert x.shape == ((shape,) if isinstance(shape, int) else shape) + batch + (3,)
    assert x.dtype == torch.float64
    assert not x.requires_grad


def test_each_sample_has_its_own_context() -> None:
    flow = Flow(AffineCoupling(2, [0], lambda m, n: Shift(), context_dim=1))
    x = flow.sample(1000, torch.tensor([[-100.0], [0.0], [100.0]]))
    torch.testing.assert_close(x[..., 1].mean(0), torch.tensor([-100.0, 0.0, 100.0]), atol=0.3, rtol=0)


class Shift(nn.Module):
    """Log-scale 0, and a shift so that the data are moved by the context."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.stack([torch.zeros_like(inputs[..., 1]), -inputs[..., 1]], -1)


def test_samples_do_not_depend_on_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    flow, context = conditional(), torch.randn(4, 2, dtype=torch.float64)
    whole = flow.sample((5, 2), context, torch.Generator().manual_seed(1))
    monkeypatch.setattr(module, "CHUNK_ELEMENTS", 9)
    torch.testing.assert_close(flow.sample((5, 2), context, torch.Generator().manual_seed(1)), whole)


def test_samples_have_the_density() -> None:
    x = torch.randn(500, 2) @ torch.tensor([[2.0, 0.0], [1.5, 0.3]]) + torch.tensor([3.0, -1.0])
    flow = Flow(Whiten(2).fit(x))
    samples = flow.sample(20000, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(samples.mean(0), x.mean(0), atol=0.08, rtol=0)
    torch.testing.assert_close(samples.T.cov(), x.T.cov(correction=0), atol=0.15, rtol=0)


def test_gradients_reach_decoded_noise() -> None:
    flow = conditional()
    flow.decode(torch.randn(5, 3, dtype=torch.float64), torch.zeros(5, 2, dtype=torch.float64)).sum().backward()
    assert all(p.grad is not None for p in flow.parameters())


def test_a_flow_without_numbers() -> None:
    flow = Flow(Permutation([1, 0]))
    assert flow.sample(3).dtype == torch.get_default_dtype()
    torch.testing.assert_close(flow.log_prob(torch.zeros(2)), torch.tensor(-math.log(2 * math.pi)))


def test_copies_and_compiles() -> None:
    flow, x, context = conditional(), torch.randn(6, 3).double(), torch.randn(6, 2).double()
    want = flow(x, context)
    for other in (copy.deepcopy(flow), pickle.loads(pickle.dumps(flow)), Flow(**flow.config())):
        assert torch.equal(other(x, context), want)
    compiled = torch.compile(flow, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, context), want)


def test_the_doors_say_what_they_want() -> None:
    with pytest.raises(TypeError, match="Flow is made of a transform; got Linear"):
        Flow(nn.Linear(2, 2))  # type: ignore[arg-type]
    flow = Flow(Standardize(3))
    with pytest.raises(ValueError, match=r"works on \(..., 3\)"):
        flow.log_prob(torch.zeros(4))
    with pytest.raises(ValueError, match="shape of at least 0"):
        flow.sample(-1)
    with pytest.raises(TypeError, match="wants an integer for shape"):
        flow.sample((2.5,))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"works on \(..., 2\); got context"):
        conditional().sample(3, torch.zeros(5).double())
    with pytest.raises(ValueError, match="needs context"):
        conditional().sample(3)
