"""Stage: tests. In: programs on which ``tools.fuzz`` has found a difference, mended since. Out: there is none.
Next: ``test_resampling_against_torch.py``."""

import pytest

torch = pytest.importorskip("torch")

import minigrad  # noqa: E402
from tools.fuzz.program import Program, disagreement  # noqa: E402

PROGRAMS = {
    "a parent turns into a view": """
        v0 = L.ones(2, 3, dtype=L.float64)
        v1 = v0[::2, 1]
        v3 = v1[...]
        with L.no_grad(): v1.unsqueeze_(0)
        v7 = v3 == -2.5""",
    "NumPy changes what a view has stored": """
        v0 = L.ones(2, 3, dtype=L.float64)
        v6 = v0.detach().expand(2, -1, -1)
        v7 = v6.contiguous()
        v6.detach().numpy()[:1] += 1
        v35 = v6.repeat_interleave(2, -3)""",
    "a half type and a complex number": """
        v0 = L.tensor([2.0], dtype=L.bfloat16) * L.tensor(1j)
        v1 = L.tensor([2.0], dtype=L.bfloat16) / L.tensor(1j)
        v2 = L.tensor([2.0], dtype=L.float16) + L.tensor(1j, dtype=L.complex128)[None]""",
    "integers contracted": """
        v0 = L.tensor([[-3], [-128]], dtype=L.int32)
        v1 = L.inner(v0, v0)
        v2 = L.tensordot(v0, v0[:1], ([0], [0]))""",
    "types that kernels do not take": """
        v0 = L.tensor([[True, False], [True, True]])
        v1 = v0.median()
        v2 = v0.median(0)[0]
        v3 = v0.kthvalue(1)[0]
        v4 = v0.topk(1)[0]
        v5 = L.searchsorted(v0[0].sort()[0], v0)
        v6 = v0.abs()
        v7 = L.tensor([1, 2]).frac()
        v8 = L.trapezoid(v0)
        v9 = L.cumulative_trapezoid(v0[0])
        v10 = L.cumulative_trapezoid(L.zeros(0))
        v11 = v0.argmax(0)
        v12 = L.logaddexp(v0, v0)
        v13 = L.nanmean(L.tensor([1, 2]))
        v15 = L.tensor([1j]).index_reduce(0, L.tensor([0]), L.tensor([2j]), 'mean', include_self=False)
        v16 = L.tensor([1j]).index_reduce(0, L.tensor([0]), L.tensor([2j]), 'mean')
        v17 = L.tensor([[1j]]).index_reduce(0, L.tensor([0]), L.tensor([[2j]]), 'mean')""",
    "a mean of complex numbers that come to one place": """
        v0 = L.tensor([1 + 2j, 3j, 2.0])
        v1 = v0.scatter_reduce(0, L.tensor([0, 0, 1]), v0 * 2, 'mean')
        v2 = v0.scatter_reduce(0, L.tensor([0, 0, 1]), v0 * 2, 'mean', include_self=False)
        v3 = L.ones(2)
        v3.copy_(1 - 2j)""",
    "one element of another type where a mask holds": """
        v0 = L.zeros(2, 3, dtype=L.int32)
        v0[:1, L.tensor([False, True, True])] = L.tensor(3.75, dtype=L.float16)
        v0.index_put_((L.tensor([False, True]),), L.tensor([2.5]))
        v0[L.tensor([1])] = L.tensor(3.75)""",
    "masks without dimensions": """
        v0 = L.ones(2, 3)
        v0[L.tensor(True)] = L.tensor([[2.0], [3.0]])
        v0[L.tensor(False)] = 5
        v0[L.tensor(True)] = L.ones(2, 3, dtype=L.int32)
        v0[L.tensor(True)] = L.tensor([4], dtype=L.int64)
        v0[L.tensor([True, False])] = L.tensor([4], dtype=L.int64)
        v0[True] = L.tensor([1, 2, 3])
        v0[False] = L.zeros(7, dtype=L.bool)
        v1 = L.tensor(True)
        v1[v1 <= 1] = v1[v1 <= 1] * 2""",
    "a tangent that is no view": """
        v0 = L.ones(3, dtype=L.float64)
        v1 = L.func.jvp(lambda t: L.kron(t, L.ones(2, dtype=L.float64)), (v0,), (v0,))[1]
        v1.detach_()
        v2 = L.func.jvp(lambda t: t.reshape(1, 3), (v0,), (v0 * 2,))[1]
        v2.detach_()""",
    "an operand that is detached in place": """
        v0 = L.ones(2, 3).requires_grad_()
        v1 = v0 * 2
        v2 = v1.exp()
        v3 = v1.sin()
        v4 = v2 + 1
        v1.detach_()
        v2.detach_()
        v4.sum().backward()
        v3.sum().backward()""",
    "what index_put broadcasts": """
        v0 = L.zeros(3)
        v0.index_put_((L.tensor([0, 0, 2]),), L.ones(1, 1), accumulate=True)
        v0.index_put_((L.tensor([0, 0, 2]),), L.ones(1, 3))
        v0[L.tensor([0, 0, 2])] = L.ones(1, 3)""",
    "nothing to index in a function that is transformed": """
        v0 = L.zeros(0)
        v1 = L.func.jacfwd(lambda t: t.index_put((L.zeros((3,), dtype=L.int64),), L.tensor(2, dtype=t.dtype)))(v0)
        v2 = L.func.vmap(lambda t: v0[t])(L.zeros((2, 1), dtype=L.int64))
        v3 = L.func.vmap(lambda t: v0[t])(L.zeros((2, 0), dtype=L.int64))""",
    "gradients of a copy are summed in its own type": """
        v0 = L.tensor([0.5, 2.0], dtype=L.float64).requires_grad_()
        v1 = L.zeros(3, 2, dtype=L.float16)
        v1[...] = v0
        v2 = v1 * L.tensor([[0.3333], [7.123], [0.01]], dtype=L.float16)
        v2.sum().backward()""",
    "the variance of one element has no second derivative": """
        v0 = L.tensor([[0.5]], dtype=L.float64).requires_grad_()
        v1 = L.autograd.grad(v0.var(), v0, create_graph=True)[0]
        v2 = L.autograd.grad(v0.var(0).sum(), v0, create_graph=True)[0]
        v3 = L.autograd.grad(v0.std(), v0, create_graph=True)[0]
        v4 = L.func.grad(lambda t: t.var())(v0)
        v5 = v0 * 2
        v6 = v5.var()
        v5.mul_(2)
        v6.backward()""",
    "types that pools do not take": """
        v0 = L.nn.functional.local_response_norm(L.ones(2, 3, 4, dtype=L.int64), 2)
        v1 = L.nn.functional.local_response_norm(L.ones(2, 3, 4, dtype=L.int32), 2)
        v2 = L.nn.functional.local_response_norm(L.ones(2, 3, 4, dtype=L.float16), 2)
        v3 = L.nn.functional.local_response_norm(L.ones(2, 3, 4, 5, dtype=L.bfloat16), 2)""",
    "powers of 2 with complex exponents": """
        v0 = L.tensor([0.5, 3.0]).ldexp(L.tensor([1j, 2 - 1j]))
        v1 = L.ldexp(L.tensor([0.5j, 3.0]), L.tensor([2, -1]))
        v2 = L.ldexp(L.tensor([2, 3]), L.tensor([0.5, -1j]))
        v3 = L.ldexp(L.tensor([0.5]), L.tensor([True]))""",
    "bools contracted to one": """
        v0 = L.zeros(0, 2, dtype=L.bool)
        v1 = L.tensordot(v0, v0, 2)
        v2 = L.tensordot(v0, v0.T, 1)
        v3 = L.tensordot(v0, v0, ([0], [0]))""",
    "a copy of a constant, and a trace that is left": """
        v0 = L.ones(2, 3, dtype=L.float64)
        v1 = L.xlogy(v0, L.tensor(-3.0, dtype=L.float64))
        v3 = v0.clone()
        v7 = v3.narrow(0, 1, 1)
        v8 = L.sign(v3)
        look(v1)
        v16 = L.logical_not(v7)
        v17 = v8 @ L.tensor([[300.0, -2.5, 0.25], [-2.5, -0.0, -1.75], [-2.0, -1.0, 1.0]], dtype=L.float64)
        v17.abs_()""",
    "results that are no views": """
        v0 = L.ones(2, 3, dtype=L.float64) * 1j
        v1 = v0.real.median(dim=-2)[0]
        v1.detach_()
        v2 = v0.imag.mode(0)[1]
        v2.detach_()""",
    "views that may not be detached, and parents that may": """
        v0 = L.ones(2, 3, dtype=L.float64).requires_grad_() * 1
        with L.no_grad(): v1 = v0.detach()[0]
        v1.detach_()
        v2 = v0 * 2
        v2.t_()
        v3 = v2[0]
        v2.unsqueeze_(0)
        v2.detach_()
        v2.mul_(2)
        v3.detach_()
        v4 = L.ones(2, 3).quantile(0.5, dim=0)
        v4.detach_()
        v5 = L.ones(2, 2)
        v6 = L.diag(v5)
        v6.mul_(3)
        v7 = L.where(v5 > 0)[0]
        v7.detach_()
        v8 = (v5 * 1j).real
        v8.detach_()""",
    "a value from the memory that it is written to": """
        v0 = L.arange(6.0).reshape(2, 3)
        v0[None] = v0
        v0[:1] = v0[0]
        v0[...] = v0[1, 1]
        v0[0] = v0[0, 1:2]
        v0.fill_(v0[0, 0])
        v1 = L.ones(2, 2)
        v9 = v1[:1, :1]
        v9[L.tensor([True])] = v9
        v1[L.tensor([True, False])] = v1[0]
        v1[None] = v1.T
        v1[...] = v1[:1]
        v1[:1, :1] = v1[None, :1, :1]
        v1[None, :1] = v1[:1]""",
    "elements that are one in memory take one value": """
        v0 = L.arange(6.0)
        v1 = v0.unfold(0, 3, 2)
        v1.zero_()
        v2 = L.arange(6.0).unfold(0, 2, 1)
        v2.fill_(L.tensor(3.0))
        v3 = L.arange(12.0).reshape(3, 4).T.unfold(0, 2, 1)
        v3[1:] = 5
        v4 = L.ones(2, 1).requires_grad_() * 2
        v5 = v4.expand(2, 3).unfold(0, 1, 1)
        v5.fill_(1)
        v6 = L.ones(1, dtype=L.uint8)
        v7 = v6.expand(2).T
        v7.fill_(L.tensor(-3))
        v6.expand(1).fill_(L.tensor(4))""",
    "the layout of coordinates": """
        v0 = L.tensor([[1, 0, 2], [0, 3, 0]])
        v1 = v0.nonzero()
        v2 = v1.T.view(-1)
        v2.add_(1)
        v3 = v1.view(-1)
        v4 = L.where(v0 > 0)[1].view(-1)
        v5 = v0[:0].nonzero().view(-1)
        v6 = L.tensor(L.zeros(2, 3, 0).permute(2, 0, 1).is_contiguous())
        v7 = L.polar(L.ones(2, dtype=L.float16), L.ones(2, dtype=L.float16))""",
    "an index into nothing": """
        v0 = L.zeros(0, 3)
        v1 = v0[L.zeros(2, dtype=L.int64)]
        v2 = v0.index_select(0, L.zeros(2, dtype=L.int64))
        v3 = v0.gather(0, L.zeros(2, 1, dtype=L.int64))
        v4 = v0.scatter(0, L.zeros(2, 1, dtype=L.int64) + 1, 2.0)
        v5 = v0.index_select(0, L.zeros(0, dtype=L.int64))
        v6 = L.nn.functional.embedding(L.zeros(2, dtype=L.int64), v0)""",
    "the power in the gradient of ldexp": """
        v0 = L.tensor(3.25, dtype=L.float64).requires_grad_()
        v1 = L.tensor(-1.625, dtype=L.bfloat16).requires_grad_()
        L.ldexp(v0, v1).backward()
        v2 = L.tensor([1 + 0.5j, 2j]).requires_grad_()
        v3 = L.tensor([[0.5j], [1.5 - 1j]]).requires_grad_()
        L.ldexp(v2, v3).sum().abs().backward()
        v4 = L.tensor([[1.5], [-2.0]]).requires_grad_()
        L.ldexp(v4, L.tensor([2, 1])).sum().backward()""",
    "views of what detach gave of a view": """
        v0 = L.arange(12.0).reshape(3, 4).requires_grad_()
        v1 = L.ones(2, requires_grad=True)
        v2 = v0[1:].t().detach()
        v3 = v2[0]
        v3.mul_(v1)
        v2[1:3, 1].mul_(v1)
        v3[0] = v1[1] * 2
        ((v2 * v2).sum() + (v0 * v0).sum()).backward()
        v4 = v0[2:].data
        v5 = v4[...]
        v5[0, :2].add_(v1, alpha=2)
        v5.exp().sum().backward()
        v6 = L.arange(6.0)[1:].detach()
        v6.mul_(L.ones(5, requires_grad=True))
        v7 = v6[1:]
        v7.mul_(2)
        v8 = L.ones(3, 1).expand(3, 2).detach()
        v9 = v8[:, 1]
        v9.mul_(v0[:, 0])""",
    "another shape that the tape has not seen": """
        v0 = L.ones(2, 3).requires_grad_()
        v1 = v0 * 2
        with L.no_grad(): v1.unsqueeze_(0)
        v2 = v0[:1]
        with L.no_grad(): v2.t_()
        (v1 * v2.sum()).sum().backward()
        v3 = v0 * 2
        with L.no_grad(): v3.t_()
        v3.sum().backward()
        v4 = L.ones(2, 2).requires_grad_() * L.tensor([3.0, 4.0])
        with L.no_grad(): v4.t_()
        v5 = v4[0]
        v5.mul_(L.ones(2).requires_grad_())""",
    "a leaf gets another shape": """
        v0 = L.ones(2, 3, dtype=L.int32).double().requires_grad_()
        v1 = v0.diagonal()
        v2 = v0 * 3
        v3 = v0[1:]
        with L.no_grad(): v0.unsqueeze_(0)
        v3.mul_(2)
        (v1.sum() + v2.sum()).backward()
        v4 = L.ones(1, 3, 2).requires_grad_()
        v5 = v4 * 2
        with L.no_grad(): v4.squeeze_(0)
        v5.sum().backward()""",
    "a number that is written nowhere": """
        v0 = L.ones(3).scatter(0, L.zeros(0, dtype=L.int64), 1 - 2j)
        v1 = L.ones(3, dtype=L.int32).scatter(0, L.zeros(0, dtype=L.int64), 2**40)
        v2 = L.ones(3).scatter(0, L.zeros(1, dtype=L.int64), 1 - 2j)
        v3 = L.ones(0, 1).scatter(0, L.zeros(0, 2, dtype=L.int64), 1 - 2j, reduce='add')""",
    "an index into nothing, in rows": """
        v0 = L.zeros(2, 0, 3)
        v1 = L.func.vmap(lambda t: t.scatter(0, L.zeros((4, 2), dtype=L.int64), 3))(v0)
        v2 = L.func.vmap(lambda t: L.nn.functional.embedding(L.zeros((3,), dtype=L.int64), t))(v0)
        v3 = L.func.vmap(lambda t: t.index_select(0, L.zeros((3,), dtype=L.int64)))(v0)
        v4 = L.func.vmap(lambda t: t.gather(0, L.zeros((3, 2), dtype=L.int64)))(v0)
        v5 = L.func.vmap(L.func.grad(lambda t: t.gather(0, L.zeros((3, 2), dtype=L.int64)).sum()))(v0)
        v6 = L.func.vmap(lambda t: t.index_copy(0, L.zeros((3), dtype=L.int64), L.ones(3, 3)))(v0)""",
    "how similar short vectors are": """
        v0 = L.full((2, 2), 5e-9, dtype=L.float64).requires_grad_()
        v1 = L.nn.functional.cosine_similarity(v0, v0 - 0.5)
        v1.sum().backward()
        v2 = L.func.jvp(lambda t: L.nn.functional.cosine_similarity(t, t - 0.5), (v0,), (v0 * 0 + 1,))[1]
        v3 = L.zeros(1, 3).requires_grad_()
        L.nn.functional.cosine_similarity(v3, L.ones(1, 3)).sum().backward()
        v4 = L.tensor([[float('nan'), 1.0]]).requires_grad_()
        L.nn.functional.cosine_similarity(v4, L.ones(1, 2)).sum().backward()""",
    "a view made under no_grad takes nothing that is tracked": """
        v0 = L.ones(3)
        v1 = L.ones(3).requires_grad_()
        with L.no_grad(): v2 = v0[:]
        v2.mul_(2)
        v2.mul_(v1)
        v2[1:].mul_(v1[1:])
        v2[...] += v1
        v2.copy_(v1)
        with L.no_grad(): v3 = v0.detach()[:]
        v3.add_(v1, alpha=2)
        v3[...] += v1
        v4 = v0.unbind()[0]
        v4[...] += v1[0]""",
    "a loss of a half type and large integers": """
        v0 = L.tensor(float('-inf'), dtype=L.float16)
        v1 = L.nn.functional.smooth_l1_loss(v0, L.tensor(-2147483648, dtype=L.int32))
        v2 = L.nn.functional.smooth_l1_loss(L.tensor([1.0, 2.0], dtype=L.bfloat16), L.tensor([1000, -3]))""",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(name: str) -> None:
    lines = [line.strip() for line in PROGRAMS[name].strip().splitlines()]
    assert disagreement(Program(lines, [], {"TIERS": 2}, 2), torch, minigrad) == ""
