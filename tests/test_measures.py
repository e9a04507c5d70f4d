"""What growing is judged by on held-out rows, against closed forms."""

import math

import pytest
import torch

from gaussflow import Standardize, TensorRows
from gaussflow.training._measures import gain_and_error, gained_and_through, normal_nats


def test_the_gain_of_a_transform_is_the_fall_in_nats() -> None:
    rows = TensorRows(5 + 3 * torch.randn(1000, 4).double())
    part = Standardize(4, dtype=torch.float64).fit(rows)
    z, ladj = part(rows.x)
    want = normal_nats(rows) - float((0.5 * z.square().sum(-1) + 2 * math.log(2 * math.pi) - ladj).detach().mean())
    assert gained_and_through(part, rows)[0] == pytest.approx(want, rel=1e-12)
    assert gain_and_error(part, rows)[0] == pytest.approx(want, rel=1e-12)
