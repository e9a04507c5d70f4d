"""The benchmark of MS-SSIM: no speed on a red check, and rows for packages that are not there."""

import pytest
import torch
from benchmarks import msssim, msssim_reference
from torch import Tensor

FEW = ("identical", "noise", "contrast")


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = msssim_reference.pairs
    monkeypatch.setattr(msssim_reference, "pairs", lambda *a: {k: v for k, v in kinds(*a).items() if k in FEW})
    monkeypatch.setattr(msssim, "TASKS", {"tiny": ((2, 1, 40, 40), 3, (0.5, 0.5))})
    monkeypatch.setitem(msssim.PACKAGES, "absent", msssim.Package(msssim.ours, "no_such_module"))


def test_it_prints_agreement_and_then_speed(capsys: pytest.CaptureFixture[str]) -> None:
    assert msssim.main(["--packages", "absent", "--tasks", "tiny", "--repeats", "1"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("not installed") == 2
    assert "tiny: ms (multiple of ours)" in printed
    assert "(1.00)" in printed


@pytest.mark.parametrize("fault", ["value", "gradient", "refusal"])
def test_no_speed_on_a_red_check(
    fault: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def wrong(x: Tensor, y: Tensor, *numbers: object) -> Tensor:
        value = msssim.ours(x, y, *numbers)  # type: ignore[arg-type]
        if fault == "refusal":
            raise ValueError("no")
        return value + 2e-6 if fault == "value" else value.detach() + 0 * x.sum()

    monkeypatch.setitem(msssim.PACKAGES, "ours", msssim.Package(wrong, "gaussflow"))
    assert msssim.main(["--packages", "ours", "--tasks", "tiny", "--repeats", "1"]) == 1
    printed = capsys.readouterr().out
    assert "no speed is measured" in printed
    assert "tiny" not in printed


def test_the_reference_knows_closed_forms() -> None:
    flat = torch.ones(1, 1, 176, 176, dtype=torch.float64).numpy()
    assert msssim_reference.ms_ssim(flat, flat, 1.0).tolist() == [1.0]
    light = (2 * 0.3 * 0.7 + 1e-4) / (0.3**2 + 0.7**2 + 1e-4)
    assert msssim_reference.ms_ssim(0.3 * flat, 0.7 * flat, 1.0)[0] == pytest.approx(light**0.1333, abs=1e-14)
    assert msssim_reference.ssim(0.3 * flat, 0.7 * flat, 1.0)[0] == pytest.approx(light, abs=1e-14)
    x = torch.rand(1, 1, 11, 11, dtype=torch.float64).numpy()
    weights = msssim_reference.window_weights(11, 1.5)
    mean = (weights * x).sum()
    variance = (weights * x**2).sum() - mean**2
    cs = (2 * 0.5 * variance + 9e-4) / (1.25 * variance + 9e-4)
    expected = cs * (mean**2 + 1e-4) / (1.25 * mean**2 + 1e-4)
    assert msssim_reference.ssim(x, 0.5 * x, 1.0)[0] == pytest.approx(expected, abs=1e-13)
