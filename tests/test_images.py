"""Images in: every source gives the same rows, and each thing that can be wrong is said."""

import numpy as np
import pytest
import torch
from PIL import Image

from gaussflow.apps.images import grid_picture, read_images


def bytes_of(n=6, height=5, width=7, channels=None, seed=0):
    shape = (n, height, width) if channels is None else (n, height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def folder_of(path, images, classes=None):
    for i, image in enumerate(images):
        place = path / classes[i] if classes else path
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{i:03}.png")
    return path


class Dataset:
    """As torchvision's are: pairs of an image and a label."""

    def __init__(self, items, classes=None):
        self.items = items
        if classes:
            self.classes = classes

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


def test_every_source_gives_the_same_rows(tmp_path):
    grey, labels = bytes_of(), [0, 1, 0, 1, 2, 2]
    names = ["ant", "bee", "cat"]
    want = torch.from_numpy(grey).flatten(1) / 255
    pairs = list(zip(grey, labels, strict=True))
    sources = {
        "bytes": read_images(grey, labels=labels, classes=names),
        "floats": read_images(torch.from_numpy(grey) / 255, labels=torch.tensor(labels), classes=names),
        "doubles": read_images(grey / 255.0, labels=labels, classes=names),
        "last": read_images(grey[..., None], labels=labels, classes=names),
        "first": read_images(grey[:, None].astype(np.int64), labels=labels, classes=names),
        "folder": read_images(folder_of(tmp_path / "a", grey, [names[k] for k in labels])),
        "tensors": read_images(Dataset([(torch.from_numpy(g)[None] / 255, k) for g, k in pairs], names)),
        "pillow": read_images(Dataset([(Image.fromarray(g), k) for g, k in pairs], names)),
    }
    for name, got in sources.items():
        order = [0, 2, 1, 3, 4, 5] if name == "folder" else range(6)
        torch.testing.assert_close(got.x, want[list(order)], msg=name)
        assert got.labels.tolist() == [labels[i] for i in order], name
        assert (got.x.dtype, got.image_shape, got.classes) == (torch.float32, (1, 5, 7), tuple(names)), name
        assert got.counts == (2, 2, 2)
        assert np.array_equal(got.bytes(), grey[list(order)]), name


def test_colour_is_channel_first_within_a_row(tmp_path):
    colour = bytes_of(4, channels=3)
    last, first = read_images(colour), read_images(colour.transpose(0, 3, 1, 2).copy())
    from_folder = read_images(folder_of(tmp_path, colour))
    for got in (last, first, from_folder):
        assert got.image_shape == (3, 5, 7)
        assert got.labels is None
        assert torch.equal(got.x.reshape(4, 3, 5, 7), torch.from_numpy(colour).permute(0, 3, 1, 2) / 255)
        assert np.array_equal(got.bytes(), colour)


def test_grey_and_colour_in_one_folder(tmp_path):
    folder_of(tmp_path, [bytes_of(1)[0], bytes_of(1, channels=3)[0]])
    assert read_images(tmp_path).image_shape == (3, 5, 7)
    assert read_images(tmp_path, colour=False).image_shape == (1, 5, 7)
    (tmp_path / "001.png").unlink()
    assert read_images(tmp_path).image_shape == (1, 5, 7)
    grey = read_images(tmp_path, colour=True)
    assert torch.equal(grey.x[:, :35], grey.x[:, 35:70])


def test_grey_is_what_pillow_makes_of_colour(tmp_path):
    colour = bytes_of(4, channels=3)
    want = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in colour])
    for source in (colour, folder_of(tmp_path, colour)):
        got = read_images(source, colour=False)
        assert got.image_shape == (1, 5, 7)
        assert np.abs(got.bytes().astype(int) - want).max() <= 1
    grey = read_images(colour[..., 0], colour=True)
    assert np.array_equal(grey.bytes(), colour[..., :1].repeat(3, -1))


def test_size_and_crop(tmp_path):
    squares = np.zeros((2, 20, 30), np.uint8)
    squares[:, 5:15, 10:20] = 255
    got = read_images(squares, crop=10)
    assert got.image_shape == (1, 10, 10)
    assert bool((got.x == 1).all())
    small = read_images(squares, size=(10, 15))
    assert small.image_shape == (1, 10, 15)
    assert small.x.mean().item() == pytest.approx(squares.mean() / 255, abs=1e-3)  # antialiased: no ink is lost
    folder_of(tmp_path, [squares[0], np.zeros((28, 28), np.uint8)])
    assert read_images(tmp_path, size=28).x.shape == (2, 784)
    with pytest.raises(ValueError, match=r"one size.*000.png is 20x30 and .*001.png is 28x28.*Give a size"):
        read_images(tmp_path)


def test_labels_are_places_in_the_classes(tmp_path):
    images = read_images(bytes_of(4), labels=[7, 3, 3, 11])
    assert (images.labels.tolist(), images.classes) == ([1, 0, 0, 2], ("3", "7", "11"))
    named = read_images(bytes_of(3), labels=["b", "a", "b"])
    assert (named.labels.tolist(), named.classes) == ([1, 0, 1], ("a", "b"))
    numbered = read_images(folder_of(tmp_path, bytes_of(3), ["10", "9", "2"]))
    assert numbered.classes == ("2", "9", "10")
    assert images.rows().context_dim == 3
    assert images.take(slice(0, 2)).labels.tolist() == [1, 0]


