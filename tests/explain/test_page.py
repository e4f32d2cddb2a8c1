"""Stage: explaining. In: pages, made by the command and by a block. Out: they need nothing else, are small, and work in
a browser: a click on a line of the program shows its kernels, a click on a kernel its code. Where Chromium is not
installed those tests are skipped.
Next: ``minigrad/explain/__init__.py``."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

import minigrad
from minigrad.explain import Explained, Report
from minigrad.explain.before import summary
from minigrad.explain.model import Code, File, Kernel, Line, Owner, Part, Plan, Run, Text
from minigrad.explain.page import page
from tools.bundle import BUNDLE, packages

ROOT = Path(__file__).resolve().parents[2]
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PROGRAM = """
    import sys
    import minigrad
    x = minigrad.ones(64, 32)
    w = minigrad.ones(32, 16, requires_grad=True)
    for i in range(6):
        h = (x @ w).tanh()
        h.sum().backward()
    apart = minigrad.rand(50).exp().tolist()
    print("</script>", sys.argv[1:])
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "a <b>.py"
    path.write_text(dedent(PROGRAM).lstrip("\n"))
    return path


def command(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "minigrad.explain", *map(str, arguments)], cwd=folder,
                          capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT)})


def test_the_command_writes_a_page(program: Path, tmp_path: Path) -> None:
    made = command(program, "-n", "3", folder=tmp_path)
    assert made.returncode == 0, made.stderr
    assert made.stdout == "</script> ['-n', '3']\n" and made.stderr.startswith("a <b>.html: ")
    text = (tmp_path / "a <b>.html").read_text()
    assert "<title>" in text and "a &lt;b&gt;.py -n 3" in text and "a <b>" not in text
    assert not re.search(r"""(src|href)\s*=|@import|url\((?!#)|fetch\(|https?://""", text), "it asks for something else"
    assert len(text) < 150_000 and "{{" not in text


def test_a_program_in_which_nothing_runs_is_told_what_to_try(tmp_path: Path) -> None:
    (tmp_path / "nothing.py").write_text("print(1)")
    done = command("nothing.py", folder=tmp_path)
    assert "no kernel has run: a program that imports torch is explained by -m minigrad.torch" in done.stderr


def test_a_program_that_is_not_there_is_refused(tmp_path: Path) -> None:
    done = command("nowhere.py", folder=tmp_path)
    assert done.returncode == 2 and "there is no file nowhere.py" in done.stderr and not list(tmp_path.iterdir())


def test_a_page_has_the_name_of_the_script_that_a_module_runs(tmp_path: Path) -> None:
    (tmp_path / "t.py").write_text("import torch\nprint(torch.ones(3).sum().item())")
    done = command("-m", "minigrad.torch", "t.py", folder=tmp_path)
    assert done.stdout == "3.0\n" and (tmp_path / "t.html").exists(), done.stderr


def test_the_command_writes_data(program: Path, tmp_path: Path) -> None:
    made = command("--json", "-o", "found.json", program, folder=tmp_path)
    assert made.returncode == 0, made.stderr
    data = json.loads((tmp_path / "found.json").read_text())
    assert data["version"] == 2 and any("mm_" in k["name"] for k in data["kernels"])
    assert {(x["number"], x["launches"] > 0) for x in data["lines"]} >= {(6, True)}
    wrong = command("--json", "-o", "found.html", program, folder=tmp_path)
    assert wrong.returncode == 2 and "ends in .json" in wrong.stderr


def test_the_command_writes_a_trace(program: Path, tmp_path: Path) -> None:
    made = command("--perfetto", program, folder=tmp_path)
    assert made.returncode == 0, made.stderr
    events = json.loads((tmp_path / "a <b>.trace.json").read_text())["traceEvents"]
    kernels = [e for e in events if e.get("tid") == "kernels on CPU"]
    assert any("mm_" in e["name"] and "a <b>.py:6 (backward)" in e["args"] for e in kernels)
    asked = [e for e in events if e.get("tid") == "asked for"]
    assert asked[0]["name"].startswith("backward at a <b>.py:7") and events[-1]["args"]["bytes"] > 0
    assert all(any(a["ts"] <= k["ts"] + 0.01 <= a["ts"] + a["dur"] + 0.02 for a in asked) for k in kernels)
    wrong = command("--perfetto", "-o", "found.json", program, folder=tmp_path)
    assert wrong.returncode == 2 and "ends in .trace.json" in wrong.stderr


