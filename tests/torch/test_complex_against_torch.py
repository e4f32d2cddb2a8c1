"""Stage: tests. In: programs with complex tensors. Out: whether minigrad and PyTorch give the same values, gradients,
dtypes, texts and errors."""

from __future__ import annotations

import copy
import io
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad
from minigrad import config

torch = pytest.importorskip("torch")

UNARY = (
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "rsqrt", "sigmoid", "sin", "cos", "tan",
    "sinh", "cosh", "tanh", "asin", "acos", "atan", "asinh", "acosh", "atanh", "abs", "angle", "sgn", "neg",
    "reciprocal", "square", "sinc", "positive", "isnan", "isinf", "isfinite", "isreal", "conj_physical", "sum",
    "mean", "prod", "var", "std", "norm", "clone", "real", "imag", "view_as_real", "any", "all",
    "count_nonzero", "nonzero", "logical_not", "bool")
BINARY = (
    "add", "sub", "mul", "div", "pow", "eq", "ne", "where", "dist", "isclose", "float_power", "matmul",
    "logical_and")


def _numbers(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def _run(lib: Any, program: Callable[..., Any], arrays: tuple[np.ndarray[Any, Any], ...]) -> list[Any]:
    """The dtype and value of what a program gives, and the gradients of a weighted sum of its parts."""
    given = [lib.tensor(a.copy()) for a in arrays]
    for t in given:
        t.requires_grad_(t.dtype.is_floating_point or t.dtype.is_complex)
    out = program(lib, *given)
    results = [str(out.dtype).rpartition(".")[2], out.detach().resolve_conj().numpy()]
    if out.requires_grad:
        parts = lib.view_as_real(out.resolve_conj()) if out.is_complex() else out
        weights = np.cos(np.arange(parts.numel(), dtype=np.float64)).reshape(tuple(parts.shape))
        (parts * lib.tensor(weights)).sum().backward()
        results += [None if t.grad is None else t.grad.resolve_conj().numpy() for t in given]
    return results


def _same(program: Callable[..., Any], *arrays: np.ndarray[Any, Any], tolerance: float = 1e-10) -> None:
    with config(TIERS=2):  # what is compared are formulas: they need no compiler
        found = _run(minigrad, program, arrays)
    wanted = _run(torch, program, arrays)
    assert found[0] == wanted[0] and len(found) == len(wanted)
    for ours, theirs in zip(found[1:], wanted[1:], strict=True):
        if theirs is None:
            assert ours is None
        else:
            assert ours.dtype == theirs.dtype
            np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", UNARY)
def test_functions(name: str) -> None:
    _same(lambda lib, x: getattr(lib, name, None)(x) if hasattr(lib, name) and name != "bool" else getattr(x, name)(),
          _numbers(3, 4))


@pytest.mark.parametrize("name", ["exp", "log", "sqrt", "abs", "sin", "sum", "mean", "prod", "reciprocal"])
def test_complex64(name: str) -> None:
    _same(lambda lib, x: getattr(lib, name)(x), _numbers(3, 4).astype(np.complex64), tolerance=1e-4)


@pytest.mark.parametrize("kinds", ["cc", "cr", "rc"])
@pytest.mark.parametrize("name", BINARY)
def test_pairs(name: str, kinds: str) -> None:
    def program(lib: Any, x: Any, y: Any) -> Any:
        if name == "where":
            return lib.where(x.detach().real > 0, x, y.to(lib.complex128)) if kinds == "cr" else x * y
        return x @ y.mT if name == "matmul" and kinds == "cc" else (
            x * y if name == "matmul" else getattr(lib, name)(x, y))

    if name in ("isclose", "dist") and kinds != "cc":
        pytest.skip("of one type")
    _same(program, *[_numbers(3, 4, seed=i) if kind == "c" else _numbers(3, 4, seed=i).real
                     for i, kind in enumerate(kinds)])


PROGRAMS: dict[str, Callable[..., Any]] = {
    "number": lambda lib, x: (1j - x) * 1j + (2 + 1j) / x - 2 * x,
    "powers": lambda lib, x: x**2 + x**3 + x**-1 + x**0.5 + x**-0.5 + x**2.5 + x ** (1 + 1j),
    "power of a number": lambda lib, x: 2**x + (1j) ** x,
    "running": lambda lib, x: x.cumsum(1) + x.cumprod(1),
    "axes": lambda lib, x: lib.stack([x.sum(0), x.prod(0), x.mean(0)]),
    "spread": lambda lib, x: x.var(1) + x.std(1, correction=0) + x.norm(dim=1) + x.norm(1, dim=1) + x.norm(3, dim=1),
    "adjoint": lambda lib, x: lib.stack([x @ x.mH, x @ x.H, x @ x.adjoint()]),
    "joined": lambda lib, x: lib.cat([x, x.real, lib.stack([x[0], x[1]])]),
    "gathered": lambda lib, x: x.gather(1, lib.tensor([[0, 1], [2, 1], [0, 0]])) * x[lib.tensor([2, 0, 0])][:, :2],
    "masked": lambda lib, x: x[x.detach().real > 0],
    "moved": lambda lib, x: x.flip(0).roll(1, 0).T.tril().unsqueeze(0).expand(2, 4, 3).diagonal(0, 1, 2),
    "padded": lambda lib, x: lib.nn.functional.pad(x, (1, 2)).unfold(1, 2, 2),
    "scattered": lambda lib, x: x.scatter_add(1, lib.tensor([[0, 1], [2, 1], [0, 0]]), x[:, :2]).index_add(
        0, lib.tensor([0, 0]), x[:2]),
    "products": lambda lib, x: lib.addmm(x[:, :3], x, x.T, beta=1j, alpha=2) + lib.einsum("ij,kj->ik", x, x),
    "vectors": lambda lib, x: lib.dot(x[0], x[1]) + lib.vdot(x[0], x[1]) + lib.outer(x[0], x[1]).sum(),
    "kron": lambda lib, x: lib.kron(x[:2, :2], x[1:, 2:]),
    "statistics": lambda lib, x: x.cov(),
    "filled": lambda lib, x: x.masked_fill(x.detach().real > 0, 1j),
    "chosen": lambda lib, x: lib.where(x.detach().real > 0, x, 1j),
    "mixed": lambda lib, x: lib.lerp(x, x * 2, 0.3) + lib.addcmul(x, x, x, value=1j) + lib.addcdiv(x, x, x, value=2),
    "polar": lambda lib, x: lib.polar(x.real.abs(), x.imag) + lib.complex(x.real, x.imag * 2),
    "as parts": lambda lib, x: lib.view_as_complex(lib.view_as_real(x) * 2).sin(),
    "real": lambda lib, x: x.real * x.imag + (x * x.conj()).real,
    "cast": lambda lib, x: x.to(lib.float64) * 2 + x.to(lib.complex64).to(lib.complex128).imag,
    "convolution": lambda lib, x: lib.nn.functional.conv1d(x[None], x[None, :, :2].movedim(0, 0)),
    "linear": lambda lib, x: lib.nn.functional.linear(x, x),
    "log-sum-exp": lambda lib, x: x.logsumexp(1),
    "running log-sum-exp": lambda lib, x: lib.logcumsumexp(x, 1) + lib.logcumsumexp(x.flip(0), 0),
    "columns": lambda lib, x: lib.nn.functional.fold(lib.nn.functional.unfold(x[None], 2) * 1j, (3, 4), 2),
    "distances": lambda lib, x: lib.stack([lib.nn.functional.pairwise_distance(x, x * 1j, p) for p in (1, 2, 3)]),
    "logarithm of a sum": lambda lib, x: lib.logaddexp(x, x.flip(1) * 2),
    "losses": lambda lib, x: lib.nn.functional.l1_loss(x, x * 2),
    "calculus": lambda lib, x: lib.trapezoid(x) + x.diff().sum() + lib.gradient(x[0])[0].sum(),
}


@pytest.mark.filterwarnings("ignore:Casting complex values")
@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(name: str) -> None:
    _same(PROGRAMS[name], _numbers(3, 4))


def test_special_values() -> None:
    parts = np.array([0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 1e-200, 1e200, -1e200])
    z = np.empty((9, 9), complex)
    z.real, z.imag = parts[:, None], parts
    for name in [*UNARY[10:24], "exp", "log", "sqrt"]:
        with config(TIERS=2), np.errstate(all="ignore"):
            found = getattr(minigrad.tensor(z), name)().numpy()
            wanted = getattr(np, {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh",
                                  "acosh": "arccosh", "atanh": "arctanh"}.get(name, name))(z)
        for a, b in ((found.real, wanted.real), (found.imag, wanted.imag)):
            np.testing.assert_allclose(a, b, rtol=1e-13, err_msg=name)
            assert (np.signbit(a) == np.signbit(b))[(a == 0) & (b == 0)].all(), name
    x = np.array([np.inf, 1, complex(np.nan, np.inf), complex(0, np.nan)])
    assert repr(minigrad.tensor(x).abs().tolist()) == repr(torch.tensor(x).abs().tolist())
    assert repr((minigrad.tensor(x) * 2).tolist()) == repr((torch.tensor(x) * 2).tolist())


SPECIAL = np.array([0.0, -0.0, 1.0, -2.5, 100.0, 1e30, 710.2, -710.2, np.inf, -np.inf, np.nan])
NO_SIGN = {"exp": "ri", "exp2": "ri", "sinh": "r", "sin": "i", "cos": "i", "cosh": "i"}
"""Where C99 leaves a sign open: of the real or of the imaginary part, where the other one is NaN, or both are 0."""


@pytest.mark.parametrize("name", UNARY[:24])
def test_infinities_and_nan(name: str) -> None:
    z = np.empty((len(SPECIAL),) * 2, complex)
    z.real, z.imag = SPECIAL[:, None], SPECIAL
    with config(TIERS=2):
        found = np.asarray(getattr(minigrad, name)(minigrad.tensor(z)).numpy(), complex)
    ours = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh", "acosh": "arccosh",
            "atanh": "arctanh"}.get(name, name)
    with np.errstate(all="ignore"):
        wanted = getattr(np, ours)(z) if name in ("log1p", "acos") else getattr(  # which PyTorch has less exact
            torch, name)(torch.tensor(z)).resolve_conj().numpy().astype(complex)
    if name == "expm1":  # as the array API has it, where PyTorch and NumPy subtract 1 from an infinity and NaN
        defined = (z.imag != 0) & np.isfinite(z.imag) & (np.isfinite(z.real) | np.isinf(z.real))
        defined &= ~((z.real > 709) & (z.real < np.inf))
        found, wanted = found[defined], wanted[defined]
    for part, a, b, other in (("r", found.real, wanted.real, wanted.imag), ("i", found.imag, wanted.imag, wanted.real)):
        if part in NO_SIGN.get(name, ""):
            unsure = np.isnan(other) | (a == 0) & (b == 0) & ~np.isfinite(z).reshape(a.shape)
            a, b = np.where(unsure, np.abs(a), a), np.where(unsure, np.abs(b), b)
        np.testing.assert_allclose(a, b, rtol=1e-11, err_msg=name)
        assert name == "log1p" or (np.signbit(a) == np.signbit(b))[b == 0].all(), name


