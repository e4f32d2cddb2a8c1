"""Stage: front. In: how this Python lays out objects. Out: ``follow.ll`` as a function: what ``Trace.follow`` does for
a call that is known to come next, in a fifth of the time. It is made when a program first repeats itself. Where the
layout is not what follow.ll assumes there is none, and ``Trace.follow`` does it all.
Next: ``unfold.py``."""

from __future__ import annotations

import ctypes
import re
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minigrad.config import FREE_THREADED
from minigrad.dtype import float32
from minigrad.graph.lazy import LazyBuffer
from minigrad.runtime import llvm
from minigrad.runtime.buffer import Buffer
from minigrad.tensor.base import TensorBase, made
from minigrad.tensor.entry import Entry
from minigrad.tensor.looks import look_at
from minigrad.tensor.replay import Trace


def quicken() -> None:
    """Have calls followed by compiled code from now on, if that is possible."""
    Trace.quickened = True
    function = quick_function()
    if function is not None:
        Trace.quick = function


def quick_function() -> Callable[..., Any] | None:
    """The compiled function; None where it can't be."""
    if sys.implementation.name != "cpython" or FREE_THREADED:
        return None
    places = _places(_examples())
    if places is None:
        return None
    text = (Path(__file__).parent / "follow.ll").read_text(encoding="utf-8")
    text = re.sub(r"\b[A-Z]{2,}(?:_[A-Z]+)*\b(?=[,)\n])", lambda word: str(places[word.group()]), text)
    module = llvm.compile_text(text, ("mg_follow",))
    known = (None, False, tuple, TensorBase, Trace.tensor_class, object.__new__, 0, look_at)
    function = llvm.python_function(module.addresses["mg_follow"], struct.pack("8q", *[id(x) for x in known]))
    _kept.append((module, known))
    return function


_kept: list[Any] = []  # what the functions refer to by address


def _examples() -> dict[str, tuple[Any, tuple[str, ...]]]:
    """By word, an object of each class, and the names of its slots that follow.ll reads."""
    lazy = LazyBuffer.from_buffer(Buffer("CPU", 0), (), float32, "CPU")
    tensor = made(lazy)
    tensor._slot, tensor._owner = 0, None
    return {
        "TENSOR": (tensor, ("_tag", "_slot", "_spec", "_look", "_storage", "_owner")),
        "STORAGE": (tensor._storage, ("lazy",)),
        "LAZY": (lazy, ("buffer", "readers")),
        "BUFFER": (lazy.buffer, ("exports",)),
        "TRACE": (Trace(Entry()), ("tag", "entry", "path", "values", "holders", "specs", "leaves", "tracked",
                                   "numbers")),
        "ENTRY": (Entry(), ("first", "key", "next", "hopeless", "specs")),
    }


class _Member(ctypes.Structure):
    """Python's PyMemberDef: what a slot is."""

    _fields_ = (("name", ctypes.c_char_p), ("kind", ctypes.c_int), ("offset", ctypes.c_ssize_t))


def _places(examples: dict[str, tuple[Any, tuple[str, ...]]]) -> dict[str, int] | None:
    """The number for each word of follow.ll; None if some is not where it should be."""
    pointer = ctypes.sizeof(ctypes.c_void_p)
    places = {"CONTENTS": llvm.CONTENTS, "TYPE": object.__basicsize__ - pointer}
    for word, (example, names) in examples.items():
        if _at(example, places["TYPE"]) != id(type(example)):
            return None
        for name in names:
            slot = next(c.__dict__[name] for c in type(example).__mro__ if name in c.__dict__)
            # after the header of an object: the class, two names, the member
            member = _Member.from_address(_at(slot, object.__basicsize__ + 3 * pointer))
            if _at(example, member.offset) != id(getattr(example, name)):
                return None
            places[f"{word}_{name.strip('_').upper()}"] = member.offset
    return places


def _at(thing: Any, offset: int) -> int:
    """The address that lies in an object."""
    return ctypes.c_void_p.from_address(id(thing) + offset).value or 0

