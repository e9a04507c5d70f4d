"""Structural similarity: values against a float64 reference, small images, dtypes, doors."""

import copy
import math
import pickle
import re

import numpy as np
import pytest
import torch
from benchmarks import msssim_reference as reference
from torch import Tensor

from gaussflow import MSSSIMLoss, ms_ssim, ssim
from gaussflow.losses._ssim import Scales, blur, gaussian_taps, halve, scale_means
from gaussflow.losses.ssim import WEIGHTS

SIZES = {"even": (162, 176, 1), "odd": (171, 161, 2)}
PAIRS = {(size, kind): pair for size in SIZES for kind, pair in reference.pairs(*SIZES[size]).items()}
NEAR = {torch.float64: 1e-13, torch.float32: 1e-6, torch.bfloat16: 1e-4}


def images(pair: reference.Pair, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(pair.x).to(dtype), torch.from_numpy(pair.y).to(dtype)


@pytest.mark.parametrize("dtype", NEAR)
@pytest.mark.parametrize("key", PAIRS)
def test_agrees_with_the_paper_step_by_step(key: tuple[str, str], dtype: torch.dtype) -> None:
    x, y = images(PAIRS[key], dtype)
    data_range = PAIRS[key].data_range
    expected = reference.ms_ssim(x.double(), y.double(), data_range)
    found = ms_ssim(x, y, data_range=data_range)
    assert found.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert abs(found.item() - expected.item()) < NEAR[dtype]


@pytest.mark.parametrize("kind", reference.pairs(12, 12))
def test_each_mean_agrees_in_ordinary_operations_too(kind: str) -> None:
    pair = reference.pairs(49, 58, 2, seed=3)[kind]
    x, y = images(pair, torch.float64)
    scales = Scales(pair.data_range, 7, 1.2, 3)
    expected = reference.mean_terms(pair.x, pair.y, pair.data_range, 3, 7, 1.2)
    np.testing.assert_allclose(scale_means(x, y, scales).numpy(), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("kind", reference.pairs(12, 12))
def test_one_scale_agrees(kind: str) -> None:
    pair = reference.pairs(31, 40, 3, seed=1)[kind]
    expected = reference.ssim(pair.x, pair.y, pair.data_range)
    x, y = images(pair, torch.float64)
    np.testing.assert_allclose(ssim(x, y, data_range=pair.data_range).numpy(), expected, rtol=0, atol=1e-14)
    found = ssim(x, y, data_range=pair.data_range, window=5, sigma=0.8).numpy()
    np.testing.assert_allclose(found, reference.ssim(pair.x, pair.y, pair.data_range, 5, 0.8), rtol=0, atol=1e-14)


def test_two_grey_levels_are_no_rounding_in_float32() -> None:
    """Where an image is flat but far from its mean, variances as differences of moments would be rounding: 1e-5.

    What is left comes from the few windows across the edge, whose squares are rounded as well.
    """
    rng = np.random.default_rng(0)
    left = np.broadcast_to(np.arange(64) < 32, (1, 1, 64, 64))
    for _ in range(30):
        x, y = (np.where(left, *rng.random(2)).astype(np.float32) for _ in "xy")
        expected = reference.ms_ssim(x, y, 1.0, (0.3, 0.4, 0.3))
        found = ms_ssim(torch.from_numpy(x), torch.from_numpy(y), data_range=1.0, weights=(0.3, 0.4, 0.3))
        assert abs(found.item() - expected.item()) < 2e-6


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.uint8])
@pytest.mark.parametrize("shape", [(1, 2, 161, 161), (6, 3, 161, 162)])
def test_identical_images_are_exactly_one(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x = torch.rand(shape) * 255
    for z in (x, x * 0 + 77, 1e-3 * x + 254):
        z = z.to(dtype)
        assert ms_ssim(z, z.clone(), data_range=255).tolist() == [1.0] * len(z)
        assert ssim(z, z.clone(), data_range=255).tolist() == [1.0] * len(z)
        assert MSSSIMLoss(data_range=255)(z, z.clone()).item() == 0


def test_another_image_is_less_than_one() -> None:
    x = torch.rand(1, 1, 161, 161, dtype=torch.float64)
    y = x.clone()
    y[..., 80, 80] += 1e-4
    assert 1 - 1e-8 < ms_ssim(x, y, data_range=1.0).item() < 1


def test_symmetric_and_the_same_at_any_scale_of_the_data() -> None:
    x, y = torch.rand(2, 3, 2, 28, 37, dtype=torch.float64)
    one = ms_ssim(x, y, data_range=1.0, fewer_scales=True, signed=True)
    torch.testing.assert_close(ms_ssim(y, x, data_range=1.0, fewer_scales=True, signed=True), one)
    for factor in (255.0, 1e-25, 3e25):
        scaled = ms_ssim(factor * x, factor * y, data_range=factor, fewer_scales=True, signed=True)
        torch.testing.assert_close(scaled, one, rtol=1e-13, atol=1e-13)
    turned = ms_ssim(x.mT, y.mT, data_range=1.0, fewer_scales=True, signed=True)
    torch.testing.assert_close(turned, one)


def test_values_do_not_hang_on_the_batch_or_the_layout() -> None:
    x, y = torch.rand(2, 37, 3, 29, 40)
    y = (x + y) / 2
    whole = ms_ssim(x, y, data_range=1.0, fewer_scales=True)
    alone = torch.cat([ms_ssim(a[None], b[None], data_range=1.0, fewer_scales=True) for a, b in zip(x, y, strict=True)])
    torch.testing.assert_close(whole, alone, rtol=0, atol=1e-6)
    last = [z.contiguous(memory_format=torch.channels_last) for z in (x, y)]
    assert torch.equal(ms_ssim(*last, data_range=1.0, fewer_scales=True), whole)
    strided = [torch.rand(37, 3, 58, 40)[:, :, ::2].copy_(z) for z in (x, y)]
    assert torch.equal(ms_ssim(*strided, data_range=1.0, fewer_scales=True), whole)
    grey = torch.stack([ms_ssim(x[:, [c]], y[:, [c]], data_range=1.0, fewer_scales=True) for c in range(3)])
    torch.testing.assert_close(grey.mean(0), whole, rtol=0, atol=1e-6)


def test_a_nan_stays_in_its_image() -> None:
    x, y = torch.rand(2, 5, 2, 28, 28)
    spoilt = x.clone()
    spoilt[1, 0, 3, 3], spoilt[3, 1, 27, 27] = math.nan, math.inf
    for signed in (True, False):
        found, good = (ms_ssim(z, y, data_range=1.0, fewer_scales=True, signed=signed) for z in (spoilt, x))
        assert found.isnan().tolist() == [False, True, False, True, False]
        torch.testing.assert_close(found[::2], good[::2], rtol=0, atol=1e-6)


def test_uint8_and_half_precisions_are_computed_in_float32() -> None:
    x, y = (255 * torch.rand(2, 2, 3, 28, 28)).to(torch.uint8)
    found = ms_ssim(x, y, data_range=255, fewer_scales=True)
    assert torch.equal(found, ms_ssim(x.float(), y.float(), data_range=255, fewer_scales=True))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(ms_ssim(x, y, data_range=255, fewer_scales=True), found)
    x, y = torch.rand(2, 2, 3, 28, 28).bfloat16()
    assert torch.equal(ssim(x, y, data_range=1.0), ssim(x.float(), y.float(), data_range=1.0))


@pytest.mark.parametrize(("side", "levels"), [(28, 2), (64, 3), (160, 4), (161, 5), (11, 1), (21, 2), (20, 1)])
def test_fewer_scales_are_those_that_fit_with_weights_that_sum_to_one(side: int, levels: int) -> None:
    x, y = torch.rand(2, 2, 1, side, side + 7, dtype=torch.float64)
    kept = np.array(WEIGHTS[:levels])
    weights = tuple(kept / kept.sum()) if levels < 5 else WEIGHTS
    found = ms_ssim(x, y, data_range=1.0, fewer_scales=True)
    assert torch.equal(found, ms_ssim(x, y, data_range=1.0, weights=weights))
    expected = reference.ms_ssim(x, y, 1.0, weights)
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-13)
    if levels < 5:
        least = 10 * 2**4 + 1
        with pytest.raises(ValueError, match=f"at least {least} pixels.*takes the {levels} that fit"):
            ms_ssim(x, y, data_range=1.0)


