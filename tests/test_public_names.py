"""The public names: what `gaussflow` promises exists, is documented with an example, and costs little to import."""

import inspect
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch

import gaussflow
from gaussflow import Transform

NAMES = [name for name in gaussflow.__all__ if not name.startswith("__")]
PROMISED = {
    *("Transform", "Chain", "Inverse", "Flow", "MLP", "History"),
    *("Rows", "TensorRows", "ChunkRows", "RankRows", "as_rows"),
    *("Standardize", "Whiten", "Rotation", "HouseholderRotation", "HadamardRotation", "Permutation"),
    *("haar", "pca", "ica", "sliced_wasserstein", "projection_pursuit", "confirmed"),
    *("MarginalSpline", "MarginalTable", "MixtureCDF", "MixtureFlow", "AffineCoupling", "SplineCoupling"),
    *("grow", "train", "rbig", "gaussianization_flow", "save", "load", "read_notes"),
    *("haar_rotation", "hadamard_rotation", "ica_rotation", "pca_rotation", "whitening"),
    *("pursuit_rotation", "sliced_rotation"),
    *("MixtureTransport", "hybrid", "Dequantized"),
    *("Given", "HaarStep", "image_flow"),
    *("VAE", "ConditionalVAE", "Bound", "ConvEncoder", "ConvDecoder", "Density", "one_hot"),
    *("Likelihood", "Bernoulli", "ContinuousBernoulli", "Gaussian", "DiscretisedLogistic", "MSSSIMEnergy"),
    *("conv_vae_64", "conditional_vae_28", "LabelPoints"),
    *("learn_images", "class_prior", "ClassMixture", "KernelDensity", "AffineJitter", "PixelNoise"),
    *("KLAnnealing", "FreeBits", "PosteriorCollapseWarning", "active_units", "aggregate_posterior"),
    "Autoencoder",
    *("DiagonalGaussian", "FullGaussian", "gaussian_js", "gaussian_kl", "Decomposition", "Estimate", "decompose_loss"),
    *("FewRowsWarning", "negentropy", "total_correlation"),
    *("ssim", "ms_ssim", "MSSSIMLoss"),
    *("independent_subspaces", "RadialSpline"),
    "__version__",
}


def signature(thing: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """The parameters of a function or of a constructor; warnings take what all exceptions take."""
    if inspect.isclass(thing) and issubclass(thing, Warning):
        return {}
    return inspect.signature(thing).parameters


def test_all_is_what_is_promised() -> None:
    assert set(gaussflow.__all__) == PROMISED


def test_all_is_sorted_and_holds_no_name_twice() -> None:
    kind = lambda name: (0 if name.isupper() else 1 if name[0].isupper() else 2, name)  # noqa: E731
    assert gaussflow.__all__ == sorted(set(gaussflow.__all__), key=kind)


def test_nothing_else_is_public() -> None:
    public = {n for n, v in vars(gaussflow).items() if not n.startswith("_") and not inspect.ismodule(v)}
    assert public == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_documented_with_an_example(name: str) -> None:
    doc = inspect.getdoc(getattr(gaussflow, name)) or ""
    assert re.match(r"^[A-Z].*", doc), "a docstring starts with a sentence"
    assert ">>>" in doc, "a docstring holds an example"
    if inspect.isfunction(getattr(gaussflow, name)):
        assert "Parameters\n---" in doc


@pytest.mark.parametrize("name", [n for n in NAMES if inspect.isclass(getattr(gaussflow, n))])
def test_every_class_speaks_of_its_parameters_and_methods(name: str) -> None:
    kind = getattr(gaussflow, name)
    doc = inspect.getdoc(kind) or ""
    for parameter in signature(kind).keys() - {"args", "kwargs"}:
        assert inspect.isabstract(kind) or re.search(rf"\b{parameter}\b", doc), f"{name} does not tell of {parameter}"
    for key, method in vars(kind).items():
        if not key.startswith("_") and callable(method):
            assert inspect.getdoc(getattr(kind, key)), f"{name}.{key} has no docstring"


@pytest.mark.parametrize("name", [n for n in NAMES if inspect.isclass(getattr(gaussflow, n))])
def test_transforms_say_their_shapes_and_are_final(name: str) -> None:
    kind = getattr(gaussflow, name)
    if issubclass(kind, Transform) and not inspect.isabstract(kind):
        assert re.search(r"\(\.\.\.|torch.Size|\(D,\)", inspect.getdoc(kind))
        parameters = inspect.signature(kind).parameters
        # those that hold no numbers of their own are nowhere
        if kind not in (gaussflow.Chain, gaussflow.Inverse, gaussflow.Given, gaussflow.HaarStep):
            assert "device" in parameters
            assert all(parameters[p].kind is inspect.Parameter.KEYWORD_ONLY for p in ("device",))
        public = [getattr(gaussflow, n) for n in NAMES]
        assert not [c for c in public if inspect.isclass(c) and c is not kind and issubclass(c, kind)]


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_typed(name: str) -> None:
    thing = getattr(gaussflow, name)
    if name not in {"Rows"}:
        for parameter in signature(thing).values():
            assert parameter.name in ("args", "kwargs") or parameter.annotation is not parameter.empty, (
                name,
                parameter.name,
            )


IMPORT = """
import sys, time
import torch
torch.cuda.is_available = torch.cuda.device_count = torch.cuda.init = lambda *a: sys.exit("probes the GPU")
rng, dtype, threads = torch.get_rng_state(), torch.get_default_dtype(), torch.get_num_threads()
start = time.perf_counter()
import gaussflow
print(f"import gaussflow after torch: {time.perf_counter() - start:.3f} s")
loaded = {name.split(".")[0] for name in sys.modules} & {"pandas", "sklearn", "matplotlib", "triton", "tabulate"}
assert not loaded, loaded
assert not any(name.startswith("gaussflow.apps") or name == "gaussflow.cli" for name in sys.modules)
assert torch.equal(rng, torch.get_rng_state())
assert (dtype, threads) == (torch.get_default_dtype(), torch.get_num_threads())
assert not torch.cuda.is_initialized()
"""


def test_import_is_light_and_leaves_torch_alone() -> None:
    run = subprocess.run([sys.executable, "-W", "error", "-c", IMPORT], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert re.match(r"import gaussflow after torch: \d", run.stdout)


def test_version() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+|rc\d+)?", gaussflow.__version__)
    assert torch.__version__
