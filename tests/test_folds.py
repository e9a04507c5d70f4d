"""Folds dealt to ranks: every row is held out once, whatever the columns hold, and few points stand for many."""

import pytest
import torch

from gaussflow.transforms._folds import DEALT, FOLDS, folds, representatives


@pytest.mark.parametrize("n", [16, 17, 1003, 16384])
def test_every_rank_is_held_out_once_and_fitted_otherwise(n):
    counts = torch.zeros(n)
    for train, test, weight in folds(n, 0):
        assert bool((train.diff() > 0).all())
        assert bool((test.diff() > 0).all())
        assert not set(train.tolist()) & set(test.tolist())
        assert len(train) + weight.sum() == n
        assert abs(weight.sum() - n / FOLDS) < 1
        counts[train] += 1
    assert bool((counts == FOLDS - 1).all())


def test_folds_are_dealt_as_rows_in_no_order_would_have_them():
    """How often the next rank is in the same fold, and how far the folds' mean ranks lie apart: as by chance."""
    n = 8000
    for deal in range(DEALT):
        label = torch.empty(n)
        for i, (train, _, _) in enumerate(folds(n, deal)):
            label[~torch.isin(torch.arange(n), train)] = i
        same = (label[1:] == label[:-1]).double().mean()
        assert abs(same - 1 / FOLDS) < 4 * (0.25 * 0.75 / n) ** 0.5
        for i in range(FOLDS):
            place = torch.arange(n)[label == i].double().mean()
            assert abs(place - n / 2) < 4 * n / (12 * n / FOLDS) ** 0.5
    first = [folds(n, deal)[0][0] for deal in range(DEALT)]
    assert not any(torch.equal(first[0], other) for other in first[1:])
    assert torch.equal(folds(n, DEALT)[0][0], first[0])


@pytest.mark.parametrize("m", [4, 512, 513, 2048, 4096])
def test_points_that_stand_for_their_neighbours(m):
    at, weight = representatives(m)
    assert len(at) == len(weight) == min(m, 512)
    assert bool((at.diff() > 0).all())
    assert weight.sum() == m
    x = torch.linspace(-3, 3, m, dtype=torch.float64)
    assert float(x[at].square() @ weight.double()) == pytest.approx(float(x.square().sum()), rel=1e-3)
