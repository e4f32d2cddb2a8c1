"""Wrong calls raise PyTorch's exception type with PyTorch's words (``minigrad`` for ``torch``), and leave everything
working."""

from __future__ import annotations

import re

import numpy as np
import pytest

import minigrad

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore")

SAME_WORDS = """
t.ones(3) + t.ones(4)
t.ones(2, 3) * t.ones(3, 2)
t.ones(2, 3) @ t.ones(4, 5)
t.ones(2, 3) @ t.ones(4)
t.ones(2, 2, 3) @ t.ones(4, 5)
t.ones(2, 2, 3) @ t.ones(2, 4, 5)
t.ones(3) @ t.ones(4)
t.ones(3) @ t.ones(4, 2)
t.tensor(1.0) @ t.ones(2, 2)
t.ones(2, 2) @ t.ones(2, 2).double()
t.ones(2, 2) @ t.ones(2, 2).long()
t.ones(6).reshape(5)
t.ones(6).reshape(-1, 4)
t.ones(6).reshape(-1, -1)
t.ones(6).view(4, 2)
t.ones(0).reshape(-1, 0)
t.ones(2, 3).t().view(-1)
t.ones(3).view(t.float64)
t.ones(4)[1:3].view(t.int64)
t.ones(2, 3)[:, :2].view(t.int64)
t.ones(2, 3).t().view(t.int16)
t.tensor(1.0).view(t.int16)
t.ones(3, 0).view(t.int64)
t.ones(6).as_strided((2, 3), (1,))
t.ones(6).as_strided((2, 3), (1, -2))
t.ones(6).as_strided((2, -3), (1, 2))
t.ones(6).as_strided((2, 3), (1, 2), -1)
t.ones(6).as_strided((2, 3), (1, 2), 1)
t.ones(6).double()[2:].as_strided((2, 30), (1, 2))
t.ones(2, 2).diagonal(0, 2, 0)
t.ones(3, 1).expand(3, 4).add_(1)
t.ones(3).expand(2, 3).view(t.int32).add_(1)
t.ones(3).requires_grad_().as_strided((2,), (1,)).zero_()
t.ones(2, 3).sum(2)
t.ones(2, 3).sum(-3)
t.ones(2, 3).sum((0, 0))
t.ones(2, 3).mean(5)
t.ones(2, 3).softmax(2)
t.ones(2, 3).max(2)
t.ones(2, 3).argmax(-4)
t.ones(2, 3).squeeze(2)
t.ones(2, 3).unsqueeze(4)
t.ones(2, 3).transpose(0, 2)
t.ones(2, 3).permute(0, 0)
t.ones(2, 3).permute(0)
t.ones(2, 3).flatten(1, 0)
t.ones(2, 3).expand(3, 3)
t.ones(2, 3).expand(3)
t.ones(2, 3)[2]
t.ones(2, 3)[0, 3]
t.ones(2, 3)[0, 0, 0]
t.ones(2, 3)[:, -4]
t.tensor(1.0)[0]
t.ones(3)[::-1]
t.ones(3)[1.0]
t.ones(3)["a"]
t.ones(3)[t.tensor([3])]
t.ones(2, 3)[:, t.tensor([0, 3])]
t.ones(3)[t.tensor([-4])]
t.ones(3)[t.tensor([1.0])]
t.ones(2, 3)[t.tensor([True, False, True])]
t.ones(2, 3)[t.tensor([0, 1]), t.tensor([0, 1, 2])]
t.ones(2, 3).item()
t.ones(0).item()
bool(t.ones(2))
bool(t.ones(0))
if_ = 1 if t.ones(2) > 0 else 0
t.ones(3).__index__()
range(t.ones(2))
len(t.tensor(1.0))
list(t.tensor(1.0))
t.arange(3).mean()
t.arange(3).requires_grad_()
t.tensor([1], requires_grad=True)
t.ones(2, requires_grad=True).numpy()
(t.ones(2, requires_grad=True) * 2).requires_grad_(False)
t.ones(2, requires_grad=True).add_(1)
t.ones(2, requires_grad=True)[0].add_(1)
t.ones(2).backward()
(t.ones(2, requires_grad=True) * 2).backward()
t.zeros(2, dtype=t.int8).add_(1.0)
t.zeros(2, dtype=t.int64).div_(2)
t.zeros(2).add_(t.ones(3, 2))
t.zeros(2).copy_(t.ones(3))
t.zeros(2).copy_(t.ones(1, 2))
t.zeros(3, 1).expand(3, 4).add_(1)
t.cat([t.ones(2, 3), t.ones(3, 2)])
t.cat([t.ones(2, 3), t.ones(3)])
t.cat([])
t.cat([t.tensor(1.0)])
t.cat(t.ones(2))
t.cat([t.ones(2), 1])
t.stack([t.ones(2), t.ones(3)])
t.stack([])
t.tensor([[1, 2], [3]])
t.tensor([[1, 2], 3])
t.tensor("a")
t.zeros(-1)
t.arange(0, 5, -1)
t.arange(0, 5, 0)
t.ones(2) - True if False else t.tensor([True]) - t.tensor([True])
-t.tensor([True])
~t.ones(2)
t.ones(2) & t.ones(2)
t.ones(2) << 1
t.arange(3) ** -1
t.tensor([1]) // 0
t.where(t.ones(2), 1, 2)
t.ones(2).masked_fill(t.ones(2), 1)
t.exp(2.0)
t.exp("a")
t.ones(3).narrow(0, 2, 2)
t.ones(3).split([1, 1])
t.ones(2, 3).chunk(0)
t.ones(3).unfold(0, 4, 1)
t.ones(0).max()
t.ones(0).argmax()
t.ones(2, 0).max(1)
t.ones(3).topk(4)
t.ones(3).gather(0, t.tensor([[0]]))
t.ones(3).gather(0, t.tensor([3]))
t.ones(2, 3).index_select(0, t.tensor([2]))
t.ones(2, 3).index_select(0, t.tensor([[0]]))
t.ones(2, 3).mm(t.ones(2))
t.ones(2, 3).dot(t.ones(2))
t.ones(2).dot(t.ones(3))
t.ones(2, 3, 4).bmm(t.ones(2, 3, 4))
t.ones(2).bmm(t.ones(2))
t.eye(-1)
t.ones(2).reshape(2.5)
t.ones(2, 3).view(-2, 3)
t.ones(2).t().t().unsqueeze(5)
t.ones(2, 3, 4).t()
t.rand(2, dtype=t.int64)
t.randint(3, 3, (2,))
t.ones(2).clamp()
t.ones(3).scatter(0, t.tensor([3]), 1.0)
t.full((2,), 3, dtype=t.float32).to("nowhere")
t.device("nowhere")
t.from_numpy([1])
t.from_numpy(np.zeros(2)[::-1])
t.ones(2, requires_grad=True).sum().backward(t.ones(2))
x = t.ones(1, requires_grad=True); y = (x * x).sum(); y.backward(); y.backward()
x = t.ones(2); x[t.tensor([5])] = 1
x = t.ones(2, 3); x[0] = t.ones(2)
x = t.ones(2, 3); x[t.tensor([0, 1])] = t.ones(2)
x = t.ones(3); x[t.tensor([True, False])] = 1
x = t.ones(3); x.grad = t.ones(2)
x = t.ones(3); x.grad = t.ones(3).double()
x = t.ones(3); x.grad = 1
x = t.ones(2, requires_grad=True); t.autograd.grad(x.sum() * 2, t.ones(2, requires_grad=True))
t.autograd.grad(t.ones(2, requires_grad=True).sum(), t.ones(2))
import copy; copy.deepcopy(t.ones(2, requires_grad=True) * 2)
"""

