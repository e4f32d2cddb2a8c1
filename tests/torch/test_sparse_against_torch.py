"""Stage: tests of sparse tensors. In: programs, a line each. Out: what they print here and in PyTorch, errors included;
gradients; optimizers; files. Next: ``test_spatial_against_torch.py``."""

from __future__ import annotations

import copy
import io
import pickle
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import minigrad  # noqa: E402

PROGRAMS = r"""
S
U
U.coalesce()
U.is_coalesced()
U.values()
C.values()
C.indices()
S._indices()
S._nnz()
S.layout
S.is_sparse
D.layout
S.shape
S.size(0)
S.sparse_dim()
S.dense_dim()
H
H.dense_dim()
H.to_dense()
S.to_dense()
S.to_dense(torch.float64)
torch.sparse_coo_tensor(i,v)
torch.sparse_coo_tensor(size=(2,3))
torch.sparse_coo_tensor((2,3))
torch.sparse_coo_tensor(i,v,(2,2))
torch.sparse_coo_tensor(i,v[:2],(2,3))
torch.sparse_coo_tensor(-i,v,(2,3))
torch.sparse_coo_tensor(i,v,(2,3,4))
torch.sparse_coo_tensor(i.float(),v,(2,3))
torch.sparse_coo_tensor(i,v,(2,3),dtype=torch.float64)
torch.sparse_coo_tensor(i,[1,2,3],(2,3))
torch.sparse_coo_tensor(i,v,(2,3),requires_grad=True)
torch.sparse_coo_tensor(i,v,(2,3),is_coalesced=True).is_coalesced()
D.to_sparse()
D.to_sparse(1)
D.to_sparse_csr()
D.to_sparse_csc()
D.to_sparse(layout=torch.sparse_csr)
S@D.t()
D.t()@S
torch.spmm(S,D.t())
torch.sparse.mm(S,D.t())
torch.mm(S,D.t())
torch.sparse.mm(S,D.t().to_sparse())
S@S.t()
torch.mv(S,torch.ones(3))
S@torch.ones(3)
torch.sparse.addmm(torch.ones(2,2),S,D.t(),beta=.5,alpha=2)
torch.addmm(torch.ones(2,2),S,D.t())
S+S
C+C
S+D
D+S
S-D
D-S
S*2
2*S
S/2
S*D
D*S
S*S
C*U
S/D
S+1
-S
S.neg()
S.abs()
torch.relu(S)
torch.sqrt(S)
torch.sin(C)
S.pow(2)
S**2
torch.sparse.sum(S)
torch.sparse.sum(S,0)
torch.sparse.sum(S,1)
torch.sparse.sum(S,[0,1])
torch.sparse.sum(S,dtype=torch.float64)
S.sum()
S.sum(0)
torch.sum(S)
torch.sparse.softmax(S,1)
torch.sparse.softmax(S,0)
S.softmax(1)
S.t()
S.transpose(0,1)
S.T
C.t().is_coalesced()
D.sparse_mask(C)
D.sparse_mask(S)
S.index_select(0,torch.tensor([1]))
S[1]
S[1,2]
C[0]
S.double()
S.to(torch.float64)
S.type(torch.DoubleTensor)
S.type_as(D)
S.float() is S
S.clone()
S.detach()
S.cpu()
torch.zeros_like(S)
torch.empty_like(S)
S.numpy()
S.tolist()
S.item()
S.reshape(3,2)
S.stride()
S.is_contiguous()
torch.sparse_csr_tensor([0,1,3],[2,0,2],[3.,4.,5.],(2,3))
torch.sparse_csr_tensor([0,1,3],[2,0,2],[3.,4.,5.])
torch.sparse_csr_tensor([0,1,2],[2,0,2],[3.,4.,5.],(2,3))
torch.sparse_csr_tensor([0,1,3],[2,0,5],[3.,4.,5.],(2,3))
torch.sparse_compressed_tensor([0,1,3],[2,0,2],[3.,4.,5.],(2,3),layout=torch.sparse_csr)
torch.sparse_csc_tensor([0,1,1,3],[1,0,1],[3.,4.,5.],(2,3))
torch.sparse_bsr_tensor([0,1],[0],[[[1.,2.],[3.,4.]]],(2,2))
R.crow_indices()
R.col_indices()
R.values()
R.ccol_indices()
R.indices()
R._nnz()
R.to_dense()
R.to_sparse()
R@D.t()
R.layout
R.is_sparse
R.is_sparse_csr
R.t()
R+R
R*2
R.to_sparse_coo()
R.coalesce()
D.indices()
D.coalesce()
D.values()
D.is_coalesced()
S.is_sparse_csr
S.crow_indices()
torch.sparse.FloatTensor(i,v,torch.Size([2,3]))
torch.sparse.FloatTensor(2,3)
torch.sparse.FloatTensor(i,v)
torch.sparse.LongTensor(i,torch.tensor([1,2,3]))
isinstance(S,torch.sparse.FloatTensor)
S.type()
torch.sparse.spdiags(torch.tensor([[1.,2,3]]),torch.tensor([0]),(3,3))
torch.sparse.sampled_addmm(R,torch.ones(2,2),torch.ones(2,3))
torch.cat([C,C])
torch.stack([C,C])
C.unsqueeze(0)
bool((C.to_dense()==C.to_dense()).all())
C.any()
torch.add(D,S,alpha=2)
torch.add(S,S,alpha=2)
torch.eye(3).to_sparse()
torch.tensor(5.).to_sparse()
torch.zeros(2,2).to_sparse()
torch.zeros(2,3).to_sparse_csr()
torch.hstack([C,C])
torch.sparse_coo_tensor(torch.zeros(2,0,dtype=torch.long),torch.zeros(0),(2,3))
torch.bmm(torch.ones(2,2,3).to_sparse(),torch.ones(2,3,2))
len(S)
S.dim()
S.element_size()
S.mm(D.t())
D.t().mm(S)
torch.mm(D.t(),S)
torch.matmul(S,D.t())
S.matmul(D.t())
S.dtype
S.half()
S.bool()
S.int()
torch.sparse_coo_tensor(i,torch.tensor([True,False,True]),(2,3))
S.smm(D.t())
torch.smm(S,D.t())
torch.hspmm(S,D.t())
torch.sspaddmm(S.t()@S if 0 else torch.eye(2).to_sparse(),S,D.t())
S.log1p()
S.sign()
S.to_sparse()
S.to_sparse_csr().to_sparse_csc()
D.to_sparse_bsr((1,3))
D.to_sparse_bsc((2,1))
S.sum(1)
S.expand(2,3)
S.flatten()
torch.div(S,2,rounding_mode='floor')
S//2
D.is_sparse
D.to_dense()
D.to_dense() is D
S.coalesce() is S
C.coalesce() is C
"""

