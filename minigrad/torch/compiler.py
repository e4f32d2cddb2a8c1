"""Stage: PyTorch programs. In: a function or a Module. Out: ``torch.compile`` and ``torch.compiler``: the same, run as
one program by ``minigrad.jit`` where that can be.
Next: ``jit.py``."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Any

from minigrad.errors import ValueNeeded
from minigrad.jit import Jit
from minigrad.nn import Module
from minigrad.tensor import capturing


class Compiled:
    """What ``torch.compile`` makes of a function: ``minigrad.jit`` of it. A function that asks for values on its way
    (it prints them, or branches on them) is called as it is, unless it is to be a ``fullgraph``."""

    def __init__(self, function: Callable[..., Any], fullgraph: bool = False) -> None:
        update_wrapper(self, function)
        self._torchdynamo_orig_callable = function
        self.fullgraph = fullgraph
        self.program: Jit | None = Jit(function)

    def __call__(self, *args: Any, **named: Any) -> Any:
        if self.program is not None:
            try:
                return self.program(*args, **named)
            except ValueNeeded:
                if self.fullgraph:
                    raise
                self.program = None  # what it had changed has been undone
        return self._torchdynamo_orig_callable(*args, **named)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """A method that is compiled for its object."""
        if instance is None:
            return self
        bound = Compiled(self._torchdynamo_orig_callable.__get__(instance, owner), self.fullgraph)
        vars(instance)[self._torchdynamo_orig_callable.__name__] = bound
        return bound


class OptimizedModule(Module):
    """What ``torch.compile`` makes of a Module: a Module around it, whose parts have names that begin with
    ``_orig_mod.``, as in PyTorch. Other attributes are those of the Module itself."""

    def __init__(self, module: Module, fullgraph: bool = False) -> None:
        super().__init__()
        self._orig_mod = module
        object.__setattr__(self, "_compiled", Compiled(module.__call__, fullgraph))
        self.training = module.training

    def forward(self, *args: Any, **named: Any) -> Any:
        return self._compiled(*args, **named)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "_orig_mod":
                raise
            return getattr(self._modules["_orig_mod"], name)

    def __reduce__(self) -> tuple[Any, ...]:
        return OptimizedModule, (self._orig_mod,)


def compile(model: Any = None, *, fullgraph: bool = False, dynamic: bool | None = None, backend: Any = "inductor",
            mode: str | None = None, options: Any = None, disable: bool = False, **more: Any) -> Any:
    """``torch.compile``, as a function or as a decorator: ``minigrad.jit`` of a function or a Module.

    With ``fullgraph`` it raises where the function asks for a value; otherwise such a function is called as it is. A
    call whose result needs a gradient is part of a larger graph, which an ordinary loop compiles by itself.
    ``dynamic``, ``backend``, ``mode`` and ``options`` are for PyTorch's compilers: accepted, and of no effect.
    (https://docs.pytorch.org/docs/stable/generated/torch.compile.html)

    >>> import minigrad
    >>> double = compile(lambda x: x * 2)
    >>> double(minigrad.ones(2))
    tensor([2., 2.])
    """
    if model is None:
        return lambda made: compile(made, fullgraph=fullgraph, disable=disable)
    if not callable(model):
        raise RuntimeError("Expected a callable to be compiled, got " f"{type(model).__name__}")
    if disable:
        return model
    return OptimizedModule(model, fullgraph) if isinstance(model, Module) else Compiled(model, fullgraph)


def is_compiling() -> bool:
    """Whether a function is being recorded right now."""
    return capturing() is not None


is_dynamo_compiling = is_compiling


def is_exporting() -> bool:
    """False: there is nothing to export to."""
    return False


def disable(fn: Any = None, recursive: bool = True, *, reason: str | None = None) -> Any:
    """A decorator that changes nothing: what can't be recorded is called as it is anyway."""
    return fn if fn is not None else lambda made: made


def reset() -> None:
    """Does nothing: functions that are dropped take their programs along."""


def cudagraph_mark_step_begin() -> None:
    """Does nothing: memory is not shared between the runs of a program."""


def allow_in_graph(fn: Any) -> Any:
    """The function as it is."""
    return fn


assume_constant_result = allow_in_graph


def set_stance(*args: Any, **named: Any) -> None:
    """``NotImplementedError``: minigrad has no stances; set REPLAY=0 to run everything in the ordinary way."""
    raise NotImplementedError("torch.compiler.set_stance is not implemented; minigrad.config(REPLAY=0) runs everything "
                              "in the ordinary way")


def list_backends(*args: Any) -> list[str]:
    """The compilers there are: minigrad's.

    >>> list_backends()
    ['minigrad']
    """
    return ["minigrad"]
