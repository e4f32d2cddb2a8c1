"""Stage: tests. In: an operator of PyTorch's database. Out: of each kind of check how many samples passed, and what
failed first.
Next: ``derivatives.py``."""

from __future__ import annotations

import re
import unittest
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import zip_longest
from typing import Any, TypeVar

import torch
from torch.testing._internal.opinfo.core import UnaryUfuncInfo

import minigrad
from minigrad import config
from tools.operators import writing
from tools.operators.calls import evaluated, leaves, mapped, of_other_kind, same_type, seeded, shown, wide
from tools.operators.compare import Tolerances, declared, difference
from tools.operators.derivatives import batched, forward, orders
from tools.operators.facade import named, ours, rebound
from tools.operators.finite import Skipped, finite
from tools.operators.narrow import SHARES, narrow
from tools.operators.seams import SEAMS, at_seams
from tools.operators.tape import tape
from tools.operators.ties import IN_ORDER

DTYPES = (torch.float32, torch.float64, torch.int64, torch.bool, torch.complex64, torch.bfloat16)
CHECKS = ("values", "gradient", "second", "out", "inplace", "method", "error", "words")
FINE = (torch.float64, torch.complex128)
MORE = ("forward", "batched", "gradcheck", "gradgradcheck", "seams", "tape", "narrow")
"""Checks that are run when they are named: forward mode beside backward mode, ``vmap`` beside a loop, and minigrad's
own checks of derivatives against finite differences, in float64 and complex128; see ``__main__.py``."""


@dataclass
class Outcome:
    """How many samples of a check passed and failed, the first failures in words, and how many samples were skipped or
    compared in part only, by the reason."""

    passed: int = 0
    failed: int = 0
    first: list[str] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)

    def add(self, problem: str, where: str) -> None:
        """Count a sample; ``problem`` is empty if it passed."""
        if not problem:
            self.passed += 1
            return
        self.failed += 1
        if len(self.first) < 3:
            self.first.append(f"{where}: {problem}")

    def skip(self, reason: str) -> None:
        """Count a sample that is not compared, or not wholly."""
        self.skipped[reason] = self.skipped.get(reason, 0) + 1


Outcomes = dict[str, Outcome]


