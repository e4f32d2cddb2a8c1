"""Stage: runtime. In: LLVM IR as text. Out: addresses of its functions, by way of the disk cache.
The only file that knows llvmlite, which it imports at the first compilation (40 ms that an import need not cost).
Next: ``folder.py``."""

from __future__ import annotations

import ctypes
import functools
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Any
from weakref import WeakValueDictionary

from minigrad import target
from minigrad.config import SETTINGS
from minigrad.runtime import cache
from minigrad.runtime.device import compile_error
from minigrad.runtime.locks import compile_lock
from minigrad.target import C_FUNCTIONS, Target

# Functions of Python that pool.ll and follow.ll call.
PYTHON = frozenset((
    "PyErr_BadArgument", "PyErr_CheckSignals", "PyErr_Fetch", "PyErr_NormalizeException", "PyErr_Occurred",
    "PyEval_RestoreThread", "PyEval_SaveThread", "PyFloat_AsDouble",
    "PyList_Append", "PyList_GetItem", "PyList_New", "PyList_SetItem", "PyList_Size", "PyLong_AsSsize_t",
    "PyLong_AsUnsignedLongLongMask", "PyLong_FromSsize_t", "PyObject_CallOneArg", "PyObject_RichCompareBool",
    "PyTuple_GetItem", "PyTuple_Pack", "PyTuple_Size", "PyType_IsSubtype", "PyWeakref_NewRef", "Py_DecRef",
    "Py_IncRef"))

# What compiled code may call: what the renderer may write, the spellings that code generation has of those on other
# systems, and what pool.ll needs. Anything else fails when the code is linked: nothing is left to crash when called.
ALLOWED = C_FUNCTIONS | PYTHON | {
    "bzero", "__bzero", "__chkstk", "___chkstk_ms", "__chkstk_darwin", "fmodf", "roundeven", "roundevenf",
    "syscall", "sched_yield", "nanosleep", "Sleep", "clock_gettime", "GetSystemTimePreciseAsFileTime", "pthread_kill",
    "pthread_self", "sigaction", "siglongjmp", "signal", "sigsetjmp", "__sigsetjmp"}

# The renderer writes code that needs no optimiser.
PASSES: tuple[str, ...] = ()
LIBRARIES = 64  # in a session
LEVEL = int(SETTINGS["CODEGEN"].default)  # of code generation, where the setting does not count


@dataclass
class Host:
    """llvmlite, set up for this machine."""

    binding: Any
    triple: str
    layout: str
    cpu: str
    features: str
    version: str
    machines: dict[int, Any] = field(default_factory=dict)
    session: Session | None = None

    def machine(self, level: int) -> Any:
        """The code generator of that level."""
        if level not in self.machines:
            self.machines[level] = _machine(self.binding, level)
        return self.machines[level]

    def open_session(self) -> Session:
        """One with room for another library."""
        if self.session is None or self.session.libraries == LIBRARIES:
            self.session = Session(self)
        return self.session


class Session:
    """A linker of LLVM and what it has linked. It remembers each library for as long as it lives, 8 KiB for each, even
    when the code is gone: so a session takes ``LIBRARIES`` of them, and goes when the last of its modules does."""

    def __init__(self, llvm: Host) -> None:
        self.libraries = 0
        self.binding = llvm.binding
        # It owns the machine that it is given. JITLink puts an object's sections side by side; the older linker takes
        # memory for each and ends the process where a constant lies more than 2 GiB from the code that loads it.
        self.jit = llvm.binding.create_lljit_compiler(_machine(llvm.binding, LEVEL), use_jit_link=os.name == "posix",
                                                      suppress_errors=True)
        symbols = llvm.binding.JITLibraryBuilder()
        for name in sorted(ALLOWED):
            address = _python(name) if name in PYTHON else llvm.binding.address_of_symbol(name)
            if address:
                symbols.import_symbol(name, address)
        self.symbols = symbols.link(self.jit, "allowed")
        self.symbols.needs = self.jit  # what refers to something is disposed of before it

    def link(self, code: bytes, names: Iterable[str]) -> Any:
        """The object code in memory: its functions' addresses by name, as long as the result lives."""
        self.libraries += 1
        builder = self.binding.JITLibraryBuilder().add_object_img(code).add_jit_library("allowed")
        for name in names:
            builder.export_symbol(name)
        tracker = builder.link(self.jit, f"library{self.libraries}")
        tracker.needs = self.symbols
        return tracker


def _python(name: str) -> int | None:
    """The address of a function of Python."""
    return ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value


class Module:
    """Machine code in memory, as long as this object lives. ``addresses`` by function name; ``key``: that of its object
    code on disk; ``cached`` says that it came from there."""

    __slots__ = ("__weakref__", "_tracker", "addresses", "cached", "key")

    def __init__(self, key: str, tracker: Any, addresses: dict[str, int], cached: bool) -> None:
        self.key = key
        self._tracker = tracker
        self.addresses = addresses
        self.cached = cached


