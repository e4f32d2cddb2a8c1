"""Stage: PyTorch programs. In: the command line. Out: a script, a module, a piece of code or a session at the prompt,
in which ``import torch`` finds minigrad.
Next: ``minigrad/__main__.py``.

    python -m minigrad.torch script.py [arguments …]
    python -m minigrad.torch -m package [arguments …]
    python -m minigrad.torch -c 'import torch; print(torch.rand(2))'
    python -m minigrad.torch
"""

from __future__ import annotations

import builtins
import code
import importlib
import os
import runpy
import sys
import traceback
from contextlib import suppress
from types import ModuleType, TracebackType
from typing import Any

import minigrad
from minigrad.torch import install
from minigrad.torch.version import __version__

USAGE = """usage: python -m minigrad.torch [script.py | -m module | -c code] [arguments ...]

Runs a PyTorch program by minigrad: `import torch` finds minigrad, nothing else changes. Without a program it opens a
Python prompt. `-` reads the program from standard input."""


def main(arguments: list[str]) -> int:
    """Run what the command line names; the exit status."""
    if arguments[:1] in (["-h"], ["--help"]):
        print(USAGE)
        return 0
    if arguments[:1] in (["-V"], ["--version"]):
        print(f"minigrad {minigrad.__version__}, torch {__version__}")
        return 0
    if arguments and arguments[0].startswith("-") and arguments[0] not in ("-m", "-c", "-"):
        print(f"{USAGE}\n\nunknown option {arguments[0]}", file=sys.stderr)
        return 2
    if arguments[:1] in (["-m"], ["-c"]) and len(arguments) < 2:
        print(f"{USAGE}\n\n{arguments[0]} needs an argument", file=sys.stderr)
        return 2
    install()
    if not arguments:
        return _prompt()
    return _guarded(arguments)


def _guarded(arguments: list[str]) -> int:
    """Run the program; an exception ends it as it would end Python, with a traceback that begins in the program."""
    try:
        _run(arguments)
    except SystemExit:
        raise
    except BaseException as error:
        error.__traceback__ = _of_the_program(error.__traceback__)
        sys.excepthook(type(error), error, error.__traceback__)
        return 130 if isinstance(error, KeyboardInterrupt) else 1
    return 0


def _run(arguments: list[str]) -> None:
    first, rest = arguments[0], arguments[1:]
    if first == "-m":
        sys.argv = rest
        sys.path[0:1] = [os.getcwd()]
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        return
    if first == "-c":
        sys.argv = ["-c", *rest[1:]]
        sys.path[0:1] = [""]
        _execute(rest[0], "<string>")
        return
    sys.argv = arguments
    if first == "-":
        sys.path[0:1] = [""]
        _execute(sys.stdin.read(), "<stdin>")
        return
    if os.path.isdir(first):  # a folder with a __main__.py
        if not os.path.isfile(os.path.join(first, "__main__.py")):
            raise SystemExit(f"python -m minigrad.torch: can't find '__main__' module in {first!r}")
        runpy.run_path(first, run_name="__main__")
        return
    path = os.path.abspath(first)  # as Python does: the program may change the folder
    try:
        with open(path, "rb") as file:
            source = file.read()
    except OSError as error:
        print(f"python -m minigrad.torch: can't open file {path!r}: [Errno {error.errno}] {error.strerror}",
              file=sys.stderr)
        raise SystemExit(2) from None
    sys.path[0:1] = [os.path.dirname(path)]
    _execute(source, path, __file__=path)


def _execute(source: str | bytes, name: str, **names: str) -> None:
    """Run a program as the module ``__main__``, so that what it pickles is found there. It gets none of the features
    that this file imports from ``__future__``."""
    module = ModuleType("__main__")
    module.__dict__.update(names, __builtins__=builtins)
    sys.modules["__main__"] = module
    exec(compile(source, name, "exec", dont_inherit=True), module.__dict__)


def _of_the_program(at: TracebackType | None) -> TracebackType | None:
    """A traceback without the frames that started the program; None where it did not start."""
    ours = (__file__, runpy.__file__)
    while at is not None and (at.tb_frame.f_code.co_filename in ours
                              or at.tb_frame.f_code.co_filename.startswith("<frozen ")):
        at = at.tb_next
    return at


def _prompt() -> int:
    """A Python prompt in which ``torch`` is there."""
    module = ModuleType("__main__")
    sys.modules["__main__"] = module
    names: dict[str, Any] = module.__dict__
    with suppress(ImportError):
        importlib.import_module("readline")  # editing and history, where Python has it
    exec("import torch", names)
    code.interact(f"Python {sys.version.split()[0]}, torch {__version__}", local=names, exitmsg="")
    return 0


if __name__ == "__main__":
    try:
        status = main(sys.argv[1:])
    except SystemExit:
        raise
    except Exception:
        traceback.print_exc()
        status = 1
    sys.exit(status)
