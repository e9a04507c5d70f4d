"""The contract of a transform, and the two ways of combining transforms: `Chain` and `Inverse`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, Self, overload

import torch
from torch import Tensor, nn
from typing_extensions import override

from gaussflow._check import check_dtype, check_int, check_last
from gaussflow.rows import Data, Rows, as_rows
from gaussflow.transforms._steady import Steady, through


class Transform(nn.Module, ABC):
    r"""An invertible map of the last axis, with its log-determinant and a closed-form fit.

    A transform :math:`f` maps data :math:`x` to latent :math:`z = f(x)`. Every transform keeps these promises,
    and the contract tests hold each of them to it:

    1. It is born valid: a usable bijection, the identity where it can be.
    2. `fit` and training change numbers, never names, shapes, dtypes or devices; nothing that grows with the
       number of rows is stored.
    3. Value and log-determinant come together, in the dtype of the input. Context is accepted by all.
    4. ``smooth`` says that the log-density is continuous in ``x`` and in every parameter.
    5. No finite input gives a NaN, an infinity or an exception; a NaN in a row stays visible in that row.

    To write one, subclass and define `forward`, `inverse` and `config`, and `fit` where a closed form exists.

    Parameters
    ----------
    dim
        Number of coordinates D of the last axis.
    context_dim
        Number of context coordinates C that the map uses; 0 when it ignores context.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import Transform
    >>> class Negation(Transform):
    ...     def forward(self, x, context=None):
    ...         self._door(x, context)
    ...         return -x, x.new_zeros(x.shape[:-1])
    ...     def inverse(self, z, context=None):
    ...         return self(z, context)
    ...     def config(self):
    ...         return {"dim": self.dim}
    >>> z, ladj = Negation(3)(torch.randn(5, 3))
    >>> z.shape, ladj.shape
    (torch.Size([5, 3]), torch.Size([5]))
    """

    smooth: bool = True

    def __init__(self, dim: int, context_dim: int = 0) -> None:
        super().__init__()
        self.dim = check_int(type(self).__name__, "dim", dim, 1)
        self.context_dim = check_int(type(self).__name__, "context_dim", context_dim, 0)

    @abstractmethod
    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        r"""Map data to latent.

        Parameters
        ----------
        x
            Data, shape (..., D).
        context
            Context, shape (..., C), or None.

        Returns
        -------
        z, ladj
            Latent (..., D) and :math:`\log|\det \partial z / \partial x|` (...), in the dtype of ``x``.
        """

    @abstractmethod
    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        r"""Map latent to data.

        Parameters
        ----------
        z
            Latent, shape (..., D).
        context
            Context, shape (..., C), or None.

        Returns
        -------
        x, ladj
            Data (..., D) and :math:`\log|\det \partial x / \partial z|` (...): the log-determinant of this direction.
        """

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The keyword arguments that build this object anew, as plain JSON values or transforms or networks."""

    def fit(self, rows: Data, context: Tensor | None = None) -> Self:
        """Fit in closed form, in place, without gradients; the default has nothing to fit.

        Parameters
        ----------
        rows
            A tensor (N, D), a re-iterable of chunks, or a `Rows`.
        context
            Context (N, C) that goes with a tensor of rows, or None.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            For what `as_rows` refuses, and for rows of another dimension or without the context that the map needs.
        """
        self._rows(rows, context)
        return self

    def draw(self, z: Tensor, context: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Samples of the law that the map sends to the standard normal one, made of standard normal noise.

        They are those of `inverse`, unless a transform has a faster way to the same law.

        Parameters
        ----------
        z
            Standard normal noise, shape (..., D).
        context
            Context, shape (..., C), or None.
        generator
            Source of what more is random, on the device of the transform, or None for torch's own.

        Returns
        -------
        x
            Samples (..., D), without their log-determinant.
        """
        return self.inverse(z, context)[0]

    def _values(self, rows: int) -> Callable[[Tensor, Tensor | None], Tensor]:
        """z alone, made ready for about so many rows, for use while no number held changes and without gradients.

        A fit pushes its rows by it. It may be off by 2e-4 in units of 1 + |z| where the map bends most, which no fit
        behind it can tell.
        """
        return lambda x, context: self(x, context)[0]

    def _steady(self, inverse: bool) -> Steady | None:
        """`forward` or `inverse` made ready for many pieces of rows, or None where they go through all at once.

        It is made without gradients, of a map that needs no context.
        """
        return None

    def _rows(self, rows: Data, context: Tensor | None = None) -> Rows:
        """The door of a fit: the rows, of this dimension and with the context that the map needs."""
        owner, rows = type(self).__name__, as_rows(rows, context)
        if rows.dim != self.dim:
            raise ValueError(f"{owner} is fitted on rows of {self.dim} coordinates; got rows of {rows.dim}.")
        if self.context_dim and rows.context_dim != self.context_dim:
            raise ValueError(
                f"{owner} is fitted on rows with {self.context_dim} context coordinates; got {rows.context_dim}."
            )
        return rows

    def _door(self, x: Tensor, context: Tensor | None = None, name: str = "x") -> None:
        """Check shapes and dtypes at the door; no value is looked at, so that the map compiles whole."""
        owner = type(self).__name__
        check_last(owner, x, self.dim, name)
        if (held := next((t for t in self._numbers()), None)) is not None:
            check_dtype(owner, x, held.dtype, name)
        if self.context_dim:
            if context is None:
                raise ValueError(
                    f"{owner} needs context of shape (..., {self.context_dim}); got none. Pass context=..."
                )
            check_last(owner, context, self.context_dim, "context")

    def _spread(self, context: Tensor, batch: torch.Size) -> Tensor:
        """The context, one row for each row of data: (..., C) with the batch shape of these."""
        if context.shape[:-1] == batch:
            return context
        try:
            return context.expand(*batch, self.context_dim)
        except RuntimeError as error:
            raise ValueError(
                f"{type(self).__name__} wants context of shape {(*batch, self.context_dim)}, one for each row of data; "
                f"got {tuple(context.shape)}."
            ) from error

    def _touched(self) -> frozenset[int]:
        """The coordinates that the map changes or mixes; those that only decide about others do not count."""
        return frozenset(range(self.dim))

    def _numbers(self) -> Iterator[Tensor]:
        """The floating parameters and buffers held, none of which changes its dtype on its own."""
        for tensor in (*self.parameters(), *self.buffers()):
            if tensor.is_floating_point():
                yield tensor


class Chain(Transform):
    r"""Transforms one after the other: :math:`f = f_L \circ \dots \circ f_1`, the first part touches the data first.

    The log-determinant is the sum of those of the parts. `fit` fits each part on what the parts before it give.

    Parameters
    ----------
    parts
        One or more transforms of one dimension.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import Chain, Permutation, Standardize
    >>> chain = Chain(Standardize(3), Permutation([2, 0, 1])).fit(torch.randn(100, 3))
    >>> z, ladj = chain(torch.randn(5, 3))
    >>> z.shape, ladj.shape
    (torch.Size([5, 3]), torch.Size([5]))
    """

    def __init__(self, *parts: Transform) -> None:
        if not parts:
            raise ValueError("Chain wants at least one transform; got none.")
        for part in parts:
            if not isinstance(part, Transform):
                raise TypeError(f"Chain is made of transforms; got {type(part).__name__}. Wrap it in a Transform.")
        dims = [part.dim for part in parts]
        if len(set(dims)) > 1:
            raise ValueError(f"Chain wants parts of one dimension; got dimensions {dims}.")
        contexts = {part.context_dim for part in parts if part.context_dim}
        if len(contexts) > 1:
            raise ValueError(f"Chain wants parts of one context dimension; got {sorted(contexts)}.")
        super().__init__(dims[0], max(contexts, default=0))
        self.parts = nn.ModuleList(parts)

    @property
    def smooth(self) -> bool:  # type: ignore[override]
        """Whether every part is smooth."""
        return all(part.smooth for part in self)

    @override
    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self._door(x, context)
        if (found := through(self, x, context, inverse=False)) is not None:
            return found
        total = x.new_zeros(x.shape[:-1])
        for part in self:
            x, ladj = part(x, context)
            total = total + ladj
        return x, total

    @override
    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self._door(z, context, "z")
        if (found := through(self, z, context, inverse=True)) is not None:
            return found
        total = z.new_zeros(z.shape[:-1])
        for part in reversed(list(self)):
            z, ladj = part.inverse(z, context)
            total = total + ladj
        return z, total

    @override
    def fit(self, rows: Data, context: Tensor | None = None) -> Self:
        rows = self._rows(rows, context)
        for i, part in enumerate(self):
            part.fit(rows)
            if i + 1 < len(self):
                rows = rows.through(part)
        return self

    @override
    def config(self) -> dict[str, Any]:
        return {"parts": list(self)}

    @override
    def draw(self, z: Tensor, context: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        used: frozenset[int] = frozenset()
        for part in reversed(list(self)):
            touched = part._touched()
            noise = not used & touched  # what the part moves has not been touched
            z = part.draw(z, context, generator) if noise else part.inverse(z, context)[0]
            used |= touched
        return z

    @override
    def _values(self, rows: int) -> Callable[[Tensor, Tensor | None], Tensor]:
        parts = [part._values(rows) for part in self]

        def values(x: Tensor, context: Tensor | None) -> Tensor:
            for part in parts:
                x = part(x, context)
            return x

        return values

    @override
    def _touched(self) -> frozenset[int]:
        return frozenset().union(*(part._touched() for part in self))

    def __iter__(self) -> Iterator[Transform]:
        return iter(self.parts)  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(self.parts)

    @overload
    def __getitem__(self, index: int) -> Transform: ...
    @overload
    def __getitem__(self, index: slice) -> Chain: ...
    def __getitem__(self, index: int | slice) -> Transform | Chain:
        picked = list(self)[index]
        return Chain(*picked) if isinstance(picked, list) else picked


class Inverse(Transform):
    r"""A transform turned round: :math:`z = f^{-1}(x)`. It shares the parameters of the transform it turns.

    It has nothing to fit of its own: fit the transform inside.

    Parameters
    ----------
    transform
        The transform :math:`f`.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import Inverse, Standardize
    >>> turned = Inverse(Standardize(3).fit(torch.randn(100, 3) * 5))
    >>> turned(torch.randn(7, 3))[0].shape
    torch.Size([7, 3])
    """

    def __init__(self, transform: Transform) -> None:
        if not isinstance(transform, Transform):
            raise TypeError(f"Inverse turns a transform round; got {type(transform).__name__}.")
        super().__init__(transform.dim, transform.context_dim)
        self.transform = transform

    @property
    def smooth(self) -> bool:  # type: ignore[override]
        """Whether the transform inside is smooth."""
        return self.transform.smooth

    @override
    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.transform.inverse(x, context)

    @override
    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        result: tuple[Tensor, Tensor] = self.transform(z, context)
        return result

    @override
    def config(self) -> dict[str, Any]:
        return {"transform": self.transform}
