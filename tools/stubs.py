"""Stage: documentation. In: the names of the module ``minigrad``, most of which stand in tables. Out: the file
``minigrad/__init__.pyi``, in which editors and type checkers (mypy, pyright) find them with their signatures.
``tools/docs.py`` writes it. Next: ``docs/ops.md``."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import minigrad  # noqa: E402
from minigrad.dtype import DType  # noqa: E402
from minigrad.tensor import FUNCTIONS  # noqa: E402
from minigrad.tensor.layouts import WORDS  # noqa: E402

KNOWN = {"Tensor": "minigrad.tensor.tensor_class", "DType": "minigrad.dtype", "Size": "minigrad.tensor.size",
         "Generator": "minigrad.tensor.generator", "Sequence": "collections.abc", "Callable": "collections.abc",
         "Iterable": "collections.abc", "Mapping": "collections.abc", "Any": "typing", "Literal": "typing",
         "NoReturn": "typing", "np": "numpy"}
"""The names that an annotation in the stub file may have, and the modules that they come from."""

BUILTINS = ("int", "float", "bool", "complex", "str", "bytes", "tuple", "list", "dict", "set", "type", "object")
HEAD = '''# Made from the functions of minigrad by tools/docs.py. Change them there.
"""What type checkers and editors know of the module ``minigrad``."""

import builtins as _builtins
from typing import Any as _Any

from minigrad.dtype import DType as _DType
from minigrad.tensor import return_types as return_types
from minigrad.tensor.return_types import ReturnType as _ReturnType
'''
GETATTR = """# Subpackages are imported when they are first asked for.
def __getattr__(name: _builtins.str) -> _Any: ...
"""
SHOWN = {"DType": "_DType", "Tensor": "Tensor", "Size": "Size", "Generator": "Generator"}


class _Renamed(ast.NodeTransformer):
    """An annotation, with the names that it has in the stub file. ``known`` becomes False if one is not there."""

    def __init__(self) -> None:
        self.known = True

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        text = ast.unparse(node)
        if text.startswith("return_types."):
            return ast.Name("_ReturnType")
        return self.generic_visit(node)  # type: ignore[return-value]

    def visit_Name(self, node: ast.Name) -> ast.expr:
        name = node.id
        if name in BUILTINS:
            return ast.Attribute(ast.Name("_builtins"), name)
        if name in SHOWN:
            return ast.Name(SHOWN[name])
        if name in KNOWN:
            return ast.Name(f"_{name}")
        if name == "ReturnType":
            return ast.Name("_ReturnType")
        self.known = False
        return node


def annotation(found: Any) -> str:
    """An annotation of a function as it stands in the stub file; ``_Any`` where it names what is not there.

    >>> annotation("int | Sequence[Tensor]"), annotation("Formula")
    ('_builtins.int | _Sequence[Tensor]', '_Any')
    """
    if found is inspect.Parameter.empty or not isinstance(found, str):
        return "_Any"
    try:
        renamed = _Renamed()
        text = ast.unparse(renamed.visit(ast.parse(found, mode="eval").body))
    except SyntaxError:
        return "_Any"
    return text if renamed.known else "_Any"


def default(value: Any) -> str:
    """A default value.

    >>> default(None), default(1e-05), default(minigrad.float32)
    ('None', '1e-05', '...')
    """
    return repr(value) if value is None or (type(value) in (int, float, bool, str) and value == value) else "..."


def parameter(p: inspect.Parameter) -> str:
    """One parameter of a function."""
    stars = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
    text = f"{stars}{p.name}: {annotation(p.annotation)}"
    return text if p.default is p.empty else f"{text} = {default(p.default)}"


def function(name: str, made: Callable[..., Any]) -> str:
    """The line of a function.

    >>> function("add", minigrad.add)
    'def add(input: Tensor, other: _Any, *, alpha: _Any = 1, out: _Any = None) -> Tensor: ...'
    """
    signature = inspect.signature(made)
    parts: list[str] = []
    before: Any = None
    starred = False
    for p in signature.parameters.values():
        if before == p.POSITIONAL_ONLY and p.kind != p.POSITIONAL_ONLY:
            parts.append("/")
        if p.kind == p.KEYWORD_ONLY and not starred:
            parts.append("*")
            starred = True
        starred = starred or p.kind == p.VAR_POSITIONAL
        parts.append(parameter(p))
        before = p.kind
    return f"def {name}({', '.join(parts)}) -> {annotation(signature.return_annotation)}: ..."


def stub() -> str:
    """The text of the stub file."""
    own = [f"from minigrad import {name} as {name}" for name in minigrad._SUBPACKAGES]
    words, dtypes, functions, classes = [], [], [], []
    for name in sorted(set(minigrad.__all__)):
        if name in ("dtype", "return_types", "inspect"):
            continue
        value = getattr(minigrad, name)
        if isinstance(value, DType):
            dtypes.append(f"{name}: _DType")
        elif name in WORDS:
            words.append(f"{name}: {type(value).__name__}")
        elif isinstance(value, ModuleType) and name not in FUNCTIONS:
            own.append(f"from {value.__name__.rpartition('.')[0]} import {value.__name__.rpartition('.')[2]} as {name}")
        elif name in FUNCTIONS:
            made = FUNCTIONS[name]
            if isinstance(made, type):
                classes.append(f"class {name}(Tensor): ...")
            else:
                functions.append(function(name, made))
        elif name.endswith("Storage") and value.__module__ == "minigrad.tensor.typed_storages" and (
                name != "TypedStorage"):
            classes.append(f"class {name}(TypedStorage): ...")
        elif isinstance(value, float):
            words.append(f"{name}: _builtins.float")
        elif inspect.isfunction(value) or isinstance(value, type):
            own.append(f"from {where(name, value)} import {value.__name__} as {name}")
        else:
            words.append(f"{name}: {type(value).__name__ if type(value).__name__ in SHOWN else '_Any'}")
    used = [f"from {module} import {name} as _{name}" if name != "np" else "import numpy as _np"
            for name, module in KNOWN.items() if name != "DType" and any([f"_{name}" in line for line in functions])]
    lines = [HEAD, *[line for line in used if " Any " not in line], *sorted(own), "", "dtype = _DType",
             "__version__: _builtins.str", "__all__: _builtins.list[_builtins.str]", *dtypes, *words, "", *classes, "",
             *functions, "", GETATTR]
    return "\n".join(lines)


def where(name: str, value: Any) -> str:
    """The module to import a name from."""
    later = minigrad._LATER.get(name)
    if later is not None:
        return str(later)
    for module in ("minigrad.autograd", "minigrad.engine", "minigrad.tensor", "minigrad.runtime.device",
                   "minigrad.tensor.layouts", "minigrad.dtype"):
        if vars(sys.modules[module]).get(value.__name__) is value:
            return module
    return str(value.__module__)
