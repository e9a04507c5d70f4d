"""What holds for every coupling: the formula, the index set, the conditioner, the doors, torch's own tools."""

import copy
import pickle
import re
from functools import partial

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, jacrev, vmap

from gaussflow import MLP, AffineCoupling, Chain, SplineCoupling
from gaussflow.transforms.coupling import log_scale

KINDS = [AffineCoupling, SplineCoupling]
SETS = [[0], [3], [0, 2, 4], [4, 1], range(3), [True, False, False, True, False], torch.tensor([2, 3, 4])]


def moved(kind, dim=5, mask=(0, 2, 4), seed=0, **kwargs):
    """A coupling in float64 whose conditioner has random weights everywhere: no identity."""
    torch.manual_seed(seed)
    kwargs.setdefault("conditioner", partial(MLP, hidden=(16,)))
    return kind(dim, mask, dtype=torch.float64, **kwargs).double()


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def kind(request):
    return request.param


def test_formula_of_the_affine_coupling():
    coupling = moved(AffineCoupling, mask=[1, 4])
    x = torch.randn(9, 5, dtype=torch.float64) * 3
    z, ladj = coupling(x)
    kept, others = [1, 4], [0, 2, 3]
    u, t = coupling.conditioner(x[:, kept] / (1 + x[:, kept].abs() / 6)).chunk(2, -1)
    s = 2 * torch.tanh(u / 2)
    assert torch.equal(z[:, kept], x[:, kept])
    torch.testing.assert_close(z[:, others], s.exp() * x[:, others] + t, rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(ladj, s.sum(-1), rtol=1e-14, atol=1e-14)
    assert s.abs().max() < 2
    assert ladj.std() > 0.01


@pytest.mark.parametrize("mask", SETS, ids=str)
def test_log_determinant_is_that_of_autograd_for_any_index_set(kind, mask):
    coupling = moved(kind, mask=mask)
    x = torch.randn(6, 5, dtype=torch.float64) * 3
    z, ladj = coupling(x)
    jacobian = vmap(jacrev(lambda row: coupling(row)[0]))(x)
    torch.testing.assert_close(ladj, jacobian.slogdet()[1], rtol=0, atol=1e-12)
    assert (jacobian.diagonal(dim1=-2, dim2=-1) > 0).all()
    back, minus = coupling.inverse(z)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-11)
    torch.testing.assert_close(minus, -ladj, rtol=0, atol=1e-11)


def test_the_set_may_be_a_mask_or_indices_in_any_order(kind):
    couplings = [moved(kind, mask=mask) for mask in ([4, 0, 2], [True, False] * 2 + [True], torch.tensor([0, 2, 4]))]
    x = torch.randn(4, 5, dtype=torch.float64)
    values = [coupling(x)[0] for coupling in couplings]
    assert all(torch.equal(values[0], other) for other in values[1:])
    assert all(coupling.mask == (0, 2, 4) for coupling in couplings)


def test_any_set_is_the_first_coordinates_after_a_permutation(kind):
    order = [4, 1, 3, 0, 2]  # the kept coordinates 1 and 4 in rising order, the moved ones after them
    order = [1, 4, 0, 2, 3]
    scattered, first = moved(kind, mask=[1, 4]), moved(kind, mask=[0, 1])
    x = torch.randn(8, 5, dtype=torch.float64)
    z, ladj = scattered(x)
    z_first, ladj_first = first(x[:, order])
    assert torch.equal(z[:, order], z_first)
    assert torch.equal(ladj, ladj_first)


