"""Stage: tests. In: ``pool.ll``. Out: what the thread sanitizer says about it, in a C program that stands in for
Python: runs of chained kernels, guarded and not, on pools that grow, with signals whose handlers raise, wait or
compute. The allocator has no native half: its free lists are Python's.
Next: ``__main__.py``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from minigrad.runtime import llvm
from minigrad.runtime.pool import Pool, source
from tools.sanitize.replay import Finding, compile_c, findings, run

DRIVER = Path(__file__).with_name("pool.c")
SIZES = {"ptr": 8, "i64": 8, "double": 8, "i32": 4, "i8": 1, "%kernel_arguments": 32}
ORDERS = {"monotonic": 0, "acquire": 2, "release": 3, "acq_rel": 4, "seq_cst": 5}

_ATOMIC_LOAD = re.compile(r"(%\S+) = load atomic i(\d+), ptr (\S+) (\w+), align \d+")
_ATOMIC_STORE = re.compile(r"store atomic i(\d+) (\S+), ptr (\S+) (\w+), align \d+")
_ATOMIC_CHANGE = re.compile(r"(%\S+) = atomicrmw (add|sub|max) ptr (\S+), i(\d+) (\S+) (\w+), align \d+")
_EXCHANGE = re.compile(r"(%\S+) = cmpxchg ptr (\S+), i(\d+) (\S+), i\d+ (\S+) (\w+) (\w+)")
_LOAD = re.compile(r"%\S+ = load (\S+), ptr (\S+)")
_STORE = re.compile(r"store (\S+) \S+, ptr (\S+)")
_MODE = re.compile(r"call void @llvm\.x86\.sse\.(st|ld)mxcsr\(ptr (\S+)\)")
_TOUCHES = re.compile(r"\b(load|store|atomicrmw|cmpxchg)\b|mxcsr\(ptr %")


def instrumented(text: str) -> str:
    """IR that tells the thread sanitizer of each access to memory, before it or instead of it. ``ValueError`` for one
    that it does not know.

    >>> print(instrumented("%a = load atomic i32, ptr %p acquire, align 4").partition(chr(10))[0])
    %a = call i32 @__tsan_atomic32_load(ptr %p, i32 2)
    """
    lines: list[str] = []
    opens = False  # in a function's first line
    for line in text.split("\n"):
        code = line.partition(";")[0].strip()
        if opens and not code.endswith(":"):
            lines.append("call void @__tsan_func_entry(ptr null)")
        opens = (opens and code.endswith(":")) or code.startswith("define ")
        if code.startswith("ret "):
            lines.append("call void @__tsan_func_exit()")
        lines += _told(code)
    return "\n".join([*lines, *_DECLARED])


def _told(code: str) -> list[str]:
    """A line, with what the sanitizer is told. The names of both forms of an exchange's result are kept."""
    if not _TOUCHES.search(code) or code.startswith("declare "):
        return [code]
    if m := _ATOMIC_LOAD.fullmatch(code):
        return [f"{m[1]} = call i{m[2]} @__tsan_atomic{m[2]}_load(ptr {m[3]}, i32 {ORDERS[m[4]]})"]
    if m := _ATOMIC_STORE.fullmatch(code):
        return [f"call void @__tsan_atomic{m[1]}_store(ptr {m[3]}, i{m[1]} {m[2]}, i32 {ORDERS[m[4]]})"]
    if m := _ATOMIC_CHANGE.fullmatch(code):
        name = "fetch_max" if m[2] == "max" else f"__tsan_atomic{m[4]}_fetch_{m[2]}"
        return [f"{m[1]} = call i{m[4]} @{name}(ptr {m[3]}, i{m[4]} {m[5]}, i32 {ORDERS[m[6]]})"]
    if m := _EXCHANGE.fullmatch(code):
        name, kind, orders = f"@__tsan_atomic{m[3]}_compare_exchange_val", f"i{m[3]}", (ORDERS[m[6]], ORDERS[m[7]])
        return [f"{m[1]}.was = call {kind} {name}(ptr {m[2]}, {kind} {m[4]}, {kind} {m[5]}, i32 {orders[0]}, "
                f"i32 {orders[1]})",
                f"{m[1]}.done = icmp eq {kind} {m[1]}.was, {m[4]}",
                f"{m[1]}.half = insertvalue {{ {kind}, i1 }} undef, {kind} {m[1]}.was, 0",
                f"{m[1]} = insertvalue {{ {kind}, i1 }} {m[1]}.half, i1 {m[1]}.done, 1"]
    if m := _LOAD.fullmatch(code):
        return [f"call void @__tsan_read_range(ptr {m[2]}, i64 {SIZES[m[1]]})", code]
    if m := _STORE.fullmatch(code):
        return [f"call void @__tsan_write_range(ptr {m[2]}, i64 {SIZES[m[1]]})", code]
    if m := _MODE.fullmatch(code):
        return [f"call void @__tsan_{'write' if m[1] == 'st' else 'read'}_range(ptr {m[2]}, i64 4)", code]
    raise ValueError(f"an access to memory that is not known: {code}")


_DECLARED = ["declare void @__tsan_func_entry(ptr)", "declare void @__tsan_func_exit()",
             "declare void @__tsan_read_range(ptr, i64)", "declare void @__tsan_write_range(ptr, i64)",
             "declare i64 @fetch_max(ptr, i64, i32)",
             *[line.format(n=n) for n in (32, 64) for line in (
                 "declare i{n} @__tsan_atomic{n}_load(ptr, i32)",
                 "declare void @__tsan_atomic{n}_store(ptr, i{n}, i32)",
                 "declare i{n} @__tsan_atomic{n}_fetch_add(ptr, i{n}, i32)",
                 "declare i{n} @__tsan_atomic{n}_fetch_sub(ptr, i{n}, i32)",
                 "declare i{n} @__tsan_atomic{n}_compare_exchange_val(ptr, i{n}, i{n}, i32, i32)")]]


def sanitize_pool(folder: Path, rounds: int, seed: int = 0, text: str = "") -> Iterator[Finding]:
    """What is found in so many rounds of the driver, with ``pool.ll`` as it is or other ``text``."""
    host = llvm.host()
    module = host.binding.parse_assembly(f'target datalayout = "{host.layout}" target triple = "{host.triple}" '
                                         + instrumented(text or source()))
    module.verify()
    code, program = folder / "pool.o", folder / "pool"
    code.write_bytes(host.machine(0).emit_object(module))
    unit = folder / "pool.c"
    unit.write_text(f"enum {{ CONTENTS = {llvm.CONTENTS}, POOL = {Pool.SIZE}, RECORD = {Pool.RECORD}, "
                    f"PHASE = {Pool.PHASE} }};\n" + DRIVER.read_text())
    done = compile_c([unit, code], program, "thread")
    if done.returncode:
        raise RuntimeError(f"the C does not compile: {done.stderr[:4000]}")
    done = run([program, str(rounds), str(seed)])
    yield from findings(done.stderr, "", {})
    if done.returncode:
        yield Finding(f"the program ended with code {done.returncode}", "", "", done.stderr[-3000:])
