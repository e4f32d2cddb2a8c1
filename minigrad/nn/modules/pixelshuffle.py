"""Stage: front. In: a Tensor (…, C, H, W). Out: channels exchanged for pixels, as a Module.
Next: ``channelshuffle.py``."""

from __future__ import annotations

from minigrad.nn import functional as F
from minigrad.nn.modules.module import Module
from minigrad.tensor import Tensor


class PixelShuffle(Module):
    """(…, C r², H, W) to (…, C, H r, W r); see ``F.pixel_shuffle``.

    >>> import minigrad
    >>> tuple(PixelShuffle(3)(minigrad.zeros(1, 9, 4, 4)).shape)
    (1, 1, 12, 12)
    """

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, input: Tensor) -> Tensor:
        return F.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """(…, C, H r, W r) to (…, C r², H, W); see ``F.pixel_unshuffle``.

    >>> import minigrad
    >>> tuple(PixelUnshuffle(3)(minigrad.zeros(1, 1, 12, 12)).shape)
    (1, 9, 4, 4)
    """

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, input: Tensor) -> Tensor:
        return F.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"
