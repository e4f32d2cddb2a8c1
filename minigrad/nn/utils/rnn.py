"""Stage: front. In: sequences of different lengths. Out: them in one Tensor: padded, or packed one time step after
another. Lengths are numbers on the host; where each element goes is an index Tensor, so that lengths compile nothing.
Next: ``prune.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from minigrad.dtype import float16, float32, float64, int8, int16, int32, int64, uint8
from minigrad.tensor import Tensor, as_tensor, cat, empty, from_numpy, tensor, typename, where

T = TypeVar("T")


class PackedSequence_(NamedTuple):
    """The fields of ``PackedSequence``."""

    data: Any
    batch_sizes: Any
    sorted_indices: Any
    unsorted_indices: Any


def bind(optional: Any, fn: Callable[[Any], Any]) -> Any:
    """``fn(optional)``, or None for None."""
    return None if optional is None else fn(optional)


class PackedSequence(PackedSequence_):
    """Sequences of different lengths without padding: all first steps, then all second ones, and so on.

    ``data`` has the steps, ``batch_sizes`` how many sequences have a first step, a second and so on. The sequences are
    in the order of decreasing length; ``sorted_indices`` and ``unsorted_indices`` lead to that order and back. Made by
    ``pack_sequence`` and ``pack_padded_sequence``.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.rnn.PackedSequence.html)

    >>> pack_sequence([tensor([1, 2, 3]), tensor([4])]).data
    tensor([1, 4, 2, 3])
    """

    def __new__(cls, data: Any, batch_sizes: Any = None, sorted_indices: Any = None,
                unsorted_indices: Any = None) -> PackedSequence:
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        if batch_sizes is None:
            if not (isinstance(data, list | tuple) and len(data) == 2):
                raise AssertionError("Expected data to be a list or tuple of length 2")
            data, batch_sizes = data
        elif batch_sizes.device.type != "cpu":
            raise ValueError(
                "batch_sizes should always be on CPU. Instances of PackedSequence should never be created manually. "
                "They should be instantiated by functions like pack_sequence and pack_padded_sequences in "
                "nn.utils.rnn. https://pytorch.org/docs/stable/nn.html#torch.nn.utils.rnn.pack_sequence")
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """``data`` in another dtype or on another device, as ``Tensor.to``; the indices go along."""
        data = self.data.to(*args, **kwargs)
        if data is self.data:
            return self
        indices = (bind(index, lambda t: t.to(device=data.device))
                   for index in (self.sorted_indices, self.unsorted_indices))
        return type(self)(data, self.batch_sizes, *indices)

    def cpu(self, *args: Any, **kwargs: Any) -> PackedSequence:
        return self.to(*args, **{"device": "cpu", **kwargs})

    def cuda(self, *args: Any, **kwargs: Any) -> PackedSequence:
        return self.to(*args, **{"device": "cuda", **kwargs})

    def pin_memory(self) -> PackedSequence:
        return type(self)(self.data.pin_memory(), self.batch_sizes,
                          *[bind(index, lambda t: t.pin_memory()) for index in self[2:]])

    def double(self) -> PackedSequence:
        return self.to(dtype=float64)

    def float(self) -> PackedSequence:
        return self.to(dtype=float32)

    def half(self) -> PackedSequence:
        return self.to(dtype=float16)

    def long(self) -> PackedSequence:
        return self.to(dtype=int64)

    def int(self) -> PackedSequence:
        return self.to(dtype=int32)

    def short(self) -> PackedSequence:
        return self.to(dtype=int16)

    def char(self) -> PackedSequence:
        return self.to(dtype=int8)

    def byte(self) -> PackedSequence:
        return self.to(dtype=uint8)

    @property
    def is_cuda(self) -> bool:
        """Whether ``data`` is in the memory of an NVIDIA GPU."""
        return bool(self.data.is_cuda)

    def is_pinned(self) -> bool:
        """Whether ``data`` is in pinned memory."""
        return bool(self.data.is_pinned())


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The permutation that undoes this one; None for None.

    >>> invert_permutation(tensor([2, 0, 1]))
    tensor([1, 2, 0])
    """
    return None if permutation is None else permutation.argsort()


def _taken(flat: Tensor, index: np.ndarray) -> Tensor:
    """The rows of ``flat`` at ``index``."""
    return flat.index_select(0, from_numpy(index.reshape(-1)).to(device=flat.device))


