"""Stage: explaining. In: two kernels of a plan, one after the other. Out: why they are two, in words.
Next: ``tracing.py``."""

from __future__ import annotations

from minigrad.engine.build import parts_of
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.schedule.draft import ALONE
from minigrad.schedule.group import name_of
from minigrad.schedule.plan import Launch
from minigrad.schedule.spec import KernelSpec

WORDS = {Op.SCATTER: "a scatter", Op.ASSIGN: "a write into part of a value", Op.OUTPUT: "a loop's body"}
"""What shares a kernel with nothing, for people."""


def why_apart(first: Launch, second: Launch) -> str:
    """Why two launches are not one."""
    stored = {node for spec in parts_of(first) for stage in spec.stages for node in stage.stores}
    read = {node for spec in parts_of(second) for node, memory in spec.memory.items() if not memory.written}
    common = [node for node in stored if node in read]
    if not common:
        return "neither reads what the other stores"
    for note in second.notes:
        name, _, reason = note.removeprefix("apart from ").partition(": ")
        if note.startswith("apart from ") and name in [name_of(node) for node in stored]:
            return f"{reason} (it reads {name})"
    for word in [*map(_alone, parts_of(first)), *map(_alone, parts_of(second))]:
        if word:
            return f"{word} has a kernel of its own"
    return f"it reads {_names(common)}; both in one would be too long, or other kernels need it, too"


def _alone(spec: KernelSpec) -> str:
    """What a kernel has that shares it with nothing; empty if there is none."""
    op = spec.stages[0].stores[0].op if spec.stages else None
    if spec.walk is not None:
        return "what goes through a long axis block by block"
    return WORDS[op] if op in ALONE else ""


def _names(nodes: list[LazyBuffer]) -> str:
    return ", ".join(dict.fromkeys([name_of(node) for node in nodes]))
