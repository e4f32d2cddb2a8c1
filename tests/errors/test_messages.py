"""Every wrong call raises the exception type and the words of this table, which are PyTorch's where it has the call
(``tests/torch`` compares them), and leaves everything working. ``t`` is minigrad."""

from __future__ import annotations

import builtins
import warnings

import numpy as np
import pytest

import minigrad

# program | exception | its words, or how they begin
TABLE = r"""
t.ones(3) + t.ones(4) ⇒ RuntimeError: The size of tensor a (3) must match the size of tensor b (4) at non-singleton dime
t.ones(2, 3) * t.ones(3, 2) ⇒ RuntimeError: The size of tensor a (3) must match the size of tensor b (2) at non-singleto
t.ones(2, 3) @ t.ones(4, 5) ⇒ RuntimeError: mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)
t.ones(2, 3) @ t.ones(4) ⇒ RuntimeError: size mismatch, got input (2), mat (2x3), vec (4)
t.ones(2, 2, 3) @ t.ones(4, 5) ⇒ RuntimeError: mat1 and mat2 shapes cannot be multiplied (4x3 and 4x5)
t.ones(2, 2, 3) @ t.ones(2, 4, 5) ⇒ RuntimeError: Expected size for first two dimensions of batch2 tensor to be: [2, 3]
t.ones(3) @ t.ones(4) ⇒ RuntimeError: inconsistent tensor size, expected tensor [3] and src [4] to have the same number
t.ones(3) @ t.ones(4, 2) ⇒ RuntimeError: mat1 and mat2 shapes cannot be multiplied (1x3 and 4x2)
t.tensor(1.0) @ t.ones(2, 2) ⇒ RuntimeError: both arguments to matmul need to be at least 1D, but they are 0D and 2D
t.ones(2, 2) @ t.ones(2, 2).double() ⇒ RuntimeError: expected m1 and m2 to have the same dtype, but got: float != double
t.ones(2, 2) @ t.ones(2, 2).long() ⇒ RuntimeError: expected m1 and m2 to have the same dtype, but got: float != long
t.nn.functional.linear(t.ones(2, 2).double(), t.ones(2, 2), t.ones(2)) ⇒ RuntimeError: mat1 and mat2 must have the same
t.nn.Linear(2, 3)(t.ones(4, 5, 2, dtype=t.int64)) ⇒ RuntimeError: mat1 and mat2 must have the same dtype, but got Long
t.nn.functional.linear(t.ones(2, 2).double(), t.ones(2, 2), t.ones(2).double()) ⇒ RuntimeError: self and mat2 must have
t.nn.CrossEntropyLoss(t.ones(2, 3), t.ones(2).long()) ⇒ RuntimeError: Boolean value of Tensor with more than one value
t.nn.functional.linear(t.ones(2, 2).half(), t.ones(2, 2)) ⇒ RuntimeError: expected m1 and m2 to have the same dtype
t.ones(6).reshape(5) ⇒ RuntimeError: shape '[5]' is invalid for input of size 6
t.ones(6).reshape(-1, 4) ⇒ RuntimeError: shape '[-1, 4]' is invalid for input of size 6
t.ones(6).reshape(-1, -1) ⇒ RuntimeError: only one dimension can be inferred
t.ones(6).view(4, 2) ⇒ RuntimeError: shape '[4, 2]' is invalid for input of size 6
t.ones(0).reshape(-1, 0) ⇒ RuntimeError: cannot reshape tensor of 0 elements into shape [-1, 0] because the unspecified
t.ones(2, 3).t().view(-1) ⇒ RuntimeError: view size is not compatible with input tensor's size and stride (at least one
t.ones(2, 3).sum(2) ⇒ IndexError: Dimension out of range (expected to be in range of [-2, 1], but got 2)
t.ones(2, 3).sum(-3) ⇒ IndexError: Dimension out of range (expected to be in range of [-2, 1], but got -3)
t.ones(2, 3).sum((0, 0)) ⇒ RuntimeError: dim 0 appears multiple times in the list of dims
t.ones(2, 3).mean(5) ⇒ IndexError: Dimension out of range (expected to be in range of [-2, 1], but got 5)
t.ones(2, 3).softmax(2) ⇒ IndexError: Dimension out of range (expected to be in range of [-2, 1], but got 2)
t.ones(2, 3).max(2) ⇒ IndexError: Dimension out of range (expected to be in range of [-2, 1], but got 2)
t.ones(2, 3).argmax(-4) ⇒ IndexError: Dimension out of range (expected to be in range of [-2, 1], but got -4)
t.ones(2, 3).squeeze(2) ⇒ IndexError: Dimension out of range (expected to be in range of [-2, 1], but got 2)
t.ones(2, 3).unsqueeze(4) ⇒ IndexError: Dimension out of range (expected to be in range of [-3, 2], but got 4)
t.ones(2, 3).transpose(0, 2) ⇒ IndexError: Dimension out of range (expected to be in range of [-2, 1], but got 2)
t.ones(2, 3).permute(0, 0) ⇒ RuntimeError: permute(): duplicate dims are not allowed.
t.ones(2, 3).permute(0) ⇒ RuntimeError: permute(sparse_coo): number of dimensions in the tensor input does not match the
t.ones(2, 3).flatten(1, 0) ⇒ RuntimeError: flatten() has invalid args: start_dim cannot come after end_dim
t.ones(2, 3).expand(3, 3) ⇒ RuntimeError: The expanded size of the tensor (3) must match the existing size (2) at non-si
t.ones(2, 3).expand(3) ⇒ RuntimeError: expand(minigrad.FloatTensor{[2, 3]}, size=[3]): the number of sizes provided (1)
t.ones(2, 3)[2] ⇒ IndexError: index 2 is out of bounds for dimension 0 with size 2
t.ones(2, 3)[0, 3] ⇒ IndexError: index 3 is out of bounds for dimension 1 with size 3
t.ones(2, 3)[0, 0, 0] ⇒ IndexError: too many indices for tensor of dimension 2
t.ones(2, 3)[:, -4] ⇒ IndexError: index -4 is out of bounds for dimension 1 with size 3
t.tensor(1.0)[0] ⇒ IndexError: invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C
t.ones(3)[::-1] ⇒ ValueError: step must be greater than zero
t.ones(3)[1.0] ⇒ IndexError: only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid in
t.ones(3)["a"] ⇒ TypeError: only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid ind
t.ones(3)[t.tensor([3])] ⇒ IndexError: index 3 is out of bounds for dimension 0 with size 3
t.ones(2, 3)[:, t.tensor([0, 3])] ⇒ IndexError: index 3 is out of bounds for dimension 1 with size 3
t.ones(3)[t.tensor([-4])] ⇒ IndexError: index -4 is out of bounds for dimension 0 with size 3
t.ones(3)[t.tensor([1.0])] ⇒ IndexError: tensors used as indices must be long, int, byte or bool tensors
t.ones(2, 3)[t.tensor([True, False, True])] ⇒ IndexError: The shape of the mask [3] at index 0 does not match the shape
t.ones(2, 3)[t.tensor([0, 1]), t.tensor([0, 1, 2])] ⇒ IndexError: shape mismatch: indexing tensors could not be broadcas
t.ones(2, 3).item() ⇒ RuntimeError: a Tensor with 6 elements cannot be converted to Scalar
t.ones(0).item() ⇒ RuntimeError: a Tensor with 0 elements cannot be converted to Scalar
bool(t.ones(2)) ⇒ RuntimeError: Boolean value of Tensor with more than one value is ambiguous
bool(t.ones(0)) ⇒ RuntimeError: Boolean value of Tensor with no values is ambiguous
if_ = 1 if t.ones(2) > 0 else 0 ⇒ RuntimeError: Boolean value of Tensor with more than one value is ambiguous
t.ones(2, dtype=t.complex64).abs_() ⇒ RuntimeError: In-place abs is not supported for complex tensors.
t.ones(3).__index__() ⇒ TypeError: only integer tensors of a single element can be converted to an index
range(t.ones(2)) ⇒ TypeError: only integer tensors of a single element can be converted to an index
len(t.tensor(1.0)) ⇒ TypeError: len() of a 0-d tensor
list(t.tensor(1.0)) ⇒ TypeError: iteration over a 0-d tensor
t.arange(3).mean() ⇒ RuntimeError: mean(): could not infer output dtype. Input dtype must be either a floating point or
t.arange(3).requires_grad_() ⇒ RuntimeError: only Tensors of floating point dtype can require gradients
t.tensor([1], requires_grad=True) ⇒ RuntimeError: only Tensors of floating point dtype can require gradients
t.ones(2, requires_grad=True).numpy() ⇒ RuntimeError: Can't call numpy() on Tensor that requires grad. Use tensor.detach
(t.ones(2, requires_grad=True) * 2).requires_grad_(False) ⇒ RuntimeError: you can only change requires_grad flags of lea
t.ones(2, requires_grad=True).add_(1) ⇒ RuntimeError: a leaf Variable that requires grad is being used in an in-place op
t.ones(2, requires_grad=True)[0].add_(1) ⇒ RuntimeError: a view of a leaf Variable that requires grad is being used in a
t.ones(2).backward() ⇒ RuntimeError: element 0 of tensors does not require grad and does not have a grad_fn
(t.ones(2, requires_grad=True) * 2).backward() ⇒ RuntimeError: grad can be implicitly created only for scalar outputs
t.zeros(2, dtype=t.int8).add_(1.0) ⇒ RuntimeError: result type Float can't be cast to the desired output type Char
t.exp(t.ones(2), out=t.zeros(2, dtype=t.int32)) ⇒ RuntimeError: result type Float can't be cast to the desired output
t.mm(t.ones(2, 2), t.ones(2, 2), out=t.zeros(2, 2).double()) ⇒ RuntimeError: Expected out tensor to have dtype float
t.cat([t.ones(2)], out=t.zeros(2, dtype=t.int32)) ⇒ TypeError: torch.cat(): input types can't be cast to the desired
t.zeros(2, dtype=t.int64).div_(2) ⇒ RuntimeError: result type Float can't be cast to the desired output type Long
t.zeros(2).add_(t.ones(3, 2)) ⇒ RuntimeError: output with shape [2] doesn't match the broadcast shape [3, 2]
t.zeros(2).copy_(t.ones(3)) ⇒ RuntimeError: The size of tensor a (2) must match the size of tensor b (3) at non-singleto
t.zeros(2).copy_(t.ones(1, 2)) ⇒ RuntimeError: output with shape [2] doesn't match the broadcast shape [1, 2]
t.zeros(3, 1).expand(3, 4).add_(1) ⇒ RuntimeError: unsupported operation: more than one element of the written-to tensor
t.cat([t.ones(2, 3), t.ones(3, 2)]) ⇒ RuntimeError: Sizes of tensors must match except in dimension 0. Expected size 3 b
t.cat([t.ones(2, 3), t.ones(3)]) ⇒ RuntimeError: Tensors must have same number of dimensions: got 2 and 1
t.cat([]) ⇒ ValueError: minigrad.cat(): expected a non-empty list of Tensors
t.cat([t.tensor(1.0)]) ⇒ RuntimeError: zero-dimensional tensor (at position 0) cannot be concatenated
t.cat(t.ones(2)) ⇒ TypeError: cat(): argument 'tensors' (position 1) must be tuple of Tensors, not Tensor
t.cat([t.ones(2), 1]) ⇒ TypeError: expected Tensor as element 1 in argument 0, but got int
t.stack([t.ones(2), t.ones(3)]) ⇒ RuntimeError: stack expects each tensor to be equal size, but got [2] at entry 0 and [
t.stack([]) ⇒ RuntimeError: stack expects a non-empty TensorList
t.tensor([[1, 2], [3]]) ⇒ ValueError: expected sequence of length 2 at dim 1 (got 1)
t.tensor([[1, 2], 3]) ⇒ TypeError: not a sequence
t.tensor("a") ⇒ TypeError: new(): invalid data type 'str'
t.tensor("a", dtype=t.float32) ⇒ TypeError: new(): invalid data type 'str'
t.tensor([1, "a"]) ⇒ TypeError: new(): invalid data type 'str'
t.tensor([1, "a"], dtype=t.int64) ⇒ TypeError: 'str' object cannot be interpreted as an integer
t.tensor([1, "a"], dtype=t.float32) ⇒ TypeError: must be real number, not str
t.tensor([1, b"a"]) ⇒ TypeError: new(): invalid data type 'bytes'
t.tensor([1, [2]]) ⇒ TypeError: 'list' object cannot be interpreted as an integer
t.tensor([1.0, [2]]) ⇒ TypeError: must be real number, not list
t.tensor([[1], [[2]]]) ⇒ TypeError: 'list' object cannot be interpreted as an integer
t.tensor(None) ⇒ RuntimeError: Could not infer dtype of NoneType
t.tensor({}) ⇒ RuntimeError: Could not infer dtype of dict
t.tensor([None], dtype=t.float32) ⇒ TypeError: must be real number, not NoneType
t.randint(3) ⇒ TypeError: randint(): argument 'size' (position 2) must be tuple of ints, not NoneType
t.randint(3, 2) ⇒ TypeError: randint(): argument 'size' (position 2) must be tuple of ints, not int
t.randint(3, 4, 2) ⇒ TypeError: randint(): argument 'size' (position 3) must be tuple of ints, not int
t.ones(3).sum(dim="a") ⇒ TypeError: argument 'dim' must be int, not str
t.ones(3).squeeze([0, "a"]) ⇒ TypeError: argument 'dim' must be int, not str
t.ones(2, 2).softmax() ⇒ TypeError: Tensor.softmax() missing 1 required positional argument: 'dim'
t.log_softmax(t.ones(2), None) ⇒ TypeError: argument 'dim' must be int, not NoneType
t.nn.Conv2d(3, 4) ⇒ TypeError: Conv2d.__init__() missing 1 required positional argument: 'kernel_size'
t.nn.Dropout(rate=0.1) ⇒ TypeError: Dropout.__init__() got an unexpected keyword argument 'rate'
t.nn.LSTM(3, 4)(t.ones(5, 2, 3), t.ones(1, 2, 4)) ⇒ IndexError: LSTM takes two states, hx=(h, c), but got a Tensor of le
t.nn.LSTMCell(3, 4)(t.ones(2, 3), t.ones(1, 4)) ⇒ IndexError: LSTMCell takes two states, hx=(h, c), but got a Tensor of
t.zeros(-1) ⇒ RuntimeError: Trying to create tensor with negative dimension -1: [-1]
t.arange(0, 5, -1) ⇒ RuntimeError: upper bound and lower bound inconsistent with step sign
t.arange(0, 5, 0) ⇒ RuntimeError: step must be nonzero
t.ones(2) - True if False else t.tensor([True]) - t.tensor([True]) ⇒ RuntimeError: Subtraction, the `-` operator, with t
-t.tensor([True]) ⇒ RuntimeError: Negation, the `-` operator, on a bool tensor is not supported. If you are trying to in
~t.ones(2) ⇒ TypeError: ~ (operator.invert) is only implemented on integer and Boolean-type tensors
t.ones(2) & t.ones(2) ⇒ NotImplementedError: "bitwise_and_cpu" not implemented for 'Float'
t.ones(2) << 1 ⇒ NotImplementedError: "lshift_cpu" not implemented for 'Float'
t.arange(3) ** -1 ⇒ RuntimeError: Integers to negative integer powers are not allowed.
t.tensor([1]) // 0 ⇒ RuntimeError: ZeroDivisionError
t.where(t.ones(2), 1, 2) ⇒ RuntimeError: where expected condition to be a boolean tensor, but got a tensor with dtype Fl
t.ones(2).masked_fill(t.ones(2), 1) ⇒ RuntimeError: masked_fill_ only supports boolean masks, but got mask with dtype mi
t.exp(2.0) ⇒ TypeError: exp(): argument 'input' (position 1) must be Tensor, not float
t.exp("a") ⇒ TypeError: exp(): argument 'input' (position 1) must be Tensor, not str
t.exp(np.ones(2)) ⇒ TypeError: exp(): argument 'input' (position 1) must be Tensor, not numpy.ndarray
t.nn.Linear(1, 2)([[1.0]]) ⇒ TypeError: linear(): argument 'input' (position 1) must be Tensor, not list
t.nn.functional.layer_norm(1.0, (2,)) ⇒ TypeError: layer_norm(): argument 'input' (position 1) must be Tensor, not float
t.nn.functional.dropout([1.0]) ⇒ TypeError: dropout(): argument 'input' (position 1) must be Tensor, not list
t.nn.functional.cross_entropy(t.ones(1, 2), [0]) ⇒ TypeError: cross_entropy_loss(): argument 'target' (position 2) must
t.nn.functional.one_hot([0]) ⇒ TypeError: one_hot(): argument 'input' (position 1) must be Tensor, not list
t.nn.functional.mse_loss(t.ones(2), np.ones(2)) ⇒ TypeError: mse_loss(): argument 'target' (position 2) must be Tensor,
t.gather(t.ones(2), 0, [0]) ⇒ TypeError: gather(): argument 'index' (position 3) must be Tensor, not list
t.tensor(["a"]) ⇒ ValueError: too many dimensions 'str'
t.ones(3).narrow(0, 2, 2) ⇒ RuntimeError: start (2) + length (2) exceeds dimension size (3).
t.ones(3).split([1, 1]) ⇒ RuntimeError: split_with_sizes expects split_sizes to sum exactly to 3 (input tensor's size at
t.ones(2, 3).chunk(0) ⇒ RuntimeError: chunk expects `chunks` to be greater than 0, got: 0
t.ones(3).unfold(0, 4, 1) ⇒ RuntimeError: maximum size for tensor at dimension 0 is 3 but size is 4
t.ones(0).max() ⇒ RuntimeError: max(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduct
t.ones(0).argmax() ⇒ IndexError: argmax(): Expected reduction dim to be specified for input.numel() == 0.
t.ones(2, 0).max(1) ⇒ IndexError: max(): Expected reduction dim 1 to have non-zero size.
t.ones(3).topk(4) ⇒ RuntimeError: selected index k out of range
t.ones(3).gather(0, t.tensor([[0]])) ⇒ RuntimeError: Index tensor must have the same number of dimensions as input tenso
t.ones(3).gather(0, t.tensor([3])) ⇒ RuntimeError: index 3 is out of bounds for dimension 0 with size 3
t.ones(2, 3).index_select(0, t.tensor([2])) ⇒ IndexError: index out of range in self
t.ones(2, 3).index_select(0, t.tensor([[0]])) ⇒ IndexError: index_select(): Index is supposed to be a vector
t.ones(2, 3).mm(t.ones(2)) ⇒ RuntimeError: mat2 must be a matrix
t.ones(2, 3).dot(t.ones(2)) ⇒ RuntimeError: 1D tensors expected, but got 2D and 1D tensors
t.ones(2).dot(t.ones(3)) ⇒ RuntimeError: inconsistent tensor size, expected tensor [2] and src [3] to have the same numb
t.ones(2, 3, 4).bmm(t.ones(2, 3, 4)) ⇒ RuntimeError: Expected size for first two dimensions of batch2 tensor to be: [2,
t.ones(2).bmm(t.ones(2)) ⇒ RuntimeError: batch1 must be a 3D tensor
t.eye(-1) ⇒ RuntimeError: n must be greater or equal to 0, got -1
t.ones(2).reshape(2.5) ⇒ TypeError: reshape(): argument 'shape' (position 1) must be tuple of ints, not float
t.ones(2).expand('a') ⇒ TypeError: expand(): argument 'size' (position 1) must be tuple of ints, not str
t.randn('a') ⇒ TypeError: randn(): argument 'size' (position 1) must be tuple of ints, not str
t.zeros(2, 'a') ⇒ TypeError: zeros(): argument 'size' failed to unpack the object at pos 2 with error "type must be
t.ones(2).to('float32') ⇒ RuntimeError: Invalid device string: 'float32'
t.ones(2, 3).view(-2, 3) ⇒ RuntimeError: invalid shape dimension -2 at index 0 of shape [-2, 3]
t.ones(2).t().t().unsqueeze(5) ⇒ IndexError: Dimension out of range (expected to be in range of [-2, 1], but got 5)
t.ones(2, 3, 4).t() ⇒ RuntimeError: t() expects a tensor with <= 2 dimensions, but self is 3D
t.rand(2, dtype=t.int64) ⇒ NotImplementedError: "check_uniform_bounds" not implemented for 'Long'
t.randint(3, 3, (2,)) ⇒ RuntimeError: random_ expects 'from' to be less than 'to', but got from=3 >= to=3
t.linspace(0, 1, 3, dtype=t.bool) ⇒ NotImplementedError: "linspace_cpu" not implemented for 'Bool'
t.logspace(0, 1, 3, dtype=t.bool) ⇒ NotImplementedError: "logspace_cpu" not implemented for 'Bool'
t.ones(2).clamp() ⇒ RuntimeError: torch.clamp: At least one of 'min' or 'max' must not be None
t.ones(3).scatter(0, t.tensor([3]), 1.0) ⇒ RuntimeError: index 3 is out of bounds for dimension 0 with size 3
t.full((2,), 3, dtype=t.float32).to("nowhere") ⇒ RuntimeError: Expected one of
t.device("nowhere") ⇒ RuntimeError: Expected one of
t.from_numpy([1]) ⇒ TypeError: expected np.ndarray (got list)
t.from_numpy(np.zeros(2)[::-1]) ⇒ ValueError: At least one stride in the given numpy array is negative, and tensors with
t.ones(2, requires_grad=True).sum().backward(t.ones(2)) ⇒ RuntimeError: Mismatch in shape: grad_output[0] has a shape of
x = t.ones(1, requires_grad=True); y = (x * x).sum(); y.backward(); y.backward() ⇒ RuntimeError: Trying to backward thro
x = t.ones(2); x[t.tensor([5])] = 1 ⇒ IndexError: index 5 is out of bounds for dimension 0 with size 2
x = t.ones(2, 3); x[0] = t.ones(2) ⇒ RuntimeError: The expanded size of the tensor (3) must match the existing size (2)
x = t.ones(2, 3); x[t.tensor([0, 1])] = t.ones(2) ⇒ RuntimeError: shape mismatch: value tensor of shape [2] cannot be br
x = t.ones(3); x[t.tensor([True, False])] = 1 ⇒ IndexError: The shape of the mask [2] at index 0 does not match the shap
x = t.ones(3); x.grad = t.ones(2) ⇒ RuntimeError: attempting to assign a gradient of size '[2]' to a tensor of size '[3]
x = t.ones(3); x.grad = t.ones(3).double() ⇒ RuntimeError: attempting to assign a gradient with dtype 'double' to a tens
x = t.ones(3); x.grad = 1 ⇒ TypeError: assigned grad expected to be a Tensor or None but got grad of type int
x = t.ones(2, requires_grad=True); t.autograd.grad(x.sum() * 2, t.ones(2, requires_grad=True)) ⇒ RuntimeError: The diffe
t.autograd.grad(t.ones(2, requires_grad=True).sum(), t.ones(2)) ⇒ RuntimeError: One of the differentiated Tensors does n
import copy; copy.deepcopy(t.ones(2, requires_grad=True) * 2) ⇒ RuntimeError: Only Tensors created explicitly by the use
t.ones(3) + "a" ⇒ TypeError: unsupported operand type(s) for +: 'Tensor' and 'str'
t.ones(3).add("a") ⇒ TypeError: add(): argument 'other' (position 2) must be Tensor or Number, not str
t.ones(2) @ 2 ⇒ TypeError: unsupported operand type(s) for @: 'Tensor' and 'int'
t.ones(2) < "a" ⇒ TypeError: '<' not supported between instances of 'Tensor' and 'str'
t.ones(2).lt("a") ⇒ TypeError: lt(): argument 'other' (position 2) must be Tensor or Number, not str
t.ones(2).sub(None) ⇒ TypeError: sub(): argument 'other' (position 2) must be Tensor or Number, not NoneType
t.arange(3).addcdiv(t.arange(3), t.arange(3)) ⇒ RuntimeError: Integer division with addcdiv is no longer supported, and
t.arange(3).add(t.arange(3), alpha=1.5) ⇒ RuntimeError: For integral input tensors, argument alpha must not be a floatin
t.ones(2).div(2, rounding_mode="up") ⇒ RuntimeError: div expected rounding_mode to be one of None, 'trunc', or 'floor' b
t.ones(2).lerp(t.ones(2).double(), 0.5) ⇒ RuntimeError: expected dtype float for `end` but got dtype double
t.ones(2).gelu("what") ⇒ RuntimeError: approximate argument must be either none or tanh.
t.ones(2).isclose(t.ones(2).double()) ⇒ RuntimeError: Float did not match Double
t.ones(2).logical_and(1) ⇒ TypeError: logical_and(): argument 'other' (position 2) must be Tensor, not int
t.tensor([True]).floor() ⇒ NotImplementedError: "floor_vml_cpu" not implemented for 'Bool'
t.tensor([True]).relu() ⇒ RuntimeError: Boolean inputs not supported for relu
t.ones(2).masked_fill(t.tensor([True, False]), t.ones(2)) ⇒ RuntimeError: masked_fill_ only supports a 0-dimensional val
t.arange(3).softmax(0) ⇒ NotImplementedError: "softmax_lastdim_kernel_impl" not implemented for 'Long'
t.arange(3).var() ⇒ RuntimeError: std and var only support floating point and complex dtypes
t.arange(3).norm() ⇒ RuntimeError: linalg.vector_norm: Expected a floating point or complex tensor as input. Got Long
t.set_default_dtype(t.int32) ⇒ TypeError: only floating-point types are supported as the default type, got minigrad.int3
t.ones(0, 3).kthvalue(1, 0) ⇒ IndexError: kthvalue(): Expected reduction dim 0 to have non-zero size.
t.ones(3).kthvalue(5) ⇒ RuntimeError: kthvalue(): selected number k out of range for dimension 0
t.ones(3).quantile(2.0) ⇒ RuntimeError: quantile() q must be in the range [0, 1]
t.ones(2, 2).long().bincount() ⇒ RuntimeError: bincount only supports 1-d non-negative integral inputs.
t.tensor([-1]).bincount() ⇒ RuntimeError: bincount only supports 1-d non-negative integral inputs.
t.ones(2).expand(-1, -1) ⇒ RuntimeError: The expanded size of the tensor (-1) isn't allowed in a leading, non-existing d
t.ones(2, 2).repeat(2) ⇒ RuntimeError: Number of dimensions of repeat dims can not be smaller than number of dimensions
t.ones(2).roll((1, 2), 0) ⇒ RuntimeError: shifts and dimensions must align. shifts: 2, dims:1
t.ones(3).flip(0, 0) ⇒ RuntimeError: dim 0 appears multiple times in the list of dims
t.ones(2, 2).unflatten(0, (3, 2)) ⇒ RuntimeError: unflatten: Provided sizes [3, 2] don't multiply up to the size of dim
t.ones(3).trace() ⇒ RuntimeError: trace: expected a matrix, but got tensor with dim 1
t.ones(2).cross(t.ones(2), 0) ⇒ RuntimeError: linalg.cross: inputs dimension 0 must have length 3. Got 2
t.einsum("ij,jk", t.ones(2, 3)) ⇒ RuntimeError: einsum(): fewer operands were provided than specified in the equation
t.einsum("ij->ik", t.ones(2, 3)) ⇒ RuntimeError: einsum(): output subscript k does not appear in the equation for any in
t.einsum("ij,jk", t.ones(2, 3), t.ones(2, 3)) ⇒ RuntimeError: einsum(): subscript j has size 2 for operand 1 which does
t.einsum("i", t.ones(2, 3)) ⇒ RuntimeError: einsum(): the number of subscripts in the equation (1) does not match the nu
t.tensordot(t.ones(2, 3), t.ones(2, 3), 1) ⇒ RuntimeError: contracted dimensions need to match, but first has size 3 in
t.einsum("ij,jk", t.ones(2, 3), t.ones(3, 2).double()) ⇒ RuntimeError: expected scalar type Float but found Double
t.einsum("ii", t.ones(1, 3)) ⇒ RuntimeError: einsum(): subscript i is repeated for operand 0 but the sizes don't match,
t.einsum("...,...", t.ones(2), t.ones(3)) ⇒ RuntimeError: einsum(): dimension 0 covered by ellipsis in operand 1has size
t.einsum("i") ⇒ RuntimeError: einsum(): must provide at least one operand
t.einsum("i->ii", t.ones(3)) ⇒ RuntimeError: einsum(): output subscript i appears more than once in the output
t.einsum("i.", t.ones(3)) ⇒ RuntimeError: einsum(): found '.' for operand 0 that is not part of any ellipsis
t.einsum("1", t.ones(3)) ⇒ RuntimeError: einsum(): invalid subscript given at index 0 in the equation string, subscripts
t.einsum(t.ones(3), [52]) ⇒ ValueError: einsum(): subscripts in subscript list are not within the valid range [0, 52)
t.tensordot(t.ones(3), t.ones(2, 3), 1) ⇒ RuntimeError: contracted dimensions need to match, but first has size 3 in dim
t.tensordot(t.ones(3, 3), t.ones(3, 3), ([0, 0], [0, 1])) ⇒ RuntimeError: dim 0 appears multiple times in the list of di
t.tensordot(t.ones(3, 3), t.ones(3, 3), ([0, 1], [0])) ⇒ RuntimeError: both dimension lists should have same length
t.tensordot(t.ones(3), t.ones(3).double(), 1) ⇒ RuntimeError: both inputs should have same dtype
t.tensordot(t.tensor(3.0), t.ones(3), ([0], [0])) ⇒ IndexError: Dimension specified as 0 but tensor has no dimensions
t.inner(t.ones(3), t.ones(2).double()) ⇒ RuntimeError: inner() the last dimension must match on both input tensors but g
t.inner(t.ones(3), t.ones(3).double()) ⇒ RuntimeError: both inputs should have same dtype
t.outer(t.ones(3), t.ones(3, 1)) ⇒ RuntimeError: outer: Expected 1-D argument vec2, but got 2-D
t.mv(t.ones(2, 3), t.ones(3).double()) ⇒ RuntimeError: addmv input tensors must have the same dtype, but got Double, Flo
t.mv(t.ones(2, 3).bool(), t.ones(3).bool()) ⇒ NotImplementedError: "addmv_impl_cpu" not implemented for 'Bool'
t.mv(t.tensor(1.0), t.ones(3)) ⇒ IndexError: Dimension specified as 0 but tensor has no dimensions
t.ones(2, 2, 3) @ t.ones(2, 3, 2).double() ⇒ RuntimeError: expected scalar type Float but found Double
t.ones(2, 2, 3).bool() @ t.ones(2, 3, 2).bool() ⇒ NotImplementedError: "bmm" not implemented for 'Bool'
t.ones(3).double() @ t.ones(4, 2) ⇒ RuntimeError: mat1 and mat2 shapes cannot be multiplied (1x3 and 4x2)
t.ones(2, 2).bool().trace() ⇒ NotImplementedError: "trace" not implemented for 'Bool'
t.meshgrid(t.ones(2), indexing="a") ⇒ RuntimeError: meshgrid: indexing must be one of "xy" or "ij", but received: a
t.ones(2).tril() ⇒ RuntimeError: tril: input tensor must have at least 2 dimensions
t.ones(2, 2, 2).diag() ⇒ RuntimeError: diag(): Supports 1D or 2D tensors. Got 3D
t.ones(2, 2).diagonal(0, 0, 0) ⇒ RuntimeError: diagonal dimensions cannot be identical 0, 0
t.ones(2).mT ⇒ RuntimeError: tensor.mT is only supported on matrices or batches of matrices. Got 1-D tensor.
t.movedim(t.ones(2, 2), (0, 1), 0) ⇒ RuntimeError: movedim: Invalid source or destination dims: source ([0, 1] dims) sh
t.tensor(2**70) ⇒ ValueError: Overflow when unpacking long long
t.tensor([None]) ⇒ RuntimeError: Could not infer dtype of NoneType
t.full((2,), -1, dtype=t.float32).masked_select(t.ones(2)) ⇒ RuntimeError: masked_select: expected BoolTensor for mask
t.linspace(0, 1, -1) ⇒ RuntimeError: number of steps must be non-negative
t.arange(float("inf")) ⇒ RuntimeError: unsupported range: 0 -> inf
t.one_hot(t.ones(2)) ⇒ RuntimeError: one_hot is only applicable to index tensor of type LongTensor.
t.one_hot(t.tensor([3]), 2) ⇒ RuntimeError: Class values must be smaller than num_classes.
t.zeros(3).scatter(0, t.tensor([0]), t.ones(1).double()) ⇒ RuntimeError: scatter(): Expected self.dtype to be equal to s
t.zeros(3).scatter(0, t.tensor([0]), 1.0, reduce="what") ⇒ RuntimeError: reduce argument must be either add or multiply.
t.zeros(3).scatter_reduce(0, t.tensor([0]), t.ones(1), "what") ⇒ RuntimeError: reduce argument must be either sum,
t.zeros(3).scatter(0, t.tensor([0, 1]), t.ones(1)) ⇒ RuntimeError: Expected index [2] to be no larger than self [3] apar
t.zeros(3).index_add(0, t.tensor([0.0]), t.ones(1)) ⇒ RuntimeError: index_add_(): Expected dtype int32/int64 for
t.ones(3).view(t.float64) ⇒ RuntimeError: self.size(-1) must be divisible by 2 to view Float as Double (different elemen
t.ones(4)[1:3].view(t.int64) ⇒ RuntimeError: self.storage_offset() must be divisible by 2 to view Float as Long (differe
t.ones(2, 3)[:, :2].view(t.int64) ⇒ RuntimeError: self.stride(0) must be divisible by 2 to view Float as Long (different
t.ones(2, 3).t().view(t.int16) ⇒ RuntimeError: self.stride(-1) must be 1 to view Float as Short (different element sizes
t.tensor(1.0).view(t.int16) ⇒ RuntimeError: self.dim() cannot be 0 to view Float as Short (different element sizes)
t.ones(6).as_strided((2, 3), (1,)) ⇒ RuntimeError: mismatch in length of strides and shape
t.ones(6).as_strided((2, 3), (1, -2)) ⇒ RuntimeError: as_strided: Negative strides are not supported at the moment, got
t.ones(6).as_strided((2, -3), (1, 2)) ⇒ RuntimeError: Storage size calculation overflowed with sizes=[2, -3] and strides
t.ones(6).as_strided((2, 3), (1, 2), -1) ⇒ RuntimeError: Tensor: invalid storage offset -1
t.ones(6).as_strided((2, 3), (1, 2), 1) ⇒ RuntimeError: setStorage: sizes [2, 3], strides [1, 2], storage offset 1, and
t.ones(2).fill_(t.ones(2)) ⇒ RuntimeError: fill_ only supports 0-dimension value tensor but got tensor with 1 dimensions
t.ones(3)[[[0], [1, 2]],] ⇒ IndexError: an index should be even in all its rows, got [[0], [1, 2]]
t.ones(3).select(0, 5) ⇒ IndexError: select(): index 5 out of range for tensor of size [3] at dimension 0
t.tensor(1.0).select(0, 0) ⇒ IndexError: select() cannot be applied to a 0-dim tensor.
t.tensor(1.0).unbind() ⇒ IndexError: Dimension specified as 0 but tensor has no dimensions
t.tensor(1.0).size(0) ⇒ IndexError: Dimension specified as 0 but tensor has no dimensions
t.ones(2).backward(t.ones(2)) ⇒ RuntimeError: element 0 of tensors does not require grad and does not have a grad_fn
t.ones(2).retain_grad() ⇒ RuntimeError: can't retain_grad on Tensor that has requires_grad=False
t.ones(2).register_hook(print) ⇒ RuntimeError: cannot register a hook on a tensor that doesn't require gradient
(t.ones(2, requires_grad=True) * 1).register_post_accumulate_grad_hook(print) ⇒ RuntimeError: post accumulate grad hooks
t.ones(2, requires_grad=True)[:1].detach_() ⇒ RuntimeError: Can't detach views in-place. Use detach() instead. If you ar
float(t.ones(2)) ⇒ ValueError: only one element tensors can be converted to Python scalars
format(t.ones(2), ".2f") ⇒ TypeError: unsupported format string passed to Tensor.__format__
None in t.ones(2) ⇒ RuntimeError: Tensor.__contains__ only supports Tensor or scalar, but you passed in a <class 'NoneTy
t.autograd.backward([t.ones(1, requires_grad=True)], [None, None]) ⇒ RuntimeError: got 1 tensors and 2 gradients
t.autograd.backward(t.ones(1, requires_grad=True), inputs=[]) ⇒ RuntimeError: `inputs` argument to `backward()` cannot
x = t.ones(1, requires_grad=True); t.autograd.grad(x, x, t.ones(1), is_grads_batched=True) ⇒ RuntimeError: If `is_grad
t.ones(2, device="cc") + t.ones(2, device="cpu") ⇒ RuntimeError: Expected all tensors to be on the same device, but foun
t.ones(2, 2, device="cc") @ t.ones(2, 2, device="cpu") ⇒ RuntimeError: Expected all tensors to be on the same device, bu
t.device(3) ⇒ TypeError: device() expects a name such as 'cpu', got 3
t.device("cpu:1") ⇒ RuntimeError: invalid device ordinal in 'cpu:1'
t.randint(0, 0, (2,)) ⇒ RuntimeError: random_ expects 'from' to be less than 'to', but got from=0 >= to=0
t.ones(2).uniform_(3, 1) ⇒ RuntimeError: uniform_ expects to return a [from, to) range, but found from=3 > to=1
t.rand(2, dtype=t.int64) ⇒ NotImplementedError: "check_uniform_bounds" not implemented for 'Long'
t.bernoulli(t.tensor([2.0])) ⇒ RuntimeError: Expected p_in >= 0 && p_in <= 1 to be true, but got false.
t.multinomial(t.tensor([-1.0]), 1) ⇒ RuntimeError: probability tensor contains either `inf`, `nan` or element < 0
t.randperm(-1) ⇒ RuntimeError: n must be non-negative, got -1
t.ones(2, 3).sum(0, 1) ⇒ TypeError: sum(): argument 'keepdim' (position 2) must be bool, not int
t.sum(t.ones(2, 3), 0, 1) ⇒ TypeError: sum(): argument 'keepdim' (position 3) must be bool, not int
t.ones(2, 3).amax(0, keepdim=1) ⇒ TypeError: amax(): argument 'keepdim' must be bool, not int
t.ones(2, 3).argmax(0, np.True_) ⇒ TypeError: argmax(): argument 'keepdim' (position 2) must be bool, not numpy.bool
t.ones(2).topk(1, 0, None) ⇒ TypeError: topk(): argument 'largest' (position 3) must be bool, not NoneType
t.ones(2).requires_grad_('a') ⇒ TypeError: requires_grad_(): argument 'requires_grad' (position 1) must be bool, not str
t.zeros(2, requires_grad=1) ⇒ TypeError: zeros(): argument 'requires_grad' must be bool, not int
t.Tensor(2.5) ⇒ TypeError: new(): data must be a sequence (got float)
t.LongTensor(True) ⇒ TypeError: new(): data must be a sequence (got bool)
t.full(2, 1.0) ⇒ TypeError: full(): argument 'size' (position 1) must be tuple of ints, not int
t.randint(3.5, (2,)) ⇒ TypeError: randint(): argument 'high' (position 1) must be int, not float
t.randperm(2.5) ⇒ TypeError: randperm(): argument 'n' (position 1) must be int, not float
t.eye(2.0) ⇒ TypeError: eye(): argument 'n' (position 1) must be int, not float
t.zeros(3).put_(t.tensor([0]), t.ones(1), 1) ⇒ TypeError: put_(): argument 'accumulate' (position 3) must be bool, not
t.zeros(3).scatter_reduce_(0, t.tensor([0]), t.ones(1), 'sum', include_self=1) ⇒ TypeError: scatter_reduce_(): argument
t.nn.functional.batch_norm(t.ones(2, 3), t.zeros(3, requires_grad=True), t.ones(3)) ⇒ RuntimeError: The function 'native
t.ones(1, 2, 1).squeeze(0, 0) ⇒ RuntimeError: dim 0 appears multiple times in the list of dims
t.ones(1, 2, 1).squeeze(0, dim=2) ⇒ TypeError: squeeze() received an invalid combination of arguments
"""


@pytest.mark.parametrize("row", TABLE.strip().splitlines())
def test_error(row: str) -> None:
    program, _, expected = row.partition(" ⇒ ")
    kind, _, words = expected.partition(": ")
    with pytest.raises(getattr(builtins, kind)) as caught:
        exec(program, {"t": minigrad, "np": np})
    assert str(caught.value).startswith(words)
    assert (minigrad.ones(2) + 1).tolist() == [2, 2]


def test_flags_that_may_be_none() -> None:
    """``requires_grad`` of what makes Tensors; and those whose default is None."""
    assert not minigrad.zeros(2, requires_grad=None).requires_grad
    assert minigrad.ones(2, 3).std(0, None).shape == (3,)


def test_a_tensor_of_a_tensor_warns() -> None:
    """As PyTorch does, at the caller's line; ``as_tensor`` does not."""
    x = minigrad.ones(2)
    with pytest.warns(UserWarning, match="To copy construct from a tensor") as caught:
        assert minigrad.tensor(x).tolist() == [1, 1]
    assert [warning.filename for warning in caught] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        minigrad.as_tensor(x, minigrad.float64)
        minigrad.tensor([x[0], x[1]])
