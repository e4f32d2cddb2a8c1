"""Stage: front. In: the result of a function, and the Tensor that ``out=`` names. Out: the result copied into it, or
PyTorch's error where that may not be.
Next: ``definition.py``."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

from minigrad.autograd.keeps import KEEPS
from minigrad.autograd.mode import mode
from minigrad.dtype import DType, bfloat16, bool_, complex64, complex128, float16, float32, float64, int32, uint8
from minigrad.records import Record
from minigrad.tensor.base import AnyTensor
from minigrad.tensor.changes import OVERLAP, check_distinct, check_overlap
from minigrad.tensor.promotion import c_name, can_cast, type_name

_CREATORS = frozenset(("arange", "empty", "eye", "full", "linspace", "logspace", "ones", "rand", "randint", "randn",
                       "randperm", "range", "zeros"))
_OF_OUT = _CREATORS.union(("cumprod", "cumsum", "nansum", "prod", "sum"))
"""What computes in the dtype of ``out``, unless another is given."""

WITHOUT_OUT = frozenset((
    "_standard_gamma", "adjoint", "argwhere", "as_strided", "as_strided_scatter", "atleast_1d", "atleast_2d",
    "atleast_3d", "bartlett_window", "bincount", "binomial", "blackman_window", "block_diag", "broadcast_tensors",
    "broadcast_to", "cartesian_prod", "chunk", "clone", "combinations", "conj", "conv1d", "conv2d", "conv3d",
    "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "corrcoef", "count_nonzero", "cov",
    "cumulative_trapezoid", "dequantize", "det", "detach", "diag_embed", "diagflat", "diagonal", "diagonal_scatter",
    "dist", "dsplit", "einsum", "empty_like", "empty_strided", "fake_quantize_per_channel_affine",
    "fake_quantize_per_tensor_affine", "flatten", "flip", "fliplr", "flipud", "from_file", "full_like", "gradient",
    "hamming_window", "hann_window", "histogramdd", "hsplit", "imag", "index_fill", "index_put", "isclose", "isfinite",
    "isinf", "isnan", "isreal", "istft", "kaiser_window", "lobpcg", "logdet", "masked_fill", "masked_scatter",
    "matrix_exp", "meshgrid", "moveaxis", "movedim", "narrow", "ones_like", "pca_lowrank", "permute", "pinverse",
    "poisson", "positive", "put", "rand_like", "randint_like", "randn_like", "ravel", "real", "relu",
    "repeat_interleave", "reshape", "resolve_conj", "resolve_neg", "roll", "rot90", "rsub", "scalar_tensor",
    "segment_reduce", "select_scatter", "split", "split_with_sizes", "squeeze", "std_mean", "stft", "svd_lowrank",
    "swapaxes", "swapdims", "t", "tensor_split", "tile", "trace", "transpose", "trapezoid", "trapz", "tril_indices",
    "triu_indices", "unbind", "unflatten", "unique", "unique_consecutive", "unravel_index", "unsafe_chunk",
    "unsafe_split", "unsafe_split_with_sizes", "unsqueeze", "vander", "var_mean", "view_as_complex", "view_as_real",
    "vsplit", "zeros_like"))
"""Functions that have no ``out`` in PyTorch."""


def call_into(out: Any, made: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What ``made(*args, out=out, **kwargs)`` does. ``RuntimeError`` if the result can't be written to ``out`` because
    of where that lies; ``TypeError`` if the function has no ``out``."""
    if made.__name__ in WITHOUT_OUT:
        raise TypeError(f"{made.__name__}() got an unexpected keyword argument 'out'")
    for target in out if isinstance(out, tuple | list) else (out,):
        if isinstance(target, AnyTensor):
            check_distinct(target)
            check_overlap(target, (*args, *kwargs.values()), OVERLAP.get(made.__name__))
    given, asked = kwargs, kwargs.get("dtype") is not None
    if made.__name__ in _OF_OUT and not asked and isinstance(out, AnyTensor):
        given = {**kwargs, "dtype": out.dtype}
    result = made(*args, **given)
    beneath = BENEATH[made.__name__](*args, **kwargs) if made.__name__ in BENEATH else ""
    return into(out, result, made.__name__, asked=asked, beneath=beneath)


