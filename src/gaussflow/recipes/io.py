"""Save and load: a model in one file, safetensors with a JSON recipe; no pickle, nothing in a file is run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gaussflow.recipes._recipe import Names, Writer, build
from gaussflow.training._checkpoint import Layout, PathLike, open_checkpoint, write_checkpoint
from gaussflow.transforms.base import Transform


def save(model: nn.Module, path: PathLike, *, notes: Mapping[str, Any] | None = None) -> None:
    """Save a model and free notes to one file, whole or not at all.

    The file is a safetensors file; its header holds the recipe (class names and constructor arguments, nested)
    and the notes as JSON.

    Parameters
    ----------
    model
        A model, a transform or a network of this library, of torch (`nn.Sequential` and its usual parts) or of
        your own; your own needs ``config()``, which returns the keyword arguments of its constructor.
    path
        The file; its folder must exist.
    notes
        JSON values that go along, for instance the names of the columns; `read_notes` gives them back.

    Raises
    ------
    ValueError
        When the recipe does not rebuild the model, when the model holds a NaN, or when the notes are not JSON.
    FileNotFoundError
        When the folder is not there.

    Examples
    --------
    >>> import tempfile
    >>> import torch
    >>> from gaussflow import Flow, Standardize, load, read_notes, save
    >>> flow = Flow(Standardize(3).fit(torch.randn(100, 3)))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(flow, f"{folder}/model", notes={"columns": ["a", "b", "c"]})
    ...     again, notes = load(f"{folder}/model"), read_notes(f"{folder}/model")
    >>> again.sample(5).shape, notes
    (torch.Size([5, 3]), {'columns': ['a', 'b', 'c']})
    """
    names, state = Names(), dict(model.state_dict())
    try:
        if odd := [name for name, value in state.items() if not isinstance(value, Tensor)]:
            raise ValueError(f"its state {odd[0]} is no tensor")
        recipe = Writer(names).module(model)
        layout = _layout(state)
        _check_layout(layout, _layout(build(recipe, names, layout).state_dict()), "the model", "its config()")
        _check_numbers(state)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{type(model).__name__} cannot be saved: {error}.") from error
    write_checkpoint(path, state, {"recipe": recipe, "notes": dict(notes or {})}, kind="model")


def load(path: PathLike, *, register: Iterable[Callable[..., Any]] = ()) -> nn.Module:
    """Load a model that `save` wrote, on the CPU and in evaluation mode.

    A file from an untrusted source can do nothing but fail with a clear error: names outside the library's list
    are refused, a recipe may claim no more modules and numbers than the file holds, and names, shapes and dtypes of
    all tensors are compared before any is read.

    Parameters
    ----------
    path
        The file.
    register
        Classes and functions of your own that the recipe may name.

    Returns
    -------
    model
        The model, with the dtypes it was saved with.

    Raises
    ------
    FileNotFoundError
        When there is no file.
    ValueError
        When the file is cut short, damaged, not ours or of another version; when its recipe names what is not on
        the list, claims too much, or does not fit the tensors; when a number is NaN.

    Examples
    --------
    >>> import tempfile
    >>> from gaussflow import Standardize, load, save
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(Standardize(3), f"{folder}/model")
    ...     load(f"{folder}/model").dim
    3
    """
    names = Names(register)
    with open_checkpoint(path, kind="model") as file:
        try:
            model = build(file.meta.get("recipe"), names, file.layout)
            _check_layout(file.layout, _layout(model.state_dict()), "the file", "its recipe")
            tensors = file.tensors()
            _check_numbers(tensors)
            model.load_state_dict(tensors)
            _try(model.eval())
        except Exception as error:
            raise ValueError(f"{path} cannot be loaded: {error}.") from error
    return model


def read_notes(path: PathLike) -> dict[str, Any]:
    """The notes that were saved with a model; raises as `load` does, and reads no numbers.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    notes
        The JSON values that `save` was given.

    Examples
    --------
    >>> import tempfile
    >>> from gaussflow import Standardize, read_notes, save
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(Standardize(3), f"{folder}/model", notes={"columns": ["a", "b", "c"]})
    ...     read_notes(f"{folder}/model")
    {'columns': ['a', 'b', 'c']}
    """
    with open_checkpoint(path, kind="model") as file:
        notes = file.meta.get("notes")
    if not isinstance(notes, dict):
        raise ValueError(f"{path} cannot be read: its notes are no JSON object.")
    return notes


def _layout(state: Mapping[str, Tensor]) -> Layout:
    return {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in state.items()}


def _check_layout(got: Layout, wanted: Layout, holder: str, maker: str) -> None:
    """Raise ValueError where names, shapes or dtypes of tensors differ."""
    if missing := [name for name in wanted if name not in got]:
        raise ValueError(f"{holder} lacks {len(missing)} tensors that {maker} calls for, the first {missing[0]}")
    if extra := [name for name in got if name not in wanted]:
        raise ValueError(f"{holder} holds {len(extra)} tensors unknown to {maker}, the first {extra[0][:60]}")
    for name, (shape, dtype) in wanted.items():
        found, kind = got[name][0], got[name][1] or "an unknown dtype"
        if found != shape:
            raise ValueError(f"{holder} holds {name} of shape {found}; {maker} calls for {shape}")
        if kind != dtype:
            raise ValueError(f"{holder} holds {name} of {kind}; {maker} calls for {dtype}")


def _check_numbers(tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and bool(tensor.isnan().any()):
            raise ValueError(f"{name} holds {int(tensor.isnan().sum())} NaN; the fit or the training went wrong")


def _try(model: nn.Module) -> None:
    """Send one point of zeros through a transform, so that an index out of range is found here and not at its use."""
    for part in model.modules():
        if isinstance(part, Transform):
            held = next(part._numbers(), torch.empty(0))
            zeros = held.new_zeros(1, part.dim)
            context = held.new_zeros(1, part.context_dim) if part.context_dim else None
            with torch.no_grad():
                part.inverse(part(zeros, context)[0], context)
            return
