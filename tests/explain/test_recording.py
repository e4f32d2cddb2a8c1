"""Stage: explaining. In: small programs. Out: the lines that their kernels come from are the right ones, forward and
backward, replayed or not; and outside a block nothing is noted.
Next: ``test_texts.py``."""

from __future__ import annotations

import runpy
import subprocess
import sys
from collections import Counter
from pathlib import Path
from textwrap import dedent

import pytest

import minigrad
from minigrad.autograd.node import Node
from minigrad.engine import plans, records
from minigrad.explain import Report, log
from minigrad.explain.dot import dot
from minigrad.explain.perfetto import trace
from minigrad.graph import origins
from minigrad.graph.lazy import LazyBuffer
from minigrad.runtime.allocator import memory_stats


@pytest.fixture
def explained(tmp_path: Path):
    """Runs a program and gives its report, in which line 1 is the first of the program's."""
    def run(program: str) -> Report:
        path = tmp_path / "program.py"
        path.write_text(dedent(program).lstrip("\n"))
        plans.clear()
        with minigrad.explain() as found:
            runpy.run_path(str(path))
        return found.report

    return run


def parts(report: Report) -> set[tuple[int, str]]:
    """The lines that kernels come from, and the phases."""
    return {(p.number, p.phase) for k in report.kernels for p in k.parts if p.share}


TRAINING = """
    import minigrad
    x = minigrad.ones(64, 32)
    w = minigrad.ones(32, 16, requires_grad=True)
    for i in range(6):
        w.grad = None
        h = x @ w
        h = h.tanh()
        loss = (h * 3).sum()
        loss.backward()
        value = loss.item()
"""


def test_forward_and_backward_have_the_lines_of_the_forward_calls(explained) -> None:
    report = explained(TRAINING)
    assert parts(report) >= {(6, "forward"), (7, "forward"), (8, "forward"), (6, "backward"), (7, "backward")}
    assert {n for n, _ in parts(report)} <= {2, 3, 6, 7, 8}
    for kernel in report.kernels:
        assert abs(sum(p.share for p in kernel.parts) - 1) < 1e-9
    calls = {c for k in report.kernels for p in k.parts for c in p.calls}
    assert {"__matmul__", "tanh", "sum", "__mul__"} <= calls


def test_the_lines_share_the_time_of_the_kernels(explained) -> None:
    report = explained(TRAINING)
    total = sum(line.forward + line.backward for line in report.lines)
    assert abs(total - report.kernel_seconds) < 1e-9 and 0 < total < report.seconds
    product = next(line for line in report.lines if line.number == 6)
    assert product.forward > 0 and product.backward > 0 and product.launches >= 6 and product.flops > 64 * 32 * 16


def test_runs_say_what_asked_for_them(explained) -> None:
    report = explained(TRAINING)
    assert {(r.number, r.call) for r in report.runs} >= {(9, "backward")}
    backward = [r for r in report.runs if r.call == "backward"]
    assert [r.how for r in backward][0::5] == ["planned", "replayed"] and len(backward) == 6
    assert len({r.plan for r in backward}) <= 2  # the first may hold other values
    assert [r.at for r in report.runs] == sorted(r.at for r in report.runs)


def test_calls_that_were_followed_at_first_keep_their_lines(explained) -> None:
    report = explained("""
        import minigrad
        x = minigrad.ones(8, 5).realize()
        for i in range(5):
            y = x.exp()
            y = y.cos()
            if i == 4:
                y = y.sqrt()
            y = y.tolist()
    """)
    assert report.diverged and report.runs[-1].how == "planned"
    last = report.kernels[-1]
    assert {(p.number, *p.calls) for p in last.parts} == {(4, "exp"), (5, "cos"), (7, "sqrt")}


