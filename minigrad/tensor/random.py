"""Stage: front. In: shapes and distributions. Out: Tensors of random numbers, drawn on the host as PyTorch's CPU
generator draws them, and the in-place fillers ``uniform_``, ``normal_`` …
Next: ``samplers.py``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad import config, lazily
from minigrad.dtype import DType, bool_, int64, uint8, uint32, uint64
from minigrad.engine import leaf_from_numpy
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.ops import cast as cast_array
from minigrad.runtime.device import in_host_memory
from minigrad.tensor import generator as generators
from minigrad.tensor.base import AnyTensor, check_in_place, made, make
from minigrad.tensor.capture import capturing
from minigrad.tensor.definition import both, function
from minigrad.tensor.elements import concrete, known
from minigrad.tensor.function import Function
from minigrad.tensor.generator import Generator
from minigrad.tensor.movement import shape_argument, size_argument
from minigrad.tensor.operands import broadcast_shapes, not_for_complex, whole_number
from minigrad.tensor.outputs import into
from minigrad.tensor.promotion import c_name, get_default_dtype, type_name
from minigrad.tensor.size import resolve
from minigrad.tensor.storage import tracing

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


Draw = Callable[[Any], np.ndarray]


def _source(generator: Generator | None) -> Generator:
    if tracing.names and tracing.level is None:
        raise RuntimeError(f"random numbers can't be drawn while the composite {tracing.names[-1]} is traced: it would "
                           "return the same ones at every call; draw them outside and pass them in")
    return generators.default_generator if generator is None else generator


def _made(draw: Draw, generator: Generator | None, dtype: DType, device: Any, requires_grad: bool = False) -> Tensor:
    result = make(_leaf(draw, generator, dtype, resolve(device)))
    return result.requires_grad_() if requires_grad else result


def _leaf(draw: Draw, generator: Generator | None, dtype: DType, device: str) -> LazyBuffer:
    """A leaf with the numbers that ``draw`` takes from the generator; a jitted function draws anew at each call."""

    def leaf(rows: tuple[int, ...]) -> LazyBuffer:
        source: Any = _source(generator)
        if rows:
            source = lazily.module("minigrad.tensor.in_rows").InRows(source, rows)
        with in_host_memory():
            array = draw(source)
            return leaf_from_numpy(array if array.dtype == dtype.numpy else cast_array(array, dtype), dtype, device)

    return _drawn(leaf)


def _drawn(leaf: Callable[[tuple[int, ...]], LazyBuffer]) -> LazyBuffer:
    """A leaf; inside ``vmap`` one with axes of rows, if each row has numbers of its own."""

    def drawn(rows: tuple[int, ...] = ()) -> LazyBuffer:
        capture = capturing()
        return leaf(rows) if capture is None else capture.drawn(lambda: leaf(rows))

    return drawn() if tracing.level is None else tracing.level.drawn(drawn)


def random_key(device: Any = None, generator: Generator | None = None) -> Tensor:
    """A key for ``random_bits``: 64 bits drawn from the generator, as a run-time argument. So it is another one at each
    call, also in a replayed loop and under ``minigrad.jit``, and the same one if the generator's state is put back.

    >>> _ = manual_seed(0)
    >>> random_key()
    tensor(10123822223749065263, dtype=minigrad.uint64)
    """
    name = resolve(device)
    source = _source(generator)

    def key(rows: tuple[int, ...]) -> LazyBuffer:
        return LazyBuffer.scalar(source.random64(), uint64, name)

    return made(_drawn(key))


def random_bits(key: Tensor, *size: int) -> Tensor:
    """32 random bits for each element, uint32, which follow from the key (Threefry-2x32) and the element's position:
    they are computed where they are used and never stored, and computed again where they are used again.

    >>> from minigrad.tensor import scalar
    >>> random_bits(scalar(0, uint64), 2)
    tensor([1797259609, 1351547692], dtype=minigrad.uint32)
    """
    return _BITS((key,), size)


def dropout_source(size: Sequence[int], p: float, device: Any = None) -> Tensor:
    """What decides which elements dropout keeps: a ``random_key``; with TORCH_RNG=1 what PyTorch draws, a bool Tensor
    of this size, True with probability 1 - ``p``.

    >>> dropout_source((2, 3), 0.5).dtype
    minigrad.uint64
    """
    if not config.get("TORCH_RNG"):
        return random_key(device)
    return _made(lambda g: g.bernoulli(tuple(size), 1 - p), None, bool_, device)


_BITS = Function("random_bits", lambda key, *size: LazyBuffer(Op.RANDOM_BITS, (key,), None, size, uint32, key.device),
                 "RandomBitsBackward0")


@function("manual_seed")
def manual_seed(seed: int) -> Generator:
    """Seed the generator of all random functions, and return it.

    >>> _ = manual_seed(42)
    >>> import minigrad
    >>> minigrad.rand(2)
    tensor([0.8823, 0.9150])
    """
    capture = capturing()
    if capture is not None:
        capture.repeated(lambda: generators.manual_seed(seed))
    return generators.manual_seed(seed)


@function("seed")
def seed() -> int:
    """Seed the generator from the system's entropy, and return the seed."""
    return generators.default_generator.seed()


