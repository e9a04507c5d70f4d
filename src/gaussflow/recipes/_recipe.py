"""Recipes: a model as JSON, class names and constructor arguments nested, and back, from names on a list only."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

import gaussflow.models
import gaussflow.nets
import gaussflow.transforms
from gaussflow.recipes._budget import Budget
from gaussflow.training._checkpoint import Layout

DEPTH = 64  # levels of nesting; Python's own recursion limit is far above
LARGEST_INT = 2**24  # dimensions, widths, counts; seeds may be any 64-bit integer
_TORCH_MODULES: dict[type[nn.Module], tuple[str, ...]] = {
    nn.Linear: ("in_features", "out_features"),
    nn.LayerNorm: ("normalized_shape", "eps", "elementwise_affine"),
    nn.Dropout: ("p",),
    nn.ELU: ("alpha",),
    nn.GELU: ("approximate",),
    nn.Identity: (),
    nn.LeakyReLU: ("negative_slope",),
    nn.ReLU: (),
    nn.Sigmoid: (),
    nn.SiLU: (),
    nn.Softplus: ("beta", "threshold"),
    nn.Tanh: (),
}
_FLOATS = {str(d).removeprefix("torch."): d for d in (torch.float64, torch.float32, torch.float16, torch.bfloat16)}


class Names:
    """The classes and functions a recipe may name: the public ones of this library, some of torch, the user's own."""

    def __init__(self, register: Iterable[Callable[..., Any]] = ()) -> None:
        rooms = (gaussflow.transforms, gaussflow.nets, gaussflow.models)
        public = [getattr(room, name) for room in rooms for name in getattr(room, "__all__", ())]
        self.known: dict[str, Callable[..., Any]] = {
            thing.__name__: thing for thing in public if callable(thing) and not inspect.isabstract(thing)
        }
        self.known |= {cls.__name__: cls for cls in (*_TORCH_MODULES, nn.Sequential)}
        for thing in register:
            self.add(thing)

    def add(self, thing: Callable[..., Any]) -> str:
        """Put a class or function on the list under its own name; raises where the name says something else."""
        name = getattr(thing, "__name__", "")
        if not callable(thing) or not name.isidentifier():
            raise TypeError(f"register wants classes and named functions; got {thing!r}. Give it a name with def.")
        if self.known.setdefault(name, thing) is not thing:
            raise ValueError(f"The name {name} is taken by another {type(thing).__name__}; rename yours.")
        return name

    def find(self, name: object, what: type) -> Any:
        """The class (``what`` is nn.Module) or the function (``what`` is object) of that name."""
        found = self.known.get(name) if isinstance(name, str) else None
        is_module = isinstance(found, type) and issubclass(found, nn.Module)
        if found is None or is_module != (what is nn.Module):
            kind = "class" if what is nn.Module else "function"
            raise ValueError(
                f"the recipe names an unknown {kind} {str(name)[:60]!r}; if it is yours, pass it: "
                f"load(path, register=[{str(name)[:60]}])"
            )
        return found


class Writer:
    """From a module to its recipe. A module met again is written as a reference, so that sharing survives."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.done: list[nn.Module] = []

    def module(self, module: nn.Module) -> dict[str, Any]:
        """The recipe of a module: {"class", "config"} and, where it holds floating numbers of its own, "dtype"."""
        for i, other in enumerate(self.done):
            if other is module:
                return {"same": i}
        recipe: dict[str, Any] = {"class": self.names.add(type(module))}
        recipe["config"] = {str(k): self.value(v) for k, v in _config(module).items()}
        held = next((t for t in _own_tensors(module) if t.is_floating_point()), None)
        if held is not None:
            recipe["dtype"] = str(held.dtype).removeprefix("torch.")
        self.done.append(module)
        return recipe

    def value(self, value: Any) -> Any:
        """A constructor argument as JSON."""
        if value is None or isinstance(value, (bool, int, str)):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else {"float": str(value)}
        if isinstance(value, nn.Module):
            return self.module(value)
        if isinstance(value, torch.dtype):
            return {"dtype": str(value).removeprefix("torch.")}
        if isinstance(value, Tensor):
            return {"tensor": value.tolist(), "dtype": str(value.dtype).removeprefix("torch.")}
        if isinstance(value, (list, tuple)):
            return [self.value(v) for v in value]
        if isinstance(value, Mapping):
            return {"dict": {str(k): self.value(v) for k, v in value.items()}}
        if isinstance(value, type) and issubclass(value, nn.Module):
            return {"type": self.names.add(value)}
        if callable(value):
            return {"function": self.names.add(value)}
        raise ValueError(f"a recipe holds JSON values, modules and named functions; got {type(value).__name__}")


class Reader:
    """From a recipe to the module it describes; whatever is wrong with the recipe is a ValueError."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.done: list[nn.Module] = []

    def module(self, recipe: object, depth: int = 0) -> nn.Module:
        """Build the module of a recipe."""
        if not isinstance(recipe, dict):
            raise ValueError(f"the recipe wants an object for a module; got {type(recipe).__name__}")
        if set(recipe) == {"same"}:
            return self._again(recipe["same"])
        if not {"class", "config"} <= set(recipe) <= {"class", "config", "dtype"}:
            raise ValueError(f"the recipe wants the keys class, config and dtype of a module; got {_keys(recipe)}")
        cls = self.names.find(recipe["class"], nn.Module)
        if not isinstance(recipe["config"], dict):
            raise ValueError(f"the recipe wants an object for the config of {cls.__name__}")
        config = {k: self.value(v, depth + 1, k) for k, v in recipe["config"].items()}
        module = _build(cls, config, _dtype(recipe["dtype"]) if "dtype" in recipe else None)
        self.done.append(module)
        return module

    def value(self, value: Any, depth: int, name: str) -> Any:
        """A constructor argument from JSON."""
        if depth > DEPTH:
            raise ValueError(f"the recipe is nested more than {DEPTH} levels deep")
        if isinstance(value, list):
            return [self.value(v, depth + 1, name) for v in value]
        if not isinstance(value, dict):
            return _scalar(value, name)
        if "class" in value or "same" in value:
            return self.module(value, depth)
        match value:
            case {"type": name, **rest} if not rest:
                return self.names.find(name, nn.Module)
            case {"function": function, **rest} if not rest:
                return self.names.find(function, object)
            case {"dict": dict(inner), **rest} if not rest:
                return {k: self.value(v, depth + 1, k) for k, v in inner.items()}
            case {"tensor": numbers, "dtype": dtype, **rest} if not rest:
                return _tensor(self.value(numbers, depth, "seed"), _dtype(dtype, any_kind=True))
            case {"dtype": dtype, **rest} if not rest:
                return _dtype(dtype)
            case {"float": str(digits), **rest} if not rest and digits in ("inf", "-inf"):
                return float(digits)
        raise ValueError(f"the recipe holds an object it has no meaning for, with the keys {_keys(value)}")

    def _again(self, index: object) -> nn.Module:
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(self.done):
            raise ValueError(f"the recipe refers to a module {str(index)[:20]} that does not come before")
        return self.done[index]


