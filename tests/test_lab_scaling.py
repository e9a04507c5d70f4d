"""The experiments on scaling and on methods: closed forms, edges, and a tiny case of each from measure to report."""

import math

import numpy as np
import pytest
import torch
from benchmarks.lab import images, methods, scaling
from benchmarks.lab.experiment import Setting
from benchmarks.lab.growth import blocks_to, grow_measured, stalled
from benchmarks.lab.methods_report import theirs
from benchmarks.lab.problems import PROBLEMS
from benchmarks.lab.scaling_report import blocks_by_order, blocks_of_images, exponent, needed, reached

from gaussflow import theory
from gaussflow.ops import haar

QUICK = Setting(quick=True)


# Images


def test_shrinking_takes_means_over_areas():
    x = np.random.default_rng(0).integers(0, 256, (3, 28, 28))
    assert images.shrink(x, 28) == pytest.approx(x)
    assert images.shrink(x, 14) == pytest.approx(x.reshape(3, 14, 2, 14, 2).mean((2, 4)))
    uneven = images.shrink(x, 16)
    assert uneven.mean((1, 2)) == pytest.approx(x.mean((1, 2)))
    first = (x[0, 0, 0] + 0.75 * (x[0, 0, 1] + x[0, 1, 0]) + 0.75**2 * x[0, 1, 1]) / 1.75**2
    assert uneven[0, 0, 0] == pytest.approx(first)
    with pytest.raises(ValueError, match="cannot be shrunk"):
        images.shrink(x, 29)


def test_digits_are_levels_made_continuous():
    table = images.load("digits", 4)
    assert (table.dim, len(table.train) + len(table.valid) + len(table.test)) == (16, 1797)
    assert table.train.min() >= 0
    assert table.train.max() < 1
    noise = table.train * 17 % 1
    assert noise.mean() == pytest.approx(0.5, abs=0.01)
    assert noise.std() == pytest.approx(math.sqrt(1 / 12), abs=0.01)
    assert (images.load("digits", 4).test == table.test).all()
    assert [
        len(part) for part in (images.load("digits", 4, rows=100).train, images.load("digits", 4, rows=100).test)
    ] == [
        100,
        50,
    ]


def test_other_images_come_from_a_folder(tmp_path):
    rng = np.random.default_rng(0)
    train, test = rng.integers(0, 256, (200, 28, 28), np.uint8), rng.integers(0, 256, (20, 28, 28), np.uint8)
    np.savez(tmp_path / "mnist.npz", x_train=train, x_test=test)
    assert images.available(None) == ["digits"]
    assert images.available(tmp_path) == ["digits", "mnist"]
    table = images.load("mnist", 28, tmp_path)
    assert np.floor(table.test * 256) == pytest.approx(test.reshape(20, -1))
    assert (len(table.train), len(table.valid)) == (180, 20)
    with pytest.raises(FileNotFoundError, match="--data"):
        images.load("omniglot", 4)
    sides = {case["dim"] for case in scaling.cases(Setting(data=tmp_path)) if case.get("images") == "mnist"}
    assert sides == {16, 49, 64, 196, 256, 784}


# Growth


def test_the_loss_of_standardised_normal_data_is_that_of_their_correlations():
    law, rng = PROBLEMS["gaussian_log"](4), np.random.default_rng(1)
    train, test = law.draw(20_000, rng), law.draw(20_000, rng)
    growth = grow_measured("ica", (train, test), law.nats(test), blocks=5, seed=0)
    loss = float(theory.gaussian_loss(torch.as_tensor(np.corrcoef(train.T))))
    assert growth.left[0] == pytest.approx(loss, abs=4 * growth.error[0])
    assert (growth.ended, len(growth.left)) == ("reached", 2)
    assert growth.left[1] < 0.01


def test_growth_without_a_truth_measures_nats():
    rng = np.random.default_rng(2)
    x = rng.standard_normal((2000, 2)) * [1.0, 5.0]
    growth = grow_measured("haar", (x[:1000], x[1000:]), None, blocks=3, seed=0)
    entropy = math.log(2 * math.pi * math.e) + math.log(5)
    assert growth.left[0] == pytest.approx(entropy, abs=0.1)
    assert (growth.ended, len(growth.left), len(growth.error)) == ("blocks", 4, 4)


def test_a_run_stalls_where_ten_blocks_buy_less_than_a_hundredth():
    falling = [1 - 0.002 * i for i in range(13)]
    assert not stalled(falling, 1.0)
    assert stalled([1 - 0.0005 * i for i in range(13)], 1.0)
    assert not stalled([1.0] * 11, 1.0)
    assert stalled([1.0] * 12, 1.0)


