"""Stage: beside the house. In: programs that no process has seen before, and graphs of many lengths and sizes. Out: how
long their first runs take, and how far the cost model of ``minigrad/engine/tiers.py`` is from what is measured.
``python tools/tiers.py`` prints both, in process CPU time, nothing cached; and what matrix products reach. Next:
``minigrad/engine/tiers.py``."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

import minigrad  # noqa: E402
from minigrad import autograd, nn  # noqa: E402
from minigrad.conformance.sources import leaf  # noqa: E402
from minigrad.dtype import float32  # noqa: E402
from minigrad.engine import plans, realise, tiers  # noqa: E402
from minigrad.engine.walk import walk  # noqa: E402
from minigrad.graph.lazy import LazyBuffer  # noqa: E402
from minigrad.ops import Op  # noqa: E402


def chain(*shape: int) -> None:
    """20,000 ops on 8 numbers, or on one."""
    y = minigrad.tensor(np.ones(shape, np.float32))
    for _ in range(10_000):
        y = y * 1.0001 + 0.5
    y.numpy()


def heat() -> None:
    """5,000 steps of the heat equation on a grid of 16×16, in place."""
    u = minigrad.zeros(16, 16)
    u[0] = 1.0
    for _ in range(5_000):
        inside = u[1:-1, 1:-1]
        inside += 0.1 * (u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4 * inside)
    u.numpy()


def rnn() -> None:
    """1,000 steps of a recurrent network, and backward."""
    rng = np.random.default_rng(0)

    def parameter(*shape: int) -> minigrad.Tensor:
        return minigrad.tensor(0.2 * rng.standard_normal(shape).astype(np.float32), requires_grad=True)

    w, u = parameter(16, 16), parameter(8, 16)
    xs = minigrad.tensor(rng.standard_normal((1_000, 4, 8)).astype(np.float32))
    h = minigrad.zeros(4, 16)
    for i in range(1_000):
        h = (xs[i] @ u + h @ w).tanh()
    h.sum().backward()
    assert w.grad is not None
    w.grad.numpy()


def writes() -> None:
    """3,000 times y[i] = i."""
    y = minigrad.zeros(3_000)
    for i in range(3_000):
        y[i] = i
    y.numpy()


def sizes() -> None:
    """A small program at 400 sizes."""
    for n in range(1, 401):
        x = minigrad.tensor(np.ones((n, 16), np.float32))
        ((x * 2 + 1).relu().sum(1) / n).softmax(0).numpy()


ROWS: dict[str, Callable[[], None]] = {"chain": lambda: chain(8), "chain of one number": chain, "heat": heat,
                                       "rnn": rnn, "writes": writes, "sizes": sizes}


def graph(length: int, n: int) -> LazyBuffer:
    """So many elementwise ops on n numbers, some of them reductions."""
    x = y = leaf(np.ones(n, np.float32), float32, "CPU")
    for i in range(length):
        if i % 10 == 9:
            y = y.reduce(Op.MAX, (0,)).expand((n,))
        y = y.binary(Op.MUL if i % 2 else Op.ADD, x)
    return y


def measured(length: int, n: int) -> tuple[float, float]:
    """Seconds to compile a graph, and seconds of a run of tier 0."""
    with minigrad.config(TIERS=0):
        start = process_time()
        plans.find(walk([graph(length, n)]))
        compiling = process_time() - start
    plans.clear()
    with minigrad.config(TIERS=2, THREADS=1):
        realise([graph(length, n)])
        best = float("inf")
        for _ in range(5):
            pending = walk([graph(length, n)])
            program, _ = plans.find(pending)
            start = process_time()
            program.run(pending, False)
            best = min(best, process_time() - start)
    plans.clear()
    return compiling, best


def model() -> None:
    """Measured beside modelled costs."""
    print(f"{'nodes':>6} {'elements':>10} {'compile ms':>11} {'model':>7} {'run µs':>9} {'model':>9}")
    for length, n in ((10, 8), (100, 8), (100, 10_000), (300, 8), (300, 10_000), (1_000, 8), (100, 300_000)):
        cost = tiers.cost_of(walk([graph(length, n)]).order)
        compiling, running = measured(length, n)
        print(f"{cost.nodes:6} {cost.elements:10} {compiling * 1e3:11.1f} {cost.compile / 1e6:7.1f} "
              f"{running * 1e6:9.1f} {cost.run / 1e3:9.1f}")


def kinds() -> dict[str, Callable[[], minigrad.Tensor]]:
    """Programs of one op each, of every kind that tier 0 runs in its own way; a millisecond or a few."""
    def given(*shape: int) -> minigrad.Tensor:
        return minigrad.rand(*shape).realize()

    a, b, images, few = given(1000, 1000), given(512, 512), given(8, 32, 16, 16), given(32, 32, 3, 3)
    table, values, index = given(1000, 64), given(20_000, 64), minigrad.randint(0, 1000, (20_000,)).realize()
    few.requires_grad_()
    return {
        "map": lambda: a * a,
        "reduce rows": lambda: a.amax(1),
        "reduce columns": lambda: a.amax(0),
        "matrix product": lambda: b @ b,
        "convolution": lambda: nn.functional.conv2d(images, few.detach(), padding=1),
        "its weight gradient": lambda: autograd.grad(nn.functional.conv2d(images, few, padding=1), few, images)[0],
        "gather": lambda: table[index],
        "scatter": lambda: minigrad.zeros(1000, 64).index_add(0, index, values),
    }


def compared(make: Callable[[], minigrad.Tensor]) -> tuple[float, float]:
    """Seconds that a run by tier 0 takes by the cost model, and those measured, with one thread."""
    plans.clear()
    with minigrad.config(TIERS=2, THREADS=1, REPLAY=0):
        make().realize()
        modelled = max(family.rent for family in plans.families.values()) / 1e9
        best = float("inf")
        for _ in range(4):
            start = process_time()
            make().realize()
            best = min(best, process_time() - start)
    return modelled, best


def products() -> None:
    """GFLOP/s of matrix products, by tier 0 and compiled."""
    print(f"{'M':>6} {'K':>6} {'N':>6} {'tier 0':>8} {'compiled':>9}")
    for m, k, n in ((60, 256, 256), (1206, 256, 256), (1206, 256, 1024), (1206, 1024, 256), (512, 512, 512)):
        a, b = minigrad.rand(m, k), minigrad.rand(k, n)
        speeds = []
        for tier in (2, 0):
            plans.clear()
            best = float("inf")
            with minigrad.config(TIERS=tier, REPLAY=0):
                for _ in range(20):
                    start = perf_counter()
                    (a @ b).realize()
                    best = min(best, perf_counter() - start)
            speeds.append(2 * m * k * n / best / 1e9)
        print(f"{m:6} {k:6} {n:6} {speeds[0]:8.0f} {speeds[1]:9.0f}")


def main() -> None:
    """Each row in a process of its own, then the cost model, kinds of ops and matrix products."""
    parser = argparse.ArgumentParser("python tools/tiers.py", description=__doc__)
    parser.add_argument("--row", choices=ROWS, help="this row only, in this process")
    options = parser.parse_args()
    if options.row:
        minigrad.zeros(3).numpy()
        for run in ("first", "again"):
            start = process_time()
            ROWS[options.row]()
            print(f"{options.row:<20} {run}: {process_time() - start:.3f} s", flush=True)
        return
    for name in ROWS:
        subprocess.run([sys.executable, __file__, "--row", name], check=True, env={**os.environ, "MINIGRAD_CACHE": "0"})
    model()
    print(f"{'kind':<20} {'model µs':>9} {'measured':>9}")
    for kind, make in kinds().items():
        modelled, seconds = compared(make)
        print(f"{kind:<20} {modelled * 1e6:9.0f} {seconds * 1e6:9.0f}")
    products()


if __name__ == "__main__":
    main()
