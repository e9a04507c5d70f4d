"""Labelled sets: equal counts, bytes, reproducible, files that come back, and the words of the command line."""

import csv

import numpy as np
import pytest
import torch

import gaussflow
from gaussflow import conditional_vae_28
from gaussflow.apps.images import read_images
from gaussflow.apps.labelled_set import draw_labelled_set, write_labelled_set
from gaussflow.cli import main


class Painter:
    """A conditional model whose images are known: class k is drawn in grey k / 10, and the first pixel is noise."""

    def __init__(self, classes=3, shape=(1, 4, 5), scale=1.0):
        self.context_dim, self.image_shape, self.scale = classes, shape, scale

    def sample(self, shape=(), context=None, generator=None):
        grey = (context * torch.arange(self.context_dim)).sum(-1) / 10
        x = grey[..., None].expand(shape, len(context), int(np.prod(self.image_shape))).clone()
        x[..., 0] = torch.rand(x.shape[:-1], generator=generator)
        return self.scale * x


def small(classes=3, seed=0):
    torch.manual_seed(seed)
    return conditional_vae_28(classes, latent_dim=3, widths=(4, 4, 4)).eval()


def test_each_class_has_its_images_in_equal_counts():
    images = draw_labelled_set(Painter(), 4, classes=["a", "b", "c"], seed=1)
    assert images.counts == (4, 4, 4)
    assert images.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    torch.testing.assert_close(images.x[:, 1], torch.round(255 * images.labels / 10) / 255)
    assert (images.classes, images.image_shape) == (("a", "b", "c"), (1, 4, 5))


def test_pixels_are_bytes_and_never_leave_their_range():
    images = draw_labelled_set(Painter(scale=30.0), 50, seed=0)
    assert float(images.x.max()) == 1
    assert torch.equal(images.x, torch.from_numpy(images.bytes()).flatten(1) / 255)
    low = draw_labelled_set(Painter(scale=-1.0), 5, seed=0)
    assert float(low.x.abs().max()) == 0


def test_the_same_seed_gives_the_same_set_whatever_was_drawn_before():
    model = small()
    one = draw_labelled_set(model, 5, seed=7)
    torch.rand(100)
    two, other = draw_labelled_set(model, 5, seed=7), draw_labelled_set(model, 5, seed=8)
    assert torch.equal(one.x, two.x)
    assert not torch.equal(one.x, other.x)
    assert not torch.equal(draw_labelled_set(model, 5).x, draw_labelled_set(model, 5).x)


class Wary:
    """A classifier that takes an image for another class where its first pixel, noise, is above a limit."""

    def __init__(self, limit):
        self.limit, self.seen = limit, []

    def predict(self, images):
        self.seen.append(len(images))
        return torch.where(images.x[:, 0] > self.limit, (images.labels + 1) % 3, images.labels)


def test_what_a_classifier_takes_for_another_class_is_drawn_anew():
    plain, wary = draw_labelled_set(Painter(), 40, seed=1), Wary(0.5)
    checked = draw_labelled_set(Painter(), 40, checked_by=wary, seed=1)
    assert float(checked.x[:, 0].max()) <= 0.5
    kept = plain.x[:, 0] <= 0.5
    assert torch.equal(checked.x[kept], plain.x[kept])
    assert torch.equal(checked.labels, plain.labels)
    torch.testing.assert_close(checked.x[:, 1], torch.round(255 * checked.labels / 10) / 255)
    assert wary.seen[:2] == [120, int((~kept).sum())]  # only the doubtful ones again
    assert wary.seen == sorted(wary.seen, reverse=True)
    agreeing = Wary(1.0)
    assert torch.equal(draw_labelled_set(Painter(), 40, checked_by=agreeing, seed=1).x, plain.x)
    assert agreeing.seen == [120]


def test_a_classifier_that_never_agrees_is_told_of():
    with pytest.raises(ValueError, match="3 images of 0, 1, 2 21 times, and the classifier took them for another"):
        draw_labelled_set(Painter(), 1, checked_by=Wary(-1.0), seed=0)


def test_a_flow_with_context_draws_too():
    flow = gaussflow.Flow(gaussflow.AffineCoupling(12, [0, 1, 2, 3, 4, 5], context_dim=2))
    images = draw_labelled_set(flow, 3, image_shape=(3, 2, 2), seed=0)
    assert images.bytes().shape == (6, 2, 2, 3)
    with pytest.raises(ValueError, match=r"image_shape \(C, H, W\) for rows of 12"):
        draw_labelled_set(flow, 3)


def test_models_that_draw_no_set():
    with pytest.raises(TypeError, match="a model with context"):
        draw_labelled_set(gaussflow.Flow(gaussflow.Standardize(4)), 3)
    with pytest.raises(ValueError, match="3 names of classes; got 2"):
        draw_labelled_set(Painter(), 3, classes=["a", "b"])
    with pytest.raises(ValueError, match="per_class of at least 1"):
        draw_labelled_set(Painter(), 0)
    with pytest.raises(ValueError, match="with a NaN"):
        draw_labelled_set(Painter(scale=float("nan")), 3)