@cache
def _has_derivative(name: str) -> bool:
    """Whether the function of this name is differentiated, by operands of other types.

    >>> _has_derivative("index_select"), _has_derivative("logical_and")
    (True, False)
    """
    return f"{''.join([part.capitalize() for part in name.split('_')])}Backward0" in KEEPS


def into(out: Any, result: Any, name: str = "", asked: bool = False, rule: OutType | None = None,
         beneath: str = "") -> Any:
    """What ``out=`` asks for: the result of the function of this name copied into a given tensor, which takes its
    shape: with a warning, if it has elements. ``RuntimeError`` if the result has a gradient, or a dtype that may not be
    stored there. ``asked``: whether the call names the dtype of the result, which out then has to have. ``rule``: if it
    is not that of the name. ``beneath``: the function whose rules count, if it is not the one of the name."""
    if out is None:
        return result
    if isinstance(result, tuple) and name in _AS_TUPLE:
        _refuse_tuple(name, out)
    if isinstance(result, tuple):
        if not isinstance(out, tuple | list) or len(out) != len(result):
            raise TypeError(f"{name}(): argument 'out' must be tuple of {len(result)} Tensors, not "
                            f"{type(out).__name__}")
        rules = OF_SEVERAL.get(name, [None] * len(result))
        written = [into(o, r, name, rule=of) for o, r, of in zip(out, result, rules, strict=True)]
        return tuple(written) if type(result) is tuple else type(result)(*written)
    if not isinstance(result, AnyTensor):
        raise TypeError(f"{name}() got an unexpected keyword argument 'out'")
    if not isinstance(out, AnyTensor):
        raise TypeError(f"{name}(): argument 'out' must be Tensor, not {type(out).__name__}")
    if result.requires_grad or (mode.enabled and out.requires_grad and (
            result.dtype.kind in "fc" or _has_derivative(beneath or name))):
        raise RuntimeError(f"{name}(): functions with out=... arguments don't support automatic differentiation, but "
                           "one of the arguments requires grad.")
    rule = rule or OUT_TYPES.get(beneath or name, CASTABLE)
    if asked and rule is not None and rule.castable is True:
        rule = SAME
    if rule is not None and not rule.takes(result.dtype, out.dtype):
        raise rule.error(rule.words.format(type_name(result.dtype), type_name(out.dtype), c_name(result.dtype),
                                           c_name(out.dtype), result.dtype is int32))
    if out._shape() != result._shape():
        if name in _BY_COUNT and out.numel() == result.numel():
            result = result.reshape(out._shape())
        elif out.numel() and name == "arange":
            warnings.warn(f"The number of elements in the out tensor of shape {list(out._shape())} is {out.numel()} "
                          f"which does not match the computed number of elements {result.numel()}. Note that this may "
                          "occur as a result of rounding error. The out tensor will be resized to a tensor of shape "
                          f"({result.numel()},).", UserWarning, stacklevel=4)
        elif out.numel() and (beneath or name) not in _RESIZED_IN_SILENCE:
            warnings.warn(f"An output with one or more elements was resized since it had shape {list(out._shape())}, "
                          f"which does not match the required output shape {list(result._shape())}. This behavior is "
                          "deprecated, and in a future PyTorch release outputs will not be resized unless they have "
                          "zero elements. You can explicitly reuse an out tensor t by resizing it, inplace, to zero "
                          "elements with t.resize_(0).", UserWarning, stacklevel=4)
        out.resize_(result._shape())
    return out.copy_(result)


def _refuse_tuple(name: str, out: Any) -> None:
    if not isinstance(out, AnyTensor):
        raise TypeError(f"{name}(): argument 'out' must be Tensor, not {type(out).__name__}")
    raise RuntimeError(f"{name} does not support the out kwarg when as_tuple is True")


class OutType(Record):
    """Which dtypes a function writes into ``out``: that of its result only, all that it may be cast to, or those that
    are listed. The words of the error come after the names of both types, as in messages ({0}, {1}) and as in C++ ({2},
    {3}), and whether the result is int32 ({4})."""

    castable: bool | tuple[DType, ...]
    words: str
    error: type[Exception] = RuntimeError

    def takes(self, result: DType, out: DType) -> bool:
        """Whether a result may be written into a dtype."""
        if isinstance(self.castable, tuple):
            return out in self.castable
        return out is result or (self.castable and can_cast(result, out))


