"""Stage: everywhere. In: environment variables. Out: typed settings, read when they are asked for.
Every variable minigrad knows stands in ``SETTINGS``; the table in ``docs/`` is made from it.
Next: ``records.py``."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from minigrad.records import Record

FREE_THREADED = "t" in getattr(sys, "abiflags", "") or not getattr(sys, "_is_gil_enabled", lambda: True)()
"""Whether this is a Python whose threads run at once, also when some module has brought the interpreter's lock back:
that may be for a moment only."""

WORDS = {"false": 0, "no": 0, "off": 0, "true": 1, "yes": 1, "on": 1}


class Setting(Record):
    """One setting: its default (which also gives its type) and one sentence about it. A number is from 0 to ``last``,
    or one of ``words``; a text is one of ``choices``, if there are any. The environment variable is its name behind
    ``MINIGRAD_``; a ``short`` one is heard without that, too."""

    name: str
    default: int | str
    doc: str
    last: int | None = 1
    words: Mapping[str, int] = WORDS
    choices: tuple[str, ...] = ()
    short: bool = False

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables that it is read from, the first that is set."""
        return (f"MINIGRAD_{self.name}", self.name) if self.short else (f"MINIGRAD_{self.name}",)

    @property
    def accepted(self) -> str:
        """What it may be, for people."""
        if self.choices:
            return " or ".join(self.choices)
        if isinstance(self.default, str):
            return "a text"
        numbers = "a number from 0" + ("" if self.last is None else f" to {self.last}")
        return f"{numbers}, or one of {', '.join(self.words)}"

    def parse(self, text: str) -> int | str:
        """The value that a text stands for. ``ValueError`` if it stands for none."""
        plain = text.strip().lower()
        if isinstance(self.default, str):
            value: int | str = plain if self.choices else text
        elif plain in self.words:
            value = self.words[plain]
        elif plain.isdecimal():
            value = int(plain)
        else:
            raise ValueError(f"expected {self.accepted}")
        self.check(value)
        return value

    def check(self, value: int | str) -> None:
        """``ValueError`` if the setting can't have this value."""
        if isinstance(value, int) and (value < 0 or (self.last is not None and value > self.last)):
            raise ValueError(f"expected {self.accepted}")
        if self.choices and value not in self.choices and value != self.default:
            raise ValueError(f"expected {self.accepted}")


SETTINGS: dict[str, Setting] = {
    s.name: s
    for s in (
        Setting("DEBUG", 0, "How much is printed when a graph is realised: 1 plans, 2 kernels with times, 3 loop "
                            "nests, 4 generated source, 5 lazy graphs, 6 LLVM IR, 7 assembly.", 7, short=True),
        Setting("DEVICE", "CPU", "The device of new tensors: CPU, CC, OPENCL, CUDA, NUMPY, or a package's; OPENCL:1 is "
                                 "the second of its kind.", short=True),
        Setting("THREADS", 0, "Threads of the CPU device; 0 takes one for each core this process may use. "
                              "Results are the same bits for any number.", None, {"auto": 0}, short=True),
        Setting("CACHE", 1, "1 keeps plans and compiled kernels on disk, 0 does not."),
        Setting("CACHE_LIMIT", 256, "MiB that compiled kernels may take on disk; what was used longest ago goes first.",
                None),
        Setting("CACHE_DIR", "", "The folder of compiled kernels; empty takes the user's cache folder."),
        Setting("TIERS", 1, "1 runs a new graph without compiling it where compiling would take longer than it saves; "
                            "0 compiles every graph, 2 none that can be run without (CPU device).", 2),
        Setting("CODEGEN", 2, "How hard LLVM works on the code of the CPU device's kernels, from 0 to 3; 0 takes less "
                              "than half of the time, for code that keeps every value in memory.", 3),
        Setting("VERIFY", 0, "1 checks every intermediate form after every pass. The tests run with 1."),
        Setting("STEPS", "", "Steps for kernels, in place of those that are chosen; see minigrad.steps."),
        Setting("BEAM", 0, "Search for faster loops of each new kernel, from so many at a time; 0 does not search. "
                           "What is found is kept on disk.", None, short=True),
        Setting("BEAM_SECONDS", 10, "How long the search for one kernel may take.", None),
        Setting("REPLAY", 1, "0 records every call anew, even where the same calls were made before; for comparison."),
        Setting("TORCH_RNG", 0, "1 has dropout draw PyTorch's own masks from the generator, so that a seed gives its "
                                "numbers; 0 computes masks from a key, and stores none."),
        Setting("TRACEBACK", 0, "1 shows the calls inside minigrad in the traceback of an error that ends a program; 0 "
                                "leaves them out where minigrad raised it, unless DEBUG is set."),
        Setting("CC", "", "The C compiler of the CC device; empty takes cc, gcc or clang from the PATH."),
        Setting("CFLAGS", "", "Further flags for the CC device's compiler."),
        Setting("OPENCL_FORM", "", "Which kernels OpenCL devices take: cpu or gpu; empty goes by what the device is.",
                choices=("cpu", "gpu")),
        Setting("TORCH_HOME", "", "PyTorch's cache folder, in which minigrad.vision looks for weights "
                                  "(hub/checkpoints); empty takes ~/.cache/torch.", short=True),
        Setting("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "0", "1 makes load() restrict every pickle, whatever the call "
                                                      "says about weights_only.", short=True),
        Setting("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "0", "1 makes load() run pickles where the call does not say "
                                                         "weights_only=True.", short=True),
        Setting("WINOGRAD", 0, "1 computes float32 convolutions of 3 x 3 neighbours, and the gradients of inputs, "
                               "by Winograd's F(2x2, 3x3) where that costs less, on processors: 2.25 times fewer "
                               "products, of sums. An error is about as large, but relative to the largest of 4 x 4 "
                               "places; and where the sum is infinite, this may be NaN."),
        Setting("ALLOW_TF32", 0, "1 lets CUDA devices multiply float32 matrices with 10 bits of mantissa; see "
                                 "minigrad.backends.cuda.matmul.allow_tf32."),
    )
}

