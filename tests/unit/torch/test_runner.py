"""Stage: tests. In: programs that say ``import torch``. Out: the runner runs them as Python would, with minigrad for
PyTorch. Each program has a process of its own: a hook that is installed changes what later imports find.
Next: ``tests/unit/utils/``."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from minigrad.torch.__main__ import main


def run(*arguments: str, text: str | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
    """``python -m minigrad.torch`` with these arguments."""
    return subprocess.run([sys.executable, "-m", "minigrad.torch", *arguments], input=text, capture_output=True,
                          text=True, timeout=120, **options)


def python(program: str) -> subprocess.CompletedProcess[str]:
    """A plain Python with this program."""
    return subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=120)


SCRIPT = """
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import optim
from torch.nn.modules.linear import Linear

assert torch.nn is nn and torch.nn.functional is F and nn.Linear is Linear and torch.optim is optim
print(torch.__version__, torch.__version__ >= "2.0", __name__, __file__, sys.argv)
print(torch.ones(2, dtype=torch.float64), torch.ones(2).shape, type(torch.ones(2)), torch.ones(2).type())
print(torch.tensor([[1., 2.]]).max(1))
"""


def test_a_script_finds_minigrad_under_every_name(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    ran = run(str(script), "--lr", "1")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == [
        f"2.13.0+minigrad True __main__ {script} ['{script}', '--lr', '1']",
        "tensor([1., 1.], dtype=torch.float64) torch.Size([2]) <class 'torch.Tensor'> torch.FloatTensor",
        "torch.return_types.max(", "values=tensor([2.]),", "indices=tensor([1]))"]


def test_a_traceback_begins_in_the_script(tmp_path: Path) -> None:
    script = tmp_path / "fails.py"
    script.write_text("import torch\n\ndef f():\n    raise ValueError('no')\n\nf()\n")
    ran = run(str(script))
    assert ran.returncode == 1
    assert ran.stderr.startswith(f'Traceback (most recent call last):\n  File "{script}", line 6, in <module>\n')
    assert ran.stderr.endswith("ValueError: no\n")


def test_exit_status_and_output_are_the_programs(tmp_path: Path) -> None:
    assert run("-c", "import sys; sys.exit(7)").returncode == 7
    assert run("-c", "import torch; print(torch.ones(1).item())").stdout == "1.0\n"
    assert run("-", text="import torch; print(torch.ones(1).item())").stdout == "1.0\n"
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__main__.py").write_text("import sys, torch; print(__name__, sys.argv[1:])")
    assert run("-m", "package", "a", cwd=tmp_path).stdout == "__main__ ['a']\n"
    assert run(str(tmp_path / "package"), "b").stdout == "__main__ ['b']\n"


def test_the_prompt_has_torch() -> None:
    ran = run(text="torch.ones(2)\nimport torch.nn\ntorch.nn.ReLU()\n")
    assert "tensor([1., 1.])" in ran.stdout and "ReLU()" in ran.stdout and "minigrad" in ran.stderr


def test_wrong_command_lines_say_how_it_goes(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in ((["--what"], "unknown option --what"), (["-m"], "-m needs an argument")):
        assert main(arguments) == 2
        said = capsys.readouterr().err
        assert message in said and "usage: python -m minigrad.torch" in said
    assert main(["--help"]) == 0 and capsys.readouterr().out.startswith("usage: python -m minigrad.torch")
    missing = run("/nowhere/x.py")
    assert (missing.returncode, missing.stderr) == (
        2, "python -m minigrad.torch: can't open file '/nowhere/x.py': [Errno 2] No such file or directory\n")


def test_a_program_that_cannot_start_has_no_traceback_of_the_runner(tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text("def f(:\n")
    (tmp_path / "folder").mkdir()
    assert run(str(tmp_path / "wrong.py")).stderr == python_itself(str(tmp_path / "wrong.py"))
    assert run(str(tmp_path / "folder")).stderr == (
        f"python -m minigrad.torch: can't find '__main__' module in {str(tmp_path / 'folder')!r}\n")
    assert run("-m", "no_such_module").stderr == "ImportError: No module named no_such_module\n"


def python_itself(script: str) -> str:
    """What Python prints to stderr for this script."""
    return subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120).stderr


def test_a_script_is_the_main_module_that_python_would_make_of_it(tmp_path: Path) -> None:
    """Its annotations are values, as this package's ``from __future__`` is not its; its file is absolute."""
    (tmp_path / "main.py").write_text(
        "import os\ndef f(x: int): pass\nos.chdir('/')\n"
        "print(f.__annotations__['x'] is int, os.path.exists(__file__), __builtins__.__name__)\n")
    assert run("main.py", cwd=tmp_path).stdout == "True True builtins\n"
    assert run("-c", "def f(x: int): pass\nprint(f.__annotations__['x'] is int)").stdout == "True\n"


