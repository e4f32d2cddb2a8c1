"""Stage: backward. In: a function of Tensors and a point. Out: its Jacobian, its Hessian, and their products with
vectors. With J the Jacobian and H the Hessian at ``inputs``: ``vjp`` is v J, ``jvp`` J v, ``vhp`` v H, ``hvp`` H v.
Next: ``variable.py``.

https://docs.pytorch.org/docs/stable/autograd.html#functional-higher-level-api
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from minigrad.autograd.backward import grad
from minigrad.autograd.mode import enable_grad, is_grad_enabled, set_grad_enabled
from minigrad.func.matrices import basis, jacobian_ahead
from minigrad.tensor import Tensor, stack, zeros, zeros_like

Tensors = tuple[Tensor, ...]


def vjp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False,
        strict: bool = False) -> tuple[Any, Any]:
    """``func(*inputs)``, and v times its Jacobian. v is as the output, and may be left out for a single number.

    >>> import minigrad
    >>> vjp(lambda x: x.exp().sum(), minigrad.zeros(2))
    (tensor(2.), tensor([1., 1.]))
    """
    with enable_grad():
        several, given = _tuple(inputs, "inputs", "vjp")
        given = _prepared(given, create_graph)
        several_out, outputs = _tuple(func(*given), "outputs of the user-provided function", "vjp")
        _require(outputs, "outputs", strict)
        start = _vector(v, outputs, several_out, create_graph, "vjp", "The vector v can only be None if the "
                        "user-provided function returns a single Tensor with a single element.")
    with set_grad_enabled(create_graph or is_grad_enabled()):
        found = _filled(_grad(outputs, given, start, create_graph), given, strict, create_graph, "back")
    return (_single(_finished(outputs, create_graph), several_out),
            _single(_finished(found, create_graph), several))


def jvp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False,
        strict: bool = False) -> tuple[Any, Any]:
    """``func(*inputs)``, and its Jacobian times v, which is as the inputs: the derivative, by u, of v's product with
    u times the Jacobian.

    >>> import minigrad
    >>> jvp(lambda x: x * x, minigrad.tensor([1.0, 2.0]), minigrad.tensor([1.0, 10.0]))
    (tensor([1., 4.]), tensor([ 2., 40.]))
    """
    with enable_grad():
        several, given = _tuple(inputs, "inputs", "jvp")
        given = _prepared(given, create_graph)
        direction = _vector(v, given, several, create_graph, "jvp", "The vector v can only be None if the input to the "
                            "user-provided function is a single Tensor with a single element.")
        several_out, outputs = _tuple(func(*given), "outputs of the user-provided function", "jvp")
        _require(outputs, "outputs", strict)
        factors = tuple([zeros_like(o).requires_grad_() for o in outputs])
        products = _grad(outputs, given, factors, True)
        _require(products, "grad_inputs", strict)
    with set_grad_enabled(create_graph or is_grad_enabled()):
        found = _filled(_grad(products, factors, direction, create_graph), outputs, strict, create_graph, "back_trick")
    return (_single(_finished(outputs, create_graph), several_out),
            _single(_finished(found, create_graph), several_out))


def jacobian(func: Callable[..., Any], inputs: Any, create_graph: bool = False, strict: bool = False,
             vectorize: bool = False, strategy: str = "reverse-mode") -> Any:
    """The derivatives of each element of the output by each of the input: of the output's shape and then the input's.
    For several inputs or outputs a tuple, or a tuple of tuples, by output and then by input.

    One backward for each element of the output; with ``vectorize`` all of them at once, or with the strategy
    ``"forward-mode"`` one pass in forward mode for all elements of the inputs.

    >>> import minigrad
    >>> jacobian(lambda x: x * x, minigrad.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    if strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError('Expected strategy to be either "forward-mode" or "reverse-mode". Hint: If your function '
                             'has more outputs than inputs, "forward-mode" tends to be more performant. Otherwise, '
                             'prefer to use "reverse-mode".')
    if strategy == "forward-mode" and create_graph:
        raise NotImplementedError('torch.autograd.functional.jacobian: `create_graph=True` and '
                                  '`strategy="forward-mode"` are not supported together (yet). Please either set '
                                  '`create_graph=False` or `strategy="reverse-mode"`.')
    if strategy == "forward-mode":
        return _ahead(func, inputs, strict, vectorize)
    if strict and vectorize:
        raise RuntimeError("torch.autograd.functional.jacobian: `strict=True` and `vectorized=True` are not supported "
                           "together. Please either set `strict=False` or `vectorize=False`.")
    with enable_grad():
        several, given = _tuple(inputs, "inputs", "jacobian")
        given = _prepared(given, create_graph)
        several_out, outputs = _tuple(func(*given), "outputs of the user-provided function", "jacobian")
        _require(outputs, "outputs", strict)
        rows = (_all_rows(outputs, given, create_graph) if vectorize else
                [_rows(o, given, create_graph, strict) for o in outputs])
    found = [_single(_finished(r, create_graph), several) for r in rows]
    return _single(tuple(found), several_out)


def _rows(output: Tensor, inputs: Tensors, create_graph: bool, strict: bool) -> Tensors:
    """The Jacobian of one output by each input."""
    columns: list[list[Tensor]] = [[] for _ in inputs]
    count = output.numel()
    for i in range(count):
        start = zeros(count, dtype=output.dtype, device=output.device)
        start[i] = 1
        found = _grad((output,), inputs, (start.reshape(output.shape),), create_graph)
        for j, g in enumerate(found):
            if strict and create_graph and g is not None and not g.requires_grad:
                raise RuntimeError("The jacobian of the user-provided function is independent of "
                                   f"input {j}. This is not allowed in strict mode when create_graph=True.")
            if strict and g is None:
                raise RuntimeError(f"Output {i} of the user-provided function is independent of "
                                   f"input {j}. This is not allowed in strict mode.")
            columns[j].append(zeros_like(inputs[j]) if g is None else g)
    return tuple([stack(c).reshape(*output.shape, *x.shape) if c else
                  zeros(*output.shape, *x.shape, dtype=x.dtype, device=x.device)
                  for c, x in zip(columns, inputs, strict=True)])


def _all_rows(outputs: Tensors, inputs: Tensors, create_graph: bool) -> list[Tensors]:
    """The Jacobians of all outputs by each input, from one batched backward."""
    sizes = [o.numel() for o in outputs]
    chosen = [(o, b) for o, b in zip(outputs, basis(outputs), strict=True) if o.requires_grad]
    found: Sequence[Any] = (None,) * len(inputs)
    if chosen and sum(sizes):
        found = grad([o for o, _ in chosen], inputs, [b for _, b in chosen], retain_graph=True,
                     create_graph=create_graph, allow_unused=True, is_grads_batched=True)
    whole = [zeros(sum(sizes), *x.shape, dtype=x.dtype, device=x.device) if g is None else g
             for g, x in zip(found, inputs, strict=True)]
    parts = [w.split(sizes) for w in whole]
    return [tuple([p[i].reshape(*o.shape, *x.shape) for p, x in zip(parts, inputs, strict=True)])
            for i, o in enumerate(outputs)]


def _ahead(func: Callable[..., Any], inputs: Any, strict: bool, vectorize: bool) -> Any:
    """``jacobian`` in forward mode."""
    if strict:
        raise RuntimeError("torch.autograd.functional.jacobian: `strict=True` and `strategy=\"forward-mode\"` are not "
                           "supported together (yet). Please either set `strict=False` or "
                           "`strategy=\"reverse-mode\"`.")
    if not vectorize:
        raise NotImplementedError("Computing Jacobian using forward-AD or forward-over-reverse Hessian isonly "
                                  "implemented for `vectorize=True`.")
    several, given = _tuple(inputs, "inputs", "jacobian")
    seen: list[Any] = []

    def outputs(*at: Tensor) -> Tensors:
        several_out, found = _tuple(func(*at), "outputs of the user-provided function", "jacobian")
        seen[:] = [several_out]
        return found

    found = jacobian_ahead(outputs, tuple(range(len(given))))(*given)
    return _single(tuple([_single(tuple(f), several) for f in found]), seen[0])


def hessian(func: Callable[..., Any], inputs: Any, create_graph: bool = False, strict: bool = False,
            vectorize: bool = False, outer_jacobian_strategy: str = "reverse-mode") -> Any:
    """The second derivatives of a function with one number: of the shape of the one input and then of the other. For
    several inputs a tuple of tuples.

    >>> import minigrad
    >>> hessian(lambda x: (x**3).sum(), minigrad.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    several, given = _tuple(inputs, "inputs", "hessian")

    def gradient(*at: Tensor) -> Tensors:
        for x in at:
            x.requires_grad_()  # those of forward mode do not
        several_out, outputs = _tuple(func(*at), "outputs of the user-provided function", "hessian")
        _one_number(several_out, outputs, "hessian")
        _require(outputs, "outputs", strict)
        found = _grad(outputs, at, None, True)
        _require(found, "jacobian", strict)
        return tuple([zeros_like(x) if g is None else g for g, x in zip(found, at, strict=True)])

    found = jacobian(gradient, given, create_graph=create_graph, strict=strict, vectorize=vectorize,
                     strategy=outer_jacobian_strategy)
    return found if several else found[0][0]


def vhp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False,
        strict: bool = False) -> tuple[Any, Any]:
    """``func(*inputs)``, one number, and v times its Hessian: the gradient of the product of v and the gradient.

    >>> import minigrad
    >>> vhp(lambda x: (x**3).sum(), minigrad.tensor([1.0, 2.0]), minigrad.ones(2))
    (tensor(9.), tensor([ 6., 12.]))
    """
    return _second("vhp", func, inputs, v, create_graph, strict)


def hvp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False,
        strict: bool = False) -> tuple[Any, Any]:
    """``func(*inputs)`` and its Hessian times v. A Hessian is symmetric: it is ``vhp``."""
    return _second("hvp", func, inputs, v, create_graph, strict)


def _second(name: str, func: Callable[..., Any], inputs: Any, v: Any, create_graph: bool,
            strict: bool) -> tuple[Any, Any]:
    with enable_grad():
        several, given = _tuple(inputs, "inputs", name)
        given = _prepared(given, create_graph)
        direction = _vector(v, given, several, create_graph, name, "The vector v can only be None if the input to the "
                            "user-provided function is a single Tensor with a single element.")
        several_out, outputs = _tuple(func(*given), "outputs of the user-provided function", name)
        _require(outputs, "outputs", strict)
        _one_number(several_out, outputs, name)
        first = _grad(outputs, given, None, True)
        _require(first, "jacobian", strict)
    with set_grad_enabled(create_graph or is_grad_enabled()):
        found = _filled(_grad(first, given, direction, create_graph), given, strict, create_graph, "double_back")
    return _finished(outputs, create_graph)[0], _single(_finished(found, create_graph), several)


# --- what goes in and comes out


def _tuple(values: Any, what: str, name: str) -> tuple[bool, Tensors]:
    """Whether there are several, and all of them; ``TypeError`` for what is no Tensor."""
    several = isinstance(values, tuple)
    found = values if several else (values,)
    for i, v in enumerate(found):
        if not isinstance(v, Tensor):
            which = f"Value at index {i} of the {what}" if several else f"The {what}"
            raise TypeError(f"The {what} given to {name} must be either a Tensor or a tuple of Tensors but the "
                            f"value at index {i} has type {type(v)}." if several else
                            f"{which} given to {name} must be either a Tensor or a tuple of Tensors but the given "
                            f"{what} has type {type(v)}.")
    return several, found


def _single(values: tuple[Any, ...], several: bool) -> Any:
    return values if several else values[0]


def _prepared(inputs: Tensors, create_graph: bool) -> Tensors:
    """Tensors to differentiate by, which lead on to those given if the results are to be differentiated."""
    return tuple([x.view_as(x) if create_graph and x.requires_grad else x.detach().requires_grad_() for x in inputs])


def _finished(values: Sequence[Any], create_graph: bool) -> tuple[Any, ...]:
    return tuple(values) if create_graph else tuple([v.detach() for v in values])


def _vector(v: Any, like: Tensors, several: bool, create_graph: bool, name: str, needed: str) -> Tensors | None:
    """The vector as a tuple, checked; None if it is not needed."""
    if v is None:
        if len(like) != 1 or like[0].numel() != 1:
            raise RuntimeError(needed)
        return tuple([zeros_like(x) + 1 for x in like])
    _, found = _tuple(v, "v", name)
    if len(found) != len(like):
        raise RuntimeError(f"v is a tuple of invalid length: should be {len(like)} but got {len(found)}." if several
                           else "The given v should contain a single Tensor.")
    for i, (a, b) in enumerate(zip(found, like, strict=True)):
        if a.shape != b.shape:
            raise RuntimeError(f"{f'Entry {i} in ' if several else ''}v has invalid size: should be {b.shape} but got "
                               f"{a.shape}.")
    return found if create_graph else tuple([x.detach() for x in found])


def _grad(outputs: Sequence[Any], inputs: Tensors, starts: Tensors | None, create_graph: bool) -> tuple[Any, ...]:
    """``grad``, in which outputs may be None or constant, and inputs unused."""
    chosen = [(o, None if starts is None else s) for o, s in zip(outputs, starts or outputs, strict=True)
              if o is not None and o.requires_grad]
    if not chosen:
        return (None,) * len(inputs)
    return grad([o for o, _ in chosen], inputs, [s for _, s in chosen], retain_graph=True, create_graph=create_graph,
                allow_unused=True)


def _one_number(several: bool, outputs: Tensors, name: str) -> None:
    if several:
        raise RuntimeError(f"The function given to {name} should return a single Tensor")
    if outputs[0].numel() != 1:
        raise RuntimeError(f"The Tensor returned by the function given to {name} should contain a single element")


def _require(values: Sequence[Any], what: str, strict: bool) -> None:
    """In strict mode: ``RuntimeError`` for what does not depend on the inputs."""
    if not strict:
        return
    for i, value in enumerate(values):
        if value is None:
            raise RuntimeError(f"The output of the user-provided function is independent of input {i}. This is not "
                               "allowed in strict mode.")
        if value.requires_grad:
            continue
        if what == "outputs":
            raise RuntimeError(f"Output {i} of the user-provided function does not require gradients. The outputs must "
                               "be computed in a differentiable manner from the input when running in strict mode.")
        if what == "grad_inputs":
            raise RuntimeError(f"The gradient with respect to input {i} is independent of the inputs of the "
                               "user-provided function. This is not allowed in strict mode.")
        raise RuntimeError("While computing the hessian, found that the jacobian of the user-provided function with "
                           f"respect to input {i} is independent of the input. This is not allowed in strict mode. You "
                           "should ensure that your function is twice differentiable and that the jacobian depends on "
                           "the inputs (this would be violated by a linear function for example).")


_INDEPENDENT = {
    "back": "The output of the user-provided function is independent of input {}.",
    "back_trick": "The gradient with respect to the input is independent of entry {} in the grad_outputs when using "
                  "the double backward trick to compute forward mode gradients.",
    "double_back": "The jacobian of the user-provided function is independent of input {}.",
}


def _filled(grads: Sequence[Any], like: Tensors, strict: bool, create_graph: bool, stage: str) -> Tensors:
    """Zeros in the place of gradients that are not there; in strict mode ``RuntimeError``."""
    result = []
    for i, (g, x) in enumerate(zip(grads, like, strict=True)):
        if strict and (g is None or (create_graph and not g.requires_grad and stage == "double_back")):
            raise RuntimeError(f"{_INDEPENDENT[stage].format(i)} This is not allowed in strict mode.")
        result.append(zeros_like(x) if g is None else g)
    return tuple(result)
