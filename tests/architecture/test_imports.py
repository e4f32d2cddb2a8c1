"""Stage: tests of the house. In: the source files of ``minigrad/``, read with ``ast``, never imported. Out: the
rooms depend on each other in one direction only, and modules open and read as the house asks.
Each check also runs over a small planted tree that breaks it.
Next: ``tests/docs/test_docs.py``."""

from __future__ import annotations

import ast
import itertools
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "minigrad"

# Top to bottom. A module imports from rooms above its own, or from its own; a line is one room. A module that stands
# lower than its folder, where PyTorch has it, is named with it.
ROOMS: tuple[tuple[str, ...], ...] = (
    ("errors", "records", "config", "lazily"),
    ("dtype", "ops", "target"),
    ("symbolic",),
    ("graph",),
    ("grad",),
    ("schedule",),
    ("kernel",),
    ("lower",),
    ("render",),
    ("runtime",),
    ("engine",),
    ("autograd",),
    ("tensor",),
    ("jit",),
    ("nn", "optim", "multiprocessing", "serialization", "storage", "overrides", "utils", "cuda", "backends", "amp",
     "func", "testing", "autograd.forward_ad", "autograd.forwardcheck", "autograd.functional",
     "autograd.grad_mode", "autograd.gradcheck", "autograd.graph", "autograd.variable",
     "linalg", "fft", "special", "sparse"),
    ("vision", "distributions", "array_api"),
    ("__init__", "__main__", "conformance", "commands", "tune", "explain", "profiler",
     "autograd.profiler"),
    ("masked", "signal"),
    ("torch",),
)
LEVEL = {name: level for level, room in enumerate(ROOMS) for name in room}

# Frameworks that tests and benchmarks compare with; the package never needs one.
PEERS = {"torch", "jax", "tinygrad", "tensorflow"}

# Modules of the standard library that may be imported inside a function: they cost milliseconds and few need them.
LATE = {"importlib", "inspect", "platform", "shutil", "subprocess", "tempfile", "concurrent", "multiprocessing",
        "urllib", "math", "traceback", "fractions", "textwrap", "pickle", "webbrowser", "hashlib", "json", "difflib",
        "signal"}

# Modules of ours that are imported when first needed, inside functions: the compiler, the tables of gradients, the
# printing, and what few programs call. ``import minigrad`` loads none of them.
LAZY: dict[str, tuple[str, ...]] = {
    "minigrad.autograd.node": ("minigrad.grad",),
    "minigrad.engine.plans": ("minigrad.engine.build", "minigrad.engine.stored", "minigrad.engine.tier0"),
    "minigrad.engine.real": ("minigrad.schedule.complex_parts",),
    "minigrad.engine.realise": ("minigrad.engine.debug", "minigrad.engine.details", "minigrad.engine.faults"),
    "minigrad.engine.build": ("minigrad.engine.beam",),
    "minigrad.engine.steps": ("minigrad.lower.steps",),
    "minigrad.engine.tier0.library": ("minigrad.engine.tier0.kernels",),
    "minigrad.lower.lower": ("minigrad.lower.gpu",),
    "minigrad.optim.composite": ("minigrad.jit.update",),
    "minigrad.runtime.cpu": ("minigrad.render",),
    "minigrad.serialization.load": ("minigrad.serialization.safe",),
    "minigrad.serialization.rebuild": ("minigrad.sparse",),
    "minigrad.tensor.attributes": ("minigrad.tensor.storages", "minigrad.tensor.typed_storages"),
    "minigrad.tensor.complex_numbers": ("minigrad.tensor.complex_formulas",),
    "minigrad.tensor.exponential": ("minigrad.tensor.lapack",),
    "minigrad.tensor.linalg": ("minigrad.tensor.lapack",),
    "minigrad.tensor.matrices": ("minigrad.tensor.lapack", "minigrad.tensor.fourier"),
}

MAX_LINES = 600
LONGER: dict[str, str] = {}  # path: why it is one thing though it is long


@dataclass(frozen=True)
class Import:
    """One imported name: the module it comes from, as far as the tree shows, and where it stands. ``alone``: by one
    thread at a time."""

    module: str
    line: int
    in_function: bool
    for_types: bool
    alone: bool
    star: bool = False


