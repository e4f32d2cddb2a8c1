"""Stage: front. In: Python numbers that change from step to step, as a learning rate. Out: 0-d Tensors that are
run-time arguments of programs: another value compiles nothing.
Next: ``quantization.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from minigrad.dtype import DType
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.runtime.locks import record_lock
from minigrad.tensor.base import AnyTensor, make
from minigrad.tensor.capture import capturing
from minigrad.tensor.promotion import number, number_dtype
from minigrad.tensor.replay import thread
from minigrad.tensor.size import resolve

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


def scalar(value: Any, dtype: DType | None = None, device: Any = None) -> Tensor:
    """A 0-d Tensor whose value is an argument of the compiled program: another value compiles nothing.

    >>> float(scalar(0.5) * 2)
    1.0
    """
    dtype = dtype or number_dtype(value)
    return make(LazyBuffer.scalar(number(value, dtype), dtype, resolve(device)))


def scalars(compute: Callable[[], Sequence[Any]], dtype: DType, device: Any = None) -> list[Tensor | None]:
    """Run-time arguments of the values that ``compute`` gives, None for None. ``minigrad.jit`` asks it at each call.

    >>> from minigrad.dtype import float32
    >>> scalars(lambda: (0.5, None), float32)
    [tensor(0.5000), None]
    """
    capture = capturing()
    if capture is None:
        return [None if value is None else scalar(float(value), dtype, device) for value in compute()]
    return [None if leaf is None else make(leaf) for leaf in capture.numbers(compute, dtype, resolve(device))]


def known(value: Any) -> Any:
    """The Python number that a Tensor of one element holds, also while ``minigrad.jit`` records. One that ``scalar`` or
    ``hold`` gave it is known without a run.

    >>> known(scalar(2.0)), known(3)
    (2.0, 3)
    """
    if not isinstance(value, AnyTensor):
        return value
    lazy = value._storage.lazy
    if lazy.op == Op.SCALAR and value._view is None:
        return lazy.value
    capture = capturing()
    return value.item() if capture is None else capture.aside(value.item)


def agreed(tensors: Sequence[Any]) -> Any:
    """The Python number that Tensors of one element hold; None if they hold different ones, or are none.

    >>> agreed([scalar(2.0), scalar(2.0)]), agreed([scalar(2.0), scalar(3.0)])
    (2.0, None)
    """
    try:
        node = tensors[0]._storage.lazy
        if node.op == Op.SCALAR and not any([t._storage.lazy is not node for t in tensors]):
            return node.value  # ``hold`` gives all of them one node
    except AttributeError:  # a plain number
        return None
    values = {known(t) if isinstance(t, AnyTensor) else None for t in tensors}
    return values.pop() if len(values) == 1 else None


def hold(tensors: Sequence[Tensor], value: float) -> None:
    """Give Tensors of one element a new value, rounded to their dtype, outside autograd. Nothing runs.

    >>> steps = scalar(2.0)
    >>> hold([steps], 3.0)
    >>> steps
    tensor(3.)
    """
    nodes: dict[tuple[DType, str], LazyBuffer] = {}
    trace = thread.trace
    alone = trace.capture is None and not trace.path
    with record_lock:
        for t in tensors:
            storage = t._storage
            old = storage.lazy
            key = old.dtype, old.device
            node = nodes.get(key)
            if node is None:
                node = nodes[key] = LazyBuffer.scalar(old.dtype.numpy.type(value).item(), *key)
            if alone and old.op == Op.SCALAR:  # no call has seen it, and it is in no memory
                storage.put(node)
                storage.version += 1
            else:
                t._replace(node if not t._shape() else node.reshape(t._shape()))


def counted(count: Callable[[], None]) -> None:
    """Count something in Python that goes with a computation, as the steps of an optimizer: ``minigrad.jit`` does it
    after each call."""
    capture = capturing()
    if capture is None:
        count()
    else:
        capture.counted(count)
