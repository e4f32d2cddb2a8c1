"""Stage: beside the house. In: nothing. Out: ``CONVOLUTIONS``, the table of ``python -m tools.bench convolutions``: the
3x3 convolutions of a ResNet-18, plain and with setting WINOGRAD.
Next: ``gpu.py``, then ``suites.py``, which names the tables."""

from __future__ import annotations

from typing import Any

from tools.bench.windows import convolve
from tools.bench.workloads import Workload, jax_convolution, normal

PEERS = ("torch", "jax")
BATCH = 8


def _by_winograd(lib: Any, x: Any, w: Any) -> Any:
    with lib.config(WINOGRAD=1):
        return lib.nn.functional.conv2d(x, w, padding=1).realize()


def _row(channels: int, size: int, winograd: bool) -> Workload:
    return Workload(
        f"conv_{channels}{'_winograd' * winograd}",
        f"3x3 convolution, padding 1, {BATCH}x{channels}x{size}x{size} to {channels} channels"
        + ", WINOGRAD=1" * winograd,
        inputs=normal((BATCH, channels, size, size), (channels, channels, 3, 3)),
        functions={
            "numpy": lambda np, x, w: convolve(x, w, padding=1),
            "pytorch": lambda lib, x, w: lib.nn.functional.conv2d(x, w, padding=1),
            "jax": jax_convolution, **({"minigrad": _by_winograd} if winograd else {})},
        work=2 * BATCH * size ** 2 * channels ** 2 * 9, unit="flops", peers=PEERS)


CONVOLUTIONS: tuple[Workload, ...] = tuple([
    _row(channels, size, winograd)
    for channels, size in ((64, 56), (128, 28), (256, 14), (512, 7)) for winograd in (False, True)])
