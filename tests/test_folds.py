"""Folds that are read off one sorting: those of the rows, whatever the columns hold, and few points for many."""

import pytest
import torch

from gaussflow.transforms._folds import FOLDS, folds, representatives, sorted_rows


def rows(n, dtype=torch.float64):
    x = torch.randn(n, 3, generator=torch.Generator().manual_seed(n), dtype=dtype)
    x[:, 1] = (2 * x[:, 1]).round()
    x[:, 2] += 1e4
    return x


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [16, 17, 1003, 16384])
def test_every_fold_has_its_own_rows_in_order(n, dtype):
    x = rows(n, dtype)
    columns, label = sorted_rows(x)
    for i, (train, test, weight) in enumerate(folds(label)):
        number = torch.arange(n) % FOLDS
        mine = {"train": x[number != i], "test": x[number == i]}
        exact = {"rtol": 0, "atol": 3e-6} if dtype == torch.float32 else {"rtol": 1e-14, "atol": 0}
        for name, place in (("train", train), ("test", test)):
            want = mine[name].sort(0).values.T.double()
            if name == "test":
                want = want[:, representatives(want.shape[1])[0]]
            torch.testing.assert_close(columns.flatten()[place], want, **exact)
        assert weight.sum() == len(mine["test"])


def test_single_precision_loses_no_offset_and_bears_every_size():
    x = rows(1003, torch.float32)
    x[:, 0] *= 1e-3
    x[:, 1] += 3e6  # and whole numbers
    far = x.clone()
    far[5] = torch.tensor([3e38, -3e38, 1e30])
    for given in (x, far):
        columns, label = sorted_rows(given)
        want = given.double().T.sort(1).values
        torch.testing.assert_close(columns[1], want[1], rtol=1e-15, atol=0)
        torch.testing.assert_close(columns, want, rtol=1e-6, atol=1e-8)
        assert bool(columns.isfinite().all())
        assert all(torch.equal(one.bincount(), (torch.arange(1003) % FOLDS).bincount()) for one in label)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ties_stay_ties(dtype):
    columns, _ = sorted_rows(
        torch.cat([rows(900)[:, 1:2], torch.full((900, 1), 0.1), -torch.ones(900, 1)], 1).to(dtype)
    )
    assert len(columns[0].unique()) == len(rows(900)[:, 1].unique())
    assert len(columns[1].unique()) == len(columns[2].unique()) == 1


@pytest.mark.parametrize("m", [4, 512, 513, 2048, 4096])
def test_points_that_stand_for_their_neighbours(m):
    at, weight = representatives(m)
    assert len(at) == len(weight) == min(m, 512)
    assert bool((at.diff() > 0).all())
    assert weight.sum() == m
    x = torch.linspace(-3, 3, m, dtype=torch.float64)
    assert float(x[at].square() @ weight.double()) == pytest.approx(float(x.square().sum()), rel=1e-3)
