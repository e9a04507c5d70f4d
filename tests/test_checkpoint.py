"""The file of tensors and JSON: whole or not at all, and clear about what is wrong with it."""

import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save as to_bytes

from gaussflow.training import _checkpoint
from gaussflow.training._checkpoint import read_checkpoint, write_checkpoint

TENSORS = {
    "a": torch.arange(6.0).reshape(2, 3),
    "b.c": torch.tensor(7, dtype=torch.int64),
    "empty": torch.empty(0, 4, dtype=torch.float64),
    "half": torch.ones(3, dtype=torch.bfloat16),
    "mask": torch.tensor([2, 0], dtype=torch.int8),
    "state": torch.Generator().manual_seed(3).get_state(),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_checkpoint(tmp_path / "c", TENSORS, {"epoch": 3, "why": "ä"})
    return tmp_path / "c"


def test_what_is_written_is_read(path: Path) -> None:
    tensors, meta = read_checkpoint(path)
    assert meta == {"epoch": 3, "why": "ä"}
    assert set(tensors) == set(TENSORS)
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)


def test_views_shared_storage_and_gradients_are_written_out(tmp_path: Path) -> None:
    whole = torch.arange(12.0, requires_grad=True)
    square = whole.view(3, 4)
    write_checkpoint(tmp_path / "c", {"whole": whole, "part": whole[3:5], "turned": square.T, "same": whole}, {})
    tensors, _ = read_checkpoint(tmp_path / "c")
    assert torch.equal(tensors["turned"], square.T)
    assert torch.equal(tensors["part"], whole[3:5])
    tensors["same"].zero_()
    assert tensors["whole"].sum() == 66


def test_a_file_is_overwritten_whole_or_not_at_all(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    for step in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, step, fail)
            with pytest.raises(OSError, match="disk is full"):
                write_checkpoint(path, TENSORS, {"epoch": 4})
        assert path.read_bytes() == before
        assert os.listdir(path.parent) == ["c"]
    write_checkpoint(path, {}, {"epoch": 4})
    assert read_checkpoint(path) == ({}, {"epoch": 4})


def test_meta_that_is_not_strict_json_is_refused(tmp_path: Path) -> None:
    for value in (float("nan"), float("inf"), object(), {1, 2}):
        with pytest.raises(ValueError, match="strict JSON"):
            write_checkpoint(tmp_path / "c", {}, {"value": value})
    assert not os.listdir(tmp_path)


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no folder"):
        write_checkpoint(tmp_path / "none" / "c", {}, {})
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        read_checkpoint(tmp_path / "c")
    with pytest.raises(ValueError, match="is no file"):
        read_checkpoint(tmp_path)


def _header(**changes: str) -> bytes:
    header = {"format": "gaussflow checkpoint", "version": "1", "meta": "{}"} | changes
    return to_bytes({"a": torch.ones(2)}, header)


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.pkl", b"x")


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda p: p.write_bytes(b""), "cut short"),
    "cut": (lambda p: p.write_bytes(p.read_bytes()[:-3]), "cut short or damaged"),
    "cut in the header": (lambda p: p.write_bytes(p.read_bytes()[:100]), "cut short or damaged"),
    "random": (lambda p: p.write_bytes(bytes(range(256)) * 8), "no safetensors file"),
    "text": (lambda p: p.write_text("a,b,c\n1,2,3\n" * 20), "no safetensors file"),
    "pickle": (lambda p: p.write_bytes(pickle.dumps({"a": 1})), "pickle"),
    "torch.save": (lambda p: torch.save({"a": torch.ones(2)}, p), "pickle"),
    "zip": (_zip, "pickle or a torch.save"),
    "not ours": (lambda p: p.write_bytes(to_bytes({"a": torch.ones(2)})), "calls it nothing"),
    "a model": (lambda p: write_checkpoint(p, {}, {}, kind="model"), "calls it 'gaussflow model'"),
    "another version": (lambda p: p.write_bytes(_header(version="2")), "version '2'.*reads version 1"),
    "no checksum": (lambda p: p.write_bytes(_header()), "checksum"),
    "NaN in the JSON": (lambda p: p.write_bytes(_header(meta='{"x": NaN}')), "NaN is not JSON"),
    "a huge number": (lambda p: p.write_bytes(_header(meta='{"x": 1e999}')), "beyond float64"),
    "deep JSON": (lambda p: p.write_bytes(_header(meta="[" * 100000)), "JSON in its header is broken"),
    "a list": (lambda p: p.write_bytes(_header(meta="[1]")), "is no object"),
    "half of the JSON": (lambda p: p.write_bytes(_header(meta='{"x": ')), "JSON in its header is broken"),
    "a flipped number": (lambda p: p.write_bytes(p.read_bytes()[:-1] + b"\x99"), "checksum"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_is_a_clear_error(path: Path, name: str) -> None:
    spoil, message = WRONG[name]
    spoil(path)
    with pytest.raises(ValueError, match=message):
        read_checkpoint(path)


def test_cut_anywhere_and_flipped_anywhere_is_a_value_error(path: Path) -> None:
    whole = path.read_bytes()
    for end in range(0, len(whole), 7):
        path.write_bytes(whole[:end])
        with pytest.raises(ValueError, match=str(path)):
            read_checkpoint(path)
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x15]) + whole[place + 1 :])
        with pytest.raises(ValueError, match=str(path)):
            read_checkpoint(path)


def test_json_beyond_the_limit_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_checkpoint, "LARGEST_META", 10)
    with pytest.raises(ValueError, match="at most 10 characters"):
        write_checkpoint(path, {}, {"notes": "x" * 20})
    with pytest.raises(ValueError, match="more than the limit"):
        read_checkpoint(path)


def test_the_file_is_plain_safetensors(path: Path) -> None:
    size = int.from_bytes(path.read_bytes()[:8], "little")
    header = json.loads(path.read_bytes()[8 : 8 + size])
    assert header["__metadata__"]["format"] == "gaussflow checkpoint"
