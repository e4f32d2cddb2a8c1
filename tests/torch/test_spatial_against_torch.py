# ruff: noqa: B023  (each of these functions is called at once)
"""Padding and pooling beside PyTorch's: values, gradients of both orders, printed forms and error texts."""

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import minigrad  # noqa: E402
from minigrad import nn  # noqa: E402
from minigrad.nn import functional as F  # noqa: E402
from tests.torch.spatial_checks import check, fails_alike, few, floats, refused_alike, same  # noqa: E402

T = torch.nn.functional

# --- padding

PADS = [((5,), (2, 1)), ((2, 5), (2, 1)), ((2, 3, 4), (1, 0)), ((2, 3, 4), (-1, 2)), ((2, 3, 4), (-1, -2)),
        ((2, 3, 4), (2, -2)), ((2, 3, 4), (0, 0)), ((3, 4, 5), (1, 2, 3, 1)), ((2, 3, 4, 5), (1, 2, 3, 1)),
        ((2, 3, 4, 5), (-1, 2, 3, -1)), ((2, 3, 4, 5), (0, 0, 1, 1)), ((2, 3, 4, 5), (-2, -2, -1, -2)),
        ((2, 2, 3, 4), (1, 2, 1, 0, 1, 1)), ((1, 2, 3, 4, 3), (1, 2, 1, 3, 2, 1)),
        ((1, 2, 3, 4, 3), (-1, 2, 1, -2, 2, 1)),
        ((0, 3, 4), (1, 1)), ((), ()), ((2, 3, 4), (1, 1, 1, 1, 1, 1)), ((2, 3), (1, 1, 1, 1))]


@pytest.mark.sample(25)
@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize(("shape", "pad"), PADS)
def test_pad(mode, shape, pad):
    array = floats(*shape)
    try:
        T.pad(torch.tensor(array), pad, mode)
    except Exception:
        fails_alike(lambda: F.pad(minigrad.tensor(array), pad, mode), lambda: T.pad(torch.tensor(array), pad, mode))
        return
    check(F.pad, T.pad, array, pad, mode)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_pad_second_order(mode):
    check(F.pad, T.pad, floats(2, 3, 4, 5, dtype="float64"), (1, 2, 3, 1), mode, second=True)


@pytest.mark.parametrize("value", [0, 1.5, -7, float("inf"), float("nan"), True])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int8", "bool", "float16"])
def test_pad_value(value, dtype):
    array = few(2, 3, dtype=dtype)
    if (dtype.startswith("int") and value != value) or (dtype.startswith("int") and value == float("inf")):
        return
    same(F.pad(minigrad.tensor(array), (1, -1, 2, 1), value=value),
         T.pad(torch.tensor(array), (1, -1, 2, 1), value=value))
    check(F.pad, T.pad, floats(2, 3), (1, 2), "constant", 0.5)


WRONG_PADS = [((2, 3, 4, 5), (1, 2, 3)), ((2, 3), (1,) * 6), ((2, 3, 4), 3), ((2, 3, 4), (1.5, 1)), ((2, 3, 4), (4, 1)),
              ((2, 3, 4), (1, 5)), ((2, 3, 4, 5), (1, 1, 4, 1)), ((2, 3, 4, 5), (1, 1)), ((2, 3, 4, 5), (1,) * 8),
              ((2, 0, 4), (1, 1)), ((2, 3, 0), (1, 1)), ((2, 3, 4), (-3, -2)), ((2, 3, 4), (-2, -2)), ((2, 3, 4), "ab"),
              ((2, 3, 4, 5), (-3, -3, -3, -3)), ((2, 3, 4, 5, 2), (-3, -3, -3, -3, -3, -3)), ((5,), (1, 1)),
              ((2, 3, 0, 5), (1, 1, 1, 1)), ((0, 4, 5), (1, 1, 1, 1)), ((2, 3, 4), (9, 1))]


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular", "mirror"])
def test_pad_errors(mode):
    failed = 0
    for shape, pad in WRONG_PADS:
        try:
            T.pad(torch.zeros(shape), pad, mode)
        except Exception as error:
            if "(H: " in str(error):
                continue  # PyTorch writes a stray space in one of the modes
            refused_alike(F.pad, T.pad, shape, pad, mode)
            failed += 1
    assert failed > 5
    if mode not in ("constant", "mirror"):
        refused_alike(F.pad, T.pad, 2, 3, (1, 1), mode, 2.0)
    if mode in ("reflect", "replicate"):
        for shape, pad in (((2, 3), (1, 1)), ((2, 3, 4), (1,) * 4)):
            fails_alike(lambda: F.pad(minigrad.zeros(shape, dtype=minigrad.bool), pad, mode),
                        lambda: T.pad(torch.zeros(shape, dtype=torch.bool), pad, mode))