@function("initial_seed")
def initial_seed() -> int:
    """The seed that the generator was last given."""
    return generators.default_generator.initial_seed()


def _shown(state: np.ndarray) -> Tensor:
    return make(leaf_from_numpy(state, uint8, "CPU"))


Generator.shown = staticmethod(_shown)


@function("get_rng_state")
def get_rng_state() -> Tensor:
    """The state of the generator, for ``set_rng_state``: uint8, shape (5056,), the bytes that PyTorch's has."""
    return generators.default_generator.get_state()


@function("set_rng_state")
def set_rng_state(new_state: Any) -> None:
    """Put the generator into a state that ``get_rng_state`` gave."""
    capture = capturing()
    if capture is not None:
        capture.repeated(lambda: generators.default_generator.set_state(new_state))
    generators.default_generator.set_state(new_state)


def _creator(name: str, draw: Callable[[Generator, tuple[int, ...], DType], np.ndarray], doc: str) -> None:
    def create(*sizes: Any, size: Any = None, generator: Generator | None = None, dtype: DType | None = None,
               device: Any = None, requires_grad: bool = False, layout: Any = None, pin_memory: bool = False) -> Tensor:
        dtype = dtype or get_default_dtype()
        _check_float(name, dtype)
        shape = shape_argument(sizes if size is None else (size,), name)
        return _made(lambda g: draw(g, shape, dtype), generator, dtype, device, requires_grad)

    def create_like(input: Tensor, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False,
                    generator: Generator | None = None, layout: Any = None, pin_memory: bool = False,
                    memory_format: Any = None) -> Tensor:
        dtype = dtype or input.dtype
        _check_float(name, dtype)
        shape = input._shape()
        return _made(lambda g: draw(g, shape, dtype), generator, dtype, device or input.device, requires_grad)

    create.__doc__ = doc
    create_like.__doc__ = f"``{name}`` with the shape, dtype and device of ``input``."
    function(name)(create)
    function(f"{name}_like")(create_like)


def _parts(draw: Callable[..., np.ndarray], shape: tuple[int, ...], dtype: DType) -> np.ndarray:
    """Numbers of a type, drawn as ``draw(shape, dtype)``; of a complex one the parts are drawn one after another."""
    if dtype.kind != "c":
        return draw(shape, dtype)
    return np.ascontiguousarray(draw((*shape, 2), dtype.part)).view(dtype.numpy).reshape(shape)


def _deviation(dtype: DType) -> float:
    """That of a part of a normal complex number, whose variance is that of both together."""
    return math.sqrt(0.5) if dtype.kind == "c" else 1.0


def _check_float(name: str, dtype: DType) -> None:
    if dtype.kind not in "fc":
        kernel = "check_uniform_bounds" if name == "rand" else "normal_kernel_cpu"
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{type_name(dtype)}'")


def _check_real(kernel: str, dtype: DType) -> None:
    """``NotImplementedError`` in the words of PyTorch's kernel for other than floating types."""
    if dtype.kind != "f":
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{type_name(dtype)}'")


def _check_continuous(name: str, dtype: DType, shown: str) -> None:
    if dtype.kind != "f":
        raise RuntimeError(f"{name} distribution is a continuous probability distribution. dtype must be a floating "
                           f"point but you specified {shown}")


def _check_bounds(low: int, high: int, dtype: DType) -> None:
    """``RuntimeError`` for whole numbers in [low, high) that the dtype can't hold."""
    if dtype.kind == "c":
        raise RuntimeError("check_random_bounds handles only integral, floating-point and boolean types")
    for name, value in (("from", low), ("to - 1", high - 1)):
        if low < high and not dtype.min <= value <= dtype.max:
            raise RuntimeError(f"{name} is out of bounds for {c_name(dtype)}")