def build(recipe: object, names: Names, layout: Layout) -> nn.Module:
    """Build a module on the CPU, within what the tensors of that layout need; torch's random state stays as it is."""
    elements = sum(torch.Size(shape).numel() for shape, _ in layout.values())
    try:
        with torch.random.fork_rng(devices=[]), torch.device("cpu"), Budget(len(layout), elements):
            return Reader(names).module(recipe)
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"the recipe makes no module: {str(error)[:500]}") from error


def _build(cls: type[nn.Module], config: dict[str, Any], dtype: torch.dtype | None) -> nn.Module:
    """Call the constructor; its own complaint is passed on as a ValueError."""
    if cls is nn.Sequential:
        config = {"args": list(config.get("args", ()))}
    parameters = inspect.signature(cls).parameters
    unknown = [name for name in config if name not in parameters]
    if unknown:
        raise ValueError(f"the recipe gives {cls.__name__} the unknown argument {unknown[0][:60]!r}")
    many = [p.name for p in parameters.values() if p.kind is inspect.Parameter.VAR_POSITIONAL]
    positional = [v for name in many for v in config.pop(name, ())]
    if dtype is not None and "dtype" in parameters:
        config.setdefault("dtype", dtype)
    try:
        module = cls(*positional, **config)
        return module if dtype is None else module.to(dtype)
    except Exception as error:
        raise ValueError(f"{cls.__name__} cannot be built from its recipe: {str(error)[:500]}") from error


def _config(module: nn.Module) -> Mapping[str, Any]:
    """The constructor arguments of a module of ours, of the user's, or of torch."""
    if isinstance(module, nn.Sequential) and type(module) is nn.Sequential:
        return {"args": list(module)}
    if type(module) in _TORCH_MODULES:
        config = {name: getattr(module, name) for name in _TORCH_MODULES[type(module)]}
        return config | ({"bias": module.bias is not None} if isinstance(module, nn.Linear) else {})
    config_of = getattr(module, "config", None)
    if not callable(config_of):
        raise ValueError(
            f"{type(module).__name__} has no config(); define config(self) that returns the keyword arguments "
            "of its constructor, so that it can be built anew"
        )
    config = config_of()
    if not isinstance(config, Mapping):
        raise ValueError(f"{type(module).__name__}.config() wants to return a dictionary; got {type(config).__name__}")
    return config


def _own_tensors(module: nn.Module) -> Iterable[Tensor]:
    """The tensors of a module, without those of modules that have a recipe of their own."""
    children = [child for value in _config(module).values() for child in _modules_in(value)]
    theirs = {id(t) for child in children for t in (*child.parameters(), *child.buffers())}
    return [t for t in (*module.parameters(), *module.buffers()) if id(t) not in theirs]


def _modules_in(value: Any) -> Iterable[nn.Module]:
    if isinstance(value, nn.Module):
        yield value
    elif isinstance(value, (list, tuple, Mapping)):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _modules_in(inner)


def _scalar(value: Any, name: str) -> Any:
    if isinstance(value, int) and abs(value) > (2**64 if name == "seed" else LARGEST_INT):
        raise ValueError(f"the recipe claims {name[:60]} of {str(value)[:30]}; at most {LARGEST_INT} is read")
    return value


def _tensor(numbers: Any, dtype: torch.dtype) -> Tensor:
    try:
        return torch.tensor(numbers, dtype=dtype)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"the recipe holds a tensor that is none: {str(error)[:100]}") from error


def _dtype(name: object, any_kind: bool = False) -> torch.dtype:
    kinds = _FLOATS | ({"int64": torch.int64, "int32": torch.int32, "bool": torch.bool} if any_kind else {})
    if not isinstance(name, str) or name not in kinds:
        raise ValueError(f"the recipe names an unknown dtype {str(name)[:30]!r}")
    return kinds[name]


def _keys(recipe: dict[str, Any]) -> str:
    return ", ".join(sorted(recipe))[:100] or "none"
