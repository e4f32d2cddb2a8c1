"""Stage: tests. In: recorded launches. Out: what the sanitizers found when the same launches ran from the C that their
kernels render to, and which results differ from the recorded ones.
Next: ``pool.py``."""

from __future__ import annotations

import os
import re
import struct
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from minigrad.kernel.ir import Kernel
from minigrad.render import render_c
from minigrad.runtime.cc import compiler
from tools.sanitize.record import Launch, same_bits

COMMON = ("-g1", "-pthread", "-ffp-contract=off", "-fno-strict-aliasing")
MODES = {
    "warnings": ("-O2", "-Wall", "-Werror"),
    "address": ("-O0", "-w", "-fsanitize=address,undefined,float-cast-overflow", "-fsanitize-recover=all"),
    "thread": ("-O0", "-w", "-fsanitize=thread"),
}
"""What a run looks for, and the compiler's flags. Without optimisation nothing wrong is optimised away."""

SANITIZERS = ("address", "thread")

SETTINGS = {"ASAN_OPTIONS": "detect_leaks=0:halt_on_error=0", "UBSAN_OPTIONS": "print_stacktrace=0",
            "TSAN_OPTIONS": "halt_on_error=0:exitcode=0:history_size=2"}
LENGTH = 100_000
"""Characters of kernels in one program; the compiler takes more than its share of time and memory for longer ones."""

DRIVER = Path(__file__).with_name("driver.c")


@dataclass(frozen=True)
class Finding:
    """``kind``: in the sanitizer's words, without the numbers; ``line``: of the C that it points at; ``source``: who
    launched the kernel, as far as that is known; ``report``: the beginning of what was printed."""

    kind: str
    line: str
    source: str
    report: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.line}\n  ({self.source})\n{self.report}"


def missing(folder: Path, mode: str) -> str:
    """Why the C compiler can't do this, or nothing."""
    if compiler() is None:
        return "no C compiler: cc, gcc and clang are not on the PATH"
    source = folder / "empty.c"
    source.write_text("int main(void) { return 0; }\n")
    done = compile_c([source], folder / "empty", mode)
    if done.returncode:
        return f"the C compiler has no {mode} sanitizer: {done.stderr.strip().splitlines()[-1]}"
    done = run([folder / "empty"])
    return f"programs with the {mode} sanitizer do not run: {done.stderr[:200]}" if done.returncode else ""


def compile_c(files: Sequence[Path], output: Path, mode: str) -> subprocess.CompletedProcess[str]:
    """Compile and link with the flags of a mode."""
    command = compiler()
    assert command is not None
    return subprocess.run([*command, *COMMON, *MODES[mode], *map(str, files), "-o", str(output), "-lm"],
                          capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)


def run(command: Sequence[Path | str], seconds: float = 1200) -> subprocess.CompletedProcess[str]:
    """Run a program that was compiled so."""
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, errors="replace",
                          stdin=subprocess.DEVNULL, env=os.environ | SETTINGS, timeout=seconds)


def replay(launches: Sequence[Launch], folder: Path, mode: str) -> Iterator[Finding]:
    """What is found when the launches run again from C. Raises ``RuntimeError`` if that can't be done."""
    of_each: dict[Kernel, list[Launch]] = {}
    for launch in launches:
        of_each.setdefault(launch.kernel, []).append(launch)
    together: list[Kernel] = []
    length = 0
    for kernel in of_each:
        together.append(kernel)
        length += len(render_c([kernel]))
        if length > LENGTH:
            yield from _replay({kernel: of_each[kernel] for kernel in together}, folder, mode)
            together, length = [], 0
    if together:
        yield from _replay({kernel: of_each[kernel] for kernel in together}, folder, mode)


