"""The contract of a transform, every promise over every case and state: shapes, densities, gradients, torch's tools."""

import copy
import io
import math
import pickle

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from cases import CASES, C, D, make
from gaussflow import Transform
from states import (
    STATES,
    in_state,
    largest_jump,
    log_density,
    modules_of_cases,
    move,
    public_transforms,
    rebuilt,
    table,
    unlike_loss,
)

F64, F32 = torch.float64, torch.float32
every_case = pytest.mark.parametrize("name", CASES)
every_state = pytest.mark.parametrize("state", STATES)


def points(sigma: float = 1.0, n: int = 7, dtype: torch.dtype = F64) -> tuple[Tensor, Tensor]:
    """Rows like the table's, ``sigma`` times as far from its mean."""
    x, context = table(n, seed=3)
    mean = table()[0].mean(0)
    return (mean + sigma * (x - mean)).to(dtype), context.to(dtype)


def close(actual: Tensor, wanted: Tensor, tolerance: float) -> None:
    """Equal up to ``tolerance`` of the larger of 1 and the largest number of the row."""
    scale = wanted.abs().amax(-1, keepdim=True).clamp(min=1) if wanted.numel() else 1.0
    assert actual.shape == wanted.shape
    assert actual.dtype == wanted.dtype
    torch.testing.assert_close(actual / scale, wanted / scale, atol=tolerance, rtol=0)


def same(one: Transform, other: Transform) -> None:
    """Two transforms give identical outputs."""
    x, context = points()
    for method in ("forward", "inverse"):
        for a, b in zip(getattr(one, method)(x, context), getattr(other, method)(x, context), strict=True):
            torch.testing.assert_close(a, b, atol=0, rtol=0)


def numbers(transform: Transform) -> dict[str, tuple[object, ...]]:
    """What a fit must leave: names, shapes, dtypes, devices and whether gradients are wanted."""
    tensors = (*transform.named_parameters(), *transform.named_buffers())
    return {k: (tuple(t.shape), t.dtype, t.device, t.requires_grad, type(t)) for k, t in tensors}


def test_every_public_transform_has_a_case() -> None:
    missing = sorted(kind.__name__ for kind in public_transforms() - modules_of_cases())
    assert not missing, f"add a line to tests/cases.py for {missing}"


@every_case
@every_state
@pytest.mark.parametrize("batch", [(), (7,), (2, 3), (0,)], ids=str)
def test_shapes_and_round_trip(name: str, state: str, batch: tuple[int, ...]) -> None:
    f = in_state(name, state)
    x, context = (t[: math.prod(batch)].reshape(*batch, t.shape[-1]) for t in points())
    z, ladj = f(x, context)
    assert z.shape == x.shape
    assert ladj.shape == x.shape[:-1]
    back, ladj_back = f.inverse(z, context)
    close(back, x, 1e-11)
    torch.testing.assert_close(ladj_back, -ladj, atol=1e-10, rtol=1e-10)


@every_case
@every_state
@pytest.mark.parametrize("sigma", [1.0, 5.0, 20.0])
def test_log_determinant_is_that_of_the_jacobian(name: str, state: str, sigma: float) -> None:
    f = in_state(name, state)
    for x, c in zip(*points(sigma), strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda x, c=c: f(x, c)[0], x)
        close(f(x, c)[1][None], torch.linalg.slogdet(jacobian).logabsdet[None], 1e-12)


@every_case
@every_state
def test_inverse_log_determinant_is_that_of_its_jacobian(name: str, state: str) -> None:
    f = in_state(name, state)
    x, context = points()
    for z, c in zip(f(x, context)[0].detach(), context, strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda z, c=c: f.inverse(z, c)[0], z)
        close(f.inverse(z, c)[1][None], torch.linalg.slogdet(jacobian).logabsdet[None], 1e-11)


@every_case
def test_context_is_accepted_by_all_and_needed_by_some(name: str) -> None:
    f, (x, context) = in_state(name, "moved"), points()
    z, _ = f(x, context)
    if f.context_dim:
        assert not torch.equal(z, f(x, context + 1)[0])
    else:
        assert torch.equal(z, f(x)[0])


@every_case
@pytest.mark.parametrize("dtype", [F32, F64])
def test_fit_returns_self_and_changes_numbers_only(name: str, dtype: torch.dtype) -> None:
    f = make(name, dtype)
    before = numbers(f)
    identities = {k: id(t) for k, t in f.named_parameters()}
    assert f.fit(*table(dtype=dtype)) is f
    assert numbers(f) == before
    assert {k: id(t) for k, t in f.named_parameters()} == identities
    assert {t.dtype for t in f._numbers()} <= {dtype}


@every_case
def test_fit_leaves_the_data_alone(name: str) -> None:
    x, context = table()
    make(name).fit(x, context)
    assert torch.equal(x, table()[0])
    assert torch.equal(context, table()[1])


@every_case
def test_fit_is_deterministic_and_leaves_the_random_state_alone(name: str) -> None:
    f, g = make(name), make(name)
    f.fit(*table())
    torch.manual_seed(7)
    before = torch.get_rng_state()
    g.fit(*table())
    assert torch.equal(before, torch.get_rng_state())
    same(f, g)


@every_case
def test_nothing_grows_with_the_rows(name: str) -> None:
    few, many = (len(pickle.dumps(make(name).fit(*table(n)))) for n in (50, 500))
    assert abs(few - many) < 200


@every_case
@every_state
def test_state_dict_into_a_fresh_object(name: str, state: str) -> None:
    f = in_state(name, state)
    fresh = rebuilt(f)
    fresh.load_state_dict(f.state_dict(), strict=True)
    same(f, fresh)