@pytest.mark.parametrize("kind", ["Zero", "Constant", "Reflection", "Replication", "Circular"])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_padding_modules(kind, dims):
    name = f"{kind}Pad{dims}d"
    value = (2.5,) if kind == "Constant" else ()
    for padding in (1, tuple(range(2 * dims)) if dims == 1 else (1, 0, 2, 1, 1, 1)[:2 * dims]):
        ours, theirs = getattr(nn, name)(padding, *value), getattr(torch.nn, name)(padding, *value)
        assert repr(ours) == repr(theirs)
        assert ours.padding == theirs.padding
        check(ours, theirs, floats(2, 3, *(4, 5, 3)[:dims]))
        check(ours, theirs, floats(3, *(4, 5, 3)[:dims]))
    if kind not in ("Zero", "Constant") or dims > 1:
        refused_alike(ours, theirs, 3)
    many = (1,) * (dims + 3)
    if kind not in ("Zero", "Constant"):
        refused_alike(ours, theirs, many)


# --- pooling

NAN = float("nan")
MAX_POOLS = [(2,), (3, 2), (3, 2, 1), (3, 1, 1), (2, 3), (2, 2, 0, 2), (3, 2, 1, 2), (3, 1, 1, 3), (1, 2),
             (5, 4, 2), (4, 3, 2)]
SHAPES = {1: (2, 3, 11), 2: (2, 3, 9, 11), 3: (2, 2, 7, 8, 9)}


def fits(call):
    try:
        call()
    except RuntimeError:
        return False
    return True


@pytest.mark.sample(12)
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize(("dims", "options"), [(d, o) for d in (1, 2, 3) for o in MAX_POOLS[::1 if d < 3 else 3]])
def test_max_pool(dims, options, ceil_mode):
    ours, theirs = getattr(F, f"max_pool{dims}d"), getattr(T, f"max_pool{dims}d")
    array = few(*SHAPES[dims], seed=len(options))
    if not fits(lambda: theirs(torch.tensor(array), *options, ceil_mode=ceil_mode)):
        return
    check(ours, theirs, array, *options, ceil_mode=ceil_mode)
    check(ours, theirs, array, *options, ceil_mode=ceil_mode, return_indices=True)
    check(ours, theirs, array[0], *options, ceil_mode=ceil_mode, return_indices=True)
    if dims == 2:
        array[array == 2] = NAN
        array[array == -1] = -np.inf
        same(ours(minigrad.tensor(array), *options, ceil_mode=ceil_mode, return_indices=True),
             theirs(torch.tensor(array), *options, ceil_mode=ceil_mode, return_indices=True))


def test_max_pool_sizes_per_dimension():
    array = few(2, 3, 9, 11)
    for options in (((2, 3),), ((3, 2), (1, 2), (1, 0)), ((2, 3), (2, 1), (1, 1), (2, 1)), ([2], [2]), ((5, 5), 1, 2)):
        check(F.max_pool2d, T.max_pool2d, array, *options, return_indices=True)
    check(F.max_pool3d, T.max_pool3d, few(1, 2, 6, 7, 8), (1, 2, 3), (1, 3, 2), (0, 1, 1), return_indices=True)
    wide = floats(1, 1, 40, 40)
    check(F.max_pool2d, T.max_pool2d, wide, 20, 3, 5, return_indices=True)
    check(F.max_pool2d, T.max_pool2d, floats(1, 1, 200, 200), 190, 3, return_indices=True)


