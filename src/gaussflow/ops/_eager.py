"""Whether code may look at values and go another way because of them."""

from __future__ import annotations

import torch


def plain_eager() -> bool:
    """Whether tensors are plain here: no gradients are taken, nothing is compiled, nor mapped by `torch.func`."""
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        return False
    return not torch._C._are_functorch_transforms_active()
