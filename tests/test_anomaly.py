"""Anomaly detection: scores, thresholds, errors and the ROC curve against what is known, and the doors."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from benchmarks import anomaly as benchmark
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.pipeline import make_pipeline
from torch import nn

from gaussflow import MLP, VAE, Autoencoder, ConvDecoder, ConvEncoder, Flow, Gaussian, Standardize, load, save, train
from gaussflow.apps.anomaly import AnomalyDetector, AnomalyReport, roc


def fitted_flow(rows, valid):
    return Flow(Standardize(rows.dim, dtype=rows.dtype).fit(rows))


def normal_rows(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def detector() -> AnomalyDetector:
    return AnomalyDetector(fitted_flow).fit(normal_rows(5000))


def on_a_line(n: int, seed: int = 0) -> torch.Tensor:
    """Rows (n, 6) on a line, which one number can stand for."""
    generator = torch.Generator().manual_seed(seed)
    t = torch.randn(n, 1, generator=generator)
    return t * torch.arange(1.0, 7.0) / 4 + 0.02 * torch.randn(n, 6, generator=generator)


# the autoencoder


def test_autoencoder_is_minus_the_squared_error_and_learns() -> None:
    torch.manual_seed(0)
    model, x = Autoencoder(MLP(6, 1, ()), MLP(1, 6, ())), on_a_line(600)
    back = model.decode(model.encode(x))
    torch.testing.assert_close(model(x, torch.zeros(600, 2)), -((x - back) ** 2).sum(1))
    assert model(x.reshape(2, 300, 6)).shape == (2, 300)
    before = model(x).mean()
    train(model, x, epochs=40, progress=False)
    assert model(x).mean() > 0.1 * before
    assert torch.equal(model.reconstruct(x), model.decode(model.encode(x)))


def test_autoencoder_comes_back_from_a_file(tmp_path) -> None:
    x = torch.rand(4, 64)
    for model in (
        Autoencoder(MLP(64, 3), MLP(3, 64)),
        Autoencoder(ConvEncoder((1, 8, 8), 3, (8,)), ConvDecoder(3, (1, 8, 8), (8,))),
    ):
        save(model, tmp_path / "m")
        again = load(tmp_path / "m")
        assert torch.equal(again(x), model.eval()(x))


def test_autoencoder_doors() -> None:
    with pytest.raises(TypeError, match="wants a module for decoder; got function"):
        Autoencoder(MLP(3, 1), lambda z: z)
    with pytest.raises(ValueError, match=r"shape \(5, 3\) back; got \(5, 2\)"):
        Autoencoder(MLP(3, 1), MLP(1, 2))(torch.zeros(5, 3))
    with pytest.raises(TypeError, match="floating"):
        Autoencoder(MLP(3, 1), MLP(1, 3))(torch.zeros(5, 3, dtype=torch.int64))


# the detector


def test_threshold_and_errors_are_those_of_the_law(detector: AnomalyDetector) -> None:
    """For a standard normal in 3-D the score is |x|²/2 + a constant: half a chi-square of 3 degrees."""
    constant = 1.5 * math.log(2 * math.pi)
    assert detector.threshold == pytest.approx(1.5 + constant + 3 * 1.5**0.5, rel=0.1)
    report = detector.report(normal_rows(20_000, 1), 100 + normal_rows(50, 2))
    chi = torch.distributions.Chi2(torch.tensor(3.0))
    limit = 2 * (detector.threshold - constant)
    share = torch.special.gammaincc(chi.df / 2, torch.tensor(limit / 2))
    assert abs(report.type_one.value - share) < 5 * report.type_one.error + 0.002
    assert (report.type_two.value, report.area.value) == (0, 1)


def test_scores_are_minus_what_is_trained(detector: AnomalyDetector) -> None:
    x = normal_rows(2500)
    torch.testing.assert_close(detector.score(x), -detector.model_(x))
    assert torch.equal(detector.predict(x), torch.where(detector.score(x) > detector.threshold, -1, 1))
    assert torch.equal(detector.decision_function(x) < 0, detector.predict(x) == -1)
    assert detector.score(x[:0]).shape == (0,)


def test_quantile_is_the_share_of_held_out_rows_below() -> None:
    x = normal_rows(4000)
    limits = [AnomalyDetector(fitted_flow, quantile=q).fit(x) for q in (0.5, 0.99)]
    fresh = normal_rows(20_000, 1)
    for detector, share in zip(limits, (0.5, 0.01), strict=True):
        assert detector.report(fresh, fresh).type_one.value == pytest.approx(share, rel=0.2, abs=0.01)


def test_threshold_comes_from_rows_the_model_has_not_seen() -> None:
    class Memory(nn.Module):
        """Knows the rows it was given by heart, and no other."""

        def __init__(self, rows) -> None:
            super().__init__()
            self.known = rows.x

        def forward(self, x, context=None):
            return -torch.cdist(x, self.known).amin(1)

    seen = {}

    def fit(rows, valid):
        seen.update(rows=rows, valid=valid)
        return Memory(rows)

    detector = AnomalyDetector(fit, deviations=0.0, held_out=0.25, seed=3).fit(normal_rows(400))
    assert seen["rows"].n + seen["valid"].n == 400
    assert 60 < seen["valid"].n < 140
    assert detector.score(seen["rows"].x).max() < 0.01
    assert detector.threshold == pytest.approx(float(detector.score(seen["valid"].x).mean()))
    assert detector.threshold > 0.1


def test_a_module_is_copied_trained_and_tells_rows_apart() -> None:
    torch.manual_seed(0)
    model = Autoencoder(MLP(6, 1, ()), MLP(1, 6, ()))
    before = model.encoder.linear[0].weight.clone()
    detector = AnomalyDetector(model).fit(on_a_line(800).numpy().astype(np.float64))
    assert torch.equal(model.encoder.linear[0].weight, before)
    assert detector.model_ is not model
    report = detector.report(on_a_line(500, 1), torch.randn(500, 6).numpy())
    assert report.type_one.value < 0.05
    assert report.area.value > 0.95
    again = AnomalyDetector(model).fit(on_a_line(800))
    assert again.threshold == detector.threshold


def test_scores_of_a_variational_bound_are_the_same_at_every_call() -> None:
    vae = VAE((6,), 1, MLP(6, 2), MLP(1, 6), Gaussian(0.1))

    def fit(rows, valid):
        train(vae, rows, valid=valid, epochs=3, progress=False)
        return vae

    torch.manual_seed(5)
    detector = AnomalyDetector(fit).fit(on_a_line(300))
    state = torch.random.get_rng_state()
    x = on_a_line(50, 1)
    one, two = detector.score(x), detector.score(x)
    assert torch.equal(one, two)
    assert torch.equal(state, torch.random.get_rng_state())
    assert not torch.equal(-vae(x), one)
    assert (one + vae(x)).abs().median() < 5


def test_report_is_that_of_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(0)
    for shift, digits in product((0.0, 1.0), (0, 6)):  # 0 digits: many ties
        normal = (2 * torch.randn(300, generator=generator)).round(decimals=digits)
        strange = (2 * torch.randn(200, generator=generator) + shift).round(decimals=digits)
        report = AnomalyReport.of_scores(normal, strange, 1.0)
        labels, scores = np.repeat([0, 1], [300, 200]), torch.cat([normal, strange]).numpy()
        assert float(report.area.value) == pytest.approx(roc_auc_score(labels, scores), rel=1e-12)
        false, true, _ = roc_curve(labels, scores, drop_intermediate=False)
        torch.testing.assert_close(report.false_positive, torch.from_numpy(false))
        torch.testing.assert_close(report.true_positive, torch.from_numpy(true))
        assert float(report.area.value) == pytest.approx(torch.trapezoid(report.true_positive, report.false_positive))
        assert float(report.type_one.value) == pytest.approx((normal > 1).double().mean())
        assert float(report.type_two.value) == pytest.approx((strange <= 1).double().mean())


def test_errors_of_a_report_are_honest() -> None:
    generator = torch.Generator().manual_seed(0)
    area = 0.5 * math.erfc(-0.5)  # of N(1, 1) against N(0, 1): Φ(1/√2)
    scores = []
    for _ in range(300):
        x, y = torch.randn(300, generator=generator), torch.randn(40, generator=generator) + 1
        report = AnomalyReport.of_scores(x, y, 0.0)
        parts = ((report.area, area), (report.type_one, 0.5), (report.type_two, 0.158655))
        scores.append([float((e.value - truth) / e.error) for e, truth in parts])
    scores = torch.tensor(scores)
    assert bool((scores.mean(0).abs() < 0.25).all())
    assert bool(((scores.std(0) - 1).abs() < 0.2).all())


def test_infinite_scores_are_ranked_and_nan_is_not() -> None:
    low, high = torch.tensor([0.0, 1.0]), torch.tensor([torch.inf, torch.inf])
    assert AnomalyReport.of_scores(low, high, 2.0).area.value == 1
    false, true = roc(low, high)
    assert (false.tolist(), true.tolist()) == ([0, 0, 0.5, 1], [0, 1, 1, 1])
    for bad in (torch.tensor([0.0, torch.nan]), torch.zeros(1), torch.zeros(2, 2)):
        with pytest.raises(ValueError, match="two or more normal scores"):
            AnomalyReport.of_scores(bad, high, 2.0)


# the benchmark


def test_benchmark_reads_both_sets_and_measures(tmp_path, monkeypatch, capsys) -> None:
    generator = np.random.default_rng(0)
    for name, arrays in {
        "mnist.npz": {"x_train": 60, "x_test": 20},
        "omniglot28_background.npz": {"x": 30},
    }.items():
        np.savez(tmp_path / name, **{k: generator.integers(0, 256, (n, 28, 28), np.uint8) for k, n in arrays.items()})
    images = benchmark.characters(tmp_path)
    assert [len(x) for x in (images.fitted, images.normal, images.anomalous)] == [60, 20, 30]
    assert images.fitted.max() == 1
    monkeypatch.setattr("sys.argv", ["anomaly", "--methods", "flow"])
    benchmark.main()
    lines = capsys.readouterr().out.splitlines()
    assert (
        lines[0] == "digits 0-6 against 7-9: 1137 images to fit and hold out, 127 normal and 533 anomalous to judge by"
    )
    assert [line.count("|") for line in lines[1:]] == [6] * 4
    assert float(lines[-1].split("|")[4].split("±")[0]) > 0.8


def test_density_of_the_benchmark_is_on_dequantised_principal_axes() -> None:
    x = torch.randint(0, 17, (4000, 6), generator=torch.Generator().manual_seed(0)) / 16
    model = benchmark.PrincipalDensity(x, 6, 17)
    z = model.coordinates(x)
    torch.testing.assert_close(z.mean(0), torch.zeros(6), atol=0.01, rtol=0)
    dequantised = z @ model.axes.T + model.mean
    assert torch.equal((dequantised * 17).floor().clamp(0, 16), (x * 16).round())
    axes = benchmark.PrincipalDensity(x, 2, 17).axes
    torch.testing.assert_close(axes.T @ axes, torch.eye(2))


# the conventions


def test_conventions_of_scikit_learn() -> None:
    detector = AnomalyDetector(fitted_flow, deviations=2.0)
    assert detector.get_params() == {
        "model": fitted_flow,
        "deviations": 2.0,
        "quantile": None,
        "held_out": 0.1,
        "seed": 0,
    }
    x = np.random.default_rng(0).normal(size=(300, 5))
    twin = clone(detector).set_params(deviations=4.0).fit(x)
    assert not hasattr(detector, "model_")
    assert (twin.deviations, detector.deviations, twin.n_features_in_) == (4.0, 2.0, 5)
    assert clone(AnomalyDetector(MLP(3, 1))).model is not None
    line = make_pipeline(PCA(2), detector).fit(x)
    assert set(line.predict(x + 50).tolist()) == {-1}
    with pytest.raises(ValueError, match="no parameter 'depth'; it has model"):
        detector.set_params(depth=3)


def rows_of(x):
    return lambda d: d.score(x)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (rows_of(torch.zeros(2, 4)), ValueError, r"works on \(\.\.\., 3\); got x of shape \(2, 4\)"),
        (rows_of(torch.zeros(3)), ValueError, r"rows \(n, 3\); got \(3,\)"),
        (rows_of(torch.full((2, 3), torch.nan)), ValueError, "6 NaN or infinite in x"),
        (rows_of(np.full((2, 3), np.inf)), ValueError, "NaN or infinite"),
        (rows_of(torch.zeros(2, 3, dtype=torch.uint8)), TypeError, "floating"),
        (lambda d: d.report(torch.zeros(2, 3), torch.zeros(1, 3)), ValueError, "two or more anomalous"),
        (lambda d: AnomalyDetector(fitted_flow).score(torch.zeros(2, 3)), ValueError, r"no score before .* fit\(x\)"),
        (lambda d: AnomalyDetector(fitted_flow).threshold, ValueError, "no threshold before"),
        (lambda d: AnomalyDetector(fitted_flow).predict(torch.zeros(2, 3)), ValueError, "before it is fitted"),
        (lambda d: AnomalyDetector(3).fit(normal_rows(50)), TypeError, "a module or a function; got int"),
        (lambda d: AnomalyDetector(fitted_flow, quantile=1.5).fit(normal_rows(50)), ValueError, "quantile"),
        (lambda d: AnomalyDetector(fitted_flow, deviations=math.nan).fit(normal_rows(50)), ValueError, "finite number"),
        (lambda d: AnomalyDetector(fitted_flow, held_out=1.0).fit(normal_rows(50)), ValueError, "fraction"),
        (lambda d: AnomalyDetector(lambda a, b: 3).fit(normal_rows(50)), TypeError, "returns a module; got int"),
        (lambda d: AnomalyDetector(lambda a, b: Column()).fit(normal_rows(50)), ValueError, "one number a row"),
        (lambda d: AnomalyDetector(lambda a, b: NotANumber()).fit(normal_rows(50)), ValueError, "NaN from NotANumber"),
        (lambda d: AnomalyDetector(lambda a, b: Infinite()).fit(normal_rows(50)), ValueError, "Pass quantile"),
        (lambda d: AnomalyDetector(fitted_flow).fit(torch.full((50, 3), torch.nan)), ValueError, "NaN or infinite"),
        (lambda d: AnomalyDetector(fitted_flow, held_out=0.02).fit(normal_rows(60)), ValueError, "held out|both sides"),
    ],
)
def test_doors(detector: AnomalyDetector, call, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call(detector)


class NotANumber(nn.Module):
    def forward(self, x, context=None):
        return x.sum(1) * torch.nan


class Column(nn.Module):
    def forward(self, x, context=None):
        return x[:, :1]


class Infinite(nn.Module):
    def forward(self, x, context=None):
        return x.sum(1) - torch.inf
