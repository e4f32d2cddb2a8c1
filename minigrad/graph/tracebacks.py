"""Stage: recording. In: an error that ends a program. Out: its traceback on the terminal, without the calls inside
minigrad, if minigrad raised it about what the program asked for: the line to look at is then the last one shown.
Next: ``origins.py``.

Only what Python prints of an error that nobody catches is shortened. The error keeps its whole traceback: debuggers,
pytest, notebooks, ``traceback.print_exc()`` and programs with a hook of their own see all of it. Nothing is done before
an error comes, so calls that succeed cost what they did.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from opcode import opmap
from types import TracebackType
from typing import TYPE_CHECKING

from minigrad import config
from minigrad.errors import VerifyError
from minigrad.graph.lines import is_ours

if TYPE_CHECKING:
    from traceback import TracebackException


def install() -> None:
    """Have errors that nobody catches printed by ``show``, unless the program, a debugger or a notebook has a way of
    its own."""
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = show


def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an error, in place of ``sys.excepthook``."""
    text = None
    with suppress(Exception):  # whatever is wrong with the shorter form, the error is shown
        if not config.get("TRACEBACK") and not config.get("DEBUG") and sys.stderr is not None:
            text = shortened(error, trace)
    if text is None:
        sys.__excepthook__(kind, error, trace)
    else:
        print(text, end="", file=sys.stderr)


def shortened(error: BaseException, trace: TracebackType | None) -> str | None:
    """An error as Python prints it, without the calls inside minigrad; None if all of it should be seen: minigrad did
    not raise it, or it is about minigrad itself, or no call but minigrad's is there.

    >>> import minigrad
    >>> try:
    ...     exec("minigrad.ones(3, 4) @ minigrad.ones(5, 6)", {"minigrad": minigrad, "__name__": "net"})
    ... except RuntimeError as error:
    ...     lines = shortened(error, error.__traceback__).splitlines()
    >>> lines[1], lines[-2]
    ('  File "<string>", line 1, in <module>', 'RuntimeError: mat1 and mat2 shapes cannot be multiplied (3x4 and 5x6)')
    """
    from traceback import TracebackException  # milliseconds, which only an error needs

    if isinstance(error, VerifyError) or not _was_raised_here(trace):
        return None
    made = TracebackException(type(error), error, trace)
    if trace is None or not (hidden := _without_ours(made, trace)):
        return None
    calls = f"{hidden} call{'s' * (hidden > 1)}"
    return "".join(made.format()) + f"({calls} inside minigrad not shown; MINIGRAD_TRACEBACK=1 shows all)\n"


def _was_raised_here(trace: TracebackType | None) -> bool:
    """Whether a ``raise`` of minigrad's is where the traceback ends: an error that merely happened there is a bug."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or not is_ours(trace.tb_frame):
        return False
    return trace.tb_frame.f_code.co_code[trace.tb_lasti] == opmap["RAISE_VARARGS"]


def _without_ours(made: TracebackException, trace: TracebackType) -> int:
    """Leave minigrad's calls out of a traceback, and those that run a module, ``python -m``; how many those are; 0, and
    nothing is left out, if they are all."""
    from traceback import StackSummary, walk_tb

    frames = [frame for frame, _ in walk_tb(trace)]
    shown = [not is_ours(frame) and frame.f_globals.get("__name__") != "runpy" for frame in frames]
    if True not in shown or len(shown) != len(made.stack):
        return 0
    made.stack = StackSummary.from_list([call for call, seen in zip(made.stack, shown, strict=True) if seen])
    return shown.count(False)
