"""The spline coupling: its formula, its bounds, its tails."""

import pytest
import torch
from torch import nn

from gaussflow import MLP, SplineCoupling

F64 = torch.float64


class Fixed(nn.Module):
    """A conditioner that says the same numbers (P M,) of every row."""

    def __init__(self, numbers):
        super().__init__()
        self.numbers = nn.Parameter(numbers)

    def forward(self, x):
        return self.numbers.expand(*x.shape[:-1], -1)


def coupling_of(numbers, knots=4):
    """Coordinate 0 stays, coordinate 1 moves through the spline of these 3 K − 1 numbers."""
    return SplineCoupling(2, [0], Fixed(numbers), knots=knots, dtype=F64)


def knots_of(numbers, knots=4):
    """The documented formula, number by number."""
    u, v, r = numbers[: knots - 1], numbers[knots - 1 : 2 * knots - 2], numbers[2 * knots - 2 : -1]
    w = 8 * torch.softmax(2 * torch.tanh(u / 2), 0)
    a = 2 * torch.tanh(v / 2)
    h = w * a.exp()
    means = torch.stack([a[0], *((a[k - 1] + a[k]) / 2 for k in range(1, knots - 1)), a[-1]])
    xs, zs = (torch.cat([s.new_zeros(1), s.cumsum(0)]) - s.sum() / 2 for s in (w, h))
    return xs, zs + numbers[-1], (means + torch.tanh(r)).exp()


@pytest.mark.parametrize("scale", [0.3, 3.0])
def test_passes_through_its_knots_with_its_slopes(scale):
    numbers = scale * torch.randn(11, dtype=F64)
    coupling, (xs, zs, slopes) = coupling_of(numbers), knots_of(numbers)
    z, ladj = coupling(torch.stack([torch.randn(4, dtype=F64), xs], -1))
    torch.testing.assert_close(z[:, 1], zs, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(ladj, slopes.log(), rtol=1e-9, atol=1e-9)


def test_beyond_the_knots_it_is_affine_and_free_to_scale_and_shift():
    numbers = torch.randn(11, dtype=F64)
    coupling, (xs, zs, slopes) = coupling_of(numbers), knots_of(numbers)
    far = torch.tensor([5.0, 20.0, 1e4], dtype=F64)
    for end, x in ((-1, xs[-1] + far), (0, xs[0] - far)):
        z, ladj = coupling(torch.stack([torch.zeros(3, dtype=F64), x], -1))
        torch.testing.assert_close(z[:, 1], zs[end] + slopes[end] * (x - xs[end]), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(ladj, slopes[end].log().expand(3), rtol=1e-12, atol=1e-12)
    assert (slopes.log().abs() > 0.01).all()


def test_slope_is_continuous_at_the_knots():
    numbers = 2 * torch.randn(11, dtype=F64)
    coupling, (xs, _, _) = coupling_of(numbers), knots_of(numbers)
    sides = [coupling(torch.stack([torch.zeros(4, dtype=F64), xs + e], -1))[1] for e in (-1e-9, 1e-9)]
    torch.testing.assert_close(*sides, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("size", [1e1, 1e4, 1e30])
def test_no_number_of_the_conditioner_makes_a_nan(size, dtype):
    class Wild(nn.Module):
        def forward(self, x):
            numbers = (size * torch.randn(*x.shape[:-1], 2 * 23, dtype=x.dtype).sign()).requires_grad_()
            kept.append(numbers)
            return numbers * shifts

    shifts = torch.ones(23, 2, dtype=dtype)
    shifts[-1] = 1 / size  # the shift is not bounded: it says where the data are
    shifts = shifts.flatten()
    kept = []
    coupling = SplineCoupling(4, [0, 1], Wild())
    x = (torch.randn(200, 4, dtype=dtype) * 6).requires_grad_()
    for call in (coupling, coupling.inverse):
        value, ladj = call(x)
        (value.sum() + ladj.sum()).backward()
        assert all(t.isfinite().all() for t in (value, ladj, x.grad, kept[-1].grad))
        assert ladj.abs().max() < 2 * 6  # each log-slope lies between those of the steepest and the flattest bin


@pytest.mark.parametrize("knots", [2, 3, 16])
def test_any_number_of_knots_round_trips(knots):
    coupling = SplineCoupling(6, [1, 5], MLP, knots=knots, dtype=F64).double()
    with torch.no_grad():
        coupling.conditioner.linear[-1].weight.mul_(5)
    for sigma in (1, 5, 20):
        x = sigma * torch.randn(300, 6, dtype=F64)
        z, ladj = coupling(x)
        back, minus = coupling.inverse(z)
        torch.testing.assert_close(back, x, rtol=1e-11, atol=1e-11)
        torch.testing.assert_close(minus, -ladj, rtol=0, atol=1e-10)


def test_affine_coupling_is_a_special_case():
    s, t = torch.tensor(0.7, dtype=F64), torch.tensor(-3.0, dtype=F64)
    numbers = torch.cat([torch.zeros(3), (2 * torch.atanh(s / 2)).expand(3), torch.zeros(4), t[None]]).double()
    x = 10 * torch.randn(50, 2, dtype=F64)
    z, ladj = coupling_of(numbers)(x)
    torch.testing.assert_close(z[:, 1], s.exp() * x[:, 1] + t, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(ladj, s.expand(50), rtol=1e-12, atol=1e-12)


def test_doors():
    with pytest.raises(ValueError, match="knots of at least 2; got 1"):
        SplineCoupling(4, [0], knots=1)
    with pytest.raises(TypeError, match="integer for knots"):
        SplineCoupling(4, [0], knots=4.0)
    assert SplineCoupling(4, [0], knots=5).config()["knots"] == 5
