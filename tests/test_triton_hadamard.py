"""The kernel of the Walsh-Hadamard transform against plain torch in double precision, on a GPU or interpreted."""

import pytest
import torch

from kernels import (
    DEVICE,
    check_against,
    check_compiled,
    check_transformed,
    filler,
    points,
    relative,
    skip_unless_they_run,
)

skip_unless_they_run()

from gaussflow import HadamardRotation  # noqa: E402
from gaussflow.ops import _kernels, walsh_hadamard  # noqa: E402
from gaussflow.ops import hadamard as module  # noqa: E402
from gaussflow.ops._triton import _hadamard  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the interpreter's, of sums that wrap around


@pytest.fixture(autouse=True)
def called(monkeypatch):
    monkeypatch.setattr(_kernels, "DEVICES", (DEVICE,))
    monkeypatch.setattr(_hadamard, "TILE", 4096)
    return filler(monkeypatch, _hadamard)


def both_ways(x):
    return walsh_hadamard(x), walsh_hadamard(x, inverse=True)


def reference(x):
    return module._by_products(x, inverse=False), module._by_products(x, inverse=True)


@pytest.mark.parametrize("shape", [(5, 1), (7, 2), (3, 3), (133, 64), (2, 3, 100), (127,), (3, 1000), (2, 4096)])
def test_values_and_gradients(shape, called):
    """Rows that are no multiple of a tile, of one block and of two; all that is written was not a number before."""
    check_against(both_ways, reference, [points(*shape)])
    assert len(called) >= 4


@pytest.mark.parametrize("dim", [16, 21])
def test_numbers_far_apart_keep_their_digits(dim):
    """A partner is found by sums of integers that wrap around, whatever the signs and sizes of both."""
    x = points(200, dim) * (20 * points(200, dim, seed=2)).exp()
    for mine, exact in zip(both_ways(x), reference(x.double()), strict=True):
        assert float(((mine - exact).norm(dim=-1) / exact.norm(dim=-1)).max()) < 1e-6
    for z in (walsh_hadamard(-x), walsh_hadamard(torch.zeros_like(x))):
        assert bool(z.isfinite().all())


def test_layouts(called):
    x = points(40, 21)
    plain = both_ways(x)
    for turned in (x.T.contiguous().T, torch.stack([x, -x], -1)[..., 0]):
        assert not turned.is_contiguous()
        for mine, theirs in zip(both_ways(turned), plain, strict=True):
            torch.testing.assert_close(mine, theirs)
    assert walsh_hadamard(x[:0]).shape == (0, 21)
    x[4, 2] = torch.nan
    assert walsh_hadamard(x).isnan()[4].any()
    assert not walsh_hadamard(x).isnan()[:4].any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("dim", [64, 100])
def test_half_precision_is_computed_in_single(dim, dtype):
    """So that nothing is rounded but the result, also where there are two steps."""
    x = points(90, dim).to(dtype).requires_grad_()
    z = walsh_hadamard(x)
    exact = module._by_products(x.detach().double(), inverse=False)
    assert z.dtype == dtype
    room = 0.51 if dtype == torch.float16 else 1.01  # the interpreter cuts off the digits that bfloat16 has not
    error = (z.detach() - exact).abs() / exact.abs().clamp(min=0.01)
    assert float(error.max()) < room * torch.finfo(dtype).eps
    (gradient,) = torch.autograd.grad(z.sum(), x)
    assert gradient.dtype == dtype
    ones = module._by_products(torch.ones(90, dim, dtype=torch.float64), inverse=True)
    assert relative(gradient, ones.to(gradient.device), 1.0) < torch.finfo(dtype).eps


def test_large_rows_and_double_precision_go_by_products(called, monkeypatch):
    monkeypatch.setattr(module, "LARGEST", 32)
    assert walsh_hadamard(points(2, 63)).shape == (2, 63)
    assert called
    called.clear()
    for x in (points(2, 64), points(2, 16).double()):
        torch.testing.assert_close(walsh_hadamard(x), module._by_products(x, inverse=False))
    assert not called


def test_the_layer_takes_it(called):
    layer = HadamardRotation(100, generator=torch.Generator().manual_seed(0), device=DEVICE)
    x = points(9, 100)
    z = layer(x)[0]
    assert len(called) == 6
    assert relative(layer.inverse(z)[0], x, 1.0) < 1e-6
    assert relative(z, layer.double()(x.double())[0], 1.0) < 1e-6


def nonlinear(f):
    """So that second derivatives are not zero."""
    return lambda x: tuple(z.square() * z.sum() for z in f(x.sin()))


def test_higher_derivatives_and_transformations():
    assert "gaussflow_" in type(walsh_hadamard(points(2, 6).requires_grad_()).grad_fn).__name__
    check_transformed(nonlinear(both_ways), nonlinear(reference), [points(2, 6)])


def test_it_compiles_whole(called):
    check_compiled(both_ways, [points(4, 11)])
    assert called


def test_the_operator_is_well_behaved():
    for inverse in (False, True):
        torch.library.opcheck(_hadamard.hadamard, (points(3, 6).requires_grad_(), inverse))