@pytest.mark.parametrize("dtype", ["float64", "float16", "int64", "int32", "int8", "uint8"])
def test_max_pool_dtypes(dtype):
    array = np.abs(few(2, 3, 8, 8)).astype(dtype)
    same(F.max_pool2d(minigrad.tensor(array), 3, 2, 1, return_indices=True),
         T.max_pool2d(torch.tensor(array), 3, 2, 1, return_indices=True))


def test_max_pool_second_order():
    for options in ((2,), (3, 2, 1), (3, 1)):
        check(F.max_pool2d, T.max_pool2d, floats(1, 2, 7, 7, dtype="float64"), *options, second=True)


AVG_POOLS = [(2,), (3, 2), (3, 2, 1), (3, 1, 1), (2, 3), (1, 2), (5, 4, 2)]


@pytest.mark.sample(15)
@pytest.mark.parametrize("include", [False, True])
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize(("dims", "options"), [(d, o) for d in (1, 2, 3) for o in AVG_POOLS[::1 if d < 3 else 3]])
def test_avg_pool(dims, options, ceil_mode, include):
    ours, theirs = getattr(F, f"avg_pool{dims}d"), getattr(T, f"avg_pool{dims}d")
    array = floats(*SHAPES[dims])
    for given in (array, array[0]):
        check(ours, theirs, given, *options, ceil_mode=ceil_mode, count_include_pad=include)
    if dims > 1:
        check(ours, theirs, array, *options, ceil_mode=ceil_mode, count_include_pad=include, divisor_override=3)


def test_avg_pool_more():
    check(F.avg_pool2d, T.avg_pool2d, floats(2, 3, 9, 11), (2, 3), (1, 2), (1, 0))
    check(F.avg_pool2d, T.avg_pool2d, floats(2, 3, 9, 11), 2, divisor_override=-3)
    for options in ((2,), (3, 2, 1), (3, 1)):
        check(F.avg_pool2d, T.avg_pool2d, floats(1, 2, 7, 7, dtype="float64"), *options, second=True)
    for dtype in ("float16", "int64"):
        array = (few(2, 3, 8, 8) * 7).astype(dtype)
        same(F.avg_pool2d(minigrad.tensor(array), 3, 2, 1), T.avg_pool2d(torch.tensor(array), 3, 2, 1))
    array = floats(2, 3, 8, 8)
    x, y = minigrad.tensor(array).bfloat16(), torch.tensor(array).bfloat16()
    same(F.avg_pool2d(x, 3, 2, 1), T.avg_pool2d(y, 3, 2, 1), rtol=1e-2)


ADAPTIVE = {1: [1, 2, 3, 11, 15, (4,), 0], 2: [1, 3, (2, 5), (None, 4), (9, 11), (12, 13), (None, None), 0],
            3: [1, 2, (2, 5, 3), (None, 4, None), (7, 8, 9), (9, 3, 12)]}


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_adaptive(dims):
    for size, shape in itertools.product(ADAPTIVE[dims], (SHAPES[dims], SHAPES[dims][1:])):
        for name in ("avg", "max"):
            ours, theirs = [getattr(m, f"adaptive_{name}_pool{dims}d") for m in (F, T)]
            if not fits(lambda: theirs(torch.zeros(shape), size)):
                continue
            if size == 0:
                same(ours(minigrad.zeros(shape), size), theirs(torch.zeros(shape), size))
                continue
            check(ours, theirs, few(*shape) if name == "max" else floats(*shape), size)
        same(ours(minigrad.tensor(few(*shape)), size, return_indices=True),
             theirs(torch.tensor(few(*shape)), size, return_indices=True))
    for name in ("avg", "max"):
        ours, theirs = [getattr(m, f"adaptive_{name}_pool{dims}d") for m in (F, T)]
        for size in (2, 3):
            check(ours, theirs, floats(1, 2, 6, *(5, 7)[:dims - 1], dtype="float64"), size, second=True)


