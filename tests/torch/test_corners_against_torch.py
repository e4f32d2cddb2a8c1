"""Indexes, shapes, order and empty operands: what PyTorch gives at the corners, or the error that it raises."""

from __future__ import annotations

import random

import numpy as np
import pytest

import minigrad

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore")

INDEXING = r"""
t.gather(t.arange(3), 0, t.tensor([-1]))
t.arange(3).index_select(0, t.tensor([-1]))
t.arange(3).gather(0, t.tensor([3]))
t.arange(3).index_select(0, t.tensor([3]))
t.arange(3).index_add(0, t.tensor([-1]), t.tensor([3]))
t.arange(3).index_fill(0, t.tensor([-1]), 7)
t.arange(3).index_copy(0, t.tensor([-1]), t.tensor([7]))
t.arange(3).take(t.tensor([-1]))
t.arange(3).put(t.tensor([-1]), t.tensor([7]))
t.take_along_dim(t.arange(3), t.tensor([-1]), 0)
F.embedding(t.tensor([-1]), t.ones(3, 2))
F.cross_entropy(t.ones(2, 0), t.tensor([0, 0]))
F.cross_entropy(t.ones(0, 3), t.tensor([], dtype=t.int64))
F.nll_loss(t.ones(2, 0), t.tensor([0, 0]))
t.nonzero(t.tensor(5))
t.nonzero(t.tensor(0))
t.nonzero(t.tensor(5), as_tuple=True)
t.tensor(5).argwhere()
t.zeros(0, 3).nonzero()
t.allclose(t.tensor([True]), t.tensor([True]))
t.tensor([]).logcumsumexp(0)
t.zeros(0, 3).logcumsumexp(1)
t.tensor([True]) // t.tensor([True])
t.tensor([True]) % t.tensor([True])
t.where(t.tensor([1, 0], dtype=t.uint8), 1, 2)
t.where(t.tensor([1, 0]), 1, 2)
t.where(t.tensor([1, 0], dtype=t.uint8), t.tensor([1., 2.]), t.tensor([3, 4]))
t.tensor([1, 2]).masked_fill(t.tensor([True, False]), 2.7)
t.tensor([1, 2]).masked_fill(t.tensor([True, False]), t.tensor(2.7))
t.tensor(1.).index_fill(0, t.tensor(0), 5)
t.tensor(1.).index_add(0, t.tensor(0), t.tensor(5.))
t.tensor(1.).index_add(0, t.tensor([0]), t.tensor([5.]))
t.tensor(1.).index_select(0, t.tensor([0]))
t.tensor(1.).index_select(0, t.tensor(0))
t.arange(3.).index_select(0, t.tensor(1))
t.tensor(1.).index_copy(0, t.tensor(0), t.tensor(5.))
t.arange(4)[t.tensor(1, dtype=t.uint8)]
t.arange(4)[t.tensor(0, dtype=t.uint8)]
t.tensor(4)[t.tensor(1, dtype=t.uint8)]
t.arange(4)[t.tensor([1, 0, 0, 1], dtype=t.uint8)]
t.ones(2, 3).index_add(0, t.tensor([0]), t.ones(2, 3))
t.ones(2, 3).index_add(0, t.tensor([0, 1]), t.ones(2, 2))
t.ones(2, 3).index_add(0, t.tensor([0, 1]), t.ones(2, 3).double())
t.ones(2).index_add(0, t.tensor(0), t.tensor(5.))
t.ones(2).index_add(0, t.tensor([0]), t.tensor(5.))
t.ones(2, 2).index_add(0, t.tensor([0]), t.tensor(5.))
t.ones(2).index_copy(0, t.tensor([0]), t.tensor(5.))
t.ones(2).index_copy(0, t.tensor([0, 1]), t.tensor(5.))
t.ones(2, 2).index_copy(0, t.tensor([0]), t.tensor([5.]))
t.ones(2, 2).index_copy(0, t.tensor([0]), t.ones(1, 3))
t.ones(2, 2).index_fill(0, t.tensor([0]), t.ones(1))
t.ones(2, 2).index_fill(0, t.tensor([[0]]), 1)
t.ones(2, 2).index_fill(0, t.tensor([2]), 1)
t.ones(2, 2).take_along_dim(t.tensor([0]), 0)
t.ones(2, 2).take_along_dim(t.tensor([[0]], dtype=t.int32), 0)
t.ones(2, 2).take_along_dim(t.tensor([[2]]), 0)
t.ones(2, 2).take_along_dim(t.tensor([4]))
t.ones(2, 2).index_select(0, t.tensor([0., 1]))
t.ones(2, 2).gather(0, t.tensor([[0., 1]]))
t.ones(2, 2).gather(0, t.tensor([0]))
t.ones(2, 2).gather(0, t.tensor([[0]], dtype=t.int32))
t.ones(2, 2).gather(2, t.tensor([[0]]))
t.arange(3)[t.tensor([-4])]
t.arange(3)[3]
t.ones(3, 3)[t.tensor([0.5])]
t.ones(3, 3)[0.5]
t.ones(3, 3)['a':'b']
t.ones(3, 3)[0:1.5]
t.ones(3, 3)[t.ones(2, dtype=t.bool)]
t.ones(3, 3)[t.ones(3, 4, dtype=t.bool)]
t.ones(3, 3)[t.tensor([0, 1]), t.tensor([0, 1, 2])]
t.ones(3, 3)[0, 0, 0]
t.ones(())[0]
t.ones(3, 3)[..., ...]
t.ones(3, 3)[::-1]
t.ones(3, 3)[::0]
t.zeros(3, 3)[[]].shape
t.zeros(3, 3)[()].shape
t.zeros(3, 3)[[],].shape
t.zeros(3, 3)[True].shape
t.zeros(3, 3)[False].shape
t.zeros(3, 3)[t.tensor(True)].shape
t.zeros(3, 3)[t.tensor(False)].shape
t.zeros(3, 3)[None, True, :, 0].shape
t.arange(3)[t.tensor([[0, 1], [1, 2]], dtype=t.int32)]
t.arange(3)[t.tensor([0], dtype=t.int16)]
t.arange(3)[t.tensor([0], dtype=t.int8)]
t.zeros(5, 6)[0:0].stride()
t.zeros(3).nonzero().shape, t.zeros(0, 2, 3).nonzero().shape, t.ones(2).nonzero(as_tuple=True)
t.zeros(0, 3).max()
t.zeros(0, 3).max(1)
t.ones(2).masked_fill(t.tensor([[True, False], [False, False]]), 3)
t.ones(2).masked_fill_(t.tensor([[True, False], [False, False]]), 3)
t.tensor([True, False]).masked_fill(t.tensor([True, True]), 2.7)
t.tensor([1, 2], dtype=t.uint8).masked_fill(t.tensor([True, True]), -1)
t.ones(3).masked_select(t.tensor([1, 0, 1], dtype=t.uint8))
t.tensor(1.).masked_select(t.tensor(True))
t.arange(4).take(t.tensor([[0, 1], [3, -1]]))
t.arange(4).take(t.tensor([4]))
t.tensor([]).take(t.tensor([0]))
t.tensor([]).take(t.tensor([], dtype=t.int64))
t.arange(4).put(t.tensor([4]), t.tensor([1]))
t.arange(4).put(t.tensor([1]), t.tensor([1.]))
t.arange(4).put(t.tensor([1, 2]), t.tensor([1]))
t.unravel_index(t.tensor([3]), (2, 2))
t.zeros(2, 3).select(0, 5)
t.zeros(2, dtype=t.int64).index_fill(0, t.tensor([0]), 2.5)
t.zeros(2, dtype=t.int64).index_fill(0, t.tensor([0]), t.tensor(2.5))
t.zeros(2, dtype=t.uint8).masked_fill(t.tensor([True, False]), -255)
t.zeros(2, dtype=t.int64).masked_fill(t.tensor([True, False]), t.tensor(2))
t.zeros(2).masked_fill(t.tensor([True, False]), t.tensor([2]))
t.ones(3)[::2]._base.shape
t.tensor([1]).requires_grad_()
t.cartesian_prod(t.tensor([1, 2]), t.tensor([3]))
t.combinations(t.arange(3), 2, with_replacement=True)
t.ones(2, 3).select(-1, -1).shape
list(t.ones(2))
list(t.tensor(1))
len(t.tensor(1))
bool(t.ones(2))
bool(t.zeros(0))
t.ones(2).item()
t.zeros(0).item()
int(t.tensor([2.7])), float(t.tensor([[2]])), t.tensor(3).__index__()
t.tensor(2.5).__index__()
t.tensor([1, 2]).__index__()
"""