def test_without_gradients_it_goes_there_and_back_as_with_them(kind):
    coupling, x = moved(kind), torch.randn(9, 5, dtype=torch.float64)
    z, ladj = coupling(x)
    with torch.no_grad():
        quiet, quiet_ladj = coupling(x)
        back, back_ladj = coupling.inverse(quiet)
    torch.testing.assert_close((quiet, quiet_ladj), (z, ladj), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close((back, back_ladj), (x, -ladj), rtol=1e-9, atol=1e-9)


def test_born_as_the_identity(kind):
    for dtype in (torch.float32, torch.float64):
        coupling = kind(6, [0, 5], context_dim=2, dtype=dtype)
        x, context = torch.randn(50, 6, dtype=dtype) * 10, torch.randn(50, 2, dtype=dtype)
        for value, ladj in (coupling(x, context), coupling.inverse(x, context)):
            torch.testing.assert_close(value, x, rtol=1e-6 if dtype == torch.float32 else 1e-14, atol=1e-6)
            assert ladj.abs().max() < (1e-5 if dtype == torch.float32 else 1e-13)
            assert ladj.dtype == dtype


def test_context_changes_the_map_and_round_trips(kind):
    coupling = moved(kind, context_dim=3)
    x, a, b = (torch.randn(7, size, dtype=torch.float64) for size in (5, 3, 3))
    (z, ladj), (z_other, ladj_other) = coupling(x, a), coupling(x, b)
    assert ((z - z_other)[:, [1, 3]].abs() > 1e-4).all()
    assert ((ladj - ladj_other).abs() > 1e-5).all()
    assert torch.equal(z[:, [0, 2, 4]], x[:, [0, 2, 4]])
    torch.testing.assert_close(coupling.inverse(z, a)[0], x, rtol=0, atol=1e-11)
    torch.testing.assert_close(coupling(x, a[0])[0][0], z[0])
    assert coupling(x, a.float())[0].dtype == torch.float64


def test_context_is_ignored_where_the_coupling_has_none(kind):
    coupling = moved(kind)
    x = torch.randn(7, 5, dtype=torch.float64)
    assert torch.equal(coupling(x)[0], coupling(x, torch.randn(7, 9))[0])


def test_conditioner_sees_the_squashed_kept_coordinates_then_the_context(kind):
    class Spy(nn.Module):
        def forward(self, x):
            self.seen = x
            return x.new_zeros(*x.shape[:-1], size)

    size = 2 * (2 if kind is AffineCoupling else 23)
    coupling = kind(4, [3, 1], Spy(), context_dim=1)
    coupling(torch.tensor([[9.0, 6.0, 9.0, -1e38]]), torch.tensor([[100.0]]))
    torch.testing.assert_close(coupling.conditioner.seen, torch.tensor([[3.0, -6.0, 100.0]]))


def test_conditioner_may_be_a_module_a_class_or_a_factory(kind):
    sizes = []

    def factory(n, m):
        sizes.append((n, m))
        return nn.Linear(n, m)

    each = 2 if kind is AffineCoupling else 14
    extra = {} if kind is AffineCoupling else {"knots": 5}
    for conditioner in (factory, MLP, nn.Linear(4, 3 * each)):
        coupling = kind(5, [0, 1], conditioner, 2, **extra)
        assert coupling(torch.randn(3, 5), torch.randn(3, 2))[0].shape == (3, 5)
    assert sizes == [(4, 3 * each)]
    assert (
        kind(5, [0, 1], nn.Linear(2, 3 * each), dtype=torch.float64, **extra).conditioner.weight.dtype == torch.float64
    )


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((1, [0]), ValueError, "at least 2; got 1"),
        ((4, []), ValueError, "0 < |Ω| < 4; got |Ω| = 0"),
        ((4, [False] * 4), ValueError, "0 < |Ω| < 4; got |Ω| = 0"),
        ((4, [True] * 4), ValueError, "0 < |Ω| < 4; got |Ω| = 4"),
        ((4, range(4)), ValueError, "0 < |Ω| < 4; got |Ω| = 4"),
        ((4, [0, 4]), ValueError, "different indices from 0 to 3; got [0, 4]"),
        ((4, [-1]), ValueError, "different indices from 0 to 3; got [-1]"),
        ((4, [1, 1]), ValueError, "different indices from 0 to 3; got [1, 1]"),
        ((4, [True, False]), ValueError, "bool mask (4,)"),
        ((4, [0.0, 1.0]), ValueError, "integer indices"),
        ((4, [[0, 1]]), ValueError, "integer indices"),
        ((4, ["a"]), TypeError, "bool mask (4,)"),
        ((4, 2), TypeError, "bool mask (4,)"),
        ((4.0, [1]), TypeError, "integer for dim"),
        ((4, [1], 3), TypeError, "as conditioner; got int"),
        ((4, [1], lambda n, m: "net"), TypeError, "makes a torch.nn.Module; got str"),
    ],
)
def test_doors_of_the_constructor(kind, arguments, error, words):
    with pytest.raises(error, match=re.escape(words)) as caught:
        kind(*arguments)
    assert kind.__name__ in str(caught.value)


