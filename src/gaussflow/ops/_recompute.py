"""Row by row functions of many rows, a cache full at a time, forward and backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.autograd import forward_ad
from typing_extensions import override

Rowwise: TypeAlias = Callable[..., tuple[Tensor, Tensor]]

KEPT = 16  # parts of rows up to which what they computed is kept: some hundred MB, and no row is computed twice


def in_rows(f: Rowwise, step: int, x: Tensor, *tables: Tensor) -> tuple[Tensor, Tensor]:
    r"""Two values of every number of x (N, D), ``step`` rows at a time, from tables (K, D) that all rows share.

    A temporary of all rows at once would leave the cache and be page-faulted at every call. Where gradients are taken
    through many rows, nothing but the inputs is kept: backward, the values of ``step`` rows are computed again and
    differentiated at once, which takes about the time of keeping all and a thirtieth of the memory. Higher derivatives
    are those of ``f``. Under ``torch.func``, forward-mode derivatives and ``torch.compile``, and for few rows, ``f`` is
    called as it is.

    Parameters
    ----------
    f
        Takes x (n, D) and the tables; returns two tensors (n, D), row by row.
    step
        Rows at a time.
    x
        Points (N, D).
    tables
        Tensors that are the same for all rows.

    Returns
    -------
    values
        Two tensors (N, D).

    Examples
    --------
    >>> import torch
    >>> from gaussflow.ops._recompute import in_rows
    >>> a, b = in_rows(lambda x, t: (x * t, x + t), 2, torch.randn(7, 3), torch.randn(3))
    >>> a.shape, b.shape
    (torch.Size([7, 3]), torch.Size([7, 3]))
    """
    if is_traced((x, *tables)) or len(x) <= 2 * step:  # in this order: a trace must not look at the number of rows
        return f(x, *tables)
    if torch.is_grad_enabled() and any(t.requires_grad for t in (x, *tables)):
        if len(x) <= KEPT * step:
            firsts, seconds = zip(*(f(part, *tables) for part in x.split(step)), strict=True)
            return torch.cat(firsts), torch.cat(seconds)
        found: tuple[Tensor, Tensor] = _Recomputed.apply(f, step, x, *tables)  # type: ignore[no-untyped-call]
        return found
    return in_steps(lambda part: f(part, *tables), step, x)


def in_steps(f: Callable[[Tensor], tuple[Tensor, Tensor]], step: int, x: Tensor) -> tuple[Tensor, Tensor]:
    """Two values of every number of x (N, D), ``step`` rows at a time."""
    first, second = torch.empty_like(x), torch.empty_like(x)
    for part, a, b in zip(x.split(step), first.split(step), second.split(step), strict=True):
        for target, value in zip((a, b), f(part), strict=True):
            target.copy_(value)
    return first, second


def one_in_steps(f: Callable[[Tensor], Tensor], step: int, x: Tensor) -> Tensor:
    """One value of every number of x (N, D), ``step`` rows at a time."""
    found = x.new_empty(x.shape)
    for part, target in zip(x.split(step), found.split(step), strict=True):
        target.copy_(f(part))
    return found


def is_traced(tensors: tuple[Tensor, ...]) -> bool:
    """Whether something else than plain evaluation and backward differentiation is under way."""
    return torch.compiler.is_compiling() or is_transformed(tensors)


def is_transformed(tensors: tuple[Tensor, ...]) -> bool:
    """Whether `torch.func`, many gradients at once or forward-mode differentiation see these tensors."""
    if torch._C._are_functorch_transforms_active():
        return True
    if torch.compiler.is_compiling():  # a trace of nothing but these is plain
        return False
    if any(torch._C._functorch.is_legacy_batchedtensor(t) for t in tensors):  # many gradients at once
        return True
    return any(forward_ad.unpack_dual(t).tangent is not None for t in tensors)


class _Recomputed(torch.autograd.Function):
    @staticmethod
    @override
    def forward(ctx: Any, f: Rowwise, step: int, x: Tensor, *tables: Tensor) -> tuple[Tensor, Tensor]:
        ctx.f, ctx.step = f, step
        ctx.save_for_backward(x, *tables)
        return in_steps(lambda part: f(part, *tables), step, x)

    @staticmethod
    @override
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        inputs, wanted = ctx.saved_tensors, ctx.needs_input_grad[2:]
        if torch.is_grad_enabled() or is_traced(grads):  # all rows at once
            return None, None, *gradients_by_itself(ctx.f, inputs, wanted, grads)
        return None, None, *_gradients_in_parts(ctx.f, ctx.step, inputs, wanted, grads)


def gradients_by_itself(
    f: Callable[..., tuple[Tensor, ...]],
    inputs: tuple[Tensor, ...],
    wanted: tuple[bool, ...],
    grads: tuple[Tensor, ...],
) -> tuple[Tensor | None, ...]:
    """Gradients by way of ``f``: those that gradients can be taken of, and many at once."""
    create = torch.is_grad_enabled()
    with torch.enable_grad():
        again = tuple(t.view_as(t) for t in inputs)  # so that one tensor in two places counts in each
        values = f(*again)
    return gradients(values, again, wanted, grads, create_graph=create)


def gradients(
    values: tuple[Tensor, ...], inputs: tuple[Tensor, ...], wanted: tuple[bool, ...], grads: tuple[Tensor, ...],
    create_graph: bool = False,
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """Gradients by the inputs that are wanted, None for the others."""
    asked = [t for t, want in zip(inputs, wanted, strict=True) if want]
    found = iter(torch.autograd.grad(values, asked, grads, create_graph=create_graph, materialize_grads=True))
    return tuple(next(found) if want else None for want in wanted)


def _gradients_in_parts(
    f: Rowwise, step: int, inputs: tuple[Tensor, ...], wanted: tuple[bool, ...], grads: tuple[Tensor, ...]
) -> tuple[Tensor | None, ...]:
    """The same, ``step`` rows at a time: those of the rows side by side, those of the tables added."""
    x, *tables = inputs
    by_x = torch.empty_like(x) if wanted[0] else None
    by_tables = [torch.zeros_like(t) if want else None for t, want in zip(tables, wanted[1:], strict=True)]
    start = 0
    for part, *behind in zip(x.split(step), *(g.split(step) for g in grads), strict=True):
        with torch.enable_grad():
            leaves = tuple(t.detach().requires_grad_(w) for t, w in zip((part, *tables), wanted, strict=True))
            values = f(*leaves)
        row, *sums = gradients(values, leaves, wanted, tuple(behind))
        if by_x is not None and row is not None:
            by_x[start : start + len(part)] = row
        for total, more in zip(by_tables, sums, strict=True):
            if total is not None and more is not None:
                total += more
        start += len(part)
    return by_x, *by_tables