@every_case
@every_state
def test_copies_and_pickles_are_the_same(name: str, state: str) -> None:
    f = in_state(name, state)
    buffer = io.BytesIO()
    torch.save(f, buffer)
    buffer.seek(0)
    for other in (copy.deepcopy(f), pickle.loads(pickle.dumps(f)), torch.load(buffer, weights_only=False)):
        same(f, other)
        for mine, its in zip(f._numbers(), other._numbers(), strict=True):
            assert mine.data_ptr() != its.data_ptr()


@every_case
def test_every_parameter_gets_a_gradient(name: str) -> None:
    seen: dict[str, bool] = {}
    for state in STATES:
        f = in_state(name, state)
        if not list(f.parameters()):
            continue
        unlike_loss(f, *points()).sum().backward()
        for key, p in f.named_parameters():
            assert p.grad is not None, f"{key} has no gradient in state {state}"
            assert torch.isfinite(p.grad).all(), f"{key} has a gradient that is not finite in state {state}"
            seen[key] = seen.get(key, False) or bool((p.grad.abs() > 1e-6).any())  # not rounding alone
    assert all(seen.values()), f"always zero: {[key for key, used in seen.items() if not used]}"


@every_case
@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("sigma", [0.0, 20.0, 1e6])
def test_gradients_are_finite_far_out(name: str, dtype: torch.dtype, sigma: float) -> None:
    f, (x, context) = in_state(name, "moved", dtype), points(sigma, dtype=dtype)
    for g in (f, lambda z, c: f.inverse(z, c)):
        x = x.detach().requires_grad_()
        z, ladj = g(x, context)
        (z.sum() + ladj.sum()).backward()
        assert torch.isfinite(x.grad).all()
        assert all(torch.isfinite(p.grad).all() for p in f.parameters())
        f.zero_grad()


@every_case
def test_training_moves_a_born_transform(name: str) -> None:
    f, rows = make(name), table()
    if f.smooth and any(True for _ in f.parameters()):
        before = unlike_loss(f, *rows).mean()
        assert unlike_loss(move(f, *rows, steps=30), *rows).mean() < before


@every_case
@pytest.mark.parametrize("dtype", [F32, F64])
def test_dtype_is_kept(name: str, dtype: torch.dtype) -> None:
    f, (x, context) = in_state(name, "moved", dtype), points(dtype=dtype)
    assert {t.dtype for t in (*f(x, context), *f.inverse(x, context))} == {dtype}


@every_case
@every_state
def test_float32_agrees_with_float64(name: str, state: str) -> None:
    f, (x, context) = in_state(name, state, F32), points(dtype=F32)
    z, ladj = f(x, context)
    exact_z, exact_ladj = copy.deepcopy(f).double()(x.double(), context.double())
    close(z.double(), exact_z, 1e-4)
    close(ladj.double()[:, None], exact_ladj[:, None], 1e-4)


@every_case
def test_half_moves_with_the_module(name: str) -> None:
    f = make(name, F32).to(torch.bfloat16)
    assert {t.dtype for t in f._numbers()} <= {torch.bfloat16}


# Torch's own tools.


@every_case
@pytest.mark.filterwarnings("ignore")
def test_compiles_whole(name: str) -> None:
    torch._dynamo.reset()
    f, (x, context) = in_state(name, "moved"), points()
    for g in (f.forward, f.inverse):
        compiled = torch.compile(g, fullgraph=True, backend="eager")
        for a, b in zip(compiled(x, context), g(x, context), strict=True):
            torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-12)


@every_case
@pytest.mark.filterwarnings("ignore")
def test_exports(name: str) -> None:
    f, (x, context) = in_state(name, "moved"), points()
    batch = torch.export.Dim("batch", min=2)
    program = torch.export.export(f, (x, context), dynamic_shapes=({0: batch}, {0: batch}), strict=False)
    other, other_context = points(n=12)
    for a, b in zip(program.module()(other, other_context), f(other, other_context), strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-12)


@every_case
def test_vmap(name: str) -> None:
    f, (x, context) = in_state(name, "moved"), points()
    for g in (f.forward, f.inverse):
        for a, b in zip(torch.vmap(g)(x, context), g(x, context), strict=True):
            torch.testing.assert_close(a, b, atol=1e-11, rtol=1e-11)


@every_case
@pytest.mark.filterwarnings("ignore")
def test_jacobians_of_torch_func(name: str) -> None:
    f, (x, context) = in_state(name, "moved"), points()
    one = lambda x, c: f(x, c)[0]  # noqa: E731
    reverse = torch.vmap(torch.func.jacrev(one))(x, context)
    forward = torch.vmap(torch.func.jacfwd(one))(x, context)
    torch.testing.assert_close(reverse, forward, atol=1e-10, rtol=1e-10)
    close(torch.linalg.slogdet(reverse).logabsdet[:, None], f(x, context)[1][:, None], 1e-11)


@every_case
def test_gradients_per_sample(name: str) -> None:
    f, (x, context) = in_state(name, "moved"), points()
    parameters = dict(f.named_parameters())

    def loss(parameters: dict[str, Tensor], x: Tensor, c: Tensor) -> Tensor:
        return unlike_loss(lambda x, c: functional_call(f, parameters, (x, c)), x, c)

    each = torch.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(parameters, x, context)
    if parameters:
        unlike_loss(f, x, context).sum().backward()
    for key, p in f.named_parameters():
        torch.testing.assert_close(each[key].sum(0), p.grad, atol=1e-9, rtol=1e-9)


# Off the beaten data.


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


# The doors.


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
