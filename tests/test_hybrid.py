"""The hybrid: what it chooses, what it refuses, and the law of rounded columns."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gaussflow import (
    Chain,
    Dequantized,
    Flow,
    MarginalSpline,
    MixtureTransport,
    Standardize,
    as_rows,
    hybrid,
    load,
    rbig,
    save,
)
from gaussflow.recipes._discrete import rounding_steps

F64 = torch.float64


def noise(n: int, dim: int, seed: int = 0) -> Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=F64)


def banana(n: int, dim: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Rows of which each second column bends about the one before, and their true log-density."""
    z = noise(n, dim, seed)
    x = z.clone()
    for i in range(0, dim - 1, 2):
        x[:, i + 1] = z[:, i].square() + 0.3 * z[:, i + 1]
    return x, -0.5 * (z.square() + math.log(2 * math.pi)).sum(1) - dim // 2 * math.log(0.3)


@torch.no_grad()
def excess(flow: Flow | Dequantized, rows: tuple[Tensor, Tensor]) -> float:
    return float((rows[1] - flow.log_prob(rows[0])).mean())


def test_dependence_is_had_from_a_mixture_in_one_block() -> None:
    flow, history = hybrid(banana(2000)[0], progress=False)
    assert isinstance(flow, Flow)
    kept = [(record["block"], record["kind"]) for record in history if record["kept"]]
    assert kept[:2] == [(1, "marginals"), (2, "mixture")]
    fresh = banana(10_000, seed=5)
    turned, _ = rbig(banana(2000)[0], max_blocks=30, progress=False)
    assert excess(flow, fresh) < 0.15
    assert excess(flow, fresh) < 0.5 * excess(turned, fresh)


@pytest.mark.parametrize("n", [100, 300, 1000])
def test_few_rows_are_not_believed_beyond_what_they_tell(n: int) -> None:
    x, fresh = banana(n), banana(10_000, seed=5)
    flow, _ = hybrid(x[0], progress=False)
    normal = torch.distributions.MultivariateNormal(x[0].mean(0), torch.cov(x[0].T))
    assert excess(flow, fresh) < float((fresh[1] - normal.log_prob(fresh[0])).mean())
    assert excess(flow, fresh) < 1.5 * (100 / n) ** 0.5


@pytest.mark.parametrize(("n", "dim"), [(100, 2), (500, 16)])
def test_noise_is_left_alone(n: int, dim: int) -> None:
    fresh, losses = noise(5000, dim, 99), []
    for seed in range(3):
        flow, _ = hybrid(noise(n, dim, seed), seed=seed, progress=False)
        truth = -0.5 * (fresh.square() + math.log(2 * math.pi)).sum(1)
        losses.append(excess(flow, (fresh, truth)) / dim)
    assert sorted(losses)[1] < 1e-3


def test_the_density_integrates_to_one_and_samples_follow_it() -> None:
    x, _ = banana(1500, 2)
    flow, _ = hybrid(x, progress=False)
    a, b = torch.linspace(-7, 7, 176, dtype=F64), torch.linspace(-6, 40, 576, dtype=F64)
    with torch.no_grad():
        mass = flow.log_prob(torch.cartesian_prod(a, b)).exp().sum() * 0.08 * 0.08
    assert abs(float(mass) - 1) < 2e-3
    drawn = flow.sample(20_000, generator=torch.Generator().manual_seed(0))
    assert abs(float(drawn[:, 1].mean()) - 1) < 0.15
    assert abs(float((drawn[:, 0].square() * drawn[:, 1]).mean()) - 3) < 0.6


def test_context_goes_to_the_mixture() -> None:
    c = noise(2000, 1)
    x = c * noise(2000, 1, 1)
    flow, _ = hybrid(as_rows(x, c), progress=False)
    wide, narrow = (flow.sample(4000, torch.tensor([s], dtype=F64)).std() for s in (2.0, 0.5))
    assert 1.4 < wide < 2.6
    assert 0.3 < narrow < 0.8


def test_chunks_give_what_the_whole_gives() -> None:
    x, _ = banana(1200)
    whole, _ = hybrid(x, progress=False)
    cut, _ = hybrid(list(x.split(500)), progress=False)
    with torch.no_grad():
        torch.testing.assert_close(whole.log_prob(x), cut.log_prob(x), rtol=1e-6, atol=1e-6)


