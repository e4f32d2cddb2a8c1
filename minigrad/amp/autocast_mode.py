"""Stage: front. In: ``with autocast("cpu"):`` around a forward pass. Out: its products, convolutions and so on are
computed in a half type, losses in float32. Which op takes which is in ``tensor/autocast.py``.
Next: ``grad_scaler.py``."""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.autograd.mode import mode
from minigrad.cuda import is_available
from minigrad.dtype import DType, bfloat16, float16, float64
from minigrad.tensor import Tensor
from minigrad.tensor.autocast import CPU, CUDA, kind_of

_HALVES = (bfloat16, float16)


class _State(threading.local):
    """Per thread: the half types that are set for processors and GPUs; how many ``autocast`` blocks there are around;
    whether casts may be kept (they are computed once in each run in any case)."""

    def __init__(self) -> None:
        self.dtypes: list[DType] = [bfloat16, float16]
        self.enabled = [False, False]
        self.nesting = 0
        self.cache = True

    def put(self) -> None:
        """Tell the ops."""
        found = [dtype if on else None for dtype, on in zip(self.dtypes, self.enabled, strict=True)]
        mode.autocast = None if found == [None, None] else (found[CPU], found[CUDA])


_state = _State()
_THERE = {"cpu": CPU, "cuda": CUDA}


def _kind(device_type: str) -> int:
    if device_type not in _THERE:
        raise RuntimeError(f"unknown device type for autocast in get_autocast_dispatch_key_from_device_type: "
                           f"{device_type!r}; 'cpu' and 'cuda' are there")
    return _THERE[device_type]


