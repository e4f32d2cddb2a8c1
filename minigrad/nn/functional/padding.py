"""Stage: front. In: a Tensor and how far its last dimensions grow. Out: it with values around it.
Next: ``pooling.py``."""

from __future__ import annotations

import math
from collections.abc import Sequence

from minigrad.dtype import bool_
from minigrad.nn.composites import padding as formulas
from minigrad.nn.functional.arguments import whole_numbers
from minigrad.tensor import Tensor, type_name
from minigrad.tensor.operands import require_tensor
from minigrad.tensor.promotion import stored

_SUPPORTED = ("Supported combinations for non-constant padding:\n"
              "  - 2D or 3D input: padding size = 2 (pads last dimension)\n"
              "  - 3D or 4D input: padding size = 4 (pads last 2 dimensions)\n"
              "  - 4D or 5D input: padding size = 6 (pads last 3 dimensions)")

_AXIS_LETTERS = "DHW"


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Values around the last dimensions: ``pad`` gives (begin, end) of the last one, then of the one before it, and so
    on; negative numbers cut off.

    ``"constant"`` puts ``value`` there (0), ``"reflect"`` mirrors at the edge element, ``"replicate"`` repeats it and
    ``"circular"`` goes on at the other end. The last three grow 1, 2 or 3 dimensions of a tensor with one or two more
    dimensions than that. ``RuntimeError`` for an odd number of sides, for reflections that reach beyond the other end
    and for sizes that would be negative; ``NotImplementedError`` for other modes or numbers of dimensions.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.pad.html)

    >>> import minigrad
    >>> x = minigrad.tensor([[1, 2, 3]])
    >>> pad(x, (2, -1)), pad(x, (2, 1), "reflect"), pad(x, (1, 1), "circular")
    (tensor([[0, 0, 1, 2]]), tensor([[3, 2, 1, 2, 3, 2]]), tensor([[3, 1, 2, 3, 1]]))
    """
    require_tensor(input, "pad", "input", 1)
    flat = whole_numbers("pad", "pad", 2, pad)
    if isinstance(flat, int):
        raise TypeError("pad(): argument 'pad' (position 2) must be tuple of ints, not int")
    if mode not in ("constant", "reflect", "replicate", "circular"):
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    shape = tuple(input.shape)
    if len(flat) % 2:
        raise RuntimeError("Padding length must be divisible by 2")
    if len(flat) > 2 * len(shape):
        raise RuntimeError("Padding length should be less than or equal to two times the input dimension but got "
                           f"padding length {len(flat)} and input of dimension {len(shape)}")
    grown = tuple(zip(flat[::2], flat[1::2], strict=True))[::-1]
    sides = ((0, 0),) * (len(shape) - len(grown)) + grown
    if mode == "constant":
        _check_cuts(shape, sides)
        fill = 0 if value is None else stored(value if isinstance(value, complex) else float(value), input.dtype)
        return formulas.CONSTANT_PAD((input,), (sides, math.nan if fill != fill else fill))  # one NaN: it is a key
    if value is not None and value != 0:
        raise RuntimeError(f'Padding mode "{mode}" doesn\'t take in value argument')
    dims = len(grown)
    if not 1 <= dims <= 3 or len(shape) - dims not in (1, 2):
        raise NotImplementedError(f"Padding size {len(flat)} is not supported for {len(shape)}D input tensor.\n"
                                  + _SUPPORTED)
    if mode == "circular":
        _check_circular(shape, sides)
        return formulas.CIRCULAR_PAD((input,), (sides,))
    name = "reflection" if mode == "reflect" else "replication"
    _check_edges(input, sides, dims, name)
    return (formulas.REFLECTION_PAD if mode == "reflect" else formulas.REPLICATION_PAD)[dims]((input,), (sides,))


def _check_cuts(shape: Sequence[int], sides: formulas.Sides) -> None:
    for size, (low, high) in zip(shape, sides, strict=True):
        if size + min(0, low) < 0 or size + min(0, low) + min(0, high) < 0:
            raise RuntimeError("narrow(): length must be non-negative.")


def _check_circular(shape: Sequence[int], sides: formulas.Sides) -> None:
    for size, (low, high) in reversed(list(zip(shape, sides, strict=True))):
        if max(low, high) <= size and size + low + high < 0:
            raise RuntimeError("Negative padding value is resulting in an empty dimension")
        if max(low, high) > size + min(0, low) + min(0, high):  # PyTorch reads what it has not written in some cases
            raise RuntimeError("Padding value causes wrapping around more than once.")


def _check_edges(input: Tensor, sides: formulas.Sides, dims: int, name: str) -> None:
    """Raises PyTorch's errors for what reflection and replication cannot do."""
    shape = list(input.shape)
    if input.dtype is bool_:
        raise NotImplementedError(f'"{name}_pad{dims}d" not implemented for \'{type_name(input.dtype)}\'')
    if 0 in shape[len(shape) - dims - 1:]:
        raise RuntimeError(f"Expected {dims + 1}D or {dims + 2}D (batch mode) tensor with possibly 0 batch size and "
                           f"other non-zero dimensions for input, but got: {shape}")
    grown = list(enumerate(sides))[-dims:]
    if name == "reflection":
        for position, (axis, side) in enumerate(reversed(grown)):
            if max(side) >= shape[axis]:
                raise RuntimeError(f"Argument #{4 + 2 * position}: Padding size should be less than the corresponding "
                                   f"input dimension, but got: padding {side} at dimension {axis} of input {shape}")
    after = [size + low + high for size, (low, high) in zip(shape, sides, strict=True)]
    if max(after[-dims:]) < 1:
        now, then = [" ".join(f"{letter}: {sizes[axis]}" for letter, (axis, _) in
                              zip(_AXIS_LETTERS[-dims:], grown, strict=True)) for sizes in (shape, after)]
        raise RuntimeError(f"input ({now.replace(' W', ', W')}) is too small. Calculated output {then}")
    if min(after) < 0:
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(after)}: {after}")
