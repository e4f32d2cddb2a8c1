"""Stage: vision. In: functions that make models. Out: the same with the argument ``weights``, found by their names too.
Next: ``resnet.py``."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from functools import wraps
from types import ModuleType
from typing import Any, TypeVar

from minigrad.nn import Module
from minigrad.vision.models.weights import WeightsEnum

M = TypeVar("M", bound=Module)

BUILDERS: dict[str, Callable[..., Module]] = {}
_KINDS: dict[str, type[WeightsEnum]] = {}


def register(kind: type[WeightsEnum]) -> Callable[[Callable[..., M]], Callable[..., M]]:
    """A decorator: the function takes ``weights`` (a member of ``kind``, its name, or None) and ``progress``, and is
    found by ``get_model``.

    ``pretrained=True`` and a positional argument, the older spellings, mean the same, with a ``UserWarning``.
    ``ValueError`` if ``num_classes`` is not the weights' own.
    """
    def decorate(make: Callable[..., M]) -> Callable[..., M]:
        @wraps(make)
        def build(*args: Any, weights: Any = None, progress: bool = True, **options: Any) -> M:
            if len(args) > 2:
                raise TypeError(f"{make.__name__}() takes at most 2 positional arguments, but got {len(args)}")
            if args or "pretrained" in options:
                weights = _older(kind, args[0] if args else options.pop("pretrained"), bool(args))
            chosen = kind.verify(weights)
            if chosen is None:
                return make(**options)
            classes = chosen.meta["num_classes"]
            if options.setdefault("num_classes", classes) != classes:
                raise ValueError(f"The parameter 'num_classes' expected value {classes} but got "
                                 f"{options['num_classes']} instead.")
            state = chosen.get_state_dict(progress=progress)
            model = make(**options)
            model.load_state_dict(state)
            return model

        BUILDERS[make.__name__], _KINDS[make.__name__] = build, kind
        return build

    return decorate


def _older(kind: type[WeightsEnum], given: Any, positional: bool) -> Any:
    """The weights that ``model(True)`` or ``model(pretrained=True)`` means."""
    if given is None or isinstance(given, (WeightsEnum, str)):
        if positional:
            warnings.warn("Using 'weights' as positional parameter(s) is deprecated since 0.13 and may be removed in "
                          "the future. Please use keyword parameter(s) instead.", UserWarning, stacklevel=4)
        return given
    warnings.warn("The parameter 'pretrained' is deprecated since 0.13 and may be removed in the future, please use "
                  "'weights' instead.", UserWarning, stacklevel=4)
    return next(iter(kind)) if given else None


def list_models(module: ModuleType | None = None, include: str | Iterable[str] | None = None,
                exclude: str | Iterable[str] | None = None) -> list[str]:
    """The names of all models, sorted; ``include`` and ``exclude`` are patterns with ``*``.

    >>> list_models(include="resnet*", exclude=["*1*"])
    ['resnet34', 'resnet50']
    """
    names = [name for name, build in BUILDERS.items()
             if module is None or build.__module__.rpartition(".")[0] == module.__name__]

    def among(name: str, patterns: str | Iterable[str]) -> bool:
        return any(fnmatchcase(name, p) for p in ([patterns] if isinstance(patterns, str) else patterns))

    return sorted(name for name in names if (not include or among(name, include))
                  and not (exclude and among(name, exclude)))


def get_model_builder(name: str) -> Callable[..., Module]:
    """The function that makes the model of this name. ``ValueError`` if there is none."""
    if name.lower() not in BUILDERS:
        raise ValueError(f"Unknown model {name.lower()}")
    return BUILDERS[name.lower()]


def get_model(name: str, **config: Any) -> Module:
    """The model of this name.

    >>> get_model("resnet18", num_classes=10).fc
    Linear(in_features=512, out_features=10, bias=True)
    """
    return get_model_builder(name)(**config)


def get_model_weights(name: str | Callable[..., Module]) -> type[WeightsEnum]:
    """The enumeration of the weights there are for a model.

    >>> list(get_model_weights("resnet50"))
    [ResNet50_Weights.IMAGENET1K_V1, ResNet50_Weights.IMAGENET1K_V2]
    """
    return _KINDS[(get_model_builder(name) if isinstance(name, str) else name).__name__]


def get_weight(name: str) -> WeightsEnum:
    """The member of an enumeration by its full name, as ``"ResNet50_Weights.IMAGENET1K_V1"``. ``ValueError`` if there
    is no such enumeration."""
    kind, dot, member = name.partition(".")
    if not dot:
        raise ValueError(f"Invalid weight name provided: '{name}'.")
    for found in _KINDS.values():
        if found.__name__ == kind:
            return found[member]
    raise ValueError(f"The weight enum '{kind}' for the specific method couldn't be retrieved.")
