"""A budget for building modules: what a file claims is held against what the file holds, before memory is taken."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

FREE = 2**22  # elements that any constructor may take for its constants and temporaries, 32 MiB of float64


class Budget:
    """Within the block, this thread makes no huge tensor and registers so many modules, tensors and elements at most.

    A constructor may register a tensor twice, hold small constants that no file keeps, and hold modules without
    tensors: the limits have room for that, and none for a number that is wrong by orders of magnitude.

    Parameters
    ----------
    tensors, elements
        Number of tensors that the file holds, and of their elements in all.
    """

    def __init__(self, tensors: int, elements: int) -> None:
        self.tensors, self.elements, self.modules = 4 * tensors + 4096, 4 * elements + FREE, 16 * tensors + 16384
        self._guard = _Guard(self.elements)
        self._thread = threading.get_ident()

    def _spend_tensor(self, module: nn.Module, name: str, tensor: Tensor | None) -> None:
        if tensor is not None and threading.get_ident() == self._thread:
            self.tensors, self.elements = self.tensors - 1, self.elements - tensor.numel()
            self._check()

    def _spend_module(self, module: nn.Module, name: str, child: nn.Module | None) -> None:
        if threading.get_ident() == self._thread:
            self.modules -= 1
            self._check()

    def _check(self) -> None:
        if min(self.tensors, self.elements, self.modules) < 0:
            raise ValueError("it claims far more modules or numbers than the file holds")

    def __enter__(self) -> Self:
        self._handles = [
            register_module_parameter_registration_hook(self._spend_tensor),
            register_module_buffer_registration_hook(self._spend_tensor),
            register_module_module_registration_hook(self._spend_module),
        ]
        self._guard.__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        self._guard.__exit__(*error)  # type: ignore[no-untyped-call]
        for handle in self._handles:
            handle.remove()


class _Guard(TorchDispatchMode):
    """Refuses an operation whose result would be larger than a limit, before it is carried out.

    The result has at most as many elements as the product of all sizes and integers that go in; only where that
    product is large is the operation first run on the meta device, which holds shapes and no memory.
    """

    def __init__(self, limit: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.limit = limit

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if not func._schema.is_mutable and _bound(args, kwargs) > FREE and self._size(func, args, kwargs) > self.limit:
            raise ValueError("it claims far more numbers than the file holds")
        return func(*args, **kwargs)

    @staticmethod
    def _size(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        args, kwargs = tree_map_only(Tensor, lambda t: torch.empty_like(t, device="meta"), (args, kwargs))
        if any(argument.name == "device" for argument in func._schema.arguments):
            kwargs = kwargs | {"device": torch.device("meta")}
        if "generator" in kwargs:
            kwargs = kwargs | {"generator": None}
        out = func(*args, **kwargs)
        return sum(t.numel() for t in tree_leaves(out) if isinstance(t, Tensor))


def _bound(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    bound = 1
    for leaf in tree_leaves((args, kwargs)):
        if isinstance(leaf, (Tensor, int)):
            bound *= max(1, leaf.numel() if isinstance(leaf, Tensor) else abs(leaf))
    return bound
