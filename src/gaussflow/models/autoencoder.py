"""The plain autoencoder: what goes through a bottleneck and comes back, judged by the squared error."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from typing_extensions import override

from gaussflow._check import check_tensor


class Autoencoder(nn.Module):
    r"""An encoder E to a few numbers and a decoder D back; it has no density.

    .. math:: \text{forward}(x) = -\| x - D(E(x)) \|^2

    Calling the model gives minus the squared error, so that `train` minimises it.

    Parameters
    ----------
    encoder
        Takes x (..., D), gives codes (..., L): `MLP`, `ConvEncoder` or your own.
    decoder
        Takes codes (..., L), gives (..., D): `MLP`, `ConvDecoder` or your own.

    Raises
    ------
    TypeError, ValueError
        For parts that are no modules, and in a call for parts whose shapes do not fit together.

    Notes
    -----
    Source: Hinton & Salakhutdinov (2006).

    Examples
    --------
    >>> import torch
    >>> from gaussflow import MLP, Autoencoder, train
    >>> model, x = Autoencoder(MLP(5, 2), MLP(2, 5)), torch.randn(200, 5)
    >>> history = train(model, x, epochs=2, progress=False)
    >>> model(x).shape, model.encode(x).shape, model.reconstruct(x).shape
    (torch.Size([200]), torch.Size([200, 2]), torch.Size([200, 5]))
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        for name, part in (("encoder", encoder), ("decoder", decoder)):
            if not isinstance(part, nn.Module):
                raise TypeError(f"Autoencoder wants a module for {name}; got {type(part).__name__}.")
        self.encoder, self.decoder = encoder, decoder

    @override
    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Minus the squared error (...) of x (..., D), summed over the D coordinates; context is not used."""
        return -(check_tensor("Autoencoder", x) - self.reconstruct(x)).square().sum(-1)

    def encode(self, x: Tensor) -> Tensor:
        """Codes (..., L) of x (..., D)."""
        z: Tensor = self.encoder(x)
        return z

    def decode(self, z: Tensor) -> Tensor:
        """What codes (..., L) stand for (..., D)."""
        x: Tensor = self.decoder(z)
        return x

    def reconstruct(self, x: Tensor) -> Tensor:
        """What comes back of x (..., D), of the same shape."""
        back = self.decode(self.encode(x))
        if back.shape != x.shape:
            raise ValueError(
                f"Autoencoder wants a decoder that gives x of shape {tuple(x.shape)} back; got {tuple(back.shape)}."
            )
        return back

    def config(self) -> dict[str, Any]:
        """The keyword arguments that build this object anew."""
        return {"encoder": self.encoder, "decoder": self.decoder}
