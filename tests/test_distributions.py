"""The adapters to torch.distributions agree with the flow itself."""

import copy
import math
import pickle

import pytest
import torch
from torch import nn
from torch.distributions import (
    ComposeTransform,
    Distribution,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    TransformedDistribution,
    kl_divergence,
    register_kl,
)
from torch.distributions.transforms import AffineTransform

from gaussflow import MLP, AffineCoupling, Chain, Flow, Permutation, Standardize, Whiten
from gaussflow.apps.distributions import FlowDistribution, as_distribution, as_transform


def flow(context_dim: int = 0) -> Flow:
    torch.manual_seed(2)
    one = AffineCoupling(3, [0], MLP, context_dim=context_dim)
    model = Flow(Chain(one, Permutation([2, 0, 1]), AffineCoupling(3, [1, 2], MLP))).double()
    for p in model.parameters():
        nn.init.normal_(p, std=0.3)
    return model


def normal(dim: int = 3) -> Independent:
    zeros = torch.zeros(dim, dtype=torch.float64)
    return Independent(Normal(zeros, torch.ones_like(zeros)), 1)


def points(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, 3, dtype=torch.float64)


def test_a_flow_is_a_distribution() -> None:
    model, x = flow(), points(4, 5)
    law = as_distribution(model)
    assert isinstance(law, Distribution)
    assert (law.batch_shape, law.event_shape) == ((), (3,))
    assert torch.equal(law.log_prob(x), model.log_prob(x))
    assert law.sample().shape == (3,)
    assert law.sample((2, 4)).shape == law.rsample(torch.Size([2, 4])).shape == (2, 4, 3)
    assert not law.sample((2,)).requires_grad
    assert law.rsample((2,)).requires_grad
    assert law.sample().dtype == torch.float64
    assert "FlowDistribution" in repr(law)


def test_context_gives_the_batch() -> None:
    model, context, x = flow(2), torch.randn(5, 2, dtype=torch.float64), points(4, 5)
    law = as_distribution(model, context)
    assert law.batch_shape == (5,)
    torch.testing.assert_close(law.log_prob(x), model.log_prob(x, context.expand(4, 5, 2)))
    torch.testing.assert_close(law.log_prob(x[0, 0]), model.log_prob(x[0, 0].expand(5, 3), context))
    assert law.sample((7,)).shape == law.rsample((7,)).shape == (7, 5, 3)
    wide = law.expand((4, 5))
    assert wide.batch_shape == (4, 5)
    torch.testing.assert_close(wide.log_prob(x), law.log_prob(x))
    assert wide.sample((2,)).shape == wide.rsample((2,)).shape == (2, 4, 5, 3)
    assert as_distribution(flow()).expand((6,)).sample((2,)).shape == (2, 6, 3)
    assert as_distribution(flow()).expand((6,)).log_prob(points()).shape == (6,)


def test_samples_and_gradients() -> None:
    x = points(400) @ torch.tensor([[2.0, 0.5, 0.0], [0.0, 1.0, 0.3], [0.0, 0.0, 0.2]], dtype=torch.float64)
    law = as_distribution(Flow(Whiten(3).double().fit(x)))
    for drawn in (law.sample((20000,)), law.rsample((20000,)).detach()):
        torch.testing.assert_close(drawn.T.cov(), x.T.cov(correction=0), atol=0.15, rtol=0)
    model, context = flow(2), torch.zeros(2, dtype=torch.float64, requires_grad=True)
    as_distribution(model, context).rsample((5,)).sum().backward()
    assert context.grad is not None
    assert all(p.grad is not None for p in model.parameters())


def test_the_entropy_by_rsample_is_that_of_the_gaussian() -> None:
    x = points(100)
    law = as_distribution(Flow(Whiten(3).double().fit(x)))
    mean = law.flow.decode(torch.zeros(3, dtype=torch.float64)).detach()
    columns = law.flow.decode(torch.eye(3, dtype=torch.float64)).detach() - mean
    exact = MultivariateNormal(mean, columns.T @ columns)
    drawn = law.rsample((20000,)).detach()
    values = law.log_prob(drawn).detach()
    assert abs(float(-values.mean() - exact.entropy())) < 0.05
    torch.testing.assert_close(values, exact.log_prob(drawn))


def test_other_tools_of_torch_take_it() -> None:
    context = torch.randn(4, 2, dtype=torch.float64)
    weights = torch.distributions.Categorical(logits=torch.zeros(4, dtype=torch.float64))
    mixture = MixtureSameFamily(weights, as_distribution(flow(2), context))
    x = points(6)
    parts = as_distribution(flow(2), context).log_prob(x[:, None])
    torch.testing.assert_close(mixture.log_prob(x), parts.logsumexp(-1) - math.log(4))
    assert mixture.sample((5,)).shape == (5, 3)
    assert Independent(as_distribution(flow(2), context), 1).log_prob(points(4)).shape == ()

    @register_kl(FlowDistribution, FlowDistribution)
    def _kl(p: FlowDistribution, q: FlowDistribution) -> torch.Tensor:
        x = p.rsample((100,))
        return (p.log_prob(x) - q.log_prob(x)).mean(0)

    assert float(kl_divergence(as_distribution(flow()), as_distribution(flow())).detach()) == 0


