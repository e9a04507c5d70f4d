"""Learning from few labelled images: the moves, the learning rate, the prior of each class, and all together."""

import math

import pytest
import torch
from torch import nn

from gaussflow import (
    AffineJitter,
    Bernoulli,
    ClassMixture,
    Flow,
    KLAnnealing,
    PixelNoise,
    Standardize,
    Whiten,
    class_prior,
    conditional_vae_28,
    learn_images,
    load,
    one_hot,
    save,
)
from gaussflow.training._cosine import LAST, CosineAdam


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def blob(height=15, width=21, top=7, left=10):
    image = torch.zeros(1, 1, height, width)
    image[0, 0, top - 1 : top + 2, left - 1 : left + 2] = 1
    return image.flatten(1)


def centre(x, height, width):
    """Mean row and column of the ink."""
    images = x.reshape(len(x), -1, height, width).sum(1)
    rows, columns = torch.arange(float(height)), torch.arange(float(width))
    ink = images.sum((1, 2))
    return (images.sum(2) @ rows) / ink, (images.sum(1) @ columns) / ink


# the moves


def test_no_jitter_is_the_identity():
    x = torch.rand(4, 3 * 5 * 7)
    still = AffineJitter((3, 5, 7), shift=0, turn=0, stretch=0, slant=0)
    torch.testing.assert_close(still(x, seeded()), x, atol=2e-6, rtol=0)


def test_shifts_are_in_pixels_along_both_sides():
    jitter = AffineJitter((1, 15, 21), shift=1.5, turn=0, stretch=0, slant=0)
    rows, columns = centre(jitter(blob().expand(3000, -1), seeded()), 15, 21)
    for found, middle in ((rows, 7), (columns, 10)):
        assert found.mean().item() == pytest.approx(middle, abs=0.1)
        assert found.std().item() == pytest.approx(1.5, rel=0.05)


def test_turns_keep_lengths_whatever_the_sides():
    """A point 6 pixels from the middle stays there, and moves on the circle by the angle."""
    jitter = AffineJitter((1, 15, 21), shift=0, turn=0.2, stretch=0, slant=0)
    for top, left in ((7, 16), (2, 10)):
        rows, columns = centre(jitter(blob(top=top, left=left).expand(2000, -1), seeded()), 15, 21)
        y, x = rows - 7, columns - 10
        radius, angle = (x * x + y * y).sqrt(), torch.atan2(y, x) - math.atan2(top - 7, left - 10)
        assert radius.mean().item() == pytest.approx(math.hypot(top - 7, left - 10), abs=0.05)
        assert radius.std().item() < 0.1
        assert angle.std().item() == pytest.approx(0.2, rel=0.06)


def test_stretch_and_slant_are_shares():
    rows, columns = centre(
        AffineJitter((1, 15, 21), shift=0, turn=0, stretch=0.1, slant=0)(blob(left=17).expand(2000, -1), seeded()),
        15,
        21,
    )
    assert (columns - 10).std().item() == pytest.approx(0.7, rel=0.1)
    assert rows.std().item() < 0.05
    slanted = AffineJitter((1, 15, 21), shift=0, turn=0, stretch=0, slant=0.1)
    rows, columns = centre(slanted(blob(top=2).expand(2000, -1), seeded()), 15, 21)
    assert columns.std().item() == pytest.approx(0.5, rel=0.1)
    assert rows.std().item() < 0.05


