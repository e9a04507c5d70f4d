"""The split of a loss into dependence and marginal losses, against closed forms and its own errors."""

import math
import re
import warnings
from collections.abc import Callable

import pytest
import torch

from gaussflow import (
    ChunkRows,
    DiagonalGaussian,
    Estimate,
    FewRowsWarning,
    FullGaussian,
    Rows,
    TensorRows,
    as_rows,
    decompose_loss,
    gaussian_kl,
    haar,
    negentropy,
    total_correlation,
)
from gaussflow.losses._pairs import _correlations
from gaussflow.losses._spacings import marginal_losses, marginal_negentropies
from gaussflow.losses.decomposition import MEASURE_ROWS, marginals_and_dependence


def correlated(correlation: float, n: int, dim: int, seed: int) -> TensorRows:
    generator = torch.Generator().manual_seed(seed)
    covariance = torch.full((dim, dim), correlation).double().fill_diagonal_(1.0)
    return TensorRows(
        torch.randn(n, dim, generator=generator, dtype=torch.float64) @ torch.linalg.cholesky(covariance).mT
    )


def a_law(dim: int) -> FullGaussian:
    factor = torch.eye(dim).double() + 0.3 * torch.randn(dim, dim).double().tril()
    return FullGaussian(0.5 * torch.randn(dim).double(), factor * (0.8 + 0.4 * torch.rand(dim, 1)))


