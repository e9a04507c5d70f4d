"""Ordinary networks: conditioners, encoders and decoders."""

from gaussflow.nets.conv import ConvDecoder, ConvEncoder
from gaussflow.nets.mlp import MLP

__all__ = ["MLP", "ConvDecoder", "ConvEncoder"]
