"""Stage: realise, tier 0. In: names of generic kernels. Out: their addresses. Those that a program needs and that no
earlier one needed are compiled together; the disk cache finds them by name, so that a process that needs them again
writes no loop nest and no text.
Next: ``kernels.py``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from types import ModuleType
from typing import TYPE_CHECKING

from minigrad.dtype import BY_NAME
from minigrad.engine.tier0.names import Name, title
from minigrad.lazily import importing
from minigrad.ops import KERNEL_OPS
from minigrad.runtime import llvm
from minigrad.runtime.device import Device, get_device
from minigrad.runtime.locks import compile_lock

if TYPE_CHECKING:
    from minigrad.lower.lower import Lowered

DEVICE = "CPU"


@dataclass(eq=False)
class Generic:
    """A generic kernel of this machine: its ``address`` is 0 until a program needs it. ``cost``: scalar operations for
    an element; ``pointwise`` has bit i set if element j of the result needs nothing but element j of operand i, which
    takes as many bytes: so it may overwrite that."""

    name: Name
    arity: int
    cost: int
    pointwise: int
    address: int = 0

    @property
    def title(self) -> str:
        """Its name as an identifier."""
        return title(self.name)

    @cached_property
    def nest(self) -> Lowered:
        """Its loop nest, after the passes."""
        return _kernels().nest(self.name, _device().target)

    @property
    def source(self) -> str:
        """Its source as C, the form DEBUG=4 prints."""
        return _device().readable(self.nest.kernel)


class Library:
    """The generic kernels known so far, by number."""

    def __init__(self) -> None:
        self.kernels: list[Generic] = []
        self.numbers: dict[Name, int] = {}
        self.modules: list[llvm.Module] = []  # keeps the code alive

    def number(self, name: Name) -> int:
        """The number of a kernel, which need not be compiled yet."""
        found = self.numbers.get(name)
        if found is None:
            with compile_lock:
                found = self.numbers.get(name)
                if found is None:
                    self.kernels.append(Generic(name, _arity(name), _cost(name), _pointwise(name)))
                    found = self.numbers[name] = len(self.kernels) - 1
        return found

    def compile(self, numbers: Iterable[int]) -> int:
        """See that these kernels have addresses; how many did not have one."""
        missing = [self.kernels[i] for i in numbers if not self.kernels[i].address]
        if not missing:
            return 0
        with compile_lock:
            missing = sorted([g for g in missing if not g.address], key=lambda g: g.title)
            if missing:
                names = [g.title for g in missing]

                def text() -> str:
                    return _device().source([g.nest.kernel for g in missing])

                module = llvm.compile_named("tier 0: " + " ".join(names), text, names, DEVICE)
                self.modules.append(module)
                for generic, name in zip(missing, names, strict=True):
                    generic.address = module.addresses[name]
            return len(missing)


def _arity(name: Name) -> int:
    """How many arrays the kernel takes."""
    kind = name[0]
    if kind in ("map", "rows"):
        return 1 + len(name[2])
    if kind == "locate":
        return 3 if name[1] else 4
    return 3 if kind in ("dot", "take", "put") else 2


def _cost(name: Name) -> int:
    if name[0] in ("map", "rows"):
        return KERNEL_OPS[name[1]].cost + 1 if name[1] in KERNEL_OPS else 1
    return {"random": 100, "dot": 2}.get(name[0], 4)


def _pointwise(name: Name) -> int:
    if name[0] != "map":
        return 0
    _, _, dtypes, to, same, _ = name
    return sum([1 << i for i, d in enumerate(dtypes) if BY_NAME[d].size == BY_NAME[to].size and not same >> i & 1])


@cache
def library() -> Library:
    """This process's."""
    return Library()


@cache
def _kernels() -> ModuleType:
    """The loop nests, and with them the compiler, are loaded when they are needed."""
    with importing():
        from minigrad.engine.tier0 import kernels

    return kernels


def _device() -> Device:
    return get_device(DEVICE)
