"""Stage: tests. In: expressions that run under both names: ``t`` is torch in one run and minigrad in the other. Out:
values, dtypes, shapes and the gradients of all floating operands agree, in float64; elementwise functions at their
corners in all dtypes, in-place twins and ``out=``; the page of names knows what PyTorch has.
Next: ``test_module_against_torch.py``."""

from __future__ import annotations

import importlib
import re
import warnings

import numpy as np
import pytest

import minigrad

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore")

RNG = np.random.default_rng(3)
DATA = {
    "a": RNG.standard_normal((3, 4)), "b": RNG.standard_normal((3, 4)), "v": RNG.standard_normal(5),
    "w": RNG.random(5) + 0.1, "weights": RNG.random(4) + 0.1, "c": RNG.standard_normal((2, 3, 4)),
    "i": RNG.integers(0, 4, (3, 6)), "u": np.array([2, 5, 3]),
    "nans": np.where(RNG.random((4, 5)) < 0.3, np.nan, RNG.standard_normal((4, 5))), "sq": RNG.standard_normal((3, 3)),
    "mask": RNG.random((3, 4)) > 0.5, "bools": RNG.random(6) > 0.5, "counts": RNG.integers(1, 4, 4),
    "pos": np.array([0, 5, 11]), "rows": np.array([0, 2, 0]), "three": RNG.standard_normal(3),
    "edges": np.sort(RNG.standard_normal(4)), "m1": RNG.standard_normal((3, 4)), "m2": RNG.standard_normal((4, 2)),
    "m3": RNG.standard_normal((2, 6)), "src": RNG.standard_normal(12), "other": RNG.standard_normal((3, 4)),
    "ties": RNG.integers(0, 3, (3, 4)).astype(np.float64), "into": RNG.integers(0, 3, (3, 4)),
    "tall": RNG.standard_normal((5, 3)), "batch": RNG.standard_normal((2, 3, 3)),
    "far": RNG.standard_normal((2, 5)) * 3,
}

