"""Stage: front. In: parameters. Out: ``Distribution``, what all distributions have in common: shapes, validation,
expansion, the printed form.
Next: ``exp_family.py``."""

from __future__ import annotations

import warnings
from typing import Any

from minigrad.autograd import no_grad
from minigrad.distributions import constraints
from minigrad.distributions.utils import as_size, lazy_property
from minigrad.tensor import Size, Tensor, arange

__all__ = ["Distribution"]


class Distribution:
    """A batch of distributions of one kind. ``batch_shape`` is the shape of the batch, ``event_shape`` that of one
    event; a sample of shape s has the shape s + batch_shape + event_shape.

    With ``validate_args`` (the default is that of ``set_default_validate_args``, True unless Python runs with -O)
    parameters and values are checked, which asks for their values at once. ``ValueError`` if one is outside its set.

    Source: https://docs.pytorch.org/docs/stable/distributions.html
    """

    has_rsample: Any = False
    has_enumerate_support: Any = False
    _validate_args = __debug__
    _param: Any

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Whether parameters and values are checked where nothing else is said."""
        if value not in [True, False]:
            raise ValueError
        Distribution._validate_args = value

    def __init__(self, batch_shape: Any = (), event_shape: Any = (), validate_args: bool | None = None) -> None:
        self._batch_shape, self._event_shape = as_size(batch_shape), as_size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if self._validate_args:
            self._check_parameters()

    def _check_parameters(self) -> None:
        try:
            wanted = self.arg_constraints
        except NotImplementedError:
            wanted = {}
            warnings.warn(f"{self.__class__} does not define `arg_constraints`. Please set `arg_constraints = {{}}` or "
                          "initialize the distribution with `validate_args=False` to turn off validation.",
                          stacklevel=4)
        for name, constraint in wanted.items():
            given = name in self.__dict__ or not isinstance(getattr(type(self), name), lazy_property)
            if constraints.is_dependent(constraint) or not given:
                continue
            value = getattr(self, name)
            if not bool(constraint.check(value).all()):
                raise ValueError(f"Expected parameter {name} ({type(value).__name__} of shape {tuple(value.shape)}) of "
                                 f"distribution {self!r} to satisfy the constraint {constraint!r}, but found invalid "
                                 f"values:\n{value}")

    # --- shapes

    @property
    def batch_shape(self) -> Size:
        """The shape of the batch of distributions."""
        return self._batch_shape

    @property
    def event_shape(self) -> Size:
        """The shape of one event."""
        return self._event_shape

    def _extended_shape(self, sample_shape: Any = ()) -> Size:
        return Size((*sample_shape, *self._batch_shape, *self._event_shape))

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distributions, repeated to a larger batch."""
        raise NotImplementedError

    def _expanded(self, cls: type[Distribution], batch_shape: Any, _instance: Any, parameters: dict[str, int],
                  keep: tuple[str, ...] = ()) -> Any:
        """``expand`` of ``cls``: each parameter that is there is expanded, with so many dimensions of its own behind
        the batch; what ``keep`` names stays as it is."""
        new = self._get_checked_instance(cls, _instance)
        batch_shape = as_size(batch_shape)
        for name, dims in parameters.items():
            if name in self.__dict__:
                value = self.__dict__[name]
                own = tuple(value.shape[value.dim() - dims:])
                expanded = value.expand((*batch_shape, *own))
                setattr(new, name, expanded)
                if "_param" in self.__dict__ and self._param is value:
                    new._param = expanded
        for name in keep:
            setattr(new, name, getattr(self, name))
        return self._finished(cls, new, batch_shape)

    def _finished(self, cls: type[Distribution], new: Any, batch_shape: Any) -> Any:
        """A new instance with these shapes, and self's validation from now on."""
        parent: Any = super(cls, new)
        parent.__init__(batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def _get_checked_instance(self, cls: type[Distribution], _instance: Any = None) -> Any:
        if _instance is not None:
            return _instance
        if type(self).__init__ != cls.__init__:
            raise NotImplementedError(f"Subclass {self.__class__.__name__} of {cls.__name__} that defines a custom "
                                      "__init__ method must also define a custom .expand() method.")
        return self.__new__(type(self))

    # --- what a distribution knows of itself

    @property
    def arg_constraints(self) -> Any:
        """The set that each parameter must lie in, by name."""
        raise NotImplementedError

    @property
    def support(self) -> Any:
        """The set of possible events."""
        raise NotImplementedError

    @property
    def mean(self) -> Tensor:
        """The expected value."""
        raise NotImplementedError

    @property
    def mode(self) -> Tensor:
        """The most likely event."""
        raise NotImplementedError(f"{self.__class__} does not implement mode")

    @property
    def variance(self) -> Tensor:
        """The variance of each element."""
        raise NotImplementedError

    @property
    def stddev(self) -> Tensor:
        """The square root of the variance."""
        return self.variance.sqrt()

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Events drawn at random, without a gradient."""
        with no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Events drawn at random, with a gradient in the parameters."""
        raise NotImplementedError

    def sample_n(self, n: int) -> Tensor:
        """``sample((n,))``."""
        warnings.warn("`sample_n(n)` will be deprecated. Use `sample((n,))` instead.", FutureWarning, stacklevel=2)
        return self.sample((n,))

    def log_prob(self, value: Any) -> Tensor:
        """The logarithm of the density, or of the probability, at ``value``."""
        raise NotImplementedError

    def cdf(self, value: Any) -> Tensor:
        """The probability of at most ``value``."""
        raise NotImplementedError

    def icdf(self, value: Any) -> Tensor:
        """The inverse of ``cdf``."""
        raise NotImplementedError

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All possible events along a new first dimension."""
        raise NotImplementedError

    def entropy(self) -> Tensor:
        """The expected value of -log_prob."""
        raise NotImplementedError

    def perplexity(self) -> Tensor:
        """exp(entropy)."""
        return self.entropy().exp()

    def _values(self, n: int, like: Tensor, expand: bool) -> Tensor:
        """0 … n - 1 along a new first dimension, and the batch's dimensions."""
        counted = arange(n, dtype=like.dtype, device=like.device)
        values = counted.reshape((n, *[1] * len(self._batch_shape)))
        return values.expand((n, *self._batch_shape)) if expand else values

    # --- values

    def _checked(self, value: Any) -> Any:
        """The value, once it is known to be possible, if that is asked for."""
        if self._validate_args:
            self._validate_sample(value)
        return value

    def _validate_sample(self, value: Any) -> None:
        if not isinstance(value, Tensor):
            raise ValueError("The value argument to log_prob must be a Tensor")
        shape, whole = value.size(), Size((*self._batch_shape, *self._event_shape))
        if shape[len(shape) - len(self._event_shape):] != self._event_shape:
            raise ValueError(f"The right-most size of value must match event_shape: {shape} vs {self._event_shape}.")
        for i, j in zip(reversed(shape), reversed(whole), strict=False):
            if i != 1 and j != 1 and i != j:
                raise ValueError(f"Value is not broadcastable with batch_shape+event_shape: {shape} vs {whole}.")
        try:
            support = self.support
        except NotImplementedError:
            warnings.warn(f"{self.__class__} does not define `support` to enable sample validation. Please initialize "
                          "the distribution with `validate_args=False` to turn off validation.", stacklevel=3)
            return
        if not bool(support.check(value).all()):
            raise ValueError(f"Expected value argument ({type(value).__name__} of shape {tuple(value.shape)}) to be "
                             f"within the support ({support!r}) of the distribution {self!r}, but found invalid "
                             f"values:\n{value}")

    def __repr__(self) -> str:
        parts = []
        for name in self.arg_constraints:
            if name in self.__dict__:
                value = self.__dict__[name]
                parts.append(f"{name}: {value if value.numel() == 1 else value.size()}")
        return f"{type(self).__name__}({', '.join(parts)})"
