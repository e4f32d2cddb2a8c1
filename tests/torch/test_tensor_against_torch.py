"""Every program below is text that runs under both names: ``t`` is torch in one run and minigrad in the other.
Values, dtypes, shapes, the gradients of every leaf and the name of ``grad_fn`` must agree."""

from __future__ import annotations

import re

import numpy as np
import pytest

import minigrad

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore")

RNG = np.random.default_rng(7)
DATA = {
    "a": RNG.standard_normal((3, 4)).astype(np.float32),
    "b": RNG.standard_normal((3, 4)).astype(np.float32),
    "p": (RNG.random((3, 4)) + 0.5).astype(np.float32),
    "row": RNG.standard_normal(4).astype(np.float32),
    "col": RNG.standard_normal((3, 1)).astype(np.float32),
    "m": RNG.standard_normal((4, 5)).astype(np.float32),
    "s": np.float32(0.7),
    "cube": RNG.standard_normal((2, 3, 4)).astype(np.float32),
    "cube2": RNG.standard_normal((2, 4, 5)).astype(np.float32),
    "four": RNG.standard_normal((2, 1, 3, 4)).astype(np.float32),
    "sq": RNG.standard_normal((4, 4)).astype(np.float32),
    "d": RNG.standard_normal((3, 4)),
    "i": RNG.integers(-5, 6, (3, 4)),
    "j": RNG.integers(1, 5, (3, 4)),
    "u": RNG.integers(0, 200, (3, 4)).astype(np.uint8),
    "i8": RNG.integers(-100, 100, (3, 4)).astype(np.int8),
    "mask": RNG.random((3, 4)) > 0.5,
    "idx": np.array([2, 0, 1, 2]),
    "neg": np.array([-1, 0]),
    "rows": np.array([0, 1, 2]),
    "cols": np.array([3, 0, 1]),
    "empty": np.zeros((0, 4), np.float32),
    "special": np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.5, -2.5], np.float32),
}


def run(program: str, module, tensor_of, with_grad: bool):
    """The result of the program, and the gradient of each floating input it used."""
    names = {"t": module, "np": np}
    used = {}
    for name in set(re.findall(r"[a-z]\w*", program)) & set(DATA):
        value = tensor_of(DATA[name])
        if with_grad and DATA[name].dtype.kind == "f":
            value.requires_grad_()
        names[name] = used[name] = value
    *lines, last = program.split("; ")
    exec("\n".join(lines), names)
    result = eval(last, names)
    grads = {}
    first = result[0] if isinstance(result, tuple | list) else result
    if with_grad and getattr(first, "requires_grad", False):
        weight = tensor_of(np.random.default_rng(1).standard_normal(tuple(first.shape)).astype(
            np.asarray(first.detach().numpy()).dtype))
        try:
            (first * weight).sum().backward()
        except RuntimeError as error:
            if "not implemented" not in str(error):
                raise
            return result, None
        grads = {n: v.grad for n, v in used.items() if v.grad is not None}
    return result, grads


def as_arrays(result) -> list[np.ndarray]:
    if isinstance(result, tuple | list):
        return [a for r in result for a in as_arrays(r)]
    if hasattr(result, "detach"):
        return [result.detach().numpy()]
    return [np.asarray(result)]


def grad_name(result):
    first = result[0] if isinstance(result, tuple | list) else result
    node = getattr(first, "grad_fn", None)
    return None if node is None else type(node).__name__


def compare(program: str, with_grad: bool = True, names: bool = True, tolerance: float = 2e-6) -> None:
    theirs, their_grads = run(program, torch, lambda v: torch.tensor(v), with_grad)
    ours, our_grads = run(program, minigrad, lambda v: minigrad.tensor(v), with_grad)
    expected, got = as_arrays(theirs), as_arrays(ours)
    assert len(expected) == len(got)
    for e, g in zip(expected, got, strict=True):
        assert g.dtype == e.dtype, program
        np.testing.assert_allclose(g, e, rtol=tolerance, atol=tolerance, err_msg=program)
    if names:
        assert grad_name(ours) == grad_name(theirs), program
    if their_grads is None:
        return
    assert set(our_grads) == set(their_grads), program
    for name, g in their_grads.items():
        np.testing.assert_allclose(our_grads[name].numpy(), g.numpy(), rtol=10 * tolerance, atol=10 * tolerance,
                                   err_msg=f"gradient of {name} in {program}")


