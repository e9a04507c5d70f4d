"""Named assemblies, and how models are saved and loaded."""

from gaussflow.recipes._rotations import (
    haar_rotation,
    hadamard_rotation,
    ica_rotation,
    pca_rotation,
    pursuit_rotation,
    sliced_rotation,
    whitening,
)
from gaussflow.recipes.gaussianization_flow import gaussianization_flow
from gaussflow.recipes.hybrid import hybrid
from gaussflow.recipes.image_flow import image_flow
from gaussflow.recipes.io import load, read_notes, save
from gaussflow.recipes.learn_images import class_prior, learn_images
from gaussflow.recipes.rbig import rbig
from gaussflow.recipes.vae import LabelPoints, conditional_vae_28, conv_vae_64

__all__ = [
    "LabelPoints",
    "class_prior",
    "conditional_vae_28",
    "conv_vae_64",
    "gaussianization_flow",
    "haar_rotation",
    "hadamard_rotation",
    "hybrid",
    "ica_rotation",
    "image_flow",
    "learn_images",
    "load",
    "pca_rotation",
    "pursuit_rotation",
    "rbig",
    "read_notes",
    "save",
    "sliced_rotation",
    "whitening",
]