NAMES = """
i = t.tensor([[0, 1, 1], [2, 0, 2]]); v = t.tensor([3.0, 4, 5]); S = t.sparse_coo_tensor(i, v, (2, 3))
C = S.coalesce(); D = t.arange(6.0).reshape(2, 3)
U = t.sparse_coo_tensor([[0, 0, 1], [2, 2, 0]], [1.0, 2.0, 3.0], (2, 3)); R = S.to_sparse_csr()
H = t.sparse_coo_tensor([[0, 1]], [[1.0, 2.0], [3.0, 4.0]], (3, 2))
"""


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def names(lib):
    made = {"t": lib, "torch": lib}
    exec(NAMES, made)
    return made


def text(value):
    return repr(value).replace("minigrad.", "torch.")


@pytest.mark.sample(50)
@pytest.mark.parametrize("program", PROGRAMS.strip().splitlines())
def test_prints_what_pytorch_prints(program):
    try:
        expected = text(eval(program, names(torch)))
    except Exception as error:
        with pytest.raises(type(error)) as caught:
            eval(program, names(minigrad))
        if not isinstance(error, NotImplementedError):
            assert str(caught.value)[:60].replace("minigrad.", "torch.") == str(error)[:60]
        return
    assert text(eval(program, names(minigrad))) == expected