def pack_padded_sequence(input: Tensor, lengths: Any, batch_first: bool = False,
                         enforce_sorted: bool = True) -> PackedSequence:
    """Packs sequences that are padded to one length: (T, B, *), or (B, T, *) with ``batch_first``.

    ``lengths``: a Tensor on the CPU or a list, decreasing unless ``enforce_sorted`` is False. ``RuntimeError`` for
    lengths that are not.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.rnn.pack_padded_sequence.html)

    >>> pack_padded_sequence(tensor([[1, 4], [2, 0], [3, 0]]), [3, 1])
    PackedSequence(data=tensor([1, 4, 2, 3]), batch_sizes=tensor([2, 1, 1]), sorted_indices=None, unsorted_indices=None)
    """
    lengths = (lengths if isinstance(lengths, Tensor) else as_tensor(lengths)).to(int64)
    order = None
    if not enforce_sorted:
        lengths, order = lengths.sort(descending=True)
        order = order.to(device=input.device)
        input = input.index_select(0 if batch_first else 1, order)
    if batch_first:
        input = input.transpose(0, 1)
    counts = lengths.numpy()
    _check_lengths(input, counts)
    steps, batch = input.size(0), input.size(1)
    sizes = (counts[None, :] > np.arange(counts[0])[:, None]).sum(1)
    index = np.concatenate([np.arange(size) + step * batch for step, size in enumerate(sizes)])
    data = _taken(input.reshape(steps * batch, *input.shape[2:]), index)
    return PackedSequence(data, from_numpy(sizes.astype(np.int64)), order, None)


def _check_lengths(input: Tensor, lengths: np.ndarray) -> None:
    if input.numel() == 0:
        raise RuntimeError("Cannot pack empty tensors.")
    batch = input.size(1)
    if len(lengths) != batch:
        raise RuntimeError(f"Expected `len(lengths)` to be equal to batch_size, but got {len(lengths)} "
                           f"(batch_size={batch})")
    if (lengths <= 0).any():
        raise RuntimeError("Length of all samples has to be greater than 0, but found an element in 'lengths' that is "
                           "<= 0")
    if (np.diff(lengths) > 0).any():
        raise RuntimeError("`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can "
                           "pass `enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to sidestep this "
                           "requirement if you do not need ONNX exportability.")
    if lengths[0] > input.shape[0]:
        raise RuntimeError(f"a sequence of length {lengths[0]} does not fit into an input of {input.shape[0]} steps")


def pad_packed_sequence(sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0,
                        total_length: int | None = None) -> tuple[Tensor, Tensor]:
    """The sequences, padded to the length of the longest or to ``total_length``, and their lengths.

    (T, B, *), or (B, T, *) with ``batch_first``. ``ValueError`` for a ``total_length`` that is too short.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.rnn.pad_packed_sequence.html)

    >>> pad_packed_sequence(pack_sequence([tensor([1, 2, 3]), tensor([4])]), batch_first=True)
    (tensor([[1, 2, 3],
            [4, 0, 0]]), tensor([3, 1]))
    """
    data, batch_sizes, _, back = sequence
    sizes = batch_sizes.numpy()
    steps = len(sizes)
    if total_length is not None:
        if total_length < steps:
            raise ValueError("Expected total_length to be at least the length of the longest sequence in input, but "
                             f"got total_length={total_length} and max sequence length being {steps}")
        steps = total_length
    lengths = (sizes[:, None] > np.arange(sizes[0])).sum(0)
    start = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    index = start[np.minimum(np.arange(steps), len(sizes) - 1)][:, None] + np.arange(sizes[0])
    there = np.arange(steps)[:, None] < lengths
    padded = _padded(data, np.where(there, index, 0), there, padding_value, batch_first)
    counts = from_numpy(lengths.astype(np.int64))
    if back is None:
        return padded, counts
    return padded.index_select(0 if batch_first else 1, back), counts.index_select(0, back.cpu())