def modules(package: Path) -> dict[str, Path]:
    """Dotted names of all modules of ``package``, a folder's own name standing for its ``__init__``."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = [package.name, *path.relative_to(package).with_suffix("").parts]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def room_of(name: str) -> str:
    """``minigrad.graph.lazy`` stands in room ``graph``, ``minigrad`` itself in ``__init__``."""
    parts = name.split(".")
    own = ".".join(parts[1:3])
    return own if own in LEVEL else parts[1] if len(parts) > 1 else "__init__"


def _is_type_checking(node: ast.AST) -> bool:
    return (isinstance(node, ast.If) and isinstance(node.test, ast.Name | ast.Attribute)
            and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"))


class Read(NamedTuple):
    """What the checks want to know of a program's text. ``imports``: each with whether it stands in a function, whether
    it is for type checkers only, and whether in a block of ``importing()``. ``bare``: public functions and classes
    without a docstring, and their lines."""

    docstring: str | None
    imports: list[tuple[ast.Import | ast.ImportFrom, bool, bool, bool]]
    bare: list[tuple[str, int]]


@cache
def _read(text: str) -> Read:
    tree = ast.parse(text)
    bare = [(node.name, node.lineno) for node in tree.body
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_")
            and ast.get_docstring(node) is None]
    found = []
    stack: list[tuple[ast.AST, bool, bool, bool]] = [(tree, False, False, False)]
    while stack:
        node, in_function, for_types, alone = stack.pop()
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found.append((node, in_function, for_types, alone))
        elif isinstance(node, (ast.stmt, ast.Module, ast.ExceptHandler, ast.match_case)):  # no expression holds one
            in_function = in_function or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
            for_types = for_types or _is_type_checking(node)
            alone = alone or (isinstance(node, ast.With) and ast.unparse(node.items[0]) == "importing()")
            stack.extend((child, in_function, for_types, alone) for child in ast.iter_child_nodes(node))
    return Read(ast.get_docstring(tree), found, bare)


def imports(name: str, path: Path, known: dict[str, Path]) -> Iterator[Import]:
    """Every name ``path`` imports; ``from a import b`` means module ``a.b`` where there is one, else ``a``."""
    for node, *where in _read(path.read_text(encoding="utf-8")).imports:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, *where)
            continue
        base = node.module or ""
        if node.level:
            package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
            base = ".".join([*package[:len(package) - node.level + 1], *([base] if base else [])])
        for alias in node.names:
            full = f"{base}.{alias.name}"
            yield Import(full if full in known else base, node.lineno, *where, alias.name == "*")


def check_order(package: Path) -> Iterator[str]:
    known = modules(package)
    for name, path in known.items():
        if room_of(name) not in LEVEL:
            yield f"{name}: room {room_of(name)!r} is not in ROOMS"
            continue
        for item in imports(name, path, known):
            if item.module.split(".")[0] != package.name:
                continue
            target = room_of(item.module)
            if target not in LEVEL or LEVEL[target] > LEVEL[room_of(name)]:
                yield f"{name}:{item.line}: imports {item.module}, which stands below it"


def check_cycles(package: Path) -> Iterator[str]:
    """Cycles among modules of one room. Imports for type checkers alone don't count, those in functions do."""
    known = modules(package)
    edges = {name: {i.module for i in imports(name, path, known) if i.module in known and not i.for_types} - {name}
             for name, path in known.items()}
    rest = set(known)
    while True:
        free = {name for name in rest if not edges[name] & rest}
        if not free:
            break
        rest -= free
    # what only leads into a cycle is not part of it
    while True:
        used = {target for name in rest for target in edges[name]}
        if rest <= used:
            break
        rest &= used
    if rest:
        yield f"these modules import each other in a cycle: {', '.join(sorted(rest))}"


def check_star(package: Path) -> Iterator[str]:
    known = modules(package)
    for name, path in known.items():
        for item in imports(name, path, known):
            if item.star:
                yield f"{name}:{item.line}: from {item.module} import *"


def check_functions(package: Path) -> Iterator[str]:
    """Inside functions: third-party modules, a few of the standard library, backends in ``runtime/``, and what
    ``LAZY`` names. A part of another folder is imported by one thread at a time (``lazily.py``): of its own folder a
    module knows that it is there."""
    known = modules(package)
    for name, path in known.items():
        for item in imports(name, path, known):
            top = item.module.split(".")[0]
            if not item.in_function:
                continue
            if top == package.name and room_of(name) not in ("runtime", "__main__", "__init__") and (
                    not item.module.startswith(LAZY.get(name, ("nothing",)))):
                yield f"{name}:{item.line}: imports {item.module} inside a function"
            if top == package.name and not item.alone and (package / item.module.split(".")[1]).is_dir() and (
                    room_of(item.module) != room_of(name)):
                yield f"{name}:{item.line}: imports {item.module} inside a function, but not `with importing():`"
            if top in sys.stdlib_module_names and top not in LATE:
                yield f"{name}:{item.line}: imports {item.module} of the standard library inside a function"


def check_peers(package: Path) -> Iterator[str]:
    known = modules(package)
    for name, path in known.items():
        for item in imports(name, path, known):
            if item.module.split(".")[0] in PEERS:
                yield f"{name}:{item.line}: imports {item.module}"