def _check_uniform(low: float, high: float, dtype: DType) -> None:
    """``RuntimeError`` for bounds, or a distance of them, that the dtype can't hold."""
    part = dtype.part if dtype.kind == "c" else dtype
    for name, value in (("from", low), ("to", high)):
        if not part.min <= value <= part.max:
            raise RuntimeError(f"{name} is out of bounds for {c_name(part)}")
    if high - low > part.max:
        raise RuntimeError(f"uniform_ expects to-from <= std::numeric_limits<{type_name(part)}>::max(), but found "
                           f"to={high:g} and from={low:g} which result in to-from to exceed the limit")


_creator("rand", lambda g, shape, dtype: _parts(lambda s, d: g.uniform(s, 0.0, 1.0, d), shape, dtype),
         "Numbers uniform in [0, 1); of complex ones both parts.")
_creator("randn", lambda g, shape, dtype: _parts(lambda s, d: g.normal(s, 0.0, _deviation(dtype), d), shape, dtype),
         "Normal numbers of mean 0 and deviation 1.")


@function("randint")
def randint(low: Any = 0, high: Any = None, size: Any = None, *, generator: Generator | None = None,
            dtype: DType | None = None, device: Any = None, requires_grad: bool = False, layout: Any = None,
            pin_memory: bool = False) -> Tensor:
    """Integers in [low, high); with two arguments in [0, first). ``TypeError`` for bounds that are not whole.

    >>> _ = manual_seed(42)
    >>> randint(10, (3,))
    tensor([2, 7, 6])
    """
    place = 2
    if size is None or high is None:  # randint(high, size)
        low, high, size, place = 0, low, high if size is None else size, 1
    shape = size_argument("randint", size, place + 1)
    begin, end = whole_number("randint", "low", low, 1), whole_number("randint", "high", high, place)
    _check_bounds(begin, end, dtype or int64)
    return _made(lambda g: g.randint(begin, end, shape), generator, dtype or int64, device, requires_grad)


@function("randint_like")
def randint_like(input: Tensor, low: Any = 0, high: int | None = None, *, dtype: DType | None = None,
                 device: Any = None, generator: Generator | None = None, requires_grad: bool = False,
                 layout: Any = None, pin_memory: bool = False, memory_format: Any = None) -> Tensor:
    """``randint`` with the shape, dtype and device of ``input``."""
    low, high = (0, low) if high is None else (low, high)
    result = randint(low, high, input._shape(), dtype=dtype or input.dtype, device=device or input.device,
                     generator=generator)
    return result.requires_grad_() if requires_grad else result


_WHOLE = {"float16": 2**11 + 1, "float32": 2**24 + 1, "float64": 2**53 + 1}


@function("randperm")
def randperm(n: int, *, generator: Generator | None = None, dtype: DType | None = None, device: Any = None,
             requires_grad: bool = False, layout: Any = None, pin_memory: bool = False) -> Tensor:
    """0 … n-1 in random order. ``TypeError`` if n is not whole, ``RuntimeError`` for more than the dtype holds."""
    kind, n = dtype or int64, whole_number("randperm", "n", n, 1)
    if kind.kind not in "iuf":
        raise NotImplementedError(f"\"randperm\" not implemented for '{type_name(kind)}'")
    if kind.kind == "f" and n > (most := _WHOLE.get(kind.name, n)):
        raise RuntimeError(f"n cannot be greater than {most} for {type_name(kind)} type.")
    if kind.kind in "iu" and n - 1 > kind.max:
        raise RuntimeError(f"value cannot be converted to type {kind.name}_t without overflow")
    return _made(lambda g: g.randperm(n), generator, dtype or int64, device, requires_grad)