def test_a_launch_counts_for_the_line_that_asked_for_it(explained) -> None:
    report = explained("""
        import minigrad
        x = minigrad.rand(64, 32).realize()
        w = minigrad.rand(32, 16).realize().requires_grad_()
        optimizer = minigrad.optim.SGD([w], lr=0.1)
        for i in range(30):
            a = x.exp().sum().item()
            b = x.exp().sum().item()
            if i % 3 == 0:
                c = x.exp().sum().item()
            (x @ w).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
            (x @ w).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    """)
    launches = {frozenset(p.number for p in k.parts if p.share): k.launches for k in report.kernels}
    assert launches == {frozenset([6]): 30, frozenset([7]): 30, frozenset([9]): 10, frozenset([10]): 30,
                        frozenset([11]): 30, frozenset([13]): 30, frozenset([14]): 30}
    assert {run.how for run in report.runs if run.number == 9} == {"cached", "replayed"}


def test_what_the_host_computes_has_its_time_and_line(explained) -> None:
    report = explained("""
        import minigrad
        x = minigrad.rand(30, 30).realize()
        w = minigrad.rand(5, 5).requires_grad_()
        for i in range(8):
            places = x.argsort().tolist()
            again = x.argsort().tolist()
            y = minigrad.fft.fft(x)
            z = minigrad.linalg.inv(x + minigrad.eye(30))
            (y.real.sum() + z.sum()).item()
            w.grad = None
            minigrad.linalg.det(w.exp()).backward()
    """)
    by_host = [k for k in report.kernels if report.plans[k.plan].how == "a function of the host"]
    assert {(k.name, part.number, part.phase, part.share) for k in by_host for part in k.parts} == {
        ("argsort", 5, "forward", 1), ("argsort", 6, "forward", 1), ("fft_c2c", 7, "forward", 1),
        ("linalg_inv_ex", 8, "forward", 1), ("linalg_det", 11, "forward", 1), ("cofactors", 11, "backward", 1)}
    assert all(k.launches == 8 and k.seconds > 0 for k in by_host)
    lines = {line.number: line for line in report.lines}
    for kernel in by_host:
        part = kernel.parts[0]
        assert getattr(lines[part.number], part.phase) >= kernel.seconds
    runs = [run for run in report.runs if run.how == "by the host"]
    assert {run.number for run in runs} >= {5, 6, 9, 11} and all(run.owners or run.number != 5 for run in runs[:1])
    assert trace(report)["traceEvents"] and dot(report)


def test_ops_of_the_numpy_device_have_times_and_lines(explained) -> None:
    report = explained("""
        import minigrad
        w = minigrad.ones(30, 20, device="numpy", requires_grad=True)
        x = minigrad.ones(50, 30, device="numpy").realize()
        for i in range(6):
            y = x @ w
            z = y.exp()
            if i == 3:
                kept = z
            z.T.sum().backward()
            w.grad = None
        z.sort()
    """)
    assert {(k.name, part.number, part.phase, part.share) for k in report.kernels for part in k.parts} == {
        ("mm", 5, "forward", 1), ("exp", 6, "forward", 1), ("sum", 9, "forward", 1),
        ("sum_backward", 9, "backward", 1), ("mul", 6, "backward", 1), ("mm_backward", 5, "backward", 1)}
    assert {k.device for k in report.kernels} == {"NUMPY"} and all(k.seconds > 0 for k in report.kernels)
    launches = Counter[str]()
    for kernel in report.kernels:
        launches[kernel.name] += kernel.launches
    assert set(launches.values()) == {6}
    lines = {line.number: line for line in report.lines}
    assert lines[5].forward > 0 < lines[5].backward and lines[9].forward > 0
    assert [run.number for run in report.runs] == [9] * 36 and {run.call for run in report.runs} == {"backward"}
    assert all(a.at + sum(a.seconds) <= b.at + 1e-9 for a, b in zip(report.runs, report.runs[1:], strict=False))
    assert trace(report)["traceEvents"] and dot(report)


