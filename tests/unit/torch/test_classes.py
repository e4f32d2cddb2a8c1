"""Stage: tests. In: what programs ask with ``isinstance``: dtypes, devices, layouts, types of Tensors. Out: classes, as
in PyTorch, with the names that they have there.
Next: ``tests/unit/torch/test_runner.py``."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from typing import Any

import pytest

import minigrad

KINDS = {"dtype": (minigrad.float32, minigrad.bool), "device": (minigrad.device("cpu"),),
         "Size": (minigrad.ones(2, 3).shape,), "Generator": (minigrad.default_generator,),
         "layout": (minigrad.strided, minigrad.sparse_coo, minigrad.ones(1).layout),
         "memory_format": (minigrad.channels_last, minigrad.contiguous_format),
         "FloatTensor": (minigrad.ones(1),), "LongTensor": (minigrad.tensor([1]),), "Tensor": (minigrad.ones(1),)}


@pytest.mark.parametrize("name", KINDS)
def test_names_of_kinds_are_classes(name: str) -> None:
    kind = getattr(minigrad, name)
    assert isinstance(kind, type)
    for other, values in KINDS.items():
        for value in values:
            same = name == other or (name == "Tensor" and other.endswith("Tensor"))
            assert isinstance(value, kind) is (same or (other == "Tensor" and name == "FloatTensor")), (name, value)


def test_a_word_is_one_object_and_prints_as_its_name() -> None:
    for name in ("strided", "sparse_csr", "channels_last", "preserve_format"):
        word: Any = getattr(minigrad, name)
        assert repr(word) == f"minigrad.{name}"
        assert copy.deepcopy(word) is word and pickle.loads(pickle.dumps(word)) is word
        with pytest.raises(TypeError, match="cannot create 'minigrad.(layout|memory_format)' instances"):
            type(word)(0)


def test_the_module_of_dtypes_is_still_imported_by_its_name() -> None:
    from minigrad.dtype import ALL, DType

    assert minigrad.dtype is DType and minigrad.float32 in ALL
    assert pickle.loads(pickle.dumps(minigrad.dtype)) is DType
    assert pickle.loads(pickle.dumps(minigrad.float64)) is minigrad.float64


def test_in_a_program_of_pytorch() -> None:
    program = ("import torch; x = torch.ones(2); print(torch.dtype, isinstance(x.dtype, torch.dtype), torch.layout, "
               "x.layout, isinstance(x.layout, torch.layout), torch.FloatTensor, isinstance(x, torch.FloatTensor), "
               "torch.channels_last, isinstance(torch.channels_last, torch.memory_format), torch.finfo)")
    run = subprocess.run([sys.executable, "-m", "minigrad.torch", "-c", program], capture_output=True, text=True)
    assert run.stdout == ("<class 'torch.dtype'> True <class 'torch.layout'> torch.strided True "
                          "<class 'torch.FloatTensor'> True torch.channels_last True <class 'torch.finfo'>\n"), run