ARITHMETIC = """
a + b|a + row|a + col|a + 2|2 + a|a + 1.5|a + True|a - b|1 - a|2.5 - a|a - row|a * b|a * 3|3 * a|a * col|a / b|a / 2
1 / p|a // p|a % p|-a|+a|abs(a)|p ** 2|p ** 3|p ** 0.5|p ** -1|p ** 1.7|2 ** a|p ** b|p ** -0.5|p**1|a ** 4|p**-2
p ** 0|t.add(a, b, alpha=2)|t.sub(a, b, alpha=3)|t.mul(a, b)|t.div(a, p)|t.pow(p, b)
a.rsub(b) if hasattr(a, "rsub") else b - a|t.remainder(a, p)|t.fmod(a, p)|t.maximum(a, b)|t.minimum(a, b)
t.lerp(a, b, 0.3)|t.addcmul(a, b, p, value=0.5)|t.addcdiv(a, b, p, value=2)|a + s|s * a|a + d|d * 2|a * d|s + d|i + a
i * 2.5|i / j|i + i8|u + i8|i8 + 1|u * 2|mask + mask|mask * mask|mask + 1|mask * 2.5|i - 3|7 - i|i // j|i % j|i // 2
i % 3|j ** 2|i * mask|i8 * i8|u + u|t.div(i, j, rounding_mode="floor")|t.div(i, j, rounding_mode="trunc")
t.div(a, p, rounding_mode="trunc")|a.square()|i.square()|-i|abs(i)|a.neg()|s + s|s * i|i + s|(a * 0.5).add(b)|2 * i8
i8 + 2.0|a.double() + 1|a.half() + 1|s + i
"""

FUNCTIONS = """
a.exp()|p.log()|p.sqrt()|a.sin()|a.cos()|a.tanh()|t.erf(a)|a.sigmoid()|a.relu()|t.abs(a)|a.floor()|a.ceil()|a.trunc()
a.round()|t.round(a, decimals=2)|a.frac()|p.reciprocal()|p.rsqrt()|a.sign()|a.tan()|a.sinh()|a.cosh()|p.log2()
p.log10()|a.exp2()|p.log1p()|a.expm1()|t.nn.functional.silu(a) if "torch" in t.__name__ else a.silu()
a.clamp(-0.5, 0.5)|a.clamp(min=0)|a.clamp(max=0.1)|a.clamp(min=b)|t.clamp(a, b, p)|special.nan_to_num()|i.exp()
i.sqrt()|j.log()|mask.exp()|i.clamp(0, 3)|i.sigmoid()
t.nn.functional.softplus(a) if "torch" in t.__name__ else a.softplus()|t.erfc(a)|t.logit(p / 4)|a.clip(-1, 1)
t.nn.functional.gelu(a) if "torch" in t.__name__ else a.gelu()
t.nn.functional.leaky_relu(a) if "torch" in t.__name__ else a.leaky_relu()
t.nn.functional.gelu(a, approximate="tanh") if "torch" in t.__name__ else a.gelu("tanh")
t.nn.functional.logsigmoid(a) if "torch" in t.__name__ else a.logsigmoid()
"""

COMPARISONS = """
a < b|a <= 0|a > row|a >= col|a == a|a != b|i == 2|i < 2.5|i == s|special == special|special != special|special < 1
special >= 1|mask & mask|mask.bitwise_or(a > 0)|mask ^ True|~mask|i & 3|i.bitwise_or(j)|i ^ j|~i|i << 2|i >> 1
t.logical_and(i, a)|t.logical_or(mask, a)|t.logical_xor(i, mask)|t.logical_not(a)|special.isnan()|special.isinf()
special.isfinite()|t.isclose(a, a + 1e-9)|i.isnan()|t.where(mask, a, b)|t.where(mask, a, 0.0)|t.where(mask, 1, 0)
t.where(mask, i, 2.5)|a.where(mask, b)|a.masked_fill(mask, 3)|a.masked_fill(a > 0, float("-inf"))
t.where(a > 0, a, row)|t.allclose(a, a)|t.equal(a, b)|a.eq(b)|a.ne(1)|2 > a|t.where(mask, s, a)
"""