@function("normal")
def normal(mean: Any = 0.0, std: Any = 1.0, size: Sequence[int] | None = None, *, generator: Generator | None = None,
           out: Any = None, dtype: DType | None = None, device: Any = None, requires_grad: bool = False,
           layout: Any = None, pin_memory: bool = False) -> Tensor:
    """Normal numbers; ``mean`` and ``std`` are numbers (then with a ``size``) or Tensors; the dtype is that of ``out``
    or the first Tensor. A Tensor of means beside a number is broadcast with ``out``. ``RuntimeError`` for a negative
    deviation; a Tensor's are looked at if they are in memory.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.normal.html
    """
    given = [t for t in (mean, std) if isinstance(t, AnyTensor)]
    if given:
        kind = out.dtype if isinstance(out, AnyTensor) else given[0].dtype
        _check_deviations(std)
        mean, std = [t.detach() if isinstance(t, AnyTensor) else t for t in (mean, std)]
        if isinstance(out, AnyTensor) and not isinstance(std, AnyTensor):
            mean = mean.expand(broadcast_shapes(mean._shape(), out._shape()))
        _check_float("randn", kind)
        shape, wide = (mean + std)._shape(), _deviation(kind)
        noise = _made(lambda g: _parts(lambda s, d: g.normal(s, 0.0, wide, d), shape, kind), generator, kind,
                      given[0].device)
        drawn = noise * std + mean
        return into(out, of_parameters("Normal", drawn.to(kind) if out is None else drawn, given), "normal")
    if size is None:
        raise TypeError(f"normal() received an invalid combination of arguments - got ({type(mean).__name__}, "
                        f"{type(std).__name__}): two numbers need a size")
    kind = dtype or (out.dtype if isinstance(out, AnyTensor) else get_default_dtype())
    _check_float("randn", kind)
    shape, mean, std = shape_argument((tuple(size or ()),)), float(mean), float(std) * _deviation(kind)
    return into(out, _made(lambda g: _parts(lambda s, d: g.normal(s, mean, std, d), shape, kind), generator, kind,
                           device, requires_grad), "randn")


def _check_deviations(std: Any) -> None:
    if not isinstance(std, AnyTensor):
        if not std >= 0:
            raise RuntimeError(f"normal expects std >= 0.0, but found std {std:g}")
        return
    if std.dtype.kind == "c":
        raise RuntimeError("normal expects standard deviation to be non-complex")
    array = None if tracing.level is not None or std._spec is not None else known(std)
    if array is not None and (array < 0).any():
        raise RuntimeError("normal expects all elements of std >= 0.0")


def _as_drawn(*values: LazyBuffer) -> LazyBuffer:
    return values[0].contiguous()


def _no_slopes(inputs: Sequence[LazyBuffer], outputs: Sequence[LazyBuffer], grads: Sequence[Any]) -> list[Any]:
    return [None, *[parameter.like(0) for parameter in inputs[1:]]]


@cache
def _with_parameters(name: str) -> Function:
    return Function(name.lower(), _as_drawn, f"{name}Backward0", _no_slopes)


