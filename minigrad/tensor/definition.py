"""Stage: front. In: one definition of an op, a method in a mixin class. Out: its other spellings: the function
``minigrad.add(x, y)`` beside ``x.add(y)``, the in-place twin ``x.add_(y)``, the augmented operator ``x += y``.
Next: ``quotients.py``."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, NamedTuple, ParamSpec, TypeVar, cast

from minigrad.autograd.mode import mode, no_grad
from minigrad.dtype import DType, bfloat16, bool_, complex64, complex128, float16, float32, float64, int32, uint8
from minigrad.runtime.locks import record_lock
from minigrad.tensor.arguments import UNEXPECTED, blamed, explained
from minigrad.tensor.base import AnyTensor, blank, check_in_place
from minigrad.tensor.changes import OVERLAP, check_distinct, check_overlap
from minigrad.tensor.operands import is_number, one_device, require_tensor
from minigrad.tensor.overrides import NOT_ASKED, armed, ask, asked, asked_after_all, asking
from minigrad.tensor.promotion import c_name, can_cast, check_dtype, type_name, with_number
from minigrad.tensor.run_time import scalar
from minigrad.tensor.storage import tracing

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor

F = TypeVar("F", bound=Callable[..., Any])
P = ParamSpec("P")

FUNCTIONS: dict[str, Any] = {}
"""The functions of the ``minigrad`` namespace, by name."""


# --- NumPy's names of parameters

NUMPY_NAMES = {"axis": "dim", "keepdims": "keepdim"}
"""What PyTorch's functions accept for these parameters too."""


def numpy_names(made: F) -> F:
    """The function with NumPy's names of its parameters accepted, too: ``axis`` for ``dim`` and ``keepdims`` for
    ``keepdim``. It is returned as it is if it has none of them, or takes NumPy's names itself.

    >>> import minigrad
    >>> minigrad.tensor([[1., 2.], [3., 4.]]).amax(axis=1, keepdims=True)
    tensor([[2.],
            [4.]])
    """
    code = inspect.unwrap(made).__code__
    taken = code.co_varnames[:code.co_argcount + code.co_kwonlyargcount]
    names = {name: ours for name, ours in NUMPY_NAMES.items() if ours in taken and name not in taken}
    theirs = frozenset(names)
    if not names:
        return made

    @wraps(made)
    def accepting(*args: Any, **kwargs: Any) -> Any:
        if kwargs and not theirs.isdisjoint(kwargs):
            kwargs = {names.get(name, name): value for name, value in kwargs.items()}
        check_dtype(made.__name__, kwargs)
        return made(*args, **kwargs)

    return cast(F, accepting)


def also(**names: str) -> Callable[[F], F]:
    """A decorator: the function takes some of its arguments by other names, too, as PyTorch's overloads call them."""

    def attach(made: F) -> F:
        @wraps(made)
        def renamed(*args: Any, **kwargs: Any) -> Any:
            if kwargs and not names.keys().isdisjoint(kwargs):
                kwargs = {names.get(name, name): value for name, value in kwargs.items()}
            return made(*args, **kwargs)

        renamed.also = names  # type: ignore[attr-defined]
        return cast(F, renamed)

    return attach


# --- x.exp() and minigrad.exp(x)


def function(*names: str) -> Callable[[F], F]:
    """Make the function one of the ``minigrad`` namespace under these names."""

    def attach(made: F) -> F:
        made.__name__ = made.__qualname__ = names[0]
        accepting = numpy_names(made)
        if names[0] in NOT_ASKED:
            accepting = explained(accepting)
        else:
            accepting = asking(accepting, None if "out" in inspect.unwrap(made).__code__.co_varnames else call_into)
            accepting.__wrapped__ = Shown(made, False)  # type: ignore[attr-defined]
        for name in names:
            FUNCTIONS[name] = accepting
        return accepting

    return attach