REDUCTIONS = """
a.sum()|a.sum(0)|a.sum(1, keepdim=True)|a.sum((0, 1))|a.sum(-1)|i.sum()|mask.sum()|u.sum(0)|cube.sum((0, 2))|a.mean()
a.mean(0)|a.mean((0, 1), keepdim=True)|a.prod()|a.prod(1)|i.prod(0)|a.var()|a.var(1)|a.var(0, keepdim=True)
a.var(unbiased=False)|a.var(1, correction=0)|a.std()|a.std(1)|t.var_mean(a, 1)|t.std_mean(a)|a.max()|a.min()|a.max(1)
a.min(0)|a.max(0, keepdim=True)|i.max()|i.min(1)|a.amax(1)|a.amin((0, 1))|a.argmax()|a.argmin()|a.argmax(1)
a.argmin(0, keepdim=True)|i.argmax(1)|mask.any()|mask.all()|mask.any(1)|mask.all(0)|a.any()|special.detach().max()
special.argmax()|special[:4].min(0)|a.softmax(1)|a.softmax(0)|a.log_softmax(1)|cube.softmax(-1)|t.logsumexp(a, 1)
a.norm()|a.norm(dim=1)|a.norm(1)|a.norm(p=3, dim=0)|a.norm(p=float("inf"))|a.cumsum(0)|a.cumsum(1)|i.cumsum(1)
p.cumprod(1)|a.logsumexp((0, 1))|empty.sum()|empty.sum(0)|empty.prod()|t.aminmax(a)|t.count_nonzero(i)
t.count_nonzero(i, 1)|a.cummax(1)|a.cummin(0)|s.sum()|s.mean()|s.max()|a.nansum()|u.any(0)|t.amax(a, 0)
a.sum(dtype=t.float64)|i.sum(dtype=t.float32)|a.softmax(1, dtype=t.float64)|i.softmax(1, dtype=t.float32)|a.max(b)
a.sum(axis=1)|a.log_softmax(0)|a.logcumsumexp(1)|a.mean(dtype=t.float64)|s.softmax(0)|s.argmax()|s.cumsum(0)
i.float().std()
"""

MOVEMENT = """
a.reshape(4, 3)|a.view(-1)|a.reshape(2, -1)|a.t()|a.T|a.transpose(0, 1)|cube.permute(2, 0, 1)|cube.transpose(-1, 0)
a.unsqueeze(0)|a.unsqueeze(-1)|four.squeeze()|four.squeeze(1)|four.squeeze(0)|cube.flatten()|cube.flatten(1)
cube.flatten(0, 1)|row.expand(3, 4)|col.expand(-1, 4)|col.expand(2, 3, 4)|a.flip(0)|a.flip((0, 1))|a.roll(1, 0)
a.roll((1, 2), (0, 1))|a.roll(5)|a.repeat(2, 1)|a.repeat(2, 1, 3)|a.tile(2)|row.repeat_interleave(2)
a.repeat_interleave(2, 1)|a.contiguous()|a.t().contiguous()|a.clone()|a.t().reshape(-1)|cube.movedim(0, 2)
cube.swapaxes(0, 1)|cube.mT|row.unfold(0, 2, 1)|a.unfold(1, 3, 1)|a.narrow(1, 1, 2)|t.cat([a, b])|t.cat((a, b), 1)
t.cat([a, i])|t.stack([a, b])|t.stack((a, b), 2)|t.cat([a] * 10)|t.stack([s] * 3)|t.hstack([a, b])|t.vstack([row, row])
t.dstack([a, b])|a.split(2, 1)|a.split([1, 3], 1)|a.chunk(3, 1)|a.unbind(0)|t.tensor_split(a, 3, 1)|a.diagonal()
sq.diagonal(1)|row.diag()|row.diag(1)|sq.diag()|a.tril()|a.triu(1)|cube.tril(-1)|t.rot90(a)|a.unflatten(1, (2, 2))
t.broadcast_to(row, (3, 4))|a.ravel()|t.atleast_2d(row)|t.meshgrid(row, row, indexing="ij")|cube.diagonal(0, 1, 2)
a.view_as(b)|a.expand_as(cube)|t.column_stack([row, row])|empty.reshape(4, 0)|t.cat([empty, a])|a[:, ::2].reshape(-1)
a.fliplr()|a.flipud()
"""

