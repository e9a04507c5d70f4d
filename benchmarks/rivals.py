"""Adapters for other packages, each measured through its public interface; one that is absent is left out aloud.

``sinflow`` (Karamanis), ``zuko`` (Rozet et al.) come from the package index. Two packages share the import name
``rbig`` and neither is on the index: that of J. E. Johnson (``AnnealedRBIG``, ``GIS``) and the older one of IPL-UV
(``rbig.rbig.RBIG``); the adapter takes whichever is importable. Budgets are CPU seconds: packages that cannot be told
a budget run to their own end or, where they keep their state between calls, until it is spent.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.methods import Fitted, Method, Task, tensor_density


def sinflow(task: Task) -> Fitted:
    """Sliced iterative normalizing flow with its defaults; it splits off its own validation rows.

    Bridged: it shuffles the array it is given in place (a copy is handed over), it takes its randomness from NumPy's
    global generator (seeded here, its ``random_state`` is ignored), and half of one column is no direction at all.
    """
    from sinflow import Flow

    np.random.seed(task.seed)
    table = task.table
    share = len(table.valid) / len(table.fitted)
    flow = Flow(validation_fraction=share, n_directions=max(1, table.dim // 2), n_transforms=20 if task.quick else 500)
    flow.fit(table.fitted.copy())
    return Fitted(flow.log_prob, {"transforms": len(flow.transforms)})


def rbig_gis(task: Task) -> Fitted:
    """Gaussianization by iterative slicing of J. E. Johnson's ``rbig``."""
    from rbig import GIS

    return _johnson(GIS(validation_fraction=_share(task), random_state=task.seed), task)


def rbig_annealed(task: Task) -> Fitted:
    """Rotation-based iterative Gaussianization of J. E. Johnson's ``rbig``, its defaults (PCA)."""
    from rbig import AnnealedRBIG

    return _johnson(AnnealedRBIG(random_state=task.seed), task)


def _share(task: Task) -> float:
    return len(task.table.valid) / len(task.table.fitted)


def _johnson(model: Any, task: Task) -> Fitted:
    model.fit(task.table.fitted)
    return Fitted(model.score_samples, {"layers": len(model.layers_)})


def rbig_ipl(task: Task) -> Fitted:
    """The older ``rbig`` of IPL-UV with PCA; the density is read off its Jacobian.

    Bridged: its ``predict_proba`` evaluates at shifted rows and multiplies D densities into a number that underflows;
    the log-determinant of its own ``jacobian`` and its own latent rows are put together here instead.
    """
    from rbig.rbig import RBIG

    model = RBIG(n_layers=20 if task.quick else 100, rotation_type="PCA", random_state=task.seed)
    model.fit(task.table.fitted.copy())

    def log_prob(x: Any) -> Any:
        parts = []
        for chunk in np.array_split(x, max(1, len(x) // 500)):
            jacobian, z = model.jacobian(chunk.copy(), return_X_transform=True)
            parts.append(np.linalg.slogdet(jacobian)[1] - 0.5 * (z**2 + math.log(2 * math.pi)).sum(1))
        return np.concatenate(parts)

    return Fitted(log_prob, {"layers": len(model.gauss_params)})


def zuko_gf(task: Task) -> Fitted:
    """Gaussianization flow of zuko, end to end: six mixture layers of eight components, rotations between."""
    from zuko.flows import GF

    return _trained(lambda: GF(task.table.dim, transforms=6, components=8), task, rate=1e-2)


def zuko_nsf(task: Task) -> Fitted:
    """Autoregressive neural spline flow of zuko: five transforms, two hidden layers of 128."""
    from zuko.flows import NSF

    return _trained(lambda: NSF(task.table.dim, transforms=5, hidden_features=(128, 128)), task, rate=1e-3)


def zuko_nsf_coupling(task: Task) -> Fitted:
    """The same with couplings: each transform moves half of the columns, given the other half."""
    from zuko.flows import NSF

    return _trained(lambda: NSF(task.table.dim, transforms=5, hidden_features=(128, 128), passes=2), task, rate=1e-3)


def _trained(build: Callable[[], torch.nn.Module], task: Task, rate: float) -> Fitted:
    """Maximum likelihood by Adam, the rate halved on plateaus, the best epoch on validation rows kept.

    Columns are standardised first, as zuko's documentation asks: its splines are the identity beyond 5.
    """
    torch.manual_seed(task.seed)
    flow: Any = build()
    mean, scale = task.table.train.mean(0), task.table.train.std(0)
    train, valid = (
        torch.as_tensor((x - mean) / scale, dtype=torch.float32) for x in (task.table.train, task.table.valid)
    )
    adam = torch.optim.Adam(flow.parameters(), rate)
    halve = torch.optim.lr_scheduler.ReduceLROnPlateau(adam, factor=0.5, patience=5)
    best, state, epochs, since = math.inf, copy.deepcopy(flow.state_dict()), 0, 0
    end = time.process_time() + (2.0 if task.quick else task.budget)
    while time.process_time() < end and since < 30:
        for batch in torch.randperm(len(train)).split(256):
            loss = -flow().log_prob(train[batch]).mean()
            adam.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(flow.parameters(), 5.0)
            adam.step()
            if time.process_time() > end:
                break
        with torch.no_grad():
            score = float(torch.cat([-flow().log_prob(chunk) for chunk in valid.split(4096)]).mean())
        halve.step(score)
        epochs, since = epochs + 1, since + 1
        if score < best:
            best, state, since = score, copy.deepcopy(flow.state_dict()), 0
    flow.load_state_dict(state)
    density, shift = tensor_density(lambda x: flow().log_prob(x), torch.float32), np.log(scale).sum()
    return Fitted(lambda x: density((x - mean) / scale) - shift, {"epochs": epochs, "valid": best + shift})


RIVALS: dict[str, Method] = {
    "sinflow": sinflow,
    "rbig_gis": rbig_gis,
    "rbig_annealed": rbig_annealed,
    "rbig_ipl": rbig_ipl,
    "zuko_gf": zuko_gf,
    "zuko_nsf": zuko_nsf,
    "zuko_nsf_coupling": zuko_nsf_coupling,
}
PACKAGES = {
    "sinflow": "sinflow",
    "rbig_gis": "rbig",
    "rbig_annealed": "rbig",
    "rbig_ipl": "rbig.rbig",
    "zuko_gf": "zuko",
    "zuko_nsf": "zuko",
    "zuko_nsf_coupling": "zuko",
}
