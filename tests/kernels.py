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


def relative(a, b, floor=None):
    """The largest error of a against b, in double precision, relative to b and what is typical of it."""
    b = b.double()
    floor = b.square().mean().sqrt() if floor is None else floor
    return float(((a.double() - b).abs() / (b.abs() + floor + 1e-30)).max().nan_to_num(torch.inf)) if b.numel() else 0.0


def values_and_gradients(f, inputs, dtype=None, seed=3):
    """Both values of f, and the gradients by all inputs of a random sum of them."""
    leaves = [t.detach().to(dtype or t.dtype).clone().requires_grad_() for t in inputs]
    values = f(*leaves)
    generator = torch.Generator().manual_seed(seed)
    weights = [torch.randn(v.shape, generator=generator).to(v) for v in values]
    gradients = torch.autograd.grad(sum((w * v).sum() for w, v in zip(weights, values, strict=True)), leaves)
    return [*(v.detach() for v in values), *gradients]


def check_against(f, reference, inputs):
    """Values and gradients in single precision are near to those of the reference in double precision."""
    found, truth = values_and_gradients(f, inputs), values_and_gradients(reference, inputs, torch.float64)
    for i, (mine, exact) in enumerate(zip(found, truth, strict=True)):
        assert mine.dtype == torch.float32
        assert mine.shape == exact.shape
        error = relative(mine, exact, 1.0 if i < 2 else None)
        assert error < (VALUES if i < 2 else GRADIENTS), (i, error)
