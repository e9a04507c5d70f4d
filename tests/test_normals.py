"""The map of normal mixtures for many rows: values and first derivatives are those of the reference."""

import pytest
import torch

from gaussflow.ops import _normals
from gaussflow.ops import mixture as module
from gaussflow.ops.mixture import Mixture, logistic_kernel, mixture_to_normal

K, D = 6, 3


def inputs(n=200, spread=1.5, dtype=torch.float64):
    g = torch.Generator().manual_seed(0)
    x = spread * torch.randn(n, D, generator=g, dtype=torch.float64)
    w, m, s = (torch.randn(K, D, generator=g, dtype=torch.float64) for _ in range(3))
    return [t.to(dtype).requires_grad_() for t in (x, w, 2 * m, 0.5 * s - 0.5)]


def mapped(f, tensors):
    x, w, m, s = tensors
    return f(x, Mixture(w.log_softmax(0), m, s))


def gradients(f, tensors, weights=None):
    values = mapped(f, tensors)
    g = torch.Generator().manual_seed(1)
    random = [torch.randn(v.shape, generator=g, dtype=torch.float64).to(v.dtype) for v in values]
    return torch.autograd.grad(sum((a * v).sum() for a, v in zip(weights or random, values, strict=True)), tensors)


@pytest.mark.parametrize("chunk", [240, 2**18])
@pytest.mark.parametrize("spread", [1.0, 4.0, 500.0])  # nearly all near, some far, most beyond every component
def test_values_and_gradients_are_those_of_the_reference(spread, chunk, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", chunk)
    tensors = inputs(spread=spread)
    values = mapped(mixture_to_normal, tensors)
    assert "Written" in type(values[0].grad_fn).__name__
    for mine, theirs in zip(values, mapped(module._to_normal, tensors), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)
    pairs = zip(gradients(mixture_to_normal, tensors), gradients(module._to_normal, tensors), strict=True)
    for mine, theirs in pairs:
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("which", [(1, 0), (0, 1)])
def test_each_value_has_its_own_gradients_when_few_points_are_far(which, monkeypatch):
    tensors = inputs(spread=3.0)
    far = int((mapped(mixture_to_normal, tensors)[0].abs() > _normals.FAR).sum())
    assert 0 < far < _normals.MANY * tensors[0].numel()
    one = [torch.full_like(tensors[0], float(w)) for w in which]
    pairs = zip(gradients(mixture_to_normal, tensors, one), gradients(module._to_normal, tensors, one), strict=True)
    for mine, theirs in pairs:
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("chunk", [2**12, 2**18])
def test_single_precision_keeps_its_promise(chunk, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", chunk)
    tensors = inputs(4000, 2.0, torch.float32)
    tensors[0].data[::50] *= 10  # a few points far out, which are mapped anew after all rows
    double = [t.detach().double().requires_grad_() for t in tensors]
    for mine, exact in zip(mapped(mixture_to_normal, tensors), mapped(module._to_normal, double), strict=True):
        assert ((mine - exact).abs() / (1 + exact.abs())).max() < 1e-6
    for mine, exact in zip(gradients(mixture_to_normal, tensors), gradients(module._to_normal, double), strict=True):
        assert mine.dtype == torch.float32
        assert (mine - exact).abs().max() < 1e-5 * exact.abs().max()


def test_a_gap_between_components_has_all_of_its_gradients():
    """Where every density underflows and both tails are exactly a half: z still moves with the weights, by half of each
    over the normal density at 0.
    """
    x = torch.linspace(-40, 40, 161)[:, None].expand(-1, D).clone().requires_grad_()
    means = torch.tensor([-40.0, 40.0])[:, None].expand(2, D).clone().requires_grad_()
    single = [x, torch.zeros(2, D, requires_grad=True), means, torch.zeros(2, D, requires_grad=True)]
    double = [t.detach().double().requires_grad_() for t in single]
    for mine, exact in zip(gradients(mixture_to_normal, single), gradients(module._to_normal, double), strict=True):
        assert bool(mine.isfinite().all())
        assert (mine - exact).abs().max() < 1e-4 * exact.abs().max()
    for f in (mixture_to_normal, module._to_normal):
        middle = [double[0][80:81], *double[1:]]
        by_logits = torch.autograd.grad(mapped(f, middle)[0][0, 0], double[1])[0][:, 0]
        expected = 0.25 * (2 * torch.pi) ** 0.5
        torch.testing.assert_close(by_logits, torch.tensor([expected, -expected]).double())


def test_higher_derivatives_and_many_at_once_are_those_of_the_reference():
    tensors = inputs(20)

    def second(f):
        first = torch.autograd.grad(sum(v.square().sum() for v in mapped(f, tensors)), tensors, create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in first), tensors)

    for mine, theirs in zip(second(mixture_to_normal), second(module._to_normal), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-7, atol=1e-7)
    x, *tables = (t.detach() for t in tensors)
    forward = torch.func.jacfwd(lambda x: mapped(mixture_to_normal, (x, *tables))[0])(x)
    backward = torch.func.jacrev(lambda x: mapped(mixture_to_normal, (x, *tables))[0])(x)
    torch.testing.assert_close(forward, backward)


def test_other_kernels_layouts_and_no_rows():
    x, w, m, s = inputs(60)
    turned = [t.detach().T.contiguous().T.requires_grad_() for t in (x, w, m, s)]
    for mine, theirs in zip(
        gradients(mixture_to_normal, turned), gradients(mixture_to_normal, (x, w, m, s)), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)
    assert mapped(mixture_to_normal, (x[:0], w, m, s))[0].shape == (0, D)
    z = mixture_to_normal(x, Mixture(w.log_softmax(0), m, s, logistic_kernel))[0]
    assert "Written" not in type(z.grad_fn).__name__
