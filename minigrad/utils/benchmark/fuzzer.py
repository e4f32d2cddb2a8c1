"""Stage: measuring. In: what sizes and layouts may be. Out: Tensors of sizes and layouts drawn at random, to time a
statement on more than the one shape that somebody thought of.
Next: ``compare.py``.

https://docs.pytorch.org/docs/stable/benchmark_utils.html
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from minigrad.dtype import DType, float32
from minigrad.tensor import Tensor, manual_seed, rand, randint

MOST_TRIES = 1000
"""Sets of parameters that are drawn, one after another, to find a valid one."""

T = TypeVar("T")
Parameters = dict[str, Any]


class FuzzedParameter:
    """A number, or a choice, that is drawn anew for each set of Tensors.

    ``distribution``: ``"uniform"`` from ``minval`` to ``maxval``, both included; ``"loguniform"``, whose logarithm is
    uniform: from 1 to 100 as often below 10 as above; or a dictionary from choices to their probabilities, which
    sum to 1: then there are no bounds. Between two integers it is an integer, else a float. A ``strict`` one keeps its
    value while the others are drawn again until all fit together: so a bound on the size does not make axes fewer.

    Raises ``ValueError`` for a distribution that is not known or does not sum to 1, for bounds that are missing, or
    that a dictionary has no need of, and for a ``"loguniform"`` from 0 or below.

    Differs from PyTorch 2.13, which refuses dictionaries whose probabilities sum to 1, and whose "loguniform" never
    gives ``maxval``, and sometimes gives integers between floats.

    Source: https://docs.pytorch.org/docs/stable/benchmark_utils.html#torch.utils.benchmark.FuzzedParameter

    >>> state = np.random.RandomState(0)
    >>> rows = FuzzedParameter("rows", 1, 4, "uniform")
    >>> sorted({rows.sample(state) for _ in range(100)})
    [1, 2, 3, 4]
    >>> FuzzedParameter("rows", distribution={8: 0.5, 9: 0.25})
    Traceback (most recent call last):
    ValueError: FuzzedParameter 'rows': the probabilities sum to 0.75, not to 1
    """

    def __init__(self, name: str, minval: float | None = None, maxval: float | None = None,
                 distribution: str | dict[Any, float] | None = None, strict: bool = False) -> None:
        self._name, self.strict = name, strict
        self._low, self._high = minval, maxval
        self._distribution = distribution
        if isinstance(distribution, dict):
            self._check_choices(distribution)
        elif distribution not in ("uniform", "loguniform"):
            raise ValueError(f"Unknown distribution: {distribution}. It may be 'uniform', 'loguniform' or a dictionary "
                             "from choices to probabilities")
        elif minval is None or maxval is None:
            raise ValueError(f"FuzzedParameter {name!r}: a {distribution} distribution needs minval and maxval")
        elif minval > maxval:
            raise ValueError(f"FuzzedParameter {name!r}: minval {minval} is above maxval {maxval}")
        elif distribution == "loguniform" and minval <= 0:
            raise ValueError(f"FuzzedParameter {name!r}: a loguniform distribution needs minval above 0, not {minval}")

    def _check_choices(self, choices: dict[Any, float]) -> None:
        if self._low is not None or self._high is not None:
            raise ValueError(f"FuzzedParameter {self._name!r}: with a dictionary there is no minval and no maxval")
        if any([p < 0 for p in choices.values()]):
            raise ValueError(f"FuzzedParameter {self._name!r}: Probabilities cannot be negative")
        total = sum(choices.values())
        if abs(total - 1) > 1e-5:
            raise ValueError(f"FuzzedParameter {self._name!r}: the probabilities sum to {total:g}, not to 1")

    @property
    def name(self) -> str:
        """What Tensors call it in their sizes."""
        return self._name

    def sample(self, state: np.random.RandomState) -> Any:
        """A value."""
        choices = self._distribution
        if isinstance(choices, dict):
            ends = np.cumsum(list(choices.values()))
            at = int(np.searchsorted(ends, state.uniform(0.0, ends[-1]), side="right"))
            return list(choices)[min(at, len(choices) - 1)]
        low, high = self._low, self._high
        assert low is not None and high is not None
        if isinstance(low, int) and isinstance(high, int):
            if choices == "uniform":
                return int(state.randint(low, high + 1))
            return min(max(int(math.exp(state.uniform(math.log(low), math.log(high + 1)))), low), high)
        if choices == "uniform":
            return float(state.uniform(low, high))
        return min(max(math.exp(state.uniform(math.log(low), math.log(high))), low), high)


class ParameterAlias:
    """A choice of a ``FuzzedParameter`` that stands for the value of another, ``alias_to``: for sizes that are
    sometimes equal, say. Aliases of aliases are followed.

    Drawing raises ``ValueError`` if they come round to themselves, and ``KeyError`` if there is no such parameter.

    >>> rows = FuzzedParameter("rows", 4, 9, "uniform")
    >>> others = FuzzedParameter("others", distribution={1: 0.5, ParameterAlias("rows"): 0.5})
    >>> fuzzer = Fuzzer([rows, others], [FuzzedTensor("x", ("rows", 3)), FuzzedTensor("y", ("others", 3))], seed=0)
    >>> all((tensors["x"] + tensors["y"]).shape == (sizes["rows"], 3) for tensors, _, sizes in fuzzer.take(10))
    True
    """

    def __init__(self, alias_to: str) -> None:
        self.alias_to = alias_to

    def __repr__(self) -> str:
        return f"ParameterAlias[alias_to: {self.alias_to}]"


class FuzzedTensor:
    """A Tensor whose sizes are drawn. ``size`` and ``steps`` have integers and names of parameters; ``steps`` says that
    a larger Tensor is made, of which every so many-th element along each axis is seen. With probability
    1 - ``probability_contiguous`` its axes lie in memory in another, random order. ``min_elements``, ``max_elements``,
    ``max_allocation_bytes`` (before ``steps``): others are drawn again. ``dim_parameter`` names the parameter that says
    how many of the axes there are. ``tensor_constructor(size, dtype, **parameters)`` makes it; else floats and
    complex numbers are uniform from 0 to 1, and integers from 0 to 126. ``cuda``: it is made on the GPU.
    ``roll_parameter`` changes nothing, as in PyTorch.

    Raises ``ValueError`` if ``steps`` has another length than ``size``.

    Source: https://docs.pytorch.org/docs/stable/benchmark_utils.html#torch.utils.benchmark.FuzzedTensor

    >>> image = FuzzedTensor("image", (3, "side", "side"), max_elements=3 * 64)
    >>> image.satisfies_constraints({"side": 8}), image.satisfies_constraints({"side": 9})
    (True, False)
    """

    def __init__(self, name: str, size: tuple[str | int, ...], steps: tuple[str | int, ...] | None = None,
                 probability_contiguous: float = 0.5, min_elements: int | None = None, max_elements: int | None = None,
                 max_allocation_bytes: int | None = None, dim_parameter: str | None = None,
                 roll_parameter: str | None = None, dtype: DType = float32, cuda: bool = False,
                 tensor_constructor: Callable[..., Tensor] | None = None) -> None:
        if steps is not None and len(steps) != len(size):
            raise ValueError(f"FuzzedTensor {name!r}: {len(size)} sizes, but {len(steps)} steps")
        self._name, self._size, self._steps = name, size, steps
        self._probability_contiguous = probability_contiguous
        self._elements = min_elements, max_elements
        self._max_bytes, self._dim = max_allocation_bytes, dim_parameter
        self._dtype, self._cuda = dtype, cuda
        self._make = tensor_constructor

    @property
    def name(self) -> str:
        """What it is called in the dictionaries that ``Fuzzer.take`` gives."""
        return self._name

    @staticmethod
    def default_tensor_constructor(size: Sequence[int], dtype: DType, **parameters: Any) -> Tensor:
        """Random numbers.

        >>> FuzzedTensor.default_tensor_constructor((2, 3), float32).shape
        minigrad.Size([2, 3])
        """
        if dtype.kind in "fc":
            return rand(size=size, dtype=dtype)
        return randint(0, 2 if dtype.kind == "b" else 127, size=size, dtype=dtype)

    def satisfies_constraints(self, params: Parameters) -> bool:
        """Whether a Tensor of these parameters has as many elements, and takes as much memory, as it may."""
        size, steps = self._size_and_steps(params)
        count, (low, high) = math.prod(size), self._elements
        nbytes = math.prod([n * step for n, step in zip(size, steps, strict=True)]) * self._dtype.size
        return ((low is None or count >= low) and (high is None or count <= high)
                and (self._max_bytes is None or nbytes <= self._max_bytes))

    def _size_and_steps(self, params: Parameters) -> tuple[tuple[int, ...], tuple[int, ...]]:
        dims = len(self._size) if self._dim is None else self._value(self._dim, params)
        size = tuple([self._value(n, params) for n in self._size])[:dims]
        return size, tuple([self._value(s, params) for s in self._steps or (1,) * len(size)])[:dims]

    def _value(self, number: str | int, params: Parameters) -> int:
        """An integer, or the parameter of a name."""
        if isinstance(number, str) and number not in params:
            raise ValueError(f"FuzzedTensor {self._name!r}: there is no parameter {number!r}, only {list(params)}")
        return int(params[number] if isinstance(number, str) else number)

    def _drawn(self, params: Parameters, state: np.random.RandomState) -> tuple[Tensor, Parameters]:
        """The Tensor, and what is to be said of it."""
        size, steps = self._size_and_steps(params)
        larger = tuple([n * step for n, step in zip(size, steps, strict=True)])
        made = (self._make or self.default_tensor_constructor)(size=larger, dtype=self._dtype, **params)
        if self._cuda:
            made = made.cuda()
        order = np.arange(len(size))
        if len(size) > 1 and state.rand() > self._probability_contiguous:
            order = state.permutation(len(size))
            made = made.permute([int(i) for i in order]).contiguous().permute([int(i) for i in np.argsort(order)])
        if any([step != 1 for step in steps]):
            made = made[tuple([slice(None, None, step) for step in steps])]
        return made, {"numel": made.numel(), "order": order, "steps": steps, "is_contiguous": made.is_contiguous(),
                      "dtype": str(self._dtype)}


class Fuzzer:
    """Draws sets of Tensors. ``parameters`` and ``tensors`` may have lists of them as items. ``constraints`` are called
    with the dictionary of parameters, as PyTorch does it (its documentation says by name), and say whether they may be
    so. ``seed``: that of the draws, and of ``minigrad``.

    Raises ``ValueError`` if two have one name, and, while drawing, after 1,000 sets that may not be.

    Source: https://docs.pytorch.org/docs/stable/benchmark_utils.html#torch.utils.benchmark.Fuzzer

    >>> sides = [FuzzedParameter(name, 1, 32, "loguniform") for name in ("rows", "columns")]
    >>> x = FuzzedTensor("x", ("rows", "columns"), min_elements=4)
    >>> fuzzer = Fuzzer([sides], [x], [lambda sizes: sizes["rows"] != sizes["columns"]], seed=0)
    >>> for tensors, of_tensors, sizes in fuzzer.take(2):
    ...     print(sizes, tensors["x"].shape == (sizes["rows"], sizes["columns"]), of_tensors["x"]["dtype"])
    {'rows': 6, 'columns': 12} True minigrad.float32
    {'rows': 19, 'columns': 8} True minigrad.float32
    """

    def __init__(self, parameters: Iterable[FuzzedParameter | Iterable[FuzzedParameter]],
                 tensors: Iterable[FuzzedTensor | Iterable[FuzzedTensor]],
                 constraints: Iterable[Callable[[Parameters], bool]] | None = None, seed: int | None = None) -> None:
        self._seed = int(np.random.RandomState().randint(0, 2 ** 31)) if seed is None else seed
        self._parameters: list[FuzzedParameter] = _flat(parameters, FuzzedParameter)
        self._tensors: list[FuzzedTensor] = _flat(tensors, FuzzedTensor)
        self._constraints = tuple(constraints or ())
        names = [p.name for p in self._parameters] + [t.name for t in self._tensors]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"Duplicate names in parameters and tensors: {twice}")
        self._rejected = self._drawn = 0

    @property
    def rejection_rate(self) -> float:
        """What share of the sets of parameters that were drawn had to be drawn again."""
        return self._rejected / self._drawn if self._drawn else 0.0

    def take(self, n: int) -> Iterator[tuple[dict[str, Tensor], dict[str, Parameters], Parameters]]:
        """``n`` times: the Tensors by name; of each its number of elements, the order of its axes, steps, whether it is
        contiguous, and dtype; and the parameters. The same each time, from the seed on."""
        state = np.random.RandomState(self._seed)
        manual_seed(self._seed)
        for _ in range(n):
            params = self._parameters_of(state)
            made = {t.name: t._drawn(params, state) for t in self._tensors}
            yield ({name: tensor for name, (tensor, _) in made.items()},
                   {name: said for name, (_, said) in made.items()}, params)

    def _parameters_of(self, state: np.random.RandomState) -> Parameters:
        strict = {p.name: p.sample(state) for p in self._parameters if p.strict}
        for _ in range(MOST_TRIES):
            self._drawn += 1
            params = _resolved({p.name: strict[p.name] if p.strict else p.sample(state) for p in self._parameters})
            if (all([t.satisfies_constraints(params) for t in self._tensors])
                    and all([may_be(params) for may_be in self._constraints])):
                return params
            self._rejected += 1
        raise ValueError(f"Failed to generate a set of valid parameters. The last of {MOST_TRIES} was {params}")


def _flat(items: Iterable[Any], kind: type[T]) -> list[T]:
    """The items, and those of the lists among them."""
    found: list[T] = []
    for item in items:
        if isinstance(item, kind):
            found.append(item)
        elif isinstance(item, Iterable):
            found += item
        else:
            raise TypeError(f"expected {kind.__name__}s, or lists of them, not {type(item).__name__}")
    return found


def _resolved(params: Parameters) -> Parameters:
    """The parameters with values in the places of aliases."""
    found = {}
    for name in params:
        seen, value = [name], params[name]
        while isinstance(value, ParameterAlias):
            if value.alias_to in seen:
                raise ValueError(f"ParameterAlias cycle detected: {' -> '.join([*seen, value.alias_to])}")
            if value.alias_to not in params:
                raise KeyError(f"ParameterAlias: there is no parameter {value.alias_to!r}, only {list(params)}")
            seen.append(value.alias_to)
            value = params[value.alias_to]
        found[name] = value
    return found