CALCULUS = """
t.diff(a)|t.diff(a, 2, 0)|t.diff(a, prepend=b[:, :1], append=b[:, :2])|t.diff(bools)|t.diff(i)|t.diff(v, 9)
t.diff(a, 0)|t.trapezoid(a)|t.trapezoid(a, b)|t.trapezoid(a, dx=0.5, dim=0)|t.trapz(a, edges)
t.trapezoid(a, edges, dim=1)|t.cumulative_trapezoid(a)|t.cumulative_trapezoid(a, b, dim=0)|t.cumulative_trapezoid(i)
t.trapezoid(i)|t.gradient(a)|t.gradient(a, spacing=0.5, dim=1, edge_order=2)|t.gradient(a, spacing=[2.0, 0.5])
t.gradient(a, spacing=(three, edges))|t.gradient(a, dim=1, spacing=(edges,), edge_order=2)|t.gradient(i)
t.gradient(v.detach() / t.tensor([1.0, 1.0, 0.0, 1.0, 1.0]))
"""
STATISTICS = """
t.quantile(a, 0.3)|t.quantile(a, t.tensor([0.1, 0.5, 0.9], dtype=a.dtype), 1)|t.quantile(a, 0.4, 0, True)
t.quantile(a, t.tensor([0.1, 0.5], dtype=a.dtype), keepdim=True)|t.quantile(a, 0.4, 1, interpolation="lower")
t.quantile(a, 0.4, 1, interpolation="higher")|t.quantile(a, 0.4, 1, interpolation="midpoint")
t.quantile(a, 0.4, 1, interpolation="nearest")|t.nanquantile(nans, 0.4)|t.nanquantile(nans, 0.4, 1)
t.nanquantile(nans, t.tensor([0.2, 0.7], dtype=nans.dtype), 0, True)|t.quantile(nans, 0.5, 1)|t.nanmedian(nans)
t.nanmedian(nans, 1)|t.nanmedian(nans, 0, True)|t.nanmedian(i, 1)|t.mode(i)|t.mode(i, 0)|t.mode(i, 1, True)
t.mode(a)|t.mode(i[:, :1])|t.cov(a)|t.cov(v)|t.cov(a, correction=0)|t.cov(a, fweights=counts)
t.cov(a, aweights=weights)|t.cov(a, fweights=counts, aweights=weights)|t.cov(a, aweights=weights, correction=0)
t.corrcoef(a)|t.corrcoef(v)|t.histogram(v.detach(), 4)
t.histogram(v.detach(), 4, range=(-1.0, 1.0), weight=w.detach(), density=True)
t.histogram(v.detach(), edges.detach())|t.histogramdd(a.detach()[:, :2], [3, 2])
t.histogramdd(a.detach()[:, :2], 2, range=[-1.0, 1.0, -2.0, 2.0], density=True)|t.histogram(t.ones(3), 2)
"""
ASSEMBLING = """
t.block_diag(a, v, t.tensor(3.0, dtype=v.dtype), sq)|t.chain_matmul(m1, m2, m3)|t.chain_matmul(m1)|t.diagflat(v)
t.diagflat(sq, -1)|t.vander(v.detach())|t.vander(v.detach(), 3, True)|t.vander(u, 1)|t.vander(u, 0)|t.vander(u, 4)
t.combinations(v)|t.combinations(v, 3)|t.combinations(v, 2, True)|t.combinations(v, 1)|t.matrix_power(sq, 3)
t.matrix_power(sq, 1)|t.matrix_power(sq, -2)|t.matrix_power(sq, 6)|t.matrix_power(sq.detach(), 0)
t.broadcast_tensors(a, v[:4], t.ones(2, 1, 1))|t.tensor(t.broadcast_shapes((2, 1), (3,), 1))
t.diag_embed(a, 1, 0, 2)|t.diag_embed(a, -1, 2, 0)|t.tensordot(a=a, b=m2, dims=1)|t.dot(v, tensor=w)
"""
PARTS = """
t.select_scatter(a, v[:4], 0, -1)|t.slice_scatter(a, b[:, :2], 1, 0, 4, 2)|t.diagonal_scatter(a, three)
t.diagonal_scatter(a, three, 1)|t.as_strided_scatter(a.detach(), v[:3], (3,), (2,), 1)|t.narrow_copy(a, 1, 1, 2)
t.hsplit(a, 2)|t.hsplit(a, [1, 3])|a.hsplit(1, 3)|t.vsplit(a, [1])|t.dsplit(c, 2)|t.masked_scatter(a, mask, src)
t.masked_scatter(v[:4], mask, src)|a.put(pos, three)|a.put(pos, three, True)
t.unravel_index(indices=u, shape=(2, 3))|t.index_reduce(a, 0, rows, other, "mean")
t.index_reduce(a, 0, rows, other, "amax", include_self=False)|t.index_reduce(a, 0, rows, other, "amin")
t.scatter_reduce(ties, 0, into, other.round(), "amax")
t.scatter_reduce(ties, 0, into, other.round(), "amin", include_self=False)|t.renorm(a, 2, 0, 1.0)
t.renorm(c, 1, 1, 2.0)|t.renorm(a, float("inf"), 1, 0.5)|t.unravel_index(u, 6)|t.nonzero_static(mask, size=4)
t.nonzero_static(mask, size=20, fill_value=7)|t.split(tensor=a, split_size_or_sections=2)
t.swapaxes(a, axis0=0, axis1=1)|t.isin(u, 2, invert=True)|t.isin(2, u)
t.searchsorted(three.detach(), v.detach(), sorter=t.argsort(three.detach()))|t.nansum(nans, 1, dtype=t.float32)
t.nanmean(nans, 1)|t.asarray(u, dtype=t.float64, copy=True)
"""
WINDOWS = """
t.hann_window(7)|t.hann_window(7, False)|t.hamming_window(8)|t.hamming_window(8, True, 0.5, 0.4)
t.blackman_window(9)|t.blackman_window(9, False, dtype=t.float64)|t.bartlett_window(6)|t.bartlett_window(6, False)
t.hann_window(1)|t.hann_window(0)|t.empty_strided((2, 3), (1, 2)) * 0
t.frombuffer(bytearray(range(8)), dtype=t.int16, offset=2)|t.tensor(t.can_cast(t.int32, t.float32))
t.tensor(t.can_cast(t.float64, t.int64))
"""
LISTS = """
t._foreach_exp([a, b])|t._foreach_add([a, b], [b, a])|t._foreach_add([a, b], 1.5)
t._foreach_add([a, b], [b, a], alpha=2)|t._foreach_mul([a, v], [2.0, 3.0])|t._foreach_norm([a, v])
t._foreach_norm([a, v], 1)|t._foreach_sub([a], [b])|t._foreach_addcmul([a], [b], [b], 0.5)
t._foreach_addcdiv([a, a], [b, b], [b, b], [0.5, 2.0])|t._foreach_maximum([a], 0.1)|t._foreach_clamp_min([a], [b])
t._foreach_lerp([a], [b], 0.3)|t._foreach_pow([a.abs()], 2.5)|t._foreach_div([a], 2)
"""
ELEMENTWISE = """
t.copysign(a, b)|t.copysign(a, -2)|t.copysign(u, v[:3])|t.hypot(a, b[:1])|t.fmax(a, b)|t.fmin(a, b[0])
t.fmax(nans, nans.flip(0))|t.float_power(a.abs(), b)|t.float_power(u, 2)|t.ldexp(a, i[:, :4])|t.frexp(a)[0]
t.deg2rad(a)|t.rad2deg(u)|t.angle(a)|t.real(a)|a.real|t.conj(a)|t.isreal(a)|t.resolve_neg(a)
t.fake_quantize_per_tensor_affine(far.float(), 0.1, 2, -9, 9)
t.fake_quantize_per_channel_affine(far.float(), t.tensor([0.1, 0.2]), t.tensor([0.0, 1.0]), 0, -9, 9)
"""


