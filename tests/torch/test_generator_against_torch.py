"""Stage: tests beside PyTorch. In: ``minigrad.tensor.generator`` and ``torch``. Out: the same numbers, and the
same state after every draw. Skipped where PyTorch is not installed. Uniform and integer numbers are compared
to the bit, normal ones to 1e-6 standard deviations (half types to their last bit).
Next: ``test_printing_against_torch.py``."""

from pathlib import Path

import numpy as np
import pytest

from minigrad.dtype import BY_NAME, FLOATS, DType, float16, float32, float64
from minigrad.tensor.generator import Generator

torch = pytest.importorskip("torch")

SHAPES = [(), (0,), (1,), (2,), (15,), (16,), (17,), (31,), (3, 5), (4, 4), (7, 11, 13), (0, 3), (624,), (1000, 3)]
RANGES = [(0.0, 1.0), (-0.31, 1.57), (5.0, 5.25), (-1e-3, 1e-3), (0.0, 3e4), (2.0, 2.0), (1.0, 1.0000005), (-3e-9, 1.0)]
INTEGER_RANGES = [(0, 1), (0, 10), (-7, 5), (0, 2**28 - 1), (0, 2**28), (-(2**40), 2**50), (-(2**63), 2**63 - 1)]

SPARE = slice(5024, 5032)  # where a state keeps the second number of an odd draw of normals

_CPU = Path("/proc/cpuinfo")
other_stream_on_intel = pytest.mark.skipif(
    _CPU.exists() and "GenuineIntel" in _CPU.read_text(),
    reason="on Intel processors PyTorch draws bernoulli_ and exponential_ from MKL's own stream")


def values(tensor) -> np.ndarray:
    return tensor.double().numpy() if tensor.dtype.is_floating_point else tensor.numpy()


class Pair:
    """Both generators; a comparison checks values, shape and the state after the draw."""

    def __init__(self, seed: int) -> None:
        self.theirs, self.ours = torch.Generator().manual_seed(seed), Generator(seed)

    def check(self, theirs, ours: np.ndarray, tolerance: float = 0.0) -> None:
        assert tuple(theirs.shape) == ours.shape
        assert str(theirs.dtype) == f"torch.{ours.dtype.name}"
        expected = values(theirs)
        drawn = ours.astype(expected.dtype)
        assert np.all(np.abs(drawn - expected) <= tolerance if tolerance else drawn == expected)
        theirs_state, ours_state = self.theirs.get_state().numpy(), self.ours.get_state().numpy()
        # the spare normal number comes from each side's own log1p, sin and cos
        spares = [float(state[SPARE].view(np.float64)[0]) for state in (theirs_state, ours_state)]
        if theirs_state[SPARE.stop + 8]:
            assert abs(spares[0] - spares[1]) < 1e-12
        assert (np.delete(theirs_state, SPARE) == np.delete(ours_state, SPARE)).all()


def torch_type(dtype: DType):
    return getattr(torch, dtype.name)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_uniform(dtype: DType) -> None:
    pair = Pair(11)
    for low, high in RANGES:
        for shape in SHAPES:
            theirs = torch.empty(shape, dtype=torch_type(dtype)).uniform_(low, high, generator=pair.theirs)
            pair.check(theirs, pair.ours.uniform(shape, low, high, dtype))


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_normal(dtype: DType) -> None:
    pair = Pair(12)
    for mean, std in ((0.0, 1.0), (0.5, 2.0), (-3.0, 0.02), (1.0, 0.0)):
        tolerance = max(std, abs(mean)) * {"float16": 4e-3, "bfloat16": 3e-2}.get(dtype.name, 1e-6)
        for shape in SHAPES:
            theirs = torch.empty(shape, dtype=torch_type(dtype)).normal_(mean, std, generator=pair.theirs)
            pair.check(theirs, pair.ours.normal(shape, mean, std, dtype), tolerance)


def test_integers() -> None:
    pair = Pair(13)
    for low, high in INTEGER_RANGES:
        for shape in SHAPES:
            theirs = torch.randint(low, high, shape, generator=pair.theirs)
            pair.check(theirs, pair.ours.randint(low, high, shape))
    for n in (0, 1, 2, 3, 10, 1000, 60000):
        pair.check(torch.randperm(n, generator=pair.theirs), pair.ours.randperm(n))


@pytest.mark.parametrize("name", ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32",
                                  "float64"])
