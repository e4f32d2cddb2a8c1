"""Stage: PyTorch programs. In: functions and Modules to script or trace. Out: the same, which run as they are: there is
no TorchScript here, and none is needed to be fast.
Next: ``accelerator.py``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from minigrad import serialization
from minigrad.nn import Module

ScriptModule = Module
"""What a Module is after ``script`` or ``trace``: itself."""


def _same(made: Any = None, *args: Any, **named: Any) -> Any:
    return made


def script(obj: Any, optimize: Any = None, _frames_up: int = 0, _rcb: Any = None, example_inputs: Any = None) -> Any:
    """``obj`` as it is. (https://docs.pytorch.org/docs/stable/generated/torch.jit.script.html)

    >>> script(len)("ab")
    2
    """
    return obj


def trace(func: Any, example_inputs: Any = None, **options: Any) -> Any:
    """``func`` as it is, after one call with the example, which finds what does not work."""
    if example_inputs is not None:
        func(*example_inputs) if isinstance(example_inputs, tuple | list) else func(example_inputs)
    return func


def trace_module(mod: Module, inputs: dict[str, Any], **options: Any) -> Module:
    """``mod`` as it is, after one call of each method that ``inputs`` names."""
    for name, given in inputs.items():
        trace(getattr(mod, name), given)
    return mod


export = ignore = interface = script_if_tracing = unused = freeze = optimize_for_inference = _same


def is_scripting() -> bool:
    """False: nothing is scripted.

    >>> is_scripting()
    False
    """
    return False


def is_tracing() -> bool:
    """False: nothing is traced."""
    return False


def annotate(the_type: Any, the_value: Any) -> Any:
    """``the_value``."""
    return the_value


def save(m: Any, f: Any, _extra_files: Any = None) -> None:
    """Save a Module as ``torch.save`` does: its class is found by its name when it is loaded."""
    serialization.save(m, f)


def load(f: Any, map_location: Any = None, _extra_files: Any = None, _restore_shapes: bool = False) -> Any:
    """A Module that ``save`` has written. Archives of PyTorch's own ``torch.jit.save`` hold TorchScript, which there is
    none of here: ``RuntimeError``."""
    return serialization.load(f, map_location=map_location, weights_only=False)


@contextmanager
def fuser(name: str) -> Iterator[None]:
    """Nothing: everything is fused."""
    yield


def set_fusion_strategy(strategy: Any) -> Any:
    """Nothing: there is one strategy."""
    return strategy


def fork(func: Any, *args: Any, **kwargs: Any) -> Any:
    """The result of a call, made at once; ``wait`` gives it."""
    return func(*args, **kwargs)


def wait(future: Any) -> Any:
    """What ``fork`` gave."""
    return future