def check_docstrings(package: Path) -> Iterator[str]:
    """A module says its stage, what comes in, what goes out and what to read next; a public function or class what it
    is for."""
    for name, path in modules(package).items():
        text, _, bare = _read(path.read_text(encoding="utf-8"))
        yield from [f"{name}:{line}: {what} has no docstring" for what, line in bare]
        if text is None:
            yield f"{name}: no docstring"
            continue
        missing = [field for field in ("Stage:", "In:", "Out:", "Next") if field.lower() not in text.lower()]
        if missing:
            yield f"{name}: its docstring lacks {' '.join(missing)}"


def check_length(package: Path) -> Iterator[str]:
    for name, path in modules(package).items():
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > MAX_LINES and path.relative_to(package).as_posix() not in LONGER:
            yield f"{name}: {lines} lines"


def check_packages(package: Path) -> Iterator[str]:
    for folder in sorted({path.parent for path in package.rglob("*.py")}):
        if not (folder / "__init__.py").exists():
            yield f"{folder.relative_to(package.parent)}: no __init__.py"


def check_names(package: Path) -> Iterator[str]:
    """Of two definitions of a function of the namespace one would be forgotten."""
    seen: dict[str, str] = {}
    for name, path in modules(package).items():
        for line in re.findall(r"^ *@(?:function|both)\((.*)\)$", path.read_text(encoding="utf-8"), re.MULTILINE):
            for word in re.findall(r'(?<![="])"(\w+)"(?!:)', re.sub(r"keywords=.*", "", line)):
                if word in seen:
                    yield f"{word}: defined in {seen[word]} and in {name}"
                seen[word] = name


def check_reading(package: Path) -> Iterator[str]:
    """The "Next:" lines are one way through the house, from ``__init__.py`` on: each names one file, and they come to
    every file once. A bare name is a file of the same folder; a path begins at the package, or with its name."""
    at, seen = package / "__init__.py", []
    while True:
        if at in seen:
            yield f"{seen[-1].relative_to(package)}: leads back to {at.relative_to(package)}"
            break
        if not at.exists():
            yield f"{seen[-1].relative_to(package)}: leads to {at.relative_to(package)}, which does not exist"
            break
        seen.append(at)
        text = _read(at.read_text(encoding="utf-8")).docstring or ""
        place = re.search(r"^Next: (?:nothing|``([^`]+)``)", text, re.MULTILINE)
        if place is None:
            yield f"{at.relative_to(package)}: no line that begins with Next:"
            break
        if place[1] is None:
            break
        name = place[1].removeprefix(f"{package.name}/")
        at = (package if "/" in place[1] else at.parent) / name / ("__init__.py" if name.endswith("/") else "")
    left = {path.relative_to(package).as_posix() for path in package.rglob("*.py")} - {
        path.relative_to(package).as_posix() for path in seen}
    if left:
        yield f"no Next: line leads to {', '.join(sorted(left))}"


CHECKS = (check_order, check_cycles, check_star, check_functions, check_peers, check_docstrings, check_length,
          check_packages, check_names, check_reading)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_house(check: Callable[[Path], Iterator[str]]) -> None:
    found = list(check(PACKAGE))
    assert not found, "\n".join(found)


def test_exceptions_are_still_needed() -> None:
    for name in LONGER:
        assert len((PACKAGE / name).read_text(encoding="utf-8").splitlines()) > MAX_LINES, name