def test_smaller_windows_serve_small_images() -> None:
    x, y = torch.rand(2, 2, 1, 64, 49, dtype=torch.float64)
    y = (3 * x + y) / 4
    found = ms_ssim(x, y, data_range=1.0, window=3, sigma=0.7)
    np.testing.assert_allclose(found.numpy(), reference.ms_ssim(x, y, 1.0, window=3, sigma=0.7), rtol=0, atol=1e-13)


def test_odd_sides_halve_by_symmetric_extension() -> None:
    z = torch.tensor([[1.0, 2.0, 3.0], [5.0, 6.0, 7.0], [9.0, 10.0, 11.0]])
    assert halve(z).tolist() == [[3.5, 5.0], [9.5, 11.0]]


def test_taps_and_blur() -> None:
    taps = gaussian_taps(11, 1.5)
    np.testing.assert_allclose(np.outer(taps, taps), reference.window_weights(11, 1.5), rtol=1e-14)
    z = torch.rand(3, 12, 11, dtype=torch.float64)
    expected = torch.einsum("nij,i,j->n", z[:, 1:], *(torch.tensor(taps, dtype=torch.float64),) * 2)
    torch.testing.assert_close(blur(z, taps, (-2, -1))[:, 1, 0], expected)
    assert torch.equal(blur(torch.full((1, 12, 11), 0.3), taps, (-2, -1)), torch.full((1, 2, 1), 0.3))


