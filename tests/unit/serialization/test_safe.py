"""Stage: tests. In: tensors by name. Out: safetensors files, and back; the package writes and checks them.
Next: nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minigrad
from minigrad import nn
from minigrad.dtype import ALL

pytest.importorskip("safetensors")

from safetensors import SafetensorError
from safetensors.numpy import load_file as numpy_load
from safetensors.numpy import save_file as numpy_save

from minigrad.serialization import safe


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    tensors = {d.name: minigrad.ones(2, 3, dtype=d) for d in ALL} | {
        "empty": minigrad.empty(0, 2), "scalar": minigrad.tensor(2.0), "view": minigrad.arange(9)[3:6]}
    safe.save_file(tensors, path, {"by": "hand"})
    for loaded in (safe.load_file(path), safe.load(path.read_bytes()), safe.load(safe.save(tensors)),
                   minigrad.load(path)):
        assert loaded.keys() == tensors.keys()
        for name, tensor in tensors.items():
            assert loaded[name].dtype is tensor.dtype and loaded[name].shape == tensor.shape
            assert loaded[name].tolist() == tensor.tolist()
    with safe.safe_open(path) as file:
        assert file.metadata() == {"by": "hand"} and sorted(file) == sorted(tensors)
        part = file.get_slice("float64")
        assert part.get_shape() == [2, 3] and part.get_dtype() == "F64" and part[0, 1:].tolist() == [1, 1]
        with pytest.raises(KeyError, match="nothing"):
            file.get_tensor("nothing")


def test_other_programs_read_and_write_them(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    safe.save_file({"a": minigrad.arange(3.0)}, path)
    assert numpy_load(path)["a"].tolist() == [0, 1, 2]
    numpy_save({"b": np.arange(4, dtype=np.int16)}, path)
    assert safe.load_file(path)["b"].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(("tensors", "kind", "words"), [
    (lambda: {"a": (x := minigrad.ones(2)), "b": x}, RuntimeError, "Some tensors share memory"),
    (lambda: {"a": minigrad.ones(2, 3).t()}, ValueError, "non contiguous tensor: `a` which is not allowed"),
    (lambda: {"a": 3}, ValueError, "Key `a` is invalid, expected torch.Tensor but received <class 'int'>"),
    (lambda: [1], ValueError, "Expected a dict of .* but received <class 'list'>"),
])
def test_what_is_refused(tensors: Any, kind: type[Exception], words: str, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"old")
    with pytest.raises(kind, match=words):
        safe.save_file(tensors(), path)
    assert path.read_bytes() == b"old"
    with pytest.raises(SafetensorError, match="header too small"):
        safe.load_file(path)


def test_models(tmp_path: Path) -> None:
    def tied() -> nn.Sequential:
        layers = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        layers[1].weight = layers[0].weight
        return layers

    first, second, path = tied(), tied(), tmp_path / "x.safetensors"
    safe.save_model(first, path)
    assert "1.weight" not in safe.load_file(path)
    assert safe.load_model(second, path) == (set(), [])
    assert second[1].weight.tolist() == first[0].weight.tolist()
    with pytest.raises(RuntimeError, match='Missing key.*"0.weight"'):
        safe.save_file({"0.bias": minigrad.ones(2), "1.bias": minigrad.ones(2)}, path)
        safe.load_model(second, path)
