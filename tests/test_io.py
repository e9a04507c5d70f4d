"""Save and load: every case comes back, and a file can do nothing but fail with a clear error."""

import copy
import json
import pickle
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from cases import CASES, C, D, make
from gaussflow import (
    MLP,
    AffineCoupling,
    Chain,
    Flow,
    Inverse,
    Permutation,
    Rotation,
    Standardize,
    Transform,
    haar,
    load,
    pca,
    read_notes,
    save,
)
from gaussflow.training._checkpoint import read_checkpoint, write_checkpoint


def flow() -> Flow:
    chain = Chain(Standardize(4), Rotation(4, pca), AffineCoupling(4, [0, 2]), Permutation([3, 1, 0, 2]))
    return Flow(chain.fit(torch.randn(50, 4) * 3))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save(flow(), tmp_path / "m", notes={"columns": ["a", "b"]})
    return tmp_path / "m"


def numbers(model: nn.Module) -> dict[str, torch.Tensor]:
    return model.state_dict()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", CASES)
def test_every_case_comes_back(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    transform = make(name, dtype)
    context = torch.randn(40, C, dtype=dtype) if transform.context_dim else None
    transform.fit(torch.randn(40, D, dtype=dtype) ** 3, context)
    for p in transform.parameters():
        p.data += 0.01 * torch.randn_like(p)
    model, x = Flow(transform), torch.randn(6, D, dtype=dtype)
    context = None if context is None else context[:6]
    save(model, tmp_path / "m")
    again = load(tmp_path / "m")
    assert torch.equal(again(x, context), model(x, context))
    assert not again.training
    assert {k: v.dtype for k, v in numbers(again).items()} == {k: v.dtype for k, v in numbers(model).items()}
    save(again, tmp_path / "n")
    assert (tmp_path / "m").read_bytes() == (tmp_path / "n").read_bytes()


def test_a_loaded_model_is_a_model_of_its_own(path: Path) -> None:
    one, two = load(path), load(path)
    one.load_state_dict({k: torch.zeros_like(v) for k, v in one.state_dict().items()})
    assert any(v.abs().sum() > 0 for v in numbers(two).values())
    path.unlink()
    assert two.sample(3).shape == (3, 4)
    x = torch.randn(8, 4, requires_grad=True)
    two(x).sum().backward()
    assert all(p.grad is not None for p in two.parameters())
    copy.deepcopy(two)


def test_sharing_survives(tmp_path: Path) -> None:
    part = AffineCoupling(2, [0])
    save(Chain(part, Rotation(2, haar(2)), Inverse(part)), tmp_path / "m")
    chain = load(tmp_path / "m")
    assert chain[2].transform is chain[0]


def test_random_state_and_defaults_stay(tmp_path: Path) -> None:
    model = flow()
    state = torch.get_rng_state()
    save(model, tmp_path / "m")
    load(tmp_path / "m")
    assert torch.equal(torch.get_rng_state(), state)


def test_notes(path: Path, tmp_path: Path) -> None:
    assert read_notes(path) == {"columns": ["a", "b"]}
    save(flow(), tmp_path / "n")
    assert read_notes(tmp_path / "n") == {}
    with pytest.raises(ValueError, match="strict JSON"):
        save(flow(), tmp_path / "n", notes={"x": float("nan")})


class Net(nn.Module):
    """A conditioner of the user's own, with a function among its arguments."""

    def __init__(self, width: int, act: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.width, self.act = width, act
        self.a, self.b = nn.Linear(2, width), nn.Linear(width, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self.act(self.a(x)))

    def config(self) -> dict[str, Any]:
        return {"width": self.width, "act": self.act}


def bend(x: torch.Tensor) -> torch.Tensor:
    return x.sin()


class Bare(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.repeat_interleave(2, -1)


class Forgetful(Net):
    def config(self) -> dict[str, Any]:
        return {"width": self.width + 1, "act": self.act}


def test_networks_of_torch_need_no_registration(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(2, 8), nn.LayerNorm(8), nn.SiLU(), nn.Linear(8, 4, bias=False)).double()
    model = Flow(AffineCoupling(4, [1, 3], net))
    save(model, tmp_path / "m")
    x = torch.randn(5, 4).double()
    assert torch.equal(load(tmp_path / "m")(x), model(x))


def test_networks_of_the_user_are_registered(tmp_path: Path) -> None:
    model = Flow(AffineCoupling(4, [1, 3], Net(8, bend)))
    save(model, tmp_path / "m")
    with pytest.raises(ValueError, match=r"unknown function 'bend'.*register=\[bend\]"):
        load(tmp_path / "m", register=[Net])
    with pytest.raises(ValueError, match=r"unknown class 'Net'.*register=\[Net\]"):
        load(tmp_path / "m", register=[bend])
    x = torch.randn(5, 4)
    assert torch.equal(load(tmp_path / "m", register=[Net, bend])(x), model(x))
    with pytest.raises(TypeError, match="named functions"):
        load(tmp_path / "m", register=[3])  # type: ignore[list-item]


def test_what_cannot_come_back_is_not_saved(tmp_path: Path) -> None:
    wrong: list[tuple[nn.Module, str]] = [
        (Bare(), r"no config\(\)"),
        (Net(8, lambda x: x), "named functions"),
        (Forgetful(8, bend), r"shape \(8, 2\); its config\(\) calls for \(9, 2\)"),
    ]
    for net, message in wrong:
        with pytest.raises(ValueError, match=f"Flow cannot be saved.*{message}"):
            save(Flow(AffineCoupling(4, [1, 3], net)), tmp_path / "m")
    Taken = type("Rotation", (Net,), {})
    with pytest.raises(ValueError, match="name Rotation is taken"):
        save(Taken(8, bend), tmp_path / "m")
    poisoned = flow()
    next(poisoned.parameters()).data[0] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        save(poisoned, tmp_path / "m")
    assert not list(tmp_path.iterdir())


def respelt(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """A file whose recipe is another but whose checksum is right, as one that means harm would write it."""

    def spoil(path: Path) -> None:
        tensors, meta = read_checkpoint(path, "model")
        change(meta)
        write_checkpoint(path, tensors, meta, "model")

    return spoil


def retensored(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        tensors, meta = read_checkpoint(path, "model")
        change(tensors)
        write_checkpoint(path, tensors, meta, "model")

    return spoil


def part(meta: dict[str, Any], index: int) -> dict[str, Any]:
    found: dict[str, Any] = meta["recipe"]["config"]["transform"]["config"]["parts"][index]
    return found


def resized(size: object) -> Callable[[dict[str, Any]], None]:
    return lambda meta: part(meta, 0)["config"].update(dim=size)


def deep(levels: int) -> Callable[[dict[str, Any]], None]:
    def change(meta: dict[str, Any]) -> None:
        recipe = meta["recipe"]["config"]["transform"]
        for _ in range(levels):
            recipe = {"class": "Inverse", "config": {"transform": recipe}}
        meta["recipe"]["config"]["transform"] = recipe

    return change


def stuffed(entry: Any) -> Callable[[dict[str, Any]], None]:
    return lambda meta: part(meta, 0)["config"].update(dim=entry)


def wide(hidden: list[int]) -> Callable[[dict[str, Any]], None]:
    return lambda meta: part(meta, 2)["config"]["conditioner"]["config"].update(hidden=hidden)


def many(count: int) -> Callable[[dict[str, Any]], None]:
    return lambda meta: meta["recipe"]["config"]["transform"]["config"]["parts"].extend([part(meta, 0)] * count)


def renamed(name: Any, index: int = 0) -> Callable[[dict[str, Any]], None]:
    return lambda meta: part(meta, index).update({"class": name})


def first(tensors: dict[str, torch.Tensor]) -> str:
    return next(name for name in sorted(tensors) if tensors[name].is_floating_point())


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut": (lambda p: p.write_bytes(p.read_bytes()[:-5]), "cut short or damaged"),
    "random": (lambda p: p.write_bytes(bytes(range(256)) * 9), "no safetensors file"),
    "pickle": (lambda p: p.write_bytes(pickle.dumps([1])), "never opens"),
    "zip": (lambda p: zipfile.ZipFile(p, "w").writestr("a", "b"), "no safetensors|never opens"),
    "torch.save": (lambda p: torch.save(flow(), p), "never opens"),
    "a checkpoint": (lambda p: write_checkpoint(p, {}, {}), "calls it 'gaussflow checkpoint'"),
    "no recipe": (respelt(lambda m: m.pop("recipe")), "wants an object for a module; got NoneType"),
    "a recipe without config": (respelt(lambda m: m["recipe"].pop("config")), "wants the keys class, config"),
    "a config that is a list": (respelt(lambda m: m["recipe"].update(config=[])), "object for the config of Flow"),
    "one more key": (respelt(lambda m: m["recipe"].update(run="x")), "wants the keys class, config.*run"),
    "an unknown class": (respelt(renamed("os.system")), "unknown class 'os.system'"),
    "a class that is a function": (respelt(renamed("haar")), "unknown class 'haar'"),
    "a class that is a list": (respelt(renamed(["Chain"])), "unknown class"),
    "an abstract class": (respelt(renamed("Transform")), "unknown class 'Transform'"),
    "an unknown function": (respelt(stuffed({"function": "eval"})), "unknown function 'eval'"),
    "an unknown type": (respelt(stuffed({"type": "Popen"})), "unknown class 'Popen'"),
    "an unknown argument": (respelt(lambda m: part(m, 0)["config"].update(eps=1)), "unknown argument 'eps'"),
    "a missing argument": (respelt(lambda m: part(m, 0)["config"].pop("dim")), "Standardize cannot be built"),
    "a wrong argument": (respelt(stuffed("4")), "Standardize cannot be built.*integer"),
    "an odd object": (respelt(stuffed({"lambda": 1})), "no meaning for, with the keys lambda"),
    "an unknown dtype": (respelt(lambda m: part(m, 0).update(dtype="object")), "unknown dtype 'object'"),
    "a reference ahead": (respelt(stuffed({"same": 99})), "does not come before"),
    "a reference that is no number": (respelt(stuffed({"same": [0]})), "does not come before"),
    "a ragged tensor": (respelt(stuffed({"tensor": [[1], [1, 2]], "dtype": "int64"})), "a tensor that is none"),
    "dim of another": (respelt(resized(5)), "dimension"),
    "dim of zero": (respelt(resized(0)), "at least 1"),
    "dim of 10^12": (respelt(resized(10**12)), "claims dim of 1000000000000"),
    "dim of 10^4000": (respelt(resized(10**4000)), "claims dim of 1000|JSON"),
    "dim of 10^7": (respelt(lambda m: m["recipe"].update(config={"transform": square(10**7)})), "far more numbers"),
    "width of 10^7": (respelt(wide([10**7, 10**7])), "far more"),
    "10^5 layers": (respelt(wide([1] * 10**5)), "far more modules"),
    "10^5 parts": (respelt(many(10**5)), "far more modules|lacks"),
    "deep": (respelt(deep(100)), "more than 64 levels"),
    "very deep": (respelt(lambda m: m.update(recipe=json.loads("[" * 900 + "]" * 900))), "for a module; got list"),
    "a tensor missing": (retensored(lambda t: t.pop(first(t))), "lacks 1 tensors"),
    "a tensor too many": (retensored(lambda t: t.update(more=torch.ones(2))), "1 tensors unknown to its recipe.*more"),
    "another shape": (retensored(lambda t: t.update({first(t): torch.ones(3, 7)})), r"of shape \(3, 7\)"),
    "another dtype": (retensored(lambda t: t.update({k: v.double() for k, v in t.items()})), "of torch.float64"),
    "a NaN": (retensored(lambda t: t[first(t)].view(-1)[:1].fill_(torch.nan)), "holds 1 NaN"),
}


def square(dim: int) -> dict[str, Any]:
    return {"class": "Rotation", "config": {"dim": dim}}


@pytest.mark.parametrize("name", SPOILT)
def test_a_spoilt_file_is_a_clear_error(path: Path, name: str) -> None:
    spoil, message = SPOILT[name]
    try:
        spoil(path)
    except ValueError:  # Python itself reads no integer of more than 4300 digits
        pytest.fail("the test could not write its file")
    start = time.perf_counter()
    with pytest.raises(ValueError, match=message) as raised:
        load(path)
    assert str(path) in str(raised.value)
    assert time.perf_counter() - start < 10


def test_another_version_says_so(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"version":"1"', b'"version":"2"'))
    for read in (load, read_notes):
        with pytest.raises(ValueError, match="format version '2'; this release reads version 1"):
            read(path)


def test_cut_or_flipped_anywhere_only_a_value_error_comes_out(path: Path) -> None:
    whole = path.read_bytes()
    for end in range(0, len(whole), 50):
        path.write_bytes(whole[:end])
        with pytest.raises(ValueError, match="cut short"):
            load(path)
    generator = torch.Generator().manual_seed(0)
    for place in torch.randint(len(whole), (400,), generator=generator).tolist():
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x11]) + whole[place + 1 :])
        with pytest.raises(ValueError, match=str(path)):
            load(path)


def test_a_recipe_respelt_at_random_loads_or_is_a_value_error(path: Path) -> None:
    """Every leaf of the recipe in turn is made something else, with a checksum that is right."""
    tensors, meta = read_checkpoint(path, "model")
    failed = 0
    for other in (None, -1, 2**40, 1.5, "x", [], {}, {"same": 0}, {"function": "pca"}, {"type": "MLP"}, [[1]] * 3):
        for spot in spots(meta["recipe"]):
            spoilt = copy.deepcopy(meta)
            inner: Any = spoilt["recipe"]
            for step in spot[:-1]:
                inner = inner[step]
            inner[spot[-1]] = other
            write_checkpoint(path, tensors, spoilt, "model")
            try:
                load(path)
            except ValueError:
                failed += 1
    assert failed > 100


def spots(recipe: Any) -> list[list[Any]]:
    pairs = recipe.items() if isinstance(recipe, dict) else enumerate(recipe) if isinstance(recipe, list) else ()
    return [[key, *rest] for key, value in pairs for rest in [[], *spots(value)]]


def test_files_that_are_not_there(tmp_path: Path) -> None:
    for read in (load, read_notes):
        with pytest.raises(FileNotFoundError, match="no model at"):
            read(tmp_path / "m")
    with pytest.raises(FileNotFoundError, match="no folder"):
        save(flow(), tmp_path / "none" / "m")


def test_a_network_alone_and_a_transform_alone(tmp_path: Path) -> None:
    for model in (MLP(3, 2, (8,), nn.Tanh), Inverse(Standardize(3))):
        save(model, tmp_path / "m")
        x = torch.randn(5, 3)
        torch.testing.assert_close(load(tmp_path / "m")(x), model(x))


def test_an_index_out_of_range_is_found_at_the_door(tmp_path: Path) -> None:
    class Pick(Transform):
        """A permutation whose indices are numbers of the state."""

        def __init__(self, dim: int) -> None:
            super().__init__(dim)
            self.register_buffer("order", torch.arange(dim))

        def forward(self, x: torch.Tensor, context: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
            return x[..., self.order], x.new_zeros(x.shape[:-1])

        inverse = forward

        def config(self) -> dict[str, Any]:
            return {"dim": self.dim}

    save(Pick(3), tmp_path / "m")
    load(tmp_path / "m", register=[Pick])
    retensored(lambda t: t["order"].fill_(7))(tmp_path / "m")
    with pytest.raises(ValueError, match=r"cannot be loaded.*out of"):
        load(tmp_path / "m", register=[Pick])
