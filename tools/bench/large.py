"""Stage: beside the house. In: nothing. Out: ``LARGE``, the table of ``python -m tools.bench large``: rows of seconds a
step, with the memory they take.
Next: ``narrow.py``, then ``suites.py``, which names the tables."""

from __future__ import annotations

from tools.bench import gradients, training
from tools.bench.floors import Ratio
from tools.bench.models import normal
from tools.bench.workloads import Workload, steps

COMPILED = ("torch.compile", "jax")
LENGTH, HEADS, SIZE = 4096, 16, 64


def rows(name: str, what: str, recipe: training.Recipe) -> tuple[Workload, Workload]:
    """A model's step as a plain loop against PyTorch, and compiled against compilers."""
    work = recipe.model.flops()
    return (Workload(f"{name}_step", f"{what}, plain loop", "step", recipe.inputs, steps(recipe, jit=False), work,
                     "flops", ("torch",), 1e-3, (Ratio("torch", 1.2),), memory=True),
            Workload(f"{name}_step_jit", "the same, compiled", "step", recipe.inputs, steps(recipe, jit=True), work,
                     "flops", COMPILED, 1e-3, tuple(Ratio(peer, 1.2) for peer in COMPILED), memory=True))


LARGE: tuple[Workload, ...] = (
    Workload("attention_causal", "causal attention forward and backward, 1x16x4096x64", "made",
             lambda: [normal(1, HEADS, LENGTH, SIZE) for _ in range(4)], gradients.causal_attention_functions(),
             7 * HEADS * LENGTH * LENGTH * SIZE, "flops", ("torch", *COMPILED), 1e-3,
             tuple(Ratio(peer, 1.3) for peer in ("torch", *COMPILED)), memory=True),
    *rows("resnet18", "ResNet-18 training step, 8x3x64x64, SGD", training.RESNET18),
    *rows("gpt2", "GPT training step, 4x128 tokens of 8192, 4 blocks of width 512, AdamW", training.GPT2),
)
