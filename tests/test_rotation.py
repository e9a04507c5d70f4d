"""Rotations stay orthogonal through fits, steps, casts and reloads, and their doors check the axes."""

import copy
import pickle

import pytest
import torch

from gaussflow import HouseholderRotation, Permutation, Rotation, haar, pca

F64 = torch.float64
DIMS = [1, 2, 3, 5, 64, 100, 257]
MAKERS = [lambda d, t: Rotation(d, haar(d), dtype=t), lambda d, t: HouseholderRotation(d, 4, dtype=t)]


def error(transform, dtype=None):
    eye = torch.eye(transform.dim, dtype=dtype or next(iter(transform.state_dict().values())).dtype)
    q = transform(eye)[0].detach().double()
    return float((q @ q.T - torch.eye(transform.dim, dtype=F64)).abs().max())


def stepped(transform, steps=5, decay=0.5):
    optimiser = torch.optim.AdamW(transform.parameters(), lr=0.3, weight_decay=decay)
    dtype = next(transform.parameters()).dtype
    x, target = torch.randn(20, transform.dim, dtype=dtype), torch.randn(20, transform.dim, dtype=dtype)
    for _ in range(steps):
        optimiser.zero_grad()
        (transform(x)[0] - target).square().mean().backward()
        optimiser.step()
    return transform


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize(
    "make", [lambda d, t: Rotation(d, haar(d), dtype=t), lambda d, t: HouseholderRotation(d, 4, dtype=t)]
)
def test_steps_with_weight_decay_keep_it_orthogonal_and_invertible(make, dim, dtype):
    transform = stepped(make(dim, dtype))
    x = torch.randn(50, dim, dtype=dtype) * 5
    z = transform(x)[0].detach()
    limit = 1e-5 if dtype == torch.float32 else 1e-12
    assert error(transform) < limit
    assert float((transform.inverse(z)[0].detach() - x).abs().max() / x.abs().max()) < limit
    assert dim == 1 or float((z - x).abs().max()) > 1e-2


def test_a_fit_moves_the_base_and_sets_the_parameter_to_zero():
    x = torch.randn(500, 4) @ torch.randn(4, 4)
    rotation = stepped(Rotation(4, pca))
    assert float(rotation.A.detach().abs().max()) > 0
    rotation.fit(x)
    assert torch.equal(rotation.A, torch.zeros(4, 4))
    covariance = torch.cov(rotation(x)[0].detach().T)
    assert float((covariance - torch.diag(covariance.diagonal())).abs().max()) < 1e-4 * float(covariance.max())


@pytest.mark.parametrize("axes", [None, haar(4, torch.Generator().manual_seed(0))])
def test_a_fit_leaves_given_axes(axes):
    rotation = Rotation(4, axes)
    before = rotation.matrix().detach().clone()
    assert torch.equal(rotation.fit(torch.randn(30, 4)).matrix(), before)
    assert torch.allclose(before, torch.eye(4) if axes is None else axes, atol=1e-6)


def test_a_cast_to_float64_and_a_reload_into_it_are_orthogonal_to_float64():
    rotation = Rotation(100, haar(100))
    assert error(copy.deepcopy(rotation).double(), F64) < 1e-13
    wide = Rotation(100, dtype=F64)
    wide.load_state_dict(rotation.state_dict())
    assert error(wide) < 1e-13
    same = Rotation(100)
    same.load_state_dict(rotation.state_dict())
    assert torch.equal(same.base, rotation.base)
    assert torch.equal(copy.deepcopy(rotation).to(torch.float32).base, rotation.base)


def test_it_is_never_stale_and_pickles_with_its_axes():
    rotation = Rotation(5, pca).fit(torch.randn(50, 5))
    x = torch.randn(3, 5)
    with torch.no_grad():
        before = rotation(x)[0]
        rotation.A.add_(torch.randn(5, 5))
        assert not torch.allclose(rotation(x)[0], before)
    again = pickle.loads(pickle.dumps(rotation))
    assert torch.equal(again(x)[0], rotation(x)[0])
    assert again.axes is pca


