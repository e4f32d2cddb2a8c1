"""Stage: beside the house. In: nothing. Out: ``OVERHEAD``, the table of ``python -m tools.bench overhead``: what an
ordinary program costs beside its work: recording, first sight, planning, single numbers, sizes that change.
Next: ``suites.py``, which names the tables."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from tools.bench import programs, training
from tools.bench.floors import AtMost, FigureAtMost, Floor, Ratio
from tools.bench.workloads import MATMUL_16, MORE_MEMORY, Workload, normal, steps

Functions = dict[str, Callable[..., Any]]


def both(pytorch: Callable[..., Any], numpy: Callable[..., Any], **others: Callable[..., Any]) -> Functions:
    """The functions of a row by style."""
    return {"pytorch": pytorch, "numpy": numpy, **others}


def ops_row(name: str, what: str, *floors: Floor, **how: int) -> Workload:
    """A row in microseconds an op."""
    return Workload(name, what, "made", programs.op_inputs,
                    both(partial(programs.pytorch_ops, **how), programs.numpy_ops), peers=("numpy", "torch"),
                    floors=floors, parts=programs.OPS)


def scalar_row(name: str, what: str, program: Callable[..., Any], samples: int, floors: tuple[Floor, ...],
               **how: float) -> Workload:
    """A row of micrograd's demo."""
    function = partial(program, **how)
    return Workload(name, what, "fresh", partial(programs.moons_inputs, samples),
                    both(function, function, micrograd=function), peers=("torch", "micrograd"), tolerance=1e-3,
                    floors=floors)


def fresh(name: str, what: str, inputs: Callable[[], list[np.ndarray]], functions: Functions, *floors: Floor,
          peers: tuple[str, ...] = ("torch",), kind: str = "fresh") -> Workload:
    """A program that runs once in a fresh process, from the imported library to its result."""
    return Workload(name, what, kind, inputs, functions, peers=peers, tolerance=1e-3, floors=floors)


def explained(name: str, what: str, recipe: training.Recipe, limit: float, **how: int) -> Workload:
    """A row of a training loop, explained beside plain."""
    functions = both(partial(programs.explained_steps, recipe=recipe, **how),
                     partial(programs.numpy_first_step, recipe=recipe, **how))
    return fresh(name, what, recipe.inputs, functions, FigureAtMost("times the plain loop", limit), peers=())


chain_20000 = dict.fromkeys(("pytorch", "numpy"), partial(programs.chain, ops=20_000))
heat_5000 = dict.fromkeys(("pytorch", "numpy"), partial(programs.heat, count=5000))
one_write_each = dict.fromkeys(("pytorch", "numpy"), programs.writes)
rnn_first, rnn_later = (both(partial(programs.pytorch_rnn, later=later), partial(programs.numpy_rnn, later=later))
                        for later in (False, True))
growing = both(programs.pytorch_growing, programs.numpy_growing)
first_mlp = both(programs.pytorch_first_mlp, programs.numpy_first_mlp, jax=programs.jax_first_mlp)
many_layers = dict.fromkeys(("pytorch", "numpy"), partial(programs.layers, small=100, large=1000))

