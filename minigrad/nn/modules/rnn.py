"""Stage: front. In: sequences. Out: what recurrent networks make of them, step by step: RNN, LSTM and GRU, and their
cells, which take one step.
Next: ``lazy.py``."""

from __future__ import annotations

import math
import numbers
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad.autograd.mode import mode
from minigrad.nn import init
from minigrad.nn.composites import recurrent as formulas
from minigrad.nn.modules.module import Module
from minigrad.nn.parameter import Parameter
from minigrad.nn.utils.rnn import PackedSequence
from minigrad.tensor import Tensor, dropout_source, empty, from_numpy


def apply_permutation(tensor: Tensor, permutation: Tensor, dim: int = 1) -> Tensor:
    """``tensor`` with the entries along ``dim`` in the order of ``permutation``.

    >>> import minigrad
    >>> apply_permutation(minigrad.tensor([[1, 2]]), minigrad.tensor([1, 0]))
    tensor([[2, 1]])
    """
    return tensor.index_select(dim, permutation)


class RNNBase(Module):
    """What RNN, LSTM and GRU share: weights for each layer and direction, ``weight_ih_l0``, ``weight_hh_l0``,
    ``bias_ih_l0``, ``bias_hh_l0`` and so on, and how sequences come in and go out.

    >>> [name for name, _ in RNNBase("GRU", 2, 3, bidirectional=True, bias=False).named_parameters()]
    ['weight_ih_l0', 'weight_hh_l0', 'weight_ih_l0_reverse', 'weight_hh_l0_reverse']
    """

    __constants__ = ("mode", "input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout",
                     "bidirectional", "proj_size")
    __jit_unused_properties__ = ("all_weights",)

    def __init__(self, mode: str, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
                 batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0,
                 device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        if not isinstance(dropout, numbers.Number) or isinstance(dropout, bool) or not 0 <= dropout <= 1:
            raise ValueError("dropout should be a number in range [0, 1] representing the probability of an element "
                             "being zeroed")
        if dropout > 0 and num_layers == 1:
            warnings.warn("dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects "
                          f"num_layers greater than 1, but got dropout={dropout} and num_layers={num_layers}",
                          stacklevel=3)
        _check_sizes(input_size, hidden_size, num_layers, bias, batch_first, proj_size)
        if mode not in formulas.CELLS:
            raise ValueError("Unrecognized RNN mode: " + mode)
        self.mode, self.input_size, self.hidden_size, self.num_layers = mode, input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout = bias, batch_first, float(dropout)
        self.bidirectional, self.proj_size = bidirectional, proj_size
        self._all_weights: list[list[str]] = []
        gates, given = formulas.CELLS[mode].gates * hidden_size, proj_size or hidden_size
        ways = ("", "_reverse") if bidirectional else ("",)
        for layer in range(num_layers):
            width = input_size if layer == 0 else given * len(ways)
            shapes: dict[str, Any] = {"weight_ih": (gates, width), "weight_hh": (gates, given)}
            if bias:
                shapes |= {"bias_ih": (gates,), "bias_hh": (gates,)}
            if proj_size:
                shapes["weight_hr"] = (proj_size, hidden_size)
            for way in ways:
                names = [f"{kind}_l{layer}{way}" for kind in shapes]
                for name, shape in zip(names, shapes.values(), strict=True):
                    setattr(self, name, Parameter(empty(shape, device=device, dtype=dtype)))
                self._all_weights.append(names)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws all weights and biases anew, uniform in ±1/sqrt(hidden_size)."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def flatten_parameters(self) -> None:
        """Does nothing: weights need not lie side by side here."""

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The weights of each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: PyTorch's layers also hold the lists that are properties here."""
        return super().__getstate__() | {name: getattr(self, name) for name in ("_flat_weights_names", "_flat_weights")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({name: value for name, value in state.items() if not name.startswith("_flat_weight")})
        self.__dict__.setdefault("proj_size", 0)  # what older files lack

    @property
    def _flat_weights_names(self) -> list[str]:
        return [name for names in self._all_weights for name in names]

    @property
    def _flat_weights(self) -> list[Parameter]:
        return [getattr(self, name) for name in self._flat_weights_names]

    # ---- checking

    def check_input(self, input: Tensor, batch_sizes: Tensor | None) -> None:
        """Raises PyTorch's errors for an input of another dtype, rank or width."""
        weight = self._flat_weights[0]
        if input.dtype != weight.dtype and mode.autocast is None:
            raise ValueError(f"RNN input dtype ({input.dtype}) does not match weight dtype ({weight.dtype}). Convert "
                             f"input: input.to({weight.dtype}), or convert model: model.to({input.dtype})")
        wanted = 2 if batch_sizes is not None else 3
        if input.dim() != wanted:
            raise RuntimeError(f"input must have {wanted} dimensions, got {input.dim()}")
        if self.input_size != input.size(-1):
            raise RuntimeError("input.size(-1) must be equal to input_size. "
                               f"Expected {self.input_size}, got {input.size(-1)}")

    def get_expected_hidden_size(self, input: Tensor, batch_sizes: Tensor | None) -> tuple[int, int, int]:
        """The shape that the hidden state should have."""
        return self._state_size(input, batch_sizes, self.proj_size or self.hidden_size)

    def _state_size(self, input: Tensor, batch_sizes: Tensor | None, width: int) -> tuple[int, int, int]:
        batch = int(batch_sizes[0]) if batch_sizes is not None else input.size(0 if self.batch_first else 1)
        return self.num_layers * (2 if self.bidirectional else 1), batch, width

    def check_hidden_size(self, hx: Tensor, expected_hidden_size: tuple[int, int, int],
                          msg: str = "Expected hidden size {}, got {}") -> None:
        """``RuntimeError`` for a state of another shape."""
        if tuple(hx.shape) != expected_hidden_size:
            raise RuntimeError(msg.format(expected_hidden_size, list(hx.shape)))

    def check_forward_args(self, input: Tensor, hidden: Any, batch_sizes: Tensor | None) -> None:
        """Raises PyTorch's errors for an input or a state that does not fit."""
        self.check_input(input, batch_sizes)
        self.check_hidden_size(hidden, self.get_expected_hidden_size(input, batch_sizes))

    def permute_hidden(self, hx: Any, permutation: Tensor | None) -> Any:
        """A state with its sequences in another order."""
        return hx if permutation is None else apply_permutation(hx, permutation)

    # ---- running

    _word = "RNN"

    def _ranks(self, states: Sequence[Tensor]) -> str:
        return f"hx should also be {{}}-D but got {states[0].dim()}-D tensor"

    def _run(self, given: Any, states: list[Tensor] | None) -> tuple[Any, list[Tensor]]:
        """The output and the final states of a network, for an input of any kind."""
        if isinstance(given, PackedSequence):
            return self._run_packed(given, states)
        if given.dim() not in (2, 3):
            got = f"{given.dim()}D instead" if self._word != "RNN" else f"{given.dim()}D tensor instead"
            raise ValueError(f"{self._word}: Expected input to be 2D or 3D, got {got}")
        is_batched = given.dim() == 3
        axis = 0 if self.batch_first else 1
        input = given if is_batched else given.unsqueeze(axis)
        if states is None:
            self.check_input(input, None)
        else:
            rank = 3 if is_batched else 2
            if any(state.dim() != rank for state in states):
                kind = "batched 3-D" if is_batched else "unbatched 2-D"
                raise RuntimeError(f"For {kind} input, {self._ranks(states).format(rank)}")
            states = states if is_batched else [state.unsqueeze(1) for state in states]
            self.check_forward_args(input, states[0] if len(states) == 1 else tuple(states), None)
        if input.size(1 if self.batch_first else 0) == 0:
            raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
        size = (input.size(1 - axis), input.size(axis))
        output, *finals = self._network(input, states, None, size, self.batch_first)
        if is_batched:
            return output, finals
        return output.squeeze(axis), [final.squeeze(1) for final in finals]

    def _run_packed(self, packed: PackedSequence, states: list[Tensor] | None) -> tuple[Any, list[Tensor]]:
        data, batch_sizes, order, back = packed
        if states is None:
            self.check_input(data, batch_sizes)
        else:
            self.check_forward_args(data, states[0] if len(states) == 1 else tuple(states), batch_sizes)
            states = [self.permute_hidden(state, order) for state in states]
        rows, lengths, places = _packing(np.asarray(batch_sizes))
        packing = [from_numpy(a).to(data.device) for a in (rows, lengths, places)]
        output, *finals = self._network(data, states, packing, rows.shape, False)
        return PackedSequence(output, batch_sizes, order, back), [
            final if back is None else apply_permutation(final, back) for final in finals]

    def _network(self, input: Tensor, states: list[Tensor] | None, packing: list[Tensor] | None,
                 size: tuple[int, ...], batch_first: bool) -> tuple[Tensor, ...]:
        directions = 2 if self.bidirectional else 1
        p = self.dropout if self.training else 0.0
        sources = None
        if p and self.num_layers > 1:
            width = (self.proj_size or self.hidden_size) * directions
            sources = [dropout_source((*size, width), p, input.device) for _ in range(self.num_layers - 1)]
        result: tuple[Tensor, ...] = formulas.NETWORKS[self.mode](
            input, states, self._flat_weights, sources, packing, directions=directions, bias=self.bias,
            projected=self.proj_size > 0, batch_first=batch_first, p=p)
        return result

    def extra_repr(self) -> str:
        parts = [f"{self.input_size}, {self.hidden_size}"]
        for name, default in (("proj_size", 0), ("num_layers", 1), ("bias", True), ("batch_first", False),
                              ("dropout", 0), ("bidirectional", False)):
            if getattr(self, name) != default:
                parts.append(f"{name}={getattr(self, name)}")
        return ", ".join(parts)


def _check_sizes(input_size: Any, hidden_size: Any, num_layers: int, bias: Any, batch_first: Any,
                 proj_size: int) -> None:
    for name, value in (("bias", bias), ("batch_first", batch_first)):
        if not isinstance(value, bool):
            raise TypeError(f"{name} should be of type bool, got: {type(value).__name__}")
    for name, value in (("input_size", input_size), ("hidden_size", hidden_size)):
        if not isinstance(value, int):
            raise TypeError(f"{name} should be of type int, got: {type(value).__name__}")
        if value <= 0:
            raise ValueError(f"{name} must be greater than zero")
    if num_layers <= 0:
        raise ValueError("num_layers must be greater than zero")
    if proj_size < 0:
        raise ValueError("proj_size should be a positive integer or zero to disable projections")
    if proj_size >= hidden_size:
        raise ValueError("proj_size has to be smaller than hidden_size")


def _packing(batch_sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the rows of a packed sequence belong: for each step and sequence the row (0 where there is none), the
    lengths, and for each row its place among all steps and sequences."""
    steps, batch = len(batch_sizes), int(batch_sizes[0])
    column = np.arange(batch)
    there = column < batch_sizes[:, None]
    begins = np.cumsum(batch_sizes) - batch_sizes
    rows = np.where(there, begins[:, None] + column, 0)
    places = np.flatnonzero(there.reshape(-1))
    assert rows.shape == (steps, batch)
    return rows.astype(np.int64), there.sum(0).astype(np.int64), places.astype(np.int64)


class RNN(RNNBase):
    """h_t = tanh(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh), in any number of layers, or with ReLU.

    Input (T, N, input_size), with ``batch_first`` (N, T, input_size), without a batch (T, input_size), or a
    PackedSequence; the first state (layers · directions, N, hidden_size) is 0 unless given. Gives the output of the
    last layer at each step, of width directions · hidden_size, and the final states. A sequence is one loop, whose step
    is compiled once. (https://docs.pytorch.org/docs/stable/generated/torch.nn.RNN.html)

    >>> import minigrad
    >>> output, h = RNN(3, 5)(minigrad.zeros(7, 2, 3))
    >>> tuple(output.shape), tuple(h.shape)
    ((7, 2, 5), (1, 2, 5))
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        if len(args) > 3:
            nonlinearity, args = args[3], args[:3] + args[4:]
        else:
            nonlinearity = kwargs.pop("nonlinearity", "tanh")
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'.")
        super().__init__(f"RNN_{nonlinearity.upper()}", *args, **kwargs)
        self.nonlinearity = nonlinearity

    def forward(self, input: Any, hx: Tensor | None = None) -> tuple[Any, Tensor]:
        output, (final,) = self._run(input, None if hx is None else [hx])
        return output, final


class GRU(RNNBase):
    """Gated recurrent units: r = σ(W_ir x + b_ir + W_hr h + b_hr), z = σ(W_iz x + b_iz + W_hz h + b_hz),
    n = tanh(W_in x + b_in + r (W_hn h + b_hn)), h <- (1 - z) n + z h. Shapes as in ``RNN``.

    (Cho and others 2014; https://docs.pytorch.org/docs/stable/generated/torch.nn.GRU.html)

    >>> import minigrad
    >>> output, h = GRU(3, 5, batch_first=True)(minigrad.zeros(2, 7, 3))
    >>> tuple(output.shape), tuple(h.shape)
    ((2, 7, 5), (1, 2, 5))
    """

    _word = "GRU"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        super().__init__("GRU", *args, **kwargs)

    def forward(self, input: Any, hx: Tensor | None = None) -> tuple[Any, Tensor]:
        output, (final,) = self._run(input, None if hx is None else [hx])
        return output, final


class LSTM(RNNBase):
    """Long short-term memory: i, f, o = σ(W_i x + b_i + W_h h + b_h), g = tanh(…) of weights of their own,
    c <- f c + i g, h <- o tanh(c); with ``proj_size`` h <- W_hr (o tanh(c)).

    Shapes as in ``RNN``; the state is a pair (h, c). (Hochreiter, Schmidhuber 1997;
    https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html)

    >>> import minigrad
    >>> output, (h, c) = LSTM(3, 5, num_layers=2)(minigrad.zeros(7, 2, 3))
    >>> tuple(output.shape), tuple(h.shape), tuple(c.shape)
    ((7, 2, 5), (2, 2, 5), (2, 2, 5))
    """

    _word = "LSTM"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__("LSTM", *args, **kwargs)

    def _ranks(self, states: Sequence[Tensor]) -> str:
        return f"hx and cx should also be {{}}-D but got ({states[0].dim()}-D, {states[1].dim()}-D) tensors"

    def get_expected_cell_size(self, input: Tensor, batch_sizes: Tensor | None) -> tuple[int, int, int]:
        """The shape that the cell state should have."""
        return self._state_size(input, batch_sizes, self.hidden_size)

    def check_forward_args(self, input: Tensor, hidden: Any, batch_sizes: Tensor | None) -> None:
        """Raises PyTorch's errors for an input or a state that does not fit."""
        self.check_input(input, batch_sizes)
        self.check_hidden_size(hidden[0], self.get_expected_hidden_size(input, batch_sizes),
                               "Expected hidden[0] size {}, got {}")
        self.check_hidden_size(hidden[1], self.get_expected_cell_size(input, batch_sizes),
                               "Expected hidden[1] size {}, got {}")

    def permute_hidden(self, hx: Any, permutation: Tensor | None) -> Any:
        """A state, or a pair of states, with the sequences in another order."""
        if permutation is None:
            return hx
        if isinstance(hx, Tensor):
            return apply_permutation(hx, permutation)
        return apply_permutation(hx[0], permutation), apply_permutation(hx[1], permutation)

    def forward(self, input: Any, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Any, tuple[Tensor, Tensor]]:
        output, (h, c) = self._run(input, _pair("LSTM", hx))
        return output, (h, c)


# ---- one step


class RNNCellBase(Module):
    """What the cells share: two weights and two biases.

    >>> RNNCellBase(2, 3, bias=False, num_chunks=4).weight_ih.shape[0]
    12
    """

    __constants__ = ("input_size", "hidden_size", "bias")

    def __init__(self, input_size: int, hidden_size: int, bias: bool, num_chunks: int, device: Any = None,
                 dtype: Any = None) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        rows = num_chunks * hidden_size
        self.weight_ih = Parameter(empty((rows, input_size), device=device, dtype=dtype))
        self.weight_hh = Parameter(empty((rows, hidden_size), device=device, dtype=dtype))
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, Parameter(empty(rows, device=device, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws all weights and biases anew, uniform in ±1/sqrt(hidden_size)."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def _step(self, mode: str, input: Tensor, states: list[Tensor] | None) -> list[Tensor]:
        """The states after one step."""
        name = type(self).__name__
        if input.dim() not in (1, 2):
            raise ValueError(f"{name}: Expected input to be 1D or 2D, got {input.dim()}D instead")
        for number, state in enumerate(states or ()):
            if state.dim() not in (1, 2):
                what = f"hx[{number}]" if mode == "LSTM" else "hidden"
                raise ValueError(f"{name}: Expected {what} to be 1D or 2D, got {state.dim()}D instead")
        is_batched = input.dim() == 2
        if not is_batched:
            input, states = input.unsqueeze(0), None if states is None else [s.unsqueeze(0) for s in states]
        if states is None:
            states = [input.new_zeros(input.size(0), self.hidden_size)] * (2 if mode == "LSTM" else 1)
        _check_step(input, states, self.input_size, self.hidden_size)
        results = formulas.STEPS[mode](input, states, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        results = results if isinstance(results, tuple) else (results,)
        return list(results) if is_batched else [result.squeeze(0) for result in results]

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        if self.bias is not True:
            text += f", bias={self.bias}"
        nonlinearity = self.__dict__.get("nonlinearity", "tanh")
        return text if nonlinearity == "tanh" else f"{text}, nonlinearity={nonlinearity}"


def _pair(name: str, hx: Any) -> list[Tensor] | None:
    """The two states of an LSTM as a list; ``IndexError``, as in PyTorch, for a Tensor that is one of them."""
    if hx is None:
        return None
    if len(hx) != 2:
        raise IndexError(f"{name} takes two states, hx=(h, c), but got a {type(hx).__name__} of length {len(hx)}")
    return list(hx)


def _check_step(input: Tensor, states: list[Tensor], input_size: int, hidden_size: int) -> None:
    if input.size(1) != input_size:
        raise RuntimeError(f"input has inconsistent input_size: got {input.size(1)} expected {input_size}")
    for number, state in enumerate(states):
        if input.size(0) != state.size(0):
            raise RuntimeError(f"Input batch size {input.size(0)} doesn't match hidden{number} batch size "
                               f"{state.size(0)}")
        if state.size(1) != hidden_size:
            raise RuntimeError(f"hidden{number} has inconsistent hidden_size: got {state.size(1)}, expected "
                               f"{hidden_size}")


class RNNCell(RNNCellBase):
    """One step of ``RNN``: (N, input_size) and (N, hidden_size) to (N, hidden_size), or all without N.

    (https://docs.pytorch.org/docs/stable/generated/torch.nn.RNNCell.html)

    >>> import minigrad
    >>> tuple(RNNCell(3, 5)(minigrad.zeros(2, 3)).shape)
    (2, 5)
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh",
                 device: Any = None, dtype: Any = None) -> None:
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        return self._step(f"RNN_{self.nonlinearity.upper()}", input, None if hx is None else [hx])[0]


class LSTMCell(RNNCellBase):
    """One step of ``LSTM``: (N, input_size) and a pair of (N, hidden_size) to such a pair, or all without N.

    (https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTMCell.html)

    >>> import minigrad
    >>> h, c = LSTMCell(3, 5)(minigrad.zeros(2, 3))
    >>> tuple(h.shape), tuple(c.shape)
    ((2, 5), (2, 5))
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None,
                 dtype: Any = None) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        h, c = self._step("LSTM", input, _pair("LSTMCell", hx))
        return h, c


class GRUCell(RNNCellBase):
    """One step of ``GRU``: (N, input_size) and (N, hidden_size) to (N, hidden_size), or all without N.

    (https://docs.pytorch.org/docs/stable/generated/torch.nn.GRUCell.html)

    >>> import minigrad
    >>> tuple(GRUCell(3, 5)(minigrad.zeros(3)).shape)
    (5,)
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None,
                 dtype: Any = None) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._step("GRU", input, None if hx is None else [hx])[0]
