"""Growing: gains that add up to the held-out log-density, an end, a seed, checkpoints, and measures of what is left."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gaussflow import Chain, Flow, History, MarginalSpline, MarginalTable, Rotation, Standardize, as_rows, grow, haar
from gaussflow.training._measures import dependence, marginal_loss, nats_gained, normal_nats

F64 = torch.float64


def block(index: int, generator: torch.Generator) -> Chain:
    return Chain(Rotation(3, haar(3, generator)), MarginalSpline(3, 12))


def skewed(n: int = 900, seed: int = 0) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 3, generator=g, dtype=F64)
    return torch.stack([x[:, 0].exp(), x[:, 1] + x[:, 0].square(), x[:, 2] * 3 - x[:, 1]], 1)


def grown(x: Tensor, **options) -> tuple[Flow, History]:
    return grow(block, x, **{"max_blocks": 4, "progress": False, **options})


def mean_log_prob(flow: Flow, x: Tensor) -> float:
    with torch.no_grad():
        return float(flow.log_prob(x).mean())


def test_gains_add_up_to_the_held_out_log_density() -> None:
    x, valid = skewed(), skewed(500, 1)
    flow, history = grown(x, valid=valid)
    records = list(history)
    for i, record in enumerate(records):
        before = normal_nats(as_rows(valid)) if i == 0 else records[i - 1]["valid"]
        assert record["valid"] == pytest.approx(before - record["gain"], abs=1e-12)
        assert record["block"] == i + 1
    best = min(records, key=lambda r: r["valid"])
    assert len(flow.transform) == best["block"]
    assert -mean_log_prob(flow, valid) == pytest.approx(best["valid"], abs=1e-9)
    assert [r["kept"] for r in records] == [r["block"] <= best["block"] for r in records]


def test_growing_ends_and_cuts_off_the_blocks_after_the_best() -> None:
    def greedy(index: int, generator: torch.Generator) -> Chain:
        return Chain(Rotation(3, haar(3, generator)), MarginalTable(3, 25))

    valid = skewed(500, 1)
    flow, history = grow(greedy, skewed(100), valid=valid, max_blocks=40, patience=3, progress=False)
    nats = [r["valid"] for r in history]
    assert len(history) < 40
    assert min(nats) < nats[-1], "the last blocks over-fit, and were tried"
    assert len(flow.transform) == 1 + nats.index(min(nats))
    assert -mean_log_prob(flow, valid) == pytest.approx(min(nats), abs=1e-9)


def test_noise_costs_little() -> None:
    flow, _ = grown(torch.randn(1000, 3, dtype=F64), max_blocks=20, patience=3)
    test = torch.randn(5000, 3, dtype=F64)
    cost = -mean_log_prob(flow, test) - normal_nats(as_rows(test))
    assert abs(cost) < 0.05


def test_held_out_rows_are_not_fitted() -> None:
    seen = []

    class Seen(Standardize):
        def fit(self, rows, context=None):
            seen.append(rows.n)
            return super().fit(rows, context)

    grow(lambda i, g: Seen(3), skewed(1000), max_blocks=1, progress=False)
    assert 850 < seen[0] < 950


def test_a_seed_decides_everything() -> None:
    x = skewed()
    one, again, other = (grown(x, seed=seed)[0].log_prob(x) for seed in (3, 3, 4))
    assert torch.equal(one, again)
    assert not torch.allclose(one, other)


def test_blocks_of_one_growth_differ() -> None:
    flow, _ = grown(skewed(), patience=4)
    assert len(flow.transform) > 1
    assert not torch.allclose(flow.transform[0][0].base, flow.transform[1][0].base)


def test_chunks_grow_the_same_flow() -> None:
    x = skewed()
    whole, chunks = grown(x)[0], grown(list(x.split(100)))[0]
    torch.testing.assert_close(whole.log_prob(x), chunks.log_prob(x), atol=1e-8, rtol=1e-8)


def test_interrupted_growing_goes_on_to_the_same_flow(tmp_path: Path) -> None:
    x, file = skewed(), tmp_path / "growth"
    whole, history = grown(x)
    grown(x, max_blocks=2, checkpoint=file)
    resumed, resumed_history = grown(x, checkpoint=file)
    assert torch.equal(whole.log_prob(x), resumed.log_prob(x))
    strip = [{k: v for k, v in r.items() if k != "seconds"} for r in history]
    assert strip == [{k: v for k, v in r.items() if k != "seconds"} for r in resumed_history]


def test_a_checkpoint_of_another_growth_is_refused(tmp_path: Path) -> None:
    x, file = skewed(), tmp_path / "growth"
    grown(x, max_blocks=1, checkpoint=file)
    for options in ({"seed": 1}, {"x": skewed(seed=5)}):
        with pytest.raises(ValueError, match="checkpoint of other rows or another seed"):
            grown(options.pop("x", x), checkpoint=file, **options)
    with pytest.raises(ValueError, match="does not fit these blocks"):
        grow(lambda i, g: MarginalSpline(3, 9), x, max_blocks=2, progress=False, checkpoint=file)


def test_doors() -> None:
    x = skewed()
    with pytest.raises(ValueError, match="blocks of dimension 3, as the rows are; got 2"):
        grow(lambda i, g: Standardize(2), x, progress=False)
    with pytest.raises(TypeError, match="make_block to return a Transform; got Linear"):
        grow(lambda i, g: torch.nn.Linear(3, 3), x, progress=False)
    with pytest.raises(ValueError, match="valid rows of dimension 3, as the rows are; got 2"):
        grown(x, valid=x[:, :2])
    with pytest.raises(ValueError, match="too few rows to hold some out: 1"):
        grown(x[:1])
    for name in ("max_blocks", "patience"):
        with pytest.raises(ValueError, match=f"{name} of at least 1; got 0"):
            grown(x, **{name: 0})


# The measures, against closed forms.


def test_normal_nats_and_gain_are_those_of_the_density() -> None:
    x = skewed()
    normal = torch.distributions.Normal(0, 1)
    assert normal_nats(as_rows(x)) == pytest.approx(-float(normal.log_prob(x).sum(1).mean()), rel=1e-12)
    f = Standardize(3, dtype=F64).fit(x)
    gain = mean_log_prob(Flow(f), x) + normal_nats(as_rows(x))
    assert nats_gained(f, as_rows(x)) == pytest.approx(gain, rel=1e-12)


@pytest.mark.parametrize("scale", [0.3, 1.0, 2.0])
def test_marginal_loss_of_a_normal_law(scale: float) -> None:
    x = torch.randn(8000, 3, dtype=F64)
    x = scale * (x - x.mean(0)) / x.std(0, correction=0)
    assert marginal_loss(as_rows(x)) == pytest.approx(3 * 0.5 * (scale**2 - 1 - math.log(scale**2)), abs=0.09)


def test_marginal_loss_of_a_uniform_law() -> None:
    x = torch.rand(8000, 1, dtype=F64) * 12**0.5 - 3**0.5
    assert marginal_loss(as_rows(x)) == pytest.approx(0.5 * math.log(2 * math.pi * math.e / 12), abs=0.02)


def test_dependence_of_a_normal_law() -> None:
    for n in (200, 5000):
        root = torch.tensor([[1.0, 0, 0], [0.6, 0.8, 0], [0, 0.3, 0.91**0.5]], dtype=F64)
        truth = -0.5 * float(torch.logdet(root @ root.T))
        errors = []
        for seed in range(20):
            x = torch.randn(n, 3, dtype=F64, generator=torch.Generator().manual_seed(seed)) @ root.T
            found = dependence(as_rows(x))
            errors.append((found.value - truth) / found.error)
        assert abs(sum(errors) / 20) < 1, "no bias against its own error"
        assert sum(abs(e) < 2.5 for e in errors) >= 16


def test_independent_coordinates_show_no_dependence() -> None:
    values = [float(dependence(as_rows(torch.randn(300, 10, dtype=F64))).value) for _ in range(20)]
    assert abs(sum(values) / 20) < 0.03