def is_autocast_available(device_type: str) -> bool:
    """Whether ``autocast(device_type)`` may be asked for.

    >>> is_autocast_available("cpu"), is_autocast_available("abacus")
    (True, False)
    """
    return device_type in _THERE


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Whether ops on devices of this type are cast now, in this thread."""
    return _state.enabled[_kind(device_type)]


def set_autocast_enabled(device_type: str | bool, enabled: bool | None = None) -> None:
    """Cast ops on devices of this type, or not. With one argument: on GPUs."""
    if isinstance(device_type, bool):
        _state.enabled[CUDA] = device_type
    else:
        _state.enabled[_kind(device_type)] = bool(enabled)
    _state.put()


def get_autocast_dtype(device_type: str) -> DType:
    """The half type of ``autocast(device_type)``; bfloat16 on processors and float16 on GPUs unless another is set.

    >>> get_autocast_dtype("cpu")
    minigrad.bfloat16
    """
    return _state.dtypes[_kind(device_type)]


def set_autocast_dtype(device_type: str, dtype: DType) -> None:
    """Set the half type for devices of this type."""
    _state.dtypes[_kind(device_type)] = dtype
    _state.put()


def is_autocast_cache_enabled() -> bool:
    """What ``set_autocast_cache_enabled`` has set: True at first."""
    return _state.cache


def set_autocast_cache_enabled(enabled: bool) -> None:
    """Changes nothing else: equal casts are computed once in each run, and none is kept beyond it."""
    _state.cache = bool(enabled)


def clear_autocast_cache() -> None:
    """Nothing: no cast is kept."""


def autocast_increment_nesting() -> int:
    """One more block around what follows."""
    _state.nesting += 1
    return _state.nesting


def autocast_decrement_nesting() -> int:
    """One block less."""
    _state.nesting -= 1
    return _state.nesting


def is_autocast_cpu_enabled() -> bool:
    """``is_autocast_enabled("cpu")``."""
    return is_autocast_enabled("cpu")


def set_autocast_cpu_enabled(enabled: bool) -> None:
    """``set_autocast_enabled("cpu", enabled)``."""
    set_autocast_enabled("cpu", enabled)


def get_autocast_cpu_dtype() -> DType:
    """``get_autocast_dtype("cpu")``."""
    return get_autocast_dtype("cpu")


def get_autocast_gpu_dtype() -> DType:
    """``get_autocast_dtype("cuda")``."""
    return get_autocast_dtype("cuda")


def set_autocast_cpu_dtype(dtype: DType) -> None:
    """``set_autocast_dtype("cpu", dtype)``."""
    set_autocast_dtype("cpu", dtype)


def set_autocast_gpu_dtype(dtype: DType) -> None:
    """``set_autocast_dtype("cuda", dtype)``."""
    set_autocast_dtype("cuda", dtype)


class autocast:
    """Inside a ``with`` block, or a function with this decorator, ops on devices of type ``device_type`` are computed
    in ``dtype`` (bfloat16 or float16) where that is fast and safe, in float32 where it is not; others take their
    operands as they are. Gradients have the types of what they are of.

    ``dtype`` None: bfloat16 on processors, float16 on GPUs. Warns, and does nothing, where there is no CUDA, or for
    another dtype. Source: https://docs.pytorch.org/docs/stable/amp.html

    >>> import minigrad
    >>> x = minigrad.ones(2, 2)
    >>> with autocast("cpu", dtype=minigrad.bfloat16):
    ...     (x @ x).dtype, (x + x).dtype
    (minigrad.bfloat16, minigrad.float32)
    """

    def __init__(self, device_type: str, dtype: DType | None = None, enabled: bool = True,
                 cache_enabled: bool | None = None) -> None:
        if not isinstance(device_type, str):
            raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        if not is_autocast_available(device_type):
            raise RuntimeError(f"User specified an unsupported autocast device_type '{device_type}'")
        self.device = device_type
        self.fast_dtype = get_autocast_dtype(device_type) if dtype is None else dtype
        self._cache_enabled = is_autocast_cache_enabled() if cache_enabled is None else cache_enabled
        if enabled and device_type == "cuda" and not is_available():
            warnings.warn("CUDA is not available or torch_xla is imported. Disabling autocast.", stacklevel=2)
            enabled = False
        elif enabled and self.fast_dtype not in _HALVES:
            name = device_type.upper()
            warnings.warn(f"In {name} autocast, but the target dtype is not supported. Disabling autocast.\n"
                          f"{name} Autocast only supports dtypes of {', '.join(map(str, _HALVES))} currently.",
                          stacklevel=2)
            enabled = False
        self._enabled = enabled

    def __enter__(self) -> autocast:
        self.prev_cache_enabled = _state.cache
        self.prev = is_autocast_enabled(self.device)
        self.prev_fastdtype = get_autocast_dtype(self.device)
        set_autocast_enabled(self.device, self._enabled)
        set_autocast_dtype(self.device, self.fast_dtype)
        autocast_increment_nesting()
        _state.cache = self._cache_enabled
        return self

    def __exit__(self, *exception: object) -> None:
        autocast_decrement_nesting()
        set_autocast_enabled(self.device, self.prev)
        set_autocast_dtype(self.device, self.prev_fastdtype)
        _state.cache = self.prev_cache_enabled

    def __call__(self, func: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(func)
        def decorate_autocast(*args: Any, **kwargs: Any) -> Any:
            with self:
                return func(*args, **kwargs)

        return decorate_autocast


# --- for autograd.Function


def _cast(value: Any, device_type: str, dtype: DType) -> Any:
    """``value`` with all Tensors in it that autocast would cast in ``dtype``."""
    if isinstance(value, Tensor):
        here = value.dtype.is_float and value.dtype is not float64 and kind_of(value.device.type) == _kind(device_type)
        return value.to(dtype) if here else value
    if isinstance(value, str | bytes | np.ndarray):
        return value
    if isinstance(value, dict):
        return {_cast(k, device_type, dtype): _cast(v, device_type, dtype) for k, v in value.items()}
    if isinstance(value, list | tuple):
        items = [_cast(v, device_type, dtype) for v in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


def custom_fwd(fwd: Callable[..., Any] | None = None, *, device_type: str, cast_inputs: DType | None = None) -> Any:
    """A decorator for the ``forward`` of an ``autograd.Function``. With ``cast_inputs``, inside an autocast block the
    Tensors among its arguments are cast to that dtype and the body runs without autocast; else it runs as its caller
    does. Source: https://docs.pytorch.org/docs/stable/amp.html#torch.amp.custom_fwd
    """
    if not isinstance(device_type, str):
        raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def decorate_fwd(*args: Any, **kwargs: Any) -> Any:
        args[0]._dtype = get_autocast_dtype(device_type)
        active = is_autocast_enabled(device_type)
        if cast_inputs is None:
            args[0]._fwd_used_autocast = active
            return fwd(*args, **kwargs)
        args[0]._fwd_used_autocast = False
        if not active:
            return fwd(*args, **kwargs)
        with autocast(device_type=device_type, enabled=False):
            return fwd(*_cast(args, device_type, cast_inputs), **_cast(kwargs, device_type, cast_inputs))

    return decorate_fwd


def custom_bwd(bwd: Callable[..., Any] | None = None, *, device_type: str) -> Any:
    """A decorator for the ``backward`` of an ``autograd.Function`` whose forward has ``custom_fwd``: it runs with the
    autocast state that the forward had. Source: https://docs.pytorch.org/docs/stable/amp.html#torch.amp.custom_bwd
    """
    if not isinstance(device_type, str):
        raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def decorate_bwd(*args: Any, **kwargs: Any) -> Any:
        with autocast(device_type=device_type, enabled=args[0]._fwd_used_autocast, dtype=args[0]._dtype):
            return bwd(*args, **kwargs)

    return decorate_bwd
