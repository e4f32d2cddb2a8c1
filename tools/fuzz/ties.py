"""Stage: tests. In: a library. Out: its functions that put a row in order, with equal elements taken by their places,
and products of half types without overflow on the way, of others with it: what PyTorch's kernels do depends on
processor and size.
Next: ``program.py``."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

ROW = re.compile(r"\b(v\d+|t)(\.contiguous\(\))?"
                 r"\.(sort|msort|topk|quantile|median|nanmedian|kthvalue|mode|prod)\(([^()]*)\)")


def by_place(line: str) -> str:
    """The statement with such calls made by ``InOrder``, which it finds as ``in_order``.

    >>> by_place("v2 = v1.contiguous().median(dim=1)[0]")
    "v2 = in_order(v1, 'median', dict(dim=1))[0]"
    >>> by_place("v2 = L.func.vmap(lambda t: t.topk(2, dim=0, largest=False)[0])(v1)")
    "v2 = L.func.vmap(lambda t: in_order(t, 'topk', dict(dim=0, largest=False), 2)[0])(v1)"
    """
    def turned(found: re.Match[str]) -> str:
        arguments = [text.strip() for text in found[4].split(",") if text.strip()]
        plain = [text for text in arguments if "=" not in text]
        named = ", ".join(text for text in arguments if "=" in text)
        return f"in_order({', '.join([found[1], repr(found[3]), f'dict({named})', *plain])})"

    return ROW.sub(turned, line)


class InOrder:
    """Calls a method of a Tensor, by a stable sort where that says what it gives."""

    def __init__(self, library: Any) -> None:
        self.library = library

    def __call__(self, x: Any, name: str, named: dict[str, Any], *plain: Any) -> Any:
        """``x.name(*plain, **named)``."""
        library = self.library
        if name == "prod":
            half = x.dtype in (library.float16, library.bfloat16) and "dtype" not in named
            return x.float().prod(*plain, **named).to(x.dtype) if half else self._largest_first(x, named, *plain)
        first = plain[0] if name in ("sort", "nanmedian") and plain else None
        dim = 0 if name == "msort" else named.get("dim", first)
        if name == "sort":
            return x.sort(**{"stable": True, "dim": -1 if dim is None else dim, **named})
        if name == "mode":
            return self._last_mode(x, dim)
        usual: Callable[..., Any] = getattr(x, name)
        if name == "nanmedian" and x.ndim and dim is not None and x.numel():
            at = ((x == x).sum(dim, keepdim=True) - 1).clamp_min(0) // 2
            return tuple([part.gather(dim, at).squeeze(dim) for part in x.sort(dim=dim, stable=True)])
        if x.ndim == 0 or dim is None or not x.numel() or bool((x != x).any()):
            return usual(*plain, **named)
        order = x.sort(dim=dim, stable=True, descending=name == "topk" and named.get("largest", True))
        if name == "msort":
            return order[0]
        size = x.shape[dim]
        if name == "topk":
            return tuple([part.narrow(dim, 0, plain[0]) for part in order])
        if name in ("kthvalue", "median"):
            at = plain[0] - 1 if name == "kthvalue" else (size - 1) // 2
            return tuple([part.select(dim, at) for part in order])
        at = int(plain[0] * (size - 1))
        low, high = order[0].select(dim, at), order[0].select(dim, min(at + 1, size - 1))
        return library.lerp(low, high, plain[0] * (size - 1) - at)

    def _last_mode(self, x: Any, dim: Any) -> Any:
        """The most frequent element of each row, the last of those that are equal; NaN counts as the largest."""
        rows = x.sort(dim=dim, stable=True)[0]
        found = rows.mode(dim=dim)
        if not x.ndim or not x.numel() or bool((x != x).any()):
            return found
        sizes = [-1 if i == dim % x.ndim else 1 for i in range(x.ndim)]
        places = self.library.arange(x.shape[dim]).reshape(sizes)
        at = self.library.where(rows == found[0].unsqueeze(dim), places, -1).amax(dim, keepdim=True)
        return rows.gather(dim, at).squeeze(dim), at.squeeze(dim)

    def _largest_first(self, x: Any, named: dict[str, Any], *plain: Any) -> Any:
        """``x.prod()``, one factor after the other: if a product may overflow on its way to 0, this one does. The slope
        of one factor is on the tape, in PyTorch only where it is not 0."""
        dim = plain[0] if plain else named.get("dim")
        whole = x.prod(*plain, **named)
        if not whole.is_floating_point() and not whole.is_complex():
            return whole
        rows = x.reshape(-1) if dim is None else x.movedim(dim, 0) if x.ndim else x[None]
        if not len(rows):
            return whole
        first, *others = rows.gather(0, rows.abs().argsort(0, descending=True)).to(whole.dtype).unbind(0)
        for factor in others:
            first = first * factor
        if not others:  # the slope is 1, and on the tape
            first = first + first.masked_fill(~first.isfinite(), 0) ** 2 * 0
        return first.reshape(whole.shape)