_BY_COUNT = ("arange", "linspace", "logspace", "range")
"""These keep the shape of an ``out`` that has as many elements as they make."""

_RESIZED_IN_SILENCE = _CREATORS.union(("addbmm", "bernoulli", "logsigmoid", "lu", "multinomial", "narrow_copy"))
"""Where PyTorch does not warn."""

SAME = OutType(False, "Expected out tensor to have dtype {2}, but got {3} instead")
_OF_ACCESSORS = OutType(False, "expected scalar type {0} but found {1}")
_SCALAR_TYPE = OutType(False, "expected scalar_type {0} but found {1}")
CASTABLE = OutType(True, "result type {0} can't be cast to the desired output type {1}")
_REAL = (float16, bfloat16, float32, float64)
_FLOATING = (*_REAL, complex64, complex128)
OUT_TYPES: dict[str, OutType | None] = {
    **dict.fromkeys(("addbmm", "addmm", "addmv", "alias_copy", "aminmax", "argmax", "argmin", "as_strided_copy",
                     "avg_pool2d", "avg_pool3d", "baddbmm", "bmm", "cross", "diag", "diagonal_copy",
                     "expand_copy", "gather", "histc", "index_add", "index_copy", "index_reduce", "inverse", "isin",
                     "linear", "log_softmax", "lu_solve", "matmul", "mm", "msort", "mv", "narrow_copy", "norm",
                     "permute_copy", "renorm", "scatter", "scatter_add", "scatter_reduce", "slice_scatter", "softmax",
                     "squeeze_copy", "t_copy", "take_along_dim", "transpose_copy", "tril", "triu", "unfold_copy",
                     "unsqueeze_copy", "view_copy"), SAME),
    **dict.fromkeys(("abs", "bitwise_not", "ceil", "clamp", "clamp_max", "clamp_min", "conj_physical", "floor", "frac",
                     "gelu", "hardshrink", "neg", "round", "sgn", "sign", "softplus", "softshrink", "trunc"),
                    OutType(False, "Found dtype {1} but expected {0}")),
    **{name: OutType((bool_, uint8), f"{name} only supports bool tensor for result, got: {{1}}")
       for name in ("all", "any")},
    **dict.fromkeys(("bucketize", "searchsorted"), OutType(False, (
        "torch.searchsorted(): output tensor's dtype is wrong, it can only be Int(int32) or Long(int64) depending on "
        "whether out_int32 flag is True, but we got output tensor's dtype {1} and out_int32 flag is {4}"))),
    "logsigmoid": _OF_ACCESSORS,
    **dict.fromkeys(("dot", "vdot"), OutType(False, "result dtype {1} does not match input dtype {0}")),
    **dict.fromkeys(("amax", "amin"), OutType(False, "Expected the dtype for input and out to match, but got {0} for "
                                                     "input's dtype and {1} for out's dtype.")),
    **dict.fromkeys(("diff", "logcumsumexp"), _SCALAR_TYPE),
    **dict.fromkeys(("nanquantile", "quantile"),
                    OutType(False, "quantile() out tensor must be same dtype as the input tensor")),
    **{name: OutType(False, f"{name}(): self and result must have the same scalar type")
       for name in ("index_select", "masked_select")},
    **{name: OutType(False, f"{name} does not support non-boolean outputs.")
       for name in ("isneginf", "isposinf", "signbit")},
    **dict.fromkeys(("cat", "column_stack", "concat", "concatenate", "dstack", "hstack", "row_stack", "stack",
                     "vstack"),
                    OutType(True, "torch.cat(): input types can't be cast to the desired output type {1}", TypeError)),
    **dict.fromkeys(("inner", "tensordot"), OutType(False, "tensordot: Expected the output tensor to have dtype {0}, "
                                                           "but got an output tensor with dtype {1}")),
    **dict.fromkeys(("complex", "polar"), OutType(False, "Expected object of scalar type {0} but got scalar type {1} "
                                                         "for argument 'out'")),
    "float_power": OutType(False, "the output given to float_power has dtype {1} but the operation's result requires "
                                  "dtype {0}"),
    "heaviside": OutType(False, "heaviside is not yet implemented for tensors with different dtypes."),
    "multinomial": OutType(False, "multinomial expects {0} tensor out, got: {1}"),
    "nonzero": OutType(False, "nonzero: Expected out tensor to have scalar type {0} but got scalar type{1}"),
    "where": OutType(False, "Expected out type to be {0} but got {1}"),
    "mean": OutType(True, "mean.dtype_out(): input types can't be cast to the desired output type {1}"),
    "nansum of floats": OutType(_REAL, "\"nansum_cpu\" not implemented for '{1}'", NotImplementedError),
    "hash_tensor": OutType(False, "Expected result to be of dtype uint64, but got {1}"),
    "nansum": OutType(False, "nansum: provided dtype must match dtype of result. Got {1} and {0}."),
    "nan_to_num": OutType(False, "nan_to_num: dtype of out: {1} should be same as input: {0}"),
    "take": OutType(False, "take(): self and out expected to have the same dtype, but got self.dtype = {0} and "
                           "out.dtype = {1}"),
    **dict.fromkeys(_CREATORS, OutType(False, "dtype {0} does not match dtype of out parameter ({1})")),
    "logsumexp": OutType(_FLOATING, "logsumexp(): Expected floating point type for result tensor, but got: {1}"),
    "linalg_multi_dot": OutType(False, "multi_dot(): expected out tensor to have dtype {2} but got {3}"),
    **dict.fromkeys(("bernoulli", "chain_matmul", "lu")),
}
"""Of functions that have other rules than most; None: any dtype."""

