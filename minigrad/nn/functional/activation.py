"""Stage: front. In: a Tensor. Out: a nonlinear function of it.
Next: ``top_level.py``."""

from __future__ import annotations

import warnings
from typing import Any

from minigrad.nn.composites import activation as formulas
from minigrad.nn.functional.arguments import number
from minigrad.tensor import Tensor, empty_like, scalar, type_name
from minigrad.tensor.autocast import operands_of
from minigrad.tensor.definition import in_place
from minigrad.tensor.operands import BOOL_SUBTRACTION, dim_index, require_tensor
from minigrad.tensor.outputs import into
from minigrad.tensor.promotion import stored
from minigrad.tensor.random import slopes

# --- straight pieces


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0). ``RuntimeError`` for bools.

    >>> import minigrad
    >>> relu(minigrad.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """
    require_tensor(input, "relu", "input", 1)
    return input.relu_() if inplace else input.relu()


relu_ = in_place(relu)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x, 0), 6).

    >>> import minigrad
    >>> relu6(minigrad.tensor([-1.0, 2.0, 7.0]))
    tensor([0., 2., 6.])
    """
    return hardtanh(input, 0.0, 6.0, inplace)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where x > 0, else negative_slope * x.

    >>> import minigrad
    >>> leaky_relu(minigrad.tensor([-1.0, 2.0]), 0.5)
    tensor([-0.5000,  2.0000])
    """
    require_tensor(input, "leaky_relu", "input", 1)
    negative_slope = number(negative_slope, "leaky_relu", "negative_slope", 2)
    return input.leaky_relu_(negative_slope) if inplace else input.leaky_relu(negative_slope)


leaky_relu_ = in_place(leaky_relu)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x where x > 0, else weight * x; the weight is one number or one for each channel (dimension 1 of x).

    ``RuntimeError`` when their number is another, or the dtypes differ.

    >>> import minigrad
    >>> prelu(minigrad.tensor([-1.0, 2.0]), minigrad.tensor([0.5]))
    tensor([-0.5000,  2.0000])
    """
    require_tensor(input, "prelu", "input", 1)
    require_tensor(weight, "prelu", "weight", 2)
    input, weight = operands_of("prelu", input, weight)
    if input.dtype is not weight.dtype:
        raise RuntimeError(f"prelu: Type promoting not supported. Got {type_name(input.dtype)} and "
                           f"{type_name(weight.dtype)}")
    count = weight.numel()
    if count != 1:
        if not input.ndim:
            raise RuntimeError("Not allow zero-dim input tensor.")
        channels = input.shape[1] if input.ndim > 1 else 1
        if count != channels:
            raise RuntimeError("Mismatch of parameter numbers and input channel size. Found parameter numbers = "
                               f"{count} and channel size = {channels}.")
    if weight.ndim > 1:
        raise RuntimeError("prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = "
                           f"{weight.ndim}")
    formulas.require_float(input, "prelu_cpu")
    return formulas.prelu(input, weight)


def rrelu(input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False,
          inplace: bool = False) -> Tensor:
    """x where x > 0, else a * x, with a drawn uniformly in [lower, upper) for each element in training, and their mean
    otherwise. In training x is computed at once, since PyTorch draws numbers only for the elements that need one.
    (Xu et al. 2015)

    >>> import minigrad
    >>> rrelu(minigrad.tensor([-1.0, 2.0]), 0.25, 0.75)
    tensor([-0.5000,  2.0000])
    """
    if inplace:
        return rrelu_(input, lower, upper, training)
    require_tensor(input, "rrelu", "input", 1)
    lower, upper = number(lower, "rrelu", "lower", 2), number(upper, "rrelu", "upper", 3)
    if not lower <= upper:
        raise RuntimeError("Lower bound should be less than or equal to the upper bound")
    if not training:
        return formulas.mean_rrelu(input, slope=(lower + upper) / 2)
    formulas.require_float(input, "rrelu_with_noise_out_cpu")
    return formulas.rrelu(input, slopes(input.detach(), lower, upper))


rrelu_ = in_place(rrelu)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """min(max(x, min_val), max_val). ``ValueError`` when the bounds are the wrong way round.

    >>> import minigrad
    >>> hardtanh(minigrad.tensor([-3.0, 0.5]))
    tensor([-1.0000,  0.5000])
    """
    if inplace:
        return hardtanh_(input, min_val, max_val)
    require_tensor(input, "hardtanh", "input", 1)
    if min_val > max_val:
        raise ValueError("min_val cannot be greater than max_val")
    low, high = number(min_val, "hardtanh", "min_val", 2), number(max_val, "hardtanh", "max_val", 3)
    kind = input.dtype.kind
    if kind == "b":
        raise RuntimeError("Bool inputs not supported for hardtanh")
    if kind != "f":
        low, high = int(low), int(high)
        if low < 0 and kind == "u":
            raise RuntimeError("cannot do hardtanh on an unsigned type with negative limits")
    return formulas.hardtanh(input, low=low, high=high)


hardtanh_ = in_place(hardtanh)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x where x > threshold, else ``value``.

    >>> import minigrad
    >>> threshold(minigrad.tensor([0.5, 2.0]), 1.0, -9.0)
    tensor([-9.,  2.])
    """
    if inplace:
        return threshold_(input, threshold, value)
    require_tensor(input, "threshold", "input", 1)
    bound, value = [v if type(v) is int else number(v, "threshold", name, position) for v, name, position in
                    ((threshold, "threshold", 2), (value, "value", 3))]
    if input.dtype.kind in "bc":
        raise NotImplementedError(f"\"threshold_cpu\" not implemented for '{type_name(input.dtype)}'")
    bound, value = stored(bound, input.dtype), stored(value, input.dtype)
    return formulas.threshold(input, threshold=bound, value=value)


threshold_ = in_place(threshold)


def hardshrink(input: Tensor, lambd: float = 0.5, *, out: Tensor | None = None) -> Tensor:
    """0 from -lambd to lambd, elsewhere x.

    >>> import minigrad
    >>> hardshrink(minigrad.tensor([-1.0, 0.3]))
    tensor([-1.,  0.])
    """
    require_tensor(input, "hardshrink", "input", 1)
    return into(out, formulas.hardshrink(input, lambd=number(lambd, "hardshrink", "lambd", 2)), "hardshrink")


def softshrink(input: Tensor, lambd: float = 0.5, *, out: Tensor | None = None) -> Tensor:
    """x drawn towards 0 by ``lambd``, which may not be negative (``RuntimeError``).

    >>> import minigrad
    >>> softshrink(minigrad.tensor([-1.0, 0.3]))
    tensor([-0.5000,  0.0000])
    """
    require_tensor(input, "softshrink", "input", 1)
    bound = number(lambd, "softshrink", "lambd", 2)
    formulas.require_float(input, "softshrink_check")
    if not bound >= 0:
        raise RuntimeError(f"lambda must be in range [0, {float(input.dtype.max):g}] for input dtype "
                           f"{type_name(input.dtype)}, but found {bound:g}")
    return into(out, formulas.softshrink(input, lambd=bound), "softshrink")


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """x / 6 + 1/2, cut off at 0 and 1.

    >>> import minigrad
    >>> hardsigmoid(minigrad.tensor([-4.0, 0.0]))
    tensor([0.0000, 0.5000])
    """
    require_tensor(input, "hardsigmoid", "input", 1)
    return _hardsigmoid_(input) if inplace else formulas.hardsigmoid(input)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x * hardsigmoid(x). (Howard et al. 2019)

    >>> import minigrad
    >>> hardswish(minigrad.tensor([0.0, 4.0]))
    tensor([0., 4.])
    """
    require_tensor(input, "hardswish", "input", 1)
    return _hardswish_(input) if inplace else formulas.hardswish(input)


# --- curves


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where x > 0, else alpha * (exp(x) - 1). (Clevert, Unterthiner, Hochreiter 2015)

    >>> import minigrad
    >>> elu(minigrad.tensor([-1.0, 2.0]))
    tensor([-0.6321,  2.0000])
    """
    if inplace:
        return elu_(input, alpha)
    require_tensor(input, "elu", "input", 1)
    return formulas.elu(input, alpha=number(alpha, "elu", "alpha", 2))


elu_ = in_place(elu)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """1.0507 * elu(x, 1.6733), with constants that keep mean 0 and variance 1. (Klambauer et al. 2017)

    >>> import minigrad
    >>> selu(minigrad.tensor([-1.0, 2.0]))
    tensor([-1.1113,  2.1014])
    """
    if inplace:
        return selu_(input)
    require_tensor(input, "selu", "input", 1)
    return formulas.elu(input, alpha=1.6732632423543772, scale=1.0507009873554805)


selu_ = in_place(selu)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where x > 0, else alpha * (exp(x / alpha) - 1). (Barron 2017) ``RuntimeError`` when alpha is 0.

    >>> import minigrad
    >>> celu(minigrad.tensor([-1.0, 2.0]), 2.0)
    tensor([-0.7869,  2.0000])
    """
    if inplace:
        return celu_(input, alpha)
    require_tensor(input, "celu", "input", 1)
    alpha = number(alpha, "celu", "alpha", 2)
    if alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    return formulas.celu(input, alpha=alpha)


celu_ = in_place(celu)


def gelu(input: Tensor, approximate: str = "none", *, out: Tensor | None = None) -> Tensor:
    """x * P(N <= x) for a standard normal N, or with ``approximate="tanh"`` a formula close to it.
    (Hendrycks, Gimpel 2016)

    >>> import minigrad
    >>> gelu(minigrad.tensor([-1.0, 2.0]))
    tensor([-0.1587,  1.9545])
    """
    return into(out, require_tensor(input, "gelu", "input", 1).gelu(approximate), "gelu")


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x * sigmoid(x). (Elfwing, Uchibe, Doya 2017)

    >>> import minigrad
    >>> silu(minigrad.tensor([-1.0, 2.0]))
    tensor([-0.2689,  1.7616])
    """
    require_tensor(input, "silu", "input", 1)
    return input.silu_() if inplace else input.silu()


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x * tanh(softplus(x)). (Misra 2019)

    >>> import minigrad
    >>> mish(minigrad.tensor([-1.0, 2.0]))
    tensor([-0.3034,  1.9440])
    """
    require_tensor(input, "mish", "input", 1)
    return _mish_(input) if inplace else formulas.mish(input)


def softplus(input: Tensor, beta: float = 1, threshold: float = 20, *, out: Tensor | None = None) -> Tensor:
    """log(1 + exp(beta * x)) / beta, and x itself where beta * x > threshold.

    >>> import minigrad
    >>> softplus(minigrad.tensor([0.0, 30.0]))
    tensor([ 0.6931, 30.0000])
    """
    require_tensor(input, "softplus", "input", 1)
    beta, threshold = number(beta, "softplus", "beta", 2), number(threshold, "softplus", "threshold", 3)
    return into(out, input.softplus(beta, threshold), "softplus")


def logsigmoid(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """log(sigmoid(x)).

    >>> import minigrad
    >>> logsigmoid(minigrad.zeros(1))
    tensor([-0.6931])
    """
    return into(out, require_tensor(input, "log_sigmoid", "input", 1).logsigmoid(), "logsigmoid")


def softsign(input: Tensor) -> Tensor:
    """x / (1 + |x|).

    >>> import minigrad
    >>> softsign(minigrad.tensor([-1.0, 3.0]))
    tensor([-0.5000,  0.7500])
    """
    if input.dtype.kind == "b":
        raise NotImplementedError("\"abs_cpu\" not implemented for 'Bool'")
    return formulas.softsign(input)


def tanh(input: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return input.tanh()


def tanhshrink(input: Tensor) -> Tensor:
    """x - tanh(x).

    >>> import minigrad
    >>> tanhshrink(minigrad.tensor([1.0]))
    tensor([0.2384])
    """
    if input.dtype.kind == "b":
        raise RuntimeError(BOOL_SUBTRACTION)
    return formulas.tanhshrink(input)


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + exp(-x))."""
    return input.sigmoid()


_hardsigmoid_ = in_place(formulas.hardsigmoid)
_hardswish_ = in_place(formulas.hardswish)
_mish_ = in_place(formulas.mish)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """a * sigmoid(b) of the two halves a, b of x along ``dim``. (Dauphin et al. 2016) ``RuntimeError`` for an odd size.

    >>> import minigrad
    >>> glu(minigrad.tensor([2.0, 0.0]))
    tensor([1.])
    """
    require_tensor(input, "glu", "input", 1)
    if not input.ndim:
        raise RuntimeError("glu does not support scalars because halving size must be even")
    axis = dim_index(dim, input.ndim)
    if input.shape[axis] % 2:
        raise RuntimeError(f"Halving dimension must be even, but dimension {axis} is size {input.shape[axis]}")
    return formulas.glu(input, dim=axis)


# --- along a dimension


def _softmax_dim(name: str, ndim: int, stacklevel: int) -> int:
    warnings.warn(f"Implicit dimension choice for {name} has been deprecated. "
                  "Change the call to include dim=X as an argument.", stacklevel=stacklevel)
    return 0 if ndim in (0, 1, 3) else 1


def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """exp(x) / sum of exp(x) along ``dim``; ``dtype`` casts x first.

    >>> import minigrad
    >>> softmax(minigrad.zeros(1, 2), dim=1)
    tensor([[0.5000, 0.5000]])
    """
    if dim is None:
        dim = _softmax_dim("softmax", input.ndim, _stacklevel)
    return input.softmax(dim, dtype)


def log_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """The logarithm of softmax along ``dim``; ``dtype`` casts x first."""
    if dim is None:
        dim = _softmax_dim("log_softmax", input.ndim, _stacklevel)
    return input.log_softmax(dim, dtype)


def softmin(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """softmax(-x) along ``dim``; ``dtype`` casts x first.

    >>> import minigrad
    >>> softmin(minigrad.zeros(1, 2), dim=1)
    tensor([[0.5000, 0.5000]])
    """
    if dim is None:
        dim = _softmax_dim("softmin", input.ndim, _stacklevel)
    return formulas.softmin(input, dim=dim, dtype=dtype)


def gumbel_softmax(logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Tensor:
    """softmax((logits + g) / tau) with Gumbel noise g; with ``hard`` one-hot at its largest element, differentiated as
    if it were not. (Jang, Gu, Poole 2016) ``eps`` has no effect, and warns.

    >>> import minigrad
    >>> _ = minigrad.manual_seed(0)
    >>> gumbel_softmax(minigrad.tensor([0.0, 100.0]), hard=True)
    tensor([0., 1.])
    """
    if eps != 1e-10:
        warnings.warn("`eps` parameter is deprecated and has no effect.", stacklevel=2)
    if not logits.dtype.is_floating_point:
        raise RuntimeError("Exponential distribution is a continuous probability distribution. dtype must be a "
                           f"floating point but you specified {type_name(logits.dtype)}")
    noise = empty_like(logits).exponential_()
    soft = formulas.gumbel_softmax(logits, noise, scalar(float(tau), logits.dtype, logits.device), dim=dim)
    return formulas.to_one_hot(soft.detach(), dim=dim) + soft if hard else soft
