"""Stage: schedule. In: a Plan. Out: text that a person can read: its launches, the stages of each and what they
compute, where every value lies, and why. DEBUG=3 and the golden tests print it.
Next: ``lower/``."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from minigrad.graph.lazy import LazyBuffer
from minigrad.graph.show import argument as argument_text
from minigrad.ops import Op
from minigrad.schedule.plan import Launch, Place, Plan
from minigrad.schedule.spec import KernelSpec, Memory, StackedSpec, Stage

OUTPUT = "output"  # the reason for memory that its place tells already


def show(plan: Plan, why: Mapping[LazyBuffer, str] | None = None) -> str:
    """The plan as text. ``why`` says of nodes why they have memory (``Materialised.why``).

    A kernel lists its memory first: the leaves it is given, its ``output`` and ``arena`` values with their place in
    bytes, and the ``scratch`` of one outer point. Then come its stages. Lines are those of ``graph.show``, but that
    memory goes by its name; the lines that store begin with a name and ``<-``.

    >>> from minigrad.dtype import float32
    >>> from minigrad.schedule.plan import schedule
    >>> from minigrad.target import AVX2
    >>> a = LazyBuffer(Op.BUFFER, (), None, (3, 4), float32, "CPU")
    >>> print(show(schedule([a.unary(Op.EXP).reduce(Op.SUM, (1,))], [a], set(), AVX2)))
    plan: 1 launch, 1 leaf, 1 output (12 bytes), arena of 0 bytes
    output 0: 12 bytes
    <BLANKLINE>
    launch 0 on CPU
      kernel sum_3x4: for each point of (3,), axis 0 of stage 0
        in0    float32 (3, 4)         leaf 0
        out    float32 (3, 1)         output 0
        stage 0: (3, 1), SUM over axes (1,) of (3, 4)
          %0 = EXP(in0)                float32 (3, 4)
          out <- SUM[(1,)](%0)         float32 (3, 1)
    """
    reasons = why or {}
    total = sum(plan.output_bytes)
    lines = [f"plan: {_count(len(plan.launches), 'launch', 'launches')}, {_count(len(plan.leaves), 'leaf', 'leaves')}, "
             f"{_count(len(plan.outputs), 'output', 'outputs')} ({total} bytes), arena of {plan.arena_bytes} bytes"]
    for i, place in enumerate(plan.outputs):
        fresh = place.kind == "output"
        lines.append(f"output {i}: " + (f"{plan.output_bytes[place.at]} bytes" if fresh else f"in leaf {place.at}"))
    for i, node in enumerate(plan.checks):
        lines.append(f"status word {i}: the indexes of a {node.op} of {node.srcs[0].shape}")
    for i, launch in enumerate(plan.launches):
        lines += ["", f"launch {i} on {launch.device}", *_launch(launch, reasons)]
    return "\n".join(lines)


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def show_launch(launch: Launch) -> str:
    """One launch of a plan, as ``show`` writes it."""
    return "\n".join(_launch(launch, {}))


def _launch(launch: Launch, why: Mapping[LazyBuffer, str]) -> list[str]:
    parts = launch.spec.parts if isinstance(launch.spec, StackedSpec) else (launch.spec,)
    lines = []
    if isinstance(launch.spec, StackedSpec):
        lines.append(f"  {launch.spec.name}: {len(parts)} kernels stacked, none needs another")
    places = list(launch.places)
    for part in parts:
        lines += _kernel(part, places, why)
    return lines + [f"  note: {note}" for note in launch.notes]


def _kernel(spec: KernelSpec, places: list[Place], why: Mapping[LazyBuffer, str]) -> list[str]:
    """One kernel; takes its places from the front of ``places``."""
    lines = [f"  kernel {spec.name}: {_outer(spec)}"]
    for node, memory in spec.memory.items():
        where = f"scratch {tuple(memory.shape[a] for a in memory.axes)}"
        if memory.scope == "global":
            where = _place(places.pop(0), memory)
        reason = f"   ({why[node]})" if memory.written and why.get(node, OUTPUT) != OUTPUT else ""
        lines.append(f"    {memory.name:<6} {f'{memory.dtype.name} {memory.shape}':<22} {where}{reason}")
    if spec.status is not None:
        first = places.pop(0).at // 8
        words = ", ".join(str(first + word) for word in spec.checks.values())
        lines.append(f"    status {'int64':<22} status words {words}")
    names = names_of(spec)
    lines += [f"    s{i:<5} {node.dtype.name:<22} number {i}, given at each run" for i, node in enumerate(spec.scalars)]
    for i, stage in enumerate(spec.stages):
        lines += _stage(i, stage, names)
    return lines


def names_of(spec: KernelSpec) -> dict[LazyBuffer, str]:
    """What a kernel calls the values that it is given or stores."""
    return {node: memory.name for node, memory in spec.memory.items()} | {
        node: f"s{i}" for i, node in enumerate(spec.scalars)}


def _outer(spec: KernelSpec) -> str:
    if not spec.outer:
        return "one outer point"
    held = [f"axis {', '.join(map(str, stage.outer))} of stage {i}" for i, stage in enumerate(spec.stages)]
    return f"for each point of {spec.outer}, {'; '.join(held)}"


def _place(place: Place, memory: Memory) -> str:
    strides = "" if memory.strides is None else f", strides {memory.strides}"
    if place.kind == "arena":
        size = memory.dtype.size
        for n in memory.shape:
            size *= n
        return f"arena {place.at}..{place.at + size}{strides}"
    return f"{place.kind} {place.at}{strides}"


def _stage(number: int, stage: Stage, names: Mapping[LazyBuffer, str]) -> list[str]:
    """What the stage computes between the memory it reads and its stores, a line a node."""
    order = slice_of(stage.stores, names)
    reductions = {f"{n.op} over axes {n.arg} of {n.srcs[0].shape}": None for n in order if _is_reduction(n)}
    lines = [", ".join([f"    stage {number}: {stage.space}", *reductions])]
    called = dict(names)
    stores = set(stage.stores)
    temporaries = 0
    for node in order:
        sources = ", ".join(called.get(s, "itself") for s in node.srcs)
        text = f"{node.op}{argument_text(node)}({sources})"
        if node in stores:
            text = f"{names[node]} <- {text}"
        else:
            called[node] = f"%{temporaries}"
            text = f"%{temporaries} = {text}"
            temporaries += 1
        lines.append(f"      {text:<28} {node.dtype.name} {node.shape}")
    return lines


def _is_reduction(node: LazyBuffer) -> bool:
    return node.op in (Op.SUM, Op.PROD, Op.MAX, Op.MIN)


def slice_of(stores: Sequence[LazyBuffer], names: Container[LazyBuffer]) -> list[LazyBuffer]:
    """The nodes computed for ``stores``, each after its sources, from those in memory, which ``names`` has; but not the
    base of a SCATTER or ASSIGN: it lies where the result is written."""
    wanted = set(stores)
    order: list[LazyBuffer] = []
    seen: set[LazyBuffer] = set()
    stack = list(reversed(stores))
    while stack:
        node = stack[-1]
        if node in seen or (node in names and node not in wanted):
            stack.pop()
            continue
        below = node.srcs[1:] if node in wanted and node.op in (Op.SCATTER, Op.ASSIGN) else node.srcs
        missing = [s for s in below if s not in seen and (s not in names or s in wanted)]
        if missing:
            stack += reversed(missing)
            continue
        stack.pop()
        seen.add(node)
        order.append(node)
    return order