OVERHEAD: tuple[Workload, ...] = (
    Workload("xor_plain", "XOR training step, 2-8-1, tanh, SGD: plain loop, against PyTorch's plain loop and JAX jit",
             "step", training.XOR.inputs, steps(training.XOR, jit=False), peers=("numpy", "torch", "jax"),
             tolerance=1e-3, floors=(Ratio("torch", 3.0),)),
    Workload("xor_jit", "the same under minigrad.jit", "step", training.XOR.inputs,
             steps(training.XOR, jit=True), peers=("torch", "jax"), tolerance=1e-3, floors=(Ratio("jax", 1.0),)),
    Workload("mlp_plain", "MLP training step, 128x784-256-10, AdamW: plain loop, against PyTorch's and JAX jit", "step",
             training.MLP.inputs, steps(training.MLP, jit=False), training.MLP.model.flops(), "flops",
             ("numpy", "torch", "jax"), 1e-3, (Ratio("jax", 1.0),)),
    Workload("mlp_jit", "the same under minigrad.jit", "step", training.MLP.inputs,
             steps(training.MLP, jit=True), training.MLP.model.flops(), "flops", ("torch", "jax"), 1e-3),
    ops_row("op_untracked", "one op of 100 on 8 numbers, the same 100 each time, dropped; PyTorch and NumPy run it",
            AtMost(0.7e-6)),
    ops_row("op_tracked", "the same with x.requires_grad", AtMost(1.0e-6), tracked=True),
    ops_row("op_replayed", "the same 100 each time, and the result computed", AtMost(0.7e-6), realised=True),
    ops_row("op_recorded", "an op that is recorded, as new calls are (REPLAY=0)", replay=0),
    ops_row("op_recorded_tracked", "the same with x.requires_grad", replay=0, tracked=True),
    MATMUL_16,
    Workload("matmul_16_wrapped", "a @ b, 16x16, of from_numpy's tensors", "made", normal((16, 16), (16, 16)),
             both(programs.pytorch_wrapped_product, programs.numpy_product), 2 * 16**3, "flops", ("numpy", "torch"),
             floors=(AtMost(8e-6),)),
    scalar_row("micrograd_first", "micrograd's demo with single numbers, 100 samples: first step",
               programs.first_scalar_step, 100, (AtMost(1.5),)),
    scalar_row("micrograd_later", "the same: later steps, mean", programs.later_scalar_steps, 100,
               (Ratio("torch", 1.0),)),
    scalar_row("micrograd_25", "the same with 25 samples: steps after the third, mean", programs.later_scalar_steps, 25,
               (Ratio("torch", 1.0),), before=3, count=10),
    scalar_row("micrograd_batches", "the same with random batches of 4: steps after the fifth, mean",
               programs.later_scalar_steps, 100, (Ratio("micrograd", 1.0),), batch=4, before=5, count=40),
    fresh("chain_20000", "20,000 ops one after another on 8 numbers, first time",
          normal((8,)), chain_20000, AtMost(0.3), FigureAtMost(MORE_MEMORY, 100),
          peers=("numpy", "torch")),
    fresh("chain_20000_0d", "the same on one number without dimensions", normal(()), chain_20000, AtMost(0.3),
          FigureAtMost(MORE_MEMORY, 100), peers=("numpy", "torch")),
    fresh("heat_5000", "5,000 steps of the heat equation in place, 32x32, first time",
          partial(programs.heat_inputs, 32), heat_5000, AtMost(1.0), peers=("numpy", "torch")),
    fresh("rnn_first", "RNN over 1,000 steps with backward, 4x16: first time", partial(programs.rnn_inputs, 1000),
          rnn_first, AtMost(0.5)),
    fresh("rnn_later", "the same: later times", partial(programs.rnn_inputs, 1000), rnn_later),
    fresh("writes_3000", "3,000 writes y[i] = i, first time", partial(programs.list_inputs, 3000), one_write_each,
          AtMost(0.2), peers=("numpy", "torch")),
    fresh("growing_cold", "a transformer's block on 400 growing sequences, 6xNx256: first time, nothing cached",
          partial(programs.growing_inputs, 400, 256), growing, Ratio("torch", 1.0)),
    fresh("growing_cached", "the same with what an earlier process cached on disk",
          partial(programs.growing_inputs, 400, 256), growing, Ratio("torch", 1.0), kind="cached"),
    Workload("list_1000000", "tensor(list of 1,000,000 floats)", "made", partial(programs.list_inputs, 1_000_000),
             both(programs.pytorch_list, programs.numpy_list), peers=("numpy", "torch"), floors=(AtMost(0.25),)),
    fresh("mlp_first_cold", "first MLP training step, nothing cached", training.MLP.inputs, first_mlp, AtMost(0.150),
          peers=("torch", "jax")),
    fresh("mlp_first_cached", "the same with what an earlier process cached on disk", training.MLP.inputs, first_mlp,
          AtMost(0.050), peers=("torch", "jax"), kind="cached"),
    fresh("plan_1000", "1,000 equal layers, a kernel each, at first sight, beside 100 layers", programs.layers_inputs,
          many_layers, FigureAtMost("times the time of 100 layers", 10)),
    explained("explain_xor", "200 XOR training steps of the plain loop, replayed, under minigrad.explain", training.XOR,
              1.5, count=200),
    explained("explain_mlp", "30 MLP training steps, replayed, under minigrad.explain", training.MLP, 1.5, count=30),
    explained("explain_recorded", "100 XOR training steps, each recorded anew (REPLAY=0), under minigrad.explain",
              training.XOR, 1.5, count=100, replay=0),
    explained("explain_off", "200 XOR training steps of the plain loop, after a block of minigrad.explain",
              training.XOR, 1.05, count=200, after=True),
)
