"""Stage: front. In: signals along dimensions of a tensor. Out: their discrete Fourier transforms, by NumPy's pocketfft
on the host, and the short-time transforms that are made of them. A transform is linear: its gradient is another
transform.
Next: ``minigrad/jit/``."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.tensor.definition import FUNCTIONS
from minigrad.tensor.function import watched
from minigrad.tensor.lapack.host import Gradients, host_function, is_complex, with_values
from minigrad.tensor.operands import whole_number
from minigrad.tensor.promotion import get_default_dtype, type_name

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor

Dims = tuple[int, ...]
NORMS = ("backward", "ortho", "forward")

# --- the three transforms: complex to complex, real to half a spectrum, half a spectrum to real


def _adjoint(norm: str) -> str:
    """The scaling of the other direction that makes it the adjoint: what one divides by, the other must, too."""
    return {"backward": "forward", "forward": "backward"}.get(norm, norm)


def _c2c_arrays(arrays: Sequence[np.ndarray], dims: Dims, norm: str, forward: bool) -> np.ndarray:
    transform = np.fft.fftn if forward else np.fft.ifftn
    return np.asarray(transform(arrays[0], axes=dims, norm=norm)).astype(arrays[0].dtype)  # type: ignore[arg-type]


def _r2c_arrays(arrays: Sequence[np.ndarray], dims: Dims, norm: str) -> np.ndarray:
    a = arrays[0]
    return np.asarray(np.fft.rfftn(a, axes=dims, norm=norm)).astype(  # type: ignore[arg-type]
        np.result_type(a.dtype, np.complex64))


def _c2r_arrays(arrays: Sequence[np.ndarray], dims: Dims, norm: str, last: int) -> np.ndarray:
    a = arrays[0]
    sizes = [*[a.shape[d] for d in dims[:-1]], last]
    return np.asarray(np.fft.irfftn(a, sizes, axes=dims, norm=norm)).astype(a.real.dtype)  # type: ignore[arg-type]


def _c2c_gradient(inputs: Any, outputs: Any, grads: Any, dims: Dims, norm: str, forward: bool) -> Gradients:
    return (_C2C((grads[0],), (dims, _adjoint(norm), not forward)),)


def _weights(like: Tensor, axis: int, size: int, inner: float) -> Tensor:
    """1 for frequencies that a real signal's spectrum has once, 0 and half the rate; ``inner`` for those that it has
    twice."""
    half = like.shape[axis]
    index = like.new_ones(half, dtype=like.dtype.part).cumsum(0) - 1
    once = (index == 0) | (index * 2 == size)
    weights = (index * 0 + inner).masked_fill(once, 1)
    return weights.reshape([-1 if i == axis else 1 for i in range(like.ndim)])


def _r2c_gradient(inputs: Any, outputs: Any, grads: Any, dims: Dims, norm: str) -> Gradients:
    """The real part of the transform back of G, which has no second half: that of a spectrum with half of G in both."""
    size = inputs[0].shape[dims[-1]]
    return (_C2R((grads[0] * _weights(grads[0], dims[-1], size, 0.5),), (dims, _adjoint(norm), size)),)


def _c2r_gradient(inputs: Any, outputs: Any, grads: Any, dims: Dims, norm: str, last: int) -> Gradients:
    """The transform of G; frequencies that stand for two count twice."""
    found = _R2C((grads[0],), (dims, _adjoint(norm)))
    return (found * _weights(found, dims[-1], last, 2.0),)


def _changed(shape: Dims, axis: int, size: int) -> Dims:
    return (*shape[:axis], size, *shape[axis + 1:])


_C2C = host_function("fft_c2c", _c2c_arrays, lambda x, dims, norm, forward: [(x.shape, x.dtype)], "FftC2CBackward0",
                     _c2c_gradient, in_rows=False, matrices=False)
_R2C = host_function("fft_r2c", _r2c_arrays, lambda x, dims, norm: [
    (_changed(x.shape, dims[-1], x.shape[dims[-1]] // 2 + 1), x.dtype.complex)], "FftR2CBackward0", _r2c_gradient,
    in_rows=False, matrices=False)
_C2R = host_function("fft_c2r", _c2r_arrays, lambda x, dims, norm, last: [
    (_changed(x.shape, dims[-1], last), x.dtype.part)], "FftC2RBackward0", _c2r_gradient,
    in_rows=False, matrices=False)


# --- arguments


def _norm(norm: str | None) -> str:
    if norm is None:
        return "backward"
    if norm not in NORMS:
        raise RuntimeError(f'Invalid normalization mode: "{norm}"')
    return norm


def promoted(x: Tensor, to_complex: bool) -> Tensor:
    """Integers become floats; ``RuntimeError`` for half types, which pocketfft does not have."""
    if x.dtype.kind in "fc" and x.dtype.part.size < 4:
        raise RuntimeError(f"Unsupported dtype {type_name(x.dtype)}")
    dtype = x.dtype if x.dtype.kind in "fc" else get_default_dtype()
    return x.to(dtype.complex if to_complex else dtype)


def dimension(dim: int, x: Tensor) -> int:
    """The dimension, counted from the first."""
    if x.ndim == 0:
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
    if not -x.ndim <= dim < x.ndim:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-x.ndim}, {x.ndim - 1}], but got "
                         f"{dim})")
    return dim % x.ndim


def resized(x: Tensor, dims: Sequence[int], sizes: Sequence[int]) -> Tensor:
    """Cut off, or filled up with zeros, to these sizes."""
    for d, size in zip(dims, sizes, strict=True):
        more = size - x.shape[d]
        if more < 0:
            x = x.narrow(d, 0, size)
        elif more:
            x = FUNCTIONS["cat"]([x, x.new_zeros(_changed(tuple(x.shape), d, more))], d)
    return x


def _points(size: int) -> int:
    if size < 1:
        raise RuntimeError(f"Invalid number of data points ({size}) specified")
    return size


# --- along one dimension


def _one(x: Tensor, to_complex: bool, n: Any, dim: int, norm: str | None,
         name: str) -> tuple[Tensor, int, str, int | None]:
    """The checked arguments of a transform along one dimension: the signal, promoted, the dimension, the norm, n."""
    n = n if n is None else whole_number(name, "n", n)
    x, at = promoted(x, to_complex), dimension(dim, x)
    return x, at, _norm(norm), n


def c2c(x: Tensor, n: int | None, dim: int, norm: str | None, forward: bool, name: str) -> Tensor:
    """``fft`` and ``ifft``."""
    x, at, mode, n = _one(x, False, n, dim, norm, name)
    x = resized(x, (at,), (_points(x.shape[at] if n is None else n),))
    result = _C2C((x.to(x.dtype.complex),), ((at,), mode, forward))
    return result if is_complex(x) else watched(result, x)


def r2c(x: Tensor, n: int | None, dim: int, norm: str | None, forward: bool, name: str) -> Tensor:
    """``rfft``, and ``ihfft`` if not ``forward``: the conjugate, scaled as the way back."""
    n = n if n is None else whole_number(name, "n", n)
    if is_complex(x):
        raise RuntimeError(f"{name.removeprefix('fft_')} expects a real input tensor, but got {type_name(x.dtype)}")
    x, at, mode, n = _one(x, False, n, dim, norm, name)
    size = _points(x.shape[at] if n is None else n)
    result = _R2C((resized(x, (at,), (size,)),), ((at,), mode if forward else _adjoint(mode)))
    return result if forward else result.conj()


def c2r(x: Tensor, n: int | None, dim: int, norm: str | None, forward: bool, name: str) -> Tensor:
    """``irfft``, and ``hfft`` if ``forward``: that of the conjugate, scaled as the way there."""
    x, at, mode, n = _one(x, True, n, dim, norm, name)
    size = _points(2 * (x.shape[at] - 1) if n is None else n)
    x = resized(x, (at,), (size // 2 + 1,))
    if forward:
        return _C2R((x.conj(),), ((at,), _adjoint(mode), size))
    return _C2R((x,), ((at,), mode, size))


# --- along several dimensions


def _shape_and_dims(x: Tensor, s: Any, dim: Any) -> tuple[list[int], list[int]]:
    """The sizes, -1 for those that stay as they are, and the dimensions."""
    sizes = None if s is None else [s] if isinstance(s, int) else [int(v) for v in s]
    dims = None if dim is None else [dim] if isinstance(dim, int) else [int(d) for d in dim]
    if dims is not None:
        dims = [dimension(d, x) for d in dims]
        if len(set(dims)) != len(dims):
            raise RuntimeError("FFT dims must be unique")
    if sizes is not None:
        if dims is not None and len(dims) != len(sizes):
            raise RuntimeError("When given, dim and shape arguments must have the same length")
        if len(sizes) > x.ndim:
            raise RuntimeError(f"Got shape with {len(sizes)} values but input tensor only has {x.ndim} dimensions.")
        if dims is None:
            dims = list(range(x.ndim - len(sizes), x.ndim))
    elif dims is None:
        dims = list(range(x.ndim))
    sizes = [-1] * len(dims) if sizes is None else sizes
    return sizes, dims


def _filled(x: Tensor, sizes: list[int], dims: list[int]) -> list[int]:
    return [_points(x.shape[d] if size == -1 else size) for size, d in zip(sizes, dims, strict=True)]


def c2c_many(x: Tensor, s: Any, dim: Any, norm: str | None, forward: bool) -> Tensor:
    """``fftn`` and ``ifftn``."""
    sizes, dims = _shape_and_dims(x, s, dim)
    x, mode = promoted(x, True), _norm(norm)
    x = resized(x, dims, _filled(x, sizes, dims))
    return _C2C((x,), (tuple(dims), mode, forward)) if dims else x.clone()


def r2c_many(x: Tensor, s: Any, dim: Any, norm: str | None, forward: bool, name: str) -> Tensor:
    """``rfftn``, and ``ihfftn`` if not ``forward``: the last dimension first, as real numbers."""
    if forward and is_complex(x):
        raise RuntimeError(f"{name} expects a real-valued input tensor, but got {type_name(x.dtype)}")
    sizes, dims = _shape_and_dims(x, s, dim)
    if is_complex(x):
        raise RuntimeError(f"Only supports floating-point dtypes, but found: {type_name(x.dtype)}")
    x, mode = promoted(x, False), _norm(norm)
    if not dims:
        raise RuntimeError(f"{name} must transform at least one axis")
    x = resized(x, dims, _filled(x, sizes, dims))
    if forward:
        return _R2C((x,), (tuple(dims), mode))
    result = _R2C((x,), ((dims[-1],), _adjoint(mode))).conj()
    return _C2C((result,), (tuple(dims[:-1]), mode, False)) if len(dims) > 1 else result


def c2r_many(x: Tensor, s: Any, dim: Any, norm: str | None, forward: bool, name: str) -> Tensor:
    """``irfftn``, and ``hfftn`` if ``forward``: the last dimension last, to real numbers."""
    sizes, dims = _shape_and_dims(x, s, dim)
    x, mode = promoted(x, True), _norm(norm)
    if not dims:
        raise RuntimeError(f"{name} must transform at least one axis")
    last = _points(2 * (x.shape[dims[-1]] - 1) if sizes[-1] == -1 else sizes[-1])
    x = resized(x, dims, [*_filled(x, sizes[:-1], dims[:-1]), last // 2 + 1])
    if not forward:
        return _C2R((x,), (tuple(dims), mode, last))
    if len(dims) > 1:
        x = _C2C((x,), (tuple(dims[:-1]), mode, True))
    return _C2R((x.conj(),), ((dims[-1],), _adjoint(mode), last))


# --- short-time transforms


def _written(name: str, x: Tensor, window: Tensor | None, options: dict[str, Any]) -> str:
    """The call, as PyTorch's messages show it."""
    kind, sizes = type_name(x.dtype), ", ".join(map(str, x.shape))
    shown = f"torch.{kind}Tensor[{sizes}]" if name == "stft" and not is_complex(x) else f"CPU{kind}Type[{sizes}]"
    frame = "None"
    if window is not None:
        frame = f"torch.{type_name(window.dtype)}Tensor{{[{', '.join(map(str, window.shape))}]}}"
    given = []
    for key, value in options.items():
        given.append(f"{key}={int(value) if isinstance(value, bool) else value}")
        if key == "win_length":
            given.append(f"window={frame}")
    return f"{name}({shown}, {', '.join(given)})"


