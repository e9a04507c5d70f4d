"""Named assemblies, and how models are saved and loaded."""

from gaussflow.recipes._rotations import haar_rotation, hadamard_rotation, ica_rotation, pca_rotation, whitening
from gaussflow.recipes.gaussianization_flow import gaussianization_flow
from gaussflow.recipes.io import load, read_notes, save
from gaussflow.recipes.rbig import rbig
from gaussflow.recipes.vae import LabelPoints, conditional_vae_28, conv_vae_64

__all__ = [
    "LabelPoints",
    "conditional_vae_28",
    "conv_vae_64",
    "gaussianization_flow",
    "haar_rotation",
    "hadamard_rotation",
    "ica_rotation",
    "load",
    "pca_rotation",
    "rbig",
    "read_notes",
    "save",
    "whitening",
]