@pytest.mark.sample(5)
@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("norm", [1, 2, 3.5, float("inf"), -float("inf")])
def test_lp_pool(dims, norm):
    ours, theirs = [getattr(m, f"lp_pool{dims}d") for m in (F, T)]
    array = np.abs(floats(*SHAPES[dims])) + 0.1
    for options in ((2,), (3, 2), (3, None, True)):
        check(ours, theirs, array, norm, *options)
    if norm == 2:
        check(ours, theirs, array.astype("float64"), norm, 2, second=True)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_max_unpool(dims):
    array = floats(*SHAPES[dims])
    pooled, places = getattr(T, f"max_pool{dims}d")(torch.tensor(array), 3, 2, 1, return_indices=True)
    ours, theirs = [getattr(m, f"max_unpool{dims}d") for m in (F, T)]
    for size in (None, SHAPES[dims][2:], SHAPES[dims])[dims == 3:]:
        check(lambda x, size=size: ours(x, minigrad.tensor(places.numpy()), 3, 2, 1, size),
              lambda x, size=size: theirs(x, places, 3, 2, 1, size), pooled.numpy())
    check(lambda x: ours(x, minigrad.tensor(places[0].numpy()), 3, 2, 1, SHAPES[dims][2:]),
          lambda x: theirs(x, places[0], 3, 2, 1, SHAPES[dims][2:]), pooled[0].numpy())
    # assert repr(getattr(nn, f"MaxUnpool{dims}d")(2)) == repr(getattr(torch.nn, f"MaxUnpool{dims}d")(2))


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("kind", ["max_pool", "avg_pool", "lp_pool", "adaptive_max_pool", "adaptive_avg_pool"])
def test_pooling_errors(kind, dims):
    ours, theirs = [getattr(m, f"{kind}{dims}d") for m in (F, T)]
    base = (2, 3, *(4,) * dims)
    cases = [(base, 0), (base, -1), (base, (1, 2, 3, 4)), (base, (2,)), (base, 2.5), (base, "a"), (base[2:], 2),
             ((2, *base), 2), ((2, 0, *base[2:]), 2), ((2, 3, 0, *base[3:]), 2), ((0, *base[2:]), 2), (base, None)]
    if "adaptive" not in kind:
        cases += [(base, 2, 0), (base, 2, -1), (base, 9), (base, 2, (1, 2, 3, 4))]
    if kind in ("max_pool", "avg_pool"):
        cases += [(base, 2, 2, 2), (base, 2, 2, -1), (base, 2, 2, (1, 1, 1, 1)), (base, 2, "a")]
    if kind == "max_pool":
        cases += [(base, 2, 2, 0, 0), (base, 2, 2, 0, (1, 1, 1, 1)), (base, 2, 2, 0, 5), (base, 3, 1, 2, 2)]
    failed = 0
    for shape, *args in cases:
        given = (2, *args) if kind == "lp_pool" else args
        if (kind == "lp_pool" and "a" in args) or (None in args and "adaptive" not in kind):
            continue
        for options in ({}, {"return_indices": True}) if "max" in kind else ({},):
            try:
                theirs(torch.zeros(shape), *given, **options)
            except Exception:
                refused_alike(ours, theirs, shape, *given, **options)
                failed += 1
            else:
                ours(minigrad.zeros(shape), *given, **options)
    assert failed > 5
    for dtype in ("int32", "bool"):
        array = np.ones(base, dtype)
        try:
            theirs(torch.tensor(array), *(2, 2)[:2 if kind == "lp_pool" else 1])
        except NotImplementedError:
            if kind != "lp_pool":
                fails_alike(lambda: ours(minigrad.tensor(array), 2), lambda: theirs(torch.tensor(array), 2))


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_max_unpool_errors(dims):
    ours, theirs = [getattr(m, f"max_unpool{dims}d") for m in (F, T)]
    base = (2, 3, *(4,) * dims)
    index = np.zeros(base, np.int64)
    cases = [(base, index.astype(np.int32)), (base, index + 10000), (base, index - 1), (base, index[:1]),
             (base[2:], index[0, 0]), ((*base, 1), index[..., None]), ((2, 0, *base[2:]), index[:, :0])]
    for shape, places in cases:
        fails_alike(lambda: ours(minigrad.zeros(shape), minigrad.tensor(places), 2),
                    lambda: theirs(torch.zeros(shape), torch.tensor(places), 2))
    for size in ((90,) * dims, (9,) * (dims + 1)):
        fails_alike(lambda: ours(minigrad.zeros(base), minigrad.tensor(index), 2, output_size=size),
                    lambda: theirs(torch.zeros(base), torch.tensor(index), 2, output_size=size))
    fails_alike(lambda: ours(minigrad.zeros(base).long(), minigrad.tensor(index), 2),
                lambda: theirs(torch.zeros(base).long(), torch.tensor(index), 2))


