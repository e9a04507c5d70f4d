"""Round trips far from the data, and torch's own tools: ``python -m benchmarks.robustness``.

Two tables, each for this package and, where they are installed, for others:

- ``couplings``: stacks of 16 one-sided coupling layers in float32, at the packages' random initialisation and after
  some hundred steps of maximum likelihood on correlated non-Gaussian data;
- ``tools``: whether one layer compiles whole, exports, takes vmap and gradients of single rows, pickles, reloads
  strictly, and takes the shapes (D,), (2, 3, D) and (0, D).

Points are held-out rows of the data times 1, 5 and 20 (standard deviations). The error of a number is
|x' − x| / max(1, |x|); the largest and the median of it are over the rows that are finite, and the share of those that
are not stands beside them. ``raised`` names what the forward or the inverse raised.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import pickle
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from benchmarks.layers import LAYERS, MODULES, Stack, ours

Row = dict[str, Any]
FAR = (1, 5, 20)


def data(n: int, dim: int, seed: int) -> Tensor:
    """Correlated non-Gaussian rows (n, dim) of unit scale: each source bent by its neighbour's square, then mixed."""
    u = torch.randn(n, dim, generator=torch.Generator().manual_seed(seed))
    u = u + (u.roll(1, -1).square() - 1) / 2 + 0.3 * u.roll(2, -1)
    mixing = torch.linalg.qr(torch.randn(dim, dim, generator=torch.Generator().manual_seed(7)))[0]
    x = u @ (torch.eye(dim) + mixing / 2)
    return (x - x.mean(0)) / x.std(0)


def nats(stack: nn.Module, x: Tensor) -> Tensor:
    """The mean of −log p(x) under the stack with a standard normal latent, up to the constant."""
    z, ladj = stack(x)
    return (z.square().sum(-1) / 2 - ladj).mean()


def trained(stack: nn.Module, dim: int, steps: int) -> None:
    """Adam at 1e-3 on batches of 256, gradients clipped at norm 5."""
    x, generator = data(20_000, dim, 1), torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(stack.parameters(), 1e-3)
    for _ in range(steps):
        optimiser.zero_grad()
        nats(stack, x[torch.randint(len(x), (256,), generator=generator)]).backward()
        nn.utils.clip_grad_norm_(stack.parameters(), 5.0)
        optimiser.step()


def round_trip(stack: nn.Module, x: Tensor) -> Row:
    """Errors of inverse(forward(x)) against x (N, D), the share of rows not finite, whether gradients are finite."""
    row: Row = {"raised": "", "gradients": "–"}
    try:
        with torch.no_grad():
            z, ladj = stack(x)
            back, minus = stack.inverse(z)
    except Exception as error:
        return {**row, "raised": type(error).__name__}
    finite = torch.stack([t.isfinite() for t in (ladj, minus)]).all(0) & (z.isfinite() & back.isfinite()).all(-1)
    row["non-finite"] = 1 - finite.double().mean().item()
    if finite.any():
        error = ((back - x).abs() / x.abs().clamp_min(1))[finite]
        row |= {"largest": error.max().item(), "median": error.median().item()}
        row["ladj"] = (ladj + minus)[finite].abs().max().item()
    return {**row, "gradients": _gradients(stack, x)}


def _gradients(stack: nn.Module, x: Tensor) -> str:
    x = x.clone().requires_grad_()
    stack.zero_grad()
    try:
        nats(stack, x).backward()
    except Exception as error:
        return type(error).__name__
    held = [t.grad for t in (x, *stack.parameters()) if t.grad is not None]
    return "finite" if all(bool(g.isfinite().all()) for g in held) else "non-finite"


def couplings(options: argparse.Namespace) -> Iterator[Row]:
    """A row for each kind of coupling, dimension, package, state and distance."""
    for (kind, package), layer in LAYERS.items():
        if not _present(package) or package not in options.packages:
            continue
        for dim in options.dims:
            torch.manual_seed(options.seed)
            stack = Stack([layer(dim, i) for i in range(options.layers)])
            yield from _measured(stack, dim, options, {"kind": kind, "package": package, "state": "untrained"})
            if not options.steps:
                continue
            start = time.process_time()
            row: Row = {"kind": kind, "package": package, "state": f"{options.steps} steps"}
            try:
                trained(stack, dim, options.steps)
            except Exception as error:
                yield {**row, "D": dim, "raised": f"training: {type(error).__name__}"}
                continue
            held_out = _or_nan(lambda stack=stack, dim=dim: nats(stack, data(2_000, dim, 2)).item())
            row |= {"loss": held_out, "seconds": time.process_time() - start}
            yield from _measured(stack, dim, options, row)


def _measured(stack: nn.Module, dim: int, options: argparse.Namespace, row: Row) -> Iterator[Row]:
    x = data(2_000, dim, 2)[: options.points]
    for far in FAR:
        yield {**row, "D": dim, "σ": far, **round_trip(stack, far * x)}


def tools(options: argparse.Namespace) -> Iterator[Row]:
    """A row of torch's own tools for each layer of this package and of the others."""
    dim = 6
    builds = {("ours", name): build for name, build in ours().items()}
    builds |= {(p, f"{kind} coupling"): build for (kind, p), build in LAYERS.items() if p != "ours" and _present(p)}
    for (package, name), build in builds.items():
        if package in options.packages:
            yield {"package": package, "layer": name} | {
                tool: _verdict(check, build, dim, options.seed) for tool, check in TOOLS.items()
            }


