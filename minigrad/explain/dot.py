"""Stage: explaining. In: a ``Report``. Out: its graphs as text in the language DOT, which Graphviz and others draw: a
cluster for each graph, in it a cluster for each line of the program, a box for each node, forward and backward in two
colours.
Next: ``block.py``.

https://graphviz.org/doc/info/lang.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby

from minigrad.explain.model import Part, Plan, Report

COLOURS = {"forward": "#dbe9ff", "backward": "#fbe3d0"}
"""What a node is filled with."""


def dot(report: Report, simplified: bool = False) -> str:
    """All graphs, as they were recorded, or simplified.

    >>> import minigrad
    >>> with minigrad.explain() as explained:
    ...     x = minigrad.ones(3).exp().tolist()
    >>> print(dot(explained.report).splitlines()[0])
    digraph minigrad {
    """
    lines = ["digraph minigrad {", "  rankdir=TB; compound=true;",
             '  node [shape=box, style="filled,rounded", fontname="monospace", fontsize=10];',
             '  edge [arrowsize=0.6];']
    for number, plan in enumerate(report.plans):
        if plan.graphs:
            lines += [f"  subgraph cluster_{number} {{", f"    label={_quoted(_title(number, plan))};",
                      *_graph(report, number, plan, simplified), "  }"]
    return "\n".join([*lines, "}", ""])


def _title(number: int, plan: Plan) -> str:
    return f"plan {number}: {plan.runs} run{'s' * (plan.runs != 1)} on {plan.device}"


def _graph(report: Report, number: int, plan: Plan, simplified: bool) -> Iterator[str]:
    text = plan.graphs[simplified]
    nodes = sorted(enumerate(zip(text.text.split("\n"), text.nodes, strict=True)), key=lambda n: (n[1][1], n[0]))
    for owners, members in groupby(nodes, key=lambda n: n[1][1]):
        part = plan.parts[owners[0]]
        yield f"    subgraph cluster_{number}_{owners[0]} {{"
        yield f'      label={_quoted(_where(report, part))}; color="#b8c0cc"; fontsize=10;'
        for at, (line, _) in members:
            yield f'      n{number}_{at} [label={_quoted(_label(line))}, fillcolor="{COLOURS[part.phase]}"];'
        yield "    }"
    for at, sources in enumerate(text.sources):
        for source in sources:
            yield f"    n{number}_{source} -> n{number}_{at};"


def _label(line: str) -> str:
    """A node's op and argument, and below it dtype and shape.

    >>> _label("%3 = ADD(%1, %2)         float32 (4, 6)  <- output")
    'ADD\\nfloat32 (4, 6)  <- output'
    """
    found = re.match(r"%\d+ = (.*?)\((?:%[%\d, ]*)?\) +(\w+ \(.*)$", line)
    return line if found is None else f"{found[1]}\n{found[2]}"


def _where(report: Report, part: Part) -> str:
    if part.file < 0:
        return "elsewhere"
    file = report.files[part.file]
    at = part.number - file.first
    text = file.lines[at].strip() if 0 <= at < len(file.lines) else ""
    modules = f"{' > '.join(part.modules)}\n" if part.modules else ""
    return f"{modules}{file.path}:{part.number}{' (gradient)' * (part.phase == 'backward')}\n{text}"


def _quoted(text: str) -> str:
    """A string of DOT.

    >>> print(_quoted('say "a\\\\b"'))
    "say \\"a\\\\b\\""
    """
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