SHAPES = r"""
t.meshgrid(t.arange(2), t.arange(3), indexing='xy')
t.meshgrid(t.arange(2), t.arange(3), t.arange(4), indexing='xy')[0].shape
t.meshgrid([t.arange(2)], indexing='xy')
t.meshgrid(t.arange(2), t.arange(3), indexing='zz')
t.meshgrid(t.arange(2), t.arange(3).float())
t.meshgrid(t.arange(2), t.tensor(3))
t.zeros(7, 3).fill_diagonal_(5, wrap=True)
t.zeros(7, 3).fill_diagonal_(5)
t.zeros(3, 3, 3).fill_diagonal_(5)
t.zeros(3, 4, 3).fill_diagonal_(5)
t.zeros(3, 7).fill_diagonal_(5, wrap=True)
t.zeros(2).fill_diagonal_(5)
t.cat([t.tensor([1]), t.empty(0)])
t.cat([t.tensor([[1, 2]]), t.empty(0)])
t.arange(3).scatter(0, t.tensor([-1]), 5)
t.arange(9).reshape(3, 3)[[[0, 1], [1, 2]]]
t.arange(9).reshape(3, 3)[[[0, 1], [1, 2]],]
t.arange(27).reshape(3, 3, 3)[[[[0, 1], [1, 2]]]]
t.arange(9).reshape(3, 3)[[0, slice(None)]]
t.arange(9).reshape(3, 3)[[None, 0]]
t.arange(9).reshape(3, 3)[[t.tensor([0]), t.tensor([1])]]
t.repeat_interleave(t.tensor([1, 0, 2]))
t.repeat_interleave(t.tensor([1, -1, 2]))
t.repeat_interleave(t.tensor([3, 4, 5]), t.tensor([1, 0, 2]))
t.repeat_interleave(t.tensor([[3, 4], [5, 6]]), 2, dim=1)
t.repeat_interleave(t.tensor([3, 4]), t.tensor(2))
t.repeat_interleave(t.tensor([3, 4, 5]), t.tensor([1, 0, 2]), output_size=3)
t.einsum(t.ones(2, 3), [0, 1], t.ones(3, 4), [1, 2], [0, 2])
t.einsum(t.ones(2, 3), [0, 1], t.ones(3, 4), [1, 2])
t.einsum(t.ones(5, 2, 3), [..., 0, 1], t.ones(5, 3, 4), [..., 1, 2], [..., 0, 2]).shape
t.tensor(3).broadcast_to(2, 4)
t.broadcast_to(t.tensor(3), (2, 4))
t.arange(4.).view(t.float64).shape
t.arange(3.).view(t.float64).shape
t.arange(4.).view(t.int16).shape
t.arange(4.).view(2, 2).t().view(t.float64)
t.tensor(4.).view(t.float64)
t.tensor(4.).view(t.int32)
t.tensordot(t.ones(1, 3), t.ones(2, 1), dims=([0], [1])).shape
t.tensordot(t.ones(2, 3), t.ones(1, 3), dims=([0], [0])).shape
t.tensordot(t.ones(2, 3), t.ones(3, 3), dims=0).shape
t.ones(2, 3).movedim((0, 0), (0, 1))
t.ones(2, 3).movedim((0, 1), (0, 0))
t.ones(2, 3).movedim((0, 1), (0,))
t.ones(2, 3).movedim((0, -2), (0, 1))
t.ones(2, 3).permute(0, 0)
t.flip(t.arange(4).reshape(2, 2), dims=(0,))
t.arange(4).reshape(2, 2).flip(dims=(0, 0))
t.arange(4.).reshape(2,2).take_along_dim(t.tensor([-1, 2]))
t.ones(2, 2).scatter(0, t.tensor([[0]], dtype=t.int32), 3.)
t.arange(9).reshape(3, 3)[[True, False, True]]
t.arange(9).reshape(3, 3)[[[True, False, True], [0, 1, 2]]]
t.arange(9).reshape(3, 3)[np.array([0, 1])]
t.arange(9).reshape(3, 3)[np.array([True, False, True])]
t.arange(9).reshape(3, 3)[np.int64(1)]
t.arange(9).reshape(3, 3)[np.array(1)]
t.arange(9).reshape(3, 3)[range(2)]
t.arange(9).reshape(3, 3)[(range(2), 1)]
t.arange(24).reshape(2, 3, 4)[:, [0, 1], [1, 2]]
t.arange(24).reshape(2, 3, 4)[[0, 1], :, [1, 2]]
t.arange(24).reshape(2, 3, 4)[0, :, [1, 2]]
t.arange(24).reshape(2, 3, 4)[[0], :, 1]
t.arange(24).reshape(2, 3, 4)[t.tensor(0), :, [1, 2]]
t.arange(24).reshape(2, 3, 4)[0, [1, 2]]
t.arange(24).reshape(2, 3, 4)[[0, 1], None, [1, 2]].shape
t.ones(3).masked_scatter(t.tensor([True, True, True]), t.ones(2))
t.zeros(2, 3).narrow(0, 1, 5)
t.zeros(2, 3).unfold(0, 3, 1)
t.arange(5).unfold(0, 2, 2)
t.tensor(3).unfold(0, 1, 1)
t.zeros(2, dtype=t.int64).scatter(0, t.tensor([0]), 2.5)
t.tensor_split(t.arange(6), t.tensor(3))
t.tensor_split(t.arange(6), t.tensor([1, 3]))
t.tensor_split(t.arange(6), t.tensor([1., 3]))
t.tensor_split(t.arange(6), t.tensor([[1, 3]]))
t.tensor_split(t.tensor(3), 2)
t.tensor_split(t.arange(6), 0)
t.tensor_split(t.arange(6), -1)
t.tensor_split(t.arange(6), 2, dim=1)
t.tensor_split(t.arange(6), (4, 2))
t.arange(6).tensor_split([1, 3])
t.arange(6).tensor_split(sections=2)
t.arange(6).tensor_split(indices=[2])
t.zeros(2).resize_(-1)
t.zeros(2).resize_((2, -2))
t.zeros(2).resize_(2**62, 2**10)
t.ones(2, requires_grad=True).resize_(3)
(t.ones(2, requires_grad=True) * 2).resize_(3)
t.arange(4).flip()
t.arange(4).roll((1, 2))
t.arange(4).reshape(2, 2).roll((1, 2), (0,))
t.arange(4).reshape(2, 2).roll(1, ())
t.cat([t.zeros(0), t.zeros(0)], dim=1)
t.cat([t.zeros(0), t.zeros(2, 3)], dim=1)
t.cat([t.zeros(0), t.zeros(2, 3)], dim=3)
t.cat([])
t.cat((t.zeros(2), 3))
t.cat([t.zeros(2, 0), t.zeros(2, 3)], dim=1)
t.zeros(2)._is_view(), t.zeros(2)[0]._is_view(), t.zeros(2).detach()._is_view(), t.zeros(2).data._is_view()
t.zeros(2).view(t.int32)._is_view()
t.ones(2, requires_grad=True)._is_view(), t.ones(2, requires_grad=True)[:1]._is_view()
t.arange(3.).split(0)
t.arange(3.).split([1, 1])
t.arange(3.).split([1, -1, 3])
t.zeros(0).split(0)
t.tensor(1.).split(1)
t.tensor(1.).chunk(1)
t.tensor(1.).unbind()
t.zeros(2, 2).unbind(3)
t.zeros(2, 0).unbind(0)
t.zeros(0, 2).unbind(0)
t.zeros(2, 3).unflatten(1, (3, -1)).shape
t.zeros(2, 3).unflatten(1, (2, -1)).shape
t.zeros(2, 3).unflatten(1, ()).shape
t.zeros(2, 3).flatten(1, 0)
t.zeros(2, 3).expand(2, 4)
t.zeros(2, 3).expand(3)
t.zeros(2, 3).expand(-1, 3).shape
t.zeros(2, 3).expand(-1, 2, 3).shape
t.zeros(1, 3).expand(0, 3).shape
t.zeros(2, 3).view(-1, -1)
t.zeros(2, 3).view(4)
t.zeros(0, 3).view(-1)
t.zeros(0, 3).view(0, -1)
t.zeros(2, 3).t().view(6)
t.zeros(2, 3).squeeze(0).shape, t.zeros(1, 3).squeeze((0, 1)).shape
t.zeros(1, 3).squeeze((0, 0)).shape
t.zeros(2, 3).unsqueeze(3)
t.zeros(2, 3).unsqueeze(-4)
t.zeros(2, 3).transpose(0, 2)
t.zeros(2, 3, 4).t()
t.zeros(2, 3, 4).T.shape
t.zeros(2, 3).permute(0)
t.zeros(2, 3).permute(0, 2)
t.zeros(2, 3).diagonal(0, 1, 1)
t.zeros(2, 3).diagonal(5).shape
t.zeros(2, 2, 2).diag()
t.zeros(2).as_strided((3,), (1,))
t.zeros(2).as_strided((2,), (-1,))
t.zeros(4).as_strided((2, 2), (1, 1), 1)
t.ones(2).repeat(2, 3).shape, t.ones(2, 2).repeat(2)
t.ones(2, 2).tile((2,)).shape
t.ones(2).repeat(-1)
t.rot90(t.arange(4).reshape(2, 2), 1, (0, 0))
t.rot90(t.arange(4), 1)
t.arange(4).reshape(2, 2).rot90(-3)
t.stack([t.zeros(2), t.zeros(3)])
t.stack([])
t.hstack((t.tensor(1), t.tensor(2)))
t.column_stack((t.arange(2), t.arange(4).reshape(2, 2)))
t.atleast_3d(t.arange(4).reshape(2, 2)).shape, t.atleast_1d(t.tensor(1), t.tensor([2]))
t.block_diag(t.ones(1, 2), t.tensor(3.), t.ones(2))
t.tril(t.ones(3, 3), 1), t.triu_indices(3, 3), t.tril(t.ones(3))
t.ones(2, 3).swapaxes(0, 1).shape, t.ones(2, 3).moveaxis(0, 1).shape
t.ones(2, 3).narrow(0, t.tensor(1), 1)
"""

