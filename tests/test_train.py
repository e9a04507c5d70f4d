"""Train: it finds the optimum, stops on held-out rows, resumes to the bit, and survives what goes wrong."""

import io
import math
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gaussflow import (
    MLP,
    AffineCoupling,
    Chain,
    ChunkRows,
    Flow,
    History,
    HouseholderRotation,
    MarginalTable,
    Permutation,
    Standardize,
    Transform,
    as_rows,
    train,
)
from gaussflow.training import _batches
from gaussflow.training._batches import batches
from gaussflow.training._checkpoint import write_checkpoint
from gaussflow.training._trainer import Trainer


class Affine(Transform):
    """z = (x − shift) e^s, whose best shift and s are mean and −log standard deviation."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.shift, self.s = nn.Parameter(torch.zeros(dim)), nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return (x - self.shift) * self.s.exp(), self.s.sum().expand(x.shape[:-1])

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return z * (-self.s).exp() + self.shift, -self.s.sum().expand(z.shape[:-1])

    def config(self) -> dict[str, Any]:
        return {"dim": self.dim}


class Noisy(nn.Module):
    """A bound that is random: what a variational model is to `train`."""

    def __init__(self) -> None:
        super().__init__()
        self.flow, self.drop = Flow(Affine(2)), nn.Dropout(0.1)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.flow(self.drop(x + 0.1 * torch.randn_like(x)))


def coupled() -> Flow:
    torch.manual_seed(1)
    net = MLP(2, 4, (16,))
    return Flow(Chain(AffineCoupling(4, [0, 1], net), Permutation([2, 3, 0, 1]), AffineCoupling(4, [0, 1])))


def table(n: int = 300, dim: int = 4) -> Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(5)).cumsum(1).sinh()


def same(one: History, other: History) -> bool:
    """Equal but for the clock."""
    strip = [[{k: v for k, v in r.items() if k != "seconds"} for r in h] for h in (one, other)]
    return strip[0] == strip[1]


def numbers(model: nn.Module) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in model.state_dict().items()}


@torch.no_grad()
def mean(model: nn.Module, x: Tensor) -> float:
    return float(model(x).double().mean())


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[k], other[k]) for k in one)


def test_it_finds_mean_and_scale() -> None:
    x = torch.randn(2000, 2) * torch.tensor([0.5, 3.0]) + torch.tensor([1.0, -2.0])
    flow = Flow(Affine(2))
    history = train(flow, x, valid=x, lr=0.03, epochs=100, progress=False)
    exact = Flow(Standardize(2).fit(x)).log_prob(x).mean()
    assert abs(mean(flow, x) - exact) < 1e-3
    assert abs(history.column("valid")[0] + mean(Flow(Affine(2)), x)) < 1e-5
    assert not flow.training


@pytest.mark.parametrize(("clip", "far"), [(0.1, False), (None, True)])
def test_a_step_is_no_longer_than_the_clip(clip: float | None, far: bool) -> None:
    x, flow = 100 * torch.randn(300, 2), Flow(Standardize(2))
    options = {"epochs": 1, "batch_size": 300, "progress": False, "optimizer": lambda ps: torch.optim.SGD(ps, lr=1.0)}
    history = train(flow, x, valid=torch.zeros(1, 2), clip=clip, **options)
    assert history[-1]["norm"] > 100
    assert (abs(history[-1]["valid"] - history[0]["valid"]) > 0.2) == far


def test_history_and_progress(capsys: pytest.CaptureFixture[str]) -> None:
    history = train(coupled(), table(), epochs=3, progress=False)
    assert [r["epoch"] for r in history] == [0, 1, 2, 3]
    assert list(history[1]) == ["epoch", "train", "valid", "lr", "norm", "skipped", "seconds"]
    assert history[0]["train"] is None
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == ""
    err = io.StringIO()
    with redirect_stderr(err):
        train(coupled(), table(), epochs=2, progress=True)
    assert "held out" in err.getvalue()
    assert "2/2" in err.getvalue()


def test_best_weights_are_those_of_the_best_epoch() -> None:
    """Two dozen rows are soon learned by heart; what is left is the epoch that the held-out rows liked best."""
    x, valid = table(24), table(400)[24:]
    flow = coupled()
    history = train(flow, x, valid=valid, lr=0.02, patience=5, progress=False)
    left = history.column("valid")
    assert len(history) < 201
    assert left[-1] > min(left) + 0.1
    assert -mean(flow, valid) == pytest.approx(min(left), abs=1e-5)
    rates = history.column("lr")
    assert [round(rates[0] / rate) for rate in dict.fromkeys(rates)] == [1, 3, 9]
    assert min(rates.count(rate) for rate in rates[1:]) >= 5


def test_held_out_rows_never_get_worse() -> None:
    x = torch.randn(200, 3)
    flow = Flow(Chain(HouseholderRotation(3, 3), Affine(3)))
    before = mean(flow, x)
    history = train(flow, x, valid=x, lr=50.0, clip=None, epochs=3, progress=False)
    assert min(history.column("valid")) == history[0]["valid"]
    assert mean(flow, x) == pytest.approx(before, abs=1e-6)


def test_deterministic_for_a_seed_and_leaves_the_random_state() -> None:
    state = torch.get_rng_state()
    results = []
    for seed in (3, 3, 4):
        model = Noisy()
        torch.manual_seed(len(results))  # what went before must not matter
        results.append((numbers(model), train(model, table(dim=2), epochs=4, seed=seed, progress=False)))
        results[-1] = (numbers(model), results[-1][1])
    assert equal(results[0][0], results[1][0])
    assert same(results[0][1], results[1][1])
    assert not equal(results[0][0], results[2][0])
    torch.set_rng_state(state)
    train(Noisy(), table(dim=2), epochs=2, progress=False)
    assert torch.equal(torch.get_rng_state(), state)


class StopError(Exception):
    """What the tests interrupt with."""


def interrupted(after: int, error: type[BaseException]) -> Callable[[Trainer], None]:
    whole, step = Trainer.run_epoch, Trainer._step

    def run_epoch(self: Trainer) -> None:
        if self.epoch == after:  # in the middle of the next epoch
            calls = iter(range(100))

            def stop(chunk: Any) -> tuple[float, float]:
                if next(calls) == 1:
                    raise error
                return step(self, chunk)

            self._step = stop  # type: ignore[method-assign]
        whole(self)

    return run_epoch


@pytest.mark.parametrize("make", [coupled, Noisy], ids=["flow", "bound"])
@pytest.mark.parametrize("after", [1, 8, 14])
@pytest.mark.parametrize("error", [StopError, KeyboardInterrupt])
def test_resumed_is_uninterrupted_to_the_bit(
    make: Callable[[], nn.Module],
    after: int,
    error: type[BaseException],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = table(dim=4 if make is coupled else 2)
    options: dict[str, Any] = {"epochs": 20, "patience": 2, "lr": 0.03, "batch_size": 64, "progress": False}
    whole = make()
    history = train(whole, x, **options)
    assert len(history) > after + 1
    path, model = tmp_path / "c", make()
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "run_epoch", interrupted(after, error))
        with pytest.raises(error):
            train(model, x, checkpoint=path, **options)
    assert not model.training
    best = min(history.column("valid")[: after + 1])
    assert train(model, x, epochs=0, progress=False)[0]["valid"] == best  # the best weights so far
    torch.manual_seed(99)
    again = make()
    for p in again.parameters():
        nn.init.normal_(p)  # the weights come from the checkpoint
    assert same(train(again, x, checkpoint=path, **options), history)
    assert equal(numbers(again), numbers(whole))
    third = make()
    assert same(train(third, x, checkpoint=path, **options), history)  # a finished training is not gone on with
    assert equal(numbers(third), numbers(whole))


def test_more_epochs_go_on_from_the_checkpoint(tmp_path: Path) -> None:
    options: dict[str, Any] = {"lr": 0.01, "progress": False}
    whole, parts = coupled(), coupled()
    history = train(whole, table(), epochs=6, **options)
    for epochs in (2, 4, 6):
        last = train(parts, table(), epochs=epochs, checkpoint=tmp_path / "c", **options)
    assert same(last, history)
    assert equal(numbers(parts), numbers(whole))


def test_another_optimizer_with_state_of_its_own_resumes(tmp_path: Path) -> None:
    def optimizer(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=1e-3, momentum=0.9)

    whole, parts = coupled(), coupled()
    history = train(whole, table(), epochs=4, optimizer=optimizer, progress=False)
    assert history[1]["lr"] == 1e-3
    for epochs in (2, 4):
        last = train(parts, table(), epochs=epochs, optimizer=optimizer, checkpoint=tmp_path / "c", progress=False)
    assert same(last, history)
    assert equal(numbers(parts), numbers(whole))


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    path, x = tmp_path / "c", table()
    train(coupled(), x, epochs=1, checkpoint=path, progress=False)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"seed": 1}, "differs in seed"),
        ({"lr": 0.1}, "differs in lr"),
        ({"batch_size": 7}, "differs in batch_size"),
        ({"optimizer": lambda p: torch.optim.SGD(p, lr=1e-2)}, "differs in optimizer"),
    ]
    for options, message in wrong:
        with pytest.raises(ValueError, match=message):
            train(coupled(), x, checkpoint=path, epochs=2, progress=False, **options)
    with pytest.raises(ValueError, match="differs in sums"):
        train(coupled(), x + 1, checkpoint=path, epochs=2, progress=False)
    with pytest.raises(ValueError, match="does not fit this model"):
        train(Flow(Affine(4)), x, checkpoint=path, epochs=2, progress=False)
    model = coupled()
    before = numbers(model)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match="cut short"):
        train(model, x, checkpoint=path, progress=False)
    write_checkpoint(path, {}, {})
    with pytest.raises(ValueError, match="another training"):
        train(model, x, checkpoint=path, progress=False)
    assert equal(numbers(model), before)


class Poison(nn.Module):
    """A model whose value is not finite wherever a row is beyond a limit, or everywhere after so many calls."""

    def __init__(self, limit: float, gradient_only: bool = False) -> None:
        super().__init__()
        self.flow, self.limit, self.gradient_only = Flow(Affine(2)), limit, gradient_only

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        values = self.flow(x)
        if not self.training:
            return values
        far = x.abs().amax(-1) > self.limit
        if not self.gradient_only:
            return torch.where(far, torch.nan, values)
        return values + (self.flow.transform.s.sum() * 0).sqrt() if far.any() else values  # 0, with slope infinity


@pytest.mark.parametrize("gradient_only", [False, True])
def test_a_batch_that_is_not_finite_is_left_out(gradient_only: bool) -> None:
    x = table(256, 2).clamp(-3, 3)
    x[7] = 50.0
    model = Poison(10, gradient_only)
    history = train(model, x, valid=x[8:], batch_size=16, epochs=3, lr=0.01, progress=False)
    assert history.column("skipped") == [0, 1, 1, 1]
    assert all(bool(p.isfinite().all()) for p in model.parameters())
    assert history[-1]["valid"] < history[0]["valid"]
    assert all(math.isfinite(r["norm"]) for r in list(history)[1:])


def test_nothing_but_bad_batches_is_an_error_with_the_best_weights() -> None:
    model, x = Poison(0.0), table(100, 2)
    before = numbers(model)
    with pytest.raises(FloatingPointError, match=r"10 batches in a row.*best weights"):
        train(model, x, batch_size=8, progress=False)
    assert equal(numbers(model), before)
    assert not model.training


def test_held_out_values_that_are_not_finite_are_no_best() -> None:
    class Late(Poison):
        def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
            return self.flow(x) if self.training else torch.full_like(x[..., 0], torch.nan)

    history = train(Late(0.0), table(50, 2), epochs=2, progress=False)
    assert history.column("valid") == [math.inf] * 3
    assert "null" in history.to_json()


def test_a_part_that_is_not_smooth_is_named() -> None:
    flow = Flow(Chain(Affine(2), Chain(MarginalTable(2), Affine(2))))
    with pytest.raises(ValueError, match=r"MarginalTable at transform\.parts\.1\.parts\.0 has a density with jumps"):
        train(flow, torch.randn(50, 2))


def test_the_doors_say_what_they_want() -> None:
    x = torch.randn(50, 2)
    wrong: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"epochs": -1}, ValueError, "epochs of at least 0"),
        ({"batch_size": 0}, ValueError, "batch_size of at least 1"),
        ({"patience": 0}, ValueError, "patience of at least 1"),
        ({"lr": 0.0}, ValueError, "lr and clip above 0"),
        ({"lr": math.nan}, ValueError, "lr and clip above 0"),
        ({"clip": -1.0}, ValueError, "lr and clip above 0"),
        ({"seed": 1.5}, TypeError, "integer for seed"),
        ({"valid": torch.randn(5, 3)}, ValueError, r"valid rows like the rows: \(2 coordinates"),
        ({"valid": as_rows(x, context=x)}, ValueError, r"got \(2, 2\)"),
        ({"valid": x * math.nan}, ValueError, "finite numbers"),
    ]
    for options, error, message in wrong:
        with pytest.raises(error, match=message):
            train(Flow(Affine(2)), x, progress=False, **options)
    with pytest.raises(ValueError, match="Flow has none that require gradients"):
        train(Flow(Permutation([1, 0])), x)
    with pytest.raises(ValueError, match="rows on both sides"):
        train(Flow(Affine(2)), x[:1])


def test_frozen_parameters_stay() -> None:
    flow = coupled()
    first = flow.transform[0]
    first.requires_grad_(False)
    before = numbers(first)
    train(flow, table(), epochs=2, progress=False)
    assert equal(numbers(first), before)


def test_context() -> None:
    context = torch.randn(500, 1)
    x = torch.cat([torch.randn(500, 1), 3 * context + 0.1 * torch.randn(500, 1)], 1)
    flow = Flow(AffineCoupling(2, [0], MLP, context_dim=1))
    history = train(flow, as_rows(x, context), epochs=30, lr=0.01, progress=False)
    assert history[-1]["valid"] < history[0]["valid"] - 2


class Again:
    def __init__(self, parts: list[Tensor]) -> None:
        self.parts = parts

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.parts)


def test_chunks_are_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    x = table(300, 2)
    for elements in (100, 2**20):
        monkeypatch.setattr(_batches, "BUFFER_ELEMENTS", elements)
        flow = Flow(Affine(2))
        train(flow, Again(list(x.split(37))), valid=x, batch_size=32, epochs=60, lr=0.03, progress=False)
        exact = Flow(Standardize(2).fit(x)).log_prob(x).mean()
        assert abs(mean(flow, x) - exact) < 5e-3


@pytest.mark.parametrize("n", [1, 5, 63, 64, 65, 300, 301])
@pytest.mark.parametrize("elements", [10, 400, 2**20])
def test_batches_hold_every_row_once_and_none_is_tiny(n: int, elements: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_batches, "BUFFER_ELEMENTS", elements)
    x = torch.arange(float(n))[:, None]
    for rows in (as_rows(x, x + 0.5), ChunkRows([(part, part + 0.5) for part in x.split(23)])):
        seen = list(batches(rows, 32, 1))
        order = torch.cat([b for b, _ in seen])
        assert all(c is not None and torch.equal(c, b + 0.5) for b, c in seen)
        assert torch.equal(order.sort(0).values, x)
        assert n < 5 or not torch.equal(order, x)
        assert min(len(b) for b, _ in seen) >= min(n, 16)
        assert max(len(b) for b, _ in seen) <= 48
        other = torch.cat([b for b, _ in batches(rows, 32, 2)])
        assert n < 5 or not torch.equal(order, other)
        assert torch.equal(order, torch.cat([b for b, _ in batches(rows, 32, 1)]))
