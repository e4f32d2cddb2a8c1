"""Stage: front. In: a Tensor. Out: the same Tensor, filled with starting values, outside autograd.
The random ones draw from the global generator, as PyTorch's do.
Next: ``minigrad/func/``."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.autograd import no_grad
from minigrad.tensor import Generator, Tensor, arange, empty_like, from_numpy, randperm, where
from minigrad.tensor import eye as identity

_GAIN_ONE = ("linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
             "sigmoid")


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor that keeps the variance through ``nonlinearity``; ``param`` is LeakyReLU's slope.

    >>> calculate_gain("relu") == 2 ** 0.5, calculate_gain("tanh")
    (True, 1.6666666666666667)
    """
    if nonlinearity in _GAIN_ONE:
        return 1
    if nonlinearity == "tanh":
        return 5.0 / 3
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "leaky_relu":
        if param is None:
            param = 0.01
        elif isinstance(param, bool) or not isinstance(param, int | float):
            raise ValueError(f"negative_slope {param} not a valid number")
        return math.sqrt(2.0 / (1 + param**2))
    if nonlinearity == "selu":
        return 3.0 / 4
    raise ValueError(f"Unsupported nonlinearity {nonlinearity}")


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    """The inputs and outputs a weight of shape (out, in, *receptive field) connects.

    >>> import minigrad
    >>> _calculate_fan_in_and_fan_out(minigrad.zeros(2, 3, 5))
    (15, 10)
    """
    if tensor.ndim < 2:
        raise ValueError("Fan in and fan out can not be computed for tensor with fewer than 2 dimensions")
    outputs, inputs, *field = tensor.shape
    return inputs * math.prod(field), outputs * math.prod(field)


def _calculate_correct_fan(tensor: Tensor, mode: str) -> int:
    modes = ["fan_in", "fan_out"]
    if mode.lower() not in modes:
        raise ValueError(f"Mode {mode} not supported, please use one of {modes}")
    return _calculate_fan_in_and_fan_out(tensor)[modes.index(mode.lower())]


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fills ``tensor`` with numbers uniform in [a, b).

    >>> import minigrad
    >>> float(uniform_(minigrad.zeros(100), 2, 3).min()) >= 2
    True
    """
    with no_grad():
        return tensor.uniform_(a, b, generator=generator)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fills ``tensor`` with normal numbers of the given mean and standard deviation."""
    with no_grad():
        return tensor.normal_(mean, std, generator=generator)


def trunc_normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0,
                  generator: Generator | None = None) -> Tensor:
    """Fills ``tensor`` with normal numbers of the given mean and standard deviation that lie in [a, b].

    Where the interval holds much of the distribution, numbers outside are drawn again; else uniform numbers are drawn
    and accepted with a probability in proportion to the density. Each round draws for all elements, as in PyTorch.
    (https://docs.pytorch.org/docs/stable/nn.init.html#torch.nn.init.trunc_normal_)

    >>> import minigrad
    >>> bool((trunc_normal_(minigrad.zeros(100), std=2.0).abs() <= 2).all())
    True
    """
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn("mean is more than 2 std from [a, b] in nn.init.trunc_normal_. The distribution of values may be "
                      "incorrect.", stacklevel=2)
    with no_grad():
        inside = _normal_cdf((b - mean) / std) - _normal_cdf((a - mean) / std)
        low, high = (tensor.new_tensor(bound).item() for bound in (a, b))
        if inside > 0.3:
            result = empty_like(tensor).normal_(mean, std, generator=generator)
            while True:
                outside = (result < low) | (result > high)
                if not outside.any():
                    return tensor.copy_(result)
                result = where(outside, empty_like(tensor).normal_(mean, std, generator=generator), result)
        peak = -0.5 * ((max(a, min(mean, b)) - mean) / std) ** 2
        result, rejected = None, None
        while rejected is None or rejected.any():
            drawn = empty_like(tensor).uniform_(a, b, generator=generator)
            density = ((drawn - mean) / std) ** 2 * -0.5 - peak
            refused = empty_like(tensor).uniform_(generator=generator).log() > density
            result = drawn if rejected is None else where(rejected, drawn, result)
            rejected = refused if rejected is None else rejected & refused
        return tensor.copy_(result)


def _normal_cdf(x: float) -> float:
    return (1.0 + math.erf(x / math.sqrt(2.0))) / 2.0


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fills ``tensor`` with ``val``.

    >>> import minigrad
    >>> constant_(minigrad.zeros(2), 3)
    tensor([3., 3.])
    """
    with no_grad():
        return tensor.fill_(val)


def ones_(tensor: Tensor) -> Tensor:
    """Fills ``tensor`` with ones."""
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Fills ``tensor`` with zeros."""
    return constant_(tensor, 0.0)


