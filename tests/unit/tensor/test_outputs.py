"""``out=``: which dtypes and shapes it may have, and that no gradient flows through it. The words are PyTorch's."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest

import minigrad
from minigrad import Tensor, complex64, complex128, float32, float64, int32, int64, uint8, zeros
from minigrad.dtype import bool_

X = minigrad.tensor([[1.5, 2.5], [3.5, 4.5]])
INDEX = minigrad.tensor([[0, 0], [1, 1]])


@pytest.mark.parametrize(("call", "kept", "refused", "words"), [
    (lambda out: minigrad.exp(X, out=out), float64, int64,
     "result type Float can't be cast to the desired output type Long"),
    (lambda out: minigrad.mm(X, X, out=out), float32, float64,
     "Expected out tensor to have dtype float, but got double instead"),
    (lambda out: minigrad.gather(X, 0, INDEX, out=out), float32, complex64,
     "Expected out tensor to have dtype float, but got c10::complex<float> instead"),
    (lambda out: minigrad.floor(X, out=out), float32, float64, "Found dtype Double but expected Float"),
    (lambda out: minigrad.amax(X, 0, out=out), float32, float64, "Expected the dtype for input and out to match, but "
     "got Float for input's dtype and Double for out's dtype."),
    (lambda out: minigrad.index_select(X, 0, INDEX[0], out=out), float32, float64,
     r"index_select\(\): self and result must have the same scalar type"),
    (lambda out: minigrad.transpose_copy(X, 0, 1, out=out), float32, float64, "but got double instead"),
    (lambda out: minigrad.zeros(2, dtype=float32, out=out), float32, float64,
     r"dtype Float does not match dtype of out parameter \(Double\)"),
    (lambda out: minigrad.any(X, 0, out=out), uint8, float32, "any only supports bool tensor for result, got: Float"),
    (lambda out: minigrad.all(X.to(uint8), out=out), bool_, int64, "all only supports bool tensor for result, got: L"),
    (lambda out: minigrad.searchsorted(X, X, out=out), int64, int32, "got output tensor's dtype Int and out_int32 flag "
     "is False"),
    (lambda out: minigrad.bucketize(X, X[0], out_int32=True, out=out), int32, int64, "got output tensor's dtype Long "
     "and out_int32 flag is True"),
    (lambda out: minigrad.clip(X, 0, 2, out=out), float32, float64, "Found dtype Double but expected Float"),
    (lambda out: minigrad.clamp_min(X, X, out=out), float64, int64, "result type Float can't be cast to the desired"),
    (lambda out: minigrad.diag(X, out=out), float32, float64, "Expected out tensor to have dtype float, but got d"),
    (lambda out: minigrad.nn.functional.softplus(X, out=out), float32, float64, "Found dtype Double but expected"),
    (lambda out: minigrad.threshold(X, 2, 0, out=out), float64, int64, "result type Float can't be cast to the"),
    (lambda out: minigrad.inverse(X, out=out), float32, float64, "Expected out tensor to have dtype float, but got d"),
    (lambda out: minigrad.fft.ifft(X, out=out), complex64, complex128, "Found dtype ComplexDouble but expected Compl"),
    (lambda out: minigrad.fft.ifft(X.to(complex64), out=out), complex128, float32, "expects a complex output tensor"),
    (lambda out: minigrad.abs(X.to(complex64), out=out), float64, int64, "result type Float can't be cast to the de"),
])
def test_dtypes(call: Callable[[Tensor], Any], kept: Any, refused: Any, words: str) -> None:
    out = zeros(0, dtype=kept)
    assert call(out) is out
    with pytest.raises(RuntimeError, match=words):
        call(zeros(0, dtype=refused))


def test_joined_tensors_raise_a_type_error() -> None:
    with pytest.raises(TypeError, match="input types can't be cast to the desired output type Long"):
        minigrad.stack([X, X], out=zeros(0, dtype=int64))


def test_what_computes_in_the_dtype_of_out() -> None:
    def out() -> Tensor:
        return zeros(0, dtype=int64)

    assert minigrad.cumsum(X[0], 0, out=out()).tolist() == [1, 3]
    assert minigrad.prod(X, 0, out=out()).tolist() == [3, 8]
    assert minigrad.full((2,), 1.5, out=out()).tolist() == [1, 1]
    assert minigrad.linspace(0, 5, 4, out=out()).tolist() == [0, 1, 3, 5]


def test_no_gradient_flows_through_out() -> None:
    x = minigrad.ones(2, requires_grad=True)
    words = r"\(\): functions with out=... arguments don't support automatic differentiation, but one of the arguments"
    for name, call in (("add", lambda: minigrad.add(x, 1, out=zeros(2))),
                       ("add", lambda: minigrad.add(zeros(2), 1, out=x)),
                       ("add", lambda: minigrad.add(zeros(2, dtype=bool_), zeros(2, dtype=bool_), out=x)),
                       ("maximum", lambda: minigrad.maximum(zeros(2, dtype=int64), zeros(2, dtype=int64), out=x)),
                       ("cat", lambda: minigrad.cat([x, x], out=zeros(4))),
                       ("linalg_vector_norm", lambda: minigrad.linalg.vector_norm(x, out=zeros(()))),
                       ("fft_irfft", lambda: minigrad.fft.irfft(x, out=zeros(2))),
                       ("float_power", lambda: minigrad.float_power(x, 2, out=zeros(2, dtype=float64))),
                       ("max", lambda: minigrad.max(x, 0, out=(zeros(()), zeros((), dtype=int64))))):
        with pytest.raises(RuntimeError, match=name + words):
            call()
    assert minigrad.eq(x, 1, out=zeros(2)).tolist() == [1, 1]  # has no gradient anyway
    with minigrad.no_grad():
        assert minigrad.add(x, 1, out=x) is x and x.tolist() == [2, 2] and x.requires_grad


@pytest.mark.parametrize(("call", "words", "words_of_places"), [
    (lambda out: minigrad.cummax(X, 0, out=out), "expected scalar_type Float but found Double", "Long but found Int"),
    (lambda out: minigrad.sort(X, 0, out=out), "Expected out tensor to have dtype float, but got double", "got int"),
    (lambda out: minigrad.kthvalue(X, 1, 0, out=out), "output values must be of same type as input", "type Long"),
    (lambda out: minigrad.median(X, 0, out=out), "type torch.DoubleTensor does not equal torch.FloatTensor", "IntTens"),
    (lambda out: minigrad.mode(X, 0, out=out), "'Float' but got 'Double' for values output", "'Int' for indices"),
])
def test_dtypes_of_several(call: Callable[[Any], Any], words: str, words_of_places: str) -> None:
    good = zeros(0), zeros(0, dtype=int64)
    assert all(a is b for a, b in zip(call(good), good, strict=True))
    with pytest.raises(RuntimeError, match=words):
        call((zeros(0, dtype=float64), zeros(0, dtype=int64)))
    with pytest.raises(RuntimeError, match=words_of_places):
        call((zeros(0), zeros(0, dtype=int32)))


@pytest.mark.parametrize(("call", "types", "words"), [
    (minigrad.svd, (float32,) * 3, "Expected out tensor to have dtype float, but got double instead"),
    (minigrad.qr, (float32,) * 2, "Expected out tensor to have dtype float, but got double instead"),
    (minigrad.frexp, (float32, int32), r"torch.frexp\(\) expects .* dtype .* but got double"),
    (minigrad.histogram, (float32,) * 2, "input tensor and .* tensor should have the same dtype, but got input float"),
])
def test_dtypes_of_each_of_several(call: Callable[..., Any], types: tuple[Any, ...], words: str) -> None:
    good = tuple([zeros(0, dtype=dtype) for dtype in types])
    assert all(a is b and a.numel() for a, b in zip(call(X, out=good), good, strict=True))
    for i in range(len(types)):
        with pytest.raises(RuntimeError, match=words):
            call(X, out=(*good[:i], zeros(0, dtype=float64), *good[i + 1:]))


def test_copies_of_parts() -> None:
    parts = [zeros(1, 2), zeros(2, 2, dtype=int64)]
    assert minigrad.split_copy(X, 1, out=parts) is None
    assert [p.tolist() for p in parts] == [[[1.5, 2.5]], [[3, 4], [3, 4]]]
    with pytest.raises(RuntimeError, match=r"output with shape \[2\] doesn't match the broadcast shape \[1, 2\]"):
        minigrad.split_copy(X, 1, out=[zeros(2), zeros(1, 2)])
    with pytest.raises(RuntimeError, match="but got double instead"):
        minigrad.unbind_copy(X, out=[zeros(0), zeros(0, dtype=float64)])
    for call in (minigrad.unbind_copy, lambda x, out: minigrad.split_copy(x, 1, out=out)):
        with pytest.raises(RuntimeError, match="expected an out= argument of size 2, got size 1"):
            call(X, out=[zeros(2)])
        with pytest.raises(TypeError, match="argument 'out' must be tuple of Tensors, not Tensor"):
            call(X, out=zeros(2))


def test_shapes_of_what_is_made_from_numbers() -> None:
    """They are resized without a warning, and not where they have as many elements as are made in a row."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert minigrad.ones(2, out=zeros(3)).shape == (2,)
        assert minigrad.linspace(0, 3, 4, out=zeros(2, 2)).tolist() == [[0, 1], [2, 3]]
        assert minigrad.arange(4, out=zeros(2, 2)).tolist() == [[0, 1], [2, 3]]
    with pytest.warns(UserWarning, match=r"the out tensor of shape \[2, 3\] is 6 which does not match the computed n"):
        assert minigrad.arange(4, out=zeros(2, 3)).shape == (4,)