def test_reductions() -> None:
    x, y = torch.rand(2, 4, 1, 28, 28)
    each = ms_ssim(x, y, data_range=1.0, fewer_scales=True)
    for reduction in (torch.mean, torch.sum, torch.amax):
        whole = reduction(each)
        assert torch.equal(ms_ssim(x, y, data_range=1.0, fewer_scales=True, reduction=reduction), whole)
        loss = MSSSIMLoss(data_range=1.0, fewer_scales=True, reduction=reduction)
        assert torch.equal(loss(x, y), reduction(1 - each))
    assert torch.equal(MSSSIMLoss(data_range=1.0, fewer_scales=True, reduction=None)(x, y), 1 - each)
    assert torch.equal(MSSSIMLoss(data_range=1.0, fewer_scales=True)(x, y), (1 - each).mean())
    assert torch.equal(ssim(x, y, data_range=1.0, reduction=torch.mean), ssim(x, y, data_range=1.0).mean())


def test_no_image_has_no_value_and_no_mean() -> None:
    x = torch.rand(0, 3, 28, 28, requires_grad=True)
    assert ms_ssim(x, x, data_range=1.0, fewer_scales=True).shape == ssim(x, x, data_range=1.0).shape == (0,)
    with pytest.raises(ValueError, match="at least one image"):
        MSSSIMLoss(data_range=1.0, fewer_scales=True)(x, x)


def test_the_module_is_copied_pickled_and_printed() -> None:
    loss = MSSSIMLoss(data_range=2, window=5, sigma=1, weights=[1, 2])
    x, y = torch.rand(2, 4, 1, 28, 28)
    for twin in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert torch.equal(twin(x, y), loss(x, y))
    assert re.fullmatch(r"MSSSIMLoss\(data_range=2, window=5, sigma=1, weights=\(1.0, 2.0\)\)", repr(loss))
    assert not loss.state_dict()


X = torch.rand(2, 3, 28, 28)
BAD = {
    "no tensor": ({"x": X.numpy()}, TypeError, r"works on torch\.Tensor; got x of ndarray"),
    "whole numbers": ({"x": X.long(), "y": X.long()}, TypeError, "floating or uint8 images; got x of torch.int64"),
    "rows": ({"x": X.flatten(1)}, ValueError, r"\(N, C, H, W\); got x of shape \(2, 2352\)"),
    "no channel": ({"x": X[:, :0], "y": X[:, :0]}, ValueError, r"\(N, C, H, W\); got x of shape \(2, 0, 28, 28\)"),
    "other shapes": ({"y": X[:1]}, ValueError, "one shape and dtype"),
    "other dtypes": ({"y": X.double()}, ValueError, "of torch.float32 and y .* of torch.float64"),
    "no range": ({"data_range": 0}, ValueError, "data_range between .*got 0"),
    "a tensor of a range": ({"data_range": torch.tensor(1.0)}, ValueError, "data_range between"),
    "a NaN of a range": ({"data_range": math.nan}, ValueError, "data_range between .*got nan"),
    "an even window": ({"window": 10}, ValueError, "odd window.*got 10. Take 11"),
    "half a window": ({"window": 2.5}, TypeError, "integer for window"),
    "a flat window": ({"window": 1}, ValueError, "window of at least 3"),
    "no sigma": ({"sigma": 0.0}, ValueError, "sigma of at least"),
    "small": ({"x": X[..., :9], "y": X[..., :9]}, ValueError, "at least .* pixels; got 28 x 9. Pass a smaller window"),
    "a word for a reduction": ({"reduction": "mean"}, TypeError, "torch.mean or torch.sum.*got 'mean'"),
}


@pytest.mark.parametrize("name", BAD)
def test_doors(name: str) -> None:
    change, error, message = BAD[name]
    arguments = {"x": X, "y": X, "data_range": 1.0, **change}
    pair = [arguments.pop("x"), arguments.pop("y")]
    with pytest.raises(error, match=f"^ssim.*{message}"):
        ssim(*pair, **arguments)
    with pytest.raises(error, match=f"^ms_ssim.*{message}"):
        ms_ssim(*pair, fewer_scales=True, **arguments)
    with pytest.raises(error, match=f"^(MSSSIMLoss|ms_ssim).*{message}"):
        MSSSIMLoss(fewer_scales=True, **arguments)(*pair)


@pytest.mark.parametrize("weights", [(), (0.5, 0), (1, -1), (1, math.nan), (math.inf,), ("a",)])
def test_weights_are_positive(weights: tuple[float, ...]) -> None:
    for call in (MSSSIMLoss, lambda **k: ms_ssim(X, X, **k)):
        with pytest.raises(ValueError, match="positive numbers for weights"):
            call(data_range=1.0, weights=weights)
