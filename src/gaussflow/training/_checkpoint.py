"""One file of tensors and JSON: safetensors with a header of ours, written whole or not at all, read without pickle."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from gaussflow._files import whole

FORMAT_VERSION = 1
LARGEST_META = 2**26  # 64 MiB of JSON; a history of a hundred thousand records stays below it
PathLike: TypeAlias = str | os.PathLike[str]
Layout: TypeAlias = Mapping[str, tuple[tuple[int, ...], torch.dtype | None]]
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def write_checkpoint(
    path: PathLike, tensors: Mapping[str, Tensor], meta: Mapping[str, Any], kind: str = "checkpoint"
) -> None:
    """Write tensors and JSON metadata to one file, whole or not at all: a crash leaves the file that was there.

    Parameters
    ----------
    path
        The file; its folder must exist.
    tensors
        Named tensors of any shape, dtype and device; views and shared storage are written out in full.
    meta
        JSON values; NaN and infinities are not JSON and are refused.
    kind
        What the file is, said again when it is read: "checkpoint" or "model".

    Raises
    ------
    ValueError
        When ``meta`` is not strict JSON.
    FileNotFoundError
        When the folder is not there.
    """
    try:
        text = json.dumps(dict(meta), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"A {kind} holds strict JSON beside its tensors; got {error}.") from error
    if len(text) > LARGEST_META:
        raise ValueError(f"A {kind} holds at most {LARGEST_META} characters of JSON; got {len(text)}.")
    copies = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    header = {"format": f"gaussflow {kind}", "version": str(FORMAT_VERSION), "meta": text}
    header["sha256"] = _digest(text, copies)
    with whole(path, "wb") as file:
        file.write(_in_order(to_bytes(copies, header)))


def read_checkpoint(path: PathLike, kind: str = "checkpoint") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the tensors (on the CPU) and the metadata that `write_checkpoint` wrote.

    Raises
    ------
    FileNotFoundError
        When there is no file.
    ValueError
        When the file is cut short, damaged or no safetensors file, of another kind or format version, or its JSON
        is broken.
    """
    with open_checkpoint(path, kind) as file:
        return file.tensors(), file.meta


class CheckpointFile:
    """An open file: its metadata and the layout of its tensors, judged before any tensor is read.

    Attributes
    ----------
    meta
        The JSON metadata.
    layout
        Shape and dtype of each tensor by name; the dtype is None where it is not one of ours.
    """

    def __init__(self, path: PathLike, kind: str, file: Any) -> None:
        self._path, self._kind, self._file = path, kind, file
        self._header: dict[str, str] = file.metadata() or {}
        self.meta = _meta(path, kind, self._header)
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        self.layout: Layout = {name: (tuple(s.get_shape()), DTYPES.get(s.get_dtype())) for name, s in slices.items()}

    def tensors(self) -> dict[str, Tensor]:
        """All tensors, once their checksum is seen to be right."""
        read = {name: self._file.get_tensor(name).clone() for name in self.layout}
        if self._header.get("sha256") != _digest(self._header.get("meta", ""), read):
            raise ValueError(f"{self._path} is damaged: its checksum does not fit what it holds. Write it again.")
        return read


@contextlib.contextmanager
def open_checkpoint(path: PathLike, kind: str = "checkpoint") -> Iterator[CheckpointFile]:
    """Open a file that `write_checkpoint` wrote; raises as `read_checkpoint` does."""
    if not Path(path).exists():
        raise FileNotFoundError(f"There is no {kind} at {path}.")
    if not Path(path).is_file():
        raise ValueError(f"{path} is no file and so no gaussflow {kind}.")
    try:
        file = safe_open(os.fspath(path), "pt")
    except (SafetensorError, OSError) as error:
        _refuse(path, kind, error)
    with file:
        yield CheckpointFile(path, kind, file)


def _refuse(path: PathLike, kind: str, error: Exception) -> NoReturn:
    """Say what a file that is no whole safetensors file looks like, from its first bytes."""
    with open(path, "rb") as file:
        head = file.read(16)
    size = Path(path).stat().st_size
    if head[:2] == b"PK" or head[:1] == b"\x80":
        guess = "it looks like a pickle or a torch.save file, which gaussflow never opens"
    elif size < 9 or head[8:9] == b"{":
        guess = f"it is cut short or damaged ({size} bytes)"
    else:
        guess = "it is no safetensors file"
    raise ValueError(f"{path} is no gaussflow {kind}: {guess} [{error}]. Write it again.") from error


def _meta(path: PathLike, kind: str, header: Mapping[str, str]) -> dict[str, Any]:
    """The JSON metadata, once format, version and syntax are seen to be right."""
    got, version = header.get("format"), header.get("version")
    if got != f"gaussflow {kind}":
        raise ValueError(f"{path} is no gaussflow {kind}: its header calls it {_short(got)}.")
    if version != str(FORMAT_VERSION):
        raise ValueError(
            f"{path} is a gaussflow {kind} of format version {_short(version)}; this release reads version "
            f"{FORMAT_VERSION}. Read it with the release that wrote it."
        )
    text = header.get("meta", "")
    if len(text) > LARGEST_META:
        raise ValueError(f"{path}: its JSON has {len(text)} characters, more than the limit of {LARGEST_META}.")
    try:
        meta = json.loads(text, parse_constant=_not_json, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: the JSON in its header is broken [{error}]. Write it again.") from error
    if not isinstance(meta, dict):
        raise ValueError(f"{path}: the JSON in its header is no object but {type(meta).__name__}.")
    return meta


def _in_order(data: bytes) -> bytes:
    """The same safetensors file with its header sorted: the library shuffles it, and equal models are equal files."""
    size = int.from_bytes(data[:8], "little")
    text = json.dumps(json.loads(data[8 : 8 + size]), sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors stay aligned
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


def _digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of the metadata and of name, shape, dtype and bytes of every tensor."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        if tensor.numel():  # an empty one may have strides that no view takes
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _short(text: str | None) -> str:
    return "nothing" if text is None else repr(text[:60])


def _not_json(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if abs(number) == float("inf"):
        raise ValueError(f"{digits[:20]} is beyond float64")
    return number
