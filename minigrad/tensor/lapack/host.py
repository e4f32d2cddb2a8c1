"""Stage: front. In: a function of arrays, the types of its results and its gradient. Out: a Function that runs it on
the host; the checks of matrices in PyTorch's words; errors that a computation found.
Next: ``triangles.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.dtype import int32
from minigrad.errors import LinAlgError
from minigrad.graph.host import IN_ROWS, Type, host_outputs, register_host
from minigrad.graph.lazy import LazyBuffer
from minigrad.tensor.capture import capturing
from minigrad.tensor.elements import concrete
from minigrad.tensor.function import Function, with_tensors
from minigrad.tensor.lapack.library import in_one_thread
from minigrad.tensor.operands import broadcast_shapes, one_device
from minigrad.tensor.promotion import type_name
from minigrad.tensor.storage import tracing

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor

Gradients = Sequence["Tensor | None"]
Shape = tuple[int, ...]


def host_function(name: str, compute: Callable[..., Any], types: Callable[..., Sequence[Type]], node: str = "",
                  gradient: Callable[..., Gradients] | None = None, differentiable: int | None = None,
                  in_rows: bool = True, matrices: bool = True) -> Function:
    """A Function whose results ``compute(arrays, *static)`` gives. ``types(*inputs, *static)``: their shapes and
    dtypes; ``gradient(inputs, outputs, grads, *static)``: written with Tensors, those of the inputs or None, where
    ``grads`` has None for a result from which nothing comes. ``in_rows``: whether it takes more axes in front;
    ``matrices``: whether LAPACK computes it."""
    by_hand = None if gradient is None else with_tensors(f"{name}_backward", gradient)
    register_host(name, in_one_thread(compute) if matrices else compute, by_hand)
    if in_rows:
        IN_ROWS.add(name)

    def value(*given: Any) -> tuple[LazyBuffer, ...]:
        inputs = [g for g in given if isinstance(g, LazyBuffer)]
        one_device(inputs)
        static = given[len(inputs):]
        return tuple(host_outputs(name, static, inputs, types(*given)))

    return Function(name, value, node or "NotDifferentiable", by_hand, differentiable)


def refused(text: str) -> Callable[..., Gradients]:
    """The gradient of a function that has none: ``NotImplementedError`` where it is computed, and not where the
    function is called."""
    return lambda inputs, *_: [_REFUSED((x,), (text,)) if x.dtype.kind in "fc" else None for x in inputs]


def _refuse(arrays: Sequence[np.ndarray], text: str) -> np.ndarray:
    raise NotImplementedError(text)


_REFUSED = host_function("no_derivative", _refuse, lambda x, text: [(x.shape, x.dtype)])


def batch_of(*values: LazyBuffer) -> Shape:
    """The batch of several matrices together."""
    return broadcast_shapes(*[v.shape[:-2] for v in values])


def per_matrix(a: LazyBuffer) -> Type:
    """An int32 for each matrix."""
    return a.shape[:-2], int32


def is_complex(x: Tensor) -> bool:
    """Whether the elements are complex."""
    return x.dtype.kind == "c"


# --- checks


def check_matrix(x: Tensor, name: str, argument: str = "A") -> None:
    """``RuntimeError`` for fewer than two dimensions."""
    if x.ndim < 2:
        raise RuntimeError(f"{name}: The input tensor {argument} must have at least 2 dimensions.")


def check_square(x: Tensor, name: str, argument: str = "A") -> None:
    """``RuntimeError`` unless x is a square matrix, or a batch of them."""
    check_matrix(x, name, argument)
    if x.shape[-1] != x.shape[-2]:
        raise RuntimeError(f"{name}: {argument} must be batches of square matrices, but they are {x.shape[-2]} by "
                           f"{x.shape[-1]} matrices")


def check_floating(x: Tensor, name: str, kernel: str = "", low: bool = False) -> None:
    """``RuntimeError`` for integers, and unless ``low`` for half types: ``NotImplementedError`` if it is the ``kernel``
    that has none."""
    if x.dtype.kind not in "fc":
        raise RuntimeError(f"{name}: Expected a floating point or complex tensor as input. Got {type_name(x.dtype)}")
    if x.dtype.kind == "f" and x.dtype.size < 4 and not low:
        if kernel:
            check_kernel(x, kernel)
        raise RuntimeError(f"{name}: Low precision dtypes not supported. Got {type_name(x.dtype)}")


def check_kernel(x: Tensor, kernel: str) -> None:
    """``NotImplementedError`` for a type that LAPACK does not know."""
    if x.dtype.kind not in "fc" or (x.dtype.kind == "f" and x.dtype.size < 4):
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{type_name(x.dtype)}'")


def check_same_dtype(a: Tensor, b: Tensor, name: str) -> None:
    """``RuntimeError`` unless A and B have one dtype."""
    if a.dtype is not b.dtype:
        raise RuntimeError(f"{name}: Expected A and B to have the same dtype, but found A of type {type_name(a.dtype)} "
                           f"and B of type {type_name(b.dtype)} instead")


# --- what a computation found


def checked(x: Tensor, info: Tensor, name: str, text: str, kind: Any = LinAlgError) -> Tensor:
    """x, a result, unless a matrix has an ``info`` that is not 0: then an error, ``name: (Batch element i): text`` with
    that number in place of ``{}``. This computes x, at the call; while there are no values, in a composite, in ``vmap``
    and while ``minigrad.jit`` records, it is the run that raises."""
    if not with_values():
        return _CHECKED((x, info.detach()[..., None, None]), (name, text, kind))
    _raise_if(concrete(info.detach(), name), name, text, kind)
    return x


def with_values() -> bool:
    """Whether Tensors have values: they have none in a composite, in ``vmap``, and while ``minigrad.jit`` records."""
    return not tracing.names and capturing() is None


def _raise_if(info: np.ndarray, name: str, text: str, kind: type[Exception]) -> None:
    if info.any():
        first = int(info.ravel().nonzero()[0][0])
        where = f"(Batch element {first}): " if info.ndim else ""
        raise kind(f"{name}: {where}{text.format(int(info.flat[first]))}")


def _check(arrays: Sequence[np.ndarray], name: str, text: str, kind: type[Exception]) -> np.ndarray:
    _raise_if(arrays[1][..., 0, 0], name, text, kind)
    return arrays[0]


_CHECKED = host_function("linalg_check_errors", _check, lambda x, info, *_: [(x.shape, x.dtype)],
                         "LinalgCheckErrorsBackward0", lambda inputs, outputs, grads, *_: (grads[0], None))


def at_once(results: list[Tensor]) -> list[Tensor]:
    """The results, computed now if there are values, so that the error of a matrix for which LAPACK finds nothing
    comes from the user's call."""
    if with_values():
        results[0].realize()
    return results


def shrunk(x: Tensor, shape: Sequence[int]) -> Tensor:
    """x summed over the dimensions in which the shape was broadcast."""
    return x if tuple(x.shape) == tuple(shape) else x.sum_to_size(*shape)


def total(*terms: Any) -> Any:
    """The sum of those that are there; None if there are none."""
    result = None
    for term in terms:
        if term is not None:
            result = term if result is None else result + term
    return result
