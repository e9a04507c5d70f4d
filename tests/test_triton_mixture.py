"""The kernels of mixture CDFs against the reference in double precision, on a GPU or in Triton's interpreter."""

import pytest
import torch
from benchmarks.ops import checks

from kernels import (
    DEVICE,
    check_against,
    check_transformed,
    drawn,
    filler,
    points,
    relative,
    skip_unless_they_run,
    values_and_gradients,
)

skip_unless_they_run()

from gaussflow import MixtureCDF  # noqa: E402
from gaussflow.ops import _kernels  # noqa: E402
from gaussflow.ops import mixture as module  # noqa: E402
from gaussflow.ops._root import polished_root  # noqa: E402
from gaussflow.ops._triton import _mixture  # noqa: E402
from gaussflow.ops.mixture import (  # noqa: E402
    Mixture,
    logistic_kernel,
    mixture_to_normal,
    normal_kernel,
    normal_to_mixture,
)

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the interpreter's, of numbers outside of a tile
D = 3
REFERENCE = {normal_kernel: module._normals, logistic_kernel: module._logistics}
kernels = pytest.mark.parametrize("kernel", REFERENCE)


@pytest.fixture(autouse=True)
def called(monkeypatch):
    monkeypatch.setattr(_kernels, "DEVICES", (DEVICE,))
    return filler(monkeypatch, _mixture)


def tables(components, seed=0):
    w, m, s = drawn(3, components, D, seed=seed)
    return [w.log_softmax(0), 2 * m, 0.5 * s - 0.5]


def wide(*shape, width=3.0):
    return points(*shape, width=width)


def forward(kernel):
    return lambda x, w, m, s: mixture_to_normal(x, Mixture(w, m, s, kernel))


def inverse(kernel):
    return lambda z, w, m, s: normal_to_mixture(z, Mixture(w, m, s, kernel))


def around(found, kernel):
    """The inverse near points found already, in double precision: its derivatives where these points are.

    In a gap between components a root moves far with the last digit of z, and everything else with the root.
    """

    def f(z, *tables):
        start = found.double()
        level = REFERENCE[kernel](start, *tables)[0]
        z = z + (level - z).detach()
        return polished_root(lambda x: REFERENCE[kernel](x, *tables), z, start, start, start, 0)

    return f


@kernels
@pytest.mark.parametrize("components", [1, 5])
def test_values_and_gradients(kernel, components, called):
    """Of more rows than a tile has, a tenth of them far out, on the lines that continue the map, too."""
    x = wide(133, D)
    x[::10] *= 100
    check_against(forward(kernel), REFERENCE[kernel], [x, *tables(components)])
    assert len(called) >= 4


@kernels
def test_single_precision_over_all_of_the_domain(kernel):
    """To 30 standard deviations, as what plain torch computes is checked."""
    x = torch.linspace(-checks.REACH, checks.REACH, 61, device=DEVICE)[:, None].expand(61, checks.SPREAD)
    inputs = (x, *(t.to(DEVICE) for t in checks.mixture_tables()))
    assert checks.values_error(checks.mixture_map(kernel), inputs) < 2 * checks.VALUES
    assert checks.gradients_error(checks.mixture_map(kernel), inputs) < checks.GRADIENTS


@kernels
def test_the_inverse_and_its_gradients(kernel, called):
    z = torch.cat([wide(60, D, width=1.5), wide(4, D, width=20.0)])
    inputs = [z, *tables(5)]
    x, log_slope = inverse(kernel)(*inputs)
    back, slope = REFERENCE[kernel](x.double(), *(t.double() for t in inputs[1:]))
    assert relative(back, z, 1.0) < 2e-6
    assert relative(log_slope, -slope, 1.0) < 2e-6
    called.clear()
    found = values_and_gradients(inverse(kernel), inputs)
    truth = values_and_gradients(around(x, kernel), inputs, torch.float64)
    assert len(called) >= 4
    for mine, exact in zip(found[2:], truth[2:], strict=True):
        assert relative(mine, exact) < 1e-5


@kernels
def test_round_trip_at_twenty_standard_deviations(kernel):
    x, knots = wide(64, D, width=checks.FAR), tables(4, seed=2)
    z, log_slope = forward(kernel)(x, *knots)
    back, log_inverse = inverse(kernel)(z, *knots)
    assert relative(back, x, 1.0) < checks.ROUND_TRIP
    assert relative(log_inverse, -log_slope.double(), 1.0) < 1e-4


def test_the_layer_takes_them(called):
    layer = MixtureCDF(D, 4, device=DEVICE)
    with torch.no_grad():
        z, ladj = layer(wide(9, D))
        assert len(called) == 2
        x, back = layer.inverse(z)
    assert len(called) == 4
    assert relative(x, wide(9, D), 1.0) < 1e-5
    torch.testing.assert_close(ladj, -back, rtol=1e-4, atol=1e-4)


