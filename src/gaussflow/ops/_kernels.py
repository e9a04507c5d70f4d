"""Whether a call goes to a kernel on the device or to plain torch, decided here and nowhere else."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import TypeAlias

import torch
from torch import Tensor

from gaussflow.ops._recompute import is_transformed

Reference: TypeAlias = Callable[..., tuple[Tensor, ...]]

DEVICES = ("cuda",)
DTYPES = (torch.float32, torch.bfloat16, torch.float16)  # computed in float32; float64 needs the exact forms
OLDEST = (3, 7)
ASKED = os.environ.get("GAUSSFLOW_TRITON", "1") != "0"  # the way back to plain torch, should a kernel ever fail

REFERENCES: dict[str, Reference] = {}  # by operator: plain torch, whose derivatives are those of second order and on


def is_new_enough(found: str) -> bool:
    """Whether kernels are known to build with this version of Triton, the one that goes with torch 2.13 or later."""
    parts = found.split(".")[:2]
    return all(part.isdecimal() for part in parts) and tuple(int(part) for part in parts) >= OLDEST


def _installed() -> bool:
    try:
        return is_new_enough(version("triton"))
    except PackageNotFoundError:
        return False


INSTALLED = _installed()  # found, not imported


def suits(device: str, dtypes: Iterable[torch.dtype], *, installed: bool, transformed: bool) -> bool:
    """Whether kernels take tensors on such a device and of such dtypes.

    They have first derivatives, and backward: what `torch.func` or forward-mode differentiation transforms stays with
    plain torch, which has all of them.
    """
    return installed and not transformed and device in DEVICES and all(dtype in DTYPES for dtype in dtypes)


def take_kernel(*tensors: Tensor) -> bool:
    """Whether kernels take these tensors, all of one device, here and now."""
    device = tensors[0].device
    if not (ASKED and INSTALLED) or device.type not in DEVICES:
        return False
    alike = all(t.device == device for t in tensors)
    return alike and suits(device.type, (t.dtype for t in tensors), installed=True, transformed=is_transformed(tensors))


def fits_columns(x: Tensor, *tables: Tensor) -> bool:
    """Whether tables (K, ...) of one shape are shared by the leading axes of x (...), or each number has its own."""
    shape = tables[0].shape[1:]
    if not all(t.shape == tables[0].shape for t in tables):
        return False
    return len(shape) <= x.dim() and x.shape[x.dim() - len(shape) :] == shape