def check(op: Any, dtypes: tuple[torch.dtype, ...], limit: int, wanted: tuple[str, ...]) -> Outcomes:
    """Run at most ``limit`` samples of each dtype that ``op`` takes."""
    found = {name: Outcome() for name in wanted}
    try:
        function = _function(op)
    except AttributeError as error:
        found["values"].add(f"missing: {error}", "every sample")
        return found
    with config.config(TORCH_RNG=1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # making samples warns, too
        _all(op, function, dtypes, limit, found)
    return found


def _all(op: Any, function: Callable[..., Any], dtypes: tuple[torch.dtype, ...], limit: int, found: Outcomes) -> None:
    for dtype in dtypes:
        if dtype in op.supported_dtypes("cpu"):
            for index, sample in enumerate(_samples(op, dtype, limit)):
                _Sample(op, function, sample, f"{str(dtype)[6:]} sample {index}", dtype, index).check(found)
    if {"error", "words"} & found.keys() and op.error_inputs_func is not None:
        _errors(op, function, limit, found)


def _function(op: Any) -> Callable[..., Any]:
    its = op.op
    if isinstance(its, torch._ops.OpOverload):
        return named(f"ops.{its.namespace}.{its._schema.name.partition('::')[2]}")
    of_the_database = (getattr(its, "__module__", None) or "").startswith("torch.testing")
    is_method = getattr(torch.Tensor, op.name, None) is its
    return rebound(its) if (of_the_database or is_method) and not op.name.startswith("__") else named(op.name)


def _samples(op: Any, dtype: torch.dtype, limit: int) -> Iterator[Any]:
    torch.manual_seed(0)
    with_gradient = dtype in op.supported_backward_dtypes("cpu")
    every = list(op.sample_inputs("cpu", dtype, requires_grad=with_gradient))
    step = max(1, len(every) // limit)
    yield from every[::step][:limit]


def _errors(op: Any, function: Callable[..., Any], limit: int, found: Outcomes) -> None:
    for index, wrong in enumerate(op.error_inputs("cpu")):
        if index >= limit:
            return
        sample = wrong.sample_input
        reason = _no_error(op, sample)
        if reason:
            _skip(found, "error", reason)
            continue
        try:
            arguments = ours([sample.input, *sample.args]), ours(sample.kwargs)
        except Exception as error:  # the sample itself can't be made
            _add(found, "error", shown(error), f"error {index}: making it")
            continue
        try:
            evaluated(function(*arguments[0], **arguments[1]))
        except Exception as error:
            right = same_type(error, wrong.error_type)
            _add(found, "error", "" if right else f"{shown(error)}, not {wrong.error_type}", f"error {index}")
            _add(found, "words", "" if re.search(wrong.error_regex, str(error)) else
                 f"{shown(error)}, not {wrong.error_regex!r}", f"error {index}")
        else:
            _add(found, "error", f"no error, not {wrong.error_regex!r}", f"error {index}")


def _no_error(op: Any, sample: Any) -> str:
    """Why a wrong call is not one that can be compared; empty if it is."""
    if op.name.startswith("__") and not isinstance(sample.input, torch.Tensor):
        return "what is no Tensor has no such method"
    if any(t.device.type != "cpu" for t in leaves([sample.input, sample.args, sample.kwargs], torch)):
        return "a tensor on another device"
    return "" if _refused(op, sample) else "PyTorch accepts the call"


def _refused(op: Any, sample: Any) -> bool:
    """Whether PyTorch itself refuses the call, and not only its reference written in Python."""
    try:
        op.op(*mapped([sample.input, *sample.args], lambda t: t.clone()), **sample.kwargs)
    except Exception:
        return True
    return False


def _add(found: Outcomes, check: str, problem: str, where: str) -> None:
    if check in found:
        found[check].add(problem, where)


def _skip(found: Outcomes, check: str, reason: str) -> None:
    if check in found:
        found[check].skip(reason)


T = TypeVar("T")


class _Sample:
    """One sample of one dtype: what PyTorch makes of it, and the checks of ours."""

    def __init__(self, op: Any, function: Callable[..., Any], sample: Any, where: str, dtype: torch.dtype,
                 index: int) -> None:
        self.op, self.function, self.sample, self.where = op, function, sample, where
        self.dtype, self.index, self.wider = dtype, index, declared(op)
        self.theirs = IN_ORDER.get(op.name, op.op)

    def check(self, found: Outcomes) -> None:
        """Run all checks that are wanted of this sample."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                expected = seeded(torch, self.op.op, self._copies(), self.sample.kwargs)
            except Exception:
                _skip(found, "values", "PyTorch refuses the sample")
                return
            if self.theirs is not self.op.op:
                expected = self._in_order(expected)
            problem = self._tried(lambda: self._values(expected))
            _add(found, "values", problem, self.where)
            if problem:
                for name in found.keys() - {"values"}:
                    _skip(found, name, "its values are wrong")
                return
            if self.op.has_nondeterministic_output:
                _skip(found, "values", "shapes and dtypes only: PyTorch's results are not determined")
            if "seams" in found and self.dtype is torch.float64 and self.op.supports_autograd:
                for name in SEAMS:
                    self._seams(found, name)
            if "tape" in found and self.dtype is torch.float32 and self.op.supports_autograd:
                self._add_compared(found, "tape", self._tried(partial(tape, self._called)))
            if "narrow" in found and self.dtype in SHARES and not self.op.has_nondeterministic_output:
                self._add_compared(found, "narrow", self._tried(partial(narrow, self._orders, self.dtype)))
            if "method" in found and self.index == 0:
                self._method(found, expected)
            if "inplace" in found:
                self._in_place(found)
            if "out" in found and self.op.supports_out:
                self._out(found, expected)
            if "gradient" in found and self.dtype in self.op.supported_backward_dtypes("cpu"):
                self._gradients(found)
            if "forward" in found and self.dtype is torch.float64 and self.op.supports_forward_ad:
                self._add_unless_none(found, "forward", forward)
            if "batched" in found and self.dtype is torch.float64 and not self.op.has_nondeterministic_output:
                self._add_unless_none(found, "batched", batched)
            if self.dtype in FINE and self.dtype in self.op.supported_backward_dtypes("cpu"):
                for name in ("gradcheck", "gradgradcheck"):
                    if name in found and (name == "gradcheck" or self.op.supports_gradgrad):
                        self._add_compared(found, name, self._tried(partial(finite, self.op, self._of_leaves, name)))

    def _seams(self, found: Outcomes, name: str) -> None:
        """Compare values and derivatives where the sample's numbers are those of a kind of seam."""
        def at(value: Any) -> Any:
            return mapped(value, lambda t: at_seams(t, name))

        second = self.op.supports_gradgrad
        try:
            copies, options = at([self.sample.input, *self.sample.args]), at(self.sample.kwargs)
            value = seeded(torch, self.theirs, copies, options)
            expected = orders(torch, self._wrapped(self.theirs), copies, options,
                              self.sample.output_process_fn_grad, second)
        except Exception:
            return

        def run() -> str:
            given = ours(at([self.sample.input, *self.sample.args])), ours(at(self.sample.kwargs))
            problem = difference(seeded(minigrad, self.function, *given), value,
                                 values=not self.op.has_nondeterministic_output)
            if problem or not expected:
                return problem
            result = orders(minigrad, self._wrapped(self.function), *given,
                            rebound(self.sample.output_process_fn_grad), second)
            for order, group in enumerate(expected):
                problem = _nones(result[order] if result else [None] * len(group), group, {})
                if problem:
                    return f"order {order + 1}, {problem}"
            return ""

        _add(found, "seams", self._tried(run), f"{self.where} at {name}")

    def _add_compared(self, found: Outcomes, name: str, outcome: str | Skipped | None) -> None:
        """Count the outcome of a check, unless there is nothing to compare."""
        if isinstance(outcome, Skipped):
            _skip(found, name, outcome.reason)
        elif outcome is not None:
            _add(found, name, outcome, self.where)

    def _called(self, library: Any) -> tuple[list[Any], Any, Any]:
        """The sample's Tensors, the operator's result, and what the database makes of that for derivatives."""
        here, finish = library is minigrad, self.sample.output_process_fn_grad
        copied = mapped([*self._copies(), self.sample.kwargs], lambda t: t.detach().clone().requires_grad_(
            t.requires_grad))
        *arguments, options = ours(copied) if here else copied
        result = seeded(library, self._wrapped(self.function if here else self.theirs), arguments, options)
        return leaves([arguments, options], library), result, (rebound(finish) if here else finish)(result)

    def _of_leaves(self, library: Any) -> tuple[Callable[..., tuple[Any, ...]], list[Any]]:
        """A library's operator as a function of the sample's Tensors that want gradients, and them."""
        here = library is minigrad
        arguments, options = self._arguments() if here else (self._copies(), self.sample.kwargs)
        function = self._wrapped(self.function if here else self.theirs)
        finish = self.sample.output_process_fn_grad
        finish = rebound(finish) if here else finish

        def of_leaves(*given: Any) -> tuple[Any, ...]:
            values = iter(given)
            args, named = (mapped(a, lambda t: next(values) if t.requires_grad else t) for a in (arguments, options))
            outputs = leaves(finish(seeded(library, function, args, named)), library)
            dense = [o.to_dense() if o.is_sparse or o.is_sparse_csr else o for o in outputs]
            return tuple([o for o in dense if o.is_floating_point() or o.is_complex()])

        return of_leaves, [t for t in leaves([arguments, options], library) if t.requires_grad]

    def _add_unless_none(self, found: Outcomes, name: str, check: Callable[[Any, list[Any]], str | None]) -> None:
        """Count a check of the function of the floating inputs, unless there are none."""
        arguments, options = self._arguments()
        function = self._wrapped(self.function)
        inputs = [t.detach() for t in leaves([arguments, options], minigrad) if t.is_floating_point() and t.numel()]

        def of_leaves(*given: Any) -> list[Any]:
            values = iter(given)
            args, named = (mapped(a, lambda t: next(values) if t.is_floating_point() and t.numel() else t.detach())
                           for a in (arguments, options))
            outputs = leaves(seeded(minigrad, function, args, named), minigrad)
            return [o for o in outputs if o.is_floating_point()]

        problem = self._tried(lambda: check(of_leaves, inputs)) if inputs else None
        if problem is not None:
            _add(found, name, problem, self.where)

    def _tried(self, check: Callable[[], T]) -> T | str:
        try:
            return check()
        except Exception as error:
            return shown(error)

    def _copies(self) -> list[Any]:
        """The sample's arguments, whose tensors nobody else changes."""
        return mapped([self.sample.input, *self.sample.args], lambda t: t.detach().clone().requires_grad_(
            t.requires_grad))

    def _arguments(self) -> tuple[list[Any], dict[str, Any]]:
        return ours([self.sample.input, *self.sample.args]), ours(self.sample.kwargs)

    def _in_order(self, expected: Any) -> Any:
        """What PyTorch gives when it takes equal elements in order: other places of the same elements."""
        again = seeded(torch, self.theirs, self._copies(), self.sample.kwargs)
        if self.op.name == "argsort":  # places alone
            dim = [*self.sample.args, self.sample.kwargs.get("dim", -1)][0]
            pairs = [self.sample.input.take_along_dim(t, dim) if again.ndim else t for t in (again, expected)]
        else:
            pairs = [t if isinstance(t, torch.Tensor) else t[0] for t in (again, expected)]
        assert torch.equal(*(t.nan_to_num(7.25) if t.is_floating_point() else t for t in pairs)), self.where
        return again

    def _values(self, expected: Any) -> str:
        arguments, options = self._arguments()
        result = seeded(minigrad, self.function, arguments, options)
        return self._compared(result, expected) or of_other_kind(result, expected)

    def _compared(self, result: Any, expected: Any) -> str:
        """How a result differs from PyTorch's in what is determined. PyTorch's may have fewer digits than its tests
        allow; then the database's own reference counts."""
        problem = difference(result, expected, values=not self.op.has_nondeterministic_output, wider=self.wider,
                             exact=self._exact)
        if "values, first" not in problem:
            return problem
        theirs = self.sample.output_process_fn_grad  # factors whose signs are free: what the database makes of them
        again = difference(rebound(theirs)(result), theirs(expected), wider=self.wider)
        if not again or theirs.__name__ != "<lambda>":
            return again
        reference = self._reference()
        return problem if reference is None else difference(result, reference.to(expected.dtype), wider=self.wider)

    def _reference(self) -> torch.Tensor | None:
        """What the database's own reference gives for a float64 tensor and nothing else; None if it has none."""
        if not isinstance(self.op, UnaryUfuncInfo) or not callable(self.op.ref) or self.dtype is not torch.float64 or (
                self.sample.args or self.sample.kwargs):
            return None
        return torch.as_tensor(self.op.ref(self.sample.input.detach().numpy()))

    def _exact(self) -> Any:
        """What PyTorch makes of operands of the next wider types."""
        return seeded(torch, self.theirs, mapped(self._copies(), wide), mapped(self.sample.kwargs, wide))

    def _method(self, found: Outcomes, expected: Any) -> None:
        method = self.op.get_method()
        name = getattr(method, "__name__", "")
        if method is None or not hasattr(torch.Tensor, name):
            return
        if not isinstance(self.sample.input, torch.Tensor):
            _skip(found, "method", "the first argument is no Tensor")
            return
        try:
            seeded(torch, method, self._copies(), self.sample.kwargs)
        except Exception:
            _skip(found, "method", "PyTorch's method refuses the function's arguments")
            return

        def run() -> str:
            arguments, options = self._arguments()
            result = seeded(minigrad, getattr(arguments[0], name), arguments[1:], options)
            return difference(result, expected, values=False)

        _add(found, "method", self._tried(run), self.where)

    def _plain(self) -> tuple[list[Any], dict[str, Any]]:
        """The sample's arguments, without gradients and its own."""
        return mapped(self._copies(), lambda t: t.detach()), mapped(self.sample.kwargs, lambda t: t.detach())

    def _in_place(self, found: Outcomes) -> None:
        variant = self.op.get_inplace()
        name = getattr(variant, "__name__", "")
        if variant is None or not hasattr(torch.Tensor, name):
            return
        arguments, options = self._arguments()

        def here(first: Any, *rest: Any, **named: Any) -> Any:
            return getattr(first, name)(*rest, **named)

        problem = self._tried(lambda: writing.in_place(
            (variant, *self._plain()), (here, arguments, options),
            lambda result, expected: difference(result, expected, wider=self.wider)))
        if problem is None:
            _skip(found, "inplace", "PyTorch gives the first argument another shape")
        else:
            _add(found, "inplace", problem, self.where)

    def _out(self, found: Outcomes, expected: Any) -> None:
        expected = tuple(expected) if isinstance(expected, tuple) else expected
        if not isinstance(expected, torch.Tensor) and not (
                type(expected) is tuple and all(isinstance(t, torch.Tensor) for t in expected)):
            _skip(found, "out", f"a result of the type {type(expected).__name__}")
            return

        def there(*args: Any, out: Any, **options: Any) -> Any:
            returned = self.op.op(*args, out=out, **options)
            if self.theirs is not self.op.op:
                for t, value in zip(leaves(out, torch), leaves(self.theirs(*args, **options), torch), strict=True):
                    t.copy_(value)
            return returned

        outcome = self._tried(lambda: writing.out(
            (there, *self._plain()), (self.function, *self._arguments()), expected, self._compared, self.index < 2))
        self._add_compared(found, "out", outcome)

    def _gradients(self, found: Outcomes) -> None:
        if _is_wrong_there(self.op, "test_fn_grad"):
            _skip(found, "gradient", "PyTorch's own is known to be wrong")
            return
        second = "second" in found and self.op.supports_gradgrad and self.dtype in (torch.float64, torch.complex128) \
            and not _is_wrong_there(self.op, "test_fn_gradgrad")
        if "second" in found and self.op.supports_gradgrad and not second and self.dtype is torch.float64:
            _skip(found, "second", "PyTorch's own is known to be wrong")
        try:
            expected = orders(torch, self._wrapped(self.theirs), self._copies(), self.sample.kwargs,
                              self.sample.output_process_fn_grad, second)
        except Exception:
            _skip(found, "gradient", "PyTorch refuses the gradient")
            return
        if not expected:
            return
        arguments, options = self._arguments()
        try:
            result = orders(minigrad, self._wrapped(self.function), arguments, options,
                            rebound(self.sample.output_process_fn_grad), second)
        except Exception as error:
            _add(found, "gradient", shown(error), self.where)
            return
        if not result:
            result = [[None] * len(group) for group in expected]
        def exact() -> Any:
            return orders(torch, self._wrapped(self.theirs), mapped(self._copies(), wide),
                          mapped(self.sample.kwargs, wide), self.sample.output_process_fn_grad, False)[0]

        _add(found, "gradient", self._tried(lambda: _nones(result[0], expected[0], self.wider, exact)), self.where)
        if second:
            _add(found, "second", self._tried(lambda: _nones(result[1], expected[1], self.wider)), self.where)

    def _orders(self, library: Any, wider: bool) -> list[list[Any]]:
        """Both derivatives, of the sample or of the same numbers in the next wider type."""
        here, finish = library is minigrad, self.sample.output_process_fn_grad
        given: Any = mapped([self._copies(), self.sample.kwargs], wide if wider else lambda t: t)
        arguments, options = ours(given) if here else given
        function = self._wrapped(self.function if here else self.theirs)
        return orders(library, function, arguments, options, rebound(finish) if here else finish,
                      self.op.supports_gradgrad)

    def _wrapped(self, function: Callable[..., Any]) -> Callable[..., Any]:
        wrapper = self.op.gradcheck_wrapper
        wrapper = wrapper if function is self.theirs else rebound(wrapper)
        return lambda *a, **k: wrapper(function, *a, **k)


def _is_wrong_there(op: Any, test: str) -> bool:
    """Whether PyTorch's own test of the operator's derivative against finite differences is known to fail."""
    return any(getattr(d, "cls_name", "") == "TestBwdGradients" and d.test_name == test
               and unittest.expectedFailure in d.decorators for d in op.decorators)


def _nones(result: list[Any], expected: list[Any], wider: Tolerances,
           exact: Callable[[], list[Any]] | None = None) -> str:
    """The difference of gradients; where one library has none, zeros of the other are as good."""
    for i, (a, b) in enumerate(zip_longest(result, expected)):
        if a is None and b is None:
            continue
        if a is None or b is None:
            present = b if a is None else a
            if bool((present != 0).any()):
                return f"gradient {i} is {'None' if a is None else 'not None'}"
            continue
        wide = None if exact is None else lambda i=i: exact()[i]
        problem = difference(a, b, exact=wide, wider=wider)
        if problem:
            return f"gradient {i}: {problem}"
    return ""
