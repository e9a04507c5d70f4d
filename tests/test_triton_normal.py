"""The kernels of the normal law in its tails against plain torch in double precision, on a GPU or interpreted."""

import pytest
import torch
from benchmarks.ops import checks

from kernels import (
    DEVICE,
    check_against,
    check_compiled,
    check_transformed,
    filler,
    points,
    relative,
    skip_unless_they_run,
    values_and_gradients,
)

skip_unless_they_run()

from gaussflow.ops import _kernels  # noqa: E402
from gaussflow.ops import normal as module  # noqa: E402
from gaussflow.ops._triton import _normal  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the interpreter's, of numbers outside of a tile
REACH = 30.0


@pytest.fixture(autouse=True)
def called(monkeypatch):
    monkeypatch.setattr(_kernels, "DEVICES", (DEVICE,))
    return filler(monkeypatch, _normal)


def log_cdf(z):
    return (module.log_normal_cdf(z),)


def quantile(p, q):
    return (module.normal_quantile(p, q),)


REFERENCE = {log_cdf: lambda z: (module._log_normal_cdf(z),), quantile: lambda p, q: (module._normal_quantile(p, q),)}
both = pytest.mark.parametrize("f", REFERENCE)


def inputs_of(f, z):
    """What f takes where z is the point: itself, or both log-tails."""
    if f is log_cdf:
        return [z]
    return [module._log_normal_cdf(side * z.double()).to(z.dtype) for side in (1, -1)]


@both
@pytest.mark.parametrize("shape", [(), (7,), (3, 50, 2)])
def test_values_and_gradients(f, shape, called):
    """Of no tile's size; all of what is written was not a number before."""
    check_against(f, REFERENCE[f], inputs_of(f, points(*shape, width=4.0)))
    assert len(called) >= 2


@both
def test_single_precision_over_all_of_the_domain(f, called):
    """Relative to the logarithm itself, however small, as for plain torch; the size of the quantile may be zero."""
    z, strict = torch.linspace(-REACH, REACH, checks.POINTS, device=DEVICE), f is log_cdf
    inputs = tuple(inputs_of(f, z))
    assert checks.values_error(f, inputs, strict) < checks.VALUES
    assert checks.gradients_error(f, inputs, strict) < checks.GRADIENTS
    assert len(called) >= 4
    far = points(checks.POINTS, width=checks.FAR)
    back = module.normal_quantile(module.log_normal_cdf(far), module.log_normal_cdf(-far))
    assert relative(back, far, 1.0) < checks.ROUND_TRIP


@pytest.mark.parametrize("size", [5.0, 11.0])
def test_more_programs_than_one(size):
    """Each number is where it was, beyond the largest tile, and in a tensor that is cut or turned."""
    z = torch.linspace(-size, size, 20_000, device=DEVICE)
    truth = module._log_normal_cdf(z.double())
    assert relative(module.log_normal_cdf(z), truth, 1.0) < 1e-6
    for turned in (z.view(100, 200).T, z[::3], torch.stack([z, -z], 1)[:, 0]):
        found = module.log_normal_cdf(turned)
        assert relative(found, module._log_normal_cdf(turned.double()), 1.0) < 1e-6
        assert found.shape == turned.shape


def test_far_points_and_what_is_no_number():
    """The logarithm to where its square is beyond the range, the quantile to 1e18 on either side."""
    z = torch.tensor([0.0, -0.0, 1e-30, 60.0, -60.0, 1e4, -1e4, 1e18, -1e18], device=DEVICE)
    found = values_and_gradients(log_cdf, [z])
    assert all(bool(t.isfinite().all()) for t in found)
    assert relative(found[0], module._log_normal_cdf(z.double()), 1e-30) < 1e-6
    tails = [module.log_normal_cdf(side * z) for side in (1, -1)]
    back, *gradients = values_and_gradients(quantile, tails)
    assert relative(back, z.double(), 1.0) < 1e-6
    assert all(bool(t.isfinite().all()) for t in gradients)
    lost = torch.tensor([torch.nan, -1.0, torch.nan, -1.0], device=DEVICE)
    assert torch.equal(module.log_normal_cdf(lost).isnan(), lost.isnan())
    assert module.normal_quantile(lost, lost.flip(0)).isnan().all()


def test_where_both_tails_are_equal_each_has_half_of_the_gradient():
    half = torch.full((3,), 0.5, device=DEVICE).log()
    p, q = (half.clone().requires_grad_() for _ in range(2))
    mine = torch.autograd.grad(module.normal_quantile(p, q).sum(), (p, q))
    theirs = torch.autograd.grad(module._normal_quantile(p, q).sum(), (p, q))
    for a, b in zip(mine, theirs, strict=True):
        assert bool((b != 0).all())
        assert relative(a, b) < 1e-5


@both
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_single(f, dtype, called):
    inputs = [t.to(dtype).requires_grad_() for t in inputs_of(f, points(60, width=4.0))]
    (value,) = f(*inputs)
    (exact,) = REFERENCE[f](*(t.double() for t in inputs))
    assert value.dtype == dtype
    assert relative(value.detach(), exact.detach(), 1.0) < torch.finfo(dtype).eps
    assert [t.dtype for t in torch.autograd.grad(value.sum(), inputs)] == [dtype] * len(inputs)
    assert called


def test_log_tails_of_two_kinds_are_promoted(called):
    p, q = inputs_of(quantile, points(9))
    assert module.normal_quantile(p.half(), q).dtype == torch.float32
    called.clear()
    assert module.normal_quantile(p[:, None], q).shape == (9, 9)  # spread over one another, by plain torch
    assert module.normal_quantile(p.double(), q.double()).dtype == torch.float64
    assert not called
    assert module.log_normal_cdf(p[:0]).shape == (0,)


@both
def test_higher_derivatives_and_transformations_are_those_of_the_reference(f):
    inputs = inputs_of(f, points(6))
    (value,) = f(*(t.clone().requires_grad_() for t in inputs))
    assert "gaussflow_" in type(value.grad_fn).__name__
    check_transformed(f, REFERENCE[f], inputs)


@both
def test_it_compiles_whole(f, called):
    check_compiled(f, inputs_of(f, points(7)))
    assert called


def test_operators_are_well_behaved():
    z, (p, q) = points(4), inputs_of(quantile, points(4))
    torch.library.opcheck(_normal.log_cdf, (z.clone().requires_grad_(),))
    torch.library.opcheck(_normal.quantile, (p.clone().requires_grad_(), q.clone().requires_grad_()))
    torch.library.opcheck(_normal.log_cdf_gradient, (z, z))
    torch.library.opcheck(_normal.quantile_gradients, (p, q, z))
