"""Stage: everywhere. In: environment variables. Out: typed settings, read when they are asked for.
Every variable minigrad knows stands in ``SETTINGS``; the table in ``docs/`` is made from it.
Next: ``errors.py``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Setting:
    """One setting: its default (which also gives its type) and one sentence about it."""

    name: str
    default: int | str
    doc: str


SETTINGS: dict[str, Setting] = {
    s.name: s
    for s in (
        Setting("DEBUG", 0, "How much is printed when a graph is realised: 1 plans, 2 kernels with times, "
                            "3 loop nests, 4 generated source, 5 lazy graphs, 6 LLVM IR, 7 assembly."),
        Setting("DEVICE", "CPU", "The device of new tensors: CPU, CC, OPENCL, CUDA, NUMPY, or a package's; OPENCL:1 is "
                                 "the second of its kind."),
        Setting("THREADS", 0, "Threads of the CPU device; 0 takes one for each core this process may use. "
                              "Results are the same bits for any number."),
        Setting("CACHE", 1, "1 keeps plans and compiled kernels on disk, 0 does not."),
        Setting("CACHE_DIR", "", "The folder of compiled kernels; empty takes the user's cache folder."),
        Setting("TIERS", 1, "1 runs a new graph without compiling it where compiling would take longer than it saves; "
                            "0 compiles every graph, 2 none that can be run without (CPU device)."),
        Setting("VERIFY", 0, "1 checks every intermediate form after every pass. The tests run with 1."),
        Setting("REPLAY", 1, "0 records every call anew, even where the same calls were made before; for comparison."),
        Setting("TORCH_RNG", 0, "1 has dropout draw PyTorch's own masks from the generator, so that a seed gives its "
                                "numbers; 0 computes masks from a key, and stores none."),
        Setting("CC", "", "The C compiler of the CC device; empty takes cc, gcc or clang from the PATH."),
        Setting("CFLAGS", "", "Further flags for the CC device's compiler."),
        Setting("OPENCL_FORM", "", "Which kernels OpenCL devices take: cpu or gpu; empty goes by what the device is."),
        Setting("TORCH_HOME", "", "PyTorch's cache folder, in which minigrad.vision looks for weights "
                                  "(hub/checkpoints); empty takes ~/.cache/torch."),
        Setting("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "0", "1 makes load() restrict every pickle, whatever the call "
                                                      "says about weights_only."),
        Setting("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "0", "1 makes load() run pickles where the call does not say "
                                                         "weights_only=True."),
        Setting("ALLOW_TF32", 0, "1 lets CUDA devices multiply float32 matrices with 10 bits of mantissa; see "
                                 "minigrad.backends.cuda.matmul.allow_tf32."),
    )
}

_overrides: dict[str, int | str] = {}


def get(name: str) -> Any:
    """The value of setting ``name`` now: set here, else in the environment, else its default.

    >>> get("THREADS") >= 0
    True
    """
    if name in _overrides:
        return _overrides[name]
    setting = SETTINGS[name]
    if _raw is not None and _KEYS[name] not in _raw:
        return setting.default
    text = os.environ.get(name)
    if text is None or text == "":
        return setting.default
    if isinstance(setting.default, int):
        try:
            return int(text)
        except ValueError:
            raise ValueError(f"environment variable {name} should be an integer, got {text!r}") from None
    return text


# Settings are read at every run, and ``os.environ.get`` takes a microsecond to say that a variable is not set. Where
# CPython keeps the variables, under these keys, one look-up says so.
_raw: Any = getattr(os.environ, "_data", None)
_KEYS: dict[str, Any] = {name: name if os.name == "nt" else os.fsencode(name) for name in SETTINGS}


@contextmanager
def config(**settings: int | str) -> Iterator[None]:
    """Change settings for a ``with`` block; they are put back at its end.

    Raises ``ValueError`` for a name that is not a setting and ``TypeError`` for a value of the wrong type.

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


def assign(**settings: int | str) -> None:
    """Change settings for good, or until the end of a ``with config(...)`` block that has the same ones.

    Raises what ``config`` does.
    """
    for name, value in settings.items():
        if name not in SETTINGS:
            raise ValueError(f"unknown setting {name!r}; the settings are {', '.join(SETTINGS)}")
        if not isinstance(value, type(SETTINGS[name].default)):
            raise TypeError(f"setting {name} should be {type(SETTINGS[name].default).__name__}, got {value!r}")
    _overrides.update(settings)
