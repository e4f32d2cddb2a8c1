"""Stage: vision. In: Pillow's images, arrays and Tensors. Out: the same picture as one of the others.
Next: ``functional.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad.dtype import DType, float32, uint8
from minigrad.tensor import Tensor, from_numpy, get_default_dtype, tensor
from minigrad.vision.transforms import colors, pillow


def _array(image: Any) -> np.ndarray[Any, Any]:
    """A Pillow image's pixels (H, W, channels), a copy."""
    made = np.array(image, copy=True)
    return made.reshape(image.height, image.width, -1)


def to_tensor(pic: Any) -> Tensor:
    """A Tensor (C, H, W) of a Pillow image or an array (H, W, C) or (H, W).

    8-bit values become float in [0, 1]; others keep their values. ``TypeError`` for anything else, ``ValueError`` for
    arrays of other dimensions.
    (https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.functional.to_tensor.html)

    >>> to_tensor(np.array([[0, 51], [102, 255]], dtype=np.uint8))
    tensor([[[0.0000, 0.2000],
             [0.4000, 1.0000]]])
    """
    if isinstance(pic, np.ndarray):
        if pic.ndim not in (2, 3):
            raise ValueError(f"pic should be 2/3 dimensional. Got {pic.ndim} dimensions.")
        pixels = pic[:, :, None] if pic.ndim == 2 else pic
    elif pillow.is_pillow(pic):
        pixels = _array(pic) if pic.mode != "1" else 255 * _array(pic).astype(np.uint8)
    else:
        raise TypeError(f"pic should be PIL Image or ndarray. Got {type(pic)}")
    image = from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
    return image.to(get_default_dtype()).div(255) if image.dtype is uint8 else image


def pil_to_tensor(pic: Any) -> Tensor:
    """A Tensor (C, H, W) of a Pillow image, with its values. ``TypeError`` for anything else."""
    if not pillow.is_pillow(pic):
        raise TypeError(f"pic should be PIL Image. Got {type(pic)}")
    return from_numpy(np.ascontiguousarray(_array(pic).transpose(2, 0, 1)))


def convert_image_dtype(image: Tensor, dtype: DType = float32) -> Tensor:
    """The same picture in another dtype: white stays white.

    float to integer: (max + 1 - 1e-3) · x, cut off; integer to float: x / max; between integers a shift.
    ``TypeError`` unless it is a Tensor, ``RuntimeError`` where float cannot hold the integers.
    (https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.functional.convert_image_dtype.html)

    >>> convert_image_dtype(tensor([[0.0, 0.5, 1.0]]), uint8)
    tensor([[  0, 127, 255]], dtype=minigrad.uint8)
    """
    if not isinstance(image, Tensor):
        raise TypeError("Input img should be Tensor Image")
    return colors.convert(image, dtype)


_MODES: dict[int, tuple[str, ...]] = {2: ("LA",), 3: ("RGB", "YCbCr", "HSV"), 4: ("RGBA", "CMYK", "RGBX")}
_SINGLE = {"uint8": "L", "int16": "I;16", "uint16": "I;16", "int32": "I", "float32": "F"}


def to_pil_image(pic: Any, mode: str | None = None) -> Any:
    """A Pillow image of a Tensor (C, H, W) or an array (H, W, C); both may lack the channels.

    float values in [0, 1] become 8-bit ones, but for mode F. ``TypeError`` and ``ValueError`` for what no mode fits.
    (https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.functional.to_pil_image.html)
    """
    if not isinstance(pic, (Tensor, np.ndarray)):
        raise TypeError(f"pic should be Tensor or ndarray. Got {type(pic)}.")
    if pic.ndim not in (2, 3):
        raise ValueError(f"pic should be 2/3 dimensional. Got {pic.ndim} dimensions.")
    if isinstance(pic, Tensor):
        image = pic.detach() if pic.ndim == 3 else pic.detach().unsqueeze(0)
        if image.shape[0] > 4:
            raise ValueError(f"pic should not have > 4 channels. Got {image.shape[0]} channels.")
        if image.is_floating_point() and mode != "F":
            image = colors.cut(image.mul(255), uint8)
        pixels = image.numpy().transpose(1, 2, 0)
    else:
        pixels = pic[:, :, None] if pic.ndim == 2 else pic
        if pixels.shape[-1] > 4:
            raise ValueError(f"pic should not have > 4 channels. Got {pixels.shape[-1]} channels.")
    return _with_mode(np.ascontiguousarray(pixels), mode)


