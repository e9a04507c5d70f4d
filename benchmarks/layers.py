"""One-sided coupling layers of this package and of others behind one interface, and the stacks made of them.

Every layer is a module with ``forward(x) -> (z, ladj)`` and ``inverse(z) -> (x, ladj)``, x (..., D), built with the
package's own defaults: two hidden layers of 64, eight bins or knots, and the package's own last layer. What a package
does not offer is absent from `LAYERS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

Pair = tuple[Tensor, Tensor]


class Adapter(nn.Module):
    """A layer of another package, seen from the data side."""

    def __init__(self, layer: nn.Module, flip: bool = False) -> None:
        super().__init__()
        self.layer, self.flip = layer, flip

    def forward(self, x: Tensor) -> Pair:
        z, ladj = self.call(x.flip(-1) if self.flip else x)
        return (z.flip(-1) if self.flip else z), ladj

    def inverse(self, z: Tensor) -> Pair:
        x, ladj = self.call_back(z.flip(-1) if self.flip else z)
        return (x.flip(-1) if self.flip else x), ladj

    def call(self, x: Tensor) -> Pair:
        raise TypeError(f"{type(self).__name__} is abstract")

    call_back = call


class Zuko(Adapter):
    def call(self, x: Tensor) -> Pair:
        return self.layer().call_and_ladj(x)

    def call_back(self, z: Tensor) -> Pair:
        return self.layer().inv.call_and_ladj(z)


class Nflows(Adapter):
    def call(self, x: Tensor) -> Pair:
        return self.layer(x)

    def call_back(self, z: Tensor) -> Pair:
        return self.layer.inverse(z)


class Normflows(Adapter):
    """Its forward goes from latent to data."""

    def call(self, x: Tensor) -> Pair:
        return self.layer.inverse(x)

    def call_back(self, z: Tensor) -> Pair:
        return self.layer(z)


class Freia(Adapter):
    def call(self, x: Tensor) -> Pair:
        (z,), ladj = self.layer([x])
        return z, ladj

    def call_back(self, z: Tensor) -> Pair:
        (x,), ladj = self.layer([z], rev=True)
        return x, ladj


class Pyro(Adapter):
    """Its transforms remember the last pair; the copies make them compute."""

    def call(self, x: Tensor) -> Pair:
        x = x.clone()
        z = self.layer(x)
        return z, self.layer.log_abs_det_jacobian(x, z)

    def call_back(self, z: Tensor) -> Pair:
        x = self.layer.inv(z.clone())
        return x, -self.layer.log_abs_det_jacobian(x, z)


def _net(n: int, m: int) -> nn.Module:
    return nn.Sequential(nn.Linear(n, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, m))


def _ours(kind: str) -> Callable[[int, int], nn.Module]:
    """Conditioners with a random last layer: an identity stack would prove nothing."""

    def build(dim: int, i: int) -> nn.Module:
        import gaussflow

        coupling = {"affine": gaussflow.AffineCoupling, "spline": gaussflow.SplineCoupling}[kind]
        return coupling(dim, range(i % 2, dim, 2), gaussflow.MLP)

    return build


def _zuko(kind: str) -> Callable[[int, int], nn.Module]:
    def build(dim: int, i: int) -> nn.Module:
        from zuko.flows.coupling import GeneralCouplingTransform
        from zuko.transforms import MonotonicRQSTransform

        spline: dict[str, Any] = {"univariate": MonotonicRQSTransform, "shapes": [(8,), (8,), (7,)]}
        extra = spline if kind == "spline" else {}
        return Zuko(GeneralCouplingTransform(dim, mask=torch.arange(dim) % 2 == i % 2, **extra))

    return build


def _nflows(kind: str) -> Callable[[int, int], nn.Module]:
    def build(dim: int, i: int) -> nn.Module:
        from nflows import transforms
        from nflows.nn.nets import ResidualNet

        mask = (torch.arange(dim) + i) % 2
        if kind == "affine":
            return Nflows(transforms.AffineCouplingTransform(mask, lambda n, m: ResidualNet(n, m, 64)))
        return Nflows(
            transforms.PiecewiseRationalQuadraticCouplingTransform(
                mask, lambda n, m: ResidualNet(n, m, 64), num_bins=8, tails="linear", tail_bound=3.0
            )
        )

    return build


def _normflows(kind: str) -> Callable[[int, int], nn.Module]:
    def build(dim: int, i: int) -> nn.Module:
        import normflows as nf

        if kind == "spline":
            return Normflows(nf.flows.CoupledRationalQuadraticSpline(dim, 2, 64, reverse_mask=bool(i % 2)))
        net = nf.nets.MLP([dim // 2, 64, 64, dim])
        return Normflows(nf.flows.AffineCouplingBlock(net), flip=bool(i % 2))

    return build


def _freia(dim: int, i: int) -> nn.Module:
    from FrEIA.modules import AffineCouplingOneSided

    return Freia(AffineCouplingOneSided([(dim,)], subnet_constructor=_net), flip=bool(i % 2))


def _pyro(kind: str) -> Callable[[int, int], nn.Module]:
    def build(dim: int, i: int) -> nn.Module:
        from pyro.distributions import transforms

        if kind == "affine":
            return Pyro(transforms.affine_coupling(dim, [64, 64]), flip=bool(i % 2))
        return Pyro(transforms.spline_coupling(dim, hidden_dims=[64, 64], bound=3.0), flip=bool(i % 2))

    return build


LAYERS: dict[tuple[str, str], Callable[[int, int], nn.Module]] = {
    **{(kind, "ours"): _ours(kind) for kind in ("affine", "spline")},
    **{(kind, "zuko"): _zuko(kind) for kind in ("affine", "spline")},
    **{(kind, "nflows"): _nflows(kind) for kind in ("affine", "spline")},
    **{(kind, "normflows"): _normflows(kind) for kind in ("affine", "spline")},
    ("affine", "FrEIA"): _freia,
    **{(kind, "pyro"): _pyro(kind) for kind in ("affine", "spline")},
}
"""Kind and package to a function (dim, place in the stack) -> layer; odd places move the other half."""

MODULES = {"ours": "gaussflow"}
"""The module to look for where it is not named like the package."""


class Stack(nn.Module):
    """Layers one after the other, log-determinants added."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Pair:
        total = torch.zeros((), dtype=x.dtype)
        for layer in self.layers:
            x, ladj = layer(x)
            total = total + ladj
        return x, total

    def inverse(self, z: Tensor) -> Pair:
        total = torch.zeros((), dtype=z.dtype)
        for layer in reversed(self.layers):
            z, ladj = layer.inverse(z)
            total = total + ladj
        return z, total


