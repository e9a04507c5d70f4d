"""The contract inside torch's own tools: compile, export, vmap, jacobians, gradients per sample."""

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from states import close, every_case, in_state, points, unlike_loss


@every_case
@pytest.mark.filterwarnings("ignore")
def test_compiles_whole(name: str) -> None:
    torch._dynamo.reset()
    f, (x, context) = in_state(name, "moved"), points()
    for g in (f.forward, f.inverse):
        compiled = torch.compile(g, fullgraph=True, backend="eager")
        for a, b in zip(compiled(x, context), g(x, context), strict=True):
            torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-12)


@every_case
@pytest.mark.statistical
@pytest.mark.filterwarnings("ignore")
def test_compiles_to_kernels(name: str) -> None:
    torch._dynamo.reset()
    f, (x, context) = in_state(name, "moved"), points()
    for g in (f.forward, f.inverse):
        compiled = torch.compile(g, fullgraph=True)
        for a, b in zip(compiled(x, context), g(x, context), strict=True):
            torch.testing.assert_close(a, b, atol=1e-10, rtol=1e-10)


@every_case
@pytest.mark.filterwarnings("ignore")
def test_exports(name: str) -> None:
    f, (x, context) = in_state(name, "moved"), points()
    batch = torch.export.Dim("batch", min=2)
    program = torch.export.export(f, (x, context), dynamic_shapes=({0: batch}, {0: batch}), strict=False)
    other, other_context = points(n=12)
    for a, b in zip(program.module()(other, other_context), f(other, other_context), strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-12)


@every_case
def test_vmap(name: str) -> None:
    f, (x, context) = in_state(name, "moved"), points()
    for g in (f.forward, f.inverse):
        for a, b in zip(torch.vmap(g)(x, context), g(x, context), strict=True):
            torch.testing.assert_close(a, b, atol=1e-11, rtol=1e-11)


@every_case
@pytest.mark.filterwarnings("ignore")
def test_jacobians_of_torch_func(name: str) -> None:
    f, (x, context) = in_state(name, "moved"), points()
    one = lambda x, c: f(x, c)[0]  # noqa: E731
    reverse = torch.vmap(torch.func.jacrev(one))(x, context)
    forward = torch.vmap(torch.func.jacfwd(one))(x, context)
    torch.testing.assert_close(reverse, forward, atol=1e-10, rtol=1e-10)
    close(torch.linalg.slogdet(reverse).logabsdet[:, None], f(x, context)[1][:, None], 1e-11)


@every_case
def test_gradients_per_sample(name: str) -> None:
    f, (x, context) = in_state(name, "moved"), points()
    parameters = dict(f.named_parameters())

    def loss(parameters: dict[str, Tensor], x: Tensor, c: Tensor) -> Tensor:
        return unlike_loss(lambda x, c: functional_call(f, parameters, (x, c)), x, c)

    each = torch.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(parameters, x, context)
    if parameters:
        unlike_loss(f, x, context).sum().backward()
    for key, p in f.named_parameters():
        torch.testing.assert_close(each[key].sum(0), p.grad, atol=1e-9, rtol=1e-9)