def _with_mode(pixels: np.ndarray[Any, Any], mode: str | None) -> Any:
    image = pillow.library()
    channels = pixels.shape[2]
    if channels == 1:
        expected = _SINGLE.get(pixels.dtype.name)
        if expected is None:
            raise TypeError(f"Input type {pixels.dtype} is not supported")
        if mode is not None and mode != expected:
            raise ValueError(f"Incorrect mode ({mode}) supplied for input type {pixels.dtype}. Should be {expected}")
        return image.fromarray(pixels[:, :, 0])
    allowed = _MODES[channels]
    if mode is not None and mode not in allowed:
        raise ValueError(f"Only modes {list(allowed)} are supported for {channels}D inputs")
    if pixels.dtype != np.uint8:
        raise TypeError(f"Input type {pixels.dtype} is not supported")
    mode = mode if mode is not None else allowed[0]
    return image.frombuffer(mode, pixels.shape[1::-1], pixels.tobytes(), "raw", mode, 0, 1)


def normalize(tensor: Tensor, mean: Sequence[float], std: Sequence[float], inplace: bool = False) -> Tensor:
    """(tensor - mean) / std, channel by channel, of floating-point images (…, C, H, W).

    ``TypeError`` unless it is a floating-point Tensor, ``ValueError`` for fewer than three dimensions or where std is
    0. (https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.functional.normalize.html)

    >>> from minigrad import ones
    >>> normalize(ones(1, 1, 2), [0.5], [0.25])
    tensor([[[2., 2.]]])
    """
    if not isinstance(tensor, Tensor):
        raise TypeError(f"img should be Tensor Image. Got {type(tensor)}")
    if not tensor.is_floating_point():
        raise TypeError(f"Input tensor should be a float tensor. Got {tensor.dtype}.")
    if tensor.ndim < 3:
        raise ValueError("Expected tensor to be a tensor image of size (..., C, H, W). Got tensor.size() = "
                         f"{tensor.size()}")
    mean_, std_ = (_channels(values, tensor) for values in (mean, std))
    if _holds_zero(std, std_):
        raise ValueError(f"std evaluated to zero after conversion to {tensor.dtype}, leading to division by zero.")
    return tensor.sub_(mean_).div_(std_) if inplace else tensor.sub(mean_).div(std_)


_KNOWN: dict[tuple[Any, ...], Tensor] = {}


def _channels(values: Any, like: Tensor) -> Tensor:
    """Numbers as a Tensor (C, 1, 1), made once for each list of them."""
    if isinstance(values, Tensor):
        made = values.to(like.dtype)
        return made.view(-1, 1, 1) if made.ndim == 1 else made
    numbers = tuple([float(value) for value in (values if isinstance(values, Sequence) else (values,))])
    key = (numbers, like.dtype, like.device.name)
    if key not in _KNOWN:
        if len(_KNOWN) > 64:
            _KNOWN.clear()
        _KNOWN[key] = tensor(numbers, dtype=like.dtype, device=like.device).view(-1, 1, 1)
    return _KNOWN[key]


def _holds_zero(values: Any, made: Tensor) -> bool:
    return bool((made == 0).any()) if isinstance(values, Tensor) else 0.0 in (
        values if isinstance(values, Sequence) else (values,))