@pytest.mark.parametrize(
    ("left", "share", "blocks"),
    [
        ([1, 0.1], 0.1, 1),
        ([1, 0.5, 0.25], 0.5, 1),
        ([1, 0.4, 0.1], 0.2, 1.5),
        ([1, 0.01], 0.1, 1),
        ([1, 0.9], 0.5, None),
    ],
)
def test_blocks_to_a_share(left, share, blocks):
    assert blocks_to(left, share * left[0]) == (None if blocks is None else pytest.approx(blocks))


def test_blocks_to_a_share_of_what_may_be_negative():
    assert blocks_to([4.0, 3.0, 1.0], 2.0, float) == pytest.approx(1.5)
    assert 1 < blocks_to([1.0, 0.5, -0.2], 0.1) < 2  # a loss below zero by chance
    assert blocks_to([0.0, 0.0], 0.0) is None


# Theory


@pytest.mark.parametrize("dim", [2, 8, 64])
def test_second_order_is_theorem_2(dim):
    assert blocks_by_order(dim, 2, 0.1) == pytest.approx(theory.blocks_needed(dim, 0.1))


@pytest.mark.parametrize("order", [3, 4])
def test_share_that_random_axes_take_of_a_traceless_tensor(order):
    """Re (x + iy)^k is harmonic in any dimension: its value at w, squared, over D random axes."""
    dim = 5
    axes = np.concatenate([haar(dim, torch.Generator().manual_seed(s), torch.float64).numpy() for s in range(5_000)])
    values = ((axes[:, 0] + 1j * axes[:, 1]) ** order).real
    norm = 2.0 ** (
        order - 1
    )  # of the symmetric tensor: each of its 2^k entries in the plane is 0 or ±1, half are not 0
    taken = dim * (values**2).mean() / norm
    error = dim * (values**2).std() / math.sqrt(len(values)) / norm * math.sqrt(dim)
    assert 1 - 0.5 ** (1 / blocks_by_order(dim, order, 0.5)) == pytest.approx(taken, abs=4 * error)


def test_exponents_and_their_intervals():
    exact = exponent({d: [3 * d**1.5] for d in (2, 4, 8, 16)})
    assert exact.value == pytest.approx(1.5)
    assert exact.half == pytest.approx(0, abs=1e-6)
    assert math.isnan(exponent({2: [1.0], 4: [2.0]}).value)
    rng, hits = np.random.default_rng(5), 0
    for _ in range(400):
        one = exponent({d: [d * math.exp(0.2 * rng.standard_normal())] for d in (2, 4, 8, 16, 32)})
        hits += abs(one.value - 1) <= one.half
    assert hits / 400 == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 400))


# From measure to report


def line(case, **more):
    common = {"seconds": 1.0, "rows": 100, "blocks": 3, "seed": 0, "left_error": [0.1], "ended": "blocks"}
    return {**common, **case, **more}


def curve(blocks, dim):
    """A loss that falls to a tenth in so many blocks."""
    return [dim * 10 ** (-i / blocks) for i in range(math.ceil(blocks) + 1)]


@pytest.fixture(scope="module")
def lines():
    cubic = [
        line({"problem": "rings", "dim": d, "rule": "haar", "seed": s}, left=curve(d**2 * (1 + 0.01 * s), d))
        for d in (2, 4, 8, 16)
        for s in (0, 1)
    ]
    linear = [
        line({"problem": "copula", "dim": d, "rule": "haar"}, left=curve(theory.blocks_needed(d, 0.1), d))
        for d in (2, 4, 8, 16)
    ]
    stuck = [line({"problem": "ball", "dim": d, "rule": "ica"}, left=[1.0, 0.95, 0.93]) for d in (2, 4)]
    pictures = [
        line({"images": "digits", "dim": d, "rule": rule}, left=[-1.0, -best / 2, -best])
        for d in (4, 16, 64)
        for rule, best in (("haar", d - 1.5), ("pca", d))
    ]
    return cubic + linear + stuck + pictures


def test_the_report_says_what_the_lines_say(lines):
    text = scaling.report(lines)
    assert "faster than in theorem 2: rings" in text
    assert "as in theorem 2: copula" in text
    assert "not in 2 (93% left)" in text
    assert "2.00 ± 0.0" in text
    slow = [x | {"left": curve(4.0, 1)} if x.get("problem") == "rings" else x for x in lines]
    assert "slower than in theorem 2: rings" in scaling.report(slow)