IN_PLACE = """x = S.clone(); x.zero_(); x|x = C.clone(); x.add_(U.coalesce()); x.coalesce()|x = S.clone(); x.mul_(3); x
x = S.clone(); x.div_(2); x|x = D.clone(); x.add_(S, alpha=2); x|x = D.clone(); x += S; x|x = S.clone(); x *= 2; x
x = S.clone(); x.sparse_resize_((4, 4), 2, 0); x|x = S.clone(); x.copy_(U); x|x = C.clone(); x.neg_(); x.abs_(); x
x = S.clone(); x.sparse_resize_((1, 3), 2, 0); x|x = S.clone(); x.sparse_resize_((2, 3, 1), 2, 1); x
x = D.clone(); x.sub_(S); x|x = t.zeros(2, 2); t.mm(S, D.t(), out=x); x|x = S.clone(); x.t_(); x"""


@pytest.mark.parametrize("program", IN_PLACE.replace("\n", "|").split("|"))
def test_in_place(program):
    *steps, last = program.split("; ")
    seen = []
    for lib in (torch, minigrad):
        made = names(lib)
        try:
            exec("\n".join(steps), made)
            seen.append(text(eval(last, made)))
        except Exception as error:
            seen.append((type(error), str(error)[:50]))
    assert seen[0] == seen[1]


def array(x):
    if x is None:
        return None
    return (x if x.layout in (torch.strided, minigrad.strided) else x.to_dense()).detach().numpy()


FORMULAS = """t.sparse.mm(S, D)|t.sparse.addmm(D[:2], S, D, beta=2, alpha=0.5)|S.to_dense()|S.coalesce().to_dense()
(S * 3).to_dense()|(S.coalesce() + S.coalesce()).to_dense()|t.sparse.sum(S)|t.sparse.sum(S, 0).to_dense()
S.t().to_dense()|t.sparse.softmax(S, 1).to_dense()|t.sparse.log_softmax(S.coalesce(), 0).to_dense()
S.coalesce().values()|t.sparse.mm(S, S.t()).to_dense()|(S * D[:2].detach()).to_dense()"""


@pytest.mark.parametrize("formula", FORMULAS.replace("\n", "|").split("|"))
@pytest.mark.parametrize("leaf", ["tensor", "values"])
def test_gradients(formula, leaf):
    seen = []
    for lib in (torch, minigrad):
        v = lib.tensor([3.0, 4, 5, 1], requires_grad=leaf == "values")
        S = lib.sparse_coo_tensor(lib.tensor([[0, 1, 1, 0], [2, 0, 2, 2]]), v, (2, 3), **(
            {"requires_grad": True} if leaf == "tensor" else {}))
        D = (lib.arange(9.0).reshape(3, 3) / 3).requires_grad_()
        y = eval(formula, {"t": lib, "S": S, "D": D})
        (y * y).sum().backward()
        seen.append([array(g) for g in ((S if leaf == "tensor" else v).grad, D.grad)])
    for expected, got in zip(*seen, strict=True):
        assert (expected is None) == (got is None)
        if expected is not None:
            np.testing.assert_allclose(got, expected, rtol=2e-5, atol=1e-5)


def test_gradients_of_dense_leaves():
    for formula in ("D.to_sparse().to_dense()", "D.sparse_mask(m).to_dense()", "D.to_sparse_csr().to_dense()"):
        seen = []
        for lib in (torch, minigrad):
            D = lib.tensor([[1.0, 0, 2], [0, 3, 0]], requires_grad=True)
            m = lib.sparse_coo_tensor([[0, 1], [1, 1]], [1.0, 1.0], (2, 3)).coalesce()
            (eval(formula, {"D": D, "m": m}) ** 2).sum().backward()
            seen.append(array(D.grad).tolist())
        assert seen[0] == seen[1]


INDEX = [[1, 2], [1, 5]]


def table(lib, kind="Embedding", **options):
    layer = getattr(lib.nn, kind)(6, 2, sparse=True, **options)
    with lib.no_grad():
        layer.weight.copy_(lib.arange(12.0).reshape(6, 2))
    return layer


