"""Stage: recording. In: a user's op, its input and output LazyBuffers. Out: ``Node``, its entry on the tape.
All nodes share one backward: the vector-Jacobian product of the lazy graph between their inputs and outputs.
Next: ``walk.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import count
from typing import Any, ClassVar

from minigrad.dtype import DType
from minigrad.grad import structures_between, vjp
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op

# An edge says where a gradient goes: ``(node, i)``, output i of a node, or a leaf Tensor itself, or None.
Edge = Any
Structure = dict[LazyBuffer, tuple[str, tuple[LazyBuffer, ...], Any]]

RELEASED = (
    "Trying to backward through the graph a second time (or directly access saved tensors after they have already "
    "been freed). Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). "
    "Specify retain_graph=True if you need to backward through the graph a second time or if you need to access "
    "saved tensors after calling backward.")

next_sequence = count(1).__next__


class Front:
    """What the tape needs of the Tensor class, which stands below it in the house: ``wrap(lazy, edge)`` makes a
    Tensor. ``tensor/`` fills it in."""

    wrap: ClassVar[Callable[[LazyBuffer, Edge], Any]]


class Node:
    """One op on the tape: ``grad_fn``. Each kind of op has a subclass, made by ``kind``.

    ``inputs`` and ``outputs`` are the op's values and ``structure`` how nodes between them were made, since realised
    values forget it. ``edges`` says where the gradient of each input goes; inputs beyond the edges are constants at
    which the differentiation stops. ``owned`` are the values that this node asks the engine to keep.
    """

    __slots__ = ("__weakref__", "edges", "extra", "inputs", "outputs", "owned", "sequence", "structure")

    saves_inputs: ClassVar[bool] = False
    saves_output: ClassVar[bool] = False
    saves: ClassVar[bool] = False

    def __init__(self, edges: tuple[Edge, ...], inputs: tuple[LazyBuffer, ...], outputs: tuple[LazyBuffer, ...],
                 structure: Structure, owned: tuple[LazyBuffer, ...]) -> None:
        self.edges = edges
        self.inputs = inputs
        self.outputs = outputs
        self.structure = structure
        self.owned = owned
        self.sequence = next_sequence()
        self.extra: Extra | None = None
        for lazy in owned:
            lazy.owners += 1

    def __del__(self) -> None:
        for lazy in self.owned:
            lazy.owners -= 1

    def __repr__(self) -> str:
        return f"<{type(self).__name__} object at {id(self):#x}>"

    def name(self) -> str:
        """PyTorch's name of the op: ``"MulBackward0"``."""
        return type(self).__name__

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """Where the gradients go on: ``(node, output number)`` for each input; a leaf ends in ``AccumulateGrad``."""
        return tuple([(None, 0) if e is None else e if type(e) is tuple else (AccumulateGrad(e), 0)
                      for e in self.edges])

    @property
    def metadata(self) -> dict[str, Any]:
        """A dictionary for notes of the user's own."""
        return self.more().metadata

    def more(self) -> Extra:
        """Hooks and retained gradients of this node."""
        if self.extra is None:
            self.extra = Extra()
        return self.extra

    def register_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """After this node's backward, ``hook(grad_inputs, grad_outputs)`` may return other ``grad_inputs``."""
        return RemovableHandle.add(self.more().post, hook)

    def register_prehook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Before this node's backward, ``hook(grad_outputs)`` may return other ``grad_outputs``."""
        return RemovableHandle.add(self.more().pre, hook)

    def vjp(self, grads: Sequence[LazyBuffer | None], needs: Sequence[bool]) -> list[LazyBuffer | None]:
        """The gradients of the inputs that are needed, given those of the outputs."""
        if self.inputs is None:
            raise RuntimeError(RELEASED)
        outputs, inputs = self.outputs, self.inputs
        if len(outputs) > 1:
            present = [i for i, g in enumerate(grads) if g is not None]
            outputs, grads = tuple([outputs[i] for i in present]), [grads[i] for i in present]
        edges = len(self.edges)
        stops = len(inputs) - edges
        wanted = [*needs, *(False,) * stops] if stops else list(needs)
        if len(inputs) > 1 and len(set(inputs)) < len(inputs):
            return self._vjp_of_repeated(outputs, grads, wanted)
        results = vjp(outputs, grads, inputs, wanted, self.structure)
        if None in results:
            results = [i.like(0) if r is None and w else r for i, r, w in zip(inputs, results, wanted, strict=True)]
        return results[:edges] if stops else results

    def _vjp_of_repeated(self, outputs: Sequence[LazyBuffer], grads: Sequence[LazyBuffer | None],
                         wanted: list[bool]) -> list[LazyBuffer | None]:
        """``a * a``: the whole gradient goes along the first edge of each distinct input."""
        first: dict[LazyBuffer, int] = {}
        for i, lazy in enumerate(self.inputs):
            if lazy not in first or (wanted[i] and not wanted[first[lazy]]):
                first[lazy] = i
        whole = vjp(outputs, grads, tuple(first), [wanted[i] for i in first.values()], self.structure)
        result: list[LazyBuffer | None] = [None] * len(self.edges)
        for i, gradient in zip(first.values(), whole, strict=True):
            if i < len(result):
                result[i] = self.inputs[i].like(0) if gradient is None and wanted[i] else gradient
        return result

    def vjp_recorded(self, grads: Sequence[Any], needs: Sequence[bool]) -> list[Any]:
        """As ``vjp``, on Tensors, and itself recorded: for gradients of gradients."""
        lazies = [None if g is None else g._read() for g in grads]
        results = self.vjp(lazies, needs)
        tracked = len(self.edges)
        given = [(g, lazy) for g, lazy in zip(grads, lazies, strict=True) if lazy is not None]
        edges = (*self.edges, *[g._source() for g, _ in given])
        outputs = [r for r in results if r is not None]
        if not outputs or all(e is None for e in edges):
            return [None if r is None else Front.wrap(r, None) for r in results]
        inputs = (*self.inputs[:tracked], *[lazy for _, lazy in given], *self.inputs[tracked:])
        structure = {**self.structure, **made(outputs, inputs)}
        node = type(self)(edges, inputs, tuple(outputs), structure, ())
        numbers = count()
        return [None if r is None else Front.wrap(r, (node, next(numbers))) for r in results]

    def release(self) -> None:
        """Let go of the saved values. An op that saves none can still be differentiated again."""
        for lazy in self.owned:
            lazy.owners -= 1
        self.owned = ()
        if self.saves:
            self.inputs = self.outputs = None  # type: ignore[assignment]
            self.structure = {}
        elif self.inputs is not None and any(_holds_memory(i) for i in (*self.inputs, *self.outputs)):
            self._keep_shapes_only()

    def _keep_shapes_only(self) -> None:
        """Replace the values by stand-ins of their shapes, so that their memory goes back."""
        at: dict[LazyBuffer, LazyBuffer] = {i: stand_in(i.shape, i.dtype, i.device) for i in self.inputs}
        structure: Structure = {}
        order, seen, stack = [], set(at), [*self.outputs]
        while stack:
            node = stack[-1]
            srcs = self.structure[node][1] if node in self.structure else node.srcs
            missing = [s for s in srcs if s not in seen]
            if node in seen or not missing:
                stack.pop()
                if node not in seen:
                    seen.add(node)
                    order.append(node)
            else:
                stack.extend(missing)
        for node in order:
            op, srcs, arg = self.structure.get(node, (node.op, node.srcs, node.arg))
            if op == Op.BUFFER:
                at[node] = stand_in(node.shape, node.dtype, node.device)
                continue
            new = LazyBuffer(op, tuple([at[s] for s in srcs]), arg, node.shape, node.dtype, node.device)
            if op == Op.SCALAR:
                new.value = node.value  # only SCALAR has it
            at[node] = new
            structure[new] = (new.op, new.srcs, new.arg)
        self.inputs = tuple([at[i] for i in self.inputs])
        self.outputs = tuple([at[o] for o in self.outputs])
        self.structure = structure