def test_channels_move_together_and_images_apart():
    x = blob().repeat(2, 3)
    moved = AffineJitter((3, 15, 21))(x, seeded()).reshape(2, 3, -1)
    assert torch.equal(moved[:, 0], moved[:, 1])
    assert not torch.equal(moved[0], moved[1])
    again = AffineJitter((3, 15, 21))(x, seeded()).reshape(2, 3, -1)
    assert torch.equal(moved, again)
    assert 0 <= float(moved.min()) <= float(moved.max()) <= 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AffineJitter((28, 28)), "image_shape"),
        (lambda: AffineJitter((1, 28, 0)), "at least 1"),
        (lambda: AffineJitter((1, 4, 4), shift=-1), "shift of at least 0"),
        (lambda: AffineJitter((1, 4, 4), turn=math.nan), "turn of at least 0"),
        (lambda: AffineJitter((1, 4, 4))(torch.zeros(2, 15)), r"\(\.\.\., 16\)"),
    ],
)
def test_jitters_say_what_they_want(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# the learning rate


def test_cosine_rises_then_falls_to_nearly_nothing():
    weight = nn.Parameter(torch.ones(3))
    adam, rates = CosineAdam([weight], lr=0.1, steps=100), []
    for _ in range(130):
        weight.grad = torch.ones(3)
        adam.step()
        rates.append(adam.param_groups[0]["lr"])
    assert rates[0] == pytest.approx(0.1 * LAST)
    assert max(rates) == pytest.approx(0.1, rel=0.01)
    assert rates.index(max(rates)) == 3
    assert rates[50] == pytest.approx(0.1 * (LAST + (1 - LAST) / 2), rel=1e-6)
    assert rates[3:101] == sorted(rates[3:101], reverse=True)
    assert rates[100:] == pytest.approx([0.1 * LAST] * 30)


def test_cosine_goes_on_from_a_state():
    def grown(steps, adam, weight):
        for _ in range(steps):
            weight.grad = weight.detach().clone()
            adam.step()

    whole, parts = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    grown(40, CosineAdam([whole], 0.1, 60), whole)
    first = CosineAdam([parts], 0.1, 60)
    grown(15, first, parts)
    second = CosineAdam([parts], 0.1, 60)
    second.load_state_dict(first.state_dict())
    grown(25, second, parts)
    assert torch.equal(whole, parts)


# one density for each class


def mixture(dim=3):
    torch.manual_seed(0)
    return ClassMixture([Flow(Standardize(dim).fit(torch.randn(50, dim) * (k + 1) + 5 * k)) for k in range(3)])


def test_one_hot_context_chooses_and_weights_mix():
    prior, x = mixture(), torch.randn(3, 3)
    each = torch.stack([part.log_prob(x) for part in prior.parts], -1)
    torch.testing.assert_close(prior.log_prob(x, torch.eye(3)), each.diagonal())
    weights = torch.tensor([[0.2, 0.3, 0.5]]).expand(3, 3)
    torch.testing.assert_close(prior.log_prob(x, weights), (each.exp() * weights).sum(-1).log())


def test_samples_are_those_of_the_class_and_follow_the_generator():
    prior = mixture()
    drawn = prior.sample((400, 2), torch.eye(3), seeded())
    assert drawn.shape == (400, 2, 3, 3)
    means = drawn.mean((0, 1))
    torch.testing.assert_close(means, torch.stack([part.transform.loc for part in prior.parts]), atol=0.5, rtol=0)
    assert torch.equal(drawn, prior.sample((400, 2), torch.eye(3), seeded()))
    half = prior.sample(4000, torch.tensor([0.5, 0.0, 0.5]), seeded())
    assert (half[:, 0] > 5).double().mean().item() == pytest.approx(0.5, abs=0.06)
    assert prior.sample(0, torch.eye(3)).shape == (0, 3, 3)


def test_gradients_reach_the_chosen_part_only():
    prior = mixture()
    prior.log_prob(torch.randn(5, 3), torch.eye(3)[[1] * 5]).sum().backward()
    grads = [part.transform.loc.grad for part in prior.parts]
    assert all(torch.isfinite(g).all() for g in grads)
    assert [bool(g.abs().sum() > 0) for g in grads] == [False, True, False]


def test_a_mixture_is_saved_as_part_of_a_model(tmp_path):
    model = conditional_vae_28(3, latent_dim=3, widths=(4, 4, 4), prior=mixture()).eval()
    save(model, tmp_path / "m")
    context = torch.arange(3)
    assert torch.equal(load(tmp_path / "m").sample(2, context, seeded()), model.sample(2, context, seeded()))


@pytest.mark.parametrize(
    ("context", "message"),
    [
        (None, "needs context"),
        (torch.tensor([0.5, 0.5]), r"\(\.\.\., 3\)"),
        (torch.tensor([0.5, 0.5, 0.5]), "one-hot, or weights"),
        (torch.tensor([1.5, -0.5, 0.0]), "one-hot, or weights"),
        (torch.tensor([math.nan, 0.0, 1.0]), "one-hot, or weights"),
    ],
)
def test_mixtures_say_what_they_want(context, message):
    for call in (lambda: mixture().log_prob(torch.zeros(3), context), lambda: mixture().sample(2, context)):
        with pytest.raises(ValueError, match=message):
            call()


def test_parts_of_a_mixture_fit_together():
    with pytest.raises(TypeError, match="at least one"):
        ClassMixture([])
    with pytest.raises(TypeError, match="wants densities"):
        ClassMixture([nn.Linear(2, 2)])
    with pytest.raises(ValueError, match="of one dimension"):
        ClassMixture([Flow(Standardize(2)), Flow(Standardize(3))])


# all together


def crosses(n=60, seed=0):
    """Two signs of 28x28 pixels: a level and an upright line, in random places."""
    generator = seeded(seed)
    labels, x = torch.arange(n) % 2, torch.zeros(n, 28, 28)
    for image, label, place in zip(x, labels, torch.randint(8, 18, (n,), generator=generator), strict=True):
        if label:
            image[4:24, place : place + 3] = 1
        else:
            image[place : place + 3, 4:24] = 1
    return x.flatten(1), labels


@pytest.fixture(scope="module")
def learned():
    x, labels = crosses()
    torch.manual_seed(0)
    model = conditional_vae_28(2, latent_dim=4, widths=(8, 8, 16))
    history = learn_images(model, x, labels, epochs=60, progress=False)
    return model, history


def test_what_is_drawn_is_of_its_class(learned):
    model, history = learned
    assert history[-1]["valid"] < 0.4 * history[0]["valid"]
    images = model.sample(50, torch.arange(2), seeded()).reshape(50, 2, 28, 28)
    level, upright = (images.sum(axis).amax(-1) for axis in (3, 2))  # the fullest row, and the fullest column
    assert (level[:, 0] > upright[:, 0]).double().mean() > 0.8
    assert (level[:, 1] < upright[:, 1]).double().mean() > 0.8


def test_the_prior_of_the_classes_betters_the_bound(learned):
    model, _ = learned
    x, labels = crosses(seed=1)
    prior = model.prior
    with torch.no_grad():
        fitted = model.elbo(x, labels, seeded()).elbo.mean()
        plain = model.set_prior(None).elbo(x, labels, seeded()).elbo.mean()
    model.set_prior(prior)
    assert fitted > plain - 0.3


@pytest.mark.parametrize("points", [1, 500])
def test_class_prior_has_the_moments_of_the_codes(points):
    x, labels = crosses(200)
    model = conditional_vae_28(2, latent_dim=3, widths=(4, 4, 4)).eval()
    state = {k: v.clone() for k, v in model.state_dict().items()}
    prior = class_prior(model, x, labels, points=points)
    q = model.posterior(x, labels)
    drawn = prior.sample(20000, torch.eye(2), seeded())
    within = [torch.cov(q.mean[labels == k].T) + q.log_variance[labels == k].exp().mean(0).diag() for k in range(2)]
    for k in range(2):
        torch.testing.assert_close(drawn[:, k].mean(0), q.mean[labels == k].mean(0), atol=0.05, rtol=0)
        want = 0.5 * within[k] + 0.25 * (within[0] + within[1])
        torch.testing.assert_close(torch.cov(drawn[:, k].T), want, atol=0.08, rtol=0.05)
    assert all(torch.equal(state[k], v) for k, v in model.state_dict().items())


def test_images_are_moved_while_the_weight_rises_and_not_after():
    moved = []

    def augment(x, generator):
        moved.append(len(x))
        return x

    x, labels = crosses(64)
    model = conditional_vae_28(2, latent_dim=2, widths=(2, 2, 2))
    learn_images(model, x, labels, epochs=10, batch_size=32, annealed=0.6, augment=augment, progress=False)
    assert moved == [32] * 12 + [64] * 7  # batches, and the copies that the prior is fitted to
    assert not model.penalty.changing


def test_what_the_model_brings_is_kept():
    x, labels = crosses(20)
    penalty, prior = KLAnnealing(5), ClassMixture([Flow(Whiten(2)) for _ in range(2)])
    noise = PixelNoise(Bernoulli())
    model = conditional_vae_28(2, latent_dim=2, widths=(2, 2, 2), penalty=penalty, prior=prior, likelihood=noise)
    learn_images(model, x, labels, epochs=1, progress=False)
    assert model.penalty is penalty
    assert model.prior is prior
    assert model.likelihood is noise


def test_learning_is_the_same_for_the_same_seed_and_from_a_checkpoint(tmp_path):
    x, labels = crosses(40)

    def learn(epochs, **options):
        torch.manual_seed(0)
        model = conditional_vae_28(2, latent_dim=2, widths=(4, 4, 4))
        learn_images(model, x, labels, epochs=epochs, progress=False, **options)
        return model.state_dict()

    one, two, other = learn(4), learn(4, checkpoint=tmp_path / "c"), learn(4, seed=1)
    again = learn(4, checkpoint=tmp_path / "c")
    assert all(torch.equal(one[key], two[key]) and torch.equal(one[key], again[key]) for key in one)
    assert not all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.zeros(10, dtype=torch.int64), "none of class 1"),
        (torch.arange(10), "labels from 0 to 1"),
        (torch.arange(9) % 2, r"x \(N, D\) and labels \(N,\)"),
    ],
)
def test_labels_that_do_not_fit(labels, message):
    model = conditional_vae_28(2, latent_dim=2, widths=(2, 2, 2))
    for call in (learn_images, class_prior):
        with pytest.raises(ValueError, match=message):
            call(model, torch.zeros(10, 784), labels)


def test_settings_that_do_not_fit():
    x, labels = crosses(10)
    model = conditional_vae_28(2, latent_dim=2, widths=(2, 2, 2))
    with pytest.raises(ValueError, match="annealed from 0 to 1"):
        learn_images(model, x, labels, annealed=1.5)
    with pytest.raises(ValueError, match="epochs of at least 1"):
        learn_images(model, x, labels, epochs=0)
    assert one_hot(labels, 2).shape == (10, 2)
