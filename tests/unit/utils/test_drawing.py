"""Stage: tests of the front. In: small graphs of Tensors. Out: ``minigrad.utils.draw`` makes an SVG with the boxes,
ellipses and arrows that the graph has, says what is wrong, and loads its layout library only when used.
Next: ``minigrad/utils/drawing.py``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import minigrad
from minigrad.utils import Drawing, draw, drawing

pytest.importorskip("fast_sugiyama")
SVG = "{http://www.w3.org/2000/svg}"


def leaf(value: float) -> minigrad.Tensor:
    return minigrad.tensor(value, requires_grad=True)


def parts(picture: Drawing) -> tuple[list[list[str]], list[str], int]:
    """What stands in the boxes, what in the ellipses, and the number of arrows, as read from the SVG."""
    root = ElementTree.fromstring(picture._repr_svg_())
    texts = {kind: [[text.text or "" for text in group.iter(f"{SVG}text")] for group in root.iter(f"{SVG}g")
                    if group.get("class") == kind] for kind in ("value", "op")}
    arrows = [path for path in root.iter(f"{SVG}path") if path.get("class") == "edge"]
    assert len(texts["value"]) == len(list(root.iter(f"{SVG}rect"))) - 1  # one is the background
    assert len(texts["op"]) == len(list(root.iter(f"{SVG}ellipse")))
    return sorted(texts["value"]), sorted(op for [op] in texts["op"]), len(arrows)


def test_values_have_data_gradient_and_name() -> None:
    a, b, c = leaf(2.0), leaf(-3.0), leaf(10.0)
    e = a * b
    d = e + c
    e.retain_grad()
    loss = d.relu()
    loss.backward()
    values, ops, arrows = parts(draw(loss, {"a": a, "b": b, "e": e, "loss": loss, "other": leaf(7.0), "no": 3}))
    assert values == sorted([["a", "data 2.0000", "grad -3.0000"], ["b", "data -3.0000", "grad 2.0000"],
                             ["data 10.0000", "grad 1.0000"], ["e", "data -6.0000", "grad 1.0000"],
                             ["loss", "data 4.0000"]])
    assert ops == ["+", "relu", "×"]
    assert arrows == 7  # a, b to ×; × to e; e, c to +; + to relu (d was not given); relu to loss


def test_edges_lead_from_leaf_to_output() -> None:
    x = leaf(3.0)
    picture = draw(x * x + x, {"x": x})
    named = [(picture.items[a].lines[0], picture.items[b].lines[0]) for a, b in picture.edges]
    assert sorted(named) == sorted([("x", "×"), ("x", "+"), ("×", "+"), ("+", "data 12.0000")])
    for a, b in picture.edges:  # from left to right, also past the columns between
        assert picture.items[a].x < picture.items[b].x


def test_boxes_do_not_overlap_and_lie_in_the_picture() -> None:
    xs = [leaf(float(i)) for i in range(6)]
    total = xs[0] * xs[1] + xs[2]
    for x in xs:
        total = (total * x).tanh() + xs[0]
    picture = draw(total)
    boxes = [(i.x - i.width / 2, i.x + i.width / 2, i.y - i.height / 2, i.y + i.height / 2) for i in picture.items]
    for n, (left, right, top, bottom) in enumerate(boxes):
        assert left >= 0 and top >= 0 and right <= picture.width and bottom <= picture.height
        for left2, right2, top2, bottom2 in boxes[:n]:
            assert right <= left2 or right2 <= left or bottom <= top2 or bottom2 <= top


def test_larger_tensors_show_their_shape() -> None:
    w = minigrad.ones(2, 3, requires_grad=True)
    (w * 2).sum().backward()
    values, ops, _ = parts(draw((w * 2).sum()))
    assert values == [["data 12.0000"], ["data of shape (2, 3)", "grad of shape (2, 3)"]]
    assert ops == ["sum", "×"]


def test_an_output_of_several_is_told_apart() -> None:
    x = minigrad.arange(4.0, requires_grad=True)
    first, second = x.split(2)
    values, _, _ = parts(draw((first * second).sum(), {"first": first, "second": second}))
    assert ["first", "data of shape (2,)"] in values and ["second", "data of shape (2,)"] in values


def test_a_leaf_is_one_box_and_names_are_escaped() -> None:
    x = leaf(1.5)
    assert parts(draw(x, {"<&>": x})) == ([["<&>", "data 1.5000"]], [], 0)
    assert parts(draw(minigrad.tensor(3), {})) == ([["data 3"]], [], 0)


def test_long_chains_are_walked_without_recursion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "LARGEST", 1500)
    y = leaf(0.5)
    for _ in range(1500):
        y = -y
    assert repr(draw(y)) == "<Drawing: 2 values, 1500 ops; save(path) writes it as SVG>"
    with pytest.raises(ValueError, match="more than 1500 ops"):
        draw(-y)


def test_save(tmp_path: Path) -> None:
    picture = draw(leaf(2.0) * 3)
    picture.save(tmp_path / "graph.svg")
    assert ElementTree.parse(tmp_path / "graph.svg").getroot().tag == f"{SVG}svg"
    with pytest.raises(ValueError, match=r"its name should end in \.svg, got '.*graph\.png'"):
        picture.save(tmp_path / "graph.png")


def test_what_is_no_tensor_is_refused() -> None:
    with pytest.raises(TypeError, match="argument 'output' should be a Tensor, got float"):
        draw(1.0)  # type: ignore[arg-type]


def test_without_the_layout_library_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fast_sugiyama", None)
    with pytest.raises(ImportError, match=r"pip install 'minigrad\[draw\]'"):
        draw(leaf(2.0) * 3)


def test_the_library_is_loaded_only_when_used() -> None:
    program = "import sys, minigrad.utils; print('fast_sugiyama' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