def test_the_command_writes_the_graphs(program: Path, tmp_path: Path) -> None:
    assert command("--dot", program, folder=tmp_path).returncode == 0
    text = (tmp_path / "a <b>.dot").read_text()
    assert text.startswith("digraph minigrad {") and text.count("{") == text.count("}")
    declared = set(re.findall(r"^ +(n\d+_\d+) \[label=\"", text, re.MULTILINE))
    edges = re.findall(r"^ +(n\d+_\d+) -> (n\d+_\d+);", text, re.MULTILINE)
    assert len(edges) > 5 and {node for edge in edges for node in edge} <= declared
    assert 'label="FUNCTION[mm]\\nfloat32 (64, 16)"' in text and "a <b>.py:6 (gradient)\\nh = (x @ w).tanh()" in text
    assert not [line for line in text.splitlines() if line.replace('\\\\', "").replace('\\"', "").count('"') % 2]


def test_a_program_that_fails_has_a_page(program: Path, tmp_path: Path) -> None:
    program.write_text(program.read_text() + "raise KeyError('late')\n")
    made = command("-o", "page.html", program, folder=tmp_path)
    assert made.returncode == 1 and "KeyError: 'late'" in made.stderr
    assert (tmp_path / "page.html").stat().st_size > 10_000


def test_a_block_that_raises_has_a_page(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), minigrad.explain(tmp_path / "page.html", title="a block") as explained:
        (minigrad.ones(3) + 1).tolist()
        _ = 1 // 0
    assert len(explained.report.kernels) == 1 and "<h1>a block</h1>" in (tmp_path / "page.html").read_text()
    assert explained._repr_html_().startswith("<iframe srcdoc=")


def test_a_block_in_which_nothing_runs(tmp_path: Path) -> None:
    with minigrad.explain(tmp_path / "page.html") as explained:
        pass
    assert explained.report.kernels == [] and shown(tmp_path / "page.html", "", "#totals").count("<li") == 7


def test_a_run_is_compared_with_another(program: Path, tmp_path: Path) -> None:
    assert command("--json", "-o", "before.json", program, folder=tmp_path).returncode == 0
    text = program.read_text().replace("rand(50).exp()", "rand(50).cos()")
    program.write_text(f"# another line\n{text}")
    made = command("-o", "page.html", "--against", "before.json", program, folder=tmp_path)
    assert made.returncode == 0, made.stderr
    assert "Compared with" in shown(tmp_path / "page.html", "", "#against")
    kernels = shown(tmp_path / "page.html", "", "#list")
    assert ">before<" in kernels and ">new<" in kernels and "× " in kernels
    assert "exp_50" in shown(tmp_path / "page.html", "", "#diverged")
    assert "× " in shown(tmp_path / "page.html", "", "#code")  # of a line that has moved


def test_lines_are_found_again_by_their_text() -> None:
    found = summary(large(30).plain())
    assert len(found.lines) == 200 and found.lines[3] == ("program.py", "line 3", 1e-3 + 1e-4)
    assert found.kernels[2] == ("kernel_2", 20, 2e-5)


@pytest.mark.parametrize(("text", "words"), [("{}", "is not what"), ("no", "is not what"), ("[1]", "is not what"),
                                             ('{"version": 99}', "another version of minigrad: 99, not 2")])