@cache
def _warn(text: str) -> None:
    """Once, as PyTorch does."""
    warnings.warn(f"{text}To suppress this warning and use a rectangular window, explicitly set "
                  "`window=torch.ones(n_fft, device=<device>)`.", stacklevel=5)


def _framed(window: Tensor | None, x: Tensor, win_length: int, n_fft: int) -> Tensor | None:
    """The window in the middle of n_fft elements."""
    if window is None and win_length == n_fft:
        return None
    window = x.new_ones(win_length, dtype=x.dtype.part) if window is None else window
    left = (n_fft - win_length) // 2
    if win_length < n_fft:
        cat = FUNCTIONS["cat"]
        window = cat([window.new_zeros(left), window, window.new_zeros(n_fft - win_length - left)])
    return window


def stft(x: Tensor, n_fft: int, hop_length: int | None, win_length: int | None, window: Tensor | None, center: bool,
         pad_mode: str, normalized: bool, onesided: bool | None, return_complex: bool | None,
         align_to_window: bool | None) -> Tensor:
    """The spectra of frames of ``n_fft`` samples, ``hop_length`` apart, each times the window."""
    hop, width = n_fft // 4 if hop_length is None else hop_length, n_fft if win_length is None else win_length
    with_complex = is_complex(x) or (window is not None and is_complex(window))
    if return_complex is None:
        return_complex = with_complex
        if not with_complex:
            raise RuntimeError("stft requires the return_complex parameter be given for real inputs, and will further "
                               "require that return_complex=True in a future PyTorch release.")
    if align_to_window and center:
        raise RuntimeError("stft only supports align_to_window for center = False.")
    if center:
        x = _extended(x, n_fft // 2, pad_mode)
    call = _written("stft", x, window, {
        "n_fft": n_fft, "hop_length": hop, "win_length": width, "normalized": normalized, "onesided": onesided,
        "return_complex": return_complex, "align_to_window": align_to_window})
    _check_stft(x, n_fft, hop, width, window, call)
    if window is None:
        _warn("A window was not provided. A rectangular window will be applied,which is known to cause spectral "
              "leakage. Other windows such as torch.hann_window or torch.hamming_window are recommended to reduce "
              "spectral leakage.")
    frame = _framed(window, x, width, n_fft)
    if onesided is None:
        onesided = not with_complex
    elif onesided and with_complex:
        raise RuntimeError("Cannot have onesided output if window or input is complex")
    frames = x.unfold(-1, n_fft, hop)
    frames = frames if frame is None else frames * frame
    norm = "ortho" if normalized else "backward"
    at = frames.ndim - 1
    if onesided:
        result = _R2C((frames,), ((at,), norm))
    else:
        result = _C2C((promoted(frames, True),), ((at,), norm, True))
    result = result.mT
    return result if return_complex else FUNCTIONS["view_as_real"](result)


_PAD_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap", "constant": ""}


def _extended(x: Tensor, more: int, mode: str) -> Tensor:
    """The signal with ``more`` samples at both ends, as ``nn.functional.pad`` makes them."""
    if mode not in _PAD_MODES:
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    size = x.shape[-1]
    if mode == "constant":
        zeros = x.new_zeros((*x.shape[:-1], more))
        return FUNCTIONS["cat"]([zeros, x, zeros], -1)
    if mode == "reflect" and more >= size:
        raise RuntimeError("Argument #4: Padding size should be less than the corresponding input dimension, but got: "
                           f"padding ({more}, {more}) at dimension 2 of input {[1] * (3 - x.ndim) + list(x.shape)}")
    if not more:
        return x
    at = np.pad(np.arange(size), more, mode=_PAD_MODES[mode])  # type: ignore[call-overload]
    return x.index_select(-1, FUNCTIONS["tensor"](at, device=x.device))


def _check_stft(x: Tensor, n_fft: int, hop: int, width: int, window: Tensor | None, call: str) -> None:
    if x.dtype.kind not in "fc":
        raise RuntimeError(f"{call} : expected a tensor of floating point or complex values")
    if x.ndim not in (1, 2):
        raise RuntimeError(f"{call} : expected a 1D or 2D tensor")
    if not 0 < n_fft <= x.shape[-1]:
        raise RuntimeError(f"{call} : expected 0 < n_fft < {x.shape[-1]}, but got n_fft={n_fft}")
    if hop <= 0:
        raise RuntimeError(f"{call} : expected hop_length > 0, but got hop_length={hop}")
    if not 0 < width <= n_fft:
        raise RuntimeError(f"{call} : expected 0 < win_length <= n_fft, but got win_length={width}")
    if window is not None and (window.ndim != 1 or window.shape[0] != width):
        raise RuntimeError(f"{call} : expected a 1D window tensor of size equal to win_length={width}, but got window "
                           f"with size {list(window.shape)}")


def istft(x: Tensor, n_fft: int, hop_length: int | None, win_length: int | None, window: Tensor | None, center: bool,
          normalized: bool, onesided: bool | None, length: int | None, return_complex: bool) -> Tensor:
    """The signal whose ``stft`` is nearest to x: the frames' signals, times the window, are added up, and divided by
    the sum of the windows' squares. (D. Griffin, J. Lim 1984)"""
    if not is_complex(x):
        raise RuntimeError("istft requires a complex-valued input tensor matching the output from stft with "
                           "return_complex=True.")
    hop, width = n_fft // 4 if hop_length is None else hop_length, n_fft if win_length is None else win_length
    call = _written("istft", x, window, {
        "n_fft": n_fft, "hop_length": hop, "win_length": width, "center": center, "normalized": normalized,
        "onesided": onesided, "length": length, "return_complex": return_complex})
    if x.numel() == 0:
        raise RuntimeError(f"{call} : input tensor cannot be empty.")
    if x.ndim not in (2, 3):
        raise RuntimeError(f"{call} : expected a tensor with 2 or 3 dimensions, but got {x.ndim}")
    half = (x.shape[-2] != n_fft) if onesided is None else onesided
    expected, shown = (n_fft // 2 + 1, "n_fft / 2 + 1 when onesided=True") if half else (
        n_fft, "n_fft when onesided=False")
    if x.shape[-2] != expected:
        raise RuntimeError(f"{call} : expected the frequency dimension (3rd to the last) of the input tensor to match "
                           f"{shown}, but got {x.shape[-2]}")
    if not 0 < hop <= width:
        raise RuntimeError(f"{call} : expected 0 < hop_length <= win_length")
    if not 0 < width <= n_fft:
        raise RuntimeError(f"{call} : expected 0 < win_length <= n_fft")
    if window is not None and (window.ndim != 1 or window.shape[0] != width):
        raise RuntimeError(f"{call} : Invalid window shape. window has to be 1D and length of `win_length`")
    if window is None:
        _warn("A window was not provided. A rectangular window will be applied.Please provide the same window used by "
              "stft to make the inversion lossless.")
    frame = _framed(window, x, width, n_fft)
    if frame is None:
        frame = x.new_ones(n_fft, dtype=x.dtype.part)
    if return_complex and half:
        raise RuntimeError("Cannot have onesided output if window or input is complex")
    if not return_complex and is_complex(frame):
        raise RuntimeError("Complex windows are incompatible with return_complex=False")
    return _overlapped(x, frame, n_fft, hop, half, normalized, center, length, return_complex, call)


def _overlapped(x: Tensor, frame: Tensor, n_fft: int, hop: int, half: bool, normalized: bool, center: bool,
                length: int | None, return_complex: bool, call: str) -> Tensor:
    spectra = x.mT
    at, norm = spectra.ndim - 1, "ortho" if normalized else "backward"
    if return_complex:
        frames = _C2C((spectra,), ((at,), norm, False))
    else:
        spectra = spectra if half else spectra.narrow(-1, 0, n_fft // 2 + 1)
        frames = _C2R((spectra,), ((at,), norm, n_fft))
    signal = _added(frames * frame, hop)
    weights = _added((frame * frame).expand(frames.shape[-2:]), hop)
    begin = n_fft // 2 if center else 0
    whole = n_fft + hop * (x.shape[-1] - 1)
    end = begin + length if length is not None else whole - begin if center else whole
    stop = min(end, whole)
    signal, weights = signal.narrow(-1, begin, stop - begin), weights.narrow(-1, begin, stop - begin)
    if with_values() and not weights.abs().detach().numpy().min(initial=np.inf) > 1e-11:
        raise RuntimeError(f"{call} window overlap add min: 1\n[ CPUBoolType{{}} ]")
    result = signal / weights
    if stop < end:
        warnings.warn("The length of signal is shorter than the length parameter. Result is being padded with zeros in "
                      "the tail. Please check your center and hop_length settings.", stacklevel=4)
    return result if stop == end else resized(result, (result.ndim - 1,), (end - begin,))


def _added(frames: Tensor, hop: int) -> Tensor:
    """Frames, (*, count, size), laid over each other ``hop`` apart and added."""
    *batch, count, size = frames.shape
    whole = size + hop * (count - 1)
    index = FUNCTIONS["arange"](count, device=frames.device).unsqueeze(-1) * hop + FUNCTIONS["arange"](
        size, device=frames.device)
    zeros = frames.new_zeros((*batch, whole))
    return zeros.index_add(-1, index.reshape(-1), frames.reshape(*batch, count * size))
