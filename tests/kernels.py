"""What the tests of the kernels share: where they run, and how near single precision must be to double."""

import importlib.util
import os

import pytest
import torch

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cuda" if torch.cuda.is_available() and not INTERPRETED else "cpu"
VALUES, GRADIENTS = 1e-6, 1e-5


def skip_unless_they_run():
    """Kernels run on a GPU, or in a process that was started with TRITON_INTERPRET=1, as tests/test_triton.py does."""
    if importlib.util.find_spec("triton") is None:
        pytest.skip("Triton is not installed: pip install triton", allow_module_level=True)
    if not INTERPRETED and DEVICE == "cpu":
        pytest.skip("no GPU here; tests/test_triton.py runs it in Triton's interpreter", allow_module_level=True)


def drawn(count, *shape, seed=0):
    """So many tensors of standard normal numbers, on the device of the tests."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator).to(DEVICE) for _ in range(count)]


def points(*shape, width=1.0, seed=1):
    return width * drawn(1, *shape, seed=seed)[0]


def relative(a, b, floor=None):
    """The largest error of a against b, in double precision, relative to b and what is typical of it."""
    b = b.double()
    floor = b.square().mean().sqrt() if floor is None else floor
    return float(((a.double() - b).abs() / (b.abs() + floor + 1e-30)).max().nan_to_num(torch.inf)) if b.numel() else 0.0


def values_and_gradients(f, inputs, dtype=None, seed=3):
    """All values of f, and the gradients by all inputs of a random sum of them."""
    leaves = [t.detach().to(dtype or t.dtype).clone().requires_grad_() for t in inputs]
    values = f(*leaves)
    generator = torch.Generator().manual_seed(seed)
    weights = [torch.randn(v.shape, generator=generator).to(v) for v in values]
    gradients = torch.autograd.grad(sum((w * v).sum() for w, v in zip(weights, values, strict=True)), leaves)
    return [*(v.detach() for v in values), *gradients]


def check_against(f, reference, inputs):
    """Values and gradients in single precision are near to those of the reference in double precision."""
    found, truth = values_and_gradients(f, inputs), values_and_gradients(reference, inputs, torch.float64)
    values = len(found) - len(inputs)
    for i, (mine, exact) in enumerate(zip(found, truth, strict=True)):
        assert mine.dtype == torch.float32
        assert mine.shape == exact.shape
        error = relative(mine, exact, 1.0 if i < values else None)
        assert error < (VALUES if i < values else GRADIENTS), (i, error)


def ways_of_differentiating(f, inputs):
    """By name, what goes by plain torch: many gradients at once, and all that `torch.func` and forward mode give."""
    leaves = [t.detach().clone().requires_grad_() for t in inputs]
    x, *tables = inputs
    z = f(*leaves)[0]
    directions = torch.eye(z.numel(), device=z.device).view(-1, *z.shape)
    ones = tuple(torch.ones_like(t) for t in inputs)
    func, last = torch.func, len(inputs) - 1
    twice = [torch.stack([t, 2 * t]) for t in tables or (x,)]
    yield "rows at once", torch.autograd.grad(z, leaves, directions, is_grads_batched=True, retain_graph=True)
    mapped = func.vmap(lambda row: torch.autograd.grad(z, leaves, row, retain_graph=True))
    yield "mapped rows", mapped(directions)
    yield "jacrev", func.jacrev(lambda *t: f(*t)[-1], argnums=tuple({0, last}))(*inputs)
    yield "jacfwd", func.jacfwd(lambda *t: f(*t)[-1], argnums=tuple(range(last + 1)))(*inputs)
    yield "jvp", func.jvp(f, tuple(inputs), ones)[1]
    yield "vmap", func.vmap(lambda *t: f(x, *t) if tables else f(*t))(*twice)
    with torch.autograd.forward_ad.dual_level():
        duals = [torch.autograd.forward_ad.make_dual(t, one) for t, one in zip(inputs, ones, strict=True)]
        tangents = [torch.autograd.forward_ad.unpack_dual(v).tangent.clone() for v in f(*duals)]
    yield "dual", tangents


def second_derivatives(f, inputs):
    leaves = [t.detach().clone().requires_grad_() for t in inputs]
    first = torch.autograd.grad(sum(v.square().sum() for v in f(*leaves)), leaves, create_graph=True)
    return torch.autograd.grad(sum(g.square().sum() for g in first), leaves)


def check_transformed(f, reference, inputs, second=1e-4, room=1e-5):
    """Second derivatives and all other ways to differentiate are those of the reference."""
    exact = [t.double() for t in inputs]
    for mine, theirs in zip(second_derivatives(f, inputs), second_derivatives(reference, exact), strict=True):
        assert relative(mine, theirs) < second
    pairs = zip(ways_of_differentiating(f, inputs), ways_of_differentiating(reference, inputs), strict=True)
    for (name, mine), (_, theirs) in pairs:
        assert float(theirs[0].abs().max()) > 0, name
        for a, b in zip(mine, theirs, strict=True):
            assert relative(a, b) < room, name


def check_compiled(f, inputs, room=1e-5):
    """Compiled whole, values and gradients are the same, and so is a transformation inside, by plain torch."""
    compiled = torch.compile(f, fullgraph=True, backend="aot_eager")
    for mine, theirs in zip(values_and_gradients(compiled, inputs), values_and_gradients(f, inputs), strict=True):
        torch.testing.assert_close(mine, theirs)
    ones = torch.ones_like(inputs[0])

    def tangent(x):
        return torch.func.jvp(lambda x: f(x, *inputs[1:]), (x,), (ones,))[1]

    found = torch.compile(tangent, fullgraph=True, backend="aot_eager")(inputs[0])
    for mine, theirs in zip(found, tangent(inputs[0]), strict=True):
        assert relative(mine, theirs) < room


def filler(monkeypatch, module):
    """What the kernels of a module write to is NaN before, and counted; a part of the rows has several tiles."""
    made = []

    def filled(like, shape, dtype=torch.float32):
        made.append(shape)
        return torch.full(shape, torch.nan, dtype=dtype, device=like.device)

    monkeypatch.setattr(module, "new", filled)
    if parts := getattr(module, "parts_of", None):
        monkeypatch.setattr(module, "parts_of", lambda rows, columns: min(2, parts(rows, columns)))
    return made
