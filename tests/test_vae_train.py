"""Variational models in training: the known optimum, annealing, averaged weights, precision, augmentation, collapse."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gaussflow import (
    MLP,
    VAE,
    Bernoulli,
    ConvDecoder,
    ConvEncoder,
    Flow,
    FreeBits,
    Gaussian,
    KLAnnealing,
    PosteriorCollapseWarning,
    Standardize,
    active_units,
    aggregate_posterior,
    as_rows,
    conditional_vae_28,
    one_hot,
    rbig,
    train,
)
from gaussflow.training._average import Average
from gaussflow.training._trainer import Trainer

D, L = 5, 2


def linear_vae(**parts: Any) -> VAE:
    return VAE((D,), L, MLP(D, 2 * L, ()), MLP(L, D, ()), Gaussian(learned=True), **parts)


def linear_data(n: int = 1000) -> Tensor:
    g = torch.Generator().manual_seed(5)
    weight = torch.randn(L, D, generator=g) * torch.tensor([[2.0], [0.8]])
    return torch.randn(n, L, generator=g) @ weight + 0.3 * torch.randn(n, D, generator=g) + 1.0


def principal_components_likelihood(x: Tensor) -> float:
    """The largest mean log-likelihood of a linear Gaussian model with L codes (Tipping and Bishop 1999)."""
    values = torch.linalg.eigvalsh((x - x.mean(0)).double().T.cov(correction=0)).flip(0)
    rest = values[L:].mean()
    return -0.5 * float(D * math.log(2 * math.pi) + values[:L].log().sum() + (D - L) * rest.log() + D)


def test_a_linear_model_reaches_the_likelihood_of_principal_components() -> None:
    """Its posterior is as free as the true one, so that at the optimum the bound is the likelihood."""
    x, vae = linear_data(), linear_vae()
    best = principal_components_likelihood(x)
    train(vae, x, valid=x, lr=0.03, epochs=150, batch_size=250, patience=20, ema=0.98, progress=False)
    with torch.no_grad():
        bound, tight = (
            torch.stack([f(x).mean() for _ in range(20)]).mean()
            for f in (lambda x: vae.elbo(x).elbo, lambda x: vae.importance_bound(x, samples=8))
        )
    assert best - 0.05 < float(bound) < best + 0.01
    assert float(bound) <= float(tight) + 0.005
    assert float(tight) < best + 0.01
    assert float(vae.likelihood.log_variance.detach().exp()) == pytest.approx(0.09, rel=0.15)
    assert active_units(vae, x).all()


def test_a_prior_fitted_to_the_aggregate_posterior_raises_the_bound() -> None:
    """Codes of two clusters: a standard normal prior cannot say so, a flow fitted to them in closed form can."""
    x = linear_data() + 6 * (torch.arange(1000) % 2)[:, None]
    vae = linear_vae(penalty=KLAnnealing(10, end=0.05))  # codes are hardly drawn to the prior
    train(vae, x, lr=0.03, epochs=30, progress=False)
    with torch.no_grad():
        before = float(vae.importance_bound(x, samples=16).mean())
        prior, _ = rbig(aggregate_posterior(vae, x), max_blocks=4, progress=False)
        after = float(vae.set_prior(prior).importance_bound(x, samples=16).mean())
    assert after > before + 0.2


class StopError(Exception):
    """What the tests interrupt with."""


def noisy(x: Tensor, generator: torch.Generator) -> Tensor:
    return (x + 0.1 * torch.rand(x.shape, generator=generator)).clamp(0, 1)


def conv_vae(**parts: Any) -> VAE:
    torch.manual_seed(1)
    shape = (1, 6, 6)
    return VAE(shape, L, ConvEncoder(shape, 2 * L, (4,)), ConvDecoder(L, shape, (4,)), Bernoulli(), **parts)


def pictures(n: int = 120) -> Tensor:
    g = torch.Generator().manual_seed(2)
    slopes, noise = torch.rand(n, 1, generator=g), 0.3 * torch.rand(n, 36, generator=g)
    return (slopes * torch.linspace(0, 1.4, 36) + noise).clamp(0, 1)


def numbers(model: nn.Module) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in model.state_dict().items()}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(v, other[k]) for k, v in one.items())


OPTIONS: dict[str, dict[str, Any]] = {
    "ema": {"ema": 0.9},
    "all": {"ema": 0.8, "augment": noisy, "autocast": torch.bfloat16},
}


@pytest.mark.filterwarnings("ignore::gaussflow.PosteriorCollapseWarning")
@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("after", [2, 7])
def test_resumed_is_uninterrupted_to_the_bit(
    name: str, after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"epochs": 10, "patience": 2, "lr": 0.05, "batch_size": 32, "progress": False, **OPTIONS[name]}
    make: Callable[[], VAE] = lambda: conv_vae(penalty=nn.Sequential(FreeBits(0.05), KLAnnealing(12)))  # noqa: E731
    whole, x = make(), pictures()
    history = train(whole, x, **options)
    assert len(history) == 11
    epoch = Trainer.run_epoch

    def run_epoch(self: Trainer) -> None:
        if self.epoch == after:
            raise StopError
        epoch(self)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "run_epoch", run_epoch)
        with pytest.raises(StopError):
            train(make(), x, checkpoint=tmp_path / "c", **options)
    again = make()
    resumed = train(again, x, checkpoint=tmp_path / "c", **options)
    assert resumed.column("valid") == history.column("valid")
    assert resumed.column("train") == history.column("train")
    assert equal(numbers(again), numbers(whole))
    for other in ({"ema": 0.7}, {"augment": None} if name == "all" else {"augment": noisy}):
        with pytest.raises(ValueError, match=f"differs in {next(iter(other))}"):
            train(make(), x, checkpoint=tmp_path / "c", **{**options, **other})


def test_the_average_is_that_of_the_weights_after_each_step() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    average, expected = Average(model, 0.5), numbers(model)
    for step in range(1, 8):
        for p in model.parameters():
            nn.init.normal_(p)
        model(torch.randn(4, 3))
        average.update(model)
        decay = min(0.5, (1 + step) / (10 + step))
        for name, now in model.state_dict().items():
            old = expected[name]
            expected[name] = decay * old + (1 - decay) * now if now.is_floating_point() else now.clone()
    torch.testing.assert_close(average.state, expected)
    own = numbers(model)
    with average.inside(model):
        assert equal(numbers(model), average.state)
    assert equal(numbers(model), own)


def test_the_average_is_what_is_judged_and_kept() -> None:
    x, vae = pictures(), conv_vae()
    history = train(vae, x, valid=x, lr=0.1, batch_size=16, epochs=6, ema=0.95, progress=False)
    assert not vae.training
    torch.manual_seed(0)
    with torch.no_grad():
        left = -float(vae(x).double().mean())
    assert left == pytest.approx(min(history.column("valid")), abs=1e-4)
    plain = train(conv_vae(), x, valid=x, lr=0.1, batch_size=16, epochs=6, progress=False)
    assert plain.column("train")[1] == history.column("train")[1]  # the steps are the same, what is judged is not
    assert plain.column("valid")[1] != history.column("valid")[1]


def test_held_out_rows_are_judged_by_the_true_bound_and_as_they_are() -> None:
    x, seen = pictures(), []

    def white(x: Tensor, generator: torch.Generator) -> Tensor:
        seen.append(torch.rand(1, generator=generator))
        return torch.ones_like(x)

    vae = conv_vae(penalty=KLAnnealing(10**6))
    before = numbers(vae)
    vae.eval()
    torch.manual_seed(0)
    with torch.no_grad():
        left = -float(vae(x).double().mean())
    history = train(vae, x, valid=x, epochs=2, lr=1e-9, batch_size=40, augment=white, progress=False)
    assert history.column("valid")[0] == pytest.approx(left, abs=1e-4)
    assert history.column("train")[1] < 36 * math.log(2) + 3  # white pictures, no KL
    assert len(seen) == 6
    assert len({float(s) for s in seen}) == 6
    assert vae.state_dict().keys() == before.keys()
    with pytest.raises(ValueError, match="augment to keep the shape"):
        train(conv_vae(), x, augment=lambda x, g: x[:, :3], epochs=1, progress=False)


def test_annealing_goes_on_over_epochs() -> None:
    vae = conv_vae(penalty=KLAnnealing(8))
    train(vae, pictures(), valid=pictures(20), epochs=3, batch_size=30, lr=1e-3, progress=False)
    assert int(vae.penalty.count) in (0, 4, 8, 12)  # the best epoch's; four batches each


@pytest.mark.parametrize(("steps", "epochs"), [(1, 6), (24, 11)])
def test_an_epoch_of_annealing_is_no_plateau(steps: int, epochs: int) -> None:
    """Steps of length nearly zero never get better; four batches each, and three plateaus of two epochs each."""
    x, vae = pictures(), conv_vae(penalty=KLAnnealing(steps))
    vae.encoder.body[1].momentum = vae.decoder.body[1].momentum = 0.0
    options: dict[str, Any] = {"optimizer": lambda p: torch.optim.SGD(p, lr=0.0), "patience": 2, "batch_size": 30}
    with pytest.warns(PosteriorCollapseWarning):
        history = train(vae, x, valid=x[:20], epochs=50, progress=False, **options)
    assert len(history) - 1 == epochs


def test_mixed_precision_trains() -> None:
    x = pictures()
    mixed = train(conv_vae(), x, valid=x, epochs=8, autocast=torch.bfloat16, batch_size=32, progress=False)
    whole = train(conv_vae(), x, valid=x, epochs=8, batch_size=32, progress=False)
    assert mixed[0]["valid"] == whole[0]["valid"]  # held-out rows are judged in full
    assert mixed[-1]["valid"] != whole[-1]["valid"]
    assert mixed[-1]["valid"] == pytest.approx(whole[-1]["valid"], abs=0.3)
    assert mixed[-1]["valid"] < mixed[0]["valid"] - 1
    model = conv_vae()
    train(model, x, epochs=1, autocast=torch.bfloat16, progress=False)
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_a_collapsed_posterior_is_told_of_once() -> None:
    x = torch.randn(200, D)
    model = VAE((D,), L, MLP(D, 2 * L, ()), MLP(L, D, ()), Gaussian(50.0))  # noise so loud that codes do not pay
    with pytest.warns(PosteriorCollapseWarning, match="0 of 2 units of VAE are active") as caught:
        train(model, x, epochs=40, lr=0.05, progress=False)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    train(model, x, epochs=3, progress=False)  # too early to tell
    train(Flow(Standardize(D)), x, epochs=1, progress=False)


def test_labels_are_learned() -> None:
    """Two classes, a bright upper and a bright lower half: samples show the half they are asked for."""
    labels = torch.arange(128) % 2
    rows = torch.arange(28)[:, None].expand(28, 28).reshape(-1)
    half = (rows[None] < 14) == (labels[:, None] == 0)
    x = (0.8 * half + 0.1 + 0.1 * torch.rand(128, 784)).float()
    vae = conditional_vae_28(2, latent_dim=2, widths=(4, 8, 8), likelihood=Gaussian(0.05, learned=True, sigmoid=True))
    train(vae, as_rows(x, one_hot(labels, 2)), epochs=12, batch_size=32, progress=False)
    upper, lower = vae.sample(32, torch.arange(2)).reshape(32, 2, 2, 392).mean((0, -1)).unbind(-1)
    assert upper[0] > lower[0] + 0.4
    assert lower[1] > upper[1] + 0.4


def test_doors() -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"ema": 1.0}, "ema between 0 and 1"),
        ({"ema": math.nan}, "ema between 0 and 1"),
        ({"autocast": torch.float16}, r"torch\.bfloat16 or None"),
    ]
    for options, message in wrong:
        with pytest.raises(ValueError, match=message):
            train(conv_vae(), pictures(), progress=False, **options)
    with pytest.raises(ValueError, match=r"pixels in \[0, 1\]"):
        train(conv_vae(), 255 * pictures(), progress=False)
