"""The contract off the beaten data: NaN, far points, any latent, no jumps; and at the doors."""

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from cases import C, D, make
from gaussflow import Transform
from states import F32, F64, close, every_case, every_state, in_state, largest_jump, log_density, points, table


@every_case
@every_state
@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_a_nan_is_seen_in_its_row_only(name: str, state: str, direction: str) -> None:
    f, (x, context) = in_state(name, state), points()
    g = getattr(f, direction)
    clean = g(x, context)
    for column in range(D):
        dirty = x.clone()
        dirty[3, column] = torch.nan
        z, ladj = g(dirty, context)
        assert z[3].isnan().any()
        others = torch.arange(len(x)) != 3
        torch.testing.assert_close(z[others], clean[0][others], atol=0, rtol=0)
        torch.testing.assert_close(ladj[others], clean[1][others], atol=0, rtol=0)


@every_case
@every_state
@pytest.mark.parametrize(("sigma", "dtype", "tolerance"), [(20.0, F64, 1e-10), (20.0, F32, 1e-3), (1e6, F64, 1e-9)])
def test_far_out_finite_and_back(name: str, state: str, sigma: float, dtype: torch.dtype, tolerance: float) -> None:
    f, (x, context) = in_state(name, state, dtype), points(sigma, 50, dtype)
    z, ladj = f(x, context)
    assert torch.isfinite(z).all()
    assert torch.isfinite(ladj).all()
    back, ladj_back = f.inverse(z, context)
    assert torch.isfinite(ladj_back).all()
    close(back, x, tolerance)


@every_case
@every_state
@pytest.mark.parametrize("dtype", [F32, F64])
def test_every_latent_has_data(name: str, state: str, dtype: torch.dtype) -> None:
    f, (_, context) = in_state(name, state, dtype), points(n=50, dtype=dtype)
    for scale in (1.0, 6.0, 100.0):
        x, ladj = f.inverse(scale * torch.randn(50, D, dtype=dtype), context)
        assert torch.isfinite(x).all()
        assert torch.isfinite(ladj).all()


def density_along(f: Transform, low: float, high: float, line: int) -> float:
    g = torch.Generator().manual_seed(line)
    data, context = table()
    start, direction = data[line], torch.randn(D, generator=g, dtype=F64)
    with torch.no_grad():
        return largest_jump(
            lambda t: log_density(f, start + t[:, None] * direction, context[line].expand(len(t), C)), low, high
        )


@every_case
@pytest.mark.parametrize("state", ["fitted", "moved"])
def test_smooth_means_no_jump_in_x(name: str, state: str) -> None:
    f = in_state(name, state)
    if f.smooth:
        assert max(density_along(f, -6, 6, line) for line in range(3)) < 1e-3
    else:
        assert not list(f.parameters()), "what is not smooth holds buffers only"


@every_case
def test_smooth_means_no_jump_in_the_parameters(name: str) -> None:
    f, rows = in_state(name, "moved"), points()
    start = {k: p.detach() for k, p in f.named_parameters()}
    direction = {k: torch.randn_like(p) for k, p in start.items()}

    def along(t: Tensor) -> Tensor:
        def at(t: Tensor) -> Tensor:
            z, ladj = functional_call(f, {k: p + t * direction[k] for k, p in start.items()}, rows)
            return (ladj - z.square().sum(-1) / 2).sum()

        with torch.no_grad():
            return torch.vmap(at)(t)

    if start:
        assert largest_jump(along, -0.1, 0.1, points=129) < 1e-3


def test_the_jump_finder_finds_jumps() -> None:
    assert largest_jump(torch.sin, -6, 6) < 1e-3
    assert largest_jump(lambda t: t.sin() + 0.1 * (t > 0.777), -6, 6) > 0.09


@every_case
def test_doors(name: str) -> None:
    f, (x, context) = make(name), points()
    inner = f
    while hasattr(inner, "transform"):
        inner = inner.transform
    owner = type(inner).__name__
    for g in (f.forward, f.inverse):
        with pytest.raises(ValueError, match=rf"\(\.\.\., {D}\); got \w of shape \(7, {D + 1}\)"):
            g(torch.cat([x, x[:, :1]], -1), context)
        with pytest.raises(ValueError, match=r"got \w of shape \(\)"):
            g(torch.tensor(1.0, dtype=F64), context)
        with pytest.raises(TypeError, match=r"floating numbers; got \w of torch.int64"):
            g(x.long(), context)
        with pytest.raises(TypeError, match=r"torch.Tensor; got \w of list"):
            g(x.tolist(), context)
        if any(True for _ in f._numbers()):
            with pytest.raises(TypeError, match=r"holds torch.float64 numbers; got \w of torch.float32"):
                g(x.float(), context)
        if f.context_dim:
            with pytest.raises(ValueError, match=rf"needs context of shape \(\.\.\., {C}\); got none"):
                g(x)
            with pytest.raises(ValueError, match=rf"\(\.\.\., {C}\); got context of shape \(7, {C + 1}\)"):
                g(x, torch.cat([context, context[:, :1]], -1))
    with pytest.raises((TypeError, ValueError), match=owner):
        f(x[:, :-1], context)


@every_case
def test_fit_door(name: str) -> None:
    x, context = table(20)
    with pytest.raises(ValueError, match=rf"rows of {D} coordinates; got rows of {D + 1}"):
        make(name).fit(torch.cat([x, x[:, :1]], -1), context)
    for bad in (x.long(), x.tolist()):
        with pytest.raises(TypeError, match="Rows"):
            make(name).fit(bad)
    x[3, 2] = torch.nan
    with pytest.raises(ValueError, match="row 3, column 2"):
        make(name).fit(x, context)