# PyTorch's texts here name its internals (kernel names, C++ types, overload lists); the type is compared.
TYPE_ONLY = ('["a"]', "[1.0]", "reshape(2.5)", "nowhere", "t.exp", "chunk(0)", "zeros(-1)", "requires_grad_()",
             "deepcopy", "from_numpy(np", "softmax", "mm(t.ones(2))", "[:, t.tensor", "clamp()", "rand(2, dtype",
             "randint(3", "<< 1", "t.ones(2) & t", "requires_grad=True)[0].add_", "[1], requires", "permute(0)",
             "cat(t.ones", "where(t.ones", 'tensor("a")',
             "** -1", "// 0", "Half", "x.grad = 1", "backward(t.ones", "masked_fill", "cat([t.ones(2), 1", "range(t",
             "expand(3)", "add_(t.ones(3, 2))", "ones(0).item", "argmax()", "requires_grad_(False)")


def outcome(program: str, module) -> tuple[type | None, str]:
    try:
        exec(program, {"t": module, "np": np})
    except Exception as error:
        return type(error), str(error)
    return None, ""


def plain(text: str) -> str:
    text = text.split("\n")[0].replace("torch.", "minigrad.").replace("minigrad.Size", "torch.Size")
    return re.sub(r"\s+", " ", text).strip()


