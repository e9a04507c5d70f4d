"""The multilayer perceptron: formula, rebuilding, doors."""

import json
import re

import pytest
import torch
from torch import nn

from gaussflow import MLP


def test_formula():
    net = MLP(3, 2, hidden=(5, 4), activation=nn.Tanh, dtype=torch.float64)
    x = torch.randn(7, 3, dtype=torch.float64)
    (w1, b1), (w2, b2), (w3, b3) = ((layer.weight, layer.bias) for layer in net.linear)
    expected = torch.tanh(torch.tanh(x @ w1.T + b1) @ w2.T + b2) @ w3.T + b3
    torch.testing.assert_close(net(x), expected)


@pytest.mark.parametrize("shape", [(3,), (0, 3), (2, 5, 3)])
def test_shapes(shape):
    assert MLP(3, 2)(torch.randn(shape)).shape == (*shape[:-1], 2)


def test_no_hidden_layer_is_a_linear_map_and_zero_last_is_zero():
    assert len(MLP(3, 2, hidden=()).linear) == 1
    assert MLP(3, 2, zero_last=True)(torch.randn(4, 3)).abs().max() == 0
    assert MLP(3, 2)(torch.randn(4, 3)).abs().min() > 0


@pytest.mark.parametrize("activation", [nn.ReLU, "GELU", nn.Softplus])
def test_config_rebuilds_through_json(activation):
    net = MLP(3, 2, (8,), activation, zero_last=True)
    rebuilt = MLP(**json.loads(json.dumps(net.config())))
    assert rebuilt.config() == net.config()
    assert type(rebuilt.act) is type(net.act)
    rebuilt.load_state_dict(net.state_dict(), strict=True)


def test_doors():
    for bad in ("Softmax", "os.system", nn.Softmax, nn.Linear, torch.tanh, "Module"):
        with pytest.raises(ValueError, match=r"element-wise activation class of torch\.nn"):
            MLP(3, 2, activation=bad)
    with pytest.raises(ValueError, match="in_dim of at least 1; got 0"):
        MLP(0, 2)
    with pytest.raises(TypeError, match="hidden width"):
        MLP(3, 2, hidden=(2.5,))
    with pytest.raises(ValueError, match=re.escape("MLP works on (..., 3); got x of shape (4, 2)")):
        MLP(3, 2)(torch.randn(4, 2))
