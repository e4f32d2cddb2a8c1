import gc
import multiprocessing
import os
import subprocess
import sys

import numpy as np
import pytest

import minigrad
from minigrad import config
from minigrad.errors import CompileError
from minigrad.runtime import llvm
from minigrad.runtime.device import CompiledKernel
from minigrad.runtime.native import Step


def run_add(device, program, n=10, s=2.5):
    x, y = np.arange(float(n)), np.zeros(n)
    device.native([Step(program, (0, 1), (0,), n)], 2, "d").run([x.ctypes.data, y.ctypes.data], [s])
    return y


def test_text_becomes_functions(cpu, add_text):
    programs = cpu.compile_text(add_text("one") + add_text("two"), ["two", "one"])
    assert [p.name for p in programs] == ["two", "one"]
    for program in programs:
        assert run_add(cpu, program).tolist() == (np.arange(10.0) + 2.5).tolist()


def test_the_same_text_is_compiled_once(cpu, add_text):
    a, b = (cpu.compile_text(add_text("same"), ["same"])[0] for _ in range(2))
    assert a.address == b.address and a.owner is b.owner


def test_a_setting_says_how_hard_llvm_works(cpu, add_text):
    programs = []
    for level in (2, 0, 0):
        with config(CODEGEN=level):
            programs.append(cpu.compile_text(add_text("worked"), ["worked"])[0])
    usual, quick, again = programs
    assert quick.owner is again.owner and quick.owner is not usual.owner
    assert len({run_add(cpu, program).tobytes() for program in programs}) == 1


def test_the_disk_cache_serves_the_next_process(cpu, add_text, cache_dir):
    text = add_text("kept")
    program, = cpu.compile_text(text, ["kept"])
    assert not program.owner.cached
    llvm._loaded.clear()
    again, = cpu.compile_text(text, ["kept"])
    assert again.owner.cached and run_add(cpu, again)[1] == 3.5