def test_memory_of_the_numpy_device_belongs_to_lines(explained) -> None:
    """Also that of an op with several results, and what an op gives in some of its runs only."""
    report = explained("""
        import minigrad
        w = minigrad.nn.Linear(30, 20, device="numpy")
        x = minigrad.ones(50, 30, device="numpy").realize()
        for i in range(4):
            y = w(x)
            loss = y.exp().sum()
            if i % 2:
                del y
            loss.backward()
    """)
    owners = [(o.number, o.phase) for o in report.owners]
    held = [{owners[i]: nbytes for i, nbytes in run.owners} for run in report.runs]
    assert {(5, "backward"): 4 * (30 * 20 + 20)} in held and {(5, "forward"): 4 * 50 * 20} in held
    linear = [k for k in report.kernels if k.name == "linear"]
    assert sorted(k.launches for k in linear) == [2, 2]


def test_modules_are_named(explained) -> None:
    report = explained("""
        import minigrad
        from minigrad import nn
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
            def forward(self, x):
                return self.inner(x) + 1
        Net()(minigrad.ones(2, 4)).tolist()
    """)
    found = {(p.number, tuple(p.modules)) for p in report.kernels[-1].parts if p.share}
    assert (8, ("Sequential", "Linear")) in found and (8, ()) in found
    assert any(modules == ("Sequential", "ReLU") for _, modules in found)


HEAD = "import minigrad\nfrom minigrad import nn\nfrom minigrad.nn.functional import scaled_dot_product_attention\n"
KINDS = {  # the lines after HEAD, so from 4 on; and for some ops the lines that they come from
    "attention": ("q = minigrad.rand(1, 1, 1024, 16).realize()\nq = q.cos()\n"
                  "y = scaled_dot_product_attention(q, q, q, is_causal=True)\ny = y.sin()\ny.tolist()",
                  {"COS": {5}, "EXP": {6}, "MAX": {6}, "DIV": {6}, "SIN": {7}}),
    "long sums": ("x = minigrad.rand(1 << 20).realize()\na = x.exp().sum()\nb = x.cos().sum()\n(a + b).item()",
                  {"EXP": {5}, "COS": {6}, "SUM": {5, 6}, "ADD": {7}}),
    "scan": ("x = minigrad.rand(50, 70).realize()\nx = x.exp()\nx = x.cumsum(1)\nx = x.cos()\nx.tolist()",
             {"EXP": {5}, "SCAN": {6}, "COS": {7}}),
    "scatter": ("x = minigrad.zeros(10)\nx[minigrad.tensor([1, 2])] = 5\n"
                "a = x.exp()\nb = x.cos()\n(a + b).tolist()",
                {"SCATTER": {5}, "EXP": {6}, "COS": {7}, "ADD": {8}}),
    "complex": ("x = minigrad.rand(8, 8).cfloat().realize()\n"
                "y = x * 1j\nz = y.abs()\nz = z.exp()\nz.tolist()",
                {"MUL": {5, 6}, "SQRT": {6}, "EXP": {7}}),
    "loop": ("m = nn.LSTM(4, 8)\nx = minigrad.rand(12, 3, 4).realize()\nx = x.cos()\ny = m(x)[0]\ny = y.sin()\n"
             "y.tolist()", {"COS": {6}, "TANH": {7}, "SIN": {8}}),
    "optimizer": ("m = nn.Linear(3, 3)\no = minigrad.optim.Adam(m.parameters())\nfor _ in range(4):\n"
                  "    m(minigrad.ones(2, 3)).exp().sum().backward()\n    o.step()", {"EXP": {7}, "SQRT": {8}}),
    "jit": ("f = minigrad.jit(lambda x: (x.exp() + 1).sum())\nfor _ in range(4):\n    f(minigrad.ones(7)).item()",
            {"EXP": {4}, "SUM": {4}}),
    "function's backward": ("class Cube(minigrad.autograd.Function):\n    @staticmethod\n    def forward(ctx, x):\n"
                            "        return x.exp()\n    @staticmethod\n    def backward(ctx, g):\n"
                            "        return g.cos()\n"
                            "x = minigrad.ones(5, requires_grad=True)\nCube.apply(x).sum().backward()\n",
                            {"EXP": {7}, "COS": {10}}),
}