def test_running_sums_of_infinities() -> None:
    for values in ([-np.inf, -np.inf, 0, 1j], [np.inf, 1, 2], [1, np.nan, 2], [1, np.inf, np.inf], [1], [],
                   [-np.inf, complex(-np.inf, 2)]):
        x = np.array(values, complex)
        np.testing.assert_array_equal(minigrad.tensor(x).logcumsumexp(0).numpy()[:2],
                                      torch.tensor(x).logcumsumexp(0).numpy()[:2])
        np.testing.assert_allclose(minigrad.tensor(x).logcumsumexp(0).numpy(),
                                   torch.tensor(x).logcumsumexp(0).numpy())


def _story(lib: Any) -> list[Any]:
    """What a program with views, in-place ops, NumPy, files and optimizers leaves behind."""
    seen: list[Any] = []
    x = lib.tensor([1 + 2j, 3 + 4j, 5 + 6j])
    x.real[0] = 10
    x.imag[1:] *= 2
    pairs = lib.view_as_real(x)
    pairs[2, 0] = -1
    pairs.add_(1)
    seen += [x.tolist(), pairs.stride(), x.real.stride(), x.imag.storage_offset()]
    floats = lib.tensor([[1.0, 2.0], [3.0, 4.0]])
    z = lib.view_as_complex(floats)
    z.mul_(1j)
    z[0] = 7
    seen.append(floats.tolist())
    x.real = lib.tensor([0.0, 0.0, 0.0])
    seen.append(x.tolist())
    a = np.array([1 + 1j, 2 + 2j])
    t = lib.from_numpy(a)
    t.mul_(2)
    a[0] = 9j
    t.imag.fill_(3)
    seen += [a.tolist(), t.tolist(), np.shares_memory(t.imag.numpy(), t.numpy())]
    for change in (lambda y: y.real.mul_(3),
                   lambda y: lib.view_as_real(y)[:, 0].copy_(lib.view_as_real(y)[:, 1].clone().sin())):
        x = lib.tensor([1 + 2j, 3 + 4j], requires_grad=True)
        y = x * 2
        change(y)
        (y.abs() ** 2).sum().backward()
        seen.append(np.round(x.grad.numpy(), 4).tolist())
    w = lib.tensor([1.0, 2.0], requires_grad=True)
    (w * (1 + 2j)).imag.sum().backward()
    seen.append(w.grad.tolist())
    file = io.BytesIO()
    lib.save({"a": t, "b": t[1:]}, file)
    file.seek(0)
    loaded = lib.load(file)
    loaded["b"].fill_(0)
    seen += [loaded["a"].tolist(), pickle.loads(pickle.dumps(t)).tolist(), copy.deepcopy(t.real).tolist()]
    for name in ("SGD", "Adam", "RMSprop", "Adamax"):
        p = lib.nn.Parameter(lib.tensor([1 + 1j, 2 - 1j]))
        optimizer = getattr(lib.optim, name)([p], lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            (p.abs() ** 2).sum().backward()
            optimizer.step()
        seen.append(np.round(p.detach().numpy(), 4).tolist())
    lib.manual_seed(3)
    seen += [np.round(getattr(lib, name)(shape, dtype=getattr(lib, dtype)).numpy(), 5).tolist()
             for name in ("rand", "randn") for shape in (3, 40) for dtype in ("complex64", "complex128")]
    return seen


def test_story() -> None:
    for step, (ours, theirs) in enumerate(zip(_story(minigrad), _story(torch), strict=True)):
        assert ours == theirs, step


TEXTS: tuple[Callable[[Any], Any], ...] = (
    lambda lib: lib.tensor([1 + 2j, 3 - 4j, 0.5j]), lambda lib: lib.tensor([1 + 2j], dtype=lib.complex128),
    lambda lib: lib.tensor(1e10 + 1e-5j), lambda lib: lib.tensor([[1.5 + 1j] * 20] * 2), lambda lib: lib.full((2,), 1j),
    lambda lib: lib.zeros(0, dtype=lib.complex64), lambda lib: lib.tensor([complex(float("nan"), float("-inf"))]),
    lambda lib: lib.eye(2, dtype=lib.complex64), lambda lib: lib.tensor([1j], requires_grad=True) * 2,
    lambda lib: lib.tensor([[1j, -2.25]]).real, lambda lib: lib.arange(2000) * 1j, lambda lib: lib.tensor(1j).type(),
    lambda lib: lib.tensor(1 + 2j).item(), lambda lib: complex(lib.tensor(1 + 2j)), lambda lib: f"{lib.tensor(1j):.2f}",
    lambda lib: 1j in lib.tensor([1j]), lambda lib: lib.tensor([1j]).view(lib.float32),
    lambda lib: lib.result_type(lib.tensor([1.0], dtype=lib.float64), lib.tensor(1j)),
    lambda lib: lib.result_type(lib.tensor([1.0]), lib.tensor(1j, dtype=lib.complex128)),
    lambda lib: lib.tensor([1], dtype=lib.int8) * 1j, lambda lib: lib.tensor([1.0], dtype=lib.bfloat16) * 1j,
    lambda lib: (lib.tensor([0j, 0j]) ** lib.tensor([0j, 1 + 0j])).isnan(), lambda lib: lib.linspace(0, 1j, 3),
    lambda lib: lib.can_cast(lib.complex64, lib.float32), lambda lib: lib.finfo(lib.complex64).eps,
    # errors
    lambda lib: float(lib.tensor(1 + 2j)), lambda lib: int(lib.tensor(1 + 2j)),
    lambda lib: lib.tensor([1 + 2j], dtype=lib.float32), lambda lib: lib.tensor([1.0]).fill_(1j),
    lambda lib: lib.tensor([1.0]).mul_(1j), lambda lib: lib.tensor([1j]) < lib.tensor([1j]),
    lambda lib: lib.tensor([1j], requires_grad=True).sum().backward(), lambda lib: lib.tensor([1j]).max(),
    lambda lib: lib.tensor([1j]).max(0), lambda lib: lib.tensor([1, 2]).imag,
    lambda lib: lib.view_as_real(lib.tensor([1.0])), lambda lib: lib.view_as_complex(lib.tensor([1.0])),
    lambda lib: lib.view_as_complex(lib.tensor([1, 2])), lambda lib: lib.complex(lib.tensor([1.0]), lib.tensor([1])),
    lambda lib: lib.tensor([1j]) // 1, lambda lib: lib.tensor([1j]) % 1, lambda lib: lib.tensor([1j]).clamp(0),
    lambda lib: lib.tensor([1j]).sort(), lambda lib: lib.tensor([1j]).sign(), lambda lib: lib.tensor([1j]).floor(),
    lambda lib: lib.tensor([1j]).erf(), lambda lib: lib.tensor([1j]).maximum(lib.tensor([1j])),
    lambda lib: lib.tensor([1j]).median(), lambda lib: lib.tensor([1j]).unique(), lambda lib: ~lib.tensor([1j]),
    lambda lib: lib.full((1,), 1j, dtype=lib.float32), lambda lib: lib.tensor([1j]).softmax(0),
    lambda lib: lib.tensor([1j])[lib.tensor([1j])], lambda lib: lib.tensor([1j]).nansum(),
)


ENDS = [complex(a, b) for a in (-math.inf, -2.0, math.inf, math.nan) for b in (-math.inf, 0.0, 3.0, math.nan)]


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_the_logarithm_of_a_sum_of_ends(dtype: str) -> None:
    """Of all pairs. A number of which one part is NaN counts as NaN."""
    found = [np.array([L.logaddexp(L.tensor(z, dtype=getattr(L, dtype)), L.tensor(w, dtype=getattr(L, dtype))).item()
                       for z in ENDS for w in ENDS]) for L in (minigrad, torch)]
    for part in (np.real, np.imag):
        np.testing.assert_allclose(*[part(f) for f in found], rtol=1e-6)


def _said(lib: Any, program: Callable[[Any], Any]) -> str:
    try:
        text = repr(program(lib))
    except Exception as error:
        text = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return text.replace("torch.", "").replace("minigrad.", "")


@pytest.mark.parametrize("program", TEXTS, ids=range(len(TEXTS)))
def test_texts_and_errors(program: Callable[[Any], Any]) -> None:
    assert _said(minigrad, program) == _said(torch, program)