INDEXING = """
a[0]|a[-1]|a[1, 2]|a[:, 1]|a[..., 1]|a[1:]|a[:, 1:3]|a[::2]|a[:, ::2]|a[None]|a[:, None]|a[0, None]|cube[..., 0]
cube[1, :, 2]|cube[:, -1]|a[idx[1:3]]|a[[0, 2]]|a[:, [-1]]|a[[0, 1], [2, 3]]|a[rows, cols]|a[neg]|a[mask]|a[a > 0]
a[mask[:, 0]]|a[:, mask[0]]|cube[:, idx[1:3]]|cube[idx[1:3] - 1, :, [0, 1]]|cube[:, [0, 1], [1, 2]]|cube[0, :, [1, 2]]
a[t.tensor(1)]|a[t.tensor(1), 2:]|a[:, t.tensor([[0, 1], [2, 3]])]|i[i > 0]|a[True]|a[-2:]|a[5:]|a[:, :-1]|a[()]
s[None]|s[()]|s[...]|a[range(2)]|a[np.array([0, 2])]|t.index_select(a, 0, rows)|a.index_select(1, cols)
a.gather(1, j - 1)|a.gather(0, (j - 1).clamp(max=2))|a.take(idx)|t.take_along_dim(a, j - 1, 1)|a.masked_select(mask)
mask.nonzero()|mask.nonzero(as_tuple=True)|t.where(mask)|a.scatter(1, j - 1, b)|a.scatter(1, j - 1, 2.0)
a.scatter_add(1, j - 1, b)|a.index_add(0, rows, b)|a.index_copy(0, rows, b)|a.index_fill(1, cols, 3.0)
cube[idx[:2] - 1][:, 1]|cube[None, 0]|a[1][2]|a[1:][:, 1:][0]|row[idx]|a[:, idx]|a[idx[1:], 1:3]|cube[:, :, None, 1]
a.select(1, 2)|t.scatter_reduce(a.detach(), 1, j - 1, b.detach(), "amax")|t.scatter_reduce(a, 1, j - 1, b, "sum")
"""

ORDER = """
a.sort(1)|a.sort(0, descending=True)|a.argsort(1)|special.sort()|special.sort(descending=True)|a.topk(2)
a.topk(2, largest=False)|a.topk(1, 0)|a.kthvalue(2, 1)|a.median()|a.median(1)|i.unique()
i.unique(return_inverse=True, return_counts=True)|u.sort(1)|j.reshape(-1).bincount()
t.searchsorted(t.tensor([1.0, 2.0, 3.0]), p)|a.quantile(0.3)|a.msort()|i.sort(stable=True)|t.isin(i, j)|t.pow(2.0, p)
t.remainder(7, j)|t.dist(a, b)|t.dist(a, b, 1)|t.finfo(t.float32).eps|t.iinfo(t.int8).max|t.finfo(t.float16).tiny
t.bucketize(p, t.tensor([0.7, 1.0]))|a.quantile(0.5, 1)
"""