@pytest.mark.parametrize(("program", "lines"), KINDS.values(), ids=KINDS)
def test_each_operation_has_its_line(explained, program: str, lines: dict[str, set[int]]) -> None:
    report = explained(HEAD + program)
    found: dict[str, set[int]] = {}
    for kernel in report.kernels:
        assert kernel.code >= 0 and len(kernel.nodes) == sum(map(len, report.codes[kernel.code].texts[0].nodes))
        text = report.codes[kernel.code].texts[0]
        for line, nodes in zip(text.text.split("\n"), text.nodes, strict=True):
            for node in nodes:
                part = kernel.parts[kernel.nodes[node]]
                op = line.split("=" if "<-" not in line else "<-", 1)[1].replace("[", "(").partition("(")[0].strip()
                found.setdefault(op, set()).add(part.number)
                assert part.file == 0 or op == "CONST", line
    assert {op: found.get(op) for op in lines} == lines


@pytest.mark.parametrize(("change", "words"), [
    ("z = minigrad.ones(9, 4 + i).realize(); z.exp().tolist()", "the same ops on other shapes: BUFFER has"),
    ("y = (x * 2 if i else x * 3).tolist()", "the same graph with another number: 2"),
    ("y = x.exp() + 1\nif i: y = y.cos()\ny = y.tolist()", "the first"),
    ("h = x.exp(); y = (h + 1).cos()\nif i: del h\ny = y.tolist()", "is not kept this time"),
])
def test_a_new_plan_says_what_differs(explained, change: str, words: str) -> None:
    body = "\n".join(f"    {line}" for line in change.split("\n"))
    report = explained(f"import minigrad\nx = minigrad.ones(9, 4).realize()\nfor i in range(2):\n{body}\n")
    assert any(words in plan.difference for plan in report.plans), [plan.difference for plan in report.plans]


def test_the_plan_that_is_compared_with_has_its_number() -> None:
    plans.clear()
    x = minigrad.ones(9, 4).realize()
    with minigrad.config(TIERS=0):
        x.exp().tolist()
    with minigrad.explain() as explained:
        x.exp().tolist()  # it has a plan already, and is compared with none
        x.cos().sqrt().sin().exp().tolist()
        x.cos().sqrt().sin().exp().abs().tolist()
    found = explained.report.plans
    assert [plan.how == "known before" for plan in found] == [True, False, False]
    assert found[2].difference.startswith("the first 5 nodes are those of plan 1; then ABS (9, 4)")


@pytest.mark.parametrize(("program", "reason"), [
    ("a = minigrad.rand(300, 300).realize(); ((a @ a) @ a).tolist()", "a large contraction keeps its own kernel"),
    ("a = minigrad.rand(300, 40).realize(); b = minigrad.rand(7, 9000).realize()\n"
     "c, d = a.exp(), b.cumsum(1)\nminigrad.realize(c, d)", "neither reads what the other stores"),
    ("a = minigrad.zeros(3000)\na[minigrad.arange(5)] = 1\na.cumsum(0).tolist()", "a kernel of its own"),
])
def test_neighbours_say_why_they_are_two(explained, program: str, reason: str) -> None:
    report = explained(f"import minigrad\n{program}\n")
    for plan in report.plans:
        assert len(plan.apart) == max(0, plan.kernels[1] - plan.kernels[0] - 1)
    assert any(reason in words for plan in report.plans for words in plan.apart), [p.apart for p in report.plans]


