"""Stage: front. In: sequences, states and weights. Out: the formulas of recurrent layers: a network of any number of
layers and directions is one node, and each of its sequences one loop.
Next: ``clip.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from minigrad.nn.composites.dropout import dropout
from minigrad.nn.composites.precision import wide
from minigrad.tensor import Tensor, arange, cat, composite, loop, stack, where, zeros

Tensors = Sequence[Tensor]
Step = Callable[[Tensors, Tensor, Tensor, Tensor | None, Tensor | None], tuple[list[Tensor], list[Tensor]]]


@dataclass(frozen=True)
class Cell:
    """A kind of recurrent layer. ``step(states, x, w_hh, b_hh, w_hr)``: the states after a step, and what its gradient
    needs beside them; x is the input's part of the gates. ``gates``: how many numbers it has for each hidden one;
    ``inner_bias``: whether b_hh is added in the step, rather than to x."""

    name: str
    step: Step
    gates: int
    states: int = 1
    inner_bias: bool = False


def _tanh_step(states: Tensors, x: Tensor, w_hh: Tensor, b_hh: Tensor | None,
               w_hr: Tensor | None) -> tuple[list[Tensor], list[Tensor]]:
    return [(x + states[0] @ w_hh.T).tanh()], []


def _relu_step(states: Tensors, x: Tensor, w_hh: Tensor, b_hh: Tensor | None,
               w_hr: Tensor | None) -> tuple[list[Tensor], list[Tensor]]:
    total = x + states[0] @ w_hh.T
    return [total.relu()], [total]


def _lstm_step(states: Tensors, x: Tensor, w_hh: Tensor, b_hh: Tensor | None,
               w_hr: Tensor | None) -> tuple[list[Tensor], list[Tensor]]:
    h, c = states
    gates = x + h @ w_hh.T
    i, f, g, o = gates.chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    h = o.sigmoid() * c.tanh()
    return [h if w_hr is None else h @ w_hr.T, c], [gates]


def _gru_step(states: Tensors, x: Tensor, w_hh: Tensor, b_hh: Tensor | None,
              w_hr: Tensor | None) -> tuple[list[Tensor], list[Tensor]]:
    h = states[0]
    inner = h @ w_hh.T
    if b_hh is not None:
        inner = inner + b_hh
    (x_r, x_z, x_n), (h_r, h_z, h_n) = x.chunk(3, -1), inner.chunk(3, -1)
    n = (x_n + (x_r + h_r).sigmoid() * h_n).tanh()
    return [n + (x_z + h_z).sigmoid() * (h - n)], [inner]


RNN_TANH = Cell("rnn_tanh", _tanh_step, 1)
RNN_RELU = Cell("rnn_relu", _relu_step, 1)
LSTM = Cell("lstm", _lstm_step, 4, states=2)
GRU = Cell("gru", _gru_step, 3, inner_bias=True)
CELLS = {"RNN_TANH": RNN_TANH, "RNN_RELU": RNN_RELU, "LSTM": LSTM, "GRU": GRU}


def _inputs(cell: Cell, x: Tensor, w_ih: Tensor, biases: Tensors) -> Tensor:
    """The part of the gates that needs no state, for all steps at once."""
    gates = x @ w_ih.T
    for bias in biases[:1] if cell.inner_bias else biases:
        gates = gates + bias
    return gates


def _layer(cell: Cell, x: Tensor, initial: Tensors, weights: Tensors, lengths: Tensor | None, bias: bool,
           backwards: bool) -> list[Tensor]:
    """One direction of one layer: for each state, its values after all steps. Beyond its length a sequence keeps its
    state, so that the last step has the final one, and a sequence that runs backwards begins at its own end."""
    w_ih, w_hh, *rest = weights
    biases = rest[:2] if bias else []
    w_hr = rest[-1] if len(rest) % 2 else None  # the biases are two or none
    b_hh = biases[1] if bias and cell.inner_bias else None
    constants = [w for w in (w_hh, b_hh, w_hr) if w is not None]
    rows = [_inputs(cell, x, w_ih, biases)]
    if lengths is not None:
        steps = arange(x.shape[0], device=x.device).reshape(-1, 1, 1)
        rows.append(steps < lengths.reshape(1, -1, 1))

    def step(states: Tensors, now: Tensors, given: Tensors) -> tuple[Tensors, Tensors]:
        left = list(given)
        w = left.pop(0)
        b = left.pop(0) if b_hh is not None else None
        new, extra = cell.step(states, now[0], w, b, left.pop(0) if w_hr is not None else None)
        if lengths is not None:
            new = [where(now[1], after, before) for after, before in zip(new, states, strict=True)]
        return new, extra

    states, _ = loop(step, initial, rows, constants, backwards=backwards)
    return states


def _recurrent(cell: Cell) -> Any:
    def network(input: Tensor, initial: list[Tensor] | None, weights: list[Tensor], sources: list[Tensor] | None,
                packing: list[Tensor] | None, *, directions: int, bias: bool, projected: bool,
                batch_first: bool, p: float) -> tuple[Tensor, ...]:
        """The output at each step, and for each state its final values in all layers and directions.

        ``input``: (T, N, I), or (N, T, I) with ``batch_first``; with ``packing`` the rows of all sequences, (total, I).
        ``packing``: for each step and sequence its row in the input, (T, N); the lengths, (N,); where each row of the
        output stands among the T N of all steps, (total,). ``sources`` decide what dropout drops between layers."""
        floats, dtype = wide(input, *(initial or ()), *weights)
        x, initial, weights = floats[0], floats[1:len(initial or ()) + 1], floats[len(floats) - len(weights):]
        lengths = None
        if packing is not None:
            x, lengths = x[packing[0]], packing[1]
        elif batch_first:
            x = x.transpose(0, 1)
        each = 2 + 2 * bias + projected
        sets = [weights[i:i + each] for i in range(0, len(weights), each)]
        finals: list[list[Tensor]] = [[] for _ in range(cell.states)]
        for number in range(0, len(sets), directions):
            outputs = []
            for way in range(directions):
                own = sets[number + way]
                start = [initial[k][number + way] for k in range(cell.states)] if initial else _zeros(cell, x, own)
                states = _layer(cell, x, start, own, lengths, bias, way == 1)
                outputs.append(states[0])
                for final, state in zip(finals, states, strict=True):
                    final.append(state[0 if way else -1])
            x = outputs[0] if directions == 1 else cat(outputs, -1)
            if sources is not None and number + directions < len(sets):
                x = dropout(x, sources[number // directions], size=tuple(x.shape), p=p)
        if packing is not None:
            x = x.reshape(-1, x.shape[-1])[packing[2]]
        elif batch_first:
            x = x.transpose(0, 1)
        return (x.to(dtype), *[stack(final).to(dtype) for final in finals])

    network.__name__ = cell.name
    return composite(network)


def _zeros(cell: Cell, x: Tensor, weights: Tensors) -> list[Tensor]:
    """States to begin with."""
    w_hh = weights[1]
    sizes = [w_hh.shape[1], w_hh.shape[0] // cell.gates][:cell.states]
    return [zeros(x.shape[1], size, dtype=x.dtype, device=x.device) for size in sizes]


NETWORKS = {mode: _recurrent(cell) for mode, cell in CELLS.items()}
"""By mode: the composite of a whole network."""


def _one_step(cell: Cell) -> Any:
    def step(input: Tensor, initial: list[Tensor], w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None,
             b_hh: Tensor | None) -> tuple[Tensor, ...]:
        """The states after one step; input (N, I), states (N, H)."""
        (x, w_ih, w_hh, b_ih, b_hh, *initial), dtype = wide(input, w_ih, w_hh, b_ih, b_hh, *initial)
        biases = [] if b_ih is None or b_hh is None else [b_ih, b_hh]
        states, _ = cell.step(initial, _inputs(cell, x, w_ih, biases), w_hh, b_hh if cell.inner_bias else None, None)
        return tuple(state.to(dtype) for state in states)

    step.__name__ = f"{cell.name}_cell"
    return composite(step)


STEPS = {mode: _one_step(cell) for mode, cell in CELLS.items()}
"""By mode: the composite of one step."""