def closed_form(law: FullGaussian) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Loss, dependence and marginal losses of a normal law."""
    variance = law.cholesky.square().sum(-1)
    zeros = torch.zeros_like(law.mean)
    alike = FullGaussian(zeros, law.cholesky)
    marginals = gaussian_kl(DiagonalGaussian(law.mean[:, None], variance.log()[:, None]))
    return gaussian_kl(law), gaussian_kl(alike, DiagonalGaussian(zeros, variance.log())), marginals


def test_the_parts_of_a_normal_law_are_its_closed_forms_within_their_errors() -> None:
    torch.manual_seed(1)
    law = a_law(4)
    truth = closed_form(law)
    torch.testing.assert_close(truth[0], truth[1] + truth[2].sum())
    scores = []
    for seed in range(40):
        got = decompose_loss(law.rsample(2000, torch.Generator().manual_seed(seed)))
        scores.append(torch.cat([((g.value - t) / g.error).reshape(-1) for g, t in zip(got, truth, strict=True)]))
    scores = torch.stack(scores)
    assert scores.shape == (40, 6)
    assert bool((scores.mean(0).abs() < 0.75).all()), scores.mean(0)
    assert bool(((scores.std(0) > 0.6) & (scores.std(0) < 1.7)).all()), scores.std(0)


def test_errors_of_standard_normal_rows_are_honest_too() -> None:
    """There the first-order error vanishes, and what is left comes from the spacings."""
    got = [decompose_loss(torch.randn(1000, 20, generator=torch.Generator().manual_seed(s))) for s in range(10)]
    scores = torch.stack([d.marginals.value / d.marginals.error for d in got])
    assert abs(scores.mean()) < 0.3
    assert 0.6 < scores.std() < 1.6
    assert abs(sum(float(d.loss.value / d.loss.error) for d in got) / 10) < 1


def test_loss_is_the_sum_of_its_parts() -> None:
    loss, left, marginals = decompose_loss(torch.randn(100, 3).exp())
    torch.testing.assert_close(loss.value, left.value + marginals.value.sum())
    assert loss.value.dtype == torch.float64
    assert loss.error > 0


def test_a_rotation_moves_loss_between_the_parts_and_keeps_the_sum() -> None:
    z = torch.randn(8000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    z = z * torch.tensor([0.5, 1.0, 2.0]).double()
    before, after = decompose_loss(z), decompose_loss(z @ haar(3, torch.Generator().manual_seed(1)).double().T)
    assert abs(before.dependence.value) < 4 * before.dependence.error
    assert after.dependence.value > 0.1
    assert abs(after.loss.value - before.loss.value) < 0.02
    assert after.marginals.value.sum() < before.marginals.value.sum() - 0.1


def test_rows_in_memory_and_in_chunks_say_the_same_and_many_rows_are_sampled() -> None:
    z = torch.randn(MEASURE_ROWS + 500, 2)
    one, two = decompose_loss(z), decompose_loss(ChunkRows(z.split(900)))
    taken = decompose_loss(as_rows(z).sample(MEASURE_ROWS)[0])
    for a, b, c in zip(one, two, taken, strict=True):
        assert torch.equal(a.value, b.value)
        assert torch.equal(a.value, c.value)
        assert torch.equal(a.error, b.error)


def test_edges_and_doors() -> None:
    one = decompose_loss(2 * torch.randn(100, 1))
    assert one.dependence == (0.0, 0.0)
    constant = decompose_loss(torch.cat([torch.randn(50, 1), torch.ones(50, 1)], 1))
    assert constant.marginals.value.isinf().tolist() == [False, True]
    assert constant.loss.value == torch.inf
    with pytest.raises(ValueError, match="at least 40 rows; got 39"):
        decompose_loss(torch.randn(39, 2))
    with pytest.raises(ValueError, match="NaN or infinite"):
        decompose_loss(torch.full((50, 2), torch.nan))


def summed_marginals(rows: Rows) -> float:
    return marginals_and_dependence(rows)[0]


def found_dependence(rows: Rows) -> Estimate:
    return marginals_and_dependence(rows)[1]


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("n", [200, 8000])
def test_marginal_losses_of_normal_columns(scale: float, n: int) -> None:
    loss = summed_marginals(TensorRows(scale * torch.randn(n, 50).double())) / 50
    assert loss == pytest.approx(0.5 * (scale**2 - 1) - math.log(scale), abs=0.01)


def test_marginal_loss_of_a_uniform_column() -> None:
    loss = summed_marginals(TensorRows(torch.rand(8000, 20).double())) / 20
    assert loss == pytest.approx(1 / 6 + 0.5 * math.log(2 * math.pi), abs=0.02)


def test_marginal_loss_survives_ties_constants_and_few_rows() -> None:
    assert math.isfinite(summed_marginals(TensorRows(torch.randint(0, 2, (500, 3)).double())))
    assert summed_marginals(TensorRows(torch.zeros(500, 3))) == 0
    assert math.isnan(summed_marginals(TensorRows(torch.randn(2, 3))))


@pytest.mark.parametrize("correlation", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("seed", range(3))
def test_dependence_of_normal_rows_is_the_closed_form_within_its_error(correlation: float, seed: int) -> None:
    dim = 6
    rows = correlated(correlation, 8000, dim, seed)
    truth = -0.5 * (math.log1p((dim - 1) * correlation) + (dim - 1) * math.log1p(-correlation))
    got = found_dependence(rows)
    assert abs(got.value - truth) < 4 * got.error
    assert got.error < 0.05


def test_dependence_of_a_normal_law_has_no_bias_against_its_own_error() -> None:
    root = torch.tensor([[1.0, 0, 0], [0.6, 0.8, 0], [0, 0.3, 0.91**0.5]], dtype=torch.float64)
    truth = -0.5 * float(torch.logdet(root @ root.T))
    for n in (200, 5000):
        errors = []
        for seed in range(20):
            x = torch.randn(n, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) @ root.T
            found = found_dependence(TensorRows(x))
            errors.append((found.value - truth) / found.error)
        assert abs(sum(errors) / 20) < 1
        assert sum(abs(e) < 2.5 for e in errors) >= 16


def test_independent_coordinates_show_no_dependence() -> None:
    values = [found_dependence(TensorRows(torch.randn(300, 10).double())).value for _ in range(20)]
    assert abs(sum(values) / 20) < 0.03


def test_dependence_without_correlation_is_seen() -> None:
    x = torch.randn(8000, 1).double()
    sign = torch.randint(0, 2, (8000, 1)) * 2 - 1
    got = found_dependence(TensorRows(torch.cat([x, sign * x], 1)))
    assert got.value > 10 * got.error > 0


def test_dependence_says_when_it_cannot_say() -> None:
    assert found_dependence(TensorRows(torch.randn(50, 1))) == (0.0, 0.0)
    assert math.isnan(found_dependence(TensorRows(torch.randn(20, 3))).value)
    assert math.isfinite(found_dependence(TensorRows(torch.zeros(100, 3))).value)


def scores(measure: Callable[[torch.Tensor], Estimate], draw: Callable[[int], torch.Tensor], truth: float, n: int):  # type: ignore[no-untyped-def]
    """Bias in standard deviations of one estimate, and the root mean square of the errors stated over the true one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FewRowsWarning)
        found = [measure(draw(seed)) for seed in range(n)]
    values = torch.stack([f.value for f in found])
    stated = torch.stack([f.error for f in found]).square().mean().sqrt()
    return float((values.mean() - truth) / values.std()), float(stated / values.std())


def normal_truth(correlation: float, dim: int) -> float:
    return -0.5 * (math.log1p((dim - 1) * correlation) + (dim - 1) * math.log1p(-correlation))


@pytest.mark.parametrize(("correlation", "n", "dim"), [(0.3, 100, 32), (0.3, 500, 8), (0.0, 60, 32), (0.0, 300, 2)])
def test_few_and_many_rows_give_no_bias_and_an_honest_error(correlation: float, n: int, dim: int) -> None:
    """Moments that are correlated among themselves vary more than those of independent latents."""
    draw = lambda seed: next(correlated(correlation, n, dim, seed).chunks())[0]  # noqa: E731
    bias, error = scores(total_correlation, draw, normal_truth(correlation, dim), 50)
    assert abs(bias) < 0.5
    assert 0.7 < error < 2.2


def laplace(n: int, dim: int, seed: int) -> torch.Tensor:
    u = torch.rand(n, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) - 0.5
    return -u.sign() * torch.log1p(-2 * u.abs())