@pytest.mark.parametrize("suffix", ["csv", "npz"])
def test_files_come_back(tmp_path, suffix):
    images = draw_labelled_set(small(), 6, seed=1)
    path = tmp_path / f"set.{suffix}"
    write_labelled_set(images, path)
    again = read_images(path)
    assert torch.equal(again.x, images.x)
    assert torch.equal(again.labels, images.labels)
    assert (again.classes, again.image_shape) == (images.classes, images.image_shape)
    first = path.read_bytes()
    write_labelled_set(images, path)
    assert path.read_bytes() == first


def test_csv_has_the_label_first_and_785_columns(tmp_path):
    images = draw_labelled_set(small(), 2, seed=1)
    write_labelled_set(images, tmp_path / "set.csv")
    with open(tmp_path / "set.csv", newline="") as file:
        header, *lines = csv.reader(file)
    assert header[0] == "label"
    assert {len(line) for line in [header, *lines]} == {785}
    assert [int(line[0]) for line in lines] == images.labels.tolist()
    assert np.array_equal(np.array(lines, dtype=int)[:, 1:], images.bytes().reshape(6, -1))


def test_npz_holds_bytes_integers_and_names_and_no_objects(tmp_path):
    images = draw_labelled_set(Painter(shape=(3, 4, 5)), 2, classes=["ä", "b", "c"], seed=0)
    write_labelled_set(images, tmp_path / "set.npz")
    with np.load(tmp_path / "set.npz", allow_pickle=False) as held:
        assert (held["images"].shape, held["images"].dtype) == ((6, 4, 5, 3), np.uint8)
        assert held["labels"].dtype == np.int64
        assert held["classes"].tolist() == ["ä", "b", "c"]
    assert torch.equal(read_images(tmp_path / "set.npz").x, images.x)


def test_files_are_whole_or_not_there(tmp_path, monkeypatch):
    images = draw_labelled_set(Painter(), 2, seed=0)
    for name in ("set.csv", "set.npz"):
        write_labelled_set(images, tmp_path / name)
        before = (tmp_path / name).read_bytes()
        broken = images.take(slice(0, 4))
        monkeypatch.setattr("os.replace", lambda *a: (_ for _ in ()).throw(OSError("no space")))
        with pytest.raises(OSError, match="no space"):
            write_labelled_set(broken, tmp_path / name)
        monkeypatch.undo()
        assert (tmp_path / name).read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["set.csv", "set.npz"]
    for bad, message in (("set.txt", "writes .csv and .npz"), ("set", "writes .csv and .npz")):
        with pytest.raises(ValueError, match=message):
            write_labelled_set(images, tmp_path / bad)
    for name in ("a.csv", "a.npz"):
        with pytest.raises(ValueError, match="wants a label for each image"):
            write_labelled_set(read_images(np.zeros((2, 4, 4))), tmp_path / name)
    with pytest.raises(FileNotFoundError):
        write_labelled_set(images, tmp_path / "absent" / "a.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "wants a header"),
        ("0,1,2,3,4\n1,2,3,4,5\n", "wants a header, label first"),
        ("label,a,b,c,d\n", "below its header"),
        ("label,a,b,c,d\n0,1,2,3\n", "lines of 5 numbers"),
        ("label,a,b,c,d\n0,1,2,3,4\n0,1,2\n", "lines of one length"),
        ("label,a,b,c,d\n0,1,2,3,x\n", "whole numbers"),
        ("label,a,b,c,d\n0,1,2,3,0.5\n", "whole numbers"),
        ("label,a,b,c,d\n0,1,2,3,256\n", "integers from 0 to 255"),
        ("label,a,b,c\n0,1,2,3\n", "3 pixels a line, no image"),
    ],
)
def test_csv_with_one_thing_wrong(tmp_path, text, message):
    (tmp_path / "set.csv").write_text(text)
    with pytest.raises(ValueError, match=message) as raised:
        read_images(tmp_path / "set.csv")
    assert "set.csv" in str(raised.value)


def test_npz_with_one_thing_wrong(tmp_path):
    path = tmp_path / "set.npz"
    path.write_text("no archive")
    with pytest.raises(ValueError, match="no NPZ file"):
        read_images(path)
    np.savez(path, pictures=np.zeros((2, 4, 4)))
    with pytest.raises(ValueError, match="wants an array 'images'; it holds pictures"):
        read_images(path)
    np.savez(path, images=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="no NPZ file"):
        read_images(path)
    np.savez(path, images=np.zeros((2, 4, 4)), labels=[0, 1, 2])
    with pytest.raises(ValueError, match=r"set.npz: .*one label for each of 2"):
        read_images(path)


