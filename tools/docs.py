"""Stage: documentation. In: minigrad's tables (settings, ops) and files that pages include. Out: the pages made from
tables, and the others with what they include filled in. ``python tools/docs.py`` writes; ``--check`` says what differs
and exits with 1. Next: ``docs/environment.md`` and ``docs/tour.md``."""

from __future__ import annotations

import argparse
import difflib
import json
import posixpath
import re
import sys
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from minigrad import ops  # noqa: E402
from minigrad.config import SETTINGS  # noqa: E402
from minigrad.dtype import bool_, float32, int8, uint8  # noqa: E402
from tools import notebooks, stubs  # noqa: E402
from tools import pytorch as compared  # noqa: E402

KINDS = {"b": "bool", "i": "signed", "u": "unsigned", "f": "float", "c": "complex"}
RESULTS = {"same": "as the operands", "bool": "bool", "part": "the type of a part", "complex": "of such parts",
           "arg": "the given dtype"}


def cell(text: object) -> str:
    """``text`` as one cell of a Markdown table.

    >>> cell("a | b")
    'a \\\\| b'
    """
    return " ".join(str(text).split()).replace("|", "\\|")


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table.

    >>> print(table(["op", "operands"], [["ADD", 2]]))
    | op | operands |
    |---|---|
    | ADD | 2 |
    """
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines)


def code(text: object) -> str:
    return f"`{text}`" if str(text) else ""


def environment() -> str:
    """The page of environment variables, from ``minigrad.config.SETTINGS``."""
    rows = [(", ".join(map(code, reversed(s.variables))), code(s.default) or "empty", s.doc)
            for s in SETTINGS.values()]
    return f"""<!-- Made from minigrad/config.py by tools/docs.py. Change it there. -->

# Environment variables

Each is read when it is needed, so `os.environ["DEBUG"] = "4"` works after the import too, and
`with minigrad.config(DEBUG=4):` sets it for a block. An empty value means the default. Where two names stand, the one
with `MINIGRAD_` comes first. `true`, `yes`, `on` are 1 and `false`, `no`, `off` are 0; `THREADS=auto` is 0. Anything
else that does not fit is a `ValueError` when minigrad is imported, and a variable `MINIGRAD_…` that is not in the table
is warned of. The compiler of the device CC takes no flags from `CFLAGS`, which other programs read, too.

{table(["Variable", "Default", "Meaning"], rows)}
"""


def kinds(letters: str) -> str:
    return "any" if set(letters) == set(KINDS) else ", ".join(KINDS[letter] for letter in letters)


def families() -> list[tuple[str, str]]:
    groups = (("sources", ops.SOURCES), ("elementwise", ops.ELEMENTWISE), ("reduce", ops.REDUCE),
              ("movement", ops.MOVEMENT), ("memory", ops.MEMORY))
    names = [name for name in vars(ops.Op) if name.isupper()]
    rows = [(title, [name for name in names if name in group]) for title, group in groups]
    placed = {name for _, members in rows for name in members}
    rows.append(("composites", [name for name in names if name not in placed]))
    return [(title, " ".join(code(name) for name in members)) for title, members in rows]


def operations() -> str:
    """The page of ops, from the tables in ``minigrad/ops.py``."""
    scalar = [(code(row.name), code(row.symbol), row.arity, kinds(row.kinds), RESULTS[row.result], row.edge)
              for row in ops.SCALAR_OPS.values()]
    reduce = [(code(row.name), code(row.combine),
               *(code(row.identity(d)) for d in (float32, int8, uint8, bool_)))
              for row in ops.REDUCE_OPS.values()]
    return f"""<!-- Made from minigrad/ops.py by tools/docs.py. Change it there. -->

# The ops

Everything a program asks for is recorded in these, by family:

{table(["Family", "Ops"], families())}

## Elementwise

All operands of an op have one dtype and one shape (only the condition of `WHERE` is always bool).
"Edge" says what an op gives where C or LLVM leave it open; every device gives the same.

{table(["Op", "Written", "Operands", "Takes", "Result dtype", "Edge"], scalar)}

## Reductions

A reduction joins elements by an elementwise op, starting from the value below; so that is also the
result over no elements.

{table(["Op", "Joins by", "float32", "int8", "uint8", "bool"], reduce)}

## Functions of one argument