def test_what_is_no_other_run_is_refused(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "before.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=words), minigrad.explain(against=path):
        raise AssertionError("the block should not run")


# --- in a browser


def shown(path: Path, script: str, inside: str) -> str:
    """What a part of a page holds after a script: that of an element, from its tag on."""
    if BROWSER is None:
        pytest.skip("Chromium is not installed")
    text = path.read_text()
    end = text.rindex("</body>")
    wait = "while (!document.body.dataset.ready) await new Promise(r => setTimeout(r, 20));"
    done = "await new Promise(r => setTimeout(r, 200));"
    trial = path.with_suffix(".trial.html")
    trial.write_text(f"{text[:end]}<script>(async () => {{ {wait} {script}; {done} document.title = 'done'; }})()"
                     f"</script>{text[end:]}")
    command = [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", "--dump-dom",
               f"--user-data-dir={path.parent / 'browser'}", trial.as_uri()]
    found = subprocess.run(command, capture_output=True, text=True, timeout=100).stdout
    assert "<title>done</title>" in found, "the script or the page has failed"
    tag = re.search(rf'<(\w+)[^>]*\bid="{inside[1:]}"', found)
    assert tag is not None
    return found[tag.start():found.index(f"</{tag[1]}>", tag.start())]


@pytest.fixture
def written(tmp_path: Path, program: Path) -> Path:
    path = tmp_path / "page.html"
    made = command("-o", path, program, folder=tmp_path)
    assert made.returncode == 0, made.stderr
    return path


def test_a_line_shows_its_kernels_and_a_kernel_its_code(written: Path) -> None:
    every = shown(written, "", "#list")
    assert "mm_backward" in every and every.count("<tr") >= 3
    line = "document.querySelector('#code tr[data-key=\"0:6\"]').click()"
    some = shown(written, line, "#list")
    assert "mm_backward" in some and some.count("<tr") < every.count("<tr")
    assert "picked" in shown(written, line, "#code")
    kernel = f"{line}; document.querySelector('#list tbody tr').click()"
    detail = shown(written, kernel, "#detail")
    assert "It comes from" in detail and "(x @ w).tanh()" not in detail and "backward() at a &lt;b&gt;.py:7" in detail
    assert "fma(" in detail and "machine code" in detail and "of the limit" in detail


def test_a_plan_shows_its_graph(written: Path) -> None:
    found = shown(written, "document.querySelector('#planlist tbody tr').click()", "#detail")
    assert all(words in found for words in ("as recorded", "simplified", "FUNCTION[mm]", "Its kernels, in order"))
    assert re.search(r'title="1 of \d+: ', found)
    step = "document.querySelector('#planlist tbody tr').click(); await new Promise(r => setTimeout(r, 300)); "
    last = shown(written, f"{step} [...document.querySelectorAll('.rewrites button')].at(-1).click()", "#detail")
    steps = re.search(r'title="(\d+) of (\d+): ', last)
    assert steps is not None and steps[1] == steps[2] != "1" and ">becomes<" in last


def test_a_graph_is_drawn(written: Path) -> None:
    """A box for each line, forward and backward apart, which opens to its operations; the line lights up its boxes."""
    click = "document.querySelector('#planlist tbody tr').click(); await new Promise(r => setTimeout(r, 300)); "
    boxes = "[...document.querySelectorAll('.drawn .box')]"
    found = shown(written, f"{click} document.body.id = 'all'", "#all")
    folded = re.findall(r'<g [^>]*class="box (\w+)[^"]* of"[^>]*data-parts="(0:\d)"', found)
    assert {("forward", "0:6"), ("backward", "0:6"), ("forward", "0:7")} <= set(folded)
    assert "float32 (64, 16)" in found and "(gradient): tanh_backward" in found and found.count('class="arrow"') >= 4
    assert 'class="box forward of"' in found and "BUFFER" not in re.findall(r"<svg aria-label.*?</svg>", found)[0]
    double = f"{boxes}[0].dispatchEvent(new MouseEvent('dblclick', {{bubbles: true}}))"
    opened = shown(written, f"{click} {double}; document.body.id = 'all'", "#all")
    assert "cluster" in opened and "BUFFER" in re.findall(r"<svg aria-label.*?</svg>", opened)[0]
    line = "document.querySelector('#code tr[data-key=\"0:7\"]').click()"
    marked = shown(written, f"{click} {line}; document.body.id = 'all'", "#all")
    assert re.search(r'class="box forward[^"]* picked"[^>]*data-parts="0:7"', marked)
    assert not re.search(r'class="box [^"]* picked"[^>]*data-parts="0:6"', marked)


def test_a_graph_without_operations_says_so(tmp_path: Path) -> None:
    with minigrad.explain(tmp_path / "page.html"):
        minigrad.zeros(3).tolist()
    click = "document.querySelector('#planlist tbody tr').click()"
    found = shown(tmp_path / "page.html", f"{click}; document.body.id = 'all'", "#all")
    assert "nothing is computed here" in found and "<svg aria-label" not in found


def test_the_libraries_are_those_that_are_locked() -> None:
    head = BUNDLE.read_text(encoding="utf-8").partition("*/")[0]
    assert head.startswith("/*\nMade by tools/bundle.py") and "permission notice" in head
    assert all(f"{name} {version}" in head for name, version, _ in packages())
    assert {license for *_, license in packages()} <= {"MIT", "ISC", "BSD-3-Clause"}


def test_nothing_fails_while_it_is_drawn(written: Path) -> None:
    assert "in use" not in shown(written, "", "#range") and "click a kernel" in shown(written, "", "#range")
    owners = shown(written, "", "#owners")
    assert "gradient of a &lt;b&gt;.py:6" in owners and "KB" in owners
    assert re.search(r"gradients \d+\.\d+ KB · activations", shown(written, "", "#memorysums"))


LANES = """
    import threading
    import minigrad
    from minigrad.profiler import record_function
    weight = minigrad.nn.Parameter(minigrad.ones(50, 50))
    optimizer = minigrad.optim.SGD([weight], lr=0.1, momentum=0.9)
    def other():
        minigrad.rand(30).exp().tolist()
    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    for i in range(3):
        with record_function("<a step>"):
            (weight @ weight).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    a = (optimizer.state[weight]["momentum_buffer"] @ weight.detach()).tolist()
    b = (optimizer.state[weight]["momentum_buffer"] @ weight.detach()).tolist()
"""


def test_threads_named_parts_and_equal_names_are_told_apart(program: Path, tmp_path: Path) -> None:
    program.write_text(dedent(LANES).lstrip("\n"))
    made = command("--json", "-o", "found.json", program, folder=tmp_path)
    assert made.returncode == 0, made.stderr
    data = json.loads((tmp_path / "found.json").read_text())
    assert {r["thread"] for r in data["runs"]} == {0, 1} and [b["name"] for b in data["blocks"]] == ["<a step>"] * 3
    roles = {(o["number"], o["role"]) for o in data["owners"]}
    assert roles >= {(13, "gradient"), (14, "parameter"), (14, "optimizer state")}
    assert max(p["donated_bytes"] for p in data["plans"]) >= 50 * 50 * 4
    page = tmp_path / "page.html"
    assert command("-o", page, program, folder=tmp_path).returncode == 0
    kernels, sums = shown(page, "", "#list"), shown(page, "", "#memorysums")
    assert "a &lt;b&gt;.py:16" in kernels and "a &lt;b&gt;.py:17" in kernels
    assert "parameters 9.77 KB" in sums and "optimizer state 9.77 KB" in sums and "as results overwrite" in sums
    height = "document.body.id = 'all'; document.body.dataset.height = document.getElementById('timeline').style.height"
    assert 'data-height="170px"' in shown(page, height, "#all").partition(">")[0]


def test_keys(written: Path) -> None:
    def press(*keys: str) -> str:
        return "; ".join([f"document.body.dispatchEvent(new KeyboardEvent('keydown', {{key: '{key}', bubbles: true}}))"
                          for key in keys])

    assert "It comes from" in shown(written, press("j"), "#detail")
    assert "picked" in shown(written, press("n"), "#code")
    assert "hidden" in shown(written, press("j", "Escape"), "#detail").partition(">")[0]
    dark = f"{press('d')}; document.body.id = 'all'; document.body.dataset.theme = "
    dark += "document.documentElement.dataset.theme"
    assert 'data-theme="dark"' in shown(written, dark, "#all").partition(">")[0]
    whole, close = shown(written, press("0"), "#range"), shown(written, press("0", *"++++"), "#range")
    assert ">0 to " in whole and ">0 to " not in close and whole != close
    assert shown(written, press("0", *"++++", "ArrowRight"), "#range") not in (whole, close)
    assert shown(written, press("0", *"++++", "0"), "#range") == whole
    assert len(re.findall(r'class="tick"', shown(written, "document.body.id = 'all'", "#all"))) >= 3


def test_a_thousand_kernels(tmp_path: Path) -> None:
    explained = Explained()
    explained.report = large(1000)
    explained.save(tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size < 3_000_000
    found = shown(tmp_path / "page.html", "", "#list")
    assert found.count("<tr") == 402 and "600 more" in found
    assert "kernel_3<" in shown(tmp_path / "page.html", "document.getElementById('filter').value = 'kernel_3'; "
                                "document.getElementById('filter').oninput()", "#list")


def large(count: int) -> Report:
    """A report of many kernels."""
    files = [File("program.py", 1, [f"line {i}" for i in range(200)])]
    codes = [Code([Text(title, f"{title} of {i}\n" + "x[i] = y[i] * z[i]\n" * 60)
                   for title in ("schedule", "loop nest", "C", "as compiled", "machine code")]) for i in range(count)]
    kernels = [Kernel(0, f"kernel_{i}", "CPU", 1000, 2000, 1e-5 * i, 20,
                      [Part(0, i % 200 + 1, "forward", 0.7, ["mul"], []), Part(0, 7, "backward", 0.3, ["sum"], [])],
                      nodes=[0, 1] * 20, code=i) for i in range(count)]
    lines = [Line(0, n, 1e-3, 1e-4, 1.0, 1.0, 20, [i for i in range(count) if i % 200 == n - 1]) for n in range(1, 201)]
    plans = [Plan("CPU", 1, 5000, 3, 100, 100, 50, 20, (0, count), "planned and compiled", 2.0, runs=20)]
    runs = [Run(i / 2, 0, "cached", 0, 9, "backward", [1e-5 * k for k in range(count)], 1 << 20, [(0, i << 10)])
            for i in range(20)]
    return Report("large", 10.0, sum(k.seconds for k in kernels), {"gflops": 100.0, "gbytes": 20.0}, {}, files, lines,
                  kernels, plans, runs, codes, [("why not", 3)], [Owner(0, 7, "backward", "gradient")])


def test_numbers_are_short() -> None:
    assert len(page(large(10))) < 130_000
