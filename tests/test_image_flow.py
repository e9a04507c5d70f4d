"""`image_flow` on scikit-learn's digits and on images of known laws."""

import math
import sys
from functools import cache

import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.svm import SVC
from torch import Tensor

from gaussflow import Dequantized, Flow, Whiten, as_rows, image_flow, load, one_hot, save
from gaussflow.recipes._grey import grey_spline
from gaussflow.recipes.image_flow import ABSENT, neighbourhoods

LEVELS = 17
F64 = torch.float64


@cache
def digits() -> tuple[Tensor, Tensor]:
    """Pixels k / 16 (1797, 64) in an order of the seed, and classes."""
    x, y = load_digits(return_X_y=True)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    return torch.tensor(x / 16, dtype=F64)[order], torch.tensor(y)[order]


@cache
def fitted() -> Dequantized:
    return image_flow(digits()[0][:1400], (8, 8), levels=LEVELS, most=16, progress=False)[0]


def nats(law: Dequantized, x: Tensor, context: Tensor | None = None) -> float:
    with torch.no_grad():
        return float(law.log_prob(x, context).mean())


def independent(x: Tensor, tested: Tensor) -> float:
    """Every pixel by its own histogram."""
    counts = torch.stack([torch.bincount(column, minlength=LEVELS) for column in (x * 16).long().T]).double() + 0.1
    table = (counts / counts.sum(1, keepdim=True)).log()
    return float(table.gather(1, (tested * 16).long().T).sum(0).mean())


def test_held_out_digits_are_likelier_than_under_simple_laws() -> None:
    x = digits()[0]
    u = torch.rand(1400, 64, generator=torch.Generator().manual_seed(1), dtype=F64) / 16
    normal = Dequantized(Flow(Whiten(64, dtype=F64).fit(x[:1400] + u)), torch.full((64,), 1 / 16, dtype=F64), points=1)
    ours = nats(fitted(), x[1400:])
    assert ours > independent(x[:1400], x[1400:]) + 10
    assert ours > nats(normal, x[1400:]) + 15


