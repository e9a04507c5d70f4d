"""Models with codes: a variational autoencoder of small images, and anomalies by what it cannot give back."""

from __future__ import annotations

import torch
from sklearn.datasets import load_breast_cancer, load_digits

from common import BLUE, GREY, ORANGE, new_figure, save
from gaussflow import MLP, VAE, Bernoulli, KLAnnealing, rbig, train
from gaussflow.apps._plots import draw_images
from gaussflow.apps.anomaly import AnomalyDetector


def vae() -> None:
    """Digits, what comes back of them, samples, and the held-out bound of each epoch."""
    x = torch.tensor(load_digits().data / 16, dtype=torch.float32)
    torch.manual_seed(0)
    model = VAE((1, 8, 8), 8, MLP(64, 16, (128,)), MLP(8, 64, (128,)), Bernoulli(), penalty=KLAnnealing(200))
    history = train(model, x[:1500], epochs=100, lr=3e-3, progress=False)
    given = x[1500:1530]
    with torch.no_grad():
        back = model.decode(model.posterior(given).mean)
    drawn = model.sample(30, generator=torch.Generator().manual_seed(1))
    figure = new_figure(10, 2.9)
    axes = figure.subplots(1, 4, gridspec_kw={"width_ratios": [1, 1, 1, 1.3]})
    for axis, images, title in zip(
        axes, (given, back, drawn), ("held-out digits", "given back", "samples"), strict=False
    ):
        draw_images(axis, 16 * images.reshape(-1, 8, 8), 6, title)
    axes[3].plot(history.column("epoch"), history.column("valid"), color=BLUE)
    axes[3].set(xlabel="epoch", ylabel="nats per image", title="minus the bound, held out", ylim=(24.5, 32))
    save(figure, "vae")


def anomalies() -> None:
    """Malignant tumours under a density of benign ones: scores, threshold, and the ROC curve."""
    data = load_breast_cancer()
    x, benign = torch.tensor(data.data), torch.tensor(data.target) == 1
    normal = x[benign][torch.randperm(int(benign.sum()), generator=torch.Generator().manual_seed(0))]
    detector = AnomalyDetector(lambda rows, valid: rbig(rows, valid=valid, progress=False)[0])
    detector.fit(normal[:257])
    report = detector.report(normal[257:], x[~benign])
    low, high = detector.score(normal[257:]), detector.score(x[~benign])
    figure = new_figure(9, 3.1)
    left, right = figure.subplots(1, 2)
    bins = torch.linspace(float(low.min()), float(low.max()) + 60, 50).tolist()
    left.hist(low, bins=bins, color=GREY, label=f"{len(low)} benign, not seen in the fit")
    left.hist(high.clamp(max=bins[-1]), bins=bins, color=ORANGE, alpha=0.7, hatch="//", label=f"{len(high)} malignant")
    left.axvline(detector.threshold, color=BLUE, linestyle="--", label="threshold")
    left.set(xlabel="score −log p, nats (the last bin holds all above)", ylabel="rows", title="scores")
    left.legend(frameon=False, fontsize=8)
    right.plot(report.false_positive, report.true_positive, color=BLUE)
    right.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1)
    area = report.area
    right.set(xlabel="share of benign rows flagged", ylabel="share of malignant rows flagged", aspect="equal")
    right.set_title(f"area {area.value:.3f} ± {area.error:.3f}")
    save(figure, "anomaly")
    print(report)


if __name__ == "__main__":
    vae()
    anomalies()
