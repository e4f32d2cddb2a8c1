"""Fourier transforms beside PyTorch's: values, gradients of both orders, sizes, scalings, types, errors; short-time
transforms and back."""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import minigrad  # noqa: E402

RNG = np.random.default_rng(0)
REAL = RNG.standard_normal((3, 4, 5))
COMPLEX = REAL + 1j * RNG.standard_normal((3, 4, 5))
REAL_ONLY = ("rfft", "ihfft")
ONE = ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")
NORMS = (None, "backward", "ortho", "forward")


def numbers(x):
    x = x.detach()
    return x.resolve_conj().numpy() if hasattr(x, "resolve_conj") else x.numpy()


def weighed(m, x):
    rng = np.random.default_rng(x.numel())
    weights = rng.standard_normal(tuple(x.shape))
    if not x.is_complex():
        return (x * m.tensor(weights)).sum()
    return (x * m.tensor(weights + 1j * rng.standard_normal(tuple(x.shape)))).real.sum()


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a transform without a window warns once
        yield


def run(m, call, array):
    """The value, the gradient, the gradient of its square: a transform is linear, so the second is made of it."""
    x = m.tensor(array, requires_grad=True)
    y = call(m, x)
    first, = m.autograd.grad(weighed(m, y * y), x, create_graph=True)
    second, = m.autograd.grad(weighed(m, first), x)
    return y, first, second


def same(call, array):
    for ours, theirs in zip(run(minigrad, call, array), run(torch, call, array), strict=True):
        assert str(ours.dtype).rpartition(".")[2] == str(theirs.dtype).rpartition(".")[2]
        np.testing.assert_allclose(numbers(ours), numbers(theirs), rtol=1e-9, atol=1e-9)


def arrays(name):
    return (REAL,) if name.startswith(REAL_ONLY) else (REAL, COMPLEX)


@pytest.mark.parametrize("name", ONE)
def test_along_one_dimension(name):
    for array in arrays(name):
        for n, dim, norm in ((None, -1, None), (None, 0, "ortho"), (7, 1, "forward"), (3, 2, "backward"), (2, -1, None),
                             (1, -1, "ortho")):
            same(lambda m, x, n=n, dim=dim, norm=norm: getattr(m.fft, name)(x, n, dim, norm), array)


@pytest.mark.sample(2)
@pytest.mark.parametrize("name", ONE)
def test_along_several_dimensions(name):
    for array in arrays(name):
        for norm in NORMS:
            same(lambda m, x, norm=norm: getattr(m.fft, f"{name}n")(x, norm=norm), array)
        same(lambda m, x: getattr(m.fft, f"{name}2")(x), array)
        same(lambda m, x: getattr(m.fft, f"{name}2")(x, (3, 6), (0, 2), "ortho"), array)
        same(lambda m, x: getattr(m.fft, f"{name}n")(x, (5, -1), (2, 0)), array)
        same(lambda m, x: getattr(m.fft, f"{name}n")(x, dim=(1,)), array)


def test_types():
    for name in (*ONE, "fftn", "rfft2"):
        for dtype in ("float32", "int64", "uint8", "bool", "complex64"):
            if dtype == "complex64" and name.startswith(REAL_ONLY):
                continue
            found = [getattr(m.fft, name)(m.tensor(REAL).to(getattr(m, dtype))) for m in (minigrad, torch)]
            assert str(found[0].dtype).rpartition(".")[2] == str(found[1].dtype).rpartition(".")[2]
            np.testing.assert_allclose(numbers(found[0]), numbers(found[1]), rtol=1e-4, atol=1e-4)


def test_frequencies_and_shifts():
    for call in (lambda m: m.fft.fftfreq(5), lambda m: m.fft.fftfreq(6, 0.5), lambda m: m.fft.rfftfreq(7, 2.0),
                 lambda m: m.fft.rfftfreq(6, dtype=m.float64), lambda m: m.fft.fftfreq(0),
                 lambda m: m.fft.fftshift(m.arange(12).reshape(3, 4)), lambda m: m.fft.ifftshift(m.arange(5)),
                 lambda m: m.fft.fftshift(m.arange(12).reshape(3, 4), dim=1),
                 lambda m: m.fft.ifftshift(m.arange(12).reshape(3, 4), dim=(0,))):
        ours, theirs = call(minigrad), call(torch)
        assert str(ours.dtype).rpartition(".")[2] == str(theirs.dtype).rpartition(".")[2]
        np.testing.assert_array_equal(numbers(ours), numbers(theirs))