def test_shapes() -> None:
    with pytest.warns(UserWarning, match=r"was resized since it had shape \[3\], which does not match the required "
                                         r"output shape \[2, 2\]"):
        assert minigrad.add(X, 1, out=zeros(3)).shape == (2, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        minigrad.add(X, 1, out=zeros(0))
        minigrad.add(X, 1, out=zeros(2, 2))
    for out in ((3,), 3, "x"):
        with pytest.raises(TypeError, match="argument 'out' must be"):
            minigrad.add(X, 1, out=out)
    with pytest.raises(TypeError, match="argument 'out' must be"):
        minigrad.max(X, 0, out=zeros(2))


@pytest.mark.parametrize(("call", "refused", "error", "words"), [
    (lambda out: minigrad.inner(X, X, out=out), float64, RuntimeError, "tensordot: Expected the output tensor to have"),
    (lambda out: minigrad.inner(X, X[0, 0], out=out), int64, RuntimeError, "can't be cast to the desired output type"),
    (lambda out: minigrad.diff(X, n=0, out=out), float64, RuntimeError, "expected scalar_type Float but found Double"),
    (lambda out: minigrad.diff(X, out=out), int64, RuntimeError, "can't be cast to the desired output type Long"),
    (lambda out: minigrad.nansum(X, out=out), int64, NotImplementedError, "\"nansum_cpu\" not implemented for 'Long'"),
    (lambda out: minigrad.nansum(X, dtype=float64, out=out), float32, RuntimeError, "provided dtype must match dtype"),
    (lambda out: minigrad.nanmean(X, 0, out=out), int64, NotImplementedError, "\"nansum_cpu\" not implemented"),
    (lambda out: minigrad.nanmean(X, 0, dtype=float64, out=out), float32, RuntimeError, "provided dtype must match"),
    (lambda out: minigrad.logsumexp(X, 0, out=out), int64, RuntimeError, "floating point type for result tensor, but "),
    (lambda out: minigrad.chain_matmul(X, X, out=out), float64, RuntimeError, "multi_dot.*expected out tensor to hav"),
    (lambda out: minigrad.normal(X, 1.0, out=out.resize_(2, 2)), int64, NotImplementedError, "normal_kernel_cpu"),
    (lambda out: minigrad.normal(0.0, 1.0, (2,), out=out), int64, NotImplementedError, "normal_kernel_cpu"),
    (lambda out: minigrad.normal(X.to(complex64), X, out=out), float32, RuntimeError, "ComplexFloat can't be cast to"),
])
def test_dtypes_that_depend_on_the_call(call: Callable[[Tensor], Any], refused: Any, error: type[Exception],
                                        words: str) -> None:
    with pytest.raises(error, match=words):
        call(zeros(0, dtype=refused))


@pytest.mark.parametrize(("call", "kept"), [
    (lambda out: minigrad.inner(X, X[0, 0], out=out), float64), (lambda out: minigrad.diff(X, out=out), float64),
    (lambda out: minigrad.nansum(X.to(int64), 0, out=out), int32), (lambda out: minigrad.nansum(X, out=out), float64),
    (lambda out: minigrad.nanmean(X, 0, dtype=float64, out=out), float64),
    (lambda out: minigrad.chain_matmul(X, out=out), int64), (lambda out: minigrad.logsumexp(X, 0, out=out), complex64),
    (lambda out: minigrad.normal(0.0, 1.0, (2,), out=out), float64),
])
def test_dtypes_that_the_call_allows(call: Callable[[Tensor], Any], kept: Any) -> None:
    out = zeros(0, dtype=kept)
    assert call(out) is out and out.dtype is kept and out.abs().sum() > 0


def test_means_beside_one_deviation_are_broadcast_with_out() -> None:
    with pytest.warns(UserWarning, match="was resized"):
        assert minigrad.normal(X, 0.0, out=zeros(3, 1, 1)).tolist() == [X.tolist()] * 3
    assert minigrad.normal(X, zeros(2), out=zeros(0)).tolist() == X.tolist()
    for size in ((0,), (3, 2)):
        with pytest.raises(RuntimeError, match=r"The size of tensor a \(2\) must match the size of tensor b"):
            minigrad.normal(X, 1.0, out=zeros(size))


def test_nonzero_writes_rows_only() -> None:
    out = zeros(0, dtype=int64)
    assert minigrad.nonzero(X, out=out) is out and out.shape == (4, 2)
    with pytest.raises(RuntimeError, match="nonzero does not support the out kwarg when as_tuple is True"):
        minigrad.nonzero(X, as_tuple=True, out=out)
    with pytest.raises(TypeError, match=r"nonzero\(\): argument 'out' must be Tensor, not tuple"):
        minigrad.nonzero(X, as_tuple=True, out=(out, out))


def test_means_without_fractions_are_refused() -> None:
    with pytest.raises(RuntimeError, match=r"nanmean\(\): could not infer output dtype. Optional dtype must be"):
        minigrad.nanmean(X, dtype=int64)


def test_activations_that_are_methods_of_tensors() -> None:
    assert X.sub(3).hardshrink(1).tolist() == [[-1.5, 0], [0, 1.5]]
    assert X.sub(3).prelu(minigrad.tensor([2.0, 4.0])).tolist() == [[-3, -2], [0.5, 1.5]]


def test_out_by_position_where_pytorch_has_a_place_for_it() -> None:
    out = zeros(())
    assert minigrad.norm(X[0], 2, None, False, out) is out
    assert out.item() == pytest.approx(8.5 ** 0.5)
    assert minigrad.norm(X[0], 2, None, False, None, float64).dtype is float64
    assert minigrad.tensordot(X[0], X[1], 1, out) is out
    assert out.item() == 16.5
    with pytest.raises(TypeError, match="positional arguments"):
        minigrad.mm(X, X, out)  # type: ignore[call-arg]


@pytest.mark.parametrize("call", [
    lambda out: minigrad.isnan(X, out=out), lambda out: minigrad.trace(X, out=out),
    lambda out: minigrad.swapaxes(X, 0, 1, out=out), lambda out: minigrad.ones_like(X, out=out),
    lambda out: minigrad.einsum("ij->i", X, out=out), lambda out: minigrad.conv1d(X[None], X[None], out=out)])
def test_functions_without_out(call: Callable[[Tensor], Any]) -> None:
    out = zeros(2, 2)
    with pytest.raises(TypeError, match=r"\w+\(\) got an unexpected keyword argument 'out'"):
        call(out)
    assert not out.any()
