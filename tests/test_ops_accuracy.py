"""What is promised of single precision: near to double precision over all of the domain, and the way back."""

import pytest
import torch
from benchmarks.ops import checks

from gaussflow.ops.mixture import logistic_kernel, normal_kernel

CHECKS = list(checks.checks())


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_promise(check):
    assert check.error < check.allowed


@pytest.mark.parametrize("kernel", [normal_kernel, logistic_kernel])
def test_round_trip_of_the_mixture_from_the_other_side(kernel):
    """From z to x and back: in gaps between components, where x moves by much for a little of z, x itself is vague."""
    z = 20 * torch.randn(4001, checks.SPREAD, generator=torch.Generator().manual_seed(3))
    there, back = checks.mixture_back(kernel), checks.mixture_map(kernel)
    assert checks.round_trip_error(there, back, (z, *checks.mixture_tables())) < checks.ROUND_TRIP


def test_a_check_that_fails_is_seen():
    def wrong(z):
        return (z * (1 + 2e-6 * (z.dtype == torch.float32)),)

    x = torch.linspace(-30, 30, 101)
    assert checks.values_error(wrong, (x,)) > checks.VALUES
    assert checks.gradients_error(lambda z: (wrong(z)[0] * (1 + 2e-5 * (z.dtype == torch.float32)),), (x,)) > 1e-5
    assert checks.round_trip_error(wrong, lambda z: (z * (1 + 2e-5),), (x,)) > checks.ROUND_TRIP
    assert not checks.Check("not a number", float("nan"), 1.0).kept
    assert checks.values_error(lambda z: (z / (z > 0),), (x,)) == float("inf")
