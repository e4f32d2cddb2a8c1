"""Stage: vision. In: transforms of samples. Out: one transform that applies several of them, or some.
Next: ``single.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from minigrad import nn
from minigrad.tensor import multinomial, randperm, tensor
from minigrad.vision.transforms.parameters import chance

Transform = Callable[..., Any]


class _Several(nn.Module):
    """Transforms in a sequence or a ModuleList."""

    def __init__(self, transforms: Sequence[Transform] | nn.ModuleList) -> None:
        super().__init__()
        if not isinstance(transforms, (Sequence, nn.ModuleList)):
            raise TypeError("Argument transforms should be a sequence of callables")
        if not transforms:
            raise ValueError("Pass at least one transform")
        self.transforms = transforms

    @staticmethod
    def apply_all(transforms: Any, inputs: tuple[Any, ...]) -> Any:
        """One after another."""
        several = len(inputs) > 1
        for transform in transforms:
            outputs = transform(*inputs)
            inputs = outputs if several else (outputs,)
        return inputs if several else inputs[0]

    def extra_repr(self) -> str:
        return "\n".join([f"    {transform}" for transform in self.transforms])


class Compose(_Several):
    """The transforms one after another.

    >>> from minigrad import zeros
    >>> from minigrad.vision.transforms import v2
    >>> v2.Compose([v2.Resize(4), v2.CenterCrop(2)])(zeros(1, 8, 8), 3)[1]
    3
    """

    def forward(self, *inputs: Any) -> Any:
        return self.apply_all(self.transforms, inputs)


class RandomApply(_Several):
    """All the transforms, with probability p."""

    def __init__(self, transforms: Sequence[Transform] | nn.ModuleList, p: float = 0.5) -> None:
        super().__init__(transforms)
        if not 0.0 <= p <= 1.0:
            raise ValueError("`p` should be a floating point value in the interval [0.0, 1.0].")
        self.p = p

    def forward(self, *inputs: Any) -> Any:
        return self.apply_all(self.transforms if chance(self.p) else (), inputs)


class RandomChoice(_Several):
    """One of the transforms, with the probabilities p."""

    def __init__(self, transforms: Sequence[Transform], p: Sequence[float] | None = None) -> None:
        super().__init__(transforms)
        weights = [1.0] * len(transforms) if p is None else list(p)
        if len(weights) != len(transforms):
            raise ValueError(f"Length of p doesn't match the number of transforms: {len(weights)} != "
                             f"{len(transforms)}")
        self.p = [weight / sum(weights) for weight in weights]

    def forward(self, *inputs: Any) -> Any:
        return self.transforms[int(multinomial(tensor(self.p), 1))](*inputs)


class RandomOrder(_Several):
    """All the transforms in a random order."""

    def forward(self, *inputs: Any) -> Any:
        return self.apply_all([self.transforms[i] for i in randperm(len(self.transforms)).tolist()], inputs)