def _verdict(check: Callable[..., None], build: Callable[[int, int], nn.Module], dim: int, seed: int) -> str:
    """``yes``, or the name of what the check raised; results that differ raise AssertionError."""
    torch.manual_seed(seed)
    torch.compiler.reset()
    layer, fresh = build(dim, 0), build(dim, 0)
    for each in (layer, fresh):
        if hasattr(each, "fit"):
            each.fit(data(200, dim, 1 if each is layer else 2))
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):  # exporters print what they choke on
            check(layer, fresh, data(8, dim, 3))
    except Exception as error:
        return type(error).__name__
    return "yes"


def _same(value: Any, expected: Any) -> None:
    torch.testing.assert_close(tuple(value), tuple(expected), rtol=1e-4, atol=1e-4)


def _compile(layer: nn.Module, fresh: nn.Module, x: Tensor) -> None:
    for call in (layer, layer.inverse):
        _same(torch.compile(call, fullgraph=True, backend="aot_eager")(x), call(x))


def _export(layer: nn.Module, fresh: nn.Module, x: Tensor) -> None:
    _same(torch.export.export(layer, (x,)).module()(x), layer(x))


def _vmap(layer: nn.Module, fresh: nn.Module, x: Tensor) -> None:
    for call in (layer, layer.inverse):
        _same(vmap(call)(x), call(x))


def _per_sample(layer: nn.Module, fresh: nn.Module, x: Tensor) -> None:
    def loss(parameters: dict[str, Tensor], row: Tensor) -> Tensor:
        z, ladj = functional_call(layer, parameters, (row,))
        return z.square().sum() / 2 - ladj.sum()

    parameters = dict(layer.named_parameters())
    if not parameters:
        _same([vmap(grad(loss, 1), (None, 0))(parameters, x)], [grad(lambda x: loss(parameters, x))(x)])
        return
    single = vmap(grad(loss), (None, 0))(parameters, x)
    _same([g.sum(0) for g in single.values()], list(grad(loss)(parameters, x).values()))


def _pickle(layer: nn.Module, fresh: nn.Module, x: Tensor) -> None:
    _same(pickle.loads(pickle.dumps(layer))(x), layer(x))


def _reload(layer: nn.Module, fresh: nn.Module, x: Tensor) -> None:
    fresh.load_state_dict(layer.state_dict(), strict=True)
    _same(fresh(x), layer(x))


def _shape(*batch: int) -> Callable[..., None]:
    def check(layer: nn.Module, fresh: nn.Module, x: Tensor) -> None:
        x = x[0].expand(*batch, x.shape[-1])
        for call in (layer, layer.inverse):
            value, ladj = call(x)
            if value.shape != x.shape or ladj.shape != x.shape[:-1]:
                raise AssertionError(f"{tuple(value.shape)}, {tuple(ladj.shape)}")

    return check


TOOLS: dict[str, Callable[..., None]] = {
    "fullgraph": _compile,
    "export": _export,
    "vmap": _vmap,
    "per-sample": _per_sample,
    "pickle": _pickle,
    "reload": _reload,
    "(D,)": _shape(),
    "(2, 3, D)": _shape(2, 3),
    "(0, D)": _shape(0),
}


def _present(package: str) -> bool:
    return importlib.util.find_spec(MODULES.get(package, package)) is not None


def _or_nan(value: Callable[[], float]) -> float:
    try:
        return value()
    except Exception:
        return float("nan")


def _show(rows: list[Row]) -> str:
    return tabulate([{k: _cell(k, v) for k, v in row.items()} for row in rows], headers="keys", disable_numparse=True)


def _cell(name: str, value: Any) -> str:
    if name == "non-finite":
        return f"{100 * value:.3g} %"
    if name in ("largest", "median", "ladj"):
        return f"{value:.0e}"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


TABLES = {"couplings": couplings, "tools": tools}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(argv)
    if options.quick:
        options.dims, options.layers, options.steps, options.points = [16], 4, 20, 64
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore")
    for package in dict.fromkeys(p for _, p in LAYERS if p in options.packages):
        if not _present(package):
            print(f"{package} is not installed: left out. pip install {package} to have it beside.")
    for table in options.tables:
        rows = []
        for row in TABLES[table](options):
            rows.append(row)
            if options.out:
                with options.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"table": table, **row}, ensure_ascii=False) + "\n")
            if sys.stderr.isatty():
                print(".", end="", file=sys.stderr, flush=True)
        print(f"\n{table}\n\n{_show(rows)}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.robustness", description=(__doc__ or "").split("\n")[0])
    packages = list(dict.fromkeys(package for _, package in LAYERS))
    parser.add_argument("tables", nargs="*", default=list(TABLES), help=f"which of {', '.join(TABLES)}; default all")
    parser.add_argument("--packages", nargs="+", default=packages, choices=packages)
    parser.add_argument("--dims", nargs="+", type=int, default=[64, 256])
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--steps", type=int, default=200, help="steps of training; 0 for none")
    parser.add_argument("--points", type=int, default=512)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="4 layers, D = 16, 20 steps, 64 points")
    parser.add_argument("--out", type=Path, help="append each row as a line of JSON")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
