"""Stage: front. In: a Tensor (N, C, …). Out: it, interpolated to another size, as a Module.
Next: ``pixelshuffle.py``."""

from __future__ import annotations

from collections.abc import Sequence

from minigrad.nn import functional as F
from minigrad.nn.modules.module import Module
from minigrad.tensor import Tensor

Sizes = int | Sequence[int]
Scales = float | Sequence[float]


class Upsample(Module):
    """The dimensions after the second interpolated; see ``F.interpolate``.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.Upsample.html)

    >>> import minigrad
    >>> layer = Upsample(scale_factor=2)
    >>> layer, layer(minigrad.tensor([[[1.0, 2.0]]]))
    (Upsample(scale_factor=2.0, mode='nearest'), tensor([[[1., 1., 2., 2.]]]))
    """

    def __init__(self, size: Sizes | None = None, scale_factor: Scales | None = None, mode: str = "nearest",
                 align_corners: bool | None = None, recompute_scale_factor: bool | None = None) -> None:
        super().__init__()
        self.name = type(self).__name__
        self.size = size
        self.scale_factor: float | tuple[float, ...] | None
        if isinstance(scale_factor, tuple):
            self.scale_factor = tuple(float(factor) for factor in scale_factor)
        else:
            self.scale_factor = float(scale_factor) if scale_factor else None  # type: ignore[arg-type]
        self.mode, self.align_corners, self.recompute_scale_factor = mode, align_corners, recompute_scale_factor

    def forward(self, input: Tensor) -> Tensor:
        return F.interpolate(input, self.size, self.scale_factor, self.mode, self.align_corners,
                             recompute_scale_factor=self.recompute_scale_factor)

    def extra_repr(self) -> str:
        info = f"size={self.size!r}" if self.scale_factor is None else f"scale_factor={self.scale_factor!r}"
        return f"{info}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """Images, each new pixel the nearest old one.

    >>> import minigrad
    >>> tuple(UpsamplingNearest2d(scale_factor=2)(minigrad.zeros(1, 1, 2, 3)).shape)
    (1, 1, 4, 6)
    """

    def __init__(self, size: Sizes | None = None, scale_factor: Scales | None = None) -> None:
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample):
    """Images, interpolated linearly with aligned corners.

    >>> import minigrad
    >>> UpsamplingBilinear2d(size=(1, 3))(minigrad.tensor([[[[0.0, 4.0]]]]))
    tensor([[[[0., 2., 4.]]]])
    """

    def __init__(self, size: Sizes | None = None, scale_factor: Scales | None = None) -> None:
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)
