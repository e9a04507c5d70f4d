"""Structural similarity at every scale, fast: the same numbers as `scale_means`, with the slopes found on the way.

Planes lie on the last axis, (H, W, planes): a depthwise convolution of sixteen channels last takes a third of the
time of one of channels first. They are worked through sixteen at a time, so that temporaries are small and their
memory is used again. Where a gradient is wanted, the forward pass finds the slopes of each scale's mean while
everything is at hand and keeps that one plane per scale; the backward pass scales and adds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gaussflow.losses._ssim import Frame, Scales, blur, frame, gaussian_taps, luminance, scale_means

LANES = 16  # planes at a time: the floats of the widest vector register
WAYS = 8  # planes turned at a time: more of them, a power of two apart, evict one another from the cache
FEW = 4  # with fewer planes than this, the four kinds share one convolution
CHUNK = 2**20  # pixels of a chunk of small planes
LARGEST = 2**22  # pixels of a chunk of large ones, of which it then has fewer than sixteen
FAST = torch.backends.mkldnn.is_available()  # convolutions of float32 channels last, on a processor


class PlaneMeans(torch.autograd.Function):
    """`scale_means` of planes (n, H, W) as a function with a gradient of its own; forward gives (n, levels)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, scales: Scales) -> Tensor:  # type: ignore[override]
        ctx.scales, ctx.signs = scales, wanted_signs(ctx)
        means, unit, slopes = plane_means(x, y, scales, ctx.signs)
        ctx.save_for_backward(x, y, unit, *slopes)
        return means

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:  # type: ignore[override]
        x, y, unit, *slopes = ctx.saved_tensors
        if torch.is_grad_enabled():  # a graph of the gradient is wanted: ordinary operations have one
            wanted = [z for z, needed in zip((x, y), ctx.needs_input_grad, strict=False) if needed]
            found = list(torch.autograd.grad(scale_means(x, y, ctx.scales), wanted, grad, create_graph=True))
        else:
            found = gather(x, grad / unit[:, None], slopes, ctx.scales, len(ctx.signs))
        return found.pop(0) if 1 in ctx.signs else None, found.pop(0) if -1 in ctx.signs else None, None


def wanted_signs(ctx: Any) -> list[int]:
    """1 for a gradient by x and -1 for one by y, those that are wanted."""
    return [sign for sign, wanted in zip((1, -1), ctx.needs_input_grad, strict=False) if wanted]