def test_memory_has_owners(explained) -> None:
    report = explained("""
        import minigrad
        w = (minigrad.rand(100, 100) + 1).requires_grad_()
        for i in range(5):
            w.grad = None
            h = w.exp()
            h.sum().backward()
        del h
        last = w.sin().realize()
    """)
    held: list[dict[tuple[int, str], int]] = [{}]
    for run in report.runs:
        changed = {(report.owners[owner].number, report.owners[owner].phase): count for owner, count in run.owners}
        held.append({**held[-1], **changed})
        assert 0 <= sum(held[-1].values()) <= run.held
    size = 100 * 100 * 4
    backward = [now for now, run in zip(held[1:], report.runs, strict=True) if run.call == "backward"]
    assert len(backward) == 5 and "replayed" in {run.how for run in report.runs if run.call == "backward"}
    assert [backward[0][owner] for owner in ((2, "forward"), (5, "forward"), (5, "backward"))] == [size] * 3
    for now in backward:  # what the step before has made may be let go of a little later
        assert now[2, "forward"] == size and {now[5, "forward"], now[5, "backward"]} <= {size, 2 * size}
    last = held[-1]
    assert (last[5, "forward"], last[8, "forward"]) == (0, size)


def test_memory_in_use_counts_what_nobody_here_has_made() -> None:
    before = minigrad.ones(1 << 20).realize()
    mine = log.Log()
    mine.write(log.Ran(0, None, "CPU", None, 1, "recorded", 0.0), "recorded", log.NOWHERE, [1e-3], [])
    assert mine.moments[0].held >= before.nbytes == 4 << 20


def test_what_is_written_down_is_worked_out_the_same_at_any_time(explained, monkeypatch: pytest.MonkeyPatch) -> None:
    def runs() -> list[tuple[int, str, int, list[tuple[int, int]]]]:
        report = explained(TRAINING)
        return [(run.number, run.how, len(run.seconds), run.owners) for run in report.runs]

    once = runs()
    monkeypatch.setattr(log, "MOST_WRITTEN", 5)
    assert runs() == once and len(once) == 6


def test_runs_that_are_not_listed_are_counted(explained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "MOST_RUNS", 2)
    report = explained(TRAINING)
    assert (len(report.runs), report.left_out) == (2, 4)
    assert [plan.runs for plan in report.plans] == [6] and {kernel.launches for kernel in report.kernels} == {6}
    assert sum([k.seconds for k in report.kernels]) > sum([sum(run.seconds) for run in report.runs])


def test_memory_is_let_go_of_as_without_it() -> None:
    def held() -> list[int]:
        weight = minigrad.nn.Parameter(minigrad.ones(300, 300))
        optimizer = minigrad.optim.SGD([weight], lr=0.1)
        found = []
        for _ in range(6):
            optimizer.zero_grad()
            (weight @ weight).sum().backward()
            optimizer.step()
            found.append(memory_stats().in_use)
        return [count - found[0] for count in found]

    with minigrad.config(TIERS=0):
        held()
        plain = held()
    with minigrad.explain():
        assert held() == plain


def test_nothing_is_left_behind(explained) -> None:
    before = LazyBuffer.__init__, Node.__init__
    explained(TRAINING)
    with pytest.raises(ZeroDivisionError), minigrad.explain():
        _ = 1 // 0
    assert (LazyBuffer.__init__, Node.__init__) == before and not records and origins.noting is None


def test_import_does_not_load_it() -> None:
    command = "import minigrad, sys; print('minigrad.explain' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command], capture_output=True, text=True).stdout == "False\n"


def test_results_are_the_same_bits(explained) -> None:
    def steps() -> list[float]:
        minigrad.manual_seed(0)
        w = minigrad.rand(7, 5, requires_grad=True)
        optimizer = minigrad.optim.SGD([w], lr=0.1)
        found = []
        for _ in range(5):
            optimizer.zero_grad()
            loss = (w @ minigrad.rand(5, 3)).exp().mean()
            loss.backward()
            optimizer.step()
            found.append(loss.item())
        return found

    plain = steps()
    with minigrad.explain():
        assert steps() == plain
    assert steps() == plain
