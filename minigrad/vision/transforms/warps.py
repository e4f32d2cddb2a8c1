"""Stage: vision. In: Tensors (…, C, H, W), and where each pixel of the result comes from. Out: the image turned, moved,
sheared or enlarged, by torchvision's formulas.
Next: ``pillow.py``."""

from __future__ import annotations

import math
from collections.abc import Sequence

from minigrad.dtype import float32, float64
from minigrad.nn.functional import grid_sample, interpolate
from minigrad.nn.functional import pad as pad_tensor
from minigrad.tensor import Tensor, arange, cat, linspace, ones_like, stack, tensor, where
from minigrad.vision.transforms.colors import check, count, restored

Fill = float | Sequence[float] | None


def batched(image: Tensor) -> Tensor:
    """The image as (N, C, H, W) of floating-point numbers."""
    wide = image if image.dtype in (float32, float64) else image.to(float32)
    return wide if image.ndim >= 4 else wide.reshape(1, count(image), *image.shape[-2:])


def unbatched(values: Tensor, image: Tensor) -> Tensor:
    """Computed values (N, C, H, W) with the dtype and the dimensions of ``image``."""
    if image.ndim < 4:
        values = values.reshape(*image.shape[:-2], *values.shape[-2:])
    return restored(values, image.dtype)


def resize(image: Tensor, size: Sequence[int], interpolation: str, antialias: bool | None) -> Tensor:
    """The image in another size. Integers are rounded; bicubic ones kept within their range."""
    check(image)
    smooth = interpolation in ("bilinear", "bicubic")
    values = interpolate(batched(image), size=tuple(size), mode=interpolation,
                         align_corners=False if smooth else None, antialias=bool(antialias) and smooth)
    if interpolation == "bicubic" and not image.is_floating_point():
        values = values.clamp(0, 255)
    return unbatched(values, image)


