"""Stage: front. In: a function. Out: ``Surroundings``, everything outside that it can reach: the variables of its
closure, the globals that its code names, attributes of objects, and so on. The Tensors among them are its further
inputs; all else must be as it was when the function was recorded.
Next: ``program.py``."""

from __future__ import annotations

import dis
import sys
import sysconfig
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.jit.trees import equal, is_plain
from minigrad.tensor import Tensor
from minigrad.tensor.composite import Composite

MOST_ITEMS = 10_000
"""Items of one list or dictionary that are looked at."""

MOST_BYTES = 1 << 20
"""Bytes of a NumPy array that are compared at each call."""

_LIBRARIES = (str(Path(__file__).resolve().parents[1]), *[sysconfig.get_path(name) for name in (
    "stdlib", "platstdlib", "purelib", "platlib")], "<frozen ")
"""Where library code comes from: this package, Python's own modules, and what is installed."""

_MISSING = object()


def _is_library(file: str | None) -> bool:
    """Whether code of this file is nobody's own: it has no variables that a program changes."""
    return file is not None and file.startswith(_LIBRARIES)


def _file_of(module: str) -> str | None:
    """The file of a module; of one that has none, like those written in C, what stands for Python's own."""
    if module == "__main__" or module not in sys.modules:
        return None
    return getattr(sys.modules[module], "__file__", None) or "<frozen >"


def _free_of(thing: Any) -> frozenset[str]:
    """The names of what need not be watched below an object, as its class says, and no class that it is made of: those
    made of it may use the same things in another way."""
    found: frozenset[str] = vars(type(thing)).get("__jit_free__", frozenset())
    return found


def _codes_in(code: types.CodeType) -> Iterator[types.CodeType]:
    """The code of a function, and that of the functions in it."""
    codes = [code]
    while codes:
        yield (code := codes.pop())
        codes += [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]


@lru_cache(maxsize=1 << 14)  # a Module's class alone has eighty methods, and each recording comes to all of them
def _names_in(code: types.CodeType) -> frozenset[str]:
    """All names in a function's code and that of the functions in it, which may be those of attributes."""
    return frozenset([name for each in _codes_in(code) for name in each.co_names])