def _padded(flat: Tensor, index: np.ndarray, there: np.ndarray, value: Any, turned: bool) -> Tensor:
    """flat[index] where something is there, else ``value``; with the first two dimensions ``turned``."""
    if turned:
        index, there = index.T, there.T
    taken = _taken(flat, index.astype(np.int64)).reshape(*index.shape, *flat.shape[1:])
    mask = from_numpy(np.ascontiguousarray(there)).reshape(*there.shape, *(1,) * (flat.ndim - 1))
    return where(mask.to(device=flat.device), taken, tensor(value).to(flat.dtype).to(device=flat.device))


def pad_sequence(sequences: Any, batch_first: bool = False, padding_value: float = 0.0,
                 padding_side: str = "right") -> Tensor:
    """Tensors (L, *) with different L in one of shape (longest L, B, *), or (B, longest L, *) with ``batch_first``.

    The rest is ``padding_value``, on the right or the left. ``RuntimeError`` for no sequences, or for trailing
    dimensions that differ. (https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.rnn.pad_sequence.html)

    >>> pad_sequence([tensor([1, 2, 3]), tensor([4])], batch_first=True, padding_value=-1)
    tensor([[ 1,  2,  3],
            [ 4, -1, -1]])
    """
    if not isinstance(sequences, Iterable):
        raise RuntimeError(f"pad_sequence: Expected iterable for input sequences, but got arg of type: "
                           f"{type(sequences)}")
    given = tuple(sequences)
    if not given:
        raise RuntimeError("received an empty list of sequences")
    for position, sequence in enumerate(given):
        if not isinstance(sequence, Tensor):
            raise TypeError(f"expected Tensor as element {position} in argument 0, but got {typename(sequence)}")
    if padding_side not in ("left", "right"):
        raise RuntimeError(f"Expected padding_side to be one of left or right, but got {padding_side}.")
    rest = tuple(given[0].shape[1:])
    given = tuple([_fitted(sequence, rest) for sequence in given])
    lengths = np.array([len(sequence) for sequence in given])
    longest = int(lengths.max())
    positions = np.arange(longest)[:, None] - (longest - lengths if padding_side == "left" else 0)
    there = (positions >= 0) & (positions < lengths)
    start = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)[:-1]])
    if not there.any():
        return empty((len(given), longest, *rest) if batch_first else (longest, len(given), *rest),
                     dtype=given[0].dtype, device=given[0].device)
    flat = cat([sequence.to(given[0].dtype) for sequence in given])
    return _padded(flat, np.where(there, positions + start, 0), there, padding_value, batch_first)


def _fitted(sequence: Tensor, rest: tuple[Any, ...]) -> Tensor:
    """``sequence`` with these trailing dimensions, broadcast if it can be."""
    if sequence.shape[1:] == rest:
        return sequence
    wanted, given = (len(sequence), *rest), tuple(sequence.shape)
    for i in range(1, min(len(wanted), len(given)) + 1):
        if given[-i] not in (1, wanted[-i]):
            raise RuntimeError(f"The size of tensor a ({wanted[-i]}) must match the size of tensor b ({given[-i]}) at "
                               f"non-singleton dimension {len(wanted) - i}")
    return sequence.expand(wanted)


def unpad_sequence(padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False) -> list[Tensor]:
    """The sequences of these lengths out of a padded Tensor (T, B, *), or (B, T, *) with ``batch_first``.

    As in PyTorch, a Tensor (T, B, *) is transposed in place.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.rnn.unpad_sequence.html)

    >>> unpad_sequence(tensor([[1, 2, 3], [4, 0, 0]]), tensor([3, 1]), batch_first=True)
    [tensor([1, 2, 3]), tensor([4])]
    """
    if not batch_first:
        padded_sequences.transpose_(0, 1)
    counts: Sequence[Any] = lengths.tolist()
    return [sequence[:count].clone() for sequence, count in zip(padded_sequences, counts, strict=True)]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Packs Tensors (L, *), in the order of decreasing length unless ``enforce_sorted`` is False.

    (https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.rnn.pack_sequence.html)

    >>> pack_sequence([tensor([1]), tensor([2, 3])], enforce_sorted=False).sorted_indices
    tensor([1, 0])
    """
    lengths = as_tensor([sequence.shape[0] for sequence in sequences])
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The Tensors that ``pack_sequence`` got.

    (https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.rnn.unpack_sequence.html)

    >>> unpack_sequence(pack_sequence([tensor([1, 2]), tensor([3])]))
    [tensor([1, 2]), tensor([3])]
    """
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
