"""Stage: vision. In: Tensors (…, C, H, W) with colours. Out: the same with other colours, by torchvision's formulas.
Next: ``warps.py``.

Floating-point images are in [0, 1], integer ones in [0, the dtype's largest value].
"""

from __future__ import annotations

from minigrad import nn
from minigrad.dtype import DType, bool_, float32, float64, int32, int64, uint8, uint16
from minigrad.tensor import Tensor, arange, iinfo, stack, tensor, where


def check(image: Tensor, channels: tuple[int, ...] = ()) -> None:
    """``TypeError`` unless it is an image, with one of these numbers of channels."""
    if image.ndim < 2:
        raise TypeError("Tensor is not a torch image.")
    if channels and count(image) not in channels:
        raise TypeError(f"Input image tensor permitted channel values are {list(channels)}, but found {count(image)}")


def count(image: Tensor) -> int:
    """How many channels: 1 for (H, W)."""
    return 1 if image.ndim == 2 else int(image.shape[-3])


def largest(dtype: DType) -> int:
    """The value that means white."""
    if dtype is bool_ or dtype.is_floating_point:
        return 1
    return 65535 if dtype is uint16 else int(iinfo(dtype).max)


def convert(image: Tensor, dtype: DType) -> Tensor:
    """The same picture in another dtype: values are multiplied so that white stays white. ``RuntimeError`` where float
    cannot hold the integers."""
    if image.dtype is dtype:
        return image
    white, new = largest(image.dtype), largest(dtype)
    if image.is_floating_point():
        if dtype.is_floating_point:
            return image.to(dtype)
        if (image.dtype, dtype) in ((float32, int32), (float32, int64), (float64, int64)):
            raise RuntimeError(f"The cast from {image.dtype} to {dtype} cannot be performed safely.")
        return cut(image.mul(new + 1.0 - 1e-3), dtype)
    if dtype.is_floating_point:
        return image.to(dtype) / white
    if white > new:
        return image.div((white + 1) // (new + 1), rounding_mode="floor").to(dtype)
    return image.to(dtype) * ((new + 1) // (white + 1))


def cut(values: Tensor, dtype: DType) -> Tensor:
    """Integers of floating-point numbers: the lower bits where they are too large, as PyTorch does."""
    return values.to(int64).to(dtype)


def blend(image: Tensor, other: Tensor | float, ratio: float) -> Tensor:
    """ratio · image + (1 - ratio) · other, kept within black and white."""
    ratio = float(ratio)
    return (ratio * image + (1.0 - ratio) * other).clamp(0, largest(image.dtype)).to(image.dtype)


def gray(image: Tensor, num_output_channels: int = 1) -> Tensor:
    """0.2989 r + 0.587 g + 0.114 b, once or three times."""
    check(image, (1, 3))
    if num_output_channels not in (1, 3):
        raise ValueError("num_output_channels should be either 1 or 3")
    if count(image) == 3:
        red, green, blue = image.unbind(dim=-3)
        image = (0.2989 * red + 0.587 * green + 0.114 * blue).to(image.dtype).unsqueeze(dim=-3)
    elif num_output_channels == 1:
        return image.clone()
    return image.expand(*image.shape[:-3], num_output_channels, *image.shape[-2:])


def brightness(image: Tensor, factor: float) -> Tensor:
    """A blend with black."""
    check(image, (1, 3))
    return blend(image, 0.0, factor)


def contrast(image: Tensor, factor: float) -> Tensor:
    """A blend with the mean of its gray values."""
    check(image, (1, 3))
    wide = image.dtype if image.is_floating_point() else float32
    values = gray(image) if count(image) == 3 else image
    return blend(image, values.to(wide).mean(dim=(-3, -2, -1), keepdim=True), factor)


def saturation(image: Tensor, factor: float) -> Tensor:
    """A blend with its gray image."""
    check(image, (1, 3))
    return image if count(image) == 1 else blend(image, gray(image), factor)


def hue(image: Tensor, factor: float) -> Tensor:
    """The hue turned by ``factor`` of the circle."""
    check(image, (1, 3))
    if count(image) == 1:
        return image
    h, s, v = hsv(convert(image, float32))
    return convert(rgb((h + factor) % 1.0, s, v), image.dtype)


def hsv(image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hue, saturation and value, each in [0, 1], of red, green and blue.
    (https://en.wikipedia.org/wiki/HSL_and_HSV#From_RGB)"""
    red, green, blue = image.unbind(dim=-3)
    high, low = image.amax(dim=-3), image.amin(dim=-3)
    same = high == low
    spread = high - low
    divisor = where(same, 1.0, spread)
    r, g, b = (high - red) / divisor, (high - green) / divisor, (high - blue) / divisor
    h = ((high == red) * (b - g) + ((high == green) & (high != red)) * (2.0 + r - b)
         + ((high != green) & (high != red)) * (4.0 + g - r))
    return (h / 6.0 + 1.0).fmod(1.0), spread / where(same, 1.0, high), high


def rgb(h: Tensor, s: Tensor, v: Tensor) -> Tensor:
    """Red, green and blue (…, 3, H, W) of hue, saturation and value.
    (https://en.wikipedia.org/wiki/HSL_and_HSV#HSV_to_RGB)"""
    sixth = (h * 6.0).floor()
    rest = h * 6.0 - sixth
    sixth = sixth.to(int32) % 6
    p = (v * (1.0 - s)).clamp(0.0, 1.0)
    q = (v * (1.0 - s * rest)).clamp(0.0, 1.0)
    t = (v * (1.0 - s * (1.0 - rest))).clamp(0.0, 1.0)
    red, green, blue = (v, q, p, p, t, v), (t, v, v, q, p, p), (p, p, t, v, v, q)

    def chosen(values: tuple[Tensor, ...]) -> Tensor:
        result = values[5]
        for i in range(4, -1, -1):
            result = where(sixth == i, values[i], result)
        return result

    return stack((chosen(red), chosen(green), chosen(blue)), dim=-3)


def gamma(image: Tensor, exponent: float, gain: float = 1) -> Tensor:
    """gain · image^exponent, of an image in [0, 1]."""
    check(image, (1, 3))
    values = image if image.is_floating_point() else convert(image, float32)
    return convert((gain * values.pow(exponent)).clamp(0, 1), image.dtype)


def invert(image: Tensor) -> Tensor:
    """white - image."""
    check(image, (1, 3))
    return largest(image.dtype) - image


def posterize(image: Tensor, bits: int) -> Tensor:
    """Only the upper ``bits`` bits. ``TypeError`` unless it is uint8."""
    check(image, (1, 3))
    if image.dtype is not uint8:
        raise TypeError(f"Only torch.uint8 image tensors are supported, but found {image.dtype}")
    return image & tensor(-(2 ** (8 - bits)) % 256, dtype=uint8)


def solarize(image: Tensor, threshold: float) -> Tensor:
    """Inverted from ``threshold`` on."""
    check(image, (1, 3))
    if threshold > largest(image.dtype):
        raise TypeError("Threshold should be less than bound of img.")
    return where(image >= threshold, invert(image), image)


def autocontrast(image: Tensor) -> Tensor:
    """Each channel spread so that it goes from black to white."""
    check(image, (1, 3))
    white = largest(image.dtype)
    values = image if image.is_floating_point() else image.to(float32)
    low, high = values.amin(dim=(-2, -1), keepdim=True), values.amax(dim=(-2, -1), keepdim=True)
    scale = white / (high - low)
    plain = ~scale.isfinite()
    low, scale = where(plain, 0.0, low), where(plain, 1.0, scale)
    return ((values - low) * scale).clamp(0, white).to(image.dtype)


def sharpness(image: Tensor, factor: float) -> Tensor:
    """A blend with the image smoothed by a 3×3 filter, whose border stays as it is."""
    check(image, (1, 3))
    if image.shape[-1] <= 2 or image.shape[-2] <= 2:
        return image
    wide = image.dtype if image.is_floating_point() else float32
    weight = tensor([[1.0, 1.0, 1.0], [1.0, 5.0, 1.0], [1.0, 1.0, 1.0]], dtype=wide) / 13.0
    smooth = image.to(wide).clone()
    smooth[..., 1:-1, 1:-1] = restored(filtered(image.to(wide), weight), image.dtype).to(wide)
    return blend(image, smooth.to(image.dtype), factor)


def filtered(image: Tensor, weight: Tensor) -> Tensor:
    """Each channel convolved with ``weight``, without padding; computed in the weight's dtype."""
    channels = count(image)
    batch = image.reshape(-1, channels, *image.shape[-2:])
    out = nn.functional.conv2d(batch, weight.expand(channels, 1, *weight.shape), groups=channels)
    return out.reshape(*image.shape[:-2], *out.shape[-2:])


def restored(values: Tensor, dtype: DType) -> Tensor:
    """Computed values in an image's dtype, rounded if it has integers."""
    return values.to(dtype) if dtype.is_floating_point else values.round().to(dtype)


def blur(image: Tensor, kernel_size: tuple[int, int], sigma: tuple[float, float]) -> Tensor:
    """A Gaussian filter of (width, height) ``kernel_size``; borders are reflected."""
    check(image)
    wide = image.dtype if image.is_floating_point() else float32

    def bell(size: int, width: float) -> Tensor:
        x = (arange(size, dtype=wide) - (size - 1) * 0.5) / width
        values = (-0.5 * x * x).exp()
        return values / values.sum()

    across, down = kernel_size
    weight = bell(down, sigma[1])[:, None] * bell(across, sigma[0])[None, :]
    batch = image.to(wide).reshape(-1, count(image), *image.shape[-2:])
    padded = nn.functional.pad(batch, (across // 2, across // 2, down // 2, down // 2), mode="reflect")
    return restored(filtered(padded, weight), image.dtype).reshape(image.shape)