def test_doors_of_the_call(kind):
    coupling = kind(4, [0, 1], context_dim=2)
    with pytest.raises(ValueError, match=re.escape("works on (..., 4); got x of shape (3, 5)")):
        coupling(torch.randn(3, 5))
    with pytest.raises(ValueError, match="needs context"):
        coupling(torch.randn(3, 4))
    with pytest.raises(ValueError, match=re.escape("context of shape (3, 2), one for each row of data; got (5, 2)")):
        coupling(torch.randn(3, 4), torch.randn(5, 2))
    with pytest.raises(TypeError, match=r"torch.float32 numbers; got z of torch.float64"):
        coupling.inverse(torch.randn(3, 4).double(), torch.randn(3, 2))
    with pytest.raises(ValueError, match=re.escape("a conditioner that maps (3, 2) to (3, ")):
        kind(4, [0, 1], nn.Linear(2, 7))(torch.randn(3, 4))
    with pytest.raises(ValueError, match="got tuple"):
        kind(4, [0, 1], nn.LSTM(2, 4))(torch.randn(3, 4))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(5,), (7, 5), (2, 3, 5), (0, 5), (2, 0, 5)])
def test_shapes_and_dtypes(kind, shape, dtype):
    coupling = moved(kind, context_dim=2).to(dtype)
    x, context = torch.randn(shape, dtype=dtype), torch.randn(*shape[:-1], 2, dtype=dtype)
    for call in (coupling, coupling.inverse):
        value, ladj = call(x, context)
        assert (value.shape, ladj.shape) == (shape, shape[:-1])
        assert value.dtype == ladj.dtype == dtype


def test_rows_do_not_see_each_other_and_a_nan_stays_in_its_row(kind):
    coupling = moved(kind)
    x = torch.randn(5, 5, dtype=torch.float64)
    spoilt = x.clone()
    spoilt[1, 0], spoilt[3, 1] = torch.nan, torch.nan  # a kept and a moved coordinate
    for call in (coupling, coupling.inverse):
        (z, ladj), (z_spoilt, ladj_spoilt) = call(x), call(spoilt)
        assert z_spoilt[[1, 3]].isnan().any(-1).all()
        assert ladj_spoilt[1].isnan()
        assert torch.equal(z[[0, 2, 4]], z_spoilt[[0, 2, 4]])
        assert torch.equal(ladj[[0, 2, 4]], ladj_spoilt[[0, 2, 4]])


@pytest.mark.parametrize("far", [1e2, 1e6, 1e30])
def test_far_out_it_is_finite_with_finite_gradients(kind, far):
    coupling = moved(kind).float()
    x = (torch.randn(20, 5) * far).requires_grad_()
    for call in (coupling, coupling.inverse):
        value, ladj = call(x)
        gradients = torch.autograd.grad(ladj.sum() + (value / far).sum(), [x, *coupling.parameters()])
        assert all(g.isfinite().all() for g in (value, ladj, *gradients))
    back = coupling.inverse(coupling(x)[0])[0]
    assert ((back - x).abs() / x.abs().clamp_min(1)).max() < 1e-5


def test_every_parameter_gets_a_gradient(kind):
    coupling = moved(kind, context_dim=2)
    z, ladj = coupling(torch.randn(64, 5, dtype=torch.float64) * 2, torch.randn(64, 2, dtype=torch.float64))
    (z.square().sum() / 2 - ladj.sum()).backward()
    assert all(p.grad.abs().max() > 0 for p in coupling.parameters())


def test_gradients_are_those_of_finite_differences(kind):
    coupling = moved(kind, mask=[0, 3], context_dim=1)
    x = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    context = torch.randn(3, 1, dtype=torch.float64, requires_grad=True)
    for call in (coupling, coupling.inverse):
        assert torch.autograd.gradcheck(call, (x, context))


