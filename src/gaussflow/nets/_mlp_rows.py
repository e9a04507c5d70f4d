"""A multilayer perceptron of some rows and its gradients, written out: what is kept, and where it is added, is chosen.

For plain numbers on a CPU. The rows of a piece stay in the caches, nothing is written that is not needed, and gradients
of the parameters are added where the pieces before have left theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules import module as torch_module

NARROW, THIN = 48, 16  # columns of a product below which its transpose is quicker, up to five times, and if copied back
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def parameters_of(net: nn.Module, layers: Iterable[nn.Module], act: nn.Module) -> list[Tensor] | None:
    """The weights and biases of an `MLP` in turn, or None where something more than that is done in it."""
    if _every_module_is_watched() or not _is_bare(net) or not _is_bare(act):
        return None
    found: list[Tensor] = []
    for layer in layers:
        if type(layer) is not nn.Linear or layer.bias is None or not _is_bare(layer):
            return None
        found += (layer.weight, layer.bias)
    return found


def _is_bare(module: nn.Module) -> bool:
    """Whether nothing is called before, after or in place of the module's own method."""
    held = vars(module)
    return "forward" not in held and not any(held[name] for name in _HOOKS)


def _every_module_is_watched() -> bool:
    return bool(
        torch_module._global_forward_hooks
        or torch_module._global_forward_pre_hooks
        or torch_module._global_backward_hooks
        or torch_module._global_backward_pre_hooks
    )


def answer(act: nn.Module, parameters: Sequence[Tensor], x: Tensor) -> Tensor:
    """What the network says of x (n, in), for plain functions of any order of derivative."""
    for weight, bias in _pairs(parameters)[:-1]:
        x = act(functional.linear(x, weight, bias))
    return functional.linear(x, *parameters[-2:])


def answer_only(act: nn.Module, parameters: Sequence[Tensor], x: Tensor) -> Tensor:
    """The same, without gradients, in as little memory as there can be."""
    for weight, bias in _pairs(parameters)[:-1]:
        x = torch.addmm(bias, x, weight.mT)
        x = functional.silu(x, inplace=True) if type(act) is nn.SiLU else act(x)
    return torch.addmm(parameters[-1], x, parameters[-2].mT)


def answer_kept(act: nn.Module, parameters: Sequence[Tensor], x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The same, with what the hidden layers hold before and after the activation, in turn."""
    kept = []
    for weight, bias in _pairs(parameters)[:-1]:
        before = torch.addmm(bias, x, weight.mT)
        x = act(before)
        kept += [before, x]
    return torch.addmm(parameters[-1], x, parameters[-2].mT), kept


def add_gradients(
    act: nn.Module,
    parameters: Sequence[Tensor],
    x: Tensor,
    kept: Sequence[Tensor],
    grad: Tensor,
    totals: Sequence[Tensor | None],
    *,
    wanted: bool,
) -> Tensor | None:
    """Add the gradients of the parameters to ``totals``; that of x (n, in) where it is wanted.

    ``grad`` (n, out) is that of the answer, ``kept`` as `answer_kept` gave it.
    """
    inputs, weights = [x, *kept[1::2]], parameters[::2]
    for i in reversed(range(len(weights))):
        by_weight, by_bias = totals[2 * i], totals[2 * i + 1]
        if by_weight is not None:
            _add_product(by_weight, grad, inputs[i])
        if by_bias is not None:
            by_bias += grad.sum(0)
        if i == 0 and not wanted:
            return None
        grad = _product(grad, weights[i])
        if i:
            grad = _before(act, kept[2 * i - 2], grad)
    return grad


def _add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """Add the product of a transposed (n, i) and b (n, j) to ``total`` (i, j), the other way round where j is small."""
    if b.shape[1] < NARROW:
        total += torch.mm(b.mT, a).mT
    else:
        total.addmm_(a.mT, b)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """The product of a (n, i) and b (i, j), where j is small the other way round."""
    return torch.mm(b.mT, a.mT).mT.contiguous() if b.shape[1] < THIN else torch.mm(a, b)


def _before(act: nn.Module, before: Tensor, grad: Tensor) -> Tensor:
    """The gradient of what goes into the activation; ``grad``, of what comes out, may be written over."""
    if type(act) is nn.SiLU:
        found: Tensor = torch.ops.aten.silu_backward.grad_input(grad, before, grad_input=grad)
        return found
    with torch.enable_grad():
        leaf = before.detach().requires_grad_()
        after = act(leaf)
    return torch.autograd.grad(after, leaf, grad)[0]


def _pairs(parameters: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    return list(zip(parameters[::2], parameters[1::2], strict=True))
