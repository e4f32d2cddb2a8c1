"""Stage: front. In: nested tuples, lists and dictionaries of anything. Out: the leaves, and the structure around them,
which is compared, filled again, and printed as PyTorch prints it.
Next: ``level.py``."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from minigrad.tensor.return_types import ReturnType


@dataclass(frozen=True)
class Tree:
    """A container: its ``kind``, what it has beside its parts (``context``: keys, the class of a named tuple), and the
    structures of its parts; a leaf has kind None."""

    kind: type | None
    context: Any
    parts: tuple[Tree, ...]

    def __repr__(self) -> str:
        if self.kind is None:
            return "*"
        parts = ",\n  ".join([repr(p).replace("\n", "\n  ") for p in self.parts])
        return f"TreeSpec({self.kind.__name__}, {self.context}, [{parts}])"

    @property
    def count(self) -> int:
        """The number of leaves."""
        return 1 if self.kind is None else sum([p.count for p in self.parts])


LEAF = Tree(None, None, ())


def flatten(value: Any) -> tuple[list[Any], Tree]:
    """The leaves of ``value``, from left to right, and its structure.

    >>> flatten({"a": [1, 2], "b": (3,)})
    ([1, 2, 3], TreeSpec(dict, ['a', 'b'], [TreeSpec(list, None, [*,
        *]),
      TreeSpec(tuple, None, [*])]))
    """
    leaves: list[Any] = []
    return leaves, _structure(value, leaves)


def _structure(value: Any, leaves: list[Any]) -> Tree:
    kind = type(value)
    if kind in (dict, OrderedDict, defaultdict):
        keys: Any = list(value)
        context = [value.default_factory, keys] if kind is defaultdict else keys
        return Tree(kind, context, tuple([_structure(v, leaves) for v in value.values()]))
    if kind is tuple or kind is list:
        return Tree(kind, None, tuple([_structure(v, leaves) for v in value]))
    if isinstance(value, ReturnType) or (isinstance(value, tuple) and hasattr(value, "_fields")):
        return Tree(kind, kind, tuple([_structure(v, leaves) for v in value]))
    leaves.append(value)
    return LEAF


def fill(tree: Tree, leaves: Iterator[Any]) -> Any:
    """The value of this structure with these leaves.

    >>> fill(flatten([0, (0,)])[1], iter("ab"))
    ['a', ('b',)]
    """
    kind = tree.kind
    if kind is None:
        return next(leaves)
    parts = [fill(p, leaves) for p in tree.parts]
    if kind is defaultdict:
        return defaultdict(tree.context[0], zip(tree.context[1], parts, strict=True))
    make: Any = kind
    if issubclass(kind, dict):
        return make(zip(tree.context, parts, strict=True))
    return make(*parts) if tree.context is not None else make(parts)


def spread(value: Any, tree: Tree) -> list[Any] | None:
    """One item of ``value`` for each leaf of ``tree``: what stands where ``tree`` has a container goes to all its
    leaves. None if ``value`` has another structure.

    >>> spread((0, None), flatten(([1, 2], 3))[1])
    [0, 0, None]
    """
    items, shape = flatten(value)
    return _spread(iter(items), shape, tree)


def _spread(items: Iterator[Any], shape: Tree, tree: Tree) -> list[Any] | None:
    if shape.kind is None:
        return [next(items)] * tree.count
    if shape.kind is not tree.kind or shape.context != tree.context or len(shape.parts) != len(tree.parts):
        return None
    found: list[Any] = []
    for s, t in zip(shape.parts, tree.parts, strict=True):
        part = _spread(items, s, t)
        if part is None:
            return None
        found += part
    return found


def treespec(tree: Tree) -> str:
    """The structure as a value with ``*`` for leaves, as some messages have it.

    >>> treespec(flatten({"a": [1, (2,)]})[1])
    "{'a': [*, (*,)]}"
    """

    class Star:
        def __repr__(self) -> str:
            return "*"

    return repr(fill(tree, iter([Star()] * tree.count)))
