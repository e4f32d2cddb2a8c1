"""Stage: front. In: a Tensor. Out: quantiles, the most frequent value, covariances, counts in bins.
Next: ``assembling.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.dtype import bool_, float32, float64, from_numpy, int64
from minigrad.engine import leaf_from_numpy
from minigrad.tensor import return_types
from minigrad.tensor.arguments import only_beside
from minigrad.tensor.autocast import operands_of
from minigrad.tensor.base import AnyTensor, make
from minigrad.tensor.creation import tensor
from minigrad.tensor.definition import FUNCTIONS, both
from minigrad.tensor.elements import concrete
from minigrad.tensor.extrema import shared
from minigrad.tensor.gathering import alone, picked
from minigrad.tensor.operands import dim_index, not_for
from minigrad.tensor.promotion import c_name, type_name
from minigrad.tensor.ranges import arange

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor

_INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


def _quantile(x: Tensor, q: Any, dim: int | None, keepdim: bool, interpolation: str, name: str) -> Tensor:
    """The places q (n - 1) in sorted order, n without NaN for ``nanquantile``; between two elements what
    ``interpolation`` says."""
    x, = operands_of(name, x)
    if not isinstance(q, AnyTensor) and not 0 <= q <= 1:
        raise RuntimeError(f"quantile() q must be in the range [0, 1] but got {q:g}")
    if interpolation not in _INTERPOLATIONS:
        raise RuntimeError("quantile() interpolation must be one of linear, lower, higher, midpoint or nearest, but "
                           f"got {interpolation}")
    if not x.numel():
        raise RuntimeError("quantile() input tensor must be non-empty")
    if x.dtype not in (float32, float64):
        raise RuntimeError("quantile() input tensor must be either float or double dtype")
    shares = q if isinstance(q, AnyTensor) else tensor(q, dtype=x.dtype, device=x.device)
    if shares.ndim > 1:
        raise RuntimeError("quantile() q must be a scalar or 1D tensor")
    if shares.dtype is not x.dtype:
        raise RuntimeError("quantile() q tensor must be same dtype as the input tensor")
    axis = dim_index(0 if dim is None else dim, 1 if dim is None else x.ndim)
    given = concrete(shares.detach(), name)
    if not bool(((given >= 0) & (given <= 1)).all()):
        raise RuntimeError("quantile() q values must be in the range [0, 1]")
    keepdim = keepdim and x.ndim > 0
    last = x.reshape(-1) if dim is None or not x.ndim else x.movedim(axis, -1)
    found = _at_shares(last.sort(-1)[0], shares.reshape(-1), interpolation, name == "nanquantile")
    if keepdim:
        found = found.reshape((shares.numel(), *[1] * x.ndim)) if dim is None else found.unsqueeze(-1).movedim(
            -1, axis + 1)
    found = found if shares.ndim else found.squeeze(0)
    return found.clone() if found._is_view() else found


def _at_shares(ordered: Tensor, shares: Tensor, interpolation: str, ignore_nan: bool) -> Tensor:
    """The quantiles of the last dimension, in a new first one. NaN are at the end of each row."""
    n = ordered.shape[-1]
    nans = ordered.isnan()
    count = (~nans).sum(-1, keepdim=True)
    if ignore_nan:
        places = shares * (count - 1).clamp(min=0).to(ordered.dtype)
    else:
        places = (shares * (n - 1)).expand((*ordered.shape[:-1], shares.shape[0]))
        places = places.where(count == n, float(n - 1))
    if interpolation == "lower":
        places = places.floor()
    elif interpolation == "higher":
        places = places.ceil()
    elif interpolation == "nearest":
        places = places.round()
    below = places.floor()
    low, high = [ordered.gather(-1, p.long()) for p in (below, places.ceil())]
    if interpolation in ("linear", "midpoint"):
        weight = places - below if interpolation == "linear" else (places != below).to(ordered.dtype) * 0.5
        low = low.lerp(high, weight)
    return low.movedim(-1, 0)


def _given_edges(x: Tensor, edges: Tensor, dim: int) -> np.ndarray:
    """The edges of the bins of one coordinate as an array."""
    if edges.dtype is not x.dtype:
        raise RuntimeError("torch.histogramdd: input tensor and bins tensors should have the same dtype, but got input "
                           f"with dtype {c_name(x.dtype)} and bins for dimension {dim} with dtype "
                           f"{c_name(edges.dtype)}")
    if edges.ndim != 1:
        raise RuntimeError(f"torch.histogramdd: bins tensor should have one dimension, but got {edges.ndim} dimensions "
                           f"in the bins tensor for dimension {dim}")
    if not edges.numel():
        raise RuntimeError("torch.histogramdd: bins tensor should have at least 1 element, but got 0 elements in the "
                           f"bins tensor for dimension {dim}")
    return concrete(edges, "histogram")


def _equal_edges(values: np.ndarray, count: int, range: Sequence[float] | None, dim: int) -> np.ndarray:
    """The edges of ``count`` equal bins from the smallest to the largest of these values, or in ``range``."""
    if count <= 0:
        raise RuntimeError(f"torch.histogram(): bins must be > 0, but got {count} for dimension {dim}")
    low, high = range if range is not None else (values.min(), values.max()) if values.size else (0.0, 1.0)
    if not (np.isfinite(low) and np.isfinite(high)):
        raise RuntimeError(f"torch.histogramdd: dimension {dim}'s range [{low:g}, {high:g}] is not finite")
    if low > high:
        raise RuntimeError(f"torch.histogramdd: min should not exceed max, but got min {low:g} max {high:g} for "
                           f"dimension {dim}")
    if low == high:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, count + 1, dtype=values.dtype)


def _counted(x: Tensor, bins: Any, range: Sequence[float] | None, weight: Tensor | None,
             density: bool) -> tuple[Tensor, list[Tensor]]:
    """How many points, or how much weight, falls into each box, and the edges; coordinates are the last dimension."""
    count = x.shape[-1]
    each = bins if isinstance(bins, tuple | list) else [bins] * count
    if len(each) != count:
        raise RuntimeError("histogramdd: The size of bins must be equal to the innermost dimension of the input.")
    if range is not None and len(range) != 2 * count:
        raise RuntimeError(f"torch.histogramdd: for a {count}-dimensional histogram range should have {2 * count} "
                           f"elements, but got {len(range)}")
    if weight is not None and weight.dtype is not x.dtype:
        raise RuntimeError("torch.histogramdd: if weight tensor is provided, input tensor and weight tensor should "
                           f"have the same dtype, but got input({c_name(x.dtype)}), and weight({c_name(weight.dtype)})")
    if weight is not None and weight.shape != x.shape[:-1]:
        raise RuntimeError("torch.histogramdd: if weight tensor is provided it should have the same shape as the input "
                           f"tensor excluding its innermost dimension, but got input with shape {list(x.shape)} and "
                           f"weight with shape {list(weight.shape)}")
    points = concrete(x, "histogram").reshape(-1, count)
    edges = [_given_edges(x, b, i) if isinstance(b, AnyTensor) else
             _equal_edges(points[:, i], b, None if range is None else range[2 * i:2 * i + 2], i)
             for i, b in enumerate(each)]
    given = None if weight is None else concrete(weight, "histogram").reshape(-1)
    hist, _ = np.histogramdd(points, edges, weights=given, density=density)
    return _leaf(hist.astype(points.dtype), x), [_leaf(e, x) for e in edges]


def _leaf(array: np.ndarray, like: Tensor) -> Tensor:
    return make(leaf_from_numpy(array, from_numpy(array.dtype), like._pending().device))


def _check_weights(name: str, what: str, weights: Tensor | None, count: int) -> None:
    if weights is None:
        return
    if weights.ndim > 1:
        raise RuntimeError(f"{name}(): expected {what} to have one or fewer dimensions but got {what} with "
                           f"{weights.ndim} dimensions")
    kind, words = ("f", "floating point") if what == "aweights" else ("iu", "integral")
    if weights.dtype.kind not in kind:
        raise RuntimeError(f"{name}(): expected {what} to have {words} dtype but got {what} with "
                           f"{type_name(weights.dtype)} dtype")
    if weights.numel() != count:
        raise RuntimeError(f"{name}(): expected {what} to have the same numel as there are observations in the input "
                           f"but got {weights.numel()} != {count}")
    if (concrete(weights.detach(), name) < 0).any():
        raise RuntimeError(f"{name}(): {what} cannot be negative")


class Statistics:
    """Quantiles, modes, covariances, histograms."""

    __slots__ = ()

    @both("quantile")
    def quantile(self: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *,
                 interpolation: str = "linear") -> Tensor:
        """The value below which a share ``q`` lies along ``dim`` (None: of all); a vector of shares gives a new first
        dimension. NaN where a row has one. ``interpolation`` between two elements: "linear", "lower", "higher",
        "midpoint", "nearest".

        Source: https://docs.pytorch.org/docs/stable/generated/torch.quantile.html

        >>> import minigrad
        >>> minigrad.tensor([1.0, 2.0, 4.0]).quantile(0.75)
        tensor(3.)
        """
        return _quantile(self, q, dim, keepdim, interpolation, "quantile")

    @both("nanquantile")
    def nanquantile(self: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *,
                    interpolation: str = "linear") -> Tensor:
        """``quantile`` of the elements that are not NaN, float32 or float64; NaN where all are.

        ``RuntimeError`` as for ``quantile``. Source:
        https://docs.pytorch.org/docs/stable/generated/torch.nanquantile.html

        >>> import minigrad
        >>> minigrad.tensor([1.0, float("nan"), 3.0]).nanquantile(0.5)
        tensor(2.)
        """
        return _quantile(self, q, dim, keepdim, interpolation, "nanquantile")

    @both("nanmedian")
    @only_beside(("dim",), "keepdim")
    def nanmedian(self: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
        """``median`` of the elements that are not NaN; NaN where all are.

        >>> import minigrad
        >>> minigrad.tensor([float("nan"), 3.0, 1.0]).nanmedian()
        tensor(1.)
        """
        if dim is None:
            flat = self.detach().reshape(-1)
            return shared("nanmedian", self, flat.nanmedian(0)[0] if flat.numel() else flat.median())
        axis = dim_index(dim, max(self.ndim, 1))
        if self.dtype.kind != "f" or not self.ndim or not self.shape[axis]:  # the last one is an error
            return return_types.nanmedian(*self.median(dim, keepdim))
        order = self.argsort(axis)
        count = (~self.isnan()).sum(axis, keepdim=True)
        middle = order.gather(axis, ((count - 1) // 2).clamp(min=0))
        return return_types.nanmedian(*picked(self, axis, middle, "NanmedianBackward1", keepdim))

    @both("mode", real=True)
    def mode(self: Tensor, dim: int = -1, keepdim: bool = False) -> return_types.ReturnType:
        """The named tuple ``(values, indices)``: the most frequent value along ``dim``, the smallest of several, and
        where it is last.

        >>> import minigrad
        >>> minigrad.tensor([3, 1, 3, 1, 2]).mode().values
        tensor(1)
        """
        axis = dim_index(dim, max(self.ndim, 1))
        if not self.ndim:
            return return_types.mode(*alone(self, "ModeBackward0"))
        x = self.movedim(axis, -1)
        n = x.shape[-1]
        if not n:
            raise IndexError(f"mode(): Expected reduction dim {axis} to have non-zero size.")
        not_for("c", self.dtype, "mode_cpu")
        order = x.argsort(-1)
        ordered = x.detach().gather(-1, order)
        place = arange(n, device=self.device).expand(x.shape)
        new = (ordered[..., 1:] != ordered[..., :-1]).to(int64) * place[..., 1:]
        starts = new.cummax(-1)[0] if n > 1 else new
        lengths = place[..., 1:] - starts
        best = lengths.argmax(-1, keepdim=True) + 1 if n > 1 else place
        if n > 1:
            best = best.where(lengths.amax(-1, keepdim=True) > 0, 0)
        indices = order.gather(-1, best)
        return return_types.mode(*picked(self, axis, indices.movedim(-1, axis), "ModeBackward0", keepdim))

    @both("cov")
    def cov(self: Tensor, *, correction: int = 1, fweights: Tensor | None = None,
            aweights: Tensor | None = None) -> Tensor:
        """The covariances of variables, a row each, over observations, a column each, (m, n) or (n,) of any dtype but
        bool: the mean product of their distances from the means, divided by n - correction, (m, m) or 0-d.
        ``fweights``, integers (n,), counts observations, ``aweights`` weighs them.

        ``RuntimeError`` for more than two dimensions, bools, and weights of other sizes, negative ones, or ones that
        add up to 0. Source: https://docs.pytorch.org/docs/stable/generated/torch.cov.html

        >>> import minigrad
        >>> minigrad.tensor([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]).cov()
        tensor([[ 1., -1.],
                [-1.,  1.]])
        """
        if self.ndim > 2:
            raise RuntimeError("cov(): expected input to have two or fewer dimensions but got an input with "
                               f"{self.ndim} dimensions")
        if self.dtype is bool_:
            raise RuntimeError("cov(): bool dtype is not supported for input")
        x = self.reshape(1, -1) if self.ndim < 2 else self
        x = x if x.dtype.kind in "fc" else x.float()
        n = x.shape[1]
        _check_weights("cov", "fweights", fweights, n)
        _check_weights("cov", "aweights", aweights, n)
        weights = fweights if aweights is None else aweights if fweights is None else fweights * aweights
        if weights is None:
            total: Any = float(n)
            mean = x.mean(1, keepdim=True)
        else:
            total = weights.sum()
            if not concrete(total.detach(), "cov"):
                raise RuntimeError("cov(): weights sum to zero, can't be normalized")
            mean = (x * weights).sum(1, keepdim=True) / total
        if weights is None or correction == 0 or aweights is None:
            norm = total - correction
        else:
            norm = total - correction * (weights * aweights).sum() / total
        centred = x - mean
        found = centred @ (centred if weights is None else centred * weights).mH
        found = found / (max(norm, 0.0) if isinstance(norm, float) else norm.clamp(min=0))
        return found.squeeze()

    @both("corrcoef")
    def corrcoef(self: Tensor) -> Tensor:
        """The covariances of variables, a row each, (m, n) or (n,) (see ``cov``), divided by both their standard
        deviations: within [-1, 1], (m, m) or 0-d; of complex numbers both parts are within it.

        ``RuntimeError`` for more than two dimensions. Source:
        https://docs.pytorch.org/docs/stable/generated/torch.corrcoef.html

        >>> import minigrad
        >>> minigrad.tensor([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]).corrcoef()
        tensor([[ 1., -1.],
                [-1.,  1.]])
        """
        if self.ndim > 2:
            raise RuntimeError("corrcoef(): expected input to have two or fewer dimensions but got an input with "
                               f"{self.ndim} dimensions")
        found = self.cov()
        if not found.ndim:
            return found / found
        spread = found.diag().sqrt()
        found = found / spread.unsqueeze(1) / spread.unsqueeze(0)
        if found.dtype.kind == "c":
            return FUNCTIONS["complex"](found.real.clamp(-1, 1), found.imag.clamp(-1, 1))
        return found.clamp(-1, 1)

    # --- counts: they run, since NumPy counts

    @both("histogram")
    def histogram(self: Tensor, bins: Any = 100, *, range: Sequence[float] | None = None, weight: Tensor | None = None,
                  density: bool = False) -> return_types.ReturnType:
        """The named tuple ``(hist, bin_edges)``: how many elements, or how much ``weight``, of self's shape, falls into
        each bin. ``bins`` is a number of equal bins in ``range`` (by default that of the elements), or a vector of
        edges. With ``density`` the areas of the bins sum up to 1. Self is floating; it is computed at once.

        ``RuntimeError`` for fewer than one bin, a range that is not finite or falls, and weights of another shape or
        dtype. Source: https://docs.pytorch.org/docs/stable/generated/torch.histogram.html

        >>> import minigrad
        >>> minigrad.tensor([1.0, 2.0, 1.0]).histogram(bins=2, range=(0.0, 4.0)).hist
        tensor([2., 1.])
        """
        if self.dtype.kind != "f" or self.dtype.size < 4:
            raise NotImplementedError(f"\"histogramdd\" not implemented for '{type_name(self.dtype)}'")
        hist, edges = _counted(self.unsqueeze(-1), [bins], range, weight, density)
        return return_types.histogram(hist, edges[0])

    @both("histogramdd")
    def histogramdd(self: Tensor, bins: Any, range: Sequence[float] | None = None, weight: Tensor | None = None,
                    density: bool = False) -> return_types.ReturnType:
        """The named tuple ``(hist, bin_edges)``: ``histogram`` of points, whose coordinates are the last dimension of
        self, (*, d); ``bins`` is a number, or for each coordinate a number or a vector of edges, ``range`` a flat list
        of two bounds for each. hist has d dimensions, bin_edges are d vectors.

        ``RuntimeError`` as for ``histogram``, and for other than d bins. Source:
        https://docs.pytorch.org/docs/stable/generated/torch.histogramdd.html

        >>> import minigrad
        >>> minigrad.tensor([[0.0, 1.0], [1.0, 0.0]]).histogramdd([2, 2]).hist
        tensor([[0., 1.],
                [1., 0.]])
        """
        if self.ndim < 2:
            raise RuntimeError("torch.histogramdd: input tensor should have at least 2 dimensions")
        if self.dtype.kind != "f" or self.dtype.size < 4:
            raise NotImplementedError(f"\"histogramdd\" not implemented for '{type_name(self.dtype)}'")
        hist, edges = _counted(self, bins, range, weight, density)
        return return_types.histogramdd(hist, tuple(edges))
