"""Stage: backward. In: Tensors to differentiate. Out: gradients in the leaves' ``.grad`` (``backward``) or returned
(``grad``). Everything is one realise: forward values still pending, all gradients and the roots.
Next: ``anomaly_mode.py``."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from minigrad import lazily
from minigrad.autograd.handles import AccumulateGrad
from minigrad.autograd.mode import mode, set_grad_enabled
from minigrad.autograd.node import Edge
from minigrad.autograd.protocol import Front
from minigrad.autograd.rows import RowsGradient
from minigrad.autograd.walk import Walk, replaced
from minigrad.dtype import shown
from minigrad.engine import Run, realise
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.runtime.locks import computing, users_code


def backward(tensors: Any, grad_tensors: Any = None, retain_graph: bool | None = None, create_graph: bool = False,
             grad_variables: Any = None, inputs: Any = None) -> None:
    """Add the gradient of ``tensors`` to the ``.grad`` of the leaves that they were computed from.

    ``grad_tensors`` are the gradients to start from; a tensor of one element starts from 1. Raises
    ``RuntimeError`` for a tensor that does not require a gradient, for a missing start, and for values that an
    earlier backward freed. ``grad_variables`` is the old name of ``grad_tensors``.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.autograd.backward.html

    >>> import minigrad
    >>> x = minigrad.tensor([1.0, 2.0], requires_grad=True)
    >>> minigrad.autograd.backward((x * x).sum())
    >>> x.grad
    tensor([2., 4.])
    """
    if grad_variables is not None:
        warnings.warn("`grad_variables` is deprecated. Use `grad_tensors` instead.", FutureWarning, stacklevel=2)
        if grad_tensors is not None:
            raise RuntimeError("`grad_tensors` and `grad_variables` (deprecated) arguments both passed to "
                               "`backward()`. Please only use `grad_tensors`.")
        grad_tensors = grad_variables
    run(_listed(tensors), grad_tensors, retain_graph, create_graph, inputs)


def run(tensors: Sequence[Any], grad_tensors: Any = None, retain_graph: bool | None = None, create_graph: bool = False,
        inputs: Any = None, along: Sequence[LazyBuffer] = (), watch: list[Run] | None = None) -> None:
    """``backward``, which computes the values ``along`` in the same run; ``watch`` is told what ran."""
    with computing:  # also while gradients are added up: other threads may add theirs to the same leaves
        _run(tensors, grad_tensors, retain_graph, create_graph, inputs, along, watch)


def _run(tensors: Sequence[Any], grad_tensors: Any, retain_graph: bool | None, create_graph: bool, inputs: Any,
         along: Sequence[LazyBuffer], watch: list[Run] | None) -> None:
    grad_tensors = [None] * len(tensors) if grad_tensors is None else _listed(grad_tensors, True)
    if len(grad_tensors) != len(tensors):
        raise RuntimeError(f"got {len(tensors)} tensors and {len(grad_tensors)} gradients")
    targets = None
    if inputs is not None:
        inputs = _listed(inputs)
        if not inputs:
            raise RuntimeError("`inputs` argument to `backward()` cannot be empty.")
        targets = [_target(t) for t in inputs]
    walk = Walk(create_graph, targets, accumulates=True)
    try:
        _walk(walk, tensors, grad_tensors)
    except Exception:
        with suppress(Exception):  # a leaf that has its whole gradient takes it, as in PyTorch; the first error counts
            _finish(walk, tensors, retain_graph, create_graph, inputs, targets, along, watch)
        raise
    _finish(walk, tensors, retain_graph, create_graph, inputs, targets, along, watch)


def _finish(walk: Walk, tensors: Sequence[Any], retain_graph: bool | None, create_graph: bool, inputs: Any,
            targets: list[Edge] | None, along: Sequence[LazyBuffer], watch: list[Run] | None) -> None:
    """Free what is not retained, and accumulate what the walk has found."""
    if not (create_graph if retain_graph is None else retain_graph):
        walk.release()
    # a leaf that requires no gradient any more takes none
    accumulated: list[tuple[Any, Any]] = [(leaf, g) for leaf, g in walk.leaves.items() if leaf._requires_grad]
    if targets is not None:
        wanted = {t for t in targets if type(t) is not tuple}
        accumulated = [(leaf, g) for leaf, g in accumulated if leaf in wanted]
        accumulated += [(t, walk.captured[e]) for t, e in zip(inputs, targets, strict=True)
                        if type(e) is tuple and e in walk.captured and not _is_edge(t)]
    with set_grad_enabled(walk.taped):  # for hooks
        _accumulate(walk, accumulated, [*[t._whole() for t in tensors if not _is_edge(t)], *along], watch)


def _accumulate(walk: Walk, leaves: list[tuple[Any, Any]], roots: list[LazyBuffer], watch: list[Run] | None) -> None:
    """Compute all gradients in one run, and only then change any ``.grad``."""
    if walk.recorded:
        for i, (leaf, gradient) in enumerate(leaves):
            gradient = _of_the_shape(walk, leaf, _after_leaf_hooks(walk, leaf, gradient, True))
            leaves[i] = leaf, gradient
            leaf._grad = gradient if leaf._grad is None else leaf._grad + gradient
        realise([leaf._grad._whole() for leaf, _ in leaves] + roots)
    else:
        dense: list[tuple[Any, LazyBuffer]] = []
        rows: list[tuple[Any, RowsGradient]] = []
        for i, (leaf, gradient) in enumerate(leaves):
            if leaf._hooks is not None:
                gradient = _after_leaf_hooks(walk, leaf, gradient, True)
                leaves[i] = leaf, gradient
            if gradient.__class__ is RowsGradient:
                rows.append((leaf, gradient))
                continue
            old = leaf._grad
            if old is not None and old.is_sparse:
                old = leaf._grad = old.to_dense()
            dense.append((leaf, _of_the_shape(walk, leaf, gradient) if old is None else _sum(walk, old, gradient)))
        realise([lazy for _, lazy in dense] + [v for _, g in rows for v in g.values()] + roots, watch)
        for leaf, lazy in dense:
            if leaf._grad is None:
                leaf._grad = Front.wrap(lazy, None)
            else:
                leaf._grad._replace(lazy)
        for leaf, gradient in rows:
            made, old = walk.tensor(gradient), leaf._grad
            leaf._grad = made if old is None else old + made
    for leaf, gradient in leaves:
        if leaf._hooks is not None:
            for hook in tuple(leaf._hooks.after.values()):
                with users_code:
                    if hook(leaf) is not None:
                        raise RuntimeError("Tensor post accumulate grad hooks should return None.")
            for hook in tuple(leaf._hooks.post.values()):
                with users_code:
                    hook((), (walk.tensor(gradient),))


def _of_the_shape(walk: Walk, leaf: Any, gradient: Any) -> Any:
    """What ``.grad`` becomes, if there is none. Its leaf may have another shape by now: the gradient is copied to that.
    """
    shape = leaf._shape()
    if gradient.shape == shape:
        return gradient
    whole = Front.wrap(LazyBuffer.const(0, gradient.dtype, shape, leaf._pending().device), None)
    return walk.gradient(whole.copy_(walk.tensor(gradient)))


def _sum(walk: Walk, old: Any, gradient: LazyBuffer) -> LazyBuffer:
    """What ``.grad`` becomes. Its leaf may have another shape or dtype by now: the gradient is added as in place."""
    before: LazyBuffer = old._read()
    if before.shape == gradient.shape and before.dtype is gradient.dtype:
        return before.binary(Op.ADD, gradient)
    total = Front.wrap(before, None)
    total.add_(walk.tensor(gradient))
    found: LazyBuffer = total._read()
    return found


def _after_leaf_hooks(walk: Walk, leaf: Any, gradient: Any, accumulates: bool = False) -> Any:
    """The gradient after the hooks of the leaf, and where it is accumulated those of its ``AccumulateGrad``."""
    hooks = leaf._hooks
    if hooks is None:
        return gradient
    gradient = walk.hooked(hooks.before, gradient)
    for hook in tuple(hooks.pre.values()) if accumulates else ():
        given = (walk.tensor(gradient),)
        with users_code:
            changed = hook(given)
        gradient = walk.gradient(replaced(hook, given, changed)[0])
    return gradient


def grad(outputs: Any, inputs: Any, grad_outputs: Any = None, retain_graph: bool | None = None,
         create_graph: bool = False, only_inputs: bool = True, allow_unused: bool | None = None,
         is_grads_batched: bool = False, materialize_grads: bool = False) -> Any:
    """The gradients of ``outputs`` with respect to ``inputs``, as a tuple, or as a dictionary if ``inputs`` is one; no
    ``.grad`` changes.

    With ``create_graph`` they can be differentiated again. An input that the outputs do not depend on raises
    ``RuntimeError``, gives None with ``allow_unused`` and zeros with ``materialize_grads``. ``only_inputs`` has no
    effect; False warns. With ``is_grads_batched`` each of ``grad_outputs`` has an axis of rows in front, and so have
    the gradients: those of each row, computed together.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.autograd.grad.html

    >>> import minigrad
    >>> x = minigrad.tensor(3.0, requires_grad=True)
    >>> dy, = grad(x**3, x, create_graph=True)
    >>> dy.item(), grad(dy, x)[0].item()
    (27.0, 18.0)
    """
    if not only_inputs:
        warnings.warn("only_inputs argument is deprecated and is ignored now (defaults to True). To accumulate "
                      "gradient for other parts of the graph, please use torch.autograd.backward.", FutureWarning,
                      stacklevel=2)
    if isinstance(inputs, dict):
        found_of = grad(outputs, list(inputs.values()), grad_outputs, retain_graph, create_graph,
                        allow_unused=allow_unused, materialize_grads=materialize_grads)
        return dict(zip(inputs, found_of, strict=True))
    outputs, inputs = _listed(outputs), _listed(inputs)
    if not inputs:
        raise RuntimeError("`inputs` argument to `grad()` cannot be empty.")
    starts = [None] * len(outputs) if grad_outputs is None else _listed(grad_outputs, True)
    if allow_unused is None:
        allow_unused = materialize_grads
    elif materialize_grads and not allow_unused:
        raise ValueError("Expected allow_unused to be True or not passed when materialize_grads=True, but got: "
                         "allow_unused=False.")
    if is_grads_batched:
        return _in_rows(outputs, inputs, starts, retain_graph, create_graph, allow_unused, materialize_grads)
    for tensor in inputs:
        if not _is_edge(tensor) and not tensor.requires_grad:
            raise RuntimeError("One of the differentiated Tensors does not require grad")
    plain = grad_outputs is None and not (retain_graph or create_graph or allow_unused or mode.anomaly or mode.duals)
    plain = plain and not any([_is_edge(t) for t in (*outputs, *inputs)])
    found = Front.gradients(outputs, inputs) if plain else None
    return run_grad(outputs, inputs, starts, retain_graph, create_graph, allow_unused, materialize_grads
                    ) if found is None else found


def run_grad(outputs: Sequence[Any], inputs: Sequence[Any], starts: Sequence[Any], retain_graph: bool | None = None,
             create_graph: bool = False, allow_unused: bool = False, materialize_grads: bool = False,
             along: Sequence[LazyBuffer] = (), watch: list[Run] | None = None) -> tuple[Any, ...]:
    """``grad``, which computes the values ``along`` in the same run; ``watch`` is told what ran."""
    targets = [_target(t) for t in inputs]
    walk = Walk(create_graph, targets)
    _walk(walk, outputs, starts)
    if not (create_graph if retain_graph is None else retain_graph):
        walk.release()
    with set_grad_enabled(walk.taped):
        found = [walk.captured.get(e) if type(e) is tuple else
                 _after_leaf_hooks(walk, e, walk.leaves.get(e)) for e in targets]
    for i, gradient in enumerate(found):
        if gradient is None and not allow_unused:
            raise RuntimeError(f"The differentiated Tensor at index {i} appears to not have been used in the graph. "
                               "Set allow_unused=True if this is the desired behavior.")
    if materialize_grads:
        found = [_zeros(walk, t) if g is None else g for g, t in zip(found, inputs, strict=True)]
    results = tuple([t._as_gradient(walk.tensor(g)) if g is not None and not _is_edge(t) else walk.tensor(g)
                     for g, t in zip(found, inputs, strict=True)])
    roots = [t._whole() for t in outputs if not _is_edge(t)]
    realise([*[r._whole() for r in results if r is not None], *roots, *along], watch)
    return results


def _in_rows(outputs: Sequence[Any], inputs: Sequence[Any], starts: Sequence[Any], retain_graph: bool | None,
             create_graph: bool, allow_unused: bool, materialize: bool) -> tuple[Any, ...]:
    """``grad`` for each row of ``starts``."""
    starts = [Front.wrap(_ones(output), None) if start is None else start
              for output, start in zip(outputs, starts, strict=True)]
    for i, (output, start) in enumerate(zip(outputs, starts, strict=True)):
        if start._shape() and start._shape()[1:] != output._shape():
            raise RuntimeError("If `is_grads_batched=True`, we interpret the first dimension of each grad_output as "
                               "the batch dimension. The sizes of the remaining dimensions are expected to match the "
                               f"shape of corresponding output, but a mismatch was detected: grad_output[{i}] has a "
                               f"shape of {start.shape} and output[{i}] has a shape of {output.shape}. If you only "
                               "want some tensors in `grad_output` to be considered batched, consider using vmap.")
    places: list[int] = []

    def one(given: Sequence[Any]) -> tuple[Any, ...]:
        found = grad(outputs, inputs, given, retain_graph, create_graph, allow_unused=allow_unused)
        places[:] = [i for i, g in enumerate(found) if g is not None]
        return tuple([found[i] for i in places])

    vmap = lazily.module("minigrad.func").vmap  # it stands above this room
    rows = iter(vmap(one)(list(starts)))
    unused = [Front.wrap(t._read().like(0), None) if materialize else None for t in inputs]
    return tuple([next(rows) if i in places else unused[i] for i in range(len(inputs))])


def _zeros(walk: Walk, tensor: Any) -> Any:
    if _is_edge(tensor):
        raise RuntimeError("materialize_grads cannot be used when the given input is a GradientEdge")
    lazy = tensor._read().like(0)
    if walk.taped:
        return Front.wrap(lazy, None).requires_grad_()
    return Front.wrap(lazy, None) if walk.recorded else lazy


def _walk(walk: Walk, tensors: Sequence[Any], starts: Sequence[Any]) -> None:
    roots = [(_root_edge(i, t), _start(walk, t, g)) for i, (t, g) in enumerate(zip(tensors, starts, strict=True))]
    with set_grad_enabled(walk.taped):
        walk.run(roots)
        if walk.found is not None:
            walk.check()


def _root_edge(position: int, tensor: Any) -> Edge:
    edge = _target(tensor)
    if edge is None:
        raise RuntimeError(f"element {position} of tensors does not require grad and does not have a grad_fn")
    return edge


def _start(walk: Walk, tensor: Any, gradient: Any) -> Any:
    """The gradient that a root starts from."""
    like = _like(tensor)
    if gradient is None:
        lazy = _ones(tensor)
        return Front.wrap(lazy, None) if walk.recorded else lazy
    lazy = gradient._read()
    if (lazy.dtype.kind == "c") != (like.dtype.kind == "c"):
        raise RuntimeError("For complex Tensors, both grad_output and output are required to have the same dtype. "
                           f"Mismatch in dtype: grad_output[0] has a dtype of {lazy.dtype!r} and output[0] has a dtype "
                           f"of {like.dtype!r}.")
    if lazy.shape != like.shape:
        raise RuntimeError(f"Mismatch in shape: grad_output[0] has a shape of {gradient.shape} and output[0] has a "
                           f"shape of {type(gradient.shape)(like.shape)}.")
    if lazy.device != like.device:
        raise RuntimeError(f"invalid gradient at index 0 - expected device {like.device.lower()} but got "
                           f"{gradient.device}")
    if walk.recorded:
        return gradient
    return lazy.cast(like.dtype)


def _ones(tensor: Any) -> LazyBuffer:
    """The gradient of a root that is given none."""
    like = _like(tensor)
    if any(n != 1 for n in like.shape):
        raise RuntimeError("grad can be implicitly created only for scalar outputs")
    if not like.dtype.is_float:
        raise RuntimeError("grad can be implicitly created only for real scalar outputs but got "
                           f"{shown(like.dtype.name)}")
    return LazyBuffer.const(1.0, like.dtype, like.shape, like.device)


def _like(given: Any) -> LazyBuffer:
    """A value of the shape, dtype and device of a Tensor, or of what a ``GradientEdge`` leads to."""
    if not _is_edge(given):
        pending = given._pending()
        return pending if pending.shape == given._shape() and pending.dtype is given.dtype else LazyBuffer.const(
            0, given.dtype, given._shape(), pending.device)
    if isinstance(given.node, AccumulateGrad):
        return _like(given.node.variable)
    output: LazyBuffer = given.node.body.outputs[given.output_nr]
    return output


def _listed(tensors: Any, or_none: bool = False) -> list[Any]:
    """One Tensor or edge, or those that any iterable gives, such as ``module.parameters()``, as a list; ``TypeError``
    for anything else, but None where that stands for what is not given."""
    one = hasattr(tensors, "_source") or _is_edge(tensors) or not isinstance(tensors, Iterable)
    listed = [tensors] if one else list(tensors)
    for given in listed:
        if not hasattr(given, "_source") and not _is_edge(given) and not (or_none and given is None):
            raise TypeError(f"expected Tensors or GradientEdges, got {type(given).__name__}")
    return listed


def _is_edge(given: Any) -> bool:
    """Whether it is a ``GradientEdge``, not a Tensor."""
    return isinstance(given, tuple) and hasattr(given, "output_nr")


def _target(given: Any) -> Edge:
    """Where the gradient of a Tensor or ``GradientEdge`` goes."""
    if not _is_edge(given):
        return given._source()
    return given.node.variable if isinstance(given.node, AccumulateGrad) else (given.node, given.output_nr)