def test_detect_anomaly_shows_the_calls_of_the_program_only(tmp_path: Path) -> None:
    script = tmp_path / "nan.py"
    script.write_text("import torch\ntorch.autograd.set_detect_anomaly(True)\n"
                      "y = torch.tensor([-1.], requires_grad=True).sqrt()\ny.sum().backward()\n")
    said = run(str(script)).stderr
    assert said.count("File ") == said.count(f'File "{script}"') + said.count("/minigrad/tensor/") + said.count(
        "/minigrad/autograd/")
    assert f'Traceback of forward call that caused the error:\n  File "{script}", line 3, in <module>' in said


def test_a_name_that_is_not_there_can_be_probed_for() -> None:
    ran = run("-c", "import torch; print(hasattr(torch, 'no_thing'), hasattr(torch, 'config')); torch.no_thing")
    assert ran.stdout == "False False\n"
    assert "AttributeError: module 'torch' has no attribute 'no_thing'" in ran.stderr


def test_torch_before_the_hook_is_an_error_and_the_hook_can_be_taken_away() -> None:
    ran = python("""
        import sys, types
        from minigrad.torch import install, uninstall
        sys.modules["torch"] = types.ModuleType("torch")
        try:
            install()
        except RuntimeError as error:
            print(error)
        del sys.modules["torch"]
        install(); install()
        import torch, minigrad
        print(torch.float32, torch.nn is minigrad.nn, minigrad.nn.__spec__.name)
        uninstall(); uninstall()
        print(minigrad.float32, minigrad.Tensor.__module__, "torch" in sys.modules)
    """)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == [
        "torch has been imported already, so minigrad can't take its place: call minigrad.torch.install() first, or "
        "run the program by python -m minigrad.torch",
        "torch.float32 True minigrad.nn", "minigrad.float32 minigrad.tensor.tensor_class False"]


def test_processes_that_are_started_have_it_too(tmp_path: Path) -> None:
    script = tmp_path / "spawns.py"
    script.write_text(textwrap.dedent("""
        import multiprocessing
        import torch

        def double(x):
            return (torch.tensor(x) * 2).item()

        if __name__ == "__main__":
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                print(pool.map(double, [1.0, 2.0]))
    """))
    ran = run(str(script))
    assert ran.stdout == "[2.0, 4.0]\n", ran.stderr


def test_pytest_takes_it_as_a_plug_in(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("import torch\n")
    (tmp_path / "test_it.py").write_text("import torch\n\ndef test():\n    assert 'minigrad' in torch.__version__\n")
    ran = subprocess.run([sys.executable, "-m", "pytest", "-p", "minigrad.torch", "-q", "-p", "no:cacheprovider",
                          str(tmp_path)], capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_safetensors_written_for_pytorch_is_ours(tmp_path: Path) -> None:
    ran = run("-c", "import sys, torch; from safetensors.torch import load_file, save_file; x = torch.ones(2, 3);"
                    "save_file({'x': x}, sys.argv[1]); print(torch.equal(load_file(sys.argv[1])['x'], x))",
              str(tmp_path / "x.safetensors"))
    assert ran.stdout == "True\n", ran.stderr
