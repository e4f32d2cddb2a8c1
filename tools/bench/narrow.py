"""Stage: beside the house. In: nothing. Out: ``NARROW``, the table of ``python -m tools.bench narrow``: arrays with a
short axis, along which vectors cannot run.
Next: ``convolutions.py``, then ``suites.py``, which names the tables."""

from __future__ import annotations

import numpy as np

from tools.bench.workloads import Workload, normal

PEERS = ("numpy", "torch", "jax")


def _gathered() -> list[np.ndarray]:
    (x,) = normal((300, 100))()
    return [x, np.random.default_rng(1).integers(0, 100, (300, 50))]


NARROW: tuple[Workload, ...] = (
    *[Workload(f"product_{name}", f"a @ b, {rows}x{depth} and {depth}x{columns}",
               inputs=normal((rows, depth), (depth, columns)),
               functions=dict.fromkeys(("numpy", "pytorch", "jax"), lambda lib, a, b: a @ b),
               work=2 * rows * depth * columns, unit="flops", peers=PEERS, tolerance=1e-3)
      for name, rows, depth, columns in (("7_columns", 1387, 1213, 7), ("5_columns", 1024, 1024, 5))],
    Workload("product_of_columns", "a.T @ b, 100000x7 and 100000x5", inputs=normal((100_000, 7), (100_000, 5)),
             functions=dict.fromkeys(("numpy", "pytorch", "jax"), lambda lib, a, b: a.T @ b),
             work=2 * 7 * 5 * 100_000, unit="flops", peers=PEERS, tolerance=1e-2),
    Workload("cumsum_rows", "a.cumsum(1), 3000x100", inputs=normal((3000, 100)),
             functions=dict.fromkeys(("numpy", "pytorch", "jax"), lambda lib, a: a.cumsum(1)),
             work=2 * 4 * 300_000, unit="bytes", peers=PEERS, tolerance=1e-3),
    Workload("map_3_columns", "(a * b + c).tanh(), 102600x3, 102600x1 and 3",
             inputs=normal((102_600, 3), (102_600, 1), (3,)),
             functions={"numpy": lambda np, a, b, c: np.tanh(a * b + c),
                        "pytorch": lambda lib, a, b, c: (a * b + c).tanh(),
                        "jax": lambda jax, a, b, c: jax.numpy.tanh(a * b + c)},
             work=4 * 7 * 102_600, unit="bytes", peers=PEERS),
    Workload("gather_rows", "a.gather(1, index), 300x100 and 300x50", inputs=_gathered,
             functions={"numpy": lambda np, a, index: np.take_along_axis(a, index, 1),
                        "pytorch": lambda lib, a, index: a.gather(1, index),
                        "jax": lambda jax, a, index: jax.numpy.take_along_axis(a, index, 1)},
             work=(4 + 8 + 4) * 15_000, unit="bytes", peers=PEERS),
)