def test_hidden_files_are_passed_over(tmp_path):
    folder_of(tmp_path, bytes_of(2), ["a", "b"])
    (tmp_path / ".DS_Store").write_text("x")
    (tmp_path / "a" / ".hidden").write_text("x")
    assert len(read_images(tmp_path)) == 2


def spoil(path, what):
    """A folder with one thing wrong."""
    folder_of(path, bytes_of(2), ["a", "b"])
    if what == "text":
        (path / "a" / "notes.txt").write_text("no image")
    elif what == "cut":
        file = path / "b" / "001.png"
        file.write_bytes(file.read_bytes()[:50])
    elif what == "beside":
        (path / "readme.md").write_text("x")
    elif what == "no image in a class":
        (path / "c").mkdir()
    elif what == "deeper":
        (path / "a" / "deep").mkdir()
    elif what == "deep grey":
        Image.fromarray(np.zeros((5, 7), np.uint16)).save(path / "a" / "deep.png")
    elif what == "transparent":
        Image.fromarray(np.zeros((5, 7, 4), np.uint8)).save(path / "a" / "clear.png")
    return path


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("text", r"notes\.txt is no image"),
        ("cut", r"001\.png is no image"),
        ("beside", r"holds files beside its class folders, readme\.md"),
        ("no image in a class", "c holds no image"),
        ("deeper", "a holds the folder deep"),
        ("deep grey", r"deep\.png.*8 bits"),
        ("transparent", r"clear\.png.*transparent"),
    ],
)
def test_a_folder_with_one_thing_wrong(tmp_path, what, message):
    with pytest.raises(ValueError, match=message):
        read_images(spoil(tmp_path / "images", what))


def wrong(value):
    images = np.full((3, 4, 4), 0.5)
    images[1, 2, 2] = value
    return images


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (wrong(np.nan), {}, "NaN or an infinity, the first in image 1"),
        (wrong(np.inf), {}, "NaN or an infinity"),
        (wrong(1.5), {}, r"floats in \[0, 1\].*0.5 to 1.5"),
        (wrong(-0.1), {}, r"from -0.1 to 0.5"),
        (np.full((3, 4, 4), 256), {}, "integers from 0 to 255"),
        (np.full((3, 4, 4), -1), {}, "integers from 0 to 255"),
        (np.zeros((3, 16)), {}, r"\(N, H, W\).*got \(3, 16\)"),
        (np.zeros((3, 2, 4, 4)), {}, "1 or 3 channels"),
        (np.zeros((3, 3, 4, 3)), {}, "cannot tell which axis"),
        (np.zeros((0, 4, 4)), {}, "at least one image"),
        (np.zeros((3, 4, 4)), {"labels": [0, 1]}, "one label for each of 3 images"),
        (np.zeros((3, 4, 4)), {"labels": [0, 1, 2], "classes": ["a", "b"]}, "labels from 0 to 1"),
        (np.zeros((3, 4, 4)), {"labels": [0, -1, 1], "classes": ["a", "b"]}, "labels from 0 to 1"),
        (np.zeros((3, 4, 4)), {"labels": [0, 0.5, 1]}, "integers or names for labels"),
        (np.zeros((3, 4, 4)), {"crop": 5}, "crop of at most the shorter side, 4"),
        (np.zeros((3, 4, 4)), {"size": 0}, "size of at least 1"),
        (Dataset([]), {}, "the data set is empty"),
        (Dataset([(np.zeros((4, 4)), 0), (np.zeros((5, 4)), 0)]), {}, "images of one size"),
    ],
)
def test_arrays_with_one_thing_wrong(source, options, message):
    with pytest.raises(ValueError, match=message):
        read_images(source, **options)


def test_sources_of_another_kind(tmp_path):
    for source in (3, None, Dataset([np.zeros((4, 4))]), np.array(["a"])):
        with pytest.raises(TypeError, match="read_images wants"):
            read_images(source)
    with pytest.raises(ValueError, match="is empty"):
        read_images(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_images(tmp_path / "absent")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(ValueError, match=r"wants a folder, a .npz or a .csv file"):
        read_images(tmp_path / "a.txt")


@pytest.mark.parametrize("channels", [None, 3])
def test_the_picture_shows_each_class_on_its_line(tmp_path, channels):
    grey = np.zeros((4, 9, 9) if channels is None else (4, 9, 9, 3), np.uint8)
    grey[2:] = 255
    images = read_images(grey, labels=[0, 0, 1, 1], classes=["dark", "light"])
    path = tmp_path / "grid.png"
    grid_picture(images, path, columns=2)
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("L"))
    middle = pixels[:, pixels.shape[1] * 2 // 3]
    assert middle[len(middle) // 3] < 10
    assert middle[2 * len(middle) // 3] > 245
    grid_picture([images, images.take(slice(0, 2))], tmp_path / "two.png", titles=["real", "drawn"])
    grid_picture(read_images(grey), tmp_path / "plain.png")
    with pytest.raises(FileNotFoundError):
        grid_picture(images, tmp_path / "absent" / "grid.png")
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]
