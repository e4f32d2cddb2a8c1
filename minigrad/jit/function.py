"""Stage: front. In: a function, then its calls. Out: ``Jit``, which records the function's first calls and runs what it
recorded at those that are like them.
Next: ``trees.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial, update_wrapper
from types import MethodType
from typing import Any

from minigrad import config
from minigrad.autograd.mode import mode
from minigrad.engine import realise, records
from minigrad.errors import LaunchError, OutOfMemoryError
from minigrad.graph.lines import warn_user
from minigrad.jit.recording import Given, Recording, value_of
from minigrad.jit.surroundings import Surroundings
from minigrad.jit.trees import flatten, statics
from minigrad.jit.variant import Variant
from minigrad.jit.writer import OTHERWISE, Writer
from minigrad.runtime.locks import computing
from minigrad.tensor import Tensor, called_everywhere, get_default_device, get_default_dtype
from minigrad.tensor.replay import several, thread
from minigrad.tensor.storage import Writes, tracing

MOST_KEYS = 64
"""Kinds of arguments that are known at a time."""

MOST_VARIANTS = 8
"""Programs that are known for one kind of arguments; they differ in what the function found around it."""

MOST_RECORDINGS = 16
"""Calls recorded one after another; if none of them could be run again, recording does not pay: a function whose
surroundings change is given up, one with ever new arguments is recorded when the same kind comes a second time."""


MOST_DIFFERENCES = 3
"""Recordings one after another that differ though nothing outside has changed."""


AS_IT_IS = object()


class Kind:
    """What is known of the calls with arguments of one kind. ``unpaid``: recordings since one of the programs ran."""

    __slots__ = ("unpaid", "variants")

    def __init__(self) -> None:
        self.variants: list[Variant] = []
        self.unpaid = 0


class Jit:
    """A function that runs as one program; see ``jit``. ``variants``: the programs it knows; ``reason``: why the last
    call that was not one of them was not (None if there was none); ``given_up``: why it is called as it is from now on
    (None if it is not)."""

    def __init__(self, function: Callable[..., Any], donate: Sequence[int] = ()) -> None:
        update_wrapper(self, function)
        self.function, self.donate = function, tuple(donate)
        self.name: str = getattr(function, "__name__", type(function).__name__)
        self.known: dict[Any, Kind] = {}
        self.reason: str | None = None
        self._new_kinds = 0
        self._changes: dict[str, int] = {}
        self.given_up: str | None = None
        self.attribute = self.name

    def __repr__(self) -> str:
        return f"<jit {self.name}: {len(self.variants)} programs>"

    def __set_name__(self, owner: type, name: str) -> None:
        self.attribute = name

    def __get__(self, instance: Any, owner: Any = None) -> Jit:
        """The method of one object, which keeps it: as long as the object lives, so do its programs."""
        if instance is None:
            return self
        bound = vars(instance)[self.attribute] = Jit(MethodType(self.function, instance), self.donate)
        return bound

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy starts with no programs."""
        return Jit, (self.function, self.donate)

    def __getattr__(self, name: str) -> Any:
        """Attributes of what it was made from: ``minigrad.jit(model).parameters()``."""
        if name.startswith("__") or name == "function":
            raise AttributeError(name)
        return getattr(self.function, name)

    @property
    def variants(self) -> list[Variant]:
        """The programs that are ready to run."""
        return [v for kind in self.known.values() for v in kind.variants if v.ready and v.program is not None]

    @property
    def source(self) -> str:
        """What its programs do at a call, as Python: they bind memory, make one native call and hand out the
        results."""
        return "\n".join([Writer(v.program).text for v in self.variants if v.program is not None])

    def forget(self) -> None:
        """Record anew from the next call on."""
        self.known.clear()
        self._changes.clear()
        self._new_kinds, self.given_up = 0, None

    # --- a call

    def __call__(self, *args: Any, **named: Any) -> Any:
        """Call the function: as it is, where each call is watched, as by ``detect_anomaly``."""
        trace = thread.trace
        if self.given_up is None and trace.capture is None and not tracing.names and not called_everywhere and (
                not mode.watched and config.replays()):
            if several:
                with computing:
                    result = self._call(args, named)
            else:
                result = self._call(args, named)
            if result is not AS_IT_IS:
                return result
        return self.function(*args, **named)

    def _call(self, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """What the function returns, by a program or recorded; ``AS_IT_IS`` if it is to be called in the ordinary way,
        which takes no lock."""
        tensors, structure = _parts(args, named)
        key = (structure, mode.enabled, mode.autocast, get_default_dtype(), get_default_device(),
               config.get("WINOGRAD"), _looks(tensors) if tensors else None)
        kind = self.known.get(key)
        if kind is not None:
            for variant in kind.variants:
                if not variant.ready or not variant.fits() or (tensors and self._aliased(tensors, variant.around)):
                    continue
                if variant.program is None:
                    return AS_IT_IS
                values = [value_of(t) for t in tensors] if tensors else ()
                if thread.trace.path:
                    thread.trace.stop("")
                    thread.begin()
                try:
                    result = variant.run(tensors, values)
                except (LaunchError, OutOfMemoryError) as error:
                    with suppress(Exception):
                        self._record(args, named, structure, key, tensors, error)
                    raise
                if result is not OTHERWISE:
                    kind.unpaid = self._new_kinds = 0
                    return result
        return self._record(args, named, structure, key, tensors)

    def _aliased(self, tensors: Sequence[Tensor], around: Surroundings) -> bool:
        """Whether two different Tensors among the arguments and those outside are on the same memory."""
        storages = {id(t._storage) for t in tensors}
        return len(storages) < len({id(t) for t in tensors}) or not around.storage_ids.isdisjoint(storages)

    # --- recording

    def _record(self, args: tuple[Any, ...], named: dict[str, Any], structure: Any, key: Any,
                tensors: Sequence[Tensor], error: Exception | None = None) -> Any:
        """``error``: what a program has raised. What it did is recorded and not run, to name its lines."""
        kind = self.known.get(key)
        why = self._why(kind)
        if mode.enabled and any([t._requires_grad and (t._edge is not None or t._view is not None) for t in tensors]):
            why = "a gradient flows through an argument"
        elif kind is None and self._is_restless(key):
            why = "its arguments differ from call to call"
        else:
            trace = thread.trace
            if trace.path:
                trace.stop("")
            realise(Writes.take() + trace.held())
            if type(structure) is int:
                structure = flatten((args, named), [])
            around = Surroundings([(self.name, self.function), *[
                (f"argument {i}", value) for i, value in enumerate(statics(structure))]])
            refused = self._refused(tensors, around)
            if refused is None:
                self._say(why)
                return self._recorded((args, named), structure, self._kind(key), tensors, around, error)
            why = refused
        self._say(why)
        return AS_IT_IS

    def _recorded(self, given: tuple[tuple[Any, ...], dict[str, Any]], structure: Any, kind: Kind,
                  tensors: Sequence[Tensor], around: Surroundings, error: Exception | None) -> Any:
        """What the function returns, recorded."""
        new = Variant(around)
        recording = Recording(self.name, self.function, Given(given, structure, tensors), around,
                              self._donated(given[0], tensors), error)
        kind.unpaid += 1
        if recording.problem is not None:
            self._give_up(recording.problem)
        elif recording.changed is not None:
            self._note_change(recording.changed)
        elif recording.open:
            new.ready = True
            self._keep(kind.variants, new)
        else:
            new.program = recording.program
            self._compare(kind.variants, new)
        if kind.unpaid > MOST_RECORDINGS:
            self._give_up(f"{kind.unpaid} calls one after another had to be recorded; the last, because {self.reason}")
        return recording.result

    def _kind(self, key: Any) -> Kind:
        kind = self.known.get(key)
        if kind is None:
            if len(self.known) >= MOST_KEYS:
                self.known.pop(next(iter(self.known)))
            kind = self.known[key] = Kind()
        return kind

    def _is_restless(self, key: Any) -> bool:
        """Whether arguments were of a new kind for many calls. Then only what comes again is recorded."""
        self._new_kinds += 1
        if self._new_kinds <= MOST_RECORDINGS:
            return False
        self._kind(key)
        if self._new_kinds == MOST_RECORDINGS + 1:
            warn_user(f"minigrad.jit: {self.name}() was called with {self._new_kinds} kinds of arguments one after "
                      "another; pass numbers that change as tensors")
        return True

    def _refused(self, tensors: Sequence[Tensor], around: Surroundings) -> str | None:
        """Why a call is made in the ordinary way."""
        through = next((name for t, name in zip(around.tensors, around.tensor_names, strict=True)
                        if t._requires_grad and t._edge is not None), None)
        if mode.enabled and through is not None:
            return f"a gradient flows through {through}"
        if self._aliased(tensors, around):
            return "two of the tensors that it can change share memory"
        return None

    def _why(self, kind: Kind | None) -> str:
        """Why a call is recorded."""
        if kind is None:
            return "it was not called with such arguments before" if self.known else "it was not called before"
        changed = [v.around.difference() for v in kind.variants]
        if None in changed or not changed:
            return "the recording before is compared with this one"
        return f"{changed[-1]} has changed"

    def _say(self, why: str) -> None:
        self.reason = why
        for seen in records:
            seen.recorded.append(f"{self.name}: {why}")
        if config.get("DEBUG"):
            config.say(f"*** jit: {self.name} is recorded: {why}")

    def _keep(self, known: list[Variant], variant: Variant) -> None:
        known.insert(0, variant)
        del known[MOST_VARIANTS:]

    def _compare(self, known: list[Variant], new: Variant) -> None:
        """Two recordings that did the same make a program that runs again."""
        old = next((v for v in known if v.program is not None and v.empty == new.empty and v.around.same()), None)
        if old is not None:
            assert old.program is not None and new.program is not None
            known.remove(old)
            if any([a is b for a, b in zip(old.program.constants(), new.program.constants(), strict=False)]):
                self._give_up("it reads a tensor that minigrad.jit can't find from the function: pass it as an "
                              "argument")
                return
            if old.program.name() == new.program.name():
                new.ready = True
                if len(old.program.dead) > len(new.program.dead):  # somebody held a value only now
                    new.program = old.program
            else:
                new.differed = old.differed + 1
                if new.differed >= MOST_DIFFERENCES:
                    self._give_up("it does different things at each call: it may draw numbers that are not minigrad's, "
                                  "read the clock, or take tensors from where minigrad.jit can't see them")
                    return
        self._keep(known, new)

    def _note_change(self, name: str) -> None:
        """A function may change Python variables once, to prepare; one that does so at each call can't be replaced."""
        self._changes[name] = self._changes.get(name, 0) + 1
        if self._changes[name] >= MOST_DIFFERENCES:
            self._give_up(f"it changes {name} at each call, which a recorded function can't do: return the new value, "
                          "or keep it in a tensor")

    def _give_up(self, why: str) -> None:
        self.given_up = self.reason = why
        self.known.clear()
        warn_user(f"minigrad.jit: {self.name}() is called in the ordinary way from now on: {why}")

    def _donated(self, args: Sequence[Any], tensors: Sequence[Tensor]) -> list[int]:
        found = []
        for position in self.donate:
            if position >= len(args):
                continue
            inside: list[Tensor] = []
            flatten(args[position], inside)
            for t in inside:
                if t._view is None and not t._requires_grad:
                    found.append(next(i for i, other in enumerate(tensors) if other is t))
        return found


Surroundings.wrappers += (Jit,)


def _parts(args: tuple[Any, ...], named: dict[str, Any]) -> tuple[list[Tensor], Any]:
    """The Tensors among the arguments and the structure around them; if all arguments are Tensors, their number."""
    tensors: list[Tensor] = []
    if not named:
        for a in args:
            if not isinstance(a, Tensor):
                break
            tensors.append(a)
        else:
            return tensors, len(args)
    tensors = []
    return tensors, flatten((args, named), tensors)


def _looks(tensors: Sequence[Tensor]) -> tuple[Any, ...]:
    """What matters of the arguments, and which of them are one."""
    looks: list[Any] = []
    for t in tensors:
        if t._spec is not None:
            t.realize()
        gradient = t._requires_grad and (t._edge is None, t._view is None)
        looks.append((t._shape(), t.dtype, t._storage.lazy.device, gradient, t._grad is None))
    if len(tensors) > 1:
        ids = [id(t) for t in tensors]
        if len(set(ids)) < len(ids):
            looks += [ids.index(i) for i in ids]
    return tuple(looks)


def jit(function: Any = None, *, donate: Sequence[int] | int = ()) -> Any:
    """``function``, recorded at its first calls and from then on run as one program: ``jit(step)`` or ``@jit``.

    What the function computes, writes and draws is done anew at each call: parameters, buffers, gradients and the state
    of optimizers change as they would, random numbers are new ones, and hyperparameters of optimizers may change. Its
    Python code runs only when it is recorded, which is at the first two calls that are alike (one more if the first
    prepares something), and again when an argument has another shape or dtype, a value that is no tensor differs, or a
    variable that the function can reach has changed.

    Arguments and results are Tensors, in lists, tuples, dictionaries and dataclasses, and other values. Results are in
    memory of their own. ``donate`` names positions of arguments whose memory may be used for the results; reading such
    an argument afterwards raises ``RuntimeError``.

    ``RuntimeError`` if the function asks for a value (``item()``, ``print``, a branch): there is none before it has
    returned. A function that can't be replaced by a program (it changes a Python variable at each call, draws numbers
    from NumPy, reads a tensor that can't be found from it) is called as it is, with a warning that says why. One whose
    results still need a gradient is called as it is, too: it is part of a larger graph.

    >>> import minigrad
    >>> weight = minigrad.ones(3, requires_grad=True)
    >>> @minigrad.jit
    ... def step(x):
    ...     loss = ((weight * x).sum() - 1) ** 2
    ...     loss.backward()
    ...     with minigrad.no_grad():
    ...         weight.sub_(0.1 * weight.grad)
    ...     weight.grad = None
    ...     return loss
    >>> losses = [step(minigrad.tensor([1.0, 0.0, 1.0])).item() for _ in range(4)]
    >>> [f"{loss:.4f}" for loss in losses]
    ['1.0000', '0.3600', '0.1296', '0.0467']
    >>> step
    <jit step: 1 programs>
    """
    positions = (donate,) if isinstance(donate, int) else tuple(donate)
    if function is None:
        return partial(jit, donate=positions)
    if not callable(function):
        raise TypeError(f"jit() expects a function, got {type(function).__name__}")
    return Jit(function, positions)
