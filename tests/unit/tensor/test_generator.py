"""Stage: tests of tensor. In: ``minigrad.tensor.generator``. Out: golden numbers hold; every refusal says why.
The numbers were printed by PyTorch 2.13 (CPU) after ``manual_seed(42)`` unless a test says another seed;
``tests/torch/test_generator_against_torch.py`` compares many more where PyTorch is there.
Next: ``test_printing.py``."""

import copy
import hashlib
import os
import pickle
import sys
import threading
from fractions import Fraction

import numpy as np
import pytest

from minigrad.dtype import BY_NAME, FLOATS, DType, bfloat16, bool_, float16, float32, float64, int64
from minigrad.tensor import generator, normals, shuffle
from minigrad.tensor.generator import Generator


@pytest.fixture
def g() -> Generator:
    return Generator(42)


def same(array: np.ndarray, expected: list) -> None:
    assert array.astype(np.float64).tolist() == expected


def near(array: np.ndarray, expected: list) -> None:
    assert np.abs(array.astype(np.float64) - np.array(expected)).max() <= 1e-6


def test_uniform(g: Generator) -> None:
    same(g.uniform32(3), [0.8822692632675171, 0.9150039553642273, 0.38286375999450684])
    g.manual_seed(42)
    same(g.uniform32((1, 3), -0.31, 1.57)[0], [1.3486663103103638, 1.4102075099945068, 0.40978389978408813])
    g.manual_seed(42)
    same(g.uniform64(3, -0.31, 1.57), [-0.20066956639251218, -0.19172888524179418, -0.07765818318411101])


@pytest.mark.parametrize(("dtype", "expected"), [
    (float16, [0.88232421875, 0.9150390625, 0.3828125]), (bfloat16, [0.8828125, 0.9140625, 0.3828125])])
def test_uniform_of_half_types(g: Generator, dtype: DType, expected: list) -> None:
    numbers = g.uniform(3, dtype=dtype)
    assert numbers.dtype == dtype.numpy
    same(numbers, expected)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_uniform_stays_below_high(g: Generator, dtype: DType) -> None:
    # a range of a few units in the last place: much of it would round up to ``high``
    high = 1 + 4 * float(np.spacing(np.array(1, dtype.numpy)))
    numbers = g.uniform(1000, 1, high, dtype).astype(np.float64)
    assert set(numbers) == {1 + (high - 1) * k / 4 for k in range(4)}


def test_fused_multiply_add_rounds_once() -> None:
    a = np.array([1 + 2.0**-30, 0.1, 0.7])
    # the last pair lies just below a tie, which only rounding to odd sees
    for factor, summand in ((1 + 2.0**-30, -1.0), (1.88, -0.31), (3.0, 1e-9), (1e-3, 5.0),
                            ((1 - 2.0**-30) * 2.0**-53, 1 + 2.0**-52)):
        exact = [float(Fraction(float(x)) * Fraction(factor) + Fraction(summand)) for x in a]
        assert normals.fused(a, factor, summand).tolist() == exact


def test_normal_below_16_elements(g: Generator) -> None:
    near(g.normal(5), [0.33669036626815796, 0.12880940735340118, 0.23446236550807953, 0.23033303022384644,
                       -1.1228563785552979])


def test_normal_in_whole_blocks(g: Generator) -> None:
    numbers = g.normal((4, 4)).reshape(-1)
    near(numbers[[0, 1, 7, 8, 15]], [1.9269152879714966, 1.4872840642929077, -1.6046669483184814,
                                     -0.7521352767944336, 0.7624453902244568])


def test_normal_with_a_redrawn_end(g: Generator) -> None:
    near(g.normal(19)[[0, 1, 2, 3, 4, 17, 18]], [1.9269152879714966, 1.4872840642929077, 0.9007171988487244,
                                                 0.439589262008667, -0.7581311464309692, -0.3957104980945587,
                                                 0.8034093379974365])
    same(g.uniform32(1), [0.8089749813079834])


@pytest.mark.parametrize(("dtype", "expected", "following"), [
    (float64, [0.2995562877502637, 0.28320739441795323, 0.618669993885617, -1.526543923410825], 0.9497213959693909),
    (float16, [1.9267578125, 0.90087890625, 1.642578125, 0.85986328125], 0.8860136866569519)])
def test_normal_of_other_types(g: Generator, dtype: DType, expected: list, following: float) -> None:
    near(g.normal(19, dtype=dtype)[[0, 2, 3, 18]], expected)
    same(g.uniform32(1), [following])