DECOMPOSITIONS = """
t.det(sq)|t.det(batch)|t.slogdet(batch)|t.logdet(sq @ sq.mT + t.eye(3, dtype=sq.dtype))|t.logdet(-t.eye(3))|t.qr(tall)
t.qr(batch)|t.qr(a)|t.qr(a, False)|t.qr(tall.detach(), False)|t.svd(tall)|t.svd(batch)|t.svd(tall, compute_uv=False)
t.svd(a)[1]|[p.square() for p in t.svd(a)]|[p.square() for p in t.svd(tall.detach(), some=False)]|t.pinverse(tall)
t.pinverse(a)|t.pinverse(batch)|t.det(t.ones(2, 2))|t.svd(t.zeros(2, 0, 3))[1]
t.slogdet(sq.detach() * float("nan"))|t.matrix_exp(sq.detach() * float("inf"))
"""


def run(program: str, module):
    names, used = {"t": module}, {}
    for name in set(re.findall(r"[a-z]\w*", program)) & set(DATA):
        value = module.tensor(DATA[name])
        names[name] = used[name] = value.requires_grad_() if DATA[name].dtype.kind == "f" else value
    results = flat(eval(program, names))
    wanted = [r for r in results if r.requires_grad]
    if wanted:
        factors = [module.tensor(np.random.default_rng(1).standard_normal(tuple(r.shape))) for r in wanted]
        sum((r * f).sum() for r, f in zip(wanted, factors, strict=True)).backward()
    return results, {name: value.grad for name, value in used.items() if value.grad is not None}


def flat(result):
    return [r for part in result for r in flat(part)] if isinstance(result, tuple | list) else [result]


def near(ours, theirs, what: str, tolerance: float = 1e-6) -> None:
    assert str(ours.dtype).partition(".")[2] == str(theirs.dtype).partition(".")[2], what
    assert tuple(ours.shape) == tuple(theirs.shape), what
    np.testing.assert_allclose(ours.detach().double().numpy(), theirs.detach().double().numpy(), rtol=tolerance,
                               atol=tolerance / 10, err_msg=what)


@pytest.mark.parametrize("programs", [CALCULUS, STATISTICS, ASSEMBLING, PARTS, WINDOWS, LISTS, ELEMENTWISE,
                                      DECOMPOSITIONS],
                         ids=["calculus", "statistics", "assembling", "parts", "windows", "lists", "elementwise",
                              "decompositions"])
def test_values_and_gradients(programs: str) -> None:
    for program in programs.strip().replace("\n", "|").split("|"):
        theirs, their_gradients = run(program, torch)
        ours, our_gradients = run(program, minigrad)
        assert len(ours) == len(theirs), program
        for o, t in zip(ours, theirs, strict=True):
            near(o, t, program)
        assert set(our_gradients) == set(their_gradients), program
        for name, gradient in their_gradients.items():
            near(our_gradients[name], gradient, f"gradient of {name} in {program}")


CORNERS = [0.0, -0.0, 1.5, -2.5, np.inf, -np.inf, np.nan, 1e-45, 1e-40, 3e38, 7.0]
FLOATS = ("float32", "float64", "float16", "bfloat16")


