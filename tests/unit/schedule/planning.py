"""Stage: tests of schedule. In: a graph. Out: its plan for a named target, and a replay of the plan that checks what
every kernel finds in the memory it reads. Next: ``test_plan.py``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from minigrad.graph.lazy import LazyBuffer, toposort
from minigrad.ops import Op
from minigrad.schedule.plan import Launch, Place, Plan, schedule
from minigrad.schedule.spec import KernelSpec, StackedSpec
from minigrad.target import AVX512, Target


def buffer(shape: tuple[int, ...], dtype, strides: tuple[int, ...] | None = None) -> LazyBuffer:
    """A leaf: planning needs no memory."""
    return LazyBuffer(Op.BUFFER, (), strides, shape, dtype, "CPU")


def plan(*outputs: LazyBuffer, dead: Iterable[LazyBuffer] = (), target: Target = AVX512) -> Plan:
    """The plan, replayed."""
    leaves = [n for n in toposort(outputs) if n.op == Op.BUFFER]
    result = schedule(outputs, leaves, set(dead), target)
    replay(result, outputs, set(dead))
    return result


def parts(launch: Launch) -> Sequence[KernelSpec]:
    return launch.spec.parts if isinstance(launch.spec, StackedSpec) else (launch.spec,)


def why_apart(made: Plan) -> str:
    """The notes of all launches: what a failed count should print."""
    return "\n".join(f"{launch.spec.name}: {'; '.join(launch.notes)}" for launch in made.launches)


@dataclass
class _Region:
    """Bytes of one kind of memory, and whose value they hold."""

    kind: str
    begin: int
    end: int
    node: LazyBuffer


class _Contents:
    def __init__(self, leaves: Sequence[LazyBuffer]) -> None:
        self.regions = [_Region("leaf", i, i + 1, leaf) for i, leaf in enumerate(leaves)]

    @staticmethod
    def span(place: Place, node: LazyBuffer) -> tuple[str, int, int]:
        size = max(1, node.size * node.dtype.size) if place.kind == "arena" else 1
        return place.kind, place.at, place.at + size

    def read(self, place: Place, node: LazyBuffer) -> LazyBuffer | None:
        """Whose value the whole of this memory holds."""
        span = self.span(place, node)
        return next((r.node for r in self.regions if (r.kind, r.begin, r.end) == span), None)

    def write(self, place: Place, node: LazyBuffer) -> None:
        kind, begin, end = self.span(place, node)
        self.regions = [r for r in self.regions if r.kind != kind or r.end <= begin or end <= r.begin]
        self.regions.append(_Region(kind, begin, end, node))


def replay(made: Plan, outputs: Sequence[LazyBuffer], dead: set[LazyBuffer]) -> None:
    """Check that each read finds the value it means, that parts of a launch leave each other alone, that nothing but a
    dead leaf is overwritten, and that the results are where the plan says."""
    contents = _Contents(made.leaves)
    for launch in made.launches:
        written: list[tuple[tuple[str, int, int], int]] = []
        touched: list[tuple[tuple[str, int, int], int]] = []
        new: list[tuple[Place, LazyBuffer]] = []
        position = 0
        for number, part in enumerate(parts(launch)):
            stores = {s for stage in part.stages for s in stage.stores}
            entries = [(n, m) for n, m in part.memory.items() if m.scope == "global"]
            for node, memory in entries:
                place = launch.places[position]
                position += 1
                span = contents.span(place, node)
                touched.append((span, number))
                if memory.written:
                    assert node in stores
                    written.append((span, number))
                    new.append((place, node))
                    if node.op in (Op.SCATTER, Op.ASSIGN):
                        _check_base(contents.read(place, node), node, stores)
                else:
                    found = contents.read(place, node)
                    assert found is node, f"{part.name} reads {node} where {found} lies"
            position += part.status is not None
        assert position == len(launch.places)
        for span, number in written:
            for other, elsewhere in touched:
                apart = span[0] != other[0] or span[2] <= other[1] or other[2] <= span[1]
                assert apart or elsewhere == number, f"parts of {launch.spec.name} share {span}"
        for place, node in new:
            if place.kind == "leaf":
                assert made.leaves[place.at] in dead, f"{node} overwrites a live leaf"
            assert place.kind != "arena" or place.at + node.size * node.dtype.size <= made.arena_bytes
            contents.write(place, node)
    assert len(made.outputs) == len(outputs)
    assert len({(p.kind, p.at) for p in made.outputs}) == len(outputs), "two results in one place"
    for output, place in zip(outputs, made.outputs, strict=True):
        found = contents.read(place, output)
        assert found is not None and found.op != Op.BUFFER, f"{output} is never computed"
        assert (found.size, found.dtype) == (output.size, output.dtype)
        if place.kind == "output":
            assert made.output_bytes[place.at] == output.size * output.dtype.size


def _check_base(found: LazyBuffer | None, node: LazyBuffer, stores: set[LazyBuffer]) -> None:
    """What lies where a SCATTER or ASSIGN writes: its base, or the dead leaf that would have been copied there."""
    base = node.srcs[0]
    if base not in stores:
        assert found is base or (base.op == Op.CONTIGUOUS and found is base.srcs[0]), f"{node} writes on {found}"