@pytest.mark.parametrize("dims", [2, 3])
def test_fractional(dims):
    ours, theirs = [getattr(m, f"fractional_max_pool{dims}d") for m in (F, T)]
    shape = (2, 3, 11, 13, 9)[:dims + 2]
    for options in ((2, 4), (3, (5, 4, 4)[:dims]), ((2, 3, 2)[:dims], 3), (2, 1), (2, None, (0.5, 0.4, 0.6)[:dims])):
        for given in (shape, shape[1:]):
            if options[1:] == (None, (0.5, 0.4, 0.6)) and False:
                continue
            minigrad.manual_seed(3)
            torch.manual_seed(3)
            check(ours, theirs, few(*given), *options)
            minigrad.manual_seed(4)
            torch.manual_seed(4)
            same(ours(minigrad.tensor(few(*given)), *options, return_indices=True),
                 theirs(torch.tensor(few(*given)), *options, return_indices=True))
    samples = np.random.default_rng(1).random((2, 3, dims)).astype("float32")
    same(ours(minigrad.tensor(floats(*shape)), 2, 5, _random_samples=minigrad.tensor(samples)),
         theirs(torch.tensor(floats(*shape)), 2, 5, _random_samples=torch.tensor(samples)))
    base = (2, 3, 8, 8, 8)[:dims + 2]
    cases = [(base, 2), (base, 9, 4), (base, 2, 8), (base, (2, 2, 2, 2), 4), (base[2:], 2, 4), ((*base, 1), 2, 4),
             (base, 2, (4, 4, 4, 4)), ((2, 0, *base[2:]), 2, 4), (base, 2, -1), (base, 2.5, 4)]
    for shape, *args in cases:
        refused_alike(ours, theirs, shape, *args)
    for size in ((1, 2), (2, 3, dims + 1), (2, 2, dims), (1, 3, dims)):
        fails_alike(lambda: ours(minigrad.zeros(base), 2, 4, _random_samples=minigrad.zeros(size)),
                    lambda: theirs(torch.zeros(base), 2, 4, _random_samples=torch.zeros(size)))
    name = f"FractionalMaxPool{dims}d"
    mine, peers = getattr(nn, name), getattr(torch.nn, name)
    fails_alike(lambda: mine(2), lambda: peers(2))
    fails_alike(lambda: mine(2, 3, 0.5), lambda: peers(2, 3, 0.5))
    fails_alike(lambda: mine(2, output_ratio=1.5), lambda: peers(2, output_ratio=1.5))
    assert repr(mine(2, 3)) == repr(peers(2, 3))


MODULES = [("MaxPool", (2,)), ("MaxPool", (3, 2, 1)), ("MaxPool", (3, 2, 1, 1, True, True)), ("AvgPool", (2,)),
           ("AvgPool", (3, 2, 1, True, False)), ("LPPool", (2, 3)), ("LPPool", (2, 3, 2, True)),
           ("AdaptiveMaxPool", (3,)), ("AdaptiveMaxPool", (2, True)), ("AdaptiveAvgPool", (3,)),
           ("MaxUnpool", (2,)), ("MaxUnpool", (3, 2, 1))]


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_pooling_modules(dims):
    for name, options in MODULES:
        ours, theirs = [getattr(m, f"{name}{dims}d")(*options) for m in (nn, torch.nn)]
        assert repr(ours) == repr(theirs)
        array = np.abs(floats(*SHAPES[dims]))
        if name != "MaxUnpool":
            check(ours, theirs, array)
    pooled, places = getattr(torch.nn, f"MaxPool{dims}d")(2, return_indices=True)(torch.tensor(array))
    ours, theirs = [getattr(m, f"MaxUnpool{dims}d")(2) for m in (nn, torch.nn)]
    same(ours(minigrad.tensor(pooled.numpy()), minigrad.tensor(places.numpy()), output_size=SHAPES[dims]),
         theirs(pooled, places, output_size=SHAPES[dims]))
