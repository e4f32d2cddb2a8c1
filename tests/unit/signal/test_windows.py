"""Stage: tests. In: lengths. Out: windows as NumPy has them.
Next: ``tests/unit/special``."""

import numpy as np
import pytest

import minigrad
from minigrad.signal import windows

NUMPYS = {"bartlett": np.bartlett, "blackman": np.blackman, "hamming": np.hamming, "hann": np.hanning}


@pytest.mark.parametrize("name", NUMPYS)
@pytest.mark.parametrize("length", [0, 1, 2, 7, 8])
def test_windows_are_numpys(name, length):
    made = getattr(windows, name)
    np.testing.assert_allclose(made(length, dtype=minigrad.float64).numpy(), NUMPYS[name](length), atol=1e-15)
    if length > 1:
        periodic = made(length, sym=False, dtype=minigrad.float64).numpy()
        np.testing.assert_allclose(periodic, NUMPYS[name](length + 1)[:-1], atol=1e-15)


def test_kaiser_is_numpys():
    made = windows.kaiser(9, beta=8.5, dtype=minigrad.float64)
    np.testing.assert_allclose(made.numpy(), np.kaiser(9, 8.5), rtol=1e-7)


@pytest.mark.parametrize(("call", "words"), [
    (lambda: windows.hann(-1), "requires non-negative window length, got M=-1"),
    (lambda: windows.hann(3, dtype=minigrad.int64), "expects float32 or float64 dtypes"),
    (lambda: windows.exponential(3, tau=0), "Tau must be positive"),
    (lambda: windows.exponential(3, center=1.0), "Center must be None for symmetric windows"),
    (lambda: windows.gaussian(3, std=-1), "Standard deviation must be positive"),
    (lambda: windows.kaiser(3, beta=-1), "beta must be non-negative"),
    (lambda: windows.general_cosine(3, a=[]), "Coefficients cannot be empty"),
])
def test_errors(call, words):
    with pytest.raises(ValueError, match=words):
        call()