The greatest error in units in the last place (ulp) of the result, by `python -m tools.functions --write` on the device
CPU. float32: of so many of its 2³² numbers, against the function in float64; `at` is where it is. For `lgamma`,
`digamma`, `ndtri` and `log_ndtr` that function is SciPy's, and mpmath's wherever SciPy's says more than 0.55 ulp; the
others take minigrad's, which the next column compares with mpmath. float64: samples against mpmath, in 40 digits. The
half types: all 65,536 numbers. Zeros, infinities and NaN must be exact, the sign of 0 included. What is 0.50 in float32
is computed in float64 and rounded once. In float64 `lgamma` and `digamma` lose digits near their zeros, `gelu` and
`mish` where exp(x) is subnormal or tanh is nearly -1.

{functions()}

The same functions of float32 at special numbers; `tests/torch` finds the same in PyTorch.

{special_values()}
"""


def functions() -> str:
    """The greatest errors of the functions of one argument, as ``tools/functions.py`` has measured them."""
    heads = ["Function", "float32", "at", "of", "float64", "float16", "bfloat16"]
    rows = []
    for name, row in json.loads((ROOT / "tools" / "functions.json").read_text()).items():
        single = row["float32"]
        tried = "all" if single[2] == 1 else f"every {single[2]:.0f}th"
        rows.append([code(name), f"{single[0]:.2f}", f"{single[1]:.9g}", tried,
                     *[f"{row[kind][0]:.2f}" for kind in ("float64", "float16", "bfloat16")]])
    return table(heads, rows)


def special_values() -> str:
    """What the functions of one argument give at special numbers."""
    rows = [[code(name), *row["special"]]
            for name, row in json.loads((ROOT / "tools" / "functions.json").read_text()).items()]
    return table(["Function", "-inf", "-1", "-0", "0", "1", "inf", "nan"], rows)


def counts(rows: Sequence[tuple[str, str, str]]) -> list[object]:
    """How many rows there are, how many work, differ and are missing, and the share of these.

    >>> counts([("a", "works", ""), ("b", "missing", "")])
    [2, 1, 0, 1, '50.0 %']
    """
    states = [state for _, state, _ in rows]
    numbers = [states.count(kind) for kind in ("works", "differs", "missing")]
    return [len(rows), *numbers, f"{100 * numbers[-1] / max(1, len(rows)):.1f} %"]


def pytorch() -> str:
    """The page of PyTorch's names, from ``tools/pytorch_names.txt``, what is found, and the differences."""
    modules = compared.sections()
    totals = [(f"[{module}](#{module.replace('.', '')})", *counts(rows)) for module, rows in modules.items()]
    totals.append(("all", *counts([row for rows in modules.values() for row in rows])))
    parts = [f"## {module}\n\n" + table(["Name", "State", "How, or why"],
                                        [(code(name), state, note) for name, state, note in rows])
             for module, rows in modules.items()]
    return f"""<!-- Made from tools/pytorch_names.txt and tools/pytorch_differences.py by tools/docs.py. -->

# PyTorch's names

Every name that the documentation of PyTorch 2.13 has for these modules, and what a program that runs under
`python -m minigrad.torch` finds. *works*: it is there, and no difference is known; `tests/torch` compares most of them,
with PyTorch's values, gradients and errors, but not each one. *differs*: it is there and does not do all that PyTorch's
does. *missing*: using it raises `AttributeError`, or `ImportError`.

{table(["Module", "Documented", "Works", "Differs", "Missing", "Share missing"], totals)}

{chr(10).join(f"{part}{chr(10)}" for part in parts).rstrip()}
"""


TUTORIAL = "examples/backend_from_scratch/README.md"


def backend() -> str:
    """The page on backends: the example's README, with its links as they are from docs/."""
    text = filled((ROOT / TUTORIAL).read_text(encoding="utf-8"), ROOT)
    return f"<!-- Made from {TUTORIAL} by tools/docs.py. Change it there. -->\n\n{moved(text, TUTORIAL, 'docs/x.md')}"


def moved(page: str, old: str, new: str) -> str:
    """A page's text with its relative links as they must be when it moves from path ``old`` to ``new``.

    >>> moved("[a](b.py) [c](../docs/d.md#e) [f](#g) [h](https://i.org)", "examples/README.md", "docs/x.md")
    '[a](../examples/b.py) [c](d.md#e) [f](#g) [h](https://i.org)'
    """
    def change(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(old), match[1]))
        return f"]({posixpath.relpath(target, posixpath.dirname(new))}"

    return re.sub(r"\]\((?![a-z]+:|#)([^)#\s]+)", change, page)