@lru_cache(maxsize=1 << 12)
def _globals_in(code: types.CodeType) -> frozenset[str]:
    """The globals that a function's code and that of the functions in it use."""
    return frozenset([i.argval for each in _codes_in(code) for i in dis.get_instructions(each)
                      if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")])


def _item(container: Any, key: Any) -> Any:
    """An item; of a dictionary that makes those that it lacks, none is made."""
    if isinstance(container, dict):
        return dict.get(container, key, _MISSING)
    return container[key]


def _hooks_of(leaf: Tensor) -> tuple[Any, ...] | None:
    """The hooks of a leaf, which backward calls; None if there never was one."""
    hooks = leaf._hooks
    return None if hooks is None else tuple([
        hook for table in (hooks.before, hooks.after, hooks.pre, hooks.post) for hook in table.values()])


class Surroundings:
    """What the ``roots`` (name and value) reach. ``tensors``: the Tensors with their names; ``problem``: why it can't
    be watched, if it can't.

    Each thing is watched where it was found: an item of a container, an attribute of an object, a container's length,
    the contents of an array. Plain values may be replaced by equal ones.
    What ``free`` names is not watched. ``wrappers``: classes of callables that stand for their ``function``, and change
    as they are called.
    """

    wrappers: tuple[Any, ...] = (Composite,)

    def __init__(self, roots: Sequence[tuple[str, Any]], free: frozenset[str] = frozenset()) -> None:
        self._free = free
        self.names: set[str] = set()
        self.problem: str | None = None
        while True:  # code found on the way may name more attributes of objects that were seen before
            known = len(self.names)
            self._start()
            self._walk(roots)
            if len(self.names) == known:
                break
        self.storages = [t._storage for t in self.tensors]
        self._views = [t._view for t in self.tensors]
        self._check: Callable[[], bool] | None = None
        self._space: dict[str, Any] = {}
        self.storage_ids = frozenset([id(s) for s in self.storages])
        self.requires_grad = [t._requires_grad for t in self.tensors]
        self._hooks = [_hooks_of(t) for t in self.tensors]

    def _start(self) -> None:
        self.tensors: list[Tensor] = []
        self.tensor_names: list[str] = []
        self._seen: dict[int, Any] = {}
        self._classes: set[type] = set()
        self._items: tuple[list[Any], list[Any], list[Any], list[str]] = ([], [], [], [])
        self._attributes: tuple[list[Any], list[Any], list[Any], list[str]] = ([], [], [], [])
        self._lengths: tuple[list[Any], list[int], list[str]] = ([], [], [])
        self._sets: list[tuple[set[Any], frozenset[Any], str]] = []
        self._arrays: list[tuple[np.ndarray, bytes, str]] = []

    def reaches(self, thing: Any) -> bool:
        """Whether this very object was found."""
        return id(thing) in self._seen

    # --- comparing

    def same(self) -> bool:
        """Whether everything is as it was."""
        if self._check is None:
            self._check = self._written()
        try:
            if self._check():
                return True
        except (LookupError, AttributeError, ValueError):
            return False
        return self.difference() is None

    def _written(self) -> Callable[[], bool]:
        """The comparison of identities as one expression: it is made at every call."""
        space = self._space = {}
        terms = []
        numbers: dict[int, int] = {}

        def name(thing: Any) -> str:
            number = numbers.setdefault(id(thing), len(numbers))
            space[f"x{number}"] = thing
            return f"x{number}"

        for tensor, storage, view, flag, hooks in zip(
                self.tensors, self.storages, self._views, self.requires_grad, self._hooks, strict=True):
            t = name(tensor)
            terms.append(f"{t}._storage is {name(storage)} and {t}._requires_grad is {flag}")
            terms.append(f"{t}._view is {None if view is None else name(view)}")
            if flag:
                terms.append(f"{t}._hooks is None" if hooks is None else f"hooks_of({t}) == {name(hooks)}")
        for i, (container, key) in enumerate(zip(*self._items[:2], strict=True)):
            written = repr(key) if type(key) in (str, int) else name(key)
            if isinstance(container, dict) and type(container) is not dict:
                terms.append(f"get({name(container)}, {written}) is item{i}")
            else:
                terms.append(f"{name(container)}[{written}] is item{i}")
        for i, (place, key) in enumerate(zip(*self._attributes[:2], strict=True)):
            terms.append(f"{name(place)}.{key} is attribute{i}")
        terms += [f"len({name(container)}) == {n}" for container, n, _ in zip(*self._lengths, strict=True)]
        terms += [f"{name(container)} == {name(content)}" for container, content, _ in self._sets]
        if self._arrays:
            terms.append("False")
        space["get"], space["hooks_of"] = dict.get, _hooks_of
        space |= {f"item{i}": value for i, value in enumerate(self._items[2])}
        space |= {f"attribute{i}": value for i, value in enumerate(self._attributes[2])}
        exec(f"def check():\n return {' and '.join(terms) or True}", space)
        check: Callable[[], bool] = space.pop("check")  # which would hold itself
        return check

    def difference(self) -> str | None:
        """The name of the first thing that is not as it was. Equal values are taken for what they replaced."""
        for tensor, storage, view, requires_grad, hooks, name in zip(
                self.tensors, self.storages, self._views, self.requires_grad, self._hooks, self.tensor_names,
                strict=True):
            if (tensor._storage is not storage or tensor._view is not view or tensor._requires_grad != requires_grad
                    or _hooks_of(tensor) != hooks):
                return name
        for what, (places, keys, values, paths), get in (
                ("item", self._items, _item), ("attribute", self._attributes, getattr)):
            for i, (place, key, value, path) in enumerate(zip(places, keys, values, paths, strict=True)):
                try:
                    now = get(place, key)
                except (LookupError, AttributeError, ValueError):
                    return path
                if now is not value:
                    if not equal(now, value):
                        return path
                    values[i] = self._space[f"{what}{i}"] = now
        for container, length, path in zip(*self._lengths, strict=True):
            if len(container) != length:
                return path
        for container, content, path in self._sets:
            if container != content:
                return path
        return next((path for array, content, path in self._arrays if array.tobytes() != content), None)

    # --- finding

    def _walk(self, roots: Sequence[tuple[str, Any]]) -> None:
        stack: list[tuple[str, Any, frozenset[str]]] = [(path, value, self._free) for path, value in reversed(roots)]
        while stack:
            path, value, free = stack.pop()
            if is_plain(value) and not isinstance(value, type):
                continue
            if id(value) in self._seen:
                continue
            self._seen[id(value)] = value  # which keeps it, so that no other thing has its id
            if isinstance(value, Tensor):
                self.tensors.append(value)
                self.tensor_names.append(path)
                continue
            stack += reversed([(p, v, free | _free_of(value))
                               for p, v in self._inside(path, value, free)])

    def _inside(self, path: str, value: Any, free: frozenset[str]) -> Iterator[tuple[str, Any]]:
        """What ``value`` holds; all that can change is noted."""
        if isinstance(value, types.FunctionType):
            yield from self._of_function(path, value)
        elif isinstance(value, types.MethodType):
            yield path, value.__func__
            yield f"{path}.__self__" if not path.endswith(value.__name__) else path.removesuffix(
                f".{value.__name__}"), value.__self__
        elif isinstance(value, self.wrappers):
            yield path, value.function
        elif isinstance(value, partial):
            yield path, value.func
            yield f"{path}.args", value.args
            yield f"{path}.keywords", value.keywords
        elif isinstance(value, staticmethod | classmethod):
            yield path, value.__func__
        elif isinstance(value, property):
            yield from [(path, f) for f in (value.fget, value.fset) if f is not None]
        elif isinstance(value, types.ModuleType):
            if not _is_library(_file_of(value.__name__)):
                yield from self._named(path, vars(value), free)
        elif isinstance(value, type):
            yield from self._of_class(path, value, free)
            yield from [(f"{path}.{name}", getattr(value, name)) for name in ("__init__", "__new__")]
        elif isinstance(value, dict):
            yield from self._of_items(path, value, [k for k in value if k not in free], value.values())
        elif isinstance(value, list | deque):
            yield from self._of_items(path, value, range(len(value)), value)
        elif isinstance(value, tuple | set | frozenset):
            if isinstance(value, set):
                self._sets.append((value, frozenset(value), path))
            yield from [(f"{path}[{i}]", v) for i, v in enumerate(value)]
        elif isinstance(value, np.ndarray):
            self._note_array(path, value)
        else:
            yield from self._of_object(path, value, free)

    def _of_function(self, path: str, function: types.FunctionType) -> Iterator[tuple[str, Any]]:
        code = function.__code__
        self.names |= _names_in(code)
        library = _is_library(code.co_filename)
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            try:
                content = cell.cell_contents
            except ValueError:  # not assigned yet
                continue
            if library and not isinstance(content, types.FunctionType | types.MethodType | partial):
                continue  # but for what a decorator wraps, its variables are its own
            self._note(self._attributes, cell, "cell_contents", content, name)
            yield name, content
        if library:
            return
        yield from self._named("", function.__globals__, frozenset(), _globals_in(code))
        yield f"the defaults of {path}", function.__defaults__ or ()
        yield f"the defaults of {path}", function.__kwdefaults__ or ()

    def _named(self, path: str, space: Any, free: frozenset[str], names: Iterable[str] | None = None,
               ) -> Iterator[tuple[str, Any]]:
        """The variables of a name space that code names."""
        for name in sorted((self.names if names is None else set(names)) - free):
            value = space.get(name, _MISSING)
            if value is not _MISSING:
                full = f"{path}.{name}" if path else name
                self._note(self._items, space, name, value, full)
                yield full, value

    def _of_class(self, path: str, cls: type, free: frozenset[str]) -> Iterator[tuple[str, Any]]:
        for base in cls.__mro__[:-1]:  # what makes objects is walked where code names the class
            library = _is_library(_file_of(base.__module__))
            for name, value in list(vars(base).items()):
                if library:  # its methods may read attributes of an object
                    value = getattr(value, "__func__", value)
                    if isinstance(value, types.FunctionType):
                        self.names |= _names_in(value.__code__)
                elif (name in self.names or name.startswith("__")) and name not in free and name not in (
                        "__init__", "__new__", "__dict__", "__weakref__", "__doc__", "__module__", "__annotations__"):
                    if not name.startswith("__"):
                        self._note(self._items, vars(base), name, value, f"{path}.{name}")
                    yield f"{path}.{name}", value

    def _of_items(self, path: str, container: Any, keys: Sequence[Any], values: Iterable[Any],
                  ) -> Iterator[tuple[str, Any]]:
        if len(container) > MOST_ITEMS:
            self.problem = f"it can reach {path}, which has {len(container)} items"
            return
        self._note_length(path, container)
        for key in keys:
            full = f"{path}[{'…' if isinstance(key, Tensor) else repr(key)}]"
            self._note(self._items, container, key, container[key], full)
            yield full, container[key]

    def _of_object(self, path: str, value: Any, free: frozenset[str]) -> Iterator[tuple[str, Any]]:
        cls = type(value)
        if cls not in self._classes:
            self._classes.add(cls)
            yield from self._of_class(cls.__name__, cls, free)
        inside = getattr(value, "__dict__", None)
        if isinstance(inside, dict):
            self._note_length(path, inside)  # a new attribute may hide one of the class
            yield from self._named(path, inside, free | _free_of(value))
        for base in cls.__mro__:
            slots = vars(base).get("__slots__", ())
            for name in [slots] if isinstance(slots, str) else slots:
                found = getattr(value, name, _MISSING) if name in self.names and name not in free else _MISSING
                if found is not _MISSING:
                    self._note(self._attributes, value, name, found, f"{path}.{name}")
                    yield f"{path}.{name}", found

    # --- noting

    @staticmethod
    def _note(table: tuple[list[Any], list[Any], list[Any], list[str]], place: Any, key: Any, value: Any,
              path: str) -> None:
        for column, entry in zip(table, (place, key, value, path), strict=True):
            column.append(entry)

    def _note_length(self, path: str, container: Any) -> None:
        containers, lengths, paths = self._lengths
        containers.append(container)
        lengths.append(len(container))
        paths.append(path)

    def _note_array(self, path: str, array: np.ndarray) -> None:
        if array.nbytes > MOST_BYTES or array.dtype.hasobject:
            self.problem = f"it can reach {path}, a NumPy array of {array.nbytes} bytes"
        else:
            self._arrays.append((array, array.tobytes(), path))