def made(outputs: Sequence[LazyBuffer], inputs: Sequence[LazyBuffer]) -> Structure:
    """The structure to keep: how the outputs were made, and between devices all that lies on the way, since a copy is
    realised before anything that reads it."""
    device = outputs[0].device
    if any([i.device != device for i in inputs]):
        return structures_between(outputs, inputs)
    return {o: (o.op, o.srcs, o.arg) for o in outputs if o not in inputs}


SMALL_BYTES = 1 << 16


def _holds_memory(lazy: LazyBuffer) -> bool:
    return lazy.buffer is not None and lazy.buffer.nbytes > SMALL_BYTES


def stand_in(shape: tuple[int, ...], dtype: DType, device: str) -> LazyBuffer:
    """A value of which only shape and dtype matter: the differentiation of a movement reads nothing else."""
    return LazyBuffer(Op.PARAM, (), None, shape, dtype, device)


@cache
def kind(name: str, saves: str = "") -> type[Node]:
    """The subclass of Node for the ops of this name. ``saves`` names what its backward reads: ``"inputs"``,
    ``"output"``, ``"both"`` or, with ``"something"``, numbers that need no memory.

    >>> kind("MulBackward0", "inputs").__name__
    'MulBackward0'
    """
    return type(name, (Node,), {
        "__slots__": (), "__module__": "minigrad.autograd", "saves": saves != "",
        "saves_inputs": saves in ("inputs", "both"), "saves_output": saves in ("output", "both")})


class Extra:
    """Rarely used parts of a Node: its hooks and the tensors that ``retain_grad`` named."""

    __slots__ = ("metadata", "post", "pre", "retained", "tensor")

    def __init__(self) -> None:
        self.pre: dict[int, Callable[..., Any]] = {}
        self.post: dict[int, Callable[..., Any]] = {}
        self.tensor: dict[int, dict[int, Callable[..., Any]]] = {}
        self.retained: dict[int, Any] = {}
        self.metadata: dict[str, Any] = {}


class AccumulateGrad:
    """Where the tape ends: adds the gradient to ``variable.grad``. Made when someone asks to see it."""

    __slots__ = ("variable",)
    next_functions: tuple[Any, ...] = ()

    def __init__(self, variable: Any) -> None:
        self.variable = variable

    def __repr__(self) -> str:
        return f"<AccumulateGrad object at {id(self):#x}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AccumulateGrad) and other.variable is self.variable

    def __hash__(self) -> int:
        return id(self.variable)

    def name(self) -> str:
        return "AccumulateGrad"

    def register_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """``hook(grad_inputs, grad_outputs)`` is called after the gradient was accumulated."""
        return self.variable.register_post_accumulate_grad_hook(lambda leaf: hook((leaf.grad,), (leaf.grad,)))


class RemovableHandle:
    """Takes a hook away again: ``handle.remove()``, or at the end of a ``with`` block."""

    def __init__(self, hooks: dict[int, Callable[..., Any]], number: int) -> None:
        self._hooks = hooks
        self.id = number

    @staticmethod
    def add(hooks: dict[int, Callable[..., Any]], hook: Callable[..., Any]) -> RemovableHandle:
        number = next_sequence()
        hooks[number] = hook
        return RemovableHandle(hooks, number)

    def remove(self) -> None:
        """Take the hook away; a second call does nothing."""
        self._hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()