def spelled(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """The arguments by position of a function of a Tensor: the first may be given by name, which NumPy calls otherwise.
    NumPy's name of the second is changed in ``kwargs``. ``TypeError`` without a first."""
    if "x2" in kwargs:
        kwargs["other"] = kwargs.pop("x2")
    if args:
        return args
    for first in _FIRST:
        if first in kwargs:
            return (kwargs.pop(first),)
    raise TypeError(f"{name}() missing 1 required positional argument: 'input'")


_FIRST = ("input", "x", "a", "x1")


class Shown:
    """What ``inspect.signature`` and ``help`` find behind a function that was made of a method: its signature,
    with ``out``, and ``input`` in place of a method's ``self``. It is put together when somebody asks for it."""

    __slots__ = ("__wrapped__", "of_method")

    def __init__(self, made: Callable[..., Any], of_method: bool = True) -> None:
        self.__wrapped__, self.of_method = made, of_method

    @property
    def __signature__(self) -> Any:
        signature = inspect.signature(self.__wrapped__)
        others = list(signature.parameters.values())
        if self.of_method:
            others[0] = others[0].replace(name="input")
        if "out" not in signature.parameters and signature.return_annotation not in ("bool", "int", "str", "DType"):
            out = inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, default=None, annotation="Any")
            at = next((i for i, p in enumerate(others) if p.kind == inspect.Parameter.VAR_KEYWORD), len(others))
            others.insert(at, out)
        return signature.replace(parameters=others)


_OF_NUMBERS = frozenset(("add", "sub", "mul", "div", "floor_divide", "true_divide"))
"""Functions whose first operand may be a number."""


