"""Stage: front. In: a Tensor and its tape. Out: ``draw``, a picture of how the Tensor was computed, as SVG: a box for
each value with its data and its gradient, an ellipse for each op, from left to right.
Next: ``serialization.py``."""

from __future__ import annotations

import html
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from minigrad.tensor import Tensor

__all__ = ["Drawing", "draw"]

LARGEST = 500  # ops: a larger picture can't be read, and the time to place it grows faster than its size

# The sign of an op, by the name of its tape entry; other ops go by their name: TanhBackward0 is "tanh".
SIGNS = {"Add": "+", "Sub": "-", "Rsub": "-", "Mul": "×", "Div": "÷", "Pow": "**", "Neg": "-", "Mm": "@", "Mv": "@",
         "Dot": "@", "Bmm": "@"}

# Pixels. A character of the 12-pixel monospaced font is 7.3 wide.
CHARACTER, LINE, MARGIN, COLUMN_GAP, ROW_GAP = 7.3, 18.0, 10.0, 34.0, 16.0


@dataclass
class Item:
    """One box or ellipse: what stands in it, and where; ``x`` and ``y`` are its centre."""

    kind: Literal["value", "op"]
    lines: list[str]
    x: float = 0.0
    y: float = 0.0

    @property
    def width(self) -> float:
        return max(len(line) for line in self.lines) * CHARACTER + (16.0 if self.kind == "value" else 24.0)

    @property
    def height(self) -> float:
        return len(self.lines) * LINE + (8.0 if self.kind == "value" else 12.0)


@dataclass
class Drawing:
    """A picture of a Tensor's graph. A notebook shows it; ``save`` writes it to a file.

    ``items`` are its boxes and ellipses and ``edges`` the arrows between them, as pairs of positions in ``items``."""

    items: list[Item]
    edges: list[tuple[int, int]]
    routes: dict[tuple[int, int], list[tuple[float, float]]] = field(default_factory=dict)
    width: float = 0.0
    height: float = 0.0

    def _repr_svg_(self) -> str:
        """The picture as the text of an SVG file; notebooks call this."""
        size = f"{self.width:.0f} {self.height:.0f}"
        lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" width="{self.width:.0f}" '
                 f'height="{self.height:.0f}" font-family="monospace" font-size="12" text-anchor="middle">',
                 '<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" '
                 'orient="auto"><path d="M0 0L8 4L0 8z" fill="#555"/></marker></defs>',
                 '<rect width="100%" height="100%" fill="white"/>']
        lines += [_arrow(self.items[a], self.items[b], self.routes.get((a, b), [])) for a, b in self.edges]
        lines += [_shape(item) for item in self.items]
        return "\n".join([*lines, "</svg>"]) + "\n"

    def save(self, path: str | Path) -> None:
        """Write the picture to ``path``, an SVG file.

        Raises ``ValueError`` if the name ends in something else than ``.svg``."""
        path = Path(path)
        if path.suffix.lower() != ".svg":
            raise ValueError(f"a drawing is saved as SVG, so its name should end in .svg, got {str(path)!r}")
        path.write_text(self._repr_svg_(), encoding="utf-8")

    def __repr__(self) -> str:
        ops = sum(item.kind == "op" for item in self.items)
        return f"<Drawing: {len(self.items) - ops} values, {ops} ops; save(path) writes it as SVG>"