@pytest.mark.parametrize("dtype", FLOATS)
def test_corners_of_floats(dtype: str) -> None:
    both = [[x for x in CORNERS for _ in CORNERS], CORNERS * len(CORNERS)]
    theirs = [torch.tensor(x, dtype=getattr(torch, dtype)) for x in both]
    ours = [minigrad.tensor(x, dtype=getattr(minigrad, dtype)) for x in both]
    pairs = {"copysign", "hypot", "fmax", "fmin", "nextafter", "heaviside", "ldexp"}
    pairs -= {"nextafter"} if dtype == "float16" else set()  # which PyTorch has not
    for name in sorted(pairs):
        expected, got = getattr(torch, name)(*theirs), getattr(minigrad, name)(*ours)
        same_with_signs(got, expected, f"{name} {dtype}", signs=(name, dtype) not in (("fmax", "bfloat16"),
                                                                                     ("fmin", "bfloat16")))
    for name in ("signbit", "isposinf", "isneginf", "deg2rad", "rad2deg", "angle"):
        same_with_signs(getattr(minigrad, name)(ours[1]), getattr(torch, name)(theirs[1]), f"{name} {dtype}")
    for got, expected in zip(minigrad.frexp(ours[1]), torch.frexp(theirs[1]), strict=True):
        same_with_signs(got, expected, f"frexp {dtype}")


def same_with_signs(got, expected, what: str, signs: bool = True) -> None:
    near(got, expected, what, 2e-6)
    g, e = got.double().numpy(), expected.double().numpy()
    assert not signs or (np.signbit(g) == np.signbit(e))[~np.isnan(e)].all(), what


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64"])
def test_corners_of_integers(dtype: str) -> None:
    rng = np.random.default_rng(0)
    high = 2**62 if dtype == "int64" else np.iinfo(dtype).max
    low = 0 if dtype == "uint8" else -high
    one = np.concatenate([rng.integers(low, high, 50), [0, 0, 5, 12]]).astype(dtype)
    other = np.concatenate([rng.integers(1, high, 50), [0, 5, 0, 18]]).astype(dtype)
    for name in ("gcd", "lcm", "fmax", "copysign", "heaviside", "signbit", "isposinf", "deg2rad", "angle"):
        arguments = (one, other)[:1 if name in ("signbit", "isposinf", "deg2rad", "angle") else 2]
        ours, theirs = [getattr(m, name)(*map(m.tensor, arguments)) for m in (minigrad, torch)]
        near(ours, theirs, f"{name} {dtype}")


@pytest.mark.parametrize("name, arguments", [
    ("copysign_", "b"), ("hypot_", "b"), ("nextafter_", "b"), ("heaviside_", "b"), ("ldexp_", "b"), ("deg2rad_", ""),
    ("rad2deg_", ""), ("float_power_", "b"), ("masked_scatter_", "mask src"), ("renorm_", ()), ("put_", "pos three"),
    ("greater_", "b"), ("less_equal_", "b"), ("not_equal_", "b"), ("absolute_", ""), ("sgn_", ""), ("fix_", "")])
def test_in_place(name: str, arguments) -> None:
    results = []
    for module in (minigrad, torch):
        x = module.tensor(DATA["a"])
        given = [2, 0, 1.0] if name == "renorm_" else [module.tensor(DATA[n]) for n in arguments.split()]
        assert getattr(x, name)(*given) is x
        results.append(x)
    near(*results, name)


@pytest.mark.parametrize("program", ["t.diff(a, out=o)", "t.hypot(a, b, out=o)", "t.quantile(a, 0.5, out=o)",
                                     "t.float_power(a.abs(), 2, out=o)", "t.renorm(a, 2, 0, 1.0, out=o)"])
def test_out(program: str) -> None:
    results = []
    for module in (minigrad, torch):
        names = {name: module.tensor(DATA[name]) for name in "ab"} | {"t": module,
                                                                       "o": module.empty(0, dtype=module.float64)}
        assert eval(program, names) is names["o"]
        results.append(names["o"])
    near(*results, program)


@pytest.mark.parametrize("name, arguments", [("cauchy_", (1.0, 2.0)), ("log_normal_", (0.5, 1.5)),
                                             ("geometric_", (0.3,))])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [5, 33])
def test_random_numbers(name: str, arguments, dtype: str, size: int) -> None:
    found = []
    for module in (minigrad, torch):
        module.manual_seed(3)
        drawn = getattr(module.empty(size, dtype=getattr(module, dtype)), name)(*arguments)
        found.append((drawn, module.rand(1)))
    near(found[0][0], found[1][0], name)
    assert found[0][1].item() == found[1][1].item()