def test_gradients_of_embeddings_are_sparse():
    for kind, options in (("Embedding", {}), ("Embedding", {"padding_idx": 1}), ("EmbeddingBag", {"mode": "sum"}),
                          ("EmbeddingBag", {"mode": "mean"})):
        seen = []
        for lib in (torch, minigrad):
            layer = table(lib, kind, **options)
            for _ in range(2):
                (layer(lib.tensor(INDEX)) ** 2).sum().backward()
                seen.append(text(layer.weight.grad))
            seen.append(layer.weight.grad._nnz())
        assert seen[:3] == seen[3:], kind
    with pytest.raises(RuntimeError, match="scale_grad_by_freq not supported with sparse gradients"):
        table(minigrad, scale_grad_by_freq=True)(minigrad.tensor(INDEX)).sum().backward()


def test_sparse_and_dense_gradients_add_up():
    seen = []
    for lib in (torch, minigrad):
        layer = table(lib)
        loss = layer(lib.tensor(INDEX)).sum() + (layer.weight * 2).sum()
        loss.backward()
        seen.append(array(layer.weight.grad).tolist())
        found, = lib.autograd.grad(table(lib)(lib.tensor(INDEX)).sum(), [layer.weight], allow_unused=True)
        assert found is None
    assert seen[0] == seen[1]


@pytest.mark.parametrize("make", [
    lambda o, p: o.SGD(p, lr=0.1), lambda o, p: o.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    lambda o, p: o.SGD(p, lr=0.1, maximize=True), lambda o, p: o.Adagrad(p, lr=0.1, lr_decay=0.1),
    lambda o, p: o.SparseAdam(p, lr=0.1), lambda o, p: o.Adam(p, lr=0.1), lambda o, p: o.RMSprop(p, lr=0.1),
    lambda o, p: o.SGD(p, lr=0.1, weight_decay=0.1), lambda o, p: o.Adagrad(p, weight_decay=0.1),
    lambda o, p: o.AdamW(p, lr=0.1), lambda o, p: o.SGD(p, lr=0.1, momentum=0.5, dampening=0.3)])
def test_optimizers(make):
    seen = []
    for lib in (torch, minigrad):
        layer = table(lib)
        optimizer = make(lib.optim, list(layer.parameters()))
        try:
            for k in range(20):
                optimizer.zero_grad()
                (layer(lib.tensor([[1, 2], [1, 5 - k % 2]])) ** 2).sum().backward()
                optimizer.step()
            seen.append(array(layer.weight))
        except Exception as error:
            seen.append((type(error), str(error)))
    if isinstance(seen[0], tuple):
        assert seen[0] == seen[1]
    else:
        np.testing.assert_allclose(seen[1], seen[0], rtol=1e-4, atol=1e-5)


def test_files_go_both_ways():
    for there, here in ((torch, minigrad), (minigrad, torch)):
        made, file = names(there), io.BytesIO()
        there.save({"coo": made["S"], "csr": made["R"], "csc": made["S"].to_sparse_csc()}, file)
        file.seek(0)
        back = here.load(file)
        assert text(back) == text({"coo": made["S"], "csr": made["R"], "csc": made["S"].to_sparse_csc()})


def test_copies_and_modules():
    S = names(minigrad)["S"]
    assert text(pickle.loads(pickle.dumps(S))) == text(S) == text(copy.deepcopy(S))
    layer = minigrad.nn.Module()
    layer.register_buffer("adjacent", S)
    assert layer.double().adjacent.dtype is minigrad.float64
    assert list(layer.state_dict()) == ["adjacent"]


def test_products_of_random_matrices():
    rng = np.random.default_rng(0)
    for shape, other in (((50, 40), (40, 30)), ((1, 7), (7, 1)), ((9, 300), (300, 20))):
        a = rng.standard_normal(shape) * (rng.random(shape) < 0.2)
        b = rng.standard_normal(other) * (rng.random(other) < 0.2)
        x, y = minigrad.tensor(a), minigrad.tensor(b)
        for left, right in ((x.to_sparse(), y), (x, y.to_sparse()), (x.to_sparse(), y.to_sparse()),
                            (x.to_sparse_csr(), y), (x.to_sparse_csc(), y), (x.to_sparse_csr(), y.to_sparse_csr())):
            np.testing.assert_allclose((left @ right).to_dense().numpy(), a @ b, atol=1e-12)