@pytest.mark.parametrize("coarsest", [16, 4])
def test_the_record_is_that_of_held_out_images(coarsest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The nats of the blocks and of the spline are those of the law, on the same images."""
    monkeypatch.setattr(sys.modules["gaussflow.recipes.image_flow"], "COARSEST", coarsest)
    x, g = digits()[0], torch.Generator().manual_seed(2)
    law, history = image_flow(x[:1200], (8, 8), levels=LEVELS, valid=x[1200:1700], most=16, progress=False)
    assert history.column("coordinates") == ([16, 48] if coarsest == 16 else [4, 12, 48])
    assert history.column("scale") == list(range(1, len(history) + 1))
    spline, noisy = law.density.transform[0], x[1200:1700] + torch.rand(500, 64, generator=g, dtype=F64) / 16
    volume = float(spline(noisy)[1].detach().mean()) - 64 * math.log(16)
    ours = nats(law, x[1200:1700])
    assert abs(ours - sum(history.column("valid")) - volume) < 1.0  # the noise is another
    assert ours > independent(x[:1200], x[1200:1700]) + 2


def test_drawn_digits_are_like_digits() -> None:
    """Means and covariances of pixels, and grey values that there are."""
    x = digits()[0]
    drawn = fitted().sample(1500, generator=torch.Generator().manual_seed(0))
    assert float(((drawn * 16) - (drawn * 16).round()).abs().max()) < 1e-9
    assert float((drawn.mean(0) - x.mean(0)).abs().max()) < 0.06  # pixels vary by 0.38 at most: 4 errors are 0.05
    away = (drawn.T.cov() - x.T.cov()).norm() / x.T.cov().norm()
    assert float(away) < 0.25


@pytest.mark.parametrize("seed", range(3))
def test_digits_drawn_by_class_are_recognised(seed: int) -> None:
    """By a classifier that knows other digits than the law."""
    x, y = digits()
    rows = as_rows(x[:1000], one_hot(y[:1000], 10).to(F64))
    law, _ = image_flow(rows, (8, 8), levels=LEVELS, seed=seed, progress=False)
    asked = torch.arange(10).repeat(40)
    drawn = law.sample((), one_hot(asked, 10).to(F64), torch.Generator().manual_seed(seed))
    judge = SVC().fit(x[1000:1600], y[1000:1600])
    assert judge.score(x[1600:], y[1600:]) > 0.95
    assert judge.score(drawn.clamp(0, 1), asked) > 0.9
    context = one_hot(y[1400:], 10).to(F64)
    assert nats(law, x[1400:], context) > nats(law, x[1400:], context.roll(1, 1)) + 3


def test_few_digits_of_a_class_do() -> None:
    """Too few of each for a law of its own: the class moves the mean of a common one."""
    x, y = digits()
    c = one_hot(y, 10).to(F64)
    law, _ = image_flow(as_rows(x[:150], c[:150]), (8, 8), levels=LEVELS, progress=False)
    ours = nats(law, x[1000:], c[1000:])
    assert ours > nats(law, x[1000:], c[1000:].roll(1, 1)) + 3
    assert ours > independent(x[:150], x[1000:])


def test_chunks_are_the_whole_and_a_file_is_the_law(tmp_path) -> None:  # type: ignore[no-untyped-def]
    x = digits()[0][:300, :16]
    whole, _ = image_flow(x, (4, 4), levels=LEVELS, most=16, progress=False)
    parts, _ = image_flow([x[:100], x[100:]], (4, 4), levels=LEVELS, most=16, progress=False)
    torch.testing.assert_close(whole.log_prob(x), parts.log_prob(x))
    save(whole, tmp_path / "law")
    torch.testing.assert_close(load(tmp_path / "law").log_prob(x), whole.log_prob(x), atol=0, rtol=0)


@pytest.mark.parametrize("shape", [(9, 7), (1, 60), (11, 8)])
def test_odd_sides_leave_no_pixel_out(shape: tuple[int, int]) -> None:
    side = shape[0] * shape[1]
    x = (torch.rand(400, side, generator=torch.Generator().manual_seed(0), dtype=F64) * 4).floor() / 4
    law, history = image_flow(x, shape, levels=5, most=16, progress=False)
    assert sum(history.column("coordinates")) == side
    z = law.density.encode(x + 0.1)
    torch.testing.assert_close(law.density.decode(z), x + 0.1, atol=1e-6, rtol=0)
    assert float((z.detach().std() - 1).abs()) < 0.1


def test_blocks_see_what_is_around_them() -> None:
    moved, given = neighbourhoods((4, 6), 1, ((0, 1), (1, 0), (1, 1)))
    assert moved[0] == [1, 6, 7]
    assert moved[-1] == [17, 22, 23]
    averages, differences = given[4][:9], given[4][9:]  # the middle block of the lower row
    assert averages == [0, 2, 4, 12, 14, 16, ABSENT, ABSENT, ABSENT]
    assert differences == [13, 18, 19, 1, 6, 7, 3, 8, 9, 5, 10, 11]


@pytest.mark.parametrize("seed", range(3))
def test_the_noise_of_a_ground_becomes_normal(seed: int) -> None:
    shares = torch.tensor([0.7, 0.02, 0.03, 0.05, 0.2], dtype=F64)
    spline = grey_spline(shares, 0.25, F64)
    u = torch.rand(40_000, 1, dtype=F64, generator=torch.Generator().manual_seed(seed))
    for ground in (0.0, 1.0):
        z = spline(ground + u / 4)[0].detach()
        z = (z - z.mean()).sort(0).values
        normal = torch.special.ndtri((torch.arange(40_000, dtype=F64) + 0.5) / 40_000)[:, None]
        assert (
            float((z - normal)[1200:-1200].abs().max()) < 0.06
        )  # the middle 94 %; 0.8 for uniform noise of variance one
    span = spline(torch.tensor([[0.25], [1.0]], dtype=F64))[0].detach().diff(dim=0)
    assert 9 < float(span) < 11


def test_images_that_do_not_fit_are_refused() -> None:
    x = digits()[0]
    with pytest.raises(ValueError, match="8 x 9"):
        image_flow(x, (8, 9), levels=LEVELS)
    with pytest.raises(ValueError, match="256 levels"):
        image_flow(x, (8, 8))
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        image_flow(x * 255, (8, 8))
