"""Convolutional networks: sides that halve and double, the middle kept, and the label at each of its places."""

import json

import pytest
import torch
from torch import nn

from gaussflow import ConvDecoder, ConvEncoder, LabelPoints, conditional_vae_28, conv_vae_64

SHAPES = [(1, 28, 28), (3, 27, 30), (2, 1, 1), (1, 5, 33)]


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize("image_shape", SHAPES)
@pytest.mark.parametrize("batch", [(), (0,), (7,), (2, 3)])
def test_shapes(image_shape: tuple[int, int, int], batch: tuple[int, ...]) -> None:
    dim = image_shape[0] * image_shape[1] * image_shape[2]
    encoder = ConvEncoder(image_shape, 6, (4, 8, 8), context_dim=2).eval()
    decoder = ConvDecoder(3, image_shape, (8, 8, 4), context_dim=2).eval()
    context = torch.randn(*batch, 2)
    assert encoder(torch.rand(*batch, dim), context).shape == (*batch, 6)
    assert decoder(torch.randn(*batch, 3), context).shape == (*batch, dim)


def test_rows_are_images_channel_first_and_sides_halve() -> None:
    encoder = ConvEncoder((2, 28, 20), 5, (4, 6, 8)).double().eval()
    x = torch.rand(3, 2 * 28 * 20, dtype=torch.float64)
    maps = x.view(3, 2, 28, 20)
    for conv, norm, act in zip(*(encoder.body[i::3] for i in range(3)), strict=True):
        maps = act(norm(conv(maps)))
    assert maps.shape == (3, 8, 4, 3)
    torch.testing.assert_close(encoder(x), maps.flatten(1) @ encoder.head.weight.T + encoder.head.bias)


def test_context_is_constant_channels_of_the_image() -> None:
    encoder = ConvEncoder((1, 8, 8), 4, (5,), context_dim=3).eval()
    plain = ConvEncoder((4, 8, 8), 4, (5,)).eval()
    plain.load_state_dict(encoder.state_dict())
    x, context = torch.rand(6, 64), torch.randn(6, 3)
    planes = context[:, :, None].expand(6, 3, 64).flatten(1)
    torch.testing.assert_close(encoder(x, context), plain(torch.cat([x, planes], 1)))


def test_the_middle_of_a_larger_picture_is_kept() -> None:
    """The decoder of 28x28 makes 32x32; a picture that tells where it is tells which part is kept."""
    decoder = ConvDecoder(1, (1, 28, 26), (2, 2, 2), batch_norm=False)
    where = torch.arange(32.0)[:, None] * 100 + torch.arange(32.0)

    class Place(nn.Module):
        def forward(self, maps: torch.Tensor) -> torch.Tensor:
            return where.expand(len(maps), 2, 32, 32)

    decoder.body, decoder.last = Place(), nn.Identity()
    kept = decoder.last(decoder.body(torch.zeros(1)))[..., 2:30, 3:29]
    decoder.last = nn.Conv2d(2, 1, 1, bias=False)
    nn.init.constant_(decoder.last.weight, 0.5)
    torch.testing.assert_close(decoder(torch.zeros(1, 1)), kept.mean(1).reshape(1, -1))


def test_label_pictures_are_merged_at_full_size() -> None:
    decoder = ConvDecoder(2, (1, 12, 12), (4, 4), context_dim=3, label_code=False, planes=2).eval()
    z = torch.randn(1, 2).expand(3, 2)
    images = decoder(z, torch.eye(3)).detach()
    assert (images[0] - images[1]).abs().max() > 1e-4
    with torch.no_grad():
        decoder.label_images.weight.view(2, 12, 12, 3)[:, 0, 0, 1] += 1.0
    moved = (decoder(z, torch.eye(3)) - images).abs().detach().view(3, 12, 12)
    assert moved[1, 0, 0] > 0
    assert moved[0].max() == moved[2].max() == 0  # the picture of class 1 is its own
    assert moved[1, 3:].max() == moved[1, :, 3:].max() == 0  # and stays where it is put