_host: Host | None = None
_loaded: WeakValueDictionary[str, Module] = WeakValueDictionary()


def missing() -> str | None:
    """Why LLVM can't be used here, or None."""
    return None if find_spec("llvmlite") else "llvmlite is not installed (pip install llvmlite)"


def host() -> Host:
    """LLVM on this machine, set up at the first call."""
    global _host
    with compile_lock:
        if _host is None:
            _host = _start()
        return _host


def _start() -> Host:
    try:
        import llvmlite
        import llvmlite.binding as llvm
    except SystemError as error:  # what CPython's import says where it has no memory left
        raise MemoryError("no memory left to load llvmlite") from error

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = _machine(llvm, LEVEL)
    version = f"llvmlite {llvmlite.__version__} LLVM {'.'.join(map(str, llvm.llvm_version_info))}"
    return Host(llvm, machine.triple, str(machine.target_data), llvm.get_host_cpu_name(),
                llvm.get_host_cpu_features().flatten(), version, {LEVEL: machine})


def _machine(llvm: Any, level: int) -> Any:
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=level, reloc="pic",
        codemodel="default", jit=True)


def compile_text(text: str, names: Iterable[str], device: str = "CPU", passes: tuple[str, ...] = PASSES,
                 level: int = LEVEL) -> Module:
    """Compile IR, or load what an earlier process compiled, and look up the functions ``names``.

    Raises ``CompileError`` if LLVM refuses the text or it calls what is not in ``ALLOWED``.
    """
    return _module(text, text, lambda: text, tuple(names), device, passes, level)


def compile_named(name: str, text: Callable[[], str], names: Iterable[str], device: str = "CPU") -> Module:
    """As ``compile_text``, for IR that follows from ``name``, this machine and minigrad's source: it is written only if
    the disk cache does not have its code, and a module that was loaded from there has no ``text``."""
    return _module(f"name: {name}", "", text, tuple(names), device, PASSES, LEVEL)


def _module(identity: str, text: str, write: Callable[[], str], names: tuple[str, ...], device: str,
            passes: tuple[str, ...], level: int) -> Module:
    llvm = host()
    key = cache.key_of("llvm", identity, llvm.triple, llvm.cpu, llvm.features, llvm.version, " ".join(passes),
                       str(level))
    with compile_lock:
        module = _loaded.get(key)
        if module is not None:
            return module
        code = cache.load(key)
        if code is not None:
            try:
                module = _link(key, code, names, True)
            except RuntimeError:
                module = None  # an intact file that doesn't load here: compile it again
        if module is None:
            text = write()
            code = _emit(text, names, device, passes, level)
            try:
                module = _link(key, code, names, False)
            except RuntimeError as error:
                raise compile_error(device, ", ".join(names), f"its code does not link: {error}", text) from None
            cache.store(key, code)
        _loaded[key] = module
        return module


def restore(key: str, names: Iterable[str]) -> Module | None:
    """The module that was compiled under ``key`` in this or an earlier process, with all its functions; or None."""
    with compile_lock:
        module = _loaded.get(key)
        code = cache.load(key) if module is None else None
        if code is not None:
            try:
                module = _loaded[key] = _link(key, code, tuple(names), True)
            except RuntimeError:
                return None
        return module


def assembly(text: str, passes: tuple[str, ...] = PASSES) -> str:
    """The machine code for IR ``text``, as assembly."""
    with compile_lock:
        return host().machine(LEVEL).emit_assembly(_optimised(text, passes))


def _emit(text: str, names: tuple[str, ...], device: str, passes: tuple[str, ...], level: int) -> bytes:
    """Object code for ``text``. Checks first what would otherwise end the process."""
    try:
        module = _optimised(text, passes)
    except RuntimeError as error:
        kernel, source = _blame(str(error), text, names)
        raise compile_error(device, kernel, str(error), source) from None
    defined = set()
    for function in module.functions:
        name = function.name
        if not function.is_declaration:
            defined.add(name)
        elif not name.startswith("llvm.") and name not in ALLOWED:
            raise compile_error(device, ", ".join(names), f"it calls {name!r}, which kernels may not call", text)
    for name in names:
        if name not in defined:
            raise compile_error(device, name, "the source does not define it", text)
    return host().machine(level).emit_object(module)


def _optimised(text: str, passes: tuple[str, ...]) -> Any:
    llvm = host()
    binding = llvm.binding
    # On the first line of the text, so that line numbers in errors stay right.
    head = f'target datalayout = "{llvm.layout}" target triple = "{llvm.triple}" '
    module = binding.parse_assembly(head + text)
    module.verify()  # a broken module would end the process; checking takes less than a hundredth of the time
    if passes:
        options = binding.create_pipeline_tuning_options(speed_level=1)
        builder = binding.create_pass_builder(llvm.machine(LEVEL), options)
        manager = binding.create_new_module_pass_manager()
        for name in passes:
            getattr(manager, name)()
        manager.run(module, builder)
    return module


