"""What the contract does not know of `Given` and `HaarStep`."""

import math

import pytest
import torch
from torch import Tensor

from gaussflow import MLP, AffineCoupling, Chain, Flow, Given, HaarStep, MarginalSpline, MixtureTransport
from states import move, table

F64 = torch.float64


def rows(n: int, seed: int = 0) -> Tensor:
    """A chain: each of four coordinates is half the one before and noise."""
    g = torch.Generator().manual_seed(seed)
    noise = torch.randn(n, 4, generator=g, dtype=F64)
    x = noise.clone()
    for i in range(1, 4):
        x[:, i] = x[:, i - 1] / 2 + noise[:, i] / 4
    return x


def chained(components: int = 1) -> Given:
    inner = MixtureTransport(1, components, context_dim=1, dtype=F64)
    return Given(inner, 4, moved=[[1], [2], [3]], given=[[0], [1], [2]])


def test_one_transform_of_all_places_is_fitted_on_all_of_them() -> None:
    x = rows(2000)
    fitted = chained().fit(x)
    inner = MixtureTransport(1, 1, context_dim=1, dtype=F64)
    inner.fit(x[:, 1:].reshape(-1, 1), x[:, :3].reshape(-1, 1))
    for a, b in zip(fitted.inner.parameters(), inner.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_what_is_given_is_the_data_and_not_the_latent() -> None:
    x = rows(50)
    fitted = chained().fit(rows(2000))
    z, ladj = fitted(x)
    parts = [fitted.inner(x[:, i : i + 1], x[:, i - 1 : i]) for i in (1, 2, 3)]
    torch.testing.assert_close(z, torch.cat([x[:, :1], *(part[0] for part in parts)], 1))
    torch.testing.assert_close(ladj, parts[0][1] + parts[1][1] + parts[2][1])


def test_the_density_is_that_of_the_chain() -> None:
    x = rows(4000, seed=1)
    law = Flow(chained().fit(rows(8000))).log_prob(x)
    residual = (x[:, 1:] - x[:, :3] / 2) * 4
    wanted = -0.5 * (x[:, 0].square() + residual.square().sum(1)) - 2 * math.log(2 * math.pi) + 3 * math.log(4)
    assert abs(float((law - wanted).detach().mean())) < 0.01  # about 4 numbers over 2 * 24000 rows: 1e-4


@pytest.mark.parametrize("seed", range(3))
def test_draws_are_of_the_law_of_the_inverse(seed: int) -> None:
    fitted, g = chained(2).fit(rows(3000, seed)), torch.Generator().manual_seed(seed)
    z = torch.randn(20_000, 4, generator=g, dtype=F64)
    drawn, sent_back = fitted.draw(z, generator=g).detach(), fitted.inverse(z)[0].detach()
    torch.testing.assert_close(drawn.T.cov(), sent_back.T.cov(), atol=0.04, rtol=0)  # 4 standard errors of variance one
    assert torch.equal(drawn[:, 0], z[:, 0])


def test_a_coordinate_beyond_the_border_is_zero() -> None:
    inner = move(AffineCoupling(2, [0], MLP, context_dim=2), torch.randn(50, 2), torch.randn(50, 2))
    x = torch.randn(7, 5)
    z, _ = Given(inner, 5, [[1, 2]], [[0, -1]])(x)
    assert torch.equal(z[:, 1:3], inner(x[:, 1:3], torch.stack([x[:, 0], torch.zeros(7)], 1))[0])
    assert torch.equal(z[:, [0, 3, 4]], x[:, [0, 3, 4]])


def test_places_that_do_not_need_each_other_go_back_together() -> None:
    grid = [[(i, j) for j in range(1, 6)] for i in range(1, 5)]
    moved = [[6 * i + j] for line in grid for i, j in line]
    given = [[6 * i + j - 1, 6 * (i - 1) + j] for line in grid for i, j in line]
    couple = Given(MixtureTransport(1, 1, context_dim=2), 30, moved, given)
    assert couple._wave_count == 4 + 5 - 1
    z = torch.randn(3, 30)
    torch.testing.assert_close(couple(couple.inverse(z)[0])[0], z, atol=1e-5, rtol=1e-5)


def test_context_comes_after_what_is_given() -> None:
    x, context = table(400)
    y = x[:, :3].clone()
    y[:, 2] = y[:, 0] - 2 * context[:, 1]
    fitted = Given(MixtureTransport(1, 1, context_dim=3, dtype=F64), 3, [[2]], [[0]]).fit(y, context)
    assert fitted.context_dim == 2
    alone = fitted.inner(y[:, 2:], torch.cat([y[:, :1], context], 1))
    assert torch.equal(fitted(y, context)[0][:, 2:], alone[0])
    assert float(fitted(y, context)[1].detach().mean()) > 4  # the coordinate follows from the two


@pytest.mark.parametrize(
    ("moved", "given", "message"),
    [
        ([[1], [2]], [[0], [2]], "moved before"),
        ([[1], [2]], [[2], [0]], "moved before"),
        ([[1], [1]], [[0], [0]], "different"),
        ([[1], [4]], [[0], [0]], "different"),
        ([[1], [2]], [[0]], "as many"),
        ([[1, 2]], [[0]], "1 coordinates that move"),
        ([[1], [2]], [[0], [0, 1]], "equally many"),
        ([[1]], [[-2]], "from -1"),
        ([[1]], [[0, 2]], "context"),
        ([], [], "places"),
    ],
)
def test_places_that_do_not_fit_are_refused(moved: list[list[int]], given: list[list[int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Given(MixtureTransport(1, 1, context_dim=1), 4, moved, given)


def test_another_thing_than_a_transform_is_refused() -> None:
    with pytest.raises(TypeError, match="transform"):
        Given("spline", 2, [[0]], [[1]])  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(4, 6), (5, 7), (1, 4), (3, 1)])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_a_step_is_orthonormal(shape: tuple[int, int], stride: int) -> None:
    step = HaarStep(shape, stride)
    matrix = step(torch.eye(step.dim, dtype=F64))[0]
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(step.dim, dtype=F64))
    torch.testing.assert_close(step.inverse(matrix)[0], torch.eye(step.dim, dtype=F64))


def test_a_step_takes_averages_of_blocks_of_its_grid() -> None:
    x = torch.rand(3, 8, 12, dtype=F64)
    first = HaarStep((8, 12))(x.flatten(1))[0].unflatten(1, (8, 12))
    means = torch.nn.functional.avg_pool2d(x, 2)
    torch.testing.assert_close(first[:, ::2, ::2], 2 * means)
    torch.testing.assert_close(first[:, 0, 1], (x[:, 0, 0] - x[:, 0, 1] + x[:, 1, 0] - x[:, 1, 1]) / 2)
    second = HaarStep((8, 12), 2)(first.flatten(1))[0].unflatten(1, (8, 12))
    torch.testing.assert_close(second[:, ::4, ::4], 4 * torch.nn.functional.avg_pool2d(x, 4))
    torch.testing.assert_close(second[:, 1::2], first[:, 1::2])


def test_splines_shared_by_all_pixels_need_nothing_given() -> None:
    shared = Given(MarginalSpline(1, 8, dtype=F64), 5, [[i] for i in range(5)], [[] for _ in range(5)])
    x = torch.randn(500, 5, dtype=F64).exp()
    z, _ = shared.fit(x)(x)
    assert abs(float(z.detach().mean())) < 0.05
    assert abs(float(z.detach().std()) - 1) < 0.05


def test_a_chain_draws_by_every_part_whose_noise_is_untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    """By parts that find noise: a part after which others have moved its coordinates is sent back through instead."""
    fitted, g = chained(2).fit(rows(3000)), torch.Generator().manual_seed(0)
    first = Given(MixtureTransport(1, 2, dtype=F64), 4, [[0]], [[]]).fit(rows(3000))
    drawn: list[str] = []
    monkeypatch.setattr(fitted, "draw", lambda z, c, g: drawn.append("fitted") or Given.draw(fitted, z, c, g))
    monkeypatch.setattr(first, "draw", lambda z, c, g: drawn.append("first") or Given.draw(first, z, c, g))
    z = torch.randn(20_000, 4, generator=g, dtype=F64)
    cascade = Chain(fitted, first)
    torch.testing.assert_close(cascade.draw(z).detach().T.cov(), rows(20_000).T.cov(), atol=0.08, rtol=0)
    assert drawn == ["first", "fitted"]
    Chain(fitted, HaarStep((2, 2)), first).draw(z)
    assert drawn == ["first", "fitted", "first"]