PRODUCTS = """
a @ m|a @ row|row @ m|row @ row|cube @ cube2|cube @ m|four @ m|four @ cube2|row @ cube2|cube @ row|t.mm(a, m)
t.mv(a, row)|t.dot(row, row)|t.bmm(cube, cube2)|t.outer(row, row)|t.einsum("ij,jk->ik", a, m)
t.einsum("bij,bjk->bik", cube, cube2)|t.einsum("ij,ij->", a, b)|t.einsum("ij->ji", a)|t.einsum("ii->i", sq)
t.einsum("...ij,jk->...ik", cube, m)|t.einsum("i,j", row, row)|t.addmm(row[:1], a, m, beta=2, alpha=0.5)
t.baddbmm(s, cube, cube2)|t.tensordot(a, m, 1)|t.tensordot(a, b, ([0, 1], [0, 1]))|t.trace(sq)|t.kron(a, b)|i @ j.T
a.double() @ m.double()|t.matmul(a, m)|a.inner(b)|(a.T @ b).sum()|t.einsum("ij,kj,lj->ikl", a, b, p)|empty @ m
t.einsum("bij,bkj->bik", cube, cube)|a.matmul(m.contiguous())|t.cross(a[:, :3], b[:, :3], dim=1)
"""

CREATION = """
t.zeros(2, 3)|t.ones((2,), dtype=t.int32)|t.full((2, 2), 5)|t.full((2,), 1.5)|t.full((2,), True)|t.eye(3)|t.eye(2, 3)
t.arange(5)|t.arange(1, 10, 3)|t.arange(0, 1, 0.1)|t.arange(5, 0, -2)|t.arange(3.0)|t.linspace(0, 1, 7)
t.linspace(3, -2, 5)|t.logspace(0, 2, 3)|t.zeros_like(a)|t.ones_like(i)|t.full_like(a, 3)|t.tensor([1, 2])
t.tensor([1.0, 2])|t.tensor([True, False])|t.tensor([[1], [2]])|t.tensor(3)|t.tensor(2.5)|t.tensor([])
t.tensor([s.item(), 2])|t.tensor([[True, 2.5]])|t.tensor(np.float64(2))|t.tensor(np.arange(3))|a.new_zeros(2)
i.new_ones((2, 2))|a.new_full((2,), 3)|t.tril_indices(3, 3)|t.triu_indices(2, 3, 1)|t.tensor([1, 2], dtype=t.float64)
t.arange(3, dtype=t.float32)|t.Tensor([1, 2])|t.LongTensor([1, 2])|t.scalar_tensor(2)|t.arange(10) * 0.5|t.range(1, 4)
t.as_tensor([1.5])|t.tensor(2**40)|t.tensor([3, 2.0]).long()|t.tensor([1.9, -1.9]).int()|t.zeros(0)|t.zeros(())
t.linspace(0, 1, 1)|t.tensor([300, -1]).to(t.uint8)|t.tensor(range(3))|t.arange(0, 10, 2)|t.eye(2, dtype=t.bool)
t.cartesian_prod(t.arange(2), t.arange(2))
"""

CONVERSION = """
a.double()|a.half().float()|a.long()|a.int()|a.bool()|i.float()|a.to(t.float64)|a.type_as(d)|a.to(d)|u.float()
mask.float()|a.item if 0 else s.item()|a.tolist()|a.type(t.int64)|a.detach()|i.tolist()|special.bool()|mask.long()
i.byte()|a.to("cpu")|a.shape[0]|a.numel()|a.dim()|a.size(1)|a.stride()|a.t().stride()|a[:, ::2].stride()
a[1:].storage_offset()|a.t().is_contiguous()|col.expand(3, 4).stride()|len(a)
"""

