"""Stage: tests. In: functions that few programs use. Out: their values at the corners, by constants and by what must
hold; ``tests/torch`` compares all of them with PyTorch.
Next: ``test_numpy_memory.py``."""

from __future__ import annotations

import math

import pytest

import minigrad
from minigrad import tensor

NAN, INF = math.nan, math.inf


def same(result: minigrad.Tensor, expected: list) -> None:
    assert repr(result.tolist()) == repr(expected)  # tells -0.0 from 0.0, and NaN equals NaN


def test_signs_and_exponents() -> None:
    x = tensor([0.0, -0.0, -2.5, INF, NAN])
    same(x.copysign(tensor(-0.0)), [-0.0, -0.0, -2.5, -INF, NAN])
    same(x.signbit(), [False, True, True, False, False])
    mantissa, exponent = tensor([0.0, -2.5, 1e-45, INF]).frexp()
    same(mantissa, [0.0, -0.625, 0.5, INF])
    same(exponent, [0, 2, -148, 0])
    assert bool((mantissa.ldexp(exponent) == tensor([0.0, -2.5, 1e-45, INF])).all())
    same(tensor([1.0, 0.0, 0.0]).nextafter(tensor([2.0, 1.0, 0.0])), [1.0000001192092896, 1.401298464324817e-45, 0.0])
    same(tensor([NAN, 1.0, 0.0]).fmax(tensor([2.0, NAN, -0.0])), [2.0, 1.0, 0.0])
    same(tensor([3e38, 0.0, NAN]).hypot(tensor([0.0, 0.0, INF])), [3.0000000054977558e38, 0.0, INF])
    same(tensor([-1.0, 0.0, NAN]).heaviside(tensor(7.0)), [0.0, 7.0, 0.0])


def test_common_divisors() -> None:
    a, b = tensor([7540113804746346429, 12, 0, -8]), tensor([4660046610375530309, 18, 0, 12])
    same(a.gcd(b), [1, 6, 0, 4])  # the first are two Fibonacci numbers, which take the most steps
    same(a[1:].lcm(b[1:]), [36, 0, 24])


def test_slopes_of_pairs() -> None:
    x, y = tensor([3.0, -1.0], requires_grad=True), tensor([4.0, -1.0], requires_grad=True)
    (x.hypot(y) + x.fmax(y) + x.copysign(y)).sum().backward()
    assert x.grad is not None and y.grad is not None
    root = math.sqrt(0.5)
    assert (x.grad - tensor([0.6 + 0 + 1, -root + 1 + 1])).abs().max().item() < 1e-6
    assert (y.grad - tensor([0.8 + 1, -root])).abs().max().item() < 1e-6


def test_largest_of_several_share_the_gradient() -> None:
    x, source = tensor([3.0, 0.0], requires_grad=True), tensor([3.0, 1.0, 3.0], requires_grad=True)
    out = x.scatter_reduce(0, tensor([0, 1, 0]), source, "amax")
    (out * tensor([3.0, 5.0])).sum().backward()
    assert x.grad is not None and source.grad is not None
    same(out, [3.0, 1.0])
    same(x.grad, [1.0, 0.0])
    same(source.grad, [1.0, 5.0, 1.0])


def test_differences_and_integrals() -> None:
    x = tensor([1.0, 4.0, 9.0, 16.0])
    same(x.diff(2), [2.0, 2.0])
    same(minigrad.gradient(x, edge_order=2)[0], [2.0, 4.0, 6.0, 8.0])
    same(minigrad.cumulative_trapezoid(x)[-1:], [minigrad.trapezoid(x).item()])
    same(tensor([True, False]).diff(), [True])


def test_quantiles() -> None:
    x = tensor([[1.0, NAN, 3.0], [4.0, 2.0, 8.0]])
    same(x.quantile(0.5, 1), [NAN, 4.0])
    same(x.nanquantile(tensor([0.5, 1.0]), 1), [[2.0, 4.0], [3.0, 8.0]])
    same(x.nanmedian(1).values, [1.0, 4.0])
    same(tensor([3.0, 1.0]).quantile(0.5, interpolation="higher"), 3.0)
    with pytest.raises(RuntimeError, match=r"quantile\(\) q must be in the range \[0, 1\]"):
        x.quantile(2.0)
    values, places = tensor([[1, 2, 2, 1], [5, 6, 7, 7]]).mode()
    same(values, [1, 7])
    same(places, [3, 3])