def test_negentropy_is_the_closed_form_whatever_scale_and_place() -> None:
    truth = 6 * (0.5 * math.log(2 * math.pi * math.e * 2) - 1 - math.log(2))  # 0.072 nats for each Laplace law
    bias, error = scores(negentropy, lambda seed: 5 + 3 * laplace(1000, 6, seed), truth, 30)
    assert abs(bias) < 0.6
    assert 0.6 < error < 1.8
    bias, error = scores(negentropy, lambda seed: correlated(0.5, 300, 6, seed).sample(300)[0] * 4 - 1, 0.0, 30)
    assert abs(bias) < 0.6
    assert 0.6 < error < 2.2


def test_the_loss_is_negentropy_and_what_an_affine_map_takes_away() -> None:
    z = 1 + laplace(4000, 4, 0) @ torch.randn(4, 4, generator=torch.Generator().manual_seed(1)).double()
    law = FullGaussian(z.mean(0), torch.linalg.cholesky(torch.cov(z.T, correction=0)))
    together = negentropy(z).value + gaussian_kl(law)
    torch.testing.assert_close(
        decompose_loss(z).loss.value, together, atol=4e-3, rtol=0
    )  # what chance gives, 10 / 4000


def test_total_correlation_is_the_dependence_and_no_transform_of_one_coordinate_changes_it_much() -> None:
    z = correlated(0.5, 4000, 3, 0).sample(4000)[0]
    assert total_correlation(z) == decompose_loss(z).dependence
    moved = total_correlation(z * torch.tensor([1.0, -20.0, 0.1]).double() + 3)
    torch.testing.assert_close(moved.value, total_correlation(z).value)


def test_the_dependence_is_a_floor_where_pairs_are_far_from_normal() -> None:
    """Two uniforms turned by 45 degrees: uniform on a square that stands on its corner, uncorrelated."""
    u = (torch.rand(8000, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 0.5) * 2
    truth = 2 * (0.5 + math.log(2**0.5) - math.log(2))  # entropies of the two triangles, less that of the square
    found = total_correlation(torch.stack([u.sum(1), u[:, 0] - u[:, 1]], 1) / 2**0.5)
    assert 10 * found.error < found.value < truth


def test_too_few_rows_are_said_to_be_too_few() -> None:
    z = torch.randn(100, 60, generator=torch.Generator().manual_seed(0))
    with pytest.warns(FewRowsWarning, match=r"decompose_loss .* N = 100 for D = 60, .*About 2,400 rows would do\.$"):
        decompose_loss(z)
    for measure in (total_correlation, negentropy):
        with pytest.warns(FewRowsWarning, match=f"{measure.__name__} has too few rows"):
            measure(z)
    with pytest.warns(FewRowsWarning, match="N = 60 for D = 60, nothing can be said"):
        loss, left, marginals = decompose_loss(z[:60])
    assert loss.value.isnan()
    assert left.value.isnan()
    assert marginals.value.isfinite().all()


def test_as_many_rows_as_the_warning_asks_for_are_enough() -> None:
    for dim in (5, 10, 50):
        with pytest.warns(FewRowsWarning) as caught:
            decompose_loss(torch.randn(44, dim, generator=torch.Generator().manual_seed(0)).double())
        enough = int(re.search(r"About ([\d,]+) rows", str(caught[0].message))[1].replace(",", ""))  # type: ignore[index]
        for seed in range(3):
            decompose_loss(torch.randn(enough, dim, generator=torch.Generator().manual_seed(seed)).double())


def test_a_loss_that_is_plain_to_see_is_no_reason_to_warn() -> None:
    assert decompose_loss(torch.randn(60, 20) * 3).loss.value > 10


def test_more_rows_are_measured_on_demand() -> None:
    z = torch.randn(500, 3)
    assert decompose_loss(z, max_rows=200).loss.value == decompose_loss(as_rows(z).sample(200)[0]).loss.value
    wide = torch.randn(100, 300, generator=torch.Generator().manual_seed(0))
    with pytest.warns(FewRowsWarning, match="About 12,000 rows would do, with max_rows=12000"):
        decompose_loss(wide)
    with pytest.raises(ValueError, match="at least 40"):
        decompose_loss(z, max_rows=20)


@pytest.mark.parametrize("n", [40, 100, 1000])
def test_many_normal_columns_of_few_rows_have_no_loss_on_average(n: int) -> None:
    z = torch.randn(n, 4000, dtype=torch.float64, generator=torch.Generator().manual_seed(n))
    for measure in (marginal_losses, marginal_negentropies):
        losses = measure(z)
        assert abs(losses.mean()) < 3e-4 + 4 * losses.std() / 4000**0.5
        assert losses.std() < 3 / n**0.5


def test_correlations_are_those_of_the_centred_powers() -> None:
    z = laplace(300, 3, 0) + torch.tensor([0.5, -2.0, 1.0]).double()
    powers = torch.cat([torch.ones(300, 1).double(), z, z.square()], 1)
    centred = z - z.mean(0)
    torch.testing.assert_close(
        _correlations(powers.T @ powers / 300), torch.corrcoef(torch.cat([centred, centred.square()], 1).T)
    )
