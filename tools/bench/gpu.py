"""Stage: beside the house. In: nothing. Out: ``GPU``, the table of ``python -m tools.bench gpu``: what a card is
measured by, the rows that take longest last; and ``TINY``, a row of each kind, small enough to try without a card.
Next: ``suites.py``, which names the tables."""

from __future__ import annotations

from functools import partial

from tools.bench import gradients, training
from tools.bench.large import LARGE
from tools.bench.models import normal as arrays
from tools.bench.workloads import SQUARE, WORKLOADS, Workload, normal, numpy_softmax, pytorch_attention, short_numbers
from tools.bench.workloads import matmul as float_matmul

SIZES = (1024, 2048, 4096, 8192)
KINDS = {"bf16": "bfloat16", "f16": "float16", "tf32": "", "f32": ""}
TOLERANCES = {"bf16": 1e-2, "f16": 2e-3, "tf32": 2e-3, "f32": 1e-4}
_KNOWN = {row.name: row for row in (*WORKLOADS, *LARGE)}


def matmul(size: int, kind: str) -> Workload:
    """The row of one square product of numbers of a kind, which bfloat16 and tf32 hold exactly."""
    shapes = [(size, size)] * 2
    inputs = partial(short_numbers, *shapes) if kind != "f32" else normal(*shapes)
    return Workload(f"matmul_{size}_{kind}", f"a @ b, {size}x{size}, {kind}", inputs=inputs,
                    functions=float_matmul(size).functions, work=2 * size**3, unit="flops", peers=("torch",),
                    tolerance=TOLERANCES[kind], dtype=KINDS[kind], tf32=kind == "tf32")


def attention(name: str, batch: int, heads: int, length: int, size: int) -> Workload:
    """The row of attention forward, in bfloat16."""
    shape = (batch, heads, length, size)
    return Workload(name, f"softmax(q @ k.T / {size**0.5:g}) @ v, {'x'.join(map(str, shape))}, bfloat16",
                    inputs=partial(short_numbers, *[shape] * 3), functions={
                        "numpy": lambda np, q, k, v: numpy_softmax(np, q @ k.swapaxes(-2, -1) * size**-0.5) @ v,
                        "pytorch": pytorch_attention},
                    work=4 * batch * heads * length * length * size, unit="flops", peers=("torch",), tolerance=2e-2,
                    dtype="bfloat16")


def causal(name: str, heads: int, length: int, size: int) -> Workload:
    """The row of causal attention forward and backward."""
    return Workload(name, f"causal attention forward and backward, 1x{heads}x{length}x{size}", "made",
                    lambda: [arrays(1, heads, length, size) for _ in range(4)], gradients.causal_attention_functions(),
                    7 * heads * length * length * size, "flops", ("torch",), 1e-3)


GPU: tuple[Workload, ...] = (
    *[_KNOWN[name] for name in ("chain", "softmax", "layer_norm", "sum_all", "sum_axis0", "var_axis1")],
    *[matmul(size, kind) for size in SIZES[:2] for kind in KINDS],
    *[_KNOWN[name] for name in ("xor_step", "mlp_step", "gpt_step", "attention")],
    attention("attention_bf16", 4, 16, 2048, 64),
    *[matmul(size, kind) for size in SIZES[2:] for kind in KINDS],
    *[_KNOWN[name] for name in ("attention_causal", "gpt2_step")],
)

TINY: tuple[Workload, ...] = (
    *[Workload(f"tiny_{row.name}", row.what.replace("4096x4096", "32x48"), inputs=normal((32, 48)),
               functions=row.functions, work=row.work * 32 * 48 / (SQUARE[0] * SQUARE[1]), unit=row.unit,
               peers=("torch",), tolerance=row.tolerance)
      for row in (_KNOWN[name] for name in ("chain", "softmax", "layer_norm", "sum_all", "sum_axis0", "var_axis1"))],
    *[matmul(64, kind) for kind in KINDS],
    attention("tiny_attention_bf16", 1, 2, 32, 16), causal("tiny_attention_causal", 2, 32, 16),
    Workload("tiny_xor_step", _KNOWN["xor_step"].what, "step", training.XOR.inputs, _KNOWN["xor_step"].functions,
             peers=("torch",), tolerance=1e-3),
)
