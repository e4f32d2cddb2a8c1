"""Stage: front. In: a Tensor. Out: a Parameter, the same numbers marked as something to learn, or a Buffer, marked as
something to keep. A Module registers each of them that is assigned to it.
Next: ``minigrad/nn/modules/``."""

from __future__ import annotations

from typing import Any

from minigrad.tensor import Size, Tensor, empty
from minigrad.tensor.overrides import not_asked


class _Marked(type):
    """The class of Parameter and Buffer. A Tensor of another class counts as one of them if it is marked so."""

    def __instancecheck__(cls, instance: object) -> bool:
        if type.__instancecheck__(cls, instance):
            return True
        mark = vars(cls).get("_mark")
        return mark is not None and isinstance(instance, Tensor) and bool(getattr(instance, mark, False))


class Parameter(Tensor, metaclass=_Marked):
    """A Tensor that a Module lists among its parameters; it requires a gradient unless told otherwise.

    It shares ``data``'s memory. Of a subclass of Tensor it makes one of the same class, which counts as a Parameter.
    ``RuntimeError`` when an integer tensor is to require a gradient.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.parameter.Parameter.html)

    >>> from minigrad import ones
    >>> Parameter(ones(2))
    Parameter containing:
    tensor([1., 1.], requires_grad=True)
    """

    _mark = "_is_param"
    _shown = "tensor"
    __torch_function__ = not_asked  # type: ignore[assignment]  # what is made of a Parameter is a plain Tensor

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Parameter:
        result: Any = (empty(0) if data is None else data).detach()
        if requires_grad and not result.dtype.is_inexact:
            raise RuntimeError("Only Tensors of floating point and complex dtype can require gradients")
        if data is None or type(data) in (Tensor, Parameter) or isinstance(data, cls):
            result.__class__ = cls
        else:
            result.__class__ = type(data)
            result._is_param = True
        result.requires_grad_(requires_grad)
        return result

    def __init__(self, data: Tensor | None = None, requires_grad: bool = True) -> None:
        """``__new__`` has done it all: the object is an alias of ``data`` that became a Parameter."""

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]  # of a mixin's own self type
        return "Parameter containing:\n" + super().__repr__()

    def __str__(self) -> str:
        return repr(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.detach().clone(), self.requires_grad)
        return memo[id(self)]


class Buffer(Tensor, metaclass=_Marked):
    """A Tensor that a Module keeps among its buffers: part of its state, and not learnt.

    ``Buffer(data)`` gives a plain Tensor on ``data``'s memory that counts as a Buffer. With ``persistent=False`` it is
    left out of ``state_dict``. (https://docs.pytorch.org/docs/stable/generated/torch.nn.parameter.Buffer.html)

    >>> from minigrad import nn, ones
    >>> layer = nn.Module()
    >>> layer.mean = Buffer(ones(2))
    >>> [name for name, _ in layer.named_buffers()], isinstance(layer.mean, Buffer)
    (['mean'], True)
    """

    _mark = "_is_buffer"
    _shown = "tensor"
    __torch_function__ = not_asked  # type: ignore[assignment]
    persistent: bool
    _is_buffer: bool

    def __new__(cls, data: Tensor | None = None, *, persistent: bool = True) -> Buffer:
        data = empty(0) if data is None else data
        result: Any = data.detach()
        if type(data) is not Tensor:
            result.__class__ = type(data)
        result.requires_grad_(data.requires_grad)
        result.persistent, result._is_buffer = persistent, True
        return result


class UninitializedTensorMixin:
    """What the uninitialised kinds share: no shape until ``materialize`` gives them one."""

    cls_to_become: type[Tensor]
    data: Any

    def materialize(self, shape: Any, device: Any = None, dtype: Any = None) -> None:
        """Become an uninitialised tensor of this ``shape``, of the class ``cls_to_become``."""
        data = self.data
        device = data.device if device is None else device
        dtype = data.dtype if dtype is None else dtype
        self.__class__ = self.cls_to_become  # type: ignore[assignment]
        self.data = empty(shape, device=device, dtype=dtype)

    @property
    def shape(self) -> Size:
        """Not known yet: ``RuntimeError``."""
        raise RuntimeError(
            "Can't access the shape of an uninitialized parameter or buffer. This error usually happens in "
            "`load_state_dict` when trying to load an uninitialized parameter into an initialized one. Call "
            "`forward` to initialize the parameters before accessing their attributes.")

    def _shape(self) -> Any:
        raise ValueError(
            "Attempted to use an uninitialized parameter. This error happens when you are using a `LazyModule` or "
            f"explicitly manipulating `torch.nn.parameter.{type(self).__name__}` objects. When using LazyModules Call "
            "`forward` with a dummy batch to initialize the parameters before calling torch functions")

    def share_memory_(self) -> Any:
        """There is no memory yet: ``RuntimeError``."""
        raise RuntimeError("Can't share memory on an uninitialized parameter or buffer. Call `forward` to initialize "
                           "the parameters before calling `module.share_memory()`.")

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __str__(self) -> str:
        return repr(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        if id(self) not in memo:
            make, arguments = self.__reduce_ex__(4)
            memo[id(self)] = make(*arguments)
        return memo[id(self)]

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        data = self.data
        kept: Any = self
        return type(self), (kept.requires_grad, data.device, data.dtype)


def is_lazy(param: Any) -> bool:
    """Whether ``param`` has no shape yet.

    >>> is_lazy(UninitializedParameter())
    True
    """
    return isinstance(param, UninitializedTensorMixin)


class UninitializedParameter(UninitializedTensorMixin, Parameter):  # type: ignore[misc]  # of two metaclasses' layouts
    """A Parameter whose shape is not known yet: what a lazy module has until its first call.

    ``ValueError`` or ``RuntimeError`` for what needs the shape.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.parameter.UninitializedParameter.html)

    >>> weight = UninitializedParameter()
    >>> weight
    <UninitializedParameter>
    >>> weight.materialize((2, 3))
    >>> weight.shape, type(weight).__name__
    (minigrad.Size([2, 3]), 'Parameter')
    """

    cls_to_become = Parameter

    def __new__(cls, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> UninitializedParameter:
        return _uninitialized(cls, requires_grad, device, dtype)

    def __init__(self, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> None:
        """``__new__`` has done it all."""


class UninitializedBuffer(UninitializedTensorMixin, Tensor):  # type: ignore[misc]  # of two metaclasses' layouts
    """A buffer whose shape is not known yet. See ``UninitializedParameter``.

    >>> UninitializedBuffer(persistent=False).persistent
    False
    """

    cls_to_become = Tensor
    __torch_function__ = not_asked  # type: ignore[assignment]

    def __new__(cls, requires_grad: bool = False, device: Any = None, dtype: Any = None,
                persistent: bool = True) -> UninitializedBuffer:
        result = _uninitialized(cls, requires_grad, device, dtype)
        result.persistent, result._is_buffer = persistent, True
        return result

    def __init__(self, requires_grad: bool = False, device: Any = None, dtype: Any = None,
                 persistent: bool = True) -> None:
        """``__new__`` has done it all."""


def _uninitialized(cls: type, requires_grad: bool, device: Any, dtype: Any) -> Any:
    result: Any = empty(0, device=device, dtype=dtype).requires_grad_(requires_grad)
    result.__class__ = cls
    return result
