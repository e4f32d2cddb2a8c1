"""Stage: documentation. In: minigrad's public names, as a program finds them, and their docstrings. Out: the pages of
the API reference, as Markdown: the methods of Tensor by topic, then a page for each public module. Most names are made
from tables when minigrad is imported, so they are looked up and not read from the source. Next: ``tools/site.py``."""

from __future__ import annotations

import html
import importlib
import inspect
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from minigrad import Tensor  # noqa: E402

MODULES = ("minigrad", "minigrad.nn", "minigrad.nn.functional", "minigrad.nn.init", "minigrad.nn.utils",
           "minigrad.optim", "minigrad.optim.lr_scheduler", "minigrad.autograd", "minigrad.func", "minigrad.linalg",
           "minigrad.fft", "minigrad.special", "minigrad.signal.windows", "minigrad.sparse", "minigrad.masked",
           "minigrad.distributions", "minigrad.amp", "minigrad.jit", "minigrad.utils", "minigrad.utils.data",
           "minigrad.explain", "minigrad.profiler", "minigrad.testing", "minigrad.vision", "minigrad.multiprocessing")
"""The modules that have a page, in the order of the navigation."""

BLOCK = re.compile(r"^( *)>>> .*?(?=^[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)


def markdown(docstring: str) -> str:
    """A docstring as Markdown: its examples become code, and what looks like a tag is shown.

    >>> markdown("The sum.\\n\\n    >>> f(1)\\n    2\\n\\n    Of list[<n>].").splitlines()
    ['The sum.', '', '```pycon', '>>> f(1)', '2', '```', '', 'Of list[&lt;n&gt;].']
    """
    parts, at = [], 0
    text = inspect.cleandoc(docstring)
    for match in BLOCK.finditer(text):
        parts.append(_prose(text[at:match.start()]))
        parts.append(f"\n```pycon\n{inspect.cleandoc(match[0])}\n```\n")
        at = match.end()
    return re.sub(r"\n{3,}", "\n\n", "".join([*parts, _prose(text[at:])])).strip()


def _prose(text: str) -> str:
    """Text outside code, with nothing in it that Markdown would take for a tag or a link."""
    pieces = re.split(r"(``.*?``|`[^`\n]*`)", text, flags=re.DOTALL)
    for at in range(0, len(pieces), 2):
        shown = re.sub(r"\](?=[(\[])", r"]\\", html.escape(pieces[at], quote=False))
        pieces[at] = re.sub(r"(https?://[^\s)>\]]+)", r"<\1>", shown)
    return "".join(pieces)


def signature(name: str, value: Any) -> str:
    """How a name is called, without the types; empty for what is not called.

    >>> signature("relu", lambda input, *, out=None: input)
    'relu(input, *, out=None)'
    """
    if not callable(value):
        return ""
    try:
        found = inspect.signature(value)
    except (TypeError, ValueError):
        return f"{name}(…)"
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in found.parameters.values() if p.name != "self"]
    text = str(found.replace(parameters=plain, return_annotation=inspect.Signature.empty))
    return name + re.sub(r"<[^<>]*>", "…", text)


def entry(name: str, value: Any, level: int = 3) -> str:
    """A name with its signature and its docstring."""
    call = signature(name.rpartition(".")[2], value)
    head = f"{'#' * level} `{name}`"
    doc = markdown(inspect.getdoc(value) or "") if callable(value) or isinstance(value, property) else ""
    return "\n\n".join(part for part in (head, f"```python\n{call}\n```" if call else "", doc) if part)


def public(module: ModuleType) -> list[str]:
    """The names that a module offers, in their order."""
    names = getattr(module, "__all__", None) or [n for n in vars(module) if not n.startswith("_")]
    return [n for n in dict.fromkeys(names) if not n.startswith("_")]


def tensor() -> str:
    """The page of Tensor: a part for each class that its methods are in."""
    parts = ["# Tensor", markdown(inspect.getdoc(Tensor) or ""),
             "Most methods are functions of the module, too: `x.exp()` is `minigrad.exp(x)`, and `x.exp_()` changes x."]
    seen: set[str] = set()
    for made in Tensor.__mro__[:-1]:
        names = [n for n in vars(made) if not n.startswith("_") and n not in seen]
        seen.update(names)
        plain = [n for n in names if not (n.endswith("_") and n[:-1] in names)]
        twins = [f"`{n}`" for n in names if n not in plain]
        if not plain:
            continue
        title = made.__name__ if made is not Tensor else "Tensor"
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", title).capitalize()
        parts += [f"## {words}", markdown((inspect.getdoc(made) or "").partition("\n\n")[0])]
        parts += [entry(f"Tensor.{n}", inspect.getattr_static(made, n) if isinstance(
            inspect.getattr_static(made, n), property) else getattr(Tensor, n)) for n in plain]
        if twins:
            parts.append("In place: " + ", ".join(twins) + ".")
    return "\n\n".join(parts) + "\n"


def module(name: str) -> str:
    """The page of a module. Functions that are methods of Tensor, too, are named in one line."""
    found = importlib.import_module(name)
    kinds: dict[str, list[str]] = {"Classes": [], "Functions": [], "Values": []}
    methods, modules = [], []
    for public_name in public(found):
        value = getattr(found, public_name)
        if isinstance(value, ModuleType) and not callable(value):
            modules.append(public_name)
        elif name == "minigrad" and hasattr(Tensor, public_name) and callable(value):
            methods.append(public_name)
        elif inspect.isclass(value):
            kinds["Classes"].append(_class(public_name, value) if value is not Tensor else "")
        elif callable(value):
            kinds["Functions"].append(entry(public_name, value))
        else:
            kinds["Values"].append(f"`{public_name}`")
    said = [text for text in (inspect.getdoc(found) or "").split("\n\n") if not text.startswith("Stage:")]
    parts = [f"# {name}", markdown("\n\n".join(said))]
    if methods:
        parts += ["## As methods", "These are [methods of Tensor](tensor.md), too, and described there: "
                  + ", ".join(f"`{n}`" for n in methods) + "."]
    for title, entries in kinds.items():
        if any(entries):
            joined = ", ".join(entries) + "." if title == "Values" else "\n\n".join(filter(None, entries))
            parts += [f"## {title}", joined]
    return "\n\n".join(parts) + "\n"


def _class(name: str, made: type) -> str:
    """A class and those of its public methods that are its own and have a docstring of their own."""
    inside = [n for n, value in vars(made).items() if not n.startswith("_") and (
        inspect.isfunction(value) or isinstance(value, property | classmethod | staticmethod)) and value.__doc__]
    own = [entry(f"{name}.{n}", vars(made)[n] if isinstance(vars(made)[n], property) else getattr(made, n), 4)
           for n in inside]
    return "\n\n".join([entry(name, made), *own])


def pages() -> dict[str, str]:
    """All pages of the reference by their path on the site."""
    return {"reference/tensor.md": tensor(), **{f"reference/{name}.md": module(name) for name in MODULES}}