ORDER = r"""
t.arange(3).topk(0)
t.tensor(3.).topk(1)
t.tensor(3.).topk(0)
t.arange(3).topk(4)
t.isin(t.tensor([1, 2]), 2)
t.isin(2, t.tensor([1, 2]))
t.isin(t.tensor([1, 2]), t.tensor([2, 3]), assume_unique=True, invert=True)
t.isin(t.tensor([]), t.tensor([2, 3.]))
t.isclose(t.tensor([True, False]), t.tensor([True, True]))
t.isclose(t.tensor([1, 2]), t.tensor([1, 3]))
t.tensor([True, True]).nansum()
t.tensor([1, 2]).nansum(dtype=t.float32)
t.tensor([]).median()
t.zeros(0, 3).median(0)
t.zeros(0, 3).median(1)
t.tensor([]).nanmedian()
t.tensor([], dtype=t.int64).median()
t.tensor([1., 2., 3., 4.]).quantile(0.4, interpolation='lower')
t.tensor([1., 2., 3., 4.]).quantile(t.tensor([0.4, .5]), interpolation='nearest', dim=0, keepdim=True)
t.tensor([1., 2., 3., 4.]).quantile(0.4, interpolation='midpoint')
t.tensor([1., 2., 3., 4.]).quantile(0.4, interpolation='higher')
t.tensor([1., float('nan'), 3., 4.]).quantile(0.4)
t.tensor([1., float('nan'), 3., 4.]).nanquantile(0.4, interpolation='higher')
t.tensor([1., 2., 3., 4.]).quantile(1.4)
isinstance(t.ones(1), t.FloatTensor)
isinstance(t.ones(1).long(), t.FloatTensor)
t.tensor([True, False, True, False]).sort(stable=True)
t.tensor([True, False, True, False]).sort(descending=True)
t.tensor([True, False, True, False]).sort(stable=True, descending=True)
t.tensor([1, 1, 0, 1, 0]).sort(descending=True, stable=True)
t.tensor([1., 1, 0, 1, 0]).kthvalue(2)
t.tensor([1., 1, 0, 1, 0]).kthvalue(4)
t.tensor([1., 1, 0, 1, 0]).median(0)
t.tensor([2, 2, 2, 2.]).median(0)
t.tensor([[1, 1], [1, 1], [2, 2]]).unique_consecutive(dim=0, return_inverse=True, return_counts=True)
t.tensor([[1, 1, 2], [1, 1, 3]]).unique_consecutive(dim=1)
t.tensor([1, 1, 2]).unique_consecutive()
t.searchsorted(t.tensor([]), t.tensor([1.]))
t.searchsorted(t.tensor([1., 2.]), t.tensor([]))
t.searchsorted(t.tensor([3., 1., 2.]), t.tensor([1.5]), sorter=t.tensor([1, 2, 0]))
t.searchsorted(t.tensor([1., 2., 3.]), 2, side='right')
t.tensor([float('nan'), 1, float('nan')]).unique(return_counts=True, return_inverse=True)
t.tensor([float('nan'), float('nan'), 1]).unique_consecutive(return_counts=True)
t.tensor([3, 1, 2]).sort(dim=-1, descending=True)
t.tensor([float('nan'), 1, 2]).sort(descending=True)
t.tensor([[3, 1, 2]]).argsort(dim=0)
t.tensor(3).sort()
t.zeros(0).sort()
t.zeros(2, 0).sort(0)
t.zeros(0).argmax()
t.zeros(0, 3).argmax(0)
t.zeros(0, 3).argmax(1)
t.zeros(0).cummax(0)
t.tensor(3.).cummax(0)
t.zeros(0, 3).mode(1)
t.zeros(0, 3).mode(0)
t.zeros(0, 3).kthvalue(1, 1)
t.zeros(0).kthvalue(1)
t.zeros(0).unique()
t.zeros(0).unique_consecutive(return_counts=True)
t.zeros(0, 2).unique(dim=1)
t.zeros(2, 0).unique(dim=0)
t.zeros(0, 2).unique_consecutive(dim=0)
t.tensor([[1., float('nan')], [1, float('nan')]]).unique(dim=0)
t.tensor(3).unique(return_inverse=True, return_counts=True)
t.tensor(3).unique_consecutive(return_inverse=True, return_counts=True)
t.tensor([[3, 1], [3, 1]]).unique(dim=0, return_inverse=True)
t.unique_consecutive(t.tensor([[3, 3], [3, 1]]), return_inverse=True)
t.bincount(t.tensor([], dtype=t.int64))
t.bincount(t.tensor([], dtype=t.int64), minlength=3)
t.bincount(t.tensor([-1]))
t.histc(t.tensor([1., 2, 1]), bins=4, min=0, max=3)
t.bucketize(t.tensor([1., 2.]), t.tensor([1., 3.]), right=True)
t.bucketize(3, t.tensor([1, 3]))
"""

