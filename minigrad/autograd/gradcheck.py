"""Stage: tests. In: a function of Tensors. Out: True if its gradients are those that finite differences give, else an
error that shows both.
Next: ``forwardcheck.py``."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from types import ModuleType
from typing import Any

import numpy as np

from minigrad.autograd import forwardcheck
from minigrad.autograd.backward import grad
from minigrad.autograd.mode import no_grad
from minigrad.autograd.protocol import Front
from minigrad.dtype import float64, promote
from minigrad.tensor import Tensor, rand, realize, stack, tensor, view_as_complex, view_as_real, zeros, zeros_like
from minigrad.testing.creation import make_tensor


class GradcheckError(RuntimeError):
    """The gradients of a function are wrong."""


Output = Tensor | Sequence[Any]


def gradcheck(func: Callable[..., Any], inputs: Any, *, eps: float = 1e-6, atol: float = 1e-5, rtol: float = 1e-3,
              raise_exception: bool = True, nondet_tol: float = 0.0, check_undefined_grad: bool = True,
              check_grad_dtypes: bool = False, check_batched_grad: bool = False,
              check_batched_forward_grad: bool = False, check_forward_ad: bool = False,
              check_backward_ad: bool = True, fast_mode: bool = False, masked: bool | None = None) -> bool:
    """Compare the gradients of ``func(*inputs)`` with (f(x + eps) - f(x - eps)) / 2 eps, for each element of each
    float64 input that requires a gradient (of complex128: of each part), or with ``fast_mode`` in one random direction.
    ``GradcheckError`` (or False) if they are further apart than ``atol + rtol * |difference|``.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.autograd.gradcheck.gradcheck.html

    >>> import minigrad
    >>> x = minigrad.tensor([0.5, 2.0], dtype=minigrad.float64, requires_grad=True)
    >>> gradcheck(lambda x: x.exp() * x, (x,))
    True
    >>> gradcheck(lambda x: x * x.detach(), (x,))
    Traceback (most recent call last):
    minigrad.autograd.gradcheck.GradcheckError: Jacobian mismatch for output 0 with respect to input 0,
    numerical:tensor([[1.0000, 0.0000],
            [0.0000, 4.0000]], dtype=minigrad.float64)
    analytical:tensor([[0.5000, 0.0000],
            [0.0000, 2.0000]], dtype=minigrad.float64)
    <BLANKLINE>
    """
    if not (check_forward_ad or check_backward_ad):
        raise AssertionError("Expected at least one of check_forward_ad or check_backward_ad to be True")
    if check_batched_grad and not check_backward_ad:
        raise AssertionError("Setting check_batched_grad=True requires check_backward_ad to be True")
    if check_batched_forward_grad and not check_forward_ad:
        raise AssertionError("Setting check_batched_forward_grad=True requires check_forward_ad to be True")
    func, inputs = _in_parts(func, _tuple(inputs))
    try:
        check = _Check(func, inputs, eps, atol, rtol, nondet_tol, check_undefined_grad, check_grad_dtypes, fast_mode)
        check.run(check_forward_ad, check_backward_ad, check_batched_grad, check_batched_forward_grad)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(func: Callable[..., Any], inputs: Any, grad_outputs: Any = None, *, eps: float = 1e-6,
                  atol: float = 1e-5, rtol: float = 1e-3, gen_non_contig_grad_outputs: bool = False,
                  raise_exception: bool = True, nondet_tol: float = 0.0, check_undefined_grad: bool = True,
                  check_grad_dtypes: bool = False, check_batched_grad: bool = False,
                  check_fwd_over_rev: bool = False, check_rev_over_rev: bool = True, fast_mode: bool = False,
                  masked: bool = False) -> bool:
    """``gradcheck`` of the gradients: their own gradients with respect to the inputs and to ``grad_outputs``, which are
    random unless given.

    >>> import minigrad
    >>> x = minigrad.tensor([0.5, 2.0], dtype=minigrad.float64, requires_grad=True)
    >>> gradgradcheck(lambda x: x.exp() * x, (x,))
    True
    """
    if not (check_fwd_over_rev or check_rev_over_rev):
        raise AssertionError("Expected at least one of check_fwd_over_rev or check_rev_over_rev to be True")
    given = _tuple(inputs)
    if grad_outputs is None:
        starts = tuple([make_tensor(o.shape, dtype=o.dtype if o.dtype.is_inexact else float64, device=o.device, low=-1,
                                    high=1, requires_grad=True, noncontiguous=gen_non_contig_grad_outputs)
                        for o in _differentiable(func(*given))])
    else:
        starts = _tuple(grad_outputs)
    wanted = [i for i, x in enumerate(given) if isinstance(x, Tensor) and x.requires_grad]

    def gradients(*args: Any) -> tuple[Tensor, ...]:
        at, grads = args[:-len(starts)], args[-len(starts):]
        for i in wanted:
            at[i].requires_grad_()  # in forward mode they are given without
        found = grad(_differentiable(func(*at)), [at[i] for i in wanted], grads, create_graph=True, allow_unused=True)
        return tuple([g for g in found if g is not None])

    return gradcheck(gradients, (*given, *starts), eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception,
                     nondet_tol=nondet_tol, check_undefined_grad=check_undefined_grad,
                     check_grad_dtypes=check_grad_dtypes, check_batched_grad=check_batched_grad,
                     check_forward_ad=check_fwd_over_rev, check_backward_ad=check_rev_over_rev, fast_mode=fast_mode,
                     masked=masked)


def _in_parts(func: Callable[..., Any], inputs: tuple[Any, ...]) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The function with the parts of complex inputs and outputs as real ones; as it is if none is complex."""
    def is_complex(x: Any) -> bool:
        return isinstance(x, Tensor) and x.is_complex()

    split = [is_complex(x) and x.requires_grad for x in inputs]
    if not any(split) and not any([is_complex(o) for o in _tuple(func(*inputs))]):
        return func, inputs

    def over_parts(*args: Any) -> tuple[Any, ...]:
        # of a copy: the inputs are changed in place, and backward refuses values that were
        given = [view_as_complex(a.clone()) if parts else a for a, parts in zip(args, split, strict=True)]
        return tuple([view_as_real(o) if is_complex(o) else o for o in _tuple(func(*given))])

    return over_parts, tuple([view_as_real(x.detach()).clone().requires_grad_() if parts else x
                              for x, parts in zip(inputs, split, strict=True)])