@pytest.mark.parametrize("code", [False, True])
@pytest.mark.parametrize("output", [False, True])
def test_each_label_point_alone(code: bool, output: bool) -> None:
    points = LabelPoints(image=True, code=code, output=output)
    vae = conditional_vae_28(4, latent_dim=3, widths=(4, 4, 4), label_points=points).eval()
    images = vae.decode(torch.zeros(4, 3), torch.arange(4)).detach()
    differ = float((images[0] - images[1]).abs().max())
    assert (differ > 1e-5) == (code or output)
    blind = conditional_vae_28(4, widths=(4, 4, 4), label_points=LabelPoints(False, code, output)).eval()
    x = torch.rand(1, 784).expand(4, 784)
    for model, sees in ((vae, True), (blind, False)):
        mean = model.posterior(x, torch.arange(4)).mean.detach()
        assert (float((mean[0] - mean[1]).abs().max()) > 1e-6) == sees


def test_the_reference_models() -> None:
    assert count(conv_vae_64()) == 3_937_635
    vae = conv_vae_64()
    assert vae.image_shape == (3, 64, 64)
    assert vae.latent_dim == 128
    assert [m.weight.shape[0] for m in vae.encoder.modules() if isinstance(m, nn.Conv2d)] == [32, 64, 128, 256, 512]
    assert vae.encoder.head.in_features == 512 * 2 * 2
    assert vae.eval().sample(2).shape == (2, 3 * 64 * 64)
    small = conditional_vae_28(6)
    assert small.latent_dim == 50
    assert small.decoder.start == (128, 4, 4)
    assert small.decoder.body(torch.zeros(1, 128, 4, 4)).shape[-2:] == (32, 32)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_config_rebuilds_through_json(batch_norm: bool) -> None:
    nets = [
        ConvEncoder((1, 9, 8), 4, (3, 5), context_dim=2, batch_norm=batch_norm, dtype=torch.float64),
        ConvDecoder(
            2, (1, 9, 8), (5, 3), last_width=2, context_dim=2, label_code=False, planes=3, batch_norm=batch_norm
        ),
    ]
    for net in nets:
        rebuilt = type(net)(**json.loads(json.dumps(net.config())))
        assert rebuilt.config() == net.config()
        rebuilt.load_state_dict(net.state_dict(), strict=True)
        assert {p.dtype for p in net.parameters()} == {torch.float64 if net is nets[0] else torch.float32}
        assert any(isinstance(m, nn.BatchNorm2d) for m in net.modules()) == batch_norm


def test_every_parameter_gets_a_gradient() -> None:
    decoder, encoder = ConvDecoder(2, (1, 9, 8), (5, 3), context_dim=2), ConvEncoder((1, 9, 8), 4, (3,), context_dim=2)
    context = torch.randn(6, 2)
    (decoder(torch.randn(6, 2), context).square().sum() + encoder(torch.rand(6, 72), context).square().sum()).backward()
    for net in (decoder, encoder):
        assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in net.parameters())


def test_doors() -> None:
    with pytest.raises(ValueError, match=r"image_shape \(channels, height, width\); got \(28, 28\)"):
        ConvEncoder((28, 28), 4)
    with pytest.raises(ValueError, match="at least one layer"):
        ConvDecoder(4, (1, 28, 28), ())
    with pytest.raises(ValueError, match="every width of at least 1; got 0"):
        ConvEncoder((1, 28, 28), 4, (0,))
    with pytest.raises(TypeError, match="integer for every size"):
        ConvEncoder((1, 28.0, 28), 4)
    with pytest.raises(ValueError, match="label_code or label_output"):
        ConvDecoder(4, (1, 28, 28), context_dim=2, label_code=False, label_output=False)
    encoder = ConvEncoder((1, 4, 4), 4, (3,), context_dim=2)
    with pytest.raises(ValueError, match=r"ConvEncoder works on \(\.\.\., 16\); got x of shape \(5, 4, 4\)"):
        encoder(torch.rand(5, 4, 4), torch.rand(5, 2))
    with pytest.raises(ValueError, match="ConvEncoder needs context"):
        encoder(torch.rand(5, 16))
    with pytest.raises(ValueError, match=r"ConvDecoder works on \(\.\.\., 2\); got context"):
        ConvDecoder(4, (1, 4, 4), (3,), context_dim=2)(torch.rand(5, 4), torch.rand(5, 3))