PLANTED: list[tuple[Callable[[Path], Iterator[str]], dict[str, str], str]] = [
    (check_order, {"graph/lazy.py": "from minigrad.tensor import creation", "tensor/creation.py": ""},
     "minigrad.graph.lazy:1: imports minigrad.tensor.creation"),
    (check_order, {"config.py": "import minigrad"}, "minigrad.config:1: imports minigrad, which"),
    (check_order, {"ops.py": "from .graph import x", "graph/__init__.py": ""}, "minigrad.ops:1: imports minigrad."),
    (check_order, {"cellar/x.py": ""}, "room 'cellar' is not in ROOMS"),
    (check_cycles, {"nn/a.py": "from minigrad.nn import b", "nn/b.py": "from minigrad.nn.c import x",
                    "nn/c.py": "import minigrad.nn.a", "nn/d.py": "import minigrad.nn.a"},
     "in a cycle: minigrad.nn.a, minigrad.nn.b, minigrad.nn.c"),
    (check_cycles, {"nn/__init__.py": "from minigrad.nn.a import A", "nn/a.py": "from minigrad.nn import A"},
     "in a cycle: minigrad.nn, minigrad.nn.a"),
    (check_star, {"ops.py": "from minigrad.dtype import *"}, "minigrad.ops:1"),
    (check_functions, {"ops.py": "def f():\n    from minigrad import dtype", "dtype.py": ""}, "minigrad.ops:2"),
    (check_functions, {"runtime/cpu.py": "def f():\n    import minigrad.render", "render/__init__.py": ""},
     "minigrad.runtime.cpu:2: imports minigrad.render inside a function, but not"),
    (check_functions, {"ops.py": "def f():\n    import string"}, "imports string of the standard library"),
    (check_peers, {"ops.py": "def f():\n    import torch.nn"}, "minigrad.ops:2: imports torch.nn"),
    (check_docstrings, {"ops.py": ""}, "minigrad.ops: no docstring"),
    (check_docstrings, {"ops.py": '"""Stage: x. In: y.\nOut: z."""'}, "minigrad.ops: its docstring lacks Next"),
    (check_docstrings, {"ops.py": "def _f(): ...\n\n\ndef f():\n    pass"}, "minigrad.ops:4: f has no docstring"),
    (check_length, {"ops.py": "#\n" * 601}, "minigrad.ops: 601 lines"),
    (check_packages, {"nn/a.py": ""}, "minigrad/nn: no __init__.py"),
    (check_names, {"a.py": '@function("f")', "b.py": '    @both("g", "f", keywords={"x": "y"})'},
     "f: defined in minigrad.a and in minigrad.b"),
    (check_reading, {"__init__.py": '"""Next: ``a.py``."""', "a.py": '"""Next: ``minigrad/__init__.py``."""'},
     "a.py: leads back to __init__.py"),
    (check_reading, {"__init__.py": '"""Next: ``nn/``."""', "nn/__init__.py": '"""Next: ``b.py``."""'},
     "nn/__init__.py: leads to nn/b.py, which does not exist"),
    (check_reading, {"__init__.py": '"""Next: ``a.py``."""', "a.py": ""}, "a.py: no line that begins with Next:"),
    (check_reading, {"__init__.py": '"""Next: nothing."""', "nn/a.py": ""}, "no Next: line leads to nn/a.py"),
]


@pytest.mark.parametrize(("check", "files", "message"), PLANTED, ids=lambda value: getattr(value, "__name__", ""))
def test_checks_find_what_is_planted(check: Callable[[Path], Iterator[str]], files: dict[str, str], message: str,
                                     tmp_path: Path) -> None:
    package = tmp_path / "minigrad"
    for name, text in {"__init__.py": "", **files}.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text, encoding="utf-8")
    assert any(message in line for line in check(package)), list(check(package))


def test_allowed_imports_are_not_found(tmp_path: Path) -> None:
    package = tmp_path / "minigrad"
    files = {
        "dtype.py": "def f():\n    import ml_dtypes\n    import math",
        "graph/__init__.py": "from minigrad.graph.lazy import a\nimport minigrad.dtype",
        "graph/lazy.py": "import typing\nif typing.TYPE_CHECKING:\n    from minigrad.graph import a",
        "runtime/device.py": "def f():\n    from minigrad.runtime import cpu",
        "runtime/cpu.py": "from minigrad.graph import a",
        "__init__.py": "from minigrad.runtime.device import f",
    }
    for name, text in files.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text, encoding="utf-8")
    for check in (check_order, check_cycles, check_star, check_functions, check_peers):
        assert list(check(package)) == []


MOST_MODULES = 145
"""Modules of ours that ``import minigrad`` may load: 140 take 25 ms, two thirds of what NumPy takes."""


def _loaded_lazily(package: Path) -> set[str]:
    """The modules that are asked for with ``lazily.module``."""
    return {name for path in package.rglob("*.py")
            for name in re.findall(r'lazily\.module\("([\w.]+)"\)', path.read_text(encoding="utf-8"))}


def test_import_loads_nothing_slow() -> None:
    """The compiler, gradients, bfloat16 and NumPy's random numbers are loaded when first used; peers never. No module
    that every import loads defines dataclasses, which take 0.3 ms each; ``records.py`` has what takes 0.01."""
    program = "import numpy, sys; before = {*sys.modules}; import minigrad; print(*sorted({*sys.modules} - before))"
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    loaded = result.stdout.split()
    slow = ("dataclasses", "signal", "llvmlite", "ml_dtypes", "numpy", "platformdirs", *PEERS, "minigrad.serialization",
            "minigrad.tensor.storages", "minigrad.grad", "minigrad.symbolic", "minigrad.kernel", "minigrad.lower",
            "minigrad.schedule", "minigrad.render", *itertools.chain(*LAZY.values()), *_loaded_lazily(PACKAGE))
    assert [name for name in loaded if any([name == s or name.startswith(f"{s}.") for s in slow])] == []
    assert len([name for name in loaded if name.split(".")[0] == "minigrad"]) <= MOST_MODULES