class _Check:
    """One check: the function, its inputs and outputs, and the tolerances."""

    def __init__(self, func: Callable[..., Any], inputs: Any, eps: float, atol: float, rtol: float, nondet_tol: float,
                 undefined: bool, dtypes: bool, fast: bool) -> None:
        self.func, self.inputs = func, _tuple(inputs)
        self.eps, self.atol, self.rtol, self.nondet_tol = eps, atol, rtol, nondet_tol
        self.undefined, self.dtypes, self.fast = undefined, dtypes, fast
        self.wanted = list(_with_gradient(self.inputs))

    def run(self, forward: bool, backward: bool, rows: bool, forward_rows: bool) -> None:
        """Raises ``GradcheckError`` if something is wrong, in the modes asked for."""
        self._check_inputs()
        every = _tuple(self.func(*self.inputs))
        outputs = _differentiable(every)
        if not outputs:
            self._check_zero(len(every))
            return
        numbers = [i for i, o in enumerate(every) if isinstance(o, Tensor) and o.requires_grad]
        if forward:
            self._check_forward(numbers)
        if forward_rows:
            self._check_forward_rows()
        if not backward:
            return
        realize(*outputs)
        (self._check_direction if self.fast else self._check_elements)(outputs, numbers)
        if rows:
            for i, output in enumerate(outputs):
                for j, (got, expected) in enumerate(forwardcheck.backward_rows(output, self.wanted)):
                    _compare_rows(got, expected, i, j)
        self._check_product(outputs)
        if self.undefined:
            self._check_undefined(outputs)

    def _check_inputs(self) -> None:
        for i, x in enumerate(self.inputs):
            if isinstance(x, Tensor) and x.requires_grad and x.dtype is not float64:
                warnings.warn(f"Input #{i} requires gradient and is not a double precision floating point or complex. "
                              "This check will likely fail if all the inputs are not of double precision floating "
                              "point or complex. ", stacklevel=4)
            if isinstance(x, Tensor) and x.requires_grad and any(
                    s == 0 and n > 1 for s, n in zip(x.stride(), x.shape, strict=True)):
                raise RuntimeError(f"The {i}th input has a dimension with stride 0. gradcheck only supports inputs "
                                   "that are non-overlapping to be able to compute the numerical gradients correctly. "
                                   "You should call .contiguous on the input before passing it to gradcheck.")
        if not self.wanted:
            raise ValueError("gradcheck expects at least one input tensor to require gradient, but none of them have "
                             "requires_grad=True.")

    # --- finite differences

    def _values(self) -> list[np.ndarray[Any, Any]]:
        """The outputs for the inputs as they are now."""
        return [o.detach().numpy().astype(np.float64).copy() for o in _tuple(self.func(*self.inputs))]

    def _difference(self, x: Tensor, direction: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
        """The slope of each output along a direction in which one input moves. The input itself is changed, and back:
        the function may see it in other ways than as its argument."""
        data, before = x.data, x.detach().numpy().copy()
        try:
            with no_grad():
                data.copy_(tensor(before + self.eps * direction, dtype=x.dtype, device=x.device))
            above = self._values()
            with no_grad():
                data.copy_(tensor(before - self.eps * direction, dtype=x.dtype, device=x.device))
            below = self._values()
        finally:
            with no_grad():
                data.copy_(tensor(before, dtype=x.dtype, device=x.device))
        return [(a - b) / (2 * self.eps) for a, b in zip(above, below, strict=True)]

    def _numerical(self, x: Tensor) -> list[np.ndarray[Any, Any]]:
        """For each output the matrix of slopes: a row for each element of x."""
        rows = []
        for i in range(x.numel()):
            direction = np.zeros(x.numel())
            direction[i] = 1.0
            rows.append([d.reshape(-1) for d in self._difference(x, direction.reshape(tuple(x.shape)))])
        return [np.stack(r) for r in zip(*rows, strict=True)]

    def _check_zero(self, outputs: int) -> None:
        for x in self.wanted:
            if x.numel() and any(np.any(d != 0) for d in self._numerical(x)[:outputs]):
                raise GradcheckError("Numerical gradient for function expected to be zero")

    # --- gradients

    def _analytical(self, output: Tensor) -> list[Tensor]:
        """For each input the matrix of slopes of one output, by backward; a row for each element of the input."""
        columns: list[list[Tensor]] = [[] for _ in self.wanted]
        flat = zeros(output.numel(), dtype=output.dtype, device=output.device)
        for i in range(output.numel()):
            start = flat.clone()
            start[i] = 1
            found = grad(output, self.wanted, start.reshape(output.shape), retain_graph=True, allow_unused=True)
            for column, x, g in zip(columns, self.wanted, found, strict=True):
                if g is not None and g.shape != x.shape:
                    raise GradcheckError("Analytical gradient has incorrect size")
                if g is not None and self.dtypes and g.dtype != x.dtype:
                    raise GradcheckError("Gradient has dtype mismatch")
                column.append((zeros_like(x) if g is None else g).detach().reshape(-1))
        return [stack(c, 1) if c else zeros(x.numel(), 0, dtype=x.dtype)
                for c, x in zip(columns, self.wanted, strict=True)]

    def _twice(self, compute: Callable[[], list[Tensor]]) -> list[Tensor]:
        """Compute gradients two times; they have to be the same."""
        first, second = _ran(compute()), _ran(compute())
        for a, b in zip(first, second, strict=True):
            if a.numel() and float((a - b).abs().max()) > self.nondet_tol:
                raise GradcheckError(
                    "Backward is not reentrant, i.e., running backward with same input and grad_output multiple times "
                    "gives different values, although analytical gradient matches numerical gradient.The tolerance for "
                    f"nondeterminism was {self.nondet_tol}.")
        return first

    def _check_elements(self, outputs: Sequence[Tensor], numbers: Sequence[int]) -> None:
        numerical = [self._numerical(x) if x.numel() else None for x in self.wanted]
        for i, (number, output) in enumerate(zip(numbers, outputs, strict=True)):
            analytical = self._twice(lambda output=output: self._analytical(output))  # type: ignore[misc]
            for j, (a, n) in enumerate(zip(analytical, numerical, strict=True)):
                if n is None or not a.numel():
                    continue
                expected = tensor(n[number], dtype=float64).to(output.dtype)
                if not self._close(a, expected, self.atol):
                    raise GradcheckError(_mismatch(a, expected, i, j))

    def _close(self, a: Tensor, b: Tensor, atol: float) -> bool:
        dtype = promote(a.dtype, b.dtype)
        return bool(a.to(dtype).allclose(b.to(dtype), self.rtol, atol))

    def _check_direction(self, outputs: Sequence[Tensor], numbers: Sequence[int]) -> None:
        """One random direction u of each input, one v of each output: v J u both ways."""
        directions = [_unit(x) for x in self.wanted]
        ahead = [_unit(o) for o in outputs]
        slopes = [self._difference(x, u.numpy()) for x, u in zip(self.wanted, directions, strict=True)]
        for i, (number, output, v) in enumerate(zip(numbers, outputs, ahead, strict=True)):
            def gradients(output: Tensor = output, v: Tensor = v) -> list[Tensor]:
                found = grad(output, self.wanted, v.to(output.dtype), retain_graph=True, allow_unused=True)
                return [zeros_like(x) if g is None else g.detach() for x, g in zip(self.wanted, found, strict=True)]

            for j, (g, u, slope) in enumerate(zip(self._twice(gradients), directions, slopes, strict=True)):
                a = (g.to(float64) * u).sum()
                n = (v * tensor(slope[number], dtype=float64)).sum()
                if not self._close(a, n, self.atol * float(u.sum()) * float(v.sum())):
                    raise GradcheckError(_mismatch(a, n, i, j) + self._slow_message(output, number, j))

    def _slow_message(self, output: Tensor, number: int, which: int) -> str:
        a = self._analytical(output)[which]
        n = tensor(self._numerical(self.wanted[which])[number], dtype=float64).to(a.dtype)
        return ("\nThe above quantities relating the numerical and analytical jacobians are computed \n"
                "in fast mode. See: https://github.com/pytorch/pytorch/issues/53876 for more background \n"
                "about fast mode. Below, we recompute numerical and analytical jacobians in slow mode:\n\n"
                f"Numerical:\n {n}\nAnalytical:\n{a}\n\n"
                f"The max per-element difference (slow mode) is: {(n - a).abs().max()}.\n")

    # --- forward mode

    def _check_forward(self, numbers: Sequence[int]) -> None:
        places = [i for i, x in enumerate(self.inputs) if isinstance(x, Tensor) and x.requires_grad]
        for j, place in enumerate(places):
            x = self.inputs[place]
            if not x.numel():
                continue
            if self.fast:
                u = _unit(x)
                found = forwardcheck.product(self.func, self.inputs, {place: u.to(x.dtype)})
                slopes = self._difference(x, u.numpy())
            else:
                found = forwardcheck.columns(self.func, self.inputs, place)
                slopes = self._numerical(x)
            for i, a in enumerate(found):
                expected = tensor(slopes[numbers[i] if len(found) == len(numbers) else i], dtype=float64).to(a.dtype)
                if not self._close(a, expected, self.atol):
                    raise GradcheckError(f"{_mismatch(a, expected, i, j)}while considering the forward mode")
        if self.undefined:
            number = forwardcheck.undefined_is_zero(self.func, self.inputs, places)
            if number is not None:
                raise GradcheckError("Mismatch in tangent values for output with index: ", number,
                                     " when an input has an undefined tangent value.")

    def _check_forward_rows(self) -> None:
        for j, x in enumerate(self.inputs):
            if isinstance(x, Tensor) and x.requires_grad:
                for i, (got, expected) in enumerate(forwardcheck.forward_rows(self.func, self.inputs, j)):
                    _compare_rows(got, expected, i, j)

    # --- what else a backward has to do

    def _check_product(self, outputs: Sequence[Tensor]) -> None:
        found = grad(outputs, self.wanted, [zeros_like(o) for o in outputs], retain_graph=True, allow_unused=True)
        for g, x in zip(found, self.wanted, strict=True):
            if g is None:
                continue
            if not bool(g.eq(0).all()):
                raise GradcheckError("backward not multiplied by grad_output")
            for what, same in (("type", g.dtype == x.dtype), ("device", g.device == x.device),
                               ("size", g.shape == x.shape)):
                if not same:
                    raise GradcheckError(f"grad is incorrect {what}")

    def _check_undefined(self, outputs: Sequence[Tensor]) -> None:
        """A node gets None for an output from which no gradient comes, and has to do with that."""
        for output in outputs:
            edge = output._source()
            if not isinstance(edge, tuple):
                continue
            try:
                found = edge[0].vjp([None] * edge[0].count, [e is not None for e in edge[0].edges])
            except Exception as error:
                raise GradcheckError("Expected backward function to handle undefined output grads. Please look at "
                                     '"Notes about undefined output gradients" in "tools/autograd/derivatives.yaml"'
                                     ) from error
            if any([bool(Front.wrap(g, None).any()) for g in found if g is not None]):
                raise GradcheckError("Expected all input grads to be undefined or zero when all output grads are "
                                     'undefined or zero. Please look at "Notes about undefined output gradients" in '
                                     '"tools/autograd/derivatives.yaml"')


def _compare_rows(got: Tensor, expected: Tensor, output: int, input: int) -> None:
    if not got.allclose(expected):
        raise GradcheckError(f"For output {output} and input {input}:\n\ngradcheck or gradgradcheck failed while "
                             "testing batched gradient computation.\nvmap gives other rows than those computed one by "
                             f"one.\n\nGot:\n{got}\n\nExpected:\n{expected}")


def _mismatch(analytical: Tensor, numerical: Tensor, output: int, input: int) -> str:
    return (f"Jacobian mismatch for output {output:d} with respect to input {input:d},\n"
            f"numerical:{numerical}\nanalytical:{analytical}\n")


def _ran(values: list[Tensor]) -> list[Tensor]:
    """Computed in a run of their own: the same graph, so that the same roundings are made again."""
    realize(*values)
    return values


def _unit(like: Tensor) -> Tensor:
    """A random direction of length 1 with no negative component."""
    made = rand(like.shape, dtype=float64)
    return (made / made.norm()).realize()


def _tuple(values: Any) -> tuple[Any, ...]:
    return tuple(values) if isinstance(values, tuple | list) else (values,)


def _differentiable(values: Any) -> tuple[Tensor, ...]:
    return tuple([v for v in _tuple(values) if isinstance(v, Tensor) and v.requires_grad])


def _with_gradient(values: Any) -> Iterator[Tensor]:
    """All Tensors in nested lists and tuples that require a gradient."""
    if isinstance(values, Tensor):
        return iter((values,) if values.requires_grad else ())
    if isinstance(values, list | tuple):
        return chain.from_iterable([_with_gradient(v) for v in values])
    return iter(())


class _Callable(ModuleType):
    """PyTorch has a function of this module's name in its place."""

    def __call__(self, *args: Any, **options: Any) -> bool:
        return gradcheck(*args, **options)


sys.modules[__name__].__class__ = _Callable
