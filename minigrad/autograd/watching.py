"""Stage: the tape. In: an op's Tensors. Out: ``Watching``, what a ``Node`` knows of those that backward reads in
PyTorch: whether a program has changed them in place since, which is an error.
Next: ``again.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from weakref import ref

from minigrad.autograd.keeps import DETACHED, OWN, modified, reads
from minigrad.autograd.mode import mode
from minigrad.autograd.protocol import Front
from minigrad.graph.function import Subgraph
from minigrad.graph.lazy import LazyBuffer
from minigrad.graph.strides import Steps

if TYPE_CHECKING:
    from minigrad.grad import Backward

# A Tensor that backward reads in PyTorch: a reference to its Storage, a list with how often it has been changed in
# place, and how often it had been, which operand or result it is, a reference to it, how often the Storage had been
# written, also unseen, by ``.data``, and the steps from the Storage's value to its own.
Kept = tuple[Any, list[int], int, int, Any, int, Steps]

INFERENCE = (
    "Inference tensors cannot be saved for backward. Please do not use Tensors created in inference mode in "
    "computation tracked by autograd. To work around this, you can make a clone to get a normal tensor and use it in "
    "autograd, or use `torch.no_grad()` instead of `torch.inference_mode()`.")


class Watching:
    """The part of a ``Node`` that watches the Tensors of its call."""

    __slots__ = ("body", "edges", "kept", "saved", "whole")

    body: Subgraph
    edges: tuple[Any, ...]
    kept: tuple[Kept, ...]
    saved: tuple[LazyBuffer, ...] | None
    whole: Backward

    def keep(self, tensors: Sequence[Any], results: Sequence[Any]) -> None:
        """Remember how often the Tensors that backward reads in PyTorch have been changed in place."""
        if mode.mutation:
            return
        self.kept = tuple([
            watched(tensors[position] if position >= 0 else results[-1 - position], position)
            for position in reads(type(self), self.edges)
            if position < len(tensors) and -1 - position < len(results)])  # no numbers, no results not asked for

    def watch(self, tensors: Sequence[Any]) -> None:
        """Remember the same of Tensors that are no operands here, though backward reads them in PyTorch."""
        if not mode.mutation:
            self.kept += tuple([watched(t, OWN) for t in tensors])

    def lies_in(self, storage: Any, tensor: Any) -> None:
        """A result that was in ``storage`` is what ``tensor`` has had since it was computed."""
        there = tensor._storage
        self.kept = tuple([(ref(there), _count(there), there.edits, entry[3], ref(tensor), there.version, entry[6])
                           if entry[0]() is storage else entry for entry in self.kept])

    def changed_in_place(self, before: Any, result: Any, after: Any) -> None:
        """``result`` was put into ``after``, the first operand: its value of before is a value of its own now, but not
        where it was another operand, too."""
        old, new = before, result._storage
        self.kept = tuple([
            (ref(old), _count(old), old.edits, position, ref(after), old.version, _steps(after))
            if position < 0 and storage() is new else (storage, counter, edits, position, tensor, version, steps)
            for storage, counter, edits, position, tensor, version, steps in self.kept
            if position != 0 or storage() is not old])

    def stand_for(self, tensors: dict[int, Any]) -> None:
        """What an operand was that is named here, by its ``id``, is another Tensor on the same memory from now on."""
        found = []
        for entry in self.kept:
            other = tensors.get(id(entry[4]()))
            found.append(entry if other is None else (*entry[:4], ref(other), *entry[5:]))
        self.kept = tuple(found)

    def check_kept(self) -> None:
        """``RuntimeError`` if a Tensor that backward reads in PyTorch has been changed in place since. What was changed
        by ``.data`` is read as it is now, as there."""
        for reference, counter, edits, position, tensor, version, steps in self.kept:
            storage, seen = reference(), tensor()
            if seen is not None and 0 <= position < len(self.edges) and type(self.edges[position]) is tuple and (
                    seen._edge is None and seen._view is None and not seen._requires_grad):
                raise RuntimeError(DETACHED)
            if counter[0] != edits:
                raise modified(self._described(position, seen), counter[0], edits)
            if not self.saved or position == OWN:
                continue
            if seen is not None and seen._storage is not storage:
                if position >= 0:  # a result keeps its memory
                    self._read_again(position, seen._read())
            elif storage is not None and storage.version != version:
                self._read_again(position, _value(storage, steps) if seen is None else seen._read())

    def _read_again(self, position: int, value: LazyBuffer | None) -> None:
        """Have the value of now of an operand or result among the residuals."""
        at = position if position >= 0 else len(self.body.params) - 1 - position
        if value is None or at not in self.whole.residuals:
            return
        place = self.whole.residuals.index(at)
        old = self.saved[place]  # type: ignore[index]
        if value.shape == old.shape and value.dtype is old.dtype and value.device == old.device:
            value.owners += 1
            old.owners -= 1
            self.saved = (*self.saved[:place], value, *self.saved[place + 1:])  # type: ignore[index]

    def _described(self, position: int, tensor: Any) -> str:
        """What PyTorch calls a Tensor in messages: its type and shape, and which op made it."""
        if position == OWN:
            node, number = None, 0
        elif position >= 0:
            node, number = edge if type(edge := self.edges[position]) is tuple else (None, 0)
        else:
            node, number = self, -1 - position
        shape = tensor._shape() if position == OWN and tensor is not None else () if position == OWN else (
            self.body.params[position] if position >= 0 else self.body.outputs[number]).shape
        kind = "a tensor" if tensor is None else _TYPE_NAMES.get(tensor.dtype.name) or tensor.type()
        if position >= 0 and tensor is not None and tensor._view is None:  # an operand is called by what it is now
            node = tensor.grad_fn
        if node is None:
            return f"[{kind} {list(shape)}]"
        head, _, form = node.name().rpartition("Backward")
        name = "torch::autograd::CopySlices" if node.name() == "CopySlices" else head + form.removesuffix("0")
        return f"[{kind} {list(shape)}], which is output {number} of {name},"


_TYPE_NAMES = {"bool": "CPUBoolType", "bfloat16": "CPUBFloat16Type"}
"""How PyTorch's message calls tensors of types that are younger than it."""


def watched(t: Any, position: int) -> Kept:
    """What is known of a Tensor that backward reads, as operand or result ``position``."""
    storage = t._storage
    if storage.edits < 0 and not mode.transforms:
        raise RuntimeError(INFERENCE)
    if Front.apart is not None and (counter := Front.apart(t)) is not None:
        return ref(storage), counter, counter[0], position, lambda: t, storage.version, _steps(t)
    return ref(storage), _count(storage), storage.edits, position, ref(t), storage.version, _steps(t)


def _steps(t: Any) -> Steps:
    return () if t._view is None else t._view.chain()


def _value(storage: Any, steps: Steps) -> LazyBuffer | None:
    """The value that a Tensor would have now that is not there any more; None if NumPy sees its memory."""
    lazy: LazyBuffer = storage.lazy
    if lazy.buffer is not None and lazy.buffer.exported:
        return None
    for op, arg in steps:
        lazy = lazy.move(op, arg)
    return lazy


def _count(storage: Any) -> list[int]:
    """A list with how often the Storage has been changed in place, now and later."""
    if storage.counter is None:
        storage.counter = [storage.edits]
    counter: list[int] = storage.counter
    return counter