def _rotation(dim: int, i: int) -> nn.Module:
    from gaussflow import Rotation

    q, r = torch.linalg.qr(torch.randn(dim, dim))
    return Rotation(dim, q * r.diagonal().sign())


def _turned(marginal: Callable[[int], nn.Module]) -> Callable[[int, int], nn.Module]:
    """A marginal transform after a random rotation: a stack of marginals alone would be one marginal."""

    def build(dim: int, i: int) -> nn.Module:
        from gaussflow import Chain

        return Chain(_rotation(dim, i), marginal(dim))

    return build


def ours() -> dict[str, Callable[[int, int], nn.Module]]:
    """Every transform of this package as a layer (dim, place) of a stack; marginals come after a random rotation."""
    import gaussflow as g

    return {
        "AffineCoupling": lambda dim, i: g.AffineCoupling(dim, range(i % 2, dim, 2), g.MLP),
        "SplineCoupling": lambda dim, i: g.SplineCoupling(dim, range(i % 2, dim, 2), g.MLP),
        "MarginalSpline": _turned(lambda dim: g.MarginalSpline(dim)),
        "MarginalTable": _turned(lambda dim: g.MarginalTable(dim)),
        "MixtureCDF": _turned(lambda dim: g.MixtureCDF(dim)),
        "MixtureFlow": _turned(lambda dim: g.MixtureFlow(dim)),
        "Rotation": _rotation,
        "HouseholderRotation": lambda dim, i: g.HouseholderRotation(dim, 8),
        "HadamardRotation": lambda dim, i: g.HadamardRotation(dim),
        "Permutation": lambda dim, i: g.Permutation(torch.randperm(dim).tolist()),
        "Standardize": lambda dim, i: g.Standardize(dim),
        "Whiten": lambda dim, i: g.Whiten(dim),
    }