def test_out():
    for m in (minigrad, torch):
        out = m.zeros(3, dtype=m.complex64)
        assert m.fft.fft(m.ones(3), out=out) is out
        assert numbers(out)[0] == 3


SIGNAL = RNG.standard_normal((2, 32))


@pytest.mark.sample(4)
@pytest.mark.parametrize("options", [
    {}, {"hop_length": 3}, {"center": False}, {"normalized": True}, {"onesided": False}, {"pad_mode": "constant"},
    {"pad_mode": "replicate", "hop_length": 5}, {"win_length": 5, "window": 5},
    {"window": 8, "center": False}], ids=str)
def test_short_time_transforms(options):
    def call(m, x):
        given = {k: m.tensor(np.hanning(v + 2)[1:-1]) if k == "window" else v for k, v in options.items()}
        return m.stft(x, 8, return_complex=True, **given)

    same(call, SIGNAL)
    same(lambda m, x: call(m, x[0]), SIGNAL)


@pytest.mark.parametrize("options", [
    {}, {"hop_length": 3}, {"center": False}, {"normalized": True}, {"length": 21}, {"length": 40},
    {"win_length": 6, "window": 6}, {"window": 8}], ids=str)
def test_back_from_short_time_transforms(options):
    def call(m, x):
        given = {k: m.tensor(np.hanning(v + 2)[1:-1]) if k == "window" else v for k, v in options.items()}
        return m.istft(x, 8, **given)

    same(call, torch.stft(torch.tensor(SIGNAL), 8, return_complex=True).numpy())


def outcome(call, m):
    try:
        call(m)
    except Exception as error:
        return type(error).__name__, str(error).replace("minigrad.", "torch.")
    return None


@pytest.mark.parametrize("call", [
    lambda m: m.fft.fft(m.tensor(1.0)), lambda m: m.fft.fft(m.zeros(0)), lambda m: m.fft.fft(m.ones(2), n=-1),
    lambda m: m.fft.fft(m.ones(2).half()), lambda m: m.fft.fft(m.ones(2), dim=5),
    lambda m: m.fft.fft(m.ones(2), norm="x"), lambda m: m.fft.rfft(m.ones(2) + 0j),
    lambda m: m.fft.rfftn(m.ones(2) + 0j), lambda m: m.fft.ihfft2(m.ones(2, 2) + 0j),
    lambda m: m.fft.irfft(m.ones(1)), lambda m: m.fft.fftn(m.ones(2, 2), dim=(0, 0)),
    lambda m: m.fft.fftn(m.ones(2, 2), s=(2, 2), dim=(0,)), lambda m: m.fft.fftn(m.ones(2), s=(2, 2)),
    lambda m: m.fft.rfftn(m.ones(2), dim=()), lambda m: m.fft.fft2(m.ones(3)), lambda m: m.fft.fft([1, 2]),
    lambda m: m.fft.fft(m.ones(2), n=2.0), lambda m: m.fft.fft(m.ones(2), out=m.ones(2)),
    lambda m: m.fft.fftfreq(4, dtype=m.int64), lambda m: m.stft(m.ones(8), 4),
    lambda m: m.stft(m.ones(8), 9, center=False, return_complex=True),
    lambda m: m.stft(m.ones(8), 20, return_complex=True), lambda m: m.stft(m.ones(8), 4, 0, return_complex=True),
    lambda m: m.stft(m.ones(8), 4, win_length=5, return_complex=True),
    lambda m: m.stft(m.ones(8), 4, window=m.ones(3), return_complex=True), lambda m: m.istft(m.ones(3, 3), 4),
    lambda m: m.istft(m.ones(3, 3) + 0j, 6), lambda m: m.istft(m.ones(3, 3) + 0j, 4, 9),
    lambda m: m.istft(m.ones(3, 3) + 0j, 4, window=m.zeros(4)),
    lambda m: m.istft(m.ones(3, 3) + 0j, 4, return_complex=True)])
def test_errors(call):
    assert outcome(call, minigrad) == outcome(call, torch) is not None
