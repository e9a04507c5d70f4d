"""A transform of some coordinates given others, at one place or, with the same numbers, at many places of a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor
from typing_extensions import override

from gaussflow.rows import Data, as_rows
from gaussflow.transforms.base import Transform

ABSENT = -1  # a coordinate beyond the border of an image: it counts as zero
FIT_PLACES = 2**18  # rows times places that a fit sees

Move = Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor]]


class Given(Transform):
    r"""The closed-form coupling: a transform of some coordinates given others, at each of P places of a row.

    .. math:: z_{M_p} = f(x_{M_p};\, x_{G_p}, c), \quad p = 1 \dots P, \qquad \text{ladj} = \sum_p \text{ladj}_f

    The transform f and its numbers are the same at every place, as the statistics of small patches are the same all
    over an image. What a place is given, :math:`x_{G_p}`, may itself move at an earlier place; hence forward all
    places are moved at once, and backward one after the other, those at once that do not need each other. Coordinates
    in no :math:`M_p` stay as they are.

    `fit` fits f on the rows of all places together: on a sample of at most :math:`2^{18}` of them.

    Parameters
    ----------
    transform
        The transform f of m coordinates, whose context is what is given, g coordinates, and then the context of this
        transform. Its other uses share its numbers.
    dim
        Number of coordinates D of a row.
    moved
        For each place the m coordinates that move, P lists of integers; no coordinate moves twice.
    given
        For each place the g coordinates that are given; -1 stands for one that is always zero, beyond a border.

    Attributes
    ----------
    inner
        The transform f.
    context_dim
        That of f less g.

    Raises
    ------
    TypeError, ValueError
        For another thing than a transform, for indices that do not fit it, and for a place given what moves at it or
        at a later one.

    Notes
    -----
    Shapes: ``x (..., D)``, ``z (..., D)``, ``ladj (...)``.

    Source: Dinh, Krueger and Bengio (2015) for the coupling; Rosenblatt (1952) for one law after the other.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import Given, MixtureTransport
    >>> x = torch.randn(300, 1) + 0.1 * torch.randn(300, 4)
    >>> couple = Given(MixtureTransport(1, 4, context_dim=1), 4, moved=[[1], [2], [3]], given=[[0], [1], [2]]).fit(x)
    >>> z, ladj = couple(x)
    >>> z.shape, ladj.shape, couple.inverse(z)[0].shape
    (torch.Size([300, 4]), torch.Size([300]), torch.Size([300, 4]))
    """

    def __init__(
        self, transform: Transform, dim: int, moved: Sequence[Sequence[int]], given: Sequence[Sequence[int]]
    ) -> None:
        if not isinstance(transform, Transform):
            raise TypeError(f"Given moves coordinates by a transform; got {type(transform).__name__}.")
        moved, given = ([[int(i) for i in place] for place in places] for places in (moved, given))
        _check_places(dim, transform.dim, moved, given)
        g = len(given[0])
        if transform.context_dim < g:
            raise ValueError(
                f"Given wants a transform with context for the {g} coordinates given; "
                f"that of {type(transform).__name__} has {transform.context_dim}."
            )
        super().__init__(dim, transform.context_dim - g)
        self.inner = transform
        self.moved, self.given = moved, given
        device = next((t.device for t in transform._numbers()), None)
        waves = _waves(moved, given)
        self._wave_count = len(waves)
        # Not in the state: the indices belong to config(), where the constructor checks them.
        for i, places in enumerate([list(range(len(moved))), *waves]):
            for name, table in (("moved", moved), ("given", given)):
                index = torch.tensor([table[p] for p in places], dtype=torch.long, device=device)
                index = torch.where(index == ABSENT, self.dim, index)
                self.register_buffer(f"_{name}_{i}", index, persistent=False)

    @property
    def smooth(self) -> bool:  # type: ignore[override]
        """Whether the transform inside is smooth."""
        return self.inner.smooth

    @override
    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self._door(x, context)
        return self._move(self.inner, x, context, 0)

    @override
    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self._door(z, context, "z")
        return self._move_back(self.inner.inverse, z, context)

    @override
    def draw(self, z: Tensor, context: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        self._door(z, context, "z")

        def drawn(z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
            return self.inner.draw(z, context, generator), z[..., 0]

        return self._move_back(drawn, z, context)[0]

    @override
    @torch.no_grad()
    def fit(self, rows: Data, context: Tensor | None = None) -> Self:
        self.inner.fit(*self.patches(rows, context))
        return self

    @torch.no_grad()
    def patches(self, rows: Data, context: Tensor | None = None, seed: int = 0) -> tuple[Tensor, Tensor | None]:
        """What the transform inside is fitted on: the rows of all places, and their context.

        Parameters
        ----------
        rows
            Data: a tensor (N, D), chunks, or a `Rows`.
        context
            Context (N, C) that goes with a tensor of rows, or None.
        seed
            Decides the rows that are sampled.

        Returns
        -------
        x, context
            Of n sampled rows: (n P, m), and (n P, g + C) or None where both are 0.
        """
        places = len(self.moved)
        x, c = as_rows(self._rows(rows, context)).sample(max(1, FIT_PLACES // places), seed)
        moved, given = self._look(x, c if self.context_dim else None, 0)
        return moved.reshape(-1, moved.shape[-1]), None if given is None else given.reshape(-1, given.shape[-1])

    @override
    def config(self) -> dict[str, Any]:
        return {"transform": self.inner, "dim": self.dim, "moved": self.moved, "given": self.given}

    @override
    def _touched(self) -> frozenset[int]:
        return frozenset(i for place in self.moved for i in place)

    def _look(self, x: Tensor, context: Tensor | None, wave: int) -> tuple[Tensor, Tensor | None]:
        """What moves at the places of a wave (..., P, m), and what it is given (..., P, g + C), None for nothing."""
        moved, given = self.get_buffer(f"_moved_{wave}"), self.get_buffer(f"_given_{wave}")
        padded = torch.cat([x, torch.zeros_like(x[..., :1])], -1)
        here = padded.index_select(-1, moved.flatten()).unflatten(-1, moved.shape)
        if not self.inner.context_dim:
            return here, None
        parts = [padded.index_select(-1, given.flatten()).reshape(*x.shape[:-1], *given.shape)]
        if self.context_dim and context is not None:
            spread = self._spread(context, x.shape[:-1]).to(x.dtype)
            parts.append(spread.unsqueeze(-2).expand(*spread.shape[:-1], len(moved), self.context_dim))
        return here, torch.cat(parts, -1)

    def _move(self, move: Move, x: Tensor, context: Tensor | None, wave: int) -> tuple[Tensor, Tensor]:
        here, given = self._look(x, context, wave)
        there, ladj = move(here, given)
        return x.index_copy(-1, self.get_buffer(f"_moved_{wave}").flatten(), there.flatten(-2)), ladj.sum(-1)

    def _move_back(self, move: Move, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """One wave of places after the other."""
        total = z.new_zeros(z.shape[:-1])
        for wave in range(1, self._wave_count + 1):
            z, ladj = self._move(move, z, context, wave)
            total = total + ladj
        return z, total


def _check_places(dim: int, size: int, moved: list[list[int]], given: list[list[int]]) -> None:
    if not moved or len(moved) != len(given):
        raise ValueError(
            f"Given wants lists of what moves and what is given for as many places; got {len(moved)}, {len(given)}."
        )
    if any(len(place) != size for place in moved) or len({len(place) for place in given}) > 1:
        raise ValueError(f"Given wants {size} coordinates that move at each place, and equally many that are given.")
    flat = [i for place in moved for i in place]
    if len(set(flat)) < len(flat) or not all(0 <= i < dim for i in flat):
        raise ValueError(f"Given wants different coordinates from 0 to {dim - 1} to move; got {flat}.")
    if not all(ABSENT <= i < dim for place in given for i in place):
        raise ValueError(f"Given wants coordinates from {ABSENT} to {dim - 1} to be given.")
    place_of = {i: p for p, place in enumerate(moved) for i in place}
    for p, place in enumerate(given):
        if late := [i for i in place if place_of.get(i, -1) >= p]:
            raise ValueError(f"Given wants place {p} to be given what has moved before; got coordinates {late}.")


def _waves(moved: list[list[int]], given: list[list[int]]) -> list[list[int]]:
    """The places in the order of the way back: each wave needs nothing but the waves before it."""
    wave_of: dict[int, int] = {}
    waves: list[list[int]] = []
    for p, place in enumerate(given):
        wave = 1 + max((wave_of.get(i, -1) for i in place), default=-1)
        wave_of |= dict.fromkeys(moved[p], wave)
        waves += [[]] * (wave == len(waves))
        waves[wave] = [*waves[wave], p]
    return waves
