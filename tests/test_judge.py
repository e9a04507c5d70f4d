"""Judging: every measure against an answer that is known."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from gaussflow.apps._closeness import nearest, radii
from gaussflow.apps.images import read_images
from gaussflow.apps.judge import (
    Judge,
    classifier_score,
    diversity,
    frechet_distance,
    judge_images,
    memorisation,
    neighbourhood_scores,
)


def points(n, dim=4, seed=0, shift=0.0):
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed)) + shift


def bars(n, seed=0, noise=0.1):
    """Images of 8x8 pixels with one bright line: upright, level or slanting, in a random place."""
    rng = np.random.default_rng(seed)
    labels, images = rng.integers(0, 3, n), np.zeros((n, 8, 8))
    for image, label, place in zip(images, labels, rng.integers(1, 7, n), strict=True):
        if label == 0:
            image[:, place] = 1
        elif label == 1:
            image[place] = 1
        else:
            image[np.arange(8), (np.arange(8) + place) % 8] = 1
    noisy = np.clip(images + noise * rng.normal(size=images.shape), 0, 1)
    return read_images(noisy, labels=labels, classes=["upright", "level", "slant"])


@pytest.fixture(scope="module")
def judge():
    return Judge(epochs=20).fit(bars(300, seed=1))


def test_a_judge_knows_what_it_saw_and_is_blind_to_noise(judge):
    test = bars(200, seed=2)
    assert judge.accuracy(test) > 0.97
    assert min(judge.class_accuracy(test)) > 0.95
    assert torch.equal(judge.predict(test) == test.labels, judge.predict(test) == test.labels)
    swapped = read_images(test.bytes(), labels=1 - test.labels.clamp(max=1), classes=test.classes)
    assert judge.accuracy(swapped) < 0.1
    noise = read_images(np.random.default_rng(0).random((300, 8, 8)), labels=np.arange(300) % 3, classes=test.classes)
    assert abs(judge.accuracy(noise) - 1 / 3) < 0.1


def test_a_judge_is_the_same_for_the_same_seed_and_leaves_torch_alone():
    images, before = bars(64), torch.get_rng_state()
    one, two, other = (Judge(seed=s, epochs=2).fit(images).features(images) for s in (3, 3, 4))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert torch.equal(before, torch.get_rng_state())


def test_moved_copies_make_more_of_few_images():
    few, test, moved = bars(12, seed=5), bars(300, seed=6), []

    def rolled(x, generator):
        """Every class stays what it is where the image goes round."""
        moved.append(len(x))
        places = torch.randint(8, (len(x), 2), generator=generator)
        images = [image.roll(tuple(p), (0, 1)) for image, p in zip(x.view(-1, 8, 8), places.tolist(), strict=True)]
        return torch.stack(images).flatten(1)

    plain = Judge(epochs=60).fit(few).accuracy(test)
    assert Judge(epochs=60, augment=rolled).fit(few).accuracy(test) > plain + 0.1
    assert moved == [12] * 60


def test_class_accuracy_is_taken_class_by_class(judge):
    test = bars(90, seed=3)
    accuracy, counts = judge.class_accuracy(test), test.counts
    whole = sum(a * n for a, n in zip(accuracy, counts, strict=True)) / len(test)
    assert judge.accuracy(test) == pytest.approx(whole)
    lacking = test.take((test.labels != 1).nonzero()[:, 0])
    assert math.isnan(judge.class_accuracy(lacking)[1])


def test_classifier_score_of_good_and_spoilt_sets():
    real, test = bars(200, seed=4), bars(200, seed=5)
    good = classifier_score(real, test, epochs=25)
    wrong = read_images(real.bytes(), labels=(real.labels + 1) % 3, classes=real.classes)
    same = read_images(np.repeat(real.bytes()[:1], 60, 0), labels=np.arange(60) % 3, classes=real.classes)
    assert good > 0.95
    assert classifier_score(wrong, test, epochs=25) < 0.05
    assert classifier_score(same, test, epochs=5) < 0.6


def test_judges_say_what_they_want(judge):
    images = bars(30)
    with pytest.raises(ValueError, match="fitted to real images first"):
        Judge().predict(images)
    with pytest.raises(ValueError, match="at least two classes"):
        Judge().fit(read_images(np.zeros((4, 8, 8))))
    with pytest.raises(ValueError, match="at least two classes"):
        Judge().fit(read_images(np.zeros((4, 8, 8)), labels=[0, 0, 0, 0], classes=["a", "b"]))
    with pytest.raises(ValueError, match=r"images of \(1, 8, 8\)"):
        judge.features(read_images(np.zeros((4, 9, 8))))
    with pytest.raises(ValueError, match="knows the classes"):
        judge.accuracy(read_images(np.zeros((4, 8, 8)), labels=[0, 1, 0, 1]))
    with pytest.raises(ValueError, match="at least 4x4"):
        Judge().fit(read_images(np.zeros((4, 3, 9)), labels=[0, 1, 0, 1]))


# distances


def test_the_same_set_is_covered_and_a_far_one_is_not():
    x = points(300)
    same = neighbourhood_scores(x, x)
    assert (same.precision, same.recall, same.coverage) == (1, 1, 1)
    far = neighbourhood_scores(x, x + 100)
    assert far == (0, 0, 0, 0)


def test_neighbourhoods_agree_with_their_definition():
    real, generated, k = points(40).double(), points(30, seed=1, shift=0.5).double(), 3
    around = np.sort(np.linalg.norm(real[:, None] - real[None], axis=-1), 1)[:, k]
    reach = np.sort(np.linalg.norm(generated[:, None] - generated[None], axis=-1), 1)[:, k]
    apart = np.linalg.norm(real[:, None] - generated[None], axis=-1)
    inside = apart <= around[:, None]
    want = (inside.any(0).mean(), (apart <= reach).any(1).mean(), inside.sum(0).mean() / k, inside.any(1).mean())
    np.testing.assert_allclose(neighbourhood_scores(real, generated, k), want, rtol=1e-12)
    np.testing.assert_allclose(radii(real, k), around, rtol=1e-12)


def test_two_sets_of_one_law_score_as_the_theory_says():
    scores = neighbourhood_scores(points(2000, 6, seed=1), points(2000, 6, seed=2), k=5)
    assert scores.density == pytest.approx(1, abs=0.05)
    assert scores.coverage == pytest.approx(1 - 1 / 2**5, abs=0.02)


def test_a_set_that_lacks_a_half_covers_a_half():
    real, half = points(1000, 2), points(2000, 2, seed=1)
    scores = neighbourhood_scores(real, half[half[:, 0] > 0])
    assert scores.coverage == pytest.approx(0.5, abs=0.05)
    assert scores.precision > 0.95
    assert scores.recall < 0.65


def test_large_sets_are_taken_in_blocks(monkeypatch):
    real, generated = points(50), points(40, seed=1)
    whole = neighbourhood_scores(real, generated), nearest(real, generated)
    monkeypatch.setattr("gaussflow.apps._closeness.CHUNK_DISTANCES", 130)
    assert neighbourhood_scores(real, generated) == whole[0]
    torch.testing.assert_close(nearest(real, generated), whole[1])


def gaussian(mean, root, n=20000, seed=0):
    """Points whose mean and covariance are exactly those: whitened first."""
    z = points(n, len(mean), seed).double()
    z = z - z.mean(0)
    z = z @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(z.T))).T
    return z @ root.T + mean


def test_frechet_of_gaussians_is_the_closed_form():
    generator = torch.Generator().manual_seed(0)
    roots = [torch.randn(5, 5, generator=generator, dtype=torch.float64) for _ in range(2)]
    means = [torch.randn(5, generator=generator, dtype=torch.float64) for _ in range(2)]
    first, second = (root @ root.T for root in roots)
    middle = scipy.linalg.sqrtm((first @ second).numpy()).real
    want = float((means[0] - means[1]).square().sum() + first.trace() + second.trace()) - 2 * np.trace(middle)
    a, b = (gaussian(m, r, 500) for m, r in zip(means, roots, strict=True))
    assert frechet_distance(a, b) == pytest.approx(want, rel=1e-8)
    assert frechet_distance(b, a) == pytest.approx(want, rel=1e-8)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_frechet_of_diagonal_and_singular_laws():
    a = gaussian(torch.zeros(2).double(), torch.diag(torch.tensor([1.0, 3.0]).double()), 100)
    b = gaussian(torch.tensor([1.0, 0.0]).double(), torch.diag(torch.tensor([2.0, 1.0]).double()), 100)
    assert frechet_distance(a, b) == pytest.approx(1 + 1 + 4)
    flat = torch.cat([a[:, :1], torch.zeros(100, 3, dtype=torch.float64)], 1)
    assert frechet_distance(flat, 2 * flat) == pytest.approx(1)
    assert frechet_distance(torch.zeros(5, 3), torch.ones(4, 3)) == pytest.approx(3)
    few = points(3, 10)
    assert frechet_distance(few, few) == pytest.approx(0, abs=1e-6)


def test_copies_are_memorised_and_new_points_are_not():
    train, held_out, new = points(400, 8), points(400, 8, seed=1), points(2000, 8, seed=2)
    assert memorisation(train, train, held_out) == (1, 1, 1)
    assert memorisation(held_out, train, held_out)[:2] == (0, 0)
    nearer, copies, near = memorisation(new, train, held_out)
    assert nearer == pytest.approx(0.5, abs=0.04)
    assert copies == 0
    assert near == pytest.approx(0.01, abs=0.01)
    close = train + 1e-3 * points(400, 8, seed=3)
    assert memorisation(close, train, held_out) == (1, 0, 1)
    half = torch.cat([train[:200], new[:200]])
    assert memorisation(half, train, held_out).copies == 0.5


def test_memorisation_does_not_hang_on_the_sizes_of_the_sets():
    train, held_out, new = points(200, 8), points(3000, 8, seed=1), points(2000, 8, seed=2)
    assert memorisation(new, train, held_out).nearer == pytest.approx(0.5, abs=0.06)
    assert memorisation(new, held_out, train).nearer == pytest.approx(0.5, abs=0.06)


def test_copies_are_found_far_from_the_origin():
    train = points(200, 300) + 1000
    assert memorisation(train, train, train + 1).copies == 1


def test_ties_count_by_half():
    train, held_out = torch.zeros(5, 2), torch.zeros(7, 2)
    assert memorisation(torch.ones(4, 2), train, held_out).nearer == 0.5


def test_diversity_is_the_ratio_of_spreads():
    x, labels = points(300), torch.arange(300) % 3
    scale = torch.tensor([0.5, 1.0, 2.0])[labels][:, None]
    for got, want in zip(diversity(x * scale, labels, x, labels), (0.5, 1, 2), strict=True):
        assert got == pytest.approx(want, abs=1e-6)
    assert diversity(torch.ones(300, 4), labels, x, labels) == (0, 0, 0)
    moved = x + 100.0 * labels[:, None]
    assert diversity(moved, labels, x, labels) == pytest.approx((1, 1, 1), abs=1e-3)
    assert math.isnan(diversity(x[:1], labels[:1], x, labels)[0])


@pytest.mark.parametrize(
    "measure",
    [neighbourhood_scores, frechet_distance, lambda a, b: memorisation(a, b, a), lambda a, b: memorisation(b, b, a)],
)
def test_measures_say_what_they_want(measure):
    good, holed = points(20), points(20)
    holed[3, 1] = torch.nan
    with pytest.raises(ValueError, match="finite points"):
        measure(good, holed)
    with pytest.raises(ValueError, match="wants points"):
        measure(good, points(20, 5))
    with pytest.raises(ValueError, match="wants more than"):
        measure(good, points(0))


# the report


def test_report_of_copies_of_new_images_and_of_blanks(judge):
    train, held_out, other = bars(120, seed=6), bars(200, seed=7), bars(120, seed=8)
    copied, new = (judge_images(images, train, held_out, judge=judge, epochs=12) for images in (train, other))
    assert (copied.generated.copies, copied.generated.nearer) == (1, 1)
    assert (new.generated.copies, new.real.copies) == (0, None)
    assert copied.generated.classifier_score == copied.real.classifier_score
    assert copied.generated.frechet == copied.real.frechet
    assert new.generated.judge_accuracy > 0.95
    assert new.generated.coverage > 0.8
    assert new.generated.mean_diversity == pytest.approx(1, abs=0.1)
    blank = read_images(np.zeros((30, 8, 8)), labels=np.arange(30) % 3, classes=train.classes)
    poor = judge_images(blank, train, held_out, judge=judge, epochs=2).generated
    assert poor.judge_accuracy == pytest.approx(1 / 3)
    assert poor.weakest == 0
    assert poor.mean_diversity == 0
    assert poor.coverage < 0.1


def test_report_prints_a_table_and_gives_the_numbers(judge):
    train, held_out = bars(60, seed=6), bars(60, seed=7)
    report = judge_images(train, train, held_out, judge=judge, epochs=2)
    text, numbers = str(report), report.as_dict()
    for name in (*train.classes, "coverage", "Fréchet distance", "copies of training images"):
        assert sum(line.strip().startswith(name) for line in text.splitlines()) == 1, name
    assert numbers["generated"]["coverage"] == report.generated.coverage
    assert numbers["judged_held_out"] == judge.accuracy(held_out)
    widths = {len(line) for line in text.splitlines() if "0." in line.split()[-1]}
    assert len(widths) <= 2
