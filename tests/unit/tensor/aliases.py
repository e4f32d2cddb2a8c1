"""Stage: tests of the front. In: choices. Out: a program of views, writes and reads, as text that runs in minigrad and
in PyTorch, and what it must give: NumPy ran it line by line, on arrays that alias each other for real.
Next: ``test_alias_property.py``."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Choose = Callable[[int], int]
"""``choose(n)``: a number in 0 … n-1."""

DTYPES = {np.dtype(np.float32): "float32", np.dtype(np.int32): "int32", np.dtype(np.uint8): "uint8",
          np.dtype(np.int64): "int64", np.dtype(np.int16): "int16", np.dtype(np.float64): "float64"}


@dataclass
class Seen:
    """An array, and all of the memory behind it."""

    array: np.ndarray
    memory: np.ndarray

    @property
    def item(self) -> int:
        return self.array.itemsize

    @property
    def steps(self) -> list[int]:
        return [s // self.item for s in self.array.strides]

    @property
    def offset(self) -> int:
        """Where the first element is, in elements."""
        start = self.memory.__array_interface__["data"][0]
        return (self.array.__array_interface__["data"][0] - start) // self.item

    @property
    def overlaps(self) -> bool:
        places = self.window(self.array.shape, self.steps, 0, np.arange(1 + self.reach)).ravel()
        return len(np.unique(places)) < places.size

    @property
    def reach(self) -> int:
        return sum([(n - 1) * s for n, s in zip(self.array.shape, self.steps)])

    def window(self, shape: Any, steps: Any, offset: int, memory: np.ndarray | None = None) -> np.ndarray:
        """Another view of the memory."""
        dtype = self.array.dtype if memory is None else memory.dtype
        memory = self.memory if memory is None else memory
        return np.ndarray(shape, dtype, memory, offset * dtype.itemsize, [s * dtype.itemsize for s in steps])


# --- views: from a Seen, a text and the array it must give; None where there is none


def _select(x: Seen, choose: Choose) -> Any:
    dim = choose(x.array.ndim)
    at = choose(x.array.shape[dim])
    return f".select({dim}, {at})", x.array[(slice(None),) * dim + (at, ...)]


def _slice(x: Seen, choose: Choose) -> Any:
    dim = choose(x.array.ndim)
    n = x.array.shape[dim]
    begin = choose(n)
    end, step = begin + 1 + choose(n - begin), 1 + choose(3)
    text = f"[{':, ' * dim}{begin}:{end}:{step}]"
    return text, x.array[(slice(None),) * dim + (slice(begin, end, step),)]


def _narrow(x: Seen, choose: Choose) -> Any:
    dim = choose(x.array.ndim)
    begin = choose(x.array.shape[dim])
    length = 1 + choose(x.array.shape[dim] - begin)
    return f".narrow({dim}, {begin}, {length})", x.array[(slice(None),) * dim + (slice(begin, begin + length),)]


def _transpose(x: Seen, choose: Choose) -> Any:
    a, b = choose(x.array.ndim), choose(x.array.ndim)
    return f".transpose({a}, {b})", x.array.swapaxes(a, b)


def _permute(x: Seen, choose: Choose) -> Any:
    rest, order = list(range(x.array.ndim)), []
    while rest:
        order.append(rest.pop(choose(len(rest))))
    return f".permute({', '.join(map(str, order))})", x.array.transpose(order)


def _movedim(x: Seen, choose: Choose) -> Any:
    a, b = choose(x.array.ndim), choose(x.array.ndim)
    return f".movedim({a}, {b})", np.moveaxis(x.array, a, b)


def _unsqueeze(x: Seen, choose: Choose) -> Any:
    dim = choose(x.array.ndim + 1)
    steps, shape = x.steps, x.array.shape
    step = shape[dim] * steps[dim] if dim < len(shape) else 1
    new = (*shape[:dim], 1, *shape[dim:]), (*steps[:dim], step, *steps[dim:])
    return (f".unsqueeze({dim})" if choose(2) else f"[{':, ' * dim}None]"), x.window(*new, x.offset)


def _squeeze(x: Seen, choose: Choose) -> Any:
    return ".squeeze()", x.array.squeeze()


def _expand(x: Seen, choose: Choose) -> Any:
    times = 1 + choose(2)
    shape = [n if n != 1 or choose(2) else times for n in x.array.shape]
    steps = [s if n == m else 0 for s, n, m in zip(x.steps, x.array.shape, shape)]
    if choose(2):
        shape, steps = [times, *shape], [shape[0] * steps[0] if times == 1 else 0, *steps]
    return f".expand({', '.join(map(str, shape))})", x.window(shape, steps, x.offset)


def _diagonal(x: Seen, choose: Choose) -> Any:
    if x.array.ndim < 2:
        return None
    a = choose(x.array.ndim)
    b = (a + 1 + choose(x.array.ndim - 1)) % x.array.ndim
    by = choose(x.array.shape[a] + x.array.shape[b] - 1) - x.array.shape[a] + 1
    return f".diagonal({by}, {a}, {b})", x.array.diagonal(by, a, b)


def _unfold(x: Seen, choose: Choose) -> Any:
    dim = choose(x.array.ndim)
    size, step = 1 + choose(x.array.shape[dim]), 1 + choose(3)
    windows = np.lib.stride_tricks.sliding_window_view(x.array, size, axis=dim)
    return f".unfold({dim}, {size}, {step})", windows[(slice(None),) * dim + (slice(None, None, step),)]


def _as_strided(x: Seen, choose: Choose) -> Any:
    room = x.memory.nbytes // x.item
    shape, steps = [], []
    for _ in range(choose(4)):
        shape.append(1 + choose(3))
        steps.append(choose(8))
    reach = 1 + sum([(n - 1) * s for n, s in zip(shape, steps)])
    offset = x.offset if choose(2) else choose(max(1, room - reach + 1))
    if offset + reach > room:
        return None
    return f".as_strided({tuple(shape)}, {tuple(steps)}, {offset})", x.window(shape, steps, offset)


def _view_dtype(x: Seen, choose: Choose) -> Any:
    old, shape, steps, offset = x.item, list(x.array.shape), x.steps, x.offset
    changes = shape and 1 not in shape and steps[-1] == 1
    fits = [d for d in DTYPES if d.itemsize == old or (
        changes and not any([n * old % d.itemsize for n in (shape[-1], offset, *steps[:-1])]))]
    new = fits[choose(len(fits))]
    size = new.itemsize
    if old != size:
        shape[-1] = shape[-1] * old // size
        steps, offset = [*[s * old // size for s in steps[:-1]], 1], offset * old // size
    array = np.ndarray(shape, new, x.memory, offset * size, [s * size for s in steps])
    return f".view(t.{DTYPES[new]})", array


def _flat(x: Seen, choose: Choose) -> Any:
    array = x.array.reshape(-1)
    if not np.shares_memory(array, x.array) and array.size:
        return None  # only a copy has that shape
    return (".view(-1)", ".flatten()", ".reshape(-1)")[choose(3)], array


def _unflatten(x: Seen, choose: Choose) -> Any:
    dim = choose(x.array.ndim)
    n = x.array.shape[dim]
    part = next((p for p in (2, 3) if n % p == 0), n)
    shape, steps = x.array.shape, x.steps
    new = (*shape[:dim], n // part, part, *shape[dim + 1:])
    return f".unflatten({dim}, (-1, {part}))", x.window(
        new, (*steps[:dim], steps[dim] * part, steps[dim], *steps[dim + 1:]), x.offset)


def _chunk(x: Seen, choose: Choose) -> Any:
    dim = choose(x.array.ndim)
    size = 1 + choose(x.array.shape[dim])
    parts = -(-x.array.shape[dim] // size)
    at = choose(parts)
    text = (f".split({size}, {dim})[{at}]", f".unbind({dim})[{at}]")[size == 1 and choose(2)]
    part = x.array[(slice(None),) * dim + (slice(at * size, (at + 1) * size),)]
    return text, part[(slice(None),) * dim + (0, ...)] if "unbind" in text else part


def _same(x: Seen, choose: Choose) -> Any:
    return (".detach()", ".data", "[...]", ".view_as({0})")[choose(4)], x.array


VIEWS = (_select, _slice, _narrow, _transpose, _permute, _movedim, _unsqueeze, _squeeze, _expand, _diagonal, _unfold,
         _as_strided, _view_dtype, _flat, _unflatten, _chunk, _same)


# --- programs


@dataclass(repr=False)
class Program:
    """``lines`` to run; ``reads``: what those that read must give; ``seen``: the variables as they are at the end."""

    choose: Choose
    clones: bool = False
    """Whether what is copied is cloned before, as PyTorch asks for where it overlaps what is written."""
    lines: list[str] = field(default_factory=list)
    reads: list[np.ndarray] = field(default_factory=list)
    seen: dict[str, Seen] = field(default_factory=dict)
    kept: list[np.ndarray] = field(default_factory=list)
    native: list[np.ndarray] = field(default_factory=list)
    """Memory that only holds what arithmetic gives: no bits that were written as another type."""

    def __repr__(self) -> str:
        return "\n" + "\n".join(self.lines)

    def draw(self, steps: int) -> Program:
        self.base()
        for _ in range(steps):
            (self.view, self.view, self.view, self.write, self.write, self.read, self.copy)[self.choose(7)]()
        return self

    def base(self) -> None:
        shape = ((4, 6), (2, 3, 4), (24,), (2, 2, 2, 3))[self.choose(4)]
        dtype = list(DTYPES)[self.choose(4)]
        start = np.arange(24).reshape(shape).astype(dtype)
        how = (f"t.tensor(start.tolist(), dtype=t.{DTYPES[dtype]})", "t.from_numpy(start.copy())",
               f"t.arange(24).reshape({shape}).to(t.{DTYPES[dtype]}) * 1",
               "t.from_numpy(np.repeat(start.copy(), 2, axis=-1)[..., ::2])")[self.choose(4)]
        self.lines.append(f"start = np.arange(24).reshape({shape}).astype(np.{DTYPES[dtype]})")
        if "repeat" in how:
            memory = np.repeat(start, 2, axis=-1)
            array, memory = memory[..., ::2], memory.reshape(-1)[:-1]
        else:
            array, memory = start, start.reshape(-1)
        self.define(how, Seen(array, memory.view(np.uint8)))
        self.native.append(memory.view(np.uint8))

    def define(self, text: str, seen: Seen) -> str:
        name = f"v{len(self.seen)}"
        self.lines.append(f"{name} = {text}")
        self.seen[name] = seen
        return name

    def some(self) -> str:
        names = list(self.seen)
        return names[self.choose(len(names))]

    def view(self) -> None:
        name = self.some()
        x = self.seen[name]
        row = VIEWS[self.choose(len(VIEWS))]
        if not x.array.ndim and row not in (_as_strided, _view_dtype, _same):
            return
        found = row(x, self.choose)
        if found is None or not found[1].size or found[1].size > 200 or found[1].ndim > 5:
            return
        text, array = found
        if not array.flags.writeable:  # NumPy is careful with diagonals and windows
            start = x.memory.__array_interface__["data"][0]
            at = array.__array_interface__["data"][0] - start
            array = np.ndarray(array.shape, array.dtype, x.memory, at, array.strides)
        self.define(name + text.format(name), Seen(array, x.memory))

    def write(self) -> None:
        name = self.some()
        x = self.seen[name]
        a, choose = x.array, self.choose
        n = choose(4)
        if x.overlaps:
            if not self.clones:
                self.lines.append(f"refused(lambda: {name}.add_(1))")
            return
        calm = [m for m in self.native if m is x.memory]
        native = a.dtype.kind in "iu" or bool(calm)
        if not (calm and a.dtype == self.seen["v0"].array.dtype):
            self.native = [m for m in self.native if m is not x.memory]
            native = a.dtype.kind in "iu"
        what = choose(9)
        if what == 0 and native:
            self.lines.append(f"{name}.add_({n})")
            a += a.dtype.type(n)
        elif what == 1 and native and a.dtype.kind == "f":
            self.lines.append(f"{name} *= {n}")
            a *= n
        elif what == 2:
            same = [k for k, s in self.seen.items() if (s.array.shape, s.array.dtype) == (a.shape, a.dtype)]
            other = same[choose(len(same))]
            self.lines.append(f"{name}.copy_({other}{'.clone()' if self.clones or choose(2) else ''})")
            a[...] = self.seen[other].array.copy()
        elif what == 3 and a.ndim:
            at = choose(a.shape[0])
            self.lines.append(f"{name}[{at}] = {n}")
            a[at] = n
        elif what == 4 and a.ndim:
            step = 1 + choose(2)
            self.lines.append(f"{name}[..., ::{step}] = {n}")
            a[..., ::step] = n
        elif what == 5 and native:
            self.lines.append(f"{name}[{name} > {n + 1}] = {n}")
            a[a > n + 1] = n
        elif what == 6 and a.ndim:
            self.lines.append(f"{name}[[0, -1]] = {n}")
            a[[0, -1]] = n
        elif what == 7 and native:
            self.lines.append(f"{name}.masked_fill_({name} < {n}, {n})")
            a[a < n] = n
        else:
            self.lines.append(f"{name}.fill_({n})")
            a[...] = n

    def read(self) -> None:
        name = self.some()
        array = self.seen[name].array
        how = self.choose(5)
        if how == 4 and self.kept:
            at, n = self.choose(len(self.kept)), self.choose(4)
            self.lines.append(f"kept[{at}][...] = {n}")
            self.kept[at][...] = n
            if self.kept[at].dtype != self.seen["v0"].array.dtype:
                self.native = []
            return
        if how == 0:
            self.lines.append(f"reads.append({name}.tolist())")
            self.reads.append(array.copy())
        elif how == 1:
            self.lines.append(f"reads.append(({name} + 0).tolist())")
            self.reads.append(array.copy())
        elif how == 2:
            self.lines.append(f"realize({name})")
        else:
            self.lines.append(f"kept.append({name}.numpy())")
            self.kept.append(array)

    def copy(self) -> None:
        name = self.some()
        x = self.seen[name]
        how = self.choose(4)
        if how == 0:
            new = x.array.copy()
            self.define(f"{name}.clone().contiguous()", Seen(new, new.reshape(-1).view(np.uint8)))
        elif how == 1 and x.array.dtype.kind in "iu":
            new = x.array + x.array.dtype.type(1)
            new = np.ascontiguousarray(new).reshape(x.array.shape)
            self.define(f"({name} + 1).contiguous()", Seen(new, new.reshape(-1).view(np.uint8)))
        elif how == 2:
            self.define(f"copy.copy({name})", x)
        else:
            other = self.some()
            self.lines.append(f"pair = copy.deepcopy([{name}, {other}])")
            memories: dict[int, Any] = {}
            for i, key in enumerate((name, other)):
                x = self.seen[key]
                memory = memories.setdefault(id(x.memory), x.memory.copy())
                start = x.offset * x.item
                array = np.ndarray(x.array.shape, x.array.dtype, memory, start, x.array.strides)
                self.define(f"pair[{i}]", Seen(array, memory))

    # --- running it

    def run(self, module: Any, realize: Callable[[Any], Any], refused: Callable[[Callable[[], Any]], None]) -> None:
        """Run the lines, and compare all they read and leave."""
        names: dict[str, Any] = {"t": module, "np": np, "copy": copy, "reads": [], "kept": [], "realize": realize,
                                 "refused": refused}
        text = "\n".join(self.lines)
        exec(compile(text, "<program>", "exec"), names)
        for i, (got, want) in enumerate(zip(names["reads"], self.reads, strict=True)):
            assert np.array_equal(np.array(got, want.dtype), want, equal_nan=want.dtype.kind == "f"), (
                f"read {i} gave {got}, not {want.tolist()}, in\n{text}")
        for i, (array, want) in enumerate(zip(names["kept"], self.kept, strict=True)):
            assert array.tobytes() == want.tobytes(), f"array {i} is {array}, not {want}, in\n{text}"
        for name, x in self.seen.items():
            got = names[name]
            assert tuple(got.shape) == x.array.shape, f"{name} in\n{text}"
            assert str(got.dtype).endswith(DTYPES[x.array.dtype]), f"{name} in\n{text}"
            assert [s for n, s in zip(got.shape, got.stride()) if n > 1] == [
                s for n, s in zip(x.array.shape, x.steps) if n > 1], f"the strides of {name} in\n{text}"
            assert got.storage_offset() == x.offset, f"the offset of {name} in\n{text}"
            assert got.numpy().tobytes() == x.array.tobytes(), (
                f"{name} is {got.tolist()}, not {x.array.tolist()}, in\n{text}")
