"""Stage: measuring. In: the runs that the explorer's ``Recorder`` has listed. Out: how much memory was in use when, by
what it is to the program; and files of that, as PyTorch writes them.
Next: ``needed.py``.

https://docs.pytorch.org/docs/stable/profiler.html#torch.profiler._KinetoProfile.export_memory_timeline
"""

from __future__ import annotations

import base64
import gzip
import io
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from minigrad.explain.recording import Recorder
from minigrad.explain.roles import GRADIENT, PARAMETER, STATE
from minigrad.explain.sites import Site

CATEGORIES = {"PARAMETER": "darkgreen", "OPTIMIZER_STATE": "goldenrod", "INPUT": "black", "TEMPORARY": "mediumpurple",
              "ACTIVATION": "red", "GRADIENT": "mediumblue", "AUTOGRAD_DETAIL": "royalblue", "Unknown": "grey"}
"""What memory is, in the order of PyTorch's files, and its colour in the picture."""

NUMBERS = {name: number for number, name in enumerate(CATEGORIES)}
ROLES = {PARAMETER: "PARAMETER", STATE: "OPTIMIZER_STATE", GRADIENT: "GRADIENT"}

PREEXISTING, CREATE, INCREMENT_VERSION, DESTROY = 1, 2, 3, 4
"""What happens to memory. That it is written again is not noted."""


class Change(NamedTuple):
    """At a time, in nanoseconds since 1970 (-1: before the first run), so many bytes of a category come or go."""

    time: int
    action: int
    nbytes: int
    category: int


def category(site: Site) -> int:
    """What memory is that belongs to a line.

    >>> [category(Site("net.py", 7, role, ())) for role in ("value", "gradient", "parameter")]
    [4, 5, 0]
    >>> category(Site("net.py", 7, "value", ()).backward)
    6
    """
    forward = "AUTOGRAD_DETAIL" if site.phase == "backward" else "ACTIVATION"
    return NUMBERS[ROLES.get(site.call, forward)]


def changes(recorder: Recorder, is_wanted: Callable[[str], bool], epoch: float) -> list[Change]:
    """What happened to the memory of the wanted devices, in order. ``epoch``: when the recording began, in seconds
    since 1970."""
    began = recorder.before
    found = [Change(-1, PREEXISTING, nbytes, category(site)) for site, nbytes in began.items() if nbytes]
    known, others = dict(began), None
    devices: dict[Site, str] = {}
    for moment in recorder.moments:
        ran = recorder.graphs[moment.graph]
        start, end = (int((epoch + t) * 1e9) for t in (moment.at, moment.at + sum(moment.seconds)))
        recipe: Any = getattr(ran.executable, "recipe", None)
        arena = recipe.arena_bytes if recipe is not None else getattr(ran.executable, "arena_bytes", 0)
        if arena and is_wanted(ran.device):
            found.append(Change(start, CREATE, arena, NUMBERS["TEMPORARY"]))
        for site, nbytes in moment.owners:
            more = nbytes - known.get(site, 0)
            known[site] = nbytes
            if more and is_wanted(devices.setdefault(site, ran.device)):
                before = not site.file and more > 0
                found.append(Change(-1 if before else end, _action(more, before), more, category(site)))
        if arena and is_wanted(ran.device):
            found.append(Change(end, DESTROY, -arena, NUMBERS["TEMPORARY"]))
        rest = moment.held - sum(known.values())
        if is_wanted("CPU") and rest != (others or 0):
            more, before = rest - (others or 0), others is None
            found.append(Change(-1 if before else end, _action(more, before), more, NUMBERS["Unknown"]))
        others = rest
    return sorted(found, key=lambda change: change.time)


def _action(more: int, before: bool) -> int:
    return PREEXISTING if before else CREATE if more > 0 else DESTROY


def timeline(found: Sequence[Change]) -> tuple[list[int], list[list[int]]]:
    """Times in microseconds since 1970, and of each the bytes in use by category, after a 0, as PyTorch's files have
    them: the picture has the sums of all up to each.

    >>> timeline([Change(-1, PREEXISTING, 8, 0), Change(5000, CREATE, 4, 4), Change(6000, DESTROY, -4, 4)])[0]
    [5, 5, 6]
    >>> timeline([Change(-1, PREEXISTING, 8, 0), Change(5000, CREATE, 4, 4)])[1]
    [[0, 8, 0, 0, 0, 0, 0, 0, 0], [0, 8, 0, 0, 0, 4, 0, 0, 0]]
    """
    times: list[int] = []
    sizes: list[list[int]] = []
    now = [0] * len(CATEGORIES)
    first = next((change.time for change in found if change.time >= 0), 0)
    for change in found:
        time = (first if change.time < 0 else change.time) // 1000
        if change.time >= 0 and not times:
            times.append(time)
            sizes.append([0, *now])
        now[change.category] += change.nbytes
        if change.time < 0:
            continue
        if times[-1] == time and len(times) > 1:
            sizes[-1] = [0, *now]
        else:
            times.append(time)
            sizes.append([0, *now])
    return times, sizes


def write_timeline(found: Sequence[Change], path: str, device: str) -> None:
    """Write a file of the kind that the path's ending says. ``ImportError`` for a picture, without matplotlib."""
    if path.endswith(".html"):
        text = _html(found, device)
    elif path.endswith(".raw.json.gz"):
        text = json.dumps(found)
    else:
        text = json.dumps(timeline(found))
    with gzip.open(path, "wt", encoding="utf-8") if path.endswith(".gz") else open(path, "w", encoding="utf-8") as file:
        file.write(text)


def _html(found: Sequence[Change], device: str) -> str:
    """A page with a picture of the memory in use over time."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("a memory timeline in .html is drawn by matplotlib, which is not installed: pip install "
                          "matplotlib, or give a path that ends in .json") from None
    times, sizes = timeline(found)
    seconds = [(time - times[0]) / 1e6 for time in times]
    figure = Figure(figsize=(20, 12))
    axes = figure.subplots()
    axes.stackplot(seconds, *[[row[1 + i] / 2 ** 20 for row in sizes] for i in range(len(CATEGORIES))],
                   labels=list(CATEGORIES), colors=list(CATEGORIES.values()), step="post")
    most = max([sum(row) for row in sizes], default=0)
    axes.set(xlabel="time (s)", ylabel="memory (MiB)", title=f"Memory on {device}: at most {most / 2 ** 20:.2f} MiB")
    axes.legend(loc="upper left")
    picture = io.BytesIO()
    figure.savefig(picture, format="png", bbox_inches="tight")
    text = base64.b64encode(picture.getvalue()).decode("ascii")
    return (f'<html>\n<head><meta charset="utf-8"><title>Memory timeline of {device}</title></head>\n<body>\n'
            f'<img src="data:image/png;base64,{text}">\n</body>\n</html>\n')