@kernels
def test_gaps_and_extremes_stay_finite(kernel):
    """Components thousands of scales apart, scales e^±14 apart, weights of e^-40, points to the largest number."""
    w = torch.tensor([[0.0, -40.0, -1.0]] * 2).T.log_softmax(0).to(DEVICE)
    m = torch.tensor([[-1000.0, 0.0, 1000.0], [0.0, 1.0, 2.0]]).T.contiguous().to(DEVICE)
    s = torch.tensor([[0.0, 0.0, 0.0], [-14.0, 0.0, 14.0]]).T.contiguous().to(DEVICE)
    x = torch.tensor([0.0, 1e-30, 500.0, -999.0, 2e3, -1e9, 1e30, 3.4e38, -3.4e38, torch.inf, -torch.inf]).to(DEVICE)
    inputs = [x[:, None].expand(len(x), 2), w, m, s]
    for f in (forward(kernel), inverse(kernel)):
        found = values_and_gradients(f, inputs)
        assert all(bool(t.isfinite().all()) for t in found[:3])
        assert bool((found[0][[5, 0, 2, 7]].diff(dim=0) >= 0).all())


@kernels
def test_what_is_no_number_stays_where_it_is(kernel):
    x = wide(9, D)
    x[4, 2] = torch.nan
    for f in (forward(kernel), inverse(kernel)):
        for value in f(x, *tables(3)):
            assert torch.equal(value.isnan(), x.isnan())


def test_layouts():
    """Rows and tables that are transposed, gradients that are expanded, other shapes, and no rows."""
    for f in (forward(normal_kernel), inverse(normal_kernel)):
        inputs = [wide(12, D, width=1.0), *tables(2)]
        plain = values_and_gradients(f, inputs)
        turned = [t.T.contiguous().T for t in inputs]
        for mine, theirs in zip(values_and_gradients(f, turned), plain, strict=True):
            torch.testing.assert_close(mine, theirs)
        leaves = [t.requires_grad_() for t in inputs]
        z, log_slope = f(*leaves)
        found = torch.autograd.grad(z.sum() + log_slope.sum(-1).mean(), leaves)
        weights = torch.ones_like(z), torch.full_like(z, 1 / len(z))
        for mine, theirs in zip(found, torch.autograd.grad(f(*leaves), leaves, weights), strict=True):
            torch.testing.assert_close(mine, theirs)
        folded = f(inputs[0].view(2, 6, D), *inputs[1:])[0]
        torch.testing.assert_close(folded.view(12, D), z)
    torch.testing.assert_close(f(inputs[0][3], *inputs[1:])[0], z[3])
    for values in values_and_gradients(f, [wide(0, D), *tables(3)]):
        assert not values.any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_single(dtype):
    x, knots = wide(30, D).to(dtype), [t.to(dtype) for t in tables(3)]
    exact = module._normals(*(t.double() for t in (x, *knots)))
    for mine, truth in zip(forward(normal_kernel)(x, *knots), exact, strict=True):
        assert mine.dtype == dtype
        assert relative(mine, truth, 1.0) < torch.finfo(dtype).eps
    leaves = [t.requires_grad_() for t in (x, *tables(3))]
    for f in (forward(normal_kernel), inverse(normal_kernel)):
        values = f(*leaves)
        assert values[0].dtype == torch.float32
        gradients = torch.autograd.grad(sum(v.sum() for v in values), leaves)
        assert [t.dtype for t in gradients] == [t.dtype for t in leaves]


@kernels
def test_higher_derivatives_and_transformations_are_those_of_the_reference(kernel):
    check_transformed(forward(kernel), REFERENCE[kernel], [wide(4, D), *tables(3)], second=1e-3, room=1e-4)


def test_second_derivatives_of_the_inverse():
    inputs = [wide(4, D, width=1.0), *tables(2)]
    x = normal_to_mixture(inputs[0], Mixture(*inputs[1:]))[0]

    def second(f, tensors):
        leaves = [t.clone().requires_grad_() for t in tensors]
        first = torch.autograd.grad(f(*leaves)[0].square().sum(), leaves, create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in first), leaves)

    truth = second(around(x, normal_kernel), [t.double() for t in inputs])
    for mine, exact in zip(second(inverse(normal_kernel), inputs), truth, strict=True):
        assert relative(mine, exact) < 1e-3


def test_the_inverse_under_transformations_is_left_to_plain_torch():
    layer, z = MixtureCDF(D, 3, device=DEVICE), wide(4, D, width=1.0)
    slope = torch.func.jvp(lambda z: layer.inverse(z)[0], (z,), (torch.ones_like(z),))[1]
    assert relative(slope.detach().log().sum(-1), layer.inverse(z)[1].detach(), 1.0) < 1e-4


@pytest.mark.parametrize("f", [forward, inverse])
def test_it_compiles_whole(f, called):
    inputs = [wide(5, D), *tables(1)]
    compiled = torch.compile(f(normal_kernel), fullgraph=True, backend="aot_eager")
    plain = values_and_gradients(f(normal_kernel), inputs)
    for mine, theirs in zip(values_and_gradients(compiled, inputs), plain, strict=True):
        torch.testing.assert_close(mine, theirs)
    assert called


def test_operators_are_well_behaved():
    inputs = [wide(2, D), *tables(1)]
    leaves = [t.clone().requires_grad_() for t in inputs]
    torch.library.opcheck(_mixture.mixture, (*leaves, True, False))
    torch.library.opcheck(_mixture.mixture, (*leaves, False, True))
    torch.library.opcheck(_mixture.mixture_gradients, (*inputs, inputs[0], inputs[0], False, True, True))


def test_kernels_of_ones_own_go_by_plain_torch(called):
    def own(v):
        return logistic_kernel(v)

    mixture = Mixture(*tables(3), own)
    z = mixture_to_normal(wide(5, D), mixture)[0]
    normal_to_mixture(z, mixture)
    assert not called
