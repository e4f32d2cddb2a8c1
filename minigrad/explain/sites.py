"""Stage: explaining. In: the frames that are running. Out: where in the user's program that is, and what was called
there.
Next: ``roles.py``."""

from __future__ import annotations

import sys
from types import CodeType, FrameType
from typing import Any, NamedTuple, Self

from minigrad.graph import lines


class Site(NamedTuple):
    """A line outside minigrad, the function that it calls, and the classes of the Modules in which that comes to an op,
    the outermost first. ``phase``: ``"backward"`` for what is computed for its gradient."""

    file: str
    number: int
    call: str
    modules: tuple[str, ...]
    phase: str = "forward"

    @property
    def backward(self) -> Site:
        """The same line in its gradient."""
        known = _gradients.get(self)
        if known is None:
            known = _gradients[self] = self._replace(phase="backward")
        return known

    def owner(self, role: str) -> Site:
        """Whom memory belongs to that comes from here: the line, whatever it calls, and what it is to the program
        (``roles.py``), in the place of ``call``.

        >>> Site("net.py", 7, "exp", ()).owner("gradient").call
        'gradient'
        """
        known = _owners.get((self, role))
        if known is None:
            known = _owners[self, role] = self._replace(call=role, modules=())
        return known


_gradients: dict[Site, Site] = {}
"""Sites whose gradients somebody has computed, and those of the gradients."""

_owners: dict[tuple[Site, str], Site] = {}
"""Sites and roles of memory, and those that it belongs to."""

_one: dict[Site, Site] = {}
"""Of equal sites the one that is used, so that they can be compared by their ids."""

NOWHERE = Site("", 0, "", ())
"""Where nothing outside minigrad is running."""


def here(above: int = 1) -> Site:
    """Where the program is. ``above``: so many frames are known to be minigrad's, with that of this function. What is
    the same each time that the same calls come here is found once: to walk through the frames takes as long as to
    record an op.

    >>> import minigrad  # of a test, all frames here are minigrad's or Python's
    >>> here().phase
    'forward'
    """
    if len(_sites) > MOST_KNOWN:
        _sites.clear()
        _codes.clear()
    frame: FrameType | None = sys._getframe(above)
    key: list[Any] = []
    while frame is not None:
        known = _codes.get(id(frame.f_code))
        kind = _kind(frame) if known is None else known[0]
        if kind is OUTSIDE:
            break
        if kind is FORWARD:
            key.append(type(frame.f_locals["self"]))
        key.append(id(frame.f_code))
        frame = frame.f_back
    if frame is None:
        return NOWHERE
    key += id(frame.f_code), frame.f_lasti
    place = tuple(key)
    site = _sites.get(place)
    if site is None:
        site = _site(frame, place)
        site = _sites[place] = _one.setdefault(site, site)
    return site


class Place(lines.Place):
    """A place with its site."""

    __slots__ = ("site",)

    def __init__(self, depth: int = 1, frame: FrameType | None = None) -> None:
        super().__init__(depth, frame)
        self.site = NOWHERE

    @classmethod
    def here(cls, above: int = 1) -> Self:
        """Where the caller is now, or who stands so many frames above."""
        place = super().here(above + 1)
        place.site = here(above + 1)
        return place


OUTSIDE, INSIDE, FORWARD = "outside minigrad", "inside", "a Module's forward"

_codes: dict[int, tuple[str, CodeType]] = {}
"""What code is, by its id: one of the words above; and the code, so that its id stays its own."""

_sites: dict[tuple[Any, ...], Site] = {}
"""Sites, by the codes of the frames inside minigrad with the classes of Modules, and the place outside."""

MOST_KNOWN = 100_000
"""Sites that are kept; then all are found anew, as a program may make functions for ever."""


def _kind(frame: FrameType) -> str:
    """What a frame's code is. Functions that minigrad has written are in no module."""
    module = frame.f_globals.get("__name__", "minigrad")
    code = frame.f_code
    if module[:8] != "minigrad" or module[8:9] not in ("", "."):
        kind = OUTSIDE
    else:
        kind = FORWARD if code.co_name == "forward" and code.co_varnames[:1] == ("self",) else INSIDE
    _codes[id(code)] = kind, code
    return kind


def _site(frame: FrameType, place: tuple[Any, ...]) -> Site:
    """The site of a frame outside minigrad. ``place``: see ``_sites``; codes inside come innermost first."""
    inner = [part if isinstance(part, type) else _codes[part][1] for part in reversed(place[:-2])]
    call = next((c.co_name for c in inner if not isinstance(c, type) and "<locals>" not in c.co_qualname), "")
    modules = tuple([c.__name__ for c in inner if isinstance(c, type)])
    return Site(frame.f_code.co_filename, frame.f_lineno, call, modules)