def _replay(of_each: dict[Kernel, list[Launch]], folder: Path, mode: str) -> Iterator[Finding]:
    """The launches of each kernel, as one program."""
    named = [replace(kernel, name=f"k{i}_{kernel.name}") for i, kernel in enumerate(of_each)]
    source, program, script, results = (folder / name for name in ("program.c", "program", "script", "results"))
    text = render_c(named) + _table(named) + DRIVER.read_text()
    source.write_text(text)
    done = compile_c([source], program, mode)
    if done.returncode:
        raise RuntimeError(f"{folder}: the C does not compile: {done.stderr[:4000]}")
    launches = [(i, launch) for i, some in enumerate(of_each.values()) for launch in some]
    with open(script, "wb") as file:
        file.write(_numbers(len(launches)))
        for position, launch in launches:
            file.write(_instructions(launch, position))
    done = run([program, script, results])
    yield from findings(done.stderr, text, {kernel.name: some[0].source for kernel, some in zip(
        named, of_each.values(), strict=True)})
    if done.returncode:
        yield Finding(f"the program ended with code {done.returncode}", "", "", done.stderr[-3000:])
    else:
        yield from _differences([launch for _, launch in launches], results)


def _table(kernels: Sequence[Kernel]) -> str:
    names = ", ".join(kernel.name for kernel in kernels)
    return ("\ntypedef void kernel_function(void **, const int64_t *, int64_t, int64_t);\n"
            f"static kernel_function *const kernels[] = {{{names}}};\n")


def _numbers(*values: int) -> bytes:
    return struct.pack(f"={len(values)}q", *values)


def _instructions(launch: Launch, kernel: int) -> bytes:
    """What ``launch()`` of the driver reads."""
    parts = [_numbers(kernel, launch.iterations, len(launch.blocks), len(launch.arrays), len(launch.scalars))]
    for block in launch.blocks:
        parts += [_numbers(block.shift, len(block.before)), block.before]
    parts += [_numbers(block, start) for block, start, _ in launch.arrays]
    return b"".join([*parts, *launch.scalars])


def _differences(launches: Sequence[Launch], results: Path) -> Iterator[Finding]:
    """Launches that did not give what was recorded, to the bit."""
    data, position = memoryview(results.read_bytes()), 0
    for launch in launches:
        blocks = []
        for block in launch.blocks:
            blocks.append(data[position:position + len(block.after)])
            position += len(block.after)
        for at, start, size, dtype in launch.written():
            found, recorded = [np.frombuffer(x[start:start + size], dtype.numpy)
                               for x in (blocks[at], memoryview(launch.blocks[at].after))]
            if not same_bits(found, recorded, dtype):
                yield Finding("another result than the recorded one", launch.kernel.name, launch.source,
                              render_c([launch.kernel]))
                break
    assert position == len(data)


_PLACE = re.compile(r"program\.c:(\d+)")
_UNDEFINED = re.compile(r"program\.c:\d+:\d+: runtime error: (.*)")
_OTHER = re.compile(r"(?:ERROR: AddressSanitizer|WARNING: ThreadSanitizer): (.+?)(?: on | \(|$)")


def findings(output: str, text: str, sources: dict[str, str]) -> Iterator[Finding]:
    """What sanitizers printed about a program's ``text``, report by report."""
    lines, reports = text.split("\n"), output.split("\n")
    for i, line in enumerate(reports):
        undefined, other = _UNDEFINED.search(line), _OTHER.search(line)
        if undefined is None and other is None:
            continue
        kind = re.sub(r"0x[0-9a-f]+|-?\d+(\.\d+)?(e[+-]?\d+)?|-?(inf|nan)\b", "N", undefined[1]) if undefined else ""
        report = "\n".join(reports[i:i + (1 if undefined else 25)])
        place = _PLACE.search(report)
        number = int(place[1]) - 1 if place else 0
        yield Finding(kind or (other[1] if other else ""), lines[number].strip(), _launcher(lines, number, sources),
                      report)


def _launcher(lines: Sequence[str], number: int, sources: dict[str, str]) -> str:
    """Who launched the kernel that a line of the program stands in."""
    for line in reversed(lines[:number + 1]):
        head = re.match(r"void (k\d+_\w+)\(", line)
        if head:
            return f"{sources.get(head[1], '')}, kernel {head[1]}"
        if line.startswith("static "):
            return "a function that kernels call"
    return ""
