"""Stage: tests. In: attention of two lengths, forward and backward, by the function and by hand. Out: peak memory that
grows with the length, not with its square.
Next: ``tests/unit/nn/test_functional.py``."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEADS, WIDTH = 2, 32

PROGRAM = """
import resource, sys, minigrad
from minigrad.nn import functional as F

def by_hand(q, k, v):
    return (q @ k.transpose(-2, -1) * 0.2).softmax(-1) @ v

attention = by_hand if sys.argv[1] == "by hand" else F.scaled_dot_product_attention

def peak(length):
    q, k, v = [minigrad.randn(1, {heads}, length, {width}, requires_grad=True) for _ in range(3)]
    attention(q, k, v).square().sum().backward()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10

print(peak(1024), peak(2048), peak(4096))
""".replace("{heads}", str(HEADS)).replace("{width}", str(WIDTH))


@pytest.mark.parametrize("kind", ["function", "by hand"])
def test_peak_memory_grows_with_the_length(kind: str) -> None:
    """MiB of the whole process; the first length has compiled kernels of the same kind."""
    pytest.importorskip("resource")
    found = subprocess.run([sys.executable, "-c", PROGRAM, kind], check=True, capture_output=True, text=True)
    first, _, last = map(int, found.stdout.split())
    scores = HEADS * 4096 * 4096 * 4 >> 20
    assert last - first < scores // 3, f"{found.stdout}: the scores alone are {scores} MiB"