PROGRAMS = r"""
x = t.arange(4); x[t.tensor(1, dtype=t.uint8)] = 7; r = x
x = t.ones(3, 3); x[[0, 1]] = t.ones(2, 2); r = x
x = t.ones(3, 3); x[0] = t.ones(2); r = x
x = t.ones(3, 3); x[:, [1]] = t.tensor([[2.], [3], [4]], dtype=t.float64); r = x
x = t.ones(3, 3); x[:, [1]] = t.tensor([[2], [3], [4]]); r = x
x = t.ones(3, 3); x[:, 1] = t.tensor([2, 3, 4]); r = x
x = t.ones(3, 3); x[:, t.tensor([True, False, True])] = t.tensor([[2], [3], [4]]); r = x
x = t.arange(9).reshape(3, 3); x[[0, 1]] = 2.5; r = x
x = t.arange(9).reshape(3, 3); x[[0, 1]] = t.tensor(2.5); r = x
x = t.arange(9).reshape(3, 3); x[[0, 1], [1, 1]] = t.tensor([2.5, 1.]); r = x
x = t.arange(9).reshape(3, 3); x.index_put_((t.tensor([0]),), t.tensor([2.5, 1., 1.])); r = x
x = t.zeros(3, 3); x.index_put_((t.tensor([0]),), t.tensor([2, 1, 1])); r = x
x = t.zeros(3, 3); x.index_put_((t.tensor([0]), t.tensor([1, 1])), t.tensor([2.]), accumulate=True); r = x
x = t.arange(4.); x.unfold(0, 4, 1).zero_(); r = x
x = t.arange(4.); x.unfold(0, 2, 2).mul_(2); r = x
x = t.arange(4.); x.unfold(0, 2, 5).mul_(2); r = x
x = t.zeros(3); x[t.tensor([True, False, True])] = t.tensor(2); r = x
x = t.zeros(3); x[t.tensor([True, False, True])] = t.tensor([2]); r = x
x = t.zeros(3, dtype=t.int64); x[t.tensor([True, False, True])] = t.tensor(2.5); r = x
x = t.zeros(3); x[[0]] = t.tensor(2); r = x
x = t.zeros(3); x[[0]] = np.float64(2); r = x
x = t.zeros(3); x[[0]] = np.array([2.0]); r = x
x = t.zeros(3); x[[0, 1]] = [2, 3]; r = x
x = t.zeros(3); x[0] = [2]; r = x
x = t.zeros(3); x[0:2] = [2, 3]; r = x
x = t.zeros(3, dtype=t.int64); x[[0]] = 2.5; r = x
x = t.zeros(3, dtype=t.int64); x[t.tensor([True, False, True])] = 2.5; r = x
x = t.zeros(3); x[[0]] = t.tensor(2, dtype=t.float64); r = x
x = t.zeros(3); x[t.tensor([1])] += t.tensor([2]); r = x
x = t.zeros(3); x[[[0, 1]]] = 5; r = x
x = t.zeros(3, 3); x[[[0, 1], [1, 2]]] = 5; r = x
x = t.zeros(3, 3); x[[0, slice(1)]] = 5; r = x
x = t.zeros(3); x[5] = 1
x = t.zeros(3); x[[5]] = 1
x = t.zeros(3); x[[0, 0]] = t.tensor([1., 2.]); r = x
x = t.zeros(3, 3); x[t.tensor([[True, False, True]] * 3)] = t.arange(6.); r = x
x = t.zeros(3, 3); x[t.tensor([[True, False, True]] * 3)] = t.arange(5.); r = x
x = t.zeros(3, 3); x[0] = t.zeros(1, 1, 3) + 2; r = x
x = t.zeros(3, 3); x[...] = 4; r = x
x = t.tensor(3.); x[...] = 4; r = x
x = t.tensor(3.); x[()] = 4; r = x
x = t.tensor(3.); x[None] = 4; r = x
x = t.zeros(3); x[1:1] = t.zeros(0); r = x
x = t.zeros(3); x[1:1] = t.zeros(3); r = x
x = t.zeros(3); x[t.tensor([], dtype=t.int64)] = t.zeros(0); r = x
x = t.zeros(3); x[t.tensor([], dtype=t.int64)] = 5; r = x
x = t.zeros(2, 3); x[False] = 5; r = x
x = t.zeros(2, 3); x[True] = 5; r = x
x = t.zeros(2, 3); x[t.tensor(True)] = t.ones(1, 2, 3); r = x
x = t.zeros(2, 3); x[t.tensor(True)] = t.ones(2, 3); r = x
x = t.ones(4); a, b = x.split(2); a.add_(1); r = x
x = t.arange(4.); y = x[:2]; y.resize_(3); r = y
x = t.arange(4.); x.resize_(2, 1); r = x, x.stride()
x = t.arange(4.); y = x.view(2, 2); x.resize_(2); x.add_(1); r = x, y
x = t.zeros(2, 3); r = x.resize_as_(t.zeros(3, 2).t()).stride()
"""