def sides(padding: int | Sequence[int]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a padding given as one, two or four numbers."""
    if isinstance(padding, int):
        return (padding,) * 4
    if len(padding) not in (1, 2, 4):
        raise ValueError("Padding must be an int or a 1, 2, or 4 element tuple, not a "
                         f"{len(padding)} element tuple")
    left, top, right, bottom = tuple(padding) * (4 // len(padding))
    return left, top, right, bottom


def pad(image: Tensor, padding: int | Sequence[int], fill: float | None, mode: str) -> Tensor:
    """A border of ``fill``, or of the image's own pixels: the last one, mirrored without it, mirrored with it."""
    check(image)
    left, top, right, bottom = sides(padding)
    if mode == "symmetric":
        return _mirrored(_mirrored(image, -2, top, bottom), -1, left, right)
    batch = image if image.ndim >= 4 else image.reshape(1, count(image), *image.shape[-2:])
    if mode == "constant":
        out = pad_tensor(batch, (left, right, top, bottom), value=float(fill or 0))
    else:
        out = pad_tensor(batched(image), (left, right, top, bottom), mode="replicate" if mode == "edge" else mode)
    return out.to(image.dtype).reshape(*image.shape[:-2], *out.shape[-2:])


def _mirrored(image: Tensor, dim: int, before: int, after: int) -> Tensor:
    """Along one dimension; a negative number cuts."""
    length = image.shape[dim]
    image = image.narrow(dim, max(0, -before), length - max(0, -before) - max(0, -after))
    length = image.shape[dim]
    parts = [image]
    if before > 0:
        parts.insert(0, image.narrow(dim, 0, before).flip(dim))
    if after > 0:
        parts.append(image.narrow(dim, length - after, after).flip(dim))
    return cat(parts, dim=dim)


def crop(image: Tensor, top: int, left: int, height: int, width: int) -> Tensor:
    """A part of the image; what is outside it is 0."""
    check(image)
    rows, columns = image.shape[-2:]
    right, bottom = left + width, top + height
    if left < 0 or top < 0 or right > columns or bottom > rows:
        inside = image[..., max(top, 0):max(bottom, 0), max(left, 0):max(right, 0)]
        before_x, before_y = max(-left + min(0, right), 0), max(-top + min(0, bottom), 0)
        return pad(inside, (before_x, before_y, max(right - max(columns, left), 0), max(bottom - max(rows, top), 0)),
                   0, "constant")
    return image[..., top:bottom, left:right]


def inverse_affine(center: Sequence[float], angle: float, translate: Sequence[float], scale: float,
                   shear: Sequence[float]) -> list[float]:
    """The first two rows of the matrix that leads from a place in the result to its place in the image.

    The image is moved so that ``center`` is the origin, sheared, turned by ``angle`` degrees clockwise and scaled,
    moved back and by ``translate``: M = T C R S C⁻¹. What is returned is M⁻¹ = C S⁻¹ R⁻¹ C⁻¹ T⁻¹.
    """
    turn, across, down = math.radians(angle), math.radians(shear[0]), math.radians(shear[1])
    a = math.cos(turn - down) / math.cos(down)
    b = -math.cos(turn - down) * math.tan(across) / math.cos(down) - math.sin(turn)
    c = math.sin(turn - down) / math.cos(down)
    d = -math.sin(turn - down) * math.tan(across) / math.cos(down) + math.cos(turn)
    xx, xy, yx, yy = d / scale, -b / scale, -c / scale, a / scale  # the determinant is 1
    x, y = -center[0] - translate[0], -center[1] - translate[1]
    return [xx, xy, xx * x + xy * y + center[0], yx, yy, yx * x + yy * y + center[1]]


def affine(image: Tensor, matrix: Sequence[float], interpolation: str, fill: Fill,
           size: tuple[int, int] | None = None) -> Tensor:
    """The image read at ``matrix`` · (x, y, 1) for each place (x, y), seen from the middle, of a result of (width,
    height) ``size``."""
    _check_warp(image, interpolation, fill)
    dtype = image.dtype if image.is_floating_point() else float32
    height, width = image.shape[-2:]
    wide, high = size if size is not None else (width, height)
    theta = tensor(list(matrix), dtype=dtype).reshape(2, 3)
    x = linspace(-wide * 0.5 + 0.5, wide * 0.5 + 0.5 - 1, steps=wide)
    y = linspace(-high * 0.5 + 0.5, high * 0.5 + 0.5 - 1, steps=high)
    places = stack((x[None, :].expand(high, wide), y[:, None].expand(high, wide), ones_like(x).expand(high, wide)),
                   dim=-1).to(dtype)
    rescaled = theta.T / tensor([0.5 * width, 0.5 * height], dtype=dtype)
    grid = (places.reshape(high * wide, 3) @ rescaled).reshape(1, high, wide, 2)
    return _read(image, grid, interpolation, fill)


def turned_size(matrix: Sequence[float], width: int, height: int) -> tuple[int, int]:
    """(width, height) that hold the whole image after ``matrix``."""
    points = [(x * width / 2, y * height / 2) for x, y in ((-1, -1), (-1, 1), (1, 1), (1, -1))]

    def length(row: Sequence[float], middle: float) -> int:
        values = [row[0] * x + row[1] * y + row[2] + middle for x, y in points]
        cut = [math.trunc(value / 1e-4) * 1e-4 for value in (min(values), max(values))]
        return math.ceil(cut[1]) - math.floor(cut[0])

    return length(matrix[:3], width * 0.5), length(matrix[3:], height * 0.5)


def perspective(image: Tensor, coefficients: Sequence[float], interpolation: str, fill: Fill) -> Tensor:
    """The image read at ((a x + b y + c) / (g x + h y + 1), (d x + e y + f) / (g x + h y + 1))."""
    _check_warp(image, interpolation, fill)
    a, b, c, d, e, f, g, h = coefficients
    dtype = image.dtype if image.is_floating_point() else float32
    height, width = image.shape[-2:]
    x = (arange(width, dtype=dtype) + 0.5)[None, :]
    y = (arange(height, dtype=dtype) + 0.5)[:, None]
    divisor = x * g + y * h + 1.0
    grid = stack(((x * (a / (0.5 * width)) + y * (b / (0.5 * width)) + c / (0.5 * width)) / divisor - 1.0,
                  (x * (d / (0.5 * height)) + y * (e / (0.5 * height)) + f / (0.5 * height)) / divisor - 1.0), dim=-1)
    return _read(image, grid[None], interpolation, fill)


def _check_warp(image: Tensor, interpolation: str, fill: Fill) -> None:
    check(image)
    if isinstance(fill, (tuple, list)) and len(fill) > 1 and len(fill) != count(image):
        raise ValueError("The number of elements in 'fill' cannot broadcast to match the number of channels of the "
                         f"image ({len(fill)} != {count(image)})")
    if interpolation not in ("nearest", "bilinear", "bicubic"):
        raise ValueError(f"Interpolation mode '{interpolation}' is unsupported with Tensor input")


def _read(image: Tensor, grid: Tensor, interpolation: str, fill: Fill) -> Tensor:
    """The image at the places of ``grid`` (1, H, W, 2); ``fill`` where they are outside."""
    batch = batched(image)
    grid = grid.to(batch.dtype).expand(batch.shape[0], *grid.shape[1:])
    if fill is None:
        return unbatched(grid_sample(batch, grid, mode=interpolation, padding_mode="zeros", align_corners=False),
                         image)
    covered = ones_like(batch[:, :1])
    read = grid_sample(cat((batch, covered), dim=1), grid, mode=interpolation, padding_mode="zeros",
                       align_corners=False)
    values, covered = read[:, :-1], read[:, -1:]
    numbers = [float(x) for x in fill] if isinstance(fill, (tuple, list)) else [float(fill)]  # type: ignore[arg-type]
    border = tensor(numbers, dtype=batch.dtype).reshape(1, -1, 1, 1)
    if interpolation == "nearest":
        return unbatched(where(covered < 0.5, border, values), image)
    return unbatched(values * covered + (1.0 - covered) * border, image)
