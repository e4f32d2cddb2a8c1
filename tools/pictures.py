"""Stage: documentation. In: the examples. Out: the pictures of ``docs/examples/``, made by the examples themselves,
from what they print, or by ``minigrad.utils.draw``, and those of pages of ``minigrad.explain``. ``python
tools/pictures.py [name …]`` makes them again; it needs the packages of ``minigrad[examples,draw]`` and Chromium, and
takes a minute or two. Next: ``docs/examples/index.md``."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import minigrad  # noqa: E402
from minigrad import nn  # noqa: E402

FOLDER = ROOT / "docs" / "examples"


def run(name: str, *arguments: str, torch: bool = False) -> str:
    """What an example prints; the files that it writes without being told where go to a folder that is gone then."""
    runner = ["-m", "minigrad.torch"] if torch else []
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([sys.executable, *runner, str(ROOT / "examples" / name), *arguments], cwd=folder,
                              capture_output=True, text=True, check=True, env={"PYTHONPATH": str(ROOT)})
        for file in Path(folder).glob("*.png"):
            small(file, FOLDER / file.name)
    return done.stdout


def small(picture: Path, path: Path) -> None:
    """Save a picture with 64 colours: a third of the bytes."""
    from PIL import Image

    Image.open(picture).convert("RGB").quantize(64).save(path, optimize=True)


def xor() -> None:
    """The graph of the loss for one input."""
    minigrad.manual_seed(0)
    x = minigrad.tensor([1.0, 0.0])
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
    hidden, out = model[0], model[2]
    loss = nn.functional.mse_loss(model(x), minigrad.tensor([1.0]))
    loss.backward()
    names = {"w1": hidden.weight, "b1": hidden.bias, "w2": out.weight, "b2": out.bias, "loss": loss}
    minigrad.utils.draw(loss, names).save(str(FOLDER / "xor.svg"))


def read_kernels() -> None:
    """The graph of the program that the example reads."""
    a, b, c = (minigrad.rand(*shape, requires_grad=True) for shape in ((8, 16), (16, 32), (32,)))
    total = (a @ b + c).relu().sum()
    total.backward()
    minigrad.utils.draw(total, {"a": a, "b": b, "c": c, "total": total}).save(str(FOLDER / "read_kernels.svg"))


def steps() -> None:
    """The table of ``docs/schedules.md``, which says what the example has printed on a quiet machine."""
    from matplotlib import pyplot as plt

    table = (ROOT / "docs" / "schedules.md").read_text(encoding="utf-8").partition("| steps | GFLOP/s |")[2]
    rows = re.findall(r"^\| (\D.*?) \| ([\d.]+) \|$", table.partition("\n\n")[0], re.MULTILINE)
    figure, axis = plt.subplots(figsize=(8, 2.8))
    bars = axis.barh([text.replace("`", "") for text, _ in rows][::-1], [float(speed) for _, speed in rows][::-1])
    axis.bar_label(bars, padding=3, fontsize=8)
    axis.set(xscale="log", xlabel="GFLOP/s", xlim=(0.1, 2000))
    axis.tick_params(axis="y", labelsize=8)
    figure.tight_layout()
    figure.savefig(FOLDER / "steps.png", dpi=80)
    small(FOLDER / "steps.png", FOLDER / "steps.png")


def resume() -> None:
    """The losses of the run without a stop, and of the two parts of the other."""
    from matplotlib import pyplot as plt

    whole, _, rest = run("resume.py", torch=True).partition("stopped in the middle:")
    figure, axis = plt.subplots(figsize=(6, 3))
    before, _, after = rest.partition("and again:")
    for text, label, mark in ((whole, "straight", "-"), (before, "stopped", "o"), (after, "taken up again", "s")):
        points = re.findall(r"^step +(\d+)  loss ([\d.]+)", text, re.MULTILINE)
        axis.plot([int(n) for n, _ in points], [float(loss) for _, loss in points], mark, label=label)
    axis.set(xlabel="step", ylabel="loss")
    axis.legend()
    figure.tight_layout()
    figure.savefig(FOLDER / "resume.png", dpi=80)
    small(FOLDER / "resume.png", FOLDER / "resume.png")


SHOWN = {
    "explain.png": ("char_gpt.py", "1280,1500", """
        [...document.querySelectorAll('#list tbody tr')].find(r => r.textContent.includes('gelu_backward')).click();
        await later(); document.querySelector('#detail .where').click(); await later(); scrollTo(0, 0)"""),
    "explain_graph.png": ("xor.py", "1280,940", """
        for (const section of document.querySelectorAll('section:not(#detail)')) section.hidden = true;
        document.querySelector('#planlist tbody tr').click();
        await later();
        document.querySelectorAll('.drawn .box')[4].dispatchEvent(new MouseEvent('dblclick', {bubbles: true}));
        scrollTo(0, 0)"""),
}
"""Pictures of pages of ``minigrad.explain``: of which example, the size of the window, and what is clicked."""

ARGUMENTS = {"char_gpt.py": ["--text", "../README.md", "--steps", "8", "--layers", "2", "--sample", "4"]}


def explain() -> None:
    """The pages of two examples, in Chromium, as the second run of each makes them: the first one compiles."""
    for picture, (name, size, clicks) in SHOWN.items():
        with tempfile.TemporaryDirectory() as folder:
            page, shown = Path(folder, "page.html"), Path(folder, "shown.html")
            runner = ["-m", "minigrad.torch"] if name == "char_gpt.py" else []
            for _ in range(2):
                subprocess.run([sys.executable, "-m", "minigrad.explain", "-o", page, *runner, name,
                                *ARGUMENTS.get(name, ())], cwd=ROOT / "examples", check=True,
                               stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(ROOT)})
            text = page.read_text(encoding="utf-8")
            end = text.rindex("</body>")
            script = ("<script>(async () => { const later = (ms = 500) => new Promise(r => setTimeout(r, ms)); "
                      f"while (!document.body.dataset.ready) await later(20); {clicks} }})()</script>")
            shown.write_text(text[:end] + script + text[end:], encoding="utf-8")
            subprocess.run(["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                            "--virtual-time-budget=8000", f"--window-size={size}", f"--screenshot={folder}/{picture}",
                            f"--user-data-dir={folder}/browser", shown.as_uri()], check=True, capture_output=True)
            small(Path(folder, picture), ROOT / "docs" / picture)


PICTURES: dict[str, Callable[[], object]] = {
    "xor": xor,
    "read_kernels": read_kernels,
    "micrograd": lambda: run("micrograd.py", "--draw", str(FOLDER / "micrograd_neuron.svg")),
    "mlp_digits": lambda: run("mlp_digits.py"),
    "mnist_cnn": lambda: run("mnist_cnn.py", "--out", "mnist_cnn.png", torch=True),
    "transfer_learning": lambda: run("transfer_learning.py", "--out", "transfer_learning.png", torch=True),
    "steps": steps,
    "resume": resume,
    "explain": explain,
}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name in sys.argv[1:] or PICTURES:
        PICTURES[name]()
        print(f"{name} is drawn", flush=True)


if __name__ == "__main__":
    main()
