"""Stage: explaining. In: kernels. Out: each line of their texts, down to single instructions, belongs to the right line
of the program; and that it is found out changes no text.
Next: ``test_page.py``."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

import minigrad
from minigrad.engine import plans
from minigrad.explain import Report
from minigrad.explain.model import Kernel, Text
from minigrad.kernel import walk
from minigrad.kernel.ir import Apply, Load
from minigrad.lower.values import Values
from minigrad.render.llvm_text import Writer

PROGRAM = """import minigrad
x = minigrad.rand(64, 32).exp().realize()
w = minigrad.rand(32, 48).exp().realize()
h = x @ w
h = h.sqrt()
h = h.floor()
h.sum(1).tolist()
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    path: Path = tmp_path_factory.mktemp("texts") / "program.py"
    path.write_text(PROGRAM)
    plans.clear()
    with minigrad.explain() as explained:
        runpy.run_path(str(path))
    return explained.report


def texts(report: Report) -> dict[str, tuple[Text, Kernel]]:
    """Those of the kernel that has the product, by title."""
    kernel = next(k for k in report.kernels if any(p.number == 4 for p in k.parts))
    return {t.title: (t, kernel) for t in report.codes[kernel.code].texts}


def numbers(text: Text, kernel: Kernel) -> list[tuple[str, set[int]]]:
    """Each line of a text with the lines of the program that it comes from."""
    lines = text.text.split("\n")
    return [(line, {kernel.parts[kernel.nodes[n]].number for n in nodes})
            for line, nodes in zip(lines, text.nodes, strict=True)]


@pytest.mark.parametrize(("title", "pattern", "line"), [
    ("schedule", r"= SUM|= MUL", 4), ("schedule", r"SQRT", 5), ("schedule", r"FLOOR", 6),
    ("loop nest", r"acc\d*\[.*= fma\(", 4), ("loop nest", r"sqrt\(", 5), ("loop nest", r"floor\(", 6),
    ("C", r"= fmaf\(", 4), ("C", r"sqrtf\(", 5), ("C", r"floorf\(", 6),
    ("as compiled", r"call .*@llvm\.fma", 4), ("as compiled", r"call .*@llvm\.sqrt", 5),
    ("as compiled", r"call .*@llvm\.floor", 6),
    ("machine code", r"fmadd", 4), ("machine code", r"sqrt", 5), ("machine code", r"(rndscale|roundps)", 6),
])
def test_each_line_belongs_to_the_right_one(report: Report, title: str, pattern: str, line: int) -> None:
    text, kernel = texts(report)[title]
    if title == "machine code" and not re.search("%[xyz]mm", text.text):
        pytest.skip("these are an x86 processor's instructions")
    found = [(words, of) for words, of in numbers(text, kernel) if re.search(pattern, words)]
    assert found, text.text
    for words, of in found:
        assert line in of and of <= {line - 1, line, line + 1}, (words, of)


def test_texts_are_those_without_numbers(report: Report) -> None:
    text = {title: t.text for title, (t, _) in texts(report).items()}
    x, w = minigrad.rand(64, 32).realize(), minigrad.rand(32, 48).realize()
    with minigrad.config(TIERS=0, REPLAY=0), minigrad.inspect() as seen:
        (x @ w).sqrt().floor().sum(1).tolist()
    run = next(k for k in seen.kernels if "fma" in k.source)
    device, nest = run.details.device, run.kernel.lowered.kernel
    assert text["C"] == run.source.rstrip("\n")
    source = device.source([nest])
    assert text["as compiled"] == source.rstrip("\n") and "!dbg" not in source
    code = [line.split() for line in device.assembly(source).split("\n") if line.startswith("\t") and line[1] != "."]
    shown = [line.split() for line in text["machine code"].split("\n") if line.startswith(" ")]
    assert [words[:2] for words in shown] == [words[:2] for words in code if words[0] != "#"]


def test_graphs_have_the_lines_of_their_nodes(report: Report) -> None:
    plan = next(p for p in report.plans if "FUNCTION[mm]" in p.graphs[0].text)
    for graph, words in zip(plan.graphs, ({"FUNCTION[mm]": 4}, {"MUL(": 4, "EXPAND": 4}), strict=True):
        lines = graph.text.split("\n")
        found = [(line, plan.parts[nodes[0]]) for line, nodes in zip(lines, graph.nodes, strict=True)]
        for word, number in {**words, "SQRT": 5, "FLOOR": 6}.items():
            assert {part.number for line, part in found if f"= {word}" in line} == {number}
        assert {part.number for line, part in found if "BUFFER" in line} == {2, 3}
    assert abs(sum(part.share for part in plan.parts) - 1) < 1e-9


def test_each_rewrite_has_its_line_and_both_sides() -> None:
    with minigrad.explain() as explained:
        x = minigrad.rand(6, 4).realize()
        y = x * 1
        y.softmax(0).tolist()
    plan = explained.report.plans[-1]
    found = [(r.rule, r.before, r.after) for r in plan.rewrites]
    product = "MUL(BUFFER(), CONST[1.0]())  float32 (6, 4)", "BUFFER()  float32 (6, 4)"
    call = "inline", "FUNCTION[mul](BUFFER(), CONST[1.0]())  float32 (6, 4)", product[1]
    assert found.index(("neutral-right", *product)) < found.index(call)
    softmax = next(after for rule, before, after in found if before.startswith("FUNCTION[softmax]"))
    assert softmax == "DIV(EXP(SUB(BUFFER(), …)), EXPAND(SUM[(0,)](…)))  float32 (6, 4)"
    part = next(plan.parts[r.part] for r in plan.rewrites if r.rule == "neutral-right")
    file = explained.report.files[part.file]
    assert file.lines[part.number - file.first].strip() == "y = x * 1"
    assert len(plan.rewrites) == plan.rewritten and plan.graphs[0].sources[0] == []


def test_a_kernel_that_stores_around_the_caches_has_machine_code() -> None:
    target = minigrad.runtime.device.get_device("CPU").target
    elements = max(1, target.l3) // 4 + 1024
    with minigrad.explain() as explained:
        minigrad.ones(elements).exp().realize()
    texts = {t.title: t.text for t in explained.report.codes[-1].texts}
    assert texts["machine code"] and ("!nontemporal" in texts["as compiled"] or not target.l3)


def test_a_number_of_the_run_has_its_line() -> None:
    with minigrad.explain() as explained:
        for i in range(3):
            y = minigrad.ones(5).realize() * (i + 2.5)
            y.cos().tolist()
    scalars = [plan.parts[nodes[0]] for plan in explained.report.plans for graph in plan.graphs
               for line, nodes in zip(graph.text.split("\n"), graph.nodes, strict=True) if "SCALAR" in line]
    files = [explained.report.files[part.file] for part in scalars]
    lines = {file.lines[part.number - file.first].strip() for file, part in zip(files, scalars, strict=True)}
    assert lines == {"y = minigrad.ones(5).realize() * (i + 2.5)"}


def test_nothing_is_left_behind(report: Report) -> None:
    assert report.codes and walk.following is None
    for owner, name in ((Apply, "__init__"), (Load, "__init__"), (Values, "_build"), (Writer, "line")):
        assert getattr(owner, name).__qualname__.startswith(f"{owner.__name__}.") or "create_fn" in str(
            getattr(owner, name).__qualname__), (owner, name)
