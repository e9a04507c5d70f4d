"""The demo: its split, its baselines, the losses it draws, and a whole run on small tables."""

import math
from functools import partial

import pytest
import torch
from torch import distributions

from gaussflow import Chain, Flow, MarginalSpline, Rotation, pca
from gaussflow.apps import demo
from gaussflow.apps._baselines import gaussian, mixture
from gaussflow.apps._optional import need


def test_the_split_leaves_no_row_twice_and_standardises_by_the_training_rows():
    x = torch.randn(200, 3, generator=torch.Generator().manual_seed(0)).double() * 5 + 100
    x[:, 1] = 7  # constant: dropped
    parts = demo.split_table(x, ("a", "b", "c"))
    assert parts.names == ("a", "c")
    assert [len(part) for part in (parts.train, parts.valid, parts.test)] == [160, 20, 20]
    everything = parts.raw(torch.cat([parts.train, parts.valid, parts.test]))
    order = everything[:, 0].argsort()
    blur = demo.NOISE * parts.scale * 5
    assert ((everything[order] - x[x[:, 0].argsort()][:, [0, 2]]).abs()[:, 0] < blur[0]).all()
    assert parts.train.mean(0).abs().max() < 0.01
    assert (parts.train.std(0) - 1).abs().max() < 0.01


def test_the_gaussian_baseline_is_the_closed_form():
    x = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)).double() @ torch.tensor(
        [[1.0, 0.5, 0.0], [0.0, 1.0, 0.3], [0.0, 0.0, 0.2]], dtype=torch.float64
    )
    exact = distributions.MultivariateNormal(x.mean(0), x.T.cov()).log_prob(x[:7])
    torch.testing.assert_close(gaussian(x, x[:7]), exact)


def test_the_mixture_baseline_finds_the_number_of_clusters():
    generator = torch.Generator().manual_seed(0)
    centres = torch.tensor([[-6.0, 0.0], [0.0, 6.0], [6.0, 0.0]]).double()
    x = torch.randn(900, 2, generator=generator).double() + centres[torch.arange(900) % 3]
    x = x[torch.randperm(900, generator=generator)]
    density, name = mixture(x[:600], x[600:])
    truth = torch.logsumexp(-0.5 * ((x[600:, None] - centres) ** 2).sum(-1), 1) - math.log(3 * 2 * math.pi)
    assert name == "mixture of 3 Gaussians"
    assert (density - truth).mean().abs() < 0.05


def test_losses_begin_at_the_standard_normal_and_end_at_the_flow():
    x = torch.randn(300, 2, generator=torch.Generator().manual_seed(0)).double().exp()
    block = Chain(Rotation(2, pca, dtype=x.dtype), MarginalSpline(2, dtype=x.dtype))
    flow = Flow(Chain(MarginalSpline(2, dtype=x.dtype), block))
    flow.transform.fit(x)
    losses = demo.block_losses(flow, x)
    assert len(losses) == 3
    assert losses[0] == pytest.approx(-distributions.Normal(0.0, 1.0).log_prob(x).sum(-1).mean().item())
    assert losses[-1] == pytest.approx(-flow.log_prob(x).mean().item())


def test_a_missing_package_is_named_with_its_remedy():
    with pytest.raises(ImportError, match=r"drawing needs nosuchthing.*pip install 'gaussflow\[tabular\]'"):
        need("nosuchthing.part", "drawing")


def test_the_demo_prints_its_table_and_draws_its_picture(tmp_path, capsys, monkeypatch):
    data = need("sklearn.datasets", "this test")
    cancer, digits = data.load_breast_cancer(), data.load_digits()
    cancer.data, digits.data = cancer.data[:200], digits.data[:300]
    monkeypatch.setattr(data, "load_breast_cancer", lambda: cancer)
    monkeypatch.setattr(data, "load_digits", lambda: digits)
    monkeypatch.setattr(demo, "rbig", partial(demo.rbig, max_blocks=2))
    results = demo.run(tmp_path / "new", progress=False)
    said = capsys.readouterr().out
    for result in results:
        assert result.losses[-1] < result.losses[0]
        for line in result.lines:
            assert all(cell in said for cell in line)
        assert result.remark in said
    assert said.count("gaussflow.rbig, ") == 2
    picture = (tmp_path / "new" / "demo.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 20_000
