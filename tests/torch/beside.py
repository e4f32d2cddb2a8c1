"""Stage: tests. In: a function of nn.functional by name, and arrays. Out: whether minigrad and PyTorch give the same
values, gradients and errors.
Next: ``test_layers_against_torch.py``."""

import inspect
import warnings

import numpy as np
import pytest

import minigrad

torch = pytest.importorskip("torch")

LIBRARIES = (minigrad, torch)
def rng(seed=0):
    return np.random.default_rng(seed)


def floats(*shape, seed=0, dtype="float64"):
    return rng(seed).standard_normal(shape).astype(dtype)


def near(ours, theirs, rtol=1e-5, atol=1e-7):
    if ours is None or theirs is None:  # no gradient is as good as zeros
        assert not any(x is not None and x.any() for x in (ours, theirs))
        return
    assert str(ours.dtype).rpartition(".")[2] == str(theirs.dtype).rpartition(".")[2]
    assert tuple(ours.shape) == tuple(theirs.shape)
    np.testing.assert_allclose(ours.detach().double().numpy(), theirs.detach().double().numpy(force=True), rtol=rtol,
                               atol=atol)


def made(library, value, dtype=None):
    """Arrays become tensors; floating ones of the dtype, with a gradient wanted unless they are marked."""
    if isinstance(value, Fixed):
        array = np.asarray(value.value)
        return library.tensor(array).to(getattr(library, dtype)) if dtype and array.dtype.kind == "f" else (
            library.tensor(array))
    if not isinstance(value, np.ndarray):
        return value(library) if callable(value) else value
    tensor = library.tensor(value)
    if value.dtype.kind != "f":
        return tensor
    return (tensor.to(getattr(library, dtype)) if dtype else tensor).requires_grad_()


class Fixed:
    """An array that no gradient is asked for."""

    def __init__(self, value):
        self.value = value


def run(library, function, args, options, dtype, order):
    inputs = [made(library, a, dtype) for a in args]
    out = function(library)(*inputs, **{k: made(library, v, dtype) for k, v in options.items()})
    found = [out]
    wanted = [x for x in inputs if isinstance(x, library.Tensor) and x.requires_grad]
    if order and wanted:
        factor = library.tensor(floats(*out.shape, seed=7)).to(out.dtype)
        first = library.autograd.grad((out * factor).sum(), wanted, create_graph=order > 1, allow_unused=True)
        found += first
        if order > 1:
            mixed = [(g * library.tensor(floats(*g.shape, seed=8 + i)).to(g.dtype)).sum()
                     for i, g in enumerate(first) if g is not None and g.requires_grad]
            found += library.autograd.grad(sum(mixed), wanted, allow_unused=True) if mixed else [None] * len(wanted)
    return found


def compare(name, *args, order=2, dtypes=("float64", "float32"), rtol=1e-6, atol=1e-8, **options):
    """The function of this name in nn.functional: values and derivatives up to the ``order`` agree. The double ones run
    without being compiled, which is quick; the first derivatives of the others are compiled."""
    function = name if callable(name) else lambda library: getattr(library.nn.functional, name)
    scale = {"float64": 1, "float32": 20, "float16": 2e4, "bfloat16": 2e5, None: 1}
    for dtype in dtypes:
        with minigrad.config(TIERS=2 if dtype == "float64" else 1):
            ours, theirs = [run(library, function, args, options, dtype, order if dtype == "float64" else min(order, 1))
                            for library in LIBRARIES]
            for mine, peer in zip(ours, theirs, strict=True):
                near(mine, peer, rtol * scale[dtype], atol * scale[dtype])
    return ours, theirs


def message(call):
    with pytest.raises(Exception) as caught, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        call()
    return type(caught.value).__name__, str(caught.value).replace("minigrad.", "torch.")


def same_error(call):
    assert message(lambda: call(minigrad)) == message(lambda: call(torch))


def signature(function):
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


def zeros(*shape, like=""):
    return lambda m: m.zeros(shape, dtype=getattr(m, like) if like else None)


def ints(*shape, fill=0):
    return lambda m: m.tensor(np.full(shape, fill))


def call_errors(rows, number):
    """The row of a table, a function's name with its arguments, fails alike in both libraries."""
    name, *arguments = rows[number]

    def call(library):
        build = lambda v: v(library) if callable(v) else v  # noqa: E731
        options = {k: build(v) for k, v in arguments[-1].items()} if isinstance(arguments[-1], dict) else {}
        return getattr(library.nn.functional, name)(*[build(v) for v in arguments if not isinstance(v, dict)],
                                                    **options)

    same_error(call)
