"""Stage: tests of devices. In: the programs of ``corners.py``. Out: every device gives what PyTorch gives, CUDA's
kernels run by this machine's processor among them. Next: ``test_cuda_emulation.py``."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad
from minigrad.runtime.device import devices
from tests.conformance.corners import FAMILIES, Library
from tests.cuda_emulation.device import NAME

PROGRAMS = {name: row for family in FAMILIES for name, row in family.items()}
SHARE = [("CPU", 2), ("NUMPY", 1), ("CC", 18), ("OPENCL", 18), (NAME, 10),
         *[pytest.param(device, 1, marks=pytest.mark.slow) for device in ("CPU", "CC", "OPENCL", NAME)]]
"""Device, and every how many-th program, a complex one of ten among them: compilers take their time."""


def _tensors(value: Any) -> list[minigrad.Tensor]:
    if isinstance(value, (list, tuple)):
        return [t for inner in value for t in _tensors(inner)]
    return [value] if isinstance(value, minigrad.Tensor) else []


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value.detach().tolist() if isinstance(value, minigrad.Tensor) else value


def _close(got: Any, expected: Any) -> bool:
    if isinstance(expected, list):
        return isinstance(got, list) and len(got) == len(expected) and all(map(_close, got, expected))
    if isinstance(expected, (float, complex)):
        return type(got) is type(expected) and bool(np.isclose(got, expected, rtol=2e-5, atol=0, equal_nan=True))
    return type(got) is type(expected) and got == expected


@pytest.mark.parametrize("device, every", SHARE)
def test_programs_of_a_line(device: str, every: int, seed: int, sampled: Callable[[str], None]) -> None:
    """What is still to be computed when all are made is one plan: a device that compiles text does so a few times."""
    reason = next(d.reason for d in devices() if d.name == device)
    if reason:
        pytest.skip(reason)
    chosen = dict(list(PROGRAMS.items())[seed % every::every])
    p = Library(minigrad, device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {name: program(p) for name, (program, _) in chosen.items()}
    assert {str(t.device).partition(":")[0].upper() for t in _tensors(list(found.values()))} == {device}
    minigrad.realize(*[t for t in _tensors(list(found.values())) if t.numel()])
    wrong = {name: (got, PROGRAMS[name][1]) for name, value in found.items()
             if not _close(got := _plain(value), PROGRAMS[name][1])}
    sampled(f"corners: {len(chosen)} of {len(PROGRAMS)} programs on {device}, seed {seed}")
    assert not wrong