def _as_tensor(value: Any, others: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """The number as a 0-d Tensor of the dtype that it takes beside the other operand."""
    other = others[0] if others else kwargs.get("other")
    if isinstance(other, AnyTensor):
        return scalar(value, with_number(other.dtype, value), other.device)
    return scalar(value)


def both(*names: str, keywords: Mapping[str, str] | None = None) -> Callable[[F], F]:
    """Make the method a function of the ``minigrad`` namespace, too, under these names. Other names of the method are
    lines of their own in the class: ``multiply = mul``. ``keywords``: what PyTorch calls arguments of the function that
    have another name here, and that name; the first argument's is ``input``."""

    def attach(made: F) -> F:
        name = names[0]
        made = numpy_names(made)

        @wraps(made)
        def function(*args: Any, **kwargs: Any) -> Any:
            if armed:
                found = asked(args, kwargs)
                if found is not None:
                    return ask(public, found, args, kwargs)
            try:
                if kwargs:
                    args = spelled(name, args, kwargs)
                    check_dtype(name, kwargs)
                require_tensor(args[0] if args else None, name, "input", 1)
                if "out" in kwargs:
                    return call_into(kwargs.pop("out"), made, args, kwargs)
                return made(*args, **kwargs)
            except Exception as error:
                found = asked_after_all(args, kwargs)
                if found is None and not (name in _OF_NUMBERS and args and is_number(args[0])):
                    if isinstance(error, UNEXPECTED):
                        raise blamed(error, made, args, kwargs, False) from None
                    raise
            if found is None:
                return function(_as_tensor(args[0], args[1:], kwargs), *args[1:], **kwargs)
            return ask(public, found, args, kwargs)

        function.__qualname__ = name
        function.__wrapped__ = Shown(made)  # type: ignore[assignment]
        public = function if keywords is None else _renamed(function, keywords)
        for spelling in names:
            FUNCTIONS[spelling] = public
        return made

    return attach


def _renamed(function: Callable[..., Any], keywords: Mapping[str, str]) -> Callable[..., Any]:
    """The function, whose arguments have other names, too."""

    @wraps(function)
    def renamed(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **{keywords.get(key, key): value for key, value in kwargs.items()})

    return renamed


_CREATORS = frozenset(("arange", "empty", "eye", "full", "linspace", "logspace", "ones", "rand", "randint", "randn",
                       "randperm", "range", "scalar_tensor", "zeros"))
_OF_OUT = _CREATORS.union(("cumprod", "cumsum", "nansum", "prod", "sum"))
"""What computes in the dtype of ``out``, unless another is given."""


def call_into(out: Any, made: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What ``made(*args, out=out, **kwargs)`` does. ``RuntimeError`` if the result can't be written to ``out`` because
    of where that lies."""
    for target in out if isinstance(out, tuple | list) else (out,):
        if isinstance(target, AnyTensor):
            check_distinct(target)
            check_overlap(target, (*args, *kwargs.values()), OVERLAP.get(made.__name__))
            if made.__name__ in _OF_OUT and kwargs.get("dtype") is None:
                kwargs["dtype"] = target.dtype
    return into(out, made(*args, **kwargs), made.__name__, (*args[1:], *kwargs.values()),
                asked=kwargs.get("dtype") is not None)


def into(out: Any, result: Any, name: str = "", others: Iterable[Any] = (), asked: bool = False,
         rule: OutType | None = None) -> Any:
    """What ``out=`` asks for: the result of the function of this name copied into a given tensor, which takes its
    shape: with a warning, if it has elements. ``RuntimeError`` if the result has a gradient, or a dtype that may not be
    stored there. ``others``: the function's arguments but the first; ``asked``: whether one of them is the dtype of the
    result, which out then has to have. ``rule``: if it is not that of the name."""
    if out is None:
        return result
    if isinstance(result, tuple):
        if not isinstance(out, tuple | list) or len(out) != len(result):
            raise TypeError(f"{name}(): argument 'out' must be tuple of {len(result)} Tensors, not "
                            f"{type(out).__name__}")
        rules = OF_SEVERAL.get(name, [None] * len(result))
        written = [into(o, r, name, others, rule=of) for o, r, of in zip(out, result, rules, strict=True)]
        return tuple(written) if type(result) is tuple else type(result)(*written)
    if not isinstance(result, AnyTensor):
        raise TypeError(f"{name}() got an unexpected keyword argument 'out'")
    if not isinstance(out, AnyTensor):
        raise TypeError(f"{name}(): argument 'out' must be Tensor, not {type(out).__name__}")
    if result.requires_grad or (mode.enabled and out.requires_grad and result.dtype.kind in "fc"):
        raise RuntimeError(f"{name}(): functions with out=... arguments don't support automatic differentiation, but "
                           "one of the arguments requires grad.")
    if name == "normal" and any([isinstance(x, tuple | list) for x in others]):
        name = "randn"  # with a size it is one of those that make tensors
    rule = rule or OUT_TYPES.get(name, CASTABLE)
    if rule is not None and rule.with_numbers and any([isinstance(x, AnyTensor) for x in others]):
        rule = CASTABLE
    if asked and rule is not None and rule.castable is True:
        rule = SAME
    if out.dtype is not result.dtype and rule is not None and not rule.takes(result.dtype, out.dtype):
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
        elif out.numel() and name not in _RESIZED_IN_SILENCE:
            warnings.warn(f"An output with one or more elements was resized since it had shape {list(out._shape())}, "
                          f"which does not match the required output shape {list(result._shape())}. This behavior is "
                          "deprecated, and in a future PyTorch release outputs will not be resized unless they have "
                          "zero elements. You can explicitly reuse an out tensor t by resizing it, inplace, to zero "
                          "elements with t.resize_(0).", UserWarning, stacklevel=4)
        out.resize_(result._shape())
    return out.copy_(result)


class OutType(NamedTuple):
    """Which dtypes a function writes into ``out``: that of its result only, all that it may be cast to, or those that
    are listed. The words of the error come after the names of both types, as in messages ({0}, {1}) and as in C++ ({2},
    {3}), and whether the result is int32 ({4}). ``with_numbers``: that is so where all operands but the first are
    numbers; beside Tensors it is ``CASTABLE``."""

    castable: bool | tuple[DType, ...]
    words: str
    error: type[Exception] = RuntimeError
    with_numbers: bool = False

    def takes(self, result: DType, out: DType) -> bool:
        """Whether a result may be written into another dtype."""
        return out in self.castable if isinstance(self.castable, tuple) else self.castable and can_cast(result, out)


_BY_COUNT = ("arange", "linspace", "logspace", "range")
"""These keep the shape of an ``out`` that has as many elements as they make."""

_RESIZED_IN_SILENCE = _CREATORS.union(("addbmm", "bernoulli", "logsigmoid", "lu", "multinomial", "narrow_copy"))
"""Where PyTorch does not warn."""

SAME = OutType(False, "Expected out tensor to have dtype {2}, but got {3} instead")
_SCALAR_TYPE = OutType(False, "expected scalar_type {0} but found {1}")
CASTABLE = OutType(True, "result type {0} can't be cast to the desired output type {1}")
OUT_TYPES: dict[str, OutType | None] = {
    **dict.fromkeys(("addbmm", "addmm", "addmv", "alias_copy", "aminmax", "argmax", "argmin", "as_strided_copy",
                     "avg_pool2d", "avg_pool3d", "baddbmm", "bmm", "cross", "diag", "diagonal_copy",
                     "expand_copy", "gather", "histc", "index_add", "index_copy", "index_reduce", "isin", "linear",
                     "log_softmax", "lu_solve", "matmul", "mm", "msort", "mv", "narrow_copy", "norm", "permute_copy",
                     "renorm", "scatter", "scatter_add", "scatter_reduce", "slice_scatter", "softmax",
                     "squeeze_copy", "t_copy", "take_along_dim", "transpose_copy", "tril", "triu", "unfold_copy",
                     "unsqueeze_copy", "view_copy"), SAME),
    **dict.fromkeys(("abs", "bitwise_not", "ceil", "conj", "floor", "frac", "gelu", "hardshrink", "neg", "round",
                     "sgn", "sign", "softplus", "softshrink", "trunc"),
                    OutType(False, "Found dtype {1} but expected {0}")),
    **dict.fromkeys(("clamp", "clamp_max", "clamp_min"),
                    OutType(False, "Found dtype {1} but expected {0}", with_numbers=True)),
    **{name: OutType((bool_, uint8), f"{name} only supports bool tensor for result, got: {{1}}")
       for name in ("all", "any")},
    **dict.fromkeys(("bucketize", "searchsorted"), OutType(False, (
        "torch.searchsorted(): output tensor's dtype is wrong, it can only be Int(int32) or Long(int64) depending on "
        "whether out_int32 flag is True, but we got output tensor's dtype {1} and out_int32 flag is {4}"))),
    "logsigmoid": OutType(False, "expected scalar type {0} but found {1}"),
    **dict.fromkeys(("dot", "vdot"), OutType(False, "result dtype {1} does not match input dtype {0}")),
    **dict.fromkeys(("amax", "amin"), OutType(False, "Expected the dtype for input and out to match, but got {0} for "
                                                     "input's dtype and {1} for out's dtype.")),
    "logcumsumexp": _SCALAR_TYPE,
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
    "nanmean": OutType((float16, bfloat16, float32, float64), "\"nansum_cpu\" not implemented for '{1}'",
                       NotImplementedError),
    "hash_tensor": OutType(False, "Expected result to be of dtype uint64, but got {1}"),
    "nansum": OutType(False, "nansum: provided dtype must match dtype of result. Got {1} and {0}."),
    "nan_to_num": OutType(False, "nan_to_num: dtype of out: {1} should be same as input: {0}"),
    "take": OutType(False, "take(): self and out expected to have the same dtype, but got self.dtype = {0} and "
                           "out.dtype = {1}"),
    **dict.fromkeys(_CREATORS, OutType(False, "dtype {0} does not match dtype of out parameter ({1})")),
    "normal": OutType((float16, bfloat16, float32, float64, complex64, complex128),
                      "\"normal_kernel_cpu\" not implemented for '{1}'", NotImplementedError),
    "bernoulli": None, "lu": None,
}
"""Of functions that have other rules than most; None: any dtype."""

_OF_MEDIAN = (
    OutType(False, "Expected tensor for 'values' to have the same type as tensor for argument #2 'self'; but type "
                   "torch.{1}Tensor does not equal torch.{0}Tensor (while checking arguments for median)"),
    OutType(False, "Expected tensor for argument #1 'indices' to have scalar type {0}; but got torch.{1}Tensor instead "
                   "(while checking arguments for median)"))
OF_SEVERAL: dict[str, tuple[OutType, ...]] = {
    **dict.fromkeys(("cummax", "cummin"), (_SCALAR_TYPE,) * 2),
    **dict.fromkeys(("max", "min", "sort", "topk"), (SAME,) * 2),
    **dict.fromkeys(("median", "nanmedian"), _OF_MEDIAN),
    "kthvalue": (OutType(False, "output values must be of same type as input"),
                 OutType(False, "output indices must be of scalar type {0}")),
    "mode": (OutType(False, "expected scalar type '{0}' but got '{1}' for values output"),
             OutType(False, "expected scalar type '{0}' but got '{1}' for indices output")),
}
"""The same of functions with several results: the rule of each."""


def by_rows(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What a function that asks for values gives for each row, where ``vmap`` calls it and an argument differs from row
    to row; None elsewhere."""
    level = tracing.level
    return None if level is None else level.each_row(function, (args, kwargs))


# --- in-place twins


def in_place(plain: Callable[Concatenate[Tensor, P], Tensor]) -> Callable[Concatenate[Tensor, P], Tensor]:
    """The in-place twin of a method: it computes as the method does and puts the result in self's place.

    >>> import minigrad
    >>> minigrad.tensor([1, 2]).add_(1)
    tensor([2, 3])
    """

    entirely = OVERLAP.setdefault(plain.__name__, False)

    @wraps(plain)
    def changed(self: Tensor, *args: P.args, **kwargs: P.kwargs) -> Tensor:
        with record_lock:  # it reads self, and writes it
            try:
                check_in_place(self)
                if args or kwargs:
                    check_overlap(self, (*args, *kwargs.values()), entirely)
                return adopt(self, plain(self, *args, **kwargs))
            except UNEXPECTED as error:
                require_tensor(self, changed.__name__, "input", 1)
                raise blamed(error, plain, (self, *args), kwargs, True) from None

    changed.explains = True  # type: ignore[attr-defined]
    return as_twin(changed, plain)


def untracked_in_place(plain: Callable[Concatenate[Tensor, P], Tensor]) -> Callable[Concatenate[Tensor, P], Tensor]:
    """``in_place`` of a method without a derivative of which PyTorch's tape takes no notice: leaves may be changed, and
    the history stays what it was."""
    changed = in_place(plain)

    @wraps(plain)
    def untracked(self: Tensor, *args: P.args, **kwargs: P.kwargs) -> Tensor:
        with no_grad():
            return changed(self, *args, **kwargs)

    return as_twin(untracked, plain)


def view_in_place(plain: Callable[Concatenate[Tensor, P], Tensor]) -> Callable[Concatenate[Tensor, P], Tensor]:
    """The in-place twin of a method that gives a view: self turns into that view of what it was."""

    @wraps(plain)
    def changed(self: Tensor, *args: P.args, **kwargs: P.kwargs) -> Tensor:
        check_in_place(self)
        become(self, plain(self, *args, **kwargs))
        self._count_edit()
        return self

    return as_twin(changed, plain)


def augmented(operator: Callable[[Tensor, Any], Tensor]) -> Callable[[Tensor, Any], Tensor]:
    """The augmented form of an operator: ``__iadd__`` of ``__add__``."""

    @wraps(operator)
    def changed(self: Tensor, other: Any) -> Any:
        with record_lock:
            check_in_place(self)
            check_overlap(self, (other,))
            result = operator(self, other)
            return result if result is NotImplemented else adopt(self, result)

    where, _, name = operator.__qualname__.rpartition(".")
    changed.__name__ = name.replace("__", "__i", 1)
    changed.__qualname__ = f"{where}.{changed.__name__}"
    changed.__doc__ = f"``{name}`` in place; returns self."
    return changed


def as_twin(changed: F, plain: Callable[..., Any]) -> F:
    """``changed`` with the name and docstring of an in-place twin."""
    name = plain.__name__
    changed.__name__, changed.__qualname__ = f"{name}_", f"{plain.__qualname__}_"
    changed.__doc__ = f"``{name}`` in place; returns self."
    return changed


def adopt(self: Tensor, result: Tensor) -> Tensor:
    """Put the result of an op into ``self``: same shape, and a dtype that may be stored in self's."""
    lazy, stored = self._storage.lazy, self.dtype
    if result._shape() != self._shape():
        raise RuntimeError(f"output with shape {list(self._shape())} doesn't match the broadcast shape "
                           f"{list(result._shape())}")
    if result._storage.lazy.device != lazy.device:
        one_device((lazy, result._storage.lazy))
    dtype = result.dtype
    if dtype is not stored:
        if not can_cast(dtype, stored):
            raise RuntimeError(f"result type {type_name(dtype)} can't be cast to the desired output type "
                               f"{type_name(stored)}")
        adopted = self._adopt(result.to(stored))
        if mode.enabled:
            adopted._took(result)
        return adopted
    return self._adopt(result)


def become(self: Tensor, view: Tensor) -> Tensor:
    """self turns into a view of what it was."""
    before = blank()
    before._tag, before._spec, before._look = 0, None, None
    before._storage, before._view, before._edge = self._storage, self._view, self._edge
    before._requires_grad, before._grad, before._hooks = self._requires_grad, None, None
    new = view._view
    assert new is not None
    if new.parent is self:
        new.parent = before
    if new.base is self:
        new.base = before
    new.alone = before._view is None or before._view.alone
    self._view, self._edge, self._tag, self._look = new, None, 0, None
    return self