def of_parameters(name: str, drawn: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """Random numbers, as a function of the parameters that they were drawn with; its gradient is 0."""
    if not any([p.requires_grad for p in parameters]):
        return drawn
    return _with_parameters(name)((drawn, *parameters))


def weights(x: Tensor, what: str) -> np.ndarray:
    """The elements now, on which random numbers depend; under ``vmap`` in all rows."""
    level = tracing.level
    if level is None or not level.is_unknown(x._read()):
        return concrete(x, what)
    if getattr(level, "randomness", "") == "same":
        raise RuntimeError("Vmap does not currently support same randomness with a batched tensor input. Please file "
                           "an issue with functorch")
    return level.array(x._read()).view(lazily.module("minigrad.tensor.in_rows").Whole)


def slopes(x: Tensor, lower: float, upper: float) -> Tensor:
    """Where x is at most 0 a number uniform in [lower, upper), elsewhere 1. Only those numbers are drawn, in x's order
    and with float64's digits, so the elements of x are asked for at once.

    >>> import minigrad
    >>> slopes(minigrad.tensor([1.0, -1.0]), 0.5, 0.5)
    tensor([1.0000, 0.5000])
    """
    low = concrete(x, "rrelu") <= 0

    def draw(generator: Generator) -> np.ndarray:
        result = np.ones(low.shape)
        result[low] = generator.uniform64((int(low.sum()),), lower, upper)
        return result

    return _made(draw, None, x.dtype, x.device)


# --- in place


def drawn_like(x: Tensor, draw: Draw, generator: Generator | None) -> Tensor:
    """A Tensor of x's dtype and device with the numbers that ``draw`` takes from the generator."""
    return _made(draw, generator, x.dtype, x.device)


def _fill(self: Tensor, draw: Draw, generator: Generator | None) -> Tensor:
    return self._adopt(make(_leaf(draw, generator, self.dtype, self._pending().device)))


class Random:
    """Random numbers drawn by this tensor's elements, or filled into it."""

    __slots__ = ()

    @both("bernoulli")
    def bernoulli(self: Tensor, p: Any = None, *, generator: Generator | None = None) -> Tensor:
        """1 with the probability each element gives (or with ``p``), else 0."""
        if p is None:
            _check_real("bernoulli_tensor_cpu_p_", self.dtype)
        chance = weights(self, "bernoulli") if p is None else p
        shape = self._shape()
        drawn = _made(lambda g: g.bernoulli(shape, chance), generator, self.dtype, self.device)
        return of_parameters("Bernoulli", drawn, [self])

    @both("multinomial")
    def multinomial(self: Tensor, num_samples: int, replacement: bool = False, *,
                    generator: Generator | None = None) -> Tensor:
        """Indices drawn with the weights in each row."""
        not_for_complex(self, "multinomial")
        chances = weights(self, "multinomial")
        return _made(lambda g: g.multinomial(chances, num_samples, replacement), generator, int64, self.device)

    # --- in place

    def uniform_(self: Tensor, from_: float = 0.0, to: float = 1.0, *, generator: Generator | None = None) -> Tensor:
        """Filled with numbers uniform in [from_, to)."""
        check_in_place(self)
        _check_float("rand", self.dtype)
        shape, low, high, dtype = self._shape(), float(from_), float(to), self.dtype
        _check_uniform(low, high, dtype)
        return _fill(self, lambda g: _parts(lambda s, d: g.uniform(s, low, high, d), shape, dtype), generator)

    def normal_(self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
        """Filled with normal numbers."""
        check_in_place(self)
        _check_float("randn", self.dtype)
        shape, mean, std, dtype = self._shape(), float(mean), float(std), self.dtype
        std *= _deviation(dtype)
        return _fill(self, lambda g: _parts(lambda s, d: g.normal(s, mean, std, d), shape, dtype), generator)

    def exponential_(self: Tensor, lambd: float = 1.0, *, generator: Generator | None = None) -> Tensor:
        """Filled with exponentially distributed numbers of rate ``lambd``."""
        check_in_place(self)
        _check_continuous("Exponential", self.dtype, type_name(self.dtype))
        shape, rate, dtype = self._shape(), float(lambd), self.dtype
        return _fill(self, lambda g: g.exponential(shape, rate, dtype), generator)

    def log_normal_(self: Tensor, mean: float = 1.0, std: float = 2.0, *,
                    generator: Generator | None = None) -> Tensor:
        """Filled with exp of normal numbers."""
        check_in_place(self)
        _check_real("log_normal_cpu", self.dtype)
        shape, mean, std = self._shape(), float(mean), float(std)
        if not std > 0:
            raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std:g}")
        return _fill(self, lambda g: np.exp(g.normal_pairs(shape) * std + mean), generator)

    def cauchy_(self: Tensor, median: float = 0.0, sigma: float = 1.0, *, generator: Generator | None = None) -> Tensor:
        """Filled with numbers of Cauchy's distribution: median + sigma * tan(π (u - 1/2))."""
        check_in_place(self)
        _check_continuous("Cauchy", self.dtype, c_name(self.dtype))
        shape, median, sigma = self._shape(), float(median), float(sigma)
        if not sigma > 0:
            raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma:g}")
        return _fill(self, lambda g: median + sigma * np.tan(np.pi * (g.uniform64(shape) - 0.5)), generator)

    def geometric_(self: Tensor, p: float, *, generator: Generator | None = None) -> Tensor:
        """Filled with the number of trials up to the first success, which comes with probability ``p`` in each:
        ceil(log(u) / log(1 - p))."""
        check_in_place(self)
        if self.dtype.kind not in "iuf":
            raise NotImplementedError(f"\"geometric_cpu\" not implemented for '{type_name(self.dtype)}'")
        shape, p = self._shape(), float(p)
        if not 0 < p < 1:
            raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p:g}")
        return _fill(self, lambda g: np.ceil(np.log(g.uniform64(shape)) / np.log1p(-p)), generator)

    def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
        """Filled with 1 with probability ``p``, a number or a Tensor, else 0."""
        not_for_complex(self, "bernoulli_")
        check_in_place(self)
        chance = weights(p, "bernoulli_") if isinstance(p, AnyTensor) else float(p)
        shape = self._shape()
        return _fill(self, lambda g: g.bernoulli(shape, chance), generator)

    def random_(self: Tensor, from_: int | None = None, to: int | None = None, *,
                generator: Generator | None = None) -> Tensor:
        """Filled with integers in [from_, to); ``random_(n)`` in [0, n), ``random_()`` over what the dtype holds
        exactly."""
        check_in_place(self)
        shape, dtype = self._shape(), self.dtype
        if from_ is None and to is None:
            not_for_complex(self, "random_")
            return _fill(self, lambda g: g.random(shape, dtype), generator)
        low, high = [whole_number("random_", "to", n) for n in ((0, from_) if to is None else (from_ or 0, to))]
        _check_bounds(low, high, dtype)
        return _fill(self, lambda g: g.randint(low, high, shape), generator)