IN_PLACE = """
x = a * 1; x.add_(b); x|x = a * 1; x += 2; x|x = a * 1; x.mul_(b); x|x = a * 1; x[0] = 5; x
x = a * 1; x[:, 1] = row[:3]; x|x = a * 1; x[mask] = 0; x|x = a * 1; x[x < 0] = 0; x|x = a * 1; x[rows, cols] = 7.0; x
x = a * 1; x[1:, ::2] *= 3; x|x = a * 1; x[rows] = b; x|x = a * 1; x[0].mul_(2); x|x = a * 1; x.t()[0] = 1; x
x = a * 1; y = x.view(-1); y[3:6] = 2; x|x = a * 1; y = x[1]; x.mul_(2); y|x = a * 1; y = x[1]; y.exp_(); x * 2
x = a * 1; x.zero_(); x + b|x = a * 1; x.clamp_(0, 1); x|x = a * 1; x.copy_(row); x
x = t.zeros(3, 4); x.copy_(a); x * 2|x = t.zeros(3, 4); x[1] = row; x|x = t.zeros(4); x[1:3] = s; x * 2
x = a * 1; x.relu_(); x|x = i.clone(); x += 2; x|x = i.clone(); x[0, :2] = -1; x|x = a * 1; x.masked_fill_(mask, 2); x
x = a * 1; x[:, [0, 2]] = 3.0; x|x = a * 1; x[mask] = b[mask]; x|x = a * 1; x.transpose(0, 1).add_(1); x
x = a * 1; x.fill_(s); x + 0|x = a * 1; x.unsqueeze_(0); x|x = a * 1; x.t_(); x|x = a * 1; x.squeeze(0)[0, 0] = 3; x
x = a * 1; x.div_(2).neg_(); x|x = a * 1; x[..., -1] += row[:3]; x|x = a * 1; y = x.detach(); y.add_(1); x
x = a * 1; x.index_add_(0, rows, b); x|x = a * 1; x.scatter_(1, j - 1, b); x
x = t.arange(6).view(2, 3).clone(); x[:, 1:] *= 2; x|x = a * 1; x[[0, 1], 1:3] = 4.0; x|x = a * 1; x.pow_(2); x
x = a * 1; x.lerp_(b, 0.5); x|x = a * 1; x.fill_diagonal_(0); x|x = a * 1; x[0, 0] = s; x
x = a * 1; x.index_put_((rows, cols), row[:3]); x|x = a * 1; x.index_put_((rows, rows), row[:3], accumulate=True); x
x = t.zeros(3, 4); y = x[1:]; y.add_(a[1:]); x * 2|x = a * 1; y = x[:, 0]; z = x[0]; y.mul_(2); z + 0
x = a * 1; x[None][0, 1] = 3; x|x = a.clone(); x[1:] += x[:-1].clone(); x|x = a * 1; x[0, :] = row; x
"""

# Names that differ: PyTorch composes these of other ops, or shows an internal node.
NAMES_DIFFER = (
    "+a", "addmm", "baddbmm", "cross", "einsum", "tensordot", "kron", "inner", "erfc", "msort", "silu", "softplus",
    "gelu", "leaky_relu", "logsigmoid", "logit", "frac", "sinh", "cosh", "nan_to_num", "amin", "aminmax", "sort",
    "topk", "kthvalue", "median", "quantile", "cummax", "cummin", "logcumsumexp", "norm", "lerp", "addc", "take",
    "rot90", "fmod", "nansum", "hstack", "vstack", "dstack", "column_stack", "repeat_interleave", "clone",
    "scatter_reduce", "index_fill", "diag", "tile", "fliplr", "flipud", "roll(5)", "rsub", "clip", "square",
    "masked_select", "reshape(-1)", "tensor_split", "rounding_mode", "atleast", "swapaxes", "mT", "unflatten",
    "cube @", "four @", "row @ m", "row @ cube2", "matmul", "expm1", "dist", "std_mean", "var_mean", "contiguous",
    "split", "unbind", "chunk", "movedim", "lambda", "dtype=", "meshgrid", "// p", "logsumexp", "s.", "expand",
    "broadcast_to", "unfold", "**1", "flatten", "ravel", "outer", "p ** 0", "hasattr", "trace", "decimals")


def programs(*texts: str) -> list[str]:
    return [p for text in texts for line in text.strip().splitlines() for p in line.split("|") if p]


@pytest.mark.sample(100)
@pytest.mark.parametrize("program", programs(ARITHMETIC, FUNCTIONS, COMPARISONS, REDUCTIONS, MOVEMENT, ORDER, PRODUCTS))
def test_values_and_gradients(program: str) -> None:
    compare(program, names=not any(n in program for n in NAMES_DIFFER))


@pytest.mark.parametrize("program", programs(INDEXING, CREATION, CONVERSION, IN_PLACE))
def test_values_and_gradients_of_parts(program: str) -> None:
    compare(program, names=False)


@pytest.mark.parametrize("program", programs(ARITHMETIC, FUNCTIONS, COMPARISONS, REDUCTIONS))
def test_values_without_gradients(program: str) -> None:
    compare(program, with_grad=False)
