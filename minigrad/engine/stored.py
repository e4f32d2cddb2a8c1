"""Stage: realise. In: a pending graph. Out: the executable that an earlier process made for the same graph: its recipe
and its object code lie on disk, and nothing is scheduled, lowered or compiled.
Next: ``build.py``."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from minigrad import config
from minigrad.engine.execute import Executable
from minigrad.engine.kernels import Code, kernels
from minigrad.engine.recipe import KernelCall, Recipe
from minigrad.engine.walk import Pending
from minigrad.graph.function import Subgraph
from minigrad.graph.lazy import LazyBuffer
from minigrad.graph.loop import Loop
from minigrad.runtime import cache
from minigrad.runtime.device import Device, get_device
from minigrad.runtime.native import NativeProgram


def load(key: str, device: Device) -> Executable | None:
    """The executable that was kept under this key, or None."""
    data = cache.load(key) if key else None
    try:
        return _decode(data, device) if data else None
    except (KeyError, IndexError, TypeError, ValueError):  # intact, but not what is written here
        return None


def keep(key: str, executable: Executable) -> None:
    """Write the recipe and where its code lies, if other processes can find that again: if it consists of functions
    that the device restores by a key."""
    if key and executable.codes and isinstance(executable.call, NativeProgram):
        cache.store(key, _encode(executable.recipe, executable.codes))


# --- the key: equal only for graphs that have equal plans -----------------------------------------------------------


def key_of(pending: Pending, free: Collection[int]) -> str:
    """Of the graph, its constants but those at the positions ``free``, which are arguments, the machine and the
    settings; empty if plans are not to be found on disk. VERIFY=1 wants to see each step: every plan is made anew."""
    device = get_device(pending.device)
    identity = device.identity() if config.get("CACHE") and not config.get("VERIFY") else ""
    if not identity:
        return ""
    numbers = [None if i in free else n for i, n in enumerate(pending.numbers)]
    graph = [(digest(part[1]), *part[2:]) if isinstance(part, tuple) and len(part) > 1
             and isinstance(part[1], Subgraph | Loop) else part for part in pending.key]
    kind = f"{type(device).__module__}.{type(device).__qualname__}"
    return cache.key_of("plan", kind, identity, repr(device.target), repr(graph), repr(numbers), repr(sorted(free)))


def digest(made: Subgraph | Loop) -> str:
    """Equal for subgraphs and loops of equal nodes, in this process and in others."""
    if isinstance(made, Loop):
        return repr((digest(made.body), made.states, made.sequences, made.steps, made.backwards))
    subgraph = made
    found = subgraph.derived.get("digest")
    if found is None:
        number: dict[LazyBuffer, int] = {}
        rows: list[Any] = [subgraph.name, [(p.arg, p.shape, p.dtype) for p in subgraph.params]]
        for node in subgraph.order:
            number[node] = len(number)
            arg = digest(node.arg) if isinstance(node.arg, Subgraph | Loop) else node.arg
            rows.append((node.op, arg, node.shape, node.dtype, node.device, [number[s] for s in node.srcs]))
        rows.append([number[o] for o in subgraph.outputs])
        found = subgraph.derived["digest"] = cache.sha256(repr(rows).encode()).hexdigest()
    return found


# --- the payload ------------------------------------------------------------------------------------------------------


def _encode(recipe: Recipe, codes: Sequence[Code]) -> bytes:
    owners = list(dict.fromkeys(code.program.owner for code in codes))
    distinct = list(dict.fromkeys(codes))
    import json

    return json.dumps({
        "libraries": [(owner.key, list(owner.addresses)) for owner in owners],
        "codes": [(owners.index(c.program.owner), c.program.name, c.structure.hex(), c.flops, c.work, c.iterations,
                   sorted(c.written)) for c in distinct],
        "calls": [(distinct.index(code), c.name, c.arrays, c.scalars, c.iterations, c.grain, c.flops, c.work, c.bytes)
                  for c, code in zip(recipe.calls, codes, strict=True)],
        "run": (recipe.leaves, recipe.scalars, recipe.output_bytes, recipe.arena_bytes, recipe.outputs,
                recipe.overwritten, recipe.checks, recipe.free),
    }, separators=(",", ":")).encode()


def _decode(data: bytes, device: Device) -> Executable | None:
    import json

    made = json.loads(data)
    libraries = []
    for key, names in made["libraries"]:
        programs = device.restore(key, names)
        if programs is None:
            return None  # the object code was removed, the recipe was not
        libraries.append({program.name: program for program in programs})
    codes = [Code(libraries[at][name], bytes.fromhex(structure), flops, work, iterations, frozenset(written))
             for at, name, structure, flops, work, iterations, written in made["codes"]]
    calls = tuple([KernelCall(name, _tuple(arrays), _tuple(scalars), *rest)
                   for _, name, arrays, scalars, *rest in made["calls"]])
    leaves, scalars, output_bytes, arena_bytes, outputs, overwritten, checks, free = made["run"]
    recipe = Recipe(calls, leaves, scalars, _tuple(output_bytes), arena_bytes, _tuple(outputs), _tuple(overwritten),
                    _tuple(checks), _tuple(free))
    executable = Executable(recipe, [codes[call[0]] for call in made["calls"]], device, 0, "read from disk")
    if not any([config.get(s) for s in ("STEPS", "BEAM", "WINOGRAD")]):  # by these, equal structures have other code
        for code in codes:
            kernels.keep((device, device.target, config.get("CODEGEN"), code.structure), code)
    return executable


def _tuple(value: Any) -> Any:
    """Lists as tuples, all the way down."""
    return tuple([_tuple(v) for v in value]) if isinstance(value, list) else value