def test_validate_args() -> None:
    law = as_distribution(flow(), validate_args=True)
    with pytest.raises(ValueError, match="support"):
        law.log_prob(points(2) * torch.nan)
    with pytest.raises(ValueError, match=r"right-most size"):
        law.log_prob(torch.zeros(2, 4, dtype=torch.float64))
    assert as_distribution(flow(), validate_args=False).log_prob(points(2) * torch.nan).isnan().all()


@pytest.mark.parametrize("context_dim", [0, 2])
def test_a_transformed_distribution_has_the_density_of_the_flow(context_dim: int) -> None:
    model, x = flow(context_dim), points(6)
    context = torch.randn(6, 2, dtype=torch.float64) if context_dim else None
    law = TransformedDistribution(normal(), as_transform(model.transform, context))
    assert law.event_shape == (3,)
    torch.testing.assert_close(law.log_prob(x), model.log_prob(x, context), atol=1e-12, rtol=1e-12)
    drawn = law.rsample((6,))
    assert drawn.shape == (6, 3)
    torch.testing.assert_close(law.log_prob(drawn), model.log_prob(drawn, context), atol=1e-11, rtol=1e-11)
    grads = torch.autograd.grad(law.log_prob(x).sum(), list(model.parameters()))
    want = torch.autograd.grad(model.log_prob(x, context).sum(), list(model.parameters()))
    torch.testing.assert_close(grads, want)


def test_the_transform_keeps_the_contract_of_torch() -> None:
    model, z = flow().transform, points(5)
    view = as_transform(model)
    x = view(z)
    torch.testing.assert_close(view.inv(x), z)
    ladj = view.log_abs_det_jacobian(z, x)
    torch.testing.assert_close(ladj, model.inverse(z)[1])
    torch.testing.assert_close(view.inv.log_abs_det_jacobian(x, z), -ladj)
    exact = torch.linalg.slogdet(torch.stack([torch.autograd.functional.jacobian(view, row) for row in z]))[1]
    torch.testing.assert_close(ladj, exact, atol=1e-10, rtol=1e-10)
    assert (view.bijective, view.event_dim, view.inv.inv is view) == (True, 1, True)
    assert view.forward_shape((4, 3)) == view.inverse_shape((4, 3)) == (4, 3)
    assert view == as_transform(model)
    assert view != as_transform(flow().transform)
    both = ComposeTransform([view, AffineTransform(0.0, 2.0, event_dim=1)], cache_size=1)
    torch.testing.assert_close(both(z), 2 * x)
    law = TransformedDistribution(normal(), both)
    torch.testing.assert_close(law.log_prob(2 * x), Flow(model).log_prob(x) - 3 * math.log(2))


def test_the_map_is_computed_once_for_value_and_log_determinant() -> None:
    model, calls = flow().transform, []
    model.register_forward_hook(lambda *_: calls.append(1))
    TransformedDistribution(normal(), as_transform(model)).log_prob(points(5))
    assert len(calls) == 1


def test_nothing_is_stale_after_a_step() -> None:
    model, x = flow(), points(5)
    law = TransformedDistribution(normal(), as_transform(model.transform))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        value = law.log_prob(x)
        torch.testing.assert_close(value, model.log_prob(x))
        optimizer.zero_grad()
        (-value.mean()).backward()
        optimizer.step()
    view = as_transform(model.transform)
    z, other = view.inv(x), points(5)
    torch.testing.assert_close(view.log_abs_det_jacobian(model.encode(other), other), -model.transform(other)[1])
    z = view.inv(x)
    assert torch.equal(view.log_abs_det_jacobian(z, x), view.log_abs_det_jacobian(z, x))


def test_copies() -> None:
    model, x = flow(), points(5)
    view = as_transform(model.transform)
    view.inv(view(x))
    for other in (copy.deepcopy(view), pickle.loads(pickle.dumps(view)), view.with_cache(1)):
        torch.testing.assert_close(other(x), view(x))
    law = pickle.loads(pickle.dumps(as_distribution(model)))
    torch.testing.assert_close(law.log_prob(x), model.log_prob(x))


def test_the_doors_say_what_they_want() -> None:
    with pytest.raises(TypeError, match="as_distribution wants a Flow; got Standardize"):
        as_distribution(Standardize(3))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="as_transform wants a gaussflow Transform; got Flow"):
        as_transform(flow())  # type: ignore[arg-type]
