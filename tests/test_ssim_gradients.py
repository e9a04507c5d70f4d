"""Structural similarity: gradients by every way there is, and none that is missing, infinite or zero."""

import itertools

import pytest
import torch
from benchmarks import msssim_reference as reference
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from gaussflow import MSSSIMLoss, ms_ssim, ssim
from gaussflow.losses import _ssim_planes
from gaussflow.losses._ssim import Scales, scale_means
from gaussflow.losses.ssim import _product

SMALL = {"data_range": 1.0, "window": 3, "sigma": 0.8, "weights": (0.2, 0.5, 0.3)}
KINDS = [kind for kind in reference.pairs(12, 12) if kind != "identical"]


def pair(kind: str, dtype: torch.dtype, shape: tuple[int, int, int] = (30, 41, 2)) -> tuple[Tensor, Tensor, float]:
    x, y, data_range = reference.pairs(*shape)[kind]
    return torch.from_numpy(x).to(dtype).requires_grad_(), torch.from_numpy(y).to(dtype), data_range


def gradient(x: Tensor, y: Tensor, **options: object) -> Tensor:
    index = ms_ssim(x, y, fewer_scales=True, **options)
    assert index.isfinite().all()
    return torch.autograd.grad(index.sum(), x)[0]


@pytest.mark.parametrize("size", [(9, 12), (10, 9), (12, 16)])
def test_gradients_are_those_of_finite_differences(size: tuple[int, int]) -> None:
    x, y = torch.rand(2, 2, 2, *size, dtype=torch.float64)
    y = (x + y) / 2
    x, y = x.requires_grad_(), y.requires_grad_()
    assert gradcheck(lambda a, b: ms_ssim(a, b, signed=True, **SMALL), (x, y), fast_mode=True)
    assert gradcheck(lambda a, b: ssim(a, b, data_range=1.0, window=5), (x, y), fast_mode=True)


def test_a_signed_index_below_zero_has_its_exact_gradient_and_the_unsigned_one_the_same() -> None:
    x = torch.rand(2, 1, 9, 12, dtype=torch.float64)
    y = (1 - x + 0.1 * torch.rand_like(x)).requires_grad_()
    x = x.requires_grad_()
    assert gradcheck(lambda a, b: ms_ssim(a, b, signed=True, **SMALL), (x, y), fast_mode=True)
    signed, plain = (ms_ssim(x, y, signed=signed, **SMALL) for signed in (True, False))
    assert -1 < signed.max() < 0
    assert plain.tolist() == [0.0, 0.0]
    for a, b in zip(*(torch.autograd.grad(value.sum(), (x, y)) for value in (signed, plain)), strict=True):
        assert torch.equal(a, b)


def test_the_continuation_is_continuous_and_rises() -> None:
    x = torch.rand(1, 1, 12, 12, dtype=torch.float64)
    t = torch.linspace(-0.9, 1, 2001, dtype=torch.float64)[:, None, None, None]
    values = ms_ssim((0.5 + t * (x - 0.5)), x.expand(2001, 1, 12, 12), signed=True, **SMALL)
    assert values[0] < -0.2
    assert values[-1] == 1
    assert values.diff().min() > 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_mean_of_zero_has_a_finite_slope_upwards(dtype: torch.dtype) -> None:
    means = torch.tensor([[0, 0.5], [0.5, 0], [0, 0], [-0.3, 0], [-0.3, 0.5], [1e-40, 0.9], [1e-9, 0.9]], dtype=dtype)
    value = _product(means.requires_grad_(), (0.05, 0.95), False)
    assert value[:5].tolist() == [0.0] * 5
    (slopes,) = torch.autograd.grad(value.sum(), means)
    assert slopes.isfinite().all()
    assert (slopes >= 0).all()
    assert (slopes.amax(-1) > 0).all()
    assert (slopes[means <= 0] > 0).all()


def test_second_derivatives_are_those_of_finite_differences() -> None:
    x, y = torch.rand(2, 1, 1, 6, 5, dtype=torch.float64)
    y = ((x + y) / 2).requires_grad_()
    x = x.requires_grad_()
    assert gradgradcheck(lambda a, b: ms_ssim(a, b, data_range=1.0, window=3, weights=(0.4, 0.6)), (x, y))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wanted", [(True, False), (False, True), (True, True)])
def test_the_fast_gradient_is_that_of_ordinary_operations(kind: str, wanted: tuple[bool, bool]) -> None:
    x, y, data_range = pair(kind, torch.float64)
    x, y = (z.detach()[0].requires_grad_(w) for z, w in zip((x, y), wanted, strict=True))
    scales = Scales(data_range, 7, 1.3, 3)
    leaves = [z for z in (x, y) if z.requires_grad]
    weights = torch.rand(2, 3, dtype=torch.float64)
    expected = torch.autograd.grad((weights * scale_means(x, y, scales)).sum(), leaves)
    found = torch.autograd.grad((weights * _ssim_planes.PlaneMeans.apply(x, y, scales)).sum(), leaves)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9 * b.abs().max().item())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(48, 49, 1), (64, 64, 3), (163, 161, 1)])