_AS_TUPLE = ("nonzero",)
"""These may give several Tensors, but only the one is written to ``out``."""


def _clamped(input: Any, *bounds: Any, **named: Any) -> str:
    return "maximum" if any([isinstance(x, AnyTensor) for x in (*bounds, *named.values())]) else "clamp"


def _differences(input: Any, n: int = 1, *_: Any, **named: Any) -> str:
    return "sub" if n else "diff"


def _of_floats(input: Any, *_: Any, dtype: DType | None = None, **named: Any) -> str:
    if input.dtype.kind != "f":
        return "sum"
    return "nansum of floats" if dtype is None else "nansum"


def _products(input: Any, other: Any) -> str:
    return "inner" if input.ndim and other.ndim else "mul"


def _absolute(input: Any) -> str:
    return "hypot" if input.dtype.kind == "c" else "abs"


BENEATH: dict[str, Callable[..., str]] = {
    "abs": _absolute, "clamp": _clamped, "clamp_max": _clamped, "clamp_min": _clamped, "diff": _differences,
    "inner": _products, "nanmean": _of_floats, "nansum": _of_floats,
}
"""Of functions whose rules depend on the call: which function does the work of this one."""

_OF_MEDIAN = (
    OutType(False, "Expected tensor for 'values' to have the same type as tensor for argument #2 'self'; but type "
                   "torch.{1}Tensor does not equal torch.{0}Tensor (while checking arguments for median)"),
    OutType(False, "Expected tensor for argument #1 'indices' to have scalar type {0}; but got torch.{1}Tensor instead "
                   "(while checking arguments for median)"))
OF_SEVERAL: dict[str, tuple[OutType, ...]] = {
    **dict.fromkeys(("cummax", "cummin"), (_SCALAR_TYPE,) * 2),
    **dict.fromkeys(("max", "min", "qr", "sort", "topk"), (SAME,) * 2),
    **dict.fromkeys(("median", "nanmedian"), _OF_MEDIAN),
    "native_batch_norm": (_OF_ACCESSORS,) * 3, "svd": (SAME,) * 3,
    "frexp": tuple([OutType(False, f"torch.frexp() expects {part} dtype {{2}} but got {{3}}")
                    for part in ("mantissa to have", "exponent to have")]),
    "histogram": tuple([OutType(False, f"torch.histogram: input tensor and {part} tensor should have the same dtype, "
                                       f"but got input {{2}} and {part} {{3}}") for part in ("hist", "bin_edges")]),
    "kthvalue": (OutType(False, "output values must be of same type as input"),
                 OutType(False, "output indices must be of scalar type {0}")),
    "mode": (OutType(False, "expected scalar type '{0}' but got '{1}' for values output"),
             OutType(False, "expected scalar type '{0}' but got '{1}' for indices output")),
}
"""The same of functions with several results: the rule of each."""