@pytest.mark.parametrize(
    ("axes", "kind", "match"),
    [
        (torch.eye(3), ValueError, r"axes of shape \(4, 4\)"),
        (torch.ones(4, 4), ValueError, "orthogonal axes"),
        (torch.full((4, 4), torch.nan), ValueError, "orthogonal axes"),
        (torch.eye(4).long(), TypeError, "floating"),
        ("pca", TypeError, "a function of the rows"),
    ],
)
def test_the_door_for_axes(axes, kind, match):
    with pytest.raises(kind, match=match):
        Rotation(4, axes)
    if isinstance(axes, torch.Tensor):
        with pytest.raises(kind, match=match):
            Rotation(4, lambda rows: axes).fit(torch.randn(9, 4))


@pytest.mark.parametrize("k", [1, 2, 3, 8])
def test_householder_is_the_identity_where_it_can_be_and_each_vector_gets_a_gradient(k):
    rotation = HouseholderRotation(5, k, dtype=F64)
    x = torch.randn(7, 5, dtype=F64)
    z = rotation(x)[0]
    flip = torch.ones(5, dtype=F64)
    flip[-1] = (-1) ** k
    assert torch.allclose(z, x * flip, atol=1e-13)
    (z * torch.randn(7, 5)).sum().backward()
    assert (rotation.vectors.grad.abs().amax(1) > 1e-6).all()


def test_householder_survives_vectors_of_zeros():
    rotation = HouseholderRotation(4, 2)
    torch.nn.init.zeros_(rotation.vectors)
    x = torch.randn(3, 4)
    z = rotation(x)[0]
    z.sum().backward()
    assert torch.equal(z, x)
    assert torch.isfinite(rotation.vectors.grad).all()


def test_householder_with_as_many_reflections_as_coordinates_reaches_any_rotation():
    target = haar(4, torch.Generator().manual_seed(0), F64)
    target[0] *= torch.linalg.det(target)
    rotation, eye = HouseholderRotation(4, 4, dtype=F64), torch.eye(4, dtype=F64)
    optimiser = torch.optim.Adam(rotation.parameters(), lr=0.05)
    for _ in range(300):
        optimiser.zero_grad()
        loss = (rotation(eye)[0] - target).square().sum()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 1e-3


def test_permutation_permutes_and_its_door_says_what_it_wants():
    permutation = Permutation(torch.tensor([2, 0, 1]))
    x = torch.tensor([[10.0, 20.0, 30.0]], dtype=F64)
    assert permutation(x)[0].tolist() == [[30.0, 10.0, 20.0]]
    assert torch.equal(permutation.inverse(permutation(x)[0])[0], x)
    for order in ([0, 0, 1], [1, 2, 3], []):
        with pytest.raises(ValueError, match="each of 0 to D - 1 once"):
            Permutation(order)


@pytest.mark.parametrize("make", [lambda: Rotation(6, haar(6)), lambda: HouseholderRotation(6, 3)])
def test_it_compiles_whole_and_works_under_vmap_and_jacrev(make):
    transform, x = make().double(), torch.randn(5, 6, dtype=F64)
    z = transform(x)[0]
    compiled = torch.compile(transform, fullgraph=True, backend="aot_eager")
    assert torch.allclose(compiled(x)[0], z)
    assert torch.allclose(torch.func.vmap(lambda row: transform(row)[0])(x), z)
    jacobian = torch.func.jacrev(lambda row: transform(row)[0])(x[0])
    assert torch.allclose(jacobian @ jacobian.T, torch.eye(6, dtype=F64), atol=1e-12)


def test_a_fitted_rotation_is_its_base_until_a_step_moves_it():
    rotation = Rotation(5, haar(5, torch.Generator().manual_seed(0)))
    with torch.no_grad():
        assert torch.equal(rotation.matrix(), rotation.base)
        rotation.matrix().zero_()
        assert rotation.base.abs().sum() > 0
        rotation.A[0, 1] = 0.3
        moved = rotation.matrix()
    torch.testing.assert_close(moved, rotation.matrix().detach())
    assert not torch.allclose(moved, rotation.base)
