"""Gradients by score function and by reparameterisation: both right on average, with variances in closed form."""

import math

import pytest
import torch
from benchmarks.score_function import along, closed_form, descend, draw, estimates, main, sampled, square


@pytest.mark.parametrize("dim", [1, 3])
def test_every_estimator_has_the_exact_gradient_as_its_mean(dim: int) -> None:
    mean = torch.linspace(-1, 2, dim, dtype=torch.float64)
    log_variance = torch.linspace(-1, 1, dim, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    for name, g in estimates(square, mean, log_variance, 50_000, generator).items():
        error = g.std(0) / math.sqrt(len(g))
        assert bool(((g.mean(0) - 2 * mean).abs() < 4 * error).all()), name


def test_closed_forms_are_those_published() -> None:
    assert closed_form(1) == {"score function": 30, "with a baseline": 18, "reparameterised": 4}
    assert closed_form(1)["score function"] / 4 == 7.5
    assert closed_form(50)["score function"] / 4 == 2678


def test_variances_are_their_closed_forms_in_every_dimension() -> None:
    """Four standard errors, each below a tenth of the variance, for 150 variances; scores as a normal law has them."""
    generator, scores = torch.Generator().manual_seed(0), []
    for dim in range(1, 51):
        truth = closed_form(dim)
        for name, (variance, error) in sampled(dim, 20_000, generator).items():
            assert error < 0.1 * truth[name]
            scores.append((variance - truth[name]) / error)
    scores = torch.tensor(scores)
    assert len(scores) == 150
    assert scores.abs().max() < 4
    assert 0.8 < scores.std() < 1.2


def test_variance_along_the_descent() -> None:
    generator = torch.Generator().manual_seed(0)
    for mean in (0.0, 0.5, 1.0, 2.0):
        at, none = torch.full((1,), mean, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
        got = estimates(square, at, none, 100_000, generator)
        for name, variance in along(mean).items():
            assert got[name].var().item() == pytest.approx(variance, rel=0.1)
    assert along(1.0)["score function"] == closed_form(1)["score function"]


def test_reference_run_and_its_picture(tmp_path) -> None:
    paths = {n: descend(n, 50, 1000, 0.05, torch.Generator().manual_seed(1)) for n in along(1.0)}
    means = {name: sum(step.variance for step in steps) / 50 for name, steps in paths.items()}
    assert means["reparameterised"] == pytest.approx(4, rel=0.1)
    assert means["score function"] > 3 * means["reparameterised"]
    assert all(abs(steps[-1].mean) < 0.1 for steps in paths.values())
    found = {d: sampled(d, 100, torch.Generator().manual_seed(0)) for d in (1, 2)}
    draw(paths, found, 1000, str(tmp_path / "picture.png"))
    assert (tmp_path / "picture.png").stat().st_size > 10_000


def test_command_prints_the_table(monkeypatch, capsys) -> None:
    monkeypatch.setattr("benchmarks.score_function.sampled", lambda d, n, g: sampled(d, 100, g))
    monkeypatch.setattr("sys.argv", ["score_function", "--epochs", "2", "--samples", "10"])
    main()
    printed = capsys.readouterr().out
    assert "(10712)" in printed
    assert "descent of E[z²] from mu = 1, 2 epochs of 10 samples" in printed