def eye_(tensor: Tensor) -> Tensor:
    """Fills a matrix with ones on the diagonal and zeros elsewhere. ``ValueError`` for what is no matrix.

    >>> import minigrad
    >>> eye_(minigrad.zeros(2, 3))
    tensor([[1., 0., 0.],
            [0., 1., 0.]])
    """
    if tensor.ndim != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    with no_grad():
        return tensor.copy_(identity(*tensor.shape, dtype=tensor.dtype, device=tensor.device))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Fills the weight of a convolution so that it gives back as many of its input channels as it can, in each group.

    A weight of shape (out, in, *kernel) becomes 1 at [g * out / groups + d, d, centre], 0 elsewhere. ``ValueError`` for
    other than 3, 4 or 5 dimensions, or if ``out`` is no multiple of ``groups``.
    (https://docs.pytorch.org/docs/stable/nn.init.html#torch.nn.init.dirac_)

    >>> import minigrad
    >>> dirac_(minigrad.zeros(2, 2, 3)).tolist()
    [[[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]
    """
    if tensor.ndim not in (3, 4, 5):
        raise ValueError("Only tensors with 3, 4, or 5 dimensions are supported")
    outputs, _, *kernel = tensor.shape
    if outputs % groups:
        raise ValueError("dim 0 must be divisible by groups")
    device, dims = tensor.device, tensor.ndim

    def along(axis: int) -> Tensor:
        return arange(tensor.shape[axis], device=device).reshape([-1 if i == axis else 1 for i in range(dims)])

    chosen = along(0) % (outputs // groups) == along(1)
    for axis, size in enumerate(kernel, 2):
        chosen = chosen & (along(axis) == size // 2)
    with no_grad():
        return tensor.copy_(chosen)


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Uniform in ±gain * sqrt(6 / (fan_in + fan_out)). (Glorot, Bengio 2010)"""
    bound = math.sqrt(3.0) * (gain * math.sqrt(2.0 / sum(_calculate_fan_in_and_fan_out(tensor))))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Normal with standard deviation gain * sqrt(2 / (fan_in + fan_out)). (Glorot, Bengio 2010)"""
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / sum(_calculate_fan_in_and_fan_out(tensor))), generator)


def _kaiming_deviation(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float | None:
    if 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=3)
        return None
    fan = _calculate_correct_fan(tensor, mode)
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


def kaiming_uniform_(tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu",
                     generator: Generator | None = None) -> Tensor:
    """Uniform in ±gain * sqrt(3 / fan), the gain that of ``nonlinearity`` with slope ``a``. (He et al. 2015)"""
    deviation = _kaiming_deviation(tensor, a, mode, nonlinearity)
    if deviation is None:
        return tensor
    return uniform_(tensor, -math.sqrt(3.0) * deviation, math.sqrt(3.0) * deviation, generator)


def kaiming_normal_(tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu",
                    generator: Generator | None = None) -> Tensor:
    """Normal with standard deviation gain / sqrt(fan), the gain that of ``nonlinearity``. (He et al. 2015)"""
    deviation = _kaiming_deviation(tensor, a, mode, nonlinearity)
    return tensor if deviation is None else normal_(tensor, 0.0, deviation, generator)


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Generator | None = None) -> Tensor:
    """Fills ``tensor``, seen as a matrix of its first dimension and all others, with orthogonal rows or columns.

    It is gain * Q of the QR decomposition of a normal matrix, with signs that make R's diagonal positive. It is
    computed on the host. (Saxe et al. 2013; https://docs.pytorch.org/docs/stable/nn.init.html#torch.nn.init.orthogonal_)

    >>> import minigrad
    >>> w = orthogonal_(minigrad.zeros(3, 5))
    >>> bool(((w @ w.T) - minigrad.eye(3)).abs().max() < 1e-5)
    True
    """
    if tensor.ndim < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    if tensor.numel() == 0:
        return tensor
    rows = tensor.shape[0]
    drawn = tensor.new_empty((rows, tensor.numel() // rows)).normal_(0, 1, generator=generator).numpy()
    upright = drawn.T if rows < drawn.shape[1] else drawn
    q, r = np.linalg.qr(upright)
    q = q * np.sign(np.diagonal(r))
    with no_grad():
        value = from_numpy(np.ascontiguousarray(q.T if upright is not drawn else q)).reshape(tensor.shape)
        return tensor.copy_(value).mul_(gain)


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator | None = None) -> Tensor:
    """Fills a matrix with normal numbers of mean 0, a share ``sparsity`` of each column with zeros. (Martens 2010)

    Which are zeros is drawn from the global generator, column after column, as in PyTorch.

    >>> import minigrad
    >>> (sparse_(minigrad.ones(4, 2), 0.5) == 0).sum(0)
    tensor([2, 2])
    """
    if tensor.ndim != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    rows, columns = tensor.shape
    zeros = math.ceil(sparsity * rows)
    normal_(tensor, 0, std, generator)
    with no_grad():
        mask = np.zeros((rows, columns), dtype=bool)
        for column in range(columns):
            mask[randperm(rows).numpy()[:zeros], column] = True
        return tensor.masked_fill_(from_numpy(mask).to(device=tensor.device), 0)


def _deprecated(method: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The function under its old name, without the underscore."""
    old = method.__name__[:-1]

    def deprecated_init(*args: Any, **kwargs: Any) -> Tensor:
        warnings.warn(f"`nn.init.{old}` is now deprecated in favor of `nn.init.{method.__name__}`.", FutureWarning,
                      stacklevel=2)
        return method(*args, **kwargs)

    deprecated_init.__name__ = old
    deprecated_init.__doc__ = f"The deprecated name of ``{method.__name__}``."
    return deprecated_init


uniform = _deprecated(uniform_)
normal = _deprecated(normal_)
constant = _deprecated(constant_)
eye = _deprecated(eye_)
dirac = _deprecated(dirac_)
xavier_uniform = _deprecated(xavier_uniform_)
xavier_normal = _deprecated(xavier_normal_)
kaiming_uniform = _deprecated(kaiming_uniform_)
kaiming_normal = _deprecated(kaiming_normal_)
orthogonal = _deprecated(orthogonal_)
sparse = _deprecated(sparse_)
