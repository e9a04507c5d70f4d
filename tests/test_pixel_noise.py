"""The noise of pixels: measured about the mean images of a model, drawn with them, and saved."""

import pytest
import torch
from torch import nn

from gaussflow import (
    Bernoulli,
    PixelNoise,
    conditional_vae_28,
    load,
    save,
)
from gaussflow.apps.labelled_set import draw_labelled_set


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noisy(mean, seed):
    return (mean + 0.1 * torch.randn(mean.shape, generator=seeded(seed))).clamp(0, 1)


@pytest.mark.parametrize("low", [0.0, 0.3, 0.9])
def test_noise_has_the_law_of_the_pixels_at_the_usual_level(low):
    mean = low + 0.1 * torch.rand(300, 100, generator=seeded(1))
    drawn, fresh = PixelNoise(Bernoulli(), levels=10).fit(mean, noisy(mean, 2)).draw(mean, seeded(3)), noisy(mean, 4)
    ends = torch.tensor([0.05, 0.3, 0.5, 0.7, 0.95])
    torch.testing.assert_close(drawn.quantile(ends), fresh.quantile(ends), atol=0.02, rtol=0)
    blank = [(x == 0).double().mean().item() for x in (drawn, fresh)]
    assert blank[0] == pytest.approx(blank[1], abs=0.03)


def test_noise_follows_the_mean_at_other_levels():
    mean = torch.rand(300, 100, generator=seeded(1)) * 0.6 + 0.2
    drawn = PixelNoise(Bernoulli()).fit(mean, noisy(mean, 2)).draw(mean, seeded(3)) - mean
    for low in (0.2, 0.4, 0.6):
        at = (mean >= low) & (mean < low + 0.1)
        assert drawn[at].mean().item() == pytest.approx(0, abs=0.01)
        assert drawn[at].std().item() == pytest.approx(0.1, abs=0.015)


def test_lines_out_of_place_are_no_noise():
    """Where the mean is grey since a line is here or there, single pixels do not flicker between black and white."""
    mean = torch.zeros(50, 100)
    mean[:, :10] = 0.5
    x = noisy(mean, 1)
    x[:, :10] = (torch.rand(50, 1, generator=seeded(2)) > 0.5).float()
    noise = PixelNoise(Bernoulli()).fit(mean, x)
    drawn = noise.draw(mean, seeded(3))
    assert drawn[:, :10].std() <= drawn[:, 10:].std() + 0.01
    assert drawn[:, :10].mean().item() == pytest.approx(x[:, :10].mean().item(), abs=0.02)
    still = PixelNoise(Bernoulli()).fit(mean, (x > 0.9).float())
    assert float(still.draw(mean)[:, 10:].abs().max()) == 0
    assert float(still.draw(mean)[:, :10].std()) == pytest.approx(0, abs=1e-6)


def test_noise_of_no_noise_is_the_mean_and_rare_levels_borrow():
    mean = torch.linspace(0, 1, 2000)[None]
    assert (PixelNoise(Bernoulli()).fit(mean, mean).draw(mean) - mean).abs().max() < 0.06
    assert (PixelNoise(Bernoulli()).draw(mean) - mean).abs().max() <= 0.5 / 64 + 1e-6
    few = PixelNoise(Bernoulli()).fit(torch.tensor([[0.0, 0.1, 0.9]]), torch.tensor([[0.0, 0.2, 1.0]]))
    assert bool(torch.isfinite(few.draw(mean)).all())


def test_noise_leaves_the_likelihood_and_is_saved_with_the_model(tmp_path):
    x, labels = torch.rand(20, 784, generator=seeded(5)).round(), torch.arange(20) % 2
    model = conditional_vae_28(2, latent_dim=2, widths=(2, 2, 2)).eval()
    before = model.elbo(x, labels, seeded()).elbo
    model.likelihood = PixelNoise(model.likelihood).fit(x, x)
    torch.testing.assert_close(model.elbo(x, labels, seeded()).elbo, before)
    save(model, tmp_path / "m")
    again = load(tmp_path / "m")
    assert torch.equal(again.likelihood.table, model.likelihood.table)
    drawn = [draw_labelled_set(each, 3, seed=1).x for each in (model, again)]
    assert torch.equal(*drawn)
    plain = draw_labelled_set(model, 3, seed=1, noise=False).x
    assert not torch.equal(drawn[0], plain)
    means = model.sample((), torch.arange(2).repeat_interleave(3), seeded(1))
    torch.testing.assert_close(plain, means, atol=0.5 / 255 + 1e-6, rtol=0)
    with pytest.raises(TypeError, match="wants a Likelihood"):
        PixelNoise(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="images like their means"):
        PixelNoise(Bernoulli()).fit(x, x[:3])
