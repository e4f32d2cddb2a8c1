"""Stage: front. In: a Tensor. Out: what a view op shows of it, as memory of its own: ``view_copy`` and so on.
Next: ``windows.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from minigrad.tensor.base import AnyTensor
from minigrad.tensor.complex_numbers import view_as_complex, view_as_real
from minigrad.tensor.definition import function
from minigrad.tensor.outputs import OUT_TYPES, SAME, into

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


def _slice(self: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Tensor:
    return self[(slice(None),) * (dim % max(self.ndim, 1)) + (slice(start, end, step),)]


def _alias(self: Tensor) -> Tensor:
    return self.view(self.shape)


def _detached(self: Tensor) -> Tensor:
    return self.detach()


_SHOWN_BY_METHODS = ("as_strided", "diagonal", "expand", "permute", "select", "split", "split_with_sizes",
                     "squeeze", "t", "transpose", "unbind", "unfold", "unsqueeze", "view", "indices", "values",
                     "crow_indices", "col_indices", "ccol_indices", "row_indices")


def _by_method(name: str) -> Callable[..., Any]:
    def show(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        return getattr(self, name)(*args, **kwargs)

    return show


SHOWN: dict[str, Callable[..., Any]] = {
    "alias": _alias, "slice": _slice, "detach": _detached, "view_as_real": view_as_real,
    "view_as_complex": view_as_complex,
    **{name: _by_method(name) for name in _SHOWN_BY_METHODS},
}
"""View ops by name; each has a twin ``name_copy``."""


_BROADCAST = ("split",)
"""Where PyTorch copies the parts into ``out`` as ``copy_`` does: of any dtype, and ``out`` keeps its shape."""


def _copied(name: str, show: Callable[..., Any]) -> None:
    @function(f"{name}_copy")
    def copied(input: Tensor, *args: Any, out: Any = None, **kwargs: Any) -> Any:
        shown = show(input, *args, **kwargs)
        if not isinstance(shown, tuple | list):
            return into(out, shown.clone(), f"{name}_copy")
        copies = tuple([part.clone() for part in shown])
        if out is None:
            return copies
        if isinstance(out, AnyTensor):
            raise TypeError(f"{name}_copy(): argument 'out' must be tuple of Tensors, not Tensor")
        if len(out) != len(copies):
            raise RuntimeError(f"{name}_copy_out() expected an out= argument of size {len(copies)}, got size "
                               f"{len(out)}")
        for target, part in zip(out, copies, strict=True):
            if name in _BROADCAST:
                target.copy_(part)
            else:
                into(target, part, f"{name}_copy")
        return None

    OUT_TYPES[f"{name}_copy"] = SAME
    copied.__doc__ = (f"What ``Tensor.{name}`` shows, copied: the result shares no memory with ``input``. "
                      f"``out``: where to put it, a list of Tensors where there are several.")


for _name, _show in SHOWN.items():
    _copied(_name, _show)