def draw(output: Tensor, values: Mapping[str, Any] | None = None) -> Drawing:
    """A picture of how ``output`` was computed from the tensors that want gradients.

    ``output`` and the leaves are boxes with their data and, where there is one, their gradient; a Tensor with more than
    one element shows its shape. Tensors in ``values`` are shown in the same way, labelled with their names. What in
    ``values`` is no Tensor of this graph is left out, so ``draw(loss, locals())`` labels every variable. A Tensor
    between leaves and output has a gradient after ``retain_grad()`` and ``backward()``. One that is not in ``values``
    is just the arrow between two ops, because the tape does not hold it.

    Needs the package ``fast-sugiyama``, which says where the boxes go: ``pip install 'minigrad[draw]'``.

    Raises ``TypeError`` if ``output`` is no Tensor, ``ValueError`` for a graph of more than 500 ops, and
    ``ImportError`` without the package. The picture is like that of micrograd (Karpathy, 2020) and draws the same.

    >>> import minigrad
    >>> a = minigrad.tensor(2.0, requires_grad=True)
    >>> b = minigrad.tensor(-3.0, requires_grad=True)
    >>> c = a * b
    >>> loss = (c + 10.0).tanh()
    >>> loss.backward()
    >>> minigrad.utils.draw(loss, {"a": a, "b": b, "c": c})
    <Drawing: 4 values, 3 ops; save(path) writes it as SVG>
    """
    if not isinstance(output, Tensor):
        raise TypeError(f"draw(): argument 'output' should be a Tensor, got {type(output).__name__}")
    drawing = _Walk(output, values or {}).drawing()
    if drawing.edges:
        _place(drawing, _layout_library())
    else:
        item = drawing.items[0]
        item.x, item.y = item.width / 2 + MARGIN, item.height / 2 + MARGIN
        drawing.width, drawing.height = item.width + 2 * MARGIN, item.height + 2 * MARGIN
    return drawing


class _Walk:
    """From the output along ``next_functions`` to the leaves, gathering items and edges."""

    def __init__(self, output: Tensor, values: Mapping[str, Any]) -> None:
        self.items: list[Item] = []
        self.edges: dict[tuple[int, int], None] = {}  # in order, each once: a * a has one arrow, as in micrograd
        self.ops: dict[Any, int] = {}
        self.boxes: dict[Any, int] = {}  # of outputs of ops by (node, number), of leaves by the Tensor's id
        self.known: dict[Any, Tensor] = {}
        self.names: dict[Any, list[str]] = {}
        for name, tensor in values.items():
            if isinstance(tensor, Tensor):
                self.known.setdefault(self.key(tensor), tensor)
                self.names.setdefault(self.key(tensor), []).append(name)
        self.known[self.key(output)] = output
        self.output = output

    @staticmethod
    def key(tensor: Tensor) -> Any:
        node = tensor.grad_fn
        return id(tensor) if node is None else (node, tensor.output_nr)

    def drawing(self) -> Drawing:
        """Walk the graph. No recursion: chains may be long."""
        self.box(self.key(self.output), self.output)
        stack = [self.output.grad_fn] if self.output.grad_fn is not None else []
        while stack:
            node = stack.pop()
            here = self.op(node)
            for source, number in node.next_functions:
                if source is None:
                    continue
                variable = getattr(source, "variable", None)
                if variable is not None:
                    self.edges[self.box(id(variable), variable), here] = None
                    continue
                if source not in self.ops:
                    stack.append(source)
                start, key = self.op(source), (source, number)
                self.edges[self.box(key, self.known[key]) if key in self.known else start, here] = None
            if len(self.ops) > LARGEST:
                raise ValueError(f"the graph has more than {LARGEST} ops, too many for a picture; draw a tensor nearer "
                                 "to the leaves")
        return Drawing(self.items, list(self.edges))

    def op(self, node: Any) -> int:
        """The position of a tape entry's ellipse, made at first sight."""
        if node not in self.ops:
            self.ops[node] = len(self.items)
            self.items.append(Item("op", [_sign(node.name())]))
        return self.ops[node]

    def box(self, key: Any, tensor: Tensor) -> int:
        """The position of a value's box, made at first sight, with the arrow from the op that computed it."""
        if key not in self.boxes:
            node = tensor.grad_fn
            start = None if node is None else self.op(node)
            self.boxes[key] = len(self.items)
            self.items.append(Item("value", _describe(tensor, self.names.get(key, []))))
            if start is not None:
                self.edges[start, self.boxes[key]] = None
        return self.boxes[key]


def _sign(name: str) -> str:
    """The sign or word for an op.

    >>> _sign("MulBackward0"), _sign("LogSumExpBackward0")
    ('×', 'logsumexp')
    """
    word = name.partition("Backward")[0]
    return SIGNS.get(word, word.lower())


