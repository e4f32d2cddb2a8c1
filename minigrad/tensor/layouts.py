"""Stage: front. In: nothing. Out: ``layout`` and ``memory_format``: PyTorch's classes of words for how elements lie in
memory, and the words: ``strided``, ``sparse_coo``, ``channels_last`` …
Next: ``promotion.py``."""

from __future__ import annotations

from typing import Any

from minigrad.dtype import shown


class _Word:
    """A value that has a name and nothing else. There is one object for each; they are compared by identity."""

    __slots__ = ("name",)
    name: str

    def __new__(cls, *args: Any, **named: Any) -> Any:
        raise TypeError(f"cannot create '{cls.__module__}.{cls.__qualname__}' instances")

    def __repr__(self) -> str:
        return shown(self.name)

    def __reduce__(self) -> str:  # ``copy`` and ``pickle`` find the object by this name
        return self.name


class layout(_Word):
    """How elements are stored: with strides, or as the coordinates and values of those that are not 0.

    >>> import minigrad
    >>> minigrad.ones(2).layout, isinstance(minigrad.sparse_coo, minigrad.layout)
    (minigrad.strided, True)
    """

    __slots__ = ()
    __module__ = "minigrad"


class memory_format(_Word):
    """In which order dimensions lie in memory. Here it is always their own; others are taken where PyTorch takes them.

    >>> import minigrad
    >>> minigrad.channels_last
    minigrad.channels_last
    """

    __slots__ = ()
    __module__ = "minigrad"


LAYOUTS = ("strided", "sparse_coo", "sparse_csr", "sparse_csc", "sparse_bsr", "sparse_bsc", "_mkldnn", "jagged")
FORMATS = ("contiguous_format", "preserve_format", "channels_last", "channels_last_3d")


def _word(kind: Any, name: str) -> Any:
    made = object.__new__(kind)
    made.name = name
    return made


WORDS: dict[str, layout | memory_format] = {
    **{name: _word(layout, name) for name in LAYOUTS}, **{name: _word(memory_format, name) for name in FORMATS}}
"""The words by name, as they stand in the module ``minigrad``."""

strided: layout = WORDS["strided"]  # type: ignore[assignment]