PAGES = {"docs/environment.md": environment, "docs/ops.md": operations, "docs/adding_a_backend.md": backend,
         "docs/pytorch.md": pytorch, "minigrad/__init__.pyi": stubs.stub,
         **{path: partial(notebooks.notebook, pages, moved, path) for path, pages in notebooks.NOTEBOOKS.items()}}

# A line that names a file, then the code fence that holds it:
#   <!-- include tests/golden/linear/4-loops.txt -->
#   <!-- include tests/golden/linear/6-llvm.txt from "loop.5:" to "br i1" -->
# With ``from`` and ``to``, only the lines from the first that contains one text to the next that contains the other.
INCLUDE = re.compile(r"""^<!--\ include\ (?P<file>\S+)
                         (?:\ from\ "(?P<first>[^"\n]+)"\ to\ "(?P<last>[^"\n]+)")?\ -->\n
                         (?P<fence>```+)(?P<language>\w*)\n.*?^(?P=fence)$""", re.MULTILINE | re.DOTALL | re.VERBOSE)
INCLUDE_LINE = re.compile(r"^<!-- *include\b.*$", re.MULTILINE)


def excerpt(text: str, first: str, last: str) -> str:
    """The lines of ``text`` from the first that contains ``first`` to the next one that contains ``last``.

    >>> excerpt("a = 1\\nb = 2\\nc = 3\\n", "b", "c")
    'b = 2\\nc = 3\\n'
    """
    lines = text.splitlines()
    begin = next((i for i, line in enumerate(lines) if first in line), None)
    if begin is None:
        raise ValueError(f"no line contains {first!r}")
    end = next((i for i in range(begin, len(lines)) if last in lines[i]), None)
    if end is None:
        raise ValueError(f"no line after {first!r} contains {last!r}")
    return "\n".join(lines[begin:end + 1]) + "\n"


def filled(page: str, root: Path) -> str:
    """A page with the code fences below its include lines filled. ``ValueError`` for a line that can't be followed."""
    followed = set()

    def fill(match: re.Match[str]) -> str:
        head = match[0].partition("\n")[0]
        followed.add(match.start())
        path = root / match["file"]
        if not path.is_file():
            raise ValueError(f"{head}: no such file")
        text = path.read_text(encoding="utf-8")
        if match["first"]:
            try:
                text = excerpt(text, match["first"], match["last"])
            except ValueError as error:
                raise ValueError(f"{head}: {error}") from None
        body = text.rstrip("\n")
        return f"{head}\n{match['fence']}{match['language']}\n{body}\n{match['fence']}"

    result = INCLUDE.sub(fill, page)
    for line in INCLUDE_LINE.finditer(page):
        if line.start() not in followed:
            raise ValueError(f"{line[0]}: not of the form <!-- include FILE --> with a code fence on the next line")
    return result


def expected(root: Path = ROOT) -> dict[str, str]:
    """What each page under ``root`` should hold: those made from tables, and those that exist, filled."""
    pages = {name: page() for name, page in PAGES.items()}
    for path in [root / "README.md", *sorted((root / "docs").rglob("*.md")),
                 *sorted((root / "examples").glob("*/README.md"))]:
        name = path.relative_to(root).as_posix()
        if name not in pages and path.exists():
            try:
                pages[name] = filled(path.read_text(encoding="utf-8"), root)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
    return pages


def differences(root: Path = ROOT) -> str:
    """What the pages under ``root`` should hold and don't, as a unified diff; empty if nothing."""
    diff: list[str] = []
    for name, text in expected(root).items():
        path = root / name
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        diff += difflib.unified_diff(old.splitlines(), text.splitlines(), name, f"{name} as it should be", lineterm="")
    return "\n".join(diff)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write the pages in docs/ that are made from minigrad's tables, and "
                                     "fill in what pages include.")
    parser.add_argument("--check", action="store_true", help="write nothing; print what differs and exit with 1")
    check = parser.parse_args(arguments).check
    try:
        if check:
            diff = differences()
            if diff:
                print(diff)
                print("the pages above are out of date: run python tools/docs.py", file=sys.stderr)
            return 1 if diff else 0
        write()
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def write(root: Path = ROOT) -> None:
    """Bring all pages up to date."""
    for name, text in expected(root).items():
        path = root / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"wrote {name}")


if __name__ == "__main__":
    sys.exit(main())