def plane_means(x: Tensor, y: Tensor, scales: Scales, signs: Sequence[int] = ()) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Means (n, levels) of planes (n, H, W), their units (n,), and the slopes of every chunk, scale and sign.

    Sign 1 is the slope along x and -1 that along y: both move s = x + y alike, and d = x - y one way or the other.
    A slope is that of the sum over the windows, by the pixels of its scale in the unit of the plane.
    """
    numbers = frame(x, y, scales.data_range)
    means: list[Tensor] = []
    slopes: list[Tensor] = []
    with torch.autocast(x.device.type, enabled=False):
        for chunk in _chunks(x):
            part = Frame(*(number[chunk] for number in numbers))
            means.append(_chunk_means(x[chunk], y[chunk], part, scales, signs, slopes))
    return torch.cat(means), numbers.unit, slopes


def _chunks(x: Tensor) -> Iterable[slice]:
    """Slices of planes (n, H, W); an accelerator, which works on all at once, takes sixteen times as many."""
    pixels = x.shape[-2] * x.shape[-1]
    step = LANES * max(1, CHUNK // (LANES * pixels)) if pixels * LANES <= LARGEST else max(1, LARGEST // pixels)
    step *= 1 if x.device.type == "cpu" else LANES
    return [slice(start, start + step) for start in range(0, len(x), step)]


def _chunk_means(
    x: Tensor, y: Tensor, numbers: Frame, scales: Scales, signs: Sequence[int], slopes: list[Tensor]
) -> Tensor:
    """Means (n, levels) of one chunk of planes (n, H, W); appends its slopes."""
    blurred = _Blur(gaussian_taps(scales.window, scales.sigma), x)
    x, y = _planes_last(x, numbers.unit), _planes_last(y, numbers.unit)
    at_x, at_y = (z.sum((0, 1)) / (z.shape[0] * z.shape[1]) for z in (x, y))
    s, d = (x + y).sub_(_rows(at_x + at_y, x)), x.sub_(y).sub_(_rows(at_x - at_y, x))
    means = []
    for level in range(scales.levels):
        last = level == scales.levels - 1
        scale = _Scale(s, d, numbers, blurred, (at_x, at_y) if last else None)
        means.append(scale.mean())
        slopes += scale.slopes(signs) if signs else []
        s, d = (s, d) if last else (_halve(s), _halve(d))
    return torch.stack(means, -1)


class _Scale:
    """One scale: cs (H', W', n) of every window, at the coarsest the luminance too, and the slopes of their sum."""

    def __init__(self, s: Tensor, d: Tensor, numbers: Frame, blurred: _Blur, at: tuple[Tensor, Tensor] | None) -> None:
        self.s, self.d, self.blurred, self.c1 = s, d, blurred, numbers.c1
        self.ms, self.md, qs, qd = blurred([s, d, s * s, d * d])
        above = qs.addcmul_(self.ms, self.ms, value=-1).clamp_(min=0).add_(_rows(2 * numbers.c2, qs))
        vd = qd.addcmul_(self.md, self.md, value=-1).clamp_(min=0)
        self.total = above + vd
        self.cs = above.sub_(vd).div_(self.total)
        self.light: Tensor | None = None
        if at is not None:
            self.mx, self.my = (self.ms + self.md) / 2 + at[0], (self.ms - self.md) / 2 + at[1]
            self.light = luminance(self.mx, self.my, self.c1)

    def mean(self) -> Tensor:
        """The mean over the windows of each plane (n,)."""
        similarity = self.cs if self.light is None else self.cs * self.light
        return similarity.sum((0, 1)) / (self.cs.shape[0] * self.cs.shape[1])

    def slopes(self, signs: Sequence[int]) -> list[Tensor]:
        r"""The slopes of the sum over the windows by the pixels, along x (sign 1) or y (sign -1), each (H, W, n).

        The sum hangs on the blurred :math:`s, d, s^2, d^2`. With a the slope by the blurred :math:`s^2`, that by s is
        :math:`2 s\, B^\top a - 2 B^\top (a\, m_s)`, and so with d; the means add theirs. Call last: it overwrites cs.
        """
        light = [] if self.light is None else self._light_slopes(self.light)
        share = self.total.reciprocal_() if self.light is None else self.light / self.total
        by_qs = torch.sub(1, self.cs).mul_(share)
        by_qd = self.cs.add_(1).mul_(share).neg_()
        by_ms, by_md = (by_qs * self.ms).mul_(-2), (by_qd * self.md).mul_(-2)
        by_means = [torch.add(by_ms, by_md, alpha=sign) for sign in signs]
        for plane, sign in zip(by_means, signs if light else (), strict=False):
            plane += light[(1 - sign) // 2]
        back_s, back_d, *back = self.blurred.back([by_qs, by_qd, *by_means])
        for plane, sign in zip(back, signs, strict=True):
            plane.addcmul_(self.s, back_s, value=2).addcmul_(self.d, back_d, value=2 * sign)
        return [plane.contiguous() for plane in back]  # a part of what few planes share is taken out of it

    def _light_slopes(self, light: Tensor) -> list[Tensor]:
        """cs times the slopes of the luminance by the means of x and of y."""
        share = 2 * self.cs / (self.mx * self.mx + self.my * self.my + self.c1)
        return [share * (self.my - light * self.mx), share * (self.mx - light * self.my)]


class _Blur:
    """`blur` of several planes (H, W, n), by convolution where that is the fast way, and its transpose."""

    def __init__(self, taps: tuple[float, ...], like: Tensor) -> None:
        self.taps, self.margin = taps, len(taps) - 1
        self.fast = FAST and like.dtype == torch.float32 and like.device.type == "cpu"
        half, sums = self.margin // 2, list(accumulate(taps))
        self.kernel = like.new_tensor(taps)
        self.steps = like.new_tensor([-total for total in sums[:half]] + sums[:half][::-1])

    def __call__(self, planes: list[Tensor]) -> list[Tensor]:
        """The blurred planes, smaller by the margin."""
        if not self.fast:
            return [blur(z, self.taps, (0, 1)) for z in planes]
        return _together(self._convolve, planes)

    def back(self, planes: list[Tensor]) -> list[Tensor]:
        """The transpose, larger by the margin: the window is symmetric, so it blurs the planes in a frame of zeros."""
        if not self.fast:
            return [blur(F.pad(z, (0, 0, *(self.margin,) * 4)), self.taps, (0, 1)) for z in planes]
        return _together(self._spread, planes)

    def _convolve(self, z: Tensor) -> Tensor:
        """The mean as that of differences of neighbours, each with the sum of the taps that it is part of."""
        half = self.margin // 2
        z = _depthwise(z[:, 1:] - z[:, :-1], self.steps[None]).add_(z[:, half:-half])
        return _depthwise(z[1:] - z[:-1], self.steps[:, None]).add_(z[half:-half])

    def _spread(self, z: Tensor) -> Tensor:
        z = _depthwise(z, self.kernel[None], (0, self.margin))
        return _depthwise(z, self.kernel[:, None], (self.margin, 0))


def _together(blurred: Callable[[Tensor], Tensor], planes: list[Tensor]) -> list[Tensor]:
    """The function of each of the planes; of few of them, which would leave registers empty, of all in one."""
    if (n := planes[0].shape[-1]) < FEW:
        return list(blurred(torch.cat(planes, -1)).split(n, -1))
    return [blurred(z) for z in planes]


def _depthwise(z: Tensor, kernel: Tensor, pad: tuple[int, int] = (0, 0)) -> Tensor:
    n = z.shape[-1]
    z = F.conv2d(_channels_last(z), kernel.expand(n, 1, *kernel.shape), padding=pad, groups=n)
    return z.permute(0, 2, 3, 1)[0]


def _channels_last(z: Tensor) -> Tensor:
    """Planes (H, W, n) as one image (1, n, H, W); ``z.permute(2, 0, 1)[None]`` would pass for channels first."""
    return z[None].permute(0, 3, 1, 2)


def _planes_last(z: Tensor, unit: Tensor) -> Tensor:
    """Planes (n, H, W) as (H, W, n), a copy divided by the unit (n,) of each."""
    flat = z.reshape(len(z), -1)
    turned = flat.new_empty(flat.shape[1], len(z))
    for i in range(0, len(z), WAYS):
        part = slice(i, i + WAYS)
        torch.mul(flat[part].t(), 1 / unit[part], out=turned[:, part])
    return turned.view(*z.shape[1:], len(z))


def _rows(numbers: Tensor, like: Tensor) -> Tensor:
    """Numbers (n,) as (W, n): whole rows broadcast four times as fast as a short last axis."""
    return numbers.repeat(like.shape[1]).view(like.shape[1], -1)


def _halve(z: Tensor) -> Tensor:
    """`halve` of z (H, W, n)."""
    image = _channels_last(z)
    if z.shape[0] % 2 or z.shape[1] % 2:
        image = F.pad(image, (0, z.shape[1] % 2, 0, z.shape[0] % 2), mode="replicate")
        image = image.contiguous(memory_format=torch.channels_last)
    return F.avg_pool2d(image, 2).permute(0, 2, 3, 1)[0].contiguous()


def _double(slope: Tensor, height: int, width: int) -> Tensor:
    """The transpose of `_halve`: a slope (h, w, n) by the halves as one by the pixels, (height, width, n)."""
    h, w, n = slope.shape
    wide = (slope / 4)[:, None, :, None].expand(h, 2, w, 2, n).reshape(2 * h, 2 * w, n)
    if height % 2:
        wide[height - 1] += wide[height]
    if width % 2:
        wide[:, width - 1] += wide[:, width]
    return wide[:height, :width]


def gather(x: Tensor, grad: Tensor, slopes: list[Tensor], scales: Scales, signs: int) -> list[Tensor]:
    """The gradients, each like x (n, H, W), from the slopes and the ``grad`` (n, levels) of the means."""
    found = [torch.empty(x.shape, dtype=x.dtype, device=x.device) for _ in range(signs)]
    margin = scales.window - 1
    for chunk in _chunks(x):
        kept, slopes = slopes[: scales.levels * signs], slopes[scales.levels * signs :]
        for k, out in enumerate(found):
            total = out.new_zeros(1, 1, 1)
            for level, slope in reversed(list(enumerate(kept[k::signs]))):
                height, width = slope.shape[:2]
                windows = (height - margin) * (width - margin)
                coarser = _double(total, height, width) if level < scales.levels - 1 else total
                total = (slope * _rows(grad[chunk, level] / windows, slope)).add_(coarser)
            out[chunk].flatten(1).copy_(total.flatten(0, 1).t())
    return found
