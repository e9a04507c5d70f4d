"""Round trips through stacks of eight layers, far from the data, in both precisions, untrained and trained."""

import pytest
import torch

from stacks import STACKED, Figures, figures, states

F64, F32 = torch.float64, torch.float32
WORST = {  # largest relative error allowed at a distance
    (F64, "untrained"): {1.0: 1e-11, 5.0: 1e-11, 20.0: 1e-11},
    (F64, "trained"): {1.0: 1e-11, 5.0: 1e-11, 20.0: 1e-10},
    (F32, "untrained"): {1.0: 1e-4, 5.0: 1e-4, 20.0: 1e-3},
    (F32, "trained"): {1.0: 1e-3, 5.0: 5e-3, 20.0: 5e-2},
}
MEDIAN = {(F64, "untrained"): 1e-12, (F64, "trained"): 1e-12, (F32, "untrained"): 2e-5, (F32, "trained"): 1e-5}


def check(found: Figures, worst: float, median: float) -> None:
    assert found.broken == 0
    assert found.gradients_finite
    assert found.worst <= worst
    assert found.median <= median


@pytest.mark.parametrize("name", STACKED)
@pytest.mark.parametrize("dtype", [F32, F64], ids=["float32", "float64"])
@pytest.mark.parametrize("dim", [16, *(pytest.param(dim, marks=pytest.mark.statistical) for dim in (64, 256))])
def test_stacks_come_back(name: str, dtype: torch.dtype, dim: int) -> None:
    for state in states(name, dim, dtype, steps=10 if dim == 16 else 200):
        for sigma, worst in WORST[dtype, state.name].items():
            check(figures(state, sigma, n=64), worst, MEDIAN[dtype, state.name])