def test_spare_normal_is_kept_for_the_next_small_draw(g: Generator) -> None:
    drawn = np.concatenate([g.normal(3), g.uniform32(2), g.normal(2)])
    near(drawn, [0.33669036626815796, 0.12880940735340118, 0.23446236550807953, 0.9407714605331421,
                 0.13318592309951782, 0.23033303022384644, -2.466057062149048])


def test_seeding_drops_the_spare_normal(g: Generator) -> None:
    first = g.normal(1)
    g.manual_seed(42)
    assert g.normal(1) == first


def test_mean_and_std(g: Generator) -> None:
    for count in (5, 40):
        for dtype in (float32, float64):
            plain = g.manual_seed(1).normal(count, dtype=dtype)
            near(g.manual_seed(1).normal(count, 3.0, 0.5, dtype), (plain * 0.5 + 3.0).tolist())
    assert g.normal(20, 2.0, 0.0).tolist() == [2.0] * 20


def test_randint(g: Generator) -> None:
    same(g.randint(-5, 10, (2, 3)).reshape(-1), [7, -3, -4, -1, 1, 0])
    assert g.randint(0, 2, 3).dtype == np.int64


def test_randint_takes_two_words_from_a_range_of_2_to_28(g: Generator) -> None:
    assert g.randint(0, 2**28 - 1, 2).tolist() == [266460267, 199900607]
    assert g.manual_seed(42).randint(0, 2**28, 2).tolist() == [199900595, 250975502]
    assert g.manual_seed(42).randint(-5, 2**40, 3).tolist() == [441476371554, 395845085946, 458553876606]


def test_randint_over_all_of_int64(g: Generator) -> None:
    numbers = g.randint(-(2**63), 2**63, 1000)
    assert numbers.min() < -(2**62) and numbers.max() > 2**62


def test_randperm(g: Generator) -> None:
    assert g.randperm(10).tolist() == [2, 6, 1, 8, 4, 5, 0, 9, 3, 7]
    order = g.randperm(60000)
    assert order[[0, 1, 2, 59999]].tolist() == [57113, 42545, 43328, 31758]
    assert (np.sort(order) == np.arange(60000)).all()
    same(g.uniform32(1), [0.49124258756637573])