_overrides: dict[str, int | str] = {}
_changes: dict[str, int] = {}

listeners: list[Callable[[Collection[str]], None]] = []
"""Who is told of settings that are changed here, by their names: what was done before may not do any more."""


def get(name: str) -> Any:
    """The value of setting ``name`` now: set here, else in the environment, else its default.

    >>> get("THREADS") >= 0
    True
    """
    here = _overrides.get(name)
    if here is not None:
        return here
    for variable, key in _KEYS[name]:
        text = _variables.get(key)
        if text:
            return _parsed(name, variable, text)
    return SETTINGS[name].default


@lru_cache
def _parsed(name: str, variable: str, text: str | bytes) -> Any:
    """The value of a setting whose variable has this text. ``ValueError`` if the text stands for none."""
    said = os.fsdecode(text)
    try:
        return SETTINGS[name].parse(said)
    except ValueError as error:
        raise ValueError(f"environment variable {variable}={said!r}: {error}") from None


# Settings are read at every run, and ``os.environ.get`` takes a microsecond. Where CPython keeps the variables, under
# these keys, one look-up says whether one is set.
_variables: Any = getattr(os.environ, "_data", os.environ)
_KEYS: dict[str, list[tuple[str, Any]]] = {
    name: [(v, v if os.name == "nt" or _variables is os.environ else os.fsencode(v)) for v in setting.variables]
    for name, setting in SETTINGS.items()}


def quiet() -> bool:
    """Whether nobody has set ``DEBUG``, ``STEPS`` or ``REPLAY``, here or in the environment: what runs at every step
    need not ask for each.

    >>> with config(DEBUG=1):
    ...     quiet()
    False
    """
    return (not _overrides or _ASKED.isdisjoint(_overrides)) and _none_set(_ASKED_KEYS)


_ASKED = frozenset(("DEBUG", "STEPS", "REPLAY"))
_ASKED_KEYS = tuple([key for name in sorted(_ASKED) for _, key in _KEYS[name]])
_none_set = _variables.keys().isdisjoint


def replays() -> bool:
    """Whether calls that were made before may run again as they ran then: unless ``REPLAY`` forbids it, or ``STEPS``
    says that kernels are to be made in another way.

    >>> with config(REPLAY=0):
    ...     replays()
    False
    """
    return quiet() or (bool(get("REPLAY")) and not get("STEPS"))


def say(*lines: str) -> None:
    """Print what ``DEBUG`` asks for. If the reader goes away, as in ``python program.py | head``, the program ends
    without a word, as others do."""
    try:
        print(*lines, sep="\n", flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is still to be written at the end
        raise SystemExit(128 + 13) from None  # as if by the signal SIGPIPE


def check_environment() -> None:
    """``ValueError`` for a variable whose value is none of its setting's: said when minigrad is imported, not by the
    first kernel that asks. A variable ``MINIGRAD_…`` that no setting has is warned of: it may be misspelt."""
    for name in SETTINGS:
        get(name)
    read = {variable for setting in SETTINGS.values() for variable in setting.variables}
    for variable in os.environ:
        if variable.startswith("MINIGRAD_") and variable not in read:
            import difflib  # a millisecond, which only the rare case needs

            close = difflib.get_close_matches(variable, read, 1, cutoff=0.8)
            hint = f"; did you mean {close[0]}?" if close else ""
            warnings.warn(f"minigrad reads no environment variable {variable}{hint}", stacklevel=3)


@contextmanager
def config(**settings: int | str) -> Iterator[None]:
    """Change settings for a ``with`` block; they are put back at its end.

    Raises ``ValueError`` for a name that is not a setting or a value that it can't have, ``TypeError`` for one of the
    wrong type.

    >>> with config(DEBUG=0, THREADS=1):
    ...     get("THREADS")
    1
    """
    before = {name: _overrides[name] for name in settings if name in _overrides}
    assign(**settings)
    try:
        yield
    finally:
        for name in settings:
            _overrides.pop(name, None)
        _overrides.update(before)
        _count(settings)


def assign(**settings: int | str) -> None:
    """Change settings for good, or until the end of a ``with config(...)`` block that has the same ones.

    Raises what ``config`` does.
    """
    for name, value in settings.items():
        if name not in SETTINGS:
            raise ValueError(f"unknown setting {name!r}; the settings are {', '.join(SETTINGS)}")
        if not isinstance(value, type(SETTINGS[name].default)):
            raise TypeError(f"setting {name} should be {type(SETTINGS[name].default).__name__}, got {value!r}")
        try:
            SETTINGS[name].check(value)
        except ValueError as error:
            raise ValueError(f"setting {name}={value!r}: {error}") from None
    _overrides.update(settings)
    _count(settings)


def changes(name: str) -> int:
    """How often the setting was set here: what was done once may be due again when it was.

    >>> before = changes("DEBUG")
    >>> with config(DEBUG=0):
    ...     changes("DEBUG") - before
    1
    """
    return _changes.get(name, 0)


def _count(names: Collection[str]) -> None:
    for name in names:
        _changes[name] = _changes.get(name, 0) + 1
    for listener in listeners:
        listener(names)
