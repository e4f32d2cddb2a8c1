"""Stage: front. In: arrays of other libraries (NumPy, PyTorch, JAX, CuPy …) that speak the DLPack protocol. Out:
Tensors on the same memory, and the other way round, without copying. Loaded when one of both is first asked for.
NumPy makes and takes the capsules and looks after lifetimes: it is told that the memory is the host's and, in place of
bfloat16, that the elements are uint16; what is really there is written into the capsule afterwards, or read out of it
before. It never touches an element.
Next: ``sharing.py``."""

from __future__ import annotations

import ctypes
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.dtype import DType, bfloat16, uint16
from minigrad.dtype import from_numpy as dtype_of_array
from minigrad.engine import wrap_numpy
from minigrad.errors import DeviceUnavailable
from minigrad.graph.lazy import LazyBuffer
from minigrad.runtime.buffer import Buffer, DeviceBuffer, _Export
from minigrad.runtime.device import get_device
from minigrad.tensor.aliases import from_memory
from minigrad.tensor.size import host_device, resolve, shown_device
from minigrad.tensor.storage import compute, look

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor

# What NumPy can read and write: before 2.1 it knew the old capsules only.
_NUMPY_SPEAKS = (1, 0) if tuple(map(int, np.__version__.split(".")[:2])) >= (2, 1) else None


class DLDeviceType(IntEnum):
    """The kinds of memory that DLPack distinguishes. (https://dmlc.github.io/dlpack/latest/c_api.html)"""

    kDLCPU = 1
    kDLCUDA = 2
    kDLCUDAHost = 3
    kDLOpenCL = 4
    kDLVulkan = 7
    kDLMetal = 8
    kDLVPI = 9
    kDLROCM = 10
    kDLROCMHost = 11
    kDLExtDev = 12
    kDLCUDAManaged = 13
    kDLOneAPI = 14


_HOST_KINDS = (DLDeviceType.kDLCPU, DLDeviceType.kDLCUDAHost, DLDeviceType.kDLROCMHost, DLDeviceType.kDLCUDAManaged)
_UNSIGNED, _BFLOAT = 1, 4
_READ_ONLY, _IS_COPIED = 1, 2


class _DLTensor(ctypes.Structure):
    """DLPack's description of an array. Only what is read or changed here has a name of its own."""

    _fields_ = (("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32),
                ("ndim", ctypes.c_int32), ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8),
                ("lanes", ctypes.c_uint16))


class _Versioned(ctypes.Structure):
    """The head of a capsule "dltensor_versioned"; that of an old "dltensor" is a ``_DLTensor``."""

    _fields_ = (("major", ctypes.c_uint32), ("minor", ctypes.c_uint32), ("context", ctypes.c_void_p),
                ("deleter", ctypes.c_void_p), ("flags", ctypes.c_uint64), ("tensor", _DLTensor))


_is_capsule = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_IsValid", ctypes.pythonapi))
_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi))


def _opened(capsule: Any) -> tuple[_DLTensor, _Versioned | None]:
    """What is in a capsule that nobody has taken yet. ``RuntimeError`` for anything else."""
    if _is_capsule(capsule, b"dltensor_versioned"):
        head = _Versioned.from_address(_pointer(capsule, b"dltensor_versioned"))
        return head.tensor, head
    if _is_capsule(capsule, b"dltensor"):
        return _DLTensor.from_address(_pointer(capsule, b"dltensor")), None
    if type(capsule).__name__ == "PyCapsule":
        raise RuntimeError("from_dlpack received an invalid capsule. Note that DLTensor capsules can be consumed only "
                           "once, so you might have already constructed a tensor from it once.")
    raise TypeError(f"from_dlpack() expects an object with __dlpack__() or a DLPack capsule, got "
                    f"{type(capsule).__name__}")


# --- minigrad's memory for others


def kind_of(name: str) -> tuple[DLDeviceType, int]:
    """``Tensor.__dlpack_device__``: the kind of a device's memory and its index."""
    if get_device(name).host_memory:
        return DLDeviceType.kDLCPU, 0
    family, _, index = name.partition(":")
    if family != "CUDA":
        raise ValueError(f"Unknown device type {family.lower()} for Dlpack; pass a copy in host memory, tensor.cpu()")
    return DLDeviceType.kDLCUDA, int(index or 0)


