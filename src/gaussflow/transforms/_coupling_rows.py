"""Rows through a coupling and back, with gradients written out, in pieces that stay in the caches.

A temporary of all rows is page-faulted anew in every layer, and autograd keeps a dozen of them for each. Here a layer
keeps its input, which is there anyway, and of few rows what its conditioner held; of many that is computed again.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from typing_extensions import override

from gaussflow.nets._mlp_rows import add_gradients, answer, answer_kept, answer_only, parameters_of
from gaussflow.nets.mlp import MLP
from gaussflow.ops._recompute import gradients_by_itself, is_traced

if TYPE_CHECKING:
    from gaussflow.transforms._coupling import Coupling

PIECE = 2**18  # numbers of the widest temporary of a piece: with fewer, calls take longer than caches save
LARGE = 2**19  # the same on the way back, which has more temporaries anyway
FEWEST = 256  # rows: with fewer, what Python does for a layer takes longer than what it saves
KEPT = 2**13  # rows up to which hidden layers are kept for the way back
_PLAIN = (Tensor, nn.Parameter)


def through_rows(coupling: Coupling, back: bool, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor] | None:
    """x (N, D) through a coupling, forward or back, or None where the plain way is to be taken.

    That is so for few rows, for a conditioner that is no plain `MLP`, and wherever something else than values and
    their first derivatives is asked for.
    """
    if torch.compiler.is_compiling() or type(x) not in _PLAIN or x.dim() != 2 or len(x) < FEWEST:
        return None
    net = coupling.conditioner
    parameters = parameters_of(net, net.linear, net.act) if type(net) is MLP else None
    if parameters is None or not _fits(coupling, x, context, parameters):
        return None
    given = () if context is None or not coupling.context_dim else (context,)
    every = (x, *given, *parameters)
    if is_traced(every) or torch.is_autocast_enabled("cpu"):
        return None
    if torch.is_grad_enabled() and any(t.requires_grad for t in every):
        keep = len(x) <= KEPT
        if keep and not coupling.keeps:
            return None
        found: tuple[Tensor, Tensor] = _Through.apply(coupling, back, keep, *every)  # type: ignore[no-untyped-call]
        return found
    return _values(coupling, back, every, None)


def _fits(coupling: Coupling, x: Tensor, context: Tensor | None, parameters: list[Tensor]) -> bool:
    """Whether all is as the door and the conditioner want it: plain numbers of one kind on a CPU, in their shapes."""
    if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64) or x.shape[1] != coupling.dim:
        return False
    if coupling.context_dim and (
        context is None
        or type(context) not in _PLAIN
        or context.dtype != x.dtype
        or context.device != x.device
        or context.shape != (len(x), coupling.context_dim)
    ):
        return False
    net = _net(coupling)
    if (net.in_dim, net.out_dim) != coupling.sizes:
        return False
    return all(type(p) in _PLAIN and p.dtype == x.dtype and p.device == x.device for p in parameters)


def _net(coupling: Coupling) -> MLP:
    return cast(MLP, coupling.conditioner)


def _values(
    coupling: Coupling, back: bool, every: tuple[Tensor, ...], states: list[Tensor] | None
) -> tuple[Tensor, Tensor]:
    """z (N, D) and the log-determinants (N,); what the conditioner held in each piece is added to ``states``."""
    x, given, parameters = _apart(coupling, every)
    act = _net(coupling).act
    z, ladj = x.new_empty(x.shape), x.new_empty(len(x))
    for at in _pieces(x, parameters, PIECE if states is None else LARGE):
        kept, moved = coupling._picked(x[at])
        seen, _ = coupling._squashed(kept, given[at] if given is not None else None)
        if states is None:
            said = answer_only(act, parameters, seen)
        else:
            said, hidden = answer_kept(act, parameters, seen)
            states += [said, *hidden]
        value, total = coupling._move_rows(back, moved, said)
        coupling._join_into(kept, value, z[at])
        ladj[at] = total
    return z, ladj


def _apart(coupling: Coupling, every: tuple[Tensor, ...]) -> tuple[Tensor, Tensor | None, tuple[Tensor, ...]]:
    """x, the context if it is used, and the parameters of the conditioner."""
    return (every[0], every[1], every[2:]) if coupling.context_dim else (every[0], None, every[1:])


def _pieces(x: Tensor, parameters: tuple[Tensor, ...], size: int) -> Iterator[slice]:
    step = max(1, size // max(x.shape[1], *(len(p) for p in parameters)))
    for start in range(0, len(x), step):
        yield slice(start, start + step)


class _Through(torch.autograd.Function):
    """A coupling of rows; inputs are x, the context if it is used, and the parameters of the conditioner."""

    @staticmethod
    @override
    def forward(ctx: Any, coupling: Coupling, back: bool, keep: bool, *every: Tensor) -> tuple[Tensor, Tensor]:
        states: list[Tensor] | None = [] if keep else None
        found = _values(coupling, back, every, states)
        ctx.coupling, ctx.back, ctx.inputs = coupling, back, len(every)
        ctx.save_for_backward(*every, *(states or ()))
        return found

    @staticmethod
    @override
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        saved, wanted = ctx.saved_tensors, ctx.needs_input_grad[3:]
        every, states = saved[: ctx.inputs], saved[ctx.inputs :]
        if torch.is_grad_enabled() or is_traced(grads):
            plain = partial(_plainly, ctx.coupling, ctx.back)
            return None, None, None, *gradients_by_itself(plain, every, wanted, grads)
        return None, None, None, *_gradients(ctx.coupling, ctx.back, every, states, wanted, *grads)


def _plainly(coupling: Coupling, back: bool, *every: Tensor) -> tuple[Tensor, Tensor]:
    x, given, parameters = _apart(coupling, every)
    return coupling._plainly(back, x, given, partial(answer, _net(coupling).act, parameters))


def _gradients(
    coupling: Coupling,
    back: bool,
    every: tuple[Tensor, ...],
    states: tuple[Tensor, ...],
    wanted: tuple[bool, ...],
    by_z: Tensor,
    by_ladj: Tensor,
) -> tuple[Tensor | None, ...]:
    """Gradients by all inputs, None for those that are not wanted: rows side by side, parameters added up."""
    x, given, parameters = _apart(coupling, every)
    act = _net(coupling).act
    found = [t.new_empty(t.shape) if want else None for t, want in zip(every, wanted, strict=True)]
    by_x, by_given, totals = found[0], found[1] if given is not None else None, found[len(found) - len(parameters) :]
    for total in totals:
        if total is not None:
            total.zero_()
    each = len(parameters) - 1  # what the conditioner says, and each hidden layer before and after its activation
    for i, at in enumerate(_pieces(x, parameters, LARGE)):
        kept, moved = coupling._picked(x[at])
        seen, divisor = coupling._squashed(kept, given[at] if given is not None else None)
        if states:
            said, *hidden = states[i * each : (i + 1) * each]
        else:
            said, hidden = answer_kept(act, parameters, seen)
        by_kept, by_value = coupling._picked(by_z[at])
        by_moved, by_said = coupling._gradients_of_rows(back, moved, said, by_value, by_ladj[at])
        inner = by_x is not None or by_given is not None
        by_seen = add_gradients(act, parameters, seen, hidden, by_said, totals, wanted=inner)
        if by_seen is None:
            continue
        if by_given is not None:
            by_given[at] = by_seen[:, kept.shape[1] :]
        if by_x is not None:  # the slope of the squashing is one over the square of its divisor
            by_kept = torch.addcdiv(by_kept, by_seen[:, : kept.shape[1]], divisor.mul_(divisor))
            coupling._join_into(by_kept, by_moved, by_x[at])
    return tuple(found)