def _link(key: str, code: bytes, names: tuple[str, ...], cached: bool) -> Module:
    tracker = host().open_session().link(code, names)
    return Module(key, tracker, {name: tracker[name] for name in names}, cached)


def _blame(message: str, text: str, names: tuple[str, ...]) -> tuple[str, str]:
    """The kernel that an error message is about, and its part of the text."""
    lines = text.split("\n")
    found = re.search(r":(\d+):\d+: error", message)
    if found:
        number = int(found.group(1))
        for first in range(min(number, len(lines)) - 1, -1, -1):
            head = re.match(r'define\b.*?@"?([\w.$-]+)"?\s*\(', lines[first])
            if head:
                last = next((i for i in range(first, len(lines)) if lines[i].startswith("}")), len(lines) - 1)
                if number - 1 <= last:
                    return head.group(1), "\n".join(lines[first:last + 1])
                break
    found = re.search(r"@([\w.$-]+)", message)
    if found and found.group(1) in names:
        return found.group(1), text
    return ", ".join(names), text


class _MethodDefinition(ctypes.Structure):
    """Python's PyMethodDef."""

    _fields_ = (("name", ctypes.c_char_p), ("function", ctypes.c_void_p), ("flags", ctypes.c_int),
                ("doc", ctypes.c_char_p))


_FASTCALL = 0x80  # METH_FASTCALL: the arguments come as an array
_definitions: dict[int, _MethodDefinition] = {}  # by address

CONTENTS = bytes.__basicsize__ - 1
"""Where the contents of a bytes object begin."""


def python_function(address: int, contents: bytes) -> Callable[..., Any]:
    """The compiled function at ``address`` as one of Python: PyObject *f(self, arguments, how many), where self is a
    bytes object with these contents. A call takes some 40 ns, through ctypes some 300."""
    definition = _definitions.get(address)
    if definition is None:
        definition = _definitions[address] = _MethodDefinition(b"compiled", address, _FASTCALL, None)
        # Python reads it when it ends and this module is gone already: a reference that nobody gives back
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(definition))
    return _new_function()(ctypes.byref(definition), contents, None)


@functools.cache
def _new_function() -> Any:
    """Python's PyCFunction_NewEx. It has a signature of its own: those of ``ctypes.pythonapi`` belong to everybody."""
    made = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)
    return made(("PyCFunction_NewEx", ctypes.pythonapi))


USUAL_L3 = 32 << 20
"""Bytes of the cache that cores share, where the system does not say."""

DOT_FEATURES = {"bfloat16": "avx512bf16", "int8": "avx512vnni", "int16": "avx512vnni"}
"""The dtypes of which AVX-512 has instructions that add several products, and what they are called."""


def host_target() -> Target:
    """What this machine can do, for scheduling and lowering."""
    features = host().binding.get_host_cpu_features()
    machine = os.uname().machine if hasattr(os, "uname") else "x86_64"
    if machine in ("arm64", "aarch64"):
        known = target.NEON
    elif features.get("avx512f"):
        known = replace(target.AVX512, dots=tuple([name for name, feature in DOT_FEATURES.items() if (
            features.get(feature) and features.get("avx512vl"))]))
    elif features.get("avx2"):
        known = replace(target.AVX2, has_fma=bool(features.get("fma")),
                        dots=("int8", "int16") if features.get("avxvnni") else ())
    elif features.get("avx"):
        known = replace(target.AVX2, name="avx", native=(), has_fma=bool(features.get("fma")))
    elif features.get("sse2"):
        known = Target("sse2", 16, 16, has_fma=False)
    else:
        known = replace(target.SCALAR, has_fma=False)
    sizes = _cache_sizes()
    return replace(known, l1=sizes.get("l1", known.l1), l2=sizes.get("l2", known.l2), l3=sizes.get("l3", USUAL_L3),
                   stops=True)


def _cache_sizes() -> dict[str, int]:
    """``l1``, ``l2`` and ``l3`` of core 0 in bytes, where Linux says."""
    found: dict[str, int] = {}
    folder = "/sys/devices/system/cpu/cpu0/cache"
    try:
        for index in os.listdir(folder):
            if not index.startswith("index"):
                continue
            level, kind, size = (_read(f"{folder}/{index}/{name}") for name in ("level", "type", "size"))
            if level in ("1", "2", "3") and kind in ("Data", "Unified") and size.endswith("K"):
                found[f"l{level}"] = int(size[:-1]) << 10
    except (OSError, ValueError):
        return {}
    return found


def _read(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read().strip()