def _shown(kind: int, index: int) -> str:
    """DLPack's device in words."""
    known = next((k.name.removeprefix("kDL").lower() for k in DLDeviceType if k == kind), f"device type {int(kind)}")
    return known if kind == DLDeviceType.kDLCPU else f"{known}:{index}"


def _visible(tensor: Tensor) -> np.ndarray:
    """An array that describes the Tensor's memory and keeps it, for whom it counts as shared: not to be read by us,
    it may be a device's."""
    look("__dlpack__()")
    storage, view = tensor._storage, tensor._view
    if storage.lazy.buffer is None:
        compute(storage.lazy, "__dlpack__()")
    storage.make_private()
    lazy = storage.lazy
    if view is None:
        return _described(lazy.buffer, lazy.dtype, lazy.offset, lazy.shape, lazy.strides)
    return _described(lazy.buffer, view.dtype, lazy.offset + view.offset * view.dtype.size, view.shape, view.strides)


def _described(buffer: Buffer, dtype: DType, offset: int, shape: tuple[int, ...],
               strides: tuple[int, ...]) -> np.ndarray:
    held = (uint16 if dtype is bfloat16 else dtype).numpy
    return np.asarray(_Export(buffer, {
        "version": 3, "data": (buffer.address + offset, not buffer.writable), "shape": shape, "typestr": held.str,
        "strides": tuple([s * held.itemsize for s in strides])}))


def exported(self: Tensor, stream: int | None, max_version: tuple[int, int] | None, dl_device: tuple[int, int] | None,
             copy: bool | None) -> Any:
    """``Tensor.__dlpack__``."""
    if self.requires_grad:
        raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
    if stream is not None and type(stream) is not int:
        raise TypeError("stream must be ``int`` or ``none``")
    kind, index = self.__dlpack_device__()
    source = self
    if dl_device is not None and tuple(map(int, dl_device)) != (kind, index):
        if copy is False:
            raise ValueError(f"cannot move (i.e. copy=False) tensor from {_shown(kind, index)} to "
                             f"{_shown(*dl_device)} without copying.")
        source = self.to(_device_of(*dl_device), copy=True)
        kind, index = source.__dlpack_device__()
    elif copy:
        source = self.clone()
    array = _visible(source)
    if kind == DLDeviceType.kDLCUDA and stream != -1:
        get_device(source._storage.lazy.device).synchronize()  # what stream ever: the elements are there
    speaks = _NUMPY_SPEAKS if max_version is not None and max_version[0] >= 1 else None
    capsule = array.__dlpack__() if speaks is None else array.__dlpack__(max_version=speaks)
    tensor, head = _opened(capsule)
    tensor.device_type, tensor.device_id = kind, index
    if self.dtype is bfloat16:
        tensor.code = _BFLOAT
    if head is not None and source is not self:
        head.flags |= _IS_COPIED
    return capsule


# --- others' memory for minigrad


class _Taken:
    """Gives NumPy a capsule that was asked for already."""

    def __init__(self, capsule: Any) -> None:
        self.capsule = capsule

    def __dlpack__(self, **options: Any) -> Any:
        return self.capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return DLDeviceType.kDLCPU, 0


class _Foreign:
    """Memory of another library as minigrad sees it: what the capsule said about type and writing, not what NumPy was
    told. Keeps NumPy's array, which keeps the capsule's contents."""

    __slots__ = ("__array_interface__", "owner")

    def __init__(self, owner: np.ndarray, writable: bool) -> None:
        self.owner = owner
        self.__array_interface__ = {**owner.__array_interface__, "strides": owner.strides,
                                    "data": (owner.__array_interface__["data"][0], not writable)}