def test_what_was_not_reached_is_no_number(lines):
    found = needed(lines, 0.1)
    assert found["ball", "ica"] == {2: [None], 4: [None]}
    assert reached(found["ball", "ica"]) == {}
    assert reached({2: [1.0, 2.0], 4: [3.0, None]}) == {2: [1.0, 2.0]}


def test_images_are_measured_towards_the_best_of_any_rule(lines):
    found = blocks_of_images(lines)
    assert found["digits", "pca"][64] == [pytest.approx(1 + (0.9 * 63 - 31) / 32)]
    assert found["digits", "haar"][4] == [None]  # ends 1.5 nats of 3 short of the other


@pytest.mark.parametrize("pick", [slice(0, 1), slice(0, 8), slice(8, 12), slice(12, 14), slice(14, 15), slice(14, 20)])
def test_any_lines_are_drawn_and_told(lines, pick):
    from matplotlib import pyplot

    figure = scaling.draw(lines[pick])
    figure.canvas.draw()
    pyplot.close(figure)
    assert scaling.report(lines[pick])


def test_tiny_cases_are_measured(tmp_path):
    law, *_ = scaling.cases(QUICK)
    picture = next(case for case in scaling.cases(QUICK) if "images" in case)
    found = [
        case | scaling.measure(case, QUICK) for case in (law | {"rows": 200}, picture | {"rows": 100, "blocks": 2})
    ]
    assert all(len(each["left"]) == len(each["left_error"]) > 1 for each in found)
    assert found[0]["left"][0] > found[0]["left"][-1]
    again = scaling.measure(law | {"rows": 200}, QUICK)
    assert again["left"] == found[0]["left"]
    scaling.draw(found).canvas.draw()
    assert "theorem 2" in scaling.report(found)


def test_methods_are_measured_drawn_and_told():
    from matplotlib import pyplot

    wanted = [case for case in methods.cases(QUICK) if case["dim"] == 2 and case["method"] in ("gaussian", "rbig_haar")]
    found = [case | {"seconds": 1.0} | methods.measure(case | {"rows": 200}, QUICK) for case in wanted[:4]]
    for each in found:
        assert each["nonfinite"] == 0
        assert each["excess_error"] > 0
    gaussian, banana = found[0], found[2]
    assert abs(gaussian["excess"]) < 0.1
    assert banana["excess"] > 0.5
    for some in (found, found[:1], found[2:]):
        pyplot.close(methods.draw(some))
        assert "Nats above the truth" in methods.report(some)


def method_line(method, excess, error=0.01, lost=0.0, problem="rings"):
    held = {"problem": problem, "dim": 4, "method": method, "excess": excess, "excess_error": error, "seconds": 1.0}
    return held | {"nonfinite": lost, "budget": 2.0}


def test_a_win_of_another_stays():
    rows = [method_line("zuko_nsf", 0.1), method_line("rbig_ica", 0.3), method_line("trained", 0.01, lost=0.5)]
    text = methods.report(rows)
    assert "ours lowest or level on 0 of 1 problems; another lower on rings (zuko_nsf)" in text
    assert "**0.100 ± 0.010**" in text
    assert "50.0% of rows without a finite density" in text
    assert "level on 1 of 1" in methods.report([*rows, method_line("rbig_haar", 0.12)])


def test_a_method_looks_the_same_in_every_panel():
    """Also where the lines of the problems come in other orders."""
    from matplotlib import pyplot

    names = list(methods.FULL["methods"])
    rows = [method_line(name, 0.1) for name in names] + [
        method_line(name, 0.2, problem="ball") for name in reversed(names)
    ]
    figure = methods.draw(rows)
    looks = {}
    for axes in figure.axes:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            drawn = handle[0] if hasattr(handle, "errorbar") or isinstance(handle, tuple) else handle
            looks.setdefault(name, set()).add((drawn.get_color(), drawn.get_marker(), drawn.get_markerfacecolor()))
    pyplot.close(figure)
    assert set(looks) == set(names)
    assert all(len(each) == 1 for each in looks.values())
    assert len({next(iter(each)) for each in looks.values()}) == len(names)


def test_who_is_ours():
    assert [name for name in methods.FULL["methods"] if not theirs(name)] == [
        "rbig_haar", "rbig_pca", "rbig_ica", "trained", "grown_then_trained_ica",
    ]  # fmt: skip


def test_absent_packages_are_left_out(monkeypatch):
    monkeypatch.setattr("benchmarks.registry.PACKAGES", {"zuko_nsf": "no_such_package"})
    assert "zuko_nsf" not in {case["method"] for case in methods.cases(QUICK)}