@pytest.mark.parametrize("program", SAME_WORDS.strip().splitlines())
def test_same_error(program: str) -> None:
    expected_type, expected = outcome(program, torch)
    got_type, got = outcome(program, minigrad)
    assert expected_type is not None, f"PyTorch accepts {program}"
    assert got_type is not None and issubclass(got_type, expected_type), (got_type, got, expected_type, expected)
    assert got, "an error needs words"
    if not any(t in program for t in TYPE_ONLY):
        assert plain(got)[:60] == plain(expected)[:60]
    assert (minigrad.ones(2) + 1).tolist() == [2, 2]


WITH_OUT = """
abs(x) | ceil(x) | floor(x) | frac(x) | neg(x) | round(x) | sgn(x) | sign(x) | trunc(x) | conj_physical(x) | exp(x)
add(x, x) | mul(n, 2) | sum(n, 0) | prod(x, 0) | eq(x, x) | logical_and(x, x) | cat([x, x]) | stack([x])
hstack([x, x]) | vstack([x]) | dstack([x]) | column_stack([x]) | cumsum(x, 0) | cumprod(n, 0) | amax(x)
addmm(x, x, x) | mm(x, x) | matmul(x, x) | dot(x[0], x[0]) | vdot(x[0], x[0]) | inner(x[0], x[0])
bmm(x[None], x[None]) | addmv(x[0], x, x[0]) | baddbmm(x, x[None], x[None]) | tensordot(x, x, 1) | cross(y, y, dim=1)
gather(x, 1, n) | logcumsumexp(x, 0) | scatter(x, 1, n, x) | scatter_add(x, 1, n, x) | index_select(x, 0, n[0])
masked_select(x, x > 0) | take(x, n) | index_add(x, 0, n[0], x) | index_copy(x, 0, n[0], x) | take_along_dim(x, n, 1)
where(x > 0, x, x) | tril(x) | triu(x) | amin(x, 1) | mean(x) | argmax(x) | argmin(x) | msort(x) | norm(x)
renorm(x, 2, 0, 1.0) | quantile(x, 0.5) | nanquantile(x, 0.5) | softmax(x, 1) | log_softmax(x, 1) | diff(x)
nan_to_num(x) | signbit(x) | isposinf(x) | isneginf(x) | nonzero(x) | complex(x, x) | polar(x, x) | t_copy(x)
view_copy(x, (4,)) | zeros(2)
""".replace("\n", " | ").strip(" |").split(" | ")


@pytest.mark.parametrize("call", WITH_OUT)
def test_dtypes_of_out(call: str) -> None:
    """Which tensors a function writes into."""
    head = "x = t.tensor([[1.5, 2.0], [3.0, 4.0]]); n = t.tensor([[0, 1], [1, 0]]); y = x[:, [0, 1, 1]]"
    for dtype in ("int32", "int64", "float64", "bfloat16", "complex128", "bool"):
        program = f"{head}; t.{call[:-1]}, out=t.tensor([], dtype=t.{dtype}))"
        (got_type, got), (expected_type, expected) = outcome(program, minigrad), outcome(program, torch)
        if "not implemented for" in expected or "not yet implemented for" in expected:
            continue
        assert got_type is expected_type and plain(got) == plain(expected), (program, got, expected)


@pytest.mark.parametrize("name", ["sum", "prod", "cumsum", "cumprod", "nansum"])
def test_sums_are_computed_in_the_dtype_of_out(name: str) -> None:
    for dtype in ("int32", "float64", "bfloat16", "bool"):
        made = []
        for lib in (minigrad, torch):
            out = lib.zeros(2, dtype=getattr(lib, dtype))
            try:
                getattr(lib, name)(lib.tensor([[1.7, 0.6], [2.6, 3.0]]), 1, **{"out": out})
                made.append(out.tolist()[:2])
            except RuntimeError:
                made.append(None)
        assert made[1] is None or made[0] == made[1], dtype