def test_a_long_shuffle_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless there is no compiler; the order is the same."""
    partners = np.random.default_rng(0).integers(0, 1000, 999, dtype=np.uint32)
    expected = shuffle.shuffled(1000, partners)
    monkeypatch.setattr(shuffle, "FEW", 100)
    assert shuffle.shuffled(1000, partners).tolist() == expected.tolist() != list(range(1000))
    monkeypatch.setattr(shuffle.llvm, "missing", lambda: "not here")
    monkeypatch.setattr(shuffle, "_native", None)
    assert shuffle.shuffled(1000, partners).tolist() == expected.tolist()


@pytest.mark.parametrize("n", [0, 1])
def test_randperm_of_nothing_draws_nothing(g: Generator, n: int) -> None:
    assert g.randperm(n).tolist() == list(range(n))
    same(g.uniform32(1), [0.8822692632675171])


def test_bernoulli(g: Generator) -> None:
    assert g.bernoulli(10, 0.3).astype(int).tolist() == [1, 1, 1, 1, 0, 0, 0, 0, 1, 1]
    assert g.bernoulli(10, np.full(10, 0.3, np.float32)).astype(int).tolist() == [1, 0, 1, 0, 1, 1, 0, 1, 0, 1]
    assert g.bernoulli(10, np.full(10, 0.3)).astype(int).tolist() == [0, 1, 0, 0, 0, 1, 0, 0, 0, 1]
    same(g.uniform32(1), [0.005045771598815918])


def test_bernoulli_certainties(g: Generator) -> None:
    assert g.bernoulli((2, 50), 1.0).all() and not g.bernoulli(100, 0.0).any()


def test_exponential(g: Generator) -> None:
    near(g.exponential(3, 2.0), [0.029957007616758347, 0.03248806297779083, 0.06595838814973831])
    near(g.exponential(3, 0.5, float64), [0.10802590358138832, 1.4938213493067527, 1.2955246778985372])


def test_multinomial(g: Generator) -> None:
    weights = np.array([[1, 2, 3, 4], [0, 1, 0, 5]], np.float32)
    assert g.multinomial(weights, 1).tolist() == [[3], [3]]
    assert g.multinomial(weights, 2).tolist() == [[2, 1], [3, 1]]
    assert g.multinomial(weights, 6, True).tolist() == [[0, 3, 3, 2, 0, 3], [3, 3, 1, 1, 3, 1]]
    same(g.uniform32(1), [0.6581305861473083])


@pytest.mark.parametrize(("name", "expected"), [
    ("uint8", [102, 179, 92]), ("int8", [102, 51, 92]), ("int16", [23654, 15795, 860]),
    ("int32", [1608637542, 1273642419, 1935803228]),
    ("int64", [6909045637428952499, 8314211556539077902, 4279532810384561223]), ("bool", [0, 1, 0]),
    ("float16", [426, 923, 745]), ("bfloat16", [12, 149, 201]), ("float32", [14801927, 15351016, 6423145]),
    ("float64", [523809042610868, 566644413140339, 1113164382588524])])
def test_random_without_bounds(g: Generator, name: str, expected: list) -> None:
    numbers = g.random(3, BY_NAME[name])
    assert [int(n) for n in numbers] == expected
    assert numbers.dtype == BY_NAME[name].numpy


def test_random64_is_two_words(g: Generator) -> None:
    assert [g.random64() % 2**63 for _ in range(3)] == [
        6909045637428952499, 8314211556539077902, 4279532810384561223]


def test_only_the_low_32_bits_of_a_seed_count() -> None:
    same(Generator(-7).uniform32(2), [0.2533376216888428, 0.6773603558540344])
    same(Generator(2**40 + 3).uniform32(2), [0.004263520240783691, 0.10556936264038086])
    assert Generator(-7).initial_seed() == 2**64 - 7


@pytest.mark.parametrize(("words", "digest"), [
    (0, "5feb54a46230d321d888e9b43cf5a57492665f199e4377408d79ee460e36679c"),
    (624, "e390c389ddb91c65b76817ea612e51a55ad7246c340927a4e1e9ceb37c4a08b9"),
    (625, "c8a3844c149f19ec07a0028e1e132b8f55a636f7d95a46d6d6cdc09356ce25a8")])
def test_state_has_pytorchs_bytes(g: Generator, words: int, digest: str) -> None:
    g.uniform32(words)
    assert hashlib.sha256(g.get_state().numpy().tobytes()).hexdigest() == digest


@pytest.mark.parametrize("words", [0, 1, 623, 624, 625, 2000])
def test_state_goes_back(g: Generator, words: int) -> None:
    g.normal(3)
    g.uniform32(words)
    state = g.get_state()
    first = [g.normal(2), g.uniform32(700)]
    other = Generator(1)
    other.normal(1)
    other.set_state(state)
    assert other.initial_seed() == 42
    assert all((a == b).all() for a, b in zip(first, [other.normal(2), other.uniform32(700)], strict=True))


def test_fresh_state_goes_back(g: Generator) -> None:
    other = Generator(1)
    other.set_state(g.get_state())
    same(other.uniform32(1), [0.8822692632675171])


def test_blocks_equal_single_draws() -> None:
    whole, single = Generator(5), Generator(5)
    assert whole.uniform32(100).tolist() == [float(single.uniform32(())) for _ in range(100)]
    assert whole.uniform64(100).tolist() == [float(single.uniform64(1)[0]) for _ in range(100)]
    assert whole.randint(3, 70, 100).tolist() == [int(single.randint(3, 70, 1)[0]) for _ in range(100)]
    assert whole.normal(15).tolist() == [float(single.normal(())) for _ in range(15)]
    assert (whole.get_state() == single.get_state()).all()


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (1,), (17,), (3, 5)])
def test_shapes(g: Generator, shape: tuple) -> None:
    for numbers in (g.uniform32(shape), g.uniform64(shape), g.normal(shape), g.exponential(shape),
                    g.bernoulli(shape), g.randint(0, 5, shape), g.random(shape)):
        assert isinstance(numbers, np.ndarray) and numbers.shape == shape
    assert g.uniform(shape).flags.writeable


def test_default_generator() -> None:
    before = generator.default_generator.get_state()
    try:
        assert generator.manual_seed(42) is generator.default_generator
        same(generator.default_generator.uniform32(1), [0.8822692632675171])
        assert generator.default_generator.seed() == generator.default_generator.initial_seed()
        assert generator.default_generator.seed() != generator.default_generator.seed()
    finally:
        generator.default_generator.set_state(before)
    assert Generator().initial_seed() == 67280421310721


def test_threads_take_whole_pieces(g: Generator) -> None:
    pieces: list[list] = []

    def draw() -> None:
        pieces.extend(g.normal(19).tolist() for _ in range(100))  # two draws from the stream each

    threads = [threading.Thread(target=draw) for _ in range(4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    alone = Generator(42)
    assert sorted(pieces) == sorted(alone.normal(19).tolist() for _ in range(400))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_can_draw_while_the_parent_held_the_lock() -> None:
    with generator.default_generator._lock:
        child = os.fork()
        if child == 0:
            drawn: list = []
            thread = threading.Thread(target=lambda: drawn.append(generator.default_generator.random64()), daemon=True)
            thread.start()
            thread.join(10)
            os._exit(0 if drawn else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda g: g.manual_seed(2**64), ValueError, r"Overflow when unpacking long long.*got 18446744073709551616"),
    (lambda g: g.manual_seed(-(2**63) - 1), ValueError, "Overflow when unpacking long long"),
    (lambda g: g.set_state(np.zeros(3, np.uint8)), RuntimeError, "CPUGeneratorImplState of size 5056 .* to be 3"),
    (lambda g: g.set_state(np.zeros(5056, np.uint8)), RuntimeError, "Invalid mt19937 state"),
    (lambda g: g.set_state(np.zeros(5056)), TypeError, "RNG state must be a torch.ByteTensor"),
    (lambda g: g.uniform(3, 2, 1), RuntimeError, r"uniform_ expects to return a \[from, to\) range.*from=2 > to=1"),
    (lambda g: g.uniform(3, dtype=int64), TypeError, "uniform_ draws floating-point numbers, got dtype int64"),
    (lambda g: g.normal(3, 0, -1), RuntimeError, r"normal expects std >= 0\.0, but found std -1"),
    (lambda g: g.normal(3, dtype=bool_), TypeError, "normal_ draws .* got dtype bool"),
    (lambda g: g.exponential(3, 0), RuntimeError, r"exponential_ expects lambda > 0\.0, but found lambda=0"),
    (lambda g: g.exponential(3, dtype=int64), TypeError, "exponential_ draws floating-point numbers"),
    (lambda g: g.bernoulli(3, 2), RuntimeError, r"bernoulli_ expects p to be in \[0, 1\], but got p=2"),
    (lambda g: g.bernoulli(1, np.array([2.0])), RuntimeError, "Expected p_in >= 0 && p_in <= 1 to be true"),
    (lambda g: g.randint(3, 3, 1), RuntimeError, "expects 'from' to be less than 'to', but got from=3 >= to=3"),
    (lambda g: g.randint(0, 2**64, 1), ValueError, "bounds should fit int64, got low=0, high=18446744073709551616"),
    (lambda g: g.randperm(-1), RuntimeError, "n must be non-negative, got -1"),
    (lambda g: g.randperm(2**40), ValueError, "randperm takes n below 214748364"),
    (lambda g: g.uniform((2, -1)), RuntimeError, r"negative dimension -1: \[2, -1\]"),
    (lambda g: g.multinomial(np.ones((2, 2, 2)), 1), RuntimeError, "prob_dist must be 1 or 2 dim"),
    (lambda g: g.multinomial(np.array([1, 2]), 1), RuntimeError, "only supports floating-point dtypes.*Long"),
    (lambda g: g.multinomial(np.broadcast_to(np.float32(0), 2**24 + 1), 1), RuntimeError, r"cannot exceed 2\^24"),
    (lambda g: g.multinomial(np.ones(2), 0), RuntimeError, "cannot sample n_sample <= 0 samples"),
    (lambda g: g.multinomial(np.ones(2), 3), RuntimeError, "without replacement, got 3 samples of 2 categories"),
    (lambda g: g.multinomial(np.array([-1.0, 2]), 1), RuntimeError, "either `inf`, `nan` or element < 0"),
    (lambda g: g.multinomial(np.zeros(2), 1), RuntimeError, "sum of probabilities <= 0"),
])
def test_refusals(g: Generator, call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(g)
    assert g.manual_seed(42).uniform32(1)[0] == np.float32(0.8822692632675171)


def test_copies_and_what_only_gpus_have() -> None:
    generator = Generator(3)
    generator.random64()
    copies = [generator.clone_state(), copy.copy(generator), copy.deepcopy(generator),
              pickle.loads(pickle.dumps(generator))]
    want = generator.random64()
    assert [c.random64() for c in copies] == [want] * 4 and {c.initial_seed() for c in copies} == {3}
    for call in (generator.get_offset, lambda: generator.set_offset(1)):
        with pytest.raises(RuntimeError, match="CPU Generator does not use offset"):
            call()
    for call in (generator.graphsafe_get_state, lambda: generator.graphsafe_set_state(None)):
        with pytest.raises(NotImplementedError, match="is not supported in this Generator"):
            call()
