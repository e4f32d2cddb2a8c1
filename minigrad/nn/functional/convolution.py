"""Stage: front. In: images and filters. Out: their convolutions.
Next: ``fold.py``."""

from __future__ import annotations

from minigrad.tensor import convolutions

conv1d = convolutions.conv1d
conv2d = convolutions.conv2d
conv3d = convolutions.conv3d
conv_transpose1d = convolutions.conv_transpose1d
conv_transpose2d = convolutions.conv_transpose2d
conv_transpose3d = convolutions.conv_transpose3d