def test_float32_gradients_agree_with_float64(kind: str, shape: tuple[int, int, int]) -> None:
    x, y, data_range = pair(kind, torch.float32, shape)
    found = gradient(x, y, data_range=data_range)
    exact = gradient(x.detach().double().requires_grad_(), y.double(), data_range=data_range)
    assert found.dtype == torch.float32
    assert (found - exact).norm() < 1e-3 * exact.norm()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_no_image_but_an_identical_one_is_without_a_gradient(kind: str, dtype: torch.dtype) -> None:
    x, y, data_range = pair(kind, dtype)
    for a, b in ((x, y), (y.detach().requires_grad_(), x.detach())):
        grad = gradient(a, b, data_range=data_range)
        assert grad.dtype == dtype
        assert grad.isfinite().all()
        assert grad.abs().amax() > 0
    assert gradient(x, x.detach(), data_range=data_range).abs().max() == 0


SPANS = (0.0, 1e-42, 1e-30, 1e-8, 1.0, 1e4, 1e12, 1e30, 3e38)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("data_range", [1e-30, 1.0, 1e30])
def test_finite_images_of_any_size_give_finite_values_and_gradients(data_range: float, dtype: torch.dtype) -> None:
    u, v = torch.rand(2, 1, 2, 21, 24, dtype=torch.float64)
    flat = torch.ones_like(u)
    shapes = (u, -u, 2 * u - 1, flat, -flat, (u > 0.5).double(), (u > 0.99).double() - (v > 0.99).double())
    for (a, p), (b, q) in itertools.product(itertools.product(SPANS, shapes), repeat=2):
        if torch.rand(()) > 0.06:
            continue
        x, y = (p * a).to(dtype).requires_grad_(), (q * b).to(dtype)
        grad = gradient(x, y, data_range=data_range)
        assert grad.isfinite().all(), (a, b)


def test_descent_leaves_an_inverted_start() -> None:
    y = torch.from_numpy(reference.pairs(32, 32)["noise"].x)
    x = (1 - y).requires_grad_()
    optimiser = torch.optim.Adam([x], 0.03)
    loss = MSSSIMLoss(data_range=1.0, fewer_scales=True)
    losses = []
    for _ in range(150):
        losses.append(loss(x, y))
        optimiser.zero_grad()
        losses[-1].backward()
        optimiser.step()
    assert losses[0] == 1
    assert losses[-1] < 0.1


def test_many_chunks_are_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = torch.rand(2, 9, 3, 33, 28)
    x.requires_grad_()
    whole = gradient(x, y, data_range=1.0)
    for name, value in (("LANES", 4), ("CHUNK", 1), ("LARGEST", 1), ("FEW", 99), ("FAST", False)):
        monkeypatch.setattr(_ssim_planes, name, value)
        torch.testing.assert_close(gradient(x, y, data_range=1.0), whole, rtol=1e-3, atol=1e-6)


def test_vmap_and_derivatives_of_functions() -> None:
    x, y = torch.rand(2, 4, 2, 1, 9, 12, dtype=torch.float64)
    y = (x + y) / 2
    index = lambda a, b: ms_ssim(a, b, **SMALL)  # noqa: E731
    expected = torch.stack([index(a, b) for a, b in zip(x, y, strict=True)])
    torch.testing.assert_close(torch.vmap(index)(x, y), expected)
    slopes = torch.autograd.functional.jacobian(lambda a: index(a, y[0]), x[0])
    for jacobian in (torch.func.jacrev(index), torch.func.jacfwd(index)):
        torch.testing.assert_close(jacobian(x[0], y[0]), slopes)
    turned = torch.vmap(torch.func.grad(lambda a, b: index(a, b).sum()))(x, y)
    torch.testing.assert_close(turned[0], slopes.sum(0))


def test_compiles_whole_for_any_number_of_images() -> None:
    loss = MSSSIMLoss(fewer_scales=True, data_range=255)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager", dynamic=True)
    for n in (3, 5):
        x, y = 255 * torch.rand(2, n, 3, 28, 33)
        x.requires_grad_(), y.requires_grad_()
        assert torch.equal(compiled(x, y), loss(x, y))
        for a, b in zip(*(torch.autograd.grad(f(x, y), (x, y)) for f in (compiled, loss)), strict=True):
            torch.testing.assert_close(a, b)
    with torch.no_grad():
        assert torch.equal(compiled(x, y), loss(x, y))


def test_autocast_does_not_reach_inside() -> None:
    x, y = torch.rand(2, 2, 1, 28, 28)
    x.requires_grad_()
    expected = gradient(x, y, data_range=1.0)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(gradient(x, y, data_range=1.0), expected)


def test_the_backward_pass_keeps_one_plane_per_scale() -> None:
    x, y = torch.rand(2, 4, 1, 64, 64)
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        ms_ssim(x.requires_grad_(), y, data_range=1.0, fewer_scales=True)
    assert sum(kept) < x.numel() * (2 + 1 + 1 / 4 + 1 / 16 + 0.02)
