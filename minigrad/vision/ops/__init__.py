"""Stage: vision. In: numbers of channels. Out: blocks that several models use. torchvision's operations on boxes and
regions are not here.
Next: ``misc.py``.

(https://docs.pytorch.org/vision/stable/ops.html)
"""

from minigrad.vision.ops.misc import MLP, Conv2dNormActivation, Conv3dNormActivation

__all__ = ["MLP", "Conv2dNormActivation", "Conv3dNormActivation"]
