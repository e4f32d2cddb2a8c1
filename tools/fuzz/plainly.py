"""Stage: tests. In: a library. Out: the transforms of its ``func``, written with ``autograd.grad`` alone, an element or
a row at a time, or as quotients of differences. PyTorch has other formulas for them, in forward mode and in ``vmap``.
Next: ``program.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Function = Callable[[Any], Any]


class Plainly:
    """What programs call of ``L.func``. In forward mode a product is the gradient of a gradient, which is linear in
    what it begins with; with ``by_rows`` it is summed from the rows of the Jacobian, and gradients are those that can
    be differentiated again: PyTorch has other formulas for some."""

    def __init__(self, library: Any, by_rows: bool) -> None:
        self.library = library
        self.by_rows = by_rows

    def grad(self, function: Function) -> Function:
        """The gradient of a function that gives one number."""
        return lambda x: self._tied(x, self._gradients(function, x, lambda y: [None], self.by_rows)[0][0])

    def vjp(self, function: Function, x: Any) -> tuple[Any]:
        """The value."""
        return (function(x),)

    def jacrev(self, function: Function) -> Function:
        """The Jacobian, one element of the result after another. As that of ``func`` it is the only part of a split."""
        def rows(x: Any) -> Any:
            found, y = self._gradients(function, x, self._basis, self.by_rows)
            whole = self._stacked(found, (y.numel(), *x.shape), x)
            return self._tied(x, whole.split(max(y.numel(), 1))[0].reshape((*y.shape, *x.shape)))

        return rows

    def jvp(self, function: Function, primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
        """The value, and the Jacobian times a vector."""
        (x,), (t,) = primals, tangents
        y = function(x)
        if self.by_rows:
            if x.is_complex():
                raise NotImplementedError("rows of the Jacobian of a complex function")
            rows = self.jacrev(function)(x)
            return y, ((rows * t).sum(tuple(range(y.ndim, rows.ndim))) if x.ndim else rows * t).to(y.dtype)
        u = self.library.ones_like(y).requires_grad_()
        back = self._gradients(function, x, lambda y: [u], True)[0][0]
        found = self.library.autograd.grad(back, u, t.to(x.dtype), allow_unused=True)[0] if back.requires_grad else None
        return y, self.library.zeros_like(y) if found is None else found.detach()

    def jacfwd(self, function: Function) -> Function:
        """The Jacobian, one element of the argument after another."""
        if self.by_rows:
            return lambda x: self.jacrev(function)(x).to(function(x).dtype)

        def columns(x: Any) -> Any:
            y = function(x)
            found = self._stacked([self.jvp(function, (x,), (t,))[1] for t in self._basis(x)], (x.numel(), *y.shape), y)
            return found.movedim(0, -1).reshape((*y.shape, *x.shape))

        return columns

    def vmap(self, function: Function) -> Function:
        """The function on one row after another, whose values are known."""
        def of_each(rows: Any) -> Any:
            rows.tolist()
            return self.library.stack([function(row) for row in rows])

        return of_each

    def _gradients(self, function: Function, x: Any, starts: Callable[[Any], list[Any]], again: bool,
                   ) -> tuple[list[Any], Any]:
        """For each start the gradient, and the value; ``again``: by the formulas of what may be differentiated. Others
        may, too, if x is tracked, but have the values of those formulas that may not."""
        at = x if x.requires_grad else x.detach().requires_grad_()
        with self.library.enable_grad():  # a no_grad() around a transform is nothing to it
            y = function(at)
            ways = (True,) if again else (False, True) if x.requires_grad else (False,)
            found = [self._gradient(y, at, start, ways) for start in starts(y)]
        return [self.library.zeros_like(at).detach() if g is None else g for g in found], y

    def _gradient(self, y: Any, x: Any, start: Any, ways: tuple[bool, ...]) -> Any:
        """The gradient with a graph of its own or without, or with the values of the first way, on the tape as by the
        second."""
        if not y.requires_grad:
            return None
        values, *tracked = [self.library.autograd.grad(
            y, x, start, retain_graph=True, create_graph=graph, allow_unused=True)[0] for graph in ways]
        if values is None or not tracked:
            return values
        result = tracked[0].clone()
        result.data.copy_(values)
        return result

    def _basis(self, x: Any) -> list[Any]:
        return [row.reshape(x.shape) for row in self.library.eye(x.numel(), dtype=x.dtype)]

    def _stacked(self, found: list[Any], shape: tuple[int, ...], like: Any) -> Any:
        return self.library.stack(found).reshape(shape) if found else like.new_zeros(shape)

    def _tied(self, x: Any, found: Any) -> Any:
        """A result that depends on an argument nobody tracks is not tracked."""
        return found if x.requires_grad else found.detach()


class Differences(Plainly):
    """What changes of each real element by a step this way and that, in float64, divided by both."""

    STEP = 1e-6

    def __init__(self, library: Any) -> None:
        super().__init__(library, False)

    def jvp(self, function: Function, primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
        (x,), (t,) = primals, tangents
        y, at = function(x), x.detach().to(self.library.float64)
        if not y.is_floating_point():
            return y, self.library.zeros_like(y)
        above, below = [function(at + sign * self.STEP * t).to(self.library.float64) for sign in (1, -1)]
        return y, ((above - below) / (2 * self.STEP)).detach().to(y.dtype)

    def grad(self, function: Function) -> Function:
        return lambda x: self.jacfwd(function)(x).to(x.dtype)

    def jacrev(self, function: Function) -> Function:
        return self.jacfwd(function)