def test_random_without_bounds(name: str) -> None:
    pair = Pair(14)
    theirs = torch.empty((1000,), dtype=getattr(torch, name)).random_(generator=pair.theirs)
    pair.check(theirs, pair.ours.random(1000, BY_NAME[name]))


@other_stream_on_intel
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_exponential(dtype: DType) -> None:
    pair = Pair(15)
    for rate in (1.0, 0.3, 20.0):
        for shape in SHAPES:
            theirs = torch.empty(shape, dtype=torch_type(dtype)).exponential_(rate, generator=pair.theirs)
            pair.check(theirs, pair.ours.exponential(shape, rate, dtype), 1e-6 / rate)


@other_stream_on_intel
def test_bernoulli() -> None:
    pair = Pair(16)
    for p in (0.0, 0.1, 0.5, 0.9, 1.0):
        for shape in SHAPES:
            theirs = torch.empty(shape, dtype=torch.bool).bernoulli_(p, generator=pair.theirs)
            pair.check(theirs, pair.ours.bernoulli(shape, p))


@pytest.mark.parametrize("dtype", [float32, float64, float16], ids=str)
def test_bernoulli_of_an_array(dtype: DType) -> None:
    pair = Pair(17)
    p = pair.ours.uniform((30, 40), dtype=dtype)
    torch.empty(p.shape, dtype=torch_type(dtype)).uniform_(generator=pair.theirs)
    theirs = torch.bernoulli(torch.from_numpy(p), generator=pair.theirs)
    pair.check(theirs.bool(), pair.ours.bernoulli(p.shape, p))


@other_stream_on_intel
@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
@pytest.mark.parametrize("shape", [(9,), (5, 9), (3, 700)])
def test_multinomial(dtype: DType, shape: tuple) -> None:
    pair = Pair(18)
    weights = pair.ours.uniform(shape, dtype=dtype)
    torch.empty(shape, dtype=torch_type(dtype)).uniform_(generator=pair.theirs)
    for samples, replacement in ((1, False), (4, False), (9, False), (1, True), (30, True)):
        theirs = torch.multinomial(torch.from_numpy(weights), samples, replacement, generator=pair.theirs)
        pair.check(theirs, pair.ours.multinomial(weights, samples, replacement))


@other_stream_on_intel
def test_dropout_mask() -> None:
    before = torch.get_rng_state()
    try:
        torch.manual_seed(5)
        kept = torch.nn.functional.dropout(torch.ones(1000), 0.3) != 0
    finally:
        torch.set_rng_state(before)
    assert (kept.numpy() == Generator(5).bernoulli(1000, 0.7)).all()


@pytest.mark.parametrize("seed", [0, 1, 42, 2**32 - 1, 2**32, 2**63, 2**64 - 1, -1, -12345])
def test_interleaved_draws(seed: int) -> None:
    pair = Pair(seed)
    assert pair.theirs.initial_seed() == pair.ours.initial_seed()
    choices = np.random.RandomState(abs(seed) % 1000)
    for _ in range(120):
        kind, n = choices.randint(6), int(choices.choice([1, 2, 3, 7, 15, 16, 20, 33, 300]))
        if kind == 0:
            pair.check(torch.rand(n, generator=pair.theirs), pair.ours.uniform32(n))
        elif kind == 1:
            pair.check(torch.randn(n, generator=pair.theirs), pair.ours.normal(n), 1e-6)
        elif kind == 2:
            pair.check(torch.randn(n, generator=pair.theirs, dtype=torch.float64),
                       pair.ours.normal(n, dtype=float64), 1e-6)
        elif kind == 3:
            pair.check(torch.randint(0, n, (n,), generator=pair.theirs), pair.ours.randint(0, n, n))
        elif kind == 4:
            pair.check(torch.randperm(n, generator=pair.theirs), pair.ours.randperm(n))
        else:
            drawn = torch.empty((), dtype=torch.int64).random_(generator=pair.theirs)
            pair.check(drawn, np.array(pair.ours.random64() % 2**63))


def test_states_are_exchanged() -> None:
    pair = Pair(19)
    torch.randn(5, generator=pair.theirs)
    torch.rand(1000, generator=pair.theirs)
    pair.ours.set_state(pair.theirs.get_state().numpy())
    pair.check(torch.randn(3, generator=pair.theirs), pair.ours.normal(3), 1e-6)
    pair.ours.uniform32(77)
    pair.theirs.set_state(torch.from_numpy(pair.ours.get_state().numpy()))
    pair.check(torch.rand(3, generator=pair.theirs), pair.ours.uniform32(3))
