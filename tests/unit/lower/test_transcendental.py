"""Stage: tests of lower. In: EXP, LOG, SIN, COS, TANH, ERF and POW on random bits, dense ranges and special values.
Out: that what they expand to is within its bound of the true value, and has the same bits however it is run.
Next: ``tests/unit/render/test_scalar_ops.py``."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from minigrad.dtype import ALL, DType, float32, float64, int32, uint32
from minigrad.kernel.interpret import interpret
from minigrad.kernel.ir import Apply, Array, Const, Kernel, Load, Store, Value
from minigrad.kernel.verify import verify
from minigrad.kernel.walk import all_values
from minigrad.lower.passes import polynomials
from minigrad.lower.passes.bind import bind
from minigrad.lower.passes.power import SHORT
from minigrad.lower.passes.transcendental import EXPANSIONS, expand_transcendental
from minigrad.ops import SCALAR_OPS, Op
from minigrad.symbolic import var
from minigrad.target import MATH
from tests.unit.render.harness import GCC, TARGETS, assert_same, bits, compile_c, compile_llvm
from tests.unit.render.samples import kernel, loop

LANES = 16
WIDE = np.finfo(np.longdouble).nmant >= 63
INF, NAN = math.inf, math.nan
# The greatest error in ulp; what was seen is 0.05 to 0.2 less.
BOUNDS = {
    (Op.EXP, float32): 0.95, (Op.EXP, float64): 0.95, (Op.LOG, float32): 0.95, (Op.LOG, float64): 0.95,
    (Op.SIN, float32): 1.7, (Op.SIN, float64): 0.95, (Op.COS, float32): 1.7, (Op.COS, float64): 0.95,
    (Op.TANH, float32): 1.6, (Op.TANH, float64): 1.6, (Op.ERF, float32): 1.5, (Op.ERF, float64): 1.2,
    (Op.POW, float32): 0.51, (Op.POW, float64): 1.1,
}
RANGES = {
    Op.EXP: {float32: ((-104, 89), (-1, 1), (-104, -87)), float64: ((-746, 710), (-1, 1), (-746, -708))},
    Op.LOG: ((0, 100), (0.5, 2), (0.99, 1.01)),
    Op.SIN: ((-10, 10), (-1e5, 1e5), (-1e12, 1e12)),
    Op.COS: ((-10, 10), (-1e5, 1e5), (-1e12, 1e12)),
    Op.TANH: ((-1, 1), (-20, 20), (0.5, 0.6)),
    Op.ERF: ((-1.2, 1.2), (-6.5, 6.5)),
}


def op_kernel(label: str, name: str, dtype: DType, size: int, *constants: float, arity: int = 1) -> Kernel:
    """One op over whole arrays in vector loops, its last operands constant."""
    arrays = tuple(Array(f"x{n}", dtype, size) for n in range(arity))
    y, i, l = Array("y", dtype, size, written=True), var("i", 0, size // LANES - 1), var("l", 0, LANES - 1)
    srcs: tuple[Value, ...] = tuple(Load(a, LANES * i + l) for a in arrays)
    store = Store(y, LANES * i + l, Apply(name, srcs + tuple(Const(c, dtype) for c in constants), dtype))
    return verify(kernel(label, (*arrays, y), i, size // LANES, loop("vector", l, LANES, store)))


def expanded(k: Kernel) -> Kernel:
    return verify(bind(verify(expand_transcendental(k))))


def compute(name: str, dtype: DType, *operands: np.ndarray, constant: float | None = None) -> np.ndarray:
    """The op on arrays of a length divisible by LANES, by LLVM."""
    constants = () if constant is None else (constant,)
    k = op_kernel("k", name, dtype, len(operands[0]), *constants, arity=len(operands))
    (run,) = compile_llvm([expanded(k)], TARGETS[-1])
    y = np.zeros(len(operands[0]), dtype.numpy)
    run([*operands, y], (), 0, len(y) // LANES)
    return y


def random_bits(rng: np.random.Generator, count: int, dtype: DType) -> np.ndarray:
    return rng.integers(0, 2**dtype.bits, count, f"u{dtype.size}").view(dtype.numpy)


def specials(dtype: DType) -> np.ndarray:
    info = np.finfo(dtype.numpy)
    values = [0.0, 1.0, 0.5, 2.0, 3.0, 1.5, 1e5, 709.8, 88.73, INF, info.max, info.tiny, info.smallest_subnormal]
    # the last two are close to multiples of π/2: 45.55… and, of all float64, 6381956970095103·2^797
    with np.errstate(over="ignore"):
        return np.array([*values, *[-v for v in values], NAN, 45.553093477052, 6381956970095103.0 * 2.0**797],
                        np.float64).astype(dtype.numpy)


def operand(name: str, dtype: DType, count: int) -> np.ndarray:
    """All exponents, the ranges where the function does something, multiples of π/2, special values."""
    rng = np.random.default_rng(7)
    ranges = RANGES[name][dtype] if isinstance(RANGES[name], dict) else RANGES[name]
    parts = [random_bits(rng, count, dtype), *[rng.uniform(a, b, count // 2) for a, b in ranges]]
    parts.append(np.arange(-count // 4, count // 4) * (math.pi / 2))
    with np.errstate(over="ignore"):
        x = np.concatenate([*[p.astype(dtype.numpy) for p in parts], specials(dtype)])
    return np.resize(x, -(-len(x) // LANES) * LANES)


def exact_erf(x: np.ndarray) -> np.ndarray:
    """As a longdouble."""
    mp = pytest.importorskip("mpmath")
    with mp.workprec(100):
        out = []
        for value in x.tolist():
            high = math.erf(value)
            rest = mp.erf(value) - high if math.isfinite(value) else 0.0
            out.append(np.longdouble(high) + np.longdouble(float(rest)) if rest else np.longdouble(high))
        return np.array(out)


def truth(name: str, dtype: DType, *operands: np.ndarray) -> np.ndarray:
    """In a format with at least eleven more bits."""
    if name == Op.ERF:
        return np.array([math.erf(v) for v in operands[0].tolist()]) if dtype is float32 else exact_erf(*operands)
    wide = np.float64 if dtype is float32 and name != Op.POW else np.longdouble
    with np.errstate(all="ignore"):
        return SCALAR_OPS[name].numpy(*[o.astype(wide) for o in operands]) if name != Op.POW else np.power(
            *[o.astype(wide) for o in operands])


def errors(got: np.ndarray, want: np.ndarray, dtype: DType) -> np.ndarray:
    """In units of the last place of the number of ``dtype`` nearest to ``want``; inf for a wrong special value."""
    info = np.finfo(dtype.numpy)
    with np.errstate(all="ignore"):
        near = want.astype(dtype.numpy)
        exponent = np.frexp(np.where(np.isfinite(want), want, 1))[1]
        unit = np.ldexp(np.ones_like(want), np.maximum(exponent - 1, info.minexp) - info.nmant)
        error = np.abs(got.astype(want.dtype) - want) / unit
        same = (got == near) | (np.isnan(got) & np.isnan(near))
        sign = np.isnan(near) | (np.signbit(got) == np.signbit(near))
        error = np.where(np.isfinite(near) & np.isfinite(got), error, np.where(same, 0, INF))
        return np.where(sign, error, INF)


def worst(name: str, dtype: DType, *operands: np.ndarray, constant: float | None = None) -> float:
    """The greatest error, printed with the operands that have it."""
    got = compute(name, dtype, *operands, constant=constant)
    given = operands if constant is None else (*operands, np.full_like(operands[0], constant))
    error = errors(got, truth(name, dtype, *given), dtype)
    at = int(np.argmax(error))
    label = name if constant is None else f"{name} {constant}"
    print(f"{label:8} {dtype.name} {float(error[at]):8.4f} ulp over {len(got)} at {[float(o[at]) for o in operands]}")
    return float(error[at])


needs_wide = pytest.mark.skipif(not WIDE, reason="NumPy's longdouble has no more bits than float64 here")
FUNCTIONS = sorted(set(EXPANSIONS) - {Op.POW})


@pytest.mark.parametrize("name", FUNCTIONS)
def test_float32_functions_are_within_their_bounds(name):
    assert worst(name, float32, operand(name, float32, 200_000)) < BOUNDS[name, float32]


@needs_wide
@pytest.mark.parametrize("name", FUNCTIONS)
def test_float64_functions_are_within_their_bounds(name):
    assert worst(name, float64, operand(name, float64, 2_000 if name == Op.ERF else 40_000)) < BOUNDS[name, float64]


def power_operands(dtype: DType, count: int) -> list[np.ndarray]:
    """Random bits, bases near 1, and exponents that give results of all sizes, subnormal and infinite ones too."""
    rng = np.random.default_rng(8)
    low, high = (-155, 132) if dtype is float32 else (-1080, 1028)
    with np.errstate(all="ignore"):
        base = np.abs(random_bits(rng, count, dtype))
        spread = rng.uniform(low, high, count) / np.log2(base.astype(np.float64))
        x = [random_bits(rng, count, dtype), base, rng.uniform(0.9, 1.1, count), rng.uniform(-9, 9, count)]
        y = [random_bits(rng, count, dtype), spread, rng.uniform(-7000, 7000, count), rng.integers(-30, 30, count)]
        bases, exponents = (np.concatenate([p.astype(dtype.numpy) for p in parts]) for parts in (x, y))
        return [bases, np.where(np.isin(exponents, SHORT), exponents + 10, exponents)]  # those are less exact


@needs_wide
@pytest.mark.parametrize("dtype", [float32, float64], ids=repr)
def test_powers_are_within_their_bounds(dtype):
    assert worst(Op.POW, dtype, *power_operands(dtype, 32_000)) < BOUNDS[Op.POW, dtype]


@needs_wide
@pytest.mark.parametrize("dtype", [float32, float64], ids=repr)
def test_powers_of_special_values(dtype):
    """Every pair, zeros with their signs, as C's pow has them."""
    edges = np.array([0.0, -0.0, INF, -INF, NAN, 1, -1, 0.5, -0.5, 2, -2, 3, -3, 1e30, -1e30, 1.5, -1.5, 2.5, 1e-30,
                      -1e-30, 1e-40, 5, -5, 2.0**24 - 1, 2.0**24 + 2, -(2.0**53 - 1), 2.0**52 + 1]).astype(dtype.numpy)
    x, y = (np.resize(g, -(-g.size // LANES) * LANES) for g in np.meshgrid(edges, edges))
    assert worst(Op.POW, dtype, x, y) < 2.0


@needs_wide
@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0, 3.0, 4.0, 0.5, -0.5, -1.0, 2.5, -2.0, 5.0, INF, NAN])
def test_constant_exponents(exponent):
    for dtype in (float32, float64):
        x = np.resize(np.concatenate([random_bits(np.random.default_rng(9), 8000, dtype), specials(dtype)]), 8032)
        assert worst(Op.POW, dtype, x, constant=exponent) < 2.0


@pytest.mark.parametrize("dtype", [float32, float64], ids=repr)
@pytest.mark.parametrize("exponent", [0.0, *SHORT, 2.5, -2.0, 5.0, INF, NAN])
def test_an_exponent_gives_the_same_bits_whether_it_is_known_before_the_program_runs_or_not(dtype, exponent):
    x = np.resize(np.concatenate([random_bits(np.random.default_rng(9), 4000, dtype), specials(dtype)]), 4032)
    y = np.full_like(x, exponent)
    assert_same([compute(Op.POW, dtype, x, y)], [compute(Op.POW, dtype, x, constant=exponent)], "run-time exponent")


SPECIAL = {
    Op.EXP: [(0.0, 1.0), (-0.0, 1.0), (INF, INF), (-INF, 0.0), (NAN, NAN), (1e9, INF), (-1e9, 0.0)],
    Op.LOG: [(0.0, -INF), (-0.0, -INF), (1.0, 0.0), (INF, INF), (-INF, NAN), (-1.0, NAN), (-1e-40, NAN), (NAN, NAN)],
    Op.SIN: [(0.0, 0.0), (-0.0, -0.0), (INF, NAN), (-INF, NAN), (NAN, NAN)],
    Op.COS: [(0.0, 1.0), (-0.0, 1.0), (INF, NAN), (-INF, NAN), (NAN, NAN)],
    Op.TANH: [(0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0), (30.0, 1.0), (-30.0, -1.0), (NAN, NAN)],
    Op.ERF: [(0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0), (7.0, 1.0), (-7.0, -1.0), (NAN, NAN)],
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_special_values(name):
    for dtype in (float32, float64):
        x, want = (np.resize(np.array(column), LANES).astype(dtype.numpy) for column in zip(*SPECIAL[name]))
        assert_same([compute(name, dtype, x)], [want], f"{name} of {x}")


def test_every_nan_gives_nan():
    """Whatever its sign and payload."""
    payload = np.arange(1, 2**22, 65537, dtype=np.uint32)[:64]
    for pattern in (payload | 0x7F800000, payload | 0xFFC00000):
        for name in FUNCTIONS:
            assert np.isnan(compute(name, float32, pattern.view(np.float32))).all(), name


def test_exp_ends_where_it_should():
    """The last float32 below overflow, and below half of the least subnormal."""
    x = np.resize(np.array([88.72283, 88.722839, -103.97207, -103.97209, -87.33655]), LANES).astype(np.float32)
    got = compute(Op.EXP, float32, x)[:5]
    assert np.isfinite(got[0]) and got[1] == INF and got[2] == 2.0**-149 and got[3] == 0.0 and 0 < got[4] < 2.0**-126


def integer_power(x: int, y: int, dtype: DType) -> int:
    """As the row of ``ops.py`` says."""
    if y < 0:
        return (1 if x == 1 or y % 2 == 0 else -1) if abs(x) == 1 else 0
    wrapped = pow(x, y, 1 << dtype.bits)
    return wrapped - (1 << dtype.bits) if dtype.kind == "i" and wrapped >= 1 << (dtype.bits - 1) else wrapped


@pytest.mark.parametrize("dtype", [d for d in ALL if d.is_int], ids=repr)
def test_integer_powers_wrap(dtype):
    rng = np.random.default_rng(3)
    edges = np.array([0, 1, 2, 3, 5, 7, 10, 63, dtype.max, dtype.max - 1, dtype.min, dtype.min // 2], dtype.numpy)
    if dtype.kind == "i":
        edges = np.concatenate([edges, np.array([-1, -2, -3, -7], dtype.numpy)])
    pairs = [np.concatenate([g.reshape(-1), rng.integers(dtype.min, dtype.max, 256, dtype.numpy, endpoint=True)])
             for g in np.meshgrid(edges, edges)]
    x, y = (np.resize(p, -(-len(p) // LANES) * LANES) for p in pairs)
    assert compute(Op.POW, dtype, x, y).tolist() == [integer_power(a, b, dtype) for a, b in zip(x.tolist(), y.tolist())]
    for exponent in (0, 1, 2, 3, 5, 10, 63, -1, -2)[:9 if dtype.kind == "i" else 7]:
        want = [integer_power(a, exponent, dtype) for a in x.tolist()]
        assert compute(Op.POW, dtype, x, constant=exponent).tolist() == want, exponent


def samples() -> list[tuple[Kernel, list[np.ndarray]]]:
    """A kernel for every function and format, and few operands."""
    out = []
    for name in EXPANSIONS:
        for dtype in (float32, float64):
            rng = np.random.default_rng(11)
            x = [np.concatenate([specials(dtype)[:29], random_bits(rng, 51, dtype), rng.uniform(-3, 3, 48).astype(
                dtype.numpy)]) for _ in range(SCALAR_OPS[name].arity)]
            x = [x[0], *[np.roll(a, 5) for a in x[1:]]]
            out.append((expanded(op_kernel(f"{name}_{dtype.name}".lower(), name, dtype, 128, arity=len(x))), x))
    return out


def results(runs, made) -> list[np.ndarray]:
    out = []
    for run, (k, x) in zip(runs, made):
        y = np.zeros(128, k.arrays[-1].dtype.numpy)
        run([*x, y], (), 0, 128 // LANES)
        out.append(y)
    return out


def test_all_ways_to_run_give_the_same_bits(tmp_path):
    made = samples()
    ways = {t.name: results(compile_llvm([k for k, _ in made], t), made) for t in TARGETS}
    if GCC is not None:
        ways["C"] = results(compile_c([k for k, _ in made], tmp_path), made)
    for number, (k, x) in enumerate(made):
        want = np.zeros(128, k.arrays[-1].dtype.numpy)
        with np.errstate(all="ignore"):
            interpret(k, [*x, want], begin=0, end=2)
        first = next(iter(ways.values()))[number]
        assert_same([first[:2 * LANES]], [want[:2 * LANES]], f"{k.name}, interpreter")
        for way, got in ways.items():
            assert_same([got[number]], [first], f"{k.name} in {way}")


def test_none_is_left_and_a_kernel_without_them_is_kept():
    for k, _ in samples():
        assert not any(isinstance(v, Apply) and v.op in EXPANSIONS for v in all_values(k))
    plain = op_kernel("k", Op.SQRT, float32, 16)
    assert expand_transcendental(plain) is plain


def test_a_language_with_functions_of_its_own_keeps_them():
    for op, arity, constants in ((Op.EXP, 1, ()), (Op.POW, 1, (2.7,))):
        k = expand_transcendental(op_kernel("k", op, float64, 16, *constants, arity=arity), MATH)
        assert [v.op for v in all_values(k) if isinstance(v, Apply)] == [op]
    chosen = [v.op for v in all_values(expand_transcendental(op_kernel("k", Op.POW, float64, 16, arity=2), MATH))
              if isinstance(v, Apply)]
    assert chosen.count(Op.POW) == 1 and chosen.count(Op.EQ) >= len(SHORT), "the exponent may be one of those"
    for dtype, constants in ((int32, ()), (int32, (5,)), (float32, (3.0,)), (float32, (0.5,))):
        k = expand_transcendental(op_kernel("k", Op.POW, dtype, 16, *constants, arity=2 - len(constants)), MATH)
        assert Op.POW not in {v.op for v in all_values(verify(bind(k))) if isinstance(v, Apply)}


def test_an_op_on_the_same_operand_is_expanded_once():
    k = op_kernel("k", Op.EXP, float32, 16)
    (store,) = k.loop.body[0].body
    again = Apply(Op.ADD, (store.value, Apply(Op.EXP, store.value.srcs, float32)), float32)
    body = (replace(k.loop.body[0], body=(replace(store, value=again),)),)
    twice = expand_transcendental(replace(k, loop=replace(k.loop, body=body)))
    total = twice.loop.body[0].body[0].value
    assert total.op == Op.ADD and total.srcs[0] is total.srcs[1]


def test_float32_exp_is_short():
    """18 operations, and reinterpretations that cost nothing."""
    k = expand_transcendental(op_kernel("k", Op.EXP, float32, 16))
    applied = [v.op for v in all_values(k) if isinstance(v, Apply)]
    assert len(applied) - applied.count(Op.BITCAST) == 18


TABLES = [t for t in vars(polynomials) if t.isupper()]
USERS = {"EXP_36": Op.POW, "LOG_36": Op.POW, "LOG_66": Op.POW, "ERFC_32": Op.ERF, "ERFC_64": Op.ERF}


@needs_wide
@pytest.mark.parametrize("name", TABLES)
def test_the_bounds_notice_a_wrong_coefficient(name, monkeypatch):
    """The first coefficient of a table is made wrong by one part in a thousand."""
    first, *rest = getattr(polynomials, name)
    monkeypatch.setattr(polynomials, name, (first * 1.001, *rest))
    op = USERS.get(name, name.split("_")[0])
    dtype = float32 if name.endswith(("32", "36")) else float64
    operands = power_operands(dtype, 1024) if op == Op.POW else [operand(op, dtype, 1024)]
    assert worst(op, dtype, *operands) > BOUNDS[op, dtype]


def test_the_tables_are_what_the_tool_prints():
    pytest.importorskip("mpmath")
    from tools.fit_polynomials import FITS, table

    assert [f.name for f in FITS] == TABLES
    for fit in FITS:
        if fit.name in ("EXP_32", "LOG_36", "SIN_64", "TANH_32"):
            assert table(fit)[0] == list(getattr(polynomials, fit.name))


def test_errors_are_measured_in_units_of_the_last_place():
    one = np.float64([1.0, 2.0**-149, 1.0, INF, 0.0])
    got = np.float32([1 + 2.0**-23, 2.0**-148, 1.0, INF, -0.0])
    assert errors(got, one, float32).tolist() == [1.0, 1.0, 0.0, 0.0, INF]
    assert bits(got).dtype == uint32.numpy