# the command line


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a labelled set and a model that learned from it."""
    folder = tmp_path_factory.mktemp("images")
    pixels = np.zeros((24, 28, 28), np.uint8)
    pixels[::2, 5:20, 12:16] = 255
    pixels[1::2, 12:16, 5:20] = 255
    write_labelled_set(read_images(pixels, labels=np.arange(24) % 2, classes=["up", "level"]), folder / "real.npz")
    write_labelled_set(read_images(pixels, labels=np.arange(24) % 2), folder / "other.npz")
    words = ["learn-images", str(folder / "real.npz"), "--out", str(folder / "model"), "--epochs", "2", "--quiet"]
    assert main([*words, "--latent", "3"]) == 0
    return folder


@pytest.fixture
def at(folder, monkeypatch):
    """Work in that folder."""
    monkeypatch.chdir(folder)
    return folder


def test_learn_draw_and_judge(at, capsys):
    words = ["draw", "model", "--per-class", "6", "--seed", "1"]
    assert main([*words, "--out", "one.csv", "--grid", "grid.png"]) == 0
    assert main([*words, "--out", "two.npz"]) == 0
    assert "wrote 6 images of each of 2 classes to one.csv" in capsys.readouterr().out
    one, two = read_images("one.csv"), read_images("two.npz")
    assert torch.equal(one.x, two.x)
    assert (two.counts, two.classes) == ((6, 6), ("up", "level"))
    assert (at / "grid.png").read_bytes()[1:4] == b"PNG"
    real = ["--learned-from", "real.npz", "--held-out", "real.npz", "--size", "8", "--epochs", "2"]
    said = []
    for drawn in ("two.npz", "one.csv"):  # a CSV file has numbers for names
        assert main(["judge", drawn, *real]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert all(f"  {name} " in said[0] for name in ("up", "level"))


def test_a_set_is_drawn_under_the_eyes_of_a_classifier(at, monkeypatch):
    made = []

    class Fitted(Wary):
        def __init__(self, augment):
            super().__init__(1.0)
            made.append(self)

        def fit(self, images):
            self.images = images
            return self

    monkeypatch.setattr("gaussflow.cli._images.Judge", Fitted)
    words = ["draw", "model", "--per-class", "6", "--seed", "1", "--checked-by", "real.npz", "--out", "checked.npz"]
    assert main(words) == 0
    assert (made[0].seen, len(made[0].images)) == ([12], 24)


def test_the_model_is_the_same_for_the_same_seed(at, capsys):
    words = ["learn-images", "real.npz", "--epochs", "1", "--latent", "3", "--quiet"]
    for name in ("first", "second"):
        assert main([*words, "--out", name]) == 0
    assert "learned 24 images of 2 classes" in capsys.readouterr().out
    states = [gaussflow.load(name).state_dict() for name in ("first", "second")]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert gaussflow.read_notes("first")["classes"] == ["up", "level"]


MISTAKES = {
    "no images": (["learn-images", "absent", "--out", "m"], "absent: No such file"),
    "no labels": (["learn-images", "plain", "--out", "m"], "no images of at least two classes"),
    "no epochs": (["learn-images", "real.npz", "--out", "m", "--epochs", "0"], "--epochs wants a number of at least 1"),
    "the set is the output": (["learn-images", "real.npz", "--out", "real.npz", "--force"], "is an input"),
    "a model of tables": (["draw", "flow", "--per-class", "3", "--out", "m.csv"], "not one of images"),
    "no model": (["draw", "absent", "--per-class", "3", "--out", "m.csv"], "no model at absent"),
    "none of a class": (["draw", "model", "--per-class", "0", "--out", "m.csv"], "--per-class wants a number"),
    "another suffix": (["draw", "model", "--per-class", "1", "--out", "m.txt"], "writes .csv and .npz"),
    "an output that is there": (["draw", "model", "--per-class", "1", "--out", "real.npz"], "real.npz exists"),
    "one file twice": (["draw", "model", "--per-class", "1", "--out", "m.csv", "--grid", "m.csv"], "cannot be both"),
    "checked by other classes": (
        ["draw", "model", "--per-class", "1", "--out", "m.csv", "--checked-by", "other.npz"],
        "other.npz has the classes 0, 1, and the model up, level",
    ),
    "nothing held out": (["judge", "real.npz", "--learned-from", "real.npz"], "--held-out"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_get_one_line(at, name, capsys):
    words, wanted = MISTAKES[name]
    (at / "plain").mkdir(exist_ok=True)
    if not (at / "plain" / "a.png").exists():
        gaussflow.apps.images.grid_picture(read_images("real.npz"), at / "plain" / "a.png")
    gaussflow.save(gaussflow.Flow(gaussflow.Standardize(3)), at / "flow")
    try:
        code = main(words)
    except SystemExit as stop:
        code = stop.code
    said = capsys.readouterr()
    assert (code, said.out, said.err.count("\n")) == (2, "", 1)
    assert wanted in said.err
    assert not list(at.glob("m*.csv"))
    assert not (at / "m").exists()