@pytest.mark.parametrize("program", [
    "t.diff(t.tensor(1.0))", "t.vander(a)", "t.combinations(a)", "t.hsplit(t.tensor(1.0), 2)", "t.vsplit(a, 2)",
    "t.select_scatter(a, three, 0, 0)", "t.masked_scatter(a, i, src)", "t.masked_scatter(a, mask, src.float())",
    "t.renorm(v, 2, 0, 1.0)", "t.renorm(a, -1, 0, 1.0)", "t.renorm(a, 2, 0, -1.0)", "t.block_diag(c)",
    "t.quantile(i, 0.5)", "t.quantile(a, 1.5)", "t.diff(a, prepend=v)",
    "t.diff(a, append=m2)", "t.addmm(sq, sq.float(), sq)", "t.addr(sq, three, three, beta=True)",
    "t.quantile(a, 0.5, interpolation='cubic')",
    "t.quantile(a, t.tensor([0.5]))", "t.frexp(i)", "t.imag(a)", "t.view_as_real(a)", "t.cov(c)",
    "t.heaviside(a, three.float()[:1])", "t.gcd(a, b)", "t.hypot(i, i)", "t.broadcast_shapes((2,), (3,))",
    "t.frombuffer(bytearray(5), dtype=t.int32)", "t.frombuffer(bytearray(4), dtype=t.int32, offset=9)",
    "t.frombuffer(b'', dtype=t.int32)", "t.empty_strided((2, 3), (1,))", "t.chain_matmul(a, v)",
    "t.hann_window(5, dtype=t.int64)", "t._foreach_exp([])", "t.gradient(a, edge_order=3)",
    "t.fake_quantize_per_tensor_affine(a.float(), 0.1, 0, 9, 1)", "t.unravel_index(a, (2, 3))",
    "t.trapezoid(bools)", "t.trapezoid(a, bools)", "t.trapezoid(a, three)", "t.cumulative_trapezoid(a, three)",
    "t.cov(bools)", "t.cov(a, aweights=-weights)", "t.cov(a, aweights=weights * 0)", "t.histogram(i, 3)",
    "t.histogram(v.detach(), 0)", "t.histogram(nans.detach(), 3)", "t.histogramdd(a.detach(), [2])",
    "t.histogramdd(v.detach(), 2)", "t.histogram(v.detach(), edges.float())",
    "t.histogram(v.detach(), 3, range=(2, 1))", "t.histogram(v.detach(), 3, weight=w.detach()[:2])", "t.mode(a, 2)",
    "t.nanmedian(c, 5)",
    "t.linalg.qr(sq, 'r').R", "t.geqrf(sq)[0]", "t.linalg.ldl_factor(sq)[0]"])
def test_errors(program: str) -> None:
    found = []
    for module in (minigrad, torch):
        with warnings.catch_warnings(), pytest.raises(Exception) as error:
            warnings.simplefilter("ignore")
            run(program, module)
        found.append(error.value)
    ours, theirs = found
    assert isinstance(ours, type(theirs)), (type(ours), theirs)
    short = str(theirs).partition("\n")[0][:25]
    assert str(ours).replace("minigrad", "torch").startswith(short), (str(ours), str(theirs))


def test_documented_names_are_pytorchs() -> None:
    from tools import pytorch as compared

    wrong = []
    for names in compared.documented(compared.NAMES.read_text(encoding="utf-8")).values():
        for name in names:
            path = name.split(".")
            for cut in range(len(path) - 1, 0, -1):
                try:
                    value = importlib.import_module(".".join(path[:cut]))
                except ImportError:
                    continue
                for part in path[cut:]:
                    value = getattr(value, part, None)
                wrong += [name] if value is None and part != "nan" else []
                break
    assert wrong == []


def test_kaiser_window() -> None:
    for program in ("t.kaiser_window(7)", "t.kaiser_window(7, False, 5.0)", "t.kaiser_window(1)"):
        near(eval(program, {"t": minigrad}), eval(program, {"t": torch}), program)


def test_low_rank_decompositions() -> None:
    x = minigrad.tensor(RNG.standard_normal((20, 3)) @ RNG.standard_normal((3, 15)))
    u, s, v = minigrad.svd_lowrank(x, 4)
    assert ((u * s) @ v.mT - x).abs().max().item() < 1e-9
    near(s[:3], torch.linalg.svdvals(torch.tensor(x.numpy()))[:3], "singular values")
    u, s, v = minigrad.pca_lowrank(x)
    assert ((u * s) @ v.mT - (x - x.mean(0))).abs().max().item() < 1e-9
