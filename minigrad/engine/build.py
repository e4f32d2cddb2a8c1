"""Stage: realise. In: a pending graph. Out: its executable: scheduled, lowered and compiled.
Next: ``shorten.py``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import prod
from types import ModuleType

from minigrad import config
from minigrad.engine.compilation import compile_kernels
from minigrad.engine.execute import Executable, grain_of
from minigrad.engine.kernels import Code, kernels
from minigrad.engine.real import real
from minigrad.engine.recipe import KernelCall, Recipe, Slot
from minigrad.engine.shorten import shortened
from minigrad.engine.walk import Pending
from minigrad.graph.lazy import LazyBuffer
from minigrad.graph.origins import follow
from minigrad.lazily import importing
from minigrad.lower import Lowered, lower
from minigrad.lower.steps import said
from minigrad.ops import MOVEMENT, Op
from minigrad.runtime.device import CompiledKernel, Device, get_device
from minigrad.runtime.native import NativeProgram
from minigrad.runtime.progress import Progress
from minigrad.schedule.plan import Launch, Place, Plan, schedule
from minigrad.schedule.show import slice_of
from minigrad.schedule.spec import KernelSpec, Memory, StackedSpec
from minigrad.schedule.structure import digest
from minigrad.target import Target

Key = tuple[Device, Target, int, bytes]
"""What a kernel's code depends on: the digest is that of its structure."""


@dataclass(frozen=True)
class Model:
    """A pending graph as a plan refers to it: stand-ins for leaves, scalars and constants that became arguments, so
    that the plan keeps no memory alive."""

    leaves: list[LazyBuffer]
    scalars: list[LazyBuffer]
    dead: set[LazyBuffer]
    stand_ins: dict[LazyBuffer, LazyBuffer]

    @staticmethod
    def of(pending: Pending, free: Iterable[int]) -> Model:
        """``free``: the positions of the constants that are arguments."""
        stand_ins: dict[LazyBuffer, LazyBuffer] = {}
        leaves = []
        for leaf in pending.leaves:
            follow(leaf)
            stand_ins[leaf] = LazyBuffer(Op.BUFFER, (), leaf.arg, leaf.shape, leaf.dtype, leaf.device)
            leaves.append(stand_ins[leaf])
        scalars = []
        for node in pending.scalars:
            follow(node)
            stand_ins[node] = LazyBuffer(Op.SCALAR, (), None, (), node.dtype, node.device)
            scalars.append(stand_ins[node])
        for i in free:
            node = pending.constants[i]
            follow(node)
            scalar = LazyBuffer(Op.SCALAR, (), None, (), node.dtype, node.device)
            stand_ins[node] = scalar.expand(node.shape)
            scalars.append(scalar)
        dead = {leaf for leaf, is_dead in zip(leaves, pending.dead, strict=False) if is_dead}
        return Model(leaves, scalars, dead, stand_ins)


def build(pending: Pending, free: frozenset[int]) -> Executable:
    """Schedule, lower and compile a graph."""
    pending = real(pending)
    model = Model.of(pending, sorted(free))
    device = get_device(pending.device)
    plan = schedule(pending.results, model.leaves, model.dead, device.target, model.stand_ins)
    plan.launches, codes, compiled = compile_launches(device, plan.launches)
    recipe = write_recipe(plan, codes, model.scalars, sorted(free))
    return Executable(recipe, codes, device, compiled)


def target_of(device: Device) -> Target:
    """What lowering knows about a device: also what settings STEPS, BEAM and WINOGRAD say. It is part of the keys of
    plans."""
    text, beam, winograd = config.get("STEPS"), config.get("BEAM"), bool(config.get("WINOGRAD"))
    if not (text or beam or winograd):
        return device.target
    return replace(device.target, steps=said(text, device.name), beam=beam, winograd=winograd)


@cache
def _beam() -> ModuleType:
    """The search is loaded when BEAM first asks for it."""
    with importing():
        from minigrad.engine import beam

    return beam


def lowered_for(launch: Launch, device: Device, target: Target) -> Lowered:
    """The loops of a launch; with BEAM the fastest that are found."""
    if target.beam and isinstance(launch.spec, KernelSpec):
        return _beam().search(device, launch.spec, digest(launch.structure), target)
    return lower(launch.spec, target)


