"""Kernels: who takes them, that they build for a GPU that is not there, and their tests in a process of their own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gaussflow.ops import _kernels
from gaussflow.ops._kernels import fits_columns, is_new_enough, suits, take_kernel

HERE = Path(__file__).parent
FILES = sorted(str(path) for path in HERE.glob("test_triton_*.py"))
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
GPU = 90  # compute capability 9.0
SINGLE = torch.float32


@pytest.mark.parametrize(
    ("device", "dtypes", "installed", "transformed", "expected"),
    [
        ("cuda", [SINGLE], True, False, True),
        ("cuda", [torch.bfloat16, SINGLE], True, False, True),
        ("cuda", [torch.float16], True, False, True),
        ("cpu", [SINGLE], True, False, False),
        ("mps", [SINGLE], True, False, False),
        ("cuda", [torch.float64], True, False, False),
        ("cuda", [SINGLE, torch.float64], True, False, False),
        ("cuda", [SINGLE], False, False, False),
        ("cuda", [SINGLE], True, True, False),
    ],
)
def test_who_takes_kernels(device, dtypes, installed, transformed, expected):
    assert suits(device, dtypes, installed=installed, transformed=transformed) == expected


@pytest.mark.parametrize(
    ("found", "taken"),
    [("3.7.1", True), ("3.10.0", True), ("4.0", True), ("3.6.9", False), ("2.1", False), ("x", False)],
)
def test_triton_is_taken_from_the_version_on_that_was_tried(found, taken):
    assert is_new_enough(found) == taken


def test_a_cpu_never_takes_them_and_no_triton_is_looked_for():
    x = torch.zeros(3)
    assert not take_kernel(x, x)
    code = (
        "import sys, gaussflow; from gaussflow.ops._spline import rq_spline; import torch; x = torch.linspace(0, 1, 4)"
    )
    code += "; rq_spline(x[:, None], *[x[:, None]] * 3); print([m for m in sys.modules if m.split('.')[0] == 'triton'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_decides_here_and_now(monkeypatch):
    monkeypatch.setattr(_kernels, "DEVICES", ("cpu",))
    monkeypatch.setattr(_kernels, "INSTALLED", True)
    x = torch.zeros(3)
    seen = []
    assert take_kernel(x)
    assert not take_kernel(x, x.double())
    assert not take_kernel(x, x.to("meta"))
    torch.func.vmap(lambda row: seen.append(take_kernel(row)) or row)(x[None])
    torch.func.jvp(lambda row: seen.append(take_kernel(row)) or row, (x,), (x,))
    with torch.autograd.forward_ad.dual_level():
        seen.append(take_kernel(x, torch.autograd.forward_ad.make_dual(x, x)))
    assert seen == [False] * 3
    monkeypatch.setattr(_kernels, "ASKED", False)
    assert not take_kernel(x)


@pytest.mark.parametrize(
    ("shape", "table", "fits"),
    [((7, 5), (9, 5), True), ((2, 7, 5), (9, 7, 5), True), ((7, 5), (9, 7, 5), True), ((5,), (9, 5), True),
     ((7,), (9,), True), ((7, 5), (9, 7, 1), False), ((7, 5), (9, 7), False), ((5,), (9, 7, 5), False)],
)  # fmt: skip
def test_layouts_that_kernels_take(shape, table, fits):
    assert fits_columns(torch.zeros(shape), torch.zeros(table), torch.zeros(table)) == fits


@pytest.mark.skipif(INTERPRETED, reason="already in the process of its own")
def test_kernels_in_the_interpreter():
    """All files in one process: each would load Triton and torch's compiler for itself."""
    pytest.importorskip("triton", reason="Triton is not installed: ./run kernels installs it")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *FILES]
    done = subprocess.run(
        command,
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        cwd=HERE.parent,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    assert re.search(r"\d passed", done.stdout)
    assert "skipped" not in done.stdout.splitlines()[-1]


def kernels():
    """Every kernel with constants that choose each of its ways."""
    from gaussflow.ops._triton import _block_kernels as block
    from gaussflow.ops._triton import _hadamard_kernels as hadamard
    from gaussflow.ops._triton import _mixture_kernels as mixture
    from gaussflow.ops._triton import _normal_kernels as normal
    from gaussflow.ops._triton import _spline_kernels as spline

    yield block.block_kernel, {"K": 9, "STEPS": 0, "BUCKET": 7}
    yield block.block_inverse_kernel, {"K": 48, "STEPS": 6, "BUCKET": 7}
    yield hadamard.hadamard_kernel, {"P": 1024, "BITS": 10, "ROWS": 4}
    yield normal.log_cdf_kernel, {}
    yield normal.log_cdf_gradient_kernel, {}
    yield normal.quantile_kernel, {}
    yield normal.quantile_gradient_kernel, {}

    for inverse, knots, steps in ((False, 9, 0), (True, 48, 6)):
        fixed = {"K": knots, "STEPS": steps, "BUCKET": 7, "INVERSE": inverse}
        yield spline.map_kernel, fixed
        yield spline.gradient_kernel, fixed | {"PADDED": 64 if inverse else 16, "SINGLE": inverse, "TABLES": True}
    for logistic in (False, True):
        fixed = {"K": 8, "BUCKET": 7, "LOGISTIC": logistic, "INVERSE": logistic}
        yield mixture.mixture_kernel, fixed
        yield mixture.mixture_gradient_kernel, fixed | {"PADDED": 8, "TABLES": True}


NUMBERS = {"largest", "factor"}
POINTERS = {
    "v", "xs", "zs", "slopes", "weights", "means", "scales", "value", "log_slope", "a", "b", "by_v", "by_tables", "z",
    "by_z", "p", "q", "by_p", "by_q", "x", "matrix", "loc", "scale", "sums",
}  # fmt: skip
BLOCKS = {"BLOCK_R": 32, "BLOCK_C": 16, "BLOCK": 1024}


@pytest.mark.skipif(INTERPRETED, reason="the interpreter compiles nothing")
def test_kernels_build_for_a_gpu_and_address_in_64_bits(monkeypatch, tmp_path):
    """No GPU is needed to compile. An offset in 32 bits would wrap around in tensors of 2^31 numbers."""
    triton = pytest.importorskip("triton", reason="Triton is not installed: ./run kernels installs it")
    from triton.backends.compiler import GPUTarget

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    built = 0
    for kernel, fixed in kernels():
        names = kernel.fn.arg_names
        fixed = fixed | {name: size for name, size in BLOCKS.items() if name in names}
        kinds = {n: "*fp32" if n in POINTERS else "fp32" if n in NUMBERS else "i32" for n in names}
        source = triton.compiler.ASTSource(
            kernel.fn,
            kinds | dict.fromkeys(fixed, "constexpr"),
            {(names.index(n),): value for n, value in fixed.items()},
        )
        made = triton.compile(source, target=GPUTarget("cuda", GPU, 32))
        assert len(made.asm["cubin"]) > 1000
        offsets = [line for line in made.asm["ttir"].splitlines() if "tt.addptr" in line]
        assert len(offsets) >= sum(n in POINTERS for n in names)
        assert not [line for line in offsets if "xi32>" in line]
        built += 1
    assert built == 15


class NoDriver:
    """What a compiler asks of a driver, where there is none."""

    def get_current_target(self):
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", GPU, 32)


def loss(x, *tables):
    from gaussflow.ops._triton._mixture import mixture
    from gaussflow.ops._triton._spline import spline

    z, log_slope = spline(x, *tables, False)
    x, log_inverse = mixture(z, *tables, False, True)
    return ((x.square() + log_slope + log_inverse).sum(),)


@pytest.mark.skipif(INTERPRETED, reason="the interpreter's operators are opaque")
def test_compilers_see_the_kernels_and_what_they_write(monkeypatch):
    """In a trace of values and gradients stand the kernels themselves, and no input is taken to be written to."""
    triton = pytest.importorskip("triton", reason="Triton is not installed: ./run kernels installs it")
    from torch._functorch.aot_autograd import aot_export_module
    from torch._subclasses.fake_tensor import FakeTensorMode

    class Model(torch.nn.Module):
        def forward(self, *tensors):
            return loss(*tensors)

    monkeypatch.setattr(triton.runtime.driver, "_active", NoDriver())
    with FakeTensorMode():
        tensors = [torch.empty(n, 5, requires_grad=True) for n in (7, 9, 9, 9)]
        traced, _ = aot_export_module(Model(), tuple(tensors), trace_joint=True, output_loss_index=0)
    assert sum("triton_kernel_wrapper" in str(node.target) for node in traced.graph.nodes) == 4
