"""What all couplings share: the index set, the conditioner and what it sees, and the way the parts come together."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from typing_extensions import override

from gaussflow.nets.mlp import MLP
from gaussflow.ops.bounds import squash
from gaussflow.transforms._coupling_gradients import Squash, Unweave, Weave, plain_numbers, plain_training
from gaussflow.transforms._coupling_rows import through_rows
from gaussflow.transforms.base import Transform

IndexSet: TypeAlias = Sequence[int] | Sequence[bool] | Tensor
Conditioner: TypeAlias = nn.Module | Callable[[int, int], nn.Module]
Net: TypeAlias = Callable[[Tensor], Any]

RADIUS = 6.0
"""Data of a few standard deviations pass to the conditioner nearly as they are; at 6 they are halved."""


class Coupling(Transform):
    r"""The frame of a coupling: :math:`z_\Omega = x_\Omega`, and the other coordinates move as a conditioner says.

    The conditioner sees :math:`x_\Omega / (1 + |x_\Omega| / 6)`, which stays bounded wherever the data lie, followed by
    the context as it is; its P = ``numbers_each`` numbers for each coordinate that moves are cast to the dtype of ``x``
    and handed to `_move` and `_move_back`.
    """

    keeps = False  # whether of few rows it keeps what its conditioner held, and not what autograd keeps
    _kept: Tensor
    _moved: Tensor
    _order: Tensor

    def __init__(
        self,
        dim: int,
        mask: IndexSet,
        conditioner: Conditioner | None,
        context_dim: int,
        numbers_each: int,
        dtype: torch.dtype | None,
        device: torch.device | str | None,
    ) -> None:
        super().__init__(dim, context_dim)
        owner = type(self).__name__
        kept, moved = _split(owner, self.dim, mask)
        self.mask, self._numbers_each = tuple(kept), numbers_each
        order = torch.tensor(kept + moved).argsort()
        # Not in the state: the index set belongs to config(), where the constructor checks it.
        self._slices, self._kept_first = _slices(kept, moved), kept[0] == 0
        self.register_buffer("_kept", torch.tensor(kept, device=device), persistent=False)
        self.register_buffer("_moved", torch.tensor(moved, device=device), persistent=False)
        self.register_buffer("_order", order.to(device), persistent=False)
        self.sizes = len(kept) + self.context_dim, len(moved) * self._numbers_each
        if conditioner is None:
            conditioner = partial(MLP, zero_last=True, dtype=dtype, device=device)
        self.conditioner = _build(owner, conditioner, self.sizes).to(device=device, dtype=dtype)

    @abstractmethod
    def _move(self, x: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Map x (..., M), as numbers (P, ..., M) say, to z (..., M) and the log-slopes (..., M)."""

    @abstractmethod
    def _move_back(self, z: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Map z (..., M), as numbers (P, ..., M) say, to x (..., M) and the log-slopes of this direction (..., M)."""

    @override
    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._through(False, x, context)

    @override
    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._through(True, z, context)

    @override
    def config(self) -> dict[str, Any]:
        return {
            "dim": self.dim,
            "mask": list(self.mask),
            "conditioner": self.conditioner,
            "context_dim": self.context_dim,
        }

    def _through(self, back: bool, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        if (found := through_rows(self, back, x, context)) is not None:
            return found
        self._door(x, context, "z" if back else "x")
        return self._plainly(back, x, context, self.conditioner)

    def _plainly(self, back: bool, x: Tensor, context: Tensor | None, net: Net) -> tuple[Tensor, Tensor]:
        """All rows at once, with derivatives of any order; ``net`` says what the conditioner says."""
        kept, moved = self._cut(x)
        numbers = self._see(kept, context, net)
        moved, slopes = self._move_back(moved, numbers) if back else self._move(moved, numbers)
        return self._joined(kept, moved), slopes.sum(-1)

    def _move_rows(self, back: bool, x: Tensor, said: Tensor) -> tuple[Tensor, Tensor]:
        """Without gradients: x (n, M), as the answer (n, P M) says, to z (n, M) and the log-determinants (n,)."""
        value, slopes = (self._move_back if back else self._move)(x, self._numbers_of(said))
        return value, slopes.sum(-1)

    def _gradients_of_rows(
        self, back: bool, x: Tensor, said: Tensor, by_value: Tensor, by_ladj: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The gradients of x (n, M) and of the answer (n, P M), from those of z (n, M) and log-determinants (n,)."""
        with torch.enable_grad():
            leaves = x.detach().requires_grad_(), said.detach().requires_grad_()
            value, slopes = (self._move_back if back else self._move)(leaves[0], self._numbers_of(leaves[1]))
        grads = by_value, by_ladj[:, None].expand_as(slopes)
        by_x, by_said = torch.autograd.grad((value, slopes), leaves, grads)
        return by_x, by_said

    def _cut(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The coordinates that stay and those that move; where they lie regularly, as views."""
        if self._slices is None:
            return x.index_select(-1, self._kept), x.index_select(-1, self._moved)
        kept, moved = self._slices
        if kept.step == 1:  # both at once: backward they are joined, where two slices would each be padded and added
            parts = x.split([min(kept.stop, moved.stop), self.dim - min(kept.stop, moved.stop)], -1)
        else:
            parts = self._second_columns(x)
        return (parts[0], parts[1]) if self._kept_first else (parts[1], parts[0])

    def _second_columns(self, x: Tensor) -> tuple[Tensor, ...]:
        if plain_numbers(x):
            names = ("_kept", "_moved") if self._kept_first else ("_moved", "_kept")
            found: tuple[Tensor, ...] = Unweave.apply(x, *map(self.get_buffer, names))  # type: ignore[no-untyped-call]
            return found
        parts: tuple[Tensor, ...] = x.unflatten(-1, (self.dim // 2, 2)).unbind(-1)
        return parts

    def _joined(self, kept: Tensor, moved: Tensor) -> Tensor:
        """All coordinates in their places: picking single columns costs as much as a product, joining halves little."""
        if self._slices is None:
            return torch.cat([kept, moved], -1).index_select(-1, self._order)
        parts = [kept, moved] if self._kept_first else [moved, kept]
        if self._slices[0].step == 1:
            return torch.cat(parts, -1)
        if plain_numbers(*parts):
            woven: Tensor = Weave.apply(*parts)  # type: ignore[no-untyped-call]
            return woven
        return torch.stack(parts, -1).flatten(-2)

    def _join_into(self, kept: Tensor, moved: Tensor, out: Tensor) -> None:
        """Write all coordinates into their places in ``out`` (n, D), contiguous."""
        if self._slices is None:
            torch.index_select(torch.cat([kept, moved], -1), -1, self._order, out=out)
            return
        parts = [kept, moved] if self._kept_first else [moved, kept]
        if self._slices[0].step == 1:
            torch.cat(parts, -1, out=out)
        else:  # every second number: the pairs of a complex number are written in an eighth of the time of a stack
            torch.complex(*parts, out=torch.view_as_complex(out.view(len(out), -1, 2)))

    def _picked(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The coordinates that stay and those that move, without gradients: single columns as copies."""
        if self._slices is None or self._slices[0].step > 1:
            return x.index_select(-1, self._kept), x.index_select(-1, self._moved)
        kept, moved = self._slices
        return x[:, kept], x[:, moved]

    def _squashed(self, kept: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """What the conditioner sees of rows, without gradients, and by what the kept coordinates were divided."""
        divisor = torch.add(kept.new_ones(()), kept.abs(), alpha=1 / RADIUS)
        seen = kept / divisor
        return seen if context is None else torch.cat([seen, context], -1), divisor

    def _see(self, kept: Tensor, context: Tensor | None, net: Net) -> Tensor:
        """What the conditioner says of the kept coordinates (..., |Ω|): numbers (P, ..., M) in their dtype."""
        batch, m = kept.shape[:-1], self.dim - kept.shape[-1]
        seen: Tensor = Squash.apply(kept, RADIUS) if plain_training(kept) else squash(kept, RADIUS)  # type: ignore[no-untyped-call]
        if self.context_dim and context is not None:
            seen = torch.cat([seen, self._spread(context, batch).to(kept.dtype)], -1)
        said = net(seen)
        wanted = (*batch, self._numbers_each * m)
        if not isinstance(said, Tensor) or said.shape != wanted:
            got = f"shape {tuple(said.shape)}" if isinstance(said, Tensor) else type(said).__name__
            raise ValueError(
                f"{type(self).__name__} wants a conditioner that maps {tuple(seen.shape)} to {wanted}; got {got}. "
                f"It gives {self._numbers_each} numbers for each of the {m} coordinates that move."
            )
        # Under autocast a conditioner answers in half precision; the map itself keeps the precision of x.
        return self._numbers_of(said.to(kept.dtype))

    def _numbers_of(self, said: Tensor) -> Tensor:
        """The answer of the conditioner (..., P M) as numbers (P, ..., M)."""
        numbers: Tensor = said.unflatten(-1, (self._numbers_each, -1))
        return numbers.movedim(-2, 0)


def _split(owner: str, dim: int, mask: IndexSet) -> tuple[list[int], list[int]]:
    """The kept and the moved coordinates, each in rising order, from a bool mask (D,) or from indices of the kept."""
    if dim < 2:
        raise ValueError(
            f"{owner} wants dim of at least 2; got {dim}. With one coordinate nothing is left to condition on: "
            "use a transform of each coordinate by itself."
        )
    try:
        index = torch.as_tensor(mask if isinstance(mask, Tensor) else list(mask)).cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{owner} wants a bool mask ({dim},) or indices of coordinates; got {mask!r}.") from error
    if index.dtype == torch.bool and index.shape == (dim,):
        index = index.nonzero()[:, 0]
    if index.dim() != 1 or (index.numel() and (index.dtype == torch.bool or index.is_floating_point())):
        raise ValueError(
            f"{owner} wants a bool mask ({dim},) or integer indices of coordinates; "
            f"got {index.dtype} of shape {tuple(index.shape)}."
        )
    kept = sorted(int(i) for i in index.tolist())
    if len(set(kept)) < len(kept) or any(not 0 <= i < dim for i in kept):
        raise ValueError(f"{owner} wants different indices from 0 to {dim - 1}; got {kept}.")
    if not 0 < len(kept) < dim:
        raise ValueError(
            f"{owner} keeps some coordinates and moves the others, 0 < |Ω| < {dim}; got |Ω| = {len(kept)}."
        )
    return kept, sorted(set(range(dim)) - set(kept))


def _slices(kept: list[int], moved: list[int]) -> tuple[slice, slice] | None:
    """The two index sets as slices where they are two blocks, or every second coordinate each; otherwise None."""
    dim = len(kept) + len(moved)
    for step in (1, 2) if dim % 2 == 0 else (1,):
        found = [list(range(part[0], part[-1] + 1, step)) == part for part in (kept, moved)]
        if all(found):
            first, second = (slice(part[0], part[-1] + 1, step) for part in (kept, moved))
            return first, second
    return None


def _build(owner: str, conditioner: Conditioner, sizes: tuple[int, int]) -> nn.Module:
    """The conditioner itself, or what a factory makes for these sizes."""
    if isinstance(conditioner, nn.Module):
        return conditioner
    if not callable(conditioner):
        raise TypeError(
            f"{owner} wants a torch.nn.Module or a callable (in_dim, out_dim) -> Module as conditioner; "
            f"got {type(conditioner).__name__}."
        )
    made = conditioner(*sizes)
    if not isinstance(made, nn.Module):
        raise TypeError(f"{owner} wants a conditioner factory that makes a torch.nn.Module; got {type(made).__name__}.")
    return made
