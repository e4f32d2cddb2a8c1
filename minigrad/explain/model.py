"""Stage: explaining. In: nothing. Out: the data of a page in plain values, as ``--json`` writes them. Times are in
seconds; ``at`` counts from the beginning of the recording.
Next: ``sites.py``."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

VERSION = 2
"""Of the data's form."""


@dataclass
class File:
    """A file of the user's program. ``first``: the number of the first of its ``lines``."""

    path: str
    first: int
    lines: list[str]


@dataclass
class Part:
    """What of a kernel comes from a line of the program: the position of its ``file``, its ``number``, what was called
    there (``calls``), in which Modules (``modules``), and the ``share`` of the kernel's operations. ``phase``:
    ``"forward"`` or ``"backward"``, where it is part of a gradient."""

    file: int
    number: int
    phase: str
    share: float
    calls: list[str]
    modules: list[str]


@dataclass
class Stage:
    """A stage of a kernel: the names of what it stores, over which space, and the lines it comes from, as positions in
    ``Kernel.parts``, the largest share first."""

    stores: list[str]
    space: list[int]
    parts: list[int]


@dataclass
class Kernel:
    """A launch of a plan. ``flops`` and ``bytes`` count one launch, ``seconds`` and ``launches`` all of them;
    ``arrays``: what it is given and what it keeps, in words; ``notes`` say why it became what it is; ``code``: its
    position in ``Report.codes``, -1 if its texts are not known; ``nodes``: of each node that it computes the line it
    comes from, as a position in ``parts``."""

    plan: int
    name: str
    device: str
    flops: int
    bytes: int
    seconds: float = 0.0
    launches: int = 0
    parts: list[Part] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    arrays: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    nodes: list[int] = field(default_factory=list)
    code: int = -1


@dataclass
class Text:
    """A text of a kernel, and for each of its lines the nodes that it computes, as positions in ``Kernel.nodes``; no
    lines where that is not known. Or a text of a graph, a line for each node: then ``nodes`` has positions in
    ``Plan.parts``, and ``sources`` the lines of what each node is computed from."""

    title: str
    text: str
    nodes: list[list[int]] = field(default_factory=list)
    sources: list[list[int]] = field(default_factory=list)


@dataclass
class Rewrite:
    """A step from the graph as recorded to the simplified one: the name of the ``rule`` and ``why`` it holds, the
    expression ``before`` and ``after``, and the line it comes from, as a position in ``Plan.parts``."""

    rule: str
    why: str
    before: str
    after: str
    part: int


@dataclass
class Code:
    """The texts of a kernel, from its schedule to machine code. ``steps``: a line for each stage's strategy."""

    texts: list[Text]
    steps: list[str] = field(default_factory=list)


@dataclass
class Plan:
    """A graph that ran. ``kernels``: from which to which position; ``how``: how its plan came about, and ``seconds``
    how long that took; ``difference``: to the graph most like it that had a plan. ``tier``: 0 if generic kernels ran
    it. ``graphs``: it as it was recorded, and simplified; ``parts``: the lines that its nodes come from, with their
    shares of the nodes; ``rewrites``: each step between the two, of ``rewritten`` in all; ``apart``: for each pair of
    neighbouring kernels why they are two. Bytes of a run: ``output_bytes`` it allocates for results,
    ``arena_bytes`` for what lies between kernels, where ``reused_bytes`` are saved as values take the memory of others,
    and ``donated_bytes`` as results overwrite what nobody needs any more."""

    device: str
    tier: int
    nodes: int
    outputs: int
    output_bytes: int
    arena_bytes: int
    reused_bytes: int
    donated_bytes: int
    kernels: tuple[int, int]
    how: str
    seconds: float
    difference: str = ""
    runs: int = 0
    graphs: list[Text] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    apart: list[str] = field(default_factory=list)
    rewrites: list[Rewrite] = field(default_factory=list)
    rewritten: int = 0


@dataclass
class Run:
    """A run of a plan: from ``at`` on, each of its kernels for so long, asked for by a ``call`` at a line. ``how``:
    ``"planned"``, ``"cached"``, ``"replayed"``, or ``"by the host"``, where NumPy or LAPACK computes what no kernel
    does, or an op of the NUMPY device. ``held``: bytes in use when it was over; ``owners``: pairs of a position in
    ``Report.owners`` and how many of them are its, for those for which that has changed since the run before.
    ``thread``: the number of the thread that asked, from 0 on."""

    at: float
    plan: int
    how: str
    file: int
    number: int
    call: str
    seconds: list[float]
    held: int
    owners: list[tuple[int, int]]
    thread: int = 0


@dataclass
class Owner:
    """What memory belongs to: a line of the program, whose values (``phase``: ``"forward"``) or gradients it holds, and
    what it is to the program, its ``role``: ``"parameter"``, ``"gradient"``, ``"optimizer state"`` or ``"value"``."""

    file: int
    number: int
    phase: str
    role: str


@dataclass
class Block:
    """A part of the program that has a name (``minigrad.profiler.record_function``): from ``at`` on, so many
    ``seconds``, in a thread."""

    name: str
    at: float
    seconds: float
    thread: int


@dataclass
class Line:
    """What a line of the program cost: ``forward`` and ``backward`` are seconds; ``kernels`` the positions of those it
    has a part in."""

    file: int
    number: int
    forward: float = 0.0
    backward: float = 0.0
    flops: float = 0.0
    bytes: float = 0.0
    launches: int = 0
    kernels: list[int] = field(default_factory=list)


@dataclass
class Before:
    """Another run, to compare with: of its ``lines`` the name of the file, the text and the seconds; of its ``kernels``
    the name, the launches and the seconds, those of one name together."""

    title: str
    seconds: float
    kernel_seconds: float
    settings: dict[str, str]
    lines: list[tuple[str, str, float]]
    kernels: list[tuple[str, int, float]]


@dataclass
class Report:
    """All of it. ``limits``: what this machine reaches, ``gflops`` in arithmetic and ``gbytes`` a second from memory,
    the most that NumPy or a kernel does; ``seconds`` of the program, and of its kernels; ``left_out``: runs that are
    counted but not listed; ``diverged``: why calls that had been followed were recorded after all, how often each.
    ``before``: the run that this one is compared with."""

    title: str
    seconds: float
    kernel_seconds: float
    limits: dict[str, float]
    settings: dict[str, str]
    files: list[File]
    lines: list[Line]
    kernels: list[Kernel]
    plans: list[Plan]
    runs: list[Run]
    codes: list[Code]
    diverged: list[tuple[str, int]]
    owners: list[Owner]
    blocks: list[Block] = field(default_factory=list)
    left_out: int = 0
    before: Before | None = None
    version: int = VERSION

    def plain(self) -> dict[str, Any]:
        """As dictionaries, lists, texts and numbers."""
        return asdict(self)