def test_the_same_seed_gives_the_same_flow_in_the_dtype_of_the_rows() -> None:
    x = banana(600)[0].float()
    (a, _), (b, _), (other, _) = (hybrid(x, seed=seed, progress=False) for seed in (3, 3, 4))
    with torch.no_grad():
        assert a.log_prob(x).dtype == torch.float32
        assert torch.equal(a.log_prob(x), b.log_prob(x))
        assert not torch.equal(a.log_prob(x), other.log_prob(x))


def test_a_hybrid_is_saved_and_loaded(tmp_path: Path) -> None:
    x = banana(500)[0].mul(4).round().div(4)
    law, _ = hybrid(x, dequantize=True, progress=False)
    save(law, tmp_path / "law")
    with torch.no_grad():
        assert torch.equal(load(tmp_path / "law").log_prob(x), law.log_prob(x))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (noise(200, 2).round(), r"discrete or rounded ones, counted from 0: 0, 1\. Column 0 has \d distinct value"),
        (noise(200, 2).clamp(min=0), "and 0 in 5.% of them: it has no density. Pass dequantize=True"),
        (
            torch.cat([noise(200, 2), torch.full((200, 1), 3.0)], 1),
            "counted from 0: 2. Column 2 has 1 distinct value.s. in",
        ),
        (noise(200, 2).log(), "NaN or infinite"),
        (noise(1, 2), "too few rows to hold some out: 1"),
    ],
)
def test_rows_without_a_density_are_refused(x: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hybrid(x, progress=False)


def test_valid_rows_of_another_dimension_are_refused() -> None:
    with pytest.raises(ValueError, match="valid rows of dimension 2, as the rows are; got 3"):
        hybrid(noise(100, 2), valid=noise(50, 3), progress=False)


def test_masses_of_rounded_columns_are_found() -> None:
    g = torch.Generator().manual_seed(0)
    first = torch.multinomial(torch.tensor([0.5, 0.3, 0.2]), 4000, True, generator=g)
    x = torch.stack([first, (first + torch.randint(2, (4000,), generator=g)) % 3], 1).double() / 4 + 7
    law, _ = hybrid(x, dequantize=True, progress=False)
    assert isinstance(law, Dequantized)
    cells = torch.cartesian_prod(torch.arange(3.0), torch.arange(3.0)).double() / 4 + 7
    with torch.no_grad():
        mass = law.log_prob(cells).exp()
    truth = torch.tensor([0.25, 0.25, 0, 0, 0.15, 0.15, 0.1, 0, 0.1], dtype=F64)
    assert (mass - truth).abs().max() < 0.03
    drawn = law.sample(2000, generator=g)
    assert torch.equal(drawn, (drawn * 4).round() / 4)
    assert ((drawn < 7) | (drawn > 7.5)).double().mean() < 0.01


def test_continuous_columns_keep_their_density_beside_rounded_ones() -> None:
    x = torch.stack([noise(800, 1)[:, 0], noise(800, 1, 1)[:, 0].round()], 1)
    law, _ = hybrid(x, dequantize=True, progress=False)
    assert isinstance(law, Dequantized)
    assert law.steps.tolist() == [0, 1]
    grid = torch.linspace(-6, 6, 241, dtype=F64)
    with torch.no_grad():
        total = law.log_prob(torch.cartesian_prod(grid, torch.arange(-6.0, 7).double())).exp().sum() * 0.05
    assert abs(float(total) - 1) < 0.01


def test_the_mass_of_a_cell_is_that_of_its_density() -> None:
    flow = Flow(Standardize(1))
    law = Dequantized(flow, [0.5], points=4000)
    normal = torch.distributions.Normal(0.0, 1.0)
    x = torch.tensor([[-1.0], [0.0], [0.5]])
    truth = (normal.cdf(x + 0.5) - normal.cdf(x)).log()[:, 0]
    with torch.no_grad():
        torch.testing.assert_close(law.log_prob(x), truth, atol=0.01, rtol=0)


def test_each_step_is_drawn_as_often_as_its_mass_says() -> None:
    law = Dequantized(Flow(Standardize(1)), [0.5], [0.1], points=1000)
    drawn = law.sample(40_000, generator=torch.Generator().manual_seed(0)).double()
    cells = (0.1 + 0.5 * torch.arange(-6, 6, dtype=F64))[:, None]
    with torch.no_grad():
        mass = law.log_prob(cells.float()).double().exp()
    share = ((drawn - cells.T).abs() < 1e-3).double().mean(0)
    assert (share - mass).abs().max() < 0.012  # four errors of a share of 0.2, and those of the mass
    assert float(share.sum()) > 0.99


@pytest.mark.parametrize("seed", [0, 1])
def test_a_column_that_is_often_zero_and_else_continuous_is_drawn_so(seed: int) -> None:
    z = noise(1500, 2, seed)
    x = torch.stack([z[:, 0].clamp(min=0), z[:, 0] + z[:, 1]], 1)
    law, _ = hybrid(x, dequantize=True, seed=seed, progress=False)
    drawn = law.sample(4000, generator=torch.Generator().manual_seed(seed))
    assert abs(float((drawn[:, 0] == 0).double().mean()) - 0.5) < 0.08
    assert float((drawn[:, 0] < -0.01).double().mean()) < 0.01


def test_a_constant_has_all_its_mass_where_it_is() -> None:
    x = torch.cat([noise(800, 1), torch.full((800, 1), 3.0, dtype=F64)], 1)
    law, _ = hybrid(x, dequantize=True, progress=False)
    fresh = torch.cat([noise(5000, 1, 5), torch.full((5000, 1), 3.0, dtype=F64)], 1)
    truth = -0.5 * (fresh[:, 0].square() + math.log(2 * math.pi))
    assert abs(excess(law, (fresh, truth))) < 0.1
    assert (law.sample(1000)[:, 1] == 3).double().mean() > 0.95


Z = noise(1000, 1)[:, 0]


@pytest.mark.parametrize("dtype", [F64, torch.float32])
@pytest.mark.parametrize(
    ("column", "steps"),
    [
        ((2 * Z).round() / 4 + 7, (0.25, 0.25)),
        (torch.where(Z < 0, 0.0, (300 * Z).round() / 100), (0.01, 0.01)),  # cents, often none
        (Z.clamp(min=0), (2e-4, 2e-3)),
        (1e6 + (10 * Z).round() / 10, (0.05, 0.11)),  # which single precision rounds to sixteenths
        (torch.full_like(Z, 0.3) + (Z > 0) * 6e-17, (3e-4, 3e-4)),
        (0 * Z, (1, 1)),
        (Z, (0, 0)),
    ],
    ids=["rounded", "cents", "clamped", "far", "constant", "zeros", "continuous"],
)
def test_the_step_is_that_of_the_rounding(column: Tensor, steps: tuple[float, float], dtype: torch.dtype) -> None:
    (step,), (origin,) = rounding_steps(as_rows(column.to(dtype)[:, None]))
    assert steps[0] * 0.99 <= float(step) <= steps[1] * 1.01
    assert float(step) == 0 or bool((column.to(dtype) == origin).any())


@pytest.mark.parametrize(
    ("steps", "origins", "message"),
    [
        ([1.0], None, "2 steps"),
        ([1.0, -1.0], None, "2 steps"),
        ([1.0, math.inf], None, "2 steps"),
        ([1, 1], [0], "2 origins"),
    ],
)
def test_wrong_steps_are_refused(steps: list[float], origins: list[float] | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Dequantized(Flow(Standardize(2)), steps, origins)
    with pytest.raises(TypeError, match="made of a density"):
        Dequantized(Standardize(2), steps)  # type: ignore[arg-type]


def test_rows_that_differ_in_scale_alone_are_not_bent_first() -> None:
    root = torch.linalg.cholesky(torch.full((6, 6), 0.9, dtype=F64) + 0.1 * torch.eye(6))
    scaled = lambda seed: (0.7 * noise(3000, 1, seed)).exp() * noise(3000, 6, seed + 1) @ root.T  # noqa: E731
    x, fresh = scaled(0), scaled(7)
    flow, history = hybrid(x, progress=False)
    assert history[0]["kind"] == "radial"
    spline = MarginalSpline(6, 48, dtype=F64).fit(x)
    with torch.no_grad():
        bent = Flow(Chain(spline, MixtureTransport.of(spline(x)[0])))
        assert float((flow.log_prob(fresh) - bent.log_prob(fresh)).mean()) > 0.02
