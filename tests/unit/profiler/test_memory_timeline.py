"""Stage: tests of measuring. In: a program with parameters, an optimizer and values. Out: files that say how much of
each was in memory when.
Next: ``test_profiler.py``."""

from __future__ import annotations

import gzip
import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import minigrad
from minigrad import nn, optim
from minigrad.profiler import profile

PARAMETER, STATE, TEMPORARY, ACTIVATION, GRADIENT, UNKNOWN = 0, 1, 3, 4, 5, 7
WHOLE = {"record_shapes": True, "profile_memory": True, "with_stack": True}


def trained(rounds: int = 2) -> tuple[profile, int, float]:
    """Steps of a model, the bytes of its parameters, and when they began, in seconds."""
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 8))
    optimizer = optim.Adam(model.parameters())
    x, y = minigrad.randn(256, 64).realize(), (minigrad.arange(256) % 8).realize()
    nbytes = sum(p.numel() * 4 for p in model.parameters())
    for parameter in model.parameters():
        parameter.realize()
    began = time.time()
    with profile(**WHOLE) as p:
        for _ in range(rounds):
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
    return p, nbytes, began


def raw(p: profile, folder: Path) -> list[list[int]]:
    path = str(folder / "timeline.raw.json.gz")
    p.export_memory_timeline(path, device="cpu")
    with gzip.open(path, "rt") as file:
        found: list[list[int]] = json.load(file)
    return found


def test_what_a_step_of_training_holds(tmp_path: Path) -> None:
    p, nbytes, began = trained()
    p.export_memory_timeline(str(tmp_path / "timeline.json"), device="cpu")
    times, sizes = json.loads((tmp_path / "timeline.json").read_text())
    assert len(times) == len(sizes) and times == sorted(times)
    assert began - 1 <= times[0] / 1e6 <= times[-1] / 1e6 <= time.time() + 1
    assert all(len(row) == 9 and row[0] == 0 and min(row) >= 0 for row in sizes)
    at = {name: [row[1 + name] for row in sizes] for name in (PARAMETER, STATE, TEMPORARY, GRADIENT)}
    assert set(at[PARAMETER]) == {nbytes} and at[STATE][0] == at[GRADIENT][0] == 0
    assert at[STATE][-1] == 2 * nbytes and at[GRADIENT][-1] == nbytes
    assert max(at[TEMPORARY]) > 0 == at[TEMPORARY][-1]


def test_what_happened(tmp_path: Path) -> None:
    p, nbytes, _ = trained()
    found = raw(p, tmp_path)
    assert [-1, 1, nbytes, PARAMETER] in found
    assert all((action == 1) == (at == -1) and (nbytes < 0) == (action == 4) for at, action, nbytes, _ in found)
    made, gone = ([c for c in found if c[1] == action and c[3] == TEMPORARY] for action in (2, 4))
    assert sum(c[2] for c in made + gone) == 0 and len(made) == len(gone) > 0


def test_memory_is_let_go_of(tmp_path: Path) -> None:
    x = minigrad.ones(100).realize()
    with profile(**WHOLE) as p:
        y = (x + 1).realize()
        del y
        z = (x + 2).sum().realize()
    changes = [c[1:] for c in raw(p, tmp_path) if c[3] == ACTIVATION]
    assert changes == [[2, 400, ACTIVATION], [4, -400, ACTIVATION], [2, 4, ACTIVATION]]
    assert z.item() == 300


def test_a_round_after_warm_up_knows_what_was_there(tmp_path: Path) -> None:
    """A schedule forgets the runs of the warm-up, and not what they made."""
    weight = nn.Parameter(minigrad.ones(50).realize())
    with profile(**WHOLE, schedule=minigrad.profiler.schedule(wait=0, warmup=1, active=1, repeat=1)) as p:
        for _ in range(2):
            kept = (weight * 2).realize()
            p.step()
    found = raw(p, tmp_path)
    assert [-1, 1, 200, PARAMETER] in found and kept.sum().item() == 100


def test_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    trained()[0].export_memory_timeline(str(tmp_path / "timeline.html"), device="cpu")
    text = (tmp_path / "timeline.html").read_text()
    assert "data:image/png;base64,iVBOR" in text and "Memory timeline of cpu" in text


def test_without_matplotlib_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install matplotlib, or give a path that ends in \.json"):
        trained(1)[0].export_memory_timeline(str(tmp_path / "timeline.html"), device="cpu")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("missing", WHOLE)
def test_it_needs_all_three(missing: str, tmp_path: Path) -> None:
    options: Any = {**WHOLE, missing: False}
    with profile(**options) as p:
        pass
    with pytest.raises(ValueError, match="record_shapes=True, profile_memory=True, with_stack=True required"):
        p.export_memory_timeline(str(tmp_path / "timeline.json"), device="cpu")


@pytest.mark.parametrize("device", ["cuda:0", "xpu", "nonsense"])
def test_another_device_has_nothing(device: str, tmp_path: Path) -> None:
    path = tmp_path / "timeline.json.gz"
    trained(1)[0].export_memory_timeline(str(path), device=device)
    assert json.loads(gzip.decompress(path.read_bytes())) == [[], []]
