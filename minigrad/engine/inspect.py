"""Stage: realise. In: what the engine runs. Out: a record of it, for tests and for people who want to see fusion.
Next: ``faults.py``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from minigrad import config
from minigrad.records import Record
from minigrad.runtime.device import device_name

if TYPE_CHECKING:
    from minigrad.engine.details import DetailedKernel, Details
    from minigrad.engine.recipe import KernelCall
    from minigrad.engine.tier0.program import DirectKernel
    from minigrad.engine.walk import Pending
    from minigrad.graph.lazy import LazyBuffer
    from minigrad.runtime.buffer import Buffer


class KernelRun(Record):
    """One kernel that ran: the one at ``position`` among those of ``details``, which are made again when they are asked
    for; of a replayed one, which had no graph, only ``call`` is known, and one of tier 0 has no more. ``seconds`` is
    wall-clock time (None if it was only looked at); ``flops`` and ``bytes`` what it computes and must at least move;
    ``stages`` a line for each stage: its strategy and parameters."""

    details: Details | None
    position: int
    device: str
    seconds: float | None
    call: KernelCall | DirectKernel | None = None

    @property
    def kernel(self) -> DetailedKernel | DirectKernel:
        """The kernel in all its forms. ``RuntimeError`` for one that was replayed."""
        if self.details is not None:
            return self.details.kernels[self.position]
        if self.call is None or not hasattr(self.call, "lowered"):
            raise RuntimeError(f"kernel {self.name} was replayed: the calls were those made before, so there was no "
                               "graph. To see its source and stages, inspect with minigrad.config(REPLAY=0)")
        return self.call  # type: ignore[return-value]

    @property
    def name(self) -> str:
        """The kernel's name, which a replayed one has too."""
        return self.kernel.name if self.call is None else self.call.name

    @property
    def source(self) -> str:
        """Its source in its device's language."""
        return self.kernel.source

    @property
    def flops(self) -> int:
        """Arithmetic operations of one run."""
        return self.kernel.lowered.flops if self.call is None else self.call.flops

    @property
    def bytes(self) -> int:
        """Bytes that one run must read and write at least."""
        return self.kernel.bytes if self.call is None else self.call.bytes

    @property
    def stages(self) -> tuple[str, ...]:
        """A line for each stage: its strategy and parameters."""
        return tuple(self.kernel.lowered.strategies)

    def __repr__(self) -> str:
        time = "not run" if self.seconds is None else f"{self.seconds * 1e6:.0f} µs"
        how = "replayed" if self.details is None and not hasattr(self.call, "lowered") else f"{len(self.stages)} stages"
        return f"<{self.name} on {self.device}: {how}, {time}>"