def _describe(tensor: Tensor, names: list[str]) -> list[str]:
    # the gradient of a Tensor between leaves and output is there only if it was asked for; else reading it warns
    gradient = tensor.grad if tensor.is_leaf or tensor.retains_grad else None
    lines = [", ".join(names)] if names else []
    lines.append(f"data {_number(tensor)}")
    return lines if gradient is None else [*lines, f"grad {_number(gradient)}"]


def _number(tensor: Tensor) -> str:
    if tensor.numel() != 1:
        return f"of shape {tuple(tensor.shape)}"
    value = tensor.item()
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _layout_library() -> ModuleType:
    try:
        return importlib.import_module("fast_sugiyama")
    except ImportError:
        raise ImportError("minigrad.utils.draw needs the package fast-sugiyama, which says where the boxes go; "
                          "install it with: pip install 'minigrad[draw]'") from None


def _place(drawing: Drawing, library: ModuleType) -> None:
    """Give each item its centre, each arrow the bends of its way past other items, the drawing its size.

    The library draws from top to bottom, every box one unit wide. Its ranks become columns as wide as their widest
    item; its new vertices, numbered after the given ones, are the bends."""
    items = drawing.items
    [(positions, *_, pieces)] = library.from_edges(drawing.edges, vertex_spacing=1)
    places = {number: (-rank, across) for number, (across, rank) in positions}
    columns: dict[float, float] = {}
    for number, (rank, _) in places.items():
        columns[rank] = max(columns.get(rank, 0.0), items[number].width if number < len(items) else 0.0)
    left, centres = MARGIN, {}
    for rank in sorted(columns):
        centres[rank] = left + columns[rank] / 2
        left += columns[rank] + COLUMN_GAP
    row = max(item.height for item in items) + ROW_GAP
    top = min(across for _, across in places.values())
    points = {number: (centres[rank], MARGIN + row * (across - top + 0.5))
              for number, (rank, across) in places.items()}
    for number, item in enumerate(items):
        item.x, item.y = points[number]
    drawing.width = left - COLUMN_GAP + MARGIN
    drawing.height = max(y for _, y in points.values()) + row / 2 + MARGIN
    onward = {start: end for start, end in pieces if start >= len(items)}
    for start, end in pieces:
        if start < len(items) <= end:
            bends = []
            while end >= len(items):
                bends.append(points[end])
                end = onward[end]
            drawing.routes[start, end] = bends


def _arrow(start: Item, end: Item, bends: list[tuple[float, float]]) -> str:
    """A smooth line through the bends: between two points it leaves and arrives horizontally."""
    points = [(start.x + start.width / 2, start.y), *bends, (end.x - end.width / 2, end.y)]
    path = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
    for (x0, y0), (x1, y1) in pairwise(points):
        middle = (x0 + x1) / 2
        path += f"C{middle:.1f} {y0:.1f} {middle:.1f} {y1:.1f} {x1:.1f} {y1:.1f}"
    return f'<path class="edge" d="{path}" fill="none" stroke="#555" marker-end="url(#head)"/>'


def _shape(item: Item) -> str:
    """A box whose lines are divided, or an ellipse."""
    left, top = item.x - item.width / 2, item.y - item.height / 2
    if item.kind == "op":
        outline = (f'<ellipse cx="{item.x:.1f}" cy="{item.y:.1f}" rx="{item.width / 2:.1f}" '
                   f'ry="{item.height / 2:.1f}" fill="#dceaf7" stroke="#333"/>')
    else:
        outline = (f'<rect x="{left:.1f}" y="{top:.1f}" width="{item.width:.1f}" height="{item.height:.1f}" rx="3" '
                   'fill="#fdf6e3" stroke="#333"/>')
    first = item.y - (len(item.lines) - 1) * LINE / 2 + 4
    texts = [f'<text x="{item.x:.1f}" y="{first + LINE * number:.1f}">{html.escape(line)}</text>'
             for number, line in enumerate(item.lines)]
    return f'<g class="{item.kind}">{outline}{"".join(texts)}</g>'