def test_parts_are_replaced_in_a_copy() -> None:
    x = minigrad.zeros(2, 3, requires_grad=True)
    part = minigrad.ones(2, requires_grad=True)
    out = x.select_scatter(part, 1, 2)
    out.sum().backward()
    assert x.grad is not None and part.grad is not None
    same(out, [[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    same(x.grad, [[1.0, 1.0, 0.0], [1.0, 1.0, 0.0]])
    same(part.grad, [1.0, 1.0])
    with pytest.raises(RuntimeError, match="expected src to have a size equal to the slice of self"):
        x.select_scatter(minigrad.ones(3), 1, 2)


def test_memory_of_others(tmp_path) -> None:
    memory = bytearray(8)
    x = minigrad.frombuffer(memory, dtype=minigrad.float32)
    x[1] = 1.0
    assert bytes(memory) == b"\0\0\0\0\0\0\x80\x3f"
    name = str(tmp_path / "numbers")
    minigrad.from_file(name, shared=True, size=2, dtype=minigrad.int32).fill_(5)
    private = minigrad.from_file(name, size=2, dtype=minigrad.int32)
    same(private, [5, 5])
    private.zero_()
    same(minigrad.from_file(name, size=2, dtype=minigrad.int32), [5, 5])
    storage = minigrad.UntypedStorage.from_file(name, nbytes=8)  # as safetensors opens a file
    storage[4] = 7
    assert storage[4:].tolist() == [7, 0, 0, 0] and minigrad.UntypedStorage.from_file(name, False, 8)[4] == 5
    minigrad.UntypedStorage.from_file(name, shared=True, nbytes=12)[8] = 3
    same(minigrad.from_file(name, size=3, dtype=minigrad.int32), [5, 5, 3])
    assert minigrad.UntypedStorage.from_file(name).nbytes() == 0
    with pytest.raises(RuntimeError, match="size <12> is smaller than the required mapping size <16>"):
        minigrad.from_file(name, size=4, dtype=minigrad.int32)
    with pytest.raises(RuntimeError, match=r"unable to open file <nowhere> in read-only mode: No such file"):
        minigrad.UntypedStorage.from_file("nowhere", nbytes=1)


def test_a_list_of_tensors_is_one_run() -> None:
    tensors = [minigrad.ones(3), minigrad.ones(2, 2)]
    minigrad._foreach_mul_(tensors, 2.0)
    minigrad._foreach_add_(tensors, tensors, alpha=0.5)
    same(tensors[0], [3.0, 3.0, 3.0])
    same(minigrad._foreach_norm(tensors)[1], 6.0)
    with pytest.raises(RuntimeError, match="Tensor lists must have the same number of tensors, got 2 and 1"):
        minigrad._foreach_add(tensors, [1.0])


def test_pytorchs_names_of_arguments() -> None:
    x = minigrad.arange(4)
    same(minigrad.split(tensor=x, split_size_or_sections=3)[1], [3])
    assert minigrad.swapaxes(x.reshape(1, 4), axis0=0, axis1=1).shape == (4, 1)


def test_hashes_are_exclusive_ors_of_patterns() -> None:
    x = minigrad.tensor([[1.5, -2.0, 7.0], [1.0, 2.0, 3.0]])
    patterns = x.double().view(minigrad.int64).tolist()
    hashes = [(a ^ b ^ c) % 2**64 for a, b, c in patterns]
    assert minigrad.hash_tensor(x, 1, keepdim=True).tolist() == [[h] for h in hashes]
    assert x.hash_tensor().item() == hashes[0] ^ hashes[1] and x.hash_tensor().dtype is minigrad.uint64
    whole = minigrad.arange(12).reshape(3, 4) - 5
    assert whole.hash_tensor(0).tolist() == [7, 2**64 - 8, 2**64 - 7, 2**64 - 6]  # PyTorch's
    assert whole.hash_tensor((0, 1)).item() == whole.hash_tensor().item() == 2**64 - 4
    for call, error, words in (
            (lambda: minigrad.ones(0).hash_tensor(), RuntimeError, "Expected reduction dim to be specified"),
            (lambda: minigrad.ones(0, 2).hash_tensor(0), IndexError, "Expected reduction dim 0 to have non-zero size"),
            (lambda: x.hash_tensor(mode=1), RuntimeError, "Unknown hash_tensor mode: 1"),
            (lambda: (x + 1j).hash_tensor(), NotImplementedError, "xor_sum_cpu")):
        with pytest.raises(error, match=words):
            call()


def test_new_memory_with_strides() -> None:
    made = minigrad.ones(1, dtype=minigrad.int8).new_empty_strided((2, 3), (1, 2))
    assert made.shape == (2, 3) and made.stride() == (1, 2) and made.dtype is minigrad.int8
    assert minigrad.ones(1).new_empty_strided((2,), (1,), dtype=minigrad.int16).dtype is minigrad.int16


def test_powers_of_integers_are_int64() -> None:
    for count in range(4):
        assert minigrad.vander(minigrad.ones(2, dtype=minigrad.int8), count).dtype is minigrad.int64
    with pytest.raises(RuntimeError, match="Tensor dimension is 1, expected 2 instead."):
        minigrad.chain_matmul(minigrad.ones(2, 2), minigrad.ones(2))
    with pytest.raises(RuntimeError, match="Expected one or more matrices"):
        minigrad.chain_matmul()


def test_slopes_at_nan() -> None:
    """Of a part that ``renorm`` leaves as it is 1; of a distance that counts, ``cdist`` with p = 0, 0."""
    nan = float("nan")
    x = minigrad.tensor([[nan, 1.0], [3.0, 4.0]], requires_grad=True)
    x.renorm(2, 0, 0.5).sum().backward()
    assert x.grad[0].tolist() == [1.0, 1.0]
    minigrad.testing.assert_close(x.grad[1], minigrad.tensor([0.016, -0.012]))
    y = minigrad.tensor([[nan, 1.0]], requires_grad=True)
    minigrad.cdist(y, minigrad.tensor([[0.0, 0.0]]), 0.0).sum().backward()
    assert y.grad.tolist() == [[0.0, 0.0]]


def test_second_slope_of_hardswish_at_infinity() -> None:
    x, g = minigrad.tensor([math.inf, -math.inf, 6.0], requires_grad=True), minigrad.ones(3, requires_grad=True)
    slope, = minigrad.autograd.grad(minigrad.nn.functional.hardswish(x), x, g, create_graph=True)
    assert minigrad.autograd.grad(slope.sum(), g)[0].tolist() == [1.0, 0.0, 1.0]


def test_lu_unpack_of_no_rows() -> None:
    found = minigrad.lu_unpack(minigrad.zeros(0, 5), minigrad.ones(3, dtype=minigrad.int32))
    assert [t.tolist() for t in found] == [[], [], []]