def test_autocast_leaves_the_map_in_the_precision_of_the_data(kind):
    coupling = moved(kind).float()
    x = torch.randn(64, 5) * 5
    with torch.autocast("cpu", torch.bfloat16):
        z, ladj = coupling(x)
        assert coupling.conditioner(torch.randn(2, 3)).dtype == torch.bfloat16
        back, minus = coupling.inverse(z)
    assert z.dtype == ladj.dtype == back.dtype == torch.float32
    torch.testing.assert_close(back, x, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(minus, -ladj, rtol=1e-5, atol=1e-5)


def test_compiles_whole(kind):
    coupling = moved(kind, context_dim=2)
    x, context = torch.randn(6, 5, dtype=torch.float64), torch.randn(6, 2, dtype=torch.float64)
    for call in (coupling, coupling.inverse):
        compiled = torch.compile(call, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(x, context), call(x, context))


def test_exports_with_a_free_number_of_rows(kind):
    coupling = moved(kind)
    rows = torch.export.Dim("rows", min=2)
    program = torch.export.export(coupling, (torch.randn(6, 5, dtype=torch.float64),), dynamic_shapes={"x": {0: rows}})
    x = torch.randn(11, 5, dtype=torch.float64)
    torch.testing.assert_close(program.module()(x), coupling(x))


def test_vmap_and_gradients_of_single_rows(kind):
    coupling = moved(kind, context_dim=2)
    x, context = torch.randn(6, 5, dtype=torch.float64), torch.randn(6, 2, dtype=torch.float64)
    for call in (coupling, coupling.inverse):
        torch.testing.assert_close(vmap(call)(x, context), call(x, context))

    def loss(parameters, row, c):
        z, ladj = functional_call(coupling, parameters, (row, c))
        return z.square().sum() / 2 - ladj

    parameters = dict(coupling.named_parameters())
    single = vmap(grad(loss), (None, 0, 0))(parameters, x, context)
    whole = grad(lambda p: sum(loss(p, *pair) for pair in zip(x, context, strict=True)))(parameters)
    for name, gradient in whole.items():
        assert single[name].shape == (6, *gradient.shape)
        torch.testing.assert_close(single[name].sum(0), gradient)


def test_copies_pickle_and_strict_reload(kind):
    coupling = moved(kind, context_dim=2)
    x, context = torch.randn(4, 5, dtype=torch.float64), torch.randn(4, 2, dtype=torch.float64)
    fresh = moved(kind, context_dim=2, seed=1)
    assert not torch.equal(fresh(x, context)[0], coupling(x, context)[0])
    fresh.load_state_dict(coupling.state_dict(), strict=True)
    rebuilt = type(coupling)(**copy.deepcopy(coupling.config()))
    for other in (fresh, rebuilt, copy.deepcopy(coupling), pickle.loads(pickle.dumps(coupling))):
        assert torch.equal(other(x, context)[0], coupling(x, context)[0])
    assert set(coupling.state_dict()) == {f"conditioner.{name}" for name in coupling.conditioner.state_dict()}


def test_fit_changes_nothing_and_a_chain_fits_around_it(kind):
    chain = Chain(moved(kind), moved(kind, mask=[1, 3], seed=1))
    before = copy.deepcopy(chain.state_dict())
    assert chain.fit(torch.randn(30, 5, dtype=torch.float64)) is chain
    assert all(torch.equal(before[name], value) for name, value in chain.state_dict().items())


@pytest.mark.parametrize("mask", [[0, 2, 4], [1, 3, 5], [0, 1], [2, 3, 4, 5], [0, 5], [1, 2, 4], [3]])
def test_regular_index_sets_are_cut_and_joined_as_any_other(mask):
    """Blocks and every second coordinate are views; what comes of them is that of single columns."""
    coupling = AffineCoupling(6, mask, MLP)
    x = torch.randn(7, 6)
    z, ladj = coupling(x)
    regular = mask not in ([0, 5], [1, 2, 4], [3])
    assert (coupling._slices is not None) == regular
    coupling._slices = None
    assert torch.equal(coupling(x)[0], z)
    assert torch.equal(coupling(x)[1], ladj)
    assert torch.equal(z[:, mask], x[:, mask])


def test_the_log_scale_is_that_of_the_hyperbolic_tangent():
    u = torch.tensor([-torch.inf, -1e30, -50.0, -3.0, -1e-3, 0.0, 1e-6, 0.5, 2.0, 1e4, torch.inf])
    expected = 2 * (u.double() / 2).tanh()
    kept = u.clone()
    with torch.no_grad():
        torch.testing.assert_close(log_scale(u).double(), expected, rtol=0, atol=3e-7)
    assert torch.equal(u, kept)
    assert float(log_scale(torch.zeros(()))) == 0
    leaf = u[1:-1].double().requires_grad_()
    (slope,) = torch.autograd.grad(log_scale(leaf).sum(), leaf)
    torch.testing.assert_close(slope, 1 - (u[1:-1].double() / 2).tanh().square(), rtol=1e-9, atol=1e-12)
