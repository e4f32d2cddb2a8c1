"""Stage: tests. In: a program that fails. Out: a shorter one that fails, too.
Next: ``failure.py``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tools.fuzz.program import Program


def shrink(program: Program, still: Callable[[Program], bool]) -> Program:
    """The program without all statements that ``still`` does not need to hold, run once, with plain settings and on the
    the CPU device if that is enough, and with as few rounds as are."""
    place = {name: value for name, value in program.settings.items() if name == "DEVICE"}
    plain: dict[str, int | str] = {}
    for settings, times in ((plain, 1), (place, 1), (program.settings, 1), (plain, program.times),
                            (place, program.times)):
        simpler = replace(program, kinds=[], settings=settings, times=times)
        if still(simpler):
            program = simpler
            break
    if program.beside is not None and still(replace(program, beside=None)):
        program = replace(program, beside=None)
    program = _fewer_rounds(program, still)
    size = max(len(program.lines) // 2, 1)
    while True:
        at, smaller = 0, False
        while at < len(program.lines):
            shorter = replace(program, kinds=[], lines=program.lines[:at] + program.lines[at + size:])
            if shorter.lines and still(shorter):
                program, smaller = shorter, True
            else:
                at += size
        if size == 1 and not smaller:
            return _fewer_rounds(program, still)
        size = max(size // 2, 1)


def _fewer_rounds(program: Program, still: Callable[[Program], bool]) -> Program:
    for rounds in (1, 2, 3, 5, 10, program.rounds - 1):
        fewer = replace(program, rounds=rounds)
        if 0 < rounds < program.rounds and still(fewer):
            return fewer
    return program