def shared(ext_tensor: Any, device: Any, copy: bool | None) -> Tensor:
    """``from_dlpack``."""
    if not hasattr(ext_tensor, "__dlpack__"):
        if device is not None or copy is not None:
            raise AssertionError("device and copy kwargs not supported when ext_tensor is already a DLPack capsule.")
        return from_memory(_taken(ext_tensor, None))
    target = None if device is None else resolve(device)
    given = getattr(ext_tensor, "__dlpack_device__", lambda: (DLDeviceType.kDLCPU, 0))()
    kind, index = int(given[0]), int(given[1])
    if target is None or _reaches(target, kind, index):
        place = _device_of(kind, index) if target is None else target
        result = from_memory(_taken(_asked(ext_tensor, place, copy), place))
        return result.clone() if copy else result
    if copy is False:
        raise ValueError(f"cannot move DLPack tensor from {_shown(kind, index)} to {shown_device(target)} without "
                         "copying. Set copy=None or copy=True.")
    place = _device_of(kind, index)
    return from_memory(_taken(_asked(ext_tensor, place, copy), place)).to(target)


def _reaches(name: str, kind: int, index: int) -> bool:
    """Whether the device works on such memory."""
    if get_device(name).host_memory:
        return kind in _HOST_KINDS
    return kind == DLDeviceType.kDLCUDA and name == (f"CUDA:{index}" if index else "CUDA")


def _device_of(kind: int, index: int) -> str:
    """The device that reaches such memory; ``RuntimeError`` if there is none."""
    if kind in _HOST_KINDS:
        return host_device()
    if kind != DLDeviceType.kDLCUDA:
        raise RuntimeError(f"DLPack memory of {_shown(kind, index)} can't be shared: minigrad takes host and CUDA "
                           "memory; copy it to the host first")
    name = f"CUDA:{index}" if index else "CUDA"
    try:
        return get_device(name).name
    except DeviceUnavailable as error:
        raise DeviceUnavailable(f"the DLPack array is in the memory of CUDA device {index}: {error}") from None


def _asked(producer: Any, place: str, copy: bool | None) -> Any:
    """The producer's capsule, in the newest form that it and NumPy know."""
    device = get_device(place)
    options: dict[str, Any] = {} if _NUMPY_SPEAKS is None else {"max_version": _NUMPY_SPEAKS}
    if copy is False:
        options["copy"] = False
    if not device.host_memory:  # where we shall use it: on the device's stream, or the legacy default one
        queue = getattr(device, "queue", None)
        options["stream"] = 1 if queue is None else int(queue.stream)
    for name in ("max_version", "copy"):
        try:
            return producer.__dlpack__(**options)
        except TypeError:  # producers written before the option was
            options.pop(name, None)
    return producer.__dlpack__(**options)


def _taken(capsule: Any, device: str | None) -> LazyBuffer:
    """A realised value on the memory in a capsule, which is used up."""
    tensor, head = _opened(capsule)
    place = _device_of(tensor.device_type, tensor.device_id) if device is None else device
    writable = head is None or not head.flags & _READ_ONLY
    was = tensor.device_type, tensor.device_id, tensor.code
    is_bfloat16 = tensor.code == _BFLOAT and tensor.bits == 16
    tensor.device_type, tensor.device_id = DLDeviceType.kDLCPU, 0
    if is_bfloat16:
        tensor.code = _UNSIGNED
    taken = _Taken(capsule)
    try:
        owner = np.from_dlpack(taken)
    except (BufferError, RuntimeError) as error:
        raise TypeError(f"can't take this DLPack array: {error}") from None
    tensor.device_type, tensor.device_id, tensor.code = was  # it is its maker's again when we are done
    array = np.asarray(_Foreign(owner, writable))
    if is_bfloat16:
        array = array.view(bfloat16.numpy)
    return _wrapped(array, bfloat16 if is_bfloat16 else dtype_of_array(array.dtype), place)


def _wrapped(array: np.ndarray, dtype: DType, device: str) -> LazyBuffer:
    lazy = wrap_numpy(array, dtype, device)
    home: Any = get_device(device)
    if home.host_memory:
        return lazy
    host = lazy.buffer  # right in all but that it is not the host's
    buffer = DeviceBuffer.__new__(DeviceBuffer)
    buffer._free, buffer._wrapped, buffer.exports, buffer.views = None, array, [None], []
    buffer.device, buffer.nbytes, buffer.address, buffer.writable = device, host.nbytes, host.address, host.writable
    buffer.memory = home.memory
    return LazyBuffer.from_buffer(buffer, array.shape, dtype, device, 0, lazy.arg)