@pytest.mark.parametrize("damage", [lambda data: data[:len(data) // 2], lambda data: b"", lambda data: b"text" * 50])
def test_a_damaged_object_is_compiled_again(cpu, add_text, cache_dir, damage):
    text = add_text("damaged")
    cpu.compile_text(text, ["damaged"])
    llvm._loaded.clear()
    path, = (cache_dir / "objects").glob("?" * 64)
    path.write_bytes(damage(path.read_bytes()))
    again, = cpu.compile_text(text, ["damaged"])
    assert not again.owner.cached and run_add(cpu, again)[1] == 3.5
    llvm._loaded.clear()
    assert cpu.compile_text(text, ["damaged"])[0].owner.cached


def test_an_intact_entry_that_is_no_object_is_compiled_again(cpu, add_text, cache_dir):
    text = add_text("foreign")
    cpu.compile_text(text, ["foreign"])
    llvm._loaded.clear()
    path, = (cache_dir / "objects").glob("?" * 64)
    other = llvm._emit(add_text("something_else"), ("something_else",), "CPU", (), 2)
    for payload in (b"no object at all", other):
        llvm.cache.store(path.name, payload)
        again, = cpu.compile_text(text, ["foreign"])
        assert not again.owner.cached and run_add(cpu, again)[1] == 3.5
        llvm._loaded.clear()


def _compile_in_child(barrier, text, folder, results):
    from minigrad.runtime.device import get_device

    with config.config(CACHE=1, CACHE_DIR=folder):
        device = get_device("CPU")
        barrier.wait(60)
        for i in range(5):
            name = f"shared{i}"
            program, = device.compile_text(text.replace("NAME", name), [name])
            results.put(run_add(device, program)[1])


def test_two_processes_may_write_the_same_entry(add_text, cache_dir):
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    arguments = (barrier, add_text("NAME"), str(cache_dir), results)
    children = [context.Process(target=_compile_in_child, args=arguments) for _ in range(2)]
    for child in children:
        child.start()
    found = [results.get(timeout=60) for _ in range(10)]
    for child in children:
        child.join(60)
    assert found == [3.5] * 10 and [child.exitcode for child in children] == [0, 0]
    # The entries of the five texts and of pool.ll, and nothing half-written.
    assert len(list((cache_dir / "objects").glob("?" * 64))) == 6


def test_a_syntax_error_names_device_kernel_and_source(cpu, add_text):
    broken = add_text("broken").replace("fadd double %x, %s", "fadd double %x, %t")
    with pytest.raises(CompileError) as caught:
        cpu.compile_text(add_text("fine") + broken, ["fine", "broken"])
    message = str(caught.value)
    assert message.startswith("device CPU cannot compile kernel broken: ") and "use of undefined value '%t'" in message
    assert "@broken" in message and "@fine" not in message


def test_verify_finds_what_parsing_does_not(cpu):
    text = """
define void @loose(ptr %a, ptr %s, i64 %b, i64 %e) {
entry:
  br i1 true, label %x, label %y
x:
  %v = add i64 %b, 1
  br label %y
y:
  %w = add i64 %v, 1
  ret void
}"""
    with pytest.raises(CompileError, match="does not dominate all uses"):
        cpu.compile_text(text, ["loose"])


def test_unknown_functions_are_refused_before_anything_is_called(cpu):
    with pytest.raises(CompileError, match="kernel k: it calls 'system', which kernels may not call"):
        cpu.compile_text("declare i32 @system(ptr)\ndefine void @k(ptr %a, ptr %s, i64 %b, i64 %e) {\n"
                         "  %r = call i32 @system(ptr %a)\n  ret void\n}", ["k"])


def test_a_helper_that_code_generation_calls_is_refused_too(cpu):
    """Division of 128-bit integers is a call of __udivti3, which appears in no declaration."""
    with pytest.raises(CompileError, match="kernel k: its code does not link"):
        cpu.compile_text("define void @k(ptr %a, ptr %s, i64 %b, i64 %e) {\n  %x = load i128, ptr %s\n"
                         "  %y = udiv i128 %x, 7777777777777777777777\n  %z = udiv i128 %x, %y\n"
                         "  store i128 %z, ptr %a\n  ret void\n}", ["k"])


def test_functions_of_the_list_may_be_called(cpu):
    text = """
declare double @fmod(double, double)
define void @remainder(ptr %arrays, ptr %s, i64 %b, i64 %e) {
  %p = load ptr, ptr %arrays
  %x = load double, ptr %p
  %y = call double @fmod(double %x, double 3.0)
  store double %y, ptr %p
  ret void
}"""
    program, = cpu.compile_text(text, ["remainder"])
    x = np.array([-7.5])
    cpu.native([Step(program, (0,))], 1).run([x.ctypes.data])
    assert x[0] == -1.5


def test_a_remainder_of_nan_is_nan_whatever_llvm_knows_of_the_operands():
    """A number by 0 is infinite or NaN and so is never 0; LLVM concluded that a remainder by it is a number. Its pass
    that combines instructions runs where the sign of a number is asked for, as it is in fmod()."""
    a, b = minigrad.tensor([0.0, 1.0, -2.0, 0.5, 0.0]).double(), minigrad.tensor([2.0, 1.0, 3.0, -4.0, 0.5]).double()
    for remainder in (minigrad.remainder, minigrad.fmod):
        found = remainder(minigrad.zeros(5).double(), a.fmod(b) / 0.0)
        assert found.isnan().tolist() == [True, True, False, False, True]


def test_a_missing_function_is_an_error(cpu, add_text):
    with pytest.raises(CompileError, match="kernel other: the source does not define it"):
        cpu.compile_text(add_text("add"), ["other"])


def test_after_an_error_everything_still_works(cpu, add_text):
    with pytest.raises(CompileError):
        cpu.compile_text("nonsense", ["nonsense"])
    assert run_add(cpu, cpu.compile_text(add_text("after"), ["after"])[0])[1] == 3.5


def test_assembly_can_be_read(cpu, add_text):
    assert "add:" in cpu.assembly(add_text()) and "ret" in cpu.assembly(add_text())


def test_the_target_is_this_machines(cpu):
    assert cpu.target.vector_bytes in (8, 16, 32, 64) and cpu.target.l1 < cpu.target.l2
    assert cpu.target is cpu.target


def test_llvmlite_is_imported_at_the_first_compilation(python):
    assert python("""
import sys
import minigrad.runtime.cpu, minigrad.runtime.native, minigrad.runtime.cc
print("llvmlite" in sys.modules)
minigrad.runtime.cpu.CpuDevice().target
print("llvmlite" in sys.modules)
""") == "False\nTrue\n"


def test_a_session_goes_with_the_last_of_its_code(cpu, add_text, monkeypatch):
    """A linker remembers every library: it is given up when it has made some, and freed when no code of it is left."""
    monkeypatch.setattr(llvm, "LIBRARIES", 4)
    host = llvm.host()
    monkeypatch.setattr(host, "session", None)
    text = add_text("kept")
    code = llvm._emit(text, ("kept",), "CPU", (), 2)
    first = llvm._link("", code, ("kept",), False)
    closed = []
    dispose = type(host.session.jit)._dispose
    monkeypatch.setattr(type(host.session.jit), "_dispose", lambda self: (closed.append(1), dispose(self)))
    for _ in range(11):
        module = llvm._link("", code, ("kept",), False)
    assert len(closed) == 1, "three sessions, of which the second had no module left when it was full"
    program = llvm_program("kept", first)
    assert run_add(cpu, program)[1] == 3.5
    del first, program
    gc.collect()
    assert len(closed) == 2 and module.addresses["kept"]


def llvm_program(name, module):
    return CompiledKernel(name, module.addresses[name], "", None, module)


_AT_THE_END = """
import ctypes, gc, types
import minigrad
for _ in range(4):
    (minigrad.ones(3) + 1).realize()
compiled = [o for o in gc.get_objects() if type(o) is types.BuiltinFunctionType and o.__name__ == "compiled"]
for function in compiled:
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(function))
assert compiled
"""


def test_a_compiled_function_that_outlives_its_module_does_no_harm():
    """Something may hold one until Python's last garbage collection (here: for ever). Freed memory is overwritten,
    unless Python has to have an allocator of its own."""
    malloc = {} if config.FREE_THREADED else {"PYTHONMALLOC": "malloc"}
    environment = {**os.environ, **malloc, "MALLOC_PERTURB_": "2"}
    subprocess.run([sys.executable, "-c", _AT_THE_END], env=environment, check=True)


_FAR_APART = """
import ctypes, minigrad
libc = ctypes.CDLL(None)
libc.mmap.restype, libc.mmap.argtypes = ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_size_t] + 3 * [ctypes.c_int] + [
    ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
take = lambda size: libc.mmap(None, size, 3, 0x4022, -1, 0)  # private, anonymous, not reserved
(minigrad.ones(4) + 1).tolist()
areas = [take(4 << 20) for _ in range(2000)]
for pages in (64, 16, 4, 1):
    while take(4096 * pages) > min(areas):  # no room left above
        pass
for area in areas[:1000]:
    libc.munmap(area + (1 << 20), 4096)
for size in range(5, 9):
    x = minigrad.arange(float(size)).reshape(-1, 1)
    ((x.exp() * x.sin() + x.T.log1p()).softmax(1) @ minigrad.ones(size, 3)).tolist()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="system calls of Linux")
def test_code_links_where_free_memory_lies_far_apart(python, tmp_path):
    """Code reaches its constants within 2 GiB, and must where the only free page near it is one."""
    python(_FAR_APART, MINIGRAD_CACHE_DIR=str(tmp_path))


def test_llvmlite_that_finds_no_memory_is_a_memory_error(python):
    """CPython says SystemError where an import runs out of memory. Afterwards it can be loaded."""
    python("""
import builtins
import minigrad

found = builtins.__import__

def full(name, *rest, **more):
    if name.startswith("llvmlite"):
        raise SystemError("error return without exception set")
    return found(name, *rest, **more)

x = minigrad.ones(2)
builtins.__import__ = full
with minigrad.config(CACHE=0):
    try:
        (x * 2).tolist()
    except MemoryError as error:
        assert "llvmlite" in str(error)
    else:
        raise AssertionError("it was loaded")
    builtins.__import__ = found
    assert (x * 2).tolist() == [2, 2]
""")


LATE = """
import minigrad as mg
bits, truth = mg.tensor(1, dtype=mg.uint8), mg.tensor(True)
for dtype in (mg.float32, mg.float64):
    for n in (6, 13, 21):
        for chosen in (lambda x: mg.where(truth.to(mg.int64) >= -1, x, 3),
                       lambda x: mg.where(~bits.to(mg.float64).signbit(), x, 3),
                       lambda x: mg.where(truth.to(mg.int64) >= -2, mg.where(truth.to(mg.int64) >= -1, x, 3), 5)):
            y = chosen(mg.ones(n, dtype=dtype))
            twice = y + y
            mg.realize(y, twice)
            assert (set(y.tolist()), set(twice.tolist())) == ({1.0}, {2.0})
print("right")
"""


def test_a_float_that_llvm_finds_out_late_and_vectors_of_it():
    """As a choice from a table such a float ended the process in LLVM's code generation."""
    done = subprocess.run([sys.executable, "-c", LATE], capture_output=True, text=True, check=False,
                          env={**os.environ, "MINIGRAD_CACHE": "0", "MINIGRAD_TIERS": "0"})
    assert (done.returncode, done.stdout) == (0, "right\n"), done.stderr