def compile_launches(device: Device, launches: Sequence[Launch]) -> tuple[list[Launch], list[Code], int]:
    """The launches, stacks that would be too long as several; the code of each; and how many kernels were compiled for
    it: one for each structure that is new."""
    target = target_of(device)
    settings = device, target, config.get("CODEGEN")
    digests: dict[int, bytes] = {}  # by identity: the repeats of a loop share their structures
    found: dict[Key, Code | None] = {}
    missing: dict[Key, Lowered] = {}

    def key_of(launch: Launch) -> Key:
        made = launch.structure
        if id(made) not in digests:
            digests[id(made)] = digest(made)
        return (*settings, digests[id(made)])

    def lowered(launch: Launch) -> Lowered | None:
        key = key_of(launch)
        if key not in found:
            found[key] = kernels.find(key)
            if found[key] is None:
                missing[key] = lowered_for(launch, device, target)
        return missing.get(key)

    with Progress(len(launches), "writing kernels", "launches") as bar:
        launches = shortened(launches, lowered, bar.step)  # it asks for each structure
    keys = [key_of(launch) for launch in launches]
    missing = {key: missing[key] for key in keys if key in missing}  # without stacks that were too long
    programs = compile_kernels(device, [x.kernel for x in missing.values()]) if missing else []
    if isinstance(device.native((), 0), NativeProgram):
        programs = [_lean(program) for program in programs]
    for (key, low), program in zip(missing.items(), programs, strict=True):
        written = frozenset(i for i, array in enumerate(low.kernel.arrays) if array.written)
        found[key] = made = Code(program, key[-1], low.flops, low.work, low.iterations, written)
        kernels.keep(key, made)
    return launches, [code for key in keys if (code := found[key]) is not None], len(missing)


def _lean(program: CompiledKernel) -> CompiledKernel:
    """Without source and loop nest: where native code calls functions of this process, it needs only addresses."""
    return CompiledKernel(program.name, program.address, "", None, program.owner)


def write_recipe(plan: Plan, codes: Sequence[Code], scalars: Sequence[LazyBuffer], free: Sequence[int]) -> Recipe:
    """The recipe of a plan whose SCALAR nodes are ``scalars``."""
    leaves = len(plan.leaves)
    arena = leaves + len(plan.output_bytes)
    position = {s: i for i, s in enumerate(scalars)}
    calls: list[KernelCall] = []
    overwritten: dict[int, None] = {}
    for launch, code in zip(plan.launches, codes, strict=True):
        arrays = tuple([_slot(place, leaves, arena) for place in launch.places])
        numbers = dict.fromkeys([position[s] for part in parts_of(launch) for s in part.scalars])
        calls.append(KernelCall(launch.spec.name, arrays, tuple(numbers), code.iterations,
                                grain_of(code.iterations, code.work), code.flops, code.work, traffic(launch)))
        overwritten.update(dict.fromkeys([place.at for i, place in enumerate(launch.places)
                                          if place.kind == "leaf" and i in code.written]))
    letters = "".join("d" if s.dtype.is_float else "Q" if s.dtype.kind == "u" else "q" for s in scalars)
    return Recipe(tuple(calls), leaves, letters, tuple(plan.output_bytes), plan.arena_bytes,
                  tuple([(p.kind == "output", p.at) for p in plan.outputs]), tuple(overwritten),
                  tuple([_indexed(node) for node in plan.checks]), tuple(free))


def _indexed(node: LazyBuffer) -> tuple[int, ...]:
    """The shape that a GATHER or SCATTER indexes, without the copies that a scatter was split into."""
    return node.srcs[0].shape[1 if node.op == Op.SCATTER and len(node.arg) > 2 else 0:]


def _slot(place: Place, leaves: int, arena: int) -> Slot:
    if place.kind in ("leaf", "output"):
        slot = place.at if place.kind == "leaf" else leaves + place.at
        return (slot, place.offset) if place.offset else slot
    return (arena, place.at) if place.kind == "arena" else (arena + 1, place.at)


def parts_of(launch: Launch) -> tuple[KernelSpec, ...]:
    """The kernels that a launch runs side by side; mostly one."""
    return launch.spec.parts if isinstance(launch.spec, StackedSpec) else (launch.spec,)


def traffic(launch: Launch) -> int:
    """Bytes that a launch must read and write at least. Of what it indexes it counts what the indexes lead to."""
    return sum([memory.dtype.size * count for part in parts_of(launch) for memory, count in _touched(part)])


def _touched(spec: KernelSpec) -> Iterator[tuple[Memory, int]]:
    """The buffers of a kernel, and how many elements of each it reads or writes at most."""
    touched: Counter[LazyBuffer] = Counter()
    for stage in spec.stages:
        at: dict[LazyBuffer, tuple[LazyBuffer, int]] = {}  # what shows memory, and how much of it
        for node in slice_of(stage.stores, spec.memory):
            stored = node in stage.stores
            if stored:
                touched[node] += node.srcs[1].size if node.op in (Op.SCATTER, Op.ASSIGN) else node.size
            for i, source in enumerate(node.srcs[1:] if stored and node.op in (Op.SCATTER, Op.ASSIGN) else node.srcs):
                found = (source, source.size) if source in spec.memory else at.get(source)
                if found is None:
                    continue
                leaf, count = found
                if node.op == Op.SHRINK or (node.op == Op.GATHER and i == 0):
                    count = min(count, node.size)
                if node.op in MOVEMENT and not stored:
                    at[node] = leaf, count
                else:
                    touched[leaf] += count
    for node, memory in spec.memory.items():
        if memory.scope == "global":
            yield memory, min(prod(memory.shape), touched[node] or prod(memory.shape))
