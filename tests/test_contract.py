"""The contract of a transform over every case and state: shapes, densities, fits, copies, gradients, dtypes."""

import copy
import io
import math
import pickle
from pathlib import Path

import pytest
import torch

from cases import make
from gaussflow import Flow, Transform, load, save
from states import (
    F32,
    F64,
    STATES,
    close,
    every_case,
    every_state,
    in_state,
    modules_of_cases,
    move,
    points,
    public_transforms,
    rebuilt,
    same,
    table,
    unlike_loss,
)


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
@every_state
@pytest.mark.parametrize("dtype", [F32, F64])
def test_a_file_gives_the_same_numbers(name: str, state: str, dtype: torch.dtype, tmp_path: Path) -> None:
    f, (x, context) = in_state(name, state, dtype), points(dtype=dtype)
    save(Flow(f), tmp_path / "flow")
    again = load(tmp_path / "flow")
    torch.testing.assert_close(again(x, context), Flow(f)(x, context), atol=0, rtol=0)


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
