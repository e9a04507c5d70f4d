"""One thread, one seed, and the long statistical checks only when asked for: ``pytest -m statistical``."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch

collect_ignore_glob = [] if find_spec("triton") else ["src/gaussflow/ops/_triton/*"]  # its modules import it

torch.set_num_threads(1)  # more threads than that fight for the cores: measured, five times slower


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)
    np.random.seed(0)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.option.markexpr:
        return
    long = [item for item in items if item.get_closest_marker("statistical")]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if item not in long]