def plain(value, library):
    """Tensors as their dtype, shape and elements, so that those of two libraries can be compared."""
    if isinstance(value, library.Tensor):
        return str(value.dtype).rpartition(".")[2], tuple(value.shape), value.detach().tolist(), value.requires_grad
    if isinstance(value, tuple | list):
        return tuple([plain(v, library) for v in value])
    return str(value).replace("minigrad", "torch") if isinstance(value, str) else value


def same(a, b):
    if isinstance(a, tuple | list) and isinstance(b, tuple | list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (a != a and b != b) or abs(a - b) <= 1e-5 * max(1.0, abs(a))
    return type(a) is type(b) and a == b


def outcome(library, program):
    """What ``r`` is at the end of the program; or the exception, with the first of its words."""
    library.manual_seed(0)
    space = {"t": library, "np": np, "F": library.nn.functional}
    try:
        exec(program, space)
        return plain(space.get("r"), library)
    except Exception as error:
        return type(error).__name__, str(error).replace("minigrad", "torch").replace("torch.", "")[:40]


@pytest.mark.parametrize("expression", [line for line in (INDEXING + SHAPES + ORDER).split("\n") if line])
def test_same_outcome(expression):
    ours, theirs = [outcome(library, f"r = {expression}") for library in (minigrad, torch)]
    assert same(ours, theirs), f"minigrad {ours}\nPyTorch  {theirs}"


@pytest.mark.parametrize("program", [line for line in PROGRAMS.split("\n") if line])
def test_same_end(program):
    ours, theirs = [outcome(library, program) for library in (minigrad, torch)]
    assert same(ours, theirs), f"minigrad {ours}\nPyTorch  {theirs}"


# --- drawn indexes


def an_index(draw, shape):
    """Some of what may stand between the brackets, for a tensor of this shape."""
    items, masks = [], 0
    for n in shape:
        kind = draw.choice(("whole", "integer", "slice", "list", "tensor", "mask", "none", "stop"))
        if kind == "stop":
            break
        if kind == "none":
            items.append("None")
        if kind == "integer":
            items.append(str(draw.randrange(-n, n)))
        elif kind == "slice":
            items.append(f"{draw.choice(('', -2, 0, 1))}:{draw.choice(('', -1, 2, 9))}:{draw.choice(('', 1, 2))}")
        elif kind == "list":
            items.append(str([draw.randrange(-n, n) for _ in range(2)]))
        elif kind == "tensor":
            items.append(f"t.tensor({[[draw.randrange(-n, n) for _ in range(2)] for _ in range(2)]})")
        elif kind == "mask" and not masks:
            masks = 1
            items.append(f"t.tensor({[True, True] + [False] * (n - 2)})")
        else:
            items.append(":")
    if draw.random() < 0.2 and not any(i == ":" for i in items):
        items.insert(draw.randrange(len(items) + 1), "...")
    return ", ".join(items) or "..."


@pytest.mark.parametrize("seed", range(60))
def test_drawn_indexes(seed):
    draw = random.Random(seed)
    shape = tuple([draw.randrange(2, 5) for _ in range(draw.randrange(1, 4))])
    index = an_index(draw, shape)
    start = f"x = t.arange({np.prod(shape)}.).reshape({shape})\n"
    for program in (f"{start}r = x[{index}]", f"{start}x[{index}] = -1\nr = x",
                    f"{start}x.requires_grad_()\n(x[{index}] ** 2).sum().backward()\nr = x.grad",
                    f"{start}v = t.full_like(x[{index}], 7.).requires_grad_()\ny = x.clone()\ny[{index}] = v\n"
                    "(y * y).sum().backward()\nr = y, v.grad"):
        ours, theirs = [outcome(library, program) for library in (minigrad, torch)]
        assert same(ours, theirs), f"{program}\nminigrad {ours}\nPyTorch  {theirs}"