class Seen:
    """What ran inside a ``with minigrad.inspect()`` block. ``launches``: kernels run; ``native_calls``: calls into
    native code; ``compiled``: kernels compiled, equal ones once; ``tier0``: runs by generic kernels, replayed or
    not, with nothing compiled (then ``kernels`` has each of those once, and ``launches`` counts their calls);
    ``host_calls``: functions that NumPy or LAPACK computed, as no kernel does, and ops of the NUMPY device;
    ``plan_hits``, ``plan_misses``: realised graphs that had a plan, or needed one; ``replayed``: runs without a graph,
    since the calls were those seen before; ``recorded``: why calls that had been followed so far were recorded after
    all. ``device``: the only device looked at (None: all); ``run``: whether its kernels are those that ran."""

    def __init__(self, device: str | None = None, run: bool = True) -> None:
        self.device, self.run = device, run
        self.kernels: list[KernelRun] = []
        self.launches = self.native_calls = self.compiled = self.tier0 = 0
        self.plan_hits = self.plan_misses = self.replayed = self.host_calls = 0
        self.recorded: list[str] = []

    def asks(self, pending: Pending, executable: Any) -> bool:
        """Whether the graph that is to run should be kept for ``ran``, as ``details``."""
        return self.run and self.device in (None, pending.device)

    def ran(self, pending: Pending, executable: Any, hit: bool, seconds: Sequence[float], details: Details | None,
            ) -> None:
        """A graph ran. ``hit``: what runs it was there already; ``seconds``: of each kernel; ``details``: its kernels
        in every form, if somebody asks for them; not of tier 0."""
        self.compiled += 0 if hit else executable.compiled
        self.plan_hits += hit
        self.plan_misses += not hit
        self._add(executable, pending.device, seconds, details)

    def ran_again(self, executable: Any, device: str, seconds: Sequence[float], results: Sequence[Buffer]) -> None:
        """What ran before ran again on other memory, without a graph. ``results``: what it gave."""
        self.replayed += 1
        self._add(executable, device, seconds, None)

    def ran_by_host(self, node: LazyBuffer, name: str, seconds: float, nbytes: int, results: Sequence[Buffer],
                    call: Any) -> None:
        """NumPy or LAPACK ran a node, which reads so many bytes: a HOST node, or one of the NUMPY device; or the
        followed ``call`` in whose body it is. ``name``: that of the function or op."""
        self.host_calls += 1

    def _add(self, executable: Any, device: str, seconds: Sequence[float], details: Details | None) -> None:
        self.tier0 += executable.tier == 0
        self.launches += executable.launches
        self.native_calls += executable.native_calls
        calls = executable.kernels if executable.tier == 0 else executable.recipe.calls
        self.kernels += [KernelRun(details, i, device, s, call)
                         for i, (s, call) in enumerate(zip(seconds, calls, strict=True))]


records: list[Seen] = []
"""Those being collected now."""

previews: list[Seen] = []
"""Those of them that look at what another device would run, for which there must be a graph."""


shown: WeakKeyDictionary[Any, tuple[int, int]] = WeakKeyDictionary()
"""The executables whose code DEBUG has shown: at which level, and how often DEBUG had been set by then. In a loop, code
is shown once; after DEBUG has been set again, as by another ``with config(DEBUG=4)``, once more."""


def showing() -> tuple[int, int]:
    """What ``shown`` says of an executable whose code need not be shown again."""
    return config.get("DEBUG"), config.changes("DEBUG")


def graphs_are_shown(executable: Any = None) -> bool:
    """Whether somebody looks at graphs, which what runs again does not have: that of this executable, or any; or gives
    steps, which what runs again was not made by."""
    if previews:
        return True
    if config.quiet():
        return False
    if config.get("STEPS"):
        return True
    return config.get("DEBUG") >= 3 and (executable is None or shown.get(executable) != showing())


@contextmanager
def inspect(device: str | None = None, run: bool = True) -> Iterator[Seen]:
    """Collect what runs in the block; of one device only, if it is named.

    With ``run=False`` the program runs where its tensors are, and beside that each graph it realises is planned and
    rendered for ``device``: ``kernels`` then holds what that device would run. It need not exist on this machine.

    Raises ``ValueError`` for ``run=False`` without a device.

    >>> import minigrad
    >>> x = minigrad.ones(1000)
    >>> with minigrad.inspect() as seen:
    ...     y = (x.relu() * 2 + 1).realize()
    >>> seen.launches
    1
    >>> for _ in range(4):
    ...     with minigrad.inspect() as seen:
    ...         total = (x * 3).sum().item()
    >>> seen.replayed, seen.recorded
    (1, [])
    >>> with minigrad.config(TIERS=2), minigrad.inspect() as seen:
    ...     y = (x.relu() * 4 - 3).realize()
    >>> seen.tier0
    1
    >>> with minigrad.inspect(device="CUDA", run=False) as seen:
    ...     y = (x.relu() * 2 + 1).realize()
    >>> "__global__" in seen.kernels[0].source, seen.launches
    (True, 0)
    """
    if device is None and not run:
        raise ValueError("inspect(run=False) needs the device to look at, as in inspect(device=\"CUDA\", run=False)")
    seen = Seen(None if device is None else device_name(device), run)
    with ExitStack() as stack:
        for those in (records,) if run else (records, previews):
            those.append(seen)
            stack.callback(those.remove, seen)
        yield seen
