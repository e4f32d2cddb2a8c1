"""Stage: front. In: what comes between a thread's calls: a change of autograd's side of a Tensor, a setting that
changes, an error that asks for lines. Out: the calls so far are recorded, or a new trace begins, or their lines are
noted.
Next: ``entry.py``."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from minigrad import config
from minigrad.graph.lines import recorders, remember
from minigrad.tensor.replay import OFF, thread

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


def leave_trace(t: Tensor, why: str) -> None:
    """Before autograd's side of a Tensor is changed: record the calls so far, which have seen it as it is."""
    trace = thread.trace
    if trace.state != OFF and (t._tag == trace.tag or any([trace.holders[slot] is t for slot in trace.entry.through])):
        trace.stop(why)


def stop_trace(why: str) -> None:
    """Record what follows in the ordinary way: no run of it can be replayed."""
    trace = thread.trace
    if trace.state != OFF:
        trace.stop(why)


def note_calls() -> None:
    """Note in which calls the results of this thread's trace were made."""
    trace = thread.trace
    for entry in trace.path:
        if entry.line is not None and entry.body is not None:
            for value in trace.values[entry.first:entry.first + len(entry.specs)]:
                if value is not None:
                    remember(value, (entry.line, entry.body))


def settings_changed(names: Collection[str]) -> None:
    """Settings were changed here."""
    if "WINOGRAD" in names:
        thread.turn()


recorders.append(note_calls)
config.listeners.append(settings_changed)
