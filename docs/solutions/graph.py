"""The graph: an interpreter in NumPy for the few ops of one formula."""

from __future__ import annotations

import numpy as np

import minigrad
from minigrad.graph.lazy import LazyBuffer, toposort
from minigrad.schedule.simplify import simplify


def evaluate(root: LazyBuffer, leaves: dict[LazyBuffer, np.ndarray]) -> np.ndarray:
    """The value of a simplified graph; ``leaves`` has those of its BUFFER nodes."""
    value = dict(leaves)
    for node in toposort([root]):  # sources come before what reads them
        sources = [value[s] for s in node.srcs]
        if node.op == "CONST":
            value[node] = np.full(node.shape, node.arg, node.dtype.numpy)
        elif node.op == "RESHAPE":
            value[node] = sources[0].reshape(node.shape)
        elif node.op == "EXPAND":
            value[node] = np.broadcast_to(sources[0], node.shape)
        elif node.op == "SUM":
            value[node] = sources[0].sum(node.arg, keepdims=True)
        elif node.op != "BUFFER":
            function = {"ADD": np.add, "SUB": np.subtract, "MUL": np.multiply, "SQRT": np.sqrt}[node.op]
            value[node] = function(*sources)
    return value[root]


def main() -> None:
    a, b = minigrad.rand(3, 4).realize(), minigrad.rand(4).realize()
    y = ((a - b) ** 2).sum(1).sqrt()
    (root,), _ = simplify([y._whole()])
    made = evaluate(root, {a._whole(): a.numpy(), b._whole(): b.numpy()})
    print(made, y)
    assert np.allclose(made, y.numpy())


if __name__ == "__main__":
    main()
