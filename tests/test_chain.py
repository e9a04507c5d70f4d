"""Chain and Inverse beyond the contract: order, fits in turn, parts, doors."""

import pytest
import torch

from gaussflow import AffineCoupling, Chain, Inverse, MarginalTable, Permutation, Rotation, Standardize, pca

F64 = torch.float64


def test_the_first_part_touches_the_data_first() -> None:
    scale, turn = Standardize(3, dtype=F64), Permutation([2, 0, 1])
    scale.fit(torch.randn(50, 3, dtype=F64) * torch.tensor([1.0, 10.0, 100.0]))
    x = torch.randn(7, 3, dtype=F64)
    z, ladj = Chain(scale, turn)(x)
    torch.testing.assert_close(z, scale(x)[0][:, [2, 0, 1]])
    torch.testing.assert_close(ladj, scale(x)[1])


def test_each_part_is_fitted_on_what_the_parts_before_give() -> None:
    x = torch.randn(200, 3, dtype=F64) * 5 + 7
    first, second, third = Chain(Standardize(3), Rotation(3, pca), Standardize(3)).double().fit(x)
    torch.testing.assert_close(first.loc, x.mean(0))
    alone = Rotation(3, pca).double().fit(first(x)[0].detach())
    torch.testing.assert_close(second.base, alone.base)
    torch.testing.assert_close(third.loc, torch.zeros(3, dtype=F64), atol=1e-12, rtol=0)


def test_parts() -> None:
    parts = [Standardize(3), Permutation([1, 0, 2]), Standardize(3)]
    chain = Chain(*parts)
    assert len(chain) == 3
    assert list(chain) == parts
    assert chain[1] is parts[1]
    assert isinstance(chain[1:], Chain)
    assert list(chain[1:]) == parts[1:]


def test_smooth_and_context_are_those_of_the_parts() -> None:
    assert Chain(Standardize(3), Permutation([1, 0, 2])).smooth
    assert not Chain(Standardize(3), MarginalTable(3)).smooth
    assert not Inverse(MarginalTable(3)).smooth
    assert Chain(Standardize(3), AffineCoupling(3, [0], context_dim=2)).context_dim == 2
    assert Inverse(AffineCoupling(3, [0], context_dim=2)).context_dim == 2


def test_inverse_shares_the_numbers() -> None:
    inside = Standardize(3)
    turned = Inverse(inside)
    inside.fit(torch.randn(50, 3) * 9)
    x = torch.randn(5, 3)
    assert torch.equal(turned(x)[0], inside.inverse(x)[0])
    assert torch.equal(turned.inverse(x)[1], inside(x)[1])


def test_doors() -> None:
    with pytest.raises(ValueError, match="at least one transform; got none"):
        Chain()
    with pytest.raises(TypeError, match="made of transforms; got Linear"):
        Chain(torch.nn.Linear(3, 3))
    with pytest.raises(ValueError, match=r"one dimension; got dimensions \[3, 4\]"):
        Chain(Standardize(3), Standardize(4))
    with pytest.raises(ValueError, match=r"one context dimension; got \[1, 2\]"):
        Chain(AffineCoupling(3, [0], context_dim=2), AffineCoupling(3, [0], context_dim=1))
    with pytest.raises(TypeError, match="turns a transform round; got Linear"):
        Inverse(torch.nn.Linear(3, 3))
    for bad in (0, -1):
        with pytest.raises(ValueError, match=f"dim of at least 1; got {bad}"):
            Standardize(bad)
    for bad in (2.0, "2", True, None):
        with pytest.raises(TypeError, match="an integer for dim; got"):
            Standardize(bad)
